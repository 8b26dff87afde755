"""Training of SelfPose3d, one network after the other, from 2D poses of any detector and without a label in space.

| lesson | learns | from |
|---|---|---|
| heatmaps | backbone | pictures, and heat maps of their pseudo poses |
| roots | root network | made-up mid-hips before the same cameras; agreement between augmented and plain pictures |
| poses | pose network; backbone and attention if any | joints found under one affine, compared with the pseudo poses under another |

Networks without a backbone see heat maps of the pseudo poses themselves, and skip the first lesson. The moments are `train.views3d`'s. What
differs from the published course (card selfpose3d.md, section 6): AdamW with a cosine in place of Adam with steps; no sample is drawn
again because somebody left the picture; RandAugment, cutout and the optional fine-tuning are left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vitruvian.errors import FormatError, VitruvianError, WeightsError
from vitruvian.metrics.poses3d import precision_over_people
from vitruvian.systems import catalogue
from vitruvian.systems.checkpoint import write_state
from vitruvian.systems.pose3d.selfpose3d import PANOPTIC_SPACE, STRIDE, VARIANTS, Config, Roots, SelfPose3d
from vitruvian.systems.pose3d.selfpose3d_loss import (
    Augmented,
    augmented,
    draw_affines,
    heatmap_loss,
    moved,
    pose_terms,
    render,
    root_terms,
    warp,
)
from vitruvian.systems.pose3d.voxels import Space, Views
from vitruvian.train.crew import Crew
from vitruvian.train.defaults import normalise
from vitruvian.train.loop import ALONE, Loss, Progress, Report, Schedule, steps_done, to_device, train
from vitruvian.train.recipe import Recipe, Stage
from vitruvian.train.views3d import Moments, Source, batches, from_panoptic, made_up

NETWORK = "network.safetensors"
OnStep = Callable[[str, int, int, Report], object]
"""As of `vitruvian.train.run`."""
LESSONS: dict[str, tuple[str, ...]] = {"heatmaps": ("backbone",), "roots": ("root_net",), "poses": ("pose_net", "backbone", "attention")}
"""The networks that a lesson trains; the others stay as they are."""
SMALL_INPUT, INPUT = (256, 160), (960, 512)
JUDGED = 4  # batches
_NEAR = 0.3  # metres within which a mid-hip counts as found
_JOINTS_FROM = 5 / 8  # of the last lesson, published: the L1 distance counts from the sixth of eight epochs on
_APART, _FURTHER = 7_919, 1_000_003  # between seeds
_CONFIG = "selfpose3d"  # the note that holds what shapes don't tell


def input_size(variant: str) -> tuple[int, int]:
    """(width, height) of a variant's inputs, pixels."""
    return SMALL_INPUT if variant.startswith("nano") else INPUT


def configured(variant: str, on_panoptic: bool) -> Config:
    """A variant's networks, in the box of the moments. Raises VitruvianError for a variant that there isn't, or that isn't SelfPose3d's."""
    config = VARIANTS.get(variant)
    if config is None or config.root_inputs != 1:
        known = ", ".join(name for name, each in VARIANTS.items() if each.root_inputs == 1)
        raise VitruvianError(f"no variant {variant!r} of SelfPose3d: take one of {known}")
    if not on_panoptic:
        bins = config.space.bins if variant.startswith("nano") else (40, 40, 20)
        return replace(config, space=Space((4, 4, 2), (0, 0, 1), bins))
    return replace(config, space=replace(PANOPTIC_SPACE, bins=(40, 40, 12)) if variant.startswith("nano") else PANOPTIC_SPACE)


def run_stage(
    recipe: Recipe,
    stage: Stage,
    finished: dict[str, Path],
    folder: Path,
    device: str = "cpu",
    on_step: OnStep = lambda *_: None,
    crew: Crew = ALONE,
) -> nn.Module:
    """A recipe's stage, as `vitruvian.train.run.run_stage` is for networks that see crops.

    Raises VitruvianError for other sources than one of "figures" (people are made up) or "panoptic", and as `run_lesson`.
    """
    if [source.kind for source in recipe.data.sources] not in (["figures"], ["panoptic"]):
        raise VitruvianError("selfpose3d learns from figures or from panoptic, one of them: correct data.sources")
    data = recipe.data.sources[0]
    on_panoptic = data.kind == "panoptic"
    if on_panoptic and not data.folder:
        raise VitruvianError("the recipe does not say where panoptic is: give its folder, in the recipe or with --data")
    config, size = configured(stage.variant, on_panoptic), input_size(stage.variant)
    pictures = config.backbone is not None
    source = from_panoptic(data.folder, size, pictures, recipe.data.takes) if on_panoptic else made_up(size, pictures)
    return run_lesson(
        stage.lesson,
        config,
        source,
        size,
        stage.schedule,
        folder,
        start=finished.get(stage.start, Path(stage.start)) if stage.start else None,
        batch=stage.batch,
        seed=recipe.seed,
        device=device,
        on_step=lambda step, report: on_step(stage.name, step, stage.schedule.steps, report),
        crew=crew,
        notes={"recipe": recipe.name, "stage": stage.name, "system": recipe.system, "variant": stage.variant},
    )


