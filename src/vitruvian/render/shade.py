"""Light on meshes: normals of vertices, and how bright they look to the camera."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

AMBIENT, HEADLIGHT, SKY = 0.28, 0.62, 0.10  # they sum to 1: the brightness of a surface that faces camera and sky


def face_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    """Normals of faces, pointing to the side from which the corners run counter-clockwise; their length is twice the area."""
    corner = np.ascontiguousarray(np.asarray(faces).T)
    axes = np.ascontiguousarray(np.asarray(vertices, np.float32).T)
    x, y, z = ([axis.take(index) for index in corner] for axis in axes)
    (ux, vx), (uy, vy), (uz, vz) = ((axis[1] - axis[0], axis[2] - axis[0]) for axis in (x, y, z))
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], axis=-1)


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Unit normals of vertices: the area-weighted mean of the faces around each, pointing outwards; zero for a vertex without faces."""
    normals = face_normals(vertices, faces)
    corners = np.ascontiguousarray(np.asarray(faces).T)
    out = np.empty((len(vertices), 3), np.float32)
    for axis in range(3):
        weight = np.ascontiguousarray(normals[:, axis])
        out[:, axis] = sum(np.bincount(corner, weight, len(vertices)) for corner in corners)
    length = np.sqrt(np.einsum("vc,vc->v", out, out))
    out /= np.maximum(length, np.finfo(np.float32).tiny)[:, None]
    return out


def brightness(points: Float[np.ndarray, "v 3"], normals: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, " v"]:
    """How bright points of a matt surface look, in [AMBIENT, 1].

    `points` and unit `normals` in the camera's frame (x right, y down, z forward). The light is at the camera, so that nothing that
    it sees lies in shadow, with a little more from above, which tells up from down.
    """
    length = np.sqrt(np.einsum("vc,vc->v", points, points))
    facing = -np.einsum("vc,vc->v", points, normals) / np.maximum(length, 1e-9)
    return AMBIENT + HEADLIGHT * np.clip(facing, 0, 1) + SKY * (0.5 - 0.5 * normals[:, 1])
