"""RTMO: boxes and keypoints of everybody in one look at the whole picture (Lu et al., CVPR 2024, arXiv 2312.07526; mmpose, Apache-2.0).

The published exports decode in the graph and return `dets` (b, n, 5: xyxy and score) and `keypoints` (b, n, k, 3: x, y and visibility), all
in input pixels. Some have suppressed duplicates, in others the best cells come as they are; suppressing again changes nothing in the first.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vitruvian.codecs.detections import CANDIDATES, Detections
from vitruvian.codecs.nms import nms
from vitruvian.codecs.poses import Poses


def decode_rtmo(
    dets: Float[np.ndarray, "b n 5"],
    keypoints: Float[np.ndarray, "b n k 3"],
    score_threshold: float,
    iou_threshold: float,
    max_people: int = 300,
    plus_one: bool = False,
) -> list[tuple[Detections, Poses]]:
    """People of each picture with a score above the threshold, best first, in input pixels.

    Of two boxes that overlap by more than `iou_threshold` the better one stays; `plus_one` as in `codecs.nms`.
    """
    out = []
    for rows, points in zip(np.asarray(dets, np.float32), np.asarray(keypoints, np.float32), strict=True):
        wanted = np.flatnonzero(rows[:, 4] > score_threshold)
        if len(wanted) > CANDIDATES:
            wanted = wanted[np.sort(np.argpartition(-rows[wanted, 4], CANDIDATES)[:CANDIDATES])]
        labels = np.zeros(len(wanted), np.int32)
        kept = wanted[nms(rows[wanted, :4], rows[wanted, 4], labels, iou_threshold, max_people, plus_one)]
        found = Detections(rows[kept, :4], rows[kept, 4], np.zeros(len(kept), np.int32))
        out.append((found, Poses(points[kept, :, :2], points[kept, :, 2])))
    return out
