"""Where cameras stand, from nothing but the people whom they see: a start by pairs, then bundle adjustment.

    bundle = cameras_from_people(cameras, keypoints, confidence)       # places of the given ones are not looked at, only their lenses
    bundle = scaled(bundle, metres / length_along(bundle.points, (hip, knee, ankle)))

Keypoints over time are points like any others: n of them, each seen by some of c cameras at one moment. Adjusted are the places of all
cameras but the first (and, if asked, focal lengths) and all points, by Levenberg-Marquardt with the points eliminated (Schur complement;
Triggs et al., Bundle Adjustment: A Modern Synthesis, 1999) and Cauchy weights against keypoints that are wrong. The scale is free: a
known length sets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, at_least_one, moved, normalise
from vitruvian.geometry.triangulate import reprojection_errors, triangulate

_FEWEST = 20  # points that a camera shares with the others
_MOST = 4000  # points that take part in an adjustment, evenly chosen: more don't move a camera
_NEAR = 1e-6


@dataclass(frozen=True, eq=False)
class Bundle:
    """cameras: adjusted, in the frame of the first (in its world, for `adjust`). points: (n, 3), NaN where fewer than two cameras agree.

    error: (c, n) pixels between keypoints and projections, NaN where either is missing. n has the axes that the keypoints had.
    """

    cameras: tuple[Camera, ...]
    points: Float[np.ndarray, "*n 3"]
    error: Float[np.ndarray, " c *n"]


def adjust(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c *n 2"],
    confidence: Float[np.ndarray, " c *n"] | None = None,
    *,
    focal: bool = False,
    robust: float = 4.0,
    iterations: int = 40,
) -> Bundle:
    """Move the cameras (all but the first) so that they agree about what they see.

    keypoints: pixels with distortion, NaN where not seen; confidence weighs. focal: also scale each focal length (the first's too).
    robust: pixels, an error from which a keypoint loses its weight. The distance between the first two cameras is kept.
    Raises VitruvianError where shapes don't fit, or fewer than 20 points are seen by two cameras.
    """
    shape = np.shape(keypoints)[1:-1]
    pixels, weight = _flat(cameras, keypoints, confidence)
    start = triangulate(cameras, pixels, weight, threshold=None)
    rows = np.flatnonzero(np.isfinite(start.points).all(-1))
    if len(rows) < _FEWEST:
        raise VitruvianError(f"only {len(rows)} points are seen by two cameras at one time; {_FEWEST} are needed: film more motion")
    rows = rows[:: max(1, len(rows) // _MOST)]
    state = _State(tuple(cameras), start.points[rows])
    seen = np.where(np.isfinite(pixels[:, rows]).all(-1), weight[:, rows] ** 2, 0.0)
    state = _minimise(state, pixels[:, rows], seen, focal, robust, iterations)
    size = np.linalg.norm(cameras[1].centre_world - cameras[0].centre_world)
    now = np.linalg.norm(state.cameras[1].centre_world - state.cameras[0].centre_world)
    bundle = Bundle(state.cameras, np.zeros((0, 3)), np.zeros(0))
    adjusted = scaled(bundle, size / now if now > 0 and size > 0 else 1.0).cameras
    points = triangulate(adjusted, pixels, weight, threshold=4 * robust).points
    error = reprojection_errors(adjusted, points, pixels)
    return Bundle(adjusted, points.reshape(*shape, 3), error.reshape(len(cameras), *shape))


def cameras_from_people(
    cameras: Sequence[Camera],
    keypoints: Float[np.ndarray, "c *n 2"],
    confidence: Float[np.ndarray, " c *n"] | None = None,
    *,
    focal: bool = False,
    robust: float = 4.0,
) -> Bundle:
    """Places of cameras with known lenses, in the first one's frame; the first two are 1 apart until `scaled` says more.

    The pair with the most common points starts (essential matrix, cv2), each other camera is placed by the points known so far (PnP, cv2),
    and all are adjusted. Raises VitruvianError where two cameras share fewer than 20 points, or their views contradict each other.
    """
    shape = np.shape(keypoints)[1:-1]
    pixels, weight = _flat(cameras, keypoints, confidence)
    rays = np.stack([normalise(camera, view) for camera, view in zip(cameras, pixels, strict=True)])
    seen = np.isfinite(rays).all(-1) & (weight > 0)
    focal_length = np.array([camera.intrinsics[0, 0] for camera in cameras])
    placed = _first_pair(cameras, rays, seen, focal_length, robust)
    while len(placed) < len(cameras):
        known = sorted(placed)
        points = triangulate([placed[c] for c in known], pixels[known], weight[known], threshold=4 * robust).points
        there = np.isfinite(points).all(-1)
        left = [c for c in range(len(cameras)) if c not in placed]
        best = max(left, key=lambda c: int((seen[c] & there).sum()))
        placed[best] = _resected(cameras[best], points, rays[best], seen[best] & there, focal_length[best], robust)
    started = tuple(placed[c] for c in range(len(cameras)))
    size = np.linalg.norm(started[1].centre_world - started[0].centre_world)
    first = np.eye(4)
    first[:3, :3], first[:3, 3] = started[0].R_cam_world, started[0].t_cam_world
    first[:3] /= size
    found = adjust([moved(camera, first) for camera in started], pixels, weight, focal=focal, robust=robust)
    return Bundle(found.cameras, found.points.reshape(*shape, 3), found.error.reshape(len(cameras), *shape))


def scaled(bundle: Bundle, factor: float) -> Bundle:
    """The same with all lengths times `factor`, about the first camera. Raises VitruvianError if it is not over 0."""
    if not (np.isfinite(factor) and factor > 0):
        raise VitruvianError(f"a scale of {factor} makes no sense: give a known length that was seen")
    centre = bundle.cameras[0].centre_world
    T = np.diag([factor, factor, factor, 1.0])
    T[:3, 3] = (1 - factor) * centre
    return replace(bundle, cameras=tuple(moved(camera, T) for camera in bundle.cameras), points=factor * bundle.points + T[:3, 3])


def length_along(points: Float[np.ndarray, "*f k 3"], chain: Sequence[int]) -> float:
    """The median length along a chain of points, such as hip, knee, ankle (0.491 of the body height: Winter, Biomechanics); NaN unseen."""
    places = np.asarray(points)[..., list(chain), :]
    lengths = np.linalg.norm(np.diff(places, axis=-2), axis=-1).sum(-1)
    return float(np.median(lengths[np.isfinite(lengths)])) if np.isfinite(lengths).any() else np.nan


def upright(points: Float[np.ndarray, "*f k 3"], above: Sequence[int], below: Sequence[int]) -> Float[np.ndarray, "4 4"]:
    """T_new_old: a world with y up and the floor at 0, from people who stand most of the time.

    Up is the median direction from the middle of `below` (ankles, feet) to that of `above` (head, shoulders); the floor lies at the fifth
    percentile of `below`, under the people's middle. Raises VitruvianError where these are never seen together.
    """
    points = np.asarray(points, np.float64).reshape(-1, np.shape(points)[-2], 3)
    high, low = points[:, list(above)].mean(1), points[:, list(below)].mean(1)
    both = np.isfinite(high).all(-1) & np.isfinite(low).all(-1)
    up = np.median((high - low)[both], axis=0) if both.any() else np.zeros(3)
    if not np.linalg.norm(up) > 0:
        raise VitruvianError("nobody's head and feet are seen together: give the direction that is up")
    up = up / np.linalg.norm(up)
    aside = np.eye(3)[np.abs(up).argmin()]
    right = np.cross(up, aside) / np.linalg.norm(np.cross(up, aside))
    turn = np.stack([right, up, np.cross(right, up)])
    feet = points[:, list(below)].reshape(-1, 3) @ turn.T
    out = np.eye(4)
    out[:3, :3] = turn
    middle = np.nanmedian(low[both] @ turn.T, axis=0)
    out[:3, 3] = -np.array([middle[0], np.nanpercentile(feet[:, 1], 5), middle[2]])
    return out


@dataclass(frozen=True, eq=False)
class _State:
    cameras: tuple[Camera, ...]
    points: Float[np.ndarray, "n 3"]


def _flat(cameras: Sequence[Camera], keypoints: np.ndarray, confidence: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(c, n, 2) pixels and (c, n) weights, 0 where nothing is seen."""
    keypoints = np.asarray(keypoints, np.float64)
    if len(at_least_one(cameras)) < 2 or keypoints.ndim < 2 or keypoints.shape[-1] != 2 or len(keypoints) != len(cameras):
        raise VitruvianError(f"keypoints of {keypoints.shape} for {len(cameras)} cameras: give (c, ..., 2) and two cameras or more")
    pixels = keypoints.reshape(len(cameras), -1, 2)
    weight = np.ones(pixels.shape[:2]) if confidence is None else np.asarray(confidence, np.float64).reshape(pixels.shape[:2])
    return pixels, np.where(np.isfinite(pixels).all(-1) & (weight > 0), weight, 0.0)


def _first_pair(cameras: Sequence[Camera], rays: np.ndarray, seen: np.ndarray, focal: np.ndarray, robust: float) -> dict[int, Camera]:
    """The pair of cameras with the most points that agree with an essential matrix, weighted by the angle at which lines of sight meet."""
    import cv2

    best, out = 0.0, None
    for a, b in combinations(range(len(cameras)), 2):
        rows = np.flatnonzero(seen[a] & seen[b])
        if len(rows) < _FEWEST:
            continue
        one, other = rays[a, rows], rays[b, rows]
        essential, mask = cv2.findEssentialMat(
            one, other, np.eye(3), method=cv2.RANSAC, prob=0.9999, threshold=robust / np.sqrt(focal[a] * focal[b])
        )
        if essential is None or essential.shape != (3, 3):
            continue
        agree, turn, shift, mask = cv2.recoverPose(essential, one, other, np.eye(3), mask=mask)
        ahead = np.concatenate([one, np.ones((len(rows), 1))], 1)
        there = np.concatenate([other, np.ones((len(rows), 1))], 1) @ turn
        cosine = (ahead * there).sum(1) / np.linalg.norm(ahead, axis=1) / np.linalg.norm(there, axis=1)
        score = agree * np.sqrt(np.clip(1 - np.median(cosine) ** 2, 0, 1))
        if agree >= _FEWEST and score > best:
            best = score
            out = {
                a: replace(cameras[a], R_cam_world=np.eye(3), t_cam_world=np.zeros(3)),
                b: replace(cameras[b], R_cam_world=turn, t_cam_world=shift.ravel()),
            }
    if out is None:
        raise VitruvianError(f"no two cameras share {_FEWEST} points that agree: check that the films show the same people at one time")
    return out


def _resected(camera: Camera, points: np.ndarray, rays: np.ndarray, rows: np.ndarray, focal: float, robust: float) -> Camera:
    """A camera placed by known points."""
    import cv2

    if rows.sum() < _FEWEST:
        raise VitruvianError(f"camera {camera.name!r} shares {int(rows.sum())} points with the others; {_FEWEST} are needed")
    found, vector, shift, _ = cv2.solvePnPRansac(
        points[rows], rays[rows], np.eye(3), None, iterationsCount=300, reprojectionError=3 * robust / focal, flags=cv2.SOLVEPNP_EPNP
    )
    if not found:
        raise VitruvianError(f"camera {camera.name!r} contradicts the others: check that its film shows the same people at one time")
    return replace(camera, R_cam_world=cv2.Rodrigues(vector)[0], t_cam_world=shift.ravel())


def _minimise(state: _State, pixels: np.ndarray, weight: np.ndarray, focal: bool, robust: float, iterations: int) -> _State:
    """Levenberg-Marquardt. weight: (c, n) squared confidence, 0 where nothing is seen."""
    damping = 1e-3
    rays = _rays(state, pixels)
    residual, jacobian = _linearised(state, rays, weight, focal)
    cost = _cost(residual, weight, robust)
    for _ in range(iterations):
        robbed = weight / (1 + (residual**2).sum(-1) / robust**2)
        for _ in range(8):
            new = _stepped(state, _solution(residual, jacobian, robbed, damping), focal)
            rays = _rays(new, pixels) if focal else rays  # a lens bends by what is seen at depth 1, which the focal length changes
            tried = _linearised(new, rays, weight, focal)
            lower = _cost(tried[0], weight, robust)
            if lower < cost:
                break
            damping *= 4
        else:
            return state
        gained = cost - lower
        state, (residual, jacobian), cost, damping = new, tried, lower, max(damping / 5, 1e-9)
        if gained < 1e-8 * cost:
            break
    return state


def _rays(state: _State, pixels: np.ndarray) -> np.ndarray:
    return np.stack([normalise(camera, view) for camera, view in zip(state.cameras, pixels, strict=True)])


def _cost(residual: np.ndarray, weight: np.ndarray, robust: float) -> float:
    return float((weight * robust**2 * np.log1p((residual**2).sum(-1) / robust**2)).sum())


def _linearised(state: _State, rays: np.ndarray, weight: np.ndarray, focal: bool) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Pixels of a perfect lens that projections are off by (c, n, 2), and derivatives by camera (c, n, 2, 6 or 7) and point (c, n, 2, 3).

    Points behind a camera are off by a lot, without a derivative. rays: (c, n, 2) what is seen, at depth 1.
    """
    residuals, by_camera, by_point = [], [], []
    for camera, view, seen in zip(state.cameras, rays, weight > 0, strict=True):
        turned = state.points @ camera.R_cam_world.T
        place = turned + camera.t_cam_world
        good = seen & (place[:, 2] > _NEAR)
        inverse = 1 / np.where(good, place[:, 2], 1.0)
        flat = place[:, :2] * inverse[:, None]
        scale = np.diag(camera.intrinsics)[:2]
        off = np.where(good[:, None], (flat - np.nan_to_num(view)) * scale, np.where(seen, 1e4, 0.0)[:, None])
        slope = np.zeros((len(place), 2, 3))
        slope[:, 0, 0] = slope[:, 1, 1] = inverse
        slope[:, :, 2] = -flat * inverse[:, None]
        slope *= scale[:, None] * good[:, None, None]
        cross = np.zeros((len(place), 3, 3))  # -[turned]x: how the place moves with a turn
        x, y, z = turned.T
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = z, -y, x
        cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = -z, y, -x
        parts = [slope @ cross, slope]
        if focal:
            parts.append((flat * scale * good[:, None])[..., None])
        residuals.append(off)
        by_camera.append(np.concatenate(parts, -1))
        by_point.append(slope @ camera.R_cam_world)
    return np.stack(residuals), (np.stack(by_camera), np.stack(by_point))


def _solution(
    residual: np.ndarray, jacobian: tuple[np.ndarray, np.ndarray], weight: np.ndarray, damping: float
) -> tuple[np.ndarray, np.ndarray]:
    """Steps of cameras (c, 6 or 7) and points (n, 3) by the Schur complement; the first camera's place stays."""
    by_camera, by_point = jacobian
    cameras, _, _, size = by_camera.shape
    pull_c = -np.einsum("cn,cnrd,cnr->cd", weight, by_camera, residual)
    pull_p = -np.einsum("cn,cnri,cnr->ni", weight, by_point, residual)
    own = np.einsum("cn,cnrd,cnre->cde", weight, by_camera, by_camera)
    points = np.einsum("cn,cnri,cnrj->nij", weight, by_point, by_point)
    mixed = np.einsum("cn,cnrd,cnri->cndi", weight, by_camera, by_point)
    diagonal = np.einsum("nii->ni", points)
    diagonal += damping * diagonal + 1e-9 * diagonal.max(initial=1e-12)
    inverse = np.linalg.inv(points)
    carried = np.einsum("cndi,nij->cndj", mixed, inverse)
    system = -np.einsum("andi,bnei->adbe", carried, mixed)
    for c in range(cameras):
        block = own[c].copy()
        block[np.arange(size), np.arange(size)] *= 1 + damping
        system[c, :, c] += block
    right = pull_c - np.einsum("cndi,ni->cd", carried, pull_p)
    system, right = system.reshape(cameras * size, -1), right.reshape(-1)
    free = np.arange(6, cameras * size)
    free = free[(free // size > 0) | (free % size == 6)]
    step = np.zeros(cameras * size)
    part = system[np.ix_(free, free)]
    step[free] = np.linalg.solve(part + 1e-12 * np.trace(part) / max(len(free), 1) * np.eye(len(free)), right[free])
    step = step.reshape(cameras, size)
    return step, np.einsum("nij,nj->ni", inverse, pull_p - np.einsum("cndi,cd->ni", mixed, step))


def _stepped(state: _State, steps: tuple[np.ndarray, np.ndarray], focal: bool) -> _State:
    from scipy.spatial.transform import Rotation

    by_camera, by_point = steps
    turns = Rotation.from_rotvec(np.clip(by_camera[:, :3], -1, 1)).as_matrix()
    cameras = []
    for camera, turn, step in zip(state.cameras, turns, by_camera, strict=True):
        k = camera.intrinsics.copy()
        if focal:
            k[[0, 1], [0, 1]] *= np.exp(np.clip(step[6], -0.2, 0.2))
        rotation = turn @ camera.R_cam_world
        cameras.append(replace(camera, intrinsics=k, R_cam_world=rotation, t_cam_world=camera.t_cam_world + step[3:6]))
    return _State(tuple(cameras), state.points + by_point)
