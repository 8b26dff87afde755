"""Networks for meshes on made-up sets in their official layouts: who knows the truth gets full marks, errors come out as made."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from mesh_network import people, write_network
from published_bodies import PARENTS
from random_body import random_body
from vitruvian.body.bodyfile import save_body
from vitruvian.body.model import BodyParameters
from vitruvian.body.pose import rotation_matrices
from vitruvian.body.regressors import point_regressor
from vitruvian.codecs.mesh import seen_bodies
from vitruvian.data.bodies import BodyDataset, BodyLabels, BodyPicture, in_camera
from vitruvian.data.ehf import SHIFT, TURN
from vitruvian.data.judge_meshes import (
    body_models,
    finger_table,
    joints_of_vertices,
    judge_meshes,
    parts_of,
    people_table,
    read_parts,
    shared_points,
    subject_models,
    vertex_table,
)
from vitruvian.data.readers import read_bodies
from vitruvian.data.smplx_fits import LensPicture
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.meshes import write_ply
from vitruvian.geometry.camera import pinhole
from vitruvian.media.pictures import write_image
from vitruvian.skeletons import COCO_WHOLEBODY_133

SMPL, SMPLX = random_body("smpl"), random_body("smplx")
SIZE = (64, 48)
CAMERA = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
RNG = np.random.default_rng(5)


def bodies(count, depth=3.0, kind="smplx"):
    """Upright people beside each other in camera axes, as parameters."""
    joints = {"smpl": 24, "smplx": 55}[kind]
    pose = RNG.normal(0, 0.1, (count, joints, 3))
    pose[:, 0] = [np.pi, 0, 0]
    place = np.stack([np.arange(count) - (count - 1) / 2, np.zeros(count), depth + np.arange(count)], 1)
    return BodyParameters(pose, RNG.normal(0, 0.5, (count, 10)), np.zeros((count, 10)), place)


class Knows:
    """An estimator that says for each picture, by its grey level, what it was told."""

    def __init__(self, said, body=SMPLX):
        self.said, self.body, self.points, self.cameras = said, body, point_regressor(body, COCO_WHOLEBODY_133), []

    def __call__(self, images, cameras):
        self.cameras += cameras
        out = []
        for image, camera in zip(images, cameras, strict=True):
            size = (image.shape[1], image.shape[0])
            told = self.said[int(image[0, 0, 0])]
            matrix = pinhole(size, 60.0) if camera is None else camera
            out.append(seen_bodies(np.ones(len(told)), told, self.body, self.points, matrix, size))
        return out


def write_bedlam(root, groups):
    """A scene with a picture per group of bodies."""
    names, columns = [], []
    for number, group in enumerate(groups):
        names += [f"seq/seq_{number:04d}.png"] * len(group)
        columns.append(group)
        picture = root / "validation_images/scene/png/seq" / f"seq_{number:04d}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_image(picture, np.full((SIZE[1], SIZE[0], 3), number, np.uint8))
    n = len(names)
    arrays = {
        "imgname": np.array(names), "pose_cam": np.concatenate([g.pose.reshape(len(g), 165) for g in columns]),
        "shape": np.concatenate([g.shape for g in columns]), "trans_cam": np.concatenate([g.translation for g in columns]),
        "cam_ext": np.tile(np.eye(4), (n, 1, 1)), "cam_int": np.tile(CAMERA, (n, 1, 1)), "gender": np.array(["neutral"] * n),
    }  # fmt: skip
    (root / "all_npz_12_validation").mkdir(exist_ok=True)
    np.savez(root / "all_npz_12_validation/scene.npz", **arrays)


def moved(group, by):
    return BodyParameters(group.pose, group.shape, group.expression, group.translation + np.asarray(by))


def test_the_truth_gets_full_marks_on_bedlam(tmp_path):
    groups = [bodies(2), bodies(1), bodies(3)]
    write_bedlam(tmp_path, groups)
    dataset, done = read_bodies("bedlam", tmp_path), []
    # Moved a little as a whole: errors are about the pelvis.
    judged = judge_meshes(dataset, Knows([moved(g, [0, 0, 0.05]) for g in groups]), {"neutral": SMPLX}, on_picture=done.append)
    vertices, found = vertex_table(judged), people_table(judged, dataset)
    assert done == [1, 2, 3] and list(vertices) == ["all", "body", "hands", "left_hand", "right_hand", "face"]
    assert all(value < 0.01 or np.isnan(value) for row in vertices.values() for value in row.values())
    assert found["MPJPE mm"] < 0.01 and found["NMVE mm"] < 0.01 and found["false positives"] == found["missed"] == 0
    assert [found[name] for name in ("F1 %", "precision %", "recall %", "depth order %")] == [100] * 4


def test_somebody_missed_and_nobody_found_cost_what_agora_says(tmp_path):
    groups = [bodies(2), bodies(2)]
    write_bedlam(tmp_path, groups)
    extra = BodyParameters(*(np.concatenate([getattr(groups[0], n)] * 2) for n in ("pose", "shape", "expression", "translation")))
    told = [extra, groups[1][:1]]  # two too many in the first picture, one missed in the second
    dataset = read_bodies("bedlam", tmp_path)
    found = people_table(judge_meshes(dataset, Knows(told), {"neutral": SMPLX}), dataset)
    assert (found["false positives"], found["missed"]) == (2, 1)
    assert found["precision %"] == pytest.approx(60) and found["recall %"] == pytest.approx(75)
    assert found["F1 %"] == pytest.approx(200 * 3 / (2 * 3 + 2 + 1))


def test_an_error_of_pose_and_wrong_depths_are_measured(tmp_path):
    groups = [bodies(2)]
    write_bedlam(tmp_path, groups)
    wrong = BodyParameters(groups[0].pose.copy(), groups[0].shape, groups[0].expression, groups[0].translation[:, [0, 1, 2]].copy())
    wrong.pose[:, 25:40] += 0.4  # the left hand
    wrong.translation[:, 2] = wrong.translation[::-1, 2]
    dataset = read_bodies("bedlam", tmp_path)
    judged = judge_meshes(dataset, Knows([wrong]), {"neutral": SMPLX})
    rows = vertex_table(judged)
    assert rows["left_hand"]["PVE mm"] > 1 > 0.01 > people_table(judged, dataset)["MPJPE mm"]
    assert rows["hands"]["PVE mm"] == pytest.approx((rows["left_hand"]["PVE mm"] + rows["right_hand"]["PVE mm"]) / 2)
    assert people_table(judged, dataset)["depth order %"] == 0


CHAINED = replace(SMPLX, parents=PARENTS["smplx"])


def fingers_of(tmp_path, joint, axis, by):
    """Two people in one picture, of whom one joint is said wrongly: their true parameters, and the finger table."""
    truth = bodies(2)
    said = replace(truth, pose=truth.pose.copy())
    said.pose[:, SMPLX.joint_names.index(joint), axis] += by
    judged = judge_meshes(one_picture(tmp_path, truth), Knows([said], CHAINED), {"neutral": CHAINED})
    return truth, said, finger_table(judged)


def test_a_bent_finger_costs_itself_only(tmp_path):
    truth, said, rows = fingers_of(tmp_path, "left_index2", 0, 0.5)
    assert len(rows) == 10 and {name for name, row in rows.items() if row["about the wrist mm"] > 0.01} == {"left_index"}
    joints = [CHAINED.forward(one.pose, one.shape, one.expression).joints for one in (truth, said)]
    last = np.linalg.norm(joints[1] - joints[0], axis=-1)[:, SMPLX.joint_names.index("left_index3")]
    assert rows["left_index"]["about the wrist mm"] == pytest.approx(1000 * last.mean() / 3, rel=1e-4)  # of its three joints one moves
    assert rows["left_index"]["turned mm"] > 0 and rows["right_index"]["turned mm"] < 0.01


def test_a_turned_wrist_costs_no_finger_once_the_hand_is_turned_back(tmp_path):
    _, _, rows = fingers_of(tmp_path, "right_wrist", 1, 0.7)
    for name, row in rows.items():
        assert (row["about the wrist mm"] > 1) == name.startswith("right_") and row["turned mm"] < 0.01


def test_bodies_without_fingers_have_no_table(tmp_path):
    group = bodies(1, kind="smpl")
    labels = BodyLabels("smpl", group, ("neutral",), np.eye(3)[None], np.zeros((1, 3)))
    write_image(tmp_path / "a.png", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    picture = BodyPicture(tmp_path / "a.png", 0, SIZE, CAMERA, labels)
    judged = judge_meshes(BodyDataset("3dpw", "", lambda: iter([picture])), Knows([group], SMPL), {"neutral": SMPL})
    assert finger_table(judged) == {} == finger_table([])


def test_ehf_has_meshes_and_no_joints(tmp_path):
    truth = bodies(1)
    vertices = SMPLX.forward(truth.pose, truth.shape, truth.expression, truth.translation).vertices[0]
    scans = (vertices - SHIFT) @ rotation_matrices(TURN[None])[0]  # where the set's camera sees them so
    write_ply(scans.astype(np.float32), np.array([[0, 1, 2]]), tmp_path / "01_align.ply")
    write_image(tmp_path / "01_img.png", np.zeros((1200, 1600, 3), np.uint8))
    dataset = read_bodies("ehf", tmp_path)
    judged = judge_meshes(dataset, Knows([truth]), {"neutral": SMPLX})
    rows = vertex_table(judged)
    # Vertices are exact, joints of the true mesh are found to within what its skin bends.
    assert rows["all"]["PA-PVE mm"] < 0.01 and np.isfinite(rows["all"]["PVE mm"]) and people_table(judged, dataset)["F1 %"] == 100


def test_joints_follow_meshes_that_move_and_grow_as_a_whole():
    turn = rotation_matrices(np.array([[0.3, -1.0, 0.2]]))[0]
    joints = joints_of_vertices(SMPLX, (1.1 * SMPLX.template @ turn.T + [0.1, 2.0, 3.0])[None])[0]
    there = np.isfinite(joints).all(1)
    assert there[SMPLX.joint_names.index("pelvis")]
    np.testing.assert_allclose(joints[there], (1.1 * SMPLX.joints @ turn.T + [0.1, 2.0, 3.0])[there], atol=1e-6)


def write_3dpw(root, group, frames=2):
    film = {
        "poses": [np.tile(p.ravel(), (frames, 1)) for p in group.pose], "trans": [np.tile(t, (frames, 1)) for t in group.translation],
        "betas": list(group.shape), "genders": ["m"] * len(group), "cam_poses": np.tile(np.eye(4), (frames, 1, 1)),
        "img_frame_ids": np.arange(frames), "campose_valid": [np.ones(frames, int)] * len(group), "cam_intrinsics": CAMERA,
        "poses2d": [np.zeros((frames, 3, 18))] * len(group), "sequence": "film",
    }  # fmt: skip
    (root / "sequenceFiles/test").mkdir(parents=True)
    (root / "sequenceFiles/test/film.pkl").write_bytes(pickle.dumps(film, protocol=2))
    (root / "imageFiles/film").mkdir(parents=True)
    for n in range(frames):
        write_image(root / f"imageFiles/film/image_{n:05d}.jpg", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))


def test_a_body_of_another_topology_is_compared_by_joints(tmp_path):
    truth = bodies(2, kind="smpl")
    write_3dpw(tmp_path, truth)
    dataset = read_bodies("3dpw", tmp_path)
    judged = judge_meshes(dataset, Knows([truth], SMPL), {"male": SMPL}, limit=1)
    assert list(vertex_table(judged)) == ["all"] and people_table(judged, dataset)["MPJPE mm"] < 0.01
    found = people_table(judge_meshes(dataset, Knows([bodies(2)]), {"male": SMPL}), dataset)
    assert np.isfinite(found["MPJPE mm"]) and np.isnan(found["NMVE mm"])
    # Bystanders have no labels there.
    assert all(np.isnan(found[name]) for name in ("F1 %", "precision %", "false positives")) and found["recall %"] >= 0
    names = shared_points(SMPLX, SMPL)[0][0].names
    assert "left_wrist" in names and "left_hand" not in names


def labels_of(group):
    n = len(group)
    return BodyLabels("smplx", group, ("neutral",) * n, np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)))


def one_picture(tmp_path, group, name="arctic", make=BodyPicture, **other):
    write_image(tmp_path / "a.png", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    picture = make(tmp_path / "a.png", 4, (0, 0), CAMERA, labels_of(group), "s01/box/1", **other)
    return BodyDataset(name, "", lambda: iter([picture]))


def test_models_may_be_those_of_a_picture(tmp_path):
    group, asked = bodies(1), []
    dataset = one_picture(tmp_path, group)

    def models(picture):
        asked.append(picture.video)
        return {"neutral": SMPLX}

    assert people_table(judge_meshes(dataset, Knows([group]), models), dataset)["MPJPE mm"] < 0.01 and asked == ["s01/box/1"]


def test_people_outside_the_picture_and_pictures_without_people(tmp_path):
    group = bodies(2)
    far = BodyParameters(group.pose, group.shape, group.expression, group.translation * [1, 1, 1] + [[0, 0, 0], [40, 0, 0]])
    dataset = one_picture(tmp_path, far)
    found = people_table(judge_meshes(dataset, Knows([group[:1]]), {"neutral": SMPLX}), dataset)
    assert found["missed"] == 0 and found["F1 %"] == 100
    dataset = one_picture(tmp_path, group[:0])
    found = people_table(judge_meshes(dataset, Knows([group[:0]]), {"neutral": SMPLX}), dataset)
    assert all(np.isnan(found[name]) for name in ("MPJPE mm", "F1 %", "recall %", "depth order %"))
    nothing = people_table([], dataset)
    assert np.isnan(nothing["MPJPE mm"]) and nothing["missed"] == 0 and vertex_table([]) == {}


def test_lenses_that_bend_lines_and_cameras_of_single_people(tmp_path):
    group = bodies(1)
    dataset = one_picture(tmp_path, group, "egobody", LensPicture, distortion=np.array([-0.2, 0.0, 0, 0]))
    estimator = Knows([group])
    assert people_table(judge_meshes(dataset, estimator, {"neutral": SMPLX}), dataset)["recall %"] == 100
    assert estimator.cameras[0][0, 0] == 60
    dataset = one_picture(tmp_path, group, "ubody-smplx")
    judge_meshes(dataset, estimator, {"neutral": SMPLX})
    assert estimator.cameras[1] is None


def test_no_body_model_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path))
    with pytest.raises(FormatError, match="body import"):
        body_models("smplx")
    dataset = one_picture(tmp_path, bodies(1))
    with pytest.raises(VitruvianError, match="body import"):
        judge_meshes(dataset, Knows([bodies(1)]), {})
    (tmp_path / "bodies").mkdir()
    save_body(SMPLX, tmp_path / "bodies/smplx-neutral.npz")
    assert list(body_models("smplx")) == ["neutral"]
    save_body(SMPLX, tmp_path / "mine.npz")
    assert list(body_models("smplx", [tmp_path / "mine.npz"])) == ["neutral"]


def test_published_lists_of_vertices(tmp_path):
    hands = {"left_hand": np.arange(5), "right_hand": np.arange(5, 10)}
    (tmp_path / "MANO_SMPLX_vertex_ids.pkl").write_bytes(pickle.dumps(hands, protocol=2))
    np.save(tmp_path / "SMPL-X__FLAME_vertex_ids.npy", np.arange(20, 30))
    parts = read_parts(tmp_path, SMPLX)
    assert parts["right_hand"].vertices.tolist() == [5, 6, 7, 8, 9] and len(parts["body"].vertices) == 40
    assert parts_of(SMPL).keys() == {"all"} and "face" in parts_of(SMPLX)
    (tmp_path / "MANO_SMPLX_vertex_ids.pkl").write_bytes(pickle.dumps({"left_hand": "x"}, protocol=2))
    with pytest.raises(FormatError, match="vertices"):
        read_parts(tmp_path, SMPLX)


def test_a_network_on_the_ground_floor(tmp_path):
    """The whole way: an ONNX file that says where two people are, with the body that it poses."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from vitruvian.runtime.mesh import MeshEstimator

    estimator = MeshEstimator(write_network(tmp_path / "two.onnx", people(2)), device="cpu")
    one_picture(tmp_path, bodies(1))
    (seen,) = estimator([np.zeros((SIZE[1], SIZE[0], 3), np.uint8)], [CAMERA])
    truth = seen.parameters
    names = {"neutral": estimator.body}
    labels = BodyLabels("compact", truth, ("neutral",) * 2, np.tile(np.eye(3), (2, 1, 1)), np.zeros((2, 3)))
    picture = BodyPicture(tmp_path / "a.png", 0, SIZE, CAMERA, labels)
    dataset = BodyDataset("bedlam", "", lambda: iter([picture]))
    judged = judge_meshes(dataset, estimator, names)
    assert in_camera(labels, names)[0].shape[0] == 2
    found = people_table(judged, dataset)
    assert found["F1 %"] == 100 and found["MPJPE mm"] < 0.01 and vertex_table(judged)["all"]["PVE mm"] < 0.01


def test_arctics_subjects_are_of_the_file_of_their_gender(tmp_path, monkeypatch):
    asked = []

    def subject_model(folder, subject, file):
        asked.append((subject, file.name))
        return SMPLX

    monkeypatch.setattr("vitruvian.data.judge_meshes.subject_model", subject_model)
    models = subject_models(tmp_path, ["SMPLX_NEUTRAL.npz", "SMPLX_FEMALE.npz"])
    (picture,) = one_picture(tmp_path, bodies(1))
    assert models(picture)["neutral"] is SMPLX and models(picture) and asked == [("s01", "SMPLX_NEUTRAL.npz")]
    with pytest.raises(FormatError, match="SMPLX_NEUTRAL.npz"):
        subject_models(tmp_path, ["SMPLX_FEMALE.npz"])(picture)
