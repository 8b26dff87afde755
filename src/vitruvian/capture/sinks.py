"""What becomes of the frames and their people: rows of a take, an overlay, JSON files; and the thread that they are made in."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from vitruvian.capture.journal import space_of
from vitruvian.errors import MissingExtraError, VitruvianError
from vitruvian.formats.coco import CocoWriter
from vitruvian.formats.openpose import write_openpose_frame
from vitruvian.media import Frame, Pictures, Video, VideoWriter, write_image
from vitruvian.media.live import Live
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Take

log = logging.getLogger(__name__)

Format = Literal["json", "openpose", "csv", "parquet", "controlnet", "rerun"]
"""What a capture can write besides the take and the overlay."""

_NAMES = {
    **{"json": "keypoints.json", "openpose": "openpose", "csv": "keypoints.csv", "parquet": "keypoints.parquet"},
    **{"controlnet": "controlnet.mp4", "rerun": "take.rrd", "glb": "bodies.glb", "bvh": "skeleton.bvh", "trc": "markers.trc"},
}
_EXTRAS = {
    "parquet": ("pyarrow", "Parquet needs pyarrow: pip install 'vitruvian[tables]', or choose csv"),
    "rerun": ("rerun", "a .rrd needs rerun-sdk: pip install 'vitruvian[rerun]', or choose csv"),
}
FRAMEWISE: tuple[Format, ...] = ("json", "openpose")
"""Formats that sinks write frame by frame, where frames are final at once."""
BODY_FORMATS = ("glb", "bvh", "trc")
"""What a capture writes of bodies, where it finds any."""
Draw = Callable[[np.ndarray, People], None]
"""Draws the people of a frame into its picture (RGB), in place."""

BEHIND = 4  # frames that wait to be written at most


@dataclass(frozen=True)
class Stopwatch:
    """Adds up the seconds spent in named stages. Each stage belongs to one thread."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of the block for `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


class Sink(Protocol):
    """Takes the frames one by one, in order, then either `finish` or `abort`, each of which closes what is open."""

    def write(self, frame: Frame, people: People) -> None:
        """Take the next frame. The image may be drawn over: nobody reads it afterwards."""

    def finish(self, complete: bool) -> None:
        """Give the result its final name. `complete` is False when the capture was stopped early."""

    def abort(self) -> None:
        """Leave no half-written file."""


def check_formats(formats: Sequence[str]) -> None:
    """Raises VitruvianError where `formats` is no list of known ones, MissingExtraError where one needs a package that is not installed."""
    known = get_args(Format)
    wrong = [formats] if isinstance(formats, str) else [name for name in formats if name not in known]
    if wrong:
        raise VitruvianError(f"no list of formats: {wrong[0]!r}; give some of {', '.join(known)}, in a list (others: vitruvian convert)")
    for name in formats:
        module, remedy = _EXTRAS.get(name, ("", ""))
        if module and find_spec(module) is None:
            raise MissingExtraError(remedy)


def write_files(take: Take, folder: Path, formats: Sequence[str], stopwatch: Stopwatch) -> None:
    """Write take.npz and the formats from the whole take. Raises FormatError where a file can't be written."""
    from vitruvian.formats.convert import write

    with stopwatch("write"):
        take.save(folder / "take.npz")
        for format in formats:
            is_folder = format == "controlnet" and len(take.names) != 1  # pictures
            name = _NAMES[format].removesuffix(".mp4") if is_folder else _NAMES[format]
            write(take, folder / name, "coco" if format == "json" else format)


