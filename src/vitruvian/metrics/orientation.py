"""Which way do people face: errors of the angle over matched people, and scores that don't forgive missed ones.

After card jointbdoe.md section 7. The published protocol gives each true person the detection of highest IoU, without a score threshold;
a detection may serve several people, and who is missed does not count: the figures are conditional on recall, so `matched` and
`people` are told with them. Angles are in radians, errors and limits in degrees, as the tables have them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.geometry.boxes import iou

LIMITS = (5.0, 15.0, 22.5, 30.0, 45.0)
"""Degrees of Acc-X."""
_ROUNDING = 1e-3  # degrees: labels come in steps of 5, and float32 must not decide about "at most 5"


@dataclass(frozen=True, eq=False)
class Facings:
    """The people of one picture: boxes (n, 4) xyxy, angles (n,) radians, and for detections scores (n,)."""

    boxes: Float[np.ndarray, "n 4"]
    angles: Float[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class OrientationScores:
    """Errors of the matched people. accuracy: share in [0, 1] with an error of at most so many degrees.

    mae: mean error in degrees. bias: circular mean of found less true, degrees. mae_by_octant: by where the true person faces, see
    `codecs.orientation.OCTANTS`; NaN where there is nobody. `of_all`: accuracy with missed people counted as wrong.
    """

    people: int
    matched: int
    mae: float
    accuracy: Mapping[float, float]
    of_all: Mapping[float, float]
    bias: float = math.nan
    mae_by_octant: tuple[float, ...] = field(default=())


def orientation_scores(
    truth: Sequence[Facings], found: Sequence[Facings], threshold: float = 0.5, one_to_one: bool = False, least_score: float = 0.0
) -> OrientationScores:
    """Compare the people of pictures, one entry each; a person is matched above that IoU.

    one_to_one: a detection serves one person; the surest detections choose first (needs scores). least_score: leave out less sure ones.
    Nobody matched gives NaN; nobody at all NaN everywhere.
    """
    pairs = [_picture(t, f, threshold, one_to_one, least_score) for t, f in zip(truth, found, strict=True)]
    true, turned = (np.concatenate([p[i] for p in pairs]) if pairs else np.zeros(0) for i in (0, 1))
    people = sum(len(t.boxes) for t in truth)
    error = np.abs(turned)
    octants = np.round(true / (math.pi / 4)).astype(int) % 8
    return OrientationScores(
        people=people,
        matched=len(error),
        mae=_mean(error),
        accuracy={limit: _mean(error <= limit + _ROUNDING) for limit in LIMITS},
        of_all={limit: float((error <= limit + _ROUNDING).sum() / people) if people else math.nan for limit in LIMITS},
        bias=float(np.degrees(np.angle(np.exp(1j * np.radians(turned)).mean()))) if len(turned) else math.nan,
        mae_by_octant=tuple(_mean(error[octants == i]) for i in range(8)),
    )


def angle_difference(a: Float[np.ndarray, "*n"], b: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """a - b of angles in radians, the short way round: DEGREES in (-180, 180]."""
    difference = np.degrees(np.asarray(a, np.float64) - np.asarray(b, np.float64)) % 360
    return np.where(difference > 180, difference - 360, difference)


def _picture(
    truth: Facings, found: Facings, threshold: float, one_to_one: bool, least_score: float
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """True angles of the matched people, and how far the found ones are turned from them, in degrees."""
    keep: Bool[np.ndarray, " n"] = np.ones(len(found.boxes), bool)
    if found.scores is not None:
        keep = found.scores >= least_score
    boxes, angles = found.boxes[keep], found.angles[keep]
    overlap = iou(truth.boxes, boxes)
    if not overlap.size:
        return np.zeros(0), np.zeros(0)
    if one_to_one:
        partner = np.full(len(truth.boxes), -1)
        order = np.arange(len(boxes)) if found.scores is None else np.argsort(-found.scores[keep], kind="stable")
        for row in order:
            free = np.where(partner < 0, overlap[:, row], 0.0)
            if free.max() > threshold:
                partner[free.argmax()] = row
    else:
        partner = np.where(overlap.max(axis=1) > threshold, overlap.argmax(axis=1), -1)
    matched = partner >= 0
    true = np.asarray(truth.angles, np.float64)[matched]
    return true, angle_difference(angles[partner[matched]], true)


def _mean(values: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else math.nan
