"""Ours: a person's keypoints over time -> the same points in metres, and the pose and shape of the compact body.

The idea: the inputs of `vitruvian.codecs.lift` (133 keypoints with confidence, as a camera sees them that looks straight at the person,
and how large the person appears) go through a linear layer per frame, blocks that mix neighbouring frames, and a linear layer per
frame. It knows no frame rate: frames are 1/30 s apart. Fully convolutional in time: any number of frames, all answered at once.

| what | here |
|---|---|
| block: depthwise convolution over time, then two linear layers, both around a residual (ConvNeXt, arXiv 2201.03545, in time) | `Block` |
| joint turns as two columns of a matrix (Zhou et al., arXiv 1812.07035) | `matrices` |
| per-frame baseline: two-block MLP (Martinez et al., arXiv 1705.03098) | `vitruvian.nn.lifter.Lifter` |

Trained by `python -m vitruvian.train.lift` on projected synthetic motions only. Nothing published is rebuilt here. Licence: Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.skeletons import COCO_WHOLEBODY_133

PART_WEIGHTS = {"body": 2.0, "foot": 1.0, "face": 0.3, "left_hand": 0.6, "right_hand": 0.6}
"""Weight of a point of each part in the loss."""


@dataclass(frozen=True)
class Config:
    """points: keypoints in and out. joints, shapes: of the body. width, blocks: of the network; kernel: frames that a block mixes."""

    points: int = 133
    joints: int = 69
    shapes: int = 16
    width: int = 256
    blocks: int = 5
    kernel: int = 9


VARIANTS = {"nano": Config(width=64, blocks=2), "s": Config()}


class Lifted(NamedTuple):
    """points: metres from the pelvis in the turned camera's axes. turns: local rotation matrices, the root's to those axes. shape."""

    points: Float[Tensor, "b t k 3"]
    turns: Float[Tensor, "b t j 3 3"]
    shape: Float[Tensor, "b t s"]


class Block(nn.Module):
    """(b, t, w) -> (b, t, w): neighbouring frames, then two linear layers."""

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.norm_time, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.time = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.wide, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
        x = x + self.time(self.norm_time(x).transpose(1, 2)).transpose(1, 2)
        return x + self.narrow(F.gelu(self.wide(self.norm(x))))


class Lift(nn.Module):
    """(b, t, 3 K + 1) -> `Lifted`."""

    def __init__(self, config: Config = VARIANTS["s"]):
        super().__init__()
        self.config = config
        self.first = nn.Linear(3 * config.points + 1, config.width)
        self.blocks = nn.Sequential(*(Block(config.width, config.kernel) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(config.width)
        self.last = nn.Linear(config.width, 3 * config.points + 6 * config.joints + config.shapes)
        nn.init.normal_(self.last.weight, std=0.01)
        with torch.no_grad():  # joints start unturned
            self.last.bias.zero_()
            self.last.bias[3 * config.points : -config.shapes].view(config.joints, 6)[:, [0, 4]] = 1.0

    def forward(self, inputs: Float[Tensor, "b t i"]) -> Lifted:
        config = self.config
        answer = self.last(self.norm(self.blocks(self.first(inputs))))
        points, turns, shape = answer.split((3 * config.points, 6 * config.joints, config.shapes), -1)
        return Lifted(points.unflatten(-1, (config.points, 3)), matrices(turns.unflatten(-1, (config.joints, 6))), shape)


def matrices(columns: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation matrices whose first two columns come from six numbers by Gram and Schmidt."""
    x = F.normalize(columns[..., :3], dim=-1)
    y = F.normalize(columns[..., 3:] - (x * columns[..., 3:]).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), -1)


def point_weights() -> Float[Tensor, " 133"]:
    """Weight of each point in the loss, by part; their mean is 1."""
    weights = torch.ones(len(COCO_WHOLEBODY_133))
    for part, weight in PART_WEIGHTS.items():
        weights[COCO_WHOLEBODY_133.parts[part]] = weight
    return weights / weights.mean()


def loss(
    found: Lifted, points: Float[Tensor, "b t k 3"], turns: Float[Tensor, "b t j 3 3"], shape: Float[Tensor, "b t s"]
) -> dict[str, Float[Tensor, ""]]:
    """Distances of points (decimetres), of their steps from frame to frame, and of hands from their wrists; joint turns; shape."""
    weights = point_weights()[:, None]
    off = 10 * (found.points - points)
    hands = [off[..., COCO_WHOLEBODY_133.parts[f"{side}_hand"], :] for side in ("left", "right")]
    parts = {
        "points": (weights * off.abs()).mean(),
        "steps": (weights * (off[:, 1:] - off[:, :-1]).abs()).mean(),
        "hands": sum((hand - hand[..., :1, :]).abs().mean() for hand in hands),
        "turns": (found.turns - turns).abs().mean(),
        "shape": F.smooth_l1_loss(found.shape, shape),
    }
    scale = {"points": 1.0, "steps": 2.0, "hands": 0.5, "turns": 2.0, "shape": 0.05}
    return {"total": sum(scale[name] * value for name, value in parts.items())} | parts
