"""Left-right repair: finds the frames in which a network took a limb for its mirror image, and takes it back.

A swap of a pair of points (left, right) leaves their mean where it is and turns the sign of half their difference. So the question for
each pair is which signs make the difference move like a body: it has inertia, and passes through zero when limbs cross in the picture,
whereas the difference of limbs that were swapped at the crossing bounces back. The pairs of a unit (a joint, or a hand, foot or head)
share their sign, and flips of units come together: those of the whole body, or of a limb from some joint outwards, or of one alone.

`repair_swaps` looks, track by track, for the cheapest history of flips over all time. It is Viterbi's search, with one difference: the
cost of a flip depends on the velocity before it, so every history carries a Kalman filter of all differences (constant velocity, true
timestamps; "per-survivor processing", Raheli, Polydoros and Tzou, 1995), and two histories are only compared for good once they have
been in the same state for a while, because whether limbs passed or bounced shows some frames later. Then the state at the start is
chosen so that as little as possible is swapped. Nothing is learned. The design and its numbers are ours.

What it can't know: if a whole track is swapped from start to end, it stays so. Of two ways to label a track, the one is taken that swaps
for less time, or that agrees with anatomy where the points are in space (left is left of forward), or where head, shoulders and hips are
seen from the front or back (they point the same way).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.geometry.boxes import area
from vitruvian.people.smooth import trust
from vitruvian.skeletons import Skeleton
from vitruvian.take import PARTS, People, Take

CHAINS = (("head",), ("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot"))
"""Units in the order from the trunk outwards."""
UNITS = tuple(unit for chain in CHAINS for unit in chain)

_WORDS: Mapping[str, tuple[str, ...]] = {
    "shoulder": ("shoulder", "collar"),
    "elbow": ("elbow",),
    "wrist": ("wrist",),
    "hip": ("hip",),
    "knee": ("knee",),
    "ankle": ("ankle",),
    "foot": ("toe", "heel", "foot"),
    "hand": ("hand", "finger", "thumb"),
}
_LANES = 3  # pairs of a unit that are watched, the first ones: eyes and ears before the face, the palm before the fingers

# Acceleration density of half the difference between left and right, in body sizes^2 / s^3 (a body size: root of the box area), about as
# in motion capture of walks and jumps, and for the feet as in runs. The trunk's pairs are calm, feet are not.
_MOTION = {"head": 0.3, "shoulder": 0.3, "elbow": 3.0, "wrist": 10.0, "hand": 10.0, "hip": 0.15, "knee": 3.0, "ankle": 25.0, "foot": 25.0}
_LEAST_NOISE = 0.003  # body sizes
_FASTEST = 1.5  # body sizes per second: spread of a difference's velocity that is not known yet
_LONGEST = 1.0  # seconds without the person, after which the search starts afresh
# All costs are -2 log likelihood, the unit of a squared deviation.
_FLIP = 14.0
_ANOTHER_CHAIN = 8.0  # for each chain more that flips in the same frame, unless all do
_ODD = 4.0  # for a flip that is not of a whole end of a chain
_CLIP = 4.0  # standard deviations: more is an error of detection, whose cost grows slowly and which moves the filter no further
_CAP = 60.0  # of one pair in one frame
# Costs per second: of being swapped (all of the body), of a joint swapped against the one before it in the chain, of units that point
# opposite ways.
_SWAPPED, _TORN, _OPPOSITE = 0.5, 3.0, 20.0
# The search: seconds after a flip, in so many steps, in which a history is not compared with others of the same state that flipped at
# other times; cost over the best at which a history is given up; and the most histories.
_PROBATION, _AGES, _HOPELESS, _BEAM = 0.2, 3, 45.0, 160


@dataclass(frozen=True)
class Swap:
    """One repaired swap: the track, the units that were exchanged, and the first and last frame."""

    track: int
    units: tuple[str, ...]
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class SwapReport:
    """What `repair_swaps` did: `swaps` in words, and `mask` (N, U): which rows had which of the `units` exchanged."""

    swaps: tuple[Swap, ...]
    units: tuple[str, ...]
    mask: Bool[np.ndarray, "n u"]


def unit_points(skeleton: Skeleton) -> dict[str, Int[np.ndarray, " m"]]:
    """The sided keypoints of each unit, both sides; units that the skeleton lacks are left out."""
    members: dict[str, list[int]] = {unit: [] for unit in UNITS}
    for i, name in enumerate(skeleton.names):
        if skeleton.swap[i] != i:
            unit = next((unit for unit, words in _WORDS.items() if any(word in name for word in words)), "head")
            members[unit].append(i)
    return {unit: np.array(points) for unit, points in members.items() if points}


def repair_swaps(take: Take) -> tuple[Take, SwapReport]:
    """The take with left and right where they belong in every track, and what was done for that.

    Keypoints, confidence, points in space, and the boxes of hands and feet are exchanged; nothing is moved or invented. Watched are the
    keypoints, or the points in space where there are no keypoints. Rows without a track stay as they are, as does everything where
    nothing speaks for a swap: one frame, points that are missing, a side that is never seen.
    """
    units = tuple(unit_points(take.skeleton))
    mask = np.zeros((len(take.people), len(units)), bool)
    swaps: list[Swap] = []
    for track in take.tracks if units else ():
        rows = np.flatnonzero(take.people.track == track)
        times = take.times[take.people.frame[rows]]
        order = np.argsort(times, kind="stable")
        for stretch in np.split(rows[order], np.flatnonzero(np.diff(times[order]) > _LONGEST) + 1):
            seen = _watch(take, stretch)
            mask[stretch] = _settled(seen, _history(seen))
        rows = rows[order]
        swaps += _runs(int(track), take.people.frame[rows], mask[rows], units)
    report = SwapReport(tuple(swaps), units, mask)
    return (replace(take, people=_exchanged(take.people, take.skeleton, mask)) if mask.any() else take), report


def _exchanged(people: People, skeleton: Skeleton, mask: Bool[np.ndarray, "n u"]) -> People:
    """The rows with the masked units' points, and the boxes of hands and feet that go with them, exchanged."""
    members = unit_points(skeleton)
    order = np.tile(np.arange(len(skeleton)), (len(people), 1))
    parts = np.tile(np.arange(len(PARTS)), (len(people), 1))
    for (unit, points), rows in zip(members.items(), mask.T, strict=True):
        order[np.ix_(rows, points)] = np.asarray(skeleton.swap)[points]
        # A box of a hand was given to the side whose wrist is near; without hand points the wrist speaks for it, so for the foot.
        for part, carriers in (("hand", ("hand", "wrist")), ("foot", ("foot", "ankle"))):
            if unit == next((carrier for carrier in carriers if carrier in members), ""):
                left, right = PARTS.index(f"left_{part}"), PARTS.index(f"right_{part}")
                parts[np.ix_(rows, [left, right])] = right, left
    at = np.arange(len(people))[:, None]
    columns = {name: column[at, order] for name, column in people.columns().items() if name in ("keypoints", "confidence", "points")}
    if people.part_boxes is not None:
        columns["part_boxes"] = people.part_boxes[at, parts]
    return replace(people, **columns)


