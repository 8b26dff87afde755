"""OSX: a whole-body SMPL-X mesh from one crop in one stage (Lin et al., CVPR 2023, arXiv 2303.16160).

Idea
    One vision transformer reads the crop of a person together with 31 learned tokens: shape, camera, expression, jaw, two hands, 25 joints.
    Hands and face are not cut out of the picture again and given to networks of their own, as before it: their boxes are found on the
    transformer's feature map, the map is made finer by small deconvolutions and cropped, and a decoder with one query per keypoint reads
    three scales of the crop around where the keypoint was found. One network sees all, so that wrists fit to arms.

Card -> here
    4.1 encoder and component tokens                OSX.encode
    4.2 body: 3D soft-argmax, rotations, camera     OSX.body, BodyRegressor
    4.3 boxes of hands and face                     BoxNet, regions
    4.4 feature-level crops, RoIAlign               osx_parts.RoIPyramid, roi_align
    4.5 decoders and regressors                     osx_parts.KeypointDecoder; OSX.hands, OSX.face, HandRegressor, FaceRegressor
    5 crop, camera of the whole picture             vitruvian.codecs.osx (numpy)
    6 losses                                        vitruvian.systems.mesh.osx_loss
    2 the body, its 137 joints                      osx_body

    published file        encoder  decoders       EHF PA-PVE, PVE all (mm; in the card from memory)
    osx_l                 ViT-L    hands, face    48.7, 70.8
    osx_l_wo_decoder      ViT-L    none

Deviations
    The crop is halved by leaving out every second pixel, as published weights want it. The card's padding of 4 around the patches is 2 in
    the published numbers (with 4 nothing agrees). Published weights keep a place for a class token that no token uses (it is added to all
    others) and matrices per head; both are folded into the tables here when a file is read. RoIAlign is written as matrix products and
    takes at most 16 samples per cell and axis, which no box of less than four times the crop reaches.
    The variants without decoders are reconstructed [ours]: the card says that tokens give the parts directly, not by which layers; here
    one linear layer each. Published files without the hands' decoder are refused; whether one that lacks the face's only is read is not
    known. In the loss, that hands' projected joints are measured in cells of the predicted box is our reading of the card. Not here: the
    trainer, augmentation, the flow losses whose weights published files carry along (dropped).

Licences
    Published code: MIT, with parts of mmpose (Apache-2.0) and of smplx (SMPL-X licence, non-commercial). Weights: not stated separately;
    trained on COCO, Human3.6M and MPII, whose pictures are for research. SMPL-X: the user's own file. Nothing published is contained here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.body.pose import rotations_from_6d
from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.deconv import deconvolutions
from vitruvian.nn.vit import ViT
from vitruvian.systems.checkpoint import count_parts, filled, need, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.mesh.osx_parts import KeypointDecoder, PositionNet, RoIPyramid, expected_place, read_at
from vitruvian.systems.mesh.published import GREY_LEVELS, SMPLX_FILE, mesh_card, published_card

HEAD_WIDTH = 64  # of an attention head of the encoder
CROP = (512, 384)  # height, width of the input
GRID = (16, 12)  # rows, columns of patches of 16 pixels of the halved crop
DEPTH, FACE_DEPTH = 16, 8  # layers of the volumes of body and hand, of the face
BODY, HAND, FACE = 25, 20, 72  # keypoints
HAND_CELLS, FACE_CELLS = 8, 4  # of the coarsest crop
BOX_SCALE = 8  # the boxes' map is so much finer than the patches
ENLARGED = (2.0, 2.0, 1.5)  # boxes of left hand, right hand, face
SIZE_METRES = 2.5
SHAPE, CAMERA, EXPRESSION, JAW, HANDS, JOINTS = 0, 1, 2, 3, slice(4, 6), slice(6, 31)  # rows of the tokens
TOKENS = 31

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^encoder\.task_tokens$", "task_tokens"),
    (r"^encoder\.last_norm\.", "encoder.norm."),
    (r"_position_net\.(hand|face)_conv\.", "_position_net.query_conv."),
    (r"_decoder\.neck\.convs\.", "_decoder.neck."),
    (r"_decoder\.keypoint_head\.transformer\.(decoder\.)?", "_decoder."),
    (r"\.attentions\.0\.attn\.", ".between."),
    (r"\.attentions\.1\.", ".across."),
    (r"\.ffns\.0\.layers\.0\.0\.", ".fc1."),
    (r"\.ffns\.0\.layers\.1\.", ".fc2."),
)
DROP = (
    r"_decoder\.backbone\.",
    r"\.keypoint_head\.((enc|dec)_flow[23]d|fc_coord_branches|fc_coord_output_branches|fc_sigma_branches)\.",
    r"\.transformer\.(fc_coord|fc_sigma|pos_trans|pos_trans_norm)\.",
    r"(^|\.)(smplx?_layer|body_model)\.",
)


@dataclass(frozen=True)
class Config:
    """A network: `width` and `depth` of the encoder, whose heads have 64 channels;
    which parts have a decoder (the face's only together with the hands').

    `joint_width` is what a keypoint's features shrink to before the rotations, `box_width` the width of the map on which boxes are found.
    """

    width: int = 768
    depth: int = 12
    hand_decoder: bool = True
    face_decoder: bool = True
    decoder_width: int = 256
    decoder_depth: int = 6
    decoder_hidden: int = 1024
    box_width: int = 256
    joint_width: int = 512

    def __post_init__(self) -> None:
        if self.width < HEAD_WIDTH or self.width % HEAD_WIDTH or self.decoder_width % 32:
            raise ValueError(
                f"width {self.width} must be a multiple of {HEAD_WIDTH}, decoder_width {self.decoder_width} one of 32: change them"
            )
        if self.face_decoder and not self.hand_decoder:
            raise ValueError("a face decoder alone is no variant of OSX: set hand_decoder as well")


_NANO = Config(64, 2, decoder_width=32, decoder_depth=1, decoder_hidden=32, box_width=16, joint_width=16)
_LARGE = Config(1024, 24)
VARIANTS: dict[str, Config] = {
    "nano": _NANO,
    "nano-wo-face-decoder": replace(_NANO, face_decoder=False),
    "nano-wo-decoder": replace(_NANO, hand_decoder=False, face_decoder=False),
    "b": Config(),
    "l": _LARGE,
    "l-wo-face-decoder": replace(_LARGE, face_decoder=False),
    "l-wo-decoder": replace(_LARGE, hand_decoder=False, face_decoder=False),
}
_LICENCES = ("MIT, with parts of smplx (non-commercial)", f"not stated; poses {SMPLX_FILE}", "COCO, Human3.6M, MPII: pictures for research")
CARDS = tuple(
    published_card(name, "OSX", CROP[::-1], "smplx-neutral", _LICENCES, figures, "arXiv 2303.16160", GREY_LEVELS)
    for name, figures in (("osx_l", {"EHF PA-PVE, mm": 48.7, "EHF PVE, mm": 70.8}), ("osx_l_wo_decoder", {}))
)


class Body(NamedTuple):
    """The body: `six` numbers of root and 21 joints, betas, what is said of the camera, the pelvis shift in metres, and the 25 keypoints.

    `places` are (x, y, z) in cells of the map of 12x16 patches, `volume` what they are the mean of.
    """

    six: Float[Tensor, "b 22 6"]
    shape: Float[Tensor, "b 10"]
    camera: Float[Tensor, "b 3"]
    translation: Float[Tensor, "b 3"]
    places: Float[Tensor, "b 25 3"]
    volume: Float[Tensor, "b 25 d 16 12"]


class Part(NamedTuple):
    """Hands (left ones first, mirrored to right ones) or faces: crops from fine to coarse, keypoints in cells of the middle crop, queries
    before and after the decoder, and `six` numbers per joint."""

    crops: list[Float[Tensor, "n c s s"]]
    places: Float[Tensor, "n k 3"]
    queries: Float[Tensor, "n k d"]
    decoded: Float[Tensor, "n k d"]
    six: Float[Tensor, "n j 6"]
    expression: Float[Tensor, "n e"]


class Prediction(NamedTuple):
    """People, one per crop. Camera axes of OpenCV, metres; the camera has a focal length of 5000 and its principal point in the middle of a
    crop of 192x256 pixels.

    `rotations`: root, 21 of the body, 15 left hand, 15 right hand, jaw; relative to the parent. `places`: 25 keypoints of the body and 20
    of each hand in cells of the 12x16 map; `face_places`: 72 in cells of the face's crop of 8x8. `boxes`: centre and size of left hand,
    right hand, face in cells of the map; `regions`: the enlarged squares (xyxy) in pixels of the 384x512 crop, without gradient. What a
    variant does not find has no rows.
    """

    rotations: Float[Tensor, "b 53 3 3"]
    shape: Float[Tensor, "b 10"]
    expression: Float[Tensor, "b 10"]
    translation: Float[Tensor, "b 3"]
    places: Float[Tensor, "b k 3"]
    face_places: Float[Tensor, "b f 3"]
    boxes: Float[Tensor, "b p 4"]
    regions: Float[Tensor, "b p 4"]


def linear(inputs: int, outputs: int) -> nn.Sequential:
    """A linear layer in a row of one, as published names have it."""
    return nn.Sequential(nn.Linear(inputs, outputs))


class BodyRegressor(nn.Module):
    """Tokens and keypoints -> rotations of root and body, shape, camera."""

    def __init__(self, config: Config):
        super().__init__()
        inputs = BODY * (config.joint_width + 3)
        self.body_conv = linear(config.width, config.joint_width)
        self.root_pose_out, self.body_pose_out = linear(inputs, 6), linear(inputs, 21 * 6)
        self.shape_out, self.cam_out = linear(config.width, 10), linear(config.width, 3)

    def forward(self, tokens: Float[Tensor, "b 31 c"], places: Float[Tensor, "b 25 3"]) -> tuple[Tensor, Tensor, Tensor]:
        joints = torch.cat((self.body_conv(tokens[:, JOINTS]), places.detach()), -1).flatten(1)
        six = torch.cat((self.root_pose_out(joints), self.body_pose_out(joints)), 1).unflatten(1, (-1, 6))
        return six, self.shape_out(tokens[:, SHAPE]), self.cam_out(tokens[:, CAMERA])


class BoxNet(nn.Module):
    """The feature map and the body's volume -> centre and size of left hand, right hand and face, in cells of the map."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.box_width
        self.deconv = deconvolutions((config.width + BODY * DEPTH, width, width, width))
        self.bbox_center = nn.Sequential(nn.Conv2d(width, 3, 1))
        for name in ("lhand", "rhand", "face"):
            setattr(self, f"{name}_size", nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)))

    def forward(self, maps: Float[Tensor, "b c 16 12"], volume: Float[Tensor, "b 25 d 16 12"]) -> Float[Tensor, "b 3 4"]:
        finer = self.deconv(torch.cat((maps, volume.flatten(1, 2)), 1))
        centres = expected_place(self.bbox_center(finer)[:, :, None])[0][..., :2]
        seen = read_at(finer, centres)
        layers = (self.lhand_size, self.rhand_size, self.face_size)
        sizes = torch.stack([layer(seen[:, i]) for i, layer in enumerate(layers)], 1)
        return torch.cat((centres / BOX_SCALE, sizes), -1)


