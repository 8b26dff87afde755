"""Face sets: the 68 iBUG points (300W, COCO-WholeBody), WFLW's 98, COFW's 29 and LaPa's 106.

Swaps of WFLW, COFW and LaPa follow the symmetry of their published drawings. Links are proposed: no data set publishes any,
the polylines are those in common use. In iBUG numbers the "right eye" 36-41 is on the image's left for a frontal face.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vitruvian.skeletons.types import CENTRE, Link, Skeleton, swap_from_pairs

FACE_SIGMAS = np.array(
    [0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041, 0.045]  # jaw
    + [0.013, 0.012, 0.011, 0.011, 0.012]  # right brow
    + [0.012, 0.011, 0.011, 0.013, 0.015]  # left brow
    + [0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010]  # nose
    + [0.017, 0.011, 0.009, 0.011, 0.009, 0.007]  # right eye
    + [0.013, 0.008, 0.011, 0.012, 0.010, 0.034]  # left eye; the last one is as published, not a slip here
    + [0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007]  # outer lips
    + [0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.010, 0.008]  # inner lips
)


def _line(*points: int) -> tuple[Link, ...]:
    return tuple(zip(points[:-1], points[1:], strict=True))


def _run(first: int, last: int, closed: bool = False) -> tuple[Link, ...]:
    """Links along the indices first..last, back to the first one if closed."""
    return _line(*range(first, last + 1), *((first,) if closed else ()))


def _mirror(first: int, last: int) -> tuple[tuple[int, int], ...]:
    """Pairs of a run of points that the mirror reverses: first with last, and so on inwards."""
    return tuple((first + i, last - i) for i in range((last - first + 1) // 2))


def _face(
    name: str, names: tuple[str, ...], pairs: Iterable[tuple[int, int]], links: tuple[Link, ...], sigmas: np.ndarray | None = None
) -> Skeleton:
    return Skeleton(
        name=name,
        names=names,
        swap=swap_from_pairs(len(names), pairs),
        links=links,
        colors=(CENTRE,) * len(links),
        parts={"face": slice(0, len(names))},
        sigmas=sigmas,
    )


_FACE_68_PAIRS = (
    *_mirror(0, 16),
    *_mirror(17, 26),
    *_mirror(31, 35),
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *_mirror(48, 54),
    *_mirror(55, 59),
    *_mirror(60, 64),
    *_mirror(65, 67),
)
_FACE_68_LINKS = (
    *_run(0, 16),
    *_run(17, 21),
    *_run(22, 26),
    *_run(27, 30),
    *_run(31, 35),
    *_run(36, 41, closed=True),
    *_run(42, 47, closed=True),
    *_run(48, 59, closed=True),
    *_run(60, 67, closed=True),
)

FACE_68 = _face("face-68", tuple(f"face-{i}" for i in range(68)), _FACE_68_PAIRS, _FACE_68_LINKS, FACE_SIGMAS)
"""The iBUG points of 300W: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67."""

WFLW_98 = _face(
    "wflw-98",
    tuple(f"wflw-{i}" for i in range(98)),
    (
        *_mirror(0, 32),
        *((33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47)),
        *_mirror(55, 59),
        *((60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73)),
        *_mirror(76, 82),
        *_mirror(83, 87),
        *_mirror(88, 92),
        *_mirror(93, 95),
        (96, 97),
    ),
    (
        *_run(0, 32),
        *_run(33, 41, closed=True),
        *_run(42, 50, closed=True),
        *_run(51, 54),
        *_run(55, 59),
        *_run(60, 67, closed=True),
        *_run(68, 75, closed=True),
        *_run(76, 87, closed=True),
        *_run(88, 95, closed=True),
    ),
)
"""WFLW: jaw 0-32, brows 33-50, nose 51-59, eyes 60-75, lips 76-95, pupils 96 and 97."""

COFW_29 = _face(
    "cofw-29",
    tuple(f"cofw-{i}" for i in range(29)),
    ((0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17), (18, 19), (22, 23)),
    (
        *_line(0, 4, 2, 5, 0),
        *_line(1, 6, 3, 7, 1),
        *_line(8, 12, 10, 13, 8),
        *_line(9, 14, 11, 15, 9),
        *_line(18, 20, 19, 21, 18),
        *_line(22, 24, 23, 27, 22),
    ),
)
"""COFW: brows 0-7, eyes 8-15, pupils 16 and 17, nose 18-21, lips 22-27, chin 28."""

LAPA_106 = _face(
    "lapa-106",
    tuple(f"lapa-{i}" for i in range(106)),
    (
        *_mirror(0, 32),
        *((33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47)),
        *_mirror(55, 65),
        *((66, 79), (67, 78), (68, 77), (69, 76), (70, 75), (71, 82), (72, 81), (73, 80), (74, 83)),
        *_mirror(84, 90),
        *_mirror(91, 95),
        *_mirror(96, 100),
        *_mirror(101, 103),
        (104, 105),
    ),
    (
        *_run(0, 32),
        *_run(33, 41, closed=True),
        *_run(42, 50, closed=True),
        *_run(51, 54),
        *_run(55, 65),
        *_run(66, 73, closed=True),
        *_run(75, 82, closed=True),
        *_run(84, 95, closed=True),
        *_run(96, 103, closed=True),
    ),
)
"""LaPa: jaw 0-32, brows 33-50, nose 51-65, eyes 66-83, lips 84-103, pupils 104 and 105."""
