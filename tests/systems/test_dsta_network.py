"""DSTA: space and time stay apart, the loss is a density's, published names come back whole."""

import math

import numpy as np
import pytest
import torch

from vitruvian.errors import WeightsError
from vitruvian.skeletons import POSETRACK_17
from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose2d import dsta
from vitruvian.systems.pose2d.dsta import DSTA, LIMB_TOKENS, TOKEN_OF_JOINT, VARIANTS, Config, Prediction, RealNVP, from_published, rle_loss

NANO = VARIANTS["nano"]


def model_of(config=NANO):
    """A network whose tokens are not all but equal, and whose places in time differ."""
    torch.manual_seed(0)
    model = DSTA(config)
    torch.nn.init.normal_(model.decoder.linear.weight)
    torch.nn.init.normal_(model.time.places)
    return model.eval()


def published(model):
    """A state dict under the published names."""
    names = {
        "backbone.": "preact.",
        "decoder.linear.": "fc_coord.linear.",
        "space.places": "Spatial_pos_embed",
        "space.blocks.": "Spatial_blocks.",
        "space.norm.": "Spatial_norm.",
        "time.places": "Temporal_pos_embed",
        "time.blocks.": "blocks.",
        "time.norm.": "Temporal_norm.",
    }
    state = {}
    for name, value in model.state_dict().items():
        ours = next((prefix for prefix in names if name.startswith(prefix)), "")
        state[names.get(ours, "") + name[len(ours) :]] = value
    return state


def test_nano_is_small():
    assert sum(p.numel() for p in DSTA(NANO).parameters()) < 1_000_000


def test_batch_equals_single_in_both_layouts_and_may_be_empty():
    model = model_of()
    frames = torch.randn(3, 3, 3, 64, 48)
    with torch.inference_mode():
        together, alone, flat, none = model(frames), model(frames[1:2]), model(frames.flatten(1, 2)), model(frames[:0])
    for a, b, c, d in zip(together, alone, flat, none, strict=True):
        assert torch.isfinite(a).all()
        assert torch.allclose(a[1:2], b, atol=1e-5)
        assert torch.equal(a, c)
        assert d.shape == (0, 17, 2)
    assert torch.allclose(together.score, 1 - together.sigma.mean(-1, keepdim=True))


@pytest.mark.parametrize("aggregation", ["decoupled", "joint", "space"])
def test_loss_sends_a_gradient_to_every_parameter(aggregation):
    model = DSTA(Config(NANO.backbone, NANO.input_size, aggregation=aggregation)).train()
    torch.nn.init.normal_(model.decoder.linear.weight)
    out = model(torch.randn(2, 3, 3, 64, 48))
    rle_loss(model.flow, out, torch.rand(2, 17, 2), torch.ones(2, 17)).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_time_keeps_joints_apart():
    model = model_of()
    tokens = torch.randn(1, 3, 17, 32)
    moved = tokens.clone()
    moved[:, [0, 2], 4] = tokens[:, [2, 0], 4]  # the neighbour frames of one joint change places
    changed = (model.aggregate(moved) - model.aggregate(tokens)).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [4]


def test_space_keeps_limbs_apart():
    model = model_of()
    tokens = torch.randn(1, 3, 17, 32)
    moved = tokens.clone()
    moved[:, 1, 3] += torch.randn(32)  # the left shoulder in the key frame
    changed = (model.aggregate(moved) - model.aggregate(tokens)).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [3, 4, 5]


def test_groups_of_three_are_the_limbs():
    limbs = {}
    for joint, token in enumerate(TOKEN_OF_JOINT):
        assert token < LIMB_TOKENS
        limbs.setdefault(token // 3, set()).add(POSETRACK_17.names[joint])
    assert limbs[1] == {"left_shoulder", "left_elbow", "left_wrist"}
    assert limbs[4] == {"right_hip", "right_knee", "right_ankle"}
    assert len(limbs) == 5


def test_blank_features_give_numbers():
    model = model_of()
    with torch.no_grad():
        model.backbone.layer4[-1].bn2.bias.fill_(-1e6)
    frames = torch.zeros(1, 3, 3, 64, 48)
    assert (model.features(frames) == 0).all()
    assert torch.isfinite(model(frames).coords).all()


def test_published_names_come_back():
    model = model_of(Config(NANO.backbone, frames=5))
    state = {f"module.{name}": value for name, value in published(model).items() if not name.endswith("num_batches_tracked")}
    config, again = from_published(state)
    assert config == Config(NANO.backbone, frames=5)
    frames = torch.randn(1, 5, 3, 64, 48)
    assert torch.equal(model(frames).coords, again(frames).coords)
    assert not again.training


@pytest.mark.parametrize("name", ["nano", "r50", "r50-5"])
def test_variant_is_inferred_from_shapes(name):
    with torch.device("meta"):
        state = {key: torch.empty(value.shape) for key, value in published(DSTA(VARIANTS[name])).items()}
    renamed = dsta.rename(state, dsta.KEYMAP)
    assert dsta.infer_config(renamed) == VARIANTS[name]


def test_hrnet_and_the_map_that_is_pooled_are_inferred():
    backbone = dsta.HRNetConfig(8, False, (1, 1, 1), 1, 8)
    for level in (-4, -1):
        wanted = Config(backbone, level=level)
        assert from_published(DSTA(wanted).state_dict())[0] == wanted


def test_flow_of_another_layout_is_replaced():
    state = {name: value for name, value in published(model_of()).items() if not name.startswith("flow.")}
    state["flow.loc"] = torch.zeros(2)
    assert from_published(state)[0] == NANO


def test_error_lists_everything_that_does_not_fit():
    state = published(model_of())
    del state["weighted_mean.bias"]
    state["surprise"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"weighted_mean\.bias.*surprise"):
        from_published(state)
    with pytest.raises(WeightsError, match="not a checkpoint"):
        from_published({"conv.weight": torch.zeros(1)})


def test_backbone_starts_from_a_still_image_network():
    source, target = model_of(), DSTA(NANO)
    state = {f"preact.{name}": value for name, value in source.backbone.state_dict().items()}
    dsta.start_from(target, {**state, "fcs.0.weight": torch.zeros(2, 2)})
    image = torch.randn(1, 3, 64, 48)
    assert torch.equal(source.backbone(image)[-1], target.eval().backbone(image)[-1])


def test_even_number_of_frames_is_refused():
    with pytest.raises(ValueError, match="odd"):
        Config(frames=4)


def test_flow_is_a_density():
    torch.manual_seed(0)
    flow = RealNVP()
    for layer in flow.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.2)
    line = torch.linspace(-12, 12, 300)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        mass = flow(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-3)


