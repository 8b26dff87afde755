"""RTMDet: an anchor-free one-stage detector (Lyu et al. 2022, arXiv 2212.07784), here for people and their parts. Reconstructed.

Idea
    CSPNeXt backbone, PAFPN neck, and on the three strides 8, 16, 32 a head whose convolutions are shared while batch normalisation is not.
    Every cell says, per class, how well its own box would overlap an object of that class (so the score ranks boxes by quality), and how
    far the box's four sides are. Which cells answer for a box is decided anew in every step, by the predictions themselves.

Paper -> here
    section 3.2, 3.3 (backbone, neck, head)   vitruvian.nn.cspnext, vitruvian.nn.pafpn, Tower, RTMDet
    eq. 1 cost = cls + 3 reg + centre         assign
    eq. 2 soft classification cost            assign (pair_cls)
    eq. 3 -log IoU                            assign
    eq. 4 soft centre prior, alpha 10 beta 3  assign
    quality focal loss, GIoU loss (weight 2)  loss

Whose a part is [ours, after BPJDet's representation (arXiv 2304.10765, card bpjdet.md)]
    With `Config.owners` every cell also tells the box of the person that what it found is a part of: OwnerBranch, decode_owners; of cells
    that answer for people it means nothing. It is told from the cell's own box, in that box's size: where the owner's middle is, and
    how large the owner is (logarithms). owner_targets and owner_loss teach this branch alone: nothing else of the network is moved by them.

From general knowledge, not from a checked reference: grid points at i * stride (the centre of the receptive field where a pixel's centre
is its integer index); the scores start at 0.01; box loss weighted by, and both losses divided by the sum of, the assigned overlaps.

Deviations
    Distances are stride * exp(x) in every size. A box's candidates are the points inside it or within one stride of its centre, so that a
    box smaller than a cell still has some; a box that lost all its cells to others (a face to its head) gets the best free one. `depthwise`
    separates the 3x3 convolutions (nano). There is no reader of published files yet.

Licences
    Published code and weights: Apache-2.0 (open-mmlab/mmdetection), trained on COCO. Nothing published is contained here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitruvian.nn.cspnext import CSPNeXt, stage_depths
from vitruvian.nn.pafpn import PAFPN
from vitruvian.weights.classes import PERSON_PARTS

STRIDES = (8, 16, 32)
EPS = 1e-3  # of the batch normalisations
TOP = 13  # overlaps that decide how many cells answer for a box
SHARPNESS, CHOICE = 5.0, 0.3  # of the choice among owners, and its weight
MAX_EXPONENT = 7.0  # e^7 strides are wider than any input: keeps an untrained network finite

Levels = list[tuple[Tensor, Tensor]]  # per stride: class logits (b, C, h, w), distances l t r b in pixels (b, 4, h, w)


@dataclass(frozen=True)
class Config:
    """A detector. `input_size` is (width, height) in pixels, multiples of 32; it only documents: the network is fully convolutional.

    `depthwise` separates the 3x3 convolutions of neck and head, `depthwise_backbone` those of the backbone. `owners`: with the branch that
    says whose a part is.
    """

    width: float
    depth: float
    classes: tuple[str, ...] = PERSON_PARTS
    input_size: tuple[int, int] = (640, 640)
    depthwise: bool = False
    depthwise_backbone: bool = False
    owners: bool = False


VARIANTS: dict[str, Config] = {
    "nano": Config(0.25, 0.33, input_size=(320, 320), depthwise=True, depthwise_backbone=True),
    "mobile": Config(0.375, 0.167, input_size=(416, 416), depthwise=True),
    "tiny": Config(0.375, 0.167),
    "s": Config(0.5, 0.33),
    "m": Config(0.75, 0.67),
}


class Tower(nn.Module):
    """Two 3x3 convolutions shared by the levels, each with a batch normalisation of the level's own, and SiLU."""

    def __init__(self, channels: int, depthwise: bool, layers: int = 2):
        super().__init__()
        self.convs = nn.ModuleList(self._conv(channels, depthwise) for _ in range(layers))
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(channels, eps=EPS) for _ in range(layers)) for _ in STRIDES)

    @staticmethod
    def _conv(channels: int, depthwise: bool) -> nn.Module:
        if not depthwise:
            return nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False), nn.Conv2d(channels, channels, 1, bias=False)
        )

    def forward(self, x: Float[Tensor, "b c h w"], level: int) -> Float[Tensor, "b c h w"]:
        for conv, norm in zip(self.convs, self.norms[level], strict=True):
            x = F.silu(norm(conv(x)))
        return x


