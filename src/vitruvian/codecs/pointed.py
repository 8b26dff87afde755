"""Detections whose parts say whose they are: with each comes the box of the person it believes to be a part of (our own detector).

BPJDet's idea (arXiv 2304.10765), the other way round: there a body says where its parts are, here a part says where its body is, so that
a part needs no body of a certain kind, and any number of boxes may be there to be pointed at. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from vitruvian.codecs.detections import Detections, surviving

LIMIT = 1.0
"""Of `pointing_cost`: who is farther from where a part points is not its owner."""
_SIZE = 0.5  # what a size that is wrong by a factor e counts, in sizes of the person
_MOST = {"hand": 2, "foot": 2}  # parts of a kind that one person has; of others, one


@dataclass(frozen=True, eq=False)
class PointedDetections(Detections):
    """Detections with a column of their own: owner_boxes (n, 4), xyxy in pixels, the person's box that each part points at.

    Of people it means nothing.
    """

    owner_boxes: Float32[np.ndarray, "n 4"]

    def __getitem__(self, rows: slice | np.ndarray) -> PointedDetections:
        """Some of the rows: a mask, a slice or indices."""
        return PointedDetections(self.boxes[rows], self.scores[rows], self.labels[rows], self.owner_boxes[rows])

    def carried(self, moved: Detections) -> PointedDetections:
        """Each points as in this look, and the box that it points at has moved along with it; NaN for those that this look has not."""
        row, known, way = self.alike(moved)
        owners = np.full((len(moved), 4), np.nan, np.float32)
        owners[known] = self.owner_boxes[row[known]] + np.tile(way[known], 2)
        return PointedDetections(moved.boxes, moved.scores, moved.labels, owners)


def decode_pointed(
    boxes: Float[np.ndarray, "b n 4"],
    scores: Float[np.ndarray, "b n c"],
    owners: Float[np.ndarray, "b n 4"],
    classes: Sequence[int],
    score_threshold: float,
    iou_threshold: float,
    max_boxes: int = 300,
) -> list[PointedDetections]:
    """`codecs.detections.decode_raw` of a graph that returns the owners' boxes too: the same rows."""
    how = np.asarray(classes, np.int64), score_threshold, iou_threshold, max_boxes
    out = []
    for places, values, pointed in zip(boxes, scores, owners, strict=True):
        found, rows = surviving(places, values, *how)
        out.append(PointedDetections(found.boxes, found.scores, found.labels, pointed[rows].astype(np.float32)))
    return out


def pointing_cost(pointed: Float[np.ndarray, "m 4"], people: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "m n"]:
    """How badly each person's box is the one pointed at: distance of the middles in the person's sides, and half the sides' log ratio."""
    size, wanted = (np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0).astype(np.float64) for boxes in (people, pointed))
    middle, aim = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (people, pointed))
    away = np.linalg.norm((aim[:, None] - middle) / size, axis=2)
    return away + _SIZE * np.abs(np.log(wanted[:, None] / size)).mean(2)


def pointed_owners(
    parts: PointedDetections, people: Float[np.ndarray, "n 4"], classes: Sequence[str], limit: float = LIMIT
) -> Int64[np.ndarray, " m"]:
    """(m,) row of `people` that each part belongs to, -1 for nobody's and for what is no part.

    Each goes to whom it points at best (`pointing_cost`), and nobody has more than there are ("hand" and "foot" two, others one; with a
    side, one): those that point best. The rest is nobody's: it is mostly of people who were not found, so that a second choice would be
    wrong more often than right.
    """
    owners = np.full(len(parts), -1)
    if not len(people):
        return owners
    cost = np.nan_to_num(pointing_cost(parts.owner_boxes, people), nan=np.inf)
    nearest = cost.argmin(1)
    away = cost[np.arange(len(parts)), nearest]
    left: dict[tuple[int, int], int] = {}
    for row in np.argsort(away, kind="stable"):
        kind = classes[parts.labels[row]]
        place = int(nearest[row]), int(parts.labels[row])
        if away[row] < limit and kind != "person" and left.setdefault(place, _MOST.get(kind, 1)):
            owners[row] = nearest[row]
            left[place] -= 1
    return owners
