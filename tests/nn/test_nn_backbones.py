"""ResNet, HRNet, ViT, hourglass and their blocks: published sizes, shapes, and the rules that shapes don't show."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vitruvian.nn.deconv import DeconvHead
from vitruvian.nn.hourglass import Hourglass
from vitruvian.nn.hrnet import HRNet
from vitruvian.nn.resnet import DEPTHS, BasicBlock, Bottleneck, ResNet
from vitruvian.nn.transformer import Block, DropPath, SelfAttention, blocks
from vitruvian.nn.vit import ViT, resample_positions


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(build):
    with torch.device("meta"):
        return build()


TINY = {
    "resnet": (lambda: ResNet((1, 1, 1, 1), BasicBlock, 8), (4, 8, 16, 32)),
    "hrnet": (lambda: HRNet(8, modules=(1, 1, 1), count=1, stem=8), (4, 8, 16, 32)),
    "hrnet-finest": (lambda: HRNet(8, True, (1, 1, 2), 1, 8), (4,)),
    "vit": (lambda: ViT(32, 1, 2, (4, 3)), (16,)),
    "hourglass": (lambda: Hourglass(2, (16, 16, 24), (1, 1, 1), 8), (4, 4)),
}


@pytest.fixture(params=TINY)
def tiny(request):
    torch.manual_seed(0)
    build, strides = TINY[request.param]
    return build().eval(), strides


def test_maps_have_the_strides_and_channels(tiny):
    model, strides = tiny
    maps = model(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, c, 64 // s, 96 // s) for c, s in zip(model.channels, strides, strict=True)]


def test_batch_equals_single_and_may_be_empty(tiny):
    model, _ = tiny
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        for together, alone, none in zip(model(images), model(images[1:2]), model(images[:0]), strict=True):
            assert torch.allclose(together[1:2], alone, rtol=1e-4, atol=1e-4)
            assert none.shape == (0, *alone.shape[1:])


def test_gradient_reaches_every_parameter(tiny):
    model, _ = tiny
    sum((m * torch.randn_like(m)).sum() for m in model.train()(torch.randn(2, 3, 64, 64))).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


@pytest.mark.parametrize(
    ("build", "count"),
    [  # torchvision's ResNets without the classifier; HRNet pose networks without their 1x1; ViT-B without its class token
        (lambda: ResNet(DEPTHS[18], BasicBlock), 11_176_512),
        (lambda: ResNet(DEPTHS[50]), 23_508_032),
        (lambda: ResNet(DEPTHS[101]), 42_500_160),
        (lambda: HRNet(32, finest=True), 28_535_552),
        (lambda: HRNet(48, finest=True), 63_594_912),
        (lambda: ViT(768, 12, 12, (16, 12)), 85_794_048),
    ],
    ids=["resnet18", "resnet50", "resnet101", "hrnet32", "hrnet48", "vit-b"],
)
def test_published_number_of_parameters(build, count):
    assert parameters(on_meta(build)) == count


def test_bottleneck_takes_its_stride_on_the_3x3():
    block = Bottleneck(16, 32, 2)
    assert [layer.stride[0] for layer in (block.conv1, block.conv2, block.conv3)] == [1, 2, 1]


def test_hrnet_names_are_the_published_ones():
    names = on_meta(lambda: HRNet(48, finest=True)).state_dict()
    assert names["transition2.2.0.0.weight"].shape == (192, 96, 3, 3)
    assert names["stage4.0.fuse_layers.3.0.1.0.weight"].shape == (48, 48, 3, 3)
    assert names["stage4.2.fuse_layers.0.3.0.weight"].shape == (48, 384, 1, 1)
    assert "stage4.2.fuse_layers.1.0.0.0.weight" not in names


def test_attention_is_a_softmax_over_tokens():
    layer = SelfAttention(12, 3)
    x = torch.randn(2, 5, 12)
    q, k, v = (y.reshape(2, 5, 3, 4).transpose(1, 2) for y in layer.qkv(x).chunk(3, -1))
    weights = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    assert torch.allclose(layer(x), layer.proj((weights @ v).transpose(1, 2).reshape(2, 5, 12)), atol=1e-6)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="heads"):
        SelfAttention(10, 3)


def test_layer_scale_of_zero_makes_a_block_the_identity():
    x = torch.randn(2, 5, 16)
    assert torch.equal(Block(16, 2, 32, layer_scale=0.0)(x), x)


def test_drop_path_keeps_the_mean_and_sleeps_in_eval():
    torch.manual_seed(0)
    x = torch.ones(4000, 2)
    dropped = DropPath(0.25).train()(x)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert dropped.mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(x), x)
    assert [block.drop_path.rate for block in blocks(8, 2, 8, 4, 0.3)] == pytest.approx([0, 0.1, 0.2, 0.3])


def test_resampled_positions_keep_a_smooth_table_and_the_first_entries():
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 8), torch.linspace(0, 1, 6), indexing="ij")
    table = torch.cat((torch.full((1, 1, 2), 7.0), torch.stack((rows, columns), -1).reshape(1, 48, 2)), 1)
    assert resample_positions(table, (8, 6), (8, 6), 1) is table
    out = resample_positions(table, (8, 6), (16, 12), 1)
    assert torch.equal(out[:, :1], table[:, :1])
    found = out[0, 1:].view(16, 12, 2)[4:-4, 4:-4]
    expected = ((torch.arange(16) + 0.5) / 2 - 0.5)[4:-4] / 7
    assert torch.allclose(found[..., 0], expected[:, None].expand(8, 4), atol=0.01)  # the cubic kernel is not exact on lines


@pytest.mark.shared
def test_dinov2_positions_equal_the_published_resampling():
    from tests.parity.fill import Case

    stem = Path(__file__).parents[3] / "shared/parity/multi-hmr/dinov2-posembed"
    if not stem.with_suffix(".npz").exists():
        pytest.skip("needs ../shared/parity")
    case = Case(stem)
    table = torch.from_numpy(case.inputs()["pos_embed"])
    found = resample_positions(table, (37, 37), (32, 48), 1, 0.1)[0, ::3]
    assert torch.allclose(found, torch.from_numpy(case.outputs()["pos_448x672"]), atol=1e-6)


def test_vit_halves_make_the_whole_and_the_class_token_is_not_in_the_map():
    torch.manual_seed(0)
    model = ViT(32, 2, 2, (4, 3), class_token=True, layer_scale=1.0).eval()
    image = torch.randn(1, 3, 96, 64)  # not the grid's size
    tokens, size = model.tokens(image)
    assert size == (6, 4) and tokens.shape == (1, 25, 32)
    assert torch.allclose(model(image)[0].flatten(2).transpose(1, 2), model.encode(tokens)[:, 1:])


def test_vit_patches_see_the_padding():
    model = ViT(16, 1, 2, (4, 3), padding=2)
    patch = model.tokens(torch.zeros(1, 3, 64, 48))
    assert patch[1] == (4, 3)
    seen = F.conv2d(torch.ones(1, 3, 64, 48), torch.ones(1, 3, 16, 16), stride=16, padding=2)
    assert seen[0, 0, 0, 0] == 3 * 14 * 14


def test_hourglass_refuses_sizes_that_its_depth_does_not_divide():
    with pytest.raises(ValueError, match="multiples of 16"):
        Hourglass(1, (8, 8, 8), (1, 1, 1), 8)(torch.zeros(1, 3, 64, 40))


def test_deconvolution_head_doubles_the_size_each_time():
    head = DeconvHead(8, 5, (6, 4))
    assert head(torch.randn(1, 8, 3, 2)).shape == (1, 5, 12, 8)
    assert DeconvHead(8, 5, ())(torch.randn(1, 8, 3, 2)).shape == (1, 5, 3, 2)
    assert head.state_dict().keys() >= {"deconv_layers.0.weight", "deconv_layers.4.running_var", "final_layer.bias"}
