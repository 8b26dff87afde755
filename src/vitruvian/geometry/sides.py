"""Left and right, agreed upon by cameras: networks exchange them, above all for people seen from behind, and half a leg each is no leg.

Of each camera and frame it is decided whether its left and right points are exchanged, so that the lines of sight of all cameras meet as
well as they can: the path of least cost through all combinations over time (Viterbi), where cost is what lines miss each other by, a
little for every exchange, more for the sure cameras, and some for every change from a frame to the next. [ours] If all cameras are wrong
together nothing tells; if one of two is, the one that is less sure is taken to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, at_least_one, rays_world

_FAR = 0.3  # metres: lines that miss each other by more say no more than that
_EXCHANGE, _CHANGE = 0.1, 1.0  # cost of an exchange per sure point, and of a change over time per camera
_MOST = 8  # cameras: 256 combinations; of more, the others stay as they are


def exchanged_sides(
    cameras: Sequence[Camera],
    left: Float[np.ndarray, "c f m 2"],
    right: Float[np.ndarray, "c f m 2"],
    confidence_left: Float[np.ndarray, "c f m"],
    confidence_right: Float[np.ndarray, "c f m"],
) -> Bool[np.ndarray, "c f"]:
    """For each camera and frame of one person whether its m left points are the right ones.

    Pixels, with distortion; NaN and confidence 0 are not seen. Frames are in order; who is away for some has NaN there.
    Raises VitruvianError where shapes don't fit.
    """
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if (
        left.shape != right.shape
        or left.ndim != 4
        or len(left) != len(at_least_one(cameras))
        or left.shape[:-1] != np.shape(confidence_left)
    ):
        raise VitruvianError(f"left points of {left.shape} and right ones of {right.shape} for {len(cameras)} cameras: give (c, f, m, 2)")
    count, frames = left.shape[:2]
    asked = min(count, _MOST)
    out = np.zeros((count, frames), bool)
    if not frames or asked < 2:
        return out
    sure = np.sqrt(np.nan_to_num(np.clip(confidence_left, 0, 1)) * np.nan_to_num(np.clip(confidence_right, 0, 1)))
    lines = [(rays_world(camera, a), rays_world(camera, b)) for camera, a, b in zip(cameras, left, right, strict=True)]
    states = (np.arange(2**asked)[:, None] >> np.arange(asked)) & 1  # (s, c): which cameras are exchanged
    cost = _EXCHANGE * sure[:asked].sum(-1).T @ states.T  # (f, s)
    for a, b in combinations(range(asked), 2):
        as_they_are, crossed = _misses(lines[a], lines[b], np.sqrt(sure[a] * sure[b]))
        differ = states[:, a] != states[:, b]
        cost += np.where(differ, crossed[:, None], as_they_are[:, None])
    out[:asked] = states[_cheapest_path(cost, states)].T.astype(bool)
    return out


def _misses(one: tuple, other: tuple, weight: Float[np.ndarray, "f m"]) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """What the lines of two cameras miss each other by, left with left and left with right; a pair of points counts 2 `weight` at most."""
    (here, left), (_, right) = one
    (there, other_left), (_, other_right) = other
    gap = [[_gaps(here, a, there, b) for b in (other_left, other_right)] for a in (left, right)]
    known = np.isfinite(gap[0][0] + gap[0][1] + gap[1][0] + gap[1][1])
    weight = np.where(known, weight, 0.0)
    share = [[np.minimum(np.where(known, g, 0.0), _FAR) / _FAR for g in row] for row in gap]
    return (weight * (share[0][0] + share[1][1])).sum(-1), (weight * (share[0][1] + share[1][0])).sum(-1)


def _gaps(here: np.ndarray, one: np.ndarray, there: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances between lines of sight, metres."""
    across = np.cross(one, other)
    size = np.linalg.norm(across, axis=-1)
    return np.abs(across @ (there - here)) / np.maximum(size, 1e-6)


def _cheapest_path(cost: Float[np.ndarray, "f s"], states: np.ndarray) -> np.ndarray:
    """The state of each frame."""
    change = _CHANGE * (states[:, None] != states[None]).sum(-1)
    total, came = cost[0], np.zeros(cost.shape, int)
    for f in range(1, len(cost)):
        ways = total[:, None] + change
        came[f] = ways.argmin(0)
        total = ways.min(0) + cost[f]
    path = np.empty(len(cost), int)
    path[-1] = total.argmin()
    for f in range(len(cost) - 1, 0, -1):
        path[f - 1] = came[f, path[f]]
    return path
