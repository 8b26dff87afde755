from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.errors import VitruvianError
from vitruvian.people.refine import AGREE, Refiner, merge
from vitruvian.runtime import PoseEstimator
from vitruvian.skeletons import LAPA_106, by_name, convert
from vitruvian.take import PARTS, People

nets = pytest.importorskip("nets", reason="needs onnx")

WHOLE = by_name("coco-wholebody-133")
IMAGE = np.zeros((400, 600, 3), np.uint8)
# Regions of the networks' aspect (3:4); the body's wrist and nose lie where the networks will put the hand's root and the nose.
PLACES = {
    "face": np.float32([280, 40, 340, 120]),
    "left_hand": np.float32([400, 200, 460, 280]),
    "right_hand": np.float32([120, 200, 180, 280]),
}


def network(folder, skeleton):
    return PoseEstimator(nets.pose(folder, skeleton), device="cpu", threads=1)


@pytest.fixture(scope="module")
def hand(tmp_path_factory):
    return network(tmp_path_factory.mktemp("hand"), "hand-21")


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    return network(tmp_path_factory.mktemp("face"), "face-68")


def answer(box, count, mirrored=False):
    """What a network of `count` points says in a region."""
    places = nets.pose_places(count)
    if mirrored:
        places = places * [-1, 1] + [1, 0]
    return box[:2] + places * (box[2:] - box[:2])


def people(rows=1, boxes=PLACES, keypoints=None, confidence=None):
    """People with boxes of parts, and nothing else unless given."""
    part_boxes = np.full((rows, 6, 4), np.nan)
    for part, box in boxes.items():
        part_boxes[:, PARTS.index(part)] = box
    nothing = np.full((rows, 133, 2), np.nan), np.zeros((rows, 133))
    keypoints, confidence = (nothing[0] if keypoints is None else keypoints), (nothing[1] if confidence is None else confidence)
    whole = np.tile([100, 20, 480, 390], (rows, 1))
    return People(np.zeros(rows), np.arange(rows), whole, np.ones(rows), keypoints, confidence, part_boxes=part_boxes)


def part_of(one, part):
    return one.keypoints[:, WHOLE.parts[part]], one.confidence[:, WHOLE.parts[part]]


def test_hands_and_faces_come_from_their_boxes(hand, face):
    (found,) = Refiner(hand=hand, face=face)([IMAGE], [people()])
    for part, count in (("face", 68), ("left_hand", 21), ("right_hand", 21)):
        keypoints, confidence = part_of(found, part)
        assert np.abs(keypoints[0] - answer(PLACES[part], count)).max() < 1.5  # two bins
        np.testing.assert_allclose(confidence, 0.9, atol=1e-6)
    assert np.isnan(found.keypoints[:, :23]).all() and (found.confidence[:, :23] == 0).all()


def test_only_the_given_networks_look(hand):
    (found,) = Refiner(hand=hand)([IMAGE], [people()])
    assert np.isnan(part_of(found, "face")[0]).all() and np.isfinite(part_of(found, "left_hand")[0]).all()
    before = people()
    (found,) = Refiner()([IMAGE], [before])
    np.testing.assert_array_equal(found.keypoints, before.keypoints)


@pytest.mark.parametrize("knows, turned", [("right", "left_hand"), ("left", "right_hand")])
def test_a_network_of_one_hand_sees_the_other_mirrored(hand, knows, turned):
    (found,) = Refiner(hand=hand, knows=knows)([IMAGE], [people()])
    for part in ("left_hand", "right_hand"):
        assert np.abs(part_of(found, part)[0][0] - answer(PLACES[part], 21, mirrored=part == turned)).max() < 1.5


@pytest.mark.parametrize("place", [[-20, 200, 40, 280], [570, 350, 630, 430], [700, 500, 760, 580], [-300, 10, -240, 90]])
def test_mirrored_regions_at_and_beyond_the_border(hand, place):
    box = np.float32(place)
    (found,) = Refiner(hand=hand, knows="right")([IMAGE], [people(boxes={"left_hand": box})])
    assert np.abs(part_of(found, "left_hand")[0][0] - answer(box, 21, mirrored=True)).max() < 1.5


