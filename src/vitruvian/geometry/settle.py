"""Points of a skeleton that are where the cameras see them and whose limbs keep their length: for each frame the most likely ones.

Triangulation asks each point by itself. A limb's two ends are told better together: its length is the same in the whole film, and along
the line of sight of a camera that is off, the length says what that camera does not. So for each frame, over the points of one person,

    sum over cameras and points of  confidence^2 rho(pixels off / sigma)  +  sum over bones of  huber((length - usual) / (spread * usual))

becomes least, by Gauss-Newton from the triangulated points, reweighted in each step (rho: Geman and McClure's, so that a camera that is
far off does not count; Huber's, so that cameras that agree to the pixel outweigh a length). sigma is told by the film: what cameras are
usually off. A bone counts as a camera: where it leads to a point on which one camera too few agrees, that point is looked for too, from
where it is on the way between its neighbours in time. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.geometry.camera import Camera, normalise
from vitruvian.geometry.limbs import usual_length
from vitruvian.geometry.triangulate import Triangulation, put, reprojection_errors

SPREAD = 0.03
"""Of a bone's length: what the distance of two keypoints may vary. Those of made-up walkers vary by 0.1 to 1.1 % (arms and legs of
benchmarks/four_cameras_crowd.py's), what networks take for them by more."""
LONGEST = 10
"""Rows in which a point may be missing and still be looked for between its neighbours in time."""
_ASTRAY = 0.2  # metres from that way: what is found farther off is something else
_PULL = 1.5  # spreads from which a bone pulls no harder
_STEPS = 8
_LEAST_SIGMA = 0.05  # pixels
_FAR = 3.0  # sigmas from which a camera counts less and less
_DAMPING = 1e-3  # of the mean of a system's diagonal: what is hardly known moves little

_SIDES = (("left", "right"), ("right", "left"))
_RIGID = (
    ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"), ("ankle", "big_toe"),
    ("heel", "big_toe"),
)  # fmt: skip


class Bone(NamedTuple):
    """Two points that stay as far apart as they are, and the same two of the other side."""

    start: int
    end: int
    other: tuple[int, int]


def bones_of(names: Sequence[str]) -> tuple[Bone, ...]:
    """The bones of arms and legs, the feet, and the pelvis, as far as a keypoint set has their ends."""
    place = {name: n for n, name in enumerate(names)}
    pairs = [(f"{side}_{a}", f"{side}_{b}", f"{other}_{a}", f"{other}_{b}") for a, b in _RIGID for side, other in _SIDES]
    pairs.append(("left_hip", "right_hip") * 2)
    known = [[place[name] for name in pair] for pair in pairs if all(name in place for name in pair)]
    return tuple(Bone(a, b, (c, d)) for a, b, c, d in known)


def settled(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c n k 2"],
    confidence: Float[np.ndarray, "c n k"],
    found: Triangulation,
    bones: Sequence[Bone],
    *,
    min_views: int = 2,
    threshold: float = 15.0,
) -> Triangulation:
    """The points (n, k) of one person over time, with the ends of bones moved to where cameras and lengths agree best.

    keypoints, confidence, min_views, threshold: as of `triangulate`, which made `found`. Bones whose length the film does not tell count
    for nothing.
    """
    lengths = np.array([usual_length(found.points, bone[:2], bone.other) for bone in bones])
    told = [(bone, length) for bone, length in zip(bones, lengths, strict=True) if np.isfinite(length)]
    if not told:
        return found
    which = np.unique([point for bone, _ in told for point in bone[:2]])
    ends = np.searchsorted(which, [bone[:2] for bone, _ in told])
    skeleton = _Skeleton(ends, np.array([length for _, length in told]))
    seen = keypoints[:, :, which], confidence[:, :, which]
    views = _Views.of(cameras, *seen)
    start = _between(found.points[:, which])
    there = np.isfinite(start).all(-1)
    at = np.where(there[..., None], start, 0.0)
    sigma = _sigma(views, at, np.isfinite(found.points[:, which]).all(-1))
    for _ in range(_STEPS):
        square, right = _pixels_say(views, at, there, sigma)
        _bones_say(square, right, at, there, skeleton)
        at = at + _solved(square, right) * there[..., None]
    astray = np.linalg.norm(at - np.where(there[..., None], start, 0.0), axis=-1) > _ASTRAY
    lost = ~there | (astray & np.isnan(found.points[:, which]).any(-1))
    return _judged(cameras, seen, found, which, np.where(lost[..., None], np.nan, at), skeleton, min_views, threshold)


