"""The claims of four systems in small, on stick figures: `python recipes/claims_pose2d.py dwpose|rmpg|dsta|diffpose`.

    dwpose     student alone, + stage 1, + stage 2 of three lengths (card dwpose.md, section 8)
    rmpg       a host with more convolutions, against one with a parse graph of as many parameters, on two backbones (rmpg.md, section 8)
    dsta       the key frame alone, attention over everything, decoupled space and time, on hidden limbs (dsta.md, section 8)
    diffpose   more steps and more draws of one trained network, and the network without lookup (diffpose-video.md, section 8)

Every arm of a claim sees the same pictures in the same order and takes the same number of steps (DWPose's second stage aside). Arms and
seeds that are done are kept in OUT/CLAIM/results.json; a stopped run goes on, within an arm too. Prints mean and standard deviation over
the seeds. What was seen is in claims_pose2d.md.
"""

from __future__ import annotations

import argparse
import copy
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision
from vitruvian.skeletons import COCO_17, POSETRACK_17
from vitruvian.systems.backbones import HourglassConfig, ResNetConfig
from vitruvian.systems.pose2d import diffpose_video, dsta, dwpose, rmpg, rtmw
from vitruvian.train import tasks
from vitruvian.train.feed import in_set
from vitruvian.train.figures import Scene, draw_clip
from vitruvian.train.loop import Loss, Progress, Schedule, train

