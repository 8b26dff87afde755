"""PyMAF-X: files recognised by their shapes, points and loop, hands fitted to arms, nobody, the batch, gradients, losses, ONNX."""

import math
import re

import numpy as np
import pytest
import torch

from published_bodies import entries
from vitruvian.body.bodyfile import save_body
from vitruvian.body.pose import rotation_vectors
from vitruvian.body.published import from_arrays
from vitruvian.body.torch import TorchBody, rotation_matrices
from vitruvian.errors import FormatError, VitruvianError, WeightsError
from vitruvian.nn.iuv import COARSE_OF, IUV, IUVLabels
from vitruvian.systems.export import export_onnx
from vitruvian.systems.mesh.pymaf_x import (
    DROP,
    VARIANTS,
    Deployed,
    PyMAFX,
    exported,
    from_published,
    infer_config,
    part_camera,
    project,
    read_features,
    read_regressor,
    sampling_tables,
)
from vitruvian.systems.mesh.pymaf_x_bodies import USERS_BODIES, LoopMeshes, PointMesh, final_bodies, right_hand_turns
from vitruvian.systems.mesh.pymaf_x_features import grid_points, read_points
from vitruvian.systems.mesh.pymaf_x_loss import WEIGHTS, Labelled, dense_loss, loss_terms, pymaf_x_loss
from vitruvian.systems.mesh.pymaf_x_regressor import (
    ARMS,
    MOST_TWIST,
    State,
    integrate,
    mirror,
    plain_pose,
    rotations,
    twist_angle,
    upright,
)

NANO = VARIANTS["nano"]
SIZE = NANO.image_size


def build():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = PyMAFX(NANO)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv1d | torch.nn.ConvTranspose2d | torch.nn.Conv2d):
                layer.weight.normal_(std=1 / math.sqrt(layer.weight[0].numel()))
        for name, layer in model.regressor.named_modules():
            if ".dec" in name:
                layer.weight.mul_(0.1)
    return model


@pytest.fixture
def model():
    return build().eval()


def bodies(seed=0):
    return [from_arrays(entries(kind, seed), num_expression=10 if kind == "smplx" else None) for kind in ("smpl", "mano", "flame")]


@pytest.fixture(scope="module")
def meshes():
    return loop_meshes()


def loop_meshes(portable=False):
    table = torch.zeros(12, 40)
    table[torch.arange(12), torch.arange(12) * 3] = 1
    return LoopMeshes(*bodies(), table, torch.arange(8) * 2, torch.arange(6) * 5, portable=portable)


def crops(n, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, SIZE, SIZE, generator=generator) for _ in range(4)]


