"""What a user names on the command line and where results go, looked at before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitruvian.errors import VitruvianError, WeightsError


def results_folder(out: Path | None, source: Sequence[str]) -> Path:
    """The folder for results: `out`, else the default one. Raises VitruvianError where a file is in its place."""
    folder = out if out is not None else default_folder(source)
    if folder.is_file():
        raise VitruvianError(f"{folder} is a file, and the results need a folder: give another one with --out")
    return folder


def default_folder(source: Sequence[str]) -> Path:
    """Where results go when nobody says: NAME_vitruvian in the current folder, after the video, the picture or the folder of pictures."""
    path = Path(source[0])
    if len(source) > 1 or any(letter in path.name for letter in "*?["):
        path = path.parent
    path = path.resolve()
    return Path(f"{(path.name if path.is_dir() else path.stem) or 'pictures'}_vitruvian")


def check_networks(*networks: str | None) -> None:
    """Raises WeightsError for a file that is there but no .onnx, as a film that followed the wrong option."""
    for network in networks:
        if network and Path(network).suffix.lower() != ".onnx" and Path(network).is_file():
            raise WeightsError(
                f"{network} is a file, but not an .onnx: give a network's .onnx file (vitruvian export makes it of a checkpoint), "
                "or its id (vitruvian weights list)"
            )
