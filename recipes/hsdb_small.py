"""hSDB-instrument's claims in small, on drawn instruments (card hsdb-instrument.md section 8).

    OMP_NUM_THREADS=1 nice python recipes/hsdb_small.py ARM --out runs/hsdb_small

| arm | what |
|---|---|
| decoding | no training: 2 or 3 crossing tools of one name, true boxes, hooks with noise: how often is a part on the wrong tool? |
| real, randomised | train on 1,000 drawn frames in which two tools are rare (10 frames), without and with 300 randomised frames of these |
| measure | per-class AP of both on other frames, and conditional accuracy of hooks and of nearest centres |

Results are appended to OUT/results.jsonl. Nothing else is needed: frames are drawn as they are asked for, the same for the same seed.
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
from vitruvian.codecs.association import hang_parts
from vitruvian.codecs.detections import Detections
from vitruvian.data.hsdb_instrument import Tied
from vitruvian.geometry.boxes import iou
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes
from vitruvian.synth.instruments import PARTS, TOOLS, InstrumentPicture, instrument_picture
from vitruvian.systems.detection import hsdb_instrument as system
from vitruvian.train.loop import Schedule, train

SIZE = (192, 192)
NAMES = ("AtraumaticGrasper", "CurvedAtraumaticGrasper", "MarylandBipolarForceps", "Electrichook", "Scissors", "SmallClipApplier")
RARE = ("Scissors", "SmallClipApplier")
FRAMES, RARE_FRAMES, RANDOMISED, TEST, BATCH = 1000, 10, 300, 200, 8
CONFIG = system.Config(0.125, 0.33, NAMES, SIZE, levels=3)
CLASSES = len(CONFIG.classes)


def frame(number: int, randomised: bool) -> InstrumentPicture:
    """Training frame `number`; below RARE_FRAMES with a rare tool. Randomised ones always have one."""
    rng = np.random.default_rng((number, randomised))
    common = [name for name in NAMES if name not in RARE]
    names = rng.choice(common, rng.integers(1, 4)).tolist()
    if randomised or number < RARE_FRAMES:
        names[rng.integers(len(names))] = str(rng.choice(RARE))
    return instrument_picture(rng, names, SIZE, randomised)


def tied(picture: InstrumentPicture) -> Tied:
    """The instruments of a drawn frame, nothing ambiguous."""
    parts = np.full((len(picture.names), len(PARTS), 4), np.nan)
    parts[picture.owners, picture.labels] = picture.parts
    return Tied(picture.names, picture.wholes, parts, np.zeros(len(picture.names), bool))


def batches(randomised: bool, seed: int) -> Iterator[list]:
    """[pictures, targets] without end, frames with rare tools more often (`repeat_factors`)."""
    rng = np.random.default_rng(seed)
    pool = [(number, False) for number in range(FRAMES)] + [(number, True) for number in range(RANDOMISED) if randomised]
    present = np.array([[flag or number < RARE_FRAMES] for number, flag in pool])
    share = system.repeat_factors(present)
    while True:
        chosen = rng.choice(len(pool), BATCH, p=share / share.sum())
        pictures = [frame(*pool[i]) for i in chosen]
        each = [system.targets_of(tied(picture), NAMES) for picture in pictures]
        images = torch.cat([torch.full_like(one.images, i) for i, one in enumerate(each)])
        boxes, labels, points = (torch.cat([getattr(one, name) for one in each]) for name in ("boxes", "labels", "points"))
        yield [tensor([picture.image for picture in pictures]), system.Targets(boxes, labels, images, points)]


def tensor(images: list[np.ndarray]) -> torch.Tensor:
    """RGB uint8 -> (n, 3, h, w) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def run_training(arm: str, out: Path, steps: int, seconds: float) -> nn.Module:
    """Train an arm, or go on."""
    torch.manual_seed(0)
    schedule = Schedule(steps, seconds, 3e-3, warmup=60, ema=200, report_every=50, save_every=50, bf16=False)
    feed = batches(arm == "randomised", 0)
    return train(system.network(CONFIG), feed, lambda m, b: system.loss(m, m(b[0]), b[1], CLASSES), schedule, out / arm)


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


def by_hooks(wholes: np.ndarray, hooks: np.ndarray, parts: Detections) -> np.ndarray:
    """Each part's tool by BPJDet's rule."""
    _, part = hang_parts(wholes, hooks, Detections(parts.boxes, parts.scores, parts.labels + 1), system.SLOTS, 0.9)
    owners = np.full(len(parts), -1)
    row, slot = np.nonzero(part >= 0)
    owners[part[row, slot]] = row
    return owners


def measure_decoding() -> list[dict]:
    """True boxes of crossing tools of one name."""
    results = []
    names = [name for name in NAMES if not TOOLS[name].single]
    for count in (2, 3):
        wrong: dict[str, list[float]] = {"hooks": [], "nearest centre": []}
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
            wrong["hooks"].extend(by_hooks(picture.wholes, hooks, parts) != picture.owners)
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
        truth: list[tuple] = []
        found: list[tuple] = []
        right: dict[str, list[bool]] = {"hooks": [], "nearest centre": []}
        for number in range(TEST):
            rng = np.random.default_rng((number, 77))
            picture = instrument_picture(rng, rng.choice(NAMES, rng.integers(1, 4)).tolist(), SIZE)
            with torch.inference_mode():
                boxes, scores, points = (x[0].numpy() for x in deployed(tensor([picture.image])))
            one = system.find_instruments(Candidates(boxes, scores, points), len(NAMES), SIZE, SIZE)
            labels = [*(NAMES.index(name) for name in picture.names), *(len(NAMES) + picture.labels)]
            truth.append((np.full(len(labels), number), np.concatenate([picture.wholes, picture.parts]), np.array(labels, int)))
            both = np.concatenate([one.wholes.boxes, one.parts.boxes]), np.concatenate([one.wholes.labels, one.parts.labels + len(NAMES)])
            found.append((np.full(len(both[0]), number), *both, np.concatenate([one.wholes.scores, one.parts.scores])))
            for rule, owners in (("hooks", one.owners), ("nearest centre", nearest_centres(one.wholes.boxes, one.parts))):
                right[rule] += owned_right(picture, one, owners)
        columns = [np.concatenate(column) for column in zip(*truth, strict=True)]
        rows, means = system.ap_table(
            TrueBoxes(*columns, np.zeros(len(columns[0]), bool)),
            FoundBoxes(*(np.concatenate(c) for c in zip(*found, strict=True))),
            CONFIG.classes,
        )
        (out / f"{arm}.md").write_text(system.table_text(rows, means) + "\n")
        half = {name: round(ap50, 4) for name, _, _, ap50 in rows}
        accuracy = {rule: round(float(np.mean(values)), 4) if values else None for rule, values in right.items()}
        results.append({"arm": arm, "steps": state["step"], "AP50": half, "conditional accuracy": accuracy, "parts": len(right["hooks"])})
    return results


def owned_right(picture: InstrumentPicture, one: system.Instruments, owners: np.ndarray) -> list[bool]:
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
