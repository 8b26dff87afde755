"""Text files of strangers: read with a limit on their size, their cells turned into numbers with care; and folders to write to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.errors import FormatError

MAX_BYTES = 512 << 20
FAR = 1e30  # a larger number is no measurement, and overflows float32


def read_text(path: str | Path, max_bytes: int = MAX_BYTES) -> str:
    """The text of `path`, which must be no larger than `max_bytes`. What is no UTF-8 (old exporters write other encodings) becomes "?".

    Raises FormatError if the file is missing or too large.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise FormatError(f"can't read {path}: {getattr(error, 'strerror', None) or error}; check the path") from error
    if len(data) > max_bytes:
        raise FormatError(f"{path} is larger than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    return data.decode("utf-8-sig", errors="replace")


def make_folder(path: str | Path) -> Path:
    """The folder `path`, made if missing with those above it. Raises FormatError where it can't be made."""
    path = Path(path)
    if path.is_file():
        raise FormatError(f"{path} is a file, and a folder is needed: name another one")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"can't make the folder {path} ({error.strerror}): give another one") from error
    return path


def numbers(cells: Sequence[str], where: str) -> Float[np.ndarray, " n"]:
    """The cells as float64; empty cells and the various spellings of NaN are NaN.

    Raises FormatError for anything else, infinities and absurdly large numbers included; `where` begins its message.
    """
    try:
        values = np.array([cell or "nan" for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{where}: {str(error)[:80]}; the file is damaged") from error
    if (np.abs(values) > FAR).any():
        raise FormatError(f"{where}: a number is larger than {FAR:g}; the file is damaged")
    return values
