import numpy as np
import pytest

from vitruvian.codecs.nms import nms


def overlap(a, b):
    """Intersection over union of two boxes, spelled out."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


def oracle(boxes, scores, labels, threshold):
    """The definition: walk from the best to the worst, keep what no kept box of its class covers."""
    keep = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(labels[i] != labels[j] or overlap(boxes[i], boxes[j]) <= threshold for j in keep):
            keep.append(i)
    return keep


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 120])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.65, 1.0])
def test_it_keeps_what_the_definition_keeps(n, threshold):
    rng = np.random.default_rng(n)
    centers, sides = rng.integers(0, 40, (n, 2)), rng.integers(0, 30, (n, 2))  # some have no area
    boxes = np.concatenate([centers - sides, centers + sides], axis=1).astype(np.float32) / 2
    scores = (rng.integers(0, 20, n) / 20).astype(np.float32)  # with ties
    labels = rng.integers(0, 3, n)
    assert nms(boxes, scores, labels, threshold).tolist() == oracle(boxes.tolist(), scores.tolist(), labels.tolist(), threshold)


def test_the_limit_keeps_the_best():
    boxes = np.arange(80, dtype=np.float32)[:, None] * 10 + np.float32([0, 0, 5, 5])
    scores = np.random.default_rng(0).permutation(80).astype(np.float32)
    assert scores[nms(boxes, scores, np.zeros(80, np.int64), max_boxes=30)].tolist() == list(range(79, 49, -1))


def test_no_boxes_keep_nothing():
    keep = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert keep.shape == (0,) and keep.dtype == np.int64


def test_plus_one_measures_from_the_first_to_the_last_pixel_inclusive():
    boxes = np.float32([[0, 0, 9, 9], [0, 5, 9, 14]])  # 10 x 10 pixels, 10 x 5 shared: 50 / 150, without the +1 36 / 126
    arguments = boxes, np.float32([0.9, 0.8]), np.zeros(2, int)
    assert len(nms(*arguments, iou_threshold=0.3)) == 2
    assert len(nms(*arguments, iou_threshold=0.3, plus_one=True)) == 1
    assert len(nms(*arguments, iou_threshold=0.34, plus_one=True)) == 2
