"""Conversions follow the published tables, name their losses, and treat missing points as missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vitruvian.errors import VitruvianError
from vitruvian.skeletons import (
    AIC_14,
    COCO_17,
    COCO_WHOLEBODY_133,
    COFW_29,
    CROWDPOSE_14,
    FACE_68,
    H36M_17,
    HALPE_26,
    HALPE_136,
    HAND_21,
    HUMANART_21,
    INTERHAND_21,
    INTERHAND_42,
    JHMDB_15,
    LAPA_106,
    MPII_16,
    OPENPOSE_134,
    OPENPOSE_BODY_18,
    OPENPOSE_BODY_25,
    POSETRACK_15,
    POSETRACK_17,
    SKELETONS,
    WFLW_98,
    Skeleton,
    convert,
)


def table(text: str) -> dict[int, int]:
    """"0-6 1-8" -> {0: 6, 1: 8}."""
    return {int(a): int(b) for a, b in (pair.split("-") for pair in text.split())}


def runs(*several: tuple[range, int]) -> dict[int, int]:
    return {i: first + n for indices, first in several for n, i in enumerate(indices)}


INTERHAND = {}
for _start, _base in ((0, 112), (21, 91)):  # right hand first
    INTERHAND |= {_start + 4 * finger + i: _base + 4 * finger + 4 - i for finger in range(5) for i in range(4)} | {_start + 20: _base}

# Source index -> COCO-WholeBody index, as the training mixes publish them.
INTO_133 = {
    AIC_14: table("0-6 1-8 2-10 3-5 4-7 5-9 6-12 7-14 8-16 9-11 10-13 11-15"),
    CROWDPOSE_14: table("0-5 1-6 2-7 3-8 4-9 5-10 6-11 7-12 8-13 9-14 10-15 11-16"),
    MPII_16: table("0-16 1-14 2-12 3-11 4-13 5-15 10-10 11-8 12-6 13-5 14-7 15-9"),
    JHMDB_15: table("3-6 4-5 5-12 6-11 7-8 8-7 9-14 10-13 11-10 12-9 13-16 14-15"),
    HALPE_136: runs((range(17), 0), (range(26, 136), 23)) | table("20-17 21-20 22-18 23-21 24-19 25-22"),
    POSETRACK_17: runs((range(1), 0), (range(3, 17), 3)),
    HUMANART_21: runs((range(17), 0)) | table("17-99 18-120 19-17 20-20"),
    WFLW_98: runs((range(0, 33, 2), 23), (range(33, 38), 40), (range(42, 47), 45), (range(51, 60), 50), (range(76, 96), 71))
    | table("60-59 61-60 63-61 64-62 65-63 67-64 68-65 69-66 71-67 72-68 73-69 75-70"),
    FACE_68: runs((range(68), 23)),
    COFW_29: table(
        "0-40 2-44 4-42 1-49 3-45 6-47 8-59 10-62 9-68 11-65 18-54 19-58 20-53 21-56 22-71 23-77 24-74 25-85 26-89 27-80 28-31"
    ),
    LAPA_106: runs((range(0, 33, 2), 23), (range(33, 38), 40), (range(42, 47), 45), (range(51, 55), 50), (range(58, 63), 54))
    | runs((range(84, 104), 71))
    | table("66-59 67-60 69-61 70-62 71-63 73-64 75-65 76-66 78-67 79-68 80-69 82-70"),
    INTERHAND_42: INTERHAND,
}


def numbered(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints that say their own index, with scores that do."""
    index = np.arange(len(skeleton), dtype=np.float32)
    return np.stack([index, index + 1000], axis=-1), index + 1


