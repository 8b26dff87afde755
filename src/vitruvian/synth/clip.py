"""A short synthetic film with known truth: somebody walks past and waves. The package's sample and `vitruvian doctor`'s self-test.

python -m vitruvian.synth.clip src/vitruvian/assets
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vitruvian.media import VideoWriter
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.camera import WORLD_TO_CAMERA, View
from vitruvian.synth.fabric import smooth_noise
from vitruvian.synth.outfit import Outfit, dress
from vitruvian.synth.paint import paint
from vitruvian.synth.person import label_image, pose_bodies
from vitruvian.synth.poses import rotation, walking_poses
from vitruvian.synth.wardrobe import Wardrobe
from vitruvian.take import People, Take

SIZE, FRAMES, RATE = (640, 480), 75, 25.0


def _room(rng: np.random.Generator) -> np.ndarray:
    """A wall, a floor, a window and a door, RGB."""
    width, height = SIZE
    room = np.empty((height, width, 3), np.float32)
    room[:350], room[350:] = (196, 190, 178), (122, 98, 78)
    cv2.rectangle(room, (60, 60), (210, 190), (170, 205, 232), -1)
    cv2.rectangle(room, (60, 60), (210, 190), (238, 238, 232), 6)
    cv2.rectangle(room, (470, 90), (575, 350), (142, 112, 84), -1)
    cv2.circle(room, (560, 225), 5, (210, 200, 150), -1)
    room += smooth_noise(rng, SIZE, (9, 7))[..., None] * 9 + smooth_noise(rng, SIZE, (320, 240))[..., None] * 5
    return np.clip(room, 0, 255)


@dataclass(frozen=True)
class Actor:
    """One dressed person and their frames: vertices (n, V, 3) and bone heads (n, K, 3), world, metres."""

    vertices: np.ndarray
    heads: np.ndarray
    outfit: Outfit
    seed: int


def make_clip(folder: Path, seed: int = 2) -> None:
    """Write `sample.mp4` and its truth `sample.npz` (a Take; confidence 1 inside the picture, 0 outside) into `folder`."""
    rng = np.random.default_rng(seed)
    w = Wardrobe()
    steps = np.arange(FRAMES) / FRAMES
    wave = np.clip(np.minimum((steps - 0.25) * 8, (0.85 - steps) * 8), 0, 1)
    actor = _actor(rng, w, walking_poses(w.rig, steps * 3.2, wave), seed)
    away = np.stack([-0.95 + 1.9 * steps, 0 * steps, 0 * steps], 1)  # the person's way across the picture, in the camera's axes
    _film(rng, w, actor, away, folder / "sample")


def _actor(rng: np.random.Generator, w: Wardrobe, poses: np.ndarray, seed: int) -> Actor:
    shape = np.tile([0.8, 0.7, 0.55, 0.45, 0.5, 0.6], (len(poses), 1))
    faces = np.zeros((len(poses), len(w.model.facial_action_labels)))
    vertices, heads = pose_bodies(w, poses, shape, faces)
    return Actor(vertices, heads, dress(rng, w), seed)


def _film(rng: np.random.Generator, w: Wardrobe, actor: Actor, away: np.ndarray, path: Path) -> None:
    x, y, _ = np.eye(3)
    turn = rotation(x, np.array([0.06]))[0] @ rotation(y, np.array([-0.7]))[0] @ WORLD_TO_CAMERA
    room, rows, frames = _room(rng), [], len(away)
    film_path, truth_path = path.with_suffix(".mp4"), path.with_suffix(".npz")
    with VideoWriter(film_path, *SIZE, RATE) as film:
        for i in range(frames):
            view = View(turn, actor.vertices[i][w.base_index].mean(0) * [1, 1, 0] - turn.T @ away[i], 4.2)
            sample = label_image(w, actor.vertices[i], actor.heads[i], actor.outfit, view, 760.0, np.array([320.0, 262.0]), SIZE)
            person = paint(np.random.default_rng(actor.seed), sample.planes, sample.relief)
            alpha = cv2.GaussianBlur(person[..., 3], (0, 0), 0.6)[..., None] / 255.0
            picture = room * (1 - alpha) + person[..., :3] * alpha
            film.write(np.clip(picture + rng.normal(0, 2.5, room.shape), 0, 255).astype(np.uint8), i / RATE)
            rows.append(
                People(
                    frame=[i], track=[1], boxes=sample.boxes[:1], scores=[1.0],
                    keypoints=sample.keypoints[None, :, :2], confidence=(sample.keypoints[None, :, 2] > 0).astype(np.float32),
                )
            )  # fmt: skip
    Take(
        people=People.concatenate(rows), skeleton=COCO_WHOLEBODY_133, times=np.arange(frames) / RATE,
        sizes=np.tile(SIZE, (frames, 1)), names=(film_path.name,), source=film_path.name, cards=("synth-truth",),
    ).save(truth_path)  # fmt: skip


if __name__ == "__main__":
    make_clip(Path(sys.argv[1]))
