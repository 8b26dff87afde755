"""From the arrays of the published files (SMPL, SMPL+H, SMPL-X, MANO, FLAME) to a `BodyModel`; card `mano` section 9.

Which model it is is told by its joints; layouts of the pose directions, numbers of shape directions and spellings of the root are told
by the arrays. Nothing is renormalised: a published file is used as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian.body.model import BodyModel, FaceLandmarks, HandSpace
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.pickles import ChumpyExpression, SparseMatrix
from vitruvian.errors import FormatError, VitruvianError

logger = logging.getLogger(__name__)

FixLeftShape = Literal["auto", True, False]
Arrays = Mapping[str, object]

KIND_OF_JOINTS: Mapping[int, str] = MappingProxyType({24: "smpl", 52: "smplh", 55: "smplx", 16: "mano", 5: "flame"})

LICENCES: Mapping[str, str] = MappingProxyType(
    {
        "smpl": "SMPL: Max Planck, non-commercial research only, no redistribution (smpl.is.tue.mpg.de); commercial: meshcapade.com",
        "smplh": "SMPL+H: Max Planck, non-commercial research only, no redistribution (mano.is.tue.mpg.de)",
        "smplx": "SMPL-X: Max Planck, non-commercial research only, no redistribution (smpl-x.is.tue.mpg.de)",
        "mano": "MANO: Max Planck, non-commercial research only, no redistribution (mano.is.tue.mpg.de)",
        "flame": "FLAME: Max Planck, non-commercial research only (2023 release: said to be CC-BY-4.0, see flame.is.tue.mpg.de)",
    }
)
"""What people should know before they use a model; the licence that came with the files is what counts."""

_HAND_BLOCKS = {"mano": {"hand": ""}, "smplh": {"left_hand": "l", "right_hand": "r"}, "smplx": {"left_hand": "l", "right_hand": "r"}}
_LOCAL_YAW = {"smplx": 12, "flame": 0}  # FLAME: as the smplx package does, which leaves the neck's pose out


@dataclass(frozen=True)
class Extras:
    """What else a model can be read with.

    other_hand: the arrays of the right hand's file when reading MANO's left one, to see whether its shape directions need the fix.
    left_hand, right_hand: the arrays of the two MANO files, for an SMPL+H that came without hand components.
    static, contour: FLAME's two landmark files. kid: the centred or uncentred template (V, 3) of a child (SMIL).
    """

    other_hand: Arrays | None = None
    left_hand: Arrays | None = None
    right_hand: Arrays | None = None
    static: Arrays | None = None
    contour: Arrays | None = None
    kid: Float[np.ndarray, "v 3"] | None = None


def from_arrays(
    arrays: Arrays,
    name: str = "",
    *,
    num_shape: int | None = None,
    num_expression: int | None = None,
    fix_left_shape: FixLeftShape = "auto",
    extras: Extras = Extras(),  # noqa: B008  (frozen)
) -> BodyModel:
    """A body model from the entries of a published file.

    name: "mano-left", "smplx-female" ...; by default the kind's. A MANO model is a left hand if its name says "left".
    num_shape, num_expression: keep only the first ones; by default all that the file has. Published programs use 10 unless told
    otherwise. fix_left_shape: the released MANO_LEFT has the right hand's shape directions in x; "auto" turns their sign where
    the right hand's file shows that it needs it, True always, False never. `notes["fix_left_shape"]` says what was done.
    With `extras.kid` the last shape direction, "kid", blends from the adult (0) to the child (1).
    Raises FormatError where an entry is missing or the shapes contradict each other.
    """
    kind, parents = _kind(arrays)
    template = _floats(arrays, "v_template", 2)
    regressor = _regressor(arrays, len(parents), len(template))
    shape, expression = _split_shapes(kind, _floats(arrays, "shapedirs", 3))
    shape, expression = shape[:num_shape], expression[:num_expression]
    shape, notes = _fixed_left(kind, name, shape, arrays, fix_left_shape, extras)
    names = [f"shape{i:02d}" for i in range(len(shape))]
    if extras.kid is not None:
        shape, names = np.concatenate([shape, _kid_direction(template, extras.kid)]), [*names, "kid"]
    weights = _floats(arrays, "weights", 2)
    if len(shape) and shape.shape[1:] != template.shape or weights.shape != (len(template), len(parents)):
        raise FormatError(f"shapedirs {shape.shape[1:]}, weights {weights.shape} and template {template.shape} contradict each other")
    single = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
    return BodyModel(
        name=name or kind,
        kind=kind,
        licence=LICENCES[kind],
        joint_names=JOINT_NAMES[kind],
        parents=parents,
        faces=_faces(arrays, len(template)),
        template=single(template),
        weights=single(weights),
        joints=single(regressor @ template),
        shape_directions=single(shape),
        joint_shape_directions=single(_regress(regressor, shape)),
        expression_directions=single(expression),
        joint_expression_directions=single(_regress(regressor, expression)),
        shape_names=tuple(names),
        expression_names=tuple(f"expression{i:02d}" for i in range(len(expression))),
        shape_default=np.zeros(len(shape), np.float32),
        pose_directions=single(_pose_directions(arrays, len(template), len(parents))),
        hands=_hands(kind, arrays, extras),
        landmarks=_landmarks(kind, arrays, extras),
        notes=notes,
        **_uv(arrays),
    )


def _kind(arrays: Arrays) -> tuple[str, tuple[int, ...]]:
    """The kind of model and its parents, from the kinematic tree."""
    table = _entry(arrays, "kintree_table")
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[0] != 2 or table.dtype.kind not in "iu":
        raise FormatError("kintree_table is not whole numbers of (2, joints): it is not the file of a body model")
    if table.shape[1] not in KIND_OF_JOINTS:
        known = ", ".join(f"{kind} {joints}" for joints, kind in KIND_OF_JOINTS.items())
        raise FormatError(f"a model of {table.shape[1]} joints is none of the published ones ({known})")
    column = {int(joint): i for i, joint in enumerate(table[1].tolist())}
    parents = [column.get(int(parent), -1) for parent in table[0].tolist()]
    return KIND_OF_JOINTS[table.shape[1]], (-1, *parents[1:])  # the root's parent is 2^32 - 1, -1 or anything else


def _entry(arrays: Arrays, name: str) -> object:
    if name not in arrays:
        raise FormatError(f"there is no {name!r} in it: it is not the file of a body model, or it lacks a part")
    value = arrays[name]
    if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]  # an .npz keeps a sparse matrix as an array of one object
    if isinstance(value, ChumpyExpression):
        value.refuse()
    return value


def _floats(arrays: Arrays, name: str, axes: int) -> np.ndarray:
    """An entry as float64 with so many axes, all finite."""
    value = _entry(arrays, name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim != axes:
        raise FormatError(f"{name} is not an array of numbers with {axes} axes: it is not the file of a body model")
    value = value.astype(np.float64)
    if not np.isfinite(value).all():
        raise FormatError(f"{name} has values that are not finite: get the file again")
    return value


def _regressor(arrays: Arrays, joints: int, vertices: int) -> Float[np.ndarray, "j v"]:
    value = _entry(arrays, "J_regressor")
    if isinstance(value, SparseMatrix):
        return value.dense((joints, vertices))
    value = _floats(arrays, "J_regressor", 2)
    value = value.T if value.shape == (vertices, joints) else value
    if value.shape != (joints, vertices):
        raise FormatError(f"J_regressor has shape {value.shape}, expected {(joints, vertices)}")
    return value


def _regress(regressor: Float[np.ndarray, "j v"], directions: Float[np.ndarray, "k v 3"]) -> Float[np.ndarray, "k j 3"]:
    return np.einsum("jv,kvc->kjc", regressor, directions, optimize=True)


def _split_shapes(kind: str, directions: Float[np.ndarray, "v 3 n"]) -> tuple[Float[np.ndarray, "s v 3"], Float[np.ndarray, "e v 3"]]:
    """Shape and expression directions: of 400 the first 300 and the rest; of fewer the first ten and the next ten."""
    directions = np.moveaxis(directions, 2, 0)
    if kind not in ("smplx", "flame"):
        return directions, directions[:0]
    if len(directions) >= 400:
        return directions[:300], directions[300:]
    return directions[:10], directions[10:20]


def _pose_directions(arrays: Arrays, vertices: int, joints: int) -> Float[np.ndarray, "p v 3"]:
    """From any of the layouts in use: (V, 3, P), or flat as (P, 3V) or (3V, P)."""
    value, size = _entry(arrays, "posedirs"), 9 * (joints - 1)
    axes = value.ndim if isinstance(value, np.ndarray) else 3
    value = _floats(arrays, "posedirs", axes)
    if value.shape == (vertices, 3, size):
        return np.moveaxis(value, 2, 0)
    if value.shape == (3 * vertices, size):
        value = value.T
    if value.shape == (size, 3 * vertices):
        return value.reshape(size, vertices, 3)
    raise FormatError(f"posedirs has shape {value.shape}; known are {(vertices, 3, size)}, {(size, 3 * vertices)} and its transpose")


def _faces(arrays: Arrays, vertices: int) -> np.ndarray:
    faces = _entry(arrays, "f")
    if not isinstance(faces, np.ndarray) or faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise FormatError("f is not an array of triangles: it is not the file of a body model")
    if faces.size and not (0 <= int(faces.min()) and int(faces.max()) < vertices):
        raise FormatError("a triangle names a vertex that is not there: get the file again")
    return faces.astype(np.int32)


def _fixed_left(
    kind: str, name: str, shape: np.ndarray, arrays: Arrays, fix: FixLeftShape, extras: Extras
) -> tuple[np.ndarray, dict[str, str]]:
    """The left hand's shape directions with the sign of x turned where needed, and a note of what was done."""
    if kind != "mano" or "left" not in name:
        return shape, {}
    if fix == "auto" and extras.other_hand is None:
        logger.warning("%s: can't tell whether its shape directions have the known sign error; read it beside MANO_RIGHT", name)
        return shape, {"fix_left_shape": "unknown: read without the right hand's file, not applied"}
    if fix == "auto":
        right = np.moveaxis(_floats(extras.other_hand, "shapedirs", 3), 2, 0)[: len(shape)]
        # In a correct pair the left hand's x is the right hand's with the other sign; in the released one both are the same.
        fix = right.shape == shape.shape and bool(np.abs(shape[..., 0] - right[..., 0]).sum() < 1)
    if not fix:
        return shape, {"fix_left_shape": "not applied"}
    return shape * np.array([-1.0, 1.0, 1.0]), {"fix_left_shape": "applied"}


