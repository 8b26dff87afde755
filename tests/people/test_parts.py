from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swap_scenes import HALPE, person
from vitruvian.codecs.detections import Detections
from vitruvian.errors import VitruvianError
from vitruvian.people.parts import attach_parts
from vitruvian.skeletons import by_name
from vitruvian.take import PARTS, People
from vitruvian.weights.classes import PERSON_PARTS

WHOLE = by_name("coco-wholebody-133")
COCO = by_name("coco-17")


def figure(x=300.0, height=300.0, heading=-np.pi / 2, moment=0.2):
    """(26, 2) keypoints of a walker who stands at x, as the camera sees them; and the true boxes of the six parts."""
    points = person(np.array([moment, moment + 0.01]), heading=heading)[0]
    pixels = np.stack([points[:, 0], -points[:, 1]], axis=1) * height / 1.75
    pixels += np.array([x, 400.0]) - pixels[[HALPE.index("left_ankle"), HALPE.index("right_ankle")]].mean(0)

    def at(name):
        return pixels[HALPE.index(name)]

    unit = height / 1.75
    boxes = {"head": around(at("nose") - [0, 0.02 * unit], 0.13 * unit), "face": around(at("nose"), 0.09 * unit)}
    for side in ("left", "right"):
        boxes[f"{side}_hand"] = around(at(f"{side}_wrist") + 0.35 * (at(f"{side}_wrist") - at(f"{side}_elbow")), 0.09 * unit)
        boxes[f"{side}_foot"] = around((at(f"{side}_big_toe") + at(f"{side}_heel")) / 2, 0.11 * unit)
    return pixels, np.stack([boxes[part] for part in PARTS])


def around(centre, half):
    return np.concatenate([centre - half, centre + half])


def crowd(figures, skeleton=HALPE, sure=0.9):
    """People of one frame with those of their points that the skeleton has."""
    keypoints = np.full((len(figures), len(skeleton), 2), np.nan)
    for row, (pixels, _) in enumerate(figures):
        for i, name in enumerate(skeleton.names):
            if name in HALPE.names:
                keypoints[row, i] = pixels[HALPE.index(name)]
    boxes = np.stack([np.concatenate([pixels.min(0) - 8, pixels.max(0) + 8]) for pixels, _ in figures])
    n = len(figures)
    return People(np.zeros(n), np.arange(n), boxes, np.full(n, 0.9), keypoints, np.where(np.isfinite(keypoints).all(-1), sure, 0.0))


def found(figures, keep=None, classes=PERSON_PARTS):
    """Detections of all parts, in a shuffled order, and for each its (person, part)."""
    pairs = [(row, part) for row in range(len(figures)) for part in range(6)] if keep is None else keep
    pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    boxes = np.array([figures[row][1][part] for row, part in pairs], np.float32).reshape(-1, 4)
    kinds = [PARTS[part] if PARTS[part] in classes else PARTS[part].rpartition("_")[2] for _, part in pairs]
    return Detections(boxes, np.full(len(pairs), 0.8, np.float32), np.array([classes.index(kind) for kind in kinds], np.int32)), pairs


def truth_of(figures):
    return np.stack([boxes for _, boxes in figures]).astype(np.float32)


@pytest.mark.parametrize("skeleton", [HALPE, COCO, WHOLE], ids=lambda s: s.name)
@pytest.mark.parametrize("heading", [-np.pi / 2, np.pi / 2, 0.5, 2.5], ids=["front", "back", "right", "left"])
def test_every_part_goes_to_its_owner_and_side(skeleton, heading):
    figures = [figure(300, heading=heading), figure(420, heading=-heading, moment=0.5), figure(700, height=120)]
    detections, _ = found(figures)
    np.testing.assert_array_equal(attach_parts(crowd(figures, skeleton), detections, PERSON_PARTS, skeleton), truth_of(figures))


def test_people_who_overlap_keep_their_own_hands():
    figures = [figure(300), figure(335, height=280, moment=0.7)]
    detections, _ = found(figures)
    np.testing.assert_array_equal(attach_parts(crowd(figures), detections, PERSON_PARTS, HALPE), truth_of(figures))


def test_missing_parts_stay_empty_and_parts_of_nobody_stay_out():
    figures = [figure(300), figure(900)]
    detections, _ = found(figures, [(0, 2), (0, 0), (1, 5)])
    boxes = attach_parts(crowd(figures[:1]), detections, PERSON_PARTS, HALPE)
    assert np.isfinite(boxes).all(-1).tolist() == [[True, False, True, False, False, False]]


def test_of_two_boxes_at_one_hand_the_surer_one_counts():
    figures = [figure(300)]
    right = figures[0][1][2]
    detections = Detections(np.float32([right, right + 2]), np.float32([0.4, 0.9]), np.int32([3, 3]))
    boxes = attach_parts(crowd(figures), detections, PERSON_PARTS, HALPE)
    np.testing.assert_allclose(boxes[0, 2], right + 2, rtol=1e-6)
    assert np.isnan(boxes[0, 3]).all()


def test_without_keypoints_heads_and_faces_go_by_boxes_and_hands_stay_out():
    figures = [figure(300), figure(700)]
    blind = crowd(figures, sure=0.0)
    detections, _ = found(figures)
    boxes = attach_parts(blind, detections, PERSON_PARTS, HALPE)
    np.testing.assert_array_equal(boxes[:, :2], truth_of(figures)[:, :2])
    assert np.isnan(boxes[:, 2:]).all()


SIDED = ("person", "head", "face", "left_hand", "right_hand", "left_foot", "right_foot")


