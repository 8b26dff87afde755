"""Runs the cases of "opencapbench": pixels to markers, joint-angle errors, and inverse kinematics of a real trial.

Told apart by their inputs. Frame rate, checkerboard rotation and the trial's files are read from the case's variant and notes, where the
published program had them as settings; inverse kinematics needs the `opensim` package and the files in ../shared/data/opensim.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from tests.parity.fill import Case

Arrays = dict[str, np.ndarray]
OPENSIM_DATA = Path(__file__).parents[4] / "shared" / "data" / "opensim"


def run(case: Case) -> Arrays | None:
    """The outputs of one case; None for a case of a kind that is not known here."""
    inputs = case.inputs()
    if "keypoints" in inputs and "cam_K" in inputs:
        return geometry(case, inputs)
    if any(name.startswith("gt") for name in inputs):
        return metrics(case, inputs)
    if "angles" in case.meta["outputs"]:
        return kinematics(case)
    return None


def geometry(case: Case, inputs: Arrays) -> Arrays:
    """Keypoints (cam, marker, frame) -> filtered, undistorted, triangulated, filled, resampled and turned."""
    from vitruvian.systems.biomechanics import published_steps as steps

    rate, cutoff = _rate(case), _number(r"cut-off (\d+(?:\.\d+)?) Hz", case.meta["notes"], steps.CUTOFF)
    filtered = steps.lowpass(inputs["keypoints"], rate, cutoff, axis=2)
    keypoints, confidence = np.swapaxes(filtered, 1, 2), np.swapaxes(inputs["confidence"], 1, 2)
    flat = np.stack([steps.undistort(k, K, d) for k, K, d in zip(keypoints, inputs["cam_K"], inputs["cam_dist"], strict=True)])
    projections = inputs["cam_K"] @ np.concatenate([inputs["cam_R"], inputs["cam_t"].reshape(-1, 3, 1)], -1)
    points, sure = steps.triangulate(flat, confidence, projections)
    filled, _ = steps.fill_short_gaps(points, sure, rate)
    _, even = steps.resample(filled, rate, frames=case.meta["outputs"]["trc"]["shape"][0])
    return {
        "filtered": filtered,
        "undistorted": np.swapaxes(flat, 1, 2),
        "points3d": np.swapaxes(points, 0, 1),
        "points3d_filled": np.swapaxes(filled, 0, 1),
        "confidence3d": sure.T,
        "trc": steps.to_opensim(even, _turn(case.meta["notes"])),
    }


def metrics(case: Case, inputs: Arrays) -> Arrays:
    """Tables of true and found angles -> errors and shifts."""
    from vitruvian.formats.mot import Mot
    from vitruvian.systems.biomechanics.angle_errors import angle_errors

    labels = _columns(case.meta["notes"])
    trials = sorted((name[2:] for name in inputs if name.startswith("gt")), key=int)
    tables = [[Mot(labels, np.arange(len(inputs[k + n])) / 100, inputs[k + n]) for k in ("gt", "pred")] for n in trials]
    found = angle_errors(tables, "published")
    return {"rmse": found.rmse, "rmse_no_shift": found.rmse_no_shift, "shifts": np.array(found.shifts)}


def kinematics(case: Case) -> Arrays:
    """The trial, model and tasks that the notes name -> the columns that the notes list."""
    from vitruvian.formats.trc import read_trc
    from vitruvian.systems.biomechanics.opensim_tools import inverse_kinematics, load_model, read_weights

    notes = case.meta["notes"]
    trial, model, tasks = (OPENSIM_DATA / re.search(rf"\b[\w.-]+\.{suffix}\b", notes)[0] for suffix in ("trc", "osim", "xml"))
    model, trial, weights = load_model(model), read_trc(trial), read_weights(tasks)
    found = inverse_kinematics(model, trial, weights, method="opensim", missing="ignore", checked=False).mot()
    return {"time": found.times, "angles": np.stack([found.column(label) for label in _columns(notes)], 1)}


def _number(pattern: str, text: str, default: float) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else default


def _rate(case: Case) -> float:
    return _number(r"fps(\d+(?:\.\d+)?)", case.meta["variant"], 60.0)


def _turn(notes: str) -> tuple[str, tuple[float, ...]]:
    """ "space-fixed y by 90 deg then z by 180 deg" as axes and degrees."""
    turns = re.findall(r"\b([xyzXYZ]) (?:by )?(-?\d+(?:\.\d+)?)(?: deg)?", notes[notes.index("rotation about") :].split(". ")[0])
    axes = "".join(axis for axis, _ in turns)
    return axes.upper() if "body-fixed" in notes else axes.lower(), tuple(float(degrees) for _, degrees in turns)


def _columns(notes: str) -> tuple[str, ...]:
    """The column names after "columns:"."""
    return tuple(re.search(r"[Cc]olumns: ([\w ]+)", notes)[1].split())
