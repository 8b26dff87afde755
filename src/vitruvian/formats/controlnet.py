"""ControlNet's files: the pose picture or video (written), and the JSON that the editors and nodes around it exchange (read, written).

The JSON is a list with one entry per frame: {"people": [OpenPose person with 18 body points], "canvas_width", "canvas_height"}, in
pixels or, from some tools, in [0, 1]; a single entry without a list is read too (motion-io card, section 3).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vitruvian._files import read_json, written_whole
from vitruvian.draw.controlnet import THRESHOLD, controlnet_scale, draw_controlnet
from vitruvian.errors import FormatError
from vitruvian.formats.coco_document import CocoDocument
from vitruvian.formats.openpose_person import person_id, person_lists, person_points, person_scores
from vitruvian.formats.text import make_folder
from vitruvian.formats.trc import rate_of
from vitruvian.geometry.boxes import enclosing
from vitruvian.media.frame import MAX_PIXELS, check_size
from vitruvian.skeletons import COCO_WHOLEBODY_133, OPENPOSE_BODY_18
from vitruvian.take import People, Take

MAX_BYTES = 1 << 30
VIDEO_SUFFIX = ".mp4"


def write_controlnet(
    take: Take,
    path: str | Path,
    size: tuple[int, int] | None = None,
    threshold: float = THRESHOLD,
    scale: float | None = 1.0,
    on_frame: Callable[[int], None] | None = None,
) -> list[Path]:
    """Draw the take's poses and return the paths written: an .mp4 is a video with the take's times, another suffix a picture of the one
    frame, none a folder of numbered .png, one per frame.

    size: (width, height) of the canvas where the take does not know that of its frames. threshold, scale: see `draw_controlnet`; a
    scale of None grows with the frame. on_frame: called with the number of frames done. A video of no frames leaves no file.
    Raises FormatError where a frame has no size, a picture is asked of several frames, or the frames of a video differ in size;
    MediaError if a file can't be written or a frame is too large.
    """
    from vitruvian.media import VideoWriter, write_image

    path, frames = Path(path), len(take.times)
    sizes = _sizes(take, size)
    video, folder = path.suffix.lower() == VIDEO_SUFFIX, not path.suffix
    if not video and not folder and frames != 1:
        raise FormatError(f"{path.name} is one picture and this take has {frames} frames; give a folder or an .mp4")
    if video and len(set(sizes)) > 1:
        raise FormatError(f"the frames differ in size ({sizes[0]} and others), a video's do not; give a folder for pictures")
    make_folder(path if folder else path.parent)
    pictures = (
        draw_controlnet(people, take.skeleton, *wide, threshold, controlnet_scale(*wide) if scale is None else scale)
        for people, wide in zip(take.by_frame(), sizes, strict=True)
    )
    if video and frames:
        start = min(float(take.times.min()), 0.0)
        with VideoWriter(path, *sizes[0], fps=rate_of(take.times)) as writer:
            for frame, picture in enumerate(pictures):
                writer.write(picture, float(take.times[frame]) - start)
                if on_frame is not None:
                    on_frame(frame + 1)
        return [path]
    paths = [path / f"{frame:06d}.png" for frame in range(frames)] if folder or video else [path]
    for frame, picture in enumerate(pictures):
        write_image(paths[frame], picture)
        if on_frame is not None:
            on_frame(frame + 1)
    return paths


def write_controlnet_json(take: Take, path: str | Path, size: tuple[int, int] | None = None, with_ids: bool = True) -> None:
    """Write the companion JSON, in pixels: 18 body points, 70 of the face, two hands of 21. `size` as in `write_controlnet`.

    with_ids: keep track ids as `person_id`, which the tools ignore. Raises FormatError where a frame has no size, or the path can't
    be written.
    """
    entries = []
    for people, (width, height) in zip(take.by_frame(), _sizes(take, size), strict=True):
        lists = person_lists(people, take.skeleton, OPENPOSE_BODY_18, with_points=False)
        persons = [{key: values for key, values in person.items() if key.endswith("2d")} for person in lists]
        if with_ids:
            persons = [{"person_id": [int(people.track[i])], **person} for i, person in enumerate(persons)]
        entries.append({"people": persons, "canvas_width": width, "canvas_height": height})
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(entries), encoding="utf-8")


def read_controlnet_json(path: str | Path, fps: float = 30.0, max_bytes: int = MAX_BYTES) -> Take:
    """Read the companion JSON as a take of COCO-WholeBody's points; entry i is at i / fps seconds, which the file does not say.

    Coordinates of an entry are taken for [0, 1], and scaled to its canvas, where none is over 1. Boxes and scores as in `read_openpose`.
    Raises FormatError if the file is missing, larger than `max_bytes`, or not of this layout.
    """
    path = Path(path)
    if not (np.isfinite(fps) and fps > 0):
        raise FormatError(f"{fps} is no frame rate; give frames per second, such as 30")
    found = read_json(path, max_bytes)
    document = CocoDocument(path, {"frames": [found] if isinstance(found, dict) else found})
    entries = document.rows("frames")
    width, height = (document.integers(entries, f"canvas_{side}") for side in ("width", "height"))
    if (width < 0).any() or (height < 0).any():
        raise FormatError(f"{path}: a canvas has a negative size; the file is damaged")
    frame, tracks, points = [], [], [np.zeros((0, len(COCO_WHOLEBODY_133), 3), np.float32)]
    for number, entry in enumerate(entries):
        persons = CocoDocument(path, entry).rows("people")
        here = np.array([person_points(person, path)[0] for person in persons]).reshape(-1, len(COCO_WHOLEBODY_133), 3)
        if np.isfinite(here[..., :2]).any() and np.nanmax(np.abs(here[..., :2])) <= 1:
            here[..., :2] *= (width[number], height[number])
        points.append(here)
        frame += [number] * len(persons)
        tracks += [person_id(person) for person in persons]
    together = np.concatenate(points)
    keypoints, confidence = together[..., :2], together[..., 2]
    people = People(
        frame=frame,
        track=tracks,
        boxes=enclosing(keypoints, confidence > 0),
        scores=person_scores(confidence),
        keypoints=keypoints,
        confidence=confidence,
    )
    sizes = np.stack([width, height], axis=-1)
    return Take(people, COCO_WHOLEBODY_133, np.arange(len(entries)) / fps, sizes, (path.stem,), source=str(path))


def _sizes(take: Take, size: tuple[int, int] | None) -> list[tuple[int, int]]:
    """The canvas of each frame: the frame's own size, else `size`."""
    sizes = [(int(width), int(height)) if width > 0 and height > 0 else size for width, height in take.sizes]
    for wide in set(sizes):
        if wide is None:
            raise FormatError("this take does not know the size of its frames; give the canvas, size=(width, height) (--size 640x480)")
        check_size("the pose picture", *wide, MAX_PIXELS)
    return sizes
