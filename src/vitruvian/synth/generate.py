"""Fill a store with label images, on all cores, resumable shard by shard; and contact sheets to look at."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MissingExtraError, VitruvianError
from vitruvian.synth.look import Look
from vitruvian.synth.store import SHARD, Store, make_shard, write_look

TASKS = ("pose", "detector")
_wardrobe = None  # one Wardrobe per worker process; building it takes seconds


def _work(task: tuple[Path, int, int, Look]) -> int:
    global _wardrobe
    if _wardrobe is None:
        from vitruvian.synth.wardrobe import Wardrobe

        _wardrobe = Wardrobe()
    folder, index, seed, look = task
    make_shard(folder, index, seed, _wardrobe, look)
    return index


def need_extra() -> None:
    """Raise MissingExtraError without what `[synth]` installs."""
    for package in ("anny", "numba", "torch"):  # here, and not in each worker
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"synthetic people need {package}: pip install 'vitruvian[synth]'")


def generate(
    folder: str | Path, count: int, seed: int = 0, processes: int | None = None, look: Look | None = None
) -> Iterator[tuple[int, int]]:
    """Draw at least `count` people into `folder`, skipping shards that are already there; yields (people done, people in all).

    The same seed and look give the same store whatever the number of processes (default: one per core). Raises MissingExtraError
    without `[synth]`, FormatError where the folder was begun with another seed or look.
    """
    need_extra()
    folder, look = Path(folder), look or Look()
    folder.mkdir(parents=True, exist_ok=True)
    write_look(folder, look, seed)
    shards = -(-count // SHARD)
    missing = [i for i in range(shards) if not (folder / f"shard-{i:05d}.npz").exists()]
    done = shards - len(missing)
    yield done * SHARD, shards * SHARD
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes or os.cpu_count() or 1, len(missing))) as pool:
        for _ in pool.imap_unordered(_work, [(folder, i, seed, look) for i in missing]):
            done += 1
            yield done * SHARD, shards * SHARD


def contact_sheet(
    folder: str | Path, task: str = "pose", rows: int = 5, columns: int = 10, seed: int = 0, marks: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """Training pictures of a store side by side, RGB: crops with keypoints (seen green, others red), or scenes with boxes.

    Raises VitruvianError for a task that is none of TASKS.
    """
    import cv2

    from vitruvian.synth.scene import Studio, detection_scene, pose_crop

    if task not in TASKS:
        raise VitruvianError(f"no task {task!r}; there are {', '.join(TASKS)}")
    rng = np.random.default_rng(seed)
    studio = Studio.open(Store.open(folder), [], rng, backdrops=2 * rows * columns)
    pictures = []
    for _ in range(rows * columns):
        if task == "pose":
            image, points, _ = pose_crop(rng, studio)
            for x, y, weight in points[points[:, 2] > 0] if marks else ():
                cv2.circle(image, (round(x), round(y)), 1, (40, 240, 60) if weight else (240, 40, 40), -1)
        else:
            image, boxes, labels = detection_scene(rng, studio, (256, 256))
            for (x0, y0, x1, y1), label in zip(boxes.astype(int).tolist() if marks else (), labels if marks else (), strict=True):
                cv2.rectangle(
                    image, (x0, y0), (x1, y1), ((240, 60, 60), (60, 220, 60), (250, 220, 40), (60, 220, 240), (240, 80, 240))[label], 1
                )
        pictures.append(image)
    return np.vstack([np.hstack(pictures[row * columns : (row + 1) * columns]) for row in range(rows)])
