"""Limbs keep their length: a wrist that two cameras agree upon by accident makes a forearm of a metre, and is looked for once more.

    lengths: the middle of the shortest interval that holds half of what a film has for a limb, left and right together. Accidents
             are spread out, what is right lies together, so that even half of all may be wrong.
    check:   from the trunk outwards; a point whose limb is off by more than `SLACK` is tried from every pair of cameras, and of those
             answers which fit the limb the one that the cameras agree with best counts. Where none fits there is no point.

What hangs on the end of a limb (fingers, toes) may come nearer to it, but not farther away. [ours]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.geometry.camera import Camera
from vitruvian.geometry.triangulate import Triangulation, put, reprojection_errors, taken, triangulate

SLACK = 0.35
"""Of a limb's length: keypoints of bent and of clothed joints lie elsewhere on the limb than those of straight ones."""
_NOISE = 0.02  # metres, for limbs as short as from the wrist to the hand's root
_STRETCHED = 0.1  # as SLACK, of several limbs in a row, which are seldom stretched
FEWEST = 12
"""Lengths of a limb, of both sides together, from which its length is told."""


@dataclass(frozen=True)
class Limb:
    """A point, `end`, and what it hangs on: the next point towards the trunk, then the one that counts where that is missing, and so on.

    other: start and end of the same limb on the other side. loose: whether the end may come nearer than the limb is long.
    """

    starts: tuple[int, ...]
    end: int
    other: tuple[int, int]
    loose: bool = False


_CHAINS = (
    (("shoulder", "elbow", "wrist"), ("hand_", "thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")),
    (("hip", "knee", "ankle"), ("toe", "heel")),
)
"""Words in the names of an arm's and a leg's points, and of what hangs on them."""


def limbs_of(names: Sequence[str]) -> tuple[Limb, ...]:
    """Arms and legs of a keypoint set from the trunk outwards, then fingers and feet, as far as the set has such points."""
    place, found = {name: n for n, name in enumerate(names)}, []
    for words, ends in _CHAINS:
        for side, opposite in (("left", "right"), ("right", "left")):
            if not all(f"{one}_{word}" in place for word in words for one in (side, opposite)):
                continue
            first, second, third = (f"{side}_{word}" for word in words)
            hanging = [name for name in names if name.startswith(side) and any(word in name for word in ends)]
            for *starts, end in ((first, second), (second, first, third), *((third, second, first, name) for name in hanging)):
                mirrored = place[starts[0].replace(side, opposite)], place.get(end.replace(side, opposite), place[end])
                found.append(Limb(tuple(place[name] for name in starts), place[end], mirrored, end in hanging))
    return tuple(sorted(found, key=lambda limb: len(limb.starts)))


def with_steady_limbs(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c n k 2"],
    confidence: Float[np.ndarray, "c n k"],
    found: Triangulation,
    limbs: Sequence[Limb],
    *,
    min_views: int = 2,
    threshold: float = 15.0,
) -> Triangulation:
    """The points (n, k) of one person over time without those that make a limb too long or too short.

    keypoints, confidence, min_views, threshold: as of `triangulate`, which made `found`. limbs: from the trunk outwards.
    """
    length = {limb.end: usual_length(found.points, (limb.starts[0], limb.end), limb.other) for limb in limbs}
    for depth in sorted({len(limb.starts) for limb in limbs}):  # limbs that are as far from the trunk don't hang on each other
        level = [limb for limb in limbs if len(limb.starts) == depth]
        ends = np.array([limb.end for limb in level])
        reach = _Reach(*(np.stack(values, 1) for values in zip(*(_reach(limb, found.points, length) for limb in level), strict=True)))
        rows, columns = np.nonzero(reach.missed_by(found.points[:, ends]))
        if len(rows):
            place = rows, ends[columns]
            seen = keypoints[:, *place], confidence[:, *place]
            again = _another(cameras, *seen, _Reach(*(values[rows, columns] for values in reach)), min_views, threshold)
            found = put(found, again, *place)
    return found


def usual_length(points: Float[np.ndarray, "n k 3"], *pairs: tuple[int, int]) -> float:
    """How far two points are apart in a film, and the same two of the other side: metres, NaN where too little is known."""
    lengths = np.sort(np.concatenate([np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in set(pairs)]))
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) < FEWEST:
        return np.nan
    half = len(lengths) // 2
    start = int((lengths[half:] - lengths[: len(lengths) - half]).argmin())
    return float(np.median(lengths[start : start + half + 1]))


class _Reach(NamedTuple):
    """Where ends of limbs can be: from `low` to `high` metres from `start`; NaN for a start says that nothing is known."""

    start: Float[np.ndarray, "*n 3"]
    low: Float[np.ndarray, "*n"]
    high: Float[np.ndarray, "*n"]

    def missed_by(self, ends: Float[np.ndarray, "*n 3"]) -> Bool[np.ndarray, "*n"]:
        """Whether ends are elsewhere; missing ones are not."""
        apart = np.linalg.norm(ends - self.start, axis=-1)
        return (apart < self.low) | (apart > self.high)


def _reach(limb: Limb, points: Float[np.ndarray, "n k 3"], length: Mapping[int, float]) -> _Reach:
    """Where the limb reaches from the first of its starts that is there."""
    reach = _Reach(np.full((len(points), 3), np.nan), np.zeros(len(points)), np.full(len(points), np.inf))
    far = np.cumsum([length.get(point, np.nan) for point in (limb.end, *limb.starts[:-1])])
    for depth, start in enumerate(limb.starts):
        here = np.isnan(reach.start[:, 0]) & np.isfinite(points[:, start]).all(-1) & np.isfinite(far[depth])
        reach.start[here] = points[here, start]
        reach.high[here] = (1 + (_STRETCHED if depth else SLACK)) * far[depth] + _NOISE
        if not depth and not limb.loose:
            reach.low[here] = (1 - SLACK) * far[0] - _NOISE
    return reach


def _another(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c m 2"],
    confidence: Float[np.ndarray, "c m"],
    reach: _Reach,
    min_views: int,
    threshold: float,
) -> Triangulation:
    """Of what any two cameras, and those that agree with them, make of each point: the answer that fits and that most agree with."""
    best = triangulate(cameras, keypoints, np.zeros_like(confidence))  # nothing is seen: no point
    least = np.full(keypoints.shape[1], np.inf)
    for pair in combinations(range(len(cameras)), 2):
        two = np.zeros_like(confidence)
        two[list(pair)] = confidence[list(pair)]
        error = reprojection_errors(cameras, triangulate(cameras, keypoints, two, threshold=threshold).points, keypoints)
        agree = np.where(error <= threshold, confidence, 0.0)
        tried = triangulate(cameras, keypoints, agree, min_views=min_views, threshold=threshold)
        error = reprojection_errors(cameras, tried.points, keypoints)
        cost = (np.nan_to_num(confidence) * np.minimum(np.nan_to_num(error, nan=np.inf), threshold) ** 2).sum(0)
        wins = np.isfinite(tried.points).all(-1) & ~reach.missed_by(tried.points) & (cost < least)
        best, least = put(best, taken(tried, wins), np.flatnonzero(wins)), np.where(wins, cost, least)
    return best
