"""OSX: files recognised by their shapes, crops of feature maps, mirrored hands, nobody, the batch, gradients, losses, ONNX."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.export import write_onnx
from vitruvian.systems.mesh.osx import (
    CROP,
    OSX,
    VARIANTS,
    Config,
    exported,
    from_published,
    hand_places,
    infer_config,
    pose_rotations,
    regions,
)
from vitruvian.systems.mesh.osx_loss import Labels, in_hand_cells, loss_terms, osx_loss
from vitruvian.systems.mesh.osx_parts import expected_place, read_at, roi_align, sine_places

NANOS = ("nano", "nano-wo-face-decoder", "nano-wo-decoder")
NANO = VARIANTS["nano"]


def build(name="nano"):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = OSX(VARIANTS[name])
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.ConvTranspose2d):
                module.weight.normal_(std=1 / math.sqrt(module.weight[0].numel()))
        if model.config.hand_decoder:
            for layer in (model.box_net.lhand_size, model.box_net.rhand_size, model.box_net.face_size):
                layer[2].bias.fill_(4.0)
    return model


@pytest.fixture(params=NANOS)
def model(request):
    return build(request.param).eval()


def crops(n):
    return torch.rand(n, 3, *CROP, generator=torch.Generator().manual_seed(3))


def published(state):
    """Our names and layouts as published files have them, by hand from the card's table."""
    out = {}
    for name, value in state.items():
        part = name.split("_")[0]
        if name == "task_tokens":
            name = "encoder.task_tokens"
        elif name == "encoder.pos_embed":
            shift = torch.full_like(value[:, :1], 0.25)
            value = torch.cat((shift, value - shift), 1)
        elif "_decoder.neck." in name:
            name = name.replace(".neck.", ".neck.convs.")
        elif "_decoder." in name:
            name = name.replace("_decoder.", "_decoder.keypoint_head.transformer.").replace(".layers.", ".decoder.layers.")
            for ours, theirs in ((".between.", ".attentions.0.attn."), (".across.", ".attentions.1."), (".fc2.", ".ffns.0.layers.1.")):
                name = name.replace(ours, theirs)
            name = name.replace(".fc1.", ".ffns.0.layers.0.0.")
            if name.endswith("value_proj.weight"):
                name, value = name.replace("value_proj.", "value_proj_weight."), heads_first(value)
            elif name.endswith("value_proj.bias"):
                name, value = name.replace("value_proj.bias", "value_proj_bias.weight"), value.reshape(8, -1)
            elif name.endswith("level_embeds"):
                value = torch.cat((value, value[:1]))
        name = name.replace("encoder.norm.", "encoder.last_norm.").replace("query_conv", f"{part}_conv")
        out[f"module.{name}"] = value
    return out


def heads_first(weight):
    """(width, width) of a linear layer -> (8, width, width / 8) as rows of a table."""
    width = len(weight)
    return weight.reshape(8, width // 8, width).transpose(1, 2).reshape(8 * width, width // 8)


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_is_inferred_from_shapes_alone(name):
    with torch.device("meta"):
        expected = VARIANTS[name]
        found = infer_config(OSX(expected).state_dict())
    if not expected.hand_decoder:  # then these have no layers
        found = replace(found, **{f: getattr(expected, f) for f in ("decoder_width", "decoder_depth", "decoder_hidden", "box_width")})
    assert found == expected


def test_nano_is_small(model):
    assert sum(p.numel() for p in model.parameters()) < 1_000_000


def test_published_names_and_layouts_are_read():
    original = build().eval()
    state = published(original.state_dict())
    for name, shape in {
        "hand_decoder.backbone.conv1.weight": (64, 3, 7, 7),
        "hand_decoder.keypoint_head.enc_flow2d.mask": (6, 2),
        "face_decoder.keypoint_head.dec_flow3d.t.0.0.weight": (64, 3),
        "hand_decoder.keypoint_head.fc_coord_branches.0.0.weight": (8, 8),
        "hand_decoder.keypoint_head.fc_sigma_branches.0.0.weight": (8, 8),
        "face_decoder.keypoint_head.fc_coord_output_branches.0.4.bias": (3,),
        "face_decoder.keypoint_head.transformer.fc_sigma.linear.weight": (8, 8),
        "hand_decoder.keypoint_head.transformer.pos_trans_norm.weight": (8,),
    }.items():
        state[f"module.{name}"] = torch.zeros(shape)
    config, again = from_published(state)
    assert config == NANO
    for name, value in original.state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, atol=1e-6), name


