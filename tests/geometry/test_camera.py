"""Cameras against OpenCV, and the way to pixels and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import (
    Camera,
    cropped,
    fitted,
    looking_at,
    moved,
    normalise,
    project,
    project_all,
    rays_world,
    resized,
    to_camera,
    to_world,
    undistort,
    up_axis,
    y_up,
)

K = np.array([[1600.0, 0, 955], [0, 1580, 543], [0, 0, 1]])
LENSES = {
    "none": (),
    "four": (-0.28, 0.12, 0.001, -0.0007),
    "five": (-0.31, 0.16, 0.0008, 0.0005, -0.04),
    "eight": (0.4, -0.2, 0.0004, -0.0003, 0.02, 0.7, -0.1, 0.01),
}


def lens(name: str, **changes) -> Camera:
    rotation = Rotation.from_rotvec([0.2, -0.4, 0.1]).as_matrix()
    return Camera(K, rotation, [0.3, -0.2, 4.0], LENSES[name], (1920, 1080), name, **changes)


def cloud(count: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 3))


@pytest.mark.parametrize("name", LENSES)
def test_projection_is_opencvs(name):
    import cv2

    camera = lens(name)
    distortion = np.array(LENSES[name] or (0.0,) * 4)
    expected, _ = cv2.projectPoints(cloud(), cv2.Rodrigues(camera.R_cam_world)[0], camera.t_cam_world, K, distortion)
    np.testing.assert_allclose(project(camera, cloud()), expected[:, 0], atol=1e-8)


def test_fisheye_projection_is_opencvs():
    import cv2

    k = (0.05, -0.02, 0.004, -0.001)
    camera = Camera(K, np.eye(3), [0, 0, 1.2], k, fisheye=True)
    expected, _ = cv2.fisheye.projectPoints(cloud()[:, None], np.zeros(3), np.array([0, 0, 1.2]), K, np.array(k))
    np.testing.assert_allclose(project(camera, cloud()), expected[:, 0], atol=1e-7)
    ahead = to_camera(camera, cloud())
    np.testing.assert_allclose(normalise(camera, expected[:, 0]), ahead[:, :2] / ahead[:, 2:], atol=1e-8)


@pytest.mark.parametrize("name", LENSES)
def test_pixels_lead_back_to_their_rays(name):
    camera = lens(name)
    ahead = to_camera(camera, cloud())
    pixels = project(camera, cloud())
    np.testing.assert_allclose(normalise(camera, pixels), ahead[:, :2] / ahead[:, 2:], atol=1e-9)
    centre, directions = rays_world(camera, pixels)
    np.testing.assert_allclose(np.cross(cloud() - centre, directions), 0, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    np.testing.assert_allclose(undistort(camera, pixels), project(Camera(K, camera.R_cam_world, camera.t_cam_world), cloud()), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-0.08, 0.15), min_size=5, max_size=5),
    st.tuples(st.floats(0, 1919), st.floats(0, 1079)),
)
def test_a_pixel_survives_undistortion_and_distortion(distortion, pixel):
    k1, k2, p1, p2, k3 = distortion
    camera = Camera(K, distortion=(k1, k2, p1 / 20, p2 / 20, k3))
    ray = normalise(camera, np.array(pixel))
    np.testing.assert_allclose(project(camera, np.append(ray, 1.0)), pixel, atol=1e-5)


def test_what_no_lens_shows_is_nan():
    camera = Camera(K, distortion=(-0.3, 0.0, 0.0, 0.0))  # its polynomial turns back at a radius of 1.05
    seen = project(camera, np.array([[0, 0, 1.0], [0, 0, -1], [0, 0, 0], [0.9, 0, 1], [1.2, 0, 1], [50, 0, 1], [np.nan, 0, 1]]))
    assert np.isfinite(seen).all(-1).tolist() == [True, False, False, True, False, False, False]


def test_a_pixel_that_no_ray_reaches_is_nan():
    camera = Camera(K, distortion=(-0.3, 0.0, 0.0, 0.0))
    found = normalise(camera, np.array([[955 + 1600 * 0.69, 543.0], [955 + 1600 * 0.8, 543], [np.nan, 0]]))
    assert np.isfinite(found).all(-1).tolist() == [True, False, False]


def test_nothing_to_project_is_fine():
    assert project(lens("five"), np.zeros((0, 3))).shape == (0, 2)
    assert normalise(lens("five"), np.zeros((2, 0, 2))).shape == (2, 0, 2)
    assert project_all([lens("five"), lens("four")], np.zeros((3, 4, 3))).shape == (2, 3, 4, 2)


def test_scaled_pictures_have_a_scaled_camera():
    camera = resized(lens("five"), (960, 540))
    # A pixel's centre is its index: the left edge of the picture is at -0.5 in both.
    np.testing.assert_allclose(project(camera, cloud()) + 0.5, (project(lens("five"), cloud()) + 0.5) / 2, atol=1e-9)


def test_a_window_shifts_pixels():
    np.testing.assert_allclose(project(cropped(lens("five"), 100, -20, (500, 500)), cloud()), project(lens("five"), cloud()) - [100, -20])


def test_pictures_with_borders_are_scaled_alike():
    camera = Camera(K, size=(1088, 1920))
    border = fitted(camera, (1080, 1920))
    seen = project(camera, cloud() + [0, 0, 5])
    scale = 1080 / 1088
    expected = (seen + 0.5) * scale - 0.5 + [0, (1920 - 1920 * scale) / 2]
    np.testing.assert_allclose(project(border, cloud() + [0, 0, 5]), expected, atol=1e-9)
    np.testing.assert_allclose(fitted(camera, (544, 960)).intrinsics, resized(camera, (544, 960)).intrinsics)
    assert fitted(Camera(K), (10, 20)).size == (10, 20)


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_the_axis_that_points_up_is_found_and_turned_to_y(up):
    direction = np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)
    aside = np.roll(direction, 1)
    cameras = [looking_at(4 * side + direction, np.zeros(3), 1000, (640, 480), direction) for side in (aside, np.cross(direction, aside))]
    assert up_axis(cameras) == up
    T = y_up(up)
    np.testing.assert_allclose(T[:3, :3] @ direction, [0, 1, 0])
    assert np.linalg.det(T) == pytest.approx(1)
    with pytest.raises(VitruvianError, match="axis"):
        y_up("up")


def test_another_world_does_not_change_the_picture():
    T = np.eye(4)
    T[:3, :3] = 2.5 * Rotation.from_rotvec([1.0, 0.3, -0.5]).as_matrix()
    T[:3, 3] = [3, 2, -1]
    camera = lens("five")
    elsewhere = cloud() @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(project(moved(camera, T), elsewhere), project(camera, cloud()), atol=1e-8)
    with pytest.raises(VitruvianError, match="similarity"):
        moved(camera, np.diag([1.0, 2, 1, 1]))


def test_frames_there_and_back():
    camera = lens("none")
    np.testing.assert_allclose(to_world(camera, to_camera(camera, cloud())), cloud(), atol=1e-12)
    np.testing.assert_allclose(to_camera(camera, camera.centre_world), 0, atol=1e-12)
    np.testing.assert_allclose(camera.T_cam_world @ np.append(camera.centre_world, 1), [0, 0, 0, 1], atol=1e-12)


def test_a_camera_that_looks_at_something_is_upright():
    camera = looking_at((3, 1.5, 4), (0, 1, 0), 1000, (640, 480))
    np.testing.assert_allclose(project(camera, np.array([0, 1.0, 0])), [319.5, 239.5], atol=1e-9)
    above = project(camera, np.array([0, 1.5, 0]))
    assert above[1] < 239.5 and abs(above[0] - 319.5) < 1e-9
    assert np.linalg.det(camera.R_cam_world) > 0
    with pytest.raises(VitruvianError, match="upward"):
        looking_at((0, 1, 0), (0, 0, 0), 1000, (640, 480))


@pytest.mark.parametrize(
    "change",
    [
        {"intrinsics": np.eye(2)},
        {"intrinsics": -K},
        {"intrinsics": "K"},
        {"R_cam_world": np.diag([1.0, 1, -1])},
        {"R_cam_world": 2 * np.eye(3)},
        {"t_cam_world": [np.nan, 0, 0]},
        {"distortion": [0.1, 0.2]},
        {"distortion": [np.inf, 0, 0, 0]},
        {"distortion": [0.1] * 5, "fisheye": True},
        {"size": (-1, 3)},
    ],
)
def test_what_is_no_camera_is_refused(change):
    with pytest.raises(VitruvianError):
        Camera(**{"intrinsics": K, **change})
