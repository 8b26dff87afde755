"""3DPW as joints in space: 24 of SMPL per person, in the frame of its one moving camera (bodies: `data.threedpw`, which has the source).

Keys from memory, not checked against a file [mem]: `jointPositions` (72 numbers per frame, metres, in the world), beside those of bodies.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.body.pickles import read_body_pickle
from vitruvian.data.films3d import Film3D, Set3D, checked_points, damaged, numbers
from vitruvian.data.layout import find
from vitruvian.data.threedpw import FOLDERS, LAYOUT
from vitruvian.errors import FormatError
from vitruvian.geometry.camera import Camera
from vitruvian.skeletons import SMPL_24

RATE = 30.0


def threedpw_joints(folder: str | Path, split: Literal["train", "val", "test"] = "test") -> Set3D:
    """The films of a split. Who has no valid camera in a frame is NaN there. Raises FormatError where there are none, or damaged ones."""
    place = find(folder, "3DPW", LAYOUT, f"sequenceFiles/{FOLDERS[split]}")
    films = sorted(place.glob("*.pkl"))
    if not films:
        raise FormatError(f"{place} holds no films of 3DPW (.pkl); expected: {LAYOUT}")
    return Set3D("3dpw", SMPL_24, "research and non-commercial use only", lambda: _films(films))


def _films(films: list[Path]) -> Iterator[Film3D]:
    for path in films:
        file = read_body_pickle(path)
        with damaged(path):
            cameras = checked_points(file["cam_poses"], (None, 4, 4), f"{path}: cam_poses")
            matrix = numbers(file["cam_intrinsics"], (3, 3), f"{path}: cam_intrinsics")
            if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
                raise FormatError(f"{path} has a camera without focal lengths; get the file again")
            ids = numbers(file["img_frame_ids"], (len(cameras),), f"{path}: img_frame_ids").astype(np.int64)
            people = [checked_points(person, (len(cameras), 72), f"{path}: jointPositions") for person in file["jointPositions"]]
            valid = [numbers(row, (len(cameras),), f"{path}: campose_valid") > 0 for row in file["campose_valid"]]
            if not people or len(valid) != len(people):
                raise FormatError(f"{path} has {len(people)} people and {len(valid)} rows of campose_valid; get the file again")
            world = np.stack(people, 1).reshape(len(cameras), len(people), 24, 3)
            points = np.einsum("fij,fpkj->fpki", cameras[:, :3, :3], world) + cameras[:, None, None, :3, 3]
            points[~np.stack(valid, 1)] = np.nan
            size = (round(2 * matrix[0, 2]), round(2 * matrix[1, 2]))  # the principal point is the middle of the picture
            yield Film3D(path.stem, (Camera(matrix, size=size),), points, ids, rate=RATE, counts=np.ones(len(cameras), bool))
