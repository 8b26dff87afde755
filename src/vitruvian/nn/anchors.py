"""Anchor heads in torch: decoding, which anchors answer for which object, and the losses of boxes, objectness and classes.

After card bpjdet.md sections 5 and 6 (YOLOv5's rules). The numpy twin of the decoding is `vitruvian.codecs.anchors`. A row of a head is

    tx, ty, tw, th, objectness, classes ..., points x1, y1, x2, y2, ..., and whatever a system adds

Targets are those of a whole batch: `boxes` (g, 4) xyxy in pixels of the input, `labels` (g,), `images` (g,) which picture each is in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

LEVEL_WEIGHTS = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}
"""Of the objectness loss, fine maps first. Those of three levels are from memory."""
MAX_RATIO = 4.0
"""An anchor answers for objects up to so many times as wide, narrow, tall or flat as itself."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The objects of a batch. boxes: xyxy pixels. labels: classes. images: which picture."""

    boxes: Float[Tensor, "g 4"]
    labels: Int[Tensor, " g"]
    images: Int[Tensor, " g"]


@dataclass(frozen=True, eq=False)
class Matched:
    """What one level has to answer: m pairs of an anchor in a cell, and an object.

    rows: the raw predictions. target: which object. cell: column and row. anchor: width and height in strides. where: image, anchor, row
    and column of each in the head's output.
    """

    rows: Float[Tensor, "m c"]
    target: Int[Tensor, " m"]
    cell: Float[Tensor, "m 2"]
    anchor: Float[Tensor, "m 2"]
    where: tuple[Tensor, Tensor, Tensor, Tensor]


def decode(
    raw: list[Float[Tensor, "b 3 _ _ c"]], anchors: Float[Tensor, "l 3 2"], strides: tuple[int, ...], classes: int, points: int
) -> Float[Tensor, "b n c"]:
    """Raw heads -> rows in pixels of the input: centre x, y, width, height, objectness, classes, points, the rest; all scores in [0, 1].

    anchors are in strides. Rows are ordered by level, anchor, row and column. A point is counted from its cell's corner and lies at
    most two anchors away.
    """
    out = []
    first = 5 + classes
    for level, anchor, stride in zip(raw, anchors, strides, strict=True):
        height, width = level.shape[2:4]
        columns = torch.arange(width, device=level.device, dtype=level.dtype)
        lines = torch.arange(height, device=level.device, dtype=level.dtype)
        grid = torch.stack(torch.broadcast_tensors(columns, lines[:, None]), -1)  # (h, w, 2)
        size = (anchor * stride)[:, None, None].to(level.dtype)  # (3, 1, 1, 2)
        y = level.sigmoid()
        centre = (y[..., :2] * 2 - 0.5 + grid) * stride
        extent = (y[..., 2:4] * 2).square() * size
        # Flat, by repetition: an axis of points is one more than some runtimes like.
        offsets = (y[..., first : first + 2 * points] * 4 - 2) * size.repeat(1, 1, 1, points) + (grid * stride).repeat(1, 1, points)
        rows = torch.cat((centre, extent, y[..., 4:first], offsets, y[..., first + 2 * points :]), -1)
        out.append(rows.flatten(1, 3))
    return torch.cat(out, 1)


def corners(rows: Float[Tensor, "*n c"]) -> Float[Tensor, "*n 4"]:
    """The boxes xyxy of decoded rows."""
    half = rows[..., 2:4] / 2
    return torch.cat((rows[..., :2] - half, rows[..., :2] + half), -1)