def random_state(n=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = (144, 10, 3, 90, 90, 18, 50, 10, 10, 100, 6, 6, 6, 3, 3, 3, 2)
    return State(*(torch.randn(n, size, generator=generator) for size in sizes))


def published(state):
    """Our names as published files have them, by hand from the card's table."""
    out = {}
    for name, value in state.items():
        if name.startswith("features."):
            _, part, number, rest = name.split(".", 3)
            if rest.startswith("reducer."):
                name = f"maf_extractor.{part}.{number}.{rest.removeprefix('reducer.')}"
            elif rest.startswith("reduce."):
                name = f"att_feat_reduce.{part}.{int(number) - 1}.{rest.removeprefix('reduce.')}"
            else:
                layer, kind = rest.removeprefix("attention.").split(".")
                places = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value"}
                places |= {"dense": "attention.output.dense", "norm1": "attention.output.LayerNorm", "fc1": "intermediate.dense"}
                places |= {"fc2": "output.dense", "norm2": "output.LayerNorm"}
                inner = f"encoder.layer.0.{places[layer]}" if layer in places else layer
                name = f"align_attention.{part}.{int(number) - 1}.{inner}.{kind}"
        out[name] = value
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_inferred_from_shapes_alone(name):
    with torch.device("meta"):
        assert infer_config(PyMAFX(VARIANTS[name]).state_dict(), VARIANTS[name].image_size) == VARIANTS[name]


def test_nano_is_small(model):
    assert sum(p.numel() for p in model.parameters()) < 1_000_000


def test_published_names_are_read(model):
    state = published(model.state_dict())
    state["regressor.1.body_model.v_template"] = torch.zeros(1)
    state |= {"mesh_sampler.Dmap": torch.zeros(1), "mesh_sampler.Umap": torch.zeros(1), "mano_sampler.Dmap": torch.ones(1)}
    state |= {"flame_sampler.sampling_idx": torch.zeros(1), "maf_extractor.body.1.Dmap": torch.zeros(1)}
    config, again = from_published(state, SIZE)
    assert config == NANO
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert set(sampling_tables(state)) == {"body", "hand", "face"}
    assert set(again.tables) == {"body", "hand", "face"} and sampling_tables(model.state_dict()) == {}
    kept = {name for name in state if not any(re.search(pattern, name) for pattern in DROP)}
    assert {"mesh_sampler.Dmap", "flame_sampler.sampling_idx"} <= kept and "mesh_sampler.Umap" not in kept


def test_the_released_size_is_read_without_hrnet_s_coarsest_output():
    from vitruvian.nn.hrnet import HRNet
    from vitruvian.systems.checkpoint import check_fit, rename
    from vitruvian.systems.mesh.pymaf_x import DROP, KEYMAP

    with torch.device("meta"):
        model = PyMAFX(VARIANTS["hr48"])
        state = published(model.state_dict())
        state |= {f"encoders.body.{name}": value for name, value in HRNet(48).state_dict().items()}
        check_fit(model, rename(state, KEYMAP, DROP))


def test_parts_of_files_are_read(model):
    state = published(model.state_dict())
    own = {name: value for name, value in state.items() if name.startswith("regressor.1.")}
    assert torch.equal(read_regressor(own, 1).fc3_face.weight, model.regressor[1].fc3_face.weight)
    hand = {name: value for name, value in state.items() if ".hand." in name and not name.startswith("encoders")}
    found = [(part, number) for part, number, _ in read_features(hand)]
    assert found == [("hand", 0), ("hand", 1), ("hand", 2)]


@pytest.mark.parametrize("damage", ["missing", "extra", "shape"])
def test_other_files_are_refused(model, damage):
    state = dict(model.state_dict())
    if damage == "missing":
        del state["regressor.1.decexp.weight"]
    elif damage == "extra":
        state["something.else"] = torch.zeros(1)
    else:
        state["dp_head.predict_u.bias"] = torch.zeros(26)
    with pytest.raises(WeightsError):
        from_published(state, SIZE)


def test_grid_goes_down_before_it_goes_right():
    points = grid_points(21)[0]
    assert torch.allclose(points[:, 1], torch.tensor([-1.0, -0.9])) and torch.allclose(points[:, 21], torch.tensor([-0.9, -1.0]))


def test_points_are_read_where_they_lie():
    maps = torch.zeros(1, 1, 4, 8)
    maps[0, 0, 1, 6] = 1
    points = torch.tensor([[[2 * 6.5 / 8 - 1, 2 * 1.5 / 4 - 1], [0.0, 0.0], [5.0, 5.0]]])
    assert torch.allclose(read_points(maps, points), torch.tensor([[[1.0, 0, 0]]]), atol=1e-6)


def test_projection_is_nearly_weak_perspective():
    points = torch.randn(2, 9, 3) * 0.3
    camera = torch.tensor([[0.9, 0.1, -0.2], [0.7, 0.0, 0.3]])
    plain = camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])
    assert torch.allclose(project(points, camera, 224), plain, atol=0.01)
    assert torch.allclose(part_camera(camera), torch.tensor([[9.0, 0.01, -0.02], [7.0, 0.0, 0.03]]))


def test_crops_that_do_not_go_together_are_refused(model, meshes):
    a, b, c, d = crops(2)
    with pytest.raises(VitruvianError, match="crops"):
        model(a, b, c, d[:1], meshes)
    with pytest.raises(VitruvianError, match="crops"):
        model(a, b, torch.zeros(2, 3, 8, 8), d, meshes)


def test_batch_equals_single(model, meshes):
    images = crops(3)
    with torch.inference_mode():
        together, alone = model(*images, meshes), model(*(x[1:2] for x in images), meshes)
    for a, b in zip((*together.pose, *together.states[-1]), (*alone.pose, *alone.states[-1]), strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a[1:2], b, atol=1e-3)


def test_nobody_is_fine(model, meshes):
    smplx = TorchBody(from_arrays(entries("smplx"))).float()
    with torch.inference_mode():
        none = model(*crops(0), meshes)
        some = model(*crops(1), meshes)
    assert [tuple(x.shape) for x in none.pose] == [(0, *x.shape[1:]) for x in some.pose]
    assert final_bodies(smplx, none, SIZE).vertices.shape == (0, 40, 3)
    assert final_bodies(smplx, some, SIZE).vertices.isfinite().all() and right_hand_turns(some).shape == (1, 16, 3, 3)


