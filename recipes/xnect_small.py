"""XNect's claims in small: what visibility and 3D codes give stage II when joints are hidden, and what stage III makes of jittery points.

    OMP_NUM_THREADS=1 nice -n 10 python recipes/xnect_small.py [--steps 600] [--seeds 3] [--motion ../shared/data/motion]

Lifting (card xnect.md section 8a): people in random postures, of several builds, seen from everywhere; whole limbs and single joints are
hidden, keypoints are off by 2 pixels, codes by a fifth of their bone. The same network learns from keypoints alone, with their
visibility, and with the codes too. Fitting (8c): smooth random motion of unseen people through the third network, its answers shaken by
30 mm, then tracked and fitted. Real motion, where BVH files of CMU's are found: the true points, shaken, fitted; so bones and joints are
not quite the skeleton's own there. The frames in which bones are measured don't count.

Seen (three seeds, 600 steps): MPJPE 278.5, 279.4 and 145.7 mm, of hidden joints 389.6, 389.0 and 217.8 mm. So visibility alone gives
nothing here (a hidden joint's zeros already say it), and codes take 48 % away. Stage III: acceleration error cut 3.5 times, MPJPE -24 %; on
four motions of CMU's 5.0 times and -15 %; bones' spread below 1e-13. Filter and smoothness were chosen on parts of one of the three and
two of the four films.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vitruvian.body.lbs import rotation_matrices
from vitruvian.codecs.part_affinity import Parts, bones, codes_at_joints, features
from vitruvian.formats.bvh import end_positions, forward_kinematics, read_bvh
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.pose3d.xnect import CODE_BONES, TREE, VARIANTS, StageTwo, stage_two_loss
from vitruvian.systems.pose3d.xnect_fit import Camera, Evidence, Weights, fit_people, past_of
from vitruvian.systems.pose3d.xnect_skeleton import ANGLES, MEAN_LENGTHS, PELVIS, Posture, bone_lengths, joints, rest_bones, rough_posture
from vitruvian.systems.pose3d.xnect_track import MEASURED_FRAMES, Tracker

CAMERA = Camera(600.0, (255.5, 159.5))
POOL, TEST, BATCH = 10_000, 1_000, 128
PIXELS, CODE_NOISE, JITTER = 2.0, 0.2, 0.03
LIMBS = [
    [XNECT_14.index(f"{side}_{part}") for part in parts] for side in ("left", "right") for parts in (("elbow", "wrist"), ("knee", "ankle"))
]
INPUTS = ("keypoints", "keypoints, visibility", "keypoints, visibility, codes")
RATE = 30.0
CMU_UNIT = 0.0254 / 0.45  # metres
# Names of both dialects of the converted files: in the one "Shoulder" is a shoulder, in the other a collar.
_SIDES = {
    "LeftHip": {"shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist", "hip": "Hip", "knee": "Knee", "ankle": "Ankle", "foot": "Toe"},
    "LeftUpLeg": {
        **{"shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hand": "FingerBase"},
        **{"hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase"},
    },
}
_MIDDLE = {
    "LeftHip": {"pelvis": "Hips", "spine": "Chest", "neck": "Neck", "head": "Head", "left_hand": "lhand", "right_hand": "rhand"},
    "LeftUpLeg": {"pelvis": "Hips", "spine": "Spine", "neck": "Neck1", "head": "Head"},
}


def cmu_name(joint: str, names: tuple[str, ...]) -> str:
    """What a file with these names calls one of our joints."""
    dialect = next(mark for mark in _SIDES if mark in names)
    side, _, part = joint.partition("_")
    return _MIDDLE[dialect].get(joint) or f"{side.title()}{_SIDES[dialect][part]}"


def builds(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 21, 3) bones at rest of people of the reference height: each kind of bone up to a tenth longer or shorter."""
    factor = 1 + 0.05 * rng.standard_normal((count, 21)).clip(-2, 2)
    return rest_bones(MEAN_LENGTHS * (factor + factor[:, list(XNECT_21.swap)]) / 2)


def random_people(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 21, 3) joints in the camera's frame."""
    rest = np.clip(0, ANGLES.low + 0.3, ANGLES.high - 0.3)
    angles = np.clip(rest + 0.3 * (ANGLES.high - ANGLES.low) * rng.standard_normal((count, len(ANGLES))), ANGLES.low, ANGLES.high)
    turn = np.stack([0.2 * rng.standard_normal(count), rng.uniform(-np.pi, np.pi, count), 0.1 * rng.standard_normal(count)], 1)
    place = np.stack([rng.uniform(-1, 1, count), rng.uniform(-0.3, 0.3, count), rng.uniform(3, 6, count)], 1)
    return joints(Posture(place, rotation_matrices(turn), angles), builds(rng, count))


