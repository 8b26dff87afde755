"""How wide the camera of a take saw, in formats that have a place for what is known of the whole take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from vitruvian.take import FovSource, Take


def lens_of(take: Take) -> dict[str, float | str]:
    """What to write of a take's lens, by the names of its fields; nothing where it is not known."""
    return {"fov": take.fov, "fov_source": take.fov_source, "fov_spread": take.fov_spread} if take.fov else {}


def read_lens(told: Mapping[str, object]) -> dict[str, float | str]:
    """The fields of a take that a file tells, {} where it tells nothing that could be true."""
    fov, spread, source = told.get("fov"), told.get("fov_spread", 0.0), told.get("fov_source", "")
    if not all(isinstance(degrees, int | float) and 0 <= degrees < 180 for degrees in (fov, spread)) or source not in get_args(FovSource):
        return {}
    return {"fov": float(fov), "fov_source": source, "fov_spread": float(spread)}
