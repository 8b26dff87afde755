"""What detectors return -> boxes, scores and labels per picture, in input pixels.

Two layouts of exported graphs: with suppression inside (mmdeploy's `dets` (b, n, 5), `labels` (b, n), rows of score 0 as filling) and
without (`boxes` (b, n, 4) xyxy, `scores` (b, n, C) probabilities: ours, and YOLOX once `codecs.yolox` has turned its cells into boxes).
Rules: RTMDet (arXiv 2212.07784), mmdet (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from vitruvian.codecs.nms import nms

CANDIDATES = 2000
"""At most so many (box, class) pairs enter the suppression: bounds the time when a threshold is set very low."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one picture, best first: `boxes` (n, 4) xyxy in pixels, `scores` (n,) in [0, 1], `labels` (n,) class indices."""

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int32[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: slice | np.ndarray) -> Detections:
        """Some of the rows: a mask, a slice or indices."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def carried(self, moved: Detections) -> Detections:
        """Detections that were `people.between` this look and another, with what else this look says of them: here nothing more."""
        return moved

    def alike(self, moved: Detections) -> tuple[Int[np.ndarray, " m"], Bool[np.ndarray, " m"], Float[np.ndarray, "m 2"]]:
        """For each of other detections the nearest row here of its label, whether there is one, and the way from there (pixels)."""
        if not len(self) or not len(moved):
            return np.zeros(len(moved), np.intp), np.zeros(len(moved), bool), np.zeros((len(moved), 2), np.float32)
        there, here = ((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 for found in (moved, self))
        away = np.linalg.norm(there[:, None] - here, axis=-1)
        away[moved.labels[:, None] != self.labels] = np.inf
        nearest = away.argmin(axis=1)
        return nearest, np.isfinite(away).any(axis=1), there - here[nearest]


def decode_suppressed(
    dets: Float[np.ndarray, "b n 5"], labels: Int[np.ndarray, "b n"] | None, classes: Sequence[int], score_threshold: float
) -> list[Detections]:
    """Outputs of a graph with suppression inside -> per picture the rows of the wanted `classes` with a score above the threshold.

    `labels` None: the network knows one class, 0.
    """
    out = []
    for rows, names in zip(dets, np.zeros(dets.shape[:2], np.int32) if labels is None else labels, strict=True):
        wanted = np.flatnonzero((rows[:, 4] > score_threshold) & np.isin(names, classes))
        wanted = wanted[np.argsort(-rows[wanted, 4], kind="stable")]
        rows = rows[wanted].astype(np.float32)
        out.append(Detections(rows[:, :4], rows[:, 4], names[wanted].astype(np.int32)))
    return out


def decode_raw(
    boxes: Float[np.ndarray, "b n 4"],
    scores: Float[np.ndarray, "b n c"],
    classes: Sequence[int],
    score_threshold: float,
    iou_threshold: float,
    max_boxes: int = 300,
) -> list[Detections]:
    """Outputs of a graph without suppression -> per picture the rows that survive threshold and class-aware suppression.

    A box may stand for several classes, each with its own score. Only the wanted `classes` (column indices) are looked at.
    """
    how = np.asarray(classes, np.int64), score_threshold, iou_threshold, max_boxes
    return [surviving(places, values, *how)[0] for places, values in zip(boxes, scores, strict=True)]


def surviving(
    boxes: Float[np.ndarray, "n 4"],
    scores: Float[np.ndarray, "n c"],
    classes: Int[np.ndarray, " k"],
    score_threshold: float,
    iou_threshold: float,
    max_boxes: int,
) -> tuple[Detections, Int[np.ndarray, " m"]]:
    """What `decode_raw` makes of one picture, and the row of the graph's outputs that each detection is from."""
    rows, picks = np.nonzero(scores[:, classes] > score_threshold)
    labels = classes[picks]
    found = Detections(boxes[rows].astype(np.float32), scores[rows, labels].astype(np.float32), labels.astype(np.int32))
    if len(found) > CANDIDATES:
        best = np.sort(np.argpartition(-found.scores, CANDIDATES)[:CANDIDATES])
        found, rows = found[best], rows[best]
    kept = nms(found.boxes, found.scores, found.labels, iou_threshold, max_boxes)
    return found[kept], rows[kept]
