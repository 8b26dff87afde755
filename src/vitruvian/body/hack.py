"""HACK, the head and neck with eight cervical joints and a larynx (Zhang et al., SIGGRAPH 2023, arXiv 2305.04469), from a user's folder.

The published assets have no licence, so none of them is here. Card `hack` sections 4 and 9; what is not sure there is not sure here:
the file names of the templates, the layout of bones_neutral.json, and the unit, which is taken to be the centimetre.

| card | here |
|---|---|
| template + shape + expression + pose shapes | the model's directions; the root joint has no pose shapes |
| bones: L2P = [matrix, head + length of the parent], rotations in the bone's own frame | `joints` and `joint_frames` |
| larynx: a displacement map over uv, sliding and scaling | `points.larynx_offsets`, given to `forward` as offsets |

Metres, y up, facing +z. There is no root motion in HACK: `pose[:, 0]` turns the c7t1 joint, for the rest there is `move`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from vitruvian._files import read_json
from vitruvian._npy import read_npy
from vitruvian.body.model import BodyModel, Larynx
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.pickles import unpickle_body
from vitruvian.errors import FormatError

LICENCE = "HACK: no licence was published, so all rights are reserved (github.com/ZoneLikeWonderland/HACK-Model); ask its authors"
CENTIMETRE = 0.01
BONES_FILE = "bones_neutral.json"
MAX_TEXT = 64 << 20


@dataclass(frozen=True, eq=False)
class HackAssets:
    """The published arrays, in the published unit (about centimetres).

    template, uv: of the OBJ, uv per vertex with its origin at the bottom left, NaN where a vertex has none. weights: (8, V).
    larynx: the map in [0, 1], 256 x 256, and its direction. matrices, heads, lengths: of the bones, root first.
    shape_mean: S.npy's mean. shape: its directions, scaled by their standard deviation. expression: (55, V, 3). pose: (8, 3, 3, V, 3).
    """

    template: Float[np.ndarray, "v 3"]
    uv: Float[np.ndarray, "v 2"]
    faces: Int[np.ndarray, "f 3"]
    weights: Float[np.ndarray, "8 v"]
    larynx: Float[np.ndarray, "h w"]
    larynx_direction: Float[np.ndarray, " 3"]
    matrices: Float[np.ndarray, "8 3 3"]
    heads: Float[np.ndarray, "8 3"]
    lengths: Float[np.ndarray, " 8"]
    shape_mean: Float[np.ndarray, "v 3"]
    shape: Float[np.ndarray, "s v 3"]
    expression: Float[np.ndarray, "e v 3"]
    pose: Float[np.ndarray, "8 3 3 v 3"]


def hack_model(assets: HackAssets, template: Literal["mean", "obj"] = "mean", unit: float = CENTIMETRE) -> BodyModel:
    """The model of HACK's arrays.

    template: what shape parameters of zero mean: the mean of the identities, or the template of the OBJ (then there are no shape
    parameters). unit: metres per published unit; 1 keeps the published numbers.
    Raises FormatError where the arrays contradict each other.
    """
    a = assets
    vertices = len(a.template)
    if a.weights.shape != (8, vertices) or a.pose.shape != (8, 3, 3, vertices, 3) or a.uv.shape != (vertices, 2):
        raise FormatError(
            f"HACK's weights {a.weights.shape}, pose shapes {a.pose.shape} and template {a.template.shape} contradict each other"
        )
    places, frames = _rest_bones(a)
    if np.abs(frames @ frames.swapaxes(-1, -2) - np.eye(3)).max() > 1e-3:
        raise FormatError("HACK's bone matrices are not rotations: check bones_neutral.json")
    rest, shape = (a.shape_mean, a.shape) if template == "mean" else (a.template, a.shape[:0])
    single = lambda array, scale=1.0: np.ascontiguousarray(np.asarray(array, np.float64) * scale, np.float32)  # noqa: E731
    uv = np.where(np.isfinite(a.uv), a.uv * [2, -2] + [-1, 1], 2.0)
    return BodyModel(
        name="hack",
        kind="hack",
        licence=LICENCE,
        joint_names=JOINT_NAMES["hack"],
        parents=tuple(range(-1, 7)),
        faces=a.faces.astype(np.int32),
        template=single(rest, unit),
        weights=single((a.weights / a.weights.sum(0)).T),
        joints=single(places, unit),
        shape_directions=single(shape, unit),
        joint_shape_directions=np.zeros((len(shape), 8, 3), np.float32),  # the release keeps the bones of the template
        expression_directions=single(a.expression, unit),
        joint_expression_directions=np.zeros((len(a.expression), 8, 3), np.float32),
        shape_names=tuple(f"shape{i:03d}" for i in range(len(shape))),
        expression_names=tuple(f"expression{i:02d}" for i in range(len(a.expression))),
        shape_default=np.zeros(len(shape), np.float32),
        pose_directions=single(a.pose[1:].reshape(63, vertices, 3), unit),
        joint_frames=single(frames),
        larynx=Larynx(single(a.larynx), single(uv), single(a.larynx_direction, unit)),
        notes={"unit": f"{unit} m"},
    )


def _rest_bones(a: HackAssets) -> tuple[Float[np.ndarray, "8 3"], Float[np.ndarray, "8 3 3"]]:
    """Places and frames of the bones at rest: a bone's head counts from the tail of its parent, along the parent's y axis."""
    places, frames = [], []
    place, frame, length = np.zeros(3), np.eye(3), 0.0
    for bone in range(8):
        place = place + frame @ (a.heads[bone].astype(np.float64) + [0, length, 0])
        frame = frame @ a.matrices[bone].astype(np.float64)
        length = float(a.lengths[bone])
        places.append(place)
        frames.append(frame)
    return np.array(places), np.array(frames)


def is_hack(folder: Path) -> bool:
    """Whether a folder is HACK's model folder."""
    return (folder / BONES_FILE).is_file()


