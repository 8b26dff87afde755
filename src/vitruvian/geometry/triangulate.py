"""Points in space from their pixels in several cameras: linear, robust against cameras that are wrong, and refined; all points at once.

    found = triangulate(cameras, keypoints, confidence)         # (c, ..., 2), (c, ...) -> found.points (..., 3), NaN where impossible

| step | method |
|---|---|
| linear | the point of least weighted algebraic error in normalised coordinates (Hartley and Zisserman, Multiple View Geometry, 12.2, \
inhomogeneous), weights = confidence; the 3 x 3 systems of all points are one matrix product |
| robust | a point that some camera sees elsewhere is tried from every pair of cameras; the pair that most others agree with (truncated \
squares, MSAC) wins, and the cameras that agree with it count [ours: exhaustive, so that nothing is random] |
| refined | Gauss-Newton on the squared pixel error, weighted by confidence |

Pixel errors inside are those of a perfect lens with the camera's focal length; `reprojection_errors` tells the true ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, at_least_one, normalise, project

_CHUNK = 2048  # points that are worked on together: what fits into a core's cache
_PARALLEL = 1e-7  # of the determinant of a system with trace 2 or so: rays within about 0.03 degrees don't meet
_STEPS = 4  # of Gauss-Newton at most; it starts near its end
_GAIN = 1e-2  # share of the squared error: a point that gained less in a step would gain its square in the next
_NEAR = 1e-3  # metres; what lies nearer to a camera's plane, or behind it, can't be seen


@dataclass(frozen=True, eq=False)
class Triangulation:
    """points: (..., 3) metres in the world, NaN where fewer than two cameras (or `min_views`) agree.

    confidence: (...) mean confidence of the cameras that count, 0 where there is no point. used: (c, ...) which cameras count.
    error: (...) root mean square distance in pixels over these cameras, NaN where there is no point.
    """

    points: Float[np.ndarray, "*n 3"]
    confidence: Float[np.ndarray, "*n"]
    used: Bool[np.ndarray, " c *n"]
    error: Float[np.ndarray, "*n"]


def triangulate(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c *n 2"],
    confidence: Float[np.ndarray, " c *n"] | None = None,
    *,
    min_views: int = 2,
    threshold: float | None = 15.0,
    refine: bool = True,
) -> Triangulation:
    """Triangulate any number of points from c cameras' pixels (distorted, as the pictures have them).

    A keypoint that is NaN or has no confidence (0, NaN) was not seen. min_views: cameras that must agree on a point, 2 at least.
    threshold: pixels by which a camera may be off a point and still agree with it; None trusts all cameras. refine: end with Gauss-Newton.
    Raises VitruvianError where shapes don't fit, or for senseless options.
    """
    keypoints = np.asarray(keypoints, np.float64)
    if keypoints.ndim < 2 or keypoints.shape[-1] != 2 or len(keypoints) != len(at_least_one(cameras)):
        raise VitruvianError(f"keypoints of shape {keypoints.shape} for {len(cameras)} cameras: give ({len(cameras)}, ..., 2)")
    weight = np.ones(keypoints.shape[:-1]) if confidence is None else np.asarray(confidence, np.float64)
    if weight.shape != keypoints.shape[:-1]:
        raise VitruvianError(f"confidence of shape {weight.shape} for keypoints of {keypoints.shape}: give one per keypoint")
    if min_views < 2 or (threshold is not None and not threshold > 0):
        raise VitruvianError(f"min_views {min_views} and threshold {threshold}: a point needs 2 cameras, and a limit over 0 pixels")
    rays = np.empty(keypoints.shape)
    for camera, pixels, own in zip(cameras, keypoints, rays, strict=True):
        own[...] = normalise(camera, pixels)
    return triangulate_rays(cameras, rays, weight, min_views=min_views, threshold=threshold, refine=refine)


def triangulate_rays(
    cameras: Sequence[Camera],
    rays: Float[np.ndarray, "c *n 2"],
    weight: Float[np.ndarray, " c *n"],
    *,
    min_views: int = 2,
    threshold: float | None = 15.0,
    refine: bool = True,
) -> Triangulation:
    """`triangulate` for coordinates (x / z, y / z) without distortion, as `camera.normalise` gives them."""
    shape, count = rays.shape[1:-1], int(np.prod(rays.shape[1:-1]))
    flat, weight = rays.reshape(len(rays), count, 2), np.asarray(weight, np.float64).reshape(len(rays), count)
    views = _Views.of(cameras)
    out = _Answers(np.empty((count, 3)), np.empty(count), np.empty(count), np.empty((len(rays), count), bool), min_views)
    doubtful, errors = [np.zeros(0, int)], [np.zeros((len(rays), 0))]
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        x, y, sure = _given(flat, weight, part)
        points, good, square = _best(views, x, y, sure * sure, refine)
        out.put(part, views, points, good, square, sure, sure)
        if threshold is not None:
            rows = _doubtful(square, sure, threshold**2)
            doubtful.append(rows + start)
            errors.append(square[:, rows])
    # All points that a camera is off are worked on together, however few of a chunk they were.
    rows = np.concatenate(doubtful)
    agreed = _agreed(views, flat, weight, rows, np.concatenate(errors, 1), 0.0 if threshold is None else threshold**2)
    for start in range(0, len(rows), _CHUNK):
        some, left = rows[start : start + _CHUNK], agreed[:, start : start + _CHUNK]
        x, y, sure = _given(flat, weight, some)
        out.put(some, views, *_best(views, x, y, left, refine), left, sure)
    return Triangulation(
        out.points.reshape(*shape, 3), out.sure.reshape(shape), out.used.reshape(len(rays), *shape), out.error.reshape(shape)
    )


def taken(found: Triangulation, rows: np.ndarray) -> Triangulation:
    """Some rows of triangulated points."""
    return Triangulation(found.points[rows], found.confidence[rows], found.used[:, rows], found.error[rows])


def put(found: Triangulation, other: Triangulation, *place: np.ndarray | int) -> Triangulation:
    """`found` with `other` at some rows, or at some rows of one point."""
    points, confidence, used, error = found.points.copy(), found.confidence.copy(), found.used.copy(), found.error.copy()
    points[place], confidence[place], error[place] = other.points, other.confidence, other.error
    used[(slice(None), *place)] = other.used
    return Triangulation(points, confidence, used, error)


def reprojection_errors(
    cameras: Sequence[Camera], points: Float[np.ndarray, "*n 3"], keypoints: Float[np.ndarray, "c *n 2"]
) -> Float[np.ndarray, " c *n"]:
    """Distances in pixels between keypoints and the projections (with distortion) of their points; NaN where either is missing."""
    keypoints = np.asarray(keypoints, np.float64)
    pairs = zip(at_least_one(cameras), keypoints, strict=True)
    return np.stack([np.linalg.norm(project(camera, points) - pixels, axis=-1) for camera, pixels in pairs])


def linear_svd(
    projections: Float[np.ndarray, "c 3 4"], pixels: Float[np.ndarray, "c *n 2"], weight: Float[np.ndarray, " c *n"]
) -> Float[np.ndarray, "*n 3"]:
    """The homogeneous form: rows w (u P3 - P1), w (v P3 - P2), smallest singular vector, divided by its last number.

    What published pipelines do (card opencapbench.md, section 4), with K in the matrices and pixels without distortion; slower than
    `triangulate`, and depending on the world's origin. Rows of weight 0 don't count; fewer than two cameras give what they give.
    """
    rows = np.asarray(pixels, np.float64)[..., None] * projections[:, None, 2].reshape(-1, *(1,) * (np.ndim(pixels) - 1), 4)
    rows = rows - projections[:, :2].reshape(-1, *(1,) * (np.ndim(pixels) - 2), 2, 4)
    weight = np.asarray(weight, np.float64)[..., None, None]
    rows = np.where(weight > 0, rows * weight, 0.0)
    square = np.einsum("c...ri,c...rj->...ij", rows, rows)
    last = np.linalg.eigh(square)[1][..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return last[..., :3] / last[..., 3:]


@dataclass(frozen=True, eq=False)
class _Views:
    """The cameras as tables. rows: (C, 3, 4) of [R t] about a world whose origin is amid them. middle: that origin. focal: (C, 2).

    products: (C, 5, 9): what 1-weighted features (see `_systems`) give to the system's 6 numbers and its right side's 3.
    """

    rows: Float[np.ndarray, "c 3 4"]
    middle: Float[np.ndarray, " 3"]
    focal: Float[np.ndarray, "c 2"]
    products: Float[np.ndarray, "c 5 9"]

    @classmethod
    def of(cls, cameras: Sequence[Camera]) -> _Views:
        middle = np.mean([camera.centre_world for camera in cameras], axis=0)
        turn = np.array([camera.R_cam_world for camera in cameras])
        shift = np.array([camera.R_cam_world @ middle + camera.t_cam_world for camera in cameras])
        rows = np.concatenate([turn, shift[..., None]], -1)
        focal = np.array([np.diag(camera.intrinsics)[:2] for camera in cameras])
        p1, p2, p3 = np.moveaxis(rows, 1, 0)
        outer = lambda a, b: a[:, :, None] * b[:, None]  # noqa: E731
        both = lambda a, b: -(outer(a, b) + outer(b, a))  # noqa: E731
        # (x p3 - p1)(x p3 - p1)^T + (y p3 - p2)(y p3 - p2)^T, by what stands before each: x^2 + y^2, x, y, 1, 1.
        full = np.stack([outer(p3, p3), both(p1, p3), both(p2, p3), outer(p1, p1), outer(p2, p2)], 1)
        packed = np.stack([full[..., i, j] for i, j in _PACKED], -1)
        return cls(rows, middle, focal, np.concatenate([packed, -full[..., :3, 3]], -1))

    @cached_property
    def single(self) -> _Views:
        """The same in single precision."""
        return _Views(*(table.astype(np.float32) for table in (self.rows, self.middle, self.focal, self.products)))


_PACKED = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _systems(products: np.ndarray, x: np.ndarray, y: np.ndarray, wx: np.ndarray, wy: np.ndarray) -> np.ndarray:
    """(columns, n): for each point the sum over cameras of its squared rows' outer products; x, y, wx, wy are (c, n)."""
    features = np.empty((len(x), 5, x.shape[1]), x.dtype)
    square, ax, ay = features[:, 0], features[:, 1], features[:, 2]
    np.multiply(wx, x, out=ax)
    np.multiply(wy, y, out=ay)
    np.multiply(ax, x, out=square)
    square += ay * y
    features[:, 3], features[:, 4] = wx, wy
    return products.reshape(-1, products.shape[-1]).T @ features.reshape(5 * len(x), x.shape[1])


