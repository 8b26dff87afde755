"""How good are ids over time: identity scores (IDF1), CLEAR MOT (MOTA, id switches) and HOTA.

Sources: Ristani et al., ECCV workshops 2016 (IDF1); Bernardin and Stiefelhagen, EURASIP JIVP 2008 (CLEAR); Luiten et al., IJCV 2021
(HOTA). Where papers leave room, the choices are those of TrackEval, the toolkit of the MOT challenges, among them:
- a ratio whose denominator is zero is 0, except the localisation accuracy, which is 1;
- CLEAR keeps last frame's pairs first, and frames without truth or without predictions don't end the run of a track;
- mostly tracked is more than 80 % of a true track's frames, mostly lost less than 20 %;
- HOTA pairs within each frame once for all thresholds, by similarity times the agreement of the two tracks over the whole sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import area, iou
from vitruvian.metrics.keypoints import oks
from vitruvian.take import People

ALPHAS = np.arange(1, 20) * 0.05
"""(19,) the similarities at which HOTA counts a pair as found."""
_KEPT = 1000.0  # bonus of last frame's pair in CLEAR, above any sum of similarities within a frame
_EPSILON = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame as the metrics see it: who is there, who was found, and how alike they are.

    truth: (n,) and predicted: (m,) ids. similarity: (n, m) in [0, 1].
    """

    truth: Int[np.ndarray, " n"]
    predicted: Int[np.ndarray, " m"]
    similarity: Float[np.ndarray, "n m"]


