"""Fits of a sequence: the frames of one body, tied by a penalty on accelerations, at true time stamps.

The penalty is the sum over frames of |acceleration / sigma|^2 of translation, root turn and pose values, times the time step, so
that it does not depend on the frame rate. Gauss-Newton; each step by conjugate gradients, preconditioned frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.body.fitting.jacobian import ROOT
from vitruvian.body.fitting.solve import Problem, State, normal_equations
from vitruvian.body.products import solve_positive

ACCELERATION = 3.0  # m / s^2 of the pelvis, standard deviation
TURN = 15.0  # rad / s^2 of the root and of pose values
RATE = 30.0  # frames per second at which a frame's data weigh as much as they say
_WINDOW, _CG_STEPS = 400, 40


@dataclass(frozen=True, eq=False)
class Ties:
    """Second derivatives in time as weights of three neighbours, and 1 / variance of each column's acceleration for each triple."""

    weights: Float[np.ndarray, "m 3"]
    stiffness: Float[np.ndarray, "m p"]
    step: Float[np.ndarray, "m 2"]


def time_ties(times: Float[np.ndarray, " n"], space_size: int, smoothness: float = 1.0) -> Ties:
    """Ties of n frames at `times` (seconds, increasing); smoothness 2 halves the standard deviations of accelerations."""
    h = np.diff(times)
    before, after = h[:-1], h[1:]
    total = before + after
    weights = np.stack([2 / (before * total), -2 / (before * after), 2 / (after * total)], 1)
    sigma = np.concatenate([np.full(3, ACCELERATION), np.full(3 + space_size, TURN)]) / smoothness
    return Ties(weights, (total[:, None] / 2 * RATE) / sigma**2, np.stack([before, after], 1))


def smooth_solve(problem: Problem, state: State, times: Float[np.ndarray, " n"], smoothness: float, iterations: int = 6) -> State:
    """Refine the poses of a sequence under its ties; shape and expression stay. Long sequences go in windows that join smoothly."""
    if len(state) < 3:
        return state
    start = 0
    while True:
        held = 0 if start == 0 else 2
        rows = np.arange(start - held, min(start + _WINDOW, len(state)))
        part = _window(problem, state[rows], rows, time_ties(times[rows], problem.space.size, smoothness), held, iterations)
        state = state.replaced(rows, part)
        start = int(rows[-1]) + 1
        if start >= len(state):
            return state


def _window(problem: Problem, state: State, rows: np.ndarray, ties: Ties, held: int, iterations: int) -> State:
    if len(rows) < 3:
        return state
    size, damping = ROOT + problem.space.size, 1e-3
    cost, gradient, matrix = _all(problem, state, rows, ties, size)
    for _ in range(iterations):
        step = np.zeros((len(rows), problem.size), state.z.dtype)
        step[:, :size] = _cg(matrix, gradient, ties, held, damping)
        trial = state.moved(step)
        c, g, h = _all(problem, trial, rows, ties, size)
        if c < cost:
            done = cost - c < 1e-4 * cost
            state, cost, gradient, matrix, damping = trial, c, g, h, damping * 0.2
            if done:
                break
        else:
            damping *= 10
    return state


def _all(problem: Problem, state: State, rows: np.ndarray, ties: Ties, size: int) -> tuple:
    """Total cost, gradient with the ties' part, and the data's matrices."""
    parts = [normal_equations(problem, state[s : s + 64], rows[s : s + 64]) for s in range(0, len(rows), 64)]
    cost, gradient, matrix = (np.concatenate([p[i] for p in parts]) for i in range(3))
    acceleration = accelerations(state, ties)
    pull = ties.stiffness * acceleration
    total = float(cost.sum(dtype=np.float64)) + float((pull * acceleration).sum())
    return total, gradient[:, :size].astype(np.float64) + _scatter(pull, ties, len(rows)), matrix[:, :size, :size]


def accelerations(state: State, ties: Ties) -> Float[np.ndarray, "m p"]:
    """Second derivatives of translation, root turn (world axes) and pose values."""
    from scipy.spatial.transform import Rotation

    values = np.concatenate([state.translation, np.zeros((len(state), 3)), state.z], 1).astype(np.float64)
    out = _gather(values, ties)
    turns = Rotation.from_matrix(state.root[1:] @ state.root[:-1].swapaxes(1, 2)).as_rotvec()
    out[:, 3:ROOT] = (turns[1:] / ties.step[:, 1:] - turns[:-1] / ties.step[:, :1]) * 2 / ties.step.sum(1, keepdims=True)
    return out


def _gather(values: np.ndarray, ties: Ties) -> np.ndarray:
    w = ties.weights
    return w[:, :1] * values[:-2] + w[:, 1:2] * values[1:-1] + w[:, 2:] * values[2:]


def _scatter(pull: np.ndarray, ties: Ties, count: int) -> np.ndarray:
    out = np.zeros((count, pull.shape[1]))
    for i in range(3):
        out[i : count - 2 + i] += ties.weights[:, i : i + 1] * pull
    return out


def _cg(matrix: np.ndarray, gradient: np.ndarray, ties: Ties, held: int, damping: float) -> np.ndarray:
    """The step -(H + T)^-1 g by preconditioned conjugate gradients; the first `held` frames do not move."""
    count, size = gradient.shape
    index = np.arange(size)
    own = np.zeros((count, size))
    for i in range(3):
        own[i : count - 2 + i] += ties.weights[:, i : i + 1] ** 2 * ties.stiffness
    damped = matrix.astype(np.float64)
    damped[:, index, index] *= 1 + damping
    block = damped.copy()
    block[:, index, index] += own
    inverse = _near_inverse(block)
    free = np.ones((count, 1))
    free[:held] = 0
    residual = -gradient * free
    step, z = np.zeros_like(residual), inverse(residual) * free
    direction, size_ = z, float((residual * z).sum())
    first = size_
    for _ in range(_CG_STEPS):
        image = (np.einsum("tij,tj->ti", damped, direction) + _scatter(ties.stiffness * _gather(direction, ties), ties, count)) * free
        alpha = size_ / max(float((direction * image).sum()), 1e-300)
        step, residual = step + alpha * direction, residual - alpha * image
        z = inverse(residual) * free
        new = float((residual * z).sum())
        if new < 1e-6 * first:
            break
        direction, size_ = z + new / size_ * direction, new
    return step


def _near_inverse(matrix: Float[np.ndarray, "n p p"]) -> Callable[[Float[np.ndarray, "n p"]], Float[np.ndarray, "n p"]]:
    """Solves about as each of the matrices does, in float32, which halves the time; the steps that it only guides are in float64."""
    scale = 1 / np.sqrt(np.einsum("tii->ti", matrix))
    unit = (matrix * scale[:, :, None] * scale[:, None]).astype(np.float32)
    inverse = solve_positive(unit, np.broadcast_to(np.eye(matrix.shape[1], dtype=np.float32), matrix.shape))
    return lambda values: scale * np.einsum("tij,tj->ti", inverse, (scale * values).astype(np.float32))
