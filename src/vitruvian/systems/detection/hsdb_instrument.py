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
    decoding, product classes (section 4)             find_instruments, Instruments.product_labels
    labels and added synthetic labels (section 6)     data.hsdb_labels.LABELS; repeat_factors, weights of `loss` against the imbalance
    per-class AP table (section 7)                    ap_table

    encoding                classes of the network               for
    instruments first       I instruments, head, wrist, body     parts are shared by all instruments: rare ones borrow from common ones

Deviations
    The published baselines (mmdetection 1.1: Cascade R-CNN, FoveaBox, RetinaNet) are not re-made and their checkpoints are not read: no key
    table could be prepared. What is trained here is another network: its figures are no reproduction of the paper's.
    Encoding (b) of the card, the full product classes in the head, is not here; `product_labels` gives the classes for its tables.

Licences
    Data: no licence seen; surgical video, treat as research only. Baseline code: Apache-2.0 upstream. Nothing of either is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitruvian.codecs.anchors import Candidates, select, uncentre, uncentre_boxes
from vitruvian.codecs.association import PartSet, Thresholds, hang_parts, owners_of
from vitruvian.codecs.detections import Detections
from vitruvian.data.hsdb_instrument import (
    CHOLECYSTECTOMY,
    GASTRECTOMY,
    PARTS,
    Tied,
    instrument_of,
    instruments_of,
    part_of,
)
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes, box_average_precision
from vitruvian.nn.anchors import Matched, corners, decode, detection_loss, match, picture_size
from vitruvian.nn.csp_darknet import AnchorNet, Levels
from vitruvian.systems.detection.anchor_family import SIZES, Trunk, gains, size_name
from vitruvian.systems.detection.bpjdet import PART_GAIN, Targets, part_loss
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

__all__ = ["CHOLECYSTECTOMY", "GASTRECTOMY", "PARTS", "instrument_of", "instruments_of", "part_of"]

SLOTS = PartSet(("instrument", *PARTS), PARTS)
"""How parts are hung: class k + 1 of this set on slot k."""


@dataclass(frozen=True)
class Config:
    """A detector of these instruments and their parts. `input_size` (width, height), multiples of the largest stride, is for export."""

    width: float
    depth: float
    instruments: tuple[str, ...]
    input_size: tuple[int, int] = (960, 960)
    levels: Levels = 4

    @property
    def classes(self) -> tuple[str, ...]:
        """What the network tells apart: instruments, then parts."""
        return (*self.instruments, *PARTS)

    @property
    def trunk(self) -> Trunk:
        """The network without the meaning of its outputs."""
        return Trunk(self.width, self.depth, 5 + len(self.classes) + 2 * len(PARTS), self.levels)


VARIANTS: dict[str, Config] = {
    "nano": Config(*SIZES["nano"], instruments_of(CHOLECYSTECTOMY), (256, 256), levels=3),
    **{f"cholecystectomy-{size}": Config(*SIZES[size], instruments_of(CHOLECYSTECTOMY)) for size in ("s", "m", "l")},
    **{f"gastrectomy-{size}": Config(*SIZES[size], instruments_of(GASTRECTOMY)) for size in ("s", "m", "l")},
}
CARDS: tuple[Card, ...] = ()
"""Nothing is published that these networks could load."""


def network(config: Config) -> AnchorNet:
    """The network of a configuration, its weights drawn at random: image (b, 3, h, w) in [0, 1] -> raw heads, see `nn.csp_darknet`."""
    model = config.trunk.build()
    model.start_scores(len(config.classes))
    return model


class Deployed(nn.Module):
    """A network with the decoding behind it: boxes (b, n, 4) xyxy and points (b, n, 6) in pixels of the input, scores (b, n, classes)."""

    def __init__(self, network: AnchorNet, classes: int):
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        rows = decode(self.network(image), self.network.anchors, self.network.strides, self.classes, len(PARTS))
        return corners(rows), rows[..., 4:5] * rows[..., 5 : 5 + self.classes], rows[..., 5 + self.classes :]


def exported(config: Config, model: AnchorNet) -> Exported:
    """What goes into an ONNX file: boxes, scores and points of every anchor, before suppression (`find_instruments`)."""
    width, height = config.input_size
    name = f"hsdb-instrument-{size_name(config.width, config.depth)}{2 + config.levels}"
    scale = (0.0,) * 3, (255.0,) * 3
    card = Card(name, "detection", f"{name}.onnx", config.input_size, *scale, classes=config.classes, family="hSDB-instrument")
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


