"""COCO-style keypoint JSON: one file per video, picture or folder; and COCO-WholeBody's annotation files.

The layout is COCO's (images, annotations, categories), with what a capture adds: `time` on images, `score` and `track_id` on
annotations, a top-level `info`. Keypoints are flat x, y, confidence; a missing one is 0, 0, 0. Pixel coordinates keep three
decimals, confidences four. The optional columns of People (points, orientation, ...) are flat lists under their names, null for NaN,
with six decimals; an annotation without any value of a column lacks its key. Source: https://cocodataset.org/#format-data, https://github.com/jin-s13/COCO-WholeBody.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian._files import read_json, temporary_name
from vitruvian._version import __version__
from vitruvian.errors import FormatError
from vitruvian.formats.coco_document import CocoDocument, with_nulls
from vitruvian.formats.lens import lens_of, read_lens
from vitruvian.formats.triples import triples
from vitruvian.geometry.boxes import area, xywh_to_xyxy, xyxy_to_xywh
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton
from vitruvian.skeletons.table import from_names, from_table, table_of
from vitruvian.take import OPTIONAL_COLUMNS, People, Space, Take

MAX_BYTES = 2 << 30
_CATEGORY = 1


class CocoWriter:
    """Writes frames one after another; memory does not grow with their number.

    `skeleton`: the set of the people that will be appended. `source`, `cards`, `version`, `space`, `body`: as in Take, kept in `info`;
    and so is `lens` (`formats.lens.lens_of`).
    The file appears under its name on `close`, whole; until then, and for good after `discard`, there is none. As a context manager
    it closes, or discards after an exception. Raises FormatError if the file can't be written.
    """

    def __init__(
        self,
        path: str | Path,
        skeleton: Skeleton,
        source: str = "",
        cards: Sequence[str] = (),
        version: str = __version__,
        space: Space = "",
        body: str = "",
        lens: Mapping[str, float | str] = MappingProxyType({}),
    ) -> None:
        self._path, self._skeleton = Path(path), skeleton
        self._info = {"description": "vitruvian keypoints", "version": version, "source": source, "cards": list(cards)}
        self._info |= {key: value for key, value in (("space", space), ("body", body)) if value} | dict(lens)
        self._people, self._frames = temporary_name(self._path), temporary_name(self._path)
        self._frame_ids, self._person_ids = count(), count(1)  # the official evaluation takes annotation 0 for "none"
        self._separators = ["\n", "\n"]
        self._files: list[IO[str]] = []
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for temporary in (self._people, self._frames):
                self._files.append(temporary.open("w", encoding="utf-8"))
        except OSError as error:
            self.discard()
            raise FormatError(_cannot_write(self._path, error)) from error
        self._files[0].write('{"categories": ' + json.dumps([_category(skeleton)]) + ',\n"annotations": [')

    def append(self, people: People, *, time: float, size: tuple[int, int], name: str = "") -> None:
        """Add the next frame: its people (their `frame` is not read), time in seconds, (width, height) in pixels, file name.

        Raises FormatError if the file can't be written, is closed already, the time is not finite, or K differs from the skeleton's.
        """
        if not self._files:
            raise FormatError(f"{self._path} is closed; open another CocoWriter for more frames")
        if people.keypoints.shape[1] != len(self._skeleton):
            mismatch = f"{people.keypoints.shape[1]} keypoints where {self._skeleton.name} has {len(self._skeleton)}"
            raise FormatError(f"{mismatch}; convert them first")
        if not math.isfinite(time):
            raise FormatError(f"frame {name!r} has the time {time}; give finite seconds")
        number = next(self._frame_ids)
        image = {"id": number, "file_name": name, "width": int(size[0]), "height": int(size[1]), "time": float(time)}
        self._write(1, [image])
        self._write(0, [{"id": next(self._person_ids), **annotation} for annotation in _annotations(people, number)])

    def _write(self, which: int, rows: list[dict[str, object]]) -> None:
        """Add rows to one of the two lists, in one write: an interrupted capture can still close into valid JSON."""
        if not rows:
            return
        try:
            self._files[which].write(self._separators[which] + ",\n".join(json.dumps(row) for row in rows))
        except OSError as error:
            self.discard()
            raise FormatError(_cannot_write(self._path, error)) from error
        self._separators[which] = ",\n"

    def close(self, complete: bool = True) -> None:
        """Finish the file and give it its name. `complete=False` marks a capture that was stopped early. A second call does nothing."""
        if not self._files:
            return
        people, frames = self._files
        try:
            frames.close()
            people.write('\n],\n"images": [')
            with self._frames.open(encoding="utf-8") as spooled:
                shutil.copyfileobj(spooled, people)
            people.write('\n],\n"info": ' + json.dumps({**self._info, "complete": complete}) + "}\n")
            people.close()
            os.replace(self._people, self._path)
        except OSError as error:
            raise FormatError(_cannot_write(self._path, error)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Stop without a result: what was written so far is deleted. Does nothing after `close`."""
        while self._files:
            with suppress(OSError):  # a full disk fails again on closing
                self._files.pop().close()
        for temporary in (self._people, self._frames):
            with suppress(OSError):  # nothing there, or no folder to hold it
                temporary.unlink()

    def __enter__(self) -> CocoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def write_coco(take: Take, path: str | Path) -> None:
    """Write a take as one COCO-style file. Raises FormatError if the path can't be written."""
    with CocoWriter(path, take.skeleton, take.source, take.cards, take.version, take.space, take.body, lens_of(take)) as writer:
        for i, people in enumerate(take.by_frame()):
            size = (int(take.sizes[i, 0]), int(take.sizes[i, 1]))
            writer.append(people, time=float(take.times[i]), size=size, name=take.name_of(i))
        writer.close(complete=take.complete)


