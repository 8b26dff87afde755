import numpy as np

from vitruvian.codecs.poses import Poses


def test_poses_unpack_as_keypoints_and_scores_and_filter_by_person():
    keypoints, scores = np.zeros((3, 5, 2), np.float32), np.arange(15, dtype=np.float32).reshape(3, 5)
    poses = Poses(keypoints, scores, np.ones((3, 5, 3), np.float32))
    first, second = poses
    assert first is keypoints and second is scores and len(poses) == 3
    kept = poses[np.array([True, False, True])]
    assert kept.scores[:, 0].tolist() == [0, 10] and kept.points.shape == (2, 5, 3)
    assert Poses(keypoints, scores)[:1].points is None
