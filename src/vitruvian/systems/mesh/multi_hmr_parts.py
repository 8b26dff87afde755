"""Parts of Multi-HMR: the camera embedding, the heads that turn tokens into people, and tokens from a network of 2D poses.

Sections 4.4 (camera embedding), 4.5 (HPH) and 4.7 (Anny) of the card. `PoseTokens`, `KeypointReader` and `TokenBlock` are
ours: the first two let a small network start from one of 2D poses, the last is the dense head that the card's ablation compares HPH with.
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
FAINTEST = -60.0  # logarithm: nothing counts for less against the map's best, so that float32 can add it all up
FIRST_SIZE = 0.25  # of the picture: how far keypoints are from their head before anything was read


class Raw(NamedTuple):
    """What a head gives: the parts of `People` that need no camera. `expected` is of r readers, none in published heads."""

    rotations: Float[Tensor, "b p j 3 3"]
    shape: Float[Tensor, "b p s"]
    expression: Float[Tensor, "b p e"]
    code: Float[Tensor, "b p 1"]
    token: Float[Tensor, "b p d"]
    expected: Float[Tensor, "b p r k 2"]


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


class View(NamedTuple):
    """How people are seen, for our network.

    centre: the middle of the head's patch, as fractions of the picture. rays: what makes a ray of (x, y, 1) in such fractions. turn: from a
    camera that looks at that middle to the picture's own.
    """

    centre: Float[Tensor, "b p 2"]
    rays: Float[Tensor, "b 3 3"]
    turn: Float[Tensor, "b p 3 3"]


class Look(NamedTuple):
    """Where each person's keypoints are, as fractions of the picture, and how sure that is: the mean logarithm of the chance there."""

    places: Float[Tensor, "b p k 2"]
    sure: Float[Tensor, "b p k"]


class Chances(NamedTuple):
    """Of each keypoint to be in each cell of a picture, squared, over that of the likeliest cell; and that times its logarithm."""

    squared: Float[Tensor, "b k h w"]
    weighed: Float[Tensor, "b k h w"]


def chances_of(maps: Float[Tensor, "b k h w"]) -> Chances:
    """What logits of keypoints say to everybody who reads them."""
    chance = maps.flatten(2).log_softmax(-1).unflatten(2, maps.shape[2:])
    squared = (2 * (chance - chance.amax((2, 3), keepdim=True))).clamp(min=FAINTEST).exp()
    return Chances(squared, squared * chance)


