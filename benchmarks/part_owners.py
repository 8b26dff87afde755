"""Whose is each part? Heads, faces, hands and feet that the detector finds in crowds, and the share given to the right person.

    python benchmarks/part_owners.py --store people [--photographs photographs.local.txt] [--scenes 60] [--detector ID_OR_ONNX]

On held-out synthetic people (384 x 384), 2, 5 and 10 of them, in two kinds of crowds: as the detector learns from (`compose_scene`), and in
rows (`synth.crowds`), which it never saw. And on the four COCO photographs of ../shared/data, where heads, hands and feet are told by
keypoints. Ways to tell the owner:

boxes       where a part usually lies in a person's box (`people.joining`), as `vitruvian detect` does without offsets
keypoints   `people.attach_parts` with the keypoints of wholebody-s, as `vitruvian capture` does without offsets
offsets     where the part points (`codecs.pointed`), as `vitruvian detect` does
both        `people.attach_parts` with keypoints and the owners that offsets say, as `vitruvian capture` does with offsets

A part counts where a part of that class and its owner were both found (overlap of 0.5). Right, given to somebody else, given to nobody.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.pointed import PointedDetections, pointed_owners
from vitruvian.formats.coco import read_wholebody_annotations
from vitruvian.geometry.boxes import iou
from vitruvian.media import read_image
from vitruvian.people import attach_parts
from vitruvian.people.joining import join_parts
from vitruvian.runtime import Detector, PoseEstimator
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import PARTS, People
from vitruvian.weights.classes import PERSON_PARTS

SHARED = Path(__file__).parents[2] / "shared" / "data"
SIZE = (384, 384)  # backdrops have no more
DENSITIES = (2, 5, 10)
POINTS = {
    "head": [range(5)],
    "face": [range(23, 91)],
    "hand": [range(91, 112), range(112, 133)],
    "foot": [(15, 17, 18, 19), (16, 20, 21, 22)],
}
"""Keypoints of COCO_WHOLEBODY_133 whose mean is the middle of a part, for each of a kind."""


class Truth(NamedTuple):
    """A picture, its boxes with labels of PERSON_PARTS, and the owner of each: a person's own number."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    owners: np.ndarray


class Judged(NamedTuple):
    """One picture: people and parts found, the true owner (row of the people, -1 where it doesn't count) of each part, and the poses."""

    people: People
    parts: Detections
    truth: np.ndarray


def judged(truth: Truth, detector: Detector, pose: PoseEstimator) -> Judged:
    """Find people, parts and poses in a picture, and match them with the truth."""
    found = detector([truth.image])[0]
    bodies, parts = found[found.labels == 0], found[found.labels > 0]
    poses = pose([truth.image], [bodies.boxes])[0]
    people = People(
        frame=np.zeros(len(bodies), int), track=np.full(len(bodies), -1), boxes=bodies.boxes, scores=bodies.scores,
        keypoints=poses.keypoints, confidence=np.clip(poses.scores, 0, 1),
    )  # fmt: skip
    return Judged(people, parts, true_owners(truth, bodies, parts))


def true_owners(truth: Truth, bodies: Detections, parts: Detections) -> np.ndarray:
    """(m,) the row of `bodies` that each part really belongs to, -1 where it or its owner is none that was found."""
    body_of = {}
    is_person = truth.labels == 0
    overlap = iou(bodies.boxes, truth.boxes[is_person])
    for row in range(len(bodies)):  # the surest first, each person once
        best = overlap[row].argmax() if overlap.shape[1] else -1
        if best >= 0 and overlap[row, best] > 0.5:
            body_of[int(truth.owners[is_person][best])] = row
            overlap[:, best] = 0
    owners = np.full(len(parts), -1)
    for label in range(1, len(PERSON_PARTS)):
        there = np.flatnonzero(truth.labels == label)
        overlap = iou(parts.boxes, truth.boxes[there])
        for row in np.flatnonzero(parts.labels == label):
            best = overlap[row].argmax() if len(there) else -1
            if best >= 0 and overlap[row, best] > 0.5:
                owners[row] = body_of.get(int(truth.owners[there[best]]), -1)
                overlap[:, best] = 0
    return owners


def by_boxes(one: Judged) -> np.ndarray:
    """By where parts usually lie in a person's box."""
    return join_parts(one.people.boxes, one.parts.boxes, [PERSON_PARTS[label] for label in one.parts.labels])


def by_keypoints(one: Judged, owners: np.ndarray | None = None) -> np.ndarray:
    """By keypoints, where `owners` does not say."""
    attached = attach_parts(one.people, one.parts, PERSON_PARTS, COCO_WHOLEBODY_133, owners)
    out = np.full(len(one.parts), -1)
    for row, box in enumerate(one.parts.boxes):
        person, slot = np.nonzero((attached == box).all(-1))
        kind = PERSON_PARTS[one.parts.labels[row]]  # a face's box may be the head's too
        out[row] = next((int(p) for p, s in zip(person, slot, strict=True) if PARTS[s].endswith(kind)), -1)
    return out


def by_offsets(one: Judged) -> np.ndarray:
    """By where parts point."""
    return pointed_owners(one.parts, one.people.boxes, PERSON_PARTS)


def by_both(one: Judged) -> np.ndarray:
    """By where parts point, those that point at nobody by keypoints."""
    return by_keypoints(one, by_offsets(one))


WAYS: dict[str, Callable[[Judged], np.ndarray]] = {"boxes": by_boxes, "keypoints": by_keypoints, "offsets": by_offsets, "both": by_both}


