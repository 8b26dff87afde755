"""Poses from their parts, and what moves a whole body: everything that people get wrong, with a name.

All functions take numpy arrays or torch tensors, give back what they were given, and never write into it.

A complete pose is one rotation vector per joint. Published programs take it in blocks, and add or don't add the model's mean hand
without saying so. Here `full_pose` is the only place where a hand's mean is added, and only where `hand_mean=True` asks for it:

| published call | here |
|---|---|
| smplx with use_pca=True, num_pca_comps=6, flat_hand_mean=False (its default) | pose_space="pca", 6 coefficients, hand_mean=True |
| smplx with use_pca=False, flat_hand_mean=False | pose_space="axis_angle", hand_mean=True: the values are relative to the mean |
| smplx with num_pca_comps=45 (which switches PCA off) | pose_space="axis_angle" |
| smplx's "Layer" classes | pose_space="axis_angle", hand_mean=False, whatever they were asked |
| manopth with use_pca=True, flat_hand_mean=True (its default), any number of components | pose_space="pca", hand_mean=False |
| AMASS and other archives of full poses | pose_space="axis_angle", hand_mean=False |

A root rotation turns the body about its rest root joint, which is not the origin: see `move` and `from_root_split`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian.body.arrays import like, linear_coefficients, namespace
from vitruvian.body.lbs import rotation_matrices as numpy_rotation_matrices
from vitruvian.body.model import Array, BodyModel, BodyParameters, HandSpace
from vitruvian.errors import VitruvianError

PoseSpace = Literal["axis_angle", "pca"]
SixD = Literal["columns", "interleaved", "rows", "manopth_robust"]


def full_pose(
    model: BodyModel,
    *,
    root: Float[Array, "#n 3"] | None = None,
    body: Float[Array, "#n b"] | None = None,
    neck: Float[Array, "#n b"] | None = None,
    jaw: Float[Array, "#n 3"] | None = None,
    left_eye: Float[Array, "#n 3"] | None = None,
    right_eye: Float[Array, "#n 3"] | None = None,
    left_hand: Float[Array, "#n h"] | None = None,
    right_hand: Float[Array, "#n h"] | None = None,
    hand: Float[Array, "#n h"] | None = None,
    pose_space: PoseSpace = "axis_angle",
    hand_mean: bool = False,
) -> Float[Array, "n j 3"]:
    """The complete pose from its blocks; what is not given is zero. Blocks are flat (n, 3 k) or (n, k, 3), axis angles in radians.

    pose_space: what the hands' blocks hold. "pca": the first coefficients, any number, of the hands' principal components.
    hand_mean: add the model's mean hand to every hand, given or not (the published flat_hand_mean is its opposite).
    Raises VitruvianError for a block that the model does not have or whose size is not the block's.
    """
    given = {"root": root, "body": body, "neck": neck, "jaw": jaw, "left_eye": left_eye, "right_eye": right_eye}
    given |= {"left_hand": left_hand, "right_hand": right_hand, "hand": hand}
    given = {name: value for name, value in given.items() if value is not None}
    blocks = model.pose_slices
    unknown = [name for name in given if name not in blocks]
    if unknown:
        raise VitruvianError(f"{model.name} has no pose block {unknown[0]!r}; its blocks are {', '.join(blocks)}")
    if pose_space not in ("axis_angle", "pca"):
        raise VitruvianError(f"pose_space {pose_space!r} is neither 'axis_angle' nor 'pca': say what the hands' values are")
    example = next(iter(given.values()), model.template)
    xp = namespace(*given.values())
    parts = []
    for name, joints in blocks.items():
        size = 3 * (joints.stop - joints.start)
        value = given.get(name)
        value = like(np.zeros((1, size)), example) if value is None else value.reshape(len(value), int(np.prod(value.shape[1:])))
        parts.append(_hand(model, name, value, pose_space if name in given else "axis_angle", hand_mean) if _is_hand(name) else value)
        if parts[-1].shape[1] != size:
            hint = "; SMPL+H and SMPL-X bodies have no hand joints in this block" if name == "body" and size == 63 else ""
            raise VitruvianError(f"{name} of {model.name} has {size} values, {parts[-1].shape[1]} were given{hint}")
    sizes = {len(part) for part in parts} - {1}
    if len(sizes) > 1:
        raise VitruvianError(f"pose blocks of {sorted(sizes)} rows don't go together: give each n rows, or one")
    n = sizes.pop() if sizes else 1
    whole = xp.concatenate([xp.broadcast_to(part, (n, part.shape[1])) for part in parts], 1)
    return whole.reshape(n, model.num_joints, 3)


def split_pose(model: BodyModel, pose: Float[Array, "n j 3"]) -> dict[str, Float[Array, "n b"]]:
    """The blocks of a complete pose, each flat (n, 3 k): the inverse of `full_pose` without PCA and mean."""
    return {name: pose[:, joints].reshape(len(pose), 3 * (joints.stop - joints.start)) for name, joints in model.pose_slices.items()}


def hand_coefficients(model: BodyModel, block: str, pose: Float[Array, "n 45"], count: int, hand_mean: bool) -> Float[Array, "n c"]:
    """The first `count` PCA coefficients that give a hand's axis angles best (least squares).

    hand_mean: whether the coefficients will be used with `hand_mean=True`. Raises VitruvianError for a model without hand components.
    """
    space = _hand_space(model, block)
    if not 0 <= count <= len(space.components):
        raise VitruvianError(f"a hand of {model.name} has {len(space.components)} PCA components, not {count}")
    centred = pose - like(space.mean, pose) if hand_mean else pose
    return centred @ like(np.linalg.pinv(space.components[:count]), pose)


def default_parameters(model: BodyModel, n: int = 1) -> BodyParameters:
    """n bodies in the zero pose, with default shape, no expression, and no translation, as numpy arrays of the model's float type."""
    dtype = model.template.dtype
    shape = np.repeat(model.shape_default[None], n, 0)
    return BodyParameters(
        np.zeros((n, model.num_joints, 3), dtype), shape, np.zeros((n, model.num_expression), dtype), np.zeros((n, 3), dtype)
    )


