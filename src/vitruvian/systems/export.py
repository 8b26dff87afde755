"""From the upper floor to the ground floor: write a network as ONNX and prove that the file says the same."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.errors import FormatError, MissingExtraError, WeightsError
from vitruvian.skeletons import Skeleton, by_name
from vitruvian.skeletons.table import from_table, table_of
from vitruvian.systems.biomechanics.marker_points import read_points
from vitruvian.weights import Card
from vitruvian.weights.card import file_sha256
from vitruvian.weights.find import SKELETON_OF

OPSET = 18
ROUNDING = 4.0
"""How many times torch's own rounding error an exported network may be off, where that is more than the tolerance."""


@dataclass(frozen=True)
class Exported:
    """What a system puts into an ONNX file.

    `network` may be the model itself, a wrapper that decodes, or a function that makes one where that takes more than the checkpoint (the
    user's body models): who only wants the card does without. `inputs` are names with the shapes of one sample, `outputs` names in order.
    The card says all that the ground floor must know; its file, sum and size are filled in when the file is written.
    """

    network: nn.Module | Callable[[], nn.Module]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    card: Card


def keypoint_set(keypoints: int, skeleton: str | Skeleton = "") -> Skeleton:
    """The keypoint set that a network of so many keypoints has: the given one, or ("") the usual one of that number.

    skeleton: the set, its name, or a file that declares one (`systems.biomechanics.marker_points`), told by its suffix .toml.
    Raises WeightsError when there is none, or the one that is given has another number, VitruvianError for an unknown name, and
    FormatError for a file that declares none.
    """
    if not skeleton and keypoints not in SKELETON_OF:
        raise WeightsError(
            f"no keypoint set of {keypoints} keypoints is taken for granted: name one with --skeleton (skeleton=), "
            "or give the .toml file that declares it"
        )
    found = skeleton or SKELETON_OF[keypoints]
    if isinstance(found, str):
        found = read_points(found).skeleton if found.endswith(".toml") else by_name(found)
    if len(found) != keypoints:
        raise WeightsError(f"the network gives {keypoints} keypoints, {found.name} has {len(found)}: name another --skeleton")
    return found


def keypoint_notes(skeleton: Skeleton) -> dict[str, str]:
    """What a checkpoint's notes say of its keypoint set, for `checkpoint.write_state`. Raises as `table_of`."""
    return {_NOTE: json.dumps({"name": skeleton.name, "table": table_of(skeleton)})}


def noted_keypoints(path: str | Path) -> Skeleton | None:
    """The keypoint set that the notes of a checkpoint name, None where they don't (or the file is no .safetensors, or can't be read).

    Raises FormatError where they say something that is no keypoint set.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        return None
    try:
        from safetensors import safe_open

        with safe_open(str(path), "pt") as file:
            note = (file.metadata() or {}).get(_NOTE)
    except Exception:  # without the package, or damaged: whoever reads the weights says so
        return None
    if note is None:
        return None
    try:
        said = json.loads(note)
        return from_table(said["name"], said["table"])
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise FormatError(f"{path}: its notes on keypoints are damaged; name the set with --skeleton") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


_NOTE = "keypoints"


def write_onnx(exported: Exported, path: str | Path) -> tuple[Card, float]:
    """Write a network to `path` (.onnx) and its card beside it (.json); return the card, and the largest difference from torch.

    Raises as `export_onnx`, and WeightsError when `path` has another suffix.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise WeightsError(f"{path.name!r} is no name for an ONNX file: end it with .onnx")
    examples = tuple(torch.zeros(1, *shape) for shape in exported.inputs.values())
    network = exported.network if isinstance(exported.network, nn.Module) else exported.network()
    worst = export_onnx(network, examples, path, tuple(exported.inputs), exported.outputs)
    card = replace(exported.card, id=path.stem, file=str(path), sha256=file_sha256(path), size_bytes=path.stat().st_size)
    card.save(path.with_suffix(".json"))
    return card, worst


