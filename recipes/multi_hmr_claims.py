"""Multi-HMR's head and close-ups in small (card multi-hmr.md, sections 3, 7 and 8; issue 10): figures in multi_hmr_small.md.

    python recipes/multi_hmr_claims.py keep  --data DATA --pose WHOLEBODY_S/last.pt --eye RUNS/close/last.pt --kept KEPT      (resumable)
    python recipes/multi_hmr_claims.py train --kept KEPT --eye RUNS/close/last.pt --out RUNS --arm plain --steps 500          (resumable)
    python recipes/multi_hmr_claims.py train --kept KEPT --pose WHOLEBODY_S/last.pt --start RUNS/lifted/last.pt --out RUNS --arm far
    python recipes/multi_hmr_claims.py judge --data DATA --pose or --eye FILE --out RUNS --arm plain --kind crowd --results FILE.json

What does not learn is computed once and kept, so that all arms see the same pictures, varied in the same way, in the same order, and a step
costs less. Of each of the 18 pictures of a batch an arm learns from 16; the batches come round again.

Heads. MapPose's part of a trained network (`eye`, which knows crowds) stays as it is; tokens and heads start from nothing:
    dense     a person is read off their own token: no cross-attention
    plain     HPH as published: two layers whose queries read all tokens
    readers   ours: before each layer people also read MapPose's maps of keypoints
Close-ups. MapPose's backbone stays as it is, the rest learns; the head is lifted (multi_hmr_lifting.py):
    far       9 crowds and 7 singles in a batch
    close     9 crowds, 5 singles and 2 close-ups
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from multi_hmr_small import ARMS as CONFIGS
from multi_hmr_small import RATE, Lesson, Scenes, judge, prepared, start_from, tell
from torch import Tensor, nn

from vitruvian.systems.mesh.multi_hmr import MultiHMR
from vitruvian.train.loop import Schedule, steps_done, train

HEADS = ("dense", "plain", "readers")
ARMS = (*HEADS, "far", "close")
COUNTS = {"crowd": 9, "single": 7, "close": 2}
FAR, CLOSE = [*range(16)], [*range(14), 16, 17]  # rows of a batch


class Kept(NamedTuple):
    """A batch: what doesn't learn of the pictures, cameras, and of each person: picture, pose, shape, translation, head, share seen."""

    maps: list[Tensor]
    camera: Tensor
    people: list[Tensor]

    def of(self, rows: list[int]) -> Kept:
        """Some of the pictures, and who is in them."""
        place = torch.full((len(self.camera),), -1)
        place[rows] = torch.arange(len(rows))
        mine = place[self.people[0]]
        order = torch.nonzero(mine >= 0)[:, 0]
        order = order[mine[order].argsort(stable=True)]
        return Kept([maps[rows].float() for maps in self.maps], self.camera[rows], [mine[order], *(c[order] for c in self.people[1:])])


class Remembered(nn.Module):
    """In place of the backbone: the maps that it made once."""

    maps: list[Tensor]

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.maps


def network(arm: str, options: argparse.Namespace) -> MultiHMR:
    """An arm's network as it starts, with what doesn't learn in place."""
    torch.manual_seed(0)
    model = MultiHMR(CONFIGS["dense" if arm == "dense" else "full"])
    if arm == "plain":
        model.head.readers = nn.ModuleList()
    if arm not in HEADS:
        start_from(model, options.start, options.pose, "backbone")
        return model
    trunk, learnt = "backbone.trunk.", torch.load(options.eye, map_location="cpu", weights_only=True)["averaged"]
    model.backbone.trunk.load_state_dict({n.removeprefix(trunk): v for n, v in learnt.items() if n.startswith(trunk)})
    model.backbone.trunk.requires_grad_(False)
    return model


@torch.no_grad()
def keep(options: argparse.Namespace) -> None:
    """Write batches: the backbone's maps of both kinds of arms; those of `eye` joined."""
    trunk = network("far", options).eval().backbone.trunk
    eye = network("dense", options).eval().backbone.trunk
    scenes = {kind: Scenes(sorted(options.data.glob(f"{kind}-train-*.npz"))) for kind in COUNTS}
    options.kept.mkdir(parents=True, exist_ok=True)
    for number in range(options.batches):
        path, rng = options.kept / f"{number:04d}.pt", np.random.default_rng([1, number])
        if path.exists():
            continue
        parts, before = [], 0
        for kind, count in COUNTS.items():
            batch = scenes[kind].batch(rng.integers(len(scenes[kind].images), size=count), rng)
            parts.append((*batch[:2], batch[2] + before, *batch[3:]))
            before += count
        images, camera, *people = (torch.cat(columns) for columns in zip(*parts, strict=True))
        seen = trunk.backbone(prepared(images))
        torch.save(([part.half() for part in (*seen, *eye.joined(*seen))], camera, people), path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)


def batches(options: argparse.Namespace) -> Iterator[tuple]:
    """The kept batches from where a run stands, over and over; the maps that the arm's network goes on from."""
    paths, step = sorted(options.kept.glob("*.pt")), steps_done(options.out / options.arm)
    while True:
        maps, *rest = torch.load(paths[step % len(paths)], weights_only=True)
        yield tuple(Kept(maps[3:] if options.arm in HEADS else maps[:3], *rest).of(CLOSE if options.arm == "close" else FAR))
        step += 1


def run(options: argparse.Namespace) -> None:
    """Train an arm, or go on with it."""
    model = network(options.arm, options)
    size, lesson, remembered = model.config.image_size, Lesson(model.config), Remembered()
    model.backbone.trunk.backbone = remembered
    if options.arm in HEADS:
        model.backbone.trunk.joined = lambda *maps: maps

    def lesson_of(student: MultiHMR, batch: tuple) -> dict[str, Tensor]:
        remembered.maps, camera, people = batch
        return lesson(student, (torch.zeros(len(camera), 3, size, size), camera, *people))

    schedule = Schedule(options.steps, float("inf"), RATE, 0.02, warmup=50, clip=4.0, ema=60.0, report_every=25, save_every=50)
    train(model, batches(options), lesson_of, schedule, options.out / options.arm)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("keep", "train", "judge"))
    for name in ("data", "kept", "out", "start", "pose", "eye", "results"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--arm", choices=ARMS)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batches", type=int, default=250)
    parser.add_argument("--kind", choices=COUNTS, default="crowd")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    if options.task == "keep":
        keep(options)
    elif options.task == "train":
        run(options)
    else:
        model, learnt = network(options.arm, options), torch.load(options.out / options.arm / "last.pt", weights_only=True)
        model.load_state_dict(learnt["averaged"], strict=False)
        line = {"arm": options.arm, "steps": learnt["step"], "scenes": options.kind}
        tell(line | judge(model.eval(), options.data, 0.3, options.kind), options.results)


if __name__ == "__main__":
    main()
