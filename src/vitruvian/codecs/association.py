"""Bodies and their parts from one pass: which detected part hangs on which body's hook (BPJDet, arXiv 2304.10765).

Every body says where it expects the middle of each of its parts: a hook in each slot. Detected parts are hung on hooks.

| rule | who gets a part |
|---|---|
| published | surest part first, to the body whose hook is nearest, if most of the part lies inside that body; no second choice; a used \
hook moves to its part (card bpjdet.md section 5) |
| best | [ours] all parts of a class together, so that distances to the hooks, and from where the parts expect their body to its middle, \
sum to the least; each hook once, again only inside; a body that is hardly sure stands back, and what fits nobody is nobody's |

Parts without a side (hands of BodyHands: one class, two slots) have all slots of a body open by "best"; by "published" they try the first
slot of all bodies, then, those left over, the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int64

from vitruvian.codecs.anchors import Candidates, select, uncentre, uncentre_boxes
from vitruvian.codecs.detections import Detections
from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import area

Rule = Literal["published", "best"]
CONTACTS = ("none", "self", "other person", "object")
"""What a hand of ContactHands touches: four scores per slot."""
_BODY_SHARE = 0.4  # of a hand's contact states comes from its body's row, the rest from its own
# Of "best", in sizes of a body (root of its area, or half of its longer side where it is thin); chosen on crowds of painted people and of
# drawn figures: recipes/bpjdet_small.md.
_NOBODY = 1.0  # what it costs to leave a part to nobody: as much as both points that far off together
_UNSURE = 0.1  # times -log of a body's score: duplicates and pieces of people are less sure, and would take what is another's


@dataclass(frozen=True)
class PartSet:
    """What a network tells apart. classes: "person" first, then the parts. slots: the places for parts that every body has.

    As many slots as part classes: slot k is for class k + 1. One part class and several slots: parts without a side.
    states: scores per slot that follow the points (`CONTACTS`), 0 for none. Raises VitruvianError on other combinations.
    """

    classes: tuple[str, ...]
    slots: tuple[str, ...]
    states: int = 0

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(self.slots) < 1 or len(self.classes) - 1 not in (1, len(self.slots)) or self.states < 0:
            raise VitruvianError(
                f"{len(self.slots)} slots for classes {self.classes}: give each part class its slot, or one class all slots"
            )

    @property
    def sided(self) -> bool:
        """Whether the class says the slot."""
        return len(self.classes) - 1 == len(self.slots)


HEAD = PartSet(("person", "head"), ("head",))
FACE = PartSet(("person", "face"), ("face",))
HANDS = PartSet(("person", "hand"), ("first hand", "second hand"))
CONTACT_HANDS = PartSet(HANDS.classes, HANDS.slots, len(CONTACTS))
SIX_PARTS = ("head", "face", "left hand", "right hand", "left foot", "right foot")
BODY_PARTS = PartSet(("person", *SIX_PARTS), SIX_PARTS)


@dataclass(frozen=True)
class Thresholds:
    """Least scores and largest overlaps (IoU) of bodies and parts; share of a part that must lie in its body. As published evaluations."""

    body_score: float = 0.05
    body_iou: float = 0.6
    part_score: float = 0.1
    part_iou: float = 0.3
    inside: float = 0.6


@dataclass(frozen=True, eq=False)
class Bodies:
    """The people of one picture, best first, with K slots each.

    hooks: (n, K, 2) where the part was expected, or where the one that hangs there has its middle. part: (n, K) row of `parts`, -1 empty.
    parts: all that were detected, also those that belong to nobody. states: (n, K, s) of the hung parts, NaN in empty slots.
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    hooks: Float32[np.ndarray, "n k 2"]
    part: Int64[np.ndarray, "n k"]
    parts: Detections
    states: Float32[np.ndarray, "n k s"]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def part_boxes(self) -> Float32[np.ndarray, "n k 4"]:
        """Boxes of the hung parts, NaN in empty slots."""
        return self._of_parts(self.parts.boxes, np.nan)

    @property
    def part_scores(self) -> Float32[np.ndarray, "n k"]:
        """Scores of the hung parts, 0 in empty slots."""
        return self._of_parts(self.parts.scores, 0.0)

    @property
    def owners(self) -> Int64[np.ndarray, " m"]:
        """The body that each part hangs on, -1 for none: what `people.parts.attach_parts` asks for."""
        return owners_of(self.part, len(self.parts))

    def _of_parts(self, values: Float32[np.ndarray, "m ..."], empty: float) -> Float32[np.ndarray, "n k ..."]:
        out = np.full((*self.part.shape, *values.shape[1:]), empty, np.float32)
        hung = self.part >= 0
        out[hung] = values[self.part[hung]]
        return out


