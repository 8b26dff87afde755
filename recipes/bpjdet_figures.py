"""BPJDet's claim in small as the card asks for it (bpjdet.md section 8): crowds of leaning ellipses with discs for heads.

    OMP_NUM_THREADS=1 nice python recipes/bpjdet_figures.py ARM --out runs/bpjdet_figures

| arm | what |
|---|---|
| decoding | no training: true boxes and noisy hooks; how dense the crowds are |
| train | bodies and heads with offsets, from scratch, resumable: --seconds of a core |
| measure | its detections on other pictures, joined by each rule of `bpjdet_joining.py`, for 2 to 20 figures; how the gap grows |

Rows are printed and appended to OUT/results.jsonl.

Painted people are hard to find for so small a network, and their heads are where one expects them. These are easy to find, and their boxes
don't tell where their heads are. Figures are of one size whatever their number, and small in the picture: were they large, most of a
crowd of 20 would be hidden by the rest, and it would be no denser than one of 8.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from bpjdet_joining import SETTINGS, growth, head_rows, hook_errors, joined, measure_association, measure_decoding, pair_figures
from bpjdet_scenes import DENSITIES, PICTURES, batches, candidates_of, tell
from torch import Tensor

from vitruvian.codecs.association import HEAD
from vitruvian.geometry.boxes import iou
from vitruvian.nn.anchors import Targets
from vitruvian.nn.csp_darknet import AnchorNet
from vitruvian.synth.crowds import Crowd, crowd_picture, figure
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.detection import bpjdet
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.train.detectors import labels_in, part_targets
from vitruvian.train.loop import Schedule, steps_done, train
from vitruvian.train.scenes import CLASSES, LEAST_VISIBLE

SIZE = (192, 160)
TALL = (0.25, 0.4)  # of the picture's height
FIGURES = 300
BATCH = 16
RATE = 3e-3
PART_WEIGHT = 3.0  # hooks stay coarse with the published weight
CONFIG = bpjdet.Config(0.125, 0.33, HEAD, SIZE, levels=3)


class Drawn:
    """Crowds of drawn figures before blurred colours, without end."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.actors = [figure(self.rng) for _ in range(FIGURES)]

    def crowd(self, count: int) -> Crowd:
        """A picture of so many."""
        colours = self.rng.integers(60, 200, (4, 5, 3), np.uint8)
        return crowd_picture(self.rng, self.actors, cv2.resize(colours, SIZE, interpolation=cv2.INTER_CUBIC), count, TALL)


def loss(model: AnchorNet, batch: tuple[Tensor, Targets]) -> dict[str, Tensor]:
    """The published one, with PART_WEIGHT times the weight for hooks."""
    out = bpjdet.loss(model, model(batch[0]), batch[1], HEAD, "mean")
    return out | {"total": out["total"] + (PART_WEIGHT - 1) * out["part"]}


def train_figures(out: Path, steps: int, seconds: float) -> None:
    """Train, or go on; leaves OUT/network.safetensors for `vitruvian export`."""
    torch.manual_seed(0)
    schedule = Schedule(steps, seconds, RATE, warmup=100, ema=400, save_every=250, flat=0.4, muon=True)
    teach = partial(part_targets, labels=labels_in(HEAD, CLASSES), part_set=HEAD)
    feed = batches(Drawn(100 + steps_done(out)), teach, partial(bpjdet.mirrored, part_set=HEAD), size=BATCH)
    model = train(bpjdet.network(CONFIG), feed, loss, schedule, out, evaluate)
    describe(model, SIZE, HEAD.classes[1:])
    write_state(model.state_dict(), out / "network.safetensors", {"system": "bpjdet"})


def evaluate(model: AnchorNet, pictures: int = 15) -> dict[str, float]:
    """A look at few pictures while training: AP of heads, and per rule the conditional accuracy, with few and with many figures."""
    deployed, drawn, out = bpjdet.Deployed(model, HEAD).eval(), Drawn(3), {}
    for count in (2, 6, 12, 20):
        crowds = [drawn.crowd(count) for _ in range(pictures)]
        seen = [joined(crowd, candidates_of(deployed, crowd.image), SETTINGS["published"]) for crowd in crowds]
        figures = {rule: pair_figures(seen, rule) for rule in ("hooks", "hooks, best", "inside", "nearest top")}
        out |= {f"{rule} {count}": of["conditional_accuracy"] for rule, of in figures.items()}
        out |= {f"head_ap {count}": figures["hooks"]["head_ap"], f"body_mr {count}": figures["hooks"]["body MR-2"]}
        out[f"hook_error {count}"] = float(np.median(np.concatenate([hook_errors(one) for one in seen])))
    return out


def measure_figures(out: Path, pictures: int) -> list[dict]:
    """The averaged network of a run on pictures that no training has seen."""
    state = torch.load(out / "last.pt", weights_only=True)
    model = bpjdet.network(CONFIG)
    model.load_state_dict(state["averaged"])
    rows = measure_association(model.eval(), Drawn(1).crowd, pictures)
    return [{"arm": "figures", "steps": state["step"], **row} for row in [*rows, *growth(rows)]]


def crowding(draw: Callable[[int], Crowd], pictures: int = PICTURES) -> list[dict]:
    """For each number of figures: how many of them and of their heads are seen in a picture, and how much each overlaps the next one."""
    rows = []
    for count in DENSITIES:
        bodies, heads, overlap = 0, 0, []
        for crowd in (draw(count) for _ in range(pictures)):
            seen = crowd.visible >= LEAST_VISIBLE
            boxes = crowd.bodies[seen].astype(float)
            bodies, heads = bodies + len(boxes), heads + int(seen[head_rows(crowd)[1]].sum())
            overlap += (iou(boxes, boxes) - np.eye(len(boxes))).max(1).tolist()
        seen_of_each = {"bodies": bodies / pictures, "heads": heads / pictures, "overlap": float(np.mean(overlap))}
        rows.append({"arm": "crowding", "people": count} | {name: round(value, 3) for name, value in seen_of_each.items()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=("decoding", "train", "measure"))
    parser.add_argument("--out", type=Path, default=Path("runs/bpjdet_figures"))
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=3600, help="of training, over all resumes")
    parser.add_argument("--pictures", type=int, default=300, help="for each number of figures")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.arm == "train":
        train_figures(chosen.out, chosen.steps, chosen.seconds)
    elif chosen.arm == "measure":
        tell(measure_figures(chosen.out, chosen.pictures), chosen.out)
    else:
        tell([*crowding(Drawn(2).crowd, chosen.pictures), *measure_decoding(Drawn(2).crowd, chosen.pictures)], chosen.out)


if __name__ == "__main__":
    main()
