"""RTMW and RTMW3D: sizes as published, files recognised by their shapes, losses that weigh what they say."""

from dataclasses import replace

import pytest
import torch

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.pose2d import dwpose
from vitruvian.systems.pose2d.dwpose import FirstStage, SecondStage
from vitruvian.systems.pose2d.rtmw import (
    RTMW,
    VARIANTS,
    Config,
    HierarchicalHead,
    RTMPose,
    SimCC,
    SimCC3D,
    exported,
    family,
    from_published,
    infer_config,
    network,
    rtmw3d_loss,
    rtmw_loss,
    simcc_loss,
    variant_of,
)

SMALL = Config(0.125, 0.167, (64, 96), keypoints=5, token=32, shared=16, kernel=3, levels=2)
DEEP = replace(SMALL, z_size=32)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("t", 5.52), ("s", 8.38), ("m", 17.95), ("l", 33.48), ("x-384", 56.58), ("rtmw-m", 32.26), ("rtmw-l", 57.2), ("rtmw-x", 92.0)]
    + [("rtmw3d-l", 57.5), ("rtmw3d-x", 92.3)],
)
def test_published_number_of_parameters(name, millions):
    with torch.device("meta"):
        model = network(VARIANTS[name])
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(millions * 1e6, rel=0.0025)


@pytest.mark.parametrize("name", [name for name in VARIANTS if "nano" not in name])
def test_variant_is_inferred_from_shapes_alone(name):
    with torch.device("meta"):
        state = network(VARIANTS[name]).state_dict()
    assert infer_config(state) == VARIANTS[name]


@pytest.mark.parametrize("config", [VARIANTS["rtmw-nano"], VARIANTS["rtmw3d-nano"], SMALL, DEEP, replace(SMALL, levels=1, z_size=64)])
def test_published_file_gives_the_same_network(config):
    model = network(config).eval()
    found, again = from_published(model.state_dict())
    image = torch.randn(2, 3, *config.input_size[::-1])
    assert found == config and type(again) is type(model) is (RTMW if config.levels == 2 else RTMPose)
    assert all(torch.equal(a, b) for a, b in zip(model(image), again(image), strict=True))


@pytest.mark.parametrize(("keypoints", "size"), [(17, (192, 256)), (26, (288, 384)), (21, (256, 256)), (106, (256, 256))])
def test_body_hand_and_face_networks_are_inferred(keypoints, size):
    wanted = replace(VARIANTS["t"], keypoints=keypoints, input_size=size)
    with torch.device("meta"):
        state = network(wanted).state_dict()
    assert infer_config(state) == wanted
    assert variant_of(wanted) == f"rtmpose-t-{keypoints}-{size[1]}x{size[0]}"


def test_head_alone_is_enough_for_all_but_the_depth():
    state = {f"head.{name}": value for name, value in HierarchicalHead(128, DEEP).state_dict().items()}
    assert infer_config(state) == replace(DEEP, depth=1.0)


def test_classifiers_that_do_not_fit_the_tokens_are_refused():
    state = dict(RTMW(SMALL).state_dict())
    state["head.cls_x.weight"] = torch.zeros(130, 32)
    with pytest.raises(WeightsError, match="don't fit"):
        from_published(state)


@pytest.mark.parametrize("channels", [1, 36, 1 << 20])
def test_channels_of_no_backbone_are_refused_before_memory_is_taken(channels):
    state = dict(RTMW(SMALL).state_dict())
    state["head.final_layer.conv.weight"] = torch.zeros(1).expand(5, channels, 3, 3)
    with pytest.raises(WeightsError, match="RTMPose family|does not fit"):
        from_published(state)


def test_both_stages_of_distillation_work_on_rtmw():
    torch.manual_seed(0)
    target = SimCC3D(torch.rand(2, 5, 128), torch.rand(2, 5, 192), torch.rand(2, 5, 64))
    image = torch.randn(2, 3, 96, 64)
    first = FirstStage(RTMW(DEEP), RTMW(replace(DEEP, width=0.25)))
    first(image, target, torch.ones(2, 5), epoch=0, epochs=10)["total"].backward()
    assert all(p.grad is not None for p in first.student.parameters())
    second = SecondStage(first.student)
    second(image).backward()
    kept = second.result()
    assert kept.neck is first.student.neck and kept.head is second.head
    state = {f"teacher.{name}": value for name, value in second.teacher.state_dict().items()}
    state |= {f"student.head.{name}": value for name, value in second.head.state_dict().items()}
    _, again = dwpose.from_published(state)
    assert all(torch.equal(a, b) for a, b in zip(kept(image), again(image), strict=True))


