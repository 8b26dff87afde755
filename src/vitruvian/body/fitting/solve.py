"""Levenberg-Marquardt for many bodies at once: each has its own damping and stops when it no longer gains.

Unknowns of a body: translation, root turn, pose z and shape; columns as in `jacobian`. Bodies may share one shape (a person's
sequence): then the shape's step is solved over all bodies (Schur complement) and all steps are accepted or refused together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from vitruvian.body.fitting.jacobian import ROOT, Block, point_jacobian
from vitruvian.body.fitting.moments import joint_frames, pose_points
from vitruvian.body.fitting.poseprior import PosePrior
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.products import product, solve_positive


@dataclass(frozen=True, eq=False)
class State:
    """Where the fit of n bodies stands: translation, root rotation matrix, pose values, shape, expression."""

    translation: Float[np.ndarray, "n 3"]
    root: Float[np.ndarray, "n 3 3"]
    z: Float[np.ndarray, "n d"]
    shape: Float[np.ndarray, "n s"]
    expression: Float[np.ndarray, "n e"]

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Int[np.ndarray, " b"] | slice) -> State:
        return State(self.translation[rows], self.root[rows], self.z[rows], self.shape[rows], self.expression[rows])

    def replaced(self, rows: Int[np.ndarray, " b"] | slice, other: State) -> State:
        """This state with some bodies' values from another."""
        parts = []
        for name in ("translation", "root", "z", "shape", "expression"):
            part = getattr(self, name).copy()
            part[rows] = getattr(other, name)
            parts.append(part)
        return State(*parts)

    def moved(self, step: Float[np.ndarray, "n p"]) -> State:
        """The state after a step in all columns."""
        d = self.z.shape[1]
        turn = rotation_matrices(step[:, 3:ROOT])
        return State(
            self.translation + step[:, :3],
            turn @ self.root,
            self.z + step[:, ROOT : ROOT + d],
            self.shape + step[:, ROOT + d :],
            self.expression,
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """The model's joints and points, what pulls at them, and what is likely. shape_precision (s): 1 / variance of each coefficient."""

    parents: tuple[int, ...]
    space: PosePrior
    blocks: tuple[Block, ...]
    terms: Sequence
    shape_precision: Float[np.ndarray, " s"]
    prior: float = 1.0

    @property
    def size(self) -> int:
        """The number of columns."""
        return ROOT + self.space.size + len(self.shape_precision)

    def of_shape(self, shape: Float[np.ndarray, " s"]) -> Problem:
        """The problem of bodies whose shape is known: states of it have none (n, 0), and fewer columns."""
        left = [replace(b, columns=b.columns[: len(b.columns) - len(shape)], moments=b.moments.of_shape(shape)) for b in self.blocks]
        return replace(self, blocks=tuple(left), shape_precision=self.shape_precision[:0])


def model_points(problem: Problem, state: State, count: int) -> Float[np.ndarray, "n k 3"]:
    """The fitted points of all bodies, NaN where the model has none. `count`: how many points the targets have."""
    out = np.full((len(state), count, 3), np.nan, state.z.dtype)
    frames = joint_frames(problem.parents, state.root, problem.space.vectors(state.z))
    for block in problem.blocks:
        out[:, block.points] = pose_points(block.moments, frames, state.shape, state.translation, state.expression)[0]
    return out


def normal_equations(
    problem: Problem, state: State, rows: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n p"], Float[np.ndarray, "n p p"]]:
    """Cost, gradient and Gauss-Newton matrix of n bodies; `rows` are their places in the terms' arrays."""
    space, first = problem.space, ROOT + problem.space.size
    off = state.z - space.likely
    pull = problem.prior * product(off, space.precision)
    cost = (off * pull).sum(1) + (state.shape * state.shape) @ problem.shape_precision
    gradient = np.zeros((len(state), problem.size), state.z.dtype)
    gradient[:, ROOT:first], gradient[:, first:] = pull, state.shape * problem.shape_precision
    matrix = np.zeros((len(state), problem.size, problem.size), state.z.dtype)
    matrix[:, ROOT:first, ROOT:first] = problem.prior * space.precision
    matrix[:, range(first, problem.size), range(first, problem.size)] = problem.shape_precision
    frames = joint_frames(problem.parents, state.root, space.vectors(state.z))
    for block in problem.blocks:
        points, turned = pose_points(block.moments, frames, state.shape, state.translation, state.expression)
        jacobian = point_jacobian(block.moments, block.plan, frames, turned)
        for term in problem.terms:
            c, g, h = term.normal(rows, block.points, points, jacobian)
            cost = cost + c
            gradient[:, block.columns] += g
            matrix[:, block.columns[:, None], block.columns] += h
    return cost, gradient, matrix


def solve(
    problem: Problem,
    state: State,
    free: Int[np.ndarray, " f"] | None = None,
    iterations: int = 20,
    tolerance: float = 1e-3,
    shared_shape: bool = False,
    batch: int = 64,
) -> tuple[State, Float[np.ndarray, " n"]]:
    """Minimise over the free columns (None: all) from a start; returns the state and each body's cost.

    A body stops when a step gains less than `tolerance` of its cost. Without a shared shape the bodies are worked in batches.
    """
    free = np.arange(problem.size) if free is None else free
    if shared_shape:
        return _solve_shared(problem, state, free, iterations, tolerance)
    costs = np.zeros(len(state), state.z.dtype)
    for start in range(0, len(state), batch):
        rows = np.arange(start, min(start + batch, len(state)))
        part, costs[rows] = _solve_batch(problem, state[rows], rows, free, iterations, tolerance)
        state = state.replaced(rows, part)
    return state, costs


def _solve_batch(problem: Problem, state: State, rows: np.ndarray, free: np.ndarray, iterations: int, tolerance: float) -> tuple:
    cost, gradient, matrix = normal_equations(problem, state, rows)
    damping, active = np.full(len(rows), 1e-3, cost.dtype), np.arange(len(rows))
    for _ in range(iterations):
        if not len(active):
            break
        step = np.zeros((len(active), problem.size), cost.dtype)
        step[:, free] = _damped_step(matrix[active][:, free[:, None], free], gradient[active][:, free], damping[active])
        trial = state[active].moved(step)
        c, g, h = normal_equations(problem, trial, rows[active])
        better = c < cost[active]  # also False where a step has led to NaN
        gain = np.where(better, cost[active] - c, 0)
        done = np.where(better, gain <= tolerance * cost[active], damping[active] > 1e3)
        taken = active[better]
        damping[active] = np.where(better, damping[active] * 0.2, damping[active] * 8)
        state = state.replaced(taken, trial[better])
        cost[taken], gradient[taken], matrix[taken] = c[better], g[better], h[better]
        active = active[~done]
    return state, cost


def _damped_step(
    matrix: Float[np.ndarray, "b f f"], gradient: Float[np.ndarray, "b f"], damping: Float[np.ndarray, " b"]
) -> Float[np.ndarray, "b f"]:
    """-(H + damping diag H)^-1 g. Columns are scaled to a unit diagonal first, which float32 needs."""
    diagonal = np.einsum("bff->bf", matrix)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-9 * diagonal.max(1, keepdims=True, initial=1e-20)))
    system = matrix * scale[:, :, None] * scale[:, None]
    index = np.arange(matrix.shape[1])
    system[:, index, index] += damping[:, None] + np.finfo(matrix.dtype).eps * 8
    return -scale * solve_positive(system, (gradient * scale)[..., None])[..., 0]


