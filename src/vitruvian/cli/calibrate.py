"""`vitruvian calibrate`: where cameras stand, from somebody whom they all film."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitruvian.cli.console import console, print_rows, progress_bar
from vitruvian.cli.options import offsets_in
from vitruvian.errors import VitruvianError


def calibrate(
    films: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    height: float | None = None,
    fov: float | None = None,
    offsets: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
) -> int:
    """Calibrate several cameras from a person who walks about in view of them: no board, no markers.

    Parameters
    ----------
    films
        A film of each camera, or its take.npz (of vitruvian capture --no-mesh --smooth none). Cameras are called like the films.
    out
        The calibration to write (.toml), for vitruvian capture --calibration.
    height
        Of the person, metres: all lengths rest on it; 1.7 by default.
    fov
        Degrees that the cameras see across the pictures' longer side; by default what the films agree on best, from 60 on.
    offsets
        Where the films did not begin together: auto, or the seconds to add to each film's times, with commas between.
    """
    from vitruvian.capture.calibrate import ASSUMED_HEIGHT
    from vitruvian.capture.calibrate import calibrate as found_by
    from vitruvian.capture.views import clocks
    from vitruvian.formats.calibration import write_calibration

    if out.suffix.lower() != ".toml":
        raise VitruvianError(f"{out} is no name for a calibration: end it with .toml")
    takes = [_take_of(film) for film in films]
    asked = offsets_in(offsets) if offsets else None
    shifts = clocks(takes) if asked == "auto" else asked
    names = [film.parent.name if film.name == "take.npz" else film.stem for film in films]
    found = found_by(takes, height=ASSUMED_HEIGHT if height is None else height, fov=fov, offsets=shifts, names=names)
    write_calibration(found.cameras, out)
    for camera, error, seen, degrees in zip(found.cameras, found.error, found.seen, found.fov, strict=True):
        x, y, z = camera.centre_world
        where = f"at {x:.2f}, {y:.2f}, {z:.2f} m, sees {degrees:.0f} degrees"
        print_rows({camera.name: f"{where}; {error:.1f} pixels off in the median, {seen} keypoints"})
    if height is None:
        console.print(f"lengths rest on a person of {ASSUMED_HEIGHT} m, which nobody said (--height)")
    console.print(f"  {out}")
    return 0


def _take_of(film: Path):
    """The take that a file is, or that is made of a film."""
    from vitruvian.capture import capture
    from vitruvian.take import Take

    if film.suffix.lower() == ".npz":
        return Take.load(film)
    with progress_bar(film.name) as update:
        told = lambda now: update(completed=now.done, total=now.total, note="")  # noqa: E731
        return capture(film, None, mesh=False, overlay=False, smooth="none", on_progress=told)
