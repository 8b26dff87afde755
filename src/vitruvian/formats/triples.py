"""Keypoints as x, y, confidence numbers, the way the JSON formats store them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def triples(keypoints: Float[np.ndarray, "n k 2"], confidence: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k 3"]:
    """x, y (pixels, three decimals) and confidence (four decimals) as float64; 0, 0, 0 where a point is NaN or has no confidence."""
    rounded = np.nan_to_num(confidence.astype(np.float64)).round(4)
    seen = np.isfinite(keypoints).all(axis=-1) & (rounded > 0)
    values = np.concatenate([keypoints.astype(np.float64).round(3), rounded[..., None]], axis=-1)
    return np.where(seen[..., None], values, 0)
