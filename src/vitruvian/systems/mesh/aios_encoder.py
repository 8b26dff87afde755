"""AiOS, first half: maps of a picture -> tokens of all its places that know of each other -> places where people may be (card 4.1, 4.2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.nn.deformable import MultiScaleDeformableAttention

GROUPS = 32  # of the normalisation of projected maps
PLACE_TEMPERATURE, BOX_TEMPERATURE = 20.0, 10000.0
LEAST, PROPOSED = 1e-3, 0.05  # farthest from 0 and 1 that logits are told apart; side of a proposal on the finest map
MARGIN = 0.01  # proposals nearer to the edge of a picture are none


class MLP(nn.Module):
    """Linear layers with a ReLU between each two."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def logit(fraction: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The inverse of the sigmoid, for fractions not nearer to 0 and 1 than `LEAST`."""
    fraction = fraction.clamp(0, 1)
    return (fraction.clamp(min=LEAST) / (1 - fraction).clamp(min=LEAST)).log()


def sines(fraction: Float[Tensor, "*b"], features: int, temperature: float) -> Float[Tensor, "*b f"]:
    """Sines and cosines in turn of a fraction of a full circle, at ever lower frequencies."""
    order = torch.arange(0, features, 2, device=fraction.device, dtype=fraction.dtype)
    angles = fraction[..., None] * (2 * math.pi) / temperature ** (order / features)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)


def sines_of_boxes(boxes: Float[Tensor, "*b 4"], width: int) -> Float[Tensor, "*b f"]:
    """Boxes (x, y, width, height) as features, in the order y, x, width, height."""
    return sines(boxes[..., [1, 0, 2, 3]], width // 2, BOX_TEMPERATURE).flatten(-2)


class Scene(NamedTuple):
    """Tokens of the maps one after the other, row by row; True where they are padding; the maps' (rows, columns); how much of each map's
    width and height is picture.
    """

    tokens: Float[Tensor, "b n d"]
    padding: Bool[Tensor, "b n"]
    shapes: list[tuple[int, int]]
    ratios: Float[Tensor, "b levels 2"]


def places(padding: Bool[Tensor, "b h w"], width: int) -> Float[Tensor, "b d h w"]:
    """Features of a map's places: of the row in the first half, of the column in the second; counted without the padding."""
    inside = (~padding).float()
    rows, columns = inside.cumsum(1), inside.cumsum(2)
    rows, columns = rows / (rows[:, -1:] + 1e-6), columns / (columns[:, :, -1:] + 1e-6)
    return torch.cat([sines(x, width // 2, PLACE_TEMPERATURE) for x in (rows, columns)], -1).permute(0, 3, 1, 2)


def valid_ratios(padding: Bool[Tensor, "b h w"]) -> Float[Tensor, "b 2"]:
    """How much of the width and of the height is picture, by the first row and column."""
    inside = (~padding).float()
    return torch.stack((inside[:, 0].mean(1), inside[:, :, 0].mean(1)), -1)


class EncoderLayer(nn.Module):
    """Every token reads a few places of all maps, then a perceptron; each is added and normalised after."""

    def __init__(self, width: int, heads: int, levels: int, points: int, hidden: int):
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(width, heads, levels, points)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, scene: Scene, position: Float[Tensor, "b n d"], reference: Float[Tensor, "b n levels 2"]) -> Float[Tensor, "b n d"]:
        x = scene.tokens
        x = self.norm1(x + self.self_attn(x + position, reference, x, scene.shapes, scene.padding))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class Encoder(nn.Module):
    """Projected maps with their padding -> the scene."""

    def __init__(self, width: int, heads: int, levels: int, points: int, hidden: int, depth: int):
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(levels, width))
        self.layers = nn.ModuleList(EncoderLayer(width, heads, levels, points, hidden) for _ in range(depth))

    def forward(self, maps: list[Float[Tensor, "b d h w"]], padding: list[Bool[Tensor, "b h w"]]) -> Scene:
        width = self.level_embed.shape[1]
        shapes = [(x.shape[2], x.shape[3]) for x in maps]
        position = [places(mask, width) + level[:, None, None] for mask, level in zip(padding, self.level_embed, strict=True)]
        flat = lambda stack: torch.cat([x.flatten(2).transpose(1, 2) for x in stack], 1)  # noqa: E731
        masks = torch.cat([mask.flatten(1) for mask in padding], 1)
        ratios = torch.stack([valid_ratios(mask) for mask in padding], 1)
        scene, position = Scene(flat(maps), masks, shapes, ratios), flat(position)
        reference = self._references(scene)[:, :, None] * ratios[:, None]
        for layer in self.layers:
            scene = scene._replace(tokens=layer(scene, position, reference))
        return scene

    @staticmethod
    def _references(scene: Scene) -> Float[Tensor, "b n 2"]:
        """Where each token lies, as a fraction of the picture (above 1 in the padding)."""
        return torch.cat([grid(shape, scene.ratios[:, level]) for level, shape in enumerate(scene.shapes)], 1)


def grid(shape: tuple[int, int], ratio: Float[Tensor, "b 2"]) -> Float[Tensor, "b n 2"]:
    """Centres (x, y) of a map's pixels, row by row, as fractions of the picture that fills `ratio` of the map."""
    rows, columns = (torch.arange(n, device=ratio.device, dtype=ratio.dtype) + 0.5 for n in shape)
    y, x = torch.meshgrid(rows / shape[0], columns / shape[1], indexing="ij")
    return torch.stack((x, y), -1).flatten(0, 1)[None] / ratio[:, None]


class Proposals(NamedTuple):
    """The best places for people: their tokens, logits of the classes, and boxes (x, y, width, height) as fractions of the picture."""

    tokens: Float[Tensor, "b q d"]
    logits: Float[Tensor, "b q classes"]
    boxes: Float[Tensor, "b q 4"]


class Selection(nn.Module):
    """Each token of the scene proposes a box; the best become queries (two-stage DETR)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.enc_output, self.enc_output_norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.enc_out_class_embed = nn.Linear(width, classes)
        self.enc_out_bbox_embed = MLP(width, width, width, 4)

    def forward(self, scene: Scene, count: int) -> Proposals:
        boxes = torch.cat([self._boxes(scene, level) for level in range(len(scene.shapes))], 1)
        unfit = scene.padding | ~((boxes > MARGIN) & (boxes < 1 - MARGIN)).all(-1)
        tokens = self.enc_output_norm(self.enc_output(scene.tokens.masked_fill(unfit[..., None], 0.0)))
        logits = self.enc_out_class_embed(tokens)
        # An unfit place can win where nothing better is; its box is then all of the picture and more, as published.
        start = (boxes / (1 - boxes)).log().masked_fill(unfit[..., None], math.inf)
        best = logits.amax(-1).topk(min(count, tokens.shape[1]), 1).indices[..., None]
        tokens = tokens.gather(1, best.expand(-1, -1, tokens.shape[2]))
        found = self.enc_out_bbox_embed(tokens) + start.gather(1, best.expand(-1, -1, 4))
        return Proposals(tokens, logits.gather(1, best.expand(-1, -1, logits.shape[2])), found.sigmoid())

    @staticmethod
    def _boxes(scene: Scene, level: int) -> Float[Tensor, "b n 4"]:
        shape = scene.shapes[level]
        # Valid sizes are whole pixels of the map, so that a place in the picture's middle is 0.5 whatever the padding.
        centres = grid(shape, scene.ratios[:, level])
        return torch.cat((centres, torch.full_like(centres, PROPOSED * 2**level)), -1)
