"""Bodies that were fitted to known pictures: UBody's SMPL-X, NeuralAnnot's SMPL-X of COCO and SMPL of Human3.6M. JSON files.

    ubody_bodies      annotations/SCENE/keypoint_annotation.json and smplx_annotation.json (annotation id -> smplx_param, cam_param)
    coco_bodies       annotations/MSCOCO_SPLIT_SMPLX.json (the same), annotations/coco_wholebody_SPLIT_v1.0.json, SPLIT2017/FILE
    human36m_bodies   annotations/Human36M_subjectS_{data,camera,SMPL_NeuralAnnot}.json, images/FILE

Names of files and fields are from memory of the programs that read them (OSX's and its forerunners'), not checked against a file [mem]:
UBody's and COCO's poses count from the mean hand and are in camera axes, with a camera of its own per person (`cam_param`); Human3.6M's
are in world axes, metres, and its cameras (R, t, f, c) have millimetres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vitruvian._files import read_json
from vitruvian.data.bodies import BodyDataset, BodyPicture, numbers, pinhole, plain_labels
from vitruvian.data.layout import MAX_JSON, below, find
from vitruvian.data.ubody import SCENE_STEP, SCENES
from vitruvian.errors import FormatError

UBODY_LAYOUT = "annotations/SCENE/{keypoint_annotation,smplx_annotation}.json for one scene at least, images/SCENE/*"
COCO_LAYOUT = "annotations/MSCOCO_{train,val}_SMPLX.json, annotations/coco_wholebody_{train,val}_v1.0.json, {train,val}2017/*.jpg"
H36M_LAYOUT = "annotations/Human36M_subject{1,5,6,7,8,9,11}_{data,camera,SMPL_NeuralAnnot}.json, images/*"
SUBJECTS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
_BLOCKS = (("root_pose", 3), ("body_pose", 63), ("jaw_pose", 3), ("lhand_pose", 45), ("rhand_pose", 45))


def ubody_bodies(folder: str | Path) -> BodyDataset:
    """UBody's people, each as a picture of its own, because each has its own camera. Raises FormatError where there is no scene."""
    root = Path(folder)
    find(folder, "UBody", UBODY_LAYOUT, *(f"annotations/{scene}/smplx_annotation.json" for scene in SCENES))

    def read() -> Iterator[BodyPicture]:
        for number, scene in enumerate(SCENES):
            here = root / "annotations" / scene
            if (here / "smplx_annotation.json").is_file():
                images = root / "images"
                placed = lambda name: below(images if name.startswith(f"{scene}/") else images / scene, name)  # noqa: B023, E731
                yield from _alone(here / "smplx_annotation.json", here / "keypoint_annotation.json", placed, SCENE_STEP * number)

    return BodyDataset("ubody-smplx", "research and non-commercial use only", read)


def coco_bodies(folder: str | Path, split: Literal["train", "val"] = "train") -> BodyDataset:
    """COCO's persons with NeuralAnnot's fits, each as a picture of its own. Raises FormatError where annotations or fits are missing."""
    root = Path(folder)
    names = (f"annotations/MSCOCO_{split}_SMPLX.json", f"MSCOCO_{split}_SMPLX.json")
    fits = find(folder, "COCO with NeuralAnnot's bodies", COCO_LAYOUT, *names)
    people = find(
        folder, "COCO", COCO_LAYOUT, f"annotations/coco_wholebody_{split}_v1.0.json", f"annotations/person_keypoints_{split}2017.json"
    )
    placed = lambda name: below(root / f"{split}2017", name)  # noqa: E731
    return BodyDataset("coco-smplx", "research and non-commercial use only", lambda: _alone(fits, people, placed, 0))


