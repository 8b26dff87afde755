"""Limbs keep their length: a wrist that two cameras agree upon by accident makes a forearm of a metre, and is looked for once more.

    lengths: the middle of the shortest interval that holds half of what a film has for a limb, left and right together. Accidents
             are spread out, what is right lies together, so that even half of all may be wrong.
    check:   from the trunk outwards; a point whose limb is off by more than `SLACK` is tried from every pair of cameras, and of those
             answers which fit the limb the one that the cameras agree with best counts. Where none fits there is no point.

What hangs on the end of a limb (fingers, toes) may come nearer to it, but not farther away. [ours]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

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
    length = {limb.end: _usual_length(found.points, limb) for limb in limbs}
    for limb in limbs:
        fits = partial(_fits, limb, length)
        starts, end = found.points[:, list(limb.starts)], found.points[:, limb.end]
        wrong = np.flatnonzero(np.isfinite(end).all(-1) & ~fits(starts, end))
        if len(wrong):
            seen = keypoints[:, wrong, limb.end], confidence[:, wrong, limb.end]
            again = _another(cameras, *seen, partial(fits, starts[wrong]), min_views, threshold)
            found = put(found, again, wrong, limb.end)
    return found


def _usual_length(points: Float[np.ndarray, "n k 3"], limb: Limb) -> float:
    """Metres; NaN where too little is known."""
    lengths = [np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in {(limb.starts[0], limb.end), limb.other}]
    lengths = np.sort(np.concatenate(lengths))
    lengths = lengths[np.isfinite(lengths)]
    if len(lengths) < FEWEST:
        return np.nan
    half = len(lengths) // 2
    start = int((lengths[half:] - lengths[: len(lengths) - half]).argmin())
    return float(np.median(lengths[start : start + half + 1]))


def _fits(
    limb: Limb, length: Mapping[int, float], starts: Float[np.ndarray, "m s 3"], ends: Float[np.ndarray, "m 3"]
) -> Bool[np.ndarray, " m"]:
    """Whether ends are where the limb reaches from the first of its starts that is there; with none, and lengths unknown, they are."""
    apart = np.linalg.norm(ends[:, None] - starts, axis=-1)
    reach = np.cumsum([length.get(point, np.nan) for point in (limb.end, *limb.starts[:-1])])
    near = apart <= (1 + _STRETCHED) * reach + _NOISE
    near[:, 0] = apart[:, 0] <= (1 + SLACK) * reach[0] + _NOISE
    if not limb.loose:
        near[:, 0] &= apart[:, 0] >= (1 - SLACK) * reach[0] - _NOISE
    told = np.isfinite(apart) & np.isfinite(reach)
    first = told.argmax(1)
    return near[np.arange(len(ends)), first] | ~told.any(1)


def _another(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c m 2"],
    confidence: Float[np.ndarray, "c m"],
    fits: Callable[[np.ndarray], np.ndarray],
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
        wins = np.isfinite(tried.points).all(-1) & fits(tried.points) & (cost < least)
        best, least = put(best, taken(tried, wins), np.flatnonzero(wins)), np.where(wins, cost, least)
    return best
