"""Takes as the single-person 3D formats want them: one person at a time, metres, y up."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import FormatError
from vitruvian.take import Take

log = logging.getLogger(__name__)
_UNSAFE = re.compile(r"[^\w.-]+")  # in names of files


def camera_to_y_up(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """OpenCV's camera axes (x right, y down, z forward) turned by half a turn about x: x right, y up, z towards the camera."""
    return np.asarray(points) * np.array([1, -1, -1])


def z_up_to_y_up(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """z-up axes turned by -90 degrees about x: (x, z, -y)."""
    points = np.asarray(points)
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def y_up_to_z_up(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """The way back from `z_up_to_y_up`: (x, -z, y)."""
    points = np.asarray(points)
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def y_up_points(take: Take, metres_per_pixel: float | None = None) -> Float[np.ndarray, "n k 3"]:
    """Every row's keypoints in metres with y up, float64, NaN where missing.

    Points in the camera's frame are turned (`camera_to_y_up`); those of the world are y up already.
    A take without points becomes motion in the image plane if `metres_per_pixel` says how large a pixel is where the person moves:
    x to the right from the picture's left edge, y up from its lower edge (from its upper edge where the size is unknown), z = 0.
    Raises FormatError for a take without points and without a scale.
    """
    if take.people.points is not None:
        points = take.people.points.astype(np.float64)
        return camera_to_y_up(points) if take.space == "camera" else points
    if metres_per_pixel is None:
        raise FormatError(
            "this take has no 3D points: lift it to 3D, or give metres_per_pixel (--metres-per-pixel) for motion in the image plane"
        )
    if not (np.isfinite(metres_per_pixel) and metres_per_pixel > 0):
        raise FormatError(f"{metres_per_pixel} metres per pixel is no scale; give a positive number, such as 0.005")
    keypoints = take.keypoints.astype(np.float64)
    height = take.sizes[take.people.frame, 1][:, None]
    up = np.where(height > 0, height - 1, 0) - keypoints[..., 1]
    return np.stack([keypoints[..., 0], up, np.where(np.isfinite(up), 0.0, np.nan)], axis=-1) * metres_per_pixel


def person_rows(take: Take, person: int | None = None) -> dict[int, Int[np.ndarray, " m"]]:
    """The rows of each person, one per frame, in the order of time: {track id: rows}; a take without ids has the one person -1.

    person: only the one with this track id. Rows without an id beside tracked ones are left out, with a warning; so are all but the
    best-scored of several rows that claim one person in one frame.
    Raises FormatError for a person who is not there, and where nobody has an id though several people are in one frame, or the frames are
    pictures (`is_of_pictures`).
    """
    tracks = take.people.track
    ids = [int(track) for track in take.tracks]
    if person is not None:
        if person not in ids:
            known = ", ".join(map(str, ids[:20])) or "none"
            raise FormatError(f"no person {person} in this take; its track ids: {known}")
        ids = [person]
    elif ids and (tracks < 0).any():
        log.warning("%d rows without a track id belong to no person and are left out", int((tracks < 0).sum()))
    if not ids and len(tracks):
        frames = np.unique(take.people.frame)
        if len(frames) < len(tracks):
            raise FormatError("several people in a frame and no track ids: this format holds one person over time; track them first")
        if len(frames) > 1 and is_of_pictures(take):
            raise FormatError("several pictures and no track ids: they need not show one person over time; take one picture at a time")
        ids = [-1]
    chosen = {}
    for track in ids:
        rows = np.flatnonzero(tracks == track)
        order = np.lexsort((-np.nan_to_num(take.people.scores[rows]), take.people.frame[rows]))
        rows = rows[order]
        chosen[track] = rows[np.unique(take.people.frame[rows], return_index=True)[1]]
    return chosen


def is_of_pictures(take: Take) -> bool:
    """Whether the frames are pictures, each a file of its own, in which nobody has an id: nothing says that they show the same people."""
    return len(set(take.names)) > 1 and not len(take.tracks)


def by_picture(take: Take, path: str | Path) -> Iterator[tuple[Take, Path]]:
    """Each row of a take of pictures as a take of its own, and the file for it: NAME_PICTURE.trc, NAME_PICTURE_2.trc and so on."""
    path, used = Path(path), set()
    for row, frame in enumerate(take.people.frame.tolist()):
        picture = _UNSAFE.sub("_", Path(take.name_of(frame)).stem) or str(frame)
        number, name = 1, f"{path.stem}_{picture}"
        while name in used:
            number += 1
            name = f"{path.stem}_{picture}_{number}"
        used.add(name)
        yield take.subset(slice(row, row + 1)), path.with_name(f"{name}{path.suffix}")


def person_path(path: str | Path, track: int, several: bool) -> Path:
    """`walk.trc` for a single person; walk_person1.trc for the one with track id 1 where there are several."""
    path = Path(path)
    return path.with_name(f"{path.stem}_person{track}{path.suffix}") if several else path


def over_time(values: Float[np.ndarray, "m k 3"], frames: Int[np.ndarray, " m"]) -> tuple[Float[np.ndarray, "f k 3"], slice]:
    """One person's points in every frame from the first to the last that has any, NaN where absent; and those frames as a slice."""
    seen = frames[np.isfinite(values).all(axis=-1).any(axis=-1)]
    if not len(seen):
        return np.zeros((0, *values.shape[1:])), slice(0, 0)
    span = slice(int(seen.min()), int(seen.max()) + 1)
    points = np.full((span.stop - span.start, *values.shape[1:]), np.nan)
    inside = (frames >= span.start) & (frames < span.stop)
    points[frames[inside] - span.start] = values[inside]
    points[~np.isfinite(points).all(axis=-1)] = np.nan
    return points, span
