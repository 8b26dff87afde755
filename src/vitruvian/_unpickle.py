"""Pickles from strangers, read without running anything in them.

Python's own unpickler calls what the file tells it to call. Here a file first becomes a tree of plain containers and inert records
(`Call`: "this name, called with these arguments, given this state"), and a name that the caller's allow-list lacks ends the reading.
Only then the tree is built up, by the functions of that allow-list, which are ours.

    value = unpickle(data, PLAIN | NUMPY | {"old.module.Thing": lambda call, build: ...})

What a hostile file may try, and what stops it: foreign functions and classes (the allow-list), huge numbers of a memo, a length or a
repeat (no memory is taken before the bytes are there), deep nesting and structures that contain themselves (`Limits.depth`), small
files that build large arrays (`Limits.memory`), strange keys (only plain ones), endless files (`Limits.size`, `Limits.steps`).
"""

from __future__ import annotations

import codecs
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from vitruvian.errors import FormatError

REMEDY = "only open files that you trust, or convert it where its own program is installed"


@dataclass(frozen=True)
class Limits:
    """How much a pickle may take: bytes of the file, opcodes, nesting, and bytes of the arrays that it makes."""

    size: int = 2 << 30
    steps: int = 5_000_000
    depth: int = 100
    memory: int = 4 << 30


@dataclass(eq=False)
class Call:
    """What a pickle asked for: `name` ("module.function", with Python 3's spelling) with arguments, a state, and items put in afterwards.

    `items`: what was appended, or pairs of key and value. Nothing has been called.
    """

    name: str
    arguments: object = ()
    state: object = None
    items: list = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Global:
    """A class or function that a pickle names without calling it."""

    name: str


class Build:
    """Turns what a pickle holds into values: `build(anything)`. Gives out memory by `spend`."""

    def __init__(self, builders: Mapping[str, Builder], limits: Limits) -> None:
        self._builders, self._limits = builders, limits
        self._done: dict[int, tuple[object, object]] = {}  # by id, with the object itself so that its id stays taken
        self._open: set[int] = set()
        self._left = limits.memory

    def spend(self, size: int) -> None:
        """Account for `size` bytes about to be taken. Raises FormatError when the pickle has taken too much."""
        self._left -= size
        if size < 0 or self._left < 0:
            raise FormatError(f"the pickle unfolds to more than {self._limits.memory} bytes; {REMEDY}")

    def __call__(self, value: object) -> object:
        """The value that a plain object, container or record stands for."""
        if not isinstance(value, Call | Global | list | tuple | dict):
            return value
        key = id(value)
        if key in self._done:
            return self._done[key][1]
        if key in self._open or len(self._open) >= self._limits.depth:
            raise FormatError(f"the pickle is nested deeper than {self._limits.depth} or contains itself; {REMEDY}")
        self._open.add(key)
        built = self._build(value)
        self._done[key] = value, built
        self._open.discard(key)
        return built

    def _build(self, value: object) -> object:
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self(item) for item in value)
        if isinstance(value, dict):
            return {name: self(item) for name, item in value.items()}
        if isinstance(value, Global):
            return value
        return self._builders[value.name](value, self)


Builder = Callable[[Call, Build], object]
"""Makes a value from a record. Its arguments and state are not built yet: it calls `build` on what it needs of them."""


def unpickle(
    data: bytes,
    builders: Mapping[str, Builder],
    *,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    unknown: Callable[[str], Builder | None] | None = None,
    persistent: Builder | None = None,
) -> object:
    """The value of a pickle of any protocol, with Python 2's text decoded as Latin-1.

    builders: the allow-list, by "module.name". unknown: asked about a name that is not in it; may give a builder, or raise an error of
    its own. persistent: builds the records of persistent ids (torch's storages), whose arguments are (id,).
    Raises FormatError for a file that is damaged, too large, or names something else; the message says what.
    """
    if len(data) > limits.size:
        raise FormatError(f"the pickle has {len(data)} bytes, more than {limits.size}; {REMEDY}")
    known = dict(builders) | ({} if persistent is None else {"persistent id": persistent})
    try:
        tree = _Machine(data, known, unknown, limits).run()
        return Build(known, limits)(tree)
    except FormatError:
        raise
    except Exception as error:  # a damaged file can break any step; nothing of it has been executed
        raise FormatError(f"the pickle is damaged ({type(error).__name__}: {error}); get the file again") from error


