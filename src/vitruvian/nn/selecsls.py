"""SelecSLS, the backbone of XNect (Mehta et al. 2020, arXiv 1907.00837): concatenated convolutions with few long skips, and fast.

Attribute names are those of the published files.

A block is six convolutions, each with normalisation and ReLU:

    d1 = conv1(x), 3x3        d2 = conv3(conv2(d1)), 1x1 then 3x3        d3 = conv5(conv4(d2)), 1x1 then 3x3
    y = conv6(d1, d2, d3 [, skip]), 1x1 over the concatenation

The first block of a level halves the map and has no skip; what it gives is the skip of all other blocks of its level. So the widths of the
six convolutions say everything about a block, and a pruned network is one with uneven widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

Widths = tuple[int, int, int, int, int, int]
"""Channels that conv1 to conv6 of a block give."""

CONVOLUTIONS = tuple(f"conv{i}" for i in range(1, 7))
PRUNED_BELOW = 1e-3  # scale of the normalisation at which the published program takes a channel for dead
HEAD_STRIDES = ((3, 2), (3, 1), (3, 2), (1, 1))  # kernel and stride of the classifier's convolutions
EPS = 1e-5


def block_widths(k: int, out: int) -> Widths:
    """The widths of a published block. `k` is even."""
    return (k, k, k // 2, k, k // 2, out)


def level(k: int, blocks: int, out: int) -> tuple[Widths, ...]:
    """A level of a published network: its blocks are `k` wide, the last gives `out` channels."""
    return (*(block_widths(k, k),) * (blocks - 1), block_widths(k, out))


@dataclass(frozen=True)
class SelecSLSConfig:
    """Widths of the stem and of every block of every level; of the classifier's four convolutions (none: no classifier) and its classes.

    `fused`: the normalisations are folded into the convolutions, which have biases then.
    """

    levels: tuple[tuple[Widths, ...], ...]
    stem: int = 32
    head: tuple[int, ...] = ()
    classes: int = 0
    fused: bool = False

    def __post_init__(self) -> None:
        widths = [self.stem, *(w for blocks in self.levels for block in blocks for w in block), *self.head]
        if min(widths) < 1 or not all(self.levels) or len(self.head) not in (0, len(HEAD_STRIDES)):
            raise ValueError(f"widths {widths} are no SelecSLS: every level needs a block, every convolution a channel, a classifier four")

    @property
    def multiple(self) -> int:
        """Of what the sides of a picture must be multiples, for maps whose sizes fit each other."""
        return 2 ** (1 + len(self.levels))

    def build(self) -> SelecSLS:
        return SelecSLS(self)


_LEVELS: dict[str, tuple[tuple[Widths, ...], ...]] = {
    "42": (level(64, 2, 128), level(144, 2, 288), level(304, 2, 480)),
    "60": (level(64, 2, 128), level(128, 3, 288), level(288, 4, 416)),
    "84": (level(64, 2, 144), level(144, 5, 304), level(304, 6, 512)),
    "102": (level(64, 4, 128), level(128, 5, 288), level(288, 7, 480)),
}
_HEADS = {
    "42": (960, 1024, 1024, 1280),
    "42_B": (960, 1024, 1280, 1024),
    "60": (756, 1024, 1024, 1280),
    "60_B": (756, 1024, 1280, 1024),
    "84": (960, 1024, 1024, 1280),
    "102": (960, 1024, 1024, 1280),
}
CONFIGS: dict[str, SelecSLSConfig] = {
    name: SelecSLSConfig(_LEVELS[name.removesuffix("_B")], head=head, classes=1000) for name, head in _HEADS.items()
}
"""The published classifiers. Without head and classes they are the backbones."""


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, fused: bool = False) -> nn.Sequential:
    """Convolution, normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=fused)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.Identity() if fused else nn.BatchNorm2d(outputs, EPS), nn.ReLU())


class Block(nn.Module):
    """(b, i, h, w) -> (b, widths[5], h / stride, w / stride); `skip` is the number of channels of the skip, 0 for none."""

    def __init__(self, inputs: int, widths: Widths, skip: int = 0, stride: int = 1, fused: bool = False):
        super().__init__()
        a, b, c, d, e, out = widths
        self.conv1 = unit(inputs, a, 3, stride, fused)
        self.conv2 = unit(a, b, 1, fused=fused)
        self.conv3 = unit(b, c, 3, fused=fused)
        self.conv4 = unit(c, d, 1, fused=fused)
        self.conv5 = unit(d, e, 3, fused=fused)
        self.conv6 = unit(a + c + e + skip, out, 1, fused=fused)

    def forward(self, x: Float[Tensor, "b i h w"], skip: Float[Tensor, "b s h2 w2"] | None = None) -> Float[Tensor, "b o h2 w2"]:
        d1 = self.conv1(x)
        d2 = self.conv3(self.conv2(d1))
        d3 = self.conv5(self.conv4(d2))
        return self.conv6(torch.cat((d1, d2, d3) if skip is None else (d1, d2, d3, skip), 1))


