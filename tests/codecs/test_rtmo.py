import numpy as np
import pytest

from vitruvian.codecs.rtmo import decode_rtmo

DETS = np.float32([[[0, 0, 20, 40, 0.4], [1, 1, 20, 40, 0.9], [30, 0, 50, 20, 0.8], [60, 0, 61, 1, 0.1]], np.zeros((4, 5))])
KEYPOINTS = np.random.default_rng(0).uniform(0, 1, (2, 4, 17, 3)).astype(np.float32)


def test_people_come_best_first_and_once():
    (found, poses), (nobody, none) = decode_rtmo(DETS, KEYPOINTS, 0.3, 0.65)
    assert found.boxes.tolist() == DETS[0, [1, 2], :4].tolist() and found.scores == pytest.approx([0.9, 0.8])
    assert np.array_equal(poses.keypoints, KEYPOINTS[0, [1, 2], :, :2]) and np.array_equal(poses.scores, KEYPOINTS[0, [1, 2], :, 2])
    assert len(nobody) == len(none) == 0 and none.keypoints.shape == (0, 17, 2)


def test_a_graph_that_has_suppressed_already_loses_nobody():
    rows = np.float32([[[x, 0, x + 30, 40, 0.9 - x / 100] for x in range(0, 80, 20)]])
    ((found, _),) = decode_rtmo(rows, KEYPOINTS[:1], 0.05, 0.65)
    assert len(found) == 4


def test_the_limit_keeps_the_best_people():
    ((found, poses),) = decode_rtmo(DETS[:1], KEYPOINTS[:1], 0.0, 1.0, max_people=2)
    assert found.scores == pytest.approx([0.9, 0.8]) and len(poses) == 2


def test_no_pictures_give_no_people():
    assert decode_rtmo(np.zeros((0, 4, 5)), np.zeros((0, 4, 17, 3)), 0.3, 0.65) == []
