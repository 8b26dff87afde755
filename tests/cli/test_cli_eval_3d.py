"""`vitruvian eval` on sets of people in space: ONNX lifters, takes and networks for meshes give the protocols' tables."""

import json

import numpy as np
import pytest

from many_views import room, walker
from mesh_network import people, write_network
from random_body import random_body
from vitruvian.body.bodyfile import save_body
from vitruvian.cli import main
from vitruvian.cli.evaluate_3d import SpaceOptions, evaluate_meshes, evaluate_space
from vitruvian.data.human36m import CAMERAS, JOINTS
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import project
from vitruvian.media.pictures import write_image
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take
from vitruvian.weights import Card

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
RING = room(4)


def flat_lifter(path):
    """A lifter that knows nothing of depth: its points are the keypoints, at depth 0."""
    from onnx import TensorProto, helper, numpy_helper, save

    nodes = [helper.make_node("Pad", ["keypoints", "pads"], ["points"])]
    ports = (("keypoints", ["b", 17, 2]), ("points", ["b", 17, 3]))
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports]
    graph = helper.make_graph(nodes, "flat", infos[:1], infos[1:], [numpy_helper.from_array(np.int64([0, 0, 0, 0, 0, 1]), "pads")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    Card(path.stem, "lift", str(path), skeleton="h36m-17", codec="lift-frame").save(path.with_suffix(".json"))
    return path


def human36m(folder, frames=4):
    rng = np.random.default_rng(0)
    points = {s: {a: np.float32(rng.normal(0, 0.2, (frames, 32, 3)) + [0, 1, 0]) for a in ("Walking", "Eating")} for s in ("S9", "S11")}
    np.savez(folder / "data_3d_h36m.npz", positions_3d=np.array(points, object))
    flat = {s: {a: [np.float32(project(c, p[:, JOINTS])) for c in RING] for a, p in table.items()} for s, table in points.items()}
    np.savez(folder / "data_2d_h36m_gt.npz", positions_2d=np.array(flat, object))
    intrinsics = {n: {"calibration_matrix": c.intrinsics.tolist(), "distortion": [0.0] * 5} for n, c in zip(CAMERAS, RING, strict=True)}
    places = {n: {"R": c.R_cam_world.tolist(), "t": (1000 * c.t_cam_world[:, None]).tolist()} for n, c in zip(CAMERAS, RING, strict=True)}
    (folder / "camera-parameters.json").write_text(json.dumps({"intrinsics": intrinsics, "extrinsics": {s: places for s in points}}))
    return folder


@pytest.mark.parametrize("keypoints", [None, "gt"])
def test_a_lifter_on_human36m(tmp_path, capsys, keypoints):
    lifter = flat_lifter(tmp_path / "flat.onnx")
    assert evaluate_space(str(lifter), human36m(tmp_path), "human36m", "", None, "cpu", SpaceOptions(keypoints=keypoints)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "16 tracks, 64 frames" in lines[0] and "17 of 17 joints" in lines[1] and ("of gt" if keypoints else "true 2D") in lines[1]
    assert [line.split()[0] for line in lines[3:]] == ["Walking", "Eating", "mean"] and "PA-MPJPE mm" in lines[2]
    figures = [float(word) for word in lines[5].split()[1:]]
    assert 100 < figures[0] < 500 and figures[-1] == 100


def ego(folder, frames=3):
    """EgoHumans, one walker, undistorted cameras."""
    from scipy.spatial.transform import Rotation

    place = folder / "01_tagging" / "001_tagging"
    poses, work = place / "processed_data" / "poses3d", place / "colmap" / "workplace"
    poses.mkdir(parents=True)
    work.mkdir(parents=True)
    lenses, images = [], []
    for n, camera in enumerate(RING, 1):
        k, (x, y, z, w) = camera.intrinsics, Rotation.from_matrix(camera.R_cam_world).as_quat()
        lenses.append(f"{n} PINHOLE 1920 1080 {k[0, 0]} {k[1, 1]} {k[0, 2] + 0.5} {k[1, 2] + 0.5}")
        tx, ty, tz = camera.t_cam_world
        images += [f"{n} {w} {x} {y} {z} {tx} {ty} {tz} {n} cam{n:02d}/00001.jpg", "10.0 20.0 -1"]
    (work / "cameras.txt").write_text("\n".join(lenses))
    (work / "images.txt").write_text("\n".join(images))
    truth = walker(np.arange(frames) / 20)
    for f in range(frames):
        np.save(poses / f"{f:05d}.npy", {"aria01": truth[f]}, allow_pickle=True)
    return truth


def test_a_folder_of_takes(tmp_path, capsys):
    truth = ego(tmp_path / "set")
    n = len(truth)
    people_of = People(np.arange(n), np.zeros(n), np.zeros((n, 4)), np.ones(n), np.full((n, 17, 2), np.nan), np.ones((n, 17)), truth)
    (tmp_path / "takes/01_tagging/001_tagging").mkdir(parents=True)
    Take(people_of, COCO_17, np.arange(n) / 20, np.zeros((n, 2)), space="world").save(tmp_path / "takes/01_tagging/001_tagging/take.npz")
    assert evaluate_space(str(tmp_path / "takes"), tmp_path / "set", "egohumans", "", None, "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 film, 3 frames" in lines[0] and lines[-1].split()[:2] == ["all", "100"]
    # The same set judges a lifter, whose joints COCO's points are made into.
    assert evaluate_space(str(flat_lifter(tmp_path / "flat.onnx")), tmp_path / "set", "egohumans", "", None, "cpu") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("mean")


def bedlam(root):
    truth = people(2)
    (root / "validation_images/scene/png").mkdir(parents=True)
    write_image(root / "validation_images/scene/png/a.png", np.zeros((48, 64, 3), np.uint8))
    n = 2
    pose = np.zeros((n, 165))
    pose[:, 0] = np.pi
    arrays = {
        "imgname": np.array(["a.png"] * n), "pose_cam": pose, "shape": np.zeros((n, 10)), "trans_cam": truth[1] + [0, 0.7, 0],
        "cam_ext": np.tile(np.eye(4), (n, 1, 1)), "cam_int": np.tile([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]], (n, 1, 1)),
        "gender": np.array(["neutral"] * n),
    }  # fmt: skip
    (root / "all_npz_12_validation").mkdir()
    np.savez(root / "all_npz_12_validation/scene.npz", **arrays)
    return root


def test_a_network_for_meshes_of_another_body_on_bedlam(tmp_path, capsys):
    network = write_network(tmp_path / "two.onnx", people(2))
    save_body(random_body("smplx"), tmp_path / "smplx.npz")
    options = SpaceOptions(body=[str(tmp_path / "smplx.npz")])
    assert evaluate_meshes(str(network), bedlam(tmp_path), "bedlam", "", None, "cpu", options) == 0
    out = capsys.readouterr().out
    assert "1 picture, 2 people" in out and "joints only" in out
    rows = dict(line.rsplit(maxsplit=1) for line in out.splitlines()[3:])
    assert rows["false positives"] == rows["missed"] == "0" and rows["F1 %"] == "100" and rows["NMVE mm"] == "-"


def test_the_command_tells_sets_apart(tmp_path, capsys):
    human36m(tmp_path)
    lifter = flat_lifter(tmp_path / "flat.onnx")
    command = ["eval", str(lifter), "--data", str(tmp_path), "--dataset"]
    assert main([*command, "human36m", "--keypoints", "gt", "--device", "cpu"]) == 0
    assert "2D points of gt" in capsys.readouterr().out
    assert main([*command, "human36m", "--boxes", "boxes.json"]) == 2 and "--boxes" in capsys.readouterr().err
    assert main([*command, "ehf", "--body", str(tmp_path / "none.npz")]) == 2 and "no body model" in capsys.readouterr().err
    assert main([*command, "shelf"]) == 2 and "expected there" in capsys.readouterr().err


def test_what_does_not_go_together_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    human36m(tmp_path)
    with pytest.raises(VitruvianError, match="for lifters"):
        evaluate_space("take.npz", tmp_path, "human36m", "", None, "cpu")
    with pytest.raises(FormatError, match="expected there"):
        evaluate_space("lift-s", tmp_path / "nowhere", "shelf", "", None, "cpu")
    with pytest.raises(FormatError, match="body import"):
        evaluate_meshes("two.onnx", tmp_path, "bedlam", "", None, "cpu")
