"""RMPG, reconstructed: refinement of a pose network's feature map by a parse graph (Liu, Xie, Shi 2025, arXiv 2501.11069).

Idea
    A body is a tree of parts, and what one part looks like says where its siblings are. RMPG makes that tree out of a feature map: the map
    is the root; it is split along its channels into children, and these again. From the leaves up, a node's children are put together and
    every place of every child attends to all places of all of them (context between siblings); the context is added. What comes out at the
    root has the shape that went in, so the module fits into any heat-map network. With heat maps of real body parts as targets of the
    nodes, the same machinery learns the relations between those parts.

What is the paper's, what is ours (card rmpg.md; no readable reference of the module exists)
    the paper's    feature map as root, recursion along channels, context between siblings, refinement bottom-up, supervised nodes, groups
                   (2, 2), the hosts, the published figures
    inferred       context as attention over (place, child) tokens, from a follow-up's code; three 3x3 convolutions per node, from the
                   published numbers of parameters (+27.9 M on ViTPose-B: ours adds 27.9 M)
    ours           normalisation, gamma (0 at the start: the module begins as the identity), leaves with two groups, pooled keys and values
                   on large maps, the place of insertion, the tree of supervised parts, its union maps and loss weights

Paper -> here
    parse graph                      Part, split_evenly, body_tree
    module                           Node (RMPG)
    hosts with the module inside     PoseNetwork; `vitruvian.systems.backbones`
    hierarchical network             Config.parts, part_targets
    losses                           heatmap_loss, loss

    host (COCO val2017 AP, published)         alone         + RMPG (2, 2)    parameters
    SimpleBaselines R50, 256x192              71.8          72.5             38.0 M published, ours 37.1 M
    SimpleBaselines R101, 256x192             72.8          73.1             57.0 M published, ours 56.1 M
    Hourglass-52, 256x256                     72.6          74.0             98.0 M published, ours 96.8 M
    ViTPose-B, 256x192                        75.7 to 75.8  76.1             117.9 M published and ours

Deviations
    All of the module, see above. The hosts are the published ones: the file of a one-stack hourglass holds a residual block that is never
    used (1.2 M), which is dropped; ViTPose's first files keep a class token's place, which is added to all others, as they do at run time.
    HRNet is a host too (not in the paper).

Licences
    Published code of RMPG: licence not known, not seen. Hosts: Apache-2.0 (open-mmlab/mmpose, ViTAE-Transformer/ViTPose); weights without a
    text of their own, trained on COCO (annotations CC-BY 4.0). Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.codecs.heatmap import Heatmap
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.nn.deconv import DeconvHead, final_layer
from vitruvian.skeletons import COCO_17
from vitruvian.systems.backbones import (
    Backbone,
    HourglassConfig,
    ResNetConfig,
    ViTConfig,
    grid_of,
    infer_backbone,
    title,
    unused,
)
from vitruvian.systems.checkpoint import need, pour, rename
from vitruvian.systems.export import Exported, keypoint_set
from vitruvian.weights import Card

LEAF_GROUPS = 2
FULL_ATTENTION = 1024  # tokens of a node up to which every token is a key
POOLED_CELLS = 16 * 12  # keys per group on larger maps, at most
PART_WEIGHT = 0.5  # of the supervised nodes, beside the network's own maps

# In this order: containers, SimpleBaselines' first release (no prefixes) [mem], the old toolkit's head, ViTPose in the old and new toolkit.
KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),
    (r"^(conv1|bn1|layer[1-4])\.", r"backbone.\1."),
    (r"^(deconv_layers|final_layer)\.", r"head.\1."),
    (r"^keypoint_head\.", "head."),
    (r"^backbone\.last_norm\.", "backbone.norm."),
    (r"^backbone\.patch_embed\.projection\.", "backbone.patch_embed.proj."),
    (r"^backbone\.layers\.(\d+)\.ln(\d)\.", r"backbone.blocks.\1.norm\2."),
    (r"^backbone\.layers\.(\d+)\.ffn\.layers\.0\.0\.", r"backbone.blocks.\1.mlp.fc1."),
    (r"^backbone\.layers\.(\d+)\.ffn\.layers\.1\.", r"backbone.blocks.\1.mlp.fc2."),
    (r"^backbone\.layers\.", "backbone.blocks."),
    (r"^backbone\.ln1\.", "backbone.norm."),
)
DROP = (r"^(module\.)?data_preprocessor\.", r"^(module\.)?backbone\.cls_token$")


@dataclass(frozen=True)
class Part:
    """A node of a parse graph: its children, and the joints whose heat maps supervise it (none: it is not supervised)."""

    joints: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()


def split_evenly(groups: tuple[int, ...]) -> Part:
    """The unsupervised tree that splits into groups[0] children, each of which splits into groups[1], and so on."""
    return Part(parts=(split_evenly(groups[1:]),) * groups[0]) if groups else Part()


def body_tree(depth: Literal["limbs", "joints"]) -> Part:
    """COCO's 17 keypoints as upper body (head, arms) and lower body (legs); "joints" splits the limbs once more. The root has no maps."""

    def limb(*names: str) -> Part:
        joints = tuple(COCO_17.index(name) for name in names)
        return Part(joints, tuple(Part((joint,)) for joint in joints) if depth == "joints" else ())

    def limbs(*joints: str) -> tuple[Part, ...]:
        return tuple(limb(*(f"{side}_{joint}" for joint in joints)) for side in ("left", "right"))

    def over(parts: tuple[Part, ...]) -> Part:
        return Part(tuple(joint for part in parts for joint in part.joints), parts)

    head = limb("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    return Part(parts=(over((head, *limbs("shoulder", "elbow", "wrist"))), over(limbs("hip", "knee", "ankle"))))


def supervised(tree: Part) -> Iterator[Part]:
    """The parts that have heat maps, a parent before its children."""
    if tree.joints:
        yield tree
    for part in tree.parts:
        yield from supervised(part)


@dataclass(frozen=True)
class Config:
    """A host and what refines it. `input_size` is (width, height).

    `host` without `groups` and `parts` is the published network alone. `parts` supervises the nodes with the body's own tree, on a map that
    is brought to `part_width` channels first; `deconvs` are the widths of the head's deconvolutions (none in hourglasses and HRNet).
    """

    host: Backbone = ResNetConfig()
    input_size: tuple[int, int] = (192, 256)
    keypoints: int = 17
    deconvs: tuple[int, ...] = (256, 256, 256)
    groups: tuple[int, ...] = (2, 2)
    parts: Literal["", "limbs", "joints"] = ""
    part_width: int = 360
    attention: Literal["auto", "full", "pooled"] = "auto"

    def __post_init__(self) -> None:
        multiple = self.host.multiple
        if any(side < multiple or side % multiple for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be positive multiples of {multiple}, as the host's strides are")
        if self.parts and self.keypoints != len(COCO_17):
            raise ValueError(f"the tree of parts is COCO's, of {len(COCO_17)} keypoints, not {self.keypoints}: use groups instead")
        if self.parts and (self.groups or isinstance(self.host, HourglassConfig)):
            raise ValueError("supervised parts need a host with one map, and no groups beside them: leave groups empty")

    @property
    def tree(self) -> Part | None:
        """The parse graph; None for a host alone."""
        return body_tree(self.parts) if self.parts else split_evenly(self.groups) if self.groups else None


_NANO = ResNetConfig((1, 1, 1, 1), False, 8)
VARIANTS: dict[str, Config] = {
    "nano": Config(_NANO, (64, 64), deconvs=(32, 32, 32)),
    "hourglass-nano": Config(HourglassConfig(2, (32, 32, 48), (1, 1, 2), 16), (64, 64), deconvs=()),
    "vitpose-nano": Config(ViTConfig(64, 2, 1, (4, 3)), (48, 64), deconvs=(32, 32)),
    "parts-nano": Config(_NANO, (64, 64), deconvs=(32, 32, 32), groups=(), parts="limbs", part_width=48),
    "simplebaselines-r50": Config(),
    "simplebaselines-r101": Config(ResNetConfig((3, 4, 23, 3))),
    "hourglass-52": Config(HourglassConfig(), (256, 256), deconvs=()),
    "vitpose-b": Config(ViTConfig(drop_path=0.3), deconvs=(256, 256)),
    "hierarchical-r50": Config(groups=(), parts="joints"),
}


class Node(nn.Module):
    """One node of the parse graph, with all below: a map (b, c, h, w) -> the refined map, and the heat maps of its supervised parts."""

    def __init__(self, width: int, tree: Part, attention: Literal["auto", "full", "pooled"] = "auto"):
        super().__init__()
        self.groups = len(tree.parts) or LEAF_GROUPS
        if width % self.groups:
            raise ValueError(f"{width} channels can't be split into {self.groups} groups: choose a width that the tree's splits divide")
        self.attention = attention
        self.parts = nn.ModuleList(Node(width // self.groups, part, attention) for part in tree.parts)
        self.norm = nn.BatchNorm2d(width)
        self.qkv = nn.Conv2d(width, 3 * width, 3, padding=1)
        self.gamma = nn.Parameter(torch.zeros(()))
        joints = len(tree.joints)
        self.maps = final_layer(width, joints + (joints > 1)) if joints else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], tuple[Float[Tensor, "b m h w"], ...]]:
        below: tuple[Tensor, ...] = ()
        if self.parts:
            refined, maps = zip(*(part(y) for part, y in zip(self.parts, x.chunk(self.groups, 1), strict=True)), strict=True)
            x, below = torch.cat(refined, 1), tuple(m for some in maps for m in some)
        x = x + self.gamma * self.context(x)
        return x, below if self.maps is None else (self.maps(x), *below)

    def context(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What every place of every child learns from all places of all of them."""
        query, key, value = self.qkv(F.relu(self.norm(x))).chunk(3, 1)
        size = (x.shape[2], x.shape[3])
        if self.attention == "pooled" or (self.attention == "auto" and self.groups * size[0] * size[1] > FULL_ATTENTION):
            key, value = pooled(key), pooled(value)
        out = F.scaled_dot_product_attention(*(self._tokens(y) for y in (query, key, value)))
        return out.squeeze(1).unflatten(1, (self.groups, -1)).transpose(2, 3).flatten(1, 2).unflatten(2, size)

    def _tokens(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 n d"]:
        """Maps -> one token for each child at each place, child by child."""
        return x.unflatten(1, (self.groups, -1)).flatten(3).transpose(2, 3).flatten(1, 2).unsqueeze(1)


def pooled(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Means over squares, the smallest that leave at most 16 x 12 cells; a rest at the right and at the bottom is left out."""
    height, width = x.shape[2], x.shape[3]
    side = next(s for s in range(1, height * width + 1) if (height // s) * (width // s) <= POOLED_CELLS)
    return F.avg_pool2d(x, min(side, height, width))


class Predictions(NamedTuple):
    """Heat maps of every stack, the last one being the answer; and those of the supervised parts, in the order of `supervised`."""

    maps: tuple[Float[Tensor, "b k h w"], ...]
    parts: tuple[Float[Tensor, "b m h w"], ...]


class StackedHead(nn.Module):
    """A 1x1 convolution to heat maps for every stack of an hourglass."""

    def __init__(self, channels: tuple[int, ...], keypoints: int):
        super().__init__()
        self.multi_final_layers = nn.ModuleList(final_layer(width, keypoints) for width in channels)


class PoseNetwork(nn.Module):
    """Normalised RGB crops -> heat maps (b, k, h / 4, w / 4): a host, with a parse graph at each of its places if it has a tree.

    The places: each map of an hourglass; ViT's map, before the deconvolutions (`early`); else, and for supervised parts, the map before the
    heat maps.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = config.host.build()
        self.reduce = nn.Identity()
        self.early = isinstance(config.host, ViTConfig) and not config.parts
        tree = config.tree
        if isinstance(config.host, HourglassConfig):
            self.head: nn.Module = StackedHead(self.backbone.channels, config.keypoints)
            widths = self.backbone.channels
        else:
            # A deconvolution head starts from the coarsest map, a bare 1x1 convolution from the finest.
            channels = self.backbone.channels[-1 if config.deconvs else 0]
            self.head = DeconvHead(channels, config.keypoints, config.deconvs)
            widths = (channels if self.early else self.head.final_layer.in_channels,)
            if config.parts:
                self.reduce = nn.Conv2d(widths[0], config.part_width, 1)
                self.head.final_layer = final_layer(config.part_width, config.keypoints)
                widths = (config.part_width,)
        self.refine = nn.ModuleList(Node(width, tree, config.attention) for width in widths if tree)

    def predictions(self, image: Float[Tensor, "b 3 h w"]) -> Predictions:
        """All that is trained: the maps of every stack, and of every supervised part."""
        features = self.backbone(image)
        if isinstance(self.head, StackedHead):
            refined = [self._refined(x, i) for i, x in enumerate(features)]
            layers = self.head.multi_final_layers
            return Predictions(tuple(layer(x) for layer, (x, _) in zip(layers, refined, strict=True)), ())
        x = features[-1 if self.config.deconvs else 0]
        if self.early:
            return Predictions((self.head(self._refined(x, 0)[0]),), ())
        x, parts = self._refined(self.reduce(self.head.deconv_layers(x)), 0)
        return Predictions((self.head.final_layer(x),), parts)

    def _refined(self, x: Float[Tensor, "b c h w"], place: int) -> tuple[Float[Tensor, "b c h w"], tuple[Float[Tensor, "b m h w"], ...]]:
        return self.refine[place](x) if len(self.refine) else (x, ())

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h2 w2"]:
        return self.predictions(image).maps[-1]


def codec(config: Config) -> Heatmap:
    """Targets and decoding, as the host is trained: UDP for ViTPose, else the nearest cell and a quarter-cell step; sigma 2 cells."""
    width, height = config.input_size
    return Heatmap((width, height), (width // 4, height // 4), "udp" if isinstance(config.host, ViTConfig) else "quarter", 2.0)


def heatmap_loss(prediction: Float[Tensor, "b k h w"], target: Float[Tensor, "b k h w"], weight: Float[Tensor, "b k"]) -> Float[Tensor, ""]:
    """Mean of the squared differences, weighted per keypoint, over everything; in float32. An empty batch gives 0."""
    difference = (prediction.float() - target.float()).square() * weight[..., None, None]
    return difference.sum() / max(difference.numel(), 1)


def part_targets(
    part: Part, target: Float[Tensor, "b k h w"], weight: Float[Tensor, "b k"]
) -> tuple[Float[Tensor, "b m h w"], Float[Tensor, "b m"]]:
    """Heat maps and weights for one supervised node: those of its joints, and (of several joints) their union, the highest of all.

    The union counts only where all of its joints are labelled: else it would teach that a joint nobody marked is not there.
    """
    joints = list(part.joints)
    maps, weights = target[:, joints], weight[:, joints]
    if len(joints) == 1:
        return maps, weights
    return torch.cat((maps, maps.amax(1, keepdim=True)), 1), torch.cat((weights, weights.amin(1, keepdim=True)), 1)


def loss(
    predictions: Predictions, target: Float[Tensor, "b k h w"], weight: Float[Tensor, "b k"], tree: Part | None = None
) -> Float[Tensor, ""]:
    """The heat-map loss of every stack added up, and half of that of every supervised node of `tree` (the config's)."""
    total = sum(heatmap_loss(maps, target, weight) for maps in predictions.maps)
    parts = supervised(tree) if tree else ()
    return total + PART_WEIGHT * sum(
        heatmap_loss(maps, *part_targets(part, target, weight)) for part, maps in zip(parts, predictions.parts, strict=True)
    )


def with_refinement(model: PoseNetwork, groups: tuple[int, ...] = (2, 2)) -> PoseNetwork:
    """A host's weights (copied) with fresh parse graphs inside, which start as the identity: the way to refine a published network.

    Raises ValueError when the host's channels can't be split so.
    """
    refined = PoseNetwork(replace(model.config, groups=groups, parts=""))
    fresh = {name: value for name, value in refined.state_dict().items() if name.startswith("refine.")}
    pour(refined, {**{n: v for n, v in model.state_dict().items() if not n.startswith("refine.")}, **fresh})
    return refined.train(model.training)


def fold_class_place(state: Mapping[str, Tensor], name: str = "backbone.pos_embed") -> dict[str, Tensor]:
    """ViTPose's first files: the place of a class token, which there is not, is added to every other place at run time; done once here."""
    out = dict(state)
    if name in out and out[name].ndim == 3 and not grid_of(out[name].shape[1]) and grid_of(out[name].shape[1] - 1):
        out[name] = out[name][:, 1:] + out[name][:, :1]
    return out


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The host and tree of a state dict in our names. Raises WeightsError if it is none.

    The size of the input is ViT's own, and else the published one (256x256 for hourglasses, 256x192): the weights don't tell.
    """
    host = infer_backbone(state)
    stacked = isinstance(host, HourglassConfig)
    keypoints, width = need(state, "head.multi_final_layers.0.weight" if stacked else "head.final_layer.weight", 4)[:2]
    deconvs = tuple(
        need(state, name, 4)[1] for i in range(8) if (name := f"head.deconv_layers.{3 * i}.weight") in state and state[name].ndim == 4
    )
    size = (max(256, host.multiple),) * 2 if stacked else (192, 256)
    if isinstance(host, ViTConfig):
        size = (host.grid[1] * host.patch, host.grid[0] * host.patch)
    groups, place = [], "refine.0."
    while children := len({name[len(place) :].split(".")[1] for name in state if name.startswith(f"{place}parts.")}):
        groups.append(children)
        place += "parts.0."
    parts = ("joints" if len(groups) > 2 else "limbs") if "reduce.weight" in state else ""
    if parts and (stacked or keypoints != len(COCO_17)):
        raise WeightsError(f"supervised parts are for {len(COCO_17)} keypoints and hosts with one map: the file is not of this system")
    found = Config(host, size, keypoints, deconvs, () if parts else tuple(groups), parts, *((width,) if parts else ()))
    known = next((known for known in VARIANTS.values() if _traces(known) == _traces(found)), found)
    return replace(known, input_size=size)


def _traces(config: Config) -> tuple[object, ...]:
    """What of a configuration the weights tell."""
    host = replace(config.host, drop_path=0.0) if isinstance(config.host, ViTConfig) else config.host
    return host, config.keypoints, config.deconvs, config.groups, config.parts, config.part_width if config.parts else 0


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, PoseNetwork]:
    """Build the network of a published SimpleBaselines, hourglass, ViTPose or HRNet checkpoint, or of ours with parse graphs; in eval mode.

    RMPG's own files were never seen, so their names are not known. Raises WeightsError, which lists every entry that doesn't fit.
    """
    renamed = fold_class_place(rename(state, KEYMAP, DROP))
    renamed = rename(renamed, drop=unused(renamed))
    config = infer_config(renamed)
    try:
        model = PoseNetwork(config)
    except ValueError as error:
        raise WeightsError(f"the checkpoint's shapes contradict each other: {error}") from error
    pour(model, renamed)
    return config, model.eval()


def family(config: Config) -> str:
    """ "RMPG", or the name of a host alone."""
    if config.tree:
        return "RMPG"
    names = {HourglassConfig: "Hourglass", ViTConfig: "ViTPose", ResNetConfig: "SimpleBaselines"}
    return names.get(type(config.host), "HRNet")


def variant_of(config: Config) -> str:
    """Family, host, groups, keypoints and input as height x width, such as "rmpg-resnet50-2-2-17-256x192"."""
    width, height = config.input_size
    tree = [config.parts] if config.parts else [str(group) for group in config.groups]
    return "-".join([family(config).lower(), title(config.host), *tree, str(config.keypoints), f"{height}x{width}"])


def exported(config: Config, model: PoseNetwork, skeleton: str = "") -> Exported:
    """What goes into an ONNX file: the heat maps; the heads of supervised parts are left out. Raises as `keypoint_set`."""
    width, height = config.input_size
    card = Card(
        *(variant_of(config), "pose2d", f"{variant_of(config)}.onnx", config.input_size, IMAGENET_MEAN, IMAGENET_STD),
        skeleton=keypoint_set(config.keypoints, skeleton),
        codec="heatmap-udp" if isinstance(config.host, ViTConfig) else "heatmap",
        family=family(config),
    )
    return Exported(model, {"input": (3, height, width)}, ("heatmaps",), card)
