"""Matrix products and solutions in pieces that BLAS works in one thread.

Fitting makes thousands of small products. OpenBLAS splits all but the smallest among threads, which gains little on an idle machine;
on a busy one (a capture that runs networks meanwhile) each product waits for a thread to be given a core: fits were ten times slower.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_LARGEST = 1 << 18  # multiplications; OpenBLAS takes one thread up to here


def product(a: Float[np.ndarray, "m k"], b: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "m n"]:
    """a @ b."""
    rows = max(_LARGEST // max(b.size, 1), 1)
    out = np.empty((len(a), b.shape[1]), np.result_type(a, b))
    for start in range(0, len(a), rows):
        np.matmul(a[start : start + rows], b, out=out[start : start + rows])
    return out


def gram(a: Float[np.ndarray, "b r p"], b: Float[np.ndarray, "b r q"]) -> Float[np.ndarray, "b p q"]:
    """Transposed a times b, for each of a batch. Give two arrays: numpy makes syrk of one's square, which is threaded too."""
    rows = max(_LARGEST // max(a.shape[2] * b.shape[2], 1), 1)
    total = a[:, :rows].swapaxes(1, 2) @ b[:, :rows]
    for start in range(rows, a.shape[1], rows):
        total += a[:, start : start + rows].swapaxes(1, 2) @ b[:, start : start + rows]
    return total


_BLOCK = 16


def solve_positive(matrix: Float[np.ndarray, "b n n"], right: Float[np.ndarray, "b n m"]) -> Float[np.ndarray, "b n m"]:
    """Solutions x of matrix x = right for symmetric positive definite matrices, by blocked Cholesky decomposition.

    A matrix that rounding has made indefinite sends the whole batch to numpy's general solver; its own solution may then be useless.
    """
    starts = range(0, matrix.shape[1], _BLOCK)
    try:
        factors, inverses = _decomposed(matrix, starts)
    except np.linalg.LinAlgError:
        return np.linalg.solve(matrix, right)
    x = right.copy()
    for start, inverse in zip(starts, inverses, strict=True):  # L y = right, block by block, then the transposed system backwards
        stop = start + inverse.shape[1]
        x[:, start:stop] = inverse @ x[:, start:stop]
        x[:, stop:] -= factors[:, stop:, start:stop] @ x[:, start:stop]
    for start, inverse in zip(reversed(starts), reversed(inverses), strict=True):
        stop = start + inverse.shape[1]
        x[:, start:stop] = inverse.swapaxes(1, 2) @ (x[:, start:stop] - factors[:, stop:, start:stop].swapaxes(1, 2) @ x[:, stop:])
    return x


def _decomposed(matrix: Float[np.ndarray, "b n n"], starts: range) -> tuple[Float[np.ndarray, "b n n"], list[Float[np.ndarray, "b k k"]]]:
    """Lower Cholesky factors (what is above the blocks' diagonal is left over), and the inverses of their diagonal blocks."""
    work, inverses = matrix.copy(), []
    for start in starts:
        stop = min(start + _BLOCK, matrix.shape[1])
        inverses.append(np.linalg.inv(np.linalg.cholesky(work[:, start:stop, start:stop])))
        panel = work[:, stop:, start:stop] @ inverses[-1].swapaxes(1, 2)
        work[:, stop:, start:stop] = panel
        work[:, stop:, stop:] -= panel @ panel.swapaxes(1, 2).copy()
    return work, inverses
