"""XNect's stage III, the chain over time: who is who, filters, bone lengths, and the fit of every frame (numpy and OpenCV only).

For every frame: `codecs.part_affinity` finds people, stage II completes them, and `Tracker.update` makes tracked skeletons of them.

    tracker = Tracker(Camera.guess((512, 320)))
    for time, parts in frames:
        people = tracker.update(time, parts, stage_two(features(parts, TREE.anchor)))

Filters are One-Euro filters (Casiez et al. 2012) on keypoints and points before the fit, and on the place after it. Settings of keypoints
and place are VNect's as recalled (card xnect.md section 4.6; the place's units are not known); those of points are ours, because VNect's
(0.8, 0.4 in unknown units) let twice the jitter through at 40 per metre, and lagged at 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from vitruvian.body.pose import rotation_vectors
from vitruvian.codecs.lifting import solve_roots
from vitruvian.codecs.part_affinity import Parts
from vitruvian.errors import VitruvianError
from vitruvian.people.assignment import assign
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.pose3d.xnect_fit import Camera, Evidence, Weights, fit_people, past_of
from vitruvian.systems.pose3d.xnect_skeleton import (
    ANGLES,
    REFERENCE_HEIGHT,
    Posture,
    bone_lengths,
    joints,
    own_bones,
    rest_bones,
    rough_posture,
)

MEASURED_FRAMES = 10  # from which a person's bones are taken; from then on they stay
FIRST_ITERATIONS, ITERATIONS = 40, 10
_BINS = (8, 4)  # hue, saturation


@dataclass(frozen=True)
class OneEuroSettings:
    """min_cutoff: hertz at rest; beta: hertz per unit of speed; seconds without sight after which a value starts afresh."""

    min_cutoff: float
    beta: float
    velocity_cutoff: float = 1.0
    max_gap: float = 0.5


KEYPOINT_FILTER = OneEuroSettings(1.7, 0.3)  # pixels
POINT_FILTER = OneEuroSettings(2.0, 8.0)  # metres
PLACE_FILTER = OneEuroSettings(20.0, 20.0)  # metres


class OneEuro:
    """The filter for an array (k, d) of numbers, each on its own; rows may be missing. Gains as in the paper: 1 / (1 + rate / (2 pi f)).

    `people.smooth` is the product's own filter, with a cut-off by speed of points and the size of the person; this is XNect's.
    """

    def __init__(self, settings: OneEuroSettings) -> None:
        self._settings = settings
        self._value = self._raw = self._speed = self._seen = np.zeros(0)

    def update(self, time: float, values: Float[np.ndarray, "k d"], known: Bool[np.ndarray, " k"]) -> Float[np.ndarray, "k d"]:
        """The filtered values at `time` (seconds); rows that aren't known come back as they are."""
        if self._value.shape != values.shape:
            self._value, self._raw, self._speed = values.copy(), values.copy(), np.zeros(values.shape)
            self._seen = np.full(len(values), -np.inf)
        s = self._settings
        step = np.maximum(time - self._seen, 1e-3)[:, None]
        fresh = (known & (step[:, 0] > s.max_gap))[:, None]
        step = np.where(np.isfinite(step), step, 1.0)
        speed = self._speed + _gain(s.velocity_cutoff, step) * ((values - self._raw) / step - self._speed)
        filtered = self._value + _gain(s.min_cutoff + s.beta * np.abs(speed), step) * (values - self._value)
        for name, now, start in (("_value", filtered, values), ("_speed", speed, 0.0), ("_raw", values, values)):
            setattr(self, name, np.where(fresh, start, np.where(known[:, None], now, getattr(self, name))))
        self._seen = np.where(known, time, self._seen)
        return np.where(known[:, None], self._value, values)


