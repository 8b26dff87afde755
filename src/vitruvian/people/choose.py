"""Which of the places that a network sees is the joint: chosen over time, for the left and the right side together.

A network that is not sure of a knee sees it in two places (`People.second`), most often its own and that of the other side: in a profile
one frame does not tell left from right, and both knees end up on one leg. But knees don't jump. For every person over time, the knees and
ankles of both legs, and the elbows and wrists of both arms, take those of their places that are together the likeliest in the frames and
travel the least between them (Viterbi's search); what hangs on an ankle or a wrist follows it. Places of the other side count too: where a
map has only one of two legs, its own is the one that the other side's map saw. The design and its numbers are ours; how much it helps:
docs/default-models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.people.pieces import pieces_of
from vitruvian.skeletons import Skeleton
from vitruvian.take import Take

CHAINS = (("knee", "ankle"), ("elbow", "wrist"))
FOOT = ("big_toe", "small_toe", "heel")
SIDES = ("left", "right")

# Costs are -ln of a chance. Errors of neighbouring frames are alike, so that what a frame says counts for less than its chance.
_TRUST = 0.3
_LEAST, _SEEN = 0.01, 0.03  # chance of a place that a map has not; chance from which a place of a map counts
_TRAVEL = 0.08  # of a person's size (root of the box's area): the way of a joint in a thirtieth of a second that costs 1
_SHARED = 1.0  # of both sides in one place, of which each has another
_NEAR = 0.07  # of a person's size: places that are nearer to each other are one
_FOLLOWS = 0.1  # of a person's size: the way of a toe or finger from where it was expected that costs 1
_BEST = 24  # of the 256 choices of a frame that are followed


def choose_places(take: Take) -> Take:
    """The take with joints of legs and arms in those of their two places that fit together over time; `second` is used up.

    Takes whose people have no second places, and rows without a track, keep their keypoints. The confidence of a chosen place is the
    chance that both sides' maps together give it; that of a place where both sides are, what its own side's map says.
    """
    people = take.people
    if people.second is None:
        return take
    places = np.stack([people.keypoints, people.second[..., :2]], axis=2).astype(np.float64)
    chances = np.nan_to_num(np.stack([people.confidence, people.second[..., 2]], axis=2).astype(np.float64))
    chances[~np.isfinite(places).all(-1)] = 0.0
    for rows in (rows for rows in pieces_of(take) if people.track[rows[0]] >= 0):
        size = np.sqrt(np.maximum(np.prod(people.boxes[rows, 2:] - people.boxes[rows, :2], axis=1, dtype=np.float64), 1.0))
        for chain in CHAINS:
            if all(f"{side}_{joint}" in take.skeleton.names for side in SIDES for joint in chain):
                here, sure = places[rows], chances[rows]
                _choose(here, sure, size, take.times[people.frame[rows]], take.skeleton, chain)
                places[rows], chances[rows] = here, sure
    keypoints, confidence = places[:, :, 0].astype(np.float32), chances[:, :, 0].astype(np.float32)
    return replace(take, people=replace(people, keypoints=keypoints, confidence=np.minimum(confidence, 1.0), second=None))


def _choose(
    places: Float[np.ndarray, "t k 2 2"],
    chances: Float[np.ndarray, "t k 2"],
    size: Float[np.ndarray, " t"],
    times: Float[np.ndarray, " t"],
    skeleton: Skeleton,
    chain: tuple[str, str],
) -> None:
    """Put the chosen places of one person's joints of a chain, and of what hangs on its end, first; in place."""
    joints = [_Options.of(places, chances, size, [skeleton.index(f"{side}_{joint}") for side in SIDES]) for joint in chain]
    choice = _cheapest_way(joints, size, times)
    for joint, picked in zip(joints, choice, strict=True):
        joint.put(places, chances, picked)
    for pair in _hanging(skeleton, chain[1]):
        points = _Options.of(places, chances, size, pair)
        away = np.linalg.norm(points.where - places[:, joints[1].index, :1], axis=-1) / (_FOLLOWS * size[:, None, None])
        points.put(places, chances, (points.cost + np.nan_to_num(away)).argmin(-1))


def _hanging(skeleton: Skeleton, end: str) -> list[list[int]]:
    """Pairs (left, right) of the points that go where a wrist or an ankle goes."""
    if end == "wrist":
        hands = [range(*skeleton.parts[f"{side}_hand"].indices(len(skeleton))) for side in SIDES if f"{side}_hand" in skeleton.parts]
        return [list(pair) for pair in zip(*hands, strict=True)] if len(hands) == 2 else []
    names = [[f"{side}_{point}" for side in SIDES] for point in FOOT]
    return [[skeleton.index(name) for name in pair] for pair in names if set(pair) <= set(skeleton.names)]


