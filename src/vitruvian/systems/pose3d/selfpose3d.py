"""SelfPose3d: 3D poses of several people from several calibrated cameras, learned without labels (Srivastav et al., CVPR 2024, 2404.02041).

Idea
    VoxelPose in three networks: heat maps of every picture; all of them brought back into a box of bins, where a 3D network finds people by
    their mid-hips; around each of these a finer cube, in which another 3D network finds the joints. Here they learn from pseudo 2D poses of
    any detector alone. The root network trains on made-up points, projected to the cameras and drawn, and on agreement between augmented
    pictures. The pose network's joints, found under one random affine of the pictures, are projected under another, drawn as heat maps
    (which is differentiable), and compared with the pseudo poses there; and the reverse. Pseudo poses are wrong at places: an attention
    network says how much a place of a heat map counts, and late in training a matched L1 loss drops the worst view.

Card -> here
    4 un-projection, V2V, suppression, soft arg-max   vitruvian.systems.pose3d.voxels
    4 backbone, attention                             HeatmapNet
    4 root and pose network, 5 inference              SelfPose3d.roots, poses, predict
    6 augmentation, synthetic roots, 11 losses        vitruvian.systems.pose3d.selfpose3d_loss
    8 start of the backbone                           from_coco

Figures
    Published [from memory], CMU Panoptic, 5 views: AP25 55.1, AP50 96.4, AP100 98.5, AP150 99.0, MPJPE 24.5 mm (VoxelPose, supervised:
    83.6, 98.3, 99.8, 99.9, 17.7 mm). None of this file's.

Deviations
    Lengths are metres (published: mm). Kept from the published program, as its weights know nothing else: mirrored inputs are half a pixel
    off, equal neighbours both survive suppression. Points behind a camera count as unseen, unless the network is a published one. Left out:
    the losses change their arguments there; RandAugment and cutout; sizes of pictures are taken as twice the principal point there, and are
    given here. Where people are is found once, in plain pictures, for both augmentations [ours]. The box of bins isn't in any file: it is
    Panoptic's unless `Config.space` says otherwise (`Space.from_cameras`).

Licences
    Published code: CC BY-NC-SA 4.0 (VoxelPose's parts MIT); weights: the same is presumed. CMU Panoptic: non-commercial research; Shelf and
    Campus: research. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.errors import WeightsError
from vitruvian.nn.deconv import DeconvHead
from vitruvian.nn.resnet import DEPTHS
from vitruvian.skeletons import PANOPTIC_15
from vitruvian.systems.backbones import ResNetConfig, infer_backbone, title
from vitruvian.systems.checkpoint import filled, need, rename
from vitruvian.systems.pose3d.voxels import V2V, Sampling, Space, Views, sampling, soft_argmax, suppress, unproject
from vitruvian.weights import Card

STRIDE = 4  # input pixels per cell of a heat map
PANOPTIC_SPACE = Space((8.0, 8.0, 2.0), (0.0, -0.5, 0.8), (80, 80, 20))
FROM_COCO = (5, 0, 11, 5, 7, 9, 11, 13, 15, 6, 8, 10, 12, 14, 16)
"""COCO's heat maps that a backbone for Panoptic's joints starts from."""

_RESNET = r"(conv1|bn1|layer\d+)\."
_HEAD = r"(deconv_layers|final_layer)\."
KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (rf"^(?={_RESNET}|{_HEAD})", "backbone."),
    (r"^attn\.backbone\.", "attention."),
    (r"^(root_net|pose_net)\.v2v_net\.", r"\1."),
    (rf"^(backbone|attention)\.{_RESNET}", r"\1.trunk.\2."),
    (rf"^(backbone|attention)\.{_HEAD}", r"\1.head.\2."),
)
DROP: tuple[str, ...] = (r"(^|\.)fc\.",)


@dataclass(frozen=True)
class Config:
    """The networks that there are, and how they are used. `backbone` and `attention` None, `root_inputs` 0, `pose` False: without that one.

    `root_inputs` 1: the root network sees the mid-hip's heat map alone; VoxelPose's sees those of all joints. `widths` are V2V's channels.
    """

    joints: int = len(PANOPTIC_15)
    backbone: ResNetConfig | None = ResNetConfig()
    attention: ResNetConfig | None = ResNetConfig(DEPTHS[18], False)
    root_inputs: int = 1
    pose: bool = True
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    deconvolutions: tuple[int, ...] = (256, 256, 256)
    root: int = 2
    space: Space = PANOPTIC_SPACE
    pose_side: float = 2.0  # of the cube around a person, metres
    pose_bins: tuple[int, int, int] = (64, 64, 64)
    candidates: int = 10
    threshold: float = 0.3
    sharpness: float = 100.0
    published: bool = False

    def __post_init__(self) -> None:
        if self.root_inputs not in (0, 1, self.joints) or any(n < 4 or n % 4 for n in self.pose_bins) or self.candidates < 1:
            raise ValueError(
                f"root_inputs must be 0, 1 or all {self.joints} joints, pose_bins multiples of 4, candidates 1 or more: {self}"
            )


_SMALL = ResNetConfig((1, 1, 1, 1), False, 8)
_NANO = Config(
    *(15, _SMALL, _SMALL), widths=(8, 8, 16, 16), deconvolutions=(16, 16, 16), space=Space((4, 4, 2), (0, 0, 1), (20, 20, 8)),
    pose_bins=(16, 16, 16), candidates=4,
)  # fmt: skip
VARIANTS: dict[str, Config] = {
    "nano": _NANO,
    "nano-heatmaps": replace(_NANO, backbone=None, attention=None),
    "panoptic": Config(),
    "panoptic-heatmaps": Config(backbone=None, attention=None),
    "voxelpose": Config(attention=None, root_inputs=15),
}
"""With "heatmaps": without a backbone, for heat maps of any detector's poses."""


