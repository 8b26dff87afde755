"""DaNet: a body from dense correspondence, decomposed and aggregated (Zhang et al., TPAMI 2020, arXiv 1912.13344; ACM MM 2019).

Idea
    A picture of one person first becomes an IUV map: which part of the body surface each pixel shows, and where on it. Only that map goes
    on, so that clothes and light are gone and maps of synthetic bodies can train the rest. The whole map gives camera and shape. For each
    of SMPL's 24 joints a square around it, as large as the bones that meet there, gives a partial map, and that a feature of the joint's
    rotation. The rotations are then made to agree: along the kinematic chains they become features of positions, a graph net with
    learned edges refines these, and they correct the rotations. In training whole parts of the map are erased (PartDrop).

Card -> here
    4.1 maps, joint centres                  Estimator, joint_centres
    4.2 joint-centric squares                part_scales, visibility, crop_around
    4.3 cleaning                             vitruvian.nn.iuv.clean
    4.4 global stream                        MapEncoder, Regressor.body_net
    4.5 local streams                        MapEncoder, GroupedLayer, Regressor.rotation_features
    4.6 aggregation, tables of the graph     GraphLayers, danet_tables, Regressor.forward
    2 camera                                 camera.camera_translation, body_parameters
    5 crops                                  vitruvian.codecs.danet
    6 losses, PartDrop, jitter               vitruvian.systems.mesh.danet_loss; drop_parts, Estimator.forward(jitter=)
    dense-correspondence heads and losses    vitruvian.nn.iuv

    published file            trained on
    danet_model_h36m_itw      Human3.6M, and pictures in the wild with SPIN's fits
    danet_model_h36m_dpcoco   Human3.6M and DensePose-COCO
    From memory of the paper, to be checked: Human3.6M PA-MPJPE 42.9 to 48.6 mm, 3DPW PA-MPJPE 54.8 to 56.9 mm.

Deviations
    Samplers keep the corners of maps in place (align_corners), as in the PyTorch 1.1 that the weights were trained with; run today, the
    published program silently samples elsewhere. PartDrop erases parts after cleaning: published zeros compete as logits with the other
    parts', so that a dropped part's pixels may become any part. Squares are taken without a gradient to their places [ours; not told].
    The published tables of the graph are read from the file, ours are made by the rule; files hold 25 small networks that nothing uses
    (rot2pos, pos2rot), which are dropped. Not here: refinement by LSTM, the global-only predictor, rendering of labels.

Licences
    Published code: none stated (all rights reserved), not read. Weights: at the user's own risk, for research; Human3.6M, DensePose-COCO,
    LSP, MPII, MPI-INF-3DHP are research only. SMPL: the user's own file. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.body import BodyParameters
from vitruvian.body.pose import rotation_vectors, rotations_from_6d
from vitruvian.codecs.danet import INPUT_SIDE
from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.nn.hrnet import HRNet
from vitruvian.nn.iuv import IUV, PARTS, IUVHead, clean, without_parts
from vitruvian.nn.resnet import DEPTHS, BasicBlock, Bottleneck, ResNet, conv, residual_layer
from vitruvian.systems.backbones import HRNetConfig, infer_backbone
from vitruvian.systems.checkpoint import filled, need, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.mesh.camera import camera_translation
from vitruvian.systems.mesh.danet_tables import CHILD, JOINTS, PARENT, PARTIAL, SHOWING, kinematic_tables
from vitruvian.systems.mesh.published import SMPL_FILE, mesh_card, published_card

STRIDE = 4
LOCAL, CAMERA, SHAPE = 6, 3, 10  # LOCAL: parts that a partial map tells apart
SHARPNESS = 10.0  # of heat maps, before their expectation is taken
SEEN = 0.5  # a joint whose parts show less at its place is taken for hidden
WHOLE = 0.8  # the square of a hidden joint, as a share of the box of all joints

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^img2iuv\.iuv_est\.final_pred\.(predict_(?:u|v|uv_index|ann_index))\.", r"estimator.maps.\1."),
    (r"^img2iuv\.iuv_est\.final_pred\.", "estimator."),
    (r"^img2iuv\.iuv_est\.", "estimator.trunk."),
    (r"^img2iuv\.", "estimator."),
    (r"^iuv2smpl\.smpl_para_Outs\.", "regressor."),
)
_TABLES = r"smpl_para_Outs\.(I_n|A_link|A)$"  # what A_mask and the learned edges are multiplied to is made anew
DROP = (r"(^|\.)iuv2smpl\.smpl\.", r"smpl_para_Outs\.(rot2pos|pos2rot)\.", _TABLES)


@dataclass(frozen=True)
class Config:
    """A network: its trunk, width of the encoders' stem, features per joint, width of the refining graph, blocks per stage of encoders."""

    trunk: HRNetConfig = HRNetConfig(48, finest=True)
    width: int = 64
    features: int = 128
    hidden: int = 256
    depths: tuple[int, int, int, int] = DEPTHS[18]


