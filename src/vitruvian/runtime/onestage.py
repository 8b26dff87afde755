"""Boxes and keypoints of everybody in one pass over the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.letterbox import letterbox, unletterbox
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.codecs.poses import Poses
from vitruvian.codecs.rtmo import decode_rtmo
from vitruvian.errors import WeightsError
from vitruvian.runtime.layout import Compat, layout_for
from vitruvian.runtime.session import Device, Session
from vitruvian.weights import Card, card_for


class OneStage:
    """A one-stage pose network (RTMO): pictures -> boxes and keypoints. Its time doesn't grow with the number of people.

    `network` is a card, the id of a network, or the path of an ONNX file (see `vitruvian.weights.card_for`).
    `score_threshold` is in [0, 1]; `iou_threshold` is the overlap of boxes above which two people are one.
    `compat` "rtmlib" takes the pictures' channels as they are, measures overlap with the +1, and leaves the boxes uncut.
    Raises WeightsError when the network is missing or no such network.
    """

    def __init__(
        self,
        network: Card | str | Path,
        *,
        score_threshold: float = 0.3,
        iou_threshold: float = 0.65,
        max_people: int = 300,
        compat: Compat = "",
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        if self.card.task != "one-stage":
            raise WeightsError(f"{self.card.id!r} is a network for {self.card.task}, not for poses in one stage: choose another.")
        self.score_threshold, self.iou_threshold, self.max_people, self.compat = score_threshold, iou_threshold, max_people, compat
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=max_batch)
        self.layout = layout_for(self.card, self.session, ("people",))

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[tuple[Detections, Poses]]:
        """Per picture (RGB, any sizes): people, best first, in its pixels, boxes clipped to it; row i of both is one person.

        An empty list gives an empty list. Raises VitruvianError on arrays that are no pictures.
        """
        for image in images:
            require_rgb(image)
        out: list[tuple[Detections, Poses]] = []
        for start in range(0, len(images), self.session.batch_size):
            chunk = images[start : start + self.session.batch_size]
            inputs, zooms = letterbox(chunk, self.card.input_size, "yolox")
            batch = normalise(inputs, self.card.mean, self.card.std, "rgb" if self.compat else self.card.channel_order)
            arrays = self.session.run(batch)
            dets, keypoints = (arrays[place] for place in self.layout.outputs)
            if self.compat:  # rtmlib suppresses in picture pixels, where the +1 weighs less
                dets = np.concatenate([dets[..., :4] / zooms[:, :1, None], dets[..., 4:]], axis=-1)
            people = decode_rtmo(dets, keypoints, self.score_threshold, self.iou_threshold, self.max_people, plus_one=bool(self.compat))
            for (found, poses), zoom, image in zip(people, zooms, chunk, strict=True):
                poses = replace(poses, keypoints=poses.keypoints / zoom)
                if self.compat:
                    out.append((found, poses))
                    continue
                boxes = unletterbox(found.boxes, zoom, (image.shape[1], image.shape[0]))
                solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
                out.append((replace(found, boxes=boxes)[solid], poses[solid]))
        return out
