"""The compact body: its asset, its skeleton, its shapes, and that it is posed as said."""

import numpy as np
import pytest

from vitruvian.body import compact
from vitruvian.body.compact import (
    ASSET,
    JOINT_BONES,
    MATERIALS,
    compact_arrays,
    face_materials,
    load_compact,
    pose_from_anny,
    shape_from_phenotype,
)
from vitruvian.body.merge import as_hand, as_smplh, merge_joints, pose_by_smpl, smpl_pose
from vitruvian.body.names import JOINT_NAMES, PART_NAMES
from vitruvian.body.pose import rotation_matrices
from vitruvian.errors import VitruvianError, WeightsError


@pytest.fixture(scope="module")
def body():
    return load_compact()


def turned(body, joint, vector):
    pose = np.zeros((1, body.num_joints, 3), np.float32)
    pose[0, body.joint_names.index(joint)] = vector
    return body.forward(pose).vertices[0]


def height(body, **phenotype):
    return np.ptp(body.rest(shape_from_phenotype(**phenotype)[None])[0][0, :, 1])


def test_asset_is_small_enough_to_ship():
    assert ASSET.stat().st_size < 8e6


def test_sizes_are_those_documented(body):
    assert (body.num_vertices, body.num_joints, body.num_shape, body.num_expression, len(body.faces)) == (13718, 69, 64, 52, 27420)


def test_template_is_an_adult_of_1_70_facing_forwards_with_its_left_at_plus_x(body):
    assert np.ptp(body.template[:, 1]) == pytest.approx(1.66, abs=0.06)
    assert body.joints[body.joint_names.index("left_wrist"), 0] > 0.3
    toes, ankle = (body.joints[body.joint_names.index(f"left_{n}")] for n in ("toes", "ankle"))
    assert toes[2] > ankle[2] + 0.05


def test_template_and_shapes_are_mirror_symmetric(body):
    mirror = compact_arrays()["mirror"]
    flip = np.array([-1, 1, 1], np.float32)
    assert np.array_equal(body.template[mirror] * flip, body.template)
    assert np.array_equal(body.shape_directions[:, mirror] * flip, body.shape_directions)


def test_skin_weights_sum_to_one_and_are_few(body):
    assert np.allclose(body.weights.sum(1), 1, atol=1e-5)
    assert (body.weights > 0).sum(1).max() <= compact.WEIGHTS_PER_VERTEX


def test_every_joint_moves_some_vertex(body):
    assert (body.weights.sum(0) > 0).all()


def test_pelvis_is_the_origin_for_every_shape(body):
    shape = np.random.default_rng(0).normal(size=(5, 64))
    assert np.abs(body.rest(shape)[1][:, 0]).max() < 1e-5


def test_no_pose_is_the_template(body):
    assert np.abs(body.forward().vertices[0] - body.template).max() < 1e-5


def test_jaw_opens_downwards(body):
    moved = turned(body, "jaw", [0.3, 0, 0]) - body.template
    far = np.linalg.norm(moved, axis=1) > 1e-4
    assert set(np.unique(body.vertex_parts[far])) <= {PART_NAMES.index("head"), PART_NAMES.index("body")}  # and the throat
    assert moved[far, 1].mean() < -0.003


def test_an_eye_turns_alone(body):
    moved = np.linalg.norm(turned(body, "left_eye", [0, 0.4, 0]) - body.template, axis=1) > 1e-4
    assert 50 < moved.sum() < 200
    assert (body.template[moved, 0] > 0).all()


def test_a_finger_moves_its_own_hand_only(body):
    moved = np.linalg.norm(turned(body, "right_index2", [0.5, 0, 0]) - body.template, axis=1) > 1e-4
    assert set(np.unique(body.vertex_parts[moved])) == {PART_NAMES.index("right_hand")}


def test_expressions_move_the_head_only(body):
    moved = np.abs(body.expression_directions).max((0, 2)) > 1e-4
    assert set(np.unique(body.vertex_parts[moved])) == {PART_NAMES.index("head")}


def test_mirrored_expressions_are_mirror_images(body):
    mirror, names = compact_arrays()["mirror"], list(body.expression_names)
    left, right = (body.expression_directions[names.index(f"browDown{side}")] for side in ("Left", "Right"))
    assert np.abs(left[mirror] * [-1, 1, 1] - right).max() < 2e-5


def test_materials_cover_every_face_and_eyes_are_two():
    kinds = face_materials()
    assert len(kinds) == 27420
    assert set(np.unique(kinds)) == set(range(len(MATERIALS)))


def test_phenotypes_order_heights(body):
    assert height(body, age=0.0) < height(body, age=0.33) < height(body, gender=1, age=0.7) < height(body, gender=0, age=0.7)
    assert height(body, age=0.7, height=0.8) > height(body, age=0.7, height=0.3) + 0.1


def test_phenotypes_are_clamped():
    assert np.array_equal(shape_from_phenotype(weight=7.0), shape_from_phenotype(weight=1.0))


def test_races_count_by_share():
    assert np.allclose(shape_from_phenotype(african=1, asian=1, caucasian=1), shape_from_phenotype(), atol=1e-5)


def test_unknown_phenotype_is_named():
    with pytest.raises(VitruvianError, match="tallness"):
        shape_from_phenotype(tallness=1)


def test_missing_asset_says_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(compact, "ASSET", tmp_path / "none.npz")
    compact_arrays.cache_clear()
    with pytest.raises(WeightsError, match="reinstall"):
        compact_arrays()
    compact_arrays.cache_clear()


