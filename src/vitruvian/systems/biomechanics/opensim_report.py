"""From points in the world to OpenSim's files: markers (.trc), the scaled model (.osim), joint angles (.mot), and one page.

    written = opensim_report(take, "out/", model="LaiUhlrich2022.osim", mass=72, height=1.78)
    written = markers_report(read_trial("walk.trc"), "out/", model="subject.osim")

Without an augmenter the model follows joint centres, which leave the turn of segments about their length open: hip rotation, ankle and
subtalar angle, lumbar extension and the pelvis' tilt are then rough (the benchmark's table shows by how much); the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.biomechanics.augmenter import augment
from vitruvian.biomechanics.plots import Line, Panel, Table, page, panels_of_angles, write_page
from vitruvian.biomechanics.segments import named_points
from vitruvian.biomechanics.table import Angles
from vitruvian.errors import VitruvianError
from vitruvian.formats.mot import write_mot
from vitruvian.formats.persons import person_rows, y_up_points
from vitruvian.formats.text import make_folder
from vitruvian.formats.trc import Trc, rate_of, write_trc
from vitruvian.people.swap import repair_swaps
from vitruvian.systems.biomechanics.marker_sets import AUGMENTED_NAMES, JOINT_CENTRES, SYNTHPOSE, MarkerSet, reduced
from vitruvian.systems.biomechanics.opencapbench import smooth_points
from vitruvian.systems.biomechanics.opensim_tools import (
    Kinematics,
    inverse_kinematics,
    load_model,
    model_markers,
    read_weights,
    save_model,
    scale_factors,
    scale_model,
)
from vitruvian.systems.biomechanics.trial_checks import MarkerGapError, MarkerMismatchError, check_space
from vitruvian.take import Take
from vitruvian.weights.card import Card

if TYPE_CHECKING:
    from opensim import Model

MODEL_HEIGHT = 1.70  # metres, of LaiUhlrich2022; good for a guess only
ROBUST = 0.06
"""Metres between a marker and the model from which it counts less and less: what a joint's place on the skin may be off. [ours]"""
FAR = 0.12
"""Metres beyond which a marker, counting a 25th of its weight, is told as wrong: no place on a skin is that far off. [ours]"""
_AT_END = 1e-3  # radians from the end of a range
_OFTEN = 0.05  # share of the frames from which an angle at the end of its range is told
_BODY_MASS_INDEX = 22.0  # kg / m^2, for a guess of the mass, on which joint angles do not depend
_POOR = 0.04  # metres between markers and model in the median; video keypoints of good networks stay near half of that
_ROUGH = "no anatomical markers: pelvis tilt, hip rotation, ankle, subtalar and lumbar angles are rough (OpenCapBench, table of results)"


@dataclass(frozen=True, eq=False)
class OpenSimReport:
    """What was written, and the numbers in it. notes: what was filled, filtered, repaired, left out and guessed, in words."""

    trc: Path
    osim: Path
    mot: Path
    html: Path
    kinematics: Kinematics
    markers: Trc
    notes: tuple[str, ...]

    @property
    def paths(self) -> tuple[Path, Path, Path, Path]:
        """The four files."""
        return self.trc, self.osim, self.mot, self.html


@dataclass(frozen=True, eq=False)
class _Job:
    """A trial and what moves along with it. scaled: the model is of this person already. filled: (f, m) what was filled in."""

    model: Model
    trial: Trc
    markers: MarkerSet
    mass: float
    notes: list[str]
    scaled: bool = False
    upright: bool = True
    filled: Bool[np.ndarray, "f m"] | None = None


