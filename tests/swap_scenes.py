"""Takes with known left-right swaps: synthetic walkers, runners and turners in 3D, or real motion, filmed and then spoilt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vitruvian.people.swap import unit_points
from vitruvian.skeletons import Skeleton, by_name
from vitruvian.take import People, Take

HALPE = by_name("halpe-26")
DEGREE = np.pi / 180

KINDS = {
    "whole": ("head", "shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot"),
    "legs": ("hip", "knee", "ankle", "foot"),
    "lower legs": ("knee", "ankle", "foot"),
    "feet": ("ankle", "foot"),
    "arms": ("shoulder", "elbow", "wrist", "hand"),
    "lower arms": ("elbow", "wrist", "hand"),
    "wrists": ("wrist", "hand"),
}


@dataclass(frozen=True)
class Gait:
    """Strides per second, metres per second, angles in degrees: hip amplitude and mean, knee at its most bent, arm amplitude, elbow."""

    pace: float
    speed: float
    hip: float
    lean: float
    knee: float
    arm: float
    elbow: float


WALK = Gait(0.95, 1.35, 24, 8, 58, 18, 25)
RUN = Gait(1.4, 3.4, 38, 14, 100, 32, 90)


def _bump(phase: np.ndarray, centre: float, width: float) -> np.ndarray:
    away = (phase - centre + 0.5) % 1 - 0.5
    return np.exp(-((away / width) ** 2))


def person(times: np.ndarray, gait: Gait = WALK, heading: np.ndarray | float = 0.0, phase: float = 0.0) -> np.ndarray:
    """(F, 26, 3) Halpe points in metres, y up, of someone who goes where `heading` (radians, 0 is +x) points."""
    heading = np.broadcast_to(heading, times.shape)
    steps = np.gradient(times) * gait.speed
    root = np.stack([np.cumsum(steps * np.cos(heading)), np.zeros_like(times), -np.cumsum(steps * np.sin(heading))], axis=1)
    beat = gait.pace * times + phase
    root[:, 1] = 0.93 + 0.02 * np.cos(4 * np.pi * beat)
    up = np.array([0.0, 1.0, 0.0])

    def axes(yaw):
        """Forward and left of a body part that is turned by yaw against the heading."""
        angle = heading + yaw
        forward = np.stack([np.cos(angle), np.zeros_like(angle), -np.sin(angle)], axis=1)
        return forward, np.stack([-np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=1)

    twist = np.cos(2 * np.pi * beat)
    hip_forward, hip_left = axes(-5 * DEGREE * twist)
    forward, left = axes(8 * DEGREE * twist)
    chest = root + 0.5 * up + 0.04 * forward
    points: dict[str, np.ndarray] = {"hip": root, "neck": chest}

    def limb(start, ahead, angles, lengths, names):
        place = start
        for angle, length, name in zip(angles, lengths, names, strict=True):
            place = place + length * (np.sin(angle)[:, None] * ahead - np.cos(angle)[:, None] * up)
            points[name] = place

    for side, sign, half in (("left", 1, 0.0), ("right", -1, 0.5)):
        p = (beat + half) % 1
        thigh = DEGREE * (gait.lean + gait.hip * np.cos(2 * np.pi * p))
        knee = DEGREE * (6 + gait.knee * _bump(p, 0.72, 0.13) + 12 * _bump(p, 0.14, 0.09))
        points[f"{side}_hip"] = root + sign * 0.09 * hip_left
        limb(points[f"{side}_hip"], hip_forward, [thigh, thigh - knee], [0.42, 0.42], [f"{side}_knee", f"{side}_ankle"])
        pitch = (thigh - knee) * 0.6
        along, down = np.cos(pitch)[:, None] * hip_forward + np.sin(pitch)[:, None] * up, -up
        ankle = points[f"{side}_ankle"]
        points[f"{side}_heel"] = ankle - 0.05 * along + 0.06 * down
        points[f"{side}_big_toe"] = ankle + 0.18 * along + 0.06 * down - sign * 0.02 * hip_left
        points[f"{side}_small_toe"] = ankle + 0.15 * along + 0.06 * down + sign * 0.05 * hip_left
        arm = -DEGREE * gait.arm * np.cos(2 * np.pi * p)
        points[f"{side}_shoulder"] = chest + sign * 0.18 * left
        bent = arm + DEGREE * (gait.elbow + 0.5 * gait.elbow * np.clip(arm / (DEGREE * gait.arm), -1, 1))
        limb(points[f"{side}_shoulder"], forward, [arm, bent], [0.29, 0.26], [f"{side}_elbow", f"{side}_wrist"])
        skull = chest + 0.2 * up + 0.05 * forward
        points[f"{side}_ear"] = skull + sign * 0.075 * left
        points[f"{side}_eye"] = skull + sign * 0.03 * left + 0.09 * forward + 0.03 * up
        points["nose"], points["head"] = skull + 0.11 * forward, skull + 0.13 * up
    return np.stack([points[name] for name in HALPE.names], axis=1)


def filmed(
    points: np.ndarray,
    times: np.ndarray,
    azimuth: float = 0.0,
    skeleton: Skeleton = HALPE,
    noise: float = 0.006,
    missing: float = 0.04,
    seed: int = 0,
) -> Take:
    """A camera that pans with the person, 7 m away at breast height, at `azimuth` radians around them (0 looks along -z); 300 pixels tall.

    noise: standard deviation in body heights, half of it from frame to frame and half lasting for some frames. missing: share of points
    that a frame lacks; as many go in bursts of a third of a second.
    """
    rng = np.random.default_rng(seed)
    f, k, _ = points.shape
    height = 1.75
    centre = np.nanmedian(points, axis=1, keepdims=True)
    centre = np.stack([_calm(centre[:, 0, axis]) for axis in range(3)], axis=1)[:, None]
    c, s = np.cos(azimuth), np.sin(azimuth)
    camera = (points - centre) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    depth = 7 - camera[..., 2]
    pixels = 500 + 300 / height * 7 * np.stack([camera[..., 0], -camera[..., 1]], axis=-1) / depth[..., None]
    wobble = rng.normal(0, 1, (f, k, 2))
    for i in range(1, f):
        wobble[i] = 0.85 * wobble[i - 1] + np.sqrt(1 - 0.85**2) * wobble[i]
    keypoints = pixels + 300 * noise * np.sqrt(0.5) * (wobble + rng.normal(0, 1, (f, k, 2)))
    far = depth - np.nanmean(depth, axis=1, keepdims=True)
    confidence = np.clip(0.8 - 0.8 * far + rng.normal(0, 0.08, (f, k)), 0.2, 1.0)
    gone = rng.random((f, k)) < missing
    burst = max(2, round(0.33 / np.median(np.diff(times))))
    for start in np.flatnonzero(rng.random(f * k) < missing / burst):
        gone[start // k : start // k + burst, start % k] = True
    gone |= ~np.isfinite(pixels).all(-1)
    keypoints[gone], confidence[gone] = np.nan, 0.0
    seen = np.where(np.isfinite(pixels), pixels, np.nan)
    boxes = np.concatenate([np.nanmin(seen, axis=1) - 10, np.nanmax(seen, axis=1) + 10], axis=1)
    people = People(np.arange(f), np.ones(f), boxes, np.ones(f), keypoints, confidence)
    return Take(people, skeleton, times, np.full((f, 2), 1000))


def _calm(values: np.ndarray) -> np.ndarray:
    """A moving average, as of somebody who holds a camera."""
    window = np.ones(15) / 15
    return np.convolve(np.pad(values, 7, mode="edge"), window, mode="valid")


def swapped(take: Take, units: dict[str, np.ndarray]) -> Take:
    """The take with left and right exchanged in the rows where a unit's mask is set."""
    order = np.tile(np.arange(len(take.skeleton)), (len(take.people), 1))
    for unit, rows in units.items():
        points = unit_points(take.skeleton).get(unit, np.zeros(0, int))
        order[np.ix_(rows, points)] = np.asarray(take.skeleton.swap)[points]
    rows = np.arange(len(order))[:, None]
    people = replace(take.people, keypoints=take.keypoints[rows, order], confidence=take.confidence[rows, order])
    return replace(take, people=people)


