"""How alike two detections are: boxes and keypoints in one number; and one body reported only once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.geometry.boxes import area
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Take

SURE_OF_BOX = 0.6  # score of a detection that needs no second opinion
OFTEN = 0.2  # share of frames
FILM, BRIEF = 12, 3  # in a film of so many frames, nobody is seen in fewer than so many
WITHIN = 0.85  # share of a box within another's person that makes it a possible piece
BELIEF = 0.4  # confidence of a keypoint that speaks for a body
DEFAULT_SIGMA = 0.079  # of a shoulder: for skeletons whose sigmas nobody has published


def comparison_points(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the keypoints that tell people apart, and their sigmas.

    The body's where the skeleton names them: the 110 points of face and hands have so small sigmas, and are so often wrong, that between
    two frames they would outvote the body.
    """
    everything = np.arange(len(skeleton))
    points = everything[skeleton.parts["body"]] if "body" in skeleton.parts else everything
    sigmas = np.full(len(points), DEFAULT_SIGMA) if skeleton.sigmas is None else np.asarray(skeleton.sigmas, dtype=np.float64)[points]
    return points, sigmas


def pose_similarity(
    a: Float[np.ndarray, "n k 2"],
    b: Float[np.ndarray, "m k 2"],
    confidence_a: Float[np.ndarray, "n k"],
    confidence_b: Float[np.ndarray, "m k"],
    areas: Float[np.ndarray, "n m"],
    sigmas: Float[np.ndarray, " k"],
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """Object keypoint similarity of every pair in [0, 1], each point weighted by both confidences, and the summed weights.

    The similarity is that of COCO, exp(-d^2 / (2 area (2 sigma)^2)), with `areas` the persons' box areas in square pixels. The summed
    weight is the number of points that the answer rests on: near 0 it means nothing. Points that are not finite have no weight.
    """
    (a, weights_a), (b, weights_b) = (_finite(*one) for one in ((a, confidence_a), (b, confidence_b)))
    scaled = [(a[:, None, :, axis] - b[None, :, :, axis]) / sigmas for axis in (0, 1)]
    near = np.exp((scaled[0] ** 2 + scaled[1] ** 2) * (-0.125 / np.maximum(areas, 1.0))[..., None])
    total = weights_a @ weights_b.T
    return np.einsum("nk,mk,nmk->nm", weights_a, weights_b, near) / np.maximum(total, 1e-9), total


def without_duplicates(people: People, skeleton: Skeleton, most_alike: float = 0.8) -> People:
    """The people of one frame with each body once: of two that share a pose, the one with the lower score goes.

    Two detections on one body (a whole and a half box, say) lead the pose network to the same keypoints, which box overlap alone can't
    tell from two persons side by side. Rank is score times mean confidence; poses that rest on few sure points (summed confidence
    products under 2) are kept. Source: OKS non-maximum suppression (Papandreou et al., CVPR 2017). What may be a piece of another body
    (`parts_of`, `within_others`) goes as well if its score is the lower one (ours).
    """
    if len(people) < 2:
        return people
    alike, evidence = _alike(people, skeleton)
    same = (alike > most_alike) & (evidence > 2)
    weaker = people.scores[:, None] < people.scores[None]
    whole = ~((_pieces(people, alike, evidence) & weaker).any(1) | within_others(people, skeleton).any(1))
    people, same = people[whole], same[np.ix_(whole, whole)]
    rank = np.argsort(-people.scores * np.nan_to_num(people.confidence).mean(1), kind="stable")
    keep: Bool[np.ndarray, " n"] = np.zeros(len(people), dtype=bool)
    for row in rank:
        keep[row] = not (same[row] & keep).any()
    return people if keep.all() else people[keep]


def believable(people: People, skeleton: Skeleton, sure: float = SURE_OF_BOX) -> Bool[np.ndarray, " n"]:
    """Who is a person by two opinions: detected with a score of at least `sure`, or with three keypoints of at least BELIEF.

    A pose network is less sure of leaves and windows than of people, and so can overrule a doubtful detection. Ours.
    """
    points, _ = comparison_points(skeleton)
    return (people.scores >= sure) | ((people.confidence[:, points] >= BELIEF).sum(1) >= min(3, len(points)))


def without_doubtful_tracks(take: Take, strong: float = 0.3) -> Take:
    """The take without tracks that nothing ever spoke for, now that the whole film is known. Rows without a track stay. Ours.

    Somebody is seen in three frames at least, and either detected with a good score once, or with at least `strong` in a fifth of the
    frames and with sure keypoints in most.
    """
    points, _ = comparison_points(take.skeleton)
    people, keep = take.people, np.ones(len(take.people), bool)
    for track in take.tracks if len(take.times) >= FILM else ():
        rows = people.track == track
        scores, sure = people.scores[rows], np.nan_to_num(people.confidence[rows][:, points]).mean(1)
        spoken_for = np.median(sure) >= BELIEF and (scores >= strong).mean() >= OFTEN
        keep[rows] = rows.sum() >= BRIEF and (scores.max() >= SURE_OF_BOX or spoken_for)
    return take if keep.all() else take.subset(keep)


def within_others(people: People, skeleton: Skeleton) -> Bool[np.ndarray, "n n"]:
    """Whether row i is a doubtful detection within the larger, surer person of row j: within the box, or that of the sure keypoints.

    A leg or a trunk alone looks like somebody to a detector, and a pose network finds a whole person in it; a person who truly stands
    before another is found with a good score sooner or later. Ours.
    """
    points, _ = comparison_points(skeleton)
    sure_of = np.isfinite(people.keypoints[:, points]).all(-1) & (np.nan_to_num(people.confidence[:, points]) >= BELIEF)
    low, high = (np.where(sure_of[..., None], people.keypoints[:, points], far) for far in (np.inf, -np.inf))
    boxes = people.boxes.astype(np.float64)
    extent = np.concatenate(
        [np.minimum(boxes[:, :2], low.min(1, initial=np.inf)), np.maximum(boxes[:, 2:], high.max(1, initial=-np.inf))], 1
    )
    doubtful = (people.scores[:, None] < SURE_OF_BOX) & (people.scores[:, None] < people.scores[None])
    return doubtful & (_shared(boxes, extent) > WITHIN * area(boxes)[:, None]) & (area(boxes)[:, None] < area(extent)[None])


def _shared(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Areas that boxes have in common."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)


def parts_of(people: People, skeleton: Skeleton) -> Bool[np.ndarray, "n n"]:
    """Whether row i may be a piece of row j: its box lies within a larger one, and its pose agrees at least roughly.

    Boxes around half a body give poor poses, and two people who cross look the same for a moment; so this alone is a reason not to
    believe in a new person, but none to drop a known one. Ours.
    """
    return _pieces(people, *_alike(people, skeleton))


def _pieces(
    people: People, alike: Float[np.ndarray, "n n"], evidence: Float[np.ndarray, "n n"], least_alike: float = 0.4
) -> Bool[np.ndarray, "n n"]:
    areas = area(people.boxes)
    return (
        (_shared(people.boxes, people.boxes) > WITHIN * areas[:, None])
        & (areas[:, None] < areas[None])
        & (alike > least_alike)
        & (evidence > 2)
    )


def _alike(people: People, skeleton: Skeleton) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """`pose_similarity` of the people of one frame among themselves, on the smaller area of each pair."""
    points, sigmas = comparison_points(skeleton)
    areas, keypoints, confidence = area(people.boxes), people.keypoints[:, points], np.nan_to_num(people.confidence[:, points])
    return pose_similarity(keypoints, keypoints, confidence, confidence, np.minimum(areas[:, None], areas[None]), sigmas)


def _finite(keypoints: Float[np.ndarray, "n k 2"], confidence: Float[np.ndarray, "n k"]) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64, with zeros where a point is not finite."""
    finite = np.isfinite(keypoints).all(-1)
    keypoints = np.where(finite[..., None], keypoints, 0.0)
    return keypoints.astype(np.float64), np.where(finite, np.nan_to_num(confidence), 0.0).astype(np.float64)
