"""Pose2Sim beside ours on the same keypoints: angle differences per joint, both against the truth, and the ratio of times.

    python -m venv VENV; VENV/bin/pip install pose2sim            # a benchmark-only dependency (BSD-3-Clause), kept out of our environment
    python benchmarks/pose2sim.py --python VENV/bin/python [--frames 60] [--pixels 2] [--out FILE.json]
    python benchmarks/pose2sim.py --python VENV/bin/python --film FOLDER [--detector ID_OR_ONNX]   # the real film; its takes are kept there

A real gait moves LaiUhlrich2022; its joint centres, feet and some points of the head are projected into four cameras with noise in pixels
(`synthpose.py` has the scene). Both programs get these keypoints (HALPE-26, as OpenPose files) and calibration, low-pass at 6 Hz, and use
their own model, scaling and inverse kinematics with joint points only (no marker augmenter). Times are seconds of one processor from 2D
keypoints to the .mot without starting the program, because a machine may be busy: Pose2Sim's steps are association, triangulation,
filtering, kinematics. Angles are compared joint by joint without those of the pelvis against the world, whose axes differ; each
program's constant offset against the truth is given apart from what changes, as models define their zero. The true model is the one that
ours scales, which helps ours.

--film: Pose2Sim's own demo of four cameras (100 frames, a man on a beam), captured by us with the flip test, without any truth. Told
besides: how far each program's points are from each other and from the keypoints of each camera. Both get the keypoints of one person
with sides as our cameras agreed; the seconds of that ("association") count as ours.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from four_cameras import FOLDER
from opensim_trials import DATA, posed
from synthpose import RATE, cameras, gait
from vitruvian.capture.pipeline import capture
from vitruvian.capture.views import combine
from vitruvian.formats.calibration import read_calibration, write_calibration
from vitruvian.formats.mot import Mot, read_mot
from vitruvian.formats.trc import Trc, read_trc
from vitruvian.geometry.camera import moved, project
from vitruvian.skeletons import HALPE_26, convert
from vitruvian.systems.biomechanics import opensim_tools
from vitruvian.systems.biomechanics.marker_sets import JOINT_CENTRES
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, View, markers_from_views
from vitruvian.systems.biomechanics.opensim_report import markers_report
from vitruvian.take import Take

HEAD = {
    **{"nose": (0.1, 0.52, 0.0), "head": (0.02, 0.64, 0.0), "left_eye": (0.085, 0.55, -0.03), "right_eye": (0.085, 0.55, 0.03)},
    **{"left_ear": (0.01, 0.53, -0.075), "right_ear": (0.01, 0.53, 0.075)},
}
"""On the torso, which has no head of its own, metres."""
ANGLES = ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle", "elbow_flex")
THEIR_AXES = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
"""Pose2Sim's .trc (y, z, x of its calibration's axes) to our world."""
Y_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
RUNNER = """
import json, sys, time, tomllib
from pathlib import Path
import Pose2Sim
from Pose2Sim import Pose2Sim as program
folder = sys.argv[1]
config = tomllib.loads((Path(Pose2Sim.__file__).parent / "Demo_SinglePerson" / "Config.toml").read_text(encoding="utf-8"))
config["project"].update(project_dir=folder, frame_rate=60, frame_range="all", participant_height=1.7)
config["triangulation"].update(make_c3d=False)
config["filtering"].update(display_figures=False, save_filt_plots=False, make_c3d=False)
config["kinematics"].update(use_augmentation=False)
seconds = {}
for step in ("personAssociation", "triangulation", "filtering", "kinematics"):
    start = time.process_time()
    getattr(program, step)(config)
    seconds[step] = time.process_time() - start
    print(step, f"{seconds[step]:.1f} s", flush=True)
print("SECONDS " + json.dumps(seconds))
"""


def scene(frames: int, pixels: float, seed: int = 0) -> tuple[list[View], tuple[str, ...], Mot]:
    """The views of the 26 points, their names in HALPE's order, and the true angles in degrees."""
    times, names, values = gait()
    times, values = times[:frames] - times[0], values[:frames]
    places = {**JOINT_CENTRES.places, **{name: ("torso", place) for name, place in HEAD.items()}}
    places["hip"] = places.pop("mid_hip")
    model = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", replace(JOINT_CENTRES, places=places))
    known = [i for i, one in enumerate(names) if model.getCoordinateSet().contains(one) and not one.endswith("_beta")]
    points = posed(tuple(names[i] for i in known), values[:, known], model)
    world = np.stack([points[name] for name in HALPE_26.names], 1)
    random, views = np.random.default_rng(seed), []
    for number, camera in enumerate(cameras((-70, -45, 45, 70), world.mean((0, 1))), 1):
        seen = project(camera, world) + random.normal(0, pixels, (*world.shape[:2], 2))
        views.append(View(replace(camera, name=f"cam{number:02d}"), times, seen, np.full(world.shape[:2], 0.9)))
    turns = [i for i in known if not names[i].endswith(("_tx", "_ty", "_tz"))]
    return views, HALPE_26.names, Mot(tuple(names[i] for i in turns), times, np.degrees(values[:, turns]))


