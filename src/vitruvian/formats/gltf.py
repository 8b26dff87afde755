"""Skinned, animated people as glTF 2.0, in one binary file (.glb) that every 3D program opens.

Metres, y up, facing +z, seconds. Each person is a tree of joint nodes, a mesh with up to eight weights per vertex, a skin whose inverse
bind matrices take the rest pose's joints to the origin, and channels in the file's one animation, keyed at the true times.
Joints that never move have no channel. Where a person is out of view the root's scale is 0, which the format names as the way to hide.

What glTF cannot hold: correctives that depend on the pose (SMPL's), which are left out unless vertices are baked (`figures.baked_figure`).
Many viewers read the first four weights only, so the strongest come first.
Source: glTF 2.0 specification, Khronos, https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html (sections 3.6, 3.7, 3.11, 4.4).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vitruvian._files import written_whole
from vitruvian._version import __version__
from vitruvian.errors import FormatError
from vitruvian.formats.figures import LEAST_WEIGHT, Figure, Material, SkinnedMesh, check_figure
from vitruvian.formats.quaternions import continuous, from_matrices
from vitruvian.render.shade import vertex_normals

_BYTE, _SHORT, _INT, _FLOAT = 5121, 5123, 5125, 5126  # component types
_TYPE = {np.dtype(np.uint8): _BYTE, np.dtype(np.uint16): _SHORT, np.dtype(np.uint32): _INT, np.dtype(np.float32): _FLOAT}
_VERTICES, _INDICES = 34962, 34963  # what a buffer view is for
_STILL = 1e-6  # a joint whose quaternions differ by less has no channel


def write_gltf(figures: Sequence[Figure], path: str | Path) -> None:
    """Write people into one .glb file, whole or not at all; nobody makes a valid empty scene.

    Raises FormatError if the file can't be written, arrays don't fit each other, or times don't increase.
    """
    document = _Document()
    roots, channels, samplers = [], [], []
    for figure in figures:
        check_figure(figure)
        root = _add_figure(document, figure, roots)
        if figure.motion is not None and len(figure.motion.times):
            _add_motion(document, figure, root, channels, samplers)
    if channels:
        document.lists["animations"] = [{"name": "take", "channels": channels, "samplers": samplers}]
    scene = {"nodes": roots} if roots else {}
    whole = {"asset": {"version": "2.0", "generator": f"vitruvian {__version__}"}, "scene": 0, "scenes": [scene]}
    whole |= {name: entries for name, entries in document.lists.items() if entries}
    if document.data:
        whole["buffers"] = [{"byteLength": len(document.data)}]
    text = json.dumps(whole, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    length = 12 + len(chunks) + (8 + len(document.data) if document.data else 0)
    if length >= 1 << 32:
        raise FormatError(f"{path} would hold {length >> 30} GiB, more than a .glb file can; write fewer frames or people")
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, length) + chunks)
        if document.data:
            file.write(struct.pack("<I4s", len(document.data), b"BIN\0"))
            file.write(document.data)


class _Document:
    """The JSON document's lists and the binary chunk, as they grow."""

    def __init__(self) -> None:
        names = ("nodes", "meshes", "materials", "skins", "accessors", "bufferViews")
        self.lists: dict[str, list] = {name: [] for name in names}
        self.data = bytearray()
        self._known: dict[tuple, int] = {}

    def add(self, kind: str, entry: dict) -> int:
        """The index of a new entry."""
        self.lists[kind].append(entry)
        return len(self.lists[kind]) - 1

    def view(self, array: np.ndarray, target: int | None = None) -> int:
        """The buffer view that holds the array; its length in bytes is filled up to a multiple of four, as the format asks."""
        entry = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes} | ({"target": target} if target else {})
        self.data += array.tobytes()
        self.data += bytes(-array.nbytes % 4)
        return self.add("bufferViews", entry)

    def accessor(self, array: np.ndarray, kind: str, target: int | None = None, bounds: bool = False) -> int:
        """An accessor of (n,) or (n, components) values. The same values for the same use are stored once, as for people of one body."""
        array = np.ascontiguousarray(array)
        key = (hashlib.sha256(array).digest(), len(array), array.dtype.str, kind, target, bounds)
        if key not in self._known:
            entry = {"bufferView": self.view(array, target), "componentType": _TYPE[array.dtype], "count": len(array), "type": kind}
            self._known[key] = self.add("accessors", entry | (_bounds(array) if bounds else {}))
        return self._known[key]

    def displacement(self, array: Float[np.ndarray, "v 3"]) -> int:
        """An accessor of a morph target: only the vertices that it moves, where they are few."""
        moved = np.flatnonzero(array.any(1))
        if 16 * len(moved) >= 12 * len(array):
            return self.accessor(array, "VEC3", _VERTICES, bounds=True)
        entry = {"componentType": _FLOAT, "count": len(array), "type": "VEC3"} | _bounds(array)
        if len(moved):
            indices = {"bufferView": self.view(moved.astype(np.uint32)), "componentType": _INT}
            entry["sparse"] = {"count": len(moved), "indices": indices, "values": {"bufferView": self.view(array[moved])}}
        return self.add("accessors", entry)


