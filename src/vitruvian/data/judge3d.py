"""Lifters, and takes of several cameras, on data sets of people in space: the protocols' tables, in millimetres and per cent.

| set | what is judged | figures |
|---|---|---|
| human36m | a lifter, film by film and camera by camera | P1, P2, P3, MPJVE by action, then the mean over actions |
| inf3dhp | a lifter, the frames that count | MPJPE, PCK at 150 mm, AUC by scene; the mean over films, and over frames |
| 3dpw, egohumans | a lifter, person by person | MPJPE, PA-MPJPE |
| panoptic, egohumans | takes in the world | AP at 25 ... 150 mm, recall and MPJPE at 500 mm |
| shelf, campus | a take in the world | PCP3D by actor, the mean over the first three |

A lifter sees a set's 2D points: its detections where the set was read with them, else true projections, which say nothing about finding
points in pictures. Points of another set are brought to the network's (`brought`); only joints that both sets have are compared, about the
root. Frames whose answer is nothing are counted ("lifted"), not scored. The protocols are those of cards finepose.md, hopfir.md and
selfpose3d.md (section 7), with these differences: 3DPW's published figures are of 14 joints regressed from meshes, ours of SMPL's own
joints; EgoHumans' are not known to us.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian.codecs.lifting import (
    How,
    aggregate,
    fill_unseen,
    mirrored,
    normalise_keypoints,
    normalised_camera,
)
from vitruvian.codecs.lifting_diffusion import guess_sequence
from vitruvian.data.films3d import Film3D, Set3D
from vitruvian.data.joint_sets import brought
from vitruvian.data.judge import Table
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.camera import Camera, to_camera, up_axis, y_up
from vitruvian.metrics.poses3d import (
    INF_3DHP_POINTS,
    auc,
    mpjpe,
    mpjve,
    n_mpjpe,
    pa_mpjpe,
    pck,
    pcp3d_of_actors,
    precision_over_people,
)
from vitruvian.skeletons import COCO_17, H36M_17, SHELF_14, Skeleton, convert
from vitruvian.take import Take

if TYPE_CHECKING:
    from vitruvian.runtime.lift import Lifter

RATE = 25.0
"""Frames per second of films that don't tell (MPI-INF-3DHP's [mem])."""
SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
"""Of Human3.6M's pictures, which its calibration does not tell [mem]."""
_LEAST = 4  # joints that are seen in a frame, or nothing is lifted of it
_MM, _PERCENT = 1e3, 100.0


@dataclass(frozen=True)
class Guesses:
    """How a network that guesses (FinePOSE) is asked: guesses, steps, and which of them counts. Published: 20, 10, "joint-best".

    "pose-best" and "joint-best" choose by looking at the truth.
    """

    number: int = 5
    steps: int = 2
    how: How = "mean"


@dataclass(frozen=True, eq=False)
class LiftedFilm:
    """One person before one camera: f frames of the k joints that are compared, metres in the camera's axes, about any origin.

    counts: frames that the protocol counts, and in which the person is known. lifted: those of which the network said something.
    """

    name: str
    action: str
    found: Float[np.ndarray, "f k 3"]
    truth: Float[np.ndarray, "f k 3"]
    counts: Bool[np.ndarray, " f"]
    lifted: Bool[np.ndarray, " f"]


def judge_lifter(
    dataset: Set3D,
    lifter: Lifter,
    guesses: Guesses = Guesses(),
    limit: int | None = None,
    on_film: Callable[[int], object] = lambda done: None,
) -> list[LiftedFilm]:
    """Lift everybody in a set's films (the first `limit`) from each camera that filmed them.

    Raises VitruvianError where the network's joints don't follow from the set's, or a guess is to be chosen by joints that the set lacks.
    """
    joints = shared_joints(lifter.skeleton, dataset.skeleton)
    out = []
    for done, film in enumerate(islice(dataset, limit), 1):
        for c, camera in enumerate(film.cameras):
            pixels = film.keypoints[c] if film.keypoints else film.seen(c)
            truth = to_camera(camera, film.points)
            for person in range(film.points.shape[1]):
                counts = np.isfinite(truth[:, person, joints]).all((1, 2)) & (film.counts if film.counts is not None else True)
                if counts.any():
                    seen = _Seen(pixels[:, person], truth[:, person], camera, picture_size(camera), film.rate or RATE)
                    points = _lift(lifter, seen, dataset.skeleton, guesses)
                    found = convert(points, np.ones(points.shape[:2]), lifter.skeleton, dataset.skeleton).keypoints[:, joints]
                    lifted = np.isfinite(found).all((1, 2))
                    arrays = (found.astype(np.float32), truth[:, person, joints].astype(np.float32))
                    out.append(LiftedFilm(film.name, film.action, *arrays, counts, lifted))
        on_film(done)
    return out