def read_pickle(path: str | Path, builders: Mapping[str, Builder], *, limits: Limits = Limits(), **options) -> object:  # noqa: B008
    """`unpickle` of a file; errors name it."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(limits.size + 1)
        return unpickle(data, builders, limits=limits, **options)
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error


_RENAMED = (("__builtin__.", "builtins."), ("copy_reg.", "copyreg."))
_NAME = re.compile(r"[A-Za-z_][\w.]{0,200}")
_FIXED = {b"M": "<H", b"J": "<i", b"K": "B", b"G": ">d"}
_COUNTED = {  # opcode: format of the length, kind of the value
    b"T": ("<i", "latin1"), b"U": ("B", "latin1"), b"X": ("<I", "utf-8"), b"\x8c": ("B", "utf-8"), b"\x8d": ("<Q", "utf-8"),
    b"B": ("<I", ""), b"C": ("B", ""), b"\x8e": ("<Q", ""), b"\x96": ("<Q", ""), b"\x8a": ("B", "int"), b"\x8b": ("<i", "int"),
}  # fmt: skip
_CONSTANT: Mapping[bytes, object] = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_MARK = object()


@dataclass
class _Machine:
    """The stack machine of a pickle, without the power to call."""

    data: bytes
    builders: dict[str, Builder]
    unknown: Callable[[str], Builder | None] | None
    limits: Limits
    at: int = 0
    stack: list = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)

    def run(self) -> object:
        """What the pickle leaves on the stack."""
        for _ in range(self.limits.steps):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            if code in _CONSTANT:
                self.stack.append(_CONSTANT[code])
            elif code in _FIXED:
                self.stack.append(self.number(_FIXED[code]))
            elif code in _COUNTED:
                self.stack.append(self.counted(*_COUNTED[code]))
            elif code in _OPERATIONS:
                _OPERATIONS[code](self)
            else:
                raise FormatError(f"the pickle has the opcode {code!r}, which no model file needs; {REMEDY}")
        raise FormatError(f"the pickle has more than {self.limits.steps} steps; {REMEDY}")

    def take(self, size: int) -> bytes:
        """The next bytes of the file."""
        if size < 0 or self.at + size > len(self.data):
            raise FormatError("the pickle ends too early: get the file again")
        self.at += size
        return self.data[self.at - size : self.at]

    def line(self) -> bytes:
        """The next bytes up to the end of the line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise FormatError("the pickle ends too early: get the file again")
        start, self.at = self.at, end + 1
        return self.data[start:end]

    def number(self, form: str) -> int | float:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def counted(self, form: str, kind: str) -> object:
        size = self.number(form)
        if kind == "int":
            if size > 1024:
                raise FormatError(f"the pickle has an integer of {size} bytes; {REMEDY}")
            return int.from_bytes(self.take(size), "little", signed=True)
        raw = self.take(size)
        return raw.decode(kind, "surrogatepass" if kind == "utf-8" else "strict") if kind else raw

    def since_mark(self) -> list:
        """Everything above the last mark, which goes too."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise FormatError("the pickle has no mark where it needs one: get the file again")

    def name(self, module: object, name: object) -> Global:
        """A name of the allow-list."""
        full = f"{module}.{name}"
        if not _NAME.fullmatch(full):
            raise FormatError(f"the pickle asks for something without a proper name; {REMEDY}")
        for old, new in _RENAMED:
            full = new + full.removeprefix(old) if full.startswith(old) else full
        if full not in self.builders:
            builder = self.unknown(full) if self.unknown else None
            if builder is None:
                raise FormatError(f"the pickle asks for {full}, which is not on the list of harmless names; {REMEDY}")
            self.builders[full] = builder
        return Global(full)

    def call(self, arguments: object, function: object) -> None:
        """Record a call."""
        if not isinstance(function, Global):
            raise FormatError(f"the pickle calls something that is no name; {REMEDY}")
        self.stack.append(Call(function.name, arguments))

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Call) or self.stack[-1].state is not None:
            raise FormatError(f"the pickle gives a state to something that has none; {REMEDY}")
        self.stack[-1].state = state

    def extend(self, items: list) -> None:
        top = self.stack[-1]
        (top.items if isinstance(top, Call) else _container(top, list)).extend(items)

    def update(self, items: list) -> None:
        top = self.stack[-1]
        if isinstance(top, Call):  # a subclass of dict, such as OrderedDict
            top.items.extend(_pairs(items))
        else:
            _container(top, dict).update(_pairs(items))

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def instance(self) -> None:
        """INST: a class named in the file, with the arguments above the mark."""
        module, name = self.line().decode(), self.line().decode()
        self.call(tuple(self.since_mark()), self.name(module, name))

    def object(self) -> None:
        """OBJ: a class and its arguments above the mark."""
        function, *arguments = self.since_mark()
        self.call(tuple(arguments), function)

    def persistent(self, key: object) -> None:
        if "persistent id" not in self.builders:
            raise FormatError(f"the pickle refers to data outside itself; {REMEDY}")
        self.stack.append(Call("persistent id", (key,)))


def _container(value: object, kind: type) -> object:
    if type(value) is not kind:
        raise FormatError(f"the pickle fills something that is no {kind.__name__}: get the file again")
    return value


def _pairs(items: list) -> list[tuple[object, object]]:
    """Keys and values of a flat list. Keys are plain: hashing a foreign structure can take forever."""
    return [(_plain_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True)]


def _plain_key(key: object) -> object:
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, str | bytes | int | float | None) for part in parts):
        raise FormatError(f"the pickle has a key that is no plain value; {REMEDY}")
    return key


def _text_integer(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise FormatError("the pickle has a text without quotes: get the file again")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


def _pop_tuple(m: _Machine, size: int) -> tuple:
    if len(m.stack) < size:
        raise FormatError("the pickle takes more than it has put down: get the file again")
    items = tuple(m.stack[-size:])
    del m.stack[-size:]
    return items


_OPERATIONS: Mapping[bytes, Callable[[_Machine], object]] = {
    b"(": lambda m: m.stack.append(_MARK),
    b"0": lambda m: m.stack.pop(),
    b"1": lambda m: m.since_mark(),
    b"2": lambda m: m.stack.append(m.stack[-1]),
    b"F": lambda m: m.stack.append(float(m.line())),
    b"I": lambda m: m.stack.append(_text_integer(m.line())),
    b"L": lambda m: m.stack.append(int(m.line().rstrip(b"L"))),
    b"S": lambda m: m.stack.append(_quoted(m.line())),
    b"V": lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    b"P": lambda m: m.persistent(m.line().decode("latin1")),
    b"Q": lambda m: m.persistent(m.stack.pop()),
    b"]": lambda m: m.stack.append([]),
    b"}": lambda m: m.stack.append({}),
    b"\x8f": lambda m: m.call((), m.name("builtins", "set")),
    b"\x91": lambda m: m.call((m.since_mark(),), m.name("builtins", "frozenset")),
    b"l": lambda m: m.stack.append(m.since_mark()),
    b"t": lambda m: m.stack.append(tuple(m.since_mark())),
    b"d": lambda m: m.stack.append(dict(_pairs(m.since_mark()))),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.since_mark()),
    b"\x90": lambda m: m.extend(m.since_mark()),
    b"s": lambda m: m.update(list(_pop_tuple(m, 2))),
    b"u": lambda m: m.update(m.since_mark()),
    b"g": lambda m: m.get(int(m.line())),
    b"h": lambda m: m.get(m.number("B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"p": lambda m: m.put(int(m.line())),
    b"q": lambda m: m.put(m.number("B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"c": lambda m: m.stack.append(m.name(m.line().decode(), m.line().decode())),
    b"\x93": lambda m: m.stack.append(m.name(*_pop_tuple(m, 2))),
    b"R": lambda m: m.call(m.stack.pop(), m.stack.pop()),
    b"\x81": lambda m: m.call(m.stack.pop(), m.stack.pop()),
    b"\x92": lambda m: (_container(m.stack.pop(), dict), m.call(m.stack.pop(), m.stack.pop())),
    b"b": lambda m: m.build(),
    b"i": lambda m: m.instance(),
    b"o": lambda m: m.object(),
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
} | {code: (lambda m, size=size: m.stack.append(_pop_tuple(m, size))) for code, size in _TUPLES.items()}


def _arguments(call: Call, build: Build) -> tuple:
    arguments = build(call.arguments)
    if not isinstance(arguments, tuple):
        raise FormatError(f"the pickle calls {call.name} with something that is no list of arguments: get the file again")
    return arguments


def _reconstruct(call: Call, build: Build) -> object:
    """copyreg's maker of instances: `_reconstructor(class, object, None)`, then the state. The class's own builder does it."""
    kind, *_ = _arguments(call, build)
    if not isinstance(kind, Global):
        raise FormatError(f"the pickle makes an instance of no class; {REMEDY}")
    return build(Call(kind.name, (), call.state, call.items))


def _ordered(call: Call, build: Build) -> dict:
    """An OrderedDict as a dict, from lists of pairs."""
    out: dict = {}
    for part in (*_arguments(call, build), build(call.items)):
        build.spend(64 * len(part))
        out.update({_plain_key(key): value for key, value in part})
    return out


def _set(call: Call, build: Build) -> set:
    items = [item for part in (*_arguments(call, build), build(call.items)) for item in part]
    build.spend(64 * len(items))
    return {_plain_key(item) for item in items}


def _encoded(call: Call, build: Build) -> bytes:
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes into old protocols."""
    text, *encoding = _arguments(call, build)
    if not isinstance(text, str) or encoding not in (["latin1"], ["latin-1"]):
        raise FormatError(f"the pickle encodes text as {encoding}; {REMEDY}")
    build.spend(len(text))
    return text.encode("latin1")


