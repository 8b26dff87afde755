"""Take a network file into the store: one that was downloaded elsewhere, or one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vitruvian._files import temporary_name
from vitruvian.errors import FormatError, WeightsError
from vitruvian.weights import store
from vitruvian.weights.card import Card, file_sha256
from vitruvian.weights.find import infer_card
from vitruvian.weights.intake import onnx_problem, unwrap
from vitruvian.weights.published import PUBLISHED

MAX_VECTOR_BYTES = 1 << 20


def add(file: str | Path, network: str | None = None) -> Card:
    """Copy an ONNX file, or the one inside a zip archive, into the store. Returns its card.

    `network` is its id. None: a known network if the sha256 or the name of the file is that of one, else named after the file. What is not
    known has the card beside the file (same stem), or one inferred from the graph. For an augmenter, STEM.mean.npy and STEM.std.npy beside
    the file go into the card.
    Raises WeightsError when it is no network, or another file than the one known by this id, FormatError on a bad card.
    """
    file = Path(file)
    if network is not None and not store.ID.fullmatch(network):
        raise WeightsError(f"{network!r} can't be the id of a network: use letters, digits, dots, hyphens and underscores.")
    known = _known(network) if network else None
    unpacked = temporary_name(store.folders()[0] / ".parts" / file.name)
    try:
        source = _as_onnx(file, unpacked, known.member if known else "")
        card = known or _card(file, source, network)
        with store.locked(card.id):
            if card.task == "augmenter":
                card = replace(card, mean=_vector(file, "mean") or card.mean, std=_vector(file, "std") or card.std)
            card = store.take_in(source, card)
            card.save(store.folders()[0] / f"{card.id}.json")
            return card
    finally:
        unpacked.unlink(missing_ok=True)


def _as_onnx(file: Path, unpacked: Path, member: str) -> Path:
    """The file itself, or `unpacked` with what the archive holds."""
    try:
        with file.open("rb") as stream:
            is_archive = stream.read(2) == b"PK"
        if is_archive:
            unpacked.parent.mkdir(parents=True, exist_ok=True)
            unwrap(file, member, unpacked)
            return unpacked
        problem = onnx_problem(file)
    except OSError as error:
        raise WeightsError(f"Can't read {file} ({error.strerror or error}): check the path.") from error
    if problem:
        raise WeightsError(f"{file} is no network: {problem}. Give an ONNX file, or a zip archive with one inside.")
    return file


def _card(file: Path, source: Path, network: str | None) -> Card:
    """What the ONNX file `source`, which came in `file`, is described by."""
    if network is None:
        sha256 = file_sha256(source)
        for card in store.listed():
            if sha256 == card.sha256.lower():
                return card
        named = (card.id for card in PUBLISHED.values() if file.name in store.download_names(card) or file.stem == card.id)
        network = next(named, file.stem)
    if not store.ID.fullmatch(network):
        raise WeightsError(f"{network!r} can't be the id of a network: give one with --id.")
    beside = file.with_suffix(".json")
    return _known(network) or replace(Card.load(beside) if beside.is_file() else infer_card(source), id=network)


def _known(network: str) -> Card | None:
    """The card of a network by its id, None when there is none."""
    try:
        return store.described(network)
    except WeightsError:
        return None


def _vector(file: Path, kind: str) -> tuple[float, ...]:
    """The numbers in STEM.mean.npy or STEM.std.npy, () when there is no such file."""
    import numpy as np

    path = file.with_suffix(f".{kind}.npy")
    if not path.is_file():
        return ()
    try:
        if path.stat().st_size > MAX_VECTOR_BYTES:
            raise ValueError(f"larger than {MAX_VECTOR_BYTES} bytes")
        return tuple(float(number) for number in np.load(path, allow_pickle=False).ravel())
    except (OSError, ValueError, TypeError, EOFError, MemoryError) as error:
        raise FormatError(f"{path} holds no array of numbers ({error}): take it from where the network is from.") from error
