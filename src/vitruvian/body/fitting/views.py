"""Fit a body model to keypoints in pictures of one or several calibrated cameras (numpy only).

    result = fit_keypoints(model, keypoints, intrinsics)                                  # (n, 1, 133, 2): one camera, its own frame
    result = fit_keypoints(model, keypoints, intrinsics, rotation, translation)           # (n, C, 133, 2): the cameras' world

Several views: points seen at least twice are triangulated for the start, then the fit works on the pixels. One view: the body is tried
at several headings and goes on from the best; depth along the line of sight then rests on the priors of pose and shape, so a single view
gives a plausible body rather than a measured one. Distorted pictures: undistort the keypoints first (cv2.undistortPoints with P=K).
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from jaxtyping import Float

from vitruvian.body.fit import (
    _FEWEST,
    FitResult,
    Setup,
    checked_points,
    checked_times,
    fit_result,
    fit_state,
    prepare,
    rows_problem,
    state_of,
)
from vitruvian.body.fitting.expression import fit_expression
from vitruvian.body.fitting.jacobian import ROOT
from vitruvian.body.fitting.poseprior import PosePrior
from vitruvian.body.fitting.solve import Problem, State, model_points, solve
from vitruvian.body.fitting.start import start_from_points
from vitruvian.body.fitting.terms import CameraTerm, PointTerm
from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.body.regressors import PointRegressor
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera
from vitruvian.geometry.triangulate import triangulate_rays

_HEADINGS, _KEPT = 8, 4  # headings tried, and those that go on
_BATCH = 256  # bodies whose expressions are worked at a time: bounds memory
_SIGMA_SHARE = 0.01  # of a body's extent in the picture: what a keypoint may be off when no sigma is given


def fit_keypoints(
    model: BodyModel,
    keypoints: Float[np.ndarray, "n c k 2"],
    intrinsics: Float[np.ndarray, "*n c 3 3"],
    rotation: Float[np.ndarray, "c 3 3"] | None = None,
    translation: Float[np.ndarray, "c 3"] | None = None,
    regressor: PointRegressor | str = "coco-wholebody-133",
    *,
    confidence: Float[np.ndarray, "n c k"] | None = None,
    sigma: float | None = None,
    robust: float | None = 5.0,
    pose_prior: PosePrior | None = None,
    prior_weight: float = 1.0,
    num_shape: int = 16,
    shape: Float[np.ndarray, "#n s"] | None = None,
    shared_shape: bool = False,
    times: Float[np.ndarray, " n"] | None = None,
    smoothness: float = 1.0,
    points: Float[np.ndarray, "n k 3"] | None = None,
    points_sigma: float = 0.05,
    expression: bool = False,
    start: BodyParameters | None = None,
    iterations: int = 25,
) -> FitResult:
    """Fit n bodies to pixels; NaN keypoints and those of no confidence are ignored. Options as in `fit.fit_points`.

    intrinsics: camera matrices (C, 3, 3), or one per body. rotation, translation: world to camera (x right, y down, z forward), metres;
    left out for a single camera, whose frame the result is then in. sigma: pixels; None takes 1 % of each body's extent.
    points, points_sigma: the same points in 3D from elsewhere (lifting), metres, in the cameras' world: a start, and held loosely.
    expression: at the end, what the neutral face leaves of the pixels, each body by itself; worth it where a face is seen closely.
    `FitResult.error` is in pixels. Raises VitruvianError where sizes don't fit.
    """
    setup = prepare(model, regressor, pose_prior, num_shape, expression)
    dtype = model.template.dtype
    keypoints, weight = checked_points(keypoints, confidence, setup.regressor, 1.0, dtype, last=2)
    if keypoints.ndim != 4:
        raise VitruvianError(f"keypoints of shape {keypoints.shape}: give (n, cameras, {len(setup.regressor)}, 2)")
    weight = weight * ~setup.regressor.missing
    term = _term(keypoints, weight, intrinsics, rotation, translation, sigma, robust, dtype)
    if times is not None:
        times = checked_times(times, len(keypoints))
    ok = (weight > 0).sum(2).max(1, initial=0) >= _FEWEST
    terms = (term,)
    if points is not None:
        place, trust = checked_points(points, None, setup.regressor, points_sigma, dtype)
        if len(place) != len(keypoints):
            raise VitruvianError(f"{len(place)} bodies of points don't fit {len(keypoints)} of keypoints: give one row per body in both")
        terms = (term, PointTerm(np.where(trust[..., None] > 0, place, 0), trust * ~setup.regressor.missing, robust))
    problem = replace(setup.problem, terms=terms, prior=prior_weight)
    given = (
        None if shape is None else np.broadcast_to(np.atleast_2d(shape)[:, :num_shape], (len(keypoints), min(num_shape, model.num_shape)))
    )
    state = state_of(start, setup, given) if start is not None else _start(setup, problem, ok)
    if given is not None:
        state = replace(state, shape=given.astype(dtype))
    shared = shared_shape or times is not None
    near = start is not None
    state, cost = fit_state(problem, state, ok, setup, None, iterations, given is not None, shared, times, smoothness, near)
    if expression:
        state = _with_expression(problem, state, setup)
    return fit_result(problem, (state, cost), ok, setup, lambda points: _pixel_error(term, points))


def _with_expression(problem: Problem, state: State, setup: Setup) -> State:
    """The state with expressions that the cameras' pixels ask for."""
    bounded, names = setup.model.kind.startswith("anny"), setup.model.expression_names
    for start in range(0, len(state), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(state)))
        part = rows_problem(problem, rows)
        state = state.replaced(rows, fit_expression(part, state[rows], part.terms[0], names, bounded))
    return state


