"""People and the way they face from JointBDOE's rows (arXiv 2210.15586; card jointbdoe.md section 5), and angles as people read them.

The network's angle is a fraction of a turn: 0 faces away from the camera, 1/4 the picture's left, 1/2 the camera, 3/4 the right. As
`People.orientation` it is in radians, in [0, 2 pi).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from vitruvian.codecs.anchors import Candidates, select, uncentre_boxes
from vitruvian.codecs.detections import Detections
from vitruvian.geometry.boxes import iou

OCTANTS = ("back", "back left", "left", "front left", "front", "front right", "right", "back right")
"""Where a person faces, as seen in the picture: "left" is the picture's left; eighths of a turn around 0, 45, ... degrees."""


@dataclass(frozen=True, eq=False)
class Facing:
    """The people of one picture, best first: boxes and scores in its pixels, angles (n,) in radians, confidence (n,) in [0, 1]."""

    people: Detections
    angles: Float32[np.ndarray, " n"]
    confidence: Float32[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.people)


def find_facing(
    candidates: Candidates,
    input_size: tuple[int, int],
    size: tuple[int, int],
    score_threshold: float = 0.3,
    iou_threshold: float = 0.5,
    angle: Literal["kept", "mean"] = "kept",
    max_boxes: int = 300,
) -> Facing:
    """Decoded rows of one picture -> its people and their angles, in pixels of the picture of `size` (width, height).

    The input was made by `codecs.anchors.centred_letterbox`. angle "kept": that of the row that survives suppression, as published; "mean"
    [ours]: the circular mean, weighted by score, of the rows that it stands for. Confidence [ours]: the length of that mean (of one row
    1), times that of a vector head's own vector, at most 1.
    """
    people, extras = select(candidates, (0,), score_threshold, iou_threshold, max_boxes)
    turns, own = extras[:, 0], extras[:, 1] if extras.shape[1] > 1 else np.ones(len(extras), np.float32)
    hot = candidates.scores[:, 0] > score_threshold
    vectors = np.exp(2j * math.pi * candidates.extras[hot, 0]) * candidates.scores[hot, 0]
    alike = iou(people.boxes, candidates.boxes[hot]) > iou_threshold
    sums, weights = alike @ vectors, alike @ candidates.scores[hot, 0]
    if angle == "mean":
        turns = np.where(np.abs(sums) > 0, np.angle(sums) / (2 * math.pi), turns)
    spread = np.abs(sums) / np.maximum(weights, 1e-12)
    boxes = uncentre_boxes(people.boxes, input_size, size)
    angles = (2 * math.pi * (turns % 1)).astype(np.float32)
    return Facing(Detections(boxes, people.scores, people.labels), angles, np.clip(spread * own, 0, 1).astype(np.float32))


def direction(angles: Float[np.ndarray, " n"]) -> Float32[np.ndarray, "n 2"]:
    """(n,) radians -> the unit vectors (x right, y down) that an arrow in the picture has: up for people who face away."""
    return np.stack([-np.sin(angles), -np.cos(angles)], axis=-1).astype(np.float32)


def octant(angles: Float[np.ndarray, " n"]) -> list[str]:
    """(n,) radians -> names of `OCTANTS`, "" for NaN."""
    eighths = np.asarray(angles, np.float64) / (math.pi / 4)
    return ["" if not math.isfinite(x) else OCTANTS[round(x) % 8] for x in eighths]
