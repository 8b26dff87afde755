"""XNect's stage III: the skeleton, the fit of one frame, filters, and people over time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.body.lbs import rotation_matrices
from vitruvian.codecs.part_affinity import Parts
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import XNECT_14, XNECT_21
from vitruvian.systems.pose3d.xnect_fit import Camera, Evidence, Weights, fit_people, past_of
from vitruvian.systems.pose3d.xnect_skeleton import (
    ANGLES,
    DEGREE,
    MEAN_LENGTHS,
    PELVIS,
    ROOT,
    Posture,
    bone_lengths,
    bone_turns,
    joints,
    joints_and_jacobian,
    own_bones,
    rest_bones,
    rough_posture,
)
from vitruvian.systems.pose3d.xnect_track import OneEuro, OneEuroSettings, Tracker, clothing_colours

CAMERA = Camera(600.0, (255.5, 159.5))
BONES = rest_bones(MEAN_LENGTHS[None])


def random_posture(seed, n=1):
    rng = np.random.default_rng(seed)
    place = np.concatenate([rng.uniform(-1, 1, (n, 2)), rng.uniform(3, 6, (n, 1))], 1)
    middle, half = (ANGLES.low + ANGLES.high) / 2, (ANGLES.high - ANGLES.low) / 2
    return Posture(place, rotation_matrices(rng.uniform(-2, 2, (n, 3)) * (0.2, 1, 0.2)), middle + 0.6 * half * rng.uniform(-1, 1, (n, 23)))


def walking(frames, seed=0, rate=30.0):
    """A smooth motion: postures, times."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / rate
    swing = np.minimum(0.25 * (ANGLES.high - ANGLES.low), 0.5) * np.sin(
        2 * np.pi * rng.uniform(0.2, 0.8, 23) * time[:, None] + rng.uniform(0, 6, 23)
    )
    angles = np.clip(np.clip(0, ANGLES.low + 0.3, ANGLES.high - 0.3) + swing, ANGLES.low, ANGLES.high)
    place = np.stack([0.3 * np.sin(time), 0.1 * np.cos(2 * time), 4 + 0.5 * np.sin(0.5 * time)], 1)
    return Posture(place, rotation_matrices(np.stack([0.1 * np.sin(time), 0.5 * time, 0 * time], 1)), angles), time


def no_past(posture):
    n = len(posture)
    return past_of(posture, posture, np.zeros((n, 2)), 0.0, np.zeros(n, bool), np.zeros(n, bool))


def evidence_of(points, noise=0.0, pixels=0.0, seed=0):
    rng = np.random.default_rng(seed)
    around = points - points[:, PELVIS, None] + noise * rng.standard_normal(points.shape)
    return Evidence(around, CAMERA.project(points[:, :14]) + pixels * rng.standard_normal((len(points), 14, 2)), np.ones((len(points), 14)))


def parts_of(points, rows, seen=None):
    keypoints = CAMERA.project(points[rows][:, :14]).astype(np.float32)
    scores = np.ones((len(rows), 14), np.float32) if seen is None else seen
    return Parts(keypoints, scores, np.zeros((len(rows), 14, 4, 3), np.float32))


def test_29_degrees_of_freedom():
    assert ROOT + len(ANGLES) == 29 and len(set(ANGLES.names)) == 23
    assert (ANGLES.low < ANGLES.high).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_bones_keep_their_lengths_and_jacobian_is_the_derivative(seed):
    posture = random_posture(seed, 2)
    lengths = np.tile(MEAN_LENGTHS, (2, 1)) * np.random.default_rng(seed).uniform(0.8, 1.2, (2, 1))
    bones = rest_bones(lengths)
    points, jacobian = joints_and_jacobian(posture, bones)
    assert np.allclose(bone_lengths(points, symmetric=False), lengths)
    step = np.random.default_rng(seed + 1).standard_normal((2, 29))
    e = 1e-6
    numeric = (joints(posture.moved(e * step), bones) - joints(posture.moved(-e * step), bones)) / (2 * e)
    assert np.abs(numeric - np.einsum("nkcp,np->nkc", jacobian, step)).max() < 1e-7


