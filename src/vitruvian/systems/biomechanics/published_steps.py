"""OpenCapBench's steps from pixels to markers exactly as published, slips included; `opencapbench` says which are slips.

Arrays are camera first, (c, f, m, ...): c cameras, f frames, m markers. Lengths are millimetres until `to_opensim`. Source: card
opencapbench.md, section 5 (StanfordMIMI/OpenCapBench at b37d51dd), steps 3 to 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera
from vitruvian.geometry.triangulate import linear_svd
from vitruvian.systems.biomechanics.trial_checks import stretches

CUTOFF = 30.0
"""Hertz; "default" in the published settings, which at 60 frames per second filters next to nothing."""
RATE = 100.0
"""Frames per second of the marker files."""

Turn = tuple[str, tuple[float, ...]]
"""Axes in scipy's spelling (small letters: fixed in space, capitals: fixed to the body) and degrees."""

PLACEMENTS: Mapping[str, Turn] = MappingProxyType(
    {
        "backWall": ("yz", (90.0, 180.0)),
        "backWall_upsideDown": ("y", (-90.0,)),
        "backWall_largeCB": ("y", (-90.0,)),
        "backWall_walking": ("YZ", (-90.0, 180.0)),
        "ground": ("xy", (-90.0, 90.0)),
        "ground_jumps": ("xy", (90.0, 180.0)),
        "ground_gaits": ("xy", (90.0, 90.0)),
        "none": ("y", (0.0,)),
    }
)
"""How the checkerboard's frame is turned into OpenSim's, by where the board was. Names other than "none" follow OpenCap's metadata [mem];
"backWall" on a board that is upside down for the first camera (R[1, 1] > 0 here means it is not) becomes "backWall_upsideDown"."""


def lowpass(values: Float[np.ndarray, "*c f n"], rate: float, cutoff: float = CUTOFF, axis: int = -3) -> Float[np.ndarray, "*c f n"]:
    """Butterworth, second order forward and backward (fourth in effect), without lag; at and over half the rate 0.99 of it is taken.

    Edges are extended as scipy does; series shorter than that extension pass with a shorter one.
    """
    from scipy.signal import butter, sosfiltfilt

    values = np.asarray(values, np.float64)
    normalised = cutoff / (rate / 2)
    frames = values.shape[axis]
    if frames < 2 or not values.size:
        return values
    sections = butter(2, normalised if normalised < 1 else 0.99, output="sos")
    return sosfiltfilt(sections, values, axis=axis, padlen=min(9, frames - 1))


def undistort(
    keypoints: Float[np.ndarray, "f m 2"], intrinsics: Float[np.ndarray, "3 3"], distortion: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "f m 2"]:
    """Pixels of the same camera with a perfect lens, by OpenCV's iteration."""
    import cv2

    flat = np.ascontiguousarray(keypoints, np.float64).reshape(-1, 1, 2)
    if not len(flat):
        return np.zeros_like(keypoints, np.float64)
    return cv2.undistortPoints(flat, np.asarray(intrinsics, np.float64), np.asarray(distortion, np.float64), P=intrinsics).reshape(
        keypoints.shape
    )


def triangulate(
    keypoints: Float[np.ndarray, "c f m 2"], confidence: Float[np.ndarray, "c f m"], projections: Float[np.ndarray, "c 3 4"]
) -> tuple[Float[np.ndarray, "f m 3"], Float[np.ndarray, "f m"]]:
    """Weighted linear triangulation of undistorted pixels, and the points' confidence: the mean of those that are not zero.

    A NaN among the confidences counts 0.5. With fewer than two that are not zero the point is (0, 0, 0) and its confidence 0.
    """
    weight = np.where(np.isnan(confidence), 0.5, confidence)
    enough = (weight != 0).sum(0) >= 2
    points = np.zeros((*enough.shape, 3))
    if enough.any():
        points[enough] = linear_svd(projections, keypoints[:, enough], weight[:, enough])
    return points, np.where(enough, _mean_confidence(confidence), 0.0)


def _mean_confidence(confidence: Float[np.ndarray, "c f m"]) -> Float[np.ndarray, "f m"]:
    counts = np.isfinite(confidence) & (confidence != 0)
    total = np.where(counts, confidence, 0.0).sum(0)
    return np.where(counts.any(0), total / np.maximum(counts.sum(0), 1), 0.5)


