"""Causal smoothing: keypoints that stand still when the person does, and do not lag when the person moves. Whole takes: `offline`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.take import People

BODY_METRES = 1.0
"""Size of a body for points in metres: about the square root of the area that a standing adult's box covers."""


@dataclass
class _Bank:
    """Filtered points of T tracks: position and raw position, velocity (per second), and time last seen (-inf: never)."""

    tracks: Int[np.ndarray, " t"]
    position: Float[np.ndarray, "t k d"]
    raw: Float[np.ndarray, "t k d"]
    velocity: Float[np.ndarray, "t k d"]
    seen: Float[np.ndarray, "t k"]

    @classmethod
    def empty(cls, k: int, d: int) -> Self:
        return cls(np.zeros(0, np.int64), *(np.zeros((0, k, d)) for _ in range(3)), np.zeros((0, k)))

    def keep(self, chosen: Bool[np.ndarray, " t"]) -> None:
        """Forget the other tracks."""
        if not chosen.all():
            for name, column in vars(self).items():
                setattr(self, name, column[chosen])

    def slots(self, tracks: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Where these tracks are; new ones get a place, as never seen."""
        new = tracks[~np.isin(tracks, self.tracks)]
        if len(new):
            shape = (len(new), *self.position.shape[1:])
            self.tracks = np.concatenate([self.tracks, new])
            self.position, self.raw = (np.concatenate([old, np.full(shape, np.nan)]) for old in (self.position, self.raw))
            self.velocity = np.concatenate([self.velocity, np.zeros(shape)])
            self.seen = np.concatenate([self.seen, np.full(shape[:2], -np.inf)])
        order = np.argsort(self.tracks)
        return order[np.searchsorted(self.tracks, tracks, sorter=order)]


class Smoother:
    """One-Euro filter (Casiez et al., CHI 2012) for every keypoint of every track, over true timestamps.

    A low-pass filter per point whose cut-off frequency rises with the point's speed: cut-off = min_cutoff + responsiveness * speed.
    min_cutoff: hertz, of a point at rest; lower is calmer. responsiveness: hertz per (body size per second), a body size being the square
    root of the box area (for points in space: 1 m), so that near and far people are smoothed alike; higher lags less.
    velocity_cutoff: hertz, for the speed itself. max_gap: seconds; a point unseen for longer starts afresh.

    Deviations from the paper: the gain is 1 - exp(-2 pi f dt), the exact answer of a first-order low-pass to a step, so that 30 and 60
    frames per second give the same curve; and a point of low confidence has a lower cut-off (down to a quarter), because it jumps more.
    """

    def __init__(
        self,
        *,
        min_cutoff: float = 1.5,
        responsiveness: float = 4.0,
        velocity_cutoff: float = 2.0,
        max_gap: float = 0.3,
    ) -> None:
        self._min_cutoff = min_cutoff
        self._responsiveness = responsiveness
        self._velocity_cutoff = velocity_cutoff
        self._max_gap = max_gap
        self._banks: dict[str, _Bank] = {}

    def update(self, time: float, people: People) -> People:
        """The people of the frame at `time` (seconds) with smoothed keypoints and, where there are any, points in space.

        Boxes, confidence and everything else stay as they are. Rows without a track (-1) pass unchanged, and so does a second row of one
        track. A keypoint that is not finite passes as it is and does not disturb its filter. Raises VitruvianError when the number of
        keypoints differs from the frames before.
        """
        tracks, rows = np.unique(people.track, return_index=True)
        tracks, rows = tracks[tracks >= 0].astype(np.int64), rows[tracks >= 0]
        confidence = people.confidence[rows]
        boxes = people.boxes[rows].astype(np.float64)
        sizes = np.sqrt(np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1.0))
        keypoints = people.keypoints.copy()
        keypoints[rows] = self._filter("keypoints", time, tracks, people.keypoints[rows], confidence, sizes)
        if people.points is None:
            return replace(people, keypoints=keypoints)
        points = people.points.copy()
        points[rows] = self._filter("points", time, tracks, people.points[rows], confidence, np.full(len(rows), BODY_METRES))
        return replace(people, keypoints=keypoints, points=points)

    def _filter(
        self,
        column: str,
        time: float,
        tracks: Int[np.ndarray, " n"],
        raw: Float[np.ndarray, "n k d"],
        confidence: Float[np.ndarray, "n k"],
        sizes: Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, "n k d"]:
        raw = raw.astype(np.float64)
        bank = self._banks.setdefault(column, _Bank.empty(*raw.shape[1:]))
        if bank.position.shape[1:] != raw.shape[1:]:
            raise VitruvianError(f"{raw.shape[1]} {column} after frames with {bank.position.shape[1]}: use a new Smoother for another set")
        bank.keep(time - bank.seen.max(1, initial=-np.inf) <= self._max_gap)
        at = bank.slots(tracks)
        position, before, velocity, seen = bank.position[at], bank.raw[at], bank.velocity[at], bank.seen[at]

        valid = np.isfinite(raw).all(-1)
        step = np.maximum(time - seen, 1e-3)
        fresh = valid & (step > self._max_gap)
        known = valid & ~fresh
        position[fresh], before[fresh], velocity[fresh] = raw[fresh], raw[fresh], 0.0

        step, measured, moved = step[known, None], raw[known], velocity[known]
        moved += _gain(self._velocity_cutoff, step) * ((measured - before[known]) / step - moved)
        size = np.broadcast_to(sizes[:, None], known.shape)[known, None]
        speed = np.linalg.norm(moved, axis=-1, keepdims=True) / size
        cutoff = trust(confidence[known, None]) * (self._min_cutoff + self._responsiveness * speed)
        position[known] += _gain(cutoff, step) * (measured - position[known])
        velocity[known], before[known] = moved, measured
        seen[valid] = time
        bank.position[at], bank.raw[at], bank.velocity[at], bank.seen[at] = position, before, velocity, seen
        return np.where(valid[..., None], position, raw)

    def to_arrays(self) -> dict[str, object]:
        """Everything the next `update` depends on: arrays, and under "settings" numbers for JSON. `from_arrays` goes on exactly there."""
        settings = {name: getattr(self, f"_{name}") for name in _SETTINGS}
        arrays = {f"{column}_{name}": array.copy() for column, bank in self._banks.items() for name, array in vars(bank).items()}
        return {"settings": settings, **arrays}

    @classmethod
    def from_arrays(cls, state: Mapping[str, object]) -> Smoother:
        """The smoother that `to_arrays` described. Raises FormatError when something is missing or does not fit."""
        try:
            smoother = cls(**{name: float(state["settings"][name]) for name in _SETTINGS})
            for column in ("keypoints", "points"):
                if f"{column}_tracks" in state:
                    names = ("tracks", "position", "raw", "velocity", "seen")
                    kinds = (np.int64, *[np.float64] * 4)
                    arrays = [np.array(state[f"{column}_{name}"], kind) for name, kind in zip(names, kinds, strict=True)]
                    smoother._banks[column] = _checked(_Bank(*arrays), column)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"this is no state of a smoother ({error}); start the capture afresh") from error
        return smoother


_SETTINGS = ("min_cutoff", "responsiveness", "velocity_cutoff", "max_gap")


def trust(confidence: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """What a measurement of this confidence counts, 0.25 to 1: half sure is as good as sure, unknown is the least."""
    return np.clip(2 * np.nan_to_num(confidence), 0.25, 1.0)


def _checked(bank: _Bank, column: str) -> _Bank:
    """The bank. Raises ValueError where its arrays do not fit each other."""
    shape = bank.position.shape
    fits = len(shape) == 3 and bank.tracks.shape == shape[:1] and bank.seen.shape == shape[:2]
    if not fits or bank.raw.shape != shape or bank.velocity.shape != shape:
        raise ValueError(f"the arrays of the {column} differ in shape")
    return bank


def _gain(cutoff: float | np.ndarray, step: np.ndarray) -> np.ndarray:
    """Share of the way to a new measurement that a low-pass of `cutoff` hertz goes in `step` seconds."""
    return 1 - np.exp(-2 * np.pi * cutoff * step)
