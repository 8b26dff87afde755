"""Feet that stand still, and one floor under all of them, for people lifted from one camera that does not move.

A single camera hardly sees depth, so a lifted body wavers to and fro, and its feet slide. A foot that rests in the picture rests in
space: here the whole body is moved, a little in every frame, so that it does. Rules and numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133

FEET = np.array([COCO_WHOLEBODY_133.names.index(f"{side}_{point}") for side in ("left", "right") for point in ("big_toe", "heel")])
"""The points that may rest on the ground."""

_WINDOW = 0.1  # seconds to either side, over which a speed is taken
_RESTING = 0.3  # metres per second at the body's depth, as the picture shows it
_HIGHEST = 0.08  # metres over the lower foot: higher feet don't stand
_SHORTEST = 0.1  # seconds
_TILT = np.tan(np.radians(8))  # how far the ground may lean from the bodies' upright
_DEPTH, _SOLE = 0.3, 0.03  # metres: how far off a foot is along the line of sight, and above the floor
_FARTHEST = 0.2  # of its distance: what had to be moved farther was no rest, or is not on this floor
_HEIGHT = 0.05  # metres: how far resting feet may be off the ground


@dataclass(frozen=True, eq=False)
class Ground:
    """A floor: points x with `normal` @ x = `height`; the normal points up, away from the floor."""

    normal: Float[np.ndarray, " 3"]
    height: float

    def above(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, " *n"]:
        """Metres of points over the floor."""
        return points @ self.normal - self.height


def contacts(points: Float[np.ndarray, "t k 3"], times: Float[np.ndarray, " t"], up: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, "t 4"]:
    """Which of FEET rest in which frame: slow as seen by the camera at the origin, and not above the other foot.

    points: the 133 of one person in the camera's frame, metres, NaN where unknown. times: seconds, increasing.
    """
    feet = points[:, FEET]
    if len(times) < 3:
        return np.zeros(feet.shape[:2], bool)
    depth = feet[..., 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = feet[..., :2] / depth[..., None]
        speed = np.linalg.norm(_slopes(seen, times), axis=-1) * depth
        over = feet @ up
        low = over - np.nanmin(np.where(np.isfinite(over), over, np.inf), axis=1, keepdims=True)
        resting = (speed < _RESTING) & (low < _HIGHEST)
    return _long_enough(resting, times)


def _slopes(values: Float[np.ndarray, "t ..."], times: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t ..."]:
    """Rates of change, of the straight line through the values of a fifth of a second: keypoints tremble by more than a foot moves."""
    out = np.zeros_like(values)
    first, last = np.searchsorted(times, times - _WINDOW), np.searchsorted(times, times + _WINDOW, side="right")
    for frame, (a, b) in enumerate(zip(first, last, strict=True)):
        a, b = max(min(a, frame - 1), 0), max(b, frame + 2)  # neighbours always, however slow the film is
        lag = times[a:b] - times[a:b].mean()
        out[frame] = np.tensordot(lag, values[a:b], 1) / (lag @ lag)
    return out


def _long_enough(resting: Bool[np.ndarray, "t f"], times: Float[np.ndarray, " t"]) -> Bool[np.ndarray, "t f"]:
    """Without rests that are too short to be steps."""
    out = np.zeros_like(resting)
    for foot in range(resting.shape[1]):
        for start, end in runs(resting[:, foot]):
            out[start:end, foot] = times[end - 1] - times[start] >= _SHORTEST
    return out


def runs(flags: Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
    """Start and end of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def upright(points: Float[np.ndarray, "n k 3"]) -> Float[np.ndarray, " 3"]:
    """The direction from ankles to shoulders of most bodies; the camera's own upright (0, -1, 0) where there are none."""
    names = COCO_WHOLEBODY_133.names
    middle = [points[:, [names.index(f"{side}_{point}") for side in ("left", "right")]].mean(1) for point in ("shoulder", "ankle")]
    spine = middle[0] - middle[1]
    spine = spine[np.isfinite(spine).all(1)]
    if not len(spine):
        return np.array([0.0, -1.0, 0.0])
    mean = np.median(spine / np.maximum(np.linalg.norm(spine, axis=1, keepdims=True), 1e-9), axis=0)
    return mean / max(np.linalg.norm(mean), 1e-9)


def fit_ground(feet: Float[np.ndarray, "n 3"], up: Float[np.ndarray, " 3"]) -> Ground:
    """The floor under resting feet, which leans from `up` no more than they demand.

    Raises VitruvianError without any feet.
    """
    if not len(feet):
        raise VitruvianError("no foot rests: there is nothing to lay a floor under")
    side = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    along = np.stack([side, np.cross(up, side)], 1)
    middle = np.median(feet, axis=0)
    flat, height = (feet - middle) @ along, (feet - middle) @ up
    weight, slope, level = np.ones(len(feet)), np.zeros(2), 0.0
    for _ in range(10):  # feet far off the floor count less and less (Geman-McClure)
        rows = np.concatenate([np.column_stack([flat, np.ones(len(flat))]) * (np.sqrt(weight) / _HEIGHT)[:, None], np.eye(2, 3) / _TILT])
        found = np.linalg.lstsq(rows, np.concatenate([height * np.sqrt(weight) / _HEIGHT, np.zeros(2)]), rcond=None)[0]
        slope, level = found[:2], found[2]
        weight = (1 + ((height - flat @ slope - level) / (2 * _HEIGHT)) ** 2) ** -2
    normal = up - along @ slope
    normal /= np.linalg.norm(normal)
    return Ground(normal, float(normal @ (middle + level * up)))


def corrections(
    points: Float[np.ndarray, "t k 3"], times: Float[np.ndarray, " t"], resting: Bool[np.ndarray, "t 4"], ground: Ground
) -> Float[np.ndarray, "t 3"]:
    """What to move one person by in each frame so that resting feet stand still on the ground; zeros where none ever rests.

    Each rest's place is the median of where the foot was, put on the ground along the camera's line of sight, as depth is what one camera
    does not see; the flatter the look, the more of the way is straight down. Rests far off the ground are left out. Between rests the
    correction changes evenly.
    """
    feet = np.asarray(points[:, FEET], float)
    total, count = np.zeros((len(times), 3)), np.zeros(len(times))
    for foot in range(len(FEET)):
        for start, end in runs(resting[:, foot] & np.isfinite(feet[:, foot]).all(1)):
            seen = np.median(feet[start:end, foot], axis=0)
            place = _put_down(seen, ground)
            if np.linalg.norm(place - seen) > _FARTHEST * np.linalg.norm(seen):
                continue
            total[start:end] += place - feet[start:end, foot]
            count[start:end] += 1
    known = np.flatnonzero(count)
    if not len(known):
        return np.zeros((len(times), 3))
    steps = total[known] / count[known, None]
    return np.stack([np.interp(times, times[known], steps[:, axis]) for axis in range(3)], 1)


def _put_down(place: Float[np.ndarray, " 3"], ground: Ground) -> Float[np.ndarray, " 3"]:
    """A resting foot's likeliest place on the ground."""
    sight = place / np.linalg.norm(place)
    fall = sight @ ground.normal
    place = place - sight * ground.above(place) * fall / (fall**2 + (_SOLE / _DEPTH) ** 2)
    return place - ground.above(place) * ground.normal
