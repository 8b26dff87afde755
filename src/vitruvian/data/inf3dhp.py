"""MPI-INF-3DHP (Mehta et al., 3DV 2017): eight subjects before 14 cameras to train on, six test films of one camera.

Two layouts, both from memory [mem]: the official files (S1/Seq1/annot.mat with camera.calibration; TS1/annot_data.mat) and the two .npz
files that lifting work (P-STMO) made of them. The official test files are MATLAB 7.3, which is HDF5 (extra `[data]`, `matlab73`); the
shapes of their tables are from memory too. 17 joints; raw (`annot3`) or height-normalised (`univ_annot3`) positions: figures can't be
compared across that choice.

The test set has no calibration: its camera is found from its own 2D and 3D points, which are projections of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian.data.films3d import Film3D, ObjectArrays, Set3D, checked_points, damaged, numbers
from vitruvian.data.layout import find, read_mat
from vitruvian.data.matlab73 import is_mat73, read_mat73
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import Camera
from vitruvian.skeletons import INF_3DHP_17

LAYOUT = "S1/Seq1/annot.mat and camera.calibration ..., TS1/annot_data.mat ..., or data_{train,test}_3dhp.npz"
TERMS = "non-commercial research: https://vcai.mpi-inf.mpg.de/3dhp-dataset"
JOINTS_OF_28 = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)
"""The 17 among the 28 of the training files."""
SIZES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
"""Pictures of the outdoor test films; all others have 2048 x 2048."""
SCENES = {"TS1": "green screen", "TS2": "green screen", "TS3": "studio", "TS4": "studio", "TS5": "outdoors", "TS6": "outdoors"}
CHEST = (0, 1, 2, 4, 5, 6, 7, 8)
"""The cameras at chest height, which training usually takes."""
_MM = 1e-3


def inf3dhp(
    folder: str | Path,
    split: Literal["train", "test"] = "test",
    points: Literal["raw", "normalised"] = "raw",
    cameras: Sequence[int] = CHEST,
) -> Set3D:
    """The films of a split. Train: one film per sequence, all of `cameras` together, the world being the calibration's.

    Test: one camera, in whose frame the points are; `counts` are the valid frames. Raises FormatError where files are missing or damaged.
    """
    packed = Path(folder) / f"data_{split}_3dhp.npz"
    if packed.exists():
        if points != "raw":
            raise FormatError(f"{packed} has one kind of positions, those of its making: ask for points='raw'")
        return Set3D("inf3dhp", INF_3DHP_17, TERMS, lambda: _packed(packed, split))
    names = sorted(path.parent for path in Path(folder).glob("S?/Seq?/annot.mat" if split == "train" else "TS?/annot_data.mat"))
    if not names:
        find(folder, "MPI-INF-3DHP", LAYOUT, packed.name)

    def read() -> Iterator[Film3D]:
        for place in names:
            yield _train(place, points, cameras) if split == "train" else _test(place, points)

    return Set3D("inf3dhp", INF_3DHP_17, TERMS, read)


def camera_of_pairs(
    points_cam: Float[np.ndarray, "n 3"], pixels: Float[np.ndarray, "n 2"], size: tuple[int, int], name: str = ""
) -> Camera:
    """The camera without distortion that sees points of its own frame at these pixels: u = fx x / z + cx, v = fy y / z + cy.

    Raises VitruvianError where fewer than two points lie before it, or all at one place.
    """
    known = np.isfinite(points_cam).all(-1) & np.isfinite(pixels).all(-1) & (points_cam[:, 2] > 0)
    slope, target = points_cam[known, :2] / points_cam[known, 2:], pixels[known]
    k = np.eye(3)
    for axis in (0, 1):
        if len(slope) < 2 or np.ptp(slope[:, axis]) < 1e-6:
            raise VitruvianError(f"{name}: too few points before the camera to tell what it is")
        k[axis, axis], k[axis, 2] = np.polyfit(slope[:, axis], target[:, axis], 1)
    return Camera(k, size=size, name=name)


def read_cameras(path: str | Path) -> dict[int, Camera]:
    """The cameras of an official camera.calibration by number; millimetres become metres. Raises FormatError."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size < 1 << 20 else "\0"
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"can't read {path}: {error}; check the path") from error
    out = {}
    for block in re.split(r"(?m)^\s*name\s+", text)[1:]:
        with damaged(path):
            number = int(block.split()[0])
            size = [int(float(each)) for each in _values(block, "size", 2)]
            intrinsic = np.array(_values(block, "intrinsic", 16)).reshape(4, 4)
            extrinsic = np.array(_values(block, "extrinsic", 16)).reshape(4, 4)
            out[number] = Camera(intrinsic[:3, :3], extrinsic[:3, :3], extrinsic[:3, 3] * _MM, size=(size[0], size[1]), name=f"{number}")
    if not out:
        raise FormatError(f"{path} is no camera.calibration of MPI-INF-3DHP; get it again")
    return out