def film(folder: Path, frames: int, detector: str) -> tuple[list[View], tuple[str, ...], float]:
    """The views of the real film's person of whom most is seen, sides as cameras agreed, as HALPE's points; and seconds for that."""
    found = read_calibration(FOLDER / "Calib.qca.txt")
    for camera in found:
        if not (folder / camera.name / "take.npz").exists():
            capture(
                FOLDER / f"{camera.name}.mp4", folder / camera.name, detector=detector, flip_test=True,
                smooth="none", mesh=False, overlay=False, formats=(),
            )  # fmt: skip
    takes, start = [Take.load(folder / camera.name / "take.npz") for camera in found], time.process_time()
    combined = combine(takes, found, smooth="none")
    seconds, people = time.process_time() - start, combined.take.people
    owner, body = people.track[combined.rows], slice(0, 23)
    track = max(combined.take.tracks, key=lambda one: int(combined.used[:, owner == one, body].sum()))
    rows = np.flatnonzero((owner == track) & (people.frame[combined.rows] < frames))
    count, views = min(frames, len(combined.take.times)), []
    for camera, measured in zip(combined.cameras, combined.measured, strict=True):
        keypoints, sure = np.zeros((count, len(HALPE_26), 2)), np.zeros((count, len(HALPE_26)))
        seen = np.isfinite(measured[rows]).all(-1) * people.confidence[combined.rows][rows]
        halpe = convert(measured[rows], seen, combined.take.skeleton, HALPE_26)
        known = np.isfinite(halpe.keypoints).all(-1)
        at = people.frame[combined.rows][rows]
        keypoints[at], sure[at] = np.where(known[..., None], halpe.keypoints, 0), np.where(known, halpe.scores, 0)
        views.append(View(camera, combined.take.times[:count], keypoints, sure))
    return views, HALPE_26.names, seconds


