"""XNect, reconstructed but for its backbone: real-time 3D motion capture of many people with one camera (Mehta et al., SIGGRAPH 2020).

arXiv 1907.00837. Only the backbone was ever published as code and weights; those files load here, and give their numbers.

Idea
    Stage I looks at the whole picture once, so that its cost does not grow with the people. For every joint that is SEEN it gives a bump, a
    field that ties it to its parent, and a short 3D code: the offsets of the bones that meet there, nothing else, so that people who
    overlap don't fight for the same channels. Stage II, a small fully connected network per person, completes the pose: what is hidden
    comes from what it has learnt of bodies. Stage III fits a skeleton of fixed bones over time and gives angles, place and identity.

Paper -> here
    SelecSLS backbone                      vitruvian.nn.selecsls, `fuse` (pruning)                                    read in its code
    stage I                                StageOne, codec, stage_one_loss          structure from the paper; widths ours [proposed]
    association                            vitruvian.codecs.part_affinity           affinity fields; constants ours
    stage II                               StageTwo, stage_two_loss                 structure from the paper; widths ours
    stage III energy, solver               xnect_fit, xnect_skeleton                terms and weights recalled; solver ours
    filters, identity, whole chain         xnect_track.Tracker                      recalled; constants ours
    joints                                 XNECT_14, XNECT_21 (xnect_skeleton)      not verifiable; orders ours

    published file (SelecSLS..)                       ImageNet top-1 error     core parameters
    42_B_statedict.pth                                22.9 %                   5.3 M
    60_statedict_better.pth, 60_B_statedict.pth       22.1 %, 21.6 %           8.8 M
    84_statedict.pth                                  23.3 %                   15.2 M
    The published C++ program: MuPoTS-3D 3DPCK 70.4 (all), 75.8 (matched people) [recalled]; more than 30 frames per second with 10 people
    on a GTX 1080 Ti.

Deviations
    Stage I's heads, II and III: see the marks above and each module. Stage III also measures where a person's hips and shoulders sit, not
    only how long the bones are [ours]: on real motion its joints are nearer to the true ones than the points it is given, with the usual
    skeleton's directions they were farther off (recipes/xnect_small.py). Codes of neck and hips hold their offsets from the pelvis, which
    is no detected joint. People are metres of a person of 1.70 m until stage III scales them to their height. The published program drops a
    channel's constant when it prunes the channel, and so does `fuse`.

Licences
    Backbone: code and ImageNet weights CC BY 4.0 (mehtadushy/SelecSLS-Pytorch; name the authors). The whole system is offered as a C++
    library with terms of its own, not seen. Data (MuCo-3DHP, MPI-INF-3DHP, MuPoTS-3D): research only. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.codecs.part_affinity import FEATURES, PartAffinity, PartTree
from vitruvian.errors import WeightsError
from vitruvian.nn.deconv import deconvolutions
from vitruvian.nn.lifter import Lifter
from vitruvian.nn.selecsls import CONFIGS, Block, SelecSLS, SelecSLSConfig, block_widths, infer_selecsls, level, unit
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.checkpoint import need, pour, rename
from vitruvian.systems.export import Exported
from vitruvian.systems.pose3d.xnect_skeleton import PARENTS, PELVIS
from vitruvian.weights import Card

HEATMAP_WEIGHT, AFFINITY_WEIGHT, CODE_WEIGHT = 1.0, 1.0, 0.05
CENTIMETRES = 100.0  # the codes' loss counts in them
BONE_WEIGHT = 0.1

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    *((rf"^head\.conv{i + 1}\.", f"head.{i}.") for i in range(4)),  # the timm project's names
    (r"^fc\.", "classifier.0."),
)
DROP: tuple[str, ...] = ()

_LIMBS = tuple(
    tuple(map(XNECT_14.index, pair))
    for pair in (
        *(("neck", "head_top"), ("neck", "right_shoulder"), ("neck", "left_shoulder"), ("neck", "right_hip"), ("neck", "left_hip")),
        *((f"{side}_{a}", f"{side}_{b}") for side in ("right", "left") for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
        *((f"{side}_{a}", f"{side}_{b}") for side in ("right", "left") for a, b in (("hip", "knee"), ("knee", "ankle"))),
    )
)
_HUNG_ON_PELVIS = tuple(XNECT_14.index(name) for name in ("neck", "right_hip", "left_hip"))
TREE = PartTree(len(XNECT_14), _LIMBS, tuple(-1 if joint in _HUNG_ON_PELVIS else parent for joint, parent in enumerate(XNECT_14.parents)))
"""How stage I's joints hang together: limbs from the neck outwards; for the codes, neck and hips hang on the pelvis."""

CODE_BONES = tuple((PELVIS if parent < 0 else parent, joint) for joint, parent in enumerate(TREE.parents))
"""The bones of the codes as pairs of XNECT_21's joints (whose first 14 are XNECT_14's)."""


