"""Whole pictures -> network input of fixed size, proportions kept; boxes and points back to the picture.

The picture is scaled (bilinear), up or down, to touch the input on one axis, lies in the TOP LEFT corner, and the right or bottom is
filled with grey 114. Two rules, which differ by less than a pixel:

| rule | of | sides of the scaled picture | way back |
|---|---|---|---|
| mmdet | RTMDet (mmdet's Resize(keep_ratio) and Pad, Apache-2.0) | rounded half up | divide by what each axis was scaled by |
| yolox | YOLOX (Apache-2.0) and RTMO | rounded down | divide both axes by the ratio that was asked for |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, UInt8

FILL = 114
"""Grey level of the padding."""


def letterbox(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], size: tuple[int, int], rule: Literal["mmdet", "yolox"] = "mmdet"
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
        half = 0.5 if rule == "mmdet" else 0.0
        new_w, new_h = max(1, int(w * ratio + half)), max(1, int(h * ratio + half))
        cv2.resize(image, (new_w, new_h), dst=canvas[:new_h, :new_w], interpolation=cv2.INTER_LINEAR)
        canvas[new_h:] = FILL
        canvas[:new_h, new_w:] = FILL
        zoom[:] = (new_w / w, new_h / h) if rule == "mmdet" else ratio
    return out, zooms


def unletterbox(boxes: Float[np.ndarray, "n 4"], zoom: Float[np.ndarray, " 2"], size: tuple[int, int]) -> Float32[np.ndarray, "n 4"]:
    """Boxes (n, 4) xyxy from input pixels to pixels of the picture of `size` (width, height), clipped to it: 0..width, 0..height."""
    out = (boxes / np.tile(zoom, 2)).astype(np.float32)
    return np.clip(out, 0, np.tile(np.asarray(size, np.float32), 2))
