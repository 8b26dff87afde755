"""From a take with points in the world to OpenSim's files: markers (.trc), the scaled model (.osim), joint angles (.mot), and one page.

    written = opensim_report(take, "out/", mass=72, height=1.78)

Without an augmenter the model follows joint centres, which leave the turn of segments about their length open: hip rotation, ankle and
subtalar angle, lumbar extension and the pelvis' tilt are then rough (the benchmark's table shows by how much); the page says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitruvian.biomechanics.augmenter import augment
from vitruvian.biomechanics.plots import Line, Panel, Table, page, panels_of_angles, write_page
from vitruvian.biomechanics.segments import named_points
from vitruvian.biomechanics.table import Angles
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.mot import write_mot
from vitruvian.formats.persons import person_rows, y_up_points
from vitruvian.formats.text import make_folder
from vitruvian.formats.trc import Trc, rate_of, write_trc
from vitruvian.people.swap import repair_swaps
from vitruvian.systems.biomechanics.marker_sets import AUGMENTED_NAMES, JOINT_CENTRES, SYNTHPOSE, MarkerSet, reduced
from vitruvian.systems.biomechanics.opencapbench import smooth_points
from vitruvian.systems.biomechanics.opensim_tools import Kinematics, inverse_kinematics, load_model, save_model, scale_factors, scale_model
from vitruvian.take import Take
from vitruvian.weights.card import Card

MODEL_HEIGHT = 1.70  # metres, of LaiUhlrich2022; good for a guess only
_BODY_MASS_INDEX = 22.0  # kg / m^2, for a guess of the mass, on which joint angles do not depend
_POOR = 0.04  # metres between markers and model; video keypoints of good networks stay near half of that
_ROUGH = "no anatomical markers: pelvis tilt, hip rotation, ankle, subtalar and lumbar angles are rough (OpenCapBench, table of results)"


@dataclass(frozen=True, eq=False)
class OpenSimReport:
    """What was written, and the numbers in it. notes: what was filled, filtered, repaired and guessed, in words."""

    trc: Path
    osim: Path
    mot: Path
    html: Path
    kinematics: Kinematics
    markers: Trc
    notes: tuple[str, ...]


def packaged_model() -> Path:
    """LaiUhlrich2022.osim as packaged. Raises FormatError where the package has none."""
    path = Path(__file__).parents[2] / "assets" / "opensim" / "LaiUhlrich2022.osim"
    if not path.exists():
        raise FormatError("this package has no LaiUhlrich2022.osim; give model=PATH (opencap-core, opensimPipeline/Models, Apache-2.0)")
    return path


def opensim_report(
    take: Take,
    folder: str | Path,
    *,
    stem: str = "take",
    model: str | Path | None = None,
    person: int | None = None,
    mass: float | None = None,
    height: float | None = None,
    augmenters: tuple[Card | str | Path, Card | str | Path] | None = None,
    cutoff: float | None = 6.0,
    longest_gap: float = 0.2,
) -> OpenSimReport:
    """Write `folder`/`stem`.trc, .osim, .mot and .html for one person of a take with points in space.

    model: an unscaled LaiUhlrich2022 (the packaged one). person: track id; None takes the one seen longest. mass (kg) and height (m): of
    the person; guessed, and noted, where None. augmenters: the lower and upper marker augmenter (`biomechanics.augmenter`).
    cutoff: hertz of the low-pass on the points, None for takes that are smooth already. longest_gap: seconds that are filled.
    Raises VitruvianError for a take without points or people, TrialError and OpenSimError where the model can't follow, FormatError for
    files, MissingExtraError without OpenSim.
    """
    folder = make_folder(folder)
    names, times, points, notes = _points(take, person)
    if cutoff is not None and len(times):
        points, filled = smooth_points(times, points, cutoff, longest_gap)
        notes.append(f"points low-passed at {cutoff:g} Hz; {filled.mean():.1%} of them filled in (gaps up to {longest_gap:g} s)")
    generic = load_model(packaged_model() if model is None else model, JOINT_CENTRES)
    trial = _joint_centres(names, times, points)
    if height is None:
        from vitruvian.systems.biomechanics.opensim_tools import model_markers
        from vitruvian.systems.biomechanics.trial_checks import check_space

        height = MODEL_HEIGHT * check_space(trial, model_markers(generic))
        notes.append(f"height guessed from the skeleton: {height:.2f} m")
    if mass is None:
        mass = _BODY_MASS_INDEX * height**2
        notes.append(f"mass guessed from the height: {mass:.0f} kg (joint angles do not depend on it)")
    chosen = reduced(JOINT_CENTRES, trial.names)
    if augmenters is not None:
        found = augment(points, names, times, height, mass, *augmenters)
        trial, chosen = _augmented(found)
        notes.append("anatomical markers guessed from keypoints by OpenCap's marker augmenter")
    else:
        notes.append(_ROUGH)
    return _solve(folder, stem, load_model(packaged_model() if model is None else model, chosen), trial, chosen, mass, notes)


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


def _solve(folder: Path, stem: str, generic: object, trial: Trc, markers: MarkerSet, mass: float, notes: list[str]) -> OpenSimReport:
    """Scale, solve, write."""
    factors = scale_factors(generic, trial, markers.measurements, "median")
    scaled = scale_model(generic, trial, markers, mass, average="median", place=False)
    found = inverse_kinematics(scaled, trial, markers.weights)
    solver = "our solver, to the minimum" if found.method == "converged" else "OpenSim's solver, accuracy 1e-5"
    notes.append(f"bones scaled by median lengths over the motion; inverse kinematics by {solver}")
    typical = float(np.nanmedian(found.marker_rms)) if np.isfinite(found.marker_rms).any() else 0.0
    if typical > _POOR:
        notes.append(
            f"the markers are {1000 * typical:.0f} mm off the model: these points are no body of fixed bones; do not trust the angles"
        )
    paths = [folder / f"{stem}{suffix}" for suffix in (".trc", ".osim", ".mot", ".html")]
    open_share = float(np.isnan(found.errors).mean()) if found.errors.size else 0.0
    notes.append(f"{len(found.gaps)} gaps of markers stay open ({open_share:.1%} of all positions); they did not pull at the model")
    write_trc(trial, paths[0])
    save_model(scaled, paths[1])
    write_mot(found.mot(), paths[2])
    write_page(_page(stem, found, factors, notes), paths[3])
    return OpenSimReport(*paths, found, trial, tuple(notes))


def _page(stem: str, found: Kinematics, factors: dict[str, np.ndarray], notes: list[str]) -> str:
    angles = Angles(
        tuple(name for name, turn in zip(found.names, found.is_angle, strict=True) if turn), found.times, found.values[:, found.is_angle]
    )
    residuals = Panel("marker error, root mean square", "mm", (Line("", found.times, 1000 * found.marker_rms),))
    by_marker = sorted(found.rms_by_marker.items(), key=lambda item: -np.nan_to_num(item[1]))
    tables = (
        Table("Marker errors", ("marker", "RMS [mm]"), tuple((name, f"{1000 * rms:.1f}") for name, rms in by_marker)),
        Table(
            "Scale factors against LaiUhlrich2022",
            ("body", "x [1]", "y [1]", "z [1]"),
            tuple((body, *(f"{axis:.3f}" for axis in factor)) for body, factor in factors.items()),
        ),
    )
    return page(f"{stem}: joint angles by OpenSim", (residuals, *panels_of_angles(angles)), notes, tables)
