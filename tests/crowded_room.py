"""People who walk among each other before several cameras, with what real detectors and trackers make of them: a hard film with its truth.

Bodies hide what is behind them: a hidden point is unsure and slides to the body before it, and who is hidden for the most part isn't found.
The cameras' own trackers take people who meet for each other, and give new ids to who comes back. Things are taken for people, and people
are found twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from many_views import walker
from vitruvian.geometry.camera import Camera, project, to_camera
from vitruvian.skeletons import COCO_17
from vitruvian.take import People, Take

_BONES = (
    (5, 6),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 12),
    (6, 11),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (0, 5),
)
_THICK = 0.13  # metres: how far from a bone's line of sight something is hidden


@dataclass(frozen=True)
class Trouble:
    """How hard the film is. noise: pixels. missed, ghosts, twice: per camera and frame. switch: that two who meet change ids.

    lost: chance per frame that a camera loses somebody for up to a second and a half. whole: share of hidden points that hides somebody.
    """

    noise: float = 4.0
    hidden_noise: float = 25.0
    slide: float = 0.35
    missed: float = 0.02
    lost: float = 0.0
    ghosts: float = 0.03
    twice: float = 0.02
    switch: float = 0.5
    flips: float = 0.02
    whole: float = 0.65


def dance(times: np.ndarray, people: int, seed: int = 0, reach: float = 1.6) -> np.ndarray:
    """(p, f, 17, 3): people who walk on curves through the middle of the room, passing each other at arm's length."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(people):
        turns, phase = rng.uniform(0.25, 0.45, 2), rng.uniform(0, 2 * np.pi, 2)
        path = reach * np.stack(
            [np.sin(2 * np.pi * turns[0] * times / 2 + phase[0]), np.sin(2 * np.pi * turns[1] * times / 2 + phase[1])], -1
        )
        speed = np.gradient(path, times, axis=0)
        heading = np.arctan2(speed[:, 0], speed[:, 1])
        pose = walker(times, phase=rng.uniform(0, 6), size=rng.uniform(0.85, 1.08), speed=(0.0, 0.0))
        c, s = np.cos(heading), np.sin(heading)
        turn = np.stack([np.stack([c, 0 * c, s], -1), np.stack([0 * c, 0 * c + 1, 0 * c], -1), np.stack([-s, 0 * c, c], -1)], -2)
        out.append(np.einsum("fij,fkj->fki", turn, pose) + np.stack([path[:, 0], 0 * times, path[:, 1]], -1)[:, None])
    return apart(np.stack(out))


def apart(truth: np.ndarray, least: float = 0.55) -> np.ndarray:
    """The same people, pushed away from each other where they would walk through each other."""
    truth = truth.copy()
    for _ in range(30):
        middle = truth[:, :, (11, 12)].mean(2)[..., [0, 2]]
        for a in range(len(truth)):
            for b in range(a):
                gap = middle[a] - middle[b]
                far = np.linalg.norm(gap, axis=-1, keepdims=True)
                push = 0.25 * np.maximum(least - far, 0) * gap / np.maximum(far, 1e-3)
                truth[a][..., [0, 2]] += push[:, None]
                truth[b][..., [0, 2]] -= push[:, None]
    return truth


