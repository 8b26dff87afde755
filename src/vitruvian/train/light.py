"""wholebody-n: the pose network at half the size of crops, a quarter of the arithmetic, taught by wholebody-s in DWPose's two stages.

    python -m vitruvian.train nano        --start runs/pose/last.pt --store people/ --out runs/nano
    python -m vitruvian.train nano-second --start runs/nano/last.pt --store people/ --out runs/nano2

First stage: the student begins with the weights of wholebody-s and sees the same crops half as large. It learns from labels, and from the
maps of the packaged wholebody-s, each 2 x 2 cells of which are one of its own; the teacher's weight fades to nothing (card dwpose.md,
section 6; ours: maps in place of SimCC, and no imitated features). Second stage: a head of new weights learns from the whole first network
and no labels, behind a trunk that stays as it is.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vitruvian.errors import VitruvianError
from vitruvian.runtime.session import Session
from vitruvian.systems.pose2d import mappose
from vitruvian.systems.pose2d.mappose import Logits, MapPose
from vitruvian.train import defaults
from vitruvian.train.loop import Progress
from vitruvian.weights import card_for

TOLD = 1.0
"""Weight of the teacher's maps at the start of the first stage, and all the time in the second. Labels have 1."""
_HEAD = ("enter.", "context.", "norm.", "middle.", "fine.", "maps.", "elsewhere.")


def halved(
    images: UInt8[Tensor, "b 3 h w"], keypoints: Float[Tensor, "b k 3"]
) -> tuple[UInt8[Tensor, "b 3 h2 w2"], Float[Tensor, "b k 3"]]:
    """Crops half as large, by areas, and their keypoints (pixel centres are whole numbers)."""
    small = F.avg_pool2d(images.float(), 2).round().to(torch.uint8).contiguous(memory_format=torch.channels_last)
    return small, torch.cat(((keypoints[..., :2] - 0.5) / 2, keypoints[..., 2:]), -1)


def imitation(logits: Logits, chance: Float[Tensor, "b k h w"]) -> Float[Tensor, ""]:
    """Cross-entropy of a network's maps with another's probabilities of the same cells, "elsewhere" among them, nats, weighted by part."""
    said = torch.cat((logits.fine.flatten(2), logits.elsewhere[..., None]), 2).float().log_softmax(2)
    told = torch.cat((chance.flatten(2), 1 - chance.sum((2, 3))[..., None]), 2).clamp(min=0)
    weights = torch.from_numpy(defaults.keypoint_weights(chance.shape[1])).to(said.device)
    return -((told * said).sum(2) * weights).sum() / (len(said) * weights.sum())


class FirstLesson:
    """The loss of a batch of whole crops: labels, and the maps of the packaged network, which count less and less."""

    def __init__(self, progress: Progress):
        self.teacher = Session(card_for("wholebody-s").file, threads=torch.get_num_threads(), max_batch=64)
        self.progress = progress

    def __call__(self, model: MapPose, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        images, keypoints = batch[:2]
        seen = self.teacher.run(defaults.normalise(images).cpu().numpy())[0]
        chance = 4 * F.avg_pool2d(torch.from_numpy(seen).to(images.device), 2)
        small, points = halved(images, keypoints)
        logits = model.logits(defaults.normalise(small))
        fine = defaults.cell_loss(logits.fine, points, mappose.STRIDE, logits.elsewhere)
        coarse = defaults.cell_loss(logits.coarse, points, mappose.COARSE)
        told = imitation(logits, chance)
        total = fine + defaults.COARSE_WEIGHT * coarse + TOLD * (1 - self.progress.fraction) * told
        return {"total": total, "fine": fine, "coarse": coarse, "told": told}


class SecondLesson:
    """The loss of a batch of whole crops: what the first network says of them half as large. Labels are not looked at."""

    def __init__(self, teacher: MapPose):
        self.teacher = teacher.eval().requires_grad_(False)

    def __call__(self, model: MapPose, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        model.backbone.eval()  # its statistics stay: the loop has all of the network learn
        images = defaults.normalise(halved(*batch[:2])[0])
        with torch.no_grad():
            chance = self.teacher(images)
        return {"total": TOLD * imitation(model.logits(images), chance)}


def first(start: Path | None, progress: Progress) -> tuple[MapPose, FirstLesson]:
    """The student, which begins as wholebody-s, and its lesson. Raises VitruvianError without that one's run."""
    teacher, student = _finished(defaults.pose_network(), start), defaults.light_network()
    state = teacher.state_dict()
    state["places"] = mappose.resample_positions(state["places"], teacher.grid, student.grid)
    student.load_state_dict(state)
    return student, FirstLesson(progress)


def second(start: Path | None, progress: Progress) -> tuple[MapPose, SecondLesson]:
    """The finished first network with a head of new weights, and its lesson. Raises VitruvianError without the first network's run."""
    teacher = _finished(defaults.light_network(), start)
    student = defaults.light_network()
    fresh = {name for name in student.state_dict() if name.startswith(_HEAD)}
    student.load_state_dict({n: v for n, v in teacher.state_dict().items() if n not in fresh}, strict=False)
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(name.startswith(_HEAD))
    return student, SecondLesson(teacher)


def _finished(network: MapPose, run: Path | None) -> MapPose:
    if run is None:
        raise VitruvianError("there is nobody to learn from: name the teacher's last.pt with --start")
    network.load_state_dict(torch.load(run, map_location="cpu", weights_only=True)["averaged"])
    return network


def judged(held_out: list[tuple[Tensor, Tensor]]) -> functools.partial[dict[str, float]]:
    """`defaults.pose_error` on crops half as large."""
    return functools.partial(defaults.pose_error, held_out=[halved(*batch) for batch in held_out])
