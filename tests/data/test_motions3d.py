"""Motion capture becomes films of random cameras: joints where they should be, in the pictures, and true pairs of 2D and 3D."""

import numpy as np
import pytest

from many_views import walker
from random_body import random_body
from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyParameters
from vitruvian.data.motions3d import film_of_motion, points_of_amass, points_of_bvh, random_cameras
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.amass import BodyMotion
from vitruvian.formats.bvh import Bvh
from vitruvian.skeletons import H36M_17, INF_3DHP_17

NAMES = ("Hips", "LeftUpLeg", "LeftLeg", "LeftFoot", "RightUpLeg", "RightLeg", "RightFoot", "LowerBack", "Spine1", "Neck", "Head")
NAMES += ("LeftArm", "LeftForeArm", "LeftHand", "RightArm", "RightForeArm", "RightHand")
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
OFFSETS = np.array(
    [
        *((0, 0, 0), (10, -5, 0), (0, -40, 0), (0, -40, 0), (-10, -5, 0), (0, -40, 0), (0, -40, 0), (0, 10, 0), (0, 20, 0), (0, 25, 0)),
        *((0, 8, 0), (18, 20, 0), (0, -28, 0), (0, -25, 0), (-18, 20, 0), (0, -28, 0), (0, -25, 0)),
    ],
    float,
)


def standing(frames: int = 3, names=NAMES) -> Bvh:
    turns = np.tile(np.eye(3), (frames, len(names), 1, 1))
    place = np.tile([0.0, 90, 0], (frames, 1))
    return Bvh(names, PARENTS, OFFSETS, turns, place, 1 / 30, ends=(10,), end_offsets=np.array([[0.0, 18, 0]]), metres_per_unit=0.01)


def test_joints_of_a_bvh():
    points = points_of_bvh(standing())
    at = dict(zip(H36M_17.names, points[0], strict=True))
    np.testing.assert_allclose(at["root"], [0, 0.85, 0])
    np.testing.assert_allclose(at["left_foot"], [0.1, 0.05, 0])
    np.testing.assert_allclose(at["head"], [0, 1.71, 0])
    np.testing.assert_allclose(at["thorax"], [0, 1.4, 0])
    np.testing.assert_allclose(at["right_wrist"], [-0.18, 0.87, 0], atol=1e-12)
    other = dict(zip(INF_3DHP_17.names, points_of_bvh(standing(), INF_3DHP_17)[0], strict=True))
    np.testing.assert_allclose(other["left_ankle"], at["left_foot"])
    np.testing.assert_allclose(other["pelvis"], at["root"])


def test_a_rig_of_other_names_is_refused():
    with pytest.raises(FormatError, match="rename"):
        points_of_bvh(standing(names=tuple(f"bone{i}" for i in range(len(NAMES)))))


def resting(kind: str, joints: int) -> BodyMotion:
    body = BodyParameters(np.zeros((2, joints, 3)), np.zeros((2, 16)), np.zeros((2, 0)), np.tile([0.0, 0, 2], (2, 1)))
    return BodyMotion(kind, body, np.arange(2) / 30, up="z")


@pytest.mark.parametrize(("kind", "joints"), [("smpl", 24), ("smplh", 52)])
def test_joints_of_an_amass_motion_are_turned_until_y_is_up(kind, joints):
    model = random_body(kind)
    points = points_of_amass(resting(kind, joints), model)
    lifted = model.joints[:22] + [0, 0, 2]
    np.testing.assert_allclose(points[1, :22], lifted[:, [0, 2, 1]] * [1, 1, -1], atol=1e-5)
    assert np.isfinite(points[:, 22:]).all() == (kind == "smpl")


def test_joints_of_a_body_model_that_is_not_smpls_are_refused():
    with pytest.raises(VitruvianError):
        points_of_amass(resting("smpl", 24), load_compact())


def test_random_cameras_have_everything_in_their_pictures():
    times = np.arange(30) / 30
    people = [walker(times, (0, -1)), walker(times, (1, 1), (-0.5, 0.2))]
    film = film_of_motion(np.random.default_rng(2), people, 30.0, cameras=5, noise=2.0, name="two")
    assert film.points.shape == (30, 2, 17, 3) and len(film.cameras) == len(film.keypoints) == 5
    for c in range(5):
        assert np.isfinite(film.keypoints[c]).all()
        off = film.keypoints[c] - film.seen(c)
        assert 1.8 < off.std() < 2.2
    again = film_of_motion(np.random.default_rng(2), people, 30.0, cameras=5, noise=2.0, name="two")
    np.testing.assert_array_equal(film.keypoints[3], again.keypoints[3])


def test_no_motion_is_no_film():
    with pytest.raises(VitruvianError):
        random_cameras(np.random.default_rng(0), np.zeros((0, 17, 3)), 2)
