"""Whole-body AP beside pycocotools' Python path, part by part: 500 pictures, 133 points, the same numbers, seconds and their ratio.

pycocotools evaluates keypoints in Python loops, as xtcocotools does (of which it is the ancestor and which adds the parts); with the sigmas
of a part it does that part. Its `COCOeval` is run on ready objects, so that neither side reads JSON. Both run on one core, in turns.
Seconds are the processor's, so that what else the machine does hardly counts.

    python benchmarks/average_precision.py [pictures]
"""

from __future__ import annotations

import contextlib
import io
import sys
import time

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision, average_precision_by_part
from vitruvian.skeletons import COCO_WHOLEBODY_133

PARTS = {**COCO_WHOLEBODY_133.parts, "whole": slice(0, 133)}


def made_up(pictures: int, seed: int = 0) -> tuple[TruePoses, FoundPoses]:
    """One to ten people per picture, found with errors of their size, some twice."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(pictures), rng.integers(1, 11, pictures))
    n = len(image)
    size, centre = rng.uniform(30, 300, n), rng.uniform(0, 640, (n, 2))
    keypoints = (centre[:, None] + rng.uniform(-0.5, 0.5, (n, 133, 2)) * size[:, None, None]).round(2)
    boxes = np.concatenate([centre - size[:, None] / 2, centre + size[:, None] / 2], axis=1).round(2)
    visible = rng.random((n, 133)) < 0.7
    truth = TruePoses(image, keypoints, visible, boxes, (0.6 * size**2).round(2), ~visible.any(1), np.zeros(n, bool))
    source = np.concatenate([np.flatnonzero(rng.random(n) < 0.95), rng.integers(0, n, n // 5)])
    noise = rng.choice([0.003, 0.01, 0.04], (len(source), 1, 1)) * size[source, None, None]
    poses = (keypoints[source] + noise * rng.normal(size=(len(source), 133, 2))).round(2)
    return truth, FoundPoses(image[source], poses, rng.random(len(source)).round(4))


def pycocotools_objects(truth: TruePoses, found: FoundPoses, part: slice) -> tuple[COCO, COCO]:
    """One part of all people as pycocotools wants them."""
    person = {"category_id": 1}

    def points(values: np.ndarray, flags: np.ndarray) -> list[float]:
        return np.concatenate([values[part], flags[part][:, None]], axis=1).ravel().tolist()

    annotations = []
    for i, image in enumerate(truth.image.tolist()):
        box, seen = truth.boxes[i], truth.visible[i]
        about = {"id": i + 1, "image_id": image, "iscrowd": 0, "area": float(truth.area[i]), "num_keypoints": int(seen[part].sum())}
        annotations.append(person | about | {"bbox": [*box[:2], *(box[2:] - box[:2])], "keypoints": points(truth.keypoints[i], 2.0 * seen)})
    ones = np.ones(133)
    results = [
        person | {"image_id": int(image), "score": float(score), "keypoints": points(pose, ones)}
        for image, pose, score in zip(found.image, found.keypoints, found.scores, strict=True)
    ]
    ground = COCO()
    ground.dataset = {
        "images": [{"id": int(i)} for i in np.unique(truth.image)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    ground.createIndex()
    return ground, ground.loadRes(results)


def pycocotools_part(ground: COCO, results: COCO, sigmas: np.ndarray) -> list[float]:
    """Its ten numbers."""
    evaluation = COCOeval(ground, results, "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats.tolist()


def main() -> None:
    """Print the table."""
    truth, found = made_up(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
    print(f"{len(np.unique(truth.image))} pictures, {len(truth.image)} people, {len(found.image)} poses")
    print(f"{'part':<12}{'pycocotools s':>14}{'ours s':>9}{'ratio':>8}   largest difference")
    theirs_all = 0.0
    for name, part in PARTS.items():
        sigmas = COCO_WHOLEBODY_133.sigmas[part]
        with contextlib.redirect_stdout(io.StringIO()):
            ground, results = pycocotools_objects(truth, found, part)
            start = time.process_time()
            expected = pycocotools_part(ground, results, sigmas)
            theirs = time.process_time() - start
        visible = truth.visible[:, part]
        of_part = TruePoses(truth.image, truth.keypoints[:, part], visible, truth.boxes, truth.area, ~visible.any(1), truth.crowd)
        start = time.process_time()
        table = average_precision(of_part, FoundPoses(found.image, found.keypoints[:, part], found.scores), sigmas)
        ours = time.process_time() - start
        theirs_all += theirs
        worst = np.abs(np.array(list(table.values())) - expected).max()
        print(f"{name:<12}{theirs:>14.2f}{ours:>9.3f}{theirs / ours:>8.1f}   {worst:.1e}")
    start = time.process_time()
    average_precision_by_part(truth, found, COCO_WHOLEBODY_133)
    ours = time.process_time() - start
    print(f"{'all parts':<12}{theirs_all:>14.2f}{ours:>9.3f}{theirs_all / ours:>8.1f}")


if __name__ == "__main__":
    main()
