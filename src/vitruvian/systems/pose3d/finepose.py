"""FinePOSE: 2D keypoints of a clip to 3D poses by diffusion that a text prompt steers (Xu, Guo, Peng, CVPR 2024, arXiv 2405.05216).

Idea
    A 2D pose fits many 3D poses. D3DP (on which this builds) draws several of them: noise over a whole 3D sequence is cleaned step by step
    by a transformer that sees the 2D sequence, attends over joints and frames by turns (MixSTE), and guesses the clean sequence each time.
    FinePOSE tells it what the person does: a prompt with fields for the action and for each part of the body, half learned vectors and half
    words read by CLIP. Pose tokens attend to the prompt's tokens, and what they find is scaled and shifted by the time and the prompt as
    one vector. The guesses are put together by their mean, or joint by joint by which one reprojects best.

Card -> here
    4.1 prompt (FPP)                               vitruvian.systems.pose3d.prompts
    4.2 time, 4.3 embedding, 4.5 to 4.7 MixSTE     FinePose
    4.4 communication (FPC), stylization (PTS)     Communication, Style
    4 diffusion, 5 sampling                        vitruvian.codecs.lifting_diffusion (numpy), FinePose.sample (torch, for training)
    5 windows, aggregation, reprojection           vitruvian.codecs.lifting
    6 loss                                         loss
    11 many people                                 lift_people

Figures
    Published [from memory], Human3.6M, CPN keypoints, 243 frames, 20 guesses, 10 steps: MPJPE 31.9 mm, PA-MPJPE 25.0 mm (D3DP 35.4 mm);
    true keypoints 16.7 mm; MPI-INF-3DHP PCK 98.9, AUC 80.0, MPJPE 26.2 mm. All of them choose the best guess per joint by looking at
    the truth, and the true action of the test clip is given as text. They are not what a user gets.

Deviations
    Published slips that we leave out: the learned vectors of the prompt can't learn there (CLIP is run without gradients); with mixed
    actions in a batch its poses attend to another clip's text. Neither changes what published weights give for one text. The published
    training step follows loss^2 / 2, as it hands the loss to `backward` as its gradient; ours follows the loss. The text is read once per
    clip, not once per step, which is exact. Without a text (None) the empty text is read: what we train learns that by dropping one text in
    ten; published weights never saw it. Joints of MPI-INF-3DHP by their sides are remembered [mem]. How frames that two windows cover are
    merged, the solver for roots, and the stand-in for CLIP are ours. Attention has 8 heads in every size (shapes don't tell).

Licences
    Published code: MIT (with notices of D3DP, MixSTE, MotionDiffuse, CLIP; its data code descends from VideoPose3D, CC BY-NC). Weights: no
    text. Human3.6M and MPI-INF-3DHP: research only. CLIP's weights: MIT. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitruvian.codecs.lifting import How, aggregate, fill_gaps, normalise_keypoints, normalised_camera, solve_roots
from vitruvian.codecs.lifting_diffusion import LIMIT, cosine_schedule, ddim_step, ddim_times, guess_sequence
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.diffusion import embed_time, noised
from vitruvian.nn.transformer import EPS, blocks, initialise
from vitruvian.skeletons import H36M_17, INF_3DHP_17, Skeleton
from vitruvian.systems.checkpoint import count_parts, filled, need, pour, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.pose3d.prompts import (
    ACTIONS,
    FIELDS,
    HEADS,
    LEARNED,
    LEARNED_WITHOUT_VERB,
    Prompt,
    PromptEncoder,
    Text,
    openai_names,
    tokenise,
)
from vitruvian.weights import Card

TEXT_DROPOUT = 0.1


KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^pose_estimator\.", ""),
    (r"^Spatial_patch_to_embedding\.", "embedding."),
    (r"^Spatial_pos_embed$", "joint_places"),
    (r"^Temporal_pos_embed$", "frame_places"),
    (r"^time_mlp\.1\.", "time.0."),
    (r"^time_mlp\.3\.", "time.2."),
    (r"^STEblocks\.", "spatial."),
    (r"^TTEblocks\.", "temporal."),
    (r"^Spatial_norm\.", "spatial_norm."),
    (r"^Temporal_norm\.", "temporal_norm."),
    (r"^temporal_cross_attn\.proj_out\.emb_layers\.1\.", "communication.style.modulation."),
    (r"^temporal_cross_attn\.proj_out\.norm\.", "communication.style.norm."),
    (r"^temporal_cross_attn\.proj_out\.out_layers\.2\.", "communication.style.out."),
    (r"^temporal_cross_attn\.", "communication."),
    (r"^ctx_", "prompts.contexts."),
    (r"^textTransEncoder\.layers\.", "prompts.layers."),
    (r"^text_ln\.", "prompts.norm."),
    (r"^text_proj\.0\.", "prompts.pool."),
    (r"^clip_text\.transformer\.resblocks\.", "prompts.tower.blocks."),
    (r"^clip_text\.", "prompts.tower."),
    (r"^(prompts\.tower\.blocks\.\d+)\.attn\.in_proj_", r"\1.qkv."),
    (r"^(prompts\.tower\.blocks\.\d+)\.attn\.out_proj\.", r"\1.out."),
    (r"^(prompts\.tower\.blocks\.\d+)\.mlp\.", r"\1."),
)
DROP: tuple[str, ...] = (
    r"(^|\.)clip_text\.(visual\.|text_projection$|logit_scale$)",
    r"^(module\.)?(betas|alphas_cumprod_prev|sqrt_\w+|log_one_minus_alphas_cumprod|posterior_\w+)$",
)


@dataclass(frozen=True)
class Config:
    """A network. `frames` is the longest clip; `tower` the depth of CLIP's text tower, 0 for the stand-in (`prompts`).

    `layout` "3dhp" has the joints of MPI-INF-3DHP (root 14) and no verb in its prompt.
    """

    frames: int = 243
    width: int = 512
    depth: int = 8
    times: int = 1000
    joints: int = 17
    layout: Literal["h36m", "3dhp"] = "h36m"
    tower: int = 12
    encoder: int = 4
    encoder_hidden: int = 2048
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        if self.width % HEADS or self.width % 2 or min(self.frames, self.depth, self.times, self.joints) < 1:
            raise ValueError(f"width must be a multiple of {HEADS}, and frames, depth, times and joints at least 1: change {self}")

    @property
    def skeleton(self) -> Skeleton:
        """The joints."""
        return H36M_17 if self.layout == "h36m" else INF_3DHP_17


VARIANTS: dict[str, Config] = {
    "nano": Config(9, 64, 2, 100, tower=0, encoder=1, encoder_hidden=128),
    "small-27": Config(27, 128, 4, tower=0, encoder=2, encoder_hidden=512),
    "h36m-243": Config(),
    "3dhp-243": Config(layout="3dhp"),
}


class Style(nn.Module):
    """What the attention found, scaled and shifted by a vector of time and prompt (PTS). Starts as zero."""

    def __init__(self, width: int):
        super().__init__()
        self.modulation = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "b n c"], style: Float[Tensor, "b c"]) -> Float[Tensor, "b n c"]:
        scale, shift = self.modulation(F.silu(style))[:, None].chunk(2, -1)
        return self.out(F.silu(self.norm(x) * (1 + scale) + shift))


class Communication(nn.Module):
    """Every pose token attends to the tokens of its clip's prompt (FPC), and the find is added through `Style`."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.text_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.style = Style(width)

    def forward(self, x: Float[Tensor, "b n c"], text: Float[Tensor, "b t c"], style: Float[Tensor, "b c"]) -> Float[Tensor, "b n c"]:
        text = self.text_norm(text)
        heads = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (self.query(self.norm(x)), self.key(text), self.value(text)))
        found = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return x + self.style(found, style)


