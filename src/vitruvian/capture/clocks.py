"""By how much the films of several calibrated cameras did not begin together, as people's keypoints tell."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vitruvian.capture.views import body_points, clocks
from vitruvian.geometry.camera import Camera
from vitruvian.geometry.clocks import clocks_of_rays
from vitruvian.geometry.match import SEEN
from vitruvian.take import Take

log = logging.getLogger(__name__)

_CLEAR, _CONTRADICTION = 0.1, 0.1  # from which pairs of films are asked; seconds by which these may contradict each other


def common_clock(takes: Sequence[Take], cameras: Sequence[Camera], max_offset: float = 10.0) -> Float[np.ndarray, " c"]:
    """Seconds to add to each take's times to have the first one's clock. cameras: of the takes, sized as their pictures.

    Where lines of sight meet tells (`geometry.clocks`), even of people who walk in one rhythm; where that is not clear, as of people who
    stand still, how wrists and ankles move (`views.clocks`). Raises VitruvianError where that does not tell either.
    """
    found = clocks_of_rays(cameras, [take.times for take in takes], [_body(take) for take in takes], max_offset)
    apart = np.abs(found.offsets[:, None] - found.offsets[None] - found.shifts)[found.correlation > _CLEAR]
    if np.isfinite(found.offsets).all() and apart.max(initial=0.0) <= _CONTRADICTION:
        log.info("offsets in seconds: %s; how clear by pairs: %s", found.offsets.round(3).tolist(), found.correlation.round(2).tolist())
        return found.offsets
    return clocks(takes, max_offset)


def _body(take: Take) -> list[Float[np.ndarray, "f k 2"]]:
    """The sure keypoints of each person's body in every frame, NaN where there are none."""
    points, out = body_points(take.skeleton), []
    for track in take.tracks:
        people = take.people.of(track)
        frames, first = np.unique(people.frame, return_index=True)
        pixels = np.full((len(take.times), len(points), 2), np.nan)
        sure = people.confidence[first][:, points, None] >= SEEN
        pixels[frames] = np.where(sure, people.keypoints[first][:, points], np.nan)
        out.append(pixels)
    return out