def spoilt(take: Take, seed: int = 0, rate: float = 0.5, longest: float = 0.8, kinds: tuple[str, ...] = tuple(KINDS)) -> tuple[Take, dict]:
    """The take with `rate` swaps a second, each of one kind for up to `longest` seconds, and the mask of every unit.

    Half of the swaps start where the ankles or wrists pass each other in the picture, which is where networks take one for the other.
    """
    rng = np.random.default_rng((seed, 7))
    f, step = len(take.times), float(np.median(np.diff(take.times)))
    masks = {unit: np.zeros(f, bool) for unit in KINDS["whole"]}
    free = np.ones(f, bool)
    for _ in range(max(1, round(rate * f * step))):
        kind = kinds[rng.integers(len(kinds))]
        length = max(1, round(np.exp(rng.uniform(np.log(step), np.log(longest))) / step))
        start = int(rng.integers(3, max(4, f - length - 3)))
        if rng.random() < 0.5:
            start = _nearest_crossing(take, "wrist" if "arm" in kind or "wrist" in kind else "ankle", start)
        margin = round(0.15 / step)
        if start + length + 3 > f or not free[max(0, start - margin) : start + length + margin].all():
            continue
        free[start : start + length] = False
        for unit in KINDS[kind]:
            masks[unit][start : start + length] = True
    return swapped(take, masks), masks