def read_coco(path: str | Path, max_bytes: int = MAX_BYTES) -> Take:
    """Read what CocoWriter wrote, or COCO's own keypoint annotations.

    The keypoint set is the one of `vitruvian.skeletons` with the category's names. Annotations of COCO itself have no time (the
    frame's number stands in), score (1) or track (-1), and their visibility flags 1 and 2 become confidence 1.
    Raises FormatError if the file is missing, larger than `max_bytes`, or not of this layout.
    """
    path = Path(path)
    document = CocoDocument(path, read_json(path, max_bytes))
    images, annotations = document.rows("images"), document.rows("annotations")
    skeleton = _skeleton_of(document)
    rows = {document.number(image, "id"): row for row, image in enumerate(images)}
    if len(rows) != len(images):
        raise FormatError(f"{path}: two images share an id; number them anew")
    keypoints = document.array(annotations, "keypoints", 3 * len(skeleton)).reshape(-1, len(skeleton), 3)
    frame = document.frames(annotations, rows)
    confidence = np.clip(keypoints[..., 2], 0, 1)
    people = People(
        frame=frame,
        track=document.integers(annotations, "track_id", default=-1),
        boxes=xywh_to_xyxy(document.array(annotations, "bbox", 4)),
        scores=document.array(annotations, "score", default=1),
        keypoints=np.where(confidence[..., None] > 0, keypoints[..., :2], np.nan),
        confidence=confidence,
        **{name: document.optional(annotations, name, spec[1], len(skeleton)) for name, spec in OPTIONAL_COLUMNS.items()},
    )
    times = [document.number(image, "time", default=row) for row, image in enumerate(images)]
    names = [document.text(image, "file_name") for image in images]
    info = document.info()
    space = space if (space := info.get("space")) in get_args(Space) else ""
    if people.points is not None and not space:
        raise FormatError(f'{path} has points in metres, but its info does not say in which space; add "space": "camera" or "world"')
    return Take(
        people=people,
        skeleton=skeleton,
        times=np.array(times, np.float64),
        sizes=document.sizes(images),
        names=tuple(names[:1] if len(set(names)) == 1 else names),
        source=document.text(info, "source"),
        cards=tuple(str(card) for card in cards) if isinstance(cards := info.get("cards"), list) else (),
        version=document.text(info, "version"),
        complete=info.get("complete") is not False,
        space=space,
        body=document.text(info, "body"),
        **read_lens(info),
    )


