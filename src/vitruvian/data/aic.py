"""AI Challenger 2017 human keypoints, 14 points (Wu et al., arXiv 1711.06475).

The official files are lists of pictures with people by name ("human1"); v is 1 seen, 2 hidden, 3 not annotated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian.data.layout import MAX_JSON, below, find
from vitruvian.data.pictures import Dataset, Labels, Picture, labels
from vitruvian.errors import FormatError
from vitruvian.formats.coco_document import CocoDocument
from vitruvian.skeletons import AIC_14

LAYOUT = (
    "ai_challenger_keypoint_train_20170909/keypoint_train_{annotations_20170909.json,images_20170902/*.jpg} and "
    "ai_challenger_keypoint_validation_20170911/keypoint_validation_{annotations_20170911.json,images_20170911/*.jpg}"
)
_FILES = {"train": ("train_20170909", "20170909", "20170902"), "val": ("validation_20170911", "20170911", "20170911")}
_SEEN = {1: 2, 2: 1, 3: 0}


def aic(folder: str | Path, split: Literal["train", "val"] = "train") -> Dataset:
    """AI Challenger's persons. Raises FormatError where the annotations are missing."""
    name, annotations, images = _FILES[split]
    kind = name.split("_")[0]
    file = f"keypoint_{kind}_annotations_{annotations}.json"
    path = find(folder, "AI Challenger", LAYOUT, f"ai_challenger_keypoint_{name}/{file}", file)
    pictures = path.parent / f"keypoint_{kind}_images_{images}"
    return Dataset("aic", AIC_14, "research use only", lambda: _read(path, pictures))


def _read(path: Path, pictures: Path) -> Iterator[Picture]:
    document = CocoDocument(path, {"pictures": read_json(path, MAX_JSON)})
    for number, row in enumerate(document.rows("pictures")):
        yield Picture(below(pictures, f"{document.text(row, 'image_id')}.jpg"), number, (0, 0), _people(document, row))


def _people(document: CocoDocument, row: dict) -> Labels:
    points, boxes = row.get("keypoint_annotations"), row.get("human_annotations")
    if not isinstance(points, dict) or not isinstance(boxes, dict) or points.keys() != boxes.keys():
        raise FormatError(f"{document.path}: a picture's points and boxes are not of the same people; the file is damaged")
    people = [{"points": points[name], "box": boxes[name]} for name in points]
    found = document.array(people, "points", 42).reshape(-1, 14, 3)
    if not np.isin(found[..., 2], tuple(_SEEN)).all():
        raise FormatError(f"{document.path}: a visibility is none of 1, 2, 3; the file is damaged")
    seen = np.array([0, *_SEEN.values()])[found[..., 2].astype(int)]
    return labels(found[..., :2], seen, document.array(people, "box", 4), ids=np.arange(len(people)))
