"""MOT and STO: OpenSim's tables over time (joint angles, forces, any named column); the two differ only in their suffix.

Header lines up to `endheader`, then tab-separated labels, `time` first, then rows (motion-io card, section 7). Written is version 1,
which every version reads; read is also OpenSim 4's version 3, any key, with spaces for tabs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.text import MAX_BYTES, numbers, read_text


@dataclass(frozen=True, eq=False)
class Mot:
    """C columns over F rows. labels: without `time`. times: (F,) seconds. values: (F, C) as in the file, NaN for gaps.

    in_degrees: whether columns that are angles are in degrees; translations (pelvis_tx and alike) are metres either way, and forces
    newtons. name: the table's title. Raises VitruvianError where these don't fit each other.
    """

    labels: tuple[str, ...]
    times: Float[np.ndarray, " f"]
    values: Float[np.ndarray, "f c"]
    in_degrees: bool = True
    name: str = "Coordinates"

    def __post_init__(self) -> None:
        wanted = (len(self.times), len(self.labels))
        if np.shape(self.values) != wanted:
            raise VitruvianError(f"this table does not hold together: values {np.shape(self.values)} where {wanted} belong")

    def column(self, label: str) -> Float[np.ndarray, " f"]:
        """One column as it is in the file. Raises VitruvianError if there is none."""
        if label not in self.labels:
            raise VitruvianError(f"this table has no column {label!r}; it has {', '.join(self.labels[:12])} ...")
        return self.values[:, self.labels.index(label)]

    def angle(self, label: str) -> Float[np.ndarray, " f"]:
        """One column that is an angle, in radians. Raises VitruvianError if there is none."""
        return np.radians(self.column(label)) if self.in_degrees else self.column(label)


def read_mot(path: str | Path, max_bytes: int = MAX_BYTES) -> Mot:
    """Read a .mot or .sto file of any version.

    Raises FormatError if the file is missing, larger than `max_bytes`, not of this layout, or has not the rows that it promises.
    """
    path = Path(path)
    lines = read_text(path, max_bytes).splitlines()
    end = next((n for n, line in enumerate(lines) if line.strip().lower() == "endheader"), None)
    if end is None:
        raise FormatError(f"{path} has no line `endheader`; it is no MOT or STO file")
    pairs = [line.partition("=") for line in lines[:end]]
    header = {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}
    title = next((key.strip() for key, equals, _ in pairs if not equals and key.strip()), "")
    body = [line for line in lines[end + 1 :] if line.strip()]
    if not body:
        raise FormatError(f"{path} has no line of labels after endheader; the file is cut short")
    labels = [cell.strip() for cell in body[0].split("\t") if cell.strip()] if "\t" in body[0] else body[0].split()
    if labels[0].lower() != "time" or len(set(labels)) < len(labels):
        raise FormatError(f"{path} has no labels that begin with time, each once; the file is damaged")
    promised = header.get("nrows", "0")  # nColumns is not read: real files have been seen to lie there
    if promised.isdecimal() and len(promised) < 12 and int(promised) > len(body) - 1:
        raise FormatError(f"{path} promises {promised} rows and holds {len(body) - 1}; it is cut short")
    rows = [_row(row, len(labels), f"{path}, row {n}") for n, row in enumerate(body[1:], start=1)]
    values = np.array(rows).reshape(-1, len(labels))
    if np.isnan(values[:, 0]).any():
        raise FormatError(f"{path} has a row without a time; the file is damaged")
    in_degrees = header.get("indegrees", "yes").lower() in ("yes", "y", "true", "1")
    return Mot(tuple(labels[1:]), values[:, 0], values[:, 1:], in_degrees, title)


def write_mot(table: Mot, path: str | Path) -> None:
    """Write a table as version 1; gaps become `nan`.

    Raises FormatError if the path can't be written, a time is not finite, or labels have white space in them or are not all different.
    """
    path = Path(path)
    labels = ("time", *table.labels)
    if len(set(labels)) < len(labels) or any(len(label.split()) != 1 for label in labels):
        raise FormatError(f"{path}: MOT needs different labels without spaces; rename the columns")
    if not np.isfinite(table.times).all():
        raise FormatError(f"{path}: a time is not a finite number of seconds; correct the table")
    title = " ".join(table.name.replace("=", " ").split()) or "Coordinates"
    header = [title, "version=1", f"nRows={len(table.times)}", f"nColumns={len(labels)}"]
    header += [f"inDegrees={'yes' if table.in_degrees else 'no'}", "endheader", "\t".join(labels)]
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(header) + "\n")
        for time, row in zip(table.times.tolist(), table.values.tolist(), strict=True):
            file.write("\t".join([f"{time:.9g}", *("nan" if math.isnan(value) else f"{value:.9g}" for value in row)]) + "\n")


def _row(line: str, width: int, where: str) -> Float[np.ndarray, " c"]:
    """The cells of a row: between tabs, where an empty one is a gap, or between any white space."""
    cells = line.split()
    if len(cells) != width:
        cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != width:
        raise FormatError(f"{where} has {len(cells)} cells where the labels ask for {width}; the file is damaged")
    return numbers(cells, where)
