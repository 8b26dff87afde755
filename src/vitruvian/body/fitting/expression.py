"""Expression coefficients from points on a posed face: a linear least-squares problem between bounds, once the head's place is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from vitruvian.body.fitting.moments import expression_jacobian, joint_frames, pose_points
from vitruvian.body.fitting.solve import Problem, State
from vitruvian.body.fitting.terms import PointTerm

_SWEEPS = 12
_WIDTH = 0.35  # standard deviation of an action's weight about 0
# Points don't tell these from the jaw joint, the eyes' or the tongue's own turns.
_LEFT_OUT = ("jaw", "eyeLook", "tongue", "mouthClose")


def fitted_expressions(names: tuple[str, ...]) -> list[int]:
    """Which of a model's expressions a fit changes."""
    return [i for i, name in enumerate(names) if not name.startswith(_LEFT_OUT)]


def fit_expression(problem: Problem, state: State, term: PointTerm, names: tuple[str, ...], bounded: bool) -> State:
    """The state with the expression that explains best what the neutral face leaves, with a prior towards none.

    bounded: coefficients between 0 and 1 (facial actions); otherwise free (statistical expressions, in standard deviations).
    """
    chosen = fitted_expressions(names)
    rows, dtype = np.arange(len(state)), state.z.dtype
    matrix = np.zeros((len(state), len(chosen), len(chosen)), dtype)
    pull = np.zeros((len(state), len(chosen)), dtype)
    frames = joint_frames(problem.parents, state.root, problem.space.vectors(state.z))
    for block in problem.blocks:
        if len(block.moments.expression):
            points, _ = pose_points(block.moments, frames, state.shape, state.translation)
            jacobian = expression_jacobian(block.moments, frames.world)[..., chosen]
            _, g, h = term.normal(rows, block.points, points, jacobian)
            matrix, pull = matrix + h, pull - g
    width = _WIDTH if bounded else 1.0
    matrix[:, range(len(chosen)), range(len(chosen))] += dtype.type(width**-2)
    values = np.zeros_like(state.expression)
    values[:, chosen] = _bounded(matrix, pull) if bounded else np.linalg.solve(matrix, pull[..., None])[..., 0]
    return replace(state, expression=values)


def _bounded(matrix: Float[np.ndarray, "n e e"], pull: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """argmin x'Mx/2 - p'x for x in [0, 1], by coordinate descent."""
    x = np.zeros_like(pull)
    diagonal = np.einsum("nee->ne", matrix)
    for _ in range(_SWEEPS):
        for e in range(x.shape[1]):
            rest = pull[:, e] - (matrix[:, e] * x).sum(1) + diagonal[:, e] * x[:, e]
            x[:, e] = np.clip(rest / diagonal[:, e], 0, 1)
    return x
