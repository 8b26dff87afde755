"""Heads and faces for the people of CrowdHuman and CityPersons, from BFJDet's files (Wan et al., CVPR 2021), which BPJDet trains on.

COCO's layout with a body, a head and a face in each annotation. Names of files and keys are from memory [mem]: "bbox" the full body,
"h_bbox" the head, "f_bbox" the face (zeros or missing where it can't be seen), "vis_ratio" the visible share, "ignore" or "iscrowd".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.cocolike import about, grouped
from vitruvian.data.layout import find
from vitruvian.data.parts import PartDataset, PartPicture, box_of, part_picture

LAYOUT = "annotations/instances_{train,val}_full_bhf_new.json (or instances_{train,val}_full_bhf.json), Images/*.jpg"
_KEYS = {"head": "h_bbox", "face": "f_bbox"}


def bodyface(folder: str | Path, split: Literal["train", "val"] = "val", part: Literal["head", "face"] = "face") -> PartDataset:
    """People with heads or faces; pictures are looked for below Images. Raises FormatError where the annotations are missing."""
    names = [f"instances_{split}_full_bhf{end}.json" for end in ("_new", "")]
    path = find(folder, "BFJDet", LAYOUT, *(f"annotations/{name}" for name in names), *names)
    images = Path(folder) / "Images"
    return PartDataset(f"bodyface-{part}", ("person", part), "see CrowdHuman and CityPersons", lambda: _read(path, images, _KEYS[part]))


def _read(path: Path, images: Path, key: str) -> Iterator[PartPicture]:
    for document, image, people in grouped(path):
        bodies, visible, ignore, parts = [], [], [], []
        for person in people:
            body = box_of(person.get("bbox"), path)
            if body is None:
                continue
            part = box_of(person.get(key), path)
            if part is not None:
                parts.append((part, 1, len(bodies)))
            bodies.append(body)
            visible.append(document.number(person, "vis_ratio", 1.0))
            ignore.append(document.number(person, "ignore", 0) == 1 or document.number(person, "iscrowd", 0) == 1)
        yield part_picture(
            *about(document, image, images), np.array(bodies).reshape(-1, 4),
            visible=np.clip(visible, 0, 1), ignore=np.array(ignore, bool), parts=parts,
        )  # fmt: skip
