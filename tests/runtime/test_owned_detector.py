"""Detectors that know whose a part is, and which way people face, as the ground floor runs them."""

from dataclasses import replace

import numpy as np
import pytest

owner_nets = pytest.importorskip("owner_nets", reason="needs onnx")

from vitruvian.codecs.detections import Detections  # noqa: E402
from vitruvian.codecs.owned import OwnedDetections, owners_among, part_set_of  # noqa: E402
from vitruvian.errors import VitruvianError, WeightsError  # noqa: E402
from vitruvian.runtime import Detector  # noqa: E402
from vitruvian.weights import card_for  # noqa: E402
from vitruvian.weights.find import infer_card  # noqa: E402

PICTURE = np.zeros((240, 320, 3), np.uint8)


def detector(path, **options):
    card = card_for(path)
    return Detector(card, **{"classes": card.classes, "device": "cpu", "threads": 1} | options)


def test_a_part_has_the_number_of_the_person_whose_hook_it_hangs_on(tmp_path):
    (found,) = detector(owner_nets.heads(tmp_path))([PICTURE])
    assert found.labels.tolist() == [0, 0, 1, 1, 1] and found.persons.tolist() == [0, 1, 0, 1, -1]
    np.testing.assert_allclose(found.boxes, np.concatenate([owner_nets.BODIES, owner_nets.HEADS]))
    assert np.isnan(found.angles).all() and found.contacts.shape == (5, 0)


def test_pictures_of_all_shapes_get_their_boxes_back(tmp_path):
    find = detector(owner_nets.heads(tmp_path))
    wide, twice, none = (np.zeros((*size, 3), np.uint8) for size in ((240, 640), (480, 640), (240, 320)))
    first, second, third = find([wide, twice, none])
    middle = owner_nets.BODIES[1] - (0, 60, 0, 60)  # the wide one lies in the middle of the input, 60 rows above and below
    np.testing.assert_allclose(first.boxes[1], np.clip(2 * middle, 0, None), atol=1)
    np.testing.assert_allclose(second.boxes[:2], 2 * owner_nets.BODIES, atol=1)
    np.testing.assert_allclose(third.boxes[:2], owner_nets.BODIES, atol=1)
    assert find([]) == []


def test_headings_are_radians(tmp_path):
    (found,) = detector(owner_nets.facing(tmp_path))([PICTURE])
    np.testing.assert_allclose(found.angles, [np.pi, np.pi / 2], atol=1e-6)
    assert found.persons.tolist() == [0, 1]


def test_contact_states_come_with_the_hand(tmp_path):
    (found,) = detector(owner_nets.contact_hands(tmp_path))([PICTURE])
    assert found.contacts.shape == (3, 4) and np.isnan(found.contacts[:2]).all()
    np.testing.assert_allclose(found.contacts[2], [0.1, 0.1, 0.1, 0.9], atol=1e-6)


def test_the_rule_of_association_can_be_chosen(tmp_path):
    path = owner_nets.greedy(tmp_path)
    best, published = (detector(path, **options)([PICTURE])[0] for options in ({}, {"association": "published"}))
    assert best.persons.tolist() == [0, 1, 0, 1] and published.persons.tolist() == [0, 1, 0, -1]
    with pytest.raises(VitruvianError, match="best"):
        detector(path, association="greedy")


def test_parts_may_have_a_threshold_of_their_own(tmp_path):
    (found,) = detector(owner_nets.heads(tmp_path), part_threshold=0.65)([PICTURE])
    assert found.labels.tolist() == [0, 0, 1]


def test_instruments_own_their_parts(tmp_path):
    (found,) = detector(owner_nets.instruments(tmp_path))([PICTURE])
    assert found.labels.tolist() == [1, 0, 4, 2, 2, 2] and found.persons.tolist() == [0, 1, 0, 0, 1, -1]
    np.testing.assert_allclose(found.boxes[:2], owner_nets.TOOLS)


def test_only_the_classes_that_are_asked_for(tmp_path):
    (found,) = detector(owner_nets.heads(tmp_path), classes=("head",))([PICTURE])
    assert found.labels.tolist() == [1, 1, 1] and found.persons.tolist() == [0, 1, -1]


def test_nobody_is_a_table_without_rows(tmp_path):
    (found,) = detector(owner_nets.nobody(tmp_path))([PICTURE])
    assert len(found) == 0 and isinstance(found, OwnedDetections) and found[found.labels == 0].boxes.shape == (0, 4)


def test_a_card_with_other_classes_than_the_graph_is_refused(tmp_path):
    card = replace(card_for(owner_nets.heads(tmp_path)), classes=("person", "head", "face", "left hand"))
    with pytest.raises(WeightsError, match="give each part class its slot"):
        Detector(card, classes=card.classes, device="cpu", threads=1)([PICTURE])
    with pytest.raises(WeightsError, match="correct the card"):
        Detector(replace(card, codec="rtmdet"), device="cpu", threads=1)
    with pytest.raises(WeightsError, match="rtmlib"):
        Detector(replace(card, classes=("person", "head")), compat="rtmlib", device="cpu", threads=1)


@pytest.mark.parametrize("make, classes, codec", [("heads", ("person", "head"), "bpjdet"), ("facing", ("person",), "jointbdoe")])
def test_a_bare_file_is_taken_for_what_it_is(tmp_path, make, classes, codec):
    card = infer_card(getattr(owner_nets, make)(tmp_path))
    assert (card.classes, card.codec, card.input_size, card.channel_order, card.std) == (classes, codec, (320, 240), "rgb", (255.0,) * 3)


@pytest.mark.parametrize(
    "classes, points, states", [((), 2, 0), (("head", "person"), 2, 0), (("person", "hand"), 3, 0), (("person", "hand"), 4, 7)]
)
def test_numbers_that_are_no_part_set(classes, points, states):
    with pytest.raises(VitruvianError, match="correct the card"):
        part_set_of(classes, points, states)


def rows(boxes, labels, persons=None, angles=None):
    count = len(boxes)
    plain = Detections(np.float32(boxes).reshape(-1, 4), np.ones(count, np.float32), np.int32(labels))
    if persons is None:
        return plain
    return OwnedDetections(plain.boxes, plain.scores, plain.labels, np.int32(persons), np.float32(angles), np.zeros((count, 0), np.float32))


def test_owners_are_counted_among_the_bodies_that_are_left():
    look = rows(
        [[0, 0, 9, 9], [20, 0, 29, 9], [1, 1, 2, 2], [21, 1, 22, 2], [50, 50, 51, 51]], [0, 0, 1, 1, 1], [0, 1, 0, 1, -1], [1, 2, 0, 0, 0]
    )
    assert owners_among(look, look[[1]]).tolist() == [-1, 0, -1, 0, -1]
    assert owners_among(look, look[[]]).tolist() == [-1] * 5


def test_boxes_that_moved_keep_their_owner_and_heading():
    look = rows([[0, 0, 9, 9], [20, 0, 29, 9], [1, 1, 2, 2]], [0, 0, 1], [0, 1, 0], [1, 2, 0])
    moved = rows([[22, 0, 31, 9], [3, 1, 4, 2], [2, 0, 11, 9]], [0, 1, 0])
    found = look.carried(moved)
    assert found.persons.tolist() == [1, 0, 0] and found.angles.tolist() == [2, 0, 1]
    assert look[[]].carried(moved).persons.tolist() == [-1, -1, -1] and len(look.carried(moved[:0])) == 0
