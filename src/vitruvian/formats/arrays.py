"""Foreign .npz and .npy files: arrays of numbers and short texts, without pickles, and never more memory than allowed."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from vitruvian.errors import FormatError

MAX_BYTES = 2 << 30


def read_arrays(path: str | Path, names: Collection[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Those of the named arrays that an .npz file holds. Pickled ones (Python objects) count as absent: they are never unpickled.

    Raises FormatError if the file is missing or damaged, or these arrays take more than `max_bytes`.
    """
    path = Path(path)
    found: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            for name in names:
                member = members.get(f"{name}.npy", members.get(name))
                if member is None:
                    continue
                with archive.open(member) as file:
                    array = _read_array(file, max_bytes - sum(other.nbytes for other in found.values()), f"{path}: {name}")
                if array is not None:
                    found[name] = array
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, tokenize.TokenError) as error:
        raise FormatError(f"{path} is not a whole .npz file ({error}); fetch it again") from error
    return found


def _read_array(file: IO[bytes], max_bytes: int, where: str) -> np.ndarray | None:
    """One .npy stream, None if pickled. numpy's own reader would take the memory that the header claims before it sees the data."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array of version {version}")
    size = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    if size > 1 << 16:
        raise ValueError("an array header of more than 64 kB")
    length = size.to_bytes(2 if version == (1, 0) else 4, "little")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(io.BytesIO(length + file.read(size)))
    if dtype.hasobject:
        return None
    if any(side < 0 for side in shape) or dtype.kind not in "biufSU":
        raise ValueError(f"an array of {dtype} {shape}")
    count = math.prod(shape) * dtype.itemsize
    if count > max_bytes:
        raise FormatError(f"{where} takes {count} bytes, more than allowed; pass a larger max_bytes if you trust the file")
    data = file.read(count + 1)  # one more than expected: to the end, where the archive's checksum is compared
    if len(data) != count:
        raise ValueError(f"an array of {len(data)} bytes where its header promises {count}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
