"""COCO-WholeBody's annotation files, written, and as takes; `coco.read_wholebody_annotations` reads them.

Source: motion-io card, section 2, and https://github.com/jin-s13/COCO-WholeBody. Its published annotations are for research and
non-commercial use (CC BY-NC 4.0).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vitruvian._files import written_whole
from vitruvian.errors import FormatError
from vitruvian.formats.coco import WholeBodyAnnotations
from vitruvian.geometry.boxes import area, enclosing, xyxy_to_xywh
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import People, Take

_PARTS = COCO_WHOLEBODY_133.parts
# The files' own names of the parts: the list of points, the flag, and the box where the layout has one.
_POINTS = {"keypoints": "body", "foot_kpts": "foot", "face_kpts": "face", "lefthand_kpts": "left_hand", "righthand_kpts": "right_hand"}
_FLAGS = {"face_valid": "face", "lefthand_valid": "left_hand", "righthand_valid": "right_hand", "foot_valid": "foot"}
_BOXES = {"face_box": "face", "lefthand_box": "left_hand", "righthand_box": "right_hand"}


def write_wholebody_annotations(annotations: WholeBodyAnnotations, path: str | Path) -> None:
    """Write an annotation file. Boxes of face and hands are those around their annotated points, [0, 0, 0, 0] for parts not valid.

    Images are those that have an annotation. Raises FormatError if the path can't be written, or an id occurs twice.
    """
    path = Path(path)
    if len(np.unique(annotations.ids)) < len(annotations):
        raise FormatError(f"{path}: two annotations share an id; number them anew")
    images, first = np.unique(annotations.image_ids, return_index=True)
    links = [[a + 1, b + 1] for a, b in COCO_17.links]
    document = {
        "info": {"description": "vitruvian COCO-WholeBody annotations"},
        "licenses": [],
        "images": [
            {
                "id": int(image),
                "file_name": annotations.files[row],
                "width": int(annotations.sizes[row, 0]),
                "height": int(annotations.sizes[row, 1]),
            }
            for image, row in zip(images, first, strict=True)
        ],
        "annotations": [_annotation(annotations, row) for row in range(len(annotations))],
        "categories": [{"id": 1, "name": "person", "supercategory": "person", "keypoints": COCO_17.names, "skeleton": links}],
    }
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(document), encoding="utf-8")


def annotations_from_take(take: Take) -> WholeBodyAnnotations:
    """A take of COCO-WholeBody's points as annotations, for instance to correct them and to train on: v is 2 where a point was found.

    Ids count from 1, images are frames, also from 1. Areas are those of the boxes, as a take has no segments. A part is valid if any of
    its points was found. Raises FormatError for a take of another keypoint set.
    """
    if take.skeleton.names != COCO_WHOLEBODY_133.names:
        raise FormatError(f"COCO-WholeBody annotations need its 133 points, not {take.skeleton.name}; convert the take first")
    people = take.people
    found = (people.confidence > 0) & np.isfinite(people.keypoints).all(axis=-1)
    boxes = np.nan_to_num(people.boxes)
    return WholeBodyAnnotations(
        ids=np.arange(1, len(people) + 1),
        image_ids=people.frame.astype(np.int64) + 1,
        files=tuple(take.name_of(int(frame)) for frame in people.frame),
        sizes=take.sizes[people.frame],
        boxes=boxes,
        areas=area(boxes.astype(np.float64)),
        crowd=np.zeros(len(people), bool),
        keypoints=np.concatenate([np.where(found[..., None], people.keypoints, 0), 2.0 * found[..., None]], axis=-1).astype(np.float32),
        valid={part: found[:, where].any(axis=1) for part, where in _PARTS.items()},
    )


def take_from_annotations(annotations: WholeBodyAnnotations, source: str = "") -> Take:
    """Annotations as a take: one frame per image, in the order of the image ids; no tracks, scores 1, confidence 1 where annotated."""
    images, first, frame = np.unique(annotations.image_ids, return_index=True, return_inverse=True)
    found = annotations.keypoints[..., 2] > 0
    people = People(
        frame=frame,
        track=np.full(len(annotations), -1),
        boxes=annotations.boxes,
        scores=np.ones(len(annotations)),
        keypoints=np.where(found[..., None], annotations.keypoints[..., :2], np.nan),
        confidence=found,
    )
    names = tuple(annotations.files[row] for row in first)
    return Take(people, COCO_WHOLEBODY_133, np.arange(len(images)), annotations.sizes[first].reshape(-1, 2), names, source)


def _annotation(annotations: WholeBodyAnnotations, row: int) -> dict[str, object]:
    points = annotations.keypoints[row].astype(np.float64).round(4)
    parts = {key: points[_PARTS[part]].ravel().tolist() for key, part in _POINTS.items()}
    valid = {key: bool(annotations.valid[part][row]) for key, part in _FLAGS.items()}
    boxes = {key: _box(points[_PARTS[part]]) if annotations.valid[part][row] else [0.0] * 4 for key, part in _BOXES.items()}
    return {
        "id": int(annotations.ids[row]),
        "image_id": int(annotations.image_ids[row]),
        "category_id": 1,
        "iscrowd": int(annotations.crowd[row]),
        "area": float(annotations.areas[row]),
        "bbox": xyxy_to_xywh(annotations.boxes[row].astype(np.float64)).round(4).tolist(),
        "segmentation": [],
        "num_keypoints": int((points[_PARTS["body"], 2] > 0).sum()),
        **parts,
        **boxes,
        **valid,
    }


def _box(points: Float[np.ndarray, "k 3"]) -> list[float]:
    return xyxy_to_xywh(enclosing(points[:, :2], points[:, 2] > 0)).round(4).tolist()
