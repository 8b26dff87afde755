"""Whole pictures with their objects, for detectors: drawn or read by worker processes, laid into the input alone or four together.

After card bpjdet.md section 6: a mosaic of four, scaled and shifted, in other colours. How the four lie is YOLOv5's rule, from memory:
they meet in a point within half an input of the middle. [ours]: three of the four are among the last `RECENT` pictures, as reading one
costs more than laying it; and flips (card section 10).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from vitruvian.codecs.letterbox import FILL
from vitruvian.data.augment import Looks, change_looks
from vitruvian.data.hsdb_instrument import InstrumentFrame, Tied
from vitruvian.data.mixture import endless
from vitruvian.data.parts import PartDataset, PartPicture, part_picture
from vitruvian.media.pictures import read_image
from vitruvian.nn.anchors import Targets
from vitruvian.synth import instruments
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.crowds import Crowd, cast, crowd_picture, whole_people
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import Store
from vitruvian.systems.detection.targets import collate, cut, moved
from vitruvian.take import PARTS

RECENT = 32
DRAWN_SIDE = 384  # pixels: the most that backdrops allow
LEAST_VISIBLE = 0.25  # less of a drawn person neither teaches nor counts
CROWDS = (1, 2, 3, 4, 6, 8, 12, 16, 20)
CLASSES = ("person", *(name.replace("_", " ") for name in PARTS))
"""Of the pictures that `picture_of` gives."""
_ACTORS, _OTHERS = 500, 100  # painted people to train on, and to judge on


class Taught(NamedTuple):
    """A picture (RGB) and its objects in its pixels."""

    image: UInt8[np.ndarray, "h w 3"]
    targets: Targets


@dataclass(frozen=True)
class Layout:
    """How pictures are laid into the input. mosaic: chance of four at a time. scale: 1 +- so much. shift: in sizes of the input.

    flip: chance that a picture is mirrored. looks: of the whole input. late: what the end of a training uses, None for the same.
    """

    mosaic: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    looks: Looks = Looks(blur=0, median=0, dropout=0)
    late: Layout | None = None

    def at(self, late: bool) -> Layout:
        """The first stage's, or the end's."""
        return self.late if late and self.late is not None else self


_COLOURS = Looks(gains=(0.015, 0.7, 0.4), blur=0, median=0, dropout=0)
_OURS = replace(_COLOURS, blur=0.1)
LAYOUTS: Mapping[str, Layout] = {
    "none": Layout(),
    "bpjdet": Layout(1.0, 0.5, 0.1, looks=_COLOURS),
    "jointbdoe": Layout(1.0, 0.9, 0.1, looks=_COLOURS),
    "scenes": Layout(0.5, 0.5, 0.1, 0.5, _OURS, Layout(0.0, 0.3, 0.1, 0.5, _OURS)),
}
"""As in inference; as published (cards bpjdet.md and jointbdoe.md, section 6); ours."""

Drawing = Callable[[np.random.Generator, int, int], Iterator[Taught]]
"""An endless stream of pictures for one of several workers: (rng, worker, workers)."""
Mirror = Callable[[Any, float], Any]
"""Objects of a picture of so many pixels' width in a mirror."""


class Scenes(IterableDataset):
    """An endless stream of inputs of `size` (width, height) with their objects. `late`, in shared memory: which stage of the layout."""

    def __init__(self, drawing: Drawing, size: tuple[int, int], layout: Layout, mirror: Mirror, seed: int):
        self.drawing, self.size, self.layout, self.mirror, self.seed = drawing, size, layout, mirror, seed
        self.late = torch.zeros(1, dtype=torch.bool).share_memory_()

    def __iter__(self) -> Iterator[Taught]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        cv2.setNumThreads(0)
        rng = np.random.default_rng((self.seed, worker))
        recent: deque[Taught] = deque(maxlen=RECENT)
        for taught in self.drawing(rng, worker, workers):
            layout = self.layout.at(bool(self.late))
            if rng.random() < layout.flip:
                image, targets = taught
                taught = Taught(np.ascontiguousarray(image[:, ::-1]), self.mirror(targets, float(image.shape[1])))
            recent.append(taught)
            others = rng.integers(len(recent), size=3 * (rng.random() < layout.mosaic))
            yield lay([taught, *(recent[i] for i in others)], self.size, layout, rng)


