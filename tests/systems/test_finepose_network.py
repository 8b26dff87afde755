"""FinePOSE: prompts that learn, the sampler's identities, batches, files, export."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian.codecs.lifting_diffusion import ddim_times, sample
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.export import write_onnx
from vitruvian.systems.pose3d import finepose as fp
from vitruvian.systems.pose3d.finepose import VARIANTS, FinePose, draw_noise, from_published
from vitruvian.systems.pose3d.prompts import ACTIONS, CONTEXT, END, LEARNED, LEARNED_WITHOUT_VERB, token_ids, tokenise

NANO = VARIANTS["nano"]


def model_of(config=NANO):
    torch.manual_seed(0)
    model = FinePose(config)
    with torch.no_grad():
        for part in (model.communication.style.out, model.head[1]):
            part.weight.normal_(std=0.1)
        model.joint_places.normal_(std=0.5)
    return model


def clips(batch, config=NANO):
    return 0.3 * torch.randn(batch, config.frames, config.joints, 2)


def published_names(model):
    """Our state dict under the published file's keys, with things in it that nobody reads."""
    back = (
        ("embedding.", "Spatial_patch_to_embedding."), ("joint_places", "Spatial_pos_embed"), ("frame_places", "Temporal_pos_embed"),
        ("time.0.", "time_mlp.1."), ("time.2.", "time_mlp.3."), ("spatial.", "STEblocks."), ("temporal.", "TTEblocks."),
        ("spatial_norm.", "Spatial_norm."), ("temporal_norm.", "Temporal_norm."), ("prompts.contexts.", "ctx_"),
        ("prompts.layers.", "textTransEncoder.layers."), ("prompts.norm.", "text_ln."), ("prompts.pool.", "text_proj.0."),
        ("prompts.tower.", "clip_text."), ("communication.style.modulation.", "temporal_cross_attn.proj_out.emb_layers.1."),
        ("communication.style.norm.", "temporal_cross_attn.proj_out.norm."),
        ("communication.style.out.", "temporal_cross_attn.proj_out.out_layers.2."),
        ("communication.", "temporal_cross_attn."),
    )  # fmt: skip
    out = {}
    for name, value in model.state_dict().items():
        new = next((theirs + name[len(ours) :] for ours, theirs in back if name.startswith(ours)), name)
        out[f"module.{new}" if name == "alphas_cumprod" else f"module.pose_estimator.{new}"] = value
    extra = {"module.betas": torch.zeros(100), "module.posterior_mean_coef1": torch.zeros(100)}
    return (
        out
        | extra
        | {"module.pose_estimator.clip_text.visual.proj": torch.zeros(3), "module.pose_estimator.clip_text.logit_scale": torch.zeros(())}
    )


def test_nano_is_small_and_the_full_prompt_fills_clip():
    assert sum(p.numel() for p in model_of().parameters()) < 1_000_000
    for learned in (LEARNED, LEARNED_WITHOUT_VERB):
        assert sum(learned.values()) + 4 * len(learned) == CONTEXT


def test_tokens_of_texts():
    tokens = tokenise(["SittingDown", "walking 1", None, (5, 6)])
    assert tokens.shape == (4, CONTEXT)
    assert tokens.argmax(1).tolist() == [4, 2, 1, 3]
    assert tokens[1, 1] == ACTIONS["Walking"][0] and tokens[3, :4].tolist() == [49406, 5, 6, END]
    assert tokenise([]).shape == (0, CONTEXT)


def test_times_are_rounded_as_torch_does():
    for steps in range(1, 40):
        assert ddim_times(1000, steps) == torch.linspace(-1, 999, steps + 1).int().tolist()[::-1]


def test_unknown_word_says_which_are_known():
    with pytest.raises(VitruvianError, match="Walking"):
        token_ids("juggling")
    with pytest.raises(VitruvianError, match="shorten or correct"):
        token_ids((49407,))
    with pytest.raises(VitruvianError, match="without CLIP"):
        model_of().prompt([(17,)])


