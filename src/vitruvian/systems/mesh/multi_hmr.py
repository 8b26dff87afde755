"""Multi-HMR: the whole-body meshes of everybody in a picture, in one pass (Baradel et al., ECCV 2024, arXiv 2402.14654).

Idea
    A plain vision transformer (DINOv2) turns a square picture into one token per patch of 14 pixels. Each token says whether the head of a
    person lies in its patch (CenterNet on tokens): no person detector. Each patch that is found becomes a query, and a small decoder lets
    the queries of a picture see each other and read ALL tokens; from a query come the rotations of 53 joints, shape, expression and depth.
    The camera enters twice: each token gets the direction of its ray as Fourier features, and depth is predicted as a logarithm scaled by
    the focal length. The second generation (2026) poses Anny, whose licence is free, in place of SMPL-X, and guesses the field of view.

Card -> here
    7 (order of the steps)                          MultiHMR: encode, suppress, find, people
    4.4 camera embedding                            multi_hmr_parts.ray_features
    4.5 Human Prediction Head (HPH)                 multi_hmr_parts.PredictionHead
    4.7 the Anny generation (released code only)    multi_hmr_parts.AnnyHead
    4.2, 5 detection on tokens                      suppress, find
    6 labels and losses                             vitruvian.systems.mesh.multi_hmr_loss
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
    Ours, "compact-t" and its like, poses the compact body and sees pictures through MapPose, our network of 2D poses; its depth is
    exp(code) f / fn, the depth scaled by the focal length and not its logarithm. recipes/multi_hmr_small.py trains it.
    Not here: the published trainer, the mixture of data sets.

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

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.query_decoder import HEAD_WIDTH as DECODER_HEAD_WIDTH
from vitruvian.nn.vit import ViT, resample_positions
from vitruvian.systems.checkpoint import count_parts, filled, need, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.mesh.camera import default_intrinsics, plain_focal, unproject
from vitruvian.systems.mesh.multi_hmr_parts import (
    HEAD_WIDTH,
    POSE_VARIANTS,
    AnnyHead,
    PoseTokens,
    PredictionHead,
    View,
    perceptron,
    ray_features,
    take_rows,
    view_of,
)
from vitruvian.systems.mesh.published import SMPLX_FILE, mesh_card, published_card
from vitruvian.systems.pose2d.mappose import COARSE

SCORE_MARGIN = 1e-4  # scores stay so far from 0 and 1
THRESHOLD, KERNEL = 0.3, 3  # of the published demo
FARTHEST = 50.0  # metres
POSE_STRIDE = 16  # pixels between the tokens of our backbone

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

    `joints` counts rotations: 53 of SMPL-X (root, 21 body, 15 left hand, 15 right hand, jaw), 163 of Anny's rig "makehuman", 69 of the
    compact body. `bands` is the number of frequencies of the camera embedding, 0 for none; ours then leaves the focal length out of the
    depth too. `dense` reads a person off their own token, without attention. `published` runs the published slips (see the module).
    The compact body's network sees what MapPose's variant `trunk` sees before its last layers, and has `depth` blocks after it.
    """

    body: Literal["smplx", "anny", "compact"] = "smplx"
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
    dense: bool = False
    trunk: Literal["", "nano", "t"] = ""
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
_COMPACT = Config(
    "compact", 192, 2, 256, decoder_width=256, decoder_hidden=1024, shapes=16, expressions=0, joints=69, patch=16, positions=0,
    trunk="t",
)  # fmt: skip
_SIZES = {"s": (384, 12), "b": (768, 12), "l": (1024, 24)}
VARIANTS: dict[str, Config] = {
    "nano": _NANO,
    "anny-nano": replace(_NANO, body="anny", shapes=11, expressions=0, joints=163, bands=0),
    "compact-nano": replace(
        _COMPACT, width=64, depth=1, image_size=64, decoder_width=64, decoder_depth=1, decoder_heads=2, decoder_hidden=256, trunk="nano"
    ),
    "compact-t": _COMPACT,
    "s-448": Config(image_size=448),
    **{f"{size}-672": Config(width=width, depth=depth) for size, (width, depth) in _SIZES.items()},
    "l-896": Config(width=1024, depth=24, image_size=896),
    "l-1288": Config(width=1024, depth=24, image_size=1288),
    "anny-s-448": replace(_ANNY, image_size=448),
    "anny-l-672": replace(_ANNY, width=1024, depth=24),
}

