"""Offline filters of point series: low-pass without lag, filling of gaps, and finding of outliers, on true timestamps.

Series are arrays (f, n, d): n points with d coordinates at f times (seconds, strictly ascending). All cut-offs are in hertz, at half gain
(-6 dB), and all limits in seconds, so that a take of 30 and one of 60 frames per second are treated alike.

The two low-passes answer the same question. Forward-backward filtering with a Butterworth filter of order m has the gain
1 / (1 + (f / cutoff)^2m); a Rauch-Tung-Striebel smoother of points that are driven by white noise in their m-th derivative has the same in
the limit of small steps (it is the smoothing spline of that order). `order` is 2m, as in "fourth-order zero-lag Butterworth".
"""

from __future__ import annotations

from collections.abc import Iterator
from math import factorial

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import VitruvianError

ORDERS = (2, 4, 6)
_STEADY = 1e-4  # share of a step by which regular times may be off; at more, even fast points are moved by resampling only
_NYQUIST = 0.5 - 1e-6  # half the frame rate, in cycles per step, as it comes out of rounded times
# Of the weighted Butterworth, where what a doubtful point pulls too much falls by a quarter or more in each, and of the outliers.
_ROUNDS = 6


def nominal_step(times: Float[np.ndarray, " f"]) -> float:
    """The usual time between frames in seconds: the median, so that a few dropped frames don't count. 1 where there is none."""
    steps = np.diff(times)
    return float(np.median(steps)) if len(steps) else 1.0


def runs(
    times: Float[np.ndarray, " f"], seen: Bool[np.ndarray, "f n"], max_gap: float
) -> Iterator[tuple[slice, Int[np.ndarray, " m"], Bool[np.ndarray, " r"]]]:
    """Stretches without a gap longer than `max_gap` seconds: (frames, points, which of the frames are seen), the first and last are.

    The length of a gap is the time from the last sight before it to the first one after. Points that are seen in the same frames come
    together, so that whole bodies are filtered in one go.
    """
    patterns: dict[bytes, list[int]] = {}
    for point in range(seen.shape[1]):
        patterns.setdefault(np.packbits(seen[:, point]).tobytes(), []).append(point)
    for points in patterns.values():
        present = np.flatnonzero(seen[:, points[0]])
        if not len(present):
            continue
        breaks = np.flatnonzero(np.diff(times[present]) > max_gap * (1 + 1e-9))
        for first, last in zip(np.r_[0, breaks + 1], np.r_[breaks, len(present) - 1], strict=True):
            frames = slice(int(present[first]), int(present[last]) + 1)
            yield frames, np.array(points), seen[frames, points[0]]


def fillable(times: Float[np.ndarray, " f"], seen: Bool[np.ndarray, " f"], max_gap: float) -> Bool[np.ndarray, " f"]:
    """Missing frames between two sights that are at most `max_gap` seconds apart."""
    present = np.flatnonzero(seen)
    if not len(present):
        return np.zeros_like(seen)
    after = np.searchsorted(present, np.arange(len(seen)))
    inside = (after > 0) & (after < len(present))
    before, after = np.where(inside, after - 1, 0), np.where(inside, after, 0)
    return ~seen & inside & (times[present[after]] - times[present[before]] <= max_gap * (1 + 1e-9))


def interpolate(
    times: Float[np.ndarray, " f"], values: Float[np.ndarray, "f n d"], seen: Bool[np.ndarray, " f"]
) -> Float[np.ndarray, "f n d"]:
    """The values with the frames that are not seen filled by PCHIP (monotone cubic), which never overshoots its neighbours.

    The first and the last frame must be seen.
    """
    if seen.all():
        return values
    from scipy.interpolate import PchipInterpolator

    filled = values.copy()
    filled[~seen] = PchipInterpolator(times[seen], values[seen], axis=0)(times[~seen])
    return filled


