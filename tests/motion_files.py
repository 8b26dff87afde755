"""A folder of motion capture, made up: somebody who swings arms and legs, in a CMU-like rig in centimetres, as .bvh files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitruvian.body.pose import rotation_matrices
from vitruvian.formats.bvh import Bvh, write_bvh

NAMES = ("Hips", "LeftUpLeg", "LeftLeg", "LeftFoot", "RightUpLeg", "RightLeg", "RightFoot", "LowerBack", "Spine1", "Neck", "Head")
NAMES += ("LeftArm", "LeftForeArm", "LeftHand", "RightArm", "RightForeArm", "RightHand")
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
OFFSETS = np.array(
    [
        *((0, 0, 0), (10, -5, 0), (0, -40, 0), (0, -40, 0), (-10, -5, 0), (0, -40, 0), (0, -40, 0), (0, 10, 0), (0, 20, 0), (0, 25, 0)),
        *((0, 8, 0), (18, 20, 0), (0, -28, 0), (0, -25, 0), (-18, 20, 0), (0, -28, 0), (0, -25, 0)),
    ],
    float,
)


def swinging(frames: int = 40, rate: float = 60.0, phase: float = 0.0, unit: float = 1.0) -> Bvh:
    """A motion; unit: centimetres that one unit of the file is."""
    swing = np.sin(2 * np.pi * np.arange(frames) / rate + phase)
    vectors = np.zeros((frames, len(NAMES), 3))
    for name, reach in (("LeftUpLeg", 0.6), ("RightUpLeg", -0.6), ("LeftArm", -0.8), ("RightArm", 0.8), ("LeftForeArm", -0.5)):
        vectors[:, NAMES.index(name), 0] = reach * swing
    place = np.tile([0.0, 90, 0], (frames, 1)) / unit
    turns = rotation_matrices(vectors.reshape(-1, 3)).reshape(frames, len(NAMES), 3, 3)
    return Bvh(NAMES, PARENTS, OFFSETS / unit, turns, place, 1 / rate, ends=(10,), end_offsets=np.array([[0.0, 18, 0]]) / unit)


def motion_folder(folder: Path, count: int = 10) -> Path:
    """Motions of some phases, in two folders."""
    for number in range(count):
        place = folder / f"{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        write_bvh(swinging(phase=0.6 * number), place / f"swing{number:02d}.bvh")
    return folder
