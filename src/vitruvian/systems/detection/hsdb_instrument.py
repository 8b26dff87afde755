"""hSDB-instrument: surgical instruments and their parts (Yoon et al., MICCAI 2021, arXiv 2110.12555), on BPJDet's representation.

Idea
    The data set gives laparoscopic and robotic instruments boxes for their functional parts - head, wrist, body - because where the head is
    says what is being done, and the box of an oblique shaft is mostly background. It is a data set with baseline detectors, and no field
    says which parts are one instrument. Here [ours, card hsdb-instrument.md section 4] an instrument is an object with three slots, as a
    person with parts is for BPJDet: one pass finds instruments, parts, and whose the parts are.

Card -> here
    class lists, class tree (section 2)               CHOLECYSTECTOMY, GASTRECTOMY, instrument_of, part_of, instruments_of
    which parts are one instrument (section 4)        tie_parts
    network, loss (section 4; card bpjdet.md)         Config, network, loss on `nn.csp_darknet` and `nn.anchors`
    decoding, product classes (section 4)             vitruvian.codecs.instruments
    labels and added synthetic labels (section 6)     data.hsdb_labels.LABELS; repeat_factors, weights of `loss` against the imbalance
    per-class AP table (section 7)                    vitruvian.data.judge_instruments

    encoding                classes of the network               for
    instruments first       I instruments, head, wrist, body     parts are shared by all instruments: rare ones borrow from common ones

Deviations
    The published baselines (mmdetection 1.1: Cascade R-CNN, FoveaBox, RetinaNet) are not re-made and their checkpoints are not read: no key
    table could be prepared. What is trained here is another network: its figures are no reproduction of the paper's.
    Encoding (b) of the card, the full product classes in the head, is not here; `Instruments.products` gives the classes for its tables.
    A network carries the names of its instruments as a tensor ("instrument_names"): shapes don't tell them.

Licences
    Data: no licence seen; surgical video, treat as research only. Baseline code: Apache-2.0 upstream. Nothing of either is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitruvian.codecs.instruments import PARTS
from vitruvian.data.hsdb_instrument import CHOLECYSTECTOMY, GASTRECTOMY, Tied, instrument_of, instruments_of, part_of
from vitruvian.errors import WeightsError
from vitruvian.nn.anchors import Matched, corners, decode, detection_loss, match, picture_size
from vitruvian.nn.csp_darknet import AnchorNet, Levels, Release
from vitruvian.systems.detection.anchor_family import DROP as DROP
from vitruvian.systems.detection.anchor_family import SIZES, Trunk, fill, gains, infer_trunk, read_names, size_name, spelt, told_size
from vitruvian.systems.detection.bpjdet import PART_GAIN, Targets, part_loss
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

__all__ = ["CHOLECYSTECTOMY", "GASTRECTOMY", "PARTS", "instrument_of", "instruments_of", "part_of"]

_NAMES = "instrument_names"


@dataclass(frozen=True)
class Config:
    """A detector of these instruments and their parts.

    `input_size` (width, height), multiples of the largest stride, is for training and export.
    """

    width: float
    depth: float
    instruments: tuple[str, ...]
    input_size: tuple[int, int] = (960, 960)
    levels: Levels = 4
    release: Release = 5

    @property
    def classes(self) -> tuple[str, ...]:
        """What the network tells apart: instruments, then parts."""
        return (*self.instruments, *PARTS)

    @property
    def trunk(self) -> Trunk:
        """The network without the meaning of its outputs."""
        return Trunk(self.width, self.depth, 5 + len(self.classes) + 2 * len(PARTS), self.levels, self.release)


VARIANTS: dict[str, Config] = {
    "nano": Config(*SIZES["nano"], instruments_of(CHOLECYSTECTOMY), (256, 256), levels=3),
    "gastrectomy-nano": Config(*SIZES["nano"], instruments_of(GASTRECTOMY), (256, 256), levels=3),
    **{f"cholecystectomy-{size}": Config(*SIZES[size], instruments_of(CHOLECYSTECTOMY)) for size in ("s", "m", "l")},
    **{f"gastrectomy-{size}": Config(*SIZES[size], instruments_of(GASTRECTOMY)) for size in ("s", "m", "l")},
}
CARDS: tuple[Card, ...] = ()
"""Nothing is published that these networks could load."""


def network(config: Config) -> AnchorNet:
    """The network of a configuration, its weights drawn at random: image (b, 3, h, w) in [0, 1] -> raw heads, see `nn.csp_darknet`."""
    model = _built(config)
    model.start_scores(len(config.classes))
    return model


def _built(config: Config) -> AnchorNet:
    """The network with the names of its instruments: UTF-8, a line each."""
    model = config.trunk.build()
    model.register_buffer(_NAMES, spelt(config.instruments))
    return model


def from_published(state: Mapping[str, Tensor]) -> tuple[Config, AnchorNet]:
    """Build the network that a state dict of ours describes and fill it, in eval mode: nothing is published.

    Size and levels are inferred from the shapes; the names of the instruments are in it.
    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    trunk = infer_trunk(state)
    instruments = read_names(state, _NAMES)
    if not instruments or set(instruments) & set(PARTS):
        raise WeightsError(f"the state dict names no instruments ({_NAMES}): it is a checkpoint of another system")
    size = told_size(state, trunk, Config.input_size)
    config = Config(trunk.width, trunk.depth, instruments, size, trunk.levels, trunk.release)
    if config.trunk.outputs != trunk.outputs:
        raise WeightsError(f"{trunk.outputs} outputs per anchor are not those of {len(instruments)} instruments: the checkpoint is damaged")
    return config, fill(lambda: _built(config), state, trunk)


