"""What the loop must know of the detectors that look once: BPJDet, JointBDOE and our hSDB-instrument.

Losses and their weights are the published ones, as means over the batch. The optimiser is the loop's, AdamW or Muon; the published programs
use SGD with Nesterov's momentum of 0.937 and a learning rate of 0.01, and batches of 18 to 180 pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.association import PartSet, Thresholds
from vitruvian.codecs.instruments import INSIDE
from vitruvian.codecs.owned import OwnedDetections, owned_bodies, owned_facing, owned_instruments, owners_among
from vitruvian.data.hsdb_instrument import CLASSES as INSTRUMENT_CLASSES
from vitruvian.data.hsdb_instrument import hsdb_instrument, instrument_of, instruments_of
from vitruvian.data.judge_parts import read_parts
from vitruvian.data.parts import PartPicture
from vitruvian.errors import VitruvianError
from vitruvian.metrics.association import FoundPairs, TruePairs, pair_scores
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes, box_average_precision
from vitruvian.metrics.orientation import Facings, orientation_scores
from vitruvian.nn.anchors import Targets
from vitruvian.nn.csp_darknet import AnchorNet
from vitruvian.synth.instruments import TOOLS
from vitruvian.systems.detection import bpjdet, jointbdoe
from vitruvian.systems.detection import hsdb_instrument as hsdb
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.systems.detection.targets import chosen, flipped
from vitruvian.train.loop import Loss
from vitruvian.train.recipe import Data, Recipe, Source, Stage
from vitruvian.train.scenes import CLASSES, Drawing, Mirror, draw_crowds, draw_instruments, read_frames, read_pictures, scaled
from vitruvian.train.tasks import fill, read_network, variant_of

Batch = tuple[UInt8[Tensor, "b 3 h w"], Targets]
Teach = Callable[[Any], Targets]
"""From what a data set says of a picture (`PartPicture`, `Tied`) to what a network is taught."""
_SYSTEMS = {"bpjdet": bpjdet, "jointbdoe": jointbdoe, "hsdb-instrument": hsdb}
_NOWHERE = np.full((1, 4), 1e9, np.float32)


@dataclass(frozen=True)
class DetectorTask:
    """What is trained, and how.

    config: of the network. classes: what it tells apart; the first `wholes` of them have parts. model: what is optimised. loss: of a model
    and a batch. deployed: a network with its decoding. find: what that says of an input, in its pixels. teach: the classes that a data set
    names -> how its pictures are taught. mirror: objects in a mirror. frozen: no detector has a teacher.
    """

    config: Any
    classes: tuple[str, ...]
    wholes: int
    model: AnchorNet
    loss: Loss
    deployed: Callable[[AnchorNet], nn.Module]
    find: Callable[[Candidates], OwnedDetections]
    teach: Callable[[Sequence[str]], Teach]
    mirror: Mirror
    frozen: None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the input."""
        return self.config.input_size

    def keep(self, model: AnchorNet) -> AnchorNet:
        """The network to keep out of the (averaged) model: all of it."""
        return model


def build_detector(recipe: Recipe, stage: Stage, finished: dict[str, Path]) -> DetectorTask:
    """The task of one stage. `finished`: the checkpoints of earlier stages by name.

    Raises VitruvianError for a variant that the system hasn't, WeightsError where a start can't be used.
    """
    system = _SYSTEMS[recipe.system]
    config = variant_of(system, stage)
    model = system.network(config)
    if stage.start:
        fill(model, read_network(stage.start, finished))
    # After filling: what the other network says of itself is not so here.
    describe(model, config.input_size, config.part_set.classes[1:] if system is bpjdet else ())
    kinds = {bpjdet: _bodies, jointbdoe: _facing, hsdb: _instruments}
    return kinds[system](config, model.to(memory_format=torch.channels_last))


def _bodies(config: bpjdet.Config, model: AnchorNet) -> DetectorTask:
    parts, sizes = config.part_set, (config.input_size, config.input_size)
    return DetectorTask(
        config, parts.classes, 1, model,
        loss=lambda m, batch: bpjdet.loss(m, m(scaled(batch[0])), batch[1], parts, "mean"),
        deployed=lambda m: bpjdet.Deployed(m, parts),
        find=lambda candidates: owned_bodies(candidates, parts, *sizes, Thresholds()),
        teach=lambda classes: partial(part_targets, labels=labels_in(parts, classes), part_set=parts),
        mirror=partial(bpjdet.mirrored, part_set=parts),
    )  # fmt: skip


