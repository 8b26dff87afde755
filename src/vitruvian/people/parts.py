"""Which hand, face, head or foot is whose: boxes of body parts given to the people of a frame, left and right told apart.

Every part of every person is expected somewhere: where the keypoints say, with a tolerance that grows the less they say, or for heads and
faces at the top of the person's box. Part boxes are then given out so that they all together lie as near to where they are expected as
possible, each to one person and side at most. The rules and numbers are ours; detectors that know the owner (BPJDet and the like) pass it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int

from vitruvian.codecs.detections import Detections
from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import area
from vitruvian.people.assignment import assign
from vitruvian.skeletons import Skeleton
from vitruvian.take import PARTS, People

SEEN = 0.3
"""Confidence from which a keypoint says where a part is."""

_KINDS = ("head", "face", "hand", "foot")
_LIMIT = 1.2  # of the cost (distance over tolerance, and the doubts below): a part at more is nobody's
_DOUBT = 0.3  # extra cost of a detection with score 0
_INSIDE = 0.6  # share of a part's box that lies in the box of its person, where only boxes are known
_OTHER_SIDE = 0.3  # extra cost of giving a part that the detector calls left to the right side


def attach_parts(
    people: People,
    detections: Detections,
    classes: Sequence[str],
    skeleton: Skeleton,
    owners: Int[np.ndarray, " m"] | None = None,
) -> Float32[np.ndarray, "n 6 4"]:
    """The part boxes of the people of one frame, in the order of `take.PARTS`; NaN where a part was not found.

    detections: M boxes with labels that index `classes`. Parts are the classes "head", "face", "hand" and "foot", the last two also with
    a side ("left hand", "left_hand"); others are ignored. owners: (M,) row of `people` that each detection belongs to, -1 for unknown,
    where the detector knows it; only the side is then found here.
    Left and right are decided by the keypoints, and only where those say nothing by the detector's class; a hand or foot whose side is
    not known stays out, and so does a part that is near nobody. Raises VitruvianError where labels, owners and people don't fit.
    """
    owner = np.full(len(detections), -1) if owners is None else np.asarray(owners)
    if owner.shape != (len(detections),) or (owner >= len(people)).any():
        raise VitruvianError(f"owners {owner.shape} for {len(detections)} detections and {len(people)} people: give one row or -1 for each")
    if len(detections) and not (detections.labels.min() >= 0 and detections.labels.max() < len(classes)):
        raise VitruvianError(f"a label is none of the {len(classes)} classes: pass the classes of the detector's card")
    out = np.full((len(people), len(PARTS), 4), np.nan, np.float32)
    kinds = [_kind(name) for name in classes]
    place, reach = _expected(people, skeleton)
    for kind in _KINDS:
        rows = np.flatnonzero([kinds[label][0] == kind for label in detections.labels])
        slots = [i for i, part in enumerate(PARTS) if part.endswith(kind)]
        if not len(rows) or not len(people):
            continue
        sides = [kinds[label][1] for label in detections.labels[rows]]
        boxes, mine = detections.boxes[rows], owner[rows]
        cost = np.stack([_cost(people, boxes, place[:, i], reach[:, i], PARTS[i], sides, mine) for i in slots], axis=2)
        # Of two boxes at one place the surer one; but as the score is the same for all owners, it moves no part to somebody else.
        cost = np.minimum(cost + _DOUBT * (1 - np.clip(detections.scores[rows], 0, 1))[:, None, None], _LIMIT)
        for box, column in zip(*assign(cost.reshape(len(rows), -1)), strict=True):
            person, slot = divmod(int(column), len(slots))
            if cost[box, person, slot] < _LIMIT:
                out[person, slots[slot]] = detections.boxes[rows[box]]
    return out


def is_part(name: str) -> bool:
    """Whether a detector's class of this name is a part that `attach_parts` gives to people."""
    return bool(_kind(name)[0])


def _kind(name: str) -> tuple[str, str]:
    """Kind and side of a class: ("hand", "left") for "Left hand"; ("", "") for what is no part."""
    words = name.lower().replace("_", " ").replace("-", " ")
    side = next((side for side in ("left", "right") if words.startswith(side)), "")
    kind = words.removeprefix(side).strip()
    return (kind, side if kind in ("hand", "foot") else "") if kind in _KINDS else ("", "")


def _cost(
    people: People,
    boxes: Float[np.ndarray, "m 4"],
    place: Float[np.ndarray, "n 2"],
    reach: Float[np.ndarray, " n"],
    part: str,
    sides: Sequence[str],
    owner: Int[np.ndarray, " m"],
) -> Float[np.ndarray, "m n"]:
    """How far each box is from being the given part of each person: distance over tolerance; infinite where it can't be."""
    boxes = boxes.astype(np.float64)
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, np.sqrt(np.maximum(area(boxes), 1.0)) / 2
    known = np.isfinite(place).all(-1)
    distance = np.linalg.norm(centre[:, None] - np.where(known[:, None], place, 0.0), axis=-1)
    cost = distance / (1.2 * half[:, None] + reach)
    other = np.array([bool(side) and not part.startswith(side) for side in sides])
    same = np.array([bool(side) and part.startswith(side) for side in sides]) | (part in ("head", "face"))
    cost += _OTHER_SIDE * other[:, None]
    blind = _by_boxes(people.boxes.astype(np.float64), boxes, part)
    mine = owner[:, None] == np.arange(len(people))
    # An owner that the detector is sure of counts however far the part is; the distance still tells its sides apart.
    cost = np.where(mine, (_LIMIT - _DOUBT) * cost / (cost.max(initial=0.0) + 1), cost)
    blind = np.where(mine, 0.0, blind)
    cost = np.where(known, cost, np.where(same[:, None], blind, np.inf))
    return np.where(mine | (owner[:, None] < 0), cost, np.inf)


