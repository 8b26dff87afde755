"""The claims of four systems in small, on stick figures: `python recipes/claims_pose2d.py dwpose|rmpg|dsta|diffpose`.

    dwpose     student alone < + stage 1 < + stage 2, with equal steps (card dwpose.md, section 8)
    rmpg       a host with more convolutions, against one with a parse graph of as many parameters, on two backbones (rmpg.md, section 8)
    dsta       the key frame alone, attention over everything, decoupled space and time, on hidden limbs (dsta.md, section 8)
    diffpose   more steps and more draws of one trained network, and the network without lookup (diffpose-video.md, section 8)

Every arm of a claim sees the same pictures in the same order and takes the same number of steps. Arms and seeds that are done are kept in
OUT/CLAIM/results.json; a stopped run goes on, within an arm too. Prints mean and standard deviation over the seeds.

Seen so far, `dwpose --steps 150` (180 steps per arm, three seeds; AP and PCK at 0.05, percent): teacher 24.5, 55.9; alone 13.7 +- 0.8,
47.7 +- 0.5; stage 1 14.6 +- 0.7, 49.1 +- 0.5 (better in each of the seeds, by 1.6, 0.5 and 0.4 AP); terms that don't fade 13.6 +- 1.8,
48.2 +- 1.0; stages 1 and 2 4.2 +- 0.5, 39.3 +- 0.6: the second half of the claim does not hold here, where the new head gets 30 steps.
The other three claims were only run for a few steps, to see that they run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

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
    model: nn.Module, loss: Loss, pool: Pool, schedule: Schedule, folder: Path, seed: int, progress: Progress | None = None
) -> nn.Module:
    """The averaged model after so many steps; goes on where it was, with the batches that come then."""
    done = torch.load(folder / "last.pt", weights_only=True)["step"] if (folder / "last.pt").is_file() else 0
    stream = pool.batches(seed)
    for _ in range(done):
        next(stream)
    return train(model, stream, loss, schedule, folder, progress=progress)


def schedule_of(steps: int) -> Schedule:
    """2e-3, a short warm-up, cosine."""
    return Schedule(steps, learning_rate=2e-3, warmup=max(5, steps // 20), ema=max(10.0, steps / 20), report_every=50, save_every=50)


def claim_dwpose(results: Results, seeds: int, steps: int) -> None:
    """One teacher; students that start alike: labels alone, + constant terms, + fading terms (stage 1), + a fresh head (stage 2).

    The first three take `steps` and a fifth more; the last takes the fifth for stage 2.
    """
    size, extra = (64, 96), max(1, steps // 5)
    scene = Scene(hidden=0.6)
    pool, test = make_pool(PICTURES, 1, size, 1, scene, (0.75, 0.2)), make_pool(PICTURES // 4, 2, size, 1, scene)
    decode: Decode = tasks.defaults.predict

    def config(width: float) -> rtmw.Config:
        return rtmw.Config(width, 0.167, size, keypoints=17, token=64, shared=32, kernel=3)

    def measured(model: tasks.Pupil | dwpose.SecondStage) -> dict[str, float]:
        return figures(model.result() if isinstance(model, dwpose.SecondStage) else model.network, decode, test, size)

    torch.manual_seed(99)
    master = tasks.Pupil(rtmw.RTMPose(config(0.25)), coach=True)
    trained: list[nn.Module] = []

    def teacher() -> rtmw.RTMPose:
        if not trained:  # goes on from its folder, which is done after the first time
            trained.append(
                fit(master, tasks.simcc_lesson(0.3, None, Progress()), pool, schedule_of(steps * 7 // 4), results.folder / "teacher-0", 99)
            )
        return trained[0].network

    results.arm("teacher", 0, lambda _: (teacher(), measured(trained[0]))[1])
    for seed in range(seeds):

        def student(folder: Path, stage: str, steps: int, seed: int = seed) -> nn.Module:
            torch.manual_seed(seed)
            network, progress = rtmw.RTMPose(config(0.125)), Progress()
            if stage == "alone":
                return fit(
                    tasks.Pupil(network, True), tasks.simcc_lesson(0.3, None, progress), pool, schedule_of(steps), folder, seed, progress
                )
            model = tasks.Pupil(network, True, dwpose.align_layer(network, teacher()))
            seen = Progress() if stage == "constant" else progress
            return fit(model, tasks.simcc_lesson(0.3, teacher(), seen), pool, schedule_of(steps), folder, seed, progress)

        def second(folder: Path, seed: int = seed) -> nn.Module:
            first = student(folder / "first", "first", steps, seed)
            torch.manual_seed(seed + 1000)
            model = dwpose.SecondStage(first.network)
            return fit(model, tasks.second_stage_loss, pool, schedule_of(extra), folder / "second", seed + 1000)

        results.arm("alone", seed, lambda folder: measured(student(folder, "alone", steps + extra)))
        results.arm("stage 1", seed, lambda folder: measured(student(folder, "first", steps + extra)))
        results.arm("stage 1 and 2", seed, lambda folder: measured(second(folder)))
    for seed in range(seeds):
        results.arm("stage 1 unfaded", seed, lambda folder, seed=seed: measured(student(folder, "constant", steps + extra, seed)))


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
        "resnet": rmpg.Config(ResNetConfig((1, 1, 1, 1), False, 8), size, deconvs=(32, 32, 32), attention="pooled"),
        "hourglass": rmpg.Config(HourglassConfig(2, (32, 32, 48), (1, 1, 2), 16), size, deconvs=(), attention="pooled"),
    }
    for seed in range(seeds):
        for host, config in hosts.items():
            for arm in ("convolutions", "graph 2 2", "graph 4", "no context"):

                def run(folder: Path, arm: str = arm, host: str = host, config: rmpg.Config = config, seed: int = seed) -> dict[str, float]:
                    torch.manual_seed(seed)
                    chosen = replace(config, groups={"convolutions": (), "graph 4": (4,)}.get(arm, (2, 2)))
                    model, codec = rmpg.PoseNetwork(chosen), rmpg.codec(chosen)
                    if arm == "convolutions":
                        # A graph (2, 2) costs 47 C^2 parameters, five convolutions 45 C^2.
                        places = len(model.backbone.channels) if host == "hourglass" else 1
                        model.refine = nn.ModuleList(MoreConvolutions(32, 5) for _ in range(places))
                    if arm == "no context":
                        for name, parameter in model.named_parameters():
                            parameter.requires_grad_(not name.endswith("gamma"))

                    def loss(model: rmpg.PoseNetwork, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
                        maps, weights = tasks.heatmap_targets(codec, batch[1])
                        return {
                            "total": tasks.HEATMAP_GAIN * rmpg.loss(model.predictions(tasks.defaults.normalise(batch[0])), maps, weights)
                        }

                    def decode(network: nn.Module, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
                        with torch.no_grad():
                            return codec.decode(network(tasks.defaults.normalise(images)).float().numpy())

                    return figures(fit(model, loss, pool, schedule_of(steps), folder, seed), decode, test, size) | {
                        "kparameters": sum(p.numel() for p in model.parameters()) / 1000
                    }

                results.arm(f"{host} {arm}", seed, run)


def claim_dsta(results: Results, seeds: int, steps: int) -> None:
    """The same small network with three ways to put the frames' tokens together."""
    size, scene = (48, 64), Scene(hidden=0.6)
    pool, test = make_pool(PICTURES, 1, size, 3, scene), make_pool(PICTURES // 4, 2, size, 3, scene)
    for seed in range(seeds):
        for arm, aggregation in (("key frame alone", "space"), ("joint attention", "joint"), ("decoupled", "decoupled")):

            def run(folder: Path, aggregation: str = aggregation, seed: int = seed) -> dict[str, float]:
                torch.manual_seed(seed)
                # Space alone has half of the blocks: twice as many make up for it.
                depth = {"space": 8, "joint": 8, "decoupled": 4}[aggregation]
                config = replace(dsta.VARIANTS["nano"], aggregation=aggregation, token=16, hidden=32, heads=4, depth=depth)
                model = dsta.DSTA(config)

                def loss(model: dsta.DSTA, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
                    target = batch[1][..., :2] / batch[1].new_tensor(size)
                    found = model(tasks.normalise_clips(batch[0]))
                    return {"total": dsta.rle_loss(model.flow, found, target, dsta.joint_weights(target, batch[1][..., 2]))}

                def decode(network: nn.Module, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
                    with torch.no_grad():
                        return dsta.decode(*(x.float().numpy() for x in network(tasks.normalise_clips(clips))), size)

                table = figures(fit(model, loss, pool, replace(schedule_of(steps), bf16=False), folder, seed), decode, test, size)
                return table | {"kparameters": sum(p.numel() for p in model.parameters()) / 1000}

            results.arm(arm, seed, run)


def claim_diffpose(results: Results, seeds: int, steps: int) -> None:
    """One network per seed, asked with 1, 2, 4 and 10 steps and with 1 and 10 draws; and one without lookup."""
    size, scene = (48, 64), Scene(hidden=0.6, ambiguous=0.2)
    pool, test = make_pool(PICTURES, 1, size, 3, scene), make_pool(PICTURES // 8, 2, size, 3, scene)
    for seed in range(seeds):
        for name, lookup in (("lookup", True), ("no lookup", False)):
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


CLAIMS = {"dwpose": (claim_dwpose, 400), "rmpg": (claim_rmpg, 300), "dsta": (claim_dsta, 600), "diffpose": (claim_diffpose, 600)}


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
