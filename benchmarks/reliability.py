"""Is a keypoint's confidence the chance that it lies within a tenth of the person's box? A table, and a picture of it.

    python benchmarks/reliability.py [--pose ID_OR_ONNX] [--store people] [--picture reliability.png]

On the labelled COCO persons of ../shared (true boxes; points without a label are left out), and with --store on held-out synthetic people
(points outside the crop count as wrong).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from vitruvian.formats.coco import read_wholebody_annotations
from vitruvian.media import read_image, write_image
from vitruvian.metrics.reliability import Reliability, reliability
from vitruvian.runtime import PoseEstimator
from vitruvian.weights import card_for

SHARED = Path(__file__).parents[2] / "shared" / "data" / "images" / "coco"
WITHIN = 0.1
COLORS = {"real": (213, 94, 0), "synthetic": (0, 114, 178)}


def on_real(estimator: PoseEstimator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and whether the points were right, of the persons of ../shared."""
    truth = read_wholebody_annotations(SHARED / "wholebody.json")
    scores, right = [], []
    for row, (name, box) in enumerate(zip(truth.files, truth.boxes, strict=True)):
        [poses] = estimator([read_image(SHARED / name)], [box[None]])
        labelled = truth.keypoints[row, :, 2] > 0
        distance = np.linalg.norm(poses.keypoints[0] - truth.keypoints[row, :, :2], axis=-1)
        right.append((distance < WITHIN * max(box[2:] - box[:2]))[labelled])
        scores.append(poses.scores[0][labelled])
    return np.concatenate(scores), np.concatenate(right)


def on_synthetic(estimator: PoseEstimator, store: Path, crops: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """The same of held-out synthetic people."""
    from vitruvian.synth.scene import Studio, pose_crop
    from vitruvian.synth.store import Store

    rng = np.random.default_rng(3)
    studio = Studio.open(Store.open(store), [], rng, 80, held_out=True)
    scores, right = [], []
    width, height = estimator.card.input_size
    whole = np.array([[0, 0, width, height]], np.float32)
    middle = np.float32([width, height] * 2) / 2
    box = (whole - middle) / estimator.card.padding + middle  # so that the crop is the picture
    for _ in range(crops):
        image, keypoints, _ = pose_crop(rng, studio, (width, height))
        [poses] = estimator([image], [box])
        distance = np.linalg.norm(poses.keypoints[0] - keypoints[:, :2], axis=-1)
        right.append((distance < WITHIN * (box[0, 3] - box[0, 1])) & (keypoints[:, 2] > 0))
        scores.append(poses.scores[0])
    return np.concatenate(scores), np.concatenate(right)


def draw(tables: dict[str, Reliability], side: int = 360) -> np.ndarray:
    """Shares of right points over scores; the diagonal is what scores promise."""
    image = np.full((side + 60, side + 60, 3), 255, np.uint8)
    place = lambda x, y: (round(40 + x * side), round(20 + (1 - y) * side))  # noqa: E731
    cv2.rectangle(image, place(0, 0), place(1, 1), (200, 200, 200), 1, cv2.LINE_AA)
    cv2.line(image, place(0, 0), place(1, 1), (200, 200, 200), 1, cv2.LINE_AA)
    for row, (name, table) in enumerate(tables.items()):
        points = [place(x, y) for x, y, n in zip(table.score, table.share, table.count, strict=True) if n >= 10]
        for a, b in zip(points[:-1], points[1:], strict=True):
            cv2.line(image, a, b, COLORS[name], 2, cv2.LINE_AA)
        for point in points:
            cv2.circle(image, point, 4, COLORS[name], -1, cv2.LINE_AA)
        text = f"{name}: expected calibration error {table.error:.3f}"
        cv2.putText(image, text, (50, 40 + 18 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.42, COLORS[name], 1, cv2.LINE_AA)
    for value in (0, 0.5, 1):
        x, y = place(value, 0)
        cv2.putText(image, f"{value:g}", (x - 6, y + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        x, y = place(0, value)
        cv2.putText(image, f"{value:g}", (x - 30, y + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, "score", (side // 2 + 20, side + 50), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(image, "share within 0.1 box", (44, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return image


def main() -> None:
    """Print the tables; with --picture also draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pose", default="wholebody-s")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    estimator = PoseEstimator(card_for(options.pose))
    answers = {"real": on_real(estimator)}
    if options.store:
        answers["synthetic"] = on_synthetic(estimator, options.store)
    tables = {name: reliability(np.clip(scores, 0, 1), right) for name, (scores, right) in answers.items()}
    for name, table in tables.items():
        print(f"{name}: {table.count.sum()} points, expected calibration error {table.error:.3f}")
        for low, n, score, share in zip(table.edges, table.count, table.score, table.share, strict=False):
            print(f"  from {low:.1f}: {n:6d} points, mean score {score:.3f}, within a tenth of the box {share:.3f}")
    if options.picture:
        write_image(options.picture, draw(tables))


if __name__ == "__main__":
    main()
