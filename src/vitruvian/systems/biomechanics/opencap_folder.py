"""OpenCap's validation data as the benchmark's trials (card opencapbench.md, section 11), and the benchmark as a command.

    python -m vitruvian.systems.biomechanics.opencap_folder DATA KEYPOINTS [--mode published] [--cameras Cam1,Cam3]

    DATA/subject2/sessionMetadata.yaml                                     mass_kg, height_m, checkerBoard: placement
         subject2/VideoData/Session0/Cam1/cameraIntrinsicsExtrinsics.pickle
         subject2/VideoData/Session0/Cam1/squats1/squats1_syncdWithMocap.avi
         subject2/MarkerData/Mocap/squats1.trc                             the laboratory's markers
         subject2/OpenSimData/Mocap/IK/squats1.mot                         the truth
         subject2/OpenSimData/Mocap/Model/*.osim                           scaled by motion capture

Session0 has the static trial, Session1 the walking. Keypoints are any program's, by film: KEYPOINTS/subject2/Session0/Cam1/squats1, a
folder with a take.npz (what `vitruvian capture FILM -o` writes there) or with OpenPose's files, or squats1.npz, a take.

The data (SimTK, registration) were not at hand: the places of truth and markers in sessions, names of trials and the metadata's keys
are as the card has them, and that boards of walking sessions on the back wall stand as "backWall_walking" is a guess [mem].
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.text import numbers, read_text
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, BenchmarkResult, Trial, TrialResult, iterate_trials, summed_up

CAMERAS = ("Cam1", "Cam3")
"""The published set-up of two cameras, at -45 and 45 degrees."""
_STATIC = "static"
_MAX_METADATA = 1 << 20


@dataclass(frozen=True)
class Subject:
    """What sessionMetadata.yaml says: kilograms, metres, and where the checkerboard was ("none" where it does not say)."""

    mass: float
    height: float
    placement: str


def read_metadata(path: str | Path) -> Subject:
    """Read a sessionMetadata.yaml: plain keys and values, nested by indentation. Raises FormatError where mass or height lack."""
    path = Path(path)
    values: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in read_text(path, _MAX_METADATA).splitlines():
        key, colon, value = line.partition(":")
        depth = len(key) - len(key.lstrip())
        if not colon or key.lstrip().startswith(("#", "-")):
            continue
        parents = [parent for parent in parents if parent[0] < depth][:8]
        name = ".".join([*(parent for _, parent in parents), key.strip()])
        values[name] = value.partition(" #")[0].strip().strip("'\"")
        parents.append((depth, key.strip()))
    lacking = [name for name in ("mass_kg", "height_m") if name not in values]
    if lacking:
        raise FormatError(f"{path} does not say {' and '.join(lacking)}; it is no sessionMetadata.yaml of OpenCap")
    mass, height = numbers([values["mass_kg"], values["height_m"]], str(path))
    if not (0 < mass < 1000 and 0 < height < 4):
        raise FormatError(f"{path}: {mass:g} kg and {height:g} m are no person; correct it")
    return Subject(mass, height, values.get("checkerBoard.placement") or "none")


def trials_of(
    folder: str | Path,
    keypoints: str | Path | None = None,
    *,
    cameras: Sequence[str] = CAMERAS,
    model: str | Path | None = None,
    weights: str | Path | None = None,
    placement: str = "",
) -> tuple[Trial, ...]:
    """Every trial of every subject that has a truth and films, with mass, height, cameras and the checkerboard's placement.

    keypoints: the folder of keypoints by film (see above); None takes the laboratory's own markers, which want the `weights` of an OpenSim
    task file. model: None takes that scaled by motion capture, as published ("adjusted", where there is one); it must have the markers, for
    others are put where an unscaled model has them. A generic model is scaled by the views of the static trial. placement: of the
    checkerboard, "" as the metadata say. A film without keypoints is its trial's error.
    Raises FormatError where the folder is not of this layout, or there is nothing to compare.
    """
    folder = Path(folder)
    subjects = sorted((path for path in folder.glob("subject*") if path.is_dir()), key=_number)
    if not subjects:
        raise FormatError(f"{folder} has no subject folders; expected there: subject2/sessionMetadata.yaml, VideoData, OpenSimData")
    if keypoints is None and weights is None:
        raise FormatError("the laboratory's markers have their model's names: give the weights of an OpenSim task file (weights=)")
    found = []
    for subject in subjects:
        person = read_metadata(subject / "sessionMetadata.yaml")
        for session, name in _films(subject, cameras):
            truth = subject / "OpenSimData" / "Mocap" / "IK" / f"{name}.mot"
            if name.startswith(_STATIC) or not truth.is_file():
                continue  # such as the film of the checkerboard
            where = dict(model=_scaled(subject) if model is None else Path(model), mass=person.mass, height=person.height)
            title = f"{subject.name}/{session}/{name}"
            if keypoints is None:
                markers = subject / "MarkerData" / "Mocap" / f"{name}.trc"
                found.append(Trial(title, markers=markers, truth=truth, weights=Path(weights), **where))
                continue
            views = _Views(subject, Path(keypoints), tuple(cameras), placement or person.placement)
            static = None if model is None else views.static(**where)
            found.append(Trial(title, **views.of(session, name), truth=truth, static=static, weights=weights and Path(weights), **where))
    if not found:
        raise FormatError(f"{folder} has no trial with films of {', '.join(cameras)} and a truth (OpenSimData/Mocap/IK/TRIAL.mot)")
    return tuple(found)


@dataclass(frozen=True)
class _Views:
    """Where the keypoints and cameras of one subject's films are."""

    subject: Path
    keypoints: Path
    cameras: tuple[str, ...]
    placement: str

    def of(self, session: str, name: str) -> dict[str, object]:
        """Views, cameras and placement of a trial, as `Trial` takes them."""
        places = [self.keypoints / self.subject.name / session / camera / name for camera in self.cameras]
        rig = [self.subject / "VideoData" / session / camera / "cameraIntrinsicsExtrinsics.pickle" for camera in self.cameras]
        walking = session == "Session1" and self.placement == "backWall"
        return {
            "views": tuple(_take_at(place) for place in places),
            "cameras": tuple(rig),
            "placement": "backWall_walking" if walking else self.placement,
        }

    def static(self, **where: object) -> Trial:
        """The subject's static trial. Raises FormatError where there are no films of one."""
        for session, name in _films(self.subject, self.cameras):
            if name.startswith(_STATIC):
                return Trial(f"{self.subject.name}/{session}/{name}", **self.of(session, name), **where)
        raise FormatError(f"{self.subject} has no films of a static trial to scale a model by; leave model= away")