@dataclass(frozen=True, eq=False)
class _Seen:
    """One person before one camera."""

    pixels: Float[np.ndarray, "f k 2"]
    truth: Float[np.ndarray, "f k 3"]
    camera: Camera
    size: tuple[int, int]
    rate: float


def _lift(lifter: Lifter, seen: _Seen, skeleton: Skeleton, guesses: Guesses) -> Float[np.ndarray, "f j 3"]:
    """Points in the network's own set, metres in the camera's axes, NaN where it says nothing; for published networks about the root.

    Frames go in as they are: networks of clips see the set's own rate, as published protocols have it.
    """
    joints = brought(seen.pixels, skeleton, lifter.skeleton)
    there = np.isfinite(joints).all(-1)
    if not lifter.card.codec:
        return lifter(joints, there.astype(np.float64), np.arange(len(joints)) / seen.rate, seen.camera.intrinsics, seen.size).points
    places = normalise_keypoints(joints, seen.size)
    inputs = fill_unseen(places, there).astype(np.float32)
    run = lambda batch: lifter.session.run(batch)[0]  # noqa: E731
    if lifter.card.codec == "lift-frame":
        if lifter.session.input_shape[-1] == 3:
            inputs = np.concatenate((inputs, there[..., None].astype(np.float32)), -1)
        swap = lifter.skeleton.swap
        points = (run(inputs) + mirrored(run(mirrored(inputs, swap)), swap)) / 2
    else:
        length, times = lifter.session.input_shape[1], lifter.card.diffusion_times
        many = guess_sequence(run, inputs, lifter.skeleton, length, times, guesses.number, guesses.steps)
        points = _chosen(many, guesses.how, seen, places, skeleton, lifter.skeleton)
    return np.where((there.sum(1) >= _LEAST)[:, None, None], points, np.nan)


def _chosen(
    many: Float[np.ndarray, "h f j 3"], how: How, seen: _Seen, places: np.ndarray, source: Skeleton, target: Skeleton
) -> Float[np.ndarray, "f j 3"]:
    """One sequence of the guesses; what looks at the truth gets it about the root."""
    if how in ("mean", "jpma"):
        return aggregate(many, how, places, normalised_camera(seen.camera.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]], seen.size))
    if source is not target:
        raise VitruvianError(f"{how} compares guesses with the truth, and {source.name} has other joints than {target.name}: take the mean")
    root = target.parents.index(-1)
    return aggregate(many, how, truth=seen.truth - seen.truth[:, root, None])


def picture_size(camera: Camera) -> tuple[int, int]:
    """Of a camera's picture; twice its principal point where nobody says."""
    if min(camera.size) > 0:
        return camera.size
    width, height = np.round(2 * camera.intrinsics[:2, 2]).astype(int).tolist()
    return SIZES.get(camera.name, (max(width, 1), max(height, 1)))


def shared_joints(network: Skeleton, dataset: Skeleton) -> Int[np.ndarray, " k"]:
    """Joints of a data set that a network's set gives without any rule of ours."""
    nothing = convert(np.zeros((0, len(network), 3)), np.zeros((0, len(network))), network, dataset)
    return np.array([i for i, name in enumerate(dataset.names) if name not in nothing.missing], np.int64)


def lifter_table(films: Sequence[LiftedFilm], dataset: Set3D, joints: Int[np.ndarray, " k"]) -> Table:
    """The set's figures; `joints` are those of `shared_joints`. See the module's table; "lifted" is the share of frames with an answer."""
    row = lambda some: _row(some, dataset, joints)  # noqa: E731
    if dataset.name == "3dpw":
        return {"all": row(films)}
    actions = {action: row([film for film in films if film.action == action]) for action in dict.fromkeys(film.action for film in films)}
    if dataset.name == "inf3dhp":
        by_film = [row([film for film in films if film.name == name]) for name in dict.fromkeys(film.name for film in films)]
        return actions | {"mean of films": _mean_row(by_film, row([])), "all frames": row(films)}
    return actions | {"mean": _mean_row(list(actions.values()), row([]))}


def _mean_row(rows: Sequence[Mapping[str, float]], empty: dict[str, float]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in empty} if rows else empty


