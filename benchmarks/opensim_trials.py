"""OpenSim through vitruvian, on the real material in ../shared/data/opensim: `python benchmarks/opensim_trials.py trials|walk|dense`.

trials: many copies of the real walking trial, one of them corrupt, in processes of their own: throughput, and memory over time.
walk: our scaling of the generic model and inverse kinematics of the real walk, beside the published coordinates, per joint.
dense: the benchmark's claim in small (card opencapbench.md, section 8a): angles of a model whose markers were moved by a constant and a
changing error, from 33 anatomical markers and from 18 joint centres, against the truth.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from vitruvian.formats.mot import read_mot
from vitruvian.formats.trc import Trc, read_trc, write_trc
from vitruvian.systems.biomechanics import opensim_tools
from vitruvian.systems.biomechanics.angle_errors import MIDDLE, SIDED
from vitruvian.systems.biomechanics.marker_sets import JOINT_CENTRES, PUBLISHED_SPARSE_WEIGHTS, SYNTHPOSE, reduced
from vitruvian.systems.biomechanics.opencapbench import VARIANTS, Trial, iterate_trials

DATA = Path(__file__).parents[2] / "shared" / "data" / "opensim"
ALIASES = {
    f"{side.upper()}.{theirs}": f"{side}{ours}"
    for side in "rl"
    for theirs, ours in (
        *(("Shoulder", "shoulder"), ("Elbow", "_lelbow"), ("Wrist", "_lwrist"), ("ASIS", "_ASIS"), ("PSIS", "_PSIS")),
        *(("Knee", "_knee"), ("Ankle", "_ankle"), ("Heel", "_calc"), ("MT5", "_5meta")),
    )
}
"""The walk's markers that are SynthPose's. Not the toes: they sit on the tip there, on the joint here."""


def trials(count: int, frames: int, workers: int) -> None:
    """Throughput and memory of `count` trials, the third of which is cut short."""
    walk = read_trc(DATA / "markers_walk.trc")
    there_and_back = np.concatenate([walk.points, walk.points[::-1]])[:frames]
    with tempfile.TemporaryDirectory() as folder:
        good, bad = Path(folder) / "good.trc", Path(folder) / "bad.trc"
        write_trc(Trc(walk.names, np.arange(len(there_and_back)) / 100, there_and_back, 100.0), good)
        bad.write_bytes(good.read_bytes()[:900])
        jobs = [
            Trial(f"walk-{i}", DATA / "subject_walk_scaled.osim", bad if i == 2 else good, weights=DATA / "ik_tasks_walk.xml")
            for i in range(count)
        ]
        start, memory, failed = time.perf_counter(), [], []
        for done, (_, result) in enumerate(iterate_trials(jobs, VARIANTS["corrected"], workers), start=1):
            pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            memory.append([sum(held(pid, what) for pid in pids) for what in ("VmRSS", "VmHWM")])
            what = result.error or f"{1000 * result.marker_rms:.1f} mm in {result.seconds:.1f} s"
            failed += [result.name] if result.error else []
            print(f"{done:4d} {result.name}: {what}", flush=True)
        seconds = time.perf_counter() - start
    finished = count - len(failed)
    print(f"{count} trials of {frames} frames on {workers} processes: {seconds:.0f} s, {finished * frames / seconds:.1f} frames/s")
    print(f"{finished} finished; reported: {', '.join(failed)}")
    for done in sorted({max(1, count // 4), max(1, count // 2), count}):
        now, peak = memory[done - 1]
        print(f"after {done:4d} trials all processes together hold {now:.0f} MiB, at their peaks {peak:.0f} MiB")


def held(pid: int | None, what: str) -> float:
    """MiB that a process holds ("VmRSS") or held at its peak ("VmHWM"); 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0.0


def walk(step: int) -> None:
    """Every `step`-th frame of the walk: marker errors, and angles beside the published coordinates."""
    trial = read_trc(DATA / "markers_walk.trc")
    kept = [name for name in trial.names if name in ALIASES]
    points = trial.points[:, [trial.names.index(name) for name in kept]]
    trial = Trc(tuple(ALIASES[name] for name in kept), trial.times, points, 100.0)
    markers = reduced(SYNTHPOSE, trial.names)
    generic = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim", markers)
    scaled = opensim_tools.scale_model(generic, trial, markers, 75.0, average="median", place=False)
    few = Trc(trial.names, trial.times[::step], points[::step], 100.0 / step)
    found = opensim_tools.inverse_kinematics(scaled, few, markers.weights)
    print(f"marker error, root mean square over {len(few.times)} frames: {1000 * np.sqrt(np.nanmean(found.errors**2)):.1f} mm")
    for name, rms in sorted(found.rms_by_marker.items(), key=lambda item: -item[1]):
        print(f"  {name:12s} {1000 * rms:5.1f} mm")
    published, ours = read_mot(DATA / "coordinates.sto"), found.mot()
    inside = (few.times >= published.times[0]) & (few.times <= published.times[-1])
    print("against the published coordinates, degrees:  root mean square   without the constant part")
    for label in published.labels:
        name = label.split("/")[-2]
        if name in ours.labels and not name.endswith(("_tx", "_ty", "_tz", "_beta")):
            truth = np.degrees(np.interp(few.times[inside], published.times, published.column(label)))
            away = ours.column(name)[inside] - truth
            print(f"  {name:20s} {np.sqrt((away**2).mean()):8.1f} {away.std():8.1f}")


