"""Halpe full-body, 136 keypoints (Li et al., 2020; Fang et al., AlphaPose): https://github.com/Fang-Haoshu/Halpe-FullBody.

The training pictures are HICO-DET's, the validation ones COCO's. Folder names are from memory [mem].
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vitruvian.data.cocolike import in_folder, read_pictures
from vitruvian.data.layout import find
from vitruvian.data.pictures import Dataset
from vitruvian.skeletons import HALPE_136

LAYOUT = "annotations/halpe_{train,val}_v1.json, hico_20160224_det/images/train2015/*.jpg, val2017/*.jpg"
_PICTURES = {"train": "hico_20160224_det/images/train2015", "val": "val2017"}


def halpe(folder: str | Path, split: Literal["train", "val"] = "train") -> Dataset:
    """Halpe's persons. Raises FormatError where the annotations are missing."""
    path = find(folder, "Halpe", LAYOUT, f"annotations/halpe_{split}_v1.json", f"halpe_{split}_v1.json")
    pictures = in_folder(Path(folder) / _PICTURES[split])
    return Dataset("halpe", HALPE_136, "research and non-commercial use only", lambda: read_pictures(path, pictures, {"keypoints": 136}))
