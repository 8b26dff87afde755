"""A person as data for 3D files: a mesh at rest, what bends it, and how it moves. Plain arrays, whatever body model made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import FormatError

LEAST_WEIGHT = 1e-5  # of a joint on a vertex; less is none
CAMERA_TO_WORLD = np.diag([1.0, -1.0, -1.0])
"""From OpenCV's camera axes (x right, y down, z forward) to y up, the camera looking along -z: half a turn about x."""


@dataclass(frozen=True)
class Material:
    """A matt colour (sRGB) and its name."""

    name: str
    color: tuple[int, int, int]


SKIN = Material("skin", (214, 178, 156))


@dataclass(frozen=True, eq=False)
class SkinnedMesh:
    """A body at rest and what bends it. V vertices, F faces, J joints (0: a mesh without skin).

    vertices: (V, 3) metres, y up. faces: (F, 3), corners counter-clockwise seen from outside. joints: (J, 3) rest joints, the root first
    and parents (-1: none) before their children. weights: (V, J), at least one above zero per vertex; they are normalised.
    morphs: name -> (V, 3) displacement at weight 1. uv: (T, 2), v up as in OBJ files, with uv_faces (F, 3) into it.
    face_material: (F,) index into `materials`; None: the first one for all.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    joint_names: Sequence[str] = ()
    parents: Sequence[int] = ()
    joints: Float[np.ndarray, "j 3"] = field(default_factory=lambda: np.zeros((0, 3)))
    weights: Float[np.ndarray, "v j"] | None = None
    morphs: Mapping[str, Float[np.ndarray, "v 3"]] = field(default_factory=dict)
    uv: Float[np.ndarray, "t 2"] | None = None
    uv_faces: Int[np.ndarray, "f 3"] | None = None
    materials: Sequence[Material] = (SKIN,)
    face_material: Int[np.ndarray, " f"] | None = None


@dataclass(frozen=True, eq=False)
class Motion:
    """How a skinned mesh moves over T keys.

    times: (T,) seconds, increasing, from 0 on. rotations: (T, J, 3, 3), of each joint relative to its parent, in axes parallel to the
    world's at rest. translation: (T, 3) where the root joint is (a mesh without joints: how far it is moved), metres.
    morph_weights: (T, M) in the order of the mesh's morphs. A key with a value that is not finite hides the person until the next one.
    """

    times: Float[np.ndarray, " t"]
    rotations: Float[np.ndarray, "t j 3 3"]
    translation: Float[np.ndarray, "t 3"]
    morph_weights: Float[np.ndarray, "t m"] | None = None


@dataclass(frozen=True, eq=False)
class Figure:
    """One person: a mesh, and its motion (None: it stays at rest)."""

    name: str
    mesh: SkinnedMesh
    motion: Motion | None = None


def camera_motion_to_world(motion: Motion) -> Motion:
    """A motion in the camera's frame (OpenCV axes) as one in a world whose y is up, so that people stand upright if the camera did."""
    rotations = np.array(motion.rotations, np.float64)
    rotations[:, :1] = CAMERA_TO_WORLD @ rotations[:, :1]
    return replace(motion, rotations=rotations, translation=np.asarray(motion.translation) @ CAMERA_TO_WORLD.T)


def baked_figure(
    name: str,
    vertices: Float[np.ndarray, "t v 3"],
    faces: Int[np.ndarray, "f 3"],
    times: Float[np.ndarray, " t"],
    material: Material = SKIN,
) -> Figure:
    """Vertices of every frame (metres, y up) as a figure without bones: one morph target per frame. Exact, and large: 12 bytes each.

    A frame with a vertex that is not finite hides the person.
    """
    vertices = np.asarray(vertices, np.float32)
    seen = np.flatnonzero(np.isfinite(vertices).all((1, 2)))
    rest = vertices[seen[0]] if len(seen) else np.zeros(vertices.shape[1:], np.float32)
    weights = np.zeros((len(vertices), max(len(seen) - 1, 0)))
    weights[seen[1:], np.arange(len(seen) - 1 if len(seen) else 0)] = 1
    weights[np.setdiff1d(np.arange(len(vertices)), seen)] = np.nan
    morphs = {f"frame{i:06d}": vertices[i] - rest for i in seen[1:]}
    still = np.where(np.isin(np.arange(len(vertices)), seen)[:, None], np.zeros((1, 3)), np.nan)
    mesh = SkinnedMesh(rest, faces if len(seen) else np.zeros((0, 3), int), morphs=morphs, materials=(material,))
    return Figure(name, mesh, Motion(times, np.zeros((len(vertices), 0, 3, 3)), still, weights))