def test_later_iterations_look_at_the_mesh(model, meshes):
    other = loop_meshes()
    other.body_mesh.mesh.template += 0.1
    with torch.inference_mode():
        a, b = model(*crops(2), meshes), model(*crops(2), other)
    assert torch.equal(a.states[0].pose, b.states[0].pose)
    assert not torch.allclose(a.states[1].pose, b.states[1].pose, atol=1e-6)


def test_expression_starts_anew_and_pose_goes_on(model, meshes):
    state = random_state(2)
    regressor = model.regressor[1]
    with torch.inference_mode():
        maps = model.encode(*crops(2))
        features = model.look(maps, 1, model.points(state, meshes))
        again = state._replace(expression=state.expression + 5)
        moved = state._replace(pose=state.pose + 5)
        first, second, third = (regressor(features, s) for s in (state, again, moved))
    assert torch.equal(first.expression, second.expression) and (third.pose - first.pose).mean() > 4


def test_left_and_right_hands_share_their_network(model, meshes):
    body, left, right, face = crops(2)
    with torch.inference_mode():
        a, b = model(body, left, right, face, meshes), model(body, right, left, face, meshes)
    assert torch.allclose(a.states[-1].left_hand, b.states[-1].right_hand, atol=1e-4)
    assert torch.allclose(a.states[-1].left_shape, b.states[-1].right_shape, atol=1e-4)


def test_dense_correspondence_is_on_demand(model, meshes):
    assert model(*crops(1), meshes).dense is None
    dense = model(*crops(1), meshes, dense=True).dense
    assert dense.u.shape == (1, 25, SIZE // 4, SIZE // 4) and dense.annotation.shape == (1, 15, SIZE // 4, SIZE // 4)


def test_twist_is_the_turn_about_the_axis():
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(50, 3, generator=generator), dim=-1)
    angle = 2 * math.pi * (torch.rand(50, generator=generator) - 0.5) * 0.99
    assert torch.allclose(twist_angle(rotation_matrices(axis * angle[:, None]), axis), angle, atol=1e-3)
    across = torch.linalg.cross(axis, torch.randn(50, 3, generator=generator))
    swing = rotation_matrices(torch.nn.functional.normalize(across, dim=-1) * 0.8)
    assert torch.allclose(twist_angle(swing @ rotation_matrices(axis * 0.5), axis), torch.full((50,), 0.5), atol=1e-3)
    assert twist_angle(torch.eye(3)[None], axis[:1]).abs() < 1e-6


def test_twist_has_a_value_where_the_published_ratio_has_none():
    axis = torch.tensor([[1.0, -1.0, 0.0]]) / math.sqrt(2)
    assert torch.allclose(twist_angle(rotation_matrices(axis * 0.7), axis), torch.tensor([0.7]), atol=1e-4)


def world(body, joint):
    out = body[:, 0]
    for i in ARMS[joint][1:]:
        out = out @ body[:, i]
    return out


def test_integration_keeps_the_hand_and_takes_the_twist_from_the_wrist():
    state, rest = random_state(200), torch.randn(200, 24, 3, generator=torch.Generator().manual_seed(5))
    pose = integrate(state, rest, upright(15), torch.ones(200, 2, dtype=torch.bool))
    hands = (mirror(rotations(state.left_orientation))[:, 0], rotations(state.right_orientation)[:, 0])
    for elbow, hand in zip((18, 19), hands, strict=True):
        assert torch.allclose(world(pose.body, elbow) @ pose.body[:, elbow + 2], hand, atol=1e-4)
        axis = torch.nn.functional.normalize(rest[:, elbow + 2] - rest[:, elbow], dim=-1)
        assert twist_angle(pose.body[:, elbow + 2], axis).abs().max() <= MOST_TWIST + 1e-4
    before = plain_pose(state).body
    untouched = [i for i in range(24) if i not in (18, 19, 20, 21)]
    assert torch.equal(pose.body[:, untouched], before[:, untouched])
    assert torch.allclose(pose.body @ pose.body.transpose(-1, -2), torch.eye(3).expand(200, 24, 3, 3), atol=1e-4)


