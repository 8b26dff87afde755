"""Arrays of .npy and .npz files from strangers: no pickles, and no memory before the bytes are there.

numpy's own reader allocates whatever shape a file claims. Here type, shape and size are checked against what the file holds.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from vitruvian.errors import FormatError

MAX_BYTES = 4 << 30
Objects = Callable[[bytes], object]
"""Turns the pickled rest of an array of objects into a value; see `vitruvian._unpickle`."""


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype of a .npy. Raises ValueError for anything but version 1 or 2."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f".npy version {version}")
    try:
        return readers[version](file)
    except (SyntaxError, tokenize.TokenError, TypeError, MemoryError, RecursionError) as error:  # numpy parses the text as Python
        raise ValueError("unreadable .npy header") from error


def read_member(file: IO[bytes], size: int, objects: Objects | None = None) -> object:
    """The array of an opened .npy of `size` bytes, or what `objects` makes of one of objects.

    Raises FormatError or ValueError where it claims more than is there, or holds objects and `objects` is None.
    """
    shape, fortran, dtype = npy_header(file)
    if dtype.hasobject:
        if objects is None:
            raise FormatError("an array of objects, which only running foreign code could read")
        return objects(file.read())
    count = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or count > size:
        raise FormatError(f"an array claims shape {shape}, more than the file holds")
    data = file.read()  # to the end: zipfile compares the checksum only there
    if len(data) != count:
        raise FormatError(f"an array of {len(data)} bytes where its shape {shape} needs {count}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_npy(path: str | Path, objects: Objects | None = None, max_bytes: int = MAX_BYTES) -> object:
    """The array of a .npy file. Raises FormatError where it is missing, too large or damaged."""
    path = Path(path)
    with _typed_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        if size > max_bytes:
            raise FormatError(f"more than {max_bytes} bytes")
        return read_member(file, size, objects)


class NpzFile(Mapping[str, object]):
    """The arrays of an .npz by name, each read when it is asked for; raises FormatError where the file is missing or damaged.

    All reads together take no more than `max_bytes`.
    """

    def __init__(self, path: str | Path, objects: Objects | None = None, max_bytes: int = MAX_BYTES) -> None:
        self.path, self._objects, self._left = Path(path), objects, max_bytes
        with _typed_errors(self.path), zipfile.ZipFile(self.path) as archive:
            members = archive.infolist()
            self._names = {m.filename.removesuffix(".npy"): m.filename for m in members if m.filename.endswith(".npy")}
            if len(self._names) != len({m.filename for m in members}) or len(members) != len(self._names):
                raise FormatError("other things than arrays, or one twice")

    def __getitem__(self, name: str) -> object:
        filename = self._names[name]
        with _typed_errors(self.path), zipfile.ZipFile(self.path) as archive:
            member = archive.getinfo(filename)
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise FormatError(f"{name} is packed in an unusual way")
            self._left -= member.file_size
            if self._left < 0:
                raise FormatError("it unpacks to more than max_bytes")
            with archive.open(member) as file:
                return read_member(file, member.file_size, self._objects)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_arrays(path: str | Path, names: Collection[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Those of the named arrays that an .npz file holds. Pickled ones (Python objects) count as absent: they are never unpickled.

    Raises FormatError if the file is missing or damaged, or these arrays take more than `max_bytes`.
    """
    file = NpzFile(path, objects=lambda pickled: None, max_bytes=max_bytes)
    found = {name: file[name] for name in names if name in file}
    return {name: array for name, array in found.items() if array is not None}


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    """One FormatError, naming the file, for everything that a missing or damaged file can raise."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{path} can't be used: {error}; get the file again") from error
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise FormatError(f"{path} is damaged ({error}); get the file again") from error
