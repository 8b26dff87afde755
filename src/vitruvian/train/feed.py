"""Batches of training pictures, drawn or read by worker processes while the network trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vitruvian.data.augment import Augmentation, change_looks
from vitruvian.data.crops import cut
from vitruvian.data.mixture import clip_files, in_skeleton, mix
from vitruvian.data.pictures import Dataset, Picture
from vitruvian.media.pictures import read_image
from vitruvian.skeletons import COCO_WHOLEBODY_133, POSETRACK_17, Skeleton, convert
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.scene import PoseSample, Studio, pose_crop
from vitruvian.synth.store import Store
from vitruvian.train.figures import Scene, draw_clip

Draw = Callable[[np.random.Generator, Studio], object]


class Endless(IterableDataset):
    """An endless stream of samples drawn from a Studio; every worker has a random stream of its own."""

    def __init__(
        self, draw: Draw, store: Path, photographs: Sequence[str], seed: int, held_out: bool = False, studio: type[Studio] = Studio
    ):
        self.draw, self.store, self.photographs, self.seed, self.held_out = draw, store, tuple(photographs), seed, held_out
        self.studio = studio

    def __iter__(self) -> Iterator:
        info = get_worker_info()
        cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, info.id if info else 0, int(self.held_out)))
        backdrops = 80 if self.held_out else 600
        studio = self.studio.open(Store.open(self.store), load_photographs(self.photographs), rng, backdrops, self.held_out)
        while True:
            yield self.draw(rng, studio)


class Samples(IterableDataset):
    """An endless stream of samples of one source: frames (F, h, w, 3) uint8 and keypoints (K, 3): x, y in crop pixels, weight 0 or 1.

    What subclasses draw is changed by the looks of `augmentation`; `late`, a tensor in shared memory, says which of its stages.
    """

    def __init__(self, size: tuple[int, int], skeleton: Skeleton, frames: int, augmentation: Augmentation, seed: int):
        self.size, self.skeleton, self.frames, self.augmentation, self.seed = size, skeleton, frames, augmentation, seed
        self.late = torch.zeros(1, dtype=torch.bool).share_memory_()

    @abstractmethod
    def draw(self, rng: np.random.Generator, worker: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Samples without their looks, for one of several workers."""

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, worker))
        for frames, keypoints in self.draw(rng, worker, workers):
            looks = self.augmentation.at(bool(self.late)).looks
            inside = ((keypoints[:, :2] > -0.5) & (keypoints[:, :2] < np.array(self.size) - 0.5)).all(axis=1)
            yield change_looks(frames, looks, rng), (keypoints * np.array([1, 1, 0]) + (keypoints[:, 2] * inside)[:, None] * [0, 0, 1])


