"""From a file that came from elsewhere - an ONNX file, or a zip archive with one inside - to an ONNX file, without trusting it.

An archive is refused as a whole when a name leads out of it, a link lies in it, or the member we want is there twice, encrypted, or larger
than a network may be. Only that one member is ever unpacked, under a name of ours, and no further than the size in its header.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vitruvian.errors import WeightsError
from vitruvian.weights.graph import MAX_FILE_BYTES

MAX_MEMBERS = 1000
MAX_RATIO = 100
"""Trained weights hardly shrink; a member that shrank more than this is a bomb, unless it is small."""
_SMALL = 1 << 24
MAX_FIELDS = 10_000
"""Outermost fields of an ONNX file; real ones have about ten."""
_GRAPH_FIELD = 7


def unwrap(source: Path, member: str, target: Path) -> None:
    """Write the ONNX file that `source` is, or that its `member` is (see Card), to `target`.

    Raises WeightsError when the archive is damaged or hostile, or what is inside is no whole ONNX file.
    """
    try:
        with source.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        if is_archive:
            _unpack(source, member, target)
        else:
            shutil.copyfile(source, target)
        problem = onnx_problem(target)
    except OSError as error:
        raise WeightsError(f"can't read {source} or write {target.parent} ({error.strerror or error}): check both") from error
    if problem:
        raise WeightsError(f"{source.name} is no network: {problem}")


def _unpack(source: Path, member: str, target: Path) -> None:
    """One member of an archive."""
    try:
        with zipfile.ZipFile(source) as archive:
            entry = _choose(archive.infolist(), member, source.name)
            with archive.open(entry) as packed, target.open("wb") as out:
                left = entry.file_size
                while chunk := packed.read(min(1 << 20, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        raise WeightsError(f"{source.name}: {entry.filename} is larger than its header says")
                    out.write(chunk)
            if left:
                raise WeightsError(f"{source.name}: {entry.filename} is shorter than its header says")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{source.name} is a damaged zip archive ({error})") from error


def _choose(entries: Sequence[zipfile.ZipInfo], member: str, archive: str) -> zipfile.ZipInfo:
    """The entry that `member` names, or the only ONNX file; WeightsError when the archive is not to be trusted."""
    if len(entries) > MAX_MEMBERS:
        raise WeightsError(f"{archive} holds {len(entries)} files: no archive of a network")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename or "\0" in entry.orig_filename:
            raise WeightsError(f"{archive} holds the name {entry.filename[:100]!r}, which leads out of the archive: don't trust it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise WeightsError(f"{archive} holds the link {entry.filename[:100]!r}: don't trust it")
    if "/" in member:
        found = [entry for entry in entries if entry.filename == member]
    elif member:
        found = [entry for entry in entries if PurePosixPath(entry.filename).name == member]
    else:
        found = [entry for entry in entries if entry.filename.lower().endswith(".onnx")]
    if len(found) != 1:
        raise WeightsError(f"{archive} holds {len(found)} files {member or '*.onnx'}, not one")
    entry = found[0]
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise WeightsError(f"{archive}: {entry.filename} is encrypted or packed in an unusual way: unpack it by hand")
    if entry.file_size > MAX_FILE_BYTES or entry.file_size > max(_SMALL, MAX_RATIO * entry.compress_size):
        raise WeightsError(f"{archive}: {entry.filename} would unpack {entry.compress_size} bytes to {entry.file_size}: don't trust it")
    return entry


def onnx_problem(path: Path) -> str:
    """Why the file can't be a whole ONNX file, "" if it can.

    Walks the outermost fields of the protocol buffer, which must include the graph and end with the file: enough to tell web pages, other
    formats and cut files, without ONNX Runtime and without reading the weights.
    """
    size, graph = path.stat().st_size, False
    if not 0 < size <= MAX_FILE_BYTES:
        return f"it has {size} bytes"
    with path.open("rb") as file:
        if file.read(1) in b"<\n\r ":
            return "it looks like a web page or text"
        file.seek(0)
        for _ in range(MAX_FIELDS):
            if file.tell() == size:
                return "" if graph else "it is no ONNX file"
            key = _varint(file)
            number, kind = (key or 0) >> 3, (key or 0) & 7
            length = {0: 0, 1: 8, 2: None, 5: 4}.get(kind, -1)
            if key is None or not 1 <= number <= 100 or length == -1:
                return "it is no ONNX file"
            value = _varint(file) if kind in (0, 2) else 0
            length = value if length is None else length
            if length is None or length > size - file.tell():
                return "it is cut off, or no ONNX file"
            graph |= number == _GRAPH_FIELD and kind == 2
            file.seek(length, 1)
    return "it is no ONNX file"


def _varint(file: BinaryIO) -> int | None:
    """A variable-length number, None at the end of the file or after ten bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
