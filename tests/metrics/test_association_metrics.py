"""Miss rates of bodies and pairs, and the share of parts that hang on the right body."""

import math
from dataclasses import replace

import numpy as np
import pytest

from vitruvian.metrics.association import (
    CROWDHUMAN,
    FPPI,
    FoundPairs,
    Setup,
    TruePairs,
    crowd_precision,
    eleven_point_ap,
    miss_rate,
    pair_scores,
)

BODY, PART = np.array([0, 0, 40, 100.0]), np.array([10, 0, 30, 20.0])


def pairs(pictures=4, shift=0.0):
    """One body with its part in each picture, and exactly that found."""
    image = np.arange(pictures)
    truth = TruePairs(image, np.tile(BODY, (pictures, 1)), np.tile(PART, (pictures, 1)), np.ones(pictures), np.zeros(pictures, bool))
    found = FoundPairs(image, truth.bodies + shift, truth.parts + shift, np.linspace(0.9, 0.5, pictures), np.full(pictures, 0.5))
    return truth, found


def rows(pairs, keep):
    """Some rows."""
    return type(pairs)(*(value if value is None else value[keep] for value in vars(pairs).values()))


def with_extra(found, **changed):
    """One more detection: the first one's with other values, in picture 0."""
    extra = rows(found, slice(0, 1))
    extra = replace(extra, **{name: np.array([value]) for name, value in changed.items()})
    return type(found)(
        *(None if a is None else np.concatenate([a, b]) for a, b in zip(vars(found).values(), vars(extra).values(), strict=True))
    )


def test_everything_found_is_a_rate_of_nought():
    assert miss_rate(*pairs(), pictures=4) == pytest.approx(1e-10)


def test_half_found_without_false_ones_is_a_half():
    truth, found = pairs()
    assert miss_rate(truth, rows(found, slice(0, 2)), pictures=4) == pytest.approx(0.5)


def test_false_positives_count_where_they_are_too_many():
    # The false one is the surest: one in 20 pictures is 0.05, so nothing is found at the first three points, and all at the other six.
    truth, found = pairs(20)
    found = with_extra(found, bodies=BODY + 500, parts=PART + 500, scores=0.99)
    expected = math.exp(6 * math.log(1e-10) / 9)
    assert (FPPI < 0.05).sum() == 3
    assert miss_rate(truth, found, pictures=20, published=False) == pytest.approx(expected)
    assert miss_rate(truth, found, pictures=20) == pytest.approx(1e-10)  # the slip reads the final recall there


@pytest.mark.parametrize("which", ["bodies", "parts"])
def test_both_boxes_must_be_right(which):
    truth, found = pairs()
    assert miss_rate(truth, replace(found, **{which: getattr(found, which) + 60}), pictures=4) == pytest.approx(1.0)
    alone = replace(found, parts=None, part_scores=None)
    assert miss_rate(replace(truth, parts=None), alone, pictures=4) == pytest.approx(1e-10)


def test_ignored_bodies_are_neither_missed_nor_a_fault():
    truth, found = pairs()
    truth = replace(truth, ignore=np.array([True, False, False, False]))
    assert miss_rate(truth, found, pictures=4) == pytest.approx(1e-10)
    assert miss_rate(truth, rows(found, slice(1, None)), pictures=4) == pytest.approx(1e-10)


def test_setups_choose_by_height_and_visibility():
    truth, found = pairs()
    truth = replace(truth, visible=np.array([0.9, 0.3, 0.3, 0.9]))
    assert miss_rate(truth, rows(found, [0, 3]), 4, CROWDHUMAN["Reasonable"]) == pytest.approx(1e-10)
    assert miss_rate(truth, rows(found, [0, 3]), 4, CROWDHUMAN["Heavy"]) == pytest.approx(1.0)
    assert math.isnan(miss_rate(truth, found, 4, CROWDHUMAN["Small"]))
    assert math.isnan(miss_rate(truth, found, 4, Setup(part_height=(50, 60))))


def test_second_find_of_a_body_is_false():
    truth, found = pairs(2)
    twice = with_extra(found, scores=0.95)
    assert miss_rate(truth, twice, 2, published=False) > miss_rate(truth, found, 2, published=False)


