"""From what rtmlib's callers name a network by to its ONNX file."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from vitruvian.errors import WeightsError
from vitruvian.weights import Card, store
from vitruvian.weights.download import discard, download
from vitruvian.weights.graph import MAX_FILE_BYTES
from vitruvian.weights.published import PUBLISHED


def local_file(network: str | Path, card: Card) -> Path:
    """The ONNX file of a path, an address, or the id of a network in the store; fetched where it isn't here yet.

    `card` is what an unknown address is kept as in the store. Raises WeightsError when there is no file, or none can be fetched.
    """
    name = str(network)
    if urlsplit(name).scheme in ("http", "https"):
        return Path(_of_url(name, card).file)
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix.lower() == ".onnx":
        raise WeightsError(f"No network file at {path}: check the path.")
    return Path(store.locate(name).file)


def _of_url(url: str, card: Card) -> Card:
    """The network at an address: a published one under its own id, any other under the name of the file and a hash of the address."""
    file = PurePosixPath(unquote(urlsplit(url).path)).name
    published = next((known.id for known in PUBLISHED.values() if file in store.download_names(known)), None)
    if published:
        return store.locate(published)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(file).stem).strip("-._")[:60]
    name = f"{stem or 'network'}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    if (store.folders()[0] / f"{name}.json").is_file():
        return store.locate(name)
    if os.environ.get("VITRUVIAN_OFFLINE"):
        raise WeightsError(f"{url} is not in the store, and VITRUVIAN_OFFLINE is set: download it, and give the path of the file.")
    with store.locked(name):
        part = store.folders()[0] / ".parts" / name
        part.parent.mkdir(parents=True, exist_ok=True)
        download(url, part, limit=MAX_FILE_BYTES)
        try:
            return store.take_in(part, replace(card, id=name, file=f"{name}.onnx", urls=(url,)))
        finally:
            discard(part)
