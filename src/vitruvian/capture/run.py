"""The run of a capture, whatever networks find the people: frames in, people into the journal, files out, resumable and interruptible."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from vitruvian._version import __version__
from vitruvian.capture.finder import Finder
from vitruvian.capture.journal import Journal
from vitruvian.capture.outputs import delivered, emptied
from vitruvian.capture.sinks import (
    BODY_FORMATS,
    FRAMEWISE,
    Background,
    Draw,
    Format,
    Sink,
    Stopwatch,
    finishing,
    open_sinks,
    overlay_sink,
    write_files,
)
from vitruvian.errors import VitruvianError
from vitruvian.media import Frame, Pictures, Video, open_source, prefetch
from vitruvian.media.live import Live, is_live, open_live, paced
from vitruvian.runtime.session import Device
from vitruvian.take import People, Take
from vitruvian.weights import Card

log = logging.getLogger(__name__)

Source = Video | Pictures | Live
Smooth = Literal["one-euro", "kalman", "butterworth", "none"]
Stage = Literal["frames", "bodies", "drawing"]
Step = Callable[[Take, Callable[[int, int], None]], Take]
"""What is done with the whole take. It tells the function that it gets how many rows are done, and of how many."""


@dataclass(frozen=True)
class Progress:
    """How far a capture is.

    frames: those whose people are found. total: how many there are to do in the `stage` (None: unknown; an estimate for a video's frames).
    people: in the newest frame. seconds: working time of each kind so far (decode, detect, pose, track, smooth, write, draw, encode), in
    several threads, so that their sum may exceed the time that has passed. resumed: frames that an earlier, killed run had done.
    latency: in real time, seconds from the newest frame's arrival until its people were known. dropped: frames that nobody looked at.
    stage: people are found in "frames"; then, where the whole video is needed for it, "bodies" are made and "drawing" makes the overlay.
    done: how many of `total`: people of single frames in "bodies", else frames.
    """

    frames: int
    total: int | None
    people: int
    seconds: Mapping[str, float]
    resumed: int = 0
    latency: float | None = None
    dropped: int = 0
    stage: Stage = "frames"
    done: int = 0


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
    choose: bool = False

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
        return self.mesh or self.choose or self.repair_swaps or self.smooth in ("kalman", "butterworth")


@dataclass(frozen=True)
class Plan:
    """What a capture does besides reading and writing: who finds the people, with which networks, and what is done with the whole take.

    rows: what the rows of a frame depend on besides source and networks (JSON values): an earlier run's count only if it was the same.
    draw: for the overlay, None for none. steps: what only the whole video tells, in order; where there are none, frames are final at once.
    """

    finder: Finder
    cards: tuple[Card, ...]
    rows: Mapping[str, object]
    draw: Draw | None
    steps: tuple[Step, ...]


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
    journal = Journal(folder, _job(source, plan), plan.finder.skeleton, source.kind == "video")
    plan.finder.restore(journal.state)
    report = _Report(on_progress, stopwatch.seconds, journal.frames_on_disk)
    about = {"source": name, "cards": tuple(card.id for card in plan.cards)}
    at_once = [] if plan.steps else [format for format in formats if format in FRAMEWISE]
    with delivered(folder) as workshop:
        sinks: list[Sink] = []
        if workshop:
            sinks += open_sinks(workshop, folder, source, plan.finder.skeleton, about, at_once, stopwatch)
            sinks += [overlay_sink(workshop, source, plan.draw, stopwatch)] if plan.draw else []
        run = _Run(source, plan, journal, report)
        take = replace(run.find([] if plan.steps else sinks), **about)
        if plan.steps:
            take = run.finish(take, sinks, workshop)
        take = replace(take, people=_settled(take.people))
        if workshop:
            rest = [*(format for format in formats if format not in at_once), *_body_formats(take)]
            finishing(lambda: write_files(take, workshop, rest, stopwatch))
    if take.complete:
        journal.clear()
    report.last(take)
    log.info("seconds by stage: %s", ", ".join(f"{stage} {spent:.2f}" for stage, spent in stopwatch.seconds.items()))
    return take


def _body_formats(take: Take) -> Sequence[str]:
    """What to write of bodies: of people in pictures, who have no ids, not what holds one person over time."""
    if not (take.body and len(take.people)):
        return ()
    return BODY_FORMATS if len(take.tracks) else ("glb",)


def open_for_capture(source: str | Path | Sequence[str | Path], realtime: bool) -> Source:
    """The source; live if it is a camera or a stream, or is to be played as one."""
    if is_live(source):
        return open_live(source)
    opened = open_source(source)
    if realtime and opened.kind != "video":
        raise VitruvianError(f"{opened.name} can't be played in real time: give a video, a camera or a stream")
    return paced(opened) if realtime else opened


@dataclass
class _Report:
    """Tells the caller how far the capture is."""

    tell: Callable[[Progress], None] | None
    seconds: Mapping[str, float]
    resumed: int
    frames: int = 0
    people: int = 0
    stage: Stage = "frames"
    done: int = 0

    def __call__(self, stage: Stage, done: int, total: int | None, latency: float | None = None, dropped: int = 0) -> None:
        """So much of the stage is done."""
        self.stage, self.done = stage, done
        if self.tell:
            self.tell(Progress(self.frames, total, self.people, dict(self.seconds), self.resumed, latency, dropped, stage, done))

    def last(self, take: Take) -> None:
        """Tell once more at the end: only then have all threads done their work."""
        self.frames, self.people = len(take.times), int((take.people.frame == len(take.times) - 1).sum())
        done = self.frames if self.stage == "frames" else self.done
        self(self.stage, done, done)


@dataclass
class _Run:
    """The way from a source to its take: once over the frames, then what only the whole video tells."""

    source: Source
    plan: Plan
    journal: Journal
    report: _Report

    def find(self, sinks: Sequence[Sink]) -> Take:
        """Find everybody, and pass every frame with its people on. Not complete when Ctrl-C ended it early; then the sinks have just the
        frames of the take."""
        background = Background(sinks)
        try:
            complete = self._until_the_end(background, not sinks)
            background.finish(complete)
        except BaseException:
            background.abort()
            raise
        take = replace(self.journal.take(), complete=complete)
        return _first_frames(take, background.frames) if sinks else take

    def finish(self, take: Take, sinks: Sequence[Sink], workshop: Path | None) -> Take:
        """The take with what only the whole video tells, drawn by the sinks. Ctrl-C leaves out what is not done, half an overlay too."""
        if not take.complete:
            log.warning("what the whole video tells follows for these frames; Ctrl-C once more leaves it out")
        try:
            for step in self.plan.steps:
                take = step(take, partial(self.report, "bodies"))
            if sinks:
                self._show(take, sinks)
        except KeyboardInterrupt:
            log.warning("interrupted: bodies or overlay are left out, the people found are kept")
            if workshop:
                emptied(workshop)
            return replace(take, complete=False)
        return take

    def _until_the_end(self, background: Background, nobody_waits: bool) -> bool:
        """Every frame: those whose people an earlier run found, then the others. False when Ctrl-C ended it early."""
        is_endless = isinstance(self.source, Live)
        frames = iter(self.source)
        try:
            if self.journal.is_whole and nobody_waits:
                self.report.frames = self.report.resumed
                self.report("frames", self.report.frames, self.report.frames)
                return True
            with closing(prefetch(islice(frames, self.journal.frames_on_disk))) as known:
                for frame, people in zip(known, self.journal.people(), strict=False):
                    self._hand_over(background, frame, people)
            finder = self.plan.finder
            with closing(finder.people_now(frames) if is_endless else finder.people(frames)) as found:
                for chunk in found:
                    for frame, people in chunk:
                        self.journal.add(frame, people)
                        self._hand_over(background, frame, people)
                    if self.journal.is_due and finder.is_between(self.report.frames):
                        self.journal.cut(finder.state())
            if self.plan.steps:
                self.journal.finish(finder.state())
        except KeyboardInterrupt:
            log.warning("interrupted after %d frames: what was found so far is kept", self.report.frames)
            return is_endless
        return True

    def _hand_over(self, background: Background, frame: Frame, people: People) -> None:
        live = {"latency": self.source.age(frame), "dropped": self.source.dropped} if isinstance(self.source, Live) else {}
        background.put(frame, _settled(people))
        self.report.frames, self.report.people = self.report.frames + 1, len(people)
        self.report("frames", self.report.frames, self.source.frame_count, **live)

    def _show(self, take: Take, sinks: Sequence[Sink]) -> None:
        """Read the source once more, and hand its frames with their final people to the sinks."""
        background = Background(sinks)
        try:
            with closing(prefetch(self.source)) as frames:
                for done, (frame, people) in enumerate(zip(frames, take.by_frame(), strict=False)):
                    background.put(frame, people)
                    self.report("drawing", done + 1, len(take.times))
            background.finish(take.complete)
        except BaseException:
            background.abort()
            raise


def _settled(people: People) -> People:
    """The people without the second places that nobody chose."""
    return people if people.second is None else replace(people, second=None)


def _first_frames(take: Take, count: int) -> Take:
    if count >= len(take.times):
        return take
    people = take.people[take.people.frame < count]
    return replace(take, people=people, times=take.times[:count], sizes=take.sizes[:count], names=take.names[:count])


def _job(source: Source, plan: Plan) -> dict[str, object]:
    """What must be the same for an earlier run's rows to count: this package, the source, the networks, and what else shapes rows."""
    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in source.paths]
    networks = [(card.id, Path(card.file).stat().st_size, Path(card.file).stat().st_mtime_ns) for card in plan.cards]
    once = [] if files else [time.time_ns()]  # what a camera saw does not come again
    return {"version": __version__, "files": files or once, "networks": networks, **plan.rows}
