"""One person of OpenPose's JSON, as OpenPose itself and the ControlNet tools write it: four lists of points, each x, y, confidence.

A list may be absent, empty or null. Face 70 = the 68 points and the two pupils, which are unknown here and written as missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian.errors import FormatError
from vitruvian.formats.triples import quadruples, triples
from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_BODY_18, OPENPOSE_BODY_25, Skeleton, convert
from vitruvian.take import People

# A person's list -> the part of a whole-body set that fills it, and how many points the list has.
_LISTS = {"face_keypoints": ("face", 70), "hand_left_keypoints": ("left_hand", 21), "hand_right_keypoints": ("right_hand", 21)}
_PUPILS = 2


def person_lists(people: People, skeleton: Skeleton, body: Skeleton, with_points: bool = True) -> list[dict[str, list[float]]]:
    """Each person's eight lists, the body converted to `body`; those of 3D are empty without points, or without `with_points`.

    Parts that the set lacks, or has with other points than OpenPose's, are empty lists.
    """
    converted = convert(people.keypoints, people.confidence, skeleton, body)
    flat = {"pose_keypoints": triples(converted.keypoints, converted.scores)}
    deep = {"pose_keypoints": np.zeros((len(people), 0, 4))}
    points = people.points if with_points else None
    if points is not None:
        # Confidence may be that of the pixels, 0 where only the 3D point is known: then being there counts as 1.
        sure = np.where(np.isfinite(points).all(-1) & ~(people.confidence > 0), 1, people.confidence)
        lifted = convert(points, sure, skeleton, body)
        deep["pose_keypoints"] = quadruples(lifted.keypoints, lifted.scores)
    for key, (part, size) in _LISTS.items():
        where = skeleton.parts.get(part, slice(0, 0))
        missing = size - (where.stop - where.start)
        if missing not in (0, _PUPILS):
            where, missing = slice(0, 0), 0
        pad = ((0, 0), (0, missing), (0, 0))
        flat[key] = np.pad(triples(people.keypoints[:, where], people.confidence[:, where]), pad)
        deep[key] = flat[key][:, :0] if points is None else np.pad(quadruples(points[:, where], sure[:, where]), pad)
    return [
        {f"{key}_2d": values[i].ravel().tolist() for key, values in flat.items()}
        | {f"{key}_3d": values[i].ravel().tolist() for key, values in deep.items()}
        for i in range(len(people))
    ]


def person_points(
    person: dict, path: Path, skeleton: Skeleton = COCO_WHOLEBODY_133
) -> tuple[Float[np.ndarray, "k 3"], Float[np.ndarray, "k 4"]]:
    """A person's x, y, confidence in the set `skeleton` (NaN, NaN, 0 where missing), and its x, y, z, confidence likewise.

    Raises FormatError where a list holds something else than numbers, or has another length than OpenPose's.
    """
    return _points(person, path, skeleton, 3), _points(person, path, skeleton, 4)


def person_scores(confidence: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """The mean confidence of each person's found points, 0 without any: the format has no score of a person."""
    count = (confidence > 0).sum(axis=1)
    return np.divide(confidence.sum(axis=1), count, out=np.zeros(len(count), np.float32), where=count > 0)


def _points(person: dict, path: Path, skeleton: Skeleton, width: int) -> Float[np.ndarray, "k w"]:
    suffix = f"_{width - 1}d"
    points = np.zeros((len(skeleton), width), np.float32)
    body = _list(path, person, f"pose_keypoints{suffix}", (0, 18, 25), width)
    if not len(body) and width == 3:  # version 0.1
        body = _list(path, person, "pose_keypoints", (0, 18, 25), width)
    if len(body):
        converted = convert(body[:, :-1], body[:, -1], OPENPOSE_BODY_25 if len(body) == 25 else OPENPOSE_BODY_18, skeleton)
        points[:, :-1], points[:, -1] = converted.keypoints, converted.scores
    for key, (part, size) in _LISTS.items():
        found = _list(path, person, key + suffix, (0, size, size - _PUPILS) if part == "face" else (0, size), width)
        where = skeleton.parts.get(part, slice(0, 0))
        if len(found) and size - (where.stop - where.start) in (0, _PUPILS):
            points[where] = found[: where.stop - where.start]
    points[~(points[:, -1] > 0)] = (*(np.nan,) * (width - 1), 0)
    return points


def _list(path: Path, person: dict, key: str, allowed: tuple[int, ...], width: int) -> Float[np.ndarray, "k w"]:
    """A flat list as (K, width), K being one of `allowed`; confidence cut to [0, 1]."""
    values = person.get(key)
    numbers = [] if values is None else values
    if not isinstance(numbers, list) or not all(isinstance(number, (int, float)) and abs(number) < 1e30 for number in numbers):
        raise FormatError(f"{path}: {key} holds something else than numbers; it is no OpenPose file")
    if len(numbers) not in {width * k for k in allowed}:
        raise FormatError(f"{path}: {len(numbers)} numbers in {key}, expected {' or '.join(str(width * k) for k in allowed)}")
    points = np.array(numbers, np.float32).reshape(-1, width)
    points[:, -1] = np.clip(points[:, -1], 0, 1)
    return points


def person_id(person: dict) -> int:
    """The first person_id, -1 where there is none (before version 1.2) or it is no small integer."""
    ids = person.get("person_id", [])
    track = ids[0] if isinstance(ids, list) and ids else -1
    return track if type(track) is int and 0 <= track < 2**31 else -1