def _kid_direction(template: Float[np.ndarray, "v 3"], kid: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "1 v 3"]:
    if np.shape(kid) != template.shape or not np.isfinite(kid).all():
        raise FormatError(f"the kid template has shape {np.shape(kid)}, the model's is {template.shape}: take the one of this topology")
    return (kid - kid.mean(0) - template)[None]


def _hands(kind: str, arrays: Arrays, extras: Extras) -> dict[str, HandSpace]:
    """The pose spaces of the hands: from the model's own file, else from the MANO files beside it."""
    found = {}
    for block, suffix in _HAND_BLOCKS.get(kind, {}).items():
        source = arrays
        if f"hands_components{suffix}" not in arrays:
            source, suffix = {"left_hand": extras.left_hand, "right_hand": extras.right_hand}.get(block), ""
        if source is None or "hands_components" + suffix not in source:
            continue
        components, mean = _floats(source, f"hands_components{suffix}", 2), _floats(source, f"hands_mean{suffix}", 1)
        if components.shape[1:] != (45,) or mean.shape != (45,) or len(components) > 45:
            raise FormatError(f"the hand's components {components.shape} and mean {mean.shape} are not those of 15 joints")
        found[block] = HandSpace(components.astype(np.float32), mean.astype(np.float32))
    return found


