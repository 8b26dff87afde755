"""Multi-HMR's labels, losses and bodies: what is asked for is what is said, and every term pulls."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from random_body import random_body
from vitruvian.body.anny import TO_Y_UP
from vitruvian.body.compact import load_compact
from vitruvian.body.model import subset
from vitruvian.body.pose import rotation_matrices
from vitruvian.body.torch import TorchBody
from vitruvian.codecs.mesh import body_pose, decode
from vitruvian.errors import VitruvianError
from vitruvian.systems.mesh.bodies import body_parameters, labelled
from vitruvian.systems.mesh.camera import default_intrinsics
from vitruvian.systems.mesh.multi_hmr import VARIANTS, MultiHMR
from vitruvian.systems.mesh.multi_hmr_loss import (
    LATE,
    WEIGHTS,
    Labelled,
    depth_code,
    detection_loss,
    encode_targets,
    loss_terms,
    multi_hmr_loss,
)

NANO = VARIANTS["nano"]
SIZE = NANO.image_size


@pytest.fixture(scope="module")
def body():
    torch.set_num_threads(1)
    return TorchBody(random_body("smplx")).float()


@pytest.fixture
def scene(body):
    """A network, its prediction of three people in two pictures, and another network's as the truth."""
    torch.manual_seed(0)
    image, camera = torch.randn(2, 3, SIZE, SIZE), default_intrinsics(SIZE).repeat(2, 1, 1)
    cells = torch.tensor([[0, 1, 2], [1, 2, 2], [1, 4, 3]])

    def say(network):
        features = network.encode(image)
        return labelled(body, network.people(features, camera, cells), features.scores, camera[cells[:, 0]])

    with torch.no_grad():
        truth = say(MultiHMR(NANO))
    scores = torch.zeros(2, NANO.grid, NANO.grid)
    scores[tuple(cells.T)] = 1
    network = MultiHMR(NANO)
    return network, say, truth._replace(scores=scores)


def points(n, seed=0):
    """A prediction of nothing but random numbers."""
    random = torch.Generator().manual_seed(seed)
    shapes = ((n, 2), (n, 53, 3, 3), (n, 10), (n,), (n, 3), (n, 3), (n, 5, 3), (n, 7, 3), (n, 5, 2), (n, 7, 2))
    values = [torch.randn(shape, generator=random) for shape in shapes]
    values[-2:] = [20 + value for value in values[-2:]]
    return Labelled(torch.rand(2, 4, 4, generator=random), *values)


def test_a_head_in_the_middle_of_a_patch_has_no_offset():
    targets = encode_targets(torch.tensor([[35.0, 49.0], [30.8, 9.8]]), torch.tensor([2.0, 3.0]), torch.tensor([0, 1]), 2, NANO)
    assert targets.cells.tolist() == [[0, 3, 2], [1, 0, 2]]
    assert torch.allclose(targets.offset, torch.tensor([[0.0, 0.0], [-0.3, 0.2]]), atol=1e-6)
    assert targets.scores.sum() == 2 and targets.scores[0, 3, 2] == 1 and targets.kept.tolist() == [0, 1]


def test_of_two_heads_in_a_patch_the_nearer_is_kept():
    heads, depths = torch.tensor([[35.0, 49.0], [36.0, 50.0], [36.0, 50.0]]), torch.tensor([4.0, 2.0, 9.0])
    targets = encode_targets(heads, depths, torch.tensor([0, 0, 1]), 2, NANO)
    assert targets.kept.tolist() == [1, 2] and targets.scores.sum() == 2


def test_a_head_outside_counts_at_the_edge():
    targets = encode_targets(torch.tensor([[-20.0, 200.0]]), torch.tensor([2.0]), torch.tensor([0]), 1, NANO)
    assert targets.cells.tolist() == [[0, 5, 0]] and targets.offset.abs().max() > 0.5


def test_no_people_have_empty_labels():
    targets = encode_targets(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0, dtype=torch.long), 3, NANO)
    assert targets.scores.shape == (3, 6, 6) and targets.cells.shape == (0, 3) and targets.offset.shape == (0, 2)


@pytest.mark.parametrize("name", ["nano", "anny-nano", "compact-nano"])
def test_depth_code_is_the_inverse_of_metres(name):
    model = MultiHMR(VARIANTS[name])
    depth, focal = torch.tensor([[0.7], [4.0], [30.0]]), torch.tensor([[60.0], [90.0], [200.0]])
    assert torch.allclose(model.metres(depth_code(depth, focal, model.config), focal), depth, rtol=1e-4)


