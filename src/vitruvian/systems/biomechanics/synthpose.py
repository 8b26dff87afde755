"""SynthPose: a 2D network taught the markers of a movement laboratory from synthetic people (Gozlan et al., WACV 2025, arXiv 2406.09788).

Idea: COCO's 17 points leave the turn of segments open, so that joint angles made of them are wrong though the points are right. A body
model's surface gives dense anatomical markers for free: a point of the surface, posed, is the label, seen or not. Any heat-map network is
fine-tuned with more outputs in its last layer; a mask per keypoint lets synthetic people, and pictures where people clicked 17 joints,
train one head. Its keypoints are those of optical motion capture, so that OpenSim can be run on them as they are.

| the paper's | here |
|---|---|
| 17 + 35 keypoints as vertices of SMPL-X | `marker_points`, synthpose52.toml: points of Anny's surface |
| labels: vertices, translation, pinhole projection; inside the picture counts | `marker_labels` |
| ViTPose-B, -H (256x192), HRNet-W48 + DARK (384x288) with 52 outputs | `VARIANTS`, `rmpg.PoseNetwork` without parse graphs |
| heat-map mean squared error with target weights | `rmpg.heatmap_loss` |
| mixed synthetic and COCO batches | weight 0 where a source does not label a point |

Deviations: Anny for SMPL-X (whose licence forbids commercial use), so that our markers lie where anatomy has them, within a centimetre or
so of the published vertices (never compared: that mesh was not at hand); our synthetic people have the 17 joints labelled too.
From memory of the transformers layout [mem]: the names of ViTPose's entries, and that the first place is added to all others. Its files
with experts (ViTPose+) are refused.
Licences: code MIT; the published weights are tagged Apache-2.0, trained in part on data with non-commercial terms (BEDLAM).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from vitruvian.codecs.heatmap import Heatmap
from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.skeletons import SYNTHPOSE_52, Skeleton
from vitruvian.systems.backbones import HRNetConfig, ResNetConfig, ViTConfig
from vitruvian.systems.checkpoint import rename
from vitruvian.systems.export import Exported, keypoint_set
from vitruvian.systems.pose2d import rmpg
from vitruvian.systems.pose2d.rmpg import Config, PoseNetwork
from vitruvian.weights import Card

KEYPOINTS = len(SYNTHPOSE_52)
_HRNET_SIZE = (288, 384)


def _config(host: object, size: tuple[int, int], deconvs: tuple[int, ...] = ()) -> Config:
    return Config(host, size, KEYPOINTS, deconvs, groups=())


VARIANTS: dict[str, Config] = {
    "nano": _config(ResNetConfig((1, 1, 1, 1), False, 8), (96, 128), (32, 32, 32)),
    "vitpose-nano": _config(ViTConfig(64, 2, 1, (4, 3)), (48, 64), (32, 32)),
    "small": _config(ResNetConfig((2, 2, 2, 2), False, 32), (192, 256), (128, 128, 128)),
    "vitpose-b": _config(ViTConfig(drop_path=0.3), (192, 256), (256, 256)),
    "vitpose-h": _config(ViTConfig(1280, 32, 16, drop_path=0.55), (192, 256), (256, 256)),
    "hrnet-w48": _config(HRNetConfig(finest=True), _HRNET_SIZE),
}
"""The three published ones; two for tests; `small` for a first training on a processor. [ours: nano, small]"""

KEYMAP: tuple[tuple[str, str], ...] = (
    (r"^backbone\.embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^backbone\.embeddings\.position_embeddings$", "backbone.pos_embed"),
    (r"^backbone\.encoder\.layer\.(\d+)\.layernorm_before\.", r"backbone.blocks.\1.norm1."),
    (r"^backbone\.encoder\.layer\.(\d+)\.layernorm_after\.", r"backbone.blocks.\1.norm2."),
    (r"^backbone\.encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"backbone.blocks.\1.attn.proj."),
    (r"^backbone\.encoder\.layer\.(\d+)\.", r"backbone.blocks.\1."),
    (r"^backbone\.layernorm\.", "backbone.norm."),
    (r"^head\.deconv(\d)\.", r"head.deconv_layers.deconv\1."),
    (r"^head\.batchnorm(\d)\.", r"head.deconv_layers.norm\1."),
    (r"^head\.conv\.", "head.final_layer."),
)
"""From the layout of transformers to ours; queries, keys and values are joined after it."""

DROP = (r"^backbone\.embeddings\.cls_token$", *rmpg.DROP)
_ORDER = ("query", "key", "value")


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, PoseNetwork]:
    """The network of a published SynthPose file, in eval mode: ViTPose as transformers keeps it, HRNet as mmpose does; or one of ours.

    ViTPose with any number of keypoints is read; the others must have 52 (rmpg reads them otherwise). Raises WeightsError, which lists
    every entry that doesn't fit.
    """
    renamed = rename(state, KEYMAP, DROP)
    published = any(name.startswith("backbone.embeddings.") for name in state)
    if published:
        if any(".experts." in name for name in renamed):
            raise WeightsError("this is a ViTPose+ with experts, not a classic ViTPose: take synthpose-vitpose-base-hf or -huge-hf")
        renamed = _numbered(_joined(renamed))
    elif (outputs := _outputs(state)) != KEYPOINTS:  # before a large network is built for nothing
        raise WeightsError(f"a heat-map network of {outputs} keypoints, no SynthPose with its {KEYPOINTS}")
    config, model = rmpg.from_published(renamed)
    if config.groups or config.parts:
        raise WeightsError("a network with parse graphs (RMPG), no SynthPose")
    if isinstance(config.host, HRNetConfig):  # convolutions do not tell the size; the published one
        config = replace(config, input_size=_HRNET_SIZE)
        model.config = config
    return config, model


def _outputs(state: Mapping[str, Tensor]) -> int:
    """How many maps the last layer gives, 0 where there is none."""
    return next((len(value) for name, value in state.items() if re.search(r"(^|\.)final_layer\.weight$", name) and value.ndim), 0)


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Separate queries, keys and values as one projection each block."""
    out, parts = {}, {}
    for name, value in state.items():
        found = re.fullmatch(r"(backbone\.blocks\.\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)", name)
        if found:
            parts.setdefault((found[1], found[3]), {})[found[2]] = value
        else:
            out[name] = value
    for (block, kind), found in parts.items():
        if set(found) != set(_ORDER) or len({value.shape for value in found.values()}) > 1:
            raise WeightsError(f"{block} lacks queries, keys or values of one size: the file is damaged")
        out[f"{block}.attn.qkv.{kind}"] = torch.cat([found[name] for name in _ORDER])
    return out


