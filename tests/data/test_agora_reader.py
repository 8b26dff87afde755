"""AGORA's reader: a made-up crowd in the official layout, placed by Unreal's rules written out anew, is seen where it must be."""

import pickle
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from random_body import random_body
from vitruvian.data.agora import agora
from vitruvian.data.bodies import in_camera
from vitruvian.data.readers import read_bodies
from vitruvian.errors import FormatError, VitruvianError

RNG = np.random.default_rng(2)
HIPS = np.array([[0.0, -0.36, 0.0], [0.06, -0.45, 0.0], [-0.06, -0.45, 0.0]])  # a rest pose like the published models'
PLACED = {"flowers": (28, 0, None), "archviz_5_10_cam02": (18, 30, (-490, 170, 265, -45)), "hdri_50mm": (50, 0, (0, 0, 170, 0))}


def body(kind):
    model = random_body(kind)
    joints = np.concatenate([HIPS, model.joints[3:]])
    return replace(model, joints=joints, parents=(-1, 0, 0, *model.parents[3:]))


MODELS = {kind: {"neutral": body(kind)} for kind in ("smplx", "smpl")}


class DataFrame:
    """What pandas 1.2 and older write, in the names of pandas: see test_pickled_tables for real files."""

    __module__ = "pandas.core.frame"

    def __init__(self, columns):
        self.columns = columns

    def __getstate__(self):
        return {"_mgr": BlockManager(self.columns), "_typ": "dataframe", "_metadata": [], "attrs": {}}


class BlockManager:
    __module__ = "pandas.core.internals.managers"

    def __init__(self, columns):
        self.columns = columns

    def __getstate__(self):
        rows = len(next(iter(self.columns.values())))
        values = np.empty((len(self.columns), rows), object)
        for place, cells in enumerate(self.columns.values()):
            for row, cell in enumerate(cells):
                values[place, row] = cell
        names = np.array(list(self.columns), object)
        axes = [Index({"data": names, "name": None}), Index({"data": np.arange(rows), "name": None})]
        blocks = [{"values": values, "mgr_locs": slice(0, len(names), 1)}]
        return axes, [values], [axes[0]], {"0.14.1": {"axes": axes, "blocks": blocks}}


class Index:
    __module__ = "pandas.core.indexes.base"

    def __init__(self, fields):
        self.fields = fields

    def __reduce__(self):
        return _new_Index, (Index, self.fields)


def _new_Index(kind, fields):  # noqa: N802  (pandas' name)
    raise AssertionError("nothing of a pickle may be called")


_new_Index.__module__ = "pandas.core.indexes.base"


@pytest.fixture(autouse=True)
def pandas_names(monkeypatch):
    """The modules whose names the pickles need while they are written; new ones, where pandas is installed too."""
    modules = {}
    for thing in (DataFrame, BlockManager, Index, _new_Index):
        parts = thing.__module__.split(".")
        for name in (".".join(parts[:depth]) for depth in range(1, len(parts) + 1)):
            modules.setdefault(name, types.ModuleType(name))
        setattr(modules[thing.__module__], thing.__name__, thing)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def unreal_to_pixels(points, person, camera, focal, tilt, size=(3840, 2160)):
    """Points of a body in its own axes, metres: in the camera's axes, and in pixels. All in Unreal's centimetres on the way."""
    local = points[:, [0, 2, 1]] * 100  # a body's left is x, where it looks is y, up is z
    c, s = np.cos(np.radians(person[3])), np.sin(np.radians(person[3]))
    world = np.stack([c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1], local[:, 2]], 1) + person[:3]
    c, s = np.cos(np.radians(camera[3])), np.sin(np.radians(camera[3]))
    ct, st = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    ahead, right, up = np.array([c, s, 0]), np.array([-s, c, 0]), np.array([0, 0, 1.0])
    ahead, up = ct * ahead - st * up, ct * up + st * ahead
    seen = (world - camera[:3]) @ np.stack([right, -up, ahead]).T / 100
    return seen, seen[:, :2] / seen[:, 2:] * focal * size[0] / 36 + np.array(size) / 2


