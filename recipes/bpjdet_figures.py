"""BPJDet's claim in small as the card asks for it (bpjdet.md section 8): crowds of leaning ellipses with discs for heads.

    OMP_NUM_THREADS=1 nice python recipes/bpjdet_figures.py --out runs/bpjdet_figures

Trains bodies and heads with offsets from scratch, resumable, and joins its detections on other pictures by each rule of `bpjdet_small.py`,
for 2 to 20 figures. `--steps 0` asks the same of true boxes and noisy hooks. Rows are printed and appended to OUT/results.jsonl.

Painted people are hard to find for so small a network, and their heads are where one expects them. These are easy to find, and their boxes
don't tell where their heads are.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from bpjdet_scenes import batches, tell
from bpjdet_small import DEPTH, WIDTH, measure_association, measure_decoding

from vitruvian.codecs.association import HEAD
from vitruvian.synth.crowds import Crowd, crowd_picture, figure
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.detection import bpjdet
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.train.detectors import labels_in, part_targets
from vitruvian.train.loop import Schedule, steps_done, train
from vitruvian.train.scenes import CLASSES

SIZE = (128, 96)
FIGURES = 300


class Drawn:
    """Crowds of drawn figures before blurred colours, without end."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.actors = [figure(self.rng) for _ in range(FIGURES)]

    def crowd(self, count: int) -> Crowd:
        """A picture of so many."""
        colours = self.rng.integers(60, 200, (4, 5, 3), np.uint8)
        return crowd_picture(self.rng, self.actors, cv2.resize(colours, SIZE, interpolation=cv2.INTER_CUBIC), count, (0.4, 0.8))


def trained(out: Path, steps: int) -> list[dict]:
    """Train, or go on, and measure; leaves OUT/network.safetensors for `vitruvian export`."""
    torch.manual_seed(0)
    schedule = Schedule(steps, learning_rate=3e-3, warmup=50, ema=100, save_every=100, muon=True)
    teach = partial(part_targets, labels=labels_in(HEAD, CLASSES), part_set=HEAD)
    feed = batches(Drawn(steps_done(out)), teach, partial(bpjdet.mirrored, part_set=HEAD))
    network = bpjdet.network(bpjdet.Config(WIDTH, DEPTH, HEAD, SIZE, levels=3))
    model = train(network, feed, lambda m, b: bpjdet.loss(m, m(b[0]), b[1], HEAD, "mean"), schedule, out)
    describe(model, SIZE, HEAD.classes[1:])
    write_state(model.state_dict(), out / "network.safetensors", {"system": "bpjdet"})
    return [{"arm": "figures", "steps": steps, **row} for row in measure_association(model, Drawn(1).crowd, SIZE)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bpjdet_figures"))
    parser.add_argument("--steps", type=int, default=1500)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    results = trained(chosen.out, chosen.steps) if chosen.steps else measure_decoding(Drawn(2).crowd)
    tell(results, chosen.out)


if __name__ == "__main__":
    main()