class HeatmapNet(nn.Module):
    """Normalised pictures -> a heat map per joint, of stride 4: SimpleBaselines (arXiv 1804.06208) on a ResNet."""

    def __init__(self, backbone: ResNetConfig, joints: int, widths: tuple[int, ...]):
        super().__init__()
        self.trunk = backbone.build()
        self.head = DeconvHead(self.trunk.channels[-1], joints, widths)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k h4 w4"]:
        return self.head(self.trunk(images)[-1])


class Roots(NamedTuple):
    """Where people may be, the likeliest first: places, whether they are over the threshold, scores; and the cube and volume behind it."""

    centre: Float[Tensor, "b c 3"]
    valid: Bool[Tensor, "b c"]
    score: Float[Tensor, "b c"]
    cube: Float[Tensor, "b k x y z"]
    volume: Float[Tensor, "b x y z"]


class People3D(NamedTuple):
    """World joints in metres, 0 where a candidate isn't valid; which are; scores."""

    points: Float[Tensor, "b c k 3"]
    valid: Bool[Tensor, "b c"]
    score: Float[Tensor, "b c"]


class SelfPose3d(nn.Module):
    """Pictures or heat maps of calibrated views -> people in space. The four networks can be used and trained apart."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone, self.attention = (
            None if part is None else HeatmapNet(part, config.joints, config.deconvolutions) for part in (config.backbone, config.attention)
        )
        self.root_net = V2V(config.root_inputs, 1, config.widths) if config.root_inputs else None
        self.pose_net = V2V(config.joints, config.joints, config.widths) if config.pose else None

    def heatmaps(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v k h4 w4"]:
        """The backbone's heat maps of all views."""
        return _part(self.backbone, "backbone")(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    def weights(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v k h4 w4"]:
        """How much the places of a pseudo heat map count, 0 to 1, as the attention network says."""
        return _part(self.attention, "attention network")(images.flatten(0, 1)).unflatten(0, images.shape[:2]).sigmoid()

    def root_sampling(self, views: Views, cells: tuple[int, int], input_size: tuple[int, int] | None = None) -> Sampling:
        """Where the space's bins lie in heat maps of `cells` (width, height): computed once while cameras stay."""
        points = self.config.space.points().to(views.centre).expand(len(views.centre), -1, -1)
        return sampling(points, views, input_size or input_of(cells), cells, self.config.published)

    def root_cube(self, heatmaps: Float[Tensor, "b v k h w"], where: Sampling) -> Float[Tensor, "b i x y z"]:
        """What the root network sees."""
        chosen = heatmaps if self.config.root_inputs == self.config.joints else heatmaps[:, :, self.config.root, None]
        return unproject(chosen, where).unflatten(-1, self.config.space.bins)

    def roots(self, heatmaps: Float[Tensor, "b v k h w"], where: Sampling) -> Roots:
        """The people's mid-hips. `where` is from `root_sampling`."""
        cube = self.root_cube(heatmaps, where)
        volume = _part(self.root_net, "root network")(cube)[:, 0]
        # A stable sort and not topk, so that equal scores come in the order of their bins.
        score, index = suppress(volume).flatten(1).sort(dim=1, descending=True, stable=True)
        score, index = score[:, : self.config.candidates], index[:, : self.config.candidates]
        return Roots(self.config.space.place(index), score > self.config.threshold, score, cube, volume)

    def cube_around(self, centre: Float[Tensor, "n 3"]) -> Float[Tensor, "n m 3"]:
        """Where the bins of the cubes around people are."""
        cube = Space((self.config.pose_side,) * 3, (0.0, 0.0, 0.0), self.config.pose_bins)
        return cube.points().to(centre) + centre[:, None]

    def person_cubes(
        self, heatmaps: Float[Tensor, "v k h w"], views: Views, centre: Float[Tensor, "n 3"], input_size: tuple[int, int] | None = None
    ) -> Float[Tensor, "n k x y z"]:
        """What the pose network sees of the people of one scene (`views` of one row)."""
        points = self.cube_around(centre)
        cells = (heatmaps.shape[-1], heatmaps.shape[-2])
        where = sampling(points.reshape(1, -1, 3), views, input_size or input_of(cells), cells, self.config.published)
        cubes = unproject(heatmaps[None], where)[0].view(heatmaps.shape[1], len(centre), points.shape[1])
        return cubes.transpose(0, 1).unflatten(-1, self.config.pose_bins)

    def joints(self, cubes: Float[Tensor, "n k x y z"], centre: Float[Tensor, "n 3"]) -> Float[Tensor, "n k 3"]:
        """The pose network on people's cubes."""
        logits = _part(self.pose_net, "pose network")(cubes)
        return soft_argmax(logits.flatten(2), self.cube_around(centre), self.config.sharpness)

    def poses(
        self,
        heatmaps: Float[Tensor, "b v k h w"],
        views: Views,
        centre: Float[Tensor, "b c 3"],
        valid: Bool[Tensor, "b c"],
        input_size: tuple[int, int] | None = None,
    ) -> Float[Tensor, "b c k 3"]:
        """Joints of the valid candidates, 0 for the others. All cubes go through the pose network at once."""
        cubes = [
            self.person_cubes(maps, views.rows(slice(i, i + 1)), places[mask], input_size)
            for i, (maps, places, mask) in enumerate(zip(heatmaps, centre, valid, strict=True))
        ]
        out = centre.new_zeros(*valid.shape, self.config.joints, 3)
        if not bool(valid.any()):
            return out
        return out.index_put((valid,), self.joints(torch.cat(cubes), centre[valid]))

    def predict(self, heatmaps: Float[Tensor, "b v k h w"], views: Views, where: Sampling | None = None) -> People3D:
        """People from heat maps, of this backbone or any detector's. `where`: see `root_sampling`."""
        where = self.root_sampling(views, (heatmaps.shape[-1], heatmaps.shape[-2])) if where is None else where
        found = self.roots(heatmaps, where)
        return People3D(self.poses(heatmaps, views, found.centre, found.valid), found.valid, found.score)

    def forward(self, images: Float[Tensor, "b v 3 h w"], views: Views) -> People3D:
        return self.predict(self.heatmaps(images), views)


def _part(network: nn.Module | None, name: str) -> nn.Module:
    """A network that may be missing."""
    if network is None:
        raise WeightsError(f"this checkpoint has no {name}: load one that has, or give what it would make")
    return network


def input_of(cells: tuple[int, int]) -> tuple[int, int]:
    """Size of the input that heat maps of so many cells are of."""
    return cells[0] * STRIDE, cells[1] * STRIDE


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The configuration of a state dict in our names. Raises WeightsError if it is none.

    Spaces, thresholds and the number of candidates leave no trace: Panoptic's are taken.
    """
    has = lambda prefix: any(name.startswith(prefix) for name in state)  # noqa: E731
    found: dict = {"published": True, "backbone": None, "attention": None, "root_inputs": 0, "pose": has("pose_net.")}
    for part in ("backbone", "attention"):
        if has(f"{part}."):
            found[part] = infer_backbone(state, f"{part}.trunk.")
            found["joints"] = need(state, f"{part}.head.final_layer.weight", 4)[0]
            names = sorted(
                (n for n in state if n.startswith(f"{part}.head.deconv_layers.") and state[n].ndim == 4), key=lambda n: int(n.split(".")[3])
            )
            found["deconvolutions"] = tuple(state[name].shape[1] for name in names)
    for part in ("root_net", "pose_net"):
        if has(f"{part}."):
            first, inputs = need(state, f"{part}.front_layers.0.block.0.weight", 5)[:2]
            rest = ("front_layers.1", "encoder_decoder.encoder_res1", "encoder_decoder.encoder_res2")
            found["widths"] = (first, *(need(state, f"{part}.{name}.res_branch.0.weight", 5)[0] for name in rest))
            found |= {"root_inputs": inputs} if part == "root_net" else {"joints": inputs}
    if not (found["backbone"] or found["root_inputs"] or found["pose"]):
        raise WeightsError("none of the four networks is in this file: it is a checkpoint of another system")
    if "joints" not in found and found["root_inputs"] > 1:
        found["joints"] = found["root_inputs"]
    try:
        return Config(**found)
    except ValueError as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, SelfPose3d]:
    """Build and fill the networks of a published file: all four, the backbone alone, or any of them; in eval mode.

    VoxelPose's files have a root network that sees all joints. Raises WeightsError, which lists every entry that is missing or left over.
    """
    renamed = rename(state, KEYMAP, DROP)
    config = infer_config(renamed)
    return config, filled(SelfPose3d, config, renamed)


def from_coco(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A COCO backbone's state dict (SimpleBaselines, 17 heat maps) as the start of a backbone for Panoptic's 15 joints."""
    out = dict(state)
    for name in ("final_layer.weight", "final_layer.bias"):
        key = next((key for key in state if key.endswith(name)), None)
        if key is None or len(state[key]) != 17:
            raise WeightsError(f"{name} of 17 heat maps is missing: give a SimpleBaselines checkpoint for COCO")
        out[key] = state[key][list(FROM_COCO)]
    return out


def with_space(model: SelfPose3d, space: Space) -> SelfPose3d:
    """The same networks (shared, not copied) looking for people in another box."""
    other = SelfPose3d.__new__(SelfPose3d)
    nn.Module.__init__(other)
    other.config = replace(model.config, space=space)
    other.backbone, other.attention, other.root_net, other.pose_net = model.backbone, model.attention, model.root_net, model.pose_net
    return other.train(model.training)


class PoseOfCube(nn.Module):
    """The pose network with its soft arg-max: what is exported, for people whose cubes were cut elsewhere."""

    def __init__(self, model: SelfPose3d):
        super().__init__()
        self.model = model

    def forward(self, cubes: Float[Tensor, "n k x y z"], centre: Float[Tensor, "n 3"]) -> Float[Tensor, "n k 3"]:
        return self.model.joints(cubes, centre)


def variant_of(config: Config) -> str:
    """The networks that are there, such as "selfpose3d-resnet50-attention-root1-pose" of all four."""
    parts = (
        "" if config.backbone is None else title(config.backbone),
        "" if config.attention is None else "attention",
        f"root{config.root_inputs}" if config.root_inputs else "",
        "pose" if config.pose else "",
    )
    return "-".join(("selfpose3d", *(part for part in parts if part)))


CARDS: tuple[Card, ...] = ()
"""None: the published files are one zip of .pth files for all four networks; a card describes one network that sees a picture."""
