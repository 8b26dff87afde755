from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swap_scenes import HALPE, KINDS, RUN, WALK, Score, clips, filmed, person, score, spoilt, swapped, turning
from vitruvian.people.swap import Swap, repair_swaps, unit_points
from vitruvian.skeletons import SKELETONS, by_name
from vitruvian.take import PARTS, People, Take

MOTION = Path(__file__).parents[3] / "shared" / "data" / "motion"
TIMES = np.arange(150) / 30


def walk(times=TIMES, azimuth=0.1, gait=WALK, heading=0.0, seed=0, **more):
    return filmed(person(times, gait, heading, 0.1 * seed), times, azimuth, seed=seed, **more)


def during(first, last, units, frames=150):
    """Masks of units that are swapped in the frames first..last."""
    frame = np.arange(frames)
    return {unit: (frame >= first) & (frame <= last) if unit in units else np.zeros(frames, bool) for unit in KINDS["whole"]}


def same(a, b):
    np.testing.assert_array_equal(a.keypoints, b.keypoints)
    np.testing.assert_array_equal(a.confidence, b.confidence)


@pytest.mark.parametrize("fps, seed", [(30, 0), (60, 1)])
def test_swaps_of_all_kinds_are_repaired_and_what_is_right_stays(fps, seed):
    result = Score()
    for i, truth in enumerate(clips(fps, seed, seconds=6.0).values()):
        bad, masks = spoilt(truth, 10 * seed + i, rate=1.0)
        score(truth, masks, repair_swaps(bad)[0], result)
    assert result.swapped > 800
    assert result.recall >= 0.95
    assert result.false < 0.005


@pytest.mark.parametrize("fps, seed", [(30, 2), (60, 3)])
def test_takes_without_swaps_stay_as_they_are(fps, seed):
    wrong = [repair_swaps(truth)[1].mask.mean() for truth in clips(fps, seed, seconds=5.0).values()]
    assert np.mean(wrong) < 0.002


@pytest.mark.shared
def test_swaps_in_real_walks_are_repaired():
    from vitruvian.formats.bvh import read_bvh
    from vitruvian.formats.rig import take_from_motion

    result = Score()
    for name in ("cmu_131_01.bvh", "cmu_131_03.bvh"):
        if not (MOTION / name).exists():
            pytest.skip("needs ../shared/data")
        motion = take_from_motion(read_bvh(MOTION / name), 0.0564)
        points = motion.people.points[1::4].astype(np.float64)  # 120 Hz; the first frame is a T pose
        for seed, azimuth in enumerate((0.0, 0.8, 1.6)):
            truth = filmed(points, np.arange(len(points)) / 30, azimuth, motion.skeleton, seed=seed)
            bad, masks = spoilt(truth, seed)
            score(truth, masks, repair_swaps(bad)[0], result)
    assert result.recall >= 0.95 and result.false < 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone(kind):
    truth = walk(azimuth=0.5)
    bad = swapped(truth, during(60, 74, KINDS[kind]))
    fixed, report = repair_swaps(bad)
    same(fixed, truth)
    assert report.swaps == (Swap(1, tuple(u for u in report.units if u in KINDS[kind]), 60, 74),)


@pytest.mark.parametrize("gait", [WALK, RUN])
def test_a_swap_from_one_crossing_of_the_legs_to_the_next_is_repaired(gait):
    """Nothing jumps then: the velocity alone tells."""
    truth = walk(gait=gait, missing=0.0)
    apart = (truth.keypoints[:, HALPE.index("left_ankle")] - truth.keypoints[:, HALPE.index("right_ankle")])[:, 0]
    crossings = np.flatnonzero(np.sign(apart[1:]) != np.sign(apart[:-1])) + 1
    bad = swapped(truth, during(crossings[1], crossings[2] - 1, KINDS["lower legs"]))
    result = Score()
    score(truth, during(crossings[1], crossings[2] - 1, KINDS["lower legs"]), repair_swaps(bad)[0], result)
    assert result.recall > 0.9 and result.false < 0.005