class FinePose(nn.Module):
    """Normalised 2D keypoints (x, y) of a clip and a prompt -> guesses of the root-relative 3D poses, metres."""

    def __init__(self, config: Config):
        super().__init__()
        c, self.config = config.width, config
        self.prompts = PromptEncoder(
            c, LEARNED if config.layout == "h36m" else LEARNED_WITHOUT_VERB, config.tower, config.encoder, config.encoder_hidden
        )
        self.embedding = nn.Linear(5, c)
        self.joint_places = nn.Parameter(torch.zeros(1, config.joints, c))
        self.frame_places = nn.Parameter(torch.zeros(1, config.frames, c))
        self.time = nn.Sequential(nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c))
        self.spatial = blocks(c, HEADS, 2 * c, config.depth, config.drop_path)
        self.temporal = blocks(c, HEADS, 2 * c, config.depth, config.drop_path)
        self.spatial_norm, self.temporal_norm = nn.LayerNorm(c, eps=EPS), nn.LayerNorm(c, eps=EPS)
        self.communication = Communication(c)
        self.head = nn.Sequential(nn.LayerNorm(c), nn.Linear(c, 3))
        for part in (self.spatial, self.temporal):
            part.apply(initialise)
        self.register_buffer("alphas_cumprod", torch.from_numpy(cosine_schedule(config.times)))
        self.register_buffer("mirrored", torch.tensor(config.skeleton.swap), persistent=False)

    def prompt(self, texts: Sequence[Text]) -> Prompt:
        """Read one text per clip (`prompts.Text`), each different one once. Raises VitruvianError for words that aren't known."""
        different, rows = tokenise(texts).unique(dim=0, return_inverse=True)
        device = self.embedding.weight.device
        read = self.prompts(different.to(device))
        return Prompt(*(x[rows.to(device)] for x in read))

    def forward(
        self,
        keypoints: Float[Tensor, "b f k 2"],
        noisy: Float[Tensor, "b h f k 3"],
        time: Int[Tensor, " b"] | Float[Tensor, " b"],
        prompt: Prompt,
    ) -> Float[Tensor, "b h f k 3"]:
        """The clean poses that the network sees behind noisy ones of time `time`."""
        x = self.communicate(keypoints, noisy, time, prompt)
        b, h, f, k, _ = noisy.shape
        x = x + self.frame_places[:, :f]
        x = self.temporal_norm(self.temporal[0](x))
        for spatial, temporal in zip(self.spatial[1:], self.temporal[1:], strict=True):
            x = x.unflatten(0, (b, h, k)).transpose(2, 3).flatten(0, 2)  # (b h f, k, c)
            x = self.spatial_norm(spatial(x))
            x = x.unflatten(0, (b, h, f)).transpose(2, 3).flatten(0, 2)  # (b h k, f, c)
            x = self.temporal_norm(temporal(x))
        return self.head(x).unflatten(0, (b, h, k)).transpose(2, 3)

    def communicate(
        self,
        keypoints: Float[Tensor, "b f k 2"],
        noisy: Float[Tensor, "b h f k 3"],
        time: Int[Tensor, " b"] | Float[Tensor, " b"],
        prompt: Prompt,
    ) -> Float[Tensor, "b*h*k f c"]:
        """The first look over the joints, and what the prompt says to it."""
        b, h, f, k, _ = noisy.shape
        style = self.time(embed_time(time, self.config.width).to(noisy.dtype)) + prompt.pooled
        both = torch.cat((keypoints[:, None].expand(-1, h, -1, -1, -1), noisy), -1)
        x = self.embedding(both) + self.joint_places + style[:, None, None, None]
        x = self.spatial_norm(self.spatial[0](x.flatten(0, 2))).unflatten(0, (b, h, f))
        x = x.transpose(2, 3).reshape(b, h * k * f, self.config.width)
        return self.communication(x, prompt.tokens, style).view(b * h * k, f, self.config.width)

    def mirror(self, poses: Float[Tensor, "*n k d"]) -> Float[Tensor, "*n k d"]:
        """Poses as a mirror shows them: x negated, left and right swapped."""
        swapped = poses[..., self.mirrored, :]
        return torch.cat((-swapped[..., :1], swapped[..., 1:]), -1)

    def estimate(
        self, keypoints: Float[Tensor, "b f k 2"], noisy: Float[Tensor, "b h f k 3"], time: Tensor, prompt: Prompt, flip: bool = True
    ) -> Float[Tensor, "b h f k 3"]:
        """Clean poses for the sampler: input and answer cut at 1.1 m, the answer averaged with that for the mirrored clip."""
        noisy = noisy.clamp(-LIMIT, LIMIT)
        clean = self(keypoints, noisy, time, prompt)
        if flip:
            clean = (clean + self.mirror(self(self.mirror(keypoints), self.mirror(noisy), time, prompt))) / 2
        return clean.clamp(-LIMIT, LIMIT)

    def sample(
        self,
        keypoints: Float[Tensor, "b f k 2"],
        prompt: Prompt,
        noise: Float[Tensor, "steps b h f k 3"],
        flip: bool = True,
        eta: float = 1.0,
        chunk: int | None = None,
    ) -> Float[Tensor, "b steps h f k 3"]:
        """The guesses after each step. `noise` is where they start from, then what each further step adds (see `draw_noise`).

        `chunk` guesses are denoised at a time, all of them by default. The root is not set to zero here.
        """
        steps, h = noise.shape[0], noise.shape[2]
        energy = [*self.alphas_cumprod.tolist(), 1.0]  # the clean signal has time -1
        times = ddim_times(self.config.times, steps)
        parts = [slice(i, i + (chunk or h)) for i in range(0, h, chunk or h)] if h else []
        x, out = noise[0], []
        for step, (now, then) in enumerate(zip(times[:-1], times[1:], strict=True), 1):
            time = torch.full_like(keypoints[:, 0, 0, 0], now)
            guesses = [self.estimate(keypoints, x[:, part], time, prompt, flip) for part in parts]
            clean = torch.cat(guesses, 1) if guesses else torch.zeros_like(x)
            out.append(clean)
            if then >= 0:
                x = ddim_step(x, clean, energy[now], energy[then], noise[step], eta)
        return torch.stack(out, 1)