def _landmarks(kind: str, arrays: Arrays, extras: Extras) -> FaceLandmarks | None:
    """SMPL-X's landmarks from its file, FLAME's from its landmark files."""
    if kind == "smplx" and "lmk_faces_idx" in arrays:
        names = ("lmk_faces_idx", "lmk_bary_coords", "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords")
        static, contour = arrays, arrays if names[2] in arrays else None
    elif kind == "flame" and extras.static is not None:
        names = ("lmk_face_idx", "lmk_b_coords") * 2
        static, contour = extras.static, extras.contour
    else:
        return None
    number = len(_entry(arrays, "f"))
    faces = _indices(static, names[0], number)
    barycentric = _floats(static, names[1], 2)
    moving = contour is not None
    contour_faces = _indices(contour, names[2], number) if moving else None
    contour_barycentric = _floats(contour, names[3], 3).astype(np.float32) if moving else None
    fits = barycentric.shape == (*faces.shape, 3) and faces.ndim == 1
    if not fits or (moving and not (contour_barycentric.shape == (*contour_faces.shape, 3) and len(contour_faces) == 79)):
        raise FormatError("the landmarks' faces and barycentric coordinates don't go together: get the files again")
    return FaceLandmarks(faces, barycentric.astype(np.float32), contour_faces, contour_barycentric, _LOCAL_YAW[kind])


def _indices(arrays: Arrays, name: str, below: int) -> np.ndarray:
    value = _entry(arrays, name)
    value = np.asarray(value) if isinstance(value, list) else value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise FormatError(f"{name} is not an array of numbers: get the file again")
    if value.size and not (value.min() >= 0 and value.max() < below):
        raise FormatError(f"{name} names a face that is not there: get the file again")
    return value.astype(np.int64)


def _uv(arrays: Arrays) -> dict[str, np.ndarray]:
    """Texture coordinates where the file has them and they fit its faces; they are an extra that no one misses."""
    vt, ft, faces = (arrays.get(name) for name in ("vt", "ft", "f"))
    if not (isinstance(vt, np.ndarray) and isinstance(ft, np.ndarray) and vt.ndim == 2 and vt.shape[1] == 2):
        return {}
    if (
        ft.shape != np.shape(faces)
        or vt.dtype.kind != "f"
        or ft.dtype.kind not in "iu"
        or not len(ft)
        or int(ft.min()) < 0
        or int(ft.max()) >= len(vt)
    ):
        return {}
    return {"uv": vt.astype(np.float32), "uv_faces": ft.astype(np.int32)}


def with_yaw_from(model: BodyModel, joint: str) -> BodyModel:
    """The model with its contour landmarks chosen by another joint's rotation: FLAME's "neck" as other programs than smplx do it."""
    if model.landmarks is None or joint not in model.joint_names:
        raise VitruvianError(f"{model.name} has no landmarks, or no joint {joint!r}: read it together with its landmark files")
    return replace(model, landmarks=replace(model.landmarks, yaw_joint=model.joint_names.index(joint)))