def _take_at(place: Path) -> Path:
    """A take, or else the folder itself, for OpenPose's files."""
    return next((path for path in (place / "take.npz", place.with_name(f"{place.name}.npz")) if path.is_file()), place)


def _films(subject: Path, cameras: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Session and name of every trial that all cameras filmed."""
    for session in sorted((subject / "VideoData").glob("Session*"), key=_number):
        names = [{path.name for path in (session / camera).glob("*") if path.is_dir()} for camera in cameras]
        for name in sorted(set.intersection(*names)) if names else ():
            yield session.name, name


def _scaled(subject: Path) -> Path:
    """The model that was scaled by motion capture."""
    models = sorted((subject / "OpenSimData" / "Mocap" / "Model").glob("*.osim"))
    for word in ("adjusted", "scaled", ""):
        named = [path for path in models if word in path.stem]
        if named:
            return named[0]
    raise FormatError(f"{subject} has no OpenSimData/Mocap/Model/*.osim; fetch it, or give a generic model")


def _number(path: Path) -> tuple[int, str]:
    digits = "".join(filter(str.isdecimal, path.name))[:9]
    return int(digits or 0), path.name


def table(result: BenchmarkResult) -> str:
    """Root mean square errors per degree of freedom as text, with the mode that they are of."""
    lines = [f"mode: {result.mode}; {len(result.trials) - len(result.failed)} of {len(result.trials)} trials"]
    if result.errors is not None:
        lines.append(f"{'RMSE [deg]':<20}{'time shifted':>14}{'no shift':>10}")
        rows = [*zip(result.errors.names, result.errors.rmse, result.errors.rmse_no_shift, strict=True)]
        known = [np.array([row[i] for row in rows if np.isfinite(row[i])]) for i in (1, 2)]
        rows.append(("mean", *(values.mean() if len(values) else np.nan for values in known)))
        lines += [f"{name:<20}{shifted:>14.3f}{plain:>10.3f}" for name, shifted, plain in rows]
    return "\n".join(lines)


def as_json(result: BenchmarkResult) -> dict[str, object]:
    """The same for a file, with every trial's fit."""
    errors = result.errors

    def number(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    def row(trial: TrialResult) -> Mapping[str, object]:
        return {"name": trial.name, "error": trial.error, "marker_rms_m": number(trial.marker_rms), "gaps": trial.gaps}

    found = [] if errors is None else zip(errors.names, errors.rmse, errors.rmse_no_shift, strict=True)
    return {
        "mode": result.mode,
        "rmse_deg": {name: {"shifted": number(shifted), "no_shift": number(plain)} for name, shifted, plain in found},
        "trials": [row(trial) for trial in result.trials],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m vitruvian.systems.biomechanics.opencap_folder", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="OpenCap's data")
    parser.add_argument("keypoints", type=Path, nargs="?", help="keypoints by film; without them the laboratory's markers are followed")
    parser.add_argument("--mode", choices=tuple(VARIANTS), default="corrected")
    parser.add_argument("--cameras", default=",".join(CAMERAS), help="separated by commas")
    parser.add_argument("--model", type=Path, help="a generic .osim, scaled by the static trial's films; else that of motion capture")
    parser.add_argument("--weights", type=Path, help="OpenSim task file with the markers' weights")
    parser.add_argument("--placement", default="", help="of the checkerboard, where the metadata are wrong")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures as .json too")
    asked = parser.parse_args(arguments)
    config, names = VARIANTS[asked.mode], tuple(name.strip() for name in asked.cameras.split(","))
    results: dict[int, TrialResult] = {}
    try:
        options = dict(cameras=names, model=asked.model, weights=asked.weights, placement=asked.placement)
        trials = trials_of(asked.folder, asked.keypoints, **options)
        for place, one in iterate_trials(trials, config, asked.workers):
            results[place] = one
            print(f"{len(results)}/{len(trials)} {one.name} {one.seconds:.0f} s {one.error}".rstrip(), file=sys.stderr, flush=True)
        found = summed_up(results, config)
        print(table(found))
        if asked.out is not None:
            with written_whole(asked.out) as temporary:
                temporary.write_text(json.dumps(as_json(found), indent=1) + "\n", encoding="utf-8")
    except VitruvianError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
