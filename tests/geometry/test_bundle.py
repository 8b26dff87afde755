"""Cameras are put in wrong places, or nowhere, and find back by the people whom they see."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from many_views import room, seen, walker
from vitruvian.errors import VitruvianError
from vitruvian.geometry.alignment import align
from vitruvian.geometry.bundle import adjust, cameras_from_people, length_along, scaled, upright
from vitruvian.geometry.camera import Camera, moved

TIMES = np.arange(36) / 9


def people() -> np.ndarray:
    return np.concatenate([walker(TIMES, (-1, -0.8), (0.4, 0.4)), walker(TIMES, (1, 1), (-0.4, -0.5), 1.0)])


def shaken(cameras, angle: float = 0.03, place: float = 0.1):
    rng = np.random.default_rng(0)
    out = [cameras[0]]
    for camera in cameras[1:]:
        turn = Rotation.from_rotvec(rng.normal(0, angle, 3)).as_matrix()
        out.append(Camera(camera.intrinsics, turn @ camera.R_cam_world, camera.t_cam_world + rng.normal(0, place, 3), size=camera.size))
    return out


def off(found, truth) -> tuple[float, float]:
    """Largest angle (radians) and distance between cameras, after the similarity that brings the places together best."""
    fit = align(np.array([c.centre_world for c in found]), np.array([c.centre_world for c in truth]))
    places = np.linalg.norm(fit(np.array([c.centre_world for c in found])) - [c.centre_world for c in truth], axis=1)
    turns = [Rotation.from_matrix(f.R_cam_world @ fit.rotation.T @ t.R_cam_world.T).magnitude() for f, t in zip(found, truth, strict=True)]
    return max(turns), max(places)


def test_cameras_that_were_moved_find_back():
    truth = room(4)
    pixels = seen(truth, people(), noise=1)
    wrong = shaken(truth)
    bundle = adjust(wrong, pixels)
    angle, place = off(bundle.cameras, truth)
    assert angle < 0.002 and place < 0.01
    assert np.nanmedian(bundle.error) < 1.5
    np.testing.assert_allclose(bundle.cameras[0].T_cam_world, wrong[0].T_cam_world, atol=1e-12)
    assert bundle.points.shape == people().shape


def test_the_distance_of_the_first_two_cameras_is_kept():
    wrong = shaken(room(3))
    bundle = adjust(wrong, seen(room(3), people(), noise=1))
    size = [np.linalg.norm(c[1].centre_world - c[0].centre_world) for c in (wrong, bundle.cameras)]
    assert size[0] == pytest.approx(size[1], rel=1e-9)


def test_wrong_keypoints_pull_little():
    truth = room(4)
    pixels = seen(truth, people(), noise=1)
    rng = np.random.default_rng(1)
    hit = rng.random(pixels.shape[:-1]) < 0.1
    pixels[hit] += rng.normal(0, 100, (hit.sum(), 2))
    angle, place = off(adjust(shaken(truth), pixels).cameras, truth)
    assert angle < 0.004 and place < 0.02


def test_focal_lengths_are_found():
    truth = room(4)
    pixels = seen(truth, people(), noise=0.5)
    guessed = [
        Camera(c.intrinsics * np.array([[f, 1, 1], [1, f, 1], [1, 1, 1]]), c.R_cam_world, c.t_cam_world, size=c.size)
        for c, f in zip(shaken(truth, 0.01, 0.03), (1.05, 0.96, 1.02, 0.95), strict=True)
    ]
    bundle = adjust(guessed, pixels, focal=True)
    found = [camera.intrinsics[0, 0] for camera in bundle.cameras]
    np.testing.assert_allclose(found, 1200, rtol=0.01)


@pytest.mark.parametrize("count", [2, 4])
def test_cameras_are_placed_by_people_alone(count):
    truth = [Camera(c.intrinsics, c.R_cam_world, c.t_cam_world, (-0.1, 0.05, 0, 0), c.size, c.name) for c in room(4)[:count]]
    pixels = seen(truth, people(), noise=1)
    rng = np.random.default_rng(2)
    hit = rng.random(pixels.shape[:-1]) < 0.05
    pixels[hit] += rng.normal(0, 150, (hit.sum(), 2))
    nowhere = [Camera(c.intrinsics, distortion=c.distortion, size=c.size, name=c.name) for c in truth]
    bundle = cameras_from_people(nowhere, pixels)
    bundle = scaled(bundle, length_along(people(), (11, 13, 15)) / length_along(bundle.points, (11, 13, 15)))
    np.testing.assert_allclose(bundle.cameras[0].T_cam_world, np.eye(4), atol=1e-12)
    T = truth[0].T_cam_world
    for found, camera in zip(bundle.cameras, truth, strict=True):
        expected = camera.T_cam_world @ np.linalg.inv(T)
        np.testing.assert_allclose(found.T_cam_world[:3, :3], expected[:3, :3], atol=0.012)
        np.testing.assert_allclose(found.T_cam_world[:3, 3], expected[:3, 3], atol=0.08)


def test_people_tell_what_is_up_and_where_the_floor_is():
    tilt = np.eye(4)
    tilt[:3, :3], tilt[:3, 3] = Rotation.from_rotvec([0.7, 0.2, -1]).as_matrix(), [3, 2, 1]
    tilted = people() @ tilt[:3, :3].T + tilt[:3, 3]
    T = upright(tilted, above=(5, 6), below=(15, 16))
    level = tilted @ T[:3, :3].T + T[:3, 3]
    height = level[..., 1] - people()[..., 1]
    assert np.ptp(height) < 0.12  # a few degrees: they lean while they walk
    assert abs(np.percentile(level[:, 15:, 1], 5)) < 0.02
    np.testing.assert_allclose(moved(room()[0], T).T_cam_world @ T, room()[0].T_cam_world, atol=1e-9)
    with pytest.raises(VitruvianError):
        upright(np.full((3, 17, 3), np.nan), (5,), (15,))


def test_lengths():
    assert length_along(people(), (5, 6)) == pytest.approx(0.36, abs=0.01)
    assert np.isnan(length_along(np.full((3, 17, 3), np.nan), (5, 6)))
    assert np.isnan(length_along(np.zeros((0, 17, 3)), (5, 6)))
    bundle = adjust(room(2), seen(room(2), people()))
    twice = scaled(bundle, 2.0)
    assert length_along(twice.points, (5, 6)) == pytest.approx(2 * length_along(bundle.points, (5, 6)))
    with pytest.raises(VitruvianError):
        scaled(bundle, np.nan)


def test_too_little_to_go_by_is_said():
    pixels = seen(room(3), people()[:1])
    for call in (
        lambda: adjust(room(3), np.full_like(pixels, np.nan)),
        lambda: cameras_from_people(room(3), pixels[:, :1, :5]),
        lambda: adjust(room(3)[:1], pixels[:1]),
        lambda: adjust(room(3), pixels[:2]),
    ):
        with pytest.raises(VitruvianError):
            call()
