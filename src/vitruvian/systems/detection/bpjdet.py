"""BPJDet: bodies, their parts, and whose they are, in one pass (Zhou et al., TPAMI 2024, arXiv 2304.10765; ICME 2023, arXiv 2212.07652).

Idea
    A hand without its owner is of no use. To detect bodies and parts and then to guess which belong together goes wrong where people
    overlap. Here every anchor's prediction carries, beside box, objectness and classes, K points: a body says where the middles of
    its K parts are, a part says where the middle of its body is. Association is then read off: the detected part nearest to a body's
    predicted point belongs to it, if most of it lies inside the body's box. No second network; the cost is that of a detector, whatever
    the number of people.

Paper -> here (formulas: card bpjdet.md, sections 4 to 6)
    extended object representation              Targets, targets_of
    network (YOLOv5 P6)                         vitruvian.nn.csp_darknet.AnchorNet
    decoding of boxes and offsets               vitruvian.nn.anchors.decode, in numpy vitruvian.codecs.anchors
    multi-loss                                  loss, part_loss
    association decoding                        vitruvian.codecs.association
    keys of the checkpoints                     vitruvian.nn.csp_darknet.published_names

    parts                         classes                  slots  outputs per anchor
    head or face (CrowdHuman)     person, part             1      9
    hands (BodyHands)             person, hand             2      11
    contact hands (ContactHands)  person, hand             2      19, the last 8 are contact states
    six parts (COCOHumanParts)    person and six           6      24

Deviations
    Where two objects want one anchor, objectness is taught the better overlap, not the last. `reduction="mean"` does not multiply the loss
    by the batch size as the published one does. `mirrored` exchanges sides, so that flips may be used in training; the published one has
    none. `rule="best"` of the association is ours. The anchor-free variants of the journal version have no published code and are not
    here. A plain detector of four, six, seven, ... classes has the shapes of a network for parts: no state dict tells them apart.

Licences
    Published code: GPL-3.0 (hnuzhy/BPJDet, derived from YOLOv5); weights: none stated beyond that; data: CrowdHuman, CityPersons and
    BodyHands for research, COCOHumanParts with COCO's terms. Nothing published is contained here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitruvian.codecs.association import BODY_PARTS, CONTACT_HANDS, FACE, HANDS, HEAD, PartSet, known_part_set
from vitruvian.errors import WeightsError
from vitruvian.nn import anchors
from vitruvian.nn.anchors import Matched, corners, decode, detection_loss, match, picture_size
from vitruvian.nn.csp_darknet import AnchorNet, Levels, Release
from vitruvian.systems.detection.anchor_family import DROP as DROP
from vitruvian.systems.detection.anchor_family import SIZES, Trunk, fill, gains, infer_trunk, size_name, told_parts, told_size
from vitruvian.systems.detection.targets import flipped
from vitruvian.systems.export import Exported
from vitruvian.weights import Card

PART_GAIN = 0.015
STATE_GAIN = 0.01


@dataclass(frozen=True)
class Config:
    """A detector of people and the parts in `part_set`.

    `input_size` (width, height), multiples of the largest stride, is for training and export.
    """

    width: float
    depth: float
    part_set: PartSet = HEAD
    input_size: tuple[int, int] = (1536, 1536)
    levels: Levels = 4
    release: Release = 5

    @property
    def trunk(self) -> Trunk:
        """The network without the meaning of its outputs."""
        outputs = 5 + len(self.part_set.classes) + len(self.part_set.slots) * (2 + self.part_set.states)
        return Trunk(self.width, self.depth, outputs, self.levels, self.release)


_KINDS = {"": HEAD, "face-": FACE, "hands-": HANDS, "contact-": CONTACT_HANDS, "parts-": BODY_PARTS}
VARIANTS: dict[str, Config] = {
    f"{kind}{size}": Config(*SIZES[size], part_set, (256, 256) if size == "nano" else (1536, 1536))
    for kind, part_set in _KINDS.items()
    for size in ("nano", "s", "m", "l")
}


def network(config: Config) -> AnchorNet:
    """The network of a configuration, its weights drawn at random: image (b, 3, h, w) in [0, 1] -> raw heads, see `nn.csp_darknet`."""
    model = config.trunk.build()
    model.start_scores(len(config.part_set.classes))
    return model


class Deployed(nn.Module):
    """A network with the decoding behind it: what is exported.

    Returns boxes (b, n, 4) xyxy and points (b, n, 2K) in pixels of the input, scores (b, n, classes), and for contact hands states in
    [0, 1]. Points and states are the extras of `codecs.anchors.Candidates`.
    """

    def __init__(self, network: AnchorNet, part_set: PartSet):
        super().__init__()
        self.network, self.part_set = network, part_set

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        classes, points = len(self.part_set.classes), len(self.part_set.slots)
        rows = decode(self.network(image), self.network.anchors, self.network.strides, classes, points)
        first, last = 5 + classes, 5 + classes + 2 * points
        out = corners(rows), rows[..., 4:5] * rows[..., 5:first], rows[..., first:last]
        return (*out, rows[..., last:]) if self.part_set.states else out


@dataclass(frozen=True, eq=False)
class Targets(anchors.Targets):
    """The objects of a batch with their points (g, K, 2) in pixels, NaN where there are none, and states (g, K * s), NaN where unsure.

    A body's points are the middles of its parts, a part's first point is the middle of its body. Of a part only the first s states are
    taught.
    """

    points: Float[Tensor, "g k 2"]
    states: Float[Tensor, "g e"] | None = field(default=None)


def targets_of(
    bodies: Float[np.ndarray, "n 4"],
    parts: Float[np.ndarray, "m 4"],
    labels: Int[np.ndarray, " m"],
    owners: Int[np.ndarray, " m"],
    part_set: PartSet,
    contacts: Float[np.ndarray, "m s"] | None = None,
) -> Targets:
    """The objects of one picture: bodies, parts with their class (from 1) and the row of their body, -1 for nobody's.

    Parts without a side fill a body's slots by their left edge. Of several parts for one slot the first counts, the others know their body.
    contacts: of each part its states in [0, 1], NaN where unsure; None: nobody knows.
    """
    points = np.full((len(bodies) + len(parts), len(part_set.slots), 2), np.nan, np.float32)
    middles = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (np.reshape(bodies, (-1, 4)), np.reshape(parts, (-1, 4)))]
    told = np.full((len(parts), part_set.states), np.nan) if contacts is None else contacts
    states = np.full((*points.shape[:2], part_set.states), np.nan, np.float32)
    states[len(bodies) :, 0] = told
    order = np.arange(len(parts)) if part_set.sided else np.argsort(np.reshape(parts, (-1, 4))[:, 0], kind="stable")
    for row in order:
        owner = owners[row]
        if owner < 0:
            continue
        points[len(bodies) + row, 0] = middles[0][owner]
        free = np.isnan(points[owner, :, 0])
        slot = labels[row] - 1 if part_set.sided else int(free.argmax())
        if free[slot]:
            points[owner, slot] = middles[1][row]
            states[owner, slot] = told[row]
    boxes = np.concatenate([np.reshape(bodies, (-1, 4)), np.reshape(parts, (-1, 4))])
    names = np.concatenate([np.zeros(len(bodies), np.int64), np.asarray(labels, np.int64).reshape(-1)])
    columns = (torch.as_tensor(boxes).float(), torch.from_numpy(names), torch.zeros(len(names)).long(), torch.from_numpy(points))
    return Targets(*columns, torch.from_numpy(states).flatten(1) if part_set.states else None)


def mirrored(targets: Targets, width: float, part_set: PartSet) -> Targets:
    """The objects of pictures of `width` pixels seen in a mirror: left parts become right ones; of parts without side the order turns."""
    turned = flipped(targets, width)
    sides = {"left": "right", "right": "left"}
    words = [name.split(" ", 1) for name in part_set.slots]
    other = [" ".join((sides.get(first, first), *rest)) for first, *rest in words]
    swap = torch.tensor([part_set.slots.index(name) for name in other])
    body, labels = targets.labels == 0, targets.labels
    order = torch.arange(len(swap)).repeat(len(labels), 1)  # a part's only point stays where it is
    if part_set.sided:
        labels = torch.cat((torch.zeros(1, dtype=torch.long), swap + 1))[labels]
        order[body] = swap
    else:
        order[body] = order[body].flip(1)
        empty = targets.points[..., 0].isnan().flip(1).long().argsort(dim=1, stable=True)
        order[body] = order.gather(1, empty)[body]  # full slots first
    points = turned.points.gather(1, order[..., None].expand(-1, -1, 2))
    states = targets.states
    if states is not None:
        states = states.unflatten(1, (len(swap), -1))
        states = states.gather(1, order[..., None].expand_as(states)).flatten(1)
    return replace(turned, points=points, labels=labels, states=states)


def part_loss(matched: list[Matched], strides: tuple[int, ...], targets: Targets, classes: int) -> Float[Tensor, ""]:
    """Distance, in strides, between the predicted and the true points: mean over the known ones of a level, summed over levels."""
    total = torch.zeros((), device=matched[0].rows.device)
    count = targets.points.shape[1]
    for pairs, stride in zip(matched, strides, strict=True):
        y = pairs.rows[:, 5 + classes : 5 + classes + 2 * count].sigmoid().unflatten(1, (count, 2))
        wanted = targets.points.to(y.device)[pairs.target] / stride - pairs.cell[:, None]
        known = torch.isfinite(wanted).all(2)
        offsets = ((y * 4 - 2) * pairs.anchor[:, None] - wanted)[known]
        if len(offsets):
            total = total + (offsets.square().sum(1) + 1e-12).sqrt().mean()  # the root of 0 has no gradient
    return total


def state_loss(matched: list[Matched], targets: Targets, classes: int) -> Float[Tensor, ""]:
    """Binary cross-entropy of the contact states that are known: mean over those of a level, summed over levels."""
    total = torch.zeros((), device=matched[0].rows.device)
    first = 5 + classes + 2 * targets.points.shape[1]
    for pairs in matched:
        if targets.states is None:
            break
        wanted = targets.states.to(total.device)[pairs.target]
        known = torch.isfinite(wanted)
        if known.any():
            total = total + F.binary_cross_entropy_with_logits(pairs.rows[:, first:][known], wanted[known])
    return total


def loss(
    model: AnchorNet,
    raw: list[Float[Tensor, "b 3 _ _ c"]],
    targets: Targets,
    part_set: PartSet,
    reduction: Literal["published", "mean"] = "published",
) -> dict[str, Float[Tensor, ""]]:
    """The multi-loss of a batch: "box", "objectness", "class", "part", "state" with their gains, and their sum as "total"; float32.

    "published" multiplies the total by the batch size. A batch without objects teaches objectness only.
    """
    classes = len(part_set.classes)
    matched = match(raw, model.anchors, model.strides, targets)
    terms = detection_loss(raw, matched, model.strides, targets, classes)
    gain = gains(len(raw), classes, picture_size(raw, model.strides))
    out = {name: gain[name] * value for name, value in terms.items()}
    out["part"] = PART_GAIN * 3 / len(raw) * part_loss(matched, model.strides, targets, classes)
    out["state"] = STATE_GAIN * 3 / len(raw) * state_loss(matched, targets, classes)
    out["total"] = sum(out.values()) * (len(raw[0]) if reduction == "published" else 1)
    return out


def infer_part_set(outputs: int, names: Sequence[str] = ()) -> PartSet:
    """Which parts a network of so many outputs per anchor tells apart; see `codecs.association.known_part_set` for `names`.

    Raises WeightsError where the number fits no part set.
    """
    rest = outputs - 5
    if rest == 6:
        return known_part_set(2, 2, 0, names)
    if rest == 14:
        return known_part_set(2, 2, CONTACT_HANDS.states, names)
    slots, other = divmod(rest - 1, 3)  # a class more than slots, two numbers for each
    if other or slots < 1:
        raise WeightsError(f"{outputs} outputs per anchor are no bodies with parts: it is a checkpoint of another system")
    return known_part_set(slots + 1, slots, 0, names)


def from_published(state: Mapping[str, Tensor], parts: Sequence[str] = ()) -> tuple[Config, AnchorNet]:
    """Build the network that a published state dict describes and fill it; in eval mode.

    Size, levels and part set are inferred from the shapes; `parts` names the classes of parts (a face network looks like a head network),
    where the network does not name them itself, as those that were trained here do.
    A released .pt file is a pickled object: read it with `vitruvian.systems.pickled.read_pickled_module`.
    Raises WeightsError, which lists every missing, left-over or wrongly shaped entry.
    """
    trunk = infer_trunk(state)
    part_set = infer_part_set(trunk.outputs, tuple(parts) or told_parts(state))
    size = told_size(state, trunk, Config.input_size)
    config = Config(trunk.width, trunk.depth, part_set, size, trunk.levels, trunk.release)
    return config, fill(config.trunk.build, state, trunk)


def variant_of(config: Config) -> str:
    """Parts, size and levels, such as "bpjdet-head-s6"."""
    kind = "-".join(config.part_set.classes[1:]) if len(config.part_set.classes) < 4 else f"{len(config.part_set.slots)}-parts"
    kind = f"contact-{kind}" if config.part_set.states else kind
    return f"bpjdet-{kind}-{size_name(config.width, config.depth)}{2 + config.levels}".replace(" ", "-")


def exported(config: Config, model: AnchorNet) -> Exported:
    """What goes into an ONNX file: boxes, scores, points (and states) of every anchor, before suppression (`codecs.association`)."""
    width, height = config.input_size
    card = Card(
        id=variant_of(config),
        task="detection",
        file=f"{variant_of(config)}.onnx",
        input_size=config.input_size,
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        classes=config.part_set.classes,
        family="BPJDet",
        codec="bpjdet",
    )
    outputs = ("boxes", "scores", "points", *(("states",) if config.part_set.states else ()))
    return Exported(Deployed(model, config.part_set), {"image": (3, height, width)}, outputs, card)


def _published(kind: str, part_set: PartSet, data: str, figures: Mapping[str, tuple[float, float, float]]) -> tuple[Card, ...]:
    """Cards of the small, medium and large network of one kind."""
    return tuple(
        Card(
            id=f"bpjdet-{kind}-{size}6",
            task="detection",
            file=f"bpjdet-{kind}-{size}6.onnx",
            input_size=(1536, 1536),
            mean=(0.0, 0.0, 0.0),
            std=(255.0, 255.0, 255.0),
            classes=part_set.classes,
            family="BPJDet",
            codec="bpjdet",
            licence_code="GPL-3.0",
            licence_weights="not stated; published with GPL-3.0 code",
            licence_data=data,
            figures={name: values[i] for name, values in figures.items()},
            source="arXiv 2304.10765; hub account HoyerChou, repository BPJDet (.pt: convert)",
        )
        for i, size in enumerate(("s", "m", "l"))
    )


CARDS: tuple[Card, ...] = (
    *_published("head", HEAD, "CrowdHuman: non-commercial research", {
        "CrowdHuman AP body": (82.4, 82.8, 81.1), "CrowdHuman AP head": (77.1, 77.7, 76.1), "CrowdHuman mMR-2": (66.1, 64.8, 64.5),
    }),
    *_published("hand", HANDS, "BodyHands: research", {
        "BodyHands hand AP50": (84.0, 85.3, 85.9), "BodyHands conditional accuracy": (85.68, 86.80, 86.91),
        "BodyHands joint AP, body checked": (62.74, 63.24, 63.59),
    }),
    *_published("6-parts", BODY_PARTS, "COCOHumanParts: CC BY 4.0 annotations, pictures with Flickr's terms", {
        "COCOHumanParts AP": (38.9, 42.0, 43.6), "COCOHumanParts subordinate AP": (38.4, 41.7, 43.3),
    }),
    *_published("contact-hand", CONTACT_HANDS, "ContactHands: research", {
        "ContactHands hand AP50": (77.7, 77.4, 84.1), "ContactHands contact mAP": (56.4, 58.2, 60.1),
    }),
)  # fmt: skip
"""The published networks, with the figures of their README (card section 7). They are .pt files: convert, then export."""
