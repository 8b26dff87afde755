"""Average precision of keypoints over OKS thresholds, as COCO computes it (pycocotools, COCOeval of iouType "keypoints"), in numpy.

Equal to pycocotools to 1e-12, its rules of ties and ignored persons included: crowds, persons without annotated keypoints and persons
outside the range of areas are ignored, and so is what is found on them; at most 20 poses count per picture, the surest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import Skeleton

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The OKS thresholds that AP is averaged over."""
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS: Mapping[str, tuple[float, float]] = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Ranges of the persons' areas in square pixels; small persons have no keypoints in COCO."""
MOST = 20
"""Poses per picture that count."""


@dataclass(frozen=True, eq=False)
class TruePoses:
    """N annotated persons. image: (N,) numbers of their pictures. keypoints: (N, K, 2) pixels. visible: (N, K), COCO's v > 0.

    boxes: (N, 4) xyxy pixels. area: (N,) square pixels of the segment. ignore: (N,) persons that neither count as missed nor let what
    is found on them count as false; crowds are such persons, and may be found several times: crowd (N,).
    """

    image: Int[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "n k 2"]
    visible: Bool[np.ndarray, "n k"]
    boxes: Float[np.ndarray, "n 4"]
    area: Float[np.ndarray, " n"]
    ignore: Bool[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class FoundPoses:
    """M predicted poses. image: (M,) numbers of their pictures. keypoints: (M, K, 2) pixels. scores: (M,) of the whole pose."""

    image: Int[np.ndarray, " m"]
    keypoints: Float[np.ndarray, "m k 2"]
    scores: Float[np.ndarray, " m"]


def average_precision(truth: TruePoses, found: FoundPoses, sigmas: Float[np.ndarray, " k"]) -> dict[str, float]:
    """AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL in [0, 1]; -1 where there is nobody to find, as in COCO.

    Pictures are those that `truth` or `found` name. A keypoint that is NaN counts as infinitely far. Raises VitruvianError where shapes
    don't fit.
    """
    k = len(sigmas)
    if truth.keypoints.shape[1:] != (k, 2) or found.keypoints.shape[1:] != (k, 2):
        raise VitruvianError(f"{k} sigmas, but keypoints {truth.keypoints.shape} and {found.keypoints.shape}: use one keypoint set")
    pictures = [_Picture.match(rows_of_truth, rows_found, truth, found, sigmas) for rows_of_truth, rows_found in _by_picture(truth, found)]
    precision, recall = _curves(pictures)
    table = {}
    for prefix, values in (("AP", precision), ("AR", recall)):
        table |= {prefix: _mean(values[0]), f"{prefix}50": _mean(values[0, 0]), f"{prefix}75": _mean(values[0, 5])}
        table |= {f"{prefix}M": _mean(values[1]), f"{prefix}L": _mean(values[2])}
    return table


def average_precision_by_part(
    truth: TruePoses, found: FoundPoses, skeleton: Skeleton, valid: Mapping[str, Bool[np.ndarray, " n"]] | None = None
) -> dict[str, dict[str, float]]:
    """`average_precision` of each part of the skeleton, of both hands pooled ("hand"), and of all points ("whole").

    valid: for parts, which persons have it annotated; the others are ignored there, as in COCO-WholeBody's evaluation. Scores and areas
    are the person's for every part. Hands pooled: the mean over left and right [ours; the tables' pooling is not written down].
    Raises VitruvianError where shapes don't fit or the skeleton has no sigmas.
    """
    if skeleton.sigmas is None:
        raise VitruvianError(f"{skeleton.name} has no published sigmas: AP by OKS is not defined for it")
    table = {}
    for part, where in {**skeleton.parts, "whole": slice(None)}.items():
        visible = truth.visible[:, where]
        unlabelled = ~visible.any(axis=1) | (~valid[part] if valid and part in valid else False)
        of_part = replace(truth, keypoints=truth.keypoints[:, where], visible=visible, ignore=truth.crowd | unlabelled)
        table[part] = average_precision(of_part, replace(found, keypoints=found.keypoints[:, where]), skeleton.sigmas[where])
    if {"left_hand", "right_hand"} <= table.keys():
        table["hand"] = {name: _mean(np.array([table[hand][name] for hand in ("left_hand", "right_hand")])) for name in table["whole"]}
    return table


def similarities(
    truth: TruePoses, rows: Int[np.ndarray, " g"], keypoints: Float[np.ndarray, "d k 2"], sigmas: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "d g"]:
    """OKS of every pose with each of some annotated persons; for persons without keypoints, how far it lies outside twice their box."""
    true, visible = truth.keypoints[rows].astype(np.float64), truth.visible[rows]
    offsets = keypoints[:, None].astype(np.float64) - true[None]
    low, high = truth.boxes[rows, :2].astype(np.float64), truth.boxes[rows, 2:].astype(np.float64)
    size = high - low
    beyond = np.maximum(0, (low - size)[:, None] - keypoints[:, None]) + np.maximum(0, keypoints[:, None] - (low + 2 * size)[:, None])
    labelled = visible.any(axis=1)
    squared = (np.where(labelled[:, None, None], offsets, beyond) ** 2).sum(axis=-1)
    exponent = squared / (2 * np.asarray(sigmas, np.float64)) ** 2 / (truth.area[rows, None].astype(np.float64) + np.spacing(1)) / 2
    counts = visible | ~labelled[:, None]
    near = np.where(counts & ~np.isnan(exponent), np.exp(-exponent), 0.0)
    return near.sum(axis=-1) / counts.sum(axis=-1)


@dataclass(frozen=True, eq=False)
class _Picture:
    """What became of one picture's poses, the surest first. For each range of areas (a) and threshold (t): right ones, ignored ones."""

    scores: Float[np.ndarray, " d"]
    right: Bool[np.ndarray, "a t d"]
    ignored: Bool[np.ndarray, "a t d"]
    wanted: Int[np.ndarray, " a"]

    @classmethod
    def match(cls, of_truth: np.ndarray, of_found: np.ndarray, truth: TruePoses, found: FoundPoses, sigmas: np.ndarray) -> _Picture:
        """Give each pose in turn the free person that it is most like, above the threshold; persons that count go before ignored ones."""
        order = of_found[np.argsort(-found.scores[of_found], kind="stable")][:MOST]
        keypoints = found.keypoints[order]
        alike = similarities(truth, of_truth, keypoints, sigmas)
        ranges = np.array(list(AREAS.values()))
        ignored_persons = truth.ignore[of_truth] | _outside(truth.area[of_truth], ranges)
        shape = (len(ranges), len(THRESHOLDS), len(of_truth))
        free, crowd = np.ones(shape, bool), truth.crowd[of_truth]
        counting = np.broadcast_to(~ignored_persons[:, None], shape)
        matched = np.zeros((*shape[:2], len(order)), bool)
        ignored = np.zeros((*shape[:2], len(order)), bool)
        for pose in range(len(order) if len(of_truth) else 0):
            possible = (free | crowd) & (alike[pose] >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None])
            first = possible & counting
            choice = np.where(first.any(axis=-1, keepdims=True), first, possible)
            last_best = shape[2] - 1 - np.argmax(np.where(choice, alike[pose], -1.0)[..., ::-1], axis=-1)  # COCO: the last of equals
            some = choice.any(axis=-1)
            matched[..., pose] = some
            ignored[..., pose] = some & ~np.take_along_axis(counting, last_best[..., None], -1)[..., 0]
            free &= ~(some[..., None] & (np.arange(shape[2]) == last_best[..., None]))
        extent = keypoints.max(axis=1, initial=-np.inf) - keypoints.min(axis=1, initial=np.inf)
        ignored |= ~matched & _outside(extent.prod(axis=-1), ranges)[:, None]
        return cls(found.scores[order].astype(np.float64), matched & ~ignored, ignored, (~ignored_persons).sum(axis=-1))


