"""What stands around published lifters (HopFIR, FinePOSE): their joints, normalised keypoints, windows, roots, one pose of many guesses.

A lifted pose is relative to its root joint, in metres, in the camera's frame (OpenCV axes). Keypoints are "normalised" as VideoPose3D does
it: x from -1 to 1 over the picture's width, y in the same unit, so that the picture's middle is 0 (card finepose.md, sections 2, 4, 5).
Our own lifter sees something else: `codecs.lift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_17, H36M_17, INF_3DHP_17, Skeleton

How = Literal["mean", "jpma", "pose-best", "joint-best"]
"""Mean pose (the paper's P-Agg); per joint the guess that reprojects best (J-Agg); and two that look at the truth (P-Best, J-Best)."""

LIFTED: Mapping[str, Mapping[str, str]] = {
    H36M_17.name: {"root": "mid_hip", "thorax": "neck", "head": "head_top", "left_foot": "left_ankle", "right_foot": "right_ankle"},
    INF_3DHP_17.name: {"pelvis": "mid_hip", "head": "mid_head"},
}
"""The sets that lifters lift, and what their joints are called in `joints_of_coco` where they are called otherwise."""

MIN_DEPTH = 0.1  # metres; where the solver for roots finds less, it found nothing


def normalise_keypoints(keypoints: Float[np.ndarray, "*n 2"], size: tuple[int, int]) -> Float32[np.ndarray, "*n 2"]:
    """Pixels of a picture of `size` (width, height) -> normalised."""
    width, height = size
    return (np.asarray(keypoints, np.float64) / width * 2 - (1, height / width)).astype(np.float32)


def normalised_camera(intrinsics: Float[np.ndarray, "*n 4"], size: tuple[int, int]) -> Float[np.ndarray, "*n 9"]:
    """fx, fy, cx, cy in pixels -> focal lengths, centre in normalised units, and five zeros for the distortion (see `reproject`)."""
    fx_fy, centre = np.asarray(intrinsics, np.float64)[..., :2], np.asarray(intrinsics, np.float64)[..., 2:]
    zeros = np.zeros((*fx_fy.shape[:-1], 5))
    return np.concatenate((fx_fy / size[0] * 2, centre / size[0] * 2 - (1, size[1] / size[0]), zeros), -1)


def reproject(points: Float[np.ndarray, "*n 3"], camera: Float[np.ndarray, " 9"]) -> Float[np.ndarray, "*n 2"]:
    """Where a camera of Human3.6M sees points: f (2), c (2), k1 k2 k3, p1 p2; normalised units, slopes cut at 1 as published."""
    f, c, k, p = np.split(np.asarray(camera, np.float64), (2, 4, 7))
    points = np.asarray(points, np.float64)
    slope = np.clip(points[..., :2] / points[..., 2:], -1, 1)
    r2 = np.square(slope).sum(-1, keepdims=True)
    radial = 1 + (k * np.concatenate((r2, r2**2, r2**3), -1)).sum(-1, keepdims=True)
    tangential = (p * slope).sum(-1, keepdims=True)
    return f * (slope * (radial + tangential) + p * r2) + c


def split_windows(frames: int, length: int) -> list[int]:
    """First frames of windows of `length`: without overlap, but the last one ends with the sequence. A short sequence has one window."""
    if frames <= 0:
        return []
    return [*range(0, frames - length + 1, length), *([max(frames - length, 0)] if frames % length or frames < length else [])]


def take_windows(sequence: Float[np.ndarray, " f *n"], length: int) -> Float[np.ndarray, "w length *n"]:
    """The windows of a sequence (`split_windows`); a short one is filled up with its last frame."""
    frames = np.arange(length) + np.array(split_windows(len(sequence), length), int)[:, None]
    return sequence[np.minimum(frames, max(len(sequence) - 1, 0))]


def merge_windows(windows: Float[np.ndarray, "w length *n"], frames: int) -> Float[np.ndarray, " frames *n"]:
    """Windows back to their sequence of so many frames; what two windows cover is the later one's [ours]."""
    length = windows.shape[1]
    out = np.zeros((frames, *windows.shape[2:]), windows.dtype)
    for start, window in zip(split_windows(frames, length), windows, strict=True):
        out[start : start + length] = window[: frames - start]
    return out


def solve_roots(
    points: Float[np.ndarray, "*n k 3"],
    keypoints: Float[np.ndarray, "*n k 2"],
    camera: Float[np.ndarray, " 9"],
    confidence: Float[np.ndarray, "*n k"] | None = None,
) -> Float[np.ndarray, "*n 3"]:
    """Where the root is, for root-relative `points` that are seen at normalised `keypoints`: linear least squares for each pose.

    Distortion is left out. NaN where fewer than two joints are seen (NaN, or confidence 0), or the root would not lie before the camera.
    """
    points, keypoints = np.broadcast_arrays(points, np.concatenate((keypoints, np.zeros_like(keypoints[..., :1])), -1))
    slope = (keypoints[..., :2].astype(np.float64) - camera[2:4]) / camera[:2]
    weight = np.ones(points.shape[:-1]) if confidence is None else np.broadcast_to(confidence, points.shape[:-1])
    seen = np.isfinite(slope).all(-1) & np.isfinite(points).all(-1) & (weight > 0)
    weight = np.where(seen, weight, 0.0)
    slope, known = np.where(seen[..., None], slope, 0.0), np.where(seen[..., None], points, 0.0)
    # Two rows per joint: x + tx = u (z + tz), and the same for y.
    rows = np.zeros((*slope.shape, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1
    rows[..., 2] = -slope
    right = slope * known[..., 2:] - known[..., :2]
    normal = np.einsum("...k,...kai,...kaj->...ij", weight, rows, rows)
    vector = np.einsum("...k,...kai,...ka->...i", weight, rows, right)
    enough = seen.sum(-1) >= 2
    normal = np.where(enough[..., None, None], normal + 1e-12 * np.eye(3), np.eye(3))
    root = np.linalg.solve(normal, vector[..., None])[..., 0]
    return np.where((enough & (root[..., 2] > MIN_DEPTH))[..., None], root, np.nan)


def aggregate(
    points: Float[np.ndarray, "*n h f k 3"],
    how: How = "mean",
    keypoints: Float[np.ndarray, "*n f k 2"] | None = None,
    camera: Float[np.ndarray, " 9"] | None = None,
    roots: Float[np.ndarray, "*n f 3"] | None = None,
    truth: Float[np.ndarray, "*n f k 3"] | None = None,
) -> Float[np.ndarray, "*n f k 3"]:
    """One sequence out of h guesses (third axis from the frames' left).

    "jpma" needs the normalised `keypoints` and the `camera`; `roots` are solved for where they aren't given (published figures take the
    true ones). "pose-best" and "joint-best" need the `truth` and so are no predictions; "pose-best" chooses for each frame (the published
    program chooses one guess for a whole batch). Raises VitruvianError when something is missing.
    """
    points = np.asarray(points)
    if how == "mean":
        return points.mean(-4)
    if how == "jpma":
        if keypoints is None or camera is None:
            raise VitruvianError("jpma compares reprojections: give it the keypoints and the camera, or use the mean")
        keypoints = np.asarray(keypoints)[..., None, :, :, :]
        if roots is None:
            roots = np.nan_to_num(solve_roots(points, keypoints, camera), nan=1.0)
        else:
            roots = np.asarray(roots)[..., None, :, :]
        cost = np.linalg.norm(reproject(points + roots[..., None, :], camera) - keypoints, axis=-1)
        return _chosen(points, np.nan_to_num(cost).argmin(-3))
    if truth is None:
        raise VitruvianError(f"{how} looks at the truth: give it, or use the mean")
    cost = np.linalg.norm(points - np.asarray(truth)[..., None, :, :, :], axis=-1)
    best = cost.argmin(-3) if how == "joint-best" else np.broadcast_to(cost.mean(-1, keepdims=True), cost.shape).argmin(-3)
    return _chosen(points, best)


def _chosen(points: Float[np.ndarray, "*n h f k 3"], which: Int[np.ndarray, "*n f k"]) -> Float[np.ndarray, "*n f k 3"]:
    """Of each joint in each frame one guess."""
    return np.take_along_axis(points, which[..., None, :, :, None], -4)[..., 0, :, :, :]


def fill_gaps(sequence: Float[np.ndarray, "f k d"]) -> tuple[Float[np.ndarray, "f k d"], Bool[np.ndarray, " f"]]:
    """A sequence whose missing points (NaN) are put between their neighbours in time, and which frames had any point.

    A keypoint that is never seen lies at 0 everywhere.
    """
    sequence = np.array(sequence, np.float64)
    present = np.isfinite(sequence).all(-1)
    frames = np.arange(len(sequence))
    for k in range(sequence.shape[1]):
        seen = present[:, k]
        for axis in range(sequence.shape[2]):
            column = sequence[:, k, axis]
            column[~seen] = np.interp(frames[~seen], frames[seen], column[seen]) if seen.any() else 0.0
    return sequence, present.any(-1)


def fill_unseen(keypoints: Float[np.ndarray, "f k 2"], seen: Bool[np.ndarray, "f k"]) -> Float[np.ndarray, "f k 2"]:
    """A sequence whose unseen keypoints are put between the frames in which they are seen; those never seen are taken as they are."""
    filled, _ = fill_gaps(np.where(seen[..., None], keypoints, np.nan))
    return np.where(seen.any(0)[:, None], filled, fill_gaps(keypoints)[0])


def mirrored(values: Float[np.ndarray, "*n k d"], swap: tuple[int, ...]) -> Float[np.ndarray, "*n k d"]:
    """Keypoints or poses as a mirror shows them: x negated, left and right swapped. Its own inverse."""
    swapped = values[..., list(swap), :]
    return np.concatenate((-swapped[..., :1], swapped[..., 1:]), -1)


def joints_of_coco(
    keypoints: Float[np.ndarray, "*n k 2"], confidence: Float[np.ndarray, "*n k"], target: Skeleton = H36M_17
) -> tuple[Float[np.ndarray, "*n j 2"], Float[np.ndarray, "*n j"]]:
    """The joints of one of the `LIFTED` sets, and their confidence, from sets that begin with COCO's 17 (COCO-WholeBody, Halpe). [proposed]

    Limbs are taken over; root and thorax are the middles of hips and shoulders, the spine is the middle of these two, the neck's base that
    of thorax and nose, and the top of the head lies as far beyond the ears' middle (the nose, where there are none) as that is beyond the
    neck's base. A derived point is as sure as the least sure it is made of. Bias: the data sets' own points are joint centres of motion
    capture; their spine bends, and their hips lie deeper than where annotators click. Raises VitruvianError for another set.
    """
    if target.name not in LIFTED:
        raise VitruvianError(f"no joints of {target.name} follow from COCO's keypoints: lift {' or '.join(LIFTED)}")
    keypoints, confidence = np.asarray(keypoints, np.float64), np.asarray(confidence, np.float64)

    def middle(*points: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return np.mean([place for place, _ in points], axis=0), np.min([sure for _, sure in points], axis=0)

    at = {name: (keypoints[..., k, :], confidence[..., k]) for k, name in enumerate(COCO_17.names)}
    at["mid_hip"] = middle(at["left_hip"], at["right_hip"])
    at["neck"] = middle(at["left_shoulder"], at["right_shoulder"])
    at["spine"] = middle(at["mid_hip"], at["neck"])
    at["neck_base"] = middle(at["neck"], at["nose"])
    (ears, ear_sure), (nose, nose_sure) = middle(at["left_ear"], at["right_ear"]), at["nose"]
    at["mid_head"] = np.where((ear_sure > 0)[..., None], ears, nose), np.where(ear_sure > 0, ear_sure, nose_sure)
    (inside, sure), (base, base_sure) = at["mid_head"], at["neck_base"]
    at["head_top"] = 2 * inside - base, np.minimum(sure, base_sure)
    chosen = [at[LIFTED[target.name].get(name, name)] for name in target.names]
    return np.stack([place for place, _ in chosen], -2), np.stack([sure for _, sure in chosen], -1)
