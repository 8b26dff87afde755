"""`python -m vitruvian.train pose|nano|nano-second|detector|owners`: see `vitruvian.train.defaults` and `vitruvian.train.light`."""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.synth.scene import Repertory, Studio, detection_scene, owned_scene, pose_crop
from vitruvian.systems.detection.rtmdet import RTMDet
from vitruvian.train import defaults, light
from vitruvian.train.feed import Endless, batches, collate_bodies, collate_owned, collate_pose, collate_scenes
from vitruvian.train.loop import Loss, Progress, Schedule, train
from vitruvian.train.owners import OwnerLesson, only_owners


def main() -> None:
    """Train one of the embedded defaults."""
    parser = argparse.ArgumentParser(prog="python -m vitruvian.train", description=__doc__)
    parser.add_argument("network", choices=tuple(TASKS))
    parser.add_argument("--store", type=Path, required=True, help="folder of label images (vitruvian synth)")
    parser.add_argument("--photographs", type=Path, help="text file: one background picture per line")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an existing one is gone on with")
    parser.add_argument("--size", type=int, nargs=2, help="width and height of the pictures; small ones first save time")
    parser.add_argument("--start", type=Path, help="begin with those weights of another run's last.pt that fit")
    parser.add_argument("--muon", action="store_true", help="step by Muon in place of AdamW")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many seconds of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    photographs = options.photographs.read_text().splitlines() if options.photographs else []
    task, progress = TASKS[options.network], Progress()
    draw = functools.partial(task.make, size=tuple(options.size or task.size))
    scenes = Endless(draw, options.store, photographs, options.seed, studio=task.studio)
    evaluate = None
    if task.judge is not None:
        held_out = list(itertools.islice(batches(Endless(draw, options.store, photographs, 7, held_out=True), collate_pose, 64, 0), 4))
        evaluate = task.judge(held_out)
    schedule = Schedule(steps=options.steps, seconds=options.seconds, learning_rate=options.rate, muon=options.muon)
    network, loss = task.lesson(options.start, progress)
    stream = batches(scenes, task.collate, options.batch, options.workers)
    train(network, stream, loss, schedule, options.out, evaluate, progress)


class Task(NamedTuple):
    """What a recipe trains: how pictures are made, put together, by whose studio, and judged; network and loss, given a run's last.pt."""

    make: Callable
    collate: Callable
    size: tuple[int, int]
    lesson: Callable[[Path | None, Progress], tuple[nn.Module, Loss]]
    studio: type[Studio] = Studio
    judge: Callable[[list], Callable[[nn.Module], dict[str, float]]] | None = None


def _begun(network: nn.Module, start: Path | None) -> nn.Module:
    """A network with those weights of another run that fit."""
    if start:
        known, own = torch.load(start, map_location="cpu", weights_only=True)["model"], network.state_dict()
        network.load_state_dict({k: v for k, v in known.items() if k in own and v.shape == own[k].shape}, strict=False)
    return network


def _finished(start: Path | None) -> RTMDet:
    """A trained detector, its averaged weights as they are shipped, with a branch for owners that has learnt nothing yet."""
    if start is None:
        raise VitruvianError("owners are taught to a trained detector: name its last.pt with --start")
    network = defaults.detector_network(owners=True)
    trained = torch.load(start, map_location="cpu", weights_only=True)["averaged"]
    absent = network.load_state_dict(trained, strict=False).missing_keys
    if any(not name.startswith("owners.") for name in absent):
        raise WeightsError(f"{start} is no run of the detector: name the last.pt of one")
    return only_owners(network)


def _pose(start: Path | None, _: Progress) -> tuple[nn.Module, Loss]:
    return _begun(defaults.pose_network(), start), defaults.pose_loss


def _detector(start: Path | None, _: Progress) -> tuple[nn.Module, Loss]:
    return _begun(defaults.detector_network(), start), defaults.detector_loss


def _owners(start: Path | None, _: Progress) -> tuple[nn.Module, Loss]:
    return _finished(start), OwnerLesson()


def _pose_judge(held_out: list) -> Callable[[nn.Module], dict[str, float]]:
    return functools.partial(defaults.pose_error, held_out=held_out)


TASKS = {
    "pose": Task(pose_crop, collate_bodies, defaults.POSE_INPUT, _pose, judge=_pose_judge),
    "nano": Task(pose_crop, collate_pose, defaults.POSE_INPUT, light.first, judge=light.judged),
    "nano-second": Task(pose_crop, collate_pose, defaults.POSE_INPUT, light.second, judge=light.judged),
    "detector": Task(detection_scene, collate_scenes, defaults.SCENE, _detector),
    "owners": Task(owned_scene, collate_owned, defaults.CROWD, _owners, Repertory),
}


if __name__ == "__main__":
    main()
