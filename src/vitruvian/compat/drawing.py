"""rtmlib's drawing calls; see `vitruvian.compat.rtmlib`. Pictures are BGR, as OpenCV reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import Skeleton, by_name

_NAMED = {17: "coco-17", 18: "openpose-body-18", 21: "hand-21", 26: "halpe-26", 133: "coco-wholebody-133", 134: "openpose-134"}
_FAR = 30_000.0


def draw_skeleton(
    img: UInt8[np.ndarray, "h w 3"],
    keypoints: Float[np.ndarray, "n k 2"],
    scores: Float[np.ndarray, "n k"],
    openpose_skeleton: bool = False,
    kpt_thr: float = 0.5,
    radius: int = 2,
    line_width: int = 2,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the people into `img`, in place, and return it. What scores `kpt_thr` or less is left out.

    The keypoint set is told by the number of keypoints, so `openpose_skeleton` has nothing to say; VitruvianError when there is none.
    """
    import cv2

    places, scores = np.asarray(keypoints, np.float32), np.asarray(scores, np.float32)
    if places.size == 0:
        return img
    places, scores = places.reshape(-1, *places.shape[-2:]), scores.reshape(-1, scores.shape[-1])
    skeleton = _skeleton(places.shape[1])
    for person, values in zip(places, scores, strict=True):
        shown = (values > kpt_thr) & (np.abs(np.nan_to_num(person, nan=np.inf)) < _FAR).all(axis=-1)
        points = np.where(shown[:, None], person, 0).round().astype(int).tolist()
        for (a, b), color in zip(skeleton.links, skeleton.colors, strict=True):
            if shown[a] and shown[b]:
                cv2.line(img, points[a], points[b], color[::-1], line_width, cv2.LINE_AA)
        for index in np.flatnonzero(shown).tolist():
            cv2.circle(img, points[index], radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    return img


def draw_bbox(
    img: UInt8[np.ndarray, "h w 3"], bboxes: Float[np.ndarray, "n 4"], color: Sequence[int] = (0, 255, 0)
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw boxes (xyxy) into `img`, in place, and return it."""
    import cv2

    for box in np.clip(np.asarray(bboxes, np.float32).reshape(-1, 4), -_FAR, _FAR):
        left, top, right, bottom = np.nan_to_num(box).round().astype(int).tolist()
        cv2.rectangle(img, (left, top), (right, bottom), tuple(color), 2)
    return img


def _skeleton(keypoints: int) -> Skeleton:
    if keypoints not in _NAMED:
        raise VitruvianError(f"no keypoint set with {keypoints} keypoints to draw: {', '.join(map(str, _NAMED))} are known")
    return by_name(_NAMED[keypoints])
