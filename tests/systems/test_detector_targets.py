"""Objects are moved, cut, mirrored and put together with the pictures they are in; networks say what their shapes don't."""

import pytest
import torch

from vitruvian.codecs.association import FACE, HANDS
from vitruvian.errors import WeightsError
from vitruvian.nn.anchors import Targets
from vitruvian.systems.detection import bpjdet, hsdb_instrument, jointbdoe
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.systems.detection.targets import chosen, collate, cut, flipped, moved

NAN = float("nan")


def objects(*boxes, points=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    zeros = torch.zeros(len(boxes)).long()
    if points is None:
        return Targets(boxes, zeros, zeros)
    return bpjdet.Targets(boxes, zeros, zeros, torch.tensor(points, dtype=torch.float32).reshape(len(boxes), -1, 2))


def test_points_go_where_boxes_go():
    found = moved(objects([10, 20, 30, 60], points=[[20, 40]]), torch.tensor([2.0, 0.5]), torch.tensor([5.0, -5.0]))
    assert found.boxes.tolist() == [[25, 5, 65, 25]] and found.points.tolist() == [[[45, 15]]]
    assert moved(objects([0, 0, 1, 1]), torch.ones(2), torch.ones(2)).boxes.tolist() == [[1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("box", "left"),
    [
        ([10, 10, 30, 50], [10, 10, 30, 50]),
        ([90, 10, 110, 50], [90, 10, 100, 50]),
        ([99, 10, 119, 50], None),  # one pixel wide, and a twentieth
        ([95, 10, 160, 50], None),  # less than a tenth
        ([0, 0, 90, 4], None),  # as flat as nothing is
        ([200, 10, 220, 50], None),
    ],
)
def test_what_is_left_of_a_box(box, left):
    found = cut(objects(box), torch.zeros(2), torch.full((2,), 100.0))
    assert found.boxes.tolist() == ([] if left is None else [left])


def test_points_outside_are_unknown():
    found = cut(objects([10, 10, 90, 90], points=[[[50, 50], [120, 50]]]), torch.zeros(2), torch.full((2,), 100.0))
    assert found.points[0, 0].tolist() == [50, 50] and found.points[0, 1].isnan().all()


def test_a_mirror_twice_is_none():
    one = objects([10, 20, 30, 60], points=[[12, 40]])
    once = flipped(one, 100.0)
    assert once.boxes.tolist() == [[70, 20, 90, 60]] and once.points.tolist() == [[[88, 40]]]
    assert flipped(once, 100.0).boxes.tolist() == one.boxes.tolist()


def test_pictures_of_a_batch_keep_their_columns():
    turned = jointbdoe.Targets(*vars(objects([0, 0, 9, 9], [1, 1, 5, 5])).values(), torch.tensor([0.25, NAN]))
    both = collate([turned, chosen(turned, torch.tensor([True, False]))])
    assert both.images.tolist() == [0, 0, 1] and both.turns[[0, 2]].tolist() == [0.25, 0.25]
    assert len(collate([chosen(turned, turned.turns > 1)]).boxes) == 0


@pytest.mark.parametrize("part_set", [FACE, HANDS])
def test_a_network_names_its_parts_and_its_size(part_set):
    config = bpjdet.Config(0.125, 0.33, part_set, (128, 192))
    model = describe(bpjdet.network(config), config.input_size, part_set.classes[1:])
    found, again = bpjdet.from_published(model.state_dict())
    assert found == config and again.state_dict().keys() == model.state_dict().keys()
    assert bpjdet.from_published(bpjdet.network(config).state_dict())[0].input_size == (1536, 1536)


def test_the_others_tell_their_size():
    for system, name in ((jointbdoe, "nano-vector"), (hsdb_instrument, "gastrectomy-nano")):
        config = system.VARIANTS[name]
        found, _ = system.from_published(describe(system.network(config), config.input_size).state_dict())
        assert found == config


@pytest.mark.parametrize("size", [[250, 256], [256], [-64, 64], [1 << 20, 64], [0, 0]])
def test_sizes_that_no_network_has_are_refused(size):
    state = describe(jointbdoe.network(jointbdoe.VARIANTS["nano"]), (256, 256)).state_dict()
    with pytest.raises(WeightsError, match="damaged"):
        jointbdoe.from_published(state | {"input_size": torch.tensor(size)})


@pytest.mark.parametrize("names", [b"", b"face\nface", b"\xff", b"a\n\nb"])
def test_names_that_are_none_are_refused(names):
    state = describe(bpjdet.network(bpjdet.VARIANTS["face-nano"]), (256, 256), ("face",)).state_dict()
    with pytest.raises(WeightsError, match="damaged"):
        bpjdet.from_published(state | {"part_names": torch.tensor(list(names), dtype=torch.uint8)})
