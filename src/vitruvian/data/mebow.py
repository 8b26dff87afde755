"""MEBOW: which way COCO's persons face (Wu et al., CVPR 2020): https://github.com/ChenyanWu/MEBOW; angles by request from its authors.

{train,val}_hoe.json map "IMAGE_ANNOTATION" to degrees in steps of 5 [mem]; boxes come from COCO's own files. The convention is that of
`People.orientation`. Only pictures with at least one label are read, as JointBDOE does (card jointbdoe.md section 6).

Weak labels: a second file of the same layout ({train,val}_hoe_weak.json, or `weak`), as JointBDOE made for people whom nobody had labelled;
a label of a person goes before a weak one. `write_weak` makes such a file from any network's headings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian._files import read_json, written_whole
from vitruvian.data.cocolike import about, grouped
from vitruvian.data.layout import MAX_JSON, find
from vitruvian.data.parts import PartDataset, PartPicture, box_of, part_picture, turn
from vitruvian.errors import FormatError

LAYOUT = "annotations/person_keypoints_{train,val}2017.json, annotations/{train,val}_hoe.json, train2017/*.jpg, val2017/*.jpg"


def mebow(folder: str | Path, split: Literal["train", "val"] = "val", weak: str | Path | None = None) -> PartDataset:
    """COCO's persons with headings. weak: a file of weak labels; by default the one beside the labels, if there is one.

    People without any label keep NaN. Raises FormatError where annotations are missing.
    """
    names = (f"{split}_hoe.json", f"person_keypoints_{split}2017.json")
    labels, boxes = (find(folder, "MEBOW", LAYOUT, f"annotations/{name}", name) for name in names)
    beside = labels.with_name(f"{split}_hoe_weak.json")
    more = Path(weak) if weak is not None else beside if beside.exists() else None
    images = Path(folder) / f"{split}2017"
    terms = "labels: research, by request; pictures under their Flickr terms"
    return PartDataset("mebow", ("person",), terms, lambda: _read(labels, more, boxes, images))


def write_weak(path: str | Path, labels: Iterable[tuple[int, int, float]]) -> None:
    """Write weak labels: image, annotation, heading in radians; rounded to MEBOW's 5 degrees. Raises FormatError as files do."""
    values = {f"{image}_{annotation}": int(round(np.degrees(heading) / 5) * 5 % 360) for image, annotation, heading in labels}
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(values), encoding="utf-8")


def _read(labels: Path, weak: Path | None, boxes: Path, images: Path) -> Iterator[PartPicture]:
    known, guessed = _angles(labels), _angles(weak) if weak else {}
    labelled = {image for image, _ in known}
    for document, image, people in grouped(boxes):
        number = int(document.number(image, "id"))
        if number not in labelled:
            continue
        bodies, headings, is_weak, ignore = [], [], [], []
        for person in people:
            body, key = box_of(person.get("bbox"), boxes), (number, int(document.number(person, "id")))
            if body is None:
                continue
            bodies.append(body)
            headings.append(known.get(key, guessed.get(key, np.nan)))
            is_weak.append(key not in known and key in guessed)
            ignore.append(document.number(person, "iscrowd", 0) == 1)
        yield part_picture(
            *about(document, image, images), np.array(bodies).reshape(-1, 4),
            ignore=np.array(ignore, bool), headings=np.array(headings), weak=np.array(is_weak, bool),
        )  # fmt: skip


def _angles(path: Path) -> dict[tuple[int, int], float]:
    """Radians by image and annotation."""
    document = read_json(path, MAX_JSON)
    if not isinstance(document, dict):
        raise FormatError(f"{path} is no file of MEBOW: it holds a {type(document).__name__}, not an object")
    out = {}
    for key, value in document.items():
        match = re.fullmatch(r"(\d{1,18})_(\d{1,18})", key)
        if match is None or isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 360:
            raise FormatError(f"{path}: {key[:40]!r} is no IMAGE_ANNOTATION with degrees; it is no file of MEBOW")
        out[int(match[1]), int(match[2])] = turn(float(value))
    return out