def _runs(track: int, frames: Int[np.ndarray, " r"], mask: Bool[np.ndarray, "r u"], units: tuple[str, ...]) -> list[Swap]:
    """The swaps of one track: stretches of rows in which the same units are exchanged."""
    change = np.flatnonzero((np.diff(mask.astype(np.int8), axis=0) != 0).any(1)) + 1
    out = []
    for start, stop in zip(np.r_[0, change], np.r_[change, len(mask)], strict=True):
        if mask[start].any():
            names = tuple(unit for unit, on in zip(units, mask[start], strict=True) if on)
            out.append(Swap(track, names, int(frames[start]), int(frames[stop - 1])))
    return out


@lru_cache(maxsize=32)
def _flips(units: tuple[str, ...]) -> tuple[Bool[np.ndarray, "p u"], Float[np.ndarray, " p"]]:
    """The sets of units that may flip in one frame (the first: none), and what each costs.

    In each chain everything from one unit outwards, or a single unit; chains combine freely.
    """
    chains = [tuple(unit for unit in chain if unit in units) for chain in CHAINS]
    masks = [frozenset[str]()]
    for chain in chains:
        ends = {frozenset(chain[i:]) for i in range(len(chain))}
        options = [frozenset[str](), *sorted(ends | {frozenset([unit]) for unit in chain}, key=sorted)]
        masks = [before | option for before in masks for option in options]
    masks.sort(key=len)
    flips = np.array([[unit in mask for unit in units] for mask in masks])

    cost = np.where(flips.any(-1), _FLIP, 0.0)
    touched = np.zeros(len(flips))
    for chain in chains:
        part = flips[:, [units.index(unit) for unit in chain]]
        touched += part.any(-1)
        cost += np.where((np.diff(part.astype(np.int8), axis=-1) >= 0).all(-1), 0.0, _ODD)
    cost += np.where(flips.all(-1), 0.0, _ANOTHER_CHAIN * np.maximum(touched - 1, 0))
    return flips, cost