def owners_of(part: Int64[np.ndarray, "n k"], count: int) -> Int64[np.ndarray, " m"]:
    """The row in whose slots each of `count` parts is, -1 for none; `part` holds rows of the parts, -1 in empty slots."""
    out = np.full(count, -1)
    row, slot = np.nonzero(part >= 0)
    out[part[row, slot]] = row
    return out


def find_bodies(
    candidates: Candidates,
    part_set: PartSet,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds = Thresholds(),  # noqa: B008  (frozen)
    rule: Rule = "published",
    max_boxes: int = 300,
) -> Bodies:
    """Decoded rows of one picture -> its people with their parts, in pixels of the picture of `size` (width, height).

    The input was made by `codecs.anchors.centred_letterbox`. Body boxes are whole pixels, as published. Candidates' scores have the classes
    of `part_set`, the extras its points and states. `max_boxes` bounds bodies, and parts of all classes together.
    """
    t = thresholds
    width = 2 * len(part_set.slots) + len(part_set.slots) * part_set.states
    if candidates.scores.shape[1] != len(part_set.classes) or candidates.extras.shape[1] < width:
        shapes = candidates.scores.shape, candidates.extras.shape
        raise VitruvianError(f"scores and extras {shapes} are not of the classes {part_set.classes}: give the network's own part set")
    bodies, body_extras = select(candidates, (0,), t.body_score, t.body_iou, max_boxes)
    parts, part_extras = select(candidates, range(1, len(part_set.classes)), t.part_score, t.part_iou, max_boxes)
    slots = len(part_set.slots)

    def points(extras: np.ndarray) -> np.ndarray:
        return uncentre(extras[:, : 2 * slots].reshape(-1, slots, 2), input_size, size)

    boxes = np.round(uncentre_boxes(bodies.boxes, input_size, size))
    parts = Detections(uncentre_boxes(parts.boxes, input_size, size), parts.scores, parts.labels)
    hooks, part = hang_parts(boxes, points(body_extras), parts, part_set, t.inside, rule, points(part_extras)[:, 0], bodies.scores)
    states = contact_states(body_extras[:, 2 * slots :], part_extras[:, 2 * slots :], part, part_set.states)
    return Bodies(boxes, bodies.scores, hooks, part, parts, states)


def hang_parts(
    boxes: Float[np.ndarray, "n 4"],
    hooks: Float[np.ndarray, "n k 2"],
    parts: Detections,
    part_set: PartSet,
    inside: float = 0.6,
    rule: Rule = "published",
    body_points: Float[np.ndarray, "m 2"] | None = None,
    scores: Float[np.ndarray, " n"] | None = None,
) -> tuple[Float32[np.ndarray, "n k 2"], Int64[np.ndarray, "n k"]]:
    """Give parts (best first) to bodies: the hooks, moved to the parts that hang there, and the row of that part, -1 where none.

    body_points: (m, 2) where each part expects the middle of its body. scores: how sure the bodies are. Only "best" asks for these two,
    and does without.
    Raises VitruvianError where hooks, boxes and part set don't fit.
    """
    hooks = np.array(hooks, np.float32)
    if hooks.shape != (len(boxes), len(part_set.slots), 2):
        raise VitruvianError(f"hooks {hooks.shape} for {len(boxes)} bodies with slots {part_set.slots}: give a point for each")
    part = np.full(hooks.shape[:2], -1)
    if not part.size or not len(parts):
        return hooks, part
    shares = inside_share(parts.boxes, boxes)
    middles = (parts.boxes[:, :2] + parts.boxes[:, 2:]) / 2
    free, slots = np.arange(len(parts)), list(range(len(part_set.slots)))
    for group in [[slot] for slot in slots] if part_set.sided or rule == "published" else [slots]:
        rows = np.flatnonzero(parts.labels == group[0] + 1) if part_set.sided else free
        allowed = shares[rows] > inside
        if rule == "published":
            found = _nearest_hooks(hooks[:, group[0]], middles[rows], allowed)[:, None]
        else:
            expected = None if body_points is None else body_points[rows]
            found = _best_hooks(boxes, hooks[:, group], middles[rows], expected, allowed, scores)
        body, place = np.nonzero(found >= 0)
        slot = np.array(group, np.intp)[place]
        part[body, slot] = rows[found[body, place]]
        hooks[body, slot] = middles[part[body, slot]]
        free = np.setdiff1d(free, part[body, slot], assume_unique=True)
    return hooks, part


