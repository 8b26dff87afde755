"""Where results go when nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def default_folder(source: Sequence[str], kind: str) -> Path:
    """NAME_KIND in the current folder, named after the video, the picture or the folder of pictures; each command has its own kind."""
    path = Path(source[0])
    if len(source) > 1 or any(letter in path.name for letter in "*?["):
        path = path.parent
    path = path.resolve()
    return Path(f"{(path.name if path.is_dir() else path.stem) or 'pictures'}_{kind}")
