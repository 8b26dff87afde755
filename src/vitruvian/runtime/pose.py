"""Keypoints of people whose boxes are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, UInt8

from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.codecs.heatmap import Heatmap, flip_average_maps
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.codecs.poses import Poses
from vitruvian.codecs.probability_map import ProbabilityMap
from vitruvian.codecs.simcc import SimCC, flip_average
from vitruvian.codecs.simcc3d import SimCC3D, flip_average_3d, weak_perspective
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.layout import Compat, layout_for
from vitruvian.runtime.session import Device, Session
from vitruvian.weights import Card, card_for
from vitruvian.weights.layout import Layout

if TYPE_CHECKING:
    from vitruvian.skeletons import Skeleton

Codec = SimCC | SimCC3D | Heatmap | ProbabilityMap


class PoseEstimator:
    """A top-down network (RTMPose, DWPose, RTMW, RTMW3D, ViTPose and our own): pictures and boxes -> keypoints.

    `network` is a card, the id of a network, or the path of an ONNX file (see `vitruvian.weights.card_for`).
    `flip_test` also runs the mirrored crops and averages: better by a little, twice the time. `second`: tell also where each keypoint may
    be instead (`Poses.second`), where the network's maps are probabilities. `codec` None decodes as the card says, by the published rule.
    Crops of several people and pictures run together, `max_batch` at a time.
    `compat` "rtmlib" gives that program's numbers: channels are taken as they are, the score is the mean of both SimCC maxima, a picture
    without boxes is one box, and heat maps and depths come with its slips (see `Heatmap` and `SimCC3D`).
    Raises WeightsError when the network is missing or no pose network.
    """

    def __init__(
        self,
        network: Card | str | Path,
        *,
        flip_test: bool = False,
        second: bool = False,
        codec: Codec | None = None,
        compat: Compat = "",
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task not in ("pose2d", "pose3d"):
            raise WeightsError(f"{self.card.id!r} is a network for {self.card.task}, not for poses: choose another.")
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=max_batch)
        self.layout = layout_for(self.card, self.session, ("simcc", "simcc3d", "maps"))
        shapes = [self.session.output_shapes[place] for place in self.layout.outputs]
        self.codec = codec or _codec(self.card, self.layout, shapes, compat)
        self.compat = compat
        self.swap = _swap(self.card) if flip_test else None
        self.second = second and isinstance(self.codec, ProbabilityMap)
        self.keypoints: int = shapes[0][1] or len(_skeleton(self.card))
        self._unbiased = self.card.codec == "heatmap-udp" and not compat

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Sequence[Float[np.ndarray, "_ 4"]]) -> list[Poses]:
        """Per picture (RGB, any sizes) with its boxes (xyxy, pixels): keypoints (n, K, 2) in its pixels and raw scores (n, K).

        Raw scores may exceed 1; a keypoint with a score <= 0 was not found and its place means nothing. 3D networks also give `points` in
        metres around the hips, in camera axes, scaled as `weak_perspective` does: the camera is not known here.
        No boxes give empty arrays, and nothing runs. Raises VitruvianError on other things than pictures and boxes.
        """
        return [self._poses(*found) for found in self.in_crops(images, boxes)]

    def in_crops(
        self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Sequence[Float[np.ndarray, "_ 4"]]
    ) -> list[tuple[BoxTransform, Float32[np.ndarray, "_ k _"], Float32[np.ndarray, "_ k"]]]:
        """As a call, in the network's own units: per picture where the crops lie, keypoints in them (n, K, 2), and raw scores.

        3D networks give (n, K, 3), depth in units of the crop: see `SimCC3D`. Second places come after the K keypoints, as K more.
        """
        if len(images) != len(boxes):
            raise VitruvianError(f"{len(images)} pictures but boxes for {len(boxes)}: give one array of boxes (n, 4) per picture.")
        transforms = []
        for image, places in zip(images, boxes, strict=True):
            require_rgb(image)
            if self.compat and len(places) == 0:
                places = np.float32([[0, 0, image.shape[1], image.shape[0]]])
            transforms.append(BoxTransform.from_boxes(places, self.card.input_size, self.card.padding, self._unbiased))
        owner = np.repeat(np.arange(len(images)), [len(t) for t in transforms])
        places = 2 * self.keypoints if self.second else self.keypoints
        keypoints = np.zeros((len(owner), places, 3 if isinstance(self.codec, SimCC3D) else 2), np.float32)
        scores = np.zeros((len(owner), places), np.float32)
        for rows, crops in self._crops(images, transforms):
            keypoints[rows], scores[rows] = self._infer(crops)
        ends = np.searchsorted(owner, np.arange(len(images) + 1))
        slices = [slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        return [(t, keypoints[s], scores[s]) for t, s in zip(transforms, slices, strict=True)]

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

    def _infer(self, crops: UInt8[np.ndarray, "b h w 3"]) -> tuple[Float32[np.ndarray, "b k _"], Float32[np.ndarray, "b k"]]:
        """One batch: keypoints in crop pixels, with depth in crop units from 3D networks, and scores."""
        batch = normalise(crops, self.card.mean, self.card.std, "rgb" if self.compat else self.card.channel_order)
        outputs = self._outputs(batch)
        if self.swap is not None:
            outputs = _average(self.codec, outputs, self._outputs(batch[..., ::-1]), self.swap)
        return self.codec.decode_two(*outputs) if self.second else self.codec.decode(*outputs)

    def _outputs(self, batch: Float32[np.ndarray, "b 3 h w"]) -> list[np.ndarray]:
        """What the codec wants, out of what the network returns."""
        arrays = self.session.run(batch)
        return [arrays[place] for place in self.layout.outputs]

    def _poses(self, transform: BoxTransform, keypoints: Float32[np.ndarray, "n k _"], scores: Float32[np.ndarray, "n k"]) -> Poses:
        """The people of one picture, from crops to the picture."""
        places = transform.to_image(keypoints[..., :2])
        if self.second:
            (first, instead), (sure, chance) = (np.split(values, 2, axis=1) for values in (places, scores))
            return Poses(first, sure, second=np.concatenate([instead, chance[..., None]], axis=-1))
        if not isinstance(self.codec, SimCC3D):
            return Poses(places, scores)
        return Poses(places, scores, weak_perspective(places, self.codec.metres(keypoints[..., 2]), scores, root=self.codec.root))


def _codec(card: Card, layout: Layout, shapes: Sequence[tuple[int | None, ...]], compat: Compat) -> Codec:
    """The codec that a card asks for, for outputs of these shapes."""
    rule = compat or "mmpose"
    if layout.kind == "simcc":
        return SimCC(card.input_size, card.split_ratio, rule=rule)
    if layout.kind == "simcc3d":
        depth = round(shapes[2][2] / card.split_ratio) if shapes[2][2] else card.input_size[0]
        return SimCC3D((*card.input_size, depth), card.split_ratio, rule=rule)
    rows, columns = shapes[0][2:]
    if card.codec == "probability-map":
        return ProbabilityMap(card.input_size, (columns or card.input_size[0] // 8, rows or card.input_size[1] // 8))
    if card.codec not in _HEATMAP_RULES:
        raise WeightsError(f"{card.file} returns heat maps, and its card {card.id!r} doesn't say how to read them: set its codec.")
    cells = (columns or card.input_size[0] // 4, rows or card.input_size[1] // 4)
    return Heatmap(card.input_size, cells, _HEATMAP_RULES[card.codec], peer=compat)


_HEATMAP_RULES = {"heatmap": "quarter", "heatmap-dark": "dark", "heatmap-udp": "udp"}


def _average(codec: Codec, outputs: Sequence[np.ndarray], mirrored: Sequence[np.ndarray], swap: Sequence[int]) -> Sequence[np.ndarray]:
    """Flip test: the mean of the outputs for crops and for their mirror images."""
    if isinstance(codec, Heatmap):
        return [flip_average_maps(*outputs, *mirrored, swap, shift=codec.rule != "udp")]
    if isinstance(codec, ProbabilityMap):
        return [flip_average_maps(*outputs, *mirrored, swap, shift=False)]
    if isinstance(codec, SimCC3D):
        return flip_average_3d(outputs, mirrored, swap)
    return flip_average(*outputs, *mirrored, swap)


def _skeleton(card: Card) -> Skeleton:
    """The card's keypoint set."""
    return card.keypoint_set


def _swap(card: Card) -> tuple[int, ...]:
    """Each keypoint's partner on the other side."""
    return tuple(_skeleton(card).swap)
