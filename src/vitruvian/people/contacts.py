"""Two uses of parts that know their owner: counting the heads of a crowd, and hands that may touch something.

BPJDet's paper (arXiv 2304.10765) shows both: a head that hangs on a body is seldom a lamp or a ball (card bpjdet.md section 7), and
what a hand may touch can only be asked once it is known whose hand it is. Contact is not seen here, only nearness in the picture:
these are candidates. A network with contact states (ContactHands) says more, see `codecs.owned`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from vitruvian.codecs.association import inside_share

NEAR = 0.35
"""Sides of a hand's box that may lie between it and what it touches."""
_INSIDE = 0.6  # share of a hand in somebody else's box


class HeadCounts(NamedTuple):
    """Per frame: all heads that were detected; those that belong to somebody; people."""

    heads: Int64[np.ndarray, " f"]
    with_body: Int64[np.ndarray, " f"]
    people: Int64[np.ndarray, " f"]


class Contacts(NamedTuple):
    """k candidates: rows of the hand and of what it may touch; whether that is of the hand's own person; nearness in [0, 1], 1 overlaps."""

    hand: Int64[np.ndarray, " k"]
    touched: Int64[np.ndarray, " k"]
    own: Bool[np.ndarray, " k"]
    nearness: Float[np.ndarray, " k"]


def count_heads(
    frame: Int[np.ndarray, " n"], frames: int, heads: Bool[np.ndarray, " n"], people: Bool[np.ndarray, " n"], owner: Int[np.ndarray, " n"]
) -> HeadCounts:
    """Heads per frame. heads, people: which of the n objects are. owner: as `capture.objects.Objects`."""
    return HeadCounts(*(np.bincount(frame[rows], minlength=frames) for rows in (heads, heads & (owner >= 0), people)))


def contact_candidates(
    frame: Int[np.ndarray, " n"],
    boxes: Float[np.ndarray, "n 4"],
    hands: Bool[np.ndarray, " n"],
    touchable: Bool[np.ndarray, " n"],
    people: Bool[np.ndarray, " n"],
    owner: Int[np.ndarray, " n"],
) -> Contacts:
    """Hands with an owner, and what is near them: parts (`touchable`: hands, heads, faces, feet) of anybody, and other people's bodies.

    A part counts within `NEAR` hand sizes; a body only where most of the hand lies in its box and none of its parts counts. Two hands near
    each other are one candidate.
    """
    rows: list[tuple[int, int, bool, float]] = []
    for hand in np.flatnonzero(hands & (owner >= 0)).tolist():
        side = float(np.sqrt(max(np.prod(boxes[hand, 2:] - boxes[hand, :2]), 1.0)))
        others = np.flatnonzero((frame == frame[hand]) & touchable & (owner >= 0))
        others = others[(others != hand) & ~(hands[others] & (others < hand))]
        gap = np.maximum(boxes[others, :2] - boxes[hand, 2:], boxes[hand, :2] - boxes[others, 2:]).clip(0)
        away = np.linalg.norm(gap, axis=1) / (NEAR * side)
        near = away < 1
        rows += [
            (hand, int(other), bool(owner[other] == owner[hand]), 1 - float(a)) for other, a in zip(others[near], away[near], strict=True)
        ]
        bodies = np.flatnonzero((frame == frame[hand]) & people)
        bodies = bodies[(bodies != owner[hand]) & ~np.isin(bodies, owner[others[near]])]
        share = inside_share(boxes[hand : hand + 1], boxes[bodies])[0]
        rows += [(hand, int(body), False, float(s)) for body, s in zip(bodies, share, strict=True) if s > _INSIDE]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    dtypes = (np.int64, np.int64, bool, np.float64)
    return Contacts(*(np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)))
