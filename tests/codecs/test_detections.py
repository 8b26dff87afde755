import numpy as np
import pytest

from vitruvian.codecs.detections import CANDIDATES, decode_raw, decode_suppressed


def test_a_graph_with_suppression_gives_wanted_classes_above_the_threshold():
    dets = np.float32([[[0, 0, 1, 1, 0.4], [0, 0, 2, 2, 0.9], [0, 0, 3, 3, 0.95], [0, 0, 4, 4, 0.1], [0, 0, 0, 0, 0.0]], np.zeros((5, 5))])
    labels = np.int64([[0, 0, 7, 0, -1], [-1] * 5])
    first, second = decode_suppressed(dets, labels, [0], 0.3)
    assert first.boxes.tolist() == [[0, 0, 2, 2], [0, 0, 1, 1]] and first.labels.tolist() == [0, 0]
    np.testing.assert_allclose(first.scores, [0.9, 0.4])
    assert len(second) == 0 and second.boxes.shape == (0, 4)


def test_a_graph_without_suppression_is_suppressed_per_class():
    boxes = np.float32([[[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60], [0, 0, 9, 10]]])
    scores = np.float32([[[0.8, 0.0, 0.5], [0.9, 0.7, 0.0], [0.2, 0.0, 0.6], [0.4, 0.1, 0.0]]])
    (found,) = decode_raw(boxes, scores, [0, 2], 0.3, 0.6)
    assert found.labels.tolist() == [0, 2, 2]
    assert found.boxes.tolist() == [[0, 0, 10, 11], [50, 50, 60, 60], [0, 0, 10, 10]]
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.5])


def test_very_many_candidates_are_cut_to_the_best():
    n = CANDIDATES + 500
    boxes = np.arange(n, dtype=np.float32)[None, :, None] * 2 + np.float32([0, 0, 1, 1])
    scores = np.linspace(0.5, 0.9, n, dtype=np.float32)[None, :, None]
    (found,) = decode_raw(boxes, scores, [0], 0.0, 0.5, max_boxes=n)
    assert len(found) == CANDIDATES and found.scores.min() >= scores[0, 500]


def test_a_graph_without_labels_knows_one_class():
    dets = np.float32([[[0, 0, 1, 1, 0.4], [0, 0, 2, 2, 0.9]]])
    (found,) = decode_suppressed(dets, None, [0], 0.3)
    assert found.labels.tolist() == [0, 0] and found.scores == pytest.approx([0.9, 0.4])


def test_nothing_found_gives_typed_empty_rows():
    (found,) = decode_raw(np.zeros((1, 9, 4), np.float32), np.zeros((1, 9, 5), np.float32), [0], 0.3, 0.6)
    assert found.boxes.shape == (0, 4) and found.scores.dtype == np.float32 and found.labels.dtype == np.int32
    assert decode_raw(np.zeros((0, 9, 4), np.float32), np.zeros((0, 9, 5), np.float32), [0], 0.3, 0.6) == []
