"""Films that were given to the wrong cameras are told by the people in them."""

import numpy as np
import pytest

from many_views import seen, take_of, walker
from vitruvian.capture.orders import better_order, warn_of_order
from vitruvian.geometry.camera import looking_at

PLACES = [(4.3, 1.6, 2.3), (-1.4, 2.1, 4.4), (-4.2, 1.9, -1.9), (1.7, 1.3, -4.3)]
CAMERAS = [looking_at(place, (0, 0.9, 0), 1200, (1920, 1080), name=f"cam{n}") for n, place in enumerate(PLACES, 1)]

TIMES = np.arange(30) / 30
WALKERS = np.stack([walker(TIMES, (-1, 0.2), (0.6, 0.1)), walker(TIMES, (1, -0.6), (-0.5, 0.1), 1.0)])


def films(order=(0, 1, 2, 3)):
    pixels = seen(CAMERAS, WALKERS, noise=1)
    return [take_of(pixels[n], TIMES, seed=n) for n in order]


@pytest.mark.parametrize("order", [(1, 0, 2, 3), (1, 2, 3, 0)])
def test_the_right_order_is_found(order):
    found, here, there = better_order(films(order), CAMERAS)
    assert found == order and there > 0.9 > here


def test_the_right_order_is_left_alone(caplog):
    warn_of_order(films(), CAMERAS, ["a", "b", "c", "d"])
    assert not caplog.text


def test_which_film_is_whose_is_said(caplog):
    warn_of_order(films((1, 0, 2, 3)), CAMERAS, ["a.mp4", "b.mp4", "c.mp4", "d.mp4"])
    assert "a.mp4 = cam2, b.mp4 = cam1, c.mp4 = cam3, d.mp4 = cam4" in caplog.text


def test_two_films_nobody_and_no_frames_tell_nothing():
    assert better_order(films((1, 0)), CAMERAS[:2]) is None
    nobody = [take.subset(take.people.frame < 0) for take in films((1, 0, 2))]
    assert better_order(nobody, CAMERAS[:3]) is None
