"""Shapes and rules of the shared blocks."""

import pytest
import torch
import torch.nn.functional as F

from vitruvian.nn.cspnext import CSPNeXt, PyramidPool, stage_depths, stage_widths
from vitruvian.nn.gau import GAU, ScaleNorm
from vitruvian.nn.pafpn import PAFPN


@pytest.mark.parametrize(
    ("width", "depth", "widths", "depths"),
    [
        (0.375, 0.167, (24, 48, 96, 192, 384), (1, 1, 1, 1)),
        (0.5, 0.33, (32, 64, 128, 256, 512), (1, 2, 2, 1)),
        (0.75, 0.67, (48, 96, 192, 384, 768), (2, 4, 4, 2)),
        (1.0, 1.0, (64, 128, 256, 512, 1024), (3, 6, 6, 3)),
        (1.25, 1.33, (80, 160, 320, 640, 1280), (4, 8, 8, 4)),
    ],
)
def test_published_sizes(width, depth, widths, depths):
    assert stage_widths(width) == widths
    assert stage_depths(depth) == depths


@pytest.mark.parametrize("depthwise", [False, True])
def test_backbone_gives_three_strides(depthwise):
    backbone = CSPNeXt(0.125, 0.167, depthwise=depthwise).eval()
    maps = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, c, 64 // s, 96 // s) for c, s in zip(backbone.channels, (8, 16, 32), strict=True)]


def test_backbone_of_size_t_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in CSPNeXt(0.375, 0.167).parameters()) == pytest.approx(2.35e6, rel=0.01)


def test_chained_pools_equal_wide_windows():
    pool = PyramidPool(8, 1e-5).eval()
    x = torch.randn(1, 8, 16, 12)
    hidden = pool.conv1(x)
    wide = torch.cat((hidden, *(F.max_pool2d(hidden, k, 1, k // 2) for k in (5, 9, 13))), 1)
    assert torch.equal(pool(x), pool.conv2(wide))


def test_scale_norm_forgets_the_scale_and_survives_zeros():
    norm = ScaleNorm(48)
    x = torch.randn(2, 5, 48)
    assert torch.allclose(norm(x), norm(7 * x), atol=1e-5)
    assert torch.allclose(norm(x).square().mean(-1), torch.ones(2, 5), atol=1e-5)
    assert torch.equal(norm(torch.zeros(1, 48)), torch.zeros(1, 48))


def test_attention_treats_tokens_as_a_set():
    unit = GAU(32, 16)
    x = torch.randn(2, 9, 32)
    order = torch.randperm(9)
    assert torch.allclose(unit(x)[:, order], unit(x[:, order]), atol=1e-5)
    moved = x.clone()
    moved[:, 0] += 1
    assert not torch.allclose(unit(x)[:, 1:], unit(moved)[:, 1:])  # and tokens do look at each other


@pytest.mark.parametrize("outputs", [None, 24])
def test_neck_keeps_sizes(outputs):
    channels = (16, 32, 64)
    maps = tuple(torch.randn(2, c, 32 // s, 64 // s) for c, s in zip(channels, (1, 2, 4), strict=True))
    fused = PAFPN(channels, outputs, depth=1).eval()(maps)
    assert [tuple(f.shape) for f in fused] == [(2, outputs or m.shape[1], *m.shape[2:]) for m in maps]


def test_neck_carries_information_both_ways():
    channels = (16, 32, 64)
    neck = PAFPN(channels, depth=1).eval()
    maps = [torch.randn(1, c, 16 // s, 16 // s, requires_grad=True) for c, s in zip(channels, (1, 2, 4), strict=True)]
    for level in neck(tuple(maps)):
        grads = torch.autograd.grad(level.sum(), maps, retain_graph=True)
        assert all(g.abs().sum() > 0 for g in grads)
