"""Takes of several calibrated cameras put together to one in the world: no video, no network, only what was seen.

common clock -> who is who -> which side is left -> triangulation -> limbs of one length -> gaps and smoothing

    combined = combine(takes, cameras)          # combined.take: points (N, K, 3) metres, y up
    view = seen_by(combined.take, combined.cameras[0])
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.errors import VitruvianError
from vitruvian.geometry.boxes import enclosing
from vitruvian.geometry.camera import Axis, Camera, fitted, moved, project, undistort, up_axis, y_up
from vitruvian.geometry.follow import follow
from vitruvian.geometry.limbs import limbs_of, with_steady_limbs
from vitruvian.geometry.match import SEEN
from vitruvian.geometry.settle import bones_of, settled
from vitruvian.geometry.sides import exchanged_sides
from vitruvian.geometry.synchronise import synchronise, vertical_speeds
from vitruvian.geometry.triangulate import Triangulation, put, reprojection_errors, taken, triangulate
from vitruvian.people.filters import nominal_step
from vitruvian.people.offline import Method, Smoothing, presets, smooth_take
from vitruvian.skeletons import Skeleton
from vitruvian.take import People, Take

log = logging.getLogger(__name__)

LIMIT_SHARE = 0.01
"""Of a picture's longer side: how far a camera may be off a point and still agree with it, 19 pixels in full HD."""
_OUTLIERS = 5.0  # robust standard deviations: two cameras that are wrong alike make a jump, not noise
_MOVERS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
_SIZES = (0.2, 1.2)  # metres from the middle of a body to its median point: half a metre or so for a man who stands
_BRIEF, _FILM = 3, 12  # rows that nobody has fewer of, in films of so many frames: two cameras agree on a nonsense now and then
_HIPS, _LEGS, _ARMS = ("hip", "ASIS", "PSIS"), ("knee", "ankle", "toe", "heel", "calc", "5meta"), ("shoulder", "elbow", "wrist")
_LONG = 0.5  # seconds that somebody must be in a film to set its clock
_CONTRADICTION, _TELLS = 0.1, 0.2  # seconds between what pairs of films say, and the correlation from which they are asked
_AGREEMENT = 0.25  # share of sure points; a weak network on a real film has 0.31, the same with films exchanged 0.08 to 0.23
_SHAPE_WARNING = 0.002  # of an aspect ratio
_STRAIGHT = 0.85  # of a body's direction along one axis
_ALIKE = 1.02  # between the rates of cameras that are said to have the same


@dataclass(frozen=True, eq=False)
class Combined:
    """take: people in the world, y up, metres. cameras: in this world, sized as the pictures; c of them. offsets: (c,) seconds.

    Of the N rows of `take` before gaps were filled, `rows` (N,) says which of its rows they are now. measured: (c, N, K, 2) pixels, with
    sides as agreed, NaN where not seen. error: (c, N, K) pixels from there to the raw triangulated point. used: (c, N, K) which cameras
    it came from.
    """

    take: Take
    cameras: tuple[Camera, ...]
    offsets: Float[np.ndarray, " c"]
    rows: Int[np.ndarray, " n"]
    measured: Float[np.ndarray, "c n k 2"]
    error: Float[np.ndarray, "c n k"]
    used: Bool[np.ndarray, "c n k"]


