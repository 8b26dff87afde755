"""From whole-body keypoints to PyMAF-X's four crops, and the camera of the whole picture (card pymaf-x.md, sections 2 and 5).

Numpy and OpenCV only. Keypoints of any detector with the 133 points of COCO-WholeBody will do. Which hands are seen decides the wrists, so
it is part of what is given back; a hand that is not seen has a black crop.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.codecs.mesh import weak_cameras
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133

SIZE = 224
THRESHOLD = 0.3
ENLARGED = {"body": 1.2, "left_hand": 2.0 * 1.2, "right_hand": 2.0 * 1.2, "face": 1.2 * 1.4}
"""Side of a part's square over the longer side of its keypoints' box."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PartSquares:
    """Squares (xyxy, pixels) of n people; NaN where a part is not seen. `people`: whose body is seen, in the rows that were given."""

    body: Float64[np.ndarray, "n 4"]
    left_hand: Float64[np.ndarray, "n 4"]
    right_hand: Float64[np.ndarray, "n 4"]
    face: Float64[np.ndarray, "n 4"]
    people: Bool[np.ndarray, " m"]

    @property
    def seen(self) -> Bool[np.ndarray, "n 2"]:
        """Which hands, left and right: for the network's `seen`."""
        return np.isfinite(np.stack([self.left_hand[:, 0], self.right_hand[:, 0]], 1))


@dataclass(frozen=True, eq=False)
class Crops:
    """The network's inputs, normalised; the left hand is mirrored to a right one."""

    body: Float32[np.ndarray, "n 3 224 224"]
    left_hand: Float32[np.ndarray, "n 3 224 224"]
    right_hand: Float32[np.ndarray, "n 3 224 224"]
    face: Float32[np.ndarray, "n 3 224 224"]


def part_squares(
    keypoints: Float[np.ndarray, "m 133 2"], confidence: Float[np.ndarray, "m 133"], threshold: float = THRESHOLD
) -> PartSquares:
    """Squares around the keypoints that are sure enough. Of a hand or face at least half of them must be [ours].

    People without two sure keypoints apart are left out. Hands that are not seen are logged, as their wrists are guessed.
    Raises VitruvianError for another number of keypoints.
    """
    keypoints, confidence = np.asarray(keypoints, np.float64), np.asarray(confidence, np.float64)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (133, 2) or confidence.shape != keypoints.shape[:2]:
        raise VitruvianError(f"keypoints {keypoints.shape}, confidence {confidence.shape}: give COCO-WholeBody's, (n, 133, 2) and (n, 133)")
    sure = (confidence >= threshold) & np.isfinite(keypoints).all(-1)
    squares = {}
    for name, factor in ENLARGED.items():
        rows = slice(None) if name == "body" else COCO_WHOLEBODY_133.parts[name]
        squares[name] = _square(keypoints[:, rows], sure[:, rows], factor, 0.0 if name == "body" else 0.5)
    people = np.isfinite(squares["body"][:, 0])
    found = PartSquares(*(square[people] for square in squares.values()), people)
    hidden = int((~found.seen).sum())
    if hidden:
        _LOG.info("%d of %d hands are not seen: their wrists are the body network's, their fingers a mean hand's", hidden, found.seen.size)
    return found


def _square(points: np.ndarray, sure: np.ndarray, factor: float, least: float) -> Float64[np.ndarray, "m 4"]:
    """Around the sure points; NaN where less than the share `least` of them is sure, or they are one place."""
    box = enclosing(points, sure)
    side = (box[:, 2:] - box[:, :2]).max(-1, initial=0.0)
    centre, half = (box[:, :2] + box[:, 2:]) / 2, side[:, None] * factor / 2
    known = (side > 0) & (sure.mean(-1) >= least)
    return np.where(known[:, None], np.concatenate([centre - half, centre + half], 1), np.nan)


def crop(image: UInt8[np.ndarray, "h w 3"], squares: PartSquares) -> Crops:
    """The four crops of everybody (bilinear, black outside the picture and where a part is not seen).

    All are cut from the picture itself; the published program cuts hands and face from a body crop of eight times the size.
    Raises VitruvianError unless `image` is a non-empty RGB uint8 array.
    """
    require_rgb(image)
    parts = {}
    for name in ENLARGED:
        square = getattr(squares, name)
        seen = np.isfinite(square[:, 0])
        pictures = np.zeros((len(square), SIZE, SIZE, 3), np.uint8)
        pictures[seen] = warp_crops(image, BoxTransform.from_boxes(square[seen], (SIZE, SIZE), 1.0).matrices, (SIZE, SIZE))
        parts[name] = normalise(pictures[:, :, ::-1] if name == "left_hand" else pictures)
    return Crops(**parts)


def intrinsics(squares: Float[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 3 3"]:
    """The camera matrix of the whole picture for each body's square: with it, the network's bodies fall on the people."""
    return weak_cameras(squares, (SIZE, SIZE))
