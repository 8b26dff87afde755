"""BPJDet and JointBDOE: published names and shapes, losses that teach, export that the ground floor reads as torch does."""

import math

import numpy as np
import pytest
import torch

import anchor_states
from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.association import BODY_PARTS, CONTACT_HANDS, HANDS, HEAD, Thresholds, find_bodies
from vitruvian.errors import WeightsError
from vitruvian.systems.detection import bpjdet, jointbdoe
from vitruvian.systems.detection.targets import collate
from vitruvian.systems.export import write_onnx

NAN = float("nan")
NANO = {
    **{f"bpjdet {part_set.slots}": (bpjdet, bpjdet.Config(0.125, 0.33, part_set)) for part_set in (HEAD, HANDS, CONTACT_HANDS, BODY_PARTS)},
    **{name: (jointbdoe, jointbdoe.VARIANTS[name]) for name in ("nano", "nano-vector")},
}


def deployed(system, config):
    torch.manual_seed(0)
    model = system.network(config)
    return model, bpjdet.Deployed(model, config.part_set) if system is bpjdet else jointbdoe.Deployed(model)


@pytest.fixture(params=NANO)
def nano(request):
    return NANO[request.param]


def targets_for(system, config):
    boxes, images = torch.tensor([[10.0, 8, 50, 60], [20, 12, 34, 28], [70, 20, 120, 110]]), torch.tensor([0, 0, 1])
    if system is jointbdoe:
        return jointbdoe.Targets(boxes, torch.zeros(3).long(), images, torch.tensor([0.1, NAN, 0.9]))
    slots = len(config.part_set.slots)
    points = torch.full((3, slots, 2), NAN)
    points[0, 0], points[1, 0], points[2, -1] = torch.tensor([27.0, 20]), torch.tensor([30.0, 34]), torch.tensor([90.0, 40])
    states = torch.full((3, slots * 4), NAN).index_fill(0, torch.tensor([0]), 1.0) if config.part_set.states else None
    return bpjdet.Targets(boxes, torch.tensor([0, 1, 0]), images, points, states)


def loss_of(system, config, model, raw, targets, **options):
    more = (config.part_set,) if system is bpjdet else ()
    return system.loss(model, raw, targets, *more, **options)


def test_nano_is_small(nano):
    system, config = nano
    assert sum(p.numel() for p in system.network(config).parameters()) < 1_000_000


def test_batch_equals_single_and_empty_is_empty(nano):
    _, network = deployed(*nano)
    images = torch.rand(3, 3, 64, 128)
    with torch.inference_mode():
        together, alone, none = (network.eval()(x) for x in (images, images[1:2], images[:0]))
    for a, b, c in zip(together, alone, none, strict=True):
        assert torch.allclose(a[1:2], b, atol=1e-3 * float(b.abs().max())) and c.shape == (0, *b.shape[1:])


def test_losses_reach_every_parameter(nano):
    system, config = nano
    model = system.network(config).train()
    with torch.no_grad():  # the gate of the angle wants sure predictions
        for head in model.head:
            head.bias.view(3, -1)[:, 4] = 1.0
    raw = model(torch.rand(2, 3, 128, 128))
    losses = loss_of(system, config, model, raw, targets_for(system, config))
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_a_few_steps_teach(nano):
    system, config = nano
    torch.manual_seed(0)
    model = system.network(config).train()
    with torch.no_grad():
        for head in model.head:
            head.bias.view(3, -1)[:, 4] = 1.0
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    images, targets = torch.rand(2, 3, 128, 128), targets_for(system, config)
    seen = []
    for _ in range(12):
        losses = loss_of(system, config, model, model(images), targets)
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        seen.append({name: value.item() for name, value in losses.items()})
    falls = {"box", "part" if system is bpjdet else "angle"}
    assert all(seen[-1][name] < 0.95 * seen[0][name] for name in falls)


@pytest.mark.parametrize("batch", [0, 2])
def test_nobody_to_find(nano, batch):
    system, config = nano
    model = system.network(config).train(batch > 0)
    some = targets_for(system, config)
    none = type(some)(*(value if value is None else value[:0] for value in vars(some).values()))
    losses = loss_of(system, config, model, model(torch.rand(batch, 3, 128, 128)), none)
    losses["total"].backward()
    assert all(value == 0 for name, value in losses.items() if name not in ("objectness", "total"))


def test_published_total_is_that_of_the_mean_times_the_batch(nano):
    system, config = nano
    model = system.network(config).eval()
    raw = model(torch.rand(2, 3, 128, 128))
    published, mean = (
        loss_of(system, config, model, raw, targets_for(system, config), reduction=r)["total"] for r in ("published", "mean")
    )
    assert published.item() == pytest.approx(2 * mean.item(), rel=1e-5)


TABLES = [("P6", 4, 5), ("P5", 3, 5), ("P5_RELEASE_6", 3, 6)]