def _solve_shared(problem: Problem, state: State, free: np.ndarray, iterations: int, tolerance: float) -> tuple:
    """All bodies share the shape: arrow-shaped normal equations, one damping, all steps accepted or refused together."""
    rows, first = np.arange(len(state)), ROOT + problem.space.size
    own, shape = free[free < first], free[free >= first]
    cost, gradient, matrix = normal_equations(problem, state, rows)
    damping = 1e-3
    for _ in range(iterations):
        if not len(rows):
            break
        step = _shared_step(matrix, gradient, own, shape, damping)
        trial = state.moved(step)
        c, g, h = normal_equations(problem, trial, rows)
        if c.sum() < cost.sum():
            gain = cost.sum() - c.sum()
            state, cost, gradient, matrix, damping = trial, c, g, h, damping * 0.2
            if gain <= tolerance * (cost.sum() + gain):
                break
        elif damping > 1e3:
            break
        else:
            damping *= 8
    return state, cost


def _shared_step(matrix: np.ndarray, gradient: np.ndarray, own: np.ndarray, shape: np.ndarray, damping: float) -> np.ndarray:
    """The step of every body's own columns and of the shape common to all. The shape's prior counts once, as its rows are divided by n."""
    step = np.zeros_like(gradient)
    a = matrix[:, own[:, None], own].astype(np.float64)
    index = np.arange(len(own))
    a[:, index, index] *= 1 + damping
    a[:, index, index] += 1e-9 * a[:, index, index].max(1, keepdims=True)
    b, c = matrix[:, own[:, None], shape].astype(np.float64), matrix[:, shape[:, None], shape].astype(np.float64)
    right = np.concatenate([b, gradient[:, own, None]], 2)
    solved = solve_positive(a, right)
    corner = c.sum(0) - (b.swapaxes(1, 2) @ solved[..., :-1]).sum(0)
    corner[np.arange(len(shape)), np.arange(len(shape))] *= 1 + damping
    pull = gradient[:, shape].sum(0) - (b.swapaxes(1, 2) @ solved[..., -1:])[..., 0].sum(0)
    common = -np.linalg.solve(corner, pull)
    step[:, shape] = common
    step[:, own] = -solved[..., -1] - solved[..., :-1] @ common
    return step
