"""What goes into and comes out of a lifting network: keypoints seen by a camera that looks straight at the person.

The camera is turned about its own centre until the middle of the person's keypoints lies on its axis, and zoomed until they fill a
square. So the network sees the same numbers wherever in the picture a person stands, while the true perspective stays: how large the
person appears is an input. The place of the person follows from the answer by linear least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SEEN = 0.05
"""Confidence from which a keypoint counts."""
_LEAST = 4  # keypoints in a frame, or nothing is known of it
_SMALLEST = 1e-3  # half the person's extent in tangents: about 1 pixel of 1000


@dataclass(frozen=True, eq=False)
class Seen:
    """T frames of one person as a lifting network takes them.

    inputs: (T, 3 K + 1), zeros where nothing was seen. turn: (T, 3, 3) takes the turned camera's directions to the camera's.
    rays: (T, K, 2) keypoints on the turned camera's plane at depth 1, NaN where not seen. known: (T,) whether enough was seen.
    """

    inputs: Float[np.ndarray, "t i"]
    turn: Float[np.ndarray, "t 3 3"]
    rays: Float[np.ndarray, "t k 2"]
    known: np.ndarray


def encode(
    keypoints: Float[np.ndarray, "t k 2"], confidence: Float[np.ndarray, "t k"], focal: float, centre: Float[np.ndarray, " 2"]
) -> Seen:
    """Keypoints in pixels -> the network's inputs. focal: pixels; centre: the principal point in pixels."""
    sure = (confidence > SEEN) & np.isfinite(keypoints).all(-1)
    known = sure.sum(1) >= _LEAST
    sure &= known[:, None]
    plane = np.where(sure[..., None], (np.nan_to_num(keypoints) - centre) / focal, np.nan)
    middle, _ = _extent(plane, known)
    turn = _towards(middle)
    directions = np.concatenate([plane, np.ones_like(plane[..., :1])], -1) @ turn  # rows times turn: the inverse turn
    rays = directions[..., :2] / np.maximum(directions[..., 2:], 1e-3)
    offset, half = _extent(rays, known)
    square = np.where(sure[..., None], (rays - offset[:, None]) / half[:, None, None], 0.0)
    weight = np.where(sure, confidence, 0.0)
    size = np.where(known, np.log(half), 0.0)[:, None]
    inputs = np.concatenate([square.reshape(len(square), 2 * square.shape[1]), weight, size], 1).astype(np.float32)
    return Seen(inputs, turn, rays, known)


def place(
    points: Float[np.ndarray, "t k 3"], rays: Float[np.ndarray, "t k 2"], weight: Float[np.ndarray, "t k"]
) -> Float[np.ndarray, "t 3"]:
    """Where a body's origin is, in metres, so that its points (relative to it, in the same axes as the rays) project onto the rays.

    Weighted linear least squares: x (Z + tz) = X + tx and the same for y. NaN where fewer than three rays are finite.
    """
    use = np.where(np.isfinite(rays).all(-1), weight, 0.0)
    x, y = np.moveaxis(np.nan_to_num(rays), -1, 0)
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([ones, zeros, -x], -1), np.stack([zeros, ones, -y], -1)], 1)
    right = np.concatenate([x * points[..., 2] - points[..., 0], y * points[..., 2] - points[..., 1]], 1)
    weights = np.concatenate([use, use], 1)[..., None]
    normal = np.swapaxes(rows * weights, 1, 2) @ rows
    solvable = (use > 0).sum(1) >= 3
    normal[~solvable] = np.eye(3)
    found = np.linalg.solve(normal + 1e-9 * np.eye(3), np.swapaxes(rows * weights, 1, 2) @ right[..., None])[..., 0]
    found[~solvable] = np.nan
    return found


def _extent(plane: Float[np.ndarray, "t k 2"], known: np.ndarray) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, " t"]]:
    """Middle of what is seen, and half of its longer side."""
    low, high = np.zeros((2, len(plane), 2))
    low[known], high[known] = np.nanmin(plane[known], axis=1), np.nanmax(plane[known], axis=1)
    return (low + high) / 2, np.maximum((high - low).max(-1) / 2, _SMALLEST)


def _towards(middle: Float[np.ndarray, "t 2"]) -> Float[np.ndarray, "t 3 3"]:
    """The smallest turns that take the optical axis to the directions (x, y, 1); columns are the turned camera's axes."""
    z = np.concatenate([middle, np.ones((len(middle), 1))], 1)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    x, y, c = z[:, 0], z[:, 1], z[:, 2]
    a = 1 / (1 + c)
    columns = [np.stack([1 - x * x * a, -x * y * a, -x], 1), np.stack([-x * y * a, 1 - y * y * a, -y], 1), z]
    return np.stack(columns, 2)
