"""A network for meshes on annotated pictures: errors of vertices by part, joints, fingers, finding people, and their order in depth.

    models = body_models(next(iter(dataset)).people.kind)
    judged = judge_meshes(dataset, MeshEstimator("multi-hmr-s.onnx"), models)
    vertex_table(judged), finger_table(judged), people_table(judged, dataset)

Rules: pictures are shown with the set's camera (not UBody's, whose cameras are of single people: there 60 degrees are assumed). Found
people are matched with true ones by their joints in the picture (`metrics.meshes.match_people`); who is wholly outside the picture is not
missed. Vertices are compared where the network's body has the set's topology (SMPL-X with SMPL-X), all parts about their own joint; fingers
where both bodies have the same joints. Joints are those of SMPL that both bodies have with the same meaning, about the pelvis: published
figures of 3DPW are of 14 joints regressed from meshes, and don't compare. 3DPW and UBody don't annotate everybody: there false positives,
and what is made of them, say nothing and are left out. Nothing here sees the truth but to compare with it. Protocols: cards osx.md and
multi-hmr.md, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from vitruvian._npy import read_npy
from vitruvian.body.library import load_body
from vitruvian.body.model import BodyModel
from vitruvian.body.names import PART_NAMES
from vitruvian.body.regressors import PointRegressor, point_regressor
from vitruvian.codecs.mesh import FOV, SeenBodies, pixels
from vitruvian.data.arctic import subject_model
from vitruvian.data.bodies import BodyDataset, BodyPicture, in_camera
from vitruvian.data.judge import Table
from vitruvian.data.layout import find
from vitruvian.data.pickled_tables import read_dictionary
from vitruvian.data.smplx_fits import LensPicture
from vitruvian.errors import FormatError, VitruvianError
from vitruvian.geometry.alignment import align
from vitruvian.geometry.camera import pinhole, project
from vitruvian.media.pictures import read_image
from vitruvian.metrics.meshes import (
    FINGERS,
    Matches,
    MeshPart,
    PeopleInPictures,
    depth_order_accuracy,
    finger_errors,
    match_people,
    parts_by_weights,
    vertex_errors,
    whole_body_parts,
)
from vitruvian.metrics.poses3d import mpjpe, pa_mpjpe

if TYPE_CHECKING:
    from vitruvian.runtime.mesh import MeshEstimator

Models = Mapping[str, BodyModel]
"""Gender -> the body model of the set's kind."""
SOME_ONLY = ("3dpw", "ubody-smplx")
"""Sets whose pictures show people without labels."""
_OWN_CAMERAS = ("ubody-smplx",)
_JOINTS = "smpl-24"
_PARTS = ("all", "body", "hands", "left_hand", "right_hand", "face")
_PART_LAYOUT = "MANO_SMPLX_vertex_ids.pkl and SMPL-X__FLAME_vertex_ids.npy"
_MM, _PERCENT = 1e3, 100.0


