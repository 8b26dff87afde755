"""Smoothing: keypoints that stand still when the person does, and do not lag when the person moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from vitruvian.take import People


@dataclass
class _State:
    """Filtered keypoints of one track: position and raw position (pixels), velocity (pixels per second), time last seen (-inf: never)."""

    position: Float[np.ndarray, "k 2"]
    raw: Float[np.ndarray, "k 2"]
    velocity: Float[np.ndarray, "k 2"]
    seen: Float[np.ndarray, " k"]


class Smoother:
    """One-Euro filter (Casiez et al., CHI 2012) for every keypoint of every track, over true timestamps.

    A low-pass filter per point whose cut-off frequency rises with the point's speed: cut-off = min_cutoff + responsiveness * speed.
    min_cutoff: hertz, of a point at rest; lower is calmer. responsiveness: hertz per (body size per second), a body size being the square
    root of the box area, so that near and far people are smoothed alike; higher lags less. velocity_cutoff: hertz, for the speed itself.
    max_gap: seconds; a point unseen for longer starts afresh.

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
        self._states: dict[int, _State] = {}

    def update(self, time: float, people: People) -> People:
        """The people of the frame at `time` (seconds) with smoothed keypoints; boxes, confidence and everything else stay as they are.

        Rows without a track (-1) pass unchanged. A keypoint that is not finite passes as it is and does not disturb its filter.
        """
        self._states = {track: state for track, state in self._states.items() if time - state.seen.max() <= self._max_gap}
        keypoints = people.keypoints.copy()
        for row in np.flatnonzero(people.track >= 0):
            box = people.boxes[row]
            size = float(np.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1.0)))
            keypoints[row] = self._filter(int(people.track[row]), time, people.keypoints[row], people.confidence[row], size)
        return replace(people, keypoints=keypoints)

    def _filter(
        self, track: int, time: float, raw: Float[np.ndarray, "k 2"], confidence: Float[np.ndarray, " k"], size: float
    ) -> Float[np.ndarray, "k 2"]:
        raw = raw.astype(np.float64)
        valid = np.isfinite(raw).all(-1)
        state = self._states.get(track)
        if state is None:
            state = _State(raw.copy(), raw.copy(), np.zeros_like(raw), np.full(len(raw), -np.inf))
            self._states[track] = state
        step = np.maximum(time - state.seen, 1e-3)
        fresh = valid & (step > self._max_gap)
        state.position[fresh], state.raw[fresh], state.velocity[fresh] = raw[fresh], raw[fresh], 0.0

        known = valid & ~fresh
        step, measured = step[known, None], raw[known]
        velocity = state.velocity[known]
        velocity += _gain(self._velocity_cutoff, step) * ((measured - state.raw[known]) / step - velocity)
        speed = np.linalg.norm(velocity, axis=-1, keepdims=True) / size
        trust = np.clip(2 * np.nan_to_num(confidence[known, None]), 0.25, 1.0)
        cutoff = trust * (self._min_cutoff + self._responsiveness * speed)
        state.position[known] += _gain(cutoff, step) * (measured - state.position[known])
        state.velocity[known], state.raw[known] = velocity, measured
        state.seen[valid] = time
        return np.where(valid[:, None], state.position, raw)


def _gain(cutoff: float | np.ndarray, step: np.ndarray) -> np.ndarray:
    """Share of the way to a new measurement that a low-pass of `cutoff` hertz goes in `step` seconds."""
    return 1 - np.exp(-2 * np.pi * cutoff * step)
