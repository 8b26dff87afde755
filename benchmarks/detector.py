"""How good is a detector of people? On real pictures and films of ../shared/data, and on held-out synthetic scenes.

    python benchmarks/detector.py [--detector ID_OR_ONNX] [--input PIXELS] [--store people --photographs photographs.local.txt [--side 384]]

Real: people found (overlap of 0.5) and boxes around nobody (no overlap of 0.4) among boxes of at least 0.3 on the four COCO photographs;
boxes a frame in the films, every 12th frame, where the truth is one or two people. The processor time of a picture of 1280 x 720.
Synthetic (with --store): precision and recall of persons by score in 300 scenes of --side x --side pixels (256) of people not trained on,
seen at that size or at --input; boxes labelled DOUBTFUL count neither way. --input: another size than the network's card says.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitruvian.formats.coco import read_wholebody_annotations
from vitruvian.geometry.boxes import iou
from vitruvian.media import open_video, read_image
from vitruvian.runtime import Detector
from vitruvian.weights import Card, card_for

SHARED = Path(__file__).parents[2] / "shared" / "data"
FILMS = ("sports2d/demo.mp4", *(f"pose2sim-single/cam0{n}.mp4" for n in (1, 2, 3, 4)))


def real(detector: Detector) -> None:
    """Print the figures of photographs and films."""
    truth = read_wholebody_annotations(SHARED / "images" / "coco" / "wholebody.json")
    found = nobody = 0
    for name in dict.fromkeys(truth.files):
        boxes = truth.boxes[[file == name for file in truth.files]]
        overlap = iou(detector([read_image(SHARED / "images" / "coco" / name)])[0].boxes, boxes)
        found += int((overlap.max(0, initial=0) > 0.5).sum())
        nobody += int((overlap.max(1, initial=0) < 0.4).sum())
    print(f"photographs: {found} of {len(truth)} people found, {nobody} boxes around nobody")
    for film in FILMS:
        with open_video(SHARED / "video" / film) as video:
            counts = [len(detector([frame.image])[0]) for frame in video if frame.index % 12 == 0]
        print(f"{film}: {np.mean(counts):.2f} boxes a frame")
    pictures = [np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)] * 4
    detector(pictures)
    start = time.process_time()
    for _ in range(8):
        detector(pictures)
    print(f"{1000 * (time.process_time() - start) / 32:.1f} ms of processor time for a picture of 1280 x 720")


def synthetic(card: Card, store: Path, photographs: Path | None, side: int) -> None:
    """Print precision and recall on held-out scenes of `side` x `side` pixels."""
    from vitruvian.synth.backgrounds import load_photographs
    from vitruvian.synth.scene import DOUBTFUL, Studio, detection_scene
    from vitruvian.synth.store import Store

    rng = np.random.default_rng(77)
    pictures = load_photographs(photographs.read_text().splitlines()[::5]) if photographs else []
    studio = Studio.open(Store.open(store), pictures, rng, 80, held_out=True)
    detector = Detector(card, score_threshold=0.1)
    scores, right, people = [], [], 0
    for _ in range(300):
        image, boxes, labels = detection_scene(rng, studio, (side, side))
        truth, doubtful = boxes[labels == 0], boxes[labels == DOUBTFUL]
        found = detector([np.ascontiguousarray(image)])[0]
        free = iou(found.boxes, truth)
        people += len(truth)
        for row, score in enumerate(found.scores):  # the best first, each person once
            best = free[row].argmax() if len(truth) else -1
            hit = best >= 0 and free[row, best] > 0.5
            if hit:
                free[:, best] = 0
            if hit or iou(found.boxes[row : row + 1], doubtful).max(initial=0) < 0.3:
                scores.append(score)
                right.append(hit)
    scores, right = np.array(scores), np.array(right, bool)
    print(f"{people} people in 300 held-out scenes of {side} pixels, seen at {card.input_size[0]}")
    for least in np.arange(0.2, 0.56, 0.05):
        kept = scores >= least
        print(f"  score {least:.2f}: recall {right[kept].sum() / people:.3f}, precision {right[kept].mean():.3f}")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="person-parts-s")
    parser.add_argument("--input", type=int)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    card = card_for(options.detector)
    real(Detector(replace(card, input_size=(options.input, options.input)) if options.input else card))
    if options.store:
        seen = options.input or options.side
        synthetic(replace(card, input_size=(seen, seen)), options.store, options.photographs, options.side)


if __name__ == "__main__":
    main()