def _no_bytes(call: Call, build: Build) -> bytes:
    """`bytes()`: how Python 3 writes empty bytes into old protocols."""
    if _arguments(call, build):
        raise FormatError(f"the pickle makes bytes out of something; {REMEDY}")
    return b""


def _refuse(call: Call, build: Build) -> object:
    raise FormatError(f"the pickle calls {call.name}, which only makes sense as a name; {REMEDY}")


PLAIN: Mapping[str, Builder] = MappingProxyType(
    {
        "builtins.object": _refuse,
        "copyreg._reconstructor": _reconstruct,
        "collections.OrderedDict": _ordered,
        "builtins.set": _set,
        "builtins.frozenset": _set,
        "_codecs.encode": _encoded,
        "builtins.bytes": _no_bytes,
    }
)
"""Names that any pickle may hold."""


def _dtype(call: Call, build: Build) -> np.dtype:
    name, *_ = _arguments(call, build)
    if not isinstance(name, str) or not re.fullmatch(r"[<>=|]?([biufcSUOV]\d{0,6}|bool)", name) or "V" in name:
        raise FormatError(f"the pickle has an array of {str(name)[:40]!r}, not of plain numbers or text; {REMEDY}")
    state = build(call.state)
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    if order not in ("<", ">", "=", "|"):
        raise FormatError("the pickle has an array of unknown byte order: get the file again")
    return np.dtype(name).newbyteorder(order)


