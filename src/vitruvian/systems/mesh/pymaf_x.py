"""PyMAF-X: whole-body meshes by a loop that looks where the mesh is (Zhang et al., TPAMI 2023, arXiv 2207.06400; PyMAF, ICCV 2021).

Idea
    Regressors that see one vector per picture give plausible poses that lie beside the limbs. Here, three times in turn, the mesh found so
    far is projected into the picture, the feature map (finer each time) is read at those points, the points look at each other, and a
    regressor gives residuals of the parameters from what was read. Body, hands and face have networks of this kind for their own crops. At
    last the hands are fitted to the arms: the wrist takes the turn that the hand network saw, and a twist that no forearm has goes to the
    elbow.

Card -> here
    4.1 encoders: HRNet-W48; ResNet-50 with deconvolutions  BodyEncoder, PartEncoder
    4.2-4.4 points, reduction, attention                    pymaf_x_features
    4.5 regressors, 4.6 adaptive integration                pymaf_x_regressor
    4.7 dense correspondence, in training                   vitruvian.nn.iuv
    2 cameras, projection                                   camera.camera_translation, project
    7 steps of one iteration                                PyMAFX.forward
    6 losses                                                vitruvian.systems.mesh.pymaf_x_loss
    body models in the loop                                 pymaf_x_bodies
    5 crops, camera of the whole picture                    vitruvian.codecs.pymaf_x (numpy)

    published file                    EHF PVE all, hands, face (mm; in the card from memory)
    PyMAF-X_model_checkpoint_v1.1.pt  64.9, 29.7, 19.7

Deviations
    Kept, as weights depend on them: no non-linearity between a regressor's layers; expression starts anew in each iteration. The twist is
    taken by the dot product, where the published ratio of sums is not defined for some arms. HRNet's coarsest output, which nothing reads,
    is left out of the network and dropped from files. The table of body points counts in SMPL's vertices, though the published loop poses
    SMPL-X, by a conversion that the card does not describe; here whatever body comes with a table will do (`pymaf_x_bodies`), so that
    with an SMPL file the body in the loop has no articulated hands [ours]. The form of the keypoint losses (mean squared differences,
    weighted by confidence) is that of the family [ours]; the card gives weights only. Not here: the trainer, occlusion augmentation.

Licences
    Published code: Tsinghua University's non-commercial research licence; its attention from MeshTransformer (MIT). Weights: with the code.
    SMPL, SMPL-X, MANO and FLAME: the user's own files. Nothing published is contained here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.deconv import deconvolutions
from vitruvian.nn.hrnet import BLOCKS, MODULES, HRNet
from vitruvian.nn.iuv import IUV, IUVHead
from vitruvian.nn.resnet import DEPTHS, ResNet
from vitruvian.systems.checkpoint import count_parts, filled, need, pour, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.mesh.camera import camera_translation
from vitruvian.systems.mesh.published import SMPLX_FILE, mesh_card, published_card
from vitruvian.systems.mesh.pymaf_x_features import PER_POINT, AlignedFeatures, GridFeatures, grid_points
from vitruvian.systems.mesh.pymaf_x_regressor import (
    BODY,
    CAMERA_FEATURES,
    HAND,
    SHAPE,
    VISIBLE,
    Features,
    Pose,
    Regressor,
    State,
    integrate,
    rotations,
    smplx_rotations,
)

ITERATIONS = 3
PARTS = ("body", "hand", "face")

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^maf_extractor\.(\w+)\.(\d)\.", r"features.\1.\2.reducer."),
    (r"^align_attention\.(\w+)\.0\.", r"features.\1.1.attention."),
    (r"^align_attention\.(\w+)\.1\.", r"features.\1.2.attention."),
    (r"^att_feat_reduce\.(\w+)\.0\.", r"features.\1.1.reduce."),
    (r"^att_feat_reduce\.(\w+)\.1\.", r"features.\1.2.reduce."),
    (r"\.encoder\.layer\.0\.attention\.self\.", "."),
    (r"\.encoder\.layer\.0\.attention\.output\.dense\.", ".dense."),
    (r"\.encoder\.layer\.0\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.encoder\.layer\.0\.intermediate\.dense\.", ".fc1."),
    (r"\.encoder\.layer\.0\.output\.dense\.", ".fc2."),
    (r"\.encoder\.layer\.0\.output\.LayerNorm\.", ".norm2."),
)
DROP = (
    r"\.body_model\.",
    r"(^|\.)(mesh|mano)_sampler\.Umap$",
    r"(^|\.)maf_extractor\..*\.(Dmap|Umap)",
    r"(^|\.)encoders\.body\.stage4\.2\.fuse_layers\.3\.",
)
_TABLES = r"(^|\.)(mesh|mano|flame)_sampler\."  # of points; what reads them is `sampling_tables`


@dataclass(frozen=True)
class Config:
    """A network. `width` is HRNet's, `part_width` the stem's of the ResNets, `part_channels` what their maps have.

    `points` are those of the meshes of body, hand and face that are looked at; `grid` the side of the fixed grid. `modules`, `blocks` and
    `part_depths` shrink the encoders for tests.
    """

    width: int = 48
    stem: int = 64
    part_width: int = 64
    part_channels: int = 256
    points: tuple[int, int, int] = (431, 195, 222)
    grid: int = 21
    reduced: tuple[int, int] = (128, 64)
    body_features: int = 2048
    part_features: int = 1024
    hidden: int = 1024
    image_size: int = 224
    modules: tuple[int, int, int] = MODULES
    blocks: int = BLOCKS
    part_depths: tuple[int, int, int, int] = DEPTHS[50]


VARIANTS: dict[str, Config] = {
    "nano": Config(4, 8, 4, 16, (12, 8, 6), 4, (16, 8), 32, 24, 48, 64, (1, 1, 1), 1, (1, 1, 1, 1)),
    "hr48": Config(),
}
CARDS = (
    published_card(
        "PyMAF-X_model_checkpoint_v1.1",
        "PyMAF-X",
        (224, 224),
        "smplx-neutral",
        (
            "Tsinghua licence: research only, no redistribution",
            f"not stated separately; poses {SMPLX_FILE}, with SMPL, MANO and FLAME likewise",
            "research only",
        ),
        {"EHF PVE, mm": 64.9, "EHF PVE hands, mm": 29.7, "EHF PVE face, mm": 19.7},
        "arXiv 2207.06400",
    ),
)
"""How many points of FLAME the published list has is not in the card; a file's own number is taken from its shapes."""


