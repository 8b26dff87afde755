"""Gait of synthetic walkers whose cadence, steps and speed are known."""

from pathlib import Path

import numpy as np
import pytest

from swap_scenes import HALPE, RUN, WALK, filmed, person
from vitruvian.biomechanics import gait_events, gait_parameters
from vitruvian.biomechanics.gait import GaitEvents
from vitruvian.formats.trc import read_trc

TIMES = np.arange(0, 6, 1 / 60)


def test_a_walk_has_its_cadence_speed_and_steps():
    found = gait_parameters(person(TIMES), HALPE.names, TIMES).values
    assert found["stride_time"][0] == pytest.approx(1 / WALK.pace, abs=0.002)
    assert found["cadence"][0] == pytest.approx(120 * WALK.pace, rel=0.002)
    assert found["speed"][0] == pytest.approx(WALK.speed, rel=0.01)
    assert found["stride_length"][0] == pytest.approx(WALK.speed / WALK.pace, rel=0.01)
    assert found["step_time_left"][0] == pytest.approx(0.5 / WALK.pace, abs=0.01)
    assert found["step_length_left"][0] == pytest.approx(found["step_length_right"][0], rel=0.02)


def test_events_of_both_feet_alternate_at_half_a_stride():
    events = gait_events(person(TIMES), HALPE.names, TIMES)
    strikes = np.sort(np.r_[events.heel_strike_left, events.heel_strike_right])
    assert np.allclose(np.diff(strikes), 0.5 / WALK.pace, atol=0.01)
    assert 0.5 < gait_parameters(person(TIMES), HALPE.names, TIMES).values["stance_left"][0] < 0.75


@pytest.mark.parametrize("heading", [0.0, 1.0, np.pi])
def test_the_direction_of_the_walk_does_not_matter(heading):
    one, other = (gait_events(person(TIMES, heading=h), HALPE.names, TIMES).heel_strike_left for h in (0.0, heading))
    assert np.allclose(one, other, atol=0.005)


def test_a_treadmill_is_a_walk_on_the_spot():
    points = person(TIMES)
    points = points - points[:, [HALPE.index("hip")]] * [1, 0, 1]
    found = gait_events(points, HALPE.names, TIMES)
    assert np.allclose(found.heel_strike_left, gait_events(person(TIMES), HALPE.names, TIMES).heel_strike_left, atol=0.01)


def test_a_run_is_quicker_than_a_walk():
    assert gait_parameters(person(TIMES, RUN), HALPE.names, TIMES).values["cadence"][0] == pytest.approx(120 * RUN.pace, rel=0.01)


def test_a_film_from_the_side_gives_the_timing_but_no_lengths():
    take = filmed(person(TIMES), TIMES, missing=0.0, noise=0.003)
    found = gait_parameters(take.keypoints.astype(float), HALPE.names, TIMES).values
    assert found["cadence"][0] == pytest.approx(120 * WALK.pace, rel=0.02)
    assert "speed" not in found


def test_irregular_frames_do_not_move_events():
    times = np.sort(np.random.default_rng(0).uniform(0, 6, 360))
    even = gait_events(person(TIMES), HALPE.names, TIMES).heel_strike_right
    assert np.allclose(gait_events(person(times), HALPE.names, times).heel_strike_right[:4], even[:4], atol=0.03)


@pytest.mark.parametrize("points", [np.zeros((0, 26, 3)), np.zeros((1, 26, 3)), np.full((50, 26, 3), np.nan), np.ones((50, 26, 3))])
def test_nobody_and_somebody_who_stands_have_no_events(points):
    found = gait_parameters(points, HALPE.names, np.arange(len(points)) / 30)
    assert not len(found.events.heel_strike_left) and found.values["stride_time"][2] == 0
    assert np.isnan(found.values["stride_time"][0])


def test_a_lost_strike_spoils_no_stride():
    strikes = np.arange(5.0)
    events = GaitEvents(np.delete(strikes, 2), strikes + 0.6, strikes + 0.5, strikes + 0.1)
    found = gait_parameters(np.full((9, 26, 3), np.nan), HALPE.names, np.arange(9.0), events).values
    assert found["stride_time"] == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-12), found["stride_time"][2])


def test_feet_that_change_sides_at_every_crossing_still_tell_the_strides_time():
    """Which foot is ahead is told in vain: each label goes to and fro twice a stride."""
    points, left = person(TIMES), HALPE.index("left_heel")
    ahead = points[:, left, [0, 2]] - points[:, HALPE.index("right_heel"), [0, 2]]
    way = points[-1, left, [0, 2]] - points[0, left, [0, 2]]
    behind = ahead @ way < 0
    points[behind] = points[behind][:, np.array(HALPE.swap)]
    strikes = gait_events(points, HALPE.names, TIMES).heel_strike_left
    assert len(strikes) > 2 and np.diff(strikes).min() > 0.7 / WALK.pace


def test_strides_that_differ_widely_are_doubted():
    even = np.arange(5.0)
    uneven = np.array([0.0, 1.0, 1.6, 3.0, 4.0])
    for strikes, doubted in ((even, False), (uneven, True)):
        between = (strikes[1:] + strikes[:-1]) / 2
        events = GaitEvents(strikes, strikes + 0.3, between, between + 0.3)
        assert bool(gait_parameters(np.full((9, 26, 3), np.nan), HALPE.names, np.arange(9.0), events).notes) == doubted


def test_csv_has_units_and_events(tmp_path):
    gait_parameters(person(TIMES), HALPE.names, TIMES).csv(tmp_path / "gait.csv")
    lines = (tmp_path / "gait.csv").read_text().splitlines()
    assert lines[0].startswith("parameter,unit,mean") and any(line.startswith("cadence,1/min,114") for line in lines)
    assert any(line.startswith("heel_strike,left,1.0") for line in lines)


WALK_FILE = Path(__file__).parents[3] / "shared" / "data" / "opensim" / "markers_walk.trc"


@pytest.mark.shared
@pytest.mark.skipif(not WALK_FILE.exists(), reason="needs ../shared/data")
def test_a_real_walk_is_even():
    """Motion capture of a healthy walk, with skin markers under SynthPose's names: both sides alike, in the usual ranges."""
    walk = read_trc(WALK_FILE)
    ours = {"ASIS": "_ASIS", "PSIS": "_PSIS", "Heel": "_calc", "MT5": "_5meta", "Toe": "_toe"}
    names = [name[0].lower() + ours[name[2:]] if name[2:] in ours else name for name in walk.names]
    found = gait_parameters(walk.points, names, walk.times).values
    assert 95 < found["cadence"][0] < 115 and 1.1 < found["speed"][0] < 1.4 and 0.58 < found["stance_left"][0] < 0.7
    assert found["step_length_left"][0] == pytest.approx(found["step_length_right"][0], rel=0.05)
    assert found["speed"][0] == pytest.approx(
        (found["step_length_left"][0] + found["step_length_right"][0]) / found["stride_time"][0], rel=0.05
    )
