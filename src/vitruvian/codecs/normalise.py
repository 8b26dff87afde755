"""From pictures to network input: uint8 (n, h, w, 3) -> normalised float (n, 3, h, w)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from vitruvian.errors import VitruvianError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet in grey levels, RGB order."""
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet in grey levels, RGB order."""


def normalise(
    images: UInt8[np.ndarray, "n h w 3"],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    channel_order: Literal["rgb", "bgr"] = "rgb",
) -> Float32[np.ndarray, "n 3 h w"]:
    """`(channel - mean) / std`, channels first.

    `images` are RGB, (n, h, w, 3), grey levels 0..255. `channel_order` is what the network was trained on: "bgr" swaps the channels first.
    `mean` and `std` (grey levels) are in the network's order. No pictures give an array (0, 3, h, w).
    """
    import cv2

    # Only 256 answers per channel: looked up, they are rounded once, and it is faster than arithmetic on every pixel.
    levels = ((np.arange(256.0)[:, None] - np.asarray(mean, np.float64)) / np.asarray(std, np.float64)).astype(np.float32)
    tables = [np.ascontiguousarray(levels[:, channel]) for channel in range(3)]
    out = np.empty((images.shape[0], 3, *images.shape[1:3]), np.float32)
    for image, channels in zip(images, out, strict=True):
        planes = cv2.split(np.ascontiguousarray(image))
        for plane, table, channel in zip(planes[::-1] if channel_order == "bgr" else planes, tables, channels, strict=True):
            cv2.LUT(plane, table, dst=channel)
    return out


def require_rgb(image: object) -> None:
    """Raise VitruvianError unless `image` is a non-empty uint8 array (H, W, 3)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise VitruvianError(f"A picture must be a non-empty RGB uint8 array (height, width, 3), not {found}: convert it first.")
