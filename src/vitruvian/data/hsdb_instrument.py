"""hSDB-instrument's frames (Yoon et al., MICCAI 2021): boxes and polygons of instruments and their parts, class tree, and what is one tool.

COCO's layout, categories in the order of `CHOLECYSTECTOMY` or `GASTRECTOMY`; synthetic frames also have polygons. Classes are told by their
names, never by their number: the lists differ between the surgeries. No field says which parts are one instrument: `tie_parts` finds out.
Names of folders are from memory [mem]. Splits are by case, never by frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.codecs.instruments import PARTS
from vitruvian.data.cocolike import about, grouped
from vitruvian.data.layout import find
from vitruvian.data.parts import FAR, box_of
from vitruvian.errors import FormatError
from vitruvian.formats.coco_document import CocoDocument

# fmt: off
CHOLECYSTECTOMY = (
    "AtraumaticGrasper_Head", "AtraumaticGrasper_Body", "Electrichook", "CurvedAtraumaticGrasper_Head", "CurvedAtraumaticGrasper_Body",
    "Suction-Irrigation", "ClipApplier(Metal)_Head", "ClipApplier(Metal)_Body", "Scissors_Head", "Scissors_Body", "Overholt_Head",
    "Overholt_Body", "Ligasure_Head", "Ligasure_Body", "ClipApplier(Hem-O-Lok)_Head", "ClipApplier(Hem-O-Lok)_Body", "Specimanbag",
)
GASTRECTOMY = (
    "HarmonicAce_Head", "HarmonicAce_Body", "MarylandBipolarForceps_Head", "MarylandBipolarForceps_Wrist", "MarylandBipolarForceps_Body",
    "CadiereForceps_Head", "CadiereForceps_Wrist", "CadiereForceps_Body", "CurvedAtraumaticGrasper_Head", "CurvedAtraumaticGrasper_Body",
    "Stapler_Head", "Stapler_Body", "Medium-LargeClipApplier_Head", "Medium-LargeClipApplier_Wrist", "Medium-LargeClipApplier_Body",
    "SmallClipApplier_Head", "SmallClipApplier_Wrist", "SmallClipApplier_Body", "Suction-Irrigation", "Needle", "Needle-holder_Head",
    "Needle-holder_Body", "Baxter", "Specimanbag", "Tube", "CovidienUltrasonic_Head", "CovidienUltrasonic_Body", "Scissors_Head",
    "Scissors_Body", "AtraumaticGrasper_Head", "AtraumaticGrasper_Body", "Overholt_Head", "Overholt_Body",
)
# fmt: on
CLASSES = {"cholecystectomy": CHOLECYSTECTOMY, "gastrectomy": GASTRECTOMY}
LAYOUT = "annotations/SURGERY_SPLIT.json (COCO detection), images/*"
_AMBIGUOUS = 1.1
"""A frame whose second-best tie costs less than this times the best does not say which parts belong together."""
_ALONE = 1.0
"""Cost of a part that is left without its instrument's others."""


@dataclass(frozen=True, eq=False)
class Tied:
    """n instruments of one frame: names, boxes around all their parts, the parts' boxes (n, 3, 4) in the order of PARTS, NaN where missing.

    ambiguous: (n,) which parts belong together is a guess. Single tools have no parts. polygons: for each instrument, of its parts.
    """

    names: tuple[str, ...]
    wholes: Float[np.ndarray, "n 4"]
    parts: Float[np.ndarray, "n 3 4"]
    ambiguous: Bool[np.ndarray, " n"]
    polygons: tuple[tuple[Float[np.ndarray, "k 2"], ...], ...] = ()


@dataclass(frozen=True, eq=False)
class InstrumentFrame:
    """A frame: names and boxes (n, 4) as annotated, a polygon (k, 2) or None for each, and the instruments they make."""

    file: Path
    id: str
    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: Float[np.ndarray, "n 4"]
    polygons: tuple[Float[np.ndarray, "k 2"] | None, ...]

    @property
    def tied(self) -> Tied:
        """The instruments, see `tie_parts`."""
        return tie_parts(self.names, self.boxes, self.polygons)


def instrument_of(name: str) -> str:
    """ "Scissors" of "Scissors_Head"; a class without part is its own instrument."""
    stem, _, part = name.rpartition("_")
    return stem if part.lower() in PARTS and stem else name


def part_of(name: str) -> str:
    """ "head" of "Scissors_Head", "" for a class without part."""
    stem, _, part = name.rpartition("_")
    return part.lower() if part.lower() in PARTS and stem else ""


def instruments_of(classes: Sequence[str]) -> tuple[str, ...]:
    """The instruments of a list of classes, each once, in its order."""
    return tuple(dict.fromkeys(instrument_of(name) for name in classes))


def hsdb_instrument(
    folder: str | Path,
    surgery: Literal["cholecystectomy", "gastrectomy"] = "cholecystectomy",
    split: Literal["train", "val", "test"] = "test",
    merged: bool = False,
) -> list[InstrumentFrame]:
    """The frames of a split. merged: a part's class becomes its instrument's, as users who detect whole tools ask for.

    Raises FormatError where the annotations are missing, damaged, or have classes that are none of the surgery's.
    """
    name = f"{surgery}_{split}.json"
    path = find(folder, "hSDB-instrument", LAYOUT, f"annotations/{name}", name, f"{surgery}/{split}.json")
    return list(_read(path, Path(folder) / "images", CLASSES[surgery], merged))