def write_fit(path, kind, kid=False, **other):
    n = 11 if kid else 10
    fit = {"betas": RNG.normal(0, 0.1, (1, n)), "transl": RNG.normal(0, 0.05, (1, 3)), "global_orient": RNG.normal(0, 0.2, (1, 3))}
    fit |= {"body_pose": RNG.normal(0, 0.2, (1, 63)), "expression": RNG.normal(0, 0.1, (1, 10))}
    fit |= {name: np.zeros((1, 3)) for name in ("jaw_pose", "leye_pose", "reye_pose")}
    fit |= {name: RNG.normal(0, 0.1, (1, 45)) for name in ("left_hand_pose", "right_hand_pose")}
    if kind == "smpl":
        fit = {"betas": fit["betas"], "translation": fit["transl"], "root_pose": fit["global_orient"][None]}
        fit["body_pose"] = RNG.normal(0, 0.2, (1, 23, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(fit | other))
    return fit | other


def posed(kind, fit):
    """Joints of a fit in its own axes."""
    model = MODELS[kind]["neutral"]
    if kind == "smpl":
        pose, trans = np.concatenate([fit["root_pose"].ravel(), fit["body_pose"].ravel()]), fit["translation"]
    else:
        names = ("global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose", "left_hand_pose", "right_hand_pose")
        pose, trans = np.concatenate([fit[name].ravel() for name in names]), fit["transl"]
        pose[75:] += np.concatenate([model.hands[name].mean for name in ("left_hand", "right_hand")])
    return model.forward(pose.reshape(1, -1, 3), fit["betas"][:, :10], fit.get("expression"), trans).joints[0]


def write_agora(
    root, scene="flowers", kind="smplx", kids=(False, False, True), valid=(True, True, True), twist=0.0, joints_scale=1.0, **other
):
    focal, tilt, known = PLACED[scene]
    camera = known or (100.0, -200.0, 150.0, 60.0)
    c, s = np.cos(np.radians(camera[3])), np.sin(np.radians(camera[3]))
    people, fits, truth, pixels = [], [], [], []
    for number, kid in enumerate(kids):
        ahead, aside = 500 + 60 * number, -80.0 + 70 * number
        people.append(
            (camera[0] + c * ahead - s * aside, camera[1] + s * ahead + c * aside, 100.0 if not tilt else 0.0, 40.0 - 110 * number)
        )
        name = f"{kind}_gt/scans/person{number}"
        fits.append(f"{name}.obj")
        fit = write_fit(root / f"{name}.pkl", kind, kid)
        seen, _ = unreal_to_pixels(posed(kind, fit), people[-1], camera, focal, tilt)
        shown = unreal_to_pixels(posed(kind, fit), (*people[-1][:3], people[-1][3] + twist), camera, focal, tilt)[1]
        truth.append(seen)
        pixels.append(shown * joints_scale)
    x, y, z, yaw = (list(column) for column in zip(*people, strict=True))
    row = {
        "imgPath": f"ag_validationset_x_{scene}_00000.png", "X": x, "Y": y, "Z": z, "Yaw": yaw, "gender": ["male"] * len(kids),
        "kid": list(kids), "isValid": list(valid), "occlusion": [0.0, 50.0, 10.0], f"gt_path_{kind}": fits, "gt_joints_2d": pixels,
        "camX": camera[0], "camY": camera[1], "camZ": camera[2], "camYaw": camera[3],
    } | other  # fmt: skip
    place = root / kind.upper()
    place.mkdir(exist_ok=True)
    (place / "validation_0_withjv.pkl").write_bytes(
        pickle.dumps(DataFrame({name: [cell] for name, cell in row.items() if cell is not None}))
    )
    return np.stack(truth), np.stack(pixels)


@pytest.mark.parametrize("scene", PLACED)
@pytest.mark.parametrize("kind", ["smplx", "smpl"])
def test_people_stand_where_unreal_puts_them(tmp_path, scene, kind):
    truth, pixels = write_agora(tmp_path, scene, kind)
    (picture,) = agora(tmp_path, model=kind, size=(3840, 2160), kids=True)
    _, joints = in_camera(picture.people, MODELS[kind])
    assert np.allclose(joints, truth, atol=1e-4)
    seen = joints @ picture.camera.T
    assert np.allclose(seen[..., :2] / seen[..., 2:], pixels, atol=0.05) and np.allclose(picture.people.keypoints[..., :2], pixels)


def test_the_small_pictures_have_a_camera_and_joints_of_their_own(tmp_path):
    _, pixels = write_agora(tmp_path)
    image = tmp_path / "validation_images_1280x720" / "validation" / "ag_validationset_x_flowers_00000_1280x720.png"
    image.parent.mkdir(parents=True)
    image.touch()
    (picture,) = agora(tmp_path)
    assert picture.file == image and picture.size == (1280, 720) and picture.camera[0, 2] == 640
    assert np.allclose(picture.people.keypoints[..., :2], pixels[:2] / 3)


def test_joints_in_pixels_of_small_pictures_are_told_by_where_they_lie(tmp_path):
    _, pixels = write_agora(tmp_path, joints_scale=1 / 3)
    (picture,) = agora(tmp_path, size=(3840, 2160))
    assert np.allclose(picture.people.keypoints[..., :2], pixels[:2] * 3)


def test_kids_invalid_and_hidden_people_are_left_out_and_kids_have_eleven_numbers(tmp_path):
    write_agora(tmp_path, valid=(False, True, True))
    assert [len(next(iter(agora(tmp_path, **options))).people) for options in ({}, {"kids": True}, {"max_occlusion": 20.0})] == [1, 2, 0]
    shape = next(iter(agora(tmp_path, kids=True))).people.parameters.shape
    assert shape.shape == (2, 11) and shape[0, 10] == 0 and shape[1, 10] != 0


def test_pictures_without_anybody_have_empty_labels(tmp_path):
    nobody = {name: [] for name in ("X", "Y", "Z", "Yaw", "gender", "kid", "isValid", "occlusion", "gt_path_smplx", "gt_joints_2d")}
    write_agora(tmp_path, **nobody)
    (picture,) = read_bodies("agora", tmp_path)
    assert in_camera(picture.people, MODELS["smplx"])[1].shape == (0, 55, 3)


@pytest.mark.parametrize(
    "changed",
    [
        {"twist": 90.0},
        {"twist": 180.0},
        {"joints_scale": 0.5},
        {"Z": [4.0, 4.0, 4.0]},
        {"camYaw": -60.0},
        {"scene": "flowers", "camZ": 1.5},
    ],
)
def test_other_units_or_axes_than_known_are_refused(tmp_path, changed):
    write_agora(tmp_path, **changed)
    with pytest.raises(FormatError, match="axes or units"):
        list(agora(tmp_path, kids=True))


def test_one_odd_label_is_nothing_against_the_set(tmp_path):
    _, pixels = write_agora(tmp_path)
    pixels[0] += 4000
    write_agora(tmp_path, gt_joints_2d=list(pixels))
    assert len(next(iter(agora(tmp_path))).people) == 2


def test_people_who_are_left_out_need_no_labels(tmp_path):
    _, pixels = write_agora(tmp_path)
    write_agora(
        tmp_path, valid=(True, False, True), gt_joints_2d=[pixels[0], [], None], gt_path_smplx=["smplx_gt/scans/person0.obj", "", None]
    )
    assert len(next(iter(agora(tmp_path))).people) == 1


def test_tables_with_joints_are_preferred(tmp_path):
    write_agora(tmp_path)
    (tmp_path / "SMPLX" / "validation_0.pkl").touch()
    assert next(iter(agora(tmp_path))).people.keypoints is not None


@pytest.mark.parametrize(
    "broken",
    [
        {"X": [1.0]}, {"X": None}, {"gt_path_smplx": ["../../x.obj"] * 3}, {"gt_path_smplx": ["missing.obj"] * 3}, {"imgPath": "../x.png"},
        {"imgPath": 3}, {"Yaw": ["x"] * 3}, {"camX": None}, {"gt_joints_2d": [np.zeros((1, 2))] * 3}, {"gender": 5},
        {"isValid": [[1], 2, 3]},
    ],
)  # fmt: skip
def test_damaged_tables_are_refused(tmp_path, broken):
    write_agora(tmp_path, **broken)
    with pytest.raises(FormatError):
        list(agora(tmp_path))


@pytest.mark.parametrize("broken", [{"betas": np.zeros((1, 300))}, {"transl": np.full((1, 3), np.nan)}, {"body_pose": np.zeros((1, 69))}])
def test_damaged_fits_are_refused(tmp_path, broken):
    write_agora(tmp_path)
    write_fit(tmp_path / "smplx_gt/scans/person0.pkl", "smplx", **broken)
    with pytest.raises(FormatError, match="person0"):
        list(agora(tmp_path))


def test_hands_as_components_need_the_components(tmp_path):
    write_agora(tmp_path)
    path = tmp_path / "smplx_gt/scans/person0.pkl"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | {"left_hand_pose": np.ones((1, 12))}))
    with pytest.raises(VitruvianError, match="hands"):
        list(agora(tmp_path))
    (picture,) = agora(tmp_path, hands=MODELS["smplx"]["neutral"].hands)
    assert np.allclose(picture.people.parameters.pose[0, 25:40].ravel(), [1] * 12 + [0] * 33)  # this model's components are the unit matrix


def test_a_folder_without_tables_or_with_one_twice_is_refused(tmp_path):
    with pytest.raises(FormatError, match="expected"):
        agora(tmp_path)
    write_agora(tmp_path)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "validation_0_withjv.pkl").touch()
    with pytest.raises(FormatError, match="same table"):
        agora(tmp_path)
    with pytest.raises(VitruvianError, match="1280"):
        agora(tmp_path, size=(640, 360))
