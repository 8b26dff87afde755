"""What the loop must know of each system: the network to train, its loss, how its output is read, and how good that is.

Batches hold keypoints in crop pixels; targets are made of them here, so batches stay small.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vitruvian.codecs.heatmap import Heatmap
from vitruvian.codecs.simcc import SimCC as SimCCCodec
from vitruvian.codecs.simcc3d import SimCC3D as SimCC3DCodec
from vitruvian.errors import VitruvianError, WeightsError
from vitruvian.skeletons import COCO_WHOLEBODY_133, Skeleton
from vitruvian.systems import catalogue
from vitruvian.systems.biomechanics import synthpose
from vitruvian.systems.pose2d import diffpose_video, dsta, dwpose, mappose, rmpg, rtmw
from vitruvian.systems.pose2d.mappose import MapPose
from vitruvian.systems.pose2d.rtmw import STRIDE
from vitruvian.train import defaults
from vitruvian.train.loop import Loss, Progress
from vitruvian.train.precision import half
from vitruvian.train.recipe import Recipe, Stage

HEATMAP_GAIN = 1000.0
"""Factor of mean squared heat-map losses, which are tiny: keeps gradients well above AdamW's epsilon."""

PUBLISHED_BATCH = 64
"""Of DWPose's first stage, per GPU. Its label loss is summed over the batch and the teacher's terms are means, so this is their ratio."""

