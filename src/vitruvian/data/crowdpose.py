"""CrowdPose: people close together, 14 keypoints (Li et al., CVPR 2019): https://github.com/Jeff-sjtu/CrowdPose.

The annotations have no areas; 0.53 of the box stands in, as in their evaluation. Every picture has a `crowding` (see metrics.crowdpose).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vitruvian.data.cocolike import in_folder, read_pictures
from vitruvian.data.layout import find
from vitruvian.data.pictures import Dataset
from vitruvian.skeletons import CROWDPOSE_14

LAYOUT = "json/crowdpose_{train,val,trainval,test}.json (or annotations/...), images/*.jpg"


def crowdpose(folder: str | Path, split: Literal["train", "val", "trainval", "test"] = "test") -> Dataset:
    """CrowdPose's persons. Raises FormatError where the annotations are missing."""
    name = f"crowdpose_{split}.json"
    path = find(folder, "CrowdPose", LAYOUT, f"json/{name}", f"annotations/{name}", name)
    pictures = in_folder(Path(folder) / "images")
    return Dataset("crowdpose", CROWDPOSE_14, "research use only", lambda: read_pictures(path, pictures, {"keypoints": 14}))