def contact_states(
    of_bodies: Float[np.ndarray, "n e"],
    of_parts: Float[np.ndarray, "m e"],
    part: Int[np.ndarray, "n k"],
    states: int,
    published: bool = True,
) -> Float32[np.ndarray, "n k s"]:
    """States of the hung parts: 0.4 of what the body's row says of the slot, and 0.6 of what the part's own row says; NaN in empty slots.

    A part's row is trained on its first states only. `published`: the program reads those of the slot all the same.
    """
    rows, slots = part.shape
    out = np.full((rows, slots, states), np.nan, np.float32)
    if not states:
        return out
    body, own = (x[:, : slots * states].reshape(-1, slots, states) for x in (of_bodies, of_parts))
    row, slot = np.nonzero(part >= 0)
    out[row, slot] = _BODY_SHARE * body[row, slot] + (1 - _BODY_SHARE) * own[part[row, slot], slot if published else 0]
    return out


def inside_share(parts: Float[np.ndarray, "m 4"], bodies: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "m n"]:
    """(m, n) share of every part's box that lies in every body's, 0 for parts without area."""
    (x0, y0, x1, y1), (left, top, right, bottom) = parts.T[..., None], np.ascontiguousarray(bodies.T)
    width, height = np.minimum(x1, right) - np.maximum(x0, left), np.minimum(y1, bottom) - np.maximum(y0, top)
    size = area(parts)
    return np.maximum(width, 0) * np.maximum(height, 0) / np.where(size > 0, size, np.inf)[:, None]


def _nearest_hooks(
    hooks: Float[np.ndarray, "n 2"], middles: Float[np.ndarray, "m 2"], allowed: Bool[np.ndarray, "m n"]
) -> Int64[np.ndarray, " n"]:
    """The published rule for one slot: row of the part (best first) that each body gets, -1 for none."""
    found = np.full(len(hooks), -1)
    x, y = np.ascontiguousarray(middles.T)
    apart = np.square(x[:, None] - hooks[:, 0]) + np.square(y[:, None] - hooks[:, 1])
    for row in range(len(middles)):
        body = apart[row].argmin()
        # Later parts are less sure, so whoever has a part keeps it.
        if found[body] < 0 and allowed[row, body]:
            found[body] = row
            apart[row + 1 :, body] = np.square(x[row + 1 :] - x[row]) + np.square(y[row + 1 :] - y[row])
    return found


def _best_hooks(
    boxes: Float[np.ndarray, "n 4"],
    hooks: Float[np.ndarray, "n s 2"],
    middles: Float[np.ndarray, "m 2"],
    body_points: Float[np.ndarray, "m 2"] | None,
    allowed: Bool[np.ndarray, "m n"],
    scores: Float[np.ndarray, " n"] | None,
) -> Int64[np.ndarray, "n s"]:
    """The rule "best" for slots that take the same parts: row of the part in each, -1 for none. Distances count in the body's size."""
    from scipy.optimize import linear_sum_assignment

    count, slots = hooks.shape[:2]
    found = np.full(count * slots, -1)
    size = np.maximum(np.sqrt(np.maximum(area(boxes), 1.0)), (boxes[:, 2:] - boxes[:, :2]).max(1) / 2)
    cost = np.linalg.norm(middles[:, None, None] - hooks, axis=3) / size[:, None]
    if body_points is not None:
        cost = cost + (np.linalg.norm(body_points[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2, axis=2) / size)[..., None]
    if scores is not None:
        cost = cost - _UNSURE * np.log(np.clip(scores, 1e-6, 1.0))[:, None]
    cost = np.where(allowed[..., None] & np.isfinite(cost), np.minimum(cost, _NOBODY), _NOBODY).reshape(-1, count * slots)
    for row, hook in zip(*linear_sum_assignment(cost), strict=True):
        if cost[row, hook] < _NOBODY:
            found[hook] = row
    return found.reshape(count, slots)


def known_part_set(classes: int, points: int, states: int = 0, names: Sequence[str] = ()) -> PartSet:
    """The part set of a network with so many classes, points and states per point. `names` of the parts, where the usual ones are wrong.

    Without names one part is a "head" (a network for faces has the same shape), two points of one class are hands, six parts those of
    COCOHumanParts, and others are numbered. Raises VitruvianError where the numbers are no part set.
    """
    usual = {1: ("head",) if points == 1 else ("hand",), 6: SIX_PARTS}
    parts = tuple(names) or usual.get(classes - 1) or tuple(f"part {i + 1}" for i in range(max(classes - 1, 0)))
    if len(parts) != classes - 1:
        raise VitruvianError(f"{len(parts)} names {parts} for a network with {classes - 1} classes of parts: name each once")
    order = HANDS.slots if parts == ("hand",) and points == 2 else tuple(f"{parts[0]} {i + 1}" for i in range(points)) if parts else ()
    return PartSet(("person", *parts), parts if len(parts) == points else order, states)
