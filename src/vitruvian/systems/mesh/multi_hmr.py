"""Multi-HMR: the whole-body meshes of everybody in a picture, in one pass (Baradel et al., ECCV 2024, arXiv 2402.14654).

Idea
    A plain vision transformer (DINOv2) turns a square picture into one token per patch of 14 pixels. Each token says whether the head of a
    person lies in its patch (CenterNet on tokens): no person detector. Each patch that is found becomes a query, and a small decoder lets
    the queries of a picture see each other and read ALL tokens; from a query come the rotations of 53 joints, shape, expression and depth.
    The camera enters twice: each token gets the direction of its ray as Fourier features, and depth is predicted as a logarithm scaled by
    the focal length. The second generation (2026) poses Anny, whose licence is free, in place of SMPL-X, and guesses the field of view.

Card -> here
    7 (order of the steps)                          MultiHMR: encode, suppress, find, people
    4.4 camera embedding                            ray_features
    4.5 Human Prediction Head (HPH)                 PredictionHead
    4.7 the Anny generation (released code only)    AnnyHead
    4.2, 5, 6 detection on tokens, targets          suppress, find, encode_targets
    6 losses                                        detection_loss, loss_terms, multi_hmr_loss
    2 body: head joint at the predicted place       vitruvian.systems.mesh.bodies
    decoder of queries, cameras                     vitruvian.nn.query_decoder, vitruvian.systems.mesh.camera
    4.1 DINOv2                                      vitruvian.nn.vit.ViT
    5 preparation of pictures                       vitruvian.codecs.contain

    published file           backbone  pixels  body      3DPW PVE, EHF PVE, BEDLAM-val PVE (mm, published)
    multiHMR_672_S           S         672     SMPL-X    102.4  49.3  78.9
    multiHMR_672_B           B         672     SMPL-X    94.0   43.6  67.2
    multiHMR_672_L           L         672     SMPL-X    94.1   37.0  58.6
    multiHMR_896_L           L         896     SMPL-X    89.9   42.2  56.7
    multiHMR_1288_L_bedlam, multiHMR_1288_L_agora, multiHMR_672_L_anny: no figures in the card

Deviations
    Published slips, run with published weights and left out of what we train (`Config.published`): the rays of patches are taken at
    (row, column) in place of (x, y); Anny's decoder hides the picture from places where nobody is by taking the same number from all that
    they see, which changes only the rounding of what is dropped anyhow. The mean pose in published files is stored for another layout of
    the six numbers than it is read with; that needs no switch, as only the files carry it: ours starts from upright people. In published
    training the depth code's target is the pelvis' depth though the head's is meant; `depth_code` takes the depth that it is given.
    Anny's losses are not published: ours are those of SMPL-X [ours]; that Anny's rotations are in world-aligned axes ("local-ref") is
    concluded from their start only [ours].
    Not here: the flip augmentation, the trainer, the mixture of data sets.

Licences
    Published code and weights: NAVER's non-commercial licence, and BEDLAM, AGORA, UBody, 3DPW (research only) for the weights; Anny's
    checkpoint has its own. DINOv2: Apache-2.0, code and weights. SMPL-X: the user's own file. Nothing published is contained here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitruvian.body.pose import rotations_from_6d
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.query_decoder import HEAD_WIDTH as DECODER_HEAD_WIDTH
from vitruvian.nn.query_decoder import HIDDEN, DecoderBlock
from vitruvian.nn.vit import ViT, resample_positions
from vitruvian.systems.checkpoint import check_fit, need, pour, rename
from vitruvian.systems.mesh.camera import default_intrinsics, plain_focal, unproject

HEAD_WIDTH = 64  # of an attention head of the backbone
SCORE_MARGIN = 1e-4  # scores stay so far from 0 and 1
THRESHOLD, KERNEL = 0.3, 3  # of the published demo
FARTHEST = 50.0  # metres

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^(backbone\.encoder|encoder\.backbone)\.", "backbone."),
    (r"^(mlp_classif|encoder\.mlp_det)\.", "detection."),
    (r"^encoder\.mlp_fov_unique\.", "view."),
    (r"^encoder\.fov_max$", "widest_view"),
    (r"^x_attention_head\.transformer\.to_token_embedding\.", "head.embedding."),
    (r"^x_attention_head\.transformer\.pos_embedding$", "head.place"),
    (r"^(x_attention_head\.transformer|decoder)\.transformer\.layers\.", "head.blocks."),
    (r"^x_attention_head\.", "head."),
    (r"^mlp_offset\.", "offset."),
    (r"^mlp_(pose|shape|dist)\.", r"head.\1."),
    (r"^dec_to_token\.", "head.embedding."),
    (r"^dec_pos_emb$", "head.places"),
    (r"^init_body_pose$", "head.init_body_pose"),
    (r"^useful_rotmat$", "head.free"),
    (r"\.(\d+)\.0\.(norm|fn)\.", r".\1.between.\2."),
    (r"\.(\d+)\.1\.(norm|fn)\.", r".\1.across.\2."),
    (r"\.(\d+)\.2\.norm\.", r".\1.norm."),
    (r"\.(\d+)\.2\.fn\.net\.0\.", r".\1.fc1."),
    (r"\.(\d+)\.2\.fn\.net\.3\.", r".\1.fc2."),
    (r"\.(between|across)\.fn\.to_out\.0\.", r".\1.to_out."),
    (r"\.(between|across)\.fn\.", r".\1."),
)
DROP = (r"mask_token$", r"(^|\.)(smpl_layer|body_model)\.", r"^(module\.)?eye$")


@dataclass(frozen=True)
class Config:
    """A network. `image_size` is the side of the picture in pixels, a multiple of `patch`; `positions` the side of DINOv2's own table.

    `joints` counts rotations: 53 of SMPL-X (root, 21 body, 15 left hand, 15 right hand, jaw), 163 of Anny's rig "makehuman".
    `bands` is the number of frequencies of the camera embedding, 0 for none. `published` runs the published slips (see the module).
    """

    body: Literal["smplx", "anny"] = "smplx"
    width: int = 384
    depth: int = 12
    image_size: int = 672
    decoder_width: int = 1024
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_hidden: int = 1024
    shapes: int = 10
    expressions: int = 10
    joints: int = 53
    bands: int = 16
    patch: int = 14
    positions: int = 37
    published: bool = False

    def __post_init__(self) -> None:
        if self.image_size < self.patch or self.image_size % self.patch or self.width % HEAD_WIDTH:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {self.patch}, and width {self.width} one of {HEAD_WIDTH}: change them"
            )

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch


_ANNY = Config(
    "anny", decoder_width=512, decoder_depth=8, decoder_heads=16, decoder_hidden=2048, shapes=11, expressions=0, joints=163, bands=0
)
_NANO = Config(
    width=64, depth=2, image_size=84, decoder_width=64, decoder_depth=1, decoder_heads=2, decoder_hidden=64, bands=4, positions=5
)
_SIZES = {"s": (384, 12), "b": (768, 12), "l": (1024, 24)}
VARIANTS: dict[str, Config] = {
    "nano": _NANO,
    "anny-nano": replace(_NANO, body="anny", shapes=11, expressions=0, joints=163, bands=0),
    "s-448": Config(image_size=448),
    **{f"{size}-672": Config(width=width, depth=depth) for size, (width, depth) in _SIZES.items()},
    "l-896": Config(width=1024, depth=24, image_size=896),
    "l-1288": Config(width=1024, depth=24, image_size=1288),
    "anny-s-448": replace(_ANNY, image_size=448),
    "anny-l-672": replace(_ANNY, width=1024, depth=24),
}


class Features(NamedTuple):
    """What the backbone says: tokens of the patches row by row, the class token, and the scores of the patches."""

    tokens: Float[Tensor, "b n d"]
    first: Float[Tensor, "b d"]
    scores: Float[Tensor, "b g g"]


class People(NamedTuple):
    """People, one per row; in camera axes of OpenCV, metres, and pixels of the square picture, counted from its first pixel's corner.

    `rotations` are relative to the parent, the root's to the camera. `code` is what the network says of the depth, `offset` in patches from
    the patch's centre, `token` the decoder's last. `shape` is betas, or Anny's phenotypes in [0, 1].
    """

    location: Float[Tensor, "*n 2"]
    depth: Float[Tensor, "*n 1"]
    translation: Float[Tensor, "*n 3"]
    rotations: Float[Tensor, "*n j 3 3"]
    shape: Float[Tensor, "*n s"]
    expression: Float[Tensor, "*n e"]
    code: Float[Tensor, "*n 1"]
    offset: Float[Tensor, "*n 2"]
    token: Float[Tensor, "*n d"]


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
    """The blocks of the decoder, whose queries read tokens of width `context`."""
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


class PredictionHead(nn.Module):
    """HPH, the head for SMPL-X: tokens with rays, and the patches of people -> rotations, shape, expression, depth code.

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
        self.decpose = nn.Linear(width, 6 * config.joints)
        self.decshape = nn.Linear(width, config.shapes)
        self.deccam = nn.Linear(width, 3)
        self.decexpression = nn.Linear(width, config.expressions)

    def forward(self, context: Float[Tensor, "b n c"], index: Int[Tensor, "b p"], mask: Bool[Tensor, "b p"]) -> Raw:
        grid = len(self.cross_queries_x)
        row, column = index // grid, index % grid
        shown = mask[..., None].to(context)
        queries = take_rows(context, index) + self.cross_queries_x[row] + self.cross_queries_y[column]
        marks = (self.cross_values_x[row] + self.cross_values_y[column]) * shown
        context = context.scatter_add(1, index[..., None].expand_as(marks), marks)
        start = torch.cat((self.init_body_pose, self.init_betas, self.init_cam), -1).expand(*index.shape, -1)
        x = self.embedding(torch.cat((queries, start), -1)) + self.place
        bias = (~mask).to(context)[:, None] * HIDDEN
        for block in self.blocks:
            x = block(x * shown, context, bias)
        x = x * shown
        pose = (self.decpose(x) + self.init_body_pose).unflatten(-1, (-1, 6))
        code = (self.deccam(x) + self.init_cam)[..., :1]
        expression = self.decexpression(x) + self.init_expression
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


