"""What Multi-HMR's head learns before it sees a picture: bodies from keypoints (recipes/multi_hmr_small.md).

    python recipes/multi_hmr_lifting.py errors --data DATA --start WHOLEBODY_S/last.pt --out ERRORS.npz
    python recipes/multi_hmr_lifting.py train  --people PEOPLE --errors ERRORS.npz --out RUNS/lifted --seconds 1500

People of a store are turned about the vertical, leant, mirrored and put before other cameras without end; the network is told where their
133 keypoints are, off by what MapPose was off on drawn pictures, and answers with a body. Everything behind the maps learns but what
reads tokens, which starts as nothing (`multi_hmr_small.py train --start RUNS/lifted/last.pt` goes on with pictures).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from multi_hmr_scenes import HEAD, SIDE
from multi_hmr_small import ARMS, BODY, ENDS, LEAST_SEEN, SWAP, WEIGHTS, Keypoints, Scenes, expected_term, prepared, size_of
from torch import Tensor

from vitruvian.body.compact import load_compact
from vitruvian.body.model import subset
from vitruvian.body.torch import TorchBody, rotation_matrices
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.store import Store
from vitruvian.systems.mesh.bodies import labelled
from vitruvian.systems.mesh.camera import project, square_cameras, unproject
from vitruvian.systems.mesh.multi_hmr import MultiHMR, People
from vitruvian.systems.mesh.multi_hmr_loss import Labelled, depth_code, loss_terms
from vitruvian.systems.mesh.multi_hmr_parts import KeypointReader, Look, chances_of, turn_towards
from vitruvian.systems.pose2d.mappose import VARIANTS, PoseTrunk
from vitruvian.train.loop import Schedule, steps_done, train

BATCH, RATE = 128, 1e-3  # AdamW: Muon takes ten times a step's time here
SWAPPED = 0.05  # share of people whose left is taken for their right
LOOKS = ((0.05, 0.8), (0.05, 0.3))  # of each reader: how far off people are looked for, and how widely, over their size
HELD_OUT = 20  # every so manieth person of a store


class Crowd(NamedTuple):
    """People by themselves, each before a camera of their own: rotations, shape, place of the head joint and of the body (metres), camera,
    and their keypoints in pixels."""

    rotations: Tensor
    shape: Tensor
    head: Tensor
    translation: Tensor
    camera: Tensor
    points: Tensor


@dataclass(frozen=True, eq=False)
class Bank:
    """People of a store about their pelvis, half of them mirrored: rotations, shapes, head joints, keypoints, and which way is up."""

    rotations: Tensor
    shape: Tensor
    head: Tensor
    points: Tensor
    up: Tensor

    @classmethod
    def of(cls, store: Store, held: bool) -> Bank:
        """The people to learn from, or those held out."""
        truth, mirror = store.truth, torch.tensor([-1.0, 1, 1])
        rows = np.flatnonzero((np.arange(len(store)) % HELD_OUT == 0) == held)
        pose, shape, place, points = (torch.from_numpy(truth[n][rows]).float() for n in ("pose", "shape", "translation", "points"))
        rotations, up = rotation_matrices(pose), torch.from_numpy(truth["floor"][rows, :3]).float()
        thin = TorchBody(subset(load_compact(), np.array([0]))).float()
        head, points = thin.joints_only(rotations, shape)[:, HEAD], points - place[:, None]
        other = mirror[:, None] * rotations[:, SWAP] * mirror
        both = ((rotations, other), (shape, shape), (head, head * mirror), (points, points[:, list(COCO_WHOLEBODY_133.swap)] * mirror))
        return cls(*(torch.cat(pair) for pair in both), torch.cat((up, up * mirror)))

    def draw(self, number: int, chance: torch.Generator) -> Crowd:
        """People turned any way about the vertical, leant a little, and put before cameras, their heads anywhere in the picture."""
        uniform = lambda low, high: low + (high - low) * torch.rand(number, generator=chance)  # noqa: E731
        rows = torch.randint(len(self.shape), (number,), generator=chance)
        lean = 0.15 * torch.randn(number, 3, generator=chance) * torch.tensor([1.0, 0.0, 1.0])
        turn = rotation_matrices(lean) @ rotation_matrices(self.up[rows] * uniform(-np.pi, np.pi)[:, None])
        head, points = ((turn @ part[rows].reshape(number, -1, 3).mT).mT for part in (self.head, self.points))
        large = torch.rand(number, generator=chance) < 0.15
        size = torch.where(large, uniform(np.log(1.25), np.log(3.25)), uniform(np.log(0.18), np.log(1.25))).exp()
        focal = torch.where(large, uniform(np.log(0.9), np.log(5)), uniform(np.log(0.7), np.log(3))).exp() * SIDE
        camera = square_cameras(focal, SIDE)
        tall = (points.amax(1) - points.amin(1)).norm(dim=-1)
        depth = torch.maximum(focal * tall / size / SIDE, 0.35 + (head[:, 0, 2:] - points[..., 2]).amax(1))  # nobody behind the camera
        place = torch.stack((uniform(0.06, 0.94), (0.3 + 0.18 * torch.randn(number, generator=chance)).clamp(0.04, 0.9)), -1) * SIDE
        ray = unproject(place, camera)
        seen = turn_towards(ray)  # as in the scenes: people are moved to the side by turning them about the eye
        at = ray / ray.norm(dim=-1, keepdim=True) * depth[:, None]
        head, points = ((seen @ part.mT).mT for part in (head, points))
        rotations = self.rotations[rows].clone()
        rotations[:, 0] = seen @ turn @ rotations[:, 0]
        body = at - head[:, 0]
        return Crowd(rotations, self.shape[rows], at, body, camera, project(points + body[:, None], camera[:, None]))


@dataclass(frozen=True, eq=False)
class Batch:
    """People, and what was seen of each: a look per reader."""

    crowd: Crowd
    looks: list[Look]


class Errors(NamedTuple):
    """How far off looks were, over the person's size, and how sure: of n people, 2 looks each; NaN where the keypoint was outside."""

    off: Tensor
    sure: Tensor

    @classmethod
    def read(cls, path: Path) -> Errors:
        with np.load(path) as file:
            return cls(*(torch.from_numpy(file[name]).float() for name in cls._fields))