def test_a_turn_is_no_swap():
    truth = walk(heading=turning(TIMES, every=2.5))
    assert not repair_swaps(truth)[1].swaps


def test_uneven_times_and_dropped_frames():
    times = np.sort(np.random.default_rng(0).choice(np.arange(300) / 60, 160, replace=False))
    truth = filmed(person(times), times, 0.3, seed=1)
    bad = swapped(truth, during(50, 70, KINDS["legs"], 160))
    same(repair_swaps(bad)[0], truth)


def test_the_longer_labelling_of_a_track_is_the_right_one():
    truth = walk()
    bad = swapped(truth, during(0, 40, KINDS["whole"]))
    same(repair_swaps(bad)[0], truth)


def test_stretches_far_apart_are_judged_each_by_itself():
    times = np.concatenate([TIMES, TIMES + 20])
    truth = filmed(person(times), times, 0.4, seed=2)
    bad = swapped(truth, during(0, 30, KINDS["legs"], 300) | {"wrist": np.arange(300) > 270})
    same(repair_swaps(bad)[0], truth)


def space_take(points, times, skeleton=HALPE):
    """A take with points in metres only."""
    n, nowhere = len(times), np.full((len(times), len(skeleton), 2), np.nan)
    people = People(np.arange(n), np.ones(n), np.zeros((n, 4)), np.ones(n), nowhere, np.ones(points.shape[:2]), points=points)
    return Take(people, skeleton, times, np.zeros((n, 2)), space="world")


def test_points_in_space_are_repaired_without_keypoints():
    points = person(TIMES, RUN) + np.random.default_rng(4).normal(0, 0.01, (150, 26, 3))
    bad = points.copy()
    legs = np.concatenate([unit_points(HALPE)[unit] for unit in KINDS["legs"]])
    bad[np.ix_(np.arange(80, 100), legs)] = points[np.ix_(np.arange(80, 100), np.asarray(HALPE.swap)[legs])]
    fixed, _ = repair_swaps(space_take(bad, TIMES))
    np.testing.assert_array_equal(fixed.people.points, points.astype(np.float32))


def test_in_space_anatomy_shows_that_a_whole_track_is_swapped():
    points = person(TIMES, heading=0.6) + np.random.default_rng(4).normal(0, 0.01, (150, 26, 3))
    fixed, _ = repair_swaps(space_take(points[:, HALPE.swap], TIMES))
    np.testing.assert_array_equal(fixed.people.points, points.astype(np.float32))
    assert not repair_swaps(space_take(points, TIMES))[1].swaps


def test_hands_and_feet_go_with_wrists_and_ankles_in_the_whole_body():
    whole = by_name("coco-wholebody-133")
    rng = np.random.default_rng(5)
    body = walk(azimuth=0.6, missing=0.0)
    keypoints = np.full((150, 133, 2), np.nan)
    for i, name in enumerate(whole.names):
        if name in HALPE.names:
            keypoints[:, i] = body.keypoints[:, HALPE.index(name)]
    for side in ("left", "right"):
        wrist = keypoints[:, whole.index(f"{side}_wrist")]
        keypoints[:, whole.parts[f"{side}_hand"]] = wrist[:, None] + rng.normal(0, 8, (1, 21, 2)) + rng.normal(0, 1, (150, 21, 2))
    nose = keypoints[:, 0]
    keypoints[:, whole.parts["face"]] = nose[:, None] + rng.normal(0, 8, (1, 68, 2)) + rng.normal(0, 1, (150, 68, 2))
    boxes = rng.uniform(0, 100, (150, 6, 4)).astype(np.float32)
    people = replace(body.people, keypoints=keypoints, confidence=np.full((150, 133), 0.9), part_boxes=boxes)
    truth = replace(body, people=people, skeleton=whole)
    bad = swapped(truth, during(40, 60, KINDS["lower arms"]))
    crossed = boxes.copy()
    crossed[40:61, 2:4] = boxes[40:61, [3, 2]]
    fixed, report = repair_swaps(replace(bad, people=replace(bad.people, part_boxes=crossed)))
    same(fixed, truth)
    np.testing.assert_array_equal(fixed.people.part_boxes, boxes)
    assert report.swaps == (Swap(1, ("elbow", "wrist", "hand"), 40, 60),)
    assert PARTS[2:4] == ("left_hand", "right_hand")


