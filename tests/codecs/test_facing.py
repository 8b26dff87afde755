"""Angles of bodies: what they mean in the picture, and how they come out of suppression."""

import math

import numpy as np
import pytest

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.orientation import direction, find_facing, octant

QUARTERS = np.arange(4) * math.pi / 2


def test_arrows_point_up_for_people_who_face_away_and_left_for_a_quarter():
    np.testing.assert_allclose(direction(QUARTERS), [[0, -1], [-1, 0], [0, 1], [1, 0]], atol=1e-6)


def test_octants_have_names_around_their_middle():
    assert octant(np.array([0.1, -0.1, math.pi, math.radians(135), math.nan])) == ["back", "back", "front", "front left", ""]


def rows(turns, scores, extra=()):
    count = len(turns)
    extras = np.stack([np.asarray(turns, np.float32), *(np.full(count, e, np.float32) for e in extra)], 1)
    return Candidates(np.tile(np.float32([10, 10, 30, 50]), (count, 1)), np.float32(scores)[:, None], extras)


def test_kept_row_keeps_its_angle_and_the_mean_goes_the_short_way_round():
    found = find_facing(rows([0.95, 0.05], [0.8, 0.8]), (64, 64), (64, 64))
    assert found.angles.tolist() == pytest.approx([0.95 * 2 * math.pi])
    mean = find_facing(rows([0.95, 0.05], [0.8, 0.8]), (64, 64), (64, 64), angle="mean")
    assert math.sin(mean.angles[0]) == pytest.approx(0, abs=1e-6) and math.cos(mean.angles[0]) == pytest.approx(1)


def test_confidence_falls_where_suppressed_rows_disagree_and_with_short_vectors():
    assert find_facing(rows([0.2, 0.2], [0.8, 0.7]), (64, 64), (64, 64)).confidence[0] == pytest.approx(1)
    assert find_facing(rows([0.2, 0.7], [0.8, 0.8]), (64, 64), (64, 64)).confidence[0] == pytest.approx(0, abs=1e-6)
    assert find_facing(rows([0.2], [0.8], (0.5,)), (64, 64), (64, 64)).confidence[0] == pytest.approx(0.5)


def test_nobody():
    found = find_facing(rows([], []), (64, 64), (64, 64))
    assert len(found) == 0 and found.angles.shape == (0,) and octant(found.angles) == [] and direction(found.angles).shape == (0, 2)
