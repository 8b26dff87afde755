"""Reduced files against their parents: time per picture, and how far the answers move. One process, files taking turns, best of all rounds.

    python benchmarks/precision.py [--rounds 30] [--only pose-s,pose-m,rtmdet,parts] [--threads 2] [--pose wholebody-s-half.onnx]

The files are made anew from --pose (wholebody-s before it became integers: `vitruvian.train.package pose --whole`; left out where none is
given), a 133-point RTMPose-m with random weights (for its time; its answers mean nothing), rtmdet-nano and person-parts-s. Ranges come from
the packaged clip of a synthetic person; the change is measured on other pictures: every tenth frame of ../shared's walking video, and its
COCO pictures. Keypoints are those with a confidence above 0.3, in people that rtmdet-nano finds.
Processor time is that of all threads together: it says more than the clock where the machine is not quiet.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from random_rtmpose import random_rtmpose  # noqa: E402
from vitruvian.media import open_video, read_image  # noqa: E402
from vitruvian.runtime import Detector, PoseEstimator, Session  # noqa: E402
from vitruvian.weights import Card, card_for, trial  # noqa: E402
from vitruvian.weights.reduce import reduce  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared" / "data"
DETECTOR = SHARED / "models" / "rtmdet-nano-coco-320.onnx"


def pictures() -> dict[str, list[np.ndarray]]:
    """The pictures that the changes are measured on."""
    with open_video(SHARED / "video" / "sports2d" / "demo.mp4") as video:
        frames = [frame.image for frame in video if frame.index % 10 == 0]
    return {"video": frames, "COCO": [read_image(path) for path in sorted((SHARED / "images" / "coco").glob("*.jpg"))]}


def times(cards: dict[str, Card], batch: np.ndarray, rounds: int, threads: int) -> None:
    """Print milliseconds per picture of each network for the whole batch at once and for single pictures."""
    sessions = {name: Session(card.file, device="cpu", threads=threads) for name, card in cards.items()}
    for size in (len(batch), 1):
        clock, processor = ({name: [] for name in sessions} for _ in range(2))
        for _ in range(rounds + 1):
            for name, session in sessions.items():
                start, used = time.perf_counter(), time.process_time()
                session.run(batch[:size])
                clock[name].append((time.perf_counter() - start) / size * 1000)
                processor[name].append((time.process_time() - used) / size * 1000)
        best = {name: min(processor[name]) for name in sessions}
        for name in sessions:
            times_as_fast = best[next(iter(best))] / best[name]
            print(
                f"    {name:<8} batch {size}: {min(clock[name]):6.2f} ms, processor {best[name]:6.2f} ms, {times_as_fast:.2f} times as fast"
            )


def pose(network: str | Path, folder: Path, rounds: int, threads: int, shown: dict[str, list[np.ndarray]], compared: bool = True) -> None:
    """A pose network against its int8 file."""
    whole, small = card_for(network), reduce(network, folder / "pose-int8.onnx")
    print(f"{whole.id}: {Path(whole.file).stat().st_size / 1e6:.1f} MB, int8 {small.size_bytes / 1e6:.1f} MB")
    batch = np.concatenate(trial.inputs(whole, trial.packaged_pictures(whole)))[:8]
    times({"parent": whole, "int8": small}, batch, rounds, threads)
    for name, images in shown.items() if compared else ():
        boxes = [found.boxes for found in Detector(DETECTOR)(images)]
        before, after = (PoseEstimator(card)(images, boxes) for card in (whole, small))
        sure = np.concatenate([a.scores for a in before]) > 0.3
        moved = np.concatenate([np.linalg.norm(a.keypoints - b.keypoints, axis=-1) for a, b in zip(before, after, strict=True)])[sure]
        middle, most = np.percentile(moved, (50, 95))
        print(f"    {name}: {len(moved)} keypoints moved by {middle:.2f} px in the median, 95 % by less than {most:.1f}")
        for what, value in trial.change(whole, small, list(zip(images, boxes, strict=True))).items():
            print(f"        {what}: {value:.2f}")


def detector(network: str | Path, folder: Path, rounds: int, threads: int, shown: dict[str, list[np.ndarray]]) -> None:
    """A detector against its fp16 and int8 files; and, where its sides are free, without the padding of a 16:9 picture."""
    whole = card_for(network)
    reduced = {precision: reduce(network, folder / f"detector-{precision}.onnx", precision=precision) for precision in ("fp16", "int8")}
    print(f"{whole.id}: " + ", ".join(f"{name} {card.size_bytes / 1e6:.1f} MB" for name, card in reduced.items()))
    batch = np.concatenate(trial.inputs(whole, trial.packaged_pictures(whole)))[:8]
    times({"parent": whole, **reduced}, batch, rounds, threads)
    if step := reduced["fp16"].size_step:
        rows = step * int(np.ceil(whole.input_size[0] * 9 / 16 / step + 0.5))
        print(f"  16:9, {rows} of {whole.input_size[1]} rows (compare with the parent above)")
        times({"parent": whole, **reduced}, np.ascontiguousarray(batch[:, :, :rows]), rounds, threads)
    for name, images in shown.items():
        seen = [(image, np.zeros((0, 4), np.float32)) for image in images]
        for precision, card in reduced.items():
            print(f"    {name}, {precision}: " + ", ".join(f"{what} {value}" for what, value in trial.change(whole, card, seen).items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pose", type=Path)
    parser.add_argument("--only", default="pose-s,pose-m,rtmdet,parts")
    arguments = parser.parse_args()
    rounds, threads, only, shown = arguments.rounds, arguments.threads, arguments.only.split(","), pictures()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "pose-s" in only and arguments.pose:
            pose(arguments.pose, folder, rounds, threads, shown)
        if "pose-m" in only:
            pose(random_rtmpose(folder / "rtmpose-m-random.onnx", "m"), folder, max(3, rounds // 5), threads, shown, compared=False)
        if "rtmdet" in only:
            detector(DETECTOR, folder, rounds, threads, shown)
        if "parts" in only:
            detector("person-parts-s", folder, max(3, rounds // 5), threads, shown)


if __name__ == "__main__":
    main()
