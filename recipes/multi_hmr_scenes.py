"""Crowds in true perspective for our own Multi-HMR (recipes/multi_hmr_small.py; card multi-hmr.md, sections 6 and 8).

A scene: people of the store, each turned about the camera's eye, which for a picture is a homography, so that the perspective stays exact,
and one who is farther away than 2.5 heights also moved along their line of sight, which is exact only for people who are small against
their distance. Lens distortion is left out (people seen through it aren't used). Everybody brings their own camera height, so that
people of one scene don't stand on one floor. Bodies are the compact one without expression.

A close-up (as CUFFS has them, for hands): one or two people larger than the picture, with their head and a wrist in it, through lenses up
to five sides long. A single: one person, seldom two, about as large as the picture: what a network of 2D poses was trained on, and where
headings are learnt first (recipes/bpjdet_small.md).
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vitruvian._files import written_whole
from vitruvian.body.compact import load_compact
from vitruvian.body.lbs import pose_model
from vitruvian.body.model import subset
from vitruvian.synth.backgrounds import load_photographs
from vitruvian.synth.camera import NEAREST
from vitruvian.synth.occluders import occlude
from vitruvian.synth.optics import degrade
from vitruvian.synth.paint import paint, sample_light
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import PAINTED, Store
from vitruvian.synth.store import SIZE as LABEL

SIDE = int(os.environ.get("SIDE", 256))
SHARD, HELD_OUT = 50, 2  # scenes of a file; files of held-out people and photographs


class Kind(NamedTuple):
    """Scenes of a kind: files of training, focal lengths and people's heights over the picture's side, height of heads in the picture
    (mean, spread), chances of 0, 1, 2 ... people, how often to try for each, whether a wrist must be seen."""

    shards: int
    focal: tuple[float, float]
    size: tuple[float, float]
    heads: tuple[float, float]
    shares: tuple[float, ...]
    tries: int
    wrist: bool


KINDS = {
    "crowd": Kind(400, (0.7, 1.9), (0.16, 99.0), (0.3, 0.18), (0.04, 0.36, 0.28, 0.18, 0.09, 0.05), 4, False),
    "close": Kind(100, (0.9, 5.0), (1.25, 3.25), (0.3, 0.18), (0.0, 0.8, 0.2), 30, True),
    "single": Kind(200, (0.9, 4.0), (0.55, 1.1), (0.2, 0.08), (0.0, 0.9, 0.1), 30, True),
}
HEAD, *WRISTS = (load_compact().joint_names.index(name) for name in ("head", "left_wrist", "right_wrist"))


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns direction `a` to `b`."""
    return cv2.Rodrigues(_axis_angle(a / np.linalg.norm(a), b / np.linalg.norm(b)))[0]


def _axis_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    return axis / max(sine, 1e-12) * np.arctan2(sine, a @ b)


