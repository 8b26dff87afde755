"""The body file: one .npz (arrays, no pickles) with `header`, a JSON document as uint8, that holds a whole `BodyModel`.

Published files are converted to it once; from then on nothing of theirs is executed or guessed. Nothing in a body file is trusted either:
types, sizes, shapes, numbers that are not finite and indices that lead nowhere are all errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vitruvian._files import written_whole
from vitruvian._npy import NpzFile
from vitruvian._version import __version__
from vitruvian.body.model import BodyModel, FaceLandmarks, HandSpace, Larynx, PhenotypeSpace, RestAlignment
from vitruvian.errors import FormatError

FORMAT = "vitruvian-body"
FORMAT_VERSION = 1
MAX_HEADER = 4 << 20

_ARRAYS = ("template", "weights", "joints", "shape_directions", "joint_shape_directions", "expression_directions")
_ARRAYS += ("joint_expression_directions", "shape_default")
_OPTIONAL = ("pose_directions", "joint_frames", "uv", "uv_faces")
_LANDMARKS = ("faces", "barycentric", "contour_faces", "contour_barycentric")
_TEXTS = {"name": str, "kind": str, "licence": str, "joint_names": list, "parents": list, "shape_names": list, "expression_names": list}


def save_body(model: BodyModel, path: str | Path) -> None:
    """Write a model, whole or not at all. Raises FormatError if the path can't be written."""
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "name": model.name,
        "kind": model.kind,
        "licence": model.licence,
        "joint_names": model.joint_names,
        "parents": model.parents,
        "shape_names": model.shape_names,
        "expression_names": model.expression_names,
        "notes": dict(model.notes),
        "hands": list(model.hands),
        "yaw_joint": None if model.landmarks is None else model.landmarks.yaw_joint,
        "local": None if model.phenotypes is None else model.phenotypes.num_local,
    }
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)} | _arrays(model)
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _arrays(model: BodyModel) -> dict[str, np.ndarray]:
    """Every array of a model by its name in the file."""
    arrays = {"faces": model.faces} | {name: getattr(model, name) for name in _ARRAYS}
    arrays |= {name: getattr(model, name) for name in _OPTIONAL if getattr(model, name) is not None}
    for block, hand in model.hands.items():
        arrays |= {f"{block}.components": hand.components, f"{block}.mean": hand.mean}
    if model.landmarks is not None:
        marks = {f"landmarks.{name}": getattr(model.landmarks, name) for name in _LANDMARKS}
        arrays |= {name: array for name, array in marks.items() if array is not None}
    if model.larynx is not None:
        arrays |= {f"larynx.{name}": getattr(model.larynx, name) for name in ("displacement", "uv", "direction")}
    if model.phenotypes is not None:
        space = model.phenotypes
        arrays |= {"phenotypes.targets": space.targets, "phenotypes.basis": space.basis}
        arrays |= {f"phenotypes.anchor{i}": anchor for i, anchor in enumerate(space.anchors)}
        arrays |= {f"phenotypes.fixed{i}": values for i, values in enumerate(space.fixed)}
    if model.rest_alignment is not None:
        arrays |= {f"rest.{name}": getattr(model.rest_alignment, name) for name in ("reference", "template", "directions")}
    return arrays


def read_body_file(path: str | Path) -> BodyModel:
    """Read a body file. Raises FormatError if it is missing, damaged, of a newer format, or no body file."""
    path = Path(path)
    file = NpzFile(path)
    try:
        header = _header(file)
        return _model(header, {name: _checked(name, file[name]) for name in file if name != "header"})
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise FormatError(f"{path} is not a whole body file ({error}); import the model again") from error


def read_body_header(path: str | Path) -> dict:
    """Name, kind, licence, names and notes of a body file, without its arrays. Raises FormatError as `read_body_file` does."""
    try:
        return _header(NpzFile(path))
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{path} is not a body file ({error}); import the model again") from error


def _header(file: NpzFile) -> dict:
    if "header" not in file:
        raise FormatError("it is not a body file: only files that `vitruvian body import` wrote are")
    data = file["header"]
    if data.dtype != np.uint8 or data.size > MAX_HEADER:
        raise FormatError("its header is no text: it is not a body file")
    try:
        header = json.loads(data.tobytes())
    except RecursionError as error:
        raise FormatError("its header is nested too deep: it is not a body file") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise FormatError("it is not a body file: only files that `vitruvian body import` wrote are")
    if header.get("format_version") != FORMAT_VERSION:
        raise FormatError(f"it has body format {header.get('format_version')!r}, this package reads {FORMAT_VERSION}; update vitruvian")
    for name, kind in _TEXTS.items():
        if not isinstance(header.get(name), kind):
            raise FormatError(f"its header has no {name}; import the model again")
    return header


