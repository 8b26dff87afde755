"""PCK and its relatives on points at known distances."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.metrics.pck import auc, box_unit, head_unit, mean_share, mpii_pckh, nme, normalised_distances, pck, points_unit
from vitruvian.skeletons import MPII_16


def at(distances):
    """Predictions so far to the right of the truth, in units of 1."""
    distances = np.asarray(distances, float)
    truth = np.random.default_rng(0).uniform(0, 50, (*distances.shape, 2))
    pred = truth + np.stack([distances, np.zeros_like(distances)], axis=-1)
    return pred, truth, np.ones(distances.shape, bool)


def test_pck_counts_points_at_the_threshold():
    distances = normalised_distances(*at([[1, 2.0], [3, 8], [5, 9]]), np.array([10.0, 10, 10]))
    np.testing.assert_allclose(pck(distances, 0.3 + 1e-12), [2 / 3, 1 / 3])
    assert mean_share(distances, 0.3 + 1e-12) == pytest.approx(0.5)
    assert nme(distances) == pytest.approx(2.8 / 6)


def test_auc_is_the_mean_over_thresholds():
    distances = normalised_distances(*at([[0.25]]), np.ones(1))
    assert auc(distances, 0.5, 20)[0] == pytest.approx(11 / 20) or auc(distances, 0.5, 20)[0] == pytest.approx(10 / 20)
    assert auc(normalised_distances(*at([[0.0]]), np.ones(1)))[0] == 1


def test_unannotated_points_and_units_without_length_count_nowhere():
    pred, truth, visible = at([[0, 0.0], [0, 0]])
    visible[0, 0] = False
    distances = normalised_distances(pred, truth, visible, np.array([1, 0.0]))
    assert np.isnan(distances).tolist() == [[True, False], [True, True]]
    assert np.isnan(pck(distances)).tolist() == [True, False]
    assert np.isnan(nme(distances[:0])) and np.isnan(mean_share(distances[:0]))


def test_a_missing_point_is_wrong():
    pred, truth, visible = at([[0, 0.0]])
    pred[0, 0] = np.nan
    assert pck(normalised_distances(pred, truth, visible, np.ones(1))).tolist() == [0, 1]


def test_units():
    assert box_unit(np.array([[0, 0, 3, 7.0]])).tolist() == [7]
    assert head_unit(np.array([[1, 1, 4, 5.0], [np.nan] * 4]))[0] == 3 and np.isnan(head_unit(np.full((1, 4), np.nan)))
    assert points_unit(np.array([[[0, 0], [3, 4.0]]]), 0, 1).tolist() == [5]


def test_mpii_table():
    """Ten people with a head of unit 6; knees are off by 3 (near), left wrists by 3.1 (not), pelvis and thorax by 100 (left out)."""
    off = np.zeros((10, 16))
    off[:, [MPII_16.index("left_knee"), MPII_16.index("right_knee")]] = 2.999
    off[:, MPII_16.index("left_wrist")] = 3.1
    off[:, [MPII_16.index("pelvis"), MPII_16.index("thorax")]] = 100
    table = mpii_pckh(*at(off), np.tile([0, 0, 6.0, 8.0], (10, 1)))
    assert table["knee"] == 1 and table["wrist"] == 0.5 and table["head"] == 1 and table["mean"] == pytest.approx(13 / 14)


def test_shapes_are_checked():
    pred, truth, visible = at([[0, 0.0]])
    with pytest.raises(VitruvianError, match="are needed"):
        normalised_distances(pred, truth, visible, np.ones(2))
