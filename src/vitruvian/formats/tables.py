"""CSV and Parquet: one row per person and frame, one column per number, units in the column names. Made for pandas.

Wide, not long: a row is a row of `People`, so boxes and scores stand once, and `df.plot("time_s", "left_wrist_y_px")` needs no pivot.
(Long instead: `df.melt(["frame", "time_s", "track"])`.) A frame without people has one row whose person cells are empty, so that the
time axis is whole; `df.dropna(subset=["score"])` drops those.

    frame, time_s, file, width_px, height_px      of the frame; file is the picture's or the video's name
    track, score, box_left_px ... box_bottom_px   of the person; track -1 where not tracked
    NAME_x_px, NAME_y_px, NAME_confidence         for every keypoint
    NAME_SPACE_x_m, ..._y_m, ..._z_m              points; SPACE is camera (x right, y down, z forward) or world (y up)
    heading_rad, PART_box_left_px ...             orientation and boxes of parts
    body_pose_J_x_rad ..., body_shape_I, body_expression_I, body_translation_x_m ...

CSV rounds pixels to three decimals, confidences and scores to four, metres and radians to six, times to nine; it has no place for
source, networks, the field of view and the body model's name. Parquet keeps all, these in the file's metadata (key `vitruvian`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, MissingExtraError
from vitruvian.formats.lens import lens_of, read_lens
from vitruvian.formats.text import FAR, MAX_BYTES, numbers, read_text
from vitruvian.skeletons import SKELETONS, Skeleton
from vitruvian.skeletons.table import from_names, from_table, table_of
from vitruvian.take import PARTS, People, Space, Take

MAX_CELLS = 1 << 28
_BOX = ("left", "top", "right", "bottom")
_XYZ = ("x", "y", "z")
_FRAME = ("frame", "time_s", "width_px", "height_px")
_META = b"vitruvian"
_KNOWN = re.compile(r".+_(px|m|rad|confidence)|score|track|frame|time_s|body_(shape|expression)_\d+")  # what can be a take's column


def write_csv(take: Take, path: str | Path) -> None:
    """Write a take as CSV with a header line, UTF-8. Raises FormatError if the path can't be written."""
    columns, files = _columns(take)
    decimals = [_decimals(name) for name in columns]
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", *columns])
        for name, row in zip(files, np.column_stack(list(columns.values())).tolist(), strict=True):
            writer.writerow([name, *("" if value != value else f"{value:.{d}f}" for value, d in zip(row, decimals, strict=True))])


def read_csv(path: str | Path, skeleton: Skeleton | None = None, max_bytes: int = MAX_BYTES) -> Take:
    """Read a CSV file of this layout, its columns in any order; other columns are passed over.

    The keypoint set is the built-in one whose names the columns have, else one of these names alone; or `skeleton`. Frames are numbered
    anew in their order, so rows may have been left out. Raises FormatError if the file is missing, larger than `max_bytes`, or not of
    this layout.
    """
    path = Path(path)
    try:
        reader = csv.reader(io.StringIO(read_text(path, max_bytes), newline=""), strict=True)
        header = next(reader, [])
        known = [n for n, name in enumerate(header) if _KNOWN.fullmatch(name)]
        at_file = header.index("file") if "file" in header else None
        values, files = [], []
        for row in filter(None, reader):
            if len(row) != len(header):
                raise FormatError(
                    f"{path}, line {reader.line_num}: {len(row)} cells where the header has {len(header)}; the file is damaged"
                )
            values.append(numbers([row[n] for n in known], f"{path}, line {reader.line_num}"))
            files.append("" if at_file is None else row[at_file])
    except csv.Error as error:
        raise FormatError(f"{path} is no readable CSV file ({error}); write it again") from error
    if len(set(header)) < len(header):
        raise FormatError(f"{path} has a column twice; the file is damaged")
    table = np.array(values).reshape(len(values), len(known))
    return _take({header[n]: table[:, i] for i, n in enumerate(known)}, files, path, skeleton, {})


