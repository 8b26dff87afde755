"""The reader behind every data set whose annotations are in COCO's layout: images, annotations with keypoints, boxes in xywh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from vitruvian._files import read_json
from vitruvian.data.layout import MAX_JSON, below
from vitruvian.data.pictures import Labels, Picture, labels
from vitruvian.formats.coco_document import CocoDocument
from vitruvian.geometry.boxes import enclosing, xywh_to_xyxy

Lists = Mapping[str, int]
"""The annotations' lists of x, y, v and how many points each has; put together in this order they are the keypoint set."""


def read_pictures(
    path: Path,
    file_of: Callable[[str], Path],
    lists: Lists,
    *,
    flags: Mapping[str, str] | None = None,
    keep: Callable[[dict], bool] = lambda image: True,
) -> Iterator[Picture]:
    """The pictures of one annotation file, in its order, also those with nobody in them.

    file_of: from the file's name of a picture to its path. flags: for lists, the key that says whether that part was annotated at all; the
    points of the others don't count, and those without the key do. keep: which images to take. An image's `crowdIndex` and video keys are
    read where there are any.
    Raises FormatError where the file is missing or not of this layout.
    """
    for document, image, people in grouped(path):
        if keep(image):
            yield Picture(
                file=file_of(document.text(image, "file_name")),
                id=int(document.number(image, "id")),
                size=(int(document.number(image, "width", 0)), int(document.number(image, "height", 0))),
                people=_labels(document, people, lists, flags or {}),
                video=document.text(image, "vid_id"),
                frame=int(document.number(image, "frame_id", -1)),
                crowding=float(document.number(image, "crowdIndex")) if "crowdIndex" in image else float("nan"),
            )


def in_folder(folder: Path, drop: str = "") -> Callable[[str], Path]:
    """A `file_of` for pictures below `folder`; a leading `drop` of their names is left out."""
    return lambda name: below(folder, name.removeprefix(drop))


def _labels(document: CocoDocument, people: list[dict], lists: Lists, flags: Mapping[str, str]) -> Labels:
    n = len(people)
    parts = [document.array(people, key, 3 * points).reshape(n, points, 3) for key, points in lists.items()]
    for part, key in zip(parts, lists, strict=True):
        if key in flags:
            part[document.array(people, flags[key], default=1) <= 0, :, 2] = 0
    points = np.concatenate(parts, axis=1)
    heads = None
    if any(isinstance(person.get("bbox_head"), list) for person in people):
        heads = [person["bbox_head"] if person.get("bbox_head") else [0] * 4 for person in people]
        heads = xywh_to_xyxy(document.array([{"bbox_head": head} for head in heads], "bbox_head", 4))
        heads[heads[:, 2] <= heads[:, 0]] = np.nan
    boxed = np.array([bool(person.get("bbox")) for person in people], bool)  # a few people of PoseTrack have none
    boxes = enclosing(points[..., :2], points[..., 2] > 0)
    boxes[boxed] = xywh_to_xyxy(document.array([person for person in people if person.get("bbox")], "bbox", 4))
    return labels(
        points[..., :2],
        points[..., 2],
        boxes,
        areas=document.array(people, "area", default=-1),
        ids=document.integers(people, "id", 1 << 62, default=0),
        tracks=document.integers(people, "track_id", default=-1),
        crowd=document.array(people, "iscrowd", default=0) > 0,
        heads=heads,
    )


def grouped(path: Path) -> Iterator[tuple[CocoDocument, dict, list[dict]]]:
    """The images of a file in COCO's layout, each with its annotations. Raises FormatError where it is none."""
    document = CocoDocument(path, read_json(path, MAX_JSON))
    images, annotations = document.rows("images"), document.rows("annotations")
    rows = {document.number(image, "id"): i for i, image in enumerate(images)}
    of_image: list[list[dict]] = [[] for _ in images]
    for annotation, row in zip(annotations, document.frames(annotations, rows).tolist(), strict=True):
        of_image[row].append(annotation)
    for image, people in zip(images, of_image, strict=True):
        yield document, image, people


def about(document: CocoDocument, image: dict, images: Path) -> tuple[Path, str, tuple[int, int]]:
    """File, id and (width, height) of an image, zeros where it doesn't say."""
    size = int(document.number(image, "width", 0)), int(document.number(image, "height", 0))
    return below(images, document.text(image, "file_name")), document.text(image, "id"), size
