"""What a fit is drawn to: terms that turn a body's points into cost, gradient and normal matrix (Gauss-Newton).

A cost is a sum of squares in units of standard deviations, robust ones reweighted (IRLS). Rows are bodies; a weight of 0 is a missing
point, whatever its value. The factors 2 of gradient and Hessian are left out on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.products import gram


@dataclass(frozen=True, eq=False)
class PointTerm:
    """Points in 3D: target (n, K, 3) metres, weight (n, K) = 1 / variance. robust: Geman-McClure scale in standard deviations, or None."""

    target: Float[np.ndarray, "n k 3"]
    weight: Float[np.ndarray, "n k"]
    robust: float | None = None

    def normal(self, rows: Int[np.ndarray, " b"], which: Int[np.ndarray, " k"], points: np.ndarray, jacobian: np.ndarray | None) -> tuple:
        """Cost (b), gradient (b, p), matrix (b, p, p) of some points (b, k, 3) with derivatives (b, k, 3, p), for some bodies."""
        weight = self.weight[rows[:, None], which]
        residual = np.where(weight[..., None] > 0, points - self.target[rows[:, None], which], 0)
        return _normal(residual, weight, self.robust, jacobian)


@dataclass(frozen=True, eq=False)
class PlaneTerm:
    """Distances of points from planes (a scan's surface): target and unit normal (n, K, 3), weight (n, K) = 1 / variance."""

    target: Float[np.ndarray, "n k 3"]
    direction: Float[np.ndarray, "n k 3"]
    weight: Float[np.ndarray, "n k"]
    robust: float | None = None

    def normal(self, rows: Int[np.ndarray, " b"], which: Int[np.ndarray, " k"], points: np.ndarray, jacobian: np.ndarray | None) -> tuple:
        """See `PointTerm.normal`."""
        weight, direction = self.weight[rows[:, None], which], self.direction[rows[:, None], which]
        residual = ((points - self.target[rows[:, None], which]) * direction).sum(-1, keepdims=True)
        if jacobian is not None:
            jacobian = direction[..., None, :] @ jacobian
        return _normal(np.where(weight[..., None] > 0, residual, 0), weight, self.robust, jacobian)


@dataclass(frozen=True, eq=False)
class CameraTerm:
    """Keypoints in the pictures of C cameras without distortion.

    target (n, C, K, 2) pixels, weight (n, C, K) = 1 / variance. intrinsics (C, 3, 3) or (n, C, 3, 3); rotation (C, 3, 3) and
    translation (C, 3) take world to camera (x right, y down, z forward). Points nearer than 10 cm or behind a camera count as at 10 cm.
    """

    target: Float[np.ndarray, "n c k 2"]
    weight: Float[np.ndarray, "n c k"]
    intrinsics: Float[np.ndarray, "*n c 3 3"]
    rotation: Float[np.ndarray, "c 3 3"]
    translation: Float[np.ndarray, "c 3"]
    robust: float | None = None

    def normal(self, rows: Int[np.ndarray, " b"], which: Int[np.ndarray, " k"], points: np.ndarray, jacobian: np.ndarray | None) -> tuple:
        """See `PointTerm.normal`."""
        total = None
        for c in range(self.target.shape[1]):
            intrinsics = self.intrinsics[c] if self.intrinsics.ndim == 3 else self.intrinsics[rows, c][:, None]
            place = points @ self.rotation[c].T + self.translation[c]
            depth = np.maximum(place[..., 2], 0.1)
            image = (
                intrinsics[..., :2, :] @ np.concatenate([place[..., :2] / depth[..., None], np.ones_like(depth)[..., None]], -1)[..., None]
            )[..., 0]
            weight = self.weight[rows[:, None], c, which]
            residual = np.where(weight[..., None] > 0, image - self.target[rows[:, None], c, which], 0)
            moved = None
            if jacobian is not None:
                lens = np.zeros((*depth.shape, 2, 3), points.dtype)
                lens[..., [0, 1], [0, 1]] = 1 / depth[..., None]
                lens[..., 2] = -place[..., :2] / (depth * depth)[..., None] * (place[..., 2] > 0.1)[..., None]
                moved = (intrinsics[..., :2, :2] @ lens @ self.rotation[c]) @ jacobian
            parts = _normal(residual, weight, self.robust, moved)
            total = parts if total is None else tuple(None if a is None else a + b for a, b in zip(total, parts, strict=True))
        return total


def _normal(residual: np.ndarray, weight: np.ndarray, robust: float | None, jacobian: np.ndarray | None) -> tuple:
    square = (residual * residual).sum(-1) * weight
    if robust is None:
        cost = square.sum(1)
    else:
        relative = robust * robust / (robust * robust + square)
        cost = (square * relative).sum(1)
        weight = weight * relative * relative
    if jacobian is None:
        return cost, None, None
    rows = (len(jacobian), residual[0].size if len(residual) else 0, jacobian.shape[-1])
    weighted = (jacobian * weight[..., None, None]).reshape(rows)
    return cost, gram(weighted, residual.reshape(*rows[:2], 1))[..., 0], gram(weighted, jacobian.reshape(rows))
