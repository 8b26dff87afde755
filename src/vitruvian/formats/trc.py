"""TRC: the positions of named markers over time, what OpenSim and motion capture programs exchange.

Tab separated, header as OpenSim writes it (motion-io card, section 6), millimetres or metres, y up in OpenSim's models. A gap is written
as NaN in each of its cells, because OpenSim refuses a row that ends in empty cells. A `Trc` is in metres, whatever its file says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.persons import over_time, person_path, person_rows, y_up_points
from vitruvian.formats.text import MAX_BYTES, numbers, read_text
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133, SKELETONS, Skeleton
from vitruvian.take import People, Take

Units = Literal["mm", "m"]
_METRES = {"mm": 1e-3, "m": 1.0, "cm": 1e-2}
_DECIMALS = {"mm": 4, "m": 7}
_FPS = 30.0  # of a file with a single frame
MAX_RATE = 1e6


@dataclass(frozen=True, eq=False)
class Trc:
    """M markers over F frames. names: (M,). times: (F,) seconds. points: (F, M, 3) metres, NaN where a marker was not seen.

    rate: frames per second as the header says. Raises VitruvianError where these don't fit each other.
    """

    names: tuple[str, ...]
    times: Float[np.ndarray, " f"]
    points: Float[np.ndarray, "f m 3"]
    rate: float = _FPS

    def __post_init__(self) -> None:
        wanted = (len(self.times), len(self.names), 3)
        if np.shape(self.points) != wanted:
            raise VitruvianError(f"these markers do not hold together: points {np.shape(self.points)} where {wanted} belong")


def read_trc(path: str | Path, max_bytes: int = MAX_BYTES) -> Trc:
    """Read a TRC file; the numbers in its header are not needed, but for rate and units. Axes stay the file's own.

    Raises FormatError if the file is missing, larger than `max_bytes`, or not of this layout.
    """
    path = Path(path)
    lines = read_text(path, max_bytes).splitlines()
    if len(lines) < 5 or not lines[0].lstrip().lower().startswith("pathfiletype"):
        raise FormatError(f"{path} has no TRC header (PathFileType ...); it is no TRC file or cut short")
    header = dict(zip(lines[1].split(), lines[2].split(), strict=False))
    units = header.get("Units", "mm").lower()
    if units not in _METRES:
        raise FormatError(f"{path} is in {units[:20]!r}; TRC units are mm, m or cm")
    (rate,) = numbers([header.get("DataRate", "nan")], f"{path}, DataRate")
    cells = lines[3].split("\t")
    if [cell.strip().lower() for cell in cells[:2]] != ["frame#", "time"]:
        raise FormatError(f"{path} has no line of marker names (Frame#, Time, ...) as its fourth; the file is damaged")
    names = _names(cells[2:], path)
    rows = [line for line in lines[5:] if line.strip()]
    width = 2 + 3 * len(names)
    values = np.empty((len(rows), width)) if len(rows) * width <= 2 * sum(map(len, rows)) + width else None
    if values is None:
        raise FormatError(f"{path} has rows far shorter than its {len(names)} markers ask for; the file is damaged")
    for n, row in enumerate(rows):
        values[n] = _row(row, width, f"{path}, row {n + 1}")
    if np.isnan(values[:, 1]).any():
        raise FormatError(f"{path} has a frame without a time; the file is damaged")
    points = values[:, 2:].reshape(len(rows), len(names), 3) * _METRES[units]
    points[np.isnan(points).any(axis=-1)] = np.nan
    return Trc(names, values[:, 1], points, float(rate) if 0 < rate <= MAX_RATE else _FPS)


def write_trc(markers: Trc, path: str | Path, units: Units = "mm") -> None:
    """Write markers, y up by custom, in `units`; frames are numbered from 1, and times written as they are.

    Raises FormatError if the path can't be written, a time is not finite, or a name is empty, twice there, or has a tab in it.
    """
    path = Path(path)
    names = markers.names
    bad = [name for name in names if not name.strip() or any(mark in name for mark in "\t\r\n")]
    if bad or len(set(names)) < len(names) or not np.isfinite(markers.times).all():
        wrong = ", ".join(repr(name[:40]) for name in bad[:4]) or "them"
        raise FormatError(f"{path}: TRC needs different marker names without tabs, and finite times; rename {wrong}")
    frames, rate = len(markers.times), f"{markers.rate:.9g}"
    header = (
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{len(names)}\t{units}\t{rate}\t1\t{frames}",
        "Frame#\tTime\t" + "\t".join(f"{name}\t\t" for name in names),
        "\t\t" + "\t".join(f"X{n}\tY{n}\tZ{n}" for n in range(1, len(names) + 1)),
        "",
    )
    cells = (markers.points / _METRES[units]).reshape(frames, 3 * len(names))
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(header) + "\n")
        for n, (time, row) in enumerate(zip(markers.times.tolist(), cells.tolist(), strict=True), start=1):
            file.write("\t".join([str(n), f"{time:.6f}", *(_cell(value, _DECIMALS[units]) for value in row)]) + "\n")


def write_take_trc(
    take: Take, path: str | Path, metres_per_pixel: float | None = None, person: int | None = None, units: Units = "mm"
) -> list[Path]:
    """Write each person's keypoints as markers, y up, and return the paths: `path`, or NAME_person1.trc ... where there are several.

    A file spans the frames from the person's first to the last, at their true times, and has the keypoints that are seen in any of them.
    A take without people gives no file. `metres_per_pixel`, `person`: see `y_up_points` and `person_rows`.
    Raises FormatError as these do, and if a file can't be written.
    """
    points = y_up_points(take, metres_per_pixel)
    persons = person_rows(take, person)
    paths = []
    for track, rows in persons.items():
        over, span = over_time(points[rows], take.people.frame[rows])
        seen = np.isfinite(over).all(axis=-1).any(axis=0)
        times = take.times[span]
        names = tuple(name for name, here in zip(take.skeleton.names, seen, strict=True) if here)
        paths.append(person_path(path, track, len(persons) > 1))
        write_trc(Trc(names, times, over[:, seen], rate_of(times)), paths[-1], units)
    return paths


def take_from_markers(markers: Trc, skeleton: Skeleton | None = None, name: str = "") -> Take:
    """Markers that are named like the keypoints of a set, as a take of one person (track 1) with 3D points only, in the world, y up.

    skeleton: the set; None takes the smallest one that has all names. Pixels and boxes are missing (NaN, 0).
    Raises FormatError if no set has these names: such markers are data of their own, see `read_trc`.
    """
    sets = [COCO_WHOLEBODY_133, *sorted(SKELETONS.values(), key=len)] if skeleton is None else [skeleton]
    fitting = [candidate for candidate in sets if set(markers.names) <= set(candidate.names)]
    if not fitting or not markers.names:
        some = ", ".join(name[:40] for name in markers.names[:4]) or "(none)"
        raise FormatError(f"the markers {some} ... are no keypoint set; convert them to .trc, or rename them")
    found = min(fitting, key=len)
    frames, k = len(markers.times), len(found)
    points = np.full((frames, k, 3), np.nan)
    points[:, [found.index(marker) for marker in markers.names]] = markers.points
    nowhere = np.full((frames, k, 2), np.nan)
    people = People(
        frame=np.arange(frames),
        track=np.ones(frames),
        boxes=enclosing(nowhere, np.zeros((frames, k), bool)),
        scores=np.ones(frames),
        keypoints=nowhere,
        confidence=np.isfinite(points).all(axis=-1),
        points=points,
    )
    return Take(people, found, markers.times, np.zeros((frames, 2)), (name,) if name else (), space="world")


def rate_of(times: Float[np.ndarray, " f"]) -> float:
    """The mean rate in Hz of frames at `times`; 30 for a single frame, or where the times do not increase."""
    span = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    return float(np.clip((len(times) - 1) / span, 1e-6, MAX_RATE)) if span > 0 else _FPS


def _names(cells: Sequence[str], path: Path) -> tuple[str, ...]:
    """The marker names: every third cell, or the ones that are not empty where a program wrote other numbers of tabs."""
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    every_third = [cell.strip() for cell in cells[::3]]
    filled = [cell.strip() for cell in cells if cell.strip()]
    names = every_third if every_third == filled else filled
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"{path} has two markers {twice[:40]!r}; rename one")
    return tuple(names)


def _row(row: str, width: int, where: str) -> Float[np.ndarray, " c"]:
    """One frame's cells; trailing empty ones may be missing or too many."""
    cells = [cell.strip() for cell in row.split("\t")]
    while cells and not cells[-1]:
        cells.pop()
    if len(cells) > width:
        raise FormatError(f"{where} has {len(cells)} cells where the header asks for {width}; the file is damaged")
    return numbers(cells + [""] * (width - len(cells)), where)


def _cell(value: float, decimals: int) -> str:
    return "NaN" if value != value else f"{value:.{decimals}f}"