def test_batch_equals_single_for_mixed_actions_and_may_be_empty():
    model = model_of().eval()
    keypoints, texts = clips(3), ["Walking", None, "Eating"]
    noise = draw_noise(NANO, 3, NANO.frames, 2, 2)
    with torch.inference_mode():
        together = model.sample(keypoints, model.prompt(texts), noise)
        alone = model.sample(keypoints[1:2], model.prompt(texts[1:2]), noise[:, 1:2])
        none = model.sample(keypoints[:0], model.prompt([]), noise[:, :0])
    assert together.shape == (3, 2, 2, NANO.frames, 17, 3) and torch.isfinite(together).all()
    assert torch.allclose(together[1:2], alone, atol=1e-4)
    assert none.shape == (0, 2, 2, NANO.frames, 17, 3)


def test_text_changes_the_answer():
    model = model_of().eval()
    keypoints, noise = clips(1), draw_noise(NANO, 1, NANO.frames, 1, 1)
    with torch.inference_mode():
        walking, eating = (model.sample(keypoints, model.prompt([text]), noise) for text in ("Walking", "Eating"))
    assert (walking - eating).abs().max() > 1e-4


def test_communication_starts_as_the_identity():
    torch.manual_seed(0)
    module = FinePose(NANO).communication
    x = torch.randn(2, 5, NANO.width)
    assert torch.equal(module(x, torch.randn(2, 7, NANO.width), torch.randn(2, NANO.width)), x)


def test_flip_average_of_a_symmetric_input_is_symmetric():
    model = model_of().eval()
    keypoints = clips(1)
    keypoints = (keypoints + model.mirror(keypoints)) / 2
    with torch.inference_mode():
        clean = model.sample(keypoints, model.prompt([None]), torch.zeros(2, 1, 1, NANO.frames, 17, 3))
    assert torch.allclose(clean, model.mirror(clean), atol=1e-5)


def test_chunks_of_guesses_change_nothing():
    model = model_of().eval()
    keypoints, noise = clips(2), draw_noise(NANO, 2, NANO.frames, 5, 2)
    with torch.inference_mode():
        prompt = model.prompt([None, None])
        whole, parts = (model.sample(keypoints, prompt, noise, chunk=chunk) for chunk in (None, 2))
    assert torch.allclose(whole, parts, atol=1e-5)


@pytest.mark.parametrize("layout", ["h36m", "3dhp"])
def test_loss_sends_a_gradient_to_every_parameter_that_is_not_frozen(layout):
    config = replace(NANO, layout=layout, tower=1)
    model = model_of(config).train()
    points = 0.3 * torch.randn(3, config.frames, 17, 3)
    fp.loss(model, clips(3, config), points, ["Walking", "Eating", None], torch.Generator().manual_seed(0), 0.0).backward()
    frozen = {name for name, p in model.named_parameters() if name.startswith("prompts.tower.")}
    assert frozen and not any(p.grad is not None for name, p in model.named_parameters() if name in frozen)
    dead = [n for n, p in model.named_parameters() if n not in frozen and (p.grad is None or not p.grad.abs().sum() > 0)]
    assert not dead


def test_stand_in_learns_its_words():
    model = model_of().train()
    fp.loss(model, clips(2), torch.randn(2, NANO.frames, 17, 3), ["Walking", "Walking"], torch.Generator().manual_seed(0), 0.0).backward()
    assert model.prompts.tower.token_embedding.weight.grad.abs().sum() > 0


def test_loss_is_the_distance_of_joints_and_zero_for_nobody():
    model = model_of().eval()
    model.forward = lambda keypoints, noisy, time, prompt: torch.zeros_like(noisy)
    points = torch.zeros(2, NANO.frames, 17, 3)
    points[..., 0] = 0.3
    assert fp.loss(model, clips(2), points, [None, None]).item() == pytest.approx(0.3)
    assert fp.loss(model, clips(0), points[:0], []) == 0


