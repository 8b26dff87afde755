"""Errors of poses in 3D: the MPJPE family, PCK and AUC, PCP of limbs, and precision over people (cards finepose, selfpose3d, multi-hmr).

Points are metres, K per pose, any leading axes; results are metres too (tables print millimetres), one per pose: take the mean over what
your protocol averages over, and say what that is. `visible`: which points count. A predicted NaN counts as infinitely far; a true NaN
does not count. A pose without a point that counts gives NaN, and so does an error over nobody.

| metric | protocol |
|---|---|
| `mpjpe` with `root` | Human3.6M P1, 3DPW: mean distance after both roots are put at 0 |
| `pa_mpjpe` | P2: after the similarity (no mirror) that fits best, per pose |
| `n_mpjpe` | P3: after the scale that fits best; both roots at 0 |
| `mpjve` | mean distance of velocities, metres per frame |
| `pck`, `auc` | MPI-INF-3DHP, MuPoTS: share of points nearer than 150 mm; mean of the shares at 0, 5 ... 150 mm; strictly nearer |
| `pcp3d` | Shelf, Campus: ten limbs, both ends off by no more than half the limb in the mean |
| `precision_over_people` | CMU Panoptic: AP and recall at 25 ... 150 mm, MPJPE of matches under 500 mm, recall at 500 mm |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.alignment import align

PCK_LIMIT = 0.150
AUC_LIMITS = np.arange(31) * 5e-3
"""0, 5 ... 150 mm, in metres; at 0 nothing is nearer, so that a perfect pose has an AUC of 30 / 31."""
AP_LIMITS = (0.025, 0.050, 0.075, 0.100, 0.125, 0.150)
MATCH_LIMIT = 0.500
INF_3DHP_POINTS = (0, 1, 2, 5, 3, 6, 4, 7, 8, 11, 9, 12, 10, 13)
"""MPI-INF-3DHP's 14 of 17 for PCK and AUC: head, neck, then pairs of shoulders, elbows, wrists, hips, knees, ankles."""
SHELF_LIMBS = ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (12, 13))
"""Of the 14 points of Shelf and Campus; the tenth limb goes from the middle of the hips (2, 3) to the bottom of the head (12)."""


def mpjpe(
    pred: Float[np.ndarray, "*n k 3"],
    truth: Float[np.ndarray, "*n k 3"],
    visible: Bool[np.ndarray, "*n k"] | None = None,
    root: int | Sequence[int] | None = None,
) -> Float[np.ndarray, "*n"]:
    """Mean distance of a pose's points. root: the point (or several, their mean) that both poses are moved to 0 by; None moves nothing."""
    pred, truth, counts = _checked(pred, truth, visible)
    return _mean(np.linalg.norm(_rooted(pred, root) - _rooted(truth, root), axis=-1), counts)


def pa_mpjpe(
    pred: Float[np.ndarray, "*n k 3"], truth: Float[np.ndarray, "*n k 3"], visible: Bool[np.ndarray, "*n k"] | None = None
) -> Float[np.ndarray, "*n"]:
    """Mean distance after each pose's own scale, rotation and translation. With fewer than three points that count it says little."""
    pred, truth, counts = _checked(pred, truth, visible)
    moved = align(pred, truth, counts.astype(np.float64))(pred)
    return _mean(np.linalg.norm(moved - truth, axis=-1), counts)


def n_mpjpe(
    pred: Float[np.ndarray, "*n k 3"],
    truth: Float[np.ndarray, "*n k 3"],
    visible: Bool[np.ndarray, "*n k"] | None = None,
    root: int | Sequence[int] | None = 0,
) -> Float[np.ndarray, "*n"]:
    """Mean distance after each pose's own scale (least squares) about the root."""
    pred, truth, counts = _checked(pred, truth, visible)
    pred, truth = _rooted(pred, root), _rooted(truth, root)
    known = (counts & np.isfinite(pred).all(-1))[..., None]
    here, there = np.where(known, pred, 0.0), np.where(known, truth, 0.0)
    size = (here * here).sum((-1, -2))
    scale = np.divide((here * there).sum((-1, -2)), size, out=np.ones_like(size), where=size > 0)
    return _mean(np.linalg.norm(scale[..., None, None] * pred - truth, axis=-1), counts)