@pytest.mark.parametrize("source", INTO_133, ids=lambda skeleton: skeleton.name)
def test_into_wholebody_is_the_published_table(source: Skeleton):
    got = convert(*numbered(source), source, COCO_WHOLEBODY_133)
    filled = {int(x): i for i, (x, _) in enumerate(got.keypoints) if np.isfinite(x)}
    assert filled == INTO_133[source]
    assert set(got.dropped) == {name for i, name in enumerate(source.names) if i not in INTO_133[source]}
    assert set(got.missing) == {name for i, name in enumerate(COCO_WHOLEBODY_133.names) if i not in INTO_133[source].values()}


@pytest.mark.parametrize("target", INTO_133, ids=lambda skeleton: skeleton.name)
def test_out_of_wholebody_is_the_inverse(target: Skeleton):
    got = convert(*numbered(COCO_WHOLEBODY_133), COCO_WHOLEBODY_133, target)
    for i, j in INTO_133[target].items():
        assert got.keypoints[i, 0] == j


def test_to_openpose_takes_the_published_order():
    got = convert(*numbered(COCO_WHOLEBODY_133), COCO_WHOLEBODY_133, OPENPOSE_134)
    order = [0, 5.5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *range(17, 133)]
    assert got.keypoints[:, 0].tolist() == order
    assert got.scores[1] == 6  # the smaller of the shoulders'
    assert (got.missing, got.approximated, got.dropped) == ((), ("neck",), ())


def test_to_body_25_makes_neck_and_mid_hip():
    got = convert(*numbered(COCO_WHOLEBODY_133), COCO_WHOLEBODY_133, OPENPOSE_BODY_25)
    order = [0, 5.5, 6, 8, 10, 5, 7, 9, 11.5, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22]
    assert got.keypoints[:, 0].tolist() == order
    assert got.missing == () and got.approximated == ("neck", "mid_hip") and len(got.dropped) == 110


def test_a_mean_needs_both_points():
    keypoints, scores = numbered(COCO_WHOLEBODY_133)
    keypoints[6], scores[6] = np.nan, 0.9
    got = convert(keypoints, scores, COCO_WHOLEBODY_133, OPENPOSE_BODY_25)
    assert np.isnan(got.keypoints[1]).all() and got.scores[1] == 0
    assert np.isfinite(got.keypoints[8]).all()


def test_missing_points_are_nan_with_score_zero():
    got = convert(*numbered(COCO_17), COCO_17, OPENPOSE_BODY_25)
    assert got.missing == ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")
    assert np.isnan(got.keypoints[19:]).all() and (got.scores[19:] == 0).all()


def test_own_neck_is_kept_within_openpose():
    keypoints, scores = numbered(OPENPOSE_BODY_25)
    keypoints[1] = 7777
    got = convert(keypoints, scores, OPENPOSE_BODY_25, OPENPOSE_BODY_18)
    assert (got.keypoints[1] == 7777).all() and got.approximated == ()


def test_interhand_to_openpose_hand():
    got = convert(*numbered(INTERHAND_21), INTERHAND_21, HAND_21)
    assert got.keypoints[:, 0].tolist() == [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
    assert got.approximated == ()


def test_points_of_another_definition_are_named():
    assert convert(*numbered(HUMANART_21), HUMANART_21, COCO_WHOLEBODY_133).approximated == (
        *("left_big_toe", "right_big_toe", "left_forefinger4", "right_forefinger4"),
    )
    assert convert(*numbered(AIC_14), AIC_14, CROWDPOSE_14).approximated == ("top_head", "neck")
    assert "left_hip" in convert(*numbered(COCO_17), COCO_17, H36M_17).approximated
    assert convert(*numbered(COCO_17), COCO_17, COCO_WHOLEBODY_133).approximated == ()


LOSSLESS = [
    *((COCO_WHOLEBODY_133, OPENPOSE_134), (COCO_WHOLEBODY_133, HALPE_136), (COCO_17, COCO_WHOLEBODY_133), (COCO_17, OPENPOSE_BODY_18)),
    *((COCO_17, HALPE_26), (HALPE_26, HALPE_136), (OPENPOSE_BODY_18, OPENPOSE_BODY_25), (FACE_68, WFLW_98), (FACE_68, LAPA_106)),
    *((INTERHAND_42, COCO_WHOLEBODY_133), (HAND_21, INTERHAND_21), (POSETRACK_15, POSETRACK_17), (HUMANART_21, COCO_WHOLEBODY_133)),
]


@pytest.mark.parametrize(("source", "target"), LOSSLESS, ids=lambda skeleton: skeleton.name)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_round_trip_through_a_larger_set(source: Skeleton, target: Skeleton, data: st.DataObject):
    batch = data.draw(st.sampled_from([(), (0,), (3,), (2, 1)]))
    shape = (*batch, len(source), data.draw(st.sampled_from([2, 3])))
    keypoints = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32), fill=st.just(1.5)))
    scores = data.draw(hnp.arrays(np.float32, shape[:-1], elements=st.floats(0, 1, width=32), fill=st.just(0.5)))
    there = convert(keypoints, scores, source, target)
    assert there.dropped == ()
    back = convert(there.keypoints, there.scores, target, source)
    np.testing.assert_array_equal(back.keypoints, keypoints)
    np.testing.assert_array_equal(back.scores, scores)


