"""Scaling and inverse kinematics in this process, through the `opensim` wheel (extra `[biomech]`); no files are left behind.

    model = load_model("LaiUhlrich2022.osim", SYNTHPOSE)
    scaled = scale_model(model, static_trial, SYNTHPOSE, mass=75)
    motion = inverse_kinematics(scaled, trial, SYNTHPOSE.weights)
    write_mot(motion.mot(), "walk.mot"); save_model(scaled, "subject.osim")

With method="opensim" kinematics come from the same solver, with the same settings, as OpenSim's InverseKinematicsTool and agree with its
.mot (tested); "converged" is ours, faster, and goes on to the minimum. Scaling is ScaleTool's arithmetic with factors that are handed
out, then its marker placer. Angles are radians here, degrees in a .mot.
OpenSim: Delp et al., IEEE TBME 2007; Seth et al., PLoS Comput Biol 2018. API facts: card opencapbench.md, section 6.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, MissingExtraError, VitruvianError
from vitruvian.formats.mot import Mot
from vitruvian.formats.text import read_text
from vitruvian.formats.trc import Trc, write_trc
from vitruvian.systems.biomechanics.converged import Solver
from vitruvian.systems.biomechanics.marker_sets import MarkerSet, Measurement
from vitruvian.systems.biomechanics.trial_checks import Gap, MarkerMismatchError, check_gaps, check_names, check_space

if TYPE_CHECKING:
    from opensim import Model

MAX_XML = 64 << 20
Method = Literal["opensim", "converged"]
ACCURACY = 1e-5
_LONGEST_GAP = 0.5  # seconds without any marker
_LEAST_MARKERS = 3  # in a frame, for it to have an answer
_ANGLE = 1  # OpenSim's motion types: 1 rotational, 2 translational, 3 coupled (a function of others, which its own files keep in radians)


class OpenSimError(VitruvianError):
    """OpenSim could not do what it was asked for."""


def opensim() -> ModuleType:
    """The module, quiet and without its log file. Raises MissingExtraError with the remedy where it is not installed."""
    try:
        import opensim as module
    except ImportError as error:
        raise MissingExtraError("OpenSim is not installed: pip install 'vitruvian[biomech]'") from error
    module.Logger.setLevelString("Off")
    module.Logger.removeFileSink()
    return module


@contextlib.contextmanager
def _reported(doing: str) -> Iterator[None]:
    """OpenSim's C++ exceptions as one line."""
    try:
        yield
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise OpenSimError(
            f"OpenSim could not {doing}: {lines[-1][:200] if lines else 'no reason given'}; check model and trial"
        ) from error


def load_model(path: str | Path, markers: MarkerSet | None = None) -> Model:
    """A model from its .osim file, with `markers` in place of its own. Raises FormatError, OpenSimError or MissingExtraError."""
    text = read_text(path, MAX_XML)
    if "<OpenSimDocument" not in text[:4096] or "<!ENTITY" in text:
        raise FormatError(f"{path} is no OpenSim model; give a .osim file")
    osim = opensim()
    with _reported(f"read {path}"):
        model = osim.Model(str(path))
        if markers is not None:
            place_markers(model, markers.places, markers.fixed)
        model.initSystem()
    return model


def place_markers(model: Model, places: Mapping[str, tuple[str, tuple[float, float, float]]], fixed: frozenset[str] = frozenset()) -> None:
    """Replace the model's markers. Raises MarkerMismatchError where the model lacks a body."""
    osim = opensim()
    bodies = model.getBodySet()
    unknown = sorted({body for body, _ in places.values() if not bodies.contains(body)})
    if unknown:
        raise MarkerMismatchError(f"this model has no body {', '.join(unknown[:6])}: take LaiUhlrich2022, or other places for the markers")
    model.updMarkerSet().clearAndDestroy()
    for name, (body, place) in places.items():
        marker = osim.Marker(name, bodies.get(body), osim.Vec3(*place))
        marker.set_fixed(name in fixed)
        model.addMarker(marker)
    model.finalizeConnections()


