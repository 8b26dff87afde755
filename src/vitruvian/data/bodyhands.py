"""BodyHands: hands and the bodies that they belong to (Narasimhaswamy et al., CVPR 2022): http://vision.cs.stonybrook.edu/~supreeth/BodyHands.

Files in COCO's layout; hands and bodies are annotations of their own, and those of one person share "body_id". Names of files and keys are
from memory [mem]; the categories are told by their names ("hand"; "body" or "person"). A hand without a body in the file is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.codecs.association import HANDS
from vitruvian.data.cocolike import about, grouped
from vitruvian.data.layout import find
from vitruvian.data.parts import PartDataset, PartPicture, box_of, part_picture
from vitruvian.errors import FormatError
from vitruvian.formats.coco_document import CocoDocument

LAYOUT = "annotations/{train,test}.json, images/{train,test}/*.jpg (or images/*.jpg)"


def bodyhands(folder: str | Path, split: Literal["train", "test"] = "test") -> PartDataset:
    """BodyHands' people with their hands. Raises FormatError where the annotations are missing."""
    path = find(folder, "BodyHands", LAYOUT, f"annotations/{split}.json", f"{split}.json")
    images = Path(folder) / "images" / split
    images = images if images.is_dir() else images.parent
    return PartDataset("bodyhands", HANDS.classes, "research use only", lambda: _read(path, images))


def _read(path: Path, images: Path) -> Iterator[PartPicture]:
    kinds: dict[float, str] = {}
    for document, image, rows in grouped(path):
        kinds = kinds or _categories(document)
        boxes = [box_of(row.get("bbox"), path) for row in rows]
        kind = [kinds.get(document.number(row, "category_id"), "") for row in rows]
        persons = [row.get("body_id") for row in rows]
        bodies = [i for i, box in enumerate(boxes) if box is not None and kind[i] == "body"]
        row_of = {_key(persons[i]): number for number, i in enumerate(bodies) if persons[i] is not None}
        hands = [(boxes[i], 1, row_of.get(_key(persons[i]), -1)) for i in range(len(rows)) if boxes[i] is not None and kind[i] == "hand"]
        yield part_picture(
            *about(document, image, images),
            np.array([boxes[i] for i in bodies]).reshape(-1, 4), parts=hands,
        )  # fmt: skip


def _key(person: object) -> str:
    """A body's id, a number or a text, as a text."""
    return str(int(person)) if isinstance(person, int | float) and abs(person) < 1e15 else str(person)


def _categories(document: CocoDocument) -> dict[float, str]:
    """ "hand" or "body" of each category. Raises FormatError where one is missing."""
    names = {document.number(row, "id"): document.text(row, "name").lower() for row in document.rows("categories")}
    found = {number: "hand" if "hand" in name else "body" for number, name in names.items() if name in ("hand", "hands", "body", "person")}
    if set(found.values()) != {"hand", "body"}:
        raise FormatError(f"{document.path} has the categories {sorted(names.values())[:8]}, not hand and body; it is no file of BodyHands")
    return found
