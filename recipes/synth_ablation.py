"""What is each ingredient of the synthetic people worth? The same small network trained with everything, and without each in turn.

    python recipes/synth_ablation.py --out runs/ablation [--photographs photographs.local.txt] [--people 3000] [--crops 24000] [--seeds 1]

Every arm: `--people` people of its own (those of one seed), a small MapPose on crops of 96x128 from nothing, the same steps. Measured
on held-out people made with everything, and on the persons of ../shared (their true boxes, moved a little in 16 ways, as 12 persons are
few). Results go to OUT/ablation.json; a stopped run goes on with the next arm.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vitruvian.codecs.crop import BoxTransform, warp_crops
from vitruvian.formats.coco import read_wholebody_annotations
from vitruvian.media import read_image
from vitruvian.metrics.keypoints import oks
from vitruvian.skeletons import COCO_17
from vitruvian.synth.generate import generate
from vitruvian.synth.look import Look
from vitruvian.synth.scene import Studio, pose_crop
from vitruvian.systems.pose2d.mappose import Config, MapPose
from vitruvian.train import defaults
from vitruvian.train.feed import Endless, batches, collate_pose
from vitruvian.train.loop import Schedule, train

sys.path.insert(0, str(Path(__file__).parent))
from kept import kept  # noqa: E402

SHARED = Path(__file__).parents[2] / "shared" / "data" / "images" / "coco"
INGREDIENTS = ("", "clothes", "hair", "lights", "perspective", "occluders", "crowds")
STORED = ("", "clothes", "hair", "perspective")  # decided when bodies are drawn; the others at each use
SIZE = (96, 128)
NETWORK = Config(0.25, 0.167, context=128, middle=64, fine=48, input_size=SIZE)
MOVES = 16


def draw_crop(rng: np.random.Generator, studio: Studio) -> tuple[np.ndarray, np.ndarray]:
    """A crop and its keypoints."""
    return pose_crop(rng, studio, SIZE)


class Lacking(Endless):
    """Crops made without some ingredients that are decided at each use."""

    def __init__(self, look: Look, *arguments, **options):
        super().__init__(lambda rng, studio: draw_crop(rng, replace(studio, store=replace(studio.store, look=look))), *arguments, **options)


def real_oks(model: MapPose) -> float:
    """Mean body OKS on the persons of ../shared with at least five labelled body points."""
    truth = read_wholebody_annotations(SHARED / "wholebody.json")
    chosen = np.flatnonzero((truth.keypoints[:, :17, 2] > 0).sum(1) >= 5)
    rng, values = np.random.default_rng(0), []
    for row in chosen:
        image, box = read_image(SHARED / truth.files[row]), truth.boxes[row]
        extent = np.tile(box[2:] - box[:2], 2)
        boxes = box + rng.normal(0, 0.03, (MOVES, 4)) * extent
        transform = BoxTransform.from_boxes(boxes, SIZE)
        crops = np.empty((MOVES, SIZE[1], SIZE[0], 3), np.uint8)
        warp_crops(image, transform.matrices, SIZE, out=crops)
        found, _ = defaults.predict(model, torch.from_numpy(crops).permute(0, 3, 1, 2))
        places = transform.to_image(found[:, :17])
        points = np.broadcast_to(truth.keypoints[row, :17], (MOVES, 17, 3))
        values.append(oks(places, points[..., :2], points[..., 2] > 0, np.full(MOVES, truth.areas[row]), COCO_17.sigmas).mean())
    return float(np.mean(values))


def figures(without: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Body OKS on held-out people made with everything, the same of real persons."""
    torch.manual_seed(seed)
    whole, look = options.out / "people", Look().without([without] if without else [])
    store = options.out / f"people-{without}" if without in STORED and without else whole
    for folder, of in ((whole, Look()), (store, look if store != whole else Look())):
        list(generate(folder, options.people, 3, processes=1, look=of))
    photographs = options.photographs.read_text().splitlines() if options.photographs else []
    stream = batches(Lacking(look, store, photographs, seed), collate_pose, 64, 0)
    network = MapPose(NETWORK).to(memory_format=torch.channels_last)
    schedule = Schedule(steps=options.crops // 64, learning_rate=2e-3, warmup=60, ema=60, save_every=100)
    run = options.out / f"run-{without or 'everything'}-{seed}"
    model = train(network, stream, defaults.pose_loss, schedule, run)
    held_out = itertools.islice(batches(Endless(draw_crop, whole, photographs, 7, held_out=True), collate_pose, 64, 0), 8)
    return [defaults.pose_error(model, list(held_out))["body_oks"], real_oks(model)]


def main() -> None:
    """Work through the arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--crops", type=int, default=24000)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed, without in itertools.product(range(options.seeds), INGREDIENTS):
        synthetic, real = kept(options.out / "ablation.json", f"{without or 'everything'} {seed}", lambda: figures(without, seed, options))  # noqa: B023
        print(f"without {without or 'nothing':<12} seed {seed}: body OKS held-out synthetic {synthetic:.3f}, real {real:.3f}", flush=True)


if __name__ == "__main__":
    main()
