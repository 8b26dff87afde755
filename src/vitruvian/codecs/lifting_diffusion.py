"""Sampling of a lifter that cleans noise step by step (FinePOSE), in numpy: the schedule, the steps of DDIM, windows of a long sequence.

Time runs from 0 (one step of noise) to T - 1 (almost nothing but noise). What is left of the signal's energy at time t falls from almost 1
to almost 0; the signal itself has time -1.

    cosine schedule                            Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17, betas cut at 0.999
    DDIM with eta                              Song et al. 2021, arXiv 2010.02502, eq. 12, 16: ddim_step, ddim_times
    cuts, mirror, windows                      card finepose.md, section 5

The network, a `Denoise`, is called with clips and gives what it takes for the clean poses. It has one input of six channels, as our runtime
runs networks of one input: x, y of the normalised keypoints; x, y, z of the noisy pose in metres; and the time, the same everywhere. A
text is told by its number among those that the network was exported with (0: none), as that many times T more in the last channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float32

from vitruvian.codecs.lifting import merge_windows, mirrored, take_windows
from vitruvian.skeletons import Skeleton

OFFSET, MAX_BETA = 0.008, 0.999  # of the schedule
LIMIT = 1.1  # noisy and clean poses are cut at so many metres
BATCH = 4  # windows that are worked on together, times the guesses: bounds memory

Denoise = Callable[[Float32[np.ndarray, "b f k 6"]], Float[np.ndarray, "b f k 3"]]
Signal = TypeVar("Signal")  # an array, or a tensor


def cosine_schedule(times: int) -> Float[np.ndarray, " times"]:
    """What is left of the signal's energy at the times 0 to `times` - 1: falls from almost 1 to almost 0."""
    energy = np.cos((np.arange(times + 1) / times + OFFSET) / (1 + OFFSET) * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - energy[1:] / energy[:-1], MAX_BETA))


def ddim_times(times: int, steps: int) -> list[int]:
    """The `steps` + 1 times from `times` - 1 down to -1, spread evenly and cut to whole numbers."""
    # As torch.linspace rounds in float32, from both ends to the middle.
    width, ends = np.float32(times) / np.float32(steps), (np.float32(-1), np.float32(times - 1))
    half = (steps + 1) // 2
    return [int(ends[0] + width * np.float32(i) if i < half else ends[1] - width * np.float32(steps - i)) for i in range(steps, -1, -1)]


def ddim_step(x: Signal, clean: Signal, now: float, then: float, noise: Signal, eta: float = 1.0) -> Signal:
    """One step from x at energy `now` to energy `then`, with `clean` for x_0. `eta` 0 is deterministic; 1 adds as much `noise` as DDPM."""
    guessed = (x / math.sqrt(now) - clean) / math.sqrt(1 / now - 1)
    sigma = eta * math.sqrt((1 - now / then) * (1 - then) / (1 - now))
    return math.sqrt(then) * clean + math.sqrt(max(1 - then - sigma**2, 0.0)) * guessed + sigma * noise


def sample(
    denoise: Denoise,
    keypoints: Float[np.ndarray, "b f k 2"],
    noise: Float[np.ndarray, "steps h f k 3"],
    times: int,
    swap: tuple[int, ...],
    text: int = 0,
) -> Float32[np.ndarray, "b h f k 3"]:
    """The guesses after the last step for clips of normalised keypoints: metres, the root not yet set to zero.

    `noise`: where the h guesses of each clip start from, then what each further step adds. `times`: T of the schedule that the network was
    trained with. `swap`: the set's flip permutation; each guess is averaged with that for the mirrored clip, as published. `text`: number
    of the text that it is told.
    """
    (steps, h), (b, frames, joints) = noise.shape[:2], keypoints.shape[:3]
    energy = [*cosine_schedule(times).tolist(), 1.0]  # the clean signal has time -1
    seen = np.repeat(keypoints.astype(np.float32), h, 0)
    noise = np.tile(noise.astype(np.float32), (1, b, 1, 1, 1))
    x, clean = noise[0], np.zeros((b * h, frames, joints, 3), np.float32)
    moments = ddim_times(times, steps)
    for step, (now, then) in enumerate(zip(moments[:-1], moments[1:], strict=True), 1):
        clean = _estimate(denoise, seen, np.clip(x, -LIMIT, LIMIT), now + text * times, swap)
        if then >= 0:
            x = ddim_step(x, clean, energy[now], energy[then], noise[step])
    return clean.reshape(b, h, frames, joints, 3)


def _estimate(denoise: Denoise, seen: np.ndarray, noisy: np.ndarray, time: int, swap: tuple[int, ...]) -> np.ndarray:
    """Clean poses, cut at the limit, the average with those for the mirrored clip."""
    when = np.full((*seen.shape[:-1], 1), time, np.float32)
    clean = denoise(np.concatenate((seen, noisy, when), -1))
    other = denoise(np.concatenate((mirrored(seen, swap), mirrored(noisy, swap), when), -1))
    return np.clip((clean + mirrored(other, swap)) / 2, -LIMIT, LIMIT)


def guess_sequence(
    denoise: Denoise,
    keypoints: Float[np.ndarray, "f k 2"],
    skeleton: Skeleton,
    length: int,
    times: int,
    hypotheses: int = 5,
    steps: int = 2,
    seed: int = 0,
    text: int = 0,
) -> Float32[np.ndarray, "h f k 3"]:
    """Guesses for one person's whole sequence of normalised keypoints without gaps: relative to the root, metres, the root at 0.

    Windows of `length`, as long as the network's clips, all with the same noise, so that an answer doesn't depend on the others. 20 guesses
    in 10 steps is the published setting, and 20 times the work of these defaults. `text`: see `sample`. No frames give no frames.
    """
    windows = take_windows(np.asarray(keypoints, np.float32), length)
    noise = np.random.default_rng(seed).standard_normal((steps, hypotheses, length, len(skeleton), 3), np.float32)
    parts = [sample(denoise, windows[i : i + BATCH], noise, times, skeleton.swap, text) for i in range(0, len(windows), BATCH)]
    guesses = np.concatenate([np.zeros((0, hypotheses, length, len(skeleton), 3), np.float32), *parts])
    guesses[..., skeleton.parents.index(-1), :] = 0  # the others stay, as published
    return merge_windows(guesses.swapaxes(1, 2), len(keypoints)).swapaxes(0, 1)
