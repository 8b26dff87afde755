"""Windows, normalised keypoints, the solver for roots, and one pose out of many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from many_views import STANDING
from vitruvian.codecs.lifting import (
    aggregate,
    fill_gaps,
    fill_unseen,
    joints_of_coco,
    merge_windows,
    mirrored,
    normalise_keypoints,
    normalised_camera,
    reproject,
    solve_roots,
    split_windows,
    take_windows,
)
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_17, H36M_17, INF_3DHP_17, NTU_25

CAMERA = normalised_camera(np.array([1100.0, 1150, 510, 490]), (1000, 1000))


def scene(rng, hypotheses=1, frames=4):
    truth = rng.normal(0, 0.3, (frames, 17, 3))
    truth[:, 0] = 0
    roots = np.array([0.2, -0.1, 4.0]) + 0.1 * rng.normal(size=(frames, 3))
    return truth, roots, reproject(truth + roots[:, None], CAMERA)


@given(st.integers(0, 60), st.integers(1, 20))
def test_windows_cover_the_sequence_and_merge_back(frames, length):
    sequence = np.arange(frames, dtype=float)[:, None]
    windows = take_windows(sequence, length)
    assert windows.shape == (len(split_windows(frames, length)), length, 1)
    assert np.array_equal(merge_windows(windows, frames), sequence)


def test_last_window_ends_with_the_sequence():
    assert split_windows(500, 243) == [0, 243, 257]
    assert split_windows(486, 243) == [0, 243]
    assert split_windows(10, 243) == [0]


def test_normalised_keypoints_keep_the_aspect():
    corners = normalise_keypoints(np.array([[0, 0], [1000, 500], [500, 250]]), (1000, 500))
    assert np.allclose(corners, [[-1, -0.5], [1, 0.5], [0, 0]])


def test_reprojection_agrees_with_pixels():
    point = np.array([0.3, -0.2, 3.0])
    pixels = point[:2] / point[2] * (1100, 1150) + (510, 490)
    assert np.allclose(reproject(point, CAMERA), normalise_keypoints(pixels, (1000, 1000)), atol=1e-6)


def test_root_is_found_from_exact_keypoints():
    truth, roots, keypoints = scene(np.random.default_rng(0))
    assert np.allclose(solve_roots(truth, keypoints, CAMERA), roots, atol=1e-6)
    keypoints[:, 3:] = np.nan
    assert np.allclose(solve_roots(truth, keypoints, CAMERA), roots, atol=1e-5)


def test_root_is_nan_where_too_little_is_seen_or_it_lies_behind():
    truth, _, keypoints = scene(np.random.default_rng(1))
    keypoints[0, 1:] = np.nan
    found = solve_roots(truth, keypoints, CAMERA, np.ones((4, 17)))
    assert np.isnan(found[0]).all() and np.isfinite(found[1:]).all()
    assert np.isnan(solve_roots(-truth, keypoints, CAMERA)).all()


@pytest.mark.parametrize("given_roots", [True, False])
def test_jpma_returns_the_truth_when_a_guess_is_it(given_roots):
    rng = np.random.default_rng(2)
    truth, roots, keypoints = scene(rng)
    guesses = np.stack([truth + 0.1 * rng.normal(size=truth.shape), truth])
    found = aggregate(guesses, "jpma", keypoints, CAMERA, roots if given_roots else None)
    share = np.isclose(found, truth).all(-1).mean()
    assert share == 1.0 if given_roots else share > 0.9


def test_oracles_are_no_worse_than_any_guess_and_need_the_truth():
    rng = np.random.default_rng(3)
    truth, _, keypoints = scene(rng)
    guesses = truth + 0.1 * rng.normal(size=(5, *truth.shape))
    error = {how: np.linalg.norm(aggregate(guesses, how, truth=truth) - truth, axis=-1).mean() for how in ("pose-best", "joint-best")}
    single = np.linalg.norm(guesses - truth, axis=-1).mean((1, 2)).min()
    assert error["joint-best"] < error["pose-best"] <= single
    assert np.allclose(aggregate(guesses), guesses.mean(0))
    for how in ("pose-best", "joint-best"):
        with pytest.raises(VitruvianError, match="truth"):
            aggregate(guesses, how)
    with pytest.raises(VitruvianError, match="keypoints and the camera"):
        aggregate(guesses, "jpma", keypoints)


def test_gaps_are_filled_between_neighbours():
    sequence = np.array([[[0.0, 0]], [[np.nan, 0]], [[2.0, 4]], [[np.nan, np.nan]]])
    filled, present = fill_gaps(sequence)
    assert np.array_equal(filled[:, 0], [[0, 0], [1, 2], [2, 4], [2, 4]])
    assert present.tolist() == [True, False, True, False]
    assert fill_gaps(np.zeros((0, 17, 2)))[0].shape == (0, 17, 2)


def test_unseen_keypoints_lie_between_seen_ones_and_those_never_seen_stay():
    sequence = np.array([[[0.0, 0], [5, 5]], [[9, 9], [6, 6]], [[2.0, 4], [np.nan, 7]]])
    seen = np.array([[True, False], [False, False], [True, False]])
    assert np.array_equal(fill_unseen(sequence, seen), [[[0, 0], [5, 5]], [[1, 2], [6, 6]], [[2, 4], [6, 6]]])
    assert fill_unseen(sequence[:0], seen[:0]).shape == (0, 2, 2)


def test_mirror_twice_is_the_identity():
    poses = np.random.default_rng(0).normal(size=(2, 17, 3))
    assert np.array_equal(mirrored(mirrored(poses, H36M_17.swap), H36M_17.swap), poses)
    assert mirrored(poses, H36M_17.swap)[0, 1, 0] == -poses[0, 4, 0]


def test_human36m_keypoints_of_coco():
    points = np.array([STANDING[:, :2] * (1, -1) + 2, STANDING[:, :2] * (1, -1) + 2]) * 100
    sure = np.full((2, 17), 0.9)
    sure[1, COCO_17.index("left_ear")] = 0
    sure[1, COCO_17.index("left_hip")] = 0.2
    found, confidence = joints_of_coco(np.concatenate([points, np.zeros((2, 6, 2))], 1), np.concatenate([sure, np.zeros((2, 6))], 1))
    at = dict(zip(H36M_17.names, found[0], strict=True))
    np.testing.assert_allclose(at["root"], points[0, [11, 12]].mean(0))
    np.testing.assert_allclose(at["left_foot"], points[0, 15])
    # From top to bottom, y being down.
    chain = [at[name][1] for name in ("head", "neck_base", "thorax", "spine", "root", "right_knee", "right_foot")]
    assert chain == sorted(chain)
    assert confidence[1, 0] == confidence[1, 7] == 0.2 and confidence[1, 10] == 0.9
    np.testing.assert_allclose(found[1, 10], 2 * points[1, 0] - found[1, 9])


def test_joints_of_3dhp_are_those_of_human36m_under_other_names():
    points, sure = STANDING[None, :, :2] * 100, np.full((1, 17), 0.9)
    ours = dict(zip(H36M_17.names, joints_of_coco(points, sure)[0][0], strict=True))
    other = dict(zip(INF_3DHP_17.names, joints_of_coco(points, sure, INF_3DHP_17)[0][0], strict=True))
    for name, same in (("pelvis", "root"), ("neck", "thorax"), ("head_top", "head"), ("left_ankle", "left_foot"), ("spine", "spine")):
        np.testing.assert_array_equal(other[name], ours[same])
    np.testing.assert_allclose(other["head"], points[0, 3:5].mean(0))
    with pytest.raises(VitruvianError, match="ntu-25"):
        joints_of_coco(points, sure, NTU_25)
