"""Meshes as OBJ (text) and PLY (binary), one file or one per frame: what sculpting and scanning programs read.

Metres; sequences are written y up. OBJ: "v", "vt" and "f" lines, other statements are skipped on reading. PLY: 1.0, written little-endian
with float32 positions, perhaps uint8 colours, and triangles; any byte order, text, property types and polygons are read.
Sources: the OBJ document of Wavefront's Advanced Visualizer, appendix B1; "The PLY Polygon File Format", Turk, 1994.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian._files import written_whole
from vitruvian.body.model import BodyModel
from vitruvian.errors import FormatError
from vitruvian.formats.body_figure import take_bodies
from vitruvian.formats.figures import CAMERA_TO_WORLD
from vitruvian.formats.text import MAX_BYTES, numbers, read_text
from vitruvian.take import Take

_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
_TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"}
_BATCH = 32  # frames posed at a time


def write_obj(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    path: str | Path,
    uv: Float[np.ndarray, "t 2"] | None = None,
    uv_faces: Int[np.ndarray, "f 3"] | None = None,
) -> None:
    """Write a mesh as OBJ, six decimals (a micrometre), with texture coordinates if given (v up).

    Raises FormatError if it can't be written.
    """
    _check(vertices, path)
    text = _lines("v %.6f %.6f %.6f\n", vertices)
    corners = np.asarray(faces) + 1
    if uv is not None and uv_faces is not None:
        text += _lines("vt %.6f %.6f\n", uv)
        text += _lines("f %d/%d %d/%d %d/%d\n", np.stack([corners, np.asarray(uv_faces) + 1], axis=-1).reshape(-1, 6))
    else:
        text += _lines("f %d %d %d\n", corners)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="ascii", newline="\n")


def write_ply(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], path: str | Path, colors: UInt8[np.ndarray, "v 3"] | None = None
) -> None:
    """Write a mesh as binary PLY, float32, with a colour (RGB) per vertex if given. Raises FormatError if it can't be written."""
    _check(vertices, path)
    fields = [(name, "<f4") for name in "xyz"] + ([(name, "u1") for name in ("red", "green", "blue")] if colors is not None else [])
    columns = [*np.asarray(vertices).T, *(np.asarray(colors).T if colors is not None else ())]
    points, triangles = np.empty(len(vertices), fields), np.empty(len(faces), [("n", "u1"), ("corners", "<i4", 3)])
    for (name, _), column in zip(fields, columns, strict=True):
        points[name] = column
    triangles["n"], triangles["corners"] = 3, faces
    properties = "".join(f"property {'float' if kind == '<f4' else 'uchar'} {name}\n" for name, kind in fields)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}"
    header += f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    with written_whole(path) as temporary:
        temporary.write_bytes(header.encode() + points.tobytes() + triangles.tobytes())


def write_mesh(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], path: str | Path) -> None:
    """Write a mesh in the format that the suffix names, .obj or .ply. Raises FormatError for another suffix or if it can't be written."""
    writers = {".obj": write_obj, ".ply": write_ply}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise FormatError(f"no mesh is written to {suffix or 'a file without suffix'!r}; use .obj or .ply")
    writers[suffix](vertices, faces, path)


def write_mesh_sequence(
    frames: Iterable[Float[np.ndarray, "v 3"]], faces: Int[np.ndarray, "f 3"], folder: str | Path, suffix: str = ".ply", first: int = 0
) -> list[Path]:
    """Write one file per frame into `folder`, numbered by the frame from `first` on (000000.ply), and return their paths.

    A frame with a vertex that is not finite has no file. Raises FormatError if one can't be written.
    """
    paths = []
    for frame, vertices in enumerate(frames, start=first):
        if np.isfinite(vertices).all():
            paths.append(Path(folder) / f"{frame:06d}{suffix}")
            write_mesh(vertices, faces, paths[-1])
    return paths


def write_take_meshes(take: Take, model: BodyModel, folder: str | Path, suffix: str = ".ply") -> list[Path]:
    """Write every person's posed mesh: FOLDER/person_007/000012.ply is track 7 in frame 12. With all that the model knows, correctives too.

    Bodies in the camera's frame are turned upright. Raises FormatError if the take has no bodies or they are of another model.
    """
    paths = []
    turn = CAMERA_TO_WORLD.astype(np.float32) if take.space == "camera" else np.eye(3, dtype=np.float32)
    for name, rows, bodies in take_bodies(take, model):
        for start in range(0, len(rows), _BATCH):
            part = bodies[start : start + _BATCH]
            posed = model.forward(part.pose, part.shape, part.expression, part.translation).vertices @ turn.T
            for frame, vertices in zip(take.people.frame[rows[start : start + _BATCH]], posed, strict=True):
                paths += write_mesh_sequence([vertices], model.faces, Path(folder) / name, suffix, int(frame))
    return paths


