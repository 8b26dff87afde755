"""Tracks that are one person: made one, once the film is known.

A detector sees somebody who leans far over as a whole and as half a person, and the tracker follows both. In a single frame a half person
may be somebody behind; but who has the same joints in most frames in which both are seen is the same. The rule and its numbers are ours:
on the films at hand such pairs agree in 0.58 to 0.75 of their sure joints, people who hide each other in 0.14 at most.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from vitruvian.geometry.boxes import shared
from vitruvian.people.similarity import comparison_points
from vitruvian.take import Take

_SHARED = 3  # frames with both that must tell
_WITHIN = 0.7  # of the smaller box that lies in the larger one, in the median frame
_AGREE = 0.5  # of the joints that both are sure of, in the median frame
_NEAR = 0.05  # of the taller box's height: joints that are nearer to each other are one
_SURE = 0.5  # confidence of such a joint


def merge_twins(take: Take) -> Take:
    """The take with tracks that are one person under one id, the smaller. Of the rows of their common frames those of the track are left
    whose body is surer there: of a half person's other half a network is not sure. Rows without a track stay as they are.
    """
    points, _ = comparison_points(take.skeleton)
    sure = np.nan_to_num(take.people.confidence[:, points]).mean(1)
    ids = take.people.track.copy()
    keep = np.ones(len(ids), bool)
    for first, second in combinations(take.tracks.tolist(), 2):
        rows = [np.flatnonzero((ids == track) & keep) for track in (first, second)]
        frames = [take.people.frame[each] for each in rows]
        if not all(map(len, rows)) or frames[0].max() < frames[1].min() or frames[1].max() < frames[0].min():
            continue
        both, *places = np.intersect1d(*frames, return_indices=True)
        common = [each[place] for each, place in zip(rows, places, strict=True)]
        if len(both) >= _SHARED and _are_one(take, *common):
            keep[min(common, key=lambda each: sure[each].mean())] = False
            ids[rows[1]] = first
    return take if keep.all() and (ids == take.people.track).all() else replace(take, people=replace(take.people, track=ids)[keep])


def _are_one(take: Take, a: Int[np.ndarray, " f"], b: Int[np.ndarray, " f"]) -> bool:
    """Whether rows of the same frames are the same person."""
    people, (points, _) = take.people, comparison_points(take.skeleton)
    boxes = [people.boxes[rows].astype(np.float64) for rows in (a, b)]
    if np.median(shared(*boxes)) < _WITHIN:
        return False
    return _agreement(people.keypoints[:, points], people.confidence[:, points], a, b, boxes) >= _AGREE


def _agreement(keypoints: np.ndarray, confidence: np.ndarray, a: np.ndarray, b: np.ndarray, boxes: list[Float[np.ndarray, "f 4"]]) -> float:
    """The share of joints sure in both that are in one place, in the median of the frames that tell; 0 where too few do."""
    height = np.maximum(*(box[:, 3] - box[:, 1] for box in boxes))
    sure = (confidence[a] >= _SURE) & (confidence[b] >= _SURE)
    near = sure & (np.linalg.norm(keypoints[a] - keypoints[b], axis=-1) < _NEAR * height[:, None])
    tells = sure.sum(1) >= _SHARED
    return float(np.median(near[tells].sum(1) / sure[tells].sum(1))) if tells.sum() >= _SHARED else 0.0
