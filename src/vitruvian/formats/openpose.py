"""OpenPose's JSON: one file per frame, BODY_25, 70 face points and two hands of 21, each point x, y, confidence.

`NAME_000000000123_keypoints.json` for a video's frame, `NAME_keypoints.json` for a picture. A missing point is 0, 0, 0; all eight
lists of a person are always there, those of 3D points (x, y, z in metres, confidence) empty for a take without points. The two pupils
(face points 68 and 69) are unknown here and written as missing.
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
from vitruvian.formats.openpose_person import person_id, person_lists, person_points, person_scores
from vitruvian.formats.text import make_folder
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_BODY_25, Skeleton
from vitruvian.take import People, Space, Take

MAX_BYTES = 64 << 20
_SUFFIX = "_keypoints.json"
_NUMBERED = re.compile(r"^.*_(\d{12})_keypoints\.json$")


def write_openpose(take: Take, folder: str | Path, body: Skeleton = OPENPOSE_BODY_25) -> list[Path]:
    """Write one file per frame into `folder` (made if missing) and return their paths, in order.

    The body is converted to `body` (BODY_25, or the older 18 points), with neck and mid hip as means; sets without face or hands leave
    those lists empty. Files of an earlier, longer take stay in the folder. Raises FormatError if a file can't be written.
    """
    folder = make_folder(folder)
    paths = [folder / name for name in _file_names(take)]
    for path, people in zip(paths, take.by_frame(), strict=True):
        write_openpose_frame(people, take.skeleton, path, body)
    return paths


def write_openpose_frame(people: People, skeleton: Skeleton, path: str | Path, body: Skeleton = OPENPOSE_BODY_25) -> None:
    """Write the people of one frame to `path`, whole or not at all. Raises FormatError if it can't be written."""
    lists = person_lists(people, skeleton, body)
    persons = [{"person_id": [int(people.track[i])], **lists[i]} for i in range(len(people))]
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps({"version": 1.3, "people": persons}), encoding="utf-8")


def read_openpose(
    source: str | Path | Sequence[str | Path],
    fps: float = 30.0,
    size: tuple[int, int] | None = None,
    normalised: bool | None = None,
    skeleton: Skeleton = COCO_WHOLEBODY_133,
    space: Space = "world",
) -> Take:
    """Read OpenPose files (a folder, one file, or a list of files) as a take of the points of `skeleton`.

    Files with a 12-digit number become the frames of a video, in order, at number / fps seconds (the format has no times); others
    are pictures in name order, one second apart. Boxes are those around the visible points, scores their mean confidence. By default
    neck, mid hip and pupils are dropped; OPENPOSE_BODY_25 keeps the body as it is and drops face and hands. `size`: (width, height) of
    the frames where known. `space`: the frame of 3D points, which the format does not say (nor their unit); their lists become `points`.
    `normalised`: whether coordinates are in [0, 1] or [-1, 1] (they are then scaled to `size`) instead of pixels; None decides by
    their largest value over all files.
    Raises FormatError if a file is not of this layout, or is normalised without a size being given.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise FormatError(f"{fps} is no frame rate; give frames per second, such as 30")
    paths = _sorted_paths(source)
    frames = [_read_frame(path, skeleton) for path in paths]
    points = np.concatenate([np.zeros((0, len(skeleton), 3), np.float32), *(flat for flat, _, _ in frames)])
    deep = np.concatenate([np.zeros((0, len(skeleton), 4), np.float32), *(deep for _, deep, _ in frames)])
    keypoints, confidence = points[..., :2], points[..., 2]
    if normalised is None:
        normalised = bool((confidence > 0).any()) and float(np.nanmax(np.abs(keypoints))) <= 1
    if normalised:
        keypoints = _to_pixels(keypoints, size)
    lifted = bool((deep[..., 3] > 0).any())
    if lifted:  # a point that only the 3D lists have is one that was found
        confidence = np.maximum(confidence, deep[..., 3])
    people = People(
        frame=np.repeat(np.arange(len(paths)), [len(tracks) for _, _, tracks in frames]),
        track=[track for _, _, tracks in frames for track in tracks],
        boxes=enclosing(keypoints, confidence > 0),
        scores=person_scores(confidence),
        keypoints=keypoints,
        confidence=confidence,
        points=deep[..., :3] if lifted else None,
    )
    numbers = [_number(path) for path in paths]
    is_video = bool(paths) and None not in numbers
    names = [path.name.removesuffix(_SUFFIX) for path in paths]
    return Take(
        people=people,
        skeleton=skeleton,
        times=np.array([n / fps for n in numbers] if is_video else range(len(paths)), np.float64),
        sizes=np.tile(np.array(size or (0, 0), np.int32), (len(paths), 1)),
        names=(names[0][:-13],) if is_video else tuple(names),
        source=str(source) if isinstance(source, (str, Path)) else "",
        space=space if lifted else "",
    )


def _file_names(take: Take) -> list[str]:
    """One file name per frame: the picture's where pictures have different ones, else numbered."""
    frames = range(len(take.times))
    stems = [_safe(Path(take.name_of(i)).stem) for i in frames]
    is_picture = all((mimetypes.guess_type(take.name_of(i))[0] or "").startswith("image/") for i in frames)
    if is_picture and max(Counter(stems).values(), default=0) <= 1:
        return [f"{stem}{_SUFFIX}" for stem in stems]
    common = stems[0] if len(set(stems)) == 1 and stems[0] else "take"  # files of one video have one name
    return [f"{common}_{i:012d}{_SUFFIX}" for i in frames]


def _safe(stem: str) -> str:
    """A stem without what file systems refuse (names come from foreign files too), and short enough for the rest of the name."""
    return re.sub(r"[\x00-\x1f\ud800-\udfff<>:\"/\\|?*]", "_", stem).strip(". ")[:100]


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


def _to_pixels(keypoints: Float[np.ndarray, "n k 2"], size: tuple[int, int] | None) -> Float[np.ndarray, "n k 2"]:
    """[0, 1] coordinates, or [-1, 1] if any is negative, scaled to pixels."""
    if size is None:
        raise FormatError("these coordinates are normalised, not pixels; pass size=(width, height), or normalised=False")
    if bool((keypoints < 0).any()):
        keypoints = (keypoints + 1) / 2
    return keypoints * np.array(size, keypoints.dtype)


def _read_frame(path: Path, skeleton: Skeleton) -> tuple[Float[np.ndarray, "n k 3"], Float[np.ndarray, "n k 4"], list[int]]:
    """One file's x, y, confidence (NaN, NaN, 0 where missing), its x, y, z, confidence, and its track ids."""
    document = read_json(path, MAX_BYTES)
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise FormatError(f"{path} has no list of people; it is no OpenPose file")
    persons = [person_points(person, path, skeleton) for person in people]
    flat = np.array([flat for flat, _ in persons], np.float32).reshape(-1, len(skeleton), 3)
    deep = np.array([deep for _, deep in persons], np.float32).reshape(-1, len(skeleton), 4)
    return flat, deep, [person_id(person) for person in people]
