"""JointBDOE's claim in small: which way people face, in one pass with the detector, or from a crop of each who was found.

    vitruvian synth people -n 24000 --seed 1
    OMP_NUM_THREADS=1 nice python recipes/bpjdet_headings.py ARM --store people --pose runs/wholebody-s/last.pt --out runs/bpjdet_headings

Arms, each with one command, resumable; results are printed and appended to OUT/results.jsonl:

| arm | what |
|---|---|
| crops | train a classifier of 72 directions on crops of people, of boxes a little off the true ones |
| facing | train bodies with orientation (`systems.detection.jointbdoe`, the vector head, every answer taught) |
| plain | the same with the published scalar head, its loss that is not circular, and its gate |
| measure | all that are trained, and who always says "towards the camera", on the same pictures, in degrees and milliseconds |

`crops` begins with the backbone of the project's pose network (`--pose`: a checkpoint of its training), whose last two stages learn from a
fifth of the time on. The joint arms begin with the backbone of `crops` where that is there, with the pose network's otherwise (published
networks begin with one that knows COCO); what follows is drawn at random. From scratch, networks of this size learn nothing of headings
in minutes of a core (bpjdet_small.md). Pictures are 192 x 160 and have few people.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from bpjdet_scenes import DENSITIES, SIZE, Scenes, batches, candidates_of, jitter, parser_of, prepare, tell, tensor
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.codecs.orientation import Facing, find_facing
from vitruvian.metrics.orientation import Facings, OrientationScores, orientation_scores
from vitruvian.nn.cspnext import CSPNeXt
from vitruvian.synth.crowds import Actor, Crowd
from vitruvian.systems.detection import jointbdoe
from vitruvian.train.detectors import facing_targets
from vitruvian.train.loop import Progress, Schedule, train
from vitruvian.train.scenes import LEAST_VISIBLE

ARMS = "crops", "facing", "plain"
WIDTH, DEPTH, TRUNK_DEPTH = 0.375, 0.33, 0.167  # of the neck, and of the pose network's backbone
ANGLE = 5.0  # times the published weight of the angle's loss: most of the network knows people already
PICTURES = 40  # for each number of people
BINS, CROP, CROPS, NEW_CROPS = 72, (96, 128), 32, 16  # directions; width and height of a crop; crops of a batch, and never seen ones
PEOPLE = 6000, 500  # painted to train on, and to judge on
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class PoseTrunk(nn.Module):
    """The backbone of the pose network, for pictures in [0, 1]. Its statistics stay, and its first half; `frozen`: all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = CSPNeXt(WIDTH, TRUNK_DEPTH).requires_grad_(False)
        self.channels = self.net.channels
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None] / 255)
        self.register_buffer("std", torch.tensor(STD)[:, None, None] / 255)

    def free(self) -> None:
        """From now on the last two stages learn."""
        self.net.stage3.requires_grad_(True)
        self.net.stage4.requires_grad_(True)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        self.net.eval()
        return self.net((image - self.mean) / self.std)


