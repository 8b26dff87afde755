"""Readers of data sets of meshes: tiny made-up sets in the official layouts, seen again where they must be; and hostile files."""

import json
import pickle

import numpy as np
import pytest

from random_body import random_body
from vitruvian.body.pose import rotation_matrices
from vitruvian.codecs.mesh import pixels
from vitruvian.data.bedlam import bedlam
from vitruvian.data.bodies import in_camera, plain_labels
from vitruvian.data.ehf import SHIFT, TURN, ehf
from vitruvian.data.neural_annot import coco_bodies, human36m_bodies, ubody_bodies
from vitruvian.data.readers import read_bodies
from vitruvian.data.threedpw import threedpw
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.meshes import write_ply

RNG = np.random.default_rng(0)
SMPL, SMPLX = random_body("smpl"), random_body("smplx")
MODELS = {"smpl": {"neutral": SMPL}, "smplx": {"neutral": SMPLX}}


def write_bedlam(
    root, names=("seq_000000/seq_000000_0005.png", "seq_000000/seq_000000_0000.png", "seq_000000/seq_000000_0005.png"), **other
):
    n = len(names)
    extrinsics = np.tile(np.eye(4), (n, 1, 1))
    extrinsics[:, :3, 3] = [0.0, 0.0, 5.0]
    arrays = {
        "imgname": np.array(names), "pose_cam": RNG.normal(0, 0.2, (n, 165)), "shape": RNG.normal(0, 1, (n, 11)),
        "trans_cam": np.tile([0.1, 0.2, 0.3], (n, 1)), "cam_ext": extrinsics, "cam_int": np.tile(np.diag([900.0, 900, 1]), (n, 1, 1)),
        "gender": np.array(["female"] * n), "gtkps": np.ones((n, 7, 2)),
    } | other  # fmt: skip
    place = root / "all_npz_12_validation"
    place.mkdir(parents=True, exist_ok=True)
    np.savez(place / "scene.npz", **arrays)
    return arrays


def test_bedlam_groups_people_by_picture_and_adds_both_translations(tmp_path):
    arrays = write_bedlam(tmp_path)
    first, second = bedlam(tmp_path)
    assert first.file == tmp_path / "validation_images/scene/png/seq_000000/seq_000000_0000.png"
    assert (len(first.people), len(second.people), second.frame, second.people.genders) == (1, 2, 5, ("female",) * 2)
    assert np.allclose(second.people.parameters.translation, [0.1, 0.2, 5.3])
    assert np.allclose(first.people.parameters.pose[0].ravel(), arrays["pose_cam"][1])
    assert first.people.keypoints.shape == (1, 7, 3) and first.camera[0, 0] == 900


@pytest.mark.parametrize(
    "broken",
    [
        {"imgname": np.array(["../../x.png", "b.png", "c.png"])},
        {"pose_cam": np.full((3, 165), np.nan)},
        {"shape": np.zeros((2, 10))},
        {"imgname": np.arange(3)},
    ],
)
def test_hostile_labels_of_bedlam_are_refused(tmp_path, broken):
    write_bedlam(tmp_path, **broken)
    with pytest.raises(FormatError):
        list(bedlam(tmp_path))


def test_ehf_meshes_are_seen_by_its_camera(tmp_path):
    vertices = RNG.normal(0, 0.3, (20, 3)).astype(np.float32)
    write_ply(vertices, np.array([[0, 1, 2]]), tmp_path / "01_align.ply")
    (tmp_path / "01_img.png").touch()
    (picture,) = ehf(tmp_path)
    assert picture.file.name == "01_img.png" and picture.size == (1600, 1200)
    seen, joints = in_camera(picture.people, MODELS["smplx"])
    assert np.allclose(seen[0], vertices @ rotation_matrices(TURN[None])[0].T + SHIFT, atol=1e-5) and joints.shape == (1, 0, 3)
    middle = pixels(seen.mean(1), picture.camera)[0]
    assert (middle > 0).all() and (middle < picture.size).all()  # a man at the origin of the scans stands in the picture


