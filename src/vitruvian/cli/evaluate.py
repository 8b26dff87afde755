"""`vitruvian eval`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from vitruvian.cli.console import console, counted, progress_bar, status
from vitruvian.cli.evaluate_3d import SPACE_DEFAULTS, MeshSet, SpaceOptions, SpaceSet, evaluate_meshes, evaluate_space
from vitruvian.cli.options import Device
from vitruvian.errors import MissingExtraError, VitruvianError, WeightsError

if TYPE_CHECKING:
    from vitruvian.codecs.association import Thresholds
    from vitruvian.data.judge import Table
    from vitruvian.runtime.clips import ClipEstimator
    from vitruvian.runtime.detector import Detector
    from vitruvian.runtime.multicrop import MultiCrop
    from vitruvian.runtime.pose import PoseEstimator

PoseSet = Literal[
    "coco-wholebody", "coco", "ubody", "halpe", "crowdpose", "humanart", "mpii", "aic", "jhmdb", "posetrack17", "posetrack18", "posetrack21"
]  # fmt: skip
PartSet = Literal[
    "crowdhuman", "crowdhuman-face", "citypersons", "citypersons-face", "citypersons-head", "bodyhands", "contacthands", "cocohumanparts",
    "mebow",
]  # fmt: skip
InstrumentSet = Literal["hsdb-cholecystectomy", "hsdb-gastrectomy"]
_WIDTH = 11


def evaluate(
    model: str,
    /,
    *,
    data: Path,
    dataset: PoseSet | PartSet | InstrumentSet | SpaceSet | MeshSet = "coco-wholebody",
    split: str | None = None,
    boxes: Path | None = None,
    flip_test: bool = True,
    multi_crop: Annotated[bool, Parameter(negative="")] = False,
    association: Literal["published", "best"] = "published",
    limit: int | None = None,
    device: Device = "auto",
    space: SpaceOptions = SPACE_DEFAULTS,
) -> int:
    """Judge a network on an annotated data set: poses (of COCO-WholeBody body, feet, face, hands and all points), people with their parts
    and the way they face, instruments, and people in space.

    Parameters
    ----------
    model
        An id (vitruvian weights list), an .onnx file, a checkpoint (.pth, .safetensors, or its id), or a training run: its folder, or the
        name of its recipe where the run is in runs/. Of several cameras, a take.npz or a folder of takes.
    data
        Folder of the data set in its official layout; of COCO-WholeBody also one with wholebody.json beside its pictures.
    dataset
        Which data set that is. From coco-wholebody to posetrack21 they are for pose networks, from crowdhuman to hsdb-gastrectomy for
        detectors, from human36m to egohumans for lifters and takes, the others for networks of meshes.
    split
        Which part of it; by default the one with published figures.
    boxes
        Detections (a COCO results file) to look in; by default the annotated boxes, as if every person had been found.
    flip_test
        Look at each person mirrored as well (not with networks for clips, which also see the frames before and after).
    multi_crop
        Look at each person in crops of three sizes, and take the mean of what they agree on.
    association
        Detectors that point at parts (BPJDet): as published, or the best of all parts together, see vitruvian detect.
    limit
        Only the first so many pictures.
    device
        Where the network runs.
    """
    if limit is not None and limit < 1:
        raise VitruvianError(f"{limit} pictures tell nothing: give a limit of 1 or more")
    if dataset not in get_args(PoseSet):
        if boxes is not None or multi_crop:
            raise VitruvianError(f"{dataset} is not for poses in pictures: leave --boxes and --multi-crop away")
        if dataset in get_args(PartSet):
            return _evaluate_parts(known(model), data, dataset, split or "", association, limit, device)
        if dataset in get_args(InstrumentSet):
            return _evaluate_instruments(known(model), data, dataset, split or "test", association, limit, device)
        in_space = evaluate_space if dataset in get_args(SpaceSet) else evaluate_meshes
        return in_space(model, data, dataset, split or "", limit, device, space)
    return _evaluate_poses(known(model), data, dataset, split or "", boxes, flip_test, multi_crop, limit, device)


def _evaluate_poses(
    model: str,
    data: Path,
    dataset: PoseSet,
    split: str,
    boxes: Path | None,
    flip_test: bool,
    multi_crop: bool,
    limit: int | None,
    device: Device,
) -> int:
    """Keypoints."""
    from vitruvian.data.judge import judge, part_points, read_boxes, table
    from vitruvian.data.readers import read_dataset

    source = read_dataset(dataset, data, split)
    detections = None if boxes is None else read_boxes(boxes)
    with network(model) as file:
        estimator = _estimator(file, flip_test, multi_crop, device)
        with progress_bar("eval", limit, "pictures") as update:
            judged = judge(source, estimator, detections, limit, lambda done: update(completed=done))
    people = sum(len(one.people) for one in judged)
    console.print(f"{model} on {source.name}: {counted(len(judged), 'picture')}, {counted(people, 'person', 'people')}")
    where = f"boxes of {boxes}" if boxes is not None else "true boxes: it was told where people are"
    frames = len(getattr(estimator, "offsets", ()))
    looks = f"clips of {frames} frames" if frames else "mirrored crops averaged" if flip_test else "no flip test"
    tests = f"{looks}{', three crops per person' if multi_crop else ''}"
    console.print(f"{where}; {tests}; {source.terms}")
    print_table(table(judged, source))
    points = part_points(judged, source.skeleton)
    if points:
        console.print("\nhands in sides of the box around them, faces in distances of the outer corners of the eyes")
        print_table(points)
    return 0


def _estimator(file: str, flip_test: bool, multi_crop: bool, device: Device) -> PoseEstimator | MultiCrop | ClipEstimator:
    """For pictures or, as the network wants it, for clips. Raises VitruvianError for several crops of clips."""
    from vitruvian.runtime.clips import ClipEstimator, looks_at_clips
    from vitruvian.runtime.multicrop import MultiCrop
    from vitruvian.runtime.pose import PoseEstimator
    from vitruvian.weights import card_for

    card = card_for(file)
    if card.task in ("pose2d", "pose3d") and looks_at_clips(card):
        if multi_crop:
            raise VitruvianError(f"{card.id} looks at clips: leave --multi-crop away")
        return ClipEstimator(card, device=device)
    estimator = PoseEstimator(card, flip_test=flip_test, device=device)
    return MultiCrop(estimator) if multi_crop else estimator


def _evaluate_parts(model: str, data: Path, dataset: PartSet, split: str, association: str, limit: int | None, device: Device) -> int:
    """Boxes of people and their parts, or headings."""
    from vitruvian.data.judge_parts import PLAIN, judge_parts, part_table, read_parts, thresholds_for

    source = read_parts(dataset, data, split)
    with network(model) as file:
        detector = _detector(file, thresholds_for(dataset), association, device)
        with progress_bar("eval", limit, "pictures") as update:
            judged = judge_parts(source, detector, limit, lambda done: update(completed=done))
    people = sum(len(one.picture.bodies) for one in judged)
    console.print(f"{model} on {source.name}: {counted(len(judged), 'picture')}, {counted(people, 'person', 'people')}")
    how = "parts are given to people by their boxes" if detector.layout.kind not in ("owned", "facing") else f"association: {association}"
    console.print(f"{how}; miss rates (MR): less is better; {source.terms}")
    print_table(part_table(judged, source, dataset), PLAIN)
    return 0


def _evaluate_instruments(
    model: str, data: Path, dataset: InstrumentSet, split: str, association: str, limit: int | None, device: Device
) -> int:
    """Instruments and their parts, by the data set's classes."""
    from vitruvian.codecs.association import Thresholds
    from vitruvian.data.hsdb_instrument import CLASSES, hsdb_instrument
    from vitruvian.data.judge_instruments import judge_instruments

    surgery = dataset.partition("-")[2]
    frames = hsdb_instrument(data, surgery, split)
    with network(model) as file:
        detector = _detector(file, Thresholds(), association, device)
        with progress_bar("eval", limit or len(frames), "pictures") as update:
            rows, means = judge_instruments(frames, detector, CLASSES[surgery], limit, lambda done: update(completed=done))
    console.print(f"{model} on hSDB-instrument, {surgery}, {split}: {counted(len(frames[:limit]), 'frame')}")
    console.print(f"association: {association}; the mean is over the {means['classes']:.0f} classes that are there; research use only")
    table = {name: {"boxes": float(count), "AP": ap, "AP50": half} for name, count, ap, half in rows}
    print_table(table | {"mean": {name: means[name] for name in ("AP", "AP50")}}, ("boxes",))
    return 0