def _judged(
    cameras: Sequence[Camera],
    seen: tuple[np.ndarray, np.ndarray],
    found: Triangulation,
    which: Int[np.ndarray, " m"],
    at: Float[np.ndarray, "n m 3"],
    skeleton: _Skeleton,
    min_views: int,
    threshold: float,
) -> Triangulation:
    """`found` with these points where they are now, as far as enough cameras, or bones in place of one of them, agree."""
    error, sure = reprojection_errors(cameras, at, seen[0]), np.nan_to_num(seen[1])
    used = (error <= threshold) & (sure > 0)
    before = np.isfinite(found.points[:, which]).all(-1)
    moved = np.where(before, used.any(0), used.sum(0) + skeleton.holds(at, before) >= min_views)
    rows, columns = np.nonzero(moved)
    used, error, sure = (values[:, rows, columns] for values in (used, np.nan_to_num(error), sure))
    count = np.maximum(used.sum(0), 1)
    mean, root = (sure * used).sum(0) / count, np.sqrt((error**2 * used).sum(0) / count)
    return put(found, Triangulation(at[rows, columns], mean, used, root), rows, which[columns])


def _between(points: Float[np.ndarray, "n m 3"]) -> Float[np.ndarray, "n m 3"]:
    """The points with short gaps filled by straight lines in time."""
    out, rows = points.copy(), np.arange(len(points))
    for column in range(points.shape[1]):
        known = np.flatnonzero(np.isfinite(points[:, column]).all(-1))
        if len(known) < 2:
            continue
        after = np.searchsorted(known, rows).clip(1, len(known) - 1)
        left, right = known[after - 1], known[after]
        gap = np.isnan(points[:, column]).any(-1) & (left < rows) & (rows < right) & (right - left - 1 <= LONGEST)
        share = ((rows - left) / (right - left))[gap, None]
        out[gap, column] = (1 - share) * points[left[gap], column] + share * points[right[gap], column]
    return out


class _Skeleton(NamedTuple):
    """ends (b, 2): the points of each bone. lengths (b,): metres."""

    ends: Int[np.ndarray, "b 2"]
    lengths: Float[np.ndarray, " b"]

    def holds(self, at: Float[np.ndarray, "n m 3"], known: Bool[np.ndarray, "n m"]) -> Bool[np.ndarray, "n m"]:
        """Which points hang on a known one by a bone that is as long as it should be."""
        length = np.linalg.norm(at[:, self.ends[:, 0]] - at[:, self.ends[:, 1]], axis=-1)
        right = np.abs(length / self.lengths - 1) <= 3 * SPREAD
        out = np.zeros(at.shape[:2], bool)
        for n, (a, b) in enumerate(self.ends):
            out[:, a] |= right[:, n] & known[:, b]
            out[:, b] |= right[:, n] & known[:, a]
        return out


