"""Detections that know whose they are, and which way people face: what BPJDet's and JointBDOE's graphs return, as `Detections`.

Rows of one person (or of one instrument, see `codecs.instruments`) share a number, so that they still belong together after some rows
are taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Int32

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.association import PartSet, Rule, Thresholds, find_bodies, known_part_set
from vitruvian.codecs.detections import Detections
from vitruvian.codecs.instruments import PARTS, SLOTS, find_instruments, names_instruments
from vitruvian.codecs.orientation import find_facing
from vitruvian.errors import VitruvianError


@dataclass(frozen=True, eq=False)
class OwnedDetections(Detections):
    """Detections with columns of their own.

    persons: (n,) a number that a body (an instrument) and its parts share, -1 for what is nobody's. angles: (n,) heading in radians as
    `People.orientation`, NaN for parts and where the network doesn't know. contacts: (n, s) scores of `codecs.association.CONTACTS`, NaN
    for all but hands that were hung on a body, s = 0 for most networks.
    """

    persons: Int32[np.ndarray, " n"]
    angles: Float32[np.ndarray, " n"]
    contacts: Float32[np.ndarray, "n s"]

    def __getitem__(self, rows: slice | np.ndarray) -> OwnedDetections:
        """Some of the rows: a mask, a slice or indices."""
        columns = (getattr(self, name)[rows] for name in ("boxes", "scores", "labels", "persons", "angles", "contacts"))
        return OwnedDetections(*columns)

    def carried(self, moved: Detections) -> OwnedDetections:
        """Of those that this look has not: nobody's, heading nowhere."""
        row, known, _ = self.alike(moved)
        persons, angles = np.full(len(moved), -1, np.int32), np.full(len(moved), np.nan, np.float32)
        contacts = np.full((len(moved), self.contacts.shape[1]), np.nan, np.float32)
        persons[known], angles[known], contacts[known] = (values[row[known]] for values in (self.persons, self.angles, self.contacts))
        return OwnedDetections(moved.boxes, moved.scores, moved.labels, persons, angles, contacts)


def part_set_of(classes: Sequence[str], points: int, states: int = 0) -> PartSet:
    """The part set of a card with these classes, for a network that returns so many numbers of points and of states.

    "person" comes first; or, with `codecs.instruments.SLOTS`, instruments before their parts.
    Raises VitruvianError where they don't fit each other.
    """
    slots, odd = divmod(points, 2)
    if names_instruments(classes) and points == 2 * len(PARTS) and not states:
        return SLOTS
    if not classes or classes[0] != "person" or odd or not slots or states % slots:
        raise VitruvianError(f"{points} numbers of points and {states} states are not of the classes {list(classes)}: correct the card")
    return known_part_set(len(classes), slots, states // slots, tuple(classes[1:]))


def owned_bodies(
    candidates: Candidates,
    part_set: PartSet,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds,
    rule: Rule = "published",
    max_boxes: int = 300,
) -> OwnedDetections:
    """`codecs.association.find_bodies` as rows: bodies first, then parts, each best first."""
    found = find_bodies(candidates, part_set, input_size, size, thresholds, rule, max_boxes)
    contacts = np.full((len(found) + len(found.parts), part_set.states), np.nan, np.float32)
    row, slot = np.nonzero(found.part >= 0)
    contacts[len(found) + found.part[row, slot]] = found.states[row, slot]
    bodies = Detections(found.boxes, found.scores, np.zeros(len(found), np.int32))
    return _rows(bodies, found.parts, found.owners, contacts)


def owned_instruments(
    candidates: Candidates,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds,
    rule: Rule = "published",
    max_boxes: int = 300,
) -> OwnedDetections:
    """`codecs.instruments.find_instruments` as rows: instruments first, then parts, each best first."""
    instruments = candidates.scores.shape[1] - len(PARTS)
    found = find_instruments(candidates, instruments, input_size, size, thresholds, rule, max_boxes)
    parts = Detections(found.parts.boxes, found.parts.scores, found.parts.labels + instruments)
    return _rows(found.wholes, parts, found.owners, np.zeros((len(found.wholes) + len(parts), 0), np.float32))


def _rows(wholes: Detections, parts: Detections, owners: np.ndarray, contacts: np.ndarray) -> OwnedDetections:
    """Wholes, then their parts; owners: the whole of each part, -1 for none."""
    return OwnedDetections(
        boxes=np.concatenate([wholes.boxes, parts.boxes]).astype(np.float32),
        scores=np.concatenate([wholes.scores, parts.scores]).astype(np.float32),
        labels=np.concatenate([wholes.labels, parts.labels]).astype(np.int32),
        persons=np.concatenate([np.arange(len(wholes)), owners]).astype(np.int32),
        angles=np.full(len(contacts), np.nan, np.float32),
        contacts=contacts,
    )


def owned_facing(
    candidates: Candidates,
    input_size: tuple[int, int],
    size: tuple[int, int],
    score_threshold: float,
    iou_threshold: float,
    max_boxes: int = 300,
) -> OwnedDetections:
    """`codecs.orientation.find_facing` as rows, each a person."""
    found = find_facing(candidates, input_size, size, score_threshold, iou_threshold, max_boxes=max_boxes)
    people, count = found.people, len(found)
    persons = np.arange(count, dtype=np.int32)
    return OwnedDetections(people.boxes, people.scores, people.labels, persons, found.angles, np.zeros((count, 0), np.float32))


def owners_among(detections: OwnedDetections, bodies: OwnedDetections) -> Int[np.ndarray, " n"]:
    """(n,) row of `bodies` that each detection belongs to, -1 where its body is not among them."""
    owners = np.full(len(detections), -1)
    for row, person in enumerate(bodies.persons):
        if person >= 0:
            owners[detections.persons == person] = row
    return owners
