"""How a graph returns its answer, told by the names and shapes of its outputs: exporters agree on the shapes, seldom on the names.

| layout | outputs, in this order | of |
|---|---|---|
| simcc | x (b, k, bins), y (b, k, bins) | RTMPose, DWPose, RTMW |
| simcc3d | x, y, z | RTMW3D |
| maps | (b, k, h, w), smaller than the input by one factor | ViTPose, HRNet, SimpleBaselines, MapPose |
| people | boxes with score (b, n, 5), keypoints (b, n, k, 3) | RTMO |
| suppressed | boxes with score (b, n, 5) or (n, 5), labels (b, n) if there are any | RTMDet and YOLOX with suppression inside |
| boxes | boxes (b, n, 4), scores (b, n, classes), owners (b, n, 4) if there are any | RTMDet without; our own also whose a part is |
| owned | boxes, scores, points (b, n, 2 slots), states (b, n, states) if there are any | BPJDet |
| facing | boxes, scores, angles (b, n, 1 or 2) | JointBDOE |
| cells | (b, n, 5 + classes), one row per cell of strides 8, 16, 32 | YOLOX without |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from vitruvian.codecs.yolox import cell_count

Shape = tuple[int | None, ...]
Kind = Literal["simcc", "simcc3d", "maps", "people", "suppressed", "boxes", "owned", "facing", "cells"]

LAYOUTS: dict[str, tuple[Kind, ...]] = {
    "simcc": ("simcc", "simcc3d"),
    "simcc3d": ("simcc3d",),
    "heatmap": ("maps",),
    "heatmap-dark": ("maps",),
    "heatmap-udp": ("maps",),
    "probability-map": ("maps",),
    "rtmo": ("people",),
    "yolox": ("cells", "suppressed", "boxes"),
    "rtmdet": ("suppressed", "boxes"),
    "bpjdet": ("owned",),
    "jointbdoe": ("facing",),
}
"""Which layouts a card's codec can read; a 3D network's x and y are a 2D one's."""


class Layout(NamedTuple):
    """The kind, and where its outputs are among those of the graph."""

    kind: Kind
    outputs: tuple[int, ...]


_NAMES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("simcc3d", ("simcc_x", "simcc_y", "simcc_z")),
    ("simcc", ("simcc_x", "simcc_y")),
    ("people", ("dets", "keypoints")),
    ("suppressed", ("dets", "labels")),
    ("owned", ("boxes", "scores", "points", "states")),
    ("owned", ("boxes", "scores", "points")),
    ("facing", ("boxes", "scores", "angles")),
    ("boxes", ("boxes", "scores", "owners")),
    ("boxes", ("boxes", "scores")),
)


def layout_of(image: Shape, outputs: Sequence[tuple[str, Shape]]) -> Layout | None:
    """The layout of a graph whose input is `image` (b, 3, h, w), None when it is none of these. A None in a shape is a free size."""
    if len(image) != 4:
        return None
    names = [name for name, _ in outputs]
    for kind, wanted in _NAMES:
        if set(wanted) <= set(names):
            found = Layout(kind, tuple(names.index(name) for name in wanted))
            return found if _plausible(kind, [outputs[place][1] for place in found.outputs]) else None
    return _by_shapes((image[3], image[2]), [shape for _, shape in outputs])


def _plausible(kind: Kind, shapes: Sequence[Shape]) -> bool:
    """Whether outputs with the right names have the right number of axes; some exporters leave the shapes of suppression out."""
    axes = {"people": (3, 4), "suppressed": (3, 2)}.get(kind, (3,) * len(shapes))
    return all(len(shape) == count or not shape and kind in ("people", "suppressed") for shape, count in zip(shapes, axes, strict=True))


def _by_shapes(size: tuple[int | None, int | None], shapes: Sequence[Shape]) -> Layout | None:
    """The layout of outputs with names that say nothing; `size` is the input's (width, height)."""
    last = [shape[-1] if shape else None for shape in shapes]
    axes = [len(shape) for shape in shapes]
    boxed = [place for place, shape in enumerate(shapes) if axes[place] in (2, 3) and last[place] == 5]
    pointed = [place for place in range(len(shapes)) if axes[place] == 4 and last[place] == 3]
    flat = [place for place in range(len(shapes)) if axes[place] == 3]
    if boxed and pointed:
        return Layout("people", (boxed[0], pointed[0]))
    if boxed and len(shapes) == 1:
        return Layout("suppressed", (boxed[0],))
    if boxed and len(shapes) == 2 and axes[1 - boxed[0]] == axes[boxed[0]] - 1:
        return Layout("suppressed", (boxed[0], 1 - boxed[0]))
    if len(flat) == len(shapes) == 2 and 4 in last:
        place = last.index(4)
        return Layout("boxes", (place, 1 - place))
    if len(flat) == len(shapes) == 1 and (last[0] or 6) >= 6 and _has_cells(size, shapes[0][1]):
        return Layout("cells", (0,))
    if len(flat) == len(shapes) in (2, 3) and _are_bins(size, shapes):
        return Layout("simcc" if len(shapes) == 2 else "simcc3d", tuple(flat))
    maps = [place for place, shape in enumerate(shapes) if len(shape) == 4 and _are_maps(size, shape)]
    return Layout("maps", (maps[0],)) if len(maps) == 1 else None


def _has_cells(size: tuple[int | None, int | None], rows: int | None) -> bool:
    """Whether so many rows can be YOLOX's cells."""
    width, height = size
    return width is None or height is None or rows is None or rows == cell_count((width, height))


def _are_bins(size: tuple[int | None, int | None], shapes: Sequence[Shape]) -> bool:
    """Whether the outputs are as many keypoints on each axis, and have bins in proportion to the input's sides."""
    (width, height), (x, y) = size, (shapes[0][2], shapes[1][2])
    if len({shape[1] for shape in shapes}) > 1 or x is None or y is None:
        return False
    return min(x, y) >= 32 if width is None or height is None else x >= width and x * height == y * width


def _are_maps(size: tuple[int | None, int | None], shape: Shape) -> bool:
    """Whether the output is a smaller copy of the input's rectangle per keypoint."""
    (width, height), (rows, columns) = size, shape[2:]
    if None in (width, height, rows, columns):
        return rows is None or rows >= 8
    return 1 < width // columns <= 16 and width * rows == height * columns
