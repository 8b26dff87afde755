"""Crowds with known identities, as boxes and keypoints: what a detector and a pose network would say about walkers who cross, hide each
other, leave and come back, before a camera that may move.

The truth that trackers are measured on, in tests and in benchmarks/tracking.py. All rules are ours; none was fitted to a particular
detector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vitruvian.geometry.boxes import area, clip, enclosing, iou
from vitruvian.skeletons import COCO_17
from vitruvian.take import People

SIZE = (1280, 720)
FOCAL = 1000.0
CAMERA_HEIGHT = 1.7
STEP = 1 / 120  # seconds between the samples of a path, whatever the frame rate
NEAR, FAR = 3.5, 10.0  # metres of depth that the walkers keep to
BEYOND = 1.2  # metres that a walker goes on outside the picture before turning back
FEATURES = 32  # length of an appearance
LEAST_VISIBLE = 0.2  # share of a person that must be seen to count as truth

# COCO-17 standing, in body heights: to the person's left, forward, up.
STANDING = np.array(
    [(0, 0.06, 0.93), (0.02, 0.05, 0.95), (-0.02, 0.05, 0.95), (0.045, 0, 0.94), (-0.045, 0, 0.94), (0.11, 0, 0.82), (-0.11, 0, 0.82)]
    + [(0.13, 0, 0.64), (-0.13, 0, 0.64), (0.14, 0.02, 0.48), (-0.14, 0.02, 0.48), (0.055, 0, 0.52), (-0.055, 0, 0.52)]
    + [(0.06, 0, 0.28), (-0.06, 0, 0.28), (0.06, 0, 0.04), (-0.06, 0, 0.04)]
)
SWING = {7: -0.04, 8: 0.04, 9: -0.11, 10: 0.11, 13: 0.08, 14: -0.08, 15: 0.17, 16: -0.17}  # forward reach per joint, in body heights


@dataclass(frozen=True)
class CrowdSettings:
    """What makes a scene easy or hard.

    walkers: people in all, some of whom may be outside the picture. seconds, fps: length and mean frame rate; uneven: frames come at
    irregular times. wander: 0 for walks straight across the picture, 1 for aimless ones. pan: reach of a slow turn of the camera in
    radians; shake: of its tremor. jitter: noise of boxes and keypoints in shares of a person's size. missed: chance of a miss for a
    person in plain view. false_positives: wrong detections per frame. missing_keypoints: share of keypoints that are not found.
    clothes: 0 where everybody looks the same, 1 where appearances are unrelated.
    """

    walkers: int = 8
    seconds: float = 8.0
    fps: float = 30.0
    uneven: bool = False
    wander: float = 0.3
    pan: float = 0.0
    shake: float = 0.0
    jitter: float = 0.015
    missed: float = 0.02
    false_positives: float = 0.3
    missing_keypoints: float = 0.03
    clothes: float = 1.0


CROWDS = {
    "few": CrowdSettings(walkers=4),
    "some": CrowdSettings(),
    "crossing": CrowdSettings(walkers=12, wander=0.0),
    "dense": CrowdSettings(walkers=20),
    "8 fps": CrowdSettings(fps=8),
    "5 fps": CrowdSettings(fps=5),
    "60 fps": CrowdSettings(fps=60, seconds=5),
    "uneven": CrowdSettings(fps=20, uneven=True),
    "panned": CrowdSettings(pan=0.4),
    "hand-held": CrowdSettings(pan=0.2, shake=0.03),
    "noisy": CrowdSettings(jitter=0.035, missed=0.1, false_positives=1.5, missing_keypoints=0.2),
    "long": CrowdSettings(walkers=6, seconds=20),
}
"""Scenes that trackers are compared on."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """A scene. Rows of truth and detections are sorted by frame; both have COCO's 17 keypoints.

    times: (F,) seconds. truth: who is there (`track` from 1 upwards), with at least a fifth of the body seen; confidence is 1 for
    keypoints that are seen, 0 for hidden ones. detections: what was found, not tracked (-1). person: (N,) the truth behind each
    detection, 0 for none. appearance: (N, 32) unit vectors, one per detection.
    """

    times: Float[np.ndarray, " f"]
    truth: People
    detections: People
    person: Int[np.ndarray, " n"]
    appearance: Float[np.ndarray, "n d"]

    def frames(self) -> Iterator[People]:
        """The detections of each frame in turn."""
        bounds = np.searchsorted(self.detections.frame, np.arange(len(self.times) + 1))
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            yield self.detections[start:stop]

    def looks(self, boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n d"]:
        """The appearance of the detections that have these boxes: what an appearance hook would make of the pixels."""
        return self.appearance[[int(np.abs(self.detections.boxes - box).sum(1).argmin()) for box in boxes]]


def crowd(settings: CrowdSettings, seed: int) -> Crowd:
    """The scene of these settings and this seed: the same walks for any frame rate, the same numbers every time."""
    random = np.random.default_rng((seed, 1))
    times = _times(settings, np.random.default_rng((seed, 2)))
    bodies = _bodies(settings, times, np.random.default_rng((seed, 3)))
    pixels, depth = _project(bodies, *_camera(settings, times, np.random.default_rng((seed, 4))))
    looks = _unit(
        (1 - settings.clothes) * random.normal(size=FEATURES) + settings.clothes * random.normal(size=(settings.walkers, FEATURES))
    )
    ghosts = _ghosts(settings, times, random)
    asleep = _dropouts(settings, times, random)
    truths, found, persons, appearances = [People.empty(17)], [People.empty(17)], [np.zeros(0, int)], [np.zeros((0, FEATURES))]
    for frame in range(len(times)):
        view = _View(frame, pixels[frame], depth[frame])
        truths.append(view.truth())
        detections, person, appearance = view.detections(settings, looks, asleep[frame], ghosts[frame], random)
        found.append(detections)
        persons.append(person)
        appearances.append(appearance)
    return Crowd(times, People.concatenate(truths), People.concatenate(found), np.concatenate(persons), np.concatenate(appearances))


def _times(settings: CrowdSettings, random: np.random.Generator) -> Float[np.ndarray, " f"]:
    count = max(1, round(settings.seconds * settings.fps))
    steps = np.full(count, 1 / settings.fps)
    if settings.uneven:
        steps *= random.choice([0.4, 0.7, 1.0, 3.0], p=[0.3, 0.3, 0.3, 0.1], size=count)
    return np.concatenate([[0.0], np.cumsum(steps)[:-1]])


def _bodies(settings: CrowdSettings, times: np.ndarray, random: np.random.Generator) -> Float[np.ndarray, "f n 17 3"]:
    """Everybody's keypoints in metres: x right, y up from the ground, z away from the camera's place."""
    n, samples = settings.walkers, int(np.ceil((settings.seconds * 1.5 + 1) / STEP))
    height, pace = random.uniform(1.5, 1.95, n), random.uniform(0.7, 1.6, n)
    depth = random.uniform(NEAR, FAR, n)
    place = np.stack([random.uniform(-0.75, 0.75, n) * depth, depth], 1)
    heading = np.where(random.uniform(size=n) < 0.5, 0.0, np.pi) + settings.wander * random.normal(0, 1, n)
    turning, phase = np.zeros(n), random.uniform(0, 2 * np.pi, n)
    places, headings, phases = np.empty((samples, n, 2)), np.empty((samples, n)), np.empty((samples, n))
    for sample in range(samples):
        places[sample], headings[sample], phases[sample] = place, heading, phase
        # The rate of turn wanders (Ornstein-Uhlenbeck); whoever is about to leave the stage turns back.
        turning += -turning * STEP / 0.8 + settings.wander * 1.2 * np.sqrt(STEP) * random.normal(size=n)
        direction = np.stack([np.cos(heading), np.sin(heading)], 1)
        edge = place[:, 1] * SIZE[0] / 2 / FOCAL + BEYOND
        leaving_x = (np.abs(place[:, 0]) > edge) & (direction[:, 0] * place[:, 0] > 0)
        leaving_z = ((place[:, 1] < NEAR) & (direction[:, 1] < 0)) | ((place[:, 1] > FAR) & (direction[:, 1] > 0))
        direction = np.where(np.stack([leaving_x, leaving_z], 1), -direction, direction)
        heading = np.arctan2(direction[:, 1], direction[:, 0]) + turning * STEP
        place = place + STEP * pace[:, None] * direction
        phase = phase + STEP * 2 * np.pi * pace / (0.8 * height)
    at = np.minimum(np.round(times / STEP).astype(int), samples - 1)
    points = np.tile(STANDING, (len(at), n, 1, 1))
    for joint, reach in SWING.items():
        points[:, :, joint, 1] += reach * np.sin(phases[at])
    points *= height[None, :, None, None]
    c, s = np.cos(headings[at])[..., None], np.sin(headings[at])[..., None]
    left, forward, up = np.moveaxis(points, -1, 0)
    x, z = places[at][..., :1] + c * forward - s * left, places[at][..., 1:] + s * forward + c * left
    return np.stack([x, up, np.maximum(z, 1.0)], -1)


def _camera(settings: CrowdSettings, times: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Yaw and pitch of the camera at each time, radians."""
    waves = random.uniform(0, 2 * np.pi, (2, 4))
    rates = np.array([2.1, 3.7, 5.3, 7.9])  # hertz of a hand's tremor
    tremor = np.sin(2 * np.pi * times[:, None, None] * rates + waves).mean(-1).T * settings.shake
    yaw = settings.pan * np.sin(2 * np.pi * times / 5 + waves[0, 0])
    return yaw + tremor[0], tremor[1]


