"""Skeletons, boxes and ids drawn over a picture."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from vitruvian.skeletons import FACE_68, Skeleton
from vitruvian.take import People

SHIFT = 3  # OpenCV draws at 1 / 2**SHIFT of a pixel
FAR = 30_000  # pixels; beyond this a coordinate is no place in a picture, and OpenCV's fixed point may overflow
WHITE = (255, 255, 255)
CONTOUR = (140, 190, 255)


def draw_people(image: UInt8[np.ndarray, "h w 3"], people: People, skeleton: Skeleton, threshold: float = 0.3) -> None:
    """Draw the people of one frame into `image` (RGB), in place: a thin box with its id, limbs and joints, finer for face and hands.

    Keypoints below `threshold` (confidence) or not finite are left out, with the links that end in them. Lines are sized to the picture,
    and thinner on people who are small in it.
    """
    height, unit = image.shape[0], _unit(image)
    for row in np.flatnonzero(_drawable(people.boxes)).tolist():
        box = people.boxes[row]
        scale = unit * float(np.clip((box[3] - box[1]) / (0.4 * height), 0.3, 1.0))
        _draw_pose(image, people.keypoints[row], people.confidence[row] >= threshold, skeleton, scale)
        _draw_box(image, box, int(people.track[row]), unit)


def draw_boxes(image: UInt8[np.ndarray, "h w 3"], people: People) -> None:
    """Draw the people of one frame into `image` (RGB), in place, as thin boxes with ids only."""
    for row in np.flatnonzero(_drawable(people.boxes)).tolist():
        _draw_box(image, people.boxes[row], int(people.track[row]), _unit(image))


def _unit(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Width in pixels of a fine line."""
    return max(1.0, min(image.shape[:2]) / 360)


def _drawable(boxes: Float[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
    return (np.abs(np.nan_to_num(boxes, nan=np.inf)) < FAR).all(1)


def _draw_pose(
    image: UInt8[np.ndarray, "h w 3"], keypoints: Float[np.ndarray, "k 2"], sure: Bool[np.ndarray, " k"], skeleton: Skeleton, scale: float
) -> None:
    """Links and joints of one person; `scale` is the width in pixels of a fine line."""
    shown = sure & (np.abs(np.nan_to_num(keypoints, nan=np.inf)) < FAR).all(-1)
    places = np.where(shown[:, None], keypoints * (1 << SHIFT), 0).round().astype(int).tolist()
    fine, coarse = max(1, round(0.8 * scale)), max(1, round(2 * scale))
    face, hands = _members(skeleton, "face"), _members(skeleton, "left_hand", "right_hand")
    delicate = face | hands if len(face | hands) < len(skeleton) else set()  # a set of hands only is drawn as a body would be
    contours = face_links(skeleton)
    for (a, b), color in zip(skeleton.links + contours, skeleton.colors + (CONTOUR,) * len(contours), strict=True):
        if shown[a] and shown[b]:
            cv2.line(image, places[a], places[b], color, fine if a in delicate and b in delicate else coarse, cv2.LINE_AA, SHIFT)
    for index in np.flatnonzero(shown).tolist():
        radius = scale * (0.45 if index in face else 0.7 if index in hands else 1.9)
        if radius >= 1:  # smaller ones would hide the lines that they sit on
            cv2.circle(image, places[index], round(radius * (1 << SHIFT)), WHITE, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _members(skeleton: Skeleton, *parts: str) -> set[int]:
    """The indices of the named parts that the skeleton has."""
    return {index for part in parts if part in skeleton.parts for index in range(*skeleton.parts[part].indices(len(skeleton)))}


def face_links(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Contours of a 68-point face (iBUG order) for a skeleton with such a part but no links in it, as the whole-body sets; else none."""
    face = sorted(_members(skeleton, "face"))
    if len(face) != len(FACE_68) or any(a in face and b in face for a, b in skeleton.links):
        return ()
    return tuple((face[a], face[b]) for a, b in FACE_68.links)


def _draw_box(image: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, " 4"], track: int, unit: float) -> None:
    color = track_color(track)
    left, top, right, bottom = (int(round(float(value))) for value in box)
    cv2.rectangle(image, (left, top), (right, bottom), color, max(1, round(unit / 2)), cv2.LINE_AA)
    if track < 0:
        return
    text, font, size, thickness = str(track), cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit, max(1, round(unit))
    (width, height), _ = cv2.getTextSize(text, font, size, thickness)
    pad = round(2 * unit)
    # Inside the picture even when the box reaches over its edge.
    left, top = max(left, 0), max(top, height + 2 * pad)
    cv2.rectangle(image, (left, top - height - 2 * pad), (left + width + 2 * pad, top), color, cv2.FILLED)
    cv2.putText(image, text, (left + pad, top - pad), font, size, (0, 0, 0), thickness, cv2.LINE_AA)


def track_color(track: int) -> tuple[int, int, int]:
    """RGB colour of a track id: bright, and far from the colours of the ids next to it. Grey without a track."""
    if track < 0:
        return 200, 200, 200
    red, green, blue = colorsys.hsv_to_rgb(track * 0.618034 % 1.0, 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
