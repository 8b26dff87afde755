"""Tiny data sets of people with parts or headings in the official layouts: one picture with people, one with nobody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import scipy.io

from vitruvian.media.pictures import write_image

PEOPLE = np.array([[20, 20, 80, 100], [60, 20, 140, 100]], float)
PARTS = np.array([[38, 22, 62, 46], [88, 22, 112, 46]], float)
"""A part of each of these people."""


def xywh(box: np.ndarray) -> list[float]:
    return [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]


def pictures(folder: Path, *names: str) -> None:
    """Grey pictures, 320 x 240."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_image(folder / name, np.full((240, 320, 3), 90, np.uint8))


def document(path: Path, *annotations: dict, **more: object) -> None:
    """A file in COCO's layout; everything is in the first picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": 7 + i, "file_name": f"{i}.png", "width": 320, "height": 240} for i in range(2)]
    rows = [{"id": i + 1, "image_id": 7, "category_id": 1, "iscrowd": 0} | one for i, one in enumerate(annotations)]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]} | more))


def crowdhuman(folder: Path) -> Path:
    people = [{"tag": "person", "fbox": xywh(b), "vbox": xywh(b), "hbox": xywh(p)} for b, p in zip(PEOPLE, PARTS, strict=True)]
    lines = [{"ID": "a", "gtboxes": people}, {"ID": "b", "gtboxes": []}]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotation_val.odgt").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pictures(folder / "Images", "a.jpg", "b.jpg")
    return folder


def citypersons(folder: Path) -> Path:
    cells = np.empty((1, 2), object)
    for i, people in enumerate((PEOPLE, PEOPLE[:0])):
        rows = [[1, *xywh(box), number, *xywh(box)] for number, box in enumerate(people)]
        cells[0, i] = {"cityname": "ulm", "im_name": f"{i}.png", "bbs": np.array(rows, float).reshape(-1, 10)}
    (folder / "annotations").mkdir(parents=True)
    scipy.io.savemat(folder / "annotations/anno_val.mat", {"anno_val_aligned": cells})
    pictures(folder / "leftImg8bit/val/ulm", "0.png", "1.png")
    return folder


def bodyface(folder: Path) -> Path:
    rows = [{"bbox": xywh(b), "h_bbox": xywh(p), "f_bbox": xywh(p), "vis_ratio": 1.0} for b, p in zip(PEOPLE, PARTS, strict=True)]
    document(folder / "annotations/instances_val_full_bhf.json", *rows)
    pictures(folder / "Images", "0.png", "1.png")
    return folder


def bodyhands(folder: Path) -> Path:
    hands = [{"category_id": 1, "bbox": xywh(part), "body_id": i} for i, part in enumerate(PARTS)]
    bodies = [{"category_id": 2, "bbox": xywh(box), "body_id": i} for i, box in enumerate(PEOPLE)]
    kinds = [{"id": 1, "name": "hand"}, {"id": 2, "name": "body"}]
    document(folder / "annotations/test.json", *hands, *bodies, categories=kinds)
    pictures(folder / "images/test", "0.png", "1.png")
    return folder


def contacthands(folder: Path) -> Path:
    """The first hand touches its own body, of the second nobody is sure; both also belong to people."""

    def element(kind: str, box: np.ndarray, number: int, more: str = "") -> str:
        sides = "".join(f"<{side}>{value:g}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        return f"<object><name>{kind}</name><body_id>{number}</body_id>{more}<bndbox>{sides}</bndbox></object>"

    states = [f"<contact_state>{words}</contact_state>" for words in ("0,1,0,0", "2,2,2,2")]
    rows = [element("person", box, i) for i, box in enumerate(PEOPLE)]
    rows += [element("hand", box, i, states[i]) for i, box in enumerate(PARTS)]
    for name, content in (("Annotations/a.xml", "".join(rows)), ("Annotations/b.xml", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"<annotation>{content}</annotation>")
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "ImageSets/Main/test.txt").write_text("a\nb\n")
    pictures(folder / "JPEGImages", "a.jpg", "b.jpg")
    return folder


def cocohumanparts(folder: Path) -> Path:
    rows = [{"bbox": xywh(box), "hier": [*part.tolist(), 1, *[0] * 25]} for box, part in zip(PEOPLE, PARTS, strict=True)]
    document(folder / "annotations/person_humanparts_val2017.json", *rows)
    pictures(folder / "val2017", "0.png", "1.png")
    return folder


def mebow(folder: Path, weak: bool = False) -> Path:
    """The first person faces the camera, and (weak: as a network guessed) the second the picture's left."""
    document(folder / "annotations/person_keypoints_val2017.json", *({"bbox": xywh(box)} for box in PEOPLE))
    labels = {"7_1": 180, "7_2": 90}
    known = {name: labels[name] for name in (["7_1"] if weak else labels)}
    (folder / "annotations/val_hoe.json").write_text(json.dumps(known))
    if weak:
        (folder / "annotations/val_hoe_weak.json").write_text(json.dumps({"7_2": 90}))
    pictures(folder / "val2017", "0.png", "1.png")
    return folder