def combine(
    takes: Sequence[Take],
    cameras: Sequence[Camera],
    *,
    offsets: Sequence[float] | None = None,
    up: Axis | None = None,
    min_views: int = 2,
    max_error: float | None = None,
    smooth: Method = "kalman",
) -> Combined:
    """One take from those of c cameras that filmed the same people.

    takes: unsmoothed ones are best. offsets: seconds to add to each take's times to have the first one's clock; None: they began together.
    Times are those of the camera with the most frames per second (of several the longest film), and go on at its rate as long as two films
    do; the others are interpolated between frames.
    up: which axis of the calibration points up; None takes the one above upright cameras. min_views: cameras that must agree on a point.
    max_error: pixels; None takes 1 % of the longer side of the pictures. smooth: of the points, see `people.offline`; "none" only fills
    gaps.

    Rows have boxes of 0 and keypoints of NaN, as there is no one picture; confidence is the mean over the cameras that count, scores are
    the mean of the boxes'. Whom only one camera sees is left out, and who is far smaller or larger than people are, or there for a frame
    or two only.
    Raises VitruvianError where takes, cameras and options don't fit, or options make no sense.
    """
    if len(takes) != len(cameras) or len(takes) < 2:
        raise VitruvianError(f"{len(takes)} takes and {len(cameras)} cameras: give two or more, as many of each")
    check_options(len(takes), offsets=offsets, up=up, min_views=min_views, max_error=max_error, smooth=smooth)
    check_skeletons([take.skeleton.name for take in takes])
    offsets = _given(offsets, len(takes))
    cameras = tuple(sized(camera, take.sizes, take.source) for camera, take in zip(cameras, takes, strict=True))
    turn = y_up(up or up_axis(cameras))
    cameras = tuple(moved(camera, turn) for camera in cameras)
    skeleton = takes[0].skeleton
    times, views = on_one_clock(takes, offsets)
    limit = max_error or limit_of(cameras)
    ids = identities(views, cameras, times, skeleton, limit)
    keys, measured, confidence, scores = gathered(views, ids, len(skeleton))
    measured, confidence = _agreed_sides(cameras, skeleton, keys, measured, confidence)
    found = _triangulated(cameras, skeleton, keys, measured, confidence, min_views, limit)
    kept = _are_people(found.points, keys, body_points(skeleton), _BRIEF if len(times) >= _FILM else 1)
    keys, measured, points, used = keys[kept], measured[:, kept], found.points[kept], found.used[:, kept]
    _doubt(views, used, body_points(skeleton), cameras)
    _doubt_axis(points, skeleton, up, cameras, turn)
    people = People(
        frame=keys[:, 0],
        track=_renumbered(keys[:, 1]),
        boxes=np.zeros((len(keys), 4)),
        scores=np.nanmean(scores[:, kept], axis=0) if len(keys) else np.zeros(0),
        keypoints=np.full((len(keys), len(skeleton), 2), np.nan),
        confidence=found.confidence[kept],
        points=points,
    )
    take = Take(
        people, skeleton, times, np.zeros((len(times), 2)), (),
        ", ".join(dict.fromkeys(take.source for take in takes if take.source)),
        tuple(dict.fromkeys(card for take in takes for card in take.cards)),
        complete=all(take.complete for take in takes), space="world",
    )  # fmt: skip
    smoothed = smooth_take(take, _rules(smooth))
    return Combined(smoothed, cameras, offsets, _rows_in(smoothed, people), measured, reprojection_errors(cameras, points, measured), used)


def _rules(smooth: Method) -> dict[str, Smoothing]:
    """How points are smoothed, by parts; gaps are filled in any case."""
    return {part: replace(rule, outliers=0.0 if smooth == "none" else _OUTLIERS) for part, rule in presets(smooth).items()}


def seen_by(take: Take, camera: Camera) -> Take:
    """A world take as a camera sees it: keypoints are projected points, boxes lie around those inside the picture, sizes are the camera's.

    Persons with no point in the picture are left out. Points stay as they are.
    """
    if take.people.points is None or take.space != "world":
        raise VitruvianError("this take has no points in the world: combine the takes of several cameras first")
    width, height = camera.size
    keypoints = project(camera, take.people.points)
    inside = np.isfinite(keypoints).all(-1)
    if width and height:
        inside &= ((keypoints >= -0.5) & (keypoints <= np.array([width, height]) - 0.5)).all(-1)
    boxes = enclosing(np.nan_to_num(keypoints), inside)
    confidence = np.where(inside, take.people.confidence, 0.0)
    people = replace(take.people, keypoints=np.where(inside[..., None], keypoints, np.nan), boxes=boxes, confidence=confidence)
    return replace(take, people=people[inside.any(-1)], sizes=np.tile(np.array(camera.size), (len(take.times), 1)))


