"""UBody: upper bodies from films in 15 kinds of scenes, 133 keypoints (Lin et al., CVPR 2023): https://osx-ubody.github.io.

Names of files and folders are from memory [mem]: a file keypoint_annotation.json for all of a scene, frames cut from the films below
images/, and lists of the films that are for tests below splits/. Toolkits split the files themselves (train_annotations.json,
val_annotations.json); those are taken where they are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from vitruvian._npy import read_npy
from vitruvian.data.coco_wholebody import FLAGS, LISTS
from vitruvian.data.cocolike import read_pictures
from vitruvian.data.layout import below, find
from vitruvian.data.pictures import Dataset, Picture
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133

SCENES = (
    *("Magic_show", "Entertainment", "ConductMusic", "Online_class", "TalkShow", "Speech", "Fitness", "Interview", "Olympic"),
    *("TVShow", "Singing", "SignLanguage", "Movie", "LiveVlog", "VideoConference"),
)
LAYOUT = (
    "annotations/SCENE/keypoint_annotation.json (with splits/intra_scene_test_list.npy) or annotations/SCENE/{train,val}_annotations.json "
    "for one scene at least, images/SCENE/*"
)
WHOLE = ("keypoint_annotation.json", "keypoint_annotations.json")
TESTS = "splits/intra_scene_test_list.npy"
SCENE_STEP = 10_000_000_000
"""Pictures are numbered scene by scene in the files: this times the scene's place in `SCENES` is added, which makes ids different."""
_MAX_LIST = 64 << 20


def ubody(folder: str | Path, split: Literal["train", "val", "all"] = "train", every: int = 10) -> Dataset:
    """The scenes that are there, one after the other; of every scene each `every`-th picture (10 in DWPose's and RTMW's training).

    "all" reads what has all of a scene. Raises FormatError where there is no scene, or no list of films to split it by.
    """
    if every < 1:
        raise VitruvianError(f"every {every}-th picture can't be taken: give 1 or more")
    names = WHOLE if split == "all" else (f"{split}_annotations.json", *WHOLE)
    find(folder, "UBody", LAYOUT, *(f"annotations/{scene}/{name}" for name in names for scene in SCENES))
    root, images = Path(folder), Path(folder) / "images"

    def read() -> Iterator[Picture]:
        for number, scene in enumerate(SCENES):
            paths = (root / "annotations" / scene / name for name in names)
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                continue
            pictures = read_pictures(path, partial(_file, images, scene), LISTS, flags=FLAGS)
            if path.name in WHOLE and split != "all":
                tests = _test_films(root / TESTS)
                pictures = (one for one in pictures if _in_film(one.file.relative_to(images), tests) == (split == "val"))
            for place, picture in enumerate(pictures):
                if place % every == 0:
                    yield replace(picture, id=picture.id + SCENE_STEP * number)

    return Dataset("ubody", COCO_WHOLEBODY_133, "research and non-commercial use only", read)


def _file(images: Path, scene: str, name: str) -> Path:
    """Names begin with the scene in some releases and inside its folder in others."""
    return below(images if name.startswith(f"{scene}/") else images / scene, name)


def _test_films(path: Path) -> frozenset[str]:
    """Names of the films that are for tests, without their suffixes."""
    films = np.asarray(read_npy(path, max_bytes=_MAX_LIST))
    if films.dtype.kind != "U":
        raise FormatError(f"{path} is no list of names; fetch it again")
    return frozenset(PurePosixPath(str(film)).stem for film in films.ravel())


def _in_film(file: Path, films: frozenset[str]) -> bool:
    """Whether a picture lies in the folder of one of the films, or bears its name."""
    return any(part in films or part.rsplit(".", 1)[0] in films for part in file.parts)