def write_3dpw(root, **other):
    frames = 4
    cameras = np.tile(np.eye(4), (frames, 1, 1))
    cameras[:, :3, :3] = rotation_matrices(np.array([[0, 0.5, 0]]))
    cameras[:, :3, 3] = [0.0, 0.0, 4.0]
    film = {
        "poses": [RNG.normal(0, 0.2, (frames, 72)) for _ in range(2)], "trans": [RNG.normal(0, 0.2, (frames, 3)) for _ in range(2)],
        "betas": [np.zeros(10), np.zeros(300)], "genders": ["m", "f"], "cam_poses": cameras, "img_frame_ids": np.arange(10, 14),
        "campose_valid": [np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1])], "cam_intrinsics": np.diag([1000.0, 1000, 1]),
        "poses2d": [np.zeros((frames, 3, 18)) for _ in range(2)], "sequence": "film",
    } | other  # fmt: skip
    place = root / "sequenceFiles" / "test"
    place.mkdir(parents=True, exist_ok=True)
    (place / "film.pkl").write_bytes(pickle.dumps(film, protocol=2))
    return film


def test_3dpw_people_are_brought_into_the_camera_and_left_out_where_it_is_not_valid(tmp_path):
    film = write_3dpw(tmp_path)
    pictures = list(threedpw(tmp_path))
    assert [len(p.people) for p in pictures] == [2, 1, 0, 2] and pictures[0].people.genders == ("male", "female")
    assert pictures[1].file == tmp_path / "imageFiles/film/image_00011.jpg" and pictures[1].frame == 11
    _, joints = in_camera(pictures[1].people, MODELS["smpl"])
    world = SMPL.forward(film["poses"][0][1].reshape(1, 24, 3), np.zeros((1, 10)), None, film["trans"][0][1][None]).joints
    camera = film["cam_poses"][1]
    assert np.allclose(joints, world @ camera[:3, :3].T + camera[:3, 3], atol=1e-5)
    assert in_camera(pictures[2].people, MODELS["smpl"])[1].shape == (0, 24, 3)


class _Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize("broken", [{"poses": [np.zeros((4, 72))]}, {"cam_intrinsics": _Evil()}, {"betas": ["x", "y"]}, {"poses": 3}])
def test_hostile_films_of_3dpw_are_refused_and_nothing_runs(tmp_path, broken, capsys):
    write_3dpw(tmp_path, **broken)
    with pytest.raises(FormatError):
        list(threedpw(tmp_path))
    assert "ran" not in capsys.readouterr().out


def smplx_param(**other):
    sizes = {"root_pose": 3, "body_pose": 63, "jaw_pose": 3, "lhand_pose": 45, "rhand_pose": 45, "shape": 10, "expr": 10}
    said = {name: [0.01 * i] * size for i, (name, size) in enumerate(sizes.items(), 1)} | {"trans": [0.0, 0.0, 9.0]} | other
    return {"7": {"smplx_param": said, "cam_param": {"focal": [5000.0, 5000.0], "princpt": [100.0, 120.0]}}}


def write_ubody(root, bodies):
    place = root / "annotations" / "Speech"
    place.mkdir(parents=True)
    document = {
        "images": [{"id": 3, "file_name": "film/a.png", "width": 200, "height": 240}],
        "annotations": [{"id": 7, "image_id": 3}, {"id": 8, "image_id": 3}],
    }
    (place / "keypoint_annotation.json").write_text(json.dumps(document))
    (place / "smplx_annotation.json").write_text(json.dumps(bodies))


def test_ubody_blocks_become_a_pose_in_smplx_order(tmp_path):
    write_ubody(tmp_path, smplx_param())
    (picture,) = ubody_bodies(tmp_path)
    pose = picture.people.parameters.pose[0]
    assert pose.shape == (55, 3) and pose[[0, 1, 22, 23, 25, 40], 0].round(3).tolist() == [0.01, 0.02, 0.03, 0, 0.04, 0.05]
    assert picture.file == tmp_path / "images/Speech/film/a.png" and picture.camera[0, 0] == 5000 and picture.people.hand_mean
    vertices, _ = in_camera(picture.people, MODELS["smplx"])
    flat = plain_labels(
        "smplx", pose[None], *(getattr(picture.people.parameters, n) for n in ("shape", "expression", "translation")), "neutral"
    )
    assert not np.allclose(vertices, in_camera(flat, MODELS["smplx"])[0]) or not SMPLX.hands