class BodyEncoder(HRNet):
    """HRNet without its coarsest output: three maps, the coarsest (stride 16) first."""

    def __init__(self, config: Config):
        super().__init__(config.width, modules=config.modules, count=config.blocks, stem=config.stem)
        last = self.stage4[-1]
        last.fuse_layers = last.fuse_layers[:3]

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        return super().forward(image)[::-1]


class PartEncoder(ResNet):
    """ResNet and three deconvolutions: their maps of strides 16, 8, 4."""

    def __init__(self, config: Config):
        super().__init__(config.part_depths, width=config.part_width)
        self.deconv_layers = deconvolutions((self.channels[-1], *(config.part_channels,) * ITERATIONS))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        x, maps = super().forward(image)[-1], []
        for i in range(ITERATIONS):
            x = self.deconv_layers[3 * i : 3 * i + 3](x)
            maps.append(x)
        return tuple(maps)


class Meshes(Protocol):
    """The body models in the loop (see pymaf_x_bodies): points that are looked at, and the joints of the arms at rest."""

    def body(self, turns: Float[Tensor, "b 24 3 3"], shape: Float[Tensor, "b 10"]) -> Float[Tensor, "b n 3"]: ...

    def hand(self, turns: Float[Tensor, "b 16 3 3"], shape: Float[Tensor, "b 10"]) -> Float[Tensor, "b n 3"]: ...

    def face(
        self, turns: Float[Tensor, "b 4 3 3"], shape: Float[Tensor, "b 100"], expression: Float[Tensor, "b 50"]
    ) -> Float[Tensor, "b n 3"]: ...

    def rest_joints(self, shape: Float[Tensor, "b 10"]) -> Float[Tensor, "b 24 3"]: ...


