"""Networks for clips: frames of one crop in, the keypoints of the middle frame out."""

import numpy as np
import pytest

clip_nets = pytest.importorskip("clip_nets", reason="needs onnx")
from clip_nets import K, fractions, maps  # noqa: E402
from vitruvian.errors import VitruvianError, WeightsError  # noqa: E402
from vitruvian.runtime.clips import ClipEstimator, looks_at_clips  # noqa: E402
from vitruvian.runtime.pose import PoseEstimator  # noqa: E402
from vitruvian.weights import Card  # noqa: E402

BOXES = np.array([[50, 40, 90, 80], [70, 40, 110, 100]], np.float32)


def clip(*greys):
    return [np.full((120, 160, 3), grey, np.uint8) for grey in greys]


def test_fractions_of_the_crop_become_pixels_of_the_picture(tmp_path):
    estimator = ClipEstimator(fractions(tmp_path), device="cpu", threads=1, max_batch=1)
    assert estimator.offsets == (-1, 0, 1)
    (poses,) = estimator([clip(0, 51, 204)], [BOXES])
    assert poses.keypoints.shape == (2, K, 2) and np.allclose(poses.scores, 0.8)
    # A box is made 1.25 times larger, and as wide as 48 to 64 wants it: of the first 50 wide and 66.7 high.
    middle, side = np.array([70, 60]), np.array([50, 50 * 64 / 48])
    np.testing.assert_allclose(poses.keypoints[0, 0], middle + (np.array([0.2, 0.8]) - 0.5) * side, atol=0.1)


def test_heat_maps_are_decoded_and_the_noise_is_the_same_for_everybody(tmp_path):
    path = maps(tmp_path)
    first, again, other = (ClipEstimator(path, device="cpu", threads=1, seed=seed)([clip(0, 0, 0)], [BOXES])[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    assert np.abs(first.keypoints - other.keypoints).max() > 1
    low, high = BOXES[:, None, :2] - 25, BOXES[:, None, 2:] + 25
    assert ((first.keypoints > low) & (first.keypoints < high)).all()


def test_nobody_and_no_clips(tmp_path):
    estimator = ClipEstimator(fractions(tmp_path), device="cpu", threads=1)
    (poses,) = estimator([clip(1, 2, 3)], [BOXES[:0]])
    assert poses.keypoints.shape == (0, K, 2) and poses.scores.shape == (0, K) and estimator([], []) == []


def test_what_is_no_clip(tmp_path):
    estimator = ClipEstimator(fractions(tmp_path), device="cpu", threads=1)
    for clips, boxes in (([clip(1, 2)], [BOXES]), ([clip(1, 2, 3)], [])):
        with pytest.raises(VitruvianError, match="3 frames per clip"):
            estimator(clips, boxes)


def test_networks_are_told_apart(tmp_path):
    nets = pytest.importorskip("nets")
    still = nets.pose(tmp_path)
    with pytest.raises(WeightsError, match="no pose network for clips"):
        ClipEstimator(still)
    path = fractions(tmp_path)
    card = Card.load(path.with_suffix(".json"))
    assert looks_at_clips(card) and not looks_at_clips(Card.load(still.with_suffix(".json")))
    with pytest.raises(WeightsError, match="clips of 3 frames"):
        PoseEstimator(path, device="cpu", threads=1)
    with pytest.raises(WeightsError, match="no pose network for clips"):
        ClipEstimator(fractions(tmp_path, frames=2))
