"""From label images to colour: random clothes, skin, hair and light, drawn anew at each use.

Colours follow what is worn: skin along a plausible range from light to dark, hair in natural shades, clothes mostly muted with some
saturated. Patterns and folds stick to the place on the body. Light is reckoned in linear intensities: a sun or lamp that casts shadows
of the body on itself, a second lamp, a sky and a ground, less of them in hollows, and shine; then encoded as sRGB.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from jaxtyping import Float, UInt8

from vitruvian.synth.classes import (
    BAG,
    BEARD,
    BROW,
    CLASS_NAMES,
    EYE,
    GLASSES,
    GLOVE,
    HAIR,
    HAT,
    INNER,
    IRIS,
    LIPS,
    LOWER,
    MOUTH,
    SCARF,
    SEAT,
    SHOE,
    SKIN,
    SOCK,
    TOOL,
    TRIM,
    UPPER,
)  # fmt: skip
from vitruvian.synth.fabric import CLOUD_SIZE, DECALS, FABRICS, TILE, cloth, smooth_noise  # noqa: F401  (smooth_noise: of old, callers take it from here)
from vitruvian.synth.look import Look

SKIN_TONES = np.array(
    [[255, 224, 204], [241, 200, 172], [226, 178, 145], [204, 150, 114], [172, 118, 84], [133, 87, 60], [96, 62, 43], [66, 43, 32]], float
)
HAIR_TONES = np.array(
    [
        [18, 15, 14], [40, 28, 20], [72, 48, 30], [110, 78, 46], [168, 128, 78], [208, 178, 122], [140, 62, 34], [150, 148, 146],
        [215, 212, 208],
    ],
    float,
)  # fmt: skip
_GARMENTS = (UPPER, LOWER, INNER, HAT, SOCK, GLOVE, SCARF, BAG, SEAT, TOOL, SHOE)
_FOLDED = (UPPER, LOWER, INNER, SCARF, BAG)
_ENCODE = np.clip(255 * (np.arange(4096) / 4095) ** (1 / 2.2), 0, 255).astype(np.uint8)


def _cloth_colour(rng) -> np.ndarray:
    kind = rng.random()
    if kind < 0.38:  # black, white, greys
        return np.full(3, rng.choice([rng.uniform(8, 60), rng.uniform(60, 190), rng.uniform(190, 250)])) + rng.normal(0, 4, 3)
    if kind < 0.56:  # denim and navy
        return np.array(colorsys.hsv_to_rgb(rng.uniform(0.56, 0.66), rng.uniform(0.2, 0.75), rng.uniform(0.15, 0.75))) * 255
    if kind < 0.7:  # earth
        return np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.15), rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.85))) * 255
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.25, 1.0), rng.uniform(0.2, 1.0))) * 255


@dataclass(frozen=True)
class _Matter:
    """Per class: three colours (linear), fabric and its mapping (scale, cosine and sine, offsets), folds, streaks, blotches, shine."""

    colours: np.ndarray
    fabric: np.ndarray
    mapping: np.ndarray
    folds: np.ndarray
    streaks: np.ndarray
    blotches: np.ndarray
    shine: np.ndarray
    sharpness: np.ndarray
    decal: np.ndarray  # index, scale, left-right and height of the middle, front or back; index -1: none


def _linear(colour: np.ndarray) -> np.ndarray:
    return (np.clip(colour, 0, 255) / 255) ** 2.2


def _colours(rng, wardrobe: dict[int, np.random.Generator]) -> np.ndarray:
    n = len(CLASS_NAMES)
    first = rng.uniform(20, 235, (n, 3))
    tone = rng.uniform(0, len(SKIN_TONES) - 1.001)
    skin = SKIN_TONES[int(tone)] * (1 - tone % 1) + SKIN_TONES[int(tone) + 1] * (tone % 1) + rng.normal(0, 6, 3)
    hair = HAIR_TONES[rng.choice(len(HAIR_TONES), p=[0.24, 0.2, 0.16, 0.12, 0.08, 0.06, 0.04, 0.05, 0.05])] * rng.uniform(0.8, 1.2)
    first[SKIN], first[HAIR], first[BROW] = skin, hair, hair * 0.7 + skin * 0.3 * rng.uniform(0.3, 1)
    first[BEARD] = hair + (skin - hair) * rng.choice([0, rng.uniform(0.2, 0.75)])  # full, or stubble
    first[LIPS] = skin * [0.85, 0.62, 0.62] if rng.random() < 0.75 else [rng.uniform(130, 220), rng.uniform(20, 70), rng.uniform(40, 90)]
    first[EYE], first[IRIS], first[MOUTH] = rng.uniform(170, 235), rng.uniform(20, 110, 3), [70, 25, 25]
    for name, own in wardrobe.items():
        first[name] = _cloth_colour(own)
    first[GLASSES], first[TRIM] = rng.uniform(5, 60) + rng.normal(0, 8, 3), rng.uniform(20, 200) + rng.normal(0, 8, 3)
    if rng.random() < 0.12:  # one suit of one colour
        first[LOWER] = first[UPPER]
    if rng.random() < 0.3:
        first[SHOE] = rng.uniform(8, 70) if rng.random() < 0.6 else rng.uniform(180, 245)
    if rng.random() < 0.35:
        first[SOCK] = 235
    if rng.random() < 0.4:
        first[TOOL] = np.array(colorsys.hsv_to_rgb(rng.uniform(0.04, 0.1), rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.8))) * 255  # wood
    return first


def _matter(rng, textured: bool, present: np.ndarray) -> _Matter:
    n, seed = len(CLASS_NAMES), int(rng.integers(1 << 62))
    # Each garment is drawn by itself, so that it is the same in another view, where others are hidden.
    wardrobe = {name: np.random.default_rng((seed, name)) for name in _GARMENTS if present[name]}
    colours = np.repeat(_colours(rng, wardrobe)[:, None], 3, 1)
    fabric, mapping = np.full(n, -1, np.int64), np.zeros((n, 5))
    folds, streaks, blotches, shine, sharpness = (np.zeros(n) for _ in range(5))
    for name, own in wardrobe.items():
        angle = own.choice([0, np.pi / 2, own.uniform(0, np.pi)], p=[0.45, 0.35, 0.2])
        scale = np.exp(own.uniform(np.log(1.2), np.log(7))) * TILE / 2  # texels per metre: tiles of 0.3 to 1.7 m
        mapping[name] = scale, np.cos(angle), np.sin(angle), *own.uniform(0, TILE, 2)
        fabric[name] = own.integers(0, FABRICS) if textured else -1
        patterned = own.random() < {UPPER: 0.5, INNER: 0.35, LOWER: 0.2, SEAT: 0.3, TOOL: 0.15}.get(name, 0.25)
        for k in (1, 2):  # not patterned: the same colours, only the thread is left
            colours[name, k] = _cloth_colour(own) if patterned and textured else colours[name, 0]
            if own.random() < 0.25:
                colours[name, k] = np.clip(colours[name, 0] * own.uniform(0.6, 1.3), 0, 255)
    decal = np.array([-1.0, 1, 0, 0, 0])
    if textured:
        folds[list(_FOLDED)] = rng.uniform(0.1, 1.1, len(_FOLDED)) * rng.uniform(0.4, 1.2)
        folds[HAIR], folds[SKIN], folds[[SHOE, SEAT]] = rng.uniform(0.2, 1.2), rng.uniform(0, 0.12), rng.uniform(0, 0.4)
        streaks[[HAIR, BEARD, BROW]] = rng.uniform(0.3, 1.4)
        blotches[[SKIN, LIPS]] = rng.uniform(0.02, 0.14)
        blotches[[UPPER, LOWER, SHOE, TOOL, SEAT, HAT]] = rng.uniform(0, 0.2, 6)
        if rng.random() < 0.45:
            decal = np.array(
                [rng.integers(0, DECALS), TILE / rng.uniform(0.1, 0.34), rng.normal(0, 0.03), rng.uniform(0.2, 0.36), rng.integers(0, 3)]
            )
            colours[UPPER, 2] = _cloth_colour(rng)
        shine[[SKIN, LIPS]], shine[HAIR] = rng.choice([rng.uniform(0, 0.06), rng.uniform(0.06, 0.3)], p=[0.7, 0.3]), rng.uniform(0, 0.35)
        shine[[SHOE, HAT, TOOL, TRIM, BAG, SEAT]] = rng.uniform(0, 0.6, 6) * (rng.random(6) < 0.5)
        shine[[UPPER, LOWER]] = rng.uniform(0, 0.3, 2) * (rng.random(2) < 0.2)
        shine[[EYE, GLASSES]] = 0.7
    sharpness[:] = np.exp(rng.uniform(np.log(6), np.log(60), n))
    return _Matter(_linear(colours), fabric, mapping, folds, streaks, blotches, shine, sharpness, decal)


@dataclass(frozen=True)
class Light:
    """Lights in the camera's frame. `sun`, `lamp`: unit directions towards them; colours as linear factors; `shadow` in 0..1."""

    sun: Float[np.ndarray, " 3"]
    sun_colour: Float[np.ndarray, " 3"]
    lamp: Float[np.ndarray, " 3"]
    lamp_colour: Float[np.ndarray, " 3"]
    sky: Float[np.ndarray, " 3"]
    ground: Float[np.ndarray, " 3"]
    shadow: float
    hollows: float


