"""Top-down crops: a person's box -> a picture of fixed size, and keypoints back to the image.

The rule of RTMPose, DWPose and RTMW (mmpose's top-down affine, Apache-2.0): centre and size of the box, size times the padding, the short
side grown to the network's aspect, then one bilinear warp with zeros outside the image. There is no half-pixel shift:

    crop = (image - centre) * W / scale_w + W / 2          image = crop / (W, H) * scale + centre - scale / 2

With `unbiased` the rule of UDP (Huang et al., CVPR 2020, arXiv 1911.07524), on which ViTPose was trained: lengths are counted between the
centres of the first and the last pixel, so that (W - 1, H - 1) stands for (W, H) in both formulas, and per axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, UInt8

from vitruvian.errors import VitruvianError

PADDING = 1.25
"""How much larger than the box the crop is, in all published configurations of the family."""


@dataclass(frozen=True, eq=False)
class BoxTransform:
    """Where n crops of one size lie in their images: `centers` (n, 2) and `scales` (n, 2) in image pixels, crop `size` (width, height).

    `unbiased` maps by UDP's rule (see the module).
    """

    centers: Float32[np.ndarray, "n 2"]
    scales: Float32[np.ndarray, "n 2"]
    size: tuple[int, int]
    unbiased: bool = False

    @classmethod
    def from_boxes(
        cls, boxes: Float[np.ndarray, "n 4"], size: tuple[int, int], padding: float = PADDING, unbiased: bool = False
    ) -> BoxTransform:
        """Crops of `size` (width, height) around `boxes` (xyxy, pixels). A side under one pixel counts as one pixel.

        Raises VitruvianError when a box is not four finite numbers.
        """
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4) if np.size(boxes) == 0 else np.asarray(boxes, np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise VitruvianError(f"Boxes must be finite numbers (n, 4): x0, y0, x1, y1 in pixels; found an array {boxes.shape}.")
        corner, opposite = boxes[:, :2], boxes[:, 2:]
        scales = np.maximum(opposite - corner, 1.0) * np.float32(padding)
        aspect = np.float32(size[0] / size[1])
        width = np.maximum(scales[:, 0], scales[:, 1] * aspect)
        return cls((corner + opposite) * np.float32(0.5), np.stack([width, width / aspect], axis=1), size, unbiased)

    def __len__(self) -> int:
        return len(self.centers)

    def __getitem__(self, rows: slice | Int[np.ndarray, " m"]) -> BoxTransform:
        """Some of the crops."""
        return BoxTransform(self.centers[rows], self.scales[rows], self.size, self.unbiased)

    @property
    def matrices(self) -> Float64[np.ndarray, "n 2 3"]:
        """The affine maps from image to crop pixels."""
        import cv2

        out = np.zeros((len(self), 2, 3))
        if self.unbiased:
            zoom = self.span.astype(np.float64) / self.scales
            out[:, 0, 0], out[:, 1, 1] = zoom.T
            out[:, :, 2] = self.span.astype(np.float64) / 2 - zoom * self.centers
            return out
        # By three points in float32 (centre, above it, left of that), not by the formula: OpenCV rounds places to 1/32 of a pixel, the last
        # bit decides, and with these the crops equal rtmlib's to the grey level.
        width, height = self.size
        target = np.float32([[width / 2, height / 2], [width / 2, height / 2 - width / 2], [0, height / 2 - width / 2]])
        source = np.repeat(self.centers[:, None], 3, axis=1)
        source[:, 1:, 1] -= self.scales[:, :1] * np.float32(0.5)
        source[:, 2, 0] -= source[:, 0, 1] - source[:, 1, 1]
        for matrix, points in zip(out, source, strict=True):
            matrix[:] = cv2.getAffineTransform(points, target)
        return out

    @property
    def span(self) -> Float32[np.ndarray, " 2"]:
        """What the scales correspond to in crop pixels: the size, or one less by UDP's rule."""
        return np.asarray(self.size, np.float32) - np.float32(self.unbiased)

    def to_crop(self, points: Float[np.ndarray, "n k 2"]) -> Float32[np.ndarray, "n k 2"]:
        """Points of each row from image pixels to its crop's pixels."""
        origin = self.centers - self.scales * np.float32(0.5)
        return ((points - origin[:, None]) / self.scales[:, None] * self.span).astype(np.float32)

    def to_image(self, points: Float[np.ndarray, "n k 2"]) -> Float32[np.ndarray, "n k 2"]:
        """Points of each row from its crop's pixels to image pixels."""
        origin = self.centers - self.scales * np.float32(0.5)
        return (points / self.span * self.scales[:, None] + origin[:, None]).astype(np.float32)


def warp_crops(
    image: UInt8[np.ndarray, "h w 3"],
    matrices: Float[np.ndarray, "n 2 3"],
    size: tuple[int, int],
    out: UInt8[np.ndarray, "n b a 3"] | None = None,
) -> UInt8[np.ndarray, "n b a 3"]:
    """One bilinear warp per matrix (image -> crop) into an array (n, height, width, 3); zeros outside the image. Fills `out` when given."""
    import cv2

    if out is None:
        out = np.empty((len(matrices), size[1], size[0], 3), np.uint8)
    for matrix, crop in zip(matrices, out, strict=True):
        cv2.warpAffine(image, matrix, size, dst=crop, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return out


def crop_people(
    image: UInt8[np.ndarray, "h w 3"], boxes: Float[np.ndarray, "n 4"], size: tuple[int, int], padding: float = PADDING
) -> tuple[UInt8[np.ndarray, "n b a 3"], Float64[np.ndarray, "n 2 3"]]:
    """Cut out people: `boxes` (xyxy, pixels) -> crops (n, height, width, 3) and the matrices (n, 2, 3) from image to crop pixels.

    `size` is (width, height) of a crop. Use `BoxTransform` to bring keypoints back. Raises VitruvianError on boxes that are no boxes.
    """
    matrices = BoxTransform.from_boxes(boxes, size, padding).matrices
    return warp_crops(image, matrices, size), matrices
