"""Whole networks that were pickled as objects (YOLOv5 and its descendants), read as a state dict and without any of their code.

Such a .pt file is a zip archive of torch.save: a pickle that names foreign classes (`models.yolo.Model`), and one entry per storage. The
pickle goes through `vitruvian._unpickle`: every class becomes an inert shell with its fields, of which only `_parameters`, `_buffers` and
`_modules` are walked; nothing is imported or called. Tensors stay descriptions until one is wanted, and then must lie within their
storage, and that within the file.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from vitruvian._unpickle import NUMPY, PLAIN, Build, Builder, Call, Global, Limits, unpickle
from vitruvian.errors import FormatError, WeightsError

LIMITS = Limits(size=64 << 20, memory=256 << 20)
"""Of the pickle alone, which holds names and numbers; the weights are beside it."""
MAX_MODULES = 20_000
GROWTH = 8
"""How many times larger than its file a network may be."""
ENTRIES = ("ema", "model")
"""Where training programs put the network, in order of preference: the averaged one first."""

_SHELLS = ("models.", "utils.", "torch.nn.modules.")
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Shell:
    """A foreign object: the name of its class, and its fields."""

    name: str
    fields: dict


@dataclass(frozen=True, eq=False)
class _Storage:
    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, eq=False)
class _View:
    """A tensor that nobody has read yet."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class _Walk:
    """Tensors found so far."""

    found: dict[str, _View] = field(default_factory=dict)
    modules: int = 0

    def visit(self, shell: object, prefix: str) -> None:
        """Collect the tensors of a module and its children under the names that a state dict has."""
        self.modules += 1
        if not isinstance(shell, _Shell) or self.modules > MAX_MODULES:
            raise FormatError("the pickle has something else than modules in a network: convert it with its own program")
        fields = [shell.fields.get(name) or {} for name in ("_parameters", "_buffers", "_modules")]
        if not all(isinstance(one, dict) and all(isinstance(key, str) for key in one) for one in fields):
            raise FormatError("the pickle has a module without proper fields: convert it with its own program")
        parameters, buffers, modules = fields
        hidden = shell.fields.get("_non_persistent_buffers_set") or ()
        for name, value in (*parameters.items(), *((n, v) for n, v in buffers.items() if n not in hidden)):
            if value is not None:
                if not isinstance(value, _View):
                    raise FormatError(f"{prefix}{name} in the pickle is no tensor: convert it with its own program")
                self.found[prefix + name] = value
        for name, child in modules.items():
            if child is not None:
                self.visit(child, f"{prefix}{name}.")


