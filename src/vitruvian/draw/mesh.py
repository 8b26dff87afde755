"""Meshes drawn over a picture, with the right one in front, and round views of one mesh. numpy and OpenCV only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.body.model import BodyModel, subset
from vitruvian.draw.overlay import track_color
from vitruvian.errors import VitruvianError
from vitruvian.render.shade import brightness, vertex_normals
from vitruvian.render.simplify import merged
from vitruvian.render.surface import interpolate, project, visible_surface
from vitruvian.take import People

PAPER = (246, 246, 244)
SKIN = (222, 200, 184)
_SHIFT = 4  # OpenCV draws at 1 / 2**_SHIFT of a pixel
_FAR = 100_000  # pixels; no bone of a person in view ends beyond
_NEARER = 0.4  # metres that a body reaches from its root towards the camera, about
_LENGTHS = (0.004, 0.006, 0.009, 0.014, 0.02, 0.03)  # metres: vertices that are closer together than one of these may be drawn as one
_ALIKE = 2.0  # pixels: vertices that are closer together in the picture are drawn as one


def draw_meshes(
    image: UInt8[np.ndarray, "h w 3"],
    vertices: Sequence[Float[np.ndarray, "v 3"]] | Float[np.ndarray, "n v 3"],
    faces: Int[np.ndarray, "f 3"] | Sequence[Int[np.ndarray, "f 3"]],
    intrinsics: Float[np.ndarray, "3 3"],
    colors: Sequence[tuple[int, int, int] | UInt8[np.ndarray, "v 3"]] | None = None,
    opacity: float = 0.85,
) -> None:
    """Draw shaded meshes into `image` (RGB), in place; of those that overlap, the nearer one hides the other, pixel by pixel.

    `vertices`: of each mesh, metres in the camera's frame (x right, y down, z forward). `faces`: one array for all meshes or one per
    mesh, corners counter-clockwise seen from outside. `intrinsics`: the pinhole camera's 3 x 3 matrix in pixels, without distortion.
    `colors`: RGB of each mesh, or of each of its vertices; None takes the colours of tracks 0, 1, 2 ... `opacity` in [0, 1] lets the
    picture through, not the meshes behind. Faces with a vertex that is not finite or behind the camera are left out.
    Raises VitruvianError where counts don't fit each other.
    """
    counts = [len(one) for one in vertices]
    if not counts or not len(image):
        return
    several = [np.asarray(one) for one in faces] if isinstance(faces, (list, tuple)) else [np.asarray(faces)] * len(counts)
    colors = [track_color(track) for track in range(len(counts))] if colors is None else colors
    if not len(counts) == len(several) == len(colors):
        raise VitruvianError(
            f"{len(counts)} meshes, {len(several)} arrays of faces and {len(colors)} colours don't go together; give one of each"
        )
    points = np.concatenate([np.asarray(one, np.float32) for one in vertices])
    joined = np.concatenate([one + start for one, start in zip(several, np.cumsum([0, *counts[:-1]]), strict=True)])
    of_vertices = np.concatenate([np.broadcast_to(np.asarray(c, np.float32), (n, 3)) for c, n in zip(colors, counts, strict=True)])
    with np.errstate(invalid="ignore"):
        shown = of_vertices * brightness(points, vertex_normals(points, joined))[:, None]
    _draw(image, points, joined, intrinsics, shown, opacity)


def draw_bodies(
    image: UInt8[np.ndarray, "h w 3"],
    people: People,
    model: BodyModel,
    intrinsics: Float[np.ndarray, "3 3"],
    opacity: float = 0.85,
    bones: bool = False,
) -> None:
    """Draw the bodies of one frame's people into `image` (RGB), in place, in the colours of their tracks, perhaps with their bones on top.

    The bodies must be in the frame of the camera with these `intrinsics` (`Take.space` "camera"). People without a body are left out.
    Where vertices lie within two pixels of each other, only one of them is drawn: the fewer, the smaller a person is in the picture.
    Raises VitruvianError where the bodies are of another model.
    """
    if people.body_pose is None or people.body_translation is None:
        return
    people = people[np.isfinite(people.body_pose).all((1, 2)) & np.isfinite(people.body_translation).all(1)]
    if not len(people):
        return
    shape, expression = (None if values is None else np.nan_to_num(values) for values in (people.body_shape, people.body_expression))
    if expression is not None and not expression.any():
        expression = None  # as in most films: spares the time
    alike = _ALIKE * (people.body_translation[:, 2] - _NEARER) / intrinsics[0, 0]  # metres
    lengths = np.array([max((length for length in _LENGTHS if length <= limit), default=0.0) for limit in alike])
    vertices, faces, joints, tracks = [], [], [], []
    for length in np.unique(lengths).tolist():
        alike, simple = lengths == length, _less_detailed(model, length)
        inputs = (people.body_pose, shape, expression, people.body_translation)
        posed = simple.forward(*(values if values is None else values[alike] for values in inputs))
        vertices += list(posed.vertices)
        faces += [simple.faces] * len(posed.vertices)
        joints += list(posed.joints)
        tracks += people.track[alike].tolist()
    draw_meshes(image, vertices, faces, intrinsics, [track_color(track) for track in tracks], opacity)
    for places in joints if bones else ():
        draw_bones(image, places, model.parents, intrinsics)


@lru_cache(maxsize=len(_LENGTHS) + 1)
def _less_detailed(model: BodyModel, length: float) -> BodyModel:
    """The model without vertices that are nearer to others than `length` (metres); itself for 0."""
    if not length:
        return model
    kept, faces = merged(model.template, model.faces, length)
    return replace(subset(model, kept), faces=faces)


def draw_bones(
    image: UInt8[np.ndarray, "h w 3"],
    joints: Float[np.ndarray, "j 3"],
    parents: Sequence[int],
    intrinsics: Float[np.ndarray, "3 3"],
    color: tuple[int, int, int] = (255, 255, 255),
) -> None:
    """Draw the joint tree of a body (metres in the camera's frame, parent -1: none) over `image`, in place, in front of everything."""
    places = project(np.asarray(joints), intrinsics)
    shown = np.isfinite(places).all(1) & (np.abs(np.nan_to_num(places)) < _FAR).all(1)
    fixed = np.where(shown[:, None], places * (1 << _SHIFT), 0).round().astype(int).tolist()
    width = max(1, round(min(image.shape[:2]) / 360))
    for joint, parent in enumerate(parents):
        if parent >= 0 and shown[joint] and shown[parent]:
            cv2.line(image, fixed[parent], fixed[joint], color, width, cv2.LINE_AA, _SHIFT)
    for joint in np.flatnonzero(shown).tolist():
        cv2.circle(image, fixed[joint], round(1.4 * width * (1 << _SHIFT)), color, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def turntable(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    views: int = 6,
    size: tuple[int, int] = (320, 480),
    color: tuple[int, int, int] | UInt8[np.ndarray, "v 3"] = SKIN,
) -> UInt8[np.ndarray, "h w 3"]:
    """A mesh (metres, y up, facing +z) seen from `views` sides, next to each other: the front first, then turned to the viewer's right.

    Each view is `size` (width, height) pixels on a light ground; the mesh fills it in every view. No views make a picture without columns.
    """
    empty = np.zeros((size[1], 0, 3), np.uint8)
    return np.concatenate([empty, *turntable_views(vertices, faces, views, size, color)], axis=1)


def turntable_views(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    views: int = 90,
    size: tuple[int, int] = (480, 640),
    color: tuple[int, int, int] | UInt8[np.ndarray, "v 3"] = SKIN,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """The views of `turntable` one by one: the frames of a video of one full turn."""
    vertices, (width, height) = np.asarray(vertices, np.float32), size
    finite = vertices[np.isfinite(vertices).all(1)]
    low, high = (finite.min(0), finite.max(0)) if len(finite) else (np.zeros(3), np.zeros(3))
    centred = vertices - (low + high) / 2
    radius = float(np.linalg.norm(finite[:, [0, 2]] - ((low + high) / 2)[[0, 2]], axis=1).max(initial=0)) + 1e-6
    tall = float(high[1] - low[1]) / 2 + 1e-6
    distance = 4 * max(tall, radius) + radius
    focal = 0.46 * min(width / radius, height / tall) * (distance - radius)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    for angle in np.arange(views) * (2 * np.pi / max(views, 1)):
        cosine, sine = np.cos(angle), np.sin(angle)
        x, z = cosine * centred[:, 0] + sine * centred[:, 2], cosine * centred[:, 2] - sine * centred[:, 0]
        image = np.full((height, width, 3), PAPER, np.uint8)
        draw_meshes(image, [np.stack([x, -centred[:, 1], distance - z], axis=1)], faces, intrinsics, [color], opacity=1.0)
        yield image


def _draw(
    image: UInt8[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    colors: Float[np.ndarray, "v 3"],
    opacity: float,
) -> None:
    """Blend the visible surface into the picture."""
    height, width = image.shape[:2]
    places, depth = project(points, intrinsics), points[:, 2]
    surface = visible_surface(places, depth, faces, (width, height))
    covered = surface.face >= 0
    if not covered.any():
        return
    layer, shades = np.zeros((*covered.shape, 4), np.uint8), interpolate(surface, places, depth, faces, colors)
    filled = np.full((len(shades), 4), 255, np.uint8)
    filled[:, :3] = np.clip(shades, 0, 255)
    layer.view(np.uint32)[covered, 0] = filled.view(np.uint32)[:, 0]
    # One blur of colour and coverage together (the colour is 0 outside) softens the steps of the outline.
    layer = cv2.GaussianBlur(layer, (3, 3), 0.6, borderType=cv2.BORDER_REPLICATE)
    window = image[surface.top : surface.top + covered.shape[0], surface.left : surface.left + covered.shape[1]]
    through = cv2.cvtColor(255 - cv2.convertScaleAbs(layer[..., 3], alpha=opacity), cv2.COLOR_GRAY2RGB)
    behind = cv2.multiply(window, through, scale=1 / 255)
    window[...] = cv2.addWeighted(cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB), opacity, behind, 1.0, 0.0)
