"""RMPG: the identity at the start, context between siblings, supervised parts, and the hosts' published files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian.errors import WeightsError
from vitruvian.skeletons import COCO_17
from vitruvian.systems.backbones import HourglassConfig, HRNetConfig, ResNetConfig, ViTConfig
from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose2d import rmpg
from vitruvian.systems.pose2d.rmpg import VARIANTS, Config, Node, Part, PoseNetwork, from_published, split_evenly, with_refinement

NANOS = [name for name in VARIANTS if "nano" in name]


def awake(config):
    """A network with every gate open and outputs far from zero."""
    torch.manual_seed(0)
    model = PoseNetwork(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Node):
                module.gamma.fill_(0.5)
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and module.weight.std() < 0.02:
                module.weight.normal_(std=0.1)
    return model


def picture(config, batch=2):
    return torch.randn(batch, 3, *config.input_size[::-1])


@pytest.mark.parametrize("name", NANOS)
def test_nano(name):
    config = VARIANTS[name]
    model = awake(config).eval()
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    images = picture(config, 3)
    with torch.inference_mode():
        together, alone, none = model(images), model(images[1:2]), model(images[:0])
    width, height = config.input_size
    assert together.shape == (3, 17, height // 4, width // 4)
    assert torch.allclose(together[1:2], alone, atol=1e-4 * alone.abs().max())
    assert none.shape == (0, *alone.shape[1:])


@pytest.mark.parametrize("name", NANOS)
def test_loss_sends_a_gradient_to_every_parameter(name):
    config = VARIANTS[name]
    model = awake(config).train()
    out = model.predictions(picture(config))
    rmpg.loss(out, torch.rand_like(out.maps[-1]), torch.ones(2, 17), config.tree).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize("name", NANOS)
def test_config_is_inferred_from_shapes(name):
    config, model = from_published(PoseNetwork(VARIANTS[name]).state_dict())
    size = (256, 256) if name.startswith("hourglass") else config.input_size
    assert replace(config, input_size=size) == replace(VARIANTS[name], input_size=size)
    assert not model.training


@pytest.mark.parametrize("name", ["nano", "vitpose-nano", "hourglass-nano"])
def test_refinement_starts_as_the_identity(name):
    config = replace(VARIANTS[name], groups=())
    host = awake(config).eval()
    refined = with_refinement(host)
    assert refined.config.groups == (2, 2) and not refined.training
    images = picture(config)
    assert torch.equal(host(images), refined(images))


@pytest.mark.parametrize("name", ["nano", *(pytest.param(name, marks=pytest.mark.slow) for name in NANOS[1:])])
def test_export_equals_torch(name, tmp_path):
    config = VARIANTS[name]
    exported = rmpg.exported(config, awake(config).eval())
    card, worst = write_onnx(exported, tmp_path / "net.onnx")
    assert worst < 1e-3
    assert card.codec == ("heatmap-udp" if name.startswith("vit") else "heatmap") and card.skeleton == "coco-17"


def test_tree_of_two_by_two_has_seven_nodes_of_three_convolutions():
    node = Node(64, split_evenly((2, 2)))
    assert sum(isinstance(module, Node) for module in node.modules()) == 7
    weights = sum(p.numel() for name, p in node.named_parameters() if name.endswith("qkv.weight"))
    assert weights == 27 * (64**2 + 2 * 32**2 + 4 * 16**2)


def test_parameters_on_vitpose_are_the_published_ones():
    with torch.device("meta"):
        model = PoseNetwork(VARIANTS["vitpose-b"])
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(117.9e6, rel=1e-3)


def test_siblings_see_each_other_everywhere_and_children_only_themselves():
    torch.manual_seed(0)
    root = Node(16, split_evenly((2,))).eval()
    for module in root.modules():
        if isinstance(module, Node):
            torch.nn.init.ones_(module.gamma)
    x = torch.randn(1, 16, 4, 3)
    moved = x.clone()
    moved[:, 12, 3, 2] += 3.0  # second child, last place
    with torch.no_grad():
        assert ((root(moved)[0] - root(x)[0])[0, :8, 0, 0].abs() > 1e-6).all()  # first child, first place
        assert torch.equal(root.parts[0](x[:, :8])[0], root.parts[0](moved[:, :8])[0])


def test_context_is_attention_over_places_and_groups():
    node = Node(8, Part()).eval()
    x = torch.randn(1, 8, 3, 2)
    q, k, v = node.qkv(node.norm(x).relu()).chunk(3, 1)

    def tokens(y):
        return torch.stack([y[0, 4 * g : 4 * g + 4, i, j] for g in range(2) for i in range(3) for j in range(2)])

    out = (tokens(q) @ tokens(k).T / 2).softmax(-1) @ tokens(v)
    found = node.context(x)
    assert torch.allclose(found[0, 4:, 1, 0], out[6 + 2], atol=1e-6)
    assert torch.allclose(found[0, :4, 2, 1], out[5], atol=1e-6)


def test_large_maps_are_pooled_to_few_keys():
    assert rmpg.pooled(torch.zeros(1, 4, 64, 48)).shape[2:] == (16, 12)
    assert rmpg.pooled(torch.zeros(1, 4, 64, 64)).shape[2:] == (12, 12)
    assert rmpg.pooled(torch.zeros(1, 4, 8, 6)).shape[2:] == (8, 6)
    node = Node(8, Part(), "pooled")
    assert node.context(torch.randn(1, 8, 32, 24)).shape == (1, 8, 32, 24)


def test_channels_that_cannot_be_split_are_named():
    with pytest.raises(ValueError, match="channels can't be split"):
        Node(12, split_evenly((2, 4)))


def test_body_tree_names_every_joint_once_per_level():
    tree = rmpg.body_tree("joints")
    upper, lower = tree.parts
    assert sorted(upper.joints + lower.joints) == list(range(17))
    assert [COCO_17.names[joint] for joint in lower.parts[0].joints] == ["left_hip", "left_knee", "left_ankle"]
    assert sorted(leaf.joints[0] for half in tree.parts for limb in half.parts for leaf in limb.parts) == list(range(17))
    Node(360, tree)  # the proposed width splits evenly


def test_supervised_nodes_answer_in_the_order_of_the_tree():
    config = VARIANTS["parts-nano"]
    maps = awake(config).eval().predictions(picture(config)).parts
    parts = list(rmpg.supervised(config.tree))
    assert [m.shape[1] for m in maps] == [len(part.joints) + 1 for part in parts]


def test_part_targets_are_the_joints_and_their_union():
    target = torch.rand(2, 17, 4, 3)
    weight = torch.ones(2, 17)
    weight[1, 9] = 0
    maps, weights = rmpg.part_targets(Part((5, 7, 9)), target, weight)
    assert torch.equal(maps[:, 3], target[:, [5, 7, 9]].amax(1))
    assert weights.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    maps, weights = rmpg.part_targets(Part((4,)), target, weight)
    assert torch.equal(maps, target[:, 4:5]) and weights.shape == (2, 1)


def test_loss_adds_stacks_and_half_of_the_parts():
    target, weight = torch.zeros(2, 17, 4, 3), torch.ones(2, 17)
    one = torch.ones(2, 17, 4, 3)
    assert rmpg.loss(rmpg.Predictions((one, 2 * one), ()), target, weight) == 5
    tree = Part(parts=(Part((0,)), Part((1, 2))))
    parts = (torch.ones(2, 1, 4, 3), torch.ones(2, 3, 4, 3))
    assert rmpg.loss(rmpg.Predictions((one,), parts), target, weight, tree) == 2
    weight[:, 0] = 0
    assert rmpg.heatmap_loss(one, target, weight) == pytest.approx(16 / 17)
    assert rmpg.heatmap_loss(one[:0], target[:0], weight[:0]) == 0


def test_input_that_the_strides_do_not_divide_is_refused():
    for host in (ResNetConfig(), ViTConfig(), HourglassConfig()):
        with pytest.raises(ValueError, match="multiples"):
            Config(host, (200, 250))


def test_supervised_parts_need_coco_and_one_map():
    with pytest.raises(ValueError, match="17"):
        Config(parts="limbs", groups=(), keypoints=14)
    with pytest.raises(ValueError, match="one map"):
        Config(HourglassConfig(), (256, 256), parts="limbs", groups=(), deconvs=())


def host(config):
    return awake(replace(config, groups=())).eval()


def test_first_names_of_simplebaselines_are_read():
    model = host(VARIANTS["nano"])
    state = {f"module.{name.split('.', 1)[1]}": value for name, value in model.state_dict().items()}
    config, again = from_published(state)
    assert config == replace(VARIANTS["nano"], groups=(), input_size=(192, 256))
    image = picture(VARIANTS["nano"])
    assert torch.equal(model(image), again(image))


def renamed(state, pairs):
    for old, new in pairs:
        state = {name.replace(old, new): value for name, value in state.items()}
    return state


def test_both_layouts_of_vitpose_are_read():
    model = host(VARIANTS["vitpose-nano"])
    state = model.state_dict()
    new = (
        ("backbone.blocks.", "backbone.layers."),
        ("patch_embed.proj.", "patch_embed.projection."),
        (".norm1.", ".ln1."),
        (".norm2.", ".ln2."),
        (".mlp.fc1.", ".ffn.layers.0.0."),
        (".mlp.fc2.", ".ffn.layers.1."),
        ("backbone.norm.", "backbone.ln1."),
    )
    old = renamed(state, (("backbone.norm.", "backbone.last_norm."), ("head.", "keypoint_head.")))
    places = state["backbone.pos_embed"]
    old["backbone.pos_embed"] = torch.cat((torch.full((1, 1, places.shape[2]), 0.25), places - 0.25), 1)
    image = picture(VARIANTS["vitpose-nano"])
    for published in (renamed(state, new), old):
        config, again = from_published(published)
        assert config == replace(VARIANTS["vitpose-nano"], groups=())
        assert torch.allclose(model(image), again(image), atol=1e-5)


def test_idle_block_of_a_one_stack_hourglass_is_left_out():
    wanted = Config(HourglassConfig(1, (16, 16, 24), (1, 1, 2), 8), (256, 256), 14, (), ())
    state = PoseNetwork(wanted).state_dict()
    state["backbone.inters.0.conv1.weight"] = torch.zeros(16, 16, 3, 3)
    assert from_published(state)[0] == wanted


def test_other_hosts_are_inferred():
    for wanted in (
        Config(HRNetConfig(8, True, (1, 1, 1), 1, 8), (192, 256), 52, (), ()),
        Config(ResNetConfig((1, 2, 1, 1), True, 8), (192, 256), 16, (16, 16, 16), ()),
        Config(HourglassConfig(2, (8, 8, 12), (1, 1, 2), 8), (256, 256), 17, (), (2,)),
    ):
        assert from_published(PoseNetwork(wanted).state_dict())[0] == wanted


def test_published_sizes_of_vit_have_their_heads():
    with torch.device("meta"):
        state = PoseNetwork(Config(ViTConfig(1280, 1, 16), keypoints=52, deconvs=(256, 256), groups=())).state_dict()
    assert rmpg.infer_config(state).host == ViTConfig(1280, 1, 16)


def test_error_lists_everything_that_does_not_fit():
    state = PoseNetwork(VARIANTS["nano"]).state_dict()
    del state["refine.0.gamma"]
    state["backbone.surprise"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"refine\.0\.gamma.*backbone\.surprise"):
        from_published(state)
    with pytest.raises(WeightsError, match="another system"):
        from_published({"conv.weight": torch.zeros(1)})


def test_codec_points_where_the_target_was():
    for name in ("nano", "vitpose-nano"):
        codec = rmpg.codec(VARIANTS[name])
        maps, weights = codec.encode(np.array([[[20.0, 30.0]]]), np.ones((1, 1)))
        width, height = VARIANTS[name].input_size
        assert maps.shape == (1, 1, height // 4, width // 4) and weights[0, 0] == 1
        assert np.abs(codec.decode(maps)[0] - (20.0, 30.0)).max() <= 2


def test_a_network_learns_to_point():
    torch.manual_seed(0)
    config = replace(VARIANTS["nano"], keypoints=1)
    model = PoseNetwork(config).train()
    places = torch.tensor([[3, 3], [8, 12], [2, 9], [9, 5]])
    images = torch.zeros(4, 3, 64, 64)
    target = torch.zeros(4, 1, 16, 16)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    for image, maps, (x, y) in zip(images, target, places, strict=True):
        image[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = 2.0
        maps[0] = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8.0)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        loss = rmpg.loss(model.predictions(images), target, torch.ones(4, 1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    best = model(images).flatten(1).argmax(1)
    found = torch.stack((best % 16, best // 16), 1)
    assert (found - places).abs().max() <= 1
    assert model.refine[0].gamma != 0
