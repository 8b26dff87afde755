"""Training pictures from label images: person crops with 133 keypoints, and whole scenes with boxes of people and their parts.

All randomness comes from the generator that is passed in, so a sample is a function of the store, the photographs and a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.backgrounds import Backdrops, lay_over
from vitruvian.synth.classes import OTHER_SIDE, OUTSIDE, PARTS, SEEN, SELF, THING, UNTOLD
from vitruvian.synth.occluders import occlude
from vitruvian.synth.optics import degrade
from vitruvian.synth.paint import Light, paint, sample_light
from vitruvian.synth.store import PAINTED, PLANES, SIZE, Store
from vitruvian.weights.classes import PERSON_PARTS

SMALLEST, CLEAR, LEAST_CONTRAST = 32, 0.5, 20.0
"""A person counts where its box is as large as a square of so many pixels, so much of it is left, and it differs by so much (0 to 255)."""
MOST, FRESH = 300, 8  # of a repertory
DOUBTFUL = -1  # the label of boxes in which there may be a person or not
_CLASS_OF_PART = tuple(PERSON_PARTS.index(part.rpartition("_")[2]) for part in PARTS)  # left and right are one class
_SWAP = np.array(COCO_WHOLEBODY_133.swap)
_SURFACE = [PLANES.index(name) for name in ("segment", "place_x", "place_y", "place_z")]
_OTHER_SIDE = np.array(OTHER_SIDE, np.uint8)
_OF_WEIGHT = np.array([OUTSIDE, SELF, SEEN], np.uint8)  # by the third column of the store's keypoints
SURFACE_STRIDE = 8  # pixels between the places at which a surface is told


@dataclass(frozen=True)
class Figure:
    """A painted person: RGBA image, keypoints (133, 3), part boxes (7, 4), surface (4, h, w): the planes of segment and place.

    `hidden` (133,): SEEN, SELF, THING or OUTSIDE, see classes.
    """

    image: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    surface: np.ndarray
    hidden: np.ndarray


class PoseSample(NamedTuple):
    """A training crop: RGB; keypoints x, y (crop pixels), weight (0 outside the crop); and what of its person is seen, and where.

    `surface`, at every SURFACE_STRIDE-th pixel from the middle of the first cell on: segment of the body (index of classes.SEGMENTS, or
    UNTOLD where something hides the person) and place on the reference body, 0 to 255 along x, y and z; other people are nothing.
    """

    image: UInt8[np.ndarray, "h w 3"]
    keypoints: Float[np.ndarray, "133 3"]
    surface: UInt8[np.ndarray, "4 h8 w8"]


class Crop(NamedTuple):
    """A crop as it was put together: RGB, its person, the affine that moved them there, and what lies before them (above 127)."""

    image: UInt8[np.ndarray, "h w 3"]
    figure: Figure
    matrix: Float[np.ndarray, "2 3"]
    covered: UInt8[np.ndarray, "h w"]

    @property
    def points(self) -> Float[np.ndarray, "133 2"]:
        """The keypoints in pixels, wherever they are."""
        return _apply(self.matrix, self.figure.keypoints[:, :2])


class Scene(NamedTuple):
    """RGB, boxes xyxy in pixels with their labels (indices of PERSON_PARTS, or DOUBTFUL), parts (indices of PARTS) and owners.

    An owner is a row of `keypoints` (pixels, wherever they are) and of `hidden` (SEEN, SELF, THING, OUTSIDE of the scene).
    """

    image: UInt8[np.ndarray, "h w 3"]
    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    parts: Int[np.ndarray, " n"]
    owners: Int[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "p 133 2"]
    hidden: UInt8[np.ndarray, "p 133"]

    @property
    def owner_boxes(self) -> Float[np.ndarray, "n 4"]:
        """The box of the person that each part belongs to; NaN for people, and where the person has none."""
        of = np.full((len(self.keypoints), 4), np.nan, np.float32)
        people = self.labels == PERSON_PARTS.index("person")
        of[self.owners[people]] = self.boxes[people]
        return np.where((self.labels > 0)[:, None], of[self.owners], np.nan).astype(np.float32)


@dataclass(frozen=True)
class Studio:
    """Where training pictures are made: people to draw from (`store`, rows `members`) and backgrounds (RGB, larger than any picture).

    `swap`: which keypoint each of the store's becomes in the mirror.
    """

    store: Store
    backdrops: Sequence[np.ndarray]
    members: np.ndarray
    swap: np.ndarray = field(default_factory=lambda: _SWAP)

    @classmethod
    def open(
        cls, store: Store, photographs: list[np.ndarray], rng: np.random.Generator, backdrops: int = 600, held_out: bool = False
    ) -> Studio:
        """Prepare a pool of backgrounds. Every 20th person is held out for validation."""
        index = np.arange(len(store))
        members = index[(index % 20 == 0) == held_out]
        return cls(store, Backdrops(photographs, int(rng.integers(2**31)), backdrops, (400, 400), store.look.backgrounds), members)

    def backdrop(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """A random piece of a random background, `size` (width, height), recoloured a little."""
        image = self.backdrops[rng.integers(len(self.backdrops))]
        x, y = rng.integers(0, image.shape[1] - size[0] + 1), rng.integers(0, image.shape[0] - size[1] + 1)
        piece = image[y : y + size[1], x : x + size[0]]
        piece = cv2.LUT(piece, _curves(rng))
        return cv2.flip(piece, 1) if rng.random() < 0.5 else piece

    def person(self, rng: np.random.Generator, light: Light | None = None) -> Figure:
        """A person in some light, mirrored half of the time."""
        i = self.members[rng.integers(len(self.members))]
        planes = self.store.image(i)
        image, surface = paint(rng, planes[:PAINTED], float(self.store.relief[i]), light, self.store.look), planes[_SURFACE]
        keypoints, boxes, hidden = self.store.keypoints[i].copy(), self.store.boxes[i].copy(), self._hidden(i)
        if rng.random() < 0.5:
            image = cv2.flip(image, 1)
            keypoints, hidden = keypoints[self.swap], hidden[self.swap]
            keypoints[:, 0] = SIZE[0] - 1 - keypoints[:, 0]
            boxes = boxes[[0, 1, 2, 4, 3, 6, 5]]
            boxes[:, [0, 2]] = SIZE[0] - 1 - boxes[:, [2, 0]]
            surface = surface[:, :, ::-1].copy()
            surface[0], surface[1] = _OTHER_SIDE[surface[0]], 255 - surface[1]
        return Figure(image, keypoints, boxes, surface, hidden)

    def _hidden(self, i: int) -> UInt8[np.ndarray, " k"]:
        """What becomes of person `i`'s keypoints; of those that the store was given later only that they are hidden is known."""
        hidden = _OF_WEIGHT[self.store.keypoints[i][:, 2].astype(int)]
        if self.store.hidden is not None:
            told = self.store.hidden[i]
            hidden[: len(told)] = told
        return hidden


