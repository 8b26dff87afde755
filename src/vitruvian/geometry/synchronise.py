"""When did which camera start: the clocks of several films of the same people, set by how these move.

    offsets = synchronise([take.times ...], [vertical_speeds(take.times, heights) ...]).offsets
    common_time = camera_time + offset                      # the first camera's clock

A wrist that goes up goes up in every upright camera, at the same moment. Vertical speeds of some points are resampled to one rate, and
each pair of cameras is shifted against each other to the clearest normalised correlation, between samples by a parabola through the three
highest values. The offsets of all cameras are those that agree best with all pairs (least squares, weighted by squared correlations).
Cameras see different people: each pair of cameras uses the people, one of each, that correlate most clearly. Cameras that look down from
high up on opposite sides are the weak case: motion towards one goes up in the other. [ours; the idea is that of OpenCap and Pose2Sim,
card opencapbench.md section 4]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError

_RATE = 120.0  # samples per second that pairs are compared at, at most
_LEAST = 0.25  # share of the shorter film that two must have in common
_CUTOFF = 6.0  # hertz: what is faster in a keypoint is mostly noise
_CLEAR = 0.1  # correlations that are no more than this above nothing say nothing


@dataclass(frozen=True, eq=False)
class Clocks:
    """offsets: (c,) seconds to add to each camera's times to have the first one's; NaN where no pair leads there.

    correlation: (c, c) of each pair at its best shift, 0 where nothing is known. shifts: (c, c) seconds of each pair alone.
    """

    offsets: Float[np.ndarray, " c"]
    correlation: Float[np.ndarray, "c c"]
    shifts: Float[np.ndarray, "c c"]


def vertical_speeds(times: Float[np.ndarray, " f"], heights: Float[np.ndarray, "f j"], size: float) -> Float[np.ndarray, "f j"]:
    """How fast points move up the picture, in body sizes per second, smoothed; NaN where they are not seen.

    heights: y of j points in pixels, down as pictures have it, NaN where missing. size: height of the person in pixels.
    """
    from vitruvian.people.filters import kalman, runs

    heights = np.asarray(heights, np.float64)
    out = np.full(heights.shape, np.nan)
    for frames, points, _ in runs(times, np.isfinite(heights), 0.25):
        at = times[frames]
        if len(at) < 4:
            continue
        values = heights[frames][:, points][..., None]
        smooth = kalman(at, np.nan_to_num(values), np.isfinite(values[..., 0]).astype(float), _CUTOFF)[..., 0]
        out[frames, points] = -np.gradient(smooth, at, axis=0) / max(size, 1e-9)
    return out


def synchronise(
    times: Sequence[Float[np.ndarray, " f"]], speeds: Sequence[Sequence[Float[np.ndarray, "f j"]]], max_offset: float = 10.0
) -> Clocks:
    """The clocks of c films.

    times: seconds of each film's frames. speeds: for each film its people, each (f, j) vertical speeds of the same j points, NaN
    where not seen. max_offset: seconds that two films may be apart at most. Raises VitruvianError where shapes don't fit.
    """
    if len(times) != len(speeds) or any(
        np.ndim(s) != 2 or len(s) != len(t) for t, people in zip(times, speeds, strict=False) for s in people
    ):
        raise VitruvianError("give each film's times and, for each of its people, (frames, points) of speeds")
    count = len(times)
    steps = [float(np.median(np.diff(t))) for t in times if len(t) > 1]
    step = max(1 / _RATE, min(steps, default=1.0))
    grids = [np.arange(t[0], t[-1] + step / 2, step) if len(t) > 1 else np.zeros(0) for t in times]
    sampled = [[_sampled(t, person, grid) for person in people] for t, people, grid in zip(times, speeds, grids, strict=True)]
    shifts, correlation = np.full((count, count), np.nan), np.zeros((count, count))
    for a in range(count):
        for b in range(a):
            pairs = [(one, other) for one in sampled[a] for other in sampled[b]]
            found = [_best_lag(one, other, step, times[a][0] - times[b][0], max_offset) for one, other in pairs]
            lag, peak, clear = max(found, key=lambda each: each[2], default=(np.nan, 0.0, 0.0))
            if clear > 0:
                correlation[a, b] = correlation[b, a] = peak
                shifts[a, b] = lag + times[b][0] - times[a][0]
                shifts[b, a] = -shifts[a, b]
    return Clocks(agreed_offsets(shifts, correlation), correlation, shifts)


def _sampled(times: np.ndarray, speeds: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(2, j, g): speeds on a grid, 0 where they are missing; and a mask, 1 where they are not."""
    out = np.zeros((2, speeds.shape[1], len(grid)))
    for j, speed in enumerate(speeds.T):
        seen = np.isfinite(speed)
        if not seen.any():
            continue
        there = np.interp(grid, times, seen.astype(float)) > 0.999
        out[0, j] = np.where(there, np.interp(grid, times[seen], speed[seen]), 0.0)
        out[1, j] = there
    return out


