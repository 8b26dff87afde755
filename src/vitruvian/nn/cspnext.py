"""CSPNeXt: the convolutional backbone of RTMDet, RTMPose, DWPose and RTMW (Lyu et al. 2022, arXiv 2212.07784).

Four stages of strides 4, 8, 16, 32. Each is a strided 3x3 convolution and a cross-stage-partial layer of blocks "3x3, then depthwise 5x5"
with channel attention; the last stage starts with spatial pyramid pooling. Base widths 64-128-256-512-1024 and depths 3-6-6-3 are scaled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

BASE_WIDTHS = (64, 128, 256, 512, 1024)
BASE_DEPTHS = (3, 6, 6, 3)


def stage_widths(width: float) -> tuple[int, ...]:
    """Channels of the stem and of stages 1-4 for a width factor: int(base * width)."""
    return tuple(int(base * width) for base in BASE_WIDTHS)


def stage_depths(depth: float) -> tuple[int, ...]:
    """Blocks in stages 1-4 for a depth factor: round(base * depth), at least 1."""
    return tuple(max(round(base * depth), 1) for base in BASE_DEPTHS)


class ConvBlock(nn.Module):
    """Convolution without bias, batch normalisation, SiLU (or another `activation`).

    Padded by half the kernel: (b, i, h, w) -> (b, o, h / stride, w / stride).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        eps: float = 1e-5,
        activation: Callable[[Tensor], Tensor] = F.silu,
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=eps)
        self.activation = activation

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        return self.activation(self.bn(self.conv(x)))


class SeparableConv(nn.Module):
    """A depthwise and a pointwise `ConvBlock`: the cheap form of a dense k x k convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, eps: float = 1e-5):
        super().__init__()
        self.depthwise_conv = ConvBlock(inputs, inputs, kernel, stride, groups=inputs, eps=eps)
        self.pointwise_conv = ConvBlock(inputs, outputs, 1, eps=eps)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        return self.pointwise_conv(self.depthwise_conv(x))


def spatial_conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, eps: float = 1e-5, depthwise: bool = False) -> nn.Module:
    """A k x k convolution block, dense or (`depthwise`) separable."""
    return (SeparableConv if depthwise else ConvBlock)(inputs, outputs, kernel, stride, eps=eps)


class Residual(nn.Module):
    """Two convolutions and (with `add`) the input added: (b, c, h, w) -> (b, c, h, w)."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module, add: bool):
        super().__init__()
        self.conv1 = conv1
        self.conv2 = conv2
        self.add = add

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.conv2(self.conv1(x))
        return x + y if self.add else y


class Block(Residual):
    """3x3 convolution, then a separable 5x5, and (with `add`) the input added: (b, c, h, w) -> (b, c, h, w)."""

    def __init__(self, channels: int, add: bool, eps: float, depthwise: bool = False):
        first = spatial_conv(channels, channels, 3, eps=eps, depthwise=depthwise)
        super().__init__(first, SeparableConv(channels, channels, 5, eps=eps), add)


class ChannelAttention(nn.Module):
    """Weights each channel by a hard sigmoid of a linear map of the channel means."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class CSPLayer(nn.Module):
    """Half of the channels pass through `depth` blocks, half pass by; concatenated (blocks first), weighted, mixed: i -> o channels."""

    def __init__(
        self, inputs: int, outputs: int, depth: int, add: bool = True, attention: bool = True, eps: float = 1e-5, depthwise: bool = False
    ):
        super().__init__()
        hidden = outputs // 2
        self.main_conv = ConvBlock(inputs, hidden, eps=eps)
        self.short_conv = ConvBlock(inputs, hidden, eps=eps)
        self.blocks = nn.Sequential(*(Block(hidden, add, eps, depthwise) for _ in range(depth)))
        self.attention = ChannelAttention(2 * hidden) if attention else nn.Identity()
        self.final_conv = ConvBlock(2 * hidden, outputs, eps=eps)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        y = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), 1)
        return self.final_conv(self.attention(y))


class PyramidPool(nn.Module):
    """Spatial pyramid pooling: half of the channels and their maxima over 5x5, 9x9, 13x13 windows, mixed back to c channels."""

    def __init__(self, channels: int, eps: float):
        super().__init__()
        hidden = channels // 2
        self.conv1 = ConvBlock(channels, hidden, eps=eps)
        self.conv2 = ConvBlock(4 * hidden, channels, eps=eps)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = self.conv1(x)
        # A 9x9 maximum is a 5x5 maximum of a 5x5 maximum, and so on: exact and much cheaper than the wide windows.
        p5 = F.max_pool2d(x, 5, 1, 2)
        p9 = F.max_pool2d(p5, 5, 1, 2)
        p13 = F.max_pool2d(p9, 5, 1, 2)
        return self.conv2(torch.cat((x, p5, p9, p13), 1))


class CSPNeXt(nn.Module):
    """The backbone: image -> feature maps of strides 8, 16, 32 with `self.channels` channels.

    `eps` is the batch normalisation's: 1e-5 for the published pose networks, 1e-3 for the published detectors.
    `depthwise` replaces the dense 3x3 convolutions after the stem by separable ones (for very small networks).
    """

    def __init__(self, width: float, depth: float, eps: float = 1e-5, depthwise: bool = False):
        super().__init__()
        widths = stage_widths(width)
        stem = widths[0]
        self.stem = nn.Sequential(
            ConvBlock(3, stem // 2, 3, 2, eps=eps), ConvBlock(stem // 2, stem // 2, 3, eps=eps), ConvBlock(stem // 2, stem, 3, eps=eps)
        )
        for i, blocks in enumerate(stage_depths(depth)):
            inputs, outputs, last = widths[i], widths[i + 1], i == 3
            layers: list[nn.Module] = [spatial_conv(inputs, outputs, 3, 2, eps, depthwise)]
            if last:
                layers.append(PyramidPool(outputs, eps))
            layers.append(CSPLayer(outputs, outputs, blocks, add=not last, eps=eps, depthwise=depthwise))
            setattr(self, f"stage{i + 1}", nn.Sequential(*layers))
        self.channels: tuple[int, int, int] = widths[2:]

    def forward(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b c3 h3 w3"], Float[Tensor, "b c4 h4 w4"], Float[Tensor, "b c5 h5 w5"]]:
        c3 = self.stage2(self.stage1(self.stem(image)))
        c4 = self.stage3(c3)
        return c3, c4, self.stage4(c4)
