"""What training does to person crops, in numpy and OpenCV: where they lie (`Geometry`), and what becomes of their pixels (`Looks`).

Sources, with their presets: DWPose and RTMW (cards dwpose.md and rtmw.md, section 6), DSTA and DiffPose (dsta.md, diffpose-video.md).
Where the cards don't say how a number is spread, it is uniform; from memory [mem]: the size of the blurs, the gains of YOLOX's colour
jitter, that photometric steps come with probability 0.5 each. All randomness comes from the generator that is passed in.

A crop is warped once: flip, half body, shift, scale and rotation end up in one matrix. Colour works on a whole batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8

from vitruvian.codecs.crop import PADDING
from vitruvian.skeletons import Skeleton

_LOWER = ("hip", "knee", "ankle", "toe", "heel", "foot")
"""What the names of lower-body points hold; everything else is the upper body."""


@dataclass(frozen=True)
class Jitter:
    """A random number: with probability `chance` within +-`limit`, uniform, or (`spread`) normal and cut off there; else 0."""

    limit: float = 0.0
    chance: float = 1.0
    spread: float | None = None

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Float64[np.ndarray, "*shape"]:
        """Numbers of the given shape; along the last axis, chance decides for all together."""
        values = rng.uniform(-1, 1, shape) * self.limit if self.spread is None else rng.normal(0, self.spread, shape)
        happens = rng.random(shape[:1]) < self.chance
        return np.clip(values, -self.limit, self.limit) * happens.reshape(-1, *(1,) * (len(shape) - 1))


@dataclass(frozen=True)
class Geometry:
    """Where a crop lies. shift: in sizes of the crop. scale: added to 1. rotation: degrees. half_body: chance of showing one half only.

    half_points: a half body is only taken of people with so many annotated points, `half_least` of which in that half.
    """

    flip: float = 0.5
    half_body: float = 0.3
    shift: Jitter = Jitter(0.16, 0.3)
    scale: Jitter = Jitter(0.5)
    rotation: Jitter = Jitter(90.0, 0.6)
    half_points: int = 9
    half_least: int = 3
    half_padding: float = 1.5
    upper: float = 0.7  # how often the upper half, where both would do
    padding: float = PADDING

    @classmethod
    def still(cls, padding: float = PADDING) -> Geometry:
        """Nothing is moved."""
        return cls(flip=0.0, half_body=0.0, shift=Jitter(), scale=Jitter(), rotation=Jitter(), padding=padding)


@dataclass(frozen=True)
class Looks:
    """What becomes of a crop's pixels; chances, or 0 for never.

    hsv: YOLOX's jitter, largest change of hue (of 180), saturation and value (grey levels). gains: YOLOv5's, by which share of themselves
    these three change at most. photometric: brightness within +-32, contrast and saturation within 0.5 to 1.5, hue within +-18, each with
    this chance. blur, median: kernels of 3, 5 or 7. dropout: one rectangle with sides of 0.2 to 0.4 of the crop becomes black.
    """

    hsv: tuple[float, float, float] | None = None
    gains: tuple[float, float, float] | None = None
    photometric: float = 0.0
    blur: float = 0.1
    median: float = 0.1
    dropout: float = 1.0
    dropout_sides: tuple[float, float] = (0.2, 0.4)


@dataclass(frozen=True)
class Augmentation:
    """Both, for the first stage of training; `late` is what the last epochs use."""

    geometry: Geometry
    looks: Looks
    late: Augmentation | None = None

    def at(self, late: bool) -> Augmentation:
        """The first stage's, or the last epochs'."""
        return self.late if late and self.late is not None else self


_YOLOX = (5.0, 30.0, 30.0)
NONE = Augmentation(Geometry.still(), Looks(blur=0, median=0, dropout=0))
"""Crops as in inference."""
RTMPOSE = Augmentation(
    Geometry(scale=Jitter(0.4), rotation=Jitter(80.0, 0.6)),
    Looks(hsv=_YOLOX),
    Augmentation(Geometry(scale=Jitter(0.4), rotation=Jitter(80.0, 0.6), shift=Jitter()), Looks(hsv=_YOLOX, dropout=0.5)),
)
"""RTMPose on COCO-WholeBody alone: scale 0.6 to 1.4, rotation within 80 degrees."""
DWPOSE = Augmentation(Geometry(), Looks(hsv=_YOLOX), Augmentation(Geometry(shift=Jitter()), Looks(hsv=_YOLOX, dropout=0.5)))
"""DWPose on COCO-WholeBody and UBody; the late stage is the last 30 epochs."""
RTMW = Augmentation(
    Geometry(), Looks(photometric=0.5, dropout=0.5), Augmentation(Geometry(shift=Jitter()), Looks(photometric=0.0, dropout=0.0))
)
"""RTMW's 14 data sets; the late stage is the last 10 epochs."""
POSETRACK = Augmentation(
    Geometry(shift=Jitter(), scale=Jitter(0.35, spread=0.35), rotation=Jitter(90.0, 0.6, 45.0)), Looks(blur=0, median=0, dropout=0)
)
"""DSTA's and DiffPose's clips: one transformation for all frames, no change of colour."""
HEATMAP = Augmentation(Geometry(shift=Jitter(0.16, 0.3), scale=Jitter(0.5), rotation=Jitter(80.0, 0.6)), Looks(blur=0, median=0, dropout=0))
"""SimpleBaselines and the other hosts of RMPG in their newer toolkit (`dwpose.md`'s numbers; the hosts' card names none) [mem]."""


