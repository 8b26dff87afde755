"""Each reader of 3D data sets, on small files in the official layout whose truth is known."""

import json
import pickle

import numpy as np
import pytest
import scipy.io

from many_views import room, walker
from sets_3d import write_human36m, write_shelf
from vitruvian.data import inf3dhp as inf
from vitruvian.data import shelf_campus
from vitruvian.data.egohumans import egohumans, read_colmap
from vitruvian.data.human36m import CAMERAS, JOINTS, human36m
from vitruvian.data.inf3dhp import camera_of_pairs, inf3dhp
from vitruvian.data.panoptic import panoptic
from vitruvian.data.shelf_campus import campus, shelf
from vitruvian.data.threedpw_joints import threedpw_joints
from vitruvian.errors import FormatError
from vitruvian.geometry.camera import Camera, project, to_camera
from vitruvian.metrics.poses3d import INF_3DHP_POINTS
from vitruvian.skeletons import H36M_17, INF_3DHP_17

RNG = np.random.default_rng(0)
RING = room(4)


# Human3.6M


def h36m_folder(folder, frames=5, shorter=0):
    """Random joints of two subjects, seen by the ring's cameras."""
    points = {
        s: {"Walking 1": RNG.normal(0, 0.5, (frames, 32, 3)).astype(np.float32), "Eating": np.zeros((2, 32, 3))} for s in ("S9", "S11")
    }
    write_human36m(folder, points, RING, shorter)
    return points


def test_human36m_in_videopose3ds_layout(tmp_path):
    truth = h36m_folder(tmp_path)
    films = {film.name: film for film in human36m(tmp_path, "test", "gt")}
    assert sorted(films) == ["S11/Eating", "S11/Walking 1", "S9/Eating", "S9/Walking 1"]
    film = films["S9/Walking 1"]
    assert film.action == "Walking" and film.rate == 50 and [camera.name for camera in film.cameras] == list(CAMERAS)
    np.testing.assert_allclose(film.points[:, 0], truth["S9"]["Walking 1"][:, JOINTS])
    for c in range(4):
        np.testing.assert_allclose(film.seen(c), film.keypoints[c], atol=2e-3)
    assert [film.name for film in human36m(tmp_path, only=["Eating"])] == ["S9/Eating", "S11/Eating"]
    assert len(JOINTS) == len(H36M_17) == 17


def test_human36m_is_cut_to_its_2d_points(tmp_path):
    h36m_folder(tmp_path, shorter=1)
    film = next(iter(human36m(tmp_path, "test", "gt")))
    assert len(film.points) == len(film.keypoints[3]) == len(film.frames) == 4


def test_human36m_without_its_training_subjects_says_so(tmp_path):
    h36m_folder(tmp_path)
    with pytest.raises(FormatError, match="S1"):
        list(human36m(tmp_path, "train"))
    with pytest.raises(FormatError, match="expected there"):
        human36m(tmp_path / "nowhere")


@pytest.mark.parametrize(("split", "subjects"), [("train", ["S1", "S5", "S6", "S7", "S8"]), ("test", ["S9", "S11"])])
def test_human36m_is_split_by_subjects(tmp_path, split, subjects):
    points = {f"S{n}": {"Eating": np.zeros((1, 32, 3))} for n in (1, 5, 6, 7, 8, 9, 11)}
    write_human36m(tmp_path, points, RING)
    assert [film.name.split("/")[0] for film in human36m(tmp_path, split)] == subjects


@pytest.mark.parametrize(
    "damage",
    [
        {"S9": {"Walking": np.zeros((4, 31, 3))}},
        {"S9": {"Walking": np.full((4, 32, 3), np.inf)}},
        {"S9": {"Walking": "no numbers"}},
        {"S9": 3},
        [1, 2],
    ],
)
def test_human36m_damaged(tmp_path, damage):
    h36m_folder(tmp_path)
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=np.array(damage, object))
    with pytest.raises(FormatError):
        list(human36m(tmp_path))


class Foreign:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_foreign_code_in_a_file_does_not_run(tmp_path, capsys):
    h36m_folder(tmp_path)
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=np.array({"S9": {"Walking": Foreign()}}, object))
    with pytest.raises(FormatError):
        list(human36m(tmp_path))
    assert capsys.readouterr().out == ""


