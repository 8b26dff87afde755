"""How many left-right swaps does `repair_swaps` undo, and how much does it spoil?

    python benchmarks/swaps.py [--seeds 4] [--noise 0.006] [--motion ../shared/data/motion]

A limb-frame is one joint pair (or head, hands, feet) in one frame in which both sides are seen. Synthetic walkers, runners and turners
and real motion (CMU, if it is there), filmed from several sides at 30 and 60 frames per second, 300 pixels tall, with noise (in body
heights, half of it lasting for some frames) and missing points (tests/swap_scenes.py), get swaps of the whole body, of legs, arms and
parts of them, half of which start where limbs cross in the picture. Printed: the share of swapped limb-frames that are repaired, the share
of right ones that are falsely swapped, in spoilt takes and in clean ones, and the time per frame and person.

The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from swap_scenes import Score, clips, filmed, score, spoilt  # noqa: E402
from vitruvian.formats.bvh import read_bvh  # noqa: E402
from vitruvian.formats.rig import take_from_motion  # noqa: E402
from vitruvian.people.swap import repair_swaps  # noqa: E402
from vitruvian.take import Take  # noqa: E402

CMU_UNIT = 0.0564  # metres


def synthetic(seeds: int, noise: float) -> Iterator[tuple[str, int, Take]]:
    """Clips with their group and seed."""
    for fps in (30, 60):
        for seed in range(100, 100 + seeds):
            for i, (name, take) in enumerate(clips(fps, seed, noise=noise).items()):
                yield f"{name}, {fps} fps", 10 * seed + i, take


def real(folder: Path, noise: float) -> Iterator[tuple[str, int, Take]]:
    """Every motion from four sides."""
    for path in sorted(folder.glob("*.bvh")):
        motion = take_from_motion(read_bvh(path), CMU_UNIT)
        for fps in (30, 60):
            points = motion.people.points[1 :: 120 // fps].astype(np.float64)  # 120 Hz; the first frame is a T pose
            for seed, azimuth in enumerate((0.0, 0.8, 1.6, 2.4)):
                times = np.arange(len(points)) / fps
                yield f"{path.stem}, {fps} fps", seed, filmed(points, times, azimuth, motion.skeleton, noise=noise, seed=seed)


def measure(takes: Iterator[tuple[str, int, Take]]) -> None:
    """Print one line for each group and one for all."""
    groups: dict[str, tuple[Score, Score]] = {}
    frames, spent = 0, 0.0
    for name, seed, truth in takes:
        bad, masks = spoilt(truth, seed)
        start = time.perf_counter()
        fixed, _ = repair_swaps(bad)
        spent += time.perf_counter() - start
        frames += len(truth.times)
        clean = repair_swaps(truth)[0]
        for group in (name, "all"):
            spoilt_score, clean_score = groups.setdefault(group, (Score(), Score()))
            score(truth, masks, fixed, spoilt_score)
            score(truth, {unit: np.zeros(len(truth.people), bool) for unit in masks}, clean, clean_score)
    print(f"{'':28s} {'swapped':>8s} {'repaired':>9s} {'right':>8s} {'falsely':>8s} {'in clean':>9s}")
    for group in [*(g for g in groups if g != "all"), "all"]:
        a, b = groups.get(group, (Score(), Score()))
        print(f"{group:28s} {a.swapped:8d} {a.recall:9.2%} {a.right:8d} {a.false:8.3%} {b.false:9.3%}")
    print(f"{1000 * spent / max(frames, 1):.2f} ms per frame and person\n")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--noise", type=float, default=0.006)
    parser.add_argument("--motion", type=Path, default=ROOT.parent / "shared" / "data" / "motion")
    options = parser.parse_args()
    print(f"synthetic, noise {options.noise} body heights")
    measure(synthetic(options.seeds, options.noise))
    if options.motion.is_dir():
        print(f"real motion, noise {options.noise} body heights")
        measure(real(options.motion, options.noise))


if __name__ == "__main__":
    main()
