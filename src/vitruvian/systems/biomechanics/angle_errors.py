"""Joint-angle errors as OpenCapBench counts them: root mean squares over time, with and without the best time shift.

`published` does what the published program does: rows are matched by their index from a common start, the truth is cut to the found
table's length, and the shift is the truncated mean of two integers. `corrected` matches by time (found values are interpolated at the
true times), looks for the shift between -0.4 and 0.39 s with half the trial overlapping at least, and rounds. Both are tuned on the
knees against the truth, which hides errors of synchronisation: always report the unshifted numbers beside them.
Source: card opencapbench.md, section 5, steps 14 and 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError
from vitruvian.formats.mot import Mot

Mode = Literal["published", "corrected"]

MIDDLE = ("lumbar_bending", "lumbar_extension", "lumbar_rotation", "pelvis_list", "pelvis_rotation", "pelvis_tilt")
SIDED = ("ankle_angle", "hip_adduction", "hip_flexion", "hip_rotation", "knee_angle", "subtalar_angle")
DEGREES_OF_FREEDOM = (*MIDDLE, *SIDED)
"""What is compared; the sided ones are means of right and left."""
_COLUMNS = (*MIDDLE, *(f"{name}_{side}" for name in SIDED for side in "rl"))
_SHIFTS = range(-40, 40)  # rows of 10 ms
_RATE = 100.0


@dataclass(frozen=True, eq=False)
class AngleErrors:
    """Root mean square errors in degrees of one or more trials.

    names: the degrees of freedom. rmse, rmse_no_shift: (D,), NaN where no trial has the coordinate. shifts: rows of 10 ms by which each
    trial was moved. mode: how they were computed. trials: how many count.
    """

    mode: Mode
    names: tuple[str, ...]
    rmse: Float[np.ndarray, " d"]
    rmse_no_shift: Float[np.ndarray, " d"]
    shifts: tuple[int, ...]

    @property
    def trials(self) -> int:
        return len(self.shifts)


def angle_errors(pairs: Sequence[tuple[Mot, Mot]], mode: Mode = "corrected") -> AngleErrors:
    """Errors over trials, each (truth, found), in degrees: per column, mean over trials, then over the sides.

    "published" rounds to three decimals, wants rows of 10 ms, and takes the first row of both as one moment. Raises VitruvianError where a
    table is in radians, or lacks the knees.
    """
    per_trial = [_trial(*(_columns(table) for table in pair), *(table.times for table in pair), mode) for pair in pairs]
    both = [_over_trials([values[i] for values in per_trial]) for i in (0, 1)]
    if mode == "published":
        both = [np.round(values, 3) for values in both]
    return AngleErrors(mode, DEGREES_OF_FREEDOM, *both, tuple(values[2] for values in per_trial))


def _columns(table: Mot) -> dict[str, np.ndarray]:
    if not table.in_degrees:
        raise VitruvianError("this table of angles is in radians; convert it to degrees")
    return {label: table.values[:, i] for i, label in enumerate(table.labels) if label in _COLUMNS}


def _trial(
    truth: dict[str, np.ndarray], found: dict[str, np.ndarray], true_times: np.ndarray, times: np.ndarray, mode: Mode
) -> tuple[dict[str, float], dict[str, float], int]:
    """Errors of one trial with the best shift and without any, and the shift."""
    if mode == "corrected":
        found = {label: _at(true_times, times, values) for label, values in found.items()}
    else:  # the truth ends where the found table ended before it was moved [seen in the published outputs]
        truth = {label: values[: len(times)] for label, values in truth.items()}
    labels = [label for label in _COLUMNS if label in truth and label in found]
    knees = [best_shift(truth[name], found[name], mode) for name in ("knee_angle_r", "knee_angle_l") if name in labels]
    if len(knees) < 2:
        raise VitruvianError(
            "these tables have no two knee_angle_r and knee_angle_l, on which the time shift rests; run inverse kinematics"
        )
    shift = int(np.mean(knees)) if mode == "published" else int(np.rint(np.mean(knees)))
    return *({label: _rms(*_overlap(truth[label], found[label], s)) for label in labels} for s in (shift, 0)), shift


def _at(wanted: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values at the wanted times, linear, NaN outside and beside gaps."""
    if not len(times):
        return np.full(len(wanted), np.nan)
    inside = (wanted >= times[0] - 1e-6) & (wanted <= times[-1] + 1e-6)
    return np.where(inside, np.interp(wanted, times, values), np.nan)


def best_shift(truth: Float[np.ndarray, " f"], found: Float[np.ndarray, " g"], mode: Mode = "published") -> int:
    """Rows by which `found` must be moved (its row i to i + shift) to differ least from `truth`, in the mean absolute sense.

    The first of equal ones. "corrected" leaves out shifts at which less than half of the shorter table overlaps.
    """
    costs = []
    for shift in _SHIFTS:
        a, b = _overlap(truth, found, shift)
        away = np.abs(a - b)
        away = away[np.isfinite(away)]
        needed = 1 if mode == "published" else max(1, min(len(truth), int(np.isfinite(found).sum())) // 2)
        costs.append(away.mean() if len(away) >= needed else np.inf)
    return _SHIFTS[int(np.argmin(costs))] if np.isfinite(costs).any() else 0


def _overlap(truth: np.ndarray, found: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of both that coincide once `found` was moved by `shift`."""
    first, last = max(shift, 0), min(len(truth), len(found) + shift)
    return truth[first : max(last, first)], found[first - shift : max(last, first) - shift]


def _rms(a: np.ndarray, b: np.ndarray) -> float:
    squared = (a - b) ** 2
    squared = squared[np.isfinite(squared)]
    return float(np.sqrt(squared.mean())) if len(squared) else float("nan")


def _over_trials(errors: list[dict[str, float]]) -> Float[np.ndarray, " d"]:
    def mean(label: str) -> float:
        known = [trial[label] for trial in errors if label in trial and np.isfinite(trial[label])]
        return float(np.mean(known)) if known else float("nan")

    sided = [np.mean([mean(f"{name}_r"), mean(f"{name}_l")]) for name in SIDED]
    return np.array([*(mean(name) for name in MIDDLE), *sided])
