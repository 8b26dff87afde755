"""SynthPose's claim in small, with simulated detections: do dense anatomical points give better joint angles than sparse joints?

    python benchmarks/synthpose.py [--cameras 4] [--subjects 3] [--pixels 4] [--placing 12] [--sparse 35] [--out FILE.json]

A real gait (the published coordinates of the walking trial) moves LaiUhlrich2022. Its points are filmed by 2 to 5 cameras and "detected"
with errors in place of networks: per person each point sits off the model's by a constant in its segment's frame (`--placing` mm per axis:
what the network was taught is not where the model has it), sparse hips and shoulders by `--sparse` mm more (people click joints on the
skin; card opencapbench.md, section 8), and every detection is off by `--pixels` in each picture. Then our corrected pipeline: robust
triangulation, low-pass, inverse kinematics on the true model (OpenSim's solver with the published weights, or `--solver ours`).
Sets: 17 (COCO's), 23 (with feet), 52 (of which 33 are used, as published).
No picture is rendered and no network runs: what this shows is what denser points are worth when each is as exact as a sparse one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from opensim_trials import DATA, posed
from vitruvian.formats.mot import Mot, read_mot
from vitruvian.geometry.camera import Camera, project
from vitruvian.systems.biomechanics import opensim_tools
from vitruvian.systems.biomechanics.angle_errors import DEGREES_OF_FREEDOM, angle_errors
from vitruvian.systems.biomechanics.marker_sets import JOINT_CENTRES, PUBLISHED_SPARSE_WEIGHTS, SYNTHPOSE, MarkerSet, reduced
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, View, markers_from_views

FEET = ("heel", "big_toe", "small_toe")
ANGLES = {2: (-45, 45), 3: (-45, 0, 45), 4: (-70, -45, 45, 70), 5: (-70, -45, 0, 45, 70)}  # degrees from straight ahead, as OpenCap's
RATE = 60.0


def sets() -> dict[str, tuple[MarkerSet, dict[str, float]]]:
    """Points on the model, and their weights in inverse kinematics, of the three sets."""
    sparse = reduced(JOINT_CENTRES, PUBLISHED_SPARSE_WEIGHTS)
    body = reduced(sparse, [name for name in sparse.places if not name.endswith(FEET)])
    return {"52": (SYNTHPOSE, dict(SYNTHPOSE.weights)), "23": (sparse, dict(sparse.weights)), "17": (body, dict(body.weights))}


def gait() -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Times, coordinates' names and values (f, c), radians and metres, of the real walk."""
    table = read_mot(DATA / "coordinates.sto")
    times = np.arange(table.times[0], table.times[-1], 1 / RATE)
    names = tuple(label.split("/")[-2] for label in table.labels)
    return times, names, np.stack([np.interp(times, table.times, column) for column in table.values.T], 1)


def cameras(angles: tuple[int, ...], centre: np.ndarray, distance: float = 4.5) -> list[Camera]:
    """Cameras around the walker, who comes along x, y up: 1.2 m high, 1280 x 720, one degree of view per 22 pixels or so."""
    found = []
    for angle in np.radians(angles):
        eye = np.array([centre[0] + distance * np.cos(angle), 1.2, centre[2] + distance * np.sin(angle)])
        ahead = centre - eye
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0, 1, 0])
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(ahead, right), ahead])
        intrinsics = np.array([[1100.0, 0, 360], [0, 1100, 640], [0, 0, 1]])
        found.append(Camera(intrinsics, turn, -turn @ eye, np.zeros(0), (720, 1280)))
    return found


def displaced(markers: MarkerSet, random: np.random.Generator, placing: float, sparse: float) -> MarkerSet:
    """The set with each point moved in its body's frame; joints of the hips and shoulders by `sparse` (metres) more."""
    moved = {}
    for name, (body, place) in markers.places.items():
        off = random.normal(0, placing, 3)
        if name.endswith(("_hip", "_shoulder")):
            off += random.normal(0, sparse, 3)
        moved[name] = (body, tuple(np.add(place, off)))
    for middle, sides in (("mid_hip", "_hip"), ("neck", "_shoulder")):  # means of both sides, as keypoints give them
        if middle in moved:
            shifts = [np.subtract(moved[n][1], markers.places[n][1]) for n in moved if n.endswith(sides) and n != middle]
            moved[middle] = (moved[middle][0], tuple(markers.places[middle][1] + np.mean(shifts, axis=0)))
    return replace(markers, places=moved)


