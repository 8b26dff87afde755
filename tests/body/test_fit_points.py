"""Bodies fitted to points in 3D: a posed body's points give its parameters back; noise, gaps, nothing at all, sequences."""

import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.body.fit import fit_points
from vitruvian.body.fitting.poseprior import make_pose_prior
from vitruvian.body.merge import as_hand, as_smplh
from vitruvian.body.model import BodyParameters
from vitruvian.body.regressors import point_regressor, vertex_regressor
from vitruvian.errors import VitruvianError

BODY = load_compact()
SHAPES = 6


def people(count=4, seed=0):
    """Random bodies within the fitted space, and their vertices and joints."""
    rng, prior = np.random.default_rng(seed), make_pose_prior(BODY)
    spread = np.linalg.cholesky(np.linalg.inv(prior.precision.astype(float)))
    pose = prior.vectors((prior.likely + 0.7 * rng.normal(size=(count, prior.size)) @ spread.T).astype(np.float32))
    pose[:, 0] = rng.normal(0, 1.2, (count, 3))
    shape = np.zeros((count, 64), np.float32)
    shape[:, :SHAPES] = rng.normal(0, 0.7, (count, SHAPES))
    parameters = BodyParameters(pose, shape, np.zeros((count, 52), np.float32), rng.normal(0, 2, (count, 3)).astype(np.float32))
    return parameters, posed(parameters)


def posed(p, rows=slice(None)):
    return BODY.forward(p.pose[rows], p.shape[rows], p.expression[rows], p.translation[rows])


def points_of(output, name="coco-wholebody-133"):
    return point_regressor(BODY, name)(output.vertices, output.joints)


def vertex_error(result, truth, rows=slice(None)):
    return np.linalg.norm(posed(result.parameters, rows).vertices - truth.vertices[rows], axis=2)


def test_clean_points_give_the_body_back():
    _, truth = people()
    result = fit_points(BODY, points_of(truth), sigma=0.001, robust=None, num_shape=SHAPES, iterations=40)
    assert result.ok.all()
    assert np.linalg.norm(result.points - points_of(truth), axis=2).mean() < 0.001
    assert vertex_error(result, truth).mean() < 0.005


def test_noise_of_5_mm_leaves_less_than_a_centimetre():
    _, truth = people(8, seed=1)
    noisy = points_of(truth) + np.random.default_rng(2).normal(0, 0.005, (8, 133, 3))
    result = fit_points(BODY, noisy, sigma=0.005)
    assert vertex_error(result, truth).mean() < 0.012
    assert np.linalg.norm(result.points - points_of(truth), axis=2).mean() < 0.005


@pytest.mark.parametrize("name", ["smpl-24", "smplx-55", "coco-17", "joints"])
def test_other_sets_of_points(name):
    _, truth = people(3, seed=3)
    result = fit_points(BODY, points_of(truth, name), name, sigma=0.002)
    assert np.linalg.norm(result.points - points_of(truth, name), axis=2).mean() < 0.01


def test_markers_on_the_skin():
    _, truth = people(2, seed=4)
    chosen = np.random.default_rng(5).choice(13718, 150, replace=False)
    result = fit_points(BODY, truth.vertices[:, chosen], vertex_regressor(BODY, chosen), sigma=0.002)
    assert vertex_error(result, truth).mean() < 0.02


def test_missing_points_are_ignored():
    _, truth = people(3, seed=6)
    points = points_of(truth)
    points[np.random.default_rng(7).random(points.shape[:2]) < 0.3] = np.nan
    result = fit_points(BODY, points, sigma=0.003)
    assert result.ok.all() and np.isfinite(result.parameters.pose).all()
    assert vertex_error(result, truth).mean() < 0.03


def test_the_value_of_a_point_without_confidence_does_not_matter():
    _, truth = people(1, seed=8)
    points, confidence = points_of(truth), np.ones((1, 133))
    confidence[0, [9, 15, 40]] = 0
    wild = points.copy()
    wild[0, [9, 15, 40]] = 50
    both = [fit_points(BODY, p, confidence=confidence, sigma=0.005).parameters.pose for p in (points, wild)]
    assert np.allclose(both[0], both[1], atol=1e-5)