class Figures(Samples):
    """Stick figures (`vitruvian.train.figures`); joints that the skeleton has not in common with PoseTrack's have no weight."""

    def __init__(self, *arguments, scene: Scene):
        super().__init__(*arguments)
        self.scene = scene

    def draw(self, rng: np.random.Generator, worker: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            clip = draw_clip(rng, self.size, self.frames, self.scene)
            yield clip.frames, in_set(clip.keypoints, POSETRACK_17, self.skeleton)


class Synthetic(Samples):
    """People of `vitruvian.synth`, still pictures, 133 keypoints or some of them."""

    def __init__(self, *arguments, store: Path, photographs: Sequence[str], held_out: bool = False):
        super().__init__(*arguments)
        self.store, self.photographs, self.held_out = store, tuple(photographs), held_out

    def draw(self, rng: np.random.Generator, worker: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        backdrops = 80 if self.held_out else 600
        studio = Studio.open(Store.open(self.store), load_photographs(self.photographs), rng, backdrops, self.held_out)
        while True:
            crop = pose_crop(rng, studio, self.size)
            yield crop.image[None], in_set(crop.keypoints, COCO_WHOLEBODY_133, self.skeleton)


class Annotated(Samples):
    """People of data sets, mixed by weight; clips where several frames are asked for."""

    def __init__(self, *arguments, datasets: Sequence[Dataset], weights: Sequence[float]):
        super().__init__(*arguments)
        self.datasets, self.weights = [in_skeleton(dataset, self.skeleton) for dataset in datasets], tuple(weights)

    def draw(self, rng: np.random.Generator, worker: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for picture in mix(self.datasets, self.weights, self.seed, worker, workers):
            yield from self.cut(picture, rng)

    def cut(self, picture: Picture, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Everybody in a picture; all frames of a clip are moved about in the same way."""
        seed, geometry = int(rng.integers(1 << 62)), self.augmentation.at(bool(self.late)).geometry
        reach = range(-(self.frames // 2), self.frames // 2 + 1)
        files = clip_files(picture, reach) if self.frames > 1 else (picture.file,)
        images = [read_image(file) for file in files]
        crops = [cut(image, picture.people, self.skeleton, self.size, geometry, np.random.default_rng(seed)) for image in images]
        for row, keypoints in enumerate(crops[0].keypoints):
            yield np.stack([frame.images[row] for frame in crops]), keypoints


class Blend(IterableDataset):
    """Several streams of samples, each drawn from with its weight."""

    def __init__(self, parts: Sequence[Samples], weights: Sequence[float], seed: int):
        self.parts, self.weights, self.seed = tuple(parts), tuple(weights), seed

    def set_late(self, late: bool) -> None:
        """Change to the augmentations' late stage, or back, in running workers too (a few batches are drawn ahead)."""
        for part in self.parts:
            part.late.fill_(late)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        info = get_worker_info()
        rng = np.random.default_rng((self.seed, info.id if info else 0, 1))
        streams, chances = [iter(part) for part in self.parts], np.array(self.weights) / np.sum(self.weights)
        while True:
            yield next(streams[rng.choice(len(streams), p=chances)])


def in_set(keypoints: np.ndarray, source: Skeleton, target: Skeleton) -> np.ndarray:
    """Keypoints (K, 3) with weights in another set; points that are not there are 0 with weight 0."""
    if source is target:
        return keypoints
    found = convert(keypoints[:, :2], keypoints[:, 2], source, target)
    return np.concatenate([np.nan_to_num(found.keypoints), found.scores[:, None]], axis=1).astype(np.float32)


def collate_samples(samples: list) -> tuple[torch.Tensor, torch.Tensor]:
    """Stills (b, 3, h, w), clips (b, f, 3, h, w), uint8; keypoints (b, K, 3) float32."""
    images = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 1, 4, 2, 3)
    return images[:, 0] if images.shape[1] == 1 else images, torch.from_numpy(np.stack([s[1] for s in samples])).float()


def collate_pose(samples: list) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops (b, 3, 256, 192) uint8 in channels-last memory, keypoints (b, 133, 3)."""
    images = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.stack([s[1] for s in samples]))


def collate_bodies(samples: list[PoseSample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `collate_pose`, and the surfaces (b, 4, h / 8, w / 8) uint8."""
    return *collate_pose(samples), torch.from_numpy(np.stack([s.surface for s in samples]))


def collate_scenes(samples: list) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Scenes (b, 3, h, w) uint8 in channels-last memory; boxes and labels, one tensor per scene."""
    images = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2)
    return images, [torch.from_numpy(s[1]) for s in samples], [torch.from_numpy(s[2]) for s in samples]


def collate_owned(samples: list) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """As `collate_scenes`, and the boxes of owners."""
    return *collate_scenes(samples), [torch.from_numpy(s[3]) for s in samples]


def batches(dataset: IterableDataset, collate: Callable, size: int, workers: int) -> DataLoader:
    """An endless loader of batches; `workers` processes draw ahead."""
    return DataLoader(
        dataset,
        batch_size=size,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        persistent_workers=workers > 0,
    )
