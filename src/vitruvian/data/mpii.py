"""MPII Human Pose, 16 keypoints (Andriluka et al., CVPR 2014): http://human-pose.mpi-inf.mpg.de.

The official annotations are one MATLAB file; its pixels count from 1 and are brought to 0 here. Only pictures of its training set have
keypoints. Who validates takes some of them by a list of their own (`only`): the usual one is not part of the release.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.layout import below, find, read_mat
from vitruvian.data.pictures import Dataset, Labels, Picture, labels
from vitruvian.errors import FormatError
from vitruvian.skeletons import MPII_16

LAYOUT = "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat, images/*.jpg"
_NAME = "mpii_human_pose_v1_u12_1.mat"
_PERSON = 200.0  # pixels of a person's height at scale 1


def mpii(folder: str | Path, split: Literal["train", "test"] = "train", only: Collection[str] | None = None) -> Dataset:
    """MPII's persons; `only`: names of the pictures to take. The box is the square of the person's scale around its place.

    Raises FormatError where the annotations are missing or damaged.
    """
    path = find(folder, "MPII", LAYOUT, f"mpii_human_pose_v1_u12_2/{_NAME}", _NAME, f"annotations/{_NAME}")
    images = Path(folder) / "images"

    def read() -> Iterator[Picture]:
        release = read_mat(path, "RELEASE")["RELEASE"]
        try:
            pictures, training = np.atleast_1d(release["annolist"][()]), np.atleast_1d(release["img_train"][()]).astype(int)
            for number, (row, trained) in enumerate(zip(pictures, training, strict=True)):
                name = str(row["image"]["name"][()])
                if bool(trained) == (split == "train") and (only is None or name in only):
                    yield Picture(below(images, name), number, (0, 0), _people(row["annorect"]))
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
            raise FormatError(f"{path} is no release of MPII ({error}); fetch it again") from error

    return Dataset("mpii", MPII_16, "see the set's page (Simplified BSD, from memory)", read)


def _people(annorect: np.ndarray) -> Labels:
    """The annotated people of one picture; those without points (test pictures, people nobody marked) are left out."""
    rows = [row for row in np.atleast_1d(annorect) if (names := getattr(row, "dtype", np.dtype(float)).names) and "annopoints" in names]
    rows = [row for row in rows if getattr(_inner(row["annopoints"]), "dtype", np.dtype(float)).names]
    n = len(rows)
    points, visible = np.zeros((n, 16, 2)), np.zeros((n, 16))
    boxes, heads = np.zeros((n, 4)), np.full((n, 4), np.nan)
    for i, row in enumerate(rows):
        for point in np.atleast_1d(_inner(row["annopoints"])["point"][()]):
            joint = int(_inner(point["id"]))
            if not 0 <= joint < 16:
                raise ValueError(f"joint {joint}")
            points[i, joint] = float(_inner(point["x"])) - 1, float(_inner(point["y"])) - 1
            flag = _inner(point["is_visible"]) if "is_visible" in point.dtype.names else 1
            visible[i, joint] = 2 if np.size(flag) == 0 or int(flag) else 1  # an empty flag: a point of the head, which is always in view
        if {"x1", "y1", "x2", "y2"} <= set(row.dtype.names) and all(np.size(_inner(row[side])) == 1 for side in ("x1", "y1", "x2", "y2")):
            heads[i] = [float(_inner(row[side])) - 1 for side in ("x1", "y1", "x2", "y2")]
        boxes[i] = _box(row, points[i][visible[i] > 0])
    return labels(points, visible, boxes, heads=heads, ids=np.arange(n))


def _box(row: np.ndarray, points: np.ndarray) -> list[float]:
    """The square around the person's place, or the box around the points where place or scale are not told."""
    names = row.dtype.names
    if (
        {"objpos", "scale"} <= set(names)
        and getattr(_inner(row["objpos"]), "dtype", np.dtype(float)).names
        and np.size(_inner(row["scale"]))
    ):
        place = _inner(row["objpos"])
        x, y, half = float(_inner(place["x"])) - 1, float(_inner(place["y"])) - 1, float(_inner(row["scale"])) * _PERSON / 2
        return [x - half, y - half, x + half, y + half]
    return [*points.min(axis=0), *points.max(axis=0)] if len(points) else [0.0] * 4


def _inner(value: np.ndarray) -> np.ndarray:
    """What a 0-d object array holds; anything else as it is."""
    while isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0:
        value = value[()]
    return value
