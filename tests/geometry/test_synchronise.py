"""Films whose clocks are set apart are set right again by the motion of the people in them."""

import numpy as np
import pytest

from many_views import room, seen, walker
from vitruvian.errors import VitruvianError
from vitruvian.geometry.synchronise import synchronise, vertical_speeds

POINTS = [9, 10, 15, 16]


def motion(times: np.ndarray, seed: int = 0) -> np.ndarray:
    """(f, 17, 3): a walker whose hands also go up and down at odd moments."""
    rng = np.random.default_rng(seed)
    people = walker(times, (-0.5, 0.2), (0.1, 0.05), seed)
    for point in (9, 10):
        for when in rng.uniform(-2, 10, 12):
            people[:, point, 1] += rng.uniform(0.2, 0.6) * np.exp(-(((times - when) / 0.25) ** 2))
    return people


def films(offsets, rates, noise=2.0, seeds=(0,), length=6.0):
    """Times by each camera's own clock, and speeds of its people."""
    cameras = room(len(offsets), height=1.3)
    all_times, speeds = [], []
    for n, (offset, rate) in enumerate(zip(offsets, rates, strict=True)):
        own = np.arange(0, length, 1 / rate)
        people = []
        for seed in seeds:
            pixels = seen([cameras[n]], motion(own + offset, seed), noise, seed=n + 10 * seed)[0]
            height = np.nanmedian(np.nanmax(pixels[..., 1], 1) - np.nanmin(pixels[..., 1], 1))
            people.append(vertical_speeds(own, pixels[:, POINTS, 1], height))
        all_times.append(own)
        speeds.append(people)
    return all_times, speeds


@pytest.mark.parametrize("rates", [(30, 30, 30), (60, 30, 50)])
def test_offsets_are_found_between_frames(rates):
    offsets = np.array([0.0, 0.737, -1.21])
    found = synchronise(*films(offsets, rates))
    np.testing.assert_allclose(found.offsets, offsets, atol=0.008)
    assert (found.correlation[np.triu_indices(3, 1)] > 0.6).all()


def test_each_pair_uses_the_person_that_both_see():
    times, speeds = films(np.array([0.0, 0.5]), (30, 30), seeds=(0, 3))
    speeds[1] = speeds[1][::-1]
    assert synchronise(times, speeds).offsets[1] == pytest.approx(0.5, abs=0.01)


def test_gaps_and_missing_points_do_not_matter():
    times, speeds = films(np.array([0.0, 0.4]), (30, 30))
    speeds[0][0][40:70] = np.nan
    speeds[1][0][:, 2] = np.nan
    assert synchronise(times, speeds).offsets[1] == pytest.approx(0.4, abs=0.012)


def test_clocks_that_do_not_start_at_zero():
    times, speeds = films(np.array([0.0, 0.4]), (30, 30))
    found = synchronise([times[0] + 100, times[1] + 7], speeds, max_offset=200)
    assert found.offsets[1] == pytest.approx(0.4 + 93, abs=0.01)


def test_the_offset_is_limited():
    times, speeds = films(np.array([0.0, 2.0]), (30, 30))
    assert abs(synchronise(times, speeds, max_offset=1.0).offsets[1]) <= 1.01


def test_a_film_without_people_has_no_clock():
    times, speeds = films(np.array([0.0, 0.4]), (30, 30))
    found = synchronise([*times, times[0]], [*speeds, []])
    assert np.isnan(found.offsets[2]) and found.offsets[1] == pytest.approx(0.4, abs=0.012)
    assert np.isnan(synchronise([times[0]] * 2, [[np.full((180, 4), np.nan)]] * 2).offsets[1])
    assert synchronise([], []).offsets.shape == (0,)
    assert synchronise([np.zeros(1)], [[np.zeros((1, 4))]]).offsets.tolist() == [0]
    with pytest.raises(VitruvianError):
        synchronise([times[0]], [[np.zeros((3, 4))]])
