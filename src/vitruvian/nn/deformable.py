"""Multi-scale deformable attention (Zhu et al., ICLR 2021, arXiv 2010.04159, eq. 2 and 3), in plain torch: no compiled operator.

Each query reads a few points only: per head and level, `points` places around the query's reference point. Where they lie, and how much
each counts, are linear functions of the query. Attribute names are those of most published files: sampling_offsets, attention_weights,
value_proj, output_proj. Places are fractions of a map: 0 is the outer edge of its first pixel, 1 that of its last (align_corners False).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Shapes = Sequence[tuple[int, int]]
"""(rows, columns) of the maps that are laid one after the other, row by row, along the axis of tokens."""


def sample_levels(
    value: Float[Tensor, "b n heads c"],
    spatial_shapes: Shapes,
    locations: Float[Tensor, "b q heads levels points 2"],
    weights: Float[Tensor, "b q heads levels points"],
) -> Float[Tensor, "b q heads c"]:
    """The weighted sum of what lies at `locations` (x, y as fractions), bilinear, zero outside the maps. `weights` as they are given.

    Raises ValueError when the maps have not as many tokens as `value`.
    """
    sizes = [rows * columns for rows, columns in spatial_shapes]
    if sum(sizes) != value.shape[1]:
        raise ValueError(f"maps {list(spatial_shapes)} have {sum(sizes)} tokens, the values {value.shape[1]}: give the shapes of the maps")
    sampled = []
    for level, (rows, columns) in enumerate(spatial_shapes):
        tokens = value[:, sum(sizes[:level]) : sum(sizes[: level + 1])]
        maps = tokens.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, (rows, columns))  # (b heads, c, rows, columns)
        places = locations[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (b heads, q, points, 2)
        sampled.append(F.grid_sample(maps, 2 * places - 1, align_corners=False))  # (b heads, c, q, points)
    share = weights.transpose(1, 2).flatten(0, 1)  # (b heads, q, levels, points)
    summed = sum((one * share[:, None, :, level]).sum(-1) for level, one in enumerate(sampled))
    return summed.unflatten(0, (-1, value.shape[2])).permute(0, 3, 1, 2)


def sampling_locations(
    offsets: Float[Tensor, "b q heads levels points 2"], reference_points: Float[Tensor, "b q levels r"], spatial_shapes: Shapes
) -> Float[Tensor, "b q heads levels points 2"]:
    """Offsets around reference points, in pixels of each level; around reference boxes (x, y, width, height), in halves of the box shared
    between the points. Fractions; `levels` of the references may be 1, for all levels alike.

    Raises ValueError for references that are neither points nor boxes.
    """
    reference = reference_points[:, :, None, :, None]
    if reference_points.shape[-1] == 2:
        extent = offsets.new_tensor([[columns, rows] for rows, columns in spatial_shapes])[:, None]
        return reference + offsets / extent
    if reference_points.shape[-1] == 4:
        return reference[..., :2] + offsets / offsets.shape[-2] * reference[..., 2:] * 0.5
    raise ValueError(f"references have {reference_points.shape[-1]} numbers: give points (x, y) or boxes (x, y, width, height)")


def ring_of_offsets(heads: int, levels: int, points: int) -> Float[Tensor, " n"]:
    """The published start of the offsets' bias: head h looks in direction 2 pi h / heads, its points one pixel farther each."""
    angle = torch.arange(heads) * (2 * math.pi / heads)
    direction = torch.stack((angle.cos(), angle.sin()), -1)
    direction = direction / direction.abs().amax(-1, keepdim=True)  # (heads, 2)
    steps = torch.arange(1, points + 1)[:, None] * direction[:, None, None]  # (heads, 1, points, 2)
    return steps.expand(-1, levels, -1, -1).flatten()


class MultiScaleDeformableAttention(nn.Module):
    """Queries read `points` places per head and level of several maps: (b, q, width) -> (b, q, width). No residual, no normalisation.

    `late_bias` adds the values' bias after sampling, so that places outside the maps have it too ("post value", Poseur and OSX).
    """

    def __init__(self, width: int, heads: int = 8, levels: int = 4, points: int = 4, late_bias: bool = False):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads don't divide a width of {width}: choose another number")
        self.heads, self.levels, self.points, self.late_bias = heads, levels, points, late_bias
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(ring_of_offsets(heads, levels, points))

    def forward(
        self,
        query: Float[Tensor, "b q d"],
        reference_points: Float[Tensor, "b q levels r"],
        value: Float[Tensor, "b n d"],
        spatial_shapes: Shapes,
        value_mask: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """`query` has its place added already. `reference_points`: points (r = 2) or boxes (r = 4) as fractions, for each level or (levels
        = 1) for all. `value_mask` is True where a token is padding and counts as zero. Raises ValueError as `sample_levels`.
        """
        values = F.linear(value, self.value_proj.weight, None if self.late_bias else self.value_proj.bias)
        if value_mask is not None:
            values = values.masked_fill(value_mask[..., None], 0.0)
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1).unflatten(-1, (self.levels, self.points))
        places = sampling_locations(offsets, reference_points, spatial_shapes)
        read = sample_levels(values.unflatten(-1, (self.heads, -1)), spatial_shapes, places, weights)
        read = read.flatten(2)
        return self.output_proj(read + self.value_proj.bias if self.late_bias else read)