def _facing(config: jointbdoe.Config, model: AnchorNet) -> DetectorTask:
    sizes, least = (config.input_size, config.input_size), Thresholds()
    # Small networks are seldom as sure as the published gate asks: four of five answers would never learn where people face.
    gate = jointbdoe.GATE if config.angle == "fraction" else -math.inf
    return DetectorTask(
        config, ("person",), 1, model,
        loss=lambda m, batch: jointbdoe.loss(m, m(scaled(batch[0])), batch[1], reduction="mean", gate=gate),
        deployed=jointbdoe.Deployed,
        find=lambda candidates: owned_facing(candidates, *sizes, least.body_score, least.body_iou),
        teach=lambda classes: facing_targets,
        mirror=jointbdoe.mirrored,
    )  # fmt: skip


def _instruments(config: hsdb.Config, model: AnchorNet) -> DetectorTask:
    sizes, count = (config.input_size, config.input_size), len(config.classes)
    return DetectorTask(
        config, config.classes, len(config.instruments), model,
        loss=lambda m, batch: hsdb.loss(m, m(scaled(batch[0])), batch[1], count),
        deployed=lambda m: hsdb.Deployed(m, count),
        find=lambda candidates: owned_instruments(candidates, *sizes, Thresholds(inside=INSIDE)),
        teach=lambda classes: partial(hsdb.targets_of, instruments=config.instruments),
        mirror=flipped,
    )  # fmt: skip


def labels_in(part_set: PartSet, classes: Sequence[str]) -> np.ndarray:
    """For each class that a data set names ("person" first), the label that a network of these parts gives it, -1 for none.

    A left and a right hand are hands to a network without sides. Raises VitruvianError where the data set lacks one of the parts.
    """
    found = [name if name in part_set.classes else name.rpartition(" ")[2] for name in classes]
    missing = [name for name in part_set.classes if name not in found]
    if missing:
        raise VitruvianError(f"the data set names {', '.join(classes)}, no {missing[0]}: take another variant, or other data")
    return np.array([part_set.classes.index(name) if name in part_set.classes else -1 for name in found])


def part_targets(picture: PartPicture, labels: np.ndarray, part_set: PartSet) -> bpjdet.Targets:
    """A picture's people and parts, those to ignore left out. labels: see `labels_in`."""
    kept = ~picture.ignore
    owner = np.append(np.where(kept, np.cumsum(kept) - 1, -2), -1)[picture.owners]  # -2: of somebody to ignore
    rows = np.flatnonzero((labels[picture.labels] > 0) & (owner > -2))
    contacts = picture.contacts[rows] if part_set.states else None
    return bpjdet.targets_of(picture.bodies[kept], picture.parts[rows], labels[picture.labels[rows]], owner[rows], part_set, contacts)


def facing_targets(picture: PartPicture) -> jointbdoe.Targets:
    """A picture's people and the way they face, those to ignore left out."""
    kept = ~picture.ignore
    zeros = torch.zeros(int(kept.sum())).long()
    turns = torch.from_numpy(picture.headings[kept] / (2 * np.pi) % 1)
    return jointbdoe.Targets(torch.from_numpy(picture.bodies[kept]), zeros, zeros, turns)


def drawing_of(source: Source, data: Data, task: DetectorTask, held_out: bool, people: Callable[[], tuple[Path, list[str]]]) -> Drawing:
    """Where a stage's pictures come from, or (`held_out`) those that it is judged on. people: a store, and the photographs behind them.

    Raises FormatError where a data set is not in its folder, VitruvianError where it has not what the network is to find.
    """
    if source.kind != "contacthands" and isinstance(task.config, bpjdet.Config) and task.config.part_set.states:
        raise VitruvianError(f"{source.kind} doesn't say what hands touch: take contacthands, or a variant without contacts")
    if source.kind == "crowds":
        folder, photographs = people()
        options = {"store": folder, "photographs": photographs, "held_out": held_out}
        return partial(draw_crowds, **options, size=task.size, teach=task.teach(CLASSES))
    if source.kind == "instruments":
        names = [name for name in task.config.instruments if name in TOOLS]
        return partial(draw_instruments, names=names, size=task.size, randomised=data.randomised, teach=task.teach(names))
    if not source.folder:
        raise VitruvianError(f"the recipe does not say where {source.kind} is: give its folder, in the recipe or with --data")
    if source.kind.startswith("hsdb-"):
        return _frames(source, task, held_out)
    dataset = read_parts(source.kind, source.folder, "" if held_out else "train")
    return partial(read_pictures, dataset=dataset, size=task.size, teach=task.teach(dataset.classes))


def _frames(source: Source, task: DetectorTask, held_out: bool) -> Drawing:
    """hSDB-instrument's frames; those of rare instruments more often in training."""
    surgery = source.kind.partition("-")[2]
    names = instruments_of(INSTRUMENT_CLASSES[surgery])
    unknown = [name for name in names if name not in task.config.instruments]
    if unknown:
        raise VitruvianError(f"the network knows no {unknown[0]}: for {source.kind} take a variant of {surgery}")
    frames = [frame for frame in hsdb_instrument(source.folder, surgery, "val" if held_out else "train") if frame.names]
    if not frames:
        raise VitruvianError(f"{source.kind} has no annotated frames in {source.folder}: check the folder")
    present = np.array([[name in {instrument_of(one) for one in frame.names} for name in names] for frame in frames])
    factors = np.ones(len(frames)) if held_out else hsdb.repeat_factors(present)
    return partial(read_frames, frames=frames, shares=factors / factors.sum(), size=task.size, teach=task.teach(names))


