"""How good are meshes: errors of vertices by part, and of everybody in pictures, where some are missed (cards osx, multi-hmr, section 7).

Meshes are metres, registered vertex by vertex to the truth; results are metres too (tables print millimetres), one per mesh: take the mean
over what your protocol averages over. A predicted NaN counts as infinitely far. Errors of joints are `metrics.poses3d`.

| metric | protocol |
|---|---|
| `vertex_errors` PVE | mean distance of a part's vertices, after both meshes are moved to put the part's root at 0: pelvis, wrists, neck |
| `vertex_errors` PA-PVE | after the similarity (no mirror) that fits the part best |
| `finger_errors` | mean distance of a finger's joints, about the wrist, or after the rigid motion that fits the whole hand best [ours] |
| hands | mean of the two hands, each about its own wrist (EHF, UBody, AGORA) |
| `crowd_scores` MVE, MPJPE | mean over the people that were found, about the pelvis |
| `crowd_scores` NMVE, NMJE | the same divided by the F1 of finding people (AGORA) |
| `match_people` | who was found: the nearest in the picture first, boxes with IoU of at least 0.05 (Multi-HMR) |
| `depth_order_accuracy` | pairs of people in a picture of which it is said rightly who is nearer, or that they are as far |

None of these sees the truth but to compare with it; PA-PVE takes scale, turn and place from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.geometry.alignment import align
from vitruvian.geometry.boxes import iou
from vitruvian.metrics.poses3d import mpjpe, pa_mpjpe

LEAST_IOU = 0.05
AS_FAR = 0.2
"""Metres: people whose depths differ by less are as far as each other (the threshold of BEV's published metric [mem])."""


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Some vertices of a mesh, and the joint that they are counted from; `vertices` None: all."""

    vertices: Int[np.ndarray, " m"] | None
    root: int


@dataclass(frozen=True, eq=False)
class VertexErrors:
    """Of n meshes: `pve` and `pa_pve` by part, (n,) each, in metres. "hands" is the mean of both hands, where both are among the parts."""

    pve: Mapping[str, Float[np.ndarray, " n"]]
    pa_pve: Mapping[str, Float[np.ndarray, " n"]]


def whole_body_parts(
    joint_names: Sequence[str],
    left_hand: Int[np.ndarray, " l"],
    right_hand: Int[np.ndarray, " r"],
    face: Int[np.ndarray, " f"],
    num_vertices: int,
) -> dict[str, MeshPart]:
    """The parts of the published protocols: all and body from the pelvis, hands from their wrists, face from the neck.

    Vertex numbers are those of the user's files (the published lists for hands and face of SMPL-X come with the body model); the body is
    what is neither. Raises VitruvianError where a joint is missing or a vertex is not in the mesh.
    """
    roots = {name: name for name in ("pelvis", "left_wrist", "right_wrist", "neck")}
    missing = [name for name in roots if name not in joint_names]
    if missing:
        raise VitruvianError(f"no joint {missing[0]!r} among {len(joint_names)}: name the joints as SMPL-X does")
    place = {name: list(joint_names).index(name) for name in roots}
    lists = {"left_hand": (left_hand, "left_wrist"), "right_hand": (right_hand, "right_wrist"), "face": (face, "neck")}
    parts = {name: MeshPart(np.asarray(vertices, np.int64), place[root]) for name, (vertices, root) in lists.items()}
    taken = np.concatenate([part.vertices for part in parts.values()])
    if taken.size and not (0 <= taken.min() and taken.max() < num_vertices):
        raise VitruvianError(f"vertices of parts are numbers from 0 to {num_vertices - 1}: check the lists")
    body = np.setdiff1d(np.arange(num_vertices), taken)
    return {"all": MeshPart(None, place["pelvis"]), "body": MeshPart(body, place["pelvis"]), **parts}


def parts_by_weights(vertex_parts: Int[np.ndarray, " v"], part_names: Sequence[str], joint_names: Sequence[str]) -> dict[str, MeshPart]:
    """`whole_body_parts` where no lists are at hand: of each vertex, the part that moves it most (`BodyModel.vertex_parts`) [ours].

    The head as a whole then stands for the face, so that its figures don't compare with published ones.
    """
    found = {name: np.flatnonzero(np.asarray(vertex_parts) == i) for i, name in enumerate(part_names)}
    return whole_body_parts(joint_names, found["left_hand"], found["right_hand"], found["head"], len(vertex_parts))


def vertex_errors(
    pred: Float[np.ndarray, "n v 3"],
    truth: Float[np.ndarray, "n v 3"],
    pred_joints: Float[np.ndarray, "n j 3"],
    true_joints: Float[np.ndarray, "n j 3"],
    parts: Mapping[str, MeshPart],
) -> VertexErrors:
    """PVE and PA-PVE of each part. A part without vertices gives NaN. Raises VitruvianError where shapes don't fit."""
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    pred_joints, true_joints = np.asarray(pred_joints, np.float64), np.asarray(true_joints, np.float64)
    if pred.shape != truth.shape or pred.ndim != 3 or pred_joints.shape != true_joints.shape or len(pred) != len(pred_joints):
        raise VitruvianError(
            f"meshes {pred.shape}, {truth.shape} and joints {pred_joints.shape}, {true_joints.shape} don't fit: give (n, v, 3), (n, j, 3)"
        )
    pve, pa_pve = {}, {}
    for name, part in parts.items():
        chosen = slice(None) if part.vertices is None else part.vertices
        here, there = pred[:, chosen], truth[:, chosen]
        root = slice(part.root, part.root + 1)
        pve[name] = mpjpe(here - pred_joints[:, root], there - true_joints[:, root])
        pa_pve[name] = pa_mpjpe(here, there)
    if {"left_hand", "right_hand"} <= parts.keys():
        for errors in (pve, pa_pve):
            errors["hands"] = (errors["left_hand"] + errors["right_hand"]) / 2
    return VertexErrors(pve, pa_pve)


FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def finger_errors(
    pred_joints: Float[np.ndarray, "n j 3"], true_joints: Float[np.ndarray, "n j 3"], joint_names: Sequence[str], turned: bool = False
) -> dict[str, Float[np.ndarray, " n"]]:
    """Errors of each finger, "left_thumb" to "right_pinky": the mean distance of its joints (left_thumb1, ...) in metres.

    Both hands are moved to have the wrist at 0; `turned`: to where the rigid motion (no scale) of wrist and fingers fits best, so that what
    the arm and the wrist do wrong doesn't count. Fingers without joints are left out. Raises VitruvianError without wrists.
    """
    pred, truth = np.asarray(pred_joints, np.float64), np.asarray(true_joints, np.float64)
    names = list(joint_names)
    if pred.shape != truth.shape or pred.ndim != 3 or pred.shape[1] != len(names) or not {"left_wrist", "right_wrist"} <= set(names):
        raise VitruvianError(
            f"joints {pred.shape}, {truth.shape} with {len(names)} names can't be hands: give (n, j, 3), wrists among them"
        )
    errors = {}
    for side in ("left", "right"):
        wrist = names.index(f"{side}_wrist")
        fingers = {f: [i for i, name in enumerate(names) if name.rstrip("0123456789") == f"{side}_{f}"] for f in FINGERS}
        hand = [wrist, *(i for joints in fingers.values() for i in joints)]
        here, there = (x[:, hand] - x[:, [wrist]] for x in (pred, truth))
        here = align(here, there, scale=False)(here) if turned else here
        gap = dict(zip(hand, np.linalg.norm(here - there, axis=-1).T, strict=True))
        errors |= {f"{side}_{f}": np.mean([gap[i] for i in joints], axis=0) for f, joints in fingers.items() if joints}
    return errors


@dataclass(frozen=True, eq=False)
class PeopleInPictures:
    """People, one per row: the picture of each, its box (xyxy) and keypoints in pixels. `visible`: which keypoints count; None: all."""

    image: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    keypoints: Float[np.ndarray, "n k 2"]
    visible: Bool[np.ndarray, "n k"] | None = None


@dataclass(frozen=True, eq=False)
class Matches:
    """Who was found: rows of the predictions and of the truth that belong together, and the rows that are left over."""

    found: Int[np.ndarray, " m"]
    truth: Int[np.ndarray, " m"]
    false_positives: Int[np.ndarray, " f"]
    missed: Int[np.ndarray, " g"]

    @property
    def precision(self) -> float:
        """Share of predictions that are somebody; NaN where nothing was predicted."""
        return _share(len(self.found), len(self.found) + len(self.false_positives))

    @property
    def recall(self) -> float:
        """Share of people who were found; NaN where there is nobody."""
        return _share(len(self.found), len(self.found) + len(self.missed))

    @property
    def f1(self) -> float:
        """TP / (TP + (FP + FN) / 2); NaN where there is nobody and nothing was predicted."""
        return _share(2 * len(self.found), 2 * len(self.found) + len(self.false_positives) + len(self.missed))


def match_people(pred: PeopleInPictures, truth: PeopleInPictures, least_iou: float = LEAST_IOU) -> Matches:
    """Predictions and people of the same picture, one to one, by the mean distance of the truth's visible keypoints.

    Greedy: of all pairs whose boxes overlap enough the nearest first; ties as the rows come. The card does not say whether pairs or
    predictions are gone through in turn; this order depends on no scores [ours]. Who has no visible keypoint can't be found.
    """
    distance = np.full((len(pred.image), len(truth.image)), np.inf)
    for image in np.intersect1d(pred.image, truth.image):
        rows, people = np.flatnonzero(pred.image == image), np.flatnonzero(truth.image == image)
        near = iou(pred.boxes[rows], truth.boxes[people]) >= least_iou
        gap = np.linalg.norm(np.asarray(pred.keypoints[rows], np.float64)[:, None] - truth.keypoints[people][None], axis=-1)
        counts = np.isfinite(truth.keypoints[people]).all(-1)
        if truth.visible is not None:
            counts &= np.asarray(truth.visible[people], bool)
        total = np.where(counts, np.nan_to_num(gap, nan=np.inf, posinf=np.inf), 0.0).sum(-1)
        number = counts.sum(-1)[None]
        mean = np.divide(total, number, out=np.full(total.shape, np.inf), where=number > 0)
        distance[np.ix_(rows, people)] = np.where(near, mean, np.inf)
    found, there = [], []
    free_rows, free_people = np.ones(len(pred.image), bool), np.ones(len(truth.image), bool)
    candidates = np.argwhere(np.isfinite(distance))
    for row, person in candidates[np.argsort(distance[tuple(candidates.T)], kind="stable")]:
        if free_rows[row] and free_people[person]:
            free_rows[row] = free_people[person] = False
            found.append(row)
            there.append(person)
    return Matches(np.array(found, int), np.array(there, int), np.flatnonzero(free_rows), np.flatnonzero(free_people))


@dataclass(frozen=True)
class CrowdScores:
    """mve, mpjpe: metres, of the people who were found. nmve, nmje: divided by f1, infinite where nobody was found who should have been.

    false_positives, missed: numbers of rows. NaN where there is nothing to say.
    """

    mve: float
    mpjpe: float
    nmve: float
    nmje: float
    f1: float
    precision: float
    recall: float
    false_positives: int
    missed: int


def crowd_scores(
    matches: Matches,
    pred: tuple[Float[np.ndarray, "n v 3"], Float[np.ndarray, "n j 3"]],
    truth: tuple[Float[np.ndarray, "p v 3"], Float[np.ndarray, "p j 3"]],
    root: int = 0,
) -> CrowdScores:
    """AGORA's scores of vertices and joints: the errors of those who were found, about joint `root`, and what misses cost.

    `pred` and `truth`: vertices and joints of all rows that `matches` speaks of.
    """
    (vertices, joints), (true_vertices, true_joints) = (tuple(np.asarray(a, np.float64) for a in pair) for pair in (pred, truth))
    rows, people = matches.found, matches.truth
    whole = {"all": MeshPart(None, root)}
    errors = vertex_errors(vertices[rows], true_vertices[people], joints[rows], true_joints[people], whole)
    mve = _mean(errors.pve["all"])
    joint_error = _mean(mpjpe(joints[rows], true_joints[people], root=root))
    f1 = matches.f1
    return CrowdScores(
        mve=mve,
        mpjpe=joint_error,
        nmve=np.inf if f1 == 0 else mve / f1,
        nmje=np.inf if f1 == 0 else joint_error / f1,
        f1=f1,
        precision=matches.precision,
        recall=matches.recall,
        false_positives=len(matches.false_positives),
        missed=len(matches.missed),
    )


def depth_order_accuracy(
    pred: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"], image: Int[np.ndarray, " n"], as_far: float = AS_FAR
) -> float:
    """Share of pairs of people in the same picture whose order in depth is right: nearer, farther, or as far (within `as_far` metres).

    `pred` and `truth` are depths in metres, row by row the same person (`Matches`). People whose true depth is NaN don't count; a predicted
    NaN is in no order, so that its pairs are wrong. NaN where no picture has two people. Raises VitruvianError where shapes don't fit.
    """
    pred, truth, image = np.asarray(pred, np.float64), np.asarray(truth, np.float64), np.asarray(image)
    if not pred.shape == truth.shape == image.shape or pred.ndim != 1:
        raise VitruvianError(f"depths {pred.shape}, {truth.shape} and pictures {image.shape} don't fit: give one number per person in each")
    right = total = 0
    for one in np.unique(image[np.isfinite(truth)]):
        rows = np.flatnonzero((image == one) & np.isfinite(truth))
        a, b = np.triu_indices(len(rows), 1)
        said, true = pred[rows[a]] - pred[rows[b]], truth[rows[a]] - truth[rows[b]]
        order = [np.where(np.abs(gap) < as_far, 0.0, np.sign(gap)) for gap in (said, true)]
        right += int((order[0] == order[1]).sum())
        total += len(a)
    return _share(right, total)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan


def _mean(errors: Float[np.ndarray, " n"]) -> float:
    return float(errors.mean()) if len(errors) else np.nan
