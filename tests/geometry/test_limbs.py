"""Arms of one length before four cameras, some of which take the wrist for something else."""

import numpy as np
import pytest
from tests.geometry.test_triangulate import ring

from vitruvian.geometry.camera import project_all
from vitruvian.geometry.limbs import SLACK, limbs_of, with_steady_limbs
from vitruvian.geometry.triangulate import triangulate
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, PANOPTIC_15

SHOULDER, ELBOW, WRIST = (COCO_17.index(f"left_{name}") for name in ("shoulder", "elbow", "wrist"))
UPPER, FORE = 0.3, 0.25
FRAMES = 40


@pytest.fixture
def arms():
    """(40, 17, 3): a left arm that swings, and nothing else."""
    turn = np.linspace(0, 3, FRAMES)[:, None]
    down = np.concatenate([0 * turn, -np.cos(turn), np.sin(turn)], 1)
    ahead = np.concatenate([np.sin(2 * turn), np.cos(2 * turn), 0 * turn], 1)
    points = np.full((FRAMES, 17, 3), np.nan)
    points[:, SHOULDER] = (0, 1.4, 0)
    points[:, ELBOW] = points[:, SHOULDER] + UPPER * down
    points[:, WRIST] = points[:, ELBOW] + FORE * ahead
    return points


def seen(points):
    pixels = project_all(ring(), points)
    return pixels, np.isfinite(pixels).all(-1).astype(float)


def steady(pixels, confidence, **options):
    found = triangulate(ring(), pixels, confidence)
    return found, with_steady_limbs(ring(), pixels, confidence, found, limbs_of(COCO_17.names), **options)


def test_a_wrist_that_two_of_four_cameras_see_elsewhere_alike_is_found(arms):
    pixels, confidence = seen(arms)
    lamp = np.full((FRAMES, 17, 3), (0.6, 2.2, 0.4))
    pixels[:2, 10:20, WRIST] = project_all(ring()[:2], lamp)[:, 10:20, WRIST]
    confidence[2:, 10:20, WRIST] = 0.5  # the right ones are less sure, so that they lose
    plain, found = steady(pixels, confidence)
    assert np.linalg.norm(plain.points - arms, axis=-1)[10:20, WRIST].min() > 0.5
    np.testing.assert_allclose(found.points[:, [SHOULDER, ELBOW, WRIST]], arms[:, [SHOULDER, ELBOW, WRIST]], atol=1e-4)
    assert found.used[:, 15, WRIST].tolist() == [False, False, True, True]
    assert found.confidence[15, WRIST] == 0.5


def test_a_wrist_that_nobody_sees_right_is_no_point(arms):
    pixels, confidence = seen(arms)
    lamp = np.full((FRAMES, 17, 3), (0.6, 2.2, 0.4))
    pixels[:2, 5, WRIST] = project_all(ring()[:2], lamp)[:, 5, WRIST]
    confidence[2:, 5, WRIST] = 0
    _, found = steady(pixels, confidence)
    assert np.isnan(found.points[5, WRIST]).all() and not found.used[:, 5, WRIST].any() and found.confidence[5, WRIST] == 0
    assert np.isfinite(found.points[:, WRIST]).all(-1).sum() == FRAMES - 1


def test_without_an_elbow_the_wrist_must_be_within_the_arm_s_reach(arms):
    pixels, confidence = seen(arms)
    confidence[:, 3:5, ELBOW] = 0
    far = arms.copy()
    far[4, WRIST] = far[4, SHOULDER] + (UPPER + FORE) * 1.3 * np.array([0, 0, 1])
    pixels[:, 4, WRIST] = project_all(ring(), far)[:, 4, WRIST]
    _, found = steady(pixels, confidence)
    np.testing.assert_allclose(found.points[3, WRIST], arms[3, WRIST], atol=1e-4)
    assert np.isnan(found.points[4, WRIST]).all()


def test_limbs_may_vary_a_little_and_short_films_tell_no_length(arms):
    arms[20, WRIST] = arms[20, ELBOW] + (1 + 0.9 * SLACK) * (arms[20, WRIST] - arms[20, ELBOW])
    plain, found = steady(*seen(arms))
    np.testing.assert_array_equal(found.points, plain.points)
    arms[3, WRIST] += 1
    pixels, confidence = seen(arms[:6])
    plain, found = steady(pixels, confidence)
    np.testing.assert_array_equal(found.points, plain.points)


def test_points_that_agree_with_too_few_cameras_are_not_taken(arms):
    pixels, confidence = seen(arms)
    lamp = np.full((FRAMES, 17, 3), (0.6, 2.2, 0.4))
    pixels[:2, 10, WRIST] = project_all(ring()[:2], lamp)[:, 10, WRIST]
    confidence[2:, 10, WRIST] = 0.5
    _, found = steady(pixels, confidence, min_views=3)
    assert np.isnan(found.points[10, WRIST]).all()


def test_fingers_and_toes_hang_on_wrists_and_ankles_and_may_come_nearer():
    limbs = {limb.end: limb for limb in limbs_of(COCO_WHOLEBODY_133.names)}
    of = COCO_WHOLEBODY_133.index
    tip = COCO_WHOLEBODY_133.parts["right_hand"].stop - 1
    assert limbs[tip].starts == (of("right_wrist"), of("right_elbow"), of("right_shoulder")) and limbs[tip].loose
    assert limbs[of("left_heel")].starts[0] == of("left_ankle")
    assert limbs[of("left_knee")].other == (of("right_hip"), of("right_knee")) and not limbs[of("left_knee")].loose
    assert of("nose") not in limbs and of("left_shoulder") not in limbs


def test_sets_without_such_names_have_no_limbs_and_nobody_has_none_wrong(arms):
    assert len(limbs_of(COCO_17.names)) == 8
    empty = triangulate(ring(), np.zeros((4, 0, 17, 2)), np.zeros((4, 0, 17)))
    found = with_steady_limbs(ring(), np.zeros((4, 0, 17, 2)), np.zeros((4, 0, 17)), empty, limbs_of(COCO_17.names))
    assert found.points.shape == (0, 17, 3)
    assert all(limb.end < len(PANOPTIC_15) for limb in limbs_of(PANOPTIC_15.names))