def clocks(takes: Sequence[Take], max_offset: float = 10.0) -> Float[np.ndarray, " c"]:
    """Seconds to add to each take's times to have the first one's clock, from how wrists and ankles move (`geometry.synchronise`).

    Raises VitruvianError where a film has nobody whose motion tells, or pairs of films contradict each other.
    """
    speeds = []
    for take in takes:
        points = [take.skeleton.index(name) for name in _MOVERS if name in take.skeleton.names]
        each = []
        for track in take.tracks:
            people = take.people.of(track)
            frames, first = np.unique(people.frame, return_index=True)
            if len(frames) < 4 or np.ptp(take.times[frames]) < _LONG:
                continue
            heights = np.full((len(take.times), len(points)), np.nan)
            sure = people.confidence[first][:, points] > 0.2
            heights[frames] = np.where(sure, people.keypoints[first][:, points, 1], np.nan)
            size = float(np.median(people.boxes[:, 3] - people.boxes[:, 1]))
            each.append(vertical_speeds(take.times, heights, size))
        speeds.append(each)
    found = synchronise([take.times for take in takes], speeds, max_offset)
    if np.isnan(found.offsets).any():
        lost = int(np.flatnonzero(np.isnan(found.offsets))[0])
        raise VitruvianError(f"film {lost + 1} can't be synchronised by motion: too little moves in it; give the offsets in seconds")
    apart = np.abs(found.offsets[:, None] - found.offsets[None] - found.shifts)[found.correlation > _TELLS]
    if apart.max(initial=0.0) > _CONTRADICTION:
        raise VitruvianError(
            f"the films can't be synchronised by motion: pairs of them contradict each other by up to {apart.max():.2f} s; give the offsets"
        )
    log.info("offsets in seconds: %s; correlations %s", found.offsets.round(3).tolist(), found.correlation.round(2).tolist())
    return found.offsets


def on_one_clock(takes: Sequence[Take], offsets: Sequence[float] | None = None) -> tuple[Float[np.ndarray, " f"], list[People]]:
    """The times of the combined take, and the people of each take at these; offsets as for `combine`."""
    set_right = [replace(take, times=take.times + offset) for take, offset in zip(takes, _given(offsets, len(takes)), strict=True)]
    times = common_times([take.times for take in set_right])
    return times, [at_times(take, times) for take in set_right]


def _given(offsets: Sequence[float] | None, count: int) -> Float[np.ndarray, " c"]:
    return np.zeros(count) if offsets is None else np.asarray(offsets, np.float64)


def common_times(clocks_set: Sequence[Float[np.ndarray, " f"]]) -> Float[np.ndarray, " g"]:
    """When there are frames of the combined take, given those of each film in one clock.

    The times of the fastest film (the longest of those that are), and before and after it, at its rate, those that two other films cover.
    """
    steps = np.array([nominal_step(times) if len(times) > 1 else np.inf for times in clocks_set])
    fast = np.flatnonzero(steps <= _ALIKE * steps.min())
    own = clocks_set[max(fast, key=lambda c: len(clocks_set[c]))]  # the first of equal ones
    if len(own) < 2:
        return own
    step = nominal_step(own)
    before, after = [np.zeros(0, int)], [np.zeros(0, int)]
    for times in clocks_set:
        if len(times):
            first, last = (times[0] - own[-1]) / step, (times[-1] - own[-1]) / step
            after.append(np.arange(max(1, np.ceil(first - 1e-3)), np.floor(last + 1e-3) + 1, dtype=int))
            first, last = (own[0] - times[-1]) / step, (own[0] - times[0]) / step
            before.append(np.arange(max(1, np.ceil(first - 1e-3)), np.floor(last + 1e-3) + 1, dtype=int))
    covered = [values[counts > 1] for values, counts in (np.unique(np.concatenate(each), return_counts=True) for each in (before, after))]
    return np.concatenate([own[0] - step * covered[0][::-1], own, own[-1] + step * covered[1]])


def at_times(take: Take, times: Float[np.ndarray, " f"]) -> People:
    """The people at other times, `frame` counting these: each track's keypoints and boxes between two of its frames, in a straight line.

    Frames further apart than one and a half usual steps are not bridged; rows without a track are taken from the frame nearest in time,
    if it is within a quarter of a step. Keypoints that are missing in one of two frames are missing between. Columns beyond the
    six that everybody has are left out.
    """
    step = nominal_step(take.times)
    plain = People(*(getattr(take.people, name) for name in ("frame", "track", "boxes", "scores", "keypoints", "confidence")))
    if len(take.times) == len(times) and np.abs(take.times - times).max(initial=0.0) < 1e-3 * step:
        return plain
    parts = [People.empty(plain.keypoints.shape[1])]
    for track in take.tracks:
        rows = np.flatnonzero(plain.track == track)
        rows = rows[np.unique(plain.frame[rows], return_index=True)[1]]
        parts.append(_between(plain[rows], take.times[plain.frame[rows]], times, 1.5 * step, 1e-3 * step))
    loose = plain[plain.track < 0]
    if len(loose) and len(times):
        at = take.times[loose.frame]
        nearest = np.abs(at[:, None] - times[None]).argmin(1)
        close = np.abs(times[nearest] - at) <= step / 4
        parts.append(replace(loose[close], frame=nearest[close]))
    people = People.concatenate(parts)
    return people[np.argsort(people.frame, kind="stable")]


