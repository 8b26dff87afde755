"""What data sets of people and their parts give: pictures with bodies, parts, and whose each part is; and which way people face."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.boxes import area, xywh_to_xyxy
from vitruvian.metrics.association import TruePairs

FAR = 1e6
"""Pixels; a coordinate beyond it is none of a picture."""


@dataclass(frozen=True, eq=False)
class PartPicture:
    """An annotated picture with n people and m parts. The file is named, not opened, and may be missing.

    size: (width, height), zeros where the annotations don't tell. bodies: (n, 4) xyxy pixels. visible: (n,) seen share, 1 where unknown.
    ignore: (n,) neither to be found nor a fault to find. parts: (m, 4); labels: (m,) index into `PartDataset.classes`, from 1; owners: (m,)
    row of `bodies`, -1 for nobody's. headings: (n,) radians as `People.orientation`, NaN where unknown. weak: (n,) headings that a network
    gave, not a person. contacts: (m, s) whether a hand is in each of `codecs.association.CONTACTS`, NaN where unsure; s = 0 in most sets.
    Raises VitruvianError where these don't fit each other.
    """

    file: Path
    id: str
    size: tuple[int, int]
    bodies: Float[np.ndarray, "n 4"]
    visible: Float[np.ndarray, " n"]
    ignore: Bool[np.ndarray, " n"]
    parts: Float[np.ndarray, "m 4"]
    labels: Int[np.ndarray, " m"]
    owners: Int[np.ndarray, " m"]
    headings: Float[np.ndarray, " n"]
    weak: Bool[np.ndarray, " n"]
    contacts: Float[np.ndarray, "m s"]

    def __post_init__(self) -> None:
        n, m = len(self.bodies), len(self.parts)
        of_bodies = (self.visible, self.ignore, self.headings, self.weak)
        if any(len(x) != n for x in of_bodies) or any(len(x) != m for x in (self.labels, self.owners, self.contacts)):
            raise VitruvianError(f"{self.id}: columns of {n} people and {m} parts differ in length; give one row each")
        if m and (self.owners.min() < -1 or self.owners.max() >= n):
            raise VitruvianError(f"{self.id}: a part belongs to none of the {n} people; correct its owner")


@dataclass(frozen=True, eq=False)
class PartDataset:
    """A set of such pictures. classes: "person", then the parts. terms: in a few words, what the annotations may be used for.

    Each iteration reads the files anew; errors in them come up as FormatError while iterating.
    """

    name: str
    classes: tuple[str, ...]
    terms: str
    read: Callable[[], Iterator[PartPicture]]

    def __iter__(self) -> Iterator[PartPicture]:
        return self.read()


def part_picture(
    file: Path,
    name: str,
    size: tuple[int, int],
    bodies: Float[np.ndarray, "n 4"],
    *,
    visible: Float[np.ndarray, " n"] | None = None,
    ignore: Bool[np.ndarray, " n"] | None = None,
    parts: list[tuple[Float[np.ndarray, " 4"], int, int]] = [],  # noqa: B006  (never changed)
    headings: Float[np.ndarray, " n"] | None = None,
    weak: Bool[np.ndarray, " n"] | None = None,
    contacts: Float[np.ndarray, "m s"] | None = None,
) -> PartPicture:
    """`PartPicture` from what a data set has; what is None gets its default. parts: box, label and owner of each."""
    n = len(bodies)
    return PartPicture(
        file, name, size,
        np.asarray(bodies, np.float32).reshape(-1, 4),
        np.ones(n, np.float32) if visible is None else np.asarray(visible, np.float32),
        np.zeros(n, bool) if ignore is None else np.asarray(ignore, bool),
        np.array([part[0] for part in parts], np.float32).reshape(-1, 4),
        np.array([part[1] for part in parts], np.int64),
        np.array([part[2] for part in parts], np.int64),
        np.full(n, np.nan, np.float32) if headings is None else np.asarray(headings, np.float32),
        np.zeros(n, bool) if weak is None else np.asarray(weak, bool),
        np.zeros((len(parts), 0), np.float32) if contacts is None else np.asarray(contacts, np.float32),
    )  # fmt: skip


def box_of(value: object, where: object) -> Float[np.ndarray, " 4"] | None:
    """A box x, y, width, height out of a foreign file as xyxy; None where it is missing or empty. Raises FormatError on anything else."""
    if value is None or value == []:
        return None
    is_box = isinstance(value, list | tuple) and len(value) == 4
    numbers = is_box and all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < FAR for x in value)
    if not numbers:
        raise FormatError(f"{where}: {str(value)[:60]!r} is no box of four numbers; the file is damaged or of another set")
    box = xywh_to_xyxy(np.array(value, np.float64))
    return box if (box[2:] > box[:2]).all() else None


def seen_share(visible: Float[np.ndarray, "n 4"], full: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Area of the visible boxes over that of the full ones, in [0, 1]."""
    return np.clip(area(visible) / np.maximum(area(full), 1e-9), 0, 1)


def pairs_of(pictures: Iterable[PartPicture], label: int) -> TruePairs:
    """People with their part of one class, as `metrics.association` compares them; a person without that part is not among them."""
    image, bodies, parts, visible, ignore = [], [], [], [], []
    for number, picture in enumerate(pictures):
        rows = np.flatnonzero((picture.labels == label) & (picture.owners >= 0))
        owners = picture.owners[rows]
        image.append(np.full(len(rows), number))
        bodies.append(picture.bodies[owners])
        parts.append(picture.parts[rows])
        visible.append(picture.visible[owners])
        ignore.append(picture.ignore[owners])
    if not image:
        return TruePairs(np.zeros(0, int), np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool))
    return TruePairs(*(np.concatenate(column) for column in (image, bodies, parts, visible, ignore)))


def turn(degrees: float) -> float:
    """Degrees of MEBOW's convention as radians in [0, 2 pi)."""
    return math.radians(degrees % 360)
