"""How far off are points in space from one camera? Films of synthetic people whose moves and bodies nobody was trained on.

    python benchmarks/lifting.py [--films 20] [--lift lift-s] [--pose wholebody-s]

Walking, running, reaching, sitting down and dancing (`synth.motion.move`; the lifter was trained on other moves), each person seen by a
random camera for a second and a half, drawn with clothes before made-up places. Keypoints: the true ones, those that the pose network
finds in true boxes, and of its places those chosen over time, as `vitruvian capture` does (`people.choose`). The same lifted points after
the fit of a body are in the last column. Millimetres, 17 body points from mid-hip; PA after a similarity; hands from their wrists.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from vitruvian.capture.bodies import add_bodies
from vitruvian.geometry.alignment import align
from vitruvian.people import choose_places
from vitruvian.runtime import PoseEstimator, Poses
from vitruvian.runtime.lift import Lifter
from vitruvian.skeletons import COCO_WHOLEBODY_133 as SET
from vitruvian.synth.backgrounds import Backdrops, lay_over
from vitruvian.synth.camera import WORLD_TO_CAMERA, View
from vitruvian.synth.motion import MOVES, move
from vitruvian.synth.optics import degrade
from vitruvian.synth.outfit import dress
from vitruvian.synth.paint import paint
from vitruvian.synth.person import label_image, make_bodies
from vitruvian.synth.poses import rotation
from vitruvian.synth.wardrobe import Wardrobe
from vitruvian.take import People, Take
from vitruvian.weights import card_for

SIZE, FOCAL, FRAMES, RATE = (480, 640), 700.0, 45, 30.0
FOV = float(2 * np.degrees(np.arctan(max(SIZE) / (2 * FOCAL))))
LIMBS, FEET = [7, 8, 9, 10, 13, 14, 15, 16], range(17, 23)  # elbows to ankles; toes and heels
CENTRE = (np.array(SIZE) - 1) / 2


def film(rng: np.random.Generator, w: Wardrobe, kind: str, backdrops: Backdrops) -> tuple[list[np.ndarray], *tuple[np.ndarray, ...]]:
    """Pictures (RGB), true points (f, 133, 3) in the camera's frame, true keypoints (f, 133, 3) with visibility, boxes (f, 4)."""
    poses = move(rng, w.rig, kind, np.arange(FRAMES) / RATE)
    build = np.clip(rng.normal([0.5, 0.75, 0.55, 0.5, 0.5, 0.55], [0.4, 0.12, 0.15, 0.2, 0.2, 0.15]), 0, 1)
    bodies = make_bodies(w, poses, np.tile(build, (FRAMES, 1)), np.zeros((FRAMES, len(w.model.facial_action_labels))))
    x, y, _ = np.eye(3)
    turn = rotation(x, np.array([rng.normal(0.08, 0.12)]))[0] @ rotation(y, np.array([rng.uniform(-np.pi, np.pi)]))[0] @ WORLD_TO_CAMERA
    middle = bodies.vertices[:, w.base_index].mean((0, 1))
    extent = np.ptp(bodies.vertices.reshape(-1, 3), 0).max()
    view, outfit, seed = View(turn, middle, FOCAL * extent / 520), dress(rng, w), int(rng.integers(1 << 31))
    backdrop = backdrops[int(rng.integers(len(backdrops)))][: SIZE[1], : SIZE[0]]
    pictures, keypoints, points, boxes = [], [], [], []
    for vertices, heads in zip(bodies.vertices, bodies.heads, strict=True):
        sample = label_image(w, vertices, heads, outfit, view, FOCAL, CENTRE, SIZE)
        picture = backdrop.copy()
        lay_over(picture, paint(np.random.default_rng(seed), sample.planes, sample.relief), np.ones(3))
        pictures.append(degrade(rng, picture))
        keypoints.append(sample.keypoints)
        boxes.append(sample.boxes[0])
        points.append(view.to_camera(w.landmarks.wholebody133(vertices[w.base_index][None], heads[None])[0]))
    return pictures, np.stack(points), np.stack(keypoints), np.stack(boxes)


def taken(boxes: np.ndarray, keypoints: np.ndarray, confidence: np.ndarray) -> Take:
    """The film as a take of one person."""
    frames = np.arange(FRAMES)
    people = People(frames, np.ones(FRAMES), boxes, np.ones(FRAMES), keypoints, confidence)
    return Take(people, SET, frames / RATE, np.tile(SIZE, (FRAMES, 1)))


