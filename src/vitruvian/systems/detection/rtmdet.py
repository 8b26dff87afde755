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
from dataclasses import dataclass

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
MAX_EXPONENT = 7.0  # e^7 strides are wider than any input: keeps an untrained network finite

Levels = list[tuple[Tensor, Tensor]]  # per stride: class logits (b, C, h, w), distances l t r b in pixels (b, 4, h, w)


@dataclass(frozen=True)
class Config:
    """A detector. `input_size` is (width, height) in pixels, multiples of 32; it only documents: the network is fully convolutional.

    `depthwise` separates the 3x3 convolutions of neck and head, `depthwise_backbone` those of the backbone.
    """

    width: float
    depth: float
    classes: tuple[str, ...] = PERSON_PARTS
    input_size: tuple[int, int] = (640, 640)
    depthwise: bool = False
    depthwise_backbone: bool = False


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

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Levels:
        levels = []
        for i, (features, stride) in enumerate(zip(self.neck(self.backbone(image)), STRIDES, strict=True)):
            logits = self.cls[i](self.cls_tower(features, i))
            exponent = self.box[i](self.box_tower(features, i)).float()
            levels.append((logits, exponent.clamp(max=MAX_EXPONENT).exp() * stride))
        return levels


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


class Deployed(nn.Module):
    """A detector with `decode` behind it: what is exported (outputs "boxes" and "scores")."""

    def __init__(self, network: RTMDet):
        super().__init__()
        self.network = network

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b n 4"], Float[Tensor, "b n C"]]:
        return decode(self.network(image))


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


def _counted(
    points: Float[Tensor, "n 2"], doubtful: Float[Tensor, "d 4"], images: Int[Tensor, " d"], batch: int
) -> Float[Tensor, " bn"]:
    """1 for every cell of the batch, 0 where its point lies in a doubtful box of its image."""
    counts = torch.ones(batch, len(points), device=points.device)
    box, point = ((points > doubtful[:, None, :2]) & (points < doubtful[:, None, 2:])).all(2).nonzero(as_tuple=True)
    counts[images[box], point] = 0
    return counts.flatten()
