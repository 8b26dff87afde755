"""One network, ready to run: ONNX Runtime with our choice of device, threads and batches."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from vitruvian.errors import MissingExtraError, WeightsError
from vitruvian.weights.graph import import_onnxruntime, open_onnx, ports

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def open_session(path: str | Path, device: Device, threads: int | None):
    """ONNX Runtime's own session of a file, with our choice of device and threads. Raises as `Session`, but for unsuitable inputs."""
    onnxruntime = import_onnxruntime()
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise MissingExtraError("This ONNX Runtime has no CUDA: pip uninstall onnxruntime, then pip install 'vitruvian[gpu]'.")
    providers = ["CUDAExecutionProvider"] if has_cuda and device != "cpu" else []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or _cpus()
    options.inter_op_num_threads = 1
    # Waiting threads that spin take the CPU from the other network, the decoder and other processes. Measured with detectors taking
    # turns on two cores of which one is busy: 19 ms per picture with spinning, 7 ms without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return open_onnx(path, options, [*providers, "CPUExecutionProvider"])


class Session:
    """An ONNX file with one input (b, ...).

    `device` "auto" takes CUDA where this ONNX Runtime has it, else the CPU. `threads` None takes every CPU this process may use.
    `max_batch` bounds how many pictures go in at once; a graph with a fixed batch size is fed in batches of that size.
    Raises WeightsError on a missing, damaged or unsuitable file, MissingExtraError without ONNX Runtime or without its CUDA half.
    """

    def __init__(self, path: str | Path, *, device: Device = "auto", threads: int | None = None, max_batch: int = 8) -> None:
        self._session = open_session(path, device, threads)
        found = ports(self._session)
        if len(found.inputs) != 1 or found.inputs[0].type not in _DTYPES or not found.inputs[0].shape:
            inputs = ", ".join(f"{port.name} {port.type} {list(port.shape)}" for port in found.inputs)
            raise WeightsError(f"{path} must have one floating-point input with a batch axis, but has: {inputs}. Use another export.")
        self.path = Path(path)
        self.input_shape: tuple[int | None, ...] = found.inputs[0].shape
        self.output_names: tuple[str, ...] = tuple(port.name for port in found.outputs)
        self.output_shapes: tuple[tuple[int | None, ...], ...] = tuple(port.shape for port in found.outputs)
        self.batch_size: int = self.input_shape[0] or max(1, max_batch)
        self.device: str = "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
        self._input = found.inputs[0]
        logger.debug("%s runs on %s, batches of %d", self.path.name, self.device, self.batch_size)

    def run(self, batch: Float[np.ndarray, "b ..."]) -> tuple[np.ndarray, ...]:
        """All outputs for a batch of any size, each with the batch along its first axis, in the order of `output_names`.

        An empty batch runs nothing and gives empty arrays. Raises WeightsError when the network doesn't take this shape.
        """
        if len(batch) == 0:
            return tuple(np.zeros((0, *(side or 0 for side in shape[1:])), np.float32) for shape in self.output_shapes)
        parts = [self._run_one(batch[start : start + self.batch_size]) for start in range(0, len(batch), self.batch_size)]
        return parts[0] if len(parts) == 1 else tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def _run_one(self, batch: Float[np.ndarray, "b ..."]) -> tuple[np.ndarray, ...]:
        """At most `batch_size` rows; a graph with a fixed batch size gets zeros as filling, which are cut off again."""
        rows = len(batch)
        batch = np.ascontiguousarray(batch, _DTYPES[self._input.type])
        missing = (self.input_shape[0] or rows) - rows
        if missing:
            batch = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
        try:
            outputs = self._session.run(None, {self._input.name: batch})
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            wanted = ["any" if side is None else side for side in self.input_shape]
            raise WeightsError(f"{self.path} can't run on {batch.shape}, its input is {wanted}: check its card ({error}).") from error
        return tuple(array[:rows] for array in outputs) if missing else tuple(outputs)


def _cpus() -> int:
    """CPUs this process may use: `taskset` and cluster managers often give fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
