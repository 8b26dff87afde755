"""The synthetic crowds are what the tracking tests take them for."""

import numpy as np

from crowds import CROWDS, SIZE, CrowdSettings, crowd
from vitruvian.geometry.boxes import iou


def test_one_seed_gives_one_scene():
    first, again, other = (crowd(CrowdSettings(seconds=1), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.detections.keypoints, again.detections.keypoints)
    np.testing.assert_array_equal(first.appearance, again.appearance)
    assert len(first.truth) != len(other.truth) or not np.array_equal(first.truth.boxes, other.truth.boxes)


def test_the_walks_do_not_depend_on_the_frame_rate():
    slow, fast = (crowd(CrowdSettings(seconds=2, fps=fps), 0).truth for fps in (10, 30))
    for frame in range(20):
        a, b = slow.at(frame), fast.at(3 * frame)
        assert a.track.tolist() == b.track.tolist()
        np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1)


def test_detections_of_people_in_plain_view_lie_on_them():
    scene = crowd(CROWDS["some"], 1)
    overlaps = []
    for frame, (people, persons) in enumerate(zip(scene.frames(), _split(scene), strict=True)):
        truth = scene.truth.at(frame)
        for box, score, person in zip(people.boxes, people.scores, persons, strict=True):
            if person and score > 0.7 and person in truth.track:
                overlaps.append(iou(box[None], truth.of(person).boxes)[0, 0])
    assert len(overlaps) > 500 and np.mean(overlaps) > 0.85


def test_people_hide_each_other():
    scene = crowd(CROWDS["dense"], 0)
    hidden = 1 - scene.truth.confidence.mean(1)
    assert (hidden > 0.4).any() and (hidden == 0).any()
    assert len(scene.truth) < 20 * len(scene.times)  # some are outside or behind others


def test_boxes_stay_within_the_picture_and_false_ones_are_told():
    scene = crowd(CROWDS["noisy"], 0)
    assert (scene.detections.boxes >= 0).all() and (scene.detections.boxes <= np.tile(SIZE, 2)).all()
    assert 0.5 < (scene.person == 0).sum() / len(scene.times) < 3


def test_nobody_is_a_scene_as_well():
    scene = crowd(CrowdSettings(walkers=0, seconds=0.5, false_positives=0), 0)
    assert len(scene.truth) == len(scene.detections) == 0 and len(scene.times) == 15


def _split(scene):
    return np.split(scene.person, np.searchsorted(scene.detections.frame, np.arange(1, len(scene.times))))
