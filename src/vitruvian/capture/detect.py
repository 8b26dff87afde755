"""People (or instruments), their parts, whose these are, and which way people face: in pictures and videos, without keypoints or ids."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vitruvian.capture.finder import chunks
from vitruvian.capture.objects import PERSON, Objects, joined, objects_of
from vitruvian.capture.sinks import Background, Stopwatch, overlay_sink
from vitruvian.codecs.association import Rule
from vitruvian.draw.objects import draw_objects
from vitruvian.errors import VitruvianError
from vitruvian.formats.objects import write_objects_csv, write_objects_json
from vitruvian.formats.text import make_folder
from vitruvian.media import Pictures, Video, open_source, prefetch
from vitruvian.people.contacts import Contacts, HeadCounts, contact_candidates, count_heads
from vitruvian.runtime import Detector
from vitruvian.runtime.session import Device
from vitruvian.weights import Card, card_for

log = logging.getLogger(__name__)

Format = Literal["json", "csv"]
FILES = {"json": "objects.json", "csv": "objects.csv"}
"""What `detect` can write besides the overlay."""


@dataclass(frozen=True)
class DetectProgress:
    """How far it is: frames done, of how many (None: unknown; an estimate for videos), objects in the newest frame."""

    frames: int
    total: int | None
    objects: int


def detect(
    source: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    detector: Card | str | Path = "person-parts-s",
    threshold: float = 0.3,
    association: Rule = "best",
    overlay: bool = True,
    formats: Sequence[Format] = ("json", "csv"),
    device: Device = "auto",
    on_progress: Callable[[DetectProgress], None] | None = None,
) -> Objects:
    """Find people and their parts, or instruments and theirs, in a video, a picture, a folder, a glob or a list of pictures.

    out: folder for the files, made if missing: overlay.mp4 (overlay.png for one picture, overlay/ for several), objects.json and
    objects.csv as `formats` names them. None writes nothing.
    detector: id of a network, path of an ONNX file, or card. person-parts-s and networks with hooks (BPJDet) say whose a part is; for
    others parts are joined to people by their boxes (`people.joining`). JointBDOE's say which way people face. hSDB-instrument's find
    surgical instruments.
    association: how networks with offsets give parts away, see `codecs.association`.
    threshold: least score of what counts. on_progress: called after each frame, in this thread.

    Nothing found, or a video without frames, is a table without rows. Ctrl-C ends early: what was found is written and returned, with
    `complete` False. Raises MediaError, WeightsError, FormatError, and VitruvianError on senseless options.
    """
    wrong = [formats] if isinstance(formats, str) else [name for name in formats if name not in FILES]
    if wrong:
        raise VitruvianError(f"no list of formats: {wrong[0]!r}; give some of {', '.join(FILES)}, in a list")
    if not (math.isfinite(threshold) and 0 < threshold <= 1):
        raise VitruvianError(f"the threshold must be over 0 and at most 1, not {threshold}: 0.3 is a good start")
    card = detector if isinstance(detector, Card) else card_for(detector)
    find = Detector(card, classes=card.classes, score_threshold=threshold, association=association, device=device)
    with open_source(source) as opened:
        asked = str(source) if isinstance(source, str | Path) else opened.name
        folder = None if out is None else Path(out)
        is_new = folder is not None and not folder.exists()
        if folder is not None:
            make_folder(folder)
        try:
            frames, complete = _run(opened, find, folder if overlay else None, on_progress)
            objects = joined(frames, card.classes, asked, card.id, opened.kind == "video", complete)
            if folder is not None:
                for name in formats:
                    (write_objects_json if name == "json" else write_objects_csv)(objects, folder / FILES[name])
        except BaseException:
            if is_new:
                with suppress(OSError):  # it is not empty: what is whole may stay
                    folder.rmdir()
            raise
    return objects


def heads_of(objects: Objects) -> HeadCounts:
    """Heads per frame: all, and those that belong to somebody. Raises VitruvianError where the detector finds no heads (nor faces)."""
    kind = next((kind for kind in ("head", "face") if any(name.endswith(kind) for name in objects.classes)), None)
    if kind is None or PERSON not in objects.classes:
        raise VitruvianError(f"{objects.network} finds {', '.join(objects.classes)}, no heads to count: take another detector")
    return count_heads(objects.frame, len(objects.times), objects.is_a(kind), objects.is_a("person"), objects.owner)


def hands_near(objects: Objects) -> Contacts:
    """Hands and what they may touch, see `people.contacts`. Raises VitruvianError where the detector finds no hands."""
    if not any(name.endswith("hand") for name in objects.classes):
        raise VitruvianError(f"{objects.network} finds {', '.join(objects.classes)}, no hands: take another detector")
    touchable = objects.is_a("hand", "head", "foot") | (objects.is_a("face") if not objects.is_a("head").any() else False)
    return contact_candidates(objects.frame, objects.boxes, objects.is_a("hand"), touchable, objects.is_a("person"), objects.owner)


def _run(
    source: Video | Pictures, find: Detector, folder: Path | None, on_progress: Callable[[DetectProgress], None] | None
) -> tuple[list[Objects], bool]:
    """The objects of every frame, and whether it went to the end; draws into `folder` if there is one."""
    sinks, stopwatch = [], Stopwatch()
    if folder is not None:
        sinks = [overlay_sink(folder, source, draw_objects, stopwatch)]
    background, done, complete = Background(sinks), [], True
    try:
        try:
            with closing(prefetch(source)) as frames:
                for chunk in chunks((frame, None) for frame in frames):
                    for (frame, _), found in zip(chunk, find([frame.image for frame, _ in chunk]), strict=True):
                        height, width = frame.image.shape[:2]
                        one = objects_of(found, find.card.classes, frame.time, (width, height), frame.name)
                        background.put(frame, one)
                        done.append(one)
                        if on_progress:
                            on_progress(DetectProgress(len(done), source.frame_count, len(one)))
        except KeyboardInterrupt:
            log.warning("interrupted after %d frames: what was found so far is kept", len(done))
            complete = False
        background.finish(complete)
    except BaseException:
        background.abort()
        raise
    return done, complete
