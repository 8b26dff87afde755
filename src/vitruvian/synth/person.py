"""Synthetic people: Anny bodies of all shapes, dressed, posed and seen by a camera, as label images with exact labels.

A label image holds what colour needs and nothing that colour decides: per pixel the class (skin, hair, upper garment ...), the
surface normal in the camera's frame, the place on the reference body (which is a dense correspondence: the same number is the same
spot of skin on everybody), the depth, and the segment of the body, so that `paint` can colour the same person anew at each use.

Frames: world z up and metres as in Anny; camera as in OpenCV (x right, y down, z forward).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.render.raster import nearest_faces, vertex_normals
from vitruvian.synth.activities import ACTS, Scripts, sample_scripts
from vitruvian.synth.camera import CLOSE, NEAREST, View, frame, frame_close, sample_close_view, sample_view
from vitruvian.synth.classes import HAIR, HAT, LAST_OF_PERSON, OUTSIDE, PARTS, SEEN, SEGMENTS, SELF, THING
from vitruvian.synth.look import Look
from vitruvian.synth.motion import Borrowed
from vitruvian.synth.outfit import Outfit, dress
from vitruvian.synth.planes import fill_planes
from vitruvian.synth.props import Piece, Posed, furniture, held, mount, underfoot, worn
from vitruvian.synth.wardrobe import Wardrobe

PLACES = np.array([[-0.6, 0.6], [-0.45, 0.25], [-0.95, 0.95]])  # metres of the reference body that the place planes span


@dataclass(frozen=True)
class Truth:
    """What a label image's person is in three dimensions, in the camera's frame, metres.

    points: the 133 keypoints. camera: focal length and principal point in pixels of the label image, and the lens' bend (see View).
    pose: rotation vectors of the compact body (body.compact), the root's in the camera's frame; shape, expression, translation as there.
    phenotype: Anny's. orientation: heading of the body about the vertical, radians, 0 facing the camera, positive towards its own left.
    contact: keypoints less than 3 cm above the ground. floor: the ground's plane, n x = d as (nx, ny, nz, d).
    act: index into activities.ACTS.
    """

    points: Float[np.ndarray, "133 3"]
    camera: Float[np.ndarray, " 4"]
    pose: Float[np.ndarray, "69 3"]
    shape: Float[np.ndarray, " 64"]
    expression: Float[np.ndarray, " 52"]
    translation: Float[np.ndarray, " 3"]
    phenotype: Float[np.ndarray, " 6"]
    orientation: float
    contact: np.ndarray
    floor: Float[np.ndarray, " 4"]
    act: int


@dataclass(frozen=True)
class Sample:
    """One person as a label image.

    `planes` (store.PLANES): class; x and y of the unit normal in the camera's frame, 128 + 127 n; x, y, z on the reference body over
    PLACES; depth, 1 + (metres - depth_scale[0]) / depth_scale[1], 0 where nothing is; index into classes.SEGMENTS.
    `keypoints`: x, y in pixels and 2 seen, 1 hidden, 0 outside the picture. `hidden`: SEEN, SELF (by the own body or clothes), THING,
    OUTSIDE. `boxes`: of PARTS, xyxy pixels, NaN where outside. `relief`: pixels in the image that one level of depth is deep.
    """

    planes: UInt8[np.ndarray, "8 h w"]
    depth_scale: Float[np.ndarray, " 2"]
    keypoints: Float[np.ndarray, "133 3"]
    hidden: UInt8[np.ndarray, " 133"]
    boxes: Float[np.ndarray, "7 4"]
    relief: float = 1.0
    truth: Truth | None = None

    @property
    def classes(self) -> UInt8[np.ndarray, "h w"]:
        """The class of every pixel."""
        return self.planes[0]


@dataclass(frozen=True)
class Bodies:
    """Posed bodies: vertices (n, V, 3), bone heads (n, K, 3) and turns from the reference pose (n, K, 3, 3), world, metres."""

    vertices: np.ndarray
    heads: np.ndarray
    turns: np.ndarray
    bone_poses: np.ndarray
    rest_bone_poses: np.ndarray
    phenotypes: np.ndarray
    actions: np.ndarray
    scripts: Scripts | None = None

    def __len__(self) -> int:
        return len(self.vertices)


def sample_bodies(rng: np.random.Generator, w: Wardrobe, n: int, look: Look | None = None, borrowed: Borrowed | None = None) -> Bodies:
    """Draw `n` posed bodies in Anny's frame (z up, facing -y); `borrowed`: where a share of them have their poses from."""
    look = look or Look()
    shape = np.stack([
        rng.beta(0.6, 0.6, n),  # gender
        np.where(rng.random(n) < 0.15, rng.uniform(0.15, 0.55, n), rng.uniform(0.58, 0.98, n)),  # age: mostly adults
        rng.normal(0.55, 0.18, n), rng.normal(0.5, 0.2, n), rng.uniform(0.2, 0.85, n), rng.normal(0.55, 0.18, n),
    ], 1).clip(0, 1)  # fmt: skip
    scripts = sample_scripts(rng, w.rig, w.parents, n, not look.activities, borrowed)
    actions = _expressions(rng, list(w.model.facial_action_labels), n)
    return make_bodies(w, scripts.poses, shape, actions, scripts)


