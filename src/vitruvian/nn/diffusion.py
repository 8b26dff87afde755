"""Gaussian diffusion with a network that guesses the clean signal: the cosine schedule, noising, and the steps of DDIM.

Time runs from 0 (one step of noise) to T - 1 (almost nothing but noise). What is left of the signal's energy at time t is
`alphas_cumprod[t]`; the signal itself has time -1.

    cosine schedule                            Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17, betas cut at 0.999
    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise  noised
    DDIM with eta                              Song et al. 2021, arXiv 2010.02502, eq. 12, 16: ddim_step, ddim_times
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

OFFSET, MAX_BETA = 0.008, 0.999  # of the schedule


def cosine_schedule(times: int) -> Float[Tensor, " times"]:
    """What is left of the signal's energy at the times 0 to `times` - 1, in float64: falls from almost 1 to almost 0."""
    angle = (torch.arange(times + 1, dtype=torch.float64) / times + OFFSET) / (1 + OFFSET) * math.pi / 2
    energy = angle.cos().square()
    return (1 - (1 - energy[1:] / energy[:-1]).clamp(max=MAX_BETA)).cumprod(0)


def embed_time(time: Float[Tensor, " b"] | Int[Tensor, " b"], length: int) -> Float[Tensor, "b length"]:
    """Sines, then cosines, of t at `length` / 2 frequencies from 1 down to 1 / 10000, both included."""
    half = length // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half, device=time.device) / max(half - 1, 1))
    angles = time[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), 1)


def noised(clean: Float[Tensor, b * n], energy: Float[Tensor, " b"], noise: Float[Tensor, b * n]) -> Float[Tensor, b * n]:
    """x_t from x_0, where `energy` is left of each sample's signal."""
    energy = energy.view(-1, *(1,) * (clean.ndim - 1))
    return (energy.sqrt() * clean + (1 - energy).sqrt() * noise).to(clean.dtype)


def ddim_times(times: int, steps: int) -> list[int]:
    """The `steps` + 1 times from `times` - 1 down to -1, spread evenly and cut to whole numbers."""
    # As torch.linspace rounds in float32, from both ends to the middle; in numpy, because exporters trace what torch does.
    width, ends = np.float32(times) / np.float32(steps), (np.float32(-1), np.float32(times - 1))
    half = (steps + 1) // 2
    return [int(ends[0] + width * np.float32(i) if i < half else ends[1] - width * np.float32(steps - i)) for i in range(steps, -1, -1)]


def ddim_step(
    x: Float[Tensor, "*n"],
    clean: Float[Tensor, "*n"],
    now: float,
    then: float,
    noise: Float[Tensor, "*n"],
    eta: float = 1.0,
) -> Float[Tensor, "*n"]:
    """One step from x at energy `now` to energy `then`, with `clean` for x_0. `eta` 0 is deterministic; 1 adds as much `noise` as DDPM."""
    guessed = (x / math.sqrt(now) - clean) / math.sqrt(1 / now - 1)
    sigma = eta * math.sqrt((1 - now / then) * (1 - then) / (1 - now))
    return math.sqrt(then) * clean + math.sqrt(max(1 - then - sigma**2, 0.0)) * guessed + sigma * noise
