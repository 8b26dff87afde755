"""The take file: one .npz (a zip of .npy arrays, no pickles) with `header`, a JSON document as uint8, and one array per column.

Version 2 added the optional columns, `space` and `body`; version 1 is read as well. The header of a keypoint set that is not built in has
its swap and links too. Nothing in such a file is trusted: members, sizes, dtypes and shapes are checked before memory is taken.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from vitruvian._files import written_whole
from vitruvian._npy import npy_header
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import Skeleton
from vitruvian.skeletons.table import from_table, table_of
from vitruvian.take import FRAME_COLUMNS, OPTIONAL_COLUMNS, PEOPLE_COLUMNS, People, Take

FORMAT = "vitruvian-take"
FORMAT_VERSION = 2
MAX_BYTES = 4 << 30
MAX_HEADER_BYTES = 64 << 20


def write_npz(take: Take, path: str | Path) -> None:
    """Write a take, whole or not at all.

    Raises FormatError if the path can't be written, or the keypoint set has the name of a built-in one without being it.
    """
    header = np.frombuffer(json.dumps(_header(take)).encode(), np.uint8)
    columns = {name: getattr(take, name) for name in FRAME_COLUMNS} | take.people.columns()
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, header=header, **columns)


def read_npz(path: str | Path, max_bytes: int = MAX_BYTES) -> Take:
    """Read a take file. No more than `max_bytes` of memory are taken for its arrays.

    Raises FormatError if the file is missing, truncated, too large, of a newer format, or not a take.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            optional = _check_members(archive, path, max_bytes)
            header = _parse_header(_read_column(archive, "header", "|u1", (), 0).tobytes(), path)
            skeleton = _skeleton(header, path)
            specs = FRAME_COLUMNS | PEOPLE_COLUMNS | {name: OPTIONAL_COLUMNS[name] for name in optional}
            columns = {name: _read_column(archive, name, *spec, len(skeleton)) for name, spec in specs.items()}
        people = People(**{name: column for name, column in columns.items() if name not in FRAME_COLUMNS})
        frames = {name: columns[name] for name in FRAME_COLUMNS}
        told = ("names", "source", "cards", "complete", "space", "body", "fov", "fov_source", "fov_spread")
        fields = {key: header[key] for key in told}
        return Take(people, skeleton, **frames, **fields, version=header["package_version"])
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        # A damaged archive sends the reader to places before the file's start, which is an OSError; and zipfile quotes whole headers.
        raise FormatError(f"{path} is not a whole take file ({' '.join(str(error).split())[:120]}); capture again or restore it") from error
    except FormatError:
        raise
    except VitruvianError as error:
        raise FormatError(f"{path}: {error}") from error


def _header(take: Take) -> dict[str, object]:
    own = {f"keypoint_{part}": values for part, values in table_of(take.skeleton).items()}
    return own | {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": take.version,
        "skeleton": take.skeleton.name,
        "keypoint_names": take.skeleton.names,
        "names": take.names,
        "source": take.source,
        "cards": take.cards,
        "complete": take.complete,
        "space": take.space,
        "body": take.body,
        "fov": take.fov,
        "fov_source": take.fov_source,
        "fov_spread": take.fov_spread,
    }


def _check_members(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> list[str]:
    """The optional columns it has. Refuses an archive with other members than a take's, or one that would unpack to too much."""
    found = archive.infolist()
    names = {member.filename for member in found}
    needed = {f"{name}.npy" for name in ("header", *FRAME_COLUMNS, *PEOPLE_COLUMNS)}
    optional = [name for name in OPTIONAL_COLUMNS if f"{name}.npy" in names]
    if len(found) != len(names) or names != needed | {f"{name}.npy" for name in optional}:
        raise FormatError(f"{path} does not have the columns of a take; only files that Take.save wrote can be loaded")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in found):
        raise FormatError(f"{path} is packed in a way that takes are not; only files that Take.save wrote can be loaded")
    if sum(member.file_size for member in found) > max_bytes:
        raise FormatError(f"{path} unpacks to more than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    if archive.getinfo("header.npy").file_size > MAX_HEADER_BYTES:
        raise FormatError(f"{path} has a header of more than {MAX_HEADER_BYTES} bytes; it is no take file")
    return optional


def _read_column(archive: zipfile.ZipFile, name: str, dtype: str, tail: tuple[int | str, ...], k: int) -> np.ndarray:
    """One .npy member, whose dtype and shape (rows, *tail) are checked before its data are read.

    numpy's own reader would allocate whatever shape the file claims.
    """
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        shape, fortran, found = npy_header(file)
        fits = len(shape) == 1 + len(tail) and min(shape) >= 0
        fits = fits and all(side == (k if t == "k" else t) or t in ("j", "s", "e") for t, side in zip(tail, shape[1:], strict=True))
        if found != np.dtype(dtype) or not fits:
            raise FormatError(f"column {name!r} is {found} {shape} where a take has {dtype} {('rows', *tail)}; the file is damaged")
        count = math.prod(shape) * found.itemsize
        if count > member.file_size:
            raise FormatError(f"column {name!r} claims {count} bytes but the file has fewer; it is damaged")
        data = file.read()  # to the end: zipfile compares the checksum only there
    if len(data) != count:
        raise FormatError(f"column {name!r} has {len(data)} bytes instead of {count}; the file is damaged")
    return np.frombuffer(data, found).reshape(shape, order="F" if fortran else "C")


def _parse_header(text: bytes, path: Path) -> dict:
    """The header's fields, checked. Raises FormatError (or ValueError for text that is no JSON)."""
    try:
        header = json.loads(text)
    except RecursionError as error:
        raise ValueError("header nested too deep") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FormatError(f"{path} is not a take file; only files that Take.save wrote can be loaded")
    version = header.get("format_version")
    if version not in (1, FORMAT_VERSION):
        raise FormatError(f"{path} has take format {version!r}, this package reads 1 and {FORMAT_VERSION}; update vitruvian")
    if version == 1:
        header |= {"space": "", "body": ""}
    header |= {"fov": 0.0, "fov_source": "", "fov_spread": 0.0} | header
    kinds = {"package_version": str, "skeleton": str, "keypoint_names": list, "names": list, "source": str, "cards": list, "complete": bool}
    kinds |= {"space": str, "body": str, "fov": (int, float), "fov_source": str, "fov_spread": (int, float)}
    wrong = [key for key, kind in kinds.items() if not isinstance(header.get(key), kind)]
    wrong += [key for key in ("names", "cards") if key not in wrong and not all(isinstance(text, str) for text in header[key])]
    if wrong:
        raise FormatError(f"{path}: the header's {', '.join(wrong)} are missing or of the wrong kind; the file is damaged")
    return header


def _skeleton(header: dict, path: Path) -> Skeleton:
    """The keypoint set of a checked header: the built-in one, or one that the header declares."""
    declared = {part: header[f"keypoint_{part}"] for part in ("swap", "links") if f"keypoint_{part}" in header}
    try:
        skeleton = from_table(header["skeleton"], declared and declared | {"names": header["keypoint_names"]})
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    if list(skeleton.names) != header["keypoint_names"]:
        raise FormatError(f"{path} uses another {header['skeleton']!r} than this package; update vitruvian")
    return skeleton