def opensim_report(
    take: Take,
    folder: str | Path,
    *,
    model: str | Path,
    stem: str = "take",
    person: int | None = None,
    mass: float | None = None,
    height: float | None = None,
    augmenters: tuple[Card | str | Path, Card | str | Path] | None = None,
    cutoff: float | None = 6.0,
    longest_gap: float = 0.2,
    upright: bool = True,
) -> OpenSimReport:
    """Write `folder`/`stem`.trc, .osim, .mot and .html for one person of a take with points in space.

    model: an unscaled model with the bodies of LaiUhlrich2022. person: track id; None takes the one seen longest.
    mass (kg) and height (m): of the person; guessed, and noted, where None. augmenters: the lower and upper marker augmenter
    (`biomechanics.augmenter`). A take with SynthPose's anatomical points is used as it is.
    cutoff: hertz of the low-pass on the points, None for takes that are smooth already. longest_gap: seconds that are filled.
    Markers that are more than `ROBUST` off the model count less and less. upright: whether the person stands in some frame, by which up is
    checked.
    Raises VitruvianError for a take without points or people, TrialError and OpenSimError where the model can't follow, FormatError for
    files, MissingExtraError without OpenSim.
    """
    path = Path(model)
    names, times, points, notes = _points(take, person)
    filled = np.zeros(points.shape[:2], bool)
    if cutoff is not None and len(times):
        points, filled = smooth_points(times, points, cutoff, longest_gap)
        notes.append(f"points low-passed at {cutoff:g} Hz; {filled.mean():.1%} of them filled in (gaps up to {longest_gap:g} s)")
    trial, chosen, missing = _chosen_markers(names, times, points, filled)
    loaded = load_model(path, chosen)
    if height is None:
        height = MODEL_HEIGHT * check_space(trial, model_markers(loaded), upright=False)
        notes.append(f"height guessed from the skeleton: {height:.2f} m")
    if mass is None:
        mass = _BODY_MASS_INDEX * height**2
        notes.append(f"mass guessed from the height: {mass:.0f} kg (joint angles do not depend on it)")
    if augmenters is not None:
        trial, chosen = _augmented(augment(points, names, times, height, mass, *augmenters))
        loaded, missing = load_model(path, chosen), None
        notes.append("anatomical markers guessed from keypoints by OpenCap's marker augmenter")
    elif chosen.name == JOINT_CENTRES.name:
        notes.append(_ROUGH)
    return _solve(make_folder(folder), stem, _Job(loaded, trial, chosen, mass, notes, upright=upright, filled=missing))


def markers_report(
    trial: Trc,
    folder: str | Path,
    *,
    model: str | Path,
    stem: str = "trial",
    mass: float | None = None,
    weights: str | Path | None = None,
    upright: bool = True,
) -> OpenSimReport:
    """The same for markers: .trc, .osim, .mot and .html.

    Names of SynthPose's anatomical markers, or of our joint centres, scale an unscaled model. Any others are the model's own, and the
    model is taken as that of the person already. weights: an OpenSim task file; None weighs markers as their set does, own ones alike.
    Raises as `opensim_report`; MarkerMismatchError where the names are neither.
    """
    path = Path(model)
    chosen = next(
        (reduced(each, trial.names) for each in (SYNTHPOSE, JOINT_CENTRES) if len(set(trial.names) & each.places.keys()) >= 9), None
    )
    notes = []
    loaded = load_model(path, chosen)
    if chosen is None:
        own = sorted(set(trial.names) & model_markers(loaded).keys())
        if len(own) < 3:
            raise MarkerMismatchError(
                f"{len(own)} of these markers ({', '.join(trial.names[:4])} ...) are the model's; rename them, or take another model"
            )
        chosen = MarkerSet("own", {}, dict.fromkeys(own, 1.0), ())
        left = sorted(set(trial.names) - set(own))
        notes += ["the model is taken as this person's, and not scaled"]
        notes += [f"not among the model's markers, and left out: {', '.join(left[:8])}{' ...' if len(left) > 8 else ''}"] * bool(left)
    if weights is not None:
        asked = read_weights(weights)
        chosen = replace(chosen, weights={name: weight for name, weight in asked.items() if name in chosen.weights and weight > 0})
    if chosen.name != "own" and mass is None:
        mass = _BODY_MASS_INDEX * (MODEL_HEIGHT * check_space(trial, model_markers(loaded), upright=False)) ** 2
        notes.append(f"mass guessed from the size of the skeleton: {mass:.0f} kg (joint angles do not depend on it)")
    return _solve(make_folder(folder), stem, _Job(loaded, trial, chosen, mass or 0.0, notes, chosen.name == "own", upright))


