"""hSDB-instrument's claims in small, on drawn instruments (card hsdb-instrument.md section 8).

    OMP_NUM_THREADS=1 nice python recipes/hsdb_small.py ARM --out runs/hsdb_small

| arm | what |
|---|---|
| decoding | no training: 2 or 3 crossing tools of one name, true boxes, hooks with noise: how often is a part on the wrong tool? |
| real, randomised | train on 1,000 drawn frames in which two tools are rare (10 frames), without and with 300 randomised frames of these |
| measure | AP by the data set's classes (instrument and part) on other frames; conditional accuracy of hooks and nearest centres |

Trained networks are also left as OUT/ARM/network.safetensors, for `vitruvian export`. Results are appended to OUT/results.jsonl. Nothing
else is needed: frames are drawn as they are asked for, the same for the same seed.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.association import Rule, hang_parts
from vitruvian.codecs.detections import Detections
from vitruvian.codecs.instruments import SLOTS, Instruments, find_instruments
from vitruvian.data.judge_instruments import product_table, table_text
from vitruvian.geometry.boxes import iou
from vitruvian.synth.instruments import PARTS, TOOLS, InstrumentPicture, instrument_picture
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.detection import hsdb_instrument as system
from vitruvian.train.loop import Schedule, train
from vitruvian.train.scenes import Taught, collate_taught, scaled, tied_of

SIZE = (192, 192)
NAMES = ("AtraumaticGrasper", "CurvedAtraumaticGrasper", "MarylandBipolarForceps", "Electrichook", "Scissors", "SmallClipApplier")
RARE = ("Scissors", "SmallClipApplier")
FRAMES, RARE_FRAMES, RANDOMISED, TEST, BATCH = 1000, 10, 300, 200, 8
CONFIG = system.Config(0.125, 0.33, NAMES, SIZE, levels=3)
CLASSES = len(CONFIG.classes)
PRODUCTS = tuple(
    product
    for name in NAMES
    for product in ((name,) if TOOLS[name].single else [f"{name}_{p.capitalize()}" for p in PARTS if p != "wrist" or TOOLS[name].wrist])
)
"""The classes of the data set's kind: instrument and part."""


def frame(number: int, randomised: bool) -> InstrumentPicture:
    """Training frame `number`; below RARE_FRAMES with a rare tool. Randomised ones always have one."""
    rng = np.random.default_rng((number, randomised))
    common = [name for name in NAMES if name not in RARE]
    names = rng.choice(common, rng.integers(1, 4)).tolist()
    if randomised or number < RARE_FRAMES:
        names[rng.integers(len(names))] = str(rng.choice(RARE))
    return instrument_picture(rng, names, SIZE, randomised)


def batches(randomised: bool, seed: int) -> Iterator[list]:
    """[pictures, targets] without end, frames with rare tools more often (`repeat_factors`)."""
    rng = np.random.default_rng(seed)
    pool = [(number, False) for number in range(FRAMES)] + [(number, True) for number in range(RANDOMISED) if randomised]
    present = np.array([[flag or number < RARE_FRAMES] for number, flag in pool])
    share = system.repeat_factors(present)
    while True:
        chosen = rng.choice(len(pool), BATCH, p=share / share.sum())
        pictures = [frame(*pool[i]) for i in chosen]
        images, targets = collate_taught([Taught(one.image, system.targets_of(tied_of(one), NAMES)) for one in pictures])
        yield [scaled(images), targets]


def run_training(arm: str, out: Path, steps: int, seconds: float) -> nn.Module:
    """Train an arm, or go on."""
    torch.manual_seed(0)
    schedule = Schedule(steps, seconds, 3e-3, warmup=60, ema=200, report_every=50, save_every=50, bf16=False)
    feed = batches(arm == "randomised", 0)
    model = train(system.network(CONFIG), feed, lambda m, b: system.loss(m, m(b[0]), b[1], CLASSES), schedule, out / arm)
    write_state(model.state_dict(), out / arm / "network.safetensors", {"system": "hsdb-instrument"})
    return model


def nearest_centres(wholes: np.ndarray, parts: Detections) -> np.ndarray:
    """Each part (surest first) to the tool whose middle is nearest; a tool has one of each kind."""
    middles = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (parts.boxes, wholes)]
    owners, taken = np.full(len(parts), -1), np.zeros((len(wholes), len(PARTS)), bool)
    for row, label in enumerate(parts.labels.tolist()):
        free = np.flatnonzero(~taken[:, label])
        if len(free):
            owners[row] = free[np.linalg.norm(middles[1][free] - middles[0][row], axis=1).argmin()]
            taken[owners[row], label] = True
    return owners


def by_hooks(wholes: np.ndarray, hooks: np.ndarray, parts: Detections, rule: Rule, points: np.ndarray) -> np.ndarray:
    """Each part's tool by a rule of `codecs.association`; points: where each part expects its tool's middle."""
    _, part = hang_parts(wholes, hooks, Detections(parts.boxes, parts.scores, parts.labels + 1), SLOTS, 0.9, rule, points)
    owners = np.full(len(parts), -1)
    row, slot = np.nonzero(part >= 0)
    owners[part[row, slot]] = row
    return owners