def test_own_weights_come_back(model):
    config, again = from_published(model.state_dict())
    assert (config.hand_decoder, config.face_decoder) == (model.config.hand_decoder, model.config.face_decoder)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "width"])
def test_other_files_are_refused(damage):
    state = dict(build().state_dict())
    if damage == "missing":
        del state["face_regressor.expr_out.0.weight"]
    elif damage == "extra":
        state["something.else"] = torch.zeros(1)
    elif damage == "shape":
        state["body_regressor.shape_out.0.bias"] = torch.zeros(11)
    else:
        state["encoder.patch_embed.proj.weight"] = torch.zeros(65, 3, 16, 16)
    with pytest.raises(WeightsError):
        from_published(state)


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="face decoder"):
        Config(hand_decoder=False)
    with pytest.raises(ValueError, match="multiple"):
        Config(width=100)


def test_crops_of_another_size_are_refused(model):
    with pytest.raises(VitruvianError, match="512x384"):
        model(torch.zeros(1, 3, 256, 192))


def test_soft_argmax_finds_a_peak():
    volume = torch.full((1, 2, 4, 6, 5), -50.0)
    volume[0, 0, 3, 2, 1] = volume[0, 1, 0, 5, 4] = 50.0
    places, share = expected_place(volume)
    assert torch.allclose(places, torch.tensor([[[1.0, 2, 3], [4, 5, 0]]]), atol=1e-5)
    assert torch.allclose(share.sum((2, 3, 4)), torch.ones(1, 2))


def test_reading_a_map_at_whole_cells_gives_the_cells():
    maps = torch.randn(2, 3, 6, 5)
    places = torch.tensor([[[0.0, 0], [4, 5], [2, 3]]]).expand(2, -1, -1)
    assert torch.allclose(read_at(maps, places), torch.stack((maps[:, :, 0, 0], maps[:, :, 5, 4], maps[:, :, 3, 2]), 1), atol=1e-5)


def slow_crop(image, box, cells):
    """RoIAlign by its definition: (h, w) -> (cells, cells), adaptive number of samples, no half-pixel shift."""
    height, width = image.shape
    sides = [max(box[2] - box[0], 1.0), max(box[3] - box[1], 1.0)]
    count = [math.ceil(side / cells) for side in sides]
    out = np.zeros((cells, cells))
    for i in range(cells):
        for j in range(cells):
            for k in range(count[1]):
                for m in range(count[0]):
                    y = box[1] + (i + (k + 0.5) / count[1]) * sides[1] / cells
                    x = box[0] + (j + (m + 0.5) / count[0]) * sides[0] / cells
                    if -1 <= y <= height and -1 <= x <= width:
                        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                        top, left = min(int(y), height - 2), min(int(x), width - 2)
                        for r, wy in ((top, 1 - (y - top)), (top + 1, y - top)):
                            for c, wx in ((left, 1 - (x - left)), (left + 1, x - left)):
                                out[i, j] += wy * wx * image[r, c] / (count[0] * count[1])
    return out


@pytest.mark.parametrize(
    "box", [(1.2, 2.3, 9.1, 7.7), (-4.0, -3.0, 20.0, 30.0), (3.0, 3.0, 3.2, 3.1), (30.0, 2.0, 40.0, 9.0), (0, 0, 12, 16)]
)
def test_crop_equals_the_definition(box):
    image = torch.randn(1, 2, 16, 12, generator=torch.Generator().manual_seed(0))
    found = roi_align(image, torch.tensor([[box]], dtype=torch.float32), 4)[:, 0]
    for channel in range(2):
        assert np.allclose(found[0, channel].numpy(), slow_crop(image[0, channel].double().numpy(), box, 4), atol=1e-4)


