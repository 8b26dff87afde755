"""Smoothing of whole takes: no lag, because the future is known, and gaps are filled where the person was away for a moment only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.people.filters import ORDERS, butterworth, fillable, interpolate, kalman, nominal_step, outliers, runs
from vitruvian.people.smooth import Smoother, trust
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Take

Method = Literal["kalman", "butterworth", "one-euro", "none"]

FILLED = 0.5
"""A filled point has this share of the confidence of the less sure one of its two neighbours."""


@dataclass(frozen=True)
class Smoothing:
    """How the points of one part of the body are smoothed.

    method: "kalman" (Rauch-Tung-Striebel, any timestamps) and "butterworth" (zero-phase, resampled where times are irregular) have no lag;
    "one-euro" is what a live capture does; "none" only fills gaps.
    cutoff: hertz; motion at this frequency keeps half its size, faster motion less. One-Euro raises its own cut-off with speed, and
    starts from a quarter of this for a point at rest.
    max_gap: seconds; longer gaps stay open and are not smoothed across. 0 fills nothing.
    order: 2, 4 or 6, the steepness of the zero-phase filters. outliers: robust standard deviations beyond which a jump is taken for a
    gap (see `filters.outliers`); 0 looks for none. Raises VitruvianError for values that make no sense.
    """

    method: Method = "kalman"
    cutoff: float = 6.0
    max_gap: float = 0.25
    order: int = 4
    outliers: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise VitruvianError(f"no smoothing method {self.method!r}; choose one of {', '.join(get_args(Method))}")
        if self.order not in ORDERS:
            raise VitruvianError(f"no filter of order {self.order}; choose one of {ORDERS} (4 is usual)")
        if not (np.isfinite(self.cutoff) and self.cutoff > 0 and np.isfinite([self.max_gap, self.outliers]).all()):
            raise VitruvianError(f"cut-off, gap and outliers must be finite and the cut-off over 0, not {self}; 6 Hz and 0.25 s are usual")
        if self.max_gap < 0 or self.outliers < 0:
            raise VitruvianError(f"max_gap and outliers can't be negative, as in {self}; 0 switches them off")


PRESETS: Mapping[str, Smoothing] = MappingProxyType(
    {
        "body": Smoothing(cutoff=6.0, max_gap=0.25),
        "feet": Smoothing(cutoff=8.0, max_gap=0.2),
        "hands": Smoothing(cutoff=8.0, max_gap=0.15),
        "face": Smoothing(cutoff=10.0, max_gap=0.1),
    }
)
"""One for each part of a body. 6 Hz is the custom for gait (Winter, Biomechanics and Motor Control); the others are ours: heel strikes,
fingers, lips and eyelids are faster, and the shorter a part's motion, the shorter the gap that can be guessed."""

_PART_OF = {"body": "body", "foot": "feet", "left_hand": "hands", "right_hand": "hands", "hand": "hands", "face": "face"}


def presets(method: Method) -> dict[str, Smoothing]:
    """`PRESETS` with another method."""
    return {part: replace(smoothing, method=method) for part, smoothing in PRESETS.items()}


def smooth_take(take: Take, smoothing: Smoothing | Mapping[str, Smoothing] = PRESETS) -> Take:
    """The take with smooth keypoints and points in space, track by track, on its true timestamps.

    smoothing: one for all points, or one for each of "body", "feet", "hands" and "face"; parts that are not named stay as they are.
    A doubtful point pulls less than a sure one (see `smooth.trust`). Points that are missing (NaN, or confidence 0) for at most `max_gap`
    seconds are filled, and so are frames in which the whole person is missing: they get a row with an interpolated box. What is filled
    is marked by its confidence, `FILLED` times the lower one of its neighbours; new rows have NaN in all other columns. Rows without a
    track pass unchanged, and so does a second row of one track in a frame. Nobody, one frame, and tracks without any point are fine.
    """
    rules = [(points, rule) for points, rule in _rules(take.skeleton, smoothing) if len(points)]
    if not len(take.people) or not rules:
        return take
    take = fill_rows(take, max(rule.max_gap for _, rule in rules))
    columns = {name: column.astype(np.float64) for name, column in take.people.columns().items() if name in ("keypoints", "points")}
    confidence = take.people.confidence.astype(np.float64)
    for rows in _tracks(take):
        times = take.times[take.people.frame[rows]]
        for points, rule in rules:
            where = np.ix_(rows, points)
            for name, column in columns.items():
                column[where], filled = _smooth_part(take, rows, points, times, rule, name)
                confidence[where] = np.where(filled > 0, filled, confidence[where])
    return replace(take, people=replace(take.people, **columns, confidence=confidence))


