"""A faster or smaller file of the same weights: 8-bit integers for CPUs, or float16 on disk.

`int8` turns most of a network into integers (`vitruvian.weights.quantise` says which parts, and how). `fp16` halves the file; the
arithmetic stays float32, and the speed what it was. Both come with a card that names the parent and says how far the answers moved, on
pictures that the ranges were not taken from.

Measured with benchmarks/precision.py on an AMD EPYC with AVX-512 VNNI, 2 threads, batches of 8; processor milliseconds per picture (of both
threads together), since the machine was shared. RTMPose-t was one of our own, trained, which wholebody-s has replaced. The rows of
wholebody-s and person-parts-s are of weights of 7 bits, as they are now (`quantise`), and of one thread, by a script that was not kept; the
others of 8 bits:

| network | float32 | int8 | | answers of int8 |
|---|---|---|---|---|
| wholebody-s, as packaged, batches of 4 | 12.5 | 6.6 | 1.9 x | keypoints moved by 0.18 input pixels in the median, 95 % by 0.6 at most |
| RTMPose-t, 133 points | 13.5 | 6.2 | 2.2 x | keypoints moved by 0 input pixels in the median (of steps of 0.5), 95 % by less than 2.1 |
| RTMPose-m, 133 points | 50.5 | 17.9 | 2.8 x | not measured, no weights here |
| rtmdet-nano, 320 x 320 | 10.2 | 9.1 | 1.1 x | boxes' IoU 0.95, 6 % lost: not worth it |
| rtmdet-nano, fp16, 320 x 224 for 16:9 | 10.2 | 7.1 | 1.4 x | boxes' IoU 0.998, none lost |
| person-parts-s, 416 x 256 | 31.1 | 26.2 | 1.2 x | boxes' IoU 0.96, 2 % lost, more around nobody: not worth it |
| person-parts-nano (the default until person-parts-s) | 26.0 | 22.3 | 1.2 x | boxes' IoU 0.96, 11 % lost: not worth it |

What this does to wholebody-s (twelve COCO persons of ../shared with true boxes, benchmarks/real_images.py and reliability.py; 400 held-out
synthetic crops, benchmarks/failures.py, and 300 for the calibration error):

| | body OKS | feet | face | hands | calibration error | synthetic body OKS | its calibration error |
|---|---|---|---|---|---|---|---|
| float32 | 0.712 | 0.478 | 0.330 | 0.242, 0.462 | 0.046 | 0.754 | 0.014 |
| weights of 8 bits | 0.713 | 0.511 | 0.307 | 0.233, 0.471 | 0.044 | 0.755 | 0.013 |
| weights of 7 bits, as packaged | 0.714 | 0.480 | 0.326 | 0.267, 0.468 | 0.046 | 0.755 | 0.013 |
| 8 bits, ranges from 96 training crops too | 0.708 | 0.503 | 0.316 | 0.230, 0.468 | 0.047 | 0.753 | 0.014 |

So pose networks are for int8, and small detectors for fp16 with padding left out (`vitruvian.weights.padding`). Small detectors spend their
time on SiLU and depthwise convolutions, which are slower as integers: Sigmoid and Mul on uint8 take 0.46 ns a value, in float32 0.30.

| tried with that RTMPose-t | came to |
|---|---|
| only convolutions as integers, SiLU between them in float32 | 7.9 ms: each value is converted twice |
| all matrix products too | 5.5 ms, but keypoints moved by 0.5 input pixels in the median; 2.2 where the outputs were integers too |
| the three layers at half resolution in float32 | 6.9 ms, no better than this with trimmed ranges |
| ranges: largest values; entropy; means over batches; trimmed by 1e-6 to 2e-4 | trimming by 5e-5 moved keypoints least |
| calibration with varied crops, with real people | no better than the packaged clip |
| ranges that are symmetric around 0 | keypoints moved 1.7 times as far |
| exact: the 7 x 7 convolution as 49 products without its zero padding | 12.2 instead of 14.4 ms in float32: not done, int8 gains more |
| denormals as zeros | no gain |
| normalisation inside the graph, on uint8 pictures | not done: what it saves takes 0.07 ms a crop, 0.16 ms a detection |

On CPUs without VNNI the integer kernels of ONNX Runtime saturate with weights of 8 bits, as its documentation says; with 7 they can't. How
fast integers are there we have not measured.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, WeightsError
from vitruvian.weights import trial
from vitruvian.weights.card import BLIND, Card, file_sha256
from vitruvian.weights.find import card_for
from vitruvian.weights.graph import read_ports
from vitruvian.weights.layout import layout_of
from vitruvian.weights.padding import count_padding
from vitruvian.weights.quantise import FINEST_OF_DETECTORS, choose, halve, import_onnx, prepare, quantise

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
        on_progress(f"writing {precision}")
        made = replace(card, id=out.stem, file=f"{folder}/made.onnx", precision=precision, parent=card.id, urls=(), member="")
        made = replace(
            made, size_step=_write(card, made, seen[::2]), sha256=file_sha256(made.file), size_bytes=Path(made.file).stat().st_size
        )
        on_progress("measuring the change")
        made = replace(
            made,
            parent_sha256=file_sha256(card.file),
            calibration=_words(pictures, len(seen[::2])) if precision == "int8" else "",
            figures=trial.change(card, made, seen[1::2] or seen),
        )
        with written_whole(out) as temporary:
            shutil.copyfile(made.file, temporary)
            made = replace(made, file=str(out))
            made.save(out.with_suffix(".json"))
    return made


def _write(card: Card, made: Card, pictures: trial.Pictures) -> int:
    """Write the reduced network; returns its `size_step`."""
    path = Path(made.file)
    model = prepare(card.file, path.parent)
    chosen = choose(model, FINEST_OF_DETECTORS if card.task in ("detection", "one-stage") else 1)
    step = SIZE_STEP if _is_free(card) and count_padding(model, card) else card.size_step
    if made.precision == "int8":
        quantise(model, chosen, trial.inputs(replace(card, size_step=step), pictures), path)
        model = import_onnx().load(path)
    halve(model)
    import_onnx().save(model, path)
    return step


def _check(card: Card, out: Path, precision: str) -> None:
    """Raise on what can't be done, before any work."""
    import_onnx()
    if precision not in get_args(Reduced):
        raise WeightsError(f"there is no precision {precision!r}: give one of {', '.join(get_args(Reduced))}")
    if card.task in BLIND:
        raise WeightsError(f"{card.id!r} ({card.task}) is small and fast as it is: only networks that see pictures are reduced")
    if card.precision == "int8" or card.parent:
        raise WeightsError(f"{card.id!r} is a reduced network: start from the whole one{f', {card.parent!r}' if card.parent else ''}")
    if out.suffix.lower() != ".onnx":
        raise WeightsError(f"{out.name!r} is no name for an ONNX file: end it with .onnx")
    if out.resolve() == Path(card.file).resolve():
        raise WeightsError(f"{out} is the network itself: give another name")
    if [port.type for port in read_ports(card.file).inputs] != ["tensor(float)"]:
        raise WeightsError(f"{card.file} must have one float32 input: export it anew")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"can't make the folder {out.parent} ({error.strerror}): give another one") from error


def _is_free(card: Card) -> bool:
    """Whether a detector takes inputs of any size, and decodes its boxes itself, so that nobody else must know the size."""
    found = read_ports(card.file)
    shape = found.inputs[0].shape
    layout = layout_of(shape, [(port.name, port.shape) for port in found.outputs])
    fits = card.task == "detection" and shape[2:] == (None, None) and not any(side % SIZE_STEP for side in card.input_size)
    return fits and layout is not None and layout.kind in ("suppressed", "boxes")


def _words(pictures: str | Path | Sequence[str | Path] | None, count: int) -> str:
    """Where the ranges come from."""
    if pictures is None:
        return f"{count} frames of the packaged sample.mp4"
    source = Path(pictures).name if isinstance(pictures, str | Path) else "a list of pictures"
    return f"{count} pictures of {source}"
