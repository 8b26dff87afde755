"""The objects of pictures, as the losses are taught them (`nn.anchors.Targets` and what systems add): moved, cut, mirrored, collated.

All functions work on any system's targets: whatever has a row per object is chosen with it, and `points`, where there are some, go where
the boxes go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.nn.anchors import Targets

LEAST_SIDE, LEAST_SHARE, MOST_ASPECT = 2.0, 0.1, 20.0
"""An object that was cut still counts with sides of more pixels, more of its area, and sides less unlike (card bpjdet.md section 6)."""

AnyTargets = TypeVar("AnyTargets", bound=Targets)


def chosen(targets: AnyTargets, rows: Bool[Tensor, " g"] | Int[Tensor, " n"]) -> AnyTargets:
    """Some of the objects."""
    return replace(targets, **{name: value[rows] for name, value in vars(targets).items() if value is not None})


def moved(targets: AnyTargets, zoom: Float[Tensor, " 2"], shift: Float[Tensor, " 2"]) -> AnyTargets:
    """The objects of pictures that were scaled along x and y, then shifted by so many pixels."""
    points = {"points": targets.points * zoom + shift} if hasattr(targets, "points") else {}
    return replace(targets, boxes=targets.boxes * zoom.repeat(2) + shift.repeat(2), **points)


def cut(targets: AnyTargets, low: Float[Tensor, " 2"], high: Float[Tensor, " 2"]) -> AnyTargets:
    """What is left of the objects between two corners: boxes are cut, too small a rest is left out, points outside become NaN."""
    whole = targets.boxes
    boxes = whole.clamp(min=low.repeat(2), max=high.repeat(2))
    size, full = boxes[:, 2:] - boxes[:, :2], (whole[:, 2:] - whole[:, :2]).prod(1)
    kept = (size > LEAST_SIDE).all(1) & (size.prod(1) > LEAST_SHARE * full) & (size.amax(1) < MOST_ASPECT * size.amin(1))
    points = {}
    if hasattr(targets, "points"):
        inside = ((targets.points >= low) & (targets.points <= high)).all(2, keepdim=True)
        points = {"points": torch.where(inside, targets.points, torch.nan)}
    return chosen(replace(targets, boxes=boxes, **points), kept)


def flipped(targets: AnyTargets, width: float) -> AnyTargets:
    """Boxes and points of pictures of `width` pixels seen in a mirror; what has a side, or a direction, is the system's to change."""
    left, top, right, bottom = targets.boxes.unbind(1)
    points = {}
    if hasattr(targets, "points"):
        points = {"points": targets.points * torch.tensor([-1.0, 1.0]) + torch.tensor([width, 0.0])}
    return replace(targets, boxes=torch.stack((width - right, top, width - left, bottom), 1), **points)


def collate(pictures: Sequence[AnyTargets]) -> AnyTargets:
    """The objects of several pictures as of one batch. There must be at least one picture, and an optional column in all or none."""
    columns = {name: torch.cat([getattr(one, name) for one in pictures]) for name, value in vars(pictures[0]).items() if value is not None}
    columns["images"] = torch.cat([torch.full_like(one.images, i) for i, one in enumerate(pictures)])
    return replace(pictures[0], **columns)