def _between(people: People, at: np.ndarray, times: np.ndarray, longest: float, same: float) -> People:
    """One track at other times; `at` are those of its rows, ascending."""
    after = np.clip(np.searchsorted(at, times - same), 0, len(at) - 1)
    before = np.maximum(after - 1, 0)
    exact = np.abs(at[after] - times) <= same
    before = np.where(exact, after, before)
    use = exact | ((at[before] <= times) & (times <= at[after]) & (at[after] - at[before] <= longest) & (after > before))
    frames, before, after = np.flatnonzero(use), before[use], after[use]
    share = np.divide(times[use] - at[before], at[after] - at[before], out=np.zeros(len(frames)), where=after > before)
    mixed = {
        name: (1 - share.reshape(-1, *(1,) * (getattr(people, name).ndim - 1))) * getattr(people, name)[before]
        + share.reshape(-1, *(1,) * (getattr(people, name).ndim - 1)) * getattr(people, name)[after]
        for name in ("boxes", "scores", "keypoints")
    }
    confidence = np.minimum(people.confidence[before], people.confidence[after])
    return People(frame=frames, track=np.full(len(frames), people.track[0]), confidence=confidence, **mixed)


def identities(views: Sequence[People], cameras: Sequence[Camera], times: np.ndarray, skeleton: Skeleton, limit: float) -> list[np.ndarray]:
    """For each camera the person (1, 2 ...) of each row, -1 for nobody's."""
    rows, limbs = [], body_points(skeleton)
    other_side = [limbs.tolist().index(skeleton.swap[point]) for point in limbs]
    for view in views:
        order = np.argsort(view.frame, kind="stable")
        bounds = np.searchsorted(view.frame[order], np.arange(len(times) + 1))
        rows.append([order[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)])
    straight = [undistort(camera, view.keypoints[:, limbs]) for camera, view in zip(cameras, views, strict=True)]  # once, not per frame
    cameras = [replace(camera, distortion=np.zeros(0), fisheye=False) for camera in cameras]
    frames = [
        [(pixels[r[f]], view.confidence[r[f]][:, limbs], view.track[r[f]]) for pixels, view, r in zip(straight, views, rows, strict=True)]
        for f in range(len(times))
    ]
    out = [np.full(len(view), -1) for view in views]
    for f, found in enumerate(follow(cameras, frames, times, threshold=limit, swap=other_side)):
        for c, ids in enumerate(found):
            out[c][rows[c][f]] = ids
    return out


def limit_of(cameras: Sequence[Camera]) -> float:
    """Pixels by which a camera may be off a point and still agree with it."""
    return LIMIT_SHARE * max((max(camera.size) for camera in cameras), default=0) or 15.0


def _doubt(views: Sequence[People], used: Bool[np.ndarray, "c n k"], limbs: Int[np.ndarray, " l"], cameras: Sequence[Camera]) -> None:
    """Warn where cameras agree on few of the points that they are sure of. Not each mistake shows: people are much alike."""
    sure = sum(int((view.confidence[:, limbs] >= SEEN).sum()) for view in views)
    share = used[:, :, limbs].sum() / max(sure, 1)
    if sure and share < _AGREEMENT:
        places = np.array([camera.centre_world for camera in cameras])
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(len(places), 1)]
        log.warning(
            "the cameras agree on %.0f %% of the points they see: check which film is which camera's, the calibration (its cameras stand "
            "%.1f to %.1f m apart: is that so?), and the offsets",
            100 * share, apart.min(), apart.max(),
        )  # fmt: skip


def _doubt_axis(
    points: Float[np.ndarray, "n k 3"], skeleton: Skeleton, up: Axis | None, cameras: Sequence[Camera], turn: Float[np.ndarray, "4 4"]
) -> None:
    """Warn where people stand along another axis than the one that was taken for up: cameras that are filmed on their side say so."""
    ends = [[n for n, name in enumerate(skeleton.names) if any(word in name for word in words)] for words in (("shoulder",), ("ankle",))]
    if up is not None or not all(ends) or not len(points):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows without shoulders or ankles say nothing
        top, bottom = (np.nanmean(points[:, end], axis=1) for end in ends)
        body = top - bottom
        body = np.nanmedian(body / np.linalg.norm(body, axis=-1, keepdims=True), axis=0) @ turn[:3, :3]  # in the calibration's world
    if not np.isfinite(body).all():
        return
    axis = int(np.abs(body).argmax())
    stands = get_args(Axis)[2 * axis + bool(body[axis] < 0)]
    taken_up = get_args(Axis)[int(np.abs(turn[1, :3]).argmax()) * 2 + bool(turn[1, :3].min() < 0)]
    if stands != taken_up and abs(body[axis]) > _STRAIGHT:
        log.warning(
            "people stand along the calibration's %s axis, and %s is taken for up, as it is above the cameras: if people do not lie, "
            "give up (--up %s)", stands, taken_up, stands,
        )  # fmt: skip