def chosen(boxes: np.ndarray, found: list[Poses]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints and confidence of what was found in each frame, chosen over time."""
    places, sure, second = (np.concatenate(column) for column in zip(*((p.keypoints, p.scores, p.second) for p in found), strict=True))
    take = taken(boxes, places, np.clip(sure, 0, 1))
    people = choose_places(replace(take, people=replace(take.people, second=second))).people
    return people.keypoints, people.confidence


def shares_astray(places: np.ndarray, truth: np.ndarray, boxes: np.ndarray) -> list[float]:
    """Per cent of visible elbows, wrists, knees and ankles, and of toes and heels, that are off by over a tenth of the person's size."""
    size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))[:, None]
    wrong, seen = np.linalg.norm(places - truth[..., :2], axis=-1) > 0.1 * size, truth[..., 2] > 0
    return [100 * wrong[:, part][seen[:, part]].mean() for part in (LIMBS, FEET)]


def errors(points: np.ndarray, truth: np.ndarray) -> list[float]:
    """MPJPE, PA-MPJPE, and of the hands, millimetres; the median of the absolute error of the distance from the camera, per cent."""
    a, b = (array[:, :17] - array[:, 11:13].mean(1, keepdims=True) for array in (points, truth))
    hands = [np.linalg.norm((p - p[:, :1]) - (t - t[:, :1]), axis=-1).mean() for p, t in _hands(points, truth)]
    far = np.abs(points[:, :17, 2].mean(1) / truth[:, :17, 2].mean(1) - 1)
    pa = np.linalg.norm(align(a, b)(a) - b, axis=-1).mean()
    return [1000 * np.linalg.norm(a - b, axis=-1).mean(), 1000 * pa, 1000 * np.mean(hands), 100 * np.median(far)]


def _hands(points: np.ndarray, truth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(points[:, SET.parts[f"{side}_hand"]], truth[:, SET.parts[f"{side}_hand"]]) for side in ("left", "right")]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=20)
    parser.add_argument("--lift", default="lift-s")
    parser.add_argument("--pose", default="wholebody-s")
    options = parser.parse_args()
    rng, w = np.random.default_rng(11), Wardrobe()
    backdrops, lifter = Backdrops([], 1, 40, (700, 700)), Lifter(options.lift)
    estimator = PoseEstimator(card_for(options.pose), second=True)
    rows: dict[str, list[list[float]]] = {}
    astray: dict[str, list[list[float]]] = {}
    for number in range(options.films):
        pictures, truth, keypoints, boxes = film(rng, w, MOVES[number % len(MOVES)], backdrops)
        found = estimator(pictures, [box[None] for box in boxes])
        seen = {
            "true": (keypoints[..., :2], np.where(keypoints[..., 2] > 0, 1.0, 0.0)),
            "found": (np.concatenate([p.keypoints for p in found]), np.clip(np.concatenate([p.scores for p in found]), 0, 1)),
        }
        if estimator.second:
            seen["chosen"] = chosen(boxes, found)
        matrix = np.array([[FOCAL, 0, SIZE[0] / 2], [0, FOCAL, SIZE[1] / 2], [0, 0, 1]])
        for name, (places, sure) in seen.items():
            astray.setdefault(name, []).append(shares_astray(places, keypoints, boxes))
            lifted = lifter(places, sure, np.arange(FRAMES) / RATE, matrix, SIZE).points
            fitted = add_bodies(taken(boxes, places, sure), lifter, FOV).people.points
            for how, points in (("lifted", lifted), ("fitted", fitted)):
                there = np.isfinite(points).all((1, 2))
                rows.setdefault(f"{name} keypoints, {how}", []).append(errors(points[there], truth[there]))
    for name, values in astray.items():
        print("{} keypoints astray: {:.1f} % of limbs' joints, {:.1f} % of toes and heels".format(name, *np.nanmean(values, 0)))
    print(f"{options.films} films of {FRAMES} frames; {options.lift}, {options.pose}")
    print(f"{'':<28}{'MPJPE':>8}{'PA-MPJPE':>10}{'hands':>8}{'distance, %':>13}")
    for name, values in rows.items():
        mean = np.mean(values, 0)
        print(f"{name:<28}{mean[0]:>8.1f}{mean[1]:>10.1f}{mean[2]:>8.1f}{mean[3]:>13.1f}")


if __name__ == "__main__":
    main()