def test_mirrored_angles_are_the_mirror_image():
    posture = random_posture(3)
    mirror = np.array([-1, 1, 1])
    angles = posture.angles.copy()
    for i, name in enumerate(ANGLES.names):
        other = name.replace("left", "?").replace("right", "left").replace("?", "right")
        # About y and z the mirror image turns the other way; a hinge's axis is mirrored with its side.
        sign = -1 if name.endswith(("_y", "_z")) else 1
        angles[:, ANGLES.names.index(other)] = sign * posture.angles[:, i]
    turn = np.diag(mirror) @ posture.turn @ np.diag(mirror)
    found = joints(Posture(posture.place * mirror, turn, angles), BONES)
    assert np.allclose(found, (joints(posture, BONES) * mirror)[:, list(XNECT_21.swap)])


@pytest.mark.parametrize(
    ("angle", "joint", "axis", "sign"),
    [
        ("right_elbow", "right_wrist", 2, -1),  # the hand comes forward, to the camera
        ("left_elbow", "left_wrist", 2, -1),
        ("right_knee", "right_ankle", 2, 1),  # the heel goes back
        ("right_shoulder_z", "right_wrist", 1, -1),  # the arm rises
        ("trunk_x", "head_top", 2, -1),  # the trunk bends forward
        ("left_hip_x", "left_ankle", 2, 1),  # the thigh swings back
    ],
)
def test_positive_angles_mean_what_their_names_say(angle, joint, axis, sign):
    still = Posture(np.zeros((1, 3)), np.eye(3)[None], np.zeros((1, 23)))
    angles = still.angles.copy()
    angles[:, ANGLES.names.index(angle)] = 0.3
    moved = joints(Posture(still.place, still.turn, angles), BONES) - joints(still, BONES)
    assert sign * moved[0, XNECT_21.index(joint), axis] > 0.05


def test_bone_turns_lie_at_their_bones():
    turns = bone_turns(random_posture(1))
    turning = {XNECT_21.names[j] for j in np.flatnonzero(np.abs(turns[0]).max(1) > 0)}
    assert turning == {"neck", "head", *(f"{s}_{p}" for s in ("left", "right") for p in ("elbow", "wrist", "knee", "ankle", "foot"))}


def test_exact_evidence_is_fitted_exactly():
    posture = random_posture(5, 4)
    bones = np.repeat(BONES, 4, 0)
    points = joints(posture, bones)
    evidence = evidence_of(points)
    start = rough_posture(evidence.points)
    start = Posture(posture.place + 0.3, start.turn, start.angles)
    found, cost = fit_people(evidence, bones, CAMERA, start, no_past(start), iterations=60, tolerance=0)
    assert (cost < 1e-6).all()
    assert np.abs(joints(found, bones) - points).max() < 2e-3


def test_own_bones_are_found_where_they_differ_from_the_usual_ones():
    posture = random_posture(4, 3)
    bones = np.repeat(BONES, 3, 0)
    shoulders = [XNECT_21.index("left_shoulder"), XNECT_21.index("right_shoulder")]
    bones[:, shoulders] += ((-0.02, 0.05, 0.03), (0.02, 0.05, 0.03))
    bones[:, XNECT_21.index("left_knee")] *= 1.1
    bones[:, XNECT_21.index("right_knee")] *= 1.1
    found = own_bones(posture, joints(posture, bones), rest_bones(np.linalg.norm(bones, axis=-1)))
    assert np.allclose(found, bones)


def test_own_bones_are_the_same_on_both_sides():
    noise = 0.05 * np.random.default_rng(0).standard_normal((3, 21, 3))
    posture, bones = random_posture(4, 3), np.repeat(BONES, 3, 0)
    found = own_bones(posture, joints(posture, bones) + noise, bones)
    assert np.allclose(found[:, list(XNECT_21.swap)] * (-1, 1, 1), found)


def test_limits_hold_angles_back():
    posture = random_posture(6)
    knee = ANGLES.names.index("right_knee")
    posture.angles[:, knee] = -0.6  # bent the wrong way
    evidence = evidence_of(joints(posture, BONES))
    found = [
        fit_people(evidence, BONES, CAMERA, posture, no_past(posture), Weights(limits=limits), 30)[0].angles[0, knee]
        for limits in (0.0, 0.5, 50.0)
    ]
    assert found[0] == pytest.approx(-0.6, abs=1e-3)
    assert found[0] < found[1] < found[2] and found[2] > -0.02


def test_unseen_joints_pull_less():
    posture = random_posture(7)
    evidence = evidence_of(joints(posture, BONES))
    hidden = Evidence(evidence.points, evidence.keypoints, evidence.confidence.copy())
    wrist = XNECT_14.index("left_wrist")
    hidden.confidence[:, wrist] = 0
    names = [XNECT_21.names[j] for j in np.flatnonzero(hidden.point_weights[0] < 1)]
    assert names == ["left_wrist", "left_hand"]