class SelecSLS(nn.Module):
    """Normalised pictures -> the last map of every level, of strides 4, 8, 16 in the published networks, with `self.channels` channels."""

    def __init__(self, config: SelecSLSConfig):
        super().__init__()
        self.config = config
        self.channels = tuple(blocks[-1][-1] for blocks in config.levels)
        self.stem = unit(3, config.stem, 3, 2, config.fused)
        self.features = nn.ModuleList()
        inputs = config.stem
        for blocks in config.levels:
            for i, widths in enumerate(blocks):
                self.features.append(Block(inputs, widths, blocks[0][-1] if i else 0, 1 if i else 2, config.fused))
                inputs = widths[-1]
        if config.head:
            self.head = nn.Sequential()
            for width, (kernel, stride) in zip(config.head, HEAD_STRIDES, strict=True):
                self.head.append(unit(inputs, width, kernel, stride, config.fused))
                inputs = width
            self.classifier = nn.Sequential(nn.Linear(inputs, config.classes))

    def maps(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """What the stem and every block give."""
        out = [self.stem(image)]
        places = iter(self.features)
        for blocks in self.config.levels:
            skip = None
            for _ in blocks:
                out.append(next(places)(out[-1], skip))
                skip = out[-1] if skip is None else skip
        return out

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        maps, at, out = self.maps(image), 0, []
        for blocks in self.config.levels:
            at += len(blocks)
            out.append(maps[at])
        return tuple(out)

    def logits(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """The classifier's answer; for configurations with a head."""
        return self.classifier(self.head(self(image)[-1]).mean((2, 3)))


def infer_selecsls(state: Mapping[str, Tensor], prefix: str = "") -> SelecSLSConfig | None:
    """The configuration of a state dict in the published names, pruned and fused ones too; None where its shapes are no SelecSLS."""

    def outputs(name: str) -> int:
        value = state.get(f"{prefix}{name}.0.weight")
        return len(value) if value is not None and value.ndim == 4 else 0

    levels: list[list[Widths]] = []
    count = 0
    while outputs(f"features.{count}.conv6"):
        widths = tuple(outputs(f"features.{count}.{name}") for name in CONVOLUTIONS)
        without_skip = widths[0] + widths[2] + widths[4]
        if state[f"{prefix}features.{count}.conv6.0.weight"].shape[1] == without_skip:
            levels.append([])
        if not levels or min(widths) < 1:
            return None
        levels[-1].append(widths)
        count += 1
    head = tuple(outputs(f"head.{i}") for i in range(len(HEAD_STRIDES)))
    bias = state.get(f"{prefix}classifier.0.bias")
    classes = bias.numel() if all(head) and bias is not None else 0
    if not (levels and outputs("stem")):
        return None
    fused = f"{prefix}stem.1.weight" not in state
    return SelecSLSConfig(tuple(map(tuple, levels)), outputs("stem"), head if classes else (), classes, fused)


def fuse(model: SelecSLS, threshold: float = PRUNED_BELOW) -> SelecSLS:
    """A copy in eval mode with the normalisations folded into the convolutions, and without the channels whose scale is <= threshold.

    The constant that a dropped channel would have given is ignored, as published: harmless where its offset is near 0 too. A negative
    threshold drops nothing. Raises ValueError where the model is fused already, or nothing would be left of a convolution.
    """
    config = model.config
    if config.fused:
        raise ValueError("this network is fused already: fuse the one that it was made of")
    state = model.state_dict()
    kept, folded = torch.arange(3), {}

    def fold(name: str, inputs: Tensor) -> Tensor:
        """Fold one convolution, which sees only these `inputs`; which of its outputs are left."""
        weight, gamma, beta, mean, variance = (
            state[f"{name}.{part}"] for part in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        )
        scale = gamma / torch.sqrt(variance + EPS)
        outputs = torch.nonzero(gamma.abs() > threshold).flatten()
        if not len(outputs):
            raise ValueError(f"all scales of {name} are <= {threshold}: prune with a lower threshold")
        folded[f"{name}.0.weight"] = (weight * scale[:, None, None, None])[outputs][:, inputs]
        folded[f"{name}.0.bias"] = (beta - mean * scale)[outputs]
        return outputs

    kept = fold("stem", kept)
    index = 0
    for blocks in config.levels:
        skip: Tensor | None = None
        for a, _, c, _, e, _ in blocks:
            name = f"features.{index}"
            d1 = fold(f"{name}.conv1", kept)
            d2 = fold(f"{name}.conv3", fold(f"{name}.conv2", d1))
            d3 = fold(f"{name}.conv5", fold(f"{name}.conv4", d2))
            joined = [d1, a + d2, a + c + d3] + ([] if skip is None else [a + c + e + skip])
            kept = fold(f"{name}.conv6", torch.cat(joined))
            skip = kept if skip is None else skip
            index += 1
    for i in range(len(config.head)):
        kept = fold(f"head.{i}", kept)
    if config.head:
        folded |= {"classifier.0.weight": state["classifier.0.weight"][:, kept], "classifier.0.bias": state["classifier.0.bias"]}
    thin = SelecSLS(infer_selecsls(folded))
    thin.load_state_dict(folded)
    return thin.to(next(model.parameters()).device).eval()


def remaining(config: SelecSLSConfig) -> tuple[int, ...]:
    """Channels of the stem, then per block of conv1, conv3, conv5 and conv6, then of the head: what pruning reports."""
    blocks: Iterable[Widths] = (block for blocks in config.levels for block in blocks)
    return (config.stem, *(block[i] for block in blocks for i in (0, 2, 4, 5)), *config.head)
