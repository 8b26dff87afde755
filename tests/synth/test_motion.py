"""Motions: a BVH is followed, and made-up moves are smooth."""

from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.formats.bvh import Bvh, forward_kinematics, read_bvh, write_bvh
from vitruvian.synth.activities import posed_heads, sample_scripts
from vitruvian.synth.motion import MOVES, Borrowed, between, borrow, move, poses_from_bvh

DATA = Path(__file__).parents[3] / "shared" / "data" / "motion"


def directions(points, pairs):
    d = np.stack([points[:, b] - points[:, a] for a, b in pairs], 1)
    return d / np.linalg.norm(d, axis=-1, keepdims=True)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cmu_01_01", "cmu_131_01"])
def test_limbs_point_where_the_file_has_them(wardrobe, name):
    path = DATA / f"{name}.bvh"
    if not path.exists():
        pytest.skip("no shared data")
    whole = read_bvh(path)
    motion = Bvh(whole.names, whole.parents, whole.offsets, whole.rotations[1:200:20], whole.translation[1:200:20], whole.frame_time)
    heads = posed_heads(wardrobe.rig, wardrobe.parents, poses_from_bvh(motion, wardrobe.rig))
    theirs = forward_kinematics(motion)[0] @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T
    bone = wardrobe.rig.names.index
    joint = lambda *names: next(motion.names.index(n) for n in names if n in motion.names)  # noqa: E731
    for side, word in (("L", "Left"), ("R", "Right")):
        ours = [(f"upperleg01.{side}", f"lowerleg01.{side}"), (f"lowerleg01.{side}", f"foot.{side}"),
                (f"upperarm01.{side}", f"lowerarm01.{side}"), (f"lowerarm01.{side}", f"wrist.{side}")]  # fmt: skip
        knee, foot = joint(f"{word}Leg", f"{word}Knee"), joint(f"{word}Foot", f"{word}Ankle")
        elbow, hand = joint(f"{word}ForeArm", f"{word}Elbow"), joint(f"{word}Hand", f"{word}Wrist")
        parents = motion.parents
        pairs = [(parents[knee], knee), (knee, foot), (parents[elbow], elbow), (elbow, hand)]
        cosine = (directions(heads, [(bone(a), bone(b)) for a, b in ours]) * directions(theirs, pairs)).sum(-1)
        assert cosine.min() > 0.99


NAMES = ("Hips", "Chest", "Head", "LeftArm", "LeftForeArm", "LeftHand", "RightArm", "RightForeArm", "RightHand",
         "LeftUpLeg", "LeftLeg", "LeftFoot", "RightUpLeg", "RightLeg", "RightFoot")  # fmt: skip
PARENTS = (-1, 0, 1, 1, 3, 4, 1, 6, 7, 0, 9, 10, 0, 12, 13)
OFFSETS = np.array([[0, 0, 0], [0, 50, 0], [0, 25, 0], [18, 0, 0], [0, -28, 0], [0, -25, 0], [-18, 0, 0], [0, -28, 0], [0, -25, 0],
                    [10, 0, 0], [0, -42, 0], [0, -42, 0], [-10, 0, 0], [0, -42, 0], [0, -42, 0]], float)  # fmt: skip


def arms_raised(frames=3, names=NAMES):
    """Somebody who faces +x, in another direction at each frame's end, the left arm straight up and the right one hanging; centimetres."""
    turns = np.tile(np.eye(3), (frames, len(NAMES), 1, 1))
    turns[:, 0] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # a quarter turn to the own left
    turns[:, 3] = np.diag([1, -1, -1])
    return Bvh(names, PARENTS, OFFSETS, turns, np.tile([0, 95.0, 0], (frames, 1)), 1 / 30)