_LICENCES = (
    "NAVER non-commercial licence",
    f"NAVER non-commercial licence; poses {SMPLX_FILE}",
    "BEDLAM, AGORA, UBody, 3DPW: research only",
)
_ANNY_LICENCES = ("NAVER non-commercial licence", "a licence of its own, beside the file", "not said in the card")
CARDS: tuple[Card, ...] = (
    *(
        published_card(f"multiHMR_{name}", "Multi-HMR", (size, size), "smplx-neutral", _LICENCES, figures, "arXiv 2402.14654")
        for name, size, figures in (
            ("672_S", 672, {"3DPW PVE, mm": 102.4, "EHF PVE, mm": 49.3, "BEDLAM-val PVE, mm": 78.9}),
            ("672_B", 672, {"3DPW PVE, mm": 94.0, "EHF PVE, mm": 43.6, "BEDLAM-val PVE, mm": 67.2}),
            ("672_L", 672, {"3DPW PVE, mm": 94.1, "EHF PVE, mm": 37.0, "BEDLAM-val PVE, mm": 58.6}),
            ("896_L", 896, {"3DPW PVE, mm": 89.9, "EHF PVE, mm": 42.2, "BEDLAM-val PVE, mm": 56.7}),
            ("1288_L_bedlam", 1288, {}),
            ("1288_L_agora", 1288, {}),
        )
    ),
    published_card("multiHMR_672_L_anny", "Multi-HMR", (672, 672), "anny-makehuman", _ANNY_LICENCES, source="arXiv 2402.14654"),
)


class Features(NamedTuple):
    """What the backbone says: tokens of the patches row by row, the class token, scores of the patches; ours also logits of keypoints."""

    tokens: Float[Tensor, "b n d"]
    first: Float[Tensor, "b d"]
    scores: Float[Tensor, "b g g"]
    maps: Float[Tensor, "b k h w"] | None = None


