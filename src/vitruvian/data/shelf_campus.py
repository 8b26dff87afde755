"""Shelf and Campus (Belagiannis et al., CVPR 2014): four and three people before five and three cameras, 14 joints, PCP by actor.

Layout as VoxelPose distributes it [mem; card selfpose3d.md]: actorsGT.mat with `actor3D`, actor by actor and frame by frame (14, 3) metres,
empty where the actor is away; calibration_{shelf,campus}.json with R, T, fx, fy, cx, cy, k, p by camera, T being the camera's place in
millimetres; pictures Camera0/*.png. Only the test frames are scored, and published averages are of the first three actors
(`metrics.poses3d.pcp3d_of_actors`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian.data.films3d import MAX_PEOPLE, Film3D, Set3D, checked_points, damaged
from vitruvian.data.layout import find, read_mat
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.calibration_raw import MAX_BYTES, MAX_CAMERAS
from vitruvian.geometry.camera import Camera
from vitruvian.skeletons import SHELF_14

LAYOUT = "actorsGT.mat, calibration_{shelf,campus}.json, Camera0/*.png"
TERMS = "research: https://campar.in.tum.de/Chair/MultiHumanPose"
TEST = {"shelf": (range(300, 601),), "campus": (range(350, 471), range(650, 751))}
"""The frames that count."""
SIZES = {"shelf": (1032, 776), "campus": (360, 288)}
RATE = 25.0


def shelf(folder: str | Path, split: Literal["test", "all"] = "test") -> Set3D:
    """Shelf, one film; "test": only its frames that count. Raises FormatError where files are missing or damaged."""
    return _set("shelf", folder, split)


def campus(folder: str | Path, split: Literal["test", "all"] = "test") -> Set3D:
    """Campus, as `shelf`."""
    return _set("campus", folder, split)


def read_cameras(path: str | Path, size: tuple[int, int] = (0, 0)) -> tuple[Camera, ...]:
    """The cameras of a calibration_*.json of VoxelPose's: R (3, 3), T the camera's place in millimetres. Raises FormatError."""
    with damaged(path):
        table = read_json(path, MAX_BYTES)
        if len(table) > MAX_CAMERAS:
            raise ValueError(f"{len(table)} cameras")
        try:
            return tuple(_camera(name, entry, size) for name, entry in table.items())
        except VitruvianError as error:
            raise FormatError(f"{path}: {error}") from error


def _camera(name: str, entry: dict, size: tuple[int, int]) -> Camera:
    turn = np.asarray(entry["R"], np.float64).reshape(3, 3)
    place = np.asarray(entry["T"], np.float64).reshape(3) * 1e-3
    fx, fy, cx, cy = (float(np.asarray(entry[key], np.float64).reshape(-1)[0]) for key in ("fx", "fy", "cx", "cy"))
    k, p = np.asarray(entry["k"], np.float64).reshape(-1), np.asarray(entry["p"], np.float64).reshape(-1)
    lens = np.array([k[0], k[1], p[0], p[1], k[2] if len(k) > 2 else 0.0])
    return Camera([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], turn, -turn @ place, lens if lens.any() else np.zeros(0), size, f"Camera{name}")


def _set(name: str, folder: str | Path, split: str) -> Set3D:
    actors = find(folder, name, LAYOUT, "actorsGT.mat")
    calibration = find(folder, name, LAYOUT, f"calibration_{name}.json")
    return Set3D(name, SHELF_14, TERMS, lambda: _read(name, actors, calibration, split))


def _read(name: str, actors: Path, calibration: Path, split: str) -> Iterator[Film3D]:
    cameras = read_cameras(calibration, SIZES[name])
    table = read_mat(actors, "actor3D")["actor3D"]
    with damaged(actors):
        table = np.asarray(table.item() if table.size == 1 else table, object)
        if len(table) > MAX_PEOPLE:
            raise ValueError(f"{len(table)} actors")
        people = [np.atleast_1d(actor) for actor in table]
        points = np.full((len(people[0]), len(people), 14, 3), np.nan)
        for p, actor in enumerate(people):
            for f, body in enumerate(actor):
                if np.size(body) == 42:
                    points[f, p] = checked_points(np.asarray(body, np.float64).reshape(14, 3), (14, 3), str(actors))
    frames = np.arange(len(points))
    counts = np.isin(frames, np.concatenate([np.array(part) for part in TEST[name]]))
    rows = counts if split == "test" else np.ones(len(frames), bool)
    pictures = {camera.name: actors.parent / camera.name for camera in cameras}
    yield Film3D(name, cameras, points[rows], frames[rows], name, RATE, counts[rows], pictures=pictures)