def report(name: str, pictures: list[Judged]) -> None:
    """Print a row for each way: right, wrong and nobody, over all parts and by kind."""
    labels = np.concatenate([one.parts.labels for one in pictures])
    truth = np.concatenate([one.truth for one in pictures])
    counts = [int(((labels == label) & (truth >= 0)).sum()) for label in range(1, len(PERSON_PARTS))]
    print(f"{name}: {len(pictures)} pictures, {sum(counts)} parts {dict(zip(PERSON_PARTS[1:], counts, strict=True))}")
    for way, owners_by in WAYS.items():
        if not all(isinstance(one.parts, PointedDetections) for one in pictures) and way in ("offsets", "both"):
            continue
        given = np.concatenate([owners_by(one) for one in pictures])
        counts_here = truth >= 0
        right, nobody = given == truth, given < 0
        kinds = [(right & counts_here)[labels == label].sum() / max(counts[label - 1], 1) for label in range(1, len(PERSON_PARTS))]
        total = max(sum(counts), 1)
        parts = ", ".join(f"{kind} {share:.3f}" for kind, share in zip(PERSON_PARTS[1:], kinds, strict=True))
        shares = ((mask & counts_here).sum() / total for mask in (right, ~right & ~nobody, nobody))
        told = " ".join(f"{word} {share:.3f}" for word, share in zip(("right", "wrong", "nobody"), shares, strict=True))
        print(f"  {way:10s} {told} ({parts})")


def synthetic(store: Path, photographs: Path | None, scenes: int) -> Iterator[tuple[str, Iterator[Truth]]]:
    """Held-out crowds of both kinds, of every density."""
    from vitruvian.synth.backgrounds import load_photographs
    from vitruvian.synth.crowds import cast, crowd_picture
    from vitruvian.synth.scene import Studio, compose_scene
    from vitruvian.synth.store import Store

    rng = np.random.default_rng(78)
    pictures = load_photographs(photographs.read_text().splitlines()[::40]) if photographs else []
    studio = Studio.open(Store.open(store, truth=True), pictures, rng, 80, held_out=True)
    actors = cast(rng, studio, 60)

    def scattered(density: int) -> Truth:
        scene = compose_scene(rng, studio, SIZE, density)
        return Truth(np.ascontiguousarray(scene.image), scene.boxes, scene.labels, scene.owners)

    def in_rows(density: int) -> Truth:
        crowd = crowd_picture(rng, actors, studio.backdrop(rng, SIZE), density, (0.4, 0.8))
        kinds = np.array([PERSON_PARTS.index(name) for name in ("head", "face", "hand", "hand", "foot", "foot")])
        boxes, labels = np.concatenate([crowd.bodies, crowd.parts]), np.concatenate([np.zeros(len(crowd.bodies), int), kinds[crowd.labels]])
        return Truth(crowd.image, boxes, labels, np.concatenate([np.arange(len(crowd.bodies)), crowd.owners]))

    for name, draw in (("scenes", scattered), ("rows", in_rows)):
        for density in DENSITIES:
            yield f"{name} of {density}", (draw(density) for _ in range(scenes))  # noqa: B023  (used before the next)


def photographs_of_coco() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Keypoints and boxes of the people of each of the four photographs, and the picture."""
    truth = read_wholebody_annotations(SHARED / "images" / "coco" / "wholebody.json")
    for name in dict.fromkeys(truth.files):
        rows = np.flatnonzero([file == name for file in truth.files])
        yield truth.keypoints[rows], truth.boxes[rows], read_image(SHARED / "images" / "coco" / name)


def real(detector: Detector, pose: PoseEstimator) -> list[Judged]:
    """The photographs: a part is that person's in whose keypoints of this part the middle of its box lies nearest, within its size."""
    out = []
    for keypoints, boxes, image in photographs_of_coco():
        one = judged(Truth(image, boxes, np.zeros(len(boxes), int), np.arange(len(boxes))), detector, pose)
        bodies = iou(one.people.boxes, boxes)
        body_of = {int(row.argmax()): i for i, row in reversed(list(enumerate(bodies))) if row.max(initial=0) > 0.5}
        truth = np.full(len(one.parts), -1)
        for i, (box, label) in enumerate(zip(one.parts.boxes, one.parts.labels, strict=True)):
            middle, size = (box[:2] + box[2:]) / 2, np.sqrt((box[2:] - box[:2]).prod())
            gaps = {person: _gap(points, PERSON_PARTS[label], middle) for person, points in enumerate(keypoints)}
            person = min(gaps, key=gaps.get)
            if gaps[person] < 0.75 * size:
                truth[i] = body_of.get(person, -1)
        out.append(one._replace(truth=truth))
    return out


def _gap(points: np.ndarray, kind: str, middle: np.ndarray) -> float:
    """How far the nearest part of this kind of a person is from a place, infinite where none is annotated."""
    gaps = [np.inf]
    for group in POINTS[kind]:
        mine = points[list(group)]
        mine = mine[mine[:, 2] > 0, :2]
        if len(mine) >= 2:
            gaps.append(float(np.linalg.norm(mine.mean(0) - middle)))
    return min(gaps)


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="person-parts-s")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--scenes", type=int, default=60, help="of each kind and density")
    parser.add_argument("--keep", type=Path, help="pickle what was found, to try rules on")
    options = parser.parse_args()
    detector, pose = Detector(options.detector, classes=PERSON_PARTS, threads=1), PoseEstimator("wholebody-s", threads=1)
    kept = {"photographs": real(detector, pose)}
    report("photographs", kept["photographs"])
    if options.store:
        for name, truths in synthetic(options.store, options.photographs, options.scenes):
            kept[name] = [judged(truth, detector, pose) for truth in truths]
            report(name, kept[name])
            if options.keep:
                options.keep.write_bytes(pickle.dumps({name: [tuple(one) for one in ones] for name, ones in kept.items()}))


if __name__ == "__main__":
    main()
