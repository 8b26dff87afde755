"""RTMPose, RTMW and RTMW3D: SimCC keypoints from a person crop (Jiang et al. 2023, arXiv 2303.07399; Jiang et al. 2024, arXiv 2407.08634).

Idea
    A crop passes a CSPNeXt backbone. A 7x7 convolution makes one coarse map (stride 32) per keypoint; flattened, each map is the token of
    its keypoint. Tokens exchange information in one gated attention unit. Two linear classifiers then say, for each keypoint, in which
    of 2W columns and 2H rows of half a pixel it lies (SimCC): no heat map and no up-sampling, so it is fast on a CPU.

    RTMW adds detail for hands, face and feet: a neck mixes strides 8, 16 and 32, and a keypoint's token has two halves, one from the map of
    stride 32 and one from that of stride 16, to which the coarse map is shuffled up. RTMW3D adds a third classifier, depth behind the hips.

Paper -> here
    RTMPose fig. 2 (network)               RTMPose, Head
    RTMW fig. 2 (network), HEM             RTMW, HierarchicalHead
    SimCC (2107.03332) classification      SimCC, SimCC3D, simcc_loss
    RTMW's and RTMW3D's training losses    rtmw_loss, rtmw3d_loss
    GAU (2202.10447)                       vitruvian.nn.gau.GAU
    CSPNeXt (2212.07784), PAFPN            vitruvian.nn.cspnext.CSPNeXt, vitruvian.nn.pafpn.PAFPN
    decoding, targets                      vitruvian.codecs.simcc, vitruvian.codecs.simcc3d

    family    keypoints (published files)   sizes          input (height x width)
    RTMPose   17, 21, 26, 106, 133          t, s, m, l, x  256x192, 256x256, 384x288
    RTMW      133                           m, l, x        256x192, 384x288
    RTMW3D    133                           l, x           384x288, 288 deep

Published figures (whole AP on COCO-WholeBody v1.0 val, flip test): RTMW-m 58.2, l 66.0, x 67.2; at 384x288 l 70.1, x 70.2; RTMW3D-l 67.8,
x 68.0, with an MPJPE on H3WB of 0.056 and 0.057 m. Cards of the published files: `vitruvian.weights.published`.

Deviations
    None for inference. `reduction="mean"` also divides a loss by the batch size; the published ones do not, which ties the learning rate to
    the batch. RTMW3D's bone-length term is left out: the release takes it at the arg-max, where it has no gradient. `dropout` acts on the
    attention weights, a place that the card does not name. The nano networks (for tests) shrink the head's kernel and tokens too.

Licences
    Published code: Apache-2.0 (open-mmlab/mmpose). Published weights: no text of their own; trained on annotations for non-commercial
    research (whole-body RTMPose: COCO-WholeBody, UBody; RTMW: several of its 14 sets). Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.codecs.normalise import IMAGENET_MEAN, IMAGENET_STD
from vitruvian.errors import WeightsError
from vitruvian.nn.cspnext import BASE_WIDTHS, ConvBlock, CSPNeXt, stage_depths
from vitruvian.nn.gau import GAU, ScaleNorm
from vitruvian.nn.pafpn import PAFPN
from vitruvian.systems.checkpoint import filled, need, rename
from vitruvian.systems.export import Exported, keypoint_set
from vitruvian.weights import Card

STRIDE = 32
SPLIT = 2  # bins per pixel
FACE = slice(23, 91)  # of the 133 keypoints
FACE_WEIGHT = 0.5  # in RTMW's loss

# Published names are our names; only what training containers add is dropped.
KEYMAP: tuple[tuple[str, str], ...] = ((r"^module\.", ""),)
DROP = (r"^(module\.)?data_preprocessor\.",)


@dataclass(frozen=True)
class Config:
    """A network of the family. `input_size` is (width, height) in pixels, both multiples of 32.

    `levels` 1 is RTMPose: tokens from the map of stride 32. 2 is RTMW: neck, and tokens from strides 32 and 16, half of `token` each.
    `z_size` is the depth of the crop in its own units (`codecs.simcc3d`), 0 for a network in two dimensions.
    """

    width: float
    depth: float
    input_size: tuple[int, int] = (192, 256)
    keypoints: int = 133
    token: int = 256  # length of a keypoint's token
    shared: int = 128  # query/key width of the attention
    kernel: int = 7  # of the head's convolutions
    levels: Literal[1, 2] = 1
    z_size: int = 0
    dropout: float = 0.0  # of the attention weights, in training

    def __post_init__(self) -> None:
        if any(side < STRIDE or side % STRIDE for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be positive multiples of {STRIDE}")


SIZES: dict[str, tuple[float, float]] = {  # width and depth factors of the backbone
    "nano": (0.125, 0.167),
    "t": (0.375, 0.167),
    "s": (0.5, 0.33),
    "m": (0.75, 0.67),
    "l": (1.0, 1.0),
    "x": (1.25, 1.33),
}
VARIANTS: dict[str, Config] = {
    "nano": Config(*SIZES["nano"], (96, 128), token=64, shared=32, kernel=3),
    "t": Config(*SIZES["t"]),
    "s": Config(*SIZES["s"]),
    "m": Config(*SIZES["m"]),
    "l": Config(*SIZES["l"]),
    "l-384": Config(*SIZES["l"], (288, 384)),
    "x": Config(*SIZES["x"]),
    "x-384": Config(*SIZES["x"], (288, 384)),
    "rtmw-nano": Config(*SIZES["nano"], (96, 128), token=64, shared=32, kernel=3, levels=2),
    "rtmw-m": Config(*SIZES["m"], levels=2),
    "rtmw-l": Config(*SIZES["l"], levels=2),
    "rtmw-l-384": Config(*SIZES["l"], (288, 384), levels=2),
    "rtmw-x": Config(*SIZES["x"], levels=2),
    "rtmw-x-384": Config(*SIZES["x"], (288, 384), levels=2),
    "rtmw3d-nano": Config(*SIZES["nano"], (96, 128), token=64, shared=32, kernel=3, levels=2, z_size=96),
    "rtmw3d-l": Config(*SIZES["l"], (288, 384), levels=2, z_size=288, dropout=0.1),
    "rtmw3d-x": Config(*SIZES["x"], (288, 384), levels=2, z_size=288),
}


class SimCC(NamedTuple):
    """Per keypoint, a raw score for each half-pixel column and row of the crop (logits), or target densities of the same shape."""

    x: Float[Tensor, "b k 2w"]
    y: Float[Tensor, "b k 2h"]


class SimCC3D(NamedTuple):
    """As `SimCC`, with bins of depth."""

    x: Float[Tensor, "b k 2w"]
    y: Float[Tensor, "b k 2h"]
    z: Float[Tensor, "b k 2d"]


class Classifiers(nn.Module):
    """The end of every head: attention between tokens, and a classifier for each axis."""

    def __init__(self, config: Config):
        super().__init__()
        width, height = config.input_size
        self.gau = GAU(config.token, config.shared, dropout=config.dropout)
        self.cls_x = nn.Linear(config.token, width * SPLIT, bias=False)
        self.cls_y = nn.Linear(config.token, height * SPLIT, bias=False)
        self.cls_z = nn.Linear(config.token, config.z_size * SPLIT, bias=False) if config.z_size else None
        for classifier in (self.cls_x, self.cls_y, self.cls_z):
            if classifier is not None:
                nn.init.normal_(classifier.weight, std=0.01)

    def classify(self, tokens: Float[Tensor, "b k d"]) -> SimCC | SimCC3D:
        """Tokens -> logits of the axes."""
        tokens = self.gau(tokens)
        x, y = self.cls_x(tokens), self.cls_y(tokens)
        return SimCC(x, y) if self.cls_z is None else SimCC3D(x, y, self.cls_z(tokens))


def token_maker(cells: int, length: int) -> nn.Sequential:
    """A keypoint's flattened map of so many cells -> its token, or a part of it."""
    return nn.Sequential(ScaleNorm(cells), nn.Linear(cells, length, bias=False))


