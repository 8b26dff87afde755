"""Calibrate several cameras from nothing but a person whom they film: somebody of known height walks about for half a minute.

found = calibrate([take1, take2, take3], height=1.78, fov=65)
write_calibration(found.cameras, "cameras.toml")      # for capture_cameras(..., "cameras.toml")

The lens is taken for one without distortion that sees `fov` degrees, or as wide as the films agree on best; where cameras stand follows by
bundle adjustment (`geometry.bundle`); the scale from the person's legs; up and the floor from how they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from vitruvian.capture.bodies import ASSUMED_FOV
from vitruvian.capture.views import at_times
from vitruvian.errors import VitruvianError
from vitruvian.geometry.bundle import Bundle, cameras_from_people, length_along, scaled, upright
from vitruvian.geometry.camera import Camera, moved, pinhole
from vitruvian.people.filters import nominal_step
from vitruvian.take import Take

ASSUMED_HEIGHT = 1.7
"""Metres where nobody says more."""
_LEG_SHARE = 0.491  # hip to ankle of the body height: Winter, Biomechanics and Motor Control of Human Movement
_SURE, _FEWEST, _WORST = 0.4, 200, 0.008  # confidence of a keypoint; keypoints in common; error as a share of the longer side
_STEADY, _EVEN = 0.08, 1.35  # how much limbs' lengths may vary (median deviation over median), and differ between the sides
_JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))


@dataclass(frozen=True, eq=False)
class Calibrated:
    """cameras: c of them, in a world with y up and the floor at 0, metres. error: (c,) median pixels between keypoints and projections.

    seen: (c,) keypoints that each shares with others. fov: degrees of each lens.
    """

    cameras: tuple[Camera, ...]
    error: Float[np.ndarray, " c"]
    seen: Int[np.ndarray, " c"]
    fov: Float[np.ndarray, " c"]


def calibrate(
    takes: Sequence[Take],
    *,
    height: float = ASSUMED_HEIGHT,
    fov: float | None = None,
    offsets: Sequence[float] | None = None,
    names: Sequence[str] = (),
) -> Calibrated:
    """Where the cameras of these takes stand, from the person whom each of them sees longest (who must be the same one).

    height: of the person, metres. fov: degrees across the pictures' longer side; None starts at 60 and lets the films say. offsets:
    seconds to add to each take's times to have the first one's clock (`views.clocks` finds them). names: of the cameras.
    Raises VitruvianError where the cameras share too little, or can't be brought to agree.
    """
    if len(takes) < 2:
        raise VitruvianError("one film can't be calibrated: give those of two or more cameras")
    if not 0.3 < height < 2.6:
        raise VitruvianError(f"nobody is {height} m tall: give the height in metres")
    if len(names) not in (0, len(takes)):
        raise VitruvianError(f"{len(names)} names for {len(takes)} cameras: give one for each")
    shifts = np.zeros(len(takes)) if offsets is None else np.asarray(offsets, float)
    if shifts.shape != (len(takes),):
        raise VitruvianError(f"{shifts.size} offsets for {len(takes)} films: give one for each")
    joints = [[take.skeleton.index(name) for name in _JOINTS] for take in takes]
    pixels, weight = _common([replace(take, times=take.times + shift) for take, shift in zip(takes, shifts, strict=True)], joints)
    cameras = [_nowhere(take, fov or ASSUMED_FOV, names[c] if names else f"cam{c + 1}") for c, take in enumerate(takes)]
    with np.errstate(over="ignore", invalid="ignore"):  # of views that contradict each other; they are judged below
        bundle = cameras_from_people(cameras, pixels, weight, focal=fov is None)
    chains = [[_JOINTS.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle")] for side in ("left", "right")]
    leg = float(np.nanmean([length_along(bundle.points, chain) for chain in chains]))
    bundle = scaled(bundle, _LEG_SHARE * height / leg)
    found = _judged(bundle, takes)  # before anything is made of a body that there is not
    return replace(found, cameras=_upright(bundle).cameras)


def _common(takes: Sequence[Take], joints: Sequence[Sequence[int]]) -> tuple[Float[np.ndarray, "c f k 2"], Float[np.ndarray, "c f k"]]:
    """The person's joints in every film at the times of the fastest one; NaN and 0 where they aren't sure."""
    fastest = min(takes, key=lambda take: nominal_step(take.times) if len(take.times) > 1 else np.inf)
    times = fastest.times
    pixels = np.full((len(takes), len(times), len(_JOINTS), 2), np.nan)
    weight = np.zeros(pixels.shape[:-1])
    for c, (take, chosen) in enumerate(zip(takes, joints, strict=True)):
        if not len(take.tracks):
            raise VitruvianError(f"nobody is followed in film {c + 1}: film somebody who walks about in view of all cameras")
        people = at_times(take, times)
        longest = np.bincount(people.track[people.track >= 0]).argmax() if (people.track >= 0).any() else -2
        people = people[people.track == longest]
        sure = people.confidence[:, chosen] > _SURE
        pixels[c, people.frame] = np.where(sure[..., None], people.keypoints[:, chosen], np.nan)
        weight[c, people.frame] = np.where(sure, people.confidence[:, chosen], 0)
    return pixels, weight


def _nowhere(take: Take, fov: float, name: str) -> Camera:
    """A camera of the take's pictures that may stand anywhere."""
    sizes = np.unique(take.sizes[(take.sizes > 0).all(1)], axis=0)
    if len(sizes) != 1:
        raise VitruvianError(f"the pictures of {name} have {len(sizes)} sizes: give films of one size each")
    return Camera(pinhole(sizes[0], fov), size=tuple(sizes[0].tolist()), name=name)