def spoiled(crowd: Crowd, errors: Errors, chance: torch.Generator) -> list[Look]:
    """The keypoints with the errors of other people's: what is out of the picture is found at some wrong place in it, unsurely."""
    number, points = len(crowd.points), crowd.points / SIDE
    head = project(crowd.head, crowd.camera) / SIDE
    size = size_of(points, head)
    swap = torch.rand(number, generator=chance) < SWAPPED
    told = torch.where(swap[:, None, None], points[:, list(COCO_WHOLEBODY_133.swap)], points)
    rows = torch.randint(len(errors.off), (number,), generator=chance)
    skill = (0.4 * torch.randn(number, 1, 1, 1, generator=chance) - 0.2).exp()
    off, sure = skill * errors.off[rows], errors.sure[rows]
    outside = ((points < 0) | (points > 1)).any(-1)[:, None] | sure.isnan()
    wrong = (head[:, None] + size[:, None] * torch.randn(number, 133, 2, generator=chance))[:, None]
    wrong = 0.5 * wrong + 0.5 * told[:, None]  # somewhere towards where it should be
    low = -6 + torch.randn(number, 1, 133, generator=chance)
    places = torch.where(outside[..., None], wrong, told[:, None] + size[:, None, None] * off.nan_to_num()).clamp(0, 1)
    sure = torch.where(outside, low, sure.nan_to_num()).clamp(-7, 0)
    return [Look(places[:, None, i], sure[:, None, i]) for i in range(2)]


class Lesson:
    """The loss of a batch of people and their looks: Multi-HMR's own, of everything but detection."""

    def __init__(self) -> None:
        chosen = np.sort(np.random.default_rng(0).choice(load_compact().num_vertices, 200, replace=False))
        self.body = TorchBody(subset(load_compact(), chosen)).float()

    def __call__(self, model: MultiHMR, batch: Batch) -> dict[str, Tensor]:
        crowd = batch.crowd
        people = lifted(model, crowd, batch.looks)
        none = torch.zeros(1, 1, 1)
        terms = loss_terms(labelled(self.body, people, none, crowd.camera), self._truth(crowd, model, none), SIDE)
        terms["expected"] = expected_term(people, crowd.points)
        terms["root"] = (people.rotations[:, 0] - crowd.rotations[:, 0]).abs().sum() / len(crowd.rotations)
        total = sum(WEIGHTS[name] * value for name, value in terms.items() if name not in ("detection", "offset"))
        return {"total": total / 50, **{name: value.detach() for name, value in terms.items()}}

    def _truth(self, crowd: Crowd, model: MultiHMR, none: Tensor) -> Labelled:
        with torch.no_grad():
            out = self.body(crowd.rotations, crowd.shape, None, crowd.translation)
            code = depth_code(crowd.head[:, 2:], crowd.camera[:, 0, :1], model.config)[:, 0]
            seen = [project(points, crowd.camera[:, None]) for points in (out.joints, out.vertices)]
        short = crowd.shape[:, : model.config.shapes]
        offset = crowd.head.new_zeros(len(crowd.head), 2)
        return Labelled(none, offset, crowd.rotations, short, code, crowd.head, out.joints[:, 0], out.joints, out.vertices, *seen)


def lifted(model: MultiHMR, crowd: Crowd, looks: list[Look]) -> People:
    """What the head says of people by their looks, their heads being where they are."""
    config, place = model.config, project(crowd.head, crowd.camera)
    cells = (place / config.patch).floor().long().clamp(0, config.grid - 1)
    raw = model.head.lift(looks, model.seen(crowd.camera, (cells[:, 1] * config.grid + cells[:, 0])[:, None]))
    raw = type(raw)(*(part[:, 0] for part in raw))
    depth = model.metres(raw.code, crowd.camera[:, 0, :1])
    return People(place, depth, depth * unproject(place, crowd.camera), *raw[:4], torch.zeros_like(place), *raw[4:])


