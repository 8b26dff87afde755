"""DaNet: variants from shapes, published names, squares around joints, the graph, parts dropped, losses, ONNX."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from random_body import random_body
from vitruvian.body.torch import TorchBody
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.iuv import IUV, IUVLabels, IUVPoints, clean, cleaned_labels
from vitruvian.skeletons import SMPL_24
from vitruvian.systems.checkpoint import rename
from vitruvian.systems.export import write_onnx
from vitruvian.systems.mesh import danet, danet_loss
from vitruvian.systems.mesh.danet import PARTIAL, SHOWING, VARIANTS, DaNet, exported, from_published, half_from_published, infer_config

NANO = VARIANTS["nano"]
SIDE = 64


@pytest.fixture
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return DaNet(NANO).eval()


@pytest.fixture(scope="module")
def body():
    return TorchBody(random_body("smpl")).float()


def crops(n, seed=3):
    return torch.randn(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def published(state):
    """Our names as the released files have them, by hand from the card's table."""
    swaps = [("estimator.trunk.", "img2iuv.iuv_est."), ("estimator.maps.", "img2iuv.iuv_est.final_pred.")]
    swaps += [
        ("estimator.learned", "img2iuv.learned"),
        ("estimator.", "img2iuv.iuv_est.final_pred."),
        ("regressor.", "iuv2smpl.smpl_para_Outs."),
    ]
    out = {}
    for name, value in state.items():
        ours, theirs = next(pair for pair in swaps if name.startswith(pair[0]))
        out[theirs + name.removeprefix(ours)] = value
    return out


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_inferred_from_shapes_alone(name):
    with torch.device("meta"):
        state = DaNet(VARIANTS[name]).state_dict()
    assert infer_config(state) == VARIANTS[name]


def test_nano_is_small(model):
    assert sum(p.numel() for p in model.parameters()) < 1_000_000


def test_published_names_are_read(model):
    extra = {f"iuv2smpl.smpl_para_Outs.{name}": torch.zeros(1) for name in ("rot2pos.0.0.weight", "pos2rot.1.bias", "I_n", "A_link", "A")}
    extra |= {"iuv2smpl.smpl.v_template": torch.zeros(1)}
    state = published(model.state_dict())
    assert "iuv2smpl.smpl_para_Outs.A_mask" in state
    config, again = from_published({f"module.{name}": value for name, value in (state | extra).items()})
    assert config == NANO
    with torch.inference_mode():
        a, b = model(crops(1))[0], again(crops(1))[0]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_halves_are_read_alone(model):
    state = published(model.state_dict())
    first = half_from_published({name: value for name, value in state.items() if name.startswith("img2iuv")})
    second = half_from_published({name: value for name, value in state.items() if name.startswith("iuv2smpl")})
    with torch.inference_mode():
        estimate = first[1](crops(1))
        found, _ = second[1](clean(estimate.iuv), clean(estimate.partial))
        assert torch.equal(found.rotations, model(crops(1))[0].rotations)
    assert first[0].trunk == NANO.trunk and replace(second[0], trunk=NANO.trunk) == NANO


