"""Hands and faces looked at again: crops around them go through networks for hands and faces, and what those see better is taken over.

In a whole body of 256 pixels a hand has 20; in a crop of its own it has all of them. Regions come from the boxes of part detectors where
there are some, else from the keypoints. The rules and numbers are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133, FACE_68, HAND_21, Skeleton, convert
from vitruvian.skeletons.coco import hand_names
from vitruvian.take import PARTS, People

if TYPE_CHECKING:
    from vitruvian.runtime import PoseEstimator

SEEN = 0.3
"""Confidence from which a keypoint of the body says where a part is."""
AGREE = 0.1
"""Of a part's size: sightings that are nearer to each other are averaged, of others the surer part counts."""
STRAY = 0.75
"""Of a part's size: a part whose root is farther from the body's wrist or nose belongs to somebody else, or is nothing."""

_HANDS = ("left_hand", "right_hand")
_MARGIN = 1.5  # of a region's longer side, from its middle: more than any network's crop reaches


@dataclass(frozen=True, eq=False)
class _Regions:
    """Regions of one part in all frames: `frame` and `row` of the person, `boxes` (m, 4), `part`."""

    part: str
    frame: np.ndarray
    row: np.ndarray
    boxes: Float[np.ndarray, "m 4"]


class Refiner:
    """Runs a hand network and a face network on the regions of hands and faces, and merges what they see into the people.

    hand: a network of 21 points (HAND_21's or InterHand2.6M's); face: one of 68, 98, 106 or 29 points, which are expressed in the 68.
    None leaves that part as it is. knows: the hand that the network was trained on; hands of the other side are shown to it mirrored.
    skeleton: the people's keypoint set, which must have both hands and a face as COCO-WholeBody does. least_side: regions whose longer
    side has fewer pixels are not worth a look. Raises VitruvianError for networks or keypoint sets without such points.
    """

    def __init__(
        self,
        hand: PoseEstimator | None = None,
        face: PoseEstimator | None = None,
        *,
        knows: Literal["both", "left", "right"] = "both",
        skeleton: Skeleton = COCO_WHOLEBODY_133,
        least_side: float = 12.0,
    ) -> None:
        if knows not in ("both", "left", "right"):
            raise VitruvianError(f"a hand network knows both, left or right hands, not {knows!r}")
        for network, target, what in ((hand, HAND_21, "hand"), (face, FACE_68, "face")):
            if network is not None and _shared(network.card.keypoint_set, target) < 0.5 * min(len(target), network.keypoints):
                raise VitruvianError(f"{network.card.id!r} finds {network.card.skeleton}, no {what}: choose a network for {what}s")
        self._where = _places(skeleton, hand is not None, face is not None)
        self._hand, self._face, self._knows, self._skeleton, self._least = hand, face, knows, skeleton, least_side

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], people: Sequence[People]) -> list[People]:
        """The people of each picture (RGB) with keypoints and confidence of hands and faces merged; all else stays as it is.

        Crops of all pictures run together. Points of both sightings that agree are averaged by their squared confidence; elsewhere the
        part with the higher mean confidence counts, and the other fills what it lacks. A new part that lies away from the body's wrist
        or nose is dropped. Raises VitruvianError where pictures and people don't pair up, or people have other keypoints.
        """
        if len(images) != len(people):
            raise VitruvianError(f"{len(images)} pictures but the people of {len(people)}: give one People per picture")
        if any(one.keypoints.shape[1] != len(self._skeleton) for one in people):
            raise VitruvianError(f"these people do not have the {len(self._skeleton)} points of {self._skeleton.name}; convert them first")
        keypoints = [one.keypoints.copy() for one in people]
        confidence = [one.confidence.copy() for one in people]
        for part, points in self._where.items():
            regions = self._regions(part, people)
            found, scores = self._look(images, regions)
            anchor = self._anchor(part)
            for frame, row, box, new, sure in zip(regions.frame, regions.row, regions.boxes, found, scores, strict=True):
                body, trusted = people[frame].keypoints[row], people[frame].confidence[row]
                root, joint = anchor
                near = np.linalg.norm(new[root] - body[joint]) if trusted[joint] >= SEEN and sure[root] > 0 else 0.0
                size = float((box[2:] - box[:2]).max())
                if np.isnan(near) or near <= STRAY * size:
                    old = keypoints[frame][row, points], confidence[frame][row, points]
                    keypoints[frame][row, points], confidence[frame][row, points] = merge(*old, new, sure, size)
        return [replace(one, keypoints=k, confidence=c) for one, k, c in zip(people, keypoints, confidence, strict=True)]

    def _anchor(self, part: str) -> tuple[int, int]:
        """The point of a part, and the point of the body, that must be near each other."""
        if part == "face":
            return 30, self._skeleton.index("nose")  # iBUG's tip of the nose
        return 0, self._skeleton.index(part.replace("hand", "wrist"))

    def _regions(self, part: str, people: Sequence[People]) -> _Regions:
        """Where to look for a part: its box, or what the keypoints say. Places without either, and small ones, are left out."""
        frames, rows, boxes = [], [], []
        for frame, one in enumerate(people):
            places = _from_keypoints(one, part, self._skeleton)
            if one.part_boxes is not None:
                given = one.part_boxes[:, PARTS.index(part)].astype(np.float64)
                places = np.where(np.isfinite(given).all(-1, keepdims=True), given, places)
            with np.errstate(invalid="ignore"):
                worth = np.flatnonzero(np.isfinite(places).all(-1) & ((places[:, 2:] - places[:, :2]).max(-1) >= self._least))
            frames += [frame] * len(worth)
            rows += worth.tolist()
            boxes.append(places[worth])
        return _Regions(part, np.array(frames, int), np.array(rows, int), np.concatenate([np.zeros((0, 4)), *boxes]))

    def _look(self, images: Sequence[np.ndarray], regions: _Regions) -> tuple[Float[np.ndarray, "m k 2"], Float[np.ndarray, "m k"]]:
        """Keypoints (in the pictures' pixels) and confidence of each region, in the order of HAND_21 or FACE_68."""
        network, target = (self._face, FACE_68) if regions.part == "face" else (self._hand, HAND_21)
        count = len(regions.boxes)
        if not count:
            return np.zeros((0, len(target), 2)), np.zeros((0, len(target)))
        if regions.part in _HANDS and self._knows not in ("both", regions.part.removesuffix("_hand")):
            views = [_mirrored(images[frame], box) for frame, box in zip(regions.frame, regions.boxes, strict=True)]
            found = network([view for view, _, _ in views], [box[None] for _, box, _ in views])
            keypoints = np.concatenate([one.keypoints for one in found]).astype(np.float64)
            keypoints[..., 0] = np.array([right for _, _, right in views])[:, None] - keypoints[..., 0]
            keypoints[..., 1] += np.array([_corner(box)[1] for box in regions.boxes])[:, None]
        else:
            used = np.unique(regions.frame)
            found = network([images[frame] for frame in used], [regions.boxes[regions.frame == frame] for frame in used])
            keypoints = np.concatenate([one.keypoints for one in found]).astype(np.float64)
        scores = np.clip(np.concatenate([one.scores for one in found]), 0.0, 1.0)
        keypoints[scores <= 0] = np.nan
        source = network.card.keypoint_set
        if source.names != target.names:
            converted = convert(keypoints, scores, source, target)
            keypoints, scores = converted.keypoints, converted.scores
        return keypoints, scores


