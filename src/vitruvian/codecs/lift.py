"""What goes into and comes out of a lifting network: keypoints seen by a camera that looks straight at the person.

The camera is turned about its own centre until the middle of the person's keypoints lies on its axis, and zoomed until they fill a
square. So the network sees the same numbers wherever in the picture a person stands, while the true perspective stays: how large the
person appears is an input. The place of the person follows from the answer by linear least squares
(`codecs.lifting.solve_roots`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SEEN = 0.05
"""Confidence from which a keypoint counts."""
PLANE = np.array([1.0, 1.0, 0.0, 0.0])
"""The camera that `Seen.rays` are pixels of, as `codecs.lifting.solve_roots` takes one: that finds where the answer lies."""
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