def test_missing_evidence_is_left_out():
    posture = random_posture(8)
    evidence = evidence_of(joints(posture, BONES))
    evidence.points[:, 4], evidence.keypoints[:, 7] = np.nan, np.nan
    found, _ = fit_people(evidence, BONES, CAMERA, posture, no_past(posture))
    assert np.abs(joints(found, BONES) - joints(posture, BONES)).max() < 1e-6


def test_nobody_is_fitted_to_nothing():
    empty = Posture(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros((0, 23)))
    evidence = Evidence(np.zeros((0, 21, 3)), np.zeros((0, 14, 2)), np.zeros((0, 14)))
    found, cost = fit_people(evidence, np.zeros((0, 21)), CAMERA, empty, no_past(empty))
    assert len(found) == len(cost) == 0


def test_past_goes_on_as_it_was():
    before, earlier = random_posture(9), random_posture(9)
    earlier = earlier.moved(np.concatenate([np.zeros(3), np.full(26, -0.01)])[None])
    known = np.ones(1, bool)
    past = past_of(before, earlier, np.array([[0.0, 0.1]]), 0.15, known, known)
    assert np.allclose(past.expected().angles - before.angles, 0.005)
    after_a_gap = past_of(before, earlier, np.array([[0.0, 0.1]]), 1.1, known, known)
    assert np.allclose(after_a_gap.expected().angles - before.angles, 0.01)  # not on and on


def test_one_euro_is_calm_at_rest_and_does_not_lag_in_motion():
    rng = np.random.default_rng(0)
    time = np.arange(200) / 30
    known = np.ones(1, bool)
    rest, fast = OneEuro(OneEuroSettings(1.0, 0.05)), OneEuro(OneEuroSettings(1.0, 0.05))
    noise = rng.standard_normal((200, 1, 1))
    calm = np.array([rest.update(t, x, known) for t, x in zip(time, noise, strict=True)])
    assert calm[50:].std() < 0.5 * noise[50:].std()
    path = 3000 * time[:, None, None]
    lag = path - np.array([fast.update(t, x, known) for t, x in zip(time, path, strict=True)])
    assert lag[-1] < 5  # of 100 per frame


def test_one_euro_starts_afresh_after_a_gap_and_passes_unknown_rows():
    one = OneEuro(OneEuroSettings(1.0, 0.0))
    one.update(0.0, np.array([[0.0], [0.0]]), np.ones(2, bool))
    found = one.update(0.1, np.array([[1.0], [5.0]]), np.array([True, False]))
    assert 0 < found[0, 0] < 1 and found[1, 0] == 5
    found = one.update(0.7, np.array([[2.0], [9.0]]), np.ones(2, bool))
    assert found[:, 0].tolist() == [2, 9]


def tracked(points, times, tracker, jitter=0.0, seed=0):
    rng = np.random.default_rng(seed)
    out = []
    for f, time in enumerate(times):
        around = points[f : f + 1] - points[f : f + 1, PELVIS, None]
        noisy = around + jitter * rng.standard_normal(around.shape) * (np.arange(21) != PELVIS)[:, None]
        out.append(tracker.update(time, parts_of(points, [f]), noisy))
    return out


def test_jitter_falls_bones_stay_and_truth_is_nearer():
    posture, times = walking(75)
    points = joints(posture, np.repeat(BONES, 75, 0))
    found = np.concatenate([people.points for people in tracked(points, times, Tracker(CAMERA), 0.03)])[12:]
    truth = points[12:]
    noisy = truth + 0.03 * np.random.default_rng(1).standard_normal(truth.shape)

    def around(x):
        return x - x[:, PELVIS, None]

    def jerk(x):
        return np.linalg.norm(np.diff(around(x) - around(truth), 2, axis=0), axis=-1).mean()

    assert jerk(found) < jerk(noisy) / 3
    lengths = bone_lengths(found, symmetric=False)
    assert (lengths.std(0) <= 1e-9 * np.maximum(lengths.mean(0), 1e-3)).all()
    assert np.linalg.norm(around(found) - around(truth), axis=-1).mean() < 0.03


