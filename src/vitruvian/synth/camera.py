"""Cameras that look at synthetic people: from telephoto to arm's length, level or not, with the person anywhere in the view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.synth.poses import DEGREE, rotation

WORLD_TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up, seen from -y
NEAREST = 0.05  # metres; what is nearer to the eye or behind it is not drawn (render.raster), and no keypoint there is in the picture
CLOSE = 0.08  # share of cameras at arm's length
CLOSE_AT = {"head": 0.5, "hand": 0.35, "chest": 0.15}


@dataclass(frozen=True)
class View:
    """A camera before a person: `turn` rotates world to camera axes; `centre` (world, metres) lies on its axis, `distance` metres away.

    `bend` is the first radial coefficient of the lens: a point at radius r from the axis is seen at r (1 + bend r^2).
    """

    turn: Float[np.ndarray, "3 3"]
    centre: Float[np.ndarray, " 3"]
    distance: float
    bend: float = 0.0

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera's frame (x right, y down, z forward), metres."""
        kind = np.asarray(points).dtype
        eye = self.centre - self.distance * self.turn[2]
        return (points - eye.astype(kind)) @ self.turn.T.astype(kind)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) -> normalised image coordinates (..., 2) and depth (...) in metres.

        Points with less depth than NEAREST, as those behind the eye, have no image: they are put where they would be at that depth.
        """
        camera = self.to_camera(points)
        depth = camera[..., 2]
        image = camera[..., :2] / np.maximum(depth, camera.dtype.type(NEAREST))[..., None]
        if self.bend:
            square = np.clip((image**2).sum(-1, keepdims=True), 0, 1 / (3.2 * abs(self.bend)))  # beyond it the lens would fold back
            image = image * (1 + self.bend * square)
        return image, depth


def sample_view(rng: np.random.Generator, centre: np.ndarray, height: float, varied: bool = True) -> View:
    """Draw a camera around a person of `height` metres: mostly level and at eye to hip height, in front of or beside them.

    Now and then from far above or below, rolled, behind, or near; near ones see the person off their axis, as wide lenses do. Those at
    arm's length are `sample_close_view`'s.
    `varied=False`: far, level, centred ones alone.
    """
    heading = rng.choice(
        [rng.normal(0, 0.45), rng.choice([-1, 1]) * rng.uniform(0.8, 2.0), rng.uniform(-np.pi, np.pi)], p=[0.42, 0.32, 0.26]
    )
    pitch = rng.choice([rng.normal(4, 8), rng.uniform(15, 55), rng.uniform(-35, -10)], p=[0.8, 0.14, 0.06]) * DEGREE
    roll = rng.choice([rng.normal(0, 5), rng.uniform(-90, 90), rng.choice([-1, 1]) * 90 + rng.normal(0, 8)], p=[0.93, 0.04, 0.03]) * DEGREE
    distance = height * rng.choice([rng.uniform(0.75, 2.0), rng.uniform(2.0, 6), rng.uniform(6, 30)], p=[0.25, 0.5, 0.25])
    bend = rng.uniform(-0.25, 0.05) if rng.random() < 0.35 else 0.0
    aside = rng.normal(0, [0.22, 0.14])
    if not varied:
        pitch, roll, distance, bend, aside = 4 * DEGREE, 0.0, 8 * height, 0.0, np.zeros(2)
    return _looking(centre, heading, pitch, roll, distance, aside, bend)


def _looking(centre: np.ndarray, heading: float, pitch: float, roll: float, distance: float, aside: np.ndarray, bend: float) -> View:
    """A camera `distance` before `centre`, turned away from it by `aside` (to the side, up); angles in radians, 0 in front and level."""
    x, y, z = np.eye(3)
    turn = rotation(z, roll)[0] @ rotation(x, pitch)[0] @ rotation(y, heading)[0] @ WORLD_TO_CAMERA
    eye = centre - distance * turn[2]
    turn = rotation(y, aside[0])[0] @ rotation(x, aside[1])[0] @ turn
    return View(turn, eye + distance * turn[2], float(distance), float(bend))


def sample_close_view(rng: np.random.Generator, body: Float[np.ndarray, "v 3"], joints: Float[np.ndarray, "133 3"]) -> View | None:
    """Draw a camera 0.3 to 1 m from a person's head, hand or chest, aimed there; None where it would stand in the body.

    body: points of the skin, joints: the 133 keypoints; world, metres. Heads and chests are mostly seen from the front, hands from all
    sides and from above, as their owner sees them.
    """
    at = rng.choice(list(CLOSE_AT), p=list(CLOSE_AT.values()))
    if at == "head":
        centre = joints[3:5].mean(0)
    elif at == "chest":
        centre = 0.7 * joints[5:7].mean(0) + 0.3 * joints[11:13].mean(0)
    else:
        centre = joints[91:112].mean(0) if rng.random() < 0.5 else joints[112:133].mean(0)
    heading = rng.uniform(-np.pi, np.pi) if rng.random() < (0.6 if at == "hand" else 0.15) else rng.normal(0, 0.5)
    pitch = (rng.uniform(-20, 70) if at == "hand" else rng.normal(3, 14)) * DEGREE
    bend = rng.uniform(-0.12, 0.02) if rng.random() < 0.35 else 0.0
    view = _looking(centre, heading, pitch, rng.normal(0, 8) * DEGREE, rng.uniform(0.3, 1.0), rng.normal(0, 0.1, 2), bend)
    eye = view.centre - view.distance * view.turn[2]
    return view if np.linalg.norm(body - eye, axis=1).min() > 2 * NEAREST else None


FRAMINGS = {"whole": 0.60, "waist": 0.20, "bust": 0.12, "part": 0.08}


def frame(rng: np.random.Generator, image: np.ndarray, keypoints: np.ndarray, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Pixels per unit and offset that put the whole person, or an upper part, into a picture of `size` (width, height)."""
    framing = rng.choice(list(FRAMINGS), p=list(FRAMINGS.values()))
    if framing == "whole":
        chosen = image
    else:
        span = {"waist": list(range(0, 13)), "bust": list(range(0, 7)), "part": [int(rng.integers(0, 17)), 0, 5, 6]}[framing]
        chosen = keypoints[span]
    low, high = chosen.min(0), chosen.max(0)
    if framing != "whole":
        grow = 0.35 * (high - low).max() + 1e-3
        low, high = low - grow * np.array([0.6, 0.7]), high + grow * np.array([0.6, 0.3])
    extent = (high - low) * 1.25
    scale = min(size[0] / extent[0], size[1] / extent[1]) * (rng.uniform(0.8, 1.0) if framing == "whole" else 1.0)
    return float(scale), np.array(size) / 2 - scale * (low + high) / 2


def frame_close(rng: np.random.Generator, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Pixels per unit and offset for a camera at arm's length: an angle of view of 50 to 95 degrees over the longer side, and its axis."""
    angle = rng.uniform(50, 95) * DEGREE
    return float(max(size) / 2 / np.tan(angle / 2)), np.array(size) / 2
