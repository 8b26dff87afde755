"""From what a network for meshes says to bodies in space and points in the picture."""

import numpy as np
import pytest

from mesh_network import people
from random_body import random_body
from vitruvian.body.compact import load_compact
from vitruvian.body.regressors import point_regressor
from vitruvian.codecs.mesh import SMPL_LAYOUTS, body_pose, camera_code, decode, pixels, seen_bodies
from vitruvian.errors import VitruvianError, WeightsError

NAMES = ("scores", "translations", "rotations", "shapes")
CAMERA = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])


def said(count=2, **changes):
    return dict(zip(NAMES, people(count), strict=True)) | changes


def test_the_assumed_camera_has_code_zero():
    focal = 100 / (2 * np.tan(np.radians(30)))
    assert np.allclose(camera_code(np.array([[focal, 0, 50], [0, focal, 50], [0, 0, 1]]), 100), 0)


@pytest.mark.parametrize("focal", [0.0, -1.0, np.nan])
def test_a_camera_without_focal_length_is_refused(focal):
    with pytest.raises(VitruvianError, match="focal"):
        camera_code(np.array([[focal, 0, 1], [0, 1, 1], [0, 0, 1.0]]), 10)


def test_the_head_joint_is_where_it_was_seen():
    model = load_compact()
    scores, bodies = decode(said(3), model, 0.0)
    joints = model.forward(bodies.pose, bodies.shape, bodies.expression, bodies.translation).joints
    assert np.allclose(joints[:, model.joint_names.index("head")], said(3)["translations"], atol=1e-5)
    assert (joints[:, model.joint_names.index("left_ankle"), 1] > joints[:, model.joint_names.index("head"), 1]).all()  # y is down
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.7]) and bodies.shape[0, 0] == 0.5 and not bodies.shape[:, 16:].any()


def test_unsure_people_and_numbers_that_are_none_are_left_out():
    broken = said(4)["translations"].copy()
    broken[1], broken[2, 2] = np.nan, -3
    scores, bodies = decode(said(4, translations=broken), load_compact(), 0.65)
    assert scores.tolist() == pytest.approx([0.9]) and len(bodies) == 1


def test_nobody():
    empty = {name: array[:0] for name, array in said().items()}
    scores, bodies = decode(empty, load_compact(), 0.3)
    model = load_compact()
    found = seen_bodies(scores, bodies, model, point_regressor(model), CAMERA, (640, 480))
    assert len(found) == 0 and found.keypoints.shape == (0, 133, 2) and found.boxes.shape == (0, 4)


def test_outputs_that_do_not_fit_are_refused():
    with pytest.raises(WeightsError, match="export"):
        decode(said(2, scores=np.ones(3)), load_compact(), 0.3)
    with pytest.raises(VitruvianError, match="joints"):
        body_pose(load_compact(), np.tile(np.eye(3), (1, 54, 1, 1)))


def test_eyes_that_a_network_does_not_speak_of_stay_and_the_jaw_goes_before_them():
    turns = np.arange(53.0)[None, :, None, None] * np.ones((1, 1, 3, 3))
    pose = body_pose(random_body("smplx"), turns)
    assert pose[0, :, 0, 1].tolist() == [*range(22), 52, 0, 0, *range(22, 52)] and (pose[0, 23:25] == np.eye(3)).all()
    whole = np.zeros((2, 55, 3, 3))
    assert body_pose(random_body("smplx"), whole) is whole


@pytest.mark.parametrize("given", [24, 53, 55])
def test_smpls_rotations_pose_the_compact_body_joint_by_joint(given):
    model, turns = load_compact(), np.tile(np.eye(3), (1, given, 1, 1))
    knee, elbow = (SMPL_LAYOUTS[given].index(name) for name in ("left_knee", "right_elbow"))
    turns[0, knee], turns[0, elbow] = np.diag([1.0, -1, -1]), np.diag([-1.0, -1, 1])
    pose = body_pose(model, turns)
    moved = np.flatnonzero((pose[0] != np.eye(3)).any((1, 2)))
    assert pose.shape == (1, 69, 3, 3) and [model.joint_names[i] for i in moved] == ["left_knee", "right_elbow"]
    assert (pose[0, moved[0]] == turns[0, knee]).all()


def test_points_are_the_projection_of_points_in_space_and_who_is_outside_is_left_out():
    model, heads = load_compact(), said(2)["translations"].copy()
    heads[1, 0] = 40
    scores, bodies = decode(said(2, translations=heads), model, 0.0)
    found = seen_bodies(scores, bodies, model, point_regressor(model), CAMERA, (640, 480))
    assert len(found) == 1 and found.inside[0, :17].any()
    plain = found.points[0] @ CAMERA.T
    assert np.allclose(found.keypoints[0], plain[:, :2] / plain[:, 2:], atol=1e-2)
    inner = found.keypoints[0][found.inside[0]]
    assert (inner >= found.boxes[0, :2] - 3).all() and (inner <= found.boxes[0, 2:] + 3).all()


def test_points_behind_the_camera_are_nowhere():
    assert np.isnan(pixels(np.array([[0, 0, -1.0], [0, 0, 0]]), CAMERA)).all()
