"""Who is somebody: pieces of bodies, and tracks that nothing spoke for."""

from dataclasses import replace

import numpy as np

from vitruvian.people import Tracker
from vitruvian.people.similarity import within_others, without_doubtful_tracks, without_duplicates
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take
from walkers import people_of, walker


def pair(score: float, box: tuple[float, float, float, float]) -> People:
    """A whole person with score 0.8, and a second detection whose pose is the same body squeezed into its box."""
    body = walker(0.3, 200.0, 0.0)
    low, high = body.min(0), body.max(0)
    squeezed = (body - low) / (high - low) * (np.array(box[2:]) - box[:2]) + box[:2]
    return replace(people_of(0, [body, squeezed], [0.8, score]), boxes=np.float32([[*low, *high], box]))


def test_a_leg_is_no_person_but_a_child_in_front_is():
    low, high = pair(0.3, (0, 0, 1, 1)).boxes[0, :2], pair(0.3, (0, 0, 1, 1)).boxes[0, 2:]
    size = high - low
    leg = (*(low + size * [0.2, 0.6]), *(low + size * [0.6, 1.0]))
    beside = (*(low + size * [2, 0.6]), *(low + size * [2.4, 1.0]))
    assert within_others(pair(0.3, leg), COCO_17)[1, 0]
    assert len(without_duplicates(pair(0.3, leg), COCO_17)) == 1
    assert not within_others(pair(0.7, leg), COCO_17).any()  # detected with a good score: somebody in front
    assert not within_others(pair(0.3, beside), COCO_17).any()


def test_a_foot_outside_of_the_box_is_within_the_sure_keypoints():
    one = pair(0.3, (0, 0, 1, 1))
    ankle = one.keypoints[0, 15]
    foot = np.concatenate([ankle - 8, ankle + 8])
    cut = one.boxes[0].copy()
    cut[3] = ankle[1] - 30
    keypoints = one.keypoints.copy()
    keypoints[0, 16] = ankle + 9
    people = replace(one, boxes=np.float32([cut, foot]), keypoints=keypoints)
    assert within_others(people, COCO_17)[1, 0]
    unsure = one.confidence.copy()
    unsure[0] = 0.1
    assert not within_others(replace(people, confidence=unsure), COCO_17).any()


def film(frames: int, seen: int, score: float, sure: float) -> Take:
    """Track 1 in all frames, with a good score; track 2 elsewhere in some of them."""
    rows = [
        people_of(f, [walker(0, 200.0, 0.0), walker(0, 900.0, 0.0)][: 1 + (f < seen)], [0.8, score][: 1 + (f < seen)])
        for f in range(frames)
    ]
    columns = {name: np.concatenate([one.columns()[name] for one in rows]) for name in rows[0].columns()}
    columns["track"] = np.concatenate([np.arange(1, 1 + len(one)) for one in rows])
    columns["confidence"] = np.where(columns["track"][:, None] == 2, sure, columns["confidence"])
    return Take(People(**columns), COCO_17, np.arange(frames) / 30, np.tile([1000, 500], (frames, 1)))


def test_tracks_that_nothing_spoke_for_go():
    tracks = lambda *arguments: without_doubtful_tracks(film(*arguments)).tracks.tolist()  # noqa: E731
    assert tracks(20, 10, 0.35, 0.2) == [1]
    assert tracks(20, 10, 0.35, 0.7) == [1, 2]  # a pose speaks for it
    assert tracks(20, 10, 0.25, 0.7) == [1]  # but no detection does
    assert tracks(20, 10, 0.7, 0.2) == [1, 2]  # a score does
    assert tracks(20, 2, 0.7, 0.7) == [1]  # too brief
    assert tracks(5, 2, 0.7, 0.7) == [1, 2]  # but the film is as brief
    assert len(without_doubtful_tracks(film(20, 2, 0.7, 0.7)).times) == 20


def test_a_window_is_not_followed_on_weak_detections_for_ever():
    """Found well once, then weakly, and never with a body in it; beside it somebody whom the detector hardly sees, but the pose does."""
    tracker = Tracker(COCO_17)
    for frame in range(60):
        window, person = walker(0, 200.0, 0.0), walker(frame / 30, 600.0, 40.0)
        people = people_of(frame, [window, person], [0.7 if frame == 0 else 0.2, 0.7 if frame == 0 else 0.2])
        confidence = people.confidence.copy()
        confidence[0] = 0.2
        found = tracker.update(frame / 30, replace(people, confidence=confidence))
    assert len(found) == 1 and found.keypoints[0, 0, 0] > 500