def write_parquet(take: Take, path: str | Path) -> None:
    """Write a take as Parquet: float64 times, int32 counts (null where a frame has no people), float32 for the rest, zstd.

    Raises MissingExtraError without pyarrow, FormatError if the path can't be written.
    """
    arrow, parquet = _pyarrow()
    columns, files = _columns(take)
    arrays = {"file": arrow.array([name.encode(errors="replace").decode() for name in files], arrow.string())}
    for name, values in columns.items():
        kind = arrow.float64() if name == "time_s" else arrow.int32() if name in (*_FRAME, "track") else arrow.float32()
        # Null, not NaN, where there is no value: pandas shows both alike, databases do not.
        arrays[name] = arrow.array(values, mask=np.isnan(values)).cast(kind)
    meta = {key: getattr(take, key) for key in ("source", "cards", "version", "complete", "body", "space")}
    meta |= {"skeleton": take.skeleton.name, "keypoint_set": table_of(take.skeleton), "names": take.names} | lens_of(take)
    table = arrow.table(arrays).replace_schema_metadata({_META: json.dumps(meta).encode()})
    with written_whole(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def read_parquet(path: str | Path, skeleton: Skeleton | None = None) -> Take:
    """Read a Parquet file of this layout; see `read_csv`.

    Raises MissingExtraError without pyarrow, FormatError if the file is missing, not of this layout, or has more than MAX_CELLS cells.
    """
    arrow, parquet = _pyarrow()
    path = Path(path)
    try:
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows * file.metadata.num_columns > MAX_CELLS:
                raise FormatError(f"{path} has more than {MAX_CELLS} cells; split it")
            header = file.schema_arrow.names
            known = [name for name in header if _KNOWN.fullmatch(name) and header.count(name) == 1]
            table = file.read([*known, *(["file"] if "file" in header else [])])
            meta = _meta(file.schema_arrow.metadata)
        columns = {name: table[name].cast(arrow.float64()).to_numpy().astype(np.float64) for name in known}
        files = ["" if name is None else str(name) for name in table["file"].to_pylist()] if "file" in header else [""] * table.num_rows
    except (arrow.ArrowException, OSError, ValueError, TypeError) as error:
        raise FormatError(f"{path} is no readable Parquet file ({str(error).splitlines()[0][:120]}); write it again") from error
    for name, values in columns.items():
        if (np.abs(values) > FAR).any():
            raise FormatError(f"{path}, {name}: a number is larger than {FAR:g}; the file is damaged")
    return _take(columns, files, path, skeleton, meta)


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Parquet needs pyarrow: pip install 'vitruvian[tables]', or use .csv") from error
    return pyarrow, pyarrow.parquet


def _meta(metadata: Mapping[bytes, bytes] | None) -> dict:
    """What write_parquet left in the metadata, {} where that is missing or odd."""
    try:
        meta = json.loads((metadata or {}).get(_META, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}


def _columns(take: Take) -> tuple[dict[str, Float[np.ndarray, " r"]], list[str]]:
    """The columns but `file`, as float64 with NaN for empty cells, and the names of the rows' frames."""
    order = np.argsort(take.people.frame, kind="stable")
    empty = np.setdiff1d(np.arange(len(take.times)), take.people.frame)
    frame = np.concatenate([take.people.frame[order], empty])
    rank = np.argsort(frame, kind="stable")
    frame = frame[rank]
    columns = {"frame": frame, "time_s": take.times[frame], "width_px": take.sizes[frame, 0], "height_px": take.sizes[frame, 1]}
    for name, names in _people_columns(take.people, take.skeleton, take.space).items():
        values = getattr(take.people, name)[order].reshape(len(order), len(names)).astype(np.float64)
        values = np.concatenate([values, np.full((len(empty), values.shape[1]), np.nan)])[rank]
        columns |= dict(zip(names, values.T, strict=True))
    return {name: np.asarray(values, np.float64) for name, values in columns.items()}, [take.name_of(int(i)) for i in frame]


def _people_columns(people: People, skeleton: Skeleton, space: Space) -> dict[str, list[str]]:
    """A column of People that is there -> the table's column names for its numbers, in the order of their memory."""
    lengths = {name: column.shape[1] if column.ndim > 1 else 1 for name, column in people.columns().items()}
    return {name: names for name, names in _layout(skeleton, space, lengths).items() if name in lengths and name != "frame"}


def _layout(skeleton: Skeleton, space: Space, lengths: Mapping[str, int]) -> dict[str, list[str]]:
    return {
        "track": ["track"],
        "scores": ["score"],
        "boxes": [f"box_{side}_px" for side in _BOX],
        "keypoints": [f"{name}_{axis}_px" for name in skeleton.names for axis in "xy"],
        "confidence": [f"{name}_confidence" for name in skeleton.names],
        "points": [f"{name}_{space}_{axis}_m" for name in skeleton.names for axis in _XYZ],
        "orientation": ["heading_rad"],
        "part_boxes": [f"{part}_box_{side}_px" for part in PARTS for side in _BOX],
        "body_pose": [f"body_pose_{j}_{axis}_rad" for j in range(lengths.get("body_pose", 0)) for axis in _XYZ],
        "body_shape": [f"body_shape_{i}" for i in range(lengths.get("body_shape", 0))],
        "body_expression": [f"body_expression_{i}" for i in range(lengths.get("body_expression", 0))],
        "body_translation": [f"body_translation_{axis}_m" for axis in _XYZ],
    }


def _take(columns: Mapping[str, Float[np.ndarray, " r"]], files: list[str], path: Path, skeleton: Skeleton | None, meta: dict) -> Take:
    missing = [name for name in (*_FRAME, "track", "score") if name not in columns]
    if missing:
        raise FormatError(f"{path} has no column {', '.join(missing)}; it is no table of a take")
    skeleton = _skeleton_of(columns, path, meta) if skeleton is None else skeleton
    for name in _FRAME:
        if np.isnan(columns[name]).any() or (name != "time_s" and (np.abs(columns[name]) >= 2**31).any()):
            raise FormatError(f"{path} has a {name} that is empty or too large; the file is damaged")
    _, first, frame = np.unique(columns["frame"], return_index=True, return_inverse=True)
    if (columns["width_px"] < 0).any() or (columns["height_px"] < 0).any():
        raise FormatError(f"{path} has a frame of negative size; the file is damaged")
    person = np.isfinite(columns["score"]) | np.isfinite(columns["track"])
    people, space = _people({name: values[person] for name, values in columns.items()}, frame[person], skeleton, path)
    names = tuple(files[row] for row in first)
    known = meta.get("names")
    if not isinstance(known, list) or len(known) not in (0, 1, len(first)) or not all(isinstance(name, str) for name in known):
        known = list(dict.fromkeys(names)) if len(set(names)) == 1 else names
        known = () if list(known) == [""] else known
    cards = meta.get("cards")
    texts = {key: meta[key] for key in ("source", "version", "body") if isinstance(meta.get(key), str)}
    return Take(
        people=people,
        skeleton=skeleton,
        times=columns["time_s"][first],
        sizes=np.stack([columns["width_px"][first], columns["height_px"][first]], axis=-1),
        names=tuple(known),
        cards=tuple(map(str, cards)) if isinstance(cards, list) else (),
        complete=meta.get("complete") is not False,
        space=space or (meta["space"] if meta.get("space") in get_args(Space) else ""),
        **texts,
        **read_lens(meta),
    )


def _people(columns: Mapping[str, Float[np.ndarray, " r"]], frame: np.ndarray, skeleton: Skeleton, path: Path) -> tuple[People, Space]:
    """The rows of people, and the frame that their points are named after."""
    space = next((space for space in get_args(Space) if space and f"{skeleton.names[0]}_{space}_x_m" in columns), "")
    lengths = {
        "body_pose": _count(columns, r"body_pose_(\d+)_x_rad"),
        "body_shape": _count(columns, r"body_shape_(\d+)"),
        "body_expression": _count(columns, r"body_expression_(\d+)"),
    }
    found: dict[str, np.ndarray] = {}
    shapes = {"boxes": (4,), "keypoints": (len(skeleton), 2), "confidence": (len(skeleton),), "points": (len(skeleton), 3)}
    shapes |= {"track": (), "scores": (), "orientation": (), "part_boxes": (len(PARTS), 4), "body_translation": (3,)}
    shapes |= {"body_pose": (lengths["body_pose"], 3), "body_shape": (lengths["body_shape"],)}
    shapes |= {"body_expression": (lengths["body_expression"],)}
    for name, names in _layout(skeleton, space, lengths).items():
        here = [column for column in names if column in columns]
        if not here and name not in ("boxes", "keypoints", "confidence"):
            continue
        if len(here) < len(names):
            lost = next(column for column in names if column not in columns)
            raise FormatError(f"{path} has no column {lost!r}; it is no table of a take, or of another keypoint set")
        found[name] = np.stack([columns[column] for column in names], axis=-1).reshape(len(frame), *shapes[name])
    found["confidence"] = np.clip(np.nan_to_num(found["confidence"]), 0, 1)
    track = np.nan_to_num(found["track"], nan=-1)
    if (np.abs(track) >= 2**31).any():
        raise FormatError(f"{path} has a track that is too large; the file is damaged")
    return People(frame=frame, **{**found, "track": track}), space


def _count(columns: Mapping[str, np.ndarray], pattern: str) -> int:
    """How many columns there are by a numbered name."""
    return sum(re.fullmatch(pattern, name) is not None for name in columns)


def _skeleton_of(columns: Mapping[str, np.ndarray], path: Path, meta: Mapping[str, object]) -> Skeleton:
    """The set that the file declares, else that of its columns: a built-in one in their order or in any, or one of its own."""
    named = tuple(name.removesuffix("_confidence") for name in columns if name.endswith("_confidence"))
    placed = {name.removesuffix("_x_px") for name in columns if name.endswith("_x_px")}
    if placed != set(named):
        lost = min(placed ^ set(named))
        raise FormatError(f"{path}: {lost!r} has no place or no confidence; it is no table of a take")
    same = [skeleton for skeleton in SKELETONS.values() if set(skeleton.names) == set(named)]
    try:
        if meta.get("keypoint_set"):
            return from_table(meta.get("skeleton"), meta["keypoint_set"])
        return same[0] if same and all(skeleton.names != named for skeleton in same) else from_names(named)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


def _decimals(column: str) -> int:
    if column in ("frame", "track", "width_px", "height_px"):
        return 0
    if column == "time_s":
        return 9
    if column.endswith("_px"):
        return 3
    return 4 if column == "score" or column.endswith("_confidence") else 6
