"""Box AP against pycocotools, crowds and ties included; and of hung parts only."""

import contextlib
import io

import numpy as np
import pytest

from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes, box_average_precision


def scene(seed, pictures=6, classes=3):
    random = np.random.default_rng(seed)
    count = 40
    corner = random.uniform(0, 100, (count, 2))
    true = np.concatenate([corner, corner + random.uniform(10, 60, (count, 2))], 1)
    truth = TrueBoxes(random.integers(1, pictures + 1, count), true, random.integers(0, classes, count), random.random(count) < 0.1)
    again = np.repeat(np.arange(count), 3)
    boxes = true[again] + random.normal(0, 4, (len(again), 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    labels = np.where(random.random(len(again)) < 0.8, truth.labels[again], random.integers(0, classes, len(again)))
    scores = np.round(random.random(len(again)), 1)  # with ties
    return truth, FoundBoxes(truth.image[again], boxes, labels, scores)


def by_pycocotools(truth, found, classes):
    coco_module, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")

    def xywh(box):
        return [*box[:2], *(box[2:] - box[:2])]

    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO()
        images = [{"id": int(i)} for i in np.union1d(truth.image, found.image)]
        rows = zip(truth.image, truth.boxes, truth.labels, truth.crowd, strict=True)
        annotations = [
            {
                "id": n + 1,
                "image_id": int(i),
                "bbox": xywh(b),
                "category_id": int(c),
                "iscrowd": int(w),
                "area": float((b[2:] - b[:2]).prod()),
            }
            for n, (i, b, c, w) in enumerate(rows)
        ]
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": c} for c in range(classes)]}
        coco.createIndex()
        rows = zip(found.image, found.boxes, found.labels, found.scores, strict=True)
        results = coco.loadRes([{"image_id": int(i), "bbox": xywh(b), "category_id": int(c), "score": float(s)} for i, b, c, s in rows])
        run = evaluation.COCOeval(coco, results, "bbox")
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    means = np.where((precision > -1).all((0, 1)), precision.mean(1), -1)
    return {"AP": means.mean(0), "AP50": means[0], "AP75": means[5]}


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed):
    truth, found = scene(seed)
    expected = by_pycocotools(truth, found, 4)
    for name, values in box_average_precision(truth, found, 4).items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-12)


def test_unhung_false_parts_only_cost_the_plain_figure():
    box = np.array([[0, 0, 10, 10.0]])
    truth = TrueBoxes(np.zeros(1, int), box, np.zeros(1, int), np.zeros(1, bool))
    found = FoundBoxes(np.zeros(2, int), np.concatenate([box + 50, box]), np.zeros(2, int), np.array([0.9, 0.8]))
    hung = FoundBoxes(*(value[[1]] for value in vars(found).values()))
    assert box_average_precision(truth, found, 1)["AP"][0] == pytest.approx(0.5)
    assert box_average_precision(truth, hung, 1)["AP"][0] == pytest.approx(1.0)


def test_nothing_there_and_nothing_found():
    truth, found = scene(0)
    none = FoundBoxes(*(value[:0] for value in vars(found).values()))
    nowhere = TrueBoxes(*(value[:0] for value in vars(truth).values()))
    assert (box_average_precision(truth, none, 3)["AP"] == 0).all()
    assert (box_average_precision(nowhere, found, 3)["AP"] == -1).all()