@pytest.mark.parametrize("layout", ["h36m", "3dhp"])
def test_published_keys_are_read(layout):
    model = model_of(replace(NANO, layout=layout)).eval()
    config, other = from_published(published_names(model))
    assert config == replace(NANO, layout=layout)
    keypoints, noisy, time = clips(2), torch.randn(2, 1, NANO.frames, 17, 3), torch.tensor([3, 70])
    with torch.inference_mode():
        one, two = (m(keypoints, noisy, time, m.prompt(["Walking", None])) for m in (model, other))
    assert torch.equal(one, two)


def test_other_checkpoints_are_refused():
    state = model_of().state_dict()
    with pytest.raises(WeightsError, match="joint_places"):
        from_published({name: value for name, value in state.items() if name != "joint_places"})
    with pytest.raises(WeightsError, match="another system"):
        from_published(state | {"prompts.contexts.arm": torch.zeros(4, NANO.width)})
    with pytest.raises(WeightsError, match="left over"):
        from_published(state | {"surplus": torch.zeros(1)})


def test_clip_replaces_the_stand_in():
    small = replace(NANO, tower=1)
    tower = {n.removeprefix("prompts.tower."): v for n, v in model_of(small).state_dict().items() if n.startswith("prompts.tower.")}
    clip = {}
    for name, value in tower.items():
        name = name.replace("blocks.0.qkv.", "transformer.resblocks.0.attn.in_proj_").replace(
            "blocks.0.out.", "transformer.resblocks.0.attn.out_proj."
        )
        clip[name.replace("blocks.0.c_", "transformer.resblocks.0.mlp.c_").replace("blocks.0.ln", "transformer.resblocks.0.ln")] = value
    other = fp.with_clip(model_of(), clip | {"visual.proj": torch.zeros(2), "logit_scale": torch.zeros(())})
    assert other.config == small
    assert torch.equal(other.prompts.tower.token_embedding.weight, tower["token_embedding.weight"])
    assert torch.equal(other.embedding.weight, model_of().embedding.weight)
    with pytest.raises(WeightsError, match="doesn't fit"):
        fp.with_clip(model_of(replace(NANO, width=32)), clip)