def read_weights(path: str | Path) -> dict[str, float]:
    """The weights of the marker tasks in an OpenSim task file (IKTaskSet, or a tool's set-up file); tasks that are not applied weigh 0.

    Raises FormatError where the file can't be read or has no such task.
    """
    import xml.etree.ElementTree as ElementTree

    text = read_text(path, MAX_XML)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities that grow without end
        raise FormatError(f"{path} defines its own entities, which task files do not; take the original")
    try:
        tasks = list(ElementTree.fromstring(text.encode()).iter("IKMarkerTask"))
        weights = {
            task.get("name", ""): float(task.findtext("weight", "1")) * (task.findtext("apply", "true").strip().lower() == "true")
            for task in tasks
        }
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(f"{path} is no readable OpenSim file ({error})") from error
    if not weights or not all(np.isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise FormatError(f"{path} has no marker tasks with weights of 0 or more; give an IKTaskSet")
    return weights


def copied(model: Model) -> Model:
    """The model again, ready to be changed or used."""
    again = model.clone()
    with _reported("copy a model"):
        again.initSystem()
    return again


def save_model(model: Model, path: str | Path) -> None:
    """Write a .osim file, whole or not at all."""
    with written_whole(path) as temporary, _reported("write a model"):
        model.printToXML(str(temporary))


def model_markers(model: Model) -> dict[str, Float[np.ndarray, " 3"]]:
    """Marker positions in the default pose, metres, by name."""
    state = model.initSystem()
    markers = model.getMarkerSet()
    return {marker.getName(): marker.getLocationInGround(state).to_numpy() for marker in (markers.get(i) for i in range(markers.getSize()))}


@dataclass(frozen=True, eq=False)
class Kinematics:
    """What inverse kinematics found.

    names: (C,) the model's coordinates. values: (F, C) radians or metres, NaN in frames with fewer than three markers. is_angle: (C,).
    markers: (M,) those that were used. errors: (F, M) metres between measured and model markers, NaN where not seen.
    gaps: of the markers. size: the person against the default pose of the given model. method: that was used (see `inverse_kinematics`).
    """

    times: Float[np.ndarray, " f"]
    names: tuple[str, ...]
    values: Float[np.ndarray, "f c"]
    is_angle: Bool[np.ndarray, " c"]
    markers: tuple[str, ...]
    errors: Float[np.ndarray, "f m"]
    gaps: tuple[Gap, ...] = ()
    size: float = 1.0
    method: Method = "converged"

    def mot(self) -> Mot:
        """The table for a .mot file: rotational coordinates in degrees, the others as they are (as OpenSim writes them)."""
        return Mot(self.names, self.times, np.where(self.is_angle, np.degrees(self.values), self.values))

    @property
    def marker_rms(self) -> Float[np.ndarray, " f"]:
        """Root mean square marker error of each frame, metres."""
        return _rms(self.errors, 1)

    @property
    def rms_by_marker(self) -> dict[str, float]:
        """Root mean square error of each marker, metres."""
        return dict(zip(self.markers, _rms(self.errors, 0).tolist(), strict=True))


def _rms(errors: np.ndarray, axis: int) -> np.ndarray:
    seen = np.isfinite(errors)
    squares = np.where(seen, errors, 0.0) ** 2
    return np.sqrt(squares.sum(axis) / np.where(seen.any(axis), seen.sum(axis), np.nan))


def inverse_kinematics(
    model: Model,
    trial: Trc,
    weights: Mapping[str, float],
    *,
    method: Method = "converged",
    accuracy: float = ACCURACY,
    missing: Literal["error", "ignore"] = "error",
    upright: bool = True,
    checked: bool = True,
    robust: float | None = None,
    posture: Mapping[str, float] = MappingProxyType({}),
) -> Kinematics:
    """The joint angles that lay the model's markers onto the trial's with the least weighted squares, frame by frame.

    A marker that is NaN in a frame does not count there. method: "opensim" is OpenSim's solver, to `accuracy`, as in published pipelines;
    "converged" goes to the minimum (`converged`), and is OpenSim's where the model is not of a kind for that. missing, upright: see
    `trial_checks`; checked False looks at names only. robust: metres from which a marker counts less, and posture: coordinates
    that are drawn to their defaults ("converged" only, see `converged.Solver`).
    Raises TrialError (see `trial_checks`), OpenSimError where the solver fails, MissingExtraError. A trial of no frames is valid.
    """
    osim = opensim()
    known = model_markers(model)
    if not len(trial.times):
        return _no_frames(model)
    used = check_names(trial, known, weights, missing)
    gaps = check_gaps(trial, used, _LONGEST_GAP if checked else np.inf)
    size = check_space(trial, known, upright) if checked else 1.0
    columns = [trial.names.index(name) for name in used]
    there = np.isfinite(trial.points[:, columns]).all(-1)
    rows = np.flatnonzero(there.sum(1) >= _LEAST_MARKERS)  # OpenSim fails on frames without any
    points = np.where(there[..., None], trial.points[:, columns], np.nan)[rows]
    coordinates = _coordinates(model)
    values, errors = np.full((len(there), len(coordinates)), np.nan), np.full(there.shape, np.nan)
    done: Method = method
    if len(rows):
        some = Trc(used, trial.times[rows], points, trial.rate)
        solver = Solver.of(osim, model, used, np.array([weights[name] for name in used]), posture) if method == "converged" else None
        done = "converged" if solver else "opensim"
        solved = solver.track(some.times, points, robust) if solver else _solved(osim, model, some, weights, accuracy)
        values[rows], errors[rows] = solved
    is_angle = np.array([c.getMotionType() == _ANGLE for c in coordinates])
    names = tuple(c.getName() for c in coordinates)
    return Kinematics(trial.times, names, values, is_angle, used, np.where(there, errors, np.nan), gaps, size, done)


def _no_frames(model: Model) -> Kinematics:
    coordinates = _coordinates(model)
    is_angle = np.array([c.getMotionType() == _ANGLE for c in coordinates])
    return Kinematics(np.zeros(0), tuple(c.getName() for c in coordinates), np.zeros((0, len(coordinates))), is_angle, (), np.zeros((0, 0)))


def _coordinates(model: Model) -> list:
    found = model.getCoordinateSet()
    return [found.get(i) for i in range(found.getSize())]


def _solved(osim: ModuleType, model: Model, trial: Trc, weights: Mapping[str, float], accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (f, c), and errors (f, m) of the trial's markers, in every frame."""
    with _reported("solve inverse kinematics"), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.trc"
        # Millimetres, as the published files: OpenSim's solver stops so early that the rounding alone moves angles by up to a degree.
        write_trc(trial, file, "mm")
        tasks = osim.SetMarkerWeights()
        for name in trial.names:
            tasks.cloneAndAppend(osim.MarkerWeight(name, float(weights[name])))
        reference = osim.MarkersReference(str(file), tasks)
        state = model.initSystem()
        solver = osim.InverseKinematicsSolver(model, reference, osim.SimTKArrayCoordinateReference(), float("inf"))
        solver.setAccuracy(accuracy)
        coordinates = _coordinates(model)
        stamps = reference.getMarkerTable().getIndependentColumn()  # as the file has them: those of the trial, rounded
        values, errors = [], []
        state.setTime(stamps[0])
        solver.assemble(state)
        for time, stamp in zip(trial.times, stamps, strict=True):
            state.setTime(stamp)
            try:
                solver.track(state)
            except RuntimeError as error:
                raise OpenSimError(f"inverse kinematics failed at {time:.3f} s: look at the markers there, or cut the trial") from error
            values.append([coordinate.getValue(state) for coordinate in coordinates])
            errors.append([solver.computeCurrentMarkerError(name) for name in trial.names])
    return np.array(values), np.array(errors)


def scale_factors(
    model: Model, trial: Trc, measurements: tuple[Measurement, ...], average: Literal["mean", "median"] = "mean"
) -> dict[str, Float[np.ndarray, " 3"]]:
    """The factors of every measured body along x, y, z: measured over model distance, averaged over frames, then over pairs.

    "mean" over frames is ScaleTool's; "median" bears wrong frames of a motion. Pairs that are never seen together do not count; a
    measurement without any raises MarkerMismatchError.
    """
    known = model_markers(model)
    average_of = np.nanmean if average == "mean" else np.nanmedian
    factors: dict[str, np.ndarray] = {}
    for measurement in measurements:
        ratios = []
        for a, b in measurement.pairs:
            if not {a, b} <= known.keys() or not {a, b} <= set(trial.names):
                continue
            measured = np.linalg.norm(trial.points[:, trial.names.index(a)] - trial.points[:, trial.names.index(b)], axis=-1)
            if np.isfinite(measured).any():
                ratios.append(average_of(measured) / np.linalg.norm(known[a] - known[b]))
        if not ratios:
            pairs = ", ".join("-".join(pair) for pair in measurement.pairs[:3])
            raise MarkerMismatchError(
                f"{measurement.name} can't be scaled: the trial never shows {pairs}; rename markers or drop the measurement"
            )
        for body in measurement.bodies:
            for axis in measurement.axes:
                factors.setdefault(body, np.ones(3))["XYZ".index(axis)] = np.mean(ratios)
    return factors


def scale_model(
    model: Model,
    trial: Trc,
    markers: MarkerSet,
    mass: float,
    *,
    average: Literal["mean", "median"] = "mean",
    place: bool = True,
) -> Model:
    """A copy of `model` (which carries `markers`) with the person's bone lengths and mass (kilograms), as ScaleTool makes it.

    trial: somebody standing still; a motion will do with average="median" and place=False. place: move the markers that are not fixed to
    where the trial has them. Raises TrialError where a marker lacks or factors differ by more than 1 (the published sanity limit).
    """
    if not (np.isfinite(mass) and 0 < mass < 1000):
        raise VitruvianError(f"{mass} kg is no mass of a person; give kilograms")
    osim, scaled = opensim(), model.clone()
    check_space(trial, model_markers(model), upright=False)
    factors = scale_factors(model, trial, markers.measurements, average)
    everything = np.concatenate([*factors.values(), [1.0]])
    if everything.max() - everything.min() > 1:
        raise MarkerMismatchError(
            f"scale factors from {everything.min():.2f} to {everything.max():.2f}: markers are exchanged, or far off, in this trial"
        )
    bodies = model.getBodySet()
    with _reported("scale the model"):
        scale_set = osim.ScaleSet()
        for body, factor in factors.items():
            if bodies.contains(body):
                scale = osim.Scale()
                scale.setSegmentName(body)
                scale.setScaleFactors(osim.Vec3(*factor.tolist()))
                scale.setApply(True)
                scale_set.cloneAndAppend(scale)
        state = scaled.initSystem()
        scaled.scale(state, scale_set, True, float(mass))
        if place:
            _place_by_static_trial(osim, scaled, trial, markers)
        scaled.initSystem()
    return scaled


def _place_by_static_trial(osim: ModuleType, model: Model, trial: Trc, markers: MarkerSet) -> None:
    """OpenSim's marker placer: the static pose that fits the markers, and then the markers where the trial has them."""
    placer = osim.MarkerPlacer()
    tasks = placer.getIKTaskSet()
    for name, weight in markers.placement.items():
        if name in trial.names:
            task = osim.IKMarkerTask()
            task.setName(name)
            task.setWeight(float(weight))
            task.setApply(True)
            tasks.cloneAndAppend(task)
    coordinates = model.getCoordinateSet()
    for name, (weight, value) in markers.placement_pose.items():
        if coordinates.contains(name) and not coordinates.get(name).get_locked():
            task = osim.IKCoordinateTask()
            task.setName(name)
            task.setWeight(float(weight))
            task.setValueType(osim.IKCoordinateTask.ManualValue)
            task.setValue(float(value))
            task.setApply(True)
            tasks.cloneAndAppend(task)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "static.trc"
        write_trc(trial, file, "mm")
        placer.setStaticPoseFileName(str(file))
        times = osim.ArrayDouble()
        for time in (trial.times[0], trial.times[-1]):
            times.append(float(time))
        placer.setTimeRange(times)
        placer.setMoveModelMarkers(True)
        if not placer.processModel(model):
            raise OpenSimError("OpenSim could not place the markers: look at the static trial")
