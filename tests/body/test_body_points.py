"""Points beside the joints: published orders and numbers, barycentric landmarks, the contour by yaw, finger tips, the larynx."""

import numpy as np
import pytest

from published_bodies import entries, flame_landmarks
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.points import (
    HAND_TIPS,
    VERTEX_POINT_NAMES,
    VERTEX_POINTS,
    contour_row,
    face_landmarks,
    hand21,
    hand_tips,
    published_joints,
)
from vitruvian.body.published import Extras, from_arrays, with_yaw_from
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import HAND_21


def test_published_numbers_of_joints():
    smpl, smplh, smplx = (from_arrays(entries(kind, vertices=v)) for kind, v in (("smpl", 6890), ("smplh", 6890), ("smplx", 10475)))
    assert published_joints(smpl, smpl.forward()).shape == (1, 45, 3)
    assert published_joints(smplh, smplh.forward()).shape == (1, 73, 3)
    posed = smplx.forward()
    assert published_joints(smplx, posed, landmarks=False).shape == (1, 76, 3)
    assert published_joints(smplx, posed).shape == (1, 127, 3)
    joints = published_joints(smplx, posed, contour=True)
    assert joints.shape == (1, 144, 3)
    nose = VERTEX_POINTS["smplx"][VERTEX_POINT_NAMES.index("nose")]
    np.testing.assert_array_equal(joints[:, 55], posed.vertices[:, nose])


def test_points_of_another_topology_are_refused():
    model = from_arrays(entries("smplx"))
    with pytest.raises(VitruvianError, match="not the published topology"):
        published_joints(model, model.forward())


def test_landmarks_lie_in_their_triangles_and_follow_the_mesh():
    static, contour = flame_landmarks()
    model = from_arrays(entries("flame"), extras=Extras(static=static, contour=contour))
    pose = np.zeros((2, 5, 3), np.float32)
    pose[1, 2] = 0.3
    posed = model.forward(pose)
    points = face_landmarks(model, posed)
    corners = posed.vertices[:, model.faces[static["lmk_face_idx"]]]
    np.testing.assert_allclose(points, np.einsum("nlcx,lc->nlx", corners, static["lmk_b_coords"]), atol=1e-6)
    assert published_joints(model, posed).shape == (2, 56, 3) and published_joints(model, posed, contour=True).shape == (2, 73, 3)


def yaw(degrees: float) -> np.ndarray:
    return rotation_matrices(np.array([[0.0, np.radians(degrees), 0.0]]))


@pytest.mark.parametrize(("degrees", "row"), [(0, 0), (-10, 10), (-39, 39), (-80, 39), (1, 40), (10, 49), (39, 78), (60, 78)])
def test_contour_row_counts_degrees_of_yaw(degrees, row):
    assert contour_row(yaw(degrees)).tolist() == [row]


def test_contour_follows_the_yaw_of_the_chosen_joint():
    static, contour = flame_landmarks()
    model = from_arrays(entries("flame"), extras=Extras(static=static, contour=contour))
    pose = np.zeros((1, 5, 3), np.float32)
    pose[0, 1] = [0, np.radians(20), 0]  # the neck, which smplx leaves out
    for chosen, row in ((model, 0), (with_yaw_from(model, "neck"), 59)):
        posed = chosen.forward(pose)
        corners = posed.vertices[0, model.faces[contour["lmk_face_idx"][row]]]
        expected = (corners * contour["lmk_b_coords"][row][..., None]).sum(1)
        np.testing.assert_allclose(face_landmarks(chosen, posed, contour=True)[0, 51:], expected, atol=1e-6)


def test_landmarks_are_missed_with_a_remedy():
    model = from_arrays(entries("flame"))
    with pytest.raises(VitruvianError, match="landmark files"):
        face_landmarks(model, model.forward())
    static, _ = flame_landmarks()
    model = from_arrays(entries("flame"), extras=Extras(static=static))
    with pytest.raises(VitruvianError, match="contour"):
        face_landmarks(model, model.forward(), contour=True)


@pytest.mark.parametrize("tips", sorted(HAND_TIPS))
def test_hand_points_are_in_the_order_of_the_skeleton(tips):
    model = from_arrays(entries("mano", vertices=778))
    posed = model.forward()
    points = hand21(model, posed, tips)
    names = [name.replace("forefinger", "index").replace("_finger", "") for name in HAND_21.names]
    for i, name in enumerate(names):
        finger, joint = name[:-1], name[-1]
        if name == "wrist":
            expected = posed.joints[:, 0]
        elif joint == "4":
            expected = posed.vertices[:, hand_tips(tips)[("thumb", "index", "middle", "ring", "pinky").index(finger)]]
        else:
            expected = posed.joints[:, model.joint_names.index(finger + joint)]
        np.testing.assert_array_equal(points[:, i], expected, err_msg=name)


def test_left_middle_tip_and_unknown_sets():
    assert hand_tips("manopth", left=True)[2] == 445 and hand_tips("manopth")[2] == 444
    with pytest.raises(VitruvianError, match="otaheri"):
        hand_tips("mine")
    model = from_arrays(entries("smpl"))
    with pytest.raises(VitruvianError, match="not a MANO hand"):
        hand21(model, model.forward())


def test_tensors_give_the_same_points():
    torch = pytest.importorskip("torch")
    from vitruvian.body.torch import TorchBody

    model = from_arrays(entries("smplx", vertices=10475))
    pose = np.random.default_rng(0).normal(0, 0.5, (2, 55, 3)).astype(np.float32)
    points = published_joints(model, TorchBody(model)(torch.tensor(pose, requires_grad=True)), contour=True)
    points.sum().backward()
    np.testing.assert_allclose(points.detach().numpy(), published_joints(model, model.forward(pose), contour=True), atol=1e-5)
