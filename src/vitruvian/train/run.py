"""Run a recipe: stage after stage, each in a folder of its own, which an interrupted run goes on from.

runs/NAME/teacher/{last.pt, log.jsonl, network.safetensors}, runs/NAME/first/..., and the last stage's network in runs/NAME
"""

from __future__ import annotations

import functools
import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vitruvian._files import written_whole
from vitruvian.data import augment
from vitruvian.data.augment import Augmentation
from vitruvian.data.pictures import Dataset
from vitruvian.data.readers import held_out as held_out_split
from vitruvian.data.readers import read_dataset
from vitruvian.data.ubody import ubody
from vitruvian.errors import VitruvianError
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.export import keypoint_notes
from vitruvian.train import selfpose3d
from vitruvian.train.crew import Crew
from vitruvian.train.deep import AnnotatedDeep, Deep, Flat
from vitruvian.train.detectors import DetectorTask, build_detector, detector_figures, drawing_of
from vitruvian.train.feed import Annotated, Blend, Figures, Samples, Synthetic, batches, collate_samples
from vitruvian.train.figures import Scene
from vitruvian.train.loop import ALONE, Progress, Report, steps_done, train
from vitruvian.train.markers import Markers
from vitruvian.train.recipe import DETECTORS, Recipe, Source, Stage
from vitruvian.train.scenes import LAYOUTS, Scenes, collate_taught
from vitruvian.train.tasks import Task, build, evaluation
from vitruvian.weights import store

PRESETS = {
    "none": augment.NONE,
    "rtmpose": augment.RTMPOSE,
    "dwpose": augment.DWPOSE,
    "rtmw": augment.RTMW,
    "posetrack": augment.POSETRACK,
    "heatmap": augment.HEATMAP,
}
NETWORK = "network.safetensors"
_APART = 7_919  # between the seeds of processes that train together
HELD_OUT = 4
"""Batches that a stage is judged on."""

OnStep = Callable[[str, int, int, Report], object]
"""Called with what is being done, how much of it is done, how much there is (0: unknown), and the last report."""


def run_recipe(recipe: Recipe, folder: str | Path, device: str = "cpu", on_step: OnStep = lambda *_: None, crew: Crew = ALONE) -> Path:
    """Train all stages and return the file of the last one's network.

    Stages that are done are passed over, unless they ended after fewer steps than are wanted now (those of a first try): such ones go on.
    crew: the processes that train together (`vitruvian.train.crew.join`).
    Raises VitruvianError where data, variants or teachers are not as the recipe says, and as `train`.
    """
    folder, finished = Path(folder), {}
    give = selfpose3d.run_stage if recipe.system == "selfpose3d" else run_stage
    for number, stage in enumerate(recipe.stages):
        path = folder / stage.name / NETWORK
        begun = steps_done(folder / stage.name)
        wanted = not path.is_file() or (0 < begun < stage.schedule.steps and math.isinf(stage.schedule.seconds))
        if crew.agree(wanted):
            torch.manual_seed(recipe.seed + number)
            give(recipe, stage, finished, folder / stage.name, device, on_step, crew)
        crew.agree()  # the others' next stage may begin with the file that the leader writes
        finished[stage.name] = path
    if crew.leads:
        with written_whole(folder / NETWORK) as temporary:
            shutil.copyfile(path, temporary)
    return folder / NETWORK


def run_stage(
    recipe: Recipe,
    stage: Stage,
    finished: dict[str, Path],
    folder: Path,
    device: str = "cpu",
    on_step: OnStep = lambda *_: None,
    crew: Crew = ALONE,
) -> nn.Module:
    """Train one stage in `folder` and write its averaged network there; returns it."""
    progress, detects = Progress(), recipe.system in DETECTORS
    task = build_detector(recipe, stage, finished) if detects else build(recipe, stage, finished, progress)
    collate = collate_taught if detects else collate_samples
    for model in (task.model, task.frozen):
        if model is not None:
            model.to(device)
    if crew.leads:  # who makes people where there are none
        open_samples(recipe, task, on_step)
    crew.agree()
    samples = open_samples(replace(recipe, seed=recipe.seed + _APART * crew.rank), task, on_step, begun=steps_done(folder))
    held_out = list(itertools.islice(batches(open_samples(recipe, task, on_step, True), collate, stage.batch, 0), HELD_OUT))
    evaluate = functools.partial(detector_figures, task, held_out) if detects else evaluation(task, recipe.skeleton, held_out)
    loader = batches(samples, collate, stage.batch, recipe.data.workers)
    model = train(
        task.model,
        _staged(loader, samples, recipe.data.late, progress),
        task.loss,
        stage.schedule,
        folder,
        evaluate,
        progress,
        lambda step, report: on_step(stage.name, step, stage.schedule.steps, report),
        crew,
    )
    network = task.keep(model).eval()
    notes = {"recipe": recipe.name, "stage": stage.name, "system": recipe.system, "variant": stage.variant}
    notes |= {} if detects else keypoint_notes(recipe.skeleton)
    if crew.leads:
        write_state(network.state_dict(), folder / NETWORK, notes)
    return network