def test_published_sums_are_sorted_apart_from_the_detections():
    # In one picture the right detection chooses first (body 0.9) but has the lower sum; sorted apart, the higher sum becomes its own.
    truth, found = pairs(1)
    wrong = with_extra(
        replace(found, scores=np.array([0.9]), part_scores=np.array([0.1])),
        bodies=BODY + 500,
        parts=PART + 500,
        scores=0.8,
        part_scores=0.9,
    )
    assert miss_rate(truth, wrong, 200) == pytest.approx(1e-10)
    assert miss_rate(truth, wrong, 50, published=False) == pytest.approx(math.exp(7 * math.log(1e-10) / 9))


def test_nobody_found_and_nobody_there():
    truth, found = pairs()
    none = rows(found, slice(0, 0))
    assert miss_rate(truth, none, 4) == pytest.approx(1.0)
    assert math.isnan(miss_rate(rows(truth, slice(0, 0)), found, 4))
    scores = pair_scores(truth, none)
    assert scores.part_ap == 0 and scores.joint_ap == 0 and math.isnan(scores.conditional_accuracy)
    assert math.isnan(pair_scores(rows(truth, slice(0, 0)), none).part_ap)


def bodies_alone(pictures, **more):
    truth, found = pairs(pictures)
    return replace(truth, parts=None, **more), replace(found, parts=None, part_scores=None)


def test_toolkit_precision_is_the_area_under_the_curve_as_it_is():
    truth, found = bodies_alone(4)
    assert crowd_precision(truth, found) == pytest.approx(1)
    assert crowd_precision(truth, rows(found, slice(0, 3))) == pytest.approx(0.75)
    # The surest is false: precision 0, 1/2, 2/3, 3/4, 4/5 at recall 0, 1/4, ... 1; trapezoids of a quarter each.
    wrong = with_extra(found, bodies=BODY + 500, scores=0.99)
    expected = (0 / 2 + 1 / 2 + 2 / 3 + 3 / 4 + 4 / 5 / 2) / 4
    assert crowd_precision(truth, wrong) == pytest.approx(expected)


def test_toolkit_precision_leaves_out_what_is_to_be_ignored():
    truth, found = bodies_alone(4, ignore=np.array([True, False, False, False]))
    assert crowd_precision(truth, found) == pytest.approx(1)
    assert math.isnan(crowd_precision(rows(truth, slice(0, 1)), found))
    assert crowd_precision(truth, rows(found, slice(0, 0))) == 0


def test_wrong_bodies_cost_conditional_accuracy_and_joint_ap_only():
    truth, found = pairs()
    bodies = found.bodies.copy()
    bodies[3] += 500
    scores = pair_scores(truth, replace(found, bodies=bodies))
    # Joint: three of four, surest first: precision 1 up to recall 0.75, that is at 8 of the 11 points.
    assert scores.part_ap == pytest.approx(1) and scores.conditional_accuracy == 0.75 and scores.joint_ap == pytest.approx(8 / 11)


def test_part_with_a_wrong_body_leaves_the_true_part_free():
    truth, found = pairs(1)
    scores = pair_scores(truth, with_extra(found, bodies=BODY + 500, scores=0.99))
    assert scores.part_ap == pytest.approx(1) and scores.conditional_accuracy == 0 and scores.joint_ap == pytest.approx(0.5)


def test_difficult_parts_do_not_count():
    truth, found = pairs(2)
    truth = replace(truth, ignore=np.array([True, False]))
    assert pair_scores(truth, found).part_ap == pytest.approx(1)


def test_boxes_end_with_their_last_pixel():
    # 9 of 10 pixels shared inclusively is 9/11; without the last pixel 8/10 and so on: a threshold in between tells them apart.
    truth = TruePairs(np.zeros(1, int), BODY[None], np.array([[0, 0, 9, 0.0]]), np.ones(1), np.zeros(1, bool))
    found = FoundPairs(np.zeros(1, int), BODY[None], np.array([[1, 0, 10, 0.0]]), np.ones(1))
    assert pair_scores(truth, found).part_ap == pytest.approx(1)
    assert pair_scores(truth, found, inclusive=False).part_ap == 0  # no area


def test_eleven_points():
    assert eleven_point_ap(np.array([True, False, True]), 2) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
