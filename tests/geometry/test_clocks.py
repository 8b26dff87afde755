"""Films of calibrated cameras whose clocks are set apart are set right again by where lines of sight meet."""

from dataclasses import replace

import numpy as np
import pytest

from many_views import room, seen, walker
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import project
from vitruvian.geometry.clocks import clocks_of_rays

CAMERAS = room(4, height=1.6)


def people(times: np.ndarray) -> np.ndarray:
    """(3, f, 17, 3): in one rhythm, and in each other's way."""
    return np.stack([walker(times, (-1, 0.2), (0.6, 0.1)), walker(times, (1, -0.6), (-0.5, 0.2)), walker(times, (0, -1), (0.1, 0.7))])


def films(offsets, rates, length=3.0, noise=3.0, count=3):
    """Times by each camera's own clock, and pixels of the people it follows, in an order of its own."""
    times, pixels = [], []
    for n, (offset, rate) in enumerate(zip(offsets, rates, strict=True)):
        own = np.arange(0, length, 1 / rate)
        view = seen([CAMERAS[n]], people(own + offset)[:count], noise, seed=n)[0]
        times.append(own)
        pixels.append([view[p] for p in np.random.default_rng(n).permutation(count)])
    return times, pixels


@pytest.mark.parametrize("rates", [(30, 30, 30), (25, 50, 30)])
def test_offsets_are_found_between_frames_of_people_in_one_rhythm(rates):
    offsets = np.array([0.0, 0.537, -0.41])
    found = clocks_of_rays(CAMERAS[:3], *films(offsets, rates))
    np.testing.assert_allclose(found.offsets, offsets, atol=0.015)
    assert (found.correlation[np.triu_indices(3, 1)] > 0.1).all()


def test_bent_lenses_and_clocks_that_do_not_start_at_zero():
    bent = [replace(camera, distortion=np.array([-0.2, 0.05, 0, 0])) for camera in CAMERAS[:2]]
    own = np.arange(90) / 30
    pixels = [[project(camera, person) for person in people(own + late)] for camera, late in zip(bent, (0, 0.3), strict=True)]
    assert clocks_of_rays(bent, [own, own + 5], pixels).offsets[1] == pytest.approx(0.3 - 5, abs=0.015)


def test_gaps_and_people_whom_one_camera_alone_sees_do_not_matter():
    times, pixels = films((0.0, 0.4), (30, 30))
    pixels[0][0][20:50] = np.nan
    pixels[1] = pixels[1][:2]
    pixels[1][0][:, :9] = np.nan
    assert clocks_of_rays(CAMERAS[:2], times, pixels).offsets[1] == pytest.approx(0.4, abs=0.02)


def test_people_who_stand_still_tell_nothing():
    times, _ = films((0.0, 0.4), (30, 30))
    still = [[np.repeat(view[:, :1], 90, 1)[0]] for view in seen(CAMERAS[:2], people(np.zeros(1)), 0.0)]
    found = clocks_of_rays(CAMERAS[:2], times, still)
    assert found.offsets[0] == 0 and np.isnan(found.offsets[1]) and found.correlation[0, 1] < 0.1


def test_the_limit_counts_between_the_clocks():
    times, pixels = films((0.0, 0.9), (30, 30))
    assert clocks_of_rays(CAMERAS[:2], times, pixels, 1.0).offsets[1] == pytest.approx(0.9, abs=0.02)
    assert abs(np.nan_to_num(clocks_of_rays(CAMERAS[:2], times, pixels, 0.5).shifts[0, 1])) <= 0.6


def test_nobody_one_place_and_no_frames_are_answers():
    times, pixels = films((0.0, 0.4), (30, 30))
    for given in (
        (times, [pixels[0], []]),
        ([times[0], np.zeros(0)], [pixels[0], []]),
        (times, [pixels[0], [np.full((90, 17, 2), np.nan)]]),
    ):
        found = clocks_of_rays(CAMERAS[:2], *given)
        assert found.offsets[0] == 0 and np.isnan(found.offsets[1])
    assert np.isnan(clocks_of_rays([CAMERAS[0]] * 2, times, pixels).offsets[1])
    assert clocks_of_rays([], [], []).offsets.shape == (0,)
    with pytest.raises(VitruvianError, match="each camera's times"):
        clocks_of_rays(CAMERAS[:2], times, [pixels[0], [pixels[1][0][:5]]])
