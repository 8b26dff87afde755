"""Bodies fitted to pixels: several cameras measure, one camera gives a plausible body that lies on the picture."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vitruvian.body.compact import load_compact
from vitruvian.body.fitting.views import fit_keypoints
from vitruvian.body.regressors import point_regressor
from vitruvian.errors import VitruvianError

BODY = load_compact()
CAMERA = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])


def body_before(cameras=3, seed=0):
    """A posed body's points, cameras around it at 4 m, and its pixels (1, C, 133, 2)."""
    rng = np.random.default_rng(seed)
    pose = np.zeros((1, 69, 3), np.float32)
    for name, vector in (
        ("left_shoulder", [0, -0.6, 0.5]),
        ("right_hip", [-0.7, 0, 0]),
        ("right_knee", [0.6, 0, 0]),
        ("spine3", [0.2, 0.2, 0]),
    ):
        pose[0, BODY.joint_names.index(name)] = vector
    output = BODY.forward(pose, rng.normal(0, 0.5, (1, 5)).astype(np.float32))
    points = point_regressor(BODY)(output.vertices, output.joints).astype(float)
    angles = 0.2 + np.arange(cameras) * 2 * np.pi / max(cameras, 1)
    rotation = np.array([np.diag([1.0, -1, -1]) @ Rotation.from_euler("y", -a).as_matrix() for a in angles])
    translation = np.tile([0.1, 0.0, 4.0], (cameras, 1))
    place = np.einsum("cij,kj->cki", rotation, points[0]) + translation[:, None]
    pixels = place[..., :2] / place[..., 2:] * 900 + [640, 360]
    return points, place, pixels[None], rotation, translation


def test_three_cameras_measure_the_body():
    points, _, pixels, rotation, translation = body_before()
    result = fit_keypoints(BODY, pixels, np.tile(CAMERA, (3, 1, 1)), rotation, translation, sigma=1)
    assert result.error[0] < 1.5
    assert np.linalg.norm(result.points - points, axis=2).mean() < 0.005


def test_one_camera_explains_its_picture_from_the_right_side():
    _, place, pixels, _, _ = body_before(1)
    result = fit_keypoints(BODY, pixels, CAMERA[None], sigma=2)
    assert result.error[0] < 4
    relative = [p[0, :17] - p[0, 11:13].mean(0) for p in (result.points, place)]
    assert np.linalg.norm(relative[0] - relative[1], axis=1).mean() < 0.15


def test_points_from_elsewhere_settle_the_depth():
    _, place, pixels, _, _ = body_before(1)
    result = fit_keypoints(BODY, pixels, CAMERA[None], sigma=2, points=place + np.random.default_rng(1).normal(0, 0.02, place.shape))
    assert np.linalg.norm(result.points - place, axis=2).mean() < 0.02


def test_missing_keypoints_and_cameras_are_ignored():
    points, _, pixels, rotation, translation = body_before()
    pixels[0, 2] = np.nan
    pixels[0, 0, 100:] = np.nan
    result = fit_keypoints(BODY, pixels, np.tile(CAMERA, (3, 1, 1)), rotation, translation, sigma=1)
    assert np.linalg.norm(result.points[:, :17] - points[:, :17], axis=2).mean() < 0.03


def test_several_cameras_of_which_one_sees_the_body():
    _, _, pixels, rotation, translation = body_before()
    pixels[0, 1:] = np.nan
    result = fit_keypoints(BODY, pixels, np.tile(CAMERA, (3, 1, 1)), rotation, translation, sigma=2)
    assert result.ok[0] and result.error[0] < 6


def test_a_camera_matrix_per_body():
    points, _, pixels, rotation, translation = body_before()
    both = np.concatenate([pixels, pixels * 2])
    cameras = np.stack([np.tile(CAMERA, (3, 1, 1)), np.tile(np.diag([2.0, 2, 1]) @ CAMERA, (3, 1, 1))])
    result = fit_keypoints(BODY, both, cameras, rotation, translation)
    assert np.linalg.norm(result.points - points, axis=2).mean(1).max() < 0.01


def test_a_sequence_before_one_camera():
    _, _, pixels, _, _ = body_before(1)
    result = fit_keypoints(BODY, np.repeat(pixels, 4, 0), CAMERA[None], sigma=2, times=np.arange(4) / 30)
    assert result.ok.all() and np.ptp(result.parameters.shape, axis=0).max() == 0


@pytest.mark.parametrize("bodies", [0, 2])
def test_nothing_seen_is_a_typed_result(bodies):
    result = fit_keypoints(
        BODY, np.full((bodies, 2, 133, 2), np.nan), np.tile(CAMERA, (2, 1, 1)), np.tile(np.eye(3), (2, 1, 1)), np.zeros((2, 3))
    )
    assert len(result) == bodies and not result.ok.any()


@pytest.mark.parametrize("bodies", [0, 2])
def test_nothing_seen_by_one_camera_is_a_typed_result(bodies):
    result = fit_keypoints(BODY, np.full((bodies, 1, 133, 2), np.nan), CAMERA[None])
    assert len(result) == bodies and not result.ok.any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keypoints": np.zeros((1, 133, 2))}, "cameras"),
        ({"intrinsics": np.zeros((2, 3, 3))}, "cameras"),
        ({"sigma": -1}, "sigma"),
        ({"points": np.zeros((2, 133, 3))}, "bodies"),
    ],
)
def test_what_does_not_fit_the_cameras_is_said(change, words):
    arguments = {"keypoints": np.zeros((1, 1, 133, 2)), "intrinsics": CAMERA[None]} | change
    with pytest.raises(VitruvianError, match=words):
        fit_keypoints(BODY, **arguments)


def test_a_close_face_shows_its_smile():
    """Head and shoulders before one camera: the smile is found, if not all of it, and a straight face stays straight."""
    names = BODY.expression_names
    smile = [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]
    expression = np.zeros((2, len(names)), np.float32)
    expression[0, smile] = 0.9
    output = BODY.forward(np.zeros((2, 69, 3), np.float32), expression=expression)
    place = point_regressor(BODY)(output.vertices, output.joints) @ np.diag([1.0, -1, -1]).T
    place = place - place[:, :1] + [0, 0, 0.8]
    pixels = (place[..., :2] / place[..., 2:] * 900 + [640, 360])[:, None]
    pixels[:, :, 11:23] = np.nan  # the legs are out of the picture
    straight, smiling = (
        fit_keypoints(BODY, pixels, CAMERA[None], sigma=1, points=place, points_sigma=0.01, expression=asked) for asked in (False, True)
    )
    found = smiling.parameters.expression
    assert found[0].argmax() in smile and found[0, smile].min() > 0.2 and found[1].max() < 0.05
    mouth = slice(71, 91)
    wrong = [np.linalg.norm(r.points[0, mouth] - place[0, mouth], axis=-1).mean() for r in (straight, smiling)]
    assert wrong[1] < 0.75 * wrong[0]
    assert straight.parameters.expression.max() == 0