def test_unseen_hands_keep_the_arm_and_take_the_mean():
    state, rest, mean = random_state(4), torch.randn(4, 24, 3), torch.randn(1, 90)
    seen = torch.tensor([[True, False], [False, True], [False, False], [True, True]])
    pose, plain = integrate(state, rest, mean, seen), plain_pose(state)
    sides = (((18, 20), pose.left_hand, plain.left_hand), ((19, 21), pose.right_hand, plain.right_hand))
    for side, (joints, fingers, own) in enumerate(sides):
        expected = mirror(rotations(mean)) if side == 0 else rotations(mean)
        for person in range(4):
            kept = torch.equal(pose.body[person, list(joints)], plain.body[person, list(joints)])
            assert kept != seen[person, side]
            assert torch.equal(fingers[person], own[person] if seen[person, side] else expected[0])


def test_mirroring_turns_axes_over():
    vectors = torch.randn(5, 3)
    flipped = vectors * torch.tensor([1.0, -1, -1])
    assert torch.allclose(mirror(rotation_matrices(vectors)), rotation_matrices(flipped), atol=1e-6)


def test_tables_and_numbers_of_vertices_mean_the_same():
    hand = bodies()[1]
    turns, shape = rotation_matrices(torch.randn(2, 16, 3)), torch.randn(2, 10)
    table = torch.zeros(3, 40)
    table[torch.arange(3), torch.tensor([7, 30, 2])] = 1
    a, b = PointMesh(hand, table)(turns, shape), PointMesh(hand, torch.tensor([7, 30, 2]))(turns, shape)
    whole = TorchBody(hand).float()(turns, shape).vertices[:, [7, 30, 2]]
    assert torch.allclose(a, b, atol=1e-6) and torch.allclose(a, whole, atol=1e-5)
    mixed = 0.5 * table[:1] + 0.5 * table[1:2]
    assert torch.allclose(PointMesh(hand, mixed)(turns, shape)[:, 0], whole[:, :2].mean(1), atol=1e-5)


def test_smplx_may_be_the_body_in_the_loop(model):
    smplx, hand, face = from_arrays(entries("smplx")), *bodies()[1:]
    loop = LoopMeshes(smplx, hand, face, torch.arange(12), torch.arange(8), torch.arange(6))
    turns = rotation_matrices(torch.randn(2, 24, 3))
    points = loop.body(turns, torch.zeros(2, 10))
    mean = [torch.as_tensor(smplx.hands[side].mean).float().reshape(1, 15, 3) for side in ("left_hand", "right_hand")]
    vectors = torch.cat((rotation_vectors(turns[:, :22]), torch.zeros(2, 3, 3), *(m.expand(2, -1, -1) for m in mean)), 1)
    assert torch.allclose(points, TorchBody(smplx).float()(vectors).vertices[:, :12], atol=1e-4)
    assert model(*crops(1), loop).pose.body.isfinite().all()


def test_other_models_and_tables_are_refused():
    smpl, hand, face = bodies()
    rows = torch.arange(4)
    with pytest.raises(VitruvianError, match="mano"):
        LoopMeshes(smpl, face, face, rows, rows, rows)
    with pytest.raises(VitruvianError, match="table"):
        LoopMeshes(smpl, hand, face, torch.zeros(4, 39), rows, rows)


def test_gradient_reaches_every_parameter(meshes):
    model = build().train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # the coarsest maps have one cell only
    out = model(*crops(2), meshes, dense=True)
    values = [*(x for state in out.states for x in state), *out.pose, *out.dense]
    sum((x * torch.randn_like(x)).sum() for x in values).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_nothing_flows_back_through_an_iteration(meshes):
    model = build().eval()
    model(*crops(1), meshes).states[2].pose.sum().backward()
    assert model.regressor[1].fc1.weight.grad is None and model.regressor[2].fc1.weight.grad.abs().sum() > 0


@pytest.mark.slow
def test_onnx_equals_torch(tmp_path):
    network = Deployed(build().eval(), loop_meshes(portable=True))
    example = (*(torch.zeros(1, 3, SIZE, SIZE) for _ in range(4)), torch.zeros(1, 2))
    assert export_onnx(network, example, tmp_path / "pymaf_x.onnx", network.INPUTS, network.OUTPUTS) < 1e-2


