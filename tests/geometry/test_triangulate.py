"""Known points are projected and found again: with noise, without some cameras, and with cameras that are wrong."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, looking_at, project_all
from vitruvian.geometry.triangulate import linear_svd, reprojection_errors, triangulate

LENS = (-0.1, 0.05, 0.001, -0.0005, 0.0)


def ring(count: int = 4) -> list[Camera]:
    """Cameras around the origin, 5 m away, with lenses."""
    out = []
    for angle in np.arange(count) * 2 * np.pi / count + 0.1:
        one = looking_at((5 * np.cos(angle), 1.5, 5 * np.sin(angle)), (0, 1, 0), 1500, (1920, 1080))
        out.append(Camera(one.intrinsics, one.R_cam_world, one.t_cam_world, LENS, one.size))
    return out


@pytest.fixture
def points():
    return np.random.default_rng(1).uniform(-0.8, 0.8, (30, 17, 3)) + [0, 1, 0]


def test_exact_pixels_give_the_points(points):
    found = triangulate(ring(), project_all(ring(), points))
    np.testing.assert_allclose(found.points, points, atol=1e-6)
    assert found.used.all() and found.points.shape == (30, 17, 3)
    np.testing.assert_allclose(found.confidence, 1)
    assert found.error.max() < 2e-3


@pytest.mark.parametrize("refine", [True, False])
def test_noise_moves_points_by_as_much_as_it_must(points, refine):
    noise = np.random.default_rng(2).normal(0, 2, (4, 30, 17, 2))
    found = triangulate(ring(), project_all(ring(), points) + noise, refine=refine)
    # 2 pixels at 5 m and a focal length of 1500 are 6.7 mm across each ray, and four cameras share them.
    assert 3e-3 < np.sqrt(((found.points - points) ** 2).mean()) < 7e-3


def test_refinement_is_the_minimum_of_the_pixel_error(points):
    from scipy.optimize import least_squares

    cameras = [Camera(c.intrinsics, c.R_cam_world, c.t_cam_world) for c in ring()]
    rng = np.random.default_rng(3)
    pixels = project_all(cameras, points[0]) + rng.normal(0, 20, (4, 17, 2))
    confidence = rng.uniform(0.2, 1, (4, 17))
    found = triangulate(cameras, pixels, confidence, threshold=None)
    for k in range(17):

        def rest(place, k=k):
            return ((project_all(cameras, place) - pixels[:, k]) * confidence[:, k, None]).ravel()

        np.testing.assert_allclose(found.points[k], least_squares(rest, points[0, k], xtol=1e-12, ftol=1e-12).x, atol=3e-4)


def test_linear_and_homogeneous_forms_agree_on_exact_pixels(points):
    cameras = [Camera(c.intrinsics, c.R_cam_world, c.t_cam_world) for c in ring()]
    projections = np.array([c.intrinsics @ np.c_[c.R_cam_world, c.t_cam_world] for c in cameras])
    found = linear_svd(projections, project_all(cameras, points), np.ones((4, 30, 17)))
    np.testing.assert_allclose(found, points, atol=1e-8)


@pytest.mark.parametrize("missing", ["nan", "zero", "nan confidence"])
def test_cameras_that_see_nothing_do_not_count(points, missing):
    pixels, confidence = project_all(ring(), points), np.full((4, 30, 17), 0.5)
    if missing == "nan":
        pixels[1] = np.nan
    else:
        pixels[1] = 12345
        confidence[1] = np.nan if missing == "nan confidence" else 0
    found = triangulate(ring(), pixels, confidence)
    np.testing.assert_allclose(found.points, points, atol=1e-6)
    assert not found.used[1].any() and found.used[[0, 2, 3]].all()


def test_one_camera_sees_no_depth(points):
    pixels = project_all(ring(), points)
    pixels[1:, 0] = np.nan
    pixels[:, 1] = np.nan
    found = triangulate(ring(), pixels)
    assert np.isnan(found.points[:2]).all() and np.isfinite(found.points[2:]).all()
    assert not found.used[:, :2].any() and (found.confidence[:2] == 0).all() and np.isnan(found.error[:2]).all()


def test_cameras_at_one_place_see_no_depth(points):
    one = ring()[0]
    found = triangulate([one, one], project_all([one, one], points))
    assert np.isnan(found.points).all()


@pytest.mark.parametrize("cameras", [3, 4, 5, 8])
def test_a_camera_that_is_wrong_is_left_out(points, cameras):
    pixels = project_all(ring(cameras), points)
    rng = np.random.default_rng(4)
    wrong = rng.integers(0, cameras, (30, 17))
    hit = np.arange(cameras)[:, None, None] == wrong
    pixels[hit] += rng.choice([-1, 1], (hit.sum(), 2)) * rng.uniform(80, 400, (hit.sum(), 2))
    found = triangulate(ring(cameras), pixels)
    off = np.linalg.norm(found.points - points, axis=-1)
    if cameras == 3:  # what is wrong along a line of sight's image can't be told by three
        assert np.mean(off < 1e-5) > 0.85
    else:
        assert off.max() < 1e-5
        assert (found.used == ~hit).all()


def test_two_of_five_cameras_may_be_wrong(points):
    pixels = project_all(ring(5), points)
    pixels[[1, 3]] += np.random.default_rng(5).uniform(60, 300, (2, 30, 17, 2))
    off = np.linalg.norm(triangulate(ring(5), pixels).points - points, axis=-1)
    assert np.mean(off < 1e-5) > 0.95


def test_two_cameras_that_contradict_each_other_give_nothing(points):
    cameras = ring(4)[:2]
    pixels = project_all(cameras, points)
    pixels[0, ..., 1] += 200
    assert np.isnan(triangulate(cameras, pixels).points).all()
    assert np.isfinite(triangulate(cameras, pixels, threshold=None).points).all()


def test_a_point_can_ask_for_more_than_two_cameras(points):
    pixels = project_all(ring(), points)
    pixels[:2, 0] = np.nan
    found = triangulate(ring(), pixels, min_views=3)
    assert np.isnan(found.points[0]).all() and np.isfinite(found.points[1:]).all()


def test_what_lies_behind_a_camera_is_nothing():
    cameras = [looking_at((x, 1, 5), (x, 1, 0), 1000, (640, 480)) for x in (0.0, 1.0)]
    pixels = np.array([[[300.0, 240]], [[340, 240]]])  # the rays part in front of the cameras
    assert np.isnan(triangulate(cameras, pixels, threshold=None).points).all()


def test_confidence_pulls():
    cameras = ring(2 * 2)
    point = np.array([[0.1, 1.0, 0.2]])
    pixels = project_all(cameras, point)
    pixels[0] += [0, 10]
    off = [np.linalg.norm(triangulate(cameras, pixels, np.array([[first], [1], [1], [1]])).points - point) for first in (1.0, 0.3, 0.05)]
    assert off[0] > off[1] > off[2]


def test_reprojection_errors_are_true_pixels(points):
    pixels = project_all(ring(), points)
    pixels[2, 3, 4] += [3, 4]
    pixels[1, 0, 0] = np.nan
    errors = reprojection_errors(ring(), points, pixels)
    assert errors[2, 3, 4] == pytest.approx(5) and np.isnan(errors[1, 0, 0])
    errors[2, 3, 4] = errors[1, 0, 0] = 0
    assert errors.max() < 1e-9


def test_nothing_to_triangulate_is_fine():
    found = triangulate(ring(), np.zeros((4, 0, 17, 2)))
    assert found.points.shape == (0, 17, 3) and found.used.shape == (4, 0, 17)
    everything_missing = triangulate(ring(), np.full((4, 5, 2), np.nan))
    assert np.isnan(everything_missing.points).all()


def test_many_points_are_as_few(points):
    pixels = project_all(ring(), points) + np.random.default_rng(6).normal(0, 12, (4, 30, 17, 2))
    many = triangulate(ring(), np.tile(pixels, (1, 9, 1, 1)))
    few = triangulate(ring(), pixels)
    np.testing.assert_allclose(many.points[:30], few.points, atol=1e-5)
    np.testing.assert_allclose(many.points[-30:], few.points, atol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: triangulate([], np.zeros((0, 3, 2))),
        lambda: triangulate(ring(), np.zeros((3, 5, 2))),
        lambda: triangulate(ring(), np.zeros((4, 5, 2)), np.zeros((4, 6))),
        lambda: triangulate(ring(), np.zeros((4, 5, 2)), min_views=1),
        lambda: triangulate(ring(), np.zeros((4, 5, 2)), threshold=0),
    ],
)
def test_what_does_not_fit_is_said(call):
    with pytest.raises(VitruvianError):
        call()
