"""Parts of OSX that look at hands and faces: crops of the feature map at three scales, and the decoder of keypoints (card osx.md, 4.3-4.5).

The hands and the face are not cut out of the picture again: their boxes are found on the feature map, which is made finer and cropped.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.nn.deconv import deconvolutions
from vitruvian.nn.deformable import MultiScaleDeformableAttention

LEVELS, HEADS, POINTS = 3, 8, 4  # of the deformable attention
GROUPS = 32  # of the normalisation before it
SCALES = (1, 2, 4)
MOST_SAMPLES = 16
"""Samples per cell and axis of a crop at most. The published rule has no limit; this one is reached by boxes of 8 (hand) and 4 (face)
times the picture's height."""


def expected_place(volume: Float[Tensor, "b k d h w"]) -> tuple[Float[Tensor, "b k 3"], Float[Tensor, "b k d h w"]]:
    """Soft-argmax: the mean (x, y, z) in cells of the softmax over a whole volume, and that softmax."""
    depth, height, width = volume.shape[2:]
    share = volume.flatten(2).softmax(-1).unflatten(2, (depth, height, width))
    sums = (share.sum((2, 3)), share.sum((2, 4)), share.sum((3, 4)))
    return torch.stack([(s * torch.arange(s.shape[-1], device=s.device)).sum(-1) for s in sums], -1), share


