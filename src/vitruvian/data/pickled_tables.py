"""Pickles of pandas' DataFrames, and of torch's tensors inside other pickles, read without pandas or torch and without running anything.

    table = read_frame(path)         # {"imgPath": array of n cells, ...}
    fit = read_dictionary(path)      # numpy arrays where the file has torch tensors

A DataFrame's pickle holds its columns in blocks of one type each. Three forms of it are known, of pandas 0.25-1.2, 1.3-2.3, and 3, of
which the first two are read (files of 1.0.5, 1.5.3 and 2.3.3 were checked); 3 packs text in classes of its own and is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vitruvian._unpickle import NUMPY, PLAIN, Build, Builder, Call, Global, Limits, read_pickle, unpickle
from vitruvian.errors import FormatError

LIMITS = Limits(size=4 << 30, steps=50_000_000, memory=8 << 30)
FIT_LIMITS = Limits(size=16 << 20, memory=64 << 20)
_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}
_INDEXES = {"base": ("Index",), "numeric": ("Int64Index", "UInt64Index", "Float64Index"), "range": ("RangeIndex",)}
_PARTS = 5  # pickles in a row: magic number, version, machine, the storage's record, its keys


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A DataFrame's insides: its columns' names, and blocks of (values, which columns they are)."""

    columns: list[object] | range
    rows: int
    blocks: list[tuple[np.ndarray, Sequence[int]]]


@dataclass(frozen=True, eq=False)
class _Storage:
    """The numbers behind torch tensors."""

    values: np.ndarray


def read_frame(path: str | Path, limits: Limits = LIMITS) -> dict[str, np.ndarray]:
    """The columns of a DataFrame by name, one cell per row each. Raises FormatError for anything else."""
    value = read_pickle(path, FRAME, limits=limits)
    if not isinstance(value, _Blocks):
        raise FormatError(f"{path} holds a {type(value).__name__}, not a table of pandas; check which file was given")
    table: dict[str, np.ndarray] = {}
    for values, places in value.blocks:
        for place, column in zip(places, values, strict=True):
            table[str(value.columns[place])] = column
    if len(table) != len(value.columns):
        raise FormatError(f"{path} has a table with a column missing or twice; get the file again")
    return table


def read_dictionary(path: str | Path, limits: Limits = FIT_LIMITS) -> dict[str, object]:
    """The entries of a pickled dictionary of plain values, arrays and torch tensors (as arrays). Raises FormatError for anything else."""
    value = read_pickle(path, TENSORS, limits=limits)
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds a {type(value).__name__}, not a table of parameters; check which file was given")
    return value


def _wrong(what: str) -> FormatError:
    return FormatError(f"the pickle has a table with {what}; save it anew with pandas 2.3 or older, or get the file again")


def _index(call: Call, build: Build) -> list[object] | range:
    """pandas' `_new_Index(class, fields)`: the labels of an axis."""
    kind, state = build(call.arguments)
    if not isinstance(kind, Global) or not isinstance(state, dict):
        raise _wrong("an unknown kind of labels")
    if kind.name.endswith(".RangeIndex"):
        span = [state.get(name) for name in ("start", "stop", "step")]
        if not all(isinstance(number, int) for number in span) or span[2] == 0:
            raise _wrong("a range that is none")
        return range(*span)
    labels = state.get("data")
    if not isinstance(labels, np.ndarray) or labels.ndim != 1:
        raise _wrong("labels that are no list")
    return labels.tolist()


def _block(call: Call, build: Build) -> tuple[object, object]:
    """`_unpickle_block(values, placement, axes)` of pandas 1.3 and newer."""
    values, place, axes = build(call.arguments)
    if axes != 2:
        raise _wrong(f"a block of {axes!r} axes"[:60])
    return values, place


def _manager(call: Call, build: Build) -> _Blocks:
    """What holds the blocks: made from (blocks, axes), or by older versions from a state with both under "0.14.1"."""
    state = build(call.state)
    if isinstance(state, tuple) and len(state) == 4 and isinstance(state[3], dict):
        inner = state[3].get("0.14.1")
        inner = inner if isinstance(inner, dict) else {}
        axes, blocks = inner.get("axes"), inner.get("blocks")
        blocks = [(b.get("values"), b.get("mgr_locs")) if isinstance(b, dict) else b for b in blocks] if isinstance(blocks, list) else None
    else:
        blocks, axes = (*build(call.arguments), None, None)[:2]
    if not isinstance(axes, list | tuple) or not isinstance(blocks, list | tuple) or len(axes) != 2:
        raise _wrong("insides of an unknown form")
    if not all(isinstance(axis, list | range) for axis in axes):
        raise _wrong("labels of an unknown kind")
    columns, rows = axes[0], len(axes[1])
    return _Blocks(columns, rows, [_placed(block, len(columns), rows) for block in blocks])


