"""Takes with bodies of a parametric model as files of bodies: AMASS, SMPLer-X's folders, meshes, and BVH with the model's own bones.

Motions in these files are parameters: where a body's joints are is known to its model only, which the user has brought in
(`vitruvian body import`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vitruvian.body.library import list_bodies, load_body
from vitruvian.body.model import BodyModel, BodyParameters, subset
from vitruvian.errors import FormatError
from vitruvian.formats.amass import BodyMotion, read_amass, with_hand_mean_added, with_up, write_amass
from vitruvian.formats.body_figure import body_bvh, take_bodies, take_figures
from vitruvian.formats.bvh import write_bvh
from vitruvian.formats.meshes import write_mesh, write_take_meshes
from vitruvian.formats.published_bodies import read_smplerx
from vitruvian.skeletons import SMPL_24
from vitruvian.take import People, Take

_FAMILY = ("smpl", "smplh", "smplx")
_SHARED = 22  # joints that SMPL, SMPL+H and SMPL-X begin with


def read_amass_take(path: str | Path, fps: float | None = None) -> Take:
    """An AMASS file as a take of one person (track 1) in the world, y up. Raises FormatError as `read_amass` and `model_of` do."""
    motion = read_amass(path, fps)
    model = model_of(motion.kind, motion.gender)
    return take_of_motions({1: with_up(motion, "y", model)}, model, str(path))


def read_smplerx_take(folder: str | Path, fps: float = 30.0) -> Take:
    """A folder of OSX's or SMPLer-X's files as a take in the camera's frame; everybody has the id of the file names.

    Each person is in the frame of a camera of their own, which a take can't hold. Raises FormatError as `read_smplerx` and `model_of` do.
    """
    motions = read_smplerx(folder, fps)
    model = model_of("smplx", "neutral")
    return take_of_motions({person: with_hand_mean_added(motion, model) for person, motion in motions.items()}, model, str(folder))


def write_amass_takes(take: Take, path: str | Path) -> list[Path]:
    """Write everybody's motion as AMASS does and return the paths: `path`, or NAME_person_007.npz ... where there are several.

    Frames in which somebody is missing are filled between those before and after. Raises FormatError for a take without bodies of
    SMPL's family, and as `write_amass`.
    """
    path, model = Path(path), body_of(take)
    if model.kind not in _FAMILY:
        raise FormatError(f"{path.name} would hold bodies of SMPL, SMPL+H or SMPL-X, and these are of {model.name!r}; write .glb or .obj")
    motions = {name: motion for name, motion in _motions(take, model) if len(motion.parameters)}
    paths = [path if len(motions) == 1 else path.with_name(f"{path.stem}_{name}{path.suffix}") for name in motions]
    for motion, target in zip(motions.values(), paths, strict=True):
        write_amass(with_up(motion, "z", model), target)
    return paths


def write_body_bvh(take: Take, path: str | Path, metres_per_unit: float) -> list[Path]:
    """Write everybody's bones, the body model's own, and return the paths: `path`, or NAME_person_007.bvh ... Errors as `body_bvh`."""
    path = Path(path)
    figures = take_figures(take, body_of(take))
    paths = [path if len(figures) == 1 else path.with_name(f"{path.stem}_{figure.name}{path.suffix}") for figure in figures]
    for figure, target in zip(figures, paths, strict=True):
        write_bvh(body_bvh(figure, metres_per_unit), target)
    return paths


def write_meshes(take: Take, path: str | Path, suffix: str) -> list[Path]:
    """Write everybody's mesh in every frame: FOLDER/person_007/000012.ply, where FOLDER is `path` without its suffix.

    A single body goes to `path` itself where that names a file. Raises FormatError as `write_take_meshes`.
    """
    path, model = Path(path), body_of(take)
    if path.suffix and len(take.people) == 1:
        [(_, _, body)] = take_bodies(take, model)
        if not np.isfinite(body.pose).all():
            return []
        posed = model.forward(body.pose, body.shape, body.expression, body.translation).vertices[0]
        write_mesh(posed * ([1, -1, -1] if take.space == "camera" else 1), model.faces, path)
        return [path]
    return write_take_meshes(take, model, path.with_suffix("") if path.suffix else path, suffix)


def body_of(take: Take) -> BodyModel:
    """The model of a take's bodies. Raises FormatError for a take without bodies, or where the model is not here."""
    if not take.body:
        raise FormatError("this take has no bodies, only keypoints; fit them (vitruvian.body.fit), or write .bvh or .trc")
    return load_body(take.body)


def model_of(kind: str, gender: str) -> BodyModel:
    """The user's model of this kind, of the gender where there is one, else neutral, else any. Raises FormatError if there is none."""
    names = [header["name"] for header in list_bodies() if header["kind"] == kind]
    if not names:
        raise FormatError(f"these are bodies of {kind!r}, and no such model is here: bring its file in with `vitruvian body import FOLDER`")
    return load_body(min(names, key=lambda name: (gender not in name.split("-"), "neutral" not in name, name)))


def take_of_motions(motions: Mapping[int, BodyMotion], model: BodyModel, source: str = "") -> Take:
    """Motions of one model, by person, as a take with bodies and SMPL's joints as points; no pixels, and boxes of 0.

    All in the camera's frame, or all with y up. SMPL+H and SMPL-X have fingers instead of SMPL's last two joints: these are NaN.
    """
    times = np.unique(np.concatenate([np.zeros(0), *(motion.times for motion in motions.values())]))
    bones = subset(model, np.zeros(1, int))  # all joints and a single vertex
    nobody = People.empty(len(SMPL_24))
    parts = [nobody]
    for person, motion in motions.items():
        p, n = motion.parameters, len(motion.parameters)
        shape, expression = p.shape[:, : model.num_shape], p.expression[:, : model.num_expression]
        points = np.full((n, len(SMPL_24), 3), np.nan, np.float32)
        shared = len(SMPL_24) if model.kind == "smpl" else _SHARED
        points[:, :shared] = bones.forward(p.pose, shape, expression, p.translation).joints[:, :shared]
        parts.append(
            People(
                frame=np.searchsorted(times, motion.times),
                track=np.full(n, person),
                boxes=np.zeros((n, 4)),
                scores=np.ones(n) if motion.scores is None else motion.scores,
                keypoints=np.full((n, len(SMPL_24), 2), np.nan),
                confidence=np.isfinite(points).all(axis=-1),
                points=points,
                body_pose=p.pose,
                body_shape=shape,
                body_expression=expression if expression.shape[1] else None,
                body_translation=p.translation,
            )
        )
    people = People.concatenate(parts)
    people = people[np.lexsort((people.track, people.frame))]
    space = "camera" if any(motion.up == "camera" for motion in motions.values()) else "world"
    return Take(people, SMPL_24, times, np.zeros((len(times), 2)), source=source, space=space, body=model.name)


def _motions(take: Take, model: BodyModel) -> Iterator[tuple[str, BodyMotion]]:
    """Everybody's motion in the frames that have a body."""
    genders = [word for word in model.name.split("-") if word in ("male", "female")]
    for name, rows, bodies in take_bodies(take, model):
        known = np.isfinite(bodies.pose).all((1, 2)) & np.isfinite(bodies.translation).all(1)
        times = take.times[take.people.frame[rows[known]]]
        body = BodyParameters(*(np.nan_to_num(values[known]) for values in vars(bodies).values()))
        yield name, BodyMotion(model.kind, body, times, genders[0] if genders else "neutral", "camera" if take.space == "camera" else "y")
