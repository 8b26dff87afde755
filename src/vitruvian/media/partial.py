"""Files that appear whole or not at all: written under a temporary name in the same folder, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitruvian._files import temporary_name
from vitruvian.errors import MediaError


def partial_name(path: Path) -> Path:
    """A hidden, unused name beside `path`. MediaError when that folder does not exist or can't be written."""
    folder = path.parent
    if not folder.is_dir():
        raise MediaError(f"the folder {folder} does not exist: create it before writing {path.name}")
    if not os.access(folder, os.W_OK):
        raise MediaError(f"the folder {folder} can't be written: check its permissions, or write {path.name} elsewhere")
    return temporary_name(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary name to write to. It takes the final name when the block ends well, and is removed when it does not."""
    temporary = partial_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise MediaError(f"{path} can't be written ({error.strerror}): check the free space and the permissions") from error
    finally:
        temporary.unlink(missing_ok=True)