def fill_rows(take: Take, max_gap: float) -> Take:
    """The take with a row for each frame in which a track is missing for at most `max_gap` seconds.

    Box and score are interpolated (the score times `FILLED`), keypoints are NaN with confidence 0, other columns NaN. Rows stay in their
    order, with the new ones at the end of their frame; a take without such gaps is returned as it is.
    """
    new = [found for rows in _tracks(take) if (found := _missing(take, rows, max_gap)) is not None]
    if not new:
        return take
    people = People.concatenate([take.people, *new])
    return replace(take, people=people[np.argsort(people.frame, kind="stable")])


def _missing(take: Take, rows: np.ndarray, max_gap: float) -> People | None:
    """The rows to add to one track, or None."""
    people, frames = take.people, take.people.frame[rows]
    times = take.times[frames]
    short = (np.diff(frames) > 1) & (np.diff(times) <= max_gap * (1 + 1e-9))
    added = np.concatenate([np.arange(a + 1, b) for a, b in zip(frames[:-1][short], frames[1:][short], strict=True)] or [np.zeros(0, int)])
    added = np.setdiff1d(added, people.frame[people.track == people.track[rows[0]]])  # `rows` leaves out second sights at one time
    if not len(added):
        return None
    boxes = np.stack([np.interp(take.times[added], times, side) for side in people.boxes[rows].T.astype(np.float64)], axis=1)
    count, k = len(added), people.keypoints.shape[1]
    return People(
        frame=added,
        track=np.full(count, people.track[rows[0]]),
        boxes=boxes,
        scores=FILLED * np.interp(take.times[added], times, people.scores[rows]),
        keypoints=np.full((count, k, 2), np.nan),
        confidence=np.zeros((count, k)),
    )


def _tracks(take: Take) -> list[np.ndarray]:
    """The rows of each track in the order of time; of two rows at one time the first counts."""
    out = []
    for track in take.tracks:
        rows = np.flatnonzero(take.people.track == track)
        _, first = np.unique(take.times[take.people.frame[rows]], return_index=True)
        out.append(rows[first])
    return out


def _rules(skeleton: Skeleton, smoothing: Smoothing | Mapping[str, Smoothing]) -> list[tuple[np.ndarray, Smoothing]]:
    """Which points follow which rule. Points in no part are the body's."""
    everything = np.arange(len(skeleton))
    if isinstance(smoothing, Smoothing):
        return [(everything, smoothing)]
    unknown = sorted(set(smoothing) - set(PRESETS))
    if unknown:
        raise VitruvianError(f"no part {unknown[0]!r} to smooth; name some of {', '.join(PRESETS)}")
    part = np.full(len(skeleton), "body", dtype=object)
    for name, where in skeleton.parts.items():
        part[where] = _PART_OF.get(name, "body")
    return [(everything[part == name], rule) for name, rule in smoothing.items()]


def _smooth_part(
    take: Take, rows: np.ndarray, points: np.ndarray, times: Float[np.ndarray, " f"], rule: Smoothing, name: str
) -> tuple[Float[np.ndarray, "f n d"], Float[np.ndarray, "f n"]]:
    """Some points of one track: their smooth values, and the confidence of those that were filled (0 elsewhere)."""
    where = np.ix_(rows, points)
    values, confidence = getattr(take.people, name)[where].astype(np.float64), take.people.confidence[where].astype(np.float64)
    seen = np.isfinite(values).all(-1) & ~(confidence <= 0)
    if rule.outliers:
        seen &= ~outliers(times, values, np.where(seen, trust(confidence), 0.0), rule.outliers, rule.cutoff, rule.order)
    if rule.method == "one-euro":
        filled = np.zeros(seen.shape)
        smooth = values.copy()
        for frames, lanes, present in runs(times, seen, rule.max_gap):
            filled[frames, lanes] = _filled_confidence(confidence[frames][:, lanes], present)
            smooth[frames, lanes] = interpolate(times[frames], values[frames][:, lanes], present)
        smooth = _one_euro(take.people[rows], smooth, np.where(filled > 0, filled, confidence), seen | (filled > 0), times, rule, name)
        return smooth, filled
    return smooth_series(times, values, confidence, seen, rule, nominal_step(take.times))