def open_sinks(
    workshop: Path,
    out: Path,
    source: Video | Pictures | Live,
    skeleton: Skeleton,
    about: Mapping[str, object],
    formats: Sequence[Format],
    stopwatch: Stopwatch,
) -> list[Sink]:
    """The sinks of rows that are written frame by frame, in the folder `workshop`; see OpenPoseSink for `out`.

    about: "source" in the user's words and "cards", the ids of the networks, for the files' headers.
    """
    sinks: list[Sink] = []
    if "json" in formats:
        sinks.append(CocoSink(workshop / "keypoints.json", skeleton, about, stopwatch))
    if "openpose" in formats:
        folders = [place / "openpose" for place in ((workshop, out) if isinstance(source, Live) else (workshop,))]
        sinks.append(OpenPoseSink(folders, skeleton, source.kind == "video", stopwatch))
    return sinks


def overlay_sink(folder: Path, source: Video | Pictures | Live, draw: Draw, stopwatch: Stopwatch) -> Sink:
    """The sink that draws into the images, and writes them to `folder`: it must be the last."""
    if source.kind == "video":
        return VideoOverlay(folder / "overlay.mp4", source.fps, draw, stopwatch)
    single = source.frame_count == 1
    return PictureOverlay(folder / "overlay.png" if single else folder / "overlay", single, draw, stopwatch)


class CocoSink:
    """keypoints.json, frame by frame."""

    def __init__(self, path: Path, skeleton: Skeleton, about: Mapping[str, object], stopwatch: Stopwatch) -> None:
        self._path, self._skeleton, self._about, self._stopwatch = path, skeleton, about, stopwatch
        self._writer: CocoWriter | None = None

    def write(self, frame: Frame, people: People) -> None:
        """Append the frame."""
        height, width = frame.image.shape[:2]
        with self._stopwatch("write"):
            self._opened(people).append(people, time=frame.time, size=(width, height), name=frame.name)

    def finish(self, complete: bool) -> None:
        """Write the end of the document and give it its name."""
        self._opened(People.empty(len(self._skeleton))).close(complete)

    def abort(self) -> None:
        """Delete what was written."""
        if self._writer:
            self._writer.discard()

    def _opened(self, people: People) -> CocoWriter:
        """The file, whose header says in which space these people's points are: the first frame tells."""
        if self._writer is None:
            self._writer = CocoWriter(self._path, self._skeleton, **self._about, space=space_of(people))
        return self._writer


class OpenPoseSink:
    """One OpenPose file per frame, each whole by itself; those written before an abort stay.

    In several folders: whoever watches the output folder of a live source finds each file at once, and not only at the end.
    """

    def __init__(self, folders: Sequence[Path], skeleton: Skeleton, is_video: bool, stopwatch: Stopwatch) -> None:
        self._folders, self._skeleton, self._is_video, self._stopwatch = folders, skeleton, is_video, stopwatch
        self._names = UniqueNames()

    def write(self, frame: Frame, people: People) -> None:
        """Write the frame's file: numbered for a video, named like the picture else."""
        name = f"{Path(frame.name).stem}_{frame.index:012d}" if self._is_video else self._names.of(frame)
        with self._stopwatch("write"):
            for folder in self._folders:
                write_openpose_frame(people, self._skeleton, folder / f"{name}_keypoints.json")

    def finish(self, complete: bool) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


class VideoOverlay:
    """The video with the people drawn over it, with its times. A video without frames leaves no file."""

    def __init__(self, path: Path, fps: float, draw: Draw, stopwatch: Stopwatch) -> None:
        self._draw, self._stopwatch = draw, stopwatch
        self._encoding = Background([_Encoder(path, fps, stopwatch)])  # one frame is encoded while the next is drawn

    def write(self, frame: Frame, people: People) -> None:
        """Draw the frame, and pass it on to be encoded."""
        with self._stopwatch("draw"):
            self._draw(frame.image, people)
        self._encoding.put(frame, people)

    def finish(self, complete: bool) -> None:
        """Encode what waits and what the encoder holds back, and give the file its name."""
        self._encoding.finish(complete)

    def abort(self) -> None:
        """Delete what was written."""
        self._encoding.abort()