def sample_light(rng: np.random.Generator, look: Look | None = None) -> Light:
    """Draw the lights of a scene: sun and sky, an overcast sky, lamps of a room, a flash, light from behind."""
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    if look is not None and not look.lights:
        grey = np.full(3, 0.55)
        return Light(unit(np.array([0, -0.6, -1.0])), 0.6 * np.ones(3), unit(np.array([0, 0, -1.0])), np.zeros(3), grey, grey, 0.0, 0.0)
    kind = rng.choice(["sun", "overcast", "room", "flash", "behind"], p=[0.34, 0.26, 0.26, 0.06, 0.08])
    warm = lambda spread: np.exp(rng.normal(0, spread) * np.array([1, 0.1, -1.0]) + rng.normal(0, 0.03, 3))  # noqa: E731
    towards = unit(rng.normal(0, 1, 3) * [1, 0.5, 1] + [0, -1.1, -0.5])
    sun, sky, shadow = rng.uniform(0.6, 1.5), rng.uniform(0.12, 0.4), rng.uniform(0.6, 1.0)
    if kind == "overcast":
        sun, sky, shadow = rng.uniform(0.0, 0.4), rng.uniform(0.4, 0.9), rng.uniform(0, 0.5)
    elif kind == "room":
        sun, sky, shadow = rng.uniform(0.3, 0.9), rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.8)
    elif kind == "flash":
        towards, sun, sky = unit(np.array([0, -0.1, -1]) + rng.normal(0, 0.1, 3)), rng.uniform(0.7, 1.3), rng.uniform(0.05, 0.3)
    elif kind == "behind":
        towards, sun, sky = unit(np.array([rng.normal(), -0.6, rng.uniform(0.2, 1.2)])), rng.uniform(0.6, 1.6), rng.uniform(0.1, 0.35)
    # Cameras expose for what they see: the brighter the lights, the shorter.
    exposure = np.exp(rng.normal(0, 0.22)) * 1.15 / (0.55 * sun + 0.8 * sky + 0.25)
    sun, sky = sun * exposure, sky * exposure
    return Light(
        towards, sun * warm(0.1), unit(rng.normal(0, 1, 3)), rng.choice([0, rng.uniform(0, 0.5)]) * warm(0.2), sky * warm(0.12),
        sky * rng.uniform(0.15, 0.9) * warm(0.12), shadow, rng.uniform(0.2, 0.9),
    )  # fmt: skip