VARIANTS: dict[str, Config] = {
    "nano": Config(HRNetConfig(8, True, (1, 1, 1), 1, 8), 8, 16, 16, (1, 1, 1, 1)),
    "hrnet-w32": Config(HRNetConfig(32, finest=True)),
    "hrnet-w48": Config(),
}
_LICENCES = ("none: all rights reserved", f"none stated; poses {SMPL_FILE}", "Human3.6M, MPII, LSP, MPI-INF-3DHP: research only; COCO")
CARDS = tuple(
    published_card(f"danet_model_h36m_{name}", "DaNet", (224, 224), "smpl-neutral", _LICENCES, source="arXiv 1912.13344")
    for name in ("itw", "dpcoco")
)


class Estimate(NamedTuple):
    """What the first half says of crops: IUV maps and heat maps of joints at stride 4; joints' places in [-1, 1] and how much of their
    parts shows there; middles (without gradient) and half sides of the squares around them; partial maps; `features` of the trunk.
    """

    iuv: IUV
    heatmaps: Float[Tensor, "b 24 h w"]
    centres: Float[Tensor, "b 24 2"]
    visible: Float[Tensor, "b 24"]
    places: Float[Tensor, "b 24 2"]
    scales: Float[Tensor, "b 24"]
    partial: IUV
    features: Float[Tensor, "b c h w"]


class Parameters(NamedTuple):
    """A person per row. Weak camera: scale, and shift in metres. Rotations relative to the parent, the root's to the camera.

    For training: `unrefined` rotations, and positions of joints relative to the root in metres, before and after refinement.
    """

    camera: Float[Tensor, "b 3"]
    shape: Float[Tensor, "b 10"]
    rotations: Float[Tensor, "b 24 3 3"]
    unrefined: Float[Tensor, "b 24 3 3"]
    positions: Float[Tensor, "b 2 24 3"]


class Aggregated(NamedTuple):
    """Features of the joints on their way: of rotations, of positions, what refinement adds to these, of rotations corrected."""

    rotation: Float[Tensor, "b 24 f"]
    position: Float[Tensor, "b 24 f"]
    refinement: Float[Tensor, "b 24 f"]
    refined: Float[Tensor, "b 24 f"]


def joint_centres(heatmaps: Float[Tensor, "b 24 h w"]) -> Float[Tensor, "b 24 2"]:
    """Expectation of the places (x, y): 2 x / width - 1, so that the last pixel's is less than 1, as published."""
    height, width = heatmaps.shape[-2:]
    chance = (SHARPNESS * heatmaps).flatten(2).softmax(-1).unflatten(-1, (height, width))
    x = (chance.sum(-2) * torch.arange(width, device=heatmaps.device)).sum(-1) * (2 / width) - 1
    y = (chance.sum(-1) * torch.arange(height, device=heatmaps.device)).sum(-1) * (2 / height) - 1
    return torch.stack((x, y), -1)


