"""Find people (and their parts) in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.codecs.letterbox import letterbox, unletterbox
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.codecs.rtmdet import Detections, decode_raw, decode_suppressed
from vitruvian.errors import WeightsError
from vitruvian.runtime.session import Device, Session
from vitruvian.weights import Card, card_for


class Detector:
    """A detection network: pictures -> boxes.

    `network` is a card, the id of an embedded network, or the path of an ONNX file (see `vitruvian.weights.infer_card`).
    `classes` names what to look for; labels of the result index `card.classes`. `score_threshold` is in [0, 1]; `iou_threshold` is the
    overlap above which two boxes of a class are one object (not used where the graph has its own suppression).
    Raises WeightsError when the network is missing, no detector, or doesn't know a class.
    """

    def __init__(
        self,
        network: Card | str | Path,
        *,
        classes: Sequence[str] = ("person",),
        score_threshold: float = 0.3,
        iou_threshold: float = 0.6,
        max_boxes: int = 300,
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        unknown = [name for name in classes if name not in self.card.classes]
        if self.card.task != "detection" or unknown:
            raise WeightsError(f"{self.card.id!r} is no detector for {unknown or list(classes)}: it knows {list(self.card.classes[:8])}.")
        self.score_threshold, self.iou_threshold, self.max_boxes = score_threshold, iou_threshold, max_boxes
        self._labels = [self.card.classes.index(name) for name in classes]
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=max_batch)
        names = set(self.session.output_names)
        if not (names >= {"dets", "labels"} or names >= {"boxes", "scores"}):
            raise WeightsError(f"{self.card.file} returns {sorted(names)}; a detector returns dets and labels, or boxes and scores.")

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Detections]:
        """Detections per picture (RGB, any sizes), best first; boxes in its pixels and clipped to it.

        An empty list gives an empty list. Raises VitruvianError on arrays that are no pictures.
        """
        for image in images:
            require_rgb(image)
        out: list[Detections] = []
        step = self.session.batch_size
        for start in range(0, len(images), step):
            chunk = images[start : start + step]
            inputs, zooms = letterbox(chunk, self.card.input_size)
            batch = normalise(inputs, self.card.mean, self.card.std, self.card.channel_order)
            for found, zoom, image in zip(self._decode(batch), zooms, chunk, strict=True):
                boxes = unletterbox(found.boxes, zoom, (image.shape[1], image.shape[0]))
                solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # what lay in the padding is empty after clipping
                out.append(replace(found, boxes=boxes)[solid][: self.max_boxes])
        return out

    def _decode(self, batch: Float[np.ndarray, "b 3 h w"]) -> list[Detections]:
        """Run one batch; boxes in input pixels."""
        outputs = dict(zip(self.session.output_names, self.session.run(batch), strict=True))
        if "dets" in outputs:
            return decode_suppressed(outputs["dets"], outputs["labels"].astype(np.int32), self._labels, self.score_threshold)
        return decode_raw(outputs["boxes"], outputs["scores"], self._labels, self.score_threshold, self.iou_threshold, self.max_boxes)
