"""What stands behind people: photographs without people, rooms and streets of textures, made-up places (`scenery`), and things in them.

The detector also learns from them what is no person: windows, hedges, trees, furniture, animals. Pictures come from folders the user
names (the recipe lists Debian packages and scikit-image's samples with their licences) and are of three kinds, told apart by what they
are: cut-outs have an alpha channel, textures have sides of at most `TEXTURE` pixels, all others are photographs. Without any, the
made-up places alone are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from vitruvian.synth.fabric import smooth_noise
from vitruvian.synth.scenery import make_place

TEXTURE = 400  # pictures that are no larger are repeated over walls and floors
CUT_OUT = 200


def load_photographs(files: Sequence[str | Path], longest: int = 900) -> list[np.ndarray]:
    """Read pictures (uint8), shrunk so that the longer side is at most `longest` pixels; unreadable ones are left out.

    RGB, or RGBA for cut-outs: at most `CUT_OUT` pixels, trimmed to what is to be seen, colours weighted by coverage.
    """
    pictures = []
    for file in files:
        see_through = Path(file).suffix.lower() in (".png", ".webp", ".tif", ".tiff")
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED if see_through else cv2.IMREAD_COLOR)
        if image is not None and see_through and (image.ndim < 3 or image.dtype != np.uint8 or _opaque(image)):
            image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            continue
        if image.shape[2] == 4:
            image = _trimmed(image)
            if image is not None:
                pictures.append(cv2.cvtColor(_shrunk(image, CUT_OUT), cv2.COLOR_BGRA2RGBA))
        else:
            pictures.append(cv2.cvtColor(_shrunk(image, longest), cv2.COLOR_BGR2RGB))
    return pictures


def _opaque(image: np.ndarray) -> bool:
    return image.shape[2] < 4 or bool((image[..., 3] > 127).mean() > 0.97)


def _trimmed(image: np.ndarray) -> np.ndarray | None:
    """The part of a cut-out that is to be seen, colours weighted by coverage; None if nothing is."""
    left, top, width, height = cv2.boundingRect((image[..., 3] > 16).astype(np.uint8))
    if min(width, height) < 4:
        return None
    image = image[top : top + height, left : left + width]
    alpha = image[..., 3]
    return cv2.multiply(image, cv2.merge([alpha, alpha, alpha, np.full_like(alpha, 255)]), scale=1 / 255)


def _shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    shrink = longest / max(image.shape[:2])
    if shrink >= 1:
        return image
    size = [max(1, round(side * shrink)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


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


@dataclass(frozen=True)
class Pictures:
    """Pictures by kind: photographs and textures (RGB), cut-outs (RGBA, colours weighted by coverage)."""

    photographs: list[np.ndarray]
    textures: list[np.ndarray]
    cut_outs: list[np.ndarray]

    @classmethod
    def sort(cls, pictures: Sequence[np.ndarray]) -> Pictures:
        """Tell pictures apart as the head of this file says."""
        cut_outs = [p for p in pictures if p.shape[2] == 4]
        solid = [p for p in pictures if p.shape[2] == 3]
        textures = [p for p in solid if max(p.shape[:2]) <= TEXTURE]
        return cls([p for p in solid if max(p.shape[:2]) > TEXTURE], textures, cut_outs)


def _tiled(rng: np.random.Generator, textures: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A texture repeated over `size`, each piece between a fifth and all of it, shifted and recoloured."""
    texture = textures[rng.integers(len(textures))]
    piece = np.exp(rng.uniform(np.log(0.2), 0.0)) * max(size)
    shrink = piece / max(texture.shape[:2])
    texture = cv2.resize(texture, [max(8, round(side * shrink)) for side in texture.shape[1::-1]], interpolation=cv2.INTER_AREA)
    x, y = rng.integers(texture.shape[1]), rng.integers(texture.shape[0])
    rows, columns = (y + np.arange(size[1])) % texture.shape[0], (x + np.arange(size[0])) % texture.shape[1]
    return _recoloured(rng, texture[rows[:, None], columns])


