"""CSP-Darknet with a path-aggregation neck and anchor heads: the one-stage detector under BPJDet and JointBDOE.

Backbone, neck and head of YOLOv5 (Jocher et al.; a program without a paper), after card bpjdet.md section 4: cross-stage-partial layers
(C3, Wang et al., arXiv 1911.11929), spatial pyramid pooling, and PANet's way down and up again (arXiv 1803.01534). Base widths 64, 128,
256, 512, (768,) 1024 and depths are scaled by two factors.

| levels | strides of the heads | called |
|---|---|---|
| 3 | 8, 16, 32 | P5 |
| 4 | 8, 16, 32, 64 | P6 |

| release | stem | end of the backbone | layers of the stage of stride 8 |
|---|---|---|---|
| 5 | 2x2 pixels to channels, 3x3 | pooling, then a C3 without sums | 9 |
| 6 | 6x6 of stride 2 | a C3 with sums, then pooling | 6 |

The card describes P6 of release 5, which the published BPJDet and JointBDOE use. P5 and release 6 are from general knowledge, not from a
checked reference; a pooling window leaves no trace in a checkpoint's shapes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.nn.cspnext import ConvBlock, PyramidPool, Residual

BASE_WIDTHS = {3: (64, 128, 256, 512, 1024), 4: (64, 128, 256, 512, 768, 1024)}
"""Channels of the stem and of the stages, by number of levels."""
ANCHORS_PER_CELL = 3
EPS = 1e-3
MOMENTUM = 0.03

Levels = Literal[3, 4]
Release = Literal[5, 6]


def widths(width: float, levels: Levels = 4) -> tuple[int, ...]:
    """Channels of the stem and of the stages: the next multiple of 8."""
    return tuple(math.ceil(base * width / 8) * 8 for base in BASE_WIDTHS[levels])


def repeats(base: int, depth: float) -> int:
    """Bottlenecks of a C3 for a depth factor: round(base * depth), at least 1."""
    return max(round(base * depth), 1)


class Bottleneck(Residual):
    """1x1, then 3x3 convolution, and (with `add`) the input added: (b, c, h, w) -> (b, c, h, w)."""

    def __init__(self, channels: int, add: bool):
        super().__init__(ConvBlock(channels, channels, eps=EPS), ConvBlock(channels, channels, 3, eps=EPS), add)


class C3(nn.Module):
    """Cross-stage-partial layer: half of the channels pass through bottlenecks, half pass by; i -> o channels."""

    def __init__(self, inputs: int, outputs: int, depth: int, add: bool = True):
        super().__init__()
        hidden = outputs // 2
        self.main_conv = ConvBlock(inputs, hidden, eps=EPS)
        self.short_conv = ConvBlock(inputs, hidden, eps=EPS)
        self.final_conv = ConvBlock(2 * hidden, outputs, eps=EPS)
        self.blocks = nn.Sequential(*(Bottleneck(hidden, add) for _ in range(depth)))

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        return self.final_conv(torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), 1))


class Focus(nn.Module):
    """2x2 pixels to channels, then a 3x3 convolution: (b, 3, h, w) -> (b, o, h/2, w/2). The order of the four is the release's own."""

    def __init__(self, outputs: int):
        super().__init__()
        self.conv = ConvBlock(12, outputs, 3, eps=EPS)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b o h2 w2"]:
        parts = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        return self.conv(torch.cat(parts, 1))


