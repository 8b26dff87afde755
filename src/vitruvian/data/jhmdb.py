"""JHMDB and sub-JHMDB: 21 actions in short films of one person, 15 keypoints (Jhuang et al., ICCV 2013): http://jhmdb.is.tue.mpg.de.

One MATLAB file of joint positions per film; pixels count from 1 there and are brought to 0 here. Pictures are 320 x 240. Joints outside
the picture are in the files too, as guesses, and don't count here. Boxes are those around the joints (toolkits take the puppets' masks).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.layout import below, find, read_mat
from vitruvian.data.pictures import Dataset, Picture, labels
from vitruvian.errors import FormatError
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import JHMDB_15

LAYOUT = (
    "joint_positions/ACTION/FILM/joint_positions.mat, Rename_Images/ACTION/FILM/00001.png, "
    "{splits,sub_splits}/ACTION_test_split{1,2,3}.txt (or ..._split_1.txt; sub_splits: films of whole bodies)"
)
SIZE = (320, 240)
_MAX_MAT = 64 << 20
_SPLITS = {"train": "1", "test": "2"}


def jhmdb(folder: str | Path, split: Literal["train", "test"] = "test", number: Literal[1, 2, 3] = 1, sub: bool = True) -> Dataset:
    """The films of one of the three splits, action by action; `sub`: only sub-JHMDB's, in which the whole body can be seen.

    Raises FormatError where lists or positions are missing.
    """
    place = find(folder, "JHMDB", LAYOUT, "sub_splits" if sub else "splits")
    endings = (f"_test_split{number}.txt", f"_test_split_{number}.txt")
    lists = [(file, ending) for ending in endings for file in sorted(place.glob(f"*{ending}"))]
    if not lists:
        raise FormatError(f"{place} has no ACTION_test_split{number}.txt of JHMDB; expected: {LAYOUT}")
    root = Path(folder)

    def read() -> Iterator[Picture]:
        first = 0
        for file, ending in lists:
            action = file.name.removesuffix(ending)
            for film, which in _entries(file):
                if which == _SPLITS[split]:
                    for picture in _film(root, action, film, first):
                        first += 1
                        yield picture

    return Dataset("sub-jhmdb" if sub else "jhmdb", JHMDB_15, "see the set's page", read)


def _entries(file: Path) -> list[list[str]]:
    """Films and the half that each belongs to."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"can't read {file}: {error}; fetch it again") from error
    if not all(len(line) == 2 for line in lines):
        raise FormatError(f"{file} is no list of films and halves (FILM.avi 1); fetch it again")
    return [[name.removesuffix(".avi"), which] for name, which in lines]


def _film(root: Path, action: str, film: str, first: int) -> Iterator[Picture]:
    path = below(root / "joint_positions" / action, film) / "joint_positions.mat"
    points = read_mat(path, "pos_img", max_bytes=_MAX_MAT)["pos_img"]
    points = points[..., None] if points.ndim == 2 else points  # a single frame
    if points.shape[:2] != (2, len(JHMDB_15)) or points.dtype.kind != "f":
        raise FormatError(f"{path}: pos_img has the shape {points.shape}, not (2, 15, frames); fetch it again")
    frames = points.transpose(2, 1, 0).astype(np.float64) - 1
    inside = ((frames >= 0) & (frames <= np.array(SIZE) - 1)).all(axis=-1)
    for number, (keypoints, visible) in enumerate(zip(frames, inside, strict=True)):
        people = labels(keypoints[None], 2.0 * visible[None], enclosing(keypoints[None], visible[None]), tracks=np.zeros(1))
        file = root / "Rename_Images" / action / film / f"{number + 1:05d}.png"
        yield Picture(file, first + number, SIZE, people, f"{action}/{film}", number)
