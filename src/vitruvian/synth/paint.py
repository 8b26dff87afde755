"""From label images to colour: random clothes, skin, hair and light, drawn anew at each use.

Colours follow what is worn: skin along a measured-looking range from light to dark, hair in natural shades, clothes mostly
muted with some saturated, plain, striped, checked or mottled by the place on the body so that patterns stick to it.
"""

from __future__ import annotations

import colorsys

import cv2
import numba
import numpy as np
from jaxtyping import Float, UInt8

from .person import BROW, CLASS_NAMES, EYE, GLASSES, GLOVE, HAIR, HAT, INNER, IRIS, LIPS, LOWER, MOUTH, SHOE, SKIN, SOCK, UPPER

SKIN_TONES = np.array(
    [[255, 224, 204], [241, 200, 172], [226, 178, 145], [204, 150, 114], [172, 118, 84], [133, 87, 60], [96, 62, 43], [66, 43, 32]], float
)
HAIR_TONES = np.array(
    [
        [18, 15, 14],
        [40, 28, 20],
        [72, 48, 30],
        [110, 78, 46],
        [168, 128, 78],
        [208, 178, 122],
        [140, 62, 34],
        [150, 148, 146],
        [215, 212, 208],
    ],
    float,
)
PLAIN, STRIPES, BARS, CHECKS, MOTTLE = range(5)


def _cloth_colour(rng) -> np.ndarray:
    kind = rng.random()
    if kind < 0.3:  # black, white, greys
        return np.full(3, rng.choice([rng.uniform(10, 60), rng.uniform(60, 190), rng.uniform(190, 250)])) + rng.normal(0, 4, 3)
    if kind < 0.5:  # denim and navy
        return np.array(colorsys.hsv_to_rgb(rng.uniform(0.56, 0.66), rng.uniform(0.2, 0.75), rng.uniform(0.15, 0.75))) * 255
    if kind < 0.65:  # earth
        return np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.15), rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.85))) * 255
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.25, 1.0), rng.uniform(0.2, 1.0))) * 255