def _by_boxes(people: Float[np.ndarray, "n 4"], boxes: Float[np.ndarray, "m 4"], part: str) -> Float[np.ndarray, "m n"]:
    """Costs from 0.5 on where only boxes are known: a part lies in its person; heads and faces at the top, feet at the bottom."""
    low = np.maximum(boxes[:, None, :2], people[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], people[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(-1) / np.maximum(area(boxes), 1e-9)[:, None]
    size = np.maximum(people[:, 2:] - people[:, :2], 1e-9)
    x, y = np.moveaxis(((boxes[:, None, :2] + boxes[:, None, 2:]) / 2 - people[:, :2]) / size, -1, 0)
    away = {"hand": np.zeros_like(x), "foot": 1 - y}.get(part.rpartition("_")[2], y + 0.5 * np.abs(x - 0.5))
    return np.where(inside > _INSIDE, 0.5 + np.clip(away, 0, 2), np.inf)


def _expected(people: People, skeleton: Skeleton) -> tuple[Float[np.ndarray, "n 6 2"], Float[np.ndarray, "n 6"]]:
    """Where the middle of each part is expected by the keypoints, NaN where they say nothing, and how far off (pixels) that may be."""
    places = np.full((len(people), len(PARTS), 2), np.nan)
    reach = np.zeros((len(people), len(PARTS)))
    points = _Points(people, skeleton)
    head = points.mean("nose", "left_eye", "right_eye", "left_ear", "right_ear", least=2)
    for slot, part in enumerate(PARTS):
        if part == "head":
            guesses = [(head, 0.0)]
        elif part == "face":
            guesses = [(points.part_mean("face", 20), 0.0), (points.mean("nose", "left_eye", "right_eye", least=2), 0.0), (head, 0.0)]
        elif part.endswith("hand"):
            guesses = _hand_guesses(points, part.removesuffix("_hand"))
        else:
            guesses = _foot_guesses(points, part.removesuffix("_foot"))
        for place, radius in guesses:
            use = np.isnan(places[:, slot, 0]) & np.isfinite(place).all(-1)
            places[use, slot] = place[use]
            reach[use, slot] = np.broadcast_to(radius, len(people))[use]
    return places, reach


def _hand_guesses(points: _Points, side: str) -> list[tuple[np.ndarray, np.ndarray | float]]:
    """By the hand's points; beyond the wrist, away from the elbow; at the wrist; or somewhere around the elbow."""
    wrist, elbow, shoulder = (points.at(f"{side}_{joint}") for joint in ("wrist", "elbow", "shoulder"))
    upper, fore = np.linalg.norm(elbow - shoulder, axis=-1), np.linalg.norm(wrist - elbow, axis=-1)
    hand = points.part_mean(f"{side}_hand", 6)
    return [(hand, 0.0), (wrist + 0.35 * (wrist - elbow), 0.15 * fore), (wrist, 0.0), (elbow, np.nan_to_num(upper))]


def _foot_guesses(points: _Points, side: str) -> list[tuple[np.ndarray, np.ndarray | float]]:
    """By toes and heel with the ankle; at the ankle; or below the knee in the line of the thigh."""
    knee, hip = points.at(f"{side}_knee"), points.at(f"{side}_hip")
    thigh = np.linalg.norm(knee - hip, axis=-1)
    foot = points.mean(*(f"{side}_{point}" for point in ("ankle", "big_toe", "small_toe", "heel")), least=2)
    return [(foot, 0.0), (points.at(f"{side}_ankle"), 0.15 * np.nan_to_num(thigh)), (knee + (knee - hip), 0.7 * thigh)]


class _Points:
    """The sure keypoints of some people by name; NaN for the others and for those that the skeleton lacks."""

    def __init__(self, people: People, skeleton: Skeleton) -> None:
        sure = (people.confidence >= SEEN)[..., None]
        self._skeleton = skeleton
        self._keypoints = np.where(sure, people.keypoints.astype(np.float64), np.nan)

    def at(self, name: str) -> Float[np.ndarray, "n 2"]:
        """One keypoint."""
        if name in self._skeleton.names:
            return self._keypoints[:, self._skeleton.index(name)]
        return np.full((len(self._keypoints), 2), np.nan)

    def mean(self, *names: str, least: int) -> Float[np.ndarray, "n 2"]:
        """The mean of those of the named that are sure, where `least` are."""
        return _mean(np.stack([self.at(name) for name in names], axis=1), least)

    def part_mean(self, part: str, least: int) -> Float[np.ndarray, "n 2"]:
        """The mean of the sure points of a part of the skeleton, where `least` are."""
        return _mean(self._keypoints[:, self._skeleton.parts.get(part, slice(0, 0))], least)


def _mean(points: Float[np.ndarray, "n k 2"], least: int) -> Float[np.ndarray, "n 2"]:
    seen = np.isfinite(points).all(-1, keepdims=True)
    count = seen.sum(1)
    return np.where(count >= least, np.where(seen, points, 0.0).sum(1) / np.maximum(count, 1), np.nan)
