"""YOLOX's cells -> boxes and scores, and back (Ge et al., arXiv 2107.08430; card dwpose.md section 5.2; Apache-2.0).

The published exports return one row per cell of three grids, of strides 8, 16 and 32, one after the other, rows of cells from the top:

    centre = (row[0:2] + cell) * stride     size = exp(row[2:4]) * stride     score of class c = row[4] * row[5 + c]

row[4] and row[5:] are probabilities already. Suppression is that of `codecs.detections`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32

from vitruvian.errors import VitruvianError

STRIDES = (8, 16, 32)
MAX_EXPONENT = 20.0
"""Larger exponents would only overflow: a side of exp(20) pixels is no object's."""


def cell_count(size: tuple[int, int]) -> int:
    """Number of cells, and so of rows, for an input of `size` (width, height)."""
    return sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)


def decode_yolox(
    rows: Float[np.ndarray, "b n c"], size: tuple[int, int]
) -> tuple[Float32[np.ndarray, "b n 4"], Float32[np.ndarray, "b n _"]]:
    """Rows (b, n, 5 + classes) for an input of `size` (width, height) -> boxes xyxy in input pixels, scores (b, n, classes) in [0, 1].

    Raises VitruvianError when the number of rows doesn't belong to the size.
    """
    if rows.ndim != 3 or rows.shape[1] != cell_count(size) or rows.shape[2] < 6:
        raise VitruvianError(
            f"YOLOX returns {cell_count(size)} rows of 5 numbers and its classes for {size[0]} x {size[1]} pixels, not an array "
            f"{rows.shape}: correct the input size on its card."
        )
    cells, scale = _grid(tuple(size))
    centers = (rows[..., :2] + cells) * scale
    halves = np.exp(np.minimum(rows[..., 2:4], np.float32(MAX_EXPONENT))) * (scale * np.float32(0.5))
    boxes = np.concatenate([centers - halves, centers + halves], axis=-1)
    return boxes.astype(np.float32, copy=False), (rows[..., 4:5] * rows[..., 5:]).astype(np.float32, copy=False)


def encode_yolox(boxes: Float[np.ndarray, "n 4"], size: tuple[int, int]) -> Float32[np.ndarray, "n m 4"]:
    """What every cell would have to return for each of the `boxes` (xyxy, input pixels): targets of the L1 loss, (boxes, cells, 4).

    Which cell answers for which box is the assignment's business. Sides under a ten-thousandth of a pixel count as that.
    """
    cells, scale = _grid(tuple(size))
    boxes = np.asarray(boxes, np.float32)[:, None]
    offsets = (boxes[..., :2] + boxes[..., 2:]) * np.float32(0.5) / scale - cells
    return np.concatenate([offsets, np.log(np.maximum(boxes[..., 2:] - boxes[..., :2], 1e-4) / scale)], axis=-1)


@lru_cache(maxsize=8)
def _grid(size: tuple[int, int]) -> tuple[Float32[np.ndarray, "n 2"], Float32[np.ndarray, "n 1"]]:
    """Column and row of every cell, and its stride."""
    cells, scales = [], []
    for stride in STRIDES:
        columns, rows = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
        cells.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        scales.append(np.full((columns.size, 1), stride))
    arrays = np.concatenate(cells).astype(np.float32), np.concatenate(scales).astype(np.float32)
    for array in arrays:
        array.setflags(write=False)  # it is shared by all who ask
    return arrays
