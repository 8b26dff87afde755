"""DWPose's claim in small, on rendered people: a student from labels alone, + stage 1, + stage 2.

    python recipes/claims_dwpose.py --teacher FILE --store people --photographs photographs.txt --out runs/claims/dwpose-people

The teacher is a trained RTMPose for 133 keypoints that looks at crops of 192x256 (FILE: a checkpoint; `recipes/wholebody-t.md`), the
student the package's RTMPose nano, which looks at the same crops at half the size. The teacher is asked once for a fixed set of crops. Its
distribution over bins is summed over pairs of them, which are the student's bins; the student's map is brought to its size cell by cell.

The body of everybody is labelled; feet, face and either hand of half of the people, as data sets have labels for some. Both arms of a seed
start with the same weights and see the same batches. Judged on people who are kept apart, with all labels. Arms that are done are kept in
OUT/results.json; a stopped run goes on, within an arm too. What was seen is in claims_pose2d.md.
"""

from __future__ import annotations

import argparse
import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from claims_pose2d import BATCH, Results, fit, schedule_of, second_stage
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.codecs.simcc import SimCC as SimCCCodec
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision_by_part
from vitruvian.metrics.keypoints import oks
from vitruvian.skeletons import COCO_WHOLEBODY_133 as SKELETON
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.scene import Studio, pose_crop
from vitruvian.synth.store import Store
from vitruvian.systems import catalogue
from vitruvian.systems.pose2d import dwpose, rtmw
from vitruvian.train import defaults, tasks
from vitruvian.train.loop import Progress

LARGE, SMALL = (192, 256), (96, 128)
SHARD = 256
LABELLED = 0.5  # of feet, face and hands
PARTS = ("body", "foot", "face", "hand", "whole")


@dataclass(frozen=True)
class Crops:
    """Crops (n, 128, 96, 3), keypoints in their pixels (n, 133, 3), the teacher's map (n, 384, 8, 6) and logits (n, 133, 448), float16."""

    images: Tensor
    keypoints: Tensor
    maps: Tensor
    logits: Tensor

    def batches(self, seed: int) -> Iterator[tuple[Tensor, ...]]:
        """Endless epochs of shuffled batches."""
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.images))
            for start in range(0, len(order) - BATCH + 1, BATCH):
                rows = torch.from_numpy(order[start : start + BATCH])
                yield self.images[rows].movedim(-1, -3), self.keypoints[rows], self.maps[rows], self.logits[rows]

    def partly_labelled(self, seed: int) -> Crops:
        """Without the labels of some parts of some people."""
        rng, keypoints = np.random.default_rng(seed), self.keypoints.clone()
        for part, where in SKELETON.parts.items():
            if part != "body":
                keypoints[:, where, 2] *= torch.from_numpy(rng.random(len(keypoints)) < LABELLED)[:, None]
        return replace(self, keypoints=keypoints)