class Deployed(nn.Module):
    """A network with the decoding behind it: boxes (b, n, 4) xyxy and points (b, n, 6) in pixels of the input, scores (b, n, classes)."""

    def __init__(self, network: AnchorNet, classes: int):
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        rows = decode(self.network(image), self.network.anchors, self.network.strides, self.classes, len(PARTS))
        return corners(rows), rows[..., 4:5] * rows[..., 5 : 5 + self.classes], rows[..., 5 + self.classes :]


def variant_of(config: Config) -> str:
    """Number of instruments, size and levels, such as "hsdb-instrument-10-s6"."""
    return f"hsdb-instrument-{len(config.instruments)}-{size_name(config.width, config.depth)}{2 + config.levels}"


def exported(config: Config, model: AnchorNet) -> Exported:
    """What goes into an ONNX file: boxes, scores and points of every anchor, before suppression (`codecs.instruments`)."""
    width, height = config.input_size
    name, scale = variant_of(config), ((0.0,) * 3, (255.0,) * 3)
    what = {"classes": config.classes, "family": "hSDB-instrument", "codec": "bpjdet"}
    card = Card(name, "detection", f"{name}.onnx", config.input_size, *scale, **what)
    return Exported(Deployed(model, len(config.classes)), {"image": (3, height, width)}, ("boxes", "scores", "points"), card)


def targets_of(tied: Tied, instruments: Sequence[str]) -> Targets:
    """The objects of one picture: instruments with the middles of their parts, parts with the middle of theirs; instruments in none of
    `instruments` are left out with their parts. Points of ambiguous ones are NaN: they teach boxes only."""
    rows = [i for i, name in enumerate(tied.names) if name in instruments]
    boxes, labels, points = [], [], []
    for i in rows:
        seen = np.flatnonzero(np.isfinite(tied.parts[i, :, 0]))
        middles = (tied.parts[i, :, :2] + tied.parts[i, :, 2:]) / 2
        whole = np.full((len(PARTS), 2), np.nan)
        boxes.append(tied.wholes[i])
        labels.append(instruments.index(tied.names[i]))
        points.append(np.full_like(whole, np.nan) if tied.ambiguous[i] else middles)
        for part in seen:
            own = whole.copy()
            if not tied.ambiguous[i]:
                own[0] = (tied.wholes[i, :2] + tied.wholes[i, 2:]) / 2
            boxes.append(tied.parts[i, part])
            labels.append(len(instruments) + int(part))
            points.append(own)
    count = len(boxes)
    return Targets(
        torch.as_tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        torch.tensor(labels, dtype=torch.long),
        torch.zeros(count, dtype=torch.long),
        torch.as_tensor(np.array(points, np.float32).reshape(-1, len(PARTS), 2)),
    )


def loss(
    model: AnchorNet,
    raw: list[Float[Tensor, "b 3 _ _ c"]],
    targets: Targets,
    classes: int,
    weights: Float[Tensor, " c"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """BPJDet's multi-loss for several kinds of objects: "box", "objectness", "class", "part" with their gains, and "total"; float32.

    weights: (classes,) by which the class loss of an object's rows counts, for rare classes; None for all alike.
    """
    matched = match(raw, model.anchors, model.strides, targets)
    terms = detection_loss(raw, matched, model.strides, targets, classes)
    if weights is not None:
        terms["class"] = _weighted_class_loss(matched, targets, classes, weights)
    gain = gains(len(raw), classes, picture_size(raw, model.strides))
    out = {name: gain[name] * value for name, value in terms.items()}
    out["part"] = PART_GAIN * 3 / len(raw) * part_loss(matched, model.strides, targets, classes)
    out["total"] = sum(out.values())
    return out


def _weighted_class_loss(matched: list[Matched], targets: Targets, classes: int, weights: Tensor) -> Float[Tensor, ""]:
    total = torch.zeros((), device=matched[0].rows.device)
    for pairs in matched:
        if len(pairs.target):
            labels = targets.labels.to(total.device)[pairs.target]
            wanted = nn.functional.one_hot(labels, classes).float()
            each = nn.functional.binary_cross_entropy_with_logits(pairs.rows[:, 5 : 5 + classes], wanted, reduction="none").mean(1)
            share = weights.to(total.device)[labels]
            total = total + (each * share).sum() / share.sum()
    return total


def repeat_factors(present: Bool[np.ndarray, "n c"], share: float = 0.1) -> Float[np.ndarray, " n"]:
    """(n,) how often to draw each picture, at least 1: a class that is in fewer than `share` of the pictures is drawn more often.

    present: (n, c) which classes each picture holds. A picture counts for its rarest class: max sqrt(share / frequency), as LVIS does
    (Gupta et al., arXiv 1908.03195).
    """
    often = present.mean(0) if len(present) else np.zeros(present.shape[1])
    factors = np.sqrt(np.maximum(share / np.maximum(often, 1e-9), 1.0))
    return np.where(present, factors, 1.0).max(1, initial=1.0)
