"""ResNet (He et al. 2015, arXiv 1512.03385), with the stride on the 3x3 convolution: names and arithmetic of torchvision's files.

The two residual blocks serve HRNet and the stacked hourglass too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks per stage of the published sizes: basic blocks up to 34, bottlenecks from 50."""


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, padded by half the kernel, with weights drawn for the ReLU behind it."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What a block's input passes to be added to its output: nothing where the shapes agree."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the input added: (b, i, h, w) -> (b, o, h / stride, w / stride)."""

    narrowing = 1

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 to a quarter of the channels, 3x3 with the stride, 1x1 back, and the input added: (b, i, h, w) -> (b, o, h / s, w / s)."""

    narrowing = 4

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        inner = outputs // self.narrowing
        self.conv1, self.bn1 = conv(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


Residual = type[BasicBlock] | type[Bottleneck]


def residual_layer(block: Residual, inputs: int, outputs: int, count: int, stride: int = 1) -> nn.Sequential:
    """`count` blocks; the first takes the stride and the change of width."""
    return nn.Sequential(block(inputs, outputs, stride), *(block(outputs, outputs) for _ in range(count - 1)))


class ResNet(nn.Module):
    """Normalised pictures -> maps of strides 4, 8, 16, 32 with `self.channels` channels (without the classifier).

    `width` is the stem's: 64 in all published sizes.
    """

    def __init__(self, depths: Sequence[int] = DEPTHS[50], block: Residual = Bottleneck, width: int = 64):
        super().__init__()
        self.channels = tuple(width * block.narrowing * 2**i for i in range(4))
        self.conv1, self.bn1 = conv(3, width, 7, 2), nn.BatchNorm2d(width)
        for i, (inputs, outputs, count) in enumerate(zip((width, *self.channels), self.channels, depths, strict=False)):
            setattr(self, f"layer{i + 1}", residual_layer(block, inputs, outputs, count, 1 if i == 0 else 2))

    def forward(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b c2 h2 w2"], Float[Tensor, "b c3 h3 w3"], Float[Tensor, "b c4 h4 w4"], Float[Tensor, "b c5 h5 w5"]]:
        c1 = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        c2 = self.layer1(c1)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)