def test_names():
    assert [family(VARIANTS[name]) for name in ("m", "rtmw-m", "rtmw3d-l")] == ["RTMPose", "RTMW", "RTMW3D"]
    assert variant_of(VARIANTS["rtmw-l-384"]) == "rtmw-l-133-384x288"
    assert variant_of(replace(SMALL, width=0.3)) == "rtmw-w0.3-d0.167-5-96x64"


def test_card_describes_the_outputs():
    config = replace(DEEP, keypoints=17)
    found = exported(config, RTMW(config))
    assert found.outputs == ("simcc_x", "simcc_y", "simcc_z") and found.inputs == {"input": (3, 96, 64)}
    assert (found.card.task, found.card.codec, found.card.skeleton, found.card.input_size) == ("pose3d", "simcc3d", "coco-17", (64, 96))
    assert exported(config, RTMW(config), "ap10k-17").card.skeleton == "ap10k-17"


@pytest.mark.parametrize("skeleton", ["", "coco-17", "no-such"])
def test_keypoints_without_a_set_need_one_of_their_number(skeleton):
    with pytest.raises(VitruvianError):
        exported(SMALL, RTMW(SMALL), skeleton)


def lines(batch, keypoints, bins, centre):
    return torch.exp(-((torch.arange(bins) - centre) ** 2) / 50.0).expand(batch, keypoints, bins)


def test_loss_of_rtmw_halves_the_face_and_leaves_the_weights_alone():
    target = SimCC(lines(2, 133, 48, 20), lines(2, 133, 64, 31))
    wrong, weight = SimCC(target.x.flip(-1), target.y), torch.zeros(2, 133)
    weight[:, 23:91] = 1
    face = rtmw_loss(wrong, target, weight)
    assert face.item() == pytest.approx(0.5 * simcc_loss(wrong, target, weight, beta=1.0).item())
    assert torch.equal(weight.unique(), torch.tensor([0.0, 1.0]))
    assert rtmw_loss(wrong, target, 1 - weight).item() == pytest.approx(simcc_loss(wrong, target, 1 - weight, beta=1.0).item())


def test_depth_counts_only_where_it_is_known():
    target = SimCC3D(lines(2, 4, 48, 20), lines(2, 4, 64, 31), lines(2, 4, 32, 9))
    wrong = target._replace(z=target.z.flip(-1).clone().requires_grad_())
    weight, known = torch.ones(2, 4), torch.tensor([[1.0], [0.0]]).expand(2, 4)
    loss = rtmw3d_loss(wrong, target, weight, known)
    loss.backward()
    assert loss > 0 and wrong.z.grad[0].abs().sum() > 0 and not wrong.z.grad[1].any()
    assert rtmw3d_loss(wrong, target, weight, torch.zeros(2, 4)).item() == pytest.approx(0, abs=1e-6)
    assert rtmw3d_loss(*(SimCC3D(*(t[:0] for t in s)) for s in (wrong, target)), weight[:0], known[:0], "mean") == 0


def test_dropout_is_active_in_training_only():
    torch.manual_seed(0)
    model = RTMW(replace(SMALL, dropout=0.5)).eval()
    image = torch.randn(2, 3, 96, 64)
    assert torch.equal(model(image).x, model(image).x)
    model.head.train()
    model.head.apply(lambda m: m.eval() if isinstance(m, torch.nn.BatchNorm2d) else None)
    assert not torch.equal(model(image).x, model(image).x)


def test_fine_map_reaches_the_answer():
    head = HierarchicalHead(128, SMALL).eval()
    fine, coarse = torch.randn(1, 64, 6, 4), torch.randn(1, 128, 3, 2)
    assert not torch.allclose(head(fine, coarse).x, head(fine.flip(3), coarse).x)
    assert not torch.allclose(head(fine, coarse).x, head(fine, coarse.flip(3)).x)