def _palette(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two colours per class, the pattern that mixes them, and its spatial frequencies."""
    n = len(CLASS_NAMES)
    first, pattern, frequency = np.zeros((n, 3)), np.zeros(n, np.int64), np.zeros((n, 2))
    tone = rng.uniform(0, len(SKIN_TONES) - 1.001)
    skin = SKIN_TONES[int(tone)] * (1 - tone % 1) + SKIN_TONES[int(tone) + 1] * (tone % 1) + rng.normal(0, 6, 3)
    hair = HAIR_TONES[rng.choice(len(HAIR_TONES), p=[0.24, 0.2, 0.16, 0.12, 0.08, 0.06, 0.04, 0.05, 0.05])] * rng.uniform(0.8, 1.2)
    first[SKIN], first[HAIR], first[BROW] = skin, hair, hair * 0.7 + skin * 0.3 * rng.uniform(0.3, 1)
    first[LIPS] = skin * [0.85, 0.62, 0.62] if rng.random() < 0.7 else [rng.uniform(130, 220), rng.uniform(20, 70), rng.uniform(40, 90)]
    first[EYE], first[IRIS], first[MOUTH] = rng.uniform(190, 240), rng.uniform(20, 110, 3), [70, 25, 25]
    for name in (UPPER, LOWER, SHOE, HAT, INNER, SOCK, GLOVE, GLASSES):
        first[name] = _cloth_colour(rng)
    if rng.random() < 0.12:  # one suit of one colour
        first[LOWER] = first[UPPER]
    if rng.random() < 0.25:
        first[SHOE] = rng.uniform(10, 70)
    second = np.clip(first * rng.uniform(0.6, 1.3, (n, 1)), 0, 255)
    for name, chance in ((UPPER, 0.42), (LOWER, 0.18), (INNER, 0.3), (HAT, 0.2), (SOCK, 0.2)):
        if rng.random() < chance:
            pattern[name] = rng.integers(1, 5)
            second[name] = _cloth_colour(rng)
            frequency[name] = rng.uniform(10, 90, 2)
    return np.stack([first, second], 1), pattern, frequency


@numba.njit(cache=True, fastmath=True)
def _shade(labels, palette, pattern, frequency, light, fill, ambient, folds, fold_strength, out):
    height, width = labels.shape[1], labels.shape[2]
    for r in range(height):
        for c in range(width):
            k = labels[0, r, c]
            if k == 0:
                continue
            nx, ny = (labels[1, r, c] - 128.0) / 127.0, (labels[2, r, c] - 128.0) / 127.0
            nz = -np.sqrt(max(1.0 - nx * nx - ny * ny, 0.0))
            place_x, place_z = labels[3, r, c] / 255.0, labels[4, r, c] / 255.0
            mix = 0.0
            if pattern[k] == 1:
                mix = 1.0 if np.sin(place_z * frequency[k, 0] * 6.0) > 0 else 0.0
            elif pattern[k] == 2:
                mix = 1.0 if np.sin(place_x * frequency[k, 0] * 3.0) > 0 else 0.0
            elif pattern[k] == 3:
                mix = 0.5 * (np.sin(place_z * frequency[k, 0] * 6.0) > 0) + 0.5 * (np.sin(place_x * frequency[k, 1] * 3.0) > 0)
            elif pattern[k] == 4:
                mix = 1.0 if folds[(r * 3) % height, (c * 3) % width] > 0.2 else 0.0
            bend = folds[r, c] * fold_strength[k]
            s = ambient + light[3] * max(0.0, nx * light[0] + ny * light[1] + nz * light[2] + bend)
            s += fill[3] * max(0.0, nx * fill[0] + ny * fill[1] + nz * fill[2])
            s *= 1.0 + 0.5 * bend
            for b in range(3):
                value = (palette[k, 0, b] * (1 - mix) + palette[k, 1, b] * mix) * s * light[4 + b]
                out[r, c, b] = min(max(value, 0.0), 255.0)
            out[r, c, 3] = 255


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Smooth noise of mean 0 and about unit range: `cells` (across, down) random values, interpolated to `size` (width, height)."""
    return cv2.resize(rng.normal(0, 0.6, (max(2, cells[1]), max(2, cells[0]))).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)


def paint(rng: np.random.Generator, labels: UInt8[np.ndarray, "5 h w"]) -> UInt8[np.ndarray, "h w 4"]:
    """Colour one label image: RGBA, alpha 255 on the person and 0 elsewhere."""
    height, width = labels.shape[1:]
    palette, pattern, frequency = _palette(rng)
    direction = rng.normal(0, 1, 3) + [0, -0.9, -0.6]  # mostly from above and from the camera's side
    other = rng.normal(0, 1, 3)
    cast = 1 + rng.normal(0, 0.06, 3)
    light = np.array([*direction / np.linalg.norm(direction), rng.uniform(0.15, 0.8), *cast])
    fill = np.array([*other / np.linalg.norm(other), rng.uniform(0, 0.3)])
    detail = int(rng.integers(5, 30))
    folds = smooth_noise(rng, (width, height), (detail, int(detail * rng.uniform(0.6, 1.6)))) + 0.5 * smooth_noise(
        rng, (width, height), (width // 4, height // 4)
    )
    strength = np.zeros(len(CLASS_NAMES))
    strength[[UPPER, LOWER, INNER]] = rng.uniform(0.05, 0.5, 3)
    strength[HAIR], strength[[SKIN, SHOE, HAT]] = rng.uniform(0.1, 0.6), rng.uniform(0, 0.12)
    out = np.zeros((height, width, 4), np.uint8)
    _shade(labels, palette, pattern, frequency, light, fill, rng.uniform(0.3, 0.85), folds, strength, out)
    return out
