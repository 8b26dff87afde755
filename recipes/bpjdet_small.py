"""The claims of BPJDet and JointBDOE in small, on synthetic crowds: association in one pass, and orientation in one pass.

    vitruvian synth people -n 24000 --seed 1
    OMP_NUM_THREADS=1 nice python recipes/bpjdet_small.py ARM --store people --out runs/bpjdet_small

Arms, each with one command, resumable; every result is appended to OUT/results.jsonl and printed:

| arm | what |
|---|---|
| decoding | no training: true boxes, and hooks with noise of 6 % of the body's height: how often is a head hung on the wrong body? |
| prepare | paint the people that all other arms use (OUT/train.npz, OUT/test.npz: other people) |
| heads | train bodies and heads with offsets (`systems.detection.bpjdet`) |
| measure-heads | its detections joined by hooks, and by overlap, by nearness and by an assignment of boxes alone, for 2 ... 20 people |
| facing | train bodies with orientation (`systems.detection.jointbdoe`, the vector head, every answer taught) |
| plain | the same with the published scalar head, its loss that is not circular, and its gate |
| crops | train a classifier of 72 directions on crops of people |
| measure-facing | all three on the same pictures, in degrees and in milliseconds per picture |

Arms of orientation begin with few people side by side and end with crowds. `--start DIR` begins with another run's weights. Detectors are
also left as OUT/ARM/network.safetensors, for `vitruvian export`.

Pictures are 192 x 160, the networks tiny (width 0.125, three levels) and trained from scratch for minutes of a shared core: detection is
far from the published figures. What is compared is compared on the same detections.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vitruvian.codecs.anchors import Candidates, select
from vitruvian.codecs.association import HEAD, Bodies, Thresholds, find_bodies, hang_parts, inside_share
from vitruvian.codecs.detections import Detections
from vitruvian.codecs.orientation import Facing, find_facing
from vitruvian.data.parts import PartPicture
from vitruvian.geometry.boxes import iou
from vitruvian.metrics.association import FoundPairs, Setup, TruePairs, miss_rate, pair_scores
from vitruvian.metrics.orientation import Facings, OrientationScores, orientation_scores
from vitruvian.nn.anchors import Targets
from vitruvian.nn.csp_darknet import AnchorNet
from vitruvian.people.joining import join_parts
from vitruvian.synth.crowds import Actor, Crowd, cast, crowd_picture
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import Store
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.detection import bpjdet, jointbdoe
from vitruvian.systems.detection.anchor_family import describe
from vitruvian.train.detectors import facing_targets, labels_in, part_targets
from vitruvian.train.loop import Progress, Schedule, train
from vitruvian.train.scenes import CLASSES, LEAST_VISIBLE, Mirror, Taught, collate_taught, picture_of, scaled

SIZE = (192, 160)
WIDTH, DEPTH = 0.125, 0.33
BATCH, NEW = 8, 3  # pictures of a batch, and how many of them were never seen: drawing costs as much as a step
DENSITIES = (2, 4, 6, 8, 12, 16, 20)
TRAIN_DENSITIES = (1, 2, 3, 4, 6, 8, 12, 16, 20)
PICTURES = 100  # per density; with fewer the miss rate's published rule reads the final recall
BINS, CROP = 72, (48, 96)  # of the classifier; width, height of a crop
HEADS = bpjdet.Config(WIDTH, DEPTH, HEAD, SIZE, levels=3)
FACING = jointbdoe.Config(WIDTH, DEPTH, "vector", SIZE, levels=3)
PLAIN = jointbdoe.Config(WIDTH, DEPTH, "fraction", SIZE, levels=3)


class Scenes:
    """Painted people and backdrops on disk, and crowds made of them without end."""

    def __init__(self, file: Path, seed: int):
        data = np.load(file)
        ends = np.cumsum(data["shapes"].prod(1))
        images = [x.reshape(shape) for x, shape in zip(np.split(data["pixels"], ends[:-1]), data["shapes"], strict=True)]
        self.actors = [Actor(*row) for row in zip(images, data["bodies"], data["parts"], data["headings"].tolist(), strict=True)]
        self.backdrops, self.rng = data["backdrops"], np.random.default_rng(seed)

    def crowd(self, count: int, apart: bool = False) -> Crowd:
        """A picture of so many people, close together or side by side."""
        backdrop = self.backdrops[self.rng.integers(len(self.backdrops))]
        x, y = (int(self.rng.integers(0, have - need + 1)) for have, need in zip(backdrop.shape[1::-1], SIZE, strict=True))
        piece = backdrop[y : y + SIZE[1], x : x + SIZE[0]]
        return crowd_picture(self.rng, self.actors, piece, count, (0.4, 0.8), apart)


def prepare(store: Path, out: Path) -> None:
    """Paint people and backdrops, where that is not done yet."""
    if all((out / f"{name}.npz").exists() for name in ("train", "test")):
        return
    people = Store.open(store, truth=True)
    for name, held_out, count, backdrops in (("train", False, 500, 150), ("test", True, 100, 40)):
        if (out / f"{name}.npz").exists():
            continue
        rng = np.random.default_rng(held_out)
        studio = Studio.open(people, [], rng, backdrops=backdrops, held_out=held_out)
        actors = cast(rng, studio, count)
        np.savez_compressed(
            out / f"{name}.npz",
            pixels=np.concatenate([a.image.ravel() for a in actors]),
            shapes=np.array([a.image.shape for a in actors]),
            bodies=np.stack([a.body for a in actors]),
            parts=np.stack([a.parts for a in actors]),
            headings=np.array([a.heading for a in actors]),
            backdrops=np.stack([studio.backdrops[i] for i in range(backdrops)]),
        )


def tensor(images: Sequence[np.ndarray]) -> Tensor:
    """RGB uint8 -> (n, 3, h, w) in [0, 1]."""
    return scaled(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))


def head_rows(crowd: Crowd) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of the heads, and their owners."""
    heads = crowd.labels == 0
    return crowd.parts[heads], crowd.owners[heads]


