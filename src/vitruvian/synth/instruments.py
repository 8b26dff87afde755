"""Surgical instruments in a body cavity, drawn with exact labels: shafts that come in from the edge, jointed wrists, jaws, blades, hooks.

For `systems.detection.hsdb_instrument` (card hsdb-instrument.md, section 8): what its synthetic frames are for, in small. Pictures are not
meant to be taken for real ones. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.errors import VitruvianError

PARTS = ("head", "wrist", "body")
SEEN = 0.3
"""Share of a part that must be seen for it to have a box."""
_FINE = 4  # shapes are drawn in pictures of so many times the size: edges are smooth, masks exact
_SHIFT = 4


@dataclass(frozen=True)
class Tool:
    """What an instrument looks like. head: shape of its end. wrist: whether a joint lies before it. single: one box, without parts."""

    head: str
    wrist: bool = False
    single: bool = False


TOOLS: dict[str, Tool] = {
    "AtraumaticGrasper": Tool("grasper"),
    "CurvedAtraumaticGrasper": Tool("curved"),
    "Scissors": Tool("scissors"),
    "MarylandBipolarForceps": Tool("maryland", wrist=True),
    "CadiereForceps": Tool("fenestrated", wrist=True),
    "SmallClipApplier": Tool("clip", wrist=True),
    "Electrichook": Tool("hook", single=True),
    "Suction-Irrigation": Tool("tube", single=True),
}
"""By the names of the data set; shapes are ours."""


@dataclass(frozen=True, eq=False)
class InstrumentPicture:
    """A picture of n instruments with m parts that are seen.

    wholes: (n, 4) xyxy around all seen pixels; names of each; whole_polygons: their outlines. parts: (m, 4) xyxy; labels: (m,) index PARTS;
    owners: (m,) index wholes; polygons: outlines of each part's seen pixels, (k, 2) pixels. Single tools have no parts.
    """

    image: UInt8[np.ndarray, "h w 3"]
    wholes: Float[np.ndarray, "n 4"]
    names: tuple[str, ...]
    parts: Float[np.ndarray, "m 4"]
    labels: Int[np.ndarray, " m"]
    owners: Int[np.ndarray, " m"]
    polygons: tuple[Float[np.ndarray, "k 2"], ...]
    whole_polygons: tuple[Float[np.ndarray, "k 2"], ...]


def instrument_picture(
    rng: np.random.Generator, names: Sequence[str], size: tuple[int, int] = (256, 256), randomised: bool = False
) -> InstrumentPicture:
    """A picture of `size` (width, height) with these instruments, later ones in front.

    randomised: any textures, colours and backgrounds instead of a cavity's and metal's. Raises VitruvianError for a name that is none.
    """
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise VitruvianError(f"no instrument {unknown[0]!r} is drawn here; there are {', '.join(TOOLS)}")
    canvas = _noise_picture(rng, size) if randomised else cavity(rng, size)
    number = np.full((size[1], size[0]), -1, np.int32)
    kind = np.full((size[1], size[0]), -1, np.int8)
    shapes = []
    target = rng.uniform(0.3, 0.7, 2) * size  # they meet about here
    for i, name in enumerate(names):
        masks = _drawn(rng, canvas, TOOLS[name], target + rng.normal(0, 0.14, 2) * size, randomised)
        shapes.append(masks)
        for part, mask in enumerate(masks):
            number[mask], kind[mask] = i, part
    if not randomised:
        canvas = _endoscope(rng, canvas)
    return _labelled(canvas, names, shapes, number, kind)


def cavity(rng: np.random.Generator, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Wet tissue: folds in reds and yellows, vessels, and highlights."""
    width, height = size
    relief = _smooth(rng, size, 5) + 0.5 * _smooth(rng, size, 12) + 0.2 * _smooth(rng, size, 40)
    base, fat = np.array([165, 70, 62]) + rng.normal(0, 14, 3), np.array([205, 165, 95]) + rng.normal(0, 12, 3)
    mix = np.clip(0.5 + 1.2 * _smooth(rng, size, 4), 0, 1)[..., None] * rng.uniform(0.2, 1)
    light = np.clip(0.75 + 0.35 * relief, 0.2, 1.3)[..., None]
    image = (base * (1 - mix) + fat * mix) * light
    vessels = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(2, 7)):
        points = np.cumsum(rng.normal(0, 0.09, (9, 2)), 0) * size + rng.random(2) * size
        cv2.polylines(vessels, [points.astype(np.int32)], False, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
    image -= (cv2.GaussianBlur(vessels, (0, 0), 0.8) * rng.uniform(25, 70))[..., None] * [0.6, 1.0, 0.9]
    shine = np.clip(_smooth(rng, size, 30) - rng.uniform(1.4, 2.0), 0, 0.4)[..., None] * 500
    return np.clip(image + shine, 0, 255).astype(np.uint8)


def _smooth(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Float[np.ndarray, "h w"]:
    """Noise of unit spread, so many waves across."""
    small = rng.normal(size=(cells + 3, cells + 3)).astype(np.float32)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)


def _noise_picture(rng: np.random.Generator, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """Random colours at random scales, with random shapes on it."""
    image = np.full((size[1], size[0], 3), rng.uniform(0, 255, 3))
    for cells in (2, 6, 20, 60):
        image += np.stack([_smooth(rng, size, cells) for _ in range(3)], -1) * rng.uniform(0, 45)
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 6)):
        points = (rng.random(2) * size + rng.normal(0, 0.15, (5, 2)) * size).astype(np.int32)
        cv2.fillConvexPoly(image, cv2.convexHull(points), rng.uniform(0, 255, 3).tolist(), cv2.LINE_AA)
    return image


