"""Gait events and spatio-temporal parameters from the points of one walking person.

Events (Zeni, Richards and Higginson, Gait Posture 2008, 27: 710): along the way the person goes, the heel is farthest in front of the
pelvis at heel strike, and the toes farthest behind it at toe off. The curves are low-passed at 6 Hz first, and extrema found between
frames by a parabola. Such coordinate events are some hundredths of a second off those of a force plate. Strikes of one foot are at least
0.7 strides apart; how long a stride takes is told by how far apart both heels are, from step to step, which an exchange of left and right
does not change. [ours]

| parameter | definition (Whittle, Gait Analysis, ch. 2; Hollman et al., Gait Posture 2011) |
|---|---|
| stride_time | from a heel strike to the next of the same foot, s |
| step_time_SIDE | from the heel strike of the other foot to that of this one, s |
| cadence | steps per minute: 120 / stride_time |
| stance_SIDE, swing_SIDE | heel strike to toe off, and toe off to heel strike, share of the stride |
| double_support | both feet in stance, share of the stride |
| step_length_SIDE | distance along the way between both heels at the heel strike of this side, m |
| step_width | distance across the way between both heels at heel strikes, m (in space only) |
| stride_length | stride_time times speed, m |
| speed | way of the pelvis along its direction over time between the first and last heel strike, m/s |

A stride longer than 2.5 s is a pause, and one without exactly one strike of the other foot has lost an event: neither counts.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.biomechanics.segments import Points, mean_seen, named_points
from vitruvian.people.filters import butterworth, interpolate, runs

_CUTOFF = 6.0  # hertz
_PAUSE = 2.5  # seconds
_LEAST_STRIDE = 0.6  # seconds; a runner's
_APART = 0.7  # of a stride, between events of one foot
_STEPS = (0.3, 1.25)  # seconds that a step may take
_REGULAR = 0.3  # correlation of the heels' distance with itself a step later, from which a step's time counts
_UNEVEN = 0.15  # spread of stride times over their mean; of walking people 0.01 to 0.05
_MOVING = 0.15  # of the distance that heels go to and fro; less is no step


@dataclass(frozen=True, eq=False)
class GaitEvents:
    """Times in seconds, ascending, of each foot's heel strikes and toe offs."""

    heel_strike_left: Float[np.ndarray, " a"]
    toe_off_left: Float[np.ndarray, " b"]
    heel_strike_right: Float[np.ndarray, " c"]
    toe_off_right: Float[np.ndarray, " d"]

    def of(self, kind: str, side: str) -> Float[np.ndarray, " n"]:
        """Those of "heel_strike" or "toe_off", "left" or "right"."""
        return getattr(self, f"{kind}_{side}")


@dataclass(frozen=True, eq=False)
class Gait:
    """Parameters by name as (mean, standard deviation, count), their units, and the events they come from."""

    values: dict[str, tuple[float, float, int]]
    units: dict[str, str]
    events: GaitEvents

    @property
    def notes(self) -> tuple[str, ...]:
        """What speaks against these figures, in words."""
        mean, spread, count = self.values.get("stride_time", (np.nan, np.nan, 0))
        uneven = count > 1 and spread > _UNEVEN * mean
        words = f"strides differ by {spread / mean:.0%}, where walking people's do by 1 to 5 %: heel strikes were missed or invented"
        return (f"{words}; do not trust the gait parameters",) if uneven else ()

    def csv(self, path: str | Path) -> None:
        """Write parameter, unit, mean, standard deviation, count; and the events below. Raises FormatError if it can't be written."""
        with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["parameter", "unit", "mean", "standard deviation", "count"])
            for name, (mean, spread, count) in self.values.items():
                writer.writerow([name, self.units[name], *("" if x != x else f"{x:.5g}" for x in (mean, spread)), count])
            writer.writerow([])
            writer.writerow(["event", "side", "time [s]"])
            for kind in ("heel_strike", "toe_off"):
                for side in ("left", "right"):
                    writer.writerows([kind, side, f"{time:.4f}"] for time in self.events.of(kind, side))


def gait_events(points: Float[np.ndarray, "f k d"], names: Sequence[str], times: Float[np.ndarray, " f"]) -> GaitEvents:
    """Heel strikes and toe offs from named points: metres with y up, or the picture's pixels (the person seen from the side).

    Needs hips, and heels or ankles; without toes the ankles stand in for toes and heels. Few frames, standing, and points that are missing
    give no events. On a treadmill the way is the one that the feet point.
    """
    times = np.asarray(times, np.float64)
    curves = _curves(named_points(points, names), times)
    apart = _APART * _stride_time(times, curves)
    found = {f"{kind}_{side}": np.zeros(0) for kind in ("heel_strike", "toe_off") for side in ("left", "right")}
    found |= {name: _peaks(times, curve, apart) for name, curve in curves.items()}
    return GaitEvents(**found)