def any_number(scenes: Scenes) -> Crowd:
    """A picture of any number of people."""
    return scenes.crowd(int(scenes.rng.choice(TRAIN_DENSITIES)))


def few_first(scenes: Scenes, progress: Progress) -> Crowd:
    """The same, but up to four side by side until two fifths of the run, then more and more, and any number from seven tenths on.

    Who hides behind others tells little of where they face: in crowds alone, networks of this size learn to say what is most frequent.
    """
    if progress.fraction < 0.4:
        return scenes.crowd(int(scenes.rng.integers(1, 5)), apart=True)
    share = min(1.0, (progress.fraction - 0.4) / 0.3)
    return scenes.crowd(int(scenes.rng.choice(TRAIN_DENSITIES[: 4 + round(share * (len(TRAIN_DENSITIES) - 4))])))


def batches(
    scenes: Scenes, teach: Callable[[PartPicture], Targets], mirror: Mirror, draw: Callable[[Scenes], Crowd] = any_number
) -> Iterator[list]:
    """[pictures, targets] without end; a picture is seen two or three times, mirrored and in other exposures."""
    recent: list[Taught] = []
    while True:
        crowds = [draw(scenes) for _ in range(NEW if recent else BATCH)]
        fresh = [Taught(crowd.image, teach(picture_of(crowd))) for crowd in crowds]
        known = [recent[scenes.rng.integers(len(recent))] for _ in range(BATCH - len(fresh))]
        recent = [*recent, *fresh][-64:]
        turned = [
            Taught(t.image[:, ::-1].copy(), mirror(t.targets, t.image.shape[1])) if scenes.rng.random() < 0.5 else t
            for t in [*fresh, *known]
        ]
        images, targets = collate_taught([Taught(jitter(scenes.rng, t.image), t.targets) for t in turned])
        yield [scaled(images), targets]


