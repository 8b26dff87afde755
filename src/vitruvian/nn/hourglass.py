"""The stacked hourglass (Newell et al. 2016, arXiv 1603.06937) in the widened form of the published 52- and 104-layer pose networks.

An hourglass goes down several times by strides of 2 and up again, and adds at every size what passed by. Stacks refine each other's
features. Source: card rmpg.md 4.6.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.nn.cspnext import ConvBlock
from vitruvian.nn.resnet import BasicBlock, residual_layer

CHANNELS = (256, 256, 384, 384, 384, 512)
BLOCKS = (2, 2, 2, 2, 2, 4)
STEM = 128


class HourglassModule(nn.Module):
    """(b, c, h, w) -> the same. `channels` and `counts` of blocks go from the outer size to the innermost."""

    def __init__(self, channels: Sequence[int], counts: Sequence[int]):
        super().__init__()
        here, below, count = channels[0], channels[1], counts[0]
        self.up1 = residual_layer(BasicBlock, here, here, count)
        self.low1 = residual_layer(BasicBlock, here, below, count, 2)
        deeper = len(channels) > 2
        self.low2 = HourglassModule(channels[1:], counts[1:]) if deeper else residual_layer(BasicBlock, below, below, counts[1])
        # Here the last block changes the width, on all other ways the first.
        self.low3 = nn.Sequential(*(BasicBlock(below, below) for _ in range(count - 1)), BasicBlock(below, here))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.up1(x) + F.interpolate(self.low3(self.low2(self.low1(x))), scale_factor=2.0)


class Hourglass(nn.Module):
    """Normalised pictures -> for each stack a map of stride 4 with channels[0] channels. Sides must be multiples of 4 * 2^depth."""

    def __init__(self, stacks: int = 1, channels: Sequence[int] = CHANNELS, counts: Sequence[int] = BLOCKS, stem: int = STEM):
        super().__init__()
        width = channels[0]
        self.channels = (width,) * stacks
        self.multiple = 4 * 2 ** (len(channels) - 1)
        self.stem = nn.Sequential(ConvBlock(3, stem, 7, 2, activation=F.relu), residual_layer(BasicBlock, stem, width, 1, 2))
        self.hourglass_modules = nn.ModuleList(HourglassModule(channels, counts) for _ in range(stacks))
        self.out_convs = nn.ModuleList(ConvBlock(width, width, 3, activation=F.relu) for _ in range(stacks))
        merges = range(stacks - 1)
        self.conv1x1s = nn.ModuleList(ConvBlock(width, width, activation=nn.Identity()) for _ in merges)
        self.remap_convs = nn.ModuleList(ConvBlock(width, width, activation=nn.Identity()) for _ in merges)
        self.inters = nn.ModuleList(BasicBlock(width, width) for _ in merges)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b c h w"], ...]:
        if image.shape[2] % self.multiple or image.shape[3] % self.multiple:
            raise ValueError(f"an hourglass of this depth needs sides that are multiples of {self.multiple}, not {tuple(image.shape[2:])}")
        x = self.stem(image)
        maps = []
        for i, (hourglass, out) in enumerate(zip(self.hourglass_modules, self.out_convs, strict=True)):
            maps.append(out(hourglass(x)))
            if i < len(self.inters):
                x = self.inters[i](F.relu(self.conv1x1s[i](x) + self.remap_convs[i](maps[-1])))
        return tuple(maps)
