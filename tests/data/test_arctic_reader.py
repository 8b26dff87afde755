"""ARCTIC's reader: a made-up recording in the official layout, seen by standing cameras and by one on the head; and damaged files."""

import json

import numpy as np
import pytest

from random_body import random_body
from vitruvian.data import arctic as module
from vitruvian.data.arctic import arctic, subject_model
from vitruvian.data.bodies import in_camera
from vitruvian.data.readers import read_bodies
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.meshes import write_obj
from vitruvian.geometry.camera import Camera, project

RNG = np.random.default_rng(3)
MODEL = random_body("smplx")
FRAMES, OFFSET = 3, 12
SIZES = {"global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "left_hand_pose": 45, "right_hand_pose": 45}
LENS = np.array([0.05, -0.02, 0.001, -0.002, 0.01, 0.02, 0.0, 0.0])


def towards(place, target=(0.0, 0.9, 0.0)):
    """World (y up) to a camera at a place that looks at the target."""
    ahead = np.subtract(target, place) / np.linalg.norm(np.subtract(target, place))
    right = np.cross(ahead, [0, 1.0, 0])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(ahead, right), ahead])
    return np.block([[turn, (-turn @ place)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])


def standing():
    angles = np.arange(8) * np.pi / 4
    return np.stack([towards(np.array([2.5 * np.sin(a), 1.5, 2.5 * np.cos(a)])) for a in angles])


def write_arctic(root, body=None, ego=None, misc=None, protocol=None):
    """Writes the set; the bodies' table, the head's table and the cameras as they were written."""
    bodies = {name: RNG.normal(0, 0.1, (FRAMES, size)) for name, size in SIZES.items()}
    bodies |= {"transl": np.array([[0.1 * f, 1.3, 0.0] for f in range(FRAMES)])} | (body or {})
    worlds = [towards(np.array([0.1 * f, 1.7, 0.3]), (0.1 * f, 0.9, 0.5)) for f in range(FRAMES)]
    head = {"R_k_cam_np": np.stack([w[:3, :3] for w in worlds]), "T_k_cam_np": np.stack([w[:3, 3:] for w in worlds])}
    head |= {"intrinsics": np.array([[1200.0, 0, 1400], [0, 1200, 1000], [0, 0, 1]]), "dist8": LENS} | (ego or {})
    subject = {"gender": "female", "ioi_offset": OFFSET, "image_size": [[2800, 2000]] * 9, "world2cam": standing().tolist()}
    subject |= {"intris_mat": [[[1700.0 + i, 0, 1400], [0, 1700, 1000], [0, 0, 1]] for i in range(8)]} | (misc or {})
    for folder in ("raw_seqs/s05", "meta/subject_vtemplates", "splits_json"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    np.save(root / "raw_seqs/s05/box_grab_01.smplx.npy", bodies, allow_pickle=True)
    np.save(root / "raw_seqs/s05/box_grab_01.egocam.dist.npy", head, allow_pickle=True)
    (root / "meta/misc.json").write_text(json.dumps({"s05": subject}))
    for name in ("p1", "p2"):
        lists = {"train": [], "val": ["s05/box_grab_01"], "test": ["s03/box_use_01"]} if protocol is None else protocol
        (root / f"splits_json/protocol_{name}.json").write_text(json.dumps(lists))
    return bodies, head


def world_joints(bodies, frame):
    pose = np.concatenate([bodies[name][frame] for name in SIZES]).reshape(1, 55, 3)  # hands as they are: no mean is added
    return MODEL.forward(pose, translation=bodies["transl"][frame : frame + 1]).joints[0]


def test_standing_cameras_see_the_body_of_their_frame(tmp_path):
    bodies, _ = write_arctic(tmp_path)
    pictures = list(arctic(tmp_path))
    assert len(pictures) == 8 * FRAMES and [p.id for p in pictures] == list(range(24))
    picture = pictures[2 * FRAMES + 1]  # the third camera's second frame
    assert picture.file == tmp_path / "images/s05/box_grab_01/3/00013.jpg" and picture.frame == 13 and picture.size == (2800, 2000)
    assert picture.video == "s05/box_grab_01/3" and picture.people.genders == ("female",) and not picture.people.hand_mean
    world, camera = world_joints(bodies, 1), standing()[2]
    joints = in_camera(picture.people, {"neutral": MODEL})[1][0]
    assert np.allclose(joints, world @ camera[:3, :3].T + camera[:3, 3], atol=1e-5) and picture.camera[0, 0] == 1702


def test_the_heads_camera_moves_and_its_lens_bends(tmp_path):
    bodies, head = write_arctic(tmp_path)
    pictures = list(arctic(tmp_path, protocol="p2"))
    assert [p.file.parent.name for p in pictures] == ["0"] * FRAMES
    world = world_joints(bodies, 2)
    truth = project(Camera(head["intrinsics"], head["R_k_cam_np"][2], head["T_k_cam_np"][2].ravel(), LENS), world)
    seen = project(pictures[2].lens, in_camera(pictures[2].people, {"neutral": MODEL})[1][0])
    assert np.isfinite(truth).any() and np.allclose(seen, truth, atol=0.01, equal_nan=True)


def test_views_can_be_chosen_and_frames_may_be_none(tmp_path):
    write_arctic(tmp_path)
    assert {p.video[-1] for p in read_bodies("arctic", tmp_path, "val", views=(0, 8))} == {"0", "8"}
    write_arctic(tmp_path, {name: np.zeros((0, size)) for name, size in (SIZES | {"transl": 3}).items()})
    assert list(arctic(tmp_path)) == []
    for wrong in ({"views": (9,)}, {"protocol": "p3"}, {"split": "all"}):
        with pytest.raises(VitruvianError, match="ARCTIC has"):
            arctic(tmp_path, **wrong)


@pytest.mark.parametrize(
    "changed",
    [
        {"body": {"transl": np.tile([100.0, 1300.0, 0.0], (FRAMES, 1))}},
        {"misc": {"world2cam": (standing() * [[[1.0], [-1], [-1], [1]]]).tolist()}},  # y up, z back
        {"misc": {"world2cam": np.linalg.inv(standing()).tolist()}},
    ],
)
def test_other_units_or_axes_than_known_are_refused(tmp_path, changed):
    write_arctic(tmp_path, **changed)
    with pytest.raises(FormatError, match="units or axes"):
        list(arctic(tmp_path))


def test_a_head_in_millimetres_is_refused(tmp_path):
    _, head = write_arctic(tmp_path)
    write_arctic(tmp_path, ego={"T_k_cam_np": head["T_k_cam_np"] * 1000})
    with pytest.raises(FormatError, match="units or axes"):
        list(arctic(tmp_path, protocol="p2"))


@pytest.mark.parametrize(
    "broken",
    [
        {"body": {"body_pose": np.zeros((FRAMES, 60))}},
        {"body": {"transl": np.full((FRAMES, 3), np.nan)}},
        {"body": {"jaw_pose": np.zeros((2, 3))}},
        {"body": {"transl": None}},
        {"ego": {"R_k_cam_np": np.full((FRAMES, 3, 3), 0.5)}},
        {"ego": {"dist8": np.zeros(3)}},
        {"misc": {"ioi_offset": "3"}},
        {"misc": {"gender": 1}},
        {"misc": {"intris_mat": [[1, 2], [3]]}},
        {"misc": {"world2cam": np.ones((8, 4, 4)).tolist()}},
        {"misc": {"image_size": "large"}},
        {"protocol": {"val": ["../s05/box"]}},
        {"protocol": {"val": ["../box"]}},
        {"protocol": {"val": "s05/box_grab_01"}},
        {"protocol": []},
    ],
)
def test_damaged_files_are_refused(tmp_path, broken):
    write_arctic(tmp_path, **broken)
    with pytest.raises(FormatError):
        list(arctic(tmp_path, views=(0, 1)))


class _Evil:
    def __reduce__(self):
        return (print, ("ran",))


def test_nothing_in_the_tables_runs(tmp_path, capsys):
    write_arctic(tmp_path, {"transl": _Evil()})
    with pytest.raises(FormatError):
        list(arctic(tmp_path))
    assert "ran" not in capsys.readouterr().out


def test_missing_files_say_what_is_expected(tmp_path):
    with pytest.raises(FormatError, match="expected"):
        arctic(tmp_path)
    write_arctic(tmp_path)
    with pytest.raises(FormatError, match="no body"):  # the test subject's are not released
        arctic(tmp_path, "test")


def test_a_subjects_mesh_takes_the_place_of_the_template(tmp_path, monkeypatch):
    folder = tmp_path / "meta/subject_vtemplates"
    folder.mkdir(parents=True)
    mesh, v = RNG.normal(0, 0.5, (20, 3)), 20
    write_obj(mesh, np.array([[0, 1, 2]]), folder / "s05.obj")
    regressor = np.zeros((55, v))
    regressor[np.arange(55), np.arange(55) % v] = 1
    arrays = {
        "v_template": np.zeros((v, 3)), "J_regressor": regressor, "weights": np.full((v, 55), 1 / 55), "shapedirs": np.zeros((v, 3, 20)),
        "kintree_table": np.stack([np.maximum(np.arange(55) - 1, 0), np.arange(55)]), "f": np.array([[0, 1, 2]]),
        "posedirs": np.zeros((v, 3, 486)), **{f"hands_{name}{side}": np.zeros((45, 45)[: 1 + (name == "components")])
        for name in ("mean", "components") for side in "lr"},
    }  # fmt: skip
    monkeypatch.setattr(module, "read_entries", lambda path: arrays)
    model = subject_model(tmp_path, "s05", tmp_path / "SMPLX_FEMALE.npz")
    assert np.allclose(model.template, mesh, atol=1e-5) and np.allclose(model.joints, mesh[np.arange(55) % v], atol=1e-5)
    write_obj(mesh[:10], np.array([[0, 1, 2]]), folder / "s06.obj")
    with pytest.raises(FormatError, match="vertices"):
        subject_model(tmp_path, "s06", tmp_path / "SMPLX_FEMALE.npz")
