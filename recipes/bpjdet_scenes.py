"""Crowds of painted people, for the recipes of claims about BPJDet and JointBDOE: what networks see, and what their command lines share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vitruvian.codecs.anchors import Candidates
from vitruvian.data.parts import PartPicture
from vitruvian.nn.anchors import Targets
from vitruvian.synth.crowds import Actor, Crowd, cast, crowd_picture
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import Store
from vitruvian.train.scenes import Mirror, Taught, collate_taught, picture_of, scaled

SIZE = (192, 160)
BATCH, NEW = 8, 3  # pictures of a batch, and how many of them were never seen: drawing costs as much as a step
DENSITIES = (2, 4, 6, 8, 12, 16, 20)
TRAIN_DENSITIES = (1, 2, 3, 4, 6, 8, 12, 16, 20)
PICTURES = 100  # per density; with fewer the miss rate's published rule reads the final recall


class Scenes:
    """Painted people and backdrops on disk, and crowds made of them without end."""

    def __init__(self, file: Path, seed: int):
        data = np.load(file)
        pixels, shapes = data["pixels"], data["shapes"]
        ends = np.cumsum(shapes.prod(1))
        images = [x.reshape(shape) for x, shape in zip(np.split(pixels, ends[:-1]), shapes, strict=True)]
        self.actors = [Actor(*row) for row in zip(images, data["bodies"], data["parts"], data["headings"].tolist(), strict=True)]
        self.backdrops, self.rng = data["backdrops"], np.random.default_rng(seed)

    def crowd(self, count: int, apart: bool = False) -> Crowd:
        """A picture of so many people, close together or side by side."""
        backdrop = self.backdrops[self.rng.integers(len(self.backdrops))]
        x, y = (int(self.rng.integers(0, have - need + 1)) for have, need in zip(backdrop.shape[1::-1], SIZE, strict=True))
        piece = backdrop[y : y + SIZE[1], x : x + SIZE[0]]
        return crowd_picture(self.rng, self.actors, piece, count, (0.4, 0.8), apart)


def prepare(store: Path, out: Path, people: int = 500, others: int = 100) -> None:
    """Paint people and backdrops to train on (OUT/train.npz), and others to judge on (OUT/test.npz), where that is not done yet."""
    missing = [name for name in ("train", "test") if not (out / f"{name}.npz").exists()]
    opened = Store.open(store, truth=True) if missing else None
    for name in missing:
        held_out, count, backdrops = {"train": (False, people, 150), "test": (True, others, 40)}[name]
        rng = np.random.default_rng(held_out)
        studio = Studio.open(opened, [], rng, backdrops=backdrops, held_out=held_out)
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


def any_number(scenes: Scenes) -> Crowd:
    """A picture of any number of people."""
    return scenes.crowd(int(scenes.rng.choice(TRAIN_DENSITIES)))


def batches(
    scenes: Scenes,
    teach: Callable[[PartPicture], Targets],
    mirror: Mirror,
    draw: Callable[[Scenes], Crowd] = any_number,
    size: int = BATCH,
) -> Iterator[list]:
    """[pictures, targets] of `size` without end; a picture is seen two or three times, mirrored and in other exposures."""
    recent: list[Taught] = []
    while True:
        crowds = [draw(scenes) for _ in range(size * NEW // BATCH if recent else size)]
        fresh = [Taught(crowd.image, teach(picture_of(crowd))) for crowd in crowds]
        known = [recent[scenes.rng.integers(len(recent))] for _ in range(size - len(fresh))]
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


def candidates_of(deployed: nn.Module, image: np.ndarray) -> Candidates:
    """Decoded rows of one picture of the input's size."""
    with torch.inference_mode():
        boxes, scores, *extras = deployed(tensor([image]))
    return Candidates(boxes[0].numpy(), scores[0].numpy(), torch.cat(extras, -1)[0].numpy())


def parser_of(description: str | None, arms: Sequence[str], out: str) -> argparse.ArgumentParser:
    """What the command lines of these recipes have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=arms)
    parser.add_argument("--store", type=Path, default=Path("people"))
    parser.add_argument("--out", type=Path, default=Path(out))
    return parser


def tell(rows: Iterable[dict], out: Path) -> None:
    """Print results, and append them to OUT/results.jsonl."""
    with (out / "results.jsonl").open("a") as file:
        for row in rows:
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")
