"""DiffPose, reconstructed: heat maps from video by conditional diffusion (Feng et al., ICCV 2023, arXiv 2307.16687).

Idea
    The heat maps of a person are generated: noise is turned into clean maps, step by step, by a network that knows what the video shows.
    The video is looked at once: every frame of a short clip passes a backbone, a transformer mixes the frames' tokens, and the key (middle)
    frame's come out as one feature map. In every step the present noisy maps say where to look for each joint (lookup); joints and places
    exchange what they know at three scales. Two properties come free, without training anew: more steps refine the answer, and the average
    of several noise draws is better on hard joints.

What is the paper's, what is ours (card diffpose-video.md: neither code nor weights were ever published)
    the paper's    conditional diffusion of heat maps, one feature per clip, transformer over the frames' tokens, lookup-based interaction
                   at several scales, adjustable steps, pose ensemble; ViT as backbone, d frames on both sides, plain L2 on x_0 [mem]
    ours           all sizes; the schedule's constants; how lookup is computed (soft arg-max weights, a table of joints against places, its
                   way back); the time embedding; deterministic DDIM steps; noise that is shared by the clips of a batch, so that a clip's
                   pose doesn't depend on its neighbours; self-conditioning as an option

Card -> here
    4.1 spatio-temporal representation learner    SpatioTemporal, DiffPose.features
    4.2 diffusion                                 energy_left, DiffPose.noised
    4.3 pose decoder with lookup                  Lookup, Scale, Decoder
    5 sampling, ensemble                          DiffPose.sample
    6 training                                    loss

Figures
    Remembered from the paper, not checked: PoseTrack2017 val mAP 86.4. None of this file's.

Deviations
    Nothing to deviate from, see above. abar_T of the schedule (T = 1000, betas clipped at 0.999) is 2.4e-9, abar_0 is 1.

Licences
    No published code, no published weights. Data: PoseTrack is for research, PoseTrack21 needs a signed agreement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitruvian.codecs.heatmap import Heatmap
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.nn.cspnext import ConvBlock
from vitruvian.nn.deconv import deconvolutions
from vitruvian.nn.diffusion import cosine_schedule
from vitruvian.nn.transformer import EPS, blocks
from vitruvian.skeletons import POSETRACK_17
from vitruvian.systems.backbones import Backbone, ResNetConfig, ViTConfig, infer_backbone, title
from vitruvian.systems.checkpoint import need, pour, rename
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

STRIDE = 16  # of the tokens; the heat maps have a quarter of it
SCALES = (1, 2, 4)
SHARPNESS = 10.0  # of the lookup's soft arg-max
TIME = 256  # length of a time's embedding

KEYMAP: tuple[tuple[str, str], ...] = ((r"^module\.", ""),)
DROP: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """A network. `input_size` is (width, height); `frames` is odd, the key frame in the middle; `level` names the map of stride 16.

    `mixing` and `lookup` switch the paper's two parts off, for comparison: without the first only the key frame is seen, without the second
    the noisy maps just lie beside the features.
    """

    backbone: Backbone = ViTConfig(1280, 32, 16)
    input_size: tuple[int, int] = (192, 256)
    frames: int = 5
    keypoints: int = len(POSETRACK_17)
    level: int = -1
    width: int = 384  # of the mixed tokens
    depth: int = 4
    heads: int = 8
    channels: int = 256  # of the decoder
    times: int = 1000
    signal: float = 1.0  # clean maps lie between -signal and signal
    target: Literal["x0", "eps"] = "x0"
    mixing: bool = True
    lookup: bool = True
    self_condition: bool = False

    def __post_init__(self) -> None:
        multiple = math.lcm(self.backbone.multiple, STRIDE)
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames must be odd, because the key frame is the middle one, not {self.frames}")
        if any(side < multiple or side % multiple for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be positive multiples of {multiple}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens."""
        return self.input_size[1] // STRIDE, self.input_size[0] // STRIDE

    @property
    def maps(self) -> tuple[int, int]:
        """Rows and columns of the heat maps."""
        return self.grid[0] * 4, self.grid[1] * 4


VARIANTS: dict[str, Config] = {
    "nano": Config(ViTConfig(64, 2, 1, (4, 3)), (48, 64), 3, width=32, depth=2, heads=4, channels=32),
    "r50": Config(ResNetConfig(), level=-2),
    "vit-b": Config(ViTConfig()),
    "vit-h": Config(),
}


