"""Whole pictures -> network input of fixed size, proportions kept; boxes back to the picture.

The rule of RTMDet (mmdet's Resize(keep_ratio) and Pad, Apache-2.0): the picture is scaled, up or down, to touch the input on one axis
(sides rounded half up, bilinear), lies in the TOP LEFT corner, and the right or bottom is filled with grey 114. Boxes come back by one
division per axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, UInt8

FILL = 114
"""Grey level of the padding."""


def letterbox(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "n h w 3"], Float32[np.ndarray, "n 2"]]:
    """Fit each picture into `size` (width, height).

    Returns the inputs (n, height, width, 3) and the zooms (n, 2): input pixels per picture pixel along x and y.
    """
    import cv2

    width, height = size
    out = np.empty((len(images), height, width, 3), np.uint8)
    zooms = np.empty((len(images), 2), np.float32)
    for canvas, zoom, image in zip(out, zooms, images, strict=True):
        h, w = image.shape[:2]
        ratio = min(width / w, height / h)
        new_w, new_h = max(1, int(w * ratio + 0.5)), max(1, int(h * ratio + 0.5))
        cv2.resize(image, (new_w, new_h), dst=canvas[:new_h, :new_w], interpolation=cv2.INTER_LINEAR)
        canvas[new_h:] = FILL
        canvas[:new_h, new_w:] = FILL
        zoom[:] = new_w / w, new_h / h
    return out, zooms


def unletterbox(boxes: Float[np.ndarray, "n 4"], zoom: Float[np.ndarray, " 2"], size: tuple[int, int]) -> Float32[np.ndarray, "n 4"]:
    """Boxes (xyxy) from input pixels to pixels of the picture of `size` (width, height), clipped to it: 0..width, 0..height."""
    out = (boxes / np.tile(zoom, 2)).astype(np.float32)
    return np.clip(out, 0, np.tile(np.asarray(size, np.float32), 2))