def gathered(
    views: Sequence[People], ids: Sequence[np.ndarray], k: int
) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, "c n k 2"], Float[np.ndarray, "c n k"], Float[np.ndarray, "c n"]]:
    """Each (frame, person) once, sorted; and what the cameras see of it: pixels (NaN for nothing), confidence, score of the box."""
    keys = np.unique(np.concatenate([np.stack([v.frame[i > 0], i[i > 0]], 1) for v, i in zip(views, ids, strict=True)]), axis=0)
    measured = np.full((len(views), len(keys), k, 2), np.nan)
    confidence, scores = np.zeros(measured.shape[:3]), np.full(measured.shape[:2], np.nan)
    for c, (view, of) in enumerate(zip(views, ids, strict=True)):
        rows = np.flatnonzero(of > 0)
        place = _find(keys, np.stack([view.frame[rows], of[rows]], 1))
        measured[c, place], confidence[c, place], scores[c, place] = view.keypoints[rows], view.confidence[rows], view.scores[rows]
    return keys, measured, confidence, scores


def _triangulated(
    cameras: Sequence[Camera],
    skeleton: Skeleton,
    keys: Int[np.ndarray, "n 2"],
    measured: Float[np.ndarray, "c n k 2"],
    confidence: Float[np.ndarray, "c n k"],
    min_views: int,
    limit: float,
) -> Triangulation:
    """Points of all rows, each person's with limbs of one length."""
    found = triangulate(cameras, measured, confidence, min_views=min_views, threshold=limit)
    limbs, bones = limbs_of(skeleton.names), bones_of(skeleton.names)
    for track in np.unique(keys[:, 1]):
        rows = keys[:, 1] == track
        own = measured[:, rows], confidence[:, rows]
        steady = with_steady_limbs(cameras, *own, taken(found, rows), limbs, min_views=min_views, threshold=limit)
        found = put(found, settled(cameras, *own, steady, bones, min_views=min_views, threshold=limit), rows)
    return found


