"""Fill a store with label images, on all cores, resumable shard by shard; and contact sheets to look at."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitruvian.errors import MissingExtraError, VitruvianError
from vitruvian.synth.classes import OUTSIDE
from vitruvian.synth.look import Look
from vitruvian.synth.store import SHARD, Store, make_shard, write_look

TASKS = ("pose", "detection")
_wardrobe = _borrowed = None  # one Wardrobe per worker process; building it takes seconds, as does reading motions


def _work(task: tuple[Path, int, int, Look], motions: tuple[Path, ...] = (), share: float = 0.5) -> int:
    global _wardrobe, _borrowed
    folder, index, seed, look = task
    if _wardrobe is None:
        from vitruvian.synth.motion import borrow
        from vitruvian.synth.wardrobe import Wardrobe

        _wardrobe = Wardrobe()
        _borrowed = borrow(motions, _wardrobe.rig, share) if motions else None
    make_shard(folder, index, seed, _wardrobe, look, _borrowed)
    return index


def need_extra() -> None:
    """Raise MissingExtraError without what `[synth]` installs."""
    for package in ("anny", "numba", "torch"):  # here, and not in each worker
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"synthetic people need {package}: pip install 'vitruvian[synth]'")


def generate(
    folder: str | Path, count: int, seed: int = 0, processes: int | None = None, look: Look | None = None,
    motions: Sequence[str | Path] = (), share: float = 0.5,
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Draw at least `count` people into `folder`, skipping shards that are already there; yields (people done, people in all).

    `motions`: BVH files from whose frames a `share` of the people have their poses. The same seed, look and motions give the same store
    whatever the number of processes (default: one per core). Raises MissingExtraError without `[synth]`, FormatError where the folder
    was begun with another seed, look or motions, or a motion is none that `motion.poses_from_bvh` can follow.
    """
    need_extra()
    folder, look, motions = Path(folder), look or Look(), tuple(Path(file) for file in motions)
    if motions:
        from vitruvian.formats.bvh import read_bvh
        from vitruvian.synth.motion import borrow
        from vitruvian.synth.motions import load_rig

        for file in motions:
            read_bvh(file)  # a wrong one is told before the rig is made, which takes seconds
        borrow(motions, load_rig(), share)  # what is wrong with them is told here, and not by each worker
    folder.mkdir(parents=True, exist_ok=True)
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in motions]
    write_look(folder, look, seed, {"sha256": digests, "share": share} if motions else None)
    shards = -(-count // SHARD)
    missing = [i for i in range(shards) if not (folder / f"shard-{i:05d}.npz").exists()]
    done = shards - len(missing)
    yield done * SHARD, shards * SHARD
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes or os.cpu_count() or 1, len(missing))) as pool:
        for _ in pool.imap_unordered(partial(_work, motions=motions, share=share), [(folder, i, seed, look) for i in missing]):
            done += 1
            yield done * SHARD, shards * SHARD


def contact_sheet(
    folder: str | Path, task: str = "pose", rows: int = 5, columns: int = 10, seed: int = 0, marks: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """Training pictures of a store side by side, RGB: crops with keypoints, or scenes with boxes.

    Keypoints that are seen are green, those that their own body hides red, others blue.
    Raises VitruvianError for a task that is none of TASKS.
    """
    import cv2

    from vitruvian.synth.scene import Studio, compose_crop, detection_scene, label_crop

    if task not in TASKS:
        raise VitruvianError(f"no task {task!r}; there are {', '.join(TASKS)}")
    rng = np.random.default_rng(seed)
    studio = Studio.open(Store.open(folder), [], rng, backdrops=2 * rows * columns)
    pictures = []
    for _ in range(rows * columns):
        if task == "pose":
            scene, _ = label_crop(compose_crop(rng, studio, (192, 256)))
            image, inside = scene.image, scene.hidden[0] != OUTSIDE
            for (x, y), state in zip(scene.keypoints[0][inside], scene.hidden[0][inside], strict=True) if marks else ():
                cv2.circle(image, (round(x), round(y)), 1, ((40, 240, 60), (240, 40, 40), (60, 90, 255))[state], -1)
        else:
            image, boxes, labels = detection_scene(rng, studio, (256, 256))
            for (x0, y0, x1, y1), label in zip(boxes.astype(int).tolist() if marks else (), labels if marks else (), strict=True):
                cv2.rectangle(
                    image, (x0, y0), (x1, y1), ((240, 60, 60), (60, 220, 60), (250, 220, 40), (60, 220, 240), (240, 80, 240))[label], 1
                )
        pictures.append(image)
    return np.vstack([np.hstack(pictures[row * columns : (row + 1) * columns]) for row in range(rows)])