def _read(path: Path, images: Path, classes: Sequence[str], merged: bool) -> Iterator[InstrumentFrame]:
    known: dict[float, str] = {}
    for document, image, rows in grouped(path):
        known = known or _categories(document, classes)
        names, boxes, polygons = [], [], []
        for row in rows:
            box, number = box_of(row.get("bbox"), path), document.number(row, "category_id")
            if number not in known:
                raise FormatError(f"{path}: a box of the class {number:g}, which is not listed; the file is damaged")
            if box is not None:
                names.append(instrument_of(known[number]) if merged else known[number])
                boxes.append(box)
                polygons.append(_polygon(row.get("segmentation"), path))
        yield InstrumentFrame(*about(document, image, images), tuple(names), np.array(boxes).reshape(-1, 4), tuple(polygons))


def _categories(document: CocoDocument, classes: Sequence[str]) -> dict[float, str]:
    """The class of each category. Tables write "Suction Irrigation" and "Needle holder" for what the files hyphenate."""
    plain = {name.replace("-", " ").casefold(): name for name in classes}
    out = {}
    for row in document.rows("categories"):
        name = document.text(row, "name")
        if name.replace("-", " ").casefold() not in plain:
            raise FormatError(f"{document.path} has a class {name[:40]!r}, which is none of this surgery's: choose the other one")
        out[document.number(row, "id")] = plain[name.replace("-", " ").casefold()]
    return out


def _polygon(value: object, path: Path) -> Float[np.ndarray, "k 2"] | None:
    """The largest outline of an annotation, None where it has none (run-length masks are passed over)."""
    if not isinstance(value, list) or not value:
        return None
    fine = all(
        isinstance(ring, list) and len(ring) % 2 == 0 and all(isinstance(x, int | float) and abs(x) < FAR for x in ring) for ring in value
    )
    if not fine:
        raise FormatError(f"{path}: a polygon is no list of x and y; the file is damaged")
    ring = max(value, key=len)
    return np.array(ring, np.float64).reshape(-1, 2) if len(ring) >= 6 else None


def tie_parts(names: Sequence[str], boxes: Float[np.ndarray, "n 4"], polygons: Sequence[Float[np.ndarray, "k 2"] | None] = ()) -> Tied:
    """Which annotated parts are one instrument (card section 4): by name, and where one name is there several times, the chain of head,
    wrist and body whose boxes lie nearest together in all."""
    groups: list[tuple[str, dict[str, int], bool]] = []
    for name in dict.fromkeys(instrument_of(one) for one in names):
        rows = {part: [i for i, one in enumerate(names) if instrument_of(one) == name and part_of(one) == part] for part in (*PARTS, "")}
        groups += [(name, {"": row}, False) for row in rows[""]]
        groups += [(name, parts, guess) for parts, guess in _chains(rows, boxes)]
    parts = np.full((len(groups), len(PARTS), 4), np.nan)
    wholes, outlines = np.zeros((len(groups), 4)), []
    for i, (_, members, _) in enumerate(groups):
        mine = np.asarray(boxes, np.float64)[list(members.values())]
        wholes[i] = [*mine[:, :2].min(0), *mine[:, 2:].max(0)]
        for part, row in members.items():
            if part:
                parts[i, PARTS.index(part)] = boxes[row]
        outlines.append(tuple(polygons[row] for row in members.values() if polygons and polygons[row] is not None))
    guesses = np.array([guess for _, _, guess in groups], bool)
    return Tied(tuple(name for name, _, _ in groups), wholes, parts, guesses, tuple(outlines))


def _chains(rows: dict[str, list[int]], boxes: Float[np.ndarray, "n 4"]) -> list[tuple[dict[str, int], bool]]:
    """Parts of one name as instruments; whether that is a guess."""
    present = [part for part in PARTS if rows[part]]
    if not present:
        return []
    chains = [{present[0]: row} for row in rows[present[0]]]
    guess = False
    for part in present[1:]:
        ends = [list(chain.values())[-1] for chain in chains]
        pairs, unsure = _matched(np.array([[_apart(boxes[end], boxes[row]) for row in rows[part]] for end in ends]))
        guess |= unsure
        for chain, column in pairs:
            chains[chain][part] = rows[part][column]
        taken = {column for _, column in pairs}
        chains += [{part: row} for column, row in enumerate(rows[part]) if column not in taken]
    return [(chain, guess) for chain in chains]


def _matched(cost: Float[np.ndarray, "n m"]) -> tuple[list[tuple[int, int]], bool]:
    """The pairs of least total cost, each left alone where that is cheaper; and whether another tie is nearly as good."""
    from scipy.optimize import linear_sum_assignment

    def best(values: np.ndarray) -> tuple[float, list[tuple[int, int]]]:
        rows, columns = linear_sum_assignment(np.minimum(values, _ALONE))
        pairs = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if values[r, c] < _ALONE]
        return float(np.minimum(values, _ALONE)[rows, columns].sum()), pairs

    least, pairs = best(cost)
    others = []
    if min(cost.shape) == max(cost.shape) == 1:  # one of each: nothing to mix up
        return [(0, 0)], False
    for row, column in pairs:
        without = cost.copy()
        without[row, column] = 10 * _ALONE
        others.append(best(without)[0])
    return pairs, bool(others) and min(others) < _AMBIGUOUS * least


def _apart(a: Float[np.ndarray, " 4"], b: Float[np.ndarray, " 4"]) -> float:
    """Gap between two boxes, and half the distance of their middles, both in mean diagonals."""
    diagonal = max(float(np.mean([np.linalg.norm(box[2:] - box[:2]) for box in (a, b)])), 1e-9)
    gap = np.linalg.norm(np.maximum(np.maximum(a[:2] - b[2:], b[:2] - a[2:]), 0)) / diagonal
    return float(gap + 0.5 * np.linalg.norm((a[:2] + a[2:] - b[:2] - b[2:]) / 2) / diagonal)