@pytest.mark.parametrize(("table", "levels", "release"), TABLES)
@pytest.mark.parametrize("depth", [0.33, 0.67])
def test_published_state_is_understood(table, levels, release, depth):
    config = bpjdet.Config(0.125, depth, HANDS, levels=levels, release=release)
    model = bpjdet.network(config)
    state = anchor_states.published_state(model, getattr(anchor_states, table), depth, release)
    found, loaded = bpjdet.from_published({f"module.{name}": value.half() for name, value in state.items()})
    assert found == bpjdet.Config(0.125, depth, HANDS, levels=levels, release=release)
    assert torch.equal(loaded.backbone.down[0].conv.weight, model.backbone.down[0].conv.weight.half().float()) and not loaded.training


@pytest.mark.parametrize("part_set", [HEAD, HANDS, CONTACT_HANDS, BODY_PARTS])
def test_part_sets_are_inferred(part_set):
    model = bpjdet.network(bpjdet.Config(0.125, 0.33, part_set))
    found, _ = bpjdet.from_published(anchor_states.published_state(model, anchor_states.P6, 0.33))
    assert found.part_set == part_set


def test_parts_can_be_named():
    state = anchor_states.published_state(bpjdet.network(bpjdet.VARIANTS["nano"]), anchor_states.P6, 0.33)
    assert bpjdet.from_published(state, parts=("face",))[0].part_set.classes == ("person", "face")


def test_each_refuses_the_others_checkpoint():
    people = anchor_states.published_state(jointbdoe.network(jointbdoe.VARIANTS["nano"]), anchor_states.P6, 0.33)
    parts = anchor_states.published_state(bpjdet.network(bpjdet.VARIANTS["nano"]), anchor_states.P6, 0.33)
    assert jointbdoe.from_published(people)[0] == jointbdoe.Config(0.125, 0.33)
    with pytest.raises(WeightsError, match="another system"):
        bpjdet.from_published(people)
    with pytest.raises(WeightsError, match="another system"):
        jointbdoe.from_published(parts)


@pytest.mark.parametrize("change", ["missing", "left over", "wrong shape"])
def test_state_that_does_not_fit_is_refused(change):
    state = anchor_states.published_state(bpjdet.network(bpjdet.VARIANTS["nano"]), anchor_states.P6, 0.33)
    if change == "missing":
        del state["model.7.conv.weight"]
    elif change == "left over":
        state["model.7.conv.bias"] = torch.zeros(1)
    else:
        state["model.7.conv.weight"] = state["model.7.conv.weight"][1:]
    with pytest.raises(WeightsError, match=change):
        bpjdet.from_published(state)


@pytest.mark.parametrize("name", ["bpjdet", pytest.param("nano-vector", marks=pytest.mark.slow)])
def test_exported_network_says_on_the_ground_floor_what_torch_says(name, tmp_path):
    import onnxruntime

    system, config = (bpjdet, bpjdet.VARIANTS["nano"]) if name == "bpjdet" else (jointbdoe, jointbdoe.VARIANTS[name])
    model, network = deployed(system, config)
    with torch.no_grad():
        for head in model.head:
            head.weight.mul_(20)  # so that some objects are found
    exported = system.exported(config, model)
    card, worst = write_onnx(exported, tmp_path / "network.onnx")
    assert card.input_size == (256, 256) and card.classes[0] == "person" and worst < 1.0
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    outputs = session.run(list(exported.outputs), {"image": image.numpy()})
    with torch.inference_mode():
        expected = network.eval()(image)
    if system is bpjdet:
        found, same = (
            find_bodies(
                Candidates(*(np.asarray(x)[0] for x in three)), HEAD, (256, 256), (256, 256), Thresholds(body_score=0.02, part_score=0.02)
            )
            for three in (outputs, expected)
        )
        assert len(same) > 0
        np.testing.assert_allclose(found.boxes, same.boxes, atol=1.0)
        np.testing.assert_array_equal(found.part, same.part)
        return
    for a, b in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-3, atol=1e-2)


def test_labels_of_bodies_and_parts_point_at_each_other():
    bodies, hands = np.array([[0, 0, 40, 80], [40, 0, 80, 80]], float), np.array([[30, 30, 34, 34], [2, 30, 6, 34], [90, 0, 94, 4]], float)
    targets = bpjdet.targets_of(bodies, hands, np.array([1, 1, 1]), np.array([0, 0, -1]), HANDS)
    assert targets.labels.tolist() == [0, 0, 1, 1, 1]
    assert targets.points[0].tolist() == [[4, 32], [32, 32]]  # the left one first
    assert targets.points[1].isnan().all() and targets.points[4].isnan().all()
    assert targets.points[2, 0].tolist() == targets.points[3, 0].tolist() == [20, 40] and targets.points[2, 1].isnan().all()


def test_two_parts_for_one_slot_keep_the_first():
    bodies, heads = np.array([[0, 0, 40, 80.0]]), np.array([[0, 0, 4, 4.0], [10, 0, 14, 4]])
    targets = bpjdet.targets_of(bodies, heads, np.array([1, 1]), np.array([0, 0]), HEAD)
    assert targets.points[0, 0].tolist() == [2, 2] and targets.points[2, 0].tolist() == [20, 40]