def test_the_mirrored_piece_shows_the_pixels_of_its_region():
    from vitruvian.people import refine

    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:100] = 255
    piece, box, right = refine._mirrored(image, np.array([90.0, 40, 110, 60]))
    columns = np.flatnonzero(piece.any((0, 2)))
    np.testing.assert_array_equal(np.sort(right - columns), np.arange(90, 100))
    np.testing.assert_array_equal(box, [right - 110, 40 - 20, right - 90, 60 - 20])


def test_pictures_and_people_are_batched_and_stay_apart(hand, face):
    frames = [people(2), People.empty(133), people(1, {"left_hand": PLACES["right_hand"]}), people(1, {})]
    refiner = Refiner(hand=hand, face=face, knows="right")
    together = refiner([IMAGE] * 4, frames)
    assert [len(one) for one in together] == [2, 0, 1, 1]
    for one, alone in zip(together, frames, strict=True):
        (want,) = refiner([IMAGE], [alone])
        np.testing.assert_array_equal(one.keypoints, want.keypoints)
    assert np.isnan(together[3].keypoints).all()
    assert refiner([], []) == []


def body(**points):
    """Keypoints of one person: the named ones, surely seen."""
    keypoints, confidence = np.full((1, 133, 2), np.nan), np.zeros((1, 133))
    for name, place in points.items():
        keypoints[0, WHOLE.index(name)], confidence[0, WHOLE.index(name)] = place, 0.9
    return keypoints, confidence


def test_without_boxes_the_hand_is_looked_for_beyond_the_wrist(hand):
    keypoints, confidence = body(left_elbow=(300, 100), left_wrist=(300, 160))
    (found,) = Refiner(hand=hand)([IMAGE], [people(1, {}, keypoints, confidence)])
    centre = np.nanmean(part_of(found, "left_hand")[0][0], axis=0)
    assert abs(centre[0] - 300) < 5 and 165 < centre[1] < 195
    assert np.isnan(part_of(found, "right_hand")[0]).all()


def test_without_boxes_the_hand_is_looked_for_around_its_points(hand):
    keypoints, confidence = body()
    old = answer(np.float32([300, 200, 330, 240]), 21)
    keypoints[0, WHOLE.parts["right_hand"]], confidence[0, WHOLE.parts["right_hand"]] = old, 0.5
    (found,) = Refiner(hand=hand)([IMAGE], [people(1, {}, keypoints, confidence)])
    new, sure = part_of(found, "right_hand")
    assert np.abs(new[0] - old).max() < 4 and (sure > 0.85).all()


def test_without_boxes_the_face_is_looked_for_around_the_nose(face):
    keypoints, confidence = body(nose=(300, 100), left_eye=(312, 90), right_eye=(288, 90))
    (found,) = Refiner(face=face)([IMAGE], [people(1, {}, keypoints, confidence)])
    (points,) = part_of(found, "face")[0]
    assert 30 < np.ptp(points[:, 1]) < 90 and np.abs(points.mean(0) - (300, 100)).max() < 10


def test_a_hand_away_from_its_wrist_is_dropped(hand):
    keypoints, confidence = body(left_wrist=(150, 100), right_wrist=PLACES["right_hand"][:2] + 6)
    (found,) = Refiner(hand=hand)([IMAGE], [people(1, PLACES, keypoints, confidence)])
    assert np.isnan(part_of(found, "left_hand")[0]).all()
    assert np.isfinite(part_of(found, "right_hand")[0]).all()


def test_regions_of_a_few_pixels_are_not_looked_at(hand):
    (found,) = Refiner(hand=hand)([IMAGE], [people(1, {"left_hand": [300, 200, 306, 208]})])
    assert np.isnan(found.keypoints).all()


def test_other_columns_stay(hand):
    before = replace(people(2), orientation=np.array([0.5, 1.0]))
    (after,) = Refiner(hand=hand)([IMAGE], [before])
    for name, column in before.columns().items():
        if name not in ("keypoints", "confidence"):
            np.testing.assert_array_equal(getattr(after, name), column)


