"""DSTA: video pose regression by decoupled space-time aggregation (He and Yang, CVPR 2024, arXiv 2403.19926).

Idea
    Three consecutive crops of one person, all cut by the box of the middle (key) frame, give the keypoints of the key frame as plain
    numbers, without heat maps. A linear layer turns each frame's pooled features into one small token per joint. Space and time are never
    mixed in one attention: in time a joint looks at itself over the frames, in space a joint of the key frame looks at the two others of
    its limb. Two learned numbers average both tokens; linear layers read off the place and how uncertain it is. A normalising flow, used in
    training only, learns the shape of the error (residual log-likelihood, Li et al. 2021, arXiv 2107.11291).

Paper (card dsta.md) -> here
    joint-centric feature decoder (4.2)       JointDecoder
    tokens by limb (4.3)                      LIMBS, TOKEN_OF_JOINT
    space, time, aggregation (4.4 to 4.7)     DSTA.aggregate
    heads (4.8)                               DSTA.forward, Prediction
    flow (4.9)                                RealNVP
    loss (6)                                  rle_loss, joint_weights
    fractions of the crop to pixels (5)       decode

    variant     backbone          frames   published
    r50         ResNet-50         3        file and code; PoseTrack2017 val mAP 78.6 to 78.7
    r50-5       ResNet-50         5        paper: 79.7; a user's retraining 78.8
    hrnet48     HRNet-W48         3        figures in the paper only, which map is pooled is our choice (the coarsest)
    vit-h       ViTPose-H         3        same (the mean of the patches)

Deviations
    The published network takes channels (b, 9, h, w), and (1, 3, 3, h, w) for a single clip; here both layouts are taken for any batch. The
    norm in the decoder is kept above 1e-12, so that an all-zero feature gives no NaN. The flow's entries are reconstructed from its family
    (the card could not open the released file): where a file's flow doesn't fit, a fresh one is used, which changes nothing in inference.

Licences
    Published code: Apache-2.0 (zgspose/DSTA). Published weights: no text of their own, trained on PoseTrack, which is for research;
    PoseTrack21 needs a signed agreement. They lie in a shared folder that the repository names (`Resnet50_posetrack.pth`), so there is no
    card to fetch them by. Nothing published is contained here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.codecs.fractions import decode_fractions
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.nn.transformer import EPS, blocks
from vitruvian.skeletons import POSETRACK_17
from vitruvian.systems.backbones import Backbone, HRNetConfig, ResNetConfig, ViTConfig, infer_backbone, title, unused
from vitruvian.systems.checkpoint import need, pour, rename
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

JOINTS = len(POSETRACK_17)
LIMBS = 5  # groups of three tokens: head, left arm, right arm, left leg, right leg
LIMB_TOKENS = 3 * LIMBS
TOKEN_OF_JOINT = (1, 2, 0, 0, 0, 3, 6, 4, 7, 5, 8, 9, 12, 10, 13, 11, 14)
"""For each joint of PoseTrack-17 its token. The ears, which nobody labels, reuse the head top's; tokens 15 and 16 are idle."""

JOINT_WEIGHTS = (1.0,) * 7 + (1.2, 1.2, 1.5, 1.5) + (1.0,) * 2 + (1.2, 1.2, 1.5, 1.5)
COUPLINGS = 6
FLOW_WIDTH = 64

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^preact\.", "backbone."),
    (r"^fc_coord\.linear\.", "decoder.linear."),
    (r"^Spatial_pos_embed$", "space.places"),
    (r"^Spatial_blocks\.", "space.blocks."),
    (r"^Spatial_norm\.", "space.norm."),
    (r"^Temporal_pos_embed$", "time.places"),
    (r"^blocks\.", "time.blocks."),
    (r"^Temporal_norm\.", "time.norm."),
)
DROP: tuple[str, ...] = ()

Aggregation = Literal["decoupled", "joint", "space"]
"""What the paper compares: its own; one attention over all tokens of all frames; the key frame alone. Only the first is published."""


@dataclass(frozen=True)
class Config:
    """A network. `input_size` is (width, height); `frames` is odd, the key frame in the middle; `level` names the backbone's pooled map."""

    backbone: Backbone = ResNetConfig()
    input_size: tuple[int, int] = (192, 256)
    frames: int = 3
    token: int = 32  # length of a joint's token
    depth: int = 4
    hidden: int = 64
    heads: int = 8
    drop_path: float = 0.1
    level: int = -1
    aggregation: Aggregation = "decoupled"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames must be odd, because the key frame is the middle one, not {self.frames}")


VARIANTS: dict[str, Config] = {
    "nano": Config(ResNetConfig((1, 1, 1, 1), False, 8), (48, 64)),
    "r50": Config(),
    "r50-5": Config(frames=5),
    "hrnet48": Config(HRNetConfig(48)),
    "vit-h": Config(ViTConfig(1280, 32, 16)),
}


