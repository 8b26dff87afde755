"""The pickles of published body models: numpy and scipy.sparse arrays, and chumpy's arrays, none of which is executed or needs chumpy.

The published .pkl files were written by Python 2 with chumpy (MIT, github.com/mattloper/chumpy), which no longer installs. Two of its
classes hold plain arrays: a leaf `Ch` and a reordering `Select` of another array. Both are read here as what they are worth; another
class is an error, with its name, as soon as its value is needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np
from jaxtyping import Float, Int

from vitruvian._unpickle import NUMPY, PLAIN, Build, Builder, Call, Limits, read_pickle, unpickle
from vitruvian.errors import FormatError

LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A matrix by its values and where they are; `dense` is the array, once somebody has said how large it may be."""

    values: Float[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    columns: Int[np.ndarray, " n"]
    shape: tuple[int, int]

    def dense(self, shape: tuple[int, int]) -> Float[np.ndarray, "r c"]:
        """The matrix as an array. Raises FormatError if its shape is not the expected one."""
        if self.shape != shape:
            raise FormatError(f"a sparse matrix of {self.shape} where {shape} is expected; get the file again")
        out = np.zeros(shape)
        np.add.at(out, (self.rows, self.columns), self.values)
        return out


def read_body_pickle(path: str | Path) -> dict[str, object]:
    """The entries of a published .pkl: arrays, SparseMatrix, text and plain containers.

    Raises FormatError if it can't be read, is no dictionary, or asks for anything beyond numpy, scipy.sparse and chumpy's plain arrays.
    """
    value = read_pickle(path, BODY, limits=LIMITS, unknown=_unknown)
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds a {type(value).__name__}, not the dictionary of a body model: check which file was given")
    return value


def unpickle_body(data: bytes) -> object:
    """The value of a pickle inside another file (an .npy of objects); the same rules."""
    return unpickle(data, BODY, limits=LIMITS, unknown=_unknown)


@dataclass(frozen=True)
class ChumpyExpression:
    """An array that only chumpy could compute. It is harmless as long as nobody needs its value."""

    name: str

    def refuse(self) -> NoReturn:
        """Raise FormatError, with the class and a way out."""
        raise FormatError(
            f"the pickle holds a {self.name}, whose value only chumpy knows; load it where chumpy works, replace each chumpy object x by "
            "numpy.array(x), and save it as .npz"
        )


def _unknown(name: str) -> Builder | None:
    """chumpy's other classes stand for themselves until somebody asks for their value."""
    return (lambda call, build: ChumpyExpression(call.name)) if name.startswith("chumpy.") else None


def _state(call: Call) -> dict:
    """The fields of a restored object, not built yet."""
    state = call.state[0] if isinstance(call.state, tuple) and len(call.state) == 2 else call.state
    if not isinstance(state, dict):
        raise FormatError(f"the pickle has a {call.name} without fields: get the file again")
    return state


def _field(state: dict, build: Build, *names: str) -> object:
    """The first of these fields that is there."""
    for name in names:
        if name in state:
            return build(state[name])
    raise FormatError(f"the pickle has an object without its field {names[0]!r}: get the file again")


def _leaf(call: Call, build: Build) -> np.ndarray:
    """chumpy.ch.Ch: an array in `x`."""
    return _numbers(_field(_state(call), build, "x"))


def _select(call: Call, build: Build) -> np.ndarray:
    """chumpy.reordering.Select: chosen elements of another array, in another shape."""
    state = _state(call)
    values = _numbers(_field(state, build, "a"))
    if "idxs" not in state:
        ChumpyExpression(call.name).refuse()
    index = _numbers(_field(state, build, "idxs")).ravel()
    if index.dtype.kind not in "iu" or (index.size and not (-values.size <= int(index.min()) and int(index.max()) < values.size)):
        raise FormatError("the pickle selects elements that are not there: get the file again")
    build.spend(index.size * values.itemsize)
    chosen = values.ravel()[index]
    shape = build(state.get("preferred_shape"))
    if shape is None:
        return chosen
    shape = tuple(int(n) for n in shape)
    if min(shape, default=0) < 0 or math.prod(shape) != chosen.size:
        raise FormatError("the pickle selects elements that don't fill its shape: get the file again")
    return chosen.reshape(shape)


def _numbers(value: object) -> np.ndarray:
    if isinstance(value, ChumpyExpression):
        value.refuse()
    if not isinstance(value, np.ndarray | int | float | np.number) or np.asarray(value).dtype.kind not in "biuf":
        raise FormatError("the pickle has an array that is not of numbers: get the file again")
    return np.asarray(value)


def _compressed(by_column: bool) -> Builder:
    def build_matrix(call: Call, build: Build) -> SparseMatrix:
        state = _state(call)
        values, index, starts = (_numbers(_field(state, build, name)) for name in ("data", "indices", "indptr"))
        shape = _shape(state, build)
        lines = shape[1] if by_column else shape[0]
        counts = np.diff(starts.astype(np.int64))
        fits = len(starts) == lines + 1 and starts[0] == 0 and starts[-1] == len(index) == len(values) and (counts >= 0).all()
        if not fits:
            raise FormatError("the pickle has a sparse matrix whose parts don't go together: get the file again")
        build.spend(16 * len(values))
        other = np.repeat(np.arange(lines), counts)
        return _sparse(values, *((index, other) if by_column else (other, index)), shape)

    return build_matrix


def _coordinates(call: Call, build: Build) -> SparseMatrix:
    state = _state(call)
    values = _numbers(_field(state, build, "data"))
    if "coords" in state:
        rows, columns = (_numbers(axis) for axis in _field(state, build, "coords"))
    else:
        rows, columns = (_numbers(_field(state, build, name)) for name in ("row", "col"))
    build.spend(16 * len(values))
    return _sparse(values, rows, columns, _shape(state, build))


def _shape(state: dict, build: Build) -> tuple[int, int]:
    shape = _field(state, build, "_shape", "shape")
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(isinstance(n, int | np.integer) and 0 <= n < 1 << 31 for n in shape):
        raise FormatError("the pickle has a sparse matrix without a proper shape: get the file again")
    return int(shape[0]), int(shape[1])


def _sparse(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> SparseMatrix:
    """The matrix, with every place inside its shape."""
    for index, size in zip((rows, columns), shape, strict=True):
        if index.shape != values.shape or values.ndim != 1 or index.dtype.kind not in "iu":
            raise FormatError("the pickle has a sparse matrix whose parts don't go together: get the file again")
        if index.size and not (0 <= int(index.min()) and int(index.max()) < size):
            raise FormatError("the pickle has a sparse matrix with values outside it: get the file again")
    return SparseMatrix(values.astype(np.float64), rows.astype(np.int64), columns.astype(np.int64), shape)


def _sparse_names(kind: str, builder: Builder) -> dict[str, Builder]:
    """A class of scipy.sparse under its old and new module, as matrix and as array."""
    return {f"scipy.sparse.{module}.{kind}_{form}": builder for module in (kind, f"_{kind}") for form in ("matrix", "array")}


BODY: Mapping[str, Builder] = MappingProxyType(
    {
        **PLAIN,
        **NUMPY,
        **_sparse_names("csc", _compressed(by_column=True)),
        **_sparse_names("csr", _compressed(by_column=False)),
        **_sparse_names("coo", _coordinates),
        "chumpy.ch.Ch": _leaf,
        "chumpy.reordering.Select": _select,
        "chumpy.reordering.Permute": _select,
    }
)
"""Every name that the pickle of a body model may hold."""