def _row(films: Sequence[LiftedFilm], dataset: Set3D, joints: Int[np.ndarray, " k"]) -> dict[str, float]:
    """Means over all frames of some films; NaN where there are none."""
    root = _root(dataset.skeleton, joints)
    used = [film.counts & film.lifted for film in films]
    none = np.zeros((0, len(joints), 3))
    found, truth = (np.concatenate([none, *(getattr(f, side)[rows] for f, rows in zip(films, used, strict=True))]) for side in _SIDES)
    figures = {"MPJPE mm": _MM * _mean(mpjpe(found, truth, root=root))}
    if dataset.name == "inf3dhp":
        chosen = [joints.tolist().index(j) for j in INF_3DHP_POINTS if j in joints]
        visible = np.zeros(truth.shape[:2], bool)
        visible[:, chosen] = True
        figures |= {name: _PERCENT * _mean(share(found, truth, visible, root)) for name, share in (("PCK %", pck), ("AUC %", auc))}
    else:
        figures["PA-MPJPE mm"] = _MM * _mean(pa_mpjpe(found, truth))
    if dataset.name == "human36m":
        figures |= {"N-MPJPE mm": _MM * _mean(n_mpjpe(found, truth, root=root)), "MPJVE mm": _MM * _velocity_error(films, used, root)}
    total = sum(int(film.counts.sum()) for film in films)
    return figures | {"lifted %": _PERCENT * len(found) / total if total else np.nan}


_SIDES = ("found", "truth")


def _velocity_error(films: Sequence[LiftedFilm], used: Sequence[np.ndarray], root: Sequence[int]) -> float:
    """MPJVE about the root over all pairs of frames, metres per frame."""
    errors, pairs = [], []
    for film, rows in zip(films, used, strict=True):
        found, truth = (getattr(film, side) - getattr(film, side)[:, root].mean(1, keepdims=True) for side in _SIDES)
        errors.append(float(mpjve(found, truth, np.broadcast_to(rows[:, None], found.shape[:2]))))
        pairs.append(int((rows[1:] & rows[:-1]).sum()))
    return float(np.average(np.nan_to_num(errors), weights=pairs)) if any(pairs) else np.nan


def _root(skeleton: Skeleton, joints: Int[np.ndarray, " k"]) -> list[int]:
    """Places of the set's root among the joints that are compared, or of both hips."""
    order = joints.tolist()
    roots = [skeleton.index(name) for name in ("root", "pelvis", "mid_hip") if name in skeleton.names]
    return [order.index(j) for j in (roots or [skeleton.index("left_hip"), skeleton.index("right_hip")])]


