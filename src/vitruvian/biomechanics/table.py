"""A table of angles over time, with CSV and MOT to write it to."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.errors import VitruvianError
from vitruvian.formats.mot import Mot


@dataclass(frozen=True, eq=False)
class Angles:
    """A angles of one person over F frames.

    names: (A,). times: (F,) seconds. values: (F, A) radians, NaN where they can't be told. kind: "space" (`angles`) or "picture"
    (`planar`). person: track id, -1 where nobody has one. notes: what was repaired or could not be told, in words.
    Raises VitruvianError where these don't fit each other.
    """

    names: tuple[str, ...]
    times: Float[np.ndarray, " f"]
    values: Float[np.ndarray, "f a"]
    kind: str = "space"
    person: int = -1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wanted = (len(self.times), len(self.names))
        if np.shape(self.values) != wanted:
            raise VitruvianError(f"these angles do not hold together: values {np.shape(self.values)} where {wanted} belong")

    def column(self, name: str) -> Float[np.ndarray, " f"]:
        """One angle in radians. Raises VitruvianError if there is none of this name."""
        if name not in self.names:
            raise VitruvianError(f"no angle {name!r} here; there are {', '.join(self.names[:12])} ...")
        return self.values[:, self.names.index(name)]

    @property
    def degrees(self) -> Float[np.ndarray, "f a"]:
        """The values in degrees."""
        return np.degrees(self.values)

    def csv(self, path: str | Path) -> None:
        """Write time [s] and every angle [deg], one row per frame, empty cells where missing. Raises FormatError if it can't be written."""
        with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time [s]", *(f"{name} [deg]" for name in self.names)])
            for time, row in zip(self.times.tolist(), self.degrees.tolist(), strict=True):
                writer.writerow([f"{time:.6f}", *("" if value != value else f"{value:.4f}" for value in row)])

    def mot(self) -> Mot:
        """The table for `formats.mot.write_mot`, degrees."""
        return Mot(self.names, self.times, self.degrees, True, "Joint angles")

    def html(self, path: str | Path, title: str = "Joint angles") -> None:
        """Write one page with a plot of every angle, that needs nothing but itself. Raises FormatError if it can't be written."""
        from vitruvian.biomechanics.plots import page, panels_of_angles, write_page

        write_page(page(title, panels_of_angles(self), self.notes), path)

    def png(self, path: str | Path) -> None:
        """Write a picture with a plot of every angle. Raises FormatError if it can't be written."""
        from vitruvian.biomechanics.plots import panels_of_angles, write_png

        write_png(panels_of_angles(self), path)