def read_hack(folder: str | Path, template: Literal["mean", "obj"] = "mean", unit: float = CENTIMETRE) -> BodyModel:
    """HACK from the published model folder: OBJ files, bones_neutral.json, weight_map_smooth, Lc_mid.png, ts_larynx, S, E or blendshape, P.

    With two OBJ files the one with "new" in its name gives the larynx's uv, as the published program has it.
    Raises FormatError (MediaError for the picture) where a file is missing or damaged.
    """
    from vitruvian.media.pictures import read_image

    folder = Path(folder)
    objects = sorted(folder.glob("*.obj"), key=lambda path: "new" not in path.name.lower())
    if not objects:
        raise FormatError(f"{folder} has no template (.obj): give HACK's model folder")
    template_vertices, uv, faces = read_obj(objects[0])
    matrices, heads, lengths = _read_bones(folder / BONES_FILE)
    shape_mean, shape = _read_basis(folder / "S.npy")
    if (folder / "E.npy").exists():
        expression = _read_basis(folder / "E.npy")[0]
    else:
        shapes = _numbers(read_npy(folder / "blendshape.npy"), "blendshape.npy", 3)
        expression = shapes[1:] - shapes[:1]
    assets = HackAssets(
        template=template_vertices,
        uv=uv,
        faces=faces,
        weights=_numbers(read_npy(folder / "weight_map_smooth.npy"), "weight_map_smooth.npy", 2),
        larynx=read_image(folder / "Lc_mid.png")[..., 0] / 255.0,
        larynx_direction=_numbers(read_npy(folder / "ts_larynx.npy"), "ts_larynx.npy", None).reshape(-1)[:3],
        matrices=matrices,
        heads=heads,
        lengths=lengths,
        shape_mean=shape_mean,
        shape=shape,
        expression=expression,
        pose=_read_basis(folder / "P.npy")[0],
    )
    return hack_model(assets, template, unit)


def _read_basis(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean and directions of one of the published PCA files: a pickled dictionary {mean, VT_std} in an .npy."""
    value = read_npy(path, unpickle_body)
    value = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if not isinstance(value, Mapping) or not isinstance(value.get("mean"), np.ndarray):
        raise FormatError(f"{path} does not hold a dictionary with a mean: give HACK's own file")
    mean = _numbers(value["mean"], path.name, None)
    directions = value.get("VT_std")
    if not isinstance(directions, np.ndarray):
        directions = np.zeros((0, *mean.shape))
    return mean, _numbers(directions, path.name, None).reshape(len(directions), *mean.shape)


def _numbers(value: object, name: str, axes: int | None) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or (axes is not None and value.ndim != axes):
        raise FormatError(f"{name} is not the array that HACK's folder has there: get the file again")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise FormatError(f"{name} has values that are not finite: get the file again")
    return value


def _read_bones(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices (8, 3, 3), heads (8, 3) and lengths (8,) by the bones' names, from a dictionary or a list of bones."""
    document = read_json(path, MAX_TEXT)
    if isinstance(document, list):
        document = {bone.get("name"): bone for bone in document if isinstance(bone, dict)}
    try:
        bones = [document[name] for name in JOINT_NAMES["hack"]]
        matrices = np.array([bone["matrix"] for bone in bones], np.float64).reshape(8, 3, 3)
        heads = np.array([bone["head"] for bone in bones], np.float64).reshape(8, 3)
        lengths = np.array([bone["length"] for bone in bones], np.float64).reshape(8)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path} does not have matrix, head and length of HACK's eight bones ({error}): give the published file"
        ) from error
    return matrices, heads, lengths


def read_obj(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 2"], Int[np.ndarray, "f 3"]]:
    """Vertices, one uv per vertex (of the first face corner that names it; NaN without one) and triangles (fans) of an OBJ file.

    Raises FormatError where it is missing, too large or damaged.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_TEXT:
            raise FormatError(f"{path} has more than {MAX_TEXT} bytes: it is no template")
        lines = path.read_text("ascii", "replace").splitlines()
        rows = [line.split() for line in lines]
        vertices = np.array([row[1:4] for row in rows if row and row[0] == "v"], np.float64).reshape(-1, 3)
        texture = np.array([row[1:3] for row in rows if row and row[0] == "vt"], np.float64).reshape(-1, 2)
        corners = [[_corner(text) for text in row[1:]] for row in rows if row and row[0] == "f"]
        uv = np.full((len(vertices), 2), np.nan)
        for vertex, place in (corner for face in reversed(corners) for corner in reversed(face)):
            if place is not None:
                uv[vertex] = texture[place]
        triangles = [(face[0][0], face[i][0], face[i + 1][0]) for face in corners for i in range(1, len(face) - 1)]
        if max((max(triangle) for triangle in triangles), default=-1) >= len(vertices):
            raise ValueError("a face names a vertex that is not there")
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except (ValueError, IndexError) as error:
        raise FormatError(f"{path} is not a readable OBJ file ({error}); get it again") from error
    return vertices, uv, np.array(triangles, np.int64).reshape(-1, 3)


def _corner(text: str) -> tuple[int, int | None]:
    """Vertex and texture index, from 0, of a face corner such as "3/7/2"."""
    vertex, *rest = text.split("/")
    if int(vertex) < 1 or (rest and rest[0] and int(rest[0]) < 1):
        raise ValueError(f"corner {text!r}")
    return int(vertex) - 1, int(rest[0]) - 1 if rest and rest[0] else None
