"""Gated attention unit (Hua et al. 2022, arXiv 2202.10447) with scale normalisation, as the RTMPose family uses it over keypoint tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ScaleNorm(nn.Module):
    """y = g x / max(|x| / sqrt(n), 1e-5) over the last axis of length n, with one learned scalar g (initially 1)."""

    def __init__(self, size: int, eps: float = 1e-5):
        super().__init__()
        self.scale = size**-0.5
        self.eps = eps
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        norm = x.float().square().sum(-1, keepdim=True).sqrt() * self.scale
        return (x / norm.clamp(min=self.eps).to(x.dtype)) * self.g


class Scale(nn.Module):
    """A learned factor per channel of the last axis, initially 1."""

    def __init__(self, size: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
        return x * self.scale


class GAU(nn.Module):
    """Self-attention between tokens, (b, k, d) -> (b, k, d): squared-ReLU weights instead of a softmax, gated, with a scaled residual.

    `shared` is the width s of the common query/key projection, `expansion` times d the width e of the gate and of the values.
    `dropout` is the share of attention weights that are zeroed in training.
    No positional code: a token's place in the sequence means nothing to the unit, its content does.
    """

    def __init__(self, size: int, shared: int = 128, expansion: int = 2, dropout: float = 0.0):
        super().__init__()
        hidden = size * expansion
        self.sizes = (hidden, hidden, shared)
        self.dropout = dropout
        self.ln = ScaleNorm(size)
        self.uv = nn.Linear(size, sum(self.sizes), bias=False)
        self.gamma = nn.Parameter(torch.rand(2, shared))
        self.beta = nn.Parameter(torch.rand(2, shared))
        self.o = nn.Linear(hidden, size, bias=False)
        self.res_scale = Scale(size)
        nn.init.xavier_uniform_(self.uv.weight)

    def forward(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        u, v, base = F.silu(self.uv(self.ln(x))).split(self.sizes, -1)  # (b, k, e), (b, k, e), (b, k, s)
        query = base * self.gamma[0] + self.beta[0]
        key = base * self.gamma[1] + self.beta[1]
        attention = F.relu(query @ key.transpose(1, 2) * self.sizes[2] ** -0.5).square()  # (b, k, k)
        attention = F.dropout(attention, self.dropout, self.training)
        return self.res_scale(x) + self.o(u * (attention @ v))
