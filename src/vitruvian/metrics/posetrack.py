"""PoseTrack's mAP: average precision of single joints after giving predicted people to true ones by PCKh (Andriluka et al., CVPR 2018).

In each picture a predicted person is given to the true one of whose joints it has most within half of the head's size; of several that want
the same one, the one with most joints gets it. A joint found there is right if it is near enough; joints of people who were given to nobody
are false. AP is the area under the precision-recall curve of each joint, over all pictures.

From memory of the published evaluation (poseval) [mem]: the head's size is 0.6 of its box's diagonal; the first of equals wins; precision
is made monotonic. Predictions within ignored regions must be taken out before. Its MOTA is not computed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.metrics.pck import head_unit
from vitruvian.skeletons import POSETRACK_15

THRESHOLD = 0.5
GROUPS: Mapping[str, tuple[str, ...]] = {
    "head": ("head_bottom", "nose", "head_top"),
    "shoulder": ("left_shoulder", "right_shoulder"),
    "elbow": ("left_elbow", "right_elbow"),
    "wrist": ("left_wrist", "right_wrist"),
    "hip": ("left_hip", "right_hip"),
    "knee": ("left_knee", "right_knee"),
    "ankle": ("left_ankle", "right_ankle"),
}
K = len(POSETRACK_15)


@dataclass(frozen=True, eq=False)
class TrackedPicture:
    """One picture, in the order of POSETRACK_15. truth: (g, 15, 2) pixels, NaN where not annotated. heads: (g, 4) xyxy boxes.

    found: (p, 15, 2) pixels, NaN where a joint was not found. scores: (p, 15).
    """

    truth: Float[np.ndarray, "g 15 2"]
    heads: Float[np.ndarray, "g 4"]
    found: Float[np.ndarray, "p 15 2"]
    scores: Float[np.ndarray, "p 15"]

    def __post_init__(self) -> None:
        g, p = len(self.truth), len(self.found)
        wanted = {"truth": (g, K, 2), "heads": (g, 4), "found": (p, K, 2), "scores": (p, K)}
        for name, shape in wanted.items():
            if np.shape(getattr(self, name)) != shape:
                raise VitruvianError(f"TrackedPicture.{name} needs the shape {shape}, got {np.shape(getattr(self, name))}")


def posetrack_average_precision(pictures: Iterable[TrackedPicture]) -> dict[str, float]:
    """AP in [0, 1] of head, shoulder, elbow, wrist, hip, knee and ankle, and their mean over the 15 joints; NaN where nobody is annotated.

    Raises VitruvianError for a head without size: its person can't be compared.
    """
    scores: list[list[np.ndarray]] = [[] for _ in range(K)]
    right: list[list[np.ndarray]] = [[] for _ in range(K)]
    count = np.zeros(K)
    for picture in pictures:
        near, there = _right_joints(picture)
        count += (~np.isnan(picture.truth).any(axis=-1)).sum(axis=0)
        for joint in range(K):
            rows = there[:, joint]
            scores[joint].append(np.asarray(picture.scores, np.float64)[rows, joint])
            right[joint].append(near[rows, joint])
    by_joint = np.array([_area(scores[joint], right[joint], count[joint]) for joint in range(K)])
    table = {group: _mean(by_joint[[POSETRACK_15.index(name) for name in names]]) for group, names in GROUPS.items()}
    return table | {"mean": _mean(by_joint)}


def _right_joints(picture: TrackedPicture) -> tuple[Bool[np.ndarray, "p 15"], Bool[np.ndarray, "p 15"]]:
    """Which joints of which predictions are right, and which count: found joints, without those of a true person that nobody annotated."""
    found, truth = np.asarray(picture.found, np.float64), np.asarray(picture.truth, np.float64)
    there = ~np.isnan(found).any(axis=-1)
    if not len(truth) or not len(found):
        return np.zeros(there.shape, bool), there
    size = head_unit(np.asarray(picture.heads, np.float64))
    if not (size > 0).all():
        raise VitruvianError("a person's head has no size: leave that person out, or give the head's box")
    annotated = ~np.isnan(truth).any(axis=-1)
    distance = np.linalg.norm(found[:, None] - truth[None], axis=-1) / size[None, :, None]
    near = distance <= THRESHOLD  # NaN is not
    share = near.sum(axis=-1) / np.maximum(annotated.sum(axis=-1), 1)[None]  # (p, g)
    best = share.argmax(axis=1)
    wanted = np.where(np.arange(len(truth))[None] == best[:, None], share, 0.0)
    owner = np.where(wanted.max(axis=0) > 0, wanted.argmax(axis=0), -1)  # of each true person
    right = np.zeros(there.shape, bool)
    for person in np.flatnonzero(owner >= 0):
        right[owner[person]] = near[owner[person], person]
        there[owner[person]] &= annotated[person]
    return right, there


def _area(scores: list[np.ndarray], right: list[np.ndarray], count: float) -> float:
    """Area under one joint's monotonic precision over recall."""
    if not count:
        return float("nan")
    every, hits = np.concatenate(scores), np.concatenate(right)
    order = np.argsort(-every, kind="stable")
    hits = np.cumsum(hits[order], dtype=np.float64)
    recall = np.concatenate([[0.0], hits / count, [1.0]])
    precision = np.concatenate([[0.0], hits / np.arange(1, len(hits) + 1), [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * precision[1:]).sum())


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
