"""From a source to a Take, streaming: other threads read and write while this one runs the networks, and memory stays flat."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from vitruvian.body.compact import load_compact
from vitruvian.capture.bodies import add_bodies, field_of_view_of
from vitruvian.capture.finder import Finder
from vitruvian.capture.lens import View
from vitruvian.capture.run import Device, Options, Plan, Progress, Smooth, Source, Step, carry_out, open_for_capture
from vitruvian.capture.sinks import Draw, Format, Stopwatch, check_formats
from vitruvian.draw.mesh import draw_bodies
from vitruvian.draw.overlay import draw_boxes, draw_people
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import pinhole
from vitruvian.media.live import Live
from vitruvian.people import (
    Refiner,
    Smoother,
    Tracker,
    choose_places,
    is_part,
    merge_twins,
    presets,
    repair_swaps,
    smooth_take,
    without_doubtful_tracks,
)
from vitruvian.runtime import Detector, OneStage, PoseEstimator
from vitruvian.runtime.lift import Lifter
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton
from vitruvian.take import People, Take
from vitruvian.weights import Card, card_for

log = logging.getLogger(__name__)

LOOKS = 10.0
"""Looks of the detector per second of a film that are enough: when it saw a third of a real film's 30, keypoints moved by 0.4 % of people's
height in the median, 1.8 % at 90 % (a script that was not kept)."""
SHAPING_ROWS = ("threshold", "detect_every", "flip_test", "device")
"""Options that decide what is found in a frame; the others only shape what is made of it later."""


def capture(
    source: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    detector: Card | str | Path = "person-parts-s",
    pose: Card | str | Path = "wholebody-s",
    hands: Card | str | Path | None = None,
    face: Card | str | Path | None = None,
    threshold: float = 0.3,
    detect_every: int | None = None,
    flip_test: bool | None = None,
    smooth: Smooth | None = None,
    choose: bool | None = None,
    repair_swaps: bool = False,
    mesh: bool = True,
    lift: Card | str | Path = "lift-s",
    text: str = "",
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
    detect_every: in videos, the detector sees only every n-th frame, and boxes move in straight lines between: faster. None: about `LOOKS`
    times per second, between which nobody gets far.
    flip_test: a second look at mirrored crops: better, and twice the time. None: at pictures, not at videos.
    smooth: "one-euro" knows only the past; "kalman" and "butterworth" also look ahead, don't lag, and fill short gaps; "none". None:
    "kalman" in videos that must be known as a whole for what else is asked, as for bodies; else "one-euro".
    choose: where the network sees a joint of a leg or an arm in two places, take the one that fits the frames before and after
    (`people.choose`). None: in videos that must be known as a whole for what else is asked. repair_swaps: undo exchanges of left and right
    over time. Where the whole video must be known, it is read once more for the overlay.
    mesh: lift the keypoints into space and fit bodies: points and body parameters in the take, meshes in the overlay, and bodies.glb,
    skeleton.bvh and markers.trc. Needs a pose network of the 133 points; nothing is done for others, nor for cameras and streams.
    lift: the network for it. fov: degrees that the camera sees across the picture's longer side; None takes it from the EXIF of
    photographs, estimates it by the people in a film if they tell enough, and else assumes 60; metres are as uncertain as that.
    text: what people do, for a lifter that was exported with texts (FinePOSE).
    ground: in films of a camera that stands still, hold resting feet where they are, on one floor.
    realtime: play a video at its own pace and leave out frames that come too early, as cameras and streams always do.
    device: where the networks run. on_progress: called after each frame, each person's bodies, each frame drawn, and at the end, in this
    thread.

    Nobody in the picture, or no frame in the video, is a take with zero rows. A capture into a folder that was killed goes on where it was
    when it is started again with the same source, networks and options, and ends with the same take. Ctrl-C ends it early: what was found
    so far is written and returned, with `complete` False; after the last frame, bodies or overlay are left out. Files that an earlier
    capture left in `out` are replaced, or removed where this one has none of the name, once the new ones are whole. Raises MediaError on a
    source that can't be read, WeightsError on networks, FormatError on files that can't be written, VitruvianError on senseless options,
    MissingExtraError on formats without their package; then no half-written file stays.
    """
    check_formats(formats)
    stopwatch = Stopwatch()
    with open_for_capture(source, realtime) as opened:
        mesh = mesh and not isinstance(opened, Live) and _has_points(pose)
        view = View(*field_of_view_of(opened)) if fov is None else View(fov, "given")
        flip_test = opened.kind == "pictures" if flip_test is None else flip_test
        detect_every = _looks(opened) if detect_every is None else detect_every
        if smooth is None:
            smooth = "kalman" if opened.kind == "video" and (mesh or choose or repair_swaps) else "one-euro"
        options = Options(threshold, smooth, mesh, view.fov, device, detect_every, flip_test, repair_swaps, ground, bool(choose))
        if choose is None and opened.kind == "video":
            options = replace(options, choose=options.looks_back)
        if options.looks_back and isinstance(opened, Live):
            raise VitruvianError(f"{opened.name} can't be seen twice: smooth it with one-euro, and repair no swaps")
        lifter = Lifter(lift, text=text, device=device) if mesh else None
        finder, cards = _finder(opened, (detector, pose, hands, face), options, stopwatch)
        rows = {"smoothed": finder.smoother is not None} | {name: getattr(options, name) for name in SHAPING_ROWS}
        steps: list[Step] = []
        if options.looks_back:
            if mesh or smooth != "none":  # else one of several cameras: the others know as well who is somebody
                steps.append(lambda take, _: without_doubtful_tracks(merge_twins(take), threshold))
            steps.append(partial(_corrected, options=options))
        if lifter:
            steps.append(partial(_with_bodies, options=options, view=view, lifter=lifter, stopwatch=stopwatch))
        plan = Plan(finder, cards, rows, _drawer(finder.skeleton, view) if overlay else None, tuple(steps))
        asked = str(source) if isinstance(source, str | Path) else opened.name
        return carry_out(plan, opened, asked, None if out is None else Path(out), formats, stopwatch, on_progress)