def _endoscope(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Darker towards the edge, a little blur and noise."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    centre = np.array([width, height]) * rng.uniform(0.4, 0.6, 2)
    away = np.hypot(x - centre[0], y - centre[1]) / (0.75 * max(width, height))
    out = image * np.clip(1.1 - rng.uniform(0.3, 0.9) * away**2, 0.15, 1.1)[..., None] + rng.normal(0, rng.uniform(1, 6), image.shape)
    out = cv2.GaussianBlur(np.clip(out, 0, 255).astype(np.uint8), (0, 0), rng.uniform(0.3, 0.9))
    return out


def _drawn(rng: np.random.Generator, canvas: np.ndarray, tool: Tool, tip: np.ndarray, randomised: bool) -> list[np.ndarray]:
    """Draw a tool, in place; the mask of each of PARTS, of a single tool everything as "body"."""
    size = np.array(canvas.shape[1::-1])
    angle = rng.uniform(0, 2 * np.pi)
    thick = rng.uniform(0.035, 0.06) * size.min()
    ahead = np.array([np.cos(angle), np.sin(angle)])
    bend = rng.normal(0, 0.5) if tool.wrist else 0.0
    joint = tip - ahead * rng.uniform(1.5, 3.0) * thick  # the shaft's end
    far = joint - ahead * 2 * size.max()
    turned = _turn(ahead, bend)
    wrist_end = joint + turned * thick * rng.uniform(1.2, 1.8) if tool.wrist else joint
    head = _head(rng, tool.head, wrist_end, _turn(turned, rng.normal(0, 0.25) if tool.wrist else 0.0), thick)
    bodies = [_bar(far, joint, thick)]
    wrists = [_bar(joint, wrist_end, 0.85 * thick)] if tool.wrist else []
    metal = rng.uniform(0, 255, (3, 3)) if randomised else _metal(rng)
    across = _turn(ahead, np.pi / 2)
    masks = []
    for outlines, colour in zip((head, wrists, bodies), metal, strict=True):
        mask = _filled(outlines, canvas.shape[:2])
        _painted(rng, canvas, mask, colour, across, joint, thick, randomised)
        masks.append(mask > 0.5)
    if tool.single:
        return [np.zeros_like(masks[0]), np.zeros_like(masks[0]), masks[0] | masks[1] | masks[2]]
    return masks


def _turn(vector: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]]) @ vector


def _bar(start: np.ndarray, end: np.ndarray, thick: float) -> np.ndarray:
    along = (end - start) / max(np.linalg.norm(end - start), 1e-9)
    side = _turn(along, np.pi / 2) * thick / 2
    return np.array([start - side, start + side, end + side, end - side])


