"""An arm of one length before four cameras that are a few pixels off, and off alike for a while."""

import numpy as np
import pytest
from tests.geometry.test_limbs import ELBOW, FORE, FRAMES, SHOULDER, UPPER, WRIST, arms  # noqa: F401  (a fixture)
from tests.geometry.test_triangulate import ring

from vitruvian.geometry.camera import project_all
from vitruvian.geometry.settle import bones_of, settled
from vitruvian.geometry.triangulate import triangulate
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, PANOPTIC_15

ARM = [SHOULDER, ELBOW, WRIST]


@pytest.fixture
def noisy(arms):  # noqa: F811
    """Pixels (4, 40, 17, 2) that are 6 off, and confidence."""
    pixels = project_all(ring(), arms)
    pixels += np.random.default_rng(3).normal(0, 6, pixels.shape)
    return pixels, np.isfinite(pixels).all(-1).astype(float)


def both(pixels, confidence, **options):
    found = triangulate(ring(), pixels, confidence, threshold=40)
    return found, settled(ring(), pixels, confidence, found, bones_of(COCO_17.names), threshold=40, **options)


def off(found, truth):
    return np.linalg.norm(found.points - truth, axis=-1)[:, ARM]


def test_points_come_nearer_and_limbs_keep_their_length(arms, noisy):  # noqa: F811
    found, better = both(*noisy)
    assert off(better, arms).mean() < off(found, arms).mean()
    for (a, b), length in (((SHOULDER, ELBOW), UPPER), ((ELBOW, WRIST), FORE)):
        before, after = (np.linalg.norm(each.points[:, a] - each.points[:, b], axis=-1) for each in (found, better))
        assert after.std() < 0.4 * before.std()
        assert after.mean() == pytest.approx(length, rel=0.05)


def test_right_pixels_move_nothing(arms):  # noqa: F811
    pixels = project_all(ring(), arms)
    found, same = both(pixels, np.isfinite(pixels).all(-1).astype(float))
    np.testing.assert_allclose(same.points[:, ARM], arms[:, ARM], atol=1e-6)
    assert same.used[:, :, ARM].all() and same.error[:, ARM].max() < 1e-4


def test_a_camera_that_is_far_off_does_not_count(arms, noisy):  # noqa: F811
    pixels, confidence = noisy
    pixels[0, 10:20, WRIST] += 150
    found, better = both(pixels, confidence)
    assert off(better, arms)[10:20, 2].max() < 0.08
    assert not better.used[0, 10:20, WRIST].any() and better.used[1:, 10:20, WRIST].all()
    assert better.error[10:20, WRIST].max() < 40


def test_a_limb_stands_for_a_camera(arms, noisy):  # noqa: F811
    pixels, confidence = noisy
    confidence[1:, 10:13, WRIST] = 0
    found, better = both(pixels, confidence)
    assert np.isnan(found.points[10:13, WRIST]).all()
    assert off(better, arms)[10:13, 2].max() < 0.08
    assert better.used[:, 11, WRIST].tolist() == [True, False, False, False] and better.confidence[11, WRIST] == 1
    _, strict = both(pixels, confidence, min_views=3)
    assert np.isnan(strict.points[10:13, WRIST]).all()


def test_what_one_camera_sees_elsewhere_is_no_point(arms, noisy):  # noqa: F811
    pixels, confidence = noisy
    confidence[1:, 11, WRIST] = 0
    pixels[0, 11, WRIST] += 300
    _, better = both(pixels, confidence)
    assert np.isnan(better.points[11, WRIST]).all() and not better.used[:, 11, WRIST].any() and better.confidence[11, WRIST] == 0


def test_long_gaps_stay_and_so_does_a_person_who_is_hardly_there(arms, noisy):  # noqa: F811
    pixels, confidence = noisy
    confidence[1:, 10:30, WRIST] = 0
    _, better = both(pixels, confidence)
    assert np.isnan(better.points[10:30, WRIST]).all()
    few = pixels[:, :5], np.ones_like(confidence[:, :5])
    found, same = both(*few)
    np.testing.assert_array_equal(same.points, found.points)


def test_nothing_seen_is_nothing():
    pixels = np.full((4, 3, 17, 2), np.nan)
    found, same = both(pixels, np.zeros((4, 3, 17)))
    assert np.isnan(same.points).all() and not same.used.any()


def test_bones_of_keypoint_sets():
    names = COCO_WHOLEBODY_133.names
    pairs = {(names[bone.start], names[bone.end]) for bone in bones_of(names)}
    assert ("left_ankle", "left_heel") in pairs and ("left_hip", "right_hip") in pairs and ("right_elbow", "right_wrist") in pairs
    assert len(bones_of(COCO_17.names)) == 9
    assert bones_of(("nose",)) == () and len(bones_of(PANOPTIC_15.names)) == 9