def match(
    raw: list[Float[Tensor, "b 3 _ _ c"]], anchors: Float[Tensor, "l 3 2"], strides: tuple[int, ...], targets: Targets
) -> list[Matched]:
    """Per level, the anchors that answer for each object: those of a similar shape, in its cell and the two cells nearest to its centre."""
    out = []
    for level, anchor, stride in zip(raw, anchors, strides, strict=True):
        height, width = level.shape[2:4]
        boxes = targets.boxes.to(level.device, torch.float32) / stride
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        ratio = size[:, None] / anchor
        alike = torch.maximum(ratio, 1 / ratio).amax(2) < MAX_RATIO
        target, kind = alike.nonzero(as_tuple=True)
        place = centre[target]
        limits = torch.tensor([width, height], device=level.device, dtype=torch.float32)
        low, high = (place % 1 < 0.5) & (place > 1), ((limits - place) % 1 < 0.5) & (limits - place > 1)
        neighbours = torch.cat((torch.ones_like(low[:, :1]), low, high), 1)  # itself, left, above, right, below
        steps = torch.tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]], device=level.device)
        pair, step = neighbours.nonzero(as_tuple=True)
        cell = (place[pair].long() + steps[step]).clamp(min=torch.zeros_like(limits).long(), max=limits.long() - 1)
        target, kind = target[pair], kind[pair]
        where = (targets.images.to(level.device)[target], kind, cell[:, 1], cell[:, 0])
        out.append(Matched(level[where].float(), target, cell.float(), anchor[kind].float(), where))
    return out


def complete_iou(a: Float[Tensor, "m 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, " m"]:
    """Complete IoU (Zheng et al., arXiv 1911.08287) of corresponding boxes xyxy: overlap, less distance, less difference of aspect."""
    eps = 1e-7
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    iou = shared / (size_a.prod(1) + size_b.prod(1) - shared + eps)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(1) / (hull.square().sum(1) + eps)
    aspect_a, aspect_b = (torch.atan(size[:, 0] / (size[:, 1] + eps)) for size in (size_a, size_b))
    aspect = (4 / math.pi**2) * (aspect_b - aspect_a).square()
    with torch.no_grad():
        weight = aspect / (aspect - iou + 1 + eps)
    return iou - apart - weight * aspect


def detection_loss(
    raw: list[Float[Tensor, "b 3 _ _ c"]], matched: list[Matched], strides: tuple[int, ...], targets: Targets, classes: int
) -> dict[str, Float[Tensor, ""]]:
    """Un-weighted "box", "objectness" and "class" losses, summed over the levels; float32.

    Objectness is taught the clamped complete IoU of the anchor's own box. Where two objects want one anchor, the better overlap counts
    (published: whichever comes last). One class has no class loss; a level without objects only teaches objectness.
    """
    zero = sum(level.sum() for level in raw) * 0.0
    total = {"box": zero.float(), "objectness": zero.float(), "class": zero.float()}
    for level, pairs, stride, weight in zip(raw, matched, strides, LEVEL_WEIGHTS[len(raw)], strict=True):
        wanted = torch.zeros(level.shape[:-1], device=level.device)
        if len(pairs.target):
            y = pairs.rows[:, :4].sigmoid()
            predicted = torch.cat((y[:, :2] * 2 - 0.5 + pairs.cell, (y[:, 2:] * 2).square() * pairs.anchor), 1)
            boxes = targets.boxes.to(level.device, torch.float32)[pairs.target] / stride
            overlap = complete_iou(corners(predicted), boxes)
            total["box"] = total["box"] + (1 - overlap).mean()
            _, *shape = wanted.shape
            flat = ((pairs.where[0] * shape[0] + pairs.where[1]) * shape[1] + pairs.where[2]) * shape[2] + pairs.where[3]
            wanted = wanted.flatten().scatter_reduce(0, flat, overlap.detach().clamp(min=0), "amax").view_as(wanted)
            if classes > 1:
                labels = F.one_hot(targets.labels.to(level.device)[pairs.target].long(), classes).float()
                total["class"] = total["class"] + F.binary_cross_entropy_with_logits(pairs.rows[:, 5 : 5 + classes], labels)
        if wanted.numel():
            total["objectness"] = total["objectness"] + weight * F.binary_cross_entropy_with_logits(level[..., 4].float(), wanted)
    return total


def picture_size(raw: list[Float[Tensor, "b 3 _ _ c"]], strides: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) in pixels of the input that these heads have seen."""
    height, width = raw[0].shape[2:4]
    return width * strides[0], height * strides[0]
