import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.letterbox import FILL, letterbox, unletterbox


@pytest.mark.parametrize(
    "shape, used", [((720, 1280), (180, 320)), ((1280, 720), (320, 180)), ((40, 40), (320, 320)), ((427, 640), (214, 320))]
)
def test_the_picture_fills_the_top_left_and_grey_the_rest(shape, used):
    image = np.full((*shape, 3), 7, np.uint8)
    (out,), zooms = letterbox([image], (320, 320))
    assert (out[: used[0], : used[1]] == 7).all()
    assert (out[used[0] :] == FILL).all() and (out[:, used[1] :] == FILL).all()
    np.testing.assert_allclose(zooms, [[used[1] / shape[1], used[0] / shape[0]]], rtol=1e-6)


def test_a_box_drawn_in_the_picture_comes_back():
    image = np.zeros((300, 500, 3), np.uint8)
    image[100:200, 250:400] = 255
    (out,), (zoom,) = letterbox([image], (320, 320))
    lit = out[:192, :, 0] > 127
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    box = np.float32([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]])
    np.testing.assert_allclose(unletterbox(box, zoom, (500, 300)), [[250, 100, 400, 200]], atol=1.6)


def test_boxes_are_clipped_to_the_picture():
    assert unletterbox(np.float32([[-9, -9, 900, 900]]), np.float32([0.5, 0.5]), (500, 300)).tolist() == [[0, 0, 500, 300]]


def test_pictures_of_different_sizes_share_a_batch():
    out, zooms = letterbox([np.zeros((10, 20, 3), np.uint8), np.zeros((999, 1, 3), np.uint8)], (64, 32))
    assert out.shape == (2, 32, 64, 3) and zooms.shape == (2, 2)


def test_no_pictures_give_an_empty_batch():
    out, zooms = letterbox([], (64, 32))
    assert out.shape == (0, 32, 64, 3) and zooms.shape == (0, 2)


def test_the_rule_of_yolox_rounds_down_and_returns_by_the_ratio():
    image = np.full((427, 640, 3), 7, np.uint8)
    (out,), zooms = letterbox([image], (320, 320), "yolox")
    assert (out[:213, :320] == 7).all() and (out[213:] == FILL).all()
    assert zooms.tolist() == [[0.5, 0.5]]


def test_a_picture_thinner_than_a_pixel_of_the_input_still_fills_one():
    for rule in ("mmdet", "yolox"):
        (out,), _ = letterbox([np.full((1, 900, 3), 7, np.uint8)], (64, 64), rule)
        assert (out[0] == 7).all() and (out[1:] == FILL).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["mmdet", "yolox"]))
def test_the_corner_of_every_picture_comes_back_to_its_corner(width, height, rule):
    """Within what a rounded side is worth: a pixel of the input."""
    (out,), (zoom,) = letterbox([np.full((height, width, 3), 7, np.uint8)], (64, 48), rule)
    used = (out == 7).all(axis=-1)
    corner = np.float32([[0, 0, used.any(axis=0).sum(), used.any(axis=1).sum()]])
    back = corner[0, 2:] / zoom
    assert (np.abs(back - (width, height)) <= 1.001 / zoom).all()
    assert unletterbox(corner, zoom, (width, height)).max() <= max(width, height)
