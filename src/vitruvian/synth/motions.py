"""Random motions of random people as numbers: joint turns, shapes and the 133 points in metres, for networks that never see pictures.

A motion goes through a few random poses (`poses.sample_poses`), resting at some, or walks. Between two poses every joint turns along the
shortest way with the minimum-jerk profile of reaching movements (Flash and Hogan, J. Neurosci. 1985). Rules and numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.body.anny import TO_Y_UP, build_package
from vitruvian.body.compact import JOINT_BONES, load_compact, shape_from_phenotype
from vitruvian.body.fit import SHAPES
from vitruvian.body.fitting.moments import joint_frames, point_moments, pose_points
from vitruvian.body.regressors import point_regressor
from vitruvian.synth.motion import part_way
from vitruvian.synth.poses import Rig, sample_poses, walking_poses

RATE = 30.0
"""Frames per second of the motions."""

_WALKS = 0.15  # share of motions that walk
_PAUSES = 0.3  # share of ways between poses that are stood still instead
_WAY = (0.25, 1.6)  # seconds from pose to pose


@dataclass(frozen=True, eq=False)
class Motions:
    """N motions of T frames. The pelvis is the origin, y is up, the person faces +z at rest.

    turns: local rotation matrices of the compact body's joints. shape: its first coefficients, one row per motion. points: the 133.
    """

    turns: Float[np.ndarray, "n t 69 3 3"]
    shape: Float[np.ndarray, "n s"]
    points: Float[np.ndarray, "n t 133 3"]


def load_rig() -> Rig:
    """What the pose rules must know of Anny's skeleton. Raises MissingExtraError without the package."""
    package = build_package()
    return Rig(tuple(package.bone_labels), package()["bone_poses"][0, :, :3, 3].numpy().astype(float))


def compact_turns(rig: Rig, poses: Float[np.ndarray, "n k 4 4"]) -> Float[np.ndarray, "n 69 3 3"]:
    """Anny's `local-ref` pose parameters -> local rotation matrices of the compact body's joints.

    Turns of bones that the compact body merged into their parents are left out; the two rest poses differ by 6 degrees at most (collar
    bones), which stays in: both are poses of people. The jaw's turn is the identity.
    """
    bones = [rig.names.index(bone) if bone != "jaw" else -1 for _, bone in JOINT_BONES.values()]
    turns = np.where(np.array(bones)[:, None, None] >= 0, poses[:, bones, :3, :3], np.eye(3))
    return TO_Y_UP @ turns @ TO_Y_UP.T


def sample_motions(rng: np.random.Generator, rig: Rig, count: int, frames: int) -> Motions:
    """Draw `count` motions of `frames` frames at RATE, each of another person."""
    turns = np.stack([_walk(rng, rig, frames) if rng.random() < _WALKS else _between_poses(rng, rig, frames) for _ in range(count)])
    shape = np.stack([_person(rng) for _ in range(count)])
    model = load_compact()
    moments = point_moments(model, point_regressor(model, "coco-wholebody-133"), SHAPES)
    flat = turns.reshape(count * frames, *turns.shape[2:]).astype(np.float32)
    bodies = joint_frames(model.parents, flat[:, 0], _vectors(flat))
    still = np.zeros((len(flat), 3), np.float32)
    expressions = np.zeros((len(flat), 0), np.float32)
    points = pose_points(moments, bodies, np.repeat(shape, frames, axis=0), still, expressions)[0]
    return Motions(turns.astype(np.float32), shape, points.reshape(count, frames, *points.shape[1:]))


def _person(rng: np.random.Generator) -> Float[np.ndarray, " s"]:
    """Shape of somebody: adults mostly, all ages, average to extreme builds."""
    age = rng.uniform(0.25, 0.6) if rng.random() < 0.15 else rng.uniform(0.55, 1.0)
    build = {name: float(np.clip(rng.normal(0.5, 0.22), 0, 1)) for name in ("muscle", "weight", "height", "proportions")}
    return shape_from_phenotype(gender=float(rng.random()), age=age, **build)[:SHAPES]


def _walk(rng: np.random.Generator, rig: Rig, frames: int) -> Float[np.ndarray, "t 69 3 3"]:
    phase = rng.random() + rng.uniform(0.6, 1.3) * np.arange(frames) / RATE
    return compact_turns(rig, walking_poses(rig, phase, np.full(frames, max(0.0, rng.normal(-0.2, 0.4)))))


def _between_poses(rng: np.random.Generator, rig: Rig, frames: int) -> Float[np.ndarray, "t 69 3 3"]:
    """Through random poses, along the shortest turns."""
    times, ways = [-rng.uniform(0, _WAY[1])], []
    while times[-1] < frames / RATE:
        times.append(times[-1] + rng.uniform(*_WAY))
        ways.append(rng.random() > _PAUSES)
    order = np.concatenate([[0], np.cumsum(ways)])
    poses = compact_turns(rig, sample_poses(rng, rig, order[-1] + 1))[order]
    now = np.arange(frames) / RATE
    way = np.clip(np.searchsorted(times, now, side="right") - 1, 0, len(ways) - 1)
    start, end = np.array(times)[way], np.array(times)[way + 1]
    u = np.clip((now - start) / (end - start), 0, 1)
    done = u**3 * (10 - 15 * u + 6 * u * u)
    return part_way(poses[way], poses[way + 1], done)


def _vectors(turns: Float[np.ndarray, "n j 3 3"]) -> Float[np.ndarray, "n j 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(*turns.shape[:2], 3).astype(np.float32)
