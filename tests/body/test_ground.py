"""Feet that stand still: a walker made of points, whose depth wavers as a lifted body's does."""

import numpy as np
import pytest

from vitruvian.body.ground import FEET, Ground, contacts, corrections, fit_ground, runs, upright
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133

NAMES = COCO_WHOLEBODY_133.names
UP = np.array([0.0, -np.cos(0.1), -np.sin(0.1)])  # the camera looks down by 6 degrees
ACROSS, AHEAD = np.array([1.0, 0.0, 0.0]), np.cross([1.0, 0.0, 0.0], UP)
FLOOR = Ground(UP, -1.5)  # the camera hangs 1.5 m over it
TIMES = np.arange(120) / 30


def walker(seconds_per_step: float = 0.5, stride: float = 0.6) -> np.ndarray:
    """(120, 133, 3): someone who walks to the right, 5 m away; a foot either rests on the floor or swings 12 cm over it."""
    start = -1.5 * UP - 2 * ACROSS + 5 * np.array([0, UP[2], -UP[1]])
    points = np.full((len(TIMES), 133, 3), np.nan)
    phase = TIMES / seconds_per_step
    for number, side in enumerate(("left", "right")):
        step, within = np.floor((phase + number) / 2), (phase + number) % 2
        swing = np.clip(within - 1, 0, 1)
        along = stride * (2 * step + 2 * swing - number)
        lift = 0.12 * np.sin(np.pi * swing)
        heel = start + along[:, None] * ACROSS + lift[:, None] * UP + (0.2 * number) * np.cross(UP, ACROSS)
        for point, offset in (("heel", 0 * ACROSS), ("big_toe", 0.2 * ACROSS), ("small_toe", 0.18 * ACROSS), ("ankle", 0.08 * UP)):
            points[:, NAMES.index(f"{side}_{point}")] = heel + offset
        hip = start + (stride * (phase - 0.5))[:, None] * ACROSS
        points[:, NAMES.index(f"{side}_hip")] = hip + 0.9 * UP
        points[:, NAMES.index(f"{side}_shoulder")] = hip + 1.4 * UP
    return points


def wavering(points: np.ndarray, size: float = 0.15) -> np.ndarray:
    """The same person nearer and farther over time, as the picture can't tell."""
    factor = 1 + size / 5 * np.sin(2 * np.pi * TIMES / 1.1)
    return points * factor[:, None, None]


def straightened(points: np.ndarray) -> np.ndarray:
    up = upright(points)
    resting = contacts(points, TIMES, up)
    ground = fit_ground(points[:, FEET][resting], up)
    return points + corrections(points, TIMES, resting, ground)[:, None]


def slide(points: np.ndarray, resting: np.ndarray) -> float:
    """Metres per second of feet that truly rest."""
    speed = np.linalg.norm(np.gradient(points[:, FEET], TIMES, axis=0), axis=-1)
    return float(speed[resting].mean())


def test_resting_feet_are_told_from_swinging_ones():
    found = contacts(walker(), TIMES, UP)
    truly = FLOOR.above(walker()[:, FEET]) < 1e-6
    assert (found == truly).mean() > 0.85  # a step begins and ends a tenth of a second off
    assert not found[FLOOR.above(walker()[:, FEET]) > 0.06].any()


def test_feet_stop_sliding_and_the_person_comes_nearer_to_the_truth():
    truth, seen = walker(), wavering(walker())
    resting = FLOOR.above(truth[:, FEET]) < 1e-6
    resting[1:-1] &= resting[:-2] & resting[2:]  # steps begin and end with some speed
    after = straightened(seen)
    assert slide(seen, resting) > 0.15
    assert slide(after, resting) < 0.4 * slide(seen, resting)
    hips = [NAMES.index("left_hip"), NAMES.index("right_hip")]
    error = lambda points: np.linalg.norm((points - truth)[:, hips], axis=-1).mean()  # noqa: E731
    assert error(after) < 0.7 * error(seen)


def test_the_floor_is_found_under_feet_that_are_off_it():
    rng = np.random.default_rng(0)
    feet = walker()[:, FEET][FLOOR.above(walker()[:, FEET]) < 1e-6]
    feet = feet + rng.normal(0, 0.02, feet.shape)
    feet[:20] += 0.4 * UP
    ground = fit_ground(feet, np.array([0.0, -1.0, 0.0]))
    assert abs(ground.above(-1.5 * UP + 5 * np.array([0, UP[2], -UP[1]]))) < 0.03
    with pytest.raises(VitruvianError, match="no foot rests"):
        fit_ground(np.zeros((0, 3)), UP)


def test_nobody_is_moved_who_never_stands():
    """Somebody who falls, and a person who is not known at all."""
    falling = walker()[:1] - 0.5 * 9.81 * (TIMES**2)[:, None, None] * UP + (3 * TIMES)[:, None, None] * ACROSS
    for points in (falling, np.full((120, 133, 3), np.nan)):
        resting = contacts(points, TIMES, UP)
        assert not resting[5:].any()
    np.testing.assert_array_equal(corrections(falling, TIMES, np.zeros((120, 4), bool), FLOOR), 0)
    assert contacts(walker()[:2], TIMES[:2], UP).shape == (2, 4)


def test_runs():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(0, bool)) == []


def test_upright_without_bodies_is_the_cameras():
    np.testing.assert_array_equal(upright(np.full((3, 133, 3), np.nan)), [0, -1, 0])
    np.testing.assert_allclose(upright(walker()), UP, atol=0.08)


def test_a_rest_far_off_the_floor_moves_nobody():
    points = walker()
    resting = contacts(points, TIMES, UP)
    np.testing.assert_array_equal(corrections(points, TIMES, resting, Ground(UP, 1.0)), 0)
