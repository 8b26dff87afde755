"""Batches of synthetic training pictures, made by worker processes while the network trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..synth.backgrounds import load_photographs
from ..synth.scene import Studio, detection_scene, pose_crop
from ..synth.store import Store

Draw = Callable[[np.random.Generator, Studio], object]


class Endless(IterableDataset):
    """An endless stream of samples drawn from a Studio; every worker has a random stream of its own."""

    def __init__(self, draw: Draw, store: Path, photographs: Sequence[str], seed: int, held_out: bool = False):
        self.draw, self.store, self.photographs, self.seed, self.held_out = draw, store, tuple(photographs), seed, held_out

    def __iter__(self) -> Iterator:
        info = get_worker_info()
        cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, info.id if info else 0, int(self.held_out)))
        studio = Studio.open(Store.open(self.store), load_photographs(self.photographs), rng, 80 if self.held_out else 600, self.held_out)
        while True:
            yield self.draw(rng, studio)


def draw_pose(rng: np.random.Generator, studio: Studio) -> tuple[np.ndarray, np.ndarray]:
    """A 192x256 crop and its keypoints."""
    return pose_crop(rng, studio)


def draw_scene(rng: np.random.Generator, studio: Studio) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A 256x256 scene, its boxes and labels: small, to save time; people of the sizes in pixels that inference meets."""
    return detection_scene(rng, studio, (256, 256))


def collate_pose(samples: list) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops (b, 3, 256, 192) uint8 in channels-last memory, keypoints (b, 133, 3)."""
    images = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.stack([s[1] for s in samples]))


def collate_scenes(samples: list) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Scenes (b, 3, h, w) uint8 in channels-last memory; boxes and labels, one tensor per scene."""
    images = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2)
    return images, [torch.from_numpy(s[1]) for s in samples], [torch.from_numpy(s[2]) for s in samples]


def batches(dataset: Endless, collate: Callable, size: int, workers: int) -> DataLoader:
    """An endless loader of batches; `workers` processes draw ahead."""
    return DataLoader(
        dataset,
        batch_size=size,
        collate_fn=collate,
        num_workers=workers,
        prefetch_factor=3 if workers else None,
        persistent_workers=workers > 0,
    )
