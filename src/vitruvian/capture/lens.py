"""The field of view of a film: from its camera's calibration, or, where nobody told it, from the people in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, normalise, pinhole
from vitruvian.geometry.focal import USUAL_FOV, SeenLens, focal_from_people
from vitruvian.take import FovSource, People, Take

log = logging.getLogger(__name__)

_BENT = 0.01  # of a picture's longer side
_SURE = 0.3  # confidence of a keypoint
_STEPS = 1.0  # seconds that places are averaged over: two steps of a walk, in which swaying cancels
_APART = 0.5  # of the height from ankles to shoulders: who stays closer than this is in one place
_STILL = 0.15  # of that height, in half of _STEPS: who goes less far stands
_STRAIGHT = 0.9  # how much shorter than trunk, thigh and shank together a standing body may be
_TRUNK = (0.25, 0.5)  # share of the trunk in a standing body: who sits towards the camera has more
_UPRIGHT = np.cos(np.radians(35))  # how far from the picture's upright people lean
_JOINTS = [[f"{side}_{joint}" for side in ("left", "right")] for joint in ("shoulder", "hip", "knee", "ankle")]


@dataclass
class View:
    """How wide the camera sees, degrees: what is known before anybody is seen, and after `ask` what the people tell."""

    fov: float
    source: FovSource
    spread: float = 0.0

    def ask(self, take: Take) -> None:
        """Take the people's word where nothing but the usual is known, and they tell much more."""
        lens = seen_lens(take) if self.source == "assumed" else None
        if lens is not None and lens.is_told:
            self.fov, self.source, self.spread = round(lens.fov, 1), "estimated", round(lens.spread, 1)


def calibrated_view(camera: Camera, title: str) -> float:
    """Degrees that a calibrated camera sees across its pictures' longer side, as bodies of one camera take it: straight, about the middle.

    Warns where the lens bends the picture, or looks beside its middle, by more than a hundredth of that side. title: the film's name.
    Raises VitruvianError for a camera without a size.
    """
    if min(camera.size) < 1:
        raise VitruvianError(f"{title}: nothing says how large the pictures are: write it into the calibration")
    size = np.array(camera.size)
    fov = float(np.degrees(2 * np.arctan(size.max() / 2 / camera.intrinsics[size.argmax(), size.argmax()])))
    edge = np.stack(np.meshgrid(*(np.linspace(0, side - 1, 9) for side in size)), -1).reshape(-1, 2)
    rays = normalise(camera, edge)
    off = np.linalg.norm(rays @ (plain := pinhole(size, fov))[:2, :2].T + plain[:2, 2] - edge, axis=1)
    if not off.max() <= _BENT * size.max():
        log.warning(
            "%s: its lens is off a plain one of %.1f degrees by %.0f pixels where it is most: bodies of one camera leave that out, so "
            "straighten the film first where it matters", title, fov, np.nan_to_num(off, nan=np.inf).max(),
        )  # fmt: skip
    return fov


def seen_lens(take: Take) -> SeenLens | None:
    """How wide the camera of a film saw, by tracked people who stand or walk upright (`geometry.focal`); None where hardly anybody does.

    None as well for keypoints without shoulders, hips, knees and ankles, and where the picture's size changes.
    """
    sizes = np.unique(take.sizes, axis=0)
    if len(sizes) != 1 or sizes.min() <= 0 or not {name for pair in _JOINTS for name in pair} <= set(take.skeleton.names):
        return None
    size, found = sizes[0], []
    pairs = [[take.skeleton.index(name) for name in pair] for pair in _JOINTS]
    for track in take.tracks:
        people = take.people.of(int(track))
        people = people[np.argsort(people.frame, kind="stable")]
        middles, standing = _middles(people, pairs)
        places = _places(middles[standing, 3], middles[standing, 0], take.times[people.frame[standing]], size)
        found += [(*place, int(track)) for place in places]
    feet, tops, going, person = (np.array([place[k] for place in found]) for k in range(4))
    return focal_from_people(feet.reshape(-1, 2), tops.reshape(-1, 2), person, going, tuple(size.tolist()))


def _middles(people: People, pairs: list[list[int]]) -> tuple[Float[np.ndarray, "n 4 2"], Bool[np.ndarray, " n"]]:
    """The middles between left and right of _JOINTS, and who is seen upright and straight, as far as the picture tells."""
    seen = ((people.confidence[:, pairs] > _SURE) & np.isfinite(people.keypoints[:, pairs]).all(-1)).all((1, 2))
    middles = people.keypoints[:, pairs].astype(np.float64).mean(2)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.linalg.norm(np.diff(middles, axis=1), axis=-1)
        whole = middles[:, 3] - middles[:, 0]
        tall = np.linalg.norm(whole, axis=-1)
        trunk = parts[:, 0] / tall
        straight = (tall > _STRAIGHT * parts.sum(1)) & (trunk > _TRUNK[0]) & (trunk < _TRUNK[1])
        return middles, seen & straight & (whole[:, 1] > _UPRIGHT * tall)


def _places(
    feet: Float[np.ndarray, "n 2"], tops: Float[np.ndarray, "n 2"], times: Float[np.ndarray, " n"], size: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Feet, tops and way (`focal_from_people`'s going) of each place where one person passed, or stayed, however long."""
    tall = np.linalg.norm(tops - feet, axis=1)
    focal = max(size) / (2 * np.tan(np.radians(USUAL_FOV) / 2))
    floor = np.column_stack([feet[:, 0] - (size[0] - 1) / 2, np.full(len(feet), focal)]) / tall[:, None]  # about, in bodies
    places: list[list[tuple]] = []
    for rows in np.split(np.arange(len(times)), np.flatnonzero(np.diff(np.floor(times / _STEPS))) + 1):
        if len(rows) < 2 or np.ptp(times[rows]) < _STEPS / 2:
            continue
        here, half = floor[rows].mean(0), len(rows) // 2
        way = floor[rows[half:]].mean(0) - floor[rows[:half]].mean(0)
        place = feet[rows].mean(0), tops[rows].mean(0), way[0] / max(np.linalg.norm(way), _STILL), here
        if places and np.linalg.norm(here - places[-1][0][3]) < _APART:
            places[-1].append(place)
        else:
            places.append([place])
    return [tuple(np.mean([second[k] for second in stay], axis=0) for k in range(3)) for stay in places]
