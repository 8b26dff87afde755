"""What a tracker expects, and that one restored from its state goes on as if nothing had happened."""

import io
import json

import numpy as np
import pytest

from crowds import CROWDS, CrowdSettings, crowd
from vitruvian.errors import FormatError
from vitruvian.people import Tracker
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, Skeleton
from vitruvian.take import People
from walkers import people_of, walker

IMAGE = np.zeros((1, 1, 3), np.uint8)  # the hooks here know without


def stored(state):
    """The state as it comes back from a file: arrays from npz, the rest from JSON."""
    file = io.BytesIO()
    np.savez(file, **{key: value for key, value in state.items() if isinstance(value, np.ndarray)})
    file.seek(0)
    rest = json.loads(json.dumps({key: value for key, value in state.items() if not isinstance(value, np.ndarray)}, allow_nan=False))
    return {**np.load(file, allow_pickle=False), **rest}


@pytest.mark.parametrize("with_looks", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 45])
def test_a_restored_tracker_goes_on_exactly_there(with_looks, stop):
    scene = crowd(CrowdSettings(walkers=6, seconds=4, fps=20, shake=0.02), 0)
    appearance = (lambda image, boxes: scene.looks(boxes)) if with_looks else None
    frames = list(zip(scene.times, scene.frames(), strict=True))
    undisturbed, killed = Tracker(COCO_17, appearance=appearance), Tracker(COCO_17, appearance=appearance)
    for time, people in frames[:stop]:
        undisturbed.update(time, people, IMAGE)
        killed.update(time, people, IMAGE)
    resumed = Tracker.from_arrays(stored(killed.to_arrays()), appearance=appearance)
    for time, people in frames[stop:]:
        expected, got = undisturbed.update(time, people, IMAGE), resumed.update(time, people, IMAGE)
        assert got.track.tolist() == expected.track.tolist()
        np.testing.assert_array_equal(resumed.expected(time + 0.1)[0], undisturbed.expected(time + 0.1)[0])


def test_options_and_skeleton_are_part_of_the_state():
    tracker = Tracker(COCO_WHOLEBODY_133, strong=0.5, max_age=3.0, min_similarity=0.25, memory=10.0)
    state, again = tracker.to_arrays(), Tracker.from_arrays(stored(tracker.to_arrays())).to_arrays()
    assert again["settings"] == state["settings"] and again["settings"]["skeleton"] == "coco-wholebody-133"


def test_a_state_is_a_copy():
    tracker = Tracker(COCO_17)
    tracker.update(0.0, people_of(0, [walker(0, 100, 0)]))
    state = tracker.to_arrays()
    before = state["tracks/box"].copy()
    tracker.update(0.1, people_of(1, [walker(0.1, 100, 200)]))
    np.testing.assert_array_equal(state["tracks/box"], before)


def test_what_is_no_state_is_refused():
    tracker = Tracker(COCO_17)
    tracker.update(0.0, people_of(0, [walker(0, 100, 0), walker(0, 500, 0)]))
    good = tracker.to_arrays()
    bad = [
        {},
        {**good, "settings": None},
        {**good, "settings": {**good["settings"], "skeleton": "coco-18"}},
        {**good, "settings": {**good["settings"], "next_id": "many"}},
        {**good, "settings": {**good["settings"], "familiarity": {"same": 1, "strange": 2}}},
        {**good, "tracks/box": good["tracks/box"][:1]},
        {**good, "tracks/box": good["tracks/box"][:, :3]},
        {**good, "tracks/mean": good["tracks/mean"] * np.nan},
        {key: value for key, value in good.items() if key != "tracks/keypoints"},
    ]
    for state in bad:
        with pytest.raises(FormatError, match="no state of a tracker"):
            Tracker.from_arrays(state)


def test_people_are_expected_where_they_will_be():
    tracker = Tracker(COCO_17)
    for frame, time in enumerate(np.arange(30) / 30):
        tracker.update(time, people_of(frame, [walker(time, 100, 300), walker(time, 900, -150, top=150)], noise=1))
    later = 29 / 30 + 5 / 30
    truth = people_of(0, [walker(later, 100, 300), walker(later, 900, -150, top=150)]).boxes
    boxes, ids = tracker.expected(later)
    assert ids.tolist() == [1, 2]
    # The second box is 25 pixels from where that person was last; the limbs swing, which no box foresees.
    np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, (truth[:, :2] + truth[:, 2:]) / 2, atol=8)
    np.testing.assert_allclose(boxes[:, 3] - boxes[:, 1], truth[:, 3] - truth[:, 1], rtol=0.05)


def test_a_body_that_is_suddenly_cut_is_expected_whole():
    tracker = Tracker(COCO_17)
    for frame, time in enumerate(np.arange(12) / 30):
        people = people_of(frame, [walker(time, 300, 0)])
        if frame >= 10:
            boxes, confidence = people.boxes.copy(), people.confidence.copy()
            boxes[:, 3], confidence[:, 13:] = 250, 0.1
            people = People(people.frame, people.track, boxes, people.scores, people.keypoints, confidence)
        tracker.update(time, people)
    assert tracker.expected(12 / 30)[0][0, 3] > 350


def test_nobody_is_expected_before_anybody_and_long_after():
    tracker = Tracker(COCO_17)
    assert [len(one) for one in tracker.expected(0.0)] == [0, 0]
    tracker.update(0.0, people_of(0, [walker(0, 300, 0)]))
    assert tracker.expected(0.1)[1].tolist() == [1]
    assert tracker.expected(10.0)[0].shape == (0, 4)


def test_memory_does_not_grow_with_time():
    tracker = Tracker(COCO_17, appearance=lambda image, boxes: np.random.default_rng(0).normal(size=(len(boxes), 8)), memory=2.0)
    sizes = []
    for start, scene in ((8.0 * seed, crowd(CROWDS["noisy"], seed)) for seed in (0, 1)):
        for time, people in zip(start + scene.times, scene.frames(), strict=True):
            tracker.update(time, people, IMAGE)
            sizes.append(len(tracker.to_arrays()["tracks/id"]))
    assert max(sizes) < 60


def test_a_tracker_of_ones_own_keypoints_knows_them_again():
    mine = Skeleton("mine", ("nose", "l_spot", "r_spot"), (0, 2, 1), (), (), {})
    tracker = Tracker(mine)
    person = People([0], [-1], np.array([[0, 0, 40, 60]]), [0.9], np.array([[[10, 10], [20, 30], [12, 30]]]), np.ones((1, 3)))
    (track,) = tracker.update(0.0, person).track
    resumed = Tracker.from_arrays(stored(tracker.to_arrays()))
    assert resumed._skeleton.swap == mine.swap and resumed.update(0.1, person).track.tolist() == [track]