# MPI-INF-3DHP


def cell(values):
    out = np.empty((len(values), 1), object)
    for i, value in enumerate(values):
        out[i, 0] = value
    return out


def calibration_text(cameras):
    lines = ["Skeleton Studio camera calibration"]
    for number, camera in enumerate(cameras):
        k, e = np.eye(4), np.eye(4)
        k[:3, :3], e[:3, :3], e[:3, 3] = camera.intrinsics, camera.R_cam_world, 1000 * camera.t_cam_world
        rows = [" ".join(f"{value:.10f}" for value in matrix.ravel()) for matrix in (k, e)]
        lines += [f"name          {number}", "  sensor      10 10", "  size        2048 2048", f"  intrinsic   {rows[0]}"]
        lines += [f"  extrinsic   {rows[1]}", "  radial      0"]
    return "\n".join(lines) + "\n"


def inf_train(folder, frames=6):
    world = RNG.normal(0, 0.5, (frames, 28, 3)) + [0, 1, 0]
    place = folder / "S1" / "Seq2"
    place.mkdir(parents=True)
    local = [1000 * to_camera(camera, world) for camera in RING]
    table = {
        "annot3": cell([each.reshape(frames, -1) for each in local]),
        "univ_annot3": cell([1.1 * each.reshape(frames, -1) for each in local]),
        "annot2": cell([project(camera, world).reshape(frames, -1) for camera in RING]),
    }
    scipy.io.savemat(place / "annot.mat", table)
    (place / "camera.calibration").write_text(calibration_text(RING))
    return world


def test_inf3dhp_training_films_are_in_one_world(tmp_path):
    world = inf_train(tmp_path)
    (film,) = inf3dhp(tmp_path, "train", cameras=(0, 2))
    assert film.name == "S1/Seq2" and [camera.name for camera in film.cameras] == ["0", "2"]
    np.testing.assert_allclose(film.points[:, 0], world[:, inf.JOINTS_OF_28], atol=1e-6)
    for c in range(2):
        np.testing.assert_allclose(film.seen(c), film.keypoints[c], atol=1e-3)
    (tmp_path / "S1" / "Seq2" / "camera.calibration").write_text("name 0\n  size 1 2\n  intrinsic 1 2 3\n")
    with pytest.raises(FormatError, match="calibration"):
        list(inf3dhp(tmp_path, "train"))


def inf_test(frames=8):
    camera = Camera([[1500.0, 0, 1020], [0, 1490, 1040], [0, 0, 1]], size=(2048, 2048))
    points = RNG.normal(0, 0.5, (frames, 17, 3)) + [0, 0, 4]
    return camera, points, project(camera, points), np.arange(frames) % 3 > 0


def test_inf3dhp_test_films_find_their_camera(tmp_path):
    camera, points, pixels, valid = inf_test()
    (tmp_path / "TS1").mkdir()
    table = {
        "annot3": 1000 * points.transpose(2, 1, 0)[:, :, None],
        "univ_annot3": 1100 * points.transpose(2, 1, 0)[:, :, None],
        "annot2": pixels.transpose(2, 1, 0)[:, :, None],
        "valid_frame": valid[:, None].astype(float),
    }
    scipy.io.savemat(tmp_path / "TS1" / "annot_data.mat", table)
    (film,) = inf3dhp(tmp_path)
    np.testing.assert_allclose(film.points[:, 0], points, atol=1e-9)
    np.testing.assert_allclose(film.cameras[0].intrinsics, camera.intrinsics, rtol=1e-6)
    assert film.counts.tolist() == valid.tolist() and film.action == "green screen"
    (normal,) = inf3dhp(tmp_path, points="normalised")
    np.testing.assert_allclose(normal.points, 1.1 * film.points)


def test_inf3dhp_in_one_file(tmp_path):
    _, points, pixels, valid = inf_test()
    table = {"TS6": {"data_3d": 1000 * points, "data_2d": pixels, "valid": valid.astype(float)}}
    np.savez(tmp_path / "data_test_3dhp.npz", data=np.array(table, object))
    (film,) = inf3dhp(tmp_path)
    assert film.name == "TS6" and film.cameras[0].size == (1920, 1080) and film.counts.tolist() == valid.tolist()
    np.testing.assert_allclose(film.seen(0), film.keypoints[0], atol=1e-3)
    train = {"S1 Seq1": [{"0": {"data_3d": 1000 * points, "data_2d": pixels}}]}
    np.savez(tmp_path / "data_train_3dhp.npz", data=np.array(train, object))
    assert [film.name for film in inf3dhp(tmp_path, "train")] == ["S1 Seq1/0"]


