"""What Multi-HMR learns from: labels of people as patches, offsets and depth codes, and the losses (card, section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.systems.mesh.camera import plain_focal
from vitruvian.systems.mesh.multi_hmr import SCORE_MARGIN, Config


class Targets(NamedTuple):
    """What a network should say: scores (1 in patches with a head, else 0); of each person that is kept patch, offset, row of the input."""

    scores: Float[Tensor, "b g g"]
    cells: Int[Tensor, "m 3"]
    offset: Float[Tensor, "m 2"]
    kept: Int[Tensor, " m"]


def encode_targets(
    heads: Float[Tensor, "n 2"], depths: Float[Tensor, " n"], picture: Int[Tensor, " n"], batch: int, config: Config
) -> Targets:
    """Labels of people: `heads` in pixels of the square, `depths` in metres, `picture` the row of the batch that each is in.

    Of two people in one patch only the nearer is kept. A head outside the picture counts for the patch at its edge (card, section 6).
    """
    grid = config.grid
    place = (heads / config.patch).floor().long().clamp(0, grid - 1)
    patch = (picture * grid + place[:, 1]) * grid + place[:, 0]
    nearest = depths.argsort(stable=True)
    order = nearest[patch[nearest].argsort(stable=True)]  # by patch, and by depth in a patch
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = patch[order[1:]] != patch[order[:-1]]
    kept = order[first]
    cells = torch.stack((picture[kept], place[kept, 1], place[kept, 0]), 1)
    scores = heads.new_zeros(batch, grid, grid)
    scores[cells[:, 0], cells[:, 1], cells[:, 2]] = 1
    return Targets(scores, cells, heads[kept] / config.patch - (place[kept] + 0.5), kept)


def depth_code(depth: Float[Tensor, "*n 1"], focal: Float[Tensor, "*n 1"], config: Config) -> Float[Tensor, "*n 1"]:
    """What the head should say for a depth in metres: the inverse of `MultiHMR.metres`.

    Published training gives it the pelvis' depth, though it is read as the head's (card, section 6: a slip).
    """
    if config.body == "anny":
        return (focal / depth).log()
    if config.body == "compact":
        return (depth * plain_focal(config.image_size) / focal if config.bands else depth).log()
    return (depth + 1e-10).log() * plain_focal(config.image_size) / focal


class Labelled(NamedTuple):
    """What the loss compares, of a prediction or of the truth: per patch `scores`, the others per person.

    `pelvis` is the pelvis in the camera, from which joints and vertices are counted; `joints_2d` and `vertices_2d` are in pixels.
    """

    scores: Float[Tensor, "b g g"]
    offset: Float[Tensor, "n 2"]
    rotations: Float[Tensor, "n j 3 3"]
    shape: Float[Tensor, "n s"]
    code: Float[Tensor, " n"]
    translation: Float[Tensor, "n 3"]
    pelvis: Float[Tensor, "n 3"]
    joints: Float[Tensor, "n k 3"]
    vertices: Float[Tensor, "n v 3"]
    joints_2d: Float[Tensor, "n k 2"]
    vertices_2d: Float[Tensor, "n v 2"]


WEIGHTS: Mapping[str, float] = {
    "detection": 10.0,
    "offset": 1.0,
    "rotations": 0.1,
    "shape": 1.0,
    "code": 1.0,
    "translation": 1.0,
    "joints": 100.0,
    "vertices": 100.0,
    "joints_2d": 1.0,
    "vertices_2d": 1.0,
}
LATE = ("joints_2d", "vertices_2d")  # only from LATE_EPOCH on
LATE_EPOCH = 10


def detection_loss(scores: Float[Tensor, "b g g"], target: Float[Tensor, "b g g"]) -> Float[Tensor, ""]:
    """CenterNet's focal loss (alpha 2, beta 4) over all patches, by the number of people. Patches whose target is NaN don't count."""
    scores = scores.clamp(SCORE_MARGIN, 1 - SCORE_MARGIN)
    there = target == 1
    found = (scores.log() * (1 - scores) ** 2)[there].sum()
    empty = scores[target < 1]  # chosen first: a NaN would reach the gradient even if its loss did not count
    missed = ((1 - empty).log() * empty**2 * (1 - target[target < 1]) ** 4).sum()
    return -(found + missed) / there.sum().clamp(min=1)


def loss_terms(prediction: Labelled, truth: Labelled, size: int) -> dict[str, Float[Tensor, ""]]:
    """Every term without its weight, means over people (card, section 6). Nobody gives 0.

    Points in the picture count only where the truth lies strictly inside it; `shape` as far as both have it. A term that is not finite
    counts as 0, and gives no gradient.
    """

    def per_person(name: str) -> Tensor:
        gap = getattr(prediction, name).flatten(1) - getattr(truth, name).flatten(1)
        return gap.abs().sum() / max(len(gap), 1)

    def points(name: str) -> Tensor:
        gap = (getattr(prediction, name) - prediction.pelvis[:, None]) - (getattr(truth, name) - truth.pelvis[:, None])
        return gap.abs().sum() / max(gap.shape[0] * gap.shape[1], 1)

    def seen(name: str) -> Tensor:
        target = getattr(truth, name)
        inside = ((target > 0) & (target < size)).all(-1, keepdim=True)
        return ((getattr(prediction, name) - target).abs() * inside).sum() / inside.sum().clamp(min=1)

    shared = min(prediction.shape.shape[1], truth.shape.shape[1])
    shape = (prediction.shape[:, :shared] - truth.shape[:, :shared]).abs().sum() / max(len(truth.shape), 1)
    code = (prediction.code.flatten() - truth.code.flatten()).abs().sum() / max(len(truth.code), 1)
    terms = {"detection": detection_loss(prediction.scores, truth.scores), "shape": shape, "code": code}
    terms |= {name: per_person(name) for name in ("offset", "rotations", "translation")}
    terms |= {name: points(name) for name in ("joints", "vertices")} | {name: seen(name) for name in LATE}
    return {name: value if value.isfinite() else torch.zeros_like(value) for name, value in terms.items()}


def multi_hmr_loss(prediction: Labelled, truth: Labelled, size: int, epoch: int = LATE_EPOCH) -> Float[Tensor, ""]:
    """The training loss: the weighted sum of the terms; those of points in the picture from epoch 10 on (of 10 000 steps each)."""
    terms = loss_terms(prediction, truth, size)
    return sum(WEIGHTS[name] * value for name, value in terms.items() if epoch >= LATE_EPOCH or name not in LATE)
