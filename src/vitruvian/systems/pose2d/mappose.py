"""MapPose: our own small network for many keypoints, trained from nothing in hours on two cores (this project, no paper).

Idea
    A CSPNeXt backbone sees the crop. On its coarsest map (stride 32, some 48 cells) two transformer blocks look at the whole person at
    once, which tells left from right and arms of others from one's own. Two steps of up-sampling join the finer maps of strides 16 and 8.
    The last map has one channel per keypoint, and a softmax over its cells and one more, "elsewhere" (not in this crop), makes it the
    probability of where the keypoint is. A place is the mean of the probability around its peak, far finer than a cell; the score is the
    probability near that place, which is what a user takes a score to be.

Why not SimCC
    From scratch, SimCC's classifiers learn late: after 165,000 crops the coarse map *before* the classifiers of an RTMPose-t was nearer to
    the truth (19.8 px of a crop of 256) than what the classifiers made of it (21.0 px). See recipes/wholebody-t.md.

    Training also has the finest features tell, at each cell, which segment of the person it shows and where on the body's surface it lies
    (`surface_loss`): one keypoint says little about a crop, a surface says which leg is which everywhere. Nothing of that is exported.

    VARIANTS["t"]          0.48 GMAC at 256x192, 3.86 M parameters; "n" is the same network for 128x96, 0.12 GMAC
    decoding               vitruvian.codecs.probability_map
    backbone, blocks       vitruvian.nn.cspnext, vitruvian.nn.transformer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.nn.cspnext import BASE_WIDTHS, Block, ConvBlock, CSPNeXt, stage_depths
from vitruvian.nn.transformer import blocks
from vitruvian.nn.vit import resample_positions
from vitruvian.synth.classes import SEGMENTS, UNTOLD
from vitruvian.systems.checkpoint import count_parts, filled, need
from vitruvian.systems.export import Exported, keypoint_set
from vitruvian.weights import Card

STRIDE = 8
COARSE = 32


@dataclass(frozen=True)
class Config:
    """Backbone factors, and widths of the attention and of the maps of strides 16 and 8. `input_size` (width, height) is the usual one.

    `segments`: kinds of surface that training tells apart, nothing among them.
    """

    width: float = 0.375
    depth: float = 0.167
    keypoints: int = 133
    context: int = 256
    layers: int = 2
    middle: int = 112
    fine: int = 80
    segments: int = len(SEGMENTS)
    input_size: tuple[int, int] = (192, 256)


VARIANTS = {
    "nano": Config(0.125, 0.167, context=32, middle=16, fine=16, layers=1, input_size=(96, 128)),
    "n": Config(input_size=(96, 128)),
    "t": Config(),
}


class Logits(NamedTuple):
    """Before the softmax: the map of stride 8, the score of "elsewhere", and what only training uses: a map of stride 32, and the surface.

    The surface is, at stride 8, a score for each segment and then the place on the body, x, y, z in 0 to 1.
    """

    fine: Float[Tensor, "b k h w"]
    elsewhere: Float[Tensor, "b k"]
    coarse: Float[Tensor, "b k h32 w32"]
    surface: Float[Tensor, "b s h w"]


class Join(nn.Module):
    """A coarse map, brought to the size of a finer one and added to it, then mixed: -> (b, outputs, h, w)."""

    def __init__(self, coarse: int, fine: int, outputs: int):
        super().__init__()
        self.reduce = ConvBlock(coarse, outputs)
        self.lateral = ConvBlock(fine, outputs)
        self.mix = Block(outputs, add=True, eps=1e-5)

    def forward(self, coarse: Float[Tensor, "b c h2 w2"], fine: Float[Tensor, "b f h w"]) -> Float[Tensor, "b o h w"]:
        return self.mix(F.interpolate(self.reduce(coarse), size=fine.shape[2:]) + self.lateral(fine))


class PoseTrunk(nn.Module):
    """What sees: maps of strides 8, 16 and 32 of pictures whose sides are multiples of 32. `maps` makes keypoints of the first."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = CSPNeXt(config.width, config.depth)
        c8, c16, c32 = self.backbone.channels
        self.grid = (config.input_size[1] // COARSE, config.input_size[0] // COARSE)
        self.enter = ConvBlock(c32, config.context)
        self.places = nn.Parameter(torch.randn(1, self.grid[0] * self.grid[1], config.context) * 0.02)
        self.context = blocks(config.context, max(config.context // 64, 1), 2 * config.context, config.layers)
        self.norm = nn.LayerNorm(config.context)
        self.middle = Join(config.context, c16, config.middle)
        self.fine = Join(config.middle, c8, config.fine)
        self.maps = nn.Conv2d(config.fine, config.keypoints, 1)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of strides 8, 16 and 32, with `fine`, `middle` and `context` channels."""
        return self.joined(*self.backbone(image))

    def joined(self, map8: Tensor, map16: Tensor, map32: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`features`, from the backbone's three maps."""
        seen = self.enter(map32)
        size = (seen.shape[2], seen.shape[3])
        tokens = seen.flatten(2).transpose(1, 2) + resample_positions(self.places, self.grid, size)
        for block in self.context:
            tokens = block(tokens)
        whole = self.norm(tokens).transpose(1, 2).unflatten(2, size)
        middle = self.middle(whole, map16)
        return self.fine(middle, map8), middle, whole


class MapPose(PoseTrunk):
    """Normalised RGB crops of any size whose sides are multiples of 32 -> probability maps (b, k, h / 8, w / 8), each of sum <= 1."""

    def __init__(self, config: Config):
        super().__init__(config)
        self.surface = nn.Conv2d(config.fine, config.segments + 3, 1)
        self.coarse = nn.Conv2d(config.context, config.keypoints, 1)
        self.elsewhere = nn.Linear(config.context, config.keypoints)

    def logits(self, image: Float[Tensor, "b 3 h w"]) -> Logits:
        """What the softmax and the losses start from."""
        fine, _, whole = self.features(image)
        return self.read(fine, whole)

    def read(self, fine: Float[Tensor, "b f h w"], whole: Float[Tensor, "b c h32 w32"]) -> Logits:
        """`logits`, from the maps of strides 8 and 32 of `features`."""
        return Logits(self.maps(fine), self.elsewhere(whole.mean((2, 3))), self.coarse(whole), self.surface(fine))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h8 w8"]:
        return probabilities(self.logits(image))


def probabilities(logits: Logits) -> Float[Tensor, "b k h8 w8"]:
    """The chance of each cell; what a keypoint's lack to 1 is that of "elsewhere"."""
    every = torch.cat((logits.fine.flatten(2), logits.elsewhere[..., None]), 2).float()
    return torch.softmax(every, 2)[..., :-1].unflatten(2, (logits.fine.shape[2], logits.fine.shape[3]))


def map_loss(
    maps: Float[Tensor, "b k h w"],
    elsewhere: Float[Tensor, "b k"] | None,
    keypoints: Float[Tensor, "b k 3"],
    weights: Float[Tensor, " k"],
    stride: int,
) -> Float[Tensor, ""]:
    """Cross-entropy of each keypoint's map with its place, spread over the four nearest cells, nats, weighted by keypoint.

    `keypoints` are x, y in crop pixels and 1, or 0 for points that are not in the crop; those are learned as `elsewhere`, or left out
    where that is None.
    """
    height, width = maps.shape[2:]
    there = keypoints[..., 2] > 0
    place = (keypoints[..., :2] - (stride - 1) / 2) / stride
    x, y = place[..., 0].clamp(0, width - 1), place[..., 1].clamp(0, height - 1)
    logits = maps.flatten(2).float()
    if elsewhere is not None:
        logits = torch.cat((logits, elsewhere[..., None].float()), 2)
    log_p = F.log_softmax(logits, 2)
    left, top = x.floor().long().clamp(max=max(width - 2, 0)), y.floor().long().clamp(max=max(height - 2, 0))
    across, down = x - left, y - top
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    cells = torch.stack((top * width + left, top * width + right, below * width + left, below * width + right), 2)
    share = torch.stack(((1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down), 2)
    entropy = -(log_p.gather(2, cells) * share).sum(2)
    counted = there * weights
    if elsewhere is not None:
        entropy = torch.where(there, entropy, -log_p[..., -1])
        counted = weights.expand_as(entropy)
    return (entropy * counted).sum() / counted.sum().clamp(min=1)


def surface_loss(surface: Float[Tensor, "b s h w"], truth: UInt8[Tensor, "b 4 h w"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy of the segments, nats, and mean distance of the places along an axis, in 0 to 1, where there is a body.

    `truth`: segment, or UNTOLD for cells that teach nothing; then the place, 0 to 255.
    """
    segment = truth[:, 0].long()
    entropy = F.cross_entropy(surface[:, :-3].float(), segment, ignore_index=UNTOLD)
    body = ((segment > 0) & (segment != UNTOLD))[:, None]
    distance = (surface[:, -3:].float() - truth[:, 1:] / 255).abs() * body
    return entropy, distance.sum() / (3 * body.sum()).clamp(min=1)


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The configuration that a state dict of ours belongs to, from its shapes. Raises WeightsError if it is of another system.

    How many blocks the backbone's stages have follows from the first factor of `VARIANTS` that gives them.
    """
    keypoints, fine, _, _ = need(state, "maps.weight", 4)
    middle = need(state, "middle.reduce.conv.weight", 4)[0]
    context, channels, _, _ = need(state, "enter.conv.weight", 4)
    cells, segments = need(state, "places", 3)[1], need(state, "surface.weight", 4)[0] - 3
    sizes = (known.input_size for known in VARIANTS.values())
    size = next((size for size in sizes if size[0] * size[1] == cells * COARSE**2), None)
    if size is None:
        raise WeightsError(f"a MapPose with {cells} cells of stride {COARSE} is none of ours: crops are 192x256 or 96x128")
    blocks = [count_parts(state, f"backbone.stage{i}.{2 if i == 4 else 1}.blocks.") for i in range(1, 5)]
    depth = next((known.depth for known in VARIANTS.values() if list(stage_depths(known.depth)) == blocks), blocks[1] / 6)
    layers = count_parts(state, "context.")
    return Config(channels / BASE_WIDTHS[-1], depth, keypoints, context, layers, middle, fine, segments, size)


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, MapPose]:
    """The network of a training run, filled, in eval mode (never published: this project's own). Raises WeightsError as `check_fit`."""
    config = infer_config(state)
    return config, filled(MapPose, config, state)


def exported(config: Config, model: MapPose, skeleton: str = "") -> Exported:
    """What goes into an ONNX file: the probability maps. `skeleton` as for `rtmw.exported`."""
    width, height = config.input_size
    name = f"mappose-{config.keypoints}-{height}x{width}"
    card = Card(
        id=name, task="pose2d", file=f"{name}.onnx", input_size=config.input_size, mean=IMAGENET_MEAN, std=IMAGENET_STD,
        skeleton=keypoint_set(config.keypoints, skeleton), codec="probability-map", family="MapPose",
    )  # fmt: skip
    return Exported(model, {"input": (3, height, width)}, ("maps",), card)
