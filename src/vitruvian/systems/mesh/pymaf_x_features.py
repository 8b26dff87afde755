"""PyMAF-X: what a feature map says at points of the picture (card pymaf-x.md, 4.2-4.4).

First at the points of a fixed grid; then at the projected points of the mesh found so far, with the grid for context, after all of them
have looked at each other. Points are (x, y) in [-1, 1], the outer edges of the map's outermost pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ATTENTION_WIDTH = 64
PLACES = 900  # rows of the table of places; the first as many as there are points count
PER_POINT = 5
EPS = 1e-12  # of BERT's normalisations


def grid_points(side: int) -> Float[Tensor, "1 2 n"]:
    """The fixed grid, side x side points from edge to edge; x changes slowest."""
    line = torch.linspace(-1, 1, side)
    return torch.stack((line.repeat_interleave(side), line.repeat(side)))[None]


def read_points(maps: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b c n"]:
    """What the maps say at points: bilinear, zero outside."""
    return F.grid_sample(maps, points[:, None], align_corners=False)[:, :, 0]


class Reducer(nn.Module):
    """Each point's features down to five numbers, by 1x1 convolutions that see the features again at every layer."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.depth = len(widths) - 1
        for i, outputs in enumerate(widths[1:]):
            setattr(self, f"conv{i}", nn.Conv1d(widths[i] + (widths[0] if i else 0), outputs, 1))

    def forward(self, raw: Float[Tensor, "b c n"]) -> Float[Tensor, "b m"]:
        """All points' numbers, flat: all points of the first number first."""
        x = raw
        for i in range(self.depth):
            x = getattr(self, f"conv{i}")(torch.cat((x, raw), 1) if i else x)
            x = F.relu(x) if i == self.depth - 1 else F.leaky_relu(x)
        return x.flatten(1)


class PointAttention(nn.Module):
    """One layer of BERT with one head: points look at each other, then a perceptron; each added, then normalised."""

    def __init__(self, inputs: int):
        super().__init__()
        width = ATTENTION_WIDTH
        self.img_embedding = nn.Linear(inputs, width)
        self.position_embeddings = nn.Embedding(PLACES, width)
        self.query, self.key, self.value, self.dense = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, raw: Float[Tensor, "b c n"]) -> Float[Tensor, "b n d"]:
        x = self.img_embedding(raw.transpose(1, 2)) + self.position_embeddings.weight[: raw.shape[2]]
        # With an axis for the one head, which the exporter asks for.
        query, key, value = (layer(x)[:, None] for layer in (self.query, self.key, self.value))
        x = self.norm1(x + self.dense(F.scaled_dot_product_attention(query, key, value)[:, 0]))
        return self.norm2(x + self.fc2(F.gelu(self.fc1(x))))


class GridFeatures(nn.Module):
    """The first iteration: a map at the points of the grid -> five numbers per point."""

    def __init__(self, inputs: int, widths: tuple[int, ...]):
        super().__init__()
        self.reducer = Reducer((inputs, *widths, PER_POINT))

    def forward(self, maps: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b f"]:
        return self.reducer(read_points(maps, points))


class AlignedFeatures(nn.Module):
    """Later iterations: a map at the points of the grid and of the mesh (together `count`) -> `outputs` numbers."""

    def __init__(self, inputs: int, count: int, outputs: int):
        super().__init__()
        self.attention = PointAttention(inputs)
        self.reducer = Reducer((ATTENTION_WIDTH, PER_POINT))
        self.reduce = nn.Linear(PER_POINT * count, outputs)

    def forward(self, maps: Float[Tensor, "b c h w"], points: Float[Tensor, "b n 2"]) -> Float[Tensor, "b f"]:
        attended = self.attention(read_points(maps, points))
        return self.reduce(self.reducer(attended.transpose(1, 2)))
