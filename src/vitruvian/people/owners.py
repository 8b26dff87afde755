"""Whose is each detection of a frame: as the detector says where it does, else by boxes alone; and which detections own others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.instruments import PARTS, names_instruments
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.codecs.pointed import PointedDetections, pointed_owners
from vitruvian.people.joining import join_parts, without_pieces

PERSON = "person"


def is_whole(labels: Int[np.ndarray, " n"], classes: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """(n,) which labels are of those that have parts: people, or instruments."""
    if names_instruments(classes) and PERSON not in classes:
        return np.asarray(labels) < len(classes) - len(PARTS)
    return np.asarray(labels) == classes.index(PERSON) if PERSON in classes else np.zeros(len(labels), bool)


def owners_of(found: Detections, classes: Sequence[str]) -> Int[np.ndarray, " n"]:
    """(n,) row of the person (or instrument) that each detection of one frame belongs to, a person its own, -1 for nobody's.

    As the detector says where it does, else by boxes alone (people only).
    """
    owners = np.full(len(found), -1)
    wholes = np.flatnonzero(is_whole(found.labels, classes))
    owners[wholes] = wholes
    parts = np.flatnonzero(owners < 0)
    if isinstance(found, OwnedDetections):
        row_of = {int(person): row for row, person in zip(wholes.tolist(), found.persons[wholes], strict=True)}
        owners[parts] = [row_of.get(int(person), -1) if person >= 0 else -1 for person in found.persons[parts]]
    elif isinstance(found, PointedDetections):
        owners[parts] = np.append(wholes, -1)[pointed_owners(found[parts], found.boxes[wholes], classes)]
    elif len(wholes) and len(parts):
        joined = join_parts(found.boxes[wholes], found.boxes[parts], [classes[label] for label in found.labels[parts]])
        owners[parts] = np.append(wholes, -1)[joined]
    return owners


def whole_people(found: Detections, classes: Sequence[str]) -> Detections:
    """The detections of one frame without pieces of people (`people.joining.without_pieces`), where heads tell and the detector doesn't
    know whose they are; else all of them."""
    if isinstance(found, OwnedDetections) or PERSON not in classes or "head" not in classes:
        return found
    people = found.labels == classes.index(PERSON)
    whole = without_pieces(found.boxes[people], found.boxes[found.labels == classes.index("head")])
    return found[np.delete(np.arange(len(found)), np.flatnonzero(people)[~whole])]