class Prediction(NamedTuple):
    """Places as fractions of the crop (x / W, y / H; not clipped) and their spread in (0, 1), both (b, 17, 2), in PoseTrack's order."""

    coords: Float[Tensor, "b k 2"]
    sigma: Float[Tensor, "b k 2"]

    @property
    def score(self) -> Float[Tensor, "b k 1"]:
        """1 - the mean spread. Not calibrated, and not comparable between networks."""
        return 1 - self.sigma.mean(-1, keepdim=True)


class JointDecoder(nn.Module):
    """Pooled features -> one token per joint: a linear map of the features' direction, (b, c) -> (b, 17, d). The bias is not divided."""

    def __init__(self, channels: int, token: int):
        super().__init__()
        self.token = token
        self.linear = nn.Linear(channels, JOINTS * token)
        nn.init.xavier_uniform_(self.linear.weight, gain=0.01)

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b 17 d"]:
        norm = x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return (F.linear(x, self.linear.weight) / norm + self.linear.bias).unflatten(-1, (JOINTS, self.token))


class Branch(nn.Module):
    """A short transformer over tokens with learned places, zero at the start: (b, n, d) -> the same."""

    def __init__(self, shape: tuple[int, ...], config: Config):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(*shape, config.token))
        self.blocks = blocks(config.token, config.heads, config.hidden, config.depth, config.drop_path)
        self.norm = nn.LayerNorm(config.token, eps=EPS)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        tokens = tokens + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def reader(token: int) -> nn.Sequential:
    """A token -> two numbers."""
    return nn.Sequential(nn.LayerNorm(token), nn.Linear(token, 2))


class DSTA(nn.Module):
    """Crops of consecutive frames -> the keypoints of the middle one. `flow` serves `rle_loss` alone and may be set to None."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.decoder = JointDecoder(self.backbone.channels[config.level], config.token)
        if config.aggregation == "joint":
            self.everything = Branch((config.frames * JOINTS,), config)
        else:
            self.space = Branch((3,), config)
        if config.aggregation == "decoupled":
            self.time = Branch((1, config.frames), config)
            self.weighted_mean = nn.Conv2d(2, 1, 1)
        self.head_coord, self.head_sigma = reader(config.token), reader(config.token)
        self.flow: RealNVP | None = RealNVP()

    def features(self, frames: Float[Tensor, "b f 3 h w"]) -> Float[Tensor, "b f c"]:
        """The pooled map of every frame."""
        maps = self.backbone(frames.flatten(0, 1))
        return maps[self.config.level].mean((2, 3)).view(-1, self.config.frames, self.decoder.linear.in_features)

    def aggregate(self, tokens: Float[Tensor, "b f 17 d"]) -> Float[Tensor, "b 17 d"]:
        """Tokens of all frames -> those of the key frame, in the order of the limbs."""
        size, middle = self.config.token, self.config.frames // 2
        key = tokens[:, middle]
        if self.config.aggregation == "joint":
            return self.everything(tokens.flatten(1, 2)).unflatten(1, (-1, JOINTS))[:, middle]
        limbs = self.space(key[:, :LIMB_TOKENS].reshape(-1, 3, size)).view(-1, LIMB_TOKENS, size)
        space = torch.cat((limbs, key[:, LIMB_TOKENS:]), 1)
        if self.config.aggregation == "space":
            return space
        tracks = self.time(tokens.transpose(1, 2).reshape(-1, self.config.frames, size))[:, middle].view(-1, JOINTS, size)
        return self.weighted_mean(torch.stack((tracks, space), 1)).squeeze(1)

    def forward(self, frames: Float[Tensor, "b f 3 h w"] | Float[Tensor, "b 3*f h w"]) -> Prediction:
        """Normalised RGB crops, oldest first; the frames may lie one behind the other on the channels."""
        if frames.ndim == 4:
            frames = frames.unflatten(1, (self.config.frames, 3))
        key = self.aggregate(self.decoder(self.features(frames)))
        joints = key[:, list(TOKEN_OF_JOINT)]
        return Prediction(self.head_coord(joints), self.head_sigma(joints).sigmoid())


def coupling(last: nn.Module) -> nn.Sequential:
    """A small network of one coupling."""
    width = FLOW_WIDTH
    return nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, 2), last)


class RealNVP(nn.Module):
    """Density of a residual in the plane: couplings that bend it into a unit Gaussian around `centre` (Dinh et al., arXiv 1605.08803).

    The centre is (0.5, 0.5) in DSTA's release; residual log-likelihood has 0.
    """

    def __init__(self, centre: float = 0.5):
        super().__init__()
        self.centre = centre
        self.register_buffer("mask", torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(COUPLINGS // 2, 1))
        self.t = nn.ModuleList(coupling(nn.Identity()) for _ in range(COUPLINGS))
        self.s = nn.ModuleList(coupling(nn.Tanh()) for _ in range(COUPLINGS))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, gain=0.01)

    def forward(self, x: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
        """The logarithm of the density at x."""
        bent = torch.zeros_like(x[..., 0])
        for mask, scale, shift in zip(self.mask.flip(0), reversed(self.s), reversed(self.t), strict=True):
            fixed = mask * x
            s, t = scale(fixed) * (1 - mask), shift(fixed) * (1 - mask)
            x = fixed + (1 - mask) * (x - t) * torch.exp(-s)
            bent = bent - s.sum(-1)
        return bent - 0.5 * (x - self.centre).square().sum(-1) - math.log(2 * math.pi)


def log_density(flow: RealNVP, prediction: Prediction, target: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k 1"]:
    """The flow's logarithm of the density of (prediction - target) / sigma, joint by joint."""
    return flow((prediction.coords - target) / prediction.sigma).unsqueeze(-1)


