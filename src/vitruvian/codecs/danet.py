"""A person's box -> DaNet's crop of 224x224, and the camera of the picture for it (card danet.md, sections 2 and 5)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.codecs.mesh import weak_cameras
from vitruvian.codecs.normalise import normalise, require_rgb

INPUT_SIDE, PADDING = 224, 1.2


def crop(
    image: UInt8[np.ndarray, "h w 3"], boxes: Float[np.ndarray, "n 4"]
) -> tuple[Float32[np.ndarray, "n 3 224 224"], Float64[np.ndarray, "n 3 3"]]:
    """Boxes (xyxy, pixels) -> the network's input (bilinear, black outside the picture), and the camera of the whole picture for each crop.

    Squares around the longer side, a fifth larger. Raises VitruvianError for what is no picture, or no boxes.
    """
    require_rgb(image)
    size = (INPUT_SIDE, INPUT_SIDE)
    places = BoxTransform.from_boxes(boxes, size, PADDING)
    half = places.scales / 2
    squares = np.concatenate([places.centers - half, places.centers + half], 1)
    return normalise(warp_crops(image, places.matrices, size)), weak_cameras(squares, size)