def _term(keypoints, weight, intrinsics, rotation, translation, sigma, robust, dtype) -> CameraTerm:
    """The camera term with checked cameras and weights in 1 / pixels^2."""
    cameras = keypoints.shape[1]
    intrinsics = np.asarray(intrinsics, dtype)
    rotation = np.tile(np.eye(3), (cameras, 1, 1)) if rotation is None else rotation
    translation = np.zeros((cameras, 3)) if translation is None else translation
    rotation, translation = np.asarray(rotation, dtype), np.asarray(translation, dtype)
    per_body = intrinsics.ndim == 4 and intrinsics.shape == (len(keypoints), cameras, 3, 3)
    if not (per_body or intrinsics.shape == (cameras, 3, 3)) or rotation.shape != (cameras, 3, 3) or translation.shape != (cameras, 3):
        wanted = f"({cameras}, 3, 3), ({cameras}, 3, 3) and ({cameras}, 3)"
        raise VitruvianError(f"cameras of {intrinsics.shape}, {rotation.shape}, {translation.shape} don't fit the keypoints: give {wanted}")
    target = np.where(weight[..., None] > 0, keypoints, 0)
    if sigma is None:
        shown = np.where(weight[..., None] > 0, keypoints, np.nan)
        with np.errstate(all="ignore"):
            low, high = np.where(weight[..., None] > 0, shown, np.inf).min(2), np.where(weight[..., None] > 0, shown, -np.inf).max(2)
        extent = np.where(np.isfinite(high - low), high - low, 0).max(-1, initial=0)
        variance = np.maximum(_SIGMA_SHARE * extent, 0.5) ** 2
    elif sigma > 0:
        variance = np.full(keypoints.shape[:2], sigma**2)
    else:
        raise VitruvianError(f"sigma is {sigma}; give the keypoints' standard deviation in pixels, more than 0")
    return CameraTerm(target, (weight / variance[..., None]).astype(dtype), intrinsics, rotation, translation, robust)


def _intrinsics(term: CameraTerm, camera: int) -> Float[np.ndarray, "#n 3 3"]:
    return term.intrinsics[None, camera] if term.intrinsics.ndim == 3 else term.intrinsics[:, camera]


