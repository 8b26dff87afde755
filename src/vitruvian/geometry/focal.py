"""How wide a camera sees, from nothing but people who stand and walk upright on one floor.

    lens = focal_from_people(feet, tops, person, going, size)
    if lens is not None and lens.is_told:
        lens.fov, lens.spread                           # degrees across the picture's longer side, and one standard deviation

A camera that looks down by an angle t sees the horizon f tan(t) above the middle of its picture, which follows from how people's size
changes with their place, and f / tan(t) below it the point to which all upright people lean: the product of the two is f squared (Lv,
Zhao, Nevatia, Camera calibration from video of a walking human, PAMI 2006). So a level camera tells nothing, whoever walks before it, and
a tilted one tells the more, the farther people come around. Here all is one fit, for each of many focal lengths: tilt, roll and height
of the camera and everybody's size and lean, to feet and shoulders, both with errors, and what is usual of each as prior. How well the
focal lengths fit, and how usual they are, makes the mean and its spread, which is the prior's where nothing is seen. The camera may turn
about its upright and move on a level. Distortion is not looked at, and the optical axis is taken to go through the picture's middle.

What else could tell, and why it is not used: perspective within one body. A limb has two unknown turns for its two pixels, so only trunk
and head, of nearly fixed shape, constrain it. By the Fisher information of their nine points, off by 2 % of the person's height, 40
independent frames leave ln f open by 0.32 at 3 m and 0.51 at 5 m, where the prior has 0.30; three people who walk for 15 seconds before a
camera that looks down by 10 degrees, by 0.10 (`benchmarks/focal.py`). The fit and the numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import VitruvianError

USUAL_FOV, USUAL_SPREAD = 60.0, 0.3
"""What cameras usually see, degrees, and the standard deviation of ln f about it: two thirds see 46 to 75 degrees."""

_USUAL = float(-np.log(2 * np.tan(np.radians(USUAL_FOV) / 2)))  # ln f in longer sides
_WIDTHS = np.linspace(-0.9, 0.9, 31)  # ln f that are tried, from the usual: 110 to 26 degrees
_CLEAR = 0.13  # standard deviation of ln f from which on an answer is worth much more than the usual
_STIFF = 0.045  # of their height: who is farther from upright doesn't stand, or not on one floor, or the camera sways
_SMALL = 0.06  # of the longer side: by people who look smaller, answers were off by 1.6 spreads (`benchmarks/focal.py`)
_FEWEST, _MOST = 6, 600  # places; of more, these are evenly chosen
_PLACE, _PLACE_SPREAD = np.array([0.1, 0.0, 0.2]), np.array([0.6, 0.07, 1.0])  # tilt, roll (radians), ln height in bodies
_BODY = np.array([0.0, 0.0, 0.028])  # ln size; how far people's tops are aside of their feet, in bodies; and ahead, where they walk
_BODY_SPREAD = np.array([0.06, 0.02, 0.02])  # of adults; two walks of CMU's are 0.024 and 0.028 ahead
_TILTS = np.radians([-10, 0, 15, 35])  # where the search begins
_NOISE, _NOISE_PLACES = 0.025, 6  # errors as a share of people's height; what is usual counts as much as so many places
_NEIGHBOURS = 1.4  # how much larger spreads are than by independent errors: so far off were answers on made-up walkers (tests/street.py)
_TAIL = 9.0  # square of errors, in their standard deviation, from which on they count less and less
_NEAR, _HORIZON = 0.05, 1e-3  # bodies; slope
_STEP = 1e-6


@dataclass(frozen=True)
class SeenLens:
    """fov: degrees across the longer side. spread: its standard deviation. tilt: degrees that the camera looks down.

    noise: how far people are from upright in the picture, as a share of their height, one standard deviation. is_told: the people tell
    much more than what is usual (`USUAL_FOV`), and can be trusted; otherwise fov is mostly that, or its spread may be too small.
    """

    fov: float
    spread: float
    tilt: float
    noise: float
    is_told: bool


@dataclass(frozen=True, eq=False)
class _Seen:
    """n places of P people: feet and tops in longer sides from the middle, whose they are, where they go, how tall they look."""

    points: Float[np.ndarray, "n 4"]
    person: Int[np.ndarray, " n"]
    going: Float[np.ndarray, " n"]
    tall: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class _State:
    """place: of the camera, as _PLACE. bodies: as _BODY. feet: where they truly are."""

    place: Float[np.ndarray, " 3"]
    bodies: Float[np.ndarray, "p 3"]
    feet: Float[np.ndarray, "n 2"]


def focal_from_people(
    feet: Float[np.ndarray, "n 2"],
    tops: Float[np.ndarray, "n 2"],
    person: Int[np.ndarray, " n"],
    going: Float[np.ndarray, " n"],
    size: tuple[int, int],
) -> SeenLens | None:
    """The lens of a camera by n places where people stood upright; None where these are too few.

    feet, tops: pixels of the middle of the ankles, and of a point above it at the same height of everybody's (that of the shoulders),
    averaged over two steps: people sway and bob. person: who it is. going: from -1, who walks to the picture's left, to 1, to the right; 0
    for who stands, comes or goes. size: (width, height) of the picture. Places of one person should be a step or more apart.
    Raises VitruvianError where shapes don't fit.
    """
    feet, tops, going = (np.asarray(values, np.float64) for values in (feet, tops, going))
    if feet.ndim != 2 or feet.shape[1] != 2 or tops.shape != feet.shape or not np.shape(person) == going.shape == feet.shape[:1]:
        raise VitruvianError(f"feet {feet.shape}, tops {tops.shape}, {np.shape(person)}, {going.shape}: give (n, 2), (n, 2), (n,) and (n,)")
    if min(size) <= 0:
        raise VitruvianError(f"a picture of {size} pixels: give its width and height")
    points = np.concatenate([feet, tops], 1) - np.tile((np.array(size) - 1) / 2, 2)
    good = np.flatnonzero(np.isfinite(points).all(1) & np.isfinite(going) & (points[:, 3] < points[:, 1]))
    if len(good) < _FEWEST:
        return None
    good = good[np.linspace(0, len(good) - 1, min(len(good), _MOST)).round().astype(int)]
    points = points[good] / max(size)
    tall = np.linalg.norm(points[:, 2:] - points[:, :2], axis=1)
    return _lens(_Seen(points, np.unique(np.asarray(person)[good], return_inverse=True)[1], going[good], tall))


def _lens(seen: _Seen) -> SeenLens:
    """The fits for all focal lengths, weighed."""
    starts = [_minimised(_start(seen, tilt), seen, _USUAL, _NOISE) for tilt in _TILTS]
    state, noise, best = min(starts, key=lambda start: _cost(start, seen, _USUAL, _NOISE)), _NOISE, _USUAL
    for _ in range(2):
        noise = _noise_of(state, seen, best, noise)
        states = _swept(state, seen, noise)
        costs = np.array([_cost(each, seen, _USUAL + width, noise) for each, width in zip(states, _WIDTHS, strict=True)])
        costs = costs / _NEIGHBOURS**2 + (_WIDTHS / USUAL_SPREAD) ** 2
        state, best = states[costs.argmin()], _USUAL + _WIDTHS[costs.argmin()]
    mean, deviation = _moments(_WIDTHS, costs)
    fov = 2 * np.arctan(0.5 / np.exp(_USUAL + mean))
    told = bool(deviation < _CLEAR and noise < _STIFF and np.median(seen.tall) > _SMALL)
    return SeenLens(float(np.degrees(fov)), float(np.degrees(np.sin(fov) * deviation)), float(np.degrees(state.place[0])), noise, told)


def _moments(values: Float[np.ndarray, " v"], costs: Float[np.ndarray, " v"]) -> tuple[float, float]:
    """Mean and standard deviation of a value whose -2 ln probability is known here and there."""
    from scipy.interpolate import CubicSpline

    fine = np.linspace(values[0], values[-1], 2000)
    chance = np.exp(-0.5 * np.maximum(CubicSpline(values, costs - costs.min())(fine), -1))
    mean = float(chance @ fine / chance.sum())
    return mean, float(np.sqrt(chance @ (fine - mean) ** 2 / chance.sum()))


def _swept(state: _State, seen: _Seen, noise: float) -> list[_State]:
    """The best state for each of _WIDTHS, from its neighbour's, beginning with the usual."""
    middle, found = len(_WIDTHS) // 2, {}
    for way in (range(middle, len(_WIDTHS)), range(middle - 1, -1, -1)):
        now = found.get(middle, state)
        for k in way:
            found[k] = now = _minimised(now, seen, _USUAL + _WIDTHS[k], noise)
    return [found[k] for k in range(len(_WIDTHS))]


