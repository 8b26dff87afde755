"""SimCC: a keypoint as two classifications, one over the bins of x and one over the bins of y.

Sources: SimCC (Li et al., ECCV 2022, arXiv 2107.03332), as used by RTMPose (arXiv 2303.07399), DWPose and RTMW; rules of mmpose and
rtmlib (both Apache-2.0). A crop of W x H pixels has W*ratio and H*ratio bins; bin i is at crop pixel i / ratio.

| rule | score | no keypoint when |
|---|---|---|
| mmpose | smaller of the two maxima | score <= 0 |
| rtmlib | mean of the two maxima | score <= 0 |

"No keypoint" puts both coordinates at -1 / ratio. Scores are raw maxima and may exceed 1; `SimCC.visibility` gives a value in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

VISIBILITY_BETA = 150.0
"""Sharpness of the softmax that turns logits into a visibility (RTMW's configurations)."""


@dataclass(frozen=True)
class SimCC:
    """The codec of one network: crop `size` (width, height) in pixels, bins per pixel `ratio`, target width `sigma` (x, y) in bins.

    `sigma` None takes the published rule sqrt(side / 8) to two decimals: (4.9, 5.66) for 192x256, (6.0, 6.93) for 288x384.
    `rule` says how two maxima become a score (see the module). `dark` turns on the sub-bin refinement, off in released configurations.
    """

    size: tuple[int, int]
    ratio: float = 2.0
    sigma: tuple[float, float] | None = None
    rule: Literal["mmpose", "rtmlib"] = "mmpose"
    dark: bool = False

    @property
    def bins(self) -> tuple[int, int]:
        """Number of bins along x and y."""
        return round(self.size[0] * self.ratio), round(self.size[1] * self.ratio)

    @property
    def widths(self) -> tuple[float, float]:
        """Standard deviation of the targets along x and y, in bins."""
        return self.sigma or (round((self.size[0] / 8) ** 0.5, 2), round((self.size[1] / 8) ** 0.5, 2))

    def encode(
        self, keypoints: Float[np.ndarray, "n k 2"], visible: Float[np.ndarray, "n k"]
    ) -> tuple[Float32[np.ndarray, "n k bx"], Float32[np.ndarray, "n k by"], Float32[np.ndarray, "n k"]]:
        """Training targets of `keypoints` (crop pixels): un-normalised Gaussians along x and y, and the weight of each keypoint.

        `visible` under 0.5 gives zero targets (the weight stays `visible`); a keypoint whose 3-sigma window misses the crop on any axis
        gets zero targets and weight 0.
        """
        centers = np.around(keypoints * self.ratio)  # half to even, as the published targets
        sigma, bins = np.asarray(self.widths), np.asarray(self.bins)
        outside = ((centers - 3 * sigma >= bins) | (centers + 3 * sigma + 1 < 0)).any(axis=-1)
        labelled = visible >= 0.5
        weights = np.where(labelled & outside, 0.0, visible).astype(np.float32)
        drawn = (labelled & ~outside)[..., None]
        x, y = (gaussians(centers[..., axis], self.bins[axis], self.widths[axis]) * drawn for axis in (0, 1))
        return x, y, weights

    def decode(
        self, x: Float[np.ndarray, "n k bx"], y: Float[np.ndarray, "n k by"]
    ) -> tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]:
        """Network outputs -> keypoints in crop pixels and raw scores. A keypoint without score (<= 0) lies at -1 / ratio."""
        best_x, best_y = x.argmax(axis=-1), y.argmax(axis=-1)
        top_x = np.take_along_axis(x, best_x[..., None], axis=-1)[..., 0]
        top_y = np.take_along_axis(y, best_y[..., None], axis=-1)[..., 0]
        scores = np.minimum(top_x, top_y) if self.rule == "mmpose" else (top_x + top_y) * 0.5
        keypoints = np.stack([best_x, best_y], axis=-1).astype(np.float32)
        if self.dark:
            keypoints[..., 0] = refine_dark(keypoints[..., 0], x, self.widths[0])
            keypoints[..., 1] = refine_dark(keypoints[..., 1], y, self.widths[1])
        keypoints[~(scores > 0)] = -1.0  # written so that a NaN counts as no keypoint too
        keypoints /= np.float32(self.ratio)
        return keypoints, scores.astype(np.float32, copy=False)

    def visibility(self, x: Float[np.ndarray, "n k bx"], y: Float[np.ndarray, "n k by"]) -> Float32[np.ndarray, "n k"]:
        """Confidence in [0, 1] (RTMW's 384-pixel configurations): peak of softmax(150 sigma logits), the smaller of both axes."""
        return np.minimum(*(_softmax_peak(z * np.float32(VISIBILITY_BETA * width)) for z, width in zip((x, y), self.widths, strict=True)))


