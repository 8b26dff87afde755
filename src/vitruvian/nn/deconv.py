"""The deconvolution head of SimpleBaselines (Xiao et al. 2018, arXiv 1804.06208): a coarse map up to heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


def final_layer(inputs: int, outputs: int) -> nn.Conv2d:
    """The 1x1 convolution with bias from features to heat maps, small at the start."""
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.normal_(layer.weight, std=0.001)
    nn.init.zeros_(layer.bias)
    return layer


def deconvolutions(widths: Sequence[int]) -> nn.Sequential:
    """4x4 transposed convolutions of stride 2, each with normalisation and ReLU, from widths[0] channels to the last: n - 1 doublings."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        deconvolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
        nn.init.normal_(deconvolution.weight, std=0.001)
        layers += [deconvolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class DeconvHead(nn.Module):
    """(b, c, h, w) -> (b, k, 2^n h, 2^n w): n times a 4x4 transposed convolution of stride 2, normalisation and ReLU; then a 1x1.

    `deconv_layers` and `final_layer` can be called apart; without `widths` the latter is all there is.
    """

    def __init__(self, inputs: int, outputs: int, widths: Sequence[int] = (256, 256, 256)):
        super().__init__()
        self.deconv_layers = deconvolutions((inputs, *widths))
        self.final_layer = final_layer((inputs, *widths)[-1], outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h2 w2"]:
        return self.final_layer(self.deconv_layers(x))
