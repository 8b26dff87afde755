"""A short synthetic film with known truth: somebody walks past and waves. The package's sample and `vitruvian doctor`'s self-test.

python -m vitruvian.synth.clip src/vitruvian/assets
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from ..media import VideoWriter
from ..skeletons import COCO_WHOLEBODY_133
from ..take import People, Take
from .paint import paint, smooth_noise
from .person import View, Wardrobe, dress, label_image, pose_bodies
from .poses import rotation, walking_poses

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


def make_clip(folder: Path, seed: int = 2) -> None:
    """Write `sample.mp4` and its truth `sample.npz` (a Take; confidence 1 inside the picture, 0 outside) into `folder`."""
    rng = np.random.default_rng(seed)
    w = Wardrobe()
    steps = np.arange(FRAMES) / FRAMES
    wave = np.clip(np.minimum((steps - 0.25) * 8, (0.85 - steps) * 8), 0, 1)
    shape = np.tile([0.8, 0.7, 0.55, 0.45, 0.5, 0.6], (FRAMES, 1))
    faces = np.zeros((FRAMES, len(w.model.facial_action_labels)))
    vertices, bones = pose_bodies(w, walking_poses(w.rig, steps * 3.2, wave), shape, faces)
    outfit = dress(rng, w)
    x, y, _ = np.eye(3)
    turn = rotation(x, np.array([0.06]))[0] @ rotation(y, np.array([-0.7]))[0] @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    room, rows = _room(rng), []
    with VideoWriter(folder / "sample.mp4", *SIZE, RATE) as film:
        for i in range(FRAMES):
            away = turn.T @ np.array([-0.95 + 1.9 * steps[i], 0, 0])  # the person's way across the picture, in the world
            view = View(turn, vertices[i][w.base_index].mean(0) * [1, 1, 0] - away, 4.2)
            sample = label_image(w, vertices[i], bones[i], outfit, view, 760.0, np.array([320.0, 262.0]), SIZE)
            labels = np.concatenate([sample.classes[None], sample.normals.transpose(2, 0, 1), sample.places.transpose(2, 0, 1)])
            person = paint(np.random.default_rng(seed), labels)
            alpha = cv2.GaussianBlur(person[..., 3], (0, 0), 0.6)[..., None] / 255.0
            frame = room * (1 - alpha) + person[..., :3] * alpha + rng.normal(0, 2.5, room.shape)
            film.write(np.clip(frame, 0, 255).astype(np.uint8), i / RATE)
            rows.append(
                People(
                    frame=[i], track=[1], boxes=sample.boxes[:1], scores=[1.0],
                    keypoints=sample.keypoints[None, :, :2], confidence=(sample.keypoints[None, :, 2] > 0).astype(np.float32),
                )
            )  # fmt: skip
    Take(
        people=People.concatenate(rows), skeleton=COCO_WHOLEBODY_133, times=np.arange(FRAMES) / RATE,
        sizes=np.tile(SIZE, (FRAMES, 1)), names=("sample.mp4",), source="sample.mp4", cards=("synth-truth",),
    ).save(folder / "sample.npz")  # fmt: skip


if __name__ == "__main__":
    make_clip(Path(sys.argv[1]))