def _nearest_crossing(take: Take, joint: str, frame: int) -> int:
    skeleton = take.skeleton
    apart = take.keypoints[:, skeleton.index(f"left_{joint}"), 0] - take.keypoints[:, skeleton.index(f"right_{joint}"), 0]
    crossings = np.flatnonzero(np.sign(apart[1:]) * np.sign(apart[:-1]) < 0) + 1
    return int(crossings[np.abs(crossings - frame).argmin()]) if len(crossings) else frame


def turning(times: np.ndarray, every: float = 3.0, seconds: float = 1.2) -> np.ndarray:
    """Headings of somebody who turns round every few seconds."""
    turns = np.floor(times / every) + np.clip((times % every - (every - seconds)) / seconds, 0, 1)
    smooth = turns % 1
    return np.pi * (np.floor(turns) + 3 * smooth**2 - 2 * smooth**3)


def clips(fps: float, seed: int, seconds: float = 8.0, noise: float = 0.006) -> dict[str, Take]:
    """Walkers and runners from the side and obliquely, and turners, with right labels."""
    times = np.arange(round(seconds * fps)) / fps
    rng = np.random.default_rng((seed, 1))
    out = {}
    for name, gait, azimuth, heading in (
        ("walk, side", WALK, 0.0, 0.0),
        ("walk, oblique", WALK, 0.7, 0.0),
        ("walk, towards", WALK, 1.5, 0.0),
        ("run, side", RUN, 0.05, 0.0),
        ("run, oblique", RUN, -0.6, 0.0),
        ("walk and turn", WALK, 0.2, turning(times)),
        ("walk in a circle", WALK, 0.0, 0.8 * times),
    ):
        points = person(times, replace(gait, pace=gait.pace * rng.uniform(0.9, 1.1)), heading, rng.random())
        out[name] = filmed(points, times, azimuth + rng.uniform(-0.1, 0.1), noise=noise, seed=seed)
    return out


@dataclass
class Score:
    """Limb-frames: swapped ones, those put right again, right ones, those spoilt; only where both sides are seen."""

    swapped: int = 0
    repaired: int = 0
    right: int = 0
    broken: int = 0

    def add(self, before: np.ndarray, after: np.ndarray, counted: np.ndarray) -> None:
        """Masks of what is swapped before and after the repair."""
        self.swapped += int((before & counted).sum())
        self.repaired += int((before & ~after & counted).sum())
        self.right += int((~before & counted).sum())
        self.broken += int((~before & after & counted).sum())

    @property
    def recall(self) -> float:
        """Share of swapped limb-frames that are repaired."""
        return self.repaired / max(self.swapped, 1)

    @property
    def false(self) -> float:
        """Share of right limb-frames that are swapped by the repair."""
        return self.broken / max(self.right, 1)


def score(truth: Take, masks: dict[str, np.ndarray], repaired: Take, into: Score) -> None:
    """Compare a repaired take with the true one, unit by unit where both sides are seen."""
    swap = np.asarray(truth.skeleton.swap)
    for unit, points in unit_points(truth.skeleton).items():
        left = points[points < swap[points]][0]
        seen = np.isfinite(truth.keypoints[:, [left, swap[left]]]).all((1, 2))
        wrong = (repaired.keypoints[:, left] != truth.keypoints[:, left]).any(-1)
        into.add(masks[unit], wrong, seen)