@pytest.mark.parametrize("entry", [{}, {"data_3d": np.zeros((3, 16, 3)), "data_2d": np.zeros((3, 17, 2)), "valid": np.ones(3)}, 7])
def test_inf3dhp_damaged(tmp_path, entry):
    np.savez(tmp_path / "data_test_3dhp.npz", data=np.array({"TS1": entry}, object))
    with pytest.raises(FormatError):
        list(inf3dhp(tmp_path))


def test_a_camera_is_found_from_pairs():
    camera, points, pixels, _ = inf_test()
    pixels[0, 0] = np.nan
    found = camera_of_pairs(points.reshape(-1, 3), pixels.reshape(-1, 2), (2048, 2048))
    np.testing.assert_allclose(found.intrinsics, camera.intrinsics, rtol=1e-9)


def test_points_of_3dhps_pck_are_those_of_its_set():
    parts = ("head_top", "neck", "right_shoulder", "left_shoulder", "right_elbow", "left_elbow", "right_wrist", "left_wrist")
    parts += ("right_hip", "left_hip", "right_knee", "left_knee", "right_ankle", "left_ankle")
    assert tuple(INF_3DHP_17.names[i] for i in INF_3DHP_POINTS) == parts


# 3DPW


def pw_table(frames=4):
    world = RNG.normal(0, 0.3, (2, frames, 24, 3)) + [0, 1, 0]
    turns = np.stack([camera.T_cam_world for camera in (RING * 3)[:frames]])
    k = np.array([[1900.0, 0, 540], [0, 1900, 960], [0, 0, 1]])
    valid = np.ones((2, frames), int)
    valid[1, 2] = 0
    return world, {
        "jointPositions": [person.reshape(frames, 72) for person in world], "cam_poses": turns, "cam_intrinsics": k,
        "campose_valid": list(valid), "img_frame_ids": np.arange(frames) * 2, "sequence": "courtyard_00",
    }  # fmt: skip


def pw_file(folder, table):
    place = folder / "sequenceFiles" / "test"
    place.mkdir(parents=True, exist_ok=True)
    (place / "courtyard_00.pkl").write_bytes(pickle.dumps(table, protocol=2))


def test_3dpw_is_given_in_the_moving_cameras_frame(tmp_path):
    world, table = pw_table()
    pw_file(tmp_path, table)
    (film,) = threedpw_joints(tmp_path)
    assert film.points.shape == (4, 2, 24, 3) and film.frames.tolist() == [0, 2, 4, 6] and film.cameras[0].size == (1080, 1920)
    np.testing.assert_allclose(film.points[1, 0], to_camera(RING[1], world[0, 1]), atol=1e-9)
    assert np.isnan(film.points[2, 1]).all() and np.isfinite(film.points[2, 0]).all() and film.counts.all()


@pytest.mark.parametrize(("split", "name"), [("train", "train"), ("val", "validation"), ("test", "test")])
def test_3dpw_is_split_by_folders(tmp_path, split, name):
    for other in ("train", "validation", "test"):
        table = pw_table()[1] | {"sequence": other}
        (tmp_path / "sequenceFiles" / other).mkdir(parents=True)
        (tmp_path / "sequenceFiles" / other / f"{other}_00.pkl").write_bytes(pickle.dumps(table, protocol=2))
    (film,) = threedpw_joints(tmp_path, split)
    assert film.name == f"{name}_00"


@pytest.mark.parametrize(
    "change",
    [
        {"cam_poses": np.zeros((3, 4, 4))},
        {"cam_intrinsics": np.zeros((3, 3))},
        {"jointPositions": []},
        {"jointPositions": [np.zeros((4, 71))]},
        {"campose_valid": [np.ones(2)]},
        {"cam_poses": Foreign()},
    ],
)
def test_3dpw_damaged(tmp_path, change, capsys):
    pw_file(tmp_path, pw_table()[1] | change)
    with pytest.raises(FormatError):
        list(threedpw_joints(tmp_path))
    assert capsys.readouterr().out == ""