class MultiHMR(nn.Module):
    """Normalised square pictures -> everybody in them."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        grid = (config.positions, config.positions)
        heads = config.width // HEAD_WIDTH
        self.backbone = ViT(config.width, config.depth, heads, grid, config.patch, class_token=True, layer_scale=1.0, offset=0.1)
        self.detection = perceptron(config.width, 1)
        anny = config.body == "anny"
        self.view = perceptron(config.width, 1) if anny else None
        self.register_buffer("widest_view", torch.tensor([math.pi]) if anny else None)
        self.offset = perceptron(config.decoder_width if anny else config.width, 2)
        self.head = (AnnyHead if anny else PredictionHead)(config)

    def encode(self, image: Float[Tensor, "b 3 s s"]) -> Features:
        """The picture's tokens and the score of each patch. Raises VitruvianError for a picture of another size than the network's."""
        size, grid = self.config.image_size, self.config.grid
        if tuple(image.shape[2:]) != (size, size):
            raise VitruvianError(f"the network takes pictures of {size}x{size}, not {tuple(image.shape[2:])}: fit them with contain()")
        net, target = self.backbone, (grid, grid)
        patches = net.patch_embed(image).flatten(2).transpose(1, 2)
        # Not net.tokens: it takes the batch size by len(), which an exported graph would keep as a constant.
        tokens = torch.cat((net.cls_token.expand(image.shape[0], -1, -1), patches), 1)
        tokens = net.encode(tokens + resample_positions(net.pos_embed, net.grid, target, net.first, net.offset))
        scores = self.detection(tokens[:, 1:])[..., 0].sigmoid().unflatten(1, (grid, grid))
        if self.config.body == "smplx":
            scores = scores.clamp(SCORE_MARGIN, 1 - SCORE_MARGIN)
        return Features(tokens[:, 1:], tokens[:, 0], scores)

    def fields_of_view(self, features: Features) -> Float[Tensor, "b 1"]:
        """Radians: what the Anny generation guesses from the picture."""
        return self.widest_view * self.view(features.first).sigmoid()

    def intrinsics(self, features: Features) -> Float[Tensor, "b 3 3"]:
        """The cameras to use where none are known: guessed by the Anny generation, else 60 degrees."""
        size, batch = self.config.image_size, len(features.tokens)
        if self.view is None:
            return default_intrinsics(size).to(features.tokens).expand(batch, 3, 3)
        focal = size / 2 / (self.fields_of_view(features) / 2).tan()
        middle, zero, one = torch.full_like(focal, size / 2), torch.zeros_like(focal), torch.ones_like(focal)
        return torch.cat((focal, zero, middle, zero, focal, middle, zero, zero, one), 1).unflatten(1, (3, 3))

    def padded_people(
        self,
        features: Features,
        intrinsics: Float[Tensor, "b 3 3"],
        index: Int[Tensor, "b p"],
        mask: Bool[Tensor, "b p"],
    ) -> People:
        """People by picture: `index` counts patches row by row, `mask` says where somebody is. Without meaning where nobody is."""
        config, tokens = self.config, features.tokens
        context = torch.cat((tokens, ray_features(intrinsics, config).to(tokens)), -1) if config.bands else tokens
        raw = self.head(context, index, mask)
        offset = self.offset(raw.token if config.body == "anny" else take_rows(tokens, index))
        corner = torch.stack((index % config.grid, index // config.grid), -1)
        location = (corner + 0.5 + offset) * config.patch
        camera = intrinsics[:, None].to(location)
        depth = self.metres(raw.code, camera[..., 0, :1])
        return People(location, depth, depth * unproject(location, camera), *raw[:4], offset, raw.token)

    def metres(self, code: Float[Tensor, "*n 1"], focal: Float[Tensor, "*n 1"]) -> Float[Tensor, "*n 1"]:
        """Depth from what the head says of it, for a focal length in pixels of the square."""
        if self.config.body == "anny":
            return focal / code.exp().clamp(min=1e-5)
        return ((code * focal / plain_focal(self.config.image_size)).exp() - 1e-10).clamp(0.0, FARTHEST)

    def people(self, features: Features, intrinsics: Float[Tensor, "b 3 3"], cells: Int[Tensor, "n 3"]) -> People:
        """The people in `cells`: (picture, row, column) of the patches of their heads, sorted by picture; none is fine.

        In training these are the true patches (`encode_targets`), else those of `find`.
        """
        index, mask, slots = places_by_picture(cells, len(features.tokens), self.config.grid)
        padded = self.padded_people(features, intrinsics, index, mask)
        return People(*(values[cells[:, 0], slots] for values in padded))

    def forward(
        self,
        image: Float[Tensor, "b 3 s s"],
        intrinsics: Float[Tensor, "b 3 3"] | None = None,
        threshold: float = THRESHOLD,
        kernel: int = KERNEL,
    ) -> tuple[Int[Tensor, "n 3"], People]:
        """Pictures, and their cameras if known -> (picture, row, column) of everybody, and everybody, in the order of `find`."""
        features = self.encode(image)
        cells = find(features.scores, threshold, kernel)
        return cells, self.people(features, self.intrinsics(features) if intrinsics is None else intrinsics, cells)


def places_by_picture(
    cells: Int[Tensor, "n 3"], batch: int, grid: int
) -> tuple[Int[Tensor, "b p"], Bool[Tensor, "b p"], Int[Tensor, " n"]]:
    """Cells sorted by picture -> as many places for each picture as the fullest needs: patches, who is there, the place of each cell."""
    picture = cells[:, 0]
    counts = torch.bincount(picture, minlength=batch)
    slots = torch.arange(len(cells), device=cells.device) - (counts.cumsum(0) - counts)[picture]
    most = int(counts.max()) if len(cells) else 0
    index = cells.new_zeros(batch, most)
    index[picture, slots] = cells[:, 1] * grid + cells[:, 2]
    return index, torch.arange(most, device=cells.device) < counts[:, None], slots


def suppress(scores: Float[Tensor, "b g g"], kernel: int = KERNEL) -> Float[Tensor, "b g g"]:
    """Scores that are the largest among their `kernel` x `kernel` neighbours, 0 elsewhere; a kernel of 1 or less keeps all."""
    if kernel <= 1:
        return scores
    largest = F.max_pool2d(scores[:, None], kernel, 1, kernel // 2)[:, 0, : scores.shape[1], : scores.shape[2]]
    return scores * (scores == largest)


def find(scores: Float[Tensor, "b g g"], threshold: float = THRESHOLD, kernel: int = KERNEL) -> Int[Tensor, "n 3"]:
    """(picture, row, column) of the patches with people, in this order; as many as there are."""
    return (suppress(scores, kernel) >= threshold).nonzero()


class Targets(NamedTuple):
    """What a network should say: scores (1 in patches with a head, else 0); of each person that is kept patch, offset, row of the input."""

    scores: Float[Tensor, "b g g"]
    cells: Int[Tensor, "m 3"]
    offset: Float[Tensor, "m 2"]
    kept: Int[Tensor, " m"]


def encode_targets(
    heads: Float[Tensor, "n 2"], depths: Float[Tensor, " n"], picture: Int[Tensor, " n"], batch: int, config: Config
) -> Targets:
    """Labels of people: `heads` in pixels of the square, `depths` in metres, `picture` the row of the batch that each is in.

    Of two people in one patch only the nearer is kept. A head outside the picture counts for the patch at its edge (card, section 6).
    """
    grid = config.grid
    place = (heads / config.patch).floor().long().clamp(0, grid - 1)
    patch = (picture * grid + place[:, 1]) * grid + place[:, 0]
    nearest = depths.argsort(stable=True)
    order = nearest[patch[nearest].argsort(stable=True)]  # by patch, and by depth in a patch
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = patch[order[1:]] != patch[order[:-1]]
    kept = order[first]
    cells = torch.stack((picture[kept], place[kept, 1], place[kept, 0]), 1)
    scores = heads.new_zeros(batch, grid, grid)
    scores[cells[:, 0], cells[:, 1], cells[:, 2]] = 1
    return Targets(scores, cells, heads[kept] / config.patch - (place[kept] + 0.5), kept)


def depth_code(depth: Float[Tensor, "*n 1"], focal: Float[Tensor, "*n 1"], config: Config) -> Float[Tensor, "*n 1"]:
    """What the head should say for a depth in metres: the inverse of `MultiHMR.metres`."""
    if config.body == "anny":
        return (focal / depth).log()
    return (depth + 1e-10).log() * plain_focal(config.image_size) / focal


class Labelled(NamedTuple):
    """What the loss compares, of a prediction or of the truth: per patch `scores`, the others per person.

    `pelvis` is the pelvis in the camera, from which joints and vertices are counted; `joints_2d` and `vertices_2d` are in pixels.
    """

    scores: Float[Tensor, "b g g"]
    offset: Float[Tensor, "n 2"]
    rotations: Float[Tensor, "n j 3 3"]
    shape: Float[Tensor, "n s"]
    code: Float[Tensor, " n"]
    translation: Float[Tensor, "n 3"]
    pelvis: Float[Tensor, "n 3"]
    joints: Float[Tensor, "n k 3"]
    vertices: Float[Tensor, "n v 3"]
    joints_2d: Float[Tensor, "n k 2"]
    vertices_2d: Float[Tensor, "n v 2"]


WEIGHTS: Mapping[str, float] = {
    "detection": 10.0,
    "offset": 1.0,
    "rotations": 0.1,
    "shape": 1.0,
    "code": 1.0,
    "translation": 1.0,
    "joints": 100.0,
    "vertices": 100.0,
    "joints_2d": 1.0,
    "vertices_2d": 1.0,
}
LATE = ("joints_2d", "vertices_2d")  # only from LATE_EPOCH on
LATE_EPOCH = 10


def detection_loss(scores: Float[Tensor, "b g g"], target: Float[Tensor, "b g g"]) -> Float[Tensor, ""]:
    """CenterNet's focal loss (alpha 2, beta 4) over all patches, by the number of people."""
    scores = scores.clamp(SCORE_MARGIN, 1 - SCORE_MARGIN)
    there = target == 1
    found = (scores.log() * (1 - scores) ** 2)[there].sum()
    missed = ((1 - scores).log() * scores**2 * (1 - target) ** 4)[~there].sum()
    return -(found + missed) / there.sum().clamp(min=1)