def _triangulated(term: CameraTerm) -> tuple[Float[np.ndarray, "n k 3"], Float[np.ndarray, "n k"]]:
    """Points seen by at least two cameras, by weighted linear triangulation; and the sum of their weights, 0 where there is none."""
    cameras = [Camera(np.eye(3), turn, shift) for turn, shift in zip(term.rotation, term.translation, strict=True)]
    rays, weight = np.empty((len(cameras), *term.target.shape[:3:2], 2)), np.empty((len(cameras), *term.target.shape[:3:2]))
    for c in range(len(cameras)):
        k = np.broadcast_to(_intrinsics(term, c), (len(term.target), 3, 3)).astype(float)
        place = np.concatenate([term.target[:, c], np.ones((*term.target.shape[:3:2], 1))], -1)
        rays[c] = np.einsum("nij,nkj->nki", np.linalg.inv(k)[:, :2], place)
        weight[c] = np.sqrt(term.weight[:, c]) * k[:, 0, 0, None]
    points = triangulate_rays(cameras, rays, weight, threshold=None, refine=False).points
    found = np.isfinite(points).all(-1)
    return np.nan_to_num(points).astype(term.target.dtype), np.where(found, term.weight.sum(1), 0).astype(term.target.dtype)


def _start(setup: Setup, problem: Problem, ok: np.ndarray) -> State:
    """From points in 3D where they are given, else from several views or from one."""
    camera = problem.terms[0]
    if len(problem.terms) > 1:
        points = problem.terms[1]
        return start_from_points(setup.moments, problem.space, setup.regressor.names, points.target, points.weight, setup.expressions)
    make = _start_from_views if camera.target.shape[1] > 1 else _start_from_one_view
    return make(setup, problem, camera, ok)


def _start_from_views(setup: Setup, problem: Problem, term: CameraTerm, ok: np.ndarray) -> State:
    """The analytic start from triangulated points; bodies with too few of these start from their best single view."""
    points, weight = _triangulated(term)
    state = start_from_points(setup.moments, problem.space, setup.regressor.names, points, weight, setup.expressions)
    poor = np.flatnonzero(ok & ((weight > 0).sum(1) < _FEWEST))
    for c in range(term.target.shape[1]) if len(poor) else ():
        best = poor[(term.weight[poor] > 0).sum(2).argmax(1) == c]
        if len(best):
            intrinsics = term.intrinsics[c : c + 1] if term.intrinsics.ndim == 3 else term.intrinsics[best, c : c + 1]
            single = CameraTerm(
                term.target[best, c : c + 1],
                term.weight[best, c : c + 1],
                intrinsics,
                np.eye(3, dtype=points.dtype)[None],
                np.zeros((1, 3), points.dtype),
                term.robust,
            )
            part = _start_from_one_view(setup, replace(problem, terms=(single,)), single, np.ones(len(best), bool))
            turn = term.rotation[c].T
            pivot = setup.moments.root[0] + part.shape @ setup.moments.root[1:]
            moved = (part.translation + pivot - term.translation[c]) @ turn.T - pivot
            state = state.replaced(best, replace(part, root=turn @ part.root, translation=moved.astype(points.dtype)))
    return state


