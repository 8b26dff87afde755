"""Several people among each other before several cameras: all are found, where they are, and nobody changes the id."""

import numpy as np
import pytest

from crowded_room import Judged, Trouble, apart, dance, films, judge
from many_views import room
from vitruvian.capture.cameras import capture_cameras
from vitruvian.capture.views import combine
from vitruvian.formats.trc import read_trc
from vitruvian.take import Take

TIMES = np.arange(110) / 30


def judged(people: int, seed: int, trouble: Trouble, cameras: int = 4, least: float = 0.55) -> Judged:
    truth = apart(dance(TIMES, people, seed, 1.3), least)
    rig = room(cameras)
    return judge(combine(films(rig, truth, TIMES, trouble, seed), rig, smooth="none").take, truth)


@pytest.mark.parametrize(("people", "seed"), [(2, 0), (3, 1), (3, 2)])
def test_people_who_hide_each_other_keep_their_ids(people, seed):
    found = judged(people, seed, Trouble())
    assert found.recall > 0.99 and found.median < 0.025
    assert found.ids == people and found.switches == 0 and found.shared == 0


def test_people_at_arms_length_keep_their_ids():
    found = judged(3, 3, Trouble(whole=0.5), least=0.4)
    assert found.recall > 0.99 and found.ids == 3 and found.switches == 0


def test_cameras_that_lose_people_half_of_the_time():
    found = judged(2, 0, Trouble(lost=0.03, missed=0.15, noise=8.0))
    assert found.recall > 0.5 and found.ids == 2 and found.switches == 0


def test_a_crowd_from_takes_to_files(tmp_path):
    truth = dance(TIMES, 3, 2, 1.3)
    rig = room(4)
    takes = []
    for take, camera in zip(films(rig, truth, TIMES, seed=2), rig, strict=True):
        take.save(tmp_path / f"{camera.name}.npz")
        takes.append(tmp_path / f"{camera.name}.npz")
    take = capture_cameras(takes[::-1], rig, tmp_path / "out")
    found = judge(take, truth)
    assert take.tracks.tolist() == [1, 2, 3] and found.switches == 0 and found.mean < 0.04
    assert np.isclose(np.nanmin(take.people.points[..., 1]), 0.06, atol=0.12)
    np.testing.assert_array_equal(Take.load(tmp_path / "out" / "take.npz").people.track, take.people.track)
    markers = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".trc"]
    assert len(markers) == 3 and all(len(read_trc(path).points) > 100 for path in markers)
