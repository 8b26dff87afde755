"""Whose part is it, by boxes alone: for detectors that find people and parts but don't say which belong together.

Every part is expected somewhere in its person's box. Parts are given out so that all together lie as near to where they are expected as
possible, each to one person, and no person gets more than there are. This is the baseline that detectors with offsets
(`codecs.association`) are measured against: where people overlap it can only guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from vitruvian.codecs.association import inside_share
from vitruvian.geometry.boxes import area
from vitruvian.people.assignment import assign


class Expected(NamedTuple):
    """Mean and spread of a part's middle in its person's box (0 to 1 from left to right and from top to bottom), and how many there are."""

    place: tuple[float, float]
    spread: tuple[float, float]
    most: int


EXPECTED: Mapping[str, Expected] = {
    "head": Expected((0.5, 0.13), (0.21, 0.12), 1),
    "face": Expected((0.5, 0.14), (0.21, 0.12), 1),
    "hand": Expected((0.5, 0.37), (0.28, 0.18), 2),
    "foot": Expected((0.5, 0.84), (0.30, 0.17), 2),
}
"""Measured on 7,967 people of our synthetic store who are whole in their pictures; left and right are mirrored, so the middle is 0.5."""
_INSIDE = 0.6  # share of a part's box that must lie in its person's
_FAR = 6.0  # spreads; what is farther is nobody's
_PIECE = 0.7  # share of a person's box that lies in another's, of whom it may be a piece


def join_parts(people: Float[np.ndarray, "n 4"], parts: Float[np.ndarray, "m 4"], names: Sequence[str]) -> Int64[np.ndarray, " m"]:
    """(m,) row of `people` that each part belongs to, -1 for nobody's. Boxes are xyxy.

    names: the class of each part, a kind of `EXPECTED`, with a side or without ("hand", "left hand"); others belong to nobody.
    """
    owners = np.full(len(parts), -1)
    if not len(people) or not len(parts):
        return owners
    size = np.maximum(people[:, 2:] - people[:, :2], 1e-9)
    middles = (((parts[:, :2] + parts[:, 2:]) / 2)[:, None] - people[:, :2]) / size
    allowed = inside_share(parts, people) > _INSIDE
    for name in dict.fromkeys(names):
        side, kind = split_side(name)
        if kind not in EXPECTED:
            continue
        place, spread, most = EXPECTED[kind]
        rows = np.flatnonzero([other == name for other in names])
        away = np.linalg.norm((middles[rows] - place) / spread, axis=-1)
        cost = np.where(allowed[rows] & (away < _FAR), away, _FAR)
        copies = 1 if side else most
        taken, columns = assign(np.repeat(cost, copies, axis=1))
        for row, column in zip(taken, columns, strict=True):
            if cost[row, column // copies] < _FAR:
                owners[rows[row]] = column // copies
    return owners


def without_pieces(people: Float[np.ndarray, "n 4"], heads: Float[np.ndarray, "m 4"]) -> Bool[np.ndarray, " n"]:
    """Which of the people are more than a piece of another: small detectors give legs, or the upper half, a box beside the whole one's.

    A box is a piece where most of it lies in a larger one, and there are not two heads in both together. Two people one of whom hides the
    other's head become one.
    """
    kept, size = np.ones(len(people), bool), area(people)
    share, has = inside_share(people, people), inside_share(heads, people) > _INSIDE
    for row in np.argsort(size, kind="stable"):
        larger = np.flatnonzero(kept & (share[row] > _PIECE) & ((size > size[row]) | ((size == size[row]) & (np.arange(len(size)) < row))))
        kept[row] = not any((has[:, row] | has[:, other]).sum() < 2 for other in larger)
    return kept


def split_side(name: str) -> tuple[str, str]:
    """Side ("left", "right" or "") and kind of a part: ("left", "hand") for "Left_hand"."""
    words = name.lower().replace("_", " ").replace("-", " ").split()
    return (words[0], " ".join(words[1:])) if words and words[0] in ("left", "right") else ("", " ".join(words))
