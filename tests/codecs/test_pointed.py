"""Parts that point at their owner's box go there."""

import numpy as np
import pytest

from vitruvian.codecs.detections import Detections, decode_raw
from vitruvian.codecs.pointed import PointedDetections, decode_pointed, pointed_owners, pointing_cost

CLASSES = ("person", "head", "face", "hand", "foot")
PEOPLE = np.float32([[0, 0, 40, 100], [10, 0, 50, 100], [15, 30, 35, 80]])  # the third is small, between the others


def parts(pointers, labels):
    pointers = np.float32(pointers).reshape(-1, 4)
    boxes = np.tile(np.float32([20, 5, 30, 15]), (len(pointers), 1))
    return PointedDetections(boxes, np.full(len(boxes), 0.5, np.float32), np.int32(labels), pointers)


def test_each_part_goes_to_the_person_it_points_at_wherever_it_is():
    found = parts([PEOPLE[1], PEOPLE[0], PEOPLE[2]] * 2, [1, 1, 1, 3, 3, 3])
    assert pointed_owners(found, PEOPLE, CLASSES).tolist() == [1, 0, 2] * 2


def test_size_tells_people_with_one_middle_apart():
    people = np.float32([[0, 0, 40, 100], [10, 25, 30, 75]])
    assert pointed_owners(parts(people[::-1], [1, 1]), people, CLASSES).tolist() == [1, 0]


def test_nobody_has_two_heads_or_three_hands():
    pointers = PEOPLE[0] + np.float32([[3, 0, 3, 0], [1, 0, 1, 0], [2, 0, 2, 0]])
    assert pointed_owners(parts(pointers, [1, 1, 2]), PEOPLE, CLASSES).tolist() == [-1, 0, 0]
    assert pointed_owners(parts(pointers, [3, 3, 3]), PEOPLE, CLASSES).tolist() == [-1, 0, 0]


def test_a_part_that_points_elsewhere_is_nobodys_and_people_are_no_parts():
    found = parts([[200, 200, 240, 300], [np.nan] * 4, PEOPLE[0]], [1, 2, 0])
    assert pointed_owners(found, PEOPLE, CLASSES).tolist() == [-1, -1, -1]


def test_without_people_or_parts():
    assert pointed_owners(parts([PEOPLE[0]], [1]), PEOPLE[:0], CLASSES).tolist() == [-1]
    assert pointed_owners(parts([], []), PEOPLE, CLASSES).shape == (0,)


def test_the_cost_counts_in_the_persons_sides():
    box = np.float32([[0, 0, 10, 40]])
    assert pointing_cost(box, box)[0, 0] == 0
    assert pointing_cost(box + np.float32([2, 0, 2, 0]), box)[0, 0] == pytest.approx(2 / 10)
    assert pointing_cost(7 * (box + np.float32([2, 0, 2, 0])), 7 * box)[0, 0] == pytest.approx(2 / 10)


def test_the_same_rows_are_found_as_without_pointers():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 80, (2, 400, 2))
    boxes, scores = np.concatenate([low, low + rng.uniform(5, 30, (2, 400, 2))], 2), rng.random((2, 400, 5)) ** 4
    how = ([0, 1, 3], 0.3, 0.6)
    pointers = np.broadcast_to(np.arange(400.0)[:, None], (2, 400, 4))
    for plain, found, places in zip(decode_raw(boxes, scores, *how), decode_pointed(boxes, scores, pointers, *how), boxes, strict=True):
        for name in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(getattr(plain, name), getattr(found, name))
        np.testing.assert_allclose(places[found.owner_boxes[:, 0].astype(int)], found.boxes, rtol=1e-6)


def test_pointers_move_with_their_parts():
    look = parts([PEOPLE[0], PEOPLE[1]], [1, 3])
    moved = Detections(look.boxes + 4, look.scores, look.labels)
    np.testing.assert_array_equal(look.carried(moved).owner_boxes, PEOPLE[:2] + 4)
    strange = Detections(look.boxes, look.scores, np.int32([1, 4]))
    assert np.isnan(look.carried(strange).owner_boxes[1]).all()
    assert look.carried(moved[:0]).owner_boxes.shape == (0, 4) and len(look[:0].carried(moved)) == 2
