"""What stands behind people: photographs without people, and made-up surfaces. The detector also learns from them what is no person.

Photographs come from folders the user names: the recipe lists Debian wallpaper packages and scikit-image's samples with their licences.
Without any, the made-up surfaces alone are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from .paint import smooth_noise


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


def _facade(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draw a wall of windows, shutters or tiles in perspective over a part of `image`, in place: rows of like boxes are no people."""
    height, width = image.shape[:2]
    columns, rows = int(rng.integers(2, 14)), int(rng.integers(2, 14))
    wall, pane = (tuple(int(c) for c in np.clip(rng.uniform(30, 235) + rng.normal(0, 25, 3), 0, 255)) for _ in range(2))
    texture = np.full((240, 240, 3), wall, np.uint8)
    gap = rng.uniform(0.1, 0.5, 2)
    for row in range(rows):
        for column in range(columns):
            corner = np.array([(column + gap[0] / 2) * 240 / columns, (row + gap[1] / 2) * 240 / rows])
            far = corner + (1 - gap) * [240 / columns, 240 / rows]
            cv2.rectangle(
                texture, tuple(corner.astype(int)), tuple(far.astype(int)), tuple(int(c * rng.uniform(0.7, 1.2)) % 256 for c in pane), -1
            )
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * rng.uniform(0.3, 1.3, 2) * [width, height]
    corners = corners + rng.uniform(-0.4, 0.7, 2) * [width, height] + rng.normal(0, 0.08, (4, 2)) * [width, height]
    source = np.array([[0, 0], [240, 0], [240, 240], [0, 240]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    cv2.warpPerspective(texture, matrix, (width, height), dst=image, borderMode=cv2.BORDER_TRANSPARENT)


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


def make_background(rng: np.random.Generator, photographs: list[np.ndarray], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """One background of `size` (width, height): a piece of a photograph (four in five) or a surface, often cluttered."""
    image = _crop(rng, photographs, size) if photographs and rng.random() < 0.8 else _surface(rng, size)
    if photographs and rng.random() < 0.4:
        _collage(rng, image, photographs)
    if rng.random() < 0.3:
        _facade(rng, image)
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 14)):
            random_shape(rng, image, rng.uniform(0, size), rng.uniform(0.04, 0.5) * size[1] * rng.random(), rng.uniform(0, 255, 3))
    return image


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