@dataclass(frozen=True)
class Repertory(Studio):
    """A studio that mostly shows people it painted before, in the light of then: painting them is the costly part of a crowd.

    `painted` are the last `MOST` people; one in `FRESH` is new, and takes somebody's place.
    """

    painted: list[Figure] = field(default_factory=list)

    def person(self, rng: np.random.Generator, light: Light | None = None) -> Figure:
        """A person, painted now or before."""
        is_full = len(self.painted) >= MOST
        if is_full and rng.random() > 1 / FRESH:
            return self.painted[rng.integers(MOST)]
        figure = super().person(rng, light)
        if is_full:
            self.painted[rng.integers(MOST)] = figure
        else:
            self.painted.append(figure)
        return figure


def _curves(rng: np.random.Generator) -> np.ndarray:
    """A table (1, 256, 3) of slightly changed colours."""
    gain = rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.05, 3))
    return np.clip(np.arange(256)[:, None] * gain + rng.normal(0, 6), 0, 255).astype(np.uint8)[None]


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _lay(canvas: np.ndarray, person: np.ndarray, matrix: np.ndarray, tint: np.ndarray, soft: float = 0.0) -> np.ndarray:
    """Draw an RGBA person through an affine onto the canvas, in place, `soft` pixels out of focus; returns its coverage in 0..255."""
    size = (canvas.shape[1], canvas.shape[0])
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink < 0.6:  # a warp samples single pixels: shrink by areas first
        person = cv2.resize(person, None, fx=2 * shrink, fy=2 * shrink, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([SIZE[0] / person.shape[1], SIZE[1] / person.shape[0], 1.0])
    warped = cv2.warpAffine(person, matrix, size, flags=cv2.INTER_LINEAR)
    if soft > 0.2:
        warped = cv2.GaussianBlur(warped, (0, 0), soft)
    return lay_over(canvas, warped, tint)


def _cast_shadow(rng, canvas: np.ndarray, figure: Figure, matrix: np.ndarray, light: Light) -> None:
    """Darken the ground where a person keeps the sun off it: their outline, laid down from the feet; in place."""
    box = figure.boxes[0]
    if np.isnan(box).any() or box[3] >= SIZE[1] - 1 or rng.random() < 0.3:
        return
    foot = box[3] - 2
    fall = np.clip(rng.normal(0.12, 0.12), -0.3, 0.35)
    lean = -1.2 * light.sun[0] / max(0.25, -light.sun[1])
    lay_down = np.array([[1, -lean, lean * foot], [0, fall, (1 - fall) * foot], [0, 0, 1.0]])
    shadow = cv2.warpAffine(figure.image[..., 3], matrix @ lay_down, (canvas.shape[1], canvas.shape[0]))
    shadow = cv2.blur(shadow, (int(rng.integers(2, 9)),) * 2)
    depth = light.shadow * rng.uniform(0.3, 0.75)
    keep = cv2.merge([255 - (shadow * depth).astype(np.uint8)] * 3)
    canvas[:] = cv2.multiply(canvas, keep, scale=1 / 255)


def _tint(rng) -> np.ndarray:
    return (rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.05, 3))).astype(np.float32)


