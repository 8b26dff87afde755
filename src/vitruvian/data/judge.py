"""A pose network on an annotated data set: what it finds, and the set's own table of figures.

Rules: persons in true boxes (the network saw the truth about where people are) or in boxes of a detector; a pose's score is the mean of its
keypoint scores above 0.2, times the box's score (the toolkits' rule, card dwpose.md, section 7). Keypoints of a network of another set are
brought to the data set's; those that it lacks count as not found.

| data set | figures |
|---|---|
| COCO, COCO-WholeBody, UBody, Halpe, HumanArt | AP and AR by OKS, of each part; CrowdPose by crowding |
| MPII | PCKh at 0.5 and 0.1, and its area up to 0.5 |
| PoseTrack | mAP |
| JHMDB, AI Challenger: no published sigmas here | PCK at 0.2 of the longer side of the box, its area up to that; JHMDB also of the torso |

In true boxes, hands and faces of whole-body sets have another table (`part_points`), as papers on hands and on faces report them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from vitruvian._files import read_json
from vitruvian.codecs.poses import Poses
from vitruvian.data.layout import MAX_JSON
from vitruvian.data.mixture import clip_files
from vitruvian.data.pictures import Dataset, Labels, Picture
from vitruvian.errors import VitruvianError
from vitruvian.formats.coco_document import CocoDocument
from vitruvian.geometry.boxes import enclosing, xywh_to_xyxy
from vitruvian.media.pictures import read_image
from vitruvian.metrics.average_precision import FoundPoses, TruePoses, average_precision, average_precision_by_part
from vitruvian.metrics.crowdpose import crowdpose_average_precision
from vitruvian.metrics.pck import box_unit, mean_share, mpii_pckh, nme, normalised_distances, points_unit
from vitruvian.metrics.posetrack import TrackedPicture, posetrack_average_precision
from vitruvian.skeletons import FACE_68, JHMDB_15, MPII_16, POSETRACK_15, Skeleton, convert

if TYPE_CHECKING:
    from vitruvian.runtime.clips import ClipEstimator
    from vitruvian.runtime.multicrop import MultiCrop
    from vitruvian.runtime.pose import PoseEstimator

SURE = 0.2
_TOGETHER = 8  # pictures
_STEPS = np.arange(1, 21) / 20
_EYES = (36, 45)  # outer corners among a face's 68 points
_ROWS = ("body", "foot", "face", "hand", "left_hand", "right_hand", "whole")

Boxes = Mapping[int, Float[np.ndarray, "n 5"]]
"""Detections by the picture's id: xyxy pixels and score."""
Table = dict[str, dict[str, float]]
"""Row -> column -> figure."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One picture: the people who can be found, and what was. true_boxes: row i of the found belongs to row i of `people`."""

    picture: Picture
    people: Labels
    keypoints: Float[np.ndarray, "n k 2"]
    confidence: Float[np.ndarray, "n k"]
    scores: Float[np.ndarray, " n"]
    true_boxes: bool


def judge(
    dataset: Dataset,
    estimator: PoseEstimator | MultiCrop | ClipEstimator,
    boxes: Boxes | None = None,
    limit: int | None = None,
    on_picture: Callable[[int], object] = lambda done: None,
) -> list[Judged]:
    """Run a network over a data set's pictures (the first `limit`). Raises MediaError where a picture can't be read.

    boxes None: the annotated people's, without crowds and people that have no annotated point. A network for clips sees the frames before
    and after as well, by their files' numbers (`data.mixture.clip_files`).
    """
    from vitruvian.skeletons import by_name

    skeleton, offsets = by_name(estimator.card.skeleton), getattr(estimator, "offsets", ())

    def look(picture: Picture) -> np.ndarray | list[np.ndarray]:
        return [read_image(file) for file in clip_files(picture, offsets)] if offsets else read_image(picture.file)

    found: list[Judged] = []
    for some in _groups(islice(dataset, limit), _TOGETHER):
        people = [picture.people[~picture.people.crowd & (picture.people.visible > 0).any(axis=1)] for picture in some]
        places = [_boxes(picture, rows, boxes) for picture, rows in zip(some, people, strict=True)]
        busy = [i for i, place in enumerate(places) if len(place)]  # pictures without anybody are not even opened
        poses = dict(zip(busy, estimator([look(some[i]) for i in busy], [places[i][:, :4] for i in busy]), strict=True))
        for i, picture in enumerate(some):
            pose = poses.get(i, Poses(np.zeros((0, len(skeleton), 2), np.float32), np.zeros((0, len(skeleton)), np.float32)))
            found.append(_judged(picture, people[i], pose, places[i][:, 4], skeleton, dataset.skeleton, boxes is None))
        on_picture(len(found))
    return found


