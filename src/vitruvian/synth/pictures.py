"""Pictures with all labels for other tools: tar files as WebDataset reads them, drawn from a store on all cores, resumable tar by tar.

`pose-000000.tar` holds TAR crops of single persons, `detection-000000.tar` TAR scenes of nobody to nine people, each as

    000000000.jpg             RGB, quality 95
    000000000.json            labels
    000000000.segments.png    (pose) 8 bits: index of classes.SEGMENTS, 0 where the crop's person is not, 255 where something hides them

and `pose.json` or `detection.json` beside the tars names keypoints, parts, segments and occlusions, and says what all of it was drawn
with. The labels of a picture, in pixels, a pixel's centre at whole numbers:

    width, height   of the picture
    people          {id, doubtful, keypoints, occlusion} of everybody who is to be told:
                    keypoints: x, y, v of all 133 in one row, v = 2 seen, 1 hidden, 0 out of the picture (x = y = 0), as COCO has them;
                    occlusion: of each 0 seen, 1 hidden by the own body or clothes, 2 by something or somebody else, 3 out of the picture;
                    doubtful: hardly to be seen, mostly hidden or tiny: neither finding nor missing them is an error
    boxes           {part, owner, box}: box is x0, y0, x1, y1 of one of classes.PARTS, owner the id of the person. A part that is hidden,
                    tiny, or mostly out of the picture has none; one who is doubtful has the person's box alone.

A tar is complete when it exists. The same store, seed and task give the same tars whatever the number of processes.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.synth.classes import OUTSIDE, PARTS, SEEN, SEGMENTS
from vitruvian.synth.generate import TASKS
from vitruvian.synth.scene import DOUBTFUL, Scene, Studio, compose_crop, compose_scene, label_crop
from vitruvian.synth.store import Store, keep_to

TAR = 250  # pictures of a tar
SIZES = {"pose": (192, 256), "detection": (320, 320)}
"""Width and height of the pictures of each task."""
_studio: tuple[Path, int, int, Studio] | None = None  # one per worker process, with what it was opened for


def labels_of(scene: Scene) -> dict[str, object]:
    """A scene's labels as the tars have them, see the module's first lines."""
    people = []
    for owner in np.unique(scene.owners):
        hidden = scene.hidden[owner]
        seen, inside = (hidden == SEEN).astype(int), hidden != OUTSIDE
        places = np.where(inside[:, None], scene.keypoints[owner], 0).astype(float).round(2)
        keypoints = [value for place, v in zip(places.tolist(), (inside + seen).tolist(), strict=True) for value in (*place, v)]
        doubtful = bool((scene.labels[scene.owners == owner] == DOUBTFUL).any())
        people.append({"id": int(owner), "doubtful": doubtful, "keypoints": keypoints, "occlusion": hidden.tolist()})
    boxes = [
        {"part": PARTS[part], "owner": int(owner), "box": box.astype(float).round(2).tolist()}
        for box, part, owner in zip(scene.boxes, scene.parts, scene.owners, strict=True)
    ]
    return {"width": scene.image.shape[1], "height": scene.image.shape[0], "people": people, "boxes": boxes}


def draw_picture(rng: np.random.Generator, studio: Studio, task: str) -> tuple[Scene, UInt8[np.ndarray, "h w"] | None]:
    """One picture of a task with its labels, and the segments of a pose crop. Raises VitruvianError for a task that is none of TASKS."""
    if task == "pose":
        return label_crop(compose_crop(rng, studio, SIZES[task]))
    if task == "detection":
        return compose_scene(rng, studio, SIZES[task]), None
    raise VitruvianError(f"no task {task!r}; there are {', '.join(TASKS)}")


def write_tar(path: Path, studio: Studio, task: str, index: int, seed: int) -> None:
    """Draw and write tar `index` of a task, whole or not at all."""
    rng = np.random.default_rng((seed, index, 1 + TASKS.index(task)))
    with written_whole(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(index * TAR, (index + 1) * TAR):
            scene, segments = draw_picture(rng, studio, task)
            files = {
                "jpg": _coded(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]),
                "json": json.dumps(labels_of(scene)).encode(),
            }
            if segments is not None:
                files["segments.png"] = _coded(".png", segments, [])
            for suffix, content in files.items():
                entry = tarfile.TarInfo(f"{number:09d}.{suffix}")  # its time and owner are 0, so that the same pictures are the same file
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _coded(suffix: str, image: np.ndarray, options: list[int]) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def generate_pictures(
    folder: str | Path, task: str, count: int, people: int, seed: int = 0, processes: int | None = None
) -> Iterator[tuple[int, int]]:
    """Draw at least `count` pictures of the first `people` of the store in `folder` into tars beside it; yields (done, in all).

    Tars that are already there are left alone. Raises VitruvianError for an unknown task, FormatError where the store has too few
    people, or the folder has pictures of this task that were drawn with something else.
    """
    if task not in TASKS:
        raise VitruvianError(f"no task {task!r}; there are {', '.join(TASKS)}")
    folder, store = Path(folder), Store.open(folder)
    if len(store) < people:
        raise FormatError(f"{folder} holds {len(store)} people, not {people}: draw more with `vitruvian synth {folder} -n {people}`")
    keep_to(folder / f"{task}.json", _description(store, task, people, seed))
    paths = [folder / f"{task}-{index:06d}.tar" for index in range(-(-count // TAR))]
    missing = [(path, index) for index, path in enumerate(paths) if not path.exists()]
    done = len(paths) - len(missing)
    yield done * TAR, len(paths) * TAR
    if not missing:
        return
    work = [(folder, people, seed, task, path, index) for path, index in missing]
    with multiprocessing.get_context("spawn").Pool(min(processes or os.cpu_count() or 1, len(missing))) as pool:
        for _ in pool.imap_unordered(_work, work):
            done += 1
            yield done * TAR, len(paths) * TAR


def _description(store: Store, task: str, people: int, seed: int) -> dict[str, object]:
    return {
        "version": 1, "task": task, "people": people, "seed": seed, "look": store.look.as_dict(), "size": list(SIZES[task]),
        "keypoints": list(COCO_WHOLEBODY_133.names), "parts": list(PARTS), "segments": list(SEGMENTS),
        "occlusion": ["seen", "own body", "something else", "out of the picture"],
    }  # fmt: skip


def open_studio(folder: Path, people: int, seed: int) -> Studio:
    """The studio that the pictures of a folder are drawn in: its first people, and backgrounds of our own making."""
    studio = Studio.open(Store.open(folder), [], np.random.default_rng(seed))
    return replace(studio, members=np.arange(people))


def _work(task: tuple[Path, int, int, str, Path, int]) -> None:
    global _studio
    folder, people, seed, name, path, index = task
    if _studio is None or _studio[:3] != (folder, people, seed):
        cv2.setNumThreads(0)  # one process per core
        _studio = (folder, people, seed, open_studio(folder, people, seed))
    write_tar(path, _studio[3], name, index, seed)