def read_obj(path: str | Path, max_bytes: int = MAX_BYTES) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Vertices and triangles of an OBJ file; polygons are cut into fans, texture, normals and groups are left out.

    Raises FormatError if the file is missing, larger than `max_bytes`, or damaged.
    """
    path = Path(path)
    points, polygons = [], []
    for line in read_text(path, max_bytes).splitlines():
        kind, *cells = line.split() or [""]
        if kind == "v":
            points.append(cells[:3])
        elif kind == "f":
            polygons.append([_corner(cell, len(points), path) for cell in cells])
    if any(len(cells) != 3 for cells in points):
        raise FormatError(f"{path} has a vertex of fewer than three coordinates; the file is damaged")
    vertices = numbers([cell for cells in points for cell in cells], str(path)).reshape(-1, 3)
    return vertices, _triangles(polygons, len(vertices), path)


def read_ply(
    path: str | Path, max_bytes: int = MAX_BYTES
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"], UInt8[np.ndarray, "v 3"] | None]:
    """Vertices, triangles and colours (None without) of a PLY file, text or binary. A point cloud has no triangles.

    Raises FormatError if the file is missing, larger than `max_bytes`, or damaged.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    if len(data) > max_bytes:
        raise FormatError(f"{path} is larger than {max_bytes} bytes; pass a larger max_bytes if you trust it")
    order, elements, at = _ply_header(data, path)
    vertices, colors, polygons = np.zeros((0, 3)), None, []
    cells = data[at:].split() if order == "" else []
    for name, count, properties in elements:
        try:
            if order == "":
                columns, taken = _text_element(cells, count, properties)
                cells = cells[taken:]
            else:
                columns, at = _binary_element(data, at, count, properties, order)
        except (ValueError, OverflowError, IndexError) as error:
            raise FormatError(f"{path} holds fewer or other {name} elements than it promises; the file is damaged") from error
        if name == "vertex":
            if not {"x", "y", "z"} <= columns.keys():
                raise FormatError(f"{path} has vertices without x, y and z; it is no mesh")
            vertices = np.stack([np.asarray(columns[axis], np.float64) for axis in "xyz"], axis=-1)
            if {"red", "green", "blue"} <= columns.keys():
                colors = np.stack([np.asarray(columns[channel]) for channel in ("red", "green", "blue")], axis=-1).astype(np.uint8)
        elif name == "face":
            polygons = columns.get("vertex_indices", columns.get("vertex_index", []))
    return vertices, _triangles(polygons, len(vertices), path), colors


_Property = tuple[str, str, str]  # name, type, type of its count ("" for a single value)


def _ply_header(data: bytes, path: Path) -> tuple[str, list[tuple[str, int, list[_Property]]], int]:
    """Byte order ("<", ">", "" for text), the elements with their properties, and where the values begin."""
    end = data.find(b"end_header", 0, 1 << 16)
    if not data.startswith(b"ply") or end < 0:
        raise FormatError(f"{path} does not begin as a PLY file does; check what it is")
    order, elements = None, []
    for words in (line.split() for line in data[:end].decode("ascii", errors="replace").splitlines()):
        match words:
            case ["format", kind, _]:
                order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}.get(kind)
            case ["element", name, count] if count.isdecimal() and int(count) <= len(data):  # each takes a byte at least
                elements.append((name, int(count), []))
            case ["property", "list", counts, kind, name] if elements and counts in _TYPES and kind in _TYPES:
                elements[-1][2].append((name, _TYPES[kind], _TYPES[counts]))
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1][2].append((name, _TYPES[kind], ""))
            case ["ply"] | ["comment", *_] | ["obj_info", *_] | []:
                pass
            case _:
                raise FormatError(f"{path}: {' '.join(words)[:60]!r} has no place in a PLY header; the file is damaged")
    line_end = data.find(b"\n", end)
    if order is None or line_end < 0 or any(not properties for _, count, properties in elements if count):
        raise FormatError(f"{path} has an incomplete PLY header; the file is damaged")
    return order, elements, line_end + 1


