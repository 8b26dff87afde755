"""A take cut into what is one person in one go."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from vitruvian.take import Take

LONGEST_GAP = 0.5
"""Seconds: what is not seen for longer is not guessed."""


def pieces_of(take: Take) -> list[Int[np.ndarray, " t"]]:
    """Rows of each person in the order of time, cut at long gaps and where the picture's size changes; pictures' rows one by one."""
    people, pieces = take.people, [np.array([row]) for row in np.flatnonzero(take.people.track < 0)]
    for track in take.tracks:
        rows = np.flatnonzero(people.track == track)
        rows = rows[np.argsort(people.frame[rows], kind="stable")]
        sizes, times = take.sizes[people.frame[rows]], take.times[people.frame[rows]]
        cuts = np.flatnonzero((np.diff(times) > LONGEST_GAP) | (np.diff(sizes, axis=0) != 0).any(1)) + 1
        pieces += np.split(rows, cuts)
    return pieces
