"""`vitruvian eval`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vitruvian.cli.console import console, counted, progress_bar, stderr
from vitruvian.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from vitruvian.data.judge import Table

DataSet = Literal["coco-wholebody", "coco", "ubody", "halpe", "crowdpose", "humanart", "mpii", "posetrack17", "posetrack18", "posetrack21"]
_WIDTH = 11
_RECIPES = {"dwpose-t-synth": "recipes/dwpose-t.toml"}
"""Networks that are made here and not fetched, and what makes them."""


def evaluate(
    model: str,
    /,
    *,
    data: Path,
    dataset: DataSet = "coco-wholebody",
    split: str | None = None,
    boxes: Path | None = None,
    flip_test: bool = True,
    multi_crop: bool = False,
    limit: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Judge a pose network on an annotated data set; of COCO-WholeBody, body, feet, face, hands and all points.

    Parameters
    ----------
    model
        An id (vitruvian weights list), an .onnx file, a checkpoint (.pth, .safetensors, or its id), or a training run: its folder, or the
        name of its recipe where the run is in runs/.
    data
        Folder of the data set in its official layout; of COCO-WholeBody also one with wholebody.json beside its pictures.
    dataset
        Which data set that is.
    split
        Which part of it; by default the one with published figures.
    boxes
        Detections (a COCO results file) to look in; by default the annotated boxes, as if every person had been found.
    flip_test
        Look at each person mirrored as well.
    multi_crop
        Look at each person in crops of three sizes, and take the mean of what they agree on.
    limit
        Only the first so many pictures.
    device
        Where the network runs.
    """
    from vitruvian.data.judge import judge, read_boxes, table
    from vitruvian.data.readers import read_dataset
    from vitruvian.runtime.multicrop import MultiCrop
    from vitruvian.runtime.pose import PoseEstimator

    source = read_dataset(dataset, data, split or "")
    model = known(model)
    detections = None if boxes is None else read_boxes(boxes)
    with network(model) as file:
        estimator = PoseEstimator(file, flip_test=flip_test, device=device)
        estimator = MultiCrop(estimator) if multi_crop else estimator
        with progress_bar("eval", limit, "pictures") as update:
            judged = judge(source, estimator, detections, limit, lambda done: update(completed=done))
    people = sum(len(one.people) for one in judged)
    console.print(f"{model} on {source.name}: {counted(len(judged), 'picture')}, {counted(people, 'person', 'people')}", markup=False)
    where = f"boxes of {boxes}" if boxes is not None else "true boxes: it was told where people are"
    tests = f"{'mirrored crops averaged' if flip_test else 'no flip test'}{', three crops per person' if multi_crop else ''}"
    console.print(f"{where}; {tests}; {source.terms}", markup=False)
    print_table(table(judged, source))
    return 0


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
        with stderr.status(f"exporting {path.name}") as status:
            catalogue.export(path if path.is_file() else model, target, on_step=status.update)
        yield str(target)


def _is_checkpoint(model: str, path: Path) -> bool:
    """Whether this is a file for PyTorch, or the id of one that `convert-checkpoint` has left and no network bears."""
    if path.suffix.lower() in (".pth", ".safetensors", ".onnx"):
        return path.suffix.lower() != ".onnx"
    from vitruvian.weights import card_for, store

    try:
        card_for(model)
    except WeightsError:
        if store.ID.fullmatch(model) and (store.home() / "checkpoints" / f"{model}.safetensors").is_file():
            return True
        if model in _RECIPES:
            raise WeightsError(
                f"{model} is not here: vitruvian train {_RECIPES[model]} makes it, in runs/{model}, or vitruvian weights add "
                f"FILE --id {model} takes in one that was made elsewhere; the packaged network is wholebody-s"
            ) from None
        raise
    return False


def print_table(rows: Table) -> None:
    """Percent, a row per part; "-" where there is nobody to find."""
    columns = list(next(iter(rows.values())))
    console.print(f"{'':<{_WIDTH}}" + "".join(f"{name:>{_WIDTH}}" for name in columns), markup=False)
    for part, figures in rows.items():
        values = ("-" if not figures[name] >= 0 else f"{100 * figures[name]:.1f}" for name in columns)
        console.print(f"{part:<{_WIDTH}}" + "".join(f"{value:>{_WIDTH}}" for value in values), markup=False)
