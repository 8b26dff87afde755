"""3DPW: people outdoors with SMPL, from a hand-held camera and motion sensors (von Marcard et al., ECCV 2018): https://virtualhumans.mpi-inf.mpg.de/3DPW.

One pickle per film, read without running anything in it. Keys from memory, not checked against a file [mem]: `poses` (72 per frame),
`trans`, `betas`, `genders`, `campose_valid`, `poses2d` (3 x 18 per frame, OpenPose's COCO order), each a list with an entry per person;
`cam_poses` (world to camera, per frame), `cam_intrinsics`, `img_frame_ids`. Frames whose camera is not valid for somebody leave them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitruvian.body.model import BodyParameters
from vitruvian.body.pickles import read_body_pickle
from vitruvian.data.bodies import BodyDataset, BodyLabels, BodyPicture, numbers
from vitruvian.data.layout import find
from vitruvian.errors import FormatError

LAYOUT = "sequenceFiles/{train,validation,test}/FILM.pkl and imageFiles/FILM/image_00000.jpg"
FOLDERS = {"train": "train", "val": "validation", "test": "test"}
_GENDERS = {"m": "male", "f": "female"}


def threedpw(folder: str | Path, split: Literal["train", "val", "test"] = "test") -> BodyDataset:
    """The films of a split, frame by frame. Raises FormatError where there is none."""
    root = Path(folder)
    films = sorted(find(folder, "3DPW", LAYOUT, f"sequenceFiles/{FOLDERS[split]}").glob("*.pkl"))
    if not films:
        raise FormatError(f"{root / 'sequenceFiles' / FOLDERS[split]} holds no films of 3DPW (.pkl); expected: {LAYOUT}")

    def read() -> Iterator[BodyPicture]:
        count = 0
        for path in films:
            for picture in _film(path, root / "imageFiles" / path.stem, count):
                count += 1
                yield picture

    return BodyDataset("3dpw", "research and non-commercial use only", read)


def _film(path: Path, images: Path, first: int) -> Iterator[BodyPicture]:
    file = read_body_pickle(path)
    people, extrinsics, ids, camera = _people(file, path), *_camera(file, path)
    frames = len(extrinsics)
    if any(len(person["pose"]) != frames for person in people):
        raise FormatError(f"{path} has poses of another number of frames than its {frames} cameras; get the file again")
    for frame in range(frames):
        here = [person for person in people if person["valid"][frame]]
        turn, shift = extrinsics[frame, :3, :3], extrinsics[frame, :3, 3]
        columns = [[person[name][frame] for person in here] for name in ("pose", "trans")]
        parameters = BodyParameters(
            np.reshape(columns[0], (-1, 24, 3)),
            np.reshape([person["betas"] for person in here], (-1, 10)),
            np.zeros((len(here), 0)),
            np.reshape(columns[1], (-1, 3)),
        )
        points = [person["points"][frame].T for person in here if person["points"] is not None]
        labels = BodyLabels(
            "smpl",
            parameters,
            tuple(person["gender"] for person in here),
            np.tile(turn, (len(here), 1, 1)),
            np.tile(shift, (len(here), 1)),
            keypoints=np.stack(points) if points and len(points) == len(here) else None,
        )
        yield BodyPicture(images / f"image_{ids[frame]:05d}.jpg", first + frame, (0, 0), camera, labels, path.stem, int(ids[frame]))


def _people(file: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Everybody's arrays, checked."""
    lists = {name: file.get(name) for name in ("poses", "trans", "betas", "genders", "campose_valid")}
    counts = {name: len(value) if isinstance(value, list | tuple | np.ndarray) else -1 for name, value in lists.items()}
    if len(set(counts.values())) > 1 or -1 in counts.values():
        raise FormatError(f"{path} has not one entry per person in each of {', '.join(lists)}: it is no film of 3DPW; get the file again")
    points = file.get("poses2d")
    points = points if isinstance(points, list | tuple | np.ndarray) and len(points) == counts["poses"] else [None] * counts["poses"]
    out = []
    for row in range(counts["poses"]):
        pose = numbers(lists["poses"][row], (-1, 72), f"{path}: poses")
        valid = np.asarray(lists["campose_valid"][row]).ravel()
        if len(valid) != len(pose) or valid.dtype.kind not in "biuf":
            raise FormatError(f"{path}: campose_valid does not go with poses; get the file again")
        out.append({
            "pose": pose,
            "trans": numbers(lists["trans"][row], (len(pose), 3), f"{path}: trans"),
            "betas": numbers(np.ravel(lists["betas"][row])[:10], (10,), f"{path}: betas"),
            "gender": _GENDERS.get(str(lists["genders"][row])[:1].lower(), "neutral"),
            "valid": valid.astype(bool),
            "points": None if points[row] is None else numbers(points[row], (len(pose), 3, 18), f"{path}: poses2d"),
        })  # fmt: skip
    return out


def _camera(file: dict[str, Any], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World to camera per frame, the numbers of the pictures, and the camera matrix."""
    missing = [name for name in ("cam_poses", "cam_intrinsics", "img_frame_ids") if name not in file]
    if missing:
        raise FormatError(f"{path} has no {missing[0]!r}: it is no film of 3DPW; get the file again")
    extrinsics = numbers(file["cam_poses"], (-1, 4, 4), f"{path}: cam_poses")
    ids = numbers(file["img_frame_ids"], (len(extrinsics),), f"{path}: img_frame_ids").astype(np.int64)
    return extrinsics, ids, numbers(file["cam_intrinsics"], (3, 3), f"{path}: cam_intrinsics")
