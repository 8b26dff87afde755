"""OpenPose's JSON: one file per frame, BODY_25, 70 face points and two hands of 21, each point x, y, confidence.

`NAME_000000000123_keypoints.json` for a video's frame, `NAME_keypoints.json` for a picture. A missing point is 0, 0, 0; all eight
lists of a person are always there. The two pupils (face points 68 and 69) are unknown here and written as missing.
Source: https://github.com/CMU-Perceptual-Computing-Lab/openpose, doc/02_output.md; versions 0.1 to 1.3 are read, 1.3 is written.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import read_json, written_whole
from vitruvian.errors import FormatError
from vitruvian.formats.triples import triples
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_BODY_18, OPENPOSE_BODY_25, Skeleton, convert
from vitruvian.take import People, Take

MAX_BYTES = 64 << 20
_SUFFIX = "_keypoints.json"
_NUMBERED = re.compile(r"^.*_(\d{12})_keypoints\.json$")
# A person's list -> the part of a whole-body set that fills it, and how many points the list has.
_LISTS = {"face_keypoints_2d": ("face", 70), "hand_left_keypoints_2d": ("left_hand", 21), "hand_right_keypoints_2d": ("right_hand", 21)}


def write_openpose(take: Take, folder: str | Path) -> list[Path]:
    """Write one file per frame into `folder` (made if missing) and return their paths, in order.

    The body is converted to BODY_25, with neck and mid hip as means; sets without face or hands leave those lists empty.
    Raises FormatError if a file can't be written.
    """
    paths = [Path(folder) / name for name in _file_names(take)]
    for path, people in zip(paths, take.by_frame(), strict=True):
        write_openpose_frame(people, take.skeleton, path)
    return paths


def write_openpose_frame(people: People, skeleton: Skeleton, path: str | Path) -> None:
    """Write the people of one frame to `path`, whole or not at all. Raises FormatError if it can't be written."""
    body = convert(people.keypoints, people.confidence, skeleton, OPENPOSE_BODY_25)
    lists = {"pose_keypoints_2d": triples(body.keypoints, body.scores)}
    for key, (part, size) in _LISTS.items():
        where = skeleton.parts.get(part, slice(0, 0))
        found = triples(people.keypoints[:, where], people.confidence[:, where])
        unknown = size - found.shape[1]
        # 68 face points: the two pupils follow as missing. Parts with other points than OpenPose's are left out.
        lists[key] = np.pad(found, ((0, 0), (0, unknown), (0, 0))) if unknown in (0, 2) else found[:, :0]
    persons = [
        {
            "person_id": [int(people.track[i])],
            **{key: values[i].ravel().tolist() for key, values in lists.items()},
            **{f"{key[:-2]}3d": [] for key in lists},
        }
        for i in range(len(people))
    ]
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({"version": 1.3, "people": persons}), encoding="utf-8")


def read_openpose(
    source: str | Path | Sequence[str | Path], fps: float = 30.0, size: tuple[int, int] | None = None, normalised: bool | None = None
) -> Take:
    """Read OpenPose files (a folder, one file, or a list of files) as a take of COCO-WholeBody's 133 points.

    Files with a 12-digit number become the frames of a video, in order, at number / fps seconds (the format has no times); others
    are pictures in name order, one second apart. Boxes are those around the visible points, scores their mean confidence; neck,
    mid hip and pupils are dropped. `size`: (width, height) of the frames where known.
    `normalised`: whether coordinates are in [0, 1] or [-1, 1] (they are then scaled to `size`) instead of pixels; None decides by
    their largest value over all files.
    Raises FormatError if a file is not of this layout, or is normalised without a size being given.
    """
    paths = _sorted_paths(source)
    frames = [_read_frame(path) for path in paths]
    points = np.concatenate([np.zeros((0, 133, 3), np.float32), *(points for points, _ in frames)])
    keypoints, confidence = points[..., :2], points[..., 2]
    if normalised is None:
        normalised = bool((confidence > 0).any()) and float(np.nanmax(np.abs(keypoints))) <= 1
    if normalised:
        keypoints = _to_pixels(keypoints, size)
    seen = confidence > 0
    count = seen.sum(axis=1)
    people = People(
        frame=np.repeat(np.arange(len(paths)), [len(tracks) for _, tracks in frames]),
        track=[track for _, tracks in frames for track in tracks],
        boxes=enclosing(keypoints, seen),
        scores=np.divide(confidence.sum(axis=1), count, out=np.zeros(len(count), np.float32), where=count > 0),
        keypoints=keypoints,
        confidence=confidence,
    )
    numbers = [_number(path) for path in paths]
    is_video = bool(paths) and None not in numbers
    names = [path.name.removesuffix(_SUFFIX) for path in paths]
    return Take(
        people=people,
        skeleton=COCO_WHOLEBODY_133,
        times=np.array([n / fps for n in numbers] if is_video else range(len(paths)), np.float64),
        sizes=np.tile(np.array(size or (0, 0), np.int32), (len(paths), 1)),
        names=(names[0][:-13],) if is_video else tuple(names),
        source=str(source) if isinstance(source, (str, Path)) else "",
    )