def _solve(system: Float[np.ndarray, "6 n"], right: Float[np.ndarray, "3 n"]) -> tuple[Float[np.ndarray, "n 3"], Bool[np.ndarray, " n"]]:
    """Symmetric 3 x 3 systems by Cramer's rule, and which of them have an answer."""
    a, b, c, d, e, f = system
    adj = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    det = a * adj[0] + b * adj[1] + c * adj[2]
    good = det > _PARALLEL * ((a + d + f) / 3) ** 3
    scale = 1 / np.where(good, det, 1.0)
    r0, r1, r2 = right
    x = np.empty_like(right)  # by coordinates, which lie together in what is worked on
    x[0] = adj[0] * r0 + adj[1] * r1 + adj[2] * r2
    x[1] = adj[1] * r0 + adj[3] * r1 + adj[4] * r2
    x[2] = adj[2] * r0 + adj[4] * r1 + adj[5] * r2
    x *= scale
    return x.T, good


def _linear(views: _Views, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points about the middle, and which are any. Here and below w is the squared confidence, as the rows are weighted by it."""
    system = _systems(views.products, x, y, w, w)
    return _solve(system[:6], system[6:])


def _seen(views: _Views, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the cameras see points about the middle: x, y at depth 1, and depth, each (c, n)."""
    places = views.rows[:, :, :3].reshape(-1, 3) @ points.T + views.rows[:, :, 3].reshape(-1, 1)
    px, py, depth = np.moveaxis(places.reshape(len(views.rows), 3, -1), 1, 0)
    inverse = 1 / np.where(depth > _NEAR, depth, np.inf)
    return px * inverse, py * inverse, depth


def _squared_errors(views: _Views, points: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(c, n) squared distances in pixels; infinite behind a camera."""
    px, py, depth = _seen(views, points)
    return _squares(views, px - x, py - y, depth)


def _squares(views: _Views, dx: np.ndarray, dy: np.ndarray, depth: np.ndarray) -> np.ndarray:
    square = dx * dx * views.focal[:, :1] ** 2
    square += dy * dy * views.focal[:, 1:] ** 2
    square[depth <= _NEAR] = np.inf
    return square


@dataclass(frozen=True, eq=False)
class _Answers:
    """What becomes a `Triangulation`, filled in piece by piece."""

    points: Float[np.ndarray, "n 3"]
    error: Float[np.ndarray, " n"]
    sure: Float[np.ndarray, " n"]
    used: Bool[np.ndarray, "c n"]
    min_views: int

    def put(
        self,
        rows: slice | np.ndarray,
        views: _Views,
        points: np.ndarray,
        good: np.ndarray,
        square: np.ndarray,
        w: np.ndarray,
        sure: np.ndarray,
    ) -> None:
        """Some points about the middle with their (c, n) squared errors, of the cameras of weight w > 0, and all cameras' confidence."""
        used = w > 0
        count = used.sum(0)
        behind = (used & ~np.isfinite(square)).any(0)
        good = good & (count >= self.min_views) & ~behind & np.isfinite(points).all(-1)
        used &= good
        with np.errstate(invalid="ignore", divide="ignore"):
            self.error[rows] = np.sqrt(np.where(used, square, 0.0).sum(0) / np.where(good, count, np.nan))
            self.sure[rows] = np.where(good, np.where(used, sure, 0.0).sum(0) / np.maximum(count, 1), 0.0)
        self.points[rows] = np.where(good[:, None], points + views.middle, np.nan)
        self.used[:, rows] = used


def _given(flat: np.ndarray, weight: np.ndarray, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and confidence (c, n) of some points, all 0 where nothing is seen."""
    x, y, sure = flat[:, rows, 0], flat[:, rows, 1], weight[:, rows]
    seen = np.isfinite(x) & np.isfinite(y) & (sure > 0)
    return np.where(seen, x, 0.0), np.where(seen, y, 0.0), np.where(seen, sure, 0.0)


def _doubtful(square: np.ndarray, w: np.ndarray, limit: float) -> np.ndarray:
    """Points that a camera which counts sees elsewhere."""
    return np.flatnonzero(((square > limit) & (w > 0)).any(0) & (np.count_nonzero(w, axis=0) >= 2))


def _best(views: _Views, x: np.ndarray, y: np.ndarray, w: np.ndarray, refine: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of all cameras that count (w > 0), which are any, and their (c, n) squared errors."""
    points, good = _linear(views, x, y, w)
    if not refine:
        return points, good, _squared_errors(views, points, x, y)
    # Single precision is a thousandth of a pixel here, and half the time.
    return _refined(views.single, points, *(values.astype(np.float32) for values in (x, y, w)), good)


def _agreed(
    views: _Views, flat: np.ndarray, weight: np.ndarray, rows: np.ndarray, square: np.ndarray, limit: float
) -> Float[np.ndarray, "c n"]:
    """The weights (squared confidence) of doubtful points without the cameras that are wrong; `square`: their (c, n) squared errors.

    The worst camera is left out again and again; if the others agree while they are more than half, and three, that is it. For the
    other points every pair is asked.
    """
    out = np.empty((len(flat), len(rows)))
    hard = [np.zeros(0, int)]
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        x, y, sure = _given(flat, weight, rows[part])
        out[:, part] = w = sure * sure
        hard.append(start + _without_the_worst(views, x, y, w, square[:, part], limit, out[:, part]))
    difficult = np.concatenate(hard)
    for start in range(0, len(difficult), _CHUNK):
        some = difficult[start : start + _CHUNK]
        x, y, _ = _given(flat, weight, rows[some])
        out[:, some] = _consensus(views, x, y, out[:, some], limit)
    return out


def _without_the_worst(
    views: _Views, x: np.ndarray, y: np.ndarray, w: np.ndarray, square: np.ndarray, limit: float, out: np.ndarray
) -> np.ndarray:
    """Leave out the worst camera while there are enough, write what then agrees to `out`; the points for which that doesn't help."""
    seen = np.count_nonzero(w, axis=0)
    rows, left, errors, hard = np.arange(w.shape[1]), w.copy(), square, [np.zeros(0, int)]
    while len(rows):
        many = np.count_nonzero(left, axis=0) > np.maximum(3, seen[rows] // 2 + 1)
        hard.append(rows[~many])
        rows, left, errors = rows[many], left[:, many], errors[:, many]
        left[np.where(left > 0, errors, -1.0).argmax(0), np.arange(len(rows))] = 0
        _, _, errors = _best(views, x[:, rows], y[:, rows], left, False)
        done = ((errors <= limit) | (left == 0)).all(0)
        out[:, rows[done]] = left[:, done]
        rows, left, errors = rows[~done], left[:, ~done], errors[:, ~done]
    return np.concatenate(hard)


def _consensus(views: _Views, x: np.ndarray, y: np.ndarray, w: np.ndarray, limit: float) -> np.ndarray:
    """The weights of the cameras that agree with the pair of cameras that most agree with; all 0 where no pair agrees with itself."""
    best, agree = np.full(x.shape[1], np.inf), np.zeros(x.shape, bool)
    for pair in combinations(range(len(x)), 2):
        rows = np.flatnonzero((w[list(pair)] > 0).all(0))
        if not len(rows):
            continue
        two = _Views(views.rows[list(pair)], views.middle, views.focal[list(pair)], views.products[list(pair)])
        points, good = _linear(two, *(values[np.ix_(pair, rows)] for values in (x, y)), np.ones((2, len(rows))))
        square = _squared_errors(views, points, x[:, rows], y[:, rows])
        cost = (w[:, rows] * np.minimum(square, limit)).sum(0)
        close = (square <= limit) & (w[:, rows] > 0)
        wins = good & close[list(pair)].all(0) & (cost < best[rows])
        best[rows[wins]] = cost[wins]
        agree[:, rows[wins]] = close[:, wins]
    return np.where(agree, w, 0.0)


def _refined(
    views: _Views, points: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Newton on the weighted squared pixel error: points, which are any (as given), and their (c, n) squared errors.

    Points that a step makes worse stay where they were, and only those that it made much better make another.
    """
    points, square = points.copy(), np.empty_like(x)
    rows, here = np.arange(len(points)), points.astype(np.float32)
    px, py, depth = _seen(views, here)
    square[:] = _squares(views, px - x, py - y, depth)
    cost = _total(square, w)
    for _ in range(_STEPS):
        new = here + _step(views, px, py, depth, x, y, w)
        px, py, depth = _seen(views, new)
        errors = _squares(views, px - x, py - y, depth)
        now = _total(errors, w)
        better = now < cost
        points[rows[better]], square[:, rows[better]] = new[better], errors[:, better]
        go_on = now < (1 - _GAIN) * cost
        rows, cost, here = rows[go_on], now[go_on], new[go_on]
        if not len(rows):
            break
        px, py, depth, x, y, w = (values[:, go_on] for values in (px, py, depth, x, y, w))
    return points, good, square


def _total(square: np.ndarray, w: np.ndarray) -> np.ndarray:
    return (np.where(w > 0, square, 0.0) * w).sum(0)


def _step(
    views: _Views, px: np.ndarray, py: np.ndarray, depth: np.ndarray, x: np.ndarray, y: np.ndarray, w: np.ndarray
) -> Float[np.ndarray, "n 3"]:
    """One step of Gauss-Newton from where points are seen at (px, py) instead of (x, y). Rows of the Jacobian: (r1 - px r3) / z, ..."""
    inverse = 1 / np.where(depth > _NEAR, depth, np.inf)
    wx = w * inverse
    wy = wx * views.focal[:, 1:] ** 2
    wx *= views.focal[:, :1] ** 2
    pull = np.empty((len(x), 3, x.shape[1]), x.dtype)
    np.multiply(wx, x - px, out=pull[:, 0])
    np.multiply(wy, y - py, out=pull[:, 1])
    pull[:, 2] = -(pull[:, 0] * px + pull[:, 1] * py)
    wx *= inverse
    wy *= inverse
    system = _systems(views.products[..., :6], px, py, wx, wy)
    move, good = _solve(system, views.rows[:, :, :3].reshape(-1, 3).T @ pull.reshape(3 * len(x), x.shape[1]))
    move[~good] = 0
    return move