class Features(NamedTuple):
    """What the owners' branch looks at, per stride: the neck's maps, and what the boxes are told from; (b, c, i, j) each."""

    neck: list[Tensor]
    boxes: list[Tensor]


class OwnerBranch(nn.Module):
    """Features -> per stride the owner of what each cell found (b, 4, i, j): where its middle is from that of the cell's own box, and the
    logarithms of its width and height, all in the size (root of the area) of the cell's own box.

    A hand does not show whose it is: the arm does. So the coarse maps, whose cells see whole people, are spread and added to the finer.
    """

    def __init__(self, channels: int, width: int = 48, reach: int = 5):
        super().__init__()

        def block(inputs: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width, eps=EPS))

        self.reduce = nn.ModuleList(block(channels) for _ in STRIDES)
        self.spread = nn.ModuleList(nn.Conv2d(width, width, reach, padding=reach // 2, groups=width, bias=False) for _ in STRIDES)
        self.mix = nn.ModuleList(block(width) for _ in STRIDES)
        self.join = nn.ModuleList(block(width + channels) for _ in STRIDES)
        self.out = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in STRIDES)
        for conv in self.out:
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)

    def forward(self, features: Features) -> list[Float[Tensor, "b 4 _ _"]]:
        told, coarser = [], None
        for i in reversed(range(len(STRIDES))):
            x = self.reduce[i](features.neck[i])
            x = F.silu(x if coarser is None else x + F.interpolate(coarser, scale_factor=2.0))
            coarser = x + F.silu(self.mix[i](self.spread[i](x)))
            told.append(self.out[i](F.silu(self.join[i](torch.cat((coarser, features.boxes[i]), 1)))))
        return told[::-1]


class RTMDet(nn.Module):
    """Normalised image (b, 3, h, w), sides multiples of 32 -> per stride class logits (b, C, i, j) and distances (b, 4, i, j) in pixels.

    Distances are float32 and positive: left, top, right, bottom from the cell's point to the box's sides.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.backbone = CSPNeXt(config.width, config.depth, EPS, config.depthwise_backbone)
        channels = self.backbone.channels
        outputs = channels[0]
        self.neck = PAFPN(channels, outputs, stage_depths(config.depth)[0], EPS, config.depthwise)
        self.cls_tower = Tower(outputs, config.depthwise)
        self.box_tower = Tower(outputs, config.depthwise)
        self.cls = nn.ModuleList(nn.Conv2d(outputs, len(config.classes), 1) for _ in STRIDES)
        self.box = nn.ModuleList(nn.Conv2d(outputs, 4, 1) for _ in STRIDES)
        for conv in (*self.cls, *self.box):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)
        for conv in self.cls:
            nn.init.constant_(conv.bias, -math.log(99.0))  # scores start at 0.01: most cells are background
        self.owners = OwnerBranch(outputs) if config.owners else None

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Levels:
        return self.see(image)[0]

    def see(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Levels, Features]:
        """The levels, and what `owners` looks at."""
        levels, seen = [], Features([], [])
        for i, (features, stride) in enumerate(zip(self.neck(self.backbone(image)), STRIDES, strict=True)):
            logits = self.cls[i](self.cls_tower(features, i))
            boxes = self.box_tower(features, i)
            levels.append((logits, self.box[i](boxes).float().clamp(max=MAX_EXPONENT).exp() * stride))
            seen.neck.append(features)
            seen.boxes.append(boxes)
        return levels, seen


def grid(levels: Levels) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """The point (x, y) in pixels and the stride of every cell, in the order of the flattened levels."""
    points, strides = [], []
    for (logits, _), stride in zip(levels, STRIDES, strict=True):
        height, width = logits.shape[2:]
        xs = torch.arange(width, device=logits.device, dtype=torch.float32) * stride
        ys = torch.arange(height, device=logits.device, dtype=torch.float32) * stride
        points.append(torch.stack((xs.expand(height, width), ys[:, None].expand(height, width)), 2).flatten(0, 1))
        strides.append(torch.full((height * width,), float(stride), device=logits.device))
    return torch.cat(points), torch.cat(strides)


def flatten(levels: Levels) -> tuple[Float[Tensor, "b n C"], Float[Tensor, "b n 4"], Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Class logits, boxes xyxy, points and strides of all cells, in float32."""
    points, strides = grid(levels)
    logits = torch.cat([cls.flatten(2) for cls, _ in levels], 2).transpose(1, 2).float()
    distances = torch.cat([box.flatten(2) for _, box in levels], 2).transpose(1, 2).float()
    boxes = torch.cat((points - distances[..., :2], points + distances[..., 2:]), 2)
    return logits, boxes, points, strides


