"""CrowdHuman: crowds with a full box, a visible box and a head for each person (Shao et al. 2018): https://www.crowdhuman.org.

One JSON object per line (.odgt). A head that is marked "ignore" is left out, its body stays. What is tagged "mask", or marked "ignore",
counts neither way. Faces are not in the release: BFJDet's files have them (`data.bodyface`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from vitruvian.data.layout import below, find
from vitruvian.data.parts import PartDataset, PartPicture, box_of, part_picture, seen_share
from vitruvian.errors import FormatError

LAYOUT = "annotation_{train,val}.odgt, Images/*.jpg"
_MAX_LINE = 1 << 22


def crowdhuman(folder: str | Path, split: Literal["train", "val"] = "val") -> PartDataset:
    """CrowdHuman's people with their heads. Raises FormatError where the annotations are missing."""
    name = f"annotation_{split}.odgt"
    path = find(folder, "CrowdHuman", LAYOUT, name, f"annotations/{name}")
    images = Path(folder) / "Images"
    return PartDataset("crowdhuman", ("person", "head"), "non-commercial research only", lambda: _read(path, images))


def _read(path: Path, images: Path) -> Iterator[PartPicture]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                where = f"{path}, line {number}"
                if len(line) > _MAX_LINE:
                    raise FormatError(f"{where} is longer than {_MAX_LINE} bytes; it is no line of CrowdHuman")
                if line.strip():
                    yield _picture(_parsed(line, where), images, where)
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check its rights") from error


def _parsed(line: bytes, where: str) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is no JSON ({error}); fetch the file again") from error
    if not isinstance(row, dict) or not isinstance(row.get("ID"), str) or not isinstance(row.get("gtboxes"), list):
        raise FormatError(f"{where} has no ID and gtboxes; it is no line of CrowdHuman")
    return row


def _picture(row: dict, images: Path, where: str) -> PartPicture:
    bodies, seen, ignore, heads = [], [], [], []
    for person in row["gtboxes"]:
        if not isinstance(person, dict):
            raise FormatError(f"{where}: a person is no object; the file is damaged")
        full = box_of(person.get("fbox"), where)
        if full is None:
            continue
        visible, head = box_of(person.get("vbox"), where), box_of(person.get("hbox"), where)
        counts = person.get("tag") == "person"
        if counts and head is not None and not _flag(person, "head_attr"):
            heads.append((head, 1, len(bodies)))
        bodies.append(full)
        seen.append(full if visible is None else visible)
        ignore.append(not counts or _flag(person, "extra"))
    bodies, seen = (np.array(boxes).reshape(-1, 4) for boxes in (bodies, seen))
    file = below(images, f"{row['ID']}.jpg")
    return part_picture(file, row["ID"], (0, 0), bodies, visible=seen_share(seen, bodies), ignore=np.array(ignore, bool), parts=heads)


def _flag(person: dict, key: str) -> bool:
    """Whether the object `key` of a person says "ignore"."""
    value = person.get(key)
    return isinstance(value, dict) and value.get("ignore", 0) == 1
