"""Quaternions (w, x, y, z), for the formats that have them. Inside the library rotations are matrices or rotation vectors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def from_matrices(matrices: Float[np.ndarray, "*n 3 3"]) -> Float[np.ndarray, "*n 4"]:
    """Unit quaternions of rotation matrices; of the two that mean a rotation, either.

    Each of the four components can be found from the diagonal; the largest of them is, and the others follow without cancellation.
    """
    m = np.asarray(matrices, np.float64)
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = np.stack([1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c], axis=-1)
    sums = {(1, 2): m[..., 1, 0] + m[..., 0, 1], (1, 3): m[..., 0, 2] + m[..., 2, 0], (2, 3): m[..., 2, 1] + m[..., 1, 2]}
    sums |= {(0, 1): m[..., 2, 1] - m[..., 1, 2], (0, 2): m[..., 0, 2] - m[..., 2, 0], (0, 3): m[..., 1, 0] - m[..., 0, 1]}
    candidates = np.stack(
        [np.stack([squares[..., i] if i == j else sums[min(i, j), max(i, j)] for j in range(4)], axis=-1) for i in range(4)], axis=-2
    )
    largest = squares.argmax(-1)[..., None, None]
    chosen = np.take_along_axis(candidates, np.broadcast_to(largest, (*largest.shape[:-1], 4)), -2)[..., 0, :]
    return chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)


def continuous(quaternions: Float[np.ndarray, "t *n 4"]) -> Float[np.ndarray, "t *n 4"]:
    """The same rotations with each quaternion in the half space of the one before it, so that interpolation takes the short way."""
    if not len(quaternions):
        return quaternions
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0)
    signs = np.cumprod(np.concatenate([np.where(quaternions[:1, ..., 0] < 0, -1.0, 1.0), flips]), axis=0)
    return quaternions * signs[..., None]