def _values(block: str, name: str, count: int) -> list[float]:
    found = re.search(rf"(?m)^\s*{name}\s+(.*)$", block)
    values = [float(each) for each in found.group(1).split()] if found else []
    if len(values) != count:
        raise ValueError(f"{len(values)} values of {name}, not {count}")
    return values


def _train(place: Path, kind: str, wanted: Sequence[int]) -> Film3D:
    path = place / "annot.mat"
    key = "annot3" if kind == "raw" else "univ_annot3"
    tables = read_mat(path, "annot2", key)
    cameras = read_cameras(place / "camera.calibration")
    with damaged(path):
        space, flat = (list(np.atleast_1d(tables[name])) for name in (key, "annot2"))
        chosen = [c for c in wanted if c in cameras and c < len(space)]
        if not chosen:
            raise ValueError(f"none of the cameras {tuple(wanted)}")
        count = min(len(space[c]) for c in chosen)
        pixels = tuple(_joints(flat[c], 2, f"{path}, camera {c}")[:count, None] for c in chosen)
        # The points are in each camera's frame; one camera's take them to the world for all.
        first = cameras[chosen[0]]
        local = _joints(space[chosen[0]], 3, str(path), _MM)[:count]
    world = (local - first.t_cam_world) @ first.R_cam_world
    name = f"{place.parent.name}/{place.name}"
    pictures = {cameras[c].name: place / "imageSequence" / f"video_{c}.avi" for c in chosen}
    return Film3D(name, tuple(cameras[c] for c in chosen), world[:, None], np.arange(count), keypoints=pixels, pictures=pictures)


def _joints(values: object, last: int, where: str, metres: float = 1.0) -> np.ndarray:
    """(f, 17, last) of rows of 28 joints."""
    rows = np.asarray(values, np.float64)
    rows = rows.reshape(len(rows), -1, last)
    if rows.shape[1] != 28:
        raise FormatError(f"{where} has {rows.shape[1]} joints, not 28; it is another file than expected")
    rows = rows[:, JOINTS_OF_28]
    return checked_points(rows, (None, 17, 3), where, metres) if last == 3 else numbers(rows, (None, 17, 2), where)


def _test(place: Path, kind: str) -> Film3D:
    path, key = place / "annot_data.mat", "annot3" if kind == "raw" else "univ_annot3"
    tables = (read_mat73 if is_mat73(path) else read_mat)(path, "annot2", key, "valid_frame")
    with damaged(path):
        space, flat = (np.asarray(tables[name], np.float64).squeeze() for name in (key, "annot2"))
        space, flat = (np.moveaxis(each.reshape(each.shape[0], 17, -1), -1, 0).swapaxes(1, 2) for each in (space, flat))  # (f, 17, 3)
        counts = np.asarray(tables["valid_frame"]).reshape(-1) == 1
    return _test_film(place.name, checked_points(space, (None, 17, 3), str(path), _MM), flat, counts, str(path), place / "imageSequence")


def _test_film(name: str, points: np.ndarray, pixels: object, counts: np.ndarray, where: str, pictures: Path | None = None) -> Film3D:
    flat = numbers(pixels, (len(points), 17, None), where)[..., :2]
    try:
        camera = camera_of_pairs(points.reshape(-1, 3), flat.reshape(-1, 2), SIZES.get(name, (2048, 2048)), name)
    except VitruvianError as error:
        raise FormatError(f"{where}: {error}; get the file again") from error
    return Film3D(
        name, (camera,), points[:, None], np.arange(len(points)), SCENES.get(name, ""), None, counts, (flat[:, None],),
        {} if pictures is None else {name: pictures},
    )  # fmt: skip


def _packed(path: Path, split: str) -> Iterator[Film3D]:
    """P-STMO's files: one table by film; of the training set by camera. Points are in the camera's frame, millimetres."""
    for name, entry in ObjectArrays(path)["data"].items():
        with damaged(f"{path}, {str(name)[:40]}"):
            if split == "test":
                points = checked_points(entry["data_3d"], (None, 17, 3), f"{path}, {name}", _MM)
                counts = np.asarray(entry["valid"]).reshape(-1) == 1
                yield _test_film(str(name), points, entry["data_2d"], counts, f"{path}, {name}")
                continue
            views = entry[0] if isinstance(entry, list | tuple) else entry
            for camera, view in views.items():
                points = checked_points(view["data_3d"], (None, 17, 3), f"{path}, {name}", _MM)
                everything = np.ones(len(points), bool)
                yield _test_film(f"{name}/{camera}", points, view["data_2d"], everything, f"{path}, {name}, camera {camera}")
