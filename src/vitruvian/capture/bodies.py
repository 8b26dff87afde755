"""From tracked keypoints to bodies: lifted into space, fitted to what the camera saw, smooth over time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from vitruvian.body.compact import load_compact
from vitruvian.body.fit import FitResult, fit_points
from vitruvian.body.fitting.views import fit_keypoints
from vitruvian.body.ground import FEET, contacts, corrections, fit_ground, upright
from vitruvian.body.model import BodyParameters
from vitruvian.geometry.camera import pinhole
from vitruvian.geometry.focal import USUAL_FOV
from vitruvian.media.exif import field_of_view
from vitruvian.media.pictures import Pictures, picture_size
from vitruvian.people.filters import nominal_step
from vitruvian.people.offline import Smoothing, smooth_series
from vitruvian.people.pieces import pieces_of
from vitruvian.runtime.lift import Lifter
from vitruvian.skeletons import COCO_WHOLEBODY_133
from vitruvian.take import FovSource, People, Take

log = logging.getLogger(__name__)

CLOSE_FACE = 80.0
"""Pixels from brow to chin from which on a face shows an expression: in smaller ones the keypoints' errors are as large as smiles."""

ASSUMED_FOV = USUAL_FOV
"""Degrees across the picture's longer side where nothing else is known: telephones have 55 to 75."""

_SAME_LENS = 2.0  # degrees
_POINTS_SIGMA, _TRIANGULATED_SIGMA = 0.06, 0.03  # metres: how far lifted and triangulated points may be off
_EXPRESSIONS = Smoothing(cutoff=5.0)
_FACE_WEIGHT = 0.3  # of its 68 points each, which would outvote the body


def field_of_view_of(source: Pictures | object) -> tuple[float, FovSource]:
    """Degrees across the longer side of photographs whose EXIF says so (their median), else ASSUMED_FOV; and which of them."""
    known = []
    for path in source.paths if isinstance(source, Pictures) else ():
        size = picture_size(path)
        known.append(size and field_of_view(path, size))
    known = [view for view in known if view]
    if not known:
        return ASSUMED_FOV, "assumed"
    if max(known) - min(known) > _SAME_LENS:
        log.warning("the photographs were taken with lenses of %.0f to %.0f degrees: all count as the median", min(known), max(known))
    return float(np.median(known)), "exif"


def add_bodies(
    take: Take, lifter: Lifter, fov: float = ASSUMED_FOV, ground: bool = False, on_rows: Callable[[int, int], None] | None = None
) -> Take:
    """The take with points and compact bodies in metres, in the camera's frame (space "camera").

    A track is lifted and fitted as one person over time, in pieces where it is out of sight for longer than half a second. Rows without
    a track are people of pictures, each by itself. Rows with too few sure keypoints get NaN. Keypoints must be the 133 of
    COCO-WholeBody. ground: the camera stands still, so feet that rest in the picture are held where they are, on one floor.
    on_rows: called with the number of rows done, and of all.
    """
    columns = _columns(take, partial(_fitted, lifter=lifter, fov=fov), on_rows)
    if len(take.people) and np.isnan(columns["body_translation"]).all():
        log.warning("nobody got a body: the keypoints are too unsure, or what %s makes of them is no person", lifter.card.id)
    if ground:
        _put_on_ground(take, columns)
    cards = take.cards if lifter.card.id in take.cards else (*take.cards, lifter.card.id)
    return replace(take, people=replace(take.people, **columns), space="camera", body=load_compact().name, fov=fov, cards=cards)


def add_bodies_to_points(take: Take, on_rows: Callable[[int, int], None] | None = None) -> Take:
    """The take of several cameras with compact bodies in its world, fitted to its points, which stay as they are.

    Each person has one shape and moves smoothly; frames without points in the middle of a piece get a body in between. Keypoints must be
    the 133 of COCO-WholeBody. on_rows: as of `add_bodies`.
    """
    columns = _columns(take, _fitted_to_points, on_rows)
    del columns["points"]
    return replace(take, people=replace(take.people, **columns), body=load_compact().name)


def _columns(
    take: Take, fitted: Callable[[Take, np.ndarray], FitResult | None], on_rows: Callable[[int, int], None] | None
) -> dict[str, np.ndarray]:
    """Points and bodies of all rows, from what is fitted to the pieces of each person; NaN where nothing can be said."""
    people, model = take.people, load_compact()
    columns = {
        "points": np.full((len(people), len(COCO_WHOLEBODY_133), 3), np.nan, np.float32),
        "body_pose": np.full((len(people), model.num_joints, 3), np.nan, np.float32),
        "body_shape": np.full((len(people), model.num_shape), np.nan, np.float32),
        "body_expression": np.full((len(people), model.num_expression), np.nan, np.float32),
        "body_translation": np.full((len(people), 3), np.nan, np.float32),
    }
    done = 0
    for rows in pieces_of(take):
        found = fitted(take, rows)
        if found is not None:
            columns["points"][rows] = found.points
            columns["body_pose"][rows] = found.parameters.pose
            columns["body_shape"][rows] = found.parameters.shape
            columns["body_expression"][rows] = found.parameters.expression
            columns["body_translation"][rows] = found.parameters.translation
        done += len(rows)
        if on_rows:
            on_rows(done, len(people))
    return columns