def smooth_series(
    times: Float[np.ndarray, " f"],
    values: Float[np.ndarray, "f n d"],
    confidence: Float[np.ndarray, "f n"],
    seen: Bool[np.ndarray, "f n"],
    rule: Smoothing,
    step: float,
) -> tuple[Float[np.ndarray, "f n d"], Float[np.ndarray, "f n"]]:
    """n points over f ascending times, smoothed without lag by `rule` (not "one-euro"); `step` is the nominal time between frames.

    Returns the values, where those that are neither seen nor filled are as before, and the confidence of the filled ones (0 elsewhere).
    """
    smooth, filled = values.copy(), np.zeros(seen.shape)
    for frames, lanes, present in runs(times, seen, max(rule.max_gap, 1.5 * step)):
        at, x, sure = times[frames], values[frames][:, lanes], confidence[frames][:, lanes]
        weights = np.where(present[:, None], trust(sure), 0.0)
        if present.sum() <= rule.order // 2:
            y = interpolate(at, x, present)
        elif rule.method == "kalman":
            y = kalman(at, x, weights, rule.cutoff, rule.order, step)
        else:
            y = interpolate(at, x, present)
            if rule.method == "butterworth":
                y = butterworth(at, y, np.maximum(weights, 0.25), rule.cutoff, rule.order)
        # Frames that follow each other are filtered together however slow the camera is, but only short gaps are filled.
        chosen = present | fillable(at, present, rule.max_gap)
        smooth[frames, lanes] = np.where(chosen[:, None, None], y, x)
        filled[frames, lanes] = np.where(chosen[:, None], _filled_confidence(sure, present), 0.0)
    return smooth, filled


def _filled_confidence(confidence: Float[np.ndarray, "f n"], seen: Bool[np.ndarray, " f"]) -> Float[np.ndarray, "f n"]:
    """For the frames that are not seen, `FILLED` times the lower confidence of the two neighbours (never 0); 0 for the others."""
    present = np.flatnonzero(seen)
    after = present[np.minimum(np.searchsorted(present, np.arange(len(seen))), len(present) - 1)]
    before = present[np.maximum(np.searchsorted(present, np.arange(len(seen)), side="right") - 1, 0)]
    lower = np.minimum(np.nan_to_num(confidence[after]), np.nan_to_num(confidence[before]))
    return np.where(seen[:, None], 0.0, np.maximum(FILLED * lower, 1e-3))


def _one_euro(
    people: People,
    values: Float[np.ndarray, "f n d"],
    confidence: Float[np.ndarray, "f n"],
    seen: Bool[np.ndarray, "f n"],
    times: Float[np.ndarray, " f"],
    rule: Smoothing,
    name: str,
) -> Float[np.ndarray, "f n d"]:
    """One track through the causal smoother."""
    smoother = Smoother(min_cutoff=rule.cutoff / 4, max_gap=max(rule.max_gap, 0.3))
    out = values.copy()
    space = name == "points"
    for i, time in enumerate(times):
        found = np.where(seen[i, :, None], values[i], np.nan)[None]
        row = People(
            frame=[0],
            track=[0],
            boxes=people.boxes[i : i + 1],
            scores=[1.0],
            keypoints=found[..., :2],
            confidence=confidence[i : i + 1],
            points=found if space else None,
        )
        smooth = getattr(smoother.update(float(time), row), name)[0]
        out[i] = np.where(seen[i, :, None], smooth, values[i])
    return out
