"""Joint-angle errors: shifts, sides, and what differs between the published and the corrected way."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.formats.mot import Mot
from vitruvian.systems.biomechanics.angle_errors import DEGREES_OF_FREEDOM, MIDDLE, SIDED, angle_errors, best_shift

LABELS = (*MIDDLE, *(f"{name}_{side}" for name in SIDED for side in "rl"))


def table(times, offset=0.0, lag=0.0, **extra):
    """Smooth angles in degrees; `extra` adds to single columns."""
    phase = np.arange(len(LABELS))
    values = 20 * np.sin(2 * np.pi * 0.9 * (times[:, None] - lag) + phase) + offset
    for label, add in extra.items():
        values[:, LABELS.index(label)] += add
    return Mot(LABELS, times, values)


TIMES = np.arange(200) / 100


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_equal_tables_have_no_error(mode):
    found = angle_errors([(table(TIMES), table(TIMES))], mode)
    assert np.allclose(found.rmse, 0) and np.allclose(found.rmse_no_shift, 0) and found.shifts == (0,) and found.mode == mode


@pytest.mark.parametrize("mode", ["published", "corrected"])
@pytest.mark.parametrize("rows", [7, -12])
def test_a_late_prediction_is_moved_back(mode, rows):
    """Found values that lag by 7 rows are moved by -7."""
    found = angle_errors([(table(TIMES), table(TIMES, lag=rows / 100))], mode)
    assert found.shifts == (-rows,) and found.rmse.max() < 1e-6 < found.rmse_no_shift.min()


def test_sides_are_averaged_and_trials_too():
    found = angle_errors([(table(TIMES), table(TIMES, hip_flexion_r=2.0)), (table(TIMES), table(TIMES, hip_flexion_r=4.0))], "published")
    assert dict(zip(found.names, found.rmse, strict=True))["hip_flexion"] == pytest.approx((2 + 4) / 2 / 2)
    assert found.trials == 2


def test_the_published_shift_is_cut_off_and_the_corrected_one_rounded():
    truth = table(TIMES)
    values = truth.values.copy()
    for side, rows in (("r", 4), ("l", 5)):
        values[:, LABELS.index(f"knee_angle_{side}")] = table(TIMES, lag=rows / 100).values[:, LABELS.index(f"knee_angle_{side}")]
    late = Mot(LABELS, TIMES, values)
    assert angle_errors([(truth, late)], "published").shifts == (-4,)
    assert angle_errors([(truth, late)], "corrected").shifts == (-4,)  # -4.5 to the even neighbour
    values[:, LABELS.index("knee_angle_l")] = table(TIMES, lag=0.07).values[:, LABELS.index("knee_angle_l")]
    assert angle_errors([(truth, Mot(LABELS, TIMES, values))], "published").shifts == (-5,)
    assert angle_errors([(truth, Mot(LABELS, TIMES, values))], "corrected").shifts == (-6,)


def test_the_corrected_way_matches_by_time_not_by_row():
    truth, found = table(TIMES), table(TIMES[30:] + 0.0)
    assert angle_errors([(truth, found)], "corrected").rmse_no_shift.max() < 1e-6
    assert angle_errors([(truth, found)], "published").rmse_no_shift.max() > 1
    other_rate = table(np.arange(120) / 60)
    assert angle_errors([(truth, other_rate)], "corrected").rmse_no_shift.max() < 0.05


def test_missing_rows_do_not_count():
    values = table(TIMES).values.copy()
    values[50:80] = np.nan
    found = angle_errors([(table(TIMES), Mot(LABELS, TIMES, values))], "corrected")
    assert np.allclose(found.rmse, 0)


def test_coordinates_that_a_model_lacks_are_unknown():
    keep = [i for i, label in enumerate(LABELS) if "subtalar" not in label]
    small = Mot(tuple(LABELS[i] for i in keep), TIMES, table(TIMES).values[:, keep])
    found = dict(zip(DEGREES_OF_FREEDOM, angle_errors([(table(TIMES), small)]).rmse, strict=True))
    assert np.isnan(found["subtalar_angle"]) and found["knee_angle"] == 0


def test_tables_without_knees_or_in_radians_are_refused():
    with pytest.raises(VitruvianError, match="knee_angle"):
        angle_errors([(Mot(("pelvis_tilt",), TIMES, np.zeros((200, 1))),) * 2])
    with pytest.raises(VitruvianError, match="radians"):
        angle_errors([(Mot(LABELS, TIMES, table(TIMES).values, in_degrees=False), table(TIMES))])


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_nothing_to_compare(mode):
    assert best_shift(np.zeros(0), np.zeros(0), mode) == 0
    assert np.isnan(angle_errors([], mode).rmse).all()
