"""Ids in crowds: at least as good as ByteTrack on the same boxes, better where people cross; cameras that move; people who come back."""

import numpy as np
import pytest

import bytetrack
from crowds import CROWDS, CrowdSettings, crowd
from vitruvian.errors import VitruvianError
from vitruvian.metrics.tracking import frames_by_boxes, together, tracking_scores
from vitruvian.people import Tracker
from vitruvian.people.looks import Familiarity
from vitruvian.people.sway import shared_shift
from vitruvian.skeletons import COCO_17
from vitruvian.take import People
from walkers import people_of, walker

IMAGE = np.zeros((1, 1, 3), np.uint8)  # the hooks here know without


def tracked(scene, **options):
    tracker = Tracker(COCO_17, **options)
    found = [tracker.update(time, people, IMAGE) for time, people in zip(scene.times, scene.frames(), strict=True)]
    return People.concatenate([People.empty(17), *found])


def score(scene, people):
    return tracking_scores(frames_by_boxes(scene.truth, people, len(scene.times)))


@pytest.mark.parametrize("name", ["crossing", "8 fps", "hand-held"])
def test_at_least_as_good_as_bytetrack_on_the_same_boxes(name):
    if not bytetrack.available():
        pytest.skip("needs the packages trackers and supervision")
    settings = CROWDS[name]
    scenes = [crowd(settings, seed) for seed in (0, 1)]
    ours = together([score(scene, tracked(scene)) for scene in scenes])
    for options in bytetrack.SETTINGS.values():
        theirs = together([score(scene, bytetrack.bytetracked(scene, settings.fps, **options)[0]) for scene in scenes])
        assert ours.identity.idf1 >= theirs.identity.idf1
        assert ours.hota.hota >= theirs.hota.hota
        if name == "crossing":
            assert ours.identity.idf1 > theirs.identity.idf1 + 0.05
            assert ours.clear.switches < theirs.clear.switches


def test_few_ids_change_in_a_crossing_crowd():
    scores = together([score(scene, tracked(scene)) for scene in (crowd(CROWDS["crossing"], seed) for seed in (0, 1))])
    assert scores.identity.idf1 > 0.65 and scores.clear.mota > 0.85


def test_appearance_brings_back_people_who_left():
    scene = crowd(CrowdSettings(walkers=5, seconds=14, fps=15), 3)
    without = score(scene, tracked(scene))
    with_looks = score(scene, tracked(scene, appearance=lambda image, boxes: scene.looks(boxes)))
    assert with_looks.identity.idf1 > without.identity.idf1 + 0.1
    assert with_looks.clear.switches < without.clear.switches


def test_somebody_with_other_looks_who_enters_after_an_exit_is_somebody_new():
    looks = np.eye(3)
    seen = [(0.0, looks[0]), (5.0, looks[1]), (10.0, looks[0])]
    answer = {}
    tracker = Tracker(COCO_17, appearance=lambda image, boxes: np.tile(answer["look"], (len(boxes), 1)))
    ids = []
    for start, answer["look"] in seen:
        for step in range(10):
            people = people_of(0, [walker(step / 30, 300, 100)])
            ids.append(tracker.update(start + step / 30, people, IMAGE).track.tolist())
    assert ids == [[1]] * 10 + [[2]] * 10 + [[1]] * 10


def test_an_unfit_answer_of_the_appearance_hook_is_refused():
    people = people_of(0, [walker(0, 100, 0), walker(0, 500, 0)])
    with pytest.raises(VitruvianError, match="one vector per box"):
        Tracker(COCO_17, appearance=lambda image, boxes: np.zeros((1, 4))).update(0.0, people, IMAGE)
    lengths = iter((4, 5))
    tracker = Tracker(COCO_17, appearance=lambda image, boxes: np.ones((len(boxes), next(lengths))))
    tracker.update(0.0, people, IMAGE)
    with pytest.raises(VitruvianError, match="keep to one length"):
        tracker.update(0.1, people, IMAGE)


def test_looks_that_are_not_finite_count_as_unknown():
    tracker = Tracker(COCO_17, appearance=lambda image, boxes: np.full((len(boxes), 4), np.nan))
    for frame in range(5):
        people = people_of(frame, [walker(frame / 30, 100, 100), walker(frame / 30, 600, -100)])
        assert tracker.update(frame / 30, people, IMAGE).track.tolist() == [1, 2]


def test_familiarity_learns_what_strangers_have_in_common():
    familiarity = Familiarity()
    familiarity.learn(same=np.full(500, 0.95), different=np.full(500, 0.85))
    assert familiarity.likeness(np.array([0.85])) < 0.2 < 0.8 < familiarity.likeness(np.array([0.95]))
    assert familiarity.likeness(np.array([0.5])) == 0


def test_a_jerk_of_the_camera_does_not_mix_people_up():
    times = np.arange(40) / 30
    ids = []
    tracker = Tracker(COCO_17)
    for frame, time in enumerate(times):
        jerk = 150 if frame >= 20 else 0  # as far as the next person stands
        poses = [walker(time, 100 + 150 * i, 20 * (-1) ** i, pace=0.8 + 0.1 * i) + [jerk, 0] for i in range(5)]
        ids.append(tracker.update(time, people_of(frame, poses, noise=2)).track.tolist())
    assert ids == [[1, 2, 3, 4, 5]] * len(times)


def test_the_shared_shift_is_found_without_knowing_who_is_who():
    random = np.random.default_rng(0)
    expected, sizes = random.uniform(0, 1000, (8, 2)), random.uniform(60, 200, 8)
    order = random.permutation(8)[:6]
    shift = shared_shift(expected, sizes, expected[order] + [70, -40] + random.normal(0, 2, (6, 2)), sizes[order])
    np.testing.assert_allclose(shift, [70, -40], atol=4)


def test_the_camera_rests_where_nobody_agrees_or_few_are_there():
    random = np.random.default_rng(0)
    expected, sizes = random.uniform(0, 1000, (6, 2)), np.full(6, 100.0)
    assert not shared_shift(expected[:2], sizes[:2], expected[:2] + 50, sizes[:2]).any()
    assert not shared_shift(expected, sizes, np.zeros((0, 2)), np.zeros(0)).any()
    assert np.linalg.norm(shared_shift(expected, sizes, expected + random.normal(0, 5, (6, 2)), sizes)) < 3


def test_somebody_half_hidden_for_a_while_keeps_the_id():
    """The box is cut to the upper half and the legs are those of somebody else, then all is in view again."""
    tracker, ids = Tracker(COCO_17), []
    for frame, time in enumerate(np.arange(60) / 30):
        people = people_of(frame, [walker(time, 200, 60)], noise=1)
        if 20 <= frame < 40:
            boxes, keypoints, confidence = people.boxes.copy(), people.keypoints.copy(), people.confidence.copy()
            boxes[:, 3] -= 160
            keypoints[:, 11:] += 120
            confidence[:, 11:] = 0.2
            people = People(people.frame, people.track, boxes, people.scores, keypoints, confidence)
        ids.append(tracker.update(time, people).track.tolist())
    assert ids == [[1]] * 60
