"""Who is who across cameras: poses that several cameras see at one time are put together by where their lines of sight meet.

    labels = match_views(cameras, keypoints, confidence)            # one frame; lists over cameras of (n, k, 2), (n, k)
    ids = follow(cameras, frames, times)                            # a film: the same number for the same person

Two poses of different cameras agree by how near the lines of sight of the same keypoint pass each other (median over keypoints, metres,
meeting in front of both cameras). Each pair then has an affinity, 1 for lines that meet, negative beyond `limit`, and people are
the groups of poses, one per camera at most, whose affinities sum to the most (correlation clustering): greedy merging, then single poses
move, or two of a camera change places, while that helps. A third camera thereby decides between persons that two confuse. In films the
persons of the frame before take part in the same way, as if they were one more camera that sees them in 3D. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, at_least_one, rays_world
from vitruvian.geometry.triangulate import triangulate

LIMIT = 0.15
"""Metres between lines of sight at which two poses are as likely one person as two."""
SEEN = 0.3
"""Confidence from which a keypoint takes part."""
_FEWEST = 3  # common keypoints that an affinity needs
_WORST = -3.0  # no single pair forbids a group for ever: keypoints of two cameras may be exchanged left and right
_LARGE = 1.2  # metres from the middle of a body to its median keypoint: what two cameras make of two persons is often a giant
_HINT = 0.5  # affinity to the person that the camera's own tracker followed here
_SPEED, _REACH = 2.0, 0.25  # metres per second and metres that a person may be off the last sight, beyond which affinity is negative
_ROUNDS = 10
_STAND = 5  # keypoints in 3D that a new person needs

Poses = tuple[Float[np.ndarray, "n k 2"], Float[np.ndarray, "n k"], Int[np.ndarray, " n"]]
"""What one camera sees in one frame: keypoints, confidence, and the ids of its own tracker (-1 for none)."""


def match_views(
    cameras: Sequence[Camera],
    keypoints: Sequence[Float[np.ndarray, "n k 2"]],
    confidence: Sequence[Float[np.ndarray, "n k"]],
    limit: float = LIMIT,
) -> list[Int[np.ndarray, " n"]]:
    """For each camera the person (0, 1 ...) of each of its poses; persons that only one camera sees have numbers of their own.

    Raises VitruvianError where lists and shapes don't fit.
    """
    counts = _checked(cameras, keypoints, confidence)
    view = np.repeat(np.arange(len(cameras)), counts)
    centres, rays = _lines(cameras, keypoints, confidence)
    labels = cluster(_affinity(ray_distances(centres[view], rays, view), limit), view)
    return np.split(labels, np.cumsum(counts)[:-1])


@dataclass(frozen=True, eq=False)
class _Person:
    """Somebody followed: number, last place of each keypoint (NaN unknown), when, and the trackers' ids there, (camera, id)."""

    id: int
    points: Float[np.ndarray, "k 3"]
    time: float
    hints: frozenset[tuple[int, int]]


def follow(
    cameras: Sequence[Camera],
    frames: Sequence[Sequence[Poses]],
    times: Float[np.ndarray, " f"],
    limit: float = LIMIT,
    memory: float = 1.0,
    threshold: float = 15.0,
) -> list[list[Int[np.ndarray, " n"]]]:
    """For each frame and camera the id (1, 2 ...) of each pose; -1 for poses of nobody whom two cameras have ever seen at one time.

    memory: seconds for which a person who is out of sight keeps the id. threshold: pixels, as for `triangulate`.
    Raises VitruvianError where lists and shapes don't fit.
    """
    people: list[_Person] = []
    out, last = [], 0
    for time, poses in zip(times, frames, strict=True):
        keypoints, confidence, hints = (list(column) for column in zip(*poses, strict=True)) if len(poses) else ([], [], [])
        counts = _checked(cameras, keypoints, confidence)
        people = [person for person in people if time - person.time <= memory]
        groups = _groups(cameras, keypoints, confidence, hints, people, float(time), limit)
        ids = np.full(sum(counts), -1)
        view = np.repeat(np.arange(len(cameras)), counts)
        hint = np.concatenate([np.zeros(0, int), *hints])
        known = {person.id: person for person in people}
        for person, rows in groups:
            points = _points(cameras, keypoints, confidence, view, rows, counts, threshold)
            if person is None:
                if np.isfinite(points).all(-1).sum() < _STAND:
                    continue
                last += 1
                person = _Person(last, points, float(time), frozenset())
            ids[rows] = person.id
            places = np.where(np.isfinite(points), points, person.points)
            here = frozenset((int(view[row]), int(hint[row])) for row in rows if hint[row] >= 0)
            known[person.id] = _Person(person.id, places, float(time), here)
        people = list(known.values())
        out.append(np.split(ids, np.cumsum(counts)[:-1]))
    return out


