"""Find people (and their parts, or instruments and theirs) in pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import get_args

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.codecs import rtmlib
from vitruvian.codecs.anchors import Candidates, centred_letterbox
from vitruvian.codecs.association import PartSet, Rule, Thresholds
from vitruvian.codecs.detections import Detections, decode_raw, decode_suppressed
from vitruvian.codecs.instruments import INSIDE, SLOTS
from vitruvian.codecs.letterbox import letterbox, unletterbox
from vitruvian.codecs.normalise import normalise, require_rgb
from vitruvian.codecs.owned import OwnedDetections, owned_bodies, owned_facing, owned_instruments, part_set_of
from vitruvian.codecs.pointed import PointedDetections, decode_pointed
from vitruvian.codecs.yolox import decode_yolox
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.runtime.layout import Compat, layout_for
from vitruvian.runtime.session import Device, Session
from vitruvian.weights import Card, card_for


class Detector:
    """A detection network (RTMDet, YOLOX, BPJDet, JointBDOE, hSDB-instrument and our own): pictures -> boxes.

    `network` is a card, the id of a network, or the path of an ONNX file (see `vitruvian.weights.card_for`).
    `classes` names what to look for; labels of the result index `card.classes`. `score_threshold` is in [0, 1]; `iou_threshold` is the
    overlap above which two boxes of a class are one object (not used where the graph has its own suppression).
    `compat` "rtmlib" gives that program's boxes, its quirks included (see `vitruvian.codecs.rtmlib`): pictures are in the order of channels
    that the network wants, and `classes` and `max_boxes` count for nothing.
    Our own gives `PointedDetections`, which say where each part's owner is (files from before it learnt that: plain `Detections`).
    BPJDet's and JointBDOE's networks give `OwnedDetections`: whose each part is, and which way people face. `association` says how BPJDet's
    parts are given to bodies (`vitruvian.codecs.association`): "published" is the paper's rule, "best" ours, which errs less in crowds;
    `part_threshold` is the least score of its parts, None that of bodies.
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
        association: Rule = "best",
        part_threshold: float | None = None,
        compat: Compat = "",
        device: Device = "auto",
        threads: int | None = None,
        max_batch: int = 8,
    ) -> None:
        self.card = network if isinstance(network, Card) else card_for(network)
        unknown = [name for name in classes if name not in self.card.classes]
        if self.card.task != "detection" or (unknown and not compat):
            raise WeightsError(f"{self.card.id!r} is no detector for {unknown or list(classes)}: it knows {list(self.card.classes[:8])}.")
        if association not in get_args(Rule):
            raise VitruvianError(f"there is no rule of association {association!r}: take {' or '.join(get_args(Rule))}")
        self.classes = tuple(classes)
        self.score_threshold, self.iou_threshold, self.max_boxes, self.compat = score_threshold, iou_threshold, max_boxes, compat
        self.association, self.part_threshold = association, score_threshold if part_threshold is None else part_threshold
        self._labels = [] if compat else [self.card.classes.index(name) for name in classes]
        self.session = Session(self.card.file, device=device, threads=threads, max_batch=max_batch)
        self.layout = layout_for(self.card, self.session, ("suppressed", "boxes", "owned", "facing", "cells"))
        self._rule = "yolox" if self.card.codec == "yolox" or self.layout.kind == "cells" or compat else "mmdet"
        self._owned = self.layout.kind in ("owned", "facing")
        if self._owned:
            self._part_set = self._parts_of_outputs()
        # A graph that returns boxes without a batch axis has no place for those of a second picture.
        self._step = self.session.batch_size if len(self.session.output_shapes[self.layout.outputs[0]]) != 2 else 1

    def __call__(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Detections]:
        """Detections per picture (RGB, any sizes), best first; boxes in its pixels and clipped to it.

        An empty list gives an empty list. Raises VitruvianError on arrays that are no pictures.
        """
        for image in images:
            require_rgb(image)
        if self._owned:
            return self._with_owners(images)
        out: list[Detections] = []
        for size, chunk in self._chunks(images):
            inputs, zooms = letterbox(chunk, size, self._rule)
            batch = normalise(inputs, self.card.mean, self.card.std, "rgb" if self.compat else self.card.channel_order)
            arrays = self.session.run(batch)
            outputs = [arrays[place] for place in self.layout.outputs]
            if self.compat:
                out += self._decode_as_rtmlib(outputs, zooms)
                continue
            for found, zoom, image in zip(self._decode(outputs), zooms, chunk, strict=True):
                inside = (image.shape[1], image.shape[0])
                boxes = unletterbox(found.boxes, zoom, inside)
                solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # what lay in the padding is empty after clipping
                found = replace(found, boxes=boxes)
                if isinstance(found, PointedDetections):
                    found = replace(found, owner_boxes=unletterbox(found.owner_boxes, zoom, inside))
                out.append(found[solid][: self.max_boxes])
        return out

    def _parts_of_outputs(self) -> PartSet | None:
        """Which parts a network with owners finds, None for one that finds people only. Raises WeightsError where the card says others."""
        if self.compat:
            raise WeightsError(f"{self.card.id!r} is none of rtmlib's networks: run it without compat")
        if self.layout.kind == "facing":
            return None
        widths = [self.session.output_shapes[place][-1] or 0 for place in self.layout.outputs[2:]]
        try:
            return part_set_of(self.card.classes, *widths)
        except VitruvianError as error:
            raise WeightsError(f"{self.card.file}: {error}") from error

    def _with_owners(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[OwnedDetections]:
        """As `__call__`, for networks that know whose a part is or which way people face."""
        size, least, overlap = self.card.input_size, self.score_threshold, self.iou_threshold
        inside = INSIDE if self._part_set is SLOTS else Thresholds.inside
        thresholds = Thresholds(least, overlap, self.part_threshold, min(overlap, Thresholds.part_iou), inside)
        out = []
        for start in range(0, len(images), self._step):
            chunk = images[start : start + self._step]
            inputs = np.stack([centred_letterbox(image, size) for image in chunk])
            arrays = self.session.run(normalise(inputs, self.card.mean, self.card.std, self.card.channel_order))
            boxes, scores, *extras = (arrays[place] for place in self.layout.outputs)
            if scores.shape[-1] != len(self.card.classes):
                raise WeightsError(
                    f"{self.card.file} tells {scores.shape[-1]} classes apart, its card {len(self.card.classes)}: correct the card."
                )
            for row, image in enumerate(chunk):
                candidates = Candidates(boxes[row], scores[row], np.concatenate([extra[row] for extra in extras], axis=-1))
                place = size, (image.shape[1], image.shape[0])
                if self._part_set is None:
                    found = owned_facing(candidates, *place, least, overlap, self.max_boxes)
                elif self._part_set is SLOTS:
                    found = owned_instruments(candidates, *place, thresholds, self.association, self.max_boxes)
                else:
                    found = owned_bodies(candidates, self._part_set, *place, thresholds, self.association, self.max_boxes)
                solid = (found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1)
                out.append(found[solid & np.isin(found.labels, self._labels)])
        return out

    def _chunks(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Iterator[tuple[tuple[int, int], list[np.ndarray]]]:
        """Neighbouring pictures that go in together, with the size (width, height) of their input."""
        for size, alike in groupby(images, self._input_size):
            same = list(alike)
            for start in range(0, len(same), self._step):
                yield size, same[start : start + self._step]

    def _input_size(self, image: UInt8[np.ndarray, "_ _ 3"]) -> tuple[int, int]:
        """The card's size, without the part that would be padding only where the network can do without it (`Card.size_step`).

        At least half a step of padding stays: without any, keypoints in the boxes moved by 0.41 px instead of 0.17 (rtmdet-nano on
        1920 x 1080).
        """
        step = 0 if self.compat else self.card.size_step
        if not step:
            return self.card.input_size
        lengths = np.multiply(image.shape[1::-1], min(np.divide(self.card.input_size, image.shape[1::-1])))
        width, height = np.minimum(self.card.input_size, step * np.ceil(lengths / step + 0.5).astype(int)).tolist()
        return width, height

    def _decode(self, outputs: Sequence[np.ndarray]) -> list[Detections]:
        """Detections of one batch; boxes in input pixels."""
        if self.layout.kind == "suppressed":
            return decode_suppressed(*_suppressed(outputs), self._labels, self.score_threshold)
        how = self._labels, self.score_threshold, self.iou_threshold, self.max_boxes
        if self.layout.kind == "boxes" and len(outputs) == 3:
            return decode_pointed(*self._raw(outputs), outputs[2], *how)
        return decode_raw(*self._raw(outputs), *how)

    def _decode_as_rtmlib(self, outputs: Sequence[np.ndarray], zooms: Float[np.ndarray, "b 2"]) -> list[Detections]:
        """Detections of one batch; boxes in picture pixels."""
        if self.layout.kind == "suppressed":
            return rtmlib.suppressed_detections(*_suppressed(outputs), zooms, self.score_threshold)
        return rtmlib.raw_detections(*self._raw(outputs), zooms, self.score_threshold, self.iou_threshold)

    def _raw(self, outputs: Sequence[np.ndarray]) -> tuple[Float[np.ndarray, "b n 4"], Float[np.ndarray, "b n c"]]:
        """Boxes and scores of a graph without suppression. Raises WeightsError when there are fewer scores than the card has classes."""
        boxes, scores = decode_yolox(outputs[0], self.card.input_size) if self.layout.kind == "cells" else outputs[:2]
        if scores.shape[-1] <= max(self._labels, default=0):
            raise WeightsError(
                f"{self.card.file} tells {scores.shape[-1]} classes apart, its card {len(self.card.classes)}: correct the card."
            )
        return boxes, scores


def _suppressed(outputs: Sequence[np.ndarray]) -> tuple[Float[np.ndarray, "b n 5"], np.ndarray | None]:
    """Boxes with scores, and labels if the graph has any, with a batch axis."""
    dets, labels = outputs[0], outputs[1] if len(outputs) > 1 else None
    if dets.ndim == 2:
        dets, labels = dets[None], None if labels is None else labels.reshape(1, -1)
    return dets, labels if labels is None else labels.astype(np.int32)
