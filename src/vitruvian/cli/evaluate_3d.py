"""`vitruvian eval` on data sets of people in space: lifters, takes of several cameras, networks for meshes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from vitruvian.cli.console import console, counted, print_rows, progress_bar
from vitruvian.cli.options import Device
from vitruvian.errors import VitruvianError

if TYPE_CHECKING:
    from vitruvian.data.judge import Table
    from vitruvian.data.judge_meshes import Models

SpaceSet = Literal["human36m", "inf3dhp", "3dpw", "panoptic", "shelf", "campus", "egohumans"]
MeshSet = Literal["ehf", "bedlam", "agora", "arctic", "egobody", "ubody-smplx", "3dpw-smpl", "human36m-smpl"]
_READERS: Mapping[MeshSet, str] = {"ubody-smplx": "ubody", "3dpw-smpl": "3dpw", "human36m-smpl": "human3.6m"}
"""What `data.readers` calls them, where that is a set of other labels too."""
_WITH_HANDS = ("agora", "egobody")


@Parameter(name="*", group=Group("People in space", sort_key=1))
@dataclass(frozen=True)
class SpaceOptions:
    """Data sets of poses and meshes in 3D.

    Parameters
    ----------
    keypoints
        Of human36m, which 2D points a lifter sees: gt or cpn_ft_h36m_dbb (the set's files); by default true projections.
    heights
        Of inf3dhp, raw or height-normalised positions; figures of one don't compare with those of the other.
    hypotheses
        How many guesses a network by diffusion makes; published figures are of 20.
    steps
        In how many steps it makes them; published: 10.
    choose
        Which guess counts: their mean, for each joint the one that reprojects best, or the one that is best by the truth (published).
    body
        The body models that a set's labels are posed with; by default the imported smplx-neutral, smplx-male ... (or smpl-...).
    vertex_parts
        Folder of SMPL-X's published lists of the vertices of hands and face; without it parts are told by skinning weights.
    """

    keypoints: str | None = None
    heights: Literal["raw", "normalised"] = "raw"
    hypotheses: int = 5
    steps: int = 2
    choose: Literal["mean", "jpma", "pose-best", "joint-best"] = "mean"
    body: Annotated[list[str] | None, Parameter(negative="")] = None
    vertex_parts: Path | None = None


SPACE_DEFAULTS = SpaceOptions()


def evaluate_space(
    model: str, data: Path, dataset: SpaceSet, split: str, limit: int | None, device: Device, options: SpaceOptions = SPACE_DEFAULTS
) -> int:
    """A lifter, or (take.npz, or a folder of takes) what a capture of several cameras found."""
    from vitruvian.data.judge3d import judge_takes, read_films, read_takes, take_table

    source = read_films(dataset, data, split, options.keypoints, options.heights)
    path = Path(model)
    is_take = path.suffix == ".npz" or (path.is_dir() and not (path / "network.safetensors").is_file())
    if not is_take:
        if dataset in ("panoptic", "shelf", "campus"):
            raise VitruvianError(f"{dataset} is for takes of several cameras: give a take.npz in the place of {model}")
        return _evaluate_lifter(model, source, limit, device, options)
    if dataset in ("human36m", "inf3dhp", "3dpw"):
        raise VitruvianError(f"{dataset} is for lifters: give a network in the place of {model}")
    judged = judge_takes(source, read_takes(path, source))
    frames = sum(len(film.truth) for film in judged)
    console.print(f"{model} on {source.name}: {counted(len(judged), 'film')}, {counted(frames, 'frame')}")
    console.print(f"frames without anybody in the take count as missed; {source.terms}")
    _print_figures(take_table(judged, source))
    return 0


def _evaluate_lifter(model: str, source, limit: int | None, device: Device, options: SpaceOptions) -> int:
    """One person before one camera at a time."""
    from vitruvian.cli.evaluate import known, network
    from vitruvian.data.judge3d import Guesses, judge_lifter, lifter_table, shared_joints
    from vitruvian.runtime.lift import Lifter

    guesses = Guesses(options.hypotheses, options.steps, options.choose)
    with network(known(model)) as file:
        lifter = Lifter(file, device=device)
        with progress_bar("eval", limit, "films") as update:
            films = judge_lifter(source, lifter, guesses, limit, lambda done: update(completed=done))
    joints = shared_joints(lifter.skeleton, source.skeleton)
    frames = sum(int(film.counts.sum()) for film in films)
    console.print(f"{model} on {source.name}: {counted(len(films), 'track')}, {counted(frames, 'frame')}")
    seen = f"2D points of {options.keypoints}" if options.keypoints and source.name == "human36m" else "true 2D points"
    how = [seen, f"{len(joints)} of {len(source.skeleton)} joints"]
    if not lifter.card.codec:
        how.append(f"it was shown {len(shared_joints(source.skeleton, lifter.skeleton))} of its {len(lifter.skeleton)} keypoints")
    if lifter.card.codec == "lift-diffusion":
        chosen = ", chosen by the truth" if options.choose.endswith("best") else ""
        how.append(f"{options.hypotheses} guesses in {options.steps} steps, {options.choose}{chosen}; no action told")
    console.print("; ".join([*how, source.terms]))
    _print_figures(lifter_table(films, source, joints))
    return 0


def evaluate_meshes(
    model: str, data: Path, dataset: MeshSet, split: str, limit: int | None, device: Device, options: SpaceOptions = SPACE_DEFAULTS
) -> int:
    """A network for meshes."""
    from vitruvian.cli.evaluate import known, network
    from vitruvian.data.judge_meshes import finger_table, judge_meshes, people_table, read_parts, vertex_table
    from vitruvian.data.readers import read_bodies
    from vitruvian.runtime.mesh import MeshEstimator

    models, hands = _models(dataset, data, options)
    source = read_bodies(_READERS.get(dataset, dataset), data, split, **hands)
    with network(known(model)) as file:
        estimator = MeshEstimator(file, device=device)
        parts = None if options.vertex_parts is None else read_parts(options.vertex_parts, estimator.body)
        with progress_bar("eval", limit, "pictures") as update:
            judged = judge_meshes(source, estimator, models, parts, limit, lambda done: update(completed=done))
    people = sum(len(one.matches.truth) + len(one.matches.missed) for one in judged)
    console.print(f"{model} on {source.name}: {counted(len(judged), 'picture')}, {counted(people, 'person', 'people')}")
    lists = "published lists" if options.vertex_parts is not None else "skinning weights: hands and face don't compare with published ones"
    console.print(f"parts by {lists}; errors are of who was found; {source.terms}")
    vertices = vertex_table(judged)
    if vertices:
        _print_figures(vertices)
    else:
        console.print(f"vertices of {estimator.body.name} don't compare with the set's: joints only")
    if fingers := finger_table(judged):
        _print_figures(fingers)
    print_rows({name: _figure(value) for name, value in people_table(judged, source).items()})
    return 0


def _models(dataset: MeshSet, data: Path, options: SpaceOptions) -> tuple[Models, dict[str, object]]:
    """The bodies that labels are posed with, and the readers' option that they are needed for."""
    from vitruvian.data.judge_meshes import body_models, subject_models

    if dataset == "arctic":
        return subject_models(data, options.body or ()), {}
    models = body_models("smpl" if dataset.endswith("-smpl") else "smplx", options.body or ())
    return models, {"hands": next(iter(models.values())).hands} if dataset in _WITH_HANDS else {}


def _print_figures(rows: Table) -> None:
    """Figures as they are: their columns name their units."""
    from vitruvian.cli.evaluate import print_table

    print_table(rows, plain=list(dict.fromkeys(name for figures in rows.values() for name in figures)))


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}".rstrip("0").rstrip(".")
