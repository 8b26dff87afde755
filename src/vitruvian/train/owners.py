"""Teach a trained detector whose each part is: only its `OwnerBranch` learns, boxes and scores stay what they are.

    python -m vitruvian.train owners --start runs/detector/last.pt --store people/ --out runs/owners

Drawing a scene and seeing it takes most of the time, and what the rest of the network makes of it never changes: it is kept, and every
step learns from a few new scenes and many old ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vitruvian.systems.detection.rtmdet import Features, OwnerTargets, RTMDet, owner_loss, owner_targets
from vitruvian.train.defaults import normalise

KEPT, REPLAYED = 4000, 20  # scenes that are remembered, and seen again in every step

Batch = tuple[UInt8[Tensor, "b 3 h w"], list[Float[Tensor, "g 4"]], list[Int[Tensor, " g"]], list[Float[Tensor, "g 4"]]]


class Seen(NamedTuple):
    """One scene as the frozen network sees it: maps without a batch axis, and what its cells must tell."""

    features: Features
    targets: OwnerTargets


def only_owners(network: RTMDet) -> RTMDet:
    """The network, of which nothing but the owners' branch learns."""
    network.requires_grad_(False)
    network.owners.requires_grad_(True)
    return network


@dataclass
class OwnerLesson:
    """The loss of a batch of scenes (images, boxes, labels, owners' boxes) and of `REPLAYED` seen before; scenes have one size."""

    kept: list[Seen] = field(default_factory=list)

    def __call__(self, network: RTMDet, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        network.eval()  # the loop has all of it learn: the shipped network's normalisations must not
        network.owners.train()
        fresh = scenes_seen(network, batch)
        for scene in fresh:
            if len(self.kept) < KEPT:
                self.kept.append(scene)
            else:
                self.kept[int(torch.randint(KEPT, ()))] = scene
        scenes = fresh + [self.kept[row] for row in torch.randint(max(len(self.kept), 1), (REPLAYED if self.kept else 0,)).tolist()]
        if not scenes:  # nobody anywhere
            return {"total": sum(parameter.sum() for parameter in network.owners.parameters()) * 0.0}
        features = Features(*([_stacked([scene.features[k][i] for scene in scenes]) for i in range(3)] for k in range(2)))
        return owner_loss(network.owners(features), OwnerTargets.joined([scene.targets for scene in scenes]))


def _stacked(maps: list[Float[Tensor, "c h w"]]) -> Float[Tensor, "b c h w"]:
    return torch.stack(maps).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def scenes_seen(network: RTMDet, batch: Batch) -> list[Seen]:
    """Every scene of a batch in which a part has an owner."""
    images, *truth = batch
    levels, seen = network.see(normalise(images))
    targets = owner_targets(levels, *truth)
    out = []
    for row in torch.unique(targets.image).tolist():
        maps = Features(*([level[row].clone() for level in part] for part in seen))  # a view would keep the whole batch
        out.append(Seen(maps, targets.of(row)))
    return out