def mpjve(
    pred: Float[np.ndarray, "*n f k 3"], truth: Float[np.ndarray, "*n f k 3"], visible: Bool[np.ndarray, "*n f k"] | None = None
) -> Float[np.ndarray, "*n"]:
    """Mean distance between the changes from frame to frame, metres per frame; a point counts where both its frames do."""
    pred, truth, counts = _checked(pred, truth, visible)
    if pred.ndim < 3:
        raise VitruvianError(f"mpjve needs poses over time, (..., f, k, 3), not {pred.shape}")
    pairs = counts[..., 1:, :] & counts[..., :-1, :]
    off = np.linalg.norm(np.diff(pred, axis=-3) - np.diff(truth, axis=-3), axis=-1)
    return _mean(off.reshape(*off.shape[:-2], -1), pairs.reshape(*off.shape[:-2], -1))


def pck(
    pred: Float[np.ndarray, "*n k 3"],
    truth: Float[np.ndarray, "*n k 3"],
    visible: Bool[np.ndarray, "*n k"] | None = None,
    root: int | Sequence[int] | None = None,
    limit: float = PCK_LIMIT,
) -> Float[np.ndarray, "*n"]:
    """Share of a pose's points that are off by less than `limit` metres."""
    return _shares(pred, truth, visible, root, np.array([limit]))[..., 0]


def auc(
    pred: Float[np.ndarray, "*n k 3"],
    truth: Float[np.ndarray, "*n k 3"],
    visible: Bool[np.ndarray, "*n k"] | None = None,
    root: int | Sequence[int] | None = None,
    limits: Float[np.ndarray, " t"] = AUC_LIMITS,
) -> Float[np.ndarray, "*n"]:
    """Mean of `pck` over `limits`."""
    return _shares(pred, truth, visible, root, np.asarray(limits)).mean(-1)


def pcp3d(pred: Float[np.ndarray, "*n 14 3"], truth: Float[np.ndarray, "*n 14 3"], alpha: float = 0.5) -> Bool[np.ndarray, "*n 10"]:
    """Which of the ten limbs of Shelf and Campus are right: the mean error of the two ends is at most `alpha` times the true length.

    The points: right ankle, knee, hip, left hip, knee, ankle, right wrist, elbow, shoulder, left shoulder, elbow, wrist, bottom and top
    of the head.
    """
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    if pred.shape != truth.shape or pred.shape[-2:] != (14, 3):
        raise VitruvianError(f"pcp3d needs poses (..., 14, 3) in the order of Shelf, got {pred.shape} and {truth.shape}")
    pred, truth = (np.concatenate([p, p[..., 2:4, :].mean(-2, keepdims=True)], -2) for p in (pred, truth))
    a, b = np.array((*SHELF_LIMBS, (14, 12))).T
    off = np.linalg.norm(pred - truth, axis=-1)
    length = np.linalg.norm(truth[..., a, :] - truth[..., b, :], axis=-1)
    return (off[..., a] + off[..., b]) / 2 <= alpha * length


def pcp3d_of_actors(
    found: Sequence[Float[np.ndarray, "m 14 3"]], truth: Sequence[Float[np.ndarray, "a 14 3"]], alpha: float = 0.5
) -> Float[np.ndarray, " a"]:
    """Share of right limbs of each actor over frames; published averages are of the first three. NaN for one who never appears.

    truth: per frame, an actor who is absent is all NaN. Each is compared with the found pose that is nearest in the mean, which may serve
    several actors; a frame in which nobody is found counts as all limbs wrong.
    """
    if len(found) != len(truth) or len({len(actors) for actors in truth}) > 1:
        raise VitruvianError(f"{len(found)} frames found and {len(truth)} true ones: give each frame, with all actors (absent ones NaN)")
    right = np.zeros((len(truth[0]) if len(truth) else 0, 2))
    for poses, actors in zip(found, truth, strict=True):
        present = np.isfinite(actors).all((-1, -2))
        right[present, 1] += len(SHELF_LIMBS) + 1
        if len(poses) and present.any():
            off = np.linalg.norm(np.asarray(poses)[None] - actors[present][:, None], axis=-1).mean(-1)
            nearest = np.asarray(poses)[np.nan_to_num(off, nan=np.inf).argmin(1)]
            right[present, 0] += pcp3d(nearest, actors[present], alpha).sum(-1)
    return np.divide(right[:, 0], right[:, 1], out=np.full(len(right), np.nan), where=right[:, 1] > 0)


@dataclass(frozen=True, eq=False)
class PeopleScores:
    """ap, recall: by limit in metres, in [0, 1]. mpjpe: metres, of the first match of each person under 500 mm. recall500: in [0, 1].

    NaN where there is nobody to find, and for `mpjpe` where nobody was.
    """

    ap: Mapping[float, float]
    recall: Mapping[float, float]
    mpjpe: float
    recall500: float


