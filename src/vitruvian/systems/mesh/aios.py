"""AiOS: everybody in a picture with SMPL-X, without a detector and without crops (Sun et al., CVPR 2024, arXiv 2403.17934).

Idea
    Mesh recovery as set prediction (DETR; the family of DINO and ED-Pose). A ResNet and a deformable encoder turn the whole picture into
    tokens; the best 900 become queries, and two layers of a decoder make people of them. The 100 best go on: each spreads into tokens of
    its box, of 17 body keypoints and of the boxes of hands and face, refined by two layers; then hands and face spread into keypoints of
    their own, refined by two more. SMPL-X parameters are read from the tokens of a person side by side. Tokens of a person see each other,
    and boxes see the boxes of all people, so that nobody is cut out of the context.

Card -> here
    4.1 backbone, projections, encoder         AiOS, Finder; aios_encoder.Encoder, places
    4.2 query selection                        aios_encoder.Selection
    4.3 decoder, expansions, masks             aios_decoder.Decoder, layouts, blocked_pairs
    4.4 heads                                  aios_decoder.Decoder (reports)
    2 camera                                   camera_translation; codecs.mesh.into_camera for known cameras
    5 pictures, choice of people               codecs.aios.batch, people, see
    6 matching, denoising queries, losses      vitruvian.systems.mesh.aios_loss
    deformable attention                       vitruvian.nn.deformable

    Published file aios_checkpoint.pth (mm):  NMVE body+parts / body  NMJE          MVE           MVE face, hands left / right
        BEDLAM                                87.6 / 57.7             85.8 / 57.7   83.2 / 54.8   26.2, 28.1 / 30.8
        AGORA-test                            102.9 / 63.4            100.7 / 62.5  98.8 / 60.9   27.7, 42.5 / 43.4
        AGORA-val                             105.1 / 60.9            102.2 / 61.4  100.9 / 60.9  30.6, 43.9 / 45.6

Deviations
    Masks are made from sizes in a few operations; published code fills them in Python loops, and asks for targets in evaluation. At least
    NUM_PERSON people whatever their scores is an option here (`at_least`), off unless asked for; so is the removal of duplicates, which the
    published program lacks. A person is listed once, by the better class; published code may list one twice, once per class. The backbone's
    normalisation is frozen in published training: see `freeze_backbone`. Sizes of keypoints' references learn nothing, as no loss reads
    them and references pass no gradient (so it follows from the card); ours start at 0.18 of the person or the part. Bodies start upright
    and 20 m away, as six zeros are no rotation. The scaling of pictures follows DETR's rule [mem]. The released file was not inspected;
    keys and containers are as the card describes them.

Licences
    Published code: S-Lab License 1.0 (non-commercial), not read; built on ED-Pose and mmhuman3d (Apache-2.0). Weights: trained on AGORA,
    BEDLAM, UBody, ARCTIC, EgoBody (research only) and COCO. SMPL-X: the user's own file. Nothing published is contained here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from vitruvian.body import BodyParameters
from vitruvian.body.pose import rotation_vectors
from vitruvian.codecs.aios import LONG, SHORT, batch, own_cameras
from vitruvian.codecs.mesh import into_camera
from vitruvian.codecs.nms import nms
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.systems.backbones import ResNetConfig, infer_backbone
from vitruvian.systems.checkpoint import count_parts, filled, need, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.mesh.aios_decoder import Body, Decoder, Found, Noisy
from vitruvian.systems.mesh.aios_encoder import GROUPS, Encoder, Proposals, Scene, Selection
from vitruvian.systems.mesh.published import SMPLX_FILE, mesh_card, published_card

THRESHOLD, CROWD_THRESHOLD = 0.5, 0.1  # of the published demo; the lower one is recommended for crowds
MOST = 50  # people that the published program gives

_LISTS = r"(?:bbox|pose)(?:_hand|_face)?(?:_hw)?_embed|class_embed"
KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^backbone\.0\.body\.", "backbone."),
    (r"^transformer\.level_embed$", "finder.encoder.level_embed"),
    (r"^transformer\.enc_out", "finder.selection.enc_out"),
    (r"^transformer\.", "finder."),
    (rf"^({_LISTS}|smpl_\w+_embed)\.", r"finder.decoder.\1."),
    (r"^(input_proj|label_enc)\.", r"finder.\1."),
)
DROP = (
    r"(^|\.)(body_model|smpl_convention|smplx?_layer)\.",
    rf"transformer\.decoder\.({_LISTS})\.",  # the same tensors once more
    r"(^|\.)pose(_hand|_face)?_hw_embed\.[1-9]\d*\.",  # one module, listed for every layer
    r"backbone\.0\.body\.fc\.",
)


@dataclass(frozen=True)
class Config:
    """A network. `points` places per head and level of deformable attention, `hidden` units of perceptrons, `depth` layers of the encoder,
    `stages` layers of the decoder; `keypoints` of body, each hand, face; `labels` rows of the table of denoising queries.

    `queries` start, and `people` of them go on; no weight depends on these two.
    """

    backbone: ResNetConfig = ResNetConfig()
    width: int = 256
    heads: int = 8
    points: int = 4
    levels: int = 4
    hidden: int = 2048
    depth: int = 6
    stages: tuple[int, int, int] = (2, 2, 2)
    keypoints: tuple[int, int, int] = (17, 6, 6)
    classes: int = 2
    labels: int = 101
    shapes: int = 10
    expressions: int = 10
    queries: int = 900
    people: int = 100


VARIANTS: dict[str, Config] = {
    "nano": Config(ResNetConfig((1, 1, 1, 1), False, 8), 32, 4, 4, 4, 64, 1, (1, 1, 1), labels=3, queries=20, people=4),
    "r50": Config(),
}
CARDS = (
    published_card(
        "aios_checkpoint",
        "AiOS",
        (LONG, SHORT),
        "smplx-neutral",
        (
            "S-Lab License 1.0: non-commercial",
            f"not stated separately; poses {SMPLX_FILE}",
            "AGORA, BEDLAM, UBody, ARCTIC, EgoBody: research only; COCO",
        ),
        {"AGORA-test NMVE, mm": 102.9, "AGORA-test MVE, mm": 98.8, "BEDLAM NMVE, mm": 87.6},
        "arXiv 2403.17934",
    ),
)


def variant_of(config: Config) -> str:
    """The name of a configuration, whatever its numbers of queries and people, which no weight tells."""
    known = (name for name, one in VARIANTS.items() if replace(one, queries=config.queries, people=config.people) == config)
    return next(known, "unlisted")


class Output(NamedTuple):
    """The encoder's proposals, and what the layers of the decoder found, the last one last."""

    proposals: Proposals
    layers: tuple[Found, ...]

    @property
    def last(self) -> Found:
        return self.layers[-1]