def draw_noise(config: Config, clips: int, frames: int, hypotheses: int, steps: int, seed: int = 0) -> Float[Tensor, "steps clips h f k 3"]:
    """Noise for `FinePose.sample`, fixed by the seed. All clips get the same, so that an answer doesn't depend on its neighbours."""
    one = torch.randn(steps, 1, hypotheses, frames, config.joints, 3, generator=torch.Generator().manual_seed(seed))
    return one.expand(-1, clips, -1, -1, -1, -1)


def loss(
    model: FinePose,
    keypoints: Float[Tensor, "b f k 2"],
    points: Float[Tensor, "b f k 3"],
    texts: Sequence[Text],
    generator: torch.Generator | None = None,
    text_dropout: float = TEXT_DROPOUT,
) -> Float[Tensor, ""]:
    """One training step's loss: mean distance of the denoised joints from root-relative `points`, metres; 0 for an empty batch.

    Time, noise and which texts are left out are drawn for each clip from `generator` (on the CPU).
    """
    b = len(points)
    time = torch.randint(0, model.config.times, (b,), generator=generator)
    noise = torch.randn(points.shape, generator=generator).to(points)
    dropped = (torch.rand(b, generator=generator) < text_dropout).tolist()
    prompt = model.prompt([None if drop else text for text, drop in zip(texts, dropped, strict=True)])
    time = time.to(points.device)
    noisy = noised(points, model.alphas_cumprod[time], noise).clamp(-LIMIT, LIMIT)
    found = model(keypoints, noisy[:, None], time, prompt)[:, 0]
    errors = torch.linalg.vector_norm(found - points, dim=-1)
    return errors.sum() / max(errors.numel(), 1)


