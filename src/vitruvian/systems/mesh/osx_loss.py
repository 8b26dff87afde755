"""What OSX learns from: the published body's 137 keypoints, parameters, boxes and places in the crop (card osx.md, section 6)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.systems.mesh.osx import CROP, GRID, HAND_CELLS


class Labels(NamedTuple):
    """What the loss compares, of a prediction or of the truth, or (numbers 0 or 1 that broadcast) how far the truth is known.

    `pose` rotation vectors; `joints` 137 in metres (body 25, hands 20 each, face 72) as the data has them, `fitted_joints` those of fitted
    bodies; `projected` the 137 in cells of the 12x16 map; `places`, `fitted_places` (65) and `face_places` as in `Prediction`. Of a
    prediction, the fitted ones repeat the others.
    """

    pose: Float[Tensor, "b 53 3"]
    shape: Float[Tensor, "b 10"]
    expression: Float[Tensor, "b 10"]
    joints: Float[Tensor, "b 137 3"]
    fitted_joints: Float[Tensor, "b 137 3"]
    boxes: Float[Tensor, "b 3 4"]
    projected: Float[Tensor, "b 137 2"]
    places: Float[Tensor, "b 65 3"]
    fitted_places: Float[Tensor, "b 65 3"]
    face_places: Float[Tensor, "b 72 3"]


PARTS = ((slice(0, 25), 0), (slice(25, 45), 12), (slice(45, 65), 13), (slice(65, 137), 7))
"""Body, left hand, right hand, face: their rows among the 137 joints, and the joint that each is counted from (pelvis, wrists, neck)."""


def from_part_roots(joints: Float[Tensor, "b 137 3"]) -> Float[Tensor, "b 137 3"]:
    """Joints counted from the root of their part."""
    return torch.cat([joints[:, rows] - joints[:, root : root + 1] for rows, root in PARTS], 1)


def in_hand_cells(places: Float[Tensor, "b k d"], squares: Float[Tensor, "b 3 4"], hands: tuple[slice, slice]) -> Float[Tensor, "b k d"]:
    """The hands' rows of `places` (cells of the map) in cells of their crops; other rows and depths stay."""
    parts = [places[:, : hands[0].start]]
    for rows, square in zip(hands, (squares[:, 0], squares[:, 1]), strict=True):
        extent = (square[:, 2:] - square[:, :2]).clamp(min=1e-3)[:, None]
        inside = (places[:, rows, :2] - square[:, None, :2]) / extent * (2 * HAND_CELLS)
        parts.append(torch.cat((inside, places[:, rows, 2:]), -1))
    return torch.cat((*parts, places[:, hands[1].stop :]), 1)


def loss_terms(prediction: Labels, truth: Labels, known: Labels, in_crop: Float[Tensor, "b 3 4"]) -> dict[str, Float[Tensor, ""]]:
    """Every term: the mean absolute difference over all numbers, those that are not known as zero (card, section 6). All weigh the same.

    `in_crop` are the predicted `regions`, in whose cells hands are measured. An empty batch gives 0.
    """
    squares = in_crop.detach() * (GRID[0] / CROP[0])
    hands, shown = (PARTS[1][0], PARTS[2][0]), known.projected.expand_as(truth.projected)

    def mean(gap: Tensor, valid: Tensor) -> Tensor:
        gap = torch.where(valid.expand_as(gap) > 0, gap, torch.zeros_like(gap))  # an unknown number may be NaN
        return (gap.abs() * valid).sum() / max(gap.numel(), 1)

    def plain(name: str) -> Tensor:
        return mean(getattr(prediction, name) - getattr(truth, name), getattr(known, name))

    terms = {name: plain(name) for name in ("pose", "shape", "expression", "boxes", "face_places")}
    for name in ("joints", "fitted_joints"):
        gap = from_part_roots(getattr(prediction, name)) - from_part_roots(getattr(truth, name))
        terms[name] = mean(gap, getattr(known, name))
    for name in ("places", "fitted_places"):
        gap = in_hand_cells(getattr(prediction, name), squares, hands) - in_hand_cells(getattr(truth, name), squares, hands)
        terms[name] = mean(gap, getattr(known, name))
    gap = in_hand_cells(prediction.projected, squares, hands) - in_hand_cells(truth.projected, squares, hands)
    gap = torch.where(shown > 0, gap, torch.zeros_like(gap))
    local = [gap[:, :25]]
    for rows, _ in PARTS[1:]:  # only the shape of hands and face counts here, not where they are
        middle = (gap[:, rows] * shown[:, rows]).sum(1, keepdim=True) / shown[:, rows].sum(1, keepdim=True).clamp(min=1)
        local.append(gap[:, rows] - middle)
    terms["projected"] = mean(torch.cat(local, 1), shown)
    return terms


def osx_loss(prediction: Labels, truth: Labels, known: Labels, in_crop: Float[Tensor, "b 3 4"]) -> Float[Tensor, ""]:
    """The training loss: the plain sum of the terms."""
    return sum(loss_terms(prediction, truth, known, in_crop).values())
