"""From the upper floor to the ground floor: write a network as ONNX and prove that the file says the same."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vitruvian.errors import MissingExtraError, WeightsError

OPSET = 18


def export_onnx(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    path: str | Path,
    input_names: Sequence[str] = ("image",),
    output_names: Sequence[str] = ("output",),
    tolerance: float = 1e-3,
) -> float:
    """Write `model` to `path` as one ONNX file with a free batch size; return the largest difference from torch, over batches of 1 and 3.

    `example` is a float input, or a tuple of them, of any batch size of at least 1; its other sizes become fixed. The model is copied, and
    the copy exported in float32, in eval mode, on the CPU. Normalisations that no convolution absorbs are left to ONNX Runtime's optimiser.
    Raises WeightsError if an output differs by more than `tolerance` times its largest value (then `path` is not touched), and
    MissingExtraError without onnx, onnxscript and onnxruntime.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"exporting needs {error.name}; pip install onnx onnxscript onnxruntime") from error
    examples = example if isinstance(example, tuple) else (example,)
    network = copy.deepcopy(model).float().cpu().eval()
    path = Path(path)
    temporary = path.with_name(path.name + ".partial")
    try:
        torch.onnx.export(
            network,
            tuple(torch.zeros(2, *x.shape[1:]) for x in examples),  # 2, because a batch of 1 would be taken for a constant
            str(temporary),
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in examples),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        worst, relative = difference(network, temporary, tuple(tuple(x.shape[1:]) for x in examples))
        if not relative <= tolerance:
            raise WeightsError(f"the exported network is off by {relative:.1e} of torch's range; look for an operator that differs")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
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