def rle_loss(flow: RealNVP, prediction: Prediction, target: Float[Tensor, "b k 2"], weight: Float[Tensor, "b k"]) -> Float[Tensor, ""]:
    """Residual log-likelihood, summed over joints and axes, divided by the batch; in float32. An empty batch gives 0.

    `target` are fractions of the crop, `weight` 0 where a joint is not labelled (see `joint_weights`). The second term is a Laplace density
    with a Gaussian's amplitude, as published.
    """
    coords, sigma = prediction.coords.float(), prediction.sigma.float()
    learned = sigma.log() - log_density(flow, Prediction(coords, sigma), target)
    laplace = (sigma * math.sqrt(2 * math.pi)).log() + (target - coords).abs() / (math.sqrt(2) * sigma + 1e-9)
    return (weight.unsqueeze(-1) * (learned + laplace)).sum() / max(len(coords), 1)


def joint_weights(target: Float[Tensor, "b 17 2"], visible: Float[Tensor, "b 17"]) -> Float[Tensor, "b 17"]:
    """Weights for `rle_loss`: visibility, times inside the crop, times what the joint counts (more towards the ends of the limbs)."""
    inside = ((target >= 0) & (target <= 1)).all(-1)
    return visible * inside * target.new_tensor(JOINT_WEIGHTS)


decode = decode_fractions
"""Network outputs -> keypoints in pixels of the crops, and scores."""


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The variant of a state dict in our names. Raises WeightsError if it is none.

    The weights don't tell the number of heads, nor the size of the input: those of the release are taken.
    """
    frames, token = need(state, "time.places", 3)[1:]
    hidden = need(state, "time.blocks.0.mlp.fc1.weight", 2)[0]
    depth = len({name.split(".")[2] for name in state if name.startswith("time.blocks.")})
    backbone = infer_backbone(state)
    outputs, channels = need(state, "decoder.linear.weight", 2)
    if outputs != JOINTS * token or frames % 2 == 0:
        raise WeightsError(f"{outputs} outputs don't make {JOINTS} tokens of {token}, over {frames} frames: no checkpoint of DSTA")
    with torch.device("meta"):
        offered = backbone.build().channels
    if channels not in offered:
        raise WeightsError(f"the decoder takes {channels} channels, the backbone's maps have {offered}: no checkpoint of DSTA")
    level = offered.index(channels) - len(offered)
    found = Config(backbone, frames=frames, token=token, depth=depth, hidden=hidden, level=level)
    return next((config for config in VARIANTS.values() if config == Config(**{**vars(found), "input_size": config.input_size})), found)


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, DSTA]:
    """Build the network that a published DSTA state dict describes and fill it; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    renamed = rename(renamed, drop=unused(renamed))
    config = infer_config(renamed)
    try:
        model = DSTA(config)
    except ValueError as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error
    fresh = {f"flow.{name}": value for name, value in model.flow.state_dict().items()}
    if {name: value.shape for name, value in fresh.items()} != {n: v.shape for n, v in renamed.items() if n.startswith("flow.")}:
        renamed = {**{name: value for name, value in renamed.items() if not name.startswith("flow.")}, **fresh}
    pour(model, renamed)
    return config, model.eval()


def start_from(model: DSTA, state: Mapping[str, Tensor]) -> None:
    """Fill the backbone from a still-image checkpoint whose backbone lies under "preact." (as training started); all else stays.

    Raises WeightsError when it doesn't fit.
    """
    renamed = rename(state, KEYMAP[:2])
    prefix = "backbone."
    pour(model.backbone, {name.removeprefix(prefix): value for name, value in renamed.items() if name.startswith(prefix)})


def variant_of(config: Config) -> str:
    """Backbone, frames and input as height x width, such as "dsta-resnet50-3-256x192"."""
    width, height = config.input_size
    return f"dsta-{title(config.backbone)}-{config.frames}-{height}x{width}"


def exported(config: Config, model: DSTA, skeleton: str = "") -> Exported:
    """What goes into an ONNX file: frames (b, f, 3, h, w) to coords and sigma. Raises WeightsError for another set than PoseTrack's 17."""
    if skeleton not in ("", POSETRACK_17.name):
        raise WeightsError(f"DSTA's joints are {POSETRACK_17.name}, not {skeleton}: leave the skeleton away")
    width, height = config.input_size
    name = variant_of(config)
    card = Card(
        *(name, "pose2d", f"{name}.onnx", config.input_size, IMAGENET_MEAN, IMAGENET_STD),
        skeleton=POSETRACK_17.name,
        subject="body",
        family="DSTA",
    )
    return Exported(model, {"frames": (config.frames, 3, height, width)}, ("coords", "sigma"), card)
