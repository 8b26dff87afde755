"""Recipes whose arms learn from pictures that are drawn once: the command line, and one line of JSON for each arm."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pool = tuple[Tensor, ...]


def pool_of(draw: Callable[[int, torch.Generator], Pool], count: int, seed: int) -> Pool:
    """What `draw` gives, 50 at a time; the first column, the pictures, as bytes."""
    random, parts = torch.Generator().manual_seed(seed), []
    for _ in range(count // 50):
        pictures, *rest = draw(50, random)
        parts.append(((255 * pictures).byte(), *rest))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def learn(model: nn.Module, pool: Pool, steps: int, loss_of: Callable[..., Tensor], rate: float, batch: int, clip: float) -> None:
    """Steps of AdamW under one cycle, on batches drawn from the pool in an order that is the same for all arms.

    loss_of: of the model, pictures in 0 to 1, and the pool's other columns.
    """
    model.train()
    order = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    for _ in range(steps):
        rows = torch.randint(len(pool[0]), (batch,), generator=order)
        pictures, *truth = (column[rows] for column in pool)
        loss = loss_of(model, pictures.float() / 255, *truth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        schedule.step()
    model.eval()


class FirstLesson(nn.Module):
    """What tokens of a square grid are taught before arms part: which joints each sees, where in its cell, and whose they are.

    Arms whose tokens know nothing of limbs don't learn in minutes to gather them; published networks start from ones that do.
    """

    def __init__(self, width: int, joints: int, grid: int):
        super().__init__()
        self.grid, self.sees = grid, nn.Linear(width, joints)
        self.where, self.whose = nn.Linear(width, 2 * joints), nn.Linear(width, 2)
        nn.init.constant_(self.sees.bias, -4.0)

    def forward(self, tokens: Tensor, points: Tensor, there: Tensor, root: int) -> Tensor:
        """The loss of tokens (b, g g, d), for joints (b, people, k, 2) in cells, of whom the later cover the earlier ones, and who is there
        (b, people): cross-entropy of joints, and how far off, in cells, they and their owner's `root` are said to be."""
        cell = points.floor().long()
        inside = ((cell >= 0) & (cell < self.grid)).all(-1) & there[..., None]
        picture, person, joint = inside.nonzero(as_tuple=True)
        token = cell[picture, person, joint, 1] * self.grid + cell[picture, person, joint, 0]
        aim = torch.zeros(*tokens.shape[:2], points.shape[2])
        aim[picture, token, joint] = 1.0
        owner = torch.full(tokens.shape[:2], -1).index_put_((picture, token), person)  # people come in order: the last is the nearest
        entropy = F.binary_cross_entropy_with_logits(self.sees(tokens), aim, pos_weight=torch.tensor(5.0), reduction="sum")
        said = self.where(tokens[picture, token]).unflatten(-1, (-1, 2))[torch.arange(len(joint)), joint]
        apart = (said + cell[picture, person, joint] + 0.5 - points[picture, person, joint]).abs().mean()
        of, token = (owner >= 0).nonzero(as_tuple=True)
        middle = torch.stack((token % self.grid, token // self.grid), -1) + 0.5
        off = points[of, owner[of, token], root] - middle
        return entropy / max(len(picture), 1) + 5 * apart + (self.whose(tokens[of, token]) - off).abs().mean()


def run_arms(
    description: str | None,
    arms: Sequence[str],
    draw: Callable[[int, torch.Generator], Pool],
    figures_of: Callable[[str, int, Pool, Pool], dict[str, float]],
) -> None:
    """Train and judge the arms that are asked for by `figures_of(arm, steps, pool, test)`; those that the results have are left out."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--arms", nargs="+", choices=arms, default=arms)
    parser.add_argument("--results", type=Path, help="a file of JSON lines; arms that it has are left out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = options.results.read_text().splitlines() if options.results and options.results.exists() else []
    there = {json.loads(line)["arm"] for line in known}
    pool, test = pool_of(draw, options.pictures, 1), pool_of(draw, 500, 2)
    for arm in options.arms:
        if arm in there:
            continue
        begun = time.process_time()
        figures = figures_of(arm, options.steps, pool, test)
        line = json.dumps({"arm": arm, "steps": options.steps, **figures, "cpu": round(time.process_time() - begun)})
        print(line, flush=True)
        if options.results:
            with options.results.open("a") as file:
                file.write(line + "\n")
