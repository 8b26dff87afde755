"""Probability maps: for each keypoint and each cell of a crop, how likely the keypoint lies there (`systems.pose2d.mappose`).

The place is the mean of the probability in the 3x3 cells around the best cell. The score is the probability in the cells around it that are
nearer than about a tenth of the crop, 5x5 of 24x32 and 3x3 of 12x16: the chance that the keypoint is there and not farther away. A map's
sum is below 1 by the chance that the keypoint is not in the crop at all. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

CELLS = 16
"""The crop's height over how far the score's window reaches beyond the best cell to each side."""


@dataclass(frozen=True)
class ProbabilityMap:
    """The codec of one network: crop `size` and map size `cells`, both (width, height)."""

    size: tuple[int, int]
    cells: tuple[int, int]

    def decode(self, maps: Float[np.ndarray, "n k h w"]) -> tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]:
        """Network outputs -> keypoints in crop pixels and the probability near them."""
        n, k, h, w = maps.shape
        half = max(1, round(h / CELLS))
        padded = np.zeros((n * k, h + 2 * half, w + 2 * half), np.float32)  # so that windows may hang over the border
        padded[:, half:-half, half:-half] = maps.reshape(n * k, h, w)
        rows = np.arange(n * k)
        y, x = np.divmod(maps.reshape(n * k, h * w).argmax(axis=1), w)
        reach = np.arange(2 * half + 1)
        window = padded[rows[:, None, None], (y[:, None] + reach)[:, :, None], (x[:, None] + reach)[:, None, :]]
        near = window[:, half - 1 : half + 2, half - 1 : half + 2]
        mass = np.maximum(near.sum((1, 2)), 1e-12)
        step = np.float32([-1, 0, 1])
        shift = np.stack([near.sum(1) @ step, near.sum(2) @ step], axis=1) / mass[:, None]
        stride = np.array(self.size, np.float32) / np.array(self.cells)
        places = (np.stack([x, y], axis=1) + shift) * stride + (stride - 1) / 2
        return places.reshape(n, k, 2).astype(np.float32), window.sum((1, 2)).reshape(n, k)