def _head(rng: np.random.Generator, kind: str, base: np.ndarray, ahead: np.ndarray, thick: float) -> list[np.ndarray]:
    """Outlines of the end: jaws open by some angle, blades, a hook, a tube."""
    if kind == "tube":
        return [_bar(base, base + 3.5 * thick * ahead, 0.8 * thick)]
    if kind == "hook":
        end = base + 1.8 * thick * ahead
        side = _turn(ahead, np.pi / 2) * rng.choice([-1, 1])
        return [_bar(base, end, 0.35 * thick), _bar(end - 0.15 * thick * ahead, end + 1.1 * thick * side, 0.35 * thick)]
    length, wide, sharp, bow = {
        "grasper": (2.8, 0.5, 0.8, 0.0),
        "curved": (2.8, 0.45, 0.6, 0.7),
        "scissors": (2.6, 0.35, 0.05, 0.25),
        "maryland": (2.2, 0.4, 0.15, 0.4),
        "fenestrated": (2.0, 0.6, 0.9, 0.0),
        "clip": (1.8, 0.3, 0.5, -0.9),
    }[kind]
    opening, along = rng.uniform(0.05, 0.6), np.linspace(0, 1, 7)
    bow_side = rng.choice([-1, 1])
    jaws = []
    for side in (-1, 1):
        # A jaw bends to its own side; a curved grasper's both to the same.
        bend = bow * (bow_side if kind == "curved" else -side) * along**2 * thick
        centre = np.stack([along * length * thick, bend], 1)
        half = 0.5 * wide * thick * (1 - along * (1 - sharp))[:, None] * [[0, 1]]
        outline = np.concatenate([centre - half, (centre + half)[::-1]])
        direction = _turn(ahead, side * opening / 2)
        jaws.append(base + outline @ np.array([direction, _turn(direction, np.pi / 2)]))
    return jaws


def _filled(outlines: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Coverage in [0, 1] of some polygons. The pixel centre is its whole number."""
    fine = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    for outline in outlines:
        points = np.clip(((outline + 0.5) * _FINE - 0.5) * (1 << _SHIFT), -1e8, 1e8)
        cv2.fillPoly(fine, [points.round().astype(np.int32)], 255, cv2.LINE_8, _SHIFT)
    return cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _metal(rng: np.random.Generator) -> np.ndarray:
    """Colours of head and wrist (steel) and shaft (steel, black or white plastic)."""
    steel = rng.uniform(110, 190) * np.array([1, 1, 1.03])
    shaft = [steel, np.full(3, rng.uniform(20, 60)), np.full(3, rng.uniform(170, 225))][rng.choice(3, p=[0.45, 0.4, 0.15])]
    return np.stack([steel, steel * 0.85, shaft])


def _painted(
    rng: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    colour: np.ndarray,
    across: np.ndarray,
    origin: np.ndarray,
    thick: float,
    randomised: bool,
) -> None:
    """Lay a colour on, round as a rod is: bright in the middle; in place."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return
    place = (np.stack([columns, rows], 1) - origin) @ across / (0.5 * thick)
    shade = np.clip(1.25 - 0.75 * np.abs(place - rng.uniform(-0.4, 0.4)), 0.35, 1.25)[:, None]
    texture = rng.normal(0, rng.uniform(5, 40), (len(rows), 3)) if randomised else rng.normal(0, 4, (len(rows), 1))
    weight = mask[rows, columns, None]
    laid = np.clip(colour * shade + texture, 0, 255)
    canvas[rows, columns] = (weight * laid + (1 - weight) * canvas[rows, columns]).astype(np.uint8)


def _labelled(
    canvas: np.ndarray, names: Sequence[str], shapes: list[list[np.ndarray]], number: np.ndarray, kind: np.ndarray
) -> InstrumentPicture:
    wholes, kept, parts, labels, owners, polygons, outlines = [], [], [], [], [], [], []
    for i, name in enumerate(names):
        seen = number == i
        if seen.sum() < 12:
            continue
        if not TOOLS[name].single:
            for part in range(len(PARTS)):
                mine, all_of_it = seen & (kind == part), shapes[i][part].sum()
                if mine.sum() >= max(6, SEEN * all_of_it):
                    parts.append(_around(mine))
                    labels.append(part)
                    owners.append(len(wholes))
                    polygons.append(_outline(mine))
        wholes.append(_around(seen))
        kept.append(name)
        outlines.append(_outline(seen))
    return InstrumentPicture(
        canvas,
        np.array(wholes, np.float32).reshape(-1, 4),
        tuple(kept),
        np.array(parts, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(owners, np.int64),
        tuple(polygons),
        tuple(outlines),
    )


def _around(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _outline(mask: np.ndarray) -> np.ndarray:
    """The outline of the largest piece."""
    pieces, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return max(pieces, key=cv2.contourArea)[:, 0].astype(np.float32)