def _gain(cutoff: float | np.ndarray, step: np.ndarray) -> np.ndarray:
    """Share of the way to a new value; step: seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))


@dataclass(frozen=True, eq=False)
class TrackedPeople:
    """The people of one frame, in the order in which they were detected.

    row: which detection it is. track: identity. keypoints: filtered, pixels; confidence. points: the skeleton's joints in camera axes,
    metres. place, turn: of the pelvis (turn: rotation vector from facing the camera). angles: radians, named by `xnect_skeleton.ANGLES`.
    bones: at rest.
    """

    row: Int64[np.ndarray, " n"]
    track: Int64[np.ndarray, " n"]
    keypoints: Float32[np.ndarray, "n 14 2"]
    confidence: Float32[np.ndarray, "n 14"]
    points: Float[np.ndarray, "n 21 3"]
    place: Float[np.ndarray, "n 3"]
    turn: Float[np.ndarray, "n 3"]
    angles: Float[np.ndarray, "n a"]
    bones: Float[np.ndarray, "n 21 3"]

    def __len__(self) -> int:
        return len(self.track)


@dataclass
class _Person:
    """What is remembered of one person. `before` and `earlier`: the last two fits (one row each), at `times`."""

    track: int
    height: float
    keypoint_filter: OneEuro
    point_filter: OneEuro
    place_filter: OneEuro
    seen: float
    keypoints: np.ndarray
    confidence: np.ndarray
    points: np.ndarray
    colours: np.ndarray | None
    bones: np.ndarray
    measured: int = 0
    before: Posture | None = None
    earlier: Posture | None = None
    times: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Matching:
    """Weights of what tells people apart, each distance being 0 to 1: keypoints, pose, colours. Pairs that cost more than `most` are none.

    A keypoint distance of one body's extent, and a pose distance of `pose_scale` metres, count as 1. A person who is unseen for `memory`
    seconds is forgotten.
    """

    keypoints: float = 1.0
    pose: float = 0.5
    colours: float = 0.5
    pose_scale: float = 0.4
    most: float = 0.5
    memory: float = 1.0


class Tracker:
    """People over the frames of one camera. height: metres, of people of whom nothing else is known (`set_height`)."""

    def __init__(
        self,
        camera: Camera,
        height: float = REFERENCE_HEIGHT,
        weights: Weights = Weights(),  # noqa: B008  (frozen)
        matching: Matching = Matching(),  # noqa: B008  (frozen)
    ) -> None:
        self._camera, self._height, self._weights, self._matching = camera, height, weights, matching
        self._people: list[_Person] = []
        self._next = 0
        self._time = -np.inf

    def set_height(self, track: int, metres: float) -> None:
        """Say how tall a person is: bones and distance scale with it from the next frame on. Unknown tracks are ignored."""
        for person in self._people:
            if person.track == track:
                factor, person.height = metres / person.height, metres
                person.bones = person.bones * factor
                person.before, person.earlier = (p and replace(p, place=p.place * factor) for p in (person.before, person.earlier))
                person.place_filter = OneEuro(PLACE_FILTER)

    def update(
        self, time: float, parts: Parts, points: Float[np.ndarray, "n 21 3"], colours: Float[np.ndarray, "n b"] | None = None
    ) -> TrackedPeople:
        """The frame at `time` (seconds, later than the one before): its people with stage II's points (metres of a person of 1.70 m).

        colours: histograms of what they wear (`clothing_colours`), where identity should look at them too. Detections with fewer than
        two joints, or with points that are not finite, are left out. Raises VitruvianError where sizes don't fit or time goes back.
        """
        if points.shape != (len(parts), len(XNECT_21), 3) or parts.scores.shape[1] != len(XNECT_14):
            raise VitruvianError(f"{parts.scores.shape} scores with points {points.shape}: give 14 scores and 21 points for each person")
        if not time > self._time:
            raise VitruvianError(f"a frame at {time} s after one at {self._time} s: give frames in their order, and every time once")
        self._time = time
        usable = np.isfinite(points).all((1, 2)) & (np.isfinite(parts.keypoints).all(-1) | (parts.scores <= 0)).all(1)
        chosen = np.flatnonzero(usable & ((parts.scores > 0).sum(1) >= 2))
        parts, points = Parts(parts.keypoints[chosen], parts.scores[chosen], parts.codes[chosen]), points[chosen]
        colours = None if colours is None else colours[chosen]
        self._people = [person for person in self._people if time - person.seen <= self._matching.memory]
        people = self._identify(time, parts, points, colours)
        if not people:
            return _none()
        rows = [self._evidence(person, time, parts, points, row) for row, person in enumerate(people)]
        evidence = Evidence(*(np.stack(column) for column in zip(*rows, strict=True)))
        bones = np.stack([person.bones for person in people])
        posture = self._fit(people, time, evidence, bones)
        self._measure(people, posture, evidence, bones)
        place = np.concatenate([p.place_filter.update(time, posture.place[i : i + 1], np.ones(1, bool)) for i, p in enumerate(people)])
        posture = replace(posture, place=place)
        for i, person in enumerate(people):
            person.earlier, person.before = person.before, posture[i : i + 1]
            person.times = (person.times[1], time)
        return TrackedPeople(
            chosen,
            np.array([person.track for person in people], np.int64),
            evidence.keypoints.astype(np.float32),
            evidence.confidence.astype(np.float32),
            joints(posture, bones),
            posture.place,
            rotation_vectors(posture.turn),
            posture.angles,
            bones,
        )

    def _identify(self, time: float, parts: Parts, points: np.ndarray, colours: np.ndarray | None) -> list[_Person]:
        """The person that each detection is, new ones included."""
        cost = np.full((len(parts), len(self._people)), 2.0)
        for column, person in enumerate(self._people):
            cost[:, column] = self._cost(person, parts, points, colours)
        cost = np.where(cost > self._matching.most, 2.0, cost)
        found: list[_Person | None] = [None] * len(parts)
        for row, column in zip(*assign(cost), strict=True) if cost.size else ():
            if cost[row, column] <= self._matching.most:
                found[row] = self._people[column]
        out = []
        for row, person in enumerate(found):
            if person is None:
                filters = (OneEuro(settings) for settings in (KEYPOINT_FILTER, POINT_FILTER, PLACE_FILTER))
                person = _Person(
                    self._next, self._height, *filters, time, parts.keypoints[row], parts.scores[row], points[row], None, np.zeros((21, 3))
                )
                self._next += 1
                self._people.append(person)
            person.seen, person.points = time, points[row]
            person.keypoints, person.confidence = parts.keypoints[row], parts.scores[row]
            if colours is not None:
                person.colours = colours[row] if person.colours is None else 0.9 * person.colours + 0.1 * colours[row]
            out.append(person)
        return out

    def _cost(self, person: _Person, parts: Parts, points: np.ndarray, colours: np.ndarray | None) -> Float[np.ndarray, " n"]:
        """Weighted mean of the distances between a person and every detection, 0 to 1; without a joint in common, only of the others."""
        m = self._matching
        common = (parts.scores > 0) & (person.confidence > 0)
        low, high = (f(person.keypoints[person.confidence > 0], axis=0) for f in (np.min, np.max))
        extent = max(float((high - low).max()), 1.0)
        away = np.linalg.norm(parts.keypoints - person.keypoints, axis=-1) / extent
        near = np.where(common, np.minimum(away, 1), 0).sum(1) / np.maximum(common.sum(1), 1)
        pose = np.minimum(np.linalg.norm(points - person.points, axis=-1).mean(1) / m.pose_scale, 1)
        terms = [(m.keypoints * common.any(1), near), (np.full(len(points), m.pose), pose)]
        if colours is not None and person.colours is not None:
            terms.append((np.full(len(points), m.colours), 1 - np.minimum(colours, person.colours).sum(1)))
        total = sum(weight for weight, _ in terms)
        return sum(weight * value for weight, value in terms) / np.maximum(total, 1e-9)

    def _evidence(self, person: _Person, time: float, parts: Parts, points: np.ndarray, row: int) -> tuple[np.ndarray, ...]:
        """Filtered points at true size, filtered keypoints, confidence."""
        everything = np.ones(len(XNECT_21), bool)
        sized = points[row].astype(np.float64) * (person.height / REFERENCE_HEIGHT)
        if not person.measured:
            person.bones = rest_bones(bone_lengths(sized[None]))[0]
        confidence = np.clip(parts.scores[row].astype(np.float64), 0, 1)
        keypoints = person.keypoint_filter.update(time, parts.keypoints[row].astype(np.float64), confidence > 0)
        return person.point_filter.update(time, sized, everything), keypoints, confidence

    @staticmethod
    def _measure(people: list[_Person], posture: Posture, evidence: Evidence, bones: np.ndarray) -> None:
        """In a person's first frames the bones become the mean of what the points say."""
        new = own_bones(posture, evidence.points, bones)
        for person, found in zip(people, new, strict=True):
            if person.measured < MEASURED_FRAMES:
                person.bones = (person.bones * person.measured + found) / (person.measured + 1)
                person.measured += 1

    def _fit(self, people: list[_Person], time: float, evidence: Evidence, bones: np.ndarray) -> Posture:
        """All people of the frame at once: those who are new from a rough start, the others from where they should be by now."""
        known = np.array([person.before is not None for person in people])
        moving = np.array([person.earlier is not None for person in people])
        start = rough_posture(evidence.points)
        seen = evidence.points[:, : len(XNECT_14)]
        place = solve_roots(seen, evidence.keypoints, self._camera.values, evidence.confidence)
        start = replace(start, place=np.where(np.isfinite(place), place, (0.0, 0.0, 3.0)))
        rows = [start[i : i + 1] for i in range(len(people))]
        before = _stacked([person.before or row for person, row in zip(people, rows, strict=True)])
        earlier = _stacked([person.earlier or row for person, row in zip(people, rows, strict=True)])
        past = past_of(before, earlier, np.array([person.times for person in people]), time, known, moving)
        ahead = past.expected()
        start = Posture(
            np.where(known[:, None], ahead.place, start.place),
            np.where(known[:, None, None], ahead.turn, start.turn),
            np.where(known[:, None], ahead.angles, start.angles),
        )
        rounds = ITERATIONS if known.all() else FIRST_ITERATIONS
        return fit_people(evidence, bones, self._camera, start, past, self._weights, rounds)[0]


