"""Crowds: many people close together in one small picture, with whose each part is and which way everybody faces.

Where `scene.detection_scene` makes training scenes of all kinds, these are for the question of association: people stand in rows, so that
near ones hide far ones, and the head nearest to a body is often somebody else's. People are painted once (`cast`) and set into many
pictures. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from vitruvian.errors import VitruvianError
from vitruvian.synth.paint import paint, sample_light
from vitruvian.synth.scene import Studio
from vitruvian.synth.store import PAINTED, SIZE

TALL = 160  # pixels of a painted figure's longer side; pictures show people smaller than that
SEEN = 0.4  # share of a part that must be seen for it to have a box
_SIDES = (0, 1, 3, 2, 5, 4)  # PARTS in a mirror


@dataclass(frozen=True, eq=False)
class Actor:
    """A painted person: RGBA with colours weighted by coverage, box of the body and of PARTS in its pixels, heading as MEBOW's."""

    image: UInt8[np.ndarray, "h w 4"]
    body: Float[np.ndarray, " 4"]
    parts: Float[np.ndarray, "6 4"]
    heading: float


@dataclass(frozen=True, eq=False)
class Crowd:
    """A picture of n people with m parts.

    bodies: (n, 4) xyxy, of the whole body within the picture, hidden or not. visible: (n,) seen share of the body within the picture.
    headings: (n,) radians, 0 faces away from the camera, anticlockwise from above. parts: (m, 4) boxes of parts that are seen, labels (m,)
    index PARTS, owners (m,) index bodies.
    """

    image: UInt8[np.ndarray, "h w 3"]
    bodies: Float[np.ndarray, "n 4"]
    visible: Float[np.ndarray, " n"]
    headings: Float[np.ndarray, " n"]
    parts: Float[np.ndarray, "m 4"]
    labels: Int[np.ndarray, " m"]
    owners: Int[np.ndarray, " m"]


def cast(rng: np.random.Generator, studio: Studio, count: int) -> list[Actor]:
    """Paint `count` different people of a studio who are whole in their pictures, in whatever pose, each in a light of their own.

    The studio's store must have been opened with `truth`. Raises VitruvianError where it was not, or has too few such people.
    """
    if "orientation" not in studio.store.truth:
        raise VitruvianError("these people have no heading: open their store with truth=True")
    whole = whole_people(studio)
    if len(whole) < count:
        raise VitruvianError(f"the store has {len(whole)} people who are whole in their pictures, not {count}: ask for fewer")
    return [_actor(rng, studio, int(index)) for index in rng.choice(whole, count, replace=False)]


def whole_people(studio: Studio) -> Int[np.ndarray, " n"]:
    """Which people of a studio are whole in their pictures: rows of its store."""
    members, store = studio.members, studio.store
    return members[(store.keypoints[members, :17, 2] > 0).all(1) & ~np.isnan(store.boxes[members, 0]).any(1)]


def _actor(rng: np.random.Generator, studio: Studio, index: int) -> Actor:
    store = studio.store
    image = paint(rng, store.image(index, PAINTED), float(store.relief[index]), sample_light(rng, store.look), store.look)
    boxes = store.boxes[index].astype(np.float64)
    scale = TALL / max(boxes[0, 2:] - boxes[0, :2])  # who lies is no giant
    size = round(SIZE[0] * scale), round(SIZE[1] * scale)
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    boxes = (boxes + 0.5) * scale - 0.5
    # Only what is around the person: things in the hands reach a little further.
    low = np.clip(np.floor(boxes[0, :2] - 20), 0, None).astype(int)
    high = np.ceil(boxes[0, 2:] + 20).astype(int)
    boxes -= np.tile(low, 2)
    heading = (np.pi + float(store.truth["orientation"][index])) % (2 * np.pi)
    return Actor(np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]]), boxes[0], boxes[1:], heading)