def export_onnx(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    path: str | Path,
    input_names: Sequence[str] = ("image",),
    output_names: Sequence[str] = ("output",),
    tolerance: float = 1e-3,
    free: Mapping[int, str] = MappingProxyType({}),
) -> float:
    """Write `model` to `path` as one ONNX file with a free batch size; return the largest difference from torch, over batches of 1 and 3.

    `example` is a float input, or a tuple of them, of any batch size of at least 1; its other sizes become fixed, but for those of the
    axes in `free` (axis -> name). The model is copied, and
    the copy exported in float32, in eval mode, on the CPU. Normalisations that no convolution absorbs are left to ONNX Runtime's optimiser.
    Raises WeightsError if an output differs by more than `tolerance` times its largest value and by more than `ROUNDING` times what float32
    itself loses in torch, which ill-conditioned weights can make larger (then `path` is not touched), and
    MissingExtraError without onnx, onnxscript and onnxruntime. FormatError where the file can't be written.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"exporting needs {error.name}; pip install onnx onnxscript onnxruntime") from error
    examples = example if isinstance(example, tuple) else (example,)
    network = copy.deepcopy(model).float().cpu().eval()
    with written_whole(path) as temporary, _quiet():
        torch.onnx.export(
            network,
            tuple(torch.zeros(2, *x.shape[1:]) for x in examples),  # 2, because a batch of 1 would be taken for a constant
            str(temporary),
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=tuple({axis: torch.export.Dim(name) for axis, name in ({0: "batch"} | dict(free)).items()} for _ in examples),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        shapes = tuple(tuple(x.shape[1:]) for x in examples)
        worst, relative = difference(network, temporary, shapes)
        if not (relative <= tolerance or relative <= ROUNDING * rounding(network, shapes)):
            raise WeightsError(f"the exported network is off by {relative:.1e} of torch's range; look for an operator that differs")
    return worst


def difference(
    network: nn.Module, path: str | Path, shapes: Sequence[tuple[int, ...]], batches: Sequence[int] = (1, 3)
) -> tuple[float, float]:
    """Largest difference between a network (CPU, eval) and its ONNX file on standard-normal inputs: absolute, and relative to the range.

    The range is an output's largest value in a batch. `shapes` are the inputs' shapes without the batch.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    generator = torch.Generator().manual_seed(0)
    worst = relative = 0.0
    for batch in batches:
        inputs = [torch.randn(batch, *shape, generator=generator) for shape in shapes]
        with torch.no_grad():
            expected = network(*inputs)
        expected = (expected,) if isinstance(expected, Tensor) else expected
        found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        for a, b in zip(found, expected, strict=True):
            b = b.numpy()
            if a.shape != b.shape:
                raise WeightsError(f"the exported network gives shape {a.shape} for {b.shape}; the model fixes its batch size somewhere")
            gap = float(np.abs(a - b).max(initial=0.0))
            worst = max(worst, gap)
            relative = max(relative, gap / max(float(np.abs(b).max(initial=0.0)), 1e-12))
    return worst, relative


def rounding(network: nn.Module, shapes: Sequence[tuple[int, ...]], batch: int = 3) -> float:
    """How much of an output's range float32 loses in torch: largest difference from the same network in float64, 0 if it can't run in that.

    Arguments and range as for `difference`.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(batch, *shape, generator=generator) for shape in shapes]
    try:
        with torch.no_grad():  # copies, so that a network that changes with each call can't hide behind rounding
            exact = copy.deepcopy(network).double()(*(x.double() for x in inputs))
            found = copy.deepcopy(network)(*inputs)
    except (RuntimeError, TypeError):
        return 0.0
    pairs = zip(*((x,) if isinstance(x, Tensor) else x for x in (found, exact)), strict=True)
    return max(float((a - b).abs().max()) / max(float(b.abs().max()), 1e-12) for a, b in pairs)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's logger says at every first export that torchvision, which nothing here uses, is not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # of torch about its own future
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
