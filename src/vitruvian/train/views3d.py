"""Moments before several calibrated cameras, for learning without labels: made-up people, or CMU Panoptic.

A moment has each camera's 2D poses, in no order that tells who is who ("pseudo poses": a detector's, or projections with noise and gaps),
and pictures where a network wants some. True joints are for judging alone. Metres, z up, as SelfPose3d has it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from vitruvian.data.films3d import Film3D
from vitruvian.data.joint_sets import brought
from vitruvian.data.panoptic import panoptic
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import Camera, looking_at, moved, project, up_axis, y_up
from vitruvian.media.pictures import read_image
from vitruvian.skeletons import PANOPTIC_15
from vitruvian.systems.pose3d.voxels import Views, views_of, whole_picture
from vitruvian.take import Take

log = logging.getLogger(__name__)

SIZE = (960, 544)
"""Of made-up pictures before they become the network's input, pixels."""
NOISE, MISSING = 3.0, 0.05
"""Of pseudo poses that are made of true ones: pixels of the cameras' pictures; share of joints."""
_SURE = 0.3  # confidence that a detector's keypoint needs
_HELD_OUT = 10  # the last one of so many parts of a film is not learnt from
_COLOURS = {"left": (230, 60, 50), "right": (50, 80, 230), "": (230, 200, 60)}


class Moment(NamedTuple):
    """One moment. keypoints: pixels of the network's input, NaN where missing. points: of p people, in another order, NaN unknown."""

    views: Views
    keypoints: Float[np.ndarray, "v q 15 2"]
    points: Float[np.ndarray, "p 15 3"]
    pictures: UInt8[np.ndarray, "v h w 3"] | None


class Moments(NamedTuple):
    """b moments of as many cameras. `visible` says which keypoints there are; `views` are a tuple here, which devices are told by."""

    pictures: UInt8[Tensor, "b v 3 h w"] | None
    keypoints: Float[Tensor, "b v q 15 2"]
    visible: Float[Tensor, "b v q 15"]
    views: tuple[Tensor, ...]
    points: list[Float[np.ndarray, "p 15 3"]]


Draw = Callable[[np.random.Generator], Moment]
"""A random moment."""


@dataclass(frozen=True, eq=False)
class Source:
    """Moments to learn from, and to judge on."""

    learn: Draw
    measure: Draw


def made_up(input_size: tuple[int, int], pictures: bool, cameras: int = 4) -> Source:
    """One to three stick people in a box of 4 x 4 x 2 m (z from 0) amid cameras, which stand elsewhere each time."""

    def draw(rng: np.random.Generator) -> Moment:
        rig = ring(rng, cameras)
        points, there = draw_people(rng, 1)
        people = points[0][there[0]]
        clean = np.stack([project(camera, people) for camera in rig])
        images = np.stack([stick_picture(rng, seen, SIZE) for seen in clean]) if pictures else None
        return _moment(rig, spoiled(rng, clean), people, input_size, images)

    return Source(draw, draw)


def ring(rng: np.random.Generator, count: int) -> list[Camera]:
    """Cameras around the box, evenly but for some degrees, which look at its middle."""
    first, out = rng.uniform(0, 2 * np.pi), []
    for n in range(count):
        angle, far = first + 2 * np.pi * n / count + rng.normal(0, 0.15), rng.uniform(4.4, 5.2)
        place = (far * np.cos(angle), far * np.sin(angle), rng.uniform(1.5, 2.6))
        out.append(looking_at(place, (0, 0, 1), rng.uniform(600, 700), SIZE, up=(0, 0, 1), name=f"cam{n + 1}"))
    return out


