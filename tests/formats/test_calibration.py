"""Calibration files of every dialect: known cameras are written as each program writes them, and read back; damaged ones are refused."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.calibration import read_calibration, write_calibration
from vitruvian.geometry.camera import Camera, normalise, up_axis
from vitruvian.geometry.triangulate import triangulate

K = np.array([[1500.25, 0, 961.5], [0, 1490.5, 538.25], [0, 0, 1]])
LENS = (-0.21, 0.11, 0.001, -0.002, 0.03)
SHARED = Path(__file__).parents[3] / "shared" / "data" / "video"


def rig() -> list[Camera]:
    turns = Rotation.from_rotvec([[0.3, -0.2, 0.1], [1.2, 1.1, -1.3]]).as_matrix()
    shifts = ([0.5, -1.25, 4.0], [-2, 1.5, 6])
    return [Camera(K, r, t, LENS, (1920, 1080), name) for r, t, name in zip(turns, shifts, ("left", "right"), strict=True)]


def same(found: Camera, truth: Camera, size: bool = True, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(found.intrinsics, truth.intrinsics, atol=1e-6)
    np.testing.assert_allclose(found.T_cam_world, truth.T_cam_world, atol=atol)
    np.testing.assert_allclose(np.resize(found.distortion, 5), truth.distortion, atol=1e-12)
    assert found.size == (truth.size if size else (0, 0))


def check(path, cameras=None, size: bool = True, atol: float = 1e-9, names: bool = True, **options) -> None:
    cameras = rig() if cameras is None else cameras
    found = read_calibration(path, **options)
    assert len(found) == len(cameras)
    for one, truth in zip(found, cameras, strict=True):
        same(one, truth, size, atol)
        assert not names or one.name == truth.name


def test_toml_is_written_and_read(tmp_path):
    write_calibration(rig(), tmp_path / "Calib.toml")
    check(tmp_path / "Calib.toml", atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=12).filter(lambda name: name not in ("metadata",) and name.isprintable()), st.floats(-9, 9))
def test_toml_keeps_any_name_and_number(tmp_path_factory, name, x):
    path = tmp_path_factory.mktemp("toml") / "c.toml"
    camera = Camera(K, t_cam_world=[x, 0, 1 / 3], distortion=(0.1, 0, 0, 1e-9), size=(640, 480), name=name)
    write_calibration([camera], path)
    found = read_calibration(path)[0]
    assert found.name == name and found.t_cam_world.tolist() == [x, 0, 1 / 3] and found.distortion.tolist() == [0.1, 0, 0, 1e-9]


def test_a_fisheye_survives(tmp_path):
    camera = Camera(K, distortion=(0.05, -0.01, 0.002, 0.0), size=(640, 480), name="wide", fisheye=True)
    write_calibration([camera], tmp_path / "c.toml")
    assert read_calibration(tmp_path / "c.toml")[0].fisheye


def qualisys(cameras) -> str:
    rows = []
    for camera in cameras:
        turn, place = np.diag([1, -1, -1]) @ camera.R_cam_world, camera.centre_world * 1000
        k = (camera.intrinsics + [[0, 0, 3], [0, 0, 5], [0, 0, 0]]) * 64
        cells = (
            " ".join(f'r{i + 1}{j + 1}="{turn[i, j]!r}"' for i in range(3) for j in range(3)).replace("np.float64(", "").replace(")", "")
        )
        k1, k2, p1, p2, k3 = camera.distortion
        rows.append(
            f'<camera active="1" serial="{camera.name}" viewrotation="0"><fov_marker left="0" top="0" right="5" bottom="5"/>'
            f'<fov_video left="3" top="5" right="{camera.size[0] + 2}" bottom="{camera.size[1] + 4}"/>'
            f'<transform x="{place[0]}" y="{place[1]}" z="{place[2]}" {cells}/>'
            f'<intrinsic focalLengthU="{k[0, 0]}" focalLengthV="{k[1, 1]}" centerPointU="{k[0, 2]}" centerPointV="{k[1, 2]}" skew="0" '
            f'radialDistortion1="{k1}" radialDistortion2="{k2}" radialDistortion3="{k3}" '
            f'tangentalDistortion1="{p1}" tangentalDistortion2="{p2}"/></camera>'
        )
    return f"<?xml version='1.0' encoding='ASCII'?>\n<calibration type=\"regular\"><cameras>{''.join(rows)}</cameras></calibration>"


def test_qualisys(tmp_path):
    (tmp_path / "rig.qca.txt").write_text(qualisys(rig()))
    check(tmp_path / "rig.qca.txt")
    (tmp_path / "off.qca.txt").write_text(qualisys(rig()).replace('active="1"', 'active="0"', 1))
    assert [camera.name for camera in read_calibration(tmp_path / "off.qca.txt")] == ["right"]
    (tmp_path / "turned.qca.txt").write_text(qualisys(rig()).replace('viewrotation="0"', 'viewrotation="90"'))
    with pytest.raises(FormatError, match="rotated"):
        read_calibration(tmp_path / "turned.qca.txt")


@pytest.mark.shared
def test_the_real_qualisys_file_has_cameras_that_look_at_one_place():
    path = SHARED / "pose2sim-single" / "Calib.qca.txt"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    cameras = read_calibration(path)
    assert [camera.name for camera in cameras] == ["cam01", "cam02", "cam03", "cam04"] and up_axis(cameras) == "z"
    middles = np.array([[[544.0, 960.0]]] * 4)[:, 0]
    found = triangulate(cameras, middles, threshold=None)
    assert found.error < 60 and 0.3 < found.points[2] < 1.2  # all look at the man, half a metre or so over the floor
    assert all(np.isfinite(normalise(camera, middle)).all() for camera, middle in zip(cameras, middles, strict=True))


@pytest.mark.shared
def test_the_real_toml_of_sports2d():
    path = SHARED / "sports2d" / "Calib_demo.toml"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    (camera,) = read_calibration(path)
    assert camera.size == (1768, 994) and up_axis([camera]) == "z" and camera.centre_world[0] == pytest.approx(10, abs=0.1)


def test_panoptic(tmp_path):
    cameras = [
        {
            "name": camera.name,
            "type": "hd",
            "resolution": list(camera.size),
            "K": camera.intrinsics.tolist(),
            "distCoef": camera.distortion.tolist(),
            "R": camera.R_cam_world.tolist(),
            "t": (100 * camera.t_cam_world)[:, None].tolist(),
        }
        for camera in rig()
    ]
    (tmp_path / "calibration_160906.json").write_text(json.dumps({"calibDataSource": "160906", "cameras": cameras}))
    check(tmp_path / "calibration_160906.json")


def test_human36m_json_has_a_place_per_subject(tmp_path):
    lens = {c.name: {"calibration_matrix": c.intrinsics.tolist(), "distortion": c.distortion.tolist()} for c in rig()}
    place = {c.name: {"R": c.R_cam_world.tolist(), "t": (1000 * c.t_cam_world)[:, None].tolist()} for c in rig()}
    other = {name: {**entry, "t": [[0], [0], [0]]} for name, entry in place.items()}
    (tmp_path / "c.json").write_text(json.dumps({"intrinsics": lens, "extrinsics": {"S1": other, "S9": place}}))
    check(tmp_path / "c.json", size=False, subject=9)
    assert not read_calibration(tmp_path / "c.json")[0].t_cam_world.any()
    with pytest.raises(FormatError, match="S5"):
        read_calibration(tmp_path / "c.json", subject=5)
    name = rig()[0].name
    known = {"intrinsics": {"54138969": lens[name]}, "extrinsics": {"S1": {"54138969": place[name]}}}
    (tmp_path / "c.json").write_text(json.dumps(known))
    assert read_calibration(tmp_path / "c.json")[0].size == (1000, 1002)  # the data set's own cameras, whose files don't say


def test_human36m_metadata(tmp_path):
    w0 = np.zeros(300)
    angles, place = [0.2, -0.3, 0.5], np.array([1000.0, 2000, 1500])
    for n in range(4):
        w0[6 * (11 * n + 8) :][:6] = [*angles, *(place + n)]
        w0[264 + 9 * n :][:9] = [1145, 1143, 512, 515, -0.2, 0.24, -0.002, -0.001, -0.003]
    (tmp_path / "metadata.xml").write_text(f"<metadata><w0>[{' '.join(map(str, w0))}]</w0></metadata>")
    cameras = read_calibration(tmp_path / "metadata.xml", subject=9)
    assert len(cameras) == 4 and cameras[0].distortion.tolist() == [-0.2, 0.24, -0.001, -0.003, -0.002]
    np.testing.assert_allclose(cameras[3].centre_world, (place + 3) / 1000)
    x, y, z = (Rotation.from_euler(axis, angle).as_matrix() for axis, angle in zip("xyz", angles, strict=True))
    np.testing.assert_allclose(cameras[0].R_cam_world, x @ y @ z)


@pytest.mark.parametrize("suffix", ["yml", "xml"])
@pytest.mark.parametrize("vector", [True, False])
def test_opencv_writes_one_camera_per_file(tmp_path, suffix, vector):
    import cv2

    for camera in rig():
        storage = cv2.FileStorage(str(tmp_path / f"{camera.name}.{suffix}"), cv2.FILE_STORAGE_WRITE)
        storage.write("calibration_time", "today: 12:00")
        storage.write("image_width", camera.size[0])
        storage.write("image_height", camera.size[1])
        storage.write("camera_matrix", np.array(camera.intrinsics))
        storage.write("distortion_coefficients", np.array(camera.distortion)[:, None])
        storage.write("rvec" if vector else "R", cv2.Rodrigues(np.array(camera.R_cam_world))[0] if vector else np.array(camera.R_cam_world))
        storage.write("T", np.array(camera.t_cam_world))
        storage.write("image_points", np.zeros((30, 5)))
        storage.release()
    check(tmp_path)
    check([tmp_path / f"left.{suffix}"], rig()[:1])


def test_opencv_stereo_and_many_cameras(tmp_path):
    import cv2

    left, right = rig()
    storage = cv2.FileStorage(str(tmp_path / "stereo.yml"), cv2.FILE_STORAGE_WRITE)
    for name, value in (("M1", K), ("D1", LENS), ("M2", K), ("D2", LENS), ("R", right.R_cam_world), ("T", right.t_cam_world)):
        storage.write(name, np.array(value))
    storage.release()
    first = Camera(K, distortion=LENS)
    check(tmp_path / "stereo.yml", [first, right], size=False, names=False)
    many = tmp_path / "many"
    many.mkdir()
    for file, entries in (("intri", ("K", "dist")), ("extri", ("R", "Rot", "T"))):
        storage = cv2.FileStorage(str(many / f"{file}.yml"), cv2.FILE_STORAGE_WRITE)
        for camera in rig():
            values = {"K": K, "dist": LENS, "T": camera.t_cam_world, "Rot": camera.R_cam_world, "R": cv2.Rodrigues(camera.R_cam_world)[0]}
            for entry in entries:
                storage.write(f"{entry}_{camera.name}", np.array(values[entry]))
        storage.release()
    check(many, size=False)


def test_opencap_pickles_are_named_after_their_folder(tmp_path):
    for camera in rig():
        values = {
            "intrinsicMat": np.array(camera.intrinsics),
            "distortion": np.array(camera.distortion)[None],
            "rotation": np.array(camera.R_cam_world),
            "translation": 1000 * np.array(camera.t_cam_world)[:, None],
            "imageSize": np.array([[1080.0], [1920.0]]),
            "rotation_EulerAngles": np.zeros((3, 1)),
        }
        (tmp_path / camera.name).mkdir()
        (tmp_path / camera.name / "cameraIntrinsicsExtrinsics.pickle").write_bytes(pickle.dumps(values))
    check(tmp_path)


def test_a_pickle_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    (tmp_path / "c.pickle").write_bytes(pickle.dumps({"intrinsicMat": Evil()}))
    with pytest.raises(FormatError):
        read_calibration(tmp_path / "c.pickle")
    assert not (tmp_path / "made").exists()


def test_millimetres_are_told_by_their_size(tmp_path):
    text = (
        "[cam]\nname='cam'\nsize=[10,10]\nmatrix=[[9,0,5],[0,9,5],[0,0,1]]\ndistortions=[0,0,0,0]\nrotation=[0,0,0]\ntranslation=[0,0,{}]\n"
    )
    for shift, expected in ((3.5, 3.5), (3500, 3.5)):
        (tmp_path / "c.toml").write_text(text.format(shift))
        assert read_calibration(tmp_path / "c.toml")[0].t_cam_world[2] == expected
    assert read_calibration(tmp_path / "c.toml", metres_per_unit=0.01)[0].t_cam_world[2] == 35
    with pytest.raises(FormatError):
        read_calibration(tmp_path / "c.toml", metres_per_unit=-1)


GOOD_TOML = "[c]\nmatrix=[[9,0,5],[0,9,5],[0,0,1]]\ndistortions=[0,0,0,0]\nrotation=[0,0,0]\ntranslation=[0,0,0]\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.toml", ""),
        ("c.toml", "[c"),
        ("c.toml", "a = 1"),
        ("c.toml", GOOD_TOML.replace("[0,9,5]", "['x',9,5]")),
        ("c.toml", GOOD_TOML.replace("[0,9,5]", "[nan,9,5]")),
        ("c.toml", GOOD_TOML.replace("translation=[0,0,0]", "translation=[1e300,0,0]")),
        ("c.toml", GOOD_TOML.replace("translation=[0,0,0]", "translation=[0,0]")),
        ("c.toml", GOOD_TOML.replace("rotation=[0,0,0]", "rotation=[[1,0,0],[0,1,0],[0,0,-1]]")),
        ("c.toml", GOOD_TOML.replace("distortions=[0,0,0,0]", "distortions=[0,0,0,0,0,0,0,0,1,0,0,0]")),
        ("c.toml", GOOD_TOML + "size=[-1,2]"),
        ("c.toml", GOOD_TOML + "[d]\nname='c'\n" + GOOD_TOML[4:]),
        ("c.toml", "a = " + "[" * 5000),
        ("c.json", "{}"),
        ("c.json", "[" * 100_000),
        ("c.json", '{"cameras": [1]}'),
        ("c.json", '{"cameras": []}'),
        ("c.json", '{"intrinsics": {"a": {}}, "extrinsics": {"S1": {"a": {}}}}'),
        ("c.json", '{"intrinsics": {"a": {}}, "extrinsics": {}}'),
        ("c.txt", "hello"),
        ("c.xml", "<a/>"),
        ("c.xml", "<a"),
        ("c.xml", "<calibration/>"),
        ("c.xml", '<!DOCTYPE x [<!ENTITY a "b">]><calibration/>'),
        ("c.xml", "<metadata><w0>[1 2 3]</w0></metadata>"),
        ("c.xml", "<opencv_storage><K type_id='opencv-matrix'><rows>3</rows><cols>3</cols><data>1</data></K></opencv_storage>"),
        ("c.xml", "<opencv_storage><a type_id='opencv-matrix'><rows>nan</rows><cols>3</cols><data>1</data></a></opencv_storage>"),
        ("c.yml", "%YAML:1.0\n---\nK: !!opencv-matrix\n   rows: 2\n   cols: 2\n   dt: d\n   data: [1., 2., 3., 4.]\n"),
        ("c.yml", "%YAML:1.0\n"),
        ("c.pickle", "not a pickle"),
        ("c.qca.txt", "<calibration><cameras><camera serial='a'/></cameras></calibration>"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FormatError):
            read_calibration(tmp_path / name)


def test_a_size_of_height_and_width_is_turned(tmp_path):
    tall = Camera([[1500, 0, 541], [0, 1500, 955], [0, 0, 1]], size=(1080, 1920), name="tall")
    write_calibration([tall], tmp_path / "c.toml")
    text = (tmp_path / "c.toml").read_text()
    (tmp_path / "c.toml").write_text(text.replace("[1080, 1920]", "[1920, 1080]"))
    assert read_calibration(tmp_path / "c.toml")[0].size == (1080, 1920)


def test_a_folder_may_hold_other_files(tmp_path):
    write_calibration(rig(), tmp_path / "Calib.toml")
    (tmp_path / "readme.txt").write_text("Filmed on a Tuesday.")
    check(tmp_path)
    (tmp_path / "Calib.toml").unlink()
    with pytest.raises(FormatError, match="readme"):
        read_calibration(tmp_path)


def test_missing_files_and_empty_folders(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.toml", []):
        with pytest.raises(FormatError):
            read_calibration(path)
    with pytest.raises(FormatError):
        write_calibration([rig()[0], rig()[0]], tmp_path / "twice.toml")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["toml", "qca.txt", "yml", "json"]))
def test_mutated_files_are_read_or_refused(tmp_path_factory, seed, kind):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("mutated")
    path = folder / f"c.{kind}"
    if kind == "toml":
        write_calibration(rig(), path)
    elif kind == "qca.txt":
        path.write_text(qualisys(rig()))
    elif kind == "yml":
        cells = ", ".join(map(str, K.ravel()))
        path.write_text(f"%YAML:1.0\n---\nK: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ {cells} ]\n")
    else:
        cameras = [{"name": "a", "K": K.tolist(), "distCoef": LENS, "R": np.eye(3).tolist(), "t": [[0], [0], [0]]}]
        path.write_text(json.dumps({"cameras": cameras}))
    data = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 6)):
        data[rng.integers(len(data))] = rng.integers(256)
    path.write_bytes(bytes(data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data))
    try:
        cameras = read_calibration(path)
    except VitruvianError:
        return
    assert cameras and all(np.isfinite(c.intrinsics).all() and np.isfinite(c.T_cam_world).all() and min(c.size) >= 0 for c in cameras)
