"""Boxes of people in frames that the detector did not see, from those before and after."""

from __future__ import annotations

import numpy as np

from vitruvian.codecs.detections import Detections
from vitruvian.geometry.boxes import iou
from vitruvian.people.assignment import assign


def between(first: Detections, last: Detections, progress: float) -> Detections:
    """Detections at `progress` (0 to 1) of the way from `first` to `last`: boxes and scores of the same person move in a straight line.

    The same person are two detections of one label that overlap, or lie within one body size, paired so that the total distance is
    least. A detection without a partner stays where it is for its half of the way.
    """
    overlap = iou(first.boxes, last.boxes)
    sizes = np.sqrt(np.maximum((first.boxes[:, 2:] - first.boxes[:, :2]).prod(axis=1), 1.0))
    gaps = np.linalg.norm(_centres(first)[:, None] - _centres(last)[None], axis=-1) / np.maximum(sizes[:, None], 1.0)
    cost = np.where(first.labels[:, None] == last.labels[None], gaps - overlap, np.inf)
    impossible = 1.0  # one body size away without any overlap
    rows, columns = (np.asarray(indices, np.intp) for indices in assign(np.minimum(cost, impossible)))
    same = cost[rows, columns] < impossible
    rows, columns = rows[same], columns[same]
    near, alone = (first, np.delete(np.arange(len(first)), rows)) if progress < 0.5 else (last, np.delete(np.arange(len(last)), columns))
    boxes = (1 - progress) * first.boxes[rows] + progress * last.boxes[columns]
    scores = (1 - progress) * first.scores[rows] + progress * last.scores[columns]
    found = Detections(
        boxes=np.concatenate([boxes, near.boxes[alone]]).astype(np.float32),
        scores=np.concatenate([scores, near.scores[alone]]).astype(np.float32),
        labels=np.concatenate([first.labels[rows], near.labels[alone]]),
    )
    return found[np.argsort(-found.scores, kind="stable")]


def _centres(detections: Detections) -> np.ndarray:
    return (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
