"""Are parts found, and are they hung on the right bodies? Miss rates, average precision of pairs, conditional accuracy.

After card bpjdet.md section 7. Ground truth and detections are rows over all pictures, with the number of their picture; boxes are xyxy.

| measure | of | what it asks |
|---|---|---|
| `miss_rate` MR-2 | bodies or parts alone | log-average miss rate at 10^-2 ... 1 false positives per picture (Dollar et al. 2012) |
| `miss_rate` mMR-2 | bodies with their part | the same, where both boxes must be right |
| `crowd_precision` | bodies or parts alone | CrowdHuman's AP at IoU 0.5: the area under precision over recall as it is |
| `pair_scores` | parts with their body (BodyHands) | AP of parts; share of those found that have the right body; AP of both together |
| `metrics.boxes` | each class, all or hung parts only | COCO's AP; of hung parts only, the "subordinate" AP of COCOHumanParts |

The figure that BPJDet's tables call Joint AP (77.9 to 84.4) does not check the body; `joint_ap` here does (62.7 to 63.6 there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.geometry.boxes import area, iou

FPPI = 10.0 ** np.arange(-2, 0.01, 0.25)
"""The nine numbers of false positives per picture at which the miss rate is read."""
_HEIGHT_SLACK = 1.25  # detections a little outside the range of heights may still match


@dataclass(frozen=True, eq=False)
class TruePairs:
    """N annotated bodies, each with a part, or (`parts` None) alone. image: (N,) pictures. visible: (N,) visible share of the body.

    ignore: (N,) neither missed nor a fault to find.
    """

    image: Int[np.ndarray, " n"]
    bodies: Float[np.ndarray, "n 4"]
    parts: Float[np.ndarray, "n 4"] | None
    visible: Float[np.ndarray, " n"]
    ignore: Bool[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class FoundPairs:
    """M detected bodies, each with a part, or (`parts` None) alone. scores: (M,). part_scores: (M,) for mMR-2, which only takes bodies that
    have a part and ranks them by the sum of both.
    """

    image: Int[np.ndarray, " m"]
    bodies: Float[np.ndarray, "m 4"]
    parts: Float[np.ndarray, "m 4"] | None
    scores: Float[np.ndarray, " m"]
    part_scores: Float[np.ndarray, " m"] | None = None


@dataclass(frozen=True)
class Setup:
    """Which annotated bodies count: ranges of body height (pixels), visible share, and part height (pixels)."""

    height: tuple[float, float] = (0.0, math.inf)
    visible: tuple[float, float] = (0.0, math.inf)
    part_height: tuple[float, float] = (0.0, math.inf)


_ANY = math.inf
CROWDHUMAN: Mapping[str, Setup] = {
    "Reasonable": Setup((50, _ANY), (0.65, _ANY), (10, _ANY)),
    "Small": Setup((50, 75), (0.65, _ANY), (10, 15)),
    "Heavy": Setup((50, _ANY), (0.2, 0.65), (10, _ANY)),
    "All": Setup((20, _ANY), (0.2, _ANY), (20, _ANY)),
}
CITYPERSONS: Mapping[str, Setup] = {
    "Reasonable": Setup((50, _ANY), (0.65, _ANY), (20, _ANY)),
    "Bare": Setup((50, _ANY), (0.9, _ANY), (20, _ANY)),
    "Partial": Setup((50, _ANY), (0.65, 0.9), (20, _ANY)),
    "Heavy": Setup((50, _ANY), (0.0, 0.65), (20, _ANY)),
}


def miss_rate(
    truth: TruePairs,
    found: FoundPairs,
    pictures: int,
    setup: Setup = Setup(),  # noqa: B008  (frozen)
    published: bool = True,
    most: int = 1000,
) -> float:
    """Log-average miss rate in [0, 1] of bodies (MR-2), or of bodies with their parts where both sides have some (mMR-2); less is better.

    pictures: how many there are, also those without anybody. NaN where nobody counts. At most `most` detections per picture.
    `published` keeps two slips that the tables have. Bodies choose in the order of their own scores, but the sums by which all pictures are
    then ranked are sorted apart, so that within a picture one detection gets another's (found by comparing numbers: no other order gives
    those of the published program). And where even the first false positive is too many for a point (fewer than 100 pictures), the final
    recall is read there, instead of none.
    """
    right, wanted = _ranked(truth, found, setup, published, most)
    if not wanted:
        return math.nan
    recall, per_picture = np.cumsum(right) / wanted, np.cumsum(~right) / pictures
    reached = np.zeros(len(FPPI))
    if len(recall):
        last = np.searchsorted(per_picture, FPPI, side="right") - 1
        reached = recall[last] if published else np.where(last >= 0, recall[last], 0.0)
    return float(np.exp(np.log(np.maximum(1 - reached, 1e-10)).mean()))


def crowd_precision(truth: TruePairs, found: FoundPairs, most: int = 1000) -> float:
    """Average precision in [0, 1] by the rule of CrowdHuman's toolkit [mem]: boxes match as for MR-2, at IoU 0.5, and precision over recall
    is summed by trapezoids, without COCO's rounding up or its 101 points. NaN where nobody counts.

    From memory the toolkit starts at the first detection; here at recall 0, which is more by at most one part in the number of people.
    """
    right, wanted = _ranked(truth, found, Setup(), True, most)
    if not wanted:
        return math.nan
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    before = np.append(precision[:1], precision[:-1])
    return float((right * (before + precision) / 2).sum() / wanted)


def _ranked(truth: TruePairs, found: FoundPairs, setup: Setup, published: bool, most: int) -> tuple[Bool[np.ndarray, " d"], int]:
    """Which of the detections that count are right, the surest of all pictures first, and how many bodies there were to find."""
    matches = [
        _match_picture(truth, np.flatnonzero(truth.image == image), found, np.flatnonzero(found.image == image), setup, published, most)
        for image in np.union1d(truth.image, found.image)
    ]
    scores, right = (np.concatenate([np.zeros(0, kind), *(m[i] for m in matches)]) for i, kind in enumerate((float, bool)))
    return right[np.argsort(-scores, kind="stable")], sum(m[2] for m in matches)


def _match_picture(
    truth: TruePairs, of_truth: np.ndarray, found: FoundPairs, of_found: np.ndarray, setup: Setup, published: bool, most: int
) -> tuple[Float[np.ndarray, " d"], Bool[np.ndarray, " d"], int]:
    """Scores of the detections that count, which of them are right, and how many there were to find. The surest chooses first."""
    joint = truth.parts is not None and found.parts is not None
    ignored = (
        truth.ignore[of_truth] | _beyond(_height(truth.bodies[of_truth]), setup.height) | _beyond(truth.visible[of_truth], setup.visible)
    )
    tall = _height(found.bodies[of_found])
    fits = (tall >= setup.height[0] / _HEIGHT_SLACK) & (tall < setup.height[1] * _HEIGHT_SLACK)
    sums = found.scores.astype(np.float64)
    if joint:
        ignored |= _beyond(_height(truth.parts[of_truth]), setup.part_height)
        size = _height(found.parts[of_found])
        fits &= (size >= setup.part_height[0]) & (size < setup.part_height[1])
        sums = sums + (0.0 if found.part_scores is None else found.part_scores)
    first = np.argsort(ignored, kind="stable")  # those that count
    of_truth, ignored, of_found = of_truth[first], ignored[first], of_found[fits]
    of_found = of_found[np.argsort(-(found.scores if published else sums)[of_found], kind="stable")][:most]
    overlaps = [_overlaps(found.bodies[of_found], truth.bodies[of_truth], ignored)]
    if joint:
        overlaps.append(iou(found.parts[of_found].astype(np.float64), truth.parts[of_truth].astype(np.float64)))
    choice = _choose(np.stack(overlaps, axis=-1), ignored)
    counts = (choice < 0) | ~np.append(ignored, False)[choice]
    ranked = np.sort(sums[of_found])[::-1] if published else sums[of_found]
    return ranked[counts], choice[counts] >= 0, int((~ignored).sum())


def _choose(overlaps: Float[np.ndarray, "d g o"], ignored: Bool[np.ndarray, " g"]) -> Int[np.ndarray, " d"]:
    """The annotated body that each detection (surest first) takes, -1 for none; ignored ones, which come last, may be taken many times.

    Of several, a later one is better only where every overlap is at least as high.
    """
    choice = np.full(len(overlaps), -1)
    free = np.ones(len(ignored), bool)
    for row, possible in enumerate((overlaps >= 0.5).all(axis=-1)):
        best = -1
        for column in np.flatnonzero(possible & free):
            if best >= 0 and ignored[column] and not ignored[best]:
                break
            if best < 0 or (overlaps[row, column] >= overlaps[row, best]).all():
                best = column
        choice[row] = best
        if best >= 0 and not ignored[best]:
            free[best] = False
    return choice


def _overlaps(
    found: Float[np.ndarray, "d 4"], truth: Float[np.ndarray, "g 4"], ignored: Bool[np.ndarray, " g"]
) -> Float[np.ndarray, "d g"]:
    """IoU; with ignored ones the share of the detection that they cover."""
    found, truth = found.astype(np.float64), truth.astype(np.float64)
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    shared = np.clip(np.minimum(found[:, None, 2:], truth[None, :, 2:]) - low, 0, None).prod(axis=-1)
    return np.where(ignored, shared / np.maximum(area(found), 1e-12)[:, None], iou(found, truth))


def _height(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    return boxes[:, 3] - boxes[:, 1]


def _beyond(values: Float[np.ndarray, " n"], limits: tuple[float, float]) -> Bool[np.ndarray, " n"]:
    return (values < limits[0]) | (values > limits[1])


@dataclass(frozen=True)
class PairScores:
    """Of parts with their bodies, all in [0, 1].

    part_ap: 11-point average precision of parts alone. conditional_accuracy: share of the parts found whose body is right, NaN where none
    was found. joint_ap: average precision where a part counts only with the right body.
    """

    part_ap: float
    conditional_accuracy: float
    joint_ap: float


def pair_scores(truth: TruePairs, found: FoundPairs, threshold: float = 0.5, inclusive: bool = True) -> PairScores:
    """BodyHands' protocol: a part is right above that IoU with a true one that is still free; its body is right above it too.

    `ignore` marks difficult parts, which count neither way; heights and visible shares don't matter. A part with a wrong body leaves its
    true part free in `joint_ap`. inclusive: boxes end with their last pixel, as the protocol has it. No part to find gives NaN.
    """
    order = np.argsort(-found.scores.astype(np.float64), kind="stable")
    wanted = int((~truth.ignore).sum())
    taken = [np.zeros(len(truth.image), bool), np.zeros(len(truth.image), bool)]
    counted: list[list[bool]] = [[], []]
    owned = []
    ends = np.array([0, 0, 1, 1]) * float(inclusive)
    for row in order:
        of_picture = np.flatnonzero(truth.image == found.image[row])
        overlap = iou(found.parts[row : row + 1] + ends, truth.parts[of_picture] + ends)[0]
        best = of_picture[overlap.argmax()] if len(of_picture) and overlap.max() > threshold else -1
        if best >= 0 and truth.ignore[best]:
            continue
        body = best >= 0 and bool(iou(found.bodies[row : row + 1] + ends, truth.bodies[best : best + 1] + ends)[0, 0] > threshold)
        for kind, fine in enumerate((best >= 0, body)):
            right = fine and not taken[kind][best]
            counted[kind].append(right)
            if right:
                taken[kind][best] = True
                if kind == 0:
                    owned.append(body)
    part_ap, joint_ap = (eleven_point_ap(np.array(right, bool), wanted) for right in counted)
    return PairScores(part_ap, float(np.mean(owned)) if owned else math.nan, joint_ap)


def eleven_point_ap(right: Bool[np.ndarray, " n"], wanted: int) -> float:
    """VOC 2007's average precision of detections, the surest first: mean over recalls 0, 0.1, ... 1 of the best precision from there on.

    NaN where there is nothing to find.
    """
    if not wanted:
        return math.nan
    hits = np.cumsum(right)
    recall, precision = hits / wanted, hits / np.arange(1, len(right) + 1)
    return float(np.mean([precision[recall >= point].max(initial=0.0) for point in np.arange(0.0, 1.1, 0.1)]))
