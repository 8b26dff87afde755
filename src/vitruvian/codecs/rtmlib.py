"""What rtmlib (0.0.16, Apache-2.0) makes of a detector's outputs, where that differs from `codecs.detections` (card dwpose.md section 5.2).

| | rtmlib | ours |
|---|---|---|
| graph with suppression inside | every label counts as what is looked for; order of the graph | the wanted classes, best first |
| graph without | suppression in picture pixels with the +1, class after class | in input pixels, best first |
| boxes | as they come | cut to the picture, none without area |

Both suppress within a class. Found by running rtmlib as users do, on networks with known answers; the code is ours.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.nms import nms


def suppressed_detections(
    dets: Float[np.ndarray, "b n 5"], labels: Int[np.ndarray, "b n"] | None, zooms: Float[np.ndarray, "b 2"], score_threshold: float
) -> list[Detections]:
    """Outputs of a graph with suppression inside -> boxes in picture pixels."""
    out = []
    for picture, rows in enumerate(dets):
        rows = rows[rows[:, 4] > score_threshold].astype(np.float32)
        names = np.zeros(len(dets[picture]), np.int32) if labels is None else labels[picture].astype(np.int32)
        out.append(Detections(rows[:, :4] / zooms[picture, 0], rows[:, 4], names[dets[picture, :, 4] > score_threshold]))
    return out


def raw_detections(
    boxes: Float[np.ndarray, "b n 4"],
    scores: Float[np.ndarray, "b n c"],
    zooms: Float[np.ndarray, "b 2"],
    score_threshold: float,
    iou_threshold: float,
) -> list[Detections]:
    """Outputs of a graph without suppression -> boxes in picture pixels, of all classes, one class after the other."""
    out = []
    for places, values, zoom in zip(boxes, scores, zooms, strict=True):
        rows, names = np.nonzero(values > score_threshold)
        found = Detections(places[rows].astype(np.float32) / zoom[0], values[rows, names].astype(np.float32), names.astype(np.int32))
        kept = found[nms(found.boxes, found.scores, found.labels, iou_threshold, len(found), plus_one=True)]
        out.append(kept[np.argsort(kept.labels, kind="stable")])
    return out
