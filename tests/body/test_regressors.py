"""Points of body models: which sets a model has, where they lie, what is missing or uncertain."""

import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyModel, FaceLandmarks
from vitruvian.body.names import JOINT_NAMES
from vitruvian.body.points import VERTEX_POINTS, hand_tips
from vitruvian.body.regressors import point_regressor, take, vertex_regressor
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133, HAND_21

SETS = {"coco-17": 17, "coco-wholebody-133": 133, "h36m-17": 17, "openpose-body-25": 25, "smpl-24": 24, "smplx-55": 55, "joints": 69}
SIZES = {"smpl": 6890, "smplh": 6890, "smplx": 10475, "mano": 778, "flame": 5023}


def fake(kind, name="fake", landmarks=None):
    """A model of a published size with random vertices and joints."""
    rng, v, names = np.random.default_rng(0), SIZES[kind], JOINT_NAMES[kind]
    j = len(names)
    empty = np.zeros((0, v, 3)), np.zeros((0, j, 3))
    return BodyModel(
        name=name, kind=kind, licence="", joint_names=names, parents=(-1, *[0] * (j - 1)), faces=np.array([[0, 1, 2], [3, 4, 5]]),
        template=rng.normal(size=(v, 3)), weights=np.eye(j)[rng.integers(0, j, v)], joints=rng.normal(size=(j, 3)),
        shape_directions=empty[0], joint_shape_directions=empty[1], expression_directions=empty[0], joint_expression_directions=empty[1],
        shape_names=(), expression_names=(), shape_default=np.zeros(0), landmarks=landmarks,
    )  # fmt: skip


def points_of(model, name):
    regressor = point_regressor(model, name)
    return regressor, regressor(model.template[None], model.joints[None])[0]


@pytest.mark.parametrize("name", SETS)
def test_compact_body_has_every_point_of_every_set(name):
    regressor, points = points_of(load_compact(), name)
    assert points.shape == (SETS[name], 3)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("name", SETS)
def test_weights_of_a_point_sum_to_one(name):
    regressor = point_regressor(load_compact(), name)
    assert np.allclose(np.bincount(regressor.rows, regressor.weights), 1, atol=1e-5)


def test_left_points_lie_left_on_the_compact_body():
    regressor, points = points_of(load_compact(), "coco-wholebody-133")
    left = [i for i, n in enumerate(regressor.names) if n.startswith("left_")]
    assert (points[left, 0] > 0).all()
    assert np.allclose(points[list(COCO_WHOLEBODY_133.swap)] * [-1, 1, 1], points, atol=5e-3)


def test_coco_17_is_the_head_of_the_133():
    body = load_compact()
    assert np.array_equal(points_of(body, "coco-17")[1], points_of(body, "coco-wholebody-133")[1][:17])


def test_openpose_neck_and_hip_are_means():
    regressor, points = points_of(load_compact(), "openpose_body_25")
    by_name = dict(zip(regressor.names, points, strict=True))
    assert np.allclose(by_name["neck"], (by_name["left_shoulder"] + by_name["right_shoulder"]) / 2, atol=1e-6)
    assert np.allclose(by_name["mid_hip"], (by_name["left_hip"] + by_name["right_hip"]) / 2, atol=1e-6)


def test_h36m_head_is_the_top_of_the_body():
    body = load_compact()
    regressor, points = points_of(body, "h36m-17")
    assert points[regressor.names.index("head"), 1] == pytest.approx(body.template[:, 1].max())
    assert "head" in regressor.uncertain


def test_smpl_joints_are_in_place_and_stand_ins_are_uncertain():
    smpl = fake("smpl")
    regressor, points = points_of(smpl, "smpl-24")
    assert np.array_equal(points, smpl.joints)
    assert "spine1" in point_regressor(load_compact(), "smpl-24").uncertain


def test_smpl_has_documented_vertices_and_no_68_face_points():
    smpl = fake("smpl")
    regressor, points = points_of(smpl, "coco-wholebody-133")
    assert np.array_equal(points[0], smpl.template[VERTEX_POINTS["smpl"][0]])
    assert np.array_equal(points[5], smpl.joints[16])
    assert np.isnan(points[23:91]).all() and regressor.missing[23:91].all()
    assert "left_shoulder" in regressor.uncertain


def test_smpl_has_no_top_of_the_head():
    regressor, points = points_of(fake("smpl"), "h36m-17")
    assert list(np.flatnonzero(regressor.missing)) == [10]


def test_smplx_face_points_are_its_landmarks():
    rng = np.random.default_rng(1)
    landmarks = FaceLandmarks(rng.integers(0, 2, 51), rng.dirichlet([1, 1, 1], 51), None, None, 15)
    smplx = fake("smplx", landmarks=landmarks)
    regressor, points = points_of(smplx, "coco-wholebody-133")
    assert np.allclose(points[23 + 17], landmarks.barycentric[0] @ smplx.template[smplx.faces[landmarks.faces[0]]])
    assert regressor.missing[23:40].all() and not regressor.missing[40:91].any()


@pytest.mark.parametrize(("name", "side"), [("mano-right", "right"), ("mano-left", "left")])
def test_mano_hand_21(name, side):
    mano = fake("mano", name)
    regressor, points = points_of(mano, "hand-21")
    assert regressor.names == HAND_21.names and not regressor.missing.any()
    assert np.array_equal(points[0], mano.joints[0])
    assert np.array_equal(points[4], mano.template[hand_tips("manopth", left=side == "left")[0]])


def test_a_lone_left_hand_is_the_left_of_the_133():
    regressor = point_regressor(fake("mano", "mano-left"), "coco-wholebody-133")
    assert not regressor.missing[91:112].any() and regressor.missing[112:].all()


def test_unknown_set_is_refused_with_the_choices():
    with pytest.raises(VitruvianError, match="coco-17"):
        point_regressor(load_compact(), "coco-18")


def test_names_of_ones_own_choice():
    regressor = point_regressor(load_compact(), ["nose", "left_knee", "no_such_point"])
    assert list(regressor.missing) == [False, False, True]


def test_another_models_vertices_are_refused():
    with pytest.raises(VitruvianError, match="13718"):
        point_regressor(load_compact())(np.zeros((1, 5, 3)), np.zeros((1, 69, 3)))


def test_no_bodies_give_no_points():
    assert point_regressor(load_compact())(np.zeros((0, 13718, 3)), np.zeros((0, 69, 3))).shape == (0, 133, 3)


def test_taking_points_keeps_order_and_weights():
    body = load_compact()
    regressor, points = points_of(body, "coco-17")
    few = take(regressor, np.array([5, 0]))
    assert few.names == ("left_shoulder", "nose")
    assert np.array_equal(few(body.template[None], body.joints[None])[0], points[[5, 0]])


def test_markers_on_vertices():
    body = load_compact()
    regressor = vertex_regressor(body, [7, 3])
    assert np.array_equal(regressor(body.template[None], body.joints[None])[0], body.template[[7, 3]])
    with pytest.raises(VitruvianError, match="13717"):
        vertex_regressor(body, [13718])
