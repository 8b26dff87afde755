"""Human-Art: people in photographs, paintings, drawings and sculptures, 21 keypoints (Ju et al., CVPR 2023).

https://idea-research.github.io/HumanArt. File names are from memory [mem]: they begin with "HumanArt/images/KIND/".
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vitruvian.data.cocolike import in_folder, read_pictures
from vitruvian.data.layout import find
from vitruvian.data.pictures import Dataset
from vitruvian.skeletons import HUMANART_21

LAYOUT = "annotations/{training,validation}_humanart.json, images/{real_human,2D_virtual_human,3D_virtual_human}/*"
_SPLITS = {"train": "training", "val": "validation"}


def humanart(folder: str | Path, split: Literal["train", "val"] = "val", real_only: bool = False) -> Dataset:
    """Human-Art's persons; `real_only` leaves out pictures of works of art, as RTMW's training does.

    Raises FormatError where the annotations are missing.
    """
    path = find(folder, "Human-Art", LAYOUT, f"annotations/{_SPLITS[split]}_humanart.json", f"{_SPLITS[split]}_humanart.json")
    pictures = in_folder(Path(folder), drop="HumanArt/")

    def keep(image: dict) -> bool:
        return not real_only or "real_human" in str(image.get("file_name", "")).split("/")

    terms = "non-commercial use only"
    return Dataset("humanart", HUMANART_21, terms, lambda: read_pictures(path, pictures, {"keypoints_21": 21}, keep=keep))
