"""A known similarity is applied and found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vitruvian.errors import VitruvianError
from vitruvian.geometry.alignment import Similarity, align

CLOUD = np.random.default_rng(0).normal(size=(17, 3))


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-3, 3)] * 3), st.floats(0.01, 100), st.tuples(*[st.floats(-5, 5)] * 3))
def test_a_similarity_is_found_again(vector, scale, shift):
    truth = Similarity(Rotation.from_rotvec(vector).as_matrix(), np.array(scale), np.array(shift))
    found = align(CLOUD, truth(CLOUD))
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-9 * scale + 1e-9)


def test_weights_are_counts():
    rng = np.random.default_rng(1)
    goal = CLOUD + rng.normal(0, 0.3, CLOUD.shape)
    many = [0, 0, 0, *range(1, 17)]
    found = align(CLOUD, goal, np.array([3.0] + [1] * 16))
    np.testing.assert_allclose(found.matrix, align(CLOUD[many], goal[many]).matrix, atol=1e-12)


def test_nothing_near_is_better():
    rng = np.random.default_rng(2)
    goal = CLOUD + rng.normal(0, 0.3, CLOUD.shape)
    best = align(CLOUD, goal)
    error = ((best(CLOUD) - goal) ** 2).sum()
    for _ in range(50):
        near = Similarity(
            Rotation.from_rotvec(rng.normal(0, 0.02, 3)).as_matrix() @ best.rotation,
            best.scale * rng.uniform(0.99, 1.01),
            best.translation + rng.normal(0, 0.01, 3),
        )
        assert ((near(CLOUD) - goal) ** 2).sum() >= error


def test_a_mirror_image_is_not_mirrored_back():
    found = align(CLOUD, CLOUD * [-1, 1, 1])
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_rigid_alignment_keeps_the_size():
    assert align(CLOUD, 2 * CLOUD, scale=False).scale == 1
    assert align(CLOUD, 2 * CLOUD).scale == pytest.approx(2)


def test_missing_points_do_not_count_and_batches_are_single_ones():
    goal = np.stack([CLOUD @ Rotation.from_rotvec([0, 0, a]).as_matrix().T + a for a in (0.0, 1, 2)])
    goal[1, 3] = np.nan
    found = align(np.broadcast_to(CLOUD, goal.shape), goal)
    for i, a in enumerate((0.0, 1, 2)):
        np.testing.assert_allclose(found.rotation[i], Rotation.from_rotvec([0, 0, a]).as_matrix(), atol=1e-12)
        np.testing.assert_allclose(found.translation[i], a, atol=1e-12)


def test_no_points_no_motion():
    for empty in (np.full((4, 3), np.nan), np.zeros((0, 3))):
        np.testing.assert_array_equal(align(empty, empty).matrix, np.eye(4))
    assert align(np.zeros((0, 5, 3)), np.zeros((0, 5, 3))).rotation.shape == (0, 3, 3)
    with pytest.raises(VitruvianError):
        align(CLOUD, CLOUD[:5])
