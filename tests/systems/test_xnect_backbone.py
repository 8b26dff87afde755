"""SelecSLS: the published networks by their sizes, fusing, pruning, and reading of files in every form."""

from dataclasses import replace

import pytest
import torch

from vitruvian.errors import WeightsError
from vitruvian.nn.selecsls import CONFIGS, SelecSLS, SelecSLSConfig, fuse, infer_selecsls, level, remaining
from vitruvian.systems.pose3d import xnect

SMALL = SelecSLSConfig((level(8, 2, 16), level(12, 3, 20), level(16, 2, 24)), stem=6, head=(10, 12, 14, 8), classes=5)
PARAMETERS = {"42": 30.4, "42_B": 32.5, "60": 30.7, "60_B": 32.8, "84": 40.5, "102": 40.5}
ENTRIES = {"42": 248, "42_B": 248, "60": 356, "60_B": 356, "84": 500, "102": 608}


def network(config=SMALL):
    """A network whose normalisations have been used: no two channels alike."""
    torch.manual_seed(0)
    model = SelecSLS(config)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_the_published_ones(name):
    with torch.device("meta"):
        model = SelecSLS(CONFIGS[name])
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.06)
    assert len(model.state_dict()) == ENTRIES[name]
    assert infer_selecsls(model.state_dict()) == CONFIGS[name]


def test_maps_have_strides_4_8_16():
    maps = network()(torch.randn(2, 3, 64, 48))
    assert [tuple(m.shape) for m in maps] == [(2, 16, 16, 12), (2, 20, 8, 6), (2, 24, 4, 3)]
    assert network().logits(torch.randn(2, 3, 64, 48)).shape == (2, 5)


def test_skip_of_a_level_is_the_first_block_of_it():
    model = network()
    image = torch.randn(1, 3, 32, 32)
    maps = model.maps(image)
    block = model.features[4]  # third block of the second level
    d1 = block.conv1(maps[4])
    d2 = block.conv3(block.conv2(d1))
    d3 = block.conv5(block.conv4(d2))
    assert torch.equal(maps[5], block.conv6(torch.cat((d1, d2, d3, maps[3]), 1)))


def test_fusing_changes_nothing():
    model = network()
    thin = fuse(model, -1.0)
    image = torch.randn(2, 3, 64, 48)
    assert thin.config == replace(SMALL, fused=True)
    assert torch.allclose(thin.logits(image), model.logits(image), atol=1e-5)


def test_pruning_dead_channels_changes_nothing():
    model = network()
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            dead = torch.rand(len(module.weight)) < 0.3
            dead[0] = False
            with torch.no_grad():
                module.weight[dead], module.bias[dead] = 1e-5, 0.0
    thin = fuse(model)
    assert sum(p.numel() for p in thin.parameters()) < 0.7 * sum(p.numel() for p in model.parameters())
    image = torch.randn(2, 3, 64, 48)
    assert torch.allclose(thin.logits(image), model.logits(image), atol=1e-3)


def test_remaining_channels_are_reported_in_the_published_order():
    assert remaining(SMALL)[:9] == (6, 8, 4, 4, 8, 8, 4, 4, 16)
    assert remaining(SMALL)[-4:] == SMALL.head


def test_fused_and_pruned_files_come_back():
    thin = fuse(network(), 0.8)
    config, model = xnect.from_published(thin.state_dict())
    assert config == thin.config and config.fused
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.logits(image), thin.logits(image))


def test_nothing_is_fused_twice_or_pruned_away():
    with pytest.raises(ValueError, match="already"):
        fuse(fuse(network()))
    with pytest.raises(ValueError, match="lower threshold"):
        fuse(network(), 2.0)


def test_names_of_timm_are_read():
    model = network()
    state = {}
    for name, value in model.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "head":
            number, _, rest = rest.partition(".")
            name = f"head.conv{int(number) + 1}.{rest}"
        name = name.replace("classifier.0", "fc")
        state[name] = value
    config, again = xnect.from_published(state)
    assert config == SMALL
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.logits(image), again.logits(image))


def test_bare_backbone_is_read():
    plain = replace(SMALL, head=(), classes=0)
    assert xnect.from_published(SelecSLS(plain).state_dict())[0] == plain


def test_what_does_not_fit_is_listed():
    state = network().state_dict()
    del state["features.1.conv2.1.bias"]
    state["surprise"] = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"features\.1\.conv2\.1\.bias.*surprise"):
        xnect.from_published(state)
    with pytest.raises(WeightsError, match="no SelecSLS"):
        xnect.from_published({"conv.weight": torch.zeros(1)})
    state = network().state_dict()
    state["features.0.conv1.0.weight"] = torch.zeros(3)
    with pytest.raises(WeightsError):
        xnect.from_published(state)


def test_variants_have_names():
    assert xnect.variant_of(CONFIGS["60_B"]) == "selecsls60_b"
    assert xnect.variant_of(replace(CONFIGS["42"], fused=True)) == "selecsls42-fused"
    assert xnect.variant_of(xnect.VARIANTS["84"]) == "xnect-84"
    assert xnect.variant_of(xnect.VARIANTS["nano"]) == "xnect-nano"
    assert xnect.variant_of(SMALL) == "selecsls-24-channels"


def test_a_classifier_is_not_exported_as_a_pose_network():
    with pytest.raises(WeightsError, match="with_backbone"):
        xnect.exported(SMALL, network())