def _points(take: Take, person: int | None) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, list[str]]:
    """Names, times, and (f, k, 3) points of the person, left and right repaired."""
    if take.people.points is None:
        raise VitruvianError("this take has no points in space; film with several calibrated cameras, or lift it to 3D first")
    notes = []
    if len(take.people):
        take, report = repair_swaps(take)
        notes += [f"left and right exchanged {len(report.swaps)} times"] if report.swaps else []
    rows_of = person_rows(take, person)
    if not rows_of:
        raise VitruvianError("nobody is in this take; there is nothing to move a model by")
    rows = rows_of[max(rows_of, key=lambda track: (len(rows_of[track]), -track))]
    frames = take.people.frame[rows]
    span = slice(int(frames.min()), int(frames.max()) + 1)
    points = np.full((span.stop - span.start, len(take.skeleton), 3), np.nan)
    points[frames - span.start] = y_up_points(take)[rows]
    if take.space == "camera":
        notes.append("points are in the camera's frame: pelvis angles are against the camera, not the ground")
    return take.skeleton.names, take.times[span], points, notes


def _chosen_markers(
    names: tuple[str, ...], times: np.ndarray, points: np.ndarray, filled: Bool[np.ndarray, "f k"]
) -> tuple[Trc, MarkerSet, Bool[np.ndarray, "f m"]]:
    """SynthPose's markers where the take has them, else the joint centres that are ever seen; and which positions were filled in."""
    if len(set(names) & SYNTHPOSE.places.keys()) >= 20:
        columns = [i for i, name in enumerate(names) if name in SYNTHPOSE.places and np.isfinite(points[:, i]).all(-1).any()]
        trial = Trc(tuple(names[i] for i in columns), times, points[:, columns], rate_of(times))
        return trial, reduced(SYNTHPOSE, trial.names), filled[:, columns]
    trial = _joint_centres(names, times, points)
    marks = named_points(np.where(filled, 1.0, 0.0)[..., None], names)  # a mean of two points is filled in where either is
    return trial, reduced(JOINT_CENTRES, trial.names), np.stack([marks[name][:, 0] > 0 for name in trial.names], 1)


def _joint_centres(names: tuple[str, ...], times: np.ndarray, points: np.ndarray) -> Trc:
    """Those of the joint centres that are ever seen."""
    p = named_points(points, names)
    seen = [name for name in JOINT_CENTRES.places if name in p and np.isfinite(p[name]).all(-1).any()]
    if len(seen) < 5:
        raise VitruvianError(f"only {len(seen)} joints of this person are ever seen in space; look at cameras and calibration")
    return Trc(tuple(seen), times, np.stack([p[name] for name in seen], 1), rate_of(times))


def _augmented(found: Trc) -> tuple[Trc, MarkerSet]:
    """The augmenter's markers under SynthPose's names, and the set that uses them."""
    kept = [name for name in found.names if name in AUGMENTED_NAMES]
    points = found.points[:, [found.names.index(name) for name in kept]]
    trial = Trc(tuple(AUGMENTED_NAMES[name] for name in kept), found.times, points, found.rate)
    return trial, reduced(SYNTHPOSE, trial.names)


