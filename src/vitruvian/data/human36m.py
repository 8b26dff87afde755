"""Human3.6M in the layout of lifting work: two .npz files (VideoPose3D's) and the cameras (Ionescu et al., TPAMI 2014).

Subjects 1, 5, 6, 7, 8 train, 9 and 11 test; 50 frames a second, four cameras, 15 actions of two takes each. The layout of the .npz files
is from memory [mem] and card finepose.md: `positions_3d` [subject] [action] (f, 32, 3) metres, z up, of which 17 joints are used;
`positions_2d` [subject] [action] a list of four (f, 17, 2) pixels, whose order is that of `CAMERAS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.films3d import Film3D, ObjectArrays, Set3D, checked_points, damaged, numbers
from vitruvian.data.layout import find
from vitruvian.errors import FormatError
from vitruvian.formats.calibration import read_calibration
from vitruvian.skeletons import H36M_17

LAYOUT = "data_3d_h36m.npz, data_2d_h36m_{gt,cpn_ft_h36m_dbb}.npz (optional), and metadata.xml or a calibration .json"
TERMS = "academic use only; a signed agreement: http://vision.imar.ro/human3.6m"
SPLITS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
RATE = 50.0
JOINTS = tuple(j for j in range(32) if j not in (4, 5, 9, 10, 11, 16, 20, 21, 22, 23, 24, 28, 29, 30, 31))
"""The 17 of 32 that lifting uses, in H36M_17's order."""
_CALIBRATIONS = ("metadata.xml", "camera-parameters.json", "cameras.json", "calibration.json")


def human36m(
    folder: str | Path,
    split: Literal["train", "test"] = "test",
    keypoints: Literal["gt", "cpn_ft_h36m_dbb"] | str | None = None,
    only: Sequence[str] = (),
) -> Set3D:
    """Films of all subjects and actions of a split, each with all four cameras; `only`: actions, as "Walking" (with all its takes).

    keypoints: which file of 2D points to read besides, None for none; they are cut to the length of the 3D ones, as is customary.
    Raises FormatError where files are missing or damaged.
    """
    found = find(folder, "Human3.6M", LAYOUT, "data_3d_h36m.npz")
    calibration = find(folder, "Human3.6M", LAYOUT, *_CALIBRATIONS)
    flat = None if keypoints is None else find(folder, "Human3.6M", LAYOUT, f"data_2d_h36m_{keypoints}.npz")

    def read() -> Iterator[Film3D]:
        points = ObjectArrays(found)["positions_3d"]
        pixels = None if flat is None else ObjectArrays(flat)["positions_2d"]
        for number in SPLITS[split]:
            subject = f"S{number}"
            if subject not in points:
                raise FormatError(f"{found} has no subject {subject}; expected: {LAYOUT}")
            cameras = _in_order(read_calibration(calibration, subject=number), calibration)
            with damaged(found):
                actions = {str(action): values for action, values in points[subject].items()}
            for action, values in actions.items():
                if not only or action.split(" ")[0] in only:
                    yield _film(found, cameras, subject, action, values, None if pixels is None else pixels)

    return Set3D("human36m", H36M_17, TERMS, read)


def _film(path: Path, cameras: tuple, subject: str, action: str, values: object, pixels: dict | None) -> Film3D:
    where = f"{path}, {subject} {action[:40]}"
    points = checked_points(values, (None, 32, 3), where)[:, None, JOINTS]
    flat = []
    if pixels is not None:
        with damaged(where):
            views = list(pixels[subject][action])
        if len(views) != len(cameras):
            raise FormatError(f"{where} has 2D points of {len(views)} cameras, not {len(cameras)}; get the file again")
        for view in views:
            view = numbers(view, (None, 17, None), where)[:, None, :, :2]
            if len(view) < len(points):
                points = points[: len(view)]  # a few films have fewer pictures than poses
            flat.append(view)
        flat = [view[: len(points)] for view in flat]
    return Film3D(f"{subject}/{action}", cameras, points, np.arange(len(points)), action.split(" ")[0], RATE, keypoints=tuple(flat))


def _in_order(cameras: tuple, path: Path) -> tuple:
    """The four cameras in the order of the 2D files."""
    by_name = {camera.name: camera for camera in cameras}
    if set(CAMERAS) <= set(by_name):
        return tuple(by_name[name] for name in CAMERAS)
    if len(cameras) != len(CAMERAS):
        raise FormatError(f"{path} has the cameras {', '.join(by_name)[:80]}, not Human3.6M's {', '.join(CAMERAS)}")
    return cameras
