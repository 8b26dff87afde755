"""People of 17 points who walk before several cameras: the truth in metres, y up, and what the cameras see of it."""

from __future__ import annotations

import numpy as np

from vitruvian.geometry.camera import Camera, looking_at, project_all
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

STANDING = np.array(
    [
        *((0, 1.62, 0.1), (0.03, 1.66, 0.08), (-0.03, 1.66, 0.08), (0.07, 1.63, 0), (-0.07, 1.63, 0)),
        *((0.18, 1.4, 0), (-0.18, 1.4, 0), (0.24, 1.12, 0), (-0.24, 1.12, 0), (0.26, 0.88, 0.05), (-0.26, 0.88, 0.05)),
        *((0.1, 0.92, 0), (-0.1, 0.92, 0), (0.11, 0.5, 0), (-0.11, 0.5, 0), (0.11, 0.08, -0.02), (-0.11, 0.08, -0.02)),
    ]
)  # COCO's order, metres, facing z


def walker(times: np.ndarray, start=(0.0, 0.0), speed=(0.0, 1.0), phase: float = 0.0, size: float = 1.0) -> np.ndarray:
    """(f, 17, 3): somebody who walks over the floor (x, z) with swinging arms and legs, bouncing a little."""
    heading = np.arctan2(*speed) if any(speed) else 0.0
    swing = np.sin(2 * np.pi * 0.9 * times + phase)
    bend = 0.15 * (1 + np.cos(2 * np.pi * 1.8 * times + 2 * phase))
    pose = np.tile(STANDING * size, (len(times), 1, 1))
    for side in (0, 1):  # left, right
        forward = swing * (1 if side == 0 else -1)
        limbs = (5, 7, -0.55 * forward), (7, 9, -0.7 * forward - bend), (11, 13, 0.36 * forward), (13, 15, 0.4 * forward + bend)
        for top, end, angle in limbs:
            bone = (STANDING[end + side] - STANDING[top + side]) * size
            down, ahead = bone[1] * np.cos(angle), bone[2] + bone[1] * np.sin(angle)
            pose[:, end + side] = pose[:, top + side] + np.stack([np.full_like(angle, bone[0]), down, ahead], 1)
    pose[..., 1] += 0.02 * np.sin(2 * np.pi * 1.8 * times + phase)[:, None]
    turn = np.array([[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]])
    place = np.stack([start[0] + speed[0] * times, np.zeros_like(times), start[1] + speed[1] * times], -1)
    return pose @ turn.T + place[:, None]


def room(count: int = 4, radius: float = 5.0, height: float = 2.2) -> list[Camera]:
    """Cameras around the middle of a room, looking at it."""
    angles = np.arange(count) * 2 * np.pi / count + 0.4
    places = [(radius * np.cos(a), height, radius * np.sin(a)) for a in angles]
    return [looking_at(place, (0, 0.9, 0), 1200, (1920, 1080), name=f"cam{i + 1}") for i, place in enumerate(places)]


def seen(cameras: list[Camera], points: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(c, ..., 2) pixels, with noise; NaN outside the pictures."""
    pixels = project_all(cameras, points)
    pixels += np.random.default_rng(seed).normal(0, noise, pixels.shape) if noise else 0
    inside = ((pixels >= 0) & (pixels < cameras[0].size)).all(-1)
    return np.where(inside[..., None], pixels, np.nan)


def take_of(pixels: np.ndarray, times: np.ndarray, size=(1920, 1080), seed: int = 0, confidence: float = 0.9) -> Take:
    """A camera's take of (p, f, 17, 2) pixels, people in random order in each frame, with the camera's own ids."""
    rng = np.random.default_rng(seed)
    rows = [(f, p) for f in range(len(times)) for p in rng.permutation(len(pixels)) if np.isfinite(pixels[p, f]).any()]
    frame, person = np.array(rows, int).reshape(-1, 2).T
    keypoints = pixels[person, frame]
    low, high = (np.nan_to_num(edge(keypoints, axis=1)) for edge in (np.nanmin, np.nanmax)) if len(rows) else np.zeros((2, 0, 2))
    own = rng.permutation(len(pixels)) + 1
    people = People(
        frame, own[person], np.concatenate([low, high], 1), np.full(len(rows), 0.8), keypoints, np.isfinite(keypoints).all(-1) * confidence
    )
    return Take(people, COCO_17, times, np.tile(size, (len(times), 1)), ("film.mp4",), "film.mp4")
