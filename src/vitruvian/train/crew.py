"""Several processes that train one network, one per GPU:

    torchrun --nproc-per-node 4 -m vitruvian train RECIPE

Each draws batches of its own, and gradients are averaged over all of them, so that a step sees as many times the batch. The first process
leads: it alone reports, judges and saves; running means of batch normalisation are its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from vitruvian.errors import VitruvianError

_PATIENCE = timedelta(hours=2)  # that the others wait for the leader, who makes people and judges


@dataclass(frozen=True)
class Crew:
    """This process among `size`. Alone, nothing has to be shared."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process reports and saves."""
        return self.rank == 0

    def agree(self, value: float = 0.0) -> float:
        """The leader's value, in all processes; they wait for each other here."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=_device())
        dist.broadcast(told, 0)
        return float(told)

    @torch.no_grad()
    def start_alike(self, model: nn.Module) -> None:
        """Give all processes the leader's weights."""
        for value in (*model.parameters(), *model.buffers()) if self.size > 1 else ():
            dist.broadcast(value.data, 0)

    @torch.no_grad()
    def average_gradients(self, model: nn.Module) -> None:
        """Replace each gradient by its mean over all processes; one message for all."""
        if self.size == 1:
            return
        learning = [p for p in model.parameters() if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        dist.all_reduce(flat)
        flat /= self.size
        for p, part in zip(learning, flat.split([p.numel() for p in learning]), strict=True):
            p.grad = part.view_as(p)


def join(device: str) -> tuple[Crew, str]:
    """The crew that torchrun has started this process in, and the device that is its own ("cuda:1"); alone without torchrun.

    Raises VitruvianError where there are fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Crew(), device
    own = int(os.environ["LOCAL_RANK"])
    if device == "cuda":
        if own >= torch.cuda.device_count():
            raise VitruvianError(f"{own + 1} processes for {torch.cuda.device_count()} GPUs: give torchrun a smaller --nproc-per-node")
        torch.cuda.set_device(own)
        device = f"cuda:{own}"
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
    return Crew(dist.get_rank(), size), device


def leave() -> None:
    """End what `join` began."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