def test_pictures_of_a_batch_are_collated():
    one = bpjdet.targets_of(np.zeros((2, 4)), np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, int), HEAD)
    assert collate([one, one]).images.tolist() == [0, 0, 1, 1]


def test_mirror_swaps_sides():
    body, hands = np.array([[10, 0, 50, 80.0]]), np.array([[12, 30, 16, 34], [40, 30, 44, 34.0]])
    targets = bpjdet.targets_of(body, hands, np.array([3, 4]), np.array([0, 0]), BODY_PARTS)
    turned = bpjdet.mirrored(targets, 100.0, BODY_PARTS)
    expected = bpjdet.targets_of(
        np.array([[50, 0, 90, 80.0]]), np.array([[84, 30, 88, 34], [56, 30, 60, 34.0]]), np.array([4, 3]), np.array([0, 0]), BODY_PARTS
    )
    for name in ("boxes", "labels", "points"):
        assert torch.equal(getattr(turned, name).nan_to_num(), getattr(expected, name).nan_to_num())


@pytest.mark.parametrize("lefts", [(12, 40), (12,), ()])
def test_mirror_keeps_hands_in_their_order(lefts):
    body = np.array([[10, 0, 50, 80.0]])
    hands = np.array([[x, 30, x + 4, 34] for x in lefts], float).reshape(-1, 4)
    flipped = np.stack([100 - hands[:, 2], hands[:, 1], 100 - hands[:, 0], hands[:, 3]], 1)
    ones, owners = np.ones(len(lefts), int), np.zeros(len(lefts), int)
    turned = bpjdet.mirrored(bpjdet.targets_of(body, hands, ones, owners, HANDS), 100.0, HANDS)
    expected = bpjdet.targets_of(np.array([[50, 0, 90, 80.0]]), flipped, ones, owners, HANDS)
    assert torch.equal(turned.points.nan_to_num(), expected.points.nan_to_num()) and torch.equal(turned.boxes, expected.boxes)


def one_angle(fraction_logit, wanted, objectness=2.0, **options):
    rows = torch.zeros(1, 7)
    rows[0, 4], rows[0, 6] = objectness, fraction_logit
    pairs = jointbdoe.Matched(rows, torch.tensor([0]), torch.zeros(1, 2), torch.ones(1, 2), (torch.zeros(1).long(),) * 4)
    targets = jointbdoe.Targets(torch.zeros(1, 4), torch.zeros(1).long(), torch.zeros(1).long(), torch.tensor([wanted]))
    return float(jointbdoe.angle_loss([pairs], targets, **options))


def test_angle_losses():
    low = float(torch.tensor(0.05).logit())
    assert one_angle(low, 0.95) == pytest.approx(0.9)
    assert one_angle(low, 0.95, kind="wrapped") == pytest.approx(0.1)
    assert one_angle(low, 0.95, objectness=0.1) == 0  # the gate is on the logit
    assert one_angle(low, 0.95, objectness=-5.0, gate=-math.inf) == pytest.approx(0.9)
    assert one_angle(low, 0.95, objectness=-0.5, kind="dynamic") == pytest.approx(0.45)
    assert one_angle(low, NAN) == 0


def test_vector_head_gives_the_angle_it_was_taught():
    model = jointbdoe.network(jointbdoe.VARIANTS["nano-vector"])
    turns = torch.tensor([0.0, 0.2, 0.5, 0.9])
    level = torch.zeros(1, 3, 1, 4, 8)
    level[0, :, 0, :, 6:] = 0.5 * torch.stack((torch.cos(2 * torch.pi * turns), torch.sin(2 * torch.pi * turns)), 1)
    rows = jointbdoe.decode_rows(model, [level] + [torch.zeros(1, 3, 0, 0, 8)] * 3)
    assert torch.allclose(rows[0, :4, 6] % 1, turns, atol=1e-6) and torch.allclose(rows[0, :, 7], torch.tensor(0.5))
    pairs = jointbdoe.Matched(level[0, 0, 0], torch.arange(4), torch.zeros(4, 2), torch.ones(4, 2), (torch.zeros(4).long(),) * 4)
    pairs.rows[:, 4] = 1.0
    targets = jointbdoe.Targets(torch.zeros(4, 4), torch.zeros(4).long(), torch.zeros(4).long(), turns)
    assert float(jointbdoe.angle_loss([pairs], targets)) == pytest.approx(0.1 * 0.25, abs=1e-5)


def test_mirrored_people_turn_the_other_way():
    targets = jointbdoe.Targets(torch.tensor([[10.0, 0, 30, 40]]), torch.zeros(1).long(), torch.zeros(1).long(), torch.tensor([0.25]))
    turned = jointbdoe.mirrored(targets, 100.0)
    assert turned.boxes.tolist() == [[70, 0, 90, 40]] and turned.turns.tolist() == [0.75]
