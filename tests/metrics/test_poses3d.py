"""The metrics of 3D poses on cases made by hand, and on the published protocol's own numbers."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vitruvian.errors import VitruvianError
from vitruvian.metrics.poses3d import (
    AP_LIMITS,
    AUC_LIMITS,
    auc,
    mpjpe,
    mpjve,
    n_mpjpe,
    pa_mpjpe,
    pck,
    pcp3d,
    pcp3d_of_actors,
    precision_over_people,
)

POSE = np.random.default_rng(0).normal(0, 0.4, (17, 3))


def test_mpjpe_is_the_mean_distance():
    pred = POSE.copy()
    pred[3] += [0.03, 0.04, 0]
    assert mpjpe(pred, POSE) == pytest.approx(0.05 / 17)


def test_mpjpe_about_the_root_forgives_the_place_only():
    assert mpjpe(POSE + [1, 2, 3], POSE, root=0) == pytest.approx(0, abs=1e-12)
    assert mpjpe(POSE + [1, 2, 3], POSE, root=(1, 2)) == pytest.approx(0, abs=1e-12)
    off = POSE.copy()
    off[0, 0] += 0.17  # a wrong root moves all the others
    assert mpjpe(off, POSE, root=0) == pytest.approx(0.17 * 16 / 17)


def test_pa_mpjpe_forgives_a_similarity_but_no_mirror():
    moved = 1.7 * POSE @ Rotation.from_rotvec([1, 2, 0.5]).as_matrix().T + [3, 1, 2]
    assert pa_mpjpe(moved, POSE) == pytest.approx(0, abs=1e-12)
    assert pa_mpjpe(POSE * [-1, 1, 1], POSE) > 0.1


def test_n_mpjpe_forgives_the_scale_about_the_root():
    bigger = 1.3 * (POSE - POSE[0]) + 5
    assert n_mpjpe(bigger, POSE) == pytest.approx(0, abs=1e-12)
    assert mpjpe(bigger, POSE, root=0) > 0.05
    turned = (POSE - POSE[0]) @ Rotation.from_rotvec([0, 0, 0.5]).as_matrix().T
    assert n_mpjpe(turned, POSE) > 0.05


def test_mpjve_sees_jitter_and_no_offset():
    truth = POSE + np.linspace(0, 1, 11)[:, None, None]
    assert mpjve(truth + 0.5, truth) == pytest.approx(0, abs=1e-12)
    jumpy = truth.copy()
    jumpy[5, :, 2] += 0.02  # into the jump and out of it: two of ten steps
    assert mpjve(jumpy, truth) == pytest.approx(0.02 * 2 / 10)
    assert np.isnan(mpjve(truth[:1], truth[:1]))


def test_pck_is_strict_and_auc_is_its_mean():
    truth = np.zeros((4, 3))
    pred = np.zeros((4, 3))
    pred[:, 0] = [0.0, 0.10, 0.149999, 0.15]
    assert pck(pred, truth) == 0.75
    shares = [(pred[:, 0] < limit).mean() for limit in AUC_LIMITS]
    assert auc(pred, truth) == pytest.approx(np.mean(shares))
    assert auc(truth, truth) == pytest.approx(30 / 31)


def test_what_is_invisible_does_not_count_and_what_is_missing_is_far():
    pred, visible = POSE.copy(), np.ones(17, bool)
    pred[2] += 1
    visible[2] = False
    assert mpjpe(pred, POSE, visible) == pytest.approx(0)
    truth = POSE.copy()
    truth[2] = np.nan
    assert mpjpe(pred, truth) == pytest.approx(0)
    pred[4] = np.nan
    assert mpjpe(pred, POSE) == np.inf and pck(pred, POSE) == pytest.approx(15 / 17)
    assert np.isnan(mpjpe(pred, POSE, np.zeros(17, bool)))


@pytest.mark.parametrize("metric", [mpjpe, pa_mpjpe, n_mpjpe, pck, auc])
def test_batches_are_single_poses_and_none_are_fine(metric):
    rng = np.random.default_rng(1)
    pred, truth = rng.normal(size=(2, 3, 5, 17, 3))
    many = metric(pred, truth)
    assert many.shape == (3, 5)
    np.testing.assert_allclose(many[1, 2], metric(pred[1, 2], truth[1, 2]))
    assert metric(pred[:0], truth[:0]).shape == (0, 5)
    with pytest.raises(VitruvianError):
        metric(pred, truth[:2])


def limbs() -> np.ndarray:
    pose = np.zeros((14, 3))
    pose[:, 2] = np.arange(14)  # every limb of SHELF_LIMBS is 1 long
    pose[12], pose[13] = [0, 0, 3.5], [0, 0, 4.5]  # and so is the torso, from (2 + 3) / 2
    return pose


def test_pcp_asks_both_ends_of_a_limb():
    pred = limbs()
    pred[0, 0] += 0.99  # one end, by twice the half: in the mean 0.495
    assert pcp3d(pred, limbs()).all()
    pred[0, 0] += 0.02
    assert pcp3d(pred, limbs()).tolist() == [False] + [True] * 9
    pred = limbs()
    pred[2:4, 0] += 1.01  # both hips: the thighs and the torso
    assert np.flatnonzero(~pcp3d(pred, limbs())).tolist() == [1, 2, 9]


def test_pcp_of_actors_counts_frames_without_anybody():
    absent = np.full((14, 3), np.nan)
    truth = [np.stack([limbs(), limbs() + 10, absent]), np.stack([limbs(), absent, absent])]
    found = [np.stack([limbs() + 10, limbs()]), np.zeros((0, 14, 3))]
    result = pcp3d_of_actors(found, truth)
    assert result[:2].tolist() == [0.5, 1.0] and np.isnan(result[2])
    assert pcp3d_of_actors([], []).shape == (0,)


def test_precision_over_people_by_hand():
    truth = [np.stack([POSE, POSE + 5]), POSE[None] + 1]
    offsets = [0.02, 0.06, 0.3]
    # Surest first: right, a second one on the same person (wrong), then the other person, off by 60 mm; in the second frame 300 mm.
    found = [np.stack([POSE, POSE + [0, 0, 0.01], POSE + 5]) + [[[offsets[0], 0, 0]], [[0, 0, 0]], [[offsets[1], 0, 0]]]]
    found.append(POSE[None] + 1 + [offsets[2], 0, 0])
    scores = [np.array([0.9, 0.8, 0.7]), np.array([0.6])]
    result = precision_over_people(found, scores, truth)
    assert result.recall[0.025] == pytest.approx(1 / 3) and result.ap[0.025] == pytest.approx(1 / 3)
    assert result.recall[0.075] == pytest.approx(2 / 3) and result.ap[0.075] == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert result.mpjpe == pytest.approx(np.mean(offsets)) and result.recall500 == 1


def test_nobody_found_and_nobody_there():
    nothing, no_scores = [np.zeros((0, 17, 3))], [np.zeros(0)]
    missed = precision_over_people(nothing, no_scores, [POSE[None]])
    assert missed.ap[0.15] == 0 and missed.recall500 == 0 and np.isnan(missed.mpjpe)
    invented = precision_over_people([POSE[None]], [np.ones(1)], nothing)
    assert np.isnan(invented.ap[0.15]) and np.isnan(invented.recall500)
    assert np.isnan(precision_over_people([], [], []).mpjpe)


@pytest.mark.shared
def test_the_published_protocols_numbers():
    folder = Path(__file__).parents[3] / "shared" / "parity"
    if not (folder / "selfpose3d" / "losses_metrics.npz").exists():
        pytest.skip("needs ../shared/parity")
    from tests.parity.check import Case

    case = Case(folder / "selfpose3d" / "losses_metrics")
    inputs, expected = case.inputs(), case.outputs()
    people = inputs["eval_num_gt"]
    truth = [poses[:n] / 1000 for poses, n in zip(inputs["eval_gt"], people, strict=True)]
    visible = [seen[:n] > 0 for seen, n in zip(inputs["eval_gt_vis"], people, strict=True)]
    kept = [poses[poses[:, 0, 3] >= 0] for poses in inputs["eval_pred"].astype(np.float64)]
    result = precision_over_people([p[..., :3] / 1000 for p in kept], [p[:, 0, 4] for p in kept], truth, visible)
    # The published program adds 1e-5 to both denominators.
    np.testing.assert_allclose([result.ap[limit] for limit in AP_LIMITS], expected["ap"], atol=1e-5)
    np.testing.assert_allclose([result.recall[limit] for limit in AP_LIMITS], expected["recall"], atol=1e-5)
    assert result.mpjpe * 1000 == pytest.approx(float(expected["mpjpe"]), rel=1e-6)
    assert result.recall500 == pytest.approx(float(expected["recall500"]))