def test_loss_without_couplings_is_the_formula():
    class Normal(torch.nn.Module):
        def forward(self, x):
            return -0.5 * x.square().sum(-1) - math.log(2 * math.pi)

    coords, sigma = torch.tensor([[[0.5, 0.4]]]), torch.tensor([[[0.1, 0.2]]])
    target = torch.tensor([[[0.6, 0.4]]])
    density = -0.5 - math.log(2 * math.pi)
    expected = sum(
        math.log(s) - density + math.log(s * math.sqrt(2 * math.pi)) + d / (math.sqrt(2) * s + 1e-9) for s, d in ((0.1, 0.1), (0.2, 0.0))
    )
    assert rle_loss(Normal(), Prediction(coords, sigma), target, torch.ones(1, 1)) == pytest.approx(expected, rel=1e-5)


def test_loss_weights_joints_and_averages_over_the_batch():
    flow = RealNVP()
    torch.manual_seed(1)
    prediction, target = Prediction(torch.rand(4, 17, 2), torch.rand(4, 17, 2)), torch.rand(4, 17, 2)
    whole = rle_loss(flow, prediction, target, torch.ones(4, 17))
    twice = rle_loss(flow, Prediction(*(x.repeat(2, 1, 1) for x in prediction)), target.repeat(2, 1, 1), torch.ones(8, 17))
    assert twice.item() == pytest.approx(whole.item(), rel=1e-5)
    assert rle_loss(flow, prediction, target, torch.zeros(4, 17)) == 0
    assert rle_loss(flow, Prediction(*(x[:0] for x in prediction)), target[:0], torch.ones(0, 17)) == 0


def test_joint_weights_see_visibility_the_crop_and_the_joint():
    target = torch.full((1, 17, 2), 0.5)
    target[0, 0] = 1.1
    visible = torch.ones(1, 17)
    visible[0, 1] = 0
    weights = dsta.joint_weights(target, visible)[0]
    assert weights[:2].tolist() == [0, 0]
    assert weights[[5, 7, 9, 13, 16]].tolist() == pytest.approx([1, 1.2, 1.5, 1.2, 1.5])


def test_decode_gives_pixels_of_the_crop():
    keypoints, scores = dsta.decode(np.full((2, 17, 2), 0.25), np.full((2, 17, 2), 0.1), (192, 256))
    assert keypoints[1, 3].tolist() == [48, 64] and scores[0, 0] == pytest.approx(0.9)
    keypoints, scores = dsta.decode(np.zeros((0, 17, 2)), np.zeros((0, 17, 2)), (192, 256))
    assert keypoints.shape == (0, 17, 2) and scores.shape == (0, 17)


def test_a_network_learns_a_clip():
    torch.manual_seed(0)
    model = DSTA(Config(NANO.backbone, NANO.input_size, drop_path=0.0)).train()
    frames, target, weight = torch.randn(4, 3, 3, 64, 48), torch.rand(4, 17, 2), torch.ones(4, 17)
    target[:, 3:5] = target[:, 2:3]  # the ears share the head top's token
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        out = model(frames)
        loss = rle_loss(model.flow, out, target, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    error = (model(frames).coords - target).abs().mean()
    assert error < 0.5 * (target - target.mean(0)).abs().mean()


def test_export_equals_torch(tmp_path):
    model = model_of()
    card, worst = write_onnx(dsta.exported(NANO, model), tmp_path / "dsta.onnx")
    assert worst < 1e-4
    assert card.skeleton == "posetrack-17" and card.family == "DSTA"
    with pytest.raises(WeightsError, match="posetrack"):
        dsta.exported(NANO, model, "coco-17")
