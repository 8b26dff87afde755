"""What stands behind people: photographs without people, made-up places (`scenery`) and surfaces.

The detector also learns from them what is no person. Photographs come from folders the user names: the recipe lists Debian
wallpaper packages and scikit-image's samples with their licences. Without any, the made-up places alone are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from .fabric import smooth_noise
from .scenery import make_place


def load_photographs(files: Sequence[str | Path], longest: int = 900) -> list[np.ndarray]:
    """Read pictures (RGB, uint8), shrunk so that the longer side is at most `longest` pixels; unreadable ones are left out."""
    pictures = []
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            continue
        shrink = longest / max(image.shape[:2])
        if shrink < 1:
            image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        pictures.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    return pictures


def _surface(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A plain, graded, noisy or striped surface."""
    width, height = size
    base = rng.uniform(0, 255, 3) * 0.6 + rng.uniform(0, 255) * 0.4
    image = np.ones((height, width, 3), np.float32) * base.astype(np.float32)
    for cells in ((3, 3), (10, 10), (60, 60), (width, height)):
        if rng.random() < 0.6:
            image += smooth_noise(rng, size, cells)[..., None] * rng.uniform(0, 40) * rng.uniform(0.5, 1, 3).astype(np.float32)
    if rng.random() < 0.4:  # walls, floors, fences: a repeated pattern
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 60)
        yy, xx = np.mgrid[0:height, 0:width]
        wave = (np.sin((xx * np.cos(angle) + yy * np.sin(angle)) * 2 * np.pi / period) > rng.uniform(-0.8, 0.9)).astype(np.float32)
        image += wave[..., None] * rng.normal(0, 35, 3).astype(np.float32)
    if rng.random() < 0.5:  # ground and sky, wall and floor
        row = int(rng.uniform(0.2, 0.9) * height)
        image[row:] += rng.normal(0, 45, 3).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _collage(rng: np.random.Generator, image: np.ndarray, photographs: list[np.ndarray]) -> None:
    """Lay pieces of other pictures, upright, turned, cut to discs and bars, over `image`, in place: the clutter of rooms and streets."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(2, 12)):
        piece = _crop(rng, photographs, (64, 64), 0.1)
        size, angle = np.exp(rng.uniform(np.log(0.06), np.log(0.5), 2)) * [width, height], rng.normal(0, 20)
        matrix = cv2.getRotationMatrix2D((32, 32), float(angle), 1.0)
        matrix = np.diag(size / 64) @ matrix
        matrix[:, 2] += rng.uniform(-0.1, 1, 2) * [width, height]
        if rng.random() < 0.4:
            stencil = np.zeros((64, 64), np.uint8)
            cv2.ellipse(stencil, (32, 32), (int(rng.integers(10, 32)), int(rng.integers(10, 32))), 0, 0, 360, 255, -1)
        else:
            stencil = np.full((64, 64), 255, np.uint8)
        mask = cv2.warpAffine(stencil, matrix, (width, height)) > 127
        image[mask] = cv2.warpAffine(piece, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)[mask]


def random_shape(rng: np.random.Generator, image: np.ndarray, centre: tuple[float, float], extent: float, colour: Sequence[float]) -> None:
    """Draw one box, disc, bar or polygon of about `extent` pixels into `image`, in place."""
    kind, colour = rng.integers(0, 4), tuple(int(c) for c in colour)
    if kind == 0:
        box = (
            (float(centre[0]), float(centre[1])),
            (float(extent * rng.uniform(0.3, 1)), float(extent * rng.uniform(0.3, 1))),
            float(rng.uniform(0, 180)),
        )
        cv2.fillPoly(image, [cv2.boxPoints(box).astype(np.int32)], colour)
    elif kind == 1:
        axes = (max(1, int(extent * rng.uniform(0.2, 0.5))), max(1, int(extent * rng.uniform(0.2, 0.5))))
        cv2.ellipse(image, (int(centre[0]), int(centre[1])), axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 2:
        reach = rng.normal(0, extent, 2)
        start, end = np.array(centre) - reach / 2, np.array(centre) + reach / 2
        cv2.line(
            image,
            tuple(int(v) for v in start),
            tuple(int(v) for v in end),
            colour,
            max(1, int(extent * rng.uniform(0.02, 0.12))),
            cv2.LINE_AA,
        )
    else:
        points = np.array(centre) + rng.normal(0, extent * 0.35, (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(image, [points.astype(np.int32)], colour, cv2.LINE_AA)


def make_background(
    rng: np.random.Generator, photographs: list[np.ndarray], size: tuple[int, int], places: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """One background of `size` (width, height): a piece of a photograph, a made-up place, now and then a surface.

    Every second one is a photograph where there are 25 or more of them. `places=False`: surfaces alone.
    """
    if not places:
        return _surface(rng, size)
    share = min(0.5, 0.02 * len(photographs))
    image = _crop(rng, photographs, size) if rng.random() < share else _place(rng, size)
    if rng.random() < 0.25:
        _collage(rng, image, photographs or [_place(rng, (128, 128)) for _ in range(2)])
    if rng.random() < 0.15:
        for _ in range(rng.integers(1, 8)):
            random_shape(rng, image, rng.uniform(0, size), rng.uniform(0.04, 0.5) * size[1] * rng.random(), rng.uniform(0, 255, 3))
    return image


class Backdrops(Sequence):
    """A pool of `count` backgrounds of `size`, each made when it is first asked for; the same for the same seed and photographs."""

    def __init__(self, photographs: list[np.ndarray], seed: int, count: int, size: tuple[int, int], places: bool = True):
        self._made: list[np.ndarray | None] = [None] * count
        self._photographs, self._seed, self._size, self._places = photographs, seed, size, places

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        image = self._made[i]
        if image is None:
            rng = np.random.default_rng((self._seed, i))
            image = self._made[i] = make_background(rng, self._photographs, self._size, self._places)
        return image


def _place(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    return _surface(rng, size) if rng.random() < 0.05 else make_place(rng, size)


def _crop(rng: np.random.Generator, photographs: list[np.ndarray], size: tuple[int, int], least: float = 0.25) -> np.ndarray:
    """A piece of a random photograph, mirrored and recoloured at random, resized to `size`; at least `least` of what would fit."""
    picture = photographs[rng.integers(len(photographs))]
    width, height = size
    extent = rng.uniform(least, 1.0) * min(picture.shape[1] / width, picture.shape[0] / height)
    w, h = max(8, int(width * extent)), max(8, int(height * extent))
    x, y = rng.integers(0, picture.shape[1] - w + 1), rng.integers(0, picture.shape[0] - h + 1)
    image = cv2.resize(picture[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA if extent > 1 else cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    image = np.clip(image * (1 + rng.normal(0, 0.1, 3)) * rng.uniform(0.6, 1.3) + rng.normal(0, 15), 0, 255)
    return np.ascontiguousarray(image.astype(np.uint8))
