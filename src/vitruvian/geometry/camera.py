"""Cameras with lens distortion: from points in the world to pixels, and from pixels to rays. Metres, pixels, OpenCV's axes and models.

    pixels = project(camera, points_world)          # with distortion; NaN behind the camera and outside the lens
    rays = normalise(camera, pixels)                # (x / z, y / z) of the camera's frame, without distortion
    centre, directions = rays_world(camera, pixels)

`R_cam_world`, `t_cam_world` take points of the world to the camera: x_cam = R x_world + t. Distortion is OpenCV's: k1 k2 p1 p2 [k3 [k4 k5
k6]] (polynomial and rational radial with tangential terms), or k1..k4 of the equidistant fisheye. A pixel's centre is its integer index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import VitruvianError

_FAR = 1e9  # pixels, metres: a larger number is no camera, and its square no number
_LENGTHS = (0, 4, 5, 8)
_CHUNK = 1 << 14  # points that are worked on together: what fits into a core's cache
_STEPS = 12  # of Newton's method, which ends sooner where every point has settled
_SETTLED = 1e-10  # normalised coordinates; a millionth of a pixel
_RADII = np.linspace(0, 4, 801)  # normalised radii that are looked at: up to 76 degrees off the axis


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    intrinsics: (3, 3) upper triangular, pixels. R_cam_world (3, 3), t_cam_world (3,) metres: x_cam = R x_world + t; left out for a camera
    in its own frame. distortion: 0, 4, 5 or 8 numbers in OpenCV's order (4 for a fisheye). size: (width, height) pixels, (0, 0) unknown.
    Raises VitruvianError where these are no camera.
    """

    intrinsics: Float[np.ndarray, "3 3"]
    R_cam_world: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.eye(3))
    t_cam_world: Float[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3))
    distortion: Float[np.ndarray, " d"] = field(default_factory=lambda: np.zeros(0))
    size: tuple[int, int] = (0, 0)
    name: str = ""
    fisheye: bool = False

    def __post_init__(self) -> None:
        for name, shape in (("intrinsics", (3, 3)), ("R_cam_world", (3, 3)), ("t_cam_world", (3,)), ("distortion", (-1,))):
            try:
                value = np.array(getattr(self, name), np.float64)
                value = value.reshape(shape) if value.size == abs(np.prod(shape)) or shape == (-1,) else value
            except (TypeError, ValueError) as error:
                raise VitruvianError(f"camera {self.name[:40]!r}: {name} is no array of numbers; check the calibration") from error
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "size", tuple(int(side) for side in self.size))
        problem = _problem(self)
        if problem:
            raise VitruvianError(f"camera {self.name[:40]!r}: {problem}; check the calibration")

    @property
    def T_cam_world(self) -> Float[np.ndarray, "4 4"]:
        """The homogeneous matrix that maps the world to the camera."""
        return np.vstack([np.c_[self.R_cam_world, self.t_cam_world], [0, 0, 0, 1]])

    @property
    def centre_world(self) -> Float[np.ndarray, " 3"]:
        """Where the camera is."""
        return -self.R_cam_world.T @ self.t_cam_world

    @property
    def is_distorted(self) -> bool:
        """Whether the lens bends lines."""
        return self.fisheye or bool(self.distortion.any())


def _problem(camera: Camera) -> str | None:
    """What is wrong with a camera, in words, or None."""
    k, r, t, d = camera.intrinsics, camera.R_cam_world, camera.t_cam_world, camera.distortion
    for name, value, shape in (("intrinsics", k, (3, 3)), ("R_cam_world", r, (3, 3)), ("t_cam_world", t, (3,))):
        if value.shape != shape:
            return f"{name} has the shape {value.shape}, not {shape}"
    if not all(np.isfinite(value).all() and (np.abs(value) < _FAR).all() for value in (k, r, t, d)):
        return "a number is not finite, or absurdly large"
    if k[0, 0] <= 0 or k[1, 1] <= 0 or abs(k[1, 0]) > 1e-6 or np.abs(k[2] - [0, 0, 1]).max() > 1e-6:
        return "the intrinsics are no upper triangular matrix with positive focal lengths and 1 in the corner"
    if np.abs(r @ r.T - np.eye(3)).max() > 1e-2 or np.linalg.det(r) < 0:
        return "R_cam_world is no rotation"
    if len(d) not in ((4,) if camera.fisheye else _LENGTHS):
        return f"{len(d)} distortion coefficients where {'4 (fisheye)' if camera.fisheye else '0, 4, 5 or 8'} belong"
    if len(camera.size) != 2 or min(camera.size) < 0:
        return f"the size {camera.size} is no width and height"
    return None


