"""Appearance: whether two looks are those of one person, by what the film itself has shown of the same and of different people. Ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError

Appearance = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`appearance(image, boxes) -> features`: (h, w, 3) RGB and (n, 4) xyxy pixels to (n, d), alike (by cosine) for the same person."""

PRIOR = 20.0  # how many comparisons the belief of the start is worth
RECENT = 2000.0  # comparisons after which old ones are forgotten


@dataclass
class Familiarity:
    """Mean cosine of looks of the same person and of different people, each with the number of comparisons behind it.

    Features differ in scale: strangers have a cosine near 0 in one network and 0.8 in colour histograms. The means start from a guess.
    """

    same: float = 0.9
    different: float = 0.5
    same_count: float = PRIOR
    different_count: float = PRIOR

    def learn(self, same: Float[np.ndarray, " n"], different: Float[np.ndarray, " m"]) -> None:
        """Take in cosines of pairs that are known to be one person, and of pairs that are known to be two."""
        for name, cosines in (("same", same), ("different", different)):
            count = getattr(self, f"{name}_count") + len(cosines)
            if len(cosines):
                setattr(self, name, getattr(self, name) + float((cosines - getattr(self, name)).sum()) / count)
                setattr(self, f"{name}_count", min(count, RECENT))

    def likeness(self, cosine: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """0 for what strangers have, 1 for what one person has with himself, 0.5 where it could be either."""
        return np.clip((cosine - self.different) / max(self.same - self.different, 0.05), 0, 1)


def looks_of(appearance: Appearance, image: np.ndarray, boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n d"]:
    """The features as unit vectors, zeros where they are not finite. Raises VitruvianError where the hook's answer has another shape."""
    features = np.asarray(appearance(image, np.asarray(boxes)), np.float64)
    if features.ndim != 2 or len(features) != len(boxes):
        raise VitruvianError(f"the appearance hook answered {features.shape} for {len(boxes)} boxes; it must give one vector per box")
    features = np.where(np.isfinite(features).all(1, keepdims=True), features, 0)
    return unit(features)


def unit(vectors: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """The vectors at length 1; zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