class SpatioTemporal(nn.Module):
    """Tokens of all frames -> the key frame's features of stride 4, which know of the others."""

    def __init__(self, inputs: int, config: Config):
        super().__init__()
        cells = config.grid[0] * config.grid[1]
        self.grid, self.middle = config.grid, config.frames // 2
        self.project = nn.Linear(inputs, config.width)
        if config.mixing:
            self.places = nn.Parameter(torch.zeros(1, 1, cells, config.width))
            self.times = nn.Parameter(torch.zeros(1, config.frames, 1, config.width))
            nn.init.trunc_normal_(self.places, std=0.02)
            nn.init.trunc_normal_(self.times, std=0.02)
        self.blocks = blocks(config.width, config.heads, 4 * config.width, config.depth) if config.mixing else None
        self.norm = nn.LayerNorm(config.width, eps=EPS)
        self.up = deconvolutions((config.width, config.channels, config.channels))

    def forward(self, tokens: Float[Tensor, "b f n d"]) -> Float[Tensor, "b c h w"]:
        if self.blocks is None:
            key = self.project(tokens[:, self.middle])
        else:
            mixed = (self.project(tokens) + self.places + self.times).flatten(1, 2)
            for block in self.blocks:
                mixed = block(mixed)
            key = mixed.unflatten(1, (tokens.shape[1], -1))[:, self.middle]
        return self.up(self.norm(key).transpose(1, 2).unflatten(2, self.grid))


class Lookup(nn.Module):
    """Joints look up their features where the noisy maps point, compare them with every place, and write back what they found."""

    def __init__(self, channels: int):
        super().__init__()
        self.query, self.key, self.value, self.back = (nn.Linear(channels, channels, bias=False) for _ in range(4))

    def forward(self, features: Float[Tensor, "b c h w"], noisy: Float[Tensor, "b k h w"]) -> Float[Tensor, "b c h w"]:
        places = features.flatten(2).transpose(1, 2)  # (b, p, c)
        joints = (SHARPNESS * noisy).flatten(2).softmax(-1) @ places  # (b, k, c)
        table = self.query(joints) @ self.key(places).transpose(1, 2) / features.shape[1] ** 0.5  # (b, k, p)
        joints = joints + table.softmax(-1) @ self.value(places)
        found = table.softmax(1).transpose(1, 2) @ self.back(joints)  # (b, p, c)
        return features + found.transpose(1, 2).unflatten(2, (features.shape[2], features.shape[3]))


class Scale(nn.Module):
    """The features at one scale, told the time, with or without lookup."""

    def __init__(self, channels: int, stride: int, lookup: bool):
        super().__init__()
        self.stride = stride
        self.enter = ConvBlock(channels, channels, 3, stride, activation=F.relu)
        self.lookup = Lookup(channels) if lookup else None
        self.leave = ConvBlock(channels, channels, 3, activation=F.relu)

    def forward(
        self, features: Float[Tensor, "b c h w"], noisy: Float[Tensor, "b k h w"], time: Float[Tensor, "b 2*c"]
    ) -> Float[Tensor, "b c h2 w2"]:
        scale, shift = time[..., None, None].chunk(2, 1)
        x = self.enter(features) * (1 + scale) + shift
        return self.leave(x if self.lookup is None else self.lookup(x, F.avg_pool2d(noisy, self.stride)))