def mirrored(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    return (keypoints * np.array([-1, 1]))[list(skeleton.swap)]


PAIRS = list(itertools.permutations(SKELETONS.values(), 2))


@settings(max_examples=200, deadline=None)
@given(pair=st.sampled_from(PAIRS), seed=st.integers(0, 2**32 - 1))
def test_flip_commutes_with_conversion(pair: tuple[Skeleton, Skeleton], seed: int):
    source, target = pair
    rng = np.random.default_rng(seed)
    keypoints, scores = rng.normal(size=(len(source), 2)), rng.uniform(size=len(source))
    keypoints[rng.uniform(size=len(source)) < 0.2] = np.nan
    flipped_first = convert(mirrored(keypoints, source), scores[list(source.swap)], source, target)
    flipped_last = convert(keypoints, scores, source, target)
    np.testing.assert_allclose(flipped_first.keypoints, mirrored(flipped_last.keypoints, target))
    np.testing.assert_allclose(flipped_first.scores, flipped_last.scores[list(target.swap)])


@settings(max_examples=200, deadline=None)
@given(pair=st.sampled_from(PAIRS))
def test_losses_account_for_every_point(pair: tuple[Skeleton, Skeleton]):
    source, target = pair
    got = convert(*numbered(source), source, target)
    assert set(got.missing) == {name for name, x in zip(target.names, got.keypoints[:, 0], strict=True) if np.isnan(x)}
    assert (got.scores[np.isnan(got.keypoints[:, 0])] == 0).all()
    assert not set(got.missing) & set(got.approximated)
    changed = numbered(source)[0]
    for name in got.dropped:
        changed[source.index(name)] = -1
    np.testing.assert_array_equal(convert(changed, numbered(source)[1], source, target).keypoints, got.keypoints)
    for name in set(source.names) - set(got.dropped):
        changed[source.index(name)] = np.nan
    assert np.isnan(convert(changed, numbered(source)[1], source, target).keypoints).all()


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_identity_loses_nothing_and_copies(skeleton: Skeleton):
    keypoints, scores = numbered(skeleton)
    got = convert(keypoints, scores, skeleton, skeleton)
    assert (got.missing, got.approximated, got.dropped) == ((), (), ())
    np.testing.assert_array_equal(got.keypoints, keypoints)
    assert not np.shares_memory(got.keypoints, keypoints)


def test_wrong_sizes_are_refused():
    with pytest.raises(VitruvianError, match="coco-17"):
        convert(np.zeros((2, 16, 2)), np.zeros((2, 16)), COCO_17, OPENPOSE_BODY_18)
    with pytest.raises(VitruvianError, match="coco-17"):
        convert(np.zeros((2, 17, 2)), np.zeros((3, 17)), COCO_17, OPENPOSE_BODY_18)