@dataclass(frozen=True, eq=False)
class _Watched:
    """What the search sees of one track with F rows and L pairs.

    half: (F, L, D) half the difference, left less right, NaN where a side is missing. noise: (F, L) its variance. drive: (F, L) density of
    its acceleration. size: (F,) of the body. unit: (L,) of each pair, an index into `units`. weight: (L,). agree: pairs of units that
    point the same way in life, and (F,) how much they do, -1 to 1. upright: for some units, (F,) how much left is left.
    """

    times: Float[np.ndarray, " f"]
    half: Float[np.ndarray, "f l d"]
    noise: Float[np.ndarray, "f l"]
    drive: Float[np.ndarray, "f l"]
    size: Float[np.ndarray, " f"]
    unit: Int[np.ndarray, " l"]
    weight: Float[np.ndarray, " l"]
    units: tuple[str, ...]
    agree: dict[tuple[str, str], Float[np.ndarray, " f"]]
    upright: dict[str, Float[np.ndarray, " f"]]

    def bias(self, frame: int | slice, masks: Bool[np.ndarray, "*n u"]) -> Float[np.ndarray, "*n"]:
        """Cost per second of being swapped as the masks say."""
        at = {unit: masks[..., i] for i, unit in enumerate(self.units)}
        cost = _SWAPPED * masks.mean(-1)
        for chain in CHAINS:
            known = [at[unit] for unit in chain if unit in at]
            for inner, outer in zip(known[:-1], known[1:], strict=True):
                cost += _TORN * (inner != outer)
        for (a, b), agree in self.agree.items():
            cost += _OPPOSITE * np.maximum(np.where(at[a] == at[b], -agree[frame], agree[frame]), 0)
        for unit, upright in self.upright.items():
            cost += _OPPOSITE / 2 * np.maximum(np.where(at[unit], upright[frame], -upright[frame]), 0)
        return cost


def _watch(take: Take, rows: Int[np.ndarray, " f"]) -> _Watched:
    """The pairs of one track."""
    people, skeleton = take.people, take.skeleton
    swap = np.asarray(skeleton.swap)
    flat = np.isfinite(people.keypoints[rows]).all(-1).any() or people.points is None
    values = (people.keypoints if flat else people.points)[rows].astype(np.float64)
    confidence = people.confidence[rows].astype(np.float64)
    values[(confidence <= 0) | ~np.isfinite(values).all(-1)] = np.nan
    times = take.times[people.frame[rows]]
    size = _sizes(people.boxes[rows].astype(np.float64), values, times) if flat else np.ones(len(rows))

    members = unit_points(skeleton)
    left, unit, weight = [], [], []
    for index, points in enumerate(members.values()):
        pairs = points[points < swap[points]]
        chosen = pairs[:_LANES]
        left += chosen.tolist()
        unit += [index] * len(chosen)
        weight += [len(chosen) ** -0.5] * len(chosen)
    a, b = values[:, left], values[:, swap[left]]
    sure = (1 / trust(confidence[:, left]) + 1 / trust(confidence[:, swap[left]])) / 2
    noise = (_noise((a + b) / 2, times, size) * size[:, None]) ** 2 * sure
    drive = np.array([_MOTION[tuple(members)[u]] for u in unit]) * size[:, None] ** 2
    half, lane_unit, units = (a - b) / 2, np.array(unit), tuple(members)
    across = {name: _direction(half[:, lane_unit == i]) for i, name in enumerate(units)}
    agree = {
        # Shoulders of half width 0.15 body sizes and hips of 0.07 seen from the front count in full; from the side, where a twisted trunk
        # points two ways, next to nothing.
        (one, other): np.clip((across[one] * across[other]).sum(-1) / (0.01 * size**2), -1, 1)
        for one, other in (("head", "shoulder"), ("shoulder", "hip"))
        if one in across and other in across
    }
    upright = {} if people.points is None else _upright(people.points[rows].astype(np.float64), skeleton)
    return _Watched(times, half, noise, drive, size, lane_unit, np.array(weight), units, agree, upright)