@dataclass(frozen=True, eq=False)
class _Options:
    """Where a pair of keypoints `index` (left, right) may be: each in its own two places and the other side's two.

    where: (t, 2, 4, 2) pixels. own, both: (t, 2, 4) the chances that the side's own map gives the place, and the maps of both sides
    together. cost: (t, 2, 4), infinite where there is no such place, or the side's own map has it too; never for the first. near: (t,)
    pixels.
    """

    index: list[int]
    where: Float[np.ndarray, "t 2 4 2"]
    own: Float[np.ndarray, "t 2 4"]
    both: Float[np.ndarray, "t 2 4"]
    cost: Float[np.ndarray, "t 2 4"]
    near: Float[np.ndarray, " t"]

    @classmethod
    def of(cls, places: np.ndarray, chances: np.ndarray, size: np.ndarray, index: list[int]) -> _Options:
        """Those that a pair has among all places and chances."""
        where = np.concatenate([places[:, index], places[:, index[::-1]]], axis=2)
        seen = np.concatenate([chances[:, index], chances[:, index[::-1]]], axis=2)
        near = _NEAR * size
        same = np.linalg.norm(where[:, :, :, None] - where[:, :, None], axis=-1) < near[:, None, None, None]
        chance = np.where(same, seen[:, :, None], 0.0)
        own, both = chance[..., :2].sum(-1), np.minimum(chance.sum(-1), 1.0)
        absent = seen < _SEEN
        absent[:, :, 2:] |= same[:, :, 2:, :2].any(-1) | np.isnan(where[:, :, :1, 0])  # what is not found stays so
        absent[:, :, 0] = False
        return cls(index, where, own, both, np.where(absent, np.inf, -_TRUST * np.log(own + _LEAST)), near)

    def in_one_place(self) -> Bool[np.ndarray, "t 4 4"]:
        """Which choices of the left and the right side are the same place."""
        return np.linalg.norm(self.where[:, 0, :, None] - self.where[:, 1, None], axis=-1) < self.near[:, None, None]

    def of_both(self) -> Float[np.ndarray, "t 4 4"]:
        """What each choice of the left and the right side costs together."""
        several = (np.isfinite(self.cost).sum(-1) > 1).any(1)[:, None, None]
        return self.cost[:, 0, :, None] + self.cost[:, 1, None] + _SHARED * (self.in_one_place() & several)

    def put(self, places: np.ndarray, chances: np.ndarray, picked: Int[np.ndarray, "t 2"]) -> None:
        """Put the picked ones first, in place. What both maps say of a place counts for one side only where the other is elsewhere."""
        frames, sides = np.arange(len(picked))[:, None], np.arange(2)
        shared = self.in_one_place()[frames, picked[:, :1], picked[:, 1:]]
        places[:, self.index, 0] = self.where[frames, sides, picked]
        chances[:, self.index, 0] = np.where(shared, self.own[frames, sides, picked], self.both[frames, sides, picked])


def _cheapest_way(joints: Sequence[_Options], size: Float[np.ndarray, " t"], times: Float[np.ndarray, " t"]) -> Int[np.ndarray, "2 t 2"]:
    """Which option both sides of two joints take in each frame."""
    frames = np.arange(len(times))
    cost = (joints[0].of_both()[:, :, :, None, None] + joints[1].of_both()[:, None, None]).reshape(len(times), -1)
    followed = np.argpartition(cost, _BEST, axis=1)[:, :_BEST]
    cost = np.take_along_axis(cost, followed, axis=1)
    picked = np.stack(np.unravel_index(followed, (4, 4, 4, 4)))  # (4, t, b)
    at = np.stack([joints[k // 2].where[frames[:, None], k % 2, picked[k]] for k in range(4)], axis=2)
    scale = _TRAVEL * size * np.sqrt(np.maximum(np.diff(times, prepend=times[0]), 1e-3) * 30)
    total, before = cost[0], np.zeros((len(times), _BEST), np.intp)
    for t in frames[1:]:
        way = total + np.nan_to_num(np.linalg.norm(at[t][:, None] - at[t - 1], axis=-1)).sum(-1) / scale[t]
        before[t] = way.argmin(1)
        total = way.min(1) + cost[t]
    best = np.full(len(times), total.argmin())
    for t in frames[:0:-1]:
        best[t - 1] = before[t, best[t]]
    return picked[:, frames, best].reshape(2, 2, -1).swapaxes(1, 2)