class _Views(NamedTuple):
    """Cameras as tables: rows (c, 3, 4) of [R t], focal (c, 2), rays (c, n, m, 2) without distortion; weight (c, n, m), 0 for unseen."""

    rows: Float[np.ndarray, "c 3 4"]
    focal: Float[np.ndarray, "c 2"]
    rays: Float[np.ndarray, "c n m 2"]
    weight: Float[np.ndarray, "c n m"]

    @classmethod
    def of(cls, cameras: Sequence[Camera], keypoints: np.ndarray, confidence: np.ndarray) -> _Views:
        rows = np.stack([np.concatenate([camera.R_cam_world, camera.t_cam_world[:, None]], 1) for camera in cameras])
        focal = np.stack([np.diag(camera.intrinsics)[:2] for camera in cameras])
        rays = np.stack([normalise(camera, pixels) for camera, pixels in zip(cameras, keypoints, strict=True)])
        seen = np.isfinite(rays).all(-1) & (np.nan_to_num(confidence) > 0)
        return cls(rows, focal, np.where(seen[..., None], rays, 0.0), np.where(seen, np.nan_to_num(confidence) ** 2, 0.0))

    def residuals(self, at: Float[np.ndarray, "n m 3"]) -> tuple[Float[np.ndarray, "c n m 2"], Float[np.ndarray, "c n m 2 3"]]:
        """Pixels by which points are off, and how these change with the points."""
        inside = np.einsum("cij,nmj->cnmi", self.rows[..., :3], at) + self.rows[:, None, None, :, 3]
        depth = np.maximum(inside[..., 2:], 1e-3)
        flat = inside[..., :2] / depth
        off = (flat - self.rays) * self.focal[:, None, None]
        change = (self.rows[:, None, None, :2, :3] - flat[..., None] * self.rows[:, None, None, 2:, :3]) / depth[..., None]
        return off, change * self.focal[:, None, None, :, None]


def _sigma(views: _Views, at: np.ndarray, there: np.ndarray) -> float:
    """Robust standard deviation of a coordinate, pixels, over all that was seen."""
    off, _ = views.residuals(at)
    seen = (views.weight > 0) & there
    return max(float(1.4826 * np.median(np.abs(off[seen]))) if seen.any() else 0.0, _LEAST_SIGMA)


def _pixels_say(
    views: _Views, at: np.ndarray, there: np.ndarray, sigma: float
) -> tuple[Float[np.ndarray, "n m 3 m 3"], Float[np.ndarray, "n m 3"]]:
    """The normal equations of what the cameras see; the system's blocks lie on its diagonal."""
    off, change = views.residuals(at)
    far = (off**2).sum(-1) / (_FAR * sigma) ** 2
    weight = views.weight * there / sigma**2 / (1 + far) ** 2
    block = np.einsum("cnm,cnmpi,cnmpj->nmij", weight, change, change)
    n, m = at.shape[:2]
    square = np.zeros((n, m, 3, m, 3))
    square[:, np.arange(m), :, np.arange(m)] = block.swapaxes(0, 1)
    return square, -np.einsum("cnm,cnmpi,cnmp->nmi", weight, change, off)


def _bones_say(
    square: Float[np.ndarray, "n m 3 m 3"],
    right: Float[np.ndarray, "n m 3"],
    at: np.ndarray,
    there: np.ndarray,
    skeleton: _Skeleton,
) -> None:
    """Add the bones' lengths to the normal equations, in place."""
    for (a, b), usual in zip(skeleton.ends, skeleton.lengths, strict=True):
        between = at[:, b] - at[:, a]
        length = np.linalg.norm(between, axis=-1)
        known = there[:, a] & there[:, b] & (length > 1e-6)
        along = np.where(known[:, None], between / np.maximum(length, 1e-6)[:, None], 0.0)
        scale = SPREAD * usual
        weight = known / scale**2 * np.minimum(1, _PULL * scale / np.maximum(np.abs(length - usual), 1e-9))
        block = weight[:, None, None] * along[:, :, None] * along[:, None]
        pull = (weight * (length - usual))[:, None] * along
        for one, other, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            square[:, one, :, other] += sign * block
        right[:, a] += pull
        right[:, b] -= pull


def _solved(square: Float[np.ndarray, "n m 3 m 3"], right: Float[np.ndarray, "n m 3"]) -> Float[np.ndarray, "n m 3"]:
    """The steps (n, m, 3); points about which nothing is known stay."""
    n, m = right.shape[:2]
    matrix = square.reshape(n, 3 * m, 3 * m).copy()
    diagonal = np.einsum("nii->ni", matrix)
    diagonal += _DAMPING * diagonal.mean(1, keepdims=True) + 1e-9
    return np.linalg.solve(matrix, right.reshape(n, 3 * m, 1)).reshape(n, m, 3)
