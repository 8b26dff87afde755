"""Detected people and parts as JSON in COCO's layout, and as CSV; both say whose a part is and which way people face. And what is
counted from them as CSV: heads, and hands that may touch something.

JSON: `images`, `categories` and `annotations` as COCO has them (bbox is xywh); an annotation also has "owner", the id of its person's
annotation (null for nobody's, a person's own for a person), "heading_rad" and "facing" where known, and "contacts"; an instrument has its
outline as "segmentation". CSV: a row per object.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vitruvian._files import written_whole
from vitruvian.codecs.association import CONTACTS
from vitruvian.codecs.orientation import octant
from vitruvian.geometry.boxes import xyxy_to_xywh

if TYPE_CHECKING:
    from vitruvian.capture.objects import Objects
    from vitruvian.people.contacts import Contacts, HeadCounts

CSV_COLUMNS = (
    "frame", "time_s", "file", "id", "class", "score", "left_px", "top_px", "right_px", "bottom_px", "owner", "heading_rad", "facing",
)  # fmt: skip
HEADS_COLUMNS = ("frame", "time_s", "file", "heads", "heads_with_body", "people")
CONTACTS_COLUMNS = ("frame", "time_s", "file", "hand", "person", "touched", "touched_class", "touched_person", "whose", "nearness")


def write_objects_json(objects: Objects, path: str | Path) -> None:
    """Write the objects as JSON. Ids of annotations count from 1. Raises FormatError where the path can't be written."""
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:
        info = {
            "description": f"{'people' if 'person' in objects.classes else 'objects'} and their parts, by vitruvian",
            "source": objects.source,
            "network": objects.network,
            "owners": "network" if objects.knows_owners else "boxes",
            "complete": objects.complete,
        }
        images = [
            {"id": i, "file_name": objects.name_of(i), "time": round(time, 6), "width": int(width), "height": int(height)}
            for i, (time, (width, height)) in enumerate(zip(objects.times.tolist(), objects.sizes.tolist(), strict=True))
        ]
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(objects.classes)]
        head = {"info": info, "images": images, "categories": categories}
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for number, row in enumerate(_annotations(objects)):
            file.write((",\n" if number else "\n") + json.dumps(row))
        file.write("\n]}\n")


def write_objects_csv(objects: Objects, path: str | Path) -> None:
    """Write the objects as CSV with a header line, UTF-8. A frame without any has no row. Raises FormatError as above."""
    facing = octant(objects.heading)
    contacts = [f"contact_{name.replace(' ', '_')}" for name in CONTACTS[: objects.contacts.shape[1]]]

    def of(row: int) -> list[object]:
        owner, heading = int(objects.owner[row]), float(objects.heading[row])
        return [
            *_place(objects, int(objects.frame[row])), row + 1, objects.classes[objects.labels[row]],
            f"{objects.scores[row]:.4f}", *(f"{value:.2f}" for value in objects.boxes[row].tolist()), owner + 1 if owner >= 0 else "",
            f"{heading:.4f}" if math.isfinite(heading) else "", facing[row],
            *(f"{value:.4f}" if math.isfinite(value) else "" for value in objects.contacts[row].tolist()),
        ]  # fmt: skip

    _write_table(path, (*CSV_COLUMNS, *contacts), map(of, range(len(objects))))


def write_heads_csv(objects: Objects, counts: HeadCounts, path: str | Path) -> None:
    """Write the heads of each frame (`people.contacts.count_heads`) as CSV, a row per frame. Raises FormatError as above."""
    rows = ([*_place(objects, frame), *row] for frame, row in enumerate(zip(*counts, strict=True)))
    _write_table(path, HEADS_COLUMNS, rows)


def write_contacts_csv(objects: Objects, found: Contacts, path: str | Path) -> None:
    """Write hands and what they may touch (`people.contacts`) as CSV; ids are those of `write_objects_csv`. Raises FormatError as above."""

    def of(hand: int, touched: int, own: bool, nearness: float) -> list[object]:
        about = [*_place(objects, int(objects.frame[hand])), hand + 1, int(objects.owner[hand]) + 1, touched + 1]
        name, person = objects.classes[objects.labels[touched]], int(objects.owner[touched])
        return [*about, name, person + 1 if person >= 0 else "", "self" if own else "other person", f"{nearness:.3f}"]

    _write_table(path, CONTACTS_COLUMNS, (of(*(value.item() for value in one)) for one in zip(*found, strict=True)))


def _place(objects: Objects, frame: int) -> list[object]:
    """The first cells of every row: frame, time, file."""
    return [frame, f"{objects.times[frame]:.6f}", objects.name_of(frame)]


def _write_table(path: str | Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _annotations(objects: Objects) -> Iterator[dict[str, object]]:
    facing, boxes = octant(objects.heading), xyxy_to_xywh(objects.boxes).astype(float)
    for row in range(len(objects)):
        owner, heading = int(objects.owner[row]), float(objects.heading[row])
        box = [round(value, 2) for value in boxes[row].tolist()]
        out: dict[str, object] = {
            "id": row + 1,
            "image_id": int(objects.frame[row]),
            "category_id": int(objects.labels[row]) + 1,
            "bbox": box,
            "area": round(box[2] * box[3], 2),
            "iscrowd": 0,
            "score": round(float(objects.scores[row]), 4),
            "owner": owner + 1 if owner >= 0 else None,
        }
        if math.isfinite(heading):
            out |= {"heading_rad": round(heading, 4), "facing": facing[row]}
        outline = objects.outline(row)
        if outline is not None:
            out["segmentation"] = [[round(value, 2) for value in outline.astype(float).ravel().tolist()]]
        scores = objects.contacts[row].tolist()
        if scores and all(map(math.isfinite, scores)):
            out["contacts"] = dict(zip(CONTACTS, (round(value, 4) for value in scores), strict=True))
        yield out
