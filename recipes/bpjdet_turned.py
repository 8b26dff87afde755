"""JointBDOE's claim in small as the card asks for it (jointbdoe.md section 8): ellipses whose shading tells which way they are turned.

    OMP_NUM_THREADS=1 nice python recipes/bpjdet_turned.py ARM --out runs/bpjdet_turned

| arm | what |
|---|---|
| facing | figures with their heading in one pass, from scratch: the vector head |
| plain | the same with the published scalar head and its loss, which is not circular: 355 and 5 degrees are 350 apart |
| crops | a small network on crops of 48 x 48 pixels of each figure, of boxes a little off the true ones |
| measure | all three on the same pictures of 1 to 8 figures, in degrees (by octant too: the first is where angles wrap) and milliseconds |

All with the same number of steps. Painted people's headings take a pose network's backbone to learn (`bpjdet_headings.py`); these are plain
to see, so that what is compared is the ways to say them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from bpjdet_headings import CropClassifier, crop_batches, crop_loss, find_angles, measure, trained
from bpjdet_scenes import batches, tell
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitruvian.geometry.boxes import iou
from vitruvian.metrics.orientation import angle_difference
from vitruvian.nn.cspnext import ConvBlock
from vitruvian.synth.crowds import TALL, Actor, Crowd, crowd_picture
from vitruvian.systems.detection import jointbdoe
from vitruvian.train.detectors import facing_targets
from vitruvian.train.loop import Schedule, steps_done, train
from vitruvian.train.scenes import LEAST_VISIBLE

ARMS = "facing", "plain", "crops"
SIZE = (128, 96)
SHARES = (0.2, 0.6)  # of the picture's height: 20 to 60 pixels
FIGURES, PICTURES, MOST = 400, 60, 8
CROP = (48, 48)
ANGLE = 5.0  # times the published weight of the angle's loss


def ellipsoid(heading: float, width: int, inks: Float[np.ndarray, "2 3"]) -> UInt8[np.ndarray, "h w 4"]:
    """A figure seen from the side: bright in front with a mark on the chest, a dark stripe down the back, a lobe of the second colour on
    either side. Left and right are alike, as a person's are: a mirror turns the heading around. RGB is weighted by coverage."""
    y, x = np.mgrid[:TALL, :width]
    down, across = (2 * y + 1) / TALL - 1, (2 * x + 1) / width - 1
    reach = np.sqrt(np.clip(1 - down**2, 1e-6, None))
    # Longitude, counted from the front: heading pi shows its front in the middle, a quarter of a turn on the picture's left.
    around = np.arcsin(np.clip(across / reach, -1, 1)) - (heading - math.pi)
    around = np.abs((around + math.pi) % (2 * math.pi) - math.pi)
    light = 0.55 + 0.2 * np.cos(around)
    light += 0.35 * np.exp(-((around / 0.35) ** 2)) * (down < -0.1) - 0.45 * np.exp(-(((around - math.pi) / 0.3) ** 2))
    lobe = (np.exp(-(((around - math.pi / 2) / 0.35) ** 2)) * (np.abs(down) < 0.4))[..., None]
    colour = np.clip(light[..., None] * (inks[0] * (1 - lobe) + inks[1] * lobe), 0, 255)
    cover = np.clip((1 - np.hypot(across, down)) * width / 4, 0, 1)[..., None]
    return np.concatenate([colour * cover, 255 * cover], 2).astype(np.uint8)


def turned(rng: np.random.Generator) -> Actor:
    """An ellipsoid of any heading, width and colours."""
    heading, width = rng.uniform(0, 2 * math.pi), round(TALL * rng.uniform(0.4, 0.6))
    image = ellipsoid(heading, width, rng.integers(60, 256, (2, 3)).astype(float))
    return Actor(image, np.array([0.0, 0.0, width, TALL]), np.full((6, 4), np.nan), heading)


