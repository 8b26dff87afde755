"""Dense correspondence (IUV): which of DensePose's 24 surface parts a pixel shows, and where on it (Güler et al. 2018, arXiv 1802.00434).

A map has 25 channels, 0 for the background: logits of the part ("index"), and for each part two coordinates U and V in [0, 1] on it. A
coarse map ("annotation") has 15: the background and the 14 parts that people marked by hand. Names of layers are those of published
files (cards danet.md and pymaf-x.md): predict_u, predict_v, predict_uv_index, predict_ann_index.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

PARTS = 24
UNTOLD = -1
"""In place of a part in labels: the pixel may show any, and counts for nothing."""
COARSE_OF = (0, 1, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 14)
"""The coarse part of each part, background first [mem]: torso, hands, feet, upper and lower legs, upper and lower arms, head."""


class IUV(NamedTuple):
    """Maps before a choice is made: coordinates of each part, logits of the part, logits of the coarse part (None where not predicted)."""

    u: Float[Tensor, "*b 25 h w"]
    v: Float[Tensor, "*b 25 h w"]
    index: Float[Tensor, "*b 25 h w"]
    annotation: Float[Tensor, "*b 15 h w"] | None = None


class IUVLabels(NamedTuple):
    """What a rendered body says of each pixel: its part (0: background, or UNTOLD), and its coordinates there in [0, 1]."""

    index: Int[Tensor, "*b h w"]
    u: Float[Tensor, "*b h w"]
    v: Float[Tensor, "*b h w"]


class IUVPoints(NamedTuple):
    """Points that people marked (DensePose-COCO): place (x, y) in [-1, 1] between the centres of the first and the last pixel of the map,
    part, coordinates; `valid` False where a place of the table is empty. `coarse` is their picture of coarse parts, `marked` whose it is.
    """

    places: Float[Tensor, "b p 2"]
    index: Int[Tensor, "b p"]
    u: Float[Tensor, "b p"]
    v: Float[Tensor, "b p"]
    valid: Bool[Tensor, "b p"]
    coarse: Int[Tensor, "b h w"]
    marked: Bool[Tensor, " b"]


class IUVHead(nn.Module):
    """Four 3x3 convolutions on one map of features."""

    def __init__(self, channels: int):
        super().__init__()
        self.predict_u = nn.Conv2d(channels, PARTS + 1, 3, padding=1)
        self.predict_v = nn.Conv2d(channels, PARTS + 1, 3, padding=1)
        self.predict_uv_index = nn.Conv2d(channels, PARTS + 1, 3, padding=1)
        self.predict_ann_index = nn.Conv2d(channels, max(COARSE_OF) + 1, 3, padding=1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> IUV:
        return IUV(self.predict_u(features), self.predict_v(features), self.predict_uv_index(features), self.predict_ann_index(features))


def hard(logits: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
    """1 in the channel of the largest logit, 0 elsewhere; the first of equals. No gradient passes."""
    channels = torch.arange(logits.shape[-3], device=logits.device)[:, None, None]
    return (logits.argmax(-3, keepdim=True) == channels).to(logits)


def clean(iuv: IUV) -> IUV:
    """Each pixel shows one part: the index becomes `hard`, U and V are 0 in the channels of other parts. Idempotent."""
    index = hard(iuv.index)
    return IUV(iuv.u * index, iuv.v * index, index, None if iuv.annotation is None else hard(iuv.annotation))


def cleaned_labels(labels: IUVLabels, count: int = PARTS + 1) -> IUV:
    """Labels as cleaned maps of `count` channels: what a regressor that reads IUV is given in place of a prediction. UNTOLD is nothing."""
    channels = torch.arange(count, device=labels.index.device)[:, None, None]
    index = (labels.index[..., None, :, :] == channels).to(labels.u)
    return IUV(labels.u[..., None, :, :] * index, labels.v[..., None, :, :] * index, index)


def without_parts(iuv: IUV, dropped: Bool[Tensor, "*b 25"]) -> IUV:
    """Cleaned maps in which nothing is left of some parts (PartDrop): neither coordinates nor index, nor background in their place."""
    kept = (~dropped).to(iuv.u)[..., None, None]
    return IUV(iuv.u * kept, iuv.v * kept, iuv.index * kept, iuv.annotation)


def map_losses(iuv: IUV, labels: IUVLabels, valid: Bool[Tensor, "*b"] | None = None) -> dict[str, Float[Tensor, ""]]:
    """Terms of dense labels without their weights: "index" and (where predicted) "annotation", cross entropy, mean over the told pixels of
    valid maps; "uv", smooth L1 of U and V in the channel of the true part, summed over its pixels, mean over maps. No map gives 0.

    Works for parts of any number of channels; the coarse labels are those of DensePose's 24 parts.
    """
    channels = iuv.index.shape[-3]
    maps = IUV(*(None if x is None else x.flatten(0, -4) for x in iuv))
    part, u, v = (x.flatten(0, -3) for x in labels)
    weight = torch.ones(len(part), device=u.device, dtype=u.dtype) if valid is None else valid.flatten().to(u)
    count = weight.sum().clamp(min=1)

    def entropy(logits: Tensor, target: Tensor) -> Tensor:
        entropies = F.cross_entropy(logits, target, reduction="none", ignore_index=UNTOLD)
        return (entropies.sum((1, 2)) / (target != UNTOLD).sum((1, 2)).clamp(min=1) * weight).sum() / count

    shown = (part > 0) & (part < channels)
    at = part.clamp(0, channels - 1)[:, None]
    gaps = (F.smooth_l1_loss(m.gather(1, at)[:, 0], target, reduction="none") for m, target in ((maps.u, u), (maps.v, v)))
    terms = {"index": entropy(maps.index, part), "uv": (sum(gap * shown for gap in gaps).sum((1, 2)) * weight).sum() / count}
    if maps.annotation is not None:
        coarse = torch.tensor(COARSE_OF, device=part.device)
        terms["annotation"] = entropy(maps.annotation, torch.where(part == UNTOLD, UNTOLD, coarse[part.clamp(min=0)]))
    return terms


def point_losses(iuv: IUV, points: IUVPoints) -> dict[str, Float[Tensor, ""]]:
    """Terms of sparse labels without their weights: "index" and "annotation" cross entropy (means over points, and over marked maps'
    pixels), "uv" smooth L1 of U and V summed over points, mean over marked people. Nothing marked gives 0.
    """

    def read(maps: Tensor) -> Tensor:
        return F.grid_sample(maps, points.places[:, :, None], align_corners=True)[..., 0]  # (b, channels, p)

    valid = (points.valid & points.marked[:, None]).to(iuv.u)
    people = points.marked.sum().clamp(min=1)
    entropy = F.cross_entropy(read(iuv.index), points.index, reduction="none")
    gaps = (
        F.smooth_l1_loss(read(m).gather(1, points.index[:, None])[:, 0], target, reduction="none")
        for m, target in ((iuv.u, points.u), (iuv.v, points.v))
    )
    terms = {"index": (entropy * valid).sum() / valid.sum().clamp(min=1), "uv": (sum(gaps) * valid).sum() / people}
    if iuv.annotation is not None:
        coarse = F.cross_entropy(iuv.annotation, points.coarse, reduction="none").mean((1, 2))
        terms["annotation"] = (coarse * points.marked).sum() / people
    return terms