def _placed(block: object, columns: int, rows: int) -> tuple[np.ndarray, Sequence[int]]:
    """A block's (k, n) values and its k places, all of them within the table."""
    values, place = block if isinstance(block, tuple) and len(block) == 2 else (None, None)
    if isinstance(place, slice):
        places = range(columns)[place]
    else:
        places = place.tolist() if isinstance(place, np.ndarray) and place.dtype.kind in "iu" and place.ndim == 1 else [-1]
    if not isinstance(values, np.ndarray) or values.shape != (len(places), rows) or not all(0 <= p < columns for p in places):
        raise _wrong("a block that does not fit into it")
    return values, places


def _slice(call: Call, build: Build) -> slice:
    ends = build(call.arguments)
    if not isinstance(ends, tuple) or len(ends) != 3 or not all(end is None or isinstance(end, int) for end in ends) or ends[2] == 0:
        raise _wrong("places that are none")
    return slice(*ends)


def _frame(call: Call, build: Build) -> _Blocks:
    state = build(call.state)
    inner = next((state[name] for name in ("_mgr", "_data") if name in state), None) if isinstance(state, dict) else None
    if not isinstance(inner, _Blocks):
        raise _wrong("no columns")
    return inner


def _name_only(call: Call, build: Build) -> object:
    raise _wrong(f"a {call.name} where only its name makes sense")


def _storage(call: Call, build: Build) -> _Storage:
    """`torch.storage._load_from_bytes(bytes)`: torch.save's old form, five pickles in a row, a length, and the numbers."""
    (raw,) = build(call.arguments)
    if not isinstance(raw, bytes):
        raise FormatError("the pickle has a tensor without data; get the file again")
    stream, pickles = io.BytesIO(raw), []
    for _ in range(_PARTS):
        start = stream.tell()
        for _ in pickletools.genops(stream):  # only to find its end: nothing is built
            pass
        pickles.append(raw[start : stream.tell()])
    record = unpickle(pickles[3], STORAGES, limits=FIT_LIMITS, persistent=_record)
    (count,) = struct.unpack("<q", stream.read(8))
    data = stream.read()
    if not isinstance(record, np.dtype) or count < 0 or len(data) != count * record.itemsize:
        raise FormatError("the pickle has a tensor whose data are not all there; get the file again")
    build.spend(len(data))
    return _Storage(np.frombuffer(data, record))


def _record(call: Call, build: Build) -> np.dtype:
    """The type in torch's persistent id ("storage", type, key, device, count, ...)."""
    (key,) = build(call.arguments)
    name = key[1].name.rpartition(".")[2] if isinstance(key, tuple) and len(key) >= 5 and isinstance(key[1], Global) else ""
    if name not in _DTYPES:
        raise FormatError("the pickle has a tensor that is not of plain numbers; get the file again")
    return np.dtype(_DTYPES[name])


def _tensor(call: Call, build: Build) -> np.ndarray:
    """`torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)`, which must lie within its storage."""
    storage, offset, shape, strides, *_ = build(call.arguments)
    sizes = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > 16 or not all(_is_count(n) for n in sizes):
        raise FormatError("the pickle has a tensor without a proper shape; get the file again")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if count else -1
    if last >= len(storage.values) or count > len(storage.values):
        raise FormatError("the pickle has a tensor that reaches beyond its data; get the file again")
    build.spend(count * storage.values.itemsize)
    steps = [step * storage.values.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage.values[offset:], shape, steps).copy() if count else np.zeros(shape, storage.values.dtype)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _parameter(call: Call, build: Build) -> object:
    """`torch._utils._rebuild_parameter(tensor, requires_grad, hooks)`."""
    tensor, *_ = build(call.arguments)
    return tensor


FRAME: Mapping[str, Builder] = MappingProxyType(
    {
        **PLAIN,
        **NUMPY,
        "pandas.core.frame.DataFrame": _frame,
        "pandas.core.internals.managers.BlockManager": _manager,
        "pandas._libs.internals._unpickle_block": _block,
        "pandas.core.indexes.base._new_Index": _index,
        **{f"pandas.core.indexes.{module}.{name}": _name_only for module, names in _INDEXES.items() for name in names},
        "builtins.slice": _slice,
    }
)
"""Every name that the pickle of a DataFrame of numbers, text and lists may hold."""
STORAGES: Mapping[str, Builder] = MappingProxyType({**PLAIN, **{f"torch.{name}": _name_only for name in _DTYPES}})
TENSORS: Mapping[str, Builder] = MappingProxyType(
    {
        **PLAIN,
        **NUMPY,
        "torch.storage._load_from_bytes": _storage,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
    }
)
"""Every name that a dictionary of arrays and tensors may hold."""
