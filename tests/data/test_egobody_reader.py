"""EgoBody's reader: a made-up meeting in the official layout, seen from a HoloLens and from the main Kinect; and damaged files."""

import json
import pickle

import numpy as np
import pytest

from random_body import random_body
from vitruvian.body.pose import rotation_matrices
from vitruvian.data.bodies import in_camera
from vitruvian.data.egobody import egobody
from vitruvian.data.readers import read_bodies
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import Camera, project

RNG = np.random.default_rng(4)
MODEL = random_body("smplx")
HANDS = MODEL.hands
NAME, DATE = "recording_a", "2021-09-07-155421"
FRAMES = (1888, 1889, 1891)
SIZES = {"global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "left_hand_pose": 12, "right_hand_pose": 12}
SIZES |= {"betas": 10, "expression": 10}
LENS = [0.08, -0.05, 0.001, 0.0, 0.02, 0.0, 0.0, 0.0]


def motion(turn, shift):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation_matrices(np.array([turn]))[0], shift
    return matrix


HOLO_TO_KINECT = motion([0.1, 0.9, -0.05], [0.4, -0.2, 1.0])


def write_fit(path, trans, **other):
    fit = {name: RNG.normal(0, 0.1, (1, size)) for name, size in SIZES.items()} | {"transl": np.array([trans])} | other
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({name: value for name, value in fit.items() if value is not None}))
    return fit


def write_egobody(root, pv=None, trans=None, splits=None, info=None, **npz):
    """Writes the set; the fits of (interactee, camera wearer) by frame and the maps from the Kinect to the HoloLens's OpenCV camera."""
    fits, maps, pixels, lines = {}, {}, [], ["960.5,540.5,1920,1080"]
    here = root / "egocentric_color" / NAME / DATE
    (here / "PV").mkdir(parents=True, exist_ok=True)
    for place, frame in enumerate(FRAMES):
        for role, body, where in (("interactee", 1, [0.1 * place, 0.3, 2.0]), ("camera_wearer", 0, [-0.8, 0.3, 2.5])):
            path = root / f"smplx_{role}_val" / NAME / f"body_idx_{body}" / "results" / f"frame_{frame:05d}" / "000.pkl"
            fits[role, frame] = write_fit(path, where, **(trans or {}))
        # A camera looks along -z with y up: at the other from two metres away, in a world of the HoloLens's own.
        to_opencv = motion([0.05 * place, -0.1, 0.02], [0.05, 0.1, 0.2])
        kinect_to_pv = np.diag([1.0, -1, -1, 1]) @ to_opencv
        pv_to_world = np.linalg.inv(HOLO_TO_KINECT) @ np.linalg.inv(kinect_to_pv)
        maps[frame] = to_opencv
        lines.append(",".join(map(repr, [1327549 + place, 1450.0 + place, 1451.0, *pv_to_world.ravel().tolist()])))
        hips = to_opencv[:3, :3] @ np.array([0.1 * place, -0.06, 2.0]) + to_opencv[:3, 3]  # 36 cm below the interactee's translation
        pixels.append(hips[:2] / hips[2] * [1450 + place, 1451] + [960.5, 540.5])
    (here / f"{DATE}_pv.txt").write_text("\n".join(pv(lines) if pv else lines) + "\n")
    names = [f"egocentric_color/{NAME}/{DATE}/PV/{1327549 + place}_frame_{frame:05d}.jpg" for place, frame in enumerate(FRAMES)]
    points = np.concatenate([np.tile(np.array(pixels)[:, None], (1, 25, 1)), np.ones((3, 25, 1))], 2)
    arrays = {"valid": np.array([True, False, True]), "imgname": np.array(names), "keypoints": points} | npz
    np.savez(here / "valid_frame.npz", valid=arrays["valid"], imgname=arrays["imgname"])
    np.savez(here / "keypoints.npz", keypoints=arrays["keypoints"], imgname=names)
    calibration = root / "calibrations" / NAME / "cal_trans"
    calibration.mkdir(parents=True, exist_ok=True)
    (calibration / "holo_to_kinect12.json").write_text(json.dumps({"trans": HOLO_TO_KINECT.tolist()}))
    (root / "kinect_cam_params/kinect_master").mkdir(parents=True, exist_ok=True)
    kinect = {"camera_mtx": [[910.0, 0, 958.0], [0, 910.0, 552.0], [0, 0, 1]], "k": LENS}
    (root / "kinect_cam_params/kinect_master/Color.json").write_text(json.dumps(kinect))
    (root / "kinect_color" / NAME).mkdir(parents=True, exist_ok=True)
    (root / "data_splits.csv").write_text(splits or f"train,val,test\nrecording_b,{NAME},recording_c\nrecording_d,,\n")
    header = "scene_name,recording_name,start_frame,end_frame,body_idx_fpv,body_idx_0,body_idx_1\n"
    (root / "data_info_release.csv").write_text(header + (info or f"room,{NAME},1,2000,1 female,3 male,5 female\n"))
    return fits, maps


def joints_of(fit):
    hands = [HANDS[name].components[:12].T @ fit[f"{name}_pose"].ravel() + HANDS[name].mean for name in ("left_hand", "right_hand")]
    names = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose")
    pose = np.concatenate([*(fit[name].ravel() for name in names), *hands]).reshape(1, 55, 3)
    return MODEL.forward(pose, fit["betas"], fit["expression"], fit["transl"]).joints[0]