def test_labels_say_where_the_network_would_find_them():
    heads = torch.tensor([[11.0, 70.0]])
    targets = encode_targets(heads, torch.tensor([2.0]), torch.tensor([0]), 1, NANO)
    _, row, column = targets.cells[0]
    assert torch.allclose((torch.stack((column, row)) + 0.5 + targets.offset[0]) * 14, heads[0])


def test_the_truth_itself_costs_only_detection():
    truth = points(3)._replace(scores=torch.eye(4).repeat(2, 1, 1))
    terms = loss_terms(truth, truth, 200)
    assert all(value == 0 for name, value in terms.items() if name != "detection") and terms["detection"] < 1e-5


def test_terms_are_those_with_weights_and_points_in_the_picture_come_late():
    prediction, truth = points(3), points(3, 1)._replace(scores=torch.eye(4).repeat(2, 1, 1))
    terms = loss_terms(prediction, truth, 200)
    early = multi_hmr_loss(prediction, truth, 200, 9)
    assert set(terms) == set(WEIGHTS)
    assert torch.allclose(multi_hmr_loss(prediction, truth, 200, 10) - early, sum(terms[name] for name in LATE), rtol=1e-4)


def test_nobody_costs_nothing_but_detection():
    nobody = points(0)._replace(scores=torch.full((2, 4, 4), 0.5))
    terms = loss_terms(nobody, nobody._replace(scores=torch.zeros(2, 4, 4)), 200)
    assert terms["detection"] > 0 and all(value == 0 for name, value in terms.items() if name != "detection")


def test_points_outside_the_picture_and_terms_without_a_number_do_not_count():
    prediction, truth = points(2), points(2, 1)._replace(scores=torch.eye(4).repeat(2, 1, 1))
    terms = loss_terms(prediction, truth._replace(joints_2d=truth.joints_2d - 500, translation=truth.translation * torch.nan), 200)
    assert terms["joints_2d"] == 0 and terms["translation"] == 0 and terms["joints"] > 0


def test_detection_is_cheaper_the_surer_it_is_right():
    target = torch.zeros(1, 3, 3)
    target[0, 1, 1] = 1
    costs = [detection_loss(0.5 + sure * (target - 0.5), target).item() for sure in (-0.8, 0.0, 0.8)]
    assert costs[0] > costs[1] > costs[2] > 0


@pytest.mark.parametrize("term", WEIGHTS)
def test_gradient_of_each_term_is_finite_and_not_zero(scene, term):
    network, say, truth = scene
    # Everybody's points count, wherever they are seen.
    loss_terms(say(network), truth._replace(joints_2d=truth.joints_2d * 0 + 40, vertices_2d=truth.vertices_2d * 0 + 40), SIZE)[
        term
    ].backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads) and sum(grad.abs().sum() for grad in grads) > 0