def loss_terms(prediction: Labelled, truth: Labelled, size: int) -> dict[str, Float[Tensor, ""]]:
    """Every term without its weight, means over people (card, section 6). Nobody gives 0.

    Points in the picture count only where the truth lies strictly inside it; `shape` as far as both have it. A term that is not finite
    counts as 0, and gives no gradient.
    """

    def per_person(name: str) -> Tensor:
        gap = getattr(prediction, name).flatten(1) - getattr(truth, name).flatten(1)
        return gap.abs().sum() / max(len(gap), 1)

    def points(name: str) -> Tensor:
        gap = (getattr(prediction, name) - prediction.pelvis[:, None]) - (getattr(truth, name) - truth.pelvis[:, None])
        return gap.abs().sum() / max(gap.shape[0] * gap.shape[1], 1)

    def seen(name: str) -> Tensor:
        target = getattr(truth, name)
        inside = ((target > 0) & (target < size)).all(-1, keepdim=True)
        return ((getattr(prediction, name) - target).abs() * inside).sum() / inside.sum().clamp(min=1)

    shared = min(prediction.shape.shape[1], truth.shape.shape[1])
    shape = (prediction.shape[:, :shared] - truth.shape[:, :shared]).abs().sum() / max(len(truth.shape), 1)
    code = (prediction.code.flatten() - truth.code.flatten()).abs().sum() / max(len(truth.code), 1)
    terms = {"detection": detection_loss(prediction.scores, truth.scores), "shape": shape, "code": code}
    terms |= {name: per_person(name) for name in ("offset", "rotations", "translation")}
    terms |= {name: points(name) for name in ("joints", "vertices")} | {name: seen(name) for name in LATE}
    return {name: value if value.isfinite() else torch.zeros_like(value) for name, value in terms.items()}


