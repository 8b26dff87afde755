"""The run of a capture, whatever networks find the people: frames in, people into the journal, files out, resumable and interruptible."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from vitruvian._version import __version__
from vitruvian.capture.finder import Finder
from vitruvian.capture.journal import Journal
from vitruvian.capture.sinks import BODY_FORMATS, Background, Draw, Format, Sink, Stopwatch, open_sinks, write_later
from vitruvian.errors import VitruvianError
from vitruvian.formats.text import make_folder
from vitruvian.media import Frame, Pictures, Video, open_source, prefetch
from vitruvian.media.live import Live, is_live, open_live, paced
from vitruvian.take import People, Take
from vitruvian.weights import Card

log = logging.getLogger(__name__)

Source = Video | Pictures | Live
Smooth = Literal["one-euro", "kalman", "butterworth", "none"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Progress:
    """How far a capture is: frames done, of how many (None: unknown; an estimate for videos), people in the newest frame.

    seconds: working time of each stage so far (decode, detect, pose, track, smooth, write, draw, encode). The stages run in several
    threads, so that their sum may exceed the time that has passed. resumed: frames that an earlier, killed run had done.
    latency: in real time, seconds from the newest frame's arrival until its people were known. dropped: frames that nobody looked at.
    """

    frames: int
    total: int | None
    people: int
    seconds: Mapping[str, float]
    resumed: int = 0
    latency: float | None = None
    dropped: int = 0


@dataclass(frozen=True)
class Options:
    """What decides about the result, besides source and networks. Raises VitruvianError on what makes no sense."""

    threshold: float
    smooth: Smooth
    mesh: bool
    fov: float
    device: Device
    detect_every: int = 1
    flip_test: bool = False
    repair_swaps: bool = False
    ground: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and 0 < self.threshold <= 1):
            raise VitruvianError(f"the threshold must be over 0 and at most 1, not {self.threshold}: 0.3 is a good start")
        if self.detect_every < 1:
            raise VitruvianError(f"the detector can't look at every {self.detect_every}th frame: give 1 (every frame) or more")
        if not 5 <= self.fov <= 170:
            raise VitruvianError(f"no camera sees {self.fov} degrees: give a field of view from 5 to 170")
        if self.smooth not in get_args(Smooth):
            raise VitruvianError(f"no way to smooth called {self.smooth!r}: choose one of {', '.join(get_args(Smooth))}")

    @property
    def looks_back(self) -> bool:
        """Whether the whole video must be known before a frame is final."""
        return self.mesh or self.repair_swaps or self.smooth in ("kalman", "butterworth")


@dataclass(frozen=True)
class Plan:
    """What a capture does besides reading and writing: who finds the people, with which networks, and what is done with the whole take.

    draw: for the overlay, None for none. finished: the take with what only the whole video tells; without it, frames are final at once.
    """

    finder: Finder
    cards: tuple[Card, ...]
    options: Options
    draw: Draw | None
    finished: Callable[[Take], Take] | None


def carry_out(
    plan: Plan,
    source: Source,
    name: str,
    folder: Path | None,
    formats: Sequence[Format],
    stopwatch: Stopwatch,
    on_progress: Callable[[Progress], None] | None,
) -> Take:
    """Find the people of an open source called `name` and write the files; see `capture` for what happens at Ctrl-C, kills and errors."""
    is_new = folder is not None and not folder.exists()
    journal = Journal(folder, _job(source, plan.cards, plan.options), plan.finder.skeleton, source.kind == "video")
    plan.finder.restore(journal.state)
    about = {"source": name, "cards": tuple(card.id for card in plan.cards)}

    def sinks() -> list[Sink]:
        return [] if folder is None else open_sinks(folder, source, plan.finder.skeleton, about, plan.draw, formats, stopwatch)

    run = _Run(source, plan.finder, journal, stopwatch, on_progress)
    if folder is not None:
        make_folder(folder)
    try:
        complete = run([] if plan.finished else sinks())
        take = replace(journal.take(), **about, complete=complete)
        if plan.finished:
            take = plan.finished(take)
            _show(take, source, sinks())
        if folder is not None:
            take.save(folder / "take.npz")
            write_later(take, folder, [*formats, *_body_formats(take)])
    except BaseException:
        if is_new:
            with suppress(OSError):  # it is not empty: what is whole may stay
                folder.rmdir()
        raise
    if complete:
        journal.clear()
    seconds = dict(stopwatch.seconds)
    if on_progress:  # once more, as the threads have only now done all their work
        last = int((take.people.frame == len(take.times) - 1).sum())
        on_progress(Progress(len(take.times), len(take.times), last, seconds, run.resumed))
    log.info("seconds by stage: %s", ", ".join(f"{stage} {spent:.2f}" for stage, spent in seconds.items()))
    return take


def _body_formats(take: Take) -> Sequence[str]:
    """What to write of bodies: of people in pictures, who have no ids, not what holds one person over time."""
    if not (take.body and len(take.people)):
        return ()
    return BODY_FORMATS if len(take.tracks) else ("glb",)


def _show(take: Take, source: Source, sinks: Sequence[Sink]) -> None:
    """Read the source once more, and hand its frames with their final people to the sinks."""
    background = Background(sinks)
    try:
        with closing(prefetch(source)) as frames:
            for frame, people in zip(frames, take.by_frame(), strict=False):
                background.put(frame, people)
        background.finish(take.complete)
    except BaseException:
        background.abort()
        raise


def open_for_capture(source: str | Path | Sequence[str | Path], realtime: bool) -> Source:
    """The source; live if it is a camera or a stream, or is to be played as one."""
    if is_live(source):
        return open_live(source)
    opened = open_source(source)
    if realtime and opened.kind != "video":
        raise VitruvianError(f"{opened.name} can't be played in real time: give a video, a camera or a stream")
    return paced(opened) if realtime else opened


@dataclass
class _Run:
    """One pass over the source: frames whose people an earlier run found, then the others."""

    source: Source
    finder: Finder
    journal: Journal
    stopwatch: Stopwatch
    on_progress: Callable[[Progress], None] | None
    resumed: int = 0
    frames: int = 0

    def __call__(self, sinks: Sequence[Sink]) -> bool:
        """Pass every frame and its people on. False when Ctrl-C ended it early; the frames passed on until then are whole."""
        background = Background(sinks)
        try:
            complete = self._until_the_end(background)
            background.finish(complete)
        except BaseException:
            background.abort()
            raise
        return complete

    def _until_the_end(self, background: Background) -> bool:
        is_endless = isinstance(self.source, Live)
        self.resumed = self.journal.frames_on_disk
        frames = iter(self.source)
        try:
            with closing(prefetch(islice(frames, self.resumed))) as known:
                for frame, people in zip(known, self.journal.people(), strict=False):
                    self._hand_over(background, frame, people)
            with closing(self.finder.people_now(frames) if is_endless else self.finder.people(frames)) as found:
                for chunk in found:
                    for frame, people in chunk:
                        self.journal.add(frame, people)
                        self._hand_over(background, frame, people)
                    if self.journal.is_due and self.finder.is_between(self.frames):
                        self.journal.cut(self.finder.state())
        except KeyboardInterrupt:
            log.warning("interrupted after %d frames: what was found so far is kept", self.frames)
            return is_endless
        return True

    def _hand_over(self, background: Background, frame: Frame, people: People) -> None:
        live = {"latency": self.source.age(frame), "dropped": self.source.dropped} if isinstance(self.source, Live) else {}
        background.put(frame, people)
        self.frames += 1
        if self.on_progress:
            spent = dict(self.stopwatch.seconds)
            self.on_progress(Progress(self.frames, self.source.frame_count, len(people), spent, self.resumed, **live))


def _job(source: Source, cards: Sequence[Card], options: Options) -> dict[str, object]:
    """What must be the same for an earlier run's rows to count: the source, the networks, the options and this package."""
    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in source.paths]
    networks = [(card.id, Path(card.file).stat().st_size, Path(card.file).stat().st_mtime_ns) for card in cards]
    once = [] if files else [time.time_ns()]  # what a camera saw does not come again
    return {"version": __version__, "files": files or once, "networks": networks, **asdict(options)}
