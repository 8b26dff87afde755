"""A detector of instruments on hSDB-instrument's frames, and the table that its paper reports: average precision per class.

Classes are the data set's, instrument and part (17 in cholecystectomy, 33 in gastrectomy). What a network says in two steps, which
instrument and which of its parts, is brought to them by `codecs.instruments.Instruments.products` (card hsdb-instrument.md sections 4, 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.instruments import PARTS, Instruments, names_instruments
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.data.hsdb_instrument import InstrumentFrame
from vitruvian.errors import VitruvianError
from vitruvian.media.pictures import read_image
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes, box_average_precision

if TYPE_CHECKING:
    from vitruvian.runtime.detector import Detector

Rows = list[tuple[str, int, float, float]]
"""Class, boxes to find, AP, AP50."""
Boxes = tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]
"""The boxes of a frame, and their classes."""


def judge_instruments(
    frames: Iterable[InstrumentFrame],
    detector: Detector,
    classes: Sequence[str],
    limit: int | None = None,
    on_frame: Callable[[int], object] = lambda done: None,
) -> tuple[Rows, dict[str, float]]:
    """`product_table` of a detector on frames (the first `limit`), in the data set's `classes`.

    Raises VitruvianError where the network is none for instruments, MediaError where a picture can't be read.
    """
    names = detector.card.classes
    if not names_instruments(names):
        raise VitruvianError(f"{detector.card.id} finds {', '.join(names[:6])}, no instruments with parts: take an hSDB-instrument network")
    true, found = [], []
    for done, frame in enumerate(islice(frames, limit), 1):
        known = [i for i, name in enumerate(frame.names) if name in classes]
        true.append((frame.boxes[known], np.array([classes.index(frame.names[i]) for i in known], np.int64)))
        found.append(instruments_in(detector([read_image(frame.file)])[0], names).products(names[: -len(PARTS)], classes))
        on_frame(done)
    return product_table(true, found, classes)


def instruments_in(found: OwnedDetections, classes: Sequence[str]) -> Instruments:
    """What a detector of instruments (`classes`: its card's) found in a frame, as its codec had it."""
    count = len(classes) - len(PARTS)
    wholes, parts = found[found.labels < count], found[found.labels >= count]
    part = np.full((len(wholes), len(PARTS)), -1)
    row_of = {int(person): row for row, person in enumerate(wholes.persons)}
    for row, (label, person) in enumerate(zip(parts.labels - count, parts.persons.tolist(), strict=True)):
        if person in row_of:
            part[row_of[person], label] = row
    plain = (Detections(one.boxes, one.scores, one.labels - shift) for one, shift in ((wholes, 0), (parts, count)))
    return Instruments(next(plain), part, next(plain))


def product_table(true: Sequence[Boxes], found: Sequence[Detections], classes: Sequence[str]) -> tuple[Rows, dict[str, float]]:
    """`ap_table` of frames: of each the true boxes with their classes, and `Instruments.products`; labels index `classes`."""
    counts = [len(labels) for _, labels in true], [len(one) for one in found]
    of_truth, of_found = (np.repeat(np.arange(len(count)), np.array(count, int)) for count in counts)

    def column(values: Iterable[np.ndarray], *shape: int) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape)), *(np.reshape(value, (-1, *shape)) for value in values)])

    truth = TrueBoxes(of_truth, column((b for b, _ in true), 4), column(n for _, n in true).astype(int), np.zeros(len(of_truth), bool))
    boxes, labels, scores = (column((getattr(one, name) for one in found), *tail) for name, tail in _COLUMNS)
    return ap_table(truth, FoundBoxes(of_found, boxes, labels.astype(int), scores), classes)


_COLUMNS: tuple[tuple[str, tuple[int, ...]], ...] = (("boxes", (4,)), ("labels", ()), ("scores", ()))


def ap_table(truth: TrueBoxes, found: FoundBoxes, classes: Sequence[str]) -> tuple[Rows, dict[str, float]]:
    """Rows (class, boxes to find, AP, AP50) as the paper reports them, and the means over the classes that there are to find.

    Classes without ground truth have NaN and don't count: several are in one split only (card section 6). The means also say over how
    many classes they are.
    """
    scores = box_average_precision(truth, found, len(classes))
    counts = np.bincount(truth.labels[~truth.crowd], minlength=len(classes))
    rows = [
        (name, int(counts[i]), *(float(scores[key][i]) if counts[i] else float("nan") for key in ("AP", "AP50")))
        for i, name in enumerate(classes)
    ]
    some = counts > 0
    means = {key: float(scores[key][some].mean()) if some.any() else float("nan") for key in ("AP", "AP50", "AP75")}
    return rows, means | {"classes": float(some.sum())}


def table_text(rows: Rows, means: Mapping[str, float]) -> str:
    """The table as Markdown, in per cent."""
    lines = ["| class | boxes | AP | AP50 |", "|---|---|---|---|"]
    lines += [f"| {name} | {count} | {_percent(ap)} | {_percent(half)} |" for name, count, ap, half in rows]
    lines.append(f"| mean over {means['classes']:.0f} classes | | {_percent(means['AP'])} | {_percent(means['AP50'])} |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
