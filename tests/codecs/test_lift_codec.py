"""What a lifting network sees, and where its answer is placed."""

import numpy as np
import pytest

from vitruvian.codecs.lift import PLANE, encode
from vitruvian.codecs.lifting import solve_roots

RNG = np.random.default_rng(3)
BODY = RNG.normal(0, 0.4, (6, 133, 3))
FOCAL, CENTRE = 900.0, np.array([639.5, 359.5])


def project(points):
    return points[..., :2] / points[..., 2:] * FOCAL + CENTRE


@pytest.mark.parametrize("pelvis", [(0, 0, 4.0), (1.5, -0.4, 3.0), (-2.5, 1.0, 5.0)])
def test_a_body_is_placed_where_it_was_seen(pelvis):
    keypoints = project(BODY + np.array(pelvis))
    seen = encode(keypoints, np.ones(keypoints.shape[:2]), FOCAL, CENTRE)
    found = solve_roots(BODY @ seen.turn, seen.rays, PLANE)  # the body in the turned camera's axes
    np.testing.assert_allclose(np.einsum("tij,tj->ti", seen.turn, found), np.tile(pelvis, (6, 1)), atol=1e-6)


def test_the_turned_camera_looks_at_the_person_and_sees_the_same_directions():
    keypoints = project(BODY + np.array([2.0, 0.5, 4.0]))
    seen = encode(keypoints, np.ones(keypoints.shape[:2]), FOCAL, CENTRE)
    np.testing.assert_allclose(seen.turn @ seen.turn.transpose(0, 2, 1), np.tile(np.eye(3), (6, 1, 1)), atol=1e-12)
    back = np.concatenate([seen.rays, np.ones((*seen.rays.shape[:2], 1))], -1) @ seen.turn.transpose(0, 2, 1)
    np.testing.assert_allclose(project(back), keypoints, atol=1e-6)
    square = seen.inputs[:, :266].reshape(6, 133, 2)
    np.testing.assert_allclose(np.abs(square).max((1, 2)), 1, atol=1e-6)


def test_a_person_of_the_same_angle_gives_the_same_inputs_in_any_resolution():
    keypoints = project(BODY + np.array([0.3, 0.1, 4.0]))
    whole, half = (
        encode(keypoints * scale, np.ones(keypoints.shape[:2]), FOCAL * scale, CENTRE * scale).inputs for scale in (1.0, 0.5)
    )
    np.testing.assert_allclose(whole, half, atol=1e-6)


def test_what_was_not_seen_says_nothing():
    keypoints, confidence = project(BODY + np.array([0, 0, 4.0])), np.full((6, 133), 0.9)
    confidence[0], keypoints[1, 10:], confidence[2, 5] = 0, np.nan, 0
    keypoints[3, 3:] = np.nan  # three points are too few
    seen = encode(keypoints, confidence, FOCAL, CENTRE)
    assert seen.known.tolist() == [False, True, True, False, True, True]
    assert not seen.inputs[0].any() and not seen.inputs[3].any() and np.isfinite(seen.inputs).all()
    assert seen.inputs[2, 266 + 5] == 0 and not seen.inputs[2, 10:12].any()
    assert np.isnan(solve_roots(BODY, seen.rays, PLANE, confidence)[0]).all()


def test_no_frames_give_no_frames():
    seen = encode(np.zeros((0, 133, 2)), np.zeros((0, 133)), FOCAL, CENTRE)
    assert seen.inputs.shape == (0, 400) and solve_roots(np.zeros((0, 133, 3)), seen.rays, PLANE).shape == (0, 3)