def draw_people(rng: np.random.Generator, b: int, most: int = 3) -> tuple[Float[np.ndarray, "b most 15 3"], Bool[np.ndarray, "b most"]]:
    """Joints in Panoptic's order, and who is there. People keep 0.8 m apart where they can."""
    there = np.arange(most) < rng.integers(1, most + 1, (b, 1))
    places = np.zeros((b, most, 2))
    for i, j in product(range(b), range(most)):
        for _ in range(50):
            places[i, j] = rng.uniform((-0.75, -1.25), (1.0, 1.25))  # where made-up roots are drawn in such a box
            if (np.linalg.norm(places[i, :j] - places[i, j], axis=-1) > 0.8).all():
                break
    n = b * most
    size, heading = rng.uniform(0.9, 1.1, (n, 1)), rng.uniform(-np.pi, np.pi, n)
    left = np.stack([np.cos(heading), np.sin(heading), np.zeros(n)], 1)
    front = np.stack([-left[:, 1], left[:, 0], np.zeros(n)], 1)
    points = np.zeros((n, 15, 3))
    points[:, 2, :2], points[:, 2, 2] = places.reshape(n, 2), 0.92 * size[:, 0]
    up = np.array([0, 0, 1.0]) + 0.15 * rng.normal(size=(n, 3))
    points[:, 0] = points[:, 2] + 0.52 * size * up
    points[:, 1] = points[:, 0] + size * (0.14 * up + 0.1 * front)
    for sign, shoulder, hip in ((1, 3, 6), (-1, 9, 12)):
        points[:, shoulder], points[:, hip] = points[:, 0] + 0.18 * sign * size * left, points[:, 2] + 0.11 * sign * size * left
        for start, lengths, spread in ((shoulder, (0.29, 0.25), 0.6), (hip, (0.42, 0.42), 0.25)):
            for step, bone in enumerate(_limb(rng, n, sign * left, lengths, spread), 1):
                points[:, start + step] = points[:, start] + size * bone
    return points.reshape(b, most, 15, 3), there


