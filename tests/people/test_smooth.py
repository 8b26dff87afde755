from dataclasses import replace

import numpy as np
import pytest

from vitruvian.people import Smoother
from vitruvian.take import People
from walkers import people_of, walker

HEIGHT = 400.0
BOX = [0.0, 0.0, 200.0, HEIGHT]


def one_point(times, values, confidence=0.9, track=1):
    """Filtered x of a single keypoint that takes `values` (pixels) at `times` (seconds)."""
    smoother = Smoother()
    out = []
    for i, (time, value, sure) in enumerate(zip(times, values, np.broadcast_to(confidence, len(times)), strict=True)):
        row = People(frame=[i], track=[track], boxes=[BOX], scores=[1.0], keypoints=[[[value, 50.0]]], confidence=[[sure]])
        out.append(smoother.update(time, row).keypoints[0, 0, 0])
    return np.array(out)


def lag(times, truth, filtered):
    """Seconds by which `filtered` follows `truth`: the shift with the least squared difference."""
    shifts = np.arange(0, 0.3, 0.002)
    errors = [np.mean((filtered - np.interp(times - shift, times, truth))[30:] ** 2) for shift in shifts]
    return shifts[int(np.argmin(errors))]


@pytest.mark.parametrize("fps", [30, 60])
def test_jitter_at_rest_falls_to_a_third(fps):
    times = np.arange(0, 10, 1 / fps)
    noisy = 100 + np.random.default_rng(0).normal(0, 3, len(times))
    filtered = one_point(times, noisy)
    assert np.diff(filtered)[30:].std() < 0.35 * np.diff(noisy)[30:].std()
    assert (filtered[30:] - 100).std() < 0.55 * 3


@pytest.mark.parametrize("fps", [30, 60])
def test_a_swinging_wrist_is_followed_within_a_frame_or_two_and_is_calmer_than_the_input(fps):
    times = np.arange(0, 8, 1 / fps)
    truth = 200 + 0.25 * HEIGHT * np.sin(2 * np.pi * 1.0 * times)
    noisy = truth + np.random.default_rng(1).normal(0, 5, len(times))
    filtered = one_point(times, noisy)
    delay = lag(times, truth, filtered)
    assert delay < 0.05
    assert np.diff(filtered, 2)[30:].std() < 0.85 * np.diff(noisy, 2)[30:].std()


def test_twice_the_frame_rate_gives_the_same_curve():
    def motion(times):
        return 200 + 80 * np.sin(2 * np.pi * 0.8 * times) + 20 * np.sin(2 * np.pi * 2.3 * times)

    coarse, fine = np.arange(0, 5, 1 / 60), np.arange(0, 5, 1 / 240)
    difference = one_point(coarse, motion(coarse)) - one_point(fine, motion(fine))[::4]
    assert np.abs(difference).max() < 5  # of a motion of 200 pixels; what is left is the sampling of the input itself

    step = lambda times: np.where(times < 1, 100.0, 110.0)  # noqa: E731
    difference = one_point(coarse, step(coarse)) - one_point(fine, step(fine))[::4]
    assert np.abs(difference).max() < 2.5


def test_a_gap_starts_afresh_at_the_new_place():
    times = np.concatenate([np.arange(30) / 30, 3 + np.arange(30) / 30])
    values = np.where(times < 2, 100.0, 500.0)
    np.testing.assert_allclose(one_point(times, values), values)


def test_a_short_gap_does_not():
    times = np.concatenate([np.arange(30) / 30, 1.1 + np.arange(30) / 30])
    filtered = one_point(times, np.where(times < 1.05, 100.0, 110.0))
    assert 100 < filtered[30] < 109.9


def test_unsure_points_move_slower():
    times = np.arange(30) / 30
    values = np.where(times < 0.5, 100.0, 120.0)
    sure, unsure = one_point(times, values), one_point(times, values, confidence=np.where(times < 0.5, 0.9, 0.1))
    assert (unsure[16:25] < sure[16:25] - 1).all()


def test_points_that_are_not_finite_pass_and_do_not_disturb():
    times = np.arange(30) / 30
    values = np.full(30, 100.0)
    values[10:13] = np.nan
    filtered = one_point(times, values)
    assert np.isnan(filtered[10:13]).all()
    np.testing.assert_allclose(np.delete(filtered, [10, 11, 12]), 100.0)


def test_tracks_are_filtered_apart_whatever_their_order():
    together, alone = Smoother(), Smoother()
    for i in range(40):
        time = i / 30
        poses = [walker(time, 100, 200), walker(time, 800, -200)]
        people = people_of(i, poses, noise=4)
        order = [0, 1] if i % 3 else [1, 0]
        tracked = replace(people, track=[1, 2])
        both = together.update(time, tracked[np.array(order)])
        one = alone.update(time, tracked[np.array([0])])
        np.testing.assert_allclose(both.keypoints[order.index(0)], one.keypoints[0])


def test_rows_without_a_track_and_empty_frames_pass_unchanged():
    smoother = Smoother()
    for i in range(3):
        people = people_of(i, [walker(0, 100, 0)], noise=10)
        np.testing.assert_array_equal(smoother.update(i / 30, people).keypoints, people.keypoints)
    assert len(smoother.update(1.0, People.empty(17))) == 0
