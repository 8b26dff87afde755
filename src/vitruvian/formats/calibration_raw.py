"""What a calibration file says about a camera, before it is believed; shared by the readers of the dialects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.text import FAR
from vitruvian.geometry.camera import Camera

MAX_BYTES = 64 << 20
"""A calibration is small; Panoptic's 521 cameras take half a megabyte."""
MAX_CAMERAS = 4096


@dataclass(frozen=True, eq=False)
class RawCamera:
    """One camera in the file's unit of length. rotation: a matrix or a rotation vector, world to camera; translation: x_cam = R x + t."""

    name: str
    intrinsics: object
    distortion: object = ()
    rotation: object = (0.0, 0.0, 0.0)
    translation: object = (0.0, 0.0, 0.0)
    size: object = (0, 0)
    fisheye: bool = False


@dataclass(frozen=True, eq=False)
class Rig:
    """The cameras of a file, and its custom about the unit: metres per unit, None where only the numbers can tell metres from mm."""

    cameras: tuple[RawCamera, ...]
    metres_per_unit: float | None = None


def numbers_of(value: object, where: str) -> np.ndarray:
    """Nested lists of finite numbers as float64. Raises FormatError for anything else; `where` begins its message."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FormatError(f"{where}: {str(value)[:40]!r} are no numbers; the file is damaged") from error
    if array.size > 64 or not (np.isfinite(array).all() and (np.abs(array) < FAR).all()):
        raise FormatError(f"{where}: a number is not finite or absurdly large, or there are too many; the file is damaged")
    return array


def field(values: Mapping[str, object], key: str, where: str) -> object:
    """An entry of a table. Raises FormatError where it is missing, or the table is none."""
    if not isinstance(values, Mapping) or key not in values:
        raise FormatError(f"{where} has no {key!r}; the file is damaged, or of another layout")
    return values[key]


def camera_of(raw: RawCamera, where: str, metres_per_unit: float) -> Camera:
    """The checked camera. Raises FormatError, which names the file (`where`) and the camera, where it is none."""
    where = f"{where}, camera {raw.name[:40]!r}"
    rotation = numbers_of(raw.rotation, f"{where}, rotation")
    if rotation.size == 3:
        from scipy.spatial.transform import Rotation

        rotation = Rotation.from_rotvec(rotation.reshape(3)).as_matrix()
    elif rotation.size == 9:
        u, _, vt = np.linalg.svd(rotation.reshape(3, 3))
        if np.abs(u @ vt - rotation.reshape(3, 3)).max() < 1e-2:  # files round; the nearest orthogonal matrix may still be a mirror
            rotation = u @ vt
    size = numbers_of(raw.size, f"{where}, size").ravel()
    if len(size) != 2 or not ((size >= 0) & (size < 1e6)).all():
        raise FormatError(f"{where}: the size {size.tolist()[:4]} is no width and height in pixels; the file is damaged")
    matrix = numbers_of(raw.intrinsics, f"{where}, matrix")
    try:
        return Camera(
            matrix,
            rotation,
            numbers_of(raw.translation, f"{where}, translation").ravel() * metres_per_unit,
            _cut(numbers_of(raw.distortion, f"{where}, distortion").ravel(), raw.fisheye, where),
            _width_first(size, matrix),
            raw.name,
            raw.fisheye,
        )
    except FormatError:
        raise
    except VitruvianError as error:
        raise FormatError(f"{where}: {error}") from error


def _width_first(size: Float[np.ndarray, " 2"], matrix: np.ndarray) -> tuple[int, int]:
    """(width, height); a file that says (height, width) is told by a principal point that lies in the middle only then."""
    if matrix.shape == (3, 3):
        off, crossed = (np.abs(matrix[:2, 2] - sides / 2).sum() for sides in (size, size[::-1]))
        size = size[::-1] if 3 * crossed < off else size
    return round(size[0]), round(size[1])


def _cut(distortion: Float[np.ndarray, " d"], fisheye: bool, where: str) -> Float[np.ndarray, " d"]:
    """OpenCV's 12 and 14 coefficients (thin prism, tilt) are read as far as these are 0."""
    known = 4 if fisheye else 8
    if len(distortion) > known:
        if distortion[known:].any():
            raise FormatError(
                f"{where}: its lens has thin-prism or tilt terms, which are not supported; calibrate it with 8 terms or fewer"
            )
        return distortion[:known]
    lengths = (4,) if fisheye else (0, 4, 5, 8)
    return np.concatenate([distortion, np.zeros(next(n for n in lengths if n >= len(distortion)) - len(distortion))])


def guessed_unit(rig: Rig, where: str) -> float:
    """Metres per unit by how far the cameras are from the origin and from each other: no studio is 100 m wide, none is 100 mm.

    Raises FormatError where a translation is none.
    """
    places = [numbers_of(raw.translation, f"{where}, camera {raw.name[:40]!r}").ravel() for raw in rig.cameras]
    if any(len(place) != 3 for place in places):
        raise FormatError(f"{where}: a translation is no three numbers; the file is damaged")
    farthest = max((math.hypot(*place) for place in places), default=0.0)
    return 1e-3 if farthest > 100 else 1.0
