"""BEDLAM: synthetic people with SMPL-X in 1.1 M pictures (Black et al., CVPR 2023): https://bedlam.is.tue.mpg.de.

One .npz of labels per scene, a row per person and picture, poses in camera axes. The layout and what the arrays mean are from memory,
not checked against a file [mem]: `imgname`, `pose_cam` (n, 165), `shape` (n, 10 or 11), `trans_cam` (n, 3), `cam_ext` (n, 4, 4), whose
fourth column is added to `trans_cam`, `cam_int` (n, 3, 3), `gender`, `gtkps` (n, K, 2 or 3) in pixels; hands are flat at zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._npy import NpzFile
from vitruvian.body.model import BodyParameters
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.pickles import unpickle_body
from vitruvian.data.bodies import BodyDataset, BodyLabels, BodyPicture, numbers
from vitruvian.data.layout import below, find
from vitruvian.errors import FormatError

LABELS = {"train": "all_npz_12_training", "val": "all_npz_12_validation"}
IMAGES = {"train": "training_images", "val": "validation_images"}
LAYOUT = "all_npz_12_training/SCENE.npz and training_images/SCENE/png/SEQ/FRAME.png (validation in the same way)"
_WANTED = ("imgname", "pose_cam", "shape", "trans_cam", "cam_ext", "cam_int")


def bedlam(folder: str | Path, split: Literal["train", "val"] = "val") -> BodyDataset:
    """The scenes one after the other, their pictures by name. Raises FormatError where there is no scene."""
    root = Path(folder)
    scenes = sorted(find(folder, "BEDLAM", LAYOUT, LABELS[split]).glob("*.npz"))
    if not scenes:
        raise FormatError(f"{root / LABELS[split]} holds no labels of BEDLAM (.npz); expected: {LAYOUT}")

    def read() -> Iterator[BodyPicture]:
        count = 0
        for path in scenes:
            for picture in _scene(path, root / IMAGES[split] / path.stem / "png", count):
                count += 1
                yield picture

    return BodyDataset("bedlam", "research and non-commercial use only", read)


def _scene(path: Path, images: Path, first: int) -> Iterator[BodyPicture]:
    file = NpzFile(path, objects=unpickle_body)
    missing = [name for name in _WANTED if name not in file]
    if missing:
        raise FormatError(f"{path} has no {missing[0]!r}: it holds no labels of BEDLAM; get the file again")
    names = np.asarray(file["imgname"]).ravel()
    if not all(isinstance(name, str) for name in names.tolist()):
        raise FormatError(f"{path}: imgname does not hold names of files; get the file again")
    n, joints = len(names), len(JOINT_NAMES["smplx"])
    pose = numbers(file["pose_cam"], (n, 3 * joints), f"{path}: pose_cam").reshape(n, joints, 3)
    shape, trans = numbers(file["shape"], (n, -1), f"{path}: shape"), numbers(file["trans_cam"], (n, 3), f"{path}: trans_cam")
    camera = numbers(file["cam_int"], (n, 3, 3), f"{path}: cam_int")
    trans = trans + numbers(file["cam_ext"], (n, 4, 4), f"{path}: cam_ext")[:, :3, 3]
    genders = [str(g) for g in np.asarray(file["gender"]).ravel()] if "gender" in file else ["neutral"] * n
    points = _points(file, n, path)
    for number, name in enumerate(sorted(set(names.tolist()))):
        rows = np.flatnonzero(names == name)
        people = BodyLabels(
            "smplx",
            BodyParameters(pose[rows], shape[rows], np.zeros((len(rows), 0)), trans[rows]),
            tuple(genders[row] if row < len(genders) else "neutral" for row in rows),
            np.tile(np.eye(3), (len(rows), 1, 1)),
            np.zeros((len(rows), 3)),
            keypoints=None if points is None else points[rows],
        )
        parent, _, stem = name.rpartition("/")
        frame = stem.rsplit(".", 1)[0].rpartition("_")[2]
        yield BodyPicture(
            below(images, name),
            first + number,
            (0, 0),
            camera[rows[0]],
            people,
            f"{path.stem}/{parent}",
            int(frame) if frame.isdigit() else -1,
        )


def _points(file: NpzFile, n: int, path: Path) -> np.ndarray | None:
    """Keypoints with a confidence, where the file has some."""
    if "gtkps" not in file:
        return None
    points = numbers(file["gtkps"], (n, -1, -1), f"{path}: gtkps")
    if points.shape[2] not in (2, 3):
        raise FormatError(f"{path}: gtkps has points of {points.shape[2]} numbers; get the file again")
    return points if points.shape[2] == 3 else np.concatenate([points, np.ones((*points.shape[:2], 1))], 2)