def read_boxes(path: str | Path) -> Boxes:
    """Detections of people from a COCO results file: a list of image_id, bbox (xywh), score; other categories than 1 are left out.

    Raises FormatError where the file is not such a list.
    """
    path = Path(path)
    document = CocoDocument(path, {"results": read_json(path, MAX_JSON)})
    rows = [row for row in document.rows("results") if row.get("category_id", 1) == 1]
    boxes = np.concatenate([xywh_to_xyxy(document.array(rows, "bbox", 4)), document.array(rows, "score")[:, None]], axis=1)
    images = document.integers(rows, "image_id", 1 << 53)
    order = np.argsort(images, kind="stable")
    numbers, first = np.unique(images[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(boxes[order].astype(np.float32), first[1:]), strict=True))


def table(judged: Sequence[Judged], dataset: Dataset) -> Table:
    """The data set's figures in [0, 1], see the head of this file.

    Raises VitruvianError where MPII, JHMDB or AI Challenger are judged without true boxes.
    """
    if dataset.name.startswith("posetrack"):
        return {"mAP": posetrack_average_precision(_tracked(one, dataset.skeleton) for one in judged)}
    if dataset.name == "mpii":
        return _pckh(judged)
    if dataset.skeleton.sigmas is None:
        return _pck(judged, dataset.skeleton)
    truth, found = poses_of(judged, dataset.skeleton)
    if dataset.name == "crowdpose":
        return {"all": crowdpose_average_precision(truth, found, {one.picture.id: one.picture.crowding for one in judged})}
    if len(dataset.skeleton.parts) > 1:
        by_part = average_precision_by_part(truth, found, dataset.skeleton)
        return {part: by_part[part] for part in _ROWS if part in by_part}
    return {"body": average_precision(truth, found, dataset.skeleton.sigmas)}


def poses_of(judged: Sequence[Judged], skeleton: Skeleton) -> tuple[TruePoses, FoundPoses]:
    """All pictures' people, those who are ignored too, and what was found, as `metrics.average_precision` wants them."""
    none = np.zeros((0, len(skeleton), 2))
    everybody = [one.picture.people for one in judged]

    def column(name: str, shape: tuple[int, ...] = (0,)) -> np.ndarray:
        return np.concatenate([np.zeros(shape), *(getattr(people, name) for people in everybody)])

    crowd, visible = column("crowd").astype(bool), column("visible", (0, len(skeleton))) > 0
    truth = TruePoses(
        image=np.repeat([one.picture.id for one in judged], [len(people) for people in everybody]).astype(np.int64),
        keypoints=np.nan_to_num(column("keypoints", none.shape)),
        visible=visible,
        boxes=column("boxes", (0, 4)),
        area=column("areas"),
        ignore=crowd | ~visible.any(axis=1),
        crowd=crowd,
    )
    found = FoundPoses(
        image=np.repeat([one.picture.id for one in judged], [len(one.scores) for one in judged]).astype(np.int64),
        keypoints=np.concatenate([none, *(one.keypoints for one in judged)]),
        scores=np.concatenate([np.zeros(0), *(one.scores for one in judged)]),
    )
    return truth, found


