"""The pose picture that ControlNet was trained on, as DWPose's preprocessor draws it: black, rainbow limbs, hands and face.

Colours, widths and order as in the motion-io card, section 3, and the dwpose card, section 5.2; the colour tables are OpenPose's. Feet
are not drawn. Deviation: the published code overwrites scores with indices, so that some of its visibility tests mean nothing; here a
point is drawn if its confidence is over the threshold, whatever its part.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
from jaxtyping import Bool, Float, UInt8

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import OPENPOSE_134, OPENPOSE_BODY_18, Skeleton, convert
from vitruvian.skeletons.hands import HAND_LINKS
from vitruvian.skeletons.openpose import OPENPOSE_COLORS
from vitruvian.take import People

THRESHOLD = 0.3
LIMB = 4  # half width of a limb and radius of a joint
HAND_LINE, HAND_JOINT, FACE_POINT = 2, 4, 3
DIMMED = 0.6
HAND_JOINT_COLOR, FACE_COLOR = (0, 0, 255), (255, 255, 255)
HAND_COLORS = tuple(tuple(round(255 * c) for c in colorsys.hsv_to_rgb(edge / len(HAND_LINKS), 1, 1)) for edge in range(len(HAND_LINKS)))
_FAR = 30_000  # pixels; beyond this OpenCV's integers may overflow, and no such point is near a picture


def draw_controlnet(
    people: People, skeleton: Skeleton, width: int, height: int, threshold: float = THRESHOLD, scale: float = 1.0
) -> UInt8[np.ndarray, "h w 3"]:
    """The pose picture of one frame's people, RGB on black, `width` x `height` pixels: that of the frame.

    Keypoints count where their confidence is over `threshold`; the neck (mean of the shoulders, where the set has none) where both
    shoulders' is. `scale` multiplies every width and radius; 1 is the published drawing, made for pictures of about 512 pixels
    (`controlnet_scale` for larger ones). Sets of a body only have no hands and face drawn.
    Raises VitruvianError where the size or the scale is not positive.
    """
    import cv2

    if width < 1 or height < 1 or not (math.isfinite(scale) and scale > 0):
        raise VitruvianError(f"a pose picture of {width} x {height} pixels at scale {scale} can't be drawn; give positive numbers")
    canvas = np.zeros((height, width, 3), np.uint8)
    whole = convert(people.keypoints, people.confidence, skeleton, OPENPOSE_134)
    # Published code divides by the size and multiplies again before it cuts to integers; the rounding of that is part of the drawing.
    size = np.array([width, height], np.float64)
    places = whole.keypoints.astype(np.float64) / size * size
    shown = (whole.scores > threshold) & (np.abs(np.nan_to_num(places, nan=np.inf)) < _FAR).all(axis=-1)
    places = np.where(shown[..., None], places, 0)
    for (a, b), color in zip(OPENPOSE_BODY_18.links, OPENPOSE_BODY_18.colors, strict=True):
        for row in np.flatnonzero(shown[:, a] & shown[:, b]):
            cv2.fillConvexPoly(canvas, _limb(places[row, a], places[row, b], scale), color)
    canvas = (canvas * DIMMED).astype(np.uint8)
    radius = max(1, round(LIMB * scale))
    for joint, color in enumerate(OPENPOSE_COLORS):
        for row in np.flatnonzero(shown[:, joint]):
            cv2.circle(canvas, _pixel(places[row, joint]), radius, color, cv2.FILLED)
    for part in ("left_hand", "right_hand"):
        where = OPENPOSE_134.parts[part]
        for row in range(len(people)):
            _draw_hand(canvas, places[row, where], shown[row, where], scale)
    face = OPENPOSE_134.parts["face"]
    for place in places[:, face][shown[:, face]]:
        if min(_pixel(place)) > 0:
            cv2.circle(canvas, _pixel(place), max(1, round(FACE_POINT * scale)), FACE_COLOR, cv2.FILLED)
    return canvas


def controlnet_scale(width: int, height: int) -> float:
    """The scale that keeps widths in proportion on pictures larger than 512 pixels: max(1, smaller side / 512)."""
    return max(1.0, min(width, height) / 512)


def _limb(a: Float[np.ndarray, " 2"], b: Float[np.ndarray, " 2"], scale: float) -> np.ndarray:
    """A filled ellipse around the segment as a polygon: centre at its middle, half axes half its length and LIMB."""
    import cv2

    (x, y), (dx, dy) = (a + b) / 2, a - b
    axes = (int(math.hypot(dx, dy) / 2), max(1, round(LIMB * scale)))
    return cv2.ellipse2Poly((int(x), int(y)), axes, int(math.degrees(math.atan2(dy, dx))), 0, 360, 1)


def _draw_hand(canvas: UInt8[np.ndarray, "h w 3"], places: Float[np.ndarray, "21 2"], shown: Bool[np.ndarray, " 21"], scale: float) -> None:
    import cv2

    pixels = [_pixel(place) for place in places]
    usable = [bool(seen) and min(pixel) > 0 for seen, pixel in zip(shown, pixels, strict=True)]
    for (a, b), color in zip(HAND_LINKS, HAND_COLORS, strict=True):
        if usable[a] and usable[b]:
            cv2.line(canvas, pixels[a], pixels[b], color, max(1, round(HAND_LINE * scale)))
    for pixel, use in zip(pixels, usable, strict=True):
        if use:
            cv2.circle(canvas, pixel, max(1, round(HAND_JOINT * scale)), HAND_JOINT_COLOR, cv2.FILLED)


def _pixel(place: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    return int(place[0]), int(place[1])
