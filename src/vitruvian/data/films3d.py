"""People in space, filmed by calibrated cameras: what the readers of 3D data sets give, film by film.

for film in human36m(folder, "test"):
    film.points             # (f, p, k, 3) metres in the world of film.cameras
    film.seen(0)            # (f, p, k, 2) pixels, as the first camera projects them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian._npy import NpzFile
from vitruvian._unpickle import NUMPY, PLAIN, Limits, unpickle
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import Camera, project
from vitruvian.skeletons import Skeleton

MAX_FRAMES, MAX_PEOPLE = 1 << 20, 1000
_FAR = 1e4  # metres: a larger number is damage
_PICKLE = Limits(size=4 << 30, memory=8 << 30, steps=50_000_000)


@dataclass(frozen=True, eq=False)
class Film3D:
    """f frames of p people with k joints each.

    name: unique in the set. cameras: in the set's own world, or one in its own frame (then the points are in that). points: metres, NaN
    where not known or nobody is. frames: their numbers in the set. counts: (f,) which frames the official evaluation counts.
    keypoints: what the set has in 2D besides (detections, projections), by camera, NaN where missing; empty where it has none.
    Raises VitruvianError where these don't fit.
    """

    name: str
    cameras: tuple[Camera, ...]
    points: Float[np.ndarray, "f p k 3"]
    frames: Int[np.ndarray, " f"]
    action: str = ""
    rate: float | None = None
    counts: Bool[np.ndarray, " f"] | None = None
    keypoints: tuple[Float[np.ndarray, "f p k 2"], ...] = field(default=())
    pictures: Mapping[str, Path] = field(default_factory=dict)
    """Folder of the pictures, or the film, of each camera, by its name, where the reader knows it; it may not be there."""

    def __post_init__(self) -> None:
        shape = np.shape(self.points)
        fits = len(shape) == 4 and shape[3] == 3 and len(self.frames) == shape[0]
        fits &= self.counts is None or np.shape(self.counts) == (shape[0],)
        fits &= len(self.keypoints) in (0, len(self.cameras)) and all(np.shape(each) == (*shape[:3], 2) for each in self.keypoints)
        if not fits:
            raise VitruvianError(f"{self.name[:60]}: points {shape}, {len(self.frames)} frames and 2D points don't fit; get the set again")

    def seen(self, camera: int) -> Float[np.ndarray, "f p k 2"]:
        """Pixels where a camera sees the points, with distortion; NaN where it can't, or there is none."""
        return project(self.cameras[camera], self.points)


@dataclass(frozen=True, eq=False)
class Set3D:
    """A data set, or a split of one. terms: under which it may be used. read: its films, read when asked for; iterate over the set."""

    name: str
    skeleton: Skeleton
    terms: str
    read: Callable[[], Iterator[Film3D]]

    def __iter__(self) -> Iterator[Film3D]:
        return self.read()


def checked_points(values: object, shape: tuple[int | None, ...], where: str, metres: float = 1.0) -> np.ndarray:
    """Numbers of a shape (None: any length) in metres, float64; infinite ones are damage, NaN is unknown. Raises FormatError."""
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{where} holds no numbers; get the set again") from error
    fits = points.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, points.shape, strict=True))
    if not fits:
        raise FormatError(f"{where} has the shape {points.shape}, expected {shape}; it is another file, or damaged")
    points = points * metres
    if points.shape[0] > MAX_FRAMES or np.isinf(points).any() or np.nanmax(np.abs(points), initial=0.0) > _FAR:
        raise FormatError(f"{where} holds infinite or absurdly large numbers, or too many; get the set again")
    return points


def numbers(values: object, shape: tuple[int | None, ...], where: str) -> np.ndarray:
    """`checked_points` for pixels and flags, which may be larger than a world."""
    return checked_points(np.asarray(values) if not isinstance(values, str) else values, shape, where, 1e-3) * 1e3


class ObjectArrays:
    """Pickled dictionaries within an .npz, read without running anything in them."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, NpzFile(path, objects=_plain)

    def __getitem__(self, name: str) -> dict:
        if name not in self._file:
            raise FormatError(f"{self.path} has no {name!r}; it is another file than expected")
        value = self._file[name]
        value = value.item() if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 else value
        if not isinstance(value, dict):
            raise FormatError(f"{self.path} has no table in {name!r}; it is another file than expected")
        return value


def read_object(path: Path) -> dict:
    """The dictionary that a .npy file holds (numpy.save of one), read without running anything in it. Raises FormatError."""
    from vitruvian._npy import read_npy

    value = read_npy(path, objects=_plain)
    value = value.item() if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 else value
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds no table; it is another file than expected")
    return value


def _plain(pickled: bytes) -> object:
    return unpickle(pickled, {**PLAIN, **NUMPY}, limits=_PICKLE)


@contextmanager
def damaged(where: object) -> Iterator[None]:
    """One FormatError for what a damaged or foreign table makes a reader run into."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{where} is damaged, or of another layout ({type(error).__name__}: {str(error)[:80]}); get it again") from error
