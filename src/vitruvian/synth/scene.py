"""Training pictures from label images: person crops with 133 keypoints, and whole scenes with boxes of people and their parts.

All randomness comes from the generator that is passed in, so a sample is a function of the store, the photographs and a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from ..skeletons import COCO_WHOLEBODY_133
from .backgrounds import make_background, random_shape
from .paint import paint
from .person import PARTS
from .store import SIZE, Store

SMALLEST = 24  # pixels; a lower person has no box: smaller ones can't be told from leaves and windows
_CLASS_OF_PART = (0, 1, 2, 3, 3, 4, 4)
_SWAP = np.array(COCO_WHOLEBODY_133.swap)
assert len(PARTS) == len(_CLASS_OF_PART)


@dataclass(frozen=True)
class Studio:
    """Where training pictures are made: people to draw from (`store`, rows `members`) and backgrounds (RGB, larger than any picture)."""

    store: Store
    backdrops: Sequence[np.ndarray]
    members: np.ndarray

    @classmethod
    def open(
        cls, store: Store, photographs: list[np.ndarray], rng: np.random.Generator, backdrops: int = 600, held_out: bool = False
    ) -> Studio:
        """Prepare a pool of backgrounds. Every 20th person is held out for validation."""
        index = np.arange(len(store))
        members = index[(index % 20 == 0) == held_out]
        return cls(store, [make_background(rng, photographs, (400, 400)) for _ in range(backdrops)], members)

    def backdrop(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """A random piece of a random background, `size` (width, height)."""
        image = self.backdrops[rng.integers(len(self.backdrops))]
        x, y = rng.integers(0, image.shape[1] - size[0] + 1), rng.integers(0, image.shape[0] - size[1] + 1)
        piece = image[y : y + size[1], x : x + size[0]]
        return np.ascontiguousarray(piece[:, ::-1] if rng.random() < 0.5 else piece)

    def person(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A painted person: RGBA image, keypoints (133, 3), part boxes (7, 4); mirrored half of the time."""
        i = self.members[rng.integers(len(self.members))]
        image, keypoints, boxes = paint(rng, self.store.image(i)), self.store.keypoints[i].copy(), self.store.boxes[i].copy()
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            keypoints = keypoints[_SWAP]
            keypoints[:, 0] = SIZE[0] - 1 - keypoints[:, 0]
            boxes = boxes[[0, 1, 2, 4, 3, 6, 5]]
            boxes[:, [0, 2]] = SIZE[0] - 1 - boxes[:, [2, 0]]
        return image, keypoints, boxes


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _lay(canvas: np.ndarray, person: np.ndarray, matrix: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Draw an RGBA person through an affine onto the canvas, in place; returns its coverage (h, w) in 0..255."""
    size = (canvas.shape[1], canvas.shape[0])
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if shrink < 0.6:  # a warp samples single pixels: shrink by areas first
        person = cv2.resize(person, None, fx=2 * shrink, fy=2 * shrink, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([SIZE[0] / person.shape[1], SIZE[1] / person.shape[0], 1.0])
    warped = cv2.warpAffine(person, matrix, size, flags=cv2.INTER_LINEAR)
    alpha = warped[..., 3:].astype(np.float32) / 255
    canvas[:] = (canvas * (1 - alpha) + np.clip(warped[..., :3] * tint, 0, 255)).astype(np.uint8)
    return warped[..., 3]


def degrade(rng: np.random.Generator, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """What cameras and files do: lost resolution, blur, exposure, colour cast, noise, compression."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        f = rng.uniform(0.25, 0.9)
        small = cv2.resize(image, (int(width * f), int(height * f)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    elif rng.random() < 0.1:
        kernel = np.zeros((9, 9), np.float32)
        reach = rng.normal(0, 3, 2)
        cv2.line(kernel, (int(4 - reach[0] / 2), int(4 - reach[1] / 2)), (int(4 + reach[0] / 2), int(4 + reach[1] / 2)), 1)
        image = cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1))
    table = np.clip(255 * (np.arange(256) / 255) ** np.exp(rng.normal(0, 0.3)) * rng.uniform(0.75, 1.25) + rng.normal(0, 12), 0, 255)
    image = cv2.LUT(image, np.clip(table[:, None] * (1 + rng.normal(0, 0.05, 3)), 0, 255).astype(np.uint8)[None].reshape(1, 256, 3))
    if rng.random() < 0.08:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if rng.random() < 0.4:
        noise = np.zeros(image.shape, np.int16)
        cv2.randn(noise, 0, float(rng.uniform(2, 14)))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])[1], cv2.IMREAD_COLOR)
    return image


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
    height, width = canvas.shape[:2]
    inverse = cv2.invertAffineTransform(matrix)
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    u, v = (inverse[i, 0] * x + inverse[i, 1] * y + inverse[i, 2] for i in range(2))
    outside = (black[0] & (u < edges[0])) | (black[1] & (v < edges[1])) | (black[2] & (u > edges[2])) | (black[3] & (v > edges[3]))
    canvas[outside] = 0


def _occlude(rng, canvas: np.ndarray, studio: Studio, keypoints: np.ndarray) -> None:
    """Things in front of the person: pieces of other pictures, shapes, things held in a hand."""
    height, width = canvas.shape[:2]
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.5:
            w, h = (rng.uniform(0.08, 0.5, 2) * [width, height]).astype(int) + 2
            x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
            if rng.random() < 0.4:
                y = height - h  # tables, fences, other people's backs: often from below
            canvas[y : y + h, x : x + w] = studio.backdrop(rng, (int(w), int(h)))
        else:
            wrist = keypoints[rng.choice([9, 10]), :2]
            place = wrist + rng.normal(0, 8, 2) if rng.random() < 0.6 else rng.uniform(0, [width, height])
            random_shape(rng, canvas, place, rng.uniform(0.05, 0.4) * height, rng.uniform(0, 255, 3))


