"""Several data sets as one: brought to one keypoint set, mixed by weight, shuffled in a stream, and as short clips.

RTMW's training (arXiv 2407.08634; card rtmw.md, section 6.1) puts 14 sets together, whose points are mapped by hand into COCO-WholeBody's
133; points without a partner have no weight. The same tables come out of `skeletons.convert` here. It shuffles them all without balancing:
weights in the proportion of the sets' sizes do the same in a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from vitruvian.data.pictures import Dataset, Labels, Picture
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton, convert

T = TypeVar("T")
BUFFER = 1000
"""Pictures that a stream holds back to shuffle them; their files stay unopened."""


def in_skeleton(dataset: Dataset, target: Skeleton = COCO_WHOLEBODY_133) -> Dataset:
    """The same pictures with the people's keypoints in another set; what the source lacks is not annotated."""
    if dataset.skeleton is target:
        return dataset

    def read() -> Iterator[Picture]:
        for picture in dataset:
            yield replace(picture, people=converted(picture.people, dataset.skeleton, target))

    return replace(dataset, skeleton=target, read=read)


def converted(people: Labels, source: Skeleton, target: Skeleton) -> Labels:
    """Labels in another keypoint set, without depths. A mean of two points is seen if both are."""
    found = convert(people.keypoints, people.visible.astype(np.float32), source, target)
    unknown = np.full(found.scores.shape, np.nan, np.float32)
    return replace(people, keypoints=found.keypoints, visible=found.scores.astype(np.uint8), depths=unknown)


def mix(
    datasets: Sequence[Dataset], weights: Sequence[float], seed: int = 0, worker: int = 0, workers: int = 1, buffer: int = BUFFER
) -> Iterator[Picture]:
    """An endless stream of pictures with people, each from a set that is drawn with its weight; every set is gone through again and again.

    Of `workers` streams with one seed, each holds other pictures (every `workers`-th of a set). Equal arguments give equal streams.
    Raises VitruvianError where weights don't fit, keypoint sets differ, or a set turns out to have no people for this worker.
    """
    if len(datasets) != len(weights) or not datasets or min(weights) <= 0 or not np.isfinite(weights).all():
        raise VitruvianError(f"{len(datasets)} data sets can't be mixed with the weights {list(weights)}: give each a positive number")
    if len({dataset.skeleton.name for dataset in datasets}) > 1:
        raise VitruvianError("data sets of several keypoint sets can't be mixed: bring them to one with in_skeleton first")
    rng = np.random.default_rng((seed, worker))
    rngs = [np.random.default_rng((seed, worker, i)) for i in range(len(datasets))]
    streams = [
        endless(dataset.name, dataset, own, worker, workers, lambda picture: len(picture.people) > 0, buffer)
        for dataset, own in zip(datasets, rngs, strict=True)
    ]
    share = np.cumsum(np.asarray(weights, float) / np.sum(weights))
    while True:
        yield next(streams[min(int(np.searchsorted(share, rng.random(), side="right")), len(streams) - 1)])


def shuffled(items: Iterable[T], rng: np.random.Generator, buffer: int = BUFFER) -> Iterator[T]:
    """A stream in an order that `rng` decides, `buffer` items at a time being kept back; a long stream is not shuffled from end to end."""
    held: list[T] = []
    for item in items:
        if len(held) < buffer:
            held.append(item)
            continue
        place = int(rng.integers(buffer))
        held[place], item = item, held[place]
        yield item
    rng.shuffle(held)
    yield from held


def clip_files(picture: Picture, offsets: Sequence[int]) -> tuple[Path, ...]:
    """The files of frames before and after a frame of a film, whose names are its number; beyond the ends, the last one that is there.

    Frames need not be annotated. Raises VitruvianError for a picture that is not named by a number.
    """
    digits = picture.file.stem
    if not digits.isdecimal():
        raise VitruvianError(f"{picture.file.name} has no number for a name: its neighbours are not known")
    files = []
    for offset in offsets:
        step = int(np.sign(offset))
        while offset and not (found := picture.file.with_stem(f"{int(digits) + offset:0{len(digits)}d}")).exists():
            offset -= step
        files.append(found if offset else picture.file)
    return tuple(files)


def endless(
    name: str,
    pictures: Iterable[T],
    rng: np.random.Generator,
    worker: int = 0,
    workers: int = 1,
    wanted: Callable[[T], bool] = lambda picture: True,
    buffer: int = BUFFER,
) -> Iterator[T]:
    """The wanted pictures of a set, again and again, anew shuffled each time; for each of several workers others.

    Raises VitruvianError where there are none for this worker.
    """
    while True:
        empty = True
        for picture in shuffled(islice(pictures, worker, None, workers), rng, buffer):
            if wanted(picture):
                empty = False
                yield picture
        if empty:
            raise VitruvianError(f"{name} has no annotated people for worker {worker + 1} of {workers}: take fewer, or another split")