def test_cocos_fits_are_ubodys_with_cocos_pictures(tmp_path):
    place = tmp_path / "annotations"
    place.mkdir()
    document = {"images": [{"id": 3, "file_name": "000000000003.jpg"}], "annotations": [{"id": 7, "image_id": 3}, {"id": 8, "image_id": 3}]}
    (place / "coco_wholebody_train_v1.0.json").write_text(json.dumps(document))
    (place / "MSCOCO_train_SMPLX.json").write_text(json.dumps(smplx_param()))
    (picture,) = read_bodies("coco", tmp_path, "train")
    assert picture.file == tmp_path / "train2017/000000000003.jpg" and picture.id == 7
    assert picture.people.parameters.pose[0, 40, 0].round(3) == 0.05


@pytest.mark.parametrize("broken", [{"body_pose": [0.0] * 5}, {"trans": None}, {"shape": [[["x"]]]}])
def test_hostile_bodies_of_ubody_are_refused(tmp_path, broken):
    write_ubody(tmp_path, smplx_param(**broken))
    with pytest.raises(FormatError):
        list(ubody_bodies(tmp_path))


def test_human36m_comes_from_its_world_in_metres_and_its_cameras_in_millimetres(tmp_path):
    place = tmp_path / "annotations"
    place.mkdir()
    picture = {
        "id": 1,
        "file_name": "a/b.jpg",
        "width": 1000,
        "height": 1002,
        "subject": 9,
        "action_idx": 2,
        "subaction_idx": 1,
        "frame_idx": 4,
        "cam_idx": 3,
    }
    fit = {"pose": [0.0] * 72, "shape": [0.0] * 10, "trans": [0.5, 0.0, 0.0]}
    camera = {"R": np.eye(3).tolist(), "t": [0.0, 0.0, 4000.0], "f": [1100.0, 1100.0], "c": [500.0, 500.0]}
    other = dict(picture, id=2, frame_idx=9)  # nobody fitted a body to it
    for part, value in (
        ("data", {"images": [picture, other], "annotations": []}),
        ("camera", {"3": camera}),
        ("SMPL_NeuralAnnot", {"2": {"1": {"4": fit}}}),
    ):
        (place / f"Human36M_subject9_{part}.json").write_text(json.dumps(value))
    (found,) = human36m_bodies(tmp_path)
    _, joints = in_camera(found.people, MODELS["smpl"])
    rest = SMPL.forward(np.zeros((1, 24, 3))).joints
    assert np.allclose(joints, rest + [0.5, 0, 4], atol=1e-5) and found.camera[1, 1] == 1100 and found.video == "s9/2/1/3"


@pytest.mark.parametrize("read", [bedlam, ehf, threedpw, ubody_bodies, coco_bodies, human36m_bodies])
def test_a_folder_without_the_set_says_what_is_expected(tmp_path, read):
    with pytest.raises(FormatError, match="expected"):
        read(tmp_path)


def test_labels_need_a_row_per_person_and_a_model_that_fits():
    labels = plain_labels("smpl", np.zeros((1, 24, 3)), np.zeros((1, 10)), np.zeros((1, 0)), np.zeros((1, 3)), "male")
    with pytest.raises(VitruvianError, match="gender"):
        in_camera(labels, {"female": SMPL})
    with pytest.raises(VitruvianError, match="row"):
        plain_labels(
            "smpl", np.zeros((1, 24, 3)), np.zeros((1, 10)), np.zeros((1, 0)), np.zeros((1, 3)), "male", keypoints=np.zeros((2, 4, 3))
        )
