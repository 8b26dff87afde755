"""EgoHumans (Khirodkar et al., ICCV 2023): two to six people at games, seen by GoPros around and by glasses they wear.

Layout [mem, not checked against the files]: CATEGORY/SEQUENCE/processed_data/poses3d/00001.npy, a pickled table of (17, 4) COCO joints
(metres and confidence) by the wearer's name ("aria01"); CATEGORY/SEQUENCE/colmap/workplace/{cameras,images}.txt, COLMAP's text files of the
exocentric cameras (OPENCV_FISHEYE), pictures being called "cam01/00001.jpg"; and colmap_from_aria_transforms.pkl there, the similarities
from each pair of glasses' world, of which "aria01" is that of the poses. Without that file the world is taken to be COLMAP's. Only
exocentric cameras, which stand still, are read. No official split is known to us: `only` picks categories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vitruvian._unpickle import NUMPY, PLAIN, Limits, read_pickle
from vitruvian.data.films3d import MAX_PEOPLE, Film3D, Set3D, checked_points, damaged, read_object
from vitruvian.data.layout import find
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.calibration_raw import MAX_CAMERAS
from vitruvian.geometry.camera import Camera, moved
from vitruvian.skeletons import COCO_17

LAYOUT = "CATEGORY/SEQUENCE/processed_data/poses3d/00001.npy, CATEGORY/SEQUENCE/colmap/workplace/{cameras,images}.txt"
TERMS = "see the set's page: https://egohumans.github.io"
RATE = 20.0
_POSES = ("processed_data/fit_poses3d", "processed_data/refine_poses3d", "processed_data/poses3d")
_MAX_TEXT = 512 << 20
_MODELS = {"OPENCV_FISHEYE": (True, 8), "OPENCV": (False, 8), "PINHOLE": (False, 4)}


def egohumans(folder: str | Path, only: Sequence[str] = ()) -> Set3D:
    """Every sequence that is there; `only`: folders of categories, as "01_tagging".

    Raises FormatError where files are missing or damaged.
    """
    root = Path(folder)
    found = sorted({place.parents[1] for kind in _POSES for place in root.glob(f"*/*/{kind}")})
    found = [place for place in found if not only or place.parent.name in only]
    if not found:
        find(folder, "EgoHumans", LAYOUT, "01_tagging/001_tagging/processed_data/poses3d")
    return Set3D("egohumans", COCO_17, TERMS, lambda: (_film(place) for place in found))


def read_colmap(folder: str | Path) -> tuple[Camera, ...]:
    """The cameras of COLMAP's cameras.txt and images.txt that stand still: one per folder of pictures called cam..., at its first picture.

    Raises FormatError for damaged files, and lenses other than OPENCV_FISHEYE, OPENCV and PINHOLE.
    """
    folder = Path(folder)
    with damaged(folder / "cameras.txt"):
        lenses = {row[0]: row[1:] for row in map(str.split, _lines(folder / "cameras.txt"))}
    out: dict[str, Camera] = {}
    with damaged(folder / "images.txt"):
        # Every other line lists points, and is empty or a multiple of three long; a picture's line ends with its name.
        for row in map(str.split, _lines(folder / "images.txt")):
            name = row[-1].partition("/")[0] if len(row) == 10 and "/" in row[-1] else ""
            if name.startswith("cam") and name not in out:
                out[name] = _camera(name, lenses[row[8]], [float(each) for each in row[1:8]])
        if not out or len(out) > MAX_CAMERAS:
            raise ValueError(f"{len(out)} cameras")
    return tuple(out[name] for name in sorted(out))


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise FormatError(f"{path} is larger than {_MAX_TEXT} bytes; it is another file than expected")
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip() and not line.startswith("#"))
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"can't read {path}: {error}; check the path") from error


def _camera(name: str, lens: list[str], pose: list[float]) -> Camera:
    from scipy.spatial.transform import Rotation

    model, (width, height), values = lens[0], map(int, lens[1:3]), [float(each) for each in lens[3:]]
    if model not in _MODELS or len(values) != _MODELS[model][1]:
        raise FormatError(f"camera {name[:40]!r} has a lens {model[:40]!r} that isn't read: undistort it in COLMAP first")
    fx, fy, cx, cy = values[:4]
    w, x, y, z = pose[:4]
    turn = Rotation.from_quat([x, y, z, w]).as_matrix()
    # COLMAP's pixels have their centres at half integers.
    k = [[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]]
    try:
        return Camera(k, turn, pose[4:], np.array(values[4:]), (width, height), name, _MODELS[model][0])
    except VitruvianError as error:
        raise FormatError(str(error)) from error


def _film(place: Path) -> Film3D:
    cameras = read_colmap(find(place, "EgoHumans", LAYOUT, "colmap/workplace"))
    transforms = place / "colmap" / "workplace" / "colmap_from_aria_transforms.pkl"
    if transforms.exists():
        with damaged(transforms):
            table = read_pickle(transforms, {**PLAIN, **NUMPY}, limits=Limits(size=64 << 20, memory=64 << 20))
            first = np.asarray(table[min(table)], np.float64)
            if first.shape != (4, 4) or not np.isfinite(first).all() or abs(np.linalg.det(first)) < 1e-12:
                raise ValueError(f"a transform of {first.shape}")
            try:
                cameras = tuple(moved(camera, np.linalg.inv(first)) for camera in cameras)
            except VitruvianError as error:
                raise ValueError(str(error)) from error
    poses = next(place / kind for kind in _POSES if (place / kind).is_dir())
    frames, scenes = [], []
    for path in sorted(poses.glob("*.npy")):
        if re.fullmatch(r"\d{1,12}", path.stem):
            frames.append(int(path.stem))
            scenes.append({str(name): _joints(values, path) for name, values in read_object(path).items()})
    names = sorted({name for scene in scenes for name in scene})
    if len(names) > MAX_PEOPLE:
        raise FormatError(f"{poses} has {len(names)} people; it is damaged")
    points = np.full((len(scenes), len(names), 17, 3), np.nan)
    for f, scene in enumerate(scenes):
        for name, body in scene.items():
            points[f, names.index(name)] = body
    pictures = {camera.name: place / "exo" / camera.name / "images" for camera in cameras}
    action = re.sub(r"^\d+_", "", place.parent.name)
    return Film3D(f"{place.parent.name}/{place.name}", cameras, points, np.array(frames, int), action, RATE, pictures=pictures)


def _joints(values: object, path: Path) -> np.ndarray:
    """(17, 3), NaN where the confidence is 0 or the joint is missing."""
    rows = checked_points(values, (17, None), str(path))
    if rows.shape[1] not in (3, 4):
        raise FormatError(f"{path} has joints of {rows.shape[1]} numbers, not 3 or 4; it is another file than expected")
    return np.where(rows[:, 3:] > 0, rows[:, :3], np.nan) if rows.shape[1] == 4 else rows
