"""What can be wrong with a trial of markers before a model is moved by it: other names, gaps, other units, other axes.

Units and axes are told by laying the model's markers in its default pose onto the measured ones (similarity of least squares): the
scale tells the unit, the rotation where up is, and a better fit with a mirror that an axis is turned round. The limits are ours, wide
enough for children and for bent limbs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError
from vitruvian.formats.text import MAX_BYTES, read_text
from vitruvian.formats.trc import Trc, read_trc
from vitruvian.geometry.alignment import align

_UNITS = {1000.0: "millimetres", 100.0: "centimetres", 10.0: "decimetres", 0.001: "kilometres, or millimetres taken for micrometres"}
_SIZES = (0.35, 1.8)  # of a person against the model's 1.7 m
_TILT = 60.0  # degrees between the model's up and the trial's y, in the frame where it is least
_MIRROR = 0.7  # share of the residual that a mirrored model leaves, below which the trial is mirrored
_FRAMES = 12  # that are looked at


class TrialError(VitruvianError):
    """A trial can't be used as it is."""


class MarkerMismatchError(TrialError):
    """The markers of trial, model and tasks have different names."""


class MarkerGapError(TrialError):
    """Markers are missing for too long."""


class UnitsError(TrialError):
    """Positions are not in metres."""


class AxesError(TrialError):
    """Axes are not OpenSim's: x forward, y up, z to the right."""


class TruncatedTrialError(TrialError):
    """A marker file ends before its time."""


@dataclass(frozen=True)
class Gap:
    """A marker that is missing in frames `first` to `last`."""

    marker: str
    first: int
    last: int


def read_trial(path: str | Path) -> Trc:
    """`formats.trc.read_trc` for a trial that must be whole: a file that was cut short in copying is no shorter trial.

    Raises TruncatedTrialError where the header promises more frames or markers than there are, or the last row stops in its middle, and
    FormatError as `read_trc`.
    """
    text = read_text(path, MAX_BYTES)
    trial = read_trc(path)
    lines = text.splitlines()
    header = dict(zip(lines[1].split(), lines[2].split(), strict=False))
    for promise, there, what in (("NumFrames", len(trial.times), "frames"), ("NumMarkers", len(trial.names), "markers")):
        promised = header.get(promise, "")
        if promised.isdecimal() and len(promised) < 10 and int(promised) > there:
            raise TruncatedTrialError(f"{path} promises {promised} {what} and holds {there}: it was cut short; copy or export it again")
    rows = [line for line in lines[5:] if line.strip()]
    if len(rows) > 1 and not text.endswith(("\n", "\r")) and rows[-1].count("\t") < rows[-2].rstrip("\t").count("\t"):
        raise TruncatedTrialError(f"{path} ends in the middle of frame {len(rows)}: it was cut short; copy or export it again")
    return trial


def check_names(trial: Trc, model: Collection[str], weights: Mapping[str, float], missing: str = "error") -> tuple[str, ...]:
    """The markers to use: those with a weight, in the model, and seen in the trial at least once.

    missing: "error" raises MarkerMismatchError where a weighted marker lacks in either; "ignore" goes on without it, as OpenSim does.
    With fewer than three markers left it is raised in any case.
    """
    wanted = [name for name, weight in weights.items() if weight > 0]
    seen = {name for name, there in zip(trial.names, np.isfinite(trial.points).all(-1).any(0), strict=True) if there}
    usable = tuple(name for name in wanted if name in seen and name in model)
    no_trial, no_model = sorted(set(wanted) - seen), sorted(set(wanted) - set(model))
    if len(usable) < 3 or (missing == "error" and (no_trial or no_model)):
        parts = [f"the trial has no {_some(no_trial)}"] * bool(no_trial) + [f"the model has no {_some(no_model)}"] * bool(no_model)
        has = f"; it has {_some(trial.names)}" if no_trial else ""
        problem = " and ".join(parts) or f"only {len(usable)} markers have a weight"
        raise MarkerMismatchError(f"{problem}{has}: rename the markers, or leave them out of the weights")
    return usable


def check_gaps(trial: Trc, markers: Collection[str], longest: float) -> tuple[Gap, ...]:
    """All gaps of these markers. Raises MarkerGapError where none of them is seen for more than `longest` seconds, or in no frame."""
    columns = [trial.names.index(name) for name in markers]
    there = np.isfinite(trial.points[:, columns]).all(-1)
    gaps = tuple(Gap(name, first, last) for name, seen in zip(markers, there.T, strict=True) for first, last in stretches(~seen))
    step = 1 / trial.rate
    for first, last in stretches(~there.any(1)):
        seconds = trial.times[last] - trial.times[first] + step
        if seconds > longest or last - first + 1 == len(there):
            raise MarkerGapError(
                f"no marker is seen from {trial.times[first]:.3f} s to {trial.times[last]:.3f} s: fill this gap, or cut the trial there"
            )
    return gaps


def check_space(trial: Trc, model: Mapping[str, Float[np.ndarray, " 3"]], upright: bool = True) -> float:
    """The size of the person against the model, where units and axes are OpenSim's.

    model: marker positions in its default pose, metres. upright: whether the person stands in some frame at least; without it the
    direction of up is not looked at. Raises UnitsError or AxesError. 1.0 where fewer than five markers are seen at a time.
    """
    shared = [name for name in trial.names if name in model]
    reference = np.array([model[name] for name in shared]).reshape(-1, 3)
    points = trial.points[:, [trial.names.index(name) for name in shared]]
    there = np.isfinite(points).all(-1)
    full = np.flatnonzero(there.sum(1) >= max(5, 0.8 * there.sum(1).max(initial=0)))
    if not len(full):
        return 1.0
    few = points[full[np.linspace(0, len(full) - 1, _FRAMES).astype(int)]]
    fits = [align(np.broadcast_to(reference * [1, 1, mirror], few.shape), few) for mirror in (1, -1)]
    plain, mirrored = (
        np.nanmedian(np.linalg.norm(fit(np.broadcast_to(reference * [1, 1, mirror], few.shape)) - few, axis=-1))
        for fit, mirror in zip(fits, (1, -1), strict=True)
    )
    scale = float(np.median(fits[0].scale))
    for factor, unit in _UNITS.items():
        if _SIZES[0] < scale / factor < _SIZES[1]:
            raise UnitsError(f"this person would be {1.7 * scale:.4g} m tall: the positions look like {unit}; give metres")
    if not _SIZES[0] < scale < _SIZES[1]:
        raise UnitsError(
            f"this person would be {1.7 * scale:.4g} m tall: check the unit and the cameras' calibration; positions are in metres"
        )
    if mirrored < _MIRROR * plain:
        raise AxesError("these markers are a mirror image of a body: an axis is turned round, or left and right are exchanged")
    ups = fits[0].rotation[:, :, 1]
    tilts = np.degrees(np.arccos(np.clip(ups[:, 1], -1, 1)))
    if upright and tilts.min() > _TILT:
        up = ups[int(np.argmin(tilts))]
        axis = int(np.abs(up).argmax())
        raise AxesError(
            f"up is {'-' if up[axis] < 0 else ''}{'xyz'[axis]} here, where OpenSim has y: turn the markers (formats.persons.z_up_to_y_up), "
            "or say upright=False for somebody who lies"
        )
    return scale


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of every run of true values."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(first), int(stop) - 1) for first, stop in zip(edges[::2], edges[1::2], strict=True)]


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(name[:40] for name in names)[:6])
    return f"{shown} ... ({len(names)})" if len(names) > 6 else shown or "markers"
