"""Where networks lie on this machine, and how they get there.

Folders, searched in this order: `weights` in the home of the store, the shared folders (and `weights` inside each), the installed package.
Only the home is ever written to.

| environment | meaning |
|---|---|
| VITRUVIAN_HOME | home of the store; by default the user's cache folder, such as ~/.cache/vitruvian |
| VITRUVIAN_SHARED | folders to read from, separated like PATH: a cluster's or an institute's |
| VITRUVIAN_MIRROR | address of a folder that is asked before the published ones, such as https://mirror.example.org/weights |
| VITRUVIAN_OFFLINE | not empty: nothing is fetched |

A folder holds ID.onnx with its card ID.json; a published network needs no card, and may lie there as the file that was downloaded, zip or
not. A card without a file is a network that can be fetched from its URLs.
A network whose sha256 nobody published gets the one of the first file that came, written into its card in the home, and is held to it from
then on. `.checked` remembers size and time of each file whose sum was right, so that a load reads the whole file only after a change.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from vitruvian._files import read_json, written_whole
from vitruvian.errors import FormatError, VitruvianError, WeightsError
from vitruvian.weights.card import ASSETS, Card, file_sha256
from vitruvian.weights.download import OnTransfer, discard, download
from vitruvian.weights.graph import MAX_FILE_BYTES
from vitruvian.weights.intake import unwrap
from vitruvian.weights.licences import Licence, allows
from vitruvian.weights.published import PUBLISHED

logger = logging.getLogger(__name__)

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What the id of a network may be, since files are named after it."""

_DOWNLOAD = re.compile(r"[A-Za-z0-9][\w.+-]{0,199}\.(onnx|zip)", re.IGNORECASE)


def home() -> Path:
    """The folder that this user's networks lie under. Raises WeightsError where there is none by default."""
    try:
        if chosen := os.environ.get("VITRUVIAN_HOME"):
            return Path(chosen).expanduser()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vitruvian"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "vitruvian"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vitruvian"
    except RuntimeError as error:
        raise WeightsError("This user has no home folder: set VITRUVIAN_HOME to a folder for the weights.") from error


def folders() -> tuple[Path, ...]:
    """Where networks are looked for, in order; the first is the only one that is written to."""
    shared = [Path(name).expanduser() for name in os.environ.get("VITRUVIAN_SHARED", "").split(os.pathsep) if name]
    return (home() / "weights", *(inside for folder in shared for inside in (folder, folder / "weights")), ASSETS)