def run_lesson(
    lesson: str,
    config: Config,
    source: Source,
    size: tuple[int, int],
    schedule: Schedule,
    folder: Path,
    *,
    start: Path | None = None,
    batch: int = 4,
    seed: int = 0,
    device: str = "cpu",
    on_step: Callable[[int, Report], object] = lambda step, report: None,
    crew: Crew = ALONE,
    notes: dict[str, str] | None = None,
) -> SelfPose3d:
    """Give one lesson in `folder`, or go on with it there; write the averaged networks to its network.safetensors and return them.

    start: networks of an earlier lesson (`read_networks`). size: (width, height) of the inputs, pixels; those of pictures must be multiples
    of 32. Raises VitruvianError where the lesson has nothing to train, WeightsError where `start` is of other networks.
    """
    model = SelfPose3d(config)
    names = _there(model, LESSONS[lesson])
    if LESSONS[lesson][0] not in names:
        raise VitruvianError(f"the lesson {lesson!r} trains the {LESSONS[lesson][0]}, and this variant has none: leave the lesson away")
    if start is not None:
        _fill(model, read_networks(start))
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)
    progress = Progress()
    held_out = list(islice(batches(source.measure, batch, seed + 1000), JUDGED))
    drawn = seed + _APART * crew.rank + _FURTHER * steps_done(folder)  # others in each process, and after a stop
    # In full precision: places in space of a few centimetres go through it.
    schedule = replace(schedule, bf16=False)
    network = train(
        model.to(device),
        map(tuple, batches(source.learn, batch, drawn)),
        lesson_loss(lesson, size, drawn, progress),
        schedule,
        folder,
        lambda averaged: judged(averaged, lesson, size, held_out),
        progress,
        on_step,
        crew,
    )
    if crew.leads:
        told = {"space": asdict(config.space), "pose_bins": config.pose_bins, "candidates": config.candidates}
        write_state(network.state_dict(), folder / NETWORK, {**(notes or {}), _CONFIG: json.dumps(told)})
    return network


def read_networks(path: str | Path) -> SelfPose3d:
    """Networks that were trained here (or published ones), in eval mode, with their space. Raises WeightsError, FormatError."""
    path, found = catalogue.load(path)
    if not isinstance(found.model, SelfPose3d):
        raise WeightsError(f"{path} is {found.system.name}'s, not SelfPose3d's: give networks of an earlier lesson")
    if path.suffix.lower() == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), "pt") as file:
            note = (file.metadata() or {}).get(_CONFIG)
        if note is not None:
            found.model.config = _as_noted(found.model.config, note, path)
    return found.model


def _as_noted(config: Config, note: str, path: Path) -> Config:
    """The configuration with what a file's note says."""
    try:
        told = json.loads(note)
        space = Space(*(tuple(told["space"][name]) for name in ("size", "centre", "bins")))
        return replace(config, space=space, pose_bins=tuple(told["pose_bins"]), candidates=int(told["candidates"]), published=False)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path}: its notes on the space are damaged; train it again") from error


def _there(model: SelfPose3d, names: tuple[str, ...]) -> list[str]:
    """Those of the networks that this one has."""
    return [name for name in names if getattr(model, name) is not None]


def _fill(model: SelfPose3d, source: SelfPose3d) -> None:
    """Take over all networks that both have."""
    for name in _there(source, ("backbone", "attention", "root_net", "pose_net")):
        part = getattr(model, name)
        if part is None:
            continue
        try:
            part.load_state_dict(getattr(source, name).state_dict())
        except RuntimeError as error:
            raise WeightsError(f"the {name} to start from is of another variant: {str(error).splitlines()[0]}") from error


