"""Pictures to try a network on, what it is fed there, and how far its answers are from those of another one.

Knows `vitruvian.runtime`, which runs the networks, and is known by `vitruvian.weights.reduce` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from vitruvian.codecs.crop import BoxTransform
from vitruvian.codecs.detections import Detections
from vitruvian.codecs.poses import Poses
from vitruvian.errors import WeightsError
from vitruvian.geometry.boxes import enclosing, iou
from vitruvian.runtime import Detector, OneStage, PoseEstimator
from vitruvian.weights.card import ASSETS, Card

Pictures = list[tuple[UInt8[np.ndarray, "_ _ 3"], Float32[np.ndarray, "_ 4"]]]
"""Pictures, each with the boxes of what a pose network is to look at."""

MOST = 48
"""So many pictures are taken."""

LARGEST = 1920
"""Larger pictures are made smaller, to this many pixels on the longer side, since all are held in memory."""

CONFIDENT = 0.3
"""Keypoints with a lower score are not compared: their places mean little."""

SAME = 0.5
"""Boxes that overlap by more are of one thing."""


def packaged_pictures(card: Card) -> Pictures:
    """Frames of the packaged clip with the true boxes of its one person, or of the person's hands or face, as the card's subject is."""
    from vitruvian.media import open_video
    from vitruvian.take import Take

    take = Take.load(ASSETS / "sample.npz")
    people = take.people
    boxes, owner = people.boxes, people.frame
    if parts := {"hand": ("left_hand", "right_hand"), "face": ("face",)}.get(card.subject, ()):
        places = [take.skeleton.parts[part] for part in parts]
        boxes = np.concatenate([enclosing(people.keypoints[:, place], people.confidence[:, place] > 0) for place in places])
        owner = np.tile(owner, len(parts))
    solid = (boxes[:, 2:] > boxes[:, :2] + 1).all(axis=1)
    with open_video(ASSETS / "sample.mp4") as video:
        images = [frame.image for frame in video]
    chosen = np.linspace(0, len(images) - 1, min(MOST, len(images))).astype(int)
    return [(images[i], boxes[(owner == i) & solid].astype(np.float32)) for i in chosen]


def pictures_of(source: str | Path | Sequence[str | Path], card: Card) -> Pictures:
    """Pictures or frames of a video of the user's. For pose networks the embedded detector finds people, hands or faces in them.

    Raises WeightsError when there is nothing for the network to see, MediaError as `vitruvian.media.open_source`.
    """
    from vitruvian.media import open_source

    with open_source(source) as opened:
        apart = min(30, max(1, (opened.frame_count or 0) // MOST))
        images: list[np.ndarray] = []
        for frame in opened:
            if frame.index % apart == 0:
                images.append(_smaller(frame.image))
            if len(images) == MOST:
                break
    if not images:
        raise WeightsError(f"{opened.name} holds no pictures: give others, or none for the packaged ones")
    boxes = [np.zeros((0, 4), np.float32)] * len(images)
    if card.subject == "animal":  # the embedded detector knows people only
        boxes = [np.float32([[0, 0, image.shape[1], image.shape[0]]]) for image in images]
    elif card.task in ("pose2d", "pose3d"):
        kind = card.subject if card.subject in ("hand", "face") else "person"
        boxes = [found.boxes for found in Detector("person-parts-s", classes=(kind,), device="cpu")(images)]
        if not any(map(len, boxes)):
            raise WeightsError(
                f"{opened.name} shows no {kind} to the embedded detector: give other pictures, or none for the packaged ones"
            )
    return [(image, found) for image, found in zip(images, boxes, strict=True) if card.task not in ("pose2d", "pose3d") or len(found)]


def _smaller(image: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
    """The picture with at most `LARGEST` pixels on a side."""
    import cv2

    ratio = LARGEST / max(image.shape)
    return cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA) if ratio < 1 else image


def inputs(card: Card, pictures: Pictures) -> list[Float32[np.ndarray, "b ..."]]:
    """What the network is fed on these pictures, batch by batch: as the runtime does it, since it is the runtime that does it."""
    network = _network(card)
    listening = network.session = _Listening(network.session)
    _answers(network, pictures)
    rows = listening.input_shape[0]
    return [np.resize(batch, (rows, *batch.shape[1:])) if rows else batch for batch in listening.heard]


class _Listening:
    """A session that remembers what it was given."""

    def __init__(self, session: object) -> None:
        self._session = session
        self.heard: list[np.ndarray] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def run(self, batch: Float[np.ndarray, "b ..."]) -> tuple[np.ndarray, ...]:
        """As the session, after a copy."""
        self.heard.append(np.array(batch, np.float32))
        return self._session.run(batch)


def change(before: Card, after: Card, pictures: Pictures) -> dict[str, float]:
    """How far the answers of one network are from those of another, with names for a card's figures; empty where nothing can be compared.

    Keypoints: those of `before` with a score above 0.3, in pixels of the network's input. Boxes: their overlap (IoU) with the best one of
    the same class from the other network, and the shares of boxes on both sides that have none above 0.5.
    """
    first, second = (_answers(_network(card), pictures) for card in (before, after))
    if before.task == "detection":
        return _change_of_boxes(first, second)
    if before.task != "one-stage":
        crops = [BoxTransform.from_boxes(boxes, before.input_size, before.padding) for _, boxes in pictures]
        return _change_of_keypoints(first, second, [before.input_size[0] / crop.scales[:, 0] for crop in crops])
    boxes = [[found for found, _ in answers] for answers in (first, second)]
    pairs = [np.nonzero(_overlaps(a, b) > SAME) for a, b in zip(*boxes, strict=True)]
    poses = [[people[rows[side]] for (_, people), rows in zip(answers, pairs, strict=True)] for side, answers in enumerate((first, second))]
    zooms = [min(np.divide(before.input_size, image.shape[1::-1])) for image, _ in pictures]
    return _change_of_boxes(*boxes) | _change_of_keypoints(
        *poses, [np.full(len(rows), zoom) for (rows, _), zoom in zip(pairs, zooms, strict=True)]
    )


def _network(card: Card) -> Detector | OneStage | PoseEstimator:
    """What runs such a network."""
    if card.task == "detection":
        return Detector(card, classes=card.classes, device="cpu")
    return OneStage(card, device="cpu") if card.task == "one-stage" else PoseEstimator(card, device="cpu")


def _answers(network: Detector | OneStage | PoseEstimator, pictures: Pictures) -> list:
    """What the network says to each picture."""
    images = [image for image, _ in pictures]
    return network(images, [boxes for _, boxes in pictures]) if isinstance(network, PoseEstimator) else network(images)


def _change_of_keypoints(first: Sequence[Poses], second: Sequence[Poses], zooms: Sequence[Float[np.ndarray, " n"]]) -> dict[str, float]:
    """`zooms` are input pixels per pixel of the picture, for each person."""
    gaps = [np.empty(0)]
    for a, b, zoom in zip(first, second, zooms, strict=True):
        gaps.append((np.linalg.norm(a.keypoints - b.keypoints, axis=-1) * zoom[:, None])[a.scores > CONFIDENT])
    moved = np.concatenate(gaps)
    if not len(moved):
        return {}
    return {
        "keypoints moved from the parent's, input pixels, median": round(float(np.median(moved)), 3),
        "keypoints moved from the parent's, input pixels, 95 %": round(float(np.percentile(moved, 95)), 3),
    }


def _change_of_boxes(first: Sequence[Detections], second: Sequence[Detections]) -> dict[str, float]:
    overlaps = [_overlaps(a, b) for a, b in zip(first, second, strict=True)]
    best = np.concatenate([np.empty(0), *(table.max(axis=1, initial=0) for table in overlaps)])
    reverse = np.concatenate([np.empty(0), *(table.max(axis=0, initial=0) for table in overlaps)])
    if not len(best):
        return {}
    return {
        "boxes' overlap (IoU) with the parent's, median": round(float(np.median(best)), 4),
        "boxes of the parent's without a counterpart, share": round(float((best <= SAME).mean()), 4),
        "boxes that the parent hasn't, share": round(float((reverse <= SAME).mean()) if len(reverse) else 0.0, 4),
    }


def _overlaps(a: Detections, b: Detections) -> Float[np.ndarray, "n m"]:
    """Intersection over union, 0 between classes."""
    return iou(a.boxes, b.boxes) * (a.labels[:, None] == b.labels[None, :])
