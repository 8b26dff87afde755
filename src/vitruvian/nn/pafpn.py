"""Path-aggregation neck over strides 8, 16, 32: the CSPNeXt-PAFPN of RTMDet and RTMW (PANet: Liu et al. 2018, arXiv 1803.01534).

Coarse maps are reduced, up-sampled and fused downwards; then the fine ones are strided and fused upwards. What the way up joins is the
reduced map of the way down, not the backbone's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.nn.cspnext import ConvBlock, CSPLayer, spatial_conv


class PAFPN(nn.Module):
    """(C3, C4, C5) -> three maps of the same sizes. Channels stay, or all become `outputs` through a last 3x3 convolution per level.

    `depth` is the number of blocks per CSP layer (no residual add, no channel attention); `depthwise` makes the 3x3 convolutions separable.
    """

    def __init__(
        self, channels: tuple[int, int, int], outputs: int | None = None, depth: int = 2, eps: float = 1e-5, depthwise: bool = False
    ):
        super().__init__()
        a, b, c = channels

        def csp(inputs: int, out: int) -> CSPLayer:
            return CSPLayer(inputs, out, depth, add=False, attention=False, eps=eps, depthwise=depthwise)

        def conv(inputs: int, out: int, stride: int) -> nn.Module:
            return spatial_conv(inputs, out, 3, stride, eps, depthwise)

        self.reduce_layers = nn.ModuleList((ConvBlock(c, b, eps=eps), ConvBlock(b, a, eps=eps)))
        self.top_down_blocks = nn.ModuleList((csp(2 * b, b), csp(2 * a, a)))
        self.downsamples = nn.ModuleList((conv(a, a, 2), conv(b, b, 2)))
        self.bottom_up_blocks = nn.ModuleList((csp(2 * a, b), csp(2 * b, c)))
        self.out_convs = nn.ModuleList(conv(n, outputs, 1) for n in channels) if outputs else None

    def forward(
        self, features: tuple[Float[Tensor, "b c3 h3 w3"], Float[Tensor, "b c4 h4 w4"], Float[Tensor, "b c5 h5 w5"]]
    ) -> tuple[Float[Tensor, "b n3 h3 w3"], Float[Tensor, "b n4 h4 w4"], Float[Tensor, "b n5 h5 w5"]]:
        c3, c4, c5 = features
        r5 = self.reduce_layers[0](c5)
        p4 = self.top_down_blocks[0](torch.cat((F.interpolate(r5, scale_factor=2.0), c4), 1))
        r4 = self.reduce_layers[1](p4)
        p3 = self.top_down_blocks[1](torch.cat((F.interpolate(r4, scale_factor=2.0), c3), 1))
        n4 = self.bottom_up_blocks[0](torch.cat((self.downsamples[0](p3), r4), 1))
        n5 = self.bottom_up_blocks[1](torch.cat((self.downsamples[1](n4), r5), 1))
        if self.out_convs is None:
            return p3, n4, n5
        return self.out_convs[0](p3), self.out_convs[1](n4), self.out_convs[2](n5)
