"""Anchor heads (YOLOv5's, of BPJDet and JointBDOE) -> boxes, scores and extras; in numpy, equal to `vitruvian.nn.anchors` in torch.

Rules: card bpjdet.md section 5. With s the sigmoid, a cell (gx, gy) of a map of stride t, and an anchor (aw, ah) in pixels:

    centre = (2 s(tx) - 0.5 + gx) t      width = (2 s(tw))^2 aw      point = (4 s(ox) - 2) aw + gx t      and so on for y

A raw head is (3 anchors, rows, columns, 5 + classes + 2 points + others). Suppression takes a box's best class only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.nms import nms
from vitruvian.errors import VitruvianError

# fmt: off
ANCHORS_P5 = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
ANCHORS_P6 = (
    ((19, 27), (44, 40), (38, 94)), ((96, 68), (86, 152), (180, 137)), ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)
# fmt: on
"""Widths and heights in pixels where training starts, per level; those of P5 are from memory. Checkpoints bring their own."""

MOST_CANDIDATES = 30_000
"""At most so many boxes enter the suppression."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Decoded rows of one picture: boxes (n, 4) xyxy in pixels of the input, scores (n, classes), extras (n, e) in the head's order.

    Extras are the points, already in pixels, and what follows them (states, angles) in [0, 1].
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, "n c"]
    extras: Float32[np.ndarray, "n e"]


def decode_rows(
    raw: Sequence[Float[np.ndarray, "3 _ _ c"]],
    anchors: Float[np.ndarray, "l 3 2"],
    classes: int,
    points: int,
    threshold: float | None = None,
) -> Float32[np.ndarray, "n c"]:
    """Rows of one picture: centre x, y, width, height, objectness, classes, points, the rest; by level, anchor, row and column.

    anchors are in pixels; strides are 8, 16, 32, ... With a `threshold` only rows of greater objectness are decoded: that is cheap where
    few are. Raises VitruvianError on heads of other shapes.
    """
    if not 0 < len(raw) <= len(anchors) or any(x.ndim != 4 or x.shape[-1] < 5 + classes + 2 * points for x in raw):
        shapes = [x.shape for x in raw]
        raise VitruvianError(f"heads {shapes} don't hold {classes} classes and {points} points for 3 anchors: give those of one picture")
    out = []
    limit = -math.inf if threshold is None else _logit(threshold)
    for level, (x, sizes) in enumerate(zip(raw, np.asarray(anchors, np.float32), strict=False)):
        stride = np.float32(8 << level)
        _, height, width, channels = x.shape
        flat = x.reshape(-1, channels)
        rows = np.flatnonzero(flat[:, 4] > limit) if threshold is not None else np.arange(len(flat))
        cell = np.stack([rows % width, rows // width % height], 1).astype(np.float32)
        size = sizes[rows // (width * height)]
        y = _sigmoid(flat[rows])
        y[:, :2] = (y[:, :2] * 2 - np.float32(0.5) + cell) * stride
        y[:, 2:4] = np.square(y[:, 2:4] * 2) * size
        first = 5 + classes
        for point in range(first, first + 2 * points, 2):
            y[:, point : point + 2] = (y[:, point : point + 2] * 4 - 2) * size + cell * stride
        out.append(y)
    return np.concatenate(out)


def split_rows(rows: Float[np.ndarray, "n c"], classes: int) -> Candidates:
    """Decoded rows as boxes, scores (objectness times class) and extras."""
    half = rows[:, 2:4] * np.float32(0.5)
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    return Candidates(boxes, rows[:, 4:5] * rows[:, 5 : 5 + classes], rows[:, 5 + classes :])


def select(
    candidates: Candidates, classes: Sequence[int], score_threshold: float, iou_threshold: float, max_boxes: int = 300
) -> tuple[Detections, Float32[np.ndarray, "m e"]]:
    """The rows whose best class is one of `classes`, above the threshold and after suppression within each class; best first.

    Returns boxes with scores and labels, and the extras of the same rows.
    """
    scores = candidates.scores
    wanted = np.asarray(classes, np.int64)
    # A column at a time: comparing whole rows of a few numbers each is several times slower.
    hot = np.zeros(len(scores), bool)
    for column in wanted:
        hot |= scores[:, column] > score_threshold
    rows = np.flatnonzero(hot)
    labels = scores[rows].argmax(axis=1) if scores.shape[1] else np.zeros(0, np.int64)
    mine = np.isin(labels, wanted)
    rows, labels = rows[mine], labels[mine]
    best = scores[rows, labels].astype(np.float32)
    order = np.argsort(-best, kind="stable")[:MOST_CANDIDATES]
    rows, labels, best = rows[order], labels[order], best[order]
    boxes = candidates.boxes[rows].astype(np.float32)
    kept = nms(boxes, best, labels, iou_threshold, max_boxes)
    found = Detections(boxes[kept], best[kept], labels[kept].astype(np.int32))
    return found, candidates.extras[rows[kept]].astype(np.float32)


def centred_letterbox(image: Float[np.ndarray, "_ _ 3"], size: tuple[int, int], step: int = 0) -> Float[np.ndarray, "_ _ 3"]:
    """A picture fitted into `size` (width, height), proportions kept, in the MIDDLE of grey 114; `uncentre` is the way back.

    step: pad each side only to the next multiple of it, not to `size` (published demos: 64). An odd pixel goes right and below.
    """
    import cv2

    height, width = image.shape[:2]
    ratio = min(size[0] / width, size[1] / height)
    scaled = max(1, round(width * ratio)), max(1, round(height * ratio))
    spare = [(have - need) % step if step else have - need for have, need in zip(size, scaled, strict=True)]
    if scaled != (width, height):
        image = cv2.resize(image, scaled, interpolation=cv2.INTER_LINEAR)
    (left, right), (top, bottom) = ((pixels // 2, pixels - pixels // 2) for pixels in spare)
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))


def uncentre(points: Float[np.ndarray, "*n 2"], input_size: tuple[int, int], size: tuple[int, int]) -> Float32[np.ndarray, "*n 2"]:
    """Points from pixels of a centred input to those of the picture, clipped to it; both sizes are (width, height)."""
    gain = min(input_size[0] / size[0], input_size[1] / size[1])
    pad = np.array([(have - side * gain) / 2 for have, side in zip(input_size, size, strict=True)], np.float32)
    return np.clip((points - pad) / np.float32(gain), 0, np.asarray(size, np.float32)).astype(np.float32)


def uncentre_boxes(boxes: Float[np.ndarray, "n 4"], input_size: tuple[int, int], size: tuple[int, int]) -> Float32[np.ndarray, "n 4"]:
    """`uncentre` for boxes xyxy."""
    return uncentre(boxes.reshape(-1, 2, 2), input_size, size).reshape(-1, 4)


def _sigmoid(x: Float[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """As torch has it to the last digit but for few: whole-pixel boxes are rounded from it, and 62.5 must not fall to the other side."""
    with np.errstate(over="ignore"):  # exp(100) is infinite in float32, and 1 / inf is the right answer
        return np.float32(1) / (np.float32(1) + np.exp(-x.astype(np.float64)).astype(np.float32))


def _logit(p: float) -> float:
    return -math.inf if p <= 0 else math.inf if p >= 1 else math.log(p / (1 - p))