class Output(NamedTuple):
    """What the network says: the parameters after each iteration, the pose after the last with hands fitted to the arms, which hands were
    seen (left, right), and dense correspondence (None unless asked for)."""

    states: tuple[State, ...]
    pose: Pose
    seen: Bool[Tensor, "b 2"]
    dense: IUV | None


def project(points: Float[Tensor, "b n 3"], camera: Float[Tensor, "b 3"], size: int) -> Float[Tensor, "b n 2"]:
    """Where a crop shows points: (x, y) in [-1, 1]."""
    moved = points + camera_translation(camera, size)[:, None]
    return moved[..., :2] / moved[..., 2:] * (2 * WEAK_FOCAL / size)


def part_camera(camera: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
    """The camera of a hand's or face's own crop: ten times as near as the numbers say."""
    return camera * camera.new_tensor([10.0, 0.1, 0.1])


class PyMAFX(nn.Module):
    """Normalised crops of the body, the left hand MIRRORED to a right one, the right hand, and the face -> `Output`."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict({"body": BodyEncoder(config), "hand": PartEncoder(config), "face": PartEncoder(config)})
        self.dp_head = IUVHead(config.width)
        self.register_buffer("grid_points", grid_points(config.grid))
        grid = config.grid**2
        own = [config.part_channels] * ITERATIONS
        channels = {"body": [config.width * 2**i for i in (2, 1, 0)], "hand": own, "face": own}
        outputs = (config.body_features, config.part_features, config.part_features)
        self.features = nn.ModuleDict()
        for part, points, size in zip(PARTS, config.points, outputs, strict=True):
            later = [AlignedFeatures(width, grid + points, size) for width in channels[part][1:]]
            self.features[part] = nn.ModuleList([GridFeatures(channels[part][0], config.reduced), *later])
        self.tables: dict[str, Tensor] = {}  # of the meshes' points, where a file has some; the loop's meshes read them, not the network
        sizes = [(PER_POINT * grid, PER_POINT * grid)] + [(config.body_features, config.part_features)] * (ITERATIONS - 1)
        self.regressor = nn.ModuleList(Regressor(body, part, config.hidden) for body, part in sizes)

    def encode(self, body: Tensor, left_hand: Tensor, right_hand: Tensor, face: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """Three maps of each part, from coarse to fine; of the hands right ones first, as the batch has them.

        Raises VitruvianError for pictures of another size than the network's.
        """
        size = self.config.image_size
        for image in (body, left_hand, right_hand, face):
            if tuple(image.shape[1:]) != (3, size, size) or image.shape[0] != body.shape[0]:
                raise VitruvianError(f"the network takes as many crops 3x{size}x{size} of each part, not {tuple(image.shape)}: crop again")
        hands = self.encoders["hand"](torch.cat((right_hand, left_hand)))
        return {"body": self.encoders["body"](body), "hand": hands, "face": self.encoders["face"](face)}

    def points(self, state: State, meshes: Meshes) -> dict[str, Float[Tensor, "b n 2"]]:
        """Where the crops show the meshes of these parameters; left hands, as mirrored ones, after the right ones."""
        size = self.config.image_size
        turns = torch.cat([rotations(torch.cat(pair, 1)) for pair in hand_turns(state)])
        hands = meshes.hand(turns, torch.cat((state.right_shape, state.left_shape)))
        hand_cameras = part_camera(torch.cat((state.right_camera, state.left_camera)))
        face = meshes.face(rotations(torch.cat((state.face_orientation, state.face), 1)), state.face_shape, state.expression)
        return {
            "body": project(meshes.body(rotations(state.pose), state.shape), state.camera, size),
            "hand": project(hands, hand_cameras, size),
            "face": project(face, part_camera(state.face_camera), size),
        }

    def look(self, maps: Mapping[str, tuple[Tensor, ...]], number: int, points: Mapping[str, Tensor] | None) -> Features:
        """What the maps of one iteration say, at the grid (`points` None) or at the grid and at points."""
        found = {}
        for part in PARTS:
            grid = self.grid_points.transpose(1, 2).expand(maps[part][number].shape[0], -1, -1)
            where = grid if points is None else torch.cat((grid, points[part]), 1)
            found[part] = self.features[part][number](maps[part][number], where)
        right, left = found["hand"].unflatten(0, (2, -1))
        return Features(found["body"], left, right, found["face"])

    def forward(
        self,
        body: Float[Tensor, "b 3 s s"],
        left_hand: Float[Tensor, "b 3 s s"],
        right_hand: Float[Tensor, "b 3 s s"],
        face: Float[Tensor, "b 3 s s"],
        meshes: Meshes,
        seen: Bool[Tensor, "b 2"] | None = None,
        dense: bool = False,
    ) -> Output:
        """`seen` says which hands (left, right) can be seen, from a detector; without it the network decides.

        Between iterations nothing flows back: each regressor learns from its own error.
        """
        maps = self.encode(body, left_hand, right_hand, face)
        state, points, states = self.regressor[0].start(body.shape[0]), None, []
        for number, regressor in enumerate(self.regressor):
            if number:
                points = self.points(state, meshes)
            state = regressor(self.look(maps, number, points), state)
            states.append(state)
            state = State(*(value.detach() for value in state))
        seen = states[-1].visible > VISIBLE if seen is None else seen
        pose = integrate(states[-1], meshes.rest_joints(states[-1].shape), self.regressor[-1].init_rhand, seen)
        return Output(tuple(states), pose, seen, self.dp_head(maps["body"][-1]) if dense else None)


def hand_turns(state: State) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Orientation and pose of the right hand, then of the left (as a right one): six numbers per joint."""
    return (state.right_orientation, state.right_hand), (state.left_orientation, state.left_hand)


def infer_config(state: Mapping[str, Tensor], image_size: int = 224) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes, which don't tell the crops' size.

    Raises WeightsError if it is of another system.
    """
    grid = math.isqrt(need(state, "grid_points", 3)[2])
    counts, outputs = [], []
    for part in PARTS:
        size, inputs = need(state, f"features.{part}.1.reduce.weight", 2)
        counts.append(inputs // PER_POINT - grid**2)
        outputs.append(size)
    if min(counts) < 0:
        raise WeightsError(f"features of {counts} points besides the grid are not of PyMAF-X: check which file was given")
    stages = [count_parts(state, f"encoders.body.stage{i}.") for i in (2, 3, 4)]
    return Config(
        width=need(state, "encoders.body.stage2.0.branches.0.0.conv1.weight", 4)[0],
        stem=need(state, "encoders.body.conv1.weight", 4)[0],
        part_width=need(state, "encoders.hand.conv1.weight", 4)[0],
        part_channels=need(state, "encoders.hand.deconv_layers.0.weight", 4)[1],
        points=tuple(counts),
        grid=grid,
        reduced=tuple(need(state, f"features.body.0.reducer.conv{i}.weight", 3)[0] for i in range(2)),
        body_features=outputs[0],
        part_features=outputs[1],
        hidden=need(state, "regressor.0.fc2.weight", 2)[0],
        image_size=image_size,
        modules=tuple(stages),
        blocks=count_parts(state, "encoders.body.layer1."),
        part_depths=tuple(count_parts(state, f"encoders.hand.layer{i}.") for i in range(1, 5)),
    )


def from_published(state: Mapping[str, Tensor], image_size: int = 224) -> tuple[Config, PyMAFX]:
    """Build the network that a published state dict describes (the entry "model" of a file) and fill it; in eval mode.

    `image_size` is only for what we trained. Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, (*DROP, _TABLES))
    config = infer_config(renamed, image_size)
    model = filled(PyMAFX, config, renamed)
    model.tables = sampling_tables(state)
    return config, model


