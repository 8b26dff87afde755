import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.errors import VitruvianError
from vitruvian.people.filters import ORDERS, butterworth, fillable, interpolate, kalman, outliers, runs

LOW_PASSES = (kalman, butterworth)
rng = np.random.default_rng


def ones(times):
    return np.ones((len(times), 1))


def wave(times, hertz):
    return np.sin(2 * np.pi * hertz * times)[:, None, None]


def size(times, smooth, hertz):
    """Amplitude of the wave in a series."""
    basis = np.stack([np.sin(2 * np.pi * hertz * times), np.cos(2 * np.pi * hertz * times)], axis=1)
    return np.linalg.norm(np.linalg.lstsq(basis, smooth, rcond=None)[0])


def uneven(seed=0, frames=400, fps=30.0):
    """Times that stray by up to a third of a step from an even rate."""
    return np.arange(frames) / fps + rng(seed).uniform(-0.33, 0.33, frames) / fps


@pytest.mark.parametrize("low_pass", LOW_PASSES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fps", [30, 60, 120])
def test_half_of_a_wave_at_the_cutoff_passes(low_pass, order, fps):
    times = np.arange(8 * fps) / fps
    smooth = low_pass(times, wave(times, 6.0), ones(times), 6.0, order)[:, 0, 0]
    assert size(times[2 * fps : -2 * fps], smooth[2 * fps : -2 * fps], 6.0) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("low_pass", LOW_PASSES)
def test_the_gain_follows_the_formula_of_the_docstring(low_pass):
    times = np.arange(1200) / 240
    for hertz in (1.0, 3.0, 9.0):
        smooth = low_pass(times, wave(times, hertz), ones(times), 6.0, 4)[240:-240, 0, 0]
        assert np.ptp(smooth) / 2 == pytest.approx(1 / (1 + (hertz / 6.0) ** 4), abs=0.01)


@pytest.mark.parametrize("low_pass", LOW_PASSES)
def test_there_is_no_lag(low_pass):
    times = np.arange(300) / 60
    smooth = low_pass(times, wave(times, 2.0), ones(times), 6.0)[60:-60, 0, 0]
    assert abs(smooth @ np.cos(2 * np.pi * 2.0 * times[60:-60])) < 1e-3 * abs(smooth @ wave(times, 2.0)[60:-60, 0, 0])


@pytest.mark.parametrize("low_pass", LOW_PASSES)
@pytest.mark.parametrize("times", [np.arange(60) / 30, uneven(frames=60)])
def test_straight_motion_stays_straight_up_to_its_ends_whatever_the_weights(low_pass, times):
    line = np.stack([100 + 50 * times, 20 - 3 * times], axis=1)[:, None]
    weights = rng(1).uniform(0.25, 1, (60, 1))
    np.testing.assert_allclose(low_pass(times, line, weights, 6.0), line, atol=1e-6)


@pytest.mark.parametrize("low_pass", LOW_PASSES)
def test_uneven_times_do_not_bend_a_slow_wave(low_pass):
    times = uneven()
    assert np.abs(low_pass(times, wave(times, 1.0), ones(times), 6.0) - wave(times, 1.0))[20:-20].max() < 0.003


@pytest.mark.parametrize("low_pass", LOW_PASSES)
def test_noise_falls_on_uneven_times_as_on_even_ones(low_pass):
    noise = rng(2).normal(0, 1, (400, 1, 1))
    even, odd = (low_pass(times, noise, ones(times), 6.0)[20:-20].std() for times in (np.arange(400) / 30, uneven()))
    assert even == pytest.approx(odd, rel=0.15) and even < 0.7


@pytest.mark.parametrize("low_pass", LOW_PASSES)
def test_a_cutoff_over_half_the_frame_rate_changes_nothing(low_pass):
    times = np.arange(50) / 30
    noise = rng(3).normal(0, 1, (50, 1, 1))
    np.testing.assert_array_equal(low_pass(times, noise, ones(times), 15.0), noise)


@pytest.mark.parametrize("low_pass", LOW_PASSES)
def test_a_doubtful_jump_pulls_less(low_pass):
    times = np.arange(60) / 30
    jump = np.zeros((60, 1, 1))
    jump[30] = 1.0
    doubt = ones(times)
    doubt[30] = 0.25
    assert low_pass(times, jump, doubt, 6.0)[30, 0, 0] < 0.6 * low_pass(times, jump, ones(times), 6.0)[30, 0, 0]


@pytest.mark.parametrize("order", ORDERS)
def test_kalman_is_the_recursion_of_the_textbook(order):
    """Forward filter with a vague start, then Rauch-Tung-Striebel, on uneven times with missing points."""
    from math import factorial

    m, cutoff, step = order // 2, 5.0, 1 / 30
    times = uneven(4, 40)
    values = np.cumsum(rng(5).normal(0, 1, (40, 1, 1)), axis=0)
    weights = rng(6).uniform(0.3, 1, (40, 1))
    weights[[7, 8, 20]] = 0
    got = kalman(times, values, weights, cutoff, order, step)[:, 0, 0]

    steps = np.diff(times) / step
    stands_for = np.clip((np.r_[steps[0], steps] + np.r_[steps, steps[-1]]) / 2, 0, 2)
    angle = 2 * np.pi * cutoff * step
    spectrum = {1: 1, 2: (2 + np.cos(angle)) / 3, 3: (33 + 26 * np.cos(angle) + np.cos(2 * angle)) / 60}[m]
    density = (2 - 2 * np.cos(angle)) ** m / spectrum
    mean, covariance = np.zeros(m), np.eye(m) * 1e8
    forward = []
    for i in range(40):
        h = (times[i] - times[i - 1]) / step if i else 0.0
        move = np.array([[h ** (b - a) / factorial(b - a) if b >= a else 0 for b in range(m)] for a in range(m)])
        disturb = np.array(
            [
                [h ** (2 * m - 1 - a - b) / ((2 * m - 1 - a - b) * factorial(m - 1 - a) * factorial(m - 1 - b)) for b in range(m)]
                for a in range(m)
            ]
        )
        ahead, spread = move @ mean, move @ covariance @ move.T + density * disturb
        mean, covariance = ahead, spread
        weight = weights[i, 0] * stands_for[i]
        if weight:
            gain = spread[:, 0] / (spread[0, 0] + 1 / weight)
            mean, covariance = ahead + gain * (values[i, 0, 0] - ahead[0]), spread - np.outer(gain, spread[0])
        forward.append((move, ahead, spread, mean, covariance))
    want = [mean]
    for i in range(38, -1, -1):
        _, _, _, mean, covariance = forward[i]
        move, ahead, spread, _, _ = forward[i + 1]
        want.append(mean + covariance @ move.T @ np.linalg.solve(spread, want[-1] - ahead))
    np.testing.assert_allclose(got, [state[0] for state in want[::-1]], atol=2e-4)


def test_kalman_fills_a_gap_in_a_curve_better_than_a_line():
    times = np.arange(120) / 30
    weights = ones(times)
    weights[50:56] = 0
    truth = wave(times, 1.0)
    filled = kalman(times, np.where(weights[..., None] > 0, truth, np.nan), weights, 6.0)
    line = np.interp(times[50:56], times[[49, 56]], truth[[49, 56], 0, 0])
    assert np.abs(filled - truth)[50:56].max() < 0.3 * np.abs(line - truth[50:56, 0, 0]).max()


@pytest.mark.parametrize("low_pass", LOW_PASSES)
@given(shift=st.floats(-1e4, 1e4), scale=st.floats(0.01, 100), turn=st.floats(0, 6.3))
@settings(max_examples=20, deadline=None)
def test_the_start_of_time_and_the_frame_of_space_do_not_matter(low_pass, shift, scale, turn):
    times = uneven(7, 50)
    path, weights = rng(8).normal(0, 1, (50, 2, 2)), rng(9).uniform(0.25, 1, (50, 2))
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = low_pass(times + shift, path @ rotation + shift, weights, 6.0)
    np.testing.assert_allclose(moved, low_pass(times, path, weights, 6.0) @ rotation + shift, atol=1e-5 * (scale + abs(shift)))


def test_an_order_that_is_not_made_is_refused():
    with pytest.raises(VitruvianError, match="choose one of"):
        kalman(np.arange(5.0), np.zeros((5, 1, 1)), np.ones((5, 1)), 0.1, 3)


def test_runs_end_where_a_gap_is_too_long_and_hold_points_of_one_pattern_together():
    times = np.arange(10) / 10
    seen = np.ones((10, 3), bool)
    seen[[0, 4, 9], 1] = False
    seen[3:8, 2] = False
    found = {(frames.start, frames.stop, tuple(points)) for frames, points, _ in runs(times, seen, 0.25)}
    assert found == {(0, 10, (0,)), (1, 9, (1,)), (0, 3, (2,)), (8, 10, (2,))}


def test_runs_of_nothing_are_none():
    assert list(runs(np.arange(5.0), np.zeros((5, 2), bool), 1.0)) == []
    assert list(runs(np.zeros(0), np.zeros((0, 2), bool), 1.0)) == []


def test_a_gap_in_straight_motion_is_filled_exactly():
    times = uneven(10, 30)
    line = (3 + 40 * times)[:, None, None]
    seen = np.ones(30, bool)
    seen[10:15] = False
    np.testing.assert_allclose(interpolate(times, np.where(seen[:, None, None], line, np.nan), seen), line, atol=1e-9)


def test_only_frames_in_short_gaps_are_fillable():
    seen = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0], bool)
    np.testing.assert_array_equal(np.flatnonzero(fillable(np.arange(10) / 10, seen, 0.3)), [2, 3])


@pytest.mark.parametrize("jumps", [[40], [40, 41], [20, 40, 42, 70]])
def test_jumps_are_outliers_and_a_quick_swing_is_none(jumps):
    times = np.arange(90) / 30
    swing = 80 * wave(times, 1.5) + rng(11).normal(0, 1, (90, 1, 1))
    swing[jumps] += 60
    assert np.flatnonzero(outliers(times, swing, ones(times), 8.0, 6.0)[:, 0]).tolist() == jumps


def test_points_at_rest_have_no_outliers_and_missing_ones_are_none():
    times = np.arange(30) / 30
    weights = np.ones((30, 2))
    weights[:, 1] = 0
    values = np.where(weights[..., None] > 0, np.full((30, 2, 2), 123.4), np.nan)
    assert not outliers(times, values, weights, 3.0, 6.0).any()
    assert not outliers(times[:3], values[:3], weights[:3], 3.0, 6.0).any()
    assert outliers(times[:0], values[:0], weights[:0], 3.0, 6.0).shape == (0, 2)
