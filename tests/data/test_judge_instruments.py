"""Instruments judged by the data set's own classes."""

from types import SimpleNamespace

import numpy as np
import pytest

from vitruvian.codecs.detections import Detections
from vitruvian.codecs.owned import OwnedDetections
from vitruvian.data.hsdb_instrument import CHOLECYSTECTOMY, InstrumentFrame, instruments_of
from vitruvian.data.judge_instruments import ap_table, judge_instruments, product_table, table_text
from vitruvian.errors import VitruvianError
from vitruvian.media.pictures import write_image
from vitruvian.metrics.boxes import FoundBoxes, TrueBoxes

NAMES = instruments_of(CHOLECYSTECTOMY)
CLASSES = (*NAMES, "head", "wrist", "body")
TRUE = ("Scissors_Head", "Scissors_Body", "Electrichook")
BOXES = np.array([[40, 40, 60, 60], [55, 50, 120, 90], [5, 5, 30, 20]], float)


@pytest.fixture
def frames(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((100, 130, 3), np.uint8))
    return [InstrumentFrame(tmp_path / "a.png", "1", (130, 100), TRUE, BOXES, (None,) * 3)]


def detector(found, classes=CLASSES):
    """Finds the same in every frame."""
    find = lambda images: [found for _ in images]  # noqa: E731
    find.card = SimpleNamespace(id="fixed", classes=classes)
    return find


def rows(*found):
    """Detections: box, class, number of the instrument."""
    boxes, names, persons = zip(*found, strict=True)
    labels = np.array([CLASSES.index(name) for name in names], np.int32)
    unknown = np.full(len(found), np.nan, np.float32)
    scores = np.linspace(0.9, 0.5, len(found), dtype=np.float32)
    return OwnedDetections(np.float32(boxes), scores, labels, np.int32(persons), unknown, np.zeros((len(found), 0), np.float32))


def test_a_network_that_is_right_gets_full_marks_in_the_data_set_s_classes(frames):
    whole = [40, 40, 120, 90]
    found = rows((whole, "Scissors", 0), (BOXES[2], "Electrichook", 1), (BOXES[0], "head", 0), (BOXES[1], "body", 0))
    seen = []
    table, means = judge_instruments(frames, detector(found), CHOLECYSTECTOMY, on_frame=seen.append)
    assert {name: (count, ap) for name, count, ap, _ in table if count} == {name: (1, pytest.approx(1)) for name in TRUE}
    assert means["classes"] == 3 and means["AP"] == pytest.approx(1) and seen == [1]


def test_a_part_of_the_wrong_instrument_is_a_part_of_another_class(frames):
    found = rows(([40, 40, 120, 90], "Overholt", 0), (BOXES[0], "head", 0))
    table, means = judge_instruments(frames, detector(found), CHOLECYSTECTOMY)
    assert means["AP"] == 0 and means["classes"] == 3


def test_a_detector_of_people_is_told_so(frames):
    with pytest.raises(VitruvianError, match="no instruments"):
        judge_instruments(frames, detector(None, ("person", "head")), CHOLECYSTECTOMY)


def test_no_frames():
    table, means = product_table([], [], ("a", "b"))
    assert [row[1] for row in table] == [0, 0] and np.isnan(means["AP"]) and means["classes"] == 0
    table, _ = product_table(
        [(np.zeros((0, 4)), np.zeros(0, int))], [Detections(*(np.zeros(s, np.float32) for s in ((0, 4), 0, 0)))], ("a",)
    )
    assert table[0][1] == 0


def test_the_table_leaves_out_classes_that_are_not_there():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], float)
    truth = TrueBoxes(np.zeros(2, int), boxes, np.array([0, 2]), np.zeros(2, bool))
    found = FoundBoxes(np.zeros(1, int), boxes[:1], np.array([0]), np.ones(1))
    rows, means = ap_table(truth, found, ("a", "b", "c"))
    assert [row[1] for row in rows] == [1, 0, 1] and rows[0][2] == pytest.approx(1) and np.isnan(rows[1][2]) and rows[2][2] == 0
    assert means["classes"] == 2 and means["AP50"] == pytest.approx(0.5)
    text = table_text(rows, means)
    assert "| b | 0 | - | - |" in text and "mean over 2 classes" in text
