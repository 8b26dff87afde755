"""RTMDet: boxes come back from distances, cells are dealt fairly, and the network learns."""

import pytest
import torch

from vitruvian.systems.detection.rtmdet import (
    STRIDES,
    VARIANTS,
    Config,
    Deployed,
    RTMDet,
    assign,
    decode,
    flatten,
    loss,
    overlaps,
    rank_in_group,
)
from vitruvian.systems.export import difference, export_onnx

SIZE = 128


def blank(batch=1, classes=5):
    """Levels of a network that sees nothing: score 0.01, boxes of one stride to each side."""
    return [
        (torch.full((batch, classes, SIZE // s, SIZE // s), -4.6), torch.full((batch, 4, SIZE // s, SIZE // s), float(s))) for s in STRIDES
    ]


def deal(levels, boxes, labels, images):
    logits, predicted, points, strides = flatten(levels)
    return points, assign(logits, predicted, points, strides, torch.tensor(boxes), torch.tensor(labels), torch.tensor(images))


def test_decode_puts_boxes_around_their_points():
    levels = blank(2)
    levels[1][1][1, :, 3, 5] = torch.tensor([1.0, 2.0, 3.0, 4.0])  # stride 16, row 3, column 5
    levels[1][0][1, 2, 3, 5] = 4.0
    boxes, scores = decode(levels)
    best = scores[1, :, 2].argmax()
    assert boxes[1, best].tolist() == [79.0, 46.0, 83.0, 52.0]
    assert scores.min() > 0 and scores.max() == pytest.approx(0.982, abs=1e-3)


def test_overlaps():
    a = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    iou, giou = overlaps(a, b)
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0])
    assert giou.tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_rank_in_group():
    group = torch.tensor([1, 0, 1, 0, 1])
    value = torch.tensor([0.3, 0.2, 0.1, 0.9, 0.2])
    assert rank_in_group(group, value).tolist() == [2, 0, 0, 1, 1]
    assert rank_in_group(group[:0], value[:0]).tolist() == []


def test_every_box_gets_cells_near_it_and_no_cell_serves_two():
    boxes = [[8.0, 8, 100, 120], [10, 10, 98, 118], [61, 61, 64, 64], [20, 90, 40, 110]]
    points, (cell, target, _) = deal(blank(2), boxes, [0, 0, 3, 1], [0, 0, 0, 1])
    assert set(target.tolist()) == {0, 1, 2, 3}
    assert len(set(cell.tolist())) == len(cell)
    assert ((cell // len(points)) == torch.tensor([0, 0, 0, 1])[target]).all()
    where, box = points[cell % len(points)], torch.tensor(boxes)[target]
    assert ((where - (box[:, :2] + box[:, 2:]) / 2).abs() <= torch.maximum((box[:, 2:] - box[:, :2]) / 2, torch.tensor(32.0))).all()


def test_loss_of_images_without_boxes_teaches_background():
    levels = blank(2)
    out = loss(levels, [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2)
    assert out["box"] == 0 and out["cls"] > 0
    quiet = [(cls - 5, box) for cls, box in levels]
    assert loss(quiet, [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2)["cls"] < out["cls"]


def test_where_there_may_be_somebody_nothing_is_taught():
    levels = blank()
    levels[0][0][0, :, 3:6, 3:6] = 4.0  # a detector that is sure of something there
    box, nobody = torch.tensor([[20.0, 20, 50, 50]]), torch.zeros(0, 4)
    wrong = loss(levels, [nobody], [torch.zeros(0, dtype=torch.long)])["cls"]
    left = loss(levels, [box], [torch.tensor([-1])])["cls"]
    assert left < 0.01 * wrong
    both = loss(levels, [torch.cat((box, box))], [torch.tensor([0, -1])])
    torch.testing.assert_close(both["box"], loss(levels, [box], [torch.tensor([0])])["box"])  # the same box, for sure, is learnt


def test_an_exported_detector_takes_wide_and_tall_pictures(tmp_path):
    torch.manual_seed(0)
    network, path = Deployed(RTMDet(VARIANTS["nano"]).eval()), tmp_path / "detector.onnx"
    export_onnx(network, torch.zeros(1, 3, 64, 96), path, ("image",), ("boxes", "scores"), free={2: "height", 3: "width"})
    assert difference(network, path, [(3, 128, 64)])[1] < 1e-4


def test_loss_prefers_the_right_class_and_box():
    box, label = torch.tensor([[32.0, 32, 96, 96]]), torch.tensor([2])

    def level(cls, offset):
        levels = blank()
        logits, distance = levels[1]
        logits[0, cls, 4, 4] = 4.0
        distance[0, :, 4, 4] = 32.0 + offset  # the cell at (64, 64)
        return loss(levels, [box], [label])["total"]

    assert level(2, 0) < level(2, 12)
    assert level(2, 0) < level(1, 0)


def test_loss_under_bfloat16_is_close_and_float32():
    torch.manual_seed(0)
    network = RTMDet(VARIANTS["nano"]).eval()
    image, boxes, labels = (
        torch.randn(2, 3, SIZE, SIZE),
        [torch.tensor([[10.0, 20, 90, 100]]), torch.zeros(0, 4)],
        [torch.tensor([1]), torch.tensor([])],
    )
    exact = loss(network(image), boxes, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = loss(network(image), boxes, labels)
    assert rough["total"].dtype == torch.float32
    assert rough["total"].item() == pytest.approx(exact["total"].item(), rel=0.05)


def test_overfits_a_few_rectangles():
    torch.manual_seed(0)
    network = RTMDet(Config(0.125, 0.167, ("red", "green"), (64, 64), depthwise=True)).train()
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3)
    boxes = [[[8.0, 8, 40, 30]], [[20.0, 16, 60, 60]], [[30.0, 4, 58, 24], [4, 36, 28, 60]], []]
    labels = [[0], [1], [1, 0], []]
    images = torch.zeros(4, 3, 64, 64)
    for image, rows, classes in zip(images, boxes, labels, strict=True):
        for (x0, y0, x1, y1), c in zip(rows, classes, strict=True):
            image[c, int(y0) : int(y1), int(x0) : int(x1)] = 2.0
    targets = [torch.tensor(b).reshape(-1, 4) for b in boxes], [torch.tensor(c, dtype=torch.long) for c in labels]
    for _ in range(80):
        total = loss(network(images), *targets)["total"]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    with torch.no_grad():
        found, scores = decode(network(images))
    assert scores[3].max() < 0.3
    for i, (rows, classes) in enumerate(zip(*targets, strict=True)):
        for box, c in zip(rows, classes, strict=True):
            sure = scores[i, :, c] > 0.4
            iou, _ = overlaps(found[i, sure], box.expand(int(sure.sum()), 4))
            assert iou.max() > 0.7