def lay(pictures: Sequence[Taught], size: tuple[int, int], layout: Layout, rng: np.random.Generator) -> Taught:
    """One picture, or four that meet in a point, in an input of `size` (width, height), grey where there is none.

    A picture is fitted into the input, then all are scaled about their middle and shifted together; what they leave of objects is `cut`.
    """
    limits = np.array(size, float)
    canvas = np.full((size[1], size[0], 3), FILL, np.uint8)
    zoom = rng.uniform(1 - layout.scale, 1 + layout.scale)
    middle = (0.5 + rng.uniform(-layout.shift, layout.shift, 2)) * limits
    meeting = rng.uniform(-0.5, 0.5, 2) * limits
    kept = []
    for place, one in enumerate(rng.permutation(len(pictures))):
        image, targets = pictures[one]
        fit = (limits / image.shape[1::-1]).min()
        extent = fit * np.array(image.shape[1::-1])
        corner = meeting - extent * ((place + 1) % 2, (place < 2)) if len(pictures) > 1 else -extent / 2
        kept.append(_laid(canvas, image, targets, fit * zoom, middle + zoom * corner))
    return Taught(change_looks(canvas[None], layout.looks, rng)[0], collate(kept))


def _laid(canvas: np.ndarray, image: np.ndarray, targets: Targets, zoom: float, corner: Float[np.ndarray, " 2"]) -> Targets:
    """Draw a picture with its left top corner there, in place, in whole pixels; what is seen of its objects."""
    size = np.array(image.shape[1::-1])
    extent, low = np.maximum(np.rint(zoom * size), 1).astype(int), np.rint(corner).astype(int)
    start, stop = np.clip(low, 0, canvas.shape[1::-1]), np.clip(low + extent, 0, canvas.shape[1::-1])
    if (stop > start).all():
        fitted = cv2.resize(image, extent.tolist(), interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
        (left, top), (right, bottom) = start - low, stop - low
        canvas[start[1] : stop[1], start[0] : stop[0]] = fitted[top:bottom, left:right]
    to_pixels, shift = (torch.from_numpy(np.asarray(x, np.float32)) for x in (extent / size, low))
    return cut(moved(targets, to_pixels, shift), *(torch.from_numpy(x.astype(np.float32)) for x in (start, stop)))


def collate_taught(inputs: Sequence[Taught]) -> tuple[UInt8[Tensor, "b 3 h w"], Targets]:
    """Inputs of one size, in channels-last memory, and the objects in them."""
    images = torch.from_numpy(np.stack([one.image for one in inputs])).permute(0, 3, 1, 2)
    return images, collate([one.targets for one in inputs])


def scaled(images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """To [0, 1], which these networks take."""
    return images.float() / 255


def draw_crowds(
    rng: np.random.Generator,
    worker: int,
    workers: int,
    *,
    store: Path,
    photographs: Sequence[str],
    held_out: bool,
    size: tuple[int, int],
    teach: Callable[[PartPicture], Targets],
) -> Iterator[Taught]:
    """Crowds of synthetic people of a store (`synth.crowds`), in pictures of `size` or what backdrops allow."""
    studio = Studio.open(Store.open(store, truth=True), load_photographs(photographs), rng, 40 if held_out else 300, held_out)
    actors = cast(rng, studio, min(_OTHERS if held_out else _ACTORS, max(1, len(whole_people(studio)))))
    size = fitting(size)
    while True:
        crowd = crowd_picture(rng, actors, studio.backdrop(rng, size), int(rng.choice(CROWDS)), (0.4, 0.8))
        yield Taught(crowd.image, teach(picture_of(crowd)))


def draw_instruments(
    rng: np.random.Generator,
    worker: int,
    workers: int,
    *,
    names: Sequence[str],
    size: tuple[int, int],
    randomised: float,
    teach: Callable[[Tied], Targets],
) -> Iterator[Taught]:
    """One to three of these instruments (`synth.instruments`) in a cavity or, with the chance `randomised`, before anything."""
    while True:
        some = rng.choice(list(names), rng.integers(1, 4)).tolist()
        picture = instruments.instrument_picture(rng, some, fitting(size), rng.random() < randomised)
        yield Taught(picture.image, teach(tied_of(picture)))


def read_pictures(
    rng: np.random.Generator,
    worker: int,
    workers: int,
    *,
    dataset: PartDataset,
    size: tuple[int, int],
    teach: Callable[[PartPicture], Targets],
) -> Iterator[Taught]:
    """The pictures of a data set of people with parts or headings, those that are larger than `size` shrunk to it."""
    for picture in endless(dataset.name, dataset, rng, worker, workers, lambda picture: len(picture.bodies) > 0):
        yield shrunk(read_image(picture.file), teach(picture), size)


def read_frames(
    rng: np.random.Generator,
    worker: int,
    workers: int,
    *,
    frames: Sequence[InstrumentFrame],
    shares: Float[np.ndarray, " n"],
    size: tuple[int, int],
    teach: Callable[[Tied], Targets],
) -> Iterator[Taught]:
    """Frames of hSDB-instrument, drawn with their shares, those that are larger than `size` shrunk to it."""
    while True:
        frame = frames[rng.choice(len(frames), p=shares)]
        yield shrunk(read_image(frame.file), teach(frame.tied), size)


def shrunk(image: UInt8[np.ndarray, "h w 3"], targets: Targets, size: tuple[int, int]) -> Taught:
    """A picture, its objects cut at its edges, brought into `size` (width, height) where it is larger."""
    limits = np.array(image.shape[1::-1])
    zoom = min(1.0, (np.array(size) / limits).min())
    extent = np.maximum(np.rint(zoom * limits), 1).astype(int)
    whole = torch.from_numpy(limits.astype(np.float32))
    targets = cut(targets, torch.zeros(2), whole)
    if zoom < 1:
        image = cv2.resize(image, extent.tolist(), interpolation=cv2.INTER_AREA)
        targets = moved(targets, torch.from_numpy(extent.astype(np.float32)) / whole, torch.zeros(2))
    return Taught(image, targets)


def fitting(size: tuple[int, int]) -> tuple[int, int]:
    """The size of drawn pictures for inputs of `size`: the same proportions, no side longer than DRAWN_SIDE."""
    width, height = (round(side * min(1.0, DRAWN_SIDE / max(size))) for side in size)
    return width, height


def picture_of(crowd: Crowd) -> PartPicture:
    """A drawn crowd as a data set would annotate it, with parts of CLASSES; people who are hardly seen are to be ignored."""
    return part_picture(
        Path(), "crowd", crowd.image.shape[1::-1], crowd.bodies,
        visible=crowd.visible, ignore=crowd.visible < LEAST_VISIBLE, headings=crowd.headings,
        parts=list(zip(crowd.parts, (crowd.labels + 1).tolist(), crowd.owners.tolist(), strict=True)),
    )  # fmt: skip


def tied_of(picture: instruments.InstrumentPicture) -> Tied:
    """Drawn instruments as `data.hsdb_instrument.tie_parts` would find them, nothing ambiguous."""
    parts = np.full((len(picture.names), len(instruments.PARTS), 4), np.nan)
    parts[picture.owners, picture.labels] = picture.parts
    return Tied(picture.names, picture.wholes, parts, np.zeros(len(picture.names), bool))
