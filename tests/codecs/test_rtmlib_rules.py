import numpy as np
import pytest

from vitruvian.codecs.rtmlib import raw_detections, suppressed_detections

ZOOMS = np.float32([[0.5, 0.5]])


def test_every_label_of_a_suppressed_graph_counts_in_its_order():
    dets = np.float32([[[0, 0, 2, 2, 0.4], [4, 4, 6, 6, 0.2], [-1, 0, 3, 3, 0.9]]])
    (found,) = suppressed_detections(dets, np.int64([[0, 0, 7]]), ZOOMS, 0.3)
    assert found.boxes.tolist() == [[0, 0, 4, 4], [-2, 0, 6, 6]] and found.labels.tolist() == [0, 7]


def test_classes_come_one_after_the_other_and_overlap_counts_the_last_pixel():
    boxes = np.float32([[[0, 0, 4.5, 4.5], [0, 2.5, 4.5, 7], [0, 0, 4.5, 4.5]]])
    scores = np.float32([[[0.7, 0.0], [0.8, 0.0], [0.0, 0.9]]])
    (found,) = raw_detections(boxes, scores, ZOOMS, 0.3, 0.32)  # in the picture: 50 of 150 pixels are shared
    assert found.labels.tolist() == [0, 1] and found.scores == pytest.approx([0.8, 0.9])
    (found,) = raw_detections(boxes, scores, ZOOMS, 0.3, 0.34)
    assert found.scores == pytest.approx([0.8, 0.7, 0.9])


def test_nothing_found_gives_typed_empty_detections():
    (first,) = suppressed_detections(np.zeros((1, 0, 5), np.float32), None, ZOOMS, 0.3)
    (second,) = raw_detections(np.zeros((1, 9, 4), np.float32), np.zeros((1, 9, 2), np.float32), ZOOMS, 0.3, 0.4)
    for found in (first, second):
        assert found.boxes.shape == (0, 4) and found.boxes.dtype == np.float32 and found.labels.dtype == np.int32