def _project(points: Float[np.ndarray, "f n 17 3"], yaw: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(f, n, 17, 2) pixels and (f, n) depths, of a camera that turns by yaw to the right and pitch upwards."""
    x, y, z = points[..., 0], points[..., 1] - CAMERA_HEIGHT, points[..., 2]
    c, s = np.cos(yaw)[:, None, None], np.sin(yaw)[:, None, None]
    x, z = c * x - s * z, np.maximum(s * x + c * z, 0.5)
    pixels = np.stack([SIZE[0] / 2 + FOCAL * x / z, SIZE[1] / 2 - FOCAL * (y / z - pitch[:, None, None])], -1)
    return pixels, z.mean(-1)


def _ghosts(settings: CrowdSettings, times: np.ndarray, random: np.random.Generator) -> list[list[np.ndarray]]:
    """Boxes of false detections per frame: each stays in place for a moment, as a lamp post or a coat does."""
    per_frame: list[list[np.ndarray]] = [[] for _ in times]
    for first in np.flatnonzero(random.uniform(size=len(times)) < settings.false_positives / 3):
        width = random.uniform(30, 140)
        corner = random.uniform(0, 1, 2) * (SIZE[0] - width, SIZE[1] - 2.4 * width)
        for frame in range(first, min(len(times), first + random.integers(1, 6))):
            per_frame[frame].append(np.concatenate([corner, corner + (width, 2.4 * width)]))
    return per_frame


def _dropouts(settings: CrowdSettings, times: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(f, n) whether the detector overlooks a person: single frames, and now and then a third of a second."""
    shape = (len(times), settings.walkers)
    starts = random.uniform(size=shape) < settings.missed * 0.3 / settings.fps / 0.1
    recent = (times[:, None] - times[None] >= 0) & (times[:, None] - times[None] < 0.33)
    return (random.uniform(size=shape) < settings.missed) | (recent.astype(int) @ starts > 0)


class _View:
    """One frame before detection: boxes, who hides whom, and how much of everybody is seen."""

    def __init__(self, frame: int, pixels: Float[np.ndarray, "n 17 2"], depth: Float[np.ndarray, " n"]) -> None:
        self.frame, self.pixels = frame, pixels
        self.n = len(pixels)
        tight = enclosing(pixels, np.ones(pixels.shape[:2], bool))
        tall = tight[:, 3:] - tight[:, 1:2]
        self.whole = tight + tall * np.array([-0.05, -0.07, 0.05, 0.04])
        self.boxes = clip(self.whole, *SIZE)
        wide = self.whole[:, 2:3] - self.whole[:, :1]
        body = np.concatenate([self.whole[:, :1] + 0.18 * wide, self.whole[:, 1:2], self.whole[:, 2:3] - 0.18 * wide, self.whole[:, 3:]], 1)
        self.nearer = depth[None] < depth[:, None]  # (n, n): column stands in front of row
        # A grid over each box tells how much of it is seen, and the box around what is seen.
        u, v = np.meshgrid(np.linspace(0.2, 0.8, 6), np.linspace(0.04, 0.96, 12))
        span = self.whole[:, None, 2:] - self.whole[:, None, :2]
        grid = self.whole[:, None, :2] + np.stack([u.ravel(), v.ravel()], -1) * span
        seen = ~self._covered(grid, body) & _inside(grid)
        self.share = seen.mean(1)
        self.seen_box = clip(enclosing(grid, seen) + np.tile(span[:, 0] / 12, 2) * [-3, -0.5, 3, 0.5], *SIZE)
        self.hidden = self._covered(pixels, body) | ~_inside(pixels)
        cover = ((body[:, None, :2] < body[None, :, 2:]) & (body[None, :, :2] < body[:, None, 2:])).all(-1) & self.nearer
        self.front = np.where(cover.any(1), np.where(cover, depth[None], np.inf).argmin(1) if self.n else 0, -1)

    def _covered(self, points: Float[np.ndarray, "n p 2"], body: Float[np.ndarray, "n 4"]) -> np.ndarray:
        within = ((points[:, :, None] > body[:, :2]) & (points[:, :, None] < body[:, 2:])).all(-1)
        return (within & self.nearer[:, None]).any(-1)

    def truth(self) -> People:
        """Who is there to be found."""
        rows = np.flatnonzero(self.share >= LEAST_VISIBLE)
        confidence = 1.0 - self.hidden[rows]
        return People(np.full(len(rows), self.frame), rows + 1, self.boxes[rows], np.ones(len(rows)), self.pixels[rows], confidence)

    def detections(
        self, settings: CrowdSettings, looks: np.ndarray, asleep: np.ndarray, ghosts: list[np.ndarray], random: np.random.Generator
    ) -> tuple[People, np.ndarray, np.ndarray]:
        """What a detector and a pose network say, after non-maximum suppression; the persons behind; their appearance."""
        chance = np.clip((self.share - 0.12) / 0.35, 0, 1)
        rows = np.flatnonzero((random.uniform(size=self.n) < chance) & ~asleep)
        half = rows[random.uniform(size=len(rows)) < 0.015]  # a second, smaller box on the same body
        boxes = np.concatenate([self._seen_boxes(rows, random), self._halves(half), np.reshape(ghosts, (-1, 4))])
        size = np.sqrt(np.maximum(area(boxes), 1.0))[:, None]
        boxes = clip(boxes + settings.jitter * size * random.normal(size=boxes.shape), *SIZE)
        scores = np.concatenate(
            [0.1 + 0.72 * self.share[rows], random.uniform(0.15, 0.5, len(half)), random.uniform(0.1, 0.55, len(ghosts))]
        )
        scores = np.clip(scores + random.normal(0, 0.06, len(scores)), 0.05, 0.98)
        person = np.concatenate([rows + 1, half + 1, np.zeros(len(ghosts), int)])
        keypoints, confidence = self._poses(settings, person, boxes, random)
        appearance = self._appearance(looks, person, random)
        order = np.argsort(-scores)
        twice = np.triu(iou(boxes[order], boxes[order]) > 0.7, 1)
        kept: list[int] = []
        for index in range(len(order)):
            if not twice[kept, index].any():
                kept.append(index)
        keep = random.permutation(order[kept])
        people = People(
            np.full(len(keep), self.frame), np.full(len(keep), -1), boxes[keep], scores[keep], keypoints[keep], confidence[keep]
        )
        return people, person[keep], appearance[keep]

    def _seen_boxes(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Detectors sometimes give the whole body's box, sometimes that of the part in view."""
        part = (self.share[rows] < 0.8) & (random.uniform(size=len(rows)) < 0.5)
        return np.where(part[:, None], self.seen_box[rows], self.boxes[rows])

    def _halves(self, rows: np.ndarray) -> np.ndarray:
        halves = self.boxes[rows].copy()
        halves[:, 3] -= 0.5 * (halves[:, 3] - halves[:, 1])
        return halves

    def _poses(
        self, settings: CrowdSettings, person: np.ndarray, boxes: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints with noise; those of hidden joints wrong, often the ones of whoever stands in front; unsure ones for ghosts."""
        n = len(person)
        real, row = person > 0, np.maximum(person - 1, 0)
        truth, hidden = self.pixels[row], self.hidden[row]
        size = np.sqrt(np.maximum(area(boxes), 1.0))[:, None, None]
        anywhere = boxes[:, None, :2] + random.uniform(size=(n, 17, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
        front = self.front[row]
        stolen = hidden & ((front >= 0) & (random.uniform(size=n) < 0.5))[:, None]
        keypoints = np.where(stolen[..., None], self.pixels[np.maximum(front, 0)], truth)
        spread = settings.jitter * (1 + 5 * (hidden & ~stolen))[..., None] * (4 * np.asarray(COCO_17.sigmas)[:, None] + 0.7)
        keypoints = keypoints + spread * size * random.normal(size=keypoints.shape)
        swapped = random.uniform(size=n) < 0.03
        keypoints[swapped] = keypoints[swapped][:, list(COCO_17.swap)]
        keypoints = np.where(real[:, None, None], keypoints, anywhere)
        sure = np.clip(random.normal(0.85, 0.08, (n, 17)), 0.3, 1.0)
        unsure = random.uniform(0.05, 0.45, (n, 17))
        confidence = np.where(~real[:, None], 0.7 * unsure, np.where(hidden, np.where(stolen, 0.7 * sure, unsure), sure))
        lost = random.uniform(size=(n, 17)) < settings.missing_keypoints
        return np.where(lost[..., None], np.nan, keypoints), np.where(lost, 0.0, confidence)

    def _appearance(self, looks: np.ndarray, person: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """A person's looks, mixed with those of whoever stands in front, and noise as strong as a third of the whole."""
        if not len(looks):
            return _unit(random.normal(size=(len(person), FEATURES)))
        row = np.maximum(person - 1, 0)
        share, front = self.share[row][:, None], self.front[row]
        other = np.where((front >= 0)[:, None], looks[np.maximum(front, 0)], 0)
        mixed = np.where((person > 0)[:, None], share * looks[row] + (1 - share) * other, 0)
        return _unit(mixed + random.normal(0, 0.35 / np.sqrt(FEATURES), mixed.shape))


def _inside(points: Float[np.ndarray, "*n 2"]) -> np.ndarray:
    return ((points >= 0) & (points <= np.array(SIZE))).all(-1)


def _unit(vectors: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