def test_faces_of_106_points_are_expressed_in_the_68(tmp_path):
    (found,) = Refiner(face=network(tmp_path, "lapa-106"))([IMAGE], [people()])
    want = convert(answer(PLACES["face"], 106), np.full(106, 0.9), LAPA_106, by_name("face-68")).keypoints
    np.testing.assert_allclose(part_of(found, "face")[0][0], want, atol=1.5)


def test_hands_of_interhand_are_put_in_order(tmp_path):
    (found,) = Refiner(hand=network(tmp_path, "interhand-21"))([IMAGE], [people()])
    root = part_of(found, "left_hand")[0][0, 0]
    assert np.abs(root - answer(PLACES["left_hand"], 21)[20]).max() < 1.5  # InterHand's wrist is the last


@pytest.mark.parametrize("skeleton", ["halpe-136", "openpose-134"])
def test_other_whole_bodies(hand, face, skeleton):
    count = len(by_name(skeleton))
    one = people()
    blank = replace(one, keypoints=np.full((1, count, 2), np.nan), confidence=np.zeros((1, count)))
    (found,) = Refiner(hand=hand, face=face, skeleton=by_name(skeleton))([IMAGE], [blank])
    where = by_name(skeleton).parts["left_hand"]
    assert np.abs(found.keypoints[0, where] - answer(PLACES["left_hand"], 21)).max() < 1.5


def test_networks_and_keypoint_sets_that_do_not_fit_are_refused(hand, face):
    with pytest.raises(VitruvianError, match="no hand"):
        Refiner(hand=face)
    with pytest.raises(VitruvianError, match="no face"):
        Refiner(face=hand)
    with pytest.raises(VitruvianError, match="convert"):
        Refiner(hand=hand, skeleton=by_name("coco-17"))
    with pytest.raises(VitruvianError, match="both, left or right"):
        Refiner(hand=hand, knows="neither")
    with pytest.raises(VitruvianError, match="one People per picture"):
        Refiner(hand=hand)([IMAGE], [])
    with pytest.raises(VitruvianError, match="convert them"):
        Refiner(hand=hand)([IMAGE], [People.empty(17)])


def points(seed, k=5):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 100, (k, 2)), rng.uniform(0.1, 1, k)


def test_points_that_agree_are_averaged_by_squared_confidence():
    old, _ = points(0)
    merged, sure = merge(old, np.full(5, 0.4), old + [3, 0], np.full(5, 0.8), 100.0)
    np.testing.assert_allclose(merged, old + [3 * 0.64 / (0.64 + 0.16), 0])
    np.testing.assert_allclose(sure, 0.8)


@pytest.mark.parametrize("better", [0, 1])
def test_points_that_disagree_come_from_the_surer_part(better):
    (old, _), (new, _) = points(0), points(1)
    new += 200
    confidence = [np.full(5, 0.5), np.full(5, 0.5)]
    confidence[better] = np.array([0.9, 0.9, 0.9, 0.9, 0.3])
    merged, sure = merge(old, confidence[0], new, confidence[1], 100.0)
    np.testing.assert_array_equal(merged, (old, new)[better])
    np.testing.assert_array_equal(sure, confidence[better])


def test_each_fills_what_the_other_lacks():
    (old, a), (new, b) = points(0), points(1)
    old[0], a[1], new[2], b[3] = np.nan, 0.0, np.nan, 0.0
    merged, sure = merge(old, a, new + 300, b, 100.0)
    np.testing.assert_array_equal(merged[:2], new[:2] + 300)
    np.testing.assert_array_equal(merged[2:4], old[2:4])
    assert (sure > 0).all()


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10), shift=st.floats(-1e3, 1e3))
@settings(max_examples=25, deadline=None)
def test_merging_does_not_depend_on_size_and_place(seed, scale, shift):
    (old, a), (new, b) = points(seed), points(seed + 100)
    new = np.where(np.arange(5)[:, None] % 2, new, old + 0.5 * AGREE)
    merged, sure = merge(old, a, new, b, 50.0)
    moved, again = merge(old * scale + shift, a, new * scale + shift, b, 50.0 * scale)
    np.testing.assert_allclose(moved, merged * scale + shift, atol=1e-6 * (1 + abs(shift)))
    np.testing.assert_array_equal(again, sure)
