"""Takes of calibrated cameras that did not begin together: their clock is found by lines of sight, or else by how people move."""

import numpy as np
import pytest

from many_views import room, seen, take_of, walker
from vitruvian.capture.clocks import common_clock
from vitruvian.errors import VitruvianError

CAMERAS, OFFSETS = room(3), (0.0, 0.4, -0.3)


def walkers(times):
    return np.stack([walker(times, (-1, 0.2), (0.6, 0.1)), walker(times, (1, -0.6), (-0.5, 0.2))])


def waving(times):
    """Somebody who stands, and whose right hand goes up and down at odd moments."""
    pose = np.tile(walker(np.zeros(1), speed=(0, 0)), (len(times), 1, 1))
    for when in (0.3, 0.9, 1.2, 2.1, 2.4, 3.3):
        pose[:, 10, 1] += 0.5 * np.exp(-(((times - when) / 0.15) ** 2))
    return pose[None]


def takes(motion, length=3.0, rate=30):
    own = np.arange(0, length, 1 / rate)
    return [take_of(seen([CAMERAS[n]], motion(own + late), 2.0, seed=n)[0], own, seed=n) for n, late in enumerate(OFFSETS)]


def test_people_who_walk_in_one_rhythm_have_one_clock():
    np.testing.assert_allclose(common_clock(takes(walkers), CAMERAS), OFFSETS, atol=0.02)


def test_where_lines_of_sight_do_not_tell_movements_do():
    one_place = [CAMERAS[0]] * 3  # lines of sight from one place meet at any time
    np.testing.assert_allclose(common_clock(takes(waving), one_place), OFFSETS, atol=0.02)


def test_people_who_do_not_move_are_refused():
    with pytest.raises(VitruvianError, match="give the offsets"):
        common_clock(takes(lambda times: np.tile(walker(np.zeros(1), speed=(0, 0)), (1, len(times), 1, 1))), CAMERAS)
