"""Axis-aligned boxes in pixels: xyxy (left, top, right, bottom) within the library, xywh (left, top, width, height) in COCO files.

A box spans x2 - x1 by y2 - y1 pixels, without the "+1" of some older tools. A box with x2 < x1 or y2 < y1 is empty: its area is 0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def xyxy_to_xywh(boxes: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    """(..., 4) xyxy boxes as xywh."""
    boxes = np.asarray(boxes)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def xywh_to_xyxy(boxes: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 4"]:
    """(..., 4) xywh boxes as xyxy."""
    boxes = np.asarray(boxes)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def area(boxes: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
    """The area of (..., 4) xyxy boxes in square pixels, 0 for empty ones."""
    boxes = np.asarray(boxes)
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)


def iou(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of every xyxy box in `a` with every one in `b`; 0 where both are empty."""
    a, b = np.asarray(a), np.asarray(b)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=-1)
    union = area(a)[:, None] + area(b)[None, :] - inter
    return np.divide(inter, union, out=np.zeros(inter.shape, np.result_type(inter, np.float32)), where=union > 0)


def shared(a: Float[np.ndarray, "*n 4"], b: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
    """The share of the smaller of two boxes that lies in the larger one, box by box."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.clip(sides, 0, None).prod(-1) / np.maximum(np.minimum(area(a), area(b)), 1e-9)


def clip(boxes: Float[np.ndarray, "*n 4"], width: float, height: float) -> Float[np.ndarray, "*n 4"]:
    """(..., 4) xyxy boxes cut to 0..width and 0..height; one that lies outside becomes empty at the border."""
    boxes = np.asarray(boxes)
    return np.clip(boxes, 0, np.array([width, height, width, height])).astype(boxes.dtype)


def enclosing(points: Float[np.ndarray, "*n k 2"], visible: Bool[np.ndarray, "*n k"]) -> Float[np.ndarray, "*n 4"]:
    """The tightest xyxy box around the visible points (NaN ones don't count); all zeros where there are none."""
    points = np.asarray(points)
    counts = np.asarray(visible) & ~np.isnan(points).any(axis=-1)
    low = np.where(counts[..., None], points, np.inf).min(axis=-2, initial=np.inf)
    high = np.where(counts[..., None], points, -np.inf).max(axis=-2, initial=-np.inf)
    return np.where(counts.any(axis=-1)[..., None], np.concatenate([low, high], axis=-1), 0).astype(points.dtype)