def regions(boxes: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b 3 4"]:
    """Centres and sizes -> squares (xyxy) around the longer side, enlarged to twice (hands) or one and a half times (face); same units."""
    half = boxes[..., 2:].amax(-1, keepdim=True) * boxes.new_tensor(ENLARGED)[:, None] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), -1)


class HandRegressor(nn.Module):
    """Decoded queries and keypoints of a right hand -> six numbers of 15 joints."""

    def __init__(self, config: Config):
        super().__init__()
        self.hand_conv = linear(config.decoder_width, config.joint_width)
        self.hand_pose_out = linear(HAND * (config.joint_width + 3), 15 * 6)

    def forward(self, queries: Float[Tensor, "n 20 d"], places: Float[Tensor, "n 20 3"]) -> Float[Tensor, "n 15 6"]:
        joints = torch.cat((self.hand_conv(queries), places), -1).flatten(1)
        return self.hand_pose_out(joints).unflatten(1, (-1, 6))


class FaceRegressor(nn.Module):
    """The face's coarsest crop, decoded queries and keypoints -> expression, and six numbers of the jaw."""

    def __init__(self, config: Config):
        super().__init__()
        self.conv = linear(config.width, config.joint_width)
        self.joint_conv = linear(config.decoder_width, config.joint_width)
        inputs = config.joint_width + FACE * (config.joint_width + 3)
        self.expr_out, self.jaw_pose_out = linear(inputs, 10), linear(inputs, 6)

    def forward(
        self, crop: Float[Tensor, "n c 4 4"], queries: Tensor, places: Tensor
    ) -> tuple[Float[Tensor, "n 10"], Float[Tensor, "n 6"]]:
        joints = torch.cat((self.joint_conv(queries), places), -1).flatten(1)
        both = torch.cat((self.conv(crop.mean((2, 3))), joints), 1)
        return self.expr_out(both), self.jaw_pose_out(both)


