"""Official files by their names, converted once to safe files in the user's home; and those files against damage."""

import io
import json
import logging
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from published_bodies import entries, flame_landmarks, write_hack, write_npz, write_pickle
from vitruvian.body.bodyfile import read_body_file, save_body
from vitruvian.body.library import find_bodies, folder, import_bodies, list_bodies, load_body, model_name, read_body
from vitruvian.body.published import from_arrays
from vitruvian.errors import FormatError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRUVIAN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("smpl/SMPL_NEUTRAL.pkl", "smpl-neutral"),
        ("basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "smpl-neutral-1.0.0"),
        ("basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "smpl-male-1.1.0"),
        ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "smpl-female-1.0.0"),
        ("smplh/SMPLH_FEMALE.npz", "smplh-female"),
        ("smplh/male/model.npz", "smplh-male"),
        ("smplx/SMPLX_NEUTRAL.npz", "smplx-neutral"),
        ("smplx/SMPLX_NEUTRAL_2020.npz", "smplx-neutral-2020"),
        ("models_lockedhead/smplx/SMPLX_MALE.npz", "smplx-male-lockedhead"),
        ("mano/MANO_LEFT.pkl", "mano-left"),
        ("FLAME_NEUTRAL.pkl", "flame-neutral"),
        ("FLAME2020/generic_model.pkl", "flame-neutral"),
        ("flame2023.pkl", "flame-neutral-23"),
        ("female_model.pkl", "flame-female"),
        ("flame_static_embedding.pkl", None),
        ("other/model.npz", None),
        ("weights.pkl", None),
        ("README.txt", None),
    ],
)
def test_official_names(tmp_path, path, name):
    assert model_name(tmp_path / path) == name


def official_folder(root):
    """One of everything, in its official layout."""
    write_pickle(root / "smpl" / "basicModel_f_lbs_10_207_0_v1.0.0.pkl", entries("smpl"), 0)
    write_npz(root / "smpl" / "SMPL_MALE.npz", entries("smpl", shapes=300))
    write_npz(root / "smplh" / "male" / "model.npz", {k: v for k, v in entries("smplh").items() if not k.startswith("hands")})
    write_npz(root / "smplx" / "SMPLX_NEUTRAL.npz", entries("smplx", shapes=400) | {"allow_pickle": np.array({"a": 1}, object)})
    write_pickle(root / "smplx" / "SMPLX_FEMALE.pkl", entries("smplx"), chumpy=False)
    right = entries("mano")
    write_pickle(root / "mano" / "MANO_RIGHT.pkl", right)
    write_pickle(root / "mano" / "MANO_LEFT.pkl", right | {"v_template": right["v_template"] * [-1, 1, 1]})
    static, contour = flame_landmarks()
    write_pickle(root / "flame" / "FLAME_NEUTRAL.pkl", entries("flame"))
    write_pickle(root / "flame" / "flame_static_embedding.pkl", static, chumpy=False)
    np.save(root / "flame" / "flame_dynamic_embedding.npy", np.array(contour, object))
    write_hack(root / "HACK-Model" / "model")
    return root


def test_a_whole_folder_is_imported(tmp_path, home):
    seen = []
    done, refused = import_bodies(official_folder(tmp_path / "files"), lambda *progress: seen.append(progress))
    assert refused == []
    names = {model.name for model in done}
    assert names == {"smpl-female-1.0.0", "smpl-male", "smplh-male", "smplx-neutral", "smplx-female", "mano-right", "mano-left"} | {
        "flame-neutral",
        "hack",
    }
    assert all(model.path == home / "bodies" / f"{model.name}.npz" and model.licence for model in done)
    assert {header["name"] for header in list_bodies()} == names
    assert [progress[0] for progress in seen] == list(range(10)) and seen[-1][:2] == (9, 9)
    by_name = {name: load_body(name) for name in names}
    assert by_name["smpl-male"].num_shape == 300 and by_name["smplx-neutral"].num_expression == 100
    assert by_name["mano-left"].notes["fix_left_shape"] == "applied"
    assert set(by_name["smplh-male"].hands) == {"left_hand", "right_hand"}
    assert by_name["flame-neutral"].landmarks.contour_faces.shape == (79, 17)
    assert by_name["smplx-female"].landmarks is not None and by_name["hack"].larynx is not None


