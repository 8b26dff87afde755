"""Fit a body model to points in 3D: keypoints, joints or markers, frame by frame or as one person's sequence (numpy only).

    result = fit_points(load_compact(), take_points)                          # (n, 133, 3) metres, NaN where missing
    result = fit_points(model, joints, regressor="smpl-24", sigma=0.005)
    result = fit_points(model, points, times=seconds)                         # one person: one shape, smooth in time
    result.parameters                                                         # BodyParameters for model.forward

What is minimised: squared distances over `sigma`, robust (Geman-McClure), + a Gaussian on the pose (`poseprior`) + |shape|^2 +, for
sequences, accelerations (`temporal`). An analytic start (`start`), then Levenberg-Marquardt with closed-form derivatives; the expression in
between, where the points show a face. The result's frame is that of the points. Pictures: `views`; scans: `scan`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.fitting.expression import fit_expression
from vitruvian.body.fitting.jacobian import ROOT, blocks
from vitruvian.body.fitting.moments import point_moments
from vitruvian.body.fitting.poseprior import PosePrior, make_pose_prior
from vitruvian.body.fitting.solve import Problem, State, model_points, solve
from vitruvian.body.fitting.start import start_from_points
from vitruvian.body.fitting.temporal import smooth_solve
from vitruvian.body.fitting.terms import PointTerm
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.body.regressors import PointRegressor, point_regressor
from vitruvian.errors import VitruvianError

SHAPES = 16
"""Shape coefficients that a fit changes; the others stay zero."""

_GRADUATION = (16.0, 4.0)  # factors on the robust scale before the last
_FEWEST = 4  # points that a body needs to be fitted
_SHAPE_FRAMES = 96  # frames of a sequence that its shape is taken from
_FEWER_SHAPE_FRAMES = 24  # the same where a start is given


@dataclass(frozen=True, eq=False)
class FitResult:
    """Fitted bodies.

    parameters: one row per body, NaN where `ok` is False. points: the model's points (n, K, 3), metres. ok: whether there was enough
    to fit, and the numbers stayed finite. error: root mean square of the residuals that were seen (metres; pixels for pictures), NaN
    without any. cost: what was minimised. names: of the points.
    """

    parameters: BodyParameters
    points: Float[np.ndarray, "n k 3"]
    ok: Bool[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    cost: Float[np.ndarray, " n"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ok)


def fit_points(
    model: BodyModel,
    points: Float[np.ndarray, "n k 3"],
    regressor: PointRegressor | str = "coco-wholebody-133",
    *,
    confidence: Float[np.ndarray, "n k"] | None = None,
    sigma: float = 0.01,
    robust: float | None = 5.0,
    pose_prior: PosePrior | None = None,
    prior_weight: float = 1.0,
    num_shape: int = SHAPES,
    shape: Float[np.ndarray, "#n s"] | None = None,
    shared_shape: bool = False,
    times: Float[np.ndarray, " n"] | None = None,
    smoothness: float = 1.0,
    expression: bool = True,
    start: BodyParameters | None = None,
    iterations: int = 20,
) -> FitResult:
    """Fit n bodies to points in metres; NaN points and points of no confidence are ignored.

    regressor: which points these are (a set's name for `point_regressor`, or one made elsewhere, say of markers on vertices).
    confidence: a point's weight, 0 to 1; divides its variance. sigma: metres, what a confident point may be off. robust: distance in sigmas
    beyond which a point counts less and less, None for plain squares. pose_prior: which turns are free, and how likely (None:
    `make_pose_prior`); prior_weight: of its Gaussian.
    shape: keep this shape. shared_shape: the bodies are one person. times: seconds, increasing: the bodies are the frames of one person's
    sequence, which share a shape and move smoothly; frames without points are filled in. start: instead of the analytic start.
    Raises VitruvianError where sizes don't fit or times don't increase.
    """
    setup = prepare(model, regressor, pose_prior, num_shape, expression)
    target, weight = checked_points(points, confidence, setup.regressor, sigma, model.template.dtype)
    if times is not None:
        times = checked_times(times, len(target))
    term = PointTerm(np.where(weight[..., None] > 0, target, 0), weight, robust)
    seen = (weight > 0) & ~setup.regressor.missing
    ok = seen.sum(1) >= _FEWEST
    given = None if shape is None else _fixed_shape(shape, len(target), setup.problem)
    if start is None:
        state = start_from_points(
            setup.moments, setup.problem.space, setup.regressor.names, term.target, weight * seen, setup.expressions, given
        )
    else:
        state = state_of(start, setup, given)
    problem = replace(setup.problem, terms=(term,), prior=prior_weight)
    fitted = fit_state(problem, state, ok, setup, term, iterations, given is not None, shared_shape or times is not None, times, smoothness)
    return fit_result(problem, fitted, ok if times is None else _between(ok), setup, _error(term, seen))


@dataclass(frozen=True, eq=False)
class Setup:
    """What fits of one model to one set of points share."""

    model: BodyModel
    regressor: PointRegressor
    moments: object
    problem: Problem
    expressions: int


@lru_cache(maxsize=8)
def prepare(model: BodyModel, regressor: PointRegressor | str, space: PosePrior | None, num_shape: int, expression: bool) -> Setup:
    """Work out moments and blocks of a model for a set of points. Raises VitruvianError if they don't go together."""
    regressor = point_regressor(model, regressor) if isinstance(regressor, str) else regressor
    space = make_pose_prior(model) if space is None else space
    if space.mean.shape != (model.num_joints, 3):
        raise VitruvianError(
            f"the pose prior is of {len(space.mean)} joints, {model.name} has {model.num_joints}: make it with make_pose_prior(model)"
        )
    number = min(num_shape, model.num_shape)
    parts = blocks(model, regressor, space, number, expression and model.num_expression > 0)
    problem = Problem(tuple(model.parents), space, parts, (), np.ones(number, model.template.dtype))
    return Setup(model, regressor, point_moments(model, regressor, number), problem, model.num_expression)


def checked_points(
    points: np.ndarray, confidence: np.ndarray | None, regressor: PointRegressor, sigma: float, dtype: np.dtype, last: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Points in the model's float type, and their weights. Raises VitruvianError for wrong sizes or a sigma that is not positive."""
    points = np.asarray(points, dtype)
    if points.ndim < 3 or points.shape[-2:] != (len(regressor), last):
        raise VitruvianError(f"points of shape {points.shape} don't fit {regressor.name}: give (n, ..., {len(regressor)}, {last})")
    confidence = np.ones(points.shape[:-1], dtype) if confidence is None else np.asarray(confidence, dtype)
    if confidence.shape != points.shape[:-1]:
        raise VitruvianError(
            f"confidence of shape {confidence.shape} doesn't fit points of shape {points.shape}: give one number per point"
        )
    if not sigma > 0:
        raise VitruvianError(f"sigma is {sigma}; give the points' standard deviation, more than 0")
    usable = np.isfinite(points).all(-1) & np.isfinite(confidence) & (confidence > 0)
    return points, np.where(usable, confidence / dtype.type(sigma) ** 2, 0).astype(dtype)


def checked_times(times: np.ndarray, count: int) -> np.ndarray:
    """Time stamps as float64. Raises VitruvianError unless there is one per frame and they increase."""
    times = np.asarray(times, np.float64)
    if times.shape != (count,) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise VitruvianError(f"times of shape {times.shape} don't fit {count} frames: give one per frame, in seconds, increasing")
    return times


def _fixed_shape(shape: np.ndarray, count: int, problem: Problem) -> np.ndarray:
    shape = np.atleast_2d(np.asarray(shape, problem.shape_precision.dtype))
    if shape.ndim != 2 or len(shape) not in (1, count):
        raise VitruvianError(f"a shape of {shape.shape} doesn't fit {count} bodies: give one row, or one per body")
    size = len(problem.shape_precision)
    full = np.zeros((len(shape), size), shape.dtype)
    full[:, : shape.shape[1]] = shape[:, :size]
    return np.broadcast_to(full, (count, size)).copy()


def state_of(parameters: BodyParameters, setup: Setup, shape: np.ndarray | None = None) -> State:
    """The fit's unknowns from a model's parameters, as near as the pose space gets."""
    dtype, space = setup.model.template.dtype, setup.problem.space
    pose = np.nan_to_num(np.asarray(parameters.pose, dtype))
    number = len(setup.problem.shape_precision)
    own = np.zeros((len(pose), number), dtype)
    given = np.nan_to_num(np.asarray(parameters.shape, dtype))[:, :number]
    own[:, : given.shape[1]] = given
    expression = np.zeros((len(pose), setup.expressions), dtype)
    given = np.nan_to_num(np.asarray(parameters.expression, dtype))
    expression[:, : given.shape[1]] = given
    root = rotation_matrices(pose[:, 0])
    translation = np.nan_to_num(np.asarray(parameters.translation, dtype))
    return State(translation, root, space.nearest(pose).astype(dtype), own if shape is None else shape, expression)


def fit_state(
    problem: Problem,
    state: State,
    ok: Bool[np.ndarray, " n"],
    setup: Setup,
    face: PointTerm | None,
    iterations: int,
    keep_shape: bool,
    shared_shape: bool,
    times: Float[np.ndarray, " n"] | None,
    smoothness: float,
    near: bool = False,
) -> tuple[State, Float[np.ndarray, " n"]]:
    """Solve from a start: bodies that are ok; a shape common to all if asked; expressions; smoothness in time.

    near: the start is good, so that the frames of a sequence need not be worked one by one before all are worked together: twice as
    fast.
    """
    rows, common = np.flatnonzero(ok), None
    cost = np.full(len(state), np.nan, state.z.dtype)
    free = np.arange(ROOT + problem.space.size) if keep_shape else None
    if len(rows) and shared_shape and not keep_shape:
        common = _common_shape(problem, state, rows, iterations, near)
        problem, state = problem.of_shape(common), replace(state, shape=state.shape[:, :0])
    has_face = face is not None and any(len(b.moments.expression) for b in problem.blocks)
    near = near and times is not None and len(rows) > 2
    own = 0 if near else max(iterations - 4, 1) if has_face else iterations
    part, cost[rows] = _solve_rows(problem, state[rows], rows, free, own, first=not near)
    if has_face and len(rows):
        bounded = setup.model.kind.startswith("anny")
        local = replace(face, target=face.target[rows], weight=face.weight[rows])
        part = fit_expression(problem, part, local, setup.model.expression_names, bounded)
        part, cost[rows] = _solve_rows(problem, part, rows, free, 4, first=False)
    state = state.replaced(rows, part)
    if times is not None and len(rows) > 1:
        inner = slice(rows[0], rows[-1] + 1)
        state = _filled(state, rows, times)
        smooth = rows_problem(problem, np.arange(len(state))[inner])
        if near:  # outliers pull more at first, as in _solve_rows
            state = state.replaced(inner, smooth_solve(_loosened(smooth, _GRADUATION[-1]), state[inner], times[inner], smoothness, 2))
        state = state.replaced(inner, smooth_solve(smooth, state[inner], times[inner], smoothness, 3 if near else 6))
    return state if common is None else replace(state, shape=np.tile(common, (len(state), 1))), cost


def rows_problem(problem: Problem, rows: np.ndarray) -> Problem:
    """The problem of some bodies only: its terms' arrays cut to them."""
    arrays = ("target", "weight", "direction", "intrinsics")
    terms = []
    for term in problem.terms:
        per_body = {n: getattr(term, n)[rows] for n in arrays if hasattr(term, n) and not (n == "intrinsics" and term.intrinsics.ndim == 3)}
        terms.append(replace(term, **per_body))
    return replace(problem, terms=tuple(terms))


def _solve_rows(problem: Problem, state: State, rows: np.ndarray, free: np.ndarray | None, iterations: int, first: bool = True) -> tuple:
    """Solve for some bodies. At first outliers pull fully, then less and less: a limb that starts far off must not be given up as one."""
    problem = rows_problem(problem, rows)
    for factor in _GRADUATION if first and any(term.robust is not None for term in problem.terms) else ():
        state, _ = solve(_loosened(problem, factor), state, free, 12, tolerance=1e-2)
    return solve(problem, state, free, iterations)


def _loosened(problem: Problem, factor: float) -> Problem:
    """The problem with a wider robust scale."""
    return replace(problem, terms=tuple(replace(t, robust=None if t.robust is None else t.robust * factor) for t in problem.terms))


def _common_shape(problem: Problem, state: State, rows: np.ndarray, iterations: int, near: bool) -> Float[np.ndarray, " s"]:
    """One person's shape from frames spread over a sequence: each fitted alone, then all with one shape."""
    most = _FEWER_SHAPE_FRAMES if near else _SHAPE_FRAMES
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))]
    part, _ = _solve_rows(problem, state[chosen], chosen, None, min(iterations, 4) if near else iterations, first=not near)
    part = replace(part, shape=np.broadcast_to(np.median(part.shape, axis=0), part.shape.shape).astype(part.shape.dtype))
    shared = replace(rows_problem(problem, chosen), shape_precision=problem.shape_precision / len(chosen))
    return solve(shared, part, None, iterations, shared_shape=True)[0].shape[0]


