"""Beside the smplx package, run as an oracle on files of random numbers: numbers of shapes, hands, children and contours of all sorts."""

import contextlib
import io

import numpy as np
import pytest

from published_bodies import entries, flame_landmarks, write_npz, write_pickle
from vitruvian.body.library import read_body
from vitruvian.body.points import published_joints
from vitruvian.body.pose import full_pose

torch = pytest.importorskip("torch")
smplx = pytest.importorskip("smplx", reason="the oracle is not installed")
pytestmark = pytest.mark.slow

NAMES = {"global_orient": "root", "body_pose": "body", "neck_pose": "neck", "jaw_pose": "jaw", "leye_pose": "left_eye"}
NAMES |= {"reye_pose": "right_eye", "left_hand_pose": "left_hand", "right_hand_pose": "right_hand", "hand_pose": "hand"}


def beside(kind: str, path, inputs: dict, space: str, hand_mean: bool, contour: bool = False, read: dict | None = None, **options):
    """Largest differences of vertices and joints between the package's model and ours, on random inputs of these sizes."""
    rng = np.random.default_rng(0)
    values = {name: rng.normal(0, 0.6, (3, size)).astype(np.float32) for name, size in inputs.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        place = path.parent.parent if kind == "flame" else path  # its FLAME takes the folder above only
        flat = {} if kind in ("smpl", "flame") else {"flat_hand_mean": not hand_mean}
        theirs = smplx.create(str(place), kind, batch_size=3, **flat, **options)
        with torch.no_grad():
            expected = theirs(**{name: torch.tensor(value) for name, value in values.items()})
    ours = read_body(path, **(read or {}))
    blocks = {NAMES[name]: value for name, value in values.items() if name in NAMES}
    pose = full_pose(ours, **blocks, pose_space=space, hand_mean=hand_mean)
    output = ours.forward(pose, values["betas"], values.get("expression"), values["transl"])
    joints = published_joints(ours, output, contour=contour)
    assert joints.shape == expected.joints.shape
    np.testing.assert_allclose(output.vertices, expected.vertices.numpy(), atol=2e-5)
    np.testing.assert_allclose(joints, expected.joints.numpy(), atol=2e-5)


BODY = {"global_orient": 3, "body_pose": 63, "transl": 3}
FACE = {"jaw_pose": 3, "leye_pose": 3, "reye_pose": 3}


def test_smpl_with_300_shapes(tmp_path):
    path = write_pickle(tmp_path / "SMPL_FEMALE.pkl", entries("smpl", vertices=6890, shapes=300), chumpy=False)
    beside("smpl", path, BODY | {"body_pose": 69, "betas": 300}, "axis_angle", False, num_betas=300)


@pytest.mark.parametrize(("count", "mean"), [(12, True), (6, False)])
def test_smplh_with_pca_hands(tmp_path, count, mean):
    path = write_pickle(tmp_path / "SMPLH_MALE.pkl", entries("smplh", vertices=6890), chumpy=False)
    hands = {"left_hand_pose": count, "right_hand_pose": count, "betas": 10}
    beside("smplh", path, BODY | hands, "pca", mean, use_pca=True, num_pca_comps=count, ext="pkl")


@pytest.mark.parametrize("contour", [True, False])
def test_smplx_with_400_shapes(tmp_path, contour):
    path = write_npz(tmp_path / "SMPLX_NEUTRAL.npz", entries("smplx", vertices=10475, shapes=400))
    sizes = BODY | FACE | {"left_hand_pose": 45, "right_hand_pose": 45, "betas": 40, "expression": 30}
    options = {"num_betas": 40, "num_expression_coeffs": 30, "use_face_contour": contour, "use_pca": False, "ext": "npz"}
    beside("smplx", path, sizes, "axis_angle", True, contour, **options)


def test_child(tmp_path):
    path = write_npz(tmp_path / "SMPLX_NEUTRAL.npz", entries("smplx", vertices=10475))
    kid = tmp_path / "kid.npy"
    np.save(kid, entries("smplx", seed=9, vertices=10475)["v_template"] + 1)
    sizes = BODY | FACE | {"left_hand_pose": 45, "right_hand_pose": 45, "betas": 11, "expression": 10}
    options = {"age": "kid", "kid_template_path": str(kid), "use_pca": False, "ext": "npz"}
    beside("smplx", path, sizes, "axis_angle", False, read={"kid_template": kid}, **options)


@pytest.mark.parametrize(("count", "space"), [(45, "axis_angle"), (20, "pca")])
def test_left_hand(tmp_path, count, space):
    path = write_pickle(tmp_path / "MANO_LEFT.pkl", entries("mano", vertices=778), chumpy=False)
    sizes = {"global_orient": 3, "transl": 3, "betas": 10, "hand_pose": count}
    options = {"is_rhand": False, "use_pca": True, "num_pca_comps": count, "ext": "pkl"}
    beside("mano", path, sizes, space, True, read={"fix_left_shape": False}, **options)


@pytest.mark.parametrize("contour", [True, False])
def test_flame(tmp_path, contour):
    path = write_pickle(tmp_path / "flame" / "FLAME_NEUTRAL.pkl", entries("flame", vertices=5023), chumpy=False)
    static, dynamic = flame_landmarks()
    write_pickle(tmp_path / "flame" / "flame_static_embedding.pkl", static, chumpy=False)
    np.save(tmp_path / "flame" / "flame_dynamic_embedding.npy", np.array(dynamic, object))
    sizes = FACE | {"global_orient": 3, "neck_pose": 3, "transl": 3, "betas": 50, "expression": 20}
    options = {"num_betas": 50, "num_expression_coeffs": 20, "use_face_contour": contour}
    beside("flame", path, sizes, "axis_angle", False, contour, **options)