@numba.njit(cache=True, fastmath=True)
def _shadows(depth, relief, sun_x, sun_y, sun_z, out):
    """1 where the way to the sun is barred by the person, at the resolution given; `relief`: pixels of depth per level."""
    height, width = depth.shape
    for r in range(height):
        for c in range(width):
            d = depth[r, c]
            if d <= 0.0:
                continue
            t = 1.5
            for _ in range(16):
                x, y = int(c + sun_x * t), int(r + sun_y * t)
                if x < 0 or y < 0 or x >= width or y >= height:
                    break
                there = depth[y, x]
                if there > 0.0:
                    gap = d + sun_z * t / relief - there  # how far the ray passes behind what is seen there
                    if gap > 1.0 + 1.2 / relief and gap < 3.0 + 26.0 / relief:
                        out[r, c] = 1.0
                        break
                t *= 1.26
    return out


@numba.njit(cache=True, fastmath=True)
def _shade(
    labels,
    colours,
    fabric,
    mapping,
    folds,
    streaks,
    blotches,
    shine,
    sharpness,
    decal,
    fabrics,
    decals,
    bump,
    noise,
    lights,
    open_,
    lit,
    encode,
    out,
):
    height, width = labels.shape[1], labels.shape[2]
    for r in range(height):
        for c in range(width):
            k = labels[0, r, c]
            if k == 0:
                continue
            nx, ny = (labels[1, r, c] - 128.0) / 127.0, (labels[2, r, c] - 128.0) / 127.0
            px, py, pz = labels[3, r, c] * (1.2 / 255) - 0.6, labels[4, r, c] * (0.7 / 255) - 0.45, labels[5, r, c] * (1.9 / 255) - 0.95
            around = px + 0.8 * py
            second, third, thread = 0.0, 0.0, 1.0
            f = fabric[k]
            if f >= 0:
                scale, cosine, sine = mapping[k, 0], mapping[k, 1], mapping[k, 2]
                u = int(scale * (cosine * around + sine * pz) + mapping[k, 3] + 4096.0) & 127
                v = int(scale * (cosine * pz - sine * around) + mapping[k, 4] + 4096.0) & 127
                second, third = fabrics[f, v, u, 0] / 255.0, fabrics[f, v, u, 1] / 255.0
                thread = fabrics[f, v, u, 2] / 128.0
            if k == 7 and decal[0] >= 0.0 and (decal[4] == 2.0 or (py < 0.0) == (decal[4] == 0.0)):
                side = 1.0 if py < 0.0 else -1.0
                u, v = int(64.0 + side * (px - decal[2]) * decal[1]), int(64.0 + (decal[3] - pz) * decal[1])
                if 0 <= u < 128 and 0 <= v < 128:
                    third = max(third, decals[v, u] / 255.0)
            br, bc = int(pz * 330.0 + 256.0) & 511, int(around * 330.0 + 256.0) & 511
            strength = folds[k]
            if strength > 0.0:
                nx += strength * bump[br, bc, 0]
                ny += strength * bump[br, bc, 1]
            square = nx * nx + ny * ny
            if square > 0.998:
                scale = np.sqrt(0.998 / square)
                nx, ny = nx * scale, ny * scale
                square = 0.998
            nz = -np.sqrt(1.0 - square)
            texture = thread * (1.0 + blotches[k] * (noise[br, bc] - 128.0) / 40.0)
            if streaks[k] > 0.0:
                texture *= 1.0 + 0.3 * streaks[k] * (noise[int(pz * 60.0 + 99.0) & 511, int(around * 1300.0 + 999.0) & 511] - 128.0) / 40.0
            sun = max(0.0, nx * lights[0, 0] + ny * lights[0, 1] + nz * lights[0, 2]) * lit[r, c]
            lamp = max(0.0, nx * lights[2, 0] + ny * lights[2, 1] + nz * lights[2, 2])
            up = 0.5 - 0.5 * ny
            glint = 0.0
            if shine[k] > 0.0 and sun > 0.0:
                hx, hy, hz = lights[0, 0], lights[0, 1], lights[0, 2] - 1.0
                h = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-6)
                if h > 0.0:
                    glint = shine[k] * h ** sharpness[k] * lit[r, c]
            for b in range(3):
                albedo = colours[k, 0, b] * (1.0 - second) + colours[k, 1, b] * second
                albedo = albedo * (1.0 - third) + colours[k, 2, b] * third
                light = sun * lights[1, b] + lamp * lights[3, b] + open_[r, c] * (lights[4, b] * up + lights[5, b] * (1.0 - up))
                value = albedo * texture * light + glint * lights[1, b]
                out[r, c, b] = encode[int(min(max(value, 0.0), 1.0) * 4095.0)]
            out[r, c, 3] = 255


