"""What PyMAF-X learns from: points, parameters and hands' visibility after each iteration, and dense correspondence (card, section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.nn.iuv import IUV, IUVLabels, map_losses


class Labelled(NamedTuple):
    """What the loss compares of one iteration, of a prediction or of the truth, or (numbers that broadcast) how far the truth counts.

    2D points in [-1, 1] of the part's crop, 3D points in metres from the part's root; hands: left, right; rotations as matrices.
    `part_points_2d` are those of hands and face in the body's crop.
    """

    points_2d: Float[Tensor, "b k 2"]
    points_3d: Float[Tensor, "b k 3"]
    part_points_2d: Float[Tensor, "b m 2"]
    hand_points_3d: Float[Tensor, "b h 3"]
    own_points_2d: Float[Tensor, "b m 2"]
    body: Float[Tensor, "b 24 3 3"]
    hands: Float[Tensor, "b 30 3 3"]
    face: Float[Tensor, "b 3 3 3"]
    shape: Float[Tensor, "b 10"]
    expression: Float[Tensor, "b 50"]
    visible: Float[Tensor, "b 2"]


WEIGHTS: Mapping[str, float] = {
    "points_2d": 300.0,
    "points_3d": 300.0,
    "part_points_2d": 30.0,
    "own_points_2d": 1000.0,
    "hand_points_3d": 1000.0,
    "body": 60.0,
    "hands": 60.0,
    "face": 60.0,
    "shape": 0.06,
    "expression": 0.06,
    "visible": 1.0,
    "camera": 1.0,
}


def loss_terms(prediction: Labelled, truth: Labelled, known: Labelled, scale: Float[Tensor, " b"]) -> dict[str, Float[Tensor, ""]]:
    """Every term of one iteration without its weight: mean squared differences (of `visible`: absolute) times how far the truth counts.

    Each part's own 2D points are first moved onto the truth's middle, so that only their shape counts. `scale` is the camera's, which must
    stay positive. Nobody gives 0.
    """
    terms = {}
    for name in Labelled._fields:
        weight, gap = getattr(known, name), getattr(prediction, name) - getattr(truth, name)
        weight = weight.expand_as(gap)
        gap = torch.where(weight > 0, gap, torch.zeros_like(gap))  # an unknown number may be NaN
        if name == "own_points_2d":
            middle = (gap * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1e-6)
            gap = torch.where(weight > 0, gap - middle, torch.zeros_like(gap))
        terms[name] = ((gap.abs() if name == "visible" else gap**2) * weight).sum() / max(gap.numel(), 1)
    terms["camera"] = ((-10 * scale).exp() ** 2).sum() / max(len(scale), 1)
    return terms


def pymaf_x_loss(predictions: list[Labelled], truth: Labelled, known: Labelled, scales: list[Float[Tensor, " b"]]) -> Float[Tensor, ""]:
    """The training loss: the weighted sum of the terms of every iteration."""
    terms = [loss_terms(p, truth, known, scale) for p, scale in zip(predictions, scales, strict=True)]
    return sum(WEIGHTS[name] * value for one in terms for name, value in one.items())


DENSE_WEIGHTS: Mapping[str, float] = {"index": 1.0, "annotation": 1.0, "uv": 0.5}


def dense_loss(dense: IUV, labels: IUVLabels) -> Float[Tensor, ""]:
    """Dense correspondence (card 4.7): `nn.iuv.map_losses`, summed and averaged as the same authors' DaNet does it [ours]."""
    return sum(DENSE_WEIGHTS[name] * value for name, value in map_losses(dense, labels).items())