def lift(
    model: FinePose,
    keypoints: Float[np.ndarray, "f k 2"],
    text: Text = None,
    hypotheses: int = 5,
    steps: int = 2,
    seed: int = 0,
) -> Float[np.ndarray, "h f k 3"]:
    """Guesses for one person's whole sequence of normalised keypoints, as an exported network gives them (`guess_sequence`).

    Missing keypoints (NaN) are put between their neighbours in time.
    """
    deployed = Deployed(model, (text,))

    @torch.inference_mode()
    def denoise(clip: np.ndarray) -> np.ndarray:
        return deployed(torch.from_numpy(clip).to(model.embedding.weight)).cpu().numpy()

    complete, _ = fill_gaps(np.asarray(keypoints))
    return guess_sequence(denoise, complete, model.config.skeleton, model.config.frames, model.config.times, hypotheses, steps, seed)


def lift_people(
    model: FinePose,
    keypoints: Float[np.ndarray, "p f k 2"],
    intrinsics: Float[np.ndarray, " 4"],
    size: tuple[int, int],
    texts: Sequence[Text] | None = None,
    how: How = "mean",
    hypotheses: int = 5,
    steps: int = 2,
    seed: int = 0,
) -> Float[np.ndarray, "p f k 3"]:
    """Each of p tracked people lifted for themselves and put where the camera sees them: metres in its frame (the paper's EgoHumans mode).

    `keypoints` in pixels, NaN where missing, `intrinsics` fx, fy, cx, cy in pixels of a picture of `size`; one text per person. Frames
    without a person, or whose root can't be solved for, are NaN. No interaction between people is modelled.
    """
    texts = [None] * len(keypoints) if texts is None else texts
    if len(texts) != len(keypoints):
        raise VitruvianError(f"{len(keypoints)} people have {len(texts)} texts: give one for each, or none")
    camera = normalised_camera(np.asarray(intrinsics), size)
    out = np.full((*np.shape(keypoints)[:3], 3), np.nan, np.float32)
    for row, person, text in zip(out, keypoints, texts, strict=True):
        seen = np.flatnonzero(np.isfinite(person).all(-1).any(-1))
        if not len(seen):
            continue
        span = slice(seen[0], seen[-1] + 1)
        flat = normalise_keypoints(person[span], size)
        complete, present = fill_gaps(flat)
        guesses = lift(model, complete, text, hypotheses, steps, seed)
        poses = aggregate(guesses, how, complete, camera)
        placed = poses + solve_roots(poses, flat, camera)[:, None]
        row[span] = np.where(present[:, None, None], placed, np.nan)
    return out


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The configuration of a state dict in our names. Raises WeightsError if it is none.

    Joints of another number than 17 have no published mirror: they are refused.
    """
    width, _ = need(state, "embedding.weight", 2)
    joints, frames = need(state, "joint_places", 3)[1], need(state, "frame_places", 3)[1]
    learned = {name: need(state, f"prompts.contexts.{name}", 2)[0] for name in FIELDS if f"prompts.contexts.{name}" in state}
    layout = {tuple(LEARNED.items()): "h36m", tuple(LEARNED_WITHOUT_VERB.items()): "3dhp"}.get(tuple(learned.items()))
    if joints != 17 or layout is None:
        raise WeightsError(f"{joints} joints and prompt fields {learned} are not FinePOSE's: it is a checkpoint of another system")
    try:
        return Config(
            frames=frames,
            width=width,
            depth=count_parts(state, "spatial."),
            times=need(state, "alphas_cumprod", 1)[0],
            layout=layout,
            tower=count_parts(state, "prompts.tower.blocks."),
            encoder=count_parts(state, "prompts.layers."),
            encoder_hidden=need(state, "prompts.layers.0.linear1.weight", 2)[0],
        )
    except ValueError as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, FinePose]:
    """Build and fill the network of a published state dict (entry "model_pos" of the file), or of one of ours; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    config = infer_config(renamed)
    return config, filled(FinePose, config, renamed)


