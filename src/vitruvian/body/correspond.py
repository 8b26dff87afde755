"""From one body model to another, through meshes: correspondence of two registered meshes, and parameters of a mesh (numpy only).

    c = closest_points(anny_vertices, smplx_vertices, smplx.faces)     # both registered to the same scan, or one body in both
    mesh = c(smplx_output.vertices)                                      # (n, V_anny, 3): SMPL-X bodies in Anny's topology
    result = parameters_from_mesh(load_compact(), mesh)                  # and as the compact body's parameters

Without a registered pair, convert through joints: `through_joints(source, parameters, target)`.
Parameters of a mesh as in card `mano` section 5: rotations by Procrustes per joint (weights: skinning) and shape by a linear solve, in
turns; then Gauss-Newton on everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.arrays import nearest_rotation
from vitruvian.body.fit import FitResult, Setup, fit_points, fit_result
from vitruvian.body.fitting.jacobian import blocks
from vitruvian.body.fitting.moments import point_moments
from vitruvian.body.fitting.poseprior import make_pose_prior
from vitruvian.body.fitting.solve import Problem, State, solve
from vitruvian.body.fitting.terms import PointTerm
from vitruvian.body.lbs import joint_chain
from vitruvian.body.model import BodyModel, BodyParameters, subset
from vitruvian.body.regressors import point_regressor, vertex_regressor
from vitruvian.errors import VitruvianError

_PER_JOINT = 20  # vertices of each joint that are looked at
_SIGMA = 0.001
_RIDGE = 1e-4  # squared metres per squared unit of shape, against directions that a mesh does not show


@dataclass(frozen=True, eq=False)
class Correspondence:
    """For each of n points a place on a mesh: three vertices and their weights. distance (n): metres between the two when it was made."""

    vertices: Int[np.ndarray, "n 3"]
    weights: Float[np.ndarray, "n 3"]
    distance: Float[np.ndarray, " n"]

    def __call__(self, mesh: Float[np.ndarray, "b v 3"]) -> Float[np.ndarray, "b n 3"]:
        """The places on meshes of that topology. Raises VitruvianError if the meshes have too few vertices."""
        if mesh.ndim != 3 or mesh.shape[1] <= self.vertices.max(initial=-1):
            raise VitruvianError(f"meshes of shape {mesh.shape} are not of the topology that this correspondence was made with")
        return np.einsum("bnci,nc->bni", mesh[:, self.vertices], self.weights.astype(mesh.dtype))


def closest_points(
    points: Float[np.ndarray, "n 3"], vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], neighbours: int = 16
) -> Correspondence:
    """For each point the closest place on a triangle mesh.

    Looked for on all faces around each point's nearest vertices (`neighbours` of them), which is exact unless triangles are very uneven.
    """
    from scipy.sparse import csr_matrix
    from scipy.spatial import cKDTree

    used = np.unique(faces)
    if not len(used):
        raise VitruvianError("the mesh has no faces, so it has no closest points: give the whole model, not a subset")
    corner = faces.ravel()
    around = csr_matrix((np.ones(len(corner), np.int8), (corner, np.repeat(np.arange(len(faces)), 3))), (len(vertices), len(faces)))
    _, nearest = cKDTree(vertices[used]).query(points, k=min(neighbours, len(used)))
    nearest = used[nearest.reshape(len(points), -1)]
    counts = np.diff(around.indptr)[nearest]
    point = np.repeat(np.arange(len(points)), counts.sum(1))
    start, count = around.indptr[nearest].ravel(), counts.ravel()
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    face = around.indices[np.repeat(start, count) + offset]
    weights = _barycentric(points[point], vertices[faces[face]])
    distance = np.linalg.norm(np.einsum("pc,pci->pi", weights, vertices[faces[face]]) - points[point], axis=1)
    order = np.lexsort((distance, point))
    best = order[np.searchsorted(point[order], np.arange(len(points)))]
    return Correspondence(faces[face[best]], weights[best], distance[best])


def _barycentric(points: Float[np.ndarray, "p 3"], corners: Float[np.ndarray, "p 3 3"]) -> Float[np.ndarray, "p 3"]:
    """Weights of the place of each triangle that is closest to its point: inside, or on the best of its edges."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d = points - a
    m11, m12, m22 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    r1, r2 = (ab * d).sum(1), (ac * d).sum(1)
    determinant = np.maximum(m11 * m22 - m12 * m12, 1e-30)
    u, v = (m22 * r1 - m12 * r2) / determinant, (m11 * r2 - m12 * r1) / determinant
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    candidates, gaps = [np.stack([1 - u - v, u, v], 1)], [np.where(inside, -1.0, np.inf)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, j] - corners[:, i]
        t = np.clip(((points - corners[:, i]) * edge).sum(1) / np.maximum((edge * edge).sum(1), 1e-30), 0, 1)
        weights = np.zeros((len(points), 3))
        weights[:, i], weights[:, j] = 1 - t, t
        candidates.append(weights)
        gaps.append(np.linalg.norm(corners[:, i] + t[:, None] * edge - points, axis=1))
    return np.stack(candidates)[np.argmin(gaps, 0), np.arange(len(points))]


