"""Parts of Multi-HMR: the camera embedding, the heads that turn tokens into people, and tokens from a network of 2D poses.

Sections 4.4 (camera embedding), 4.5 (HPH) and 4.7 (Anny) of the card. `PoseTokens` and `TokenBlock` are ours: the one lets a small network
start from one of 2D poses, the other is the dense head that the card's ablation compares HPH with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitruvian.body.pose import rotations_from_6d
from vitruvian.nn.cspnext import ConvBlock
from vitruvian.nn.query_decoder import HIDDEN, DecoderBlock
from vitruvian.nn.transformer import EPS, blocks
from vitruvian.systems.mesh.camera import unproject
from vitruvian.systems.pose2d.mappose import VARIANTS as POSE_VARIANTS
from vitruvian.systems.pose2d.mappose import PoseTrunk

if TYPE_CHECKING:
    from vitruvian.systems.mesh.multi_hmr import Config

HEAD_WIDTH = 64  # of an attention head of the backbone


class Raw(NamedTuple):
    """What a head gives: the parts of `People` that need no camera."""

    rotations: Float[Tensor, "b p j 3 3"]
    shape: Float[Tensor, "b p s"]
    expression: Float[Tensor, "b p e"]
    code: Float[Tensor, "b p 1"]
    token: Float[Tensor, "b p d"]


def ray_features(intrinsics: Float[Tensor, "b 3 3"], config: Config) -> Float[Tensor, "b n e"]:
    """The camera embedding: the ray of each patch's centre, and its sines and cosines at frequencies from 1 to 32."""
    centres = (torch.arange(config.grid, device=intrinsics.device) + 0.5).to(intrinsics) * config.patch
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack((rows, columns) if config.published else (columns, rows), -1).flatten(0, 1)
    rays = unproject(points[None], intrinsics[:, None])
    frequencies = torch.linspace(1, 32, config.bands, device=rays.device, dtype=rays.dtype)
    angles = (rays[..., None] * frequencies * math.pi).flatten(-2)
    return torch.cat((rays, angles.sin(), angles.cos()), -1)


def decoder_blocks(config: Config, context: int) -> nn.ModuleList:
    """The blocks of the decoder, whose queries read tokens of width `context`, or only their own where the head is dense."""
    if config.dense:
        return nn.ModuleList(TokenBlock(config.decoder_width, config.decoder_hidden) for _ in range(config.decoder_depth))
    return nn.ModuleList(
        DecoderBlock(config.decoder_width, context, config.decoder_heads, config.decoder_hidden) for _ in range(config.decoder_depth)
    )


def perceptron(width: int, outputs: int, hidden: int | None = None) -> nn.Sequential:
    """Two linear layers with a ReLU between."""
    hidden = hidden or width
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def take_rows(values: Float[Tensor, "b n c"], index: Int[Tensor, "b p"]) -> Float[Tensor, "b p c"]:
    """Of each picture, the rows that are asked for."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def starting_pose(joints: int, root: tuple[float, ...], rest: tuple[float, ...]) -> Float[Tensor, "1 j"]:
    """Six numbers per joint of a pose that is all zero but for the root."""
    return torch.tensor([*root, *rest * (joints - 1)], dtype=torch.float32)[None]


class PoseTokens(nn.Module):
    """A picture's tokens from MapPose's maps (its weights fit by name), added up at stride 16, a learned table of places, and attention."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.width
        pose = POSE_VARIANTS[config.trunk]
        self.trunk = PoseTrunk(pose)
        self.fine = ConvBlock(pose.fine, width, 3, 2)
        self.middle = nn.Conv2d(pose.middle, width, 1)
        self.coarse = nn.Conv2d(pose.context, width, 1)
        self.places = nn.Parameter(0.5 * sine_places(config.grid, width)[None])  # from the start: where a limb is seen is half of a pose
        self.blocks = blocks(width, width // HEAD_WIDTH, 2 * width, config.depth)
        self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, image: Float[Tensor, "b 3 s s"]) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b k h w"]]:
        """Tokens, and the logits of keypoints at stride 8."""
        fine, middle, coarse = self.trunk.features(image)
        joined = self.fine(fine) + self.middle(middle) + F.interpolate(self.coarse(coarse), scale_factor=2.0)
        tokens = joined.flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens), self.trunk.maps(fine)