class Head(Classifiers):
    """RTMPose's head ("RTMCC"): features of stride 32 -> SimCC logits."""

    def __init__(self, channels: int, config: Config):
        super().__init__(config)
        width, height = config.input_size
        self.final_layer = nn.Conv2d(channels, config.keypoints, config.kernel, padding=config.kernel // 2)
        self.mlp = token_maker((width // STRIDE) * (height // STRIDE), config.token)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> SimCC | SimCC3D:
        return self.classify(self.mlp(self.final_layer(features).flatten(2)))


class HierarchicalHead(Classifiers):
    """RTMW's head: maps of strides 16 (c/2 channels) and 32 (c channels) -> SimCC logits. ReLU, unlike the backbone."""

    def __init__(self, channels: int, config: Config):
        super().__init__(config)
        width, height = config.input_size
        cells = (width // STRIDE) * (height // STRIDE)
        shuffled = channels // 4

        def conv(inputs: int, outputs: int) -> ConvBlock:
            return ConvBlock(inputs, outputs, config.kernel, activation=F.relu)

        self.final_layer = conv(channels, config.keypoints)
        self.conv_dec = conv(shuffled, shuffled)
        self.final_layer2 = conv(shuffled + channels // 2, config.keypoints)
        self.mlp = token_maker(cells, config.token // 2)
        self.mlp2 = token_maker(4 * cells, config.token // 2)

    def forward(self, fine: Float[Tensor, "b c/2 2h 2w"], coarse: Float[Tensor, "b c h w"]) -> SimCC | SimCC3D:
        first = self.mlp(self.final_layer(coarse).flatten(2))  # (b, k, token / 2)
        decoded = self.conv_dec(F.pixel_shuffle(coarse, 2))  # (b, c / 4, 2h, 2w)
        second = self.mlp2(self.final_layer2(torch.cat((decoded, fine), 1)).flatten(2))
        return self.classify(torch.cat((first, second), 2))


class RTMPose(nn.Module):
    """Normalised RGB crops -> SimCC logits, x (b, k, 2W) and y (b, k, 2H). `features` and `head` can be called apart (distillation)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = CSPNeXt(config.width, config.depth)
        self.head = Head(self.backbone.channels[-1], config)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """What the head takes: the map of stride 32."""
        return self.backbone(image)[2:]

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> SimCC | SimCC3D:
        return self.head(*self.features(image))


class RTMW(nn.Module):
    """Normalised RGB crops -> SimCC logits, x (b, k, 2W), y (b, k, 2H), and in three dimensions z (b, k, 2D)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = CSPNeXt(config.width, config.depth)
        self.neck = PAFPN(self.backbone.channels)
        self.head = HierarchicalHead(self.backbone.channels[-1], config)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """What the head takes: the neck's maps of strides 16 and 32."""
        return self.neck(self.backbone(image))[1:]

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> SimCC | SimCC3D:
        return self.head(*self.features(image))


def network(config: Config) -> RTMPose | RTMW:
    """The network of a configuration, its weights drawn at random."""
    return (RTMPose if config.levels == 1 else RTMW)(config)


def bin_divergence(
    prediction: Float[Tensor, "b k n"], target: Float[Tensor, "b k n"], beta: float, target_beta: float
) -> Float[Tensor, "b k"]:
    """KL( softmax(target_beta * target) || softmax(beta * prediction) ) summed over the bins, in float32."""
    log_q = F.log_softmax(prediction.float() * beta, -1)
    log_p = F.log_softmax(target.float() * target_beta, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


Reduction = Literal["published", "mean"]
"""How a loss is summed up: "published" over batch and keypoints, divided by the number of keypoints; "mean" by the batch size as well."""


def simcc_loss(
    prediction: SimCC | SimCC3D,
    target: SimCC | SimCC3D,
    weight: Float[Tensor, "b k"] | tuple[Float[Tensor, "b k"], ...],
    beta: float = 10.0,
    target_beta: float = 10.0,
    reduction: Reduction = "published",
) -> Float[Tensor, ""]:
    """The label loss: per axis the KL divergence, averaged over bins, weighted per keypoint; the axes added (DWPose card, section 6).

    `target` holds the un-normalised Gaussians of the codec. `weight` is the same for all axes, or a tuple with one for each.
    An empty batch gives 0.
    """
    weights = weight if isinstance(weight, tuple) else (weight,) * len(prediction)
    axes = zip(prediction, target, weights, strict=True)
    total = sum((bin_divergence(p, t, beta, target_beta) * w).sum() / p.shape[-1] for p, t, w in axes)
    batch, keypoints = weights[0].shape
    return total / (keypoints * (max(batch, 1) if reduction == "mean" else 1))


def rtmw_loss(prediction: SimCC, target: SimCC, weight: Float[Tensor, "b 133"], reduction: Reduction = "published") -> Float[Tensor, ""]:
    """RTMW's label loss (card, section 6.2): predictions are not sharpened, and the face's points weigh half.

    The first is why RTMW's raw scores reach 5 to 6.
    """
    weight = weight.clone()
    weight[:, FACE] *= FACE_WEIGHT
    return simcc_loss(prediction, target, weight, beta=1.0, reduction=reduction)


def rtmw3d_loss(
    prediction: SimCC3D,
    target: SimCC3D,
    weight: Float[Tensor, "b k"],
    depth_weight: Float[Tensor, "b k"],
    reduction: Reduction = "published",
) -> Float[Tensor, ""]:
    """RTMW3D's label loss (card, section 6.3). `depth_weight` is 0 for people whose keypoints are known in two dimensions only."""
    return simcc_loss(prediction, target, (weight, weight, depth_weight), reduction=reduction)


def infer_config(state: Mapping[str, Tensor]) -> Config:
    """The variant that a state dict in our names belongs to, from its shapes. Raises WeightsError if they contradict each other.

    Entries of the head alone are enough for all but `depth`, which is 1 then.
    """
    levels = 2 if "head.final_layer.conv.weight" in state else 1
    keypoints, channels, kernel, _ = need(state, f"head.final_layer.{'conv.' if levels == 2 else ''}weight", 4)
    token, cells = need(state, "head.mlp.1.weight", 2)
    width, height = (need(state, f"head.cls_{axis}.weight", 2)[0] // SPLIT for axis in "xy")
    z_size = need(state, "head.cls_z.weight", 2)[0] // SPLIT if "head.cls_z.weight" in state else 0
    if width % STRIDE or height % STRIDE or not 0 < cells == (width // STRIDE) * (height // STRIDE):
        raise WeightsError(f"tokens of {cells} cells don't fit an input of {width}x{height}: the file is not of the RTMPose family")
    if channels < 32 or channels % 8:
        raise WeightsError(f"a head on {channels} channels fits no backbone: the file is not of the RTMPose family")
    prefixes = [f"backbone.stage{i}.{2 if i == 4 else 1}.blocks." for i in range(1, 5)]
    blocks = tuple(len({name.split(".")[4] for name in state if name.startswith(prefix)}) for prefix in prefixes)
    depth = next((c.depth for c in VARIANTS.values() if stage_depths(c.depth) == blocks), blocks[1] / 6 or 1.0)
    shared = need(state, "head.gau.gamma", 2)[1]
    found = Config(channels / BASE_WIDTHS[-1], depth, (width, height), keypoints, token * levels, shared, kernel, levels, z_size)
    # Dropout leaves no trace in the weights.
    return next((config for config in VARIANTS.values() if replace(config, dropout=0.0) == found), found)


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, RTMPose | RTMW]:
    """Build the network that a published RTMPose, DWPose, RTMW or RTMW3D state dict describes and fill it; in eval mode.

    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    renamed = rename(state, KEYMAP, DROP)
    config = infer_config(renamed)
    return config, filled(network, config, renamed)


def family(config: Config) -> str:
    """The published name: RTMPose, RTMW or RTMW3D."""
    return "RTMW3D" if config.z_size else "RTMW" if config.levels == 2 else "RTMPose"


def variant_of(config: Config) -> str:
    """Family, size, keypoints and input as height x width, such as "rtmw-l-133-384x288"; sizes that are not published as "w0.3-d1"."""
    factors = (config.width, config.depth)
    size = next((name for name, known in SIZES.items() if known == factors), f"w{config.width:g}-d{config.depth:g}")
    width, height = config.input_size
    return f"{family(config).lower()}-{size}-{config.keypoints}-{height}x{width}"


def exported(config: Config, model: RTMPose | RTMW, skeleton: str = "") -> Exported:
    """What goes into an ONNX file: the raw logits. `skeleton` names the keypoint set; "" takes the usual one of so many keypoints.

    Raises as `keypoint_set`.
    """
    width, height = config.input_size
    card = Card(
        id=variant_of(config),
        task="pose3d" if config.z_size else "pose2d",
        file=f"{variant_of(config)}.onnx",
        input_size=config.input_size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        skeleton=keypoint_set(config.keypoints, skeleton),
        split_ratio=float(SPLIT),
        codec="simcc3d" if config.z_size else "simcc",
        family=family(config),
    )
    outputs = ("simcc_x", "simcc_y", "simcc_z")[: 3 if config.z_size else 2]
    return Exported(model, {"input": (3, height, width)}, outputs, card)