@pytest.mark.parametrize("style", ["{side}{part}", "{side}_{part}", "{part}.{letter}", "rig:{letter}{part}"])
def test_joints_are_known_by_the_names_that_programs_give(wardrobe, style):
    known = {"LeftHand": "L", "RightHand": "R", "LeftFoot": "L", "RightFoot": "R"}
    names = tuple(
        style.format(side="left" if known[n] == "L" else "right", letter=known[n].lower(), part="hand" if "Hand" in n else "foot")
        if n in known else n for n in NAMES
    )  # fmt: skip
    np.testing.assert_array_equal(poses_from_bvh(arms_raised(1, names), wardrobe.rig), poses_from_bvh(arms_raised(1), wardrobe.rig))


def test_a_share_of_people_take_their_poses_from_a_file_and_face_the_front(wardrobe, tmp_path):
    write_bvh(arms_raised(), tmp_path / "raised.bvh")
    borrowed = borrow([tmp_path / "raised.bvh"], wardrobe.rig, 0.4)
    scripts = sample_scripts(np.random.default_rng(0), wardrobe.rig, wardrobe.parents, 120, borrowed=borrowed)
    heads = posed_heads(wardrobe.rig, wardrobe.parents, scripts.poses)
    at = lambda name: heads[:, wardrobe.rig.names.index(name)]  # noqa: E731
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)  # noqa: E731
    up, down = unit(at("wrist.L") - at("upperarm01.L")), unit(at("wrist.R") - at("upperarm01.R"))
    across = unit(at("upperleg01.L") - at("upperleg01.R"))
    theirs = (up[:, 2] > 0.995) & (down[:, 2] < -0.995) & (across[:, 0] > 0.995)
    assert 0.28 < theirs.mean() < 0.52
    assert set(scripts.attitudes[theirs]) == {"stand"}
    fingers = scripts.poses[theirs][:, wardrobe.rig.names.index("finger3-2.L"), :3, :3]
    assert np.ptp(fingers, axis=0).max() > 0.1  # which the file does not tell


def test_nobody_and_nothing_to_borrow_from(wardrobe, tmp_path):
    borrowed = Borrowed((arms_raised(),))
    assert len(sample_scripts(np.random.default_rng(0), wardrobe.rig, wardrobe.parents, 0, borrowed=borrowed).poses) == 0
    write_bvh(arms_raised(0), tmp_path / "empty.bvh")
    with pytest.raises(FormatError, match="no frames"):
        borrow([tmp_path / "empty.bvh"], wardrobe.rig)
    with pytest.raises(VitruvianError, match="share"):
        borrow([], wardrobe.rig, 0)


def test_a_motion_without_hands_is_refused(wardrobe):
    motion = Bvh(("Hips", "Head"), (-1, 0), np.zeros((2, 3)), np.tile(np.eye(3), (1, 2, 1, 1)), np.zeros((1, 3)), 0.03)
    with pytest.raises(FormatError, match="left hand"):
        poses_from_bvh(motion, wardrobe.rig)


@pytest.mark.parametrize("kind", MOVES)
def test_moves_are_rotations_and_have_no_jumps(wardrobe, kind):
    times = np.arange(0, 2, 1 / 60)
    poses = move(np.random.default_rng(0), wardrobe.rig, kind, times)
    assert poses.shape == (len(times), len(wardrobe.rig.names), 4, 4)
    turns = poses[..., :3, :3]
    np.testing.assert_allclose(turns @ turns.swapaxes(-1, -2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-6)
    heads = posed_heads(wardrobe.rig, wardrobe.parents, poses)
    assert np.linalg.norm(np.diff(heads, axis=0), axis=-1).max() < 0.25  # metres in a sixtieth of a second


def test_no_times_make_no_poses_and_unknown_moves_are_named(wardrobe):
    assert len(move(np.random.default_rng(0), wardrobe.rig, "dance", np.zeros(0))) == 0
    with pytest.raises(VitruvianError, match="'fly'"):
        move(np.random.default_rng(0), wardrobe.rig, "fly", np.zeros(1))


def test_between_meets_its_keys(wardrobe):
    keys = move(np.random.default_rng(1), wardrobe.rig, "dance", np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(between(keys, np.array([0.0, 1.0, 2.0])), keys, atol=1e-6)