def with_clip(model: FinePose, clip: Mapping[str, Tensor]) -> FinePose:
    """A copy of a network, with the text tower of CLIP's state dict in place of its own tower or stand-in; to be trained.

    clip: OpenAI's names ("transformer.resblocks.0...") or those of the transformers package ("text_model.encoder.layers.0..."), whole or
    the text half alone. Raises WeightsError where it is none, or doesn't fit the network's width.
    """
    tower = {f"clip_text.{name}": value.float() for name, value in openai_names(clip).items() if value.is_floating_point()}
    renamed = rename(tower, KEYMAP, DROP)
    renamed = {name: value for name, value in renamed.items() if name.startswith("prompts.tower.")}
    depth = len({name.split(".")[3] for name in renamed if name.startswith("prompts.tower.blocks.")})
    width = need(renamed, "prompts.tower.positional_embedding", 2)[1]
    if depth == 0 or width != model.config.width:
        raise WeightsError(
            f"a text tower of {depth} blocks, {width} wide, doesn't fit a network {model.config.width} wide: make one as wide"
        )
    other = FinePose(replace(model.config, tower=depth))
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("prompts.tower.")}
    pour(other, kept | renamed)
    return other


def variant_of(config: Config) -> str:
    """Layout, frames and width, such as "finepose-h36m-243-w512"; "no-clip" with the stand-in."""
    return f"finepose-{config.layout}-{config.frames}-w{config.width}" + ("" if config.tower else "-no-clip")


