"""Made-up places: rooms, streets, fields, woods, slopes, stands, water, studios; no person in them.

They have what photographs have and plain noise has not: a horizon, floors and walls in perspective, straight edges, objects lit from one
side with shadows below them, foliage, windows, letters, and textures of all scales in quiet colours. The detector learns from them that
bushes, windows, poles and chairs are no people.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import UInt8

from vitruvian.synth.fabric import cloth, octaves, smooth_noise

Canvas = np.ndarray  # float32 (h, w, 3), 0..255


def hsv(rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    """A random RGB colour, 0..255, from ranges of hue, saturation and value."""
    return np.array(colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value)), np.float32) * 255


def quiet(rng: np.random.Generator) -> np.ndarray:
    """A colour as walls, furniture and things have it: mostly grey, brown, beige, now and then bright."""
    kind = rng.random()
    if kind < 0.5:
        return np.float32(rng.uniform(20, 245)) * (1 + rng.normal(0, 0.04, 3)).astype(np.float32)
    if kind < 0.8:
        return hsv(rng, (0.03, 0.16), (0.1, 0.6), (0.15, 0.95))
    return hsv(rng, (0, 1), (0.1, 0.5 if rng.random() < 0.6 else 0.95), (0.2, 0.95))


def _cloud(rng, size: tuple[int, int]) -> np.ndarray:
    """A piece of noise of all scales, unit deviation."""
    pool = cloth().clouds
    cloud, (width, height) = pool[rng.integers(len(pool))], size
    extent = rng.uniform(0.25, 1.0)
    w, h = int(512 * extent), int(512 * extent)
    x, y = rng.integers(0, 513 - w), rng.integers(0, 513 - h)
    piece = cv2.resize(cloud[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return (piece.astype(np.float32) - 128) / 40


def _sky(rng, size: tuple[int, int]) -> Canvas:
    width, height = size
    top, low = hsv(rng, (0.54, 0.64), (0.05, 0.75), (0.45, 0.95)), hsv(rng, (0.05, 0.62), (0.0, 0.3), (0.7, 1.0))
    if rng.random() < 0.35:  # grey
        top, low = np.full(3, rng.uniform(120, 230), np.float32), np.full(3, rng.uniform(160, 250), np.float32)
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = top * (1 - t) + low * t
    if rng.random() < 0.6:
        cover = np.clip(_cloud(rng, size) * 0.5 + rng.uniform(-0.5, 0.5), 0, 1)[..., None]
        return sky * (1 - cover) + cover * rng.uniform(190, 255)
    return np.repeat(sky, width, 1)


_GROUNDS = (
    ((0.18, 0.33), (0.25, 0.7), (0.2, 0.6), 0.16),  # grass
    ((0.0, 1.0), (0.0, 0.06), (0.2, 0.7), 0.10),  # asphalt, concrete
    ((0.06, 0.13), (0.2, 0.5), (0.4, 0.85), 0.10),  # sand, earth
    ((0.5, 0.66), (0.0, 0.12), (0.78, 0.98), 0.05),  # snow
    ((0.45, 0.62), (0.2, 0.7), (0.2, 0.65), 0.18),  # water
    ((0.04, 0.1), (0.3, 0.7), (0.2, 0.75), 0.08),  # wood
    ((0.0, 1.0), (0.0, 0.3), (0.3, 0.9), 0.05),  # carpet, tiles
)


def _ground(rng, size: tuple[int, int], kind: int | None = None) -> Canvas:
    """A floor seen in perspective up to the upper edge of the picture: texture, boards, tiles, lines."""
    width, height = size
    hue, saturation, value, rough = _GROUNDS[rng.integers(len(_GROUNDS)) if kind is None else kind]
    colour = hsv(rng, hue, saturation, value)
    flat = np.ones((256, 256, 1), np.float32) * colour
    flat *= 1 + rough * np.clip(_cloud(rng, (256, 256)), -3, 3)[..., None]
    flat *= 1 + 0.6 * rough * rng.standard_normal((256, 256, 1), np.float32)
    if kind in (5, 6) or rng.random() < 0.3:
        step = int(rng.choice([8, 16, 32, 64]))
        dark = rng.uniform(0.5, 0.95)
        flat[::step] *= dark
        if rng.random() < 0.6:
            flat[:, :: step * int(rng.choice([1, 1, 3]))] *= dark
        if rng.random() < 0.5:
            shades = rng.uniform(0.85, 1.15, (256 // step + 1, 1, 1)).astype(np.float32)
            flat *= np.repeat(shades, step, 0)[:256]
    for _ in range(rng.integers(0, 4)):  # painted lines, ruts, kerbs
        ends = rng.uniform(-30, 286, (2, 2)).astype(int)
        cv2.line(
            flat,
            tuple(map(int, ends[0])),
            tuple(map(int, ends[1])),
            tuple(float(v) for v in quiet(rng)),
            int(rng.integers(1, 7)),
            cv2.LINE_AA,
        )
    spread, shift = rng.uniform(1.5, 6), rng.uniform(-0.5, 0.5) * width
    corners = np.array([[0, 0], [256, 0], [256, 256], [0, 256]], np.float32)
    to = np.array(
        [[shift, 0], [width + shift, 0], [width * (0.5 + spread / 2) + shift, height], [width * (0.5 - spread / 2) + shift, height]]
    )
    return cv2.warpPerspective(flat, cv2.getPerspectiveTransform(corners, to.astype(np.float32)), size, borderMode=cv2.BORDER_REFLECT)


def _lay(image: Canvas, mask: np.ndarray, colour: np.ndarray) -> None:
    """Mix `colour` (3,) or (h, w, 3) into the image by a mask in 0..1, in place."""
    m = mask[..., None] if mask.ndim == 2 else mask
    image += m * (colour - image)


def foliage(rng: np.random.Generator, image: Canvas) -> None:
    """A bush, hedge or tree crown of leaves in light and shade, in place."""
    height, width = image.shape[:2]
    size, centre = rng.uniform(0.1, 0.6, 2) * [width, height], rng.uniform(0, 1, 2) * [width, 0.8 * height]
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    away = ((xx - centre[0]) / size[0]) ** 2 + ((yy - centre[1]) / size[1]) ** 2
    grain = octaves(rng, (width, height), int(rng.integers(6, 30)), 0.75)
    inside = np.clip((1 - away + 0.5 * grain) * 4, 0, 1)
    green = hsv(rng, (0.14, 0.4), (0.2, 0.75), (0.15, 0.6)) if rng.random() < 0.85 else hsv(rng, (0.02, 0.14), (0.4, 0.8), (0.3, 0.7))
    light = np.clip(0.75 + 0.4 * grain + 0.3 * (centre[1] - yy) / size[1], 0.08, 1.8)
    if rng.random() < 0.5:  # a trunk
        x, thick = int(centre[0]), max(2, int(size[0] * rng.uniform(0.04, 0.15)))
        cv2.line(
            image,
            (x, int(centre[1])),
            (x + int(rng.normal(0, 10)), height),
            tuple(float(v) for v in hsv(rng, (0.05, 0.1), (0.1, 0.5), (0.1, 0.5))),
            thick,
        )
    _lay(image, inside, green * light[..., None])


def facade(rng: np.random.Generator, image: Canvas) -> None:
    """A wall of windows, shelves, bricks or shutters in perspective over a part of `image`, in place."""
    height, width = image.shape[:2]
    side = 256
    texture = np.ones((side, side, 3), np.float32) * quiet(rng)
    texture *= 1 + rng.uniform(0.01, 0.12) * _cloud(rng, (side, side))[..., None]
    columns, rows = (int(v) for v in rng.integers(1, 13, 2))
    gap, pane, frame = rng.uniform(0.05, 0.6, 2), quiet(rng) * rng.uniform(0.3, 1.2), quiet(rng)
    books = rng.random() < 0.2
    for row in range(rows):
        for column in range(columns):
            low = np.array([(column + gap[0] / 2) * side / columns, (row + gap[1] / 2) * side / rows])
            high = low + (1 - gap) * [side / columns, side / rows]
            (x0, y0), (x1, y1) = low.astype(int), high.astype(int) + 1
            colour = quiet(rng) if books else pane * rng.uniform(0.6, 1.3)
            texture[y0:y1, x0:x1] = colour * np.linspace(rng.uniform(0.8, 1.2), 1, max(1, y1 - y0), dtype=np.float32)[: y1 - y0, None, None]
            if not books and rng.random() < 0.7:
                cv2.rectangle(texture, (x0, y0), (x1, y1), tuple(float(v) for v in frame), max(1, side // columns // 16))
                if columns < 7:
                    cv2.line(texture, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), tuple(float(v) for v in frame), 1)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * rng.uniform(0.3, 1.4, 2) * [width, height]
    corners = corners + rng.uniform(-0.4, 0.7, 2) * [width, 0.7 * height]
    lean = rng.normal(0, 0.12) * height
    corners[:, 1] += lean * np.array([-1, 1, -1, 1])  # walls stay upright, their far ends shrink
    source = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    cv2.warpPerspective(texture, matrix, (width, height), dst=image, borderMode=cv2.BORDER_TRANSPARENT)


def cuboid(rng: np.random.Generator, image: Canvas) -> None:
    """A cupboard, crate, car body, table or house: three lit sides of a box, in place; now and then on wheels or legs, with letters."""
    height, width = image.shape[:2]
    scale = np.exp(rng.uniform(np.log(0.06), np.log(0.5))) * height
    x, y = rng.uniform(0, width), rng.uniform(0.25, 1.05) * height
    w, h, d = scale * rng.uniform(0.3, 1.5), scale * rng.uniform(0.2, 1.5), scale * rng.uniform(0.1, 0.7)
    shift = np.array([d * rng.choice([-1, 1]), -d * rng.uniform(0.1, 0.5)])
    front = np.array([[x, y - h], [x + w, y - h], [x + w, y], [x, y]])
    colour = quiet(rng)
    shadow = np.array([[x, y], [x + w, y], [x + w, y] + shift * 1.5, [x, y] + shift * 1.5])
    blot = np.zeros((height, width), np.float32)
    cv2.fillPoly(blot, [shadow.astype(np.int32)], float(rng.uniform(0.2, 0.7)))
    _lay(image, cv2.blur(blot, (9, 9)), np.zeros(3, np.float32))
    top = np.array([front[0], front[1], front[1] + shift, front[0] + shift])
    edge = np.array(
        [front[1], front[2], front[2] + shift, front[1] + shift]
        if shift[0] > 0
        else [front[0], front[3], front[3] + shift, front[0] + shift]
    )
    for points, shade in ((edge, rng.uniform(0.4, 0.8)), (top, rng.uniform(0.9, 1.3)), (front, 1.0)):
        cv2.fillPoly(image, [points.astype(np.int32)], tuple(float(v) for v in np.clip(colour * shade, 0, 255)), cv2.LINE_AA)
    kind = rng.random()
    if kind < 0.25:
        for a in (0.2, 0.8):
            cv2.circle(image, (int(x + a * w), int(y)), max(2, int(0.18 * h)), (25.0, 25.0, 28.0), -1, cv2.LINE_AA)
    elif kind < 0.5:
        text = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVX0123456789"), rng.integers(2, 9)))
        letters = np.zeros((height, width), np.uint8)
        cv2.putText(
            letters, text, (int(x + 2), int(y - h / 3)), int(rng.integers(0, 5)), max(0.2, h / 90), 255, max(1, int(h / 40)), cv2.LINE_AA
        )
        _lay(image, letters.astype(np.float32) / 255, quiet(rng))
    elif kind < 0.8:
        for a in np.linspace(0, 1, int(rng.integers(2, 7))):
            cv2.line(image, (int(x), int(y - a * h)), (int(x + w), int(y - a * h)), tuple(float(v) for v in colour * 0.6), 1, cv2.LINE_AA)


def pole(rng: np.random.Generator, image: Canvas) -> None:
    """A lamp post, a fence, wires, a railing or a goal, in place."""
    height, width = image.shape[:2]
    colour, thick = tuple(float(v) for v in quiet(rng)), int(rng.choice([1, 1, 2, 3, 6, 12]))
    kind = rng.integers(0, 3)
    if kind == 0:
        x, y = rng.uniform(0, width), rng.uniform(0, 0.6) * height
        cv2.line(image, (int(x), int(y)), (int(x + rng.normal(0, 4)), height), colour, thick, cv2.LINE_AA)
        if rng.random() < 0.5:
            cv2.circle(image, (int(x), int(y)), 2 * thick + 2, tuple(float(v) for v in quiet(rng)), -1, cv2.LINE_AA)
    elif kind == 1:
        y0, tall, step = rng.uniform(0.3, 0.9) * height, rng.uniform(0.05, 0.35) * height, rng.uniform(3, 30)
        slope = rng.normal(0, 0.1)
        for x in np.arange(0, width, step):
            cv2.line(image, (int(x), int(y0 + slope * x)), (int(x), int(y0 + tall + slope * x)), colour, max(1, thick // 3), cv2.LINE_AA)
        for a in (0, 1):
            cv2.line(image, (0, int(y0 + a * tall)), (width, int(y0 + a * tall + slope * width)), colour, max(1, thick // 2), cv2.LINE_AA)
    else:
        for _ in range(rng.integers(1, 5)):
            ends = rng.uniform(0, 1, 4) * [width, 0.6 * height, width, 0.6 * height]
            cv2.line(image, (0, int(ends[1])), (width, int(ends[3])), colour, 1, cv2.LINE_AA)


def spectators(rng: np.random.Generator, image: Canvas) -> None:
    """Rows of many small far figures without a face, as stands and squares have them behind the people of a picture; in place."""
    height, width = image.shape[:2]
    low, rows, size = rng.uniform(0.15, 0.6) * height, int(rng.integers(1, 6)), rng.uniform(0.015, 0.05) * height
    for row in range(rows):
        y = low - (rows - row) * size * 1.6
        for x in np.arange(0, width, size * rng.uniform(1.3, 2.2)):
            at = np.array([x, y]) + rng.normal(0, 0.3, 2) * size
            cv2.ellipse(
                image,
                tuple(int(v) for v in at + [0, 1.8 * size]),
                (max(1, int(size)), max(1, int(1.4 * size))),
                0,
                0,
                360,
                tuple(float(v) for v in quiet(rng)),
                -1,
            )
            cv2.circle(
                image,
                tuple(int(v) for v in at),
                max(1, int(0.55 * size)),
                tuple(float(v) for v in hsv(rng, (0.03, 0.08), (0.2, 0.6), (0.2, 0.95))),
                -1,
            )


def _horizon(rng, image: Canvas, upper: Canvas, lower: Canvas, row: int) -> None:
    image[:row], image[row:] = upper[:row], lower[row:]


def _outdoors(rng, size: tuple[int, int]) -> Canvas:
    """Sky, what stands before it, and a ground."""
    width, height = size
    image = _sky(rng, size)
    image = np.ascontiguousarray(image, np.float32)
    row = int(np.clip(rng.normal(0.45, 0.2), 0.02, 0.95) * height)
    if rng.random() < 0.4:  # hills
        ridge = row - np.abs(smooth_noise(rng, (width, 1), (int(rng.integers(3, 12)), 2))[0]) * rng.uniform(0.03, 0.25) * height
        hill = (np.arange(height)[:, None] > ridge).astype(np.float32)
        _lay(image, hill, hsv(rng, (0.2, 0.65), (0.05, 0.4), (0.2, 0.8)) * (1 + 0.08 * _cloud(rng, size)[..., None]))
    for _ in range(rng.choice([0, 1, 2, 4])):
        (facade if rng.random() < 0.5 else foliage)(rng, image)
    if rng.random() < 0.25:
        spectators(rng, image)
    ground = _ground(rng, (width, max(4, height - row)), int(rng.choice([0, 1, 2, 3, 4], p=[0.3, 0.3, 0.15, 0.13, 0.12])))
    image[row:] = ground[: height - row]
    for _ in range(rng.choice([0, 1, 3, 6])):
        (cuboid, pole, foliage, cuboid)[rng.integers(4)](rng, image)
    return image


def _room(rng, size: tuple[int, int]) -> Canvas:
    """Walls, floor, windows, furniture."""
    width, height = size
    wall = quiet(rng) * 0.4 + rng.uniform(90, 230) * 0.6
    image = np.ones((height, width, 3), np.float32) * wall.astype(np.float32)
    image *= 1 + rng.uniform(0.01, 0.05) * _cloud(rng, size)[..., None]
    if rng.random() < 0.5:  # the corner of two walls
        x = int(rng.uniform(0.1, 0.9) * width)
        image[:, x:] *= rng.uniform(0.65, 0.95)
    for _ in range(rng.choice([1, 2, 3])):
        facade(rng, image)
    row = int(rng.uniform(0.45, 1.0) * height)
    if row < height - 4:
        image[row:] = _ground(rng, (width, height - row), int(rng.choice([1, 5, 6])))
        image[max(0, row - 3) : row] *= rng.uniform(0.5, 1.2)
    for _ in range(rng.integers(1, 8)):
        cuboid(rng, image)
    if rng.random() < 0.4:
        pole(rng, image)
    glow = rng.uniform(0, 1, 2) * size
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    image *= (0.65 + 0.6 * np.exp(-((xx - glow[0]) ** 2 + (yy - glow[1]) ** 2) / (0.5 * width) ** 2))[..., None]
    return image


def _wood(rng, size: tuple[int, int]) -> Canvas:
    """Leaves everywhere: hedges, forests, meadows close by."""
    image = np.ascontiguousarray(_ground(rng, size, 0), np.float32)
    for _ in range(rng.integers(3, 8)):
        foliage(rng, image)
    if rng.random() < 0.4:
        pole(rng, image)
    return image


def _plain(rng, size: tuple[int, int]) -> Canvas:
    """A studio's backdrop, a wall, snow, water: little to see."""
    image = np.ones((size[1], size[0], 3), np.float32) * quiet(rng)
    image *= 1 + rng.uniform(0.01, 0.15) * _cloud(rng, size)[..., None]
    t = np.linspace(rng.uniform(0.7, 1.2), rng.uniform(0.7, 1.2), size[1], dtype=np.float32)
    return image * t[:, None, None]


def _clutter(rng, size: tuple[int, int]) -> Canvas:
    """Shelves, markets, workshops: many things of all sizes."""
    image = _plain(rng, size)
    for _ in range(rng.integers(8, 26)):
        (cuboid, cuboid, facade, pole, foliage)[rng.choice(5, p=[0.4, 0.2, 0.2, 0.12, 0.08])](rng, image)
    return image


_PLACES: tuple[tuple[Callable, float], ...] = ((_outdoors, 0.42), (_room, 0.26), (_wood, 0.1), (_plain, 0.08), (_clutter, 0.14))


def make_place(rng: np.random.Generator, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """One made-up place of `size` (width, height), RGB, often out of focus, in the light of its hour."""
    maker = _PLACES[rng.choice(len(_PLACES), p=[share for _, share in _PLACES])][0]
    image = np.clip(maker(rng, size), 0, 255)
    sharp = rng.random()
    if sharp < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), np.exp(rng.uniform(np.log(0.6), np.log(7))))
    image *= (np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.07) * np.array([1, 0, -1]))).astype(np.float32)
    image += rng.uniform(0, 2.5) * smooth_noise(rng, size, (size[0] // 2, size[1] // 2))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)
