"""FinePOSE's claim in small (card finepose.md, section 8): does a text prompt resolve what 2D keypoints leave open?

    python recipes/finepose_small.py [--seeds 2] [--steps 500] [--ways abcde] [--out FILE]      (extra [torch]; one thread)

Stick people of 17 joints face a pinhole camera for nine frames. In one family ("Greeting") arms and legs reach towards the camera, in the
other ("Posing") away from it, along the same rays, so that the 2D keypoints (with 1 % noise) say nothing about which it is. The nano
denoiser learns (a) with its prompt blanked out, (b) with the learned vectors but no action, (c) with the true word, (d) with random words,
(e) with the true word and a prompt that has no fields for parts of the body and the speed, as many learned vectors instead.
Printed: errors of the eight limb joints that differ, in mm, on clips of both families; mean and range over seeds. "mean": the average of H
guesses; "J-Best": the best guess for each joint, by looking at the truth, which no user can. (c) and (e) are given the true word when
tested, too. What is done is kept in FILE (finepose.json here); a stopped run goes on there. Figures seen: claims_pose3d.md.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from kept import kept

from vitruvian.codecs.lifting import aggregate
from vitruvian.systems.pose3d import finepose
from vitruvian.systems.pose3d.finepose import VARIANTS, FinePose, draw_noise
from vitruvian.systems.pose3d.prompts import Prompt, PromptEncoder

FRAMES, FOCAL, NOISE = 9, 2.2, 0.01  # focal length in half pictures; noise in parts of the picture's half width
ACTIONS = ("Greeting", "Posing")
LIMBS = {"left": (11, 12, 13, 4, 5, 6), "right": (14, 15, 16, 1, 2, 3)}
OPEN = np.array([12, 13, 15, 16, 2, 3, 5, 6])  # elbows, wrists, knees, feet
WAYS = {"a: no prompt": None, "b: no action": "none", "c: true word": "true", "d: random words": "random", "e: word, no parts": "no parts"}


class Blank(FinePose):
    """A network whose prompt says nothing."""

    def prompt(self, texts):
        return Prompt(*(torch.zeros_like(x) for x in super().prompt(texts)))


def limb(rng: np.random.Generator, n: int, sideways: float, upper: float, lower: float) -> tuple[np.ndarray, np.ndarray]:
    """Two bones that swing: (n, FRAMES, 3) each, reaching towards the camera (z < 0), y down, x to `sideways`."""
    steps = np.linspace(0, 1, FRAMES)[None]
    swing = lambda low, high: rng.uniform(low, high, (n, 1)) * (1 - steps) + rng.uniform(low, high, (n, 1)) * steps  # noqa: E731
    out = []
    reach, aside = swing(0.5, 1.3), swing(0.0, 0.5)
    for length in (upper, lower):
        direction = np.stack((sideways * np.sin(aside), np.cos(aside) * np.cos(reach), -np.cos(aside) * np.sin(reach)), -1)
        out.append(length * direction)
        reach = np.clip(reach + swing(-0.1, 0.5), 0.2, 1.5)
    return out[0], out[1]


def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keypoints (n, FRAMES, 17, 2), and the poses around the root of both families (n, FRAMES, 17, 3), metres, camera axes."""
    points = np.zeros((n, FRAMES, 17, 3))
    size = rng.uniform(0.85, 1.15, (n, 1, 1))
    lean = rng.normal(0, 0.08, (n, 1, 2))
    for joint, height in ((7, 0.25), (8, 0.5), (9, 0.6), (10, 0.72)):
        points[:, :, joint] = size * height * np.array([0, -1.0, 0])
        points[:, :, joint, [0, 2]] += height * lean
    for side, sign in (("left", 1), ("right", -1)):
        shoulder, elbow, wrist, hip, knee, foot = LIMBS[side]
        points[:, :, shoulder] = points[:, :, 8] + size * sign * np.array([0.18, 0, 0])
        points[:, :, hip] = size * sign * np.array([0.12, 0, 0])
        for start, middle, end, bones in ((shoulder, elbow, wrist, (0.28, 0.25)), (hip, knee, foot, (0.43, 0.42))):
            first, second = limb(rng, n, sign, *bones)
            points[:, :, middle] = points[:, :, start] + size * first
            points[:, :, end] = points[:, :, middle] + size * second
    root = np.stack((rng.uniform(-0.6, 0.6, n), rng.uniform(-0.3, 0.3, n), rng.uniform(3.5, 5, n)), -1)[:, None, None]
    near = points + root
    far = near.copy()
    depth = near[:, :, OPEN, 2:]
    far[:, :, OPEN] *= (2 * root[..., 2:] - depth) / depth  # the same ray, as far behind the root as it was before it
    keypoints = FOCAL * near[..., :2] / near[..., 2:]
    return keypoints + NOISE * rng.normal(size=keypoints.shape), near - root, far - root


