"""People before several cameras are told apart, also when some cameras miss them."""

import numpy as np
import pytest

from many_views import room, seen, walker
from vitruvian.errors import VitruvianError
from vitruvian.geometry.match import cluster, match_views

PLACES = ((0, 0), (1.2, 0.3), (-1, 0.8), (0.4, -1.3), (-0.7, -1.1))


def crowd(people: int) -> np.ndarray:
    return np.concatenate([walker(np.zeros(1), place, (np.cos(i), np.sin(i)), i) for i, place in enumerate(PLACES[:people])])


def shuffled(pixels: np.ndarray, missing: list[tuple[int, int]] = (), seed: int = 0):
    """Lists over cameras of poses in random order, and who they are."""
    rng = np.random.default_rng(seed)
    out = []
    for camera, poses in enumerate(pixels):
        order = [n for n in rng.permutation(len(poses)) if (camera, n) not in missing]
        out.append((poses[order], np.array(order, int)))
    confidence = [np.isfinite(poses).all(-1) * 0.9 for poses, _ in out]
    return [poses for poses, _ in out], confidence, [who for _, who in out]


def groups(labels, who) -> set[frozenset]:
    """The groups as sets of (camera, person)."""
    found = {}
    for camera, (of, names) in enumerate(zip(labels, who, strict=True)):
        for label, name in zip(of, names, strict=True):
            found.setdefault(int(label), set()).add((camera, int(name)))
    return {frozenset(group) for group in found.values()}


@pytest.mark.parametrize("cameras", [2, 3, 4, 6])
@pytest.mark.parametrize("people", [1, 2, 5])
def test_everybody_is_put_together(cameras, people):
    keypoints, confidence, who = shuffled(seen(room(cameras), crowd(people), noise=3))
    expected = {frozenset((c, n) for c in range(cameras)) for n in range(people)}
    assert groups(match_views(room(cameras), keypoints, confidence), who) == expected


def test_people_may_be_missing_in_some_cameras():
    missing = [(0, 1), (1, 1), (3, 0), (0, 2), (1, 2), (2, 2)]
    keypoints, confidence, who = shuffled(seen(room(4), crowd(3), noise=3), missing)
    expected = {
        frozenset([(0, 0), (1, 0), (2, 0)]),
        frozenset([(2, 1), (3, 1)]),
        frozenset([(3, 2)]),
    }
    assert groups(match_views(room(4), keypoints, confidence), who) == expected


def test_half_hidden_people_are_put_together():
    pixels = seen(room(4), crowd(3), noise=3)
    rng = np.random.default_rng(1)
    pixels[rng.random(pixels.shape[:3]) < 0.35] = np.nan
    keypoints, confidence, who = shuffled(pixels)
    assert groups(match_views(room(4), keypoints, confidence), who) == {frozenset((c, n) for c in range(4)) for n in range(3)}


def test_left_and_right_exchanged_in_a_camera_does_not_part_a_person():
    pixels = seen(room(4), crowd(2), noise=3)
    pixels[1] = pixels[1][:, [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]]
    keypoints, confidence, who = shuffled(pixels)
    assert groups(match_views(room(4), keypoints, confidence), who) == {frozenset((c, n) for c in range(4)) for n in range(2)}


def test_nobody_is_fine():
    none = [np.zeros((0, 17, 2))] * 3, [np.zeros((0, 17))] * 3
    assert [len(labels) for labels in match_views(room(3), *none)] == [0, 0, 0]
    unseen = [np.full((1, 17, 2), np.nan)] * 3, [np.zeros((1, 17))] * 3
    assert len(set(np.concatenate(match_views(room(3), *unseen)))) == 3
    with pytest.raises(VitruvianError):
        match_views(room(3), *[side[:2] for side in none])


def test_clusters_of_pure_noise_are_nearly_the_best_there_are():
    rng = np.random.default_rng(2)
    view = np.array([0, 0, 1, 1, 2, 2])
    totals = []
    for _ in range(30):
        affinity = rng.normal(0, 1, (6, 6))
        affinity = (affinity + affinity.T) / 2
        labels = cluster(affinity, view)
        for a in range(6):
            for b in range(a):
                assert view[a] != view[b] or labels[a] != labels[b]
        total = sum(affinity[a, b] for a in range(6) for b in range(a) if labels[a] == labels[b])
        totals.append((total, best_total(affinity, view)))
    found, best = np.array(totals).T
    assert found.sum() >= 0.95 * best.sum()


def best_total(affinity: np.ndarray, view: np.ndarray) -> float:
    """By trying every partition."""
    best = 0.0
    stack = [[0]]
    while stack:
        labels = stack.pop()
        if len(labels) == len(view):
            best = max(best, sum(affinity[a, b] for a in range(6) for b in range(a) if labels[a] == labels[b]))
            continue
        n = len(labels)
        for label in range(max(labels) + 2):
            if not any(labels[m] == label and view[m] == view[n] for m in range(n)):
                stack.append([*labels, label])
    return best