def turn_towards(ray: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """The smallest rotation that turns (0, 0, 1) towards a ray that points forwards."""
    x, y, z = F.normalize(ray, dim=-1).unbind(-1)
    k = 1 / (1 + z)
    return torch.stack((1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, z), -1).unflatten(-1, (3, 3))


def view_of(corners: Float[Tensor, "b 3 3"], index: Int[Tensor, "b p"], grid: int, camera: bool) -> View:
    """The view of patches. corners: rays of the square's corner, of the one to its right, and of the one below, one per row; where the
    camera isn't told, one of 53 degrees is taken, and nothing is turned."""
    centre = torch.stack((index % grid, index // grid), -1).to(corners) / grid + 0.5 / grid
    if not camera:
        corners = corners.new_tensor([[-0.5, -0.5, 1], [0.5, -0.5, 1], [-0.5, 0.5, 1]]).expand_as(corners)
    first = corners[:, :1]
    rays = torch.cat((corners[:, 1:] - first, first), 1).transpose(1, 2)
    towards = torch.cat((centre, torch.ones_like(centre[..., :1])), -1) @ rays.transpose(1, 2)
    if not camera:
        towards = towards * 0 + towards.new_tensor([0, 0, 1])
    return View(centre, rays, turn_towards(towards))


class KeypointReader(nn.Module):
    """What the maps of keypoints say of each person: attention whose weights are a network's of 2D poses, gated around each person [ours].

    `look`: a query says where it expects each keypoint and how widely it looks; the chances of the maps there, squared, weigh the places.
    `forward` reads places as a camera sees them that looks at the head, over their size, so that the same pose is the same numbers
    wherever in the picture and however large it is.
    """

    def __init__(self, keypoints: int, query: int, width: int, hidden: int):
        super().__init__()
        self.gates = nn.Linear(query, 2 * keypoints + 2)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)
        self.read = perceptron(3 * keypoints + 2, width, hidden)

    def expect(self, query: Float[Tensor, "b p q"], view: View, size: Float[Tensor, "b p 1"]) -> tuple[Tensor, Tensor]:
        """Expected places (b, p, k, 2) in fractions of the picture, and how widely to look (b, p, 1); `size`: the person's, so far."""
        gates = self.gates(query)
        size = size * gates[..., -1:].clamp(-3, 3).exp()
        places = view.centre[:, :, None] + size[..., None] * gates[..., :-2].unflatten(-1, (-1, 2))
        return places, size * gates[..., -2:-1].clamp(-3, 3).exp()

    def look(self, chances: Chances, expected: Float[Tensor, "b p k 2"], wide: Float[Tensor, "b p 1"]) -> Look:
        """A gate is a Gaussian, so that its columns and rows come apart, and the sums over a map are a few products of matrices for
        everybody: more people cost next to nothing."""
        expected, wide = expected.permute(3, 0, 2, 1).contiguous(), wide.transpose(1, 2)
        sizes = chances.squared.shape[:1:-1]
        (x, across), (y, down) = (self._gate(*pair, wide) for pair in zip(expected, sizes, strict=True))
        sums = chances.squared @ across  # (b, k, h, p)
        rows = torch.stack((sums, chances.squared @ (across * x), sums * y, chances.weighed @ across), 2) * down[:, :, None]
        total, right, below, sure = rows.sum(3).transpose(1, 3).unbind(2)  # (b, p, k) each
        return Look(torch.stack((right, below), -1) / total[..., None], sure / total)

    def _gate(self, expected: Float[Tensor, "b k p"], size: int, wide: Float[Tensor, "b 1 p"]) -> tuple[Tensor, Tensor]:
        """Along one axis of `size` cells: their middles (size, 1), and the gates there (b, k, size, p), 1 at their highest."""
        middles = (torch.arange(size, device=expected.device, dtype=expected.dtype)[:, None] + 0.5) / size
        far = ((middles - expected[:, :, None]) / wide[:, :, None]).square() * -0.5
        return middles, (far - far.amax(2, keepdim=True)).exp()

    def forward(self, look: Look, view: View) -> tuple[Float[Tensor, "b p d"], Float[Tensor, "b p 1"]]:
        """What is read, and the person's size: fractions of the picture from the head to a keypoint, in the mean of the sure ones."""
        weight = (look.sure / 2).exp() + 1e-3
        weight = weight / weight.sum(-1, keepdim=True)
        size = ((look.places - view.centre[:, :, None]).square().sum(-1) * weight).sum(-1, keepdim=True).add(1e-5).sqrt()
        ray = torch.cat((look.places, torch.ones_like(look.places[..., :1])), -1) @ view.rays.transpose(1, 2)[:, None] @ view.turn
        seen = ray[..., :2] / ray[..., 2:].clamp(min=0.2)
        spread = (seen.square().sum(-1) * weight).sum(-1, keepdim=True).add(1e-5).sqrt()
        focal = view.rays[:, None, :1, 0].log().expand_as(spread)
        return self.read(torch.cat(((seen / spread[..., None]).flatten(2), look.sure / 2 + 2, spread.log() + 1, focal), -1)), size


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
        self.readers = nn.ModuleList()  # one before each block; the first asks the tokens where to look, the others what was read
        if config.trunk and not config.dense:
            keypoints, hidden = POSE_VARIANTS[config.trunk].keypoints, config.decoder_hidden
            queries = [context, *[width] * (config.decoder_depth - 1)]
            self.readers.extend(KeypointReader(keypoints, query, width, hidden) for query in queries)
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
        view: View | None = None,
    ) -> Raw:
        """`maps`: logits of keypoints, for the heads that read them; `view`: of those whose root is turned as seen."""
        grid = len(self.cross_queries_x)
        row, column = index // grid, index % grid
        shown = mask[..., None].to(context)
        queries = take_rows(context, index) + self.cross_queries_x[row] + self.cross_queries_y[column]
        marks = (self.cross_values_x[row] + self.cross_values_y[column]) * shown
        context = context.scatter_add(1, index[..., None].expand_as(marks), marks)
        x = self.enter(queries)
        bias = (~mask).to(context)[:, None] * HIDDEN
        expected, size = [], torch.full_like(shown, FIRST_SIZE)
        chances = chances_of(maps) if self.readers else None
        for i, block in enumerate(self.blocks):
            if self.readers:
                reader = self.readers[i]
                places, wide = reader.expect(x if i else queries, view, size)
                said, size = reader(reader.look(chances, places, wide), view)
                x = x + said
                expected.append(places)
            x = block(x * shown, context, bias)
        return self.leave(x * shown, view, expected)

    def enter(self, queries: Float[Tensor, "b p c"]) -> Float[Tensor, "b p d"]:
        """The decoder's tokens of queries."""
        start = torch.cat((self.init_body_pose, self.init_betas, self.init_cam), -1).expand(*queries.shape[:2], -1)
        return self.embedding(torch.cat((queries, start), -1)) + self.place

    def leave(self, x: Float[Tensor, "b p d"], view: View | None, expected: list[Float[Tensor, "b p k 2"]]) -> Raw:
        """What is said of people by their last tokens; roots are turned as `view` says."""
        pose = (self.decpose(x) + self.init_body_pose).unflatten(-1, (-1, 6))
        code = (self.deccam(x) + self.init_cam)[..., :1]
        expression = x.new_zeros(*x.shape[:2], 0) if self.decexpression is None else self.decexpression(x) + self.init_expression
        rotations = rotations_from_6d(pose, "columns")
        if view is not None:
            rotations = torch.cat((view.turn[:, :, None] @ rotations[:, :, :1], rotations[:, :, 1:]), 2)
        places = torch.stack(expected, 2) if expected else x.new_zeros(*x.shape[:2], 0, 0, 2)
        return Raw(rotations, self.decshape(x) + self.init_betas, expression, code, x, places)

    def lift(self, looks: list[Look], view: View) -> Raw:
        """What is said of people by the keypoints alone, one look per reader, without a picture: `forward`, as it starts in ours."""
        x = self.enter(looks[0].sure.new_zeros(*looks[0].sure.shape[:2], self.cross_queries_x.shape[1]))
        expected, size = [], None
        for i, (reader, block) in enumerate(zip(self.readers, self.blocks, strict=True)):
            if i:
                expected.append(reader.expect(x, view, size)[0])
            said, size = reader(looks[i], view)
            x = x + said
            x = x + block.between(x)
            x = x + block.fc2(F.gelu(block.fc1(block.norm(x))))
        return self.leave(x, view, expected)


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
        none = x.new_zeros(*index.shape, 0)
        return Raw(rotations, self.shape(x).sigmoid(), none, self.dist(x), x, none[..., None, None].expand(*index.shape, 0, 0, 2))
