"""Patterns of cloth and noise, made once per process from a fixed seed and cut from at random.

A fabric is a tile of three planes: how much of a second and a third colour, and the thread's brightness. A decal is what is printed on a
chest or back: letters, numbers, emblems.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

TILE = 128
FABRICS, DECALS, CLOUDS = 160, 96, 12
CLOUD_SIZE = 512


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Smooth noise of mean 0 and about unit range: `cells` (across, down) random values, interpolated to `size` (width, height)."""
    values = rng.standard_normal((max(2, cells[1]), max(2, cells[0])), np.float32) * np.float32(0.6)
    return cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)


def octaves(
    rng: np.random.Generator, size: tuple[int, int], first: int = 3, fall: float = 0.55, stretch: float = 1.0
) -> Float[np.ndarray, "h w"]:
    """Noise of all scales, as clouds, stone and foliage have it: unit deviation; `stretch` > 1 draws it out across."""
    total, weight, cells = np.zeros(size[::-1], np.float32), 1.0, first
    while cells < max(size):
        total += weight * smooth_noise(rng, size, (max(2, int(cells / stretch)), cells))
        weight, cells = weight * fall, cells * 2
    return total / (total.std() + 1e-6)


@dataclass(frozen=True)
class Cloth:
    """The pools: fabrics (n, 128, 128, 3), decals (n, 128, 128), clouds (n, 512, 512): 128 + 40 x noise of all scales."""

    fabrics: UInt8[np.ndarray, "n h w 3"]
    decals: UInt8[np.ndarray, "n h w"]
    clouds: UInt8[np.ndarray, "n h w"]


def _stripes(rng, tile: np.ndarray) -> None:
    axis, at = rng.integers(0, 2), 0
    while at < TILE:
        width = int(rng.choice([2, 4, 8, 16, 24]))
        if rng.random() < 0.5:
            band = (slice(at, at + width), slice(None)) if axis else (slice(None), slice(at, at + width))
            tile[(*band, int(rng.random() < 0.25))] = 255
        at += width


def _even_stripes(rng, tile: np.ndarray) -> None:
    period = int(rng.choice([4, 8, 16, 32, 64]))
    on = (np.arange(TILE) % period) < period * rng.uniform(0.2, 0.8)
    tile[..., 0] = np.where(on, 255, 0) if rng.random() < 0.6 else np.where(on, 255, 0)[:, None]


def _plaid(rng, tile: np.ndarray) -> None:
    for plane in range(2):
        profile = np.zeros(TILE, np.float32)
        for _ in range(rng.integers(1, 4)):
            at, width = rng.integers(0, TILE), int(rng.choice([3, 6, 12, 30]))
            profile[at : at + width] += rng.uniform(0.3, 0.6)
        tile[..., plane] = np.clip((profile[:, None] + profile) * 160, 0, 255)