@dataclass(frozen=True, eq=False)
class Identity:
    """Detections counted under the best one-to-one pairing of true and predicted tracks over the whole sequence."""

    true_positives: int
    false_negatives: int
    false_positives: int

    @property
    def idf1(self) -> float:
        """IDF1: the harmonic mean of precision and recall."""
        return self.true_positives / max(1.0, self.true_positives + 0.5 * (self.false_positives + self.false_negatives))

    @property
    def precision(self) -> float:
        """IDP: share of the predictions that carry the right id."""
        return self.true_positives / max(1, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """IDR: share of the truth that is found under the right id."""
        return self.true_positives / max(1, self.true_positives + self.false_negatives)


@dataclass(frozen=True, eq=False)
class Clear:
    """CLEAR MOT counts.

    switches: how often a true track is found under another id than the last time. fragmentations: how often it is found again after a
    gap. mostly_tracked, partly_tracked, mostly_lost: true tracks by the share of their frames that were found.
    similarity: sum over the found.
    """

    true_positives: int
    false_negatives: int
    false_positives: int
    switches: int
    fragmentations: int
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    similarity: float

    @property
    def mota(self) -> float:
        """MOTA: 1 less misses, false positives and switches per true detection; below 0 where there are more errors than truth."""
        errors = self.false_negatives + self.false_positives + self.switches
        truth = self.true_positives + self.false_negatives
        return (truth - errors) / truth if truth else 0.0

    @property
    def motp(self) -> float:
        """MOTP: the mean similarity of the found."""
        return self.similarity / max(1, self.true_positives)


@dataclass(frozen=True, eq=False)
class Hota:
    """HOTA counts at each of the 19 `ALPHAS`, as (19,) arrays.

    association: sum over the found of how well the two tracks agree over the sequence. similarity: sum over the found.
    """

    true_positives: Float[np.ndarray, " 19"]
    false_negatives: Float[np.ndarray, " 19"]
    false_positives: Float[np.ndarray, " 19"]
    association: Float[np.ndarray, " 19"]
    similarity: Float[np.ndarray, " 19"]

    @property
    def hota(self) -> float:
        """HOTA: the geometric mean of detection and association accuracy, averaged over the thresholds."""
        return float(np.sqrt(self._detections() * self._association()).mean())

    @property
    def detection_accuracy(self) -> float:
        """DetA: found over found, missed and false, averaged over the thresholds."""
        return float(self._detections().mean())

    @property
    def association_accuracy(self) -> float:
        """AssA: how well the tracks of a found pair agree (Jaccard index), averaged over found pairs and thresholds."""
        return float(self._association().mean())

    @property
    def localisation_accuracy(self) -> float:
        """LocA: the mean similarity of the found, averaged over the thresholds; 1 at thresholds where nothing is found."""
        return float((np.maximum(1e-10, self.similarity) / np.maximum(1e-10, self.true_positives)).mean())

    def _detections(self) -> Float[np.ndarray, " 19"]:
        return self.true_positives / np.maximum(1, self.true_positives + self.false_negatives + self.false_positives)

    def _association(self) -> Float[np.ndarray, " 19"]:
        return self.association / np.maximum(1, self.true_positives)


@dataclass(frozen=True, eq=False)
class TrackingScores:
    """All three families for one sequence, or for several together (`together`)."""

    identity: Identity
    clear: Clear
    hota: Hota


Counts = TypeVar("Counts", Identity, Clear, Hota)


def tracking_scores(frames: Sequence[Frame], threshold: float = 0.5) -> TrackingScores:
    """All scores of one sequence. threshold: least similarity of a pair for `identity` and `clear`.

    Raises VitruvianError where a frame names an id twice or its similarity has another shape than its ids.
    """
    frames, sizes = _renumbered(frames)
    return TrackingScores(_identity(frames, sizes, threshold), _clear(frames, sizes, threshold), _hota(frames, sizes))


def together(scores: Sequence[TrackingScores]) -> TrackingScores:
    """The scores of several sequences as of one, by adding their counts (TrackEval's "combined"). No sequence at all gives zeros."""
    scores = [*scores, tracking_scores([])]
    return TrackingScores(_sum([s.identity for s in scores]), _sum([s.clear for s in scores]), _sum([s.hota for s in scores]))


def frames_by_boxes(truth: People, predicted: People, count: int) -> list[Frame]:
    """The `count` frames of a sequence, with intersection over union of the boxes as similarity.

    Rows that are not tracked (-1) are left out.
    """
    return [_frame(true, found, iou(true.boxes, found.boxes)) for true, found in _by_frame(truth, predicted, count)]


def frames_by_keypoints(truth: People, predicted: People, count: int, sigmas: Float[np.ndarray, " k"]) -> list[Frame]:
    """The `count` frames of a sequence, with object keypoint similarity.

    The true keypoints of positive confidence count, on the area of the true box; a true person without any is like nobody.
    Rows that are not tracked (-1) are left out.
    """
    return [_frame(true, found, _pairwise_oks(true, found, sigmas)) for true, found in _by_frame(truth, predicted, count)]


def _by_frame(truth: People, predicted: People, count: int) -> list[tuple[People, People]]:
    tracked = [people[people.track >= 0] for people in (truth, predicted)]
    for people in tracked:
        if len(people) and not (0 <= people.frame.min() and people.frame.max() < count):
            raise VitruvianError(f"people in frames outside 0..{count - 1}: give the number of frames that the sequence has")
    orders = [np.argsort(people.frame, kind="stable") for people in tracked]
    bounds = [np.searchsorted(people.frame[order], np.arange(count + 1)) for people, order in zip(tracked, orders, strict=True)]
    split = [
        [people[order[low:high]] for low, high in zip(bound[:-1], bound[1:], strict=True)]
        for people, order, bound in zip(tracked, orders, bounds, strict=True)
    ]
    return list(zip(*split, strict=True))


def _frame(true: People, found: People, similarity: Float[np.ndarray, "n m"]) -> Frame:
    return Frame(true.track, found.track, similarity)


def _pairwise_oks(true: People, found: People, sigmas: Float[np.ndarray, " k"]) -> Float[np.ndarray, "n m"]:
    row, column = (index.ravel() for index in np.indices((len(true), len(found))))
    visible = (true.confidence > 0) & np.isfinite(true.keypoints).all(-1)
    pairs = oks(found.keypoints[column], true.keypoints[row], visible[row], area(true.boxes)[row], sigmas)
    return np.nan_to_num(pairs).reshape(len(true), len(found))


def _renumbered(frames: Sequence[Frame]) -> tuple[list[Frame], tuple[Float[np.ndarray, " t"], Float[np.ndarray, " p"]]]:
    """The frames with ids from 0 upwards, and the number of detections of each true and each predicted id."""
    for index, frame in enumerate(frames):
        for ids in (frame.truth, frame.predicted):
            if len(np.unique(ids)) < len(ids):
                raise VitruvianError(f"frame {index} has an id twice; the metrics need each person once per frame")
        if np.shape(frame.similarity) != (len(frame.truth), len(frame.predicted)):
            shape = np.shape(frame.similarity)
            raise VitruvianError(f"frame {index}: similarity {shape} for {len(frame.truth)} true and {len(frame.predicted)} predicted ids")
    truth, true_counts = _dense([frame.truth for frame in frames])
    predicted, predicted_counts = _dense([frame.predicted for frame in frames])
    similarities = [np.asarray(frame.similarity, np.float64) for frame in frames]
    return [Frame(*parts) for parts in zip(truth, predicted, similarities, strict=True)], (true_counts, predicted_counts)


def _dense(ids: Sequence[Int[np.ndarray, " n"]]) -> tuple[list[Int[np.ndarray, " n"]], Float[np.ndarray, " t"]]:
    lengths = [len(one) for one in ids]
    flat = np.concatenate([np.asarray(one, np.int64) for one in ids]) if ids else np.zeros(0, np.int64)
    _, dense, counts = np.unique(flat, return_inverse=True, return_counts=True)
    return np.split(dense, np.cumsum(lengths)[:-1]) if ids else [], counts.astype(np.float64)


def _identity(frames: Sequence[Frame], sizes: tuple[np.ndarray, np.ndarray], threshold: float) -> Identity:
    both = np.zeros((len(sizes[0]), len(sizes[1])))
    for frame in frames:
        both[np.ix_(frame.truth, frame.predicted)] += frame.similarity >= threshold
    # Fewest misses plus false positives is the same as most common detections: the sum of both track lengths is fixed.
    found = int(both[_best(both)].sum())
    return Identity(found, int(sizes[0].sum()) - found, int(sizes[1].sum()) - found)


def _clear(frames: Sequence[Frame], sizes: tuple[np.ndarray, np.ndarray], threshold: float) -> Clear:
    people = len(sizes[0])
    newest, last_frame = np.full(people, -1), np.full(people, -1)  # predicted id when last found, and in the last frame (-1: none)
    frames_found, runs = np.zeros(people), np.zeros(people)
    found, switches, similarity = 0, 0, 0.0
    for frame in frames:
        if not (len(frame.truth) and len(frame.predicted)):
            continue
        score = frame.similarity + _KEPT * (frame.predicted[None] == last_frame[frame.truth][:, None])
        score = np.where(frame.similarity < threshold - _EPSILON, 0, score)
        rows, columns = _best(score)
        rows, columns = (index[score[rows, columns] > _EPSILON] for index in (rows, columns))
        true, predicted = frame.truth[rows], frame.predicted[columns]
        switches += int(((newest[true] >= 0) & (newest[true] != predicted)).sum())
        newest[true] = predicted
        runs[true] += last_frame[true] < 0
        last_frame[:] = -1
        last_frame[true] = predicted
        frames_found[true] += 1
        found += len(true)
        similarity += float(frame.similarity[rows, columns].sum())
    share = frames_found / np.maximum(sizes[0], 1)
    mostly, partly = int((share > 0.8).sum()), int(((share >= 0.2) & (share <= 0.8)).sum())
    return Clear(
        true_positives=found,
        false_negatives=int(sizes[0].sum()) - found,
        false_positives=int(sizes[1].sum()) - found,
        switches=switches,
        fragmentations=int(np.maximum(runs - 1, 0).sum()),
        mostly_tracked=mostly,
        partly_tracked=partly,
        mostly_lost=people - mostly - partly,
        similarity=similarity,
    )


def _hota(frames: Sequence[Frame], sizes: tuple[np.ndarray, np.ndarray]) -> Hota:
    true_size, predicted_size = sizes[0][:, None], sizes[1][None]
    shared = np.zeros((len(sizes[0]), len(sizes[1])))
    for frame in frames:
        both = frame.similarity.sum(1, keepdims=True) + frame.similarity.sum(0, keepdims=True) - frame.similarity
        shared[np.ix_(frame.truth, frame.predicted)] += np.divide(frame.similarity, both, out=np.zeros_like(both), where=both > _EPSILON)
    agreement = shared / np.maximum(true_size + predicted_size - shared, _EPSILON)
    pairs = np.zeros((len(ALPHAS), *shared.shape))
    similarity = np.zeros(len(ALPHAS))
    for frame in frames:
        rows, columns = _best(agreement[np.ix_(frame.truth, frame.predicted)] * frame.similarity)
        alike = frame.similarity[rows, columns]
        enough = alike >= ALPHAS[:, None] - _EPSILON
        similarity += (enough * alike).sum(1)
        pairs[:, frame.truth[rows], frame.predicted[columns]] += enough
    found = pairs.sum((1, 2))
    return Hota(
        true_positives=found,
        false_negatives=true_size.sum() - found,
        false_positives=predicted_size.sum() - found,
        association=(pairs * pairs / np.maximum(1, true_size + predicted_size - pairs)).sum((1, 2)),
        similarity=similarity,
    )


def _best(score: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Rows and columns of the one-to-one pairing with the highest sum."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(score, maximize=True)


def _sum(parts: Sequence[Counts]) -> Counts:
    return type(parts[0])(*(sum(getattr(part, field.name) for part in parts) for field in fields(parts[0])))