class Drawn:
    """Pictures of turned figures before blurred colours, without end."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.actors = [turned(self.rng) for _ in range(FIGURES)]

    def crowd(self, count: int) -> Crowd:
        """A picture of so many, half of the time side by side."""
        colours = self.rng.integers(40, 220, (4, 5, 3), np.uint8)
        backdrop = cv2.resize(colours, SIZE, interpolation=cv2.INTER_CUBIC)
        return crowd_picture(self.rng, self.actors, backdrop, count, SHARES, apart=bool(self.rng.random() < 0.5))


class Small(nn.Module):
    """Crops (b, 3, 48, 48) -> maps of stride 8, 96 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = (24, 48, 96)
        inputs = (3, *self.channels)
        self.layers = nn.Sequential(
            *(nn.Sequential(ConvBlock(i, o, 3, 2), ConvBlock(o, o, 3)) for i, o in zip(inputs, self.channels, strict=False))
        )

    def forward(self, crops: Tensor) -> tuple[Tensor]:
        return (self.layers(crops),)


def build(arm: str) -> nn.Module:
    """The network of an arm, at random."""
    if arm == "crops":
        return CropClassifier(Small(), CROP, 8)
    return jointbdoe.network(jointbdoe.Config(0.125, 0.33, "fraction" if arm == "plain" else "vector", SIZE, levels=3))


def joint_loss(model: nn.Module, batch: list) -> dict[str, Tensor]:
    """Every answer is taught its angle, also those that the published gate leaves out; "published" is without effect on vectors."""
    parts = jointbdoe.loss(model, model(batch[0]), batch[1], "published", "mean", -math.inf)
    return parts | {"total": parts["total"] + (ANGLE - 1) * parts["angle"]}


def any_number(drawn: Drawn) -> Crowd:
    """A picture of up to MOST figures."""
    return drawn.crowd(int(drawn.rng.integers(1, MOST + 1)))


def train_arm(arm: str, out: Path, steps: int) -> None:
    """Train an arm, or go on."""
    torch.manual_seed(0)
    drawn = Drawn(100 + steps_done(out / arm))
    schedule = Schedule(steps, learning_rate=3e-3, warmup=50, ema=150, save_every=100, flat=0.3, muon=True)
    if arm == "crops":
        train(build(arm), crop_batches(drawn, any_number, CROP), crop_loss, schedule, out / arm)
    else:
        train(build(arm), batches(drawn, facing_targets, jointbdoe.mirrored, any_number), joint_loss, schedule, out / arm)


def by_the_wrap(networks: dict[str, tuple[nn.Module, int]]) -> list[dict]:
    """Mean errors in degrees of the two joint networks on figures that both find, within 20 degrees of where the angle wraps and elsewhere.

    They find different figures, so that their other figures are not of the same ones. A figure is found as in the published protocol.
    """
    errors, true = [], []
    for count in range(1, MOST + 1):
        drawn = Drawn(3 + count)
        for crowd in (drawn.crowd(count) for _ in range(PICTURES)):
            found = [find_angles(networks, arm, crowd.image)[0] for arm in ("facing", "plain")]
            overlap = [iou(crowd.bodies.astype(float), one.boxes.astype(float)) for one in found]
            both = (crowd.visible >= LEAST_VISIBLE) & np.all([x.max(1, initial=0.0) > 0.5 for x in overlap], axis=0)
            for row in np.flatnonzero(both):
                said = np.array([one.angles[x[row].argmax()] for one, x in zip(found, overlap, strict=True)])
                errors.append(np.abs(angle_difference(said, np.full(2, crowd.headings[row]))))
                true.append(abs(math.remainder(float(crowd.headings[row]), 2 * math.pi)))
    table, near = np.array(errors), np.array(true) <= math.radians(20)
    means = {name: table[rows].mean(0) for name, rows in (("mae", slice(None)), ("mae near the wrap", near), ("mae elsewhere", ~near))}
    known = {"found by both": len(table), "near the wrap": int(near.sum())}
    return [
        {"arm": arm, **known, **{name: round(float(mean[i]), 1) for name, mean in means.items()}}
        for i, arm in enumerate(("facing", "plain"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=(*ARMS, "measure"))
    parser.add_argument("--out", type=Path, default=Path("runs/bpjdet_turned"))
    parser.add_argument("--steps", type=int, default=1500)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.arm == "measure":
        networks = trained(build, chosen.out)
        tell([*measure(networks, Drawn, range(1, MOST + 1), PICTURES), *by_the_wrap(networks)], chosen.out)
    else:
        train_arm(chosen.arm, chosen.out, chosen.steps)


if __name__ == "__main__":
    main()