def test_damaged_asset_says_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not a zip")
    monkeypatch.setattr(compact, "ASSET", tmp_path / "bad.npz")
    compact_arrays.cache_clear()
    with pytest.raises(WeightsError):
        compact_arrays()
    compact_arrays.cache_clear()


def test_anny_bones_at_rest_are_no_pose():
    labels = [bone for _, bone in JOINT_BONES.values() if bone != "jaw"]
    rest = np.tile(np.eye(4), (1, len(labels), 1, 1))
    rest[0, :, :3, 3] = np.random.default_rng(0).normal(size=(len(labels), 3))
    pose, translation = pose_from_anny(labels, rest, rest)
    assert np.abs(pose).max() < 1e-6
    x, y, z = rest[0, 0, :3, 3]
    assert np.allclose(translation[0], [x, z, -y], atol=1e-6)


def test_anny_rotation_is_turned_to_y_up():
    labels = [bone for _, bone in JOINT_BONES.values() if bone != "jaw"]
    rest = np.tile(np.eye(4), (1, len(labels), 1, 1))
    posed = rest.copy()
    c, s = np.cos(0.3), np.sin(0.3)
    posed[:, :, :3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]  # the whole body about Anny's z, which is y here
    pose, _ = pose_from_anny(labels, rest, posed)
    assert np.allclose(pose[0, 0], [0, 0.3, 0], atol=1e-6)
    assert np.abs(pose[0, 1:-1]).max() < 1e-6


def test_missing_anny_bone_is_named():
    with pytest.raises(VitruvianError, match="root"):
        pose_from_anny(["head"], np.eye(4)[None, None], np.eye(4)[None, None])


def test_smplh_skeleton_has_the_published_names_and_keeps_the_skin(body):
    merged = as_smplh(body)
    assert merged.joint_names == JOINT_NAMES["smplh"]
    assert np.allclose(merged.weights.sum(1), 1, atol=1e-5)


def test_smpls_rotations_pose_the_compact_body(body):
    names = JOINT_NAMES["smplx"]
    rotations = rotation_matrices(np.random.default_rng(0).normal(0, 0.5, (3, 55, 3)))
    assert np.allclose(smpl_pose(body, pose_by_smpl(body, rotations, names), names), rotations)
    bent = np.tile(np.eye(3), (1, 55, 1, 1))
    bent[0, names.index("left_knee")] = rotation_matrices(np.array([0.7, 0, 0]))
    found = body.forward(pose_by_smpl(body, bent, names)).vertices[0]
    assert np.abs(found - turned(body, "left_knee", [0.7, 0, 0])).max() < 1e-5


def test_a_whole_pose_keeps_where_its_bones_point_on_smpls_joints(body):
    """The compact body turns a thigh in two joints, and a spine in five."""
    names, pose = JOINT_NAMES["smplx"], np.zeros((1, 69, 3))
    for name, turn in (("left_hip", [0.3, 0, 0.1]), ("left_thigh", [0, 0.4, 0]), ("spine3", [0.2, 0, 0]), ("spine4", [0.1, 0.2, 0])):
        pose[0, body.joint_names.index(name)] = turn
    near = pose_by_smpl(body, smpl_pose(body, rotation_matrices(pose), names), names)
    there, here = (body.forward(p) for p in (rotation_matrices(pose), near))
    gap = np.linalg.norm(there.vertices - here.vertices, axis=-1)
    assert gap.mean() < 0.015 < np.linalg.norm(there.vertices - body.forward(0 * pose).vertices, axis=-1).mean()


def test_hand_skeleton_poses_fingers_as_the_body_does(body):
    hand = as_hand(body, "left")
    pose = np.zeros((1, 16, 3), np.float32)
    pose[0, hand.joint_names.index("index1")] = [0.4, 0, 0]
    assert np.abs(hand.forward(pose).vertices[0] - turned(body, "left_index1", [0.4, 0, 0])).max() < 1e-5


def test_merging_refuses_a_joint_left_over(body):
    with pytest.raises(VitruvianError, match="left over"):
        merge_joints(body, {"all": ("", list(body.joint_names)[:-1])})


def test_torch_poses_it_alike(body):
    torch = pytest.importorskip("torch")
    from vitruvian.body.torch import TorchBody

    rng = np.random.default_rng(1)
    values = [rng.normal(0, 0.4, size).astype(np.float32) for size in ((2, 69, 3), (2, 64), (2, 52), (2, 3))]
    with torch.no_grad():
        there = TorchBody(body)(*(torch.from_numpy(v) for v in values)).vertices.numpy()
    assert np.abs(body.forward(*values).vertices - there).max() < 1e-5


@pytest.mark.slow
def test_anny_itself_is_met_within_two_millimetres(body):
    anny, torch = pytest.importorskip("anny"), pytest.importorskip("torch")
    model = anny.Anny(rig="anny", topology="anny").float()
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (4, 6))
    with torch.no_grad():
        turns = torch.eye(4).repeat(4, model.bone_count, 1, 1)
        out = model(pose_parameters=turns, phenotype_kwargs=torch.from_numpy(values).float())
    pose, translation = pose_from_anny(model.bone_labels, out["rest_bone_poses"].numpy(), out["bone_poses"].numpy())
    shape = np.stack([shape_from_phenotype(**dict(zip(model.phenotype_labels, row, strict=True))) for row in values])
    x, y, z = np.moveaxis(out["vertices"].numpy(), -1, 0)
    error = np.linalg.norm(body.forward(pose, shape, None, translation).vertices - np.stack([x, z, -y], -1), axis=2)
    assert error.mean() < 0.003