def _best_lag(one: np.ndarray, other: np.ndarray, step: float, start: float, max_offset: float) -> tuple[float, float, float]:
    """Seconds by which the first grid's samples lie behind the other's at the clearest correlation over all points; that, and how clear.

    start: by how much the first film starts later by its own clock; the offset between the clocks is limited.
    """
    from scipy.signal import fftconvolve

    n, m = one.shape[-1], other.shape[-1]
    if min(n, m) < 2:
        return np.nan, 0.0, 0.0

    def together(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """For each lag l: sum over points and i of a[i] b[i + l]."""
        return fftconvolve(b, a[..., ::-1], axes=-1).sum(0)

    (x, here), (y, there) = one, other
    number = together(here, there)
    product, xx, yy = together(x, y), together(x * x, there), together(here, y * y)
    lags = np.arange(-(n - 1), m) * step
    weight = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
    shared = number * step / max(here.any(-1).sum(), 1)
    use = (
        (shared >= _LEAST * min(n, m) * step)
        & (np.abs(lags - start) <= max_offset)
        & (weight > 1e-9 * max(weight.max(initial=0.0), 1e-300))
    )
    if not use.any():
        return np.nan, 0.0, 0.0
    value = np.where(use, product / np.where(use, weight, 1.0), -1.0)
    # A short overlap correlates by chance: what counts is how unlikely that is (Fisher's z over its standard deviation).
    score = np.where(use, np.arctanh(np.clip(value, -0.99, 0.99)) * np.sqrt(np.maximum(shared, 0)), -np.inf)
    best = int(score.argmax())
    return lags[best] + step * _between(value, use, best), float(max(value[best], 0.0)), float(score[best])


def _between(value: np.ndarray, use: np.ndarray, best: int) -> float:
    """Where between samples the parabola through the three around `best` is highest, -0.5 to 0.5."""
    if not 0 < best < len(value) - 1 or not use[best - 1 : best + 2].all():
        return 0.0
    before, peak, after = value[best - 1 : best + 2]
    bend = before - 2 * peak + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def agreed_offsets(shifts: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Offsets from the first camera that agree best with all pairs; NaN for cameras that no pair ties to it."""
    count = len(shifts)
    offsets = np.full(count, np.nan)
    if not count:
        return offsets
    weight = np.where(np.isfinite(shifts) & (correlation > _CLEAR), correlation**2, 0.0)
    tied = np.eye(count)[0].astype(bool)
    for _ in range(count):
        tied |= (weight[tied] > 0).any(0)
    rows = np.flatnonzero(tied)
    part, pull = weight[np.ix_(rows, rows)], np.nan_to_num(shifts[np.ix_(rows, rows)])
    # offset[a] - offset[b] = shift[a, b]; the first is 0.
    laplacian = np.diag(part.sum(1)) - part
    right = (part * pull).sum(1)
    offsets[rows] = np.concatenate([[0.0], np.linalg.solve(laplacian[1:, 1:], right[1:])])
    return offsets