def pose_scores(confidence: Float[np.ndarray, "n k"], box_scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The mean of each row's confidences above 0.2, times the box's score; 0 where there is none."""
    sure = np.where(confidence > SURE, confidence, 0.0)
    return sure.sum(axis=1) / np.maximum((confidence > SURE).sum(axis=1), 1) * box_scores


def _judged(
    picture: Picture, people: Labels, pose: Poses, box_scores: np.ndarray, source: Skeleton, target: Skeleton, true_boxes: bool
) -> Judged:
    keypoints = np.where(pose.scores[..., None] > 0, pose.keypoints, np.nan)
    if source is not target:
        found = convert(keypoints, pose.scores, source, target)
        return Judged(picture, people, found.keypoints, found.scores, pose_scores(found.scores, box_scores), true_boxes)
    return Judged(picture, people, keypoints, pose.scores, pose_scores(pose.scores, box_scores), true_boxes)


def _boxes(picture: Picture, people: Labels, boxes: Boxes | None) -> Float[np.ndarray, "n 5"]:
    if boxes is None:
        return np.concatenate([people.boxes, np.ones((len(people), 1), np.float32)], axis=1)
    return boxes.get(picture.id, np.zeros((0, 5), np.float32))


def _groups(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    stream = iter(pictures)
    while group := list(islice(stream, size)):
        yield group


def part_points(judged: Sequence[Judged], skeleton: Skeleton) -> Table:
    """Of each hand PCK at 0.2 of the longer side of the box around its true points, and the area up to that; of faces NME, in distances of
    the outer corners of the eyes (68 points). Shares and distances; nothing for other sets, or without true boxes.

    Hands whose points span nothing don't count. A point that was not found makes the NME infinite.
    """
    if not {"face", "left_hand", "right_hand"} <= skeleton.parts.keys() or not all(one.true_boxes for one in judged):
        return {}
    found, truth, visible = _points(judged, len(skeleton))[:3]
    nothing, rows = float("nan"), {}
    for part in ("left_hand", "right_hand"):
        where = skeleton.parts[part]
        distances = normalised_distances(
            found[:, where], truth[:, where], visible[:, where], box_unit(enclosing(truth[:, where], visible[:, where]))
        )
        rows[part] = {"PCK@0.2": mean_share(distances), "AUC": _area(distances), "NME": nothing}
    face = skeleton.parts["face"]
    if face.stop - face.start == len(FACE_68):
        eyes = points_unit(truth[:, face], *_EYES)
        distances = normalised_distances(found[:, face], truth[:, face], visible[:, face], np.nan_to_num(eyes))
        rows["face"] = {"PCK@0.2": nothing, "AUC": nothing, "NME": nme(distances)}
    return rows


def _points(judged: Sequence[Judged], k: int) -> tuple[np.ndarray, ...]:
    """Found and true keypoints, which are annotated, boxes, and heads of all people. Raises VitruvianError without true boxes."""
    if not all(one.true_boxes for one in judged):
        raise VitruvianError("PCK compares each person with one pose: judge this data set with its own boxes")
    columns = [(one.keypoints, one.people.keypoints, one.people.visible > 0, one.people.boxes, one.people.heads) for one in judged]
    empty = (np.zeros((0, k, 2)), np.zeros((0, k, 2)), np.zeros((0, k), bool), np.zeros((0, 4)), np.zeros((0, 4)))
    return tuple(np.concatenate(column) for column in zip(empty, *columns, strict=True))


def _pckh(judged: Sequence[Judged]) -> Table:
    found, truth, visible, _, heads = _points(judged, len(MPII_16))
    at = {threshold: mpii_pckh(found, truth, visible, heads, threshold) for threshold in (0.1, *_STEPS * 0.5)}
    area = {name: float(np.mean([at[threshold][name] for threshold in _STEPS * 0.5])) for name in at[0.5]}
    return {"PCKh@0.5": at[0.5], "PCKh@0.1": at[0.1], "AUC": area}


def _pck(judged: Sequence[Judged], skeleton: Skeleton) -> Table:
    """Both sides of a joint together. The torso is from the left shoulder to the right hip [mem]."""
    found, truth, visible, boxes, _ = _points(judged, len(skeleton))
    units = {"": box_unit(boxes)}
    if skeleton is JHMDB_15:
        units["torso "] = np.nan_to_num(points_unit(truth, *(skeleton.index(name) for name in ("left_shoulder", "right_hip"))))
    joints = [name.removeprefix("left_").removeprefix("right_") for name in skeleton.names]
    groups = {joint: [i for i, other in enumerate(joints) if other == joint] for joint in dict.fromkeys(joints)}
    groups["mean"] = list(range(len(joints)))
    table: Table = {}
    for name, unit in units.items():
        distances = normalised_distances(found, truth, visible, unit)
        table[f"{name}PCK@0.2"] = {group: mean_share(distances, 0.2, rows) for group, rows in groups.items()}
        table[f"{name}AUC"] = {group: _area(distances[:, rows]) for group, rows in groups.items()}
    return table


def _area(distances: Float[np.ndarray, "n k"], limit: float = 0.2) -> float:
    """The mean share of all annotated points within the steps up to a limit."""
    return float(np.mean([mean_share(distances, threshold) for threshold in _STEPS * limit]))


def _tracked(one: Judged, skeleton: Skeleton) -> TrackedPicture:
    """A picture in the order of PoseTrack's evaluation; people whose head has no box are left out, with what was found in their own."""
    sized = np.isfinite(one.people.heads).all(axis=1)
    rows = sized if one.true_boxes else slice(None)
    truth = convert(one.people.keypoints[sized], one.people.visible[sized].astype(np.float32), skeleton, POSETRACK_15)
    found = convert(one.keypoints[rows], one.confidence[rows], skeleton, POSETRACK_15)
    return TrackedPicture(truth.keypoints, one.people.heads[sized], found.keypoints, found.scores)