def _filled(state: State, rows: np.ndarray, times: np.ndarray) -> State:
    """Frames that were not fitted get what lies between their neighbours."""
    from scipy.spatial.transform import Rotation, Slerp

    gaps = np.setdiff1d(np.arange(rows[0], rows[-1] + 1), rows)
    if not len(gaps):
        return state
    across = lambda values: np.stack([np.interp(times[gaps], times[rows], v) for v in values[rows].T], 1).astype(values.dtype)  # noqa: E731
    root = Slerp(times[rows], Rotation.from_matrix(state.root[rows]))(times[gaps]).as_matrix().astype(state.root.dtype)
    between = State(
        across(state.translation),
        root,
        across(state.z),
        state.shape[gaps],
        across(state.expression) if state.expression.size else state.expression[gaps],
    )
    return state.replaced(gaps, between)


def _between(ok: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """True from the first to the last fitted frame."""
    return (np.cumsum(ok) > 0) & (np.cumsum(ok[::-1])[::-1] > 0)


def _error(term: PointTerm, seen: np.ndarray):
    """A function of the model's points: root mean square distance from what was seen."""

    def error(points: np.ndarray) -> np.ndarray:
        square = np.where(seen, ((points - term.target) ** 2).sum(-1), 0)
        return np.where(seen.any(1), np.sqrt(square.sum(1) / np.maximum(seen.sum(1), 1)), np.nan)

    return error


def fit_result(problem: Problem, fitted: tuple[State, np.ndarray], ok: Bool[np.ndarray, " n"], setup: Setup, error) -> FitResult:
    """Parameters of the whole model from a solved state; rows that are not ok are NaN."""
    from scipy.spatial.transform import Rotation

    state, cost = fitted
    model = setup.model
    vectors = problem.space.vectors(state.z)
    finite = np.isfinite(vectors).all((1, 2)) & np.isfinite(state.translation).all(1) & np.isfinite(state.root).all((1, 2))
    ok = ok & finite
    if len(state):
        vectors[:, 0] = Rotation.from_matrix(np.where(ok[:, None, None], state.root, np.eye(3))).as_rotvec()
    shape = np.zeros((len(state), model.num_shape), model.template.dtype)
    shape[:, : state.shape.shape[1]] = state.shape
    points = model_points(problem, state, len(setup.regressor))
    residual = error(points)
    parts = [np.array(a, model.template.dtype) for a in (vectors, shape, state.expression, state.translation)]
    for part in (*parts, points):
        part[~ok] = np.nan
    return FitResult(BodyParameters(*parts), points, ok, np.where(ok, residual, np.nan), np.where(ok, cost, np.nan), setup.regressor.names)
