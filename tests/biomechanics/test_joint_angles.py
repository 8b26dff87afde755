"""Joint angles in space: a stick body with known joints, posed and measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vitruvian.biomechanics import joint_angles
from vitruvian.biomechanics.angles import cardan_zxy
from vitruvian.biomechanics.segments import between, named_points
from vitruvian.errors import VitruvianError

NAMES = (
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
)
TIMES = np.arange(3) / 30
RAD = np.radians


def turn(axes, *degrees):
    return Rotation.from_euler(axes, degrees, degrees=True).as_matrix()


def body(hip=(0, 0, 0), knee=0.0, ankle=0.0, elbow=0.0, arm=(0.0, 0.0), trunk=(0, 0, 0), side="right"):
    """(18, 3) points, x forward, y up, z right; `hip` flexion, adduction, internal rotation of one side; others stand straight. Degrees."""
    at = {}
    for name, sign in (("left", -1), ("right", 1)):
        mine = name == side
        flex, add, rot = hip if mine else (0, 0, 0)
        thigh = turn("ZXY", flex, sign * add, sign * rot)
        shank = thigh @ turn("Z", -(knee if mine else 0))
        foot = shank @ turn("Z", ankle if mine else 0)
        at[f"{name}_hip"] = np.array([0, 0.9, 0.09 * sign])
        at[f"{name}_knee"] = at[f"{name}_hip"] + thigh @ [0, -0.42, 0]
        at[f"{name}_ankle"] = at[f"{name}_knee"] + shank @ [0, -0.41, 0]
        at[f"{name}_heel"] = at[f"{name}_ankle"] + foot @ [-0.05, -0.06, 0]
        at[f"{name}_big_toe"] = at[f"{name}_ankle"] + foot @ [0.18, -0.06, -0.02 * sign]
        at[f"{name}_small_toe"] = at[f"{name}_ankle"] + foot @ [0.18, -0.06, 0.02 * sign]
        chest = turn("ZXY", *trunk)
        at[f"{name}_shoulder"] = np.array([0, 0.9, 0]) + chest @ [0, 0.5, 0.18 * sign]
        raised, plane = arm if mine else (0.0, 0.0)
        out = np.array([np.sin(RAD(raised)) * np.sin(RAD(plane)), -np.cos(RAD(raised)), sign * np.sin(RAD(raised)) * np.cos(RAD(plane))])
        at[f"{name}_elbow"] = at[f"{name}_shoulder"] + chest @ (0.3 * out)
        fore = Rotation.from_rotvec(RAD(elbow if mine else 0) * np.array([0, 0, 1])).as_matrix() @ out
        at[f"{name}_wrist"] = at[f"{name}_elbow"] + chest @ (0.26 * fore)
    return np.array([at[name] for name in NAMES])


def measured(points, name):
    angles = joint_angles(np.repeat(points[None], 3, 0), NAMES, TIMES)
    values = np.degrees(angles.column(name))
    assert not np.ptp(values) > 1e-9
    return values[0]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("hip", [(40, 0, 0), (-15, 0, 0), (0, 20, 0), (0, -25, 0), (60, -20, 15), (30, 10, -25)])
def test_hip_flexion_adduction_and_rotation_are_recovered(side, hip):
    points = body(hip=hip, knee=50, side=side)
    found = [measured(points, f"hip_{name}_{side}") for name in ("flexion", "adduction", "rotation")]
    assert np.allclose(found, hip, atol=1e-6)


@pytest.mark.parametrize("knee", [-8, 0, 5, 60, 140])
def test_knee_flexion_has_a_sign(knee):
    assert measured(body(hip=(20, 0, 0), knee=knee), "knee_flexion_right") == pytest.approx(knee, abs=1e-6)


def test_the_turn_of_the_thigh_is_unknown_with_a_straight_knee():
    assert np.isnan(measured(body(hip=(20, 0, 10), knee=5), "hip_rotation_right"))


@pytest.mark.parametrize("ankle", [-30, 0, 20])
def test_ankle_dorsiflexion_is_zero_when_the_foot_is_square_to_the_shank(ankle):
    assert measured(body(hip=(10, 5, 0), knee=30, ankle=ankle), "ankle_dorsiflexion_right") == pytest.approx(ankle, abs=1e-6)


def test_elbow_flexion():
    assert measured(body(arm=(0, 0), elbow=75), "elbow_flexion_right") == pytest.approx(75)


@pytest.mark.parametrize("side", ["left", "right"])
def test_shoulder_elevation_and_its_plane(side):
    points = body(arm=(60, 30), side=side)
    assert measured(points, f"shoulder_elevation_{side}") == pytest.approx(60)
    assert measured(points, f"shoulder_plane_{side}") == pytest.approx(30)


def test_trunk_lean_forward_and_right():
    assert measured(body(trunk=(-20, 0, 0)), "trunk_lean") == pytest.approx(20)
    assert measured(body(trunk=(0, 15, 0)), "trunk_sideways") == pytest.approx(15)
    assert measured(body(trunk=(0, 0, 12)), "lumbar_rotation") == pytest.approx(12)


def test_pelvis_list_and_rotation_follow_the_person():
    low_right = body() @ turn("X", 8).T
    assert measured(low_right, "pelvis_list") == pytest.approx(8)
    assert measured(body() @ turn("Y", 35).T, "pelvis_rotation") == pytest.approx(35)


def test_pelvis_rotation_has_no_jumps_when_somebody_turns_round():
    turns = np.linspace(0, 500, 40)
    points = np.stack([body() @ turn("Y", angle).T for angle in turns])
    found = np.degrees(joint_angles(points, NAMES, np.arange(40) / 30).column("pelvis_rotation"))
    assert np.allclose(found, turns)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.floats(0.5, 2))
def test_joint_angles_do_not_depend_on_where_the_body_is_and_how_large(motion, size):
    points = body(hip=(30, -10, 5), knee=40, ankle=10, elbow=30, arm=(50, 40), trunk=(5, 5, 5))
    moved = size * points @ Rotation.from_rotvec(motion[:3]).as_matrix().T + motion[3:]
    one, other = (joint_angles(p[None], NAMES, np.zeros(1)) for p in (points, moved))
    inner = [i for i, name in enumerate(one.names) if not name.startswith(("pelvis", "trunk"))]
    assert np.allclose(one.values[:, inner], other.values[:, inner], atol=1e-6, equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(st.floats(-80, 80), st.floats(-60, 60), st.floats(-80, 80))
def test_cardan_angles_are_those_that_made_the_rotation(z, x, y):
    found = cardan_zxy(turn("ZXY", z, x, y)[None])
    assert np.allclose(np.degrees(found).ravel(), (z, x, y), atol=1e-6)


def test_left_is_the_mirror_image_of_right():
    mirror = np.array([1, 1, -1])
    order = [NAMES.index(n.replace("left", "@").replace("right", "left").replace("@", "right")) for n in NAMES]
    points = body(hip=(30, -10, 5), knee=40, ankle=10, elbow=30, arm=(50, 40))
    swapped = (points * mirror)[order]
    one, other = (joint_angles(p[None], NAMES, np.zeros(1)) for p in (points, swapped))
    for name in one.names:
        if name.endswith("right"):
            assert one.column(name) == pytest.approx(other.column(name.replace("right", "left")), abs=1e-9, nan_ok=True)


def test_a_missing_point_makes_only_its_own_angles_unknown():
    points = body()
    points[NAMES.index("left_ankle")] = np.nan
    angles = joint_angles(points[None], NAMES, np.zeros(1))
    unknown = {name for name, value in zip(angles.names, angles.values[0], strict=True) if np.isnan(value)}
    assert {"knee_flexion_left", "ankle_dorsiflexion_left"} <= unknown
    assert not any(name.endswith("right") and "rotation" not in name and "plane" not in name for name in unknown)


def test_no_frames_no_points_and_one_frame_are_tables():
    assert joint_angles(np.zeros((0, 18, 3)), NAMES, np.zeros(0)).values.shape[0] == 0
    assert joint_angles(np.zeros((4, 1, 3)), ("nose",), np.arange(4.0)).values.shape == (4, 0)
    assert np.isnan(joint_angles(np.full((1, 18, 3), np.nan), NAMES, np.zeros(1)).values).all()


def test_points_and_times_must_fit():
    with pytest.raises(VitruvianError, match="hold together"):
        joint_angles(np.zeros((4, 18, 3)), NAMES, np.zeros(3))


def test_pelvis_markers_give_tilt_and_hip_centres():
    """A pelvis of 24 cm between the ASIS and 15 cm deep, tilted forward: its tilt is measured, hips lie by Harrington's regression."""
    local = {"r_ASIS": (0, 0, 0.12), "l_ASIS": (0, 0, -0.12), "r_PSIS": (-0.15, 0, 0.04), "l_PSIS": (-0.15, 0, -0.04)}
    tilt = turn("Z", -12)
    points = np.array([tilt @ place for place in local.values()])[None]
    found = named_points(points, tuple(local))
    wanted = tilt @ [-0.24 * 0.15 - 0.0099, -0.30 * 0.24 - 0.0109, 0.33 * 0.24 + 0.0073]
    assert np.allclose(found["right_hip"][0], wanted)
    assert np.degrees(joint_angles(points, tuple(local), np.zeros(1)).column("pelvis_tilt")[0]) == pytest.approx(-12)


def test_angles_between_nearly_parallel_vectors_are_exact():
    a = np.array([[1.0, 0, 0]])
    assert between(a, np.array([[1, 1e-9, 0]]))[0] == pytest.approx(1e-9)
    assert np.isnan(between(a, np.zeros((1, 3))))[0]
