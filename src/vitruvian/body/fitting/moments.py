"""Points of a posed body without its mesh: what fitting needs, exact and small, with closed-form derivatives.

A point that is linear in skinned vertices and joints is a sum over joints of G_j tau_j, where G_j is the world rotation of joint j and the
"moment" tau_j is linear in the shape. For linear blend skinning with weights W, rest vertices x, rest joints J and regressor w:

    x_k = t + m_k J_root + sum_j G_j tau_kj,      tau_kj = sum_v w_kv W_vj (x_v - J_j)  +  sum over children a of j: M_ka (J_a - J_j)

M_ka is the mass (sum of w W) of point k below joint a. A turn of the whole subtree of joint a by a small world vector u moves the point by
u x U_ka with U_ka = sum of G_j tau_kj over the joints j of that subtree. [derivation ours; skinning as in card `mano` section 4]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.body.arrays import levels
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyModel
from vitruvian.body.products import product
from vitruvian.body.regressors import PointRegressor
from vitruvian.errors import VitruvianError


@dataclass(frozen=True, eq=False)
class Moments:
    """The moments of K points of a model, for S shape and E expression coefficients.

    point, joint (q): the pairs (k, a) where the subtree of a carries point k, sorted by point. base (q, 3), shape (S, q, 3),
    expression (E, q, 3; E = 0 where no expression moves any point): the moments. below: sparse (q, q), sums a point's moments over a
    subtree. gather: sparse (K, q). mass (K). root (1 + S, 3): the root's rest place. correctives (9 (J - 1), q, 3) or None.
    """

    parents: tuple[int, ...]
    point: Int[np.ndarray, " q"]
    joint: Int[np.ndarray, " q"]
    base: Float[np.ndarray, "q 3"]
    shape: Float[np.ndarray, "s q 3"]
    expression: Float[np.ndarray, "e q 3"]
    below: object
    gather: object
    mass: Float[np.ndarray, " k"]
    missing: Bool[np.ndarray, " k"]
    root: Float[np.ndarray, "c 3"]
    correctives: Float[np.ndarray, "p q 3"] | None

    def __len__(self) -> int:
        return len(self.mass)


    def of_shape(self, shape: Float[np.ndarray, " s"]) -> Moments:
        """The moments of a body whose shape is known, which has no coefficients any more."""
        base, root = self.base + np.tensordot(shape, self.shape, 1), self.root[:1] + shape @ self.root[1:]
        return replace(self, base=base, shape=self.shape[:0], root=root)


@dataclass(frozen=True, eq=False)
class Frames:
    """The joints of B bodies: rotation vectors (the root's is not used), local and world rotation matrices."""

    vectors: Float[np.ndarray, "b j 3"]
    local: Float[np.ndarray, "b j 3 3"]
    world: Float[np.ndarray, "b j 3 3"]


def subtrees(parents: Sequence[int]) -> Bool[np.ndarray, "j j"]:
    """[a, j]: whether joint j is a or below a."""
    inside = np.eye(len(parents), dtype=bool)
    for j, parent in enumerate(parents):
        if parent >= 0:
            inside[:, j] |= inside[:, parent]
    return inside


def point_moments(model: BodyModel, regressor: PointRegressor, num_shape: int = 0, expression: bool = False) -> Moments:
    """Moments of a regressor's points for a model's first shape coefficients, without or with its expressions.

    Raises VitruvianError for a model whose shape is not linear or whose joints turn in frames of their own (Anny: use the compact body).
    """
    from scipy.sparse import csr_matrix

    if model.phenotypes is not None or model.rest_alignment is not None or model.joint_frames is not None:
        raise VitruvianError(f"{model.name} can't be fitted directly: fit the compact body (load_compact) or an SMPL model")
    if (regressor.num_vertices, regressor.num_joints) != (model.num_vertices, model.num_joints):
        raise VitruvianError(f"the regressor {regressor.name} is not of {model.name}: make it with point_regressor(model, ...)")
    shapes, expressions = slice(None, num_shape), slice(None, model.num_expression if expression else 0)
    joints = np.concatenate([model.joints[None], model.joint_shape_directions[shapes], model.joint_expression_directions[expressions]])
    vertices = np.concatenate([model.template[None], model.shape_directions[shapes], model.expression_directions[expressions]])
    spread, at_joints = _skinned(model, regressor)
    skinned = _sums(spread, np.ones((1, len(model.template), 3), vertices.dtype), len(regressor))[0, ..., 0]
    moments = _sums(spread, vertices, len(regressor)) - skinned[..., None] * joints[:, None]
    inside = subtrees(model.parents)
    mass = skinned + at_joints
    carried = mass @ inside.T.astype(mass.dtype)
    for a, parent in enumerate(model.parents):
        if parent >= 0:
            moments[:, :, parent] += carried[:, a, None] * (joints[:, a] - joints[:, parent])[:, None]
    point, joint = np.nonzero((np.abs(skinned) + np.abs(at_joints)) @ inside.T > 0)
    correctives = None
    if model.pose_directions is not None:
        correctives = _sums(spread, model.pose_directions, len(regressor))[:, point, joint]
    moments, number = moments[:, point, joint], 1 + len(model.joint_shape_directions[shapes])
    links, ones = np.arange(len(point)), np.ones(len(point), moments.dtype)
    here, there = _pairs_of_equals(point)
    below = inside[joint[here], joint[there]]
    return Moments(
        parents=tuple(model.parents),
        point=point,
        joint=joint,
        base=moments[0],
        shape=moments[1:number],
        expression=moments[number:] if np.abs(moments[number:]).max(initial=0) > 0 else moments[:0],
        below=csr_matrix((np.ones(below.sum(), moments.dtype), (here[below], there[below])), (len(point), len(point))),
        gather=csr_matrix((ones, (point, links)), (len(regressor), len(point))),
        mass=mass.sum(1),
        missing=regressor.missing,
        root=joints[:number, 0],
        correctives=correctives,
    )


def _skinned(model: BodyModel, regressor: PointRegressor) -> tuple[object, Float[np.ndarray, "k j"]]:
    """The regressor through the skin: sparse (K J, V) products w_kv W_vj; and the weights that points have at joints themselves."""
    from scipy.sparse import coo_matrix

    count, dtype = len(regressor), model.template.dtype
    of_vertex = regressor.columns < model.num_vertices
    rows, columns = regressor.rows[of_vertex], regressor.columns[of_vertex]
    values = model.weights[columns] * regressor.weights[of_vertex, None].astype(dtype)
    entry, joint = np.nonzero(values)
    places = (rows[entry] * model.num_joints + joint, columns[entry])
    spread = coo_matrix((values[entry, joint], places), (count * model.num_joints, model.num_vertices)).tocsr()
    at_joints = np.zeros((count, model.num_joints), dtype)
    np.add.at(at_joints, (regressor.rows[~of_vertex], regressor.columns[~of_vertex] - model.num_vertices), regressor.weights[~of_vertex])
    return spread, at_joints


def _pairs_of_equals(values: Int[np.ndarray, " q"]) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """All pairs of places in a sorted array that hold the same value."""
    counts = np.bincount(values)[values] if len(values) else np.zeros(0, int)
    first = np.searchsorted(values, values)
    here = np.repeat(np.arange(len(values)), counts)
    offset = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
    return here, np.repeat(first, counts) + offset


def _sums(spread: object, values: Float[np.ndarray, "c v 3"], count: int) -> Float[np.ndarray, "c k j 3"]:
    """A sparse (K J, V) matrix applied to values of the vertices."""
    flat = spread @ values.transpose(1, 0, 2).reshape(values.shape[1], -1)
    return flat.reshape(count, -1, len(values), 3).transpose(2, 0, 1, 3)


def joint_frames(parents: Sequence[int], root: Float[np.ndarray, "b 3 3"], vectors: Float[np.ndarray, "b j 3"]) -> Frames:
    """Rotations of all joints from the root's matrix and the others' rotation vectors."""
    local = rotation_matrices(vectors)
    local[:, 0] = root
    world = np.empty_like(local)
    world[:, 0] = root
    above = np.zeros(1, int)
    for row, parent in levels(tuple(parents)):
        world[:, row] = world[:, above[parent]] @ local[:, row]
        above = np.array(row)
    return Frames(vectors, local, world)


def pose_points(
    moments: Moments,
    frames: Frames,
    shape: Float[np.ndarray, "b s"],
    translation: Float[np.ndarray, "b 3"],
    expression: Float[np.ndarray, "b e"] | None = None,
) -> tuple[Float[np.ndarray, "b k 3"], Float[np.ndarray, "q 3 b"]]:
    """The points of B bodies (metres), NaN where missing; and U of the module's formula for every link, bodies last."""
    tau = moments.base[..., None] + _combine(moments.shape, shape)
    if expression is not None and len(moments.expression):
        tau = tau + _combine(moments.expression, expression)
    if moments.correctives is not None:
        feature = (frames.local[:, 1:] - np.eye(3, dtype=shape.dtype)).reshape(len(shape), 9 * (len(moments.parents) - 1))
        tau = tau + _combine(moments.correctives, feature)
    world = np.ascontiguousarray(frames.world.transpose(1, 2, 3, 0))[moments.joint]
    own = world[:, :, 0] * tau[:, None, 0] + world[:, :, 1] * tau[:, None, 1] + world[:, :, 2] * tau[:, None, 2]
    turned = (moments.below @ own.reshape(len(own), -1)).reshape(own.shape)
    root = moments.root[0] + shape @ moments.root[1:] + translation
    points = (moments.gather @ own.reshape(len(own), -1)).reshape(len(moments), 3, -1) + moments.mass[:, None, None] * root.T
    points[moments.missing] = np.nan
    return np.ascontiguousarray(points.transpose(2, 0, 1)), turned


def _combine(directions: Float[np.ndarray, "c q 3"], coefficients: Float[np.ndarray, "b c"]) -> Float[np.ndarray, "q 3 b"]:
    """Sum of directions by coefficients, bodies last."""
    flat = directions.reshape(len(directions), directions[0].size if len(directions) else 3 * directions.shape[1])
    return product(flat.T, coefficients.T).reshape(*directions.shape[1:], len(coefficients))


def shape_jacobian(moments: Moments, world: Float[np.ndarray, "b j 3 3"]) -> Float[np.ndarray, "b k 3 s"]:
    """How the points move with the shape coefficients."""
    number, (joints, place) = len(moments.shape), np.unique(moments.joint, return_inverse=True)
    table = np.zeros((len(joints), 3, len(moments), number), world.dtype)
    table[place, :, moments.point] = moments.shape.transpose(1, 2, 0)
    rows = np.ascontiguousarray(world[:, joints].transpose(0, 2, 1, 3)).reshape(3 * len(world), 3 * len(joints))
    moved = product(rows, table.reshape(3 * len(joints), -1)).reshape(len(world), 3, len(moments), number).transpose(0, 2, 1, 3)
    return moved + moments.mass[:, None, None] * moments.root[1:].T


def expression_jacobian(moments: Moments, world: Float[np.ndarray, "b j 3 3"]) -> Float[np.ndarray, "b k 3 e"]:
    """How the points move with the expression coefficients; a model whose joints move with the expression is treated as if they did not."""
    moved = np.flatnonzero(np.abs(moments.expression).max((0, 2), initial=0) > 0)
    out = np.zeros((len(world), len(moments), 3, len(moments.expression)), world.dtype)
    for joint in np.unique(moments.joint[moved]):
        links = moved[moments.joint[moved] == joint]
        directions = moments.expression[:, links].transpose(2, 1, 0).reshape(3, -1)
        turned = (world[:, joint].reshape(-1, 3) @ directions).reshape(len(world), 3, len(links), -1)
        out[:, moments.point[links]] += turned.transpose(0, 2, 1, 3)
    return out


def left_jacobian_product(vectors: Float[np.ndarray, "b e 3"], directions: Float[np.ndarray, "e 3"]) -> Float[np.ndarray, "b e 3"]:
    """J_l(v) d: the small world turn that a change d of a rotation vector v makes (Sola et al. 2018, eq. 145), exact at zero too."""
    square = (vectors * vectors).sum(-1, keepdims=True)
    small = square < 1e-8
    safe = np.where(small, 1, square)
    angle = np.sqrt(safe)
    half = np.sin(angle / 2) / angle
    first = np.where(small, 0.5 - square / 24, 2 * half * half)
    second = np.where(small, 1 / 6 - square / 120, (angle - np.sin(angle)) / (safe * angle))
    once = cross(vectors, np.broadcast_to(directions, vectors.shape))
    return directions + first * once + second * cross(vectors, once)


def cross(a: Float[np.ndarray, "*b 3"], b: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3"]:
    """Cross products of vectors of equal shape (np.cross spends most of its time on axes)."""
    out = np.empty_like(a)
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        out[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return out
