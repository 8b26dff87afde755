"""COCO's results files: the list that the official evaluation takes, of 17 keypoints or of COCO-WholeBody's 133.

Layout: motion-io card, section 2. The third number of a keypoint is its confidence, which the evaluation does not read. A list of 17
points has the person's score; a whole-body one has it as `wholebody_score`, and in `score`, `foot_score` and so on that score times the
mean confidence of the part's points above 0.2 (the toolkits' rule for a part, see the dwpose card, section 7; 0 if there is none).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitruvian._files import read_json, written_whole
from vitruvian.errors import FormatError
from vitruvian.formats.coco_document import CocoDocument
from vitruvian.formats.triples import triples
from vitruvian.geometry.boxes import enclosing
from vitruvian.skeletons import COCO_17, COCO_WHOLEBODY_133
from vitruvian.take import People, Take

MAX_BYTES = 2 << 30
_SURE = 0.2
_LISTS = {
    "keypoints": ("body", "score"),
    "foot_kpts": ("foot", "foot_score"),
    "face_kpts": ("face", "face_score"),
    "lefthand_kpts": ("left_hand", "lefthand_score"),
    "righthand_kpts": ("right_hand", "righthand_score"),
}


def write_results(take: Take, path: str | Path, image_ids: Sequence[int] | None = None) -> None:
    """Write a take of COCO's 17 or COCO-WholeBody's 133 points as a results file.

    image_ids: the data set's id of each frame. None reads them from the frames' names where all are different numbers, as COCO's
    000000000785.jpg is; other frames count from 1. Boxes, tracks and times have no place in this layout.
    Raises FormatError for another keypoint set, another number of ids than frames, or a path that can't be written.
    """
    if take.skeleton.names not in (COCO_17.names, COCO_WHOLEBODY_133.names):
        raise FormatError(f"COCO results hold 17 or 133 points, not {take.skeleton.name}; convert the take first")
    ids = _ids_by_name(take) if image_ids is None else [int(image) for image in image_ids]
    if len(ids) != len(take.times):
        raise FormatError(f"{len(ids)} image ids for {len(take.times)} frames; give one per frame")
    people = take.people
    points = triples(people.keypoints, people.confidence)
    scores = np.nan_to_num(people.scores.astype(np.float64)).round(6)
    rows = []
    for i in range(len(people)):
        row: dict[str, object] = {"image_id": ids[people.frame[i]], "category_id": 1}
        if len(take.skeleton) == len(COCO_17):
            row |= {"keypoints": points[i].ravel().tolist(), "score": float(scores[i])}
        else:
            for key, (part, score) in _LISTS.items():
                found = points[i, take.skeleton.parts[part]]
                sure = found[:, 2][found[:, 2] > _SURE]
                row |= {key: found.ravel().tolist(), score: round(float(scores[i] * sure.mean()) if len(sure) else 0.0, 6)}
            row["wholebody_score"] = float(scores[i])
        rows.append(row)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")


def read_results(path: str | Path, max_bytes: int = MAX_BYTES) -> Take:
    """Read a results file: one frame per image that has a result, in the order of the ids, named by its id; sizes are unknown (0).

    Whole-body results have foot, face and hand lists in every row. Boxes are those around the points. Scores above 1, which some
    toolkits write, stay as they are; confidences are cut to [0, 1].
    Raises FormatError if the file is missing, larger than `max_bytes`, or not of this layout.
    """
    path = Path(path)
    document = CocoDocument(path, {"results": read_json(path, max_bytes)})
    rows = document.rows("results")
    whole = any("face_kpts" in row for row in rows)
    skeleton = COCO_WHOLEBODY_133 if whole else COCO_17
    lengths = {key: skeleton.parts[part] for key, (part, _) in _LISTS.items() if part in skeleton.parts}
    lists = [
        document.array(rows, key, 3 * (where.stop - where.start)).reshape(-1, where.stop - where.start, 3) for key, where in lengths.items()
    ]
    points = np.concatenate(lists, axis=1)
    images, frame = np.unique(document.integers(rows, "image_id", 1 << 53), return_inverse=True)
    confidence = np.clip(points[..., 2], 0, 1)
    keypoints = np.where(confidence[..., None] > 0, points[..., :2], np.nan)
    people = People(
        frame=frame,
        track=np.full(len(rows), -1),
        boxes=enclosing(keypoints, confidence > 0),
        scores=document.array(rows, "wholebody_score" if whole and all("wholebody_score" in row for row in rows) else "score"),
        keypoints=keypoints,
        confidence=confidence,
    )
    names = tuple(str(image) for image in images)
    return Take(people, skeleton, np.arange(len(images)), np.zeros((len(images), 2)), names)


def _ids_by_name(take: Take) -> list[int]:
    stems = [Path(take.name_of(frame)).stem for frame in range(len(take.times))]
    if all(stem.isdecimal() and len(stem) <= 15 for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(stems) + 1))