def _looks(source: Source) -> int:
    """The usual number of frames from one look of the detector to the next. Live sources leave out frames as it is."""
    return max(1, round(source.fps / LOOKS)) if source.kind == "video" and not isinstance(source, Live) else 1


def _corrected(take: Take, _: Callable[[int, int], None], options: Options) -> Take:
    """The take with joints where the whole video has them: chosen among two places, left and right repaired, smooth."""
    if options.choose:
        take = choose_places(take)
    if options.repair_swaps:
        take, report = repair_swaps(take)
        log.info("%d stretches with left and right exchanged were repaired", len(report.swaps))
    if options.smooth != "none" and len(take.tracks):
        take = smooth_take(take, presets(options.smooth))
    return take


def _with_bodies(
    take: Take, on_rows: Callable[[int, int], None], options: Options, view: View, lifter: Lifter, stopwatch: Stopwatch
) -> Take:
    """The take with everybody's body."""
    on_rows(0, len(take.people))
    with stopwatch("bodies"):
        view.ask(take)
        return replace(add_bodies(take, lifter, view.fov, options.ground, on_rows), fov_source=view.source, fov_spread=view.spread)


def _has_points(pose: Card | str | Path) -> bool:
    """Whether a pose network finds the points that bodies are made from."""
    card = pose if isinstance(pose, Card) else card_for(pose)
    return card.keypoint_set is COCO_WHOLEBODY_133


def _drawer(skeleton: Skeleton, view: View) -> Draw:
    """Draws a frame's people: bodies where there are some, as wide as the camera is known to see by then; skeletons of the others."""

    def draw(image: np.ndarray, people: People) -> None:
        if people.body_pose is None:
            return draw_people(image, people, skeleton)
        has_body = np.isfinite(people.body_pose).all((1, 2))
        draw_bodies(image, people[has_body], load_compact(), pinhole(image.shape[1::-1], view.fov))
        draw_boxes(image, people[has_body])
        draw_people(image, people[~has_body], skeleton)

    return draw


def _finder(
    source: Source, networks: Sequence[Card | str | Path | None], options: Options, stopwatch: Stopwatch
) -> tuple[Finder, tuple[Card, ...]]:
    """The finder for a source, and the cards of its networks: detector, pose, hands, face."""
    detector, pose, *parts = networks
    is_video = source.kind == "video"
    smooths = is_video and options.smooth == "one-euro" and not options.looks_back
    least = options.threshold / 2 if is_video else options.threshold
    card = pose if isinstance(pose, Card) else card_for(pose)
    if card.task == "one-stage":
        find, estimate = None, OneStage(card, score_threshold=least, device=options.device)
    else:
        known = detector if isinstance(detector, Card) else card_for(detector)
        parts_too = [name for name in known.classes if is_part(name)]
        find = Detector(known, classes=("person", *parts_too), score_threshold=least, device=options.device)
        estimate = PoseEstimator(card, flip_test=options.flip_test, second=is_video and not smooths, device=options.device)
    skeleton = card.keypoint_set
    hand, face = (part and PoseEstimator(part, device=options.device) for part in parts)
    finder = Finder(
        find,
        estimate,
        skeleton,
        stopwatch,
        tracker=Tracker(skeleton, strong=options.threshold) if is_video else None,
        smoother=Smoother() if smooths else None,
        refine=Refiner(hand, face, skeleton=skeleton) if hand or face else None,
        threshold=options.threshold,
        detect_every=options.detect_every if is_video and find else 1,
    )
    return finder, tuple(network.card for network in (find, estimate, hand, face) if network)
