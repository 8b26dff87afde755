"""How good is a pose network on real photographs? Mean OKS on the COCO persons of ../shared/data, ground-truth boxes.

    python benchmarks/real_images.py [--pose ID_OR_ONNX] [--flip-test] [--pictures OUT]

Persons with at least five labelled body points. A part's OKS uses the person's area, as COCO-WholeBody's evaluation does.
Uses the ground truth for the boxes only. Last: the processor time of one thread for a person, cutting and decoding included.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from vitruvian.draw.overlay import draw_people
from vitruvian.formats.coco import read_wholebody_annotations
from vitruvian.media import read_image, write_image
from vitruvian.metrics.keypoints import oks, oks_by_part
from vitruvian.runtime import PoseEstimator
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import People
from vitruvian.weights import card_for

SHARED = Path(__file__).parents[2] / "shared" / "data" / "images" / "coco"


def cost(estimator: PoseEstimator, image: np.ndarray, boxes: np.ndarray, rounds: int = 30) -> float:
    """Milliseconds of the processor for one person of a picture of several."""
    estimator([image], [boxes])
    start = time.process_time()
    for _ in range(rounds):
        estimator([image], [boxes])
    return 1000 * (time.process_time() - start) / (rounds * len(boxes))


def main() -> None:
    """Print the table; with --pictures also draw the predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pose", default="wholebody-s")
    parser.add_argument("--flip-test", action="store_true")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    truth = read_wholebody_annotations(options.data / "wholebody.json")
    chosen = (truth.keypoints[:, :17, 2] > 0).sum(1) >= 5
    names = truth.files
    estimator = PoseEstimator(card_for(options.pose), flip_test=options.flip_test)
    predicted, confidence = np.zeros((len(truth), 133, 2)), np.zeros((len(truth), 133))
    for name in dict.fromkeys(names):
        rows = np.array([n == name for n in names])
        image = read_image(options.data / name)
        [(keypoints, scores)] = estimator([image], [truth.boxes[rows]])
        predicted[rows], confidence[rows] = keypoints, scores
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            shown = rows & chosen
            people = People(
                frame=np.zeros(shown.sum()), track=np.full(shown.sum(), -1), boxes=truth.boxes[shown], scores=np.ones(shown.sum()),
                keypoints=predicted[shown], confidence=np.clip(confidence[shown], 0, 1),
            )  # fmt: skip
            image = image.copy()
            draw_people(image, people, COCO_WHOLEBODY_133)
            write_image(options.pictures / f"{Path(name).stem}.png", image)
    seen = truth.keypoints[..., 2] > 0
    parts = oks_by_part(predicted[chosen], truth.keypoints[chosen, :, :2], seen[chosen], truth.areas[chosen], COCO_WHOLEBODY_133)
    print(f"{options.pose}{' with flip test' if options.flip_test else ''}: {chosen.sum()} persons, ground-truth boxes")
    for part, values in parts.items():
        print(f"  {part:<11} mean OKS {np.nanmean(values):.3f} over {np.isfinite(values).sum()} persons")
    body = oks(predicted[chosen, :17], truth.keypoints[chosen, :17, :2], seen[chosen, :17], truth.areas[chosen], COCO_17.sigmas)
    print("  body of each person: " + " ".join(f"{v:.2f}" for v in body))
    alone = PoseEstimator(card_for(options.pose), flip_test=options.flip_test, threads=1)
    print(f"  {cost(alone, image, np.tile(truth.boxes[rows][:1], (4, 1))):.1f} ms of a core a person")


if __name__ == "__main__":
    main()