def _around(box: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The affine that brings a person's box, padded by 1.25 and jittered in place, scale and angle, to the middle of a crop."""
    centre, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    centre = centre + rng.normal(0, 0.05, 2) * extent
    aspect = size[0] / size[1]
    width = max(extent[0], extent[1] * aspect) * 1.25 * rng.uniform(0.78, 1.3)
    angle = rng.choice([rng.normal(0, 7), rng.normal(0, 30), rng.uniform(-180, 180)], p=[0.86, 0.12, 0.02])
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), float(angle), size[0] / width)
    matrix[:, 2] += (np.array(size) - 1) / 2 - centre
    return matrix


def _cut_sides(box: np.ndarray) -> np.ndarray:
    """Which sides (left, top, right, bottom) of its label image cut the person off."""
    return np.array([box[0] <= 1, box[1] <= 1, box[2] >= SIZE[0] - 1, box[3] >= SIZE[1] - 1])


def _blacken(rng, canvas: np.ndarray, matrix: np.ndarray, cut: np.ndarray) -> None:
    """A person cut off is mostly cut off by the picture's edge, and beyond it a crop is black (zeros, as inference pads)."""
    edges = np.array([0.0, 0.0, SIZE[0], SIZE[1]])
    black = cut & (rng.random() < 0.75)
    if rng.random() < 0.12:  # a picture's edge close to somebody who is whole
        side = rng.integers(0, 4)
        black[side] = True
    if not black.any():
        return
    far = 4.0 * SIZE[1]
    low, high = np.where(black[:2], edges[:2], -far), np.where(black[2:], edges[2:], far)
    corners = _apply(matrix, np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]]))
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 255)
    cv2.copyTo(np.zeros_like(canvas), 255 - mask, canvas)


