"""Pinhole cameras in torch: the one that is taken for granted, and the way to and from its pixels. Axes of OpenCV; metres, pixels."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.codecs.mesh import WEAK_FOCAL

VIEW = math.radians(60)  # the field of view that is taken for granted


def plain_focal(size: int, view: float = VIEW) -> float:
    """The focal length in pixels at which `size` pixels are seen under an angle of `view`."""
    return size / (2 * math.tan(view / 2))


def default_intrinsics(size: int, view: float = VIEW) -> Float[Tensor, "3 3"]:
    """The camera that is taken for granted: a field of view of 60 degrees, the principal point at size // 2 (card, section 5)."""
    focal = plain_focal(size, view)
    return torch.tensor([[focal, 0, size // 2], [0, focal, size // 2], [0, 0, 1.0]])


def square_cameras(focals: Float[Tensor, " n"], size: int) -> Float[Tensor, "n 3 3"]:
    """Cameras of these focal lengths whose principal point is the middle of a square of `size` pixels, counted from its corner."""
    out = torch.eye(3).repeat(len(focals), 1, 1)
    out[:, 0, 0] = out[:, 1, 1] = focals
    out[:, :2, 2] = size / 2
    return out


def unproject(points: Float[Tensor, "*n 2"], intrinsics: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 3"]:
    """K^-1 (x, y, 1): the point at depth 1 that is seen at `points`. In closed form, which exporters know; K is upper triangular."""
    y = (points[..., 1] - intrinsics[..., 1, 2]) / intrinsics[..., 1, 1]
    x = (points[..., 0] - intrinsics[..., 0, 2] - intrinsics[..., 0, 1] * y) / intrinsics[..., 0, 0]
    return torch.stack((x, y, torch.ones_like(x)), -1)


def project(points: Float[Tensor, "*n 3"], intrinsics: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 2"]:
    """Where a camera sees points in front of it."""
    seen = (intrinsics @ points[..., None])[..., 0]
    return seen[..., :2] / seen[..., 2:].clamp(min=1e-6)


def camera_translation(camera: Float[Tensor, "b 3"], side: int, focal: float = WEAK_FOCAL) -> Float[Tensor, "b 3"]:
    """Weak camera (scale, x, y) -> where the body is, metres: before a camera of `focal` pixels in the middle of a crop of `side`.

    As DaNet and PyMAF-X have it.
    """
    scale, x, y = camera.unbind(-1)
    return torch.stack((x, y, 2 * focal / (side * scale + 1e-9)), -1)