class TokenFaceRegressor(nn.Module):
    """Two tokens -> expression, and six numbers of the jaw: the face without a decoder. Names as the published ones [mem]."""

    def __init__(self, config: Config):
        super().__init__()
        self.expr_out, self.jaw_pose_out = linear(config.width, 10), linear(config.width, 6)

    def forward(self, tokens: Float[Tensor, "b 31 c"]) -> tuple[Float[Tensor, "b 10"], Float[Tensor, "b 1 6"]]:
        return self.expr_out(tokens[:, EXPRESSION]), self.jaw_pose_out(tokens[:, JAW])[:, None]


class OSX(nn.Module):
    """Crops of people (RGB in 0..1, see codecs.osx) -> `Prediction`."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        width, decoder = config.width, (config.decoder_width, config.decoder_depth, config.decoder_hidden)
        self.encoder = ViT(width, config.depth, width // HEAD_WIDTH, GRID, padding=2)
        self.task_tokens = nn.Parameter(0.02 * torch.randn(1, TOKENS, width))
        self.body_position_net = PositionNet(width, BODY, DEPTH)
        self.body_regressor = BodyRegressor(config)
        if config.hand_decoder:
            self.box_net = BoxNet(config)
            self.hand_roi_net = RoIPyramid(width, HAND_CELLS)
            self.hand_position_net = PositionNet(width // 2, HAND, DEPTH, config.decoder_width)
            self.hand_decoder = KeypointDecoder(width, HAND_CELLS, HAND, *decoder)
            self.hand_regressor = HandRegressor(config)
        else:
            self.hand_token_out = nn.Linear(width, 15 * 6)
        if config.face_decoder:
            self.face_roi_net = RoIPyramid(width, FACE_CELLS)
            self.face_position_net = PositionNet(width // 2, FACE, FACE_DEPTH, config.decoder_width)
            self.face_decoder = KeypointDecoder(width, FACE_CELLS, FACE, *decoder)
            self.face_regressor = FaceRegressor(config)
        else:
            self.face_regressor = TokenFaceRegressor(config)

    def encode(self, image: Float[Tensor, "b 3 512 384"]) -> tuple[Float[Tensor, "b c 16 12"], Float[Tensor, "b 31 c"]]:
        """The feature map and the tokens. Raises VitruvianError for crops of another size."""
        if tuple(image.shape[2:]) != CROP:
            raise VitruvianError(
                f"the network takes crops of {CROP[0]}x{CROP[1]} (height, width), not {tuple(image.shape[2:])}: use codecs.osx"
            )
        patches, grid = self.encoder.tokens(image[:, :, ::2, ::2])
        tokens = self.encoder.encode(torch.cat((self.task_tokens.expand(image.shape[0], -1, -1), patches), 1))
        return tokens[:, TOKENS:].transpose(1, 2).unflatten(2, grid), tokens[:, :TOKENS]

    def body(self, maps: Float[Tensor, "b c 16 12"], tokens: Float[Tensor, "b 31 c"]) -> Body:
        """Keypoints, rotations, shape and place of the body."""
        places, volume = self.body_position_net(maps)
        six, shape, camera = self.body_regressor(tokens, places)
        farthest = math.sqrt(WEAK_FOCAL**2 * SIZE_METRES**2 / (256 * 192))
        translation = torch.cat((camera[:, :2], farthest * camera[:, 2:].sigmoid()), 1)
        return Body(six, shape, camera, translation, places, volume)

    def hands(self, maps: Float[Tensor, "b c 16 12"], squares: Float[Tensor, "b 3 4"]) -> Part:
        """Both hands, from their squares in cells of the map."""
        crops = [torch.cat((both[:, 0].flip(3), both[:, 1])) for both in self.hand_roi_net(maps, squares[:, :2])]
        places, _ = self.hand_position_net(crops[1])
        queries = self.hand_position_net.queries(crops[1], places)
        decoded = self.hand_decoder(crops, queries, places[..., :2] / (2 * HAND_CELLS))
        six = self.hand_regressor(decoded, places)
        return Part(crops, places, queries, decoded, six, six.new_zeros(six.shape[0], 0))

    def face(self, maps: Float[Tensor, "b c 16 12"], squares: Float[Tensor, "b 3 4"]) -> Part:
        """The face, from its square in cells of the map."""
        crops = [crop[:, 0] for crop in self.face_roi_net(maps, squares[:, 2:])]
        places, _ = self.face_position_net(crops[1])
        queries = self.face_position_net.queries(crops[1], places)
        decoded = self.face_decoder(crops, queries, places[..., :2] / (2 * FACE_CELLS))
        expression, jaw = self.face_regressor(crops[2], decoded, places)
        return Part(crops, places, queries, decoded, jaw[:, None], expression)

    def forward(self, image: Float[Tensor, "b 3 512 384"]) -> Prediction:
        """Everything."""
        return self.read(*self.encode(image))

    def read(self, maps: Float[Tensor, "b c 16 12"], tokens: Float[Tensor, "b 31 c"]) -> Prediction:
        """Everything, from what the encoder gives."""
        body = self.body(maps, tokens)
        none, places = maps.new_zeros(maps.shape[0], 0, 4), body.places
        boxes = squares = none
        if self.config.hand_decoder:
            boxes = self.box_net(maps, body.volume)
            squares = regions(boxes).detach()
            hands = self.hands(maps, squares)
            left, right = hands.six.unflatten(0, (2, -1))
            places = torch.cat((places, *hand_places(hands.places, squares)), 1)
        else:
            left, right = self.hand_token_out(tokens[:, HANDS]).unflatten(2, (-1, 6)).unbind(1)
        if self.config.face_decoder:
            face = self.face(maps, squares)
            expression, jaw, face_places = face.expression, face.six, face.places
        else:
            expression, jaw = self.face_regressor(tokens)
            face_places = none[..., :3]
        pose = pose_rotations(body.six, left, right, jaw)
        in_crop = squares * squares.new_tensor(CROP[0] / GRID[0])
        return Prediction(pose, body.shape, expression, body.translation, places, face_places, boxes, in_crop)


def pose_rotations(body: Tensor, left: Tensor, right: Tensor, jaw: Tensor) -> Float[Tensor, "b 53 3 3"]:
    """The whole pose from six numbers per joint; the left hand, which is given as a right one, is mirrored back."""
    rotations = rotations_from_6d(torch.cat((body, left, right, jaw), 1), "interleaved")
    sign = rotations.new_tensor([-1.0, 1.0, 1.0])
    mirrored = rotations[:, 22:37] * sign[:, None] * sign
    return torch.cat((rotations[:, :22], mirrored, rotations[:, 37:]), 1)


def hand_places(places: Float[Tensor, "n 20 3"], squares: Float[Tensor, "b 3 4"]) -> tuple[Tensor, Tensor]:
    """Keypoints of left (mirrored) and right hands in cells of their crops -> in cells of the body's map; their depth stays."""
    cells = 2 * HAND_CELLS
    left, right = places.unflatten(0, (2, -1))
    left = torch.cat((cells - 1 - left[..., :1], left[..., 1:]), -1)
    out = []
    for hand, square in ((left, squares[:, 0]), (right, squares[:, 1])):
        extent = (square[:, 2:] - square[:, :2])[:, None]
        out.append(torch.cat((hand[..., :2] / cells * extent + square[:, None, :2], hand[..., 2:]), -1))
    return out[0], out[1]


