"""Tracking metrics: cases with known answers, edge cases, and agreement with TrackEval's definitions as `trackers` has them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.errors import VitruvianError
from vitruvian.metrics.tracking import Frame, frames_by_boxes, frames_by_keypoints, together, tracking_scores
from vitruvian.skeletons import COCO_17
from walkers import people_of, walker


def perfect(truth, predicted):
    """Frames in which the n-th true and the n-th predicted id lie on each other; -1 stands for nobody."""
    frames = []
    for true, found in zip(truth, predicted, strict=True):
        similarity = np.eye(len(true))
        keep_true, keep_found = np.array(true) >= 0, np.array(found) >= 0
        frames.append(Frame(np.array(true)[keep_true], np.array(found)[keep_found], similarity[np.ix_(keep_true, keep_found)]))
    return frames


def random_frames(seed):
    random = np.random.default_rng(seed)
    only = random.choice(["both", "both", "truth", "predictions"])
    frames = []
    for _ in range(random.integers(0, 12)):
        n, m = random.integers(0, 6, 2) * (only != "predictions", only != "truth")
        similarity = random.uniform(size=(n, m)) ** random.choice([0.3, 1, 3]) * (random.uniform(size=(n, m)) < 0.7)
        frames.append(Frame(random.choice(8, n, replace=False), 20 + random.choice(8, m, replace=False), similarity))
    return frames


def test_perfect_tracks_score_one():
    scores = tracking_scores(perfect([[1, 2]] * 5, [[7, 9]] * 5))
    assert scores.identity.idf1 == scores.identity.precision == scores.identity.recall == 1
    assert (scores.clear.mota, scores.clear.motp, scores.clear.switches, scores.clear.mostly_tracked) == (1, 1, 0, 2)
    hota = scores.hota
    assert hota.hota == hota.detection_accuracy == hota.association_accuracy == hota.localisation_accuracy == 1


def test_two_who_exchange_their_ids_half_way():
    scores = tracking_scores(perfect([[1, 2]] * 8, [[7, 9]] * 4 + [[9, 7]] * 4))
    assert scores.identity.idf1 == 0.5 and scores.identity.true_positives == 8
    assert scores.clear.switches == 2 and scores.clear.mota == 1 - 2 / 16
    # Each pair of tracks has 4 frames in common of the 12 that either has.
    assert scores.hota.association_accuracy == pytest.approx(1 / 3) and scores.hota.hota == pytest.approx((1 / 3) ** 0.5)


def test_a_gap_is_a_fragmentation_but_no_switch():
    scores = tracking_scores(perfect([[1, 2]] * 6, [[7, 9]] * 2 + [[-1, 9]] * 2 + [[7, 9]] * 2))
    assert (scores.clear.fragmentations, scores.clear.switches, scores.clear.false_negatives) == (1, 0, 2)
    assert scores.clear.mota == 1 - 2 / 12
    assert scores.identity.idf1 == pytest.approx(2 * 10 / (12 + 10))


def test_tracked_and_lost_are_told_by_the_share_of_frames():
    truth = [[1, 2, 3, 4]] * 10
    found = [[5, 6 if i < 8 else -1, 7 if i < 2 else -1, 8 if i < 1 else -1] for i in range(10)]
    clear = tracking_scores(perfect(truth, found)).clear
    assert (clear.mostly_tracked, clear.partly_tracked, clear.mostly_lost) == (1, 2, 1)  # 80 % and 20 % are neither most nor least


def test_false_positives_lower_precision():
    scores = tracking_scores(perfect([[1, -1]] * 4, [[7, 9]] * 4))
    assert (scores.identity.precision, scores.identity.recall) == (0.5, 1)
    assert scores.clear.mota == 0 and scores.hota.detection_accuracy == 0.5


def test_clear_keeps_last_frames_pair_though_another_is_more_alike():
    ids = np.array([1]), np.array([7, 9])
    frames = [Frame(ids[0], ids[1][:1], np.array([[0.9]])), Frame(*ids, np.array([[0.6, 0.8]]))]
    clear = tracking_scores(frames).clear
    assert clear.switches == 0 and clear.motp == pytest.approx((0.9 + 0.6) / 2)


def test_hota_counts_pairs_by_threshold():
    scores = tracking_scores([Frame(np.array([1]), np.array([1]), np.array([[0.52]]))])
    assert scores.hota.true_positives.tolist() == [1] * 10 + [0] * 9
    assert scores.hota.hota == pytest.approx(10 / 19) and scores.clear.motp == pytest.approx(0.52)
    assert scores.hota.localisation_accuracy == pytest.approx((10 * 0.52 + 9) / 19)


def test_nobody_predicted_nobody_true_and_nothing_at_all():
    missed = tracking_scores(perfect([[1]] * 3, [[-1]] * 3))
    assert (missed.identity.idf1, missed.clear.mota, missed.hota.hota, missed.clear.mostly_lost) == (0, 0, 0, 1)
    invented = tracking_scores(perfect([[-1]] * 3, [[1]] * 3))
    assert (invented.identity.false_positives, invented.clear.mota, invented.hota.hota) == (3, 0, 0)
    for nothing in (tracking_scores([]), tracking_scores(perfect([[]], [[]])), together([])):
        assert (nothing.identity.idf1, nothing.clear.mota, nothing.hota.hota, nothing.hota.localisation_accuracy) == (0, 0, 0, 1)


def test_sequences_together_add_their_counts():
    first, second = perfect([[1]] * 4, [[7]] * 4), perfect([[1]] * 6, [[8]] * 3 + [[9]] * 3)
    scores = together([tracking_scores(first), tracking_scores(second)])
    assert scores.identity.idf1 == pytest.approx(2 * 7 / 20) and scores.clear.switches == 1
    assert scores.hota.association_accuracy == pytest.approx((4 * 1 + 6 * 0.5) / 10)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_scores_stay_in_bounds_and_do_not_depend_on_the_names_of_ids(seed):
    frames = random_frames(seed)
    scores = tracking_scores(frames)
    renamed = tracking_scores([Frame(100 - frame.truth, 3 * frame.predicted, frame.similarity) for frame in frames])
    for name in ("idf1", "precision", "recall"):
        assert 0 <= getattr(scores.identity, name) <= 1
    assert scores.clear.mota <= 1 and 0 <= scores.hota.hota <= 1
    assert renamed.identity.idf1 == scores.identity.idf1
    assert renamed.hota.hota == pytest.approx(scores.hota.hota) and renamed.clear.mota == scores.clear.mota


@pytest.mark.parametrize("seed", range(60))
def test_equals_trackeval(seed):
    """The package `trackers` follows TrackEval; where there is no truth at all it, as we do, gives 0 for what has no denominator."""
    oracle = pytest.importorskip("trackers.eval", exc_type=ImportError)
    frames = random_frames(seed)
    if not frames:
        pytest.skip("the oracle needs a frame")
    scores = tracking_scores(frames)
    arguments = [frame.truth for frame in frames], [frame.predicted for frame in frames], [frame.similarity for frame in frames]
    expected = {
        **oracle.compute_identity_metrics(*arguments),
        **oracle.compute_clear_metrics(*arguments),
        **oracle.compute_hota_metrics(*arguments),
    }
    got = {
        **{"IDF1": scores.identity.idf1, "IDP": scores.identity.precision, "IDR": scores.identity.recall},
        **{"IDTP": scores.identity.true_positives, "IDFN": scores.identity.false_negatives, "IDFP": scores.identity.false_positives},
        **{"MOTA": scores.clear.mota, "MOTP": scores.clear.motp, "IDSW": scores.clear.switches, "Frag": scores.clear.fragmentations},
        **{"MT": scores.clear.mostly_tracked, "PT": scores.clear.partly_tracked, "ML": scores.clear.mostly_lost},
        **{"CLR_TP": scores.clear.true_positives, "CLR_FN": scores.clear.false_negatives, "CLR_FP": scores.clear.false_positives},
        **{"HOTA": scores.hota.hota, "DetA": scores.hota.detection_accuracy, "AssA": scores.hota.association_accuracy},
        "LocA": scores.hota.localisation_accuracy,
    }
    for name, value in got.items():
        assert value == pytest.approx(expected[name], abs=1e-9), name


def test_similarity_is_the_overlap_of_boxes_of_the_same_frame():
    truth = people_of(1, [walker(0, 100, 0), walker(0, 500, 0)])
    found = people_of(1, [walker(0, 510, 0), walker(0, 900, 0)])
    truth, found = (_tracked(people, ids) for people, ids in ((truth, [1, 2]), (found, [5, -1])))
    empty, frame = frames_by_boxes(truth, found, 2)
    assert len(empty.truth) == len(empty.predicted) == 0
    assert frame.truth.tolist() == [1, 2] and frame.predicted.tolist() == [5]
    assert frame.similarity[0, 0] == 0 and 0.5 < frame.similarity[1, 0] < 1


def test_similarity_by_keypoints_counts_those_that_are_true_and_seen():
    pose = walker(0, 100, 0)
    truth, found = _tracked(people_of(0, [pose]), [1]), _tracked(people_of(0, [pose]), [1])
    keypoints, confidence = found.keypoints.copy(), truth.confidence.copy()
    keypoints[0, 5:] += 1000  # far off, but hidden in truth
    confidence[0, 5:] = 0
    keypoints[0, 0] = np.nan
    truth, found = replace(truth, confidence=confidence), replace(found, keypoints=keypoints)
    [frame] = frames_by_keypoints(truth, found, 1, COCO_17.sigmas)
    assert frame.similarity[0, 0] == pytest.approx(4 / 5)
    [unseen] = frames_by_keypoints(replace(truth, confidence=np.zeros((1, 17))), found, 1, COCO_17.sigmas)
    assert unseen.similarity[0, 0] == 0


def test_senseless_sequences_are_refused():
    one = np.array([1])
    with pytest.raises(VitruvianError, match="an id twice"):
        tracking_scores([Frame(np.array([1, 1]), one, np.ones((2, 1)))])
    with pytest.raises(VitruvianError, match="similarity"):
        tracking_scores([Frame(one, one, np.ones((2, 1)))])
    with pytest.raises(VitruvianError, match="frames outside"):
        frames_by_boxes(_tracked(people_of(3, [walker(0, 0, 0)]), [1]), people_of(0, []), 3)


def _tracked(people, ids):
    return replace(people, track=ids)