def _textured_place(rng: np.random.Generator, textures: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A wall of one texture, seen straight or askew, mostly with a floor of another in perspective before it."""
    width, height = size
    image = _tiled(rng, textures, size)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    if rng.random() < 0.5:  # askew: one end of the wall is farther away
        near, pull = corners.copy(), rng.uniform(0.1, 0.8) * height
        side = [0, 3] if rng.random() < 0.5 else [1, 2]
        near[side, 1] += np.array([-pull, pull]) * rng.uniform(0, 1, 2)
        image = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, near), size, borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.7:
        row, spread = int(rng.uniform(0.4, 0.95) * height), rng.uniform(0.3, 2.0) * width
        ground = np.array([[0, row], [width, row], [width + spread, height], [-spread, height]], np.float32)
        matrix = cv2.getPerspectiveTransform(corners, ground)
        floor = cv2.warpPerspective(_tiled(rng, textures, size), matrix, size, borderMode=cv2.BORDER_WRAP)
        image[row:] = floor[row:]
    shade = 1 + rng.uniform(0, 0.25) * smooth_noise(rng, size, (3, 3))
    return np.clip(image * shade[..., None], 0, 255).astype(np.uint8)


def _post(rng: np.random.Generator, solid: list[np.ndarray]) -> np.ndarray:
    """An upright thin thing, a pole or a trunk: a strip of a picture, round in its shading; RGBA."""
    width, height = int(rng.integers(4, 24)), CUT_OUT
    strip = _crop(rng, solid, (width, height), 0.1)
    light = rng.uniform(-1, 1)
    shade = 1 - 0.5 * (np.linspace(-1, 1, width) - light) ** 2 / (1 + abs(light)) ** 2
    strip = (strip * shade[:, None]).astype(np.uint8)
    return np.dstack([strip, np.full((height, width), 255, np.uint8)])


def lay_over(image: np.ndarray, layer: np.ndarray, tint: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Lay an RGBA layer of the image's size over it, in place, its colours times `tint`; returns the layer's coverage, 0..255.

    Colours are weighted by coverage already: where the layer covers nothing it is black.
    """
    alpha = layer[..., 3]
    over = cv2.multiply(layer[..., :3], np.array([*tint, 1.0]), dtype=cv2.CV_8U)
    image[:] = cv2.add(over, cv2.multiply(image, cv2.merge([255 - alpha] * 3), scale=1 / 255))
    return alpha


def paste(rng: np.random.Generator, image: np.ndarray, thing: np.ndarray, extent: float, slim: float = 1.0) -> UInt8[np.ndarray, "h w"]:
    """Lay a cut-out (RGBA) of `extent` pixels at a random place over `image`, in place; mirrored, turned, tinted, out of focus at random.

    `slim` narrows it. Returns its coverage of the image, 0..255. What it does not cover stays as it was.
    """
    height, width = image.shape[:2]
    scale = np.array([slim * np.exp(rng.normal(0, 0.12)), 1.0]) * extent / max(thing.shape[:2])
    w, h = (max(3, round(float(side))) for side in scale * thing.shape[1::-1])
    thing = cv2.resize(thing, (w, h), interpolation=cv2.INTER_AREA if h < thing.shape[0] else cv2.INTER_LINEAR)
    turn = 0.0 if rng.random() < 0.7 else float(rng.normal(0, 15))
    place = np.array([rng.uniform(-0.3 * w, width - 0.7 * w), rng.uniform(0.2, 1.1) * height - h])
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), turn, 1.0)
    matrix[:, 2] += place
    if rng.random() < 0.5:
        thing = cv2.flip(thing, 1)
    laid = cv2.warpAffine(thing, matrix, (width, height), flags=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        laid = cv2.blur(laid, (3, 3)) if rng.random() < 0.7 else cv2.blur(laid, (5, 5))
    return lay_over(image, laid, (1 + rng.normal(0, 0.12, 3)) * rng.uniform(0.45, 1.2))


def _furnish(rng: np.random.Generator, image: np.ndarray, pictures: Pictures) -> None:
    """Lay 0 to 5 cut-outs and up to 2 posts over a background, in place."""
    for _ in range(rng.integers(0, 6)):
        thing = pictures.cut_outs[rng.integers(len(pictures.cut_outs))]
        slim = rng.uniform(0.25, 0.6) if rng.random() < 0.2 else 1.0  # upright and narrow as people are
        paste(rng, image, thing, image.shape[0] * np.exp(rng.uniform(np.log(0.08), np.log(0.95))), slim)
    solid = pictures.photographs + pictures.textures
    for _ in range(rng.integers(0, 3) if solid and rng.random() < 0.4 else 0):
        paste(rng, image, _post(rng, solid), image.shape[0] * rng.uniform(0.2, 1.3))


def make_background(
    rng: np.random.Generator, pictures: Sequence[np.ndarray] | Pictures, size: tuple[int, int], places: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """One background of `size` (width, height): a piece of a photograph, a place of textures, a made-up place, now and then a surface.

    Of every twenty nine are photographs, five of textures, where there are 25 photographs and 10 textures; half of all are furnished with
    cut-outs. `places=False`: surfaces alone.
    """
    if not places:
        return _surface(rng, size)
    pictures = pictures if isinstance(pictures, Pictures) else Pictures.sort(pictures)
    share, textured = min(0.45, 0.018 * len(pictures.photographs)), min(0.25, 0.025 * len(pictures.textures))
    kind = rng.random()
    if kind < share:
        image = _crop(rng, pictures.photographs, size)
    elif kind > 1 - textured:
        image = _textured_place(rng, pictures.textures, size)
    else:
        image = _place(rng, size)
    if rng.random() < 0.25:
        _collage(rng, image, pictures.photographs + pictures.textures or [_place(rng, (128, 128)) for _ in range(2)])
    if rng.random() < 0.15:
        for _ in range(rng.integers(1, 8)):
            random_shape(rng, image, rng.uniform(0, size), rng.uniform(0.04, 0.5) * size[1] * rng.random(), rng.uniform(0, 255, 3))
    if pictures.cut_outs and rng.random() < 0.5:
        _furnish(rng, image, pictures)
    return image


class Backdrops(Sequence):
    """A pool of `count` backgrounds of `size`, each made when it is first asked for; the same for the same seed and pictures."""

    def __init__(self, photographs: Sequence[np.ndarray], seed: int, count: int, size: tuple[int, int], places: bool = True):
        self._made: list[np.ndarray | None] = [None] * count
        self._pictures, self._seed, self._size, self._places = Pictures.sort(photographs), seed, size, places

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        image = self._made[i]
        if image is None:
            rng = np.random.default_rng((self._seed, i))
            image = self._made[i] = make_background(rng, self._pictures, self._size, self._places)
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
    return np.ascontiguousarray(_recoloured(rng, image))


def _recoloured(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return np.clip(image * (1 + rng.normal(0, 0.1, 3)) * rng.uniform(0.6, 1.3) + rng.normal(0, 15), 0, 255).astype(np.uint8)
