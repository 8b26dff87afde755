"""Proof pictures of the landmarks: the face and the hands of an Anny body with every point drawn and numbered.

    python -m vitruvian.synth.landmark_pictures docs/images

writes `face68.png` and `hands42.png`. Red points are in view, blue ones lie behind the surface. Needs the `synth` extra.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.synth.landmarks import Landmarks, landmarks_for

if TYPE_CHECKING:
    import anny

_LIGHT = np.array([-0.35, -0.45, -0.82])


def camera_frame(points: Float[np.ndarray, "n 3"], yaw: float, pitch: float) -> Float[np.ndarray, "n 3"]:
    """Turn Anny's frame (z up, facing -y) to a camera's: x to the image's right, y down, z away from the camera.

    Args:
        yaw: degrees; positive turns the camera to the person's left side.
        pitch: degrees; positive raises the camera.
    """
    a, b = np.radians((yaw, pitch))
    right = points[:, 0] * np.cos(a) + points[:, 1] * np.sin(a)
    away = -points[:, 0] * np.sin(a) + points[:, 1] * np.cos(a)
    return np.stack([right, -points[:, 2] * np.cos(b) - away * np.sin(b), away * np.cos(b) - points[:, 2] * np.sin(b)], axis=1)


def draw_points(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    points: Float[np.ndarray, "n 3"],
    labels: Sequence[int],
    *,
    yaw: float,
    pitch: float,
    centre: Float[np.ndarray, " 3"],
    extent: float,
    size: int,
) -> UInt8[np.ndarray, "h w 3"]:
    """An orthographic picture of a surface, flat shaded from back to front, with numbered points.

    Args:
        centre: the place in the middle of the picture.
        extent: metres across the picture.
        size: width and height of the picture in pixels.
    """
    scale = size / extent
    origin = camera_frame(np.asarray(centre)[None], yaw, pitch)
    seen = (camera_frame(vertices, yaw, pitch) - origin) * scale + [size / 2, size / 2, 0]
    triangles = seen[faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    shade = 0.3 + 0.7 * np.clip(normals @ _LIGHT, 0, 1)
    inside = (triangles[..., :2].max(1) > 0).all(1) & (triangles[..., :2].min(1) < size).all(1)
    # Only faces turned to the camera, the farthest first.
    order = np.flatnonzero(inside & (normals[:, 2] < 0))
    order = order[np.argsort(-triangles[order, :, 2].mean(1))]
    image = np.full((size, size, 3), 255, np.uint8)
    depth = np.full((size, size), np.inf)
    corners = np.round(triangles[..., :2] * 16).astype(np.int32)
    for face in order:
        # Few grey levels and hard edges keep the file small.
        grey = 12 * round(20 * shade[face])
        cv2.fillConvexPoly(image, corners[face], (grey, 0.86 * grey, 0.79 * grey), shift=4)
        cv2.fillConvexPoly(depth, corners[face], float(triangles[face, :, 2].max()), shift=4)
    places = (camera_frame(points, yaw, pitch) - origin) * scale + [size / 2, size / 2, 0]
    for label, (x, y, z) in zip(labels, places, strict=True):
        if not (0 <= x < size and 0 <= y < size):
            continue
        hidden = z > depth[int(y), int(x)] + 0.003 * scale
        at = (round(x), round(y))
        cv2.circle(image, at, 3, (30, 90, 255) if hidden else (230, 20, 20), -1, cv2.LINE_AA)
        cv2.putText(image, str(label), (at[0] + 4, at[1] - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return image


def pose_body(model: anny.Anny, actions: dict[str, float] | None = None) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "k 3"]]:
    """Vertices and bone heads of the average body at rest, with facial actions of the given weights (name -> 0..1)."""
    import torch

    weights = torch.zeros(1, len(model.facial_action_labels), dtype=model.dtype)
    for name, weight in (actions or {}).items():
        weights[0, model.facial_action_labels.index(name)] = weight
    with torch.no_grad():
        output = model(facial_actions=weights)
    return output["vertices"][0].numpy(), output["bone_poses"][0, :, :3, 3].numpy()


def triangles_of(model: anny.Anny) -> Int[np.ndarray, "f 3"]:
    """The model's triangles as vertex indices."""
    return np.asarray(model.get_triangular_faces())


def face_picture(model: anny.Anny, landmarks: Landmarks, size: int = 640) -> UInt8[np.ndarray, "h w 3"]:
    """The 68 face points (iBUG numbers): front and three-quarter view at rest, then open mouth with closed eyes, and a smile."""
    faces = triangles_of(model)
    views = (
        ({}, 0.0),
        ({}, -40.0),
        ({"jawOpen": 0.6, "eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, 0.0),
        ({"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "browInnerUp": 1.0}, -25.0),
    )
    tiles = []
    for actions, yaw in views:
        vertices, _ = pose_body(model, actions)
        centre = vertices[landmarks.face_vertices].mean(axis=0) + [0.0, 0.04, 0.005]
        points = vertices[landmarks.face_vertices]
        tiles.append(draw_points(vertices, faces, points, range(68), yaw=yaw, pitch=0, centre=centre, extent=0.18, size=size))
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])


def hands_picture(model: anny.Anny, landmarks: Landmarks, size: int = 640) -> UInt8[np.ndarray, "h w 3"]:
    """The 42 hand points, numbered 0..20 as in one hand: right hand and left hand, back and palm."""
    faces = triangles_of(model)
    vertices, heads = pose_body(model)
    points = landmarks.wholebody133(vertices[None], heads[None])[0]
    tiles = []
    views = ((112, -60.0, 20.0), (112, 120.0, -20.0), (91, 60.0, 20.0), (91, -120.0, -20.0))
    for first, yaw, pitch in views:
        part = landmarks.right_hand if first == 112 else landmarks.left_hand
        # Only the hand itself: seen from the inside, the trunk would stand in front of it.
        own = faces[np.isin(faces, part).all(axis=1)]
        joints = points[first : first + 21]
        centre = (joints.min(axis=0) + joints.max(axis=0)) / 2
        tiles.append(draw_points(vertices, own, joints, range(21), yaw=yaw, pitch=pitch, centre=centre, extent=0.19, size=size))
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])


def _write_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write through a temporary name, so that no half-written picture stays."""
    _, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data.tobytes())
    os.replace(temporary, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both pictures to the folder named on the command line."""
    import anny
    import torch

    parser = argparse.ArgumentParser(description="Draw the landmark pictures.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    model = anny.Anny(rig="anny", topology="anny", facial_actions="all", phenotypes="default").to(dtype=torch.float32)
    landmarks = landmarks_for(model)
    _write_png(folder / "face68.png", face_picture(model, landmarks))
    _write_png(folder / "hands42.png", hands_picture(model, landmarks))


if __name__ == "__main__":
    main()