class KeypointReader(nn.Module):
    """What the maps of keypoints say of each person: attention whose weights are a network's of 2D poses, gated around each query [ours].

    A query says where it expects each keypoint, and how widely it looks. Out come the places, about the head and over their spread, and how
    sure they are.
    """

    def __init__(self, keypoints: int, context: int, width: int):
        super().__init__()
        self.gates = nn.Linear(context, 2 * keypoints + 1)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)
        self.read = perceptron(3 * keypoints + 1, width, width)

    def forward(
        self, maps: Float[Tensor, "b k h w"], query: Float[Tensor, "b p c"], centre: Float[Tensor, "b p 2"]
    ) -> Float[Tensor, "b p d"]:
        """`centre`: heads, as fractions of the picture."""
        height, width = maps.shape[2:]
        rows, columns = ((torch.arange(n, device=maps.device, dtype=maps.dtype) + 0.5) / n for n in (height, width))
        grid = torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width)), -1).flatten(0, 1)  # (h w, 2)
        gates = self.gates(query)
        expected = centre[:, :, None] + gates[..., :-1].unflatten(-1, (-1, 2))
        near = expected @ grid.T - grid.square().sum(-1) / 2  # minus half the square of the distance, but for what all places share
        logits = maps.flatten(2)[:, None]
        share = (logits + near * (-2 * gates[..., -1:, None]).exp()).softmax(-1)  # (b, p, k, h w)
        places = share @ grid - centre[:, :, None]
        spread = places.square().mean((2, 3), keepdim=True).add(1e-4).sqrt()
        sure = (share * logits).sum(-1) / 10
        return self.read(torch.cat(((places / spread).flatten(2), sure, spread[..., 0].log()), -1))