def described(network: str) -> Card:
    """The card of a network by its id, whether its file is here or not. Raises WeightsError when there is none of this name.

    A published network is as this version of the package describes it; a card in the folders adds the sha256, the size and an augmenter's
    mean and std where those are not published.
    """
    published = PUBLISHED.get(network)
    if ID.fullmatch(network):
        for folder in folders():
            card = folder / f"{network}.json"
            if card.is_file():
                found = Card.load(card)
                if found.id != network:
                    raise WeightsError(f"{card} is the card of {found.id!r}: name it and its ONNX file after that.")
                return _with_record(published, found) if published else found
    if published is None:
        near = difflib.get_close_matches(network, PUBLISHED, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise WeightsError(
            f"No network {network!r}: {hint}`vitruvian weights list` shows all, `vitruvian weights add FILE` takes in yours."
        )
    return published


def listed(*, task: str | None = None, subject: str | None = None, licence: Licence = "any") -> tuple[Card, ...]:
    """All networks - installed, published, added - that pass the filters, here or not; broken cards are left out with a warning."""
    found: dict[str, Card] = {}
    cards = [card for folder in reversed(folders()) if folder.is_dir() for card in sorted(folder.glob("*.json"))]
    for name in [*(card.stem for card in cards), *PUBLISHED]:
        try:
            card = described(name)
        except (FormatError, WeightsError) as error:
            logger.warning("%s", error)
            continue
        if Path(card.file).parent != ASSETS or Path(card.file).is_file():
            found.setdefault(name, card)
    wanted = (card for card in found.values() if task in (None, card.task) and subject in (None, card.subject))
    return tuple(card for card in wanted if allows(card, licence))


def path(network: str) -> Path | None:
    """The ONNX file of a network, None when it isn't here. Raises as `described`."""
    return _file_of(described(network))


def locate(network: str) -> Card:
    """The card of a network whose file is here and whole; fetches it when it isn't. Raises as `fetch`."""
    card = described(network)
    file = _file_of(card)
    if file is None:
        logger.warning("%s is not on this machine yet: fetching it", network)
        return fetch(network)
    return _checked(card, file)


def verify(network: str) -> Card:
    """The card of a network whose file is here, with its whole content compared with the sha256. Raises WeightsError on another content."""
    card = described(network)
    file = _file_of(card)
    if file is None:
        raise WeightsError(f"{network!r} is not on this machine: {f'vitruvian weights fetch {network}' if card.urls else _remedy(card)}")
    return _checked(card, file, trust_stamp=False)


def fetch(network: str, on_progress: OnTransfer | None = None) -> Card:
    """Make sure that a network is here and whole; its mirrors are tried in turn. Returns its card with the path of the file.

    Where a file is not the right one, a right one is brought into the home, which comes first. Processes that fetch the same network at the
    same time wait for the first. Raises WeightsError when there is no such network, the home can't be written, or no mirror has the right
    file. `on_progress` is called with every piece that comes.
    """
    card, problem = _here(network)
    if not problem:
        return card
    with locked(network):
        card, problem = _here(network)  # another process may have brought it while this one waited
        if not problem:
            return card
        return _from_archive(card) or _from_mirrors(card, problem, on_progress)


def take_in(source: Path, card: Card) -> Card:
    """Put the network that `source` is or holds (zip) into the home as `card` describes it; WeightsError when it is another one."""
    target = folders()[0] / f"{card.id}.onnx"
    with written_whole(target) as temporary:
        unwrap(source, card.member, temporary)
        found = file_sha256(temporary)
        if card.sha256 and found != card.sha256.lower():
            record = target.with_suffix(".json")
            known = card.id in PUBLISHED and PUBLISHED[card.id].sha256 or not record.is_file()
            hint = "" if known else f"; if it was replaced on purpose, remove {record} and try again"
            raise WeightsError(f"this is another file than {card.id!r}: sha256 {found[:12]}..., not {card.sha256[:12].lower()}...{hint}")
    return _checked(card, target)


def _here(network: str) -> tuple[Card, str]:
    """The card of a network, and what is wrong with its file, "" if it is here and whole."""
    card = described(network)
    file = _file_of(card)
    try:
        return (card, "not on this machine") if file is None else (_checked(card, file), "")
    except WeightsError as error:
        logger.warning("%s", error)
        return card, str(error)


def _with_record(published: Card, found: Card) -> Card:
    """A published card with what a card on this machine knows more."""
    return replace(
        published,
        sha256=published.sha256 or found.sha256,
        size_bytes=published.size_bytes or found.size_bytes,
        mean=published.mean or found.mean,
        std=published.std or found.std,
    )


def _file_of(card: Card) -> Path | None:
    """The first file in the folders that bears the name of the network or of its download."""
    names = [f"{card.id}.onnx", Path(card.file).name, *(name for name in download_names(card) if name.lower().endswith(".onnx"))]
    found = (folder / name for folder in folders() for name in names)
    return next((file for file in found if file.is_file()), None)


def _from_archive(card: Card) -> Card | None:
    """Unpack a downloaded archive that somebody put into one of the folders as it was; None when there is no good one."""
    names = [name for name in download_names(card) if name.lower().endswith(".zip")]
    for archive in (folder / name for folder in folders() for name in names):
        try:
            if archive.is_file():
                return take_in(archive, card)
        except WeightsError as error:
            logger.warning("%s: %s", archive, error)
    return None


def download_names(card: Card) -> tuple[str, ...]:
    """The names that the file has at its URLs."""
    names = (unquote(re.split(r"[?#]", url)[0]).rpartition("/")[2] for url in card.urls)
    return tuple(dict.fromkeys(name for name in names if _DOWNLOAD.fullmatch(name)))


def _checked(card: Card, file: Path, trust_stamp: bool = True) -> Card:
    """`card` with the path, sum and size of `file`; WeightsError when the sum is wrong. Remembers what it found, where it may write."""
    try:
        state = file.stat()
    except OSError as error:
        raise WeightsError(f"Can't read the weights {file} ({error.strerror}): check the folder.") from error
    now = {"file": str(file.absolute()), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    record, stamp = folders()[0] / f"{card.id}.json", folders()[0] / ".checked" / f"{card.id}.json"
    known = _read_stamp(stamp)
    sha256 = str(known.get("sha256"))
    if not (trust_stamp and known == now | {"sha256": sha256} and card.sha256.lower() in ("", sha256)):
        sha256 = file_sha256(file)
        if card.sha256 and sha256 != card.sha256.lower():
            raise WeightsError(
                f"{file} is not the file of {card.id!r}: its sha256 is {sha256[:12]}..., not {card.sha256[:12].lower()}...; "
                f"`vitruvian weights fetch {card.id}` brings the right one"
            )
    checked = replace(card, file=str(file), sha256=sha256, size_bytes=state.st_size)
    try:
        if known != now | {"sha256": sha256}:
            with written_whole(stamp) as temporary:
                temporary.write_text(json.dumps(now | {"sha256": sha256}), encoding="utf-8")
        if not card.sha256 or (file.parent == record.parent and not record.is_file()):
            checked.save(record)
    except FormatError as error:
        logger.info("%s: %s", card.id, error)
    return checked


def _read_stamp(stamp: Path) -> dict[str, object]:
    try:
        known = read_json(stamp, 1 << 16)
    except FormatError:
        return {}
    return known if isinstance(known, dict) else {}


def _from_mirrors(card: Card, problem: str, on_progress: OnTransfer | None) -> Card:
    """Download from the first mirror that has the right file; `problem` is why it is needed."""
    problems = [problem]
    for url in _mirrors(card):
        part = folders()[0] / ".parts" / hashlib.sha256(url.encode()).hexdigest()[:16]
        logger.info("fetching %s from %s", card.id, url)
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            download(url, part, limit=MAX_FILE_BYTES, on_transfer=on_progress)
        except (VitruvianError, OSError) as error:
            problems.append(f"{_host(url)}: {error}")
            continue
        try:
            return take_in(part, card)
        except VitruvianError as error:
            problems.append(f"{_host(url)}: {error}")
        finally:
            discard(part)
    if len(problems) == 1:
        problems.append("VITRUVIAN_OFFLINE is set" if card.urls else "no address is known")
    raise WeightsError(f"Can't fetch {card.id!r} ({'; '.join(problems)}): {_remedy(card)}")


def _host(url: str) -> str:
    return url.partition("//")[2].partition("/")[0] or url


def _mirrors(card: Card) -> tuple[str, ...]:
    """Every address of a network, in the order to try them; none when offline."""
    if os.environ.get("VITRUVIAN_OFFLINE"):
        return ()
    mirror = os.environ.get("VITRUVIAN_MIRROR", "").rstrip("/")
    names = (*download_names(card), f"{card.id}.onnx") if mirror else ()
    return tuple(dict.fromkeys((*(f"{mirror}/{name}" for name in names), *card.urls)))


def _remedy(card: Card) -> str:
    """What a user without a connection can do."""
    folder = folders()[0]
    if card.urls:
        return f"get {' or '.join(card.urls)} elsewhere, then `vitruvian weights add FILE --id {card.id}`, or put it as it is into {folder}"
    return f"look for it ({card.source}), then `vitruvian weights add FILE --id {card.id}`, or put it at {folder / f'{card.id}.onnx'}"


@contextmanager
def locked(network: str) -> Iterator[None]:
    """Only one process at a time gets past here per network. Raises WeightsError when the home can't be written."""
    from filelock import FileLock, Timeout

    name = folders()[0] / ".locks" / f"{network}.lock"
    lock = FileLock(name)
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            logger.warning("another process is busy with %s: waiting for it", network)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"Can't write to {folders()[0]} ({reason}): set VITRUVIAN_HOME to a folder that you may write to.") from error
    try:
        yield
    finally:
        lock.release()