def precision_over_people(
    found: Sequence[Float[np.ndarray, "m k 3"]],
    scores: Sequence[Float[np.ndarray, " m"]],
    truth: Sequence[Float[np.ndarray, "p k 3"]],
    visible: Sequence[Bool[np.ndarray, "p k"]] | None = None,
    limits: Sequence[float] = AP_LIMITS,
) -> PeopleScores:
    """VoxelPose's protocol for CMU Panoptic, over frames: found poses with scores against true ones.

    Every found pose is compared with the true person it is nearest to (mean over that person's visible points); the surest first, it is
    right at a limit if it is nearer than that and the person is not taken. AP is the area under the interpolated precision. People
    without a visible point are left out, and nobody is missed by being in a frame where nothing is found (published loops skip it).
    """
    if not len(found) == len(scores) == len(truth) == (len(truth) if visible is None else len(visible)):
        raise VitruvianError("give found poses, scores and true poses for the same frames")
    error, person, total = [], [], 0
    for frame, (poses, actors) in enumerate(zip(found, truth, strict=True)):
        seen = np.isfinite(actors).all(-1) if visible is None else np.asarray(visible[frame], bool) & np.isfinite(actors).all(-1)
        actors, seen = np.asarray(actors)[seen.any(-1)], seen[seen.any(-1)]
        shape = (len(poses), *actors.shape)
        off = mpjpe(np.broadcast_to(np.asarray(poses)[:, None], shape), np.broadcast_to(actors, shape), np.broadcast_to(seen, shape[:-1]))
        error.append(off.min(1, initial=np.inf))
        person.append(off.argmin(1) + total if len(actors) else np.full(len(poses), -1))
        total += len(actors)
    order = np.argsort(-np.concatenate([np.zeros(0), *scores]), kind="stable")
    error, person = np.concatenate([np.zeros(0), *error])[order], np.concatenate([np.zeros(0, int), *person])[order].astype(int)
    curves = {limit: _curve(error < limit, person, total) for limit in limits}
    first = _first(error < MATCH_LIMIT, person)
    return PeopleScores(
        {limit: ap for limit, (ap, _) in curves.items()},
        {limit: recall for limit, (_, recall) in curves.items()},
        float(error[first].mean()) if first.any() else np.nan,
        float(first.sum() / total) if total else np.nan,
    )


def _first(near: Bool[np.ndarray, " n"], person: np.ndarray) -> Bool[np.ndarray, " n"]:
    """The first near pose of each person, in the given order."""
    first = np.zeros(len(near), bool)
    rows = np.flatnonzero(near)
    first[rows[np.unique(person[rows], return_index=True)[1]]] = True
    return first


def _curve(near: Bool[np.ndarray, " n"], person: np.ndarray, total: int) -> tuple[float, float]:
    """Average precision, and the recall of all that was found."""
    if not total:
        return np.nan, np.nan
    hits = np.cumsum(_first(near, person))
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * envelope).sum()), float(recall[-1]) if len(recall) else 0.0


def _shares(
    pred: np.ndarray, truth: np.ndarray, visible: np.ndarray | None, root: int | Sequence[int] | None, limits: np.ndarray
) -> np.ndarray:
    pred, truth, counts = _checked(pred, truth, visible)
    off = np.linalg.norm(_rooted(pred, root) - _rooted(truth, root), axis=-1)
    near = np.nan_to_num(off, nan=np.inf)[..., None] < limits
    return np.stack([_mean(near[..., i].astype(np.float64), counts) for i in range(len(limits))], -1)


def _checked(pred: np.ndarray, truth: np.ndarray, visible: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In float64, and which points count."""
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    counts = np.isfinite(truth).all(-1)
    if visible is not None:
        counts = counts & np.asarray(visible, bool) if np.shape(visible) == counts.shape else np.zeros(0)
    if pred.shape != truth.shape or pred.ndim < 2 or pred.shape[-1] != 3 or counts.shape != pred.shape[:-1]:
        raise VitruvianError(f"poses of {pred.shape} and {truth.shape}, visible {np.shape(visible)}: give (..., k, 3) twice and (..., k)")
    return pred, truth, counts


def _rooted(points: np.ndarray, root: int | Sequence[int] | None) -> np.ndarray:
    if root is None:
        return points
    return points - points[..., np.atleast_1d(root), :].mean(-2, keepdims=True)


def _mean(off: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what counts; NaN among it is infinitely far."""
    number = counts.sum(-1)
    total = np.where(counts, np.nan_to_num(off, nan=np.inf, posinf=np.inf), 0.0).sum(-1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
