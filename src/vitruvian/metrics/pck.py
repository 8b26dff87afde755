"""How many keypoints lie near enough (PCK, PCKh), over all thresholds (AUC), and how far they lie on average (NME).

Each predicted person is given with its own true one. Distances are divided by a length of the person: PCK by the longer side of the box
(Yang and Ramanan, PAMI 2013) or the torso, PCKh by 0.6 of the diagonal of the head's box (Andriluka et al., CVPR 2014), a face's NME by the
distance of the outer corners of the eyes, or whatever the data set says. A point exactly at the threshold counts as near.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import MPII_16

HEAD = 0.6
"""Share of the diagonal of the head's box that is PCKh's unit (the published evaluation's bias)."""
MPII_GROUPS: Mapping[str, tuple[str, ...]] = {
    "head": ("head_top",),
    "shoulder": ("left_shoulder", "right_shoulder"),
    "elbow": ("left_elbow", "right_elbow"),
    "wrist": ("left_wrist", "right_wrist"),
    "hip": ("left_hip", "right_hip"),
    "knee": ("left_knee", "right_knee"),
    "ankle": ("left_ankle", "right_ankle"),
}
_MPII_LEFT_OUT = ("pelvis", "thorax")  # of the mean


def normalised_distances(
    pred: Float[np.ndarray, "n k 2"], truth: Float[np.ndarray, "n k 2"], visible: Bool[np.ndarray, "n k"], unit: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n k"]:
    """Distances in units of each person's length; NaN where not annotated or the unit is not positive, infinite where pred is NaN.

    Raises VitruvianError where shapes differ.
    """
    pred, truth, unit = (np.asarray(values, np.float64) for values in (pred, truth, unit))
    visible = np.asarray(visible, bool)
    if pred.shape != truth.shape or visible.shape != pred.shape[:-1] or unit.shape != pred.shape[:1] or pred.ndim != 3:
        shapes = ", ".join(str(values.shape) for values in (pred, truth, visible, unit))
        raise VitruvianError(f"keypoints (n, k, 2) twice, visible (n, k) and a length (n,) are needed, got {shapes}")
    usable = visible & (unit > 0)[:, None]
    distance = np.linalg.norm(pred - truth, axis=-1)
    distance = np.where(np.isnan(distance), np.inf, distance)
    return np.where(usable, distance / np.where(unit > 0, unit, 1.0)[:, None], np.nan)


def box_unit(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """PCK's unit: the longer side of the box."""
    return np.asarray(boxes[:, 2:] - boxes[:, :2], np.float64).max(axis=1)


def head_unit(heads: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """PCKh's unit: 0.6 of the diagonal of the head's box; NaN boxes give NaN, and count nowhere."""
    return HEAD * np.linalg.norm(np.asarray(heads[:, 2:] - heads[:, :2], np.float64), axis=1)


def points_unit(truth: Float[np.ndarray, "n k 2"], first: int, second: int) -> Float[np.ndarray, " n"]:
    """The distance of two true points: shoulder and opposite hip for a torso, outer corners of the eyes for a face."""
    return np.linalg.norm(np.asarray(truth[:, first] - truth[:, second], np.float64), axis=1)


def pck(distances: Float[np.ndarray, "n k"], threshold: float = 0.2) -> Float[np.ndarray, " k"]:
    """The share of each keypoint's annotated instances within the threshold, in [0, 1]; NaN for a point nobody annotated."""
    return _shares(distances, np.array([threshold]))[0]


def auc(distances: Float[np.ndarray, "n k"], limit: float = 0.5, steps: int = 20) -> Float[np.ndarray, " k"]:
    """Mean of the PCK at `steps` thresholds from limit / steps to `limit`, by keypoint: the area under its curve up to the limit."""
    return _shares(distances, np.arange(1, steps + 1) * (limit / steps)).mean(axis=0)


def nme(distances: Float[np.ndarray, "n k"]) -> float:
    """The mean distance over all annotated points; NaN where there is none, infinite where one was not found."""
    values = distances[~np.isnan(distances)]
    return float(values.mean()) if values.size else float("nan")


def mean_share(distances: Float[np.ndarray, "n k"], threshold: float = 0.2, keypoints: Sequence[int] | slice = slice(None)) -> float:
    """The share of all annotated instances of some keypoints within the threshold; NaN where there is none."""
    values = distances[:, keypoints]
    values = values[~np.isnan(values)]
    return float((values <= threshold).mean()) if values.size else float("nan")


def mpii_pckh(
    pred: Float[np.ndarray, "n 16 2"],
    truth: Float[np.ndarray, "n 16 2"],
    visible: Bool[np.ndarray, "n 16"],
    heads: Float[np.ndarray, "n 4"],
    threshold: float = 0.5,
) -> dict[str, float]:
    """MPII's table of PCKh in [0, 1]: head, shoulder, elbow, wrist, hip, knee, ankle, and the mean.

    A pair's value is the mean of both sides'. The mean is over instances of all points but pelvis and thorax [mem]. Raises as
    `normalised_distances`.
    """
    distances = normalised_distances(pred, truth, visible, head_unit(heads))
    by_point = pck(distances, threshold)
    table = {group: float(np.mean([by_point[MPII_16.index(name)] for name in names])) for group, names in MPII_GROUPS.items()}
    kept = [i for i, name in enumerate(MPII_16.names) if name not in _MPII_LEFT_OUT]
    return table | {"mean": mean_share(distances, threshold, kept)}


def _shares(distances: Float[np.ndarray, "n k"], thresholds: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t k"]:
    count = (~np.isnan(distances)).sum(axis=0)
    near = (distances[None] <= thresholds[:, None, None]).sum(axis=1)
    return np.divide(near, count, out=np.full(near.shape, np.nan), where=count > 0)