class _Encoder:
    """A video of the frames as they are."""

    def __init__(self, path: Path, fps: float, stopwatch: Stopwatch) -> None:
        self._path, self._fps, self._stopwatch = path, fps, stopwatch
        self._writer: VideoWriter | None = None

    def write(self, frame: Frame, people: People) -> None:
        """Encode the frame."""
        with self._stopwatch("encode"):
            if self._writer is None:
                self._writer = VideoWriter(self._path, frame.image.shape[1], frame.image.shape[0], self._fps)
            self._writer.write(frame.image, frame.time)

    def finish(self, complete: bool) -> None:
        """Encode what the encoder holds back, and give the file its name."""
        if self._writer:
            with self._stopwatch("encode"):
                self._writer.close()

    def abort(self) -> None:
        """Delete what was written."""
        if self._writer:
            self._writer.discard()


class PictureOverlay:
    """The pictures with the people drawn over them, as .png, each whole by itself; those written before an abort stay."""

    def __init__(self, path: Path, single: bool, draw: Draw, stopwatch: Stopwatch) -> None:
        self._path, self._single, self._draw, self._stopwatch = path, single, draw, stopwatch
        self._names = UniqueNames()

    def write(self, frame: Frame, people: People) -> None:
        """Draw and write the picture: the path itself for a single one, else its name in the folder."""
        with self._stopwatch("draw"):
            self._draw(frame.image, people)
        with self._stopwatch("encode"):
            if not self._single:
                self._path.mkdir(exist_ok=True)
            write_image(self._path if self._single else self._path / f"{self._names.of(frame)}.png", frame.image)

    def finish(self, complete: bool) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing is open."""


class UniqueNames:
    """File names without suffix for pictures: a.jpg and a.png, or pictures of two folders, must not overwrite each other."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, frame: Frame) -> str:
        """The stem of the frame's name, followed by its index where another picture has that stem."""
        stem = Path(frame.name).stem
        name = f"{stem}_{frame.index}" if stem.casefold() in self._used else stem
        self._used.add(name.casefold())
        return name


def finishing(step: Callable[[], None]) -> None:
    """Do what ends a capture. A first Ctrl-C meanwhile only makes it begin once more, a second one stops it."""
    try:
        step()
    except KeyboardInterrupt:
        log.warning("interrupted: the files are being finished; once more gives them up")
        step()


class Background:
    """Runs sinks in a thread of its own, a few frames behind. An error there is raised by the next `put`, or by `finish`.

    frames: how many all sinks have taken. Ctrl-C reaches the main thread only, so that it never stops a sink in the middle of a frame.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks, self.frames = sinks, 0
        self._waiting: queue.Queue[tuple[Frame, People] | bool] = queue.Queue(BEHIND)  # a bool is the end: complete or not
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="vitruvian-sinks", daemon=True)
        self._thread.start()

    def put(self, frame: Frame, people: People) -> None:
        """Hand over a frame; waits while too many are pending."""
        self._raise_error()
        self._waiting.put((frame, people))

    def finish(self, complete: bool) -> None:
        """Write what is pending, and finish every sink. A first Ctrl-C meanwhile does not stop it, a second one does."""
        finishing(lambda: self._end(complete))
        self._raise_error()

    def abort(self) -> None:
        """Drop what is pending, and abort every sink."""
        self._error = self._error or InterruptedError()  # from here on the thread only empties the queue
        if self._thread.is_alive():
            self._end(False)
        for sink in self._sinks:
            sink.abort()

    def _end(self, complete: bool) -> None:
        self._waiting.put(complete)
        self._thread.join()

    def _run(self) -> None:
        while not isinstance(item := self._waiting.get(), bool):
            self._each(lambda sink, item=item: sink.write(*item))
            self.frames += 1
        self._each(lambda sink: sink.finish(item))

    def _each(self, step: Callable[[Sink], None]) -> None:
        """Do it with every sink. After an error nothing is done: the thread only empties the queue, so that `put` never waits for ever."""
        try:
            for sink in self._sinks:
                if self._error is None:
                    step(sink)
        except BaseException as error:
            self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