def measure_decoding() -> list[dict]:
    """True boxes of crossing tools of one name."""
    results = []
    names = [name for name in NAMES if not TOOLS[name].single]
    for count in (2, 3):
        wrong: dict[str, list[float]] = {"hooks": [], "hooks, best": [], "nearest centre": []}
        for seed in range(200):
            rng = np.random.default_rng((seed, count))
            picture = instrument_picture(rng, [str(rng.choice(names))] * count, SIZE)
            if len(picture.names) < count:
                continue
            parts = Detections(picture.parts, np.ones(len(picture.parts), np.float32), picture.labels.astype(np.int32))
            size = np.sqrt(np.prod(picture.wholes[:, 2:] - picture.wholes[:, :2], axis=1))
            hooks = np.full((count, len(PARTS), 2), 1e4)
            hooks[picture.owners, picture.labels] = (parts.boxes[:, :2] + parts.boxes[:, 2:]) / 2
            hooks += rng.normal(0, 0.06, hooks.shape) * size[:, None, None]
            middles = (picture.wholes[:, :2] + picture.wholes[:, 2:])[picture.owners] / 2
            points = middles + rng.normal(0, 0.06, middles.shape) * size[picture.owners, None]
            for name, rule in (("hooks", "published"), ("hooks, best", "best")):
                wrong[name].extend(by_hooks(picture.wholes, hooks, parts, rule, points) != picture.owners)
            wrong["nearest centre"].extend(nearest_centres(picture.wholes, parts) != picture.owners)
        for rule, errors in wrong.items():
            results.append(
                {"arm": "decoding", "tools": count, "rule": rule, "wrong": round(float(np.mean(errors)), 4), "parts": len(errors)}
            )
    return results


def measure(out: Path) -> list[dict]:
    """Per-class AP of wholes and parts, and of attached parts the share on the right tool."""
    results = []
    for arm in ("real", "randomised"):
        if not (out / arm / "last.pt").exists():
            continue
        state = torch.load(out / arm / "last.pt", weights_only=True)
        model = system.network(CONFIG)
        model.load_state_dict(state["averaged"])
        deployed = system.Deployed(model, CLASSES).eval()
        truth, found = [], []
        right: dict[str, list[bool]] = {"hooks": [], "nearest centre": []}
        for number in range(TEST):
            rng = np.random.default_rng((number, 77))
            picture = instrument_picture(rng, rng.choice(NAMES, rng.integers(1, 4)).tolist(), SIZE)
            with torch.inference_mode():
                image = torch.from_numpy(picture.image[None]).permute(0, 3, 1, 2)
                boxes, scores, points = (x[0].numpy() for x in deployed(scaled(image)))
            one = find_instruments(Candidates(boxes, scores, points), len(NAMES), SIZE, SIZE)
            truth.append(true_products(picture))
            found.append(one.products(NAMES, PRODUCTS))
            for rule, owners in (("hooks", one.owners), ("nearest centre", nearest_centres(one.wholes.boxes, one.parts))):
                right[rule] += owned_right(picture, one, owners)
        rows, means = product_table(truth, found, PRODUCTS)
        (out / f"{arm}.md").write_text(table_text(rows, means) + "\n")
        half = {name: round(ap50, 4) for name, _, _, ap50 in rows}
        accuracy = {rule: round(float(np.mean(values)), 4) if values else None for rule, values in right.items()}
        results.append({"arm": arm, "steps": state["step"], "AP50": half, "conditional accuracy": accuracy, "parts": len(right["hooks"])})
    return results


def true_products(picture: InstrumentPicture) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of a drawn frame that are of a class of PRODUCTS, and which."""
    names = [*picture.names, *(f"{picture.names[o]}_{PARTS[k].capitalize()}" for o, k in zip(picture.owners, picture.labels, strict=True))]
    known = [i for i, name in enumerate(names) if name in PRODUCTS]
    return np.concatenate([picture.wholes, picture.parts])[known], np.array([PRODUCTS.index(names[i]) for i in known], int)


def owned_right(picture: InstrumentPicture, one: Instruments, owners: np.ndarray) -> list[bool]:
    """For each detected part that is a true one, whether its tool is that one's."""
    out = []
    overlap = iou(one.parts.boxes, picture.parts) * (one.parts.labels[:, None] == picture.labels)
    for row in np.flatnonzero(overlap.max(1, initial=0) > 0.5):
        true = picture.owners[overlap[row].argmax()]
        whole = one.wholes.boxes[owners[row] : owners[row] + 1] if owners[row] >= 0 else np.zeros((1, 4))
        out.append(bool(iou(whole, picture.wholes[true : true + 1])[0, 0] > 0.5))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=("decoding", "real", "randomised", "measure"))
    parser.add_argument("--out", type=Path, default=Path("runs/hsdb_small"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training, over all resumes")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.arm in ("real", "randomised"):
        run_training(chosen.arm, chosen.out, chosen.steps, chosen.seconds)
        return
    results = measure_decoding() if chosen.arm == "decoding" else measure(chosen.out)
    with (chosen.out / "results.jsonl").open("a") as file:
        for row in results:
            print(json.dumps(row))
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