def _start_from_one_view(setup: Setup, problem: Problem, term: CameraTerm, ok: np.ndarray) -> State:
    """For each body the best of several headings, each worked a little: similarity of the projected likely pose first, then a few steps."""
    bodies, dtype, space = len(term.target), setup.model.template.dtype, problem.space
    rest = State(
        np.zeros((1, 3), dtype), np.eye(3, dtype=dtype)[None], space.likely[None].astype(dtype),
        np.zeros((1, len(problem.shape_precision)), dtype), np.zeros((1, setup.expressions), dtype),
    )  # fmt: skip
    shape = np.nan_to_num(model_points(problem, rest, len(setup.regressor))[0])
    tries = []
    for heading in np.arange(_HEADINGS) * 2 * np.pi / _HEADINGS:
        c, s = np.cos(heading), np.sin(heading)
        upright = np.diag([1.0, -1, -1]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # the model's y is up, the camera's down
        root, place = _similarity(term, shape @ upright.T, upright)
        many = {n: np.broadcast_to(getattr(rest, n), (bodies, *getattr(rest, n).shape[1:])) for n in ("z", "shape", "expression")}
        tries.append(State((place - setup.moments.root[0]).astype(dtype), root.astype(dtype), **many))
    rows = np.flatnonzero(ok)
    state = State(*(np.concatenate([getattr(t, f.name)[rows] for t in tries]) for f in fields(State)))
    body = np.tile(rows, _HEADINGS)
    plain = replace(problem, terms=(replace(term, robust=None),))
    state, cost = solve(rows_problem(plain, body), state, np.arange(ROOT), 4)
    order = np.argsort(cost.reshape(_HEADINGS, len(rows)), 0)[:_KEPT]
    kept = (order * len(rows) + np.arange(len(rows))).ravel()
    state, cost = solve(rows_problem(plain, body[kept]), state[kept], None, 10, tolerance=1e-2)
    winner = cost.reshape(-1, len(rows)).argmin(0) * len(rows) + np.arange(len(rows)) if len(rows) else np.zeros(0, int)
    return tries[0].replaced(rows, state[winner])


def _similarity(term: CameraTerm, points: np.ndarray, upright: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and place of the origin (camera frame) that lay orthographically seen points (K, 3) best on the keypoints."""
    k = np.broadcast_to(_intrinsics(term, 0), (len(term.target), 3, 3)).astype(float)
    place = (term.target[:, 0] - k[:, None, :2, 2]) / k[:, None, [0, 1], [0, 1]]
    weight = term.weight[:, 0].astype(float)
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)
    middle, goal = weight @ points[:, :2], np.einsum("nk,nki->ni", weight, place)
    arms, aims = points[None, :, :2] - middle[:, None], place - goal[:, None]
    along = np.einsum("nk,nki,nki->n", weight, arms, aims)
    across = np.einsum("nk,nk->n", weight, arms[..., 0] * aims[..., 1] - arms[..., 1] * aims[..., 0])
    size = np.einsum("nk,nki,nki->n", weight, arms, arms)
    angle, scale = np.arctan2(across, along), np.hypot(along, across) / np.maximum(size, 1e-9)
    # The true scale is at least that of the similarity where the heading is wrong; far bodies are kept within 100 m.
    depth = 1 / np.clip(
        np.maximum(scale, np.sqrt(np.einsum("nk,nki,nki->n", weight, aims, aims) / np.maximum(size, 1e-9)) * 0.5), 1e-2, 2.0
    )
    c, s = np.cos(angle), np.sin(angle)
    roll = np.zeros((len(c), 3, 3))
    roll[:, 0, 0], roll[:, 0, 1], roll[:, 1, 0], roll[:, 1, 1], roll[:, 2, 2] = c, -s, s, c, 1
    turned = np.einsum("nij,nj->ni", roll[:, :2, :2], middle)
    origin = np.concatenate([goal * depth[:, None] - turned, depth[:, None]], 1)
    return roll @ upright, origin


def _pixel_error(term: CameraTerm, points: np.ndarray) -> np.ndarray:
    """Root mean square distance in pixels over all that was seen."""
    square, seen = np.zeros(len(points)), np.zeros(len(points))
    for c in range(term.target.shape[1]):
        place = np.nan_to_num(points) @ term.rotation[c].T + term.translation[c]
        image = np.einsum(
            "nij,nkj->nki", np.broadcast_to(_intrinsics(term, c), (len(points), 3, 3)), place / np.maximum(place[..., 2:], 0.1)
        )
        weight = term.weight[:, c] > 0
        square += np.where(weight, ((image[..., :2] - term.target[:, c]) ** 2).sum(-1), 0).sum(1)
        seen += weight.sum(1)
    return np.where(seen > 0, np.sqrt(square / np.maximum(seen, 1)), np.nan)
