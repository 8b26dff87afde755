"""Opening an ONNX file: the one place that imports ONNX Runtime and turns its complaints into ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from vitruvian.errors import MissingExtraError, WeightsError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

MAX_FILE_BYTES = 2 << 30
"""Protocol buffers end at 2 GiB, so a larger file can't be an ONNX graph."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph: name, shape (None = any size) and ONNX Runtime's element type such as "tensor(float)"."""

    name: str
    shape: tuple[int | None, ...]
    type: str


@dataclass(frozen=True)
class Ports:
    """All inputs and outputs of a graph."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime; MissingExtraError names the extra when it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "ONNX Runtime is not installed: pip install 'vitruvian[cpu]' (with an NVIDIA GPU: pip install 'vitruvian[gpu]')."
        ) from error
    return onnxruntime


def open_onnx(path: str | Path, options: SessionOptions, providers: Sequence[str] = ("CPUExecutionProvider",)) -> InferenceSession:
    """An inference session on the file. Raises WeightsError when it is missing, empty, too large, or no valid ONNX graph."""
    onnxruntime = import_onnxruntime()
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"No network file at {path}: check the path.")
    if not 0 < path.stat().st_size <= MAX_FILE_BYTES:
        raise WeightsError(f"{path} has {path.stat().st_size} bytes and is no ONNX file: fetch or export it again.")
    options.log_severity_level = 3  # errors arrive as exceptions; its own lines on stderr would say them twice
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path} is damaged or no ONNX file, fetch or export it again ({reason}).") from error


def ports(session: InferenceSession) -> Ports:
    """Inputs and outputs of an open session."""

    def read(args: Sequence) -> tuple[Port, ...]:
        return tuple(Port(a.name, tuple(d if isinstance(d, int) and d > 0 else None for d in a.shape), a.type) for a in args)

    return Ports(read(session.get_inputs()), read(session.get_outputs()))


def read_ports(path: str | Path) -> Ports:
    """Inputs and outputs of an ONNX file, without preparing it for running. Raises as `open_onnx`."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ports(open_onnx(path, options))
