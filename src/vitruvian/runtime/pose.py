"""Keypoints of people whose boxes are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, UInt8

from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.codecs.simcc import SimCC, flip_average
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.session import Device, Session
from vitruvian.weights import Card, card_for

if TYPE_CHECKING:
    from vitruvian.skeletons import Skeleton


class PoseEstimator:
    """A top-down SimCC network (RTMPose, DWPose, RTMW and our own): pictures and boxes -> keypoints.

    `network` is a card, the id of an embedded network, or the path of an ONNX file (see `vitruvian.weights.infer_card`).
    `flip_test` also runs the mirrored crops and averages: better by a little, twice the time. `codec` None decodes by mmpose's rule.
    Crops of several people and pictures run together, `max_batch` at a time.
    Raises WeightsError when the network is missing or no SimCC network.
    """

    def __init__(
        self,
        network: Card | str | Path,
        *,
        flip_test: bool = False,
        codec: SimCC | None = None,
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task != "pose2d":
            raise WeightsError(f"{self.card.id!r} is a network for {self.card.task}, not for poses: choose another.")
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=max_batch)
        names, shapes = self.session.output_names, dict(zip(self.session.output_names, self.session.output_shapes, strict=True))
        if not all(len(shapes.get(name, ())) == 3 for name in ("simcc_x", "simcc_y")):
            raise WeightsError(f"{self.card.file} returns {shapes}; a pose network returns simcc_x and simcc_y (people, keypoints, bins).")
        self.codec = codec or SimCC(self.card.input_size, self.card.split_ratio)
        self._x, self._y = names.index("simcc_x"), names.index("simcc_y")
        self.swap = _swap(self.card) if flip_test else None
        self.keypoints: int = shapes["simcc_x"][1] or len(_skeleton(self.card))

    def __call__(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Sequence[Float[np.ndarray, "_ 4"]]
    ) -> list[tuple[Float32[np.ndarray, "_ k 2"], Float32[np.ndarray, "_ k"]]]:
        """Per picture (RGB, any sizes) with its boxes (xyxy, pixels): keypoints (n, K, 2) in its pixels and raw scores (n, K).

        Raw scores are SimCC maxima and may exceed 1; a keypoint with a score <= 0 was not found and its place means nothing.
        No boxes give empty arrays, and nothing runs. Raises VitruvianError on other things than pictures and boxes.
        """
        if len(images) != len(boxes):
            raise VitruvianError(f"{len(images)} pictures but boxes for {len(boxes)}: give one array of boxes (n, 4) per picture.")
        transforms = []
        for image, places in zip(images, boxes, strict=True):
            require_rgb(image)
            transforms.append(BoxTransform.from_boxes(places, self.card.input_size, self.card.padding))
        owner = np.repeat(np.arange(len(images)), [len(t) for t in transforms])
        keypoints = np.zeros((len(owner), self.keypoints, 2), np.float32)
        scores = np.zeros((len(owner), self.keypoints), np.float32)
        for rows, crops in self._crops(images, transforms):
            keypoints[rows], scores[rows] = self._infer(crops)
        ends = np.searchsorted(owner, np.arange(len(images) + 1))
        slices = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        return [(t.to_image(keypoints[s]), scores[s]) for t, s in zip(transforms, slices, strict=True)]

    def _crops(
        self, images: Sequence[np.ndarray], transforms: Sequence[BoxTransform]
    ) -> Iterator[tuple[slice, UInt8[np.ndarray, "b h w 3"]]]:
        """Yield (rows, crops) in full batches across all pictures, so that only one batch of crops is in memory."""
        width, height = self.card.input_size
        buffer = np.empty((self.session.batch_size, height, width, 3), np.uint8)
        done = filled = 0
        for image, transform in zip(images, transforms, strict=True):
            matrices = transform.matrices
            while len(matrices):
                room = buffer[filled : filled + len(matrices)]
                warp_crops(image, matrices[: len(room)], self.card.input_size, out=room)
                matrices, filled = matrices[len(room) :], filled + len(room)
                if filled == len(buffer):
                    yield slice(done, done + filled), buffer
                    done, filled = done + filled, 0
        if filled:
            yield slice(done, done + filled), buffer[:filled]

    def _infer(self, crops: UInt8[np.ndarray, "b h w 3"]) -> tuple[Float32[np.ndarray, "b k 2"], Float32[np.ndarray, "b k"]]:
        """One batch: keypoints in crop pixels and scores."""
        batch = normalise(crops, self.card.mean, self.card.std, self.card.channel_order)
        outputs = self.session.run(batch)
        x, y = outputs[self._x], outputs[self._y]
        if self.swap is not None:
            mirrored = self.session.run(batch[..., ::-1])
            x, y = flip_average(x, y, mirrored[self._x], mirrored[self._y], self.swap)
        return self.codec.decode(x, y)


def _skeleton(card: Card) -> Skeleton:
    """The card's keypoint set."""
    from vitruvian.skeletons import by_name

    return by_name(card.skeleton)


def _swap(card: Card) -> tuple[int, ...]:
    """Each keypoint's partner on the other side."""
    return tuple(_skeleton(card).swap)
