"""People out of heat maps, affinity fields and codes: what is encoded comes back, and nobody gets another's joints."""

import numpy as np
import pytest

from vitruvian.codecs.part_affinity import FEATURES, PartTree, Reading, bones, codes_at_joints, features, find_peaks
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import XNECT_14
from vitruvian.systems.pose3d.xnect import CODE_BONES, TREE, VARIANTS, codec
from vitruvian.systems.pose3d.xnect_fit import Camera
from vitruvian.systems.pose3d.xnect_skeleton import MEAN_LENGTHS, NECK, Posture, joints, rest_bones, rotation_matrices

CODEC = codec(VARIANTS["60"])
CAMERA = Camera(600.0, (255.5, 159.5))


def people(places, turns):
    """Standing people: points in the camera's frame, keypoints, and the codes' offsets."""
    n = len(places)
    turn = rotation_matrices(np.array([[0, yaw, 0] for yaw in turns], float))
    angles = np.tile(np.linspace(-0.2, 0.3, 23), (n, 1))
    points = joints(Posture(np.array(places, float), turn, angles), rest_bones(np.tile(MEAN_LENGTHS, (n, 1))))
    return points, CAMERA.project(points)[:, :14], bones(points, CODE_BONES)


def read(keypoints, visible, offsets, reading=Reading()):  # noqa: B008
    targets = CODEC.encode(keypoints, visible, offsets)
    return CODEC.decode(targets.heatmaps, targets.affinity, targets.codes, reading)


def matched(parts, keypoints, joint=1):
    """Row of `parts` for each person, by the neck."""
    away = np.linalg.norm(parts.keypoints[None, :, joint] - keypoints[:, None, joint], axis=-1)
    return away.argmin(1)


def test_people_come_back():
    _, keypoints, offsets = people([(-1.4, 0, 5), (0, 0, 5), (1.4, 0, 5)], (0.2, 1.0, 3.0))
    parts = read(keypoints, np.ones((3, 14), bool), offsets)
    assert len(parts) == 3
    rows = matched(parts, keypoints)
    assert np.abs(parts.keypoints[rows] - keypoints).max() < 2.5  # a third of a cell
    assert (parts.scores[rows] > 0.8).all()
    left, right = (XNECT_14.index(f"{side}_knee") for side in ("left", "right"))
    assert np.allclose(parts.codes[rows][:, [left, right], 0], offsets[:, [left, right]], atol=1e-6)


def test_a_bone_stands_at_both_of_its_ends():
    _, keypoints, offsets = people([(0, 0, 4)], (0.0,))
    parts = read(keypoints, np.ones((1, 14), bool), offsets)
    elbow, wrist = XNECT_14.index("left_elbow"), XNECT_14.index("left_wrist")
    slot = list(TREE.slots[elbow]).index(wrist)
    assert np.allclose(parts.codes[0, elbow, slot], parts.codes[0, wrist, 0])
    assert np.allclose(parts.codes[0, elbow, slot], offsets[0, wrist])


def test_hidden_joints_are_absent_and_take_no_other_along():
    _, keypoints, offsets = people([(0, 0, 4)], (0.0,))
    visible = np.ones((1, 14), bool)
    visible[0, XNECT_14.index("left_wrist")] = False
    parts = read(keypoints, visible, offsets)
    assert len(parts) == 1 and ((parts.scores[0] > 0) == visible[0]).all()
    assert not parts.codes[0, XNECT_14.index("left_wrist")].any()


def test_what_lies_beyond_a_hidden_joint_belongs_to_nobody():
    _, keypoints, offsets = people([(0, 0, 4)], (0.0,))
    visible = np.ones((1, 14), bool)
    visible[0, XNECT_14.index("left_elbow")] = False
    parts = read(keypoints, visible, offsets)
    assert parts.scores[0, XNECT_14.index("left_wrist")] == 0


def test_who_has_no_neck_is_not_found():
    _, keypoints, offsets = people([(0, 0, 4)], (0.0,))
    visible = np.ones((1, 14), bool)
    visible[0, 1] = False
    assert len(read(keypoints, visible, offsets)) == 0