def test_a_few_outliers_do_not_pull():
    _, truth = people(4, seed=9)
    points = points_of(truth)
    points[:, [30, 60, 95, 120]] += 0.5
    result = fit_points(BODY, points, sigma=0.005)
    assert vertex_error(result, truth).mean() < 0.03


def test_no_bodies_are_fine():
    result = fit_points(BODY, np.zeros((0, 133, 3)))
    assert len(result) == 0 and result.parameters.pose.shape == (0, 69, 3) and result.points.shape == (0, 133, 3)


def test_a_body_without_points_is_not_ok_and_others_are_untouched():
    _, truth = people(2, seed=10)
    points = points_of(truth)
    with_gap = np.concatenate([points[:1], np.full((1, 133, 3), np.nan), points[1:]])
    alone, result = fit_points(BODY, points, sigma=0.005), fit_points(BODY, with_gap, sigma=0.005)
    assert list(result.ok) == [True, False, True]
    assert np.isnan(result.parameters.pose[1]).all() and np.isnan(result.error[1])
    assert np.allclose(result.parameters.pose[[0, 2]], alone.parameters.pose, atol=1e-3)


@pytest.mark.parametrize("shared", [False, True])
def test_nothing_at_all_is_a_typed_result(shared):
    result = fit_points(BODY, np.full((3, 133, 3), np.nan), shared_shape=shared)
    assert not result.ok.any() and np.isnan(result.parameters.translation).all()


def test_infinite_points_count_as_missing():
    _, truth = people(1, seed=11)
    points = points_of(truth)
    points[0, 50] = np.inf
    assert fit_points(BODY, points).ok.all()


def test_a_shape_of_ones_own_is_kept():
    parameters, truth = people(2, seed=12)
    result = fit_points(BODY, points_of(truth), shape=parameters.shape, sigma=0.003)
    assert np.allclose(result.parameters.shape[:, :16], parameters.shape[:, :16])


def test_one_person_gets_one_shape():
    parameters, _ = people(5, seed=13)
    one = BodyParameters(parameters.pose, parameters.shape[[0] * 5], parameters.expression, parameters.translation)
    result = fit_points(BODY, points_of(posed(one)), sigma=0.003, shared_shape=True)
    assert np.ptp(result.parameters.shape, axis=0).max() == 0
    assert vertex_error(result, posed(one)).mean() < 0.012


def test_a_start_is_used():
    parameters, truth = people(2, seed=14)
    result = fit_points(BODY, points_of(truth), sigma=0.003, start=parameters, num_shape=SHAPES, iterations=3)
    assert vertex_error(result, truth).mean() < 0.01


def test_an_open_mouth_is_fitted():
    pose = np.zeros((1, 69, 3), np.float32)
    pose[0, BODY.joint_names.index("jaw"), 0] = 0.25
    result = fit_points(BODY, points_of(BODY.forward(pose)), sigma=0.001)
    assert result.parameters.pose[0, BODY.joint_names.index("jaw"), 0] == pytest.approx(0.25, abs=0.08)


def test_a_smile_is_fitted_and_weights_stay_within_bounds():
    expression = np.zeros((1, 52), np.float32)
    names = BODY.expression_names
    expression[0, [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]] = 0.8
    result = fit_points(BODY, points_of(BODY.forward(expression=expression)), sigma=0.001)
    fitted = result.parameters.expression[0]
    assert fitted[names.index("mouthSmileLeft")] > 0.3
    assert fitted.min() >= 0 and fitted.max() <= 1


def walk(frames=24, rate=30.0):
    """One person between two poses and back, walking on."""
    parameters, _ = people(2, seed=15)
    times = np.arange(frames) / rate
    share = (0.5 - 0.5 * np.cos(2 * np.pi * times / 0.8))[:, None, None].astype(np.float32)
    pose = (parameters.pose[:1] * (1 - 0.3 * share) + parameters.pose[1:] * 0.3 * share).astype(np.float32)
    pose[:, 0] = [0, 0.4, 0]
    translation = np.stack([times, 0 * times, 0 * times], 1).astype(np.float32)
    return BodyParameters(pose, parameters.shape[[0] * frames], parameters.expression[[0] * frames], translation), times