def drawn(folder: Path, teacher: rtmw.RTMPose, count: int, store: Path, photographs: list[str], held_out: bool) -> Crops:
    """The crops with the teacher's answers, drawn in shards where they are not in `folder`."""
    parts = []

    @functools.cache
    def studio() -> Studio:
        backdrops = load_photographs(photographs)
        return Studio.open(Store.open(store), backdrops, np.random.default_rng(held_out), 80 if held_out else 200, held_out)

    for shard in range(-(-count // SHARD)):
        file = folder / f"{'unseen' if held_out else 'crops'}-{shard:02}.pt"
        if not file.is_file():
            rng = np.random.default_rng((held_out, shard))
            samples = [pose_crop(rng, studio(), LARGE) for _ in range(SHARD)]
            small = np.stack([cv2.resize(sample.image, SMALL, interpolation=cv2.INTER_AREA) for sample in samples])
            # Pixel centres: the middle of a pixel of the small crop lies between two of the large one.
            keypoints = np.stack([sample.keypoints for sample in samples]) * [0.5, 0.5, 1] - [0.25, 0.25, 0]
            maps, logits = asked(teacher, np.stack([sample.image for sample in samples]))
            folder.mkdir(parents=True, exist_ok=True)
            with written_whole(file) as temporary:
                torch.save([torch.from_numpy(small), torch.from_numpy(keypoints).float(), maps, logits], temporary)
            print(file.name, flush=True)
        parts.append(torch.load(file, weights_only=True))
    return Crops(*(torch.cat(values)[:count] for values in zip(*parts, strict=True)))


def asked(teacher: rtmw.RTMPose, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """The teacher's maps, and its logits with pairs of bins put together: softmax(10 * logits) is the sum of theirs."""
    maps, logits = [], []
    for some in torch.from_numpy(images).split(32):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            seen = teacher.features(defaults.normalise(some.movedim(-1, -3)))
            found = teacher.head(*seen)
        pairs = [torch.logsumexp(dwpose.BETA * axis.float().unflatten(-1, (-1, 2)), -1) / dwpose.BETA for axis in found]
        maps.append(seen[0].half())
        logits.append(torch.cat(pairs, -1).half())
    return torch.cat(maps), torch.cat(logits)


class Remembered(nn.Module):
    """A teacher that was asked before: for `tasks.simcc_lesson`, it gives what it said about the batch at hand."""

    def __init__(self, channels: int):
        super().__init__()
        self.backbone = SimpleNamespace(channels=(channels,))
        self.maps = self.logits = torch.zeros(0)

    def features(self, _: Tensor) -> tuple[Tensor]:
        return (self.maps,)

    def head(self, _: Tensor) -> rtmw.SimCC:
        return split(self.logits)


def split(logits: Tensor) -> rtmw.SimCC:
    """Joined logits by axis."""
    return rtmw.SimCC(*logits.split([2 * side for side in SMALL], -1))


def judged(x: np.ndarray, y: np.ndarray, truth: Tensor) -> dict[str, float]:
    """AP of each part, mean OKS of the body, mean error in pixels of the small crop, PCK at 0.1 and 0.05 of the person's box."""
    found, scores = SimCCCodec(SMALL).decode(x, y)
    places, seen = truth[..., :2].numpy(), truth[..., 2].numpy() > 0
    n, no, area = len(found), np.zeros(len(found), bool), np.full(len(found), 0.53 * SMALL[0] * SMALL[1] / 1.25**2)
    boxes = np.tile(np.array([0, 0, *SMALL], float), (n, 1))
    people = TruePoses(np.arange(n), places, seen, boxes, area, no, no)
    table = average_precision_by_part(people, FoundPoses(np.arange(n), found, scores.mean(-1)), SKELETON)
    body, distance = SKELETON.parts["body"], np.linalg.norm(found - places, axis=-1)
    similar = oks(found[:, body], places[:, body], seen[:, body], area, SKELETON.sigmas[body])
    unit = max(SMALL) / 1.25
    return {f"AP {part}": 100 * table[part]["AP"] for part in PARTS} | {
        "AP50 whole": 100 * table["whole"]["AP50"],
        "body OKS": 100 * float(np.nanmean(similar)),
        "px": float(distance[seen].mean()),
        "PCK0.1": 100 * float((distance[seen] < 0.1 * unit).mean()),
        "PCK0.05": 100 * float((distance[seen] < 0.05 * unit).mean()),
    }


def judged_network(network: rtmw.RTMPose, crops: Crops) -> dict[str, float]:
    """A student's figures."""
    network.eval()
    with torch.no_grad():
        found = [network(defaults.normalise(some.movedim(-1, -3))) for some in crops.images.split(64)]
    return judged(*(torch.cat(axis).float().numpy() for axis in zip(*found, strict=True)), crops.keypoints)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/claims/dwpose-people"))
    parser.add_argument("--crops", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    master = catalogue.load(options.teacher)[1].model
    photographs = options.photographs.read_text().splitlines() if options.photographs else []
    crops = drawn(options.out, master, options.crops, options.store, photographs, False).partly_labelled(0)
    unseen = drawn(options.out, master, 2 * SHARD, options.store, photographs, True)
    results, schedule = Results(options.out), replace(schedule_of(options.steps), learning_rate=options.rate, muon=True)
    results.arm("teacher", 0, lambda _: judged(*(axis.float().numpy() for axis in split(unseen.logits)), unseen.keypoints))

    @functools.cache
    def student(taught: bool, seed: int) -> rtmw.RTMPose:
        torch.manual_seed(seed)
        network, progress = rtmw.network(rtmw.VARIANTS["nano"]), Progress()
        pupil = tasks.Pupil(network.to(memory_format=torch.channels_last), coach=True)
        teacher = Remembered(master.backbone.channels[-1]) if taught else None
        if taught:
            align = dwpose.align_layer(network, teacher)
            pupil.align = nn.Sequential(align, nn.Upsample(scale_factor=LARGE[0] // SMALL[0]))
        lesson = tasks.simcc_lesson(0.3, teacher, progress)

        def loss(model: tasks.Pupil, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
            if taught:
                teacher.maps, teacher.logits = batch[2], batch[3]
            return lesson(model, batch[:2])

        folder = options.out / f"{'first' if taught else 'alone'}-{seed}"
        return fit(pupil, loss, crops, schedule, folder, seed, progress).network

    def second(folder: Path, seed: int, steps: int) -> dict[str, float]:
        late = replace(schedule, steps=steps, ema=max(10.0, steps / 20))
        return judged_network(second_stage(copy.deepcopy(student(True, seed)), crops, late, folder, seed + 1000), unseen)

    for seed in range(options.seeds):
        results.arm("alone", seed, lambda _, seed=seed: judged_network(student(False, seed), unseen))
        results.arm("stage 1", seed, lambda _, seed=seed: judged_network(student(True, seed), unseen))
        results.arm("stages 1 and 2", seed, lambda folder, seed=seed: second(folder, seed, options.steps))
    results.show()


if __name__ == "__main__":
    main()
