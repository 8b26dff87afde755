"""A decoder of queries, one per person: they look at each other, then at all tokens of the picture (Multi-HMR's HPH, card 4.5 and 4.7).

Pictures have different numbers of people, so that places may be empty; `HIDDEN`, added to attention logits, hides them.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

HEAD_WIDTH = 32
HIDDEN = -1e6


class QueryAttention(nn.Module):
    """Attention of queries to themselves (`context` None) or to a context, normalised before; the context is not."""

    def __init__(self, width: int, heads: int, context: int | None = None):
        super().__init__()
        inner = heads * HEAD_WIDTH
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        if context is None:
            self.to_qkv = nn.Linear(width, 3 * inner, bias=False)
        else:
            self.to_q = nn.Linear(width, inner, bias=False)
            self.to_kv = nn.Linear(context, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width)

    def forward(
        self, x: Float[Tensor, "b p d"], context: Float[Tensor, "b n c"] | None = None, bias: Float[Tensor, "b _ _"] | None = None
    ) -> Float[Tensor, "b p d"]:
        """`bias` is added to the attention's logits."""
        x = self.norm(x)
        projected = self.to_qkv(x).chunk(3, -1) if context is None else (self.to_q(x), *self.to_kv(context).chunk(2, -1))
        query, key, value = (a.unflatten(-1, (self.heads, -1)).transpose(1, 2) for a in projected)
        if bias is None:
            out = F.scaled_dot_product_attention(query, key, value)
        else:  # spelt out, as few people are no load, and to round as the published program does
            logits = query @ key.transpose(-1, -2) * HEAD_WIDTH**-0.5 + bias[:, None]
            out = logits.softmax(-1) @ value
        return self.to_out(out.transpose(1, 2).flatten(2))


class DecoderBlock(nn.Module):
    """Queries (people) look at each other, then at the picture; then a perceptron. Each is added to what it was given."""

    def __init__(self, width: int, context: int, heads: int, hidden: int):
        super().__init__()
        self.between = QueryAttention(width, heads)
        self.across = QueryAttention(width, heads, context)
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(
        self,
        x: Float[Tensor, "b p d"],
        context: Float[Tensor, "b n c"],
        bias: Float[Tensor, "b 1 p"],
        slip: Float[Tensor, "b p 1"] | None = None,
    ) -> Float[Tensor, "b p d"]:
        """`bias` hides places from the queries, `slip` is added to all that a place sees in the picture."""
        x = x + self.between(x, bias=bias)
        x = x + self.across(x, context, slip)
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))
