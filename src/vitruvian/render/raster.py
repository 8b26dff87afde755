"""A z-buffer rasteriser for triangle meshes: headless, deterministic, one numba kernel, no OpenGL.

It draws what label images need: per pixel the nearest triangle's class, its interpolated vertex attributes, and the depth.
Perspective is applied by the caller; attributes are interpolated linearly in the image, which is exact enough for the
millimetre-sized triangles of a body mesh (the largest error is the triangle's own depth range over its distance).
"""

from __future__ import annotations

import numba
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.render.shade import vertex_normals  # noqa: F401  (synth takes both from here)


@numba.njit(cache=True, fastmath=True)
def _draw(points, depth, faces, face_class, double_sided, attributes, z_buffer, classes, out):
    height, width = z_buffer.shape
    channels = attributes.shape[1]
    for f in range(faces.shape[0]):
        if face_class[f] == 0:
            continue
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = depth[a], depth[b], depth[c]
        if za <= 0.05 or zb <= 0.05 or zc <= 0.05:
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
                z = wa * za + wb * zb + wc * zc
                if z >= z_buffer[y, x]:
                    continue
                z_buffer[y, x] = z
                classes[y, x] = face_class[f]
                for k in range(channels):
                    out[y, x, k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]


def rasterise(
    points: Float[np.ndarray, "v 2"],
    depth: Float[np.ndarray, " v"],
    faces: Int[np.ndarray, "f 3"],
    face_class: UInt8[np.ndarray, " f"],
    attributes: Float[np.ndarray, "v c"],
    size: tuple[int, int],
    double_sided: np.ndarray | None = None,
) -> tuple[UInt8[np.ndarray, "h w"], Float[np.ndarray, "h w c"], Float[np.ndarray, "h w"]]:
    """Draw a mesh into an image of `size` (width, height).

    `points` are image coordinates in pixels (y down), `depth` the distance along the view axis in metres; vertices nearer
    than 5 cm are clipped with their triangles. Faces of class 0 are left out. A face is seen from its outside when its
    corners run counter-clockwise as seen by the viewer; `double_sided` (one flag per face) keeps the back side too.
    Returns the class image (0 where nothing is), the interpolated attributes and the depth (inf where nothing is).
    """
    width, height = size
    z_buffer = np.full((height, width), np.inf, np.float32)
    classes = np.zeros((height, width), np.uint8)
    out = np.zeros((height, width, attributes.shape[1]), np.float32)
    if double_sided is None:
        double_sided = np.zeros(len(faces), np.bool_)
    _draw(
        np.ascontiguousarray(points, np.float32), np.ascontiguousarray(depth, np.float32), faces, face_class, double_sided,
        np.ascontiguousarray(attributes, np.float32), z_buffer, classes, out,
    )  # fmt: skip
    return classes, out, z_buffer