def reprojection(views: list[View], names: tuple[str, ...], points: dict[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """For each camera the median distance in pixels of its keypoints to points in our world, and the share within 20 pixels."""
    medians, shares = [], []
    for view in views:
        away = []
        for name, places in points.items():
            column = names.index(name)
            seen = view.confidence[: len(places), column] > 0
            away.append(np.linalg.norm(project(view.camera, places)[seen] - view.keypoints[: len(places)][seen, column], axis=-1))
        every = np.concatenate(away)
        every = every[np.isfinite(every)]
        medians.append(float(np.median(every)))
        shares.append(float((every < 20).mean()))
    return medians, shares


def from_trc(trial: Trc, turn: np.ndarray) -> dict[str, np.ndarray]:
    """Points of a .trc file by HALPE's names, turned into our world."""
    found = {}
    for column, name in enumerate(trial.names):
        ours_name = {"mid_hip": "hip"}.get(name, name)
        if name[:1] in "RL" and name[1:2].isupper():
            ours_name = {"R": "right", "L": "left"}[name[0]] + re.sub("([A-Z])", r"_\1", name[1:]).lower()
        if ours_name.lower() in HALPE_26.names:
            found[ours_name.lower()] = trial.points[:, column] @ turn.T
    return found


def compared_points(views: list[View], names: tuple[str, ...], mine: Trc, other: Trc) -> dict[str, object]:
    """How far both programs' filtered points are from each other, centimetres, and from the keypoints of each camera, pixels."""
    a, b = from_trc(mine, np.eye(3)), from_trc(other, THEIR_AXES)
    table: dict[str, object] = {"between": {}}
    for name in a:
        if name in b:
            count = min(len(a[name]), len(b[name]))
            away = 100 * np.linalg.norm(a[name][:count] - b[name][:count], axis=-1)
            away = away[np.isfinite(away)]
            quantiles = np.percentile(away, (50, 90)) if len(away) else np.full(2, np.nan)
            table["between"][name] = [*quantiles.tolist(), int(len(away))]
    for who, points in (("ours", a), ("Pose2Sim", b)):
        both = {name: places for name, places in points.items() if name in a and name in b}
        table[who] = dict(zip(("median pixels", "within 20 pixels"), reprojection(views, names, both), strict=True))
    return table


def theirs(views: list[View], folder: Path, python: str) -> tuple[Mot, Trc, dict[str, float]]:
    """Pose2Sim's angles, its filtered points, and seconds by step."""
    turned = [moved(view.camera, Y_TO_Z_UP) for view in views]
    (folder / "calibration").mkdir(parents=True)
    write_calibration(turned, folder / "calibration" / "Calib_scene.toml")
    for view in views:
        place = folder / "pose" / f"{view.camera.name}_json"
        place.mkdir(parents=True)
        for frame, (points, sure) in enumerate(zip(view.keypoints, view.confidence, strict=True)):
            flat = np.concatenate([points, sure[:, None]], 1).ravel().round(3).tolist()
            text = json.dumps({"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": flat}]})
            (place / f"{view.camera.name}_{frame:06d}.json").write_text(text)
    (folder / "Config.toml").write_text("[project]\n")
    done = subprocess.run([python, "-c", RUNNER, str(folder)], capture_output=True, text=True, cwd=folder, timeout=3000)
    told = [line for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    files = sorted((folder / "kinematics").glob("*.mot"))
    if not told or not files:
        raise SystemExit(f"Pose2Sim did not finish:\n{done.stdout[-1500:]}\n{done.stderr[-2500:]}")
    points = max((folder / "pose-3d").glob("*filt*.trc"), key=lambda file: file.stat().st_mtime)
    return read_mot(files[0]), read_trc(points), json.loads(told[0].removeprefix("SECONDS "))


def ours(views: list[View], names: tuple[str, ...], folder: Path) -> tuple[Mot, Trc, dict[str, float]]:
    """Our angles, filtered points, and seconds by step."""
    start = time.process_time()
    wanted = [name if name != "mid_hip" else "hip" for name in JOINT_CENTRES.places]
    rows = [names.index(name) for name in wanted]
    few = [replace(view, keypoints=view.keypoints[:, rows], confidence=view.confidence[:, rows]) for view in views]
    config = replace(VARIANTS["corrected"], synchronise=False, cutoff=6.0, rate=RATE)
    trial = markers_from_views(tuple(JOINT_CENTRES.places), few, "none", config).trial
    middle = time.process_time()
    found = markers_report(trial, folder, model=DATA / "LaiUhlrich2022.osim", mass=70.0)
    print("\n".join(found.notes))
    return read_mot(found.mot), found.markers, {"triangulation, filtering": middle - start, "kinematics": time.process_time() - middle}


def compared(truth: Mot, found: Mot) -> dict[str, tuple[float, float]]:
    """Of each joint angle, both sides: root mean square error without its constant part, and that part, degrees; NaN where it lacks."""
    table = {}
    for angle in ANGLES:
        rows = []
        for side in "rl":
            name = f"{angle}_{side}"
            if name in truth.labels and name in found.labels:
                away = np.interp(truth.times - truth.times[0], found.times - found.times[0], found.column(name)) - truth.column(name)
                rows.append((np.nanstd(away), abs(np.nanmean(away))))
        table[angle] = tuple(np.mean(rows, axis=0).tolist()) if rows else (float("nan"), float("nan"))
    return table


def print_points(table: dict[str, object]) -> None:
    print("points, ours to Pose2Sim's, cm: median, 90 %, frames that both have")
    for name, (middle, most, frames) in table["between"].items():
        print(f"  {name:18s}{middle:8.1f}{most:8.1f}{frames:6d}")
    for who in ("ours", "Pose2Sim"):
        medians, shares = table[who].values()
        told = "  ".join(f"{a:5.1f} px, {100 * b:3.0f} %" for a, b in zip(medians, shares, strict=True))
        print(f"keypoints of each camera to {who:8s}: median, share within 20 px: {told}")


def main() -> None:
    """Run both, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="of an environment with pose2sim")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--pixels", type=float, default=2.0)
    parser.add_argument("--film", type=Path, help="folder for the real film's takes; those that are there are used")
    parser.add_argument("--detector", default="person-parts-s")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.film:
        (views, names, association), truth = film(asked.film, asked.frames, asked.detector), None
    else:
        views, names, truth = scene(asked.frames, asked.pixels)
    with tempfile.TemporaryDirectory() as temporary:
        mine, my_points, my_seconds = ours(views, names, Path(temporary) / "ours")
        if asked.film:
            my_seconds = {"association": association, **my_seconds}
        print(f"ours: {my_seconds}", flush=True)
        other, their_points, their_seconds = theirs(views, Path(temporary) / "theirs", asked.python)
    points = compared_points(views, names, my_points, their_points)
    print_points(points)
    tables = {"ours": compared(truth, mine), "Pose2Sim": compared(truth, other)} if truth else {}
    tables["between"] = compared(mine, other)
    print(f"{len(mine.times)} frames, 4 cameras; degrees: changing part, constant part")
    print(f"{'':16s}" + "".join(f"{name:>18s}" for name in tables))
    for angle in ANGLES:
        print(f"{angle:16s}" + "".join(f"{table[angle][0]:10.1f}{table[angle][1]:8.1f}" for table in tables.values()))
    totals = {"ours": sum(my_seconds.values()), "Pose2Sim": sum(their_seconds.values())}
    print(f"processor seconds: ours {my_seconds}\n  Pose2Sim {their_seconds}\n  {totals}, ratio {totals['Pose2Sim'] / totals['ours']:.1f}")
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(
            json.dumps(
                {"tables": tables, "points": points, "ours": my_seconds, "pose2sim": their_seconds, "frames": asked.frames}, indent=1
            )
        )


if __name__ == "__main__":
    main()