class People(NamedTuple):
    """People, one per row; in camera axes of OpenCV, metres, and pixels of the square picture, counted from its first pixel's corner.

    `rotations` are relative to the parent, the root's to the camera. `code` is what the network says of the depth, `offset` in patches from
    the patch's centre, `token` the decoder's last. `shape` is betas, or Anny's phenotypes in [0, 1]. `expected`: where our readers expected
    keypoints, as fractions of the picture.
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
    expected: Float[Tensor, "*n r k 2"]


class MultiHMR(nn.Module):
    """Normalised square pictures -> everybody in them."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = PoseTokens(config) if config.body == "compact" else _dinov2(config)
        self.detection = perceptron(config.width, 1)
        anny = config.body == "anny"
        self.view = perceptron(config.width, 1) if anny else None
        self.register_buffer("widest_view", torch.tensor([math.pi]) if anny else None)
        self.offset = perceptron(config.decoder_width if anny else config.width, 2)
        self.head = (AnnyHead if anny else PredictionHead)(config)
        if config.body == "compact":
            self._start_calmly()

    def _start_calmly(self) -> None:
        """At first nobody is anywhere, and everybody stands a few metres away in the rest pose: ours is trained for minutes, not days."""
        nn.init.constant_(self.detection[2].bias, -4.0)
        self.head.init_cam[0, 0] = math.log(FARTHEST) / 3
        for layer in (self.head.decpose, self.head.decshape, self.head.deccam):
            nn.init.normal_(layer.weight, std=0.002)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.head.embedding.weight)  # with these, what was learnt of keypoints alone holds at the start
        for block in self.head.blocks if not self.config.dense else ():
            nn.init.zeros_(block.across.to_out.weight)
            nn.init.zeros_(block.across.to_out.bias)
        for reader in self.head.readers[1:]:
            nn.init.constant_(reader.gates.bias[-2:-1], -1.0)

    def encode(self, image: Float[Tensor, "b 3 s s"]) -> Features:
        """The picture's tokens and the score of each patch. Raises VitruvianError for a picture of another size than the network's."""
        size, grid, maps = self.config.image_size, self.config.grid, None
        if tuple(image.shape[2:]) != (size, size):
            raise VitruvianError(f"the network takes pictures of {size}x{size}, not {tuple(image.shape[2:])}: fit them with contain()")
        if self.config.body == "compact":
            tokens, maps = self.backbone(image)
            tokens = torch.cat((tokens.mean(1, keepdim=True), tokens), 1)
        else:
            net, target = self.backbone, (grid, grid)
            patches = net.patch_embed(image).flatten(2).transpose(1, 2)
            # Not net.tokens: it takes the batch size by len(), which an exported graph would keep as a constant.
            tokens = torch.cat((net.cls_token.expand(image.shape[0], -1, -1), patches), 1)
            tokens = net.encode(tokens + resample_positions(net.pos_embed, net.grid, target, net.first, net.offset))
        scores = self.detection(tokens[:, 1:])[..., 0].sigmoid().unflatten(1, (grid, grid))
        if self.config.body != "anny":
            scores = scores.clamp(SCORE_MARGIN, 1 - SCORE_MARGIN)
        return Features(tokens[:, 1:], tokens[:, 0], scores, maps)

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
        raw = (
            self.head(context, index, mask, features.maps, self.seen(intrinsics, index))
            if config.trunk
            else self.head(context, index, mask)
        )
        offset = self.offset(raw.token if config.body == "anny" else take_rows(tokens, index))
        corner = torch.stack((index % config.grid, index // config.grid), -1)
        location = (corner + 0.5 + offset) * config.patch
        camera = intrinsics[:, None].to(location)
        depth = self.metres(raw.code, camera[..., 0, :1])
        return People(location, depth, depth * unproject(location, camera), *raw[:4], offset, *raw[4:])

    def seen(self, intrinsics: Float[Tensor, "b 3 3"], index: Int[Tensor, "b p"]) -> View:
        """How people in patches are seen, for our heads."""
        corners = intrinsics.new_tensor([[0, 0], [1, 0], [0, 1]]) * self.config.image_size
        return view_of(unproject(corners[None], intrinsics[:, None]).float(), index, self.config.grid, self.config.bands > 0)

    def metres(self, code: Float[Tensor, "*n 1"], focal: Float[Tensor, "*n 1"]) -> Float[Tensor, "*n 1"]:
        """Depth from what the head says of it, for a focal length in pixels of the square."""
        if self.config.body == "anny":
            return focal / code.exp().clamp(min=1e-5)
        if self.config.body == "compact":
            scale = focal / plain_focal(self.config.image_size) if self.config.bands else 1.0
            return (code.exp() * scale).clamp(0.0, FARTHEST)
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


def _dinov2(config: Config) -> ViT:
    """The published backbone."""
    grid, heads = (config.positions, config.positions), config.width // HEAD_WIDTH
    return ViT(config.width, config.depth, heads, grid, config.patch, class_token=True, layer_scale=1.0, offset=0.1)


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


def infer_config(state: Mapping[str, Tensor], published: bool = True) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes. Raises WeightsError if they contradict each other."""
    anny, compact = "head.places" in state, "backbone.places" in state
    grid = math.isqrt(need(state, "head.places", 2)[0]) if anny else need(state, "head.cross_queries_x", 2)[0]
    backbone, width, patch = _backbone(state, compact)
    decoder_width, context = need(state, "head.embedding.weight", 2)
    six = need(state, "head.init_body_pose", 2)[1]
    if not anny:
        context = need(state, "head.cross_queries_x", 2)[1]
    extra, dense = context - width, "head.blocks.0.across.to_q.weight" not in state and compact
    if six % 6 or not grid or not patch or width % HEAD_WIDTH or extra and (extra < 9 or extra % 6 != 3):
        raise WeightsError(f"tokens of {width} and {context} numbers, poses of {six}: the file is not of Multi-HMR; check which was given")
    return Config(
        body="anny" if anny else "compact" if compact else "smplx",
        image_size=grid * patch,
        decoder_width=decoder_width,
        decoder_depth=count_parts(state, "head.blocks."),
        decoder_heads=Config.decoder_heads if dense else need(state, "head.blocks.0.across.to_q.weight", 2)[0] // DECODER_HEAD_WIDTH,
        decoder_hidden=need(state, "head.blocks.0.fc1.weight", 2)[0],
        shapes=need(state, "head.shape.2.weight" if anny else "head.decshape.weight", 2)[0],
        expressions=0 if anny or compact else need(state, "head.decexpression.weight", 2)[0],
        joints=six // 6,
        bands=extra // 6,
        dense=dense,
        published=published and not compact,
        **backbone,
    )


def _backbone(state: Mapping[str, Tensor], compact: bool) -> tuple[dict[str, float | str], int, int]:
    """What `Config` says of the backbone; the width of its tokens; and its stride."""
    if compact:
        width = need(state, "backbone.places", 3)[2]
        context, places = need(state, "backbone.trunk.enter.conv.weight", 4)[0], need(state, "backbone.trunk.places", 3)[1]
        known = {(pose.context, math.prod(pose.input_size) // COARSE**2): name for name, pose in POSE_VARIANTS.items()}
        trunk = known.get((context, places))
        if trunk is None:
            raise WeightsError(f"a backbone with {context} channels at stride 32 is none of ours: check which file was given")
        options = {"trunk": trunk, "positions": 0, "depth": count_parts(state, "backbone.blocks.")}
        return options | {"width": width, "patch": POSE_STRIDE}, width, POSE_STRIDE
    width, _, patch, _ = need(state, "backbone.patch_embed.proj.weight", 4)
    positions = math.isqrt(need(state, "backbone.pos_embed", 3)[1] - 1)
    return {"width": width, "depth": count_parts(state, "backbone.blocks."), "patch": patch, "positions": positions}, width, patch


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
    return config, filled(MultiHMR, config, renamed)


def variant_of(config: Config) -> str:
    """A name for a configuration: that of VARIANTS, whether with the published slips or without."""
    return next((name for name, known in VARIANTS.items() if known == replace(config, published=False)), "unlisted")


class Deployed(nn.Module):
    """For ONNX: pictures and cameras -> the best patches of each picture: scores, and `People` of each.

    As many of each picture as the fullest has whose score is a third of `threshold`, for callers who ask for less, but `FEWEST` to `most`:
    people cost time. A camera is four numbers that `codecs.mesh.camera_code` makes. The caller keeps those whose score reaches a threshold.
    People below `threshold` are hidden from the others, so that the kept ones are what `MultiHMR` says of the picture alone at this
    threshold, as long as there are `most` at most. The table of places is resampled once.
    """

    OUTPUTS = ("scores", "locations", "depths", "translations", "rotations", "shapes", "expressions")
    FEWEST = 2  # exporters take sizes of 0 and 1 for constants

    def __init__(self, model: MultiHMR, most: int = 32, threshold: float = THRESHOLD, kernel: int = KERNEL):
        super().__init__()
        if not self.FEWEST <= most <= model.config.grid**2:
            raise VitruvianError(f"{most} people don't fit {model.config.grid**2} patches: choose {self.FEWEST} to that many")
        self.network, self.most, self.threshold, self.kernel = copy.deepcopy(model), most, threshold, kernel
        # Suppressed patches, whose scores are equal, in their order on every machine.
        self.register_buffer("order", torch.arange(model.config.grid**2) * -1e-9)
        if model.config.body == "compact":
            return
        backbone, target = self.network.backbone, (model.config.grid,) * 2
        table = resample_positions(backbone.pos_embed.detach(), backbone.grid, target, backbone.first, backbone.offset)
        backbone.pos_embed, backbone.grid = nn.Parameter(table), target

    def forward(self, image: Float[Tensor, "b 3 s s"], camera: Float[Tensor, "b 4"]) -> tuple[Tensor, ...]:
        """Rows by falling score; `outputs` names them."""
        features = self.network.encode(image)
        scores = suppress(features.scores, self.kernel).flatten(1)
        index = (scores + self.order).topk(self.most)[1]
        scores = scores.gather(1, index)
        rows = torch.sym_max((scores >= self.threshold / 3).sum(1).max().item(), self.FEWEST)
        torch._check(rows >= self.FEWEST)  # what an exporter cannot know of a number that it reads from a tensor
        torch._check(rows <= self.most)
        index, scores = index[:, :rows], scores[:, :rows]
        people = self.network.padded_people(features, self.intrinsics(camera), index, scores >= self.threshold)
        return (scores, *people[: len(self.outputs) - 1])

    def intrinsics(self, camera: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 3"]:
        """Camera matrices of the square from the four numbers of each."""
        size = self.network.config.image_size
        focal, middle = camera[:, :2].exp() * plain_focal(size), (camera[:, 2:] + 0.5) * size
        zero, one = torch.zeros_like(focal[:, 0]), torch.ones_like(focal[:, 0])
        rows = (focal[:, 0], zero, middle[:, 0], zero, focal[:, 1], middle[:, 1], zero, zero, one)
        return torch.stack(rows, 1).unflatten(1, (3, 3))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` gives. Anny and the compact body have no expressions: that output is left out."""
        return self.OUTPUTS if self.network.config.expressions else self.OUTPUTS[:-1]


def exported(config: Config, model: MultiHMR) -> Exported:
    """What goes into an ONNX file: everybody in a square picture, to be posed by the ground floor (`vitruvian.runtime.mesh`)."""
    size, deployed = config.image_size, Deployed(model, min(32, config.grid**2))
    body = {"smplx": "smplx-neutral", "anny": "anny-makehuman", "compact": "compact"}[config.body]
    card = mesh_card(f"multi-hmr-{variant_of(config)}", "Multi-HMR", (size, size), body)
    return Exported(deployed, {"image": (3, size, size), "camera": (4,)}, deployed.outputs, card)
