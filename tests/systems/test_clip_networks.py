"""DSTA and DiffPose, exported: the ground floor reads clips as torch does."""

import numpy as np
import pytest
import torch

from vitruvian.runtime.clips import ClipEstimator
from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose2d import diffpose_video, dsta

pytest.importorskip("onnxscript")
NETWORKS = {"dsta": (dsta, dsta.DSTA), "diffpose": (diffpose_video, diffpose_video.DiffPose)}


@pytest.mark.slow  # exporting takes seconds each
@pytest.mark.parametrize("name", NETWORKS)
def test_exported_networks_find_keypoints_in_clips(name, tmp_path):
    system, network = NETWORKS[name]
    torch.manual_seed(0)
    config = system.VARIANTS["nano"]
    exported = system.exported(config, network(config).eval())
    write_onnx(exported, tmp_path / "clip.onnx")
    estimator = ClipEstimator(tmp_path / "clip.onnx", device="cpu", threads=1, max_batch=2)
    assert len(estimator.offsets) == config.frames
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in estimator.offsets]
    boxes = np.float32([[20, 10, 90, 110], [50, 30, 120, 100], [0, 0, 40, 60]])
    (together,) = estimator([clip], [boxes])
    alone = [estimator([clip], [boxes[i : i + 1]])[0] for i in range(3)]
    assert together.keypoints.shape == (3, 17, 2) and np.isfinite(together.keypoints).all()
    np.testing.assert_allclose(together.keypoints, np.concatenate([one.keypoints for one in alone]), atol=1e-2)
    np.testing.assert_allclose(together.scores, np.concatenate([one.scores for one in alone]), atol=1e-4)