def _noise_of(state: _State, seen: _Seen, focal: float, noise: float) -> float:
    """How far people are off, robustly, as a share of their height: of four numbers of each place two are fitted."""
    square, count = (_residuals(state, seen, focal, noise) ** 2).sum(1), len(seen.points)
    variance = noise**2 * np.median(square) / (2 * np.log(2)) * count / (count - 2)
    return float(np.sqrt((count * variance + _NOISE_PLACES * _NOISE**2) / (count + _NOISE_PLACES)))


def _start(seen: _Seen, tilt: float) -> _State:
    below = np.maximum(np.cos(tilt) * seen.points[:, 1] / np.exp(_USUAL) + np.sin(tilt), 0.02)
    height = _USUAL + np.log(np.median(below / seen.tall))  # depth is height / below, and size f / depth
    return _State(np.array([tilt, 0.0, height]), np.tile(_BODY, (seen.person.max() + 1, 1)), seen.points[:, :2])


def _stances(state: _State, seen: _Seen) -> Float[np.ndarray, "n 6"]:
    """The camera's place and the body, of each place."""
    return np.concatenate([np.tile(state.place, (len(seen.person), 1)), state.bodies[seen.person]], 1)


def _tops(stances: Float[np.ndarray, "n 6"], feet: Float[np.ndarray, "n 2"], going: Float[np.ndarray, " n"], focal: float) -> np.ndarray:
    """(n, 2) where people's tops are seen, who stand where their feet are seen; focal: ln f. Lengths are in bodies."""
    tilt, roll, height, size, aside, ahead = stances.T
    down = np.stack([-np.sin(roll) * np.cos(tilt), np.cos(roll) * np.cos(tilt), np.sin(tilt)], 1)
    right = np.stack([np.cos(roll), np.sin(roll), np.zeros_like(roll)], 1)
    rays = np.column_stack([feet / np.exp(focal), np.ones(len(feet))])
    depth = np.exp(height) / np.maximum((rays * down).sum(1), _HORIZON)
    top = rays * depth[:, None] + np.exp(size)[:, None] * ((aside + going * ahead)[:, None] * right - down)
    return np.exp(focal) * top[:, :2] / np.maximum(top[:, 2:], _NEAR)


