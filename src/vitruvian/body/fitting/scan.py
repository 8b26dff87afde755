"""Fit a body model to scans: point clouds of a person, whole or partial, single or as a sequence (numpy and scipy).

    result = fit_scan(load_compact(), [cloud], start=result_of_keypoints.parameters)

Iterated closest points in both directions (model to scan, scan to model) on some vertices of the skin, as distances from planes,
Geman-McClure robust with a scale that shrinks from coarse to fine, with the priors of `fit`. [terms: card `mano` section 5; schedule: ours]
A start from keypoints is best. Without one an upright body (y up) is tried at eight headings, which finds calm, standing poses only.
A scan of one side needs its normals: without them the unseen side is drawn to the seen one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.compact import MATERIALS, face_materials
from vitruvian.body.fit import FitResult, Setup, fit_result, prepare, state_of
from vitruvian.body.fitting.jacobian import ROOT
from vitruvian.body.fitting.moments import joint_frames
from vitruvian.body.fitting.poseprior import PosePrior
from vitruvian.body.fitting.solve import Problem, State, model_points, solve
from vitruvian.body.fitting.terms import PlaneTerm, PointTerm
from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.body.regressors import PointRegressor, vertex_regressor
from vitruvian.errors import VitruvianError

_VERTICES, _CLOUD = 1200, 3000  # vertices of the skin and points of a scan that are compared
_COARSE, _GIVEN, _FINE_STEPS = 0.15, 0.03, 4  # metres of robust scales: for headings, for a given start; rounds at the last scale
_HEADINGS = 8
_HOLD = 0.15  # metres: how loosely a given start holds every vertex, which matters where a scan shows nothing
_REACH = 2.5  # robust scales beyond which nothing is matched


def fit_scan(
    model: BodyModel,
    clouds: Sequence[Float[np.ndarray, "p 3"]],
    *,
    normals: Sequence[Float[np.ndarray, "p 3"]] | None = None,
    start: BodyParameters | None = None,
    sigma: float = 0.004,
    pose_prior: PosePrior | None = None,
    prior_weight: float = 1.0,
    num_shape: int = 40,
    rounds: int = 16,
    coarse: float | None = None,
    sequence: bool = False,
) -> FitResult:
    """Fit a body to each cloud of points (metres, y up; points that are not finite are left out).

    normals: unit, outwards, one per point; without them the model's own are used. start: one row per cloud, or one for a sequence.
    coarse: robust scale of the first round, metres: about how far the start is off (None: 0.03 for a given start, 0.05 for a found one).
    sequence: the clouds are one person's in order: each fit starts from the one before and keeps the first one's shape.
    The result's points are vertices of the skin; error is the root mean square distance (metres) of the nearer half of them from the scan's
    points. Clouds of fewer than 50 points are not ok. Raises VitruvianError where sizes don't fit.
    """
    setup = prepare(model, _skin_regressor(model), pose_prior, num_shape, False)
    problem = replace(setup.problem, prior=prior_weight)
    clouds = [_checked(cloud, i, model.template.dtype) for i, cloud in enumerate(clouds)]
    if normals is not None and [len(n) for n in normals] != [len(c) for c in clouds]:
        raise VitruvianError("normals don't fit the clouds: give one per point, in as many arrays as clouds")
    expected = 1 if sequence else len(clouds)
    if start is not None and len(start) != expected:
        raise VitruvianError(f"a start of {len(start)} rows doesn't fit: give {expected}")
    states, costs, errors, ok = [], [], [], []
    state = None if start is None else state_of(start, setup)
    fitted: State | None = None
    for i, cloud in enumerate(clouds):
        good = np.isfinite(cloud).all(1)
        ok.append(int(good.sum()) >= 50)
        if not ok[-1]:
            states.append(_blank(setup, problem))
            costs.append(np.nan)
            errors.append(np.nan)
            continue
        scan = _Scan(model, setup, cloud[good], None if normals is None else np.asarray(normals[i], cloud.dtype)[good], sigma)
        if sequence and fitted is not None:
            fitted, cost = scan.fit(problem, fitted, 6, _GIVEN, hold=True, keep_shape=True)
        else:
            first = scan.best_start(problem) if state is None else state[[0 if sequence else i]]
            fitted, cost = scan.fit(problem, first, rounds, coarse or (0.05 if state is None else _GIVEN), hold=state is not None)
        states.append(fitted)
        costs.append(cost)
        errors.append(scan.error(problem, fitted))
    blank = _blank(setup, problem)[:0]
    both = State(*(np.concatenate([getattr(blank, f.name), *(getattr(s, f.name) for s in states)]) for f in fields(State)))
    return fit_result(problem, (both, np.array(costs, float)), np.array(ok, bool), setup, lambda points: np.array(errors, float))


@lru_cache(maxsize=4)
def _skin_regressor(model: BodyModel) -> PointRegressor:
    return vertex_regressor(model, skin_vertices(model))


def skin_vertices(model: BodyModel) -> Int[np.ndarray, " k"]:
    """Vertices spread evenly over a model's outer skin (farthest point sampling on the template); the mouth and the eyes are left out."""
    if not len(model.faces):
        raise VitruvianError(f"{model.name} has no faces: give the whole model, not a subset")
    faces = model.faces
    if model.kind == "anny-compact":
        inner = [MATERIALS.index(name) for name in ("mouth", "tongue", "eyes", "irises", "pupils")]
        faces = faces[~np.isin(face_materials(), inner)]
    outer = np.unique(faces)
    place = model.template[outer].astype(float)
    chosen, far = [0], np.full(len(outer), np.inf)
    for _ in range(min(_VERTICES, len(outer)) - 1):
        far = np.minimum(far, ((place - place[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(far.argmax()))
    return outer[np.sort(chosen)]


def _checked(cloud: np.ndarray, index: int, dtype: np.dtype) -> np.ndarray:
    cloud = np.asarray(cloud, dtype)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise VitruvianError(f"cloud {index} has shape {cloud.shape}: give (points, 3) in metres")
    return cloud


def _blank(setup: Setup, problem: Problem) -> State:
    dtype = setup.model.template.dtype
    likely = problem.space.likely[None].astype(dtype)
    return State(
        np.zeros((1, 3), dtype),
        np.eye(3, dtype=dtype)[None],
        likely,
        np.zeros((1, len(problem.shape_precision)), dtype),
        np.zeros((1, setup.expressions), dtype),
    )


class _Scan:
    """One cloud with its search tree, and what is needed of the model to meet it."""

    def __init__(self, model: BodyModel, setup: Setup, cloud: np.ndarray, normals: np.ndarray | None, sigma: float) -> None:
        from scipy.spatial import cKDTree

        self.model, self.setup, self.sigma = model, setup, sigma
        self.cloud, self.normals, self.tree = cloud, normals, cKDTree(cloud)
        self.vertices = setup.regressor.columns
        self.some = np.random.default_rng(0).permutation(len(cloud))[:_CLOUD]

    def fit(self, problem: Problem, state: State, rounds: int, coarse: float, hold: bool, keep_shape: bool = False) -> tuple[State, float]:
        """Rounds of closest points and a few steps each, from coarse to fine."""
        scales = np.r_[np.geomspace(coarse, 3 * self.sigma, max(rounds - _FINE_STEPS, 1)), np.full(_FINE_STEPS, 3 * self.sigma)][-rounds:]
        free = np.arange(ROOT + problem.space.size) if keep_shape else None
        first = model_points(problem, state, len(self.vertices))
        held = PointTerm(first, np.full(first.shape[:2], _HOLD**-2 if hold else 0.0, first.dtype))
        cost = np.array([np.inf])
        for scale in scales:
            terms = (held, *self.terms(problem, state, max(self.sigma, scale / 3), scale))
            state, cost = solve(replace(problem, terms=terms), state, free, 3)
        return state, float(cost[0])

    def best_start(self, problem: Problem) -> State:
        """The likely pose, upright, with its middle in the cloud's, at the heading that fits best after a few coarse rounds."""
        blank = _blank(self.setup, problem)
        points = model_points(problem, blank, len(self.vertices))[0]
        low, high = self.cloud.min(0), self.cloud.max(0)
        best, lowest = blank, np.inf
        for angle in np.arange(_HEADINGS) * 2 * np.pi / _HEADINGS:
            c, s = np.cos(angle), np.sin(angle)
            turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], points.dtype)
            turned = points @ turn.T
            move = (low + high) / 2 - (turned.min(0) + turned.max(0)) / 2
            state = replace(blank, root=turn[None], translation=move[None].astype(points.dtype))
            for scale in (_COARSE, _COARSE, 0.08, 0.05):
                state, _ = solve(replace(problem, terms=self.terms(problem, state, scale / 3, scale)), state, None, 3)
            error = self.error(problem, state, share=0.9)
            if error < lowest:
                best, lowest = state, error
        return best

    def terms(self, problem: Problem, state: State, sigma: float, scale: float) -> tuple:
        """Model to scan as distances from planes and a little from points (which keeps slack parts in place), scan to model from planes."""
        points = model_points(problem, state, len(self.vertices))
        normals = self.skin_normals(state)
        distance, nearest = self.tree.query(points[0])
        goal = self.cloud[nearest][None]
        direction = normals if self.normals is None else self.normals[nearest][None]
        meets = distance[None] < _REACH * scale
        if self.normals is not None:
            meets &= (direction * normals).sum(-1) > 0.3
        weight = (meets / sigma**2).astype(points.dtype)
        robust = scale / sigma
        back, back_normal, back_weight = self._back(points[0], normals[0], _REACH * scale)
        return (
            PlaneTerm(goal, direction, weight, robust),
            PointTerm(goal, weight * points.dtype.type(0.05), robust),
            PlaneTerm(back[None], back_normal[None], (back_weight[None] / sigma**2).astype(points.dtype), robust),
        )

    def _back(self, points: np.ndarray, normals: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each vertex the mean of the scan's points that are nearest to it, and how many there are (as a share of what is common)."""
        from scipy.spatial import cKDTree

        distance, owner = cKDTree(points).query(self.cloud[self.some])
        some, owner = self.some[distance < reach], owner[distance < reach]
        count = np.bincount(owner, minlength=len(points))
        mean = np.stack([np.bincount(owner, self.cloud[some, i], len(points)) for i in range(3)], 1) / np.maximum(count, 1)[:, None]
        share = np.minimum(count * len(points) / max(len(self.some), 1), 3.0)
        return mean.astype(points.dtype), normals, share

    def skin_normals(self, state: State) -> Float[np.ndarray, "1 k 3"]:
        """Unit normals of the chosen vertices."""
        vectors = self.setup.problem.space.vectors(state.z)
        frames = joint_frames(self.setup.problem.parents, state.root, vectors)
        mesh = self.model.forward(frames.local, state.shape, None, state.translation).vertices[0]
        corners = mesh[self.model.faces]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        total = np.stack([np.bincount(self.model.faces.ravel(), np.repeat(across[:, i], 3), len(mesh)) for i in range(3)], 1)[self.vertices]
        return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))[None].astype(mesh.dtype)

    def error(self, problem: Problem, state: State, share: float = 0.5) -> float:
        """Root mean square distance of the nearest share of vertices from the scan."""
        distance = np.sort(self.tree.query(model_points(problem, state, len(self.vertices))[0])[0])
        return float(np.sqrt((distance[: max(int(share * len(distance)), 1)] ** 2).mean()))
