"""Angles in the picture's plane: stick bodies seen from the side, facing right and left."""

import numpy as np
import pytest

from vitruvian.biomechanics import planar_angles

NAMES = (
    *("nose", "left_ear", "left_shoulder", "right_shoulder", "right_elbow", "right_wrist", "left_hip", "right_hip"),
    *("right_knee", "right_ankle", "right_heel", "right_big_toe"),
)


def standing(hip=0.0, knee=0.0, ankle=0.0, arm=0.0, elbow=0.0, facing=1):
    """(12, 2) pixels; flexion in degrees of the right side."""

    def down(angle):  # forward is +x before facing
        return np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])

    at = {"right_hip": np.array([0.0, 0.0])}
    at["left_hip"] = at["right_hip"]
    at["right_knee"] = at["right_hip"] + 100 * down(hip)
    at["right_ankle"] = at["right_knee"] + 100 * down(hip - knee)
    foot = hip - knee + 90 + ankle
    at["right_heel"] = at["right_ankle"] + [-5, 10]
    at["right_big_toe"] = at["right_heel"] + 50 * down(foot)
    at["right_shoulder"] = np.array([0.0, -120.0])
    at["left_shoulder"] = at["right_shoulder"]
    at["right_elbow"] = at["right_shoulder"] + 60 * down(arm)
    at["right_wrist"] = at["right_elbow"] + 60 * down(arm + elbow)
    at["nose"], at["left_ear"] = np.array([15.0, -160.0]), np.array([0.0, -165.0])
    points = np.array([at[name] for name in NAMES])
    return points * [facing, 1] + [400, 300]


def measured(points, name):
    return np.degrees(planar_angles(np.repeat(points[None], 4, 0), NAMES, np.arange(4) / 30).column(name))[0]


@pytest.mark.parametrize("facing", [1, -1])
@pytest.mark.parametrize(
    "angles", [{}, {"hip": 40, "knee": 70}, {"hip": -15, "knee": 5, "ankle": -20}, {"arm": 80, "elbow": 90}, {"arm": -30, "ankle": 15}]
)
def test_flexions_are_recovered_whichever_way_the_person_faces(facing, angles):
    points = standing(**angles, facing=facing)
    names = {
        "hip": "hip_flexion",
        "knee": "knee_flexion",
        "ankle": "ankle_dorsiflexion",
        "arm": "shoulder_flexion",
        "elbow": "elbow_flexion",
    }
    for key, name in names.items():
        assert measured(points, f"{name}_right") == pytest.approx(angles.get(key, 0), abs=1e-6), name


def test_segments_turn_anticlockwise_from_the_horizontal():
    points = standing(hip=30, knee=0)
    assert measured(points, "thigh_right_segment") == pytest.approx(-60)
    assert measured(points, "trunk_segment") == pytest.approx(90)
    assert measured(points, "foot_right_segment") == pytest.approx(30)


def test_joints_are_unknown_where_facing_is_but_segments_are_not():
    keep = [i for i, name in enumerate(NAMES) if name not in ("nose", "left_ear", "right_heel", "right_big_toe")]
    found = planar_angles(standing(knee=40)[None, keep], tuple(NAMES[i] for i in keep), np.zeros(1))
    assert np.isnan(found.column("knee_flexion_right")).all() and np.isfinite(found.column("thigh_right_segment")).all()
    assert any("faces" in note for note in found.notes)


def test_a_turn_round_changes_the_sign_with_the_facing():
    times = np.arange(120) / 30
    points = np.stack([standing(knee=30, facing=1 if time < 2 else -1) for time in times])
    found = np.degrees(planar_angles(points, NAMES, times).column("knee_flexion_right"))
    assert np.allclose(found[times < 1.4], 30) and np.allclose(found[times > 2.6], 30)


@pytest.mark.parametrize("frames", [0, 1])
def test_few_frames_are_a_table(frames):
    found = planar_angles(np.repeat(standing()[None], frames, 0), NAMES, np.arange(frames) / 30)
    assert found.values.shape == (frames, len(found.names)) and found.kind == "picture"


def test_everything_missing_is_a_table_of_nan():
    assert np.isnan(planar_angles(np.full((3, 12, 2), np.nan), NAMES, np.arange(3.0)).values).all()


def test_a_segment_that_stays_near_half_a_turn_does_not_jump():
    points = np.stack([standing()] * 40)
    tilt = np.radians(10) * np.sin(np.arange(40) / 3)
    left, right = NAMES.index("left_shoulder"), NAMES.index("right_shoulder")
    points[:, right] = points[:, left] + 40 * np.stack([-np.cos(tilt), np.sin(tilt)], -1)
    found = np.degrees(planar_angles(points, NAMES, np.arange(40) / 30).column("shoulders_segment"))
    assert np.abs(np.diff(found)).max() < 5 and np.allclose(np.abs(found), 180, atol=11)