def batch_of(rng: np.random.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Clips of both families, n / 2 each, with their words."""
    keypoints, near, far = draw(rng, n)
    which = np.arange(n) % 2
    points = np.where(which[:, None, None, None] == 0, near, far)
    return *(torch.from_numpy(x).float() for x in (keypoints, points)), [ACTIONS[i] for i in which]


def told(way: str | None, words: list[str], rng: np.random.Generator) -> list[str | None]:
    """The texts that a network is given for clips of `words`."""
    if way == "random":
        return [ACTIONS[i] for i in rng.integers(0, 2, len(words))]
    return words if way in ("true", "no parts") else [None] * len(words)


def make(way: str | None) -> FinePose:
    """The network of one kind, untrained."""
    model = (Blank if way is None else FinePose)(VARIANTS["nano"])
    if way == "no parts":
        config = model.config
        model.prompts = PromptEncoder(config.width, {"subject": 20, "verb": 49}, config.tower, config.encoder, config.encoder_hidden)
    return model


def train(way: str | None, seed: int, steps: int, batch: int = 16) -> FinePose:
    """One network of one kind; checks once that the learned vectors of the prompt get a gradient."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = make(way).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
        keypoints, points, words = batch_of(rng, batch)
        optimiser.zero_grad()
        finepose.loss(model, keypoints, points, told(way, words, rng)).backward()
        optimiser.step()
    if way is not None and not all(p.grad.abs().sum() > 0 for p in model.prompts.contexts.values()):
        raise SystemExit("a learned vector of the prompt got no gradient")
    return model.eval()


def test(model: FinePose, way: str | None, hypotheses: int = 20, few: int = 5, steps: int = 5, n: int = 48) -> tuple[float, ...]:
    """Errors of the joints that differ, mm: mean and J-Best of `few` guesses, J-Best of all."""
    rng = np.random.default_rng(10_000)
    keypoints, points, words = batch_of(rng, n)
    noise = draw_noise(model.config, n, FRAMES, hypotheses, steps, seed=3)
    with torch.inference_mode():
        prompt = model.prompt(told(way, words, rng))
        guesses = model.sample(keypoints, prompt, noise, flip=False, chunk=4)[:, -1].numpy()
    truth = points.numpy()
    answers = (aggregate(guesses[:, :few]), *(aggregate(guesses[:, :h], "joint-best", truth=truth) for h in (few, hypotheses)))
    return tuple(1000 * float(np.linalg.norm(found - truth, axis=-1)[..., OPEN].mean()) for found in answers)


def main() -> None:
    """Train, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--ways", default="abcde", help="which of the five to train")
    parser.add_argument("--out", type=Path, default=Path("finepose.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    ways = {name: way for name, way in WAYS.items() if name[0] in options.ways}
    table: dict[str, list[list[float]]] = {name: [] for name in ways}
    for seed in range(options.seeds):
        for name, way in ways.items():
            key = f"{options.steps} steps: {name} #{seed}"
            table[name].append(kept(options.out, key, lambda way=way, seed=seed: test(train(way, seed, options.steps), way)))
            print(key, np.round(table[name][-1]), flush=True)
    print(f"{'':<18}{'mean, H=5':>22}{'J-Best, H=5':>22}{'J-Best, H=20':>22}   mm, mean [range] over {options.seeds} seeds")
    for name, rows in table.items():
        cells = (f"{column.mean():.0f} [{column.min():.0f}, {column.max():.0f}]" for column in np.array(rows).T)
        print(f"{name:<18}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
