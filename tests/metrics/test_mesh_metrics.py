"""Errors of meshes by part, scores over crowds, order in depth: known answers, invariances, nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_body import random_body
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.names import PART_NAMES
from vitruvian.errors import VitruvianError
from vitruvian.metrics.meshes import (
    Matches,
    MeshPart,
    PeopleInPictures,
    crowd_scores,
    depth_order_accuracy,
    finger_errors,
    match_people,
    parts_by_weights,
    vertex_errors,
    whole_body_parts,
)

NAMES = ("pelvis", "neck", "left_wrist", "right_wrist", "head")
PARTS = whole_body_parts(NAMES, np.arange(4), np.arange(4, 8), np.arange(8, 14), 30)


def meshes(n=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.5, (n, 30, 3)), rng.normal(0, 0.5, (n, 5, 3))


def test_parts_have_the_published_roots():
    assert {name: NAMES[part.root] for name, part in PARTS.items()} == {
        "all": "pelvis",
        "body": "pelvis",
        "left_hand": "left_wrist",
        "right_hand": "right_wrist",
        "face": "neck",
    }
    assert PARTS["body"].vertices.tolist() == list(range(14, 30)) and PARTS["all"].vertices is None


def test_a_moved_hand_is_a_matter_of_the_body_only():
    vertices, joints = meshes()
    moved, moved_joints = vertices.copy(), joints.copy()
    moved[:, :4] += [0, 0, 0.3]
    moved_joints[:, 2] += [0, 0, 0.3]
    errors = vertex_errors(moved, vertices, moved_joints, joints, PARTS)
    assert np.allclose(errors.pve["all"], 0.3 * 4 / 30) and np.allclose(errors.pve["left_hand"], 0) and np.allclose(errors.pve["hands"], 0)
    assert np.allclose(errors.pa_pve["left_hand"], 0, atol=1e-9) and errors.pa_pve["all"].min() > 1e-3


def test_hands_are_the_mean_of_both():
    vertices, joints = meshes()
    off = vertices.copy()
    off[:, :4] += [0.1, 0, 0]
    off[:, 4:8] += [0, 0.3, 0]
    assert np.allclose(vertex_errors(off, vertices, joints, joints, PARTS).pve["hands"], 0.2)


def test_a_shift_of_everything_is_no_error():
    vertices, joints = meshes()
    errors = vertex_errors(vertices + 2.0, vertices, joints + 2.0, joints, PARTS)
    assert all(np.allclose(value, 0, atol=1e-9) for value in (*errors.pve.values(), *errors.pa_pve.values()))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3), st.floats(0.3, 3))
def test_aligned_errors_forget_scale_turn_and_place(vector, scale):
    vertices, joints = meshes(1)
    turned = scale * vertices @ rotation_matrices(np.array(vector)).T + [1, -2, 3]
    errors = vertex_errors(turned, vertices, joints, joints, PARTS)
    assert all(np.allclose(value, 0, atol=1e-6) for value in errors.pa_pve.values())


def test_a_mirrored_mesh_is_an_error():
    vertices, joints = meshes(1)
    assert vertex_errors(vertices * [-1, 1, 1], vertices, joints, joints, PARTS).pa_pve["all"] > 0.1


def test_a_nan_is_infinitely_far_and_an_empty_part_has_no_error():
    vertices, joints = meshes(2)
    broken = vertices.copy()
    broken[0, 20] = np.nan
    errors = vertex_errors(broken, vertices, joints, joints, {**PARTS, "nothing": MeshPart(np.zeros(0, int), 0)})
    assert errors.pve["all"][0] == np.inf and errors.pve["face"][0] == 0 and np.isnan(errors.pve["nothing"]).all()


def test_no_meshes_have_no_errors():
    errors = vertex_errors(np.zeros((0, 30, 3)), np.zeros((0, 30, 3)), np.zeros((0, 5, 3)), np.zeros((0, 5, 3)), PARTS)
    assert all(value.shape == (0,) for value in (*errors.pve.values(), *errors.pa_pve.values()))


def test_parts_by_weights_cover_a_body():
    body = random_body("smplx")
    parts = parts_by_weights(body.vertex_parts, PART_NAMES, body.joint_names)
    assert sum(len(parts[name].vertices) for name in ("body", "left_hand", "right_hand", "face")) == body.num_vertices


def test_what_does_not_fit_is_refused():
    vertices, joints = meshes()
    with pytest.raises(VitruvianError, match="fit"):
        vertex_errors(vertices, vertices[:2], joints, joints, PARTS)
    with pytest.raises(VitruvianError, match="neck"):
        whole_body_parts(("pelvis", "left_wrist", "right_wrist"), *[np.arange(2)] * 3, 30)
    with pytest.raises(VitruvianError, match="29"):
        whole_body_parts(NAMES, np.arange(2), np.arange(2), np.array([30]), 30)
    with pytest.raises(VitruvianError, match="depths"):
        depth_order_accuracy(np.zeros(2), np.zeros(3), np.zeros(3, int))


def people(places, image=None, size=20.0):
    """People as squares around places (n, 2), with keypoints at the corners."""
    places = np.asarray(places, float).reshape(-1, 2)
    image = np.zeros(len(places), int) if image is None else np.asarray(image)
    boxes = np.concatenate([places - size, places + size], 1)
    corners = places[:, None] + size * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return PeopleInPictures(image, boxes, corners)


def test_the_nearest_are_matched_first():
    matches = match_people(people([[0, 0], [12, 0]]), people([[10, 0]]))
    assert matches.found.tolist() == [1] and matches.false_positives.tolist() == [0] and len(matches.missed) == 0
    assert matches.precision == 0.5 and matches.recall == 1 and matches.f1 == pytest.approx(2 / 3)


def test_boxes_must_overlap_and_pictures_be_the_same():
    matches = match_people(people([[0, 0], [50, 50]], [0, 1]), people([[100, 0], [50, 50]], [0, 0]))
    assert len(matches.found) == 0 and matches.f1 == 0 and matches.missed.tolist() == [0, 1]


def test_hidden_keypoints_don_t_count():
    truth = people([[0, 0]])
    wild = people([[0, 0], [5, 0]])
    wild.keypoints[0, 3] = 1000
    seen = PeopleInPictures(truth.image, truth.boxes, truth.keypoints, np.array([[True, True, True, False]]))
    assert match_people(wild, truth).found.tolist() == [1] and match_people(wild, seen).found.tolist() == [0]
    nothing = PeopleInPictures(truth.image, truth.boxes, truth.keypoints, np.zeros((1, 4), bool))
    assert match_people(wild, nothing).missed.tolist() == [0]


def test_nobody_and_nothing():
    none, some = people(np.zeros((0, 2))), people([[0, 0]])
    assert np.isnan(match_people(none, none).f1)
    assert match_people(none, some).f1 == 0 and np.isnan(match_people(none, some).precision)
    assert match_people(some, none).false_positives.tolist() == [0] and np.isnan(match_people(some, none).recall)


def test_misses_and_false_positives_cost():
    vertices, joints = meshes(4)
    pred, pred_joints = vertices[:3].copy(), joints[:3].copy()
    pred += np.array([0.1, 0, 0])  # the joints stay, so each vertex is off by 0.1 m about the pelvis
    matches = Matches(np.array([0, 1]), np.array([0, 1]), np.array([2]), np.array([2, 3]))
    scores = crowd_scores(matches, (pred, pred_joints), (vertices, joints))
    assert scores.mve == pytest.approx(0.1) and scores.mpjpe == pytest.approx(0)
    assert (
        scores.f1 == pytest.approx(4 / 7)
        and scores.nmve == pytest.approx(0.1 * 7 / 4)
        and (scores.false_positives, scores.missed) == (1, 2)
    )


def test_nobody_found_is_infinitely_bad_and_nobody_there_says_nothing():
    vertices, joints = meshes(1)
    empty = np.zeros(0, int)
    none = crowd_scores(Matches(empty, empty, empty, np.array([0])), (vertices[:0], joints[:0]), (vertices, joints))
    assert none.nmve == np.inf and none.nmje == np.inf and np.isnan(none.mve)
    nothing = crowd_scores(Matches(empty, empty, empty, empty), (vertices[:0], joints[:0]), (vertices[:0], joints[:0]))
    assert np.isnan(nothing.nmve) and np.isnan(nothing.f1)


def test_order_in_depth():
    truth, image = np.array([2.0, 4.0, 4.1, 1.0]), np.array([0, 0, 0, 1])
    assert depth_order_accuracy(truth, truth, image) == 1
    assert depth_order_accuracy(truth * 10, truth, image) == pytest.approx(2 / 3)  # 1 m between the last two is a difference
    assert depth_order_accuracy(-truth, truth, image) == pytest.approx(1 / 3)
    assert depth_order_accuracy(np.array([2, np.nan, 4.1, 1]), truth, image) == pytest.approx(1 / 3)
    assert depth_order_accuracy(truth, np.array([2, np.nan, 4.1, 1]), image) == 1


def test_order_needs_two_people():
    assert np.isnan(depth_order_accuracy(np.zeros(2), np.zeros(2), np.array([0, 1])))
    assert np.isnan(depth_order_accuracy(np.zeros(0), np.zeros(0), np.zeros(0, int)))


JOINTS = ("wrist", "thumb1", "thumb2", "index1", "index2", "pinky1", "pinky2")
HANDS = tuple(f"{side}_{name}" for side in ("left", "right") for name in JOINTS)


def hands(n=4):
    return np.random.default_rng(3).normal(0, 0.1, (n, len(HANDS), 3))


def test_a_finger_that_is_off_does_not_count_for_the_others():
    truth = hands()
    pred = truth + np.array([1.0, 2, 3])  # where the hand is does not count
    pred[:, HANDS.index("left_index2")] += [0, 0.03, 0.04]
    errors = finger_errors(pred, truth, HANDS)
    assert set(errors) == {f"{side}_{finger}" for side in ("left", "right") for finger in ("thumb", "index", "pinky")}
    assert np.allclose(errors.pop("left_index"), 0.025) and all(np.allclose(values, 0) for values in errors.values())


def test_a_turned_hand_has_good_fingers_once_it_is_turned_back():
    truth = hands()
    turned = truth @ rotation_matrices(np.array([[0.3, 0.2, -0.5]]))[0].T
    assert finger_errors(turned, truth, HANDS)["right_thumb"].min() > 0.01
    assert max(values.max() for values in finger_errors(turned, truth, HANDS, turned=True).values()) < 1e-9


def test_fingers_of_nobody_and_of_no_hand():
    assert finger_errors(hands(0), hands(0), HANDS)["left_thumb"].shape == (0,)
    with pytest.raises(VitruvianError, match="wrists"):
        finger_errors(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), ("a", "b"))
