"""Exact minimum-cost assignment of rectangular matrices, so that tracking does not need scipy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def assign(cost: Float[np.ndarray, "n m"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Pair rows with columns, each at most once, so that k = min(n, m) pairs have the smallest total cost.

    Returns the row and the column of each pair, rows ascending. Exact in O(k^2 max(n, m)): one shortest augmenting path per row with dual
    prices u, v (Jonker and Volgenant, Computing 1987). Raises ValueError when a cost is not finite: cap forbidden pairs at a high cost and
    drop them from the answer.
    """
    cost = np.asarray(cost, dtype=np.float64)
    if not np.isfinite(cost).all():
        raise ValueError("assign: every cost must be finite")
    if cost.shape[0] > cost.shape[1]:
        columns, rows = assign(cost.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    n, m = cost.shape
    u, v = np.zeros(n), np.zeros(m)
    column_of, row_of = np.full(n, -1), np.full(m, -1)
    for start in range(n):
        distance, previous, done = np.full(m, np.inf), np.full(m, -1), np.zeros(m, dtype=bool)
        row, nearest = start, 0.0
        while True:  # Dijkstra over the columns, until a free one is the nearest
            reach = nearest + cost[row] - u[row] - v
            better = ~done & (reach < distance)
            distance[better], previous[better] = reach[better], row
            column = int(np.argmin(np.where(done, np.inf, distance)))
            nearest = distance[column]
            done[column] = True
            if row_of[column] < 0:
                break
            row = row_of[column]
        inner = done & (row_of >= 0)
        u[start] += nearest
        u[row_of[inner]] += nearest - distance[inner]
        v[done] -= nearest - distance[done]
        while True:  # flip the pairs along the path back to the starting row
            row = previous[column]
            row_of[column] = row
            column_of[row], column = column, column_of[row]
            if row == start:
                break
    return np.arange(n), column_of
