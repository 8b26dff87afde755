"""How well do ids last in crowds, and how fast is the tracker? Ours beside ByteTrack (`trackers`), on the same boxes.

    python benchmarks/tracking.py [--seeds 3] [--scenes few some crossing ...]

Synthetic scenes with known identities (tests/crowds.py). Per scene and tracker: IDF1, HOTA, AssA, MOTA, id switches and milliseconds per
frame, over all seeds together, then the means over scenes. Ours runs as a capture has it, without keypoints (boxes only, as ByteTrack has
them), and with an appearance hook. ByteTrack runs with its defaults and with thresholds like ours; it gets the true timestamps.
Without the package its rows are left out:

    pip install --no-deps trackers supervision pydeprecate tqdm defusedxml requests

(--no-deps, as it asks for opencv-python, which overwrites opencv-python-headless).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import bytetrack  # noqa: E402
from crowds import CROWDS, Crowd, CrowdSettings, crowd  # noqa: E402
from vitruvian.metrics.tracking import TrackingScores, frames_by_boxes, together, tracking_scores  # noqa: E402
from vitruvian.people import Tracker  # noqa: E402
from vitruvian.skeletons import COCO_17  # noqa: E402
from vitruvian.take import People  # noqa: E402
from walkers import people_of, walker  # noqa: E402

Tracked = tuple[People, Sequence[float]]


def ours(scene: Crowd, *, keypoints: bool = True, looks: bool = False) -> Tracked:
    """Tracked people and the seconds that each frame took."""
    tracker = Tracker(COCO_17, appearance=(lambda image, boxes: scene.looks(boxes)) if looks else None)
    image = np.zeros((1, 1, 3), np.uint8)  # the hook knows without
    found, seconds = [People.empty(17)], []
    for moment, people in zip(scene.times, scene.frames(), strict=True):
        shown = people if keypoints else replace(people, confidence=np.zeros_like(people.confidence))
        start = time.perf_counter()
        found.append(tracker.update(moment, shown, image))
        seconds.append(time.perf_counter() - start)
    return People.concatenate(found), seconds


def trackers() -> dict[str, Callable[[Crowd, CrowdSettings], Tracked]]:
    """What is compared, by name."""
    own = {
        "ours": lambda scene, settings: ours(scene),
        "ours, boxes only": lambda scene, settings: ours(scene, keypoints=False),
        "ours, appearance": lambda scene, settings: ours(scene, looks=True),
    }
    if not bytetrack.available():
        print("ByteTrack is left out: the package trackers can't be imported")
        return own
    others = {
        name: lambda scene, settings, options=options: bytetrack.bytetracked(scene, settings.fps, **options)
        for name, options in bytetrack.SETTINGS.items()
    }
    return own | others


def compared(
    chosen: dict[str, Callable[[Crowd, CrowdSettings], Tracked]], settings: CrowdSettings, seeds: Sequence[int]
) -> dict[str, tuple[TrackingScores, float]]:
    """Scores of all seeds together, and milliseconds per frame, by the tracker's name."""
    scores: dict[str, list[TrackingScores]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in seeds:
        scene = crowd(settings, seed)
        for name, track in chosen.items():
            people, spent = track(scene, settings)
            scores.setdefault(name, []).append(tracking_scores(frames_by_boxes(scene.truth, people, len(scene.times))))
            seconds.setdefault(name, []).extend(spent)
    return {name: (together(scores[name]), 1e3 * float(np.mean(seconds[name]))) for name in chosen}


def speed(people: int = 20, frames: int = 300) -> np.ndarray:
    """Milliseconds of each update with so many people, all in view."""
    tracker, spent = Tracker(COCO_17), []
    for frame in range(frames):
        places = [(100 + i % 5 * 230, 60 * (-1) ** i, 40 + i // 5 * 150) for i in range(people)]
        found = people_of(frame, [walker(frame / 30, x, pace, height=200, top=top) for x, pace, top in places], noise=2)
        start = time.perf_counter()
        tracker.update(frame / 30, found)
        spent.append(1e3 * (time.perf_counter() - start))
    return np.array(spent[10:])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenes", nargs="*", choices=list(CROWDS), default=list(CROWDS))
    options = parser.parse_args()
    rows: dict[str, list[tuple[float, ...]]] = {}
    chosen = trackers()
    head = f"{'':12}{'':26}{'IDF1':>7}{'HOTA':>7}{'AssA':>7}{'MOTA':>7}{'IDSW':>7}{'ms':>7}"
    print(head)
    for name in options.scenes:
        for tracker, (scores, spent) in compared(chosen, CROWDS[name], range(options.seeds)).items():
            hota, clear = scores.hota, scores.clear
            row = scores.identity.idf1, hota.hota, hota.association_accuracy, clear.mota, float(clear.switches), spent
            rows.setdefault(tracker, []).append(row)
            print(f"{name:12}{tracker:26}" + "".join(f"{value:7.3f}" for value in row[:4]) + f"{row[4]:7.0f}{row[5]:7.2f}", flush=True)
    print(head)
    for tracker, several in rows.items():
        row = np.mean(several, axis=0)
        print(f"{'mean':12}{tracker:26}" + "".join(f"{value:7.3f}" for value in row[:4]) + f"{row[4]:7.1f}{row[5]:7.2f}")
    spent = speed()
    print(f"update with 20 people: median {np.median(spent):.2f} ms, 95 % under {np.quantile(spent, 0.95):.2f} ms")


if __name__ == "__main__":
    main()
