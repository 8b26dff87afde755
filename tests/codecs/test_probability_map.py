"""Probability maps: places finer than cells, and scores that are chances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.codecs.probability_map import ProbabilityMap

CODEC = ProbabilityMap((192, 256), (24, 32))


def bilinear(x: float, y: float) -> np.ndarray:
    """A map whose probability is shared by the four cells around a place in crop pixels."""
    place = (np.array([x, y]) - 3.5) / 8
    columns, rows = (np.clip(1 - np.abs(place[axis] - np.arange(n)), 0, None) for axis, n in enumerate(CODEC.cells))
    return (rows[:, None] * columns)[None, None].astype(np.float32)


@given(st.floats(3.5, 187.5), st.floats(3.5, 251.5))
def test_a_place_between_cells_comes_back(x, y):
    keypoints, scores = CODEC.decode(bilinear(x, y))
    np.testing.assert_allclose(keypoints[0, 0], [x, y], atol=1e-3)
    assert scores[0, 0] == pytest.approx(1, abs=1e-5)


def test_the_score_is_the_probability_near_the_place():
    """0.6 lies around one place, 0.3 far away, and 0.1 is not in the crop at all."""
    maps = 0.6 * bilinear(50, 60) + 0.3 * bilinear(150, 200)
    keypoints, scores = CODEC.decode(maps)
    np.testing.assert_allclose(keypoints[0, 0], [50, 60], atol=1e-3)
    assert scores[0, 0] == pytest.approx(0.6, abs=1e-5)


def test_the_second_place_is_the_likeliest_one_elsewhere():
    """A broad peak is one place: its own flank is not the second."""
    broad = 0.25 * (bilinear(50, 60) + bilinear(62, 60)) + 0.12 * bilinear(150, 200) + 0.02 * bilinear(20, 200)
    keypoints, scores = CODEC.decode_two(np.concatenate([broad, bilinear(100, 100)], axis=1))
    np.testing.assert_array_equal(keypoints[:, :2], CODEC.decode(np.concatenate([broad, bilinear(100, 100)], axis=1))[0])
    np.testing.assert_allclose(keypoints[0, 2], [150, 200], atol=1e-3)
    np.testing.assert_allclose(scores[0], [0.5, 1, 0.12, 0], atol=1e-5)
    nobody = CODEC.decode_two(np.zeros((0, 133, 32, 24), np.float32))
    assert nobody[0].shape == (0, 266, 2) and nobody[1].shape == (0, 266)


def test_peaks_in_corners_and_no_people():
    corner = np.zeros((1, 2, 32, 24), np.float32)
    corner[0, 0, 0, 0] = corner[0, 1, 31, 23] = 1
    np.testing.assert_allclose(CODEC.decode(corner)[0][0], [[3.5, 3.5], [187.5, 251.5]], atol=1e-4)
    keypoints, scores = CODEC.decode(np.zeros((0, 133, 32, 24), np.float32))
    assert keypoints.shape == (0, 133, 2) and scores.shape == (0, 133)


def test_an_empty_map_has_no_score():
    keypoints, scores = CODEC.decode(np.zeros((1, 1, 32, 24), np.float32))
    assert scores[0, 0] == 0 and np.isfinite(keypoints).all()


def test_the_window_of_a_small_map_is_as_large_a_part_of_the_crop():
    small = np.zeros((1, 1, 16, 12), np.float32)
    small[0, 0, 8, 4:9] = (0.1, 0.2, 0.3, 0.2, 0.1)
    keypoints, scores = ProbabilityMap((96, 128), (12, 16)).decode(small)
    np.testing.assert_allclose(keypoints[0, 0], [6 * 8 + 3.5, 8 * 8 + 3.5], atol=1e-4)
    assert scores[0, 0] == pytest.approx(0.7, abs=1e-5)
