"""Fits of a sequence: the frames of one body, tied by a penalty on accelerations, at true time stamps.

The penalty is the sum over frames of |acceleration / sigma|^2 of translation, root turn and pose values, times the time step, so
that it does not depend on the frame rate. Gauss-Newton; each step solves all frames at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.body.fitting.jacobian import ROOT
from vitruvian.body.fitting.solve import Problem, State, normal_equations

ACCELERATION = 3.0  # m / s^2 of the pelvis, standard deviation
TURN = 15.0  # rad / s^2 of the root and of pose values
RATE = 30.0  # frames per second at which a frame's data weigh as much as they say
_WINDOW = 400  # frames solved at once: bounds memory
_SHORTEST = 1e-3  # seconds: frames nearer in time count as this, whose ties still leave room for what is seen in float64


@dataclass(frozen=True, eq=False)
class Ties:
    """Second derivatives in time as weights of three neighbours, and 1 / variance of each column's acceleration for each triple."""

    weights: Float[np.ndarray, "m 3"]
    stiffness: Float[np.ndarray, "m p"]
    step: Float[np.ndarray, "m 2"]


def time_ties(times: Float[np.ndarray, " n"], space_size: int, smoothness: float = 1.0) -> Ties:
    """Ties of n frames at `times` (seconds, increasing); smoothness 2 halves the standard deviations of accelerations."""
    h = np.maximum(np.diff(times), _SHORTEST)
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
        step[:, :size] = _step(matrix, gradient, ties, held, damping)
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


def _step(matrix: np.ndarray, gradient: np.ndarray, ties: Ties, held: int, damping: float) -> np.ndarray:
    """The step -(H + T)^-1 g; the first `held` frames do not move.

    A frame is tied to the two before it, so that all frames together make one matrix with a narrow band, which LAPACK solves as it is. In
    float64: at many frames per second ties outweigh what is seen by more than float32 has digits.
    """
    from scipy.linalg import solveh_banded

    count, size = gradient.shape
    bands = np.zeros((count, size, 2 * size + 1))  # of each column, from the diagonal downwards
    for column in range(size):
        bands[:, column, : size - column] = matrix[:, column:, column]
    bands[:, :, 0] *= 1 + damping
    for place in range(3):
        for later in range(3 - place):
            weight = ties.weights[:, place] * ties.weights[:, place + later]
            bands[place : count - 2 + place, :, later * size] += weight[:, None] * ties.stiffness
    first = held * size
    step = np.zeros(count * size)
    step[first:] = solveh_banded(
        bands.reshape(count * size, -1)[first:].T,
        -gradient.ravel()[first:],
        lower=True,
        overwrite_ab=True,
        overwrite_b=True,
        check_finite=False,
    )
    return step.reshape(count, size)