def test_wrong_files_are_refused(model):
    state = published(model.state_dict())
    with pytest.raises(WeightsError, match="neither"):
        from_published({"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="use from_published"):
        half_from_published(state)
    state.pop("iuv2smpl.smpl_para_Outs.mean_pose")
    with pytest.raises(WeightsError, match=r"missing 1: regressor\.mean_pose"):
        from_published(state)


def test_tables_of_the_graph_are_the_published_ones():
    case = Path(__file__).parents[1] / "parity" / "cases" / "danet" / "iuv2smpl.npz"
    with np.load(case) as archive:
        kept = {name.rsplit(".", 1)[-1]: archive[name] for name in archive.files if name.startswith("state/")}
    for name, table in zip(("r2p_A", "p2r_A", "A_mask"), danet.kinematic_tables(), strict=True):
        np.testing.assert_allclose(table.numpy(), kept[name][0], atol=1e-7)


def test_tables_of_parts_are_of_the_joint_s_side():
    left, right = {4, 5, 8, 10, 12, 14, 15, 17, 19, 21}, {3, 6, 7, 9, 11, 13, 16, 18, 20, 22}
    for joint, name in enumerate(SMPL_24.names):
        for parts in (PARTIAL[joint], SHOWING[joint]):
            if name.startswith("left"):
                assert not set(parts) & right
            elif name.startswith("right"):
                assert not set(parts) & left
        assert set(SHOWING[joint]) <= set(PARTIAL[joint]) and len(PARTIAL[joint]) == 6


def test_centres_are_where_the_heat_is():
    heat = torch.full((1, 24, 8, 16), -20.0)
    heat[:, :, 3, 4] = 20.0
    heat[0, 5] = -20.0
    heat[0, 5, 7, 15] = 20.0
    centres = danet.joint_centres(heat)
    assert torch.allclose(centres[0, 0], torch.tensor([2 * 4 / 16 - 1, 2 * 3 / 8 - 1]))
    assert torch.allclose(centres[0, 5], torch.tensor([1 - 2 / 16, 1 - 2 / 8]))


def test_squares_are_as_large_as_the_longer_bone():
    centres = torch.zeros(1, 24, 2)
    centres[0, :, 0] = torch.linspace(-0.5, 0.5, 24)
    seen, ratio, offset = torch.ones(1, 24), torch.ones(24), torch.full((24,), 0.1)
    scales = danet.part_scales(centres, seen, ratio, offset)[0]
    step = 1 / 23
    assert scales[0] == pytest.approx(0.5 + 0.1)  # half of the box of all joints
    assert scales[4] == pytest.approx(3 * step + 0.1) and scales[23] == pytest.approx(2 * step + 0.1)
    hidden = danet.part_scales(centres, seen * 0.4, ratio * 2, offset)[0]
    assert torch.allclose(hidden[1:], torch.tensor(0.8 * 0.5)) and hidden[0] == pytest.approx(2 * 0.5 + 0.1)


def test_a_joint_shows_when_one_of_its_parts_does():
    index = torch.zeros(1, 25, 9, 9)
    index[:, 0] = 1
    index[:, :, 4, 4] = 0
    index[0, 4, 4, 4] = 1  # the left hand in the middle
    shown = danet.visibility(index, torch.zeros(1, 24, 2))[0]
    assert shown.nonzero()[:, 0].tolist() == [20, 22]


def test_crops_are_squares_of_the_map():
    maps = torch.arange(81.0).view(1, 1, 9, 9)
    same = danet.crop_around(maps, torch.zeros(1, 1, 2), torch.ones(1, 1))
    assert torch.allclose(same[0, 0], maps[0], atol=1e-4)
    half = danet.crop_around(maps, torch.tensor([[[0.5, -0.5]]]), torch.full((1, 1), 0.5))
    assert torch.allclose(half[0, 0, 0, ::2, ::2], maps[0, 0, :5, 4:], atol=1e-4)
    assert (danet.crop_around(maps, torch.full((1, 1, 2), 3.0), torch.ones(1, 1)) == 0).all()


def test_dropped_parts_vanish_from_every_map_that_tells_them():
    whole, partial = clean(IUV(*torch.randn(3, 1, 25, 4, 4))), clean(IUV(*torch.randn(3, 1, 24, 7, 4, 4)))
    dropped = torch.zeros(1, 25, dtype=torch.bool)
    dropped[0, 5] = True  # the left foot: twice in the maps of ankle and foot
    less, partly = danet.drop_parts(whole, partial, dropped)
    assert (less.index[0, 5] == 0).all() and torch.equal(less.index[0, 6], whole.index[0, 6])
    gone = ((partial.index != 0) & (partly.index == 0)).flatten(3).any(-1)[0].nonzero().tolist()
    assert {tuple(x) for x in gone} <= {(7, 5), (7, 6), (10, 5), (10, 6)} and gone


def test_parts_are_drawn_at_the_rate_and_never_the_background():
    dropped = danet.draw_parts(4000, 0.3, torch.Generator().manual_seed(0))
    assert not dropped[:, 0].any() and dropped[:, 1:].float().mean() == pytest.approx(0.3, abs=0.01)


def test_batch_equals_single(model):
    with torch.inference_mode():
        together, alone = model(crops(3))[0], model(crops(3)[1:2])[0]
    for a, b in zip(together, alone, strict=True):
        assert a.isfinite().all() and torch.allclose(a[1:2], b, atol=1e-4)


def test_empty_batch(model):
    with torch.inference_mode():
        found, estimate = model(crops(0))
    assert found.rotations.shape == (0, 24, 3, 3) and estimate.partial.u.shape == (0, 24, 7, 16, 16)
    assert danet.body_parameters(found).pose.shape == (0, 24, 3)


def test_crops_of_odd_sizes_are_refused(model):
    with pytest.raises(VitruvianError, match="multiples of 32"):
        model(torch.zeros(1, 3, 60, 64))


def test_first_guess_is_a_person_upright_before_the_camera(model, body):
    with torch.inference_mode():
        found = model(crops(2))[0]
        parameters = danet.body_parameters(found)
    turns = found.rotations @ found.rotations.transpose(-1, -2)
    assert torch.allclose(turns, torch.eye(3).expand_as(turns), atol=1e-5)
    assert found.rotations[0, 0, 1, 1] < -0.5 and found.rotations[0, 5].diagonal().min() > 0.5
    out = body(parameters.pose, parameters.shape, None, parameters.translation)
    assert out.vertices.shape == (2, 60, 3) and torch.allclose(parameters.translation[:, 2], 2 * 5000 / (224 * found.camera[:, 0]))


def test_rendered_maps_do_without_a_picture(model):
    truth = labels(2)
    whole = cleaned_labels(IUVLabels(*truth))
    partial = clean(IUV(*torch.randn(3, 2, 24, 7, 16, 16)))
    with torch.inference_mode():
        found, features = model.regressor(whole, partial)
    assert found.shape.shape == (2, 10) and features.refined.shape == (2, 24, NANO.features)


def labels(n, size=SIDE // 4):
    random = torch.Generator().manual_seed(4)
    index = torch.randint(0, 25, (n, size // 4, size // 4), generator=random).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return IUVLabels(index, *torch.rand(2, n, size, size, generator=random))


def truth_of(n, points=True):
    """Labels of random people."""
    random = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(n, *shape, generator=random)  # noqa: E731
    maps = labels(n)
    rotations, yes = torch.linalg.qr(draw(24, 3, 3))[0], torch.ones(n, dtype=torch.bool)
    marks = IUVPoints(
        draw(5, 2).tanh(), torch.randint(1, 25, (n, 5)), *torch.rand(2, n, 5), yes[:, None].expand(n, 5), maps.index % 15, yes
    )
    return danet_loss.Truth(
        *(draw(24, 2).tanh(), torch.ones(n, 24, dtype=torch.bool), rotations, draw(10), draw(24, 3), yes),
        *(draw(24, 3), torch.ones(n, 24), draw(24, 2), torch.ones(n, 24), maps, yes, marks if points else None),
    )


def test_gradient_reaches_every_parameter(model, body):
    model.train()
    torch.manual_seed(1)
    found, estimate = model(crops(3), danet.draw_parts(3), jitter=True)
    joints = body.joints_only(found.rotations, found.shape)
    loss = danet_loss.danet_loss(estimate, truth_of(3), found, joints)
    loss.backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert loss.isfinite() and not dead
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_every_term_has_a_weight_and_unknown_truth_costs_nothing(model, body):
    with torch.no_grad():
        found, estimate = model(crops(2))
        joints = body.joints_only(found.rotations, found.shape)
        truth = truth_of(2)
        terms = danet_loss.map_terms(estimate, truth) | danet_loss.parameter_terms(found, joints, truth)
        no = torch.zeros(2, dtype=torch.bool)
        unknown = truth._replace(posed=no, rendered=no, points=None, centres_seen=torch.zeros(2, 24, dtype=torch.bool))
        unknown = unknown._replace(joints_confidence=torch.zeros(2, 24), joints_2d_confidence=torch.zeros(2, 24))
        nothing = danet_loss.map_terms(estimate, unknown) | danet_loss.parameter_terms(found, joints, unknown)
    assert set(terms) == set(danet_loss.WEIGHTS) and all(value > 0 for value in terms.values())
    assert {name for name, value in nothing.items() if value != 0} == {"camera"}


def test_partial_labels_tell_the_joint_s_parts():
    maps = labels(1)
    partial = danet_loss.partial_labels(maps, torch.zeros(1, 24, 2), torch.ones(1, 24))
    assert torch.equal(partial.u[0, 3], maps.u[0])
    for joint in (0, 7, 15):
        for part in range(25):
            expected = PARTIAL[joint].index(part) + 1 if part in PARTIAL[joint] else 0
            assert (partial.index[0, joint][maps.index[0] == part] == expected).all()


def test_projection_is_in_halves_of_the_crop():
    camera = torch.tensor([[0.5, 0.1, -0.2]])
    points = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    seen = danet_loss.project(points, camera)[0]
    assert torch.allclose(seen[0], torch.tensor([0.05, -0.1]), atol=1e-6) and torch.allclose(seen[1, 0] - seen[0, 0], torch.tensor(0.5))


@pytest.mark.slow
def test_onnx_equals_torch(model, tmp_path):
    card, worst = write_onnx(exported(VARIANTS["nano"], model), tmp_path / "n.onnx")
    assert worst < 1e-2 and card.body == "smpl-neutral" and card.input_size == (224, 224)


def test_renaming_drops_what_nothing_uses():
    keys = ("iuv2smpl.smpl.J", "iuv2smpl.smpl_para_Outs.rot2pos.3.0.weight", "iuv2smpl.smpl_para_Outs.A")
    assert not rename({name: torch.zeros(1) for name in keys}, danet.KEYMAP, danet.DROP)
