"""The numpy core: shaped and posed bodies by linear blend skinning (Loper et al., SMPL, 2015; card `mano` section 4).

    1. rest vertices = template + shape and expression directions        2. rest joints, the same way
    3. pose feature = row-major (R_j - I) of every joint but the root    4. posed rest = rest vertices + correctives . feature
    5. world rotations and places of the joints down the tree            6. skinning maps take rest joints to posed joints
    7. vertex = weighted sum of its joints' maps applied to it           8. + translation, on vertices and joints

`torch.py` computes the same; a test holds the two together in float64.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vitruvian.body.arrays import check_inputs, levels, linear_coefficients, nearest_rotation
from vitruvian.body.model import BodyModel, BodyOutput

_CHUNK = 32  # bodies skinned at a time, which bounds the memory


def pose_model(
    model: BodyModel,
    pose: Float[np.ndarray, "#n j 3"] | Float[np.ndarray, "#n j 3 3"] | None = None,
    shape: Float[np.ndarray, "#n s"] | None = None,
    expression: Float[np.ndarray, "#n e"] | None = None,
    translation: Float[np.ndarray, "#n 3"] | None = None,
    offsets: Float[np.ndarray, "#n v 3"] | None = None,
) -> BodyOutput:
    """Pose n bodies. Each input has n rows, or one for all, or is None (zeros; the model's default shape).

    pose: rotation vectors (radians) or matrices of every joint, complete (no mean is added), relative to the parent, in world-aligned
    axes of the rest body (or in `joint_frames`). The root turns about the rest root joint, not about the origin.
    shape, expression: may have fewer columns than the model. translation: metres, added last. offsets: displacements of the rest mesh.
    Computes in the model's float type. Raises VitruvianError where a shape doesn't fit.
    """
    n = check_inputs(model, pose, shape, expression, translation, offsets)
    dtype = model.template.dtype
    vertices, joints, coefficients = _rest(model, shape, expression, offsets)
    if pose is None:
        pose = np.zeros((1, model.num_joints, 3))
    pose = np.asarray(pose, dtype)
    rotations = pose if pose.ndim == 4 else rotation_matrices(pose)
    if model.pose_directions is not None:
        feature = (rotations[:, 1:] - np.eye(3, dtype=dtype)).reshape(len(rotations), 9 * (model.num_joints - 1))
        correctives = _blend(feature, model.pose_directions)
        vertices = vertices + correctives
    world, places, skin = joint_chain(model, rotations, joints, rest_rotations(model, coefficients))
    posed = np.empty((n, model.num_vertices, 3), dtype)
    _skin(model.weights, vertices, skin, posed)
    joints, places, world, skin = (np.broadcast_to(a, (n, *a.shape[1:])) for a in (joints, places, world, skin))
    if translation is not None:
        move = np.asarray(translation, dtype)[:, None]
        posed, places = posed + move, places + move
    return BodyOutput(posed, places, joints, world, skin)


def rest_model(
    model: BodyModel,
    shape: Float[np.ndarray, "#n s"] | None = None,
    expression: Float[np.ndarray, "#n e"] | None = None,
    offsets: Float[np.ndarray, "#n v 3"] | None = None,
) -> tuple[Float[np.ndarray, "n v 3"], Float[np.ndarray, "n j 3"]]:
    """Vertices (with offsets) and joints of n shaped bodies before posing and without pose correctives, metres."""
    n = check_inputs(model, None, shape, expression, None, offsets)
    vertices, joints, _ = _rest(model, shape, expression, offsets)
    return np.broadcast_to(vertices, (n, *vertices.shape[1:])).copy(), np.broadcast_to(joints, (n, *joints.shape[1:])).copy()


def rotation_matrices(vectors: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3 3"]:
    """Rotation matrices of rotation vectors (radians), by Rodrigues' formula; exact to rounding at zero too."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    square = x * x + y * y + z * z
    small = square < 1e-12  # below, sin(a) / a and its like are 1 to double precision's last digits
    half = np.sqrt(np.where(small, 1.0, square)) / 2
    sinc = np.where(small, 1.0, np.sin(half) / half)
    s, c = sinc * np.where(small, 1.0, np.cos(half)), sinc * sinc / 2  # sin(a) / a, (1 - cos(a)) / a^2 without cancellation
    out = np.empty((*vectors.shape, 3), vectors.dtype)
    for i, a in enumerate((x, y, z)):
        out[..., i, i] = 1 - c * (square - a * a)
    for i, j, product, sign in ((0, 1, x * y, -z), (0, 2, x * z, y), (1, 2, y * z, -x)):
        out[..., i, j], out[..., j, i] = c * product + s * sign, c * product - s * sign
    return out


def joint_chain(
    model: BodyModel,
    rotations: Float[np.ndarray, "#n j 3 3"],
    joints: Float[np.ndarray, "#n j 3"],
    alignment: Float[np.ndarray, "#n j 3 3"] | None = None,
) -> tuple[Float[np.ndarray, "n j 3 3"], Float[np.ndarray, "n j 3"], Float[np.ndarray, "n j 3 4"]]:
    """World rotations, places and skinning maps (without translation) of all joints, from local rotations and rest joints."""
    if model.joint_frames is not None:
        rotations = model.joint_frames @ rotations @ np.linalg.inv(model.joint_frames)  # files' frames are rotations to six digits
    n = max(len(rotations), len(joints)) if min(len(rotations), len(joints)) else 0
    shape, dtype = (n, model.num_joints), joints.dtype
    world, turned, places = np.empty((*shape, 3, 3), dtype), np.empty((*shape, 3, 3), dtype), np.empty((*shape, 3), dtype)
    bones = (joints - joints[:, [max(p, 0) for p in model.parents]])[..., None]
    world[:, 0], places[:, 0] = rotations[:, 0], joints[:, 0]
    turned[:, 0] = world[:, 0] if alignment is None else world[:, 0] @ alignment[:, 0]
    above = np.zeros(1, int)
    for row, parent in levels(model.parents):
        up = above[parent]
        world[:, row] = world[:, up] @ rotations[:, row]
        turned[:, row] = world[:, row] if alignment is None else world[:, row] @ alignment[:, row]
        places[:, row] = places[:, up] + (turned[:, up] @ bones[:, row])[..., 0]
        above = np.array(row)
    moves = places[..., None] - turned @ joints[..., None]
    return world, places, np.concatenate([turned, moves], -1)


def rest_rotations(model: BodyModel, coefficients: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n j 3 3"] | None:
    """Rotations from the rest pose to the reference pose for these linear shape coefficients; None where a model has no such thing."""
    if model.rest_alignment is None:
        return None
    r = model.rest_alignment
    rest = nearest_rotation(r.template + _blend(coefficients, r.directions))
    return r.reference @ rest.swapaxes(-1, -2)


def _rest(model: BodyModel, shape, expression, offsets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rest vertices, rest joints and linear shape coefficients; one row where no input has more."""
    dtype = model.template.dtype
    c = linear_coefficients(model, shape, model.template)
    vertices, joints = model.template + _blend(c, model.shape_directions), model.joints + _blend(c, model.joint_shape_directions)
    if expression is not None and model.num_expression:
        e = np.asarray(expression, dtype)
        vertices, joints = vertices + _blend(e, model.expression_directions), joints + _blend(e, model.joint_expression_directions)
    if offsets is not None:
        vertices = vertices + np.asarray(offsets, dtype)
    return vertices, joints, c


def _blend(coefficients: Float[np.ndarray, "n k"], directions: np.ndarray) -> np.ndarray:
    """Sum of the first k directions (m, ...) by their coefficients, (n, ...), as one matrix product."""
    k, tail = coefficients.shape[1], directions.shape[1:]
    return (coefficients @ directions[:k].reshape(k, int(np.prod(tail)))).reshape(len(coefficients), *tail)


def _skin(weights: np.ndarray, vertices: np.ndarray, skin: np.ndarray, out: np.ndarray) -> None:
    """Linear blend skinning into `out` (n, v, 3); vertices and skinning maps have n rows or one.

    The blended maps are made column by column with the batch along the last axis: the order that matrix products do best.
    """
    for start in range(0, len(out), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(out)))
        maps = (skin if len(skin) == 1 else skin[rows]).transpose(3, 1, 2, 0)  # (4 j 3 n)
        v = np.ascontiguousarray((vertices if len(vertices) == 1 else vertices[rows]).transpose(1, 2, 0))  # (v 3 n)
        size = (len(weights), 3, maps.shape[-1])
        total = (weights @ maps[3].reshape(maps.shape[1], -1)).reshape(size)
        for axis in range(3):
            total = total + (weights @ maps[axis].reshape(maps.shape[1], -1)).reshape(size) * v[:, axis : axis + 1]
        out[rows] = total.transpose(2, 0, 1)
