from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.errors import FormatError, VitruvianError
from vitruvian.people.offline import FILLED, PRESETS, Smoothing, fill_rows, presets, smooth_take
from vitruvian.people.smooth import Smoother
from vitruvian.skeletons import by_name
from vitruvian.take import People, Take
from walkers import people_of, walker

COCO = by_name("coco-17")
METHODS = ("kalman", "butterworth", "one-euro", "none")
OFFLINE = ("kalman", "butterworth")


def take_of(frames, times, skeleton=COCO, **more):
    people = People.concatenate(frames) if frames else People.empty(len(skeleton))
    return Take(people, skeleton, np.asarray(times, float), np.full((len(times), 2), 1000), **more)


def walkers_take(times, noise=3.0, seed=0, points=False):
    """Two walkers; with points, the same in metres with a depth."""
    frames = [
        replace(people_of(i, [walker(t, 100, 200), walker(t, 900, -150)], noise=noise, seed=seed), track=[4, 7])
        for i, t in enumerate(times)
    ]
    if points:
        frames = [replace(f, points=np.concatenate([f.keypoints / 170, np.ones((2, 17, 1))], axis=-1)) for f in frames]
    return take_of(frames, times, space="camera" if points else "")


def without(take, gone, points=slice(None)):
    """The take with keypoints missing in the rows `gone`."""
    keypoints, confidence = take.keypoints.copy(), take.confidence.copy()
    rows = np.flatnonzero(gone)
    keypoints[rows, points], confidence[rows, points] = np.nan, 0.0
    return replace(take, people=replace(take.people, keypoints=keypoints, confidence=confidence))


def error(take, truth):
    return np.sqrt(np.mean((take.keypoints - truth.keypoints) ** 2))


EVEN = np.arange(90) / 30
UNEVEN = EVEN + np.random.default_rng(5).uniform(-0.01, 0.01, 90)


@pytest.mark.parametrize("method", OFFLINE)
@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_noise_falls_and_walking_does_not_suffer(method, times):
    truth, noisy = walkers_take(times, noise=0), walkers_take(times)
    assert error(smooth_take(noisy, presets(method)), truth) < 0.75 * error(noisy, truth)
    assert error(smooth_take(truth, presets(method)), truth) < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_boxes_scores_and_confidence_of_seen_points_stay(method):
    take = walkers_take(EVEN)
    smooth = smooth_take(take, presets(method))
    for name in ("frame", "track", "boxes", "scores", "confidence"):
        np.testing.assert_array_equal(getattr(smooth.people, name), getattr(take.people, name))


