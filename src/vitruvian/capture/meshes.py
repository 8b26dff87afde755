"""A capture by a network for meshes: everybody's body in one pass over each frame, no detector, then tracked and smoothed over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitruvian.body.model import BodyModel
from vitruvian.capture.bodies import field_of_view_of
from vitruvian.capture.finder import Finder, Found
from vitruvian.capture.run import Device, Options, Plan, Progress, Smooth, Step, carry_out, open_for_capture
from vitruvian.capture.sinks import Draw, Format, Stopwatch, check_formats
from vitruvian.codecs.mesh import SeenBodies, pixels
from vitruvian.draw.mesh import draw_bodies
from vitruvian.draw.overlay import draw_boxes
from vitruvian.errors import VitruvianError
from vitruvian.geometry.camera import pinhole
from vitruvian.media.live import Live
from vitruvian.people import Tracker
from vitruvian.people.filters import nominal_step
from vitruvian.people.offline import Smoothing, fill_rows, smooth_series
from vitruvian.people.pieces import pieces_of
from vitruvian.runtime.mesh import MeshEstimator
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import People, Take
from vitruvian.weights import Card

POSE, PLACE, DEPTH = Smoothing(cutoff=5.0), Smoothing(cutoff=6.0), Smoothing(cutoff=1.5)
"""How rotations, directions and depth are smoothed: of one picture depth is the least sure, and people change it slowly [ours]."""


def capture_meshes(
    source: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    network: Card | str | Path,
    threshold: float = 0.3,
    smooth: Smooth = "one-euro",
    fov: float | None = None,
    overlay: bool = True,
    formats: Sequence[Format] = ("json",),
    device: Device = "auto",
    on_progress: Callable[[Progress], None] | None = None,
) -> Take:
    """`capture` with a network for meshes: bodies, and with them boxes, 133 keypoints and points, all of one take.

    network: id of a network for meshes (Multi-HMR, AiOS, OSX, PyMAF-X, DaNet), path of its ONNX file, or card; those that see one person
    each get their people from our detector. smooth: "none", or else zero-phase over the whole video.
    Everything else, files, resuming and errors are as for `capture`. Cameras and streams can't be captured in this way.
    """
    check_formats(formats)
    stopwatch = Stopwatch()
    with open_for_capture(source, realtime=False) as opened:
        if isinstance(opened, Live):
            raise VitruvianError(f"{opened.name} can't be seen twice, as meshes need it: capture it without --mesh-network")
        view, fov_source = field_of_view_of(opened) if fov is None else (fov, "given")
        options = Options(threshold, smooth, True, view, device)
        least = threshold / 2 if opened.kind == "video" else threshold
        estimator = MeshEstimator(network, score_threshold=least, device=device)
        finder = MeshFinder(estimator, stopwatch, options, opened.kind == "video")

        def named(take: Take, _: Callable[[int, int], None]) -> Take:
            return replace(take, space="camera", body=estimator.body.name, fov=options.fov, fov_source=fov_source)

        def smoothed(take: Take, on_rows: Callable[[int, int], None]) -> Take:
            with stopwatch("smooth"):
                return smooth_bodies(take, estimator, on_rows)

        rows = {"threshold": threshold, "device": device, "fov": options.fov}  # where people are in depth depends on the field of view
        steps: tuple[Step, ...] = (named,) if smooth == "none" else (named, smoothed)
        plan = Plan(finder, estimator.cards, rows, _drawer(estimator.body, options.fov) if overlay else None, steps)
        asked = str(source) if isinstance(source, str | Path) else opened.name
        return carry_out(plan, opened, asked, None if out is None else Path(out), formats, stopwatch, on_progress)


class MeshFinder(Finder):
    """A finder whose people come from a network for meshes, with their bodies."""

    def __init__(self, estimator: MeshEstimator, stopwatch: Stopwatch, options: Options, is_video: bool) -> None:
        tracker = Tracker(COCO_WHOLEBODY_133, strong=options.threshold) if is_video else None
        super().__init__(None, estimator, COCO_WHOLEBODY_133, stopwatch, tracker=tracker, smoother=None, threshold=options.threshold)
        self._fov = options.fov

    def _untracked(self, chunk: Sequence[Found]) -> list[People]:
        images = [frame.image for frame, _ in chunk]
        cameras = [pinhole(np.array(image.shape[1::-1]), self._fov) for image in images]
        with self._stopwatch("mesh"):
            found = self._estimate(images, cameras)
        return [people_of(frame.index, bodies) for (frame, _), bodies in zip(chunk, found, strict=True)]


def people_of(index: int, bodies: SeenBodies) -> People:
    """One frame's people. A keypoint is as sure as its person, and outside the picture not seen."""
    count = len(bodies)
    return People(
        frame=np.full(count, index),
        track=np.full(count, -1),
        boxes=bodies.boxes,
        scores=bodies.scores,
        keypoints=bodies.keypoints,
        confidence=np.where(bodies.inside, np.minimum(bodies.scores, 1.0)[:, None], 0.0),
        points=bodies.points,
        body_pose=bodies.parameters.pose,
        body_shape=bodies.parameters.shape,
        body_expression=bodies.parameters.expression,
        body_translation=bodies.parameters.translation,
    )


