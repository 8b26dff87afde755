"""Parts joined to people by boxes alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.people.joining import join_parts, split_side, without_pieces

PEOPLE = np.array([[0, 0, 100, 200], [80, 0, 180, 200]], float)


def test_heads_go_to_the_person_whose_top_they_are_at():
    heads = np.array([[110, 5, 140, 40], [40, 5, 60, 40]], float)
    assert join_parts(PEOPLE, heads, ["head", "head"]).tolist() == [1, 0]


def test_a_person_has_one_head_two_hands_and_one_of_each_side():
    near = np.array([[40, 10, 60, 40], [42, 10, 62, 40], [44, 10, 64, 40]], float)
    assert sorted(join_parts(PEOPLE[:1], near, ["head"] * 3).tolist()) == [-1, -1, 0]
    assert sorted(join_parts(PEOPLE[:1], near, ["hand"] * 3).tolist()) == [-1, 0, 0]
    assert sorted(join_parts(PEOPLE[:1], near, ["left hand", "left_hand", "right hand"]).tolist()) == [0, 0, 0]
    assert sorted(join_parts(PEOPLE[:1], near, ["left hand", "left hand", "right hand"]).tolist()) == [-1, 0, 0]


def test_what_lies_outside_or_is_no_part_is_nobodys():
    boxes = np.array([[300, 10, 320, 40], [40, 10, 60, 40]], float)
    assert join_parts(PEOPLE, boxes, ["head", "hat"]).tolist() == [-1, -1]


def test_nobody_and_nothing():
    assert join_parts(PEOPLE[:0], PEOPLE, ["head"] * 2).tolist() == [-1, -1]
    assert join_parts(PEOPLE, PEOPLE[:0], []).tolist() == []


def test_two_people_close_together_each_get_their_head():
    people = np.array([[0, 0, 60, 200], [20, 10, 80, 210]], float)
    heads = np.array([[40, 12, 60, 42], [20, 2, 40, 32]], float)
    assert join_parts(people, heads, ["head"] * 2).tolist() == [1, 0]


@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), max_size=6), st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), max_size=6))
def test_any_boxes_get_a_valid_answer(people, parts):
    owners = join_parts(np.array(people, float).reshape(-1, 4), np.array(parts, float).reshape(-1, 4), ["head"] * len(parts))
    taken = owners[owners >= 0]
    assert owners.shape == (len(parts),) and len(set(taken)) == len(taken) and (owners < max(len(people), 1)).all()


def test_pieces_of_a_person_are_left_out_but_nobody_with_a_head_of_their_own():
    whole, legs, child, apart = [0, 0, 60, 160], [2, 80, 58, 165], [5, 60, 45, 158], [100, 0, 160, 160]
    people, heads = np.array([legs, whole, apart], float), np.array([[20, 2, 40, 25]], float)
    assert without_pieces(people, heads).tolist() == [False, True, True]
    both = np.array([whole, child], float)
    assert without_pieces(both, np.array([[20, 2, 40, 25], [15, 62, 35, 80]], float)).tolist() == [True, True]
    assert without_pieces(both[[0, 0]], heads).tolist() == [True, False]
    assert without_pieces(both[:0], heads).shape == (0,) and without_pieces(both, heads[:0]).tolist() == [True, False]


def test_sides_are_split_off():
    assert split_side("Left_hand") == ("left", "hand") and split_side("head") == ("", "head") and split_side("") == ("", "")
