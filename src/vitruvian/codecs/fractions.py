"""Keypoints as plain numbers, in fractions of the crop, with how uncertain they are (regression as RLE, arXiv 2107.11291; DSTA)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32


def decode_fractions(
    coords: Float[np.ndarray, "n k 2"], sigma: Float[np.ndarray, "n k 2"], size: tuple[int, int]
) -> tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]:
    """A network's outputs -> keypoints in pixels of crops of `size` (width, height), and scores: one less the mean of both sigmas."""
    return np.asarray(coords * np.asarray(size), np.float32), np.asarray(1 - np.mean(sigma, axis=-1), np.float32)