class TokenBlock(nn.Module):
    """A perceptron on each query by itself, added to it: what is left of a decoder block without any attention."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b p d"], context: Tensor | None = None, bias: Tensor | None = None) -> Float[Tensor, "b p d"]:
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class PredictionHead(nn.Module):
    """HPH, the head for SMPL-X and for our compact body: tokens with rays, and the patches of people -> what poses a body, depth code.

    The tables `cross_*` (one entry per row, and one per column) tell queries, and the patches that people are in, where they are.
    """

    def __init__(self, config: Config):
        super().__init__()
        context, width = config.width + (3 + 6 * config.bands) * (config.bands > 0), config.decoder_width
        for name in ("queries_x", "queries_y", "values_x", "values_y"):
            self.register_parameter(f"cross_{name}", nn.Parameter(0.2 * torch.randn(config.grid, context)))
        # The start of every person: upright in camera axes, six numbers as two columns.
        self.register_buffer("init_body_pose", starting_pose(config.joints, (1, 0, 0, 0, -1, 0), (1, 0, 0, 0, 1, 0)))
        self.register_buffer("init_betas", torch.zeros(1, config.shapes))
        self.register_buffer("init_cam", torch.tensor([[0.9, 0, 0]]))
        self.register_buffer("init_expression", torch.zeros(1, config.expressions))
        self.embedding = nn.Linear(context + 6 * config.joints + config.shapes + 3, width)
        self.place = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = decoder_blocks(config, context)
        self.reader = KeypointReader(POSE_VARIANTS[config.trunk].keypoints, context, width) if config.trunk and not config.dense else None
        self.decpose = nn.Linear(width, 6 * config.joints)
        self.decshape = nn.Linear(width, config.shapes)
        self.deccam = nn.Linear(width, 3)
        self.decexpression = nn.Linear(width, config.expressions) if config.expressions else None

    def forward(
        self,
        context: Float[Tensor, "b n c"],
        index: Int[Tensor, "b p"],
        mask: Bool[Tensor, "b p"],
        maps: Float[Tensor, "b k h w"] | None = None,
    ) -> Raw:
        """`maps`: logits of keypoints, for the heads that read them."""
        grid = len(self.cross_queries_x)
        row, column = index // grid, index % grid
        shown = mask[..., None].to(context)
        queries = take_rows(context, index) + self.cross_queries_x[row] + self.cross_queries_y[column]
        marks = (self.cross_values_x[row] + self.cross_values_y[column]) * shown
        context = context.scatter_add(1, index[..., None].expand_as(marks), marks)
        start = torch.cat((self.init_body_pose, self.init_betas, self.init_cam), -1).expand(*index.shape, -1)
        x = self.embedding(torch.cat((queries, start), -1)) + self.place
        if self.reader is not None:
            x = x + self.reader(maps, queries, (torch.stack((column, row), -1) + 0.5) / grid)
        bias = (~mask).to(context)[:, None] * HIDDEN
        for block in self.blocks:
            x = block(x * shown, context, bias)
        x = x * shown
        pose = (self.decpose(x) + self.init_body_pose).unflatten(-1, (-1, 6))
        code = (self.deccam(x) + self.init_cam)[..., :1]
        expression = x.new_zeros(*index.shape, 0) if self.decexpression is None else self.decexpression(x) + self.init_expression
        return Raw(rotations_from_6d(pose, "columns"), self.decshape(x) + self.init_betas, expression, code, x)


def sine_places(grid: int, width: int) -> Float[Tensor, "n d"]:
    """A fixed table of places: sines and cosines of the column in the first half, of the row in the second."""
    frequencies = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    angles = torch.arange(grid)[:, None] * frequencies
    line = torch.cat((angles.sin(), angles.cos()), -1)
    columns, rows = line[None].expand(grid, -1, -1), line[:, None].expand(-1, grid, -1)
    return torch.cat((columns, rows), -1).flatten(0, 1)


class AnnyHead(nn.Module):
    """The head for Anny: as HPH, with one fixed table of places and perceptrons at the end. No camera, no expression."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.decoder_width
        self.published = config.published
        self.embedding = nn.Linear(config.width, width)
        self.register_buffer("places", sine_places(config.grid, width))
        self.register_buffer("init_body_pose", starting_pose(config.joints, (1, 0, 0, 0, 0, 1), (1, 0, 0, 1, 0, 0)))
        self.register_buffer("free", torch.ones(1, config.joints))  # 0: this joint does not turn
        self.blocks = decoder_blocks(config, width)
        self.pose = perceptron(width + 6 * config.joints, 6 * config.joints, width)
        self.shape = perceptron(width, config.shapes)
        self.dist = perceptron(width, 1)

    def forward(self, context: Float[Tensor, "b n c"], index: Int[Tensor, "b p"], mask: Bool[Tensor, "b p"]) -> Raw:
        context = self.embedding(context) + self.places
        shown = mask[..., None].to(context)
        x = take_rows(context, index) * shown
        bias = (1 - shown).transpose(1, 2) * HIDDEN
        for block in self.blocks:
            x = block(x, context, bias, (1 - shown) * HIDDEN if self.published else None)
        start = self.init_body_pose.expand(*index.shape, -1)
        # In this head a joint's six numbers are two columns side by side.
        turned = rotations_from_6d((self.pose(torch.cat((x, start), -1)) + start).unflatten(-1, (-1, 6)), "interleaved")
        free = self.free[..., None, None]
        rotations = free * turned + (1 - free) * torch.eye(3, dtype=turned.dtype, device=turned.device)
        return Raw(rotations, self.shape(x).sigmoid(), x.new_zeros(*index.shape, 0), self.dist(x), x)