def merge(
    old: Float[np.ndarray, "k 2"],
    old_confidence: Float[np.ndarray, " k"],
    new: Float[np.ndarray, "k 2"],
    new_confidence: Float[np.ndarray, " k"],
    size: float,
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, " k"]]:
    """Two sightings of one part as one; a point counts as seen where it is finite and its confidence over 0. `size`: of the part, pixels.

    Points that lie within `AGREE` sizes are averaged by squared confidence and have the higher of both; of others the one of the part
    with the higher mean confidence counts. A point that only one has seen is taken from that one.
    """
    old, new = np.asarray(old, np.float64), np.asarray(new, np.float64)
    a, b = _seen(old, old_confidence), _seen(new, new_confidence)
    weight_a, weight_b = (np.where(seen, confidence, 0.0) ** 2 for seen, confidence in ((a, old_confidence), (b, new_confidence)))
    total = np.maximum(weight_a + weight_b, 1e-12)[:, None]
    mean = (weight_a[:, None] * np.where(a[:, None], old, 0.0) + weight_b[:, None] * np.where(b[:, None], new, 0.0)) / total
    with np.errstate(invalid="ignore"):
        agree = a & b & (np.linalg.norm(old - new, axis=-1) <= AGREE * size)
    surer = np.where(b, new_confidence, 0.0).mean() >= np.where(a, old_confidence, 0.0).mean()
    take_new = b & (surer | ~a)
    keypoints = np.where(agree[:, None], mean, np.where(take_new[:, None], new, old))
    confidence = np.where(agree, np.maximum(old_confidence, new_confidence), np.where(take_new, new_confidence, old_confidence))
    return keypoints, confidence