@pytest.mark.parametrize("classes", [SIDED, tuple(name.replace("_", " ").title() for name in SIDED)])
def test_sides_that_the_detector_knows_help_where_keypoints_are_missing(classes):
    figures = [figure(300), figure(700)]
    detections, _ = found(figures, classes=SIDED)
    boxes = attach_parts(crowd(figures, sure=0.0), detections, classes, HALPE)
    np.testing.assert_array_equal(boxes, truth_of(figures))


def test_keypoints_overrule_the_sides_of_the_detector():
    figures = [figure(300)]
    detections, _ = found(figures, classes=SIDED)
    flipped = np.array([0, 1, 2, 4, 3, 6, 5])[detections.labels].astype(np.int32)
    boxes = attach_parts(crowd(figures), replace(detections, labels=flipped), SIDED, HALPE)
    np.testing.assert_array_equal(boxes, truth_of(figures))


def test_owners_are_kept_however_far_the_part_and_sides_are_still_found():
    figures = [figure(300), figure(500)]
    detections, pairs = found(figures, [(0, 2), (0, 3), (1, 1), (1, 4), (1, 5)])
    far = replace(detections, boxes=detections.boxes + np.float32([0, 90, 0, 90]))
    boxes = attach_parts(crowd(figures), far, PERSON_PARTS, HALPE, owners=np.array([row for row, _ in pairs]))
    want = np.full((2, 6, 4), np.nan, np.float32)
    for (row, part), box in zip(pairs, far.boxes, strict=True):
        want[row, part] = box
    np.testing.assert_array_equal(boxes, want)


def test_an_owner_keeps_others_away_and_unknown_owners_are_found():
    figures = [figure(300), figure(330)]
    detections, pairs = found(figures, [(0, 0), (1, 0)])
    crossed = np.array([1 - row for row, _ in pairs])
    boxes = attach_parts(crowd(figures), detections, PERSON_PARTS, HALPE, owners=crossed)
    np.testing.assert_array_equal(boxes[:, 0], truth_of(figures)[::-1, 0])
    boxes = attach_parts(crowd(figures), detections, PERSON_PARTS, HALPE, owners=np.array([-1, -1]))
    np.testing.assert_array_equal(boxes[:, 0], truth_of(figures)[:, 0])


@pytest.mark.parametrize("figures", [0, 2])
def test_nobody_and_nothing(figures):
    people = crowd([figure(300), figure(600)])[:figures] if figures else People.empty(26)
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    assert attach_parts(people, nothing, PERSON_PARTS, HALPE).shape == (figures, 6, 4)
    some, _ = found([figure(300)])
    assert attach_parts(people[:0], some, PERSON_PARTS, HALPE).shape == (0, 6, 4)


def test_classes_that_are_no_parts_are_ignored():
    figures = [figure(300)]
    detections, _ = found(figures)
    people = replace(detections, labels=np.zeros_like(detections.labels))
    assert np.isnan(attach_parts(crowd(figures), people, PERSON_PARTS, HALPE)).all()


def test_labels_and_owners_that_do_not_fit_are_refused():
    figures = [figure(300)]
    detections, _ = found(figures)
    with pytest.raises(VitruvianError, match="classes"):
        attach_parts(crowd(figures), detections, ("person",), HALPE)
    with pytest.raises(VitruvianError, match="owners"):
        attach_parts(crowd(figures), detections, PERSON_PARTS, HALPE, owners=np.zeros(2))
    with pytest.raises(VitruvianError, match="owners"):
        attach_parts(crowd(figures), detections, PERSON_PARTS, HALPE, owners=np.full(6, 1))


@given(scale=st.floats(0.3, 4), shift=st.floats(-500, 500), order=st.permutations(range(2)))
@settings(max_examples=20, deadline=None)
def test_size_place_and_the_order_of_people_do_not_matter(scale, shift, order):
    figures = [figure(300), figure(400, moment=0.6)]
    detections, _ = found(figures)
    people = crowd(figures)[np.array(order)]
    moved = replace(people, keypoints=people.keypoints * scale + shift, boxes=people.boxes * scale + shift)
    boxes = attach_parts(moved, replace(detections, boxes=(detections.boxes * scale + shift).astype(np.float32)), PERSON_PARTS, HALPE)
    np.testing.assert_allclose(boxes, truth_of(figures)[list(order)] * scale + shift, atol=0.01)


@settings(max_examples=60, deadline=None)
@given(unsure=st.sets(st.sampled_from(HALPE.names)), gone=st.sets(st.sampled_from(HALPE.names)))
def test_whatever_keypoints_are_missing_each_box_found_is_one_of_the_detections(unsure, gone):
    """Unsure points keep their place, those that are gone are NaN; a hidden shoulder once made the elbow's reach NaN."""
    figures = [figure(), figure(x=500.0, heading=0.3)]
    people = crowd(figures)
    keypoints, confidence = people.keypoints.copy(), people.confidence.copy()
    confidence[:, [HALPE.index(name) for name in unsure | gone]] = 0.0
    keypoints[:, [HALPE.index(name) for name in gone]] = np.nan
    people = replace(people, keypoints=keypoints, confidence=confidence)
    detections, _ = found(figures)
    boxes = attach_parts(people, detections, PERSON_PARTS, HALPE).reshape(-1, 4)
    given_out = boxes[np.isfinite(boxes).all(1)]
    assert all((detections.boxes == box).all(1).any() for box in given_out)
    assert len(np.unique(given_out, axis=0)) == len(given_out)