def through_joints(
    source: BodyModel, parameters: BodyParameters, target: BodyModel, points: str = "smplx-55", **options: object
) -> FitResult:
    """The target's parameters whose points come nearest to the source's: for models without corresponding meshes.

    points: a set that both models have points of, see `regressors.point_regressor`; points that one of them lacks are left out, and
    where the models' joints are not the same places (`PointRegressor.uncertain`) the result is as far off. options: of `fit.fit_points`.
    """
    p = parameters
    output = source.forward(p.pose, p.shape, p.expression, p.translation)
    return fit_points(target, point_regressor(source, points)(output.vertices, output.joints), points, **options)


def parameters_from_mesh(
    model: BodyModel, meshes: Float[np.ndarray, "n v 3"], rounds: int = 10, refine: int = 10, num_shape: int | None = None
) -> FitResult:
    """Pose, shape and translation of bodies given as meshes in the model's topology, metres; NaN vertices are ignored.

    rounds: alternations of rotations and shape. refine: most Gauss-Newton steps after these. Some vertices of every joint are looked at;
    the result's points and error are theirs. Expressions stay zero. Raises VitruvianError for meshes of another size.
    """
    meshes = np.asarray(meshes, model.template.dtype)
    if meshes.ndim != 3 or meshes.shape[1:] != (model.num_vertices, 3):
        raise VitruvianError(f"meshes of shape {meshes.shape} don't fit {model.name}: give (n, {model.num_vertices}, 3)")
    number = model.num_shape if num_shape is None else min(num_shape, model.num_shape)
    chosen = _spread_vertices(model)
    regressor, space = vertex_regressor(model, chosen), make_pose_prior(model, free=True)
    setup = Setup(model, regressor, point_moments(model, regressor, number), None, model.num_expression)
    target = meshes[:, chosen]
    seen = np.isfinite(target).all(-1)
    ok = seen.sum(1) >= model.num_joints
    dtype = model.template.dtype
    few = subset(model, chosen)
    parts = [_alternate(few, mesh, number, rounds) if good else None for mesh, good in zip(target, ok, strict=True)]
    blank = (np.zeros(3), np.eye(3), np.zeros((model.num_joints, 3)), np.zeros(number))
    found = [np.array([(p or blank)[i] for p in parts], dtype).reshape(len(meshes), *blank[i].shape) for i in range(4)]
    expression = np.zeros((len(meshes), model.num_expression), dtype)
    state = State(found[0], found[1], space.nearest(found[2]).astype(dtype), found[3], expression)
    term = PointTerm(np.where(seen[..., None], target, 0), (seen / _SIGMA**2).astype(dtype))
    problem = Problem(tuple(model.parents), space, blocks(model, regressor, space, number), (term,), np.full(number, 1e-3, dtype), 1e-3)
    rows = np.flatnonzero(ok)
    cost = np.full(len(meshes), np.nan, dtype)
    local = replace(problem, terms=(replace(term, target=term.target[rows], weight=term.weight[rows]),))
    part, cost[rows] = solve(local, state[rows], None, refine, tolerance=1e-4, batch=8)

    def error(points: np.ndarray) -> np.ndarray:
        square = np.where(seen, ((points - term.target) ** 2).sum(-1), 0)
        return np.sqrt(square.sum(1) / np.maximum(seen.sum(1), 1))

    return fit_result(problem, (state.replaced(rows, part), cost), ok, setup, error)


