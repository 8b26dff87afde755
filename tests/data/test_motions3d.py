"""Motion capture becomes films of random cameras: joints where they should be, in the pictures, and true pairs of 2D and 3D."""

import numpy as np
import pytest

from many_views import walker
from motion_files import NAMES, OFFSETS, PARENTS, motion_folder, swinging
from random_body import random_body
from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyParameters
from vitruvian.data.motions3d import film_of_motion, points_of_amass, points_of_bvh, random_cameras, read_motions, unit_of
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.amass import BodyMotion, write_amass
from vitruvian.formats.bvh import Bvh
from vitruvian.skeletons import H36M_17, INF_3DHP_17


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
    np.testing.assert_allclose(at["neck_base"], [0, 1.53, 0])
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


@pytest.mark.parametrize(("centimetres", "metres"), [(1.0, 0.01), (100.0, 1.0), (2.54, 0.0254), (0.1, 0.001), (5.6444, 0.056444)])
def test_units_are_told_by_legs(centimetres, metres):
    assert unit_of(swinging(2, unit=centimetres)) == metres


def test_nobody_has_such_legs():
    with pytest.raises(FormatError, match="nobody's"):
        unit_of(swinging(2, unit=1e-4))
    with pytest.raises(FormatError, match="nobody's"):
        unit_of(swinging(0))


def test_a_folder_of_motions(tmp_path):
    motion_folder(tmp_path, 3)
    motions = read_motions(tmp_path)
    assert [motion.name for motion in motions] == ["0/swing00", "0/swing02", "1/swing01"]
    assert motions[0].points.shape == (40, 17, 3) and motions[0].rate == pytest.approx(60) and np.isfinite(motions[0].points).all()
    (tmp_path / "shape.npz").touch()
    assert len(read_motions(tmp_path, metres_per_unit=0.02)) == 3
    assert np.allclose(read_motions(tmp_path, metres_per_unit=0.02)[0].points, 2 * motions[0].points)


def test_amass_files_are_posed_with_the_users_body(tmp_path):
    write_amass(resting("smplh", 52), tmp_path / "rest_poses.npz")
    with pytest.raises(FormatError, match="--body"):
        read_motions(tmp_path)
    (motion,) = read_motions(tmp_path, H36M_17, random_body("smplh"))
    assert motion.points.shape == (2, 17, 3) and motion.rate == pytest.approx(30) and np.isfinite(motion.points).all()
    with pytest.raises(FormatError, match="no motions"):
        read_motions(tmp_path / "nowhere")