def visibility(index: Float[Tensor, "b 25 h w"], centres: Float[Tensor, "b 24 2"]) -> Float[Tensor, "b 24"]:
    """How much of the parts of each joint shows at its place, from a hard index map; bilinear."""
    most = max(map(len, SHOWING))
    table = torch.tensor([(*parts, *parts[:1] * (most - len(parts))) for parts in SHOWING], device=index.device)
    shown = index[:, table].amax(2)
    maps = shown.flatten(0, 1)[:, None]
    return F.grid_sample(maps, centres.flatten(0, 1)[:, None, None], align_corners=True).reshape(-1, JOINTS)


def part_scales(
    centres: Float[Tensor, "b 24 2"], visible: Float[Tensor, "b 24"], ratio: Float[Tensor, " 24"], offset: Float[Tensor, " 24"]
) -> Float[Tensor, "b 24"]:
    """Half sides of the joints' squares: as long as the longer of the bones to parent and child; the root's holds all joints."""
    child, parent = (torch.linalg.vector_norm(centres[:, list(table)] - centres, dim=-1) for table in (CHILD, PARENT))
    whole = (centres.amax(1) - centres.amin(1)).amax(-1, keepdim=True) / 2
    scales = torch.cat((whole, torch.maximum(child, parent)[:, 1:]), 1) * ratio.relu() + offset.relu()
    hidden = torch.cat((torch.zeros_like(visible[:, :1], dtype=torch.bool), visible[:, 1:] < SEEN), 1)
    return torch.where(hidden, WHOLE * whole, scales)


def crop_around(
    maps: Float[Tensor, "b c h w"], centres: Float[Tensor, "b j 2"], scales: Float[Tensor, "b j"], mode: str = "bilinear"
) -> Float[Tensor, "b j c h w"]:
    """Squares cut out of maps, stretched to the maps' size, 0 outside; `centres` and half sides in [-1, 1] of the maps."""
    height, width = maps.shape[-2:]
    rows, columns = (torch.linspace(-1, 1, n, device=maps.device, dtype=maps.dtype) for n in (height, width))
    grid = torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width)), -1)
    places = scales[:, :, None, None, None] * grid + centres[:, :, None, None]  # (b, j, h, w, 2)
    # All squares of a picture in one call, one below the other.
    cut = F.grid_sample(maps, places.flatten(1, 2), mode=mode, align_corners=True)
    return cut.unflatten(2, (-1, height)).transpose(1, 2)


class Estimator(nn.Module):
    """The first half: normalised crops (sides multiples of 32) -> IUV maps, joints' places, and partial IUV maps around them."""

    def __init__(self, config: Config):
        super().__init__()
        self.trunk: HRNet = config.trunk.build()
        width = config.trunk.width
        self.maps = IUVHead(width)
        self.predict_hm = nn.Sequential(residual_layer(Bottleneck, width, width, 3), nn.Conv2d(width, JOINTS, 3, padding=1))
        self.predict_partial_iuv = nn.Conv2d(JOINTS * width, JOINTS * 3 * (LOCAL + 1), 3, padding=1, groups=JOINTS)
        self.register_buffer("learned_ratio", torch.ones(JOINTS))
        self.register_buffer("learned_offset", torch.full((JOINTS,), 0.1))

    def forward(self, image: Float[Tensor, "b 3 s s"], jitter: bool = False) -> Estimate:
        """`jitter` moves and scales the squares at random, as in published training."""
        features = self.trunk(image)[0]
        iuv, heatmaps = self.maps(features), self.predict_hm(features)
        centres = joint_centres(heatmaps)
        with torch.no_grad():
            visible = visibility(clean(iuv).index, centres)
            scales, places = part_scales(centres, visible, self.learned_ratio, self.learned_offset), centres.detach()
            if jitter:
                places = places + 0.05 * (2 * torch.rand_like(places) - 1)
                scales = scales * (1 + 0.1 * (2 * torch.rand_like(scales) - 1)) * (1 + 0.1 * (2 * torch.rand_like(scales) - 1))
        crops = crop_around(features, places, scales)
        partial = self.predict_partial_iuv(crops.flatten(1, 2)).unflatten(1, (JOINTS, 3, LOCAL + 1))
        return Estimate(iuv, heatmaps, centres, visible, places, scales, IUV(*partial.unbind(2)), features)


