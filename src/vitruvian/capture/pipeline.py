"""From a source to a Take, streaming: two threads read and write while this one runs the networks, and only the results stay in memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.capture.sinks import FORMATS, Background, Format, Stopwatch, TakeSink, open_sinks
from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import iou
from vitruvian.media import Frame, open_source, prefetch
from vitruvian.people import Smoother, Tracker, believable, without_duplicates
from vitruvian.runtime import Detections, Detector, PoseEstimator
from vitruvian.skeletons import Skeleton, by_name
from vitruvian.take import People, Take
from vitruvian.weights import Card

log = logging.getLogger(__name__)

CHUNK = 8  # frames that go through the networks together
CHUNK_PIXELS = 1 << 25  # or fewer, when they are large: 100 MB of pixels
AHEAD = 6  # frames decoded ahead of the networks


@dataclass(frozen=True)
class Progress:
    """How far a capture is: frames done, of how many (None: unknown; an estimate for videos), people in the newest frame.

    seconds: working time of each stage so far (decode, detect, pose, track, smooth, write, draw, encode). The stages run in three
    threads, so that their sum may exceed the time that has passed.
    """

    frames: int
    total: int | None
    people: int
    seconds: Mapping[str, float]


def capture(
    source: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    detector: Card | str | Path = "person-parts-nano",
    pose: Card | str | Path = "wholebody-t",
    threshold: float = 0.3,
    flip_test: bool = False,
    smooth: bool = True,
    overlay: bool = True,
    formats: Sequence[Format] = ("json",),
    device: Literal["auto", "cpu", "cuda"] = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> Take:
    """Find the people in a video, a picture, a folder or a list of pictures, with ids and keypoints over time.

    source: path of a video or picture, a folder, a glob, or a list of pictures. Pictures are not tracked (track -1) and not smoothed.
    out: folder for the files, made if missing: take.npz, overlay.mp4 (overlay.png for one picture, overlay/ for several), keypoints.json,
    openpose/. None writes nothing.
    detector, pose: id of an embedded network, path of an ONNX file, or card. The result has the keypoint set of the pose network.
    threshold: least score of a detection that counts as a person; in videos, half of it still continues a person seen before.
    flip_test: a second look at mirrored crops, a little better, takes twice as long. smooth: One-Euro filter on videos.
    formats: what is written besides the take. device: where the networks run. on_progress: called after each frame and at the end, in
    this thread.

    Nobody in the picture, or no frame in the video, is a take with zero rows. Ctrl-C ends the capture early: what was found so far is
    written and returned, with `complete` False. Raises MediaError on a source that can't be read, WeightsError on networks, FormatError
    on files that can't be written, VitruvianError on senseless options; then no half-written file stays.
    """
    _check_options(threshold, formats)
    stopwatch = Stopwatch()
    with open_source(source) as opened:
        is_video = opened.kind == "video"
        find = Detector(detector, score_threshold=threshold / 2 if is_video else threshold, device=device)
        estimate = PoseEstimator(pose, flip_test=flip_test, device=device)
        skeleton, cards = by_name(estimate.card.skeleton), (find.card.id, estimate.card.id)
        asked = str(source) if isinstance(source, str | Path) else opened.name
        is_new = out is not None and not Path(out).exists()
        files = [] if out is None else open_sinks(Path(out), opened, asked, skeleton, cards, overlay, formats, stopwatch)
        rows = TakeSink(None if out is None else Path(out) / "take.npz", opened, asked, skeleton, cards)
        tracker = Tracker(skeleton, strong=threshold) if is_video else None
        finder = _Finder(find, estimate, tracker, Smoother() if is_video and smooth else None, skeleton, threshold, stopwatch)
        background = Background([rows, *files])
        try:
            complete = _hand_over(finder.people(opened), background, opened.frame_count, stopwatch, on_progress)
            background.finish(complete)
        except BaseException:
            background.abort()
            if is_new:
                with suppress(OSError):  # it is not empty: what is whole may stay
                    Path(out).rmdir()
            raise
    take, seconds = rows.take, dict(stopwatch.seconds)
    if on_progress:  # once more, as the threads have only now done all their work
        on_progress(Progress(len(take.times), len(take.times), int((take.people.frame == len(take.times) - 1).sum()), seconds))
    log.info("seconds by stage: %s", ", ".join(f"{stage} {spent:.2f}" for stage, spent in seconds.items()))
    return take


def _check_options(threshold: float, formats: Sequence[str]) -> None:
    if not (math.isfinite(threshold) and 0 < threshold <= 1):
        raise VitruvianError(f"the threshold must be over 0 and at most 1, not {threshold}: 0.3 is a good start")
    wrong = [formats] if isinstance(formats, str) else [name for name in formats if name not in FORMATS]
    if wrong:
        raise VitruvianError(f"no list of formats: {wrong[0]!r}; give some of {', '.join(FORMATS)}, in a list")


def _hand_over(
    found: Iterator[tuple[Frame, People]],
    background: Background,
    total: int | None,
    stopwatch: Stopwatch,
    on_progress: Callable[[Progress], None] | None,
) -> bool:
    """Pass every frame and its people on. False when Ctrl-C ended it early; the frames passed on until then are whole."""
    frames = 0
    with closing(found):
        try:
            for frame, people in found:
                background.put(frame, people)
                frames += 1
                if on_progress:
                    on_progress(Progress(frames, total, len(people), dict(stopwatch.seconds)))
        except KeyboardInterrupt:
            log.warning("interrupted after %d frames: what was found so far is kept", frames)
            return False
    return True


class _Finder:
    """Frames in, the people of each frame out: detect, estimate poses, and in videos track and smooth."""

    def __init__(
        self,
        find: Detector,
        estimate: PoseEstimator,
        tracker: Tracker | None,
        smoother: Smoother | None,
        skeleton: Skeleton,
        threshold: float,
        stopwatch: Stopwatch,
    ) -> None:
        self._find, self._estimate, self._tracker, self._smoother = find, estimate, tracker, smoother
        self._skeleton, self._threshold, self._stopwatch = skeleton, threshold, stopwatch

    def people(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, People]]:
        """Every frame with its people, in order. A thread decodes ahead; the networks see several frames at once."""
        with closing(prefetch(self._decoded(frames), AHEAD)) as decoded:
            for chunk in chunks(decoded):
                for frame, people in zip(chunk, self._untracked(chunk), strict=True):
                    yield frame, self._over_time(frame.time, people)

    def _decoded(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, with their time on the stopwatch."""
        iterator = iter(frames)
        while True:
            with self._stopwatch("decode"):
                frame = next(iterator, None)
            if frame is None:
                return
            yield frame

    def _untracked(self, chunk: Sequence[Frame]) -> list[People]:
        """The people of each frame, with poses but without ids."""
        images = [frame.image for frame in chunk]
        with self._stopwatch("detect"):
            found = self._find(images)
        with self._stopwatch("track"):
            found = self._worth_a_pose(chunk, found)
        with self._stopwatch("pose"):
            poses = self._estimate(images, [detections.boxes for detections in found])
        return [_rows(frame.index, detections, *pose) for frame, detections, pose in zip(chunk, found, poses, strict=True)]

    def _worth_a_pose(self, chunk: Sequence[Frame], found: Sequence[Detections]) -> list[Detections]:
        """All strong detections, and those weak ones that may continue a person: near one known, or near a strong one in these frames.

        A weak box within a strong one of its own frame is a part of the same body. Poses are the costly step, so that this pays.
        """
        if self._tracker is None:
            return list(found)
        strong = [detections[detections.scores >= self._threshold].boxes for detections in found]
        nearby = np.concatenate(strong)
        kept = []
        for frame, detections, own in zip(chunk, found, strong, strict=True):
            hopeful = self._tracker.near(frame.time, detections.boxes) | _overlaps(detections.boxes, nearby, 0.2)
            kept.append(detections[(detections.scores >= self._threshold) | (hopeful & ~_overlaps(detections.boxes, own, 0.5))])
        return kept

    def _over_time(self, time: float, people: People) -> People:
        """Each body once; in videos with ids and smooth keypoints."""
        with self._stopwatch("track"):
            if self._tracker:
                people = self._tracker.update(time, people)
            else:
                people = without_duplicates(people[believable(people, self._skeleton)], self._skeleton)
        if self._smoother is None:
            return people
        with self._stopwatch("smooth"):
            return self._smoother.update(time, people)


def chunks(frames: Iterable[Frame], most: int = CHUNK, pixels: int = CHUNK_PIXELS) -> Iterator[list[Frame]]:
    """The frames in lists of at most `most` frames, or fewer once they have `pixels` pixels together."""
    chunk: list[Frame] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == most or sum(one.image.size // 3 for one in chunk) >= pixels:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _overlaps(boxes: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "m 4"], least: float) -> Bool[np.ndarray, " n"]:
    """Which boxes overlap one of the others by more than `least` (intersection over union)."""
    return (iou(boxes, others) > least).any(axis=1)


def _rows(index: int, detections: Detections, keypoints: Float[np.ndarray, "n k 2"], scores: Float[np.ndarray, "n k"]) -> People:
    """One frame's rows. Raw scores may exceed 1; a keypoint without a score was not found, and its place means nothing."""
    found = scores > 0
    return People(
        frame=np.full(len(detections), index),
        track=np.full(len(detections), -1),
        boxes=detections.boxes,
        scores=detections.scores,
        keypoints=np.where(found[..., None], keypoints, np.nan),
        confidence=np.where(found, np.minimum(scores, 1.0), 0.0),
    )