def detector_figures(task: DetectorTask, held_out: Sequence[Batch], network: AnchorNet) -> dict[str, float]:
    """How good a network is, on inputs that were not cut: AP at IoU 0.5, mean over the classes that are there, of wholes and of parts.

    "owned": of the parts that are right, the share whose body is right too, mean over classes. Of headings: "mae" in degrees of those who
    were found, "acc30" with the others as wrong. What can't be told is left out.
    """
    truth, found = [], []
    deployed = task.deployed(network.eval())
    for images, targets in held_out:
        with torch.no_grad():
            boxes, scores, *extras = (x.float().cpu().numpy() for x in deployed(scaled(images.to(network.anchors.device))))
        for row in range(len(images)):
            found.append(task.find(Candidates(boxes[row], scores[row], np.concatenate([extra[row] for extra in extras], -1))))
            truth.append(chosen(targets, targets.images == row))
    table = _precision(task, truth, found)
    if isinstance(truth[0], jointbdoe.Targets):
        facings = [Facings(t.boxes.numpy(), 2 * np.pi * t.turns.numpy()) for t in (chosen(t, t.turns.isfinite()) for t in truth)]
        scores = orientation_scores(facings, [Facings(f.boxes, f.angles, f.scores) for f in found])
        table |= {"mae": scores.mae, "acc30": scores.of_all[30.0]}
    else:
        table["owned"] = _owned(task, truth, found)
    return {name: value for name, value in table.items() if np.isfinite(value)}


def _precision(task: DetectorTask, truth: Sequence[Targets], found: Sequence[OwnedDetections]) -> dict[str, float]:
    true, boxes = _joined(truth, "boxes", "labels"), _joined(found, "boxes", "labels", "scores")
    each = box_average_precision(TrueBoxes(*true, np.zeros(len(true[0]), bool)), FoundBoxes(*boxes), len(task.classes))["AP50"]
    groups = {"ap50": each[: task.wholes], "part_ap50": each[task.wholes :]}
    return {name: float(values[values >= 0].mean()) for name, values in groups.items() if (values >= 0).any()}


def _owned(task: DetectorTask, truth: Sequence[bpjdet.Targets], found: Sequence[OwnedDetections]) -> float:
    """Conditional accuracy, mean over the classes of parts; NaN where no part was found."""
    shares = []
    for label in range(task.wholes, len(task.classes)):
        true = [chosen(t, t.labels == label) for t in truth]
        parts = [f[f.labels == label] for f in found]
        owners = [_true_owners(mine, t, task.wholes) for mine, t in zip(true, truth, strict=True)]
        bodies = [_bodies_of(f[f.labels < task.wholes], mine) for f, mine in zip(found, parts, strict=True)]
        image, boxes = _joined(true, "boxes")
        wanted = TruePairs(image, np.concatenate(owners), boxes, np.ones(len(image)), np.zeros(len(image), bool))
        image, boxes, scores = _joined(parts, "boxes", "scores")
        shares.append(pair_scores(wanted, FoundPairs(image, np.concatenate(bodies), boxes, scores), inclusive=False).conditional_accuracy)
    known = [share for share in shares if np.isfinite(share)]
    return float(np.mean(known)) if known else float("nan")


def _true_owners(parts: bpjdet.Targets, everything: bpjdet.Targets, wholes: int) -> Float[np.ndarray, "n 4"]:
    """The body that each part points at; far away where it is nobody's."""
    bodies = everything.boxes[everything.labels < wholes]
    away = torch.cdist(parts.points[:, 0], (bodies[:, :2] + bodies[:, 2:]) / 2)
    nearest = torch.where(away.isfinite().any(1), away.argmin(1), -1) if len(bodies) else torch.full((len(away),), -1)
    return np.concatenate([bodies.numpy(), _NOWHERE])[nearest.numpy()]


def _bodies_of(bodies: OwnedDetections, parts: OwnedDetections) -> Float[np.ndarray, "n 4"]:
    """The body that each part was given to; far away on the other side where it is nobody's."""
    return np.concatenate([bodies.boxes, -_NOWHERE])[owners_among(parts, bodies)]


def _joined(pictures: Sequence[Targets] | Sequence[OwnedDetections], *columns: str) -> list[np.ndarray]:
    """The number of the picture of each row, and some columns of all."""
    numbers = np.repeat(np.arange(len(pictures)), [len(one.labels) for one in pictures])
    return [numbers, *(np.concatenate([np.asarray(getattr(one, name)) for one in pictures]) for name in columns)]