def check_figure(figure: Figure) -> None:
    """Raise FormatError for the first thing in a figure that no file could hold."""
    for problem in (*_mesh_problems(figure.mesh), *_motion_problems(figure)):
        raise FormatError(f"the figure {figure.name!r} can't be written: {problem}; check the arrays that it was made from")


def _mesh_problems(mesh: SkinnedMesh) -> Iterator[str]:
    v, j = len(mesh.vertices), len(mesh.parents)
    if not _are_numbers(mesh.vertices, (v, 3)):
        yield "its vertices are not (V, 3) finite numbers"
    if not _are_indices(mesh.faces, (len(mesh.faces), 3), v):
        yield "its faces are not (F, 3) indices of vertices"
    if len(mesh.joint_names) != j or not _are_numbers(mesh.joints, (j, 3)):
        yield "joint names, parents and rest joints (finite) differ in number"
    if any((parent < 0) != (i == 0) or parent >= i for i, parent in enumerate(mesh.parents)):
        yield "its joints are not one tree with the root first and parents before children"
    if j and (mesh.weights is None or not _are_numbers(mesh.weights, (v, j)) or (v and np.max(mesh.weights, axis=1).min() <= LEAST_WEIGHT)):
        yield "its weights are not (V, J) numbers with one above zero for each vertex"
    if not all(_are_numbers(morph, (v, 3)) for morph in mesh.morphs.values()):
        yield "a morph is not (V, 3) finite numbers"
    if (mesh.uv is None) != (mesh.uv_faces is None):
        yield "it has texture coordinates or their faces, but not both"
    elif mesh.uv is not None and not (
        _are_numbers(mesh.uv, (len(mesh.uv), 2)) and _are_indices(mesh.uv_faces, np.shape(mesh.faces), len(mesh.uv))
    ):
        yield "its texture coordinates and their faces don't fit its faces"
    if not mesh.materials or (
        mesh.face_material is not None and not _are_indices(mesh.face_material, (len(mesh.faces),), len(mesh.materials))
    ):
        yield "its face materials don't fit its faces and materials"


def _motion_problems(figure: Figure) -> Iterator[str]:
    if figure.motion is None:
        return
    motion, j, m = figure.motion, len(figure.mesh.parents), len(figure.mesh.morphs)
    t, times = len(motion.times), np.asarray(motion.times, np.float32)
    if np.shape(motion.rotations) != (t, j, 3, 3) or np.shape(motion.translation) != (t, 3):
        yield f"its motion is not one of {t} keys and {j} joints"
    if motion.morph_weights is not None and np.shape(motion.morph_weights) != (t, m):
        yield f"its morph weights are not one of {t} keys and {m} morphs"
    if times.ndim != 1 or not (np.isfinite(times).all() and (np.diff(times) > 0).all() and (times >= 0).all()):
        yield "its times are not seconds that increase (in single precision) from 0 on"


def _are_numbers(values: object, shape: tuple[int, ...]) -> bool:
    return np.shape(values) == shape and bool(np.isfinite(values).all())


def _are_indices(values: object, shape: tuple[int, ...], count: int) -> bool:
    array = np.asarray(values)
    return array.shape == shape and (array.size == 0 or (array.dtype.kind in "iu" and 0 <= int(array.min()) <= int(array.max()) < count))
