"""One training loop for every network: AdamW or Muon, warm-up and cosine, bf16, an averaged copy of the weights, checkpoints and resume.

A run is a folder: `last.pt` (everything needed to go on; replaced atomically), `log.jsonl` (one line per report), and TensorBoard's events
where that is installed. Time limits are in seconds of training, over all resumes, so that a recipe says what it costs. One device per
process; several processes train together as `vitruvian.train.crew` says.
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
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.errors import WeightsError
from vitruvian.train.crew import Crew
from vitruvian.train.muon import Muon
from vitruvian.train.precision import half

logger = logging.getLogger(__name__)
ALONE = Crew()


@dataclass(frozen=True)
class Schedule:
    """How to optimise. The run ends, and the cosine with it, after `steps` or after `seconds` of training, whichever comes first.

    `warmup` is in steps; `ema` is the time constant of the averaged weights in steps; `clip` bounds the gradient's norm. `flat` is the
    share of the run before the cosine starts. `bf16` computes in bfloat16 where that is safe, and faster (`train.precision`); weights
    and sums stay in float32. `muon`
    steps by `vitruvian.train.muon` in place of AdamW.
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
    flat: float = 0.0
    bf16: bool = True
    muon: bool = False

    def fraction(self, step: int, seconds: float) -> float:
        """How much of the run is done, 0 to 1."""
        return min(1.0, max(step / max(self.steps, 1), seconds / self.seconds))

    def rate(self, step: int, seconds: float) -> float:
        """Learning rate: linear warm-up, then a cosine down to `final` times the peak."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = max(0.0, self.fraction(step, seconds) - self.flat) / max(1 - self.flat, 1e-9)
        return self.learning_rate * (self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass
class Progress:
    """How far a run is: moved by the loop, read by losses that fade, and by batches that change towards the end."""

    step: int = 0
    fraction: float = 0.0


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: matrices and kernels decay; biases, norms and other vectors don't."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def _optimiser(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.muon:
        return Muon(model, schedule.learning_rate, schedule.weight_decay)
    return torch.optim.AdamW(parameter_groups(model, schedule.weight_decay), lr=schedule.learning_rate)


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


Loss = Callable[[nn.Module, Any], dict[str, Float[Tensor, ""]]]
Report = dict[str, float]


def train(
    model: nn.Module,
    batches: Iterable,
    loss: Loss,
    schedule: Schedule,
    folder: Path,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    progress: Progress | None = None,
    on_step: Callable[[int, Report], object] = lambda step, report: None,
    crew: Crew = ALONE,
) -> nn.Module:
    """Train `model` and return its averaged copy (eval mode).

    `loss(model, batch)` returns named scalars, among them "total"; tensors of a batch are brought to the model's device. `evaluate` gets
    the averaged model at every save that comes with a report, and after the last step. `progress` is kept up to date. `on_step` gets the
    steps done and the last report; only a crew's leader does all this. Goes on from `folder/last.pt` if there is one; what stops a run
    (Ctrl-C) leaves one of that moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device, progress = next(model.parameters()).device, progress or Progress()
    optimiser = _optimiser(model, schedule)
    crew.start_alike(model)
    averaged = Averaged(model, schedule.ema)
    step, spent = _go_on(folder, model, averaged, optimiser, device)
    model.train()
    sums: dict[str, float] = {}
    started, begun, reported, last = time.monotonic() - spent, step, step, {}
    writer = _events(folder) if crew.leads else None
    try:
        for batch in batches if step < schedule.steps and spent <= schedule.seconds else ():
            spent = crew.agree(time.monotonic() - started)
            if step >= schedule.steps or spent > schedule.seconds:
                break
            progress.step, progress.fraction = step, schedule.fraction(step, spent)
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate(step, spent)
            parts = _learn(model, to_device(batch, device), loss, schedule, optimiser, crew)
            averaged.update(model, step)
            step += 1
            if not crew.leads:
                continue
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
            saved = step % schedule.save_every == 0 or step == schedule.steps
            if step % schedule.report_every == 0 or step == schedule.steps:
                last = {"step": step, "seconds": round(spent), "rate": round(schedule.rate(step, spent), 7)} | {
                    k: round(v / (step - reported), 4) for k, v in sums.items()
                }
                sums, reported = {}, step
                if evaluate is not None and saved:
                    last |= {k: round(v, 4) for k, v in evaluate(averaged.model).items()}
                _report(folder, last, writer)
            on_step(step, last)
            if saved and step < schedule.steps:
                _save(folder, model, averaged, optimiser, step, time.monotonic() - started, schedule)
    except BaseException:  # Ctrl-C above all: what was learnt is not lost
        if step > begun and crew.leads:
            _save(folder, model, averaged, optimiser, step, time.monotonic() - started, schedule)
        raise
    if crew.leads:
        _save(folder, model, averaged, optimiser, step, time.monotonic() - started, schedule)
    return averaged.model


def _learn(
    model: nn.Module, batch: Any, loss: Loss, schedule: Schedule, optimiser: torch.optim.Optimizer, crew: Crew = ALONE
) -> dict[str, float]:
    """One step down the gradient: the losses' parts, and the gradient's norm."""
    with half(next(model.parameters()).device, schedule.bf16):
        parts = loss(model, batch)
    optimiser.zero_grad(set_to_none=True)
    parts["total"].backward()
    crew.average_gradients(model)
    gradient = nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
    optimiser.step()
    return {name: float(value.detach()) for name, value in parts.items()} | {"gradient": float(gradient)}


def steps_done(folder: Path) -> int:
    """How many steps a run in `folder` has behind it; 0 where there is none."""
    file = folder / "last.pt"
    return torch.load(file, map_location="cpu", weights_only=True)["step"] if file.exists() else 0


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors, in lists and tuples too, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(item, device) for item in batch)
    return batch


def _go_on(folder: Path, model: nn.Module, averaged: Averaged, optimiser: torch.optim.Optimizer, device: torch.device) -> tuple[int, float]:
    """Load `last.pt` if there is one: steps done and seconds spent."""
    if not (folder / "last.pt").exists():
        return 0, 0.0
    state = torch.load(folder / "last.pt", map_location=device, weights_only=True)
    try:
        model.load_state_dict(state["model"])
        averaged.model.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError, KeyError) as error:
        message = str(error).splitlines()[0]
        raise WeightsError(f"{folder / 'last.pt'} is of another network ({message}): name another folder, or remove this one") from error
    logger.info("going on from step %d", state["step"])
    return state["step"], state["seconds"]


def _events(folder: Path) -> Any:
    """TensorBoard's writer where it is installed, else None: `log.jsonl` has the same numbers."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _report(folder: Path, report: dict, writer: Any) -> None:
    line = json.dumps(report)
    with open(folder / "log.jsonl", "a") as file:
        file.write(line + "\n")
    if writer is not None:
        for name, value in report.items():
            writer.add_scalar(name, value, report["step"])
        writer.flush()
    logger.info("%s", line)


def _save(folder: Path, model, averaged: Averaged, optimiser, step: int, seconds: float, schedule: Schedule) -> None:
    state = {
        "model": model.state_dict(), "averaged": averaged.model.state_dict(), "optimiser": optimiser.state_dict(),
        "step": step, "seconds": seconds, "schedule": asdict(schedule),
    }  # fmt: skip
    with written_whole(folder / "last.pt") as temporary:  # a killed run never leaves half a checkpoint
        torch.save(state, temporary)
