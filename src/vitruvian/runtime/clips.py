"""Keypoints of people in the middle frames of short clips: networks that look at several frames at once (DSTA, DiffPose)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.codecs.fractions import decode_fractions
from vitruvian.codecs.heatmap import Heatmap
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.codecs.poses import Poses
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.session import Device, open_session
from vitruvian.weights import Card, card_for
from vitruvian.weights.graph import read_ports

_INPUTS = (["frames"], ["frames", "noise"])
_OUTPUTS = (["coords", "sigma"], ["heatmaps"])


def looks_at_clips(card: Card) -> bool:
    """Whether a network's input is frames (b, f, 3, h, w). Raises WeightsError where its file can't be read."""
    inputs = read_ports(Path(card.file)).inputs
    return bool(inputs) and len(inputs[0].shape) == 5


class ClipEstimator:
    """A top-down network for clips, with its card: all frames are cropped by the boxes of the middle one, whose keypoints come out.

    `network` is a card, the id of a network, or the path of an ONNX file. `offsets`: which frames it wants, from the middle one.
    A network that starts from noise (DiffPose) gets the same for everybody, of `seed`. Frames run `max_batch` people at a time.
    Raises WeightsError when the network is missing or none for clips.
    """

    def __init__(
        self, network: Card | str | Path, *, device: Device = "auto", threads: int | None = None, max_batch: int = 4, seed: int = 0
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        found = read_ports(Path(self.card.file))
        names = [[port.name for port in ports] for ports in (found.inputs, found.outputs)]
        frames = found.inputs[0].shape[1] if looks_at_clips(self.card) else None
        if names[0] not in _INPUTS or names[1] not in _OUTPUTS or not frames or frames % 2 == 0 or self.card.task != "pose2d":
            raise WeightsError(f"{self.card.id!r} ({names[0]} to {names[1]}) is no pose network for clips: choose another.")
        self.offsets = tuple(range(-(frames // 2), frames // 2 + 1))
        self._session, self._max_batch = open_session(self.card.file, device, threads), max_batch
        self._noise = None
        if len(found.inputs) == 2:
            self._noise = np.random.default_rng(seed).standard_normal((1, *found.inputs[1].shape[1:])).astype(np.float32)

    def __call__(self, clips: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]], boxes: Sequence[Float[np.ndarray, "_ 4"]]) -> list[Poses]:
        """Per clip (as many RGB frames as `offsets`, oldest first) with the boxes (xyxy, pixels) of the people in its middle frame:
        keypoints (n, K, 2) in its pixels and scores (n, K). No boxes give empty arrays. Raises VitruvianError on anything else."""
        if len(clips) != len(boxes) or any(len(clip) != len(self.offsets) for clip in clips):
            raise VitruvianError(f"give {len(self.offsets)} frames per clip, and boxes (n, 4) for each of the {len(clips)} clips")
        return [self._poses(clip, places) for clip, places in zip(clips, boxes, strict=True)]

    def _poses(self, clip: Sequence[np.ndarray], boxes: Float[np.ndarray, "n 4"]) -> Poses:
        for image in clip:
            require_rgb(image)
        transform = BoxTransform.from_boxes(boxes, self.card.input_size, self.card.padding)
        keypoints, scores = [], []
        for start in range(0, max(len(boxes), 1), self._max_batch):
            matrices = transform.matrices[start : start + self._max_batch]
            found = self._decoded(np.stack([self._crops(image, matrices) for image in clip], axis=1))
            keypoints.append(found[0])
            scores.append(found[1])
        return Poses(transform.to_image(np.concatenate(keypoints)), np.concatenate(scores))

    def _crops(self, image: np.ndarray, matrices: np.ndarray) -> Float32[np.ndarray, "n 3 h w"]:
        crops = warp_crops(image, matrices, self.card.input_size)
        return normalise(crops, self.card.mean, self.card.std, self.card.channel_order)

    def _decoded(self, frames: Float32[np.ndarray, "n f 3 h w"]) -> tuple[Float32[np.ndarray, "n k 2"], Float32[np.ndarray, "n k"]]:
        """Keypoints in pixels of the crops, and scores."""
        if not len(frames):
            count = len(_skeleton(self.card))
            return np.zeros((0, count, 2), np.float32), np.zeros((0, count), np.float32)
        feed = {"frames": frames}
        if self._noise is not None:
            feed["noise"] = np.repeat(self._noise, len(frames), axis=0)
        try:
            outputs = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise WeightsError(f"{self.card.file} can't run on {frames.shape}: check its card ({error}).") from error
        if len(outputs) == 2:
            return decode_fractions(*outputs, self.card.input_size)
        return Heatmap(self.card.input_size, outputs[0].shape[:1:-1], "quarter").decode(*outputs)


def _skeleton(card: Card) -> Sequence[str]:
    """Names of the card's keypoints."""
    from vitruvian.skeletons import by_name

    return by_name(card.skeleton).names
