"""DiffPose: the schedule, the sampler's identities, one look at the clip, gradients, export."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian.errors import WeightsError
from vitruvian.systems.backbones import ResNetConfig
from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose2d import diffpose_video as dp
from vitruvian.systems.pose2d.diffpose_video import VARIANTS, Config, DiffPose, from_published

NANO = VARIANTS["nano"]
SWITCHES = [{}, {"mixing": False, "frames": 1}, {"lookup": False}, {"self_condition": True}]


def model_of(config=NANO):
    torch.manual_seed(0)
    model = DiffPose(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.ConvTranspose2d):
                module.weight.normal_(std=0.1)
    return model


def clips(batch, config=NANO):
    return torch.randn(batch, config.frames, 3, *config.input_size[::-1])


def test_nano_is_small():
    assert sum(p.numel() for p in model_of().parameters()) < 1_000_000


def test_schedule_falls_from_one_to_almost_nothing():
    energy = dp.energy_left(1000)
    assert energy[0] == 1 and (energy.diff() < 0).all()
    assert energy[-1].item() == pytest.approx(2.4e-9, rel=0.05)


def test_noise_keeps_the_variance():
    model = model_of()
    clean, noise = torch.randn(4, 17, 16, 12), torch.randn(4, 17, 16, 12)
    assert torch.equal(model.noised(clean, torch.zeros(4, dtype=torch.long), noise), clean)
    assert model.noised(clean, torch.full((4,), 500), noise).std() == pytest.approx(1, abs=0.05)
    assert torch.allclose(model.noised(clean, torch.full((4,), 1000), noise), noise, atol=1e-3)


def test_batch_equals_single_and_may_be_empty():
    model = model_of().eval()
    frames = clips(3)
    with torch.inference_mode():
        together, alone, none = model(frames), model(frames[1:2]), model(frames[:0])
    assert together.shape == (3, 17, 16, 12) and torch.isfinite(together).all()
    assert torch.allclose(together[1:2], alone, atol=1e-4)
    assert none.shape == (0, 17, 16, 12)


@pytest.mark.parametrize("switch", SWITCHES)
def test_loss_sends_a_gradient_to_every_parameter(switch):
    config = replace(NANO, **switch)
    model = model_of(config).train()
    maps = torch.rand(2, 17, 16, 12)
    dp.loss(model, clips(2, config), maps, torch.ones(2, 17), torch.Generator().manual_seed(0)).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_loss_ignores_unlabelled_keypoints():
    model = model_of().eval()
    model.decoder.forward = lambda features, noisy, time, before=None: torch.zeros_like(noisy)
    frames, maps, weight = clips(2), torch.rand(2, 17, 16, 12), torch.ones(2, 17)
    weight[:, 3] = 0
    other = maps.clone()
    other[:, 3] = 0
    assert dp.loss(model, frames, maps, weight) == dp.loss(model, frames, other, weight)
    assert dp.loss(model, frames, maps, 0 * weight) == 0


def test_loss_of_no_clips_is_zero():
    assert dp.loss(model_of().eval(), clips(0), torch.zeros(0, 17, 16, 12), torch.zeros(0, 17)) == 0


@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_perfect_decoder_gives_its_answer_in_any_number_of_steps(steps):
    model = model_of()
    clean = torch.rand(2, 17, 16, 12) * 2 - 1
    model.estimate = lambda features, noisy, time, before=None: clean
    assert torch.equal(model.denoise(torch.zeros(2, 32, 16, 12), torch.randn(2, 17, 16, 12), steps), clean)


def test_one_step_is_one_call_on_pure_noise():
    model = model_of().eval()
    noise = torch.randn(1, 17, 16, 12)
    with torch.inference_mode():
        features = model.features(clips(1))
        once = model.decoder(features, noise, torch.tensor([1000])).clamp(-1, 1)
        assert torch.equal(model.denoise(features, noise, 1), once)


def test_true_noise_is_undone():
    model = model_of(replace(NANO, target="eps"))
    clean, noise, time = torch.rand(2, 17, 16, 12) * 2 - 1, torch.randn(2, 17, 16, 12), torch.tensor([100, 700])
    model.decoder.forward = lambda features, noisy, time, before=None: noise
    assert torch.allclose(model.estimate(None, model.noised(clean, time, noise), time), clean, atol=1e-5)


def test_draws_are_averaged_in_any_order_and_the_seed_decides():
    model = model_of().eval()
    frames, noise = clips(2), torch.randn(3, 17, 16, 12)
    with torch.inference_mode():
        mean = model.sample(frames, 2, noise=noise)
        assert torch.allclose(mean, model.sample(frames, 2, noise=noise.flip(0)), atol=1e-5)
        singles = torch.stack([model.sample(frames, 2, noise=noise[i : i + 1]) for i in range(3)])
        assert torch.allclose(mean, singles.mean(0), atol=1e-4)
        assert torch.equal(model.sample(frames, 2, seed=1), model.sample(frames, 2, seed=1))
        assert not torch.equal(model.sample(frames, 2, seed=1), model.sample(frames, 2, seed=2))


def test_clip_is_looked_at_once():
    model = model_of().eval()
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        model.sample(clips(2), steps=4, draws=3)
    assert len(calls) == 1


def test_neighbour_frames_matter_only_with_mixing():
    for mixing in (True, False):
        model = model_of(replace(NANO, mixing=mixing)).eval()
        frames = clips(1)
        moved = frames.clone()
        moved[:, 0] += 1
        with torch.inference_mode():
            assert torch.allclose(model.features(frames), model.features(moved), atol=1e-6) != mixing


def test_lookup_reads_where_the_maps_point():
    module = dp.Lookup(4)
    with torch.no_grad():
        for layer in (module.query, module.key, module.value):
            layer.weight.zero_()
        module.back.weight.copy_(torch.eye(4))
    features = torch.randn(1, 4, 5, 3)
    noisy = torch.full((1, 1, 5, 3), -10.0)
    noisy[0, 0, 3, 1] = 10.0
    found = module(features, noisy) - features
    assert torch.allclose(found, features[:, :, 3:4, 1:2].expand_as(features), atol=1e-5)


@pytest.mark.parametrize("switch", SWITCHES)
def test_own_checkpoints_come_back(switch):
    config = replace(NANO, **switch)
    model = model_of(config).eval()
    found, again = from_published({f"module.{name}": value for name, value in model.state_dict().items()})
    assert replace(found, depth=2) == config
    frames = clips(1, config)
    with torch.inference_mode():
        assert torch.equal(model(frames), again(frames))


def test_foreign_state_dict_is_refused():
    with pytest.raises(WeightsError):
        from_published({"conv.weight": torch.zeros(1)})


def test_resnet_gives_its_map_of_stride_16():
    config = Config(ResNetConfig((1, 1, 1, 1), False, 8), (64, 64), 1, level=-2, width=32, depth=1, heads=4, channels=16)
    assert model_of(config).eval()(clips(1, config)).shape == (1, 17, 16, 16)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="odd"):
        replace(NANO, frames=2)
    with pytest.raises(ValueError, match="multiples of 16"):
        replace(NANO, input_size=(50, 64))


def test_a_network_learns_to_point():
    torch.manual_seed(0)
    config = replace(NANO, keypoints=2, frames=1)
    model = DiffPose(config).train()
    codec = dp.codec(config)
    places = np.array([[[8.0, 8], [40, 56]], [[40, 8], [8, 56]], [[24, 32], [8, 8]], [[40, 56], [24, 32]]])
    frames = torch.zeros(4, 1, 3, 64, 48)
    for frame, pair in zip(frames, places, strict=True):
        for channel, (x, y) in enumerate(pair.astype(int)):
            frame[0, channel, y - 6 : y + 6, x - 6 : x + 6] = 2.0
    maps, weights = (torch.from_numpy(x) for x in codec.encode(places, np.ones((4, 2))))
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        value = dp.loss(model, frames, maps, weights, generator)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    with torch.inference_mode():
        found, _ = codec.decode(model.eval().sample(frames, 4, 2).numpy())
    assert np.linalg.norm(found - places, axis=-1).mean() < 6


def test_export_equals_torch(tmp_path):
    exported = dp.exported(NANO, model_of().eval())
    assert exported.network.steps == 4
    exported.network.steps = 2  # the loop is unrolled: two show what four would
    card, worst = write_onnx(exported, tmp_path / "net.onnx")
    assert worst < 1e-3
    assert card.codec == "heatmap" and card.skeleton == "posetrack-17"