def _openness(depth: np.ndarray, relief: float, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """How much of the sky every pixel sees, and how much of the sun; both from the depth plane at half its size."""
    size = depth.shape[::-1]
    half = np.ascontiguousarray(depth[::2, ::2]).astype(np.float32)
    lit = np.ones(half.shape, np.float32)
    if light.shadow > 0:
        barred = _shadows(half, np.float32(max(relief / 2, 0.02)), *(np.float32(v) for v in light.sun), np.zeros(half.shape, np.float32))
        lit -= light.shadow * cv2.GaussianBlur(barred, (0, 0), 0.8)
    open_ = np.ones(half.shape, np.float32)
    if light.hollows > 0:
        there = (half > 0).astype(np.float32)
        for reach in (5, 17):
            mean = cv2.blur(half, (reach, reach)) / np.maximum(cv2.blur(there, (reach, reach)), 1e-3)
            open_ -= light.hollows * np.clip((half - mean) * relief / reach * 0.9, -0.15, 0.45)
    grow = lambda a: cv2.resize(a, size, interpolation=cv2.INTER_LINEAR)  # noqa: E731
    return grow(open_), grow(lit)


def _bumps(rng) -> tuple[np.ndarray, np.ndarray]:
    """A field of folds: slopes (512, 512, 2), large, small, drawn out one way; and noise of all scales (512, 512)."""
    clouds = cloth().clouds
    slopes, noise = _slopes(), clouds[rng.integers(0, len(clouds))]
    pick = slopes[rng.integers(0, len(slopes))]
    return pick, noise


_SLOPES: list[np.ndarray] = []


def _slopes() -> list[np.ndarray]:
    """Slopes of fold fields, made once per process."""
    if not _SLOPES:
        rng = np.random.default_rng(21)
        for _ in range(24):
            cells, stretch = int(rng.integers(14, 60)), np.exp(rng.uniform(-1.2, 1.2))
            size = (CLOUD_SIZE, CLOUD_SIZE)
            field = smooth_noise(rng, size, (int(cells * stretch), int(cells / stretch)))
            field = -np.abs(field) if rng.random() < 0.4 else field  # creases
            field = field + 0.35 * smooth_noise(rng, size, (3 * cells, 3 * cells))
            slope = np.stack([cv2.Sobel(field, cv2.CV_32F, 1, 0), cv2.Sobel(field, cv2.CV_32F, 0, 1)], -1)
            _SLOPES.append(slope / (slope.std() + 1e-6) * np.float32(0.35))
    return _SLOPES


def paint(
    rng: np.random.Generator, labels: UInt8[np.ndarray, "8 h w"], relief: float = 1.0, light: Light | None = None, look: Look | None = None
) -> UInt8[np.ndarray, "h w 4"]:
    """Colour one label image: RGBA, alpha 255 on the person and their things and 0 elsewhere.

    `relief`: pixels in the image that one level of the depth plane is deep. `light`: of the scene; drawn where not given.
    """
    look = look or Look()
    light = light or sample_light(rng, look)
    m = _matter(rng, look.textures, np.bincount(labels[0].ravel(), minlength=len(CLASS_NAMES)) > 0)
    slopes, noise = _bumps(rng)
    open_, lit = _openness(labels[6], relief, light)
    lights = np.stack([light.sun, light.sun_colour, light.lamp, light.lamp_colour, light.sky, light.ground]).astype(np.float32)
    out = np.zeros((*labels.shape[1:], 4), np.uint8)
    pools = cloth()
    as_small = lambda a: a.astype(np.float32)  # noqa: E731
    _shade(
        labels, as_small(m.colours), m.fabric, as_small(m.mapping), as_small(m.folds), as_small(m.streaks), as_small(m.blotches),
        as_small(m.shine), as_small(m.sharpness), as_small(m.decal), pools.fabrics, pools.decals[int(max(m.decal[0], 0))], slopes, noise,
        lights, open_, lit, _ENCODE, out,
    )  # fmt: skip
    return out