def _sizes(boxes: Float[np.ndarray, "f 4"], values: Float[np.ndarray, "f k 2"], times: Float[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
    """Body sizes in pixels: the root of the box area, or of the keypoints' extent where there is no box; a median over a second."""
    from scipy.ndimage import median_filter

    squared = area(boxes)
    extent = np.fmax.reduce(values, axis=1) - np.fmin.reduce(values, axis=1)
    squared = np.where(np.isfinite(squared) & (squared > 0), squared, np.nan_to_num(extent.prod(-1)))
    known = squared > 0
    if not known.any():
        return np.ones(len(boxes))
    squared = np.where(known, squared, np.median(squared[known]))
    frames = max(1, round(0.5 / max(float(np.median(np.diff(times))), 1e-3))) if len(times) > 1 else 1
    return np.sqrt(median_filter(squared, 2 * min(frames, 60) + 1, mode="nearest"))


def _noise(middle: Float[np.ndarray, "f l d"], times: Float[np.ndarray, " f"], size: Float[np.ndarray, " f"]) -> Float[np.ndarray, " l"]:
    """Standard deviation of each pair's mean in body sizes, by how far a frame is from the line through its neighbours (robust).

    A swap does not touch the mean, and its noise is that of half the difference, if the sides err alike.
    """
    out = np.full(middle.shape[1], 3 * _LEAST_NOISE)
    if len(times) < 3:
        return out
    before, after = np.diff(times)[:-1], np.diff(times)[1:]
    share = (before / np.maximum(before + after, 1e-9))[:, None, None]
    away = (middle[1:-1] - (1 - share) * middle[:-2] - share * middle[2:]) / np.sqrt(1 + share**2 + (1 - share) ** 2)
    away = np.abs(away) / size[1:-1, None, None]
    for lane in range(middle.shape[1]):
        found = away[:, lane][np.isfinite(away[:, lane])]
        if len(found) >= 8:
            out[lane] = max(1.4826 * float(np.median(found)), _LEAST_NOISE)
    return out


def _direction(vectors: Float[np.ndarray, "f l d"]) -> Float[np.ndarray, "f d"]:
    """The mean of the vectors that are known in each frame; 0 where none is."""
    seen = np.isfinite(vectors).all(-1, keepdims=True)
    return np.where(seen, vectors, 0.0).sum(1) / np.maximum(seen.sum(1), 1)


def _upright(points: Float[np.ndarray, "f k 3"], skeleton: Skeleton) -> dict[str, Float[np.ndarray, " f"]]:
    """How much left is left of forward, -1 to 1, for shoulders and hips in space; 0 where unknown.

    Up is from hips to shoulders, forward from ears to nose and from heels to toes: neither changes when sides are exchanged.
    """

    def middle(word: str) -> np.ndarray:
        found = points[:, [i for i, name in enumerate(skeleton.names) if word in name]]
        seen = np.isfinite(found).all(-1).any(-1, keepdims=True)
        return np.where(seen, _direction(found), np.nan)

    def normed(vectors: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(np.nan_to_num(vectors), axis=-1, keepdims=True)
        return np.where(length > 0, np.nan_to_num(vectors) / np.where(length > 0, length, 1), 0.0)

    forward = normed(middle("nose") - middle("_ear")) + normed(middle("big_toe") - middle("heel"))
    left = normed(np.cross(normed(middle("_shoulder") - middle("_hip")), forward))
    pairs = {unit: points_[points_ < np.asarray(skeleton.swap)[points_]][0] for unit, points_ in unit_points(skeleton).items()}
    across = {unit: points[:, pairs[unit]] - points[:, skeleton.swap[pairs[unit]]] for unit in ("shoulder", "hip") if unit in pairs}
    return {unit: (normed(vectors) * left).sum(-1) for unit, vectors in across.items()}


@dataclass
class _Histories:
    """B histories: which units are flipped against the start, when each last flipped, the filters' place and speed, and the cost."""

    flipped: Bool[np.ndarray, "b u"]
    when: Float[np.ndarray, "b u"]
    place: Float[np.ndarray, "b l d"]
    speed: Float[np.ndarray, "b l d"]
    cost: Float[np.ndarray, " b"]


def _history(seen: _Watched) -> Bool[np.ndarray, "f u"]:
    """Which units are flipped in each row, against the first one, in the cheapest history."""
    flips, price = _flips(seen.units)
    frames, lanes, dims = seen.half.shape
    in_unit = (seen.unit[:, None] == np.arange(len(seen.units))) * seen.weight[:, None]
    now = _Histories(
        np.zeros((1, len(seen.units)), bool),
        np.full((1, len(seen.units)), -np.inf),
        np.zeros((1, lanes, dims)),
        np.zeros((1, lanes, dims)),
        np.zeros(1),
    )
    # Variances of place and speed and their covariance, per pair: they do not depend on the signs.
    spread = [np.full(lanes, (10 * seen.size[0]) ** 2), np.zeros(lanes), np.full(lanes, (_FASTEST * seen.size[0]) ** 2)]
    steps = np.diff(seen.times, prepend=seen.times[0])
    bits = 1 << np.arange(len(seen.units))
    log: list[tuple[np.ndarray, np.ndarray]] = []
    for i, step in enumerate(steps):
        now.place += step * now.speed
        spread = _ahead(spread, step, seen.drive[i])
        there = np.isfinite(seen.half[i]).all(-1)
        half = np.where(there[:, None], seen.half[i], 0.0)
        variance = spread[0] + seen.noise[i]
        as_is, turned = (_surprise(side * half - now.place, variance, there) @ in_unit for side in (1.0, -1.0))
        stay, flip = np.where(now.flipped, turned, as_is), np.where(now.flipped, as_is, turned)
        # A flip in a long gap costs less: more may have happened there.
        total = (now.cost + stay.sum(1))[:, None] + (flip - stay) @ flips.T + price / (1 + 2 * max(step - 0.1, 0.0))
        parent, flipped, when, cost = _best(now, total if i else total[:, :1], flips, seen.times[i])
        cost += seen.bias(i, flipped) * min(step, 0.2)
        place, speed = now.place[parent], now.speed[parent]
        error = np.where(flipped[:, seen.unit], -1.0, 1.0)[..., None] * half - place
        error *= np.minimum(1.0, _CLIP / np.maximum(np.sqrt((error**2).sum(-1) / variance), 1e-9))[..., None]
        gain = [np.where(there, part / variance, 0.0) for part in spread[:2]]
        now = _Histories(flipped, when, place + gain[0][:, None] * error, speed + gain[1][:, None] * error, cost)
        spread = [spread[0] * (1 - gain[0]), spread[1] * (1 - gain[0]), spread[2] - gain[1] * spread[1]]
        log.append((parent.astype(np.int16), (flipped @ bits).astype(np.int16)))
    codes = np.zeros(frames, np.int64)
    best = int(now.cost.argmin())
    for i in range(frames - 1, -1, -1):
        parent, code = log[i]
        codes[i], best = code[best], int(parent[best])
    return codes[:, None] & bits > 0


def _best(
    now: _Histories, total: Float[np.ndarray, "b p"], flips: Bool[np.ndarray, "p u"], time: float
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, "n u"], Float[np.ndarray, "n u"], Float[np.ndarray, " n"]]:
    """The histories to go on with: parent, flipped units, times of the flips, cost.

    Of those in one state whose units flipped at about the same time of late, the cheapest.
    """
    parent, pattern = np.nonzero(total <= total.min() + _HOPELESS)
    cost = total[parent, pattern]
    order = np.argsort(cost, kind="stable")[: 16 * _BEAM]
    parent, pattern, cost = parent[order], pattern[order], cost[order]
    flipped = now.flipped[parent] ^ flips[pattern]
    when = np.where(flips[pattern], time, now.when[parent])
    age = np.minimum((time - when) / _PROBATION * _AGES, _AGES).astype(np.int64)
    digits = (2 * (_AGES + 1)) ** np.arange(flips.shape[1])
    _, first = np.unique((2 * age + flipped) @ digits, return_index=True)
    first = np.sort(first)[:_BEAM]
    return parent[first], flipped[first], when[first], cost[first]


def _settled(seen: _Watched, flipped: Bool[np.ndarray, "f u"]) -> Bool[np.ndarray, "f u"]:
    """The swapped units of each row: the flips counted from the start that makes all states together the cheapest."""
    starts, _ = _flips(seen.units)
    seconds = np.minimum(np.diff(seen.times, append=seen.times[-1]), 0.2)
    costs = [float(seen.bias(slice(None), flipped ^ start) @ seconds) for start in starts]
    return flipped ^ starts[int(np.argmin(costs))]


def _ahead(spread: list[np.ndarray], step: float, drive: Float[np.ndarray, " l"]) -> list[np.ndarray]:
    """Variances `step` seconds on, with white noise in the acceleration."""
    place, both, speed = spread
    return [
        place + 2 * step * both + step**2 * speed + drive * step**3 / 3,
        both + step * speed + drive * step**2 / 2,
        speed + drive * step,
    ]


def _surprise(
    error: Float[np.ndarray, "s l d"], variance: Float[np.ndarray, " l"], there: Bool[np.ndarray, " l"]
) -> Float[np.ndarray, "s l"]:
    """-2 log likelihood of deviations: squared, linear beyond `_CLIP`, at most `_CAP`; 0 for what is not there."""
    squared = (error**2).sum(-1) / variance
    robust = np.where(squared > _CLIP**2, 2 * _CLIP * np.sqrt(squared) - _CLIP**2, squared)
    return np.where(there, np.minimum(robust, _CAP), 0.0)
