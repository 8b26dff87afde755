"""RTMPose: published checkpoints come back whole or not at all; the loss measures what it says."""

import pytest
import torch

from vitruvian.errors import WeightsError
from vitruvian.systems.checkpoint import read_state
from vitruvian.systems.pose2d.rtmw import VARIANTS, Config, RTMPose, SimCC, from_published, simcc_loss


@pytest.mark.parametrize("name", ["nano", "t", "s", "m"])
def test_variant_is_inferred_from_shapes(name):
    config, model = from_published(RTMPose(VARIANTS[name]).state_dict())
    assert config == VARIANTS[name]
    assert not model.training


def test_other_keypoints_and_wide_inputs_are_inferred():
    wanted = Config(0.125, 0.167, (128, 96), keypoints=17, token=32, shared=16, kernel=3)
    assert from_published(RTMPose(wanted).state_dict())[0] == wanted


def test_values_survive_a_training_container(tmp_path):
    model = RTMPose(VARIANTS["nano"]).eval()
    state = {f"module.{name}": value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    state["data_preprocessor.mean"] = torch.zeros(3)
    torch.save({"state_dict": state, "meta": {"epoch": 3}}, tmp_path / "a.pth")
    _, again = from_published(read_state(tmp_path / "a.pth"))
    image = torch.randn(1, 3, 128, 96)
    assert all(torch.equal(a, b) for a, b in zip(model(image), again(image), strict=True))


def test_error_lists_everything_that_does_not_fit():
    state = RTMPose(VARIANTS["nano"]).state_dict()
    del state["head.gau.o.weight"]
    state["head.surprise"] = torch.zeros(1)
    state["head.gau.ln.g"] = torch.zeros(2)
    with pytest.raises(WeightsError, match=r"head\.gau\.o\.weight.*head\.surprise.*head\.gau\.ln\.g"):
        from_published(state)


def test_foreign_state_dict_is_refused():
    with pytest.raises(WeightsError, match="not a checkpoint"):
        from_published({"conv.weight": torch.zeros(1)})


def test_checkpoint_with_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    torch.save({"state_dict": Bomb()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="tensors only"):
        read_state(tmp_path / "a.pth")
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(WeightsError, match="no such file"):
        read_state(tmp_path / "b.pth")


def test_input_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="32"):
        Config(0.125, 0.167, (100, 128))


def targets(batch, keypoints=4):
    x = torch.exp(-((torch.arange(48) - 20.0) ** 2) / 50).expand(batch, keypoints, 48)
    y = torch.exp(-((torch.arange(64) - 31.0) ** 2) / 50).expand(batch, keypoints, 64)
    return SimCC(x, y)


def test_loss_is_zero_at_the_target_and_grows_away_from_it():
    target, weight = targets(2), torch.ones(2, 4)
    assert simcc_loss(target, target, weight) == pytest.approx(0.0, abs=1e-6)
    near = SimCC(target.x.roll(2, -1), target.y)
    far = SimCC(target.x.roll(8, -1), target.y)
    assert 0 < simcc_loss(near, target, weight) < simcc_loss(far, target, weight)


def test_loss_weights_and_reductions():
    target, weight = targets(6), torch.ones(6, 4)
    wrong = SimCC(target.x.flip(-1), target.y)
    published = simcc_loss(wrong, target, weight)
    assert simcc_loss(wrong, target, weight, reduction="mean") == pytest.approx(published.item() / 6)
    weight[:3] = 0
    assert simcc_loss(wrong, target, weight) == pytest.approx(published.item() / 2)
    assert simcc_loss(SimCC(*(t[:0] for t in wrong)), targets(0), weight[:0], reduction="mean") == 0


def test_a_network_learns_to_point():
    torch.manual_seed(0)
    model = RTMPose(Config(0.125, 0.167, (64, 64), keypoints=1, token=32, shared=16, kernel=3)).train()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    places = torch.tensor([[16, 48], [40, 8], [8, 24], [56, 40], [32, 32], [24, 56], [48, 16], [60, 60]])
    images = torch.zeros(8, 3, 64, 64)
    for image, (x, y) in zip(images, places, strict=True):
        image[:, max(y - 4, 0) : y + 4, max(x - 4, 0) : x + 4] = 2.0
    bins = torch.arange(128)
    target = SimCC(*(torch.exp(-((bins - 2 * places[:, None, a : a + 1]) ** 2) / 32.0) for a in (0, 1)))
    for _ in range(60):
        loss = simcc_loss(model(images), target, torch.ones(8, 1), reduction="mean")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, y = model(images)
    found = torch.stack((x.argmax(-1), y.argmax(-1)), -1)[:, 0] / 2
    assert (found - places).abs().float().mean() < 3