def fill_short_gaps(
    points: Float[np.ndarray, "f m 3"], confidence: Float[np.ndarray, "f m"], rate: float
) -> tuple[Float[np.ndarray, "f m 3"], Bool[np.ndarray, "f m"]]:
    """Runs of confidence 0 between others, shorter than a fifth of a second, by PCHIP; and what was filled.

    Longer runs, and those at the ends, stay at the world's origin.
    """
    from scipy.interpolate import PchipInterpolator

    points, filled = points.copy(), np.zeros(confidence.shape, bool)
    for marker in range(points.shape[1]):
        good = confidence[:, marker] != 0
        for first, last in stretches(~good):
            if 0 < first and last < len(good) - 1 and last - first + 1 < int(rate / 5):
                filled[first : last + 1, marker] = True
        if filled[:, marker].any():
            frames = np.flatnonzero(filled[:, marker])
            points[frames, marker] = PchipInterpolator(np.flatnonzero(good), points[good, marker], axis=0)(frames)
    return points, filled


def resample(
    points: Float[np.ndarray, "f m 3"], rate: float, new_rate: float = RATE, frames: int | None = None
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, "g m 3"]]:
    """Times and points from 0 to f / rate seconds inclusive in steps of 1 / new_rate, linear; the last interval is continued past its end.

    frames: how many, where the end is no whole step (the card does not say whether one more is made there).
    """
    from scipy.interpolate import interp1d

    if frames is None:
        frames = int(np.floor(len(points) / rate * new_rate + 1e-6)) + 1 if len(points) else 0
    times = np.arange(frames) / new_rate
    if len(points) < 2:
        return times, np.repeat(points, frames, axis=0) if len(points) else np.zeros((frames, *points.shape[1:]))
    return times, interp1d(np.arange(len(points)) / rate, points, axis=0, fill_value="extrapolate")(times)


def to_opensim(points: Float[np.ndarray, "f m 3"], placement: str | Turn) -> Float[np.ndarray, "f m 3"]:
    """Millimetres in the checkerboard's frame to metres in OpenSim's (x forward, y up), by a name of `PLACEMENTS` or axes and degrees.

    Raises VitruvianError for an unknown name.
    """
    from scipy.spatial.transform import Rotation

    if isinstance(placement, str):
        if placement not in PLACEMENTS:
            raise VitruvianError(
                f"no checkerboard placement {placement!r}; choose one of {', '.join(PLACEMENTS)}, or give axes and degrees"
            )
        placement = PLACEMENTS[placement]
    axes, degrees = placement
    turn = Rotation.from_euler(axes, degrees if len(axes) > 1 else degrees[0], degrees=True).as_matrix()
    return points @ turn.T / 1000


def placement_for(said: str | Turn, first: Camera) -> str | Turn:
    """The placement that data name, "backWall" told apart by whether the board is upside down for the first camera."""
    return "backWall_upsideDown" if said == "backWall" and first.R_cam_world[1, 1] <= 0 else said


def choose_person(
    keypoints: list[Float[np.ndarray, "n k 2"]], confidence: list[Float[np.ndarray, "n k"]], size: tuple[int, int]
) -> list[int]:
    """Which person is followed in each frame, -1 for none: the largest confident one anywhere, then the nearest box to either side.

    A person's box is the extent of the keypoints that are seen, 5 % taller at the top. The start must have a mean confidence above 0.6
    and ten keypoints above 0.4. A frame whose nearest box is off by more than 0.2 mean picture sides (distance between the corners as one
    vector) ends the track: frames beyond have nobody. [The card does not say how corners are compared.]
    """
    boxes = [_boxes(points, sure) for points, sure in zip(keypoints, confidence, strict=True)]
    chosen, best, start = [-1] * len(boxes), 0.0, (-1, -1)
    for frame, (box, sure) in enumerate(zip(boxes, confidence, strict=True)):
        for person in np.flatnonzero((sure.mean(-1) > 0.6) & ((sure > 0.4).sum(-1) >= 10)) if len(box) else ():
            area = float(np.prod(box[person, 2:] - box[person, :2]))
            if area > best:
                best, start = area, (frame, int(person))
    if start[0] < 0:
        return chosen
    chosen[start[0]] = start[1]
    limit = 0.2 * sum(size) / 2
    for frames in (range(start[0] - 1, -1, -1), range(start[0] + 1, len(boxes))):
        last = boxes[start[0]][start[1]]
        for frame in frames:
            away = np.linalg.norm(boxes[frame] - last, axis=-1)
            if not np.isfinite(away).any() or np.nanmin(away) > limit:
                break
            chosen[frame] = int(np.nanargmin(away))
            last = boxes[frame][chosen[frame]]
    return chosen


def _boxes(keypoints: Float[np.ndarray, "n k 2"], confidence: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n 4"]:
    seen = np.where((confidence > 0)[..., None], keypoints, np.nan)
    low, high = np.fmin.reduce(seen, axis=1), np.fmax.reduce(seen, axis=1)
    low[:, 1] -= 0.05 * (high[:, 1] - low[:, 1])
    return np.concatenate([low, high], -1)
