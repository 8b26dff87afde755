"""Probability maps: for each keypoint and each cell of a crop, how likely the keypoint lies there (`systems.pose2d.mappose`).

The place is the mean of the probability in the 3x3 cells around the best cell. The score is the probability in the cells around it that are
nearer than about a tenth of the crop, 5x5 of 24x32 and 3x3 of 12x16: the chance that the keypoint is there and not farther away. A map's
sum is below 1 by the chance that the keypoint is not in the crop at all. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

CELLS = 16
"""The crop's height over how far the score's window reaches beyond the best cell to each side."""


@dataclass(frozen=True)
class ProbabilityMap:
    """The codec of one network: crop `size` and map size `cells`, both (width, height)."""

    size: tuple[int, int]
    cells: tuple[int, int]

    def decode(self, maps: Float[np.ndarray, "n k h w"]) -> tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]:
        """Network outputs -> keypoints in crop pixels and the probability near them."""
        padded, half = _padded(maps)
        places, scores = self._read(padded, half, *_best_cells(padded, half))
        return places.reshape(*maps.shape[:2], 2), scores.reshape(maps.shape[:2])

    def decode_two(self, maps: Float[np.ndarray, "n k h w"]) -> tuple[Float32[np.ndarray, "n m 2"], Float32[np.ndarray, "n m"]]:
        """The same, and after the k keypoints the second place of each (m = 2 k): the likeliest outside the first one's window."""
        padded, half = _padded(maps)
        y, x = _best_cells(padded, half)
        first = self._read(padded, half, y, x)
        padded[_window(y, x, half + 1)] = 0
        second = self._read(padded, half, *_best_cells(padded, half))
        (places, others), (scores, chances) = zip(first, second, strict=True)
        both = np.concatenate([places.reshape(*maps.shape[:2], 2), others.reshape(*maps.shape[:2], 2)], axis=1)
        return both, np.concatenate([scores.reshape(maps.shape[:2]), chances.reshape(maps.shape[:2])], axis=1)

    def _read(
        self, padded: Float32[np.ndarray, "r _ _"], half: int, y: Int[np.ndarray, " r"], x: Int[np.ndarray, " r"]
    ) -> tuple[Float32[np.ndarray, "r 2"], Float32[np.ndarray, " r"]]:
        """Places in crop pixels and scores of maps whose best cells are known."""
        window = padded[_window(y + 1, x + 1, half)]
        near = window[:, half - 1 : half + 2, half - 1 : half + 2]
        mass = np.maximum(near.sum((1, 2)), 1e-12)
        step = np.float32([-1, 0, 1])
        shift = np.stack([near.sum(1) @ step, near.sum(2) @ step], axis=1) / mass[:, None]
        stride = np.array(self.size, np.float32) / np.array(self.cells)
        places = (np.stack([x, y], axis=1) + shift) * stride + (stride - 1) / 2
        return places.astype(np.float32), window.sum((1, 2))


def _padded(maps: Float[np.ndarray, "n k h w"]) -> tuple[Float32[np.ndarray, "r _ _"], int]:
    """All maps (r = n k) with a border of zeros, so that windows may hang over it, one cell wider than the score's window reaches; and
    how far that is."""
    n, k, h, w = maps.shape
    half = max(1, round(h / CELLS))
    border = half + 1
    padded = np.zeros((n * k, h + 2 * border, w + 2 * border), np.float32)
    padded[:, border:-border, border:-border] = maps.reshape(n * k, h, w)
    return padded, half


def _best_cells(padded: Float32[np.ndarray, "r _ _"], half: int) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " r"]]:
    """Row and column of each map's largest cell."""
    inside = padded[:, half + 1 : -half - 1, half + 1 : -half - 1]
    return np.divmod(inside.reshape(len(padded), inside.shape[1] * inside.shape[2]).argmax(axis=1), inside.shape[2])


def _window(y: Int[np.ndarray, " r"], x: Int[np.ndarray, " r"], half: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index of the square of `half` cells to each side whose first row and column are given, in each of r maps."""
    reach = np.arange(2 * half + 1)
    return np.arange(len(y))[:, None, None], (y[:, None] + reach)[:, :, None], (x[:, None] + reach)[:, None, :]