# CMU Panoptic


def panoptic_folder(folder, frames=25, name="160906_pizza1"):
    place = folder / name
    (place / "hdPose3d_stage1_coco19").mkdir(parents=True)
    cameras = [
        {
            "name": name, "resolution": [1920, 1080], "K": c.intrinsics.tolist(), "distCoef": [0.0] * 5, "R": c.R_cam_world.tolist(),
            "t": (100 * c.t_cam_world[:, None]).tolist(),
        }
        for name, c in zip(("00_03", "00_06", "00_12", "00_13", "00_23"), room(5), strict=True)
    ]  # fmt: skip
    (place / f"calibration_{name}.json").write_text(json.dumps({"cameras": cameras}))
    truth = RNG.normal(0, 0.4, (frames, 2, 19, 3))
    for f in range(frames):
        bodies = []
        for person in range(2) if f != 12 else (1,):
            joints = np.concatenate([100 * truth[f, person], np.full((19, 1), 0.9)], 1)
            joints[5, 3] = 0.05
            bodies.append({"id": person + 4, "joints19": joints.ravel().tolist()})
        path = place / "hdPose3d_stage1_coco19" / f"body3DScene_{f:08d}.json"
        path.write_text(json.dumps({"version": 0.7, "univTime": 0, "bodies": bodies}))
    return truth


def test_panoptic_by_voxelposes_protocol(tmp_path):
    truth = panoptic_folder(tmp_path)
    (film,) = panoptic(tmp_path)
    assert film.frames.tolist() == [0, 12, 24] and film.points.shape == (3, 2, 15, 3) and film.action == "pizza"
    assert [camera.name for camera in film.cameras] == ["00_03", "00_06", "00_12", "00_13", "00_23"]
    np.testing.assert_allclose(film.points[0, 1, :5], truth[0, 1, :5], atol=1e-9)
    assert np.isnan(film.points[:, :, 5]).all() and np.isnan(film.points[1, 0]).all() and np.isfinite(film.points[1, 1, 2]).all()
    np.testing.assert_allclose(film.seen(0)[2, 1, 3], project(room(5)[0], truth[24, 1, 3]), atol=1e-6)
    assert next(iter(panoptic(tmp_path, joints=19, step=5))).points.shape == (5, 2, 19, 3)


def test_panoptic_is_split_by_sequences(tmp_path):
    for name in ("160906_pizza1", "160906_band4", "160906_band2", "170407_office2"):
        panoptic_folder(tmp_path, 7, name)
    assert sorted(film.name for film in panoptic(tmp_path)) == ["160906_band4", "160906_pizza1"]
    (film,) = panoptic(tmp_path, "train")
    assert film.name == "160906_band2" and film.frames.tolist() == [0, 3, 6]


@pytest.mark.parametrize("text", ["[]", '{"bodies": [{"id": 1, "joints19": [1, 2]}]}', '{"bodies": [{"id": 1}]}', "{"])
def test_panoptic_damaged(tmp_path, text):
    panoptic_folder(tmp_path, 1)
    (tmp_path / "160906_pizza1" / "hdPose3d_stage1_coco19" / "body3DScene_00000000.json").write_text(text)
    with pytest.raises(FormatError):
        list(panoptic(tmp_path))
    with pytest.raises(FormatError, match="expected there"):
        panoptic(tmp_path, "train")


# Shelf and Campus


