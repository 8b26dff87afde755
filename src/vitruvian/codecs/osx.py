"""A person's box -> OSX's crop of 384x512, and from the crop back to the picture: points and the camera (card osx.md, section 5).

Numpy and OpenCV only. Unlike `codecs.crop`, which serves the RTMPose family, boxes are cut to the picture before they are enlarged.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from vitruvian.codecs.crop import BoxTransform
from vitruvian.codecs.mesh import weak_cameras
from vitruvian.codecs.normalise import require_rgb
from vitruvian.errors import VitruvianError

SIZE = (384, 512)  # width, height of a crop
PADDING = 1.25
CAMERA_SIZE = (192, 256)  # pixels of a crop in which the focal length of its camera is counted


def person_boxes(boxes: Float[np.ndarray, "n 4"], picture: tuple[int, int]) -> tuple[Float64[np.ndarray, "m 4"], Bool[np.ndarray, " n"]]:
    """Boxes (xyxy, pixels) in a picture of (width, height) -> what the crops show (xyxy), and which boxes are kept: those with an inside.

    The published rule, slips included: a box that sticks out on the left or top keeps its size and is moved in, then its far side is cut to
    the last pixel; sides count between pixel centres. Then the short side grows to 3:4, and both by a quarter.
    Raises VitruvianError when a box is not four finite numbers.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4) if np.size(boxes) == 0 else np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise VitruvianError(f"Boxes must be finite numbers (n, 4): x0, y0, x1, y1 in pixels; found an array {boxes.shape}.")
    extent = boxes[:, 2:] - boxes[:, :2]
    low = np.maximum(boxes[:, :2], 0)
    high = np.minimum(low + np.maximum(extent - 1, 0), np.asarray(picture) - 1)
    kept = (extent > 0).all(1) & (high > low).all(1)
    low, side = low[kept], (high - low)[kept]
    centre, aspect = low + side / 2, SIZE[0] / SIZE[1]
    width = np.maximum(side[:, 0], aspect * side[:, 1])
    half = np.stack([width, np.maximum(side[:, 1], width / aspect)], 1) * (PADDING / 2)
    return np.concatenate([centre - half, centre + half], 1), kept


def placement(boxes: Float[np.ndarray, "m 4"]) -> BoxTransform:
    """The map between the picture and the crops of boxes as `person_boxes` gives them: `to_crop`, `to_image`."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return BoxTransform((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], SIZE)


def affines(boxes: Float[np.ndarray, "m 4"]) -> Float64[np.ndarray, "m 2 3"]:
    """The affine maps from picture to crop: centre, and the middles of the right and lower sides, to those of the crop."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    zoom = np.asarray(SIZE) / (boxes[:, 2:] - boxes[:, :2])
    out = np.zeros((len(boxes), 2, 3))
    out[:, 0, 0], out[:, 1, 1] = zoom.T
    out[:, :, 2] = np.asarray(SIZE) / 2 - zoom * (boxes[:, :2] + boxes[:, 2:]) / 2
    return out


def crop(image: UInt8[np.ndarray, "h w 3"], boxes: Float[np.ndarray, "m 4"]) -> Float32[np.ndarray, "m 3 512 384"]:
    """The network's input: crops (bilinear, black outside the picture) in 0..1, for boxes as `person_boxes` gives them.

    The warp is not rounded to grey levels, as published. Raises VitruvianError unless `image` is a non-empty RGB uint8 array.
    """
    import cv2

    require_rgb(image)
    exact, maps = image.astype(np.float32), affines(boxes)
    out = np.empty((len(maps), 3, SIZE[1], SIZE[0]), np.float32)
    for matrix, channels in zip(maps, out, strict=True):
        channels[:] = cv2.warpAffine(exact, matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT).transpose(2, 0, 1)
    out /= 255
    return out


def intrinsics(boxes: Float[np.ndarray, "m 4"]) -> Float64[np.ndarray, "m 3 3"]:
    """The camera matrix of the whole picture for each crop: with it, the network's vertices fall on the person."""
    return weak_cameras(boxes, CAMERA_SIZE)
