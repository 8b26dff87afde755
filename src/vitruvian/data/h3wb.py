"""H3WB: people of Human3.6M with 133 keypoints in space (Zhu et al., ICCV 2023): https://github.com/wholebody3d/wholebody3d.

The layout is from memory [mem]: h3wb_train.npz with `train_data` [subject] [action], which holds frame_id (f,) and, for each camera,
pose_2d (f, 133, 2) pixels and camera_3d (f, 133, 3) millimetres in the camera's axes (OpenCV's). The set names frames of Human3.6M's films,
whose pictures everybody cuts out for themselves: S1/Images/ACTION.CAMERA/frame_0001.jpg [mem]. As labels of its test subject are kept back,
RTMW3D learns from S1, S5 and S6 and is judged on S7 (card rtmw.md, section 6.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.films3d import ObjectArrays, checked_points, damaged, numbers
from vitruvian.data.human36m import CAMERAS
from vitruvian.data.layout import below, find
from vitruvian.data.pictures import Dataset, Picture, labels
from vitruvian.errors import FormatError
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133

LAYOUT = "annotations/h3wb_train.npz (or beside the pictures' folders), S1/Images/ACTION.CAMERA/frame_0001.jpg"
TERMS = "H3WB's labels: MIT [mem]; Human3.6M's pictures: academic use only, a signed agreement"
SPLITS = {"train": ("S1", "S5", "S6"), "test": ("S7",)}
_K = len(COCO_WHOLEBODY_133)
_HIPS = [COCO_WHOLEBODY_133.index("left_hip"), COCO_WHOLEBODY_133.index("right_hip")]


def h3wb(folder: str | Path, split: Literal["train", "test"] = "test") -> Dataset:
    """Every camera's view of every frame, one person each; boxes are those around the keypoints, as the set has none.

    `Labels.depths` are metres behind the middle of the hips. Raises FormatError where the labels are missing or damaged.
    """
    subjects = SPLITS[split]
    path = find(folder, "H3WB", LAYOUT, "annotations/h3wb_train.npz", "h3wb_train.npz", "annotation_body3d/h3wb_train.npz")

    def read() -> Iterator[Picture]:
        table, number = ObjectArrays(path)["train_data"], 0
        for subject in subjects:
            if subject not in table:
                raise FormatError(f"{path} has no subject {subject}; expected: {LAYOUT}")
            with damaged(path):
                actions = {str(action): dict(values) for action, values in table[subject].items()}
            for action, values in actions.items():
                for picture in _film(Path(folder), subject, action, values, number, f"{path}, {subject} {action[:40]}"):
                    yield picture
                    number = picture.id + 1

    return Dataset("h3wb", COCO_WHOLEBODY_133, TERMS, read)


def _film(folder: Path, subject: str, action: str, values: dict, first: int, where: str) -> Iterator[Picture]:
    """The frames of one action, camera by camera, with ids from `first` on."""
    with damaged(where):
        frames = numbers(values["frame_id"], (None,), where).astype(int)
    for number, camera in enumerate(CAMERAS):
        if camera not in values:
            raise FormatError(f"{where} has no camera {camera}; get it again")
        with damaged(where):
            flat, deep = values[camera]["pose_2d"], values[camera]["camera_3d"]
        flat = numbers(flat, (len(frames), _K, 2), where)
        z = checked_points(deep, (len(frames), _K, 3), where, 1e-3)[..., 2]
        seen = np.isfinite(flat).all(axis=-1)
        boxes, behind = enclosing(flat, seen), z - z[:, _HIPS].mean(axis=1, keepdims=True)
        film = f"{subject}/Images/{action}.{camera}"
        for i, frame in enumerate(frames.tolist()):
            row = slice(i, i + 1)
            people, file = (
                labels(flat[row], 2.0 * seen[row], boxes[row], depths=behind[row]),
                below(folder, f"{film}/frame_{frame:04d}.jpg"),
            )
            yield Picture(file, first + number * len(frames) + i, (0, 0), people, film, frame)
