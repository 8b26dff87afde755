"""Who is who across cameras: poses that several cameras see at one time are put together by where their lines of sight meet.

    labels = match_views(cameras, keypoints, confidence)            # one frame; lists over cameras of (n, k, 2), (n, k)
    ids = follow(cameras, frames, times)                            # a film: the same number for the same person

Two poses of different cameras agree by how near the lines of sight of the same keypoint pass each other (median over keypoints, metres,
meeting in front of both cameras). Each pair then has an affinity, 1 for lines that meet, negative beyond `limit`, and people are
the groups of poses, one per camera at most, whose affinities sum to the most (correlation clustering): greedy merging, then single poses
move, or two of a camera change places, while that helps. A third camera thereby decides between persons that two confuse. In films the
persons seen before take part in the same way, as if they were one more camera that sees them in 3D: where they would have walked to by now,
the less sure the longer nobody has seen them there. [ours]
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
_HINT = 0.5  # affinity to the person that the camera's own tracker followed last
_SPEED, _REACH = 2.0, 0.25  # metres per second and metres that a person may be off where the last sight leads to
_VAGUE = 0.3  # affinity lost each time that reach has grown e-fold: whoever has just been here comes before whoever was here once
_COAST, _SWAY = 0.5, 0.2  # seconds for which people are thought to walk on, and over which their speed is averaged
_FASTEST = 4.0  # metres per second; what moves faster is another, taken for this one
_SURE, _DOUBTED, _BRIEF = 3, 0.5, 0.3  # frames that make a person; share of affinity and seconds of memory of one who has fewer
_SAME = 0.15  # metres: nobody stands in somebody else
_ROUNDS = 10
_STAND, _STAND_SHARE = 5, 1 / 3  # keypoints in 3D that a new person needs, and share of all keypoints
_AGREED = 0.5  # share of the keypoints that two cameras see whose lines meet: what cameras make of two different things is below that

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
    """Somebody followed: number, last place of each keypoint (NaN unknown) and when two cameras saw it, metres per second, when seen at
    all, in how many frames; and by camera, the number that its tracker had for this person last, and when it saw the person last."""

    id: int
    points: Float[np.ndarray, "k 3"]
    placed: float
    speed: Float[np.ndarray, " 3"]
    time: float
    frames: int
    hints: Mapping[int, int]
    views: Mapping[int, float]

    def at(self, time: float) -> Float[np.ndarray, "k 3"]:
        """Where the keypoints are by now."""
        return self.points + self.speed * min(time - self.placed, _COAST)

    def remembered(self, time: float, memory: float) -> bool:
        """Whether this is still somebody at `time`."""
        return time - self.time <= (memory if self.frames >= _SURE else min(memory, _BRIEF))


def follow(
    cameras: Sequence[Camera],
    frames: Sequence[Sequence[Poses]],
    times: Float[np.ndarray, " f"],
    limit: float = LIMIT,
    memory: float = 3.0,
    threshold: float = 15.0,
) -> list[list[Int[np.ndarray, " n"]]]:
    """For each frame and camera the id (1, 2 ...) of each pose; -1 for poses of nobody whom two cameras have ever seen at one time.

    memory: seconds for which a person who is out of sight keeps the id. threshold: pixels, as for `triangulate`. Two cameras that find the
    same people twice don't make new ones: who stands in somebody else is nobody.
    Raises VitruvianError where lists and shapes don't fit.
    """
    people: list[_Person] = []
    out, last = [], 0
    for time, poses in zip(times, frames, strict=True):
        keypoints, confidence, hints = (list(column) for column in zip(*poses, strict=True)) if len(poses) else ([], [], [])
        counts = _checked(cameras, keypoints, confidence)
        people = [person for person in people if person.remembered(time, memory)]
        sight = _Sight(cameras, keypoints, confidence, hints)
        ids, here = np.full(sum(counts), -1), {person.id: person for person in people}
        placed: list[np.ndarray] = []
        # Those who are known come first: a new one must not stand in one of them.
        for person, rows in sorted(sight.groups(people, float(time), limit), key=lambda group: group[0] is None):
            points, agreed = sight.points(rows, threshold)
            if person is None:
                enough = np.isfinite(points).all(-1).sum() >= max(_STAND, _STAND_SHARE * len(points)) and agreed >= _AGREED
                if not enough or any(_apart(points, others) < _SAME for others in placed):
                    continue
                last += 1
                person = _Person(last, points, float(time), np.zeros(3), float(time), 0, {}, {})
            here[person.id] = sight.seen(person, rows, points, float(time))
            placed.append(here[person.id].points)
            ids[rows] = person.id
        people = list(here.values())
        out.append(np.split(ids, np.cumsum(counts)[:-1]))
    return out


def _apart(one: Float[np.ndarray, "k 3"], other: Float[np.ndarray, "k 3"]) -> float:
    """Median distance of the keypoints of two bodies, metres; infinite without any in common."""
    distance = np.linalg.norm(one - other, axis=-1)
    known = np.isfinite(distance)
    return float(np.median(distance[known])) if known.any() else np.inf


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


class _Sight:
    """What all cameras see in one frame; rows count the poses of one camera after the other."""

    def __init__(
        self, cameras: Sequence[Camera], keypoints: Sequence[np.ndarray], confidence: Sequence[np.ndarray], hints: Sequence[np.ndarray]
    ) -> None:
        self.cameras, self.keypoints, self.confidence = cameras, keypoints, confidence
        counts = [len(poses) for poses in keypoints]
        self.view = np.repeat(np.arange(len(cameras)), counts)
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.hint = np.concatenate([np.zeros(0, int), *hints])
        self.centres, self.rays = _lines(cameras, keypoints, confidence)

    def groups(self, people: Sequence[_Person], time: float, limit: float) -> list[tuple[_Person | None, Int[np.ndarray, " r"]]]:
        """The persons of this frame with the rows of their poses; None for new ones, who need two."""
        poses, known = len(self.view), len(people)
        affinity = np.zeros((poses + known, poses + known))
        affinity[:poses, :poses] = _affinity(ray_distances(self.centres[self.view], self.rays, self.view), limit)
        for n, person in enumerate(people):
            affinity[:poses, poses + n] = affinity[poses + n, :poses] = self._pull(person, time)
        label = cluster(affinity, np.concatenate([self.view, np.full(known, -1)]))
        out = []
        for group in np.unique(label[:poses]):
            rows = np.flatnonzero(label[:poses] == group)
            person = next((people[n] for n in range(known) if label[poses + n] == group), None)
            if person is not None or len(rows) >= 2:
                out.append((person, rows))
        return out

    def _pull(self, person: _Person, time: float) -> Float[np.ndarray, " m"]:
        """Each pose's affinity to a person known before."""
        off = np.linalg.norm(np.cross(person.at(time) - self.centres[self.view][:, None], self.rays), axis=-1)
        common = np.isfinite(off).sum(1)
        off = np.where(common >= _FEWEST, _median(np.where(common[:, None] > 0, off, 0.0)), np.nan)
        # A camera that follows somebody alone knows where to look; the others know less from frame to frame.
        last = np.array([max(person.placed, person.views.get(int(v), -np.inf)) for v in self.view])
        reach = _REACH + _SPEED * (time - last)
        pull = np.where(np.isnan(off), 0.0, np.maximum(1 - off / reach - _VAGUE * np.log(reach / _REACH), _WORST))
        pull = np.where(pull > 0, pull * (1.0 if person.frames >= _SURE else _DOUBTED), pull)
        same = [person.hints.get(int(v), -1) == h >= 0 for v, h in zip(self.view, self.hint, strict=True)]
        return pull + _HINT * np.array(same, float)

    def points(self, rows: Int[np.ndarray, " r"], threshold: float) -> tuple[Float[np.ndarray, "k 3"], float]:
        """One person's keypoints in 3D, and of how many that two cameras see there is one."""
        seen = self.view[rows]
        pixels = np.stack([self.keypoints[v][row - self.starts[v]] for v, row in zip(seen, rows, strict=True)])
        sure = np.stack([self.confidence[v][row - self.starts[v]] for v, row in zip(seen, rows, strict=True)])
        sure = np.where(sure >= SEEN, sure, 0.0)
        points = triangulate([self.cameras[v] for v in seen], pixels, sure, threshold=threshold, refine=False).points
        twice = ((sure > 0) & np.isfinite(pixels).all(-1)).sum(0) >= 2
        return points, float(np.isfinite(points[twice]).all(-1).mean()) if twice.any() else 0.0

    def seen(self, person: _Person, rows: Int[np.ndarray, " r"], points: Float[np.ndarray, "k 3"], time: float) -> _Person:
        """The person after this frame: keypoints that aren't seen in 3D go along with the others.

        Where only one camera sees the person, the body moves onto its lines of sight, and how far it is from there stays.
        """
        hints = {**person.hints, **{int(self.view[row]): int(self.hint[row]) for row in rows if self.hint[row] >= 0}}
        views = {**person.views, **dict.fromkeys(map(int, self.view[rows]), time)}
        same = replace(person, time=time, frames=person.frames + 1, hints=hints, views=views)
        before = person.at(time)
        common = np.isfinite(points + before).all(-1)
        if common.sum() >= _FEWEST:
            shift = np.median((points - before)[common], axis=0)
            step = time - person.placed
            share = 1 - np.exp(-step / _SWAY)
            walked = np.median((points - person.points)[common], axis=0)
            now = walked / max(step, np.linalg.norm(walked) / _FASTEST, 1e-9)
            speed = (1 - share) * person.speed + share * now
            return replace(same, points=np.where(np.isfinite(points), points, before + shift), placed=time, speed=speed)
        if np.isfinite(points).all(-1).sum() >= _STAND:
            return replace(same, points=points, placed=time)
        centre, rays = self.centres[self.view[rows[0]]], self.rays[rows[0]]
        aside = centre + ((before - centre) * rays).sum(-1, keepdims=True) * rays - before
        known = np.isfinite(aside).all(-1)
        if known.sum() < _FEWEST:
            return same
        # `at` will go on from the time when two cameras saw the person.
        return replace(same, points=person.points + np.median(aside[known], axis=0))


def _median(values: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " m"]:
    """Median of what is known in each row, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(values, axis=1) if values.size else np.full(len(values), np.nan)


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