Decode = Callable[[nn.Module, UInt8[Tensor, "b *f 3 h w"]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Task:
    """What is trained, and how.

    model: what is optimised. loss: of a model and a batch. keep: the network to keep out of the (averaged) model. decode: images ->
    keypoints (b, K, 2) in crop pixels and scores (b, K), or (b, K, 3) with metres behind the hips. size: (width, height) of a crop; frames
    of a clip. frozen: a teacher that the loss asks. deep: whether it learns depth (`vitruvian.train.deep`).
    """

    model: nn.Module
    loss: Loss
    keep: Callable[[nn.Module], nn.Module]
    decode: Decode
    size: tuple[int, int]
    frames: int = 1
    frozen: nn.Module | None = None
    deep: bool = False


def build(recipe: Recipe, stage: Stage, finished: dict[str, Path], progress: Progress) -> Task:
    """The task of one stage. `finished`: the checkpoints of earlier stages by name.

    Raises VitruvianError for a variant or keypoint set that the system hasn't, WeightsError where a teacher or start can't be used.
    """
    keypoints = len(recipe.skeleton)
    kinds = {
        "rtmpose": _simcc, "rtmw": _simcc, "rtmw3d": _simcc3d, "rmpg": _heatmaps, "synthpose": _heatmaps, "dsta": _dsta,
        "diffpose": _diffpose,
    }  # fmt: skip
    task = kinds[recipe.system](recipe, stage, keypoints, finished, progress)
    if stage.start and stage.lesson != "second":
        fill(task.keep(task.model), read_network(stage.start, finished))
    return task


def evaluation(task: Task, skeleton: Skeleton, held_out: list[tuple[Tensor, Tensor]]) -> Callable[[nn.Module], dict[str, float]]:
    """A function of the averaged model: on held-out batches, mean error in crop pixels and PCK at a tenth of the person's box, by part;
    and where it learns depth, its mean error in millimetres."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        network = task.keep(model).eval()
        device = next(network.parameters()).device
        distances, depths = [], []
        for images, keypoints in held_out:
            found, truth = task.decode(network, images.to(device))[0], keypoints.numpy()
            distances.append(np.where(truth[..., 2] > 0, np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1), np.nan))
            if task.deep:
                depths.append(np.abs(found[..., 2] - truth[..., 3])[truth[..., 4] > 0])
        table = errors(np.concatenate(distances), task.size, skeleton)
        return table | ({"depth_mm": 1000 * float(np.concatenate(depths).mean())} if any(map(len, depths)) else {})

    return evaluate


def errors(distances: Float[np.ndarray, "n k"], size: tuple[int, int], skeleton: Skeleton) -> dict[str, float]:
    """Mean distances in pixels by part and of all points, and the share within a tenth of the box's longer side; NaN not annotated."""
    parts = skeleton.parts if len(skeleton.parts) > 1 else {}
    table = {f"{part}_px": distances[:, where] for part, where in parts.items()} | {"all_px": distances}
    means = {name: float(np.nanmean(values)) for name, values in table.items() if np.isfinite(values).any()}
    seen = distances[~np.isnan(distances)]
    return means | {"pck": float((seen < 0.1 * max(size) / 1.25).mean()) if seen.size else float("nan")}


def variant_of(system: Any, stage: Stage) -> Any:
    """The configuration that a stage names. Raises VitruvianError where the system hasn't it."""
    if stage.variant not in system.VARIANTS:
        raise VitruvianError(f"stage {stage.name!r}: no variant {stage.variant!r}; choose one of {', '.join(system.VARIANTS)}")
    return system.VARIANTS[stage.variant]


def read_network(name: str, finished: dict[str, Path]) -> nn.Module:
    """The network of an earlier stage, or of a checkpoint."""
    return catalogue.load(finished.get(name, name))[1].model


def fill(network: nn.Module, source: nn.Module) -> None:
    """Copy all weights that have the same name and shape; they must be at least half of the one network or of the other."""
    found, target = source.state_dict(), network.state_dict()
    fitting = {name: value for name, value in found.items() if name in target and target[name].shape == value.shape}
    if 2 * _size(fitting) < min(_size(target), _size(found)):
        raise WeightsError("the weights to start from are of another network: fewer than half of them fit")
    network.load_state_dict({**target, **fitting})


def _size(state: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in state.values())


class MapTeacher(nn.Module):
    """A MapPose as teacher of SimCC networks: a SimCC network whose classifiers are its maps, summed along the other axis. Ours."""

    def __init__(self, network: MapPose):
        super().__init__()
        self.network, self.backbone = network, network.backbone
        self.config = network.config

    def features(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """The backbone's maps; a student imitates the last."""
        return self.backbone(image)

    def head(self, *maps: Tensor) -> rtmw.SimCC:
        """Logits of the bins."""
        fine, _, whole = self.network.joined(*maps)
        chance = mappose.probabilities(self.network.read(fine, whole))
        return rtmw.SimCC(_in_bins(chance.sum(2)), _in_bins(chance.sum(3)))


def _in_bins(chance: Float[Tensor, "b k cells"]) -> Float[Tensor, "b k bins"]:
    """Logits of SimCC's bins between whose softmax(BETA * logits) and the chances of cells there is only interpolation, of logarithms."""
    cells = chance.shape[-1]
    bins = torch.arange(cells * mappose.STRIDE * rtmw.SPLIT, device=chance.device) / rtmw.SPLIT  # pixels
    place = ((bins - (mappose.STRIDE - 1) / 2) / mappose.STRIDE).clamp(0, cells - 1)
    left = place.floor().long().clamp(max=cells - 2)
    known = chance.clamp(min=1e-6).log() / dwpose.BETA
    return torch.lerp(known[..., left], known[..., left + 1], place - left)


class Pupil(nn.Module):
    """A SimCC network with what only training needs: coarse heat-map heads (`coach`), and the layer that meets the teacher's features.

    The coach is ours: from scratch, SimCC's classifiers find nothing to learn from for a long time (the published networks start from a
    backbone trained with heat maps). So the stages of stride 16 and 32 are told to be heat maps.
    """

    def __init__(self, network: rtmw.RTMPose | rtmw.RTMW, coach: bool, align: nn.Module | None = None):
        super().__init__()
        self.network, self.align = network, align
        channels = network.backbone.channels
        heads = [nn.Conv2d(width, network.config.keypoints, 1) for width in channels[-2:]] if coach else []
        self.coaches = nn.ModuleList(heads)


def _simcc(recipe: Recipe, stage: Stage, keypoints: int, finished: dict[str, Path], progress: Progress) -> Task:
    """RTMPose and RTMW, from labels, with a teacher, or (second) a new head from the old one."""
    config = replace(variant_of(rtmw, stage), keypoints=keypoints)
    if (config.levels == 2) != (recipe.system == "rtmw") or config.z_size:
        raise VitruvianError(f"stage {stage.name!r}: the variant {stage.variant!r} is not one of {recipe.system}'s")
    teacher = read_network(stage.teacher, finished) if stage.teacher else None
    if isinstance(teacher, MapPose) and stage.lesson == "first":
        teacher = MapTeacher(teacher)
    if teacher is not None and (not isinstance(teacher, (rtmw.RTMPose, rtmw.RTMW, MapTeacher)) or teacher.config.keypoints != keypoints):
        raise WeightsError(f"stage {stage.name!r}: the teacher is no SimCC network of {keypoints} keypoints")
    if stage.lesson == "second":
        model = dwpose.SecondStage(teacher)
        return Task(model, second_stage_loss, lambda m: m.result(), predict_simcc, teacher.config.input_size)
    network = rtmw.network(config).to(memory_format=torch.channels_last)
    align = dwpose.align_layer(network, teacher) if teacher is not None else None
    loss = simcc_lesson(stage.coach, teacher, progress)
    return Task(Pupil(network, stage.coach > 0, align), loss, lambda m: m.network, predict_simcc, config.input_size, frozen=teacher)


def _simcc3d(recipe: Recipe, stage: Stage, keypoints: int, finished: dict[str, Path], progress: Progress) -> Task:
    """RTMW3D: a third classifier, for the depth."""
    config = variant_of(rtmw, stage)
    if not config.z_size:
        raise VitruvianError(f"stage {stage.name!r}: the variant {stage.variant!r} is not one of rtmw3d's")
    codec = SimCC3DCodec((*config.input_size, config.z_size))

    def label(prediction: rtmw.SimCC3D, points: Float[Tensor, "b k 5"]) -> Tensor:
        x, y, visible, depth, known = points.cpu().numpy().transpose(2, 0, 1)
        target = codec.encode(np.stack([x, y], -1), depth, visible)
        x, y, z, weights, deep = (torch.from_numpy(each).to(points.device) for each in (*target[:4], target.depth_weights * known))
        return 100 * rtmw.rtmw3d_loss(prediction, rtmw.SimCC3D(x, y, z), weights, deep, "mean")

    def decode(network: nn.Module, images: UInt8[Tensor, "b 3 h w"]) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            found, scores = codec.decode(*(axis.float().cpu().numpy() for axis in network(defaults.normalise(images))))
        return np.concatenate([found[..., :2], codec.metres(found[..., 2:])], -1), scores

    model = Pupil(rtmw.network(config).to(memory_format=torch.channels_last), stage.coach > 0)
    return Task(model, simcc_lesson(stage.coach, None, progress, label), lambda m: m.network, decode, config.input_size, deep=True)


def predict_simcc(network: nn.Module, images: UInt8[Tensor, "b 3 h w"]) -> tuple[Float[np.ndarray, "b k 2"], Float[np.ndarray, "b k"]]:
    """Keypoints in crop pixels and raw scores (the smaller of the two axes' maxima), decoded as on the ground floor."""
    with torch.no_grad(), half(images.device):
        x, y = network(defaults.normalise(images))
    return SimCCCodec((images.shape[3], images.shape[2])).decode(x.float().cpu().numpy(), y.float().cpu().numpy())


def second_stage_loss(model: dwpose.SecondStage, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The fresh head against the frozen one; labels are not looked at."""
    return {"total": model(defaults.normalise(batch[0]))}


@functools.cache
def _target_table(bins: int, sigma: float) -> Float[Tensor, "n n"]:
    """Row c: softmax(10 * Gaussian around bin c), the target distribution of simcc_loss."""
    axis = torch.arange(bins, dtype=torch.float32)
    return torch.softmax(10 * torch.exp(-((axis - axis[:, None]) ** 2) / (2 * sigma**2)), -1)


def label_loss(prediction: rtmw.SimCC, keypoints: Float[Tensor, "b k 3"], is_rtmw: bool = False) -> Float[Tensor, ""]:
    """RTMPose's label loss of a batch of crops (or RTMW's: not sharpened, the face's points weigh half), mean over the batch, times 100.

    The same as systems.pose2d.rtmw.simcc_loss and rtmw_loss up to the targets' entropy, which has no gradient: targets are looked up, and
    points outside the crop are left out, to save time. The factor keeps gradients well above AdamW's epsilon.
    """
    rows, columns = torch.nonzero(keypoints[..., 2] > 0, as_tuple=True)
    device, count = keypoints.device, keypoints.shape[1]
    weights = torch.ones(count, device=device)
    if is_rtmw and count == len(COCO_WHOLEBODY_133):
        weights[rtmw.FACE] = rtmw.FACE_WEIGHT
    beta, total = 1.0 if is_rtmw else 10.0, torch.zeros((), device=device)
    size = (prediction.x.shape[-1] // 2, prediction.y.shape[-1] // 2)
    for axis, (logits, sigma) in enumerate(zip(prediction, SimCCCodec(size).widths, strict=True)):
        bins = logits.shape[-1]
        centre = torch.round(keypoints[rows, columns, axis] * 2).long().clamp(0, bins - 1)
        log_q = F.log_softmax(logits[rows, columns].float() * beta, -1)
        total = total - ((_target_table(bins, sigma).to(device)[centre] * log_q).sum(-1) * weights[columns]).sum() / bins
    return 100 * total / (len(keypoints) * count)


def simcc_lesson(coach: float, teacher: nn.Module | None, progress: Progress, label: Callable[[Any, Tensor], Tensor] | None = None) -> Loss:
    """Label loss (`label`, or that of two dimensions), plus coaching, plus DWPose's first-stage terms.

    The latter are weighed against the label loss as published, whatever the batch: see PUBLISHED_BATCH.
    """
    if teacher is not None:
        teacher.requires_grad_(False).eval()

    def loss(model: Pupil, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        images, keypoints = batch
        network, x = model.network, defaults.normalise(images)
        maps = network.backbone(x)
        features = maps[2:] if network.config.levels == 1 else network.neck(maps)[1:]
        prediction = network.head(*features)
        own = label or functools.partial(label_loss, is_rtmw=network.config.levels == 2)
        parts = {"label": own(prediction, keypoints)}
        if model.coaches:
            places = zip(model.coaches, maps[-2:], (STRIDE // 2, STRIDE), strict=True)
            parts["coach"] = coach * sum(defaults.cell_loss(head(values), keypoints[..., :3], stride) for head, values, stride in places)
        if teacher is not None:
            with torch.no_grad():
                seen = teacher.features(x)
                opinion = teacher.head(*seen)
            share = dwpose.decay(progress.fraction, 1) * 100 / PUBLISHED_BATCH
            parts["feature"] = share * dwpose.feature_loss(model.align(features[-1]), seen[-1])
            parts["logit"] = share * dwpose.logit_loss(prediction, opinion)
        return {"total": sum(parts.values()), **parts}

    return loss


def heatmap_targets(codec: Heatmap, keypoints: Float[Tensor, "b k 3"]) -> tuple[Tensor, Tensor]:
    """Heat maps and weights of a batch, on its device."""
    maps, weights = codec.encode(keypoints[..., :2].cpu().numpy(), keypoints[..., 2].cpu().numpy())
    return torch.from_numpy(maps).to(keypoints.device), torch.from_numpy(weights).to(keypoints.device)


def _heatmaps(recipe: Recipe, stage: Stage, keypoints: int, finished: dict[str, Path], progress: Progress) -> Task:
    system = synthpose if recipe.system == "synthpose" else rmpg
    config = replace(variant_of(system, stage), keypoints=keypoints)
    codec = system.codec(config)

    def loss(model: rmpg.PoseNetwork, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        maps, weights = heatmap_targets(codec, batch[1])
        return {"total": HEATMAP_GAIN * rmpg.loss(model.predictions(defaults.normalise(batch[0])), maps, weights, config.tree)}

    def decode(network: rmpg.PoseNetwork, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            return codec.decode(network(defaults.normalise(images)).float().cpu().numpy())

    return Task(rmpg.PoseNetwork(config), loss, lambda m: m, decode, config.input_size)


def normalise_clips(clips: UInt8[Tensor, "b f 3 h w"]) -> Float[Tensor, "b f 3 h w"]:
    """As `defaults.normalise`, for clips."""
    return defaults.normalise(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


def _dsta(recipe: Recipe, stage: Stage, keypoints: int, finished: dict[str, Path], progress: Progress) -> Task:
    config = variant_of(dsta, stage)
    if keypoints != dsta.JOINTS:
        raise VitruvianError(f"DSTA's joints are PoseTrack's {dsta.JOINTS}: leave keypoints away")

    def loss(model: dsta.DSTA, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        clips, points = batch
        target = points[..., :2] / points.new_tensor(config.input_size)
        found = model(normalise_clips(clips))
        return {"total": dsta.rle_loss(model.flow, found, target, dsta.joint_weights(target, points[..., 2]))}

    def decode(network: dsta.DSTA, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            coords, sigma = (x.float().cpu().numpy() for x in network(normalise_clips(clips)))
        return dsta.decode(coords, sigma, config.input_size)

    return Task(dsta.DSTA(config), loss, lambda m: m, decode, config.input_size, config.frames)


def _diffpose(recipe: Recipe, stage: Stage, keypoints: int, finished: dict[str, Path], progress: Progress) -> Task:
    config = replace(variant_of(diffpose_video, stage), keypoints=keypoints)
    codec = diffpose_video.codec(config)

    def loss(model: diffpose_video.DiffPose, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        maps, weights = heatmap_targets(codec, batch[1])
        return {"total": diffpose_video.loss(model, normalise_clips(batch[0]), maps, weights)}

    def decode(network: diffpose_video.DiffPose, clips: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            return codec.decode(network.sample(normalise_clips(clips)).float().cpu().numpy())

    return Task(diffpose_video.DiffPose(config), loss, lambda m: m, decode, config.input_size, config.frames)