def _fold(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published tables in the layout of ours: places without the class token's, one matrix for all heads, three levels."""
    out = {}
    for name, value in state.items():
        if name == "encoder.pos_embed" and value.ndim == 3 and value.shape[1] == GRID[0] * GRID[1] + 1:
            value = value[:, 1:] + value[:, :1]
        elif name.endswith("across.value_proj_weight.weight"):
            name, width = name.replace("value_proj_weight", "value_proj"), value.shape[0] // 8
            if value.ndim == 2 and width * 8 == value.shape[0] == value.shape[1] * 64:
                value = value.reshape(8, width, -1).transpose(1, 2).reshape(width, width)
        elif name.endswith("across.value_proj_bias.weight"):
            name, value = name.replace("value_proj_bias.weight", "value_proj.bias"), value.flatten()
        elif name.endswith("_decoder.level_embeds"):
            value = value[:3]
        out[name] = value
    return out


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes. Raises WeightsError if it is of another system."""
    width = need(state, "encoder.patch_embed.proj.weight", 4)[0]
    joint_width = need(state, "body_regressor.body_conv.0.weight", 2)[0]
    hand, face = (f"{part}_decoder.pos_embed.weight" in state for part in ("hand", "face"))
    if width % HEAD_WIDTH or face and not hand:
        raise WeightsError(f"an encoder of width {width} is not of OSX, or decoders are missing: check which file was given")
    plain = Config(width, count_parts(state, "encoder.blocks."), hand, face, joint_width=joint_width)
    if not hand:
        return plain
    return replace(
        plain,
        decoder_width=need(state, "hand_decoder.pos_embed.weight", 2)[1],
        decoder_depth=count_parts(state, "hand_decoder.layers."),
        decoder_hidden=need(state, "hand_decoder.layers.0.fc1.weight", 2)[0],
        box_width=need(state, "box_net.bbox_center.0.weight", 4)[1],
    )


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, OSX]:
    """Build the network that a published state dict describes (the entry "network" of a file) and fill it; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = _fold(rename(state, KEYMAP, DROP))
    try:
        config = infer_config(renamed)
    except ValueError as error:
        raise WeightsError(f"the file is not of OSX: {error}") from error
    return config, filled(OSX, config, renamed)


class Deployed(nn.Module):
    """For ONNX: crops -> what `Prediction` has of this variant. The body is posed by the caller (`vitruvian.runtime.mesh`)."""

    PARTS: ClassVar = {
        "rotations": "rotations",
        "shapes": "shape",
        "expressions": "expression",
        "translations": "translation",
        "places": "places",
        "face_places": "face_places",
        "boxes": "boxes",
        "regions": "regions",
    }

    def __init__(self, model: OSX):
        super().__init__()
        self.network = model

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` gives."""
        config = self.network.config
        absent = (() if config.hand_decoder else ("boxes", "regions")) + (() if config.face_decoder else ("face_places",))
        return tuple(name for name in self.PARTS if name not in absent)

    def forward(self, image: Float[Tensor, "b 3 512 384"]) -> tuple[Tensor, ...]:
        """`outputs` names them."""
        prediction = self.network(image)
        return tuple(getattr(prediction, self.PARTS[name]) for name in self.outputs)


def exported(config: Config, model: OSX) -> Exported:
    """What goes into an ONNX file: crops of people (`vitruvian.codecs.osx`) to SMPL-X."""
    deployed = Deployed(model)
    return Exported(deployed, {"image": (3, *CROP)}, deployed.outputs, mesh_card("osx", "OSX", CROP[::-1], "smplx-neutral", GREY_LEVELS))
