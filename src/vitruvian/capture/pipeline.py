"""From a source to a Take, streaming: other threads read and write while this one runs the networks, and memory stays flat."""

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

import numpy as np

from vitruvian._version import __version__
from vitruvian.body.compact import load_compact
from vitruvian.capture.bodies import add_bodies, field_of_view_of, intrinsics
from vitruvian.capture.finder import Finder
from vitruvian.capture.journal import Journal
from vitruvian.capture.sinks import BODY_FORMATS, Background, Draw, Format, Sink, Stopwatch, check_formats, open_sinks, write_later
from vitruvian.draw.mesh import draw_bodies
from vitruvian.draw.overlay import draw_boxes, draw_people
from vitruvian.errors import VitruvianError
from vitruvian.formats.text import make_folder
from vitruvian.media import Frame, Pictures, Video, open_source, prefetch
from vitruvian.media.live import Live, is_live, open_live, paced
from vitruvian.people import Refiner, Smoother, Tracker, is_part, presets, repair_swaps, smooth_take, without_doubtful_tracks
from vitruvian.runtime import Detector, OneStage, PoseEstimator
from vitruvian.runtime.lift import Lifter
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton, by_name
from vitruvian.take import People, Take
from vitruvian.weights import Card, card_for

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
class _Options:
    """What decides about the result, besides source and networks. Raises VitruvianError on what makes no sense."""

    threshold: float
    detect_every: int
    flip_test: bool
    smooth: Smooth
    repair_swaps: bool
    mesh: bool
    fov: float
    ground: bool
    device: Device

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

    def finished(self, take: Take, lifter: Lifter | None, stopwatch: Stopwatch) -> Take:
        """The take with what only the whole video tells."""
        take = without_doubtful_tracks(take)
        if self.repair_swaps:
            take, report = repair_swaps(take)
            log.info("%d stretches with left and right exchanged were repaired", len(report.swaps))
        if self.smooth != "none" and len(take.tracks):
            take = smooth_take(take, presets(self.smooth))
        if lifter is None:
            return take
        with stopwatch("bodies"):
            return add_bodies(take, lifter, self.fov, self.ground)


