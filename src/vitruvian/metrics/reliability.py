"""Do scores mean what they say? The share of right answers beside the scores, bin by bin (Guo et al. 2017, arXiv 1706.04599)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import VitruvianError


@dataclass(frozen=True, eq=False)
class Reliability:
    """Per bin of scores: how many answers, their mean score, the share that was right (NaN in empty bins).

    error: expected calibration error, the mean distance of share and score, weighted by the bins' sizes; NaN without answers.
    """

    edges: Float[np.ndarray, " b1"]
    count: Int[np.ndarray, " b"]
    score: Float[np.ndarray, " b"]
    share: Float[np.ndarray, " b"]
    error: float


def reliability(scores: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = 10) -> Reliability:
    """Compare scores in [0, 1], understood as chances of being right, with what was right. Bins are of equal width.

    Raises VitruvianError for scores outside [0, 1], and where there is not one answer for each score.
    """
    scores, right = np.asarray(scores, np.float64).ravel(), np.asarray(right, bool).ravel()
    if scores.shape != right.shape:
        raise VitruvianError(f"{len(scores)} scores and {len(right)} answers: give one answer for each score")
    if not ((scores >= 0) & (scores <= 1 + 1e-6)).all():
        raise VitruvianError("a score that is a chance lies between 0 and 1: these do not")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(place, values, bins) / count for values in (scores, right.astype(float)))
    filled = count > 0
    error = float((np.abs(mean - share)[filled] * count[filled]).sum() / len(scores)) if len(scores) else float("nan")
    return Reliability(edges, count, mean, share, error)