def pose_crop(
    rng: np.random.Generator, studio: Studio, size: tuple[int, int] = (192, 256)
) -> tuple[np.ndarray, Float[np.ndarray, "133 3"]]:
    """One training crop of `size` (width, height): RGB uint8, and keypoints x, y (crop pixels), weight (0 outside the crop)."""
    person, keypoints, boxes = studio.person(rng)
    box = boxes[0]
    if np.isnan(box).any():
        box = np.array([0, 0, *SIZE], np.float32)
    matrix = _around(box, size, rng)
    canvas = studio.backdrop(rng, size)
    crowd = rng.random() < 0.35
    if crowd and rng.random() < 0.65:
        _lay(canvas, studio.person(rng)[0], _beside(rng, matrix, size), _tint(rng))
    _lay(canvas, person, matrix, _tint(rng))
    if crowd and rng.random() < 0.5:
        _lay(canvas, studio.person(rng)[0], _beside(rng, matrix, size, front=True), _tint(rng))
    points = _apply(matrix, keypoints[:, :2])
    if rng.random() < 0.35:
        _occlude(rng, canvas, studio, points)
    canvas = degrade(rng, canvas)
    _blacken(rng, canvas, matrix, _cut_sides(box))
    inside = (points > -0.5).all(1) & (points < np.array(size) - 0.5).all(1) & (keypoints[:, 2] > 0)
    return canvas, np.concatenate([points, inside[:, None]], 1).astype(np.float32)


def _beside(rng, matrix: np.ndarray, size: tuple[int, int], front: bool = False) -> np.ndarray:
    """Where another person stands: moved to a side by at least a third of the crop, somewhat larger or smaller."""
    other = matrix.copy()
    other[:, :2] *= rng.uniform(0.75, 1.25) if front else rng.uniform(0.5, 1.1)
    middle = _apply(other, np.array([SIZE]) / 2)[0]
    side = rng.choice([-1, 1]) * rng.uniform(0.45 if front else 0.25, 0.8) * size[0]
    other[:, 2] += np.array(size) / 2 + [side, rng.normal(0, 0.1) * size[1]] - middle
    return other


def detection_scene(
    rng: np.random.Generator, studio: Studio, size: tuple[int, int] = (320, 320)
) -> tuple[np.ndarray, Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """One training scene: RGB uint8, boxes xyxy in pixels and their labels (indices of PERSON_PARTS); none in one scene of five.

    People are laid from far to near; a person or part keeps its box while at least a third of it is still to be seen.
    """
    canvas = studio.backdrop(rng, size)
    count = int(rng.choice([0, 1, 2, 3, 4, 6, 9], p=[0.2, 0.28, 0.18, 0.12, 0.09, 0.07, 0.06]))
    heights = np.sort(np.exp(rng.uniform(np.log(0.13 if count > 2 else 0.16), np.log(1.2 if count < 4 else 0.8), count))) * size[1]
    found: list[np.ndarray] = []
    owner = np.zeros(size[::-1], np.int32)
    areas = []
    for number, height in enumerate(heights, 1):
        person, _, boxes = studio.person(rng)
        angle = rng.choice([rng.normal(0, 4), rng.normal(0, 25)], p=[0.93, 0.07])
        matrix = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), float(angle), height / SIZE[1])
        place = rng.uniform(0.02, 0.98, 2) * size
        place[1] = np.clip(rng.normal(0.55, 0.2), 0.1, 0.95) * size[1]
        matrix[:, 2] += place - np.array(SIZE) / 2
        _to_the_edge(matrix, boxes[0], size)
        coverage = _lay(canvas, person, matrix, _tint(rng)) > 127
        owner[coverage] = number
        areas.append(max(1, coverage.sum()))
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        turned = corners @ matrix[:, :2].T + matrix[:, 2]
        new = np.concatenate([turned.min(1), turned.max(1)], 1)
        rows, columns = np.nonzero(coverage)
        if len(rows):
            new[0] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        else:
            new[:] = np.nan
        found.append(new)
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 5)):
            random_shape(rng, canvas, rng.uniform(0, size), rng.uniform(0.05, 0.35) * size[1], rng.uniform(0, 255, 3))
    boxes, labels = _visible_boxes(found, owner, areas, size)
    return degrade(rng, canvas), boxes, labels


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


def _visible_boxes(found, owner: np.ndarray, areas: list[int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    boxes, labels = [], []
    for number, parts in enumerate(found, 1):
        if (owner == number).sum() < 0.3 * areas[number - 1]:
            continue
        for part, box in enumerate(parts):
            if np.isnan(box).any():
                continue
            clipped = np.clip(box, 0, [*size, *size])
            area, kept = np.prod(box[2:] - box[:2]), np.prod(clipped[2:] - clipped[:2])
            x0, y0, x1, y1 = clipped.round().astype(int)
            mine = owner[y0:y1, x0:x1] == number
            if part == 0 and clipped[3] - clipped[1] < SMALLEST:
                break  # nor its parts
            if min(clipped[2:] - clipped[:2]) < 4 or kept < 0.4 * area or mine.mean() < 0.12:
                continue
            boxes.append(clipped)
            labels.append(_CLASS_OF_PART[part])
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