def _binary_element(data: bytes, at: int, count: int, properties: Sequence[_Property], order: str) -> tuple[dict[str, Sequence], int]:
    """The columns of an element, and where the next one begins. Lists of one length are read at once, others one by one."""
    lengths, place = [], at
    for _, kind, counts in properties:  # the lengths of the lists of the first row, taken for those of all rows
        if counts and count:
            lengths.append(int(np.frombuffer(data, order + counts, 1, place)[0]))
            place += np.dtype(counts).itemsize + lengths[-1] * np.dtype(kind).itemsize
        else:
            place += np.dtype(kind).itemsize
    fields, rest = [], iter(lengths)
    for i, (_, kind, counts) in enumerate(properties):
        length = next(rest, 0) if counts else 0
        fields += [(f"n{i}", order + counts), (f"v{i}", order + kind, (length,))] if counts else [(f"v{i}", order + kind)]
    table = np.dtype(fields)
    if at + count * table.itemsize <= len(data):
        rows = np.frombuffer(data, table, count, at)
        lists = [i for i, (_, _, counts) in enumerate(properties) if counts]
        if all((rows[f"n{i}"] == length).all() for i, length in zip(lists, lengths, strict=False)):
            return {name: rows[f"v{i}"] for i, (name, _, _) in enumerate(properties)}, at + count * table.itemsize
    columns: dict[str, list] = {name: [] for name, _, _ in properties}
    for _ in range(count):
        for name, kind, counts in properties:
            number = int(np.frombuffer(data, order + counts, 1, at)[0]) if counts else 1
            at += np.dtype(counts).itemsize if counts else 0
            values = np.frombuffer(data, order + kind, number, at)
            at += values.nbytes
            columns[name].append(values if counts else values[0])
    return columns, at


def _text_element(cells: Sequence[bytes], count: int, properties: Sequence[_Property]) -> tuple[dict[str, Sequence], int]:
    """The columns of an element, and how many cells it takes."""
    if not any(counts for _, _, counts in properties):
        table = np.array(cells[: count * len(properties)], np.float64).reshape(count, len(properties))
        return {name: table[:, i] for i, (name, _, _) in enumerate(properties)}, table.size
    columns: dict[str, list] = {name: [] for name, _, _ in properties}
    at = 0
    for _ in range(count):
        for name, _, counts in properties:
            number, at = (int(cells[at]), at + 1) if counts else (1, at)
            values = [float(cell) for cell in cells[at : at + number]]
            if len(values) != number or number < 0:
                raise ValueError("too few cells")
            columns[name].append(values if counts else values[0])
            at += number
    return columns, at


def _corner(cell: str, count: int, path: Path) -> int:
    """A corner of an OBJ face, "vertex/texture/normal", from 1 on, or from the end if negative."""
    try:
        index = int(cell.partition("/")[0])
    except ValueError as error:
        raise FormatError(f"{path} has a face with the corner {cell[:40]!r}; the file is damaged") from error
    return index - 1 if index > 0 else count + index


def _triangles(polygons: Sequence[Sequence[float]], count: int, path: Path) -> Int[np.ndarray, "f 3"]:
    """Polygons as fans of triangles, checked; those of fewer than three corners are left out."""
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2 and polygons.shape[1] >= 3:
        fans = np.stack(
            [np.stack([polygons[:, 0], polygons[:, i], polygons[:, i + 1]], axis=-1) for i in range(1, polygons.shape[1] - 1)], axis=1
        )
        faces = fans.reshape(-1, 3).astype(np.int64)
    else:
        fans = [(polygon[0], polygon[i], polygon[i + 1]) for polygon in polygons for i in range(1, len(polygon) - 1)]
        faces = np.array(fans, np.float64).reshape(-1, 3).astype(np.int64)
    if faces.size and not 0 <= faces.min() <= faces.max() < count:
        raise FormatError(f"{path} has faces with vertices that it does not hold; the file is damaged")
    return faces.astype(np.int32)


def _lines(pattern: str, values: np.ndarray) -> str:
    return (pattern * len(values)) % tuple(np.asarray(values).ravel().tolist())


def _check(vertices: np.ndarray, path: str | Path) -> None:
    if np.ndim(vertices) != 2 or np.shape(vertices)[1] != 3 or not np.isfinite(vertices).all():
        raise FormatError(f"{path} would hold vertices that are not (V, 3) finite numbers; leave this mesh out")
