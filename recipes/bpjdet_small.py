"""The claim of BPJDet in small, on synthetic crowds: association in one pass.

    vitruvian synth people -n 24000 --seed 1
    OMP_NUM_THREADS=1 nice python recipes/bpjdet_small.py ARM --store people --out runs/bpjdet_small

Arms, each with one command, resumable; every result is appended to OUT/results.jsonl and printed:

| arm | what |
|---|---|
| decoding | no training: true boxes, and hooks with noise of 6 % of the body's height: how often is a head hung on the wrong body? |
| prepare | paint the people that all other arms use (OUT/train.npz, OUT/test.npz: other people) |
| heads | train bodies and heads with offsets (`systems.detection.bpjdet`) |
| measure-heads | its detections joined by hooks, and by overlap, by nearness and by an assignment of boxes alone, for 2 ... 20 people |

The network is also left as OUT/heads/network.safetensors, for `vitruvian export`. Orientation: `bpjdet_headings.py`.

Pictures are 192 x 160, the network tiny (width 0.125, three levels) and trained from scratch for minutes of a shared core: detection is
far from the published figures. What is compared is compared on the same detections.
"""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path

import torch
from bpjdet_joining import growth, measure_association, measure_decoding
from bpjdet_scenes import SIZE, Scenes, batches, parser_of, prepare, tell

from vitruvian.codecs.association import HEAD
from vitruvian.nn.csp_darknet import AnchorNet
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.detection import bpjdet
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.train.detectors import labels_in, part_targets
from vitruvian.train.loop import Schedule, train
from vitruvian.train.scenes import CLASSES

WIDTH, DEPTH = 0.125, 0.33
HEADS = bpjdet.Config(WIDTH, DEPTH, HEAD, SIZE, levels=3)


def train_heads(out: Path, seconds: float, steps: int) -> None:
    """Train, or go on, and leave OUT/heads/network.safetensors for `vitruvian export`."""
    torch.manual_seed(0)
    scenes, model = Scenes(out / "train.npz", int(time.time()) % 10_000), bpjdet.network(HEADS)
    schedule = Schedule(steps, seconds, 2e-3, warmup=100, ema=400, report_every=50, save_every=100, flat=0.3, muon=True)
    teach = partial(part_targets, labels=labels_in(HEAD, CLASSES), part_set=HEAD)
    feed = batches(scenes, teach, partial(bpjdet.mirrored, part_set=HEAD))
    model = train(model, feed, lambda m, b: bpjdet.loss(m, m(b[0]), b[1], HEAD, "mean"), schedule, out / "heads")
    describe(model, SIZE, HEAD.classes[1:])
    write_state(model.state_dict(), out / "heads" / "network.safetensors", {"system": "bpjdet"})


def load(out: Path) -> tuple[AnchorNet, int]:
    """The averaged network of a run, and the steps that it was trained."""
    state = torch.load(out / "heads" / "last.pt", weights_only=True)
    model = bpjdet.network(HEADS)
    model.load_state_dict(state["averaged"])
    return model.eval(), state["step"]


def measure_heads(out: Path) -> list[dict]:
    """Association by each rule, on the same detections, for every density."""
    model, steps = load(out)
    rows = measure_association(model, Scenes(out / "test.npz", 1).crowd)
    return [{"arm": "heads", "steps": steps, **row} for row in [*rows, *growth(rows)]]


def main() -> None:
    parser = parser_of(__doc__, ("decoding", "prepare", "heads", "measure-heads"), "runs/bpjdet_small")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training, over all resumes")
    parser.add_argument("--steps", type=int, default=30_000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    prepare(chosen.store, chosen.out)
    if chosen.arm == "decoding":
        tell(measure_decoding(Scenes(chosen.out / "test.npz", 2).crowd), chosen.out)
    elif chosen.arm == "measure-heads":
        tell(measure_heads(chosen.out), chosen.out)
    elif chosen.arm == "heads":
        train_heads(chosen.out, chosen.seconds, chosen.steps)


if __name__ == "__main__":
    main()