def jitter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Another exposure, and now and then blur."""
    image = cv2.convertScaleAbs(image, alpha=rng.uniform(0.7, 1.3), beta=rng.uniform(-25, 25))
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0)) if rng.random() < 0.3 else image


class CropClassifier(nn.Module):
    """A crop of a person (b, 3, 96, 48) -> 72 scores: five convolutions, the mean, a layer."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128, 160)
        steps = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            steps += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.SiLU()]
        self.body, self.head = nn.Sequential(*steps), nn.Linear(widths[-1], BINS)

    def forward(self, crops: Tensor) -> Tensor:
        """Scores of the bins 0, 5, ... degrees."""
        return self.head(self.body(crops).mean((2, 3)))


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The person in `box`, with a quarter around, in CROP pixels."""
    middle, size = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 2)
    height = 1.25 * max(size[1], size[0] * CROP[1] / CROP[0])
    zoom = CROP[1] / height
    matrix = np.column_stack([np.diag([zoom, zoom]), np.array(CROP) / 2 - zoom * middle])
    return cv2.warpAffine(image, matrix, CROP, borderValue=(114, 114, 114))


def crop_batches(scenes: Scenes, draw: Callable[[Scenes], Crowd] = any_number) -> Iterator[list]:
    """[crops of true, jittered boxes; radians] without end: 64 people at a time, each seen four times or so, mirrored half of the time."""
    recent: list[tuple[np.ndarray, float]] = []
    while True:
        fresh: list[tuple[np.ndarray, float]] = []
        while len(fresh) < (16 if recent else 64):
            crowd = draw(scenes)
            image = jitter(scenes.rng, crowd.image)
            for row in np.flatnonzero(crowd.visible >= LEAST_VISIBLE):
                size = np.tile(crowd.bodies[row, 2:] - crowd.bodies[row, :2], 2)
                fresh.append((crop(image, crowd.bodies[row] + scenes.rng.normal(0, 0.05, 4) * size), crowd.headings[row]))
        recent = [*recent, *fresh][-512:]
        known = [recent[scenes.rng.integers(len(recent))] for _ in range(max(0, 64 - len(fresh)))]
        turned = [(a[:, ::-1], -angle) if scenes.rng.random() < 0.5 else (a, angle) for a, angle in [*fresh, *known]]
        yield [tensor([a for a, _ in turned]), torch.tensor([angle for _, angle in turned])]


def crop_loss(model: nn.Module, batch: list) -> dict[str, Tensor]:
    """Cross-entropy against a bump of 2 bins around the true direction, as MEBOW's."""
    angles = torch.arange(BINS) * (2 * math.pi / BINS)
    away = torch.rad2deg(torch.acos(torch.cos(angles - batch[1][:, None]).clamp(-1, 1)))
    wanted = torch.softmax(-0.5 * (away / 10) ** 2, 1)
    return {"total": -(wanted * model(batch[0]).log_softmax(1)).sum(1).mean()}


def train_arm(arm: str, out: Path, seconds: float, steps: int, start: Path | None) -> nn.Module:
    """Train an arm, or go on; returns the averaged network. start: a run whose averaged weights to begin with, but for the last layers."""
    torch.manual_seed(0)
    scenes = Scenes(out / "train.npz", int(time.time()) % 10_000)
    model = build(arm)
    if start is not None:
        begin_with(model, torch.load(start / "last.pt", weights_only=True)["averaged"])
    schedule = Schedule(steps, seconds, 2e-3, warmup=100, ema=400, report_every=50, save_every=100, flat=0.3, muon=True)
    progress = Progress()
    draw = partial(few_first, progress=progress)
    if arm == "crops":
        return train(model, crop_batches(scenes, draw), crop_loss, schedule, out / arm, progress=progress)
    if arm == "heads":
        teach = partial(part_targets, labels=labels_in(HEAD, CLASSES), part_set=HEAD)
        feed = batches(scenes, teach, partial(bpjdet.mirrored, part_set=HEAD))
        return train(model, feed, lambda m, b: bpjdet.loss(m, m(b[0]), b[1], HEAD, "mean"), schedule, out / arm)
    feed = batches(scenes, facing_targets, jointbdoe.mirrored, draw)
    # The published gate, objectness 0.55, lets a fifth or less of the answers of so small a network teach the angle.
    kind, gate = ("published", jointbdoe.GATE) if arm == "plain" else ("wrapped", -math.inf)
    return train(model, feed, lambda m, b: jointbdoe.loss(m, m(b[0]), b[1], kind, "mean", gate), schedule, out / arm, progress=progress)


def run_training(arm: str, out: Path, seconds: float, steps: int, start: Path | None) -> None:
    """Train an arm, or go on, and leave OUT/ARM/network.safetensors for `vitruvian export`."""
    model = train_arm(arm, out, seconds, steps, start)
    if isinstance(model, AnchorNet):
        describe(model, SIZE, HEAD.classes[1:] if arm == "heads" else ())
        write_state(model.state_dict(), out / arm / "network.safetensors", {"system": "bpjdet" if arm == "heads" else "jointbdoe"})