def smooth_bodies(take: Take, estimator: MeshEstimator, on_rows: Callable[[int, int], None] | None = None) -> Take:
    """The take with each track's bodies smooth over time, one shape per track, and keypoints and points as these bodies have them.

    Frames in which somebody is missing for a moment get a body in between. Rows without a track pass unchanged.
    on_rows: called with the number of rows done, and of all.
    """
    take = fill_rows(take, POSE.max_gap)
    columns = {name: column.copy() for name, column in take.people.columns().items()}
    done = 0
    for rows in pieces_of(take):
        people = take.people[rows]
        if people.track[0] >= 0 and np.isfinite(people.body_pose).all((1, 2)).any():
            _smooth_piece(columns, rows, take, estimator)
        done += len(rows)
        if on_rows:
            on_rows(done, len(take.people))
    return replace(take, people=People(**columns))


def _smooth_piece(columns: dict[str, np.ndarray], where: np.ndarray, take: Take, estimator: MeshEstimator) -> None:
    """Smooth one person's rows, in place."""
    from scipy.spatial.transform import Rotation

    frames, first = np.unique(take.people.frame[where], return_index=True)
    where = where[first]
    people, times, step = take.people[where], take.times[frames], nominal_step(take.times)
    seen, count = np.isfinite(people.body_pose).all((1, 2)), people.body_pose.shape[1]
    sure = people.scores.astype(np.float64)

    def smoothed(values: np.ndarray, rule: Smoothing) -> np.ndarray:
        lanes = np.repeat(seen[:, None], values.shape[1], 1)
        return smooth_series(times, values, np.repeat(sure[:, None], values.shape[1], 1), lanes, rule, step)[0]

    turns = np.tile(np.eye(3), (len(where), count, 1, 1))
    turns[seen] = Rotation.from_rotvec(people.body_pose[seen].reshape(-1, 3)).as_matrix().reshape(-1, count, 3, 3)
    pose = smoothed(turns.reshape(len(where), 3 * count, 3), POSE).reshape(-1, 3, 3)
    pose = Rotation.from_matrix(pose).as_rotvec().reshape(len(where), count, 3)  # the rotation nearest to the mean of rotations
    place = np.where(seen[:, None], people.body_translation, np.nan).astype(np.float64)
    ray = smoothed((place[:, :2] / place[:, 2:])[:, None], PLACE)[:, 0]
    depth = np.exp(smoothed(np.log(place[:, 2:])[:, None], DEPTH)[:, 0])
    translation = np.concatenate([ray * depth, depth], 1)
    known = np.isfinite(translation).all(1)
    shape, expression = np.median(people.body_shape[seen], 0), np.nan_to_num(people.body_expression)
    posed = estimator.body.forward(pose[known], np.tile(shape, (int(known.sum()), 1)), expression[known], translation[known])
    points = estimator.points(posed.vertices, posed.joints)
    camera = pinhole(take.sizes[frames[0]], take.fov)
    new = {"body_pose": pose, "body_shape": np.tile(shape, (len(where), 1)), "body_expression": expression, "body_translation": translation}
    for name, values in new.items():
        columns[name][where[known]] = values[known]
    columns["points"][where[known]], columns["keypoints"][where[known]] = points, pixels(points, camera)
    shown = _inside(columns["keypoints"][where], take.sizes[frames[0]])
    columns["confidence"][where] = np.where(shown & known[:, None], np.minimum(people.scores, 1.0)[:, None], 0.0)


def _inside(keypoints: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Which keypoints a picture of `size` shows."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(keypoints).all(-1) & (keypoints > -0.5).all(-1) & (keypoints < size - 0.5).all(-1)


def _drawer(body: BodyModel, fov: float) -> Draw:
    """Draws a frame's bodies."""

    def draw(image: np.ndarray, people: People) -> None:
        draw_bodies(image, people, body, pinhole(np.array(image.shape[1::-1]), fov))
        draw_boxes(image, people)

    return draw
