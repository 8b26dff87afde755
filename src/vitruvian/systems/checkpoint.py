"""Published checkpoints: read them safely and pour them into our modules, with nothing missing and nothing left over."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from vitruvian._files import written_whole
from vitruvian.errors import MissingExtraError, WeightsError
from vitruvian.systems.pickled import read_pickled_module

# Counters that batch normalisation keeps for cumulative averages; inference never reads them, and old files lack them.
_OPTIONAL = re.compile(r"(^|\.)num_batches_tracked$")

_ENTRIES = ("state_dict", "model_state_dict", "averaged", "model", "model_pos", "network", "net")
"""Where training programs put the state dict in their containers, in order of preference; ours has averaged weights beside the last."""

_INERT = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *("numpy.ndarray", "numpy.dtype", "builtins.getattr", "__builtin__.getattr"),
    *("mmengine.logging.history_buffer.HistoryBuffer", "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict"),
    *("argparse.Namespace", "pathlib.PosixPath", "pathlib.PurePosixPath", "datetime.datetime"),
)
"""What training programs pickle beside the tensors (data set tables, histories, options): read as `_Inert`, none of it is ever called."""

_Config = TypeVar("_Config")
_Network = TypeVar("_Network", bound=nn.Module)
_GROWTH = 8
"""How many times larger than its file a state dict may be: tied weights share storage; a few bytes can pretend to be gigabytes."""


class _Inert:
    """Stands in for a foreign object: takes any arguments and any state, keeps nothing."""

    def __new__(cls, *_: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict without running any code that the file carries.

    A file of safetensors (told by its suffix), or what torch.save wrote: a state dict, or a container with the entry "state_dict",
    "model_state_dict", "averaged", "model" or "net"; or a whole network that was pickled as an object (`pickled`). What isn't a tensor is
    left out.
    Raises WeightsError if the file is missing, damaged, holds no state dict, or pickles anything but tensors, plain values and a few known
    kinds of notes; MissingExtraError without the package safetensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; download the checkpoint first")
    if not path.stat().st_size:
        raise WeightsError(f"{path} is empty: download it again")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in _INERT]):
            container = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged or unsafe pickles
        if zipfile.is_zipfile(path):
            with suppress(WeightsError):
                return read_pickled_module(path)
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path} can't be read as tensors only; re-save its state_dict with a trusted program ({reason})") from error
    found = container if isinstance(container, Mapping) else {}
    state = next((found[name] for name in _ENTRIES if isinstance(found.get(name), Mapping)), found)
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no state dict; re-save it as {{name: tensor}}")
    if sum(value.numel() * value.element_size() for value in tensors.values()) > _GROWTH * path.stat().st_size:
        raise WeightsError(f"{path} holds tensors that are much larger than the file: don't trust it")
    return tensors


def write_state(state: Mapping[str, Tensor], path: str | Path, notes: Mapping[str, str]) -> None:
    """Write a state dict as safetensors, whole or not at all; `notes` go into the header, which other programs show.

    Raises FormatError where the file can't be written, MissingExtraError without the package safetensors.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise MissingExtraError("safetensors is not installed: pip install 'vitruvian[torch]'") from error
    # Cloned, because the format refuses tensors that share memory, as tied weights do.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    with written_whole(path) as temporary:
        save_file(tensors, str(temporary), {"format": "pt", **notes})
        temporary.chmod(0o644)  # the package leaves files that only their owner can read


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError("safetensors is not installed: pip install 'vitruvian[torch]'") from error
    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, and others for damaged headers
        raise WeightsError(f"{path} is damaged or no safetensors file; fetch or convert it again ({error})") from error


def rename(state: Mapping[str, Tensor], keymap: Sequence[tuple[str, str]] = (), drop: Sequence[str] = ()) -> dict[str, Tensor]:
    """Drop the keys that match one of `drop` (regular expressions, searched), then apply every substitution of `keymap` in order."""
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        if any(re.search(pattern, name) for pattern in drop):
            continue
        for pattern, replacement in keymap:
            name = re.sub(pattern, replacement, name)
        out[name] = torch.as_tensor(value)
    return out


def need(state: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    """The shape of entry `name`, to infer a variant from. Raises WeightsError if it is absent or has not `dims` axes."""
    if name not in state:
        raise WeightsError(f"the state dict has no entry {name!r}: it is not a checkpoint of this system; check which file was given")
    shape = tuple(state[name].shape)
    if len(shape) != dims:
        raise WeightsError(f"{name} has shape {shape}, expected {dims} axes: it is a checkpoint of another system")
    return shape


def count_parts(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many modules stand right under `prefix`, as "blocks.": the length of a list of layers."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def check_fit(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise one WeightsError that lists every missing, left-over and wrongly shaped entry, if there is any."""
    target = model.state_dict()
    missing = [name for name in target if name not in state and not _OPTIONAL.search(name)]
    left_over = [name for name in state if name not in target]
    shapes = [f"{n} {tuple(state[n].shape)} for {tuple(t.shape)}" for n, t in target.items() if n in state and state[n].shape != t.shape]
    problems = [
        f"{title} {len(names)}: {', '.join(names)}"
        for title, names in (("missing", missing), ("left over", left_over), ("wrong shape", shapes))
        if names
    ]
    if problems:
        raise WeightsError(f"the checkpoint does not fit {type(model).__name__}; check the file and the variant. " + "; ".join(problems))


def pour(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy `state` into `model`. Raises as `check_fit`."""
    check_fit(model, state)
    target = model.state_dict()
    model.load_state_dict({name: state.get(name, value) for name, value in target.items()})


def filled(build: Callable[[_Config], _Network], config: _Config, state: Mapping[str, Tensor]) -> _Network:
    """The network of a configuration with the weights of `state`, in eval mode. Raises as `check_fit`."""
    with torch.device("meta"):
        check_fit(build(config), state)  # before memory is taken for what a damaged file asks for
    model = build(config)
    pour(model, state)
    return model.eval()
