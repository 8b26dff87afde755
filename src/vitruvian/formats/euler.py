"""Euler angles, for the formats that still have them: any order of axes, continuous over time.

A rotation with the axes "ZXY" is R = Rz Rx Ry, acting on column vectors: the product in the order of the channels, left to right.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_AXIS = {"X": 0, "Y": 1, "Z": 2}
_LOCKED = 1e-7  # cosine of the middle angle below which the outer two turn about the same axis


def axis_rotations(angles: Float[np.ndarray, "*n"], axis: str) -> Float[np.ndarray, "*n 3 3"]:
    """Rotation matrices by `angles` (radians) about the axis X, Y or Z."""
    angles = np.asarray(angles, np.float64)
    i = _AXIS[axis]
    j, k = (i + 1) % 3, (i + 2) % 3
    matrices = np.zeros((*angles.shape, 3, 3))
    matrices[..., i, i] = 1
    matrices[..., j, j] = matrices[..., k, k] = np.cos(angles)
    matrices[..., k, j] = np.sin(angles)
    matrices[..., j, k] = -matrices[..., k, j]
    return matrices


def from_euler(angles: Float[np.ndarray, "*n a"], axes: str) -> Float[np.ndarray, "*n 3 3"]:
    """The product of the rotations about `axes` (any number of letters, "ZXY" or "X" or "") by the last axis of `angles`, in radians."""
    matrices = np.broadcast_to(np.eye(3), (*np.shape(angles)[:-1], 3, 3))
    for n, axis in enumerate(axes):
        matrices = matrices @ axis_rotations(angles[..., n], axis)
    return matrices


def to_euler(matrices: Float[np.ndarray, "f *n 3 3"], axes: str) -> Float[np.ndarray, "f *n 3"]:
    """Angles in radians about three different `axes` that give (F, ..., 3, 3) `matrices`, continuous over the first axis.

    A rotation has two triples of angles, each up to full turns, and infinitely many where the outer axes coincide: each frame takes the
    triple nearest to the frame before, and the first one the triple nearest to zero. Angles may therefore leave [-pi, pi].
    """
    i, j, k = (_AXIS[axis] for axis in axes)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    matrices = np.asarray(matrices, np.float64)
    out = np.zeros((*matrices.shape[:-2], 3))
    cosine = np.hypot(matrices[..., i, i], matrices[..., i, j])
    first = np.arctan2(-sign * matrices[..., j, k], matrices[..., k, k])
    middle = np.arctan2(sign * matrices[..., i, k], cosine)
    last = np.arctan2(-sign * matrices[..., i, j], matrices[..., i, i])
    triples = np.stack([first, middle, last], axis=-1)
    others = np.stack([first + np.pi, np.pi - middle, last + np.pi], axis=-1)
    locked = cosine < _LOCKED
    before = np.zeros(out.shape[1:])
    for frame in range(len(out)):
        triple, other = triples[frame], others[frame]
        if locked[frame].any():
            triple = np.where(locked[frame][..., None], _locked_triple(matrices[frame], middle[frame], before, axes, sign), triple)
            other = np.where(locked[frame][..., None], triple, other)
        triple, other = _nearest_turn(triple, before), _nearest_turn(other, before)
        closer = np.abs(triple - before).sum(-1) <= np.abs(other - before).sum(-1)
        out[frame] = before = np.where(closer[..., None], triple, other)
    return out


def _locked_triple(matrices: np.ndarray, middle: np.ndarray, before: np.ndarray, axes: str, sign: float) -> np.ndarray:
    """Where only the sum (or difference) of the outer angles is known: the last one stays, the first one takes the rest."""
    _, j, k = (_AXIS[axis] for axis in axes)
    rest = matrices @ axis_rotations(-before[..., 2], axes[2]) @ axis_rotations(-middle, axes[1])
    return np.stack([np.arctan2(sign * rest[..., k, j], rest[..., j, j]), middle, before[..., 2]], axis=-1)


def _nearest_turn(angles: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The angles plus the full turns that bring each nearest to the one before."""
    return angles + 2 * np.pi * np.round((before - angles) / (2 * np.pi))