def gait_parameters(
    points: Float[np.ndarray, "f k d"], names: Sequence[str], times: Float[np.ndarray, " f"], events: GaitEvents | None = None
) -> Gait:
    """The parameters of the table above. Lengths and speed need points in space (metres); of pixels only times and shares are given.

    What can't be told has mean NaN and count 0.
    """
    times = np.asarray(times, np.float64)
    p = named_points(points, names)
    events = gait_events(points, names, times) if events is None else events
    samples = _timing(events)
    if np.shape(points)[-1] == 3:
        samples |= _distances(p, times, events, samples["stride_time"])
    units = {name: _unit(name) for name in samples}
    return Gait({name: _summary(values) for name, values in samples.items()}, units, events)


def _unit(name: str) -> str:
    for start, unit in (("cadence", "1/min"), ("speed", "m/s"), ("step_time", "s"), ("stride_time", "s"), ("step", "m"), ("stride", "m")):
        if name.startswith(start):
            return unit
    return "share of stride"


def _summary(values: Sequence[float]) -> tuple[float, float, int]:
    known = np.array([value for value in values if np.isfinite(value)])
    spread = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    return (float(known.mean()) if len(known) else float("nan")), spread, len(known)


def _way(p: Points, times: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The direction (f, d) in which the person goes in the ground's plane, unit, and the pelvis; None where neither is known.

    Of the pelvis' smoothed speed where that is over 0.3 of the fastest; elsewhere, and on a treadmill, where the feet point.
    """
    if "mid_hip" not in p:
        return None
    pelvis = p["mid_hip"]
    flat = np.ones(pelvis.shape[1])
    flat[1] = 0
    feet = [p[f"{s}_toes"] - p[f"{s}_heel"] for s in ("left", "right") if f"{s}_toes" in p and f"{s}_heel" in p]
    feet_way = mean_seen(feet) * flat if feet else np.full(pelvis.shape, np.nan)
    seen = np.isfinite(pelvis).all(-1)
    if seen.sum() < 2:
        return None
    path = np.stack([np.interp(times, times[seen], column[seen]) for column in (pelvis * flat).T], -1)
    path = butterworth(times, path[:, None], np.ones((len(times), 1)), 0.5)[:, 0]
    moved = np.linalg.norm(path[-1] - path[0])
    stride = np.nanmedian(np.linalg.norm(feet_way, axis=-1)) if np.isfinite(feet_way).any() else 0.0
    if moved > 2 * stride and moved > 0:
        velocity = np.gradient(path, times, axis=0) if len(times) > 1 else path * 0
        way = np.where(
            np.linalg.norm(velocity, axis=-1, keepdims=True) > 0.3 * np.linalg.norm(velocity, axis=-1).max(), velocity, path[-1] - path[0]
        )
    elif np.isfinite(feet_way).any():
        way = np.broadcast_to(np.nanmean(feet_way, axis=0), pelvis.shape)
    else:
        return None
    length = np.linalg.norm(way, axis=-1, keepdims=True)
    return way / np.where(length > 0, length, np.nan), pelvis


def _curves(p: Points, times: np.ndarray) -> dict[str, np.ndarray]:
    """For each event a curve whose maxima are its moments: how far the heel is ahead, and the toes behind."""
    found = _way(p, times)
    if found is None or len(times) < 8:
        return {}
    way, pelvis = found
    out = {}
    for side in ("left", "right"):
        heel = p.get(f"{side}_heel", p.get(f"{side}_ankle"))
        toes = p.get(f"{side}_toes", p.get(f"{side}_ankle"))
        for name, point, sign in (("heel_strike", heel, 1), ("toe_off", toes, -1)):
            if point is not None:
                out[f"{name}_{side}"] = _smooth(times, sign * ((point - pelvis) * way).sum(-1))
    return out


def _smooth(times: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Low-passed; short gaps filled, longer ones NaN."""
    out = np.full(len(curve), np.nan)
    for frames, _, there in runs(times, np.isfinite(curve)[:, None], 0.2):
        whole = interpolate(times[frames], curve[frames, None, None], there)
        out[frames] = butterworth(times[frames], whole, np.ones(whole.shape[:2]), _CUTOFF)[:, 0, 0]
    return out


def _stride_time(times: np.ndarray, curves: dict[str, np.ndarray]) -> float:
    """Seconds of a stride by the first lag at which the heels' distance along the way is like itself again; the least where none is."""
    if not {"heel_strike_left", "heel_strike_right"} <= curves.keys():
        return _LEAST_STRIDE
    distance = np.abs(curves["heel_strike_left"] - curves["heel_strike_right"])
    seen, step = np.isfinite(distance), float(np.median(np.diff(times)))
    if seen.sum() < 8 or not step > 0:
        return _LEAST_STRIDE
    even = np.arange(times[seen][0], times[seen][-1] + step / 2, step)
    wave = np.interp(even, times[seen], distance[seen])
    wave = wave - wave.mean()
    lags = np.arange(round(_STEPS[0] / step), min(round(_STEPS[1] / step), len(wave) // 2))
    power = [float(wave[:-lag] @ wave[lag:] / max(np.sqrt((wave[:-lag] ** 2).sum() * (wave[lag:] ** 2).sum()), 1e-12)) for lag in lags]
    tops = [i for i in range(1, len(lags) - 1) if power[i - 1] < power[i] >= power[i + 1] and power[i] > _REGULAR]
    high = [i for i in tops if power[i] > 0.8 * max(power[one] for one in tops)]
    return max(2 * lags[high[0]] * step, _LEAST_STRIDE) if high else _LEAST_STRIDE


def _peaks(times: np.ndarray, curve: np.ndarray, apart: float) -> np.ndarray:
    """Times of the maxima that stand out, at least `apart` seconds from each other, between frames by a parabola."""
    from scipy.signal import find_peaks

    known = curve[np.isfinite(curve)]
    if len(known) < 8:
        return np.zeros(0)
    low, high = np.percentile(known, (5, 95))
    size = high - low
    if not size > _MOVING * np.abs(known).max():
        return np.zeros(0)
    step = float(times[-1] - times[0]) / (len(times) - 1)
    peaks, _ = find_peaks(np.nan_to_num(curve, nan=low), prominence=0.4 * size, distance=max(1, round(apart / step)))
    peaks = [i for i in peaks if 0 < i < len(curve) - 1 and np.isfinite(curve[i - 1 : i + 2]).all() and curve[i] > low + 0.5 * size]
    out = []
    for i in peaks:
        before, at, after = curve[i - 1 : i + 2]
        bend = before - 2 * at + after
        shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
        out.append(times[i] + shift * (times[i + 1] - times[i - 1]) / 2)
    return np.array(out)


def _next(events: np.ndarray, time: float, limit: float = _PAUSE) -> float:
    """The first event after `time`, NaN where there is none within the limit."""
    later = events[events > time]
    return float(later[0]) if len(later) and later[0] - time <= limit else float("nan")


def _timing(events: GaitEvents) -> dict[str, list[float]]:
    out: dict[str, list[float]] = {name: [] for name in ("stride_time", "cadence")}
    support = []
    for side, other in (("left", "right"), ("right", "left")):
        strikes, offs = events.of("heel_strike", side), events.of("toe_off", side)
        strides = [(start, _next(strikes, start)) for start in strikes]
        theirs = events.of("heel_strike", other)
        # Exactly one strike of the other foot lies in a stride; else an event was missed.
        strides = [(start, end) for start, end in strides if ((theirs > start) & (theirs < end)).sum() == 1]
        out["stride_time"] += [end - start for start, end in strides]
        out["cadence"] += [120 / (end - start) for start, end in strides]
        stance = [(_next(offs, start, end - start) - start) / (end - start) for start, end in strides]
        out[f"stance_{side}"] = stance
        out[f"swing_{side}"] = [1 - share for share in stance]
        # Both feet stand from a heel strike to the other foot's toe off, twice a stride.
        for start, end in strides:
            first = _next(events.of("toe_off", other), start, end - start) - start
            strike = _next(theirs, start, end - start)
            second = _next(offs, strike, end - strike) - strike if np.isfinite(strike) else np.nan
            support.append((first + second) / (end - start))
        last = [(theirs[theirs < time].max(initial=-np.inf), strikes[strikes < time].max(initial=-np.inf)) for time in strikes]
        out[f"step_time_{side}"] = [time - a for time, (a, b) in zip(strikes, last, strict=True) if a > b and time - a <= _PAUSE / 2]
    out["double_support"] = support
    return out


def _distances(p: Points, times: np.ndarray, events: GaitEvents, stride_times: list[float]) -> dict[str, list[float]]:
    names = ("step_length_left", "step_length_right", "step_width", "speed", "stride_length")
    out: dict[str, list[float]] = {name: [] for name in names}
    found = _way(p, times)
    heels = [p.get(f"{side}_heel", p.get(f"{side}_ankle")) for side in ("left", "right")]
    if found is None or any(heel is None for heel in heels):
        return out
    way, pelvis = found
    apart = dict(zip(("left", "right"), (heels[0] - heels[1], heels[1] - heels[0]), strict=True))
    side_way = np.cross(way, np.array([0.0, 1.0, 0.0]))
    for side in ("left", "right"):
        for time in events.of("heel_strike", side):
            frame = int(np.abs(times - time).argmin())
            out[f"step_length_{side}"].append(float(apart[side][frame] @ way[frame]))
            out["step_width"].append(float(abs(apart[side][frame] @ side_way[frame])))
    strikes = np.sort(np.concatenate([events.heel_strike_left, events.heel_strike_right]))
    if len(strikes) > 1:
        first, last = (int(np.abs(times - time).argmin()) for time in strikes[[0, -1]])
        speed = float(np.linalg.norm((pelvis[last] - pelvis[first])[[0, 2]]) / max(times[last] - times[first], 1e-9))
        out["speed"] = [speed]
        out["stride_length"] = [speed * time for time in stride_times]
    return out