def _fitted(take: Take, rows: np.ndarray, lifter: Lifter, fov: float) -> FitResult | None:
    """The bodies of one person's rows; None where nothing can be said."""
    people, size = take.people[rows], take.sizes[take.people.frame[rows[0]]]
    camera = pinhole(size, fov)
    times = take.times[people.frame]
    confidence = _trusted(people)
    lifted = lifter(people.keypoints, confidence, times, camera, size)
    if not lifted.known.any():
        return None
    if lifted.body is None:  # the fit starts from the points, and has none elsewhere
        confidence[~lifted.known] = 0
    face = COCO_WHOLEBODY_133.parts["face"]
    shown, y = confidence[:, face] > 0, people.keypoints[:, face, 1]
    tall = (np.where(shown, y, -np.inf).max(1) - np.where(shown, y, np.inf).min(1))[shown.any(1)]
    close = bool(len(tall)) and np.median(tall) >= CLOSE_FACE
    confidence[:, face] *= _FACE_WEIGHT
    found = fit_keypoints(
        load_compact(),
        people.keypoints[:, None],
        camera[None],
        confidence=confidence[:, None],
        points=lifted.points,
        points_sigma=_POINTS_SIGMA,
        start=None if lifted.body is None else _filled(lifted.body, lifted.known),
        times=times if len(rows) > 1 else None,
        expression=close,
        iterations=6,
    )
    return _calm(found, times, nominal_step(take.times)) if close and len(rows) > 1 else found


def _calm(found: FitResult, times: Float[np.ndarray, " t"], step: float) -> FitResult:
    """The bodies of a film with expressions that don't flicker."""
    values = found.parameters.expression
    calm, _ = smooth_series(times, values[:, :, None].astype(float), np.ones(values.shape), np.isfinite(values), _EXPRESSIONS, step)
    return replace(found, parameters=replace(found.parameters, expression=np.clip(calm[..., 0], 0, 1).astype(np.float32)))


def _fitted_to_points(take: Take, rows: np.ndarray) -> FitResult:
    """The bodies of one person's rows of a take in space."""
    people, times = take.people[rows], take.times[take.people.frame[rows]]
    confidence = np.where(np.isfinite(people.points).all(-1), people.confidence, 0.0)
    confidence[:, COCO_WHOLEBODY_133.parts["face"]] *= _FACE_WEIGHT
    return fit_points(
        load_compact(), people.points, confidence=confidence, sigma=_TRIANGULATED_SIGMA, times=times if len(rows) > 1 else None,
        expression=False,
    )  # fmt: skip


def _put_on_ground(take: Take, columns: dict[str, np.ndarray]) -> None:
    """Move the tracked persons so that their resting feet stand still on one floor; in place. Nothing where no foot rests."""
    points, up = columns["points"], upright(columns["points"])
    tracks = [np.flatnonzero((take.people.track == track) & np.isfinite(points[:, 0, 0])) for track in take.tracks]
    tracks = [rows[np.argsort(take.people.frame[rows], kind="stable")] for rows in tracks]
    seconds = [take.times[take.people.frame[rows]] for rows in tracks]
    resting = [contacts(points[rows], times, up) for rows, times in zip(tracks, seconds, strict=True)]
    feet = [points[rows][:, FEET][rest] for rows, rest in zip(tracks, resting, strict=True)]
    if not sum(map(len, feet)):
        log.warning("no foot rests: there is no ground to put the people on")
        return
    floor = fit_ground(np.concatenate(feet).astype(float), up)
    for rows, times, rest in zip(tracks, seconds, resting, strict=True):
        steps = corrections(points[rows], times, rest, floor).astype(np.float32)
        columns["points"][rows] += steps[:, None]
        columns["body_translation"][rows] += steps


def _trusted(people: People) -> Float[np.ndarray, "n k"]:
    """Confidence, 0 where there is no keypoint."""
    return np.where(np.isfinite(people.keypoints).all(-1), people.confidence, 0.0)


def _filled(body: BodyParameters, known: Bool[np.ndarray, " t"]) -> BodyParameters:
    """The body of every frame: where nothing is known, that of the nearest frame that is."""
    rows, frames = np.flatnonzero(known), np.arange(len(known))
    nearest = rows[np.abs(rows[:, None] - frames).argmin(0)]
    return BodyParameters(*(values[nearest] for values in (body.pose, body.shape, body.expression, body.translation)))