def _by_picture(truth: TruePoses, found: FoundPoses) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of truth and rows found of every picture."""
    names = np.union1d(truth.image, found.image)
    sides = []
    for image in (truth.image, found.image):
        order = np.argsort(image, kind="stable")
        sides.append(np.split(order, np.searchsorted(image[order], names[1:])))
    return list(zip(*sides, strict=True)) if len(names) else []


def _curves(pictures: list[_Picture]) -> tuple[Float[np.ndarray, "a t r"], Float[np.ndarray, "a t"]]:
    """Precision at 101 recalls and the final recall, for each range of areas and threshold; -1 where there is nobody to find."""
    shape = (len(AREAS), len(THRESHOLDS))
    precision, recall = np.full((*shape, len(RECALLS)), -1.0), np.full(shape, -1.0)
    if not pictures:
        return precision, recall
    wanted = np.sum([picture.wanted for picture in pictures], axis=0)
    order = np.argsort(-np.concatenate([picture.scores for picture in pictures]), kind="stable")
    right = np.concatenate([picture.right for picture in pictures], axis=-1)[..., order]
    counted = ~np.concatenate([picture.ignored for picture in pictures], axis=-1)[..., order]
    true_positives = np.cumsum(right, axis=-1, dtype=np.float64)
    positives = np.cumsum(counted, axis=-1, dtype=np.float64)
    for area in np.flatnonzero(wanted):
        for threshold in range(shape[1]):
            hits = true_positives[area, threshold]
            reached = hits / wanted[area]
            share = hits / (positives[area, threshold] + np.spacing(1))
            share = np.maximum.accumulate(share[::-1])[::-1]
            at = np.searchsorted(reached, RECALLS, side="left")
            precision[area, threshold] = np.append(share, 0.0)[np.minimum(at, len(share))]
            recall[area, threshold] = reached[-1] if len(reached) else 0.0
    return precision, recall


def _outside(areas: Float[np.ndarray, " n"], ranges: Float[np.ndarray, "a 2"]) -> Bool[np.ndarray, "a n"]:
    return (areas < ranges[:, :1]) | (areas > ranges[:, 1:])


def _mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0
