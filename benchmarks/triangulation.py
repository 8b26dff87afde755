"""How fast are points triangulated: 133 points x 8 cameras x 10,000 frames, on one core, beside OpenCV and plain numpy.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/triangulation.py [--frames 10000] [--peer-frames 200]

Keypoints have 2 pixels of noise; cameras stand 5 m from people in full HD. Peers do fewer frames (--peer-frames) and are scaled up:
cv2.triangulatePoints knows two cameras only; numpy.linalg.svd is the usual loop, one point at a time. Times are of the processor, so that
a busy machine counts less. The error is the root mean square distance to the true points.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from vitruvian.geometry.camera import Camera, looking_at, project_all
from vitruvian.geometry.triangulate import triangulate

CAMERAS, POINTS = 8, 133


def scene(frames: int) -> tuple[list[Camera], np.ndarray, np.ndarray, np.ndarray]:
    """Cameras in a ring, true points (f, k, 3), noisy pixels (c, f, k, 2) and confidence."""
    rng = np.random.default_rng(0)
    angles = np.arange(CAMERAS) * 2 * np.pi / CAMERAS + 0.1
    cameras = [looking_at((5 * np.cos(a), 1.5, 5 * np.sin(a)), (0, 1, 0), 1500, (1920, 1080)) for a in angles]
    points = rng.uniform(-1, 1, (frames, POINTS, 3)) + [0, 1, 0]
    pixels = project_all(cameras, points)
    return cameras, points, pixels + rng.normal(0, 2, pixels.shape), rng.uniform(0.3, 1, pixels.shape[:-1])


def timed(call) -> tuple[float, np.ndarray]:
    """Processor seconds of the second run, the first one being for warming up."""
    call()
    start = time.process_time()
    found = call()
    return time.process_time() - start, found


def one_by_one(cameras: list[Camera], pixels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The homogeneous linear method in a loop over points."""
    matrices = [camera.intrinsics @ np.c_[camera.R_cam_world, camera.t_cam_world] for camera in cameras]
    out = np.empty((*pixels.shape[1:-1], 3))
    for place in np.ndindex(*pixels.shape[1:-1]):
        rows = []
        for matrix, pixel, weight in zip(matrices, pixels[(slice(None), *place)], confidence[(slice(None), *place)], strict=True):
            rows += [weight * (pixel[0] * matrix[2] - matrix[0]), weight * (pixel[1] * matrix[2] - matrix[1])]
        last = np.linalg.svd(np.array(rows))[2][-1]
        out[place] = last[:3] / last[3]
    return out


def with_opencv(cameras: list[Camera], pixels: np.ndarray) -> np.ndarray:
    """Two opposite-most neighbours of the ring, all points in one call."""
    first, second = 0, CAMERAS // 4
    matrices = [cameras[c].intrinsics @ np.c_[cameras[c].R_cam_world, cameras[c].t_cam_world] for c in (first, second)]
    found = cv2.triangulatePoints(*matrices, *(pixels[c].reshape(-1, 2).T for c in (first, second)))
    return (found[:3] / found[3]).T.reshape(*pixels.shape[1:-1], 3)


def main() -> None:
    """Print seconds and errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--peer-frames", type=int, default=200)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    cameras, points, pixels, confidence = scene(options.frames)
    few = slice(0, options.peer_frames)
    wrong = pixels.copy()
    hit = np.random.default_rng(1).random(confidence.shape) < 0.03
    wrong[hit] += 200
    runs = {
        "linear, weighted": (lambda: triangulate(cameras, pixels, confidence, threshold=None, refine=False).points, 1),
        "linear, refined": (lambda: triangulate(cameras, pixels, confidence, threshold=None).points, 1),
        "linear, robust, refined": (lambda: triangulate(cameras, pixels, confidence).points, 1),
        "the same, 3 % of keypoints off by 280 px": (lambda: triangulate(cameras, wrong, confidence).points, 1),
        "numpy.linalg.svd, one by one": (
            lambda: one_by_one(cameras, pixels[:, few], confidence[:, few]),
            options.frames / options.peer_frames,
        ),
        "cv2.triangulatePoints, 2 cameras": (lambda: with_opencv(cameras, pixels[:, few]), options.frames / options.peer_frames),
    }
    print(f"{POINTS} points x {CAMERAS} cameras x {options.frames} frames")
    for name, (call, factor) in runs.items():
        seconds, found = timed(call)
        error = np.sqrt(((found - points[: len(found)]) ** 2).sum(-1).mean())
        scaled = "" if factor == 1 else f"  (scaled from {options.peer_frames} frames)"
        print(f"{name:44} {seconds * factor:8.2f} s   error {1000 * error:6.2f} mm{scaled}", flush=True)


if __name__ == "__main__":
    main()
