"""Exact minimum-cost assignment of rectangular matrices."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def assign(cost: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Pair rows with columns, each at most once, so that k = min(n, m) pairs have the smallest total cost.

    Returns the row and the column of each pair, rows ascending. Raises ValueError when a cost is not finite: cap forbidden pairs at a high
    cost and drop them from the answer.
    """
    from scipy.optimize import linear_sum_assignment  # half a second to import, and only films need it

    cost = np.asarray(cost, dtype=np.float64)
    if not np.isfinite(cost).all():
        raise ValueError("assign: every cost must be finite")
    return linear_sum_assignment(cost)
