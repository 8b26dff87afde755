"""SimCC in three dimensions (RTMW3D): bins of x and y over the crop, bins of z over a fixed range of metres around the hips.

Sources: RTMW (arXiv 2407.08634), rules of mmpose's rtmpose3d project (Apache-2.0); card rtmw.md sections 2, 5 and 6.3.
A crop is W x H pixels and D deep; z counts from 0 to D, and

    metres behind the hips = (z / (D / 2) - 1) * reach          reach = 2.1744869 m

| rule | depth |
|---|---|
| mmpose | as above |
| rtmlib | H in the place of D, a slip: 0.75 of the depth, and 0.54 m too near, for 288 x 384 x 288. For comparisons only |

Score and "no keypoint" are those of `codecs.simcc` in two dimensions, by mmpose's rule: z has no say.
x and y are pixels while z is metres. `camera_points` joins them where the camera and the distance are known, `weak_perspective` elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from vitruvian.codecs.simcc import SimCC, gaussians

REACH = 2.1744869
"""Half of the depth range, in metres."""
_BONES = (
    *((5, 7, 0.186), (6, 8, 0.186), (7, 9, 0.146), (8, 10, 0.146)),
    *((11, 13, 0.245), (12, 14, 0.245), (13, 15, 0.246), (14, 16, 0.246), (5, 11, 0.288), (6, 12, 0.288)),
)
"""Two of COCO's body points and their distance over the stature (Drillis and Contini 1966, as in textbooks; the trunk's side: shoulder
height less hip height). Widths of shoulders and hips are left out: textbooks measure them at the skin."""


class Targets3D(NamedTuple):
    """What a 3D SimCC network is trained on: Gaussians per axis, weights of x and y and of z (n, k), depth of the root (n,) in metres."""

    x: Float32[np.ndarray, "n k bx"]
    y: Float32[np.ndarray, "n k by"]
    z: Float32[np.ndarray, "n k bz"]
    weights: Float32[np.ndarray, "n k"]
    depth_weights: Float32[np.ndarray, "n k"]
    root_depth: Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class SimCC3D:
    """The codec of one network: crop `size` (width, height, depth), bins per unit `ratio`, target widths `sigma` (x, y, z) in bins.

    `sigma` None takes sqrt(side / 8) to two decimals: (6, 6.93, 6) for 288 x 384 x 288. `root` are the keypoints whose mean is depth 0.
    """

    size: tuple[int, int, int]
    ratio: float = 2.0
    sigma: tuple[float, float, float] | None = None
    reach: float = REACH
    root: tuple[int, ...] = (11, 12)
    rule: Literal["mmpose", "rtmlib"] = "mmpose"

    @property
    def bins(self) -> tuple[int, int, int]:
        """Number of bins along x, y and z."""
        return tuple(round(side * self.ratio) for side in self.size)

    @property
    def widths(self) -> tuple[float, float, float]:
        """Standard deviation of the targets along x, y and z, in bins."""
        return self.sigma or tuple(round((side / 8) ** 0.5, 2) for side in self.size)

    def encode(
        self,
        keypoints: Float[np.ndarray, "n k 2"],
        depth: Float[np.ndarray, "n k"] | None,
        visible: Float[np.ndarray, "n k"],
    ) -> Targets3D:
        """Training targets of `keypoints` (crop pixels) and their `depth` (metres from the camera); None: known in two dimensions only.

        A keypoint with `visible` under 0.5 gets zero targets; one whose 3-sigma window misses the range on any axis also weight 0. Without
        depth, z is drawn at 1, as published, and has weight 0.
        """
        root = np.zeros(len(keypoints), np.float32) if depth is None else depth[:, list(self.root)].mean(axis=1).astype(np.float32)
        z = np.ones(keypoints.shape[:2]) if depth is None else ((depth - root[:, None]) / self.reach + 1) * (self.size[2] / 2)
        centers = np.around(np.concatenate([keypoints, z[..., None]], axis=-1) * self.ratio)
        sigma, bins = np.asarray(self.widths), np.asarray(self.bins)
        outside = (centers - 3 * sigma >= bins) | (centers + 3 * sigma + 1 < 0)
        outside = outside.any(axis=-1)
        labelled = visible >= 0.5
        weights = np.where(labelled & outside, 0.0, visible).astype(np.float32)
        drawn = (labelled & ~outside)[..., None]
        lines = (gaussians(centers[..., axis], self.bins[axis], self.widths[axis]) * drawn for axis in range(3))
        return Targets3D(*lines, weights, np.zeros_like(weights) if depth is None else weights, root)

    def decode(
        self, x: Float[np.ndarray, "n k bx"], y: Float[np.ndarray, "n k by"], z: Float[np.ndarray, "n k bz"]
    ) -> tuple[Float32[np.ndarray, "n k 3"], Float32[np.ndarray, "n k"]]:
        """Network outputs -> x, y, z in crop units and raw scores. A keypoint without score (<= 0) lies at -1 / ratio on all axes."""
        flat, scores = SimCC(self.size[:2], self.ratio).decode(x, y)
        deep = z.argmax(axis=-1).astype(np.float32)
        deep[~(scores > 0)] = -1.0
        return np.concatenate([flat, deep[..., None] / np.float32(self.ratio)], axis=-1), scores

    def metres(self, z: Float[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
        """z in crop units -> metres, positive behind the hips."""
        half = np.float32(self.size[1 if self.rule == "rtmlib" else 2] / 2)
        return (np.asarray(z, np.float32) / half - 1) * np.float32(self.reach)


def flip_average_3d(
    outputs: Sequence[Float[np.ndarray, "n k _"]], mirrored: Sequence[Float[np.ndarray, "n k _"]], swap: Sequence[int]
) -> tuple[Float[np.ndarray, "n k _"], ...]:
    """Mean of the outputs x, y, z for a crop and for its mirror image: x is reversed, depth is not. The release has no flip test: ours."""
    partner = np.asarray(swap)
    x, y, z = (other[:, partner] for other in mirrored)
    return tuple((ours + other) * 0.5 for ours, other in zip(outputs, (x[..., ::-1], y, z), strict=True))


def camera_points(
    keypoints: Float[np.ndarray, "n k 2"],
    depth: Float[np.ndarray, "n k"],
    root_depth: Float[np.ndarray, " n"] | float,
    focal: tuple[float, float],
    centre: tuple[float, float],
) -> Float32[np.ndarray, "n k 3"]:
    """Image pixels and metres behind the root -> points in camera axes (x right, y down, z forward), metres.

    root_depth: distance of the root along the optical axis. focal, centre: of the pinhole camera, in pixels; the release falls back to a
    centre with width and height exchanged, which this function does not repeat: give (width / 2, height / 2).
    """
    z = np.asarray(depth, np.float32) + np.asarray(root_depth, np.float32).reshape(-1, 1)
    rays = (np.asarray(keypoints, np.float32) - np.float32(centre)) / np.float32(focal)
    return np.concatenate([rays * z[..., None], z[..., None]], axis=-1)


def weak_perspective(
    keypoints: Float[np.ndarray, "n k 2"],
    depth: Float[np.ndarray, "n k"],
    scores: Float[np.ndarray, "n k"],
    stature: float = 1.7,
    root: Sequence[int] = (11, 12),
) -> Float32[np.ndarray, "n k 3"]:
    """Image pixels and metres behind the root -> points in metres around the root, in camera axes, without knowing the camera (ours).

    keypoints start with COCO's 17 body points. One scale per person: the median of those at which a limb, with the depth between its ends,
    is as long as in a person of `stature` metres (mean proportions, so an error of a tenth is usual, and more for children). A person with
    none of the limbs in sight gets the scale that makes the longest side of the keypoints 0.8 of the stature. Keypoints without score
    (<= 0) are NaN.
    """
    keypoints, found = np.asarray(keypoints, np.float32), np.asarray(scores) > 0
    depth = np.asarray(depth, np.float32)
    if not len(keypoints):
        return np.zeros((0, keypoints.shape[1], 3), np.float32)
    first, second, length = (np.asarray(column) for column in zip(*_BONES, strict=True))
    flat = np.linalg.norm(keypoints[:, first] - keypoints[:, second], axis=-1)
    across = np.sqrt(np.maximum((length * stature) ** 2 - (depth[:, first] - depth[:, second]) ** 2, 0.0))
    usable = found[:, first] & found[:, second] & (across > 0.3 * length * stature) & (flat > 1)
    out = np.full((*keypoints.shape[:2], 3), np.nan, np.float32)
    for row in range(len(keypoints)):
        seen = keypoints[row][found[row]]
        if not len(seen):
            continue
        if usable[row].any():
            scale = np.median(across[row][usable[row]] / flat[row][usable[row]])
        else:
            scale = 0.8 * stature / max(float(np.ptp(seen, axis=0).max()), 1.0)
        hips = keypoints[row, list(root)] if found[row, list(root)].all() else seen
        out[row, :, :2] = (keypoints[row] - hips.mean(axis=0)) * scale
        out[row, :, 2] = depth[row]
        out[row, ~found[row]] = np.nan
    return out
