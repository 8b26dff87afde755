"""Ours against rtmlib: the same ONNX files, the same video, one process, runs taking turns; frames per second and equal results.

    pip install --no-deps rtmlib tqdm
    python benchmarks/vs_rtmlib.py [--rounds 3] [--only results,every-t,every-m,tracker,reduced,crowd] [--video FILE]

Detector: ../shared/data/models/rtmdet-nano-coco-320.onnx. Pose: 133-point RTMPose of sizes t and m, made here with
random weights (tests/random_rtmpose.py): they take as long as trained ones, and find points at the same places of every box, but for a
tremble. rtmlib reads the video with OpenCV, as its README does, and calls its solution on each frame; ours is the whole `capture` without
files: decoding, both networks, ids, smoothing. How far smaller files move keypoints: benchmarks/precision.py.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import vitruvian as vt  # noqa: E402
from random_rtmpose import random_rtmpose  # noqa: E402
from vitruvian.media import VideoWriter, open_video  # noqa: E402
from vitruvian.weights.reduce import reduce  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared" / "data"
DETECTOR = SHARED / "models" / "rtmdet-nano-coco-320.onnx"
DETECT_EVERY = 7


def made(folder: Path, variant: str) -> Path:
    """RTMPose of that size with 133 points and random weights as an ONNX file."""
    path = folder / f"rtmpose-{variant}-placed.onnx"
    return path if path.exists() else random_rtmpose(path, variant)


def tiled(source: Path, folder: Path, frames: int = 60, columns: int = 6, rows: int = 2) -> Path:
    """A crowd of 12 in 1200 x 800: a cut-out around the walking woman, which follows her, repeated."""
    path = folder / "crowd.mp4"
    with open_video(source) as video, VideoWriter(path, 200 * columns, 400 * rows, video.fps) as writer:
        for frame in islice(video, 60, 60 + frames):
            left = 1270 - 9 * (frame.index - 60)  # she walks about 9 pixels a frame to the left
            cell = cv2.resize(frame.image[450:1000, left : left + 275], (200, 400))
            writer.write(np.tile(cell, (rows, columns, 1)), frame.time)
    return path


def peers(video: Path, pose: Path, every: int | None) -> tuple[float, list[tuple[np.ndarray, np.ndarray]]]:
    """Seconds that rtmlib takes with its networks loaded, and its keypoints and scores per frame. `every` None: its solution on each frame,
    else its tracker with that detection interval."""
    from rtmlib import Custom, PoseTracker

    detector = {"det_class": "RTMDet", "det": str(DETECTOR), "det_input_size": (320, 320)}
    solution = partial(Custom, **detector, pose_class="RTMPose", pose=str(pose), pose_input_size=(192, 256))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
        model = solution(backend="onnxruntime", device="cpu") if every is None else PoseTracker(solution, det_frequency=every)
    reader, results = cv2.VideoCapture(str(video)), []
    start = time.perf_counter()
    while (frame := reader.read()[1]) is not None:
        results.append(model(frame))
    return time.perf_counter() - start, results


def ours(video: Path, pose: Path, detector: Path = DETECTOR, **options: object) -> tuple[float, vt.Take, dict[str, float]]:
    """Seconds that `capture` takes, loading of the networks included, the take, and the seconds of each stage."""
    stages: dict[str, float] = {}
    start = time.perf_counter()
    take = vt.capture(video, detector=detector, pose=pose, mesh=False, on_progress=lambda now: stages.update(now.seconds), **options)
    return time.perf_counter() - start, take, stages


def compare(title: str, bar: float, rounds: int, theirs: Callable[[], tuple], mine: Callable[[], tuple]) -> None:
    """Let both run in turns and print the median of their ratios, with the spread, ours by stage, and the peak of memory."""
    ratios = []
    for _ in range(rounds):
        (their_seconds, _), (our_seconds, take, stages) = theirs(), mine()
        ratios.append(their_seconds / our_seconds)
    frames = len(take.times)
    spent = ", ".join(f"{stage} {1000 * seconds / frames:.1f}" for stage, seconds in stages.items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{title}: {statistics.median(ratios):.2f} times rtmlib's frames per second ({min(ratios):.2f} - {max(ratios):.2f}; asked {bar})")
    print(f"    last round: rtmlib {frames / their_seconds:.1f}, ours {frames / our_seconds:.1f} per second; {len(take.people)} rows")
    print(f"    ours, ms per frame and stage, in parallel: {spent}; peak memory of this process {peak:.0f} MB")


def reduced(folder: Path, source: Path, precision: Literal["fp16", "int8"]) -> Path:
    """Our smaller file of the same weights; in half precision also without padding."""
    path = folder / f"{source.stem}-{precision}.onnx"
    if not path.exists():
        reduce(source, path, precision=precision)
    return path


def differences(video: Path, pose: Path) -> None:
    """Keypoints and scores of the same pictures and boxes: rtmlib's against ours as rtmlib counts."""
    from vitruvian.compat.rtmlib import Custom

    detector = {"det_class": "RTMDet", "det": str(DETECTOR), "det_input_size": (320, 320)}
    model = Custom(**detector, pose_class="RTMPose", pose=str(pose), pose_input_size=(192, 256), backend="onnxruntime", device="cpu")
    reader, worst, worst_score, persons = cv2.VideoCapture(str(video)), 0.0, 0.0, 0
    for keypoints, scores in peers(video, pose, None)[1]:
        found, found_scores = model(reader.read()[1])
        worst = max(worst, float(np.abs(found - keypoints).max(initial=0)))
        worst_score = max(worst_score, float(np.abs(found_scores - scores).max(initial=0)))
        persons += len(keypoints)
    print(f"same results: {persons} persons, keypoints differ by {worst:.4f} px at most, scores by {worst_score:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=SHARED / "video" / "sports2d" / "demo.mp4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="results,every-t,every-m,tracker,reduced,crowd")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "vs_rtmlib", help="for the files that are made")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    small, video, rounds, only = made(arguments.folder, "t"), arguments.video, arguments.rounds, arguments.only.split(",")
    if "results" in only:
        differences(video, small)
    if "every-t" in only:
        compare("every frame detected, size t", 1.4, rounds, lambda: peers(video, small, None), lambda: ours(video, small))
    if "every-m" in only:
        medium = made(arguments.folder, "m")
        compare("every frame detected, size m", 1.15, rounds, lambda: peers(video, medium, None), lambda: ours(video, medium))
    if "tracker" in only:
        mine = partial(ours, video, small, detect_every=DETECT_EVERY)
        compare(f"tracker, every {DETECT_EVERY}th frame detected", 1.3, rounds, lambda: peers(video, small, DETECT_EVERY), mine)
    if "reduced" in only:
        small_detector, small_pose = reduced(arguments.folder, DETECTOR, "fp16"), reduced(arguments.folder, small, "int8")
        mine = partial(ours, video, small_pose, small_detector)
        compare("every frame detected, our int8 pose and fp16 detector", 2.0, rounds, lambda: peers(video, small, None), mine)
    if "crowd" in only:
        crowd = tiled(video, arguments.folder)
        compare("crowd of 12", 1.5, rounds, lambda: peers(crowd, small, None), lambda: ours(crowd, small))


if __name__ == "__main__":
    main()
