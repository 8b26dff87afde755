"""A z-buffer rasteriser for triangle meshes: headless, deterministic, numba kernels, no OpenGL.

It draws what label images need: per pixel the nearest triangle, its class, its interpolated vertex attributes, and the depth.
The caller projects; depth and attributes are interpolated in perspective, so that large triangles close by are right too.
"""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Float, Int, UInt8


@numba.njit(cache=True, fastmath=True)
def _nearest(points, nearness, faces, drawn, double_sided, best, owner):
    """Per pixel the largest inverse depth and the triangle that has it."""
    height, width = best.shape
    for f in range(faces.shape[0]):
        if drawn[f] == 0:
            continue
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        na, nb, nc = nearness[a], nearness[b], nearness[c]
        if na <= 0.0 or nb <= 0.0 or nc <= 0.0:
            continue
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0 or (area > 0.0 and not double_sided[f]):
            continue
        left = max(int(np.ceil(min(ax, bx, cx))), 0)
        right = min(int(np.floor(max(ax, bx, cx))), width - 1)
        top = max(int(np.ceil(min(ay, by, cy))), 0)
        bottom = min(int(np.floor(max(ay, by, cy))), height - 1)
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
                wa = 1.0 - wb - wc
                if wa < 0.0 or wb < 0.0 or wc < 0.0:
                    continue
                near = wa * na + wb * nb + wc * nc
                if near > best[y, x]:
                    best[y, x] = near
                    owner[y, x] = f


@numba.njit(cache=True, fastmath=True)
def _spread(points, nearness, faces, owner, attributes, out):
    """Attributes of the corners at every covered pixel, in perspective."""
    for y in range(owner.shape[0]):
        for x in range(owner.shape[1]):
            f = owner[y, x]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
            inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
            wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
            wa, wb, wc = (1.0 - wb - wc) * nearness[a], wb * nearness[b], wc * nearness[c]
            total = 1.0 / (wa + wb + wc)
            for k in range(attributes.shape[1]):
                out[y, x, k] = (wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]) * total


@numba.njit(cache=True, fastmath=True)
def _add_normals(vertices, faces, out):
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = (vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2])
        vx, vy, vz = (vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2])
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for v in range(out.shape[0]):
        length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        if length > 0.0:
            for k in range(3):
                out[v, k] /= length


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """As `shade.vertex_normals`, compiled: synth needs them for every body that it draws."""
    out = np.zeros(vertices.shape, np.float32)
    _add_normals(np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces), out)
    return out


def nearest_faces(
    points: Float[np.ndarray, "v 2"],
    depth: Float[np.ndarray, " v"],
    faces: Int[np.ndarray, "f 3"],
    drawn: UInt8[np.ndarray, " f"],
    size: tuple[int, int],
    double_sided: np.ndarray | None = None,
) -> tuple[Int[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Draw a mesh into a picture of `size` (width, height): the face of every pixel (-1 where none is) and its depth (inf).

    `points` are image coordinates in pixels (y down), `depth` the distance along the view axis in metres; vertices nearer
    than 5 cm are clipped with their triangles. Faces with `drawn` 0 are left out. A face is seen from its outside when its
    corners run counter-clockwise as seen by the viewer; `double_sided` (one flag per face) keeps the back side too.
    """
    width, height = size
    best, owner = np.zeros((height, width), np.float32), np.full((height, width), -1, np.int32)
    if double_sided is None:
        double_sided = np.zeros(len(faces), np.bool_)
    _nearest(np.ascontiguousarray(points, np.float32), _nearness(depth), faces, drawn, double_sided, best, owner)
    with np.errstate(divide="ignore"):
        return owner, 1 / best


def interpolate_faces(
    owner: Int[np.ndarray, "h w"],
    points: Float[np.ndarray, "v 2"],
    depth: Float[np.ndarray, " v"],
    faces: Int[np.ndarray, "f 3"],
    attributes: Float[np.ndarray, "v c"],
) -> Float[np.ndarray, "h w c"]:
    """Attributes of the vertices at every pixel, in perspective; 0 where no face is."""
    out = np.zeros((*owner.shape, attributes.shape[1]), np.float32)
    corners = np.ascontiguousarray(points, np.float32)
    _spread(corners, _nearness(depth), faces, owner, np.ascontiguousarray(attributes, np.float32), out)
    return out


def of_faces(owner: Int[np.ndarray, "h w"], values: np.ndarray) -> np.ndarray:
    """A value per face, put into the picture; 0 where there is no face."""
    padded = np.append(values, values.dtype.type(0))
    return padded[owner]  # -1 takes the last


def _nearness(depth: np.ndarray) -> Float[np.ndarray, " v"]:
    depth = np.asarray(depth, np.float32)
    return np.where(depth > 0.05, 1 / np.maximum(depth, 0.05), 0).astype(np.float32)