def to_camera(camera: Camera, points_world: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Points of the world in the camera's frame (x right, y down, z forward), metres."""
    return np.asarray(points_world, np.float64) @ camera.R_cam_world.T + camera.t_cam_world


def to_world(camera: Camera, points_cam: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """The way back from `to_camera`."""
    return (np.asarray(points_cam, np.float64) - camera.t_cam_world) @ camera.R_cam_world


def project(camera: Camera, points_world: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
    """Pixels of points in the world, with distortion.

    NaN for points at or behind the camera's plane, and for those so far off the axis that the radial polynomial turns back: it would put
    them into the picture, where no lens does.
    """
    points = to_camera(camera, points_world)
    depth = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    return to_pixels(camera, distort(camera, points[..., :2] / depth))


def to_pixels(camera: Camera, distorted: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """K (x, y, 1): pixels of coordinates at depth 1."""
    return distorted @ camera.intrinsics[:2, :2].T + camera.intrinsics[:2, 2]


def distort(camera: Camera, normalised: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """What the lens makes of (x / z, y / z); NaN beyond the radius where its radial function turns back."""
    if not camera.is_distorted:
        return np.asarray(normalised, np.float64)
    normalised = np.asarray(normalised, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        inside = (normalised**2).sum(-1) <= _reach(camera) ** 2
        return np.where(inside[..., None], _bend(camera, normalised)[0], np.nan)


def normalise(camera: Camera, pixels: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """(x / z, y / z) of what is seen at `pixels`, the lens undone by Newton's method; NaN where no ray leads to a pixel."""
    pixels = np.asarray(pixels, np.float64)
    k = camera.intrinsics
    flat = pixels.reshape(-1, 2)
    rays = np.empty_like(flat)
    for start in range(0, len(flat), _CHUNK):
        part = slice(start, start + _CHUNK)
        y = (flat[part, 1] - k[1, 2]) / k[1, 1]
        rays[part, 0], rays[part, 1] = (flat[part, 0] - k[0, 2] - k[0, 1] * y) / k[0, 0], y
        if camera.is_distorted:
            rays[part] = _straighten(camera, rays[part])
    return rays.reshape(pixels.shape)


def undistort(camera: Camera, pixels: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """Where the same camera with a perfect lens would see what is at `pixels`."""
    return to_pixels(camera, normalise(camera, pixels))


def rays_world(camera: Camera, pixels: Float[np.ndarray, "*n 2"]) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, "*n 3"]]:
    """The lines of sight: the camera's centre in the world, and the unit vectors in which it sees the pixels."""
    flat = normalise(camera, pixels)
    ahead = np.concatenate([flat, np.ones_like(flat[..., :1])], -1)
    return camera.centre_world, (ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)) @ camera.R_cam_world


def project_all(cameras: Sequence[Camera], points_world: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "c *n 2"]:
    """`project` for each camera. Raises VitruvianError for none."""
    return np.stack([project(camera, points_world) for camera in at_least_one(cameras)])


def at_least_one(cameras: Sequence[Camera]) -> Sequence[Camera]:
    """The cameras. Raises VitruvianError for none."""
    if not len(cameras):
        raise VitruvianError("no cameras: give at least one (two see in 3D)")
    return cameras


def resized(camera: Camera, size: tuple[int, int]) -> Camera:
    """The camera of pictures that are scaled to (width, height); the camera's own size must be known.

    A pixel's centre is its integer index, so that it is the pictures' edges, half a pixel outside, that are mapped onto each other.
    """
    if min(camera.size) < 1 or min(size) < 1:
        raise VitruvianError(f"camera {camera.name!r} of {camera.size} can't be scaled to {size}: give its size in pixels")
    scale = np.array(size) / camera.size
    k = camera.intrinsics.copy()
    k[:2] *= scale[:, None]
    k[:2, 2] += (scale - 1) / 2
    return replace(camera, intrinsics=k, size=size)


def cropped(camera: Camera, left: float, top: float, size: tuple[int, int]) -> Camera:
    """The camera of a window of `size` (width, height) into its pictures, whose corner is `left`, `top` (negative: a border was added)."""
    k = camera.intrinsics.copy()
    k[:2, 2] -= (left, top)
    return replace(camera, intrinsics=k, size=size)


def moved(camera: Camera, T_new_world: Float[np.ndarray, "4 4"]) -> Camera:
    """The same camera in another world: `T_new_world` takes points of the old world to the new one.

    It may scale alike in all directions; lengths, and so the camera's translation, scale with it.
    """
    linear, shift = np.asarray(T_new_world, np.float64)[:3, :3], np.asarray(T_new_world, np.float64)[:3, 3]
    scale = np.cbrt(np.linalg.det(linear))
    if not scale > 0 or np.abs(linear @ linear.T - scale**2 * np.eye(3)).max() > 1e-6 * scale**2:
        raise VitruvianError("the new world is no turned, moved and scaled old one: give a similarity")
    rotation = camera.R_cam_world @ linear.T / scale
    return replace(camera, R_cam_world=rotation, t_cam_world=scale * camera.t_cam_world - rotation @ shift)


def fitted(camera: Camera, size: tuple[int, int]) -> Camera:
    """The camera of pictures that were scaled alike in both directions to fit into (width, height), with equal borders around.

    What video tools do to another aspect ratio. A camera of unknown size is taken for one of this size.
    """
    if camera.size == tuple(size):
        return camera
    if min(camera.size) < 1:
        return replace(camera, size=size)
    scale = min(size[0] / camera.size[0], size[1] / camera.size[1])
    k = camera.intrinsics.copy()
    k[:2] *= scale
    k[:2, 2] += (scale - 1) / 2 + (np.array(size) - scale * np.array(camera.size)) / 2
    return replace(camera, intrinsics=k, size=size)


Axis = Literal["x", "-x", "y", "-y", "z", "-z"]


def up_axis(cameras: Sequence[Camera]) -> Axis:
    """The axis of the world that is nearest to what upright cameras have above them. Raises VitruvianError for no cameras."""
    above = -np.mean([camera.R_cam_world[1] for camera in at_least_one(cameras)], axis=0)
    axis = int(np.abs(above).argmax())
    return get_args(Axis)[2 * axis + bool(above[axis] < 0)]


def y_up(up: Axis) -> Float[np.ndarray, "4 4"]:
    """T_yup_world: the turn of a world whose `up` axis points up to one with y up; z up becomes (x, z, -y), as in the formats.

    Raises VitruvianError for another axis.
    """
    turns = {
        "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
        "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
        "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
        "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
        "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    }
    if up not in turns:
        raise VitruvianError(f"no axis {up!r}: say which one points up, one of {', '.join(turns)}")
    out = np.eye(4)
    out[:3, :3] = turns[up]
    return out


def looking_at(
    centre: Sequence[float],
    target: Sequence[float],
    focal: float,
    size: tuple[int, int],
    up: Sequence[float] = (0.0, 1.0, 0.0),
    name: str = "",
) -> Camera:
    """An upright camera at `centre` with `target` in the middle of its picture; `focal` in pixels. For synthetic scenes."""
    forward = np.subtract(target, centre).astype(np.float64)
    right = np.cross(forward, up)
    if not (np.linalg.norm(forward) > 0 and np.linalg.norm(right) > 1e-9 * np.linalg.norm(forward)):
        raise VitruvianError(f"a camera at {centre} can't look at {target} with {up} upwards: give another upward direction")
    axes = np.stack([right, np.cross(forward, right), forward])
    rotation = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    middle = (np.array(size) - 1) / 2
    k = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    return Camera(k, rotation, -rotation @ np.asarray(centre, np.float64), size=size, name=name)


def _bend(camera: Camera, flat: Float[np.ndarray, "*n 2"]) -> tuple[Float[np.ndarray, "*n 2"], tuple[np.ndarray, ...]]:
    """Distorted coordinates, and their derivatives (xx, xy, yx, yy)."""
    x, y = flat[..., 0], flat[..., 1]
    if camera.fisheye:
        factor, slope = _fisheye(camera.distortion, x * x + y * y)
        p1 = p2 = 0.0
    else:
        p1, p2 = camera.distortion[2:4]
        factor, slope = _radial(camera.distortion, x * x + y * y)
    bent = np.stack([x * factor, y * factor], -1)
    if p1 or p2:
        bent[..., 0] += 2 * p1 * x * y + p2 * (3 * x * x + y * y)
        bent[..., 1] += p1 * (x * x + 3 * y * y) + 2 * p2 * x * y
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    return bent, (factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, cross, cross, factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x)


def _radial(distortion: Float[np.ndarray, " d"], square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor that a radius grows by, and its derivative by the squared radius."""
    k1, k2, k3 = (*distortion[:2], distortion[4] if len(distortion) > 4 else 0.0)
    factor = 1 + square * (k1 + square * (k2 + square * k3))
    slope = k1 + square * (2 * k2 + square * 3 * k3)
    if len(distortion) == 8 and distortion[5:].any():
        k4, k5, k6 = distortion[5:]
        below = 1 + square * (k4 + square * (k5 + square * k6))
        below_slope = k4 + square * (2 * k5 + square * 3 * k6)
        factor, slope = factor / below, (slope * below - factor * below_slope) / below**2
    return factor, slope


def _fisheye(distortion: Float[np.ndarray, " 4"], square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for the equidistant fisheye: theta (1 + k1 theta^2 + ... + k4 theta^8) / r."""
    radius = np.sqrt(np.maximum(square, 1e-16))
    theta = np.arctan(radius)
    t = theta * theta
    k1, k2, k3, k4 = distortion
    angle = theta * (1 + t * (k1 + t * (k2 + t * (k3 + t * k4))))
    grows = 1 + t * (3 * k1 + t * (5 * k2 + t * (7 * k3 + t * 9 * k4)))
    # d(angle / r) / d(r^2) = (angle' / (1 + r^2) - angle / r) / (2 r^2), which cancels near the axis
    limit = k1 / 1 - 1 / 3
    slope = np.where(square > 1e-6, (grows / (1 + square) - angle / radius) / (2 * np.maximum(square, 1e-16)), limit)
    return angle / radius, slope


def _reach(camera: Camera) -> float:
    """The normalised radius up to which the radial function grows; infinite where it does as far as is looked."""
    factor, slope = (_fisheye if camera.fisheye else _radial)(camera.distortion, _RADII**2)
    turns = np.flatnonzero(~(factor + 2 * _RADII**2 * slope > 0))
    return float(_RADII[turns[0]]) if len(turns) else np.inf


def _straighten(camera: Camera, target: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """The undistorted coordinates that `_bend` takes to `target`."""
    reach = min(_reach(camera), 1e3)
    flat = _unfisheye(target) if camera.fisheye else target.copy()
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        for _ in range(_STEPS):
            # A start outside the lens would run away from the solution.
            flat *= np.minimum(1, 0.999 * reach / np.maximum(np.hypot(flat[:, 0], flat[:, 1]), 1e-12))[:, None]
            bent, (xx, xy, yx, yy) = _bend(camera, flat)
            off = target - bent
            inverse = 1 / (xx * yy - xy * yx)
            step = np.stack([(yy * off[:, 0] - xy * off[:, 1]) * inverse, (xx * off[:, 1] - yx * off[:, 0]) * inverse], -1)
            flat += step
            if not (np.abs(step) > _SETTLED).any():
                break
        missed = ~(np.abs(_bend(camera, flat)[0] - target) < 1e-6).all(-1) | ~((flat**2).sum(-1) <= reach**2)
    flat[missed] = np.nan
    return flat


def _unfisheye(target: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """A start for the fisheye: without the polynomial, a radius is an angle."""
    angle = np.hypot(target[:, 0], target[:, 1])
    return target * (np.tan(np.minimum(angle, 1.5)) / np.maximum(angle, 1e-12))[:, None]


def pinhole(size: tuple[int, int] | Int[np.ndarray, " 2"], fov: float) -> Float[np.ndarray, "3 3"]:
    """The matrix of a camera that sees `fov` degrees across the longer side of its picture of `size` (width, height), from its middle."""
    focal = float(max(size)) / (2 * np.tan(np.radians(fov) / 2))
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])