def _are_people(
    points: Float[np.ndarray, "n k 3"], keys: Int[np.ndarray, "n 2"], limbs: Int[np.ndarray, " l"], fewest: int
) -> Bool[np.ndarray, " n"]:
    """Rows that have a point, of persons with `fewest` of them who are as large as people are: what detectors take a lamp for is not."""
    kept = np.isfinite(points).all(-1).any(-1)
    body = points[:, limbs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows and persons without a point have no size, and stay or go by `kept`
        size = np.nanmedian(np.linalg.norm(body - np.nanmedian(body, axis=1, keepdims=True), axis=-1), axis=1)
        for track in np.unique(keys[:, 1]):
            mine = keys[:, 1] == track
            of_track = np.nanmedian(size[mine])
            kept[mine] &= kept[mine].sum() >= fewest and not (of_track < _SIZES[0] or of_track > _SIZES[1])
    return kept


def _rows_in(take: Take, people: People) -> Int[np.ndarray, " n"]:
    """Where in the take, which has more rows, these people are."""
    table = np.stack([take.people.frame, take.people.track], 1)
    order = np.lexsort(table.T[::-1])
    return order[_find(table[order], np.stack([people.frame, people.track], 1))]


def body_points(skeleton: Skeleton) -> Int[np.ndarray, " l"]:
    """The points that tell who is who: the body's and the feet's, where the set has such parts."""
    parts = [skeleton.parts[name] for name in ("body", "foot") if name in skeleton.parts]
    everything = np.arange(len(skeleton))
    return np.concatenate([everything[part] for part in parts]) if parts else everything


def _agreed_sides(
    cameras: Sequence[Camera], skeleton: Skeleton, keys: np.ndarray, measured: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and confidence with left and right as the cameras agree, for hips, legs, and arms (with their hands) apart.

    Networks that exchange legs mostly have the hips right.
    """
    measured, confidence = measured.copy(), confidence.copy()
    swap = np.array(skeleton.swap)
    for words, with_them in ((_HIPS, ()), (_LEGS, ()), (_ARMS, ("left_hand", "right_hand"))):
        members = [n for n, name in enumerate(skeleton.names) if any(word in name for word in words) and skeleton.swap[n] != n]
        left = np.array([n for n in members if skeleton.names[n].startswith("l")], int)
        moved_too = np.concatenate([members, *(np.r_[skeleton.parts[part]] for part in with_them if part in skeleton.parts)]).astype(int)
        moved_too = np.unique(moved_too)
        for track in np.unique(keys[:, 1]) if len(left) else ():
            rows = np.flatnonzero(keys[:, 1] == track)
            sides = [(measured[:, rows][:, :, points], confidence[:, rows][:, :, points]) for points in (left, swap[left])]
            wrong = exchanged_sides(cameras, sides[0][0], sides[1][0], sides[0][1], sides[1][1])
            for c, w in enumerate(wrong):
                place, source = np.ix_(rows[w], moved_too), np.ix_(rows[w], swap[moved_too])
                measured[c][place], confidence[c][place] = measured[c][source], confidence[c][source]
            if wrong.any():
                log.info("person %d: left and right exchanged in %s frames of the cameras", track, wrong.sum(1).tolist())
    return measured, confidence


def sized(camera: Camera, sizes: Int[np.ndarray, "n 2"], title: str) -> Camera:
    """The camera of the pictures of a film: (width, height) of each, 0 where unknown. title: the film's name, for messages.

    Warns of other proportions than those it was calibrated at. Raises VitruvianError where sizes differ, or the pictures are turned.
    """
    sizes = np.unique(sizes[(sizes > 0).all(1)], axis=0)
    if not len(sizes):
        return camera
    if len(sizes) > 1:
        raise VitruvianError(f"{title or camera.name} has pictures of different sizes: one camera has one")
    size = (int(sizes[0, 0]), int(sizes[0, 1]))
    if size == camera.size[::-1] != camera.size:
        raise VitruvianError(
            f"camera {camera.name!r} was calibrated at {camera.size}, its film is {size}: turn the film, or calibrate as it is"
        )
    if min(camera.size) > 0 and abs(size[0] * camera.size[1] / (size[1] * camera.size[0]) - 1) > _SHAPE_WARNING:
        log.warning("%s: calibrated at %s, filmed at %s: taken for scaled with equal borders", camera.name, camera.size, size)
    return fitted(camera, size)


def check_options(
    count: int, *, offsets: Sequence[float] | None, up: Axis | None, min_views: int, max_error: float | None, smooth: Method
) -> None:
    """Raises VitruvianError for options of `combine` that make no sense with so many cameras."""
    if offsets is not None and np.shape(offsets) != (count,):
        raise VitruvianError(f"{np.size(offsets)} offsets for {count} cameras: give one for each, in seconds")
    if offsets is not None and not np.isfinite(offsets).all():
        raise VitruvianError("an offset is not a finite number of seconds")
    if up is not None:
        y_up(up)
    if not 2 <= min_views <= count:
        raise VitruvianError(f"no point is seen by {min_views} of {count} cameras: give min_views from 2 to {count}")
    if max_error is not None and not (np.isfinite(max_error) and max_error > 0):
        raise VitruvianError(f"a camera can't be off by {max_error} pixels at most: give max_error a number over 0, or None")
    if smooth not in get_args(Method):
        raise VitruvianError(f"no smoothing method {smooth!r}; choose one of {', '.join(get_args(Method))}")


def check_skeletons(names: Sequence[str]) -> None:
    """Raises VitruvianError where takes to be combined have different keypoint sets, of these names."""
    if len(set(names)) > 1:
        raise VitruvianError(
            f"these takes have different keypoint sets ({', '.join(sorted(set(names)))}): capture them with one pose network"
        )


def _find(table: Int[np.ndarray, "n 2"], keys: Int[np.ndarray, "m 2"]) -> Int[np.ndarray, " m"]:
    """The rows of `table`, which is sorted, that `keys` are."""
    step = int(max(table[:, 1].max(initial=0), keys[:, 1].max(initial=0))) + 1
    return np.searchsorted(table[:, 0].astype(np.int64) * step + table[:, 1], keys[:, 0].astype(np.int64) * step + keys[:, 1])


def _renumbered(ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """1, 2 ... in the order of the old ids, without those that lost all their rows."""
    return np.unique(ids, return_inverse=True)[1].reshape(-1) + 1
