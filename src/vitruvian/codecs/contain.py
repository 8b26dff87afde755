"""Whole pictures -> a square of fixed size, proportions kept, centred on black: the rule of Multi-HMR (card, section 5).

Numpy and scipy only. The scaling is that of Pillow (`contain` and `pad` of ImageOps, BICUBIC; HPND): a bicubic kernel (a = -0.5) that is
widened when the picture shrinks, rows first, then columns, each rounded to a grey level. OpenCV's bicubic has another kernel (a = -0.75)
and doesn't widen.

Points inside the square count from the corner of its first pixel, as the network does; outside, pixel centres are whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64, Int32, UInt8

from vitruvian.codecs.normalise import require_rgb

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CUBIC = -0.5  # Pillow's coefficient of the bicubic kernel
BITS = 22  # of Pillow's fixed-point weights


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the square: `zoom` (x, y) square pixels per picture pixel, and `origin` (x, y) of its corner."""

    zoom: tuple[float, float]
    origin: tuple[int, int]

    def to_square(self, points: Float[np.ndarray, "*n 2"]) -> Float64[np.ndarray, "*n 2"]:
        """Points of the picture (pixel centres are whole numbers) -> of the square (corners are)."""
        return (np.asarray(points, np.float64) + 0.5) * self.zoom + self.origin

    def to_picture(self, points: Float[np.ndarray, "*n 2"]) -> Float64[np.ndarray, "*n 2"]:
        """The inverse of `to_square`."""
        return (np.asarray(points, np.float64) - self.origin) / self.zoom - 0.5

    def intrinsics(self, matrix: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
        """The camera matrix of the square from that of the picture."""
        (zx, zy), (ox, oy) = self.zoom, self.origin
        return np.array([[zx, 0, ox + 0.5 * zx], [0, zy, oy + 0.5 * zy], [0, 0, 1]]) @ np.asarray(matrix, np.float64)


def contain(image: UInt8[np.ndarray, "h w 3"], size: int) -> tuple[UInt8[np.ndarray, "s s 3"], Placement]:
    """Fit a picture into a square of `size` pixels. Raises VitruvianError unless it is a non-empty RGB uint8 array."""
    require_rgb(image)
    height, width = image.shape[:2]
    # Python's round, which takes a half to the even number, as Pillow does.
    new = (size, max(1, round(height / width * size))) if width > height else (max(1, round(width / height * size)), size)
    origin = (round((size - new[0]) / 2), round((size - new[1]) / 2))
    scaled = resize_bicubic(image, new)
    out = np.zeros((size, size, 3), np.uint8)
    out[origin[1] : origin[1] + new[1], origin[0] : origin[0] + new[0]] = scaled
    return out, Placement((new[0] / width, new[1] / height), origin)


def resize_bicubic(image: UInt8[np.ndarray, "h w c"], size: tuple[int, int]) -> UInt8[np.ndarray, "b a c"]:
    """A picture scaled to `size` (width, height) as Pillow does with BICUBIC, as long as not one side grows while the other shrinks."""
    (height, width, channels), (new_width, new_height) = image.shape, size
    if (width, height) == size:
        return image
    columns = np.ascontiguousarray(image.transpose(1, 0, 2)).reshape(width, -1).astype(np.int32)
    rows = _levels(_weights(width, new_width) @ columns).reshape(new_width, height, channels)
    rows = np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(height, -1)
    return _levels(_weights(height, new_height) @ rows).reshape(new_height, new_width, channels).astype(np.uint8)


def _levels(sums: Int32[np.ndarray, "a b"]) -> Int32[np.ndarray, "a b"]:
    """Sums of fixed-point weights times grey levels -> grey levels, a half up."""
    return np.clip((sums + (1 << (BITS - 1))) >> BITS, 0, 255)


def _weights(old: int, new: int) -> csr_array:
    """The matrix (new, old) of the kernel's normalised weights, in whole units of 2^-22 as Pillow's: sums fit 32 bits."""
    from scipy.sparse import csr_array

    step = old / new
    wide = max(step, 1.0)
    centres = (np.arange(new) + 0.5) * step
    first = np.maximum((centres - 2 * wide + 0.5).astype(int), 0)
    last = np.minimum((centres + 2 * wide + 0.5).astype(int), old)
    places = first[:, None] + np.arange((last - first).max())
    x = np.abs((places - centres[:, None] + 0.5) / wide)
    near, far = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1, CUBIC * (((x - 5) * x + 8) * x - 4)
    values = np.where(x < 1, near, np.where(x < 2, far, 0.0)) * (places < last[:, None])
    values /= values.sum(1, keepdims=True)
    rows = np.broadcast_to(np.arange(new)[:, None], places.shape)
    fixed = np.copysign(np.floor(np.abs(values) * (1 << BITS) + 0.5), values).astype(np.int32)
    return csr_array((fixed.ravel(), (rows.ravel(), np.minimum(places, old - 1).ravel())), shape=(new, old))
