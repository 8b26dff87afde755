"""What every data set gives: pictures, each with the people that somebody has annotated in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import Skeleton

BODY_SHARE = 0.53
"""Area of a person over that of the box, where nobody has measured it (the rule of the CrowdPose evaluation) [mem]."""

Spec = tuple[str, tuple[int | str, ...]]
COLUMNS: Mapping[str, Spec] = {
    "keypoints": ("<f4", ("k", 2)),
    "visible": ("u1", ("k",)),
    "boxes": ("<f4", (4,)),
    "areas": ("<f8", ()),
    "ids": ("<i8", ()),
    "tracks": ("<i4", ()),
    "crowd": ("?", ()),
    "heads": ("<f4", (4,)),
    "depths": ("<f4", ("k",)),
}


@dataclass(frozen=True, eq=False)
class Labels:
    """N annotated persons of one picture, as parallel arrays.

    keypoints: (N, K, 2) float32 pixels, NaN where not annotated. visible: (N, K) COCO's v: 0 not annotated, 1 annotated but hidden, 2 seen.
    boxes: (N, 4) xyxy pixels. areas: (N,) square pixels of the person, or 0.53 of the box where the set has none.
    ids: (N,) of the annotations. tracks: (N,) person ids that last over a video, -1 where there are none.
    crowd: (N,) several people under one annotation. heads: (N, 4) xyxy box of the head, NaN where there is none.
    depths: (N, K) metres behind the middle of the hips, NaN where not known.
    Raises VitruvianError where shapes don't fit each other.
    """

    keypoints: Float[np.ndarray, "n k 2"]
    visible: UInt8[np.ndarray, "n k"]
    boxes: Float[np.ndarray, "n 4"]
    areas: Float[np.ndarray, " n"]
    ids: Int[np.ndarray, " n"]
    tracks: Int[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    heads: Float[np.ndarray, "n 4"]
    depths: Float[np.ndarray, "n k"]

    def __post_init__(self) -> None:
        rows, points = np.shape(self.keypoints)[:2]
        for name, (dtype, tail) in COLUMNS.items():
            column = np.asarray(getattr(self, name)).astype(dtype, copy=False)
            wanted = (rows, *(points if side == "k" else side for side in tail))
            if column.shape != wanted:
                raise VitruvianError(f"Labels.{name} needs the shape {wanted}, got {column.shape}; give one row per person")
            object.__setattr__(self, name, column)

    @classmethod
    def empty(cls, k: int) -> Labels:
        """Nobody, with K = `k` keypoints."""
        return cls(*(np.zeros((0, *(k if side == "k" else side for side in tail)), dtype) for dtype, tail in COLUMNS.values()))

    def __len__(self) -> int:
        """The number of persons N."""
        return len(self.ids)

    def __getitem__(self, rows: slice | np.ndarray) -> Labels:
        """Some of the persons: a mask, a slice or indices."""
        return Labels(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def labels(
    keypoints: Float[np.ndarray, "n k 2"],
    visible: np.ndarray,
    boxes: Float[np.ndarray, "n 4"],
    *,
    areas: Float[np.ndarray, " n"] | None = None,
    ids: np.ndarray | None = None,
    tracks: np.ndarray | None = None,
    crowd: np.ndarray | None = None,
    heads: Float[np.ndarray, "n 4"] | None = None,
    depths: Float[np.ndarray, "n k"] | None = None,
) -> Labels:
    """`Labels` from what a data set has: points with visibility 0 become NaN, what is None gets its default."""
    n = len(keypoints)
    visible = np.clip(np.ceil(visible), 0, 2).astype(np.uint8)
    extent = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return Labels(
        keypoints=np.where(visible[..., None] > 0, keypoints, np.nan),
        visible=visible,
        boxes=boxes,
        areas=BODY_SHARE * extent if areas is None else np.where(areas > 0, areas, BODY_SHARE * extent),
        ids=np.zeros(n) if ids is None else ids,
        tracks=np.full(n, -1) if tracks is None else tracks,
        crowd=np.zeros(n) if crowd is None else crowd,
        heads=np.full((n, 4), np.nan) if heads is None else heads,
        depths=np.where(visible > 0, np.nan if depths is None else depths, np.nan),
    )


@dataclass(frozen=True, eq=False)
class Picture:
    """One annotated picture. The file is named, not opened, and may be missing.

    size: (width, height), zeros where the annotations don't tell. video, frame: the video's name and the number of the frame in it,
    "" and -1 for a still picture. crowding: CrowdPose's index in [0, 1], NaN elsewhere.
    """

    file: Path
    id: int
    size: tuple[int, int]
    people: Labels
    video: str = ""
    frame: int = -1
    crowding: float = float("nan")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A set of annotated pictures in one keypoint set. Each iteration reads the files anew and yields one picture after the other.

    terms: in a few words, what the annotations may be used for. Errors in the files come up as FormatError while iterating.
    """

    name: str
    skeleton: Skeleton
    terms: str
    read: Callable[[], Iterator[Picture]]

    def __iter__(self) -> Iterator[Picture]:
        return self.read()