def multi_hmr_loss(prediction: Labelled, truth: Labelled, size: int, epoch: int = LATE_EPOCH) -> Float[Tensor, ""]:
    """The training loss: the weighted sum of the terms; those of points in the picture from epoch 10 on (of 10 000 steps each)."""
    terms = loss_terms(prediction, truth, size)
    return sum(WEIGHTS[name] * value for name, value in terms.items() if epoch >= LATE_EPOCH or name not in LATE)


def infer_config(state: Mapping[str, Tensor], published: bool = True) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes. Raises WeightsError if they contradict each other."""
    width, _, patch, _ = need(state, "backbone.patch_embed.proj.weight", 4)
    positions = math.isqrt(need(state, "backbone.pos_embed", 3)[1] - 1)
    anny = "head.places" in state
    grid = math.isqrt(need(state, "head.places", 2)[0]) if anny else need(state, "head.cross_queries_x", 2)[0]
    decoder_width, context = need(state, "head.embedding.weight", 2)
    six = need(state, "head.init_body_pose", 2)[1]
    if not anny:
        context = need(state, "head.cross_queries_x", 2)[1]
    extra = context - width
    if six % 6 or not grid or not patch or width % HEAD_WIDTH or extra and (extra < 9 or extra % 6 != 3):
        raise WeightsError(f"tokens of {width} and {context} numbers, poses of {six}: the file is not of Multi-HMR; check which was given")
    return Config(
        body="anny" if anny else "smplx",
        width=width,
        depth=_count(state, "backbone.blocks."),
        image_size=grid * patch,
        decoder_width=decoder_width,
        decoder_depth=_count(state, "head.blocks."),
        decoder_heads=need(state, "head.blocks.0.across.to_q.weight", 2)[0] // DECODER_HEAD_WIDTH,
        decoder_hidden=need(state, "head.blocks.0.fc1.weight", 2)[0],
        shapes=need(state, "head.shape.2.weight" if anny else "head.decshape.weight", 2)[0],
        expressions=0 if anny else need(state, "head.decexpression.weight", 2)[0],
        joints=six // 6,
        bands=extra // 6,
        patch=patch,
        positions=positions,
        published=published,
    )


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def from_published(state: Mapping[str, Tensor], published: bool = True) -> tuple[Config, MultiHMR]:
    """Build the network that a published state dict describes (entries of "model_state_dict") and fill it; in eval mode.

    `published` False is for what we trained ourselves, without the published slips; the weights don't tell.
    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    kid = renamed.pop("head.init_betas_kid", None)  # the mean of 11 betas: SMPL-X with the children's one
    if kid is not None and "head.decshape.weight" in renamed and len(renamed["head.decshape.weight"]) == kid.shape[-1]:
        renamed["head.init_betas"] = kid
    config = infer_config(renamed, published)
    with torch.device("meta"):
        check_fit(MultiHMR(config), renamed)  # before memory is taken for what a damaged file asks for
    model = MultiHMR(config)
    pour(model, renamed)
    return config, model.eval()


