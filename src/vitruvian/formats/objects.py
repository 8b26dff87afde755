"""Detected people and parts as JSON in COCO's layout, and as CSV; both say whose a part is and which way people face.

JSON: `images`, `categories` and `annotations` as COCO has them (bbox is xywh); an annotation also has "owner", the id of its person's
annotation (null for nobody's, a person's own for a person), "heading_rad" and "facing" where known, and "contacts". CSV: a row per object.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vitruvian._files import written_whole
from vitruvian.codecs.association import CONTACTS
from vitruvian.codecs.orientation import octant
from vitruvian.geometry.boxes import xyxy_to_xywh

if TYPE_CHECKING:
    from vitruvian.capture.objects import Objects

CSV_COLUMNS = (
    "frame", "time_s", "file", "id", "class", "score", "left_px", "top_px", "right_px", "bottom_px", "owner", "heading_rad", "facing",
)  # fmt: skip


def write_objects_json(objects: Objects, path: str | Path) -> None:
    """Write the objects as JSON. Ids of annotations count from 1. Raises FormatError where the path can't be written."""
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:
        info = {
            "description": "people and their parts, by vitruvian",
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
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        contacts = [f"contact_{name.replace(' ', '_')}" for name in CONTACTS[: objects.contacts.shape[1]]]
        writer.writerow([*CSV_COLUMNS, *contacts])
        for row in range(len(objects)):
            frame, owner, heading = int(objects.frame[row]), int(objects.owner[row]), float(objects.heading[row])
            writer.writerow([
                frame, f"{objects.times[frame]:.6f}", objects.name_of(frame), row + 1, objects.classes[objects.labels[row]],
                f"{objects.scores[row]:.4f}", *(f"{value:.2f}" for value in objects.boxes[row].tolist()), owner + 1 if owner >= 0 else "",
                f"{heading:.4f}" if math.isfinite(heading) else "", facing[row],
                *(f"{value:.4f}" if math.isfinite(value) else "" for value in objects.contacts[row].tolist()),
            ])  # fmt: skip


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
        scores = objects.contacts[row].tolist()
        if scores and all(map(math.isfinite, scores)):
            out["contacts"] = dict(zip(CONTACTS, (round(value, 4) for value in scores), strict=True))
        yield out