def _bounds(array: np.ndarray) -> dict[str, list]:
    flat = array.reshape(len(array), -1)
    return {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}


def _add_figure(document: _Document, figure: Figure, roots: list[int]) -> int:
    """Nodes, mesh and skin of one person; returns the node that moves it, and appends the scene's new nodes."""
    mesh = figure.mesh
    first = len(document.lists["nodes"])
    for j, (name, parent) in enumerate(zip(mesh.joint_names, mesh.parents, strict=True)):
        offset = mesh.joints[j] - (mesh.joints[parent] if parent >= 0 else 0)
        children = [first + k for k, above in enumerate(mesh.parents) if above == j]
        node = {"name": name, "translation": np.asarray(offset, float).tolist()}
        document.add("nodes", node | ({"children": children} if children else {}))
    roots += [first] if len(mesh.parents) else []
    if not len(mesh.faces):  # the format has no mesh without faces; bones alone are fine
        return first if len(mesh.parents) else _append(roots, document.add("nodes", {"name": figure.name}))
    node = {"name": figure.name, "mesh": _add_mesh(document, mesh, figure.name)}
    if len(mesh.parents):
        bind = np.tile(np.eye(4, dtype=np.float32), (len(mesh.parents), 1, 1))
        bind[:, 3, :3] = -np.asarray(mesh.joints)  # column-major: the translation comes last
        inverse = document.accessor(bind.reshape(-1, 16), "MAT4")
        joints = list(range(first, first + len(mesh.parents)))
        node["skin"] = document.add("skins", {"name": figure.name, "joints": joints, "inverseBindMatrices": inverse, "skeleton": first})
    place = _append(roots, document.add("nodes", node))
    return first if len(mesh.parents) else place


def _append(roots: list[int], node: int) -> int:
    roots.append(node)
    return node


