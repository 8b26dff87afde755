"""The fully connected network of lifting (Martinez et al. 2017, arXiv 1705.03098): numbers of a 2D pose in, numbers of a 3D pose out."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


def layer(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Linear, normalisation, ReLU, dropout."""
    linear = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(linear.weight)
    return nn.Sequential(linear, nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(dropout))


class Residual(nn.Module):
    """Two layers and the input added: (b, w) -> (b, w)."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(layer(width, width, dropout), layer(width, width, dropout))

    def forward(self, x: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
        return x + self.layers(x)


class Lifter(nn.Module):
    """(b, inputs) -> (b, outputs): a layer, `blocks` residual pairs of layers, and a linear map."""

    def __init__(self, inputs: int, outputs: int, width: int = 1024, blocks: int = 2, dropout: float = 0.25):
        super().__init__()
        self.first = layer(inputs, width, dropout)
        self.blocks = nn.Sequential(*(Residual(width, dropout) for _ in range(blocks)))
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        return self.last(self.blocks(self.first(x)))
