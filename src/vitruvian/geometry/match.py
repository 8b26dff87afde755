"""Who is who across cameras: poses that several cameras see at one time are put together by where their lines of sight meet.

    labels = match_views(cameras, keypoints, confidence)            # one frame; lists over cameras of (n, k, 2), (n, k)

Two poses of different cameras agree by how near the lines of sight of the same keypoint pass each other (median over keypoints, metres,
meeting in front of both cameras). Each pair then has an affinity, 1 for lines that meet, negative beyond `limit`, and people are
the groups of poses, one per camera at most, whose affinities sum to the most (correlation clustering): greedy merging, then single poses
move, or two of a camera change places, while that helps. A third camera thereby decides between persons that two confuse. `follow` does so
for films. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, at_least_one, rays_world

LIMIT = 0.15
"""Metres between lines of sight at which two poses are as likely one person as two."""
SEEN = 0.3
"""Confidence from which a keypoint takes part."""
FEWEST = 3  # common keypoints that an affinity needs
WORST = -3.0  # no single pair forbids a group for ever: keypoints of two cameras may be exchanged left and right
_LARGE = 1.2  # metres from the middle of a body to its median keypoint: what two cameras make of two persons is often a giant
_ROUNDS = 10


def match_views(
    cameras: Sequence[Camera],
    keypoints: Sequence[Float[np.ndarray, "n k 2"]],
    confidence: Sequence[Float[np.ndarray, "n k"]],
    limit: float = LIMIT,
) -> list[Int[np.ndarray, " n"]]:
    """For each camera the person (0, 1 ...) of each of its poses; persons that only one camera sees have numbers of their own.

    Raises VitruvianError where lists and shapes don't fit.
    """
    counts = checked(cameras, keypoints, confidence)
    view = np.repeat(np.arange(len(cameras)), counts)
    centres, rays = lines_of_sight(cameras, keypoints, confidence)
    labels = cluster(affinity_of(ray_distances(centres[view], rays, view), limit), view)
    return np.split(labels, np.cumsum(counts)[:-1])


def ray_distances(
    centres: Float[np.ndarray, "m 3"],
    rays: Float[np.ndarray, "m k 3"],
    view: Int[np.ndarray, " m"],
    others: Float[np.ndarray, "m k 3"] | None = None,
) -> Float[np.ndarray, "m m"]:
    """Median over keypoints of how near the lines of sight of two poses pass each other, metres.

    others: the second poses' lines, if not the first ones' (left and right exchanged, say).
    NaN for poses of one view, and with fewer than three common keypoints; infinite where the lines meet behind a camera, or far apart.
    """
    count = len(rays)
    if not count:
        return np.zeros((0, 0))
    others = rays if others is None else others
    apart = centres[None, :] - centres[:, None]
    cosine = np.einsum("aki,bki->abk", rays, others)
    sine = np.maximum(1 - cosine**2, 1e-9)
    along = np.einsum("abi,aki->abk", apart, rays)
    back = np.einsum("abi,bki->abk", apart, others)
    # Depths of the two nearest points along both lines.
    here, there = (along - cosine * back) / sine, (cosine * along - back) / sine
    gap = apart[:, :, None] + there[..., None] * others[None] - here[..., None] * rays[:, None]
    middle = centres[:, None, None] + here[..., None] * rays[:, None] + gap / 2
    distance = np.linalg.norm(gap, axis=-1)
    known = np.isfinite(distance) & (view[:, None] != view[None])[..., None]
    ahead = (here > 0) & (there > 0)
    enough = known.sum(-1) >= FEWEST
    out = np.full((count, count), np.nan)
    out[enough] = np.nanmedian(np.where(known, np.where(ahead, distance, np.inf), np.nan)[enough], axis=-1)
    with np.errstate(all="ignore"):
        middle = np.where(known[..., None], middle, np.nan)[enough]
        size = np.nanmedian(np.linalg.norm(middle - np.nanmedian(middle, axis=1, keepdims=True), axis=-1), axis=1)
    out[enough] = np.where(size > _LARGE, np.inf, out[enough])
    return out


def cluster(affinity: Float[np.ndarray, "m m"], view: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """Groups (0, 1 ...) of at most one member per view with the largest sum of affinities inside; nobody joins without gaining."""
    count = len(affinity)
    force = np.where(view[:, None] == view[None], 0.0, np.nan_to_num(affinity))
    gains = np.where(view[:, None] == view[None], -np.inf, force)
    label = np.arange(count)
    while count:
        i, j = divmod(int(gains.argmax()), count)
        if not gains[i, j] > 0:
            break
        gains[i] += gains[j]
        gains[:, i] = gains[i]
        gains[j] = gains[:, j] = gains[i, i] = -np.inf
        label[label == j] = i
    for _ in range(_ROUNDS):
        if not _improve(force, view, label):
            break
    return np.unique(label, return_inverse=True)[1].reshape(-1)


def _improve(force: np.ndarray, view: np.ndarray, label: np.ndarray) -> bool:
    """Move single members, or exchange two of a view, where that raises the sum. In place; whether anything changed."""
    changed = False
    for one in range(len(label)):
        pull = np.bincount(label, force[one], minlength=len(label))
        stays = pull[label[one]]
        best, move = 1e-9, None
        for other in np.flatnonzero((view == view[one]) & (label != label[one])):
            theirs = np.bincount(label, force[other], minlength=len(label))
            gain = pull[label[other]] + theirs[label[one]] - stays - theirs[label[other]]
            if gain > best:
                best, move = gain, (label[other], other)
        taken = np.unique(label[view == view[one]])
        free = np.setdiff1d(np.arange(len(label)), taken)  # an empty group pulls with 0: to be alone
        if len(free) and pull[free].max() - stays > best:
            best, move = pull[free].max() - stays, (free[pull[free].argmax()], None)
        if move is not None:
            target, other = move
            if other is not None:
                label[other] = label[one]
            label[one] = target
            changed = True
    return changed


def affinity_of(distance: np.ndarray, limit: float | np.ndarray) -> np.ndarray:
    """1 at no distance, 0 at the limit, never less than `WORST`; 0 where nothing is known."""
    return np.where(np.isnan(distance), 0.0, np.maximum(1 - distance / limit, WORST))


def lines_of_sight(
    cameras: Sequence[Camera], keypoints: Sequence[np.ndarray], confidence: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "c 3"], Float[np.ndarray, "m k 3"]]:
    """The cameras' places, and the directions of all their poses' keypoints, NaN for those that are not sure."""
    centres, rays = [], []
    for camera, pixels, sure in zip(cameras, keypoints, confidence, strict=True):
        centre, direction = rays_world(camera, np.where((np.asarray(sure) >= SEEN)[..., None], pixels, np.nan))
        centres.append(centre)
        rays.append(direction)
    return np.array(centres), np.concatenate(rays)


def checked(cameras: Sequence[Camera], keypoints: Sequence[np.ndarray], confidence: Sequence[np.ndarray]) -> list[int]:
    """How many poses each camera sees. Raises VitruvianError where lists and shapes don't fit."""
    fits = len(at_least_one(cameras)) == len(keypoints) == len(confidence)
    shapes = [(np.shape(pixels), np.shape(sure)) for pixels, sure in zip(keypoints, confidence, strict=False)]
    fits &= all(len(a) == 3 and a[2] == 2 and a[:2] == b for a, b in shapes) and len({a[1:2] for a, _ in shapes}) < 2
    if not fits:
        raise VitruvianError(f"poses of {shapes} for {len(cameras)} cameras: give (n, k, 2) and (n, k) for each, with one k")
    return [a[0] for a, _ in shapes]
