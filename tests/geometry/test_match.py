"""People before several cameras are told apart, also when some cameras miss them, and keep their ids when they cross."""

import numpy as np
import pytest

from many_views import room, seen, walker
from vitruvian.errors import VitruvianError
from vitruvian.geometry.match import cluster, follow, match_views

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


def film(cameras, people: np.ndarray, seed: int = 0, noise: float = 3.0, hidden=lambda camera, person, frame: False):
    """Frames for `follow` from (p, f, 17, 3), and who is who: (frame, camera) -> persons."""
    pixels = seen(cameras, people, noise, seed)
    rng = np.random.default_rng(seed)
    frames, who = [], []
    for frame in range(people.shape[1]):
        order = [[n for n in rng.permutation(len(people)) if not hidden(c, n, frame)] for c in range(len(cameras))]
        poses = [pixels[c, rows, frame] for c, rows in enumerate(order)]
        frames.append([(p, np.isfinite(p).all(-1) * 0.9, np.full(len(p), -1)) for p in poses])
        who.append([np.array(rows, int) for rows in order])
    return frames, who


def ids_of(ids, who, person: int) -> set[int]:
    return {
        int(i) for frame, names in zip(ids, who, strict=True) for of, name in zip(frame, names, strict=True) for i in of[name == person]
    }


def test_two_who_cross_keep_their_ids():
    times = np.arange(60) / 30
    people = np.stack([walker(times, (-1, 0.1), (1.0, 0)), walker(times, (1, -0.1), (-1.0, 0), 1.0)])
    frames, who = film(room(3), people)
    ids = follow(room(3), frames, times)
    first, second = ids_of(ids, who, 0), ids_of(ids, who, 1)
    assert len(first) == len(second) == 1 and first != second


def test_who_is_away_for_a_moment_keeps_the_id_and_a_third_gets_a_new_one():
    times = np.arange(40) / 30
    people = np.stack([walker(times, (-1, 0), (0, 0.5)), walker(times, (1, 0), (0, 0.5), 1.0), walker(times, (0, 1.5), (0, -0.5), 2.0)])
    frames, who = film(room(4), people, hidden=lambda c, n, f: (n == 0 and 10 <= f < 20) or (n == 2 and f < 15))
    ids = follow(room(4), frames, times)
    assert [ids_of(ids, who, n) for n in range(3)] == [{1}, {2}, {3}] or [ids_of(ids, who, n) for n in range(3)] == [{2}, {1}, {3}]


def test_whom_one_camera_sees_is_nobody_until_a_second_does():
    times = np.arange(10) / 30
    frames, who = film(room(3), walker(times)[None], hidden=lambda c, n, f: c > 0 and f < 5)
    ids = follow(room(3), frames, times)
    assert [ids[f][0].tolist() for f in range(10)] == [[-1]] * 5 + [[1]] * 5


def test_once_known_a_person_is_followed_by_a_single_camera():
    times = np.arange(12) / 30
    frames, who = film(room(3), walker(times)[None], hidden=lambda c, n, f: c > 0 and f >= 6)
    assert ids_of(follow(room(3), frames, times), who, 0) == {1}


def test_who_walks_on_before_a_single_camera_is_known_to_the_others_again():
    times = np.arange(75) / 30
    people = np.stack([walker(times, (-1.2, -0.5), (1.0, 0.2)), walker(times, (1, 1.2), (-0.4, 0), 1.0)])
    frames, who = film(room(4), people, hidden=lambda c, n, f: n == 0 and c > 0 and 10 <= f < 60)
    ids = follow(room(4), frames, times)
    assert len(ids_of(ids, who, 0)) == len(ids_of(ids, who, 1)) == 1


def test_who_is_away_for_two_seconds_keeps_the_id():
    times = np.arange(90) / 30
    people = np.stack([walker(times, (-1, 0), (0, 0.05)), walker(times, (1, 0), (0, 0.2), 1.0)])
    frames, who = film(room(4), people, hidden=lambda c, n, f: n == 0 and 10 <= f < 70)
    ids = follow(room(4), frames, times)
    assert len(ids_of(ids, who, 0)) == 1 and len(ids_of(ids, who, 1)) == 1


def test_who_has_just_been_here_comes_before_whoever_was_here_once():
    times = np.arange(60) / 30
    people = np.stack([walker(times, (0, 0), (0, 0)), walker(times, (-2, 0.2), (1.0, 0), 1.0)])
    frames, who = film(room(4), people, hidden=lambda c, n, f: n == 0 and f >= 10)  # somebody leaves, another comes to that place
    ids = follow(room(4), frames, times)
    assert ids_of(ids, who, 1) and not ids_of(ids, who, 1) & ids_of(ids, who, 0)


def test_people_found_twice_by_two_cameras_are_no_new_ones():
    times = np.arange(12) / 30
    cameras = room(3)
    frames, _ = film(cameras, walker(times)[None])
    twice = []
    for poses in frames:
        doubled = [(np.repeat(p, 2, 0) + [[[0.0]], [[3.0]]], np.repeat(sure, 2, 0), np.array([4, -1])) for p, sure, _ in poses]
        twice.append([*doubled[:2], poses[2]])
    ids = follow(cameras, twice, times)
    found = {int(i) for frame in ids for of in frame for i in of}
    assert found == {1, -1}


def test_an_empty_film_is_fine():
    assert follow(room(2), [], np.zeros(0)) == []
    nobody = [(np.zeros((0, 17, 2)), np.zeros((0, 17)), np.zeros(0, int))] * 2
    assert [[len(of) for of in frame] for frame in follow(room(2), [nobody], np.zeros(1))] == [[0, 0]]