def make_bodies(w: Wardrobe, poses: np.ndarray, shape: np.ndarray, actions: np.ndarray, scripts: Scripts | None = None) -> Bodies:
    """Anny's forward pass in float32: poses (n, K, 4, 4), phenotypes (n, 6), facial actions (n, 52)."""
    import torch

    as_tensor = lambda a: torch.from_numpy(np.ascontiguousarray(a)).float()  # noqa: E731
    with torch.no_grad():
        out = w.model(pose_parameters=as_tensor(poses), phenotype_kwargs=as_tensor(shape), facial_actions=as_tensor(actions))
    bones, rest = out["bone_poses"].numpy(), out["rest_bone_poses"].numpy()
    turns = bones[:, :, :3, :3] @ rest[:, :, :3, :3].swapaxes(-1, -2)
    return Bodies(out["vertices"].numpy(), bones[:, :, :3, 3], turns, bones, rest, shape, actions, scripts)


def pose_bodies(w: Wardrobe, poses: np.ndarray, shape: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and bone heads alone, see `make_bodies`."""
    bodies = make_bodies(w, poses, shape, faces)
    return bodies.vertices, bodies.heads


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
    others = np.array([not label.startswith(("tongue", "eyeLook", "eyeBlink", "jaw")) for label in labels])
    twitch = (rng.random(action.shape) < 0.05) * others * rng.uniform(0, 0.6, action.shape)  # any other muscle
    return np.maximum(action, twitch)


def render_person(
    rng: np.random.Generator, w: Wardrobe, bodies: Bodies, i: int, size: tuple[int, int] = (240, 320), look: Look | None = None
) -> Sample:
    """Dress body `i`, give it its things, look at it from somewhere, and draw its label image of `size` (width, height)."""
    look = look or Look()
    act = "plain" if bodies.scripts is None else str(bodies.scripts.acts[i])
    outfit = dress(rng, w, bodies.phenotypes[i], act, look)
    vertices = bodies.vertices[i]
    body_points = vertices[w.base_index]
    view, scale, shift = _camera(rng, body_points, w.landmarks.wholebody133(body_points[None], bodies.heads[i][None])[0], size, look)
    pieces = _things(rng, w, bodies, i, outfit, look)
    sample = label_image(w, vertices, bodies.heads[i], outfit, view, scale, shift, size, pieces)
    return replace(sample, truth=_truth(w, bodies, i, view, scale, shift))


def _camera(rng, body: np.ndarray, joints: np.ndarray, size: tuple[int, int], look: Look) -> tuple[View, float, np.ndarray]:
    """From where a person is seen, with the scale and offset of the picture."""
    close = look.perspective and rng.random() < CLOSE
    view = sample_close_view(rng, body[::7], joints) if close else None
    if view is not None:
        return view, *frame_close(rng, size)
    view = sample_view(rng, body.mean(0), max(np.ptp(body[:, 2]), 0.8), look.perspective)
    return view, *frame(rng, view.project(body[::7])[0], view.project(joints)[0], size)


def _things(rng, w: Wardrobe, bodies: Bodies, i: int, outfit: Outfit, look: Look) -> list[Piece]:
    """The solids around body `i`: worn, held, ridden, sat on."""
    heads = bodies.heads[i]
    spine = lambda h: np.linalg.norm(h[w.rig.names.index("head")] - h[w.rig.names.index("neck01")])  # noqa: E731
    body = Posed(w.rig.names, heads, bodies.turns[i], bodies.vertices[i][:, 2].min(), float(spine(heads) / spine(w.rig.heads)))
    hair = outfit.hair if look.hair else ""
    pieces = worn(rng, body, outfit.headgear, hair, outfit.glasses, outfit.backpack)
    if bodies.scripts is None or not look.objects:
        return pieces
    thing, attitude = str(bodies.scripts.things[i]), str(bodies.scripts.attitudes[i])
    for hand, side in enumerate("LR"):
        if bodies.scripts.grasp[i, hand] and (thing != "racket" or side == "R" or not bodies.scripts.grasp[i, 1]):
            if thing in ("bat", "club") and side == "L" and bodies.scripts.grasp[i, 1]:
                continue  # both hands at one bat
            pieces += held(rng, body, thing, side)
    if thing in ("skis", "skateboard", "surfboard", "snowboard") and attitude != "lie":
        pieces += underfoot(rng, body, thing)
    if thing in ("bicycle", "motorbike", "horse"):
        pieces += mount(rng, body, thing)
    if attitude == "sit":
        pieces += furniture(rng, body, bodies.scripts.acts[i] == "table" or rng.random() < 0.15)
    return pieces


def label_image(
    w: Wardrobe, vertices: np.ndarray, bones: np.ndarray, outfit: Outfit, view: View, scale: float, shift: np.ndarray,
    size: tuple[int, int], pieces: Sequence[Piece] = (),
) -> Sample:  # fmt: skip
    """Draw a dressed body and its things as `view` sees them; image coordinates are `scale` times the normalised ones plus `shift`."""
    normals = vertex_normals(vertices, w.faces)
    mesh = _Mesh.join(w, vertices + outfit.offset[:, None] * normals, normals, outfit, pieces)
    image, depth = view.project(mesh.vertices)
    image = image * np.float32(scale) + shift.astype(np.float32)
    owner, z_buffer = nearest_faces(image, depth, mesh.faces, mesh.face_class, size, mesh.double_sided)
    turned = mesh.normals @ view.turn.T.astype(np.float32)
    planes, depth_scale = fill_planes(
        owner, z_buffer, image, depth, mesh.faces, mesh.face_class, mesh.face_segment, turned, mesh.places, PLACES, outfit
    )  # fmt: skip
    joints, joint_depth = view.project(w.landmarks.wholebody133(vertices[w.base_index][None], bones[None])[0])
    joints = joints * scale + shift
    hidden = _hidden(joints, joint_depth, z_buffer, planes[0], size)
    keypoints = np.concatenate([joints, np.array([2, 1, 1, 0])[hidden][:, None]], 1).astype(np.float32)
    relief = float(depth_scale[1] * scale / max(depth_scale[0] + 100 * depth_scale[1], 0.1))
    return Sample(planes, depth_scale, keypoints, hidden.astype(np.uint8), _boxes(w, image, depth, planes[0], size), relief)


@dataclass(frozen=True)
class _Mesh:
    """A dressed body with its things as one mesh."""

    vertices: np.ndarray
    normals: np.ndarray
    places: np.ndarray
    faces: np.ndarray
    face_class: np.ndarray
    face_segment: np.ndarray
    double_sided: np.ndarray

    @classmethod
    def join(cls, w: Wardrobe, vertices: np.ndarray, normals: np.ndarray, outfit: Outfit, pieces: Sequence[Piece]) -> _Mesh:
        segment = np.where(outfit.face_class > LAST_OF_PERSON, 0, w.segment[w.faces[:, 0]]).astype(np.uint8)
        parts = [(vertices, normals, w.rest, w.faces, outfit.face_class, segment, w.double_sided)]
        total, head = len(vertices), SEGMENTS.index("head")
        for piece in pieces:
            count = len(piece.faces)
            segment = np.full(count, head if piece.name in (HAIR, HAT) else 0, np.uint8)
            normals = vertex_normals(piece.vertices, piece.faces)
            name, sided = np.full(count, piece.name, np.uint8), np.ones(count, bool)
            parts.append((piece.vertices, normals, piece.places, piece.faces + np.int32(total), name, segment, sided))
            total += len(piece.vertices)
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return cls(*(c.astype(np.float32) if c.dtype == np.float64 else c for c in columns))


def _hidden(joints: np.ndarray, depth: np.ndarray, z_buffer: np.ndarray, classes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """SEEN where a point lies within its limb's thickness of the visible surface, else what is before it, or OUTSIDE the picture."""
    inside = (depth >= NEAREST) & (joints >= -0.5).all(1) & (joints[:, 0] < size[0] - 0.5) & (joints[:, 1] < size[1] - 0.5)
    column, row = np.clip(np.rint(joints), 0, [size[0] - 1, size[1] - 1]).astype(int).T
    thickness = np.full(len(joints), 0.03)
    thickness[5:17] = 0.12
    thickness[[7, 8, 9, 10, 13, 14, 15, 16]] = 0.08
    behind = z_buffer[row, column] < depth - thickness
    hidden = np.where(behind, np.where(classes[row, column] > LAST_OF_PERSON, THING, SELF), SEEN)
    return np.where(inside, hidden, OUTSIDE)


def _truth(w: Wardrobe, bodies: Bodies, i: int, view: View, scale: float, shift: np.ndarray) -> Truth:
    """The labels in three dimensions."""
    from scipy.spatial.transform import Rotation

    from vitruvian.body.compact import pose_from_anny, shape_from_phenotype

    world = w.landmarks.wholebody133(bodies.vertices[i][w.base_index][None], bodies.heads[i][None])[0]
    pose, place = pose_from_anny(w.rig.names, bodies.rest_bone_poses[i : i + 1], bodies.bone_poses[i : i + 1])
    to_world = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the compact body's axes (y up) to Anny's
    turn = view.turn @ to_world
    pose = pose[0].copy()
    pose[0] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[0])).as_rotvec()
    names = ("gender", "age", "muscle", "weight", "height", "proportions")
    lowest = bodies.vertices[i][:, 2].min()
    up = view.turn @ np.array([0, 0, 1.0])
    ahead = bodies.turns[i][0] @ np.array([0, -1.0, 0])
    eye = view.centre - view.distance * view.turn[2]
    sight = eye - bodies.heads[i][0]
    return Truth(
        points=view.to_camera(world), camera=np.array([scale, *shift, view.bend]), pose=pose,
        shape=shape_from_phenotype(**dict(zip(names, bodies.phenotypes[i].tolist(), strict=True))), expression=bodies.actions[i],
        translation=view.to_camera(place[0] @ to_world.T), phenotype=bodies.phenotypes[i],
        orientation=_wrapped(np.arctan2(ahead[1], ahead[0]) - np.arctan2(sight[1], sight[0])),
        contact=world[:, 2] < lowest + 0.03, floor=np.array([*up, up @ view.to_camera(np.array([0, 0, lowest]))]),
        act=0 if bodies.scripts is None else list(ACTS).index(bodies.scripts.acts[i]),
    )  # fmt: skip


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _boxes(w: Wardrobe, image: np.ndarray, depth: np.ndarray, classes: np.ndarray, size: tuple[int, int]) -> Float[np.ndarray, "7 4"]:
    """Boxes of PARTS: the person's around its drawn pixels, the parts' around their whole surface, clipped to the picture."""
    boxes = np.full((len(PARTS), 4), np.nan, np.float32)
    rows, columns = np.nonzero((classes > 0) & (classes <= LAST_OF_PERSON))
    if len(rows):
        boxes[0] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    for i, group in enumerate(w.part_vertices, 1):
        if (depth[group] < NEAREST).any():  # reaches past the camera
            continue
        x, y = image[group, 0], image[group, 1]
        least, most = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
        low, high = np.clip(least, 0, size), np.clip(most, 0, size)
        whole = np.prod(most - least)
        if np.prod(high - low) > 0.3 * whole:
            boxes[i] = *low, *high
    return boxes