def _dots(rng, tile: np.ndarray) -> None:
    period, radius = int(rng.choice([16, 32, 64])), rng.uniform(0.15, 0.4)
    for i in range(0, TILE, period):
        for j in range(0, TILE, period):
            centre = (i + period // 2, j + period // 4 + (period // 2 if (i // period) % 2 else 0))
            cv2.circle(tile, centre, max(1, int(radius * period)), (255, 0, 0) if rng.random() < 0.8 else (0, 255, 0), -1)


def _flowers(rng, tile: np.ndarray) -> None:
    for _ in range(rng.integers(8, 40)):
        centre, size = rng.integers(0, TILE, 2), rng.uniform(3, 16)
        colour = (255, 0, 0) if rng.random() < 0.6 else (0, 255, 0)
        for a in np.arange(rng.integers(1, 7)) * 1.2:
            petal = centre + size * np.array([np.cos(a), np.sin(a)])
            cv2.ellipse(
                tile, tuple(int(v) for v in petal), (max(1, int(size * 0.7)), max(1, int(size * 0.4))), np.degrees(a), 0, 360, colour, -1
            )


def _blotches(rng, tile: np.ndarray) -> None:
    scale = int(rng.integers(4, 20))
    for plane in range(2):
        tile[..., plane] = np.where(smooth_noise(rng, (TILE, TILE), (scale, scale)) > rng.uniform(0, 0.5), 255, 0)


def _blocks(rng, tile: np.ndarray) -> None:
    """Panels of colour, as jerseys and jackets have them."""
    for _ in range(rng.integers(1, 4)):
        points = rng.uniform(-0.2, 1.2, (int(rng.integers(3, 5)), 2)) * TILE
        cv2.fillPoly(tile, [points.astype(np.int32)], (255, 0, 0) if rng.random() < 0.6 else (0, 255, 0))


def _signs(rng, tile: np.ndarray) -> None:
    for _ in range(rng.integers(2, 9)):
        text = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTUVXYZ0123456789"), rng.integers(1, 6)))
        place = tuple(int(v) for v in rng.integers(-10, TILE, 2))
        cv2.putText(tile, text, place, int(rng.integers(0, 5)), rng.uniform(0.4, 1.6), (255, 0, 0), int(rng.integers(1, 4)), cv2.LINE_AA)


_MAKERS = (_stripes, _stripes, _even_stripes, _plaid, _dots, _flowers, _blotches, _blocks, _blocks, _signs)


def _fabric(rng, i: int) -> np.ndarray:
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    _MAKERS[i % len(_MAKERS)](rng, tile)
    thread = np.full((TILE, TILE), 128, np.float32)
    kind = rng.random()
    if kind < 0.4:  # heather, denim, wool
        thread += rng.uniform(4, 22) * rng.standard_normal((TILE, TILE), np.float32)
    elif kind < 0.6:  # knit and cord
        thread += rng.uniform(5, 25) * np.sin(np.arange(TILE) * 2 * np.pi / rng.choice([3, 4, 6, 8]))[:, None]
    tile[..., 2] = np.clip(thread + 6 * smooth_noise(rng, (TILE, TILE), (8, 8)), 0, 255)
    if rng.random() < 0.3:
        tile[..., :2] = cv2.GaussianBlur(tile[..., :2], (0, 0), rng.uniform(0.6, 3))
    return tile


def _decal(rng) -> np.ndarray:
    tile = np.zeros((TILE, TILE), np.uint8)
    kind = rng.random()
    if kind < 0.35:  # a number
        cv2.putText(
            tile,
            str(rng.integers(0, 100)),
            (10, 100),
            int(rng.integers(0, 4)),
            rng.uniform(2.5, 3.6),
            255,
            int(rng.integers(4, 14)),
            cv2.LINE_AA,
        )
    elif kind < 0.6:  # lines of letters
        for row in range(rng.integers(1, 4)):
            text = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVXYZ"), rng.integers(3, 9)))
            cv2.putText(
                tile, text, (4, 40 + 32 * row), int(rng.integers(0, 5)), rng.uniform(0.6, 1.3), 255, int(rng.integers(1, 6)), cv2.LINE_AA
            )
    elif kind < 0.8:  # an emblem
        for _ in range(rng.integers(1, 5)):
            axes = (int(rng.integers(5, 50)), int(rng.integers(5, 50)))
            cv2.ellipse(
                tile,
                (64, 64),
                axes,
                float(rng.uniform(0, 180)),
                0,
                float(rng.uniform(120, 360)),
                int(rng.choice([0, 255])),
                int(rng.choice([-1, 4, 9])),
            )
    else:  # a picture
        tile[16:112, 16:112] = np.where(smooth_noise(rng, (96, 96), (12, 12)) > 0, 255, 60)
    return tile


@cache
def cloth() -> Cloth:
    """The pools, the same in every process. Takes about half a second and 10 MB."""
    rng = np.random.default_rng(20)
    clouds = [octaves(rng, (CLOUD_SIZE, CLOUD_SIZE), 4, rng.uniform(0.5, 0.75)) for _ in range(CLOUDS)]
    return Cloth(
        np.stack([_fabric(rng, i) for i in range(FABRICS)]),
        np.stack([_decal(rng) for _ in range(DECALS)]),
        np.stack([np.clip(128 + 40 * c, 0, 255).astype(np.uint8) for c in clouds]),
    )
