"""COCOHumanParts: COCO's persons with six parts each (Yang et al., Hier R-CNN, TIP 2020): https://github.com/soeaver/Hier-R-CNN.

An annotation has "hier", 30 numbers: for head, face, left hand, right hand, left foot and right foot a box x1, y1, x2, y2 and a flag that
is 0 where the part can't be seen [mem].
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.codecs.association import BODY_PARTS
from vitruvian.data.cocolike import about, grouped
from vitruvian.data.layout import find
from vitruvian.data.parts import FAR, PartDataset, PartPicture, box_of, part_picture
from vitruvian.errors import FormatError

LAYOUT = "annotations/person_humanparts_{train,val}2017.json, train2017/*.jpg, val2017/*.jpg"


def cocohumanparts(folder: str | Path, split: Literal["train", "val"] = "val") -> PartDataset:
    """COCO's persons with their parts. Raises FormatError where the annotations are missing."""
    name = f"person_humanparts_{split}2017.json"
    path = find(folder, "COCOHumanParts", LAYOUT, f"annotations/{name}", name)
    images = Path(folder) / f"{split}2017"
    terms = "annotations CC-BY 4.0; pictures under their Flickr terms"
    return PartDataset("cocohumanparts", BODY_PARTS.classes, terms, lambda: _read(path, images))


def _read(path: Path, images: Path) -> Iterator[PartPicture]:
    for document, image, people in grouped(path):
        bodies, ignore, parts = [], [], []
        for person in people:
            body = box_of(person.get("bbox"), path)
            if body is None:
                continue
            parts += [(box, label, len(bodies)) for box, label in _parts(person.get("hier"), path)]
            bodies.append(body)
            ignore.append(document.number(person, "iscrowd", 0) == 1)
        yield part_picture(
            *about(document, image, images), np.array(bodies).reshape(-1, 4),
            ignore=np.array(ignore, bool), parts=parts,
        )  # fmt: skip


def _parts(hier: object, path: Path) -> list[tuple[np.ndarray, int]]:
    """Boxes and labels of the parts that can be seen."""
    if hier is None or hier == []:
        return []
    count = len(BODY_PARTS.slots)
    is_list = isinstance(hier, list) and len(hier) == 5 * count
    if not is_list or not all(isinstance(x, int | float) and abs(x) < FAR for x in hier):
        raise FormatError(f"{path}: 'hier' is not a list of {5 * count} numbers somewhere; the file is damaged or of another set")
    rows = np.array(hier, np.float64).reshape(count, 5)
    wanted = (rows[:, 4] > 0) & (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])
    return [(rows[label, :4], int(label) + 1) for label in np.flatnonzero(wanted)]