@dataclass(frozen=True, eq=False)
class JudgedBodies:
    """One picture. matches: of its found and true people. pve, pa_pve: by part, of the m that were matched, metres; empty without parts.

    mpjpe, pa_mpjpe: (m,) metres. depths: (m, 2) found and true, metres. fingers: of each finger that the body has, about the wrist, and
    fingers_turned after the rigid motion that fits the hand best, metres (`metrics.meshes.finger_errors`).
    """

    image: int
    matches: Matches
    mpjpe: Float[np.ndarray, " m"]
    pa_mpjpe: Float[np.ndarray, " m"]
    depths: Float[np.ndarray, "m 2"]
    pve: Mapping[str, Float[np.ndarray, " m"]] = field(default_factory=dict)
    pa_pve: Mapping[str, Float[np.ndarray, " m"]] = field(default_factory=dict)
    fingers: Mapping[str, Float[np.ndarray, " m"]] = field(default_factory=dict)
    fingers_turned: Mapping[str, Float[np.ndarray, " m"]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _People:
    """Bodies of one picture in its camera: vertices, joints of the body model (none where a set has meshes only), and shared points."""

    vertices: Float[np.ndarray, "n v 3"]
    joints: Float[np.ndarray, "n j 3"]
    points: Float[np.ndarray, "n k 3"]


def judge_meshes(
    dataset: BodyDataset,
    estimator: MeshEstimator,
    models: Models | Callable[[BodyPicture], Models],
    parts: Mapping[str, MeshPart] | None = None,
    limit: int | None = None,
    on_picture: Callable[[int], object] = lambda done: None,
) -> list[JudgedBodies]:
    """Run a network over a set's pictures (the first `limit`).

    models: the set's bodies, or what gives those of a picture (ARCTIC's subjects have each their own). parts: of the vertices, by default
    `parts_of` the network's body where the set's has the same topology; {} compares none. Raises MediaError where a picture can't be read.
    """
    out = []
    for done, picture in enumerate(islice(dataset, limit), 1):
        here = models(picture) if callable(models) else models
        image = read_image(picture.file)
        size = (image.shape[1], image.shape[0])
        camera = None if dataset.name in _OWN_CAMERAS else np.asarray(picture.camera, np.float64)
        (seen,) = estimator([image], [camera])
        one = _judged(picture, seen, estimator.body, here, pinhole(size, FOV) if camera is None else camera, size, parts)
        out.append(one)
        on_picture(done)
    return out


def _judged(
    picture: BodyPicture,
    seen: SeenBodies,
    body: BodyModel,
    models: Models,
    camera: np.ndarray,
    size: tuple[int, int],
    parts: Mapping[str, MeshPart] | None,
) -> JudgedBodies:
    model = next(iter(models.values()), None)
    if model is None:
        raise VitruvianError(f"no body model of {picture.people.kind} was given: bring your files in with `vitruvian body import FOLDER`")
    regressors, root = shared_points(body, model)
    found, truth = _found(seen, body, regressors[0]), _true(picture, models, regressors[1])
    their_lens = lambda points: project(picture.lens, points) if isinstance(picture, LensPicture) else pixels(points, picture.camera)  # noqa: E731
    in_picture = [
        _in_picture(picture.id, people, view, size) for people, view in ((found, lambda p: pixels(p, camera)), (truth, their_lens))
    ]
    there = np.isfinite(in_picture[1].boxes).all(1)  # the others are wholly outside
    truth = _People(truth.vertices[there], truth.joints[there], truth.points[there])
    matches = match_people(in_picture[0], _rows(in_picture[1], there))
    rows, people = matches.found, matches.truth
    pve, pa_pve, fingers = {}, {}, ({}, {})
    joints = found.joints[rows], truth.joints[people]
    if body.joint_names == model.joint_names and {"left_wrist", "right_wrist"} <= set(body.joint_names):
        fingers = tuple(finger_errors(*joints, body.joint_names, turned) for turned in (False, True))
    same = found.vertices.shape[1:] == truth.vertices.shape[1:] and body.joint_names == model.joint_names
    chosen = parts_of(body) if parts is None and same else parts or {}
    if same and chosen:
        errors = vertex_errors(found.vertices[rows], truth.vertices[people], *joints, chosen)
        pve, pa_pve = errors.pve, errors.pa_pve
    pairs = (found.points[rows], truth.points[people])
    depths = np.stack([pairs[0][:, root, 2], pairs[1][:, root, 2]], -1)
    return JudgedBodies(picture.id, matches, mpjpe(*pairs, root=root), pa_mpjpe(*pairs), depths, pve, pa_pve, *fingers)


def shared_points(body: BodyModel, model: BodyModel) -> tuple[tuple[PointRegressor, PointRegressor], int]:
    """SMPL's joints that both bodies have with the same meaning, of either, and which of them is the pelvis.

    Raises VitruvianError where they share none.
    """
    from vitruvian.body.regressors import take

    both = point_regressor(body, _JOINTS), point_regressor(model, _JOINTS)
    unsure = frozenset() if body.kind == model.kind else both[0].uncertain | both[1].uncertain
    names = [name for i, name in enumerate(both[0].names) if name not in unsure and not (both[0].missing[i] or both[1].missing[i])]
    if "pelvis" not in names:
        raise VitruvianError(f"{body.name} and {model.name} have no pelvis in common: judge a network of whole bodies")
    rows = np.array([both[0].names.index(name) for name in names])
    return (take(both[0], rows), take(both[1], rows)), names.index("pelvis")


def parts_of(body: BodyModel) -> dict[str, MeshPart]:
    """All, body, hands and face of a body that has hands; all of one without. By skinning weights: published lists are in `read_parts`."""
    names = ["neck" if name == "neck1" else name for name in body.joint_names]  # the compact body's neck has two joints
    if {"pelvis", "neck", "left_index1", "right_index1"} <= set(names):
        return parts_by_weights(body.vertex_parts, PART_NAMES, names)
    return {"all": MeshPart(None, names.index("pelvis") if "pelvis" in names else 0)}


def read_parts(folder: str | Path, body: BodyModel) -> dict[str, MeshPart]:
    """The published vertex lists of SMPL-X, which come with the user's own files: figures by these compare with published ones.

    Names of files and entries are from memory [mem]. Raises FormatError where they are missing or damaged.
    """
    hands = find(folder, "SMPL-X", _PART_LAYOUT, "MANO_SMPLX_vertex_ids.pkl")
    face = find(folder, "SMPL-X", _PART_LAYOUT, "SMPL-X__FLAME_vertex_ids.npy")
    table = read_dictionary(hands)
    lists = [np.asarray(values) for values in (table.get("left_hand"), table.get("right_hand"), read_npy(face))]
    if any(numbers.ndim != 1 or numbers.dtype.kind not in "iu" for numbers in lists):
        raise FormatError(f"{folder} has no lists of vertices in {_PART_LAYOUT}; get the files again")
    return whole_body_parts(body.joint_names, *(numbers.astype(np.int64) for numbers in lists), body.num_vertices)


def body_models(kind: str, names: Iterable[str | Path] = ()) -> Models:
    """The user's models of a kind by gender: those that were imported (smplx-neutral, smplx-male ...), or the given ones.

    names: as for `load_body`; whose gender the model's name doesn't tell is taken as neutral. Raises FormatError where there is none.
    """
    found: dict[str, BodyModel] = {}
    for name in names:
        model = load_body(name)
        found[next((gender for gender in _GENDERS if gender in model.name.split("-")), "neutral")] = model
    if not found:
        for gender in _GENDERS:
            try:
                found[gender] = load_body(f"{kind}-{gender}")
            except FormatError:
                continue
    if not found:
        raise FormatError(f"no body model {kind}-neutral, to pose the set's labels with: vitruvian body import FOLDER, or name files")
    return found


_GENDERS = ("neutral", "female", "male")


def subject_models(folder: str | Path, files: Iterable[str | Path]) -> Callable[[BodyPicture], Models]:
    """What gives `judge_meshes` the bodies of ARCTIC, whose subjects have meshes of their own: the user's SMPL-X files and these.

    files: official ones (SMPLX_MALE.npz ...), of which a subject takes that of its gender. Raises FormatError where that is missing.
    """
    by_gender = {gender: file for file in map(Path, files) for gender in _GENDERS if gender in re.split(r"[\W_]+", file.stem.lower())}

    @cache
    def model(subject: str, gender: str) -> BodyModel:
        if gender not in by_gender:
            raise FormatError(f"ARCTIC's {subject} is {gender}, and has a mesh of its own: give SMPLX_{gender.upper()}.npz (--body)")
        return subject_model(folder, subject, by_gender[gender])

    return lambda picture: {"neutral": model(picture.video.split("/")[0], (*picture.people.genders, "neutral")[0])}


def joints_of_vertices(model: BodyModel, vertices: Float[np.ndarray, "n v 3"]) -> Float[np.ndarray, "n j 3"]:
    """About where the joints of registered meshes are, for sets without parameters (EHF) [ours].

    Of each joint the vertices that move with it are taken from the template to the mesh by the similarity that fits best, and the rest
    joint with them: exact for what turns and grows as a whole, and off by millimetres where skin bends. The published program multiplies
    meshes with the model's regressor.
    """
    out = np.full((len(vertices), model.num_joints, 3), np.nan)
    for joint in range(model.num_joints):
        near = np.flatnonzero(model.weights[:, joint] > 0.1)
        if len(near) >= 3:
            rest = np.broadcast_to(model.template[near], (len(vertices), len(near), 3))
            weight = np.broadcast_to(model.weights[near, joint], rest.shape[:2])
            out[:, joint] = align(rest, vertices[:, near], weight)(np.broadcast_to(model.joints[joint], (len(vertices), 1, 3)))[:, 0]
    return out


def vertex_table(judged: Sequence[JudgedBodies]) -> Table:
    """PVE and PA-PVE in millimetres by part, means over everybody who was found; no rows where topologies differ."""
    return _means(judged, _PARTS, {"PVE mm": "pve", "PA-PVE mm": "pa_pve"})


def finger_table(judged: Sequence[JudgedBodies]) -> Table:
    """Errors of each finger's joints in millimetres, means over everybody who was found; no rows where the bodies' joints differ.

    About the wrist, what arm and wrist do wrong counts too; after turning the hand as a whole, only how the fingers are bent.
    """
    names = [f"{side}_{finger}" for side in ("left", "right") for finger in FINGERS]
    return _means(judged, names, {"about the wrist mm": "fingers", "turned mm": "fingers_turned"})


def _means(judged: Sequence[JudgedBodies], rows: Sequence[str], columns: Mapping[str, str]) -> Table:
    """Means of errors by what they are of, in millimetres. columns: titles, and the fields of `JudgedBodies` that they show."""

    def mean(name: str, row: str) -> float:
        return _MM * _mean([getattr(one, name)[row] for one in judged if row in getattr(one, name)])

    first = next(iter(columns.values()))
    known = [row for row in rows if any(row in getattr(one, first) for one in judged)]
    return {row: {title: mean(name, row) for title, name in columns.items()} for row in known}


def people_table(judged: Sequence[JudgedBodies], dataset: BodyDataset) -> dict[str, float]:
    """Name -> figure: errors of joints and of finding people (AGORA's), in millimetres and per cent. NaN: nothing to say."""
    matches = _together([one.matches for one in judged])
    everybody = dataset.name not in SOME_ONLY
    f1 = matches.f1 if everybody else np.nan
    joints, mesh = (_mean([one.mpjpe for one in judged]), _mean([one.pve["all"] for one in judged if "all" in one.pve]))
    images = np.repeat([one.image for one in judged], [len(one.depths) for one in judged]).astype(np.int64)
    depths = np.concatenate([np.zeros((0, 2)), *(one.depths for one in judged)])
    return {
        "MPJPE mm": _MM * joints,
        "PA-MPJPE mm": _MM * _mean([one.pa_mpjpe for one in judged]),
        "NMVE mm": _MM * _over(mesh, f1),
        "NMJE mm": _MM * _over(joints, f1),
        "F1 %": _PERCENT * f1,
        "precision %": _PERCENT * matches.precision if everybody else np.nan,
        "recall %": _PERCENT * matches.recall,
        "false positives": float(len(matches.false_positives)) if everybody else np.nan,
        "missed": float(len(matches.missed)),
        "depth order %": _PERCENT * depth_order_accuracy(depths[:, 0], depths[:, 1], images),
    }


def _together(matches: Sequence[Matches]) -> Matches:
    """Of all pictures: only the numbers of rows mean something then."""
    columns = ([np.zeros(0, int), *(getattr(one, name) for one in matches)] for name in ("found", "truth", "false_positives", "missed"))
    return Matches(*(np.concatenate(column) for column in columns))


def _over(error: float, f1: float) -> float:
    return np.inf if f1 == 0 else error / f1


def _mean(values: Sequence[Float[np.ndarray, " m"]]) -> float:
    joined = np.concatenate([np.zeros(0), *values])
    return float(joined.mean()) if len(joined) else np.nan


def _found(seen: SeenBodies, body: BodyModel, regressor: PointRegressor) -> _People:
    p = seen.parameters
    posed = body.forward(p.pose, p.shape, p.expression, p.translation)
    return _People(*_doubles(posed.vertices, posed.joints, regressor(posed.vertices, posed.joints)))


def _true(picture: BodyPicture, models: Models, regressor: PointRegressor) -> _People:
    vertices, joints = in_camera(picture.people, models)
    if picture.people.vertices is not None:
        model = models.get("neutral", next(iter(models.values())))
        if vertices.shape[1] != model.num_vertices:
            raise VitruvianError(
                f"{picture.file} has {vertices.shape[1]} vertices, {model.name} {model.num_vertices}: give the set's model"
            )
        joints = joints_of_vertices(model, vertices)
    return _People(*_doubles(vertices, joints, regressor(vertices, joints)))


def _doubles(*arrays: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(array, np.float64) for array in arrays]


def _in_picture(image: int, people: _People, view: Callable[[np.ndarray], np.ndarray], size: tuple[int, int]) -> PeopleInPictures:
    """Boxes around what the picture shows of the meshes (NaN where nothing), and the shared points; visible: those inside it."""
    places, points = (np.asarray(view(array), np.float64) for array in (people.vertices, people.points))
    edge = np.array(size, np.float64)
    boxes = np.full((len(places), 4), np.nan)
    for row, one in enumerate(places):
        one = one[np.isfinite(one).all(1)]
        if len(one):
            box = np.clip(np.concatenate([one.min(0), one.max(0)]), 0, [*edge, *edge])
            boxes[row] = box if (box[2:] - box[:2] > 1).all() else np.nan
    with np.errstate(invalid="ignore"):
        inside: Bool[np.ndarray, "n k"] = (points > -0.5).all(-1) & (points < edge - 0.5).all(-1)
    # Somebody whose joints are all outside still has a place: then they all count.
    inside = inside | ~inside.any(1, keepdims=True)
    return PeopleInPictures(np.full(len(boxes), image), boxes, points, inside)


def _rows(people: PeopleInPictures, rows: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"]) -> PeopleInPictures:
    return PeopleInPictures(people.image[rows], people.boxes[rows], people.keypoints[rows], people.visible[rows])