def test_tracks_are_repaired_apart_and_rows_without_one_stay():
    truth = walk(azimuth=0.5)
    bad = swapped(truth, during(60, 74, KINDS["legs"]))
    others = [replace(take.people, track=np.full(150, track)) for take, track in ((bad, 5), (truth, 9), (bad, -1))]
    fixed, report = repair_swaps(replace(bad, people=People.concatenate(others)))
    np.testing.assert_array_equal(fixed.keypoints, np.concatenate([truth.keypoints, truth.keypoints, bad.keypoints]))
    assert {swap.track for swap in report.swaps} == {5}
    assert report.mask.shape == (450, len(report.units))


@given(shift=st.floats(-1e3, 1e3), scale=st.floats(0.2, 5), order=st.permutations(range(150)), track=st.integers(0, 99))
@settings(max_examples=4, deadline=None)
def test_start_of_time_size_order_of_rows_and_name_of_track_do_not_matter(shift, scale, order, track):
    bad, _ = spoilt(walk(azimuth=0.4, seed=3), 3, rate=1.0)
    want = repair_swaps(bad)[1].mask
    people = bad.people
    moved = replace(people, keypoints=people.keypoints * scale + 40, boxes=people.boxes * scale + 40, track=np.full(150, track))
    got = repair_swaps(replace(bad, people=moved[np.array(order)], times=bad.times + shift))[1].mask
    np.testing.assert_array_equal(got, want[order])


def test_mirroring_a_clip_and_exchanging_its_sides_does_not_matter():
    bad, _ = spoilt(walk(azimuth=0.4, seed=4), 4, rate=1.0)
    keypoints = bad.keypoints[:, HALPE.swap] * np.float32([-1, 1])
    mirrored = replace(bad.people, keypoints=keypoints, confidence=bad.confidence[:, HALPE.swap])
    np.testing.assert_array_equal(repair_swaps(replace(bad, people=mirrored))[1].mask, repair_swaps(bad)[1].mask)


def test_nobody_one_frame_and_nothing_seen_are_answers():
    truth = walk()
    for take in (truth.subset(slice(0, 0)), truth.subset(slice(0, 1)), truth.subset(slice(0, 2))):
        fixed, report = repair_swaps(take)
        same(fixed, take)
        assert report.swaps == () and report.mask.shape == (len(take.people), len(report.units))
    blind = replace(truth, people=replace(truth.people, keypoints=np.full_like(truth.keypoints, np.nan)))
    assert not repair_swaps(blind)[1].mask.any()
    nowhere = replace(truth, people=replace(truth.people, boxes=np.zeros((150, 4)), keypoints=np.zeros_like(truth.keypoints)))
    assert not repair_swaps(nowhere)[1].mask.any()


def test_times_that_stand_still_are_survived():
    truth = walk()
    repair_swaps(replace(truth, times=np.zeros(150)))


def test_a_side_that_is_never_seen_is_left_alone():
    truth = walk()
    keypoints = truth.keypoints.copy()
    keypoints[:, [i for i, name in enumerate(HALPE.names) if name.startswith("right")]] = np.nan
    assert not repair_swaps(replace(truth, people=replace(truth.people, keypoints=keypoints)))[1].mask.any()


def test_every_sided_point_of_every_skeleton_is_in_one_unit():
    for skeleton in SKELETONS.values():
        points = np.concatenate([np.zeros(0, int), *unit_points(skeleton).values()])
        assert sorted(points) == [i for i, j in enumerate(skeleton.swap) if i != j]


def test_a_hand_alone_has_no_sides():
    people = People(np.arange(3), np.ones(3), np.zeros((3, 4)), np.ones(3), np.zeros((3, 21, 2)), np.ones((3, 21)))
    take = Take(people, by_name("hand-21"), np.arange(3.0), np.zeros((3, 2)))
    fixed, report = repair_swaps(take)
    assert fixed is take and report.units == ()
