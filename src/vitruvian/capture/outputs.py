"""The files of a capture: made in a workshop beside the journal, moved to the output folder once all are whole, and listed there.

The list, `.capture.json`, has each file's name, size and time of change: the next capture into the folder removes by it what it does not
write anew, and nothing that somebody else wrote or changed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from vitruvian._files import read_json
from vitruvian.capture.journal import FOLDER
from vitruvian.errors import FormatError
from vitruvian.formats.text import make_folder

LIST = ".capture.json"
MAX_LIST_BYTES = 256 << 20

Stamps = Mapping[str, list[int]]
"""Size and time of change (ns) of files, by their names in the output folder."""


@contextmanager
def delivered(out: Path | None) -> Iterator[Path | None]:
    """An empty folder to make files in, which move to `out` when the block ends well; None for None.

    Then only they are there of all that captures have written to `out`. After an error or Ctrl-C `out` is as before, save what moved
    until then, and not there if it is new. Raises FormatError, before the block where `out` can't be made or written to, and after it
    where a file can't be moved; the others are.
    """
    if out is None:
        yield None
        return
    is_new = not out.exists()
    workshop = make_folder(out) / FOLDER / "files"
    try:
        _check_writable(out)
        emptied(workshop)  # a run that was killed may have left something
        yield workshop
        _deliver(workshop, out)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
        for folder in (workshop.parent, out) if is_new else (workshop.parent,):
            with suppress(OSError):  # it is not empty: the journal, or what is whole, stays
                folder.rmdir()


def emptied(folder: Path) -> Path:
    """The folder, made if missing, without what was in it. Raises FormatError where it can't be made."""
    shutil.rmtree(folder, ignore_errors=True)
    return make_folder(folder)


def files_of(out: Path) -> list[Path]:
    """The files and folders that the newest capture has left in the folder `out`, sorted."""
    return sorted({out / Path(name).parts[0] for name in _listed(out) if (out / name).exists()})


def _check_writable(folder: Path) -> None:
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise FormatError(f"can't write to {folder} ({error.strerror}): check its rights and the free space, or give another") from error


def _deliver(workshop: Path, out: Path) -> None:
    """Move the files; remove those of earlier captures that are not among them."""
    older, newer = _listed(out), {}
    for path in sorted(path for path in workshop.rglob("*") if path.is_file()):
        newer[path.relative_to(workshop).as_posix()] = _stamp(path)
    _write_list({**older, **newer}, workshop, out)  # first, so that nothing is forgotten if this process dies meanwhile
    failed = []
    for name in newer:
        try:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(workshop / name, out / name)
        except OSError as error:
            failed.append(FormatError(f"can't write {out / name} ({error.strerror}): move away what is there, and start again"))
    for name in older.keys() - newer.keys():
        _remove(out, name, older[name])
    _write_list(newer, workshop, out)
    if failed:
        raise failed[0]


def _remove(out: Path, name: str, stamp: list[int]) -> None:
    """Remove a file that is still as it was written, and the folder that it leaves empty. Links in foreign folders may lead outside."""
    path = out / name
    with suppress(OSError, ValueError):
        if path.resolve().is_relative_to(out.resolve()) and not path.is_symlink() and path.is_file() and _stamp(path) == stamp:
            path.unlink()
            if path.parent != out:
                path.parent.rmdir()


def _stamp(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def _listed(out: Path) -> Stamps:
    """What the list in the folder says; nothing where there is none, or none that can be read."""
    with suppress(FormatError):
        found = read_json(out / LIST, MAX_LIST_BYTES)
        if isinstance(found, dict):
            return {name: stamp for name, stamp in found.items() if name and not Path(name).is_absolute() and ".." not in Path(name).parts}
    return {}


def _write_list(stamps: Stamps, workshop: Path, out: Path) -> None:
    try:
        (workshop / LIST).write_text(json.dumps(stamps), encoding="utf-8")
        os.replace(workshop / LIST, out / LIST)
    except OSError as error:
        raise FormatError(f"can't write {out / LIST} ({error.strerror}): check the folder, its rights and the free space") from error