def hidden(camera: Camera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which points (p, k) of one frame are behind somebody else's body, and by whom (p, k), -1 for nobody."""
    local = to_camera(camera, points)
    who = np.full(points.shape[:2], -1)
    a, b = (local[:, [bone[end] for bone in _BONES]] for end in (0, 1))
    along = np.linspace(0, 1, 5)[:, None, None, None]
    body = ((1 - along) * a + along * b).transpose(1, 0, 2, 3).reshape(len(points), -1, 3)  # points all over the bodies
    for p in range(len(points)):
        for q in range(len(points)):
            if p == q:
                continue
            nearer = body[q][None, :, 2] < local[p][:, None, 2] - 0.1
            on_ray = local[p][:, None] * (body[q][None, :, 2:] / local[p][:, None, 2:])
            off = np.linalg.norm(on_ray[..., :2] - body[q][None, :, :2], axis=-1)
            who[p, (nearer & (off < _THICK)).any(1)] = q
    return who >= 0, who


def films(cameras: list[Camera], truth: np.ndarray, times: np.ndarray, trouble: Trouble | None = None, seed: int = 0) -> list[Take]:
    """What each camera's detector, pose network and tracker made of it."""
    return [_film(camera, truth, times, trouble or Trouble(), np.random.default_rng(seed + 100 * n)) for n, camera in enumerate(cameras)]


def _film(camera: Camera, truth: np.ndarray, times: np.ndarray, trouble: Trouble, rng: np.random.Generator) -> Take:
    rows, own, last = [], list(range(1, len(truth) + 1)), len(truth)
    was_seen, met, back = [True] * len(truth), set(), np.zeros(len(truth), int)
    swap = np.array(COCO_17.swap)
    for f in range(len(times)):
        pixels = project(camera, truth[:, f])
        is_hidden, by = hidden(camera, truth[:, f])
        seen = np.zeros(len(truth), bool)
        for p in range(len(truth)):
            inside = np.isfinite(pixels[p]).all(-1) & (pixels[p] >= 0).all(-1) & (pixels[p] < camera.size).all(-1)
            if rng.random() < trouble.lost:
                back[p] = f + rng.integers(5, 45)
            seen[p] = inside.sum() >= 8 and is_hidden[p].mean() < trouble.whole and rng.random() > trouble.missed and f >= back[p]
            # Who was away comes back under another number; who meets somebody may be taken for him.
            if seen[p] and not was_seen[p]:
                if f - last_seen(rows, own[p]) > 20:
                    last += 1
                    own[p] = last
            was_seen[p] = seen[p] or was_seen[p] and rng.random() < 0.9
        for p in range(len(truth)):
            for q in range(p):
                close = np.linalg.norm(np.nanmedian(pixels[p] - pixels[q], axis=0)) < 60
                if close and (p, q) not in met:
                    met.add((p, q))
                    if rng.random() < trouble.switch:
                        own[p], own[q] = own[q], own[p]
                elif not close:
                    met.discard((p, q))
        for p in np.flatnonzero(seen):
            points, sure = _keypoints(pixels, is_hidden[p], by[p], p, trouble, rng)
            inside = (points >= 0).all(-1) & (points < camera.size).all(-1)
            sure = np.where(inside, sure, sure * 0.2)
            if rng.random() < trouble.flips:
                points, sure = points[swap], sure[swap]
            rows.append((f, own[p], points, sure))
            if rng.random() < trouble.twice:
                rows.append((f, -1, points + rng.normal(0, trouble.noise, points.shape), sure * 0.9))
        if rng.random() < trouble.ghosts:
            place, size = rng.uniform(0, camera.size), rng.uniform(50, 300)
            rows.append((f, -1, place + rng.normal(0, size, (17, 2)), rng.uniform(0.1, 0.6, 17)))
    return _take(rows, camera, times, rng)


def last_seen(rows: list, track: int) -> int:
    return next((f for f, t, *_ in reversed(rows) if t == track), -10_000)


def _keypoints(
    pixels: np.ndarray, is_hidden: np.ndarray, by: np.ndarray, person: int, trouble: Trouble, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What a pose network says of one person: hidden points are unsure, and some of them lie on the person before."""
    points = pixels[person] + rng.normal(0, trouble.noise, (17, 2))
    sure = rng.uniform(0.75, 0.97, 17)
    for k in np.flatnonzero(is_hidden):
        points[k] += rng.normal(0, trouble.hidden_noise, 2)
        sure[k] = rng.uniform(0.1, 0.5)
        if rng.random() < trouble.slide:
            points[k], sure[k] = pixels[by[k], k] + rng.normal(0, 2 * trouble.noise, 2), rng.uniform(0.3, 0.7)
    return points, sure


def _take(rows: list, camera: Camera, times: np.ndarray, rng: np.random.Generator) -> Take:
    rows = [rows[i] for i in np.lexsort((rng.random(len(rows)), [row[0] for row in rows]))] if rows else []
    keypoints = np.array([row[2] for row in rows]).reshape(-1, 17, 2)
    low, high = (keypoints.min(1), keypoints.max(1)) if len(rows) else np.zeros((2, 0, 2))
    people = People(
        np.array([row[0] for row in rows], int), np.array([row[1] for row in rows], int), np.concatenate([low, high], 1),
        np.full(len(rows), 0.8), keypoints, np.array([row[3] for row in rows]).reshape(-1, 17),
    )  # fmt: skip
    return Take(people, COCO_17, times, np.tile(camera.size, (len(times), 1)), (f"{camera.name}.mp4",), f"{camera.name}.mp4")


@dataclass(frozen=True)
class Judged:
    """recall: share of (frame, person) that is there within 0.3 m. ghosts: rows at nobody's place. median, mean: metres, of their points.

    ids: how many there are. switches: changes of id from a person's row to the next. shared: ids that more than one person had.
    """

    recall: float
    ghosts: int
    median: float
    mean: float
    switches: int
    ids: int
    shared: int


def judge(take: Take, truth: np.ndarray, limit: float = 0.3) -> Judged:
    """Compare a world take with the truth (p, f, 17, 3)."""
    people = take.people
    off = np.full((len(people), len(truth)), np.inf)
    for p in range(len(truth)):
        gap = np.linalg.norm(people.points - truth[p, people.frame], axis=-1)
        enough = np.isfinite(gap).sum(1) >= 4
        off[enough, p] = np.nanmedian(gap[enough], axis=1)
    person = np.where(off.min(1) < limit, off.argmin(1), -1)
    switches, owners = 0, {}
    for p in range(len(truth)):
        rows = np.flatnonzero(person == p)
        rows = rows[np.argsort(people.frame[rows], kind="stable")]
        switches += int((np.diff(people.track[rows]) != 0).sum())
    for track in np.unique(people.track[person >= 0]):
        owners[int(track)] = len(np.unique(person[(people.track == track) & (person >= 0)]))
    there = {(int(f), int(p)) for f, p in zip(people.frame, person, strict=True) if p >= 0}
    mine = person >= 0
    gaps = np.linalg.norm(people.points[mine] - truth[person[mine], people.frame[mine]], axis=-1)
    return Judged(
        len(there) / (truth.shape[0] * truth.shape[1]), int((person < 0).sum()), float(np.nanmedian(gaps)), float(np.nanmean(gaps)),
        switches, len(np.unique(people.track)), sum(n > 1 for n in owners.values()),
    )  # fmt: skip
