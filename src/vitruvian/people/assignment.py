"""Exact minimum-cost assignment of rectangular matrices."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def assign(cost: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Pair rows with columns, each at most once, so that k = min(n, m) pairs have the smallest total cost.

    Returns the row and the column of each pair, rows ascending. Raises ValueError when a cost is not finite: cap forbidden pairs at a high
    cost and drop them from the answer.
    """
    cost = np.asarray(cost, dtype=np.float64)
    if not np.isfinite(cost).all():
        raise ValueError("assign: every cost must be finite")
    if min(cost.shape) == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    if min(cost.shape) == 1:  # most frames show one person
        row, column = np.unravel_index(cost.argmin(), cost.shape)
        return np.array([row]), np.array([column])
    from scipy.optimize import linear_sum_assignment  # half a second to import, and only films of several people need it

    return linear_sum_assignment(cost)
