"""RTMPose whole-body: SimCC keypoints from a person crop (Jiang et al. 2023, arXiv 2303.07399; DWPose's networks, RTMW's base).

Idea
    A crop passes a CSPNeXt backbone. A 7x7 convolution makes one coarse map (stride 32) per keypoint; flattened, each map is the token of
    its keypoint. Tokens exchange information in one gated attention unit. Two linear classifiers then say, for each keypoint, in which
    of 2W columns and 2H rows of half a pixel it lies (SimCC): no heat map and no up-sampling, so it is fast on a CPU.

Paper -> here
    RTMPose fig. 2 (network)            RTMPose, Head
    SimCC (2107.03332) classification   SimCC, simcc_loss
    GAU (2202.10447)                    vitruvian.nn.gau.GAU
    CSPNeXt (2212.07784)                vitruvian.nn.cspnext.CSPNeXt

Deviations
    None for inference. `simcc_loss(reduction="mean")` also divides by the batch size; the published loss does not, which ties the learning
    rate to the batch. `nano` (for tests) shrinks the head's kernel and tokens too.

Licences
    Published code: Apache-2.0 (open-mmlab/mmpose). Published weights: no text of their own, trained on COCO-WholeBody and UBody
    annotations, which are for non-commercial research. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.errors import WeightsError
from vitruvian.nn.cspnext import BASE_WIDTHS, CSPNeXt, stage_depths
from vitruvian.nn.gau import GAU, ScaleNorm
from vitruvian.systems.checkpoint import need, pour, rename

STRIDE = 32
SPLIT = 2  # bins per pixel

# Published names are our names; only what training containers add is dropped.
KEYMAP: tuple[tuple[str, str], ...] = ((r"^module\.", ""),)
DROP = (r"^data_preprocessor\.",)


@dataclass(frozen=True)
class Config:
    """A network of the family. `input_size` is (width, height) in pixels, both multiples of 32."""

    width: float
    depth: float
    input_size: tuple[int, int] = (192, 256)
    keypoints: int = 133
    token: int = 256  # length of a keypoint's token
    shared: int = 128  # query/key width of the attention
    kernel: int = 7  # of the convolution that makes the keypoint maps

    def __post_init__(self) -> None:
        if any(side < STRIDE or side % STRIDE for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be positive multiples of {STRIDE}")


VARIANTS: dict[str, Config] = {
    "nano": Config(0.125, 0.167, (96, 128), token=64, shared=32, kernel=3),
    "t": Config(0.375, 0.167),
    "s": Config(0.5, 0.33),
    "m": Config(0.75, 0.67),
    "l": Config(1.0, 1.0),
    "l-384": Config(1.0, 1.0, (288, 384)),
    "x": Config(1.25, 1.33),
    "x-384": Config(1.25, 1.33, (288, 384)),
}


class SimCC(NamedTuple):
    """Per keypoint, a raw score for each half-pixel column and row of the crop (logits), or target densities of the same shape."""

    x: Float[Tensor, "b k 2w"]
    y: Float[Tensor, "b k 2h"]


class Head(nn.Module):
    """The RTMCC head: stride-32 features -> SimCC logits."""

    def __init__(self, channels: int, config: Config):
        super().__init__()
        width, height = config.input_size
        cells = (width // STRIDE) * (height // STRIDE)
        self.final_layer = nn.Conv2d(channels, config.keypoints, config.kernel, padding=config.kernel // 2)
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, config.token, bias=False))
        self.gau = GAU(config.token, config.shared)
        self.cls_x = nn.Linear(config.token, width * SPLIT, bias=False)
        self.cls_y = nn.Linear(config.token, height * SPLIT, bias=False)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)
        nn.init.normal_(self.cls_x.weight, std=0.01)
        nn.init.normal_(self.cls_y.weight, std=0.01)

    def forward(self, features: Float[Tensor, "b c h w"]) -> SimCC:
        tokens = self.mlp(self.final_layer(features).flatten(2))  # (b, k, token)
        tokens = self.gau(tokens)
        return SimCC(self.cls_x(tokens), self.cls_y(tokens))


class RTMPose(nn.Module):
    """Normalised RGB crops -> SimCC logits, x (b, k, 2W) and y (b, k, 2H). `backbone` and `head` can be called apart (distillation)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = CSPNeXt(config.width, config.depth)
        self.head = Head(self.backbone.channels[-1], config)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> SimCC:
        return self.head(self.backbone(image)[-1])


def bin_divergence(
    prediction: Float[Tensor, "b k n"], target: Float[Tensor, "b k n"], beta: float, target_beta: float
) -> Float[Tensor, "b k"]:
    """KL( softmax(target_beta * target) || softmax(beta * prediction) ) summed over the bins, in float32."""
    log_q = F.log_softmax(prediction.float() * beta, -1)
    log_p = F.log_softmax(target.float() * target_beta, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def simcc_loss(
    prediction: SimCC,
    target: SimCC,
    weight: Float[Tensor, "b k"],
    beta: float = 10.0,
    target_beta: float = 10.0,
    reduction: Literal["published", "mean"] = "published",
) -> Float[Tensor, ""]:
    """The label loss: per axis the KL divergence, averaged over bins, weighted per keypoint; both axes added (DWPose card, section 6).

    `target` holds the un-normalised Gaussians of the codec. "published" sums over batch and keypoints and divides by the number of
    keypoints; "mean" divides by the batch size as well. RTMW uses beta 1 and target_beta 10. An empty batch gives 0.
    """
    total = sum((bin_divergence(p, t, beta, target_beta) * weight).sum() / p.shape[-1] for p, t in zip(prediction, target, strict=True))
    count = weight.shape[1] * (max(weight.shape[0], 1) if reduction == "mean" else 1)
    return total / count


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes. Raises WeightsError if they contradict each other."""
    channels = need(state, "backbone.stage4.0.conv.weight", 4)[0]
    keypoints, _, kernel, _ = need(state, "head.final_layer.weight", 4)
    token, cells = need(state, "head.mlp.1.weight", 2)
    width = need(state, "head.cls_x.weight", 2)[0] // SPLIT
    height = need(state, "head.cls_y.weight", 2)[0] // SPLIT
    if cells != (width // STRIDE) * (height // STRIDE):
        raise WeightsError(f"tokens of {cells} cells don't fit an input of {width}x{height}: the file is not of the RTMPose family")
    prefixes = (f"backbone.stage{i}.{2 if i == 4 else 1}.blocks." for i in range(1, 5))
    blocks = tuple(len({name.split(".")[4] for name in state if name.startswith(prefix)}) for prefix in prefixes)
    depth = next((c.depth for c in VARIANTS.values() if stage_depths(c.depth) == blocks), blocks[1] / 6)
    shared = need(state, "head.gau.gamma", 2)[1]
    return Config(channels / BASE_WIDTHS[-1], depth, (width, height), keypoints, token, shared, kernel)


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, RTMPose]:
    """Build the network that a published RTMPose or DWPose state dict describes and fill it; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    config = infer_config(renamed)
    model = RTMPose(config)
    pour(model, renamed)
    return config, model.eval()
