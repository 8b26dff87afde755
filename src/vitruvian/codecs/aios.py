"""Whole pictures for AiOS and back, in numpy (card section 5): scaled by the short side, padded to one batch, with the camera of training.

AiOS says boxes and points as fractions of its picture, so that they need no way back: times the width and height of the user's. From
`own_cameras` to a known camera: `vitruvian.codecs.mesh.into_camera`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8

from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.codecs.normalise import normalise, require_rgb

SHORT, LONG = 800, 1333  # pixels


class Batch(NamedTuple):
    """Normalised pictures in the upper left of the batch, True where there is none, and (width, height) of each as scaled."""

    pixels: Float32[np.ndarray, "b 3 h w"]
    padding: Bool[np.ndarray, "b h w"]
    sizes: Int64[np.ndarray, "b 2"]


def scaled_size(width: int, height: int, short: int = SHORT, long: int = LONG) -> tuple[int, int]:
    """(width, height) at which the short side has `short` pixels, or less where the long one would have more than `long`."""
    least, most = min(width, height), max(width, height)
    if most / least * short > long:
        short = max(round(long * least / most), 1)
    other = min(max(int(short * most / least), 1), max(long, short))
    return (short, other) if width <= height else (other, short)


def batch(
    images: Sequence[UInt8[np.ndarray, "h w 3"]], short: int = SHORT, long: int = LONG, canvas: tuple[int, int] | None = None
) -> Batch:
    """Pictures of any sizes -> one batch; no picture gives a batch of none.

    canvas: (width, height) of the batch, into which pictures are made to fit that are larger by the rule [ours, for exported networks];
    None: as large as the largest. Raises VitruvianError for what is no RGB picture.
    """
    import cv2

    sizes = []
    for image in images:
        require_rgb(image)
        width, height = scaled_size(image.shape[1], image.shape[0], short, long)
        zoom = 1.0 if canvas is None else min(canvas[0] / width, canvas[1] / height, 1.0)
        sizes.append((max(int(width * zoom), 1), max(int(height * zoom), 1)))
    width, height = canvas or (max((size[axis] for size in sizes), default=short) for axis in (0, 1))
    pixels, padding = np.zeros((len(sizes), 3, height, width), np.float32), np.ones((len(sizes), height, width), bool)
    for row, (image, size) in enumerate(zip(images, sizes, strict=True)):
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        pixels[row, :, : size[1], : size[0]] = normalise(scaled[None])[0]
        padding[row, : size[1], : size[0]] = False
    return Batch(pixels, padding, np.array(sizes, np.int64).reshape(-1, 2))


def intrinsics(sizes: Float[np.ndarray, "n 2"] | Int64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 3 3"]:
    """The camera that AiOS takes for granted, for scaled pictures of `sizes` (width, height)."""
    out = np.zeros((len(sizes), 3, 3))
    out[:, 0, 0] = out[:, 1, 1] = WEAK_FOCAL
    out[:, :2, 2], out[:, 2, 2] = np.asarray(sizes, np.float64) / 2, 1
    return out


def own_cameras(batch: Batch, pictures: Int64[np.ndarray, "b 2"]) -> Float64[np.ndarray, "b 3 3"]:
    """The cameras that AiOS takes for granted, in pixels of the user's pictures, whose (width, height) are `pictures`."""
    zoom = np.ones((len(pictures), 3, 1))
    zoom[:, :2, 0] = pictures / batch.sizes
    return intrinsics(batch.sizes) * zoom
