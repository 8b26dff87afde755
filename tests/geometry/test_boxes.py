"""Box arithmetic against counting and against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian.geometry.boxes import area, clip, enclosing, iou, xywh_to_xyxy, xyxy_to_xywh

whole_boxes = hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(4)), elements=st.integers(-5, 12).map(float))


def pixels(box: np.ndarray) -> set[tuple[int, int]]:
    """The unit squares that a whole-numbered box covers."""
    x1, y1, x2, y2 = map(int, box)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@given(whole_boxes, whole_boxes)
def test_iou_and_area_equal_counted_squares(a: np.ndarray, b: np.ndarray):
    got = iou(a, b)
    assert got.shape == (len(a), len(b))
    np.testing.assert_array_equal(area(a), [len(pixels(box)) for box in a])
    for i, p in enumerate(map(pixels, a)):
        for j, q in enumerate(map(pixels, b)):
            assert got[i, j] == (len(p & q) / len(p | q) if p | q else 0)


@given(whole_boxes)
def test_xywh_round_trip(boxes: np.ndarray):
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


def test_xywh_of_one_box():
    assert xyxy_to_xywh(np.array([10, 20, 13, 24])).tolist() == [10, 20, 3, 4]


def test_clip_keeps_what_is_inside():
    boxes = np.array([[-5, -5, 3, 4], [1, 2, 99, 99], [20, 20, 30, 30]], np.float32)
    got = clip(boxes, 10, 8)
    assert got.tolist() == [[0, 0, 3, 4], [1, 2, 10, 8], [10, 8, 10, 8]] and got.dtype == np.float32
    assert clip(np.zeros((0, 4)), 10, 8).shape == (0, 4)


def test_enclosing_counts_visible_points_only():
    points = np.array([[[1, 2], [5, 9], [np.nan, 3]], [[7, 7], [0, 0], [1, 1]], [[1, 1], [2, 2], [3, 3]]], np.float32)
    visible = np.array([[True, True, True], [True, False, False], [False, False, False]])
    assert enclosing(points, visible).tolist() == [[1, 2, 5, 9], [7, 7, 7, 7], [0, 0, 0, 0]]
    assert enclosing(np.zeros((0, 17, 2)), np.zeros((0, 17), bool)).shape == (0, 4)
    assert enclosing(np.zeros((2, 0, 2)), np.zeros((2, 0), bool)).tolist() == [[0, 0, 0, 0]] * 2