def _residuals(state: _State, seen: _Seen, focal: float, noise: float) -> Float[np.ndarray, "n 4"]:
    """What the feet and tops of a state are off, in standard deviations."""
    tops = _tops(_stances(state, seen), state.feet, seen.going, focal)
    return (np.concatenate([state.feet, tops], 1) - seen.points) / (noise * seen.tall)[:, None]


def _cost(state: _State, seen: _Seen, focal: float, noise: float) -> float:
    """-2 ln probability of all but ln f, with long tails (Cauchy's)."""
    square = (_residuals(state, seen, focal, noise) ** 2).sum(1)
    place, odd = ((state.place - _PLACE) / _PLACE_SPREAD) ** 2, ((state.bodies - _BODY) / _BODY_SPREAD) ** 2
    return float(_TAIL * (np.log1p(square / _TAIL).sum() + np.log1p(odd / _TAIL).sum()) + place.sum())


def _moved(state: _State, seen: _Seen, focal: float, noise: float, damping: float) -> _State:
    """The state after one step of Gauss and Newton: feet, then bodies are eliminated (Schur complements), which only share the camera."""
    residual, stances = _residuals(state, seen, focal, noise), _stances(state, seen)
    root = 1 / np.sqrt(1 + (residual**2).sum(1) / _TAIL)[:, None]  # of the weight
    scale, residual = root / (noise * seen.tall)[:, None], residual * root
    tops = _tops(stances, state.feet, seen.going, focal)
    shared, own = np.zeros((len(tops), 4, 6)), np.zeros((len(tops), 4, 2))
    for k, step in enumerate(_STEP * np.eye(6)):
        shared[:, 2:, k] = (_tops(stances + step, state.feet, seen.going, focal) - tops) / _STEP * scale
    for k, step in enumerate(_STEP * np.eye(2)):
        own[:, 2:, k] = (_tops(stances, state.feet + step, seen.going, focal) - tops) / _STEP * scale
        own[:, k, k] = scale[:, 0]
    inverse = np.linalg.inv(own.swapaxes(1, 2) @ own * (1 + damping * np.eye(2)))
    mixed, pull = shared.swapaxes(1, 2) @ own, -own.swapaxes(1, 2) @ residual[..., None]
    of, right = np.zeros((len(state.bodies), 6, 6)), np.zeros((len(state.bodies), 6))
    np.add.at(of, seen.person, shared.swapaxes(1, 2) @ shared - mixed @ inverse @ mixed.swapaxes(1, 2))
    np.add.at(right, seen.person, -(shared.swapaxes(1, 2) @ residual[..., None] + mixed @ inverse @ pull)[..., 0])
    odd, sure = state.bodies - _BODY, _PLACE_SPREAD**-2.0
    sure_body = 1 / (_BODY_SPREAD**2 + odd**2 / _TAIL)
    inner = np.linalg.inv((of[:, 3:, 3:] + sure_body[:, None] * np.eye(3)) * (1 + damping * np.eye(3)))
    carried, right_body = of[:, :3, 3:] @ inner, right[:, 3:] - sure_body * odd
    system = (of[:, :3, :3].sum(0) + np.diag(sure)) * (1 + damping * np.eye(3)) - (carried @ of[:, 3:, :3]).sum(0)
    wanted = right[:, :3].sum(0) - sure * (state.place - _PLACE) - (carried @ right_body[..., None]).sum((0, 2))
    place = np.clip(np.linalg.solve(system, wanted), -0.3, 0.3)
    bodies = np.clip((inner @ (right_body - of[:, 3:, :3] @ place)[..., None])[..., 0], -0.3, 0.3)
    steps = np.concatenate([np.tile(place, (len(tops), 1)), bodies[seen.person]], 1)
    feet = (inverse @ (pull - mixed.swapaxes(1, 2) @ steps[..., None]))[..., 0]
    return _State(state.place + place, state.bodies + bodies, state.feet + feet)


def _minimised(state: _State, seen: _Seen, focal: float, noise: float) -> _State:
    """The best state for one ln f, by Levenberg and Marquardt."""
    cost, damping = _cost(state, seen, focal, noise), 1e-3
    for _ in range(60):
        new = _moved(state, seen, focal, noise, damping)
        lower = _cost(new, seen, focal, noise)
        if lower < cost:
            gained, state, cost, damping = cost - lower, new, lower, max(damping / 5, 1e-7)
            if gained < 1e-3:
                break
        elif damping > 1e5:
            break
        else:
            damping *= 5
    return state