def clothing_colours(image: UInt8[np.ndarray, "h w 3"], parts: Parts) -> Float32[np.ndarray, "n b"]:
    """Histograms of hue and saturation within the box of each person's shoulders and hips, each summing to 1 (0 where nothing was seen)."""
    import cv2

    torso = [XNECT_14.index(f"{side}_{part}") for side in ("right", "left") for part in ("shoulder", "hip")]
    out = np.zeros((len(parts), _BINS[0] * _BINS[1]), np.float32)
    for row in range(len(parts)):
        seen = parts.keypoints[row, torso][parts.scores[row, torso] > 0]
        if len(seen) < 2:
            continue
        x0, y0 = np.maximum(seen.min(0), 0).astype(int)
        x1, y1 = np.ceil(seen.max(0)).astype(int) + 1
        patch = image[y0:y1, x0:x1]
        if patch.size:
            hsv = cv2.cvtColor(np.ascontiguousarray(patch), cv2.COLOR_RGB2HSV)
            counts = cv2.calcHist([hsv], [0, 1], None, list(_BINS), [0, 180, 0, 256]).ravel()
            out[row] = counts / counts.sum()
    return out


def _stacked(postures: list[Posture]) -> Posture:
    return Posture(*(np.concatenate([getattr(p, name) for p in postures]) for name in ("place", "turn", "angles")))


def _none() -> TrackedPeople:
    seen = np.zeros((0, 14, 2), np.float32)
    sizes = ((21, 3), (3,), (3,), (len(ANGLES),), (21, 3))
    return TrackedPeople(np.zeros(0, np.int64), np.zeros(0, np.int64), seen, seen[..., 0], *(np.zeros((0, *size)) for size in sizes))
