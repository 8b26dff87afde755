"""OKS equals its formula and the official evaluation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.errors import VitruvianError
from vitruvian.metrics import oks, oks_by_part
from vitruvian.skeletons import AIC_14, COCO_17, COCO_WHOLEBODY_133, Skeleton


def scene(seed: int, n: int, skeleton: Skeleton, noise: float = 10.0):
    """Predicted and true poses that differ by some pixels, some points unannotated, in float64."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 200, (n, len(skeleton), 2))
    pred = truth + rng.normal(size=truth.shape) * noise * rng.uniform(size=(n, 1, 1))
    return pred, truth, rng.uniform(size=truth.shape[:2]) < 0.7, rng.uniform(100, 40000, n)


def by_hand(pred, truth, visible, area, sigmas) -> float:
    """One person's OKS with plain loops."""
    terms = []
    for (x, y), (u, v), seen, sigma in zip(pred, truth, visible, sigmas, strict=True):
        if seen:
            terms.append(math.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * area * (2 * sigma) ** 2)))
    return sum(terms) / len(terms) if terms else math.nan


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 4), skeleton=st.sampled_from([COCO_17, COCO_WHOLEBODY_133]))
def test_equals_the_formula(seed: int, n: int, skeleton: Skeleton):
    pred, truth, visible, area = scene(seed, n, skeleton)
    expected = [by_hand(*row, skeleton.sigmas) for row in zip(pred, truth, visible, area, strict=True)]
    got = oks(pred, truth, visible, area, skeleton.sigmas)
    assert got.shape == (n,) and got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize("skeleton", [COCO_17, COCO_WHOLEBODY_133], ids=lambda skeleton: skeleton.name)
def test_equals_the_official_evaluation(skeleton: Skeleton):
    from pycocotools.cocoeval import COCOeval

    n = 6
    pred, truth, visible, area = scene(3, n, skeleton)
    visible[:, 0] = True
    evaluation = COCOeval(iouType="keypoints")
    evaluation.params.kpt_oks_sigmas = skeleton.sigmas
    flat = [np.concatenate([truth[i], 2.0 * visible[i][:, None]], axis=1).ravel().tolist() for i in range(n)]
    found = [np.concatenate([pred[i], np.ones((len(skeleton), 1))], axis=1).ravel().tolist() for i in range(n)]
    evaluation._gts[1, 1] = [{"keypoints": flat[i], "bbox": [0, 0, 9, 9], "area": area[i]} for i in range(n)]
    evaluation._dts[1, 1] = [{"keypoints": found[i], "score": 1.0 - i / n} for i in range(n)]
    official = evaluation.computeOks(1, 1)
    for j in range(n):
        ours = oks(pred, np.repeat(truth[j : j + 1], n, 0), np.repeat(visible[j : j + 1], n, 0), np.full(n, area[j]), skeleton.sigmas)
        np.testing.assert_allclose(ours, official[:, j], rtol=1e-12)


def test_perfect_is_one_far_is_zero_missing_counts_and_unannotated_does_not():
    truth = np.zeros((4, 17, 2))
    pred = truth.copy()
    pred[1] = 1e6
    pred[2, :5] = np.nan
    visible = np.ones((4, 17), bool)
    visible[3] = False
    got = oks(pred, truth, visible, np.full(4, 1000.0), COCO_17.sigmas)
    np.testing.assert_allclose(got, [1, 0, 12 / 17, np.nan])
    truth[0, 3] = np.nan
    visible[0, 3] = False
    assert oks(pred, truth, visible, np.full(4, 1000.0), COCO_17.sigmas)[0] == 1


def test_parts_see_their_own_points_only():
    pred, truth, visible, area = scene(5, 3, COCO_WHOLEBODY_133, noise=0)
    visible[:] = True
    hand = COCO_WHOLEBODY_133.parts["left_hand"]
    pred[0, hand] += 1e4
    visible[1, COCO_WHOLEBODY_133.parts["face"]] = False
    got = oks_by_part(pred, truth, visible, area, COCO_WHOLEBODY_133)
    assert set(got) == {"body", "foot", "face", "left_hand", "right_hand", "whole"}
    assert got["left_hand"].tolist() == [0, 1, 1] and got["right_hand"].tolist() == [1, 1, 1]
    assert np.isnan(got["face"][1]) and got["face"][0] == 1
    np.testing.assert_allclose(got["whole"], [112 / 133, 1, 1])


def test_zero_area_is_no_crash():
    pred, truth, visible, _ = scene(6, 2, COCO_17)
    assert (oks(pred, truth, visible, np.zeros(2), COCO_17.sigmas) == 0).all()


def test_wrong_shapes_and_missing_sigmas_are_refused():
    pred, truth, visible, area = scene(7, 2, COCO_17)
    with pytest.raises(VitruvianError, match="needs"):
        oks(pred, truth[:1], visible, area, COCO_17.sigmas)
    with pytest.raises(VitruvianError, match="needs"):
        oks(pred, truth, visible, area, COCO_17.sigmas[:3])
    with pytest.raises(VitruvianError, match="sigmas"):
        oks_by_part(pred[:, :14], truth[:, :14], visible[:, :14], area, AIC_14)
    with pytest.raises(VitruvianError, match="133"):
        oks_by_part(pred, truth, visible, area, COCO_WHOLEBODY_133)
