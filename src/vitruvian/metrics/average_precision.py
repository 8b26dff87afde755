"""Average precision of keypoints over OKS thresholds, as COCO computes it (pycocotools, COCOeval of iouType "keypoints"), in numpy.

Equal to pycocotools to 1e-12, its rules of ties and ignored persons included: crowds, persons without annotated keypoints and persons
outside the range of areas are ignored, and so is what is found on them; at most 20 poses count per picture, the surest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
_PAIRS = 1024  # handled at once, so that memory does not grow with the number of pictures


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
    return _tables(truth, found, sigmas, {"all": slice(None)}, {"all": truth.ignore})["all"]


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
    parts = {**skeleton.parts, "whole": slice(None)}
    unlabelled = {part: ~truth.visible[:, where].any(axis=1) for part, where in parts.items()}
    for part in parts.keys() & (valid or {}).keys():
        unlabelled[part] |= ~valid[part]
    table = _tables(truth, found, skeleton.sigmas, parts, {part: truth.crowd | rows for part, rows in unlabelled.items()})
    if {"left_hand", "right_hand"} <= table.keys():
        table["hand"] = {name: _mean(np.array([table[hand][name] for hand in ("left_hand", "right_hand")])) for name in table["whole"]}
    return table


def _tables(
    truth: TruePoses, found: FoundPoses, sigmas: Float[np.ndarray, " k"], parts: Mapping[str, slice], ignore: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """The ten numbers for some slices of the keypoints, each with the persons that are ignored there."""
    k = len(sigmas)
    if truth.keypoints.shape[1:] != (k, 2) or found.keypoints.shape[1:] != (k, 2):
        raise VitruvianError(f"{k} sigmas, but keypoints {truth.keypoints.shape} and {found.keypoints.shape}: use one keypoint set")
    pairs = _Pairs.within_pictures(truth.image, found)
    similar = similarities(truth, found.keypoints, pairs.person, pairs.pose, sigmas, parts)
    ranges = np.array(list(AREAS.values()))
    tables = {}
    for part, where in parts.items():
        ignored_persons = ignore[part] | _outside(truth.area, ranges)
        right, ignored = _match(pairs, similar[part], ignored_persons, truth.crowd)
        keypoints = found.keypoints[pairs.poses, where]
        extent = keypoints.max(axis=1, initial=-np.inf) - keypoints.min(axis=1, initial=np.inf)
        ignored |= ~right & _outside(extent.prod(axis=-1), ranges)[:, None]
        scores = found.scores[pairs.poses].astype(np.float64)
        precision, recall = _curves(scores, right, ignored, (~ignored_persons).sum(axis=-1))
        table = {}
        for prefix, values in (("AP", precision), ("AR", recall)):
            table |= {prefix: _mean(values[0]), f"{prefix}50": _mean(values[0, 0]), f"{prefix}75": _mean(values[0, 5])}
            table |= {f"{prefix}M": _mean(values[1]), f"{prefix}L": _mean(values[2])}
        tables[part] = table
    return tables


def similarities(
    truth: TruePoses,
    keypoints: Float[np.ndarray, "m k 2"],
    person: Int[np.ndarray, " p"],
    pose: Int[np.ndarray, " p"],
    sigmas: Float[np.ndarray, " k"],
    parts: Mapping[str, slice],
) -> dict[str, Float[np.ndarray, " p"]]:
    """OKS of P pairs (rows of truth and of poses), by part; where a person has no keypoints, by how far a pose leaves twice the box."""
    out = {part: np.empty(len(person)) for part in parts}
    scale = 1 / (2 * np.asarray(sigmas, np.float64)) ** 2 / 2
    area = truth.area.astype(np.float64) + np.spacing(1)
    # Points that are not annotated are infinitely far: they add nothing, and no mask is needed.
    true = [np.where(truth.visible, truth.keypoints[..., axis], np.inf).astype(np.float64) for axis in (0, 1)]
    poses = [np.nan_to_num(keypoints[..., axis].astype(np.float64), nan=1e150) for axis in (0, 1)]
    counts = {part: truth.visible[:, where].sum(axis=1) for part, where in parts.items()}
    for start in range(0, len(person), _PAIRS):
        rows = slice(start, start + _PAIRS)
        of, at = person[rows], pose[rows]
        weight = scale / area[of, None]
        near, across = poses[0][at] - true[0][of], poses[1][at] - true[1][of]
        near *= near
        across *= across
        near += across
        near *= weight
        np.exp(np.negative(near, out=near), out=near)
        for part, where in parts.items():
            count = counts[part][of]
            value = near[:, where].sum(axis=1) / np.maximum(count, 1)
            if len(bare := np.flatnonzero(count == 0)):
                value[bare] = _beside_box(truth.boxes[of[bare]].astype(np.float64), keypoints[at[bare], where], weight[bare, where])
            out[part][rows] = value
    return out


def _beside_box(boxes: Float[np.ndarray, "p 4"], keypoints: Float[np.ndarray, "p k 2"], weight: Float[np.ndarray, "p k"]) -> np.ndarray:
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    size = high - low
    beyond = np.maximum(0, low - size - keypoints) + np.maximum(0, keypoints - high - size)
    near = np.exp(-(beyond**2).sum(axis=-1) * weight)
    return np.nan_to_num(near).sum(axis=1) / keypoints.shape[1]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The poses that count, picture by picture and the surest first, and all pairs of a pose with a person of its picture.

    poses: (D,) rows of the found. place: (P,) which of the D; pose, person: (P,) rows of found and truth.
    """

    poses: Int[np.ndarray, " d"]
    place: Int[np.ndarray, " p"]
    pose: Int[np.ndarray, " p"]
    person: Int[np.ndarray, " p"]

    @classmethod
    def within_pictures(cls, image: Int[np.ndarray, " n"], found: FoundPoses) -> _Pairs:
        """At most `MOST` poses of each picture, with everybody there."""
        poses = np.lexsort((-found.scores, found.image))
        pictures = found.image[poses]
        rank = np.arange(len(poses)) - np.searchsorted(pictures, pictures)
        poses, pictures = poses[rank < MOST], pictures[rank < MOST]
        persons = np.argsort(image, kind="stable")
        first, last = (np.searchsorted(image[persons], pictures, side=side) for side in ("left", "right"))
        count = last - first
        place = np.repeat(np.arange(len(poses)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return cls(poses, place, poses[place], persons[first[place] + within])


def _match(
    pairs: _Pairs, similar: Float[np.ndarray, " p"], ignored_persons: Bool[np.ndarray, "a n"], crowd: Bool[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, "a t d"], Bool[np.ndarray, "a t d"]]:
    """Which poses are right, and which are ignored because they were found on somebody who is, for each range of areas and threshold.

    Each pose in turn gets the free person that it is most like, above the threshold; persons that count go before ignored ones. All ranges
    and thresholds are done at once: every one is a bit of an integer.
    """
    areas, steps = len(ignored_persons), len(THRESHOLDS)
    slots = areas * steps
    every = (1 << steps) - 1
    passed = np.searchsorted(np.minimum(THRESHOLDS, 1 - 1e-10), similar, side="right")
    possible = np.flatnonzero(passed)
    # COCO gives the last of equals; lexsort's last key goes first.
    possible = possible[np.lexsort((-pairs.person[possible], -similar[possible], pairs.place[possible]))]
    spread = sum(1 << steps * area for area in range(areas))
    above = (((1 << passed[possible]) - 1) * spread).tolist()
    counting = sum((~row).astype(np.int64) * (every << steps * area) for area, row in enumerate(ignored_persons)).tolist()
    free = [every * spread] * len(crowd)
    right, ignored = [0] * len(pairs.poses), [0] * len(pairs.poses)
    place, person, crowded = pairs.place[possible].tolist(), pairs.person[possible].tolist(), crowd.tolist()
    for counts in (True, False):
        # A pose's second choice depends on what poses before it took of the ignored persons only, so the passes may follow each other.
        for bits, d, g in zip(above, place, person, strict=True):
            bits &= counting[g] if counts else ~counting[g]
            bits &= ~(right[d] | ignored[d])
            if not crowded[g]:
                bits &= free[g]
                free[g] ^= bits
            if counts:
                right[d] |= bits
            else:
                ignored[d] |= bits
    shift = np.arange(slots)[:, None]
    return tuple(((np.array(bits, np.int64) >> shift) & 1).astype(bool).reshape(areas, steps, -1) for bits in (right, ignored))


def _curves(
    scores: Float[np.ndarray, " d"], right: Bool[np.ndarray, "a t d"], ignored: Bool[np.ndarray, "a t d"], wanted: Int[np.ndarray, " a"]
) -> tuple[Float[np.ndarray, "a t r"], Float[np.ndarray, "a t"]]:
    """Precision at 101 recalls and the final recall, for each range of areas and threshold; -1 where there is nobody to find."""
    shape = (len(AREAS), len(THRESHOLDS))
    precision, recall = np.full((*shape, len(RECALLS)), -1.0), np.full(shape, -1.0)
    order = np.argsort(-scores, kind="stable")
    true_positives = np.cumsum(right[..., order], axis=-1, dtype=np.float64)
    positives = np.cumsum(~ignored[..., order], axis=-1, dtype=np.float64)
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
