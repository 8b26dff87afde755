"""AiOS's training: everybody gets the right query, a perfect answer costs nothing, noise is undone, every parameter learns."""

from dataclasses import replace

import pytest
import torch

from random_body import random_body
from vitruvian.body.torch import TorchBody
from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.systems.mesh.aios import VARIANTS, AiOS
from vitruvian.systems.mesh.aios_decoder import Body
from vitruvian.systems.mesh.aios_loss import (
    BOX_NOISE,
    WEIGHTS,
    Truth,
    aios_loss,
    denoising,
    denoising_terms,
    layer_terms,
    match,
    pose,
    similarity,
)

NANO = VARIANTS["nano"]
SIZES = torch.tensor([[96.0, 64.0], [96.0, 64.0]])


@pytest.fixture(scope="module")
def body():
    torch.set_num_threads(1)
    return TorchBody(random_body("smplx")).float()


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = AiOS(replace(NANO, queries=12))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module.weight.abs().max() < 1e-6:
                module.weight.normal_(std=0.02)
    return model


def images(seed=0):
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def truth_of(found, rows, body):
    """Some of the people that a layer found, (picture, query), as the truth."""
    picture, query = torch.tensor(rows).unbind(1)
    take = lambda values: values[picture, query].detach()  # noqa: E731
    mine = Body(*map(take, found.body))
    joints = pose(body, mine, True)
    flat = joints[..., :2] / joints[..., 2:].clamp(min=0.1) * WEAK_FOCAL / SIZES[picture][:, None] + 0.5
    yes = lambda *shape: torch.ones(len(rows), *shape, dtype=torch.bool)  # noqa: E731
    return Truth(
        *(picture, take(found.boxes), take(found.hands), yes(2), take(found.faces), yes(), take(found.keypoints), yes(17)),
        *(take(found.hand_keypoints), yes(2, 6), take(found.face_keypoints), yes(6), mine, yes(), joints, flat),
    )


def nobody(truth):
    return Truth(*(Body(*(x[:0] for x in value)) if isinstance(value, Body) else value[:0] for value in truth))


@pytest.fixture
def scene(network, body):
    """A network's answer, and three of another's people, none of them at the edge, as the truth."""
    with torch.no_grad():
        last = network.eval()(images()).last
    return last, truth_of(last, [(0, 2), (1, 3), (1, 0)], body)


def test_everybody_gets_the_query_that_says_so(scene):
    found, truth = scene
    picture, query, row = match(found, truth)
    assert sorted(zip(picture.tolist(), query.tolist(), row.tolist(), strict=True)) == [(0, 2, 0), (1, 0, 2), (1, 3, 1)]


def test_more_people_than_queries_leave_some_out(scene):
    found, truth = scene
    crowd = Truth(*(Body(*(x.repeat_interleave(3, 0) for x in v)) if isinstance(v, Body) else v.repeat_interleave(3, 0) for v in truth))
    picture, query, row = match(found, crowd)
    assert (picture == 1).sum() == 4 and len(set(zip(picture.tolist(), query.tolist(), strict=True))) == len(row) == 7


def test_a_perfect_answer_costs_nothing_but_doubt(scene, body):
    found, truth = scene
    terms = layer_terms(found, truth, SIZES, body)
    assert set(terms) == set(WEIGHTS)
    wrong = {name: float(value) for name, value in terms.items() if name != "class" and value.abs() > 1e-4}
    assert not wrong and terms["class"] > 0


def test_each_error_shows_in_its_terms(scene, body):
    found, truth = scene
    aim = {"hands": ("hands", "hands_giou"), "faces": ("faces", "faces_giou"), "keypoints": ("keypoints", "keypoints_oks")}
    aim |= {"hand_keypoints": ("hand_keypoints", "hand_keypoints_oks"), "face_keypoints": ("face_keypoints", "face_keypoints_oks")}
    for field, names in aim.items():
        terms = layer_terms(found, truth._replace(**{field: getattr(truth, field) + 0.02}), SIZES, body)
        assert {name for name, value in terms.items() if value.abs() > 1e-4} - {"class"} == set(names), field


def test_what_is_not_seen_does_not_count(scene, body):
    found, truth = scene
    hidden = {f"{name}_seen": torch.zeros_like(getattr(truth, f"{name}_seen")) for name in ("hands", "faces", "keypoints")}
    off = {name: getattr(truth, name) + 0.3 for name in ("hands", "faces", "keypoints", "joints", "joints_2d")}
    terms = layer_terms(found, truth._replace(**hidden, **off, posed=torch.zeros(3, dtype=torch.bool)), SIZES, body)
    counted = {name for name, value in terms.items() if value.abs() > 1e-4}
    # Points of hands and face are judged by the size of their box, which moved; all of them are where they should be.
    assert counted <= {"class"}


