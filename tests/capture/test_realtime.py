"""In real time: frames that come too early are left out, and what is reported says so."""

import time

import numpy as np
import pytest

from scenes import boxes_at, film, picture

pytest.importorskip("nets", reason="needs onnx")

from vitruvian.capture import capture  # noqa: E402
from vitruvian.errors import VitruvianError  # noqa: E402

TIMES = np.arange(30) / 30


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """Nobody moves, so that it does not matter how many frames a busy machine leaves out."""
    return film(tmp_path_factory.mktemp("stand") / "stand.mp4", TIMES, [picture(boxes_at(0))] * len(TIMES))


@pytest.mark.parametrize("detect_every", [1, 5])
def test_a_slow_consumer_loses_frames_but_nobody(standing, networks, tmp_path, detect_every):
    seen = []

    def slow(now):
        seen.append(now)
        time.sleep(0.06)

    take = capture(standing, tmp_path, realtime=True, smooth="none", detect_every=detect_every, on_progress=slow, **networks)
    assert take.complete
    assert 0 < len(take.times) < 25 and seen[-2].dropped + len(take.times) == len(TIMES)
    assert all(now.latency >= 0 for now in seen[:-1])
    assert [len(people) for people in take.by_frame()] == [2] * len(take.times)
    for people in take.by_frame():
        np.testing.assert_allclose(np.sort(people.boxes, axis=0), np.sort(boxes_at(0), axis=0), atol=12)


def test_pictures_have_no_pace(networks, tmp_path):
    from vitruvian.media import write_image

    write_image(tmp_path / "a.png", picture(boxes_at(0)))
    with pytest.raises(VitruvianError, match="real time"):
        capture(tmp_path / "a.png", realtime=True, **networks)
