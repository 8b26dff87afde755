"""XNect's stages I and II: networks, losses, files, export."""

from dataclasses import replace

import pytest
import torch

from vitruvian.codecs.part_affinity import FEATURES
from vitruvian.errors import WeightsError
from vitruvian.nn.selecsls import SelecSLS, SelecSLSConfig, fuse, level
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.export import export_onnx, write_onnx
from vitruvian.systems.pose3d import xnect
from vitruvian.systems.pose3d.xnect import TREE, VARIANTS, Config, Maps, XNect
from vitruvian.systems.pose3d.xnect_skeleton import PELVIS

NANO = VARIANTS["nano"]


def network(config=NANO):
    torch.manual_seed(0)
    model = XNect(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.ConvTranspose2d):
                module.weight.normal_(std=0.1)
    return model


def pictures(count=2):
    return torch.randn(count, 3, *NANO.input_size[::-1])


def test_nano_is_small():
    assert sum(p.numel() for p in XNect(NANO).parameters()) < 1_000_000


def test_batch_equals_single_and_empty_is_empty():
    model = network().eval()
    images = pictures(3)
    with torch.inference_mode():
        together, alone, none = model(images), model(images[1:2]), model(images[:0])
    width, height = NANO.cells
    assert [m.shape[1:] for m in together] == [(15, height, width), (26, height, width), (42, height, width)]
    for a, b, c in zip(together, alone, none, strict=True):
        assert torch.isfinite(a).all()
        assert torch.allclose(a[1:2], b, atol=1e-4 * b.abs().max())
        assert c.shape == (0, *b.shape[1:])


def test_stage_two_is_about_the_pelvis_for_any_number_of_people():
    model = network().two.eval()
    features = torch.randn(3, FEATURES * 14)
    with torch.inference_mode():
        points, alone, none = model(features), model(features[1:2]), model(features[:0])
    assert points.shape == (3, 21, 3) and none.shape == (0, 21, 3)
    assert (points[:, PELVIS] == 0).all()
    assert torch.allclose(points[1:2], alone, atol=1e-5)


def test_losses_send_a_gradient_to_every_parameter():
    model = network()
    maps = model(pictures())
    target = Maps(*(torch.rand_like(m) for m in maps))
    total = xnect.stage_one_loss(maps, target, torch.ones_like(target.codes, dtype=torch.bool))["total"]
    points = model.two(torch.randn(4, FEATURES * 14))
    (total + xnect.stage_two_loss(points, torch.randn(4, 21, 3))).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def maps_of(value, batch=2):
    return Maps(*(torch.full((batch, c, 4, 6), value) for c in (15, 26, 42)))


def test_codes_count_only_where_bones_end():
    mask = torch.zeros(2, 42, 4, 6, dtype=torch.bool)
    assert xnect.stage_one_loss(maps_of(0.0), maps_of(1.0), mask)["codes"] == 0
    mask[0, 3:6, 1, 2] = True
    assert xnect.stage_one_loss(maps_of(0.0), maps_of(1.0), mask)["codes"] == pytest.approx(99.5)  # smooth L1 of 100 cm


def test_unlabelled_joints_do_not_count_nor_do_their_limbs():
    mask = torch.zeros(2, 42, 4, 6, dtype=torch.bool)
    labelled = torch.ones(2, 15)
    full = xnect.stage_one_loss(maps_of(0.0), maps_of(1.0), mask, labelled)
    assert full["heatmaps"] == 1 and full["affinity"] == 1
    labelled[:, XNECT_14.index("neck")] = 0
    less = xnect.stage_one_loss(maps_of(0.0), maps_of(1.0), mask, labelled)
    assert less["heatmaps"] == pytest.approx(14 / 15) and less["affinity"] == pytest.approx(8 / 13)  # five limbs meet at the neck


def test_empty_batches_lose_nothing():
    empty = maps_of(0.0, 0)
    losses = xnect.stage_one_loss(empty, empty, torch.zeros(0, 42, 4, 6, dtype=torch.bool))
    assert all(value == 0 for value in losses.values())
    assert xnect.stage_two_loss(torch.zeros(0, 21, 3), torch.zeros(0, 21, 3)) == 0


def test_bones_count_beside_joints():
    target = torch.randn(3, 21, 3)
    moved = target + torch.tensor([0.3, 0.0, 0.0])
    assert xnect.stage_two_loss(target, target) == 0
    assert xnect.stage_two_loss(moved, target) == pytest.approx((3 - 0.5) / 3, rel=1e-4)  # no bone has changed


def test_tree_has_a_limb_for_every_joint_but_the_neck():
    children = sorted(child for _, child in TREE.limbs)
    assert TREE.anchor == XNECT_14.index("neck") and children == [0, *range(2, 14)]
    assert XNECT_21.names[:14] == XNECT_14.names
    named = {(XNECT_21.names[a], XNECT_21.names[b]) for a, b in xnect.CODE_BONES}
    assert {("pelvis", "neck"), ("pelvis", "left_hip"), ("neck", "right_shoulder"), ("right_elbow", "right_wrist")} <= named


def test_own_files_come_back():
    model = network()
    config, again = xnect.from_published(model.state_dict())
    assert replace(config, input_size=NANO.input_size) == NANO and not again.training
    images = pictures()
    assert all(torch.equal(a, b) for a, b in zip(model.eval()(images), again(images), strict=True))


def test_what_does_not_fit_is_listed():
    state = network().state_dict()
    del state["one.codes.bias"]
    state["one.surprise"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"one\.codes\.bias.*one\.surprise"):
        xnect.from_published(state)
    with pytest.raises(WeightsError, match="no SelecSLS backbone"):
        xnect.from_published({"one.codes.bias": torch.zeros(3)})


@pytest.mark.parametrize("pruned", [False, True])
def test_published_backbone_goes_under_a_fresh_network(pruned):
    small = SelecSLSConfig((level(8, 2, 16), level(16, 2, 32), level(32, 2, 64)), stem=8, head=(8, 8, 8, 8), classes=3)
    torch.manual_seed(1)
    backbone = SelecSLS(small).eval()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.1, 1.0)
    backbone = fuse(backbone, 0.3) if pruned else backbone
    model = xnect.with_backbone(NANO, backbone).eval()
    image = pictures(1)
    assert torch.equal(model.one.backbone(image)[-1], backbone(image)[-1])
    assert model(image).codes.shape[1] == 42


def test_input_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        Config(input_size=(500, 320))


def test_export_of_stage_one_equals_torch(tmp_path):
    card, worst = write_onnx(xnect.exported(NANO, network().eval()), tmp_path / "stage1.onnx")
    assert worst < 1e-2
    assert card.skeleton == "xnect-14" and card.input_size == NANO.input_size


@pytest.mark.slow
def test_export_of_stage_two_equals_torch(tmp_path):
    assert export_onnx(network().two.eval(), torch.zeros(1, FEATURES * 14), tmp_path / "stage2.onnx", ("features",), ("points",)) < 1e-4
