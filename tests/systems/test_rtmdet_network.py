"""RTMDet: boxes come back from distances, cells are dealt fairly, and the network learns."""

from dataclasses import replace

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
    decode_owners,
    flatten,
    loss,
    overlaps,
    owner_loss,
    owner_targets,
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


def told(owner, box, at=(0, 0, 0)):
    """Levels that say nothing but, at (level, row, column), which owner's box belongs to a part's box."""
    levels = [torch.zeros(1, 4, SIZE // s, SIZE // s) for s in STRIDES]
    middle, size = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).prod().sqrt()
    levels[at[0]][0, :, at[1], at[2]] = torch.cat((((owner[:2] + owner[2:]) / 2 - middle) / size, ((owner[2:] - owner[:2]) / size).log()))
    return levels


def test_owners_come_back_from_what_is_told():
    box, owner = torch.tensor([30.0, 20, 46, 29]), torch.tensor([5.0, 15, 60, 120])
    back = decode_owners(box[None], told(owner, box)[0][0, :, 0, 0][None])
    torch.testing.assert_close(back, owner[None])


def test_owners_are_asked_of_cells_that_answer_for_parts_and_of_no_others():
    levels = blank(2)
    boxes = [torch.tensor([[8.0, 8, 100, 120], [40, 40, 56, 56], [70, 70, 78, 78]]), torch.tensor([[10.0, 10, 50, 50]])]
    labels, nan = [torch.tensor([0, 1, -1]), torch.tensor([3])], float("nan")
    owners = [torch.tensor([[nan] * 4, [8.0, 8, 100, 120], [nan] * 4]), torch.tensor([[nan] * 4])]  # the hand's person has no box
    targets = owner_targets(levels, boxes, labels, owners)
    assert len(targets.cell) and (targets.image == 0).all() and (targets.owners == boxes[0][0]).all()
    _, predicted, points, _ = flatten(levels)
    torch.testing.assert_close(targets.boxes, predicted[0, targets.cell])
    assert ((points[targets.cell] - 48).abs() <= 32).all()


def test_nobody_has_no_owners_to_learn():
    none = torch.zeros(0, 4)
    targets = owner_targets(blank(2), [none] * 2, [torch.zeros(0, dtype=torch.long)] * 2, [none] * 2)
    assert owner_loss([torch.zeros(2, 4, SIZE // s, SIZE // s) for s in STRIDES], targets)["total"] == 0


def test_owners_of_single_images_join_to_those_of_a_batch():
    levels, person, head = blank(2), [8.0, 8, 100, 120], [44.0, 44, 52, 52]
    nan = [float("nan")] * 4
    targets = owner_targets(levels, [torch.tensor([person, head])] * 2, [torch.tensor([0, 1])] * 2, [torch.tensor([nan, person])] * 2)
    again = type(targets).joined([targets.of(0), targets.of(1)])
    for a, b in zip(targets, again, strict=True):
        assert torch.equal(a.sort(0).values, b.sort(0).values)


def test_owner_loss_prefers_the_right_one_of_two_people():
    right, left = [60.0, 8, 110, 120], [20.0, 8, 70, 120]
    nan = [float("nan")] * 4
    boxes, owner = torch.tensor([[44.0, 44, 52, 52], right, left]), torch.tensor([right, nan, nan])
    targets = owner_targets(blank(), [boxes], [torch.tensor([1, 0, 0])], [owner])
    one = type(targets)(*(column[:1] for column in targets[:5]), *targets[5:])
    level = 0 if one.cell[0] < 256 else 1
    row, column = divmod(int(one.cell[0]) - 256 * level, 16 >> level)
    choices = [owner_loss(told(torch.tensor(box), one.boxes[0], (level, row, column)), one)["choice"] for box in (right, left)]
    assert choices[0] < 0.05 < 0.5 < choices[1]  # of one cell that answers with a quality of 0.25


def test_the_owner_loss_is_0_where_the_owner_is_told_and_grows_with_the_error():
    levels, owner = blank(), torch.tensor([[8.0, 8, 100, 120]])
    targets = owner_targets(levels, [torch.tensor([[44.0, 44, 52, 52]])], [torch.tensor([1])], [owner])
    targets = type(targets)(*(column[:1] for column in targets))
    level = 0 if targets.cell[0] < 256 else 1
    row, column = divmod(int(targets.cell[0]) - 256 * level, 16 >> level)

    def off(by):
        return owner_loss(told(owner[0] + by, targets.boxes[0], (level, row, column)), targets)["total"].item()

    assert off(0.0) == pytest.approx(0, abs=1e-8)
    assert 0 < off(5.0) < off(20.0)


def test_an_exported_detector_says_whose_parts_are(tmp_path):
    torch.manual_seed(0)
    network = Deployed(RTMDet(replace(VARIANTS["nano"], owners=True)).eval())
    export_onnx(network, torch.zeros(1, 3, 64, 96), tmp_path / "owners.onnx", ("image",), network.outputs, free={2: "height", 3: "width"})
    assert network.outputs == ("boxes", "scores", "owners")
    assert difference(network, tmp_path / "owners.onnx", [(3, 128, 64)])[1] < 1e-4


def test_boxes_and_scores_do_not_change_with_owners():
    torch.manual_seed(0)
    network = RTMDet(replace(VARIANTS["nano"], owners=True)).eval()
    plain = RTMDet(VARIANTS["nano"]).eval()
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if not name.startswith("owners.")})
    image = torch.randn(1, 3, 64, 64)
    for a, b in zip(Deployed(network)(image), Deployed(plain)(image), strict=False):
        assert torch.equal(a, b)
