"""PoseTrack's mAP against hand-made cases and a slow implementation of its definition."""

import numpy as np
import pytest

from vitruvian.errors import VitruvianError
from vitruvian.metrics.posetrack import TrackedPicture, posetrack_average_precision

HEAD = [0.0, 0.0, 6.0, 8.0]  # its size is 6, so 3 pixels are near


def picture(truth, found, scores=None):
    truth, found = np.asarray(truth, float).reshape(-1, 15, 2), np.asarray(found, float).reshape(-1, 15, 2)
    scores = np.ones(len(found)) if scores is None else np.asarray(scores, float)
    return TrackedPicture(truth, np.tile(HEAD, (len(truth), 1)), found, np.repeat(scores[:, None], 15, axis=1))


def person(x=0.0):
    return np.stack([np.full(15, x), np.arange(15) * 10.0], axis=1)


def test_perfect_and_nobody():
    assert set(posetrack_average_precision([picture([person(), person(50)], [person(50), person()])]).values()) == {1.0}
    assert set(posetrack_average_precision([picture([person()], [])]).values()) == {0.0}
    assert np.isnan(list(posetrack_average_precision([picture([], [person()])]).values())).all()
    assert np.isnan(list(posetrack_average_precision([]).values())).all()


def test_far_joints_are_wrong():
    found = person()
    found[6:12, 0] += 3.5  # wrists, elbows, shoulders
    table = posetrack_average_precision([picture([person()], [found])])
    assert table["wrist"] == table["elbow"] == table["shoulder"] == 0 and table["knee"] == 1 and table["mean"] == pytest.approx(9 / 15)


def test_a_second_prediction_of_a_person_is_false_and_hurts_if_it_is_surer():
    worse = person()
    worse[0, 0] += 10
    sure, unsure = (posetrack_average_precision([picture([person()], [person(), worse], scores)]) for scores in ([0.5, 0.9], [0.9, 0.5]))
    assert unsure["mean"] == 1 and sure["knee"] == pytest.approx(0.5)


def test_unannotated_joints_of_a_matched_person_don_t_count_but_false_people_do():
    truth = person()
    truth[12:] = np.nan
    table = posetrack_average_precision([picture([truth], [person()])])
    assert np.isnan(table["head"]) and table["mean"] == 1
    alone = posetrack_average_precision([picture([truth], [person(), person(80)], [0.5, 0.9])])
    assert alone["ankle"] == pytest.approx(0.5)


def slow(pictures):
    """The definition, joint by joint."""
    listed, count = [[] for _ in range(15)], np.zeros(15)
    for p in pictures:
        near = np.array([[[np.linalg.norm(f[j] - t[j]) <= 3 for j in range(15)] for t in p.truth] for f in p.found])
        given = {}
        for i in range(len(p.found)):
            shares = [near[i, g].sum() / max((~np.isnan(p.truth[g, :, 0])).sum(), 1) for g in range(len(p.truth))]
            if shares and max(shares) > 0:
                g = int(np.argmax(shares))
                if g not in given or shares[g] > given[g][1]:
                    given[g] = (i, shares[g])
        owner = {i: g for g, (i, _) in given.items()}
        for j in range(15):
            count[j] += (~np.isnan(p.truth[:, j, 0])).sum()
            for i in range(len(p.found)):
                if np.isnan(p.found[i, j, 0]) or (i in owner and np.isnan(p.truth[owner[i], j, 0])):
                    continue
                listed[j].append((-p.scores[i, j], bool(i in owner and near[i, owner[i], j])))
    areas = []
    for j in range(15):
        hits, points = 0, [(0.0, 0.0)]
        for n, (_, good) in enumerate(sorted(listed[j], key=lambda entry: entry[0]), 1):
            hits += good
            points.append((hits / count[j], hits / n))
        points.append((1.0, 0.0))
        areas.append(
            sum((b[0] - a[0]) * max(q[1] for q in points[k + 1 :]) for k, (a, b) in enumerate(zip(points, points[1:], strict=False)))
        )
    return np.mean(areas)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition_joint_by_joint(seed):
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(8):
        truth = np.stack([person(x) for x in rng.uniform(0, 30, rng.integers(1, 5))])
        found = truth[rng.integers(0, len(truth), rng.integers(0, 6))] + rng.normal(0, 2, (1, 15, 2))
        found = found + rng.normal(0, 2, found.shape)
        truth[rng.random(truth.shape[:2]) < 0.2] = np.nan
        found[rng.random(found.shape[:2]) < 0.1] = np.nan
        pictures.append(picture(truth, found, rng.random(len(found))))
    assert posetrack_average_precision(pictures)["mean"] == pytest.approx(slow(pictures), abs=1e-12)


def test_a_head_without_size_is_refused():
    made = TrackedPicture(person()[None], np.zeros((1, 4)), person()[None], np.ones((1, 15)))
    with pytest.raises(VitruvianError, match="no size"):
        posetrack_average_precision([made])
    with pytest.raises(VitruvianError, match="needs the shape"):
        TrackedPicture(person()[None], np.zeros((2, 4)), person()[None], np.ones((1, 15)))
