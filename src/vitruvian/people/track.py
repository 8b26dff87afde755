"""Online tracking: the people of each new frame get the ids of the people before.

Two rounds of association, as in ByteTrack (Zhang et al., ECCV 2022): confident detections first, then weak ones, which may continue a
track but never start one. A pair's likeness mixes box overlap and keypoint similarity, so that two people who cross are told apart by
their poses. Motion is a Kalman filter with constant velocity over the true timestamps, so any frame rate, even a varying one, will do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.geometry.boxes import area, iou
from vitruvian.people.assignment import assign
from vitruvian.people.similarity import believable, comparison_points, parts_of, pose_similarity, without_duplicates
from vitruvian.skeletons import Skeleton
from vitruvian.take import People

# Noise in body sizes (square root of the box area): of a measured box centre, and of the acceleration per second.
CENTRE_NOISE = 0.04
ACCELERATION = 3.0
COASTING = 0.7  # seconds in which the velocity of an unseen person fades
BUFFER_RATE = 0.5  # boxes widen by this share of their size per second unseen (buffered IoU, Yang et al., WACV 2023)
BUFFER = (0.05, 0.5)  # least and most widening
POSE_SHARE = 0.5  # most that the keypoints count against the box
TRUST_SHARE = 0.2  # of the newest score in a track's running mean
PROBATION = 3  # a track seen less often than this is given up soon


@dataclass
class _Track:
    """One person: last sighting, and the motion of the box centre (position and velocity in pixels, covariance in body sizes)."""

    id: int
    time: float
    box: Float[np.ndarray, " 4"]
    keypoints: Float[np.ndarray, "k 2"]
    confidence: Float[np.ndarray, " k"]
    position: Float[np.ndarray, " 2"]
    velocity: Float[np.ndarray, " 2"]
    covariance: Float[np.ndarray, "2 2"]
    trust: float  # running mean of the detections' scores
    sightings: int = 1

    def shift(self, time: float) -> Float[np.ndarray, " 2"]:
        """How far the person has moved since the last sighting, in pixels, if the velocity fades while unseen."""
        return self.position - _centre(self.box) + self.velocity * COASTING * (1 - np.exp(-(time - self.time) / COASTING))

    def see(self, time: float, box: np.ndarray, score: float, keypoints: np.ndarray, confidence: np.ndarray) -> None:
        """Take in a new sighting: Kalman prediction and update, both axes sharing one covariance."""
        self.trust += TRUST_SHARE * (score - self.trust)
        step = max(time - self.time, 1e-3)
        size = float(np.sqrt(np.prod(np.maximum(box[2:] - box[:2], 1.0))))
        motion = np.array([[1.0, step], [0.0, 1.0]])
        noise = ACCELERATION**2 * np.array([[step**4 / 4, step**3 / 2], [step**3 / 2, step**2]])
        covariance = motion @ self.covariance @ motion.T + noise
        gain = covariance[:, 0] / (covariance[0, 0] + CENTRE_NOISE**2)
        predicted = self.position + self.velocity * step
        error = _centre(box) - predicted
        self.position, self.velocity = predicted + gain[0] * error, self.velocity + gain[1] * error
        # A jump (a cut box, a missed stretch) must not throw the track out of the picture.
        speed = float(np.linalg.norm(self.velocity))
        self.velocity *= min(1.0, 5 * size / max(speed, 1e-6))
        self.covariance = covariance - np.outer(gain, covariance[0])
        self.time, self.box, self.keypoints, self.confidence = time, box, keypoints, confidence
        self.sightings += 1


class Tracker:
    """Gives ids, from 1 upwards, to the people of one video's frames, in order of time.

    strong: least score of a detection that may start a track; weaker ones only continue one.
    max_age: seconds that a person may be unseen and still come back under the same id; a fifth of it for one seen fewer than three times.
    min_similarity: least likeness (0 to 1) of a track and a detection that may be the same person.

    An id is given at once, with the first confident detection that the pose supports (`believable`): nothing has to be revised later, and
    a single frame has ids as well. The price is that a false detection uses up an id. Memory does not grow with time: lost tracks are
    forgotten.
    """

    def __init__(self, skeleton: Skeleton, *, strong: float = 0.3, max_age: float = 1.5, min_similarity: float = 0.2) -> None:
        self._skeleton = skeleton
        self._strong = strong
        self._max_age = max_age
        self._min_similarity = min_similarity
        self._points, self._sigmas = comparison_points(skeleton)
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, time: float, people: People) -> People:
        """The people of the frame at `time` (seconds, not before the last call's), each once, with `track` filled.

        Weak detections that continue no track, second detections of one body, and new pieces of a known one are left out.
        """
        people = without_duplicates(people, self._skeleton)
        self._tracks = [track for track in self._tracks if time - track.time <= self._patience(track)]
        ids = np.full(len(people), -1, dtype=np.int32)
        strong = people.scores >= self._strong
        # Tracks that live on weak detections are often a second sight of somebody: they choose after the others.
        trusted = [track for track in self._tracks if track.trust >= self._strong]
        doubtful = [track for track in self._tracks if track.trust < self._strong]
        unseen: list[_Track] = []
        for candidates, eligible in ((trusted, strong), (doubtful, strong), ([], ~strong)):
            unseen += candidates
            rows = np.flatnonzero(eligible & (ids < 0))
            pairs = self._associate(time, unseen, people[rows])
            for track_index, row in pairs:
                track = unseen[track_index]
                self._see(track, time, people, rows[row])
                ids[rows[row]] = track.id
            taken = {track_index for track_index, _ in pairs}
            unseen = [track for index, track in enumerate(unseen) if index not in taken]
        new = np.flatnonzero(strong & (ids < 0) & believable(people, self._skeleton))
        if len(new):
            new = new[~parts_of(people, self._skeleton)[np.ix_(new, np.flatnonzero(ids >= 0))].any(1)]
        for row in new:
            ids[row] = self._start(time, people, row)
        found = ids >= 0
        return replace(people[found], track=ids[found])

    def near(self, time: float, boxes: Float[np.ndarray, "n 4"]) -> Bool[np.ndarray, " n"]:
        """Which boxes overlap a person known so far: the only weak detections that are worth a pose."""
        if not self._tracks or not len(boxes):
            return np.zeros(len(boxes), dtype=bool)
        expected = np.stack([track.box + np.tile(track.shift(time), 2) for track in self._tracks])
        return (iou(np.asarray(boxes, dtype=np.float64), expected) > 0.2).any(1)

    def _patience(self, track: _Track) -> float:
        return self._max_age if track.sightings >= PROBATION else self._max_age / 5

    def _start(self, time: float, people: People, row: int) -> int:
        box = people.boxes[row].astype(np.float64)
        # Unknown velocity: a standard deviation of one body size per second.
        covariance = np.diag([CENTRE_NOISE**2, 1.0])
        keypoints, confidence = people.keypoints[row, self._points], people.confidence[row, self._points]
        track = _Track(self._next_id, time, box, keypoints, confidence, _centre(box), np.zeros(2), covariance, float(people.scores[row]))
        self._tracks.append(track)
        self._next_id += 1
        return track.id

    def _see(self, track: _Track, time: float, people: People, row: int) -> None:
        keypoints, confidence = people.keypoints[row, self._points], people.confidence[row, self._points]
        track.see(time, people.boxes[row].astype(np.float64), float(people.scores[row]), keypoints, confidence)

    def _associate(self, time: float, tracks: list[_Track], people: People) -> list[tuple[int, int]]:
        """Pairs (track, person) with the smallest total cost, where a pair that is too unlike costs as much as no pair."""
        if not tracks or not len(people):
            return []
        cost = 1 - self._similarity(time, tracks, people)
        limit = 1 - self._min_similarity
        pairs = zip(*assign(np.minimum(cost, limit)), strict=True)
        return [(int(track), int(row)) for track, row in pairs if cost[track, row] < limit]

    def _similarity(self, time: float, tracks: list[_Track], people: People) -> Float[np.ndarray, "t n"]:
        """Likeness of every track at `time` and every person: box overlap, and keypoints as far as they are sure."""
        shift = np.stack([track.shift(time) for track in tracks])
        boxes = np.stack([track.box for track in tracks]) + np.tile(shift, 2)
        gaps = np.array([time - track.time for track in tracks])
        buffer = np.clip(BUFFER_RATE * gaps, *BUFFER)
        # The longer unseen, the less sure the place: both boxes of the pair grow, so that near is as good as overlapping.
        overlap = np.stack([iou(_widen(box[None], grow), _widen(people.boxes, grow))[0] for box, grow in zip(boxes, buffer, strict=True)])
        keypoints = np.stack([track.keypoints for track in tracks]) + shift[:, None]
        confidence = np.stack([track.confidence for track in tracks])
        areas = (area(boxes)[:, None] + area(people.boxes)[None]) / 2
        alike, evidence = pose_similarity(
            keypoints, people.keypoints[:, self._points], confidence, people.confidence[:, self._points], areas, self._sigmas
        )
        share = POSE_SHARE * evidence / (evidence + 2.0)
        return overlap + share * (alike - overlap)


def _centre(box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 2"]:
    return (box[:2] + box[2:]) / 2


def _widen(boxes: Float[np.ndarray, "n 4"], share: float) -> Float[np.ndarray, "n 4"]:
    margin = share * (boxes[:, 2:].astype(np.float64) - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
