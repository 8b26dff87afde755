"""What a photograph's EXIF says about its lens (Exif 2.32, CIPA DC-008; JPEG files)."""

from __future__ import annotations

import math
import struct
from pathlib import Path

_EXIF_POINTER, _FOCAL_35MM = 0x8769, 0xA405
_FILM = (36.0, 24.0)  # millimetres of the film that focal lengths are told for
_MAX_ENTRIES = 512


def field_of_view(path: str | Path, size: tuple[int, int]) -> float | None:
    """Degrees that a photograph sees across its longer side, by its "focal length in 35 mm film"; None where it doesn't say.

    size: (width, height) of the picture. The focal length is that of a film with the same diagonal view, as cameras with sensors of
    other proportions mean it. Nothing is raised: files that can't be read, or lie, know nothing.
    """
    try:
        with Path(path).open("rb") as file:
            focal = _focal_length(_exif(file.read(1 << 18)))
    except (OSError, struct.error, IndexError):
        return None
    if not focal or not 4 <= focal <= 3000 or min(size) <= 0:
        return None
    longer = max(size) / math.hypot(*size) * math.hypot(*_FILM)
    return math.degrees(2 * math.atan(longer / 2 / focal))


def _exif(data: bytes) -> bytes:
    """The TIFF block of a JPEG's EXIF segment, which comes before the picture; empty where there is none."""
    if not data.startswith(b"\xff\xd8"):
        return b""
    place = 2
    while data[place] == 0xFF and data[place + 1] not in (0xD9, 0xDA):
        (length,) = struct.unpack_from(">H", data, place + 2)
        if data[place + 1] == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
            return data[place + 10 : place + 2 + length]
        place += 2 + max(length, 2)
    return b""


def _focal_length(tiff: bytes) -> int | None:
    """Millimetres, of a camera on 35 mm film."""
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "<" if tiff[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", tiff, 4)
    pointer = _entry(tiff, order, first, _EXIF_POINTER, "I")
    return None if pointer is None else _entry(tiff, order, pointer, _FOCAL_35MM, "H")


def _entry(tiff: bytes, order: str, place: int, wanted: int, code: str) -> int | None:
    """The value of a tag in the directory at `place`."""
    (count,) = struct.unpack_from(order + "H", tiff, place)
    for entry in range(min(count, _MAX_ENTRIES)):
        start = place + 2 + 12 * entry
        if struct.unpack_from(order + "H", tiff, start)[0] == wanted:
            return struct.unpack_from(order + code, tiff, start + 8)[0]
    return None