@dataclass(frozen=True)
class Config:
    """Stage I's backbone (without classifier), widths of its head, input (width, height); stage II's width and blocks."""

    backbone: SelecSLSConfig = replace(CONFIGS["60"], head=(), classes=0)
    shared: int = 256
    raised: int = 192
    width_2d: int = 128
    width_3d: int = 160
    input_size: tuple[int, int] = (512, 320)
    stage_two: int = 1024
    blocks: int = 2

    def __post_init__(self) -> None:
        multiple = self.backbone.multiple
        if any(side < multiple or side % multiple for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be positive multiples of {multiple}, as the backbone's strides are")

    @property
    def cells(self) -> tuple[int, int]:
        """Size of the maps (width, height): one level finer than the backbone's last."""
        step = self.backbone.multiple // 2
        return (self.input_size[0] // step, self.input_size[1] // step)


_NANO = SelecSLSConfig((level(8, 2, 16), level(16, 2, 32), level(32, 2, 64)), stem=8)


def _with(name: str) -> Config:
    return Config(replace(CONFIGS[name], head=(), classes=0))


VARIANTS: dict[str, Config] = {
    "nano": Config(_NANO, 48, 48, 32, 40, (128, 64), 192, 1),
    "42": _with("42"),
    "60": Config(),
    "84": _with("84"),
    "102": _with("102"),
}


class Maps(NamedTuple):
    """Stage I's answer: heat maps (J joints and the background), affinity fields (2 per limb), codes (3 per joint)."""

    heatmaps: Float[Tensor, "b j1 h w"]
    affinity: Float[Tensor, "b l2 h w"]
    codes: Float[Tensor, "b j3 h w"]


class StageOne(nn.Module):
    """Normalised pictures (b, 3, h, w) -> maps of stride 8. The 3D branch sees what the 2D branch has found."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        joints, limbs = TREE.joints, len(TREE.limbs)
        self.backbone = SelecSLS(config.backbone)
        self.shared = Block(self.backbone.channels[-1], block_widths(config.shared, config.shared))
        self.up = deconvolutions((config.shared, config.raised))
        self.branch_2d = nn.Sequential(unit(config.raised, config.width_2d, 3), unit(config.width_2d, config.width_2d, 3))
        self.heatmaps = nn.Conv2d(config.width_2d, joints + 1, 1)
        self.affinity = nn.Conv2d(config.width_2d, 2 * limbs, 1)
        seen = config.raised + joints + 2 * limbs
        self.branch_3d = nn.Sequential(unit(seen, config.width_3d, 3), unit(config.width_3d, config.width_3d, 3))
        self.codes = nn.Conv2d(config.width_3d, 3 * joints, 1)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Maps:
        x = self.up(self.shared(self.backbone(image)[-1]))
        flat = self.branch_2d(x)
        heatmaps, affinity = self.heatmaps(flat), self.affinity(flat)
        codes = self.codes(self.branch_3d(torch.cat((x, heatmaps[:, : TREE.joints], affinity), 1)))
        return Maps(heatmaps, affinity, codes)


class StageTwo(nn.Module):
    """Features of people (`codecs.part_affinity.features`) -> their 21 joints around the pelvis, metres of a person of 1.70 m."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.lifter = Lifter(FEATURES * TREE.joints, 3 * len(XNECT_21), config.stage_two, config.blocks)

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n 21 3"]:
        points = self.lifter(features).unflatten(1, (len(XNECT_21), 3))
        return points - points[:, PELVIS, None]


class XNect(nn.Module):
    """Both stages that are learnt. They are trained apart and run apart: people are found between them (`codec`)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.one = StageOne(config)
        self.two = StageTwo(config)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Maps:
        return self.one(image)


def codec(config: Config) -> PartAffinity:
    """Targets and decoding of stage I. Sigma and width are those of a 512-pixel input, in proportion for others."""
    zoom = config.input_size[0] / 512
    return PartAffinity(TREE, config.input_size, config.cells, sigma=max(7.0 * zoom, 4.0), half_width=max(8.0 * zoom, 5.0))


def stage_one_loss(
    maps: Maps, target: Maps, code_mask: Bool[Tensor, "b j3 h w"], labelled: Float[Tensor, "b j1"] | None = None
) -> dict[str, Float[Tensor, ""]]:
    """Losses "heatmaps", "affinity" (squared), "codes" (smooth L1 in centimetres, where the mask allows) and the weighted sum "total".

    labelled: (b, J + 1) 0 where a picture's labels leave a joint out (then the background is 0 too); limbs count where both ends do.
    An empty batch gives 0.
    """
    weight = target.heatmaps.new_ones(target.heatmaps.shape[:2]) if labelled is None else labelled
    first, second = (torch.tensor([limb[end] for limb in TREE.limbs], device=weight.device) for end in (0, 1))
    limb_weight = (weight[:, first] * weight[:, second]).repeat_interleave(2, 1)

    def squared(found: Tensor, wanted: Tensor, share: Tensor) -> Tensor:
        return ((found - wanted).float().square() * share[..., None, None]).sum() / max(found.numel(), 1)

    apart = F.smooth_l1_loss(CENTIMETRES * maps.codes.float(), CENTIMETRES * target.codes.float(), reduction="none")
    out = {
        "heatmaps": squared(maps.heatmaps, target.heatmaps, weight),
        "affinity": squared(maps.affinity, target.affinity, limb_weight),
        "codes": (apart * code_mask).sum() / code_mask.sum().clamp(min=1),
    }
    total = HEATMAP_WEIGHT * out["heatmaps"] + AFFINITY_WEIGHT * out["affinity"] + CODE_WEIGHT * out["codes"]
    return {**out, "total": total}


def stage_two_loss(points: Float[Tensor, "n 21 3"], target: Float[Tensor, "n 21 3"]) -> Float[Tensor, ""]:
    """Smooth L1 of the joints in decimetres, and a tenth of that of the bones. An empty batch gives 0."""
    if not len(points):
        return points.sum()
    parents = [max(parent, 0) for parent in PARENTS]
    bones = [joint for joint, parent in enumerate(PARENTS) if parent >= 0]

    def difference(found: Tensor, wanted: Tensor) -> Tensor:
        return F.smooth_l1_loss(10 * found, 10 * wanted)

    lengths = [(x - x[:, parents])[:, bones].norm(dim=-1) for x in (points, target)]
    return difference(points, target) + BONE_WEIGHT * difference(*lengths)


def with_backbone(config: Config, backbone: SelecSLS) -> XNect:
    """A fresh network of `config` on a published backbone, whole or pruned (copied, its classifier left out): the way to train one."""
    plain = replace(backbone.config, head=(), classes=0)
    model = XNect(replace(config, backbone=plain))
    pour(model.one.backbone, {n: v for n, v in backbone.state_dict().items() if not n.startswith(("head.", "classifier."))})
    return model


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The configuration of our own file of both stages. Raises WeightsError if it is none. The size of the input is the published one."""
    backbone = infer_selecsls(state, "one.backbone.")
    if backbone is None:
        raise WeightsError("the state dict has no SelecSLS backbone: it is not a checkpoint of this system; check which file was given")
    blocks = sum(name.endswith("layers.0.0.weight") and name.startswith("two.") for name in state)
    return Config(
        backbone,
        shared=need(state, "one.shared.conv6.0.weight", 4)[0],
        raised=need(state, "one.up.0.weight", 4)[1],
        width_2d=need(state, "one.heatmaps.weight", 4)[1],
        width_3d=need(state, "one.codes.weight", 4)[1],
        stage_two=need(state, "two.lifter.last.weight", 2)[1],
        blocks=blocks,
    )


def from_published(state: Mapping[str, Tensor]) -> tuple[SelecSLSConfig | Config, SelecSLS | XNect]:
    """A published SelecSLS classifier (its own names or timm's; whole, fused, or pruned), or our own file of both stages; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    if any(name.startswith(("one.", "two.")) for name in renamed):
        config = infer_config(renamed)
        model: SelecSLS | XNect = XNect(config)
    else:
        config = infer_selecsls(renamed)
        if config is None:
            raise WeightsError("the state dict's shapes are no SelecSLS network's: it is another system's; check which file was given")
        model = SelecSLS(config)
    pour(model, renamed)
    return config, model.eval()


def variant_of(config: SelecSLSConfig | Config) -> str:
    """The published name of a backbone, such as "selecsls60_b", or "xnect-" and its size; pruned ones with the channels they have left."""
    plain = config if isinstance(config, SelecSLSConfig) else config.backbone
    known = {name: value for name, value in CONFIGS.items() if value.levels == plain.levels and value.stem == plain.stem}
    fits = [name for name, value in known.items() if value.head == plain.head] or sorted(known)
    size = fits[0].lower() if fits else f"-{plain.levels[-1][-1][-1]}-channels"
    if isinstance(config, SelecSLSConfig):
        return f"selecsls{size}" + ("-fused" if plain.fused else "")
    nano = config.backbone == _NANO
    return "xnect-nano" if nano else f"xnect-{size.lstrip('-')}"


def exported(config: SelecSLSConfig | Config, model: SelecSLS | XNect) -> Exported:
    """What of stage I goes into an ONNX file. Raises WeightsError for a classifier of things."""
    if isinstance(config, SelecSLSConfig):
        raise WeightsError("a SelecSLS classifier names things, not poses: put it into XNect (xnect.with_backbone), and train that")
    width, height = config.input_size
    card = Card(
        *(variant_of(config), "pose3d", f"{variant_of(config)}.onnx", config.input_size, IMAGENET_MEAN, IMAGENET_STD),
        skeleton=XNECT_14.name,
        family="XNect",
        subject="body",
    )
    return Exported(model.one, {"image": (3, height, width)}, Maps._fields, card)


CARDS: tuple[Card, ...] = ()
"""None: a card describes a network that the ground floor can run, and no weights of stages I and II were ever published."""