def decode(levels: Levels) -> tuple[Float[Tensor, "b n 4"], Float[Tensor, "b n C"]]:
    """Boxes xyxy in pixels of the input, and scores in [0, 1], of every cell; no threshold, no suppression."""
    logits, boxes, _, _ = flatten(levels)
    return boxes, logits.sigmoid()


def decode_owners(boxes: Float[Tensor, "... n 4"], told: Float[Tensor, "... n 4"]) -> Float[Tensor, "... n 4"]:
    """The boxes xyxy of owners, from the boxes of their parts and what `OwnerBranch` tells of these cells."""
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, part_size(boxes)
    middle = middle + told[..., :2] * size
    half = told[..., 2:].clamp(-MAX_EXPONENT, MAX_EXPONENT).exp() * size / 2
    return torch.cat((middle - half, middle + half), -1)


def part_size(boxes: Float[Tensor, "... 4"]) -> Float[Tensor, "... 1"]:
    """The unit of what is told of owners: the root of a part's area, a pixel at least."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1, keepdim=True).clamp(min=1).sqrt()


def flatten_told(told: list[Float[Tensor, "b 4 _ _"]]) -> Float[Tensor, "b n 4"]:
    """What `OwnerBranch` tells of all cells, in the order of `flatten`, in float32."""
    return torch.cat([level.flatten(2) for level in told], 2).transpose(1, 2).float()


class Deployed(nn.Module):
    """A detector with `decode` behind it: what is exported (outputs "boxes", "scores", and "owners" with `Config.owners`)."""

    def __init__(self, network: RTMDet):
        super().__init__()
        self.network = network

    @property
    def outputs(self) -> tuple[str, ...]:
        """Their names."""
        return ("boxes", "scores", "owners") if self.network.owners is not None else ("boxes", "scores")

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b n _"], ...]:
        levels, seen = self.network.see(image)
        boxes, scores = decode(levels)
        if self.network.owners is None:
            return boxes, scores
        return boxes, scores, decode_owners(boxes, flatten_told(self.network.owners(seen)))


def overlaps(a: Float[Tensor, "m 4"], b: Float[Tensor, "m 4"]) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """IoU and generalised IoU (Rezatofighi et al. 2019) of corresponding boxes xyxy."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    iou = shared / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


def rank_in_group(group: Int[Tensor, " m"], value: Float[Tensor, " m"]) -> Int[Tensor, " m"]:
    """Position (0 = smallest value) of each entry among the entries of its group."""
    order = value.argsort()
    order = order[group[order].argsort(stable=True)]
    ordered = group[order]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - torch.searchsorted(ordered, ordered)
    return rank


def choose(cell: Int[Tensor, " m"], target: Int[Tensor, " m"], cost: Float[Tensor, " m"], count: Int[Tensor, " g"]) -> Int[Tensor, " c"]:
    """Indices of the pairs that hold: each target asks for its `count` cheapest cells; a cell that several want goes to the cheapest."""
    asked = (rank_in_group(target, cost) < count[target]).nonzero()[:, 0]
    return asked[rank_in_group(cell[asked], cost[asked]) == 0]


