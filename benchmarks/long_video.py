"""Does memory grow with the length of a video, and does a killed capture end with the same take?

    python benchmarks/long_video.py [--minutes 20] [--height 360] [--detect-every 1] [--kill]

A real film, scaled and looped to 20 seconds and to so many minutes, is captured with all files, each in a process of its own, whose peak
memory is printed; without bodies, whose numbers alone (4 kB for each person and frame) would break the bar. With --kill the long capture
is killed (SIGKILL) half way and started again; the two takes are compared.
"""

from __future__ import annotations

import argparse
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

import vitruvian as vt
from vitruvian.capture import Progress
from vitruvian.media import VideoWriter, open_video

VIDEO = Path(__file__).parents[2] / "shared" / "data" / "video" / "sports2d" / "demo.mp4"
FPS = 30


def looped(height: int, seconds: float, path: Path) -> Path:
    """The film forwards and backwards, again and again, at so many frames as `seconds` have."""
    with open_video(VIDEO) as video:
        size = (round(video.width * height / video.height / 2) * 2, height)
        images = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in video]
    circle = images + images[-2:0:-1]
    with VideoWriter(path, *size, FPS) as writer:
        for index in range(round(seconds * FPS)):
            writer.write(circle[index % len(circle)], index / FPS)
    return path


def capture_here(video: Path, out: Path, kill_at: int | None, detect_every: int) -> None:
    """Capture in this process; print frames, seconds and the peak of its memory."""

    def on_progress(now: Progress) -> None:
        if now.frames == kill_at:
            signal.raise_signal(signal.SIGKILL)

    start = time.perf_counter()
    take = vt.capture(video, out, detect_every=detect_every, mesh=False, on_progress=on_progress)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(take.times)} frames, {len(take.people)} rows, {time.perf_counter() - start:.0f} s, peak memory {peak:.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--detect-every", type=int, default=1)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--capture", nargs=3, metavar=("VIDEO", "OUT", "KILL_AT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.capture:
        video, out, kill_at = arguments.capture
        capture_here(Path(video), Path(out), int(kill_at) or None, arguments.detect_every)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(video: Path, out: str, kill_at: int = 0) -> int:
            options = ["--detect-every", str(arguments.detect_every), "--capture", video, folder / out, str(kill_at)]
            return subprocess.run([sys.executable, __file__, *options]).returncode

        short, long = (looped(arguments.height, s, folder / f"{s:.0f}s.mp4") for s in (20, 60 * arguments.minutes))
        run(short, "short")
        run(long, "long")
        if arguments.kill:
            print(f"killed: exit code {run(long, 'killed', round(30 * arguments.minutes * FPS))}")
            run(long, "killed")
            whole, again = (vt.Take.load(folder / out / "take.npz") for out in ("long", "killed"))
            columns = ((column, again.people.columns()[name]) for name, column in whole.people.columns().items())
            print(f"the same take: {all(np.array_equal(a, b, equal_nan=True) for a, b in columns)}")


if __name__ == "__main__":
    main()