def place_person(
    rng: np.random.Generator, truth: dict[str, np.ndarray], joints: np.ndarray, camera: np.ndarray, kind: Kind
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Where a person of the store may stand in a scene: (homography, rotation, pelvis), None where they don't fit.

    truth: one person's labels. joints: their head and wrists in their own camera. camera: the scene's matrix.
    """
    head = joints[0]
    scale, x, y, _ = truth["camera"]
    own = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])
    pelvis, height = truth["translation"].astype(np.float64), max(float(np.ptp(truth["points"][:, 1])), 0.8)
    for _ in range(6):
        target = np.array([rng.uniform(0.06, 0.94), np.clip(rng.normal(*kind.heads), 0.04, 0.9)]) * SIDE
        turn = turn_between(head.astype(np.float64), np.linalg.solve(camera, [*target, 1.0]))
        turned = turn @ pelvis
        if turned[2] < 0.3:
            continue
        away, share = turned[2] / height, 1.0
        if away > 2.5:
            low, high = max(2.5, away / 3), np.clip(1.6 * away, 3.0, 8.0)
            share = np.exp(rng.uniform(np.log(min(low, high)), np.log(high))) / away
        map_ = camera @ turn @ np.linalg.inv(own)
        middle = (camera @ turned)[:2] / turned[2]
        shrink = np.array([[1 / share, 0, middle[0] * (1 - 1 / share)], [0, 1 / share, middle[1] * (1 - 1 / share)], [0, 0, 1.0]])
        place = share * turned
        fits = kind.size[0] <= camera[1, 1] * height / place[2] / SIDE <= kind.size[1]
        fits = fits and (not kind.wrist or _wrist_seen(joints, turn, pelvis, place, camera))
        if fits and _cut_outside(truth["box"], shrink @ map_):
            return shrink @ map_, turn, place
    return None


def _wrist_seen(joints: np.ndarray, turn: np.ndarray, pelvis: np.ndarray, place: np.ndarray, camera: np.ndarray) -> bool:
    """Whether a wrist falls well inside the scene."""
    moved = place + (joints[1:] - pelvis) @ turn.T
    points = (moved @ camera.T)[:, :2] / np.maximum(moved[:, 2:], 1e-6)
    return bool(((points > 0.05 * SIDE) & (points < 0.95 * SIDE)).all(1).any())


def _cut_outside(box: np.ndarray, map_: np.ndarray) -> bool:
    """Whether the sides on which the label image cuts the person off lie outside the scene."""
    width, height = LABEL
    corners = cv2.perspectiveTransform(np.array([[[0, 0], [width, 0], [width, height], [0, height]]], float), map_)[0]
    left, top, right, bottom = box[0] <= 1, box[1] <= 1, box[2] >= width - 1, box[3] >= height - 1
    return not (
        left
        and corners[[0, 3], 0].max() > 0
        or top
        and corners[[0, 1], 1].max() > 0
        or right
        and corners[[1, 2], 0].min() < SIDE - 1
        or bottom
        and corners[[2, 3], 1].min() < SIDE - 1
    )


def lay(canvas: np.ndarray, person: np.ndarray, map_: np.ndarray, soft: float) -> np.ndarray:
    """Draw an RGBA person through a homography, in place; returns where they cover the canvas by more than half."""
    middle = np.array([[LABEL[0] / 2, LABEL[1] / 2], [LABEL[0] / 2 + 1, LABEL[1] / 2]])
    moved = cv2.perspectiveTransform(middle[None], map_)[0]
    shrink = float(np.linalg.norm(moved[1] - moved[0]))
    if shrink < 0.6:  # a warp samples single pixels: shrink by areas first
        person = cv2.resize(person, None, fx=1.5 * shrink, fy=1.5 * shrink, interpolation=cv2.INTER_AREA)
        sx, sy = LABEL[0] / person.shape[1], LABEL[1] / person.shape[0]
        map_ = map_ @ np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1.0]])
    warped = cv2.warpPerspective(person, map_, (canvas.shape[1], canvas.shape[0]), flags=cv2.INTER_LINEAR)
    if soft > 0.2:
        warped = cv2.GaussianBlur(warped, (0, 0), soft)
    keep = cv2.merge([255 - warped[..., 3]] * 3)
    canvas[:] = cv2.add(warped[..., :3], cv2.multiply(canvas, keep, scale=1 / 255))  # colours are already weighted by coverage
    return warped[..., 3] > 127


def draw_scene(rng: np.random.Generator, studio: Studio, joints: np.ndarray, kind: Kind) -> tuple[np.ndarray, float, list[dict]]:
    """A picture (SIDE, SIDE, 3), its focal length in pixels, and its people: row of the store, root rotation, pelvis, share seen."""
    focal = float(np.exp(rng.uniform(*np.log(kind.focal)))) * SIDE
    camera = np.array([[focal, 0, (SIDE - 1) / 2], [0, focal, (SIDE - 1) / 2], [0, 0, 1]])
    canvas, light = studio.backdrop(rng, (SIDE, SIDE)).copy(), sample_light(rng, studio.store.look)
    wanted, found = int(rng.choice(len(kind.shares), p=kind.shares)), []
    for _ in range(kind.tries * wanted):
        if len(found) == wanted:
            break
        row = int(studio.members[rng.integers(len(studio.members))])
        truth = {name: values[row] for name, values in studio.store.truth.items()} | {"box": studio.store.boxes[row][0]}
        if abs(truth["camera"][3]) > 1e-9 or np.isnan(truth["box"]).any() or truth["points"][:, 2].min() < NEAREST:
            continue
        placed = place_person(rng, truth, joints[row], camera, kind)
        if placed is not None:
            found.append({"row": row, "map": placed[0], "turn": placed[1], "place": placed[2]})
    found.sort(key=lambda person: -person["place"][2])
    owner, areas = np.zeros((SIDE, SIDE), np.int32), []
    for number, person in enumerate(found, 1):
        row = person["row"]
        figure = paint(rng, studio.store.image(row, PAINTED), float(studio.store.relief[row]), light, studio.store.look)
        covered = lay(canvas, figure, person["map"], float(rng.choice([0, rng.uniform(0.3, 0.8)])))
        owner[covered] = number
        areas.append(max(1, int(covered.sum())))
    if rng.random() < 0.25:
        for _ in range(rng.integers(1, 3)):
            owner[occlude(rng, canvas, studio.backdrop(rng, (SIDE, SIDE)), None) > 127] = 0
    for number, person in enumerate(found, 1):
        person["seen"] = float((owner == number).sum() / areas[number - 1]) if areas[number - 1] > 60 else 0.0
    return degrade(rng, canvas), focal, found


def store_joints(store: Store) -> np.ndarray:
    """The head and the wrists of everybody in a store, in their own camera: (n, 3, 3)."""
    thin, truth = subset(load_compact(), np.array([0])), store.truth
    blocks = [slice(i, i + 1000) for i in range(0, len(store), 1000)]
    return np.concatenate(
        [pose_model(thin, truth["pose"][b], truth["shape"][b], None, truth["translation"][b]).joints[:, [HEAD, *WRISTS]] for b in blocks]
    )


def draw_scenes(people: Path, photographs: list[str], data: Path, seconds: float) -> None:
    """Draw the shards that `data` lacks, held-out ones first, then those of all kinds by turns, for so many seconds."""
    from scipy.spatial.transform import Rotation

    data.mkdir(parents=True, exist_ok=True)
    start, store = time.monotonic(), Store.open(people, truth=True)
    joints, pictures, studios = store_joints(store), load_photographs(photographs), {}
    names = [(kind, "held", i) for kind in KINDS for i in range(HELD_OUT)]
    names += [(kind, "train", i) for i in range(max(kind.shards for kind in KINDS.values())) for kind in KINDS if i < KINDS[kind].shards]
    for kind, part, index in names:
        path = data / f"{kind}-{part}-{index:03d}.npz"
        if path.exists() or time.monotonic() - start > seconds:
            continue
        rng = np.random.default_rng((7, list(KINDS).index(kind), part == "held", index))
        if part not in studios:
            chosen = [p for i, p in enumerate(pictures) if (i % 10 == 0) == (part == "held")]
            studios[part] = Studio.open(store, chosen, np.random.default_rng((8, part == "held")), 300, part == "held")
        images, focals, columns = [], [], {name: [] for name in ("scene", "pose", "shape", "translation", "head", "seen")}
        for scene in range(SHARD):
            image, focal, found = draw_scene(rng, studios[part], joints, KINDS[kind])
            images.append(image)
            focals.append(focal)
            for person in found:
                row, turn = person["row"], Rotation.from_matrix(person["turn"])
                pose = store.truth["pose"][row].copy()
                pose[0] = (turn * Rotation.from_rotvec(pose[0])).as_rotvec()
                offset = person["turn"] @ (joints[row, 0] - store.truth["translation"][row])
                values = (scene, pose, store.truth["shape"][row], person["place"], person["place"] + offset, person["seen"])
                for name, value in zip(columns, values, strict=True):
                    columns[name].append(value)
        arrays = {name: np.asarray(values, np.int64 if name == "scene" else np.float32) for name, values in columns.items()}
        with written_whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, images=np.stack(images), focals=np.array(focals, np.float32), **arrays)
        logging.info("%s after %.0f s: %d people", path.name, time.monotonic() - start, len(arrays["scene"]))
