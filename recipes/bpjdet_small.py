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
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bpjdet_scenes import DENSITIES, PICTURES, SIZE, Scenes, batches, candidates_of, parser_of, prepare, tell

from vitruvian.codecs.anchors import Candidates, select
from vitruvian.codecs.association import HEAD, Bodies, Thresholds, find_bodies, hang_parts, inside_share
from vitruvian.codecs.detections import Detections
from vitruvian.geometry.boxes import iou
from vitruvian.metrics.association import FoundPairs, Setup, TruePairs, miss_rate, pair_scores
from vitruvian.nn.csp_darknet import AnchorNet
from vitruvian.people.joining import join_parts
from vitruvian.synth.crowds import Crowd
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.detection import bpjdet
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.train.detectors import labels_in, part_targets
from vitruvian.train.loop import Schedule, train
from vitruvian.train.scenes import CLASSES, LEAST_VISIBLE

WIDTH, DEPTH = 0.125, 0.33
HEADS = bpjdet.Config(WIDTH, DEPTH, HEAD, SIZE, levels=3)


def head_rows(crowd: Crowd) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the heads, and their owners."""
    heads = crowd.labels == 0
    return crowd.parts[heads], crowd.owners[heads]


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


def by_inside(bodies: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Each head (surest first) to the body that most of it lies in, of equals the one whose top is nearest; a body has one head."""
    tops = np.stack([(bodies[:, 0] + bodies[:, 2]) / 2, bodies[:, 1]], 1)
    middles = (heads[:, :2] + heads[:, 2:]) / 2
    apart = np.linalg.norm(middles[:, None] - tops, axis=2)
    cost = -np.round(inside_share(heads, bodies), 2) * 1e4 + apart
    return one_each(cost, inside_share(heads, bodies) > 0.6)


