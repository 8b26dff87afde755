"""Reading foreign files with care and writing our own whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from vitruvian.errors import FormatError


def temporary_name(path: Path) -> Path:
    """A hidden name in the folder of `path` that no other writer uses, for os.replace to move onto `path`."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name to write to, which becomes `path` when the block ends; after an error no file is left.

    Makes missing folders. Raises FormatError where the folder or the file can't be written.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise FormatError(f"can't write {path}: {error.strerror or error}; check the folder, its rights and the free space") from error
    finally:
        with suppress(OSError):  # nothing there, or no folder to hold it
            temporary.unlink()


def read_json(path: str | Path, max_bytes: int) -> object:
    """The JSON document in the UTF-8 file `path`, which must be no larger than `max_bytes`.

    Raises FormatError if the file is missing, too large, not JSON, nested too deep, or holds NaN or Infinity.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    if len(text) > max_bytes:
        raise FormatError(f"{path} is larger than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not a readable JSON file ({error}); write it again") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