def _limb(
    rng: np.random.Generator, n: int, out: Float[np.ndarray, "n 3"], lengths: tuple[float, float], spread: float
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Two bones that hang down and swing about: offsets of the middle and the end. `out` is the sideways axis."""
    bones = []
    direction = np.array([0, 0, -1.0]) + 0.2 * out
    for length in lengths:
        direction = direction + spread * rng.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        bones.append(length * direction)
    return bones[0], bones[0] + bones[1]


def stick_picture(rng: np.random.Generator, people: Float[np.ndarray, "p 15 2"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """People as lines, their left side in another colour than their right, before a noisy ground. People without a place are left out."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[:] = rng.integers(30, 200, 3)
    for joints in people[np.isfinite(people).all((1, 2))]:
        places = np.clip(joints, -1e4, 1e4).round().astype(int).tolist()
        for start, end in PANOPTIC_15.links:
            side = next((side for side in ("left", "right") if PANOPTIC_15.names[end].startswith(side)), "")
            cv2.line(image, places[start], places[end], _COLOURS[side], 7, cv2.LINE_AA)
        cv2.circle(image, places[PANOPTIC_15.index("nose")], 9, (240, 190, 160), -1, cv2.LINE_AA)
    noise = rng.normal(0, 8, (height // 4 + 1, width // 4 + 1, 1)).repeat(4, 0).repeat(4, 1)[:height, :width]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def spoiled(rng: np.random.Generator, seen: Float[np.ndarray, "v p k 2"]) -> Float[np.ndarray, "v p k 2"]:
    """True projections as a detector might find them: with `NOISE`, some `MISSING`."""
    out = seen + NOISE * rng.normal(size=seen.shape)
    return np.where((rng.random(seen.shape[:-1]) < MISSING)[..., None], np.nan, out)


def from_panoptic(folder: str | Path, input_size: tuple[int, int], pictures: bool, takes: str | Path = "") -> Source:
    """Moments of CMU Panoptic's training sequences in `folder`; the last tenth of each is for judging.

    takes: a folder with SEQUENCE/CAMERA/take.npz, as `vitruvian capture DIR/SEQUENCE/hdImgs/* --calibration ... -o takes/SEQUENCE` leaves
    it: its keypoints are the pseudo poses. Without it they are projections of the set's own joints, which is no learning without labels.
    Raises FormatError where files are missing or damaged, VitruvianError where takes don't fit them.
    """
    if not takes:
        log.warning("no takes are given: poses of Panoptic's own joints are learnt from, which is no learning without labels")
    films = [_Filmed.of(film, Path(takes) if takes else None, input_size) for film in panoptic(folder, "train")]
    if len({len(film.cameras) for film in films}) > 1 or not any(film.people for film in films):
        raise VitruvianError(f"nobody is in {folder}, or its sequences differ in their cameras: get the set again")

    def draw(rng: np.random.Generator, held: bool) -> Moment:
        film = films[rng.integers(len(films))]
        count = len(film.people)
        kept = count - count // _HELD_OUT
        return film.moment(rng, int(rng.integers(kept, count) if held and kept < count else rng.integers(kept)), pictures)

    return Source(partial(draw, held=False), partial(draw, held=True))


@dataclass(frozen=True, eq=False)
class _Filmed:
    """A sequence: cameras in a world with z up, its frames' people there, and (by camera and frame) a detector's keypoints, if any."""

    film: Film3D
    cameras: tuple[Camera, ...]
    people: list[Float[np.ndarray, "p 15 3"]]
    detected: list[dict[int, Float[np.ndarray, "q 15 2"]]] | None
    input_size: tuple[int, int]

    @classmethod
    def of(cls, film: Film3D, takes: Path | None, input_size: tuple[int, int]) -> _Filmed:
        turn = np.linalg.inv(y_up("z")) @ y_up(up_axis(film.cameras))
        detected = None
        if takes is not None:
            detected = [_detected(takes / film.name / camera.name / "take.npz") for camera in film.cameras]
            if not any(int(frame) in found for found in detected for frame in film.frames):
                raise VitruvianError(f"the takes in {takes / film.name} have none of its frames: capture the set's own pictures")
        people = [frame[np.isfinite(frame).all(-1).any(-1)] @ turn[:3, :3].T for frame in film.points]
        return cls(film, tuple(moved(camera, turn) for camera in film.cameras), people, detected, input_size)

    def moment(self, rng: np.random.Generator, index: int, pictures: bool) -> Moment:
        """A frame."""
        people, number = self.people[index], int(self.film.frames[index])
        if self.detected is None:
            keypoints = spoiled(rng, np.stack([project(camera, people) for camera in self.cameras]))
        else:
            found = [by_frame.get(number, np.zeros((0, 15, 2))) for by_frame in self.detected]
            keypoints = np.full((len(found), max(map(len, found)), 15, 2), np.nan)
            for row, one in zip(keypoints, found, strict=True):
                row[: len(one)] = one
        files = [self.film.pictures[camera.name] / f"{camera.name}_{number:08d}.jpg" for camera in self.cameras]
        images = [read_image(file) for file in files] if pictures else None
        return _moment(self.cameras, keypoints, people, self.input_size, images)


def _detected(file: Path) -> dict[int, Float[np.ndarray, "q 15 2"]]:
    """What a take found in each frame, by the number in its picture's name. Raises FormatError, VitruvianError."""
    take = Take.load(file)
    numbers = [re.findall(r"\d+", Path(name).stem)[-1:] for name in take.names]
    if len(numbers) != len(take.times) or not all(numbers):
        raise VitruvianError(f"{file} doesn't tell its frames by their names: capture the set's pictures, not a film of them")
    keypoints = np.where((take.people.confidence > _SURE)[..., None], take.people.keypoints, np.nan).astype(np.float64)
    keypoints = brought(keypoints, take.skeleton, PANOPTIC_15)
    return {int(number): keypoints[take.people.frame == frame] for frame, (number,) in enumerate(numbers)}


def _moment(
    rig: Sequence[Camera], keypoints: np.ndarray, people: np.ndarray, input_size: tuple[int, int], images: Sequence[np.ndarray] | None
) -> Moment:
    """Pixels of the cameras become those of the network's inputs, which hold whole pictures."""
    changes = [whole_picture(camera.size, input_size) for camera in rig]
    places = np.stack([seen @ change[:, :2].T + change[:, 2] for seen, change in zip(keypoints, changes, strict=True)])
    pictures = None
    if images is not None:
        pictures = np.stack([cv2.warpAffine(image, change, input_size) for image, change in zip(images, changes, strict=True)])
    return Moment(views_of(rig, input_size), places, people, pictures)


def batches(draw: Draw, size: int, seed: int) -> Iterator[Moments]:
    """Endless batches of moments."""
    rng = np.random.default_rng(seed)
    while True:
        yield together([draw(rng) for _ in range(size)])


def together(moments: Sequence[Moment]) -> Moments:
    """Several moments of as many cameras as one batch."""
    most = max(moment.keypoints.shape[1] for moment in moments)
    keypoints = np.full((len(moments), moments[0].keypoints.shape[0], most, 15, 2), np.nan, np.float32)
    for row, moment in zip(keypoints, moments, strict=True):
        row[:, : moment.keypoints.shape[1]] = moment.keypoints
    visible = np.isfinite(keypoints).all(-1)
    pictures = None
    if moments[0].pictures is not None:
        pictures = torch.from_numpy(np.stack([moment.pictures for moment in moments])).permute(0, 1, 4, 2, 3)
    views = tuple(torch.cat(parts) for parts in zip(*(moment.views for moment in moments), strict=True))
    known = torch.from_numpy(np.where(visible[..., None], keypoints, 0))
    return Moments(pictures, known, torch.from_numpy(visible).float(), views, [moment.points for moment in moments])