class Finder(nn.Module):
    """All behind the backbone: maps of strides 8, 16, 32 -> people."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, width = config, config.width
        inputs = _channels(config.backbone)
        layers = [nn.Conv2d(channels, width, 1) for channels in inputs]
        for level in range(len(inputs), config.levels):
            layers.append(nn.Conv2d(inputs[-1] if level == len(inputs) else width, width, 3, 2, 1))
        self.input_proj = nn.ModuleList(nn.Sequential(layer, nn.GroupNorm(min(GROUPS, width // 8), width)) for layer in layers)
        sizes = (width, config.heads, config.levels, config.points, config.hidden)
        self.encoder = Encoder(*sizes, config.depth)
        self.selection = Selection(width, config.classes)
        self.decoder = Decoder(*sizes, config.stages, config.keypoints, config.classes, config.shapes, config.expressions)
        self.label_enc = nn.Embedding(config.labels, width)

    def scene(self, maps: Sequence[Float[Tensor, "b c h w"]], padding: Bool[Tensor, "b h w"]) -> Scene:
        """Encoded tokens of the maps, and of coarser ones made of the last."""
        projected: list[Tensor] = []
        for level, layer in enumerate(self.input_proj):
            source = maps[level] if level < len(maps) else maps[-1] if level == len(maps) else projected[-1]
            projected.append(layer(source))
        masks = [F.interpolate(padding[:, None].float(), tuple(x.shape[2:]))[:, 0] > 0.5 for x in projected]
        return self.encoder(projected, masks)

    def forward(
        self, maps: Sequence[Float[Tensor, "b c h w"]], padding: Bool[Tensor, "b h w"], noisy: Noisy | None = None, every: bool = True
    ) -> Output:
        scene = self.scene(maps, padding)
        proposals = self.selection(scene, self.config.queries)
        steps = self.decoder(scene, proposals, self.config.people, noisy, every)
        return Output(proposals, tuple(step.found for step in steps if step.found is not None))


def _channels(backbone: ResNetConfig) -> tuple[int, ...]:
    """Channels of the maps of strides 8, 16, 32."""
    with torch.device("meta"):
        return backbone.build().channels[1:]


class AiOS(nn.Module):
    """Normalised pictures of any size, with their padding -> everybody."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone, self.finder = config.backbone.build(), Finder(config)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        padding: Bool[Tensor, "b h w"] | None = None,
        noisy: Noisy | None = None,
        every: bool = True,
    ) -> Output:
        """`padding` is True where there is no picture (None: nowhere). `every` False: only the last layer says what it finds.

        Raises VitruvianError for pictures under 32 pixels.
        """
        if min(image.shape[2:]) < 32:
            raise VitruvianError(f"pictures of {tuple(image.shape[2:])} pixels are too small: scale them, with codecs.aios.batch")
        if padding is None:
            padding = torch.zeros_like(image[:, 0], dtype=torch.bool)
        return self.finder(self.backbone(image)[1:], padding, noisy, every)