def test_clip_of_the_transformers_package_reads_alike():
    model = model_of(replace(NANO, tower=2))
    theirs = {"vision_model.x": torch.zeros(1), "logit_scale": torch.zeros(()), "text_model.embeddings.position_ids": torch.arange(77)}
    for name, value in model.prompts.tower.state_dict().items():
        value = value.half()
        if name.startswith("blocks."):
            _, block, part, kind = name.split(".")
            place = f"text_model.encoder.layers.{block}."
            names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "c_fc": "mlp.fc1", "c_proj": "mlp.fc2", "out": "self_attn.out_proj"}
            if part == "qkv":
                theirs |= {f"{place}self_attn.{letter}_proj.{kind}": third for letter, third in zip("qkv", value.chunk(3), strict=True)}
            else:
                theirs[f"{place}{names[part]}.{kind}"] = value
        elif name.startswith("ln_final."):
            theirs[f"text_model.final_layer_norm.{name[9:]}"] = value
        else:
            theirs["text_model.embeddings." + {"positional_embedding": "position_embedding.weight"}.get(name, name)] = value
    other = fp.with_clip(model_of(), theirs)
    assert other.config == model.config
    for name, value in model.prompts.tower.state_dict().items():
        torch.testing.assert_close(other.prompts.tower.state_dict()[name], value, atol=1e-3, rtol=1e-3)  # of 16 bits
    assert not any(parameter.requires_grad for parameter in other.prompts.tower.parameters())
    del theirs["text_model.encoder.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(WeightsError, match="no key or value"):
        fp.with_clip(model_of(), theirs)
    with pytest.raises(WeightsError):
        fp.with_clip(model_of(), {"visual.proj": torch.zeros(2)})


def test_lift_takes_any_length():
    model = model_of().eval()
    for frames in (0, 1, 9, 22):
        points = fp.lift(model, np.random.default_rng(0).normal(0, 0.3, (frames, 17, 2)), "Walking", 3, 1)
        assert points.shape == (3, frames, 17, 3) and np.isfinite(points).all()
        assert not points[:, :, 0].any()
    assert np.isfinite(fp.lift(model, np.full((4, 17, 2), np.nan), None, 1, 1)).all()


def test_lifted_people_are_placed_where_they_are_seen_and_absent_ones_are_nan(monkeypatch):
    rng = np.random.default_rng(1)
    poses = rng.normal(0, 0.3, (12, 17, 3))
    poses[:, 0] = 0
    placed = poses + (0.3, -0.2, 4)
    keypoints = np.tile(1000 * placed[..., :2] / placed[..., 2:] + 500, (2, 1, 1, 1))
    keypoints[0, :3] = np.nan
    keypoints[0, 7, 4] = np.nan
    monkeypatch.setattr(fp, "lift", lambda model, filled, text, h, steps, seed: np.tile(poses[-len(filled) :], (h, 1, 1, 1)))
    points = fp.lift_people(None, keypoints, np.array([1000.0, 1000, 500, 500]), (1000, 1000), ["Walking", None], hypotheses=2, steps=1)
    assert np.isnan(points[0, :3]).all()
    np.testing.assert_allclose(points[1], placed, atol=1e-4)
    np.testing.assert_allclose(points[0, 3:], placed[3:], atol=1e-4)
    assert fp.lift_people(None, keypoints[:0], np.ones(4), (10, 10)).shape == (0, 12, 17, 3)
    with pytest.raises(VitruvianError, match="1 texts"):
        fp.lift_people(None, keypoints, np.ones(4), (10, 10), [None])


@pytest.mark.parametrize("layout", ["h36m", "3dhp"])
def test_the_sampler_of_the_ground_floor_equals_torchs(layout):
    config = replace(NANO, layout=layout)
    model = model_of(config).eval()
    deployed = fp.Deployed(model, (None, "Eating", "Walking"))
    rng = np.random.default_rng(2)
    keypoints, noise = rng.normal(0, 0.3, (2, 9, 17, 2)).astype(np.float32), rng.normal(size=(3, 4, 9, 17, 3)).astype(np.float32)
    with torch.inference_mode():
        drawn = torch.from_numpy(noise)[:, None].expand(-1, 2, -1, -1, -1, -1)
        expected = model.sample(torch.from_numpy(keypoints), model.prompt(["Walking"] * 2), drawn)[:, -1]
        found = sample(lambda clip: deployed(torch.from_numpy(clip)).numpy(), keypoints, noise, config.times, config.skeleton.swap, text=2)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


def test_an_exported_network_can_be_told_each_of_its_texts(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = model_of().eval()
    jump = {"Walking": "Walking", "somebody jumps": (16440, 8588)}
    card, _ = write_onnx(fp.exported(NANO, model, {**jump, "Eating": "Eating"}), tmp_path / "n.onnx")
    assert card.classes == ("Walking", "somebody jumps", "Eating")
    session = onnxruntime.InferenceSession(str(tmp_path / "n.onnx"))
    clip = np.random.default_rng(0).normal(0, 0.3, (4, 9, 17, 6)).astype(np.float32)
    clip[..., 5] = 40 + NANO.times * np.arange(4)[:, None, None]
    keypoints, noisy = torch.from_numpy(clip[..., :2]), torch.from_numpy(clip[:, None, ..., 2:5])
    with torch.inference_mode():
        prompt = model.prompt([None, "Walking", jump["somebody jumps"], "Eating"])
        expected = model(keypoints, noisy, torch.full((4,), 40), prompt)[:, 0]
    np.testing.assert_allclose(session.run(None, {"clip": clip})[0], expected.numpy(), atol=1e-4)


def test_usual_exports_know_the_actions_where_the_prompt_has_one():
    assert fp.exported(NANO, model_of().eval()).card.classes == tuple(ACTIONS)
    other = replace(NANO, layout="3dhp")
    assert fp.exported(other, model_of(other).eval()).card.classes == ()
    with pytest.raises(VitruvianError, match="no action"):
        fp.exported(other, model_of(other).eval(), {"Walking": "Walking"})
