"""Take and People: the columnar result of a capture, and its file.

A take file is one .npz (a zip of .npy arrays, no pickles): `header`, a JSON document as uint8, and one array per column.
"""

from __future__ import annotations

import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian._files import written_whole
from vitruvian._version import __version__
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import SKELETONS, Skeleton

FORMAT = "vitruvian-take"
FORMAT_VERSION = 1
MAX_BYTES = 4 << 30
MAX_HEADER_BYTES = 64 << 20

# Column -> dtype and the shape after the rows; "k" stands for the number of keypoints.
_PEOPLE_COLUMNS: Mapping[str, tuple[str, tuple[int | str, ...]]] = {
    "frame": ("<i4", ()),
    "track": ("<i4", ()),
    "boxes": ("<f4", (4,)),
    "scores": ("<f4", ()),
    "keypoints": ("<f4", ("k", 2)),
    "confidence": ("<f4", ("k",)),
}
_FRAME_COLUMNS: Mapping[str, tuple[str, tuple[int | str, ...]]] = {"times": ("<f8", ()), "sizes": ("<i4", (2,))}


def _frozen(values: object, dtype: str, tail: tuple[int | str, ...], name: str) -> np.ndarray:
    """A read-only view (a copy only if dtype or layout ask for one) of `values`, whose shape must be (rows, *tail)."""
    array = np.ascontiguousarray(values, dtype=dtype).view()
    fits = array.ndim == 1 + len(tail) and all(t == "k" or t == s for t, s in zip(tail, array.shape[1:], strict=False))
    if not fits:
        raise VitruvianError(f"{name} needs the shape {('rows', *tail)}, got {array.shape}; reshape it")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class People:
    """N rows, each one person in one frame, as parallel read-only arrays.

    frame: (N,) int32, index into the take's times. track: (N,) int32 person id that lasts over frames, -1 where not tracked.
    boxes: (N, 4) float32 xyxy pixels. scores: (N,) float32, the detection's confidence.
    keypoints: (N, K, 2) float32 pixels, NaN where missing. confidence: (N, K) float32 in [0, 1].
    Values of other types are converted. Raises VitruvianError where shapes don't fit each other.
    """

    frame: Int[np.ndarray, " n"]
    track: Int[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "n k 2"]
    confidence: Float[np.ndarray, "n k"]

    def __post_init__(self) -> None:
        for name, (dtype, tail) in _PEOPLE_COLUMNS.items():
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype, tail, f"People.{name}"))
        lengths = {name: len(getattr(self, name)) for name in _PEOPLE_COLUMNS}
        if len(set(lengths.values())) > 1:
            raise VitruvianError(f"the columns of People differ in length: {lengths}; give one row per person and frame")
        if self.keypoints.shape[:2] != self.confidence.shape:
            raise VitruvianError(f"keypoints {self.keypoints.shape} and confidence {self.confidence.shape} differ in their points")

    @classmethod
    def empty(cls, k: int) -> People:
        """No people, with K = `k` keypoints."""
        return cls(*(np.zeros((0, *(k if t == "k" else t for t in tail)), dtype) for dtype, tail in _PEOPLE_COLUMNS.values()))

    @classmethod
    def concatenate(cls, several: Sequence[People]) -> People:
        """The rows of all, in order. Raises VitruvianError for an empty list (K is unknown, see `empty`) or differing K."""
        if not several:
            raise VitruvianError("nothing to concatenate; use People.empty(k) for no people")
        if len({people.keypoints.shape[1] for people in several}) > 1:
            raise VitruvianError("these people have different keypoint sets; convert them to one first")
        return cls(*(np.concatenate([getattr(people, name) for people in several]) for name in _PEOPLE_COLUMNS))

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self.frame)

    def __getitem__(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"] | slice | Sequence[int]) -> People:
        """The chosen rows: a boolean mask, a slice, or an array of indices (an int alone is not a choice of rows)."""
        if isinstance(rows, (int, np.integer)):
            raise VitruvianError(f"people[{rows}] is not a choice of rows; use people[{rows}:{rows + 1}]")
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows.astype(np.intp) if rows.size == 0 and rows.dtype != bool else rows
        return People(*(getattr(self, name)[rows] for name in _PEOPLE_COLUMNS))

    def at(self, frame: int) -> People:
        """The people in one frame."""
        return self[self.frame == frame]

    def of(self, track: int) -> People:
        """The rows of one tracked person."""
        return self[self.track == track]


@dataclass(frozen=True, eq=False)
class Take:
    """What a capture found: people in frames, and where both came from.

    people: the rows. skeleton: their keypoint set. times: (F,) float64 seconds, one per frame.
    sizes: (F, 2) int32 (width, height) pixels, zero where unknown. names: one file name per frame (pictures), or a single one (video).
    source: what was asked for. cards: ids of the networks. version: of the package that made it.
    complete: False where the capture was stopped early.
    Raises VitruvianError where these don't fit each other.
    """

    people: People
    skeleton: Skeleton
    times: Float[np.ndarray, " f"]
    sizes: Int[np.ndarray, "f 2"]
    names: tuple[str, ...] = ()
    source: str = ""
    cards: tuple[str, ...] = ()
    version: str = __version__
    complete: bool = True

    def __post_init__(self) -> None:
        for name, (dtype, tail) in _FRAME_COLUMNS.items():
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype, tail, f"Take.{name}"))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "cards", tuple(self.cards))
        problem = _problem(self)
        if problem:
            raise VitruvianError(f"this take does not hold together: {problem}")

    @property
    def keypoints(self) -> Float[np.ndarray, "n k 2"]:
        """Keypoints of every row in pixels, NaN where missing."""
        return self.people.keypoints

    @property
    def confidence(self) -> Float[np.ndarray, "n k"]:
        """Confidence of every keypoint in [0, 1]."""
        return self.people.confidence

    @property
    def boxes(self) -> Float[np.ndarray, "n 4"]:
        """Boxes of every row, xyxy pixels."""
        return self.people.boxes

    @property
    def tracks(self) -> Int[np.ndarray, " t"]:
        """The ids of the tracked persons, each once, ascending (without the -1 of rows that are not tracked)."""
        ids = np.unique(self.people.track)
        return ids[ids >= 0]

    def name_of(self, frame: int) -> str:
        """The file name that a frame comes from, empty where unknown."""
        if len(self.names) == len(self.times):
            return self.names[frame]
        return self.names[0] if self.names else ""

    def by_frame(self) -> Iterator[People]:
        """The people of each frame in turn, F times, empty ones included."""
        order = np.argsort(self.people.frame, kind="stable")
        bounds = np.searchsorted(self.people.frame[order], np.arange(len(self.times) + 1))
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            yield self.people[order[start:stop]]

    def subset(self, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"] | slice) -> Take:
        """The same take with only the chosen rows of people; the frames stay."""
        return replace(self, people=self.people[rows])

    def save(self, path: str | Path) -> None:
        """Write the take to `path` as one .npz, whole or not at all.

        Raises FormatError if the path can't be written or the keypoint set is not one of `vitruvian.skeletons`.
        """
        known = SKELETONS.get(self.skeleton.name)
        if known is None or known.names != self.skeleton.names:
            raise FormatError(f"a take file can't hold the keypoint set {self.skeleton.name!r}; convert to one of vitruvian.skeletons")
        header = np.frombuffer(json.dumps(_header(self)).encode(), np.uint8)
        columns = {name: getattr(self, name) for name in _FRAME_COLUMNS} | {name: getattr(self.people, name) for name in _PEOPLE_COLUMNS}
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, header=header, **columns)

    @classmethod
    def load(cls, path: str | Path, max_bytes: int = MAX_BYTES) -> Take:
        """Read a take file. No more than `max_bytes` of memory are taken for its arrays.

        Raises FormatError if the file is missing, truncated, too large, of a newer format, or not a take.
        """
        path = Path(path)
        try:
            with zipfile.ZipFile(path) as archive:
                _check_members(archive, path, max_bytes)
                header = _parse_header(_read_column(archive, "header", "|u1", (), 0).tobytes(), path)
                size = len(SKELETONS[header["skeleton"]])
                columns = {name: _read_column(archive, name, *spec, size) for name, spec in (_FRAME_COLUMNS | _PEOPLE_COLUMNS).items()}
            people = People(*(columns[name] for name in _PEOPLE_COLUMNS))
            keys = ("names", "source", "cards", "complete")
            frames = {name: columns[name] for name in _FRAME_COLUMNS}
            skeleton = SKELETONS[header["skeleton"]]
            return cls(people, skeleton, **frames, **{key: header[key] for key in keys}, version=header["package_version"])
        except OSError as error:
            raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise FormatError(f"{path} is not a whole take file ({error}); capture again or restore it") from error
        except FormatError:
            raise
        except VitruvianError as error:
            raise FormatError(f"{path}: {error}") from error

    def export(self, path: str | Path) -> None:
        """Write the take in the format that the suffix names: .npz (the take itself) or .json (COCO style).

        Raises FormatError for another suffix or if the path can't be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".npz":
            self.save(path)
        elif suffix == ".json":
            from vitruvian.formats.coco import write_coco

            write_coco(self, path)
        else:
            raise FormatError(f"no export to {suffix or 'a file without suffix'!r}; use .npz or .json")


def _problem(take: Take) -> str | None:
    """The first contradiction in a take, in words, or None."""
    frames = len(take.times)
    if len(take.sizes) != frames:
        return f"{frames} times but {len(take.sizes)} sizes; give one of each per frame"
    if take.people.keypoints.shape[1] != len(take.skeleton):
        return f"{take.people.keypoints.shape[1]} keypoints where {take.skeleton.name} has {len(take.skeleton)}"
    if len(take.names) not in (0, 1, frames):
        return f"{len(take.names)} names for {frames} frames; give one per frame, or a single one"
    if len(take.people) and not (take.people.frame.min() >= 0 and take.people.frame.max() < frames):
        return f"people in frames outside 0..{frames - 1}"
    if not np.isfinite(take.times).all():
        return "a time is not a finite number of seconds"
    if (take.sizes < 0).any():
        return "a frame has a negative size"
    return None


def _header(take: Take) -> dict[str, object]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": take.version,
        "skeleton": take.skeleton.name,
        "keypoint_names": take.skeleton.names,
        "names": take.names,
        "source": take.source,
        "cards": take.cards,
        "complete": take.complete,
    }


def _check_members(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> None:
    """Refuse an archive with other members than a take's, or one that would unpack to too much."""
    expected = {f"{name}.npy" for name in ("header", *_FRAME_COLUMNS, *_PEOPLE_COLUMNS)}
    found = archive.infolist()
    if len(found) != len(expected) or {member.filename for member in found} != expected:
        raise FormatError(f"{path} does not have the columns of a take; only files that Take.save wrote can be loaded")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in found):
        raise FormatError(f"{path} is packed in a way that takes are not; only files that Take.save wrote can be loaded")
    if sum(member.file_size for member in found) > max_bytes:
        raise FormatError(f"{path} unpacks to more than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    if archive.getinfo("header.npy").file_size > MAX_HEADER_BYTES:
        raise FormatError(f"{path} has a header of more than {MAX_HEADER_BYTES} bytes; it is no take file")


def _read_column(archive: zipfile.ZipFile, name: str, dtype: str, tail: tuple[int | str, ...], k: int) -> np.ndarray:
    """One .npy member, whose dtype and shape (rows, *tail) are checked before its data are read.

    numpy's own reader would allocate whatever shape the file claims.
    """
    shape_tail = tuple(k if t == "k" else t for t in tail)
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        shape, fortran, found = _npy_header(file)
        if found != np.dtype(dtype) or len(shape) != 1 + len(tail) or shape[1:] != shape_tail or shape[0] < 0:
            raise FormatError(f"column {name!r} is {found} {shape} where a take has {dtype} {('rows', *shape_tail)}; the file is damaged")
        count = math.prod(shape) * found.itemsize
        if count > member.file_size:
            raise FormatError(f"column {name!r} claims {count} bytes but the file has fewer; it is damaged")
        data = file.read()  # to the end: zipfile compares the checksum only there
    if len(data) != count:
        raise FormatError(f"column {name!r} has {len(data)} bytes instead of {count}; the file is damaged")
    return np.frombuffer(data, found).reshape(shape, order="F" if fortran else "C")


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and dtype. Raises ValueError for anything but a .npy of version 1 or 2."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f".npy version {version}")
    try:
        return readers[version](file)
    except (SyntaxError, tokenize.TokenError, TypeError, MemoryError, RecursionError) as error:  # numpy parses the text as Python
        raise ValueError("unreadable .npy header") from error


def _parse_header(text: bytes, path: Path) -> dict:
    """The header's fields, checked. Raises FormatError (or ValueError for text that is no JSON)."""
    try:
        header = json.loads(text)
    except RecursionError as error:
        raise ValueError("header nested too deep") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FormatError(f"{path} is not a take file; only files that Take.save wrote can be loaded")
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        raise FormatError(f"{path} has take format {version!r}, this package reads {FORMAT_VERSION}; update vitruvian")
    kinds = {"package_version": str, "skeleton": str, "keypoint_names": list, "names": list, "source": str, "cards": list, "complete": bool}
    wrong = [key for key, kind in kinds.items() if not isinstance(header.get(key), kind)]
    wrong += [key for key in ("names", "cards") if key not in wrong and not all(isinstance(text, str) for text in header[key])]
    if wrong:
        raise FormatError(f"{path}: the header's {', '.join(wrong)} are missing or of the wrong kind; the file is damaged")
    skeleton = SKELETONS.get(header["skeleton"])
    if skeleton is None or list(skeleton.names) != header["keypoint_names"]:
        raise FormatError(f"{path} uses the keypoint set {header['skeleton']!r}, which this package lacks; update vitruvian")
    return header
