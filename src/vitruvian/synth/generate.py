"""Fill a store with label images, on all cores, resumable shard by shard."""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

from ..errors import MissingExtraError
from .store import SHARD, make_shard

_wardrobe = None  # one Wardrobe per worker process; building it takes seconds


def _work(task: tuple[Path, int, int]) -> int:
    global _wardrobe
    if _wardrobe is None:
        from .person import Wardrobe

        _wardrobe = Wardrobe()
    folder, index, seed = task
    make_shard(folder, index, seed, _wardrobe)
    return index


def generate(folder: str | Path, count: int, seed: int = 0, processes: int | None = None) -> Iterator[tuple[int, int]]:
    """Draw at least `count` people into `folder`, skipping shards that are already there; yields (people done, people in all).

    The same seed gives the same store whatever the number of processes (default: one per core). Raises MissingExtraError without `[synth]`.
    """
    for package in ("anny", "numba", "torch"):  # here, and not in each worker
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"synthetic people need {package}: pip install 'vitruvian[synth]'")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shards = -(-count // SHARD)
    missing = [i for i in range(shards) if not (folder / f"shard-{i:05d}.npz").exists()]
    done = shards - len(missing)
    yield done * SHARD, shards * SHARD
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes or multiprocessing.cpu_count()) as pool:
        for _ in pool.imap_unordered(_work, [(folder, i, seed) for i in missing]):
            done += 1
            yield done * SHARD, shards * SHARD