def found_angles(
    name: str, random: np.random.Generator, motion: tuple[np.ndarray, tuple[str, ...], np.ndarray], asked: argparse.Namespace
) -> tuple[Mot, Mot, float]:
    """Truth and found angles of one person filmed once, and the spread of points in space, metres."""
    times, names, values = motion
    markers, weights = sets()[name]
    model = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", displaced(markers, random, asked.placing / 1000, asked.sparse / 1000))
    known = [i for i, one in enumerate(names) if model.getCoordinateSet().contains(one) and not one.endswith("_beta")]
    free = [i for i in known if not model.getCoordinateSet().get(names[i]).get_locked()]
    points = posed(tuple(names[i] for i in free), values[:, free], model)
    world = np.stack([points[one] for one in markers.places], 1)
    views = []
    for camera in cameras(ANGLES[asked.cameras], world.mean((0, 1))):
        pixels = project(camera, world)
        views.append(View(camera, times, pixels + random.normal(0, asked.pixels, pixels.shape), np.ones(pixels.shape[:2])))
    config = replace(VARIANTS["corrected"], synchronise=False, rate=asked.rate)
    trial = markers_from_views(tuple(markers.places), views, "none", config).trial
    true_model = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", markers)
    options = {"method": "opensim"} if asked.solver == "opensim" else {"posture": markers.posture}
    found = opensim_tools.inverse_kinematics(true_model, trial, weights, checked=False, **options).mot()
    truth = np.stack([np.interp(trial.times, times, values[:, i]) for i in free], 1)
    turns = np.array([not names[i].endswith(("_tx", "_ty", "_tz")) for i in free])
    return Mot(tuple(names[i] for i in free), trial.times, np.where(turns, np.degrees(truth), truth)), found, float(np.nanstd(trial.points))


def main() -> None:
    """All sets, the same persons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, choices=tuple(ANGLES), default=4)
    parser.add_argument("--subjects", type=int, default=3)
    parser.add_argument("--pixels", type=float, default=4.0, help="standard deviation of a detection, per axis")
    parser.add_argument("--placing", type=float, default=12.0, help="mm per axis, constant per person")
    parser.add_argument("--sparse", type=float, default=35.0, help="mm per axis more for sparse hips and shoulders")
    parser.add_argument("--rate", type=float, default=20.0, help="frames per second that are solved")
    parser.add_argument("--solver", choices=("ours", "opensim"), default="opensim", help="OpenSim's as published, or ours with its posture")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    motion, table, start = gait(), {}, time.perf_counter()
    for name in sets():
        pairs = [found_angles(name, np.random.default_rng((7, one)), motion, asked)[:2] for one in range(asked.subjects)]
        errors = angle_errors(pairs, "corrected")
        table[name] = dict(zip(DEGREES_OF_FREEDOM, errors.rmse_no_shift.tolist(), strict=True))
        print(f"{name} points: {time.perf_counter() - start:.0f} s", flush=True)
    print(f"\n{asked.cameras} cameras, {asked.subjects} persons, {asked.pixels:g} px, {asked.placing:g} mm, sparse {asked.sparse:g} mm")
    told = [degree for degree in DEGREES_OF_FREEDOM if all(np.isfinite(row[degree]) for row in table.values())]
    print(f"{'root mean square, degrees':26s}" + "".join(f"{name:>8s}" for name in table))
    for degree in told:
        print(f"{degree:26s}" + "".join(f"{row[degree]:8.1f}" for row in table.values()))
    means = {name: float(np.mean([row[degree] for degree in told])) for name, row in table.items()}
    print(f"{f'mean of {len(told)}':26s}" + "".join(f"{mean:8.1f}" for mean in means.values()))
    print(f"52 over 23: {means['52'] / means['23']:.2f}, over 17: {means['52'] / means['17']:.2f}")
    if asked.out:
        options = {key: value for key, value in vars(asked).items() if key != "out"}
        known = {name: {degree: row[degree] for degree in told} for name, row in table.items()}
        row = {"options": options, "mean": means, "rmse": known, "what": "simulated detections, no pictures"}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
