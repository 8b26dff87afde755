"""Detected people and parts drawn over a picture: boxes, a line from each part to its person, arrows the way people face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.codecs.orientation import direction
from vitruvian.draw.overlay import FAR, SHIFT, WHITE, track_color

if TYPE_CHECKING:
    from vitruvian.capture.objects import Objects

_ONE = 1 << SHIFT


def draw_objects(image: UInt8[np.ndarray, "h w 3"], objects: Objects) -> None:
    """Draw the objects of one frame (`Objects.in_frame`) into `image` (RGB), in place.

    Every person has a colour, and so have their parts, each with a line to the middle of the person's box. What is nobody's is grey.
    """
    unit = max(1.0, min(image.shape[:2]) / 360)
    shown = (np.abs(np.nan_to_num(objects.boxes, nan=np.inf)) < FAR).all(1)
    middles = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
    people = objects.owner == np.arange(len(objects))
    for row in np.flatnonzero(shown).tolist():
        owner = int(objects.owner[row])
        color = track_color(owner + 1 if owner >= 0 else -1)
        _box(image, objects.boxes[row], color, unit if people[row] else 0.8 * unit)
        if owner >= 0 and not people[row] and shown[owner]:
            cv2.line(image, _at(middles[row]), _at(middles[owner]), color, max(1, round(0.5 * unit)), cv2.LINE_AA, SHIFT)
    for row in np.flatnonzero(shown & people & np.isfinite(objects.heading)).tolist():
        _arrow(image, middles[row], objects.boxes[row], float(objects.heading[row]), unit)


def _arrow(image: np.ndarray, start: Float[np.ndarray, " 2"], box: Float[np.ndarray, " 4"], heading: float, unit: float) -> None:
    """White with a dark edge, so that it shows on everything; as long as the person is wide or more."""
    length = max(12 * unit, 0.6 * min(box[2] - box[0], box[3] - box[1]))
    end = start + length * direction(np.array([heading]))[0]
    for color, width in (((0, 0, 0), 3.5), (WHITE, 1.5)):
        cv2.arrowedLine(image, _at(start), _at(end), color, max(1, round(width * unit)), cv2.LINE_AA, SHIFT, 0.3)


def _box(image: np.ndarray, box: Float[np.ndarray, " 4"], color: tuple[int, int, int], width: float) -> None:
    cv2.rectangle(image, _at(box[:2]), _at(box[2:]), color, max(1, round(width)), cv2.LINE_AA, SHIFT)


def _at(point: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    x, y = np.round(point * _ONE).astype(int).tolist()
    return x, y
