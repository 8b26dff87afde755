"""Synthetic walkers: stick people with swinging limbs, whose keypoints, boxes and identities are known at any time."""

from __future__ import annotations

import numpy as np

from vitruvian.take import People

# COCO-17 standing pose in body heights, y down from the head; x positive to the person's left.
STANDING = np.array(
    [(0, 0.06), (0.02, 0.04), (-0.02, 0.04), (0.04, 0.06), (-0.04, 0.06), (0.1, 0.18), (-0.1, 0.18), (0.12, 0.34), (-0.12, 0.34)]
    + [(0.13, 0.48), (-0.13, 0.48), (0.06, 0.5), (-0.06, 0.5), (0.06, 0.74), (-0.06, 0.74), (0.06, 0.96), (-0.06, 0.96)]
)
SWING = {7: 0.08, 8: -0.08, 9: 0.16, 10: -0.16, 13: -0.06, 14: 0.06, 15: -0.14, 16: 0.14}


def walker(time: float, start: float, speed: float, height: float = 300.0, top: float = 100.0, pace: float = 1.0) -> np.ndarray:
    """(17, 2) keypoints in pixels at `time` seconds: at x = start + speed * time, limbs swinging at `pace` hertz."""
    points = STANDING.copy()
    for joint, reach in SWING.items():
        points[joint, 0] += reach * np.sin(2 * np.pi * pace * time)
    return points * height + (start + speed * time, top)


def people_of(frame: int, poses: list[np.ndarray], scores: list[float] | None = None, noise: float = 0.0, seed: int = 0) -> People:
    """Rows of one frame for the given poses: boxes around the keypoints, confidence 0.9, Gaussian `noise` in pixels on both."""
    if not poses:
        return People.empty(17)
    random = np.random.default_rng((seed, frame))
    keypoints = np.stack(poses) + random.normal(0, noise, (len(poses), 17, 2))
    boxes = np.concatenate([keypoints.min(1) - 10, keypoints.max(1) + 10], axis=1)
    return People(
        frame=[frame] * len(poses),
        track=[-1] * len(poses),
        boxes=boxes,
        scores=[0.8] * len(poses) if scores is None else scores,
        keypoints=keypoints,
        confidence=np.full(keypoints.shape[:2], 0.9),
    )