def open_samples(
    recipe: Recipe, task: Task | DetectorTask, on_step: OnStep = lambda *_: None, held_out: bool = False, begun: int = 0
) -> Blend:
    """What a stage is trained on, or (`held_out`) judged on: other figures, people who are kept apart, a data set's validation split.

    `begun`: steps that a run goes on after, so that it doesn't see the same samples again.
    """
    seed = recipe.seed + 1000 * held_out + 1_000_003 * begun
    open_one = _scenes if isinstance(task, DetectorTask) else _crops
    parts = [open_one(recipe, source, task, seed, on_step, held_out) for source in recipe.data.sources]
    return Blend(parts, [source.weight for source in recipe.data.sources], seed)


def _crops(recipe: Recipe, source: Source, task: Task, seed: int, on_step: OnStep, held_out: bool) -> Samples | Flat:
    """People, one by one, with their keypoints."""
    data = recipe.data
    augmentation: Augmentation = augment.NONE if held_out else PRESETS[data.augmentation]
    common = (task.size, recipe.skeleton, task.frames, augmentation, seed)
    if source.kind == "synth":
        return _synthetic(recipe, source, task, common, on_step, held_out)
    if source.kind == "figures":
        samples = Figures(*common, scene=Scene(data.hidden, data.ambiguous, 1.0 if held_out else data.labelled))
        return Flat(samples) if task.deep else samples
    annotated = AnnotatedDeep if task.deep else Annotated
    return annotated(*common, datasets=[open_dataset(source, held_out)], weights=[1.0])


def _scenes(recipe: Recipe, source: Source, task: DetectorTask, seed: int, on_step: OnStep, held_out: bool) -> Scenes:
    """Whole pictures with their objects."""
    drawing = drawing_of(source, recipe.data, task, held_out, lambda: _people(recipe, source, on_step))
    return Scenes(drawing, task.size, LAYOUTS["none" if held_out else recipe.data.augmentation], task.mirror, seed)


def open_dataset(source: Source, held_out: bool = False) -> Dataset:
    """A data set's training split, or the one to judge on. Raises FormatError where it is not in its folder."""
    if not source.folder:
        raise VitruvianError(f"the recipe does not say where {source.kind} is: give its folder, in the recipe or with --data")
    split = held_out_split(source.kind) if held_out else "train"
    if source.kind == "crowdpose" and held_out:
        split = "val"  # its test split is for the end
    if source.kind == "ubody":
        return ubody(source.folder, split, every=10)
    return read_dataset(source.kind, source.folder, split)


def _synthetic(recipe: Recipe, source: Source, task: Task, common: tuple, on_step: OnStep, held_out: bool) -> Synthetic:
    """Synthetic people."""
    if task.frames > 1:
        raise VitruvianError("synth draws no clips yet: take figures, or a data set of films")
    folder, photographs = _people(recipe, source, on_step)
    options = {"store": folder, "photographs": photographs, "held_out": held_out}
    if task.deep:
        return Deep(*common, **options)
    return Synthetic(*common, **options) if recipe.points is None else Markers(*common, points=recipe.points, **options)


def _people(recipe: Recipe, source: Source, on_step: OnStep) -> tuple[Path, list[str]]:
    """A store of people, made first where there is none, and the photographs to put behind them. One of the user's is taken as it is."""
    from vitruvian.synth.generate import generate

    folder = Path(source.folder) if source.folder else store.home() / f"people-{recipe.data.people}"
    if not source.folder or not any(folder.glob("shard-*.npz")):
        for done, total in generate(folder, recipe.data.people):
            on_step("people", done, total, {})
    photographs = []
    if recipe.data.photographs:
        try:
            photographs = Path(recipe.data.photographs).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise VitruvianError(
                f"can't read the list of photographs {recipe.data.photographs}: {error}; check data.photographs"
            ) from error
    return folder, photographs


def _staged(loader: DataLoader, samples: Blend, late: float, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
    """The loader's batches; towards the end of the run the workers are told to change to the late augmentation."""
    for batch in loader:
        samples.set_late(late > 0 and progress.fraction >= 1 - late)
        yield batch