def _surface_seen(figure: Figure, matrix: np.ndarray, hidden: np.ndarray) -> UInt8[np.ndarray, "4 h8 w8"]:
    """A person's surface in a crop, as PoseSample has it; `hidden` is above 127 where something is before them."""
    first = (SURFACE_STRIDE - 1) / 2
    to_cells = (matrix - [[0, 0, first], [0, 0, first]]) / SURFACE_STRIDE
    covered = hidden[SURFACE_STRIDE // 2 :: SURFACE_STRIDE, SURFACE_STRIDE // 2 :: SURFACE_STRIDE] > 127
    planes = [cv2.warpAffine(plane, to_cells, covered.shape[::-1], flags=cv2.INTER_NEAREST) for plane in figure.surface]
    planes[0][covered & (planes[0] > 0)] = UNTOLD
    return np.stack(planes)


def hidden_in(
    points: Float[np.ndarray, "k 2"], hidden: UInt8[np.ndarray, " k"], covered: np.ndarray, size: tuple[int, int]
) -> UInt8[np.ndarray, " k"]:
    """What becomes of a person's keypoints (SEEN ...) in a picture of `size` in which something lies before them where `covered`."""
    inside = _are_inside(points, size) & (hidden != OUTSIDE)
    column, row = np.clip(np.rint(points), 0, np.array(size) - 1).astype(int).T
    return np.where(inside, np.where(covered[row, column], THING, hidden), OUTSIDE).astype(np.uint8)


def _are_inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return (points > -0.5).all(1) & (points < np.array(size) - 0.5).all(1)


def pose_crop(rng: np.random.Generator, studio: Studio, size: tuple[int, int] = (192, 256)) -> PoseSample:
    """One training crop of `size` (width, height)."""
    crop = compose_crop(rng, studio, size)
    points = crop.points
    weight = _are_inside(points, size) & (crop.figure.keypoints[:, 2] > 0)
    keypoints = np.concatenate([points, weight[:, None]], 1).astype(np.float32)
    return PoseSample(crop.image, keypoints, _surface_seen(crop.figure, crop.matrix, crop.covered))


def compose_crop(rng: np.random.Generator, studio: Studio, size: tuple[int, int]) -> Crop:
    """Put one crop of `size` (width, height) together: a person, others beside and before them, things, a background."""
    look = studio.store.look
    light = sample_light(rng, look)
    figure = studio.person(rng, light)
    box = figure.boxes[0]
    if np.isnan(box).any():
        box = np.array([0, 0, *SIZE], np.float32)
    matrix = _around(box, size, rng)
    canvas = studio.backdrop(rng, size)
    crowd = rng.random() < 0.35 and look.crowds
    if crowd and rng.random() < 0.7:
        for _ in range(int(rng.choice([1, 2], p=[0.8, 0.2]))):
            _lay(canvas, studio.person(rng, light).image, _beside(rng, matrix, size), _tint(rng), rng.choice([0, rng.uniform(0.5, 2.5)]))
    if look.lights:
        _cast_shadow(rng, canvas, figure, matrix, light)
    _lay(canvas, figure.image, matrix, _tint(rng), rng.choice([0, rng.uniform(0.3, 0.9)]))
    covered = np.zeros(canvas.shape[:2], np.uint8)
    if crowd and rng.random() < 0.45:
        before = studio.person(rng, light).image
        covered = _lay(canvas, before, _beside(rng, matrix, size, front=True), _tint(rng), rng.choice([0, rng.uniform(0.5, 3)]))
    points = _apply(matrix, figure.keypoints[:, :2])
    if rng.random() < 0.35 and look.occluders:
        for _ in range(rng.integers(1, 3)):
            covered = np.maximum(covered, occlude(rng, canvas, studio.backdrop(rng, size), points))
    if look.camera:
        canvas = degrade(rng, canvas)
    _blacken(rng, canvas, matrix, _cut_sides(box))
    return Crop(canvas, figure, matrix, covered)


def label_crop(crop: Crop) -> tuple[Scene, UInt8[np.ndarray, "h w"]]:
    """All labels of a crop's person: as a scene of one, and the segment of their body at every pixel, UNTOLD where something hides it.

    The person's box lies around their pixels, hidden or not; the parts' around the turned corners of what they were in the label image.
    """
    size = (crop.image.shape[1], crop.image.shape[0])
    segments = cv2.warpAffine(crop.figure.surface[0], crop.matrix, size, flags=cv2.INTER_NEAREST)
    hides = crop.covered > 127
    found = _moved_boxes(crop.figure.boxes, crop.matrix, size)
    rows, columns = np.nonzero(segments)
    found[0] = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else np.nan
    told = _visible_boxes([found], ((segments > 0) & ~hides).astype(np.int32), [0.0], size)
    points = crop.points
    hidden = hidden_in(points, crop.figure.hidden, hides, size)
    segments[hides & (segments > 0)] = UNTOLD
    return Scene(crop.image, *told, points[None].astype(np.float32), hidden[None]), segments


def _beside(rng, matrix: np.ndarray, size: tuple[int, int], front: bool = False) -> np.ndarray:
    """Where another person stands: moved to a side by at least a third of the crop, somewhat larger or smaller."""
    other = matrix.copy()
    other[:, :2] *= rng.uniform(0.75, 1.4) if front else rng.choice([rng.uniform(0.5, 1.1), rng.uniform(0.2, 0.5)], p=[0.75, 0.25])
    middle = _apply(other, np.array([SIZE]) / 2)[0]
    side = rng.choice([-1, 1]) * rng.uniform(0.45 if front else 0.25, 0.8) * size[0]
    other[:, 2] += np.array(size) / 2 + [side, rng.normal(0, 0.1) * size[1]] - middle
    return other


def detection_scene(
    rng: np.random.Generator, studio: Studio, size: tuple[int, int] = (320, 320)
) -> tuple[np.ndarray, Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """One training scene: RGB uint8, boxes xyxy in pixels and their labels (indices of PERSON_PARTS); see `compose_scene`."""
    return compose_scene(rng, studio, size)[:3]


def owned_scene(
    rng: np.random.Generator, studio: Studio, size: tuple[int, int] = (320, 320)
) -> tuple[np.ndarray, Float[np.ndarray, "n 4"], Int[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
    """As `detection_scene`, mostly of crowds, with the box of the person that each part belongs to, NaN for people."""
    count = int(rng.choice([2, 3, 4, 5, 6, 8, 10, 12], p=[0.2, 0.17, 0.15, 0.14, 0.12, 0.1, 0.07, 0.05]))
    scene = compose_scene(rng, studio, size, count if rng.random() < 0.8 else None)
    return scene.image, scene.boxes, scene.labels, scene.owner_boxes


def compose_scene(rng: np.random.Generator, studio: Studio, size: tuple[int, int] = (320, 320), crowd: int | None = None) -> Scene:
    """Put one scene of `size` (width, height) together; nobody is in one of five. `crowd`: so many people who are close together.

    People are laid from far to near. Somebody mostly hidden, tiny, or of the background's colours gets one box labelled DOUBTFUL and no
    parts: a detector that must find those takes every dark patch for a person. A part keeps its box while a third of it is to be seen.
    """
    look = studio.store.look
    canvas, light = studio.backdrop(rng, size), sample_light(rng, look)
    heights, places = (_heights(rng, look.crowds) * size[1], None) if crowd is None else _gathered(rng, crowd, size)
    count = len(heights)
    people = [(_tall_enough(height, figure, size), figure) for height, figure in ((h, studio.person(rng, light)) for h in heights)]
    people.sort(key=lambda row: row[0])
    found: list[np.ndarray] = []
    owner = np.zeros(size[::-1], np.int32)
    clear = []
    keypoints, hidden = np.zeros((count, len(studio.swap), 2), np.float32), np.zeros((count, len(studio.swap)), np.uint8)
    for number, (height, figure) in enumerate(people, 1):
        boxes = figure.boxes
        angle = rng.choice([rng.normal(0, 3), rng.normal(0, 25)], p=[0.96, 0.04])
        matrix = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), float(angle), height / SIZE[1])
        matrix[:, 2] += (_anywhere(rng, size) if places is None else places[number - 1]) - np.array(SIZE) / 2
        _to_the_edge(matrix, boxes[0], size)
        if look.lights:
            _cast_shadow(rng, canvas, figure, matrix, light)
        before = canvas.copy()
        coverage = _lay(canvas, figure.image, matrix, _tint(rng), rng.choice([0, rng.uniform(0.3, 1.2)])) > 127
        owner[coverage] = number
        stands_out = coverage.any() and cv2.absdiff(canvas, before)[coverage].mean() > LEAST_CONTRAST
        clear.append(CLEAR * coverage.sum() if stands_out else np.inf)
        found.append(_moved_boxes(boxes, matrix, size))
        keypoints[number - 1], hidden[number - 1] = _apply(matrix, figure.keypoints[:, :2]), figure.hidden
    if rng.random() < 0.35 and look.occluders:
        for _ in range(rng.integers(1, 4)):
            owner[occlude(rng, canvas, studio.backdrop(rng, size), None) > 127] = count + 1
    for row in range(count):
        hidden[row] = hidden_in(keypoints[row], hidden[row], owner > row + 1, size)
    told = _visible_boxes(found, owner, clear, size)
    return Scene(degrade(rng, canvas) if look.camera else canvas, *told, keypoints, hidden)


def _heights(rng: np.random.Generator, several: bool) -> Float[np.ndarray, " n"]:
    """Heights of people's label images as shares of the scene's, ascending."""
    count = int(rng.choice([0, 1, 2, 3, 4, 6, 9], p=[0.2, 0.28, 0.18, 0.12, 0.09, 0.07, 0.06]))
    count = count if several else min(count, 1)
    return np.sort(np.exp(rng.uniform(np.log(0.13 if count > 2 else 0.16), np.log(1.2 if count < 4 else 0.8), count)))


def _anywhere(rng: np.random.Generator, size: tuple[int, int]) -> Float[np.ndarray, " 2"]:
    """Where the middle of somebody's label image lies, pixels."""
    place = rng.uniform(0.02, 0.98, 2) * size
    place[1] = np.clip(rng.normal(0.55, 0.2), 0.1, 0.95) * size[1]
    return place


def _gathered(rng: np.random.Generator, count: int, size: tuple[int, int]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 2"]]:
    """Heights of label images, ascending, and where their middles lie, pixels: alike around one place, the larger ones mostly lower."""
    tall = np.exp(rng.uniform(np.log(0.25), np.log(1.2 if count < 4 else 0.8)))
    heights = np.sort(np.clip(tall * np.exp(rng.normal(0, rng.uniform(0.05, 0.4), count)), 0.15, 1.3))
    around, spread = rng.uniform([0.25, 0.45], [0.75, 0.6]), rng.uniform(0.06, 0.35) * np.sqrt(count / 4)
    across = np.clip(rng.normal(around[0], min(spread, 0.5) * max(tall, 0.4), count), 0.02, 0.98)
    down = around[1] + rng.uniform(0, 0.3) * (np.linspace(-0.5, 0.5, count)) + rng.normal(0, 0.06, count)
    return heights * size[1], np.stack([across, np.clip(down, 0.1, 0.95)], 1) * size


def _tall_enough(height: float, figure: Figure, size: tuple[int, int]) -> float:
    """Somebody whom their label image cuts off on both sides must fill the scene: the height of the label image there, pixels."""
    left, top, right, bottom = _cut_sides(figure.boxes[0])
    least = max(size[0] * SIZE[1] / SIZE[0] if left and right else 0, size[1] if top and bottom else 0)
    return max(float(height), 1.02 * least)  # a scene's person may be turned a little


def _moved_boxes(boxes: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes around the corners of boxes that an affine moved; the person's clipped to the picture, NaN where nothing is left."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    turned = corners @ matrix[:, :2].T + matrix[:, 2]
    new = np.concatenate([turned.min(1), turned.max(1)], 1)
    new[0] = np.clip(new[0], 0, [*size, *size])
    if not (new[0, 2:] > new[0, :2]).all():
        new[:] = np.nan
    return new


def _to_the_edge(matrix: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> None:
    """Move a person whose label image cuts them off so that the scene's edge does it instead; in place."""
    corners = _apply(matrix, np.array([[0, 0], [SIZE[0], 0], [0, SIZE[1]], SIZE], float))
    for side, cut in enumerate(_cut_sides(box)):
        if cut:
            axis = side % 2
            edge, scene = (corners[:, axis].min(), 0) if side < 2 else (corners[:, axis].max(), size[axis])
            outwards = edge - scene if side < 2 else scene - edge
            if outwards > 0:
                matrix[axis, 2] += scene - edge


def _visible_boxes(found, owner: np.ndarray, clear: list[float], size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Boxes, labels, parts and owners; `clear` is how many pixels of each person must be left for it to be told."""
    boxes, labels, rows = [], [], []
    for number, parts in enumerate(found, 1):
        if np.isnan(parts[0]).any():
            continue
        whole = np.clip(parts[0], 0, [*size, *size])
        if (owner == number).sum() < clear[number - 1] or np.prod(whole[2:] - whole[:2]) < SMALLEST**2:
            boxes.append(whole)
            labels.append(DOUBTFUL)
            rows.append((0, number - 1))
            continue
        for part, box in enumerate(parts):
            if np.isnan(box).any():
                continue
            clipped = np.clip(box, 0, [*size, *size])
            area, kept = np.prod(box[2:] - box[:2]), np.prod(clipped[2:] - clipped[:2])
            x0, y0, x1, y1 = clipped.round().astype(int)
            mine = owner[y0:y1, x0:x1] == number
            if min(clipped[2:] - clipped[:2]) < 4 or kept < 0.4 * area or mine.mean() < 0.12:
                continue
            boxes.append(clipped)
            labels.append(_CLASS_OF_PART[part])
            rows.append((part, number - 1))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), *np.array(rows, np.int64).reshape(-1, 2).T