def posed(names: tuple[str, ...], values: np.ndarray, model: object) -> dict[str, np.ndarray]:
    """Marker positions (f, 3) of the model in the poses (f, c), radians and metres."""
    state = model.initSystem()
    coordinates, markers = model.getCoordinateSet(), model.getMarkerSet()
    out: dict[str, list[np.ndarray]] = {}
    for row in values:
        for name, value in zip(names, row, strict=True):
            coordinates.get(name).setValue(state, float(value), False)
        model.assemble(state)
        model.realizePosition(state)
        for marker in (markers.get(i) for i in range(markers.getSize())):
            out.setdefault(marker.getName(), []).append(marker.getLocationInGround(state).to_numpy())
    return {name: np.array(places) for name, places in out.items()}


def dense(frames: int, seed: int, offset: float) -> None:
    """Errors of 12 mm (constant) and 8 mm (each frame) per axis on both marker sets; `offset` mm more on the sparse hips and shoulders."""
    random = np.random.default_rng(seed)
    model = opensim_tools.load_model(DATA / "LaiUhlrich2022.osim")
    free = [c for c in (*MIDDLE, *(f"{n}_{s}" for n in SIDED for s in "rl"), "arm_flex_r", "arm_flex_l", "elbow_flex_r", "elbow_flex_l")]
    size = {"knee": 0.5, "hip_flexion": 0.45, "arm": 0.5, "elbow": 0.5, "ankle": 0.25, "subtalar": 0.15}
    t = np.linspace(0, 2 * np.pi, frames, endpoint=False)
    sizes = [next((value for start, value in size.items() if name.startswith(start)), 0.2) for name in free]
    mean = [0.6 if name.startswith(("knee", "elbow")) else 0.1 if name.startswith("hip_flexion") else 0.0 for name in free]
    truth = np.array(mean) + np.array(sizes) * np.sin(t[:, None] + random.uniform(0, 6.28, len(free)))
    rows = {}
    for markers, weights in ((SYNTHPOSE, SYNTHPOSE.weights), (JOINT_CENTRES, PUBLISHED_SPARSE_WEIGHTS)):
        opensim_tools.place_markers(model, markers.places)
        exact = posed(tuple(free), truth, model)
        points = np.stack(list(exact.values()), 1)
        points = points + random.normal(0, 0.012, points.shape[1:]) + random.normal(0, 0.008, points.shape)
        if markers is JOINT_CENTRES and offset:
            moved = [i for i, name in enumerate(exact) if name.endswith(("hip", "shoulder"))]
            points[:, moved] += random.normal(0, offset / 1000, (len(moved), 3))
        trial = Trc(tuple(exact), np.arange(frames) / 100, points, 100.0)
        found = opensim_tools.inverse_kinematics(model, trial, weights, missing="ignore")
        errors = {n: np.sqrt(np.mean((found.values[:, found.names.index(n)] - truth[:, free.index(n)]) ** 2)) for n in free}
        rows[markers.name] = [errors[n] for n in MIDDLE] + [(errors[f"{n}_r"] + errors[f"{n}_l"]) / 2 for n in SIDED]
    print(f"{'root mean square, degrees':26s} dense  sparse")
    for name, a, b in zip((*MIDDLE, *SIDED), *rows.values(), strict=True):
        print(f"{name:26s} {np.degrees(a):5.1f} {np.degrees(b):7.1f}")
    a, b = (np.degrees(np.mean(values)) for values in rows.values())
    print(f"{'mean':26s} {a:5.1f} {b:7.1f}   ratio {a / b:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("trials", "walk", "dense"))
    parser.add_argument("--count", type=int, default=100, help="trials")
    parser.add_argument("--frames", type=int, default=None, help="per trial (240), or of the claim (40)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--step", type=int, default=4, help="walk: every n-th frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--offset", type=float, default=0.0, help="dense: mm of constant error more on the sparse hips and shoulders")
    asked = parser.parse_args()
    if asked.what == "trials":
        trials(asked.count, asked.frames or 240, asked.workers)
    elif asked.what == "walk":
        walk(asked.step)
    else:
        dense(asked.frames or 40, asked.seed, asked.offset)


if __name__ == "__main__":
    main()