def hide(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 14) which joints are seen: a limb is hidden at 3 in 10, a single joint at 1 in 10."""
    seen = rng.random((count, len(XNECT_14))) > 0.1
    for limb in LIMBS:
        seen[np.ix_(np.flatnonzero(rng.random(count) < 0.3), limb)] = False
    return seen


def detect(rng: np.random.Generator, points: np.ndarray, seen: np.ndarray) -> Parts:
    """What stage I would say of people."""
    offsets = bones(points, CODE_BONES)
    length = np.linalg.norm(offsets, axis=-1, keepdims=True)
    offsets = offsets + CODE_NOISE * length / np.sqrt(3) * rng.standard_normal(offsets.shape)
    keypoints = CAMERA.project(points[:, :14]) + PIXELS * rng.standard_normal((len(points), 14, 2))
    return Parts(keypoints.astype(np.float32), seen.astype(np.float32), codes_at_joints(TREE, offsets, seen))


def inputs(parts: Parts, kind: str) -> torch.Tensor:
    """Features of people with what a variant may not see set to 0."""
    table = features(parts, TREE.anchor).reshape(len(parts), len(XNECT_14), -1).copy()
    table[..., 2 if kind == INPUTS[0] else 3 if kind == INPUTS[1] else table.shape[-1] :] = 0
    return torch.from_numpy(table.reshape(len(parts), -1))


def around(points: np.ndarray) -> np.ndarray:
    return points - points[..., PELVIS, None, :]


def train(kind: str, seed: int, steps: int) -> tuple[StageTwo, float, float]:
    """A stage II that sees `kind`; its errors on unseen people, mm: of all joints, and of the hidden ones."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    pool = random_people(rng, POOL)
    model = StageTwo(replace(VARIANTS["60"], stage_two=256, blocks=1))
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        points = pool[rng.integers(0, POOL, BATCH)]
        x = inputs(detect(rng, points, hide(rng, BATCH)), kind)
        loss = stage_two_loss(model(x), torch.from_numpy(around(points).astype(np.float32)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    rng = np.random.default_rng(10_000)
    points, seen = random_people(rng, TEST), hide(rng, TEST)
    with torch.inference_mode():
        found = model.eval()(inputs(detect(rng, points, seen), kind)).numpy()
    off = 1000 * np.linalg.norm(found - around(points), axis=-1)
    return model, float(off.mean()), float(off[:, :14][~seen].mean())


@dataclass(frozen=True)
class Sequence:
    """One person's film: true joints in the camera's frame (f, 21, 3), stage II's shaken answers, detections."""

    truth: np.ndarray
    answers: np.ndarray
    parts: Parts


def smooth_person(rng: np.random.Generator, frames: int) -> np.ndarray:
    """(frames, 21, 3): every angle swings slowly by two sines, the person turns and walks a little."""
    t = np.arange(frames) / RATE
    rest = np.clip(0, ANGLES.low + 0.3, ANGLES.high - 0.3)
    waves = sum(
        0.1 * (ANGLES.high - ANGLES.low) * np.sin(2 * np.pi * rng.uniform(0.1, 0.7, 23) * t[:, None] + rng.uniform(0, 6.3, 23))
        for _ in range(2)
    )
    turn = rotation_matrices(np.stack([0.1 * np.sin(t), rng.uniform(-3, 3) + 0.5 * t, 0 * t], 1))
    place = np.stack([0.4 * np.sin(0.7 * t), 0.05 * np.sin(3 * t), 4 + 0.6 * np.sin(0.5 * t)], 1)
    bones = np.repeat(builds(rng, 1), frames, 0)
    return joints(Posture(place, turn, np.clip(rest + waves, ANGLES.low, ANGLES.high)), bones)


def shaken(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Points around the pelvis with white noise, the pelvis itself without."""
    moving = (np.arange(21) != PELVIS)[:, None]
    return points + JITTER / np.sqrt(3) * rng.standard_normal(points.shape) * moving


def film(rng: np.random.Generator, model: StageTwo, frames: int) -> Sequence:
    """A smooth person, of whom a limb is hidden for a second now and then, through stage II."""
    truth = smooth_person(rng, frames)
    seen = np.ones((frames, 14), bool)
    for start in range(20, frames, 60):
        seen[start : start + 30, LIMBS[rng.integers(len(LIMBS))]] = False
    parts = detect(rng, truth, seen)
    with torch.inference_mode():
        answers = model(inputs(parts, INPUTS[2])).numpy()
    return Sequence(truth, shaken(rng, answers), parts)


def cmu_film(rng: np.random.Generator, path: Path, frames: int) -> Sequence:
    """A motion of CMU's: true points, shaken; everything is seen."""
    motion = read_bvh(path)
    places, ends = forward_kinematics(motion)[0], end_positions(motion)
    step = max(round(1 / RATE / motion.frame_time), 1)
    head = motion.names.index("Head")
    rows = [
        ends[:, motion.ends.index(head)] if name == "head_top" else places[:, motion.names.index(cmu_name(name, motion.names))]
        for name in XNECT_21.names
    ]
    points = np.stack(rows, 1)[::step][:frames] * CMU_UNIT * (1, -1, -1)
    middle = points[:, PELVIS].mean(0)
    truth = points - middle + (0, 0, 5)
    return Sequence(truth, shaken(rng, around(truth)), detect(rng, truth, np.ones((len(truth), 14), bool)))


def fit(sequence: Sequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints around the pelvis and angles of stage III, and the angles of a fit of every frame by itself."""
    tracker, found, angles = Tracker(CAMERA), [], []
    for f in range(len(sequence.truth)):
        one = Parts(sequence.parts.keypoints[[f]], sequence.parts.scores[[f]], sequence.parts.codes[[f]])
        people = tracker.update(f / RATE, one, sequence.answers[[f]])
        found.append(people.points[0])
        angles.append(people.angles[0])
    n = len(sequence.truth)
    evidence = Evidence(sequence.answers.astype(float), sequence.parts.keypoints.astype(float), sequence.parts.scores.astype(float))
    start = rough_posture(evidence.points)
    start = Posture(sequence.truth[:, PELVIS], start.turn, start.angles)
    past = past_of(start, start, np.zeros((n, 2)), 0.0, np.zeros(n, bool), np.zeros(n, bool))
    alone = fit_people(evidence, np.repeat(people.bones, n, 0), CAMERA, start, past, Weights(smooth=0, depth=0), 40)[0].angles
    return around(np.array(found)), np.array(angles), alone


def judge(sequence: Sequence) -> dict[str, float]:
    """Figures of one film: before (shaken answers) and after stage III. mm, mm per frame^2, degrees."""
    found, angles, alone = (x[MEASURED_FRAMES:] for x in fit(sequence))
    truth, answers = around(sequence.truth)[MEASURED_FRAMES:], around(sequence.answers)[MEASURED_FRAMES:]

    def off(x: np.ndarray) -> float:
        return 1000 * float(np.linalg.norm(x - truth, axis=-1).mean())

    def shake(x: np.ndarray) -> float:
        return 1000 * float(np.linalg.norm(np.diff(x - truth, 2, axis=0), axis=-1).mean())

    def restless(x: np.ndarray) -> float:
        return float(np.degrees(np.abs(np.diff(x, 2, axis=0)).mean()))

    def spread(x: np.ndarray) -> float:
        lengths = np.delete(bone_lengths(x, symmetric=False), PELVIS, 1)
        return float((lengths.std(0) / lengths.mean(0)).max())

    beyond = np.abs(angles - np.clip(angles, ANGLES.low, ANGLES.high))
    return {
        "MPJPE before": off(answers), "MPJPE after": off(found),
        "acceleration error before": shake(answers), "acceleration error after": shake(found),
        "bone spread before": spread(answers), "bone spread after": spread(found),
        "angle acceleration, each frame by itself": restless(alone), "angle acceleration, stage III": restless(angles),
        "beyond the limits, mean": float(np.degrees(beyond).mean()),
    }  # fmt: skip


def report(title: str, rows: list[dict[str, float]]) -> None:
    """Mean and standard deviation of every figure."""
    print(f"\n{title} ({len(rows)} films; lengths in mm, accelerations per frame^2, angles in degrees)")
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        print(f"  {name:<42}{values.mean():>12.4g} +- {values.std(ddof=min(len(values) - 1, 1)):.2g}")
    cut = np.mean([row["acceleration error before"] / row["acceleration error after"] for row in rows])
    worse = np.mean([row["MPJPE after"] / row["MPJPE before"] - 1 for row in rows])
    print(f"  acceleration error cut {cut:.1f} times (wanted: 3); MPJPE {100 * worse:+.1f} % (wanted: at most +5 %)", flush=True)


def main() -> None:
    """Train, fit, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--motion", type=Path, default=Path("../shared/data/motion"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'stage II sees':<32}{'MPJPE mm, mean +- sd':>24}{'hidden joints':>18}{'CPU s':>8}")
    models, errors = [], {}
    for kind in INPUTS:
        start = time.process_time()
        runs = [train(kind, seed, options.steps) for seed in range(options.seeds)]
        models = [model for model, _, _ in runs]
        every, hidden = np.array([run[1] for run in runs]), np.array([run[2] for run in runs])
        errors[kind] = every.mean()
        sd = {"ddof": min(options.seeds - 1, 1)}
        both = f"{every.mean():>15.1f} +- {every.std(**sd):<5.1f}{hidden.mean():>10.1f} +- {hidden.std(**sd):.1f}"
        print(f"{kind:<32}{both:<42}{time.process_time() - start:>8.0f}", flush=True)
    print(
        f"codes remove {100 * (1 - errors[INPUTS[2]] / errors[INPUTS[0]]):.0f} % of the error of keypoints alone (wanted: 30 %)", flush=True
    )
    films = [film(np.random.default_rng(seed), model, options.frames) for seed, model in enumerate(models)]
    report("stage III on smooth random motion", [judge(one) for one in films])
    paths = sorted(options.motion.glob("cmu*.bvh"))
    if paths:
        real = [cmu_film(np.random.default_rng(i), path, options.frames) for i, path in enumerate(paths)]
        report("stage III on motions of CMU's, true points shaken", [judge(one) for one in real])


if __name__ == "__main__":
    main()
