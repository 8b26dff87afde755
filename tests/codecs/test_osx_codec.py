"""OSX's crop: the published rule for boxes, points there and back, the camera of the whole picture."""

import numpy as np
import pytest

from vitruvian.codecs.mesh import WEAK_FOCAL, into_camera
from vitruvian.codecs.osx import SIZE, affines, crop, intrinsics, person_boxes, placement
from vitruvian.errors import VitruvianError

PICTURE = (640, 480)


def test_boxes_get_the_aspect_and_a_margin():
    boxes, kept = person_boxes(np.array([[100.0, 50, 201, 351], [100, 50, 401, 151]]), PICTURE)
    assert kept.all()
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], [[281.25, 375], [375, 500]])
    assert np.allclose((boxes[:, :2] + boxes[:, 2:]) / 2, [[150, 200], [250, 100]])


def test_a_box_that_sticks_out_is_moved_in_and_then_cut():
    boxes, _ = person_boxes(np.array([[-20.0, -20, 201, 381], [500, 10, 900, 20]]), PICTURE)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.allclose(centres, [[110, 200], [(500 + 639) / 2, 14.5]])


def test_boxes_without_inside_are_left_out():
    given = np.array([[10.0, 10, 10, 50], [50, 50, 20, 80], [700, 20, 800, 90], [10, 10, 40, 90]])
    boxes, kept = person_boxes(given, PICTURE)
    assert kept.tolist() == [False, False, False, True] and boxes.shape == (1, 4)


@pytest.mark.parametrize("boxes", [np.array([[0.0, 0, np.nan, 5]]), np.zeros((2, 3))])
def test_no_boxes_are_refused(boxes):
    with pytest.raises(VitruvianError, match="finite"):
        person_boxes(boxes, PICTURE)


def test_nobody_is_fine():
    boxes, kept = person_boxes(np.zeros((0, 4)), PICTURE)
    assert boxes.shape == (0, 4) and kept.shape == (0,)
    assert crop(np.zeros((9, 9, 3), np.uint8), boxes).shape == (0, 3, 512, 384)
    assert intrinsics(boxes).shape == (0, 3, 3) and len(placement(boxes)) == 0


def test_crop_shows_the_box_upright_and_in_colour():
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:200, 300:375] = (255, 0, 0)
    image[200:300, 300:375] = (0, 0, 255)
    found = crop(image, np.array([[299.5, 99.5, 449.5, 299.5]]))[0]
    assert np.allclose(found[:, 128, 96], [1, 0, 0]) and np.allclose(found[:, 400, 96], [0, 0, 1]) and np.allclose(found[:, 256, 300], 0)


def test_a_picture_of_another_kind_is_refused():
    with pytest.raises(VitruvianError):
        crop(np.zeros((9, 9)), np.array([[0.0, 0, 5, 5]]))


def test_points_go_with_the_pixels():
    boxes, _ = person_boxes(np.array([[100.0, 50, 201, 351], [30, 40, 90, 70]]), PICTURE)
    points = np.random.default_rng(0).uniform(0, 400, (2, 7, 2))
    there = np.einsum("nij,nkj->nki", affines(boxes), np.concatenate([points, np.ones((2, 7, 1))], 2))
    assert np.allclose(placement(boxes).to_crop(points), there, atol=1e-2)
    assert np.allclose(placement(boxes).to_image(there), points, atol=1e-2)


def test_the_picture_s_camera_sees_what_the_crop_s_sees():
    boxes, _ = person_boxes(np.array([[100.0, 50, 201, 351], [30, 40, 90, 70]]), PICTURE)
    points = np.random.default_rng(0).uniform(-1, 1, (2, 5, 3)) + [0, 0, 40]
    in_crop = (points[..., :2] / points[..., 2:] * WEAK_FOCAL + [96, 128]) * 2
    seen = np.einsum("nij,nkj->nki", intrinsics(boxes), points)
    assert np.allclose(seen[..., :2] / seen[..., 2:], placement(boxes).to_image(in_crop), atol=1e-2)
    assert SIZE == (384, 512)


def test_people_come_into_one_camera_in_the_order_of_their_depth():
    near, far = np.array([100.0, 50, 400, 450]), np.array([500.0, 100, 560, 180])
    boxes, _ = person_boxes(np.stack([near, far]), PICTURE)
    camera = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])
    own = np.array([[0.1, 0.2, 40.0], [0.0, -0.1, 40.0]])
    moved = into_camera(own, intrinsics(boxes), camera[None])
    seen, expected = np.einsum("ij,nj->ni", camera, moved), np.einsum("nij,nj->ni", intrinsics(boxes), own)
    assert np.allclose(seen[:, :2] / seen[:, 2:], expected[:, :2] / expected[:, 2:])
    assert np.allclose(camera[0, 0] / moved[:, 2], intrinsics(boxes)[:, 0, 0] / own[:, 2])
    assert moved[0, 2] < moved[1, 2]
