"""Average precision of boxes over IoU thresholds, as COCO computes it (pycocotools, COCOeval of iouType "bbox", all areas), in numpy.

For the subordinate AP of COCOHumanParts (card bpjdet.md section 7) give the detections of parts that hang on a body (`Bodies.part >= 0`)
alone; the published figure does not test that it is the right body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.geometry.boxes import area, iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, eq=False)
class TrueBoxes:
    """N annotated boxes (xyxy). image: (N,) pictures. labels: (N,) classes. crowd: (N,) areas of many, which are never missed."""

    image: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """M detected boxes (xyxy). image: (M,) pictures. labels: (M,) classes. scores: (M,)."""

    image: Int[np.ndarray, " m"]
    boxes: Float[np.ndarray, "m 4"]
    labels: Int[np.ndarray, " m"]
    scores: Float[np.ndarray, " m"]


def box_average_precision(truth: TrueBoxes, found: FoundBoxes, classes: int, most: int = 100) -> dict[str, Float[np.ndarray, " c"]]:
    """Per class "AP" (mean over thresholds), "AP50", "AP75" in [0, 1], -1 where there is nothing to find; at most `most` boxes per picture.

    Equal to pycocotools to 1e-12 where areas are those of the boxes.
    """
    out = {name: np.full(classes, -1.0) for name in ("AP", "AP50", "AP75")}
    for label in range(classes):
        precision = _precision(truth, np.flatnonzero(truth.labels == label), found, np.flatnonzero(found.labels == label), most)
        if precision is not None:
            means = precision.mean(axis=1)
            out["AP"][label], out["AP50"][label], out["AP75"][label] = means.mean(), means[0], means[5]
    return out


def _precision(
    truth: TrueBoxes, of_truth: np.ndarray, found: FoundBoxes, of_found: np.ndarray, most: int
) -> Float[np.ndarray, "t r"] | None:
    """Precision of one class at each threshold and recall; None where nothing counts."""
    wanted = int((~truth.crowd[of_truth]).sum())
    if not wanted:
        return None
    scores, right, counted = [], [], []
    for image in np.union1d(truth.image[of_truth], found.image[of_found]):
        there = of_truth[truth.image[of_truth] == image]
        here = of_found[found.image[of_found] == image]
        here = here[np.argsort(-found.scores[here], kind="stable")][:most]
        hit, ignored = _match(found.boxes[here].astype(np.float64), truth.boxes[there].astype(np.float64), truth.crowd[there])
        scores.append(found.scores[here])
        right.append(hit & ~ignored)
        counted.append(~ignored)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.concatenate(right, axis=1)[:, order], axis=1)
    positives = np.cumsum(np.concatenate(counted, axis=1)[:, order], axis=1)
    share = hits / (positives + np.spacing(1))
    share = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
    out = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for row in range(len(THRESHOLDS)):
        at = np.searchsorted(hits[row] / wanted, RECALLS, side="left")
        out[row] = np.append(share[row], 0.0)[at]
    return out


def _match(
    found: Float[np.ndarray, "d 4"], truth: Float[np.ndarray, "g 4"], crowd: Bool[np.ndarray, " g"]
) -> tuple[Bool[np.ndarray, "t d"], Bool[np.ndarray, "t d"]]:
    """Whether each detection (surest first) matches at each threshold, and whether what it matches is a crowd."""
    overlap = iou(found, truth)
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    shared = np.clip(np.minimum(found[:, None, 2:], truth[None, :, 2:]) - low, 0, None).prod(axis=-1)
    overlap = np.where(crowd, shared / np.maximum(area(found), 1e-12)[:, None], overlap)
    hit, ignored = np.zeros((len(THRESHOLDS), len(found)), bool), np.zeros((len(THRESHOLDS), len(found)), bool)
    free = np.ones((len(THRESHOLDS), len(truth)), bool)
    for row in range(len(found) if len(truth) else 0):
        possible = (free | crowd) & (overlap[row] >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None])
        first = possible & ~crowd
        choice = np.where(first.any(axis=1, keepdims=True), first, possible)
        best = len(truth) - 1 - np.argmax(np.where(choice, overlap[row], -1.0)[:, ::-1], axis=1)  # COCO: the last of equals
        some = choice.any(axis=1)
        hit[:, row], ignored[:, row] = some, some & crowd[best]
        free &= ~(some[:, None] & (np.arange(len(truth)) == best[:, None]))
    return hit, ignored