def test_the_hololens_sees_the_interactee_where_the_calibration_puts_them(tmp_path):
    fits, maps = write_egobody(tmp_path)
    pictures = list(egobody(tmp_path, hands=HANDS))
    assert [p.frame for p in pictures] == [1888, 1891]  # the frame between is not valid
    second = pictures[1]
    assert second.file == tmp_path / f"egocentric_color/{NAME}/{DATE}/PV/1327551_frame_01891.jpg" and second.size == (1920, 1080)
    assert second.people.genders == ("female",) and second.video == NAME and second.people.keypoints.shape == (1, 25, 3)
    assert second.camera.tolist() == [[1452, 0, 960.5], [0, 1451, 540.5], [0, 0, 1]]
    truth = joints_of(fits["interactee", 1891]) @ maps[1891][:3, :3].T + maps[1891][:3, 3]
    assert np.allclose(in_camera(second.people, {"neutral": MODEL})[1][0], truth, atol=1e-4)


def test_the_kinect_sees_both_through_its_lens(tmp_path):
    fits, _ = write_egobody(tmp_path)
    pictures = list(read_bodies("egobody", tmp_path, view="kinect", hands=HANDS))
    assert [p.frame for p in pictures] == list(FRAMES) and pictures[0].people.genders == ("female", "male")
    assert pictures[0].file == tmp_path / f"kinect_color/{NAME}/master/frame_01888.jpg"
    truth = joints_of(fits["camera_wearer", 1888])
    assert np.allclose(in_camera(pictures[0].people, {"neutral": MODEL})[1][1], truth, atol=1e-4)
    lens = Camera(np.array([[910.0, 0, 958.0], [0, 910.0, 552.0], [0, 0, 1]]), distortion=np.array(LENS))
    assert np.allclose(project(pictures[0].lens, truth), project(lens, truth), equal_nan=True)


def test_hands_need_components_or_leave_to_rest(tmp_path):
    write_egobody(tmp_path)
    with pytest.raises(VitruvianError, match="hands="):
        list(egobody(tmp_path))
    pictures = list(egobody(tmp_path, hands={}))
    assert not pictures[0].people.parameters.pose[0, 25:].any() and pictures[0].people.hand_mean


def flipped(lines):
    """A HoloLens whose camera has OpenCV's axes already."""
    out = [lines[0]]
    for line in lines[1:]:
        cells = line.split(",")
        matrix = np.reshape([float(cell) for cell in cells[3:]], (4, 4)) @ np.diag([1.0, -1, -1, 1])
        out.append(",".join([*cells[:3], *map(repr, matrix.ravel().tolist())]))
    return out


@pytest.mark.parametrize("changed", [{"pv": flipped}, {"trans": {"transl": np.array([[100.0, 300.0, 2000.0]])}}])
def test_other_units_or_axes_than_known_are_refused(tmp_path, changed):
    write_egobody(tmp_path, **changed)
    with pytest.raises(FormatError, match="axes or units"):
        list(egobody(tmp_path, hands=HANDS))


@pytest.mark.parametrize(
    "broken",
    [
        {"pv": lambda lines: lines[:1]},
        {"pv": lambda lines: [lines[0], lines[1] + ",1"]},
        {"pv": lambda lines: [lines[0], "x" + lines[1]]},
        {"pv": lambda lines: ["1,2,3", *lines[1:]]},
        {"pv": lambda lines: [*lines[:1], *(line.replace("1450", "-1450") for line in lines[1:])]},
        {"trans": {"transl": None}},
        {"trans": {"betas": np.zeros((1, 5))}},
        {"trans": {"body_pose": np.full((1, 63), np.inf)}},
        {"valid": np.ones(2)},
        {"imgname": np.array(["../1327549_frame_01888.png", "no number.jpg", "x"])},
        {"imgname": np.arange(3)},
        {"keypoints": np.zeros((3, 18, 3))},
        {"splits": "a,b\n1,2\n"},
        {"splits": "train,val,test\n,../recording,\n"},
        {"info": "room,other,1,2,1 female,3 male,5 female\n"},
        {"info": f"room,{NAME},1,2,7 female,3 male,5 female\n"},
        {"info": f"room,{NAME}\n"},
    ],
)
def test_damaged_files_are_refused(tmp_path, broken):
    write_egobody(tmp_path, **broken)
    with pytest.raises(FormatError):
        list(egobody(tmp_path, hands=HANDS))


def test_a_calibration_that_is_not_rigid_is_refused(tmp_path):
    write_egobody(tmp_path)
    path = tmp_path / "calibrations" / NAME / "cal_trans" / "holo_to_kinect12.json"
    path.write_text(json.dumps({"trans": (2 * HOLO_TO_KINECT).tolist()}))
    with pytest.raises(FormatError, match="rigid"):
        list(egobody(tmp_path, hands=HANDS))
    path.unlink()
    with pytest.raises(FormatError, match="check the path"):
        list(egobody(tmp_path, hands=HANDS))


@pytest.mark.parametrize("depth", [-2.0, 2000.0])
def test_a_body_that_no_kinect_sees_is_refused(tmp_path, depth):
    write_egobody(tmp_path, trans={"transl": np.array([[0.0, 0.0, depth]])})
    with pytest.raises(FormatError, match="axes or units"):
        list(egobody(tmp_path, view="kinect", hands=HANDS))


def test_a_strange_lens_is_refused(tmp_path):
    write_egobody(tmp_path)
    path = tmp_path / "kinect_cam_params/kinect_master/Color.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"k": [0.1] * 3}))
    with pytest.raises(FormatError, match="lens"):
        list(egobody(tmp_path, view="kinect", hands=HANDS))


def test_missing_files_say_what_is_expected(tmp_path):
    with pytest.raises(FormatError, match="expected"):
        egobody(tmp_path)
    write_egobody(tmp_path)
    with pytest.raises(FormatError, match="expected"):
        egobody(tmp_path, "train")
    with pytest.raises(VitruvianError, match="EgoBody has"):
        egobody(tmp_path, "all")
