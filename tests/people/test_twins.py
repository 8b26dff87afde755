"""One person who is followed twice, and two who are near each other."""

from dataclasses import replace

import numpy as np

from vitruvian.people.twins import merge_twins
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

FRAMES = 30


def people(track: int, frames: range, left: float = 100.0, top: float = 100.0, off: float = 0.0) -> People:
    """Somebody of 100 x 200 pixels who walks to the right; `off`: pixels by which the keypoints of this sight are off."""
    frame = np.array(frames)
    box = np.array([left, top, left + 100, 300]) + 2.0 * frame[:, None] * [1, 0, 1, 0]
    points = np.random.default_rng(4).uniform((20, 10), (80, 190), (17, 2)) + [100, 100] + 2.0 * frame[:, None, None] * [1, 0]
    ids, scores, sure = np.full(len(frame), track), np.full(len(frame), 0.5), np.full((len(frame), 17), 0.8)
    return People(frame, ids, box, scores, points + [left - 100 + off, 0], sure)


def take(*several: People) -> Take:
    return Take(People.concatenate(several), COCO_17, np.arange(FRAMES) / 30, np.tile([640, 480], (FRAMES, 1)))


def test_somebody_seen_whole_and_by_half_is_one():
    """The half is followed later on too, when the whole is lost."""
    found = merge_twins(take(people(1, range(20)), people(2, range(10, 30), top=180, off=3)))
    assert found.tracks.tolist() == [1]
    assert found.people.frame[np.argsort(found.people.frame)].tolist() == list(range(30))
    at = found.people.at(15)
    assert len(at) == 1 and at.boxes[0, 1] in (100, 180)


def test_the_surer_body_is_left():
    half = people(1, range(30), top=180)
    unsure = replace(half, confidence=np.where(np.arange(17) < 11, 0.8, 0.1) * np.ones((30, 1)))
    found = merge_twins(take(unsure, people(2, range(5, 25))))
    assert found.tracks.tolist() == [1] and len(found.people) == 30
    assert [found.people.at(frame).boxes[0, 1] for frame in (4, 5, 24, 25)] == [180, 100, 100, 180]


def test_people_side_by_side_or_behind_each_other_stay_two():
    beside = take(people(1, range(30)), people(2, range(30), left=220))
    assert merge_twins(beside) is beside
    behind = take(people(1, range(30)), people(2, range(30), off=25))  # in one box, with other joints
    assert merge_twins(behind) is behind


def test_two_frames_or_unsure_joints_tell_nothing():
    short = take(people(1, range(20)), people(2, range(18, 30)))
    assert merge_twins(short) is short
    unsure = take(people(1, range(30)), people(2, range(30)))
    unsure = replace(unsure, people=replace(unsure.people, confidence=np.full((60, 17), 0.3)))
    assert merge_twins(unsure) is unsure


def test_three_tracks_of_one_person_and_rows_without_ids():
    alone = people(-1, range(3))
    found = merge_twins(take(people(3, range(12)), people(5, range(8, 22), off=2), people(9, range(16, 30), off=4), alone))
    assert found.tracks.tolist() == [3] and (found.people.track == -1).sum() == 3 and (found.people.track == 3).sum() == 30


def test_nobody():
    nobody = Take(People.empty(17), COCO_17, np.zeros(0), np.zeros((0, 2)))
    assert merge_twins(nobody) is nobody
