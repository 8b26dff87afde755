"""Quaternions against scipy's, for any rotation, and their signs over time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vitruvian.formats.quaternions import continuous, from_matrices

angles = st.floats(-10, 10)


@given(st.tuples(angles, angles, angles))
def test_any_rotation_comes_back(vector):
    matrix = Rotation.from_rotvec(vector).as_matrix()
    found = from_matrices(matrix)
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(found, scalar_first=True).as_matrix(), matrix, atol=1e-9)


@pytest.mark.parametrize("axis", np.eye(3).tolist() + [[1, 1, 0], [1, -1, 1], [-1, 2, 3]])
def test_half_turns_and_none_are_no_trouble(axis):
    half = np.pi * np.array(axis) / np.linalg.norm(axis)
    matrices = Rotation.from_rotvec([half, -half, 0 * half]).as_matrix()
    np.testing.assert_allclose(Rotation.from_quat(from_matrices(matrices), scalar_first=True).as_matrix(), matrices, atol=1e-9)


def test_signs_are_continuous_over_full_turns():
    turns = Rotation.from_rotvec(np.linspace(0, 6 * np.pi, 50)[:, None] * [0, 1, 0]).as_matrix()
    found = continuous(from_matrices(turns))
    assert ((found[1:] * found[:-1]).sum(-1) > 0.9).all()
    assert continuous(np.zeros((0, 3, 4))).shape == (0, 3, 4)
