"""COCO 2017 persons with 17 keypoints (Lin et al., ECCV 2014): https://cocodataset.org."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vitruvian.data.cocolike import in_folder, read_pictures
from vitruvian.data.layout import find
from vitruvian.data.pictures import Dataset
from vitruvian.skeletons import COCO_17

LAYOUT = "annotations/person_keypoints_{train,val}2017.json, train2017/*.jpg, val2017/*.jpg"


def coco(folder: str | Path, split: Literal["train", "val"] = "val") -> Dataset:
    """COCO's persons. Raises FormatError where the annotations are missing."""
    path = find(folder, "COCO", LAYOUT, f"annotations/person_keypoints_{split}2017.json", f"person_keypoints_{split}2017.json")
    pictures = in_folder(Path(folder) / f"{split}2017")
    terms = "annotations CC-BY 4.0; pictures under their Flickr terms"
    return Dataset("coco", COCO_17, terms, lambda: read_pictures(path, pictures, {"keypoints": 17}))