def _spread_vertices(model: BodyModel) -> Int[np.ndarray, " k"]:
    """Some vertices of every joint, spread over what it moves: those with the largest weight times a fixed random number."""
    order = np.random.default_rng(0).random(model.num_vertices)
    chosen = [np.argsort(-model.weights[:, j] * order)[:_PER_JOINT] for j in range(model.num_joints)]
    chosen = [c[model.weights[c, j] > 0.05] for j, c in enumerate(chosen)]
    return np.unique(np.concatenate(chosen))


def _alternate(model: BodyModel, mesh: np.ndarray, number: int, rounds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Translation, root rotation, rotation vectors and shape of one mesh; vertices that are NaN are left out."""
    from scipy.spatial.transform import Rotation

    keep = np.isfinite(mesh).all(1)
    weights, goal = model.weights[keep].astype(float), mesh[keep].astype(float)
    template, directions = model.template[keep].astype(float), model.shape_directions[:number, keep].astype(float)
    joint_directions = model.joint_shape_directions[:number].astype(float)
    shape, total = np.zeros(number), np.maximum(weights.sum(0), 1e-9)
    centre = (weights.T @ goal) / total[:, None]
    for _ in range(max(rounds, 1)):
        rest = template + np.tensordot(shape, directions, 1)
        middle = (weights.T @ rest) / total[:, None]
        outer = (goal[:, :, None] * rest[:, None]).reshape(len(goal), 9)
        covariance = (weights.T @ outer).reshape(-1, 3, 3) - total[:, None, None] * centre[:, :, None] * middle[:, None, :]
        world = _filled_rotations(model, nearest_rotation(covariance + 1e-12 * np.eye(3)), total)
        parents = [max(p, 0) for p in model.parents]
        local = world[parents].swapaxes(1, 2) @ world
        local[0] = world[0]
        shape, translation = _shape_step(model, local, weights, template, directions, joint_directions, goal)
    return translation, local[0], Rotation.from_matrix(local).as_rotvec(), shape


def _filled_rotations(model: BodyModel, world: np.ndarray, total: np.ndarray) -> np.ndarray:
    """World rotations, those of joints that move nothing taken from their parents."""
    for j, parent in enumerate(model.parents):
        if total[j] < 1e-3:
            world[j] = world[parent] if parent >= 0 else np.eye(3)
    return world


def _shape_step(model, local, weights, template, directions, joint_directions, goal) -> tuple[np.ndarray, np.ndarray]:
    """Shape and translation by linear least squares for given rotations: posed vertices are linear in both."""
    joints = np.concatenate([model.joints[None].astype(float), joint_directions])
    _, _, skin = joint_chain(model, np.broadcast_to(local, (len(joints), *local.shape)), joints)
    # Skinning maps are linear in the rest joints: their moving parts for template and each direction of shape.
    turn = (weights @ skin[0, :, :, :3].reshape(len(local), 9)).reshape(-1, 3, 3)
    moves = weights @ skin[..., 3]
    posed = (turn @ np.concatenate([template[None], directions])[..., None])[..., 0] + moves
    columns = np.concatenate([posed[1:].reshape(len(posed) - 1, -1), np.tile(np.eye(3), (1, len(goal)))])
    right = (goal - posed[0]).ravel()
    ridge = np.diag(np.r_[np.full(len(directions), _RIDGE), np.zeros(3)])
    solution = np.linalg.solve(columns @ columns.T + ridge, columns @ right)
    return solution[:-3], solution[-3:]