def begin_with(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Take over what has the same name and shape: all of a network like it, all but the last layers of one that says something else."""
    own = model.state_dict()
    model.load_state_dict(
        {name: weights[name] if name in weights and weights[name].shape == own[name].shape else own[name] for name in own}
    )


def build(arm: str) -> nn.Module:
    """The network of an arm, at random."""
    if arm == "crops":
        return CropClassifier()
    return bpjdet.network(HEADS) if arm == "heads" else jointbdoe.network({"facing": FACING, "plain": PLAIN}[arm])


def load(arm: str, out: Path) -> tuple[nn.Module, int]:
    """The averaged network of a run, and the steps that it was trained."""
    state = torch.load(out / arm / "last.pt", weights_only=True)
    model = build(arm)
    model.load_state_dict(state["averaged"])
    return model.eval(), state["step"]


def candidates_of(deployed: nn.Module, image: np.ndarray) -> Candidates:
    """Decoded rows of one picture of the input's size."""
    with torch.inference_mode():
        boxes, scores, *extras = deployed(tensor([image]))
    return Candidates(boxes[0].numpy(), scores[0].numpy(), torch.cat(extras, -1)[0].numpy())


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
        _, part = hang_parts(found.boxes, hooks, found.parts, HEAD, rule=rule, body_points=body_points)
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
    model, steps = load("heads", out)
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


def measure_facing(out: Path) -> list[dict]:
    """Joint networks, and the classifier on crops of the joint network's boxes, on the same pictures."""
    networks = {arm: load(arm, out) for arm in ("facing", "plain", "crops") if (out / arm / "last.pt").exists()}
    results = []
    everything: dict[str, tuple[list[Facings], list[Facings]]] = {}
    for density in (1, *DENSITIES):
        scenes = Scenes(out / "test.npz", 3 + density)
        crowds = [scenes.crowd(density) for _ in range(PICTURES)]
        truth = [Facings(c.bodies[seen], c.headings[seen]) for c in crowds for seen in [c.visible >= LEAST_VISIBLE]]
        for arm, (_, steps) in networks.items():
            found, milliseconds = zip(*(find_angles(networks, arm, c.image) for c in crowds), strict=True)
            everything.setdefault(arm, ([], []))[0].extend(truth)
            everything[arm][1].extend(found)
            row = {"arm": arm, "steps": steps, "people": density, "ms": round(float(np.median(milliseconds)), 2)}
            results.append(row | figures_of(orientation_scores(truth, found, one_to_one=True, least_score=0.3)))
    for arm, (truth, found) in everything.items():
        scores = orientation_scores(truth, found, one_to_one=True, least_score=0.3)
        published = orientation_scores(truth, found)
        row = {"arm": arm, "people": "all", **figures_of(scores), "mae_by_octant": [round(x, 1) for x in scores.mae_by_octant]}
        results.append(row | {"published protocol": figures_of(published)})
    return results


def figures_of(scores: OrientationScores) -> dict:
    """What is kept of the scores."""
    values = asdict(scores)
    return {
        "persons": values["people"],
        "matched": values["matched"],
        "mae": round(values["mae"], 2),
        **{f"acc-{limit:g}": round(values["accuracy"][limit], 4) for limit in (5.0, 15.0, 30.0)},
        "acc-30 of all": round(values["of_all"][30.0], 4),
    }


def find_angles(networks: dict, arm: str, image: np.ndarray) -> tuple[Facings, float]:
    """The people of a picture by one arm, and the milliseconds that it took."""
    start = time.perf_counter()
    joint = networks["plain" if arm == "plain" else "facing"][0]
    found: Facing = find_facing(candidates_of(jointbdoe.Deployed(joint).eval(), image), SIZE, SIZE, 0.05, 0.6)
    angles = found.angles
    if arm == "crops" and len(found):
        people = found.people.boxes[found.people.scores >= 0.3]
        with torch.inference_mode():
            scores = networks["crops"][0](tensor([crop(image, box) for box in people])) if len(people) else torch.zeros(0, BINS)
        angles = np.concatenate([scores.argmax(1).numpy() * (2 * math.pi / BINS), np.zeros(len(found) - len(people))])
    return Facings(found.people.boxes, angles, found.people.scores), 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arms = ("decoding", "prepare", "heads", "measure-heads", "facing", "plain", "crops", "measure-facing")
    parser.add_argument("arm", choices=arms)
    parser.add_argument("--store", type=Path, default=Path("people"))
    parser.add_argument("--out", type=Path, default=Path("runs/bpjdet_small"))
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training, over all resumes")
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--start", type=Path, help="folder of a run to begin with")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    prepare(chosen.store, chosen.out)
    measures = {
        "decoding": lambda out: measure_decoding(Scenes(out / "test.npz", 2).crowd),
        "measure-heads": measure_heads,
        "measure-facing": measure_facing,
    }
    if chosen.arm in measures:
        results = measures[chosen.arm](chosen.out)
        with (chosen.out / "results.jsonl").open("a") as file:
            for row in results:
                print(json.dumps(row))
                file.write(json.dumps(row) + "\n")
    elif chosen.arm != "prepare":
        run_training(chosen.arm, chosen.out, chosen.seconds, chosen.steps, chosen.start)


if __name__ == "__main__":
    main()
