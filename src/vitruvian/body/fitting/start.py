"""An analytic start for fitting a body to points in 3D: size from limb lengths, root by Procrustes, joints from the root outwards.

Each joint is turned by the rotation that best aligns what hangs on it with its targets: the next joint's points give the swing, what
lies further out gives, with less weight the more its place depends on joints between, the twist. What hangs is taken in the likely
pose, so that knees bend the right way. Turns that the pose prior lacks are left out, shared turns (a spine) dealt out. [ours]
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.arrays import nearest_rotation
from vitruvian.body.fitting.moments import Moments, joint_frames, pose_points, subtrees
from vitruvian.body.fitting.poseprior import PosePrior
from vitruvian.body.fitting.solve import State
from vitruvian.body.lbs import rotation_matrices

_SCATTER = 0.025  # metres that a point may be scattered by the joints below before it loses half its weight
_LIMIT = 3.0  # standard deviations that a start may be away from what is likely

# Segments whose length hardly depends on the pose; those whose two ends a fit has are used.
_SEGMENTS = (
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("left_ear", "right_ear"), ("left_eye", "right_eye")),
    *((f"{s}_{a}", f"{s}_{b}") for s in ("left", "right") for a, b in (
        ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"), ("ankle", "big_toe"),
        ("hand_root", "forefinger1"), ("hand_root", "pinky_finger1"), ("hand_root", "middle_finger1"), ("forefinger1", "pinky_finger1"),
        ("forefinger1", "forefinger2"), ("middle_finger1", "middle_finger2"), ("wrist", "index1"), ("wrist", "middle1"), ("ankle", "foot"),
    )),
)  # fmt: skip


def start_from_points(
    moments: Moments,
    space: PosePrior,
    names: tuple[str, ...],
    target: Float[np.ndarray, "n k 3"],
    weight: Float[np.ndarray, "n k"],
    num_expression: int,
    shape: Float[np.ndarray, "n s"] | None = None,
) -> State:
    """Rough parameters for n bodies from points (metres) with weights, 0 where missing. A given shape is kept."""
    dtype = target.dtype
    weight = (weight / np.maximum(weight.max(1, keepdims=True), 1e-12)).astype(dtype)
    if shape is None:
        shape = start_shape(moments, names, target, weight)
    tau = moments.base + np.einsum("bs,sqi->bqi", shape, moments.shape)
    z, root, place = _joints(moments, space, tau, shape, target, weight)
    return State(place, root, z, shape.astype(dtype), np.zeros((len(target), num_expression), dtype))


def start_shape(
    moments: Moments, names: tuple[str, ...], target: Float[np.ndarray, "n k 3"], weight: Float[np.ndarray, "n k"], sigma: float = 0.03
) -> Float[np.ndarray, "n s"]:
    """Shape from the lengths of limbs and trunk, three Gauss-Newton steps with a unit prior; zeros where nothing is seen."""
    number, dtype = len(moments.shape), target.dtype
    shape = np.zeros((len(target), number), dtype)
    index = {name: i for i, name in enumerate(names)}
    pairs = np.array([(index[a], index[b]) for a, b in _SEGMENTS if a in index and b in index], int).reshape(-1, 2)
    pairs = pairs[~moments.missing[pairs].any(1)]
    if not len(pairs) or not number:
        return shape
    rest = moments.gather @ moments.base
    moves = np.stack([moments.gather @ m for m in moments.shape])
    base, moves = rest[pairs[:, 0]] - rest[pairs[:, 1]], moves[:, pairs[:, 0]] - moves[:, pairs[:, 1]]
    seen = weight[:, pairs[:, 0]] * weight[:, pairs[:, 1]]
    ends = np.where((seen > 0)[..., None], target[:, pairs[:, 0]] - target[:, pairs[:, 1]], 1)
    length = np.linalg.norm(ends, axis=2)
    for _ in range(3):
        across = base + np.einsum("bs,spi->bpi", shape, moves)
        now = np.linalg.norm(across, axis=2)
        slope = np.einsum("bpi,spi->bps", across / np.maximum(now, 1e-6)[..., None], moves)
        pull = (seen[..., None] * slope / sigma**2).swapaxes(1, 2)
        shape = np.linalg.solve(pull @ slope + np.eye(number), (pull @ (length - now + (slope @ shape[..., None])[..., 0])[..., None]))[
            ..., 0
        ]
    return shape.astype(dtype)


def _joints(
    moments: Moments,
    space: PosePrior,
    tau: Float[np.ndarray, "n q 3"],
    shape: Float[np.ndarray, "n s"],
    target: Float[np.ndarray, "n k 3"],
    weight: Float[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n 3 3"], Float[np.ndarray, "n 3"]]:
    """Pose values, root rotations and translations."""
    bodies, joints = len(target), len(moments.parents)
    inside = subtrees(moments.parents)
    nearness = _nearness(moments, space, inside).astype(target.dtype)
    known = np.where(weight[..., None] > 0, target, 0)
    place = moments.root[0] + shape @ moments.root[1:]
    hanging = _hanging(moments, space, shape)
    root, translation = _root(hanging[:, :, 0] + moments.mass[:, None] * place[:, None], known, weight * nearness[:, 0], place)
    z = np.broadcast_to(space.likely, (bodies, space.size)).astype(target.dtype).copy()
    own = np.zeros((bodies, len(moments), joints, 3), target.dtype)
    own[:, moments.point, moments.joint] = tau
    blocks, done, chains = space.basis.reshape(joints, 3, -1), np.zeros(space.size, bool), _chains(space, inside)
    world = np.empty((bodies, joints, 3, 3), target.dtype)
    world[:, 0] = root
    # What the joints from the root up to this one contribute to the points: the rest hangs on its children.
    carried = {0: np.einsum("bij,bkj->bki", root, own[:, :, 0]) + moments.mass[:, None] * (place + translation)[:, None]}
    for j, parent in enumerate(moments.parents):
        if parent < 0:
            continue
        columns = np.flatnonzero((np.abs(blocks[j]).max(0) > 0) & ~done & chains)
        seen = np.flatnonzero(nearness[:, j] > 1e-3)
        if len(columns) and len(seen):
            arms = np.einsum("bij,bkj->bki", world[:, parent], hanging[:, seen, j])
            turn, found = _turn(arms, known[:, seen] - carried[parent][:, seen], weight[:, seen] * nearness[seen, j])
            value = _values(space, columns, world[:, parent].swapaxes(1, 2) @ turn @ world[:, parent])
            z[:, columns] = np.where(found[:, None], value, space.likely[columns])
            done[columns] = True
        world[:, j] = world[:, parent] @ rotation_matrices((space.mean[j] + z @ blocks[j].T).astype(target.dtype))
        carried[j] = carried[parent] + np.einsum("bij,bkj->bki", world[:, j], own[:, :, j])
    return z, root, translation


def _hanging(moments: Moments, space: PosePrior, shape: Float[np.ndarray, "n s"]) -> Float[np.ndarray, "n k j 3"]:
    """[k, j]: point k from joint j, as far as j's subtree carries it, in j's own axes; all joints below j as they likely are."""
    likely = space.vectors(np.broadcast_to(space.likely, (len(shape), space.size)).astype(shape.dtype))
    frames = joint_frames(moments.parents, np.broadcast_to(np.eye(3, dtype=shape.dtype), (len(shape), 3, 3)), likely)
    _, turned = pose_points(moments, frames, shape, np.zeros((len(shape), 3), shape.dtype))
    out = np.zeros((len(shape), len(moments), len(moments.parents), 3), shape.dtype)
    out[:, moments.point, moments.joint] = np.einsum("bqji,qjb->bqi", frames.world[:, moments.joint], turned)
    return out


def _values(space: PosePrior, columns: np.ndarray, local: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n c"]:
    """Values that make a chain of joints turn like this in all, as far as they can, within what is likely."""
    blocks = space.basis.reshape(len(space.mean), 3, -1)[:, :, columns]
    chain = np.abs(blocks).max((1, 2)) > 0
    value = (_log(local) - space.mean[chain].sum(0)) @ np.linalg.pinv(blocks.sum(0)).T
    reach = _LIMIT * np.sqrt(np.diag(space.covariance))[columns]
    return np.clip(value, space.likely[columns] - reach, space.likely[columns] + reach)


def _nearness(moments: Moments, space: PosePrior, inside: Bool[np.ndarray, "j j"]) -> Float[np.ndarray, "k j"]:
    """How much each point says about each joint's turn, 0 where the joint does not carry it.

    The turns below that joint are unknown; they scatter the point by their likely size times their lever.
    """
    joints = len(moments.parents)
    covariance = space.covariance
    blocks = space.basis.reshape(joints, 3, -1).astype(float)
    width = np.einsum("jid,de,jie->j", blocks, covariance, blocks)
    scatter, carried = np.zeros((len(moments), joints)), np.zeros((len(moments), joints), bool)
    scatter[moments.point, moments.joint] = width[moments.joint] * ((moments.below @ moments.base) ** 2).sum(1)
    carried[moments.point, moments.joint] = True
    below = inside & ~np.eye(joints, dtype=bool)
    return carried / (1 + (scatter @ below.T) / _SCATTER**2)


def _root(source: np.ndarray, target: np.ndarray, weight: np.ndarray, pivot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation about the pivot and translation that best align sources with targets (weighted Procrustes without scale)."""
    total = np.maximum(weight.sum(1), 1e-12)[:, None]
    middle, goal = (source * weight[..., None]).sum(1) / total, (target * weight[..., None]).sum(1) / total
    arms, aims = source - middle[:, None], target - goal[:, None]
    covariance = np.einsum("bk,bki,bkj->bij", weight, aims, arms)
    covariance += 1e-6 * np.eye(3, dtype=source.dtype) * (weight * (arms * arms).sum(2)).sum(1)[:, None, None] + 1e-20 * np.eye(3)
    rotation = nearest_rotation(covariance).astype(source.dtype)
    return rotation, goal - np.einsum("bij,bj->bi", rotation, middle - pivot) - pivot


def _turn(arms: np.ndarray, aims: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation that turns arms to aims, drawn a little to none; and whether there was anything to see."""
    size = (weight * (arms * arms).sum(2)).sum(1)
    covariance = np.einsum("bk,bki,bkj->bij", weight, aims, arms) + (1e-3 * size + 1e-20)[:, None, None] * np.eye(3, dtype=arms.dtype)
    return nearest_rotation(covariance).astype(arms.dtype), size > 1e-7


def _chains(space: PosePrior, inside: Bool[np.ndarray, "j j"]) -> Bool[np.ndarray, " d"]:
    """Values that turn joints of one chain only; a hand's coefficients turn many fingers and stay at what is likely."""
    moved = np.abs(space.basis.reshape(len(inside), 3, -1)).max(1) > 0
    return np.array([all(inside[a, b] or inside[b, a] for a in np.flatnonzero(m) for b in np.flatnonzero(m)) for m in moved.T], bool)


def _log(rotations: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(rotations).as_rotvec() if len(rotations) else np.zeros((0, 3))
