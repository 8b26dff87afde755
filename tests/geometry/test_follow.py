"""People keep their ids while they cross before several cameras, hide each other, and are away; and what is nobody gets none."""

import numpy as np

from many_views import room, seen, walker
from vitruvian.geometry.follow import follow
from vitruvian.skeletons import COCO_17

SWAP = COCO_17.swap


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


def test_sides_exchanged_in_turn_do_not_part_a_person_or_hand_on_the_id():
    times = np.arange(30) / 30
    people = np.stack([walker(times, (-0.5, 0.3), (0.6, 0)), walker(times, (0.5, -0.3), (-0.6, 0), 1.0)])
    frames, who = film(room(4), people)
    for f, poses in enumerate(frames):
        for camera in {f // 5 % 4, (f // 5 + 1) % 4}:
            poses[camera] = (poses[camera][0][:, list(SWAP)], *poses[camera][1:])
    ids = follow(room(4), frames, times, swap=SWAP)
    first, second = ids_of(ids, who, 0), ids_of(ids, who, 1)
    assert len(first) == len(second) == 1 and -1 not in first | second and first != second


def test_a_camera_that_sees_half_of_each_of_two_does_not_exchange_their_ids():
    times = np.arange(60) / 30
    people = np.stack([walker(times, (-1, 0.25), (1.0, 0)), walker(times, (1, -0.25), (-1.0, 0), 1.0)])
    frames, who = film(room(3), people)
    for f in range(22, 38):
        for camera in (0, 1):
            poses, sure, own = frames[f][camera]
            mixed = poses.copy()
            mixed[:, 5:] = poses[::-1, 5:]  # faces of one, bodies of the other
            frames[f][camera] = (mixed[: 2 - camera], sure[: 2 - camera], own[: 2 - camera])
            who[f][camera] = np.full(2 - camera, 9)
    ids = follow(room(3), frames, times, swap=SWAP)
    first, second = ids_of(ids, who, 0) - {-1}, ids_of(ids, who, 1) - {-1}
    assert len(first) == len(second) == 1 and first != second


def test_what_two_cameras_hardly_agree_on_is_no_person():
    times = np.arange(20) / 30
    pixels = seen(room(4)[:2], walker(times, (0, 0), (0, 0))[None], 1.0)
    pixels[1, :, :, 6:, 1] += np.where(np.arange(11) % 2, 25.0, -25.0)  # a lamp that is much like somebody: 6 points meet, 11 nearly
    frames = [[(view[:, f], np.full((1, 17), 0.9), np.array([1])) for view in pixels] for f in range(len(times))]
    assert {int(i) for frame in follow(room(4)[:2], frames, times, threshold=6.0, swap=SWAP) for of in frame for i in of} == {-1}


def test_trackers_that_take_two_who_cross_for_each_other_do_not_exchange_their_ids():
    times = np.arange(60) / 30
    people = np.stack([walker(times, (-1, 0.25), (1.0, 0)), walker(times, (1, -0.25), (-1.0, 0), 1.0)])
    frames, who = film(room(3), people, noise=6.0)
    for f, (poses, names) in enumerate(zip(frames, who, strict=True)):
        for c, name in enumerate(names):
            poses[c] = (*poses[c][:2], name if f < 30 else 1 - name)
            if 24 <= f < 36 and c:  # half of each in one box, from two sides
                mixed = poses[c][0][[0]].copy()
                mixed[:, 1::2] = poses[c][0][[1], 1::2]
                poses[c], names[c] = (mixed, poses[c][1][:1], poses[c][2][:1]), np.array([9])
    ids = follow(room(3), frames, times, swap=SWAP)
    first, second = ids_of(ids, who, 0) - {-1}, ids_of(ids, who, 1) - {-1}
    assert len(first) == len(second) == 1 and first != second