class Deployed(nn.Module):
    """For ONNX: pictures and cameras -> the `most` best patches of each picture, whether good or not: scores, and `People` of each.

    The caller keeps those whose score reaches a threshold. The table of places is resampled once. People below `threshold` are hidden from
    the others, so that the kept ones are what `MultiHMR` says of the picture alone at this threshold, as long as there are `most` at most.
    """

    OUTPUTS = ("scores", "locations", "depths", "translations", "rotations", "shapes", "expressions")

    def __init__(self, model: MultiHMR, most: int = 32, threshold: float = THRESHOLD, kernel: int = KERNEL):
        super().__init__()
        if not 0 < most <= model.config.grid**2:
            raise VitruvianError(f"{most} people don't fit {model.config.grid**2} patches: choose 1 to that many")
        self.network, self.most, self.threshold, self.kernel = copy.deepcopy(model), most, threshold, kernel
        backbone, target = self.network.backbone, (model.config.grid,) * 2
        table = resample_positions(backbone.pos_embed.detach(), backbone.grid, target, backbone.first, backbone.offset)
        backbone.pos_embed, backbone.grid = nn.Parameter(table), target

    def forward(self, image: Float[Tensor, "b 3 s s"], intrinsics: Float[Tensor, "b 3 3"]) -> tuple[Tensor, ...]:
        """Rows by falling score; `OUTPUTS` names them. The Anny generation has no expressions: that output is left out."""
        features = self.network.encode(image)
        scores, index = suppress(features.scores, self.kernel).flatten(1).topk(self.most)
        people = self.network.padded_people(features, intrinsics, index, scores >= self.threshold)
        return (scores, *people[: len(self.outputs) - 1])

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` gives."""
        return self.OUTPUTS if self.network.config.expressions else self.OUTPUTS[:-1]
