"""How many augmented 192x256 crops per second (of the processor's time) one core makes, step by step, out of a picture in memory.

python benchmarks/augmentations.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from vitruvian.data import augment
from vitruvian.data.crops import cut
from vitruvian.data.pictures import labels
from vitruvian.skeletons import COCO_WHOLEBODY_133

SIZE, BATCH, SECONDS = (192, 256), 32, 2.0


def rate(step: Callable[[], object]) -> float:
    """Crops per second of a step that handles BATCH of them."""
    step()
    start, done = time.process_time(), 0
    while (spent := time.process_time() - start) < SECONDS:
        step()
        done += BATCH
    return done / spent


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (30, 40, 3)).astype(np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    corner, extent = rng.uniform(0, 300, (BATCH, 2)), rng.uniform(80, 340, (BATCH, 2))
    points = corner[:, None] + rng.random((BATCH, 133, 2)) * extent[:, None]
    people = labels(points, np.full((BATCH, 133), 2), np.concatenate([corner, corner + extent], axis=1))
    crops = cut(image, people, COCO_WHOLEBODY_133, SIZE).images
    looks = augment.Looks(blur=0, median=0, dropout=0)
    steps = {
        "crop as in inference": lambda: cut(image, people, COCO_WHOLEBODY_133, SIZE),
        "crop with DWPose's geometry": lambda: cut(image, people, COCO_WHOLEBODY_133, SIZE, augment.DWPOSE.geometry, rng),
        "HSV jitter": lambda: augment.change_looks(crops, replace(looks, hsv=(5, 30, 30)), rng),
        "photometric distortion": lambda: augment.change_looks(crops, replace(looks, photometric=0.5), rng),
        "blur, median blur, dropout": lambda: augment.change_looks(crops, augment.Looks(), rng),
    }
    for name, chosen in (("DWPose", augment.DWPOSE), ("RTMW", augment.RTMW)):
        steps[f"all of {name}"] = lambda chosen=chosen: augment.change_looks(
            cut(image, people, COCO_WHOLEBODY_133, SIZE, chosen.geometry, rng).images, chosen.looks, rng
        )
    print(f"{'step':<32}crops/s on one core, {SIZE[0]}x{SIZE[1]}, batches of {BATCH}")
    for name, step in steps.items():
        print(f"{name:<32}{rate(step):>8.0f}")


if __name__ == "__main__":
    main()
