"""What a detector found in frames, as a table: people (or instruments), their parts, whose these are, and which way people face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.instruments import hull, names_instruments
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.codecs.pointed import PointedDetections
from vitruvian.errors import VitruvianError
from vitruvian.people.owners import PERSON, is_whole, owners_of, whole_people


@dataclass(frozen=True, eq=False)
class Objects:
    """N objects in F frames, in the order of the frames; in a frame the surest first.

    classes: names of the labels. frame: (N,) index into `times`. labels: (N,) index into `classes`. boxes: (N, 4) xyxy pixels.
    owner: (N,) row of the person (or instrument) that a part belongs to; a person is its own; -1 for what is nobody's.
    heading: (N,) radians, 0 faces away from the camera, anticlockwise from above, NaN where unknown.
    contacts: (N, s) scores in [0, 1] of `codecs.association.CONTACTS`, NaN where unknown; s = 0 where no network says.
    times: (F,) seconds; sizes: (F, 2) (width, height); names: one file name per frame (pictures), or a single one (video).
    knows_owners: whether the detector itself said whose a part is; else owners are joined by boxes (`people.joining`).
    complete: False where the run was stopped early. Raises VitruvianError where these don't fit each other.
    """

    classes: tuple[str, ...]
    frame: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    owner: Int[np.ndarray, " n"]
    heading: Float[np.ndarray, " n"]
    contacts: Float[np.ndarray, "n s"]
    times: Float[np.ndarray, " f"]
    sizes: Int[np.ndarray, "f 2"]
    names: tuple[str, ...] = ()
    source: str = ""
    network: str = ""
    knows_owners: bool = False
    complete: bool = True

    def __post_init__(self) -> None:
        rows, frames = len(self.frame), len(self.times)
        columns = (self.labels, self.boxes, self.scores, self.owner, self.heading, self.contacts)
        if any(len(column) != rows for column in columns) or len(self.sizes) != frames or len(self.names) not in (0, 1, frames):
            raise VitruvianError(f"{rows} objects in {frames} frames with columns of other lengths: give one row per object and frame")
        limits = ((self.frame, 0, frames), (self.labels, 0, len(self.classes)), (self.owner, -1, rows))
        if rows and any(values.min() < low or values.max() >= high for values, low, high in limits):
            raise VitruvianError("an object's frame, label or owner is none of those there are: make the table anew")

    def __len__(self) -> int:
        """The number of objects N."""
        return len(self.frame)

    def is_a(self, *kinds: str) -> Bool[np.ndarray, " n"]:
        """Rows of these classes; a kind counts with any side ("hand" is also "left hand")."""
        wanted = [name in kinds or name.replace("_", " ").split(" ", 1)[-1] in kinds for name in self.classes]
        return np.array(wanted, bool)[self.labels] if len(self) else np.zeros(0, bool)

    @property
    def wholes(self) -> Bool[np.ndarray, " n"]:
        """(N,) rows that have parts: people, or instruments."""
        return is_whole(self.labels, self.classes)

    def outline(self, row: int) -> Float[np.ndarray, "k 2"] | None:
        """The outline of an instrument: the convex hull of its parts' boxes, tighter than the box of an oblique tool; its box where no part
        hangs on it. None for people and parts."""
        if PERSON in self.classes or not names_instruments(self.classes) or self.owner[row] != row:
            return None
        first, end = np.searchsorted(self.frame, (self.frame[row], self.frame[row] + 1))
        mine = first + np.flatnonzero(self.owner[first:end] == row)
        return hull(self.boxes[mine[mine != row] if len(mine) > 1 else mine])

    def name_of(self, frame: int) -> str:
        """The file that a frame comes from, "" where unknown."""
        return self.names[frame if len(self.names) > 1 else 0] if self.names else ""

    def in_frame(self, frame: int) -> Objects:
        """The objects of one frame, owners counted within them; its only frame is 0."""
        rows = np.flatnonzero(self.frame == frame)
        place = np.full(len(self) + 1, -1)
        place[rows] = np.arange(len(rows))
        return Objects(
            self.classes, np.zeros(len(rows), int), self.labels[rows], self.boxes[rows], self.scores[rows], place[self.owner[rows]],
            self.heading[rows], self.contacts[rows], self.times[frame : frame + 1], self.sizes[frame : frame + 1],
            (self.name_of(frame),), self.source, self.network, self.knows_owners, self.complete,
        )  # fmt: skip


def objects_of(found: Detections, classes: Sequence[str], time: float, size: tuple[int, int], name: str = "") -> Objects:
    """The objects of one frame from what a detector says; see `Objects`.

    Where it finds heads but doesn't know whose they are, pieces of people are left out (`people.joining.without_pieces`).
    """
    knows, found = isinstance(found, OwnedDetections), whole_people(found, classes)
    unknown = np.full(len(found), np.nan, np.float32)
    return Objects(
        classes=tuple(classes),
        frame=np.zeros(len(found), np.int32),
        labels=found.labels,
        boxes=found.boxes,
        scores=found.scores,
        owner=owners_of(found, classes),
        heading=found.angles if knows else unknown,
        contacts=found.contacts if knows else np.zeros((len(found), 0), np.float32),
        times=np.array([time], np.float64),
        sizes=np.array([size], np.int32),
        names=(name,),
        knows_owners=knows or isinstance(found, PointedDetections),
    )


def joined(frames: Sequence[Objects], classes: Sequence[str], source: str, network: str, one_name: bool, complete: bool) -> Objects:
    """The objects of single frames in one table. one_name: all frames are of one file."""
    counts = [len(one) for one in frames]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def column(name: str, empty: np.ndarray) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in frames]) if frames else empty

    nothing = np.zeros(0, np.float32)
    names = tuple(one.names[0] for one in frames)
    return Objects(
        classes=tuple(classes),
        frame=np.repeat(np.arange(len(frames), dtype=np.int32), counts),
        labels=column("labels", np.zeros(0, np.int32)),
        boxes=column("boxes", np.zeros((0, 4), np.float32)),
        scores=column("scores", nothing),
        owner=np.concatenate([np.where(one.owner >= 0, one.owner + s, -1) for one, s in zip(frames, starts, strict=False)])
        if frames
        else np.zeros(0, np.int64),
        heading=column("heading", nothing),
        contacts=column("contacts", np.zeros((0, 0), np.float32)),
        times=column("times", np.zeros(0)),
        sizes=column("sizes", np.zeros((0, 2), np.int32)),
        names=names[:1] if one_name else names,
        source=source,
        network=network,
        knows_owners=any(one.knows_owners for one in frames),
        complete=complete,
    )
