"""Instruments and their parts out of a network's rows."""

import numpy as np
import pytest

from vitruvian.codecs.anchors import Candidates
from vitruvian.codecs.instruments import find_instruments, hull, names_instruments
from vitruvian.data.hsdb_instrument import CHOLECYSTECTOMY, GASTRECTOMY, instruments_of

NAMES = instruments_of(CHOLECYSTECTOMY)


def candidates():
    """Two crossing scissors: each head lies nearer to the other's middle, and hooks say which is whose."""
    boxes = np.array([[0, 0, 100, 60], [30, 10, 190, 70], [60, 40, 70, 50], [60, 20, 70, 30], [300, 300, 310, 310]], np.float32)
    scores = np.zeros((5, len(NAMES) + 3), np.float32)
    scissors, head = NAMES.index("Scissors"), len(NAMES)
    scores[[0, 1], scissors], scores[[2, 3, 4], head] = [0.9, 0.8], [0.7, 0.6, 0.5]
    points = np.full((5, 6), 200, np.float32)
    points[0, :2], points[1, :2] = (65, 45), (65, 25)
    return Candidates(boxes, scores, points)


def test_parts_hang_on_the_instrument_whose_hook_they_are_at():
    found = find_instruments(candidates(), len(NAMES), (320, 320), (320, 320))
    assert len(found.wholes) == 2 and found.owners.tolist() == [0, 1, -1]
    labels = found.product_labels(NAMES, CHOLECYSTECTOMY)
    assert [CHOLECYSTECTOMY[label] for label in labels] == ["Scissors_Head"] * 3  # the loose one by the nearest
    np.testing.assert_allclose(sorted(found.outline(0).tolist()), [[60, 40], [60, 50], [70, 40], [70, 50]])


def test_nothing_found():
    none = candidates()
    found = find_instruments(Candidates(none.boxes[:0], none.scores[:0], none.extras[:0]), len(NAMES), (320, 320), (320, 320))
    assert len(found.wholes) == 0 and found.owners.tolist() == [] and len(found.product_labels(NAMES, GASTRECTOMY)) == 0


def test_products_are_what_the_tables_of_the_data_set_count():
    rows = candidates()
    hook = np.zeros((1, len(NAMES) + 3), np.float32)
    hook[0, NAMES.index("Electrichook")] = 0.95
    more = (
        np.vstack([rows.boxes, np.float32([[200, 200, 260, 240]])]),
        np.vstack([rows.scores, hook]),
        np.vstack([rows.extras, rows.extras[:1]]),
    )
    found = find_instruments(Candidates(*more), len(NAMES), (320, 320), (320, 320)).products(NAMES, CHOLECYSTECTOMY)
    # Scissors as a whole are no class of the set. The loose head lies nearest to the hook, which has no heads: it is of no class.
    assert [CHOLECYSTECTOMY[label] for label in found.labels] == ["Electrichook", "Scissors_Head", "Scissors_Head"]
    np.testing.assert_allclose(found.scores, [0.95, 0.7, 0.6])


def test_the_hull_of_two_boxes_leaves_out_the_corners_between_them():
    corners = hull(np.array([[0, 0, 10, 10], [20, 20, 30, 30]]))
    assert sorted(map(tuple, corners.tolist())) == [(0, 0), (0, 10), (10, 0), (20, 30), (30, 20), (30, 30)]


@pytest.mark.parametrize("classes, known", [(("Needle", "head", "wrist", "body"), True), (("head", "wrist", "body"), False), ((), False)])
def test_which_classes_are_instruments(classes, known):
    assert names_instruments(classes) == known
