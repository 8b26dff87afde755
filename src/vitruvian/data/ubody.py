"""UBody: upper bodies from films in 15 kinds of scenes, 133 keypoints (Lin et al., CVPR 2023): https://osx-ubody.github.io.

Names of files and folders are from memory [mem]: one annotation file per scene, frames cut from the films below images/.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from vitruvian.data.coco_wholebody import FLAGS, LISTS
from vitruvian.data.cocolike import read_pictures
from vitruvian.data.layout import below, find
from vitruvian.data.pictures import Dataset, Picture
from vitruvian.errors import VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133

SCENES = (
    *("Magic_show", "Entertainment", "ConductMusic", "Online_class", "TalkShow", "Speech", "Fitness", "Interview", "Olympic"),
    *("TVShow", "Singing", "SignLanguage", "Movie", "LiveVlog", "VideoConference"),
)
LAYOUT = "annotations/SCENE/{keypoint,train,val}_annotations.json for one scene at least, images/SCENE/*"


def ubody(folder: str | Path, split: Literal["train", "val", "all"] = "train", every: int = 10) -> Dataset:
    """The scenes that are there, one after the other; of every scene each `every`-th picture (10 in DWPose's and RTMW's training).

    "all" reads keypoint_annotations.json, which has all of a scene. Raises FormatError where there is no scene.
    """
    if every < 1:
        raise VitruvianError(f"every {every}-th picture can't be taken: give 1 or more")
    name = f"{'keypoint' if split == 'all' else split}_annotations.json"
    find(folder, "UBody", LAYOUT, *(f"annotations/{scene}/{name}" for scene in SCENES))
    root = Path(folder)

    def read() -> Iterator[Picture]:
        for scene in SCENES:
            path = root / "annotations" / scene / name
            if path.is_file():
                pictures = read_pictures(path, partial(_file, root / "images", scene), LISTS, flags=FLAGS)
                yield from (picture for number, picture in enumerate(pictures) if number % every == 0)

    return Dataset("ubody", COCO_WHOLEBODY_133, "research and non-commercial use only", read)


def _file(images: Path, scene: str, name: str) -> Path:
    """Names begin with the scene in some releases and inside its folder in others."""
    return below(images if name.startswith(f"{scene}/") else images / scene, name)