def _upright(bundle: Bundle) -> Bundle:
    """The bundle in a world with y up and the floor at 0."""
    of = lambda joint: [_JOINTS.index(f"{side}_{joint}") for side in ("left", "right")]  # noqa: E731
    T = upright(bundle.points, above=of("shoulder"), below=of("ankle"))
    points = bundle.points @ T[:3, :3].T + T[:3, 3]
    return replace(bundle, cameras=tuple(moved(camera, T) for camera in bundle.cameras), points=points)


def _judged(bundle: Bundle, takes: Sequence[Take]) -> Calibrated:
    """What was found, if it can be trusted."""
    there = np.isfinite(bundle.error).reshape(len(takes), -1)
    seen = there.sum(1)
    error = np.array([np.median(e[np.isfinite(e)]) if np.isfinite(e).any() else np.inf for e in bundle.error])
    for c, camera in enumerate(bundle.cameras):
        if seen[c] < _FEWEST:
            raise VitruvianError(f"{camera.name} shares only {seen[c]} sure keypoints with the others, {_FEWEST} are needed: film longer")
        if error[c] > _WORST * max(camera.size):
            raise VitruvianError(
                f"{camera.name} is {error[c]:.0f} pixels off what the others see: give the field of view; or films don't run together"
            )
    _check_body(bundle.points)
    fov = [2 * np.degrees(np.arctan(max(camera.size) / (2 * camera.intrinsics[0, 0]))) for camera in bundle.cameras]
    return Calibrated(bundle.cameras, error, seen, np.array(fov))


def _check_body(points: Float[np.ndarray, "f k 3"]) -> None:
    """Raises VitruvianError for a body whose limbs change their lengths: cameras at wrong places can agree about such a one."""
    ends = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"))
    pairs = np.array([[_JOINTS.index(f"{side}_{joint}") for joint in pair] for pair in ends for side in ("left", "right")])
    lengths = np.linalg.norm(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], axis=-1)
    lengths = lengths[:, np.isfinite(lengths).sum(0) >= 3]
    usual = np.nanmedian(lengths, axis=0) if lengths.size else np.zeros(0)
    varies = float(np.median(np.nanmedian(np.abs(lengths - usual), axis=0) / usual)) if lengths.size else np.inf
    sides = [[length_along(points, pair) for pair in pairs[n : n + 2]] for n in range(0, len(pairs), 2)]
    uneven = [np.exp(abs(np.log(left / right))) for left, right in sides if left > 0 and right > 0]
    if varies > _STEADY or not uneven or np.median(uneven) > _EVEN:
        raise VitruvianError(
            "the cameras agree only about a body whose limbs change their lengths, so they don't stand where they were put: film longer, "
            "from nearer, with all of the body in all pictures, or give the field of view"
        )
