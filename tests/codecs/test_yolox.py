import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.yolox import cell_count, decode_yolox, encode_yolox
from vitruvian.errors import VitruvianError

SIZE = (96, 64)


def test_a_row_is_read_as_published():
    rows = np.zeros((1, cell_count(SIZE), 7), np.float32)
    cell = 12 * 8 + 6 * 1 + 2  # stride 16: after all cells of stride 8, second row, third column
    rows[0, cell] = 0.25, -0.5, np.log(2), np.log(3), 0.5, 0.8, 0.4
    boxes, scores = decode_yolox(rows, SIZE)
    assert boxes[0, cell] == pytest.approx([36 - 16, 8 - 24, 36 + 16, 8 + 24])
    assert scores[0, cell] == pytest.approx([0.4, 0.2])


@settings(max_examples=50)
@given(st.floats(-20, 110), st.floats(-20, 80), st.floats(0.5, 200), st.floats(0.5, 200))
def test_every_cell_can_say_every_box(x, y, width, height):
    box = np.float32([[x, y, x + width, y + height]])
    targets = encode_yolox(box, SIZE)
    rows = np.concatenate([targets, np.ones((*targets.shape[:2], 2), np.float32)], axis=-1)
    boxes, scores = decode_yolox(rows, SIZE)
    np.testing.assert_allclose(boxes, np.broadcast_to(box[:, None], boxes.shape), atol=1e-3)
    assert (scores == 1).all()


@pytest.mark.parametrize("shape", [(1, 8400, 85), (1, cell_count(SIZE), 5), (cell_count(SIZE), 6)])
def test_rows_of_another_size_are_refused(shape):
    with pytest.raises(VitruvianError, match="input size"):
        decode_yolox(np.zeros(shape, np.float32), SIZE)


def test_an_absurd_exponent_stays_finite():
    boxes, _ = decode_yolox(np.full((1, cell_count(SIZE), 6), 1e30, np.float32)[..., :6] * np.float32([0, 0, 1, 1, 0, 0]), SIZE)
    assert np.isfinite(boxes).all()


def test_no_pictures_and_no_boxes_give_empty_arrays():
    boxes, scores = decode_yolox(np.zeros((0, cell_count(SIZE), 6), np.float32), SIZE)
    assert boxes.shape == (0, cell_count(SIZE), 4) and scores.shape == (0, cell_count(SIZE), 1)
    assert encode_yolox(np.zeros((0, 4)), SIZE).shape == (0, cell_count(SIZE), 4)
