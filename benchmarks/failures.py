"""What does a pose network do worst? The held-out synthetic people with the least OKS, truth beside answer; and the mean by what is hard.

    python benchmarks/failures.py --store people [--pose ID_OR_ONNX] [--crops 400] [--picture failures.jpg]

Backgrounds are made, not photographed, so that the picture can be shown anywhere. Body points only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vitruvian.draw.overlay import draw_people
from vitruvian.media import write_image
from vitruvian.metrics.keypoints import oks
from vitruvian.runtime import PoseEstimator
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.synth.classes import SEGMENTS, UNTOLD
from vitruvian.synth.scene import Studio, pose_crop
from vitruvian.synth.store import Store
from vitruvian.take import People
from vitruvian.weights import card_for

SHOWN = 12
BODY = COCO_WHOLEBODY_133.parts["body"]


def answers(estimator: PoseEstimator, store: Path, crops: int) -> list[tuple]:
    """Of each crop: picture, truth (17, 3), found (17, 2) and scores (17), OKS, surface."""
    rng = np.random.default_rng(5)
    studio = Studio.open(Store.open(store), [], rng, 80, held_out=True)
    width, height = size = estimator.card.input_size
    middle = np.float32([width, height] * 2) / 2
    box = (np.array([[0, 0, width, height]], np.float32) - middle) / estimator.card.padding + middle  # so that the crop is the picture
    area = np.array([0.53 * width * height / estimator.card.padding**2])
    rows = []
    while len(rows) < crops:
        image, keypoints, surface = pose_crop(rng, studio, size)
        truth = keypoints[BODY]
        if (truth[:, 2] > 0).sum() < 5:
            continue
        [poses] = estimator([image], [box])
        found, scores = poses.keypoints[0][BODY], poses.scores[0][BODY]
        likeness = float(oks(found[None], truth[None, :, :2], truth[None, :, 2] > 0, area, COCO_WHOLEBODY_133.sigmas[BODY])[0])
        rows.append((image, truth, found, scores, likeness, surface[0]))
    return rows


def hardships(row: tuple) -> list[str]:
    """What makes a crop hard."""
    _, truth, _, _, _, segment = row
    person = (segment > 0) & (segment != UNTOLD)
    shoulders, hips = truth[[5, 6], :2].mean(0), truth[[11, 12], :2].mean(0)
    up = hips - shoulders
    found = []
    if (segment == UNTOLD).sum() > 0.3 * max((segment > 0).sum(), 1):
        found.append("a third hidden by things or people")
    if truth[[5, 6, 11, 12], 2].all() and up[1] < 0.5 * np.hypot(*up):
        found.append("lying, bent over or upside down")
    if not truth[[15, 16], 2].all():
        found.append("ankles out of the picture")
    if not (segment == SEGMENTS.index("head")).any():
        found.append("no head to be seen")
    if person.mean() < 0.08:
        found.append("thin in the crop")
    return found or ["none of these"]


def sheet(rows: list[tuple]) -> np.ndarray:
    """Truth above, answer below, side by side."""
    columns = []
    for image, truth, found, scores, _, _ in rows:
        pair = []
        for points, sure in ((truth[:, :2], truth[:, 2]), (found, scores)):
            picture = image.copy()
            whole = np.array([[0, 0, picture.shape[1] - 1, picture.shape[0] - 1]], float)
            person = People(np.zeros(1), np.array([-1]), whole, np.ones(1), points[None], sure[None])
            draw_people(picture, person, COCO_17, 0.2)
            pair.append(picture)
        columns.append(np.vstack(pair))
    return np.hstack(columns)


def main() -> None:
    """Print the means, and draw the worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--pose", default="wholebody-s")
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows = answers(PoseEstimator(card_for(options.pose)), options.store, options.crops)
    print(f"{len(rows)} held-out synthetic crops: mean body OKS {np.mean([row[4] for row in rows]):.3f}")
    groups: dict[str, list[float]] = {}
    for row in rows:
        for word in hardships(row):
            groups.setdefault(word, []).append(row[4])
    for word, values in sorted(groups.items(), key=lambda item: np.mean(item[1])):
        print(f"  {word:<36} {np.mean(values):.3f} of {len(values)}")
    if options.picture:
        write_image(options.picture, sheet(sorted(rows, key=lambda row: row[4])[:SHOWN]))


if __name__ == "__main__":
    main()
