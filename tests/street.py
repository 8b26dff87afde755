"""People who walk about on a floor before one camera, as keypoint networks see them: known is how wide the camera sees."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from many_views import walker
from vitruvian.geometry.camera import Camera, looking_at, pinhole, project, to_camera
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

RATE, SIZE = 15.0, (1280, 720)


def camera(fov: float, tilt: float, height: float, roll: float = 0.0, size: tuple[int, int] = SIZE) -> Camera:
    """A camera `height` metres above the floor (y up) that looks along z and down by `tilt`; degrees."""
    ahead, r = (0.0, height - np.tan(np.radians(tilt)), 1.0), np.radians(roll)
    level = looking_at((0.0, height, 0.0), ahead, pinhole(size, fov)[0, 0], size)
    turn = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]) @ level.R_cam_world
    return Camera(level.intrinsics, turn, -turn @ level.centre_world, size=size)


def paths(rng: np.random.Generator, lens: Camera, seconds: float, depths: tuple[float, float]) -> np.ndarray:
    """(f, 2) places on the floor of somebody who walks between random points that the camera sees."""
    stops = []
    while len(stops) < 2 + seconds / 2:
        depth = rng.uniform(*depths)
        place = np.array([rng.uniform(-0.5, 0.5) * depth, 0, depth])
        seen = project(lens, place + np.array([[0, 0, 0], [0, 1.7, 0]]))
        if np.isfinite(seen).all() and (seen > 0).all() and (seen < lens.size).all():
            stops.append(place[[0, 2]])
        else:
            depths = (depths[0], depths[1] * 1.002)
    way = np.linalg.norm(np.diff(stops, axis=0), axis=1).cumsum()
    at = rng.uniform(0.9, 1.4) * np.arange(round(seconds * RATE)) / RATE
    line = np.stack([np.interp(at, np.r_[0, way], column) for column in np.array(stops).T], 1)
    return gaussian_filter1d(line, 0.4 * RATE, axis=0, mode="nearest")


def person(rng: np.random.Generator, path: np.ndarray) -> np.ndarray:
    """(f, 17, 3): somebody of a usual size who goes this way, leaning a little, and swaying."""
    times = np.arange(len(path)) / RATE
    pose = walker(times, phase=rng.uniform(0, 6), size=np.exp(rng.normal(0, 0.055)), speed=(0.0, 0.0))
    slow = gaussian_filter1d(rng.normal(0, 1, (len(times), 2)), 1.0 * RATE, axis=0, mode="nearest")
    slow /= max(slow.std(), 1e-9)
    lean = np.radians(rng.normal([2.0, 0.0], [2.0, 1.0]) + 0.8 * slow)  # forwards, sideways
    pose[..., 2] += np.tan(lean[:, :1]) * pose[..., 1]
    pose[..., 0] += np.tan(lean[:, 1:]) * pose[..., 1]
    speed = np.gradient(path, axis=0)
    heading = np.arctan2(speed[:, 0], speed[:, 1])
    c, s, zero = np.cos(heading), np.sin(heading), 0 * heading
    turn = np.stack([np.stack([c, zero, s], -1), np.stack([zero, zero + 1, zero], -1), np.stack([-s, zero, c], -1)], -2)
    return np.einsum("fij,fkj->fki", turn, pose) + np.stack([path[:, 0], zero, path[:, 1]], -1)[:, None]


def spoiled(rng: np.random.Generator, pixels: np.ndarray, noise: float) -> np.ndarray:
    """Keypoints (f, 17, 2) that tremble, slowly for half of it, and lie aside of the joints by half as much; shares of the height."""
    tall = np.ptp(pixels[..., 1], axis=1)[:, None, None]
    fast, slow = rng.normal(0, 1, (2, *pixels.shape))
    slow = gaussian_filter1d(slow, 0.5 * RATE, axis=0, mode="nearest")
    aside = rng.normal(0, 0.5, (1, *pixels.shape[1:]))
    return pixels + noise * tall * (0.7 * fast + 0.7 * slow / max(slow.std(), 1e-9) + aside)


def swaying(rng: np.random.Generator, frames: int, degrees: float) -> np.ndarray:
    """(f, 3, 3) turns of a camera in the hand: up and down, five times that aside, half of it about its axis."""
    slow = gaussian_filter1d(rng.normal(0, 1, (frames, 3)), RATE, axis=0, mode="nearest")
    turns = slow / np.maximum(slow.std(0), 1e-9) * np.radians(degrees) * [1, 5, 0.5]
    return Rotation.from_euler("xyz", turns).as_matrix()


def street(
    seed: int,
    fov: float,
    tilt: float,
    height: float,
    people: int = 3,
    seconds: float = 10.0,
    noise: float = 0.02,
    roll: float = 0.0,
    depths: tuple[float, float] = (3.0, 9.0),
    size: tuple[int, int] = SIZE,
    sway: float = 0.0,
) -> Take:
    """What a capture of them finds: tracks of COCO's 17, NaN and no confidence outside the picture. Metres, degrees, shares of height."""
    rng, lens = np.random.default_rng(seed), camera(fov, tilt, height, roll, size)
    turns = swaying(np.random.default_rng(seed + 1), round(seconds * RATE), sway)
    rows = []
    for track in range(people):
        walk = to_camera(lens, person(rng, paths(rng, lens, seconds, depths))) @ turns.swapaxes(1, 2)
        points = spoiled(rng, project(Camera(lens.intrinsics), walk), noise)
        inside = ((points >= 0) & (points < size)).all(-1)
        rows += [(f, track + 1, points[f], inside[f]) for f in np.flatnonzero(inside.sum(1) > 8)]
    return take_of(rows, round(seconds * RATE), size)


def take_of(rows: list[tuple], frames: int, size: tuple[int, int] = SIZE) -> Take:
    """A take of (frame, track, keypoints, which are seen)."""
    points = np.array([row[2] for row in rows]).reshape(-1, 17, 2)
    seen = np.array([row[3] for row in rows], bool).reshape(-1, 17)
    boxes = np.concatenate([points.min(1), points.max(1)], 1) if len(rows) else np.zeros((0, 4))
    frame, track = ([row[k] for row in rows] for k in (0, 1))
    found = People(frame, track, boxes, np.full(len(rows), 0.9), np.where(seen[..., None], points, np.nan), 0.9 * seen)
    return Take(found, COCO_17, np.arange(frames) / RATE, np.tile(size, (frames, 1)), ("street.mp4",), "street.mp4")
