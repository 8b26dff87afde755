"""A small reader of .glb files for tests: checks the specification's rules, samples the animation, and skins by the equations."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

COMPONENTS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
KINDS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """One file: `document` (the JSON), `binary`, and what they mean."""

    def __init__(self, path: Path) -> None:
        data = Path(path).read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data)), "header"
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0, "the first chunk is JSON, padded to four bytes"
        self.document = json.loads(data[20 : 20 + size])
        self.binary = b""
        if len(data) > 20 + size:
            length, kind = struct.unpack_from("<I4s", data, 20 + size)
            assert kind == b"BIN\0" and length % 4 == 0 and 28 + size + length == len(data), "the second chunk is BIN, padded to four bytes"
            self.binary = data[28 + size :]

    def array(self, index: int) -> np.ndarray:
        """The values of an accessor, (n, components), sparse ones filled in."""
        accessor = self.document["accessors"][index]
        out = np.zeros((accessor["count"], KINDS[accessor["type"]]), COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            out[:] = self._read(accessor["bufferView"], out.dtype).reshape(out.shape)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            rows = self._read(sparse["indices"]["bufferView"], COMPONENTS[sparse["indices"]["componentType"]])
            assert len(rows) == sparse["count"] and (np.diff(rows.astype(int)) > 0).all()
            out[rows] = self._read(sparse["values"]["bufferView"], out.dtype).reshape(len(rows), -1)
        return out

    def _read(self, view: int, dtype: type) -> np.ndarray:
        view = self.document["bufferViews"][view]
        return np.frombuffer(self.binary, dtype, view["byteLength"] // np.dtype(dtype).itemsize, view.get("byteOffset", 0))

    def check(self) -> None:
        """Assert the rules of the specification that a writer of such files can break."""
        document = self.document
        assert document["asset"]["version"] == "2.0"
        assert all(document[name] for name in document if isinstance(document[name], list)), "lists are left out where empty"
        assert [buffer["byteLength"] for buffer in document.get("buffers", [])] == ([len(self.binary)] if self.binary else [])
        ends = [(view.get("byteOffset", 0), view["byteLength"]) for view in document.get("bufferViews", [])]
        assert all(start % 4 == 0 and length > 0 and start + length <= len(self.binary) for start, length in ends)
        for i, accessor in enumerate(document.get("accessors", [])):
            values = self.array(i)
            assert accessor["count"] > 0 and np.isfinite(values).all()
            if "min" in accessor:
                np.testing.assert_array_equal(accessor["min"], values.min(0))
                np.testing.assert_array_equal(accessor["max"], values.max(0))
        children = [child for node in document.get("nodes", []) for child in node.get("children", [])]
        assert len(set(children)) == len(children) and not set(children) & set(document["scenes"][0].get("nodes", [])), "a strict tree"
        for node in document.get("nodes", []):
            assert abs(np.linalg.norm(node.get("rotation", [0, 0, 0, 1])) - 1) < 1e-5
        for mesh in document.get("meshes", []):
            for primitive in mesh["primitives"]:
                self._check_primitive(primitive, len(mesh.get("weights", [])))
        for node in document.get("nodes", []):
            if "skin" in node:
                self._check_skin(node)
        for animation in document.get("animations", []):
            self._check_animation(animation)

    def _check_primitive(self, primitive: dict, morphs: int) -> None:
        accessors = self.document["accessors"]
        used = primitive["attributes"]
        count = accessors[used["POSITION"]]["count"]
        assert all(accessors[i]["count"] == count for i in used.values())
        assert "min" in accessors[used["POSITION"]], "POSITION has bounds"
        np.testing.assert_allclose(np.linalg.norm(self.array(used["NORMAL"]), axis=1), 1, atol=1e-4)
        indices = self.array(primitive["indices"])
        assert len(indices) % 3 == 0 and indices.max() < count and np.iinfo(indices.dtype).max not in indices
        sets = [name[-1] for name in used if name.startswith("JOINTS_")]
        if sets:
            assert sets == [str(i) for i in range(len(sets))]
            weights = np.concatenate([self.array(used[f"WEIGHTS_{i}"]) for i in sets], axis=1)
            joints = np.concatenate([self.array(used[f"JOINTS_{i}"]) for i in sets], axis=1)
            assert joints.dtype in (np.uint8, np.uint16) and weights.dtype == np.float32 and weights.min() >= 0
            assert np.abs(weights.sum(1, dtype=np.float64) - 1).max() < 2e-7 * weights.shape[1] and not joints[weights == 0].any()
            used_joints = np.where(weights > 0, joints.astype(int), -1 - np.arange(joints.shape[1]))
            assert all(len(set(row)) == len(row) for row in used_joints.tolist()), "no joint twice at one vertex"
        targets = primitive.get("targets", [])
        assert len(targets) == morphs
        assert all(accessors[t["POSITION"]]["count"] == count and "min" in accessors[t["POSITION"]] for t in targets)
        views = {accessors[i]["bufferView"] for i in used.values()}
        assert all(self.document["bufferViews"][view].get("target") == 34962 for view in views)
        assert self.document["bufferViews"][accessors[primitive["indices"]]["bufferView"]]["target"] == 34963

    def _check_skin(self, node: dict) -> None:
        skin = self.document["skins"][node["skin"]]
        assert len(set(skin["joints"])) == len(skin["joints"])
        inverse = self.array(skin["inverseBindMatrices"])
        assert len(inverse) == len(skin["joints"])
        np.testing.assert_array_equal(inverse.reshape(-1, 4, 4)[:, :, 3], np.tile([0, 0, 0, 1], (len(inverse), 1)))

    def _check_animation(self, animation: dict) -> None:
        targets = [(channel["target"]["node"], channel["target"]["path"]) for channel in animation["channels"]]
        assert len(set(targets)) == len(targets), "one channel per node and property"
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times, values = self.array(sampler["input"])[:, 0], self.array(sampler["output"])
            assert "min" in self.document["accessors"][sampler["input"]] and times[0] >= 0 and (np.diff(times) > 0).all()
            assert times.dtype == values.dtype == np.float32
            node = self.document["nodes"][channel["target"]["node"]]
            if channel["target"]["path"] == "weights":
                assert len(values) == len(times) * len(self.document["meshes"][node["mesh"]]["weights"])
            else:
                assert len(values) == len(times)
            if channel["target"]["path"] == "rotation":
                np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)
                assert ((values[1:] * values[:-1]).sum(1) >= 0).all(), "quaternions keep their sign"

    def node(self, name: str) -> int:
        """The first node of that name."""
        return next(i for i, node in enumerate(self.document["nodes"]) if node.get("name") == name)

    def properties(self, time: float) -> list[dict]:
        """Every node's translation, rotation, scale and weights at a time."""
        nodes = []
        for node in self.document["nodes"]:
            weights = self.document["meshes"][node["mesh"]].get("weights", []) if "mesh" in node else []
            defaults = {"translation": [0, 0, 0], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1], "weights": weights}
            nodes.append({key: np.array(node.get(key, value), float) for key, value in defaults.items()})
        for animation in self.document.get("animations", []):
            for channel in animation["channels"]:
                sampler = animation["samplers"][channel["sampler"]]
                times = self.array(sampler["input"])[:, 0].astype(float)
                values = self.array(sampler["output"]).astype(float).reshape(len(times), -1)
                path = channel["target"]["path"]
                nodes[channel["target"]["node"]][path] = _sample(times, values, time, path, sampler["interpolation"])
        return nodes

    def world(self, time: float) -> np.ndarray:
        """(nodes, 4, 4) world matrices at a time."""
        nodes, properties = self.document["nodes"], self.properties(time)
        local = [_matrix(p["translation"], p["rotation"], p["scale"]) for p in properties]
        parents = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}

        def up(i: int) -> np.ndarray:
            return up(parents[i]) @ local[i] if i in parents else local[i]

        return np.stack([up(i) for i in range(len(nodes))])

    def vertices(self, name: str, time: float) -> np.ndarray:
        """The vertices of a mesh node at a time, primitive after primitive: morphed, then skinned by the specification's equations."""
        at = self.node(name)
        node, world = self.document["nodes"][at], self.world(time)
        weights, out = self.properties(time)[at]["weights"], []
        for primitive in self.document["meshes"][node["mesh"]]["primitives"]:
            points = self.array(primitive["attributes"]["POSITION"]).astype(float)
            for weight, target in zip(weights, primitive.get("targets", []), strict=True):
                points = points + weight * self.array(target["POSITION"])
            points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
            if "skin" not in node:
                out.append((points @ world[at].T)[:, :3])
                continue
            skin = self.document["skins"][node["skin"]]
            inverse = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
            maps = world[skin["joints"]] @ inverse
            used = primitive["attributes"]
            blended = np.zeros((len(points), 4, 4))
            for i in range(sum(key.startswith("JOINTS_") for key in used)):
                joints, shares = self.array(used[f"JOINTS_{i}"]), self.array(used[f"WEIGHTS_{i}"])
                blended += np.einsum("vk,vkij->vij", shares, maps[joints])
            out.append(np.einsum("vij,vj->vi", blended, points)[:, :3])
        return np.concatenate(out)


def _sample(times: np.ndarray, values: np.ndarray, time: float, path: str, how: str) -> np.ndarray:
    after = int(np.searchsorted(times, time, side="right"))
    if after == 0 or after == len(times) or how == "STEP":
        return values[max(after - 1, 0)]
    part = (time - times[after - 1]) / (times[after] - times[after - 1])
    a, b = values[after - 1], values[after]
    if path != "rotation":
        return a + part * (b - a)
    angle = np.arccos(np.clip(abs(a @ b), 0, 1))
    if angle < 1e-6:
        return a
    return (np.sin((1 - part) * angle) * a + np.sign(a @ b) * np.sin(part * angle) * b) / np.sin(angle)


def _matrix(translation: np.ndarray, rotation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    x, y, z, w = rotation
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.array(turn) * scale, translation
    return matrix
