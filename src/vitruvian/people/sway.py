"""The motion that everybody in a picture shares: what a turn or a tremor of the camera does to all people at once. Ours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SPREAD = 0.08  # body sizes by which people deviate from a shift that they share
SIMILAR = 0.15  # difference in the logarithm of size that one person may show between two frames
LEAST_PEOPLE = 3  # fewer that agree may all be walking
AT_REST = 0.75  # share of the people who are where they were expected, so that no jump is looked for
LEAST_GAIN = 1.5  # people whom a jump must explain beyond those whom a camera at rest explains
BELIEF = 2.0  # how many people the belief in a camera at rest is worth
CANDIDATES = 64


def shared_shift(
    expected: Float[np.ndarray, "t 2"],
    expected_sizes: Float[np.ndarray, " t"],
    found: Float[np.ndarray, "n 2"],
    sizes: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " 2"]:
    """By how many pixels all people are found away from where they were expected; zero where no three of them agree.

    expected, found: the places of people in pixels, sizes: their body sizes. Nobody needs to know who is who: every pair of similar size
    votes for its difference. The difference that explains most people wins if it explains clearly more than a camera at rest does; it
    is refined by the mean of those who agree, and what noise alone would give is taken off.
    """
    if min(len(expected), len(found)) < LEAST_PEOPLE:
        return np.zeros(2)
    difference = found[None] - expected[:, None]
    weight = np.exp(-0.5 * (np.log(sizes[None] / expected_sizes[:, None]) / SIMILAR) ** 2)
    scale = SPREAD * expected_sizes[:, None]

    def support(shifts: Float[np.ndarray, "c 2"]) -> Float[np.ndarray, "c t n"]:
        squared = ((difference[None] - shifts[:, None, None]) ** 2).sum(-1)
        return weight * np.exp(-0.5 * squared / scale**2)

    best, belief = support(np.zeros((1, 2)))[0], BELIEF
    at_rest = best.max(1).sum()
    if at_rest < AT_REST * min(len(expected), len(found)):
        likely = np.argsort(-weight, axis=None)[:CANDIDATES]
        supports = support(difference.reshape(-1, 2)[likely])
        explained = supports.max(2).sum(1)
        if explained.max() > at_rest + LEAST_GAIN:
            best, belief = supports[explained.argmax()], 0.0
    for _ in range(2):
        person, rows = best.argmax(1), np.arange(len(expected))
        trust = best[rows, person]
        if (trust > 0.3).sum() < LEAST_PEOPLE:
            return np.zeros(2)
        shift = (trust[:, None] * difference[rows, person]).sum(0) / (trust.sum() + belief)
        best = support(shift[None])[0]
    noise = SPREAD * (trust * expected_sizes).sum() / trust.sum() ** 1.5
    return shift * max(0.0, 1 - (noise / max(float(np.linalg.norm(shift)), 1e-9)) ** 2)