def _array(call: Call, build: Build) -> np.ndarray:
    """`_reconstruct(ndarray, (0,), b"b")` with the state (version, shape, dtype, Fortran order, data)."""
    state = build(call.state)
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise FormatError("the pickle has an array without data: get the file again")
    shape, dtype, fortran, data = state[-4:]
    return _shaped(data, dtype, shape, "F" if fortran else "C", build)


def _frombuffer(call: Call, build: Build) -> np.ndarray:
    data, dtype, shape, order = _arguments(call, build)
    return _shaped(data, dtype, shape, order, build)


def _shaped(data: object, dtype: object, shape: object, order: object, build: Build) -> np.ndarray:
    """An array of exactly these data; one of objects from a list."""
    if not isinstance(dtype, np.dtype) or not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise FormatError("the pickle has an array of unknown shape or type: get the file again")
    if order not in ("C", "F") or len(shape) > 16:
        raise FormatError("the pickle has an array of unknown order: get the file again")
    size = math.prod(shape)
    if dtype.kind == "O":
        if not isinstance(data, list) or len(data) != size:
            raise FormatError("the pickle has an array of objects that are not there: get the file again")
        build.spend(8 * size)
        flat = np.empty(size, object)
        for i, item in enumerate(data):
            flat[i] = item
        return flat.reshape(shape, order=order)
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(raw, bytes) or len(raw) != size * dtype.itemsize:
        raise FormatError("the pickle has an array whose data do not fill it: get the file again")
    build.spend(len(raw))
    flat = np.frombuffer(raw, dtype) if size else np.zeros(0, dtype)  # frombuffer refuses empty data
    return flat.reshape(shape, order=order).astype(dtype.newbyteorder("="), copy=False)


def _scalar(call: Call, build: Build) -> object:
    dtype, *data = _arguments(call, build)
    return _shaped(data[0] if data else b"", dtype, (), "C", build)[()]


NUMPY: Mapping[str, Builder] = MappingProxyType(
    {
        "numpy.dtype": _dtype,
        "numpy.ndarray": _refuse,
        **{f"numpy.{core}.multiarray._reconstruct": _array for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
        **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
    }
)
"""Arrays and scalars of numpy, old and new, of numbers, text or objects that are themselves allowed."""