@torch.no_grad()
def assign(
    logits: Float[Tensor, "b n C"],
    boxes: Float[Tensor, "b n 4"],
    points: Float[Tensor, "n 2"],
    strides: Float[Tensor, " n"],
    targets: Float[Tensor, "g 4"],
    labels: Int[Tensor, " g"],
    images: Int[Tensor, " g"],
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"], Float[Tensor, " m"]]:
    """Which cells answer for which box: (cell, target, IoU), cells counted over the whole batch (image * n + cell), each at most once.

    `targets` are the boxes of the whole batch, `images` says whose. Only pairs of a box and a point that could answer for it are scored.
    """
    centre = (targets[:, :2] + targets[:, 2:]) / 2
    inside = (points > targets[:, None, :2]).all(2) & (points < targets[:, None, 2:]).all(2)  # (g, n)
    offset = points - centre[:, None]
    near = (offset.abs() <= strides[:, None]).all(2)
    target, point = (inside | near).nonzero(as_tuple=True)
    cell = images[target] * len(points) + point
    iou, _ = overlaps(boxes.flatten(0, 1)[cell], targets[target])

    scores = logits.flatten(0, 1)
    background = F.softplus(scores) * scores.sigmoid().square()  # cost of a class that should be 0
    own = scores[cell, labels[target]]
    pair_cls = F.binary_cross_entropy_with_logits(own, iou, reduction="none") * (iou - own.sigmoid()).square()
    pair_cls = pair_cls + background.sum(1)[cell] - background[cell, labels[target]]
    distance = offset[target, point].norm(dim=1) / strides[point]
    cost = pair_cls - 3.0 * (iou + 1e-7).log() + 10.0 ** (distance - 3.0)

    best = rank_in_group(target, -iou) < TOP
    count = torch.zeros(len(targets), device=iou.device).index_add_(0, target[best], iou[best]).int().clamp(min=1)
    chosen = choose(cell, target, cost, count)
    taken, served = torch.zeros(len(scores), dtype=torch.bool, device=iou.device), torch.zeros_like(count, dtype=torch.bool)
    taken[cell[chosen]], served[target[chosen]] = True, True
    rest = (~taken[cell] & ~served[target]).nonzero()[:, 0]
    second = rest[choose(cell[rest], target[rest], cost[rest], torch.ones_like(count))]
    pairs = torch.cat((chosen, second))
    return cell[pairs], target[pairs], iou[pairs]


def loss(levels: Levels, boxes: list[Float[Tensor, "g 4"]], labels: list[Int[Tensor, " g"]]) -> dict[str, Float[Tensor, ""]]:
    """Quality focal loss and 2 * GIoU loss for a batch: {"total", "cls", "box"}, in float32.

    `boxes` (xyxy, pixels of the input) and `labels` (class indices) have one entry per image; images without boxes teach background. In
    boxes labelled -1 there may be something or not: cells there teach nothing, unless they answer for another box.
    """
    logits, predicted, points, strides = flatten(levels)
    device = logits.device
    images = torch.repeat_interleave(torch.arange(len(boxes), device=device), torch.tensor([len(b) for b in boxes], device=device))
    targets = torch.cat([b.reshape(-1, 4) for b in boxes]).to(device, torch.float32)
    classes = torch.cat([c.reshape(-1) for c in labels]).to(device, torch.long)
    sure = classes >= 0
    counts = _counted(points, targets[~sure], images[~sure], len(boxes))
    targets, classes, images = targets[sure], classes[sure], images[sure]
    cell, target, quality = assign(logits, predicted, points, strides, targets, classes, images)

    scores = logits.flatten(0, 1)
    wanted = torch.zeros_like(scores)
    wanted[cell, classes[target]] = quality
    norm = quality.sum().clamp(min=1.0)
    counts[cell] = 1
    focal = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none") * (wanted - scores.sigmoid()).square() * counts[:, None]
    _, giou = overlaps(predicted.flatten(0, 1)[cell], targets[target])
    cls = focal.sum() / norm
    box = 2.0 * ((1.0 - giou) * quality).sum() / norm
    return {"total": cls + box, "cls": cls, "box": box}


def _counted(points: Float[Tensor, "n 2"], doubtful: Float[Tensor, "d 4"], images: Int[Tensor, " d"], batch: int) -> Float[Tensor, " bn"]:
    """1 for every cell of the batch, 0 where its point lies in a doubtful box of its image."""
    counts = torch.ones(batch, len(points), device=points.device)
    box, point = ((points > doubtful[:, None, :2]) & (points < doubtful[:, None, 2:])).all(2).nonzero(as_tuple=True)
    counts[images[box], point] = 0
    return counts.flatten()


class OwnerTargets(NamedTuple):
    """Cells that answer for parts: image and cell, their own boxes, the boxes of the parts' owners, and how well they answer (IoU).

    `people` are the boxes of all who could own a part, `homes` their images.
    """

    image: Int[Tensor, " m"]
    cell: Int[Tensor, " m"]
    boxes: Float[Tensor, "m 4"]
    owners: Float[Tensor, "m 4"]
    quality: Float[Tensor, " m"]
    people: Float[Tensor, "p 4"]
    homes: Int[Tensor, " p"]

    def of(self, image: int) -> OwnerTargets:
        """Those of one image."""
        mine, here = self.image == image, self.homes == image
        return OwnerTargets(*(column[mine] for column in self[:5]), *(column[here] for column in self[5:]))

    @classmethod
    def joined(cls, images: Sequence[OwnerTargets]) -> OwnerTargets:
        """Those of single images as of one batch."""
        columns = [torch.cat(column) for column in zip(*images, strict=True)]
        image, homes = (torch.cat([torch.full_like(one[k], row) for row, one in enumerate(images)]) for k in (0, 6))
        return cls(image, *columns[1:6], homes)


@torch.no_grad()
def owner_targets(
    levels: Levels, boxes: list[Float[Tensor, "g 4"]], labels: list[Int[Tensor, " g"]], owners: list[Float[Tensor, "g 4"]]
) -> OwnerTargets:
    """Which cells must tell which owner: those that `assign` gives to a part. As for `loss`, "person" the first class; `owners` are the
    boxes of the people that parts belong to, NaN for people and where they have none."""
    logits, predicted, points, strides = flatten(levels)
    device = logits.device
    images = torch.repeat_interleave(torch.arange(len(boxes), device=device), torch.tensor([len(b) for b in boxes], device=device))
    classes, wanted = torch.cat(labels).to(device), torch.cat(owners).to(device, torch.float32)
    sure = classes >= 0
    targets, classes, images, wanted = torch.cat(boxes).to(device, torch.float32)[sure], classes[sure], images[sure], wanted[sure]
    cell, target, quality = assign(logits, predicted, points, strides, targets, classes, images)
    is_part = torch.isfinite(wanted[target]).all(1)
    cell, target, quality = cell[is_part], target[is_part], quality[is_part]
    own, people = predicted.flatten(0, 1)[cell], classes == 0
    return OwnerTargets(images[target], cell - images[target] * len(points), own, wanted[target], quality, targets[people], images[people])


def owner_loss(told: list[Float[Tensor, "b 4 _ _"]], targets: OwnerTargets) -> dict[str, Float[Tensor, ""]]:
    """How far the owners that cells tell are off, and how easily they are taken for somebody else: {"total", "owner", "choice"}.

    "owner": middles in the owner's size, sizes as logarithms, smooth L1. "choice": cross-entropy over the people of the image, nearer
    ones (`pointing_cost`) likelier, where there are several. Both are weighed by quality.
    """
    found = decode_owners(targets.boxes, flatten_told(told)[targets.image, targets.cell])
    middle, wanted = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (found, targets.owners))
    size, true = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=1) for boxes in (found, targets.owners))
    off = torch.cat(((middle - wanted) / part_size(targets.owners), (size / true).log()), 1)
    each = F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1, reduction="none").mean(1)
    owner = (each * targets.quality).sum() / targets.quality.sum().clamp(min=1.0)

    here = targets.image[:, None] == targets.homes
    mine = here & (targets.people == targets.owners[:, None]).all(2)
    several = mine.any(1) & (here.sum(1) > 1)
    likely = (-SHARPNESS * pointing_cost(found[several], targets.people)).masked_fill(~here[several], -1e4).log_softmax(1)
    missed = -likely.masked_fill(~mine[several], -1e4).logsumexp(1) if len(likely) else found.new_zeros(0)
    weight = targets.quality[several]
    choice = (missed * weight).sum() / weight.sum().clamp(min=1.0)
    return {"total": owner + CHOICE * choice, "owner": owner, "choice": choice}


def pointing_cost(pointed: Float[Tensor, "m 4"], people: Float[Tensor, "p 4"]) -> Float[Tensor, "m p"]:
    """As `codecs.pointed.pointing_cost`, a little rounded where it would be 0."""
    size, wanted = ((boxes[:, 2:] - boxes[:, :2]).clamp(min=1) for boxes in (people, pointed))
    middle, aim = ((boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (people, pointed))
    away = (((aim[:, None] - middle) / size).square().sum(2) + 1e-4).sqrt()
    return away + 0.5 * (wanted[:, None] / size).log().abs().mean(2)
