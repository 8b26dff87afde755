"""Which anchors answer for which object, and what they are taught."""

import math

import pytest
import torch

from vitruvian.nn.anchors import Targets, complete_iou, corners, decode, detection_loss, match

STRIDES = (8, 16, 32)
ANCHORS = torch.tensor([[[2.0, 2], [4, 2], [2, 4]], [[2, 2], [4, 2], [2, 4]], [[2, 2], [4, 2], [2, 4]]])


def heads(batch=1, size=64, outputs=7, fill=0.0):
    return [torch.full((batch, 3, size // s, size // s, outputs), fill) for s in STRIDES]


def objects(*boxes, labels=None, images=None):
    count = len(boxes)
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(labels or [0] * count, dtype=torch.long),
        torch.tensor(images or [0] * count, dtype=torch.long),
    )


def cells(matched):
    return {tuple(x) for x in matched.cell.long().tolist()}


def test_own_cell_and_the_two_nearest():
    # Centre (26, 29) is in cell (3, 3) of stride 8, left and below of its middle.
    fine = match(heads(), ANCHORS, STRIDES, objects((18, 21, 34, 37)))[0]
    assert cells(fine) == {(3, 3), (2, 3), (3, 4)}


def test_no_neighbour_outside_the_picture():
    fine = match(heads(), ANCHORS, STRIDES, objects((-6, -6, 10, 10), (54, 54, 70, 70)))[0]
    assert cells(fine) == {(0, 0), (7, 7)}


def test_only_anchors_of_similar_shape():
    # 7.75 x 1 strides: 2 x 2 is 3.9 times narrower, which will do; 2 x 4 is 4 times taller, which won't.
    fine = match(heads(), ANCHORS, STRIDES, objects((1, 20, 63, 28)))[0]
    assert set(fine.where[1].tolist()) == {0, 1}


def test_pictures_are_kept_apart():
    fine = match(heads(batch=3), ANCHORS, STRIDES, objects((18, 21, 34, 37), images=[2]))[0]
    assert set(fine.where[0].tolist()) == {2}


def test_complete_iou_of_known_boxes():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 4, 1]])
    b = torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2], [0, 0, 1, 4]])
    aspect = 4 / math.pi**2 * (math.atan(0.25) - math.atan(4)) ** 2
    weight = aspect / (aspect - 1 / 7 + 1)
    expected = [1.0, 0 - 4 / (16 + 4), 1 / 7 - (1.5**2 + 1.5**2) / 32 - weight * aspect]
    assert complete_iou(a, b).tolist() == pytest.approx(expected, abs=1e-5)


def test_gradient_of_complete_iou_is_that_of_differences():
    a = torch.tensor([[0.0, 0.2, 2, 2], [3, 0, 5, 2.5]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[0.3, 0, 2.3, 1.8], [0, 0, 2, 2.5]], dtype=torch.float64)
    complete_iou(a, b).sum().backward()
    # The weight of the aspect is held constant, so compare where the aspects agree, and along a shift.
    step = 1e-6
    shifted = complete_iou(a.detach() + step, b) - complete_iou(a.detach() - step, b)
    assert a.grad.sum(1).tolist() == pytest.approx((shifted / (2 * step)).tolist(), rel=1e-4)


def test_right_answers_cost_less_than_wrong_ones():
    targets = objects((18, 21, 34, 37), labels=[1])
    wrong = heads()
    right = [level.clone() for level in wrong]
    for level, pairs in zip(right, match(right, ANCHORS, STRIDES, targets), strict=True):
        stride = 64 // level.shape[2]
        level[..., 4] = -12
        centre = torch.tensor([26.0, 29.0]) / stride
        for image, anchor, row, column in zip(*pairs.where, strict=True):
            place = (centre - torch.tensor([column, row]) + 0.5) / 2
            size = (torch.tensor([16.0, 16.0]) / stride / ANCHORS[0, anchor]).sqrt() / 2
            level[image, anchor, row, column] = torch.cat((torch.cat((place, size)).logit(eps=1e-6), torch.tensor([12.0, -12, 12])))
    losses = [detection_loss(raw, match(raw, ANCHORS, STRIDES, targets), STRIDES, targets, 2) for raw in (right, wrong)]
    for name, value in losses[0].items():
        assert value < 1e-3 < 0.1 < losses[1][name]


def test_decoded_boxes_are_the_targets_of_the_right_answers():
    raw = heads(fill=-30.0)
    raw[1][0, 2, 1, 3] = torch.tensor([0.0, 0, 0, 0, 9, 9, -9])
    rows = decode(raw, ANCHORS, STRIDES, 2, 0)[0]
    row = rows[rows[:, 4].argmax()]
    assert row[:4].tolist() == [(3 + 0.5) * 16, (1 + 0.5) * 16, 2 * 16, 4 * 16]
    assert corners(row[None])[0].tolist() == [56 - 16, 24 - 32, 56 + 16, 24 + 32]


@pytest.mark.parametrize("batch", [0, 1])
def test_nobody_teaches_only_objectness(batch):
    raw = [level.requires_grad_() for level in heads(batch)]
    targets = objects()
    terms = detection_loss(raw, match(raw, ANCHORS, STRIDES, targets), STRIDES, targets, 2)
    assert terms["box"] == 0 and terms["class"] == 0 and (terms["objectness"] > 0) == (batch > 0)
    sum(terms.values()).backward()
    assert all(level.grad is not None and torch.isfinite(level.grad).all() for level in raw)