def ray_distances(
    centres: Float[np.ndarray, "m 3"], rays: Float[np.ndarray, "m k 3"], view: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "m m"]:
    """Median over keypoints of how near the lines of sight of two poses pass each other, metres.

    NaN for poses of one view, and with fewer than three common keypoints; infinite where the lines meet behind a camera, or far apart.
    """
    count = len(rays)
    if not count:
        return np.zeros((0, 0))
    apart = centres[None, :] - centres[:, None]
    cosine = np.einsum("aki,bki->abk", rays, rays)
    sine = np.maximum(1 - cosine**2, 1e-9)
    along = np.einsum("abi,aki->abk", apart, rays)
    back = np.einsum("abi,bki->abk", apart, rays)
    # Depths of the two nearest points along both lines.
    here, there = (along - cosine * back) / sine, (cosine * along - back) / sine
    gap = apart[:, :, None] + there[..., None] * rays[None] - here[..., None] * rays[:, None]
    middle = centres[:, None, None] + here[..., None] * rays[:, None] + gap / 2
    distance = np.linalg.norm(gap, axis=-1)
    known = np.isfinite(distance) & (view[:, None] != view[None])[..., None]
    ahead = (here > 0) & (there > 0)
    enough = known.sum(-1) >= _FEWEST
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


def _affinity(distance: np.ndarray, limit: float | np.ndarray) -> np.ndarray:
    """1 at no distance, 0 at the limit, never less than `_WORST`; 0 where nothing is known."""
    return np.where(np.isnan(distance), 0.0, np.maximum(1 - distance / limit, _WORST))


def _groups(
    cameras: Sequence[Camera],
    keypoints: Sequence[np.ndarray],
    confidence: Sequence[np.ndarray],
    hints: Sequence[np.ndarray],
    people: Sequence[_Person],
    time: float,
    limit: float,
) -> list[tuple[_Person | None, Int[np.ndarray, " r"]]]:
    """The persons of a frame with the rows (over all cameras) of their poses; None for new ones, who need two."""
    counts = [len(poses) for poses in keypoints]
    view = np.repeat(np.arange(len(cameras)), counts)
    centres, rays = _lines(cameras, keypoints, confidence)
    poses, known = len(view), len(people)
    affinity = np.zeros((poses + known, poses + known))
    affinity[:poses, :poses] = _affinity(ray_distances(centres[view], rays, view), limit)
    for n, person in enumerate(people):
        off = np.linalg.norm(np.cross(person.points - centres[view][:, None], rays), axis=-1)
        common = np.isfinite(off).sum(1)
        off = np.where(common >= _FEWEST, np.nanmedian(np.where(common[:, None] > 0, off, 0.0), axis=1) if poses else 0.0, np.nan)
        pull = _affinity(off, _REACH + _SPEED * (time - person.time))
        pull += [_HINT * ((int(v), int(h)) in person.hints) for v, h in zip(view, np.concatenate([np.zeros(0, int), *hints]), strict=True)]
        affinity[:poses, poses + n] = affinity[poses + n, :poses] = pull
    label = cluster(affinity, np.concatenate([view, np.full(known, -1)]))
    out = []
    for group in np.unique(label[:poses]):
        rows = np.flatnonzero(label[:poses] == group)
        person = next((people[n] for n in range(known) if label[poses + n] == group), None)
        if person is not None or len(rows) >= 2:
            out.append((person, rows))
    return out


def _points(
    cameras: Sequence[Camera],
    keypoints: Sequence[np.ndarray],
    confidence: Sequence[np.ndarray],
    view: np.ndarray,
    rows: np.ndarray,
    counts: Sequence[int],
    threshold: float,
) -> Float[np.ndarray, "k 3"]:
    """One person's keypoints in 3D."""
    starts = np.concatenate([[0], np.cumsum(counts)])
    seen = view[rows]
    pixels = np.stack([keypoints[v][row - starts[v]] for v, row in zip(seen, rows, strict=True)])
    sure = np.stack([confidence[v][row - starts[v]] for v, row in zip(seen, rows, strict=True)])
    sure = np.where(sure >= SEEN, sure, 0.0)
    return triangulate([cameras[v] for v in seen], pixels, sure, threshold=threshold, refine=False).points


def _lines(
    cameras: Sequence[Camera], keypoints: Sequence[np.ndarray], confidence: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "c 3"], Float[np.ndarray, "m k 3"]]:
    """The cameras' places, and the directions of all their poses' keypoints, NaN for those that are not sure."""
    centres, rays = [], []
    for camera, pixels, sure in zip(cameras, keypoints, confidence, strict=True):
        centre, direction = rays_world(camera, np.where((np.asarray(sure) >= SEEN)[..., None], pixels, np.nan))
        centres.append(centre)
        rays.append(direction)
    return np.array(centres), np.concatenate(rays)


def _checked(cameras: Sequence[Camera], keypoints: Sequence[np.ndarray], confidence: Sequence[np.ndarray]) -> list[int]:
    """How many poses each camera sees. Raises VitruvianError where lists and shapes don't fit."""
    fits = len(at_least_one(cameras)) == len(keypoints) == len(confidence)
    shapes = [(np.shape(pixels), np.shape(sure)) for pixels, sure in zip(keypoints, confidence, strict=False)]
    fits &= all(len(a) == 3 and a[2] == 2 and a[:2] == b for a, b in shapes) and len({a[1:2] for a, _ in shapes}) < 2
    if not fits:
        raise VitruvianError(f"poses of {shapes} for {len(cameras)} cameras: give (n, k, 2) and (n, k) for each, with one k")
    return [a[0] for a, _ in shapes]
