from itertools import permutations

import numpy as np
import pytest

from vitruvian.people.assignment import assign


def best_total(cost):
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    rows = np.arange(cost.shape[0])
    return min(cost[rows, list(columns)].sum() for columns in permutations(range(cost.shape[1]), len(rows)))


@pytest.mark.parametrize("seed", range(30))
def test_total_is_the_smallest_of_all_pairings(seed):
    random = np.random.default_rng(seed)
    cost = random.normal(size=random.integers(1, 7, 2)).round(random.integers(0, 4))  # rounded: ties too
    rows, columns = assign(cost)
    assert len(rows) == min(cost.shape) == len(set(columns.tolist()))
    assert (np.diff(rows) > 0).all()
    assert cost[rows, columns].sum() == pytest.approx(best_total(cost))


def test_agrees_with_scipy_on_large_matrices():
    scipy_optimize = pytest.importorskip("scipy.optimize")
    for shape in ((40, 60), (60, 40), (50, 50)):
        cost = np.random.default_rng(shape).uniform(size=shape)
        assert cost[assign(cost)].sum() == pytest.approx(cost[scipy_optimize.linear_sum_assignment(cost)].sum())


def test_empty_matrices_have_no_pairs():
    for shape in ((0, 0), (0, 3), (3, 0)):
        assert [len(part) for part in assign(np.zeros(shape))] == [0, 0]


def test_a_cost_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="finite"):
        assign(np.array([[1.0, np.inf]]))