def butterworth(
    times: Float[np.ndarray, " f"],
    values: Float[np.ndarray, "f n d"],
    weights: Float[np.ndarray, "f n"],
    cutoff: float,
    order: int = 4,
) -> Float[np.ndarray, "f n d"]:
    """Zero-phase Butterworth low-pass of complete series, at half gain at `cutoff` hertz.

    Irregular times: a digital filter needs equal steps, so the series are resampled to equal steps of the same number by a cubic spline,
    filtered, and read back at the true times by another. A spline passes what the filter passes (linear interpolation would take 12 %
    from a wave at a fifth of the frame rate), and rounding to milliseconds alone would shift a fast wrist by a pixel.
    weights: 0.25 to 1. A doubtful point is replaced in part by what the filter says there, again and again, so that it pulls less but
    does not bend straight motion as a weighted mean would (ours). A cut-off at or over half the frame rate leaves the values as they are.
    """
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    if len(times) < 3 or cutoff * step >= _NYQUIST:
        return values
    from scipy.interpolate import CubicSpline
    from scipy.signal import butter, sosfiltfilt

    sections = butter(_half(order), cutoff, fs=1 / step, output="sos")
    padding = min(len(times) - 1, int(np.ceil(1.5 / (cutoff * step))))
    even = times[0] + step * np.arange(len(times))
    steady = np.abs(times - even).max() < _STEADY * step

    def low_pass(x: np.ndarray) -> np.ndarray:
        x = x if steady else CubicSpline(times, x)(even)
        # The filter starts as if the first value had always been there; without the line from first to last, that is nearly so.
        line = x[:1] + np.linspace(0, 1, len(x))[:, None, None] * (x[-1:] - x[:1])
        x = line + sosfiltfilt(sections, x - line, axis=0, padlen=padding)
        return x if steady else CubicSpline(even, x)(times)

    smooth = low_pass(values)
    if (weights < 1).any():
        for _ in range(_ROUNDS):
            smooth = low_pass(smooth + weights[..., None] * (values - smooth))
    return smooth


def kalman(
    times: Float[np.ndarray, " f"],
    values: Float[np.ndarray, "f n d"],
    weights: Float[np.ndarray, "f n"],
    cutoff: float,
    order: int = 4,
    step: float | None = None,
) -> Float[np.ndarray, "f n d"]:
    """What a Kalman filter and Rauch-Tung-Striebel smoother say, at half gain at `cutoff` hertz; gaps and any times are native to it.

    Order 2: a random walk; 4: constant velocity; 6: constant acceleration, disturbed by white noise in the next derivative, with nothing
    known at the start. weights: 0 where a point is missing (its value may be NaN), else the inverse of its noise variance up to a factor.
    A weight also counts for the time that its frame stands for, up to two nominal steps (`step`, default: the median), so that the
    cut-off is the same where frames are sparse. Each point needs order / 2 sights at least.
    The smoother's mean is the minimum of a quadratic form whose matrix is banded; one banded Cholesky solution per point gives the same
    numbers as the recursion (tested) without a loop over frames. A cut-off at or over half the frame rate only fills gaps.
    """
    m, (f, n, d) = _half(order), values.shape
    step = step or nominal_step(times)
    if f < 2:
        return values
    from scipy.linalg import solveh_banded

    seen = weights > 0
    steps = np.diff(times) / step
    coupling = _motion_bands(steps, m) / _motion_noise(min(2 * np.pi * cutoff * step, np.pi), m)
    stands_for = np.clip((np.r_[steps[0], steps] + np.r_[steps, steps[-1]]) / 2, 0, 2)
    smooth = np.empty((f, n, d))
    for point in range(n):
        bands, right = coupling.copy(), np.zeros((f * m, d))
        weight = weights[:, point] * stands_for
        bands[0, ::m] += weight
        right[::m] = weight[:, None] * np.where(seen[:, point, None], values[:, point], 0.0)
        smooth[:, point] = solveh_banded(bands, right, lower=True, overwrite_ab=True, check_finite=False)[::m]
    if cutoff * step >= _NYQUIST:
        return np.where(seen[..., None], values, smooth)
    return smooth


