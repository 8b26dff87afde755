"""Pictures in their square: Pillow's numbers, the way there and back, the camera."""

import numpy as np
import pytest

from vitruvian.codecs.contain import contain, resize_bicubic
from vitruvian.errors import VitruvianError


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(112, 62), (300, 166), (37, 41), (180, 100), (1, 1)])
def test_equals_pillow(size):
    image = pytest.importorskip("PIL.Image", reason="an oracle for tests only")
    mine = picture(100, 180)
    assert np.array_equal(resize_bicubic(mine, size), np.asarray(image.fromarray(mine).resize(size, image.Resampling.BICUBIC)))


@pytest.mark.parametrize("shape", [(100, 180), (181, 100), (64, 64), (3, 200), (1, 1)])
def test_equals_pillow_s_contain_and_pad(shape):
    pillow, image = pytest.importorskip("PIL.ImageOps"), pytest.importorskip("PIL.Image")
    mine = picture(*shape)
    first = pillow.contain(image.fromarray(mine), (56, 56), image.Resampling.BICUBIC) if min(shape) > 1 or shape == (1, 1) else None
    expected = np.asarray(pillow.pad(first, (56, 56), image.Resampling.BICUBIC))
    assert np.array_equal(contain(mine, 56)[0], expected)


@pytest.mark.parametrize("shape", [(100, 180), (180, 100), (64, 64), (1, 500)])
def test_points_come_back(shape):
    out, placement = contain(picture(*shape), 112)
    points = np.random.default_rng(1).uniform(0, 100, (5, 2))
    assert out.shape == (112, 112, 3)
    assert np.allclose(placement.to_picture(placement.to_square(points)), points)
    corners = placement.to_square(np.array([[-0.5, -0.5], [shape[1] - 0.5, shape[0] - 0.5]]))
    assert np.allclose(corners[0], placement.origin) and corners.max() == pytest.approx(112)


def test_camera_of_the_square_sees_what_the_picture_s_saw():
    _, placement = contain(picture(100, 180), 112)
    camera = np.array([[200.0, 0, 91], [0, 210, 47], [0, 0, 1]])
    point = np.array([0.3, -0.2, 2.0])
    seen, there = camera @ point, placement.intrinsics(camera) @ point
    assert np.allclose(placement.to_square(seen[:2] / seen[2]), there[:2] / there[2])


def test_what_is_no_picture_is_refused():
    with pytest.raises(VitruvianError, match="RGB"):
        contain(np.zeros((0, 4, 3), np.uint8), 56)
