"""When did which calibrated camera start: the clocks of films of the same people, set by where lines of sight meet.

    clocks = clocks_of_rays(cameras, [take.times ...], [[pixels of each person] ...])
    common_time = camera_time + clocks.offsets

At the right moment what one camera sees of a point lies on the epipolar line of what another sees of it, at others beside it. Each pair of
films is shifted against each other to where most of what both see agrees (Sampson's distance, truncated squares; who is who is assigned
anew for every shift), first on a coarse grid, then between frames. How clear a shift is: by how much it is better than any other that is
a third of a second away. The offsets are those that agree best with all pairs. Needs no odd movements, as `geometry.synchronise` does,
but cameras that are known. [ours]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, normalise
from vitruvian.geometry.synchronise import Clocks, agreed_offsets

_COARSE, _FINE = 1 / 15, 1 / 120  # seconds
_MOST = 450  # samples of a film on the coarse grid; longer films have a coarser one
_PEOPLE = 8  # of a film, those who are seen longest
_LEAST = 0.25  # share of the shorter film that two must have in common
_POINTS = 4  # that two cameras must see of somebody in a frame
_APART = 1 / 3  # seconds
_SHARE = 0.01  # of the picture's longer side: further from its epipolar line no point agrees


@dataclass(frozen=True, eq=False)
class _Film:
    """times (f,); rays (p, f, k, 2) at depth 1, NaN where not seen; step: usual seconds between frames."""

    times: Float[np.ndarray, " f"]
    rays: Float[np.ndarray, "p f k 2"]
    step: float

    def at(self, times: Float[np.ndarray, " g"]) -> Float[np.ndarray, "p g k 2"]:
        """Between frames, in straight lines; NaN where one of the two frames lacks a point, or is too far away."""
        after = np.clip(np.searchsorted(self.times, times), 1, len(self.times) - 1)
        before = after - 1
        gap = self.times[after] - self.times[before]
        share = (times - self.times[before]) / np.maximum(gap, 1e-9)
        fits = (share >= -1e-6) & (share <= 1 + 1e-6) & (gap < 1.6 * self.step)
        share = np.where(fits, share, np.nan)[None, :, None, None]
        return (1 - share) * self.rays[:, before] + share * self.rays[:, after]


def clocks_of_rays(
    cameras: Sequence[Camera],
    times: Sequence[Float[np.ndarray, " f"]],
    people: Sequence[Sequence[Float[np.ndarray, "f k 2"]]],
    max_offset: float = 10.0,
) -> Clocks:
    """The clocks of the films of c calibrated cameras; `correlation` is how clear each pair's shift is, 0 to 1.

    times: ascending seconds of each film's frames. people: of each film, pixels (f, k, 2) of the same k points, NaN where not seen.
    max_offset: seconds that two films may be apart at most. Raises VitruvianError where shapes don't fit.
    """
    if not len(cameras) == len(times) == len(people) or any(
        np.ndim(p) != 3 or len(p) != len(t) for t, film in zip(times, people, strict=True) for p in film
    ):
        raise VitruvianError("give each camera's times and, for each of its people, (frames, points, 2) of pixels")
    films = [_film(camera, at, film) for camera, at, film in zip(cameras, times, people, strict=True)]
    count = len(films)
    shifts, clear = np.full((count, count), np.nan), np.zeros((count, count))
    np.fill_diagonal(shifts, 0.0)
    for a in range(count):
        for b in range(a + 1, count):
            pair = _Pair.of(cameras[a], cameras[b])
            if pair is None or films[a] is None or films[b] is None:
                continue
            shift, clear[a, b] = _best(pair, films[a], films[b], max_offset)
            shifts[a, b], shifts[b, a], clear[b, a] = shift, -shift, clear[a, b]
    return Clocks(agreed_offsets(shifts, clear), clear, shifts)


def _film(camera: Camera, times: np.ndarray, people: Sequence[np.ndarray]) -> _Film | None:
    """The longest seen people of a film, None for one that shows nobody for long enough."""
    kept = sorted((np.asarray(p, np.float64) for p in people), key=lambda p: -np.isfinite(p).all(-1).any(-1).sum())[:_PEOPLE]
    if not kept or len(times) < 4 or np.isfinite(kept[0]).all(-1).any(-1).sum() < 4:
        return None
    return _Film(np.asarray(times, np.float64), normalise(camera, np.stack(kept)), float(np.median(np.diff(times))))


@dataclass(frozen=True, eq=False)
class _Pair:
    """essential: (3, 3) with ray_b^T E ray_a = 0. scale: what Sampson's distance at depth 1 is multiplied with, so that 1 is the limit."""

    essential: Float[np.ndarray, "3 3"]
    scale: float

    @classmethod
    def of(cls, a: Camera, b: Camera) -> _Pair | None:
        """None for two cameras at one place, whose lines of sight meet there at any time."""
        turn = b.R_cam_world @ a.R_cam_world.T
        shift = b.t_cam_world - turn @ a.t_cam_world
        if np.linalg.norm(shift) < 1e-6:
            return None
        x, y, z = shift / np.linalg.norm(shift)
        limits = [_SHARE * max(camera.size) or 15.0 for camera in (a, b)]
        scale = np.mean([camera.intrinsics[0, 0] / limit for camera, limit in zip((a, b), limits, strict=True)])
        return cls(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ turn, float(scale))

    def lines(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Epipolar lines (..., 3) of a's rays in b; b's rays (..., 3); and of each the square of their normals' share, (...) and (...)."""
        here = np.concatenate([a, np.ones_like(a[..., :1])], -1)
        there = np.concatenate([b, np.ones_like(b[..., :1])], -1)
        line = here @ self.essential.T
        return line, there, (line[..., :2] ** 2).sum(-1), ((there @ self.essential)[..., :2] ** 2).sum(-1)


def _agreement(pair: _Pair, a: Float[np.ndarray, "p f k 2"], b: Float[np.ndarray, "q g k 2"]) -> Float[np.ndarray, "p q f g"]:
    """How well each frame of each person in a agrees with each in b: 1 where all points do, 0 where none; NaN where too few are seen."""
    total, seen = np.zeros((a.shape[0], b.shape[0], a.shape[1], b.shape[1])), np.zeros((a.shape[0], b.shape[0], a.shape[1], b.shape[1]))
    for k in range(a.shape[2]):
        line, there, along, across = pair.lines(a[:, :, k], b[:, :, k])
        off = np.einsum("pfi,qgi->pqfg", line, there)
        square = pair.scale**2 * off**2 / (along[:, None, :, None] + across[None, :, None, :])
        known = np.isfinite(square)
        total += np.where(known, 1 - np.minimum(square, 1), 0)
        seen += known
    return np.where(seen >= min(_POINTS, a.shape[2]), total / np.maximum(seen, 1), np.nan)


def _best(pair: _Pair, a: _Film, b: _Film, max_offset: float) -> tuple[float, float]:
    """Seconds to add to b's times, less those to a's, that fit best (negated: offset[a] - offset[b]); and how clear they are."""
    longest = max(film.times[-1] - film.times[0] for film in (a, b))
    step = max(_COARSE, a.step, b.step, longest / _MOST)
    grids = [np.arange(film.times[0], film.times[-1] + 1e-9, step) for film in (a, b)]
    agreement = _agreement(pair, a.at(grids[0]), b.at(grids[1]))
    n, m = agreement.shape[2:]
    start = grids[1][0] - grids[0][0]
    scores = {}
    for lag in range(-(n - 1), m):  # a's sample i goes with b's i + lag
        shift = start + lag * step
        i = np.arange(max(0, -lag), min(n, m - lag))
        if abs(shift) <= max_offset and len(i) >= max(_LEAST * min(n, m), 3):
            scores[lag] = _score(agreement[:, :, i, i + lag])
    if not scores or max(scores.values()) <= 0:
        return np.nan, 0.0
    best = max(scores, key=scores.get)
    others = [value for lag, value in scores.items() if abs(lag - best) * step >= _APART]
    if not others:
        return np.nan, 0.0
    clear = (scores[best] - max(others)) / max(1 - max(others), 1e-6)
    near = start + best * step + np.arange(-np.ceil(step / _FINE) - 1, np.ceil(step / _FINE) + 2) * _FINE
    fine = [_score(_at_once(pair, a.at(grids[0]), b.at(grids[0] + shift))) for shift in near]
    top = int(np.argmax(fine))
    return float(near[top] + _FINE * _between(fine, top)), float(max(clear, 0.0))


def _at_once(pair: _Pair, a: Float[np.ndarray, "p f k 2"], b: Float[np.ndarray, "q f k 2"]) -> Float[np.ndarray, "p q f"]:
    """`_agreement` of the same frames alone."""
    line, there, along, across = pair.lines(a, b)
    off = np.einsum("pfki,qfki->pqfk", line, there)
    square = pair.scale**2 * off**2 / (along[:, None] + across[None])
    known = np.isfinite(square)
    seen = known.sum(-1)
    total = np.where(known, 1 - np.minimum(square, 1), 0).sum(-1)
    return np.where(seen >= min(_POINTS, a.shape[2]), total / np.maximum(seen, 1), np.nan)


def _score(agreement: Float[np.ndarray, "p q f"]) -> float:
    """Of the people-frames that both films could agree on, the share that do: each person of the one with one of the other."""
    from scipy.optimize import linear_sum_assignment

    there: Bool[np.ndarray, "p q f"] = np.isfinite(agreement)
    most = min(there.any(1).sum(), there.any(0).sum())
    if not most:
        return 0.0
    gains = np.where(there, agreement, 0).sum(-1)
    rows, columns = linear_sum_assignment(-gains)
    return float(gains[rows, columns].sum() / most)


def _between(values: Sequence[float], best: int) -> float:
    """Where between samples the parabola through the three around `best` is highest, -0.5 to 0.5."""
    if not 0 < best < len(values) - 1:
        return 0.0
    before, peak, after = values[best - 1 : best + 2]
    bend = before - 2 * peak + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