def by_nearness(bodies: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Each head (surest first) to the body whose top centre is nearest, in widths and heights of that body; a body has one head."""
    size = np.maximum(bodies[:, 2:] - bodies[:, :2], 1)
    place = (((heads[:, :2] + heads[:, 2:]) / 2)[:, None] - bodies[:, :2]) / size - (0.5, 0.0)
    return one_each(np.linalg.norm(place, axis=2), inside_share(heads, bodies) > 0.6)


def one_each(cost: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The cheapest allowed body that has nothing yet, row by row; -1 for none."""
    owners, cost = np.full(len(cost), -1), np.where(allowed, cost, np.inf)
    for row in range(len(cost)):
        if cost.shape[1] and np.isfinite(cost[row]).any():
            owners[row] = cost[row].argmin()
            cost[:, owners[row]] = np.inf
    return owners


def owners_by(found: Bodies, hooks: np.ndarray, body_points: np.ndarray) -> dict[str, np.ndarray]:
    """For each rule, the body of every detected head."""

    def hung(rule: str) -> np.ndarray:
        _, part = hang_parts(found.boxes, hooks, found.parts, HEAD, rule=rule, body_points=body_points, scores=found.scores)
        owners = np.full(len(found.parts), -1)
        owners[part[part[:, 0] >= 0, 0]] = np.flatnonzero(part[:, 0] >= 0)
        return owners

    heads = found.parts.boxes
    return {
        "hooks": hung("published"),
        "hooks, best": hung("best"),
        "inside": by_inside(found.boxes, heads),
        "nearest top": by_nearness(found.boxes, heads),
        "assignment of boxes": join_parts(found.boxes, heads, ["head"] * len(heads)),
    }


def measure_heads(out: Path) -> list[dict]:
    """Association by each rule, on the same detections, for every density."""
    model, steps = load(out)
    return [{"arm": "heads", "steps": steps, **row} for row in measure_association(model, Scenes(out / "test.npz", 1).crowd, SIZE)]


def measure_association(model: AnchorNet, draw: Callable[[int], Crowd], size: tuple[int, int]) -> list[dict]:
    """A row for each number of people and each rule."""
    deployed, results = bpjdet.Deployed(model, HEAD).eval(), []
    for density in DENSITIES:
        truths, found, rules, took = [], [], [], 0.0
        for _ in range(PICTURES):
            crowd = draw(density)
            candidates = candidates_of(deployed, crowd.image)
            start = time.perf_counter()
            find_bodies(candidates, HEAD, size, size)
            took += time.perf_counter() - start
            bodies, hooks, points = looked(candidates)
            truths.append(crowd)
            found.append(bodies)
            rules.append(owners_by(bodies, hooks, points))
        for rule in rules[0]:
            results.append({"people": density, "rule": rule, **pair_figures(truths, found, [owners[rule] for owners in rules])})
        results[-1]["decode_ms"] = round(1e3 * took / PICTURES, 2)
    return results


def looked(candidates: Candidates) -> tuple[Bodies, np.ndarray, np.ndarray]:
    """Bodies and heads as `find_bodies` selects them, with nothing hung; the hooks (n, 1, 2); where each head expects its body (m, 2)."""
    t = Thresholds()
    bodies, extras = select(candidates, (0,), t.body_score, t.body_iou)
    heads, of_heads = select(candidates, (1,), t.part_score, t.part_iou)
    hooks = extras[:, :2].reshape(-1, 1, 2)
    empty = np.full((len(bodies), 1), -1), heads, np.zeros((len(bodies), 1, 0), np.float32)
    return Bodies(bodies.boxes, bodies.scores, hooks, *empty), hooks, of_heads[:, :2]


def pair_figures(truths: list[Crowd], found: list[Bodies], owners: list[np.ndarray]) -> dict[str, float]:
    """Conditional accuracy, joint AP, AP of heads, and miss rates of pairs and of bodies."""
    true, pairs, bodies, got, everybody, all_bodies, own = ([] for _ in range(7))
    for i, (crowd, one, owner) in enumerate(zip(truths, found, owners, strict=True)):
        heads, belongs = head_rows(crowd)
        ignore = crowd.visible < LEAST_VISIBLE
        true.append((np.full(len(heads), i), crowd.bodies[belongs], heads, crowd.visible[belongs], ignore[belongs]))
        everybody.append((np.full(len(crowd.bodies), i), crowd.bodies, crowd.visible, ignore))
        boxes = np.vstack([one.boxes, np.full((1, 4), np.nan)])[owner]  # a head that nobody has is wrong
        pairs.append((np.full(len(owner), i), np.nan_to_num(boxes, nan=-9.0), one.parts.boxes, one.parts.scores))
        has = np.flatnonzero(owner >= 0)
        bodies.append((np.full(len(has), i), one.boxes[owner[has]], one.parts.boxes[has], one.scores[owner[has]], one.parts.scores[has]))
        all_bodies.append((np.full(len(one), i), one.boxes, one.scores))
        got.append(len(has))
        own.append(on_their_own(crowd, one, owner))
    truth = TruePairs(*(np.concatenate(column) for column in zip(*true, strict=True)))
    with_heads = FoundPairs(*(np.concatenate(column) for column in zip(*pairs, strict=True)))
    hung = FoundPairs(*(np.concatenate(column) for column in zip(*bodies, strict=True)))
    image, boxes, visible, ignore = (np.concatenate(column) for column in zip(*everybody, strict=True))
    scores = pair_scores(truth, with_heads, inclusive=False)
    image2, boxes2, scores2 = (np.concatenate(column) for column in zip(*all_bodies, strict=True))
    bodies_only = miss_rate(TruePairs(image, boxes, None, visible, ignore), FoundPairs(image2, boxes2, None, scores2), len(truths))
    return {
        "conditional_accuracy": round(scores.conditional_accuracy, 4),
        "joint_ap": round(scores.joint_ap, 4),
        "head_ap": round(scores.part_ap, 4),
        "mMR-2": round(miss_rate(truth, hung, len(truths), Setup()), 4),
        "body MR-2": round(bodies_only, 4),
        "heads": int((~truth.ignore).sum()),
        "attached": int(sum(got)),
        **strict_figures(np.concatenate(own)),
    }


def on_their_own(crowd: Crowd, found: Bodies, owners: np.ndarray) -> np.ndarray:
    """Per true head (n, 2): whether it and its person are found, and whether it hangs on that person.

    Conditional accuracy takes any body that overlaps the right one by half for the right one; in a crowd that is often a neighbour.
    Here a body that was found is the person whom it overlaps most.
    """
    heads, belongs = head_rows(crowd)
    seen = crowd.visible[belongs] >= LEAST_VISIBLE
    heads, belongs = heads[seen].astype(float), belongs[seen]
    out = np.zeros((len(heads), 2), bool)
    if not len(heads) or not len(found) or not len(found.parts):
        return out
    overlap = iou(found.boxes.astype(float), crowd.bodies.astype(float))
    person = np.append(np.where(overlap.max(1) >= 0.5, overlap.argmax(1), -1), -1)
    overlap = iou(heads, found.parts.boxes.astype(float))
    part = overlap.argmax(1)
    out[:, 0] = (overlap.max(1) >= 0.5) & np.isin(belongs, person)
    out[:, 1] = out[:, 0] & (person[owners[part]] == belongs)
    return out


def strict_figures(own: np.ndarray) -> dict[str, float]:
    """Of rows of `on_their_own`."""
    both = int(own[:, 0].sum())
    return {"both found": both, "own": round(int(own[:, 1].sum()) / max(both, 1), 4), "own of all": round(float(own[:, 1].mean()), 4)}


def measure_decoding(draw: Callable[[int], Crowd]) -> list[dict]:
    """True boxes, and hooks with noise: share of heads on the wrong body, by rule."""
    rng, results = np.random.default_rng(0), []
    for density in DENSITIES:
        wrong: dict[str, list[float]] = {}
        for _ in range(PICTURES):
            crowd = draw(density)
            heads, belongs = head_rows(crowd)
            seen = crowd.visible >= LEAST_VISIBLE
            has = np.zeros(len(crowd.bodies), bool)
            has[belongs] = True
            rows = np.flatnonzero(seen & has)
            heads = heads[np.isin(belongs, rows)]
            own = np.searchsorted(rows, belongs[np.isin(belongs, rows)])
            bodies, height = crowd.bodies[rows], crowd.bodies[rows, 3] - crowd.bodies[rows, 1]
            middles = np.zeros((len(rows), 2))
            middles[own] = (heads[:, :2] + heads[:, 2:]) / 2
            hooks = middles + rng.normal(0, 0.06, (len(rows), 2)) * height[:, None]
            parts = Detections(heads, np.ones(len(heads), np.float32), np.ones(len(heads), np.int32))
            empty = np.zeros((len(rows), 1, 0), np.float32)
            made = Bodies(bodies, np.ones(len(rows), np.float32), hooks[:, None], np.full((len(rows), 1), -1), parts, empty)
            points = (bodies[own, :2] + bodies[own, 2:]) / 2 + rng.normal(0, 0.06, (len(own), 2)) * height[own, None]
            for rule, owners in owners_by(made, hooks[:, None], points).items():
                wrong.setdefault(rule, []).extend(owners != own)
        results += [
            {"arm": "decoding", "people": density, "rule": r, "wrong": round(float(np.mean(w)), 4), "heads": len(w)}
            for r, w in wrong.items()
        ]
    return results


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
