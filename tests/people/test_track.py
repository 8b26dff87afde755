from dataclasses import replace

import numpy as np
import pytest

from vitruvian.people import Tracker, without_duplicates
from vitruvian.skeletons import COCO_17
from vitruvian.take import People
from walkers import people_of, walker


def track(times, frames, **options):
    """Ids per frame, in the order of each frame's rows (which these tests keep)."""
    tracker = Tracker(COCO_17, **options)
    return [tracker.update(time, people).track.tolist() for time, people in zip(times, frames, strict=True)]


@pytest.mark.parametrize("fps", [8, 30, 60])
def test_two_walkers_who_cross_keep_their_ids(fps):
    times = np.arange(0, 4, 1 / fps)
    frames = [people_of(i, [walker(t, 100, 220, pace=1.1), walker(t, 900, -200, top=110)], noise=3) for i, t in enumerate(times)]
    assert track(times, frames) == [[1, 2]] * len(times)


@pytest.mark.parametrize("fps", [15, 30])
def test_a_walker_hidden_behind_another_comes_back_under_the_same_id(fps):
    times = np.arange(0, 4, 1 / fps)
    frames, expected = [], []
    for i, t in enumerate(times):
        front, behind = walker(t, 100, 220, pace=1.1), walker(t, 900, -200, top=110)
        hidden = abs(front[0, 0] - behind[0, 0]) < 60
        frames.append(people_of(i, [front] if hidden else [front, behind], noise=3))
        expected.append([1] if hidden else [1, 2])
    assert sum(ids == [1] for ids in expected) > 0.2 * fps
    assert track(times, frames) == expected


def test_the_order_of_the_detections_does_not_matter():
    times = np.arange(0, 2, 1 / 30)
    poses = [[walker(t, 100, 200), walker(t, 700, -200, top=130)] for t in times]
    frames = [people_of(i, pair[:: 1 if i % 2 else -1]) for i, pair in enumerate(poses)]
    assert track(times, frames) == [[2, 1] if i % 2 else [1, 2] for i in range(len(times))]


def test_missed_detections_do_not_change_the_id():
    times = np.arange(0, 5, 1 / 30)
    missed = np.random.default_rng(1).uniform(size=len(times)) < 0.4
    missed[:3] = False
    frames = [people_of(i, [] if missed[i] else [walker(t, 100, 250)], noise=4) for i, t in enumerate(times)]
    assert track(times, frames) == [[] if gone else [1] for gone in missed]


def test_uneven_timestamps_keep_the_id():
    times = np.cumsum(np.random.default_rng(2).choice([0.01, 0.04, 0.25], size=80))
    frames = [people_of(i, [walker(t, 100, 150), walker(t, 500, 150)], noise=2) for i, t in enumerate(times)]
    assert track(times, frames) == [[1, 2]] * len(times)


def test_somebody_who_enters_long_after_an_exit_is_somebody_new():
    times = np.arange(0, 6, 1 / 30)
    frames = []
    for i, t in enumerate(times):
        present = [walker(t, 600, 300)] if t < 1 else [walker(t - 4, 900, -300)] if t > 4 else []
        frames.append(people_of(i, present))
    ids = {one for frame in track(times, frames) for one in frame}
    assert ids == {1, 2}


def test_weak_detections_continue_a_track_but_start_none():
    times = np.arange(10) / 30
    seen = [people_of(i, [walker(t, 100, 100), walker(t, 600, 0)], scores=[0.15 if i > 3 else 0.8, 0.15]) for i, t in enumerate(times)]
    assert track(times, seen) == [[1]] * 10


def test_a_ghost_of_one_frame_is_forgotten_soon():
    ghost = people_of(0, [walker(0, 300, 0)])
    assert track([0.0, 1.0], [ghost, ghost]) == [[1], [2]]


def test_a_person_detected_twice_is_reported_once_with_the_better_detection():
    pose = walker(0, 300, 0)
    people = people_of(0, [pose, pose + 2, walker(0, 420, 0)], scores=[0.5, 0.9, 0.7])
    boxes = people.boxes.copy()
    boxes[0, 3] = 250  # box of the upper body only, so that box overlap alone would not tell
    people = replace(people, boxes=boxes)
    np.testing.assert_allclose(without_duplicates(people, COCO_17).scores, [0.9, 0.7])


def test_unsure_keypoints_never_remove_a_person():
    pose = walker(0, 300, 0)
    people = people_of(0, [pose, pose])
    people = replace(people, boxes=people.boxes + [[0], [200]], confidence=people.confidence * 0.05)
    assert len(without_duplicates(people, COCO_17)) == 2


def test_when_keypoints_are_unsure_boxes_decide():
    times = np.arange(30) / 30
    frames = []
    for i, t in enumerate(times):
        people = people_of(i, [walker(t, 100, 100), walker(t, 600, -100)])
        garbage = np.random.default_rng(i).uniform(0, 900, people.keypoints.shape).astype(np.float32)
        garbage[:, 0] = np.nan
        frames.append(replace(people, keypoints=garbage, confidence=people.confidence * 0.1))
    assert track(times, frames) == [[1, 2]] * len(times)


def test_empty_frames_are_fine_at_any_time():
    frames = [People.empty(17), people_of(1, [walker(0, 100, 0)]), People.empty(17)]
    assert track([0, 0.1, 0.2], frames) == [[], [1], []]


def test_a_box_on_half_of_a_known_body_starts_no_track_but_a_child_in_front_does():
    """The upper half's pose agrees only roughly; the child's box lies within the adult's as well."""
    body, child = walker(0.0, 200, 0), walker(0.0, 200, 0, height=150, top=240)
    half = body + np.random.default_rng(0).normal(0, 14, body.shape)
    people = people_of(0, [body, half, child], scores=[0.9, 0.5, 0.6])
    boxes = people.boxes.copy()
    boxes[1] = [boxes[0, 0] + 2, boxes[0, 1] + 2, boxes[0, 2] - 2, boxes[0, 1] + 200]
    people = replace(people, boxes=boxes)
    tracker = Tracker(COCO_17)
    tracker.update(0.0, people[:1])
    found = tracker.update(0.04, people)
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert found.track.tolist() == [1, 2]


def test_a_doubtful_detection_without_a_pose_starts_no_track():
    people = people_of(0, [walker(0, 100, 0), walker(0, 400, 0), walker(0, 700, 0)], scores=[0.4, 0.4, 0.7])
    unsure = people.confidence.copy()
    unsure[0] = 0.2  # leaves and windows: the pose network sees no body
    unsure[2] = 0.2  # a detection as clear as this needs no second opinion
    assert len(Tracker(COCO_17).update(0.0, replace(people, confidence=unsure))) == 2
