"""Backbones that several systems can stand on: which one, how large, and how to tell from the shapes of a state dict.

Every backbone turns normalised pictures into a tuple of maps, the finest first, with `channels` of the same length.
The readers expect our names (`vitruvian.nn`), which are the published ones of most files; a system's KEYMAP comes first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from vitruvian.errors import WeightsError
from vitruvian.nn.hourglass import BLOCKS as HOURGLASS_BLOCKS
from vitruvian.nn.hourglass import CHANNELS as HOURGLASS_CHANNELS
from vitruvian.nn.hourglass import STEM as HOURGLASS_STEM
from vitruvian.nn.hourglass import Hourglass
from vitruvian.nn.hrnet import BLOCKS as HRNET_BLOCKS
from vitruvian.nn.hrnet import MODULES as HRNET_MODULES
from vitruvian.nn.hrnet import HRNet
from vitruvian.nn.resnet import DEPTHS, BasicBlock, Bottleneck, ResNet
from vitruvian.nn.vit import ViT
from vitruvian.systems.checkpoint import need

_VIT_HEADS = {384: 12, 768: 12, 1024: 16, 1280: 16}
"""ViTPose's heads by width; the weights don't tell them."""


@dataclass(frozen=True)
class ResNetConfig:
    """Blocks per stage, kind of block, width of the stem. Maps of strides 4, 8, 16, 32."""

    depths: tuple[int, ...] = DEPTHS[50]
    bottleneck: bool = True
    width: int = 64

    @property
    def multiple(self) -> int:
        """Of what the sides of a picture must be multiples, for maps whose sizes fit each other."""
        return 32

    def build(self) -> ResNet:
        return ResNet(self.depths, Bottleneck if self.bottleneck else BasicBlock, self.width)


@dataclass(frozen=True)
class HRNetConfig:
    """Width of the finest branch; only that branch's map, or all of strides 4, 8, 16, 32. The rest shrinks networks for tests."""

    width: int = 48
    finest: bool = False
    modules: tuple[int, ...] = HRNET_MODULES
    count: int = HRNET_BLOCKS
    stem: int = 64

    @property
    def multiple(self) -> int:
        """Of what the sides of a picture must be multiples, for maps whose sizes fit each other."""
        return 32

    def build(self) -> HRNet:
        return HRNet(self.width, self.finest, self.modules, self.count, self.stem)


@dataclass(frozen=True)
class ViTConfig:
    """ViTPose's transformer: width, blocks, heads, table of places (rows, columns), patches with their padding. One map."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    grid: tuple[int, int] = (16, 12)
    patch: int = 16
    padding: int = 2
    drop_path: float = 0.0

    @property
    def multiple(self) -> int:
        """Of what the sides of a picture must be multiples, for maps whose sizes fit each other."""
        return self.patch

    def build(self) -> ViT:
        return ViT(self.width, self.depth, self.heads, self.grid, self.patch, self.padding, drop_path=self.drop_path)


@dataclass(frozen=True)
class HourglassConfig:
    """Stacks, channels and blocks from the outer size to the innermost, channels of the first convolution. A map of stride 4 per stack."""

    stacks: int = 1
    channels: tuple[int, ...] = HOURGLASS_CHANNELS
    counts: tuple[int, ...] = HOURGLASS_BLOCKS
    stem: int = HOURGLASS_STEM

    @property
    def multiple(self) -> int:
        """Of what the sides of a picture must be multiples, for maps whose sizes fit each other."""
        return 4 * 2 ** (len(self.channels) - 1)

    def build(self) -> Hourglass:
        return Hourglass(self.stacks, self.channels, self.counts, self.stem)


Backbone = ResNetConfig | HRNetConfig | ViTConfig | HourglassConfig


def infer_backbone(state: Mapping[str, Tensor], prefix: str = "backbone.") -> Backbone:
    """The backbone whose entries begin with `prefix`. Raises WeightsError when it is none of ours."""
    if f"{prefix}patch_embed.proj.weight" in state:
        return _vit(state, prefix)
    if f"{prefix}hourglass_modules.0.up1.0.conv1.weight" in state:
        return _hourglass(state, prefix)
    if f"{prefix}conv2.weight" in state:
        return _hrnet(state, prefix)
    bottleneck = f"{prefix}layer1.0.conv3.weight" in state
    depths = tuple(_count(state, f"{prefix}layer{i}.") for i in range(1, 5))
    if not all(depths):
        raise WeightsError(f"no ResNet, HRNet, ViT or hourglass under {prefix!r}: it is a checkpoint of another system")
    return ResNetConfig(depths, bottleneck, need(state, f"{prefix}conv1.weight", 4)[0])


def unused(state: Mapping[str, Tensor], prefix: str = "backbone.") -> tuple[str, ...]:
    """Patterns of entries under `prefix` that published files hold, and that the backbone never uses.

    A file of one hourglass holds the residual block between it and the next; the classifier of a ResNet is not for pose.
    """
    root = re.escape(prefix)
    lonely = not any(name.startswith(f"{prefix}conv1x1s.") for name in state)
    return (rf"^{root}fc\.", *((rf"^{root}inters\.",) if lonely else ()))


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered children there are under `prefix`."""
    return len({name[len(prefix) :].split(".", 1)[0] for name in state if name.startswith(prefix)})


