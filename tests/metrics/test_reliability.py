"""Reliability of scores, on answers whose chances are known."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.metrics.reliability import reliability


def test_honest_scores_have_no_error_and_boastful_ones_do():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 200_000)
    right = rng.uniform(size=len(scores)) < scores
    assert reliability(scores, right).error < 0.006
    boastful = reliability(np.sqrt(scores), right)
    assert boastful.error == pytest.approx(2 / 3 - 1 / 2, abs=0.006)  # the means of sqrt(x) and x
    assert (boastful.score > boastful.share)[1:-1].all()


def test_bins_by_hand():
    found = reliability(np.array([0.05, 0.15, 0.15, 1.0]), np.array([False, True, False, True]))
    np.testing.assert_array_equal(found.count[[0, 1, 9]], [1, 2, 1])
    np.testing.assert_allclose(found.share[[0, 1, 9]], [0, 0.5, 1])
    assert np.isnan(found.share[5]) and found.error == pytest.approx((0.05 + 2 * 0.35 + 0) / 4)


def test_no_answers_and_nonsense():
    assert np.isnan(reliability(np.zeros(0), np.zeros(0, bool)).error)
    with pytest.raises(VitruvianError, match="between 0 and 1"):
        reliability(np.array([3.0]), np.array([True]))
    with pytest.raises(VitruvianError, match="one answer"):
        reliability(np.array([0.3]), np.array([True, False]))