def _checked(name: str, array: object) -> np.ndarray:
    """A finite float32 or an integer array."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fi":
        raise FormatError(f"{name} is not an array of numbers; import the model again")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FormatError(f"{name} has values that are not finite; import the model again")
    return array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else array


def _model(header: dict, arrays: Mapping[str, np.ndarray]) -> BodyModel:
    parts = {name: {key.removeprefix(f"{name}."): a for key, a in arrays.items() if key.startswith(f"{name}.")} for name in _groups(header)}
    hands = {str(block): HandSpace(parts[block]["components"], parts[block]["mean"]) for block in header.get("hands", [])}
    model = BodyModel(
        **{name: header[name] for name in ("name", "kind", "licence")},
        **{name: tuple(str(item) for item in header[name]) for name in ("joint_names", "shape_names", "expression_names")},
        parents=tuple(int(parent) for parent in header["parents"]),
        faces=arrays["faces"],
        **{name: arrays[name] for name in _ARRAYS},
        **{name: arrays.get(name) for name in _OPTIONAL},
        hands=hands,
        landmarks=_read_landmarks(parts["landmarks"], header),
        larynx=Larynx(**parts["larynx"]) if parts["larynx"] else None,
        phenotypes=_read_phenotypes(parts["phenotypes"], header),
        rest_alignment=RestAlignment(**parts["rest"]) if parts["rest"] else None,
        notes={str(key): str(value) for key, value in header.get("notes", {}).items()},
    )
    problem = _problem(model)
    if problem:
        raise FormatError(f"{problem}; import the model again")
    return model


def _groups(header: dict) -> list[str]:
    return ["landmarks", "larynx", "phenotypes", "rest", *map(str, header.get("hands", []))]


def _read_landmarks(arrays: Mapping[str, np.ndarray], header: dict) -> FaceLandmarks | None:
    return FaceLandmarks(*(arrays.get(name) for name in _LANDMARKS), yaw_joint=int(header["yaw_joint"])) if arrays else None


def _read_phenotypes(arrays: Mapping[str, np.ndarray], header: dict) -> PhenotypeSpace | None:
    if not arrays:
        return None
    several = lambda stem: tuple(arrays[f"{stem}{i}"] for i in range(sum(name.startswith(stem) for name in arrays)))  # noqa: E731
    return PhenotypeSpace(several("anchor"), several("fixed"), arrays["targets"], arrays["basis"], int(header["local"]))


def _problem(m: BodyModel) -> str | None:
    """The first thing that a model's parts contradict, beyond what BodyModel itself checks; or None."""
    k, j = len(m.shape_directions), m.num_joints
    for hand in m.hands.values():
        if hand.mean.shape != (45,) or hand.components.shape[1:] != (45,):
            return "a hand's components are not those of 15 joints"
    if (m.uv is None) != (m.uv_faces is None) or (m.uv is not None and not _within(m.uv_faces, len(m.uv))):
        return "the texture's coordinates and faces don't go together"
    if m.landmarks is not None and not (_landmarks_fit(m.landmarks, len(m.faces)) and 0 <= m.landmarks.yaw_joint < j):
        return "the landmarks are not points of the mesh"
    if m.larynx is not None and (m.larynx.uv.shape != (m.num_vertices, 2) or m.larynx.displacement.ndim != 2):
        return "the larynx does not fit the mesh"
    r = m.rest_alignment
    if r is not None and not (r.reference.shape == r.template.shape == (j, 3, 3) and r.directions.shape == (k, j, 3, 3)):
        return "the bones' orientations don't fit the joints"
    p = m.phenotypes
    if p is not None:
        columns = sum(len(a) for a in (*p.fixed, *p.anchors)) + 1
        sizes_fit = len(p.anchors) + p.num_local == m.num_shape and p.basis.shape == (len(p.targets), k - 2 * p.num_local)
        if not sizes_fit or p.targets.ndim != 2 or not _within(p.targets, columns) or min(map(len, p.anchors), default=2) < 2:
            return "the shape's parameters don't fit its directions"
    return None


def _within(index: np.ndarray, size: int) -> bool:
    return index.dtype.kind == "i" and not (index.size and not (0 <= int(index.min()) and int(index.max()) < size))


def _landmarks_fit(marks: FaceLandmarks, faces: int) -> bool:
    pairs = [(marks.faces, marks.barycentric)]
    if marks.contour_faces is not None and marks.contour_barycentric is not None:
        pairs.append((marks.contour_faces, marks.contour_barycentric))
        if len(marks.contour_faces) != 79:
            return False
    return all(_within(index, faces) and points.shape == (*index.shape, 3) for index, points in pairs)