def grid_of(cells: int) -> tuple[int, int] | None:
    """Rows and columns of so many patches in the form of a crop: 4:3, or square. None when neither fits."""
    for rows, columns in ((4, 3), (1, 1)):
        scale = math.isqrt(cells // (rows * columns))
        if scale and scale * scale * rows * columns == cells:
            return rows * scale, columns * scale
    return None


def _vit(state: Mapping[str, Tensor], prefix: str) -> ViTConfig:
    width, _, patch, _ = need(state, f"{prefix}patch_embed.proj.weight", 4)
    cells = need(state, f"{prefix}pos_embed", 3)[1]
    grid = grid_of(cells)
    if grid is None:
        raise WeightsError(f"{prefix}pos_embed has {cells} places, neither 4:3 nor square: it is a transformer of another kind")
    heads = _VIT_HEADS.get(width, max(width // 64, 1))
    return ViTConfig(width, _count(state, f"{prefix}blocks."), heads, grid, patch)


def _hrnet(state: Mapping[str, Tensor], prefix: str) -> HRNetConfig:
    modules = tuple(_count(state, f"{prefix}stage{i}.") for i in (2, 3, 4))
    if not all(modules):
        raise WeightsError(f"the HRNet under {prefix!r} lacks a stage: it is a checkpoint of another system")
    rows = _count(state, f"{prefix}stage4.{modules[-1] - 1}.fuse_layers.")
    width, stem = need(state, f"{prefix}transition1.0.0.weight", 4)[0], need(state, f"{prefix}conv1.weight", 4)[0]
    return HRNetConfig(width, rows == 1, modules, _count(state, f"{prefix}stage2.0.branches.0."), stem)


def _hourglass(state: Mapping[str, Tensor], prefix: str) -> HourglassConfig:
    place = f"{prefix}hourglass_modules.0."
    channels, counts = [], []
    while f"{place}up1.0.conv1.weight" in state:
        channels.append(need(state, f"{place}up1.0.conv1.weight", 4)[0])
        counts.append(_count(state, f"{place}up1."))
        place += "low2."
    channels.append(need(state, f"{place}0.conv1.weight", 4)[0])
    counts.append(_count(state, place))
    stacks = _count(state, f"{prefix}hourglass_modules.")
    return HourglassConfig(stacks, tuple(channels), tuple(counts), need(state, f"{prefix}stem.0.conv.weight", 4)[0])


def title(backbone: Backbone) -> str:
    """A short name, such as "resnet50", "hrnet48", "vit768", "hourglass52"; sizes that are not published by their numbers."""
    if isinstance(backbone, ResNetConfig):
        sizes = (size for size, depths in DEPTHS.items() if depths == backbone.depths and (size >= 50) == backbone.bottleneck)
        name = f"resnet{next(sizes, '-'.join(map(str, backbone.depths)))}"
        return name if backbone.width == 64 else f"{name}-w{backbone.width}"
    if isinstance(backbone, HourglassConfig):
        published = (backbone.channels, backbone.counts) == (HOURGLASS_CHANNELS, HOURGLASS_BLOCKS)
        return f"hourglass{52 * backbone.stacks}" if published else f"hourglass{backbone.stacks}-w{backbone.channels[0]}"
    return f"{'hrnet' if isinstance(backbone, HRNetConfig) else 'vit'}{backbone.width}"