def _solve(folder: Path, stem: str, job: _Job) -> OpenSimReport:
    """Scale, solve, write."""
    notes, factors, subject = list(job.notes), {}, job.model
    if not np.isfinite(job.trial.points).all(-1).any():
        raise MarkerGapError("no marker is seen in any frame of this trial; look at cameras and calibration")
    if not job.scaled:
        factors = scale_factors(job.model, job.trial, job.markers.measurements, "median")
        subject = scale_model(job.model, job.trial, job.markers, job.mass, average="median", place=False)
        notes.append("bones scaled by median lengths over the motion")
    options = {"upright": job.upright, "robust": ROBUST, "posture": job.markers.posture}
    found = inverse_kinematics(subject, job.trial, job.markers.weights, **options)
    far = float((found.errors > FAR).sum() / max(np.isfinite(found.errors).sum(), 1))
    solver = "our solver, to the minimum" if found.method == "converged" else "OpenSim's solver, accuracy 1e-5"
    notes.append(f"inverse kinematics by {solver}")
    if job.markers.posture and found.method == "converged":
        notes.append("lumbar extension is drawn to the model's default, as joint centres do not tell it")
    if far:
        notes.append(f"{far:.1%} of the marker positions are more than {100 * FAR:.0f} cm off the model, and hardly counted")
    typical = float(np.nanmedian(found.errors)) if np.isfinite(found.errors).any() else 0.0
    notes.append(f"markers and model are {1000 * typical:.0f} mm apart (median)")
    if typical > _POOR or far > 0.1:
        notes.append("these points are no body of fixed bones: do not trust the angles")
    open_share = float(np.isnan(found.errors).mean()) if found.errors.size else 0.0
    notes.append(f"{len(found.gaps)} gaps of markers stay open ({open_share:.1%} of all positions); they did not pull at the model")
    limits = _at_limits(subject, found)
    if limits:
        notes.append(f"held by the end of their range in the model, share of frames: {', '.join(limits)}")
    paths = [folder / f"{stem}{suffix}" for suffix in (".trc", ".osim", ".mot", ".html")]
    write_trc(job.trial, paths[0])
    save_model(subject, paths[1])
    write_mot(found.mot(), paths[2])
    write_page(_page(stem, found, factors, notes, job.filled), paths[3])
    return OpenSimReport(*paths, found, job.trial, tuple(notes))


def _at_limits(model: Model, found: Kinematics) -> list[str]:
    """Angles that the model's ranges cut off in a good part of the frames; an end that is the resting value (a straight knee) is none."""
    out, coordinates = [], model.getCoordinateSet()
    for name, values, turn in zip(found.names, found.values.T, found.is_angle, strict=True):
        coordinate = coordinates.get(name)
        ends = [end for end in (coordinate.getRangeMin(), coordinate.getRangeMax()) if abs(end - coordinate.getDefaultValue()) > _AT_END]
        if turn and ends and len(values) and coordinate.getDefaultClamped():
            share = float(np.mean(np.abs(values[:, None] - ends).min(1) < _AT_END))
            out += [f"{name} {share:.0%}"] * (share > _OFTEN)
    return out


def _page(
    stem: str, found: Kinematics, factors: dict[str, Float[np.ndarray, " 3"]], notes: list[str], filled: Bool[np.ndarray, "f m"] | None
) -> str:
    angles = Angles(
        tuple(name for name, turn in zip(found.names, found.is_angle, strict=True) if turn), found.times, found.values[:, found.is_angle]
    )
    panels = [
        Panel("marker error, root mean square", "mm", (Line("", found.times, 1000 * found.marker_rms),)),
        Panel("markers that count", "1", (Line("", found.times, np.isfinite(found.errors).sum(1).astype(float)),)),
    ]
    if filled is not None and filled.size:
        panels.append(Panel("marker positions filled in", "%", (Line("", found.times, 100 * filled.mean(1)),)))
    by_marker = sorted(found.rms_by_marker.items(), key=lambda item: -np.nan_to_num(item[1]))
    tables = [Table("Marker errors", ("marker", "RMS [mm]"), tuple((name, f"{1000 * rms:.1f}") for name, rms in by_marker))]
    if factors:
        rows = tuple((body, *(f"{axis:.3f}" for axis in factor)) for body, factor in factors.items())
        tables.append(Table("Scale factors against the given model", ("body", "x [1]", "y [1]", "z [1]"), rows))
    return page(f"{stem}: joint angles by OpenSim", (*panels, *panels_of_angles(angles)), notes, tables)