def _file_names(take: Take) -> list[str]:
    """One file name per frame: the picture's where pictures have different ones, else numbered."""
    frames = range(len(take.times))
    stems = [Path(take.name_of(i)).stem for i in frames]
    is_picture = all((mimetypes.guess_type(take.name_of(i))[0] or "").startswith("image/") for i in frames)
    if is_picture and max(Counter(stems).values(), default=0) <= 1:
        return [f"{stem}{_SUFFIX}" for stem in stems]
    return [f"{stem or 'take'}_{i:012d}{_SUFFIX}" for i, stem in enumerate(stems)]


def _number(path: Path) -> int | None:
    match = _NUMBERED.match(path.name)
    return int(match[1]) if match else None


def _sorted_paths(source: str | Path | Sequence[str | Path]) -> list[Path]:
    if not isinstance(source, (str, Path)):
        return [Path(path) for path in source]
    source = Path(source)
    if not source.is_dir():
        return [source]
    paths = sorted(path for path in source.glob(f"*{_SUFFIX}") if not path.name.startswith("."))
    stems = {path.name[:-28] for path in paths if _number(path) is not None}
    if len(stems) > 1:
        raise FormatError(f"{source} holds files of several videos ({', '.join(sorted(stems)[:3])}); pass the list of one video's files")
    return paths


def _to_pixels(keypoints: Float[np.ndarray, "n 133 2"], size: tuple[int, int] | None) -> Float[np.ndarray, "n 133 2"]:
    """[0, 1] coordinates, or [-1, 1] if any is negative, scaled to pixels."""
    if size is None:
        raise FormatError("these coordinates are normalised, not pixels; pass size=(width, height), or normalised=False")
    if bool((keypoints < 0).any()):
        keypoints = (keypoints + 1) / 2
    return keypoints * np.array(size, keypoints.dtype)


def _read_frame(path: Path) -> tuple[Float[np.ndarray, "n 133 3"], list[int]]:
    """One file's x, y, confidence (NaN, NaN, 0 where missing), and its track ids."""
    document = read_json(path, MAX_BYTES)
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise FormatError(f"{path} has no list of people; it is no OpenPose file")
    points = np.zeros((len(people), 133, 3), np.float32)
    for row, person in enumerate(people):
        body = _points(path, person.get("pose_keypoints_2d", person.get("pose_keypoints", [])), (0, 18, 25))
        if len(body):
            source = OPENPOSE_BODY_25 if len(body) == 25 else OPENPOSE_BODY_18
            converted = convert(body[:, :2], body[:, 2], source, COCO_WHOLEBODY_133)
            points[row, :, :2], points[row, :, 2] = converted.keypoints, converted.scores
        for key, (part, size) in _LISTS.items():
            found = _points(path, person.get(key, []), (0, size, 68) if part == "face" else (0, size))
            if len(found):
                where = COCO_WHOLEBODY_133.parts[part]
                points[row, where] = found[: where.stop - where.start]
    points[~(points[..., 2] > 0)] = (np.nan, np.nan, 0)
    return points, [_track(person) for person in people]


def _points(path: Path, values: object, allowed: tuple[int, ...]) -> Float[np.ndarray, "k 3"]:
    """A flat list of x, y, confidence as (K, 3), K being one of `allowed`."""
    numbers = values if isinstance(values, list) else None
    if numbers is None or not all(isinstance(number, (int, float)) and abs(number) < 1e30 for number in numbers):
        raise FormatError(f"{path}: a keypoint list holds something else than numbers; it is no OpenPose file")
    if len(numbers) not in {3 * k for k in allowed}:
        raise FormatError(f"{path}: {len(numbers)} numbers in a keypoint list, expected {' or '.join(str(3 * k) for k in allowed)}")
    points = np.array(numbers, np.float32).reshape(-1, 3)
    points[:, 2] = np.clip(points[:, 2], 0, 1)
    return points


def _track(person: dict) -> int:
    """The first person_id, -1 where there is none (before version 1.2) or it is no small integer."""
    ids = person.get("person_id", [])
    track = ids[0] if isinstance(ids, list) and ids else -1
    return track if type(track) is int and 0 <= track < 2**31 else -1
