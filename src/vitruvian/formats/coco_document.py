"""A COCO document with checked access: annotation files, results and our own keypoint files share it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from vitruvian.errors import FormatError


class CocoDocument:
    """A COCO document with checked access: every method raises FormatError where the file is not as it should be."""

    def __init__(self, path: Path, document: object) -> None:
        self.path = path
        if not isinstance(document, dict):
            raise FormatError(f"{path} is not a COCO file: it holds a {type(document).__name__}, not an object")
        self._document = document

    def rows(self, key: str) -> list[dict]:
        """A top-level list of objects."""
        rows = self._document.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise FormatError(f"{self.path} has no list of objects {key!r}; it is no COCO keypoint file")
        return rows

    def info(self) -> dict:
        """The top-level `info`, empty if there is none."""
        info = self._document.get("info", {})
        return info if isinstance(info, dict) else {}

    def number(self, row: dict, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = row.get(key, default)
        if isinstance(value, (int, float)) and abs(value) < 1e300:
            return value
        raise FormatError(f"{self.path}: {key!r} is missing or not a number; the file is damaged")

    def text(self, row: dict, key: str) -> str:
        """A string, empty if missing."""
        value = row.get(key, "")
        return value if isinstance(value, str) else str(value)

    def integers(self, rows: list[dict], key: str, limit: int = 1 << 31, default: int | None = None) -> Int[np.ndarray, " n"]:
        """The rows' numbers as int64, below `limit` in size."""
        values = self.array(rows, key, default=default)
        if (np.abs(values) >= limit).any():
            raise FormatError(f"{self.path}: {key!r} is too large somewhere; the file is damaged")
        return values.astype(np.int64)

    def sizes(self, images: list[dict]) -> Int[np.ndarray, "n 2"]:
        """The images' (width, height)."""
        sizes = np.stack([self.integers(images, side) for side in ("width", "height")], axis=-1)
        if (sizes < 0).any():
            raise FormatError(f"{self.path}: an image has a negative size; the file is damaged")
        return sizes.astype(np.int32)

    def array(self, rows: list[dict], key: str, length: int | None = None, default: float | None = None) -> Float[np.ndarray, "n ..."]:
        """The rows' numbers (n,), or their lists of `length` numbers (n, length), as float64."""
        values = [row.get(key, default) for row in rows]
        if length is not None and not all(isinstance(value, list) and len(value) == length for value in values):
            raise FormatError(f"{self.path}: {key!r} is not a list of {length} numbers everywhere; the file is damaged or of another set")
        flat = values if length is None else [number for value in values for number in value]
        if not all(isinstance(number, (int, float)) and abs(number) < 1e30 for number in flat):
            raise FormatError(f"{self.path}: {key!r} is missing or not a number somewhere; the file is damaged")
        return np.array(flat, np.float64).reshape((len(rows),) if length is None else (len(rows), length))

    def optional(self, rows: list[dict], key: str, tail: tuple[int | str, ...], k: int) -> Float[np.ndarray, "n ..."] | None:
        """The rows' flat lists of numbers and nulls as (n, *tail) with NaN, None if no row has one.

        In `tail` "k" is `k`, and another letter any number, which is the first list's. A number alone fills a tail of ().
        """
        lists = [value if isinstance(value, list) else [value] for value in (row.get(key, []) for row in rows)]
        length = max(map(len, lists), default=0)
        if not length:
            return None
        sizes = [k if size == "k" else size for size in tail]
        known = math.prod(size for size in sizes if isinstance(size, int))
        shape = tuple(size if isinstance(size, int) else length // known for size in sizes)
        values = [float("nan") if number is None else number for some in lists for number in (some or [None] * length)]
        fits = all(len(some) in (0, length) for some in lists) and math.prod(shape) == length
        if not fits or not all(isinstance(number, (int, float)) and not abs(number) >= 1e30 for number in values):
            raise FormatError(f"{self.path}: {key!r} is not a list of numbers of one length everywhere; the file is damaged")
        return np.array(values, np.float64).reshape(len(rows), *shape)

    def frames(self, annotations: list[dict], rows: dict[float, int]) -> Int[np.ndarray, " n"]:
        """Each annotation's image as its row among the images."""
        numbers = [self.number(annotation, "image_id") for annotation in annotations]
        if not all(number in rows for number in numbers):
            raise FormatError(f"{self.path}: an annotation belongs to an image that is not listed; the file is damaged")
        return np.array([rows[number] for number in numbers], np.int32)


def with_nulls(values: np.ndarray) -> list[float | None] | float:
    """An array to six decimals as a flat list, or a single number, with null for what JSON has no word for: NaN and infinities."""
    flat = [number if math.isfinite(number) else None for number in values.astype(np.float64).round(6).ravel().tolist()]
    return flat if values.ndim else flat[0]
