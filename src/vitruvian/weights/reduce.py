"""A faster or smaller file of the same weights: 8-bit integers for CPUs, or float16 on disk.

`int8` turns most of a network into integers (`vitruvian.weights.quantise` says which parts, and how). `fp16` halves the file; the arithmetic
stays float32, and so does the speed. Both come with a card that names the parent and says how far the answers moved, on pictures that the
ranges were not taken from.

TABLE
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from vitruvian._files import written_whole
from vitruvian.errors import WeightsError
from vitruvian.weights import trial
from vitruvian.weights.card import Card, file_sha256
from vitruvian.weights.find import card_for
from vitruvian.weights.graph import read_ports
from vitruvian.weights.layout import layout_of
from vitruvian.weights.quantise import halve, import_onnx, prepare, quantise

Reduced = Literal["int8", "fp16"]

SIZE_STEP = 32
"""The coarsest stride of the detectors that are known here: their inputs may be of any multiple of it."""


def reduce(
    network: Card | str | Path,
    out: str | Path | None = None,
    *,
    precision: Reduced = "int8",
    pictures: str | Path | Sequence[str | Path] | None = None,
    on_progress: Callable[[str], None] = lambda stage: None,
) -> Card:
    """Write a reduced file of a network, with its card beside it; returns the card.

    `network` is a card, an id, or the path of an ONNX file. `out` ends in .onnx; None: ID-PRECISION.onnx in the current folder. `pictures`
    (a video, a picture, a folder or a list of pictures) are what the ranges of int8 are taken from, every other one, and what the change is
    measured on, the others; None takes the packaged clip of a synthetic person. `on_progress` is told what is going on.
    A detector that takes inputs of any size and decodes its boxes itself gets a `size_step`: padding may be left out.

    Raises WeightsError when the network is missing, an augmenter, reduced already, or of a kind that can't be, and when there is nothing to
    see in the pictures; MissingExtraError without the package onnx; MediaError and FormatError on files. Then nothing is written.
    """
    card = network if isinstance(network, Card) else card_for(network)
    out = Path(out) if out is not None else Path(f"{card.id}-{precision}.onnx")
    _check(card, out, precision)
    on_progress("looking at pictures")
    seen = trial.packaged_pictures(card) if pictures is None else trial.pictures_of(pictures, card)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.onnx"
        card_of_made = replace(
            card, id=out.stem, file=str(made), size_step=_size_step(card), precision=precision, parent=card.id, urls=(), member=""
        )
        on_progress(f"writing {precision}")
        if precision == "int8":
            model, samples = prepare(card.file, Path(folder)), trial.inputs(replace(card_of_made, file=card.file), seen[::2])
            quantise(model, samples, made, coarse_only=card.task in ("detection", "one-stage"))
        _save_halved(made if precision == "int8" else Path(card.file), made)
        on_progress("measuring the change")
        card_of_made = replace(
            card_of_made,
            file=str(out),
            sha256=file_sha256(made),
            size_bytes=made.stat().st_size,
            parent_sha256=file_sha256(card.file),
            calibration=_words(pictures, len(seen[::2])) if precision == "int8" else "",
            figures=trial.change(card, card_of_made, seen[1::2] or seen),
        )
        with written_whole(out) as temporary:
            shutil.copyfile(made, temporary)
        card_of_made.save(out.with_suffix(".json"))
    return card_of_made


def _check(card: Card, out: Path, precision: str) -> None:
    """Raise on what can't be done, before any work."""
    import_onnx()
    if precision not in get_args(Reduced):
        raise WeightsError(f"there is no precision {precision!r}: give one of {', '.join(get_args(Reduced))}")
    if card.task == "augmenter":
        raise WeightsError(f"{card.id!r} is an augmenter, small and fast as it is: only networks that see pictures are reduced")
    if card.precision == "int8" or card.parent:
        raise WeightsError(f"{card.id!r} is a reduced network: start from the whole one{f', {card.parent!r}' if card.parent else ''}")
    if out.suffix.lower() != ".onnx":
        raise WeightsError(f"{out.name!r} is no name for an ONNX file: end it with .onnx")
    if out.resolve() == Path(card.file).resolve():
        raise WeightsError(f"{out} is the network itself: give another name")
    if [port.type for port in read_ports(card.file).inputs] != ["tensor(float)"]:
        raise WeightsError(f"{card.file} must have one float32 input: export it anew")


def _size_step(card: Card) -> int:
    """The step of a detector's free sides, where the boxes that it returns don't depend on the input's size."""
    found = read_ports(card.file)
    shape = found.inputs[0].shape
    layout = layout_of(shape, [(port.name, port.shape) for port in found.outputs])
    is_free = card.task == "detection" and shape[2:] == (None, None) and all(side % SIZE_STEP == 0 for side in card.input_size)
    return SIZE_STEP if is_free and layout and layout.kind in ("suppressed", "boxes") else card.size_step


def _save_halved(source: Path, target: Path) -> None:
    """Write the graph with its large weights as float16."""
    onnx = import_onnx()
    model = onnx.load(source)
    halve(model)
    onnx.save(model, target)


def _words(pictures: str | Path | Sequence[str | Path] | None, count: int) -> str:
    """Where the ranges come from."""
    if pictures is None:
        return f"{count} frames of the packaged sample.mp4"
    source = Path(pictures).name if isinstance(pictures, str | Path) else "a list of pictures"
    return f"{count} pictures of {source}"