class MapEncoder(ResNet):
    """Maps -> the last map of a ResNet whose first convolution takes `width` channels; a 1x1 convolution, in front, makes these."""

    def __init__(self, width: int, depths: tuple[int, ...], outputs: int = 0):
        super().__init__(depths, BasicBlock, width)
        self.conv1 = conv(width, width, 7, 2)
        self.stages = len(depths)
        self.final_layer = nn.Linear(self.channels[-1], outputs) if outputs else None

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Tensor:
        """The last map; where the encoder has `outputs`, these, (b, outputs), from its mean."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(maps))), 3, 2, 1)
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
        return x if self.final_layer is None else self.final_layer(x.mean((2, 3)))


def encoder(channels: int, width: int, depths: tuple[int, ...], outputs: int = 0) -> nn.Sequential:
    """1x1 convolution, normalisation, ReLU, ResNet, named by their places."""
    return nn.Sequential(conv(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU(), MapEncoder(width, depths, outputs))


class GroupedBlock(BasicBlock):
    """A basic block in which every joint has its own weights: (b, 24 i, h, w) -> (b, 24 o, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(1, 1)  # its convolutions are replaced
        wide = JOINTS * outputs
        self.conv1 = nn.Conv2d(JOINTS * inputs, wide, 3, stride, 1, groups=JOINTS, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, groups=JOINTS, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)
        if stride != 1 or inputs != outputs:
            short = nn.Conv2d(JOINTS * inputs, wide, 1, stride, groups=JOINTS, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(wide))


class GraphLayers(nn.Module):
    """Layers H' = ReLU(norm(A (H W) + b)) over the joints, whose normalisation is per joint: (b, 24, f) -> (b, 24, g)."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.gc = nn.ModuleList(GraphConvolution(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.act = nn.ModuleList(nn.Sequential(nn.BatchNorm1d(JOINTS)) for _ in widths[1:])

    def forward(self, x: Float[Tensor, "b 24 f"], edges: Float[Tensor, "24 24"]) -> Float[Tensor, "b 24 g"]:
        for layer, norm in zip(self.gc, self.act, strict=True):
            x = F.relu(norm(edges @ (x @ layer.weight) + layer.bias))
        return x


class GraphConvolution(nn.Module):
    """The weights of one graph layer, (inputs, outputs), and its bias."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / outputs**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))


def _rest(numbers: tuple[float, ...], count: int) -> nn.Parameter:
    return nn.Parameter(torch.tensor(numbers).repeat(count)[None])


class Regressor(nn.Module):
    """The second half: cleaned IUV maps -> SMPL's parameters. Maps need not come from `Estimator`: rendered ones do as well."""

    def __init__(self, config: Config):
        super().__init__()
        width, features = config.width, config.features
        self.body_net = encoder(3 * (PARTS + 1), width, config.depths, CAMERA + SHAPE)
        self.limb_net = encoder(3 * (LOCAL + 1), width, config.depths[:3])
        first = GroupedBlock(4 * width, features, 2)
        rest = (GroupedBlock(features, features) for _ in range(config.depths[3] - 1))
        self.limb_reslayer = nn.ModuleDict({"layer4": nn.Sequential(first, *rest)})
        self.r2p_gcn = GraphLayers((features, features))
        self.refine_gcn = GraphLayers((features, config.hidden, config.hidden, features))
        self.p2r_gcn = GraphLayers((features, features))
        self.edge_importance = nn.Parameter(torch.ones(1, JOINTS, JOINTS))
        # Before refinement, and after it; named by their places behind a layer without weights.
        self.coord_regressors = nn.ModuleList(self._per_joint(features, 3) for _ in range(2))
        self.pose_regressors = nn.ModuleList(self._per_joint(features, 6) for _ in range(2))
        self.mean_cam_shape = _rest((0.9, 0.0, 0.0, *(0.0,) * SHAPE), 1)
        self.mean_pose = _rest((1.0, 0.0, 0.0, 1.0, 0.0, 0.0), JOINTS)
        with torch.no_grad():
            self.mean_pose[0, :6] = torch.tensor([1.0, 0, 0, -1, 0, 0])  # upright before a camera whose y points down
        for name, table in zip(("r2p_A", "p2r_A", "A_mask"), kinematic_tables(), strict=True):
            self.register_buffer(name, table[None])

    @staticmethod
    def _per_joint(features: int, outputs: int) -> nn.Sequential:
        layer = nn.Conv2d(JOINTS * features, JOINTS * outputs, 1, groups=JOINTS)
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
        return nn.Sequential(nn.Identity(), layer)

    def edges(self) -> Float[Tensor, "24 24"]:
        """The refining graph's edges: learned for pairs, 1 for self, over the roots of both ends' degrees (sums of columns)."""
        graph = self.A_mask[0] * self.edge_importance[0].relu() + torch.eye(JOINTS, device=self.A_mask.device)
        root = graph.sum(0).rsqrt()
        return root[:, None] * graph * root

    def rotation_features(self, partial: IUV) -> Float[Tensor, "b 24 f"]:
        """From cleaned partial maps (b, 24, 7, h, w)."""
        x = torch.cat((partial.u, partial.v, partial.index), 2)
        x = self.limb_net(x.flatten(0, 1)).unflatten(0, (-1, JOINTS)).flatten(1, 2)
        return self.limb_reslayer["layer4"](x).mean((2, 3)).unflatten(1, (JOINTS, -1))

    def aggregate(self, rotation: Float[Tensor, "b 24 f"]) -> Aggregated:
        """Rotations to positions along the chains, positions refined by the graph, and back to rotations."""
        position = self.r2p_gcn(rotation, self.r2p_A[0])
        refinement = self.refine_gcn(position, self.edges())
        return Aggregated(rotation, position, refinement, self.p2r_gcn(position + refinement, self.p2r_A[0]))

    def _rotations(self, features: Float[Tensor, "b 24 f"], stage: int) -> Float[Tensor, "b 24 3 3"]:
        six = self.pose_regressors[stage](features.flatten(1)[..., None, None]).flatten(1) + self.mean_pose
        return rotations_from_6d(six.unflatten(1, (JOINTS, 6)), "interleaved")

    def forward(self, whole: IUV, partial: IUV) -> tuple[Parameters, Aggregated]:
        """Cleaned maps of the person (b, 25, h, w) and of the joints (b, 24, 7, h, w)."""
        camera_shape = self.body_net(torch.cat((whole.u, whole.v, whole.index), 1)) + self.mean_cam_shape
        found = self.aggregate(self.rotation_features(partial))
        both = (found.position, found.position + found.refinement)
        positions = [
            head(x.flatten(1)[..., None, None]).reshape(-1, JOINTS, 3) for head, x in zip(self.coord_regressors, both, strict=True)
        ]
        rotations, unrefined = self._rotations(found.refined, 1), self._rotations(found.rotation, 0)
        camera, shape = camera_shape.split((CAMERA, SHAPE), 1)
        return Parameters(camera, shape, rotations, unrefined, torch.stack(positions, 1)), found


class DaNet(nn.Module):
    """Normalised crops of people -> SMPL's parameters."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.estimator, self.regressor = Estimator(config), Regressor(config)

    def forward(
        self, image: Float[Tensor, "b 3 s s"], dropped: Bool[Tensor, "b 25"] | None = None, jitter: bool = False
    ) -> tuple[Parameters, Estimate]:
        """`dropped` parts are erased from the maps (`draw_parts`), `jitter` disturbs the squares: both for training.

        Raises VitruvianError for crops whose sides are no multiples of 32.
        """
        if image.shape[-1] % 32 or image.shape[-2] % 32 or not image.shape[-1]:
            raise VitruvianError(f"crops of {tuple(image.shape[2:])} pixels don't fit: give sides that are multiples of 32, such as 224")
        estimate = self.estimator(image, jitter)
        whole, partial = clean(estimate.iuv), clean(estimate.partial)
        if dropped is not None:
            whole, partial = drop_parts(whole, partial, dropped)
        return self.regressor(whole, partial)[0], estimate


def draw_parts(batch: int, rate: float = 0.3, generator: torch.Generator | None = None) -> Bool[Tensor, "b 25"]:
    """Which parts to erase, each with probability `rate`; never the background."""
    dropped = torch.rand(batch, PARTS + 1, generator=generator) < rate
    dropped[:, 0] = False
    return dropped


def drop_parts(whole: IUV, partial: IUV, dropped: Bool[Tensor, "b 25"]) -> tuple[IUV, IUV]:
    """PartDrop on cleaned maps: the parts vanish from the whole map, and from every partial map that tells them."""
    table = torch.tensor([(0, *row) for row in PARTIAL], device=dropped.device)
    return without_parts(whole, dropped), without_parts(partial, dropped[:, table])


def body_parameters(found: Parameters, side: int = INPUT_SIDE, focal: float = WEAK_FOCAL) -> BodyParameters:
    """Parameters for an SMPL body (24 joints), tensors; camera axes of OpenCV, metres, in the camera of the crop."""
    none = found.shape.new_zeros(len(found.shape), 0)
    return BodyParameters(rotation_vectors(found.rotations), found.shape, none, camera_translation(found.camera, side, focal))


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes; of a half, what it doesn't tell is the published default.

    Raises WeightsError if it has neither half, or the shapes contradict each other.
    """
    plain, halves = Config(), {name.split(".", 1)[0] for name in state} & {"estimator", "regressor"}
    if not halves:
        raise WeightsError("the state dict has neither img2iuv nor iuv2smpl entries: it is no checkpoint of DaNet; check which was given")
    trunk = plain.trunk
    if "estimator" in halves:
        trunk = infer_backbone(state, "estimator.trunk.")
        if not isinstance(trunk, HRNetConfig) or not trunk.finest:
            raise WeightsError("the estimator's backbone is no HRNet with one output: DaNet with another backbone is not supported")
    if "regressor" not in halves:
        return Config(trunk)
    width = need(state, "regressor.body_net.0.weight", 4)[0]
    features, hidden = need(state, "regressor.refine_gcn.gc.0.weight", 2)
    depths = tuple(len({name.split(".")[4] for name in state if name.startswith(f"regressor.body_net.3.layer{i}.")}) for i in (1, 2, 3, 4))
    return Config(trunk, width, features, hidden, depths)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return rename(state, KEYMAP, DROP)


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, DaNet]:
    """Build the network that a published state dict describes (the entry "model" of the file) and fill it; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = _renamed(state)
    config = infer_config(renamed)
    return config, filled(DaNet, config, renamed)


def half_from_published(state: Mapping[str, Tensor]) -> tuple[Config, Estimator | Regressor]:
    """One half alone, from a state dict with the entries of one only: pictures to IUV, or IUV to SMPL. Raises WeightsError."""
    renamed = _renamed(state)
    config = infer_config(renamed)
    halves = {name.split(".", 1)[0] for name in renamed}
    if len(halves) != 1:
        raise WeightsError(f"the state dict has entries of {', '.join(sorted(halves))}: give those of one half, or use from_published")
    (half,) = halves
    build = Estimator if half == "estimator" else Regressor
    return config, filled(build, config, {name.split(".", 1)[1]: value for name, value in renamed.items()})


class Deployed(nn.Module):
    """For ONNX: normalised crops -> rotations (b, 24, 3, 3), shapes (b, 10), translations (b, 3) in metres in the camera of the crop."""

    OUTPUTS = ("rotations", "shapes", "translations")

    def __init__(self, model: DaNet):
        super().__init__()
        self.network = model

    def forward(self, image: Float[Tensor, "b 3 s s"]) -> tuple[Tensor, Tensor, Tensor]:
        found = self.network(image)[0]
        return found.rotations, found.shape, camera_translation(found.camera, image.shape[-1])


def exported(config: Config, model: DaNet) -> Exported:
    """What goes into an ONNX file: crops of people (`vitruvian.codecs.danet`) to SMPL."""
    card = mesh_card("danet", "DaNet", (INPUT_SIDE, INPUT_SIDE), "smpl-neutral")
    return Exported(Deployed(model), {"image": (3, INPUT_SIDE, INPUT_SIDE)}, Deployed.OUTPUTS, card)
