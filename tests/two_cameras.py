"""A red rectangle that walks before two cameras side by side: their films and calibration, for captures in space."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scenes import HEIGHT, WIDTH, boxes_at, film, picture
from vitruvian.formats.calibration import write_calibration
from vitruvian.geometry.camera import Camera

TIMES = np.arange(12) / 30
FOCAL, APART, DEPTH = 300.0, 2.0, 8.0
SHIFT = FOCAL * APART / DEPTH  # pixels between the two pictures of somebody at that depth


def pair() -> list[Camera]:
    """Two cameras side by side, the second one to the left: y is down in their world."""
    k = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
    return [Camera(k, size=(WIDTH, HEIGHT), name="left"), Camera(k, t_cam_world=[APART, 0, 0], size=(WIDTH, HEIGHT), name="right")]


def write_films(folder: Path) -> Path:
    """left.mp4 and right.mp4 of somebody who walks at a depth of 8 m, and calibration.toml; returns the folder."""
    boxes = [boxes_at(time)[:1] for time in TIMES]
    film(folder / "left.mp4", TIMES, [picture(box) for box in boxes])
    film(folder / "right.mp4", TIMES, [picture(box + [SHIFT, 0, SHIFT, 0]) for box in boxes])
    write_calibration(pair(), folder / "calibration.toml")
    return folder
