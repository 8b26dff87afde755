"""Published checkpoints: read them safely and pour them into our modules, with nothing missing and nothing left over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vitruvian.errors import WeightsError

# Counters that batch normalisation keeps for cumulative averages; inference never reads them, and old files lack them.
_OPTIONAL = re.compile(r"(^|\.)num_batches_tracked$")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a `.pth` file (a state dict, or a container with the entry "state_dict") without running any code that it carries.

    Raises WeightsError if the file is missing, damaged, or pickles anything but tensors and plain values.
    """
    try:
        container = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; download the checkpoint first") from error
    except Exception as error:  # torch raises many types for damaged or unsafe pickles
        raise WeightsError(f"{path} can't be read as tensors only; re-save its state_dict with a trusted program ({error})") from error
    state = container.get("state_dict", container) if isinstance(container, Mapping) else None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds no state dict; re-save it as {{name: tensor}}")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


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


def pour(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy `state` into `model`. Raises one WeightsError that lists every missing, left-over and wrongly shaped entry."""
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
    model.load_state_dict({name: state.get(name, value) for name, value in target.items()})