def _add_mesh(document: _Document, mesh: SkinnedMesh, name: str) -> int:
    """The mesh, one primitive per material, each with the vertices of its own faces."""
    vertices, faces = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)
    values: dict[str, tuple[str, np.ndarray]] = {"POSITION": ("VEC3", vertices), "NORMAL": ("VEC3", vertex_normals(vertices, faces))}
    if len(mesh.parents):
        joints, weights = strongest_weights(mesh.weights)
        for i in range(joints.shape[1] // 4):
            four = slice(4 * i, 4 * i + 4)
            values |= {f"JOINTS_{i}": ("VEC4", joints[:, four]), f"WEIGHTS_{i}": ("VEC4", weights[:, four])}
    source, uv = np.arange(len(vertices)), None
    if mesh.uv is not None and mesh.uv_faces is not None:
        source, faces, uv = _split_seams(faces, np.asarray(mesh.uv), np.asarray(mesh.uv_faces))
    morphs = [np.asarray(morph, np.float32) for morph in mesh.morphs.values()]
    primitives = []
    of_face = np.zeros(len(faces), int) if mesh.face_material is None else np.asarray(mesh.face_material)
    for material in np.unique(of_face):
        own, corners = np.unique(faces[of_face == material], return_inverse=True)
        attributes = {
            key: document.accessor(array[source[own]], kind, _VERTICES, bounds=key == "POSITION") for key, (kind, array) in values.items()
        }
        if uv is not None:
            attributes["TEXCOORD_0"] = document.accessor(uv[own], "VEC2", _VERTICES)
        indices = corners.ravel().astype(np.uint16 if len(own) < 65535 else np.uint32)
        primitive = {
            "attributes": attributes,
            "indices": document.accessor(indices, "SCALAR", _INDICES),
            "material": _add_material(document, mesh.materials[material]),
        }
        targets = [{"POSITION": document.displacement(morph[source[own]])} for morph in morphs]
        primitives.append(primitive | ({"targets": targets} if targets else {}))
    entry = {"name": name, "primitives": primitives}
    if morphs:
        entry |= {"weights": [0.0] * len(morphs), "extras": {"targetNames": list(mesh.morphs)}}
    return document.add("meshes", entry)


def _add_material(document: _Document, material: Material) -> int:
    srgb = np.array(material.color) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    colour = {"baseColorFactor": [*linear.round(6).tolist(), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.85}
    entry = {"name": material.name, "pbrMetallicRoughness": colour}
    known = document.lists["materials"]
    return known.index(entry) if entry in known else document.add("materials", entry)


def _split_seams(faces: np.ndarray, uv: np.ndarray, uv_faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A vertex for every pair of vertex and texture coordinate: vertices, new faces, coordinates (v down, as in glTF)."""
    pairs, index = np.unique(faces.astype(np.int64) * len(uv) + uv_faces, return_inverse=True)
    return pairs // len(uv), index.reshape(faces.shape), (uv[pairs % len(uv)] * [1, -1] + [0, 1]).astype(np.float32)


def strongest_weights(weights: Float[np.ndarray, "v j"]) -> tuple[Int[np.ndarray, "v k"], Float[np.ndarray, "v k"]]:
    """The joints (uint8, or uint16 if many) with the largest weights of each vertex, K = 4 or 8 of them, and their weights of sum 1.

    The strongest come first; places without weight name joint 0.
    """
    weights = np.asarray(weights, np.float64)
    most = int((weights > LEAST_WEIGHT).sum(1).max(initial=0))
    k = 4 if most <= 4 else 8
    padded = np.pad(weights, ((0, 0), (0, max(0, k - weights.shape[1]))))
    joints = np.argsort(-padded, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(padded, joints, 1)
    values[values <= LEAST_WEIGHT] = 0
    values = (values / values.sum(1, keepdims=True)).astype(np.float32)
    joints[values == 0] = 0
    return joints.astype(np.uint8 if weights.shape[1] <= 256 else np.uint16), values


def _add_motion(document: _Document, figure: Figure, root: int, channels: list[dict], samplers: list[dict]) -> None:
    """Channels of one person, keyed where it is seen."""
    mesh, motion = figure.mesh, figure.motion
    times = np.asarray(motion.times, np.float32)
    morph_weights = np.zeros((len(times), 0)) if motion.morph_weights is None else np.asarray(motion.morph_weights)
    rotations, translation = np.asarray(motion.rotations), np.asarray(motion.translation, np.float32)
    seen = np.isfinite(rotations).all((1, 2, 3)) & np.isfinite(translation).all(1) & np.isfinite(morph_weights).all(1)
    rotations, translation, morph_weights = rotations[seen], translation[seen], morph_weights[seen].astype(np.float32)

    def channel(at: np.ndarray, values: np.ndarray, kind: str, node: int, path: str, how: str = "LINEAR") -> None:
        entry = {"input": document.accessor(at, "SCALAR", bounds=True), "output": document.accessor(values, kind), "interpolation": how}
        samplers.append(entry)
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    if seen.any():
        channel(times[seen], translation, "VEC3", root, "translation")
        quaternions = continuous(from_matrices(rotations))[..., [1, 2, 3, 0]].astype(np.float32)
        for j in range(quaternions.shape[1]):
            if np.abs(quaternions[:, j] - quaternions[0, j]).max() > _STILL:
                channel(times[seen], quaternions[:, j], "VEC4", root + j, "rotation")
            else:
                document.lists["nodes"][root + j]["rotation"] = quaternions[0, j].astype(float).tolist()
        if morph_weights.shape[1] and len(mesh.faces):
            mesh_node = root + len(mesh.parents)
            channel(times[seen], morph_weights.ravel(), "SCALAR", mesh_node, "weights")
    if not seen.all():
        change = np.flatnonzero(np.diff(seen, prepend=~seen[0]))
        channel(times[change], np.repeat(seen[change, None], 3, 1).astype(np.float32), "VEC3", root, "scale", "STEP")
