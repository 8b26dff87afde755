"""PoseTrack 2017, 2018 and 21: people in short films, tracked (Andriluka et al., CVPR 2018; Doering et al., CVPR 2022).

2018 and 21 have one file per film in COCO's layout, 17 keypoints of which the ears are never annotated; 2017 has the older "annolist" with
15 keypoints. All three number people within a film. A frame's number is that of its file: `frame_id` counts over all films in some
releases [mem], and 2017 counts from 1. Folder names besides the official ones are from memory [mem].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian.data.cocolike import in_folder, read_pictures
from vitruvian.data.layout import MAX_JSON, below, find
from vitruvian.data.pictures import Dataset, Labels, Picture, labels
from vitruvian.errors import FormatError
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import POSETRACK_15, POSETRACK_17

LAYOUT = "annotations/{train,val}/FILM.json (or posetrack_data/annotations/..., posetrack_data/...), images/..."
TERMS = "research use only; PoseTrack21 needs a signed agreement"
Split = Literal["train", "val"]


def posetrack18(folder: str | Path, split: Split = "val") -> Dataset:
    """PoseTrack 2018, frame by frame, film by film. Raises FormatError where the annotations are missing."""
    return _films("posetrack18", folder, split)


def posetrack21(folder: str | Path, split: Split = "val") -> Dataset:
    """PoseTrack21, as `posetrack18`."""
    return _films("posetrack21", folder, split)


def posetrack17(folder: str | Path, split: Split = "val") -> Dataset:
    """PoseTrack 2017; boxes are those around the keypoints, as the set has none. Raises FormatError where the annotations are missing."""
    files = _files("PoseTrack 2017", folder, split)

    def read() -> Iterator[Picture]:
        number = 0
        for path in files:
            for picture in _annolist(path, Path(folder), number):
                number = picture.id + 1
                yield picture

    return Dataset("posetrack17", POSETRACK_15, TERMS, read)


def _films(name: str, folder: str | Path, split: Split) -> Dataset:
    files, pictures = _files(name, folder, split), in_folder(Path(folder))

    def read() -> Iterator[Picture]:
        for path in files:
            for picture in read_pictures(path, pictures, {"keypoints": 17}, keep=lambda image: image.get("is_labeled", True) is True):
                yield replace(picture, frame=_number(picture.file, picture.frame))

    return Dataset(name, POSETRACK_17, TERMS, read)


def _files(name: str, folder: str | Path, split: Split) -> list[Path]:
    places = (f"annotations/{split}", f"posetrack_data/annotations/{split}", f"posetrack_data/{split}")
    place = find(folder, name, LAYOUT, *places)
    files = sorted(place.glob("*.json"))
    if not files:
        raise FormatError(f"{place} of {name} has no FILM.json; expected: {LAYOUT}")
    return files


def _annolist(path: Path, folder: Path, first: int) -> Iterator[Picture]:
    """The frames of one film of 2017: every value of its records is a list of one."""
    document = read_json(path, MAX_JSON)
    try:
        for number, row in enumerate(document["annolist"]):
            name = row["image"][0]["name"]
            if not isinstance(name, str):
                raise TypeError("a picture's name")
            if int((row.get("is_labeled") or [1])[0]):
                people = [person for person in row.get("annorect") or [] if person.get("annopoints")]
                file, frame = below(folder, name), int((row.get("imgnum") or [number])[0])
                yield Picture(file, first + number, (0, 0), _people(people), path.stem, _number(file, frame))
    except (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"{path} is no film of PoseTrack 2017 ({type(error).__name__}: {error}); fetch it again") from error


def _number(file: Path, otherwise: int) -> int:
    """The number that is a frame's name."""
    return int(file.stem) if file.stem.isdecimal() and len(file.stem) < 10 else otherwise


def _people(people: list[dict]) -> Labels:
    n, k = len(people), len(POSETRACK_15)
    points, visible, heads, tracks = np.zeros((n, k, 2)), np.zeros((n, k)), np.full((n, 4), np.nan), np.full(n, -1)
    for i, person in enumerate(people):
        for point in (person["annopoints"][0] or {}).get("point") or []:
            joint = int(point["id"][0])
            if not 0 <= joint < k:
                raise ValueError(f"joint {joint}")
            points[i, joint] = float(point["x"][0]), float(point["y"][0])
            visible[i, joint] = 2 if int((point.get("is_visible") or [1])[0]) else 1
        heads[i] = [float((person.get(side) or [np.nan])[0]) for side in ("x1", "y1", "x2", "y2")]
        tracks[i] = int((person.get("track_id") or [-1])[0])
    if not np.isfinite(points).all() or (np.abs(tracks) >= 1 << 31).any():
        raise ValueError("a number is not finite")
    return labels(points, visible, enclosing(points, visible > 0), ids=np.arange(n), tracks=tracks, heads=heads)
