"""Frames in, the people of each frame out: detect, estimate poses, and in videos track and smooth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from vitruvian.capture.sinks import Stopwatch
from vitruvian.codecs.owned import OwnedDetections, owners_among
from vitruvian.codecs.pointed import PointedDetections, pointed_owners
from vitruvian.geometry.boxes import iou, shared
from vitruvian.media import Frame, prefetch
from vitruvian.people import Smoother, Tracker, attach_parts, believable, without_duplicates
from vitruvian.people.assignment import assign
from vitruvian.people.between import between
from vitruvian.people.refine import Refiner
from vitruvian.people.similarity import comparison_points
from vitruvian.runtime import Detections, Detector, OneStage, PoseEstimator, Poses
from vitruvian.skeletons import Skeleton
from vitruvian.take import People

CHUNK = 4  # frames that go through the networks together: 8 are no faster
CHUNK_PIXELS = 1 << 24  # or fewer, when they are large: 50 MB of pixels
AHEAD = 3  # frames decoded ahead of the networks
HOPEFUL = 0.7
"""Share of the threshold from which a detection that overlaps nobody is worth a pose."""
VOUCHED = 0.7
"""Mean chance of the body's keypoints from which the pose network vouches for a detection: it counts as if it had the threshold."""

Found = tuple[Frame, Detections | None]


