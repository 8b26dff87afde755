"""Keypoints as x, y, confidence numbers, the way the JSON formats store them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def triples(keypoints: Float[np.ndarray, "n k 2"], confidence: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k 3"]:
    """x, y (pixels, three decimals) and confidence (four decimals) as float64; 0, 0, 0 where a point is NaN or has no confidence."""
    return _with_confidence(keypoints, confidence, 3)


def quadruples(points: Float[np.ndarray, "n k 3"], confidence: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k 4"]:
    """x, y, z (metres, six decimals) and confidence (four decimals) as float64; zeros where a point is NaN or has no confidence."""
    return _with_confidence(points, confidence, 6)


def _with_confidence(points: Float[np.ndarray, "n k d"], confidence: Float[np.ndarray, "n k"], decimals: int) -> Float[np.ndarray, "n k e"]:
    rounded = np.nan_to_num(confidence.astype(np.float64)).round(4)
    seen = np.isfinite(points).all(axis=-1) & (rounded > 0)
    values = np.concatenate([points.astype(np.float64).round(decimals), rounded[..., None]], axis=-1)
    return np.where(seen[..., None], values, 0)
