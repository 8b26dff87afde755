"""Who owns what among a frame's detections."""

import numpy as np

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.people.owners import is_whole, owners_of, whole_people

TOOLS = ("Scissors", "Needle", "head", "wrist", "body")
PEOPLE = ("person", "head")


def found(boxes, labels, persons=None):
    boxes, labels, count = np.float32(boxes).reshape(-1, 4), np.int32(labels), len(labels)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    if persons is None:
        return Detections(boxes, scores, labels)
    unknown = np.full(count, np.nan, np.float32)
    return OwnedDetections(boxes, scores, labels, np.int32(persons), unknown, np.zeros((count, 0), np.float32))


def test_people_and_instruments_are_wholes_and_nothing_else():
    labels = np.arange(5)
    assert is_whole(labels, TOOLS).tolist() == [True, True, False, False, False]
    assert is_whole(labels[:2], PEOPLE).tolist() == [True, False]
    assert is_whole(labels[:2], ("dog", "cat")).tolist() == [False, False] and is_whole(labels[:0], ()).tolist() == []


def test_a_detector_that_knows_is_believed_even_where_an_owner_is_left_out():
    box = [0, 0, 10, 10]
    assert owners_of(found([box] * 4, [1, 2, 2, 4], [3, 3, -1, 8]), TOOLS).tolist() == [0, 0, -1, -1]


def test_without_that_parts_are_joined_to_people_by_boxes_and_to_instruments_never():
    boxes = [[0, 0, 40, 100], [14, 4, 26, 20]]
    assert owners_of(found(boxes, [0, 1]), PEOPLE).tolist() == [0, 0]
    assert owners_of(found(boxes[1:], [1]), PEOPLE).tolist() == [-1]


def test_pieces_of_people_are_left_out_unless_the_detector_knows():
    boxes, labels = [[0, 0, 40, 100], [14, 4, 26, 20], [0, 50, 40, 100]], [0, 1, 0]
    assert whole_people(found(boxes, labels), PEOPLE).labels.tolist() == [0, 1]
    assert len(whole_people(found(boxes, labels, [0, 0, 1]), PEOPLE)) == 3
    assert len(whole_people(found(boxes, labels), ("person", "face"))) == 3
