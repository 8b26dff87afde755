"""What cameras see, spaces of bins, un-projection, suppression, V2V."""

import cv2
import numpy as np
import pytest
import torch
from tests.camera_ring import looking_at, ring

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, project
from vitruvian.systems.pose3d import voxels
from vitruvian.systems.pose3d.selfpose3d_loss import render, seen_at
from vitruvian.systems.pose3d.voxels import V2V, Space, sampling, soft_argmax, suppress, unproject, views_of, whole_picture

SPACE = Space((4.0, 4.0, 2.0), (0.0, 0.0, 1.0), (20, 20, 8))
INPUT, CELLS = (240, 136), (60, 34)


def points_of(*rows):
    return torch.tensor([rows], dtype=torch.float32)


def test_projection_agrees_with_opencv_and_the_ground_floor():
    cameras = ring(distortion=(-0.2, 0.1, 0.003, -0.002, 0.05))
    points = np.random.default_rng(0).uniform((-1.5, -1.5, 0), (1.5, 1.5, 2), (30, 3))
    found = voxels.project(torch.from_numpy(points).float()[None], views_of(cameras, INPUT))[0].numpy()
    for camera, pixels in zip(cameras, found, strict=True):
        turn, _ = cv2.Rodrigues(camera.R_cam_world)
        theirs, _ = cv2.projectPoints(points, turn, camera.t_cam_world, camera.intrinsics, camera.distortion)
        assert np.allclose(pixels, theirs[:, 0], atol=2e-3)
        assert np.allclose(pixels, project(camera, points), atol=2e-3)


def test_whole_picture_is_padded_not_stretched():
    affine = whole_picture((1920, 1080), (960, 512))
    assert np.allclose(affine[:, :2], np.eye(2) * 960 / 2025)
    assert np.allclose(affine @ (960, 540, 1), (480, 256))


def test_cameras_that_the_network_cannot_know_are_refused():
    with pytest.raises(VitruvianError, match="size"):
        views_of([Camera(np.diag([500.0, 500, 1]))], INPUT)
    with pytest.raises(VitruvianError, match="lens"):
        views_of([Camera(np.diag([500.0, 500, 1]), distortion=np.full(4, 0.01), size=(10, 10), fisheye=True)], INPUT)
    assert views_of([], INPUT).centre.shape == (1, 0, 3)


def test_bins_reach_from_wall_to_wall_and_indices_are_exact():
    points = SPACE.points()
    assert points[0].tolist() == [-2, -2, 0] and points[-1].tolist() == [2, 2, 2]
    assert torch.allclose(SPACE.place(torch.arange(len(points))), points, atol=1e-6)
    with pytest.raises(ValueError, match="multiples of 4"):
        Space((1, 1, 1), (0, 0, 0), (10, 8, 8))


def test_space_from_cameras_is_where_they_look():
    space = Space.from_cameras([looking_at((5, 0, 2), (1, 0, 1)), looking_at((0, 5, 2), (1, 0, 1)), looking_at((-4, -4, 2), (1, 0, 1))])
    assert np.allclose(space.centre, (1, 0, 1.1), atol=1e-6) and np.allclose(space.size, (2, 2, 2.2), atol=1e-6)
    with pytest.raises(VitruvianError, match="look at one place"):
        Space.from_cameras([looking_at((5, 0, 2))])


def unprojected(cameras, point, maps=None):
    views = views_of(cameras, INPUT)
    if maps is None:
        maps = render(seen_at(point[:, :, None], views, INPUT[0]), CELLS)
    return unproject(maps, sampling(SPACE.points()[None], views, INPUT, CELLS))[0, 0], maps


def test_an_unprojected_point_is_within_a_bin():
    point = points_of((0.62, -0.4, 1.1))
    cube, _ = unprojected(ring(), point)
    off = (SPACE.place(cube.argmax()) - point[0, 0]).abs()
    assert (off <= torch.tensor(SPACE.size) / (torch.tensor(SPACE.bins) - 1)).all()


def test_a_view_that_does_not_see_a_point_changes_nothing_there():
    point = points_of((0.62, -0.4, 1.1))
    away = looking_at((5, 0, 2), (9, 0, 2))  # all of the space is behind it
    cube, maps = unprojected(ring(), point)
    more, _ = unprojected([*ring(), away], point, torch.cat((maps, torch.ones_like(maps[:, :1])), 1))
    assert torch.allclose(cube, more, atol=1e-6)


def test_mirrored_inputs_say_the_same():
    views = views_of(ring(), INPUT)
    mirrored = views._replace(flipped=torch.ones_like(views.flipped))
    points = points_of((0.62, -0.4, 1.1), (-1, 0.3, 0.9))[:, :, None]
    cubes = [
        unproject(render(seen_at(points, v, INPUT[0]), CELLS), sampling(SPACE.points()[None], v, INPUT, CELLS)) for v in (views, mirrored)
    ]
    assert torch.allclose(*cubes, atol=1e-5)


def test_suppression_keeps_maxima_and_equal_neighbours():
    volume = torch.zeros(1, 8, 8, 8)
    volume[0, 2, 2, 2], volume[0, 2, 2, 3], volume[0, 2, 3, 2] = 1.0, 1.0, 0.5
    volume[0, 6, 6, 6] = 0.2
    kept = suppress(volume)[0]
    assert kept[2, 2, 2] == kept[2, 2, 3] == 1 and kept[2, 3, 2] == 0 and kept[6, 6, 6] == pytest.approx(0.2)


def test_soft_argmax_of_a_single_bin_is_that_bin():
    points = SPACE.points()[None]
    logits = torch.zeros(1, 2, points.shape[1])
    logits[0, 0, 77] = logits[0, 1, 500] = 0.3
    assert torch.allclose(soft_argmax(logits, points, 100.0)[0], points[0, [77, 500]], atol=1e-4)


def test_v2v_keeps_the_size_and_takes_no_cubes():
    torch.manual_seed(0)
    net = V2V(2, 3, (4, 4, 8, 8)).eval()
    assert net(torch.rand(2, 2, 8, 12, 4)).shape == (2, 3, 8, 12, 4)
    assert net(torch.rand(0, 2, 8, 8, 8)).shape == (0, 3, 8, 8, 8)