def test_an_export_takes_the_user_s_body_files(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path))
    network = build().eval()
    with pytest.raises(WeightsError, match="tables"):
        exported(NANO, network).network()
    network.tables = {"body": torch.eye(12, 40), "hand": torch.eye(8, 40), "face": torch.arange(6) * 5}
    with pytest.raises(FormatError, match="smpl-neutral"):
        exported(NANO, network).network()
    for name, model in zip(USERS_BODIES, bodies(), strict=True):
        save_body(model, tmp_path / "bodies" / f"{name}.npz")
    found = exported(NANO, network)
    with torch.inference_mode():
        outputs = found.network()(*crops(2), torch.ones(2, 2))
    assert found.card.body == "smplx-neutral" and [x.shape[0] for x in outputs] == [2] * len(found.outputs)


def random_labels(seed, n=2):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((5, 2), (5, 3), (7, 2), (6, 3), (7, 2), (24, 3, 3), (30, 3, 3), (3, 3, 3), (10,), (50,), (2,))
    return Labelled(*(torch.randn(n, *shape, generator=generator) for shape in shapes))


def everything(n=2):
    return Labelled(*(torch.ones(n, *[1] * (x.ndim - 1)) for x in random_labels(0)))


def test_the_truth_costs_nothing_but_the_camera():
    truth = random_labels(0)
    terms = loss_terms(truth, truth, everything(), torch.tensor([0.9, 0.0]))
    assert all(terms[name] == 0 for name in Labelled._fields) and terms["camera"] == pytest.approx(0.5, abs=1e-4)


def test_every_term_counts_with_its_weight_in_every_iteration():
    a, b = random_labels(0), random_labels(1)
    terms = loss_terms(a, b, everything(), torch.ones(2))
    assert set(terms) == set(WEIGHTS)
    expected = 2 * sum(WEIGHTS[name] * value for name, value in terms.items())
    assert pymaf_x_loss([a, a], b, everything(), [torch.ones(2)] * 2) == pytest.approx(expected.item(), rel=1e-5)
    assert terms["body"] == pytest.approx(((a.body - b.body) ** 2).mean().item(), rel=1e-5)


def test_own_points_count_for_their_shape_only():
    truth = random_labels(0)
    moved = truth._replace(own_points_2d=truth.own_points_2d + torch.tensor([0.3, -0.2]))
    assert loss_terms(moved, truth, everything(), torch.ones(2))["own_points_2d"] < 1e-10


def test_what_is_not_known_costs_nothing_even_if_it_is_nan():
    prediction, truth = random_labels(0), random_labels(1)
    known = everything()._replace(body=torch.zeros(2, 1, 1, 1), own_points_2d=torch.zeros(2, 1, 1))
    truth = truth._replace(body=torch.full_like(truth.body, torch.nan), own_points_2d=torch.full_like(truth.own_points_2d, torch.nan))
    terms = loss_terms(prediction, truth, known, torch.ones(2))
    assert terms["body"] == 0 and terms["own_points_2d"] == 0 and terms["hands"] > 0


def test_loss_of_nobody_is_zero():
    none = Labelled(*(x[:0] for x in random_labels(0)))
    assert pymaf_x_loss([none], none, Labelled(*(x[:0] for x in everything())), [torch.ones(0)]) == 0


def test_dense_loss_falls_to_zero_at_the_truth(model, meshes):
    dense = model(*crops(2), meshes, dense=True).dense
    labels = IUVLabels(torch.randint(0, 25, (2, SIZE // 4, SIZE // 4)), *torch.rand(2, 2, SIZE // 4, SIZE // 4))
    coarse = torch.tensor(COARSE_OF)[labels.index]
    one_hot = [50.0 * torch.nn.functional.one_hot(x, n).permute(0, 3, 1, 2) for x, n in ((labels.index, 25), (coarse, 15))]
    perfect = IUV(*(x[:, None].expand(-1, 25, -1, -1) for x in (labels.u, labels.v)), *one_hot)
    assert dense_loss(perfect, labels) < 1e-4 < dense_loss(dense, labels)
    assert dense_loss(IUV(*(x[:0] for x in dense)), IUVLabels(*(x[:0] for x in labels))) == 0


def test_rest_joints_follow_the_shape(meshes):
    shapes = torch.eye(10)[:2]
    joints = meshes.rest_joints(shapes)
    expected = TorchBody(bodies()[0]).float().rest(shapes)[1]
    assert np.allclose(joints.numpy(), expected.numpy(), atol=1e-6)