def endless(bank: Bank, errors: Errors, size: int, seed: int) -> Iterator[Batch]:
    """Batches for ever."""
    chance = torch.Generator().manual_seed(seed)
    while True:
        crowd = bank.draw(size, chance)
        yield Batch(crowd, spoiled(crowd, errors, chance))


def beside(lesson: Callable, people: Path, errors: Path, seed: int) -> Callable:
    """Another lesson, and this one of made-up people beside it: to keep what was learnt, and learn on, while pictures are dear."""
    own, made = Lesson(), endless(Bank.of(Store.open(people, truth=True), False), Errors.read(errors), BATCH // 2, seed)

    def both(model: MultiHMR, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        terms, extra = lesson(model, batch), own(model, next(made))
        return terms | {"total": terms["total"] + extra["total"] / 2, "made_joints": extra["joints"]}

    return both


@torch.no_grad()
def measure_errors(data: Path, start: Path, out: Path, number: int) -> None:
    """Write the errors of MapPose's maps on so many singles, looked at widely and closely about where keypoints are."""
    trunk = PoseTrunk(VARIANTS["t"]).eval()
    trunk.load_state_dict(torch.load(start, map_location="cpu", weights_only=True)["averaged"], strict=False)
    reader, keypoints, columns = KeypointReader(133, 1, 1, 1), Keypoints(), {name: [] for name in Errors._fields}
    singles = Scenes(sorted(data.glob("single-train-*.npz"))[: number // 50])
    for first in range(0, len(singles.images), 20):
        images, camera, picture, pose, shape, translation, head, seen = singles.batch(
            np.arange(first, min(first + 20, len(singles.images)))
        )
        chances = chances_of(trunk.maps(trunk.features(prepared(images))[0])[picture])
        points = project(keypoints(rotation_matrices(pose), shape, translation), camera[picture][:, None]) / SIDE
        size = size_of(points, project(head, camera[picture]) / SIDE)
        outside = ((points < 0) | (points > 1)).any(-1) | (seen < LEAST_SEEN)[:, None]
        looks = []
        for tremble, wide in LOOKS:
            about = points + tremble * size[:, None] * torch.randn(len(points), 1, 2)
            looks.append(reader.look(chances, about[:, None], wide * size[:, None]))
        off = torch.stack([(look.places[:, 0] - points) / size[:, None] for look in looks], 1)
        columns["off"].append(off.masked_fill(outside[:, None, :, None], torch.nan))
        columns["sure"].append(torch.stack([look.sure[:, 0] for look in looks], 1).masked_fill(outside[:, None], torch.nan))
    np.savez(out, **{name: torch.cat(parts).numpy() for name, parts in columns.items()})


@torch.no_grad()
def judge(model: MultiHMR, bank: Bank, errors: Errors, number: int = 512) -> dict[str, float]:
    """Millimetres on people who were held out: vertices, joints that are no fingers', wrists and ankles, joints in the root's axes; the
    medians of the depth's per cent and of the translation."""
    chance = torch.Generator().manual_seed(7)
    crowd = bank.draw(number, chance)
    people = lifted(model, crowd, spoiled(crowd, errors, chance))
    body = TorchBody(subset(load_compact(), np.arange(0, load_compact().num_vertices, 20))).float()
    said, true = (body(*part) for part in ((people.rotations, people.shape), (crowd.rotations, crowd.shape)))
    joints = (said.joints - true.joints).norm(dim=-1)
    turned = (said.joints @ people.rotations[:, 0] - true.joints @ crowd.rotations[:, 0]).norm(dim=-1)
    figures = {
        "pve": (said.vertices - true.vertices).norm(dim=-1).mean(), "mpjpe": joints[:, BODY].mean(), "ends": joints[:, ENDS].mean(),
        "turned": turned[:, BODY].mean(), "depth": 0.1 * (people.depth[:, 0] / crowd.head[:, 2] - 1).abs().median(),
        "away": (people.translation - crowd.head).norm(dim=-1).median(),
    }  # fmt: skip
    return {name: round(1000 * float(value), 2) for name, value in figures.items()}


def run(options: argparse.Namespace) -> None:
    """Train the head, or go on with it."""
    torch.manual_seed(0)
    model, store, known = MultiHMR(ARMS[options.arm]), Store.open(options.people, truth=True), Errors.read(options.errors)
    for part in (model.backbone, model.detection, model.offset):
        part.requires_grad_(False)
    learn, held = Bank.of(store, False), Bank.of(store, True)
    schedule = Schedule(
        options.steps, options.seconds, options.rate, 0.02, warmup=100, clip=4.0, ema=200.0, report_every=100, save_every=500, bf16=False
    )
    made = endless(learn, known, BATCH, 1 + steps_done(options.out))
    train(model, made, Lesson(), schedule, options.out, lambda network: judge(network, held, known))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("errors", "train"))
    for name in ("people", "data", "out", "start", "errors"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--arm", choices=("full", "blind"), default="full", help="train: with or without the camera")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    if options.task == "errors":
        measure_errors(options.data, options.start, options.out, 1500)
    else:
        run(options)


if __name__ == "__main__":
    main()