@pytest.mark.parametrize("method", METHODS)
def test_short_gaps_are_filled_and_marked_and_long_ones_stay_open(method):
    truth = walkers_take(EVEN, noise=0)
    frame = truth.people.frame
    short, long = (frame >= 30) & (frame < 34), (frame >= 50) & (frame < 60)
    smooth = smooth_take(without(truth, short | long, slice(9, 11)), presets(method))
    filled = smooth.keypoints[short][:, 9:11]
    assert np.abs(filled - truth.keypoints[short][:, 9:11]).max() < (20 if method == "one-euro" else 4)
    np.testing.assert_allclose(smooth.confidence[short][:, 9:11], FILLED * 0.9, rtol=1e-6)
    assert np.isnan(smooth.keypoints[long][:, 9:11]).all() and (smooth.confidence[long][:, 9:11] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_limit_of_a_gap_is_in_seconds(method):
    for fps in (30, 60):
        times = np.arange(2 * fps) / fps
        take = walkers_take(times, noise=0)
        for missing, closes in ((round(0.2 * fps) - 1, True), (round(0.2 * fps) + 1, False)):
            gone = (take.people.frame >= fps) & (take.people.frame < fps + missing)
            smooth = smooth_take(without(take, gone), Smoothing(method=method, max_gap=0.2))
            assert np.isfinite(smooth.keypoints[gone]).all() == closes


@pytest.mark.parametrize("method", METHODS)
def test_ends_are_not_invented(method):
    take = walkers_take(EVEN)
    gone = (take.people.frame < 3) | (take.people.frame > 86)
    smooth = smooth_take(without(take, gone, 9), presets(method))
    assert np.isnan(smooth.keypoints[gone, 9]).all()


@pytest.mark.parametrize("method", METHODS)
def test_frames_without_the_person_get_a_row_where_the_gap_is_short(method):
    truth = walkers_take(EVEN, noise=0)
    frame, track = truth.people.frame, truth.people.track
    gone = (track == 7) & ((frame >= 20) & (frame < 24) | (frame >= 50) & (frame < 70))
    smooth = smooth_take(truth.subset(~gone), presets(method))
    new = smooth.people.of(7)
    assert set(range(20, 24)) <= set(new.frame.tolist()) and not set(range(50, 70)) & set(new.frame.tolist())
    row, want = new.at(22), truth.people.of(7).at(22)
    assert np.abs(row.boxes - want.boxes).max() < 8 and np.abs(row.keypoints - want.keypoints).max() < (25 if method == "one-euro" else 4)
    assert (row.confidence < 0.5).all() and row.scores[0] == pytest.approx(0.4)
    assert (np.diff(smooth.people.frame) >= 0).all()


def test_points_in_space_are_smoothed_like_keypoints():
    noisy = walkers_take(EVEN, points=True)
    for method in METHODS:
        smooth = smooth_take(noisy, presets(method))
        if method in OFFLINE:
            np.testing.assert_allclose(smooth.people.points[..., :2] * 170, smooth.keypoints, atol=0.01)
        jerks = [np.diff(take.people.of(4).points[..., 0], 2, axis=0).std() for take in (smooth, noisy)]
        assert jerks[0] == jerks[1] if method == "none" else jerks[0] < 0.9 * jerks[1]
        np.testing.assert_allclose(smooth.people.points[..., 2], 1, atol=1e-6)


def test_points_in_space_without_keypoints_are_smoothed_too():
    noisy = walkers_take(EVEN, points=True)
    blind = replace(noisy, people=replace(noisy.people, keypoints=np.full_like(noisy.keypoints, np.nan)))
    smooth = smooth_take(blind)
    np.testing.assert_array_equal(smooth.people.points, smooth_take(noisy).people.points)
    assert np.isnan(smooth.keypoints).all()


def test_each_part_has_its_own_rule_and_unnamed_parts_stay():
    skeleton = by_name("coco-wholebody-133")
    noise = np.random.default_rng(3).normal(0, 3, (90, 133, 2))
    boxes = np.tile([0, 0, 100, 300], (90, 1))
    people = People(np.arange(90), np.ones(90), boxes, np.ones(90), keypoints=noise, confidence=np.ones((90, 133)))
    take = take_of([people], EVEN, skeleton)
    smooth = smooth_take(take, {"body": PRESETS["body"], "hands": PRESETS["hands"]})
    spread = {name: smooth.keypoints[:, part].std() for name, part in skeleton.parts.items()}
    assert spread["body"] < spread["left_hand"] < 2.7 and spread["left_hand"] == pytest.approx(spread["right_hand"], rel=0.1)
    for part in ("face", "foot"):
        np.testing.assert_array_equal(smooth.keypoints[:, skeleton.parts[part]], take.keypoints[:, skeleton.parts[part]])


def test_jumps_are_replaced_and_marked_on_demand():
    truth = walkers_take(EVEN, noise=1.0)
    keypoints = truth.keypoints.copy()
    row = np.flatnonzero((truth.people.frame == 40) & (truth.people.track == 4))[0]
    keypoints[row, 9] += 80
    jumping = replace(truth, people=replace(truth.people, keypoints=keypoints))
    smooth = smooth_take(jumping, Smoothing(outliers=8.0))
    assert np.abs(smooth.keypoints[row, 9] - truth.keypoints[row, 9]).max() < 6
    assert smooth.confidence[row, 9] == pytest.approx(FILLED * 0.9)
    assert (np.delete(smooth.confidence, row, axis=0) > 0.8).all()


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_a_track_and_second_rows_of_a_track_pass(method):
    take = walkers_take(EVEN)
    none = replace(take, people=replace(take.people, track=np.full(len(take.people), -1)))
    np.testing.assert_array_equal(smooth_take(none, presets(method)).keypoints, none.keypoints)
    same = replace(take, people=replace(take.people, track=np.full(len(take.people), 3)))
    np.testing.assert_array_equal(smooth_take(same, presets(method)).keypoints[1::2], take.keypoints[1::2])


@pytest.mark.parametrize("method", METHODS)
def test_nobody_one_frame_and_nothing_seen_are_answers(method):
    empty = take_of([], [])
    assert len(smooth_take(empty, presets(method)).people) == 0
    assert len(smooth_take(take_of([], EVEN), presets(method)).people) == 0
    one = walkers_take(EVEN[:1])
    np.testing.assert_array_equal(smooth_take(one, presets(method)).keypoints, one.keypoints)
    blind = without(walkers_take(EVEN), np.ones(180, bool))
    assert np.isnan(smooth_take(blind, presets(method)).keypoints).all()


@pytest.mark.parametrize("method", METHODS)
def test_two_frames_and_times_that_stand_still(method):
    for times in (EVEN[:2], np.zeros(5), np.array([0, 0, 1 / 30, 1 / 30, 2 / 30])):
        take = walkers_take(EVEN[: len(times)])
        smooth = smooth_take(replace(take, times=times), presets(method))
        assert np.isfinite(smooth.keypoints).all()


@pytest.mark.parametrize("method", METHODS)
@given(shift=st.floats(-1e3, 1e3), order=st.permutations(range(60)))
@settings(max_examples=5, deadline=None)
def test_the_start_of_time_the_order_of_rows_and_the_names_of_tracks_do_not_matter(method, shift, order):
    take = walkers_take(UNEVEN[:30])
    smooth = smooth_take(take, presets(method)).keypoints
    order = np.array(order)
    other = replace(take, people=take.people[order], times=take.times + shift)
    other = replace(other, people=replace(other.people, track=np.where(other.people.track == 4, 70, 2)))
    np.testing.assert_allclose(smooth_take(other, presets(method)).keypoints, smooth[order], atol=2e-3)


@pytest.mark.parametrize(
    "wrong", [{"method": "magic"}, {"cutoff": 0}, {"cutoff": np.nan}, {"max_gap": -1}, {"order": 5}, {"outliers": -1}, {"max_gap": np.inf}]
)
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(VitruvianError):
        Smoothing(**wrong)


def test_a_part_that_nobody_has_is_refused():
    with pytest.raises(VitruvianError, match="name some of body"):
        smooth_take(walkers_take(EVEN[:3]), {"tail": Smoothing()})


def test_no_rows_are_added_over_long_gaps():
    take = walkers_take(EVEN)
    gone = (take.people.frame >= 20) & (take.people.frame < 60)
    assert len(fill_rows(take.subset(~gone), 0.25).people) == (~gone).sum()


@pytest.mark.parametrize("points", [False, True])
def test_a_live_smoother_goes_on_from_its_arrays_as_if_nothing_had_happened(points):
    import json

    take = walkers_take(EVEN, points=points)
    whole, first = Smoother(min_cutoff=1.0), Smoother(min_cutoff=1.0)
    frames = list(take.by_frame())
    for i in range(40):
        whole.update(EVEN[i], frames[i])
        first.update(EVEN[i], frames[i])
    state = first.to_arrays()
    for i in range(40, 45):
        first.update(EVEN[i], frames[i])  # what was saved is a copy
    json.dumps({name: value for name, value in state.items() if not isinstance(value, np.ndarray)})
    resumed = Smoother.from_arrays(state)
    for i in range(40, 90):
        a, b = whole.update(EVEN[i], frames[i]), resumed.update(EVEN[i], frames[i])
        np.testing.assert_array_equal(a.keypoints, b.keypoints)
        if points:
            np.testing.assert_array_equal(a.points, b.points)


def test_a_fresh_smoother_has_a_state_too():
    assert set(Smoother.from_arrays(Smoother().to_arrays()).to_arrays()) == {"settings"}


@pytest.mark.parametrize(
    "damage",
    [{"settings": {}}, {"settings": 3}, {"keypoints_seen": np.zeros((1, 2))}, {"keypoints_raw": None}, {"keypoints_tracks": np.zeros(9)}],
)
def test_a_damaged_state_is_refused(damage):
    smoother = Smoother()
    smoother.update(0.0, next(walkers_take(EVEN[:1]).by_frame()))
    with pytest.raises(FormatError, match="no state of a smoother"):
        Smoother.from_arrays(smoother.to_arrays() | damage)


def test_another_keypoint_set_in_one_smoother_is_refused():
    smoother = Smoother()
    smoother.update(0.0, next(walkers_take(EVEN[:1]).by_frame()))
    with pytest.raises(VitruvianError, match="new Smoother"):
        smoother.update(0.1, People.empty(133))