def _half(order: int) -> int:
    if order not in ORDERS:
        raise VitruvianError(f"a filter of order {order} is not made; choose one of {ORDERS} (4 is usual)")
    return order // 2


def _motion_noise(angle: float, m: int) -> float:
    """Noise density of the m-th derivative, in measurement noise and steps, that gives half gain at `angle` radians per step.

    There the spectrum of the sampled motion equals that of the noise. It is a B-spline's over (2 - 2 cos)^m (the exact discrete form of
    1 / angle^2m); so the gain is exact at any frame rate.
    """
    c = np.cos(angle)
    sampled = {1: 1.0, 2: (2 + c) / 3, 3: (33 + 26 * c + np.cos(2 * angle)) / 60}[m]
    return (2 - 2 * c) ** m / sampled


def _motion_bands(steps: Float[np.ndarray, " s"], m: int) -> Float[np.ndarray, "b v"]:
    """Lower bands of the quadratic form of the motion alone: every state (position, velocity, ...) follows from the one before.

    steps: times between frames, in nominal steps, which also are the unit of the derivatives: that keeps the matrix well conditioned.
    """
    power = np.arange(m)
    lag = power[None] - power[:, None]
    taylor = np.array([[1 / factorial(j - i) if j >= i else 0.0 for j in range(m)] for i in range(m)])
    move = taylor * np.where(lag >= 0, steps[:, None, None] ** np.maximum(lag, 0), 0.0)
    # Covariance of a step is S C S with S = diag(step^(m - 1/2 - i)) and this C.
    covariance = np.array([[1 / ((2 * m - 1 - i - j) * factorial(m - 1 - i) * factorial(m - 1 - j)) for j in range(m)] for i in range(m)])
    scale = steps[:, None] ** (power - (m - 0.5))
    precision = scale[:, :, None] * np.linalg.inv(covariance) * scale[:, None]
    backward = np.swapaxes(move, 1, 2) @ precision
    block = np.concatenate(
        [np.concatenate([backward @ move, -backward], axis=2), np.concatenate([-precision @ move, precision], axis=2)], axis=1
    )
    bands = np.zeros((2 * m, (len(steps) + 1) * m))
    for row in range(2 * m):
        for column in range(row + 1):
            bands[row - column, column : column + len(steps) * m : m] += block[:, row, column]
    return bands


def outliers(
    times: Float[np.ndarray, " f"],
    values: Float[np.ndarray, "f n d"],
    weights: Float[np.ndarray, "f n"],
    limit: float,
    cutoff: float,
    order: int = 4,
) -> Bool[np.ndarray, "f n"]:
    """Which points jump away from their own path: off it by more than `limit` robust standard deviations in their worst coordinate.

    The path is what `kalman` says when every point weighs 1 / (1 + (residual / scale)^2), found in a few rounds, so that a jump has next
    to no part in it (iteratively reweighted least squares, Cauchy's weights); the scale is 1.4826 median absolute residuals of that
    point. weights: as for `kalman`; points of weight 0 are missing and no outliers. Points with fewer than 8 sights have none.
    """
    found = np.zeros(weights.shape, bool)
    judged = np.flatnonzero((weights > 0).sum(0) >= 8)
    if not len(judged):
        return found
    values, weights = values[:, judged], weights[:, judged]
    seen = weights > 0
    robust = weights
    for _ in range(_ROUNDS):
        path = kalman(times, values, robust, cutoff, order)
        away = np.where(seen[..., None], np.abs(np.where(seen[..., None], values, 0.0) - path), np.nan)
        scale = 1.4826 * np.nanmedian(away, axis=(0, 2))
        scale = np.maximum(scale, 1e-9 * np.abs(path).max(initial=0.0) + 1e-12)  # rounding is no jump
        away = np.nan_to_num(away).max(-1) / scale
        robust = weights / (1 + (away / 3) ** 2)
    found[:, judged] = seen & (away > limit)
    return found
