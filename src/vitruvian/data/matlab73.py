"""Tables of numbers in MATLAB 7.3 files, which are HDF5 (read by the package h5py, extra `[data]`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitruvian.data.layout import MAX_MAT
from vitruvian.errors import FormatError, MissingExtraError

if TYPE_CHECKING:
    import h5py

_HEADER = b"MATLAB 7.3"
_MAX_AXES = 8


def is_mat73(path: Path) -> bool:
    """Whether a file says so in its first bytes. Raises FormatError if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error


def read_mat73(path: Path, *names: str, max_bytes: int = MAX_MAT) -> dict[str, np.ndarray]:
    """Some numeric variables of a MATLAB 7.3 file, with MATLAB's order of axes.

    Raises FormatError if it is damaged, lacks a variable, or has one that is no table of numbers inside the file itself, or is larger than
    `max_bytes` unpacked; MissingExtraError without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is MATLAB 7.3 (HDF5), which h5py reads: pip install 'vitruvian[data]', or save the file again with -v7"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return {name: _table(file, name, path, max_bytes) for name in names}
    except FormatError:
        raise
    except Exception as error:  # the library raises many types for damaged files
        reason = " ".join(str(error).split())[:120]
        raise FormatError(f"{path} is not a readable MATLAB 7.3 file ({type(error).__name__}: {reason}); fetch it again") from error


def _table(file: h5py.File, name: str, path: Path, max_bytes: int) -> np.ndarray:
    import h5py

    if name not in file:
        raise FormatError(f"{path} has no variable {name!r}; it is another file than expected")
    # Links and data in other files would let a foreign file show what else is on this machine.
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise FormatError(f"{path}: {name} is no table; it is another file than expected")
    table = file[name]
    if table.external or table.is_virtual or table.dtype.kind not in "fiub" or table.ndim > _MAX_AXES:
        raise FormatError(f"{path}: {name} is no plain table of numbers; it is another file than expected")
    if table.size * table.dtype.itemsize > max_bytes:
        raise FormatError(f"{path}: {name} unpacks to more than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    return np.asarray(table[()]).T  # MATLAB counts the first axis fastest, HDF5 the last