def _numbered(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """deconv1, norm1, deconv2 ... as the places 0, 1, 3 ... in one sequence."""

    def place(found: re.Match[str]) -> str:
        return f"head.deconv_layers.{3 * (int(found[2]) - 1) + (found[1] == 'norm')}."

    return {re.sub(r"^head\.deconv_layers\.(deconv|norm)(\d)\.", place, name): value for name, value in state.items()}


def codec(config: Config) -> Heatmap:
    """Targets and decoding: DARK and sigma 3 for HRNet at 384x288, else as `rmpg.codec`."""
    if not isinstance(config.host, HRNetConfig):
        return rmpg.codec(config)
    width, height = config.input_size
    return Heatmap(config.input_size, (width // 4, height // 4), "dark", 3.0)


def variant_of(config: Config) -> str:
    """Host, keypoints and input as height x width, such as "synthpose-vitpose-768-12-52-256x192"."""
    return f"synthpose-{rmpg.variant_of(config)}"


def exported(config: Config, model: PoseNetwork, skeleton: str | Skeleton = "") -> Exported:
    """What goes into an ONNX file: the heat maps. Raises as `keypoint_set`."""
    width, height = config.input_size
    rule = {"udp": "heatmap-udp", "dark": "heatmap-dark"}.get(codec(config).rule, "heatmap")
    card = Card(
        *(variant_of(config), "pose2d", f"{variant_of(config)}.onnx", config.input_size, IMAGENET_MEAN, IMAGENET_STD),
        skeleton=keypoint_set(config.keypoints, skeleton),
        codec=rule,
        subject="body",
        family="SynthPose",
    )
    return Exported(model, {"input": (3, height, width)}, ("heatmaps",), card)


def _card(name: str, variant: str, account: str, source: str) -> Card:
    config = VARIANTS[variant]
    return Card(
        *(name, "pose2d", f"{name}.onnx", config.input_size, IMAGENET_MEAN, IMAGENET_STD),
        skeleton=SYNTHPOSE_52.name,
        codec="heatmap-dark" if variant.startswith("hrnet") else "heatmap-udp",
        subject="body",
        family="SynthPose",
        licence_code="MIT",
        licence_weights="Apache-2.0",
        licence_data="BEDLAM and other data with non-commercial terms",
        source=f"checkpoint {account}/{name} on the model hub: vitruvian export {source}",
    )


CARDS = (
    _card("synthpose-vitpose-base-hf", "vitpose-b", "stanfordmimi", "model.safetensors"),
    _card("synthpose-vitpose-huge-hf", "vitpose-h", "stanfordmimi", "model.safetensors"),
    _card("synthpose-hrnet-48-mmpose", "hrnet-w48", "stanfordmimi", "the .pth"),
)
"""What is known of the published files; none was at hand, so none was run. The 384x288 HRNet scores by DARK."""
