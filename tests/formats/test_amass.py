"""AMASS's files and the published programs' bodies: written and read back, posed alike, and their traps."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from random_body import JOINTS, random_body
from vitruvian.body.model import BodyModel, BodyParameters
from vitruvian.errors import FormatError
from vitruvian.formats.amass import BodyMotion, read_amass, with_hand_mean_added, with_up, write_amass
from vitruvian.formats.published_bodies import (
    hmr2_from_motion,
    hmr2_translation,
    motion_from_hmr2,
    motion_from_multi_hmr,
    multi_hmr_from_motion,
    read_smplerx,
    write_smplerx,
)


def motion(kind: str = "smplx", n: int = 5, up: str = "z", expression: int = 0) -> BodyMotion:
    random = np.random.default_rng(2)
    pose = random.normal(0, 0.4, (n, JOINTS[kind], 3)).astype(np.float32)
    shape = np.tile(random.normal(0, 1, 10), (n, 1)).astype(np.float32)
    parameters = BodyParameters(
        pose, shape, random.normal(0, 1, (n, expression)).astype(np.float32), random.normal(0, 1, (n, 3)).astype(np.float32)
    )
    return BodyMotion(kind, parameters, np.arange(n) / 120, "female", up)


def posed(moved: BodyMotion, body: BodyModel) -> np.ndarray:
    p = moved.parameters
    return body.forward(p.pose, p.shape[:, :10], p.expression, p.translation).vertices


@pytest.mark.parametrize("kind", JOINTS)
def test_amass_files_come_back(tmp_path, kind):
    ours = motion(kind)
    write_amass(ours, tmp_path / "walk.npz")
    back = read_amass(tmp_path / "walk.npz")
    assert (back.kind, back.gender, back.up, back.hand_mean) == (kind, "female", "z", False)
    np.testing.assert_allclose(back.times, ours.times, atol=1e-9)
    np.testing.assert_allclose(posed(back, random_body(kind)), posed(ours, random_body(kind)), atol=1e-5)


def test_layouts_have_their_published_keys_and_shapes(tmp_path):
    write_amass(motion("smplh"), tmp_path / "h.npz")
    with np.load(tmp_path / "h.npz") as file:
        shapes = {name: file[name].shape for name in file.files}
    assert shapes == {"poses": (5, 156), "trans": (5, 3), "betas": (16,), "dmpls": (5, 8), "gender": (), "mocap_framerate": ()}
    write_amass(motion("smplx", expression=10), tmp_path / "x_stageii.npz")
    with np.load(tmp_path / "x_stageii.npz") as file:
        assert file["mocap_frame_rate"] == pytest.approx(120) and "mocap_framerate" not in file.files
        assert file["expression"].shape == (5, 10)
        parts = [file[name] for name in ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), file["poses"])


def test_parts_alone_are_enough(tmp_path):
    write_amass(motion("smplx"), tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        np.savez(tmp_path / "parts.npz", **{name: file[name] for name in file.files if name != "poses"})
    np.testing.assert_array_equal(read_amass(tmp_path / "parts.npz").parameters.pose, read_amass(tmp_path / "whole.npz").parameters.pose)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(("male", "male"), (b"female", "female"), (np.array(["male"]), "male"), (np.array([b"female"]), "female")),
        *((np.array("b'male'"), "male"), (np.array(["male"], dtype=object), "neutral"), (np.array(3), "neutral"), (None, "neutral")),
    ],
)
def test_gender_may_be_text_bytes_or_an_array(tmp_path, value, expected):
    arrays = {"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "mocap_framerate": 60}
    np.savez(tmp_path / "a.npz", **arrays, **({} if value is None else {"gender": value}))
    assert read_amass(tmp_path / "a.npz").gender == expected


@pytest.mark.parametrize(
    ("name", "rate"), [("BMLhandball/S01/throw_poses.npz", 240), ("SSM/20160930_50032_poses.npz", 59), ("CMU/01/01_01_poses.npz", 120)]
)
def test_known_wrong_frame_rates_are_mended(tmp_path, name, rate):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    np.savez(path, poses=np.zeros((3, 156)), trans=np.zeros((3, 3)), mocap_framerate=120.0)
    assert read_amass(path).times[1] == pytest.approx(1 / rate)
    assert read_amass(path, fps=50).times[1] == pytest.approx(1 / 50)


def test_uneven_times_are_resampled(tmp_path):
    ours = replace(motion("smplx", 4, expression=2), times=np.array([0.0, 0.1, 0.15, 0.3]))
    write_amass(ours, tmp_path / "a.npz")
    back = read_amass(tmp_path / "a.npz")
    np.testing.assert_allclose(back.times, [0, 0.1, 0.2, 0.3], atol=1e-9)
    rows = [0, 1, 3]
    np.testing.assert_allclose(back.parameters.pose[rows], ours.parameters.pose[rows], atol=1e-5)
    np.testing.assert_allclose(back.parameters.expression[rows], ours.parameters.expression[rows], atol=1e-5)


@pytest.mark.parametrize("n", [0, 1])
def test_no_frame_and_one_frame(tmp_path, n):
    write_amass(motion("smplh", n), tmp_path / "a.npz")
    assert len(read_amass(tmp_path / "a.npz").parameters) == n


def test_what_amass_cannot_hold_is_refused(tmp_path):
    ours = motion()
    gap = replace(ours, parameters=replace(ours.parameters, translation=ours.parameters.translation * np.nan))
    for wrong in (replace(ours, up="y"), replace(ours, hand_mean=True), gap):
        with pytest.raises(FormatError):
            write_amass(wrong, tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


BAD = {
    "shape only": {"betas": np.zeros(16), "gender": "male"},
    "no rate": {"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3))},
    "rate zero": {"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "mocap_framerate": 0},
    "rate nan": {"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "mocap_framerate": np.nan},
    "width": {"poses": np.zeros((2, 100)), "trans": np.zeros((2, 3)), "mocap_framerate": 60},
    "trans": {"poses": np.zeros((2, 156)), "trans": np.zeros((3, 3)), "mocap_framerate": 60},
    "nan": {"poses": np.full((2, 156), np.nan), "trans": np.zeros((2, 3)), "mocap_framerate": 60},
    "text": {"poses": np.zeros((2, 156)), "trans": np.array([["a"] * 3] * 2), "mocap_framerate": 60},
    "betas": {"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "mocap_framerate": 60, "betas": np.zeros((3, 4))},
    "pickled": {"poses": np.array([[None] * 156] * 2, dtype=object), "trans": np.zeros((2, 3)), "mocap_framerate": 60},
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_motion_is_refused(tmp_path, fault):
    np.savez(tmp_path / "a.npz", **BAD[fault])
    with pytest.raises(FormatError):
        read_amass(tmp_path / "a.npz")


def test_damaged_and_hostile_archives_are_refused(tmp_path):
    write_amass(motion("smplh"), tmp_path / "good.npz")
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("poses")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000, 156), }"
        archive.writestr("poses.npy", header.ljust(127) + b"\n" + bytes(1000))
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr(
            "poses.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9, 156), }".ljust(127) + b"\n"
        )
    for name in ("cut", "text", "bomb", "short", "missing"):
        with pytest.raises(FormatError):
            read_amass(tmp_path / f"{name}.npz")
    with pytest.raises(FormatError, match="max_bytes"):
        read_amass(tmp_path / "good.npz", max_bytes=100)


@pytest.mark.parametrize("up", ["y", "camera"])
def test_another_axis_up_turns_every_vertex(up):
    ours, body = motion(), random_body()
    turned = with_up(ours, up, body)
    x, y, z = np.moveaxis(posed(ours, body), -1, 0)
    expected = {"y": (x, z, -y), "camera": (x, -z, y)}[up]
    np.testing.assert_allclose(posed(turned, body), np.stack(expected, axis=-1), atol=1e-5)
    np.testing.assert_allclose(posed(with_up(turned, "z", body), body), posed(ours, body), atol=1e-5)


def test_more_shape_coefficients_than_the_model_knows_are_kept():
    ours, body = motion(), random_body()
    extra = np.concatenate([ours.parameters.shape, np.ones((5, 6), np.float32)], 1)
    longer = replace(ours, parameters=replace(ours.parameters, shape=extra))
    turned = with_up(longer, "y", body)
    np.testing.assert_array_equal(turned.parameters.shape, extra)
    np.testing.assert_allclose(turned.parameters.translation, with_up(ours, "y", body).parameters.translation, atol=1e-6)


def test_the_mean_hand_is_added_once_where_it_is_missing():
    ours = replace(motion(), hand_mean=True)
    whole = with_hand_mean_added(ours, random_body())
    difference = whole.parameters.pose - ours.parameters.pose
    mean = random_body().hands["left_hand"].mean.reshape(15, 3)
    np.testing.assert_allclose(difference[:, 25:40], np.tile(mean, (5, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(difference[:, :25], 0)
    assert with_hand_mean_added(whole, random_body()) is whole
    with pytest.raises(FormatError):
        with_hand_mean_added(ours, random_body("smpl"))


def test_a_motion_that_does_not_hold_together_is_refused():
    ours = motion()
    for wrong in ({"times": np.zeros(3)}, {"kind": "smpl"}, {"kind": "flame"}, {"up": "x"}, {"scores": np.zeros(2)}):
        with pytest.raises(FormatError):
            replace(ours, **wrong)


def test_hmr2_comes_back():
    ours = motion("smpl", up="camera")
    arrays = hmr2_from_motion(ours)
    assert arrays["global_orient"].shape == (5, 1, 3, 3) and arrays["body_pose"].shape == (5, 23, 3, 3)
    back = motion_from_hmr2(arrays, arrays["pred_cam_t"], ours.times)
    np.testing.assert_allclose(posed(back, random_body("smpl")), posed(ours, random_body("smpl")), atol=1e-5)
    nobody = hmr2_from_motion(motion("smpl", 0, "camera"))
    assert len(motion_from_hmr2(nobody, nobody["pred_cam_t"], np.zeros(0)).parameters) == 0
    with pytest.raises(FormatError):
        hmr2_from_motion(motion("smpl"))
    with pytest.raises(FormatError):
        motion_from_hmr2({"global_orient": np.zeros((5, 3))}, arrays["pred_cam_t"], ours.times)


def test_hmr2s_crop_camera_and_the_whole_pictures_show_the_same_pixels():
    picture, centre, size, camera = (1280, 720), np.array([[900.0, 300.0]]), np.array([400.0]), np.array([[0.9, 0.05, -0.1]])
    translation, intrinsics = hmr2_translation(camera, centre, size, picture)
    point = np.array([[0.3, -0.5, 0.0]])  # in the plane that weak perspective is exact for
    weak = centre + (point[:, :2] + camera[:, 1:]) * camera[:, :1] * size[:, None] / 2
    seen = (point + translation) @ intrinsics.T
    np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], weak, atol=1e-6)


def test_smplerx_files_come_back(tmp_path):
    ours = motion("smplx", 3, "camera", 10)
    cameras = np.array([[[1000.0 + i, 0, 300], [0, 1100 + i, 200], [0, 0, 1]] for i in range(3)])
    ours = replace(ours, times=np.array([0, 2, 3]) / 25, intrinsics=cameras, hand_mean=True)
    paths = write_smplerx(ours, tmp_path, person=4, fps=25)
    assert [path.name for path in paths] == ["00000_4.npz", "00002_4.npz", "00003_4.npz"]
    with np.load(paths[0]) as file:
        assert {name: file[name].shape for name in file.files} == {
            **{"global_orient": (1, 3), "body_pose": (21, 3), "left_hand_pose": (15, 3), "right_hand_pose": (15, 3)},
            **{"jaw_pose": (1, 3), "leye_pose": (1, 3), "reye_pose": (1, 3), "betas": (1, 10), "expression": (1, 10), "transl": (1, 3)},
        }
    back = read_smplerx(tmp_path, fps=25)
    assert list(back) == [4] and back[4].hand_mean and back[4].up == "camera"
    np.testing.assert_allclose(back[4].times, ours.times)
    np.testing.assert_array_equal(back[4].parameters.pose, ours.parameters.pose)
    np.testing.assert_array_equal(back[4].intrinsics, cameras)


def test_smplerx_folders_without_cameras_or_with_damage(tmp_path):
    with pytest.raises(FormatError):
        read_smplerx(tmp_path)
    (path,) = write_smplerx(motion("smplx", 1, "camera", 10), tmp_path)
    assert read_smplerx(tmp_path)[0].intrinsics is None
    path.with_suffix(".json").write_text('{"focal": [1]}')
    with pytest.raises(FormatError):
        read_smplerx(tmp_path)
    path.with_suffix(".json").unlink()
    np.savez(path, global_orient=np.zeros(3), body_pose=np.zeros(60), transl=np.zeros(3))
    with pytest.raises(FormatError):
        read_smplerx(tmp_path)
    with pytest.raises(FormatError):
        write_smplerx(motion("smplx", 2, "camera", 10), tmp_path, fps=1)


def test_multi_hmr_comes_back_with_the_pelvis_where_it_was():
    ours, body = motion("smplx", 4, "camera", 10), random_body()
    pose = ours.parameters.pose.copy()
    pose[:, 23:25] = 0  # it has no eyes
    ours = replace(ours, parameters=replace(ours.parameters, pose=pose))
    people = multi_hmr_from_motion(ours, body)
    assert people[0]["rotvec"].shape == (53, 3)
    np.testing.assert_array_equal(people[1]["rotvec"][52], pose[1, 22])  # the jaw comes last
    p = ours.parameters
    np.testing.assert_allclose(
        people[2]["transl_pelvis"], body.forward(p.pose, p.shape, p.expression, p.translation).joints[2, 0], atol=1e-6
    )
    back = motion_from_multi_hmr(people, ours.times, body)
    np.testing.assert_allclose(posed(back, body), posed(ours, body), atol=1e-5)
    assert len(motion_from_multi_hmr([], np.zeros(0), body).parameters) == 0
    with pytest.raises(FormatError):
        motion_from_multi_hmr([{"rotvec": np.zeros((53, 3))}], np.zeros(1), body)
