import numpy as np
import pytest

from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.errors import VitruvianError


@pytest.mark.parametrize("order, channels", [("rgb", [0, 1, 2]), ("bgr", [2, 1, 0])])
def test_it_is_the_textbook_formula(order, channels):
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3), dtype=np.uint8)
    mean, std = (10.0, 20.0, 30.0), (2.0, 3.0, 5.0)
    expected = ((images[..., channels] - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    out = normalise(images, mean, std, order)
    assert out.dtype == np.float32 and out.flags.c_contiguous
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_grey_levels_can_stay_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(normalise(images, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), images.transpose(0, 3, 1, 2))


def test_no_pictures_give_an_empty_batch():
    assert normalise(np.zeros((0, 8, 6, 3), np.uint8)).shape == (0, 3, 8, 6)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 0, 3), np.uint8), [[0]], None])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(VitruvianError, match="RGB uint8"):
        require_rgb(image)
