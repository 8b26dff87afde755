"""Euler angles: exact products in channel order, and continuous on the way back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from vitruvian.formats.euler import from_euler, to_euler

ORDERS = ["".join(order) for order in permutations("XYZ")]
angles = hnp.arrays(np.float64, (5, 2, 3), elements=st.floats(-7, 7))


@given(values=angles, axes=st.sampled_from(["".join(axes) for n in range(4) for axes in product("XYZ", repeat=n)]))
def test_product_is_scipys_intrinsic_rotation(values, axes):
    values = values[..., : len(axes)]
    expected = np.stack([np.eye(3)] * 10)
    for n, axis in enumerate(axes):  # one by one, as scipy refuses an axis that follows itself
        expected = expected @ Rotation.from_euler(axis, values[..., n].reshape(-1, 1)).as_matrix()
    expected = expected.reshape(5, 2, 3, 3)
    np.testing.assert_allclose(from_euler(values, axes), expected, atol=1e-12)


@given(values=angles, axes=st.sampled_from(ORDERS))
def test_angles_give_their_matrices(values, axes):
    matrices = from_euler(values, axes)
    np.testing.assert_allclose(from_euler(to_euler(matrices, axes), axes), matrices, atol=1e-9)


@given(values=angles, axes=st.sampled_from(ORDERS), middle=st.sampled_from([np.pi / 2, -np.pi / 2]))
def test_angles_give_their_matrices_in_gimbal_lock(values, axes, middle):
    values[..., 1] = middle
    matrices = from_euler(values, axes)
    np.testing.assert_allclose(from_euler(to_euler(matrices, axes), axes), matrices, atol=1e-6)


@pytest.mark.parametrize("axes", ORDERS)
def test_angles_are_continuous_over_full_turns_and_past_the_right_angle(axes):
    time = np.linspace(0, 1, 400)[:, None]
    smooth = np.array([9.0, 2.4, -11.0]) * time  # more than a turn, and the middle one past 90 degrees
    found = to_euler(from_euler(smooth, axes), axes)
    np.testing.assert_allclose(found, smooth, atol=1e-6)


def test_through_gimbal_lock_the_last_angle_stays():
    middle = np.radians([80, 85, 90, 90, 90])
    given_ = np.stack([np.linspace(0.1, 0.5, 5), middle, np.full(5, 0.3)], axis=-1)
    np.testing.assert_allclose(to_euler(from_euler(given_, "ZXY"), "ZXY"), given_, atol=1e-7)


def test_no_frames():
    assert to_euler(np.zeros((0, 4, 3, 3)), "ZXY").shape == (0, 4, 3)