def test_a_sequence_is_smoother_and_nearer_than_its_frames():
    parameters, times = walk()
    truth = posed(parameters)
    noisy = points_of(truth) + np.random.default_rng(16).normal(0, 0.015, (len(times), 133, 3))
    alone = fit_points(BODY, noisy, sigma=0.015, shared_shape=True, expression=False)
    smooth = fit_points(BODY, noisy, sigma=0.015, times=times, expression=False)
    jitter = [np.abs(np.diff(posed(r.parameters).joints, 2, axis=0)).mean() for r in (alone, smooth)]
    assert jitter[1] < 0.5 * jitter[0]
    assert vertex_error(smooth, truth).mean() < vertex_error(alone, truth).mean()


def test_gaps_in_a_sequence_are_filled_and_its_ends_are_not():
    parameters, times = walk()
    truth = posed(parameters)
    points = points_of(truth)
    points[8:12] = points[:2] = np.nan
    result = fit_points(BODY, points, sigma=0.005, times=times, expression=False)
    assert list(np.flatnonzero(~result.ok)) == [0, 1]
    assert vertex_error(result, truth, slice(8, 12)).mean() < 0.03


def test_times_may_be_uneven():
    parameters, times = walk()
    kept = np.array([0, 1, 2, 5, 6, 9, 10, 11, 15, 16, 20, 23])
    truth = posed(parameters, kept)
    result = fit_points(BODY, points_of(truth), sigma=0.005, times=times[kept], expression=False)
    assert vertex_error(result, truth).mean() < 0.015


def test_two_frames_at_nearly_one_time_keep_the_body():
    parameters, times = walk()
    times[7] = times[6] + 1e-9
    truth = posed(parameters)
    assert vertex_error(fit_points(BODY, points_of(truth), sigma=0.005, times=times, expression=False), truth).mean() < 0.03


def test_a_thousand_frames_a_second():
    parameters, times = walk(rate=1000)
    truth = posed(parameters)
    assert vertex_error(fit_points(BODY, points_of(truth), sigma=0.005, times=times, expression=False), truth).mean() < 0.015


@pytest.mark.parametrize("frames", [1, 2])
def test_short_sequences(frames):
    parameters, times = walk()
    truth = posed(parameters, slice(0, frames))
    assert fit_points(BODY, points_of(truth), times=times[:frames]).ok.all()


def test_fingers_of_an_smplh_shaped_body_within_3_mm():
    body = as_smplh(BODY)
    rng = np.random.default_rng(17)
    pose = rng.normal(0, 0.25, (4, 52, 3)).astype(np.float32)
    truth = body.forward(pose)
    result = fit_points(body, truth.joints, "joints", sigma=0.001, num_shape=4, expression=False, iterations=40)
    error = np.linalg.norm(result.points - truth.joints, axis=2)
    assert error[:, 22:].mean() < 0.003


def test_a_lone_hand_is_fitted():
    hand = as_hand(BODY)
    pose = np.random.default_rng(18).normal(0, 0.3, (3, 16, 3)).astype(np.float32)
    truth = hand.forward(pose, translation=np.full((3, 3), 0.5, np.float32))
    result = fit_points(hand, truth.joints, "joints", sigma=0.001, num_shape=2, expression=False)
    assert np.linalg.norm(result.points - truth.joints, axis=2).mean() < 0.002


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": np.zeros((1, 17, 3))}, "133"),
        ({"confidence": np.ones((1, 5))}, "confidence"),
        ({"sigma": 0.0}, "sigma"),
        ({"times": np.zeros(2)}, "times"),
        ({"shape": np.zeros((3, 4))}, "shape"),
        ({"pose_prior": make_pose_prior(as_hand(BODY))}, "joints"),
    ],
)
def test_what_does_not_fit_is_said(change, words):
    arguments = {"points": np.zeros((1, 133, 3))} | change
    with pytest.raises(VitruvianError, match=words):
        fit_points(BODY, **arguments)
