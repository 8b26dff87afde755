"""The keypoints of the people of one picture, as every pose network gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, eq=False)
class Poses:
    """One row per person: `keypoints` (n, k, 2) in pixels of the picture, raw `scores` (n, k), and `points` (n, k, 3) from 3D networks.

    Scores are as the network gives them, and may exceed 1; a keypoint with a score <= 0 was not found, and its place means nothing.
    `points` are the same keypoints in metres, in camera axes, around the person's hips (see the network that made them); None from 2D
    networks. `second` (n, k, 3) is where each keypoint may be instead, in pixels, and the score of that place, where somebody asked.
    Unpacks as a pair: `keypoints, scores = poses`.
    """

    keypoints: Float32[np.ndarray, "n k 2"]
    scores: Float32[np.ndarray, "n k"]
    points: Float32[np.ndarray, "n k 3"] | None = None
    second: Float32[np.ndarray, "n k 3"] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.keypoints, self.scores))

    def __getitem__(self, rows: slice | np.ndarray) -> Poses:
        """Some of the people: a mask, a slice or indices."""
        points, second = (None if column is None else column[rows] for column in (self.points, self.second))
        return Poses(self.keypoints[rows], self.scores[rows], points, second)