def test_nobody_costs_only_false_people(scene, body):
    found, truth = scene
    terms = layer_terms(found, nobody(truth), SIZES, body)
    assert terms.pop("class") > 0 and all(value == 0 for value in terms.values())


def test_similarity_of_points():
    boxes, seen = torch.tensor([[0.5, 0.5, 0.2, 0.4]]), torch.tensor([[True, False]])
    truth = torch.zeros(1, 2, 2)
    assert similarity(truth, truth, seen, boxes, torch.full((2,), 0.1)) == 1
    off = truth.clone()
    off[0, 0, 0], off[0, 1] = 0.05, 9.0
    expected = torch.tensor(-(0.05**2) / (2 * 0.08 * 0.2**2)).exp()
    assert torch.allclose(similarity(off, truth, seen, boxes, torch.full((2,), 0.1)), expected)


def test_denoising_queries_start_near_their_people(scene):
    _, truth = scene
    torch.manual_seed(1)
    wanted = denoising(truth, 2, torch.nn.Embedding(3, 8), count=10)
    noisy, row = wanted
    assert row.shape == (2, 10) and (row[0, 1::2] == -1).all() and row[1].tolist() == [1, 2] * 5
    there = row >= 0
    box = truth.boxes[row.clamp(min=0)]
    gap = (noisy.boxes - box).abs() - BOX_NOISE * torch.cat((box[..., 2:], box[..., 2:]), -1)
    assert (gap[there] <= 1e-3).all() and ((noisy.boxes - box).abs()[there] > 0).any()
    assert (noisy.content[~there] == 0).all() and not noisy.blocked[:2, :2].any() and noisy.blocked[:2, 2:].all()


def test_nobody_has_no_denoising_queries(scene):
    assert denoising(nobody(scene[1]), 2, torch.nn.Embedding(3, 8)) is None


def test_denoising_queries_do_not_change_the_others(network, scene):
    torch.manual_seed(2)
    wanted = denoising(scene[1], 2, network.finder.label_enc, count=6)
    network.eval()
    with torch.no_grad():
        alone, beside = network(images()).last, network(images(), noisy=wanted.noisy).last
    assert torch.allclose(alone.boxes, beside.boxes, atol=1e-5) and torch.allclose(alone.body.rotations, beside.body.rotations, atol=1e-4)
    terms = denoising_terms(beside, wanted, scene[1])
    assert set(terms) == {"class", "boxes", "boxes_giou"} and all(value.isfinite() for value in terms.values())


def test_gradient_reaches_every_parameter(network, scene, body):
    _, truth = scene
    torch.manual_seed(3)
    moved = truth._replace(boxes=truth.boxes * 0.9 + 0.03, keypoints=truth.keypoints + 0.01, joints=truth.joints + torch.randn(3, 55, 3))
    network.train()
    wanted = denoising(moved, 2, network.finder.label_enc, count=6)
    loss = aios_loss(network(images(1), noisy=wanted.noisy), moved, SIZES, body, wanted)
    loss.backward()
    dead = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # No loss reads the sizes of keypoints' references, in published training neither.
    sizes = ("hw.", "hw_lhand_kps", "hw_rhand_kps", "hw_face_kps", "pose_hw_", "pose_hand_hw_", "pose_face_hw_")
    assert loss.isfinite() and not {name for name in dead if not name.removeprefix("finder.decoder.").startswith(sizes)}
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_loss_of_nobody_is_finite_and_without_body_fine(network, scene):
    _, truth = scene
    output = network.train()(images())
    for who in (truth, nobody(truth)):
        loss = aios_loss(output, who)
        assert loss.isfinite()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.slow
def test_a_picture_is_learned(body):
    torch.manual_seed(4)
    network = AiOS(replace(NANO, queries=12))
    with torch.no_grad():
        truth = truth_of(network.eval()(images(5)).last, [(0, 1), (1, 2)], body)
    truth = truth._replace(boxes=torch.tensor([[0.3, 0.5, 0.3, 0.6], [0.6, 0.4, 0.4, 0.5]]))
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        wanted = denoising(truth, 2, network.finder.label_enc, count=6)
        loss = aios_loss(network(images(), noisy=wanted.noisy), truth, SIZES, body, wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss))
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
