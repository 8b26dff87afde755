"""COCO-WholeBody 1.0, 133 keypoints on COCO's pictures (Jin et al., ECCV 2020): https://github.com/jin-s13/COCO-WholeBody."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vitruvian.data.cocolike import Lists, in_folder, read_pictures
from vitruvian.data.layout import find
from vitruvian.data.pictures import Dataset
from vitruvian.skeletons import COCO_WHOLEBODY_133

LAYOUT = "annotations/coco_wholebody_{train,val}_v1.0.json, train2017/*.jpg, val2017/*.jpg; or wholebody.json beside its pictures"
LISTS: Lists = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
FLAGS = {key: f"{part}_valid" for key, part in {f"{part}_kpts": part for part in ("foot", "face", "lefthand", "righthand")}.items()}
TERMS = "research and non-commercial use only"


def coco_wholebody(folder: str | Path, split: Literal["train", "val"] = "val") -> Dataset:
    """COCO's persons with feet, face and hands; a part that is not marked as annotated has no visible points.

    A folder with `wholebody.json` and pictures beside it is taken for any split. Raises FormatError where the annotations are missing.
    """
    names = (f"annotations/coco_wholebody_{split}_v1.0.json", f"coco_wholebody_{split}_v1.0.json", "wholebody.json")
    path = find(folder, "COCO-WholeBody", LAYOUT, *names)
    pictures = in_folder(Path(folder) if path.name == "wholebody.json" else Path(folder) / f"{split}2017")
    return Dataset("coco-wholebody", COCO_WHOLEBODY_133, TERMS, lambda: read_pictures(path, pictures, LISTS, flags=FLAGS))
