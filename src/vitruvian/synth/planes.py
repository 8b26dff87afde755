"""The planes of a label image from the faces that a camera sees, in one pass over the pixels."""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.synth.outfit import EDGED, Outfit


@numba.njit(cache=True, fastmath=True)
def _fill(
    owner,
    points,
    nearness,
    faces,
    face_class,
    face_segment,
    normals,
    places,
    low,
    span,
    near,
    step,
    mixed,
    vertex_class,
    edges,
    edged,
    planes,
):
    for y in range(owner.shape[0]):
        for x in range(owner.shape[1]):
            f = owner[y, x]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
            inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            tb, tc = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse, ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
            wa, wb, wc = (1.0 - tb - tc) * nearness[a], tb * nearness[b], tc * nearness[c]
            total = wa + wb + wc
            depth = 1.0 / total
            wa, wb, wc = wa * depth, wb * depth, wc * depth
            planes[0, y, x], planes[7, y, x] = face_class[f], face_segment[f]
            if f < mixed.shape[0] and mixed[f]:
                best, winner = -1.0, vertex_class[a]
                for kind in (vertex_class[a], vertex_class[b], vertex_class[c]):
                    value = wa * edges[a, kind] + wb * edges[b, kind] + wc * edges[c, kind]
                    if value > best:
                        best, winner = value, kind
                planes[0, y, x] = edged[winner]
            nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
            ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
            nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
            scale = 127.0 / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-6)
            if nz > 0.0:
                scale = -scale  # the side that is seen looks to the camera
            planes[1, y, x] = np.uint8(min(max(nx * scale + 128.0, 0.0), 255.0))
            planes[2, y, x] = np.uint8(min(max(ny * scale + 128.0, 0.0), 255.0))
            for k in range(3):
                place = (wa * places[a, k] + wb * places[b, k] + wc * places[c, k] - low[k]) * span[k]
                planes[3 + k, y, x] = np.uint8(min(max(place, 0.0), 255.0))
            planes[6, y, x] = np.uint8(min(max(1.5 + (depth - near) / step, 1.0), 255.0))


def fill_planes(
    owner: Int[np.ndarray, "h w"], z_buffer: Float[np.ndarray, "h w"], points: Float[np.ndarray, "v 2"], depth: Float[np.ndarray, " v"],
    faces: Int[np.ndarray, "f 3"], face_class: UInt8[np.ndarray, " f"], face_segment: UInt8[np.ndarray, " f"],
    normals: Float[np.ndarray, "v 3"], places: Float[np.ndarray, "v 3"], spans: Float[np.ndarray, "3 2"], outfit: Outfit,
) -> tuple[UInt8[np.ndarray, "8 h w"], Float[np.ndarray, " 2"]]:  # fmt: skip
    """The planes that `store.PLANES` names, and the depth plane's (nearest, step) in metres.

    `owner`, `z_buffer`: as render.raster.nearest_faces returns them. `normals`: unit, in the camera's frame. `places` on the reference
    body and the `spans` in metres that 0..255 stands for. `outfit`: divides the triangles that are of mixed matter (the mesh's first).
    """
    planes = np.zeros((8, *owner.shape), np.uint8)
    seen = z_buffer[owner >= 0]
    if not len(seen):
        return planes, np.array([0, 1], np.float32)
    near, far = seen.min(), seen.max()
    step = max((far - near) / np.float32(254), np.float32(0.002))
    small = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
    nearness = 1 / np.maximum(small(depth), np.float32(0.01))
    _fill(
        owner, small(points), nearness, faces, face_class, face_segment, small(normals), small(places), small(spans[:, 0]),
        small(255 / (spans[:, 1] - spans[:, 0])), near, step, outfit.mixed,
        outfit.vertex_class, outfit.edges, EDGED, planes,
    )  # fmt: skip
    return planes, np.array([near, step], np.float32)