def sampling_tables(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tables of the meshes' points that a published file carries: body (431, 6890), hand (195, 778), face (numbers of vertices).

    Those that are missing, are missing: give tables of points of your own (`pymaf_x_bodies`).
    """
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    names = {"body": "mesh_sampler.Dmap", "hand": "mano_sampler.Dmap", "face": "flame_sampler.sampling_idx"}
    return {part: plain[name] for part, name in names.items() if name in plain}


def read_regressor(state: Mapping[str, Tensor], number: int) -> Regressor:
    """One iteration's regressor out of a published state dict, whole or in part; in eval mode. Raises WeightsError as `from_published`."""
    prefix = f"regressor.{number}."
    own = {name.removeprefix(prefix): value for name, value in rename(state, KEYMAP, (*DROP, _TABLES)).items() if name.startswith(prefix)}
    hidden, inputs = need(own, "fc1.weight", 2)
    body = inputs - 6 * BODY - SHAPE - 3 - len(CAMERA_FEATURES)
    model = Regressor(body, need(own, "fc1_hand.weight", 2)[1] - 6 * HAND, hidden)
    pour(model, own)
    return model.eval()


def read_features(state: Mapping[str, Tensor]) -> Iterator[tuple[str, int, GridFeatures | AlignedFeatures]]:
    """Part, iteration and layer of all point features in a published state dict, whole or in part. Raises as `from_published`."""
    renamed = rename(state, KEYMAP, (*DROP, _TABLES))
    for part, number in sorted({(m[1], m[2]) for name in renamed if (m := re.match(r"features\.(\w+)\.(\d)\.", name))}):
        prefix = f"features.{part}.{number}."
        own = {name.removeprefix(prefix): value for name, value in renamed.items() if name.startswith(prefix)}
        if "reduce.weight" in own:
            outputs, inputs = need(own, "reduce.weight", 2)
            layer = AlignedFeatures(need(own, "attention.img_embedding.weight", 2)[1], inputs // PER_POINT, outputs)
        else:
            widths = [need(own, f"reducer.conv{i}.weight", 3)[0] for i in range(2)]
            layer = GridFeatures(need(own, "reducer.conv0.weight", 3)[1], tuple(widths))
        pour(layer, own)
        yield part, int(number), layer.eval()


class Deployed(nn.Module):
    """For ONNX: the four crops, and which hands are seen (1 or 0, left and right) -> SMPL-X in the camera of the body's crop, metres.

    The meshes in the loop become part of the file, so their licences bind it.
    """

    INPUTS = ("body", "left_hand", "right_hand", "face", "seen")
    OUTPUTS = ("rotations", "shapes", "expressions", "translations", "visible")

    def __init__(self, model: PyMAFX, meshes: nn.Module):
        super().__init__()
        self.network, self.meshes = model, meshes

    def forward(self, body: Tensor, left_hand: Tensor, right_hand: Tensor, face: Tensor, seen: Float[Tensor, "b 2"]) -> tuple[Tensor, ...]:
        """`OUTPUTS` names them; `visible` is what the network itself thinks of the hands (over 0.1: seen)."""
        out = self.network(body, left_hand, right_hand, face, self.meshes, seen > 0.5)
        last = out.states[-1]
        place = camera_translation(last.camera, self.network.config.image_size)
        return smplx_rotations(out.pose), last.shape, last.expression, place, last.visible


def exported(config: Config, model: PyMAFX) -> Exported:
    """What goes into an ONNX file: crops of people's parts (`vitruvian.codecs.pymaf_x`) to SMPL-X, with the user's meshes in the loop.

    Making the network raises WeightsError for a file without the tables of the meshes' points, FormatError where SMPL, MANO or FLAME is
    not imported.
    """
    from vitruvian.systems.mesh.pymaf_x_bodies import user_meshes

    side = config.image_size
    inputs = dict.fromkeys(Deployed.INPUTS[:4], (3, side, side)) | {"seen": (2,)}
    card = mesh_card("pymaf-x", "PyMAF-X", (side, side), "smplx-neutral")
    return Exported(lambda: Deployed(model, user_meshes(model.tables)), inputs, Deployed.OUTPUTS, card)
