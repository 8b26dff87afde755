"""Online tracking: the people of each new frame get the ids of the people before.

Confident detections may start a track, weak ones only continue one, as in ByteTrack (Zhang et al., ECCV 2022). Unlike there, both are
assigned in one go, where a weak detection or a doubtful track has a handicap: whoever fits much better wins all the same. A pair's
likeness mixes box overlap and keypoint similarity, so that two people who cross are told apart by their poses; somebody half hidden
keeps the pose and the box from before. Motion is a Kalman filter with constant velocity over the true timestamps (any frame rate, even a
varying one), less the motion that everybody shares: that is the camera's. Appearance is optional, by a hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.boxes import area, iou
from vitruvian.people.assignment import assign
from vitruvian.people.looks import Appearance, Familiarity, looks_of, unit
from vitruvian.people.similarity import believable, comparison_points, parts_of, pose_similarity, within_others, without_duplicates
from vitruvian.people.sway import shared_shift
from vitruvian.people.tracks import FASTEST, Tracks, centres, sizes
from vitruvian.skeletons import Skeleton
from vitruvian.skeletons.table import from_table, table_of
from vitruvian.take import People

BUFFER_RATE = 0.5  # boxes widen by this share of their size per second unseen (buffered IoU, Yang et al., WACV 2023)
BUFFER = (0.05, 0.5)  # least and most widening
POSE_SHARE = 0.5  # most that the keypoints count against the box
LOOK_SHARE = 0.3  # what the appearance counts against both
NEAR = 0.1  # least likeness without appearance of pairs that appearance may speak for
PROBATION = 3  # a track seen less often than this is given up soon
WEAK, DOUBTFUL = 0.1, 0.2  # handicaps in likeness: of a weak detection, of a track that lives on weak detections
MISSED = 0.1  # how much more alike somebody must be who was not seen in the last frame
RECENT = 0.35  # seconds since the last sighting of those who tell how the camera moved
SURE = 0.6  # likeness of a pair that is certainly one person, seen in two frames on end
LOOK_PACE = 0.1  # share of the newest look in a person's look
CROWDED = 0.3  # overlap with another box that spoils a look
RETURNED = 0.6  # likeness in appearance of somebody who comes back
SECOND = 0.5  # overlap of two detections of one body
STRAYING = (0.25, 0.5)  # body sizes, and body sizes per second unseen, by which people stray from where they are expected
RESIZING = 0.25  # how far the logarithm of their size then changes
STRAYED = 0.6  # likeness in both of somebody who comes back
MOST_REMEMBERED = 256


class Tracker:
    """Gives ids, from 1 upwards, to the people of one video's frames, in order of time.

    strong: least score of a detection that may start a track; weaker ones only continue one.
    max_age: seconds that a person may be unseen and still come back near the expected place under the same id; a fifth of it for one seen
    fewer than three times.
    min_similarity: least likeness (0 to 1) of a track and a detection that may be the same person.
    appearance: what makes features out of a picture and boxes. Without it, somebody unseen for longer than max_age is somebody new; with
    it, people are recognised anywhere in the picture for `memory` seconds.

    An id is given at once, with the first confident detection that the pose supports (`believable`): nothing has to be revised later, and
    a single frame has ids as well. The price is that a false detection uses up an id. Memory does not grow with time: lost tracks are
    forgotten, and at most 256 people are remembered by their looks.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        strong: float = 0.3,
        max_age: float = 1.5,
        min_similarity: float = 0.2,
        appearance: Appearance | None = None,
        memory: float = 60.0,
    ) -> None:
        self._skeleton = skeleton
        self._strong, self._max_age, self._min_similarity = strong, max_age, min_similarity
        self._appearance, self._memory = appearance, memory
        self._points, self._sigmas = comparison_points(skeleton)
        self._familiarity = Familiarity()
        self._next_id = 1
        self._last = -np.inf  # time of the last update
        self._tracks = self._started(0.0, People.empty(len(skeleton)), np.zeros((0, 0)))

    def update(self, time: float, people: People, image: np.ndarray | None = None) -> People:
        """The people of the frame at `time` (seconds, not before the last call's), each once, with `track` filled.

        Weak detections that continue no track, or in which there is no body, second detections of one body, and new pieces of a known one
        are left out.
        image: the frame, (h, w, 3) RGB, for the appearance hook; nothing else looks at it. Raises VitruvianError where the hook's answer
        does not fit.
        """
        people = without_duplicates(people[self._worth_following(people)], self._skeleton)
        looks = self._looks(image, people)
        self._forget(time)
        known = np.flatnonzero(time - self._tracks.seen <= self._patience())
        self._follow_camera(time, known, people)
        similarity = self._similarity(time, known, people, looks)
        of_track, of_person = self._assign(known, similarity, people.scores)
        sure = (self._tracks.seen[known[of_track]] == self._last) & (similarity[of_track, of_person] >= SURE)
        of_track = known[of_track]
        self._learn(of_track, of_person, sure, looks)
        self._see(of_track, time, people, of_person, looks)
        ids = np.full(len(people), -1, dtype=np.int32)
        ids[of_person] = self._tracks.id[of_track]
        new = self._new(people, ids)
        rows, columns = self._returning(time, people[new], looks[new])
        self._return(rows, time, people[new[columns]], looks[new[columns]])
        ids[new[columns]] = self._tracks.id[rows]
        new = np.delete(new, columns)
        newcomers = self._started(time, people[new], looks[new])
        ids[new] = newcomers.id
        if len(newcomers):
            self._tracks = self._tracks.joined(newcomers)
        self._last = float(time)
        found = ids >= 0
        return replace(people[found], track=ids[found])

    def expected(self, time: float) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """The boxes of the people known so far as they should be at `time`, and their ids.

        A box stays whole for a moment (about a quarter of a second) when part of the body is hidden. People who were not seen lately are
        among them until they are given up.
        """
        known = time - self._tracks.seen <= self._patience()
        return self._tracks.whole_at(time)[known], self._tracks.id[known]

    def to_arrays(self) -> dict[str, object]:
        """Everything the next `update` depends on but the appearance hook: arrays, and under "settings" values for JSON."""
        names = ("strong", "max_age", "min_similarity", "memory", "next_id")
        known = {"skeleton": self._skeleton.name, "keypoints": table_of(self._skeleton)}
        settings = {**known, **{name: getattr(self, f"_{name}") for name in names}}
        settings["last"] = None if self._last == -np.inf else self._last
        settings["familiarity"] = vars(self._familiarity).copy()
        return {"settings": settings, **{f"tracks/{f.name}": getattr(self._tracks, f.name).copy() for f in fields(Tracks)}}

    @classmethod
    def from_arrays(cls, state: Mapping[str, object], appearance: Appearance | None = None) -> Tracker:
        """The tracker that `to_arrays` described, which goes on exactly there. Raises FormatError when something is missing or unfit."""
        try:
            settings = state["settings"]
            options = {name: float(settings[name]) for name in ("strong", "max_age", "min_similarity", "memory")}
            tracker = cls(from_table(settings["skeleton"], settings.get("keypoints", {})), **options, appearance=appearance)
            tracker._next_id = int(settings["next_id"])
            tracker._last = -np.inf if settings["last"] is None else float(settings["last"])
            tracker._familiarity = Familiarity(**{name: float(value) for name, value in settings["familiarity"].items()})
            blank = tracker._tracks
            columns = {f.name: np.array(state[f"tracks/{f.name}"], getattr(blank, f.name).dtype) for f in fields(Tracks)}
            tracker._tracks = Tracks(**columns)
            _check(tracker._tracks, blank)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, VitruvianError) as error:
            raise FormatError(f"this is no state of a tracker ({error}); start the capture afresh") from error
        return tracker

    def _worth_following(self, people: People) -> Bool[np.ndarray, " n"]:
        """Confident detections, and weak ones with a body: windows and leaves would else be followed on weak detections for ever."""
        unposed = ~(np.nan_to_num(people.confidence[:, self._points]) > 0).any(1)  # nobody asked a pose network
        return (people.scores >= self._strong) | unposed | believable(people, self._skeleton, np.inf)

    def _patience(self) -> Float[np.ndarray, " t"]:
        """Seconds that each person may be unseen."""
        return np.where(self._tracks.sightings >= PROBATION, self._max_age, self._max_age / 5)

    def _forget(self, time: float) -> None:
        """Drop those unseen for too long, but for whom appearance may recognise later."""
        tracks = self._tracks
        keep = unseen = time - tracks.seen <= self._patience()
        if self._appearance is not None:
            recognisable = tracks.look.any(1) & (tracks.sightings >= PROBATION) & (tracks.trust >= self._strong)
            keep = unseen | (recognisable & (time - tracks.seen <= self._memory))
            if keep.sum() > MOST_REMEMBERED:
                keep &= unseen | (tracks.seen > np.sort(tracks.seen[keep])[-MOST_REMEMBERED])
        if not keep.all():
            self._tracks = tracks[keep]

    def _follow_camera(self, time: float, known: Int[np.ndarray, " t"], people: People) -> None:
        """Move the tracks as the camera has moved the picture since the last frame."""
        tracks = self._tracks
        recent = known[(time - tracks.seen[known] < RECENT) & (tracks.trust[known] >= self._strong)]
        boxes = people.boxes[people.scores >= self._strong].astype(np.float64)
        expected = centres(tracks.newest_at(time)[recent])
        shift = shared_shift(expected, sizes(tracks.box[recent]), centres(boxes), sizes(boxes))
        if shift.any():
            tracks.shift(shift)

    def _similarity(
        self, time: float, known: Int[np.ndarray, " t"], people: People, looks: Float[np.ndarray, "n d"]
    ) -> Float[np.ndarray, "t n"]:
        """Likeness of every known track at `time` and every person: box overlap, keypoints as far as they are sure, and appearance."""
        tracks, boxes = self._tracks[known], people.boxes.astype(np.float64)
        # The longer unseen, the less sure the place: both boxes of the pair grow, so that near is as good as overlapping.
        grow = np.clip(BUFFER_RATE * (time - tracks.seen), *BUFFER)
        newest, whole = tracks.newest_at(time), tracks.whole_at(time)
        overlap = np.maximum(_grown_overlap(newest, boxes, grow), _grown_overlap(whole, boxes, grow))
        alike, evidence = pose_similarity(
            tracks.keypoints + tracks.moved(time)[:, None],
            people.keypoints[:, self._points],
            tracks.confidence,
            people.confidence[:, self._points],
            (area(newest)[:, None] + area(boxes)[None]) / 2,
            self._sigmas,
        )
        similarity = overlap + POSE_SHARE * evidence / (evidence + 2.0) * (alike - overlap)
        if not looks.any():
            return similarity
        both = tracks.look.any(1)[:, None] & looks.any(1)[None] & (similarity > NEAR)
        same = self._familiarity.likeness(tracks.look @ looks.T)
        return np.where(both, similarity + LOOK_SHARE * (same - similarity), similarity)

    def _assign(
        self, known: Int[np.ndarray, " t"], similarity: Float[np.ndarray, "t n"], scores: Float[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Pairs (known track, person) of the greatest total likeness, where a pair that is too unlike is worth as little as no pair."""
        tracks = self._tracks
        handicap = WEAK * (scores < self._strong)[None] + DOUBTFUL * (tracks.trust[known] < self._strong)[:, None]
        least = self._min_similarity + MISSED * (tracks.seen[known] < self._last)[:, None]
        value = np.where(similarity > least, np.maximum(similarity - handicap, 1e-6), 0.0)
        rows, columns = assign(-value)
        fits = value[rows, columns] > 0
        return rows[fits], columns[fits]

    def _new(self, people: People, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Rows of those without an id who are somebody: confident, with a body, and neither a piece nor a second sight of a person known.

        A confident detection over a weak one that fitted a track better is a second sight of that body.
        """
        new = np.flatnonzero((people.scores >= self._strong) & (ids < 0) & believable(people, self._skeleton))
        if len(new) and (ids >= 0).any():
            pieces = parts_of(people, self._skeleton) | within_others(people, self._skeleton)
            new = new[~pieces[np.ix_(new, np.flatnonzero(ids >= 0))].any(1)]
            weak = (ids >= 0) & (people.scores < self._strong)
            new = new[~(iou(people.boxes[new], people.boxes[weak]) > SECOND).any(1)]
        return new

    def _started(self, time: float, people: People, looks: Float[np.ndarray, "n d"]) -> Tracks:
        ids = np.arange(self._next_id, self._next_id + len(people))
        self._next_id += len(people)
        return Tracks.started(ids, time, people.boxes, people.scores, *self._pose(people), looks)

    def _pose(self, people: People) -> tuple[np.ndarray, np.ndarray]:
        return people.keypoints[:, self._points], people.confidence[:, self._points]

    def _see(self, rows: np.ndarray, time: float, people: People, of_person: np.ndarray, looks: Float[np.ndarray, "n d"]) -> None:
        if not len(rows):
            return
        seen, tracks = people[of_person], self._tracks
        tracks.see(rows, time, seen.boxes, seen.scores, *self._pose(seen))
        if looks.any():
            crowded = iou(people.boxes, people.boxes) - np.eye(len(people)) > CROWDED
            clear = looks.any(1) & ~crowded.any(1)
            first = looks.any(1)[of_person] & ~tracks.look[rows].any(1)
            pace = np.where(first, 1.0, np.where(clear[of_person], LOOK_PACE, 0.0))[:, None]
            tracks.look[rows] = unit(tracks.look[rows] + pace * (looks[of_person] - tracks.look[rows]))

    def _looks(self, image: np.ndarray | None, people: People) -> Float[np.ndarray, "n d"]:
        """Unit vectors, or zeros where nobody looked."""
        length = self._tracks.look.shape[1]
        if self._appearance is None or image is None or not len(people):
            return np.zeros((len(people), length))
        looks = looks_of(self._appearance, image, people.boxes)
        if length == 0:
            self._tracks.look = np.zeros((len(self._tracks), looks.shape[1]))
        elif looks.shape[1] != length:
            raise VitruvianError(f"the appearance hook answered {looks.shape[1]} numbers a person after {length}; keep to one length")
        return looks

    def _learn(self, of_track: np.ndarray, of_person: np.ndarray, sure: Bool[np.ndarray, " m"], looks: Float[np.ndarray, "n d"]) -> None:
        """What the same person's looks and different people's have in common."""
        both = sure & self._tracks.look[of_track].any(1) & looks[of_person].any(1)
        cosine = self._tracks.look[of_track[both]] @ looks[of_person[both]].T
        same = np.eye(len(cosine), dtype=bool)
        self._familiarity.learn(cosine[same], cosine[~same])

    def _returning(
        self, time: float, people: People, looks: Float[np.ndarray, "n d"]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """Pairs (track, person) of people who were not found where they were expected.

        They come back near that place and of the same size, or are recognised by their looks wherever they could be by now.
        """
        tracks, boxes = self._tracks, people.boxes.astype(np.float64)
        gone = np.flatnonzero((tracks.seen < time) & (tracks.sightings >= PROBATION) & (tracks.trust >= self._strong))
        if not (len(gone) and len(people)):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        tracks = tracks[gone]
        gap, expected = (time - tracks.seen)[:, None], tracks.whole_at(time)
        ratio = np.log(sizes(boxes) / sizes(expected)[:, None])
        larger = np.maximum(sizes(boxes), sizes(expected)[:, None])
        distance = np.linalg.norm(centres(expected)[:, None] - centres(boxes), axis=-1) / larger
        near = np.exp(-0.5 * (distance / (STRAYING[0] + STRAYING[1] * gap)) ** 2 - 0.5 * (ratio / RESIZING) ** 2)
        value = np.where(gap <= self._max_age, near - STRAYED, -1)
        if looks.any():
            both = tracks.look.any(1)[:, None] & looks.any(1)
            alike = self._familiarity.likeness(tracks.look @ looks.T)
            recognised = np.where(distance < 0.5 + FASTEST * gap, alike - RETURNED, -1)
            value = np.where(both, np.where(alike < 0.5, -1, np.maximum(value, recognised)), value)
        rows, columns = assign(-np.maximum(value, 0))
        fits = value[rows, columns] > 0
        return gone[rows[fits]], columns[fits]

    def _return(self, rows: np.ndarray, time: float, people: People, looks: Float[np.ndarray, "n d"]) -> None:
        """Start the motion of these tracks afresh, under the same id and looks."""
        before, tracks = self._tracks[rows], self._tracks
        tracks[rows] = Tracks.started(before.id, time, people.boxes, people.scores, *self._pose(people), before.look)
        tracks.sightings[rows] = before.sightings + 1


def _check(tracks: Tracks, blank: Tracks) -> None:
    """Raise ValueError where the columns do not fit each other, or those of `blank`, or hold what no track holds."""
    for field in fields(Tracks):
        column, like = getattr(tracks, field.name), getattr(blank, field.name)
        fits = column.ndim == like.ndim and len(column) == len(tracks) and (field.name == "look" or column.shape[1:] == like.shape[1:])
        if not fits:
            raise ValueError(f"tracks/{field.name} has the shape {column.shape}")
        if field.name != "keypoints" and not np.isfinite(column).all():
            raise ValueError(f"tracks/{field.name} is not finite")


def _grown_overlap(a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"], grow: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of every pair after both boxes have grown on each side by the share `grow` of their width and height."""
    outwards, grow = np.array([-1, -1, 1, 1]), grow[:, None]
    a = a + grow * outwards * np.tile(a[:, 2:] - a[:, :2], 2)
    b = b[None] + grow[..., None] * outwards * np.tile(b[:, 2:] - b[:, :2], 2)
    low, high = np.maximum(a[:, None, :2], b[..., :2]), np.minimum(a[:, None, 2:], b[..., 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    union = area(a)[:, None] + area(b) - inter
    return inter / np.maximum(union, 1e-9)
