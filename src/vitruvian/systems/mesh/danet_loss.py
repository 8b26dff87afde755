"""Training of DaNet: the losses of the card's section 6, from bodies, rendered IUV maps, and points that people marked.

What the card doesn't tell is ours: the weight of the dense index (1, as the annotation's), labels of partial maps by the nearest pixel of
the whole map, a part that two channels tell goes to the first, means where the card doesn't say sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.codecs.danet import INPUT_SIDE
from vitruvian.codecs.mesh import WEAK_FOCAL
from vitruvian.nn.iuv import PARTS, UNTOLD, IUVLabels, IUVPoints, map_losses, point_losses
from vitruvian.systems.mesh.camera import camera_translation
from vitruvian.systems.mesh.danet import PARTIAL, Estimate, Parameters, crop_around

WEIGHTS: Mapping[str, float] = {
    **{"index": 1.0, "uv": 0.5, "annotation": 1.0, "partial_index": 1.0, "partial_uv": 0.5},
    **{"point_index": 0.3, "point_uv": 0.5, "point_annotation": 2.0, "centres": 1.0},
    **{"rotations": 60.0, "unrefined": 60.0, "shape": 0.06, "joints": 300.0, "joints_2d": 300.0, "positions": 1.0, "camera": 1.0},
}


class Truth(NamedTuple):
    """What is known of crops, one per row; what isn't, counts for nothing.

    `centres` of SMPL's 24 joints in [-1, 1] of the crop; `rotations`, `shape` and `positions` (the joints relative to the root, metres)
    where `posed`; `joints` (metres, the first is the root) and `joints_2d` (in [-1, 1] of the crop) of any set with their confidence (0:
    unknown); `maps` of a rendered body where `rendered`.
    """

    centres: Float[Tensor, "b 24 2"]
    centres_seen: Bool[Tensor, "b 24"]
    rotations: Float[Tensor, "b 24 3 3"]
    shape: Float[Tensor, "b 10"]
    positions: Float[Tensor, "b 24 3"]
    posed: Bool[Tensor, " b"]
    joints: Float[Tensor, "b k 3"]
    joints_confidence: Float[Tensor, "b k"]
    joints_2d: Float[Tensor, "b k 2"]
    joints_2d_confidence: Float[Tensor, "b k"]
    maps: IUVLabels
    rendered: Bool[Tensor, " b"]
    points: IUVPoints | None = None


def project(joints: Float[Tensor, "b k 3"], camera: Float[Tensor, "b 3"], side: int = INPUT_SIDE) -> Float[Tensor, "b k 2"]:
    """Where the crop's camera sees points that are given without the translation: in [-1, 1] of the crop."""
    there = joints + camera_translation(camera, side)[:, None]
    return there[..., :2] / there[..., 2:].clamp(min=1e-3) * (WEAK_FOCAL / (side / 2))


def partial_labels(maps: IUVLabels, places: Float[Tensor, "b 24 2"], scales: Float[Tensor, "b 24"]) -> IUVLabels:
    """Labels of the squares around the joints, (b, 24, h, w), whose parts count as in `PARTIAL`; others are background. UNTOLD stays.

    `places` and `scales` are those of an `Estimate`, or of true joints (`part_scales`).
    """
    stacked = torch.stack((maps.index.to(maps.u), maps.u, maps.v), 1)
    index, u, v = crop_around(stacked, places, scales, "nearest").unbind(2)
    channel = torch.zeros(len(PARTIAL), PARTS + 1, dtype=torch.long, device=index.device)
    for joint, parts in enumerate(PARTIAL):
        for number, part in reversed(list(enumerate(parts, 1))):
            channel[joint, part] = number
    joints = torch.arange(len(PARTIAL), device=index.device)[:, None, None]
    index = index.round().long()
    return IUVLabels(torch.where(index == UNTOLD, UNTOLD, channel[joints, index.clamp(min=0)]), u, v)


def _mean(gap: Float[Tensor, " b *d"], counts: Tensor) -> Float[Tensor, ""]:
    """The mean of `gap` over rows that count, 0 when none does."""
    gap = gap.flatten(1).mean(1)
    return (gap * counts.to(gap)).sum() / counts.sum().clamp(min=1)


def map_terms(estimate: Estimate, truth: Truth) -> dict[str, Float[Tensor, ""]]:
    """Terms of the first half, without their weights: dense and partial maps, marked points, places of joints (smooth L1, summed)."""
    partial = partial_labels(truth.maps, estimate.places, estimate.scales)
    terms = dict(map_losses(estimate.iuv, truth.maps, truth.rendered))
    both = truth.rendered[:, None].expand(-1, len(PARTIAL))
    terms |= {f"partial_{name}": value for name, value in map_losses(estimate.partial, partial, both).items()}
    if truth.points is not None:
        terms |= {f"point_{name}": value for name, value in point_losses(estimate.iuv, truth.points).items()}
    gap = F.smooth_l1_loss(estimate.centres, truth.centres, reduction="none").sum(-1)
    return terms | {"centres": (gap * truth.centres_seen).sum() / max(len(gap), 1)}


def parameter_terms(found: Parameters, joints: Float[Tensor, "b k 3"], truth: Truth) -> dict[str, Float[Tensor, ""]]:
    """Terms of the second half, without their weights. `joints` are those of the predicted body, without the translation."""
    terms = {name: _mean((getattr(found, name) - truth.rotations).square(), truth.posed) for name in ("rotations", "unrefined")}
    terms["shape"] = _mean((found.shape - truth.shape).square(), truth.posed)
    terms["positions"] = 2 * _mean((found.positions - truth.positions[:, None]).abs(), truth.posed)  # two heads, added
    gap = ((joints - joints[:, :1]) - (truth.joints - truth.joints[:, :1])).square().mean(-1)
    everybody = torch.ones(len(joints), device=joints.device)
    terms["joints"] = _mean(gap * truth.joints_confidence, everybody)
    gap = (project(joints, found.camera) - truth.joints_2d).square().mean(-1)
    terms["joints_2d"] = _mean(gap * truth.joints_2d_confidence, everybody)
    # A person behind the camera, whose scale is negative, costs a lot.
    return terms | {"camera": _mean((-10 * found.camera[:, :1]).exp().square(), everybody)}


def danet_loss(
    estimate: Estimate, truth: Truth, found: Parameters | None = None, joints: Float[Tensor, "b k 3"] | None = None
) -> Float[Tensor, ""]:
    """The training loss. Stage 1 trains the maps alone; stage 2 everything, with `found` and the `joints` of the body that it poses."""
    terms = map_terms(estimate, truth)
    if found is not None and joints is not None:
        terms |= parameter_terms(found, joints, truth)
    return sum(WEIGHTS[name] * value for name, value in terms.items())
