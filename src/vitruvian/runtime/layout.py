"""Where a network's outputs are, for the classes that run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vitruvian.errors import WeightsError
from vitruvian.runtime.session import Session
from vitruvian.weights import Card
from vitruvian.weights.layout import LAYOUTS, Kind, Layout, layout_of

Compat = Literal["", "rtmlib"]
"""Whose numbers to give where ours differ on purpose: "" ours, "rtmlib" those of rtmlib (see `vitruvian.compat.rtmlib`)."""


def layout_for(card: Card, session: Session, kinds: Sequence[Kind]) -> Layout:
    """The layout of an open network, one of `kinds` that the card's codec can read.

    Raises WeightsError when it is another, or looks at several frames at once (DSTA, DiffPose), which is for `runtime.clips`.
    """
    if len(session.input_shape) == 5:
        frames = session.input_shape[1]
        raise WeightsError(
            f"{card.id!r} looks at clips of {frames or 'several'} frames, not at single pictures: vitruvian eval can judge it; "
            "here take a network for pictures."
        )
    found = layout_of(session.input_shape, list(zip(session.output_names, session.output_shapes, strict=True)))
    allowed = [kind for kind in kinds if not card.codec or kind in LAYOUTS[card.codec]]
    if found is None or found.kind not in allowed:
        outputs = ", ".join(f"{n} {list(s)}" for n, s in zip(session.output_names[:6], session.output_shapes, strict=False))
        raise WeightsError(
            f"{card.file} returns {outputs}, which is not what its card {card.id!r} says ({card.codec or ' or '.join(allowed)}): correct "
            "the card, or give another file."
        )
    if found.kind == "simcc3d" and card.codec == "simcc":
        return Layout("simcc", found.outputs[:2])
    return found
