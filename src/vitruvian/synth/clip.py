"""Short synthetic films with known truth. Somebody walks past and waves: the package's sample and `vitruvian doctor`'s self-test.

python -m vitruvian.synth.clip src/vitruvian/assets
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..media import VideoWriter
from ..skeletons import COCO_WHOLEBODY_133
from ..take import People, Take
from .camera import WORLD_TO_CAMERA, View
from .fabric import smooth_noise
from .motion import move
from .outfit import Outfit, dress
from .paint import paint
from .person import label_image, pose_bodies
from .poses import rotation, walking_poses
from .wardrobe import Wardrobe

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
    _film(rng, w, actor, away, folder / "sample", 1)


def make_film(path: Path, kind: str, seconds: float = 4.0, seed: int = 0, blur: int = 4) -> None:
    """Write a film `path`.mp4 of somebody who does one of motion.MOVES, with its truth `path`.npz.

    Every frame is the mean of `blur` moments within half the frame's time, as a shutter sees them; 1: sharp. Labels are those of the
    first moment.
    """
    rng = np.random.default_rng(seed)
    w = Wardrobe()
    count = int(seconds * RATE)
    moments = (np.arange(count)[:, None] + 0.5 * np.arange(blur) / blur).ravel() / RATE
    speed = {"walk": 0.5, "run": 0.9}.get(kind, 0.0)
    along = speed * (moments - seconds / 2)
    actor = _actor(rng, w, move(rng, w.rig, kind, moments), seed)
    _film(rng, w, actor, np.stack([along, 0 * along, 0 * along], 1), path, blur)


def _actor(rng: np.random.Generator, w: Wardrobe, poses: np.ndarray, seed: int) -> Actor:
    shape = np.tile([0.8, 0.7, 0.55, 0.45, 0.5, 0.6], (len(poses), 1))
    faces = np.zeros((len(poses), len(w.model.facial_action_labels)))
    vertices, heads = pose_bodies(w, poses, shape, faces)
    return Actor(vertices, heads, dress(rng, w), seed)


def _film(rng: np.random.Generator, w: Wardrobe, actor: Actor, away: np.ndarray, path: Path, blur: int) -> None:
    x, y, _ = np.eye(3)
    turn = rotation(x, np.array([0.06]))[0] @ rotation(y, np.array([-0.7]))[0] @ WORLD_TO_CAMERA
    room, rows, frames = _room(rng), [], len(away) // blur
    film_path, truth_path = path.with_suffix(".mp4"), path.with_suffix(".npz")
    with VideoWriter(film_path, *SIZE, RATE) as film:
        for i in range(frames):
            picture = np.zeros(room.shape, np.float32)
            for j in range(i * blur, (i + 1) * blur):
                view = View(turn, actor.vertices[j][w.base_index].mean(0) * [1, 1, 0] - turn.T @ away[j], 4.2)
                sample = label_image(w, actor.vertices[j], actor.heads[j], actor.outfit, view, 760.0, np.array([320.0, 262.0]), SIZE)
                person = paint(np.random.default_rng(actor.seed), sample.planes, sample.relief)
                alpha = cv2.GaussianBlur(person[..., 3], (0, 0), 0.6)[..., None] / 255.0
                picture += (room * (1 - alpha) + person[..., :3] * alpha) / blur
                first = sample if j == i * blur else first
            film.write(np.clip(picture + rng.normal(0, 2.5, room.shape), 0, 255).astype(np.uint8), i / RATE)
            rows.append(
                People(
                    frame=[i], track=[1], boxes=first.boxes[:1], scores=[1.0],
                    keypoints=first.keypoints[None, :, :2], confidence=(first.keypoints[None, :, 2] > 0).astype(np.float32),
                )
            )  # fmt: skip
    Take(
        people=People.concatenate(rows), skeleton=COCO_WHOLEBODY_133, times=np.arange(frames) / RATE,
        sizes=np.tile(SIZE, (frames, 1)), names=(film_path.name,), source=film_path.name, cards=("synth-truth",),
    ).save(truth_path)  # fmt: skip


if __name__ == "__main__":
    make_clip(Path(sys.argv[1]))