def test_table_of_places_tells_rows_and_columns_apart():
    table = sine_places(4, 16).unflatten(0, (4, 4))
    assert torch.equal(table[0, :, :8], table[0, :1, :8].expand(4, -1)) and torch.equal(table[:, 0, 8:], table[:1, 0, 8:].expand(4, -1))
    assert len(table.flatten(0, 1).round(decimals=4).unique(dim=0)) == 16


def test_regions_are_squares_around_the_longer_side():
    boxes = torch.tensor([[[3.0, 4, 2, 1], [5, 6, 1, 3], [6, 2, 2, 2]]])
    assert torch.allclose(regions(boxes)[0], torch.tensor([[1.0, 2, 5, 6], [2, 3, 8, 9], [4.5, 0.5, 7.5, 3.5]]))


def test_a_mirrored_picture_of_a_hand_gives_the_mirrored_hand():
    six = torch.randn(1, 15, 6, generator=torch.Generator().manual_seed(0))
    rotations = pose_rotations(torch.randn(1, 22, 6), six, six, torch.randn(1, 1, 6))
    mirror = torch.diag(torch.tensor([-1.0, 1, 1]))
    assert torch.allclose(mirror @ rotations[:, 37:52] @ mirror, rotations[:, 22:37], atol=1e-6)
    assert torch.allclose(rotations @ rotations.transpose(-1, -2), torch.eye(3).expand(1, 53, 3, 3), atol=1e-5)


def test_hands_come_back_from_their_crops():
    squares = torch.tensor([[[1.0, 2, 5, 6], [6, 7, 10, 11], [0, 0, 1, 1]]])
    places = torch.tensor([[[3.0, 8, 2]], [[3.0, 8, 2]]]).repeat(1, 20, 1)
    left, right = hand_places(places, squares)
    assert torch.allclose(right[0, 0], torch.tensor([6 + 3 / 16 * 4, 7 + 2, 2.0]))
    assert torch.allclose(left[0, 0], torch.tensor([1 + 12 / 16 * 4, 2 + 2, 2.0]))
    whole = torch.cat((torch.zeros(1, 25, 3), left, right), 1)
    back = in_hand_cells(whole, squares, (slice(25, 45), slice(45, 65)))
    assert torch.allclose(back[0, 25], torch.tensor([12.0, 8, 2])) and torch.allclose(back[0, 45], torch.tensor([3.0, 8, 2]))


def test_batch_equals_single(model):
    images = crops(3)
    with torch.inference_mode():
        together, alone = model(images), model(images[1:2])
    for a, b in zip(together, alone, strict=True):
        assert torch.isfinite(a).all() and torch.allclose(a[1:2], b, atol=1e-3)


def test_empty_batch(model):
    with torch.inference_mode():
        some, none = model(crops(1)), model(crops(0))
    assert [tuple(x.shape) for x in none] == [(0, *x.shape[1:]) for x in some]


def test_the_picture_decides(model):
    with torch.inference_mode():
        a, b = model(crops(2)), model(crops(2).flip(0))
    assert (a.rotations - b.rotations).abs().max() > 1e-3 and torch.allclose(a.rotations, b.rotations.flip(0), atol=1e-4)


@pytest.mark.parametrize("name", NANOS)
def test_gradient_reaches_every_parameter(name):
    network = build(name).train()
    prediction = network(crops(2))
    sum((x * torch.randn_like(x)).sum() for x in prediction if x.requires_grad).backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


