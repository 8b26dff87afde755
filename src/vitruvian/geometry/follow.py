"""Who is who in a film of several cameras: persons keep their numbers while they cross, hide each other, and are away for a moment.

    ids = follow(cameras, frames, times, swap=skeleton.swap)        # the same number for the same person

Frame by frame. Poses are grouped as `match.match_views` does, where the persons known so far take part as if they were one more camera that
sees them in 3D: where they would have walked to by now, the less sure the longer nobody has seen them there. Groups whose lines of
sight meet are bodies in space; then each camera's poses go to the bodies they fit best by pixels, and each body is the person who was
last nearest to that place: two who cross are apart in space, also where a camera takes one for the other. Poses that are left over may be
those of known persons whom one camera alone sees. A pose counts as it fits better, with left and right as they are or exchanged: networks
exchange them for people seen from behind. [ours]
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.geometry.camera import Camera, project_all
from vitruvian.geometry.match import FEWEST, LIMIT, SEEN, WORST, affinity_of, checked, cluster, lines_of_sight, ray_distances
from vitruvian.geometry.triangulate import triangulate

_HINT, _PLACED_HINT = 0.5, 0.1  # affinity of poses, and of bodies, to the person that the cameras' own trackers followed last
_SPEED, _REACH = 2.0, 0.25  # metres per second and metres that a person may be off where the last sight leads to
_OFF = 0.6  # metres that a body in space may be: half of one of two who hide each other is often the other's
_VAGUE = 0.3  # affinity lost each time that reach has grown e-fold: whoever has just been here comes before whoever was here once
_COAST, _SWAY = 0.5, 0.2  # seconds for which people are thought to walk on, and over which their speed is averaged
_FASTEST = 4.0  # metres per second; what moves faster is another, taken for this one
_SURE, _DOUBTED, _BRIEF = 3, 0.5, 0.3  # frames that make a person; share of affinity and seconds of memory of one who has fewer
_SAME = 0.25  # metres: nobody stands in somebody else
_STAND, _STAND_SHARE = 5, 1 / 3  # keypoints in 3D that a body needs, and share of all keypoints
_AGREED = 0.5  # share of the keypoints that two cameras see whose lines meet: what cameras make of two different things is below that
_FITS, _STAYS = 2.0, 0.1  # thresholds that a pose may be off a body, in the median; what a pose gains by staying where it was
_MOST = 8  # cameras whose sides are asked: 128 combinations

Poses = tuple[Float[np.ndarray, "n k 2"], Float[np.ndarray, "n k"], Int[np.ndarray, " n"]]
"""What one camera sees in one frame: keypoints, confidence, and the ids of its own tracker (-1 for none)."""


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


@dataclass(frozen=True, eq=False)
class _Body:
    """Poses of different cameras, by row, and their keypoints in 3D. agreed: of how many keypoints that two cameras see there is one."""

    rows: Int[np.ndarray, " r"]
    points: Float[np.ndarray, "k 3"]
    agreed: float

    @property
    def solid(self) -> bool:
        """Whether this is somebody."""
        known = np.isfinite(self.points).all(-1).sum()
        return len(self.rows) >= 2 and known >= max(_STAND, _STAND_SHARE * len(self.points)) and self.agreed >= _AGREED


def follow(
    cameras: Sequence[Camera],
    frames: Sequence[Sequence[Poses]],
    times: Float[np.ndarray, " f"],
    limit: float = LIMIT,
    memory: float = 3.0,
    threshold: float = 15.0,
    swap: Sequence[int] | None = None,
) -> list[list[Int[np.ndarray, " n"]]]:
    """For each frame and camera the id (1, 2 ...) of each pose; -1 for poses of nobody whom two cameras have ever seen at one time.

    memory: seconds for which a person who is out of sight keeps the id. threshold: pixels, as for `triangulate`. swap: for each keypoint
    the one on the other side; None where sides are never exchanged. Two cameras that find the same people twice don't make new ones: who
    stands in somebody else is nobody.
    Raises VitruvianError where lists and shapes don't fit.
    """
    people: list[_Person] = []
    out, last = [], 0
    for time, poses in zip(np.asarray(times, float).tolist(), frames, strict=True):
        keypoints, confidence, hints = (list(column) for column in zip(*poses, strict=True)) if len(poses) else ([], [], [])
        counts = checked(cameras, keypoints, confidence)
        people = [person for person in people if person.remembered(time, memory)]
        sight = _Sight(cameras, keypoints, confidence, hints, threshold, swap)
        ids, here = np.full(sum(counts), -1), {person.id: person for person in people}
        for person, body in sight.persons(people, time, limit):
            if person is None:
                last += 1
                person = _Person(last, body.points, time, np.zeros(3), time, 0, {}, {})
            here[person.id] = sight.seen(person, body, time)
            ids[body.rows] = person.id
        people = list(here.values())
        out.append(np.split(ids, np.cumsum(counts)[:-1]))
    return out


def _moved(one: Float[np.ndarray, "k 3"], other: Float[np.ndarray, "k 3"]) -> float:
    """How far one body is from the other as a whole, metres: the size of the median way of its keypoints; infinite with few in common."""
    way = other - one
    known = np.isfinite(way).all(-1)
    return float(np.linalg.norm(np.median(way[known], axis=0))) if known.sum() >= FEWEST else np.inf


def _spread(way: Float[np.ndarray, "k 3"]) -> float:
    """Median length of ways, infinite where none is known."""
    length = np.linalg.norm(way, axis=-1)
    return float(np.nanmedian(length)) if np.isfinite(length).any() else np.inf


def _pairs(gain: Float[np.ndarray, "a b"]) -> list[tuple[int, int]]:
    """Rows and columns put together for the largest sum of gains, each once at most, nobody without gaining."""
    from scipy.optimize import linear_sum_assignment

    gain = np.maximum(np.nan_to_num(gain, nan=0.0, neginf=0.0), 0.0)
    return [(a, b) for a, b in zip(*linear_sum_assignment(gain, maximize=True), strict=True) if gain[a, b] > 0]


class _Sight:
    """What all cameras see in one frame; rows count the poses of one camera after the other."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        keypoints: Sequence[np.ndarray],
        confidence: Sequence[np.ndarray],
        hints: Sequence[np.ndarray],
        threshold: float,
        swap: Sequence[int] | None,
    ) -> None:
        self.cameras, self.threshold = cameras, threshold
        self.view = np.repeat(np.arange(len(cameras)), [len(poses) for poses in keypoints])
        self.hint = np.concatenate([np.zeros(0, int), *hints])
        self.centres, self.rays = lines_of_sight(cameras, keypoints, confidence)
        self.pixels = np.concatenate([*keypoints, np.zeros((0, self.rays.shape[1], 2))])
        self.sure = np.concatenate([*confidence, np.zeros((0, self.rays.shape[1]))])
        self.sure = np.where(self.sure >= SEEN, self.sure, 0.0)
        self.swap = np.arange(self.rays.shape[1]) if swap is None else np.asarray(swap)
        where = self.centres[self.view]
        self.straight = ray_distances(where, self.rays, self.view)
        self.crossed = self.straight if swap is None else ray_distances(where, self.rays, self.view, self.rays[:, self.swap])

    def persons(self, people: Sequence[_Person], time: float, limit: float) -> list[tuple[_Person | None, _Body]]:
        """The persons of this frame with their poses; None for new ones."""
        bodies = [self.body(rows) for _, rows in self.groups(people, np.arange(len(self.view)), time, limit)]
        bodies = self.apart(self.fitted(self.apart(bodies)))
        nearness = np.array([[self._nearness(body, person, time) for person in people] for body in bodies]).reshape(
            len(bodies), len(people)
        )
        known = {b: people[p] for b, p in _pairs(nearness)}
        out = [(person, bodies[b]) for b, person in known.items()] + [(None, body) for b, body in enumerate(bodies) if b not in known]
        left = np.setdiff1d(np.arange(len(self.view)), np.concatenate([np.zeros(0, int), *(body.rows for _, body in out)]))
        away = [person for person in people if all(person is not other for other in known.values())]
        return out + [(person, self.body(rows)) for person, rows in self.groups(away, left, time, limit) if person is not None]

    def groups(
        self, people: Sequence[_Person], rows: Int[np.ndarray, " r"], time: float, limit: float
    ) -> list[tuple[_Person | None, Int[np.ndarray, " g"]]]:
        """Some poses in groups of one person each; None for new ones, who need two."""
        poses, known, view = len(rows), len(people), self.view[rows]
        affinity = np.zeros((poses + known, poses + known))
        affinity[:poses, :poses] = affinity_of(np.fmin(self.straight, self.crossed)[np.ix_(rows, rows)], limit)
        for n, person in enumerate(people):
            affinity[:poses, poses + n] = affinity[poses + n, :poses] = self._pull(person, time)[rows]
        label = cluster(affinity, np.concatenate([view, np.full(known, -1)]))
        out = []
        for group in np.unique(label[:poses]):
            members = np.flatnonzero(label[:poses] == group)
            person = next((people[n] for n in range(known) if label[poses + n] == group), None)
            if person is not None or len(members) >= 2:
                out.append((person, rows[members]))
        return out

    def apart(self, bodies: Sequence[_Body]) -> list[_Body]:
        """The solid ones among bodies, without those that stand in one of more poses: cameras find people twice."""
        out: list[_Body] = []
        for body in sorted((body for body in bodies if body.solid), key=lambda body: (-len(body.rows), -body.agreed)):
            if all(_moved(body.points, other.points) >= _SAME for other in out):
                out.append(body)
        return out

    def fitted(self, bodies: Sequence[_Body]) -> list[_Body]:
        """The bodies with the poses that fit them best, one of each camera at most."""
        if not bodies:
            return []
        places = project_all(self.cameras, np.stack([body.points for body in bodies]))  # (c, b, k, 2)
        places = places[self.view]
        off = np.fmin(*(self._misses(np.linalg.norm(self.pixels[:, None] - p, axis=-1)) for p in (places, places[..., self.swap, :])))
        belongs = np.stack([np.isin(np.arange(len(self.view)), body.rows) for body in bodies], 1)
        gain = np.where(off < _FITS * self.threshold, 1 - off / (_FITS * self.threshold) + _STAYS * belongs, 0.0)
        members: list[list[int]] = [[] for _ in bodies]
        for view in range(len(self.cameras)):
            rows = np.flatnonzero(self.view == view)
            for a, b in _pairs(gain[rows]) if len(rows) else ():
                members[b].append(int(rows[a]))
        return [
            body if set(now) == set(body.rows.tolist()) else self.body(np.array(now, int))
            for body, now in zip(bodies, members, strict=True)
        ]

    def _misses(self, off: np.ndarray) -> np.ndarray:
        """(m, ..., k) -> (m, ...): median over each pose's keypoints, NaN where too few are sure."""
        off = np.where((self.sure > 0).reshape(len(off), *(1,) * (off.ndim - 2), off.shape[-1]), off, np.nan)
        return np.where(np.isfinite(off).sum(-1) >= FEWEST, _median(off), np.nan)

    def _nearness(self, body: _Body, person: _Person, time: float) -> float:
        """A body's affinity to a person known before."""
        reach = _OFF + _SPEED * (time - person.placed)
        near = 1 - _moved(body.points, person.at(time)) / reach - _VAGUE * np.log(reach / _OFF)
        near *= 1.0 if person.frames >= _SURE or near < 0 else _DOUBTED
        same = [person.hints.get(int(self.view[row]), -1) == self.hint[row] >= 0 for row in body.rows]
        return float(near + _PLACED_HINT * np.mean(same))

    def _pull(self, person: _Person, time: float) -> Float[np.ndarray, " m"]:
        """Each pose's affinity to a person known before."""
        sights = [points - self.centres[self.view][:, None] for points in (person.at(time), person.at(time)[self.swap])]
        off = np.fmin(*(self._misses(np.linalg.norm(np.cross(sight, self.rays), axis=-1)) for sight in sights))
        # A camera that follows somebody alone knows where to look; the others know less from frame to frame.
        last = np.array([max(person.placed, person.views.get(int(v), -np.inf)) for v in self.view])
        reach = _REACH + _SPEED * (time - last)
        pull = np.where(np.isnan(off), 0.0, np.maximum(1 - off / reach - _VAGUE * np.log(reach / _REACH), WORST))
        pull = np.where(pull > 0, pull * (1.0 if person.frames >= _SURE else _DOUBTED), pull)
        same = [person.hints.get(int(v), -1) == h >= 0 for v, h in zip(self.view, self.hint, strict=True)]
        return pull + _HINT * np.array(same, float)

    def body(self, rows: Int[np.ndarray, " r"]) -> _Body:
        """The keypoints in 3D of some poses."""
        if len(rows) < 2:
            return _Body(rows, np.full((self.rays.shape[1], 3), np.nan), 0.0)
        order = np.where(self._exchanged(rows)[:, None], self.swap, np.arange(len(self.swap)))
        pixels, sure = self.pixels[rows[:, None], order], self.sure[rows[:, None], order]
        points = triangulate([self.cameras[v] for v in self.view[rows]], pixels, sure, threshold=self.threshold, refine=False).points
        twice = ((sure > 0) & np.isfinite(pixels).all(-1)).sum(0) >= 2
        return _Body(rows, points, float(np.isfinite(points[twice]).all(-1).mean()) if twice.any() else 0.0)

    def _exchanged(self, rows: Int[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
        """Which of one person's poses have left and right exchanged, so that lines meet best; the fewer."""
        if self.crossed is self.straight:
            return np.zeros(len(rows), bool)
        straight, crossed = (np.minimum(np.nan_to_num(d[np.ix_(rows, rows)], posinf=1.0), 1.0) for d in (self.straight, self.crossed))
        asked = min(len(rows), _MOST)
        states = np.array(list(product((False, True), repeat=asked - 1)), bool)
        states = np.pad(states, ((0, 0), (1, len(rows) - asked)))
        differ = states[:, :, None] != states[:, None]
        best = states[np.where(differ, crossed, straight).sum((1, 2)).argmin()]
        return ~best if 2 * best.sum() > len(rows) else best

    def seen(self, person: _Person, body: _Body, time: float) -> _Person:
        """The person after this frame: keypoints that aren't seen in 3D go along with the others.

        Where only one camera sees the person, the body moves onto its lines of sight, and how far it is from there stays.
        """
        rows, points = body.rows, body.points
        hints = {**person.hints, **{int(self.view[row]): int(self.hint[row]) for row in rows if self.hint[row] >= 0}}
        views = {**person.views, **dict.fromkeys(map(int, self.view[rows]), time)}
        same = replace(person, time=time, frames=person.frames + 1, hints=hints, views=views)
        before = person.at(time)
        points = points[self.swap] if _spread(points[self.swap] - before) < _spread(points - before) else points
        common = np.isfinite(points + before).all(-1)
        if body.solid and common.sum() >= FEWEST:
            shift = np.median((points - before)[common], axis=0)
            step = time - person.placed
            share = 1 - np.exp(-step / _SWAY)
            walked = np.median((points - person.points)[common], axis=0)
            now = walked / max(step, np.linalg.norm(walked) / _FASTEST, 1e-9)
            speed = (1 - share) * person.speed + share * now
            return replace(same, points=np.where(np.isfinite(points), points, before + shift), placed=time, speed=speed)
        if body.solid:
            return replace(same, points=points, placed=time)
        centre, rays = self.centres[self.view[rows[0]]], self.rays[rows[0]]
        aside = centre + ((before - centre) * rays).sum(-1, keepdims=True) * rays - before
        known = np.isfinite(aside).all(-1)
        if known.sum() < FEWEST:
            return same
        # `at` will go on from the time when two cameras saw the person.
        return replace(same, points=person.points + np.median(aside[known], axis=0))


def _median(values: Float[np.ndarray, "*n k"]) -> Float[np.ndarray, "*n"]:
    """Median of what is known along the last axis, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(values, axis=-1) if values.size else np.full(values.shape[:-1], np.nan)