def test_crossing_people_keep_their_limbs():
    _, keypoints, offsets = people([(-0.25, 0, 4.0), (0.3, 0, 4.6)], (0.5, -0.5))
    parts = read(keypoints, np.ones((2, 14), bool), offsets)
    rows = matched(parts, keypoints)
    assert len(parts) == 2 and sorted(rows) == [0, 1]
    assert np.abs(parts.keypoints[rows] - keypoints).max(-1).mean() < 3


def test_nearer_person_wins_a_disputed_cell():
    _, keypoints, offsets = people([(0, 0, 5), (0, 0, 5)], (0.0, 0.0))
    offsets[1] += 1.0
    targets = CODEC.encode(keypoints, np.ones((2, 14), bool), offsets)
    column, row = np.round(keypoints[1, 5] / 8).astype(int)
    assert np.allclose(targets.codes[15:18, row, column], offsets[1, 5])
    assert targets.code_mask[15:18, row, column].all()
    assert targets.code_mask.mean() < 0.02  # all other cells say nothing


def test_empty_picture_has_nobody():
    targets = CODEC.encode(np.zeros((0, 14, 2)), np.zeros((0, 14), bool), np.zeros((0, 14, 3)))
    assert (targets.heatmaps[-1] == 1).all() and not targets.code_mask.any()
    parts = CODEC.decode(targets.heatmaps, targets.affinity, targets.codes)
    assert len(parts) == 0 and parts.codes.shape == (0, 14, 4, 3)
    assert features(parts, TREE.anchor).shape == (0, FEATURES * 14)


def test_maps_of_nan_have_nobody():
    shapes = ((15, 40, 64), (26, 40, 64), (42, 40, 64))
    assert len(CODEC.decode(*(np.full(shape, np.nan, np.float32) for shape in shapes))) == 0


def test_keypoints_outside_and_nan_are_left_out():
    _, keypoints, offsets = people([(0, 0, 4)], (0.0,))
    keypoints[0, 0] = np.nan
    keypoints[0, 13] = (9000, -9000)
    parts = read(keypoints, np.ones((1, 14), bool), offsets)
    assert len(parts) == 1 and parts.scores[0, 0] == 0 and parts.scores[0, 13] == 0


def test_peak_lies_between_cells():
    y, x = np.mgrid[:20, :30].astype(float)
    heatmap = 0.9 * np.exp(-((x - 12.3) ** 2 + (y - 7.6) ** 2) / 3)
    places, heights = find_peaks(heatmap, Reading())
    assert len(places) == 1 and np.abs(places[0] - (12.3, 7.6)).max() < 0.1
    assert heights[0] == pytest.approx(heatmap.max())


def test_two_equal_cells_are_one_peak():
    heatmap = np.zeros((9, 9), np.float32)
    heatmap[4, 4:6] = 0.8
    assert len(find_peaks(heatmap, Reading())[0]) == 1


def test_features_do_not_depend_on_place_and_size():
    _, keypoints, offsets = people([(0, 0, 4)], (0.4,))
    parts = read(keypoints, np.ones((1, 14), bool), offsets)
    moved = type(parts)(2 * parts.keypoints + 30, parts.scores, parts.codes)
    assert np.allclose(features(parts, NECK), features(moved, NECK), atol=1e-5)
    one = features(parts, NECK).reshape(14, FEATURES)
    assert (one[NECK, :2] == 0).all() and np.abs(one[:, :2]).max() <= 1


def test_features_of_what_is_hidden_are_zero():
    points, keypoints, offsets = people([(0, 0, 4)], (0.4,))
    seen = np.ones((1, 14), bool)
    seen[0, [1, 6]] = False
    from vitruvian.codecs.part_affinity import Parts

    parts = Parts(keypoints.astype(np.float32), seen.astype(np.float32), codes_at_joints(TREE, offsets, seen))
    one = features(parts, NECK).reshape(14, FEATURES)
    assert not one[[1, 6]].any() and one[[0, 2, 13]].any(1).all()


def test_trees_that_are_none_are_refused():
    with pytest.raises(VitruvianError, match="outwards"):
        PartTree(3, ((0, 1), (2, 1)), (-1, 0, 1))
    with pytest.raises(VitruvianError, match="3 children"):
        PartTree(5, ((0, 1), (0, 2), (0, 3), (0, 4)), (-1, 0, 0, 0, 0))
