"""Anchor heads in numpy: as torch decodes them, gated as cheaply as rightly, and back to the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.codecs.anchors import ANCHORS_P6, Candidates, centred_letterbox, decode_rows, select, split_rows, uncentre, uncentre_boxes
from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import iou

ANCHORS = np.array(ANCHORS_P6, np.float32)


def heads(outputs=11, width=128, height=64, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(0, 3, (3, height >> i + 3, width >> i + 3, outputs)).astype(np.float32) for i in range(4)]


@pytest.mark.parametrize(("classes", "points", "outputs"), [(2, 1, 9), (7, 6, 24), (2, 2, 19), (1, 0, 7)])
def test_numpy_equals_torch(classes, points, outputs):
    torch = pytest.importorskip("torch")
    from vitruvian.nn.anchors import corners, decode

    raw = heads(outputs)
    strides = (8, 16, 32, 64)
    in_strides = torch.from_numpy(ANCHORS) / torch.tensor(strides)[:, None, None]
    expected = decode([torch.from_numpy(level)[None] for level in raw], in_strides, strides, classes, points)[0]
    rows = decode_rows(raw, ANCHORS, classes, points)
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-5, atol=1e-3)
    split = split_rows(rows, classes)
    np.testing.assert_allclose(split.boxes, corners(expected).numpy(), rtol=1e-5, atol=1e-3)
    assert split.scores.shape[1] == classes and split.extras.shape[1] == outputs - 5 - classes


def test_gate_leaves_the_same_rows_in_the_same_order():
    rows = decode_rows(heads(), ANCHORS, 2, 2)
    np.testing.assert_array_equal(decode_rows(heads(), ANCHORS, 2, 2, 0.3), rows[rows[:, 4] > 0.3])
    assert len(decode_rows(heads(), ANCHORS, 2, 2, 1.0)) == 0


def test_heads_of_another_shape_are_refused():
    with pytest.raises(VitruvianError, match="give those of one picture"):
        decode_rows(heads(8), ANCHORS, 2, 2)
    with pytest.raises(VitruvianError, match="give those of one picture"):
        decode_rows([level[None] for level in heads()], ANCHORS, 2, 2)


def test_extreme_logits_are_finite():
    raw = [np.where(level > 0, 1e4, -1e4).astype(np.float32) for level in heads()]
    assert np.isfinite(decode_rows(raw, ANCHORS, 2, 2)).all()


def test_selection_takes_the_best_class_only():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 0, 60, 10]], np.float32)
    scores = np.array([[0.6, 0.5], [0.3, 0.7], [0.2, 0.1]], np.float32)
    found, extras = select(Candidates(boxes, scores, np.arange(3, dtype=np.float32)[:, None]), (1,), 0.05, 0.5)
    assert extras.tolist() == [[1.0]] and found.labels.tolist() == [1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.9), st.integers(0, 60))
def test_selection_equals_brute_force(seed, limit, count):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 30, (count, 2))], 1).astype(np.float32)
    scores = random.random((count, 3)).astype(np.float32)
    found, extras = select(Candidates(boxes, scores, np.arange(count, dtype=np.float32)[:, None]), (1, 2), 0.3, limit, 7)
    kept = []
    for row in np.argsort(-scores.max(1), kind="stable"):
        label = scores[row].argmax()
        if label and scores[row, label] > 0.3:
            same = [k for k in kept if scores[k].argmax() == label]
            if not same or iou(boxes[row : row + 1], boxes[same]).max() <= limit:
                kept.append(row)
    assert extras[:, 0].astype(int).tolist() == kept[:7]
    np.testing.assert_array_equal(found.boxes, boxes[kept[:7]])


@pytest.mark.parametrize("shape", [(70, 100), (100, 70), (333, 77), (64, 128), (1, 900)])
def test_letterbox_and_back(shape):
    image = np.zeros((*shape, 3), np.uint8)
    out = centred_letterbox(image, (128, 64))
    assert out.shape == (64, 128, 3)
    rows, columns = np.nonzero((out == 0).all(-1))
    inner = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    back = uncentre_boxes(inner, (128, 64), (shape[1], shape[0]))
    pixel = max(shape[1] / 128, shape[0] / 64)  # of the input, in the picture: the sides were rounded to whole ones
    np.testing.assert_allclose(back, [[0, 0, shape[1], shape[0]]], atol=pixel)


def test_letterbox_snug_pads_to_the_step_only():
    assert centred_letterbox(np.zeros((100, 300, 3), np.uint8), (640, 640), 64).shape == (256, 640, 3)


def test_points_are_clipped_to_the_picture():
    points = uncentre(np.array([[[-5.0, 2.0], [700, 900]]]), (640, 640), (320, 200))
    assert points.tolist() == [[[0.0, 0.0], [320.0, 200.0]]]
    assert uncentre_boxes(np.zeros((0, 4), np.float32), (640, 640), (320, 200)).shape == (0, 4)
