"""`python -m vitruvian.train pose|detector`: see `vitruvian.train.defaults`."""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
from pathlib import Path

import torch

from vitruvian.synth.scene import detection_scene, pose_crop
from vitruvian.train import defaults
from vitruvian.train.feed import Endless, batches, collate_bodies, collate_pose, collate_scenes
from vitruvian.train.loop import Schedule, train


def main() -> None:
    """Train one of the embedded defaults."""
    parser = argparse.ArgumentParser(prog="python -m vitruvian.train", description=__doc__)
    parser.add_argument("network", choices=("pose", "detector"))
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
    pose = options.network == "pose"
    make, collate, usual = (pose_crop, collate_bodies, defaults.POSE_INPUT) if pose else (detection_scene, collate_scenes, defaults.SCENE)
    draw = functools.partial(make, size=tuple(options.size or usual))
    stream = batches(Endless(draw, options.store, photographs, options.seed), collate, options.batch, options.workers)
    evaluate = None
    if pose:
        held_out = list(itertools.islice(batches(Endless(draw, options.store, photographs, 7, held_out=True), collate_pose, 64, 0), 4))
        evaluate = lambda model: defaults.pose_error(model, held_out)  # noqa: E731
    schedule = Schedule(steps=options.steps, seconds=options.seconds, learning_rate=options.rate, muon=options.muon)
    network, loss = (defaults.pose_network(), defaults.pose_loss) if pose else (defaults.detector_network(), defaults.detector_loss)
    if options.start:
        known, own = torch.load(options.start, map_location="cpu", weights_only=True)["model"], network.state_dict()
        network.load_state_dict({k: v for k, v in known.items() if k in own and v.shape == own[k].shape}, strict=False)
    train(network, stream, loss, schedule, options.out, evaluate)


if __name__ == "__main__":
    main()