class Finder:
    """Finds the people of every frame in turn. Keeps nothing but the tracker's and the smoother's memory, and a few frames.

    Three threads share the work: one decodes, one detects, and the one that asks estimates poses and tracks. What a frame's people are
    never depends on which of them is faster. find None: `estimate` finds people and poses in one stage, in every frame. tracker None:
    pictures, which have no before and after; then detect_every must be 1.
    """

    def __init__(
        self,
        find: Detector | None,
        estimate: PoseEstimator | OneStage,
        skeleton: Skeleton,
        stopwatch: Stopwatch,
        *,
        tracker: Tracker | None,
        smoother: Smoother | None,
        refine: Refiner | None = None,
        threshold: float,
        detect_every: int = 1,
    ) -> None:
        self.skeleton, self.tracker, self.smoother = skeleton, tracker, smoother
        self._find, self._estimate, self._stopwatch = find, estimate, stopwatch
        self._classes = find.card.classes if find else ("person",)
        self._finds_parts = find is not None and len(find.classes) > 1
        self._refine, self._threshold, self._detect_every = refine, threshold, detect_every
        # Scores of other networks are no chances: what they say of leaves and windows is not known.
        self._vouches = tracker is not None and find is not None and estimate.card.codec == "probability-map"

    def people(self, frames: Iterable[Frame]) -> Iterator[list[tuple[Frame, People]]]:
        """Every frame with its people, in order, a few at a time."""
        with closing(prefetch(chunks(self._detected(frames)), 1)) as ready:
            for chunk in ready:
                yield self._over_time([frame for frame, _ in chunk], self._untracked(chunk))

    def people_now(self, frames: Iterable[Frame]) -> Iterator[list[tuple[Frame, People]]]:
        """The same one by one, without any look ahead: for live sources. Between two looks of the detector, people are where the tracker
        expects them, and their boxes follow their keypoints."""
        for frame in frames:
            boxes, _ = self.tracker.expected(frame.time)
            looks = frame.index % self._detect_every == 0 or not len(boxes)
            if looks:
                detections = None if self._find is None else self._look([frame])[frame.index]
            else:
                count, person = len(boxes), self._classes.index("person")
                scores, labels = np.full(count, self._threshold, np.float32), np.full(count, person, np.int32)
                detections = Detections(boxes.astype(np.float32), scores, labels)
            people = self._untracked([(frame, detections)])[0]
            yield self._over_time([frame], [people if looks else _in_their_own_boxes(people)])

    def is_between(self, frames: int) -> bool:
        """Whether after this number of frames, at the end of a chunk, all that counts for those to come is the tracker and the smoother."""
        return frames % self._detect_every == 0

    def state(self) -> dict[str, np.ndarray]:
        """What tracker and smoother remember, as arrays; what is no array as JSON."""
        state = {}
        for name in ("tracker", "smoother"):
            remembers = getattr(self, name)
            for key, value in (remembers.to_arrays() if remembers else {}).items():
                is_array = isinstance(value, np.ndarray)
                state[f"{name}.{key}" if is_array else f"{name}.{key}.json"] = value if is_array else np.array(json.dumps(value))
        return state

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state`; an empty one changes nothing. Raises FormatError where it is none."""
        for name in ("tracker", "smoother"):
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            values = {key.removesuffix(".json"): json.loads(str(value)) if key.endswith(".json") else value for key, value in own.items()}
            if values:
                setattr(self, name, type(getattr(self, name)).from_arrays(values))

    def _decoded(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, with their time on the stopwatch."""
        iterator = iter(frames)
        while True:
            with self._stopwatch("decode"):
                frame = next(iterator, None)
            if frame is None:
                return
            yield frame

    def _detected(self, frames: Iterable[Frame]) -> Iterator[Found]:
        """Every frame with its detections. The detector sees every n-th and the last; between two looks boxes move on."""
        with closing(prefetch(self._decoded(frames), AHEAD)) as decoded:
            if self._find is None:
                yield from ((frame, None) for frame in decoded)
                return
            waiting: list[Found] = []  # the last frame that the detector saw, and those after it
            for chunk in chunks((frame, None) for frame in decoded):
                looks = self._look([frame for frame, _ in chunk if frame.index % self._detect_every == 0])
                for frame, _ in chunk:
                    if frame.index in looks:
                        yield from _filled(waiting, looks[frame.index], frame.time)
                        waiting = []
                    waiting.append((frame, looks.get(frame.index)))
            if len(waiting) > 1:
                last = waiting.pop()[0]
                look = self._look([last])[last.index]
                yield from _filled(waiting, look, last.time)
                waiting = [(last, look)]
            yield from waiting

    def _look(self, frames: Sequence[Frame]) -> dict[int, Detections]:
        """What the detector finds in each of these frames, by their index."""
        with self._stopwatch("detect"):
            return dict(zip((frame.index for frame in frames), self._find([frame.image for frame in frames]), strict=True))

    def _untracked(self, chunk: Sequence[Found]) -> list[People]:
        """The people of each frame, with poses but without ids."""
        images = [frame.image for frame, _ in chunk]
        if self._find is None:
            with self._stopwatch("pose"):
                both = self._estimate(images)
        else:
            person = self._classes.index("person")
            with self._stopwatch("track"):
                found = self._worth_a_pose([(frame, detections[detections.labels == person]) for frame, detections in chunk])
            with self._stopwatch("pose"):
                both = list(zip(found, self._estimate(images, [detections.boxes for detections in found]), strict=True))
        people = [_rows(frame.index, *one) for (frame, _), one in zip(chunk, both, strict=True)]
        if self._find is None:
            return people
        if self._vouches:
            people = [self._vouched_for(one) for one in people]
        with self._stopwatch("track"):
            return [self._with_parts(one, mine, all_of_it) for one, (mine, _), (_, all_of_it) in zip(people, both, chunk, strict=True)]

    def _with_parts(self, people: People, bodies: Detections, detections: Detections) -> People:
        """People with the boxes of their parts, or with the way they face, where the detector finds these.

        bodies: the people's own detections, row by row. Where the detector knows whose a part is, nobody else gets it.
        """
        knows = isinstance(detections, OwnedDetections) and isinstance(bodies, OwnedDetections)
        if not self._finds_parts:
            return replace(people, orientation=bodies.angles) if knows else people
        owners = None
        if knows:
            owners = owners_among(detections, bodies)
            detections, owners = detections[owners >= 0], owners[owners >= 0]
        elif isinstance(detections, PointedDetections):
            owners = pointed_owners(detections, bodies.boxes, self._classes)
        return replace(people, part_boxes=attach_parts(people, detections, self._classes, self.skeleton, owners))

    def _worth_a_pose(self, chunk: Sequence[Found]) -> list[Detections]:
        """All strong detections; for every person known so far, or found in these frames, who has none in a frame, one weak one; and
        where the pose network can vouch for somebody, weak ones that overlap nobody.

        Poses are the costly step: most weak detections are pieces of people who have a strong one, or nobody.
        """
        if self.tracker is None:
            return [detections for _, detections in chunk]
        strong = [detections.boxes[detections.scores >= self._threshold] for _, detections in chunk]
        around = np.concatenate(strong)
        kept = []
        for (frame, detections), own in zip(chunk, strong, strict=True):
            known = self.tracker.expected(frame.time)[0].astype(np.float32)
            places = np.concatenate([known, around[(iou(around, known) < 0.2).all(axis=1)]])
            alone = np.delete(places, _pairs(places, own)[0], axis=0)
            weak = np.flatnonzero((detections.scores < self._threshold) & (iou(detections.boxes, own) < 0.6).all(axis=1))
            chosen = weak[_pairs(alone, detections.boxes[weak])[1]]
            rows = np.concatenate([np.flatnonzero(detections.scores >= self._threshold), chosen])
            if self._vouches and frame.index % self._detect_every == 0:  # in between, who is found by then is known
                rows = self._with_lone_ones(detections, rows)
            kept.append(detections[np.sort(rows)])
        return kept

    def _with_lone_ones(self, detections: Detections, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """The chosen rows of detections, and hopeful ones that share less than a third of a box with any of them, or with a better
        hopeful one."""
        rows = rows.tolist()
        for row in np.flatnonzero(detections.scores >= HOPEFUL * self._threshold).tolist():  # best first
            if row not in rows and shared(detections.boxes[row], detections.boxes[rows]).max(initial=0.0) < 1 / 3:
                rows.append(row)
        return np.array(rows, np.intp)

    def _vouched_for(self, people: People) -> People:
        """The people, those with a sure body detected with the threshold at least."""
        points, _ = comparison_points(self.skeleton)
        sure = np.nan_to_num(people.confidence[:, points]).mean(axis=1) >= VOUCHED
        lifted = sure & (people.scores >= HOPEFUL * self._threshold) & (people.scores < self._threshold)
        return replace(people, scores=np.where(lifted, self._threshold, people.scores)) if lifted.any() else people

    def _over_time(self, frames: Sequence[Frame], people: Sequence[People]) -> list[tuple[Frame, People]]:
        """Each body once, with better hands and faces where there are networks for them; in videos with ids and smooth keypoints."""
        with self._stopwatch("track"):
            people = [self._tracked(frame.time, one) for frame, one in zip(frames, people, strict=True)]
        if self._refine:
            with self._stopwatch("refine"):
                people = self._refine([frame.image for frame in frames], people)
        if self.smoother:
            with self._stopwatch("smooth"):
                people = [self.smoother.update(frame.time, one) for frame, one in zip(frames, people, strict=True)]
        return list(zip(frames, people, strict=True))

    def _tracked(self, time: float, people: People) -> People:
        if self.tracker:
            return self.tracker.update(time, people)
        return without_duplicates(people[believable(people, self.skeleton)], self.skeleton)


def chunks(found: Iterable[Found], most: int = CHUNK, pixels: int = CHUNK_PIXELS) -> Iterator[list[Found]]:
    """The frames in lists of at most `most` frames, or fewer once they have `pixels` pixels together."""
    chunk: list[Found] = []
    for one in found:
        chunk.append(one)
        if len(chunk) == most or sum(frame.image.size // 3 for frame, _ in chunk) >= pixels:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _filled(waiting: Sequence[Found], last: Detections, time: float) -> Iterator[Found]:
    """The waiting frames; all but the first, which the detector saw, get boxes on the way to the `last` detections, those at `time`."""
    if not waiting:
        return
    (start, first), *rest = waiting
    yield start, first
    for frame, _ in rest:
        progress = (frame.time - start.time) / (time - start.time)
        look = first if progress < 0.5 else last
        yield frame, look.carried(between(first, last, progress))


def _pairs(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of boxes in `a` and `b` that belong together: one to one, overlapping by 0.2 at least, together as much as possible."""
    overlap = iou(a, b)
    rows, columns = (np.asarray(indices, np.intp) for indices in assign(1 - overlap))
    enough = overlap[rows, columns] > 0.2
    return rows[enough], columns[enough]


def _in_their_own_boxes(people: People, least: float = 0.3, points: int = 5, margin: float = 0.1) -> People:
    """Those with at least some sure keypoints, in boxes around these that are larger by a margin on each side."""
    sure = people.confidence >= least
    people, sure = people[sure.sum(axis=1) >= points], sure[sure.sum(axis=1) >= points]
    places = np.where(sure[..., None], people.keypoints, np.nan)
    low, high = (edge(places, axis=1).reshape(-1, 2) for edge in (np.nanmin, np.nanmax)) if len(people) else np.zeros((2, 0, 2))
    grow = margin * (high - low)
    return replace(people, boxes=np.concatenate([low - grow, high + grow], axis=1))


def _rows(index: int, detections: Detections, poses: Poses) -> People:
    """One frame's rows. Raw scores may exceed 1; a keypoint without a score was not found, and its place means nothing."""
    found = poses.scores > 0
    return People(
        frame=np.full(len(detections), index),
        track=np.full(len(detections), -1),
        boxes=detections.boxes,
        scores=detections.scores,
        keypoints=np.where(found[..., None], poses.keypoints, np.nan),
        confidence=np.where(found, np.minimum(poses.scores, 1.0), 0.0),
        points=None if poses.points is None else np.where(found[..., None], poses.points, np.nan),
        second=poses.second,
    )
