"""The rig made of keypoints meets them exactly where bones keep their length; gaps, uneven times, hands missing; and the way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from format_takes import SHARED, body_points, walk_take, without_points

from vitruvian.errors import FormatError
from vitruvian.formats.acclaim import read_amc
from vitruvian.formats.bvh import forward_kinematics, read_bvh, renamed, write_bvh
from vitruvian.formats.convert import Options, motions_of, write
from vitruvian.formats.rig import motion_from_points, take_from_motion
from vitruvian.formats.rig_names import CMU_NAMES, MIXAMO_NAMES
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133, HAND_21, convert

TIMES = np.arange(30) / 25
RIGGED = np.isfinite(body_points(1)[0]).all(-1)
# Both ears become one joint, toes other than the big one and the heel shape the foot: they are in no place of the file.
INSIDE = [COCO_WHOLEBODY_133.index(f"{side}_{name}") for side in ("left", "right") for name in ("ear", "heel", "small_toe", "hand_root")]


def test_joints_meet_the_keypoints():
    points = body_points()
    motion = motion_from_points(points, COCO_WHOLEBODY_133, TIMES)
    assert len(motion.names) == 47 and motion.frame_time == pytest.approx(0.04)
    found = take_from_motion(motion).people.points
    wanted = RIGGED.copy()
    wanted[INSIDE] = False
    np.testing.assert_allclose(found[:, wanted], points[:, wanted], atol=1e-5)
    assert np.isnan(found[:, ~wanted]).all()


def test_the_file_holds_the_same_positions(tmp_path: Path):
    motion = motion_from_points(body_points(), COCO_WHOLEBODY_133, TIMES)
    write_bvh(motion, tmp_path / "walk.bvh")
    positions = forward_kinematics(read_bvh(tmp_path / "walk.bvh"))[0] / 100
    index = motion.names.index
    points = body_points()
    for joint, keypoint in {"left_lower_arm": "left_elbow", "right_hand": "right_wrist", "left_foot": "left_ankle"}.items():
        np.testing.assert_allclose(positions[:, index(joint)], points[:, COCO_WHOLEBODY_133.index(keypoint)], atol=1e-6)


def test_at_rest_it_stands_in_a_t():
    motion = motion_from_points(body_points(), COCO_WHOLEBODY_133, TIMES)
    still = replace(motion, rotations=np.tile(np.eye(3), (1, len(motion.names), 1, 1)), translation=np.zeros((1, 3)))
    rest = dict(zip(motion.names, forward_kinematics(still)[0][0], strict=True))
    assert rest["head"] == pytest.approx([0, 72, 0], abs=1e-3) and rest["left_foot"] == pytest.approx([10, -83, 0], abs=1e-3)
    assert rest["left_hand"] == pytest.approx([18 + 29 + 26, 50, 0], abs=1e-3) and rest["right_hand"][0] < -70
    toes = motion.end_offsets[motion.ends.index(motion.names.index("left_foot"))]
    assert toes[2] > 10 and abs(toes[1]) < 10  # forward and level


def test_keypoints_of_other_sets_and_without_hands():
    points = body_points()
    body = convert(points, np.ones(points.shape[:2]), COCO_WHOLEBODY_133, COCO_17).keypoints
    motion = motion_from_points(body, COCO_17, TIMES)
    assert "left_hand" not in motion.names and "left_foot" not in motion.names and "head" in motion.names
    ends = {motion.names[joint] for joint in motion.ends}
    assert {"left_lower_arm", "right_lower_leg", "head"} <= ends  # the bones still end at wrist and ankle
    found = take_from_motion(motion).people.points
    np.testing.assert_allclose(found[:, 5:17], points[:, 5:17], atol=1e-5)


def test_gaps_are_filled_and_do_not_change_bone_lengths():
    points = body_points()
    gappy = points.copy()
    gappy[10:14, COCO_WHOLEBODY_133.index("left_wrist")] = np.nan
    gappy[:3, COCO_WHOLEBODY_133.index("right_knee")] = np.nan
    gappy[20] = np.nan
    motion = motion_from_points(gappy, COCO_WHOLEBODY_133, TIMES)
    whole = motion_from_points(points, COCO_WHOLEBODY_133, TIMES)
    np.testing.assert_allclose(motion.offsets, whole.offsets, atol=1e-6)
    assert np.isfinite(motion.rotations).all() and len(motion) == 30
    assert np.abs(motion.translation[20] - whole.translation[20]).max() < 2  # centimetres: between its neighbours


def test_uneven_times_are_resampled():
    times = np.sort(np.concatenate([np.arange(0, 1, 0.04), [0.05, 0.53]]))
    at = np.interp(times, TIMES, np.arange(30))
    points = body_points()
    low = np.floor(at).astype(int)
    uneven = points[low] + (at - low)[:, None, None] * (points[low + 1] - points[low])
    motion = motion_from_points(uneven, COCO_WHOLEBODY_133, times)
    assert motion.frame_time == pytest.approx(0.04) and len(motion) == 25
    even = motion_from_points(points[:25], COCO_WHOLEBODY_133, TIMES[:25])
    np.testing.assert_allclose(motion.translation, even.translation, atol=0.2)
    apart = np.einsum("fjab,fjcb->fjac", motion.rotations, even.rotations)
    angles = np.degrees(np.arccos(np.clip((np.trace(apart, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))
    assert angles.max() < 5


def test_limbs_straight_opposite_to_rest_and_points_that_coincide_have_rotations():
    points = body_points(2)
    left, knee = COCO_WHOLEBODY_133.index("left_hip"), COCO_WHOLEBODY_133.index("left_knee")
    pelvis = points[:, left] - points[:, COCO_WHOLEBODY_133.index("right_hip")]
    up = points[:, 5] + points[:, 6] - points[:, 11] - points[:, 12]
    up = up - (up * pelvis).sum(-1, keepdims=True) / (pelvis**2).sum(-1, keepdims=True) * pelvis
    points[:, knee] = points[:, left] + 0.42 * up / np.linalg.norm(up, axis=-1, keepdims=True)
    points[:, COCO_WHOLEBODY_133.index("right_elbow")] = points[:, COCO_WHOLEBODY_133.index("right_shoulder")]
    motion = motion_from_points(points, COCO_WHOLEBODY_133, TIMES[:2])
    np.testing.assert_allclose(np.linalg.det(motion.rotations), 1, atol=1e-9)
    found = take_from_motion(motion).people.points
    np.testing.assert_allclose(found[:, knee], points[:, knee], atol=1e-5)


def test_one_frame_no_trunk_and_times_that_go_back():
    motion = motion_from_points(body_points(30)[:1], COCO_WHOLEBODY_133, TIMES[:1])
    assert len(motion) == 1 and motion.frame_time > 0
    with pytest.raises(FormatError, match="hips"):
        motion_from_points(np.zeros((3, 21, 3)), HAND_21, TIMES[:3])
    with pytest.raises(FormatError, match="hips"):
        motion_from_points(np.full((0, 133, 3), np.nan), COCO_WHOLEBODY_133, TIMES[:0])
    with pytest.raises(FormatError, match="increase"):
        motion_from_points(body_points(3), COCO_WHOLEBODY_133, np.array([0, 0.1, 0.1]))
    with pytest.raises(FormatError, match="steps"):
        motion_from_points(body_points(5), COCO_WHOLEBODY_133, np.array([0, 0.001, 0.002, 0.003, 1e9]))


def test_every_person_has_a_file(tmp_path: Path):
    take = walk_take(persons=2)
    paths = write(take, tmp_path / "walk.bvh")
    assert [path.name for path in paths] == ["walk_person1.bvh", "walk_person2.bvh"]
    assert [path.name for path in write(take, tmp_path / "one.bvh", options=Options(person=2))] == ["one.bvh"]
    np.testing.assert_array_equal(read_bvh(tmp_path / "one.bvh").rotations, read_bvh(paths[1]).rotations)
    assert write(take.subset(slice(0, 0)), tmp_path / "nobody.bvh") == []


def test_camera_axes_are_turned_up_and_pixels_need_a_scale(tmp_path: Path):
    take = walk_take(5)
    turned = replace(take, people=replace(take.people, points=take.people.points * [1, -1, -1]), space="camera")
    (a,), (b,) = motions_of(take).values(), motions_of(turned).values()
    np.testing.assert_allclose(a.translation, b.translation, atol=1e-4)
    with pytest.raises(FormatError, match="metres_per_pixel"):
        motions_of(without_points(take))
    (flat,) = motions_of(without_points(take), Options(metres_per_pixel=0.01)).values()
    assert np.ptp(flat.translation[:, 2]) == 0 and flat.translation[0, 1] == pytest.approx(100 * 0.01 * (479 - 400 + 95), abs=2)


@pytest.mark.parametrize("names", [CMU_NAMES, MIXAMO_NAMES], ids=["cmu", "mixamo"])
def test_other_programs_names_are_known_on_the_way_back(names):
    motion = motion_from_points(body_points(), COCO_WHOLEBODY_133, TIMES)
    foreign = renamed(motion, names)
    assert set(foreign.names) & set(motion.names) == set()
    body = slice(5, 17)
    np.testing.assert_array_equal(take_from_motion(foreign).people.points[:, body], take_from_motion(motion).people.points[:, body])
    with pytest.raises(FormatError, match="names"):
        take_from_motion(renamed(motion, {name: f"bone{i}" for i, name in enumerate(motion.names)}))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cmu_01_01.bvh", "cmu_131_01.bvh", "cmu_11_01.amc"])
def test_real_motions_have_keypoints_where_a_body_has_them(name: str):
    path = SHARED / "motion" / name
    if not path.exists():
        pytest.skip("no shared data beside the repository")
    motion = read_amc(path) if path.suffix == ".amc" else read_bvh(path)
    points = take_from_motion(motion, 0.0254 / 0.45).people.points
    at = {name: points[:, COCO_WHOLEBODY_133.index(name)] for name in COCO_WHOLEBODY_133.names[:17]}
    for side in ("left", "right"):
        for a, b, low, high in (("hip", "knee", 0.3, 0.5), ("knee", "ankle", 0.3, 0.5), ("shoulder", "elbow", 0.2, 0.4)):
            length = np.linalg.norm(at[f"{side}_{a}"] - at[f"{side}_{b}"], axis=-1)
            assert low < length.min() and length.max() < high and np.ptp(length) < 1e-4, (side, a)
    across = at["left_hip"] - at["right_hip"]
    again = motion_from_points(points, COCO_WHOLEBODY_133, motion.times)
    found = take_from_motion(again).people.points
    np.testing.assert_allclose(found[:, 11] - found[:, 12], across, atol=0.02)
    np.testing.assert_allclose(found[:, 13:17], points[:, 13:17], atol=0.02)  # legs are rigid, the trunk is not