def root_joint(
    model: BodyModel, shape: Float[Array, "n s"] | None, expression: Float[Array, "n e"] | None, example: Array
) -> Float[Array, "n 3"]:
    """The rest root joint, the point that a root rotation turns about, for these shapes; in the library and float type of `example`."""
    coefficients = linear_coefficients(model, shape, example)
    place = like(model.joints[:1], example) + coefficients @ like(model.joint_shape_directions[: coefficients.shape[1], 0], example)
    if expression is not None:
        place = place + expression @ like(model.joint_expression_directions[: expression.shape[1], 0], example)
    return place


def move(
    model: BodyModel,
    parameters: BodyParameters,
    rotation: Float[Array, "3 3"] | Float[Array, "n 3 3"],
    translation: Float[Array, " 3"] | Float[Array, "n 3"] = (0.0, 0.0, 0.0),
) -> BodyParameters:
    """Parameters of the same bodies after the world's rigid map x -> rotation x + translation; exact for every vertex.

    The root turns about its rest joint J0, so the translation takes part: t' = R (t + J0) + translation - J0 (card `mano` section 5).
    """
    p = parameters
    rotation, translation = like(rotation, p.pose), like(translation, p.pose)
    pivot = root_joint(model, p.shape, p.expression, p.pose)
    root = rotation_matrices(p.pose[:, 0])
    if model.joint_frames is not None:  # the root's rotation is written in its own frame
        frame = like(model.joint_frames[0], p.pose)
        turned = rotation_vectors(frame.T @ rotation @ frame @ root)
    else:
        turned = rotation_vectors(rotation @ root)
    place = (rotation @ (p.translation + pivot)[..., None])[..., 0] + translation - pivot
    xp = namespace(p.pose)
    return replace(p, pose=xp.concatenate([turned[:, None], p.pose[:, 1:]], 1), translation=place)


def from_root_split(
    model: BodyModel, parameters: BodyParameters, rotation: Float[Array, "n 3"], translation: Float[Array, "n 3"]
) -> BodyParameters:
    """Parameters from those of programs that keep the world's motion apart (EasyMocap: Rh, Th), which turn about the ORIGIN.

    There a posed body x, its own root mostly at zero, becomes R(rotation) x + translation. `rotation`: rotation vectors.
    """
    return move(model, parameters, rotation_matrices(rotation), translation)


def to_root_split(model: BodyModel, parameters: BodyParameters) -> tuple[BodyParameters, Float[Array, "n 3"], Float[Array, "n 3"]]:
    """The inverse of `from_root_split`: parameters with root and translation zero, rotation vectors and translations about the origin."""
    p = parameters
    pivot = root_joint(model, p.shape, p.expression, p.pose)
    rotation = rotation_matrices(p.pose[:, 0])
    if model.joint_frames is not None:
        frame = like(model.joint_frames[0], p.pose)
        rotation = frame @ rotation @ frame.T
    translation = p.translation + pivot - (rotation @ pivot[..., None])[..., 0]
    xp = namespace(p.pose)
    still = xp.concatenate([xp.zeros_like(p.pose[:, :1]), p.pose[:, 1:]], 1)
    return replace(p, pose=still, translation=xp.zeros_like(p.translation)), rotation_vectors(rotation), translation