def _detector(file: str, least: Thresholds, association: str, device: Device) -> Detector:
    """A detector of everything it knows, as published evaluations set it."""
    from vitruvian.runtime.detector import Detector
    from vitruvian.weights import card_for

    card = card_for(file)
    return Detector(
        card,
        classes=card.classes or ("person",),
        score_threshold=least.body_score,
        iou_threshold=least.body_iou,
        part_threshold=least.part_score,
        association=association,
        device=device,
    )


def known(model: str) -> str:
    """A model as `network` takes it: the folder of the run that bears this name, if there is one."""
    run = Path("runs") / model
    if not Path(model).exists() and (run / "network.safetensors").is_file():
        return str(run)
    return model


@contextmanager
def network(model: str) -> Iterator[str]:
    """What the runtime takes: an id or ONNX file as it is; a checkpoint or a run's folder exported into a temporary folder.

    Raises WeightsError where there is no such network, and MissingExtraError for a checkpoint without PyTorch.
    """
    path = Path(model) / "network.safetensors" if Path(model).is_dir() else Path(model)
    if not _is_checkpoint(model, path):
        yield model
        return
    try:
        from vitruvian.systems import catalogue
    except ImportError as error:
        raise MissingExtraError("a checkpoint needs PyTorch: pip install 'vitruvian[torch]'") from error
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "network.onnx"
        with status(f"exporting {path.name}") as on_step:
            catalogue.export(path if path.is_file() else model, target, on_step=on_step)
        yield str(target)


def _is_checkpoint(model: str, path: Path) -> bool:
    """Whether this is a file for PyTorch, or the id of one that `convert-checkpoint` has left and no network bears."""
    if path.suffix.lower() in (".pth", ".safetensors", ".onnx"):
        return path.suffix.lower() != ".onnx"
    from vitruvian.weights import card_for, store

    try:
        card_for(model)
    except WeightsError:
        if not store.ID.fullmatch(model) or not (store.home() / "checkpoints" / f"{model}.safetensors").is_file():
            raise
        return True
    return False


def print_table(rows: Table, plain: Sequence[str] = ()) -> None:
    """Percent, but for columns in `plain`; a row per part; "-" where there is nobody to find."""
    columns = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    first, width = (max([_WIDTH, *(len(name) + 2 for name in names)]) for names in (rows, columns))

    def value(name: str, figure: float) -> str:
        return "-" if not figure >= 0 else f"{figure:.2f}".rstrip("0").rstrip(".") if name in plain else f"{100 * figure:.1f}"

    console.print(f"{'':<{first}}" + "".join(f"{name:>{width}}" for name in columns))
    for part, figures in rows.items():
        values = (value(name, figures.get(name, math.nan)) for name in columns)
        console.print(f"{part:<{first}}" + "".join(f"{one:>{width}}" for one in values))