def placements(
    boxes: Float[np.ndarray, "n 4"],
    keypoints: Float[np.ndarray, "n k 2"],
    visible: Bool[np.ndarray, "n k"],
    size: tuple[int, int],
    skeleton: Skeleton,
    geometry: Geometry,
    rng: np.random.Generator,
) -> tuple[Float64[np.ndarray, "n 2 3"], Bool[np.ndarray, " n"]]:
    """The affine maps from picture to crop pixels, and which crops are mirrored (their keypoints must change sides: `skeleton.swap`).

    Without any jitter they are those of `codecs.crop`, up to rounding.
    """
    n, (width, height) = len(boxes), size
    boxes = np.asarray(boxes, np.float64)
    centre, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0) * geometry.padding
    _half_bodies(centre, extent, keypoints, visible, skeleton, geometry, rng)
    centre = centre + geometry.shift.draw(rng, (n, 2)) * extent
    extent = extent * (1 + geometry.scale.draw(rng, (n,)))[:, None]
    across = np.maximum(extent[:, 0], extent[:, 1] * width / height)
    angle, mirrored = np.radians(geometry.rotation.draw(rng, (n,))), rng.random(n) < geometry.flip
    zoom = width / across
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    side = np.where(mirrored, -1.0, 1.0)
    matrices = np.empty((n, 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = side * cos, side * sin
    matrices[:, 1, 0], matrices[:, 1, 1] = -sin, cos
    middle = np.array([width, height]) / 2 - np.stack([mirrored, np.zeros(n)], axis=1)  # a pixel's mirror image is at width - 1 - x
    matrices[:, :, 2] = middle - np.einsum("nij,nj->ni", matrices[:, :, :2], centre)
    return matrices, mirrored


def change_looks(crops: UInt8[np.ndarray, "n h w 3"], looks: Looks, rng: np.random.Generator) -> UInt8[np.ndarray, "n h w 3"]:
    """Crops with other colours, blurred, and with a hole; changed in place and returned."""
    if looks.hsv is not None:
        _jitter_hsv(crops, looks.hsv, rng)
    if looks.gains is not None:
        factors = 1 + rng.uniform(-1, 1, (len(crops), 3)) * looks.gains
        _through_hsv(crops, lambda i: _moved(np.zeros(3), factors[i]))
    if looks.photometric:
        _photometric(crops, looks.photometric, rng)
    _blur(crops, looks, rng)
    n, height, width = crops.shape[:3]
    holes = np.flatnonzero(rng.random(n) < looks.dropout)
    sides = rng.uniform(*looks.dropout_sides, (len(holes), 2)) * [width, height]
    corners = rng.random((len(holes), 2)) * ([width, height] - sides)
    for i, (x, y), (x2, y2) in zip(holes, corners.astype(int), (corners + sides).astype(int), strict=True):
        crops[i, y:y2, x:x2] = 0
    return crops


@lru_cache(maxsize=64)
def lower_body(skeleton: Skeleton) -> Bool[np.ndarray, " k"]:
    """Which points belong to the lower body: hips, knees, ankles and feet."""
    return np.array([any(word in name for word in _LOWER) for name in skeleton.names])


def _half_bodies(
    centre: np.ndarray, extent: np.ndarray, keypoints: np.ndarray, visible: np.ndarray, skeleton: Skeleton, geometry: Geometry, rng
) -> None:
    """Put the crops of some people around the points of one half of them; in place."""
    lower = lower_body(skeleton)
    for i in np.flatnonzero(rng.random(len(centre)) < geometry.half_body):
        halves = [visible[i] & part for part in (~lower, lower)]
        enough = [half.sum() >= geometry.half_least for half in halves]
        if visible[i].sum() < geometry.half_points or not any(enough):
            continue
        which = (0 if rng.random() < geometry.upper else 1) if all(enough) else enough.index(True)
        points = keypoints[i][halves[which]].astype(np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        centre[i], extent[i] = (low + high) / 2, np.maximum(high - low, 1.0) * geometry.half_padding


def _jitter_hsv(crops: np.ndarray, limits: tuple[float, float, float], rng: np.random.Generator) -> None:
    """YOLOX's: each of hue, saturation and value is moved or (half of the time) not."""
    shifts = (rng.uniform(-1, 1, (len(crops), 3)) * limits * rng.integers(0, 2, (len(crops), 3))).astype(np.int16)
    _through_hsv(crops, lambda i: _moved(shifts[i], np.ones(3)))


def _photometric(crops: np.ndarray, chance: float, rng: np.random.Generator) -> None:
    """Brightness and contrast on grey levels, saturation and hue in HSV."""
    n = len(crops)
    happens = rng.random((n, 4)) < chance
    brightness, contrast, saturation, hue = rng.uniform([-32, 0.5, 0.5, -18], [32, 1.5, 1.5, 18], (n, 4)).T
    levels = np.arange(256.0)
    import cv2

    for i in np.flatnonzero(happens[:, :2].any(axis=1)):
        table = (levels + brightness[i] * happens[i, 0]) * (contrast[i] if happens[i, 1] else 1.0)
        crops[i] = cv2.LUT(crops[i], np.clip(table, 0, 255).astype(np.uint8))
    coloured = happens[:, 2:].any(axis=1)
    chosen = crops[coloured]
    gain = np.where(happens[:, 2], saturation, 1.0)[coloured]
    turn = np.where(happens[:, 3], hue, 0.0)[coloured]
    _through_hsv(chosen, lambda i: _moved(np.array([turn[i], 0, 0]), np.array([1, gain[i], 1])))
    crops[coloured] = chosen


def _moved(shift: np.ndarray, gain: np.ndarray) -> UInt8[np.ndarray, "1 256 3"]:
    """A look-up table for hue (round a circle of 180), saturation and value."""
    levels = np.arange(256.0)[:, None] * gain + shift
    levels[:, 0] %= 180
    return np.clip(levels, 0, 255).astype(np.uint8)[None]


def _through_hsv(crops: np.ndarray, table_of) -> None:
    """Apply a table to every crop's hue, saturation and value; in place. The conversions are done for all crops at once."""
    import cv2

    if not crops.size:
        return
    n, height, width = crops.shape[:3]
    tall = cv2.cvtColor(np.ascontiguousarray(crops).reshape(n * height, width, 3), cv2.COLOR_RGB2HSV).reshape(crops.shape)
    for i, crop in enumerate(tall):
        cv2.LUT(crop, table_of(i), dst=crop)
    crops[...] = cv2.cvtColor(tall.reshape(n * height, width, 3), cv2.COLOR_HSV2RGB).reshape(crops.shape)


def _blur(crops: np.ndarray, looks: Looks, rng: np.random.Generator) -> None:
    import cv2

    happens, kernels = rng.random((len(crops), 2)), rng.choice([3, 5, 7], (len(crops), 2))
    for i in np.flatnonzero(happens[:, 0] < looks.blur):
        crops[i] = cv2.blur(crops[i], (int(kernels[i, 0]),) * 2)
    for i in np.flatnonzero(happens[:, 1] < looks.median):
        crops[i] = cv2.medianBlur(crops[i], int(kernels[i, 1]))