def test_a_malicious_file_is_left_out_and_the_others_are_not(tmp_path):
    root = tmp_path / "files"
    write_npz(root / "SMPLX_MALE.npz", entries("smplx"))
    (root / "SMPL_MALE.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (root / "SMPLX_FEMALE.npz").write_bytes(b"PK\x03\x04 not a zip")
    (root / "SMPL_FEMALE.pkl").write_bytes(b"")
    np.savez(root / "SMPLH_MALE.npz", v_template=np.array([{}], object))
    done, refused = import_bodies(root)
    assert [model.name for model in done] == ["smplx-male"]
    assert {problem.source.name for problem in refused} == {"SMPL_MALE.pkl", "SMPLX_FEMALE.npz", "SMPL_FEMALE.pkl", "SMPLH_MALE.npz"}
    assert any("os.system" in problem.reason for problem in refused)


def test_two_files_of_one_name_are_both_imported(tmp_path):
    for place in ("old", "new"):
        write_npz(tmp_path / "files" / place / "SMPLX_MALE.npz", entries("smplx"))
    assert [found.name for found in find_bodies(tmp_path / "files")] == ["smplx-male", "smplx-male-old"]


def test_nothing_found_and_no_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert import_bodies(tmp_path / "empty") == ([], [])
    with pytest.raises(FormatError, match="no folder"):
        import_bodies(tmp_path / "missing")
    assert list_bodies() == []


def test_the_ground_floor_reads_and_poses_without_torch():
    names = "library, pose, points, hack, anny, published, bodyfile, lbs"
    code = f"""
import sys
from vitruvian.body import {names}
heavy = sorted({{"torch", "scipy", "cv2", "onnxruntime", "anny"}} & set(sys.modules))
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_links_to_folders_are_not_followed(tmp_path):
    root = tmp_path / "files"
    write_npz(root / "SMPLX_MALE.npz", entries("smplx"))
    (root / "loop").symlink_to(root)
    assert len(find_bodies(root)) == 1


def test_options_reach_the_reading(tmp_path):
    path = write_npz(tmp_path / "SMPLX_NEUTRAL.npz", entries("smplx", shapes=400))
    np.save(tmp_path / "kid.npy", entries("smplx")["v_template"])
    model = read_body(path, num_shape=10, num_expression=5, kid_template=tmp_path / "kid.npy")
    assert (model.num_shape, model.num_expression, model.shape_names[-1]) == (11, 5, "kid")
    assert model.name == "smplx-neutral"


def test_hands_from_elsewhere(tmp_path):
    without = {k: v for k, v in entries("smplh").items() if not k.startswith("hands")}
    body = write_npz(tmp_path / "a" / "b" / "d" / "SMPLH_MALE.npz", without)
    left = write_pickle(tmp_path / "c" / "MANO_LEFT.pkl", entries("mano", seed=1))
    right = write_pickle(tmp_path / "c" / "MANO_RIGHT.pkl", entries("mano", seed=2))
    assert read_body(body).hands == {}
    assert set(read_body(body, hands=(left, right)).hands) == {"left_hand", "right_hand"}


@pytest.mark.parametrize("kind", ["smpl", "smplx", "mano", "flame"])
def test_a_body_file_holds_the_whole_model(tmp_path, kind):
    model = from_arrays(entries(kind), f"{kind}-test")
    save_body(model, tmp_path / "body.npz")
    back = load_body(tmp_path / "body.npz")
    pose = np.random.default_rng(0).normal(0, 0.5, (2, model.num_joints, 3)).astype(np.float32)
    np.testing.assert_array_equal(back.forward(pose).vertices, model.forward(pose).vertices)
    for name in ("name", "kind", "licence", "joint_names", "parents", "shape_names", "expression_names", "notes"):
        assert getattr(back, name) == getattr(model, name)
    assert set(back.hands) == set(model.hands) and (back.landmarks is None) == (model.landmarks is None)
    assert np.load(tmp_path / "body.npz", allow_pickle=False)["faces"].dtype == np.int32


def test_unknown_names_list_what_there_is(tmp_path):
    save_body(from_arrays(entries("mano"), "mano-right"), folder() / "mano-right.npz")
    assert load_body("mano-right").kind == "mano"
    assert load_body("compact").kind == "anny-compact"
    with pytest.raises(FormatError, match="mano-right.*body import"):
        load_body("smplx-neutral")
    for name in ("../mano-right", "no/such/file.npz", ""):
        with pytest.raises(FormatError):
            load_body(name)


def rewritten(source, target, change: dict, header: dict | None = None):
    """A body file with other arrays (None: left out) and header entries."""
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files} | change
    if header is not None:
        document = json.loads(arrays["header"].tobytes()) | header
        arrays["header"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(target, **{name: array for name, array in arrays.items() if array is not None})
    return target


@pytest.mark.parametrize(
    ("change", "header"),
    [
        ({"template": None}, None),
        ({"template": np.full((40, 3), np.nan, np.float32)}, None),
        ({"template": np.zeros((40, 3), complex)}, None),
        ({"template": np.array([{}], object)}, None),
        ({"weights": np.zeros((40, 54), np.float32)}, None),
        ({"faces": np.full((30, 3), 40, np.int32)}, None),
        ({"landmarks.faces": np.full(51, 30)}, None),
        ({"landmarks.contour_barycentric": np.zeros((79, 16, 3), np.float32)}, None),
        ({"landmarks.faces": None}, None),
        ({"left_hand.mean": np.zeros(44, np.float32)}, None),
        ({"uv_faces": np.full((30, 3), 50, np.int32)}, None),
        ({"uv": None}, None),
        ({"larynx.uv": np.zeros((40, 2), np.float32)}, None),
        ({"phenotypes.basis": np.zeros((3, 10), np.float32)}, None),
        ({"rest.reference": np.zeros((55, 3, 3), np.float32)}, None),
        ({"header": None}, None),
        ({"header": np.zeros(3, np.uint8)}, None),
        ({"header": np.frombuffer(b"[" * 100_000, np.uint8)}, None),
        ({}, {"format": "other"}),
        ({}, {"format_version": 99}),
        ({}, {"parents": [0] * 55}),
        ({}, {"parents": ["x"] * 55}),
        ({}, {"joint_names": ["a"]}),
        ({}, {"hands": ["third_hand"]}),
        ({}, {"yaw_joint": 99}),
        ({}, {"name": None}),
    ],
)
def test_damaged_body_files_are_refused(tmp_path, change, header):
    save_body(from_arrays(entries("smplx")), tmp_path / "good.npz")
    bad = rewritten(tmp_path / "good.npz", tmp_path / "bad.npz", change, header)
    with pytest.raises(FormatError, match="bad.npz"):
        read_body_file(bad)


def test_truncated_and_bombed_body_files_are_refused(tmp_path):
    save_body(from_arrays(entries("mano")), tmp_path / "good.npz")
    data = (tmp_path / "good.npz").read_bytes()
    for size in (0, 10, len(data) // 2, len(data) - 5):
        (tmp_path / "short.npz").write_bytes(data[:size])
        with pytest.raises(FormatError):
            read_body_file(tmp_path / "short.npz")
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    shutil.copy(tmp_path / "good.npz", tmp_path / "bomb.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "a") as archive:
        archive.writestr("bomb.npy", npy.getvalue())
    with pytest.raises(FormatError, match="more than the file holds"):
        read_body_file(tmp_path / "bomb.npz")


def test_a_damaged_file_does_not_hide_the_list(caplog):
    save_body(from_arrays(entries("mano"), "mano-right"), folder() / "mano-right.npz")
    (folder() / "broken.npz").write_bytes(b"nothing")
    with caplog.at_level(logging.WARNING):
        assert [header["name"] for header in list_bodies()] == ["mano-right"]
    assert "broken.npz" in caplog.text
