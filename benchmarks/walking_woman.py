"""Does one id stay on the walking woman of ../shared/data/video/sports2d/demo.mp4, and how fast is the whole capture?

    python benchmarks/walking_woman.py [--detector ID_OR_ONNX] [--pose ID_OR_ONNX] [--out FOLDER] [--height 720 [--alone]] [--mesh]
        [--detect-every 2]

Found means: in the frames in which she is whole in the picture (48 to 186, by eye) a box overlaps her place by 0.4 (IoU).
Her place is interpolated between boxes checked by eye every ten frames. With --height the video is first scaled (not timed),
and the capture with overlay is timed on it; the print includes the seconds of each stage. With --alone it is only timed, on the frames
in which nobody else is in the picture, shown there and back five times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

import vitruvian as vt
from vitruvian.geometry.boxes import iou
from vitruvian.media import VideoWriter, open_video

VIDEO = Path(__file__).parents[2] / "shared" / "data" / "video" / "sports2d" / "demo.mp4"
FIRST, LAST = 48, 186
ALONE = range(143, 189)
PLACES = {
    40: (1461, 546, 1600, 978), 50: (1439, 537, 1564, 959), 60: (1277, 540, 1513, 945), 70: (1261, 517, 1371, 938),
    80: (1100, 513, 1346, 939), 90: (1071, 511, 1186, 930), 100: (919, 521, 1148, 936), 110: (848, 509, 998, 927),
    120: (721, 513, 953, 931), 130: (633, 502, 808, 933), 140: (502, 505, 737, 935), 150: (406, 504, 612, 937),
    160: (345, 510, 526, 945), 170: (166, 516, 422, 949), 180: (128, 510, 280, 944), 190: (0, 532, 222, 944),
}  # fmt: skip


def scaled(source: Path, height: int, folder: Path, alone: bool = False) -> tuple[Path, float]:
    """The video, or its frames ALONE there and back, at another height, and the factor."""
    target = folder / "scaled.mp4"
    with open_video(source) as video:
        factor = height / video.height
        size = (round(video.width * factor / 2) * 2, height)
        with VideoWriter(target, *size, video.fps) as writer:
            kept = []
            for frame in video:
                image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
                if not alone:
                    writer.write(image, frame.time)
                elif frame.index in ALONE:
                    kept.append(image)
            for number, image in enumerate((kept + kept[::-1]) * 5):
                writer.write(image, number / video.fps)
    return target, factor


def _report_ids(take: vt.Take, factor: float) -> None:
    """Print in how many of the frames she is found, and by how many ids."""
    frames = np.arange(FIRST, LAST + 1)
    truth = np.stack([np.interp(frames, list(PLACES), column) for column in np.array(list(PLACES.values()), float).T], 1) * factor
    ids = np.full(len(frames), -1)
    for row, frame in enumerate(frames):
        people = take.people.at(int(frame))
        if len(people):
            overlap = iou(people.boxes, truth[row : row + 1])[:, 0]
            if overlap.max() > 0.4:
                ids[row] = people.track[overlap.argmax()]
    found = ids[ids >= 0]
    most = np.bincount(found).max() if len(found) else 0
    share, one = len(found) / len(frames), most / len(frames)
    print(f"woman found in {share:.1%} of {len(frames)} frames, by one id in {one:.1%}")
    crowd = len(take.people) / len(take.times)
    print(f"ids on her: {sorted(set(found.tolist()))}; tracks in the film: {len(take.tracks)}; mean people per frame {crowd:.2f}")


def main() -> None:
    """Print the share of frames with one id on the woman, and the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, default=VIDEO)
    parser.add_argument("--detector", default="person-parts-s")
    parser.add_argument("--pose", default="wholebody-s")
    parser.add_argument("--mesh", action="store_true", help="with bodies, and their files")
    parser.add_argument("--height", type=int)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--detect-every", type=int, help="by default as the capture has it: ten times per second")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, factor = options.video, 1.0
        if options.height is not None:
            source, factor = scaled(options.video, options.height, Path(folder), options.alone)
        seconds: dict[str, float] = {}
        start = time.perf_counter()
        take = vt.capture(
            source,
            options.out or Path(folder) / "out",
            detector=options.detector,
            pose=options.pose,
            mesh=options.mesh,
            detect_every=options.detect_every,
            on_progress=lambda p: seconds.update(p.seconds),
        )
        spent = time.perf_counter() - start
    if not options.alone:
        _report_ids(take, factor)
    print(f"{len(take.times)} frames in {spent:.1f} s: {len(take.times) / spent:.1f} frames per second, start-up included")
    print("seconds by stage: " + ", ".join(f"{k} {v:.2f}" for k, v in seconds.items()))


if __name__ == "__main__":
    main()
