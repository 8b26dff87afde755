"""The anchor-based detector's network: sizes as the card counts them, maps of the right shapes, published names one to one."""

import pytest
import torch

import anchor_states
from vitruvian.nn.csp_darknet import C3, AnchorNet, Focus, Pool, published_names
from vitruvian.systems.checkpoint import rename

ANCHORS = {levels: torch.ones(levels, 3, 2) for levels in (3, 4)}


@pytest.mark.parametrize(("width", "depth", "millions", "entries"), [(0.5, 0.33, 12.38, 472), (0.75, 0.67, 35.48, 652), (1, 1, 76.68, 832)])
def test_sizes_are_those_of_the_card(width, depth, millions, entries):
    with torch.device("meta"):
        model = AnchorNet(width, depth, 9, ANCHORS[4])
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)
    assert len(model.state_dict()) + 1 == entries  # the anchors in pixels are not kept


@pytest.mark.parametrize(("levels", "release", "table"), [(4, 5, "P6"), (3, 5, "P5"), (3, 6, "P5_RELEASE_6")])
def test_published_names_are_ours_one_to_one(levels, release, table):
    with torch.device("meta"):
        model = AnchorNet(0.25, 0.67, 7, ANCHORS[levels], levels, release)
    published = [name for name in anchor_states.names(getattr(anchor_states, table), 0.67) if not name.endswith("anchor_grid")]
    renamed = rename({name: torch.tensor(0) for name in published}, published_names(levels, release))
    assert set(renamed) == set(model.state_dict())
    assert len(renamed) == len(published)


@pytest.mark.parametrize(("levels", "release"), [(3, 5), (3, 6), (4, 5), (4, 6)])
def test_maps_have_their_strides(levels, release):
    model = AnchorNet(0.125, 0.33, 9, ANCHORS[levels], levels, release).eval()
    with torch.inference_mode():
        raw = model(torch.zeros(2, 3, 64, 128))
    assert [tuple(x.shape) for x in raw] == [(2, 3, 64 // s, 128 // s, 9) for s in model.strides]


def test_focus_is_a_6x6_convolution_of_stride_2():
    torch.manual_seed(0)
    focus, image = Focus(4).eval(), torch.randn(1, 3, 8, 12)
    small = focus.conv.conv.weight.view(4, 4, 3, 3, 3)
    kernel = torch.zeros(4, 3, 6, 6)
    for part, (row, column) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        kernel[:, :, row::2, column::2] = small[:, part]
    expected = focus.conv.activation(focus.conv.bn(torch.nn.functional.conv2d(image, kernel, stride=2, padding=2)))
    assert torch.allclose(focus(image), expected, atol=1e-5)


def test_pooling_windows_of_3_5_7():
    pool, x = Pool(4, 3).eval(), torch.randn(1, 4, 9, 9)
    half = pool.conv1(x)
    wide = [torch.nn.functional.max_pool2d(half, k, 1, k // 2) for k in (3, 5, 7)]
    assert torch.equal(pool(x), pool.conv2(torch.cat((half, *wide), 1)))


def test_sums_only_where_asked():
    torch.manual_seed(0)
    with_sum, without = C3(8, 8, 2), C3(8, 8, 2, add=False)
    without.load_state_dict(with_sum.state_dict())
    x = torch.randn(1, 8, 4, 4)
    assert not torch.allclose(with_sum.eval()(x), without.eval()(x))


def test_first_scores_are_rare():
    model = AnchorNet(0.125, 0.33, 9, ANCHORS[4])
    model.start_scores(2)
    bias = model.head[0].bias.view(3, 9)
    assert (bias[:, 4].sigmoid() < 0.01).all() and (bias[:, 5:7].sigmoid() > 0.2).all() and (bias[:, 7:].abs() < 1).all()