@dataclass(frozen=True, eq=False)
class WholeBodyAnnotations:
    """N annotated persons of a COCO-WholeBody file, in the file's order.

    ids, image_ids: (N,) as in the file. files: the N pictures' file names. sizes: (N, 2) pictures' (width, height).
    boxes: (N, 4) float32 xyxy pixels. areas: (N,) float64 square pixels of the person's segment. crowd: (N,) COCO's iscrowd.
    keypoints: (N, 133, 3) float32 x, y, v; v > 0 means annotated. valid: part name -> (N,), whether the part was annotated at all.
    """

    ids: Int[np.ndarray, " n"]
    image_ids: Int[np.ndarray, " n"]
    files: tuple[str, ...]
    sizes: Int[np.ndarray, "n 2"]
    boxes: Float[np.ndarray, "n 4"]
    areas: Float[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    keypoints: Float[np.ndarray, "n 133 3"]
    valid: dict[str, Bool[np.ndarray, " n"]]

    def __len__(self) -> int:
        """The number of annotated persons N."""
        return len(self.files)


def read_wholebody_annotations(path: str | Path, max_bytes: int = MAX_BYTES) -> WholeBodyAnnotations:
    """Read a COCO-WholeBody annotation file (coco_wholebody_val_v1.0.json and alike). Coordinates are 0-based pixels as published.

    Raises FormatError if the file is missing, larger than `max_bytes`, or not of this layout.
    """
    path = Path(path)
    document = CocoDocument(path, read_json(path, max_bytes))
    images, annotations = document.rows("images"), document.rows("annotations")
    row = document.frames(annotations, {document.number(image, "id"): i for i, image in enumerate(images)})
    names = [document.text(image, "file_name") for image in images]
    fields = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    parts = [document.array(annotations, field, 3 * points).reshape(-1, points, 3) for field, points in fields.items()]
    keypoints = np.concatenate(parts, axis=1).astype(np.float32)
    flags = {"foot": "foot_valid", "face": "face_valid", "left_hand": "lefthand_valid", "right_hand": "righthand_valid"}
    body = (keypoints[:, COCO_WHOLEBODY_133.parts["body"], 2] > 0).any(axis=1)
    return WholeBodyAnnotations(
        ids=document.integers(annotations, "id", 1 << 53),
        image_ids=document.integers(annotations, "image_id", 1 << 53),
        files=tuple(names[i] for i in row),
        sizes=document.sizes(images)[row],
        boxes=xywh_to_xyxy(document.array(annotations, "bbox", 4)).astype(np.float32),
        areas=document.array(annotations, "area"),
        crowd=document.array(annotations, "iscrowd", default=0) > 0,
        keypoints=keypoints,
        valid={"body": body} | {part: document.array(annotations, field) > 0 for part, field in flags.items()},
    )


def _cannot_write(path: Path, error: OSError) -> str:
    return f"can't write {path}: {error.strerror or error}; check the folder, its rights and the free space"


def _category(skeleton: Skeleton) -> dict[str, object]:
    links = [[a + 1, b + 1] for a, b in skeleton.links]  # COCO counts keypoints from 1
    own = table_of(skeleton)
    declared = {"keypoint_set": skeleton.name, "swap": own["swap"]} if own else {}
    return {"id": _CATEGORY, "name": "person", "supercategory": "person", "keypoints": skeleton.names, "skeleton": links, **declared}


def _annotations(people: People, image: int) -> list[dict[str, object]]:
    """The people of one frame as COCO annotations without ids."""
    points = triples(people.keypoints, people.confidence)
    boxes = xyxy_to_xywh(np.nan_to_num(people.boxes.astype(np.float64))).round(3)
    areas = area(np.nan_to_num(people.boxes.astype(np.float64))).round(3)
    scores = np.nan_to_num(people.scores.astype(np.float64)).round(4)
    optional = {name: column for name, column in people.columns().items() if name in OPTIONAL_COLUMNS}
    return [
        {
            "image_id": image,
            "category_id": _CATEGORY,
            "bbox": boxes[i].tolist(),
            "area": float(areas[i]),
            "iscrowd": 0,
            "score": float(scores[i]),
            "track_id": int(people.track[i]),
            "num_keypoints": int((points[i, :, 2] > 0).sum()),
            "keypoints": points[i].ravel().tolist(),
            **{name: with_nulls(column[i]) for name, column in optional.items() if np.isfinite(column[i]).any()},
        }
        for i in range(len(people))
    ]


def _skeleton_of(document: CocoDocument) -> Skeleton:
    """The set whose names the file's first keypoint category lists: a built-in one, one that we wrote, or else one of these names alone."""
    for category in document.rows("categories"):
        names = category.get("keypoints")
        if names is None:
            continue
        try:
            links = [[place - 1 for place in link] for link in category.get("skeleton") or ()]  # COCO counts keypoints from 1
            if "swap" not in category:
                return from_names(names, links)
            return from_table(category.get("keypoint_set"), {"names": names, "swap": category["swap"], "links": links})
        except (FormatError, TypeError) as error:
            raise FormatError(f"{document.path}: its category says no keypoint set ({error}); correct it") from error
    raise FormatError(f"{document.path} has no category with keypoints; it is no keypoint file")
