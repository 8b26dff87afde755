"""One training loop for every network: AdamW, warm-up and cosine, bf16, an averaged copy of the weights, checkpoints and resume.

A run is a folder: `last.pt` (everything needed to go on; replaced atomically), `log.jsonl` (one line per report). Time limits are
in seconds of training, over all resumes, so that a recipe says what it costs.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .._files import written_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How to optimise. The run ends, and the cosine with it, after `steps` or after `seconds` of training, whichever comes first.

    `warmup` is in steps; `ema` is the time constant of the averaged weights in steps; `clip` bounds the gradient's norm.
    """

    steps: int
    seconds: float = math.inf
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 300
    final: float = 0.02
    clip: float = 5.0
    ema: float = 600.0
    report_every: int = 50
    save_every: int = 400

    def rate(self, step: int, seconds: float) -> float:
        """Learning rate: linear warm-up, then a cosine down to `final` times the peak."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = min(1.0, max(step / self.steps, seconds / self.seconds))
        return self.learning_rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress)))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: matrices and kernels decay; biases, norms and other vectors don't."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


class Averaged:
    """An exponential moving average of weights and buffers, shorter at the start so that it never lags behind an untrained network."""

    def __init__(self, model: nn.Module, constant: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.constant = constant

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        keep = min(1 - 1 / self.constant, (1 + step) / (10 + step))
        source = model.state_dict()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                value.lerp_(source[name], 1 - keep)
            else:
                value.copy_(source[name])


def train(
    model: nn.Module,
    batches: Iterable,
    loss: Callable[[nn.Module, object], dict[str, Float[Tensor, ""]]],
    schedule: Schedule,
    folder: Path,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> nn.Module:
    """Train `model` and return its averaged copy (eval mode).

    `loss(model, batch)` returns named scalars, among them "total". `evaluate` gets the averaged model at every save. Goes on from
    `folder/last.pt` if there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device
    optimiser = torch.optim.AdamW(parameter_groups(model, schedule.weight_decay), lr=schedule.learning_rate)
    averaged = Averaged(model, schedule.ema)
    step, spent = 0, 0.0
    if (folder / "last.pt").exists():
        state = torch.load(folder / "last.pt", map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        averaged.model.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["seconds"]
        logger.info("going on from step %d", step)
    model.train()
    sums: dict[str, float] = {}
    started, reported = time.monotonic() - spent, step
    for batch in batches:
        spent = time.monotonic() - started
        if step >= schedule.steps or spent > schedule.seconds:
            break
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step, spent)
        with torch.autocast(device.type, torch.bfloat16):
            parts = loss(model, batch)
        optimiser.zero_grad(set_to_none=True)
        parts["total"].backward()
        parts["gradient"] = nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimiser.step()
        averaged.update(model, step)
        step += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if step % schedule.report_every == 0:
            report = {"step": step, "seconds": round(spent), "rate": round(schedule.rate(step, spent), 7)} | {
                k: round(v / (step - reported), 4) for k, v in sums.items()
            }
            sums, reported = {}, step
            if evaluate is not None and step % schedule.save_every == 0:
                report |= {k: round(v, 4) for k, v in evaluate(averaged.model).items()}
            _report(folder, report)
        if step % schedule.save_every == 0:
            _save(folder, model, averaged, optimiser, step, time.monotonic() - started, schedule)
    _save(folder, model, averaged, optimiser, step, time.monotonic() - started, schedule)
    return averaged.model


def _report(folder: Path, report: dict) -> None:
    line = json.dumps(report)
    with open(folder / "log.jsonl", "a") as file:
        file.write(line + "\n")
    logger.info("%s", line)


def _save(folder: Path, model, averaged: Averaged, optimiser, step: int, seconds: float, schedule: Schedule) -> None:
    state = {
        "model": model.state_dict(), "averaged": averaged.model.state_dict(), "optimiser": optimiser.state_dict(),
        "step": step, "seconds": seconds, "schedule": asdict(schedule),
    }  # fmt: skip
    with written_whole(folder / "last.pt") as temporary:  # a killed run never leaves half a checkpoint
        torch.save(state, temporary)