def test_loss_falls_in_training(scene):
    network, say, truth = scene
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    costs = []
    for _ in range(12):
        loss = multi_hmr_loss(say(network), truth, SIZE, epoch=0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        costs.append(loss.item())
    assert costs[-1] < 0.8 * costs[0]


def test_the_body_s_head_is_where_it_was_seen(body):
    network = MultiHMR(NANO).eval()
    camera = default_intrinsics(SIZE)[None]
    with torch.inference_mode():
        _, people = network(torch.randn(1, 3, SIZE, SIZE), camera, threshold=0.0)
        parameters = body_parameters(body, people)
        out = body(parameters.pose, parameters.shape, parameters.expression, parameters.translation)
    head = body.model.joint_names.index("head")
    assert len(parameters.pose) and torch.allclose(out.joints[:, head], people.translation, atol=1e-4)
    assert torch.allclose(out.rotations[:, 0], people.rotations[:, 0], atol=1e-4)


def test_joints_go_to_their_names(body):
    network = MultiHMR(NANO).eval()
    with torch.inference_mode():
        _, people = network(torch.randn(1, 3, SIZE, SIZE), threshold=0.0)
        rotations = body_pose(body.model, people.rotations)
    at = body.model.joint_names.index
    assert torch.equal(rotations[:, at("jaw")], people.rotations[:, 52])
    assert torch.equal(rotations[:, at("left_index1")], people.rotations[:, 22])
    assert torch.equal(rotations[:, at("right_index1")], people.rotations[:, 37])
    assert torch.equal(rotations[:, at("right_wrist")], people.rotations[:, 21])
    assert (rotations[:, at("left_eye")] == torch.eye(3)).all()


def test_nobody_has_a_body(body):
    network = MultiHMR(NANO).eval()
    with torch.inference_mode():
        _, people = network(torch.randn(1, 3, SIZE, SIZE), threshold=1.1)
        assert body_parameters(body, people).pose.shape == (0, 55, 3)


def test_the_ground_floor_poses_the_same_bodies(body):
    network = MultiHMR(NANO).eval()
    with torch.inference_mode():
        _, people = network(torch.randn(1, 3, SIZE, SIZE), default_intrinsics(SIZE)[None], threshold=0.0)
        expected = body_parameters(body, people)
    names = {"translations": "translation", "rotations": "rotations", "shapes": "shape", "expressions": "expression"}
    outputs = {name: getattr(people, field).numpy() for name, field in names.items()} | {"scores": np.ones(len(people.depth))}
    scores, found = decode(outputs, body.model, 0.3)
    kept = people.translation[:, 2] > 0.05
    assert len(scores) == int(kept.sum()) > 0
    for name in ("shape", "expression", "translation"):
        assert np.allclose(getattr(found, name), getattr(expected, name)[kept].numpy(), atol=1e-4)
    assert np.allclose(rotation_matrices(found.pose), rotation_matrices(expected.pose[kept].numpy()), atol=1e-4)


def test_the_compact_body_takes_the_rotations_as_they_are():
    config = VARIANTS["compact-nano"]
    network, compact = MultiHMR(config).eval(), TorchBody(subset(load_compact(), np.arange(9))).float()
    camera = default_intrinsics(config.image_size)[None]
    with torch.inference_mode():
        features = network.encode(torch.randn(1, 3, config.image_size, config.image_size))
        people = network.people(features, camera, torch.tensor([[0, 1, 1], [0, 2, 3]]))
        said = labelled(compact, people, features.scores, camera)
    head = compact.model.joint_names.index("head")
    assert torch.equal(body_pose(compact.model, people.rotations), people.rotations) and people.shape.shape == (2, config.shapes)
    assert torch.allclose(said.joints[:, head], people.translation, atol=1e-4)
    upright = said.joints[:, head, 1] < said.joints[:, compact.model.joint_names.index("left_ankle"), 1]
    assert upright.all()  # untrained, everybody stands: y is down


def test_patches_that_do_not_count_give_no_gradient():
    scores = torch.full((1, 2, 2), 0.5, requires_grad=True)
    detection_loss(scores, torch.tensor([[[1.0, 0.0], [torch.nan, 0.0]]])).backward()
    assert scores.grad.isfinite().all() and scores.grad[0, 1, 0] == 0 and scores.grad[0, 0, 0] != 0


def anny_like(joints=163):
    """A body of random numbers in the axes of Anny's package, with its number of joints."""
    random, small = np.random.default_rng(2), random_body("smplx")
    weights = random.uniform(0, 1, (60, joints)) ** 8
    return replace(
        small,
        kind="anny",
        hands={},
        joint_names=("root", "head", *(f"bone{i}" for i in range(joints - 2))),
        parents=(-1, *random.integers(0, np.arange(1, joints))),
        weights=weights / weights.sum(1, keepdims=True),
        joints=random.normal(0, 0.4, (joints, 3)),
        joint_shape_directions=random.normal(0, 0.05, (10, joints, 3)),
        joint_expression_directions=np.zeros((10, joints, 3)),
    )


def test_anny_turned_to_y_up_is_the_same_person():
    theirs = anny_like()
    turn = TO_Y_UP.T
    names = ("template", "joints", "shape_directions", "joint_shape_directions", "expression_directions", "joint_expression_directions")
    ours = replace(theirs, **{name: getattr(theirs, name) @ turn for name in names})
    network = MultiHMR(VARIANTS["anny-nano"]).eval()
    with torch.inference_mode():
        _, people = network(torch.randn(1, 3, SIZE, SIZE), threshold=0.0)
        shape = torch.cat((people.shape[:, :6], torch.zeros(len(people.shape), 4)), 1)
        expected = TorchBody(theirs).float()(people.rotations, shape)
        body = TorchBody(ours).float()
        found = body(body_pose(ours, people.rotations), shape, None, body_parameters(body, people).translation)
    shift = people.translation - expected.joints[:, 1]
    assert torch.allclose(found.vertices, expected.vertices + shift[:, None], atol=1e-4)


def test_a_body_that_does_not_fit_is_refused():
    network = MultiHMR(VARIANTS["anny-nano"]).eval()
    with torch.inference_mode():
        _, people = network(torch.randn(1, 3, SIZE, SIZE), threshold=0.0)
    with pytest.raises(VitruvianError, match="makehuman"):
        body_pose(anny_like(104), people.rotations)