@pytest.mark.parametrize("name", [pytest.param("nano", marks=pytest.mark.slow), "nano-wo-decoder"])
def test_onnx_equals_torch(name, tmp_path):
    card, worst = write_onnx(exported(VARIANTS[name], build(name).eval()), tmp_path / "osx.onnx")
    assert worst < 2e-2 and card.body == "smplx-neutral" and card.input_size == CROP[::-1]


def random_labels(seed, n=2):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((53, 3), (10,), (10,), (137, 3), (137, 3), (3, 4), (137, 2), (65, 3), (65, 3), (72, 3))
    return Labels(*(torch.randn(n, *shape, generator=generator) for shape in shapes))


def everything(n=2):
    return Labels(*(torch.ones(n, *[1] * (x.ndim - 1)) for x in random_labels(0)))


SQUARES = torch.tensor([[[0.0, 0, 64, 64], [96, 96, 160, 160], [200, 0, 232, 32]]]).repeat(2, 1, 1)


def test_the_truth_costs_nothing():
    truth = random_labels(0)
    assert osx_loss(truth, truth, everything(), SQUARES) == 0


def test_terms_are_means_of_differences():
    a, b = random_labels(0), random_labels(1)
    terms = loss_terms(a, b, everything(), SQUARES)
    assert set(terms) == set(Labels._fields)
    for name in ("pose", "shape", "expression", "boxes", "face_places"):
        assert terms[name] == pytest.approx((getattr(a, name) - getattr(b, name)).abs().mean().item(), rel=1e-5)
    hands = 8 * (a.places - b.places)[:, 25:, :2]  # 2 cells of the map are 16 of the crop
    rest = torch.cat(((a.places - b.places)[:, :25].flatten(1), (a.places - b.places)[:, 25:, 2:].flatten(1)), 1)
    assert terms["places"] == pytest.approx(((hands.abs().sum() + rest.abs().sum()) / a.places.numel()).item(), rel=1e-5)


def test_parts_count_from_their_own_roots():
    truth = random_labels(0)
    shift = torch.zeros(2, 137, 3)
    shift[:] = torch.tensor([0.3, -2.0, 1.0])
    moved = truth._replace(joints=truth.joints + shift, fitted_joints=truth.fitted_joints + shift)
    assert osx_loss(moved, truth, everything(), SQUARES) < 1e-4
    wrist = truth.joints.clone()
    wrist[:, 12] += 1.0  # moves itself against the pelvis, and the left hand against itself
    terms = loss_terms(truth._replace(joints=wrist), truth, everything(), SQUARES)
    assert terms["joints"] == pytest.approx((3 + 60) / (137 * 3), rel=1e-4)


def test_projected_hands_count_for_their_shape_only():
    truth = random_labels(0)
    projected = truth.projected.clone()
    projected[:, 25:45] += 5.0
    projected[:, 65:] -= 3.0
    assert loss_terms(truth._replace(projected=projected), truth, everything(), SQUARES)["projected"] < 1e-4
    projected[:, 0] += 1.0
    assert loss_terms(truth._replace(projected=projected), truth, everything(), SQUARES)["projected"] == pytest.approx(2 / 274, rel=1e-3)


def test_what_is_not_known_costs_nothing_even_if_it_is_nan():
    prediction, truth = random_labels(0), random_labels(1)
    known = everything()._replace(pose=torch.zeros(2, 53, 1), projected=torch.zeros(2, 137, 1))
    truth = truth._replace(pose=torch.full_like(truth.pose, torch.nan), projected=torch.full_like(truth.projected, torch.nan))
    prediction = Labels(*(x.requires_grad_() for x in prediction))
    terms = loss_terms(prediction, truth, known, SQUARES)
    assert terms["pose"] == 0 and terms["projected"] == 0
    sum(terms.values()).backward()
    assert torch.isfinite(prediction.pose.grad).all() and prediction.shape.grad.abs().sum() > 0


def test_loss_of_nobody_is_zero():
    none = Labels(*(x[:0] for x in random_labels(0)))
    assert osx_loss(none, none, Labels(*(x[:0] for x in everything())), SQUARES[:0]) == 0
