"""JointBDOE: people and the way their bodies face, in one pass (Zhou et al. 2022, arXiv 2210.15586).

Idea
    Body orientation used to take a crop of every person and a network that sorts it into 72 bins of 5 degrees. Here each anchor of a
    detector says one number more, the angle as a fraction of a turn: detection and orientation share all features, and the cost does not
    grow with the number of people. Only predictions that find a person well teach the angle.

    The angle: 0 faces away from the camera, a quarter of a turn faces the picture's left, a half the camera, three quarters the right;
    seen from above it grows anticlockwise. The direction drawn in the picture is (-sin a, -cos a). It is the torso's, not the head's.

Paper -> here (formulas: card jointbdoe.md, sections 4 to 6)
    unified embedding, network (YOLOv5 P6)    vitruvian.nn.csp_darknet.AnchorNet
    decoding                                  vitruvian.nn.anchors.decode, in numpy vitruvian.codecs.anchors
    losses                                    loss, angle_loss
    suppression, back to the picture          vitruvian.codecs.orientation
    Acc-5 ... Acc-45, MAE                     vitruvian.metrics.orientation
    keys of the checkpoints                   vitruvian.nn.csp_darknet.published_names

Deviations
    The published loss is not circular (355 and 5 degrees are 350 apart) and gates on the objectness LOGIT > 0.2, probability 0.55. What is
    trained here uses `kind="wrapped"`, or the vector head [ours]: two outputs (u, v), taught the unit vector (cos a, sin a), whose
    length is a confidence. `mirrored` is the flip that the published training lacks. `gate=-inf` teaches every answer its angle: small
    networks seldom pass the published gate, and then tell the same heading of everybody (recipes/bpjdet_small.md).
    Where two people want one anchor, objectness is taught the better overlap.

Licences
    Published code: none stated (hnuzhy/JointBDOE; built on YOLOv5, GPL-3.0); weights: not stated; data: MEBOW by request for research,
    pictures of COCO with Flickr's terms. Nothing published is contained here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.errors import WeightsError
from vitruvian.nn import anchors
from vitruvian.nn.anchors import Matched, corners, decode, detection_loss, match, picture_size
from vitruvian.nn.csp_darknet import AnchorNet, Levels, Release
from vitruvian.systems.detection.anchor_family import DROP as DROP
from vitruvian.systems.detection.anchor_family import SIZES, Trunk, fill, gains, infer_trunk, size_name, told_size
from vitruvian.systems.detection.targets import flipped
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

ANGLE_GAIN = 0.05
GATE = 0.2
"""Objectness LOGIT above which a prediction teaches the angle."""

AngleLoss = Literal["published", "wrapped", "dynamic"]


@dataclass(frozen=True)
class Config:
    """A detector of people with orientation. angle: one "fraction" of a turn (published) or a "vector".

    `input_size` (width, height), multiples of the largest stride, is for training and export.
    """

    width: float
    depth: float
    angle: Literal["fraction", "vector"] = "fraction"
    input_size: tuple[int, int] = (1024, 1024)
    levels: Levels = 4
    release: Release = 5

    @property
    def trunk(self) -> Trunk:
        """The network without the meaning of its outputs."""
        return Trunk(self.width, self.depth, 7 if self.angle == "fraction" else 8, self.levels, self.release)


VARIANTS: dict[str, Config] = {
    "nano": Config(*SIZES["nano"], input_size=(256, 256)),
    "nano-vector": Config(*SIZES["nano"], "vector", (256, 256)),
    **{size: Config(*SIZES[size]) for size in ("s", "m", "l")},
    **{f"{size}-vector": Config(*SIZES[size], "vector") for size in ("s", "m", "l")},
}


def network(config: Config) -> AnchorNet:
    """The network of a configuration, its weights drawn at random: image (b, 3, h, w) in [0, 1] -> raw heads, see `nn.csp_darknet`."""
    model = config.trunk.build()
    model.start_scores(1)
    return model


def decode_rows(model: AnchorNet, raw: list[Float[Tensor, "b 3 _ _ c"]]) -> Float[Tensor, "b n c"]:
    """Raw heads -> centre x, y, width, height, objectness, person, fraction of a turn, and for the vector head the vector's length."""
    rows = decode(raw, model.anchors, model.strides, 1, 0)
    if rows.shape[-1] == 7:
        return rows
    vector = torch.cat([level.flatten(1, 3)[..., 6:] for level in raw], 1)
    # A turn is added to negative angles; the remainder operator has no place in some runtimes for floats.
    turn = torch.atan2(vector[..., 1], vector[..., 0]) / (2 * math.pi)
    turn = torch.where(turn < 0, turn + 1, turn)
    return torch.cat((rows[..., :6], turn[..., None], vector.square().sum(-1, keepdim=True).sqrt()), -1)


class Deployed(nn.Module):
    """A network with the decoding behind it: boxes (b, n, 4) xyxy pixels of the input, scores (b, n, 1), angles (b, n, 1 or 2).

    Angles are fractions of a turn; the vector head adds its length. They are the extras of `codecs.anchors.Candidates`.
    """

    def __init__(self, network: AnchorNet):
        super().__init__()
        self.network = network

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        rows = decode_rows(self.network, self.network(image))
        return corners(rows), rows[..., 4:5] * rows[..., 5:6], rows[..., 6:]


@dataclass(frozen=True, eq=False)
class Targets(anchors.Targets):
    """The people of a batch (labels 0) with the fraction of a turn that they face, NaN where nobody knows."""

    turns: Float[Tensor, " g"]


