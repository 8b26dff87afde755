"""Poses from their parts, hand spaces and means, rigid moves about the right pivot, and 6D conventions."""

import numpy as np
import pytest

from published_bodies import entries
from vitruvian.body.lbs import rotation_matrices
from vitruvian.body.model import BodyParameters, astype
from vitruvian.body.pose import (
    default_parameters,
    from_root_split,
    full_pose,
    hand_coefficients,
    move,
    root_joint,
    rotation_vectors,
    rotations_from_6d,
    split_pose,
    to_root_split,
)
from vitruvian.body.published import from_arrays
from vitruvian.errors import VitruvianError


@pytest.fixture(scope="module")
def smplx():
    return astype(from_arrays(entries("smplx")), np.float64)


@pytest.fixture(scope="module")
def mano():
    return astype(from_arrays(entries("mano")), np.float64)


def parameters(model, n=3, seed=0) -> BodyParameters:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 0.8, shape)  # noqa: E731
    return BodyParameters(draw(n, model.num_joints, 3), draw(n, model.num_shape), draw(n, model.num_expression), draw(n, 3))


def vertices(model, p: BodyParameters) -> np.ndarray:
    return model.forward(p.pose, p.shape, p.expression, p.translation).vertices


def test_blocks_land_on_their_joints(smplx):
    blocks = {"root": 3, "body": 63, "jaw": 3, "left_eye": 3, "right_eye": 3, "left_hand": 45, "right_hand": 45}
    values = {name: np.random.default_rng(i).normal(size=(2, size)) for i, (name, size) in enumerate(blocks.items())}
    pose = full_pose(smplx, **values)
    assert pose.shape == (2, 55, 3)
    np.testing.assert_array_equal(pose.reshape(2, -1), np.concatenate(list(values.values()), 1))
    np.testing.assert_array_equal(pose[:, smplx.joint_names.index("left_index1")], values["left_hand"][:, :3])
    for name, block in split_pose(smplx, pose).items():
        np.testing.assert_array_equal(block, values[name])


def test_what_is_not_given_is_zero_and_one_row_broadcasts(smplx):
    pose = full_pose(smplx, root=np.ones((1, 3)), body=np.zeros((4, 21, 3)))
    assert pose.shape == (4, 55, 3) and (pose[:, 0] == 1).all() and not pose[:, 1:].any()
    assert full_pose(smplx).shape == (1, 55, 3)
    assert full_pose(smplx, root=np.zeros((0, 3))).shape == (0, 55, 3)


@pytest.mark.parametrize("count", [0, 1, 6, 12, 45])
@pytest.mark.parametrize("hand_mean", [True, False])
def test_pca_coefficients_of_any_number(mano, count, hand_mean):
    values = np.random.default_rng(0).normal(size=(2, count))
    pose = full_pose(mano, hand=values, pose_space="pca", hand_mean=hand_mean)
    space = mano.hands["hand"]
    expected = values @ space.components[:count] + (space.mean if hand_mean else 0)
    np.testing.assert_allclose(pose[:, 1:].reshape(2, 45), expected, atol=1e-12)
    back = hand_coefficients(mano, "hand", pose[:, 1:].reshape(2, 45), count, hand_mean)
    np.testing.assert_allclose(back, values, atol=1e-9)


def test_45_axis_angles_and_45_coefficients_are_not_the_same(mano):
    values = np.random.default_rng(0).normal(size=(1, 45))
    as_angles = full_pose(mano, hand=values)
    np.testing.assert_array_equal(as_angles[:, 1:].reshape(1, 45), values)
    assert np.abs(full_pose(mano, hand=values, pose_space="pca") - as_angles).max() > 0.1


def test_mean_is_added_to_axis_angles_and_to_hands_that_are_not_given(smplx):
    left = np.full((1, 45), 0.1)
    pose = split_pose(smplx, full_pose(smplx, left_hand=left, hand_mean=True))
    np.testing.assert_allclose(pose["left_hand"], left + smplx.hands["left_hand"].mean)
    np.testing.assert_allclose(pose["right_hand"][0], smplx.hands["right_hand"].mean)
    assert (left == 0.1).all()  # the caller's array is not written to


def test_hands_without_components_say_what_to_do():
    model = from_arrays({k: v for k, v in entries("smplh").items() if not k.startswith("hands")})
    with pytest.raises(VitruvianError, match="MANO files"):
        full_pose(model, left_hand=np.zeros((1, 6)), pose_space="pca")
    assert full_pose(model, left_hand=np.zeros((1, 45))).shape == (1, 52, 3)


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ({"neck": np.zeros((1, 3))}, "no pose block 'neck'"),
        ({"body": np.zeros((1, 69))}, "63 values, 69 were given; SMPL.H and SMPL-X bodies have no hand joints"),
        ({"left_hand": np.zeros((1, 6))}, "45 values"),
        ({"left_hand": np.zeros((1, 46)), "pose_space": "pca"}, "45 PCA components"),
        ({"left_hand": np.zeros((1, 6)), "pose_space": "PCA"}, "pose_space"),
        ({"root": np.zeros((2, 3)), "body": np.zeros((3, 63))}, "rows"),
    ],
)
def test_wrong_blocks_are_refused(smplx, blocks, text):
    with pytest.raises(VitruvianError, match=text):
        full_pose(smplx, **blocks)