def read_pickled_module(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a network that was saved as a whole (zip form of torch.save, torch 1.6 on), as plain tensors of their own type.

    The file holds a module, or a dictionary with one as "ema" or "model". Raises WeightsError where it is missing, damaged, of another
    form, or names anything beyond modules, tensors, numpy values and plain containers.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive)
            top = unpickle(archive.read(entries["data.pkl"]), NAMES, limits=LIMITS, unknown=_unknown, persistent=_storage)
            network = next((top[name] for name in ENTRIES if top.get(name) is not None), None) if isinstance(top, dict) else top
            walk = _Walk()
            walk.visit(network, "")
            if not walk.found:
                raise FormatError("the pickled network has no weights: check which file was given")
            return _read(archive, entries, walk.found)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; download the checkpoint first") from error
    except (FormatError, OSError, zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, RecursionError) as error:
        raise WeightsError(f"{path} can't be read as a pickled network; re-save its state_dict with a trusted program ({error})") from error


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by their name without the leading folder. Compressed ones, which could unfold to anything, are refused."""
    out = {}
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise FormatError(f"the entry {info.filename[:80]!r} is compressed, which torch.save never does")
        out[info.filename.partition("/")[2]] = info
    if "data.pkl" not in out or out["data.pkl"].file_size > LIMITS.size:
        raise FormatError("no data.pkl inside, or too large a one")
    if "byteorder" in out and archive.read(out["byteorder"]) != b"little":
        raise FormatError("its numbers are not little-endian")
    return out


def _read(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], views: Mapping[str, _View]) -> dict[str, Tensor]:
    """The tensors themselves, each within its storage; together not much larger than the file, which tied weights share."""
    storages: dict[str, Tensor] = {}
    out, total = {}, 0
    limit = GROWTH * sum(info.file_size for info in entries.values())
    for name, view in views.items():
        storage = view.storage
        if storage.key not in storages:
            info = entries.get(f"data/{storage.key}")
            if info is None or info.file_size != storage.count * storage.dtype.itemsize:
                raise FormatError(f"the storage of {name} is missing or of another size")
            raw = bytearray(archive.read(info))
            storages[storage.key] = torch.frombuffer(raw, dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)
        data = storages[storage.key]
        if data.dtype != storage.dtype:
            raise FormatError(f"the storage of {name} is named with two types")
        count = math.prod(view.shape)
        last = view.offset + sum((n - 1) * step for n, step in zip(view.shape, view.strides, strict=True)) if count else 0
        total += count * storage.dtype.itemsize
        if count > storage.count or last >= max(storage.count, 1) or total > limit:
            raise FormatError(f"{name} reaches beyond its storage")
        out[name] = data.as_strided(view.shape, view.strides, view.offset).clone() if count else torch.empty(view.shape, dtype=data.dtype)
    return out


def _unknown(name: str) -> Builder | None:
    return _shell if name.startswith(_SHELLS) else None


def _shell(call: Call, build: Build) -> _Shell:
    state = build(call.state)
    return _Shell(call.name, state if isinstance(state, dict) else {})


def _inert(call: Call, build: Build) -> _Shell:
    """An object of no interest: paths, devices, dates."""
    return _Shell(call.name, {})


def _storage(call: Call, build: Build) -> _Storage:
    """The persistent id of torch: ("storage", type, key, location, number of elements)."""
    (key,) = call.arguments
    key = build(key)
    if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage" or not isinstance(key[1], Global) or not _is_count(key[4]):
        raise FormatError("the pickle refers to data in an unknown way: get the file again")
    dtype = _STORAGES.get(key[1].name.removeprefix("torch."))
    if dtype is None or not isinstance(key[2], str) or not key[2].isalnum():
        raise FormatError(f"the pickle has a storage of {key[1].name}: get the file again")
    return _Storage(key[2], dtype, key[4])


def _view(call: Call, build: Build) -> _View:
    """torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)."""
    storage, offset, shape, strides, *_ = build(call.arguments)
    sizes = shape, strides
    whole = all(isinstance(one, tuple) and len(one) <= 16 and all(_is_count(n) for n in one) for one in sizes)
    if not isinstance(storage, _Storage) or not _is_count(offset) or not whole or len(shape) != len(strides):
        raise FormatError("the pickle has a tensor without a proper shape: get the file again")
    return _View(storage, offset, shape, strides)


def _parameter(call: Call, build: Build) -> object:
    """torch._utils._rebuild_parameter(tensor, requires_grad, hooks)."""
    tensor, *_ = build(call.arguments)
    return tensor


def _size(call: Call, build: Build) -> tuple:
    """torch.Size((...))."""
    (shape,) = build(call.arguments)
    return tuple(shape)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


NAMES: Mapping[str, Builder] = MappingProxyType(
    {
        **PLAIN,
        **NUMPY,
        "torch._utils._rebuild_tensor_v2": _view,
        "torch._utils._rebuild_parameter": _parameter,
        "torch.Size": _size,
        **{f"torch.{name}": _inert for name in (*_STORAGES, "device", "float16", "float32")},
        **{name: _inert for name in ("pathlib.PosixPath", "pathlib.PurePosixPath", "datetime.datetime", "argparse.Namespace")},
    }
)
"""Every name that such a pickle may hold, beside classes of modules."""