class CropClassifier(nn.Module):
    """A crop of a person (b, 3, h, w) -> 72 scores: a backbone, and a layer on its last map. size: (width, height) of the crop."""

    def __init__(self, backbone: nn.Module, size: tuple[int, int] = CROP, stride: int = 32):
        super().__init__()
        self.backbone, self.size = backbone, size
        self.head = nn.Linear(self.backbone.channels[-1] * (size[0] // stride) * (size[1] // stride), BINS)

    def forward(self, crops: Tensor) -> Tensor:
        """Scores of the bins 0, 5, ... degrees."""
        return self.head(self.backbone(crops)[-1].flatten(1))


def build(arm: str) -> nn.Module:
    """The network of an arm, at random."""
    if arm == "crops":
        return CropClassifier(PoseTrunk())
    # The neck is made for maps of the same channels.
    model = jointbdoe.network(jointbdoe.Config(WIDTH, DEPTH, "fraction" if arm == "plain" else "vector", SIZE, levels=3))
    model.backbone = PoseTrunk()
    return model


def trained(build: Callable[[str], nn.Module], out: Path) -> dict[str, tuple[nn.Module, int]]:
    """The averaged networks of the runs that are there, and the steps that they were trained."""
    found = {}
    for arm in ARMS:
        if (out / arm / "last.pt").exists():
            state = torch.load(out / arm / "last.pt", weights_only=True)
            model = build(arm)
            model.load_state_dict(state["averaged"])
            found[arm] = model.eval(), state["step"]
    return found


def crop(image: np.ndarray, box: np.ndarray, pixels: tuple[int, int] = CROP) -> np.ndarray:
    """The person in `box`, with a quarter around, in so many pixels (width, height)."""
    middle, size = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 2)
    zoom = pixels[1] / (1.25 * max(size[1], size[0] * pixels[1] / pixels[0]))
    matrix = np.column_stack([np.diag([zoom, zoom]), np.array(pixels) / 2 - zoom * middle])
    return cv2.warpAffine(image, matrix, pixels, borderValue=(114, 114, 114))


def crop_batches(scenes: Scenes, draw: Callable[[Scenes], Crowd], pixels: tuple[int, int] = CROP) -> Iterator[list]:
    """[crops of true, jittered boxes; radians] without end: each seen twice or so, mirrored half of the time."""
    recent: list[tuple[np.ndarray, float]] = []
    while True:
        fresh: list[tuple[np.ndarray, float]] = []
        while len(fresh) < (NEW_CROPS if recent else CROPS):
            crowd = draw(scenes)
            image = jitter(scenes.rng, crowd.image)
            for row in np.flatnonzero(crowd.visible >= LEAST_VISIBLE):
                size = np.tile(crowd.bodies[row, 2:] - crowd.bodies[row, :2], 2)
                box = crowd.bodies[row] + scenes.rng.normal(0, 0.05, 4) * size
                fresh.append((crop(image, box, pixels), crowd.headings[row]))
        recent = [*recent, *fresh][-512:]
        known = [recent[scenes.rng.integers(len(recent))] for _ in range(max(0, CROPS - len(fresh)))]
        turned = [(a[:, ::-1], -angle) if scenes.rng.random() < 0.5 else (a, angle) for a, angle in [*fresh, *known]]
        yield [tensor([a for a, _ in turned]), torch.tensor([angle for _, angle in turned])]


def crop_loss(model: nn.Module, batch: list) -> dict[str, Tensor]:
    """Cross-entropy against a bump of 2 bins around the true direction, as MEBOW's."""
    angles = torch.arange(BINS) * (2 * math.pi / BINS)
    away = torch.rad2deg(torch.acos(torch.cos(angles - batch[1][:, None]).clamp(-1, 1)))
    wanted = torch.softmax(-0.5 * (away / 10) ** 2, 1)
    return {"total": -(wanted * model(batch[0]).log_softmax(1)).sum(1).mean()}


def joint_loss(model: nn.Module, batch: list, arm: str) -> dict[str, Tensor]:
    """Of the joint networks, their angle counting more."""
    kind, gate = ("published", jointbdoe.GATE) if arm == "plain" else ("wrapped", -math.inf)
    parts = jointbdoe.loss(model, model(batch[0]), batch[1], kind, "mean", gate)
    return parts | {"total": parts["total"] + (ANGLE - 1) * parts["angle"]}


def few(scenes: Scenes, progress: Progress) -> Crowd:
    """A picture of up to four people side by side, in the last three tenths of the run of up to six, half of them close together.

    Who hides behind others tells little of where they face: in crowds, small networks learn to say what is most frequent.
    """
    if progress.fraction < 0.7:
        return scenes.crowd(int(scenes.rng.integers(1, 5)), apart=True)
    return scenes.crowd(int(scenes.rng.integers(1, 7)), apart=bool(scenes.rng.random() < 0.5))


def alike(scenes: Scenes) -> list[Actor]:
    """The people so many times each that all octants of headings are as frequent: most of the store's face the camera."""
    octant = np.round(np.array([actor.heading for actor in scenes.actors]) / (np.pi / 4)).astype(int) % 8
    weight = 1 / np.bincount(octant, minlength=8)[octant]
    return [scenes.actors[row] for row in scenes.rng.choice(len(octant), 4 * len(octant), p=weight / weight.sum())]


def train_arm(arm: str, out: Path, seconds: float, pose: Path) -> None:
    """Train an arm, or go on: OUT/ARM-first with the backbone as it is, then OUT/ARM, all of it."""
    torch.manual_seed(0)
    scenes, model, progress = Scenes(out / "train.npz", int(time.time()) % 10_000), build(arm), Progress()
    scenes.actors = alike(scenes)
    begin = out / "crops" / "last.pt"
    prefix, file = ("backbone.net.", begin) if arm != "crops" and begin.exists() else ("backbone.", pose)
    known = torch.load(file, weights_only=True)["averaged"]
    model.backbone.net.load_state_dict({n.removeprefix(prefix): value for n, value in known.items() if n.startswith(prefix)})
    loss = crop_loss if arm == "crops" else partial(joint_loss, arm=arm)

    def learn(folder: Path, share: float, rate: float, draw: Callable[[Scenes], Crowd]) -> nn.Module:
        schedule = Schedule(10**6, share * seconds, rate, warmup=50, ema=200, report_every=25, save_every=100, flat=0.5, muon=True)
        feed = crop_batches(scenes, draw) if arm == "crops" else batches(scenes, facing_targets, jointbdoe.mirrored, draw)
        return train(model, feed, loss, schedule, folder, progress=progress)

    begun = learn(out / f"{arm}-first", 0.2, 2e-3, partial(few, progress=Progress()))
    model.load_state_dict(begun.state_dict())
    model.backbone.free()
    learn(out / arm, 0.8, 1e-3, partial(few, progress=progress))


def measure(
    networks: dict[str, tuple[nn.Module, int]],
    scenes_of: Callable[[int], Scenes],
    densities: Sequence[int] = (1, *DENSITIES),
    pictures: int = PICTURES,
) -> list[dict]:
    """Joint networks, and the classifier on crops of the joint network's boxes, on the same pictures; scenes_of: by a seed."""
    results = []
    everything: dict[str, tuple[list[Facings], list[Facings]]] = {}
    for density in densities:
        scenes = scenes_of(3 + density)
        crowds = [scenes.crowd(density) for _ in range(pictures)]
        truth = [Facings(c.bodies[seen], c.headings[seen]) for c in crowds for seen in [c.visible >= LEAST_VISIBLE]]
        said = {}
        for arm in networks:
            said[arm], milliseconds = zip(*(find_angles(networks, arm, c.image) for c in crowds), strict=True)
            row = {"arm": arm, "steps": networks[arm][1], "people": density, "ms": round(float(np.median(milliseconds)), 2)}
            results.append(row | figures_of(orientation_scores(truth, said[arm], one_to_one=True, least_score=0.3)))
        constant = [Facings(f.boxes, np.full(len(f.boxes), math.pi), f.scores) for f in next(iter(said.values()))]
        said["towards the camera"] = constant
        row = {"arm": "towards the camera", "people": density}
        results.append(row | figures_of(orientation_scores(truth, constant, one_to_one=True, least_score=0.3)))
        for arm, found in said.items():
            everything.setdefault(arm, ([], []))[0].extend(truth)
            everything[arm][1].extend(found)
    for arm, (truth, found) in everything.items():
        scores = orientation_scores(truth, found, one_to_one=True, least_score=0.3)
        published = orientation_scores(truth, found)
        octants = [round(float(x), 1) for x in scores.mae_by_octant]
        known = {"mae_by_octant": octants, "mae, octants alike": round(float(np.mean(octants)), 1)}
        results.append({"arm": arm, "people": "all", **figures_of(scores), **known, "published protocol": figures_of(published)})
    return results


def figures_of(scores: OrientationScores) -> dict:
    """What is kept of the scores."""
    values = asdict(scores)
    return {
        "persons": values["people"],
        "matched": values["matched"],
        "mae": round(values["mae"], 2),
        **{f"acc-{limit:g}": round(values["accuracy"][limit], 4) for limit in (5.0, 15.0, 30.0)},
        "acc-30 of all": round(values["of_all"][30.0], 4),
    }


def find_angles(networks: dict, arm: str, image: np.ndarray) -> tuple[Facings, float]:
    """The people of a picture by one arm, and the milliseconds that it took."""
    start = time.perf_counter()
    joint = networks["plain" if arm == "plain" else "facing"][0]
    size = image.shape[1], image.shape[0]
    found: Facing = find_facing(candidates_of(jointbdoe.Deployed(joint).eval(), image), size, size, 0.05, 0.6)
    angles = found.angles
    if arm == "crops" and len(found):
        people = found.people.boxes[found.people.scores >= 0.3]
        with torch.inference_mode():
            second = networks["crops"][0]
            scores = second(tensor([crop(image, box, second.size) for box in people])) if len(people) else torch.zeros(0, BINS)
        angles = np.concatenate([scores.argmax(1).numpy() * (2 * math.pi / BINS), np.zeros(len(found) - len(people))])
    return Facings(found.people.boxes, angles, found.people.scores), 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = parser_of(__doc__, (*ARMS, "measure"), "runs/bpjdet_headings")
    parser.add_argument("--pose", type=Path, default=Path("runs/wholebody-s/last.pt"))
    parser.add_argument("--seconds", type=float, default=1200, help="of training, over all resumes")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    prepare(chosen.store, chosen.out, *PEOPLE)
    if chosen.arm == "measure":
        tell(measure(trained(build, chosen.out), lambda seed: Scenes(chosen.out / "test.npz", seed)), chosen.out)
    else:
        train_arm(chosen.arm, chosen.out, chosen.seconds, chosen.pose)


if __name__ == "__main__":
    main()
