"""Where the official files of a data set lie, with care: names come from foreign files."""

from __future__ import annotations

import io
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from vitruvian.errors import FormatError

MAX_JSON = 4 << 30
MAX_MAT = 1 << 30
_COMPRESSED = 15  # MATLAB 5's tag of a zlib stream


def find(folder: str | Path, what: str, layout: str, *candidates: str) -> Path:
    """The first of `candidates` (relative paths) that is in `folder`. Raises FormatError, which says what layout is expected."""
    folder = Path(folder)
    for candidate in candidates:
        if (folder / candidate).exists():
            return folder / candidate
    raise FormatError(f"{folder} has no {candidates[0]} of {what}; expected there: {layout}")


def below(folder: Path, name: str) -> Path:
    """`folder / name` for a name out of a foreign file. Raises FormatError where it would leave the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise FormatError(f"the file name {name!r} does not stay below {folder}; correct the annotations")
    return folder / path


def read_mat(path: Path, *names: str, max_bytes: int = MAX_MAT) -> dict[str, np.ndarray]:
    """Some variables of a MATLAB 5 file, structs as records, cells as objects.

    Nothing in such a file is executed. What its streams unpack to is counted first, so that a small file can't fill the memory.
    Raises FormatError if it is missing, larger than `max_bytes` packed or unpacked, damaged, or lacks a variable.
    """
    import scipy.io

    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    if _unpacked(data, max_bytes) > max_bytes:
        raise FormatError(f"{path} unpacks to more than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    try:
        found = scipy.io.loadmat(io.BytesIO(data), variable_names=names, squeeze_me=True, struct_as_record=True)
    except Exception as error:  # scipy's reader raises whatever its parsing runs into
        raise FormatError(f"{path} is not a readable MATLAB 5 file ({type(error).__name__}: {error}); fetch it again") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise FormatError(f"{path} has no variable {missing[0]!r}; it is another file than expected")
    return {name: found[name] for name in names}


def _unpacked(data: bytes, limit: int) -> int:
    """How many bytes the top-level elements of a MATLAB 5 file have when unpacked; stops counting above `limit`."""
    total, place = len(data), 128
    order = "big" if data[126:128] == b"MI" else "little"
    while place + 8 <= len(data) and total <= limit:
        kind, length = (int.from_bytes(data[place + i : place + i + 4], order) for i in (0, 4))
        if kind == _COMPRESSED:
            stream, piece = zlib.decompressobj(), data[place + 8 : place + 8 + length]
            try:
                while piece and total <= limit:
                    total += len(stream.decompress(piece, 1 << 20))
                    piece = stream.unconsumed_tail
            except zlib.error:
                break  # the reader will say what is wrong
        place += 8 + length
    return total
