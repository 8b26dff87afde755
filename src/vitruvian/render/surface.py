"""What a camera sees of triangle meshes: per pixel the nearest face and its depth, with numpy alone and without a loop over faces.

Every face is cut into its runs of pixels, one per image row, and the runs into pixels, all faces at once: a body of 27 000 small
faces makes as many entries as it covers pixels, not as many as its faces have in their bounding boxes. The z-buffer then takes the
nearest entry of each pixel: entries are written, those that turn out nearer than what was written are written again, until none is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NEAR = 0.05  # metres; a face with a corner nearer to the camera's plane is left out
_SLACK = 1e-3  # pixels by which runs are wider than their face, so that rounding leaves no holes between neighbours
_CHUNK = 1 << 22  # pixels of bounding boxes that are cut at once: bounds the memory for large faces


@dataclass(frozen=True)
class Surface:
    """The visible part of a mesh inside the rectangle of the picture that it can reach.

    left, top: that rectangle's first column and row. face: (h, w) index of the nearest face, -1 where there is none.
    depth: (h, w) metres along the view axis, inf where there is none.
    """

    left: int
    top: int
    face: Int[np.ndarray, "h w"]
    depth: Float[np.ndarray, "h w"]


@dataclass(frozen=True)
class _Corners:
    """Faces that may be seen, counter-clockwise on screen: index, pixels and inverse depth per corner, and twice the area (< 0)."""

    index: Int[np.ndarray, " f"]
    x: Float[np.ndarray, "3 f"]
    y: Float[np.ndarray, "3 f"]
    inverse: Float[np.ndarray, "3 f"]
    area: Float[np.ndarray, " f"]

    def __getitem__(self, chosen: slice | np.ndarray) -> _Corners:
        return _Corners(self.index[chosen], self.x[:, chosen], self.y[:, chosen], self.inverse[:, chosen], self.area[chosen])


def project(points: Float[np.ndarray, "v 3"], intrinsics: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "v 2"]:
    """Pixels of points in the camera's frame (x right, y down, z forward); points at or behind the camera's plane give no sense (NaN)."""
    points, intrinsics = np.asarray(points, np.float32), np.asarray(intrinsics, np.float32)
    depth = np.where(points[:, 2] > 0, points[:, 2], np.nan)
    rays = points[:, :2] / depth[:, None]
    return rays @ intrinsics[:2, :2].T + intrinsics[:2, 2]


def visible_surface(
    points: Float[np.ndarray, "v 2"],
    depth: Float[np.ndarray, " v"],
    faces: Int[np.ndarray, "f 3"],
    size: tuple[int, int],
    double_sided: bool = False,
) -> Surface:
    """The nearest face of every pixel of a picture of `size` (width, height).

    `points`: image coordinates (a pixel's centre is its integer index, y down). `depth`: metres along the view axis.
    A face is seen from its outside, where its corners run counter-clockwise for the viewer, unless `double_sided`. Faces with a
    corner nearer than `NEAR` or not finite are left out; depth between corners is that of the plane seen in perspective.
    """
    width, height = size
    corners = _facing(np.asarray(points, np.float32), np.asarray(depth, np.float32), np.asarray(faces), size, double_sided)
    if not len(corners.index):
        return Surface(0, 0, np.full((0, 0), -1, np.int32), np.zeros((0, 0), np.float32))
    left, right = (int(np.clip(edge, 0, width - 1)) for edge in (np.ceil(corners.x.min() - _SLACK), np.floor(corners.x.max() + _SLACK)))
    top, bottom = (int(np.clip(edge, 0, height - 1)) for edge in (np.ceil(corners.y.min()), np.floor(corners.y.max())))
    shape = (bottom - top + 1, right - left + 1)
    nearest = np.zeros(shape[0] * shape[1], np.float32)  # inverse depth
    winner = np.full(shape[0] * shape[1], -1, np.int32)
    for chunk in _chunks(corners, size):
        if chunk.inverse.max() <= nearest.min():
            break  # this portion and all after it lie behind what is drawn everywhere
        pixels, inverse, owner = _fill(chunk, (left, top, right, bottom))
        while True:
            nearer = np.flatnonzero(inverse > nearest[pixels])
            if not len(nearer):
                break
            pixels, inverse, owner = pixels[nearer], inverse[nearer], owner[nearer]
            nearest[pixels] = inverse  # where a pixel comes twice, its last entry stays
            winner[pixels] = owner
    with np.errstate(divide="ignore"):
        return Surface(left, top, winner.reshape(shape), (1 / nearest).reshape(shape))


def interpolate(
    surface: Surface,
    points: Float[np.ndarray, "v 2"],
    depth: Float[np.ndarray, " v"],
    faces: Int[np.ndarray, "f 3"],
    values: Float[np.ndarray, "v c"],
) -> Float[np.ndarray, "p c"]:
    """Values of the vertices at the P covered pixels (row by row: those of `surface.face >= 0`), in perspective.

    Pixels that lie beyond their face's edge by rounding take the value at the edge.
    """
    width = max(surface.face.shape[1], 1)
    covered = np.flatnonzero(surface.face >= 0)
    rows, columns = (part.astype(np.float32) for part in divmod(covered.astype(np.int32), np.int32(width)))
    corner = np.ascontiguousarray(np.asarray(faces).T).take(surface.face.ravel()[covered], axis=1)
    along, down = np.ascontiguousarray(np.asarray(points, np.float32).T)
    x = [along.take(index) - (columns + np.float32(surface.left)) for index in corner]
    y = [down.take(index) - (rows + np.float32(surface.top)) for index in corner]
    shares = np.stack([x[j] * y[k] - x[k] * y[j] for j, k in ((1, 2), (2, 0), (0, 1))])
    shares *= np.sign(shares.sum(0))
    with np.errstate(divide="ignore"):  # vertices that are not in view
        shares = np.maximum(shares, 0) * (1 / np.asarray(depth, np.float32)).take(corner)
    total = shares.sum(0)
    shares[0, total == 0] = total[total == 0] = 1  # a face without area
    shares /= total
    values = np.ascontiguousarray(np.asarray(values, np.float32).T)
    out = np.empty((len(covered), len(values)), np.float32)
    for channel, of_vertices in enumerate(values):
        out[:, channel] = np.einsum("ip,ip->p", shares, of_vertices.take(corner))
    return out


def _facing(points: np.ndarray, depth: np.ndarray, faces: np.ndarray, size: tuple[int, int], double_sided: bool) -> _Corners:
    """The faces that lie before the camera, turned to it, and over a pixel's centre of the picture."""
    corner, (along, down) = np.ascontiguousarray(faces.T), np.ascontiguousarray(points.T)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # points at or behind the camera's plane
        x, y = (np.stack([values.take(index) for index in corner]) for values in (along, down))
        area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
        chosen = np.flatnonzero(((area < 0) | (double_sided & (area > 0))) & np.isfinite(area))
        x, y, area = x.take(chosen, axis=1), y.take(chosen, axis=1), area[chosen]
        top, bottom = np.ceil(np.minimum(np.minimum(y[0], y[1]), y[2])), np.floor(np.maximum(np.maximum(y[0], y[1]), y[2]))
        left, right = (
            np.ceil(np.minimum(np.minimum(x[0], x[1]), x[2]) - _SLACK),
            np.floor(np.maximum(np.maximum(x[0], x[1]), x[2]) + _SLACK),
        )
        seen = (bottom >= top) & (right >= left) & (bottom >= 0) & (right >= 0) & (top < size[1]) & (left < size[0])
        depths = np.stack([depth.take(index.take(chosen)) for index in corner])
        seen = np.flatnonzero(seen & (depths >= NEAR).all(0))
    chosen, x, y, area, inverse = chosen[seen], x.take(seen, axis=1), y.take(seen, axis=1), area[seen], 1 / depths.take(seen, axis=1)
    away = area > 0
    if away.any():
        for values in (x, y, inverse):
            values[1:, away] = values[:0:-1, away]
    return _Corners(chosen.astype(np.int32), x, y, inverse, -np.abs(area))


def _chunks(corners: _Corners, size: tuple[int, int]) -> Iterator[_Corners]:
    """The faces in portions whose bounding boxes in the picture hold about `_CHUNK` pixels; several portions come near to far."""
    extent = [
        np.clip(values.max(0), 0, edge) - np.clip(values.min(0), 0, edge) + 1
        for values, edge in zip((corners.x, corners.y), size, strict=True)
    ]
    pixels = extent[0].astype(np.float64) * extent[1]
    if pixels.sum() <= _CHUNK:
        yield corners
        return
    order = np.argsort(-corners.inverse.max(0))
    portion = (np.cumsum(pixels[order]) // _CHUNK).astype(np.int64)
    starts = np.flatnonzero(np.diff(portion, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(portion)], strict=True):
        yield corners[order[start:stop]]


@np.errstate(all="ignore")  # slivers, and corners far outside: what is not finite covers no pixel
def _fill(corners: _Corners, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pixels of all faces: flat index into the window (left, top, right, bottom), inverse depth, and face."""
    left, top, right, bottom = window
    x, y, inverse = corners.x, corners.y, corners.inverse
    first = np.maximum(np.ceil(y.min(0)), top).astype(np.int32)
    last = np.minimum(np.floor(y.max(0)), bottom).astype(np.int32)
    face, step = _runs(np.maximum(last - first + 1, 0))
    row = (first[face] + step).astype(np.float32)
    start, end = np.full(len(face), left, np.float32), np.full(len(face), right, np.float32)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        rise = y[j] - y[i]
        slope = np.where(rise != 0, (x[j] - x[i]) / rise, 0)
        crossing = slope[face] * (row - y[i][face]) + x[i][face]
        np.maximum(start, crossing - _SLACK, out=start, where=(rise > 0)[face])
        np.minimum(end, crossing + _SLACK, out=end, where=(rise < 0)[face])
    start, end = np.ceil(start), np.floor(end)
    held = np.flatnonzero(end >= start)
    face, row, start, end = face[held], row[held], start[held], end[held]
    # Inverse depth is linear in the image: its value at both ends of a run, kept within that of the corners (slivers).
    edge_x, edge_y, edge_q = x[1:] - x[0], y[1:] - y[0], inverse[1:] - inverse[0]
    along_x = (edge_q[0] * edge_y[1] - edge_q[1] * edge_y[0]) / corners.area
    along_y = (edge_q[1] * edge_x[0] - edge_q[0] * edge_x[1]) / corners.area
    low, high = inverse.min(0)[face], inverse.max(0)[face]
    base, slope = inverse[0][face] + along_y[face] * (row - y[0][face]), along_x[face]
    origin = x[0][face]
    begin = np.clip(base + slope * (start - origin), low, high)
    slope = (np.clip(base + slope * (end - origin), low, high) - begin) / np.maximum(end - start, 1)
    run, step = _runs((end - start + 1).astype(np.int32))
    place = ((row - top) * (right - left + 1) + (start - left)).astype(np.int32)
    return place[run] + step, begin[run] + slope[run] * step.astype(np.float32), corners.index[face][run]


def _runs(lengths: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """For runs of the given lengths, one after the other: each entry's run, and its place in it."""
    ends = np.cumsum(lengths)
    run = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    return run, np.arange(len(run), dtype=np.int32) - np.repeat((ends - lengths).astype(np.int32), lengths)
