"""Gaussian diffusion with a network that guesses the clean signal, as training needs it: the schedule, noising, the time as features.

Time runs from 0 (one step of noise) to T - 1 (almost nothing but noise). What is left of the signal's energy at time t is
`cosine_schedule(T)[t]`. The steps of DDIM, which sampling needs, are numpy's: `vitruvian.codecs.lifting_diffusion`.

    cosine schedule                            Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17, betas cut at 0.999
    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise  noised
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.codecs import lifting_diffusion


def cosine_schedule(times: int) -> Float[Tensor, " times"]:
    """What is left of the signal's energy at the times 0 to `times` - 1, in float64: falls from almost 1 to almost 0."""
    return torch.from_numpy(lifting_diffusion.cosine_schedule(times))


def embed_time(time: Float[Tensor, " b"] | Int[Tensor, " b"], length: int) -> Float[Tensor, "b length"]:
    """Sines, then cosines, of t at `length` / 2 frequencies from 1 down to 1 / 10000, both included."""
    half = length // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half, device=time.device) / max(half - 1, 1))
    angles = time[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), 1)


def noised(clean: Float[Tensor, "b ..."], energy: Float[Tensor, " b"], noise: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """x_t from x_0, where `energy` is left of each sample's signal."""
    energy = energy.view(-1, *(1,) * (clean.ndim - 1))
    return (energy.sqrt() * clean + (1 - energy).sqrt() * noise).to(clean.dtype)
