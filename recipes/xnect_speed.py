"""XNect-style capture of 1 to 10 people at 512x320: milliseconds per frame by stage.

    OMP_NUM_THREADS=2 python recipes/xnect_speed.py [--variant 60] [--threads 2] [--frames 20] [--device cpu]

The networks are untrained, which costs the same. Stage I sees noise; what its maps would say of people who stand in a row is encoded, so
that decoding, stage II and stage III have the work of a real frame. Medians; the first frames, in which people are new, don't count.
On a busy machine `--clock cpu --threads 1` counts the process's own time, which others disturb less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from vitruvian.body.lbs import rotation_matrices
from vitruvian.codecs.part_affinity import bones, features
from vitruvian.systems.pose3d.xnect import CODE_BONES, TREE, VARIANTS, XNect, codec
from vitruvian.systems.pose3d.xnect_fit import Camera
from vitruvian.systems.pose3d.xnect_skeleton import ANGLES, MEAN_LENGTHS, PELVIS, Posture, joints, rest_bones
from vitruvian.systems.pose3d.xnect_track import Tracker

CAMERA = Camera(600.0, (255.5, 159.5))
NEW = 3  # frames that don't count


def crowd(people: int, frame: int) -> np.ndarray:
    """(people, 21, 3) joints of people in a row who swing their limbs."""
    t = frame / 30
    swing = 0.3 * np.sin(2 * np.pi * 0.5 * t + np.arange(people)[:, None] + np.arange(len(ANGLES)))
    angles = np.clip(swing, ANGLES.low, ANGLES.high)
    turn = rotation_matrices(np.stack([0 * np.arange(people), 0.5 * np.arange(people) + 0.3 * t, 0 * np.arange(people)], 1))
    place = np.stack([1.3 * (np.arange(people) - (people - 1) / 2), np.zeros(people), np.full(people, 3.0 + 1.2 * people)], 1)
    return joints(Posture(place, turn, angles), np.repeat(rest_bones(MEAN_LENGTHS[None]), people, 0))


def measure(model: XNect, people: int, frames: int, device: str, now: Callable[[], float]) -> dict[str, float]:
    """Median milliseconds of every stage."""
    config, rows = model.config, []
    maps_codec, tracker = codec(config), Tracker(CAMERA)
    for frame in range(frames + NEW):
        points = crowd(people, frame)
        offsets = bones(points, CODE_BONES)
        maps = maps_codec.encode(CAMERA.project(points[:, :14]), np.ones((people, 14), bool), offsets)
        image = torch.randn(1, 3, *config.input_size[::-1], device=device)
        clock = [now()]
        with torch.inference_mode():
            answer = model(image)
            for part in answer:
                part.cpu()
            clock.append(now())
            parts = maps_codec.decode(maps.heatmaps, maps.affinity, maps.codes)
            clock.append(now())
            model.two(torch.from_numpy(features(parts, TREE.anchor)).to(device)).cpu()
            clock.append(now())
        order = np.linalg.norm(parts.keypoints[:, None, 1] - CAMERA.project(points)[None, :, 1], axis=-1).argmin(1)
        answers = (points - points[:, PELVIS, None])[order]  # an untrained stage II says nothing that a skeleton would fit
        clock.append(now())
        tracker.update(frame / 30, parts, answers)
        clock.append(now())
        rows.append((*np.diff(clock[:4]), clock[5] - clock[4], len(parts)))
    stages = 1000 * np.median(np.array(rows)[NEW:], axis=0)
    return dict(zip(("stage I", "association", "stage II", "stage III"), stages, strict=False)) | {"found": stages[4] / 1000}


def main() -> None:
    """Print a row for each number of people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="60", choices=VARIANTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 5, 10])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = XNect(VARIANTS[options.variant]).eval().to(options.device)
    with torch.inference_mode():
        model(torch.zeros(1, 3, *model.config.input_size[::-1], device=options.device))
    print(f"{'people':>6}{'found':>7}{'stage I':>10}{'association':>13}{'stage II':>10}{'stage III':>11}{'sum':>9} ms {'fps':>7}")
    for people in options.people:
        now = time.perf_counter if options.clock == "wall" else time.process_time
        row = measure(model, people, options.frames, options.device, now)
        found = row.pop("found")
        total = sum(row.values())
        print(
            f"{people:>6}{found:>7.0f}{row['stage I']:>10.1f}{row['association']:>13.1f}{row['stage II']:>10.1f}{row['stage III']:>11.1f}"
            f"{total:>9.1f}    {1000 / total:>7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