def freeze_backbone(model: AiOS) -> None:
    """Keep statistics and scales of the backbone's normalisation as they are, as in published training; `train()` undoes the first."""
    for module in model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)


class People(NamedTuple):
    """People, one per row, by picture and falling score. Boxes (left, top, right, bottom) and points as fractions of the picture.

    `hands` and their points are left, then right. `translation` is in metres in the camera of training (`codecs.aios.intrinsics`).
    """

    picture: Int[Tensor, " n"]
    score: Float[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]
    hands: Float[Tensor, "n 2 4"]
    faces: Float[Tensor, "n 4"]
    keypoints: Float[Tensor, "n k 2"]
    hand_keypoints: Float[Tensor, "n 2 h 2"]
    face_keypoints: Float[Tensor, "n f 2"]
    body: Body
    translation: Float[Tensor, "n 3"]


def corners(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Centre and size -> left, top, right, bottom."""
    return torch.cat((boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2), -1)


def camera_translation(camera: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Where the body is, metres, from its weak camera (card, section 2)."""
    scale = camera[..., :1] + 1e-9
    return torch.cat((camera[..., 1:] / scale, 1 / scale), -1)


def people(found: Found, threshold: float = THRESHOLD, most: int = MOST, at_least: int = 0, overlap: float = 1.0) -> People:
    """Those of the last layer whose score is over `threshold`, at most `most` and (whatever their scores) `at_least` of each picture.

    Of people whose boxes share more than `overlap` of their union only the best stays; 1: all stay.
    """
    scores, boxes = found.logits.sigmoid().amax(-1), corners(found.boxes)
    rows = []
    for picture, score in enumerate(scores):
        order = score.sort(descending=True, stable=True).indices[:most]
        if overlap < 1:
            kept = nms(*(x[order].cpu().float().numpy() for x in (boxes[picture], score)), order.cpu().numpy() * 0, overlap, most)
            order = order[torch.as_tensor(kept, device=order.device)]
        chosen = order[: max(int((score[order] > threshold).sum()), min(at_least, len(order)))]
        rows.append(torch.stack((torch.full_like(chosen, picture), chosen), 1))
    index = torch.cat(rows).unbind(1) if rows else torch.zeros(2, 0, dtype=torch.long, device=scores.device).unbind(0)
    take = lambda values: values[index]  # noqa: E731
    body = Body(*map(take, found.body))
    parts = (corners(found.hands), corners(found.faces), found.keypoints, found.hand_keypoints, found.face_keypoints)
    return People(index[0], take(scores), take(boxes), *map(take, parts), body, camera_translation(body.camera))


def smplx_rotations(body: Body) -> Float[Tensor, "*n 55 3 3"]:
    """The complete pose of SMPL-X in its joints' order; the eyes stay."""
    still = torch.eye(3, dtype=body.jaw.dtype, device=body.jaw.device).expand(*body.jaw.shape[:-2], 2, 3, 3)
    return torch.cat((body.rotations, body.jaw[..., None, :, :], still, *body.hands.unbind(-4)), -3)


def body_parameters(found: People) -> BodyParameters:
    """Parameters for an SMPL-X body (55 joints), tensors; camera axes of OpenCV, metres."""
    return BodyParameters(rotation_vectors(smplx_rotations(found.body)), found.body.shape, found.body.expression, found.translation)


@torch.inference_mode()
def see(
    model: AiOS,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    cameras: Float[np.ndarray, "b 3 3"] | None = None,
    threshold: float = THRESHOLD,
    overlap: float = 1.0,
    short: int = SHORT,
    long: int = LONG,
) -> People:
    """Everybody in RGB pictures of any sizes; `people` with boxes and points in pixels of each picture, translations in its camera.

    `cameras` are intrinsic matrices in pixels; None: those of training, in which everybody is far away. `threshold` and `overlap` as for
    `people`, `short` and `long` as for `codecs.aios.batch`. Raises VitruvianError for what is no RGB picture.
    """
    pictures, device = batch(images, short, long), next(model.parameters()).device
    pixels, padding = (torch.as_tensor(x, device=device) for x in pictures[:2])
    found = people(model(pixels, padding, every=False).last, threshold, overlap=overlap)
    sizes = np.array([image.shape[1::-1] for image in images], np.int64).reshape(-1, 2)
    size, row = torch.as_tensor(sizes, device=device)[found.picture].to(found.boxes), found.picture.cpu().numpy()
    four = torch.cat((size, size), 1)
    found = found._replace(boxes=found.boxes * four, hands=found.hands * four[:, None], faces=found.faces * four)
    found = found._replace(keypoints=found.keypoints * size[:, None], hand_keypoints=found.hand_keypoints * size[:, None, None])
    found = found._replace(face_keypoints=found.face_keypoints * size[:, None])
    if cameras is None:
        return found
    own = own_cameras(pictures, sizes)[row]
    moved = into_camera(found.translation.cpu().numpy(), own, np.asarray(cameras, np.float64).reshape(-1, 3, 3)[row])
    return found._replace(translation=torch.as_tensor(moved, dtype=found.translation.dtype, device=device))


def infer_config(state: Mapping[str, Tensor], queries: int = 900, people: int = 100) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes. Without a backbone, ResNet-50 is taken for granted.

    Raises WeightsError if shapes are missing or contradict each other.
    """
    plain, decoder = Config(queries=queries, people=people), "finder.decoder."
    levels, width = need(state, "finder.encoder.level_embed", 2)
    places = need(state, "finder.encoder.layers.0.self_attn.attention_weights.weight", 2)[0]
    total, late, last = (count_parts(state, f"{decoder}{name}.") for name in ("bbox_embed", "pose_embed", "pose_hand_embed"))
    stages = (total - late + 1, late - last, last - 1)
    if places % (levels * plain.points) or min(stages) < 1:
        raise WeightsError(f"{places} places on {levels} maps, {stages} layers: the file is not of AiOS; check which was given")
    whole = any(name.startswith("backbone.") for name in state)
    size = lambda name: need(state, f"{decoder}{name}.weight", 2)[0]  # noqa: E731
    return replace(
        plain,
        backbone=infer_backbone(state) if whole else plain.backbone,
        width=width,
        heads=places // (levels * plain.points),
        levels=levels,
        hidden=need(state, "finder.encoder.layers.0.linear1.weight", 2)[0],
        depth=count_parts(state, "finder.encoder.layers."),
        stages=stages,
        keypoints=(size("keypoint_embed"), size("lhand_keypoint_embed"), size("face_keypoint_embed")),
        classes=size("class_embed.0"),
        labels=need(state, "finder.label_enc.weight", 2)[0],
        shapes=size("smpl_beta_embed.0.layers.2"),
        expressions=size("smpl_expr_embed.0.layers.2"),
    )


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries in our names; the table of denoising queries, which only training reads, may be missing."""
    renamed, table = rename(state, KEYMAP, DROP), "finder.label_enc.weight"
    if table not in renamed and "finder.encoder.level_embed" in renamed:
        renamed[table] = torch.zeros(Config().labels, renamed["finder.encoder.level_embed"].shape[-1])
    return renamed


def from_published(state: Mapping[str, Tensor], queries: int = 900, people: int = 100) -> tuple[Config, AiOS]:
    """Build the network that a published state dict describes (entries of "model" or "ema_model") and fill it; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = _renamed(state)
    if not any(name.startswith("backbone.") for name in renamed):
        raise WeightsError("the state dict has no backbone: use finder_from_published for what is behind it")
    config = infer_config(renamed, queries, people)
    return config, filled(AiOS, config, renamed)


def finder_from_published(state: Mapping[str, Tensor], queries: int = 900, people: int = 100) -> tuple[Config, Finder]:
    """What is behind the backbone alone, from a published state dict with or without a backbone. Raises WeightsError."""
    renamed = _renamed(state)
    config = infer_config(renamed, queries, people)
    own = {name.removeprefix("finder."): value for name, value in renamed.items() if not name.startswith("backbone.")}
    return config, filled(Finder, config, own)


class Deployed(nn.Module):
    """For ONNX: pictures of one size, and (width, height) that they fill of it as fractions -> all `people`, whether good or not.

    The caller keeps those whose score reaches a threshold. An extent under a tenth counts as that.
    """

    LEAST = 0.1
    OUTPUTS = (
        *("scores", "boxes", "hands", "faces", "keypoints", "hand_keypoints", "face_keypoints"),
        *("rotations", "shapes", "expressions", "translations"),
    )

    def __init__(self, model: AiOS):
        super().__init__()
        self.network = copy.deepcopy(model)

    def forward(self, image: Float[Tensor, "b 3 h w"], extent: Float[Tensor, "b 2"]) -> tuple[Tensor, ...]:
        """Rows in the order of the second layer's scores; `OUTPUTS` names them."""
        rows, columns = (torch.arange(n, device=image.device) + 0.5 for n in image.shape[2:])
        extent = extent.clamp(self.LEAST, 1.0)[:, None]
        outside = (columns / image.shape[3] > extent[..., :1]) | (rows[:, None] / image.shape[2] > extent[..., 1:])
        found = self.network(image, outside, every=False).last
        body = found.body
        return (
            *(found.logits.sigmoid().amax(-1), corners(found.boxes), corners(found.hands), corners(found.faces)),
            *(found.keypoints, found.hand_keypoints, found.face_keypoints),
            *(smplx_rotations(body), body.shape, body.expression, camera_translation(body.camera)),
        )


def exported(config: Config, model: AiOS, canvas: tuple[int, int] = (LONG, SHORT)) -> Exported:
    """What goes into an ONNX file: everybody in pictures that lie in a canvas of (width, height), to be posed by the ground floor.

    Deformable attention wants the sizes of its maps, so that the canvas is fixed [ours]; upright pictures are made smaller in it.
    """
    inputs = {"image": (3, *canvas[::-1]), "extent": (2,)}
    return Exported(Deployed(model), inputs, Deployed.OUTPUTS, mesh_card("aios", "AiOS", canvas, "smplx-neutral"))