def rotation_matrices(vectors: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrices of rotation vectors (radians)."""
    if namespace(vectors) is np:
        return numpy_rotation_matrices(vectors)
    from vitruvian.body.torch import rotation_matrices as torch_rotation_matrices  # only where torch is already loaded

    return torch_rotation_matrices(vectors)


def rotation_vectors(matrices: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3"]:
    """Rotation vectors, of length up to pi, of rotation matrices.

    Through the quaternion computed from its largest component (Shepperd 1978), so that half turns are safe.
    """
    xp, m = namespace(matrices), matrices
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = ([m[..., i, j] for j in range(3)] for i in range(3))
    candidates = (  # the quaternion (x, y, z, w) times four times its component that comes first in size
        (1 + xx - yy - zz, xy + yx, xz + zx, zy - yz),
        (xy + yx, 1 - xx + yy - zz, yz + zy, xz - zx),
        (xz + zx, yz + zy, 1 - xx - yy + zz, yx - xy),
        (zy - yz, xz - zx, yx - xy, 1 + xx + yy + zz),
    )
    best = xp.stack([candidates[i][i] for i in range(4)], -1).argmax(-1)[..., None]
    quaternion = xp.stack(candidates[3], -1)
    for i in range(3):
        quaternion = xp.where(best == i, xp.stack(candidates[i], -1), quaternion)
    quaternion = quaternion / xp.sqrt((quaternion * quaternion).sum(-1))[..., None]
    quaternion = xp.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    vector, w = quaternion[..., :3], quaternion[..., 3:]
    square = (vector * vector).sum(-1)[..., None]
    small = square < 1e-12
    sine = xp.sqrt(xp.where(small, xp.ones_like(square), square))
    return vector * xp.where(small, 2 / w, 2 * xp.arctan2(sine, w) / sine)


def rotations_from_6d(values: Float[Array, "*b 6"], convention: SixD = "columns") -> Float[Array, "*b 3 3"]:
    """Rotation matrices from six numbers, made orthogonal.

    "columns": the first column, then the second (Zhou et al. 2019; manopth without its robust option). "interleaved": the two columns
    side by side, row by row (SPIN, HMR 2.0 and their kin). "rows": the first two rows (PyTorch3D). "manopth_robust": the two columns,
    made orthogonal by equal shares (manopth's default), so that the second has no less say than the first.
    """
    xp = namespace(values)
    if convention == "interleaved":
        a, b = values[..., 0::2], values[..., 1::2]
    elif convention in ("columns", "rows", "manopth_robust"):
        a, b = values[..., :3], values[..., 3:]
    else:
        raise VitruvianError(f"no 6D convention {convention!r}: choose columns, interleaved, rows or manopth_robust")
    x = _normal(a)
    if convention == "manopth_robust":
        y = _normal(b)
        middle, across = _normal(x + y), _normal(x - y)
        x, y = _normal(middle + across), _normal(middle - across)
        z = _normal(_cross(x, y))
    else:
        z = _normal(_cross(x, b))
        y = _cross(z, x)
    return xp.stack([x, y, z], -2 if convention == "rows" else -1)


def _normal(vectors: Array) -> Array:
    """Vectors of length one; a zero vector stays."""
    xp = namespace(vectors)
    length = xp.sqrt((vectors * vectors).sum(-1))[..., None]
    return vectors / xp.where(length == 0, xp.ones_like(length), length)


def _cross(a: Array, b: Array) -> Array:
    """Cross products along the last axis; numpy's own lost its place between versions."""
    (a0, a1, a2), (b0, b1, b2) = (tuple(v[..., i] for i in range(3)) for v in (a, b))
    return namespace(a).stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], -1)


def _is_hand(block: str) -> bool:
    return block in ("hand", "left_hand", "right_hand")


def _hand_space(model: BodyModel, block: str) -> HandSpace:
    if block not in model.hands:
        raise VitruvianError(
            f"{model.name} has no PCA components and no mean for {block!r}: use pose_space='axis_angle' and hand_mean=False, or import "
            "it together with the MANO files (an unmerged SMPL+H has none of its own)"
        )
    return model.hands[block]


def _hand(model: BodyModel, block: str, values: Array, pose_space: PoseSpace, hand_mean: bool) -> Array:
    """Axis angles of a hand's 15 joints from axis angles or PCA coefficients, with the mean if asked."""
    if pose_space == "pca":
        space = _hand_space(model, block)
        if values.shape[1] > len(space.components):
            raise VitruvianError(f"{block} of {model.name} has {len(space.components)} PCA components, {values.shape[1]} were given")
        values = values @ like(space.components[: values.shape[1]], values)
    return values + like(_hand_space(model, block).mean, values) if hand_mean else values
