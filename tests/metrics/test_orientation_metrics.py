"""Errors of angles over matched people."""

import math

import numpy as np
import pytest

from vitruvian.metrics.orientation import Facings, angle_difference, orientation_scores


def facings(*degrees, boxes=None, scores=None):
    angles = np.radians(np.array(degrees, float))
    boxes = [[100 * i, 0, 100 * i + 40, 80] for i in range(len(angles))] if boxes is None else boxes
    return Facings(np.array(boxes, float).reshape(-1, 4), angles, None if scores is None else np.array(scores, float))


def test_differences_go_the_short_way_round():
    assert angle_difference(np.radians([5, 355, 180, 90]), np.radians([355, 5, 0, 90])) == pytest.approx([10, -10, 180, 0])


def test_accuracy_at_most_so_many_degrees():
    scores = orientation_scores([facings(0, 90, 180, 270)], [facings(5, 110, 180, 315)])
    assert (scores.people, scores.matched, scores.mae) == (4, 4, pytest.approx(17.5))
    assert [scores.accuracy[limit] for limit in (5, 15, 22.5, 30, 45)] == [0.5, 0.5, 0.75, 0.75, 1.0]
    assert scores.mae_by_octant[::2] == pytest.approx((5, 20, 0, 45)) and math.isnan(scores.mae_by_octant[1])


def test_bias_has_a_sign():
    assert orientation_scores([facings(0, 350)], [facings(10, 0)]).bias == pytest.approx(10)


def test_missed_people_count_only_over_all():
    scores = orientation_scores([facings(0, 90)], [facings(0)])
    assert (scores.people, scores.matched) == (2, 1)
    assert scores.accuracy[5] == 1.0 and scores.of_all[5] == 0.5


def test_a_detection_may_serve_many_or_one():
    truth = facings(0, 90, boxes=[[0, 0, 40, 80], [5, 0, 45, 80]])
    found = facings(0, boxes=[[2, 0, 42, 80]], scores=[0.9])
    assert orientation_scores([truth], [found]).matched == 2
    assert orientation_scores([truth], [found], one_to_one=True).matched == 1


def test_surest_detection_chooses_first():
    truth = facings(0, boxes=[[0, 0, 40, 80]])
    found = facings(50, 0, boxes=[[0, 0, 40, 80], [1, 0, 41, 80]], scores=[0.3, 0.9])
    assert orientation_scores([truth], [found]).mae == pytest.approx(50)
    assert orientation_scores([truth], [found], one_to_one=True).mae == pytest.approx(0)
    assert orientation_scores([truth], [found], least_score=0.5).mae == pytest.approx(0)


@pytest.mark.parametrize(
    ("truth", "found"), [([], []), ([facings()], [facings()]), ([facings()], [facings(3)]), ([facings(3)], [facings()])]
)
def test_nobody(truth, found):
    scores = orientation_scores(truth, found)
    assert scores.matched == 0 and math.isnan(scores.mae) and math.isnan(scores.accuracy[5]) and math.isnan(scores.bias)
    assert scores.of_all[5] == 0 if scores.people else math.isnan(scores.of_all[5])