def figure(rng: np.random.Generator) -> Actor:
    """A drawn stand-in for a person: an ellipse that leans up to 60 degrees either way, and a disc for a head on its upper end.

    Card bpjdet.md section 8: easy to find, but the box of a body does not tell where its head is. No other parts; it faces nowhere.
    """
    long, lean = TALL / 3, rng.uniform(-np.pi / 3, np.pi / 3)  # half an axis
    middle, up = np.array([1.5 * TALL, 1.5 * TALL]), np.array([np.sin(lean), -np.cos(lean)])
    radius = rng.uniform(0.26, 0.34) * long
    head = middle + up * (long + 0.6 * radius)
    image = np.zeros((3 * TALL, 3 * TALL, 4), np.uint8)
    body_ink, head_ink = ((*(int(x) for x in rng.integers(30, 256, 3)), 255) for _ in range(2))
    axes = round(long), round(rng.uniform(0.38, 0.5) * long)
    for ink, width in ((body_ink, cv2.FILLED), ((15, 15, 15, 255), 3)):
        cv2.ellipse(image, middle.round().astype(int).tolist(), axes, np.rad2deg(lean) - 90, 0, 360, ink, width, cv2.LINE_AA)
    for ink, width in ((head_ink, cv2.FILLED), ((15, 15, 15, 255), 3)):
        cv2.circle(image, head.round().astype(int).tolist(), round(radius), ink, width, cv2.LINE_AA)
    left, top, wide, high = cv2.boundingRect((image[..., 3] > 127).astype(np.uint8))
    scale = TALL / max(wide, high)
    image = cv2.resize(image[top : top + high, left : left + wide], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    parts = np.full((len(_SIDES), 4), np.nan)
    parts[0] = scale * (np.concatenate([head - radius, head + radius]) - (left, top) * 2)
    return Actor(image, np.array([0.0, 0.0, *image.shape[1::-1]]), parts, 0.0)


def mirrored(actor: Actor) -> Actor:
    """The same person in a mirror: sides and heading change."""
    width = actor.image.shape[1]
    boxes = np.vstack([actor.body[None], actor.parts[list(_SIDES)]])
    boxes[:, [0, 2]] = width - 1 - boxes[:, [2, 0]]
    return Actor(np.ascontiguousarray(actor.image[:, ::-1]), boxes[0], boxes[1:], (-actor.heading) % (2 * np.pi))


def crowd_picture(
    rng: np.random.Generator,
    actors: list[Actor],
    backdrop: UInt8[np.ndarray, "h w 3"],
    count: int,
    tall: tuple[float, float] = (0.35, 0.7),
    apart: bool = False,
) -> Crowd:
    """`count` people before a backdrop (copied), the near ones larger and in front.

    tall: height of the farthest and of the nearest people, as shares of the picture's. The more there are, the more they overlap.
    apart: side by side over the whole width, in place of close together.
    """
    height, width = backdrop.shape[:2]
    canvas, owner = backdrop.copy(), np.full((height, width), -1, np.int32)
    far, near = np.sort(rng.uniform(*tall, 2))
    depth = np.sort(rng.random(count))
    middle, spread = rng.uniform(0.35, 0.65) * width, rng.uniform(0.2, 0.4) * width
    feet = (0.62 + 0.36 * depth) * height
    places = (rng.permutation(count) + 0.5) * width / max(count, 1) if apart else None
    rows = []
    for number in range(count):
        actor = actors[rng.integers(len(actors))]
        actor = mirrored(actor) if rng.random() < 0.5 else actor
        zoom = (far + (near - far) * depth[number]) * rng.uniform(0.85, 1.1) * height / TALL
        x = np.clip(rng.normal(middle, spread) if places is None else places[number], 0.02 * width, 0.98 * width)
        shift = np.array([x - zoom * (actor.body[0] + actor.body[2]) / 2, feet[number] - zoom * actor.body[3]])
        rows.append((actor, zoom, shift, _set_in(canvas, owner, number, actor, zoom, shift, rng)))
    return _labelled(canvas, owner, rows)


def _set_in(
    canvas: np.ndarray, owner: np.ndarray, number: int, actor: Actor, zoom: float, shift: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw a person, in place; returns where they would be seen were nobody in front."""
    mask = np.zeros(owner.shape, bool)
    low = np.clip(np.floor(shift).astype(int), 0, owner.shape[::-1])
    high = np.clip(np.ceil(shift + zoom * np.array(actor.image.shape[1::-1])).astype(int) + 1, 0, owner.shape[::-1])
    if (high <= low).any():
        return mask
    image = actor.image
    if zoom < 0.6:  # a warp samples single pixels: shrink by areas first
        image = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    factors = zoom * np.divide(actor.image.shape[1::-1], image.shape[1::-1])
    warped = cv2.warpAffine(image, np.column_stack([np.diag(factors), shift - low]), tuple((high - low).tolist()))
    tint = rng.uniform(0.75, 1.15) * (1 + rng.normal(0, 0.04, 3))
    over = cv2.multiply(warped[..., :3], np.array([*tint, 1.0]), dtype=cv2.CV_8U)
    alpha = warped[..., 3]
    place = slice(low[1], high[1]), slice(low[0], high[0])
    canvas[place] = cv2.add(over, cv2.multiply(np.ascontiguousarray(canvas[place]), cv2.merge([255 - alpha] * 3), scale=1 / 255))
    mask[place] = alpha > 127
    owner[mask] = number
    return mask


def _labelled(canvas: np.ndarray, owner: np.ndarray, rows: list[tuple[Actor, float, np.ndarray, np.ndarray]]) -> Crowd:
    limits = np.array([canvas.shape[1], canvas.shape[0]] * 2, float)
    bodies, visible, headings, parts, labels, owners = [], [], [], [], [], []
    for number, (actor, zoom, shift, mask) in enumerate(rows):
        body = np.clip(zoom * actor.body + np.tile(shift, 2), 0, limits)
        mine = owner == number
        if mask.sum() < 20 or (body[2:] - body[:2]).min() < 4:
            continue
        for label, box in enumerate(zoom * actor.parts + np.tile(shift, 2)):
            if not np.isfinite(box).all():
                continue
            inside = np.clip(box, 0, limits)
            left, top, right, bottom = inside.round().astype(int)
            all_of_it, seen = mask[top:bottom, left:right].sum(), mine[top:bottom, left:right].sum()
            if (inside[2:] - inside[:2]).min() >= 3 and seen > 0 and seen >= SEEN * all_of_it:
                parts.append(inside)
                labels.append(label)
                owners.append(len(bodies))
        bodies.append(body)
        visible.append(mine.sum() / mask.sum())
        headings.append(actor.heading)
    return Crowd(
        canvas,
        np.array(bodies, np.float32).reshape(-1, 4),
        np.array(visible, np.float32),
        np.array(headings, np.float32),
        np.array(parts, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(owners, np.int64),
    )
