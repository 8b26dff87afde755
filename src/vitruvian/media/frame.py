"""The frame that every reader yields, and the size that a picture may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MediaError

MAX_PIXELS = 64_000_000
"""Default limit on width times height. 8K video has 33 million pixels, a large photo 50; RGB of this size takes 192 MB."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One upright picture of a source.

    `image` is RGB uint8, (H, W, 3), contiguous and writable. `index` counts the frames that were read, from 0 and without gaps.
    `time` is in seconds: the true timestamp in a video (its first frame is at about 0), the index as a float among pictures.
    `name` is the file's name.
    """

    image: UInt8[np.ndarray, "h w 3"]
    index: int
    time: float
    name: str


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Raises MediaError when a picture of width x height pixels, which nothing has decoded yet, is empty or over the limit."""
    if width < 1 or height < 1:
        raise MediaError(f"{name} has no pixels ({width} x {height}): the file is damaged, save it again")
    if width * height > max_pixels:
        raise MediaError(
            f"{name} is {width} x {height} pixels, over the limit of {max_pixels / 1e6:g} million: "
            f"make it smaller, or pass max_pixels={width * height}"
        )