def _alone(fits: Path, people: Path, placed: Callable[[str], Path], first: int) -> Iterator[BodyPicture]:
    """Each fitted annotation as a picture of its own. placed: where a picture lies; first: added to ids."""
    bodies = _table(read_json(fits, MAX_JSON), fits)
    pictures, annotations = _coco(people)
    for one in annotations:
        body, image = bodies.get(str(one.get("id"))), pictures.get(one.get("image_id"))
        if body is None or image is None:
            continue
        what = f"{fits}, annotation {one['id']}"
        said, camera = (_table(_table(body, what).get(name), what) for name in ("smplx_param", "cam_param"))
        blocks = {name: numbers(np.ravel(_of(said, name, what)), (size,), what).reshape(-1, 3) for name, size in _BLOCKS}
        eyes = np.zeros((2, 3))
        order = (*(blocks[name] for name in ("root_pose", "body_pose", "jaw_pose")), eyes, blocks["lhand_pose"], blocks["rhand_pose"])
        shape, expression = (numbers(np.ravel(_of(said, name, what)), (-1,), what)[None] for name in ("shape", "expr"))
        trans = numbers(np.ravel(_of(said, "trans", what)), (3,), what)[None]
        labels = plain_labels("smplx", np.concatenate(order)[None], shape, expression, trans, "neutral", hand_mean=True)
        matrix = pinhole(_of(camera, "focal", what), _of(camera, "princpt", what), what)
        yield BodyPicture(placed(str(image.get("file_name", ""))), first + _whole(one["id"], what), _size(image), matrix, labels)


def human36m_bodies(folder: str | Path, split: str = "test") -> BodyDataset:
    """Human3.6M with SMPL, one person per picture; pictures without a fit are left out. Raises FormatError where there is no subject."""
    root = Path(folder)
    names = {subject: f"annotations/Human36M_subject{subject}" for subject in SUBJECTS[split]}
    find(folder, "Human3.6M", H36M_LAYOUT, *(f"{name}_SMPL_NeuralAnnot.json" for name in names.values()))

    def read() -> Iterator[BodyPicture]:
        for name in names.values():
            if (root / f"{name}_SMPL_NeuralAnnot.json").is_file():
                yield from _subject(root / name, root / "images")

    return BodyDataset("human3.6m", "academic use only, by registration", read)


def _subject(stem: Path, images: Path) -> Iterator[BodyPicture]:
    paths = {part: stem.with_name(f"{stem.name}_{part}.json") for part in ("data", "camera", "SMPL_NeuralAnnot")}
    cameras, fits = (_table(read_json(paths[part], MAX_JSON), paths[part]) for part in ("camera", "SMPL_NeuralAnnot"))
    pictures, _ = _coco(paths["data"])
    for image in pictures.values():
        what = f"{paths['data']}, picture {image.get('id')}"
        fit: Any = fits
        for key in ("action_idx", "subaction_idx", "frame_idx"):
            fit = fit.get(str(image.get(key))) if isinstance(fit, dict) else None
        if not isinstance(fit, dict):
            continue
        camera = _table(cameras.get(str(image.get("cam_idx"))), what)
        turn, shift = numbers(_of(camera, "R", what), (3, 3), what), numbers(np.ravel(_of(camera, "t", what)), (3,), what) / 1000
        pose, shape, trans = (
            numbers(np.ravel(_of(fit, name, what)), (size,), what) for name, size in (("pose", 72), ("shape", 10), ("trans", 3))
        )
        place = {"rotation": turn[None], "translation": shift[None]}
        labels = plain_labels("smpl", pose.reshape(1, 24, 3), shape[None], np.zeros((1, 0)), trans[None], "neutral", place=place)
        matrix = pinhole(_of(camera, "f", what), _of(camera, "c", what), what)
        file = below(images, str(image.get("file_name", "")))
        video = f"s{image.get('subject')}/{image.get('action_idx')}/{image.get('subaction_idx')}/{image.get('cam_idx')}"
        yield BodyPicture(file, _whole(image.get("id"), what), _size(image), matrix, labels, video, _whole(image.get("frame_idx"), what))


def _coco(path: Path) -> tuple[dict[Any, dict[str, Any]], list[dict[str, Any]]]:
    """Images by id, and annotations, of a COCO document."""
    document = _table(read_json(path, MAX_JSON), path)
    images, annotations = document.get("images"), document.get("annotations", [])
    if not all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in (images, annotations)):
        raise FormatError(f"{path} has no lists of images and annotations; get the file again")
    return {row["id"]: row for row in images if isinstance(row.get("id"), int)}, annotations


def _table(value: object, what: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not the table that was expected; get the file again")
    return value


def _of(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise FormatError(f"{what} has no {name!r}; get the file again")
    return table[name]


def _whole(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"{what} has no number where an id or a frame should be; get the file again")
    return value


def _size(image: dict[str, Any]) -> tuple[int, int]:
    """(width, height), zeros where the file doesn't tell."""
    sides = [image.get(name) for name in ("width", "height")]
    return tuple(sides) if all(isinstance(side, int) and 0 < side < 1 << 16 for side in sides) else (0, 0)