def capture(
    source: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    detector: Card | str | Path = "person-parts-nano",
    pose: Card | str | Path = "wholebody-t",
    hands: Card | str | Path | None = None,
    face: Card | str | Path | None = None,
    threshold: float = 0.3,
    detect_every: int = 1,
    flip_test: bool = False,
    smooth: Smooth = "one-euro",
    repair_swaps: bool = False,
    mesh: bool = True,
    lift: Card | str | Path = "lift-s",
    fov: float | None = None,
    ground: bool = False,
    overlay: bool = True,
    formats: Sequence[Format] = ("json",),
    realtime: bool = False,
    device: Device = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> Take:
    """Find the people in a video, a picture, a folder or a list of pictures, with ids and keypoints over time.

    source: path of a video or picture, a folder, a glob, or a list of pictures; "camera:0" or the address of a stream (rtsp://...), which
    ends with Ctrl-C. Pictures are not tracked (track -1) and not smoothed.
    out: folder for the files, made if missing: take.npz, overlay.mp4 (overlay.png for one picture, overlay/ for several), and what
    `formats` names. None writes nothing.
    detector, pose: id of a network, path of an ONNX file, or card. The result has the keypoint set of the pose network. A one-stage pose
    network (RTMO) needs no detector; one in 3D (RTMW3D) also fills `points`.
    hands, face: networks that look at everybody's hands (21 points) and face (68, 98, 106 or 29) once more, closer.
    threshold: least score of a detection that counts as a person; in videos, half of it still continues a person seen before.
    detect_every: in videos, the detector sees only every n-th frame, and boxes move in straight lines between: faster.
    flip_test: a second look at mirrored crops, a little better, takes twice as long.
    smooth: "one-euro" knows only the past; "kalman" and "butterworth" also look ahead, don't lag, and fill short gaps; "none".
    repair_swaps: undo exchanges of left and right over time. Where the whole video must be known, it is read once more for the overlay.
    mesh: lift the keypoints into space and fit bodies: points and body parameters in the take, meshes in the overlay, and bodies.glb,
    skeleton.bvh and markers.trc. Needs a pose network of the 133 points; nothing is done for others, nor for cameras and streams.
    lift: the network for it. fov: degrees that the camera sees across the picture's longer side; None takes it from the EXIF of
    photographs, and else assumes 60, and metres are as uncertain as that.
    ground: in films of a camera that stands still, hold resting feet where they are, on one floor.
    realtime: play a video at its own pace and leave out frames that come too early, as cameras and streams always do.
    device: where the networks run. on_progress: called after each frame and at the end, in this thread.

    Nobody in the picture, or no frame in the video, is a take with zero rows. A capture into a folder that was killed goes on where it was
    when it is started again with the same source, networks and options, and ends with the same take. Ctrl-C ends it early: what was found
    so far is written and returned, with `complete` False. Raises MediaError on a source that can't be read, WeightsError on networks,
    FormatError on files that can't be written, VitruvianError on senseless options; then no half-written file stays.
    """
    check_formats(formats)
    folder, stopwatch = None if out is None else Path(out), Stopwatch()
    is_new = folder is not None and not folder.exists()
    with _open(source, realtime) as opened:
        mesh = mesh and not isinstance(opened, Live) and _has_points(pose)
        view = field_of_view_of(opened) if fov is None else fov
        options = _Options(threshold, detect_every, flip_test, smooth, repair_swaps, mesh, view, ground, device)
        if options.looks_back and isinstance(opened, Live):
            raise VitruvianError(f"{opened.name} can't be seen twice: smooth it with one-euro, and repair no swaps")
        lifter = Lifter(lift, device=device) if mesh else None
        finder, cards = _finder(opened, (detector, pose, hands, face), options, stopwatch)
        journal = Journal(folder, _job(opened, cards, options), finder.skeleton, opened.kind == "video")
        finder.restore(journal.state)
        asked = str(source) if isinstance(source, str | Path) else opened.name
        about = {"source": asked, "cards": tuple(card.id for card in cards)}

        def sinks() -> list[Sink]:
            draw = _drawer(finder.skeleton, options) if overlay else None
            return [] if folder is None else open_sinks(folder, opened, finder.skeleton, about, draw, formats, stopwatch)

        run = _Run(opened, finder, journal, stopwatch, on_progress)
        if folder is not None:
            make_folder(folder)
        try:
            complete = run([] if options.looks_back else sinks())
            take = replace(journal.take(), **about, complete=complete)
            if options.looks_back:
                take = options.finished(take, lifter, stopwatch)
                _show(take, opened, sinks())
            if folder is not None:
                take.save(folder / "take.npz")
                write_later(take, folder, [*formats, *(BODY_FORMATS if take.body and len(take.people) else ())])
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


def _has_points(pose: Card | str | Path) -> bool:
    """Whether a pose network finds the points that bodies are made from."""
    card = pose if isinstance(pose, Card) else card_for(pose)
    return by_name(card.skeleton) == COCO_WHOLEBODY_133


def _drawer(skeleton: Skeleton, options: _Options) -> Draw:
    """Draws a frame's people: bodies where there are some, skeletons of the others."""

    def draw(image: np.ndarray, people: People) -> None:
        if people.body_pose is None:
            return draw_people(image, people, skeleton)
        has_body = np.isfinite(people.body_pose).all((1, 2))
        draw_bodies(image, people[has_body], load_compact(), intrinsics(image.shape[1::-1], options.fov))
        draw_boxes(image, people[has_body])
        draw_people(image, people[~has_body], skeleton)

    return draw


def _finder(
    source: Source, networks: Sequence[Card | str | Path | None], options: _Options, stopwatch: Stopwatch
) -> tuple[Finder, tuple[Card, ...]]:
    """The finder for a source, and the cards of its networks: detector, pose, hands, face."""
    detector, pose, *parts = networks
    is_video = source.kind == "video"
    least = options.threshold / 2 if is_video else options.threshold
    card = pose if isinstance(pose, Card) else card_for(pose)
    if card.task == "one-stage":
        find, estimate = None, OneStage(card, score_threshold=least, device=options.device)
    else:
        known = detector if isinstance(detector, Card) else card_for(detector)
        parts_too = [name for name in known.classes if is_part(name)]
        find = Detector(known, classes=("person", *parts_too), score_threshold=least, device=options.device)
        estimate = PoseEstimator(card, flip_test=options.flip_test, device=options.device)
    skeleton = by_name(card.skeleton)
    hand, face = (part and PoseEstimator(part, device=options.device) for part in parts)
    finder = Finder(
        find,
        estimate,
        skeleton,
        stopwatch,
        tracker=Tracker(skeleton, strong=options.threshold) if is_video else None,
        smoother=Smoother() if is_video and options.smooth == "one-euro" and not options.looks_back else None,
        refine=Refiner(hand, face, skeleton=skeleton) if hand or face else None,
        threshold=options.threshold,
        detect_every=options.detect_every if is_video and find else 1,
    )
    return finder, tuple(network.card for network in (find, estimate, hand, face) if network)


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


def _open(source: str | Path | Sequence[str | Path], realtime: bool) -> Source:
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


def _job(source: Source, cards: Sequence[Card], options: _Options) -> dict[str, object]:
    """What must be the same for an earlier run's rows to count: the source, the networks, the options and this package."""
    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in source.paths]
    networks = [(card.id, Path(card.file).stat().st_size, Path(card.file).stat().st_mtime_ns) for card in cards]
    once = [] if files else [time.time_ns()]  # what a camera saw does not come again
    return {"version": __version__, "files": files or once, "networks": networks, **asdict(options)}
