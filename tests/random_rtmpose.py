"""RTMPose, 133 points, with random but fixed weights as an ONNX file: graph and time of a trained one, answers that can be used."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nets import lines, pose_places
from vitruvian.systems.export import export_onnx
from vitruvian.systems.pose2d.rtmw import SPLIT, VARIANTS, RTMPose

TREMBLE = 0.15  # the network's share in a score of 0.9
WIDTH = 12.0  # bins; with it points tremble by a few pixels, and a box around them is about the person's


class Placed(nn.Module):
    """RTMPose plus a hill of height 0.9 on each axis of each keypoint: point k lies near `nets.pose_places(133)[k]` of the box.

    What the network itself says is scaled so that it differs by `TREMBLE` (standard deviation) from picture to picture of blots: a point
    moves with what is in the crop, but not far, scores pass the usual thresholds, and trackers can follow.
    """

    def __init__(self, network: RTMPose):
        super().__init__()
        self.network = network
        size = network.config.input_size
        places = 0.5 + (pose_places(network.config.keypoints) - 0.5) / 1.25
        for axis, side in enumerate(size):
            hill = lines(SPLIT * side * places[:, axis], SPLIT * side, 0.9, WIDTH)
            self.register_buffer("xy"[axis], torch.from_numpy(hill))
        blots = torch.randn(8, 3, 4, 3, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            answers = network.eval()(F.interpolate(blots, size[::-1], mode="bicubic"))
            self.scale = TREMBLE / float(torch.cat(answers, -1).std(0).mean())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.network(image)
        return self.x + self.scale * x, self.y + self.scale * y


def random_rtmpose(path: Path, variant: str = "nano") -> Path:
    """Write the network of `vitruvian.systems.pose2d.rtmw.VARIANTS[variant]` to `path`, which is returned."""
    config = VARIANTS[variant]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RTMPose(config)
    width, height = config.input_size
    export_onnx(Placed(network), torch.zeros(2, 3, height, width), path, output_names=("simcc_x", "simcc_y"), tolerance=1e-2)
    return path
