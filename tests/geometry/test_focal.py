"""A camera that looks down on people who stand upright is found again; one that doesn't, or sees too few, tells nothing."""

import numpy as np
import pytest

from street import camera
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import project
from vitruvian.geometry.focal import USUAL_FOV, focal_from_people

SIZE = (1280, 720)


def standing(fov, tilt, height, roll=0.0, count=40, noise=0.005, seed=0):
    """Feet, tops, persons and ways of people of 1.4 m to the shoulders all over the floor, who stand still."""
    rng, lens = np.random.default_rng(seed), camera(fov, tilt, height, roll)
    depth = rng.uniform(3, 9, count)
    feet = np.stack([rng.uniform(-0.4, 0.4, count) * depth, np.zeros(count), depth], 1)
    person = np.arange(count) % 5
    tops = feet + np.array([0, 1.4, 0]) * (1 + 0.04 * (person - 2))[:, None]
    feet, tops = project(lens, feet), project(lens, tops)
    tall = np.linalg.norm(tops - feet, axis=1)[:, None]
    return feet + rng.normal(0, noise, feet.shape) * tall, tops + rng.normal(0, noise, tops.shape) * tall, person, np.zeros(count)


@pytest.mark.parametrize(("fov", "tilt", "roll"), [(45, 20, 3), (60, 10, 0), (78, 15, -4)])
def test_a_camera_that_looks_down_is_found(fov, tilt, roll):
    lens = focal_from_people(*standing(fov, tilt, 2.5, roll), SIZE)
    assert lens.is_told and abs(lens.fov - fov) < max(2 * lens.spread, 2) and lens.spread < 5
    assert abs(lens.tilt - tilt) < 2 and lens.noise < 0.03


def test_a_level_camera_tells_nothing():
    lens = focal_from_people(*standing(45, 0, 1.5), SIZE)
    assert not lens.is_told and lens.spread > 10 and abs(lens.fov - USUAL_FOV) < 10


def test_people_who_lean_ahead_as_they_walk_lie_less_than_their_prior():
    feet, tops, person, _ = standing(60, 15, 2.5)
    going = np.random.default_rng(1).choice([-1.0, 1.0], len(feet))
    tops = tops + 0.05 * np.linalg.norm(tops - feet, axis=1)[:, None] * np.stack([going, 0 * going], 1)
    lens, blind = (focal_from_people(feet, tops, person, known, SIZE) for known in (going, 0 * going))
    assert lens.noise < 0.75 * blind.noise and lens.spread < blind.spread and abs(lens.fov - 60) < 2 * lens.spread


def test_one_who_is_put_in_the_wrong_place_hardly_counts():
    feet, tops, person, going = standing(60, 15, 2.5)
    tops[::13] += [150, 40]
    lens = focal_from_people(feet, tops, person, going, SIZE)
    assert lens.is_told and abs(lens.fov - 60) < 2 * lens.spread


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_places_are_no_answer(count):
    feet, tops, person, going = (values[:count] for values in standing(60, 15, 2.5))
    assert focal_from_people(feet, tops, person, going, SIZE) is None


def test_missing_and_upside_down_places_are_left_out():
    feet, tops, person, going = standing(60, 15, 2.5, count=12)
    feet[:4], tops[4:8] = np.nan, feet[4:8] + [0, 50]
    assert focal_from_people(feet, tops, person, going, SIZE) is None


def test_one_place_again_and_again_is_no_lens():
    feet, tops, person, going = (np.repeat(values[:1], 8, axis=0) for values in standing(60, 15, 2.5))
    assert not focal_from_people(feet, tops, person, going, SIZE).is_told


def test_what_does_not_fit_together_is_refused():
    feet, tops, person, going = standing(60, 15, 2.5)
    for wrong in ((feet[:3], tops, person, going, SIZE), (feet, tops, person[:3], going, SIZE), (feet, tops, person, going, (0, 720))):
        with pytest.raises(VitruvianError, match="give"):
            focal_from_people(*wrong)