class Pool(PyramidPool):
    """`PyramidPool` with windows of k, 2k - 1, 3k - 2 pixels."""

    def __init__(self, channels: int, kernel: int):
        super().__init__(channels, EPS)
        self.kernel = kernel

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        pooled = [self.conv1(x)]
        for _ in range(3):  # maxima of maxima are those of wider windows
            pooled.append(F.max_pool2d(pooled[-1], self.kernel, 1, self.kernel // 2))
        return self.conv2(torch.cat(pooled, 1))


class CSPDarknet(nn.Module):
    """The backbone: image, sides multiples of the largest stride -> maps of stride 8 and on, of `self.channels` channels."""

    def __init__(self, width: float, depth: float, levels: Levels = 4, release: Release = 5):
        super().__init__()
        stem, *channels = widths(width, levels)
        if release == 5:
            self.stem: nn.Module = Focus(stem)
        else:
            self.stem = ConvBlock(3, stem, 6, 2, eps=EPS)
            self.stem.conv.padding = (2, 2)  # half of an even kernel would be a pixel too many
        inputs = (stem, *channels)
        depths = (3, 9 if release == 5 else 6, 9, *(3 for _ in channels[3:]))
        self.down = nn.ModuleList(ConvBlock(i, o, 3, 2, eps=EPS) for i, o in zip(inputs, channels, strict=False))
        self.stage = nn.ModuleList(
            C3(c, c, repeats(n, depth), add=release == 6 or c_index < levels)
            for c_index, (c, n) in enumerate(zip(channels, depths, strict=True))
        )
        self.pool = Pool(channels[-1], 3 if levels == 4 and release == 5 else 5)
        self.pool_first = release == 5
        self.channels: tuple[int, ...] = tuple(channels[1:])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        x, maps = self.stem(image), []
        last = len(self.stage) - 1
        for i, (down, stage) in enumerate(zip(self.down, self.stage, strict=True)):
            x = down(x)
            if i < last:
                x = stage(x)
            else:
                x = stage(self.pool(x)) if self.pool_first else self.pool(stage(x))
            maps.append(x)
        return tuple(maps[1:])


class PathNeck(nn.Module):
    """Coarse maps are blended into finer ones, and those back into the coarse: maps of `channels` -> maps of the same shapes."""

    def __init__(self, channels: tuple[int, ...], depth: float):
        super().__init__()
        count = repeats(3, depth)
        coarse_to_fine = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # (from, to)
        self.reduce = nn.ModuleList(ConvBlock(i, o, eps=EPS) for i, o in coarse_to_fine)
        self.top_down = nn.ModuleList(C3(2 * o, o, count, add=False) for _, o in coarse_to_fine)
        self.down = nn.ModuleList(ConvBlock(o, o, 3, 2, eps=EPS) for o in channels[:-1])
        self.bottom_up = nn.ModuleList(C3(2 * i, o, count, add=False) for i, o in zip(channels, channels[1:], strict=False))

    def forward(self, maps: tuple[Float[Tensor, "b _ _ _"], ...]) -> list[Float[Tensor, "b _ _ _"]]:
        x, kept = maps[-1], []
        for reduce, mix, finer in zip(self.reduce, self.top_down, maps[-2::-1], strict=True):
            x = reduce(x)
            kept.append(x)
            x = mix(torch.cat((F.interpolate(x, scale_factor=2.0, mode="nearest"), finer), 1))
        out = [x]
        for down, mix, same in zip(self.down, self.bottom_up, reversed(kept), strict=True):
            out.append(mix(torch.cat((down(out[-1]), same), 1)))
        return out


class AnchorNet(nn.Module):
    """Backbone, neck, and one 1x1 convolution per level that says `outputs` numbers for each of 3 anchors in every cell.

    image (b, 3, h, w) in [0, 1] -> per level raw logits (b, 3, rows, columns, outputs). `anchors` are (levels, 3, 2) widths and heights in
    strides; they belong to the weights, as training may refit them.
    """

    def __init__(
        self,
        width: float,
        depth: float,
        outputs: int,
        anchors: Float[Tensor, "l 3 2"],
        levels: Levels = 4,
        release: Release = 5,
    ):
        super().__init__()
        self.backbone = CSPDarknet(width, depth, levels, release)
        channels = self.backbone.channels
        self.neck = PathNeck(channels, depth)
        self.head = nn.ModuleList(nn.Conv2d(c, ANCHORS_PER_CELL * outputs, 1) for c in channels)
        self.strides = tuple(8 << level for level in range(levels))
        self.register_buffer("anchors", anchors.clone())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM

    def start_scores(self, classes: int) -> None:
        """Biases of untrained heads: about 8 objects in a picture of 640 pixels, of any class alike (bpjdet.md section 4)."""
        with torch.no_grad():
            for head, stride in zip(self.head, self.strides, strict=True):
                bias = head.bias.view(ANCHORS_PER_CELL, -1)
                bias[:, 4] += math.log(8 / (640 / stride) ** 2)
                bias[:, 5 : 5 + classes] += math.log(0.6 / (classes - 0.99))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b 3 _ _ c"]]:
        raw = []
        for head, features in zip(self.head, self.neck(self.backbone(image)), strict=True):
            x = head(features)
            raw.append(x.unflatten(1, (ANCHORS_PER_CELL, -1)).permute(0, 1, 3, 4, 2))
        return raw


def published_names(levels: Levels = 4, release: Release = 5) -> tuple[tuple[str, str], ...]:
    """Substitutions from a published checkpoint's numbered modules to the names here, to be applied in this order (`checkpoint.rename`)."""
    stage, pool = 2 * levels + 2, 2 * levels + 3
    if release == 5:
        stage, pool = pool, stage
    top, bottom, head = 2 * levels + 4, 6 * levels, 9 * levels - 3
    numbered = {0: "backbone.stem", stage: f"backbone.stage.{levels}", pool: "backbone.pool"}
    numbered |= {2 * i + 1: f"backbone.down.{i}" for i in range(levels + 1)} | {2 * i + 2: f"backbone.stage.{i}" for i in range(levels)}
    numbered |= {top + 4 * i + j: f"neck.{name}.{i}" for i in range(levels - 1) for j, name in ((0, "reduce"), (3, "top_down"))}
    numbered |= {bottom + 3 * i + j: f"neck.{name}.{i}" for i in range(levels - 1) for j, name in ((0, "down"), (2, "bottom_up"))}
    return (
        (rf"^model\.{head}\.m\.", "head."),
        (rf"^model\.{head}\.anchors$", "anchors"),
        (r"\.m\.(\d+)\.cv", r".blocks.\1.conv"),
        (rf"^model\.{pool}\.cv", "backbone.pool.conv"),
        *((rf"^model\.{index}\.", f"{name}.") for index, name in numbered.items()),
        (r"\.cv1\.", ".main_conv."),
        (r"\.cv2\.", ".short_conv."),
        (r"\.cv3\.", ".final_conv."),
    )