@dataclass(frozen=True, eq=False)
class Instruments:
    """The instruments of one picture, best first: boxes of the wholes, their names' indices, and the row of `parts` in each slot, -1 empty.

    parts: all that were detected; labels index PARTS.
    """

    wholes: Detections
    part: Int[np.ndarray, "n 3"]
    parts: Detections

    @property
    def owners(self) -> Int[np.ndarray, " m"]:
        """The instrument of each part, -1 for none."""
        return owners_of(self.part, len(self.parts))

    def product_labels(self, instruments: Sequence[str], classes: Sequence[str]) -> Int[np.ndarray, " m"]:
        """Each part's class of the data set's list, by its instrument or, where it hangs on none, the nearest; -1 where there is none."""
        middles = [(found.boxes[:, :2] + found.boxes[:, 2:]) / 2 for found in (self.parts, self.wholes)]
        owners, out = self.owners, np.full(len(self.parts), -1)
        for row, label in enumerate(self.parts.labels.tolist()):
            if len(self.wholes):
                nearest = np.linalg.norm(middles[1] - middles[0][row], axis=1).argmin()
                whole = owners[row] if owners[row] >= 0 else nearest
                name = f"{instruments[self.wholes.labels[whole]]}_{PARTS[label].capitalize()}"
                out[row] = classes.index(name) if name in classes else -1
        return out

    def outline(self, row: int) -> Float[np.ndarray, "k 2"]:
        """The convex hull of an instrument's parts, of the whole box where it has none: tighter than the box of an oblique tool."""
        hung = self.part[row][self.part[row] >= 0]
        boxes = self.parts.boxes[hung] if len(hung) else self.wholes.boxes[row : row + 1]
        return hull(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2))


def hull(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "k 2"]:
    """Corners of the convex hull."""
    import cv2

    return cv2.convexHull(np.asarray(points, np.float32))[:, 0]


def find_instruments(
    candidates: Candidates,
    instruments: int,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds = Thresholds(inside=0.9),  # noqa: B008  (frozen)
) -> Instruments:
    """Decoded rows of one picture -> its instruments with their parts, in pixels of the picture of `size` (width, height).

    instruments: how many classes come before the parts. A part lies wholly in its instrument, so more of it must than for people.
    """
    t = thresholds
    wholes, extras = select(candidates, range(instruments), t.body_score, t.body_iou)
    parts, _ = select(candidates, range(instruments, instruments + len(PARTS)), t.part_score, t.part_iou)
    wholes = Detections(uncentre_boxes(wholes.boxes, input_size, size), wholes.scores, wholes.labels)
    parts = Detections(uncentre_boxes(parts.boxes, input_size, size), parts.scores, parts.labels - instruments)
    hooks = uncentre(extras.reshape(-1, len(PARTS), 2), input_size, size)
    numbered = Detections(parts.boxes, parts.scores, parts.labels + 1)
    _, part = hang_parts(wholes.boxes, hooks, numbered, SLOTS, t.inside)
    return Instruments(wholes, part, parts)


def repeat_factors(present: Bool[np.ndarray, "n c"], share: float = 0.1) -> Float[np.ndarray, " n"]:
    """(n,) how often to draw each picture, at least 1: a class that is in fewer than `share` of the pictures is drawn more often.

    present: (n, c) which classes each picture holds. A picture counts for its rarest class: max sqrt(share / frequency), as LVIS does
    (Gupta et al., arXiv 1908.03195).
    """
    often = present.mean(0) if len(present) else np.zeros(present.shape[1])
    factors = np.sqrt(np.maximum(share / np.maximum(often, 1e-9), 1.0))
    return np.where(present, factors, 1.0).max(1, initial=1.0)


def ap_table(truth: TrueBoxes, found: FoundBoxes, classes: Sequence[str]) -> tuple[list[tuple[str, int, float, float]], dict[str, float]]:
    """Rows (class, boxes to find, AP, AP50) as the paper reports them, and the means over the classes that there are to find.

    Classes without ground truth have NaN and don't count: several are in one split only (card section 6). The means also say over how
    many classes they are.
    """
    scores = box_average_precision(truth, found, len(classes))
    counts = np.bincount(truth.labels[~truth.crowd], minlength=len(classes))
    rows = [
        (name, int(counts[i]), *(float(scores[key][i]) if counts[i] else float("nan") for key in ("AP", "AP50")))
        for i, name in enumerate(classes)
    ]
    some = counts > 0
    means = {key: float(scores[key][some].mean()) if some.any() else float("nan") for key in ("AP", "AP50", "AP75")}
    return rows, means | {"classes": float(some.sum())}


def table_text(rows: Sequence[tuple[str, int, float, float]], means: Mapping[str, float]) -> str:
    """The table as Markdown, in per cent."""
    lines = ["| class | boxes | AP | AP50 |", "|---|---|---|---|"]
    lines += [f"| {name} | {count} | {_percent(ap)} | {_percent(half)} |" for name, count, ap, half in rows]
    lines.append(f"| mean over {means['classes']:.0f} classes | | {_percent(means['AP'])} | {_percent(means['AP50'])} |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