def flip_average(
    x: Float[np.ndarray, "n k bx"],
    y: Float[np.ndarray, "n k by"],
    mirrored_x: Float[np.ndarray, "n k bx"],
    mirrored_y: Float[np.ndarray, "n k by"],
    swap: Sequence[int],
) -> tuple[Float[np.ndarray, "n k bx"], Float[np.ndarray, "n k by"]]:
    """Flip test: mean of the outputs for a crop and for its mirror image.

    `swap` names, for each keypoint, its partner on the other side. The mirrored x is reversed along its bins, without any shift.
    """
    partner = np.asarray(swap)
    return (x + mirrored_x[:, partner, ::-1]) * 0.5, (y + mirrored_y[:, partner]) * 0.5


def refine_dark(bins: Float[np.ndarray, "n k"], logits: Float[np.ndarray, "n k b"], sigma: float) -> Float32[np.ndarray, "n k"]:
    """One Newton step on the logarithm of the blurred logits around each peak (DARK, arXiv 1910.06278, in one dimension).

    `bins` are whole numbers, the peaks of `logits`. The blur is the largest odd kernel <= (20 sigma - 7) / 3, zeros outside, each row
    scaled back to its old maximum. Rows whose maximum is not positive give no useful value; `SimCC.decode` replaces them.
    """
    import cv2

    if logits.size == 0:
        return np.asarray(bins, np.float32)
    n, k, length = logits.shape
    kernel = dark_kernel(sigma)
    rows = np.ascontiguousarray(logits, np.float32).reshape(n * k, length)
    blurred = cv2.GaussianBlur(rows, (kernel, 1), 0, borderType=cv2.BORDER_CONSTANT)
    peak = blurred.max(axis=1, keepdims=True)
    gain = rows.max(axis=1, keepdims=True) / np.where(peak > 0, peak, 1)
    logs = np.log(np.clip(blurred * gain, 1e-3, 50.0))
    at = np.asarray(bins).reshape(-1).astype(np.int64)
    left2, left, here, right, right2 = (logs[np.arange(n * k), np.clip(at + step, 0, length - 1)] for step in (-2, -1, 0, 1, 2))
    slope = 0.5 * (right - left)
    curvature = 1e-9 + 0.25 * (right2 - 2 * here + left2)
    return (at - slope / curvature).reshape(n, k).astype(np.float32)


def dark_kernel(sigma: float) -> int:
    """Side of the blur before the logarithm: the largest odd number <= (20 sigma - 7) / 3, such as 11 for sigma 2."""
    kernel = int((20 * sigma - 7) // 3)
    return max(1, kernel - (kernel % 2 == 0))


def gaussians(centers: Float[np.ndarray, "n k"], bins: int, sigma: float) -> Float32[np.ndarray, "n k b"]:
    """Un-normalised Gaussians of standard deviation `sigma` over all `bins`, around each centre (in bins)."""
    offset = np.arange(bins, dtype=np.float32) - centers[..., None].astype(np.float32)
    return np.exp(offset * offset * np.float32(-0.5 / sigma**2))


def _softmax_peak(logits: Float[np.ndarray, "n k b"]) -> Float32[np.ndarray, "n k"]:
    """Largest value of the softmax along the last axis."""
    return (1.0 / np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)).astype(np.float32)