def _seen(keypoints: Float[np.ndarray, "k 2"], confidence: Float[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    return np.isfinite(keypoints).all(-1) & (np.nan_to_num(confidence) > 0)


def _shared(source: Skeleton, target: Skeleton) -> int:
    """How many points of `target` the set `source` has."""
    nothing = np.zeros((len(source), 2)), np.ones(len(source))
    return len(target) - len(convert(*nothing, source, target).missing)


def _places(skeleton: Skeleton, hands: bool, face: bool) -> dict[str, slice]:
    """Where the wanted parts are in a whole-body set. Raises VitruvianError where they aren't in the order of HAND_21 and FACE_68."""
    wanted = {part: hand_names(part.removesuffix("_hand")) for part in _HANDS if hands} | ({"face": FACE_68.names} if face else {})
    for part, names in wanted.items():
        if part not in skeleton.parts or skeleton.names[skeleton.parts[part]] != names or "nose" not in skeleton.names:
            raise VitruvianError(f"{skeleton.name} has no {part} to refine; convert the people to {COCO_WHOLEBODY_133.name} first")
    return {part: skeleton.parts[part] for part in wanted}


def _from_keypoints(people: People, part: str, skeleton: Skeleton) -> Float[np.ndarray, "n 4"]:
    """The box of a part by the keypoints: around its own points if a third of them are sure, else by the body's; NaN where unknown."""
    sure = people.confidence >= SEEN
    keypoints = np.where(sure[..., None], people.keypoints.astype(np.float64), np.nan)
    where = skeleton.parts[part]
    own = keypoints[:, where]
    enough = _seen_count(own) >= own.shape[1] / 3
    tight = enclosing(own, np.isfinite(own).all(-1))
    margin = 0.1 * (tight[:, 2:] - tight[:, :2])
    around = np.concatenate([tight[:, :2] - margin, tight[:, 2:] + margin], axis=1)

    def at(name: str) -> np.ndarray:
        return keypoints[:, skeleton.index(name)]

    if part == "face":
        # The eyes are 0.4, the ears 0.9 of a face's width apart when seen from the front; the larger answer holds in profile too.
        eyes = np.linalg.norm(at("left_eye") - at("right_eye"), axis=-1) / 0.4
        ears = np.linalg.norm(at("left_ear") - at("right_ear"), axis=-1) / 0.9
        profile = np.fmax(*(np.linalg.norm(at("nose") - at(f"{side}_ear"), axis=-1) for side in ("left", "right"))) / 0.7
        centre, side = at("nose"), np.fmax(np.fmax(eyes, ears), profile)
    else:
        left_or_right = part.removesuffix("_hand")
        wrist, elbow, shoulder = (at(f"{left_or_right}_{joint}") for joint in ("wrist", "elbow", "shoulder"))
        # A forearm that points at the camera is short in the picture, its hand is not.
        arm = np.fmax(np.linalg.norm(wrist - elbow, axis=-1), 0.8 * np.linalg.norm(elbow - shoulder, axis=-1))
        centre, side = wrist + 0.3 * (wrist - elbow), 0.9 * arm
    half = side[:, None] / 2
    return np.where(enough[:, None], around, np.concatenate([centre - half, centre + half], axis=1))


def _seen_count(points: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, " n"]:
    return np.isfinite(points).all(-1).sum(-1)


def _corner(box: Float[np.ndarray, " 4"]) -> tuple[int, int]:
    """Left and top of the piece of a picture that is mirrored for a region; not before the picture starts."""
    reach = _MARGIN * max(box[2] - box[0], box[3] - box[1])
    x, y = (box[:2] + box[2:]) / 2 - reach
    return max(0, int(x)), max(0, int(y))


def _mirrored(
    image: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, " 4"]
) -> tuple[UInt8[np.ndarray, "a b 3"], Float[np.ndarray, " 4"], float]:
    """A mirrored piece of the picture around a region, the region in it, and the picture's x of the piece's right border.

    Only a piece, because mirroring a large picture for every hand would cost more than the network.
    """
    left, top = _corner(box)
    reach = _MARGIN * max(box[2] - box[0], box[3] - box[1])
    right, bottom = (int(np.ceil(v)) for v in (box[:2] + box[2:]) / 2 + reach)
    piece = image[top : max(top + 1, bottom + 1), left : max(left + 1, right + 1)]
    if not piece.size:  # a region beside the picture
        piece = np.zeros((1, 1, 3), np.uint8)
    last = left + piece.shape[1] - 1
    return np.ascontiguousarray(piece[:, ::-1]), np.array([last - box[2], box[1] - top, last - box[0], box[3] - top]), float(last)