def mirrored(targets: Targets, width: float) -> Targets:
    """The people of pictures of `width` pixels seen in a mirror: a becomes 1 - a."""
    return replace(flipped(targets, width), turns=(1 - targets.turns) % 1)


def angle_loss(matched: list[Matched], targets: Targets, kind: AngleLoss = "published", gate: float = GATE) -> Float[Tensor, ""]:
    """The angle's error in turns: mean over what passes the gate in a level, summed over levels; a level without any gives 0.

    "published": plain difference. "wrapped": the shorter way round. "dynamic": plain, without a gate, times the raw objectness. The vector
    head: 1 - cos of the difference + 0.1 (length - 1)^2, gated. gate: -inf for none.
    """
    total = torch.zeros((), device=matched[0].rows.device)
    for pairs in matched:
        wanted = targets.turns.to(pairs.rows.device)[pairs.target]
        objectness = pairs.rows[:, 4].detach()
        taught = torch.isfinite(wanted) & ((objectness > gate) | (kind == "dynamic"))
        if not taught.any():
            continue
        rows, wanted = pairs.rows[taught], wanted[taught]
        if rows.shape[1] == 8:
            direction = torch.stack((torch.cos(2 * math.pi * wanted), torch.sin(2 * math.pi * wanted)), 1)
            length = (rows[:, 6:].square().sum(1) + 1e-12).sqrt()
            error = 1 - (rows[:, 6:] * direction).sum(1) / length + 0.1 * (length - 1).square()
        else:
            error = (rows[:, 6].sigmoid() - wanted).abs()
            error = torch.minimum(error, 1 - error) if kind == "wrapped" else error
            error = (error * rows[:, 4]).abs() if kind == "dynamic" else error
        total = total + error.mean()
    return total


def loss(
    model: AnchorNet,
    raw: list[Float[Tensor, "b 3 _ _ c"]],
    targets: Targets,
    kind: AngleLoss = "wrapped",
    reduction: Literal["published", "mean"] = "published",
    gate: float = GATE,
) -> dict[str, Float[Tensor, ""]]:
    """The losses of a batch: "box", "objectness", "class" (0: one class), "angle" with their gains, and their sum as "total"; float32.

    "published" multiplies the total by the batch size. gate: see `angle_loss`.
    """
    matched = match(raw, model.anchors, model.strides, targets)
    terms = detection_loss(raw, matched, model.strides, targets, 1)
    gain = gains(len(raw), 1, picture_size(raw, model.strides))
    out = {name: gain[name] * value for name, value in terms.items()}
    out["angle"] = ANGLE_GAIN * 3 / len(raw) * angle_loss(matched, targets, kind, gate)
    out["total"] = sum(out.values()) * (len(raw[0]) if reduction == "published" else 1)
    return out


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, AnchorNet]:
    """Build the network that a published state dict describes and fill it; in eval mode. Ours with vectors are read too.

    A released .pt file is a pickled object: read it with `vitruvian.systems.pickled.read_pickled_module`.
    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    trunk = infer_trunk(state)
    if trunk.outputs not in (7, 8):
        raise WeightsError(f"{trunk.outputs} outputs per anchor are no person with an angle (7 or 8): it is a checkpoint of another system")
    angle, size = "fraction" if trunk.outputs == 7 else "vector", told_size(state, trunk, Config.input_size)
    config = Config(trunk.width, trunk.depth, angle, size, trunk.levels, trunk.release)
    return config, fill(config.trunk.build, state, trunk)


def variant_of(config: Config) -> str:
    """Size, levels, and the head where it is ours, such as "jointbdoe-s6"."""
    return f"jointbdoe-{size_name(config.width, config.depth)}{2 + config.levels}" + ("-vector" if config.angle == "vector" else "")


def exported(config: Config, model: AnchorNet) -> Exported:
    """What goes into an ONNX file: boxes, scores and angles of every anchor, before suppression (`codecs.orientation`)."""
    width, height = config.input_size
    card = _card(variant_of(config), config.input_size)
    return Exported(Deployed(model), {"image": (3, height, width)}, ("boxes", "scores", "angles"), card)


def _card(name: str, size: tuple[int, int]) -> Card:
    means = (0.0,) * 3, (255.0,) * 3
    return Card(name, "detection", f"{name}.onnx", size, *means, classes=("person",), family="JointBDOE", codec="jointbdoe")


CARDS: tuple[Card, ...] = tuple(
    replace(
        _card(f"jointbdoe-{size}6", (1024, 1024)),
        licence_code="none stated; built on GPL-3.0 code",
        licence_weights="not stated",
        licence_data="MEBOW: research, by request; COCO pictures with Flickr's terms",
        figures=dict(zip(("MAE degrees", "Acc-5", "Acc-15", "Acc-22.5", "Acc-30", "Acc-45"), values, strict=True)),
        source="arXiv 2210.15586; hub account HoyerChou, repository JointBDOE (.pt: convert)",
    )
    for size, values in (
        ("s", (13.13, 44.1, 79.9, 88.1, 91.8, 94.2)),
        ("m", (11.91, 46.4, 83.0, 89.7, 92.9, 95.4)),
        ("l", (11.21, 47.5, 83.4, 90.5, 93.8, 96.0)),
    )
)
"""The published networks, with the figures of the card's section 7 on MEBOW's own labels. They are .pt files: convert, then export."""
