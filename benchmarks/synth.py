"""How fast are training pictures made? Label images drawn per second, then crops and scenes from a cached store, per process and together.

    python benchmarks/synth.py [--store people] [--processes 2] [--seconds 10]

Without --store 250 people are drawn into a temporary folder first. Backgrounds are made before the clock starts, as in training.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from vitruvian.synth.pictures import draw_picture, labels_of
from vitruvian.synth.scene import Studio, detection_scene, pose_crop
from vitruvian.synth.store import SHARD, Store, make_shard

KINDS = {
    "crops of 192 x 256": pose_crop,
    "scenes of 256 x 256": lambda rng, studio: detection_scene(rng, studio, (256, 256)),
    "crops with all labels": lambda rng, studio: labels_of(draw_picture(rng, studio, "pose")[0]),
    "scenes of 320 x 320 with all labels": lambda rng, studio: labels_of(draw_picture(rng, studio, "detection")[0]),
}


def draw(task: tuple[Path, int, float, str]) -> tuple[int, float]:
    """Pictures made by one process, and its seconds of CPU."""
    store, seed, seconds, kind = task
    cv2.setNumThreads(0)
    rng = np.random.default_rng(seed)
    studio = Studio.open(Store.open(store), [], rng, backdrops=40)
    make = KINDS[kind]
    list(studio.backdrops)  # made when first asked for
    for _ in range(8):  # compiled code is loaded
        make(rng, studio)
    count, end, used = 0, time.monotonic() + seconds, time.process_time()
    while time.monotonic() < end:
        make(rng, studio)
        count += 1
    return count, time.process_time() - used


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.store
        if store is None:
            from vitruvian.synth.wardrobe import Wardrobe

            store, wardrobe = Path(folder), Wardrobe()
            make_shard(store, 1, 0, wardrobe)  # compiled code is loaded
            start, used = time.monotonic(), time.process_time()
            make_shard(store, 0, 0, wardrobe)
            spent, used = time.monotonic() - start, time.process_time() - used
            print(f"label images       one process: {SHARD / spent:.0f} per second, {1000 * used / SHARD:.1f} ms of CPU each")
        for kind in KINDS:
            tasks = [(store, i, options.seconds, kind) for i in range(options.processes)]
            with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
                results = pool.map(draw, tasks)
            made, used = sum(r[0] for r in results), sum(r[1] for r in results)
            print(
                f"{kind}: {options.processes} processes: {made / options.seconds:.0f} per second; {1000 * used / made:.1f} ms of CPU each"
            )


if __name__ == "__main__":
    main()