def test_distance_is_found_and_scales_with_the_height():
    posture, times = walking(15, 2)
    points = joints(posture, np.repeat(BONES, 15, 0))
    usual = tracked(points, times, Tracker(CAMERA))[-1]
    taller = tracked(points, times, Tracker(CAMERA, height=1.87))[-1]
    assert usual.place[0, 2] == pytest.approx(posture.place[-1, 2], rel=0.02)
    assert taller.place[0, 2] == pytest.approx(1.1 * posture.place[-1, 2], rel=0.02)


def test_height_can_be_said_later():
    posture, times = walking(20, 2)
    points = joints(posture, np.repeat(BONES, 20, 0))
    tracker = Tracker(CAMERA)
    tracked(points[:15], times[:15], tracker)
    tracker.set_height(0, 1.87)
    after = tracked(points[15:], times[15:], tracker)[-1]
    assert np.linalg.norm(after.bones, axis=-1).sum() == pytest.approx(1.1 * MEAN_LENGTHS.sum(), rel=0.01)
    assert after.place[0, 2] == pytest.approx(1.1 * posture.place[-1, 2], rel=0.05)


def test_two_people_keep_their_tracks_in_any_order():
    (first, times), (second, _) = walking(12, 0), walking(12, 1)
    bones = np.repeat(BONES, 12, 0)
    points = [joints(first, bones), joints(second, bones) + (1.0, 0, 0.5)]
    tracker, seen = Tracker(CAMERA), []
    for f, time in enumerate(times):
        order = [0, 1] if f % 2 else [1, 0]
        both = np.stack([points[i][f] for i in order])
        people = tracker.update(time, parts_of(both, [0, 1]), both - both[:, PELVIS, None])
        seen.append([int(track) for _, track in sorted(zip(order, people.track, strict=True))])
    assert all(tracks == seen[0] for tracks in seen)


def test_a_short_absence_keeps_the_track_and_a_long_one_does_not():
    posture, times = walking(40)
    points = joints(posture, np.repeat(BONES, 40, 0))
    around = points - points[:, PELVIS, None]
    tracker = Tracker(CAMERA)

    def at(f, time):
        return tracker.update(time, parts_of(points, [f]), around[[f]]).track.tolist()

    nobody = parts_of(points, [])
    assert at(0, 0.0) == [0]
    assert len(tracker.update(0.1, nobody, np.zeros((0, 21, 3)))) == 0
    assert at(1, 0.5) == [0]
    assert at(2, 2.0) == [1]


def test_what_cannot_be_used_is_left_out():
    posture, _ = walking(1)
    points = np.concatenate([joints(posture, BONES) + (x, 0, 0) for x in (-1.0, 0.0, 1.0)])
    parts, answers = parts_of(points, [0, 1, 2]), points - points[:, PELVIS, None]
    answers[0, 3] = np.nan
    parts.scores[2, 1:] = 0
    people = Tracker(CAMERA).update(0.0, parts, answers)
    assert people.row.tolist() == [1] and np.isfinite(people.points).all()


def test_wrong_sizes_and_times_are_refused():
    posture, _ = walking(1)
    points = joints(posture, BONES)
    tracker = Tracker(CAMERA)
    with pytest.raises(VitruvianError, match="21 points"):
        tracker.update(0.0, parts_of(points, [0]), points[:0])
    tracker.update(0.0, parts_of(points, [0]), points - points[:, PELVIS, None])
    with pytest.raises(VitruvianError, match="order"):
        tracker.update(0.0, parts_of(points, [0]), points - points[:, PELVIS, None])


def test_clothes_tell_apart_whom_place_does_not():
    posture, _ = walking(1)
    points = joints(posture, BONES)
    image = np.zeros((320, 512, 3), np.uint8)
    image[:, :256], image[:, 256:] = (255, 0, 0), (0, 0, 255)
    shift = np.array([[[-0.8, 0, 0]], [[0.8, 0, 0]]])
    parts = parts_of(points + shift, [0, 1])
    colours = clothing_colours(image, parts)
    assert np.allclose(colours.sum(1), 1)
    assert np.minimum(colours[0], colours[1]).sum() < 0.5
    nothing = clothing_colours(image, parts_of(points, [0], np.zeros((1, 14), np.float32)))
    assert not nothing.any()


def test_guessed_camera_is_in_the_middle():
    camera = Camera.guess((512, 320))
    assert camera.focal == pytest.approx(614.4) and camera.centre == (255.5, 159.5)
    assert np.allclose(camera.project(np.array([[0.0, 0, 3]])), camera.centre)


def test_angles_are_in_radians():
    assert ANGLES.high[ANGLES.names.index("right_knee")] == pytest.approx(155 * DEGREE)