def test_shelf_and_campus_frames_that_count(tmp_path):
    truth = RNG.normal(0, 0.4, (610, 2, 14, 3)) + [0, 0, 1]
    truth[305, 0] = np.nan
    write_shelf(tmp_path, truth, RING)
    (film,) = shelf(tmp_path)
    assert film.frames[[0, -1]].tolist() == [300, 600] and film.points.shape == (301, 2, 14, 3) and film.counts.all()
    assert np.isnan(film.points[5, 0]).all()
    np.testing.assert_allclose(film.points[5, 1], truth[305, 1])
    np.testing.assert_allclose(film.seen(2)[0], project(RING[2], truth[300]), atol=1e-6)
    write_shelf(tmp_path, truth, RING, "campus")
    (film,) = campus(tmp_path, "all")
    assert len(film.points) == 610 and film.counts.sum() == 121
    write_shelf(tmp_path, np.concatenate([truth, truth[:200]]), RING, "campus")
    (film,) = campus(tmp_path)
    assert film.frames.tolist() == [*range(350, 471), *range(650, 751)]
    (tmp_path / "calibration_campus.json").write_text('{"0": {"R": 1}}')
    with pytest.raises(FormatError):
        list(campus(tmp_path))
    with pytest.raises(FormatError):
        shelf_campus.read_cameras(tmp_path / "none.json")


# EgoHumans


def ego_folder(folder, frames=3):
    from scipy.spatial.transform import Rotation

    place = folder / "01_tagging" / "001_tagging"
    poses, work = place / "processed_data" / "poses3d", place / "colmap" / "workplace"
    poses.mkdir(parents=True)
    work.mkdir(parents=True)
    lenses, images = ["# cameras"], ["# images"]
    for n, camera in enumerate(RING, 1):
        k = camera.intrinsics
        x, y, z, w = Rotation.from_matrix(camera.R_cam_world).as_quat()
        lenses.append(f"{n} OPENCV_FISHEYE 1920 1080 {k[0, 0]} {k[1, 1]} {k[0, 2] + 0.5} {k[1, 2] + 0.5} 0 0 0 0")
        tx, ty, tz = camera.t_cam_world
        images += [f"{n} {w} {x} {y} {z} {tx} {ty} {tz} {n} cam{n:02d}/00001.jpg", "10.0 20.0 -1 4.0 5.0 6"]
    images += ["9 1 0 0 0 0 0 0 1 aria01/00001.jpg", ""]
    (work / "cameras.txt").write_text("\n".join(lenses))
    (work / "images.txt").write_text("\n".join(images))
    truth = walker(np.arange(frames) / 20)
    for f in range(frames):
        one = np.concatenate([truth[f], np.ones((17, 1))], 1)
        one[3, 3] = 0
        np.save(poses / f"{f + 1:05d}.npy", {"aria01": one} | ({"aria02": truth[f]} if f else {}), allow_pickle=True)
    return place, truth


def test_egohumans_exocentric_cameras(tmp_path):
    place, truth = ego_folder(tmp_path)
    (film,) = egohumans(tmp_path)
    assert film.name == "01_tagging/001_tagging" and film.action == "tagging" and film.points.shape == (3, 2, 17, 3)
    assert [camera.name for camera in film.cameras] == ["cam01", "cam02", "cam03", "cam04"] and film.cameras[0].fisheye
    np.testing.assert_allclose(film.points[1, 1], truth[1])
    assert np.isnan(film.points[:, 0, 3]).all() and np.isnan(film.points[0, 1]).all()
    np.testing.assert_allclose(film.cameras[1].centre_world, RING[1].centre_world, atol=1e-9)
    shift = np.diag([2.0, 2, 2, 1])
    (place / "colmap" / "workplace" / "colmap_from_aria_transforms.pkl").write_bytes(pickle.dumps({"aria01": shift, "aria02": np.eye(4)}))
    (film,) = egohumans(tmp_path)
    np.testing.assert_allclose(film.cameras[1].centre_world, RING[1].centre_world / 2, atol=1e-9)


@pytest.mark.parametrize("damage", [{"aria01": np.zeros((16, 4))}, {"aria01": Foreign()}, [1]])
def test_egohumans_damaged(tmp_path, damage, capsys):
    place, _ = ego_folder(tmp_path)
    np.save(place / "processed_data" / "poses3d" / "00001.npy", np.array(damage, object), allow_pickle=True)
    with pytest.raises(FormatError):
        list(egohumans(tmp_path))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("lens", ["1 RADIAL 10 10 1 1 1 1", "1 OPENCV 10", "1 PINHOLE 10 10 -5 5 5 5", "x"])
def test_colmaps_other_lenses_are_refused(tmp_path, lens):
    (tmp_path / "cameras.txt").write_text(lens)
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 cam01/00001.jpg\n\n")
    with pytest.raises(FormatError):
        read_colmap(tmp_path)