def lesson_loss(lesson: str, size: tuple[int, int], seed: int, progress: Progress) -> Loss:
    """The losses of a lesson, as a function of the networks and a batch."""
    generator = torch.Generator().manual_seed(seed)
    cells = (size[0] // STRIDE, size[1] // STRIDE)

    def loss(model: SelfPose3d, batch: tuple) -> dict[str, Tensor]:
        _rest(model)
        moments, views = Moments(*batch), Views(*batch[3])
        if lesson == "heatmaps":
            parts = {"maps": heatmap_loss(model.heatmaps(_normalised(moments)), render(moments.keypoints, cells, moments.visible))}
        elif lesson == "roots":
            with torch.no_grad():
                sides = [_augmented(model, moments, size, generator) for _ in range(2)]
                maps = [*(side.heatmaps for side in sides), plain_maps(model, moments, cells)]
            parts = root_terms(model, [*(side.views for side in sides), views], maps, cells, generator)
        else:
            parts = _pose_parts(model, moments, views, size, generator, progress.fraction >= _JOINTS_FROM)
        # Where nobody was found, nothing depends on the networks, and the loop still asks for a gradient.
        nothing = 0.0 * sum(p.sum() for p in model.parameters() if p.requires_grad)
        return {"total": sum(parts.values()) + nothing, **parts}

    return loss


def _rest(model: SelfPose3d) -> None:
    """Normalisation of networks that are not trained keeps its means."""
    for part in model.children():
        if not any(p.requires_grad for p in part.parameters()):
            part.eval()


def _pose_parts(
    model: SelfPose3d, moments: Moments, views: Views, size: tuple[int, int], generator: torch.Generator, joints: bool
) -> dict[str, Tensor]:
    cells = (size[0] // STRIDE, size[1] // STRIDE)
    plain = plain_maps(model, moments, cells)
    with torch.no_grad():
        found = model.roots(plain.detach(), model.root_sampling(views, cells))
    sides = tuple(_augmented(model, moments, size, generator) for _ in range(2))
    parts = pose_terms(model, sides, found.centre, found.valid, joints)
    if model.backbone is not None:
        sets = [(plain, moments.keypoints), *((side.heatmaps, side.keypoints) for side in sides)]
        parts["maps"] = sum(heatmap_loss(maps, render(keypoints, cells, moments.visible)) for maps, keypoints in sets) / len(sets)
    return parts


def plain_maps(model: SelfPose3d, moments: Moments, cells: tuple[int, int]) -> Tensor:
    """The backbone's heat maps of the pictures as they are, or without a backbone those of the pseudo poses."""
    if model.backbone is None:
        return render(moments.keypoints, cells, moments.visible)
    return model.heatmaps(_normalised(moments))


def _augmented(model: SelfPose3d, moments: Moments, size: tuple[int, int], generator: torch.Generator) -> Augmented:
    """The moments under one random affine each."""
    change = draw_affines(len(moments.keypoints), size, generator)
    keypoints, views = moved(moments.keypoints, change), augmented(Views(*moments.views), change)
    if model.backbone is None:
        maps, weight = render(keypoints, (size[0] // STRIDE, size[1] // STRIDE), moments.visible), None
    else:
        pictures = warp(_normalised(moments), change)
        maps, weight = model.heatmaps(pictures), None if model.attention is None else model.weights(pictures)
    return Augmented(maps, keypoints, moments.visible, views, weight)


def _normalised(moments: Moments) -> Tensor:
    b, v = moments.pictures.shape[:2]
    # Not channels-last, as others train: PyTorch 2.13 dies on it on the way back through this backbone (seen on a CPU).
    return normalise(moments.pictures.flatten(0, 1)).contiguous().unflatten(0, (b, v))


@torch.inference_mode()
def judged(model: SelfPose3d, lesson: str, size: tuple[int, int], held_out: list[Moments]) -> dict[str, float]:
    """How good the lesson's networks are on moments that were not learnt from; true joints are looked at here only.

    heatmaps: 1000 times the mean squared error. roots: the share of mid-hips found within 300 mm. poses: MPJPE (mm), recall at 500 mm and
    AP at 100 mm as VoxelPose has them.
    """
    cells, device = (size[0] // STRIDE, size[1] // STRIDE), next(model.parameters()).device
    errors, hips, poses, scores, truth = [], [], [], [], []
    for held in held_out:
        moments = Moments(*to_device(tuple(held), device))
        views = Views(*moments.views)
        maps = plain_maps(model, moments, cells)
        if lesson == "heatmaps":
            errors.append(float(heatmap_loss(maps, render(moments.keypoints, cells, moments.visible))))
            continue
        found = model.roots(maps, model.root_sampling(views, cells))
        truth += held.points
        hips += _nearest(found, held.points)
        if lesson == "poses":
            points = model.poses(maps, views, found.centre, found.valid)
            for row, valid, score in zip(points, found.valid, found.score, strict=True):
                poses.append(row[valid].cpu().numpy())
                scores.append(score[valid].cpu().numpy())
    if lesson == "heatmaps":
        return {"maps_e3": 1000 * float(np.mean(errors))}
    if lesson == "roots":
        return {"recall_300": float(np.mean(np.array(hips) < _NEAR)) if hips else float("nan")}
    people = precision_over_people(poses, scores, truth, limits=(0.1,))
    return {"mpjpe_mm": 1000 * people.mpjpe, "recall_500": people.recall500, "ap_100": people.ap[0.1]}


def _nearest(found: Roots, truth: list[np.ndarray]) -> list[float]:
    """How far each true mid-hip is from the nearest one that was found, metres; infinite where nobody was."""
    out = []
    for centre, valid, people in zip(found.centre.cpu().numpy(), found.valid.cpu().numpy(), truth, strict=True):
        for root in people[:, 2]:
            if np.isfinite(root).all():
                out.append(float(np.linalg.norm(centre[valid] - root, axis=-1).min(initial=np.inf)))
    return out
