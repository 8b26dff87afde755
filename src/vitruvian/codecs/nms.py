"""Non-maximum suppression: of boxes that mean the same object, keep the best."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

_BLOCK = 16  # measured: best from 30 to 2000 candidates


def nms(
    boxes: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    iou_threshold: float = 0.6,
    max_boxes: int = 300,
    plus_one: bool = False,
) -> Int64[np.ndarray, " m"]:
    """Rows to keep, best first: greedy suppression within each class.

    A box goes when its intersection over union with a better kept box of the same label is greater than `iou_threshold`; of equal
    scores the earlier row is the better one. At most `max_boxes` rows come back. Boxes are xyxy; `plus_one` measures them as old toolkits
    do, from the first to the last pixel inclusive: every side is a pixel longer.
    """
    order = np.argsort(-scores, kind="stable")
    corners, groups = np.ascontiguousarray(np.asarray(boxes, np.float32).reshape(-1, 4)[order].T), labels[order]
    keep: list[np.ndarray] = []
    kept = 0
    # A block of the best against all that is left, not n x n: in a usual picture few boxes survive, and most work is never done.
    while order.size and kept < max_boxes:
        duplicates = _duplicates(corners, groups, min(_BLOCK, order.size), iou_threshold, float(plus_one))
        alive = np.ones(order.size, bool)
        for row, same in enumerate(duplicates):
            if alive[row]:
                alive[row + 1 :] &= ~same[row + 1 :]
        best, rest = np.flatnonzero(alive[:_BLOCK]), np.flatnonzero(alive[_BLOCK:]) + _BLOCK
        keep.append(order[best])
        kept += best.size
        order, corners, groups = order[rest], corners[:, rest], groups[rest]
    return np.concatenate(keep)[:max_boxes] if keep else np.zeros(0, np.int64)


def _duplicates(
    corners: Float32[np.ndarray, "4 n"], groups: Int[np.ndarray, " n"], block: int, limit: float, extra: float
) -> Bool[np.ndarray, "b n"]:
    """Which boxes overlap one of the first `block` by more than the limit and have its label; sides are `extra` longer."""
    x0, y0, x1, y1 = corners
    x1, y1 = x1 + extra, y1 + extra
    width = np.minimum(x1[:block, None], x1) - np.maximum(x0[:block, None], x0)
    height = np.minimum(y1[:block, None], y1) - np.maximum(y0[:block, None], y0)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (x1 - x0) * (y1 - y0)
    # The quotient, written as a product: a box without area shares nothing and needs no special case.
    return (shared > limit * (areas[:block, None] + areas - shared)) & (groups[:block, None] == groups)
