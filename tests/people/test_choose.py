"""Joints that are seen in two places: a walk in profile whose legs a network confuses now and then."""

from dataclasses import replace

import numpy as np
import pytest

from vitruvian.people import choose_places
from vitruvian.skeletons import COCO_WHOLEBODY_133 as SET
from vitruvian.take import People, Take

FRAMES, RATE = 60, 30.0
LEG = {"knee": (170, 320, 30), "ankle": (170, 400, 60), "big_toe": (150, 410, 60), "small_toe": (152, 409, 60), "heel": (172, 408, 60)}
SWINGING = LEG | {"elbow": (170, 150, 25), "wrist": (170, 200, 50)}  # middle x, y, and how far to each side


def walk(frames: int = FRAMES) -> Take:
    """A person of 200 x 400 pixels whose legs and arms swing against each other; every keypoint is sure."""
    keypoints = np.tile(np.linspace((150, 60), (190, 100), len(SET)), (frames, 1, 1))
    swing = np.sin(2 * np.pi * np.arange(frames) / 40)
    for name, (x, y, far) in SWINGING.items():
        for side, sign in (("left", 1), ("right", -1)):
            keypoints[:, SET.index(f"{side}_{name}")] = np.stack([x + sign * far * swing, np.full(frames, y)], -1)
    for side in ("left", "right"):
        hand = SET.parts[f"{side}_hand"]
        keypoints[:, hand] = keypoints[:, [SET.index(f"{side}_wrist")]] + np.linspace((0, 2), (5, 20), 21)
    second = np.concatenate([keypoints + 40, np.zeros((frames, len(SET), 1))], -1)
    boxes, sure = np.tile([70, 20, 270, 420], (frames, 1)), np.ones((frames, len(SET)))
    rows = People(np.arange(frames), np.ones(frames), boxes, np.ones(frames), keypoints, sure, second=second)
    return Take(rows, SET, np.arange(frames) / RATE, np.tile([640, 480], (frames, 1)))


def confused(take: Take, names: list[str], frames: list[int], wrong: float = 0.6, right: float = 0.35) -> Take:
    """In these frames these points are rather seen on the other side; their own place is the second."""
    keypoints, confidence, second = (np.array(a) for a in (take.people.keypoints, take.people.confidence, take.people.second))
    for name in names:
        k, other = SET.index(name), SET.swap[SET.index(name)]
        second[frames, k] = np.concatenate([keypoints[frames, k], np.full((len(frames), 1), right)], -1)
        keypoints[frames, k], confidence[frames, k] = take.people.keypoints[frames, other], wrong
    return replace(take, people=replace(take.people, keypoints=keypoints, confidence=confidence, second=second))


def off(found: Take, truth: Take) -> np.ndarray:
    """Pixels, (frames, keypoints)."""
    return np.linalg.norm(found.people.keypoints - truth.people.keypoints, axis=-1)


def test_sure_keypoints_stay_as_they_are():
    take = walk()
    same = choose_places(take)
    np.testing.assert_array_equal(same.people.keypoints, take.people.keypoints)
    assert same.people.second is None


@pytest.mark.parametrize("joint", ["knee", "ankle", "elbow", "wrist"])
def test_a_joint_that_was_put_on_the_other_side_for_a_moment_comes_back(joint):
    truth = walk()
    take = confused(truth, [f"left_{joint}"], [7, 8, 9, 30])
    assert off(take, truth).max() > 20
    assert off(choose_places(take), truth).max() < 1e-3


def test_both_legs_exchanged_for_some_frames_come_back_with_their_feet():
    truth = walk()
    names = [f"{side}_{joint}" for side in ("left", "right") for joint in LEG]
    found = choose_places(confused(truth, names, list(range(8, 14))))
    assert off(found, truth).max() < 1e-3


def test_toes_and_fingers_follow_the_joint_that_they_hang_on():
    """Only the toes and the hand are seen on the other side, with the greater chance: the ankle and the wrist are sure."""
    truth = walk()
    hand = SET.names[SET.parts["left_hand"]]
    found = choose_places(confused(truth, ["left_big_toe", "left_heel", *hand], [9, 10, 11]))
    assert off(found, truth).max() < 1e-3


def test_a_place_that_only_the_other_sides_map_has_is_found():
    """The left ankle's map has but the right one's place; where the left one is, only the right one's map tells."""
    truth = walk()
    left, right = SET.index("left_ankle"), SET.index("right_ankle")
    keypoints, second = np.array(truth.people.keypoints), np.array(truth.people.second)
    keypoints[9, left] = truth.people.keypoints[9, right]
    second[9, right] = (*truth.people.keypoints[9, left], 0.4)
    take = replace(truth, people=replace(truth.people, keypoints=keypoints, second=second))
    found = choose_places(take)
    assert off(found, truth)[9, left] < 1e-3
    assert found.people.confidence[9, left] == pytest.approx(0.4)


def test_after_a_gap_or_in_a_single_frame_the_likelier_place_counts():
    truth = walk(1)
    take = confused(truth, ["left_ankle"], [0])
    np.testing.assert_array_equal(choose_places(take).people.keypoints, take.people.keypoints)


def test_people_without_ids_without_second_places_or_without_legs_pass():
    plain = walk()
    bare = replace(plain, people=replace(plain.people, second=None))
    assert choose_places(bare) is bare
    untracked = confused(plain, ["left_ankle"], [9])
    untracked = replace(untracked, people=replace(untracked.people, track=np.full(FRAMES, -1)))
    np.testing.assert_array_equal(choose_places(untracked).people.keypoints, untracked.people.keypoints)
    nobody = replace(plain, people=plain.people[:0])
    assert len(choose_places(nobody).people) == 0


def test_keypoints_that_were_not_found_stay_missing():
    take = walk()
    keypoints, confidence = np.array(take.people.keypoints), np.array(take.people.confidence)
    for name in ("left_ankle", "right_wrist"):
        keypoints[20:25, SET.index(name)], confidence[20:25, SET.index(name)] = np.nan, 0
    found = choose_places(replace(take, people=replace(take.people, keypoints=keypoints, confidence=confidence)))
    assert np.isnan(found.people.keypoints[22, SET.index("left_ankle")]).all()
    assert np.isfinite(np.delete(found.people.keypoints, [SET.index("left_ankle"), SET.index("right_wrist")], axis=1)).all()