def read_at(maps: Float[Tensor, "b c h w"], places: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k c"]:
    """What lies at places (x, y) in cells, bilinear, zero outside."""
    last = places.new_tensor([maps.shape[3] - 1, maps.shape[2] - 1])
    return F.grid_sample(maps, (2 * places / last - 1)[:, None], align_corners=True)[:, :, 0].transpose(1, 2)


def crop_weights(boxes: Float[Tensor, "*b 4"], cells: int, size: tuple[int, int]) -> Float[Tensor, "*b 2 n s"]:
    """How much each pixel of a map of `size` (width, height) counts in each of `cells` cells, along x and along y; s is the longer side.

    A cell is the mean of ceil(extent / cells) evenly spaced bilinear samples, pixel centres at whole numbers. Samples more than a pixel
    outside count as zero, others outside as the edge: RoIAlign without its half-pixel shift (`aligned` False).
    """
    start, extent = boxes[..., :2, None, None], (boxes[..., 2:] - boxes[..., :2]).clamp(min=1)[..., None, None]
    last = boxes.new_tensor(size)[:, None, None] - 1
    sample = torch.arange(MOST_SAMPLES, device=boxes.device)
    count = (extent / cells).ceil().clamp(max=MOST_SAMPLES)
    step = torch.arange(cells, device=boxes.device)[:, None] + (sample + 0.5) / count
    place = start + step * extent / cells  # (*b, 2, cells, samples)
    counts = ((sample < count) & (place >= -1) & (place <= last + 1)).to(place) / count
    nearness = 1 - (torch.minimum(place.clamp(min=0), last)[..., None] - torch.arange(max(size), device=boxes.device)).abs()
    return (nearness.clamp(min=0) * counts[..., None]).sum(-2)


def roi_align(maps: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b r 4"], cells: int) -> Float[Tensor, "b r c n n"]:
    """Crops of a map: boxes (xyxy) in its pixels -> `cells` x `cells`. A side under one pixel counts as one.

    The samples are a grid, so that a crop is two matrix products, which every exporter knows.
    """
    height, width = maps.shape[2:]
    columns, rows = crop_weights(boxes, cells, (width, height)).unbind(-3)
    return rows[:, :, None, :, :height] @ maps[:, None] @ columns[:, :, None, :, :width].transpose(-1, -2)


class RoIPyramid(nn.Module):
    """A feature map and boxes -> crops of `cells` times 4, 2 and 1 cells a side, with a quarter, half and all of the channels."""

    def __init__(self, width: int, cells: int):
        super().__init__()
        self.cells = cells
        plain = nn.Sequential(nn.Conv2d(width, width, 1))
        self.deconv = nn.ModuleList([plain, deconvolutions((width, width // 2)), deconvolutions((width, width // 2, width // 4))])

    def forward(self, maps: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b r 4"]) -> list[Float[Tensor, "b r c n n"]]:
        """`boxes` are xyxy in cells of `maps`. The finest crops come first."""
        return [roi_align(self.deconv[i](maps), boxes * SCALES[i], self.cells * SCALES[i]) for i in reversed(range(LEVELS))]


class PositionNet(nn.Module):
    """A map -> volumes of `depth` layers, one per keypoint; with `query`, also what the map says there: the decoder's queries."""

    def __init__(self, width: int, joints: int, depth: int, query: int = 0):
        super().__init__()
        self.depth = depth
        self.conv = nn.Sequential(nn.Conv2d(width, joints * depth, 1))
        self.query_conv = nn.Sequential(nn.Conv2d(width, query, 1), nn.BatchNorm2d(query), nn.ReLU()) if query else None

    def forward(self, maps: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k 3"], Float[Tensor, "b k d h w"]]:
        """(x, y, z) in cells, and the volumes that they are the means of."""
        return expected_place(self.conv(maps).unflatten(1, (-1, self.depth)))

    def queries(self, maps: Float[Tensor, "b c h w"], places: Float[Tensor, "b k 3"]) -> Float[Tensor, "b k q"]:
        """Features at keypoints."""
        return read_at(self.query_conv(maps), places[..., :2])


def sine_places(size: int, width: int) -> Float[Tensor, "n d"]:
    """DETR's fixed table of places for a square map: sines and cosines by turns, first of the row, then of the column."""
    line = (torch.arange(size) + 0.5) / (size + 1e-6) * 2 * math.pi
    angles = line[:, None] / 10000.0 ** (2 * (torch.arange(width // 2) // 2) / (width // 2))
    angles[:, 1::2] += math.pi / 2
    line = angles.sin()
    rows, columns = line[:, None].expand(-1, size, -1), line[None].expand(size, -1, -1)
    return torch.cat((rows, columns), -1).flatten(0, 1)


class Mapper(nn.Module):
    """One level's way to the decoder's width: 1x1 convolution and group normalisation."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.gn = nn.GroupNorm(min(GROUPS, outputs), outputs)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        return self.gn(self.conv(x))


class DecoderLayer(nn.Module):
    """Keypoints look at each other, then at places around them in the maps, then a perceptron; each added, then normalised."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.between = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.across = MultiScaleDeformableAttention(width, HEADS, LEVELS, POINTS, late_bias=True)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, place: Tensor, reference: Tensor, memory: Tensor, shapes: list[tuple[int, int]]) -> Float[Tensor, "b k d"]:
        seen = x + place
        x = self.norms[0](x + self.between(seen, seen, x, need_weights=False)[0])
        x = self.norms[1](x + self.across(x + place, reference, memory, shapes))
        return self.norms[2](x + self.fc2(F.relu(self.fc1(x))))


class KeypointDecoder(nn.Module):
    """Poseur's decoder (arXiv 2201.07412) as OSX uses it: one query per keypoint reads three scales around where the keypoint was found.

    `cells` is the coarsest crop's side. The places around which is read stay the same in all layers.
    """

    def __init__(self, width: int, cells: int, joints: int, decoder_width: int, depth: int, hidden: int):
        super().__init__()
        self.neck = nn.ModuleList(Mapper(channels, decoder_width) for channels in (width // 4, width // 2, width))
        self.level_embeds = nn.Parameter(torch.randn(LEVELS, decoder_width))
        self.pos_embed = nn.Embedding(joints, decoder_width)
        self.layers = nn.ModuleList(DecoderLayer(decoder_width, hidden) for _ in range(depth))
        self.sizes = [cells * scale for scale in reversed(SCALES)]
        table = torch.cat([sine_places(size, decoder_width) for size in self.sizes])
        self.register_buffer("places", table, persistent=False)

    def forward(self, maps: list[Tensor], query: Float[Tensor, "b k d"], reference: Float[Tensor, "b k 2"]) -> Float[Tensor, "b k d"]:
        """`maps` from fine to coarse, `reference` as fractions of the crop."""
        memory = torch.cat([layer(m).flatten(2) for layer, m in zip(self.neck, maps, strict=True)], 2).transpose(1, 2)
        levels = torch.cat([row.expand(size**2, -1) for row, size in zip(self.level_embeds, self.sizes, strict=True)])
        memory = memory + self.places + levels
        shapes = [(size, size) for size in self.sizes]
        for layer in self.layers:
            query = layer(query, self.pos_embed.weight, reference[:, :, None], memory, shapes)
        return query