def test_move_is_the_rigid_map_of_every_vertex(smplx):
    p = parameters(smplx)
    rotation = rotation_matrices(np.random.default_rng(5).normal(0, 2, (3, 3)))
    translation = np.random.default_rng(6).normal(0, 3, (3, 3))
    moved = vertices(smplx, move(smplx, p, rotation, translation))
    expected = vertices(smplx, p) @ rotation.swapaxes(1, 2) + translation[:, None]
    np.testing.assert_allclose(moved, expected, atol=1e-6)  # weights of float32
    one = move(smplx, p, rotation[0], translation[0])
    np.testing.assert_allclose(vertices(smplx, one)[2], vertices(smplx, p)[2] @ rotation[0].T + translation[0], atol=1e-6)


def test_move_respects_joint_frames(smplx):
    from dataclasses import replace

    framed = replace(smplx, joint_frames=rotation_matrices(np.random.default_rng(8).normal(0, 1, (55, 3))))
    p = parameters(framed)
    rotation = rotation_matrices(np.array([0.3, -1.0, 2.0]))
    np.testing.assert_allclose(vertices(framed, move(framed, p, rotation)), vertices(framed, p) @ rotation.T, atol=1e-6)


def test_root_split_turns_about_the_origin_and_back(smplx):
    rng = np.random.default_rng(7)
    p = parameters(smplx)
    p = BodyParameters(np.concatenate([np.zeros((3, 1, 3)), p.pose[:, 1:]], 1), p.shape, p.expression, np.zeros((3, 3)))
    rotation, translation = rng.normal(0, 1, (3, 3)), rng.normal(0, 1, (3, 3))
    joined = from_root_split(smplx, p, rotation, translation)
    expected = vertices(smplx, p) @ rotation_matrices(rotation).swapaxes(1, 2) + translation[:, None]
    np.testing.assert_allclose(vertices(smplx, joined), expected, atol=1e-6)
    still, back, where = to_root_split(smplx, joined)
    np.testing.assert_allclose(back, rotation, atol=1e-9)
    np.testing.assert_allclose(where, translation, atol=1e-9)
    np.testing.assert_allclose(still.pose, p.pose, atol=1e-9)


def test_pivot_is_the_rest_root_joint_with_expression(smplx):
    p = parameters(smplx)
    expected = smplx.rest(p.shape, p.expression)[1][:, 0]
    np.testing.assert_allclose(root_joint(smplx, p.shape, p.expression, p.pose), expected, atol=1e-12)


def test_tensors_give_tensors_that_are_the_same(smplx):
    torch = pytest.importorskip("torch")
    p = parameters(smplx)
    tensors = BodyParameters(*(torch.tensor(a, requires_grad=True) for a in (p.pose, p.shape, p.expression, p.translation)))
    rotation = rotation_matrices(np.array([0.3, -1.0, 2.0]))
    moved, expected = move(smplx, tensors, rotation), move(smplx, p, rotation)
    np.testing.assert_allclose(moved.pose.detach().numpy(), expected.pose, atol=1e-12)
    np.testing.assert_allclose(moved.translation.detach().numpy(), expected.translation, atol=1e-12)
    (moved.pose.sum() + moved.translation.sum()).backward()
    assert tensors.pose.grad.isfinite().all() and tensors.shape.grad.abs().sum() > 0
    hands = {"left_hand": torch.ones(2, 6, dtype=torch.float64), "pose_space": "pca", "hand_mean": True}
    expected = full_pose(smplx, **(hands | {"left_hand": np.ones((2, 6))}))
    np.testing.assert_allclose(full_pose(smplx, **hands).numpy(), expected, atol=1e-12)


def test_rotation_vectors_invert_rotation_matrices():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 3))
    vectors *= rng.uniform(0, np.pi, (500, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:5] = [[0, 0, 0], [1e-9, 0, 0], [1e-5, -1e-5, 0], [np.pi - 1e-9, 0, 0], [0, 3.14, 0]]
    np.testing.assert_allclose(rotation_vectors(rotation_matrices(vectors)), vectors, atol=1e-7)
    half = rotation_matrices(np.array([[0.0, np.pi, 0.0]]))
    np.testing.assert_allclose(np.abs(rotation_vectors(half)), [[0, np.pi, 0]], atol=1e-9)
    assert rotation_vectors(np.zeros((0, 3, 3))).shape == (0, 3)


@pytest.mark.parametrize("convention", ["columns", "interleaved", "rows", "manopth_robust"])
def test_6d_of_a_rotation_is_that_rotation(convention):
    rotation = rotation_matrices(np.random.default_rng(0).normal(size=(20, 3)))
    columns = np.concatenate([rotation[..., 0], rotation[..., 1]], -1)
    six = {
        "columns": columns,
        "manopth_robust": columns,
        "rows": rotation[:, :2].reshape(20, 6),
        "interleaved": rotation[..., :2].reshape(20, 6),
    }[convention]
    np.testing.assert_allclose(rotations_from_6d(six, convention), rotation, atol=1e-12)
    free = rotations_from_6d(np.random.default_rng(1).normal(size=(20, 6)), convention)
    np.testing.assert_allclose(free @ free.swapaxes(1, 2), np.broadcast_to(np.eye(3), free.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(free), 1, atol=1e-12)


def test_unknown_6d_convention_is_refused():
    with pytest.raises(VitruvianError, match="columns, interleaved"):
        rotations_from_6d(np.zeros((1, 6)), "zhou")


def test_parameters_of_some_bodies(smplx):
    p = parameters(smplx, 4)
    assert len(p) == 4 and len(p[1:3]) == 2 and len(p[np.array([True, False, False, True])]) == 2
    with pytest.raises(VitruvianError, match=r"\[1:2\]"):
        p[1]
    with pytest.raises(VitruvianError, match="one row per body"):
        BodyParameters(p.pose, p.shape[:2], p.expression, p.translation)
    assert len(default_parameters(smplx, 0)) == 0