def _mean(values: Float[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else np.nan


@dataclass(frozen=True, eq=False)
class FoundFilm:
    """A film's frames that count, and what a take holds of them, in the set's world and joints; actors who are absent are all NaN."""

    name: str
    found: list[Float[np.ndarray, "m k 3"]]
    scores: list[Float[np.ndarray, " m"]]
    truth: list[Float[np.ndarray, "p k 3"]]


def judge_takes(dataset: Set3D, takes: Mapping[str, Take]) -> list[FoundFilm]:
    """Takes in the world (several calibrated cameras) on the films of these names; films without a take are left out.

    A take's world is the calibration's, turned to have y up (`capture.views.combine`): it is turned back. Its frames are those whose number
    is the last in their picture's name, or the films' from the first one on. Frames of the set that a take lacks count, as nobody found.
    Raises VitruvianError for takes that are in no world, of films that there are not, or of other frames.
    """
    left, out = dict(takes), []
    for film in dataset:
        if film.name in left:
            out.append(_found(film, left.pop(film.name), dataset.skeleton))
    if left or not out:
        raise VitruvianError(f"{dataset.name} has no film {', '.join(left) or 'that a take was given for'}: name takes as its films")
    return out


def read_takes(path: str | Path, dataset: Set3D) -> dict[str, Take]:
    """A take.npz, or all FILM/take.npz and FILM.npz of a folder, by the film's name: that of the folder or file. Raises FormatError."""
    path = Path(path)
    files = [path] if path.is_file() else sorted({*path.glob("*.npz"), *path.rglob("take.npz")})
    if not files:
        raise FormatError(f"{path} holds no takes: give a take.npz, or a folder with FILM/take.npz")
    if dataset.name in ("shelf", "campus") and len(files) == 1:
        return {dataset.name: Take.load(files[0])}
    names = [file.stem if file.stem != "take" else file.parent.name if file.parent in (path, path.parent) else None for file in files]
    return {name or file.parent.relative_to(path).as_posix(): Take.load(file) for name, file in zip(names, files, strict=True)}


def _found(film: Film3D, take: Take, skeleton: Skeleton) -> FoundFilm:
    if take.space != "world" or take.people.points is None:
        raise VitruvianError(f"the take of {film.name} has no points in a world: capture it with several cameras and --calibration")
    points = _of_set(take.people.points.astype(np.float64), take.skeleton, skeleton)
    points = points @ y_up(up_axis(film.cameras))[:3, :3]  # rows times the turn: back to the calibration's axes
    rows_of = dict(zip(_numbers(take).tolist(), _rows(take), strict=True))
    wanted = film.counts if film.counts is not None else np.ones(len(film.frames), bool)
    frames = film.frames[wanted].tolist()
    if frames and not any(frame in rows_of for frame in frames):
        raise VitruvianError(
            f"the take of {film.name} has none of its frames ({frames[0]} to {frames[-1]}): capture the set's own pictures"
        )
    nobody = np.zeros(0, np.int64)
    rows = [rows_of.get(frame, nobody) for frame in frames]
    return FoundFilm(
        film.name, [points[r] for r in rows], [take.people.scores[r].astype(np.float64) for r in rows], list(film.points[wanted])
    )


def _of_set(points: Float[np.ndarray, "n k 3"], source: Skeleton, target: Skeleton) -> Float[np.ndarray, "n j 3"]:
    """Points of a take as a set's; the head of Shelf and Campus by the rule for lifters (`codecs.lifting.joints_of_coco`)."""
    if target is SHELF_14 and source.names[:17] == COCO_17.names:
        return brought(brought(points, source, H36M_17), H36M_17, target)
    return brought(points, source, target)


def _numbers(take: Take) -> Int[np.ndarray, " f"]:
    """Each frame's number in its film."""
    if len(take.names) == len(take.times) > 1:
        digits = [re.findall(r"\d+", Path(name).stem) for name in take.names]
        if all(digits):
            return np.array([int(found[-1][-12:]) for found in digits], np.int64)
    return np.arange(len(take.times))


def _rows(take: Take) -> Iterator[Int[np.ndarray, " m"]]:
    order = np.argsort(take.people.frame, kind="stable")
    return iter(np.split(order, np.searchsorted(take.people.frame[order], np.arange(1, len(take.times)))) if len(take.times) else [])


def take_table(films: Sequence[FoundFilm], dataset: Set3D) -> Table:
    """PCP3D by actor for Shelf and Campus; for other sets VoxelPose's figures by film, and over all frames ("all")."""
    if dataset.name in ("shelf", "campus"):
        film = films[0]
        shares = pcp3d_of_actors(film.found, film.truth)
        rows = {f"actor {a}": {"PCP3D %": _PERCENT * float(share)} for a, share in enumerate(shares, 1)}
        return rows | {"mean of three": {"PCP3D %": _PERCENT * float(np.nanmean(shares[:3])) if np.isfinite(shares[:3]).any() else np.nan}}
    rows = {film.name: _people_row([film]) for film in films} if len(films) > 1 else {}
    return rows | {"all": _people_row(films)}


def _people_row(films: Sequence[FoundFilm]) -> dict[str, float]:
    columns = ([one for film in films for one in getattr(film, name)] for name in ("found", "scores", "truth"))
    scores = precision_over_people(*columns)
    figures = {f"AP{_MM * limit:.0f} %": _PERCENT * ap for limit, ap in scores.ap.items()}
    return figures | {"recall@500 %": _PERCENT * scores.recall500, "MPJPE mm": _MM * scores.mpjpe}


def read_films(name: str, folder: str | Path, split: str = "", keypoints: str | None = None, points: str = "raw") -> Set3D:
    """A data set of people in space in its official folder; split "" is the one figures are published of.

    keypoints: of human36m, which 2D file to see ("gt", "cpn_ft_h36m_dbb"); None: true projections. points: of inf3dhp, "raw" or
    "normalised". Raises FormatError where it is not there, VitruvianError for a name, or a split, that there isn't.
    """
    from vitruvian.data.egohumans import egohumans
    from vitruvian.data.human36m import human36m
    from vitruvian.data.inf3dhp import inf3dhp
    from vitruvian.data.panoptic import panoptic
    from vitruvian.data.shelf_campus import campus, shelf
    from vitruvian.data.threedpw_joints import threedpw_joints

    splits = {"human36m": ("test", "train"), "inf3dhp": ("test", "train"), "3dpw": ("test", "train", "val"), "panoptic": ("test", "train")}
    splits |= {"shelf": ("test", "all"), "campus": ("test", "all"), "egohumans": ("",)}
    if name not in splits or (split or splits[name][0]) not in splits[name]:
        raise VitruvianError(
            f"{name} has no split {split!r}: take one of {', '.join(splits[name])}" if name in splits else _unknown(splits)
        )
    read: dict[str, Callable[[str], Set3D]] = {
        "human36m": lambda part: human36m(folder, part, keypoints),
        "inf3dhp": lambda part: inf3dhp(folder, part, points),
        "3dpw": lambda part: threedpw_joints(folder, part),
        "panoptic": lambda part: panoptic(folder, part),
        "shelf": lambda part: shelf(folder, part),
        "campus": lambda part: campus(folder, part),
        "egohumans": lambda part: egohumans(folder),
    }
    return read[name](split or splits[name][0])


def _unknown(known: Mapping[str, object]) -> str:
    return f"no such data set of people in space: take one of {', '.join(known)}"
