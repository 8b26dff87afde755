"""Rigid and similarity alignment of point sets (Kabsch 1976; Umeyama, PAMI 1991), many at once, with weights and gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError


@dataclass(frozen=True, eq=False)
class Similarity:
    """target = scale * rotation @ source + translation, for each of a batch."""

    rotation: Float[np.ndarray, "*b 3 3"]
    scale: Float[np.ndarray, "*b"]
    translation: Float[np.ndarray, "*b 3"]

    def __call__(self, points: Float[np.ndarray, "*b k 3"]) -> Float[np.ndarray, "*b k 3"]:
        """The points moved."""
        return self.scale[..., None, None] * points @ np.swapaxes(self.rotation, -1, -2) + self.translation[..., None, :]

    @property
    def matrix(self) -> Float[np.ndarray, "*b 4 4"]:
        """As homogeneous matrices."""
        out = np.zeros((*np.shape(self.scale), 4, 4))
        out[..., :3, :3] = self.scale[..., None, None] * self.rotation
        out[..., :3, 3] = self.translation
        out[..., 3, 3] = 1
        return out


def align(
    source: Float[np.ndarray, "*b k 3"],
    target: Float[np.ndarray, "*b k 3"],
    weights: Float[np.ndarray, "*b k"] | None = None,
    scale: bool = True,
) -> Similarity:
    """The similarity (rigid motion where `scale` is False) of least weighted squared distance from source to target, never a mirror.

    A point that is NaN in either does not count. Points on a line leave the turn about it open: some rotation is given. Without any point
    the answer is no motion. Raises VitruvianError where shapes don't fit.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim < 2 or source.shape[-1] != 3:
        raise VitruvianError(f"points of {source.shape} can't be aligned with points of {target.shape}: give (..., k, 3) for both")
    known = np.isfinite(source).all(-1) & np.isfinite(target).all(-1)
    weight = known * (1.0 if weights is None else np.asarray(weights, np.float64))
    source, target = np.where(known[..., None], source, 0.0), np.where(known[..., None], target, 0.0)
    total = weight.sum(-1)[..., None]
    share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)[..., None]
    middle, goal = (share * source).sum(-2, keepdims=True), (share * target).sum(-2, keepdims=True)
    arms, aims = source - middle, target - goal
    u, size, vt = np.linalg.svd(np.swapaxes(share * aims, -1, -2) @ arms)
    sign = np.ones_like(size)
    sign[..., 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * sign[..., None, :]) @ vt
    spread = (share * arms**2).sum((-1, -2))
    factor = np.divide((size * sign).sum(-1), spread, out=np.ones_like(spread), where=spread > 0) if scale else np.ones_like(spread)
    shift = goal[..., 0, :] - factor[..., None] * np.squeeze(rotation @ np.swapaxes(middle, -1, -2), -1)
    return Similarity(rotation, factor, shift)