class Deployed(nn.Module):
    """The denoiser with prompts that are read beforehand, one guess per clip: what is exported. Sampling stays outside.

    Channels of a clip: x, y of the normalised keypoints; x, y, z of the noisy pose, metres; the time, plus `config.times` for each text
    that comes before the clip's own in `texts` (`codecs.lifting_diffusion`).
    """

    def __init__(self, model: FinePose, texts: Sequence[Text] = (None,)):
        super().__init__()
        self.model = model
        with torch.no_grad():
            tokens, pooled = model.prompt(texts)
        self.register_buffer("tokens", tokens)
        self.register_buffer("pooled", pooled)

    def forward(self, clip: Float[Tensor, "b f k 6"]) -> Float[Tensor, "b f k 3"]:
        time, times = clip[:, 0, 0, 5], self.model.config.times
        # Half a time more, as runtimes divide by multiplying, and a multiple could come out a little too small.
        text = ((time + 0.5) / times).floor().clamp(0, len(self.tokens) - 1)
        prompt = Prompt(self.tokens[text.long()], self.pooled[text.long()])
        return self.model(clip[..., :2], clip[:, None, ..., 2:5], time - text * times, prompt)[:, 0]


def exported(config: Config, model: FinePose, texts: Mapping[str, Text] | None = None) -> Exported:
    """What goes into an ONNX file: clips with noisy poses in, clean poses out (metres, camera axes).

    CLIP stays outside: the empty text and all of `texts` are read now, and the card's `classes` are their names. None takes Human3.6M's
    actions. Raises VitruvianError for texts that can't be told a network without a verb in its prompt.
    """
    if config.layout == "3dhp" and texts:
        raise VitruvianError("the prompt of a network for MPI-INF-3DHP has no action: give no texts")
    known = {name: name for name in ACTIONS if config.layout == "h36m"} if texts is None else texts
    name, skeleton = variant_of(config), config.skeleton.name
    kind = {"skeleton": skeleton, "family": "FinePOSE", "subject": "body", "codec": "lift-diffusion", "diffusion_times": config.times}
    card = Card(name, "lift", f"{name}.onnx", **kind, classes=tuple(known))
    return Exported(Deployed(model, (None, *known.values())), {"clip": (config.frames, config.joints, 6)}, ("points",), card)


CARDS: tuple[Card, ...] = ()
"""None: the published files (Baidu only, `best_epoch_20_10.bin`) are no ONNX networks, and have no address that a program can fetch."""
