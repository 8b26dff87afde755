"""What a tracker knows of each person: the last sighting, the whole box, and a Kalman filter of its place, for all persons at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

# In body sizes, a body size being the square root of the box area: standard deviation of a measured place, of the acceleration per
# second, and of a newcomer's unknown velocity; greatest velocity that a jump may leave behind, per second.
MEASURED = 0.04
ACCELERATION = 1.5
NEWCOMER = 1.0
FASTEST = 5.0
COASTING = 1.2  # seconds in which the velocity of an unseen person fades
TRUST_SHARE = 0.2  # of the newest score in the running mean
REMEMBERED = 1.0  # seconds in which the confidence of a keypoint fades that was not seen as well again
GROWING, SHRINKING = 0.05, 0.25  # seconds in which the whole box follows the newest one
EVIDENCE = 2.0  # least number of sure keypoints, as a sum of products of confidences, that measure a movement
SIDES = np.array([-1, -1, 1, 1])


@dataclass
class Tracks:
    """T known people.

    id, sightings: (T,). seen: (T,) seconds, when last seen. trust: (T,) running mean of the detections' scores.
    box: (T, 4) of the last sighting. keypoints: (T, k, 2) and confidence: (T, k): the last sure ones, moved along with the body.
    place: (T, 2) of the body as measured last, whole: (T, 4) the box around it when all of the body is in view, relative to it.
    mean: (T, 2) place and velocity: (T, 2) per second as filtered at `seen`, covariance: (T, 3) of these in body sizes, both axes alike:
    place-place, place-velocity, velocity-velocity. look: (T, d) appearance, a unit vector, or zeros where unknown. Pixels and seconds.
    """

    id: Int[np.ndarray, " t"]
    sightings: Int[np.ndarray, " t"]
    seen: Float[np.ndarray, " t"]
    trust: Float[np.ndarray, " t"]
    box: Float[np.ndarray, "t 4"]
    keypoints: Float[np.ndarray, "t k 2"]
    confidence: Float[np.ndarray, "t k"]
    place: Float[np.ndarray, "t 2"]
    whole: Float[np.ndarray, "t 4"]
    mean: Float[np.ndarray, "t 2"]
    velocity: Float[np.ndarray, "t 2"]
    covariance: Float[np.ndarray, "t 3"]
    look: Float[np.ndarray, "t d"]

    @classmethod
    def started(
        cls,
        ids: Int[np.ndarray, " t"],
        time: float,
        boxes: Float[np.ndarray, "t 4"],
        scores: Float[np.ndarray, " t"],
        keypoints: Float[np.ndarray, "t k 2"],
        confidence: Float[np.ndarray, "t k"],
        look: Float[np.ndarray, "t d"],
    ) -> Tracks:
        """People seen for the first time."""
        count, boxes = len(ids), boxes.astype(np.float64)
        centre = centres(boxes)
        return cls(
            id=np.asarray(ids, np.int64),
            sightings=np.ones(count, np.int64),
            seen=np.full(count, float(time)),
            trust=scores.astype(np.float64),
            box=boxes,
            keypoints=keypoints.astype(np.float64),
            confidence=np.nan_to_num(confidence).astype(np.float64),
            place=centre,
            whole=boxes - np.tile(centre, 2),
            mean=centre.copy(),
            velocity=np.zeros((count, 2)),
            covariance=np.tile([MEASURED**2, 0.0, NEWCOMER**2], (count, 1)),
            look=look.astype(np.float64),
        )

    def __len__(self) -> int:
        """The number of people T."""
        return len(self.id)

    def __getitem__(self, rows: Bool[np.ndarray, " t"] | Int[np.ndarray, " n"]) -> Tracks:
        """A copy of the chosen rows."""
        return Tracks(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __setitem__(self, rows: Int[np.ndarray, " n"], others: Tracks) -> None:
        """Replace the chosen rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(others, field.name)

    def joined(self, others: Tracks) -> Tracks:
        """These people and others after them."""
        return Tracks(*(np.concatenate([getattr(self, field.name), getattr(others, field.name)]) for field in fields(self)))

    def moved(self, time: float) -> Float[np.ndarray, "t 2"]:
        """How far the people should be at `time` from where they were last measured. Velocities fade while a person is unseen."""
        ahead = COASTING * (1 - np.exp(-(time - self.seen) / COASTING))
        return self.mean - self.place + self.velocity * ahead[:, None]

    def whole_at(self, time: float) -> Float[np.ndarray, "t 4"]:
        """Where the boxes around the whole bodies should be at `time`."""
        return np.tile(self.place + self.moved(time), 2) + self.whole

    def newest_at(self, time: float) -> Float[np.ndarray, "t 4"]:
        """Where the newest boxes, of what was in view of the bodies, should be at `time`."""
        return self.box + np.tile(self.moved(time), 2)

    def shift(self, by: Float[np.ndarray, " 2"]) -> None:
        """Move everybody by so many pixels, as a turn of the camera does."""
        self.box += np.tile(by, 2)
        for column in (self.keypoints, self.place, self.mean):
            column += by

    def see(
        self,
        rows: Int[np.ndarray, " n"],
        time: float,
        boxes: Float[np.ndarray, "n 4"],
        scores: Float[np.ndarray, " n"],
        keypoints: Float[np.ndarray, "n k 2"],
        confidence: Float[np.ndarray, "n k"],
    ) -> None:
        """Take in new sightings of the people in `rows`.

        What moved is told by the keypoints that are sure in both sightings, as the median of their movements, and by the box only where
        there are too few: who steps behind something loses part of the box, which would look like a movement.
        """
        boxes, confidence = boxes.astype(np.float64), np.nan_to_num(confidence)
        step = np.maximum(time - self.seen[rows], 1e-3)[:, None]
        movements = keypoints - self.keypoints[rows]
        weights = np.where(np.isfinite(movements).all(-1), self.confidence[rows] * confidence, 0)
        by_box = centres(boxes) - centres(self.box[rows])
        sure = weights.sum(1, keepdims=True) > EVIDENCE
        movement = np.where(sure, _weighted_median(np.nan_to_num(movements), weights), by_box)
        measured = self.place[rows] + movement
        self._filter(rows, step, measured, sizes(boxes)[:, None])
        self._remember(rows, step, movement, keypoints, confidence)
        beside = boxes - np.tile(measured, 2)
        growth = beside - self.whole[rows]
        pace = np.where(growth * SIDES > 0, GROWING, SHRINKING)
        self.whole[rows] += growth * (1 - np.exp(-step / pace))
        self.trust[rows] += TRUST_SHARE * (scores - self.trust[rows])
        self.seen[rows], self.box[rows], self.place[rows] = time, boxes, measured
        self.sightings[rows] += 1

    def _filter(self, rows: np.ndarray, step: Float[np.ndarray, "n 1"], measured: Float[np.ndarray, "n 2"], size: np.ndarray) -> None:
        """Kalman prediction and update with constant velocity."""
        step_ = step[:, 0]
        pp, pv, vv = self.covariance[rows].T
        pp, pv, vv = pp + step_ * (2 * pv + step_ * vv), pv + step_ * vv, vv
        pp, pv, vv = (noise * ACCELERATION**2 + old for noise, old in ((step_**4 / 4, pp), (step_**3 / 2, pv), (step_**2, vv)))
        gain_place, gain_velocity = pp / (pp + MEASURED**2), pv / (pp + MEASURED**2)
        predicted = self.mean[rows] + self.velocity[rows] * step
        error = measured - predicted
        velocity = self.velocity[rows] + gain_velocity[:, None] * error
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        self.mean[rows] = predicted + gain_place[:, None] * error
        # A jump (a missed stretch, a wrong pose) must not throw the track out of the picture.
        self.velocity[rows] = velocity * np.minimum(1.0, FASTEST * size / np.maximum(speed, 1e-6))
        self.covariance[rows] = np.stack([pp * (1 - gain_place), pv * (1 - gain_place), vv - gain_velocity * pv], 1)

    def _remember(
        self,
        rows: np.ndarray,
        step: Float[np.ndarray, "n 1"],
        movement: Float[np.ndarray, "n 2"],
        keypoints: Float[np.ndarray, "n k 2"],
        confidence: Float[np.ndarray, "n k"],
    ) -> None:
        """Keep old keypoints where the new ones are less sure: the pose of somebody half hidden is often that of the person in front."""
        faded = self.confidence[rows] * np.exp(-step / REMEMBERED)
        keep = ~np.isfinite(keypoints).all(-1) | (confidence < faded)
        self.keypoints[rows] = np.where(keep[..., None], self.keypoints[rows] + movement[:, None], keypoints)
        self.confidence[rows] = np.where(keep, faded, confidence)


def centres(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 2"]:
    """The boxes' centres."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def sizes(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Body sizes: square roots of the box areas, at least a pixel."""
    return np.sqrt(np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0).prod(1))


def _weighted_median(values: Float[np.ndarray, "n k 2"], weights: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n 2"]:
    """The median of every row and axis, where a value counts with its weight; arbitrary where all weights are 0."""
    order = np.argsort(values, axis=1)
    ranked = np.take_along_axis(values, order, 1)
    below = np.cumsum(np.take_along_axis(np.broadcast_to(weights[..., None], values.shape), order, 1), 1)
    middle = (below < below[:, -1:] / 2).sum(1, keepdims=True)
    return np.take_along_axis(ranked, middle, 1)[:, 0]