class Decoder(nn.Module):
    """Features of the clip, noisy maps x_t and t -> the clean maps x_0, or the noise."""

    def __init__(self, config: Config):
        super().__init__()
        c, maps = config.channels, config.keypoints * (2 if config.self_condition else 1)
        self.time = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, 2 * c * len(SCALES)))
        self.scales = nn.ModuleList(Scale(c, stride, config.lookup) for stride in SCALES)
        mix = (ConvBlock(inputs, c, 3, activation=F.relu) for inputs in (len(SCALES) * c + maps, c))
        self.out = nn.Sequential(*mix, nn.Conv2d(c, config.keypoints, 1))

    def forward(
        self,
        features: Float[Tensor, "b c h w"],
        noisy: Float[Tensor, "b k h w"],
        time: Int[Tensor, " b"],
        estimate: Float[Tensor, "b k h w"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        times = self.time(embed_time(time)).chunk(len(SCALES), 1)
        scales = [scale(features, noisy, t) for scale, t in zip(self.scales, times, strict=True)]
        size = (features.shape[2], features.shape[3])
        maps = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in scales]
        return self.out(torch.cat((*maps, noisy, *(() if estimate is None else (estimate,))), 1))


def embed_time(time: Int[Tensor, " b"], length: int = TIME) -> Float[Tensor, "b length"]:
    """Sines and cosines of t at frequencies from 1 to 1 / 10000."""
    rates = torch.exp(-math.log(10000) * torch.arange(length // 2, device=time.device) / (length // 2))
    angles = time[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), 1)


def energy_left(times: int) -> Float[Tensor, " times+1"]:
    """How much of the signal's energy is left (abar) after 0 to `times` steps of noise (Nichol and Dhariwal 2021, arXiv 2102.09672)."""
    return torch.cat((torch.ones(1, dtype=torch.float64), cosine_schedule(times))).float()


class DiffPose(nn.Module):
    """Crops of consecutive frames -> heat maps of the middle one, generated from noise."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.strl = SpatioTemporal(self.backbone.channels[config.level], config)
        self.decoder = Decoder(config)
        self.register_buffer("energy", energy_left(config.times), persistent=False)

    def features(self, frames: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b c h4 w4"]:
        """What the clip shows, computed once for all steps and draws. Normalised RGB crops, oldest first."""
        maps = self.backbone(frames.flatten(0, 1))[self.config.level].flatten(2).transpose(1, 2)
        return self.strl(maps.view(-1, self.config.frames, maps.shape[1], maps.shape[2]))

    def noised(self, clean: Float[Tensor, "b k h w"], time: Int[Tensor, " b"], noise: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """x_t from x_0."""
        energy = self.energy[time][:, None, None, None]
        return energy.sqrt() * clean + (1 - energy).sqrt() * noise

    def estimate(
        self,
        features: Float[Tensor, "b c h w"],
        noisy: Float[Tensor, "b k h w"],
        time: Int[Tensor, " b"],
        before: Float[Tensor, "b k h w"] | None = None,
    ) -> Float[Tensor, "b k h w"]:
        """x_0 as the decoder sees it, within the signal's range. `before` is an earlier estimate, for networks that condition on it."""
        if self.config.self_condition and before is None:
            before = torch.zeros_like(noisy)
        out = self.decoder(features, noisy, time, before)
        if self.config.target == "eps":
            energy = self.energy[time][:, None, None, None]
            out = (noisy - (1 - energy).sqrt() * out) / energy.sqrt()
        return out.clamp(-self.config.signal, self.config.signal)

    def denoise(self, features: Float[Tensor, "b c h w"], noise: Float[Tensor, "b k h w"], steps: int) -> Float[Tensor, "b k h w"]:
        """Deterministic steps from pure noise to clean maps, at times spread evenly from T to 0."""
        times = torch.linspace(self.config.times, 0, steps + 1).round().long().tolist()
        x, clean = noise, None
        for now, then in zip(times[:-1], times[1:], strict=True):
            time = torch.full_like(x[:, 0, 0, 0], now, dtype=torch.long)
            clean = self.estimate(features, x, time, clean if self.config.self_condition else None)
            rest = (x - self.energy[now].sqrt() * clean) / (1 - self.energy[now]).sqrt()
            x = self.energy[then].sqrt() * clean + (1 - self.energy[then]).sqrt() * rest
        return x

    def sample(
        self,
        frames: Float[Tensor, "b f 3 h w"],
        steps: int = 4,
        draws: int = 1,
        seed: int = 0,
        noise: Float[Tensor, "draws k h4 w4"] | None = None,
    ) -> Float[Tensor, "b k h4 w4"]:
        """Heat maps, about 0 to 1: the mean over `draws` of noise, which `seed` fixes, or over those of `noise`.

        All clips get the same draws, so a clip's answer doesn't depend on its batch. Zeros as noise give one answer too, but a biased one.
        """
        if noise is None:
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(draws, self.config.keypoints, *self.config.maps, generator=generator).to(frames.device)
        features = self.features(frames)
        count = len(noise)
        many = features.unsqueeze(1).expand(-1, count, -1, -1, -1).flatten(0, 1)
        clean = self.denoise(many, noise.unsqueeze(0).expand(len(features), -1, -1, -1, -1).flatten(0, 1), steps)
        return (clean.unflatten(0, (len(features), count)).mean(1) / self.config.signal + 1) / 2

    def forward(self, frames: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b k h4 w4"]:
        return self.sample(frames)


def codec(config: Config) -> Heatmap:
    """Targets and decoding: Gaussians of 2 cells, a quarter-cell step."""
    return Heatmap(config.input_size, config.maps[::-1], "quarter", 2.0)


def loss(
    model: DiffPose,
    frames: Float[Tensor, "b f 3 h w"],
    maps: Float[Tensor, "b k h4 w4"],
    weight: Float[Tensor, "b k"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """One training step's loss: mean squared error of the denoised maps (or of the noise), over labelled keypoints; 0 for an empty batch.

    Time and noise are drawn for each clip from `generator` (on the CPU). With self-conditioning, half of the steps first make an estimate.
    """
    config = model.config
    clean = config.signal * (2 * maps - 1)
    time = torch.randint(1, config.times + 1, (len(maps),), generator=generator).to(maps.device)
    noise = torch.randn(maps.shape, generator=generator).to(maps.device)
    features, noisy = model.features(frames), model.noised(clean, time, noise)
    before = torch.zeros_like(noisy) if config.self_condition else None
    if config.self_condition and torch.rand((), generator=generator) < 0.5:
        with torch.no_grad():
            before = model.estimate(features, noisy, time)
    found = model.decoder(features, noisy, time, before)
    errors = (found.float() - (clean if config.target == "x0" else noise)).square().mean((2, 3))
    return (weight * errors).sum() / weight.sum().clamp(min=1e-6)


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The configuration of one of our state dicts. Raises WeightsError if it is none.

    Heads of the mixing, times, signal and target leave no trace: the usual ones are taken; and one frame, where nothing is mixed.
    The size of the input is the transformer's, for other backbones 256x192.
    """
    backbone = infer_backbone(state)
    width, inputs = need(state, "strl.project.weight", 2)
    channels = need(state, "decoder.scales.0.enter.conv.weight", 4)[0]
    keypoints, _, _, _ = need(state, "decoder.out.2.weight", 4)
    entering = need(state, "decoder.out.0.conv.weight", 4)[1] - len(SCALES) * channels
    mixing = "strl.places" in state
    depth = len({name.split(".")[2] for name in state if name.startswith("strl.blocks.")})
    size = (192, 256)
    if isinstance(backbone, ViTConfig):
        size = (backbone.grid[1] * backbone.patch, backbone.grid[0] * backbone.patch)
    if entering not in (keypoints, 2 * keypoints):
        raise WeightsError(f"the decoder of {keypoints} keypoints takes {entering} maps: it is a checkpoint of another system")
    try:
        return Config(
            backbone=backbone,
            input_size=size,
            frames=need(state, "strl.times", 4)[1] if mixing else 1,
            keypoints=keypoints,
            level=-1 if isinstance(backbone, ViTConfig) else -2,
            width=width,
            depth=depth or Config.depth,
            heads=4 if width < 64 else Config.heads,
            channels=channels,
            mixing=mixing,
            lookup="decoder.scales.0.lookup.query.weight" in state,
            self_condition=entering == 2 * keypoints,
        )
    except ValueError as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, DiffPose]:
    """Build and fill the network of a state dict of ours (nobody has published one); in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    config = infer_config(renamed)
    try:
        model = DiffPose(config)
    except ValueError as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error
    pour(model, renamed)
    return config, model.eval()


def variant_of(config: Config) -> str:
    """Backbone, frames and input as height x width, such as "diffpose-vit1280-5-256x192"."""
    width, height = config.input_size
    return f"diffpose-{title(config.backbone)}-{config.frames}-{height}x{width}"


class Deployed(nn.Module):
    """The whole of sampling with a fixed number of steps, the noise of one draw being an input: what is exported."""

    def __init__(self, model: DiffPose, steps: int = 4):
        super().__init__()
        self.model, self.steps = model, steps

    def forward(self, frames: Float[Tensor, "b f 3 h w"], noise: Float[Tensor, "b k h4 w4"]) -> Float[Tensor, "b k h4 w4"]:
        clean = self.model.denoise(self.model.features(frames), noise, self.steps)
        return (clean / self.model.config.signal + 1) / 2


def exported(config: Config, model: DiffPose, skeleton: str = "") -> Exported:
    """What goes into an ONNX file: frames and noise to heat maps, in four steps. `skeleton` "" is PoseTrack's 17."""
    width, height = config.input_size
    name = variant_of(config)
    card = Card(
        *(name, "pose2d", f"{name}.onnx", config.input_size, IMAGENET_MEAN, IMAGENET_STD),
        skeleton=skeleton or POSETRACK_17.name,
        subject="body",
        codec="heatmap",
        family="DiffPose",
    )
    inputs = {"frames": (config.frames, 3, height, width), "noise": (config.keypoints, *config.maps)}
    return Exported(Deployed(model), inputs, ("heatmaps",), card)
