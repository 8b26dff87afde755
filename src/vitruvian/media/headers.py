"""The size of a picture from its header alone, so that a hostile or huge file is refused before anything is decoded.

Layouts: PNG (ISO 15948, IHDR), JPEG (ITU T.81, SOF), BMP (BITMAPCOREHEADER, BITMAPINFOHEADER), WebP (RFC 9649), TIFF 6.0 and BigTIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MAX_SEGMENTS = 5000


@dataclass(frozen=True)
class Header:
    """What the header says: pixels as stored (before EXIF rotation), whether there is an alpha channel (PNG and WebP only), and the
    bytes that a complete file has somewhere after the header's position `start` (empty where the format has none)."""

    width: int
    height: int
    alpha: bool = False
    end: bytes = b""
    start: int = 0


def read_header(file: BinaryIO) -> Header | None:
    """The header of a picture file that is open at 0, by content. None: not one of the five formats, or damaged before its size."""
    head = file.read(32)
    readers: tuple[tuple[bool, Callable[[BinaryIO, bytes], Header | None]], ...] = (
        (head.startswith(b"\x89PNG\r\n\x1a\n"), _png),
        (head.startswith(b"\xff\xd8"), _jpeg),
        (head.startswith(b"BM"), _bmp),
        (head.startswith(b"RIFF") and head[8:12] == b"WEBP", _webp),
        (head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    )
    for matches, reader in readers:
        if matches:
            try:
                return reader(file, head)
            except (struct.error, IndexError):  # ends within its header
                return None
    return None


def _png(file: BinaryIO, head: bytes) -> Header | None:
    if head[12:16] != b"IHDR":
        return None
    width, height, _, color = struct.unpack_from(">IIBB", head, 16)
    alpha = color in (4, 6)
    file.seek(33)
    for _ in range(64):  # a transparent colour (tRNS) stands before the pixels
        length, name = struct.unpack(">I4s", file.read(8))
        if name == b"IDAT":
            break
        alpha = alpha or name == b"tRNS"
        file.seek(length + 4, 1)
    return Header(width, height, alpha, end=b"IEND", start=33)


def _jpeg(file: BinaryIO, head: bytes) -> Header | None:
    file.seek(2)
    for _ in range(_MAX_SEGMENTS):
        byte = file.read(1)[0]
        if byte != 0xFF:
            return None
        while (marker := file.read(1)[0]) == 0xFF:
            pass
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
            # The EXIF thumbnail, which has an end marker of its own, stands before this position.
            return Header(width, height, end=b"\xff\xd9", start=file.tell())
        if length < 2 or marker in (0xD9, 0xDA):
            return None
        file.seek(length - 2, 1)
    return None


def _bmp(file: BinaryIO, head: bytes) -> Header | None:
    (size,) = struct.unpack_from("<I", head, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", head, 18)
    return Header(abs(width), abs(height))  # a negative height means rows from the top


def _webp(file: BinaryIO, head: bytes) -> Header | None:
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        return Header(width, height, alpha=bool(head[20] & 0x10))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return Header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), alpha=bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return Header(width & 0x3FFF, height & 0x3FFF)
    return None


def _tiff(file: BinaryIO, head: bytes) -> Header | None:
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in head[2:4]
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    if offset > 1 << 62:  # seek takes no more
        return None
    file.seek(offset)
    count_code, entry_code, entry_size = ("Q", "HHQ", 20) if big else ("H", "HHI", 12)
    (count,) = struct.unpack(order + count_code, file.read(struct.calcsize(count_code)))
    size = {}
    for _ in range(min(count, _MAX_SEGMENTS)):
        entry = file.read(entry_size)
        tag, kind, _ = struct.unpack_from(order + entry_code, entry)
        if tag in (256, 257) and kind in _TIFF_TYPES:
            (size[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], entry, entry_size - (8 if big else 4))
    return Header(size[256], size[257]) if len(size) == 2 else None
