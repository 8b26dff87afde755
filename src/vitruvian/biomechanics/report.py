"""From a take to angles and gait, left and right repaired first; and one page about both.

angles = angles_of(take)          # of the person seen longest; in space where the take has points, else in the picture
angles.csv("walk.csv"); angles.html("walk.html"); angles.png("walk.png")
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.biomechanics.angles import joint_angles
from vitruvian.biomechanics.gait import Gait, gait_parameters
from vitruvian.biomechanics.planar import planar_angles
from vitruvian.biomechanics.plots import Table, page, panels_of_angles, write_page
from vitruvian.biomechanics.table import Angles
from vitruvian.errors import VitruvianError
from vitruvian.formats.persons import person_rows, y_up_points
from vitruvian.people.swap import repair_swaps
from vitruvian.take import Take

Kind = Literal["auto", "space", "picture"]
LEAST = 0.3
"""Confidence from which keypoints in the picture count."""


def persons_of(take: Take) -> tuple[int, ...]:
    """The track ids that angles can be had of, the one seen longest first; (-1,) for a single person without an id, () for nobody."""
    rows = person_rows(take)
    return tuple(sorted(rows, key=lambda track: (-len(rows[track]), track)))


def angles_of(take: Take, person: int | None = None, kind: Kind = "auto", repair: bool = True, least: float = LEAST) -> Angles:
    """The joint angles of one person.

    person: track id; None takes the one seen longest. kind: "space" from points in metres, "picture" from keypoints; "auto" takes space
    where there are points. repair: exchange left and right where they were swapped (`people.swap`). least: keypoints of less
    confidence do not count (in the picture; points in space are NaN where unknown). A take without people gives an empty table.
    Raises VitruvianError for a person who is not there, for "space" without points, and for several people without ids.
    """
    take, notes = _repaired(_alone(take, person), repair)
    return _angles(take, person, _kind(take, kind), least, notes)


def gait_of(take: Take, person: int | None = None, kind: Kind = "auto", repair: bool = True, least: float = LEAST) -> Gait:
    """Gait events and parameters of one person; arguments and errors as for `angles_of`. Lengths only from points in space."""
    take, _ = _repaired(_alone(take, person), repair)
    values, times, _ = _series(take, person, _kind(take, kind), least)
    return gait_parameters(values, take.skeleton.names, times)


def write_report(take: Take, path: str | Path, person: int | None = None, kind: Kind = "auto", title: str = "") -> tuple[Angles, Gait]:
    """One HTML page with angles, gait parameters and what was repaired; and both. Raises FormatError if it can't be written."""
    take, notes = _repaired(_alone(take, person), True)
    angles, gait = _angles(take, person, _kind(take, kind), LEAST, notes), gait_of(take, person, kind, repair=False)
    marks = [*gait.events.heel_strike_left, *gait.events.heel_strike_right]
    tables = (gait_table(gait),) if len(marks) else ()
    notes = (*angles.notes, "dashed lines: heel strikes", *gait.notes) if marks else angles.notes
    write_page(page(title or f"Joint angles: {take.source or 'take'}", panels_of_angles(angles, marks), notes, tables), path)
    return angles, gait


def _angles(take: Take, person: int | None, kind: Kind, least: float, notes: tuple[str, ...]) -> Angles:
    values, times, person = _series(take, person, kind, least)
    found = (joint_angles if kind == "space" else planar_angles)(values, take.skeleton.names, times)
    if kind == "space" and take.space == "camera" and len(times):
        notes = (*notes, f"from one camera: upright is the camera's, and metres assume that it sees {take.fov:.0f} degrees")
    return replace(found, person=person, notes=(*notes, *found.notes, *_missing(found)))


def gait_table(gait: Gait) -> Table:
    """The parameters as rows of text."""
    rows = tuple(
        (name.replace("_", " "), gait.units[name], f"{mean:.3g}", "" if spread != spread else f"{spread:.2g}", str(count))
        for name, (mean, spread, count) in gait.values.items()
        if count
    )
    return Table("Gait", ("parameter", "unit", "mean", "standard deviation", "count"), rows)


def _kind(take: Take, kind: Kind) -> Kind:
    if kind == "space" and take.people.points is None:
        raise VitruvianError("this take has no points in space; lift it to 3D, or ask for angles in the picture")
    return kind if kind != "auto" else "space" if take.people.points is not None else "picture"


def _alone(take: Take, person: int | None) -> Take:
    """The take with the rows of this person, or of the one seen longest; it stays as it is where nobody is."""
    rows_of = person_rows(take, person)
    return take.subset(max(rows_of.values(), key=len)) if rows_of else take


def _repaired(take: Take, repair: bool) -> tuple[Take, tuple[str, ...]]:
    if not repair or not len(take.people):
        return take, ()
    take, report = repair_swaps(take)
    if not report.swaps:
        return take, ()
    frames = sum(swap.last - swap.first + 1 for swap in report.swaps)
    return take, (f"left and right exchanged {len(report.swaps)} times, over {frames} frames",)


def _series(take: Take, person: int | None, kind: Kind, least: float) -> tuple[np.ndarray, np.ndarray, int]:
    """(f, k, d) of one person from the first to the last frame, with their times; NaN where away; and who it is."""
    rows_of = person_rows(take, person)
    k, d = len(take.skeleton), 3 if kind == "space" else 2
    if not rows_of:
        return np.zeros((0, k, d)), np.zeros(0), -1
    track = max(rows_of, key=lambda one: (len(rows_of[one]), -one))
    rows = rows_of[track]
    if kind == "space":
        values = y_up_points(take)[rows]
    else:
        values = np.where((take.confidence[rows] >= least)[..., None], take.keypoints[rows], np.nan).astype(np.float64)
    frames = take.people.frame[rows]
    span = slice(int(frames.min()), int(frames.max()) + 1)
    out = np.full((span.stop - span.start, k, d), np.nan)
    out[frames - span.start] = values
    return out, take.times[span], track


def _missing(angles: Angles) -> tuple[str, ...]:
    """A note where a good part can't be told."""
    if not angles.values.size:
        return ("nobody to measure",) if not len(angles.times) else ("these keypoints make no joint",)
    share = float(np.isnan(angles.values).mean())
    return (f"{share:.0%} of all angles can't be told (points missing, or the pose does not show them)",) if share > 0.05 else ()
