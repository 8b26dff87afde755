"""Surgical instruments and their parts from one pass: hSDB-instrument's classes on BPJDet's representation (card hsdb-instrument.md).

A network of this kind tells I instruments apart, and after them the `PARTS`; an instrument has a slot for each part, as a person has for
head and hands, and a part says where its instrument is (sections 4 and 5, [ours]). The data set's own classes are products: instrument and
part, such as "Scissors_Head"; tools without parts ("Electrichook") are a class of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int64

from vitruvian.codecs.anchors import Candidates, select, uncentre, uncentre_boxes
from vitruvian.codecs.association import PartSet, Rule, Thresholds, hang_parts, owners_of
from vitruvian.codecs.detections import Detections

PARTS = ("head", "wrist", "body")
SLOTS = PartSet(("instrument", *PARTS), PARTS)
"""How parts are hung: class k + 1 of this set on slot k."""
INSIDE = 0.9
"""Share of a part that must lie in its instrument: all of it does, by how the boxes of instruments are made."""


@dataclass(frozen=True, eq=False)
class Instruments:
    """The instruments of one picture, best first: boxes of the wholes, their names' indices, and the row of `parts` in each slot, -1 empty.

    parts: all that were detected; labels index PARTS.
    """

    wholes: Detections
    part: Int[np.ndarray, "n 3"]
    parts: Detections

    @property
    def owners(self) -> Int64[np.ndarray, " m"]:
        """The instrument of each part, -1 for none."""
        return owners_of(self.part, len(self.parts))

    def product_labels(self, instruments: Sequence[str], classes: Sequence[str]) -> Int64[np.ndarray, " m"]:
        """Each part's class of the data set's list, by its instrument or, where it hangs on none, the nearest; -1 where there is none."""
        middles = [(found.boxes[:, :2] + found.boxes[:, 2:]) / 2 for found in (self.parts, self.wholes)]
        owners, out = self.owners, np.full(len(self.parts), -1)
        for row, label in enumerate(self.parts.labels.tolist()):
            if len(self.wholes):
                nearest = np.linalg.norm(middles[1] - middles[0][row], axis=1).argmin()
                whole = owners[row] if owners[row] >= 0 else nearest
                name = f"{instruments[self.wholes.labels[whole]]}_{PARTS[label].capitalize()}"
                out[row] = classes.index(name) if name in classes else -1
        return out

    def products(self, instruments: Sequence[str], classes: Sequence[str]) -> Detections:
        """What was found in the classes of the data set, as its tables count it: parts by `product_labels`, and tools that are a class.

        instruments: names that the labels of the wholes index. classes: the data set's. What is of no class is left out.
        """
        single = np.array([classes.index(name) if name in classes else -1 for name in instruments], np.int64)
        boxes, scores = (np.concatenate([getattr(self.parts, name), getattr(self.wholes, name)]) for name in ("boxes", "scores"))
        labels = np.concatenate([self.product_labels(instruments, classes), single[self.wholes.labels]])
        rows = np.flatnonzero(labels >= 0)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        return Detections(boxes[rows], scores[rows], labels[rows].astype(np.int32))

    def outline(self, row: int) -> Float[np.ndarray, "k 2"]:
        """The convex hull of an instrument's parts, of the whole box where it has none: tighter than the box of an oblique tool."""
        hung = self.part[row][self.part[row] >= 0]
        return hull(self.parts.boxes[hung] if len(hung) else self.wholes.boxes[row : row + 1])


def hull(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "k 2"]:
    """Corners of the convex hull of boxes, at least one."""
    import cv2

    return cv2.convexHull(np.asarray(boxes, np.float32)[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2))[:, 0]


def names_instruments(classes: Sequence[str]) -> bool:
    """Whether these are the classes of such a network: instruments, then the parts."""
    return len(classes) > len(PARTS) and tuple(classes[-len(PARTS) :]) == PARTS


def find_instruments(
    candidates: Candidates,
    instruments: int,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds = Thresholds(inside=INSIDE),  # noqa: B008  (frozen)
    rule: Rule = "published",
    max_boxes: int = 300,
) -> Instruments:
    """Decoded rows of one picture -> its instruments with their parts, in pixels of the picture of `size` (width, height).

    instruments: how many classes come before the parts. `rule` as in `codecs.association`. `max_boxes` bounds wholes, and parts.
    """
    t = thresholds
    wholes, extras = select(candidates, range(instruments), t.body_score, t.body_iou, max_boxes)
    parts, of_parts = select(candidates, range(instruments, instruments + len(PARTS)), t.part_score, t.part_iou, max_boxes)
    wholes = Detections(uncentre_boxes(wholes.boxes, input_size, size), wholes.scores, wholes.labels)
    parts = Detections(uncentre_boxes(parts.boxes, input_size, size), parts.scores, parts.labels - instruments)
    hooks, middles = (uncentre(points.reshape(-1, len(PARTS), 2), input_size, size) for points in (extras, of_parts))
    numbered = Detections(parts.boxes, parts.scores, parts.labels + 1)
    _, part = hang_parts(wholes.boxes, hooks, numbered, SLOTS, t.inside, rule, middles[:, 0])
    return Instruments(wholes, part, parts)