BATCH = 32
PICTURES = 2000
"""To train on; a quarter as many to judge on."""
Decode = Callable[[nn.Module, Tensor], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Pool:
    """Pictures (n, h, w, 3) or clips (n, f, h, w, 3), keypoints (n, 17, 3), and which joints are hidden or ambiguous (n, 17)."""

    images: Tensor
    keypoints: Tensor
    hidden: np.ndarray
    ambiguous: np.ndarray

    def batches(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless epochs of shuffled batches."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.images))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                rows = torch.from_numpy(order[start : start + BATCH])
                yield self.images[rows].movedim(-1, -3), self.keypoints[rows]


def make_pool(count: int, seed: int, size: tuple[int, int], frames: int, scene: Scene, seen: tuple[float, float] = (1.0, 1.0)) -> Pool:
    """Draw it. `seen`: the chance of a label for joints in view and for hidden ones."""
    rng = np.random.default_rng(seed)
    clips = [draw_clip(rng, size, frames, scene) for _ in range(count)]
    keypoints, hidden = np.stack([clip.keypoints for clip in clips]), np.stack([clip.hidden for clip in clips])
    inside = ((keypoints[..., :2] > -0.5) & (keypoints[..., :2] < np.array(size) - 0.5)).all(axis=-1)
    keypoints[..., 2] *= inside & (rng.random(hidden.shape) < np.where(hidden, seen[1], seen[0]))
    images = torch.from_numpy(np.stack([clip.frames if frames > 1 else clip.frames[0] for clip in clips]))
    return Pool(images, torch.from_numpy(keypoints), hidden, np.stack([clip.ambiguous for clip in clips]))


def figures(network: nn.Module, decode: Decode, pool: Pool, size: tuple[int, int]) -> dict[str, float]:
    """On held-out pictures: AP, PCK at 0.1 and 0.05 of the figure's box, mean error in pixels; of joints in view, hidden, ambiguous."""
    network.eval()
    stack = [decode(network, pool.images[i : i + 100].movedim(-1, -3)) for i in range(0, len(pool.images), 100)]
    found, scores = (np.concatenate(parts) for parts in zip(*stack, strict=True))
    truth, known = pool.keypoints[..., :2].numpy(), pool.keypoints[..., 2].numpy() > 0
    unit = max(size) / 1.25
    distance = np.linalg.norm(found[:, :, :2] - truth, axis=-1)
    groups = {
        "": known,
        "seen ": known & ~pool.hidden & ~pool.ambiguous,
        "hidden ": known & pool.hidden,
        "ambiguous ": known & pool.ambiguous,
    }
    table = {"AP": 100 * _precision(found, scores, truth, known, unit)}
    for name, rows in groups.items():
        if rows.any():
            values = distance[rows]
            table |= {f"{name}px": float(values.mean())}
            table |= {f"{name}PCK{share:g}": 100 * float((values < share * unit).mean()) for share in (0.1, 0.05)}
    return table


def _precision(found: np.ndarray, scores: np.ndarray, truth: np.ndarray, known: np.ndarray, unit: float) -> float:
    n, no = len(found), np.zeros(len(found), bool)
    boxes = np.concatenate([truth.min(axis=1), truth.max(axis=1)], axis=1)
    people = TruePoses(np.arange(n), truth, known, boxes, np.full(n, 0.53 * unit * unit / 2), no, no)
    return average_precision(people, FoundPoses(np.arange(n), found, scores.reshape(n, -1).mean(axis=1)), POSETRACK_17.sigmas)["AP"]


class Results:
    """What is known of one claim, on disk."""

    def __init__(self, folder: Path):
        self.folder, self.file = folder, folder / "results.json"
        self.table: dict[str, dict[str, float]] = json.loads(self.file.read_text()) if self.file.is_file() else {}

    def arm(self, name: str, seed: int, run: Callable[[Path], dict[str, float]]) -> dict[str, float]:
        """The figures of an arm, run now if they are not known."""
        key = f"{name} #{seed}"
        if key not in self.table:
            start = time.monotonic()
            self.table[key] = run(self.folder / f"{name.replace(' ', '-')}-{seed}") | {"seconds": time.monotonic() - start}
            with written_whole(self.file) as temporary:
                temporary.write_text(json.dumps(self.table, indent=1))
            print(key, {name: round(value, 2) for name, value in self.table[key].items()}, flush=True)
        return self.table[key]

    def show(self) -> None:
        """Mean and standard deviation over the seeds."""
        arms = {
            key.split(" #")[0]: [row for other, row in self.table.items() if other.split(" #")[0] == key.split(" #")[0]]
            for key in self.table
        }
        columns = [name for name in next(iter(arms.values()), [{}])[0] if name != "seconds"]
        print(f"{'arm':<28}" + "".join(f"{name:>18}" for name in columns))
        for arm, rows in arms.items():
            cells = [[row[name] for row in rows if name in row] for name in columns]
            print(
                f"{arm:<28}"
                + "".join(f"{np.mean(c):>10.2f} +- {np.std(c):<4.2f}" if c else f"{'':>18}" for c in cells)
                + f"  ({len(rows)})"
            )


def fit(
    model: nn.Module, loss: Loss, pool: Any, schedule: Schedule, folder: Path, seed: int, progress: Progress | None = None
) -> nn.Module:
    """The averaged model after so many steps of the pool's `batches`; goes on where it was, with the batches that come then."""
    done = torch.load(folder / "last.pt", weights_only=True)["step"] if (folder / "last.pt").is_file() else 0
    stream = pool.batches(seed)
    for _ in range(done):
        next(stream)
    return train(model, stream, loss, schedule, folder, progress=progress)


def schedule_of(steps: int) -> Schedule:
    """2e-3, a short warm-up, cosine."""
    return Schedule(steps, learning_rate=2e-3, warmup=max(5, steps // 20), ema=max(10.0, steps / 20), report_every=50, save_every=50)


def second_stage(first: nn.Module, pool: Any, schedule: Schedule, folder: Path, seed: int) -> nn.Module:
    """DWPose's second stage on a fixed set of pictures (`images`), whose features and old answers are computed once: the network with the
    new head."""
    torch.manual_seed(seed)
    model = dwpose.SecondStage(first)
    features, opinions = [], []
    with torch.no_grad():
        for some in pool.images.split(100):
            maps = model.teacher.features(tasks.defaults.normalise(some.movedim(-1, -3)))
            features.append(maps[0].movedim(1, -1))
            opinions.append(torch.cat(model.teacher.head(*maps), -1).half())
    known = Pool(torch.cat(features), torch.cat(opinions), np.zeros(0), np.zeros(0))
    bins = model.teacher.head.cls_x.out_features

    def loss(model: dwpose.SecondStage, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        opinion = rtmw.SimCC(batch[1][..., :bins], batch[1][..., bins:])
        return {"total": dwpose.logit_loss(model.head(batch[0]), opinion, dwpose.LOGIT_WEIGHT[1])}

    return fit(model, loss, known, replace(schedule, bf16=False), folder, seed).result()


def claim_dwpose(results: Results, seeds: int, steps: int) -> None:
    """One teacher; students that start alike, with so many steps: labels alone, and stage 1; then stage 2 of three lengths on top of it.

    A step of stage 2 trains the head alone, so it costs a small part of a step of stage 1 (see the seconds).
    """
    size = (64, 64)
    scene = Scene(hidden=0.6)
    pool, test = make_pool(PICTURES, 1, size, 1, scene, (0.75, 0.2)), make_pool(PICTURES // 4, 2, size, 1, scene)

    def config(width: float) -> rtmw.Config:
        return rtmw.Config(width, 0.167, size, keypoints=17, token=64, shared=32, kernel=3)

    def measured(network: nn.Module) -> dict[str, float]:
        return figures(network, tasks.predict_simcc, test, size)

    @functools.cache
    def teacher() -> nn.Module:
        torch.manual_seed(99)
        master, lesson = tasks.Pupil(rtmw.RTMPose(config(0.25)), coach=True), tasks.simcc_lesson(0.3, None, Progress())
        return fit(master, lesson, pool, schedule_of(steps * 7 // 4), results.folder / "teacher-0", 99).network

    @functools.cache
    def student(taught: bool, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network, progress = rtmw.RTMPose(config(0.125)), Progress()
        align = dwpose.align_layer(network, teacher()) if taught else None
        lesson = tasks.simcc_lesson(0.3, teacher() if taught else None, progress)
        folder = results.folder / f"{'first' if taught else 'alone'}-{seed}"
        return fit(tasks.Pupil(network, True, align), lesson, pool, schedule_of(steps), folder, seed, progress).network

    results.arm("teacher", 0, lambda _: measured(teacher()))
    for seed in range(seeds):
        results.arm("alone", seed, lambda _, seed=seed: measured(student(False, seed)))
        results.arm("stage 1", seed, lambda _, seed=seed: measured(student(True, seed)))
        for count in (steps // 5, steps, 4 * steps):

            def second(folder: Path, seed: int = seed, count: int = count) -> dict[str, float]:
                return measured(second_stage(copy.deepcopy(student(True, seed)), pool, schedule_of(count), folder, seed + 1000))

            results.arm(f"stages 1 and 2 of {count} steps", seed, second)


class MoreConvolutions(nn.Module):
    """What a host gets in the place of a parse graph: 3x3 convolutions, added to what goes in."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return x + self.layers(x), ()


def claim_rmpg(results: Results, seeds: int, steps: int) -> None:
    """Two hosts; context of (2, 2), of (4,), frozen at nothing, and convolutions of about as many parameters."""
    size = (64, 64)
    pool, test = (make_pool(count, seed, size, 1, Scene(ambiguous=0.6)) for count, seed in ((PICTURES, 1), (PICTURES // 4, 2)))
    pool, test = (
        replace(p, keypoints=torch.from_numpy(np.stack([in_set(k, POSETRACK_17, COCO_17) for k in p.keypoints.numpy()])))
        for p in (pool, test)
    )
    wrist = COCO_17.index("right_wrist")
    test.ambiguous[:] = test.ambiguous.any(axis=1, keepdims=True) & (np.arange(17) == wrist)
    hosts = {
        "resnet": rmpg.Config(ResNetConfig((1, 1, 1, 1), False, 8), size, deconvs=(16, 16, 16), attention="pooled"),
        "hourglass": rmpg.Config(HourglassConfig(1, (16, 16, 24), (1, 1, 1), 8), size, deconvs=(), attention="pooled"),
    }
    for arms in (("convolutions", "graph 2 2"), ("graph 4", "no context")):  # the comparison first, what explains it later
        for seed, (host, config), arm in itertools.product(range(seeds), hosts.items(), arms):

            def run(folder: Path, arm: str = arm, host: str = host, config: rmpg.Config = config, seed: int = seed) -> dict[str, float]:
                torch.manual_seed(seed)
                chosen = replace(config, groups={"convolutions": (), "graph 4": (4,)}.get(arm, (2, 2)))
                model, codec = rmpg.PoseNetwork(chosen), rmpg.codec(chosen)
                if arm == "convolutions":
                    # A graph (2, 2) costs 47 C^2 parameters, five convolutions 45 C^2.
                    places = len(model.backbone.channels) if host == "hourglass" else 1
                    model.refine = nn.ModuleList(MoreConvolutions(16, 5) for _ in range(places))
                if arm == "no context":
                    for name, parameter in model.named_parameters():
                        parameter.requires_grad_(not name.endswith("gamma"))

                def loss(model: rmpg.PoseNetwork, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
                    maps, weights = tasks.heatmap_targets(codec, batch[1])
                    return {"total": tasks.HEATMAP_GAIN * rmpg.loss(model.predictions(tasks.defaults.normalise(batch[0])), maps, weights)}

                def decode(network: nn.Module, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
                    with torch.no_grad():
                        return codec.decode(network(tasks.defaults.normalise(images)).float().numpy())

                return figures(fit(model, loss, pool, schedule_of(steps), folder, seed), decode, test, size) | {
                    "kparameters": sum(p.numel() for p in model.parameters()) / 1000
                }

            results.arm(f"{host} {arm}", seed, run)


def claim_dsta(results: Results, seeds: int, steps: int) -> None:
    """The same small network with three ways to put the frames' tokens together; then each, as it is, on one kind of trouble at a time."""
    size, scene = (48, 64), Scene(hidden=0.6)
    pool, test = make_pool(PICTURES, 1, size, 3, scene), make_pool(PICTURES // 4, 2, size, 3, scene)
    troubles = {"bars": Scene(1.0, blurred=0), "blur": Scene(1.0, blurred=1), "motion blur": Scene(exposure=4.0), "nothing": Scene()}
    pools = {name: make_pool(PICTURES // 4, 3, size, 3, one) for name, one in troubles.items()}

    def decode(network: nn.Module, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            return dsta.decode(*(x.float().numpy() for x in network(tasks.normalise_clips(clips))), size)

    for seed in range(seeds):
        for arm, aggregation in (("key frame alone", "space"), ("joint attention", "joint"), ("decoupled", "decoupled")):
            home = results.folder / f"{arm.replace(' ', '-')}-{seed}"

            @functools.cache
            def trained(home: Path = home, aggregation: str = aggregation, seed: int = seed) -> nn.Module:
                torch.manual_seed(seed)
                # Space alone has half of the blocks: twice as many make up for it.
                depth = {"space": 8, "joint": 8, "decoupled": 4}[aggregation]
                config = replace(dsta.VARIANTS["nano"], aggregation=aggregation, token=16, hidden=32, heads=4, depth=depth)

                def loss(model: dsta.DSTA, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
                    target = batch[1][..., :2] / batch[1].new_tensor(size)
                    found = model(tasks.normalise_clips(batch[0]))
                    return {"total": dsta.rle_loss(model.flow, found, target, dsta.joint_weights(target, batch[1][..., 2]))}

                return fit(dsta.DSTA(config), loss, pool, replace(schedule_of(steps), bf16=False), home, seed)

            def run(_: Path, pool: Pool = test, trained: Callable[[], nn.Module] = trained) -> dict[str, float]:
                network = trained()
                return figures(network, decode, pool, size) | {"kparameters": sum(p.numel() for p in network.parameters()) / 1000}

            results.arm(arm, seed, run)
            for name, one in pools.items():
                results.arm(f"{arm}, {name}", seed, functools.partial(run, pool=one))


def claim_diffpose(results: Results, seeds: int, steps: int) -> None:
    """One network per seed, asked with 1, 2, 4 and 10 steps and with 1 and 10 draws; and one without lookup."""
    size, scene = (48, 64), Scene(hidden=0.6, ambiguous=0.2)
    pool, test = make_pool(PICTURES, 1, size, 3, scene), make_pool(PICTURES // 8, 2, size, 3, scene)
    for name, lookup in (("lookup", True), ("no lookup", False)):
        for seed in range(seeds):
            config = replace(diffpose_video.VARIANTS["nano"], lookup=lookup)
            codec = diffpose_video.codec(config)
            kept: list[nn.Module] = []
            home = results.folder / f"{name.replace(' ', '-')}-{seed}"

            def trained(folder: Path = home, config=config, codec=codec, seed: int = seed, kept=kept) -> nn.Module:
                if not kept:
                    torch.manual_seed(seed)

                    def loss(model: diffpose_video.DiffPose, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
                        maps, weights = tasks.heatmap_targets(codec, batch[1])
                        return {"total": diffpose_video.loss(model, tasks.normalise_clips(batch[0]), maps, weights)}

                    kept.append(fit(diffpose_video.DiffPose(config), loss, pool, schedule_of(steps), folder, seed))
                return kept[0]

            for count, draws in ((1, 1), (2, 1), (4, 1), (10, 1), (4, 10)) if lookup else ((4, 1),):

                def run(
                    _: Path, count: int = count, draws: int = draws, name: str = name, codec=codec, trained=trained
                ) -> dict[str, float]:
                    def decode(network: diffpose_video.DiffPose, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
                        with torch.no_grad():
                            return codec.decode(network.sample(tasks.normalise_clips(clips), count, draws).float().numpy())

                    return figures(trained(), decode, test, size)

                results.arm(f"{name}, {count} steps, {draws} draws", seed, run)


CLAIMS = {"dwpose": (claim_dwpose, 120), "rmpg": (claim_rmpg, 150), "dsta": (claim_dsta, 200), "diffpose": (claim_diffpose, 240)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("--out", type=Path, default=Path("runs/claims"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    claim, steps = CLAIMS[options.claim]
    results = Results(options.out / options.claim)
    claim(results, options.seeds, options.steps or steps)
    results.show()


if __name__ == "__main__":
    main()
