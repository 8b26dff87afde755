"""Whether films were given to the right cameras, as far as the people in them tell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from vitruvian.capture.views import body_points, gathered, identities, limit_of, on_one_clock
from vitruvian.geometry.camera import Camera, fitted
from vitruvian.geometry.match import SEEN
from vitruvian.geometry.triangulate import triangulate
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Take

log = logging.getLogger(__name__)

_MOST = 5  # cameras: there are 120 orders of them
_FRAMES = 8  # that are looked at
_FULL = 0.8  # of what cameras see: no other order can be much better
_CLEARLY = 1.2  # times as good


def better_order(
    takes: Sequence[Take], cameras: Sequence[Camera], offsets: Sequence[float] | None = None
) -> tuple[tuple[int, ...], float, float] | None:
    """Which of the cameras each take would have in another order that fits clearly better; and how well this one fits, and that one.

    None where this order fits, or nothing can tell: two cameras agree on something in any order, so three are needed, and of more than
    five not all orders are tried. How well: of the keypoints that more than two cameras could agree on, the share on which they do. Also
    in eight frames that many cameras see people in. Rooms with cameras in a regular ring look alike from the next one around.
    """
    count = len(takes)
    if not 3 <= count <= _MOST:
        return None
    times, views = on_one_clock(takes, offsets)
    frames = _busy(views, len(times))
    if not len(frames):
        return None
    views = [_only(view, frames) for view in views]
    orders = list(permutations(range(count)))  # the first one is as given
    skeleton = takes[0].skeleton
    here = _agreement(views, len(frames), cameras, skeleton)
    if here >= _FULL:
        return None
    sized = [[fitted(camera, own.size) for camera in cameras] for own in cameras]
    shares = [_agreement(views, len(frames), [sized[n][of] for n, of in enumerate(order)], skeleton) for order in orders[1:]]
    best = int(np.argmax(shares))
    return (orders[best + 1], here, shares[best]) if shares[best] > _CLEARLY * here and shares[best] > 0.1 else None


def _busy(views: Sequence[People], count: int) -> Int[np.ndarray, " b"]:
    """Some of the frames in which most cameras see people, all over the film."""
    seeing = np.sum([np.bincount(np.unique(view.frame), minlength=count) for view in views], axis=0)
    busy = np.flatnonzero((seeing == seeing.max(initial=0)) & (seeing > 2))
    return busy[np.unique(np.linspace(0, len(busy) - 1, _FRAMES).round().astype(int))] if len(busy) else busy


def _only(view: People, frames: Int[np.ndarray, " b"]) -> People:
    """The people of these frames, counted anew, and without ids: the frames are far apart."""
    rows = np.isin(view.frame, frames)
    return replace(view[rows], frame=np.searchsorted(frames, view.frame[rows]), track=np.full(int(rows.sum()), -1))


def _agreement(views: Sequence[People], frames: int, cameras: Sequence[Camera], skeleton: Skeleton) -> float:
    """Of the sure keypoints of the body that cameras see beyond two, the share that the others confirm."""
    limit, points = limit_of(cameras), body_points(skeleton)
    long_apart = 1000.0 * np.arange(frames)  # seconds: nobody is followed from one to the next
    ids = identities(views, cameras, long_apart, skeleton, limit)
    _, measured, confidence, _ = gathered(views, ids, len(skeleton))
    found = triangulate(cameras, measured[:, :, points], confidence[:, :, points], threshold=limit)
    most = _beyond_two(np.array([np.bincount(view.frame, minlength=frames) for view in views]))
    sure = np.mean([float((view.confidence[:, points] >= SEEN).mean()) for view in views if len(view)]) * len(points)
    return float(_beyond_two(found.used.reshape(len(views), -1)) / max(most * sure, 1.0))


def _beyond_two(seen: Float[np.ndarray, "c n"] | Int[np.ndarray, "c n"]) -> float:
    """How many there are of each beyond those of the two that have most, summed up."""
    return float(np.maximum(np.sort(seen.astype(float), axis=0)[:-2], 0).sum()) if len(seen) > 2 else 0.0


def warn_of_order(takes: Sequence[Take], cameras: Sequence[Camera], films: Sequence[str], offsets: Sequence[float] | None = None) -> None:
    """Say so where films, of these names, fit the cameras clearly better in another order."""
    found = better_order(takes, cameras, offsets)
    if found is not None:
        order, here, there = found
        log.warning(
            "films and cameras fit better in another order (%.0f %% of what cameras see is confirmed by others, and %.0f %% as given): %s; "
            "name the films like their cameras, or give them in the calibration's order",
            100 * there, 100 * here, ", ".join(f"{film} = {cameras[n].name}" for film, n in zip(films, order, strict=True)),
        )  # fmt: skip
