"""Ways to spoil a file: bytes, numbers, nesting, splices; and inside a zip or PNG, with the checksums made right again."""

from __future__ import annotations

import copy
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
ODD = (
    *(
        b"-1",
        b"0",
        b"1e400",
        b"-1e308",
        b"3e38",
        b"1e39",
        b"1e-320",
        b"99999999999999999999",
        b"2147483648",
        b"4294967296",
        b"9" * 400,
        b"0x10",
    ),
    *(
        b"nan",
        b"NaN",
        b"-inf",
        b"Infinity",
        b"null",
        b"true",
        b'"x"',
        b"[]",
        b"{}",
        b"",
        b" ",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"../../up",
    ),
)
DEEP = (b"[", b'{"a":', b"[[", b"JOINT a {\n", b"End Site {\n", b"}", b"\t", b"\n", b'"', b",", b"-", b"1 ")
ODD_VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 3, 0.5, 2**31, 2**53, 10**30, 10**400, 1e300, -1e-300, "", "x", "a\0b", "\ud800", "../../up.jpg", "/etc/x.png"),
    *("x" * 5000, [], [[]], {}, [None], [3], {"a": 1}, [0] * 51, [1e39] * 51),
)
Mutation = Callable[[np.random.Generator, bytes, bytes], bytes]


def spoil(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """One to three mutations of `data`, one after another; splices take from `other`.

    Two in three keep the file's outer form (JSON, a table's cells, a zip, PNG chunks), to come past the first check of its reader.
    """
    inner = (_in_zip,) if data[:2] == b"PK" else (_in_png,) if data[:4] == b"\x89PNG" else BINARY
    if _is_text(data):
        inner = (_in_json,) if data[:1] in b"[{" else (_cell, _cell, _number, _swap_lines, _lose_line)
    outer = TEXT if _is_text(data) else BINARY
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        ways = inner if rng.random() < 2 / 3 else outer
        data = ways[rng.integers(len(ways))](rng, data, other) or data
    return data


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:1000]


def _flip(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    spoiled = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 12)):
        spoiled[at] = rng.integers(256)
    return bytes(spoiled)


def _truncate(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def _splice(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    at, start = rng.integers(len(data) + 1), rng.integers(len(other) + 1)
    return data[:at] + other[start : start + rng.integers(200)] + data[at + rng.integers(200) :]


def _repeat(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    start = rng.integers(len(data) + 1)
    stop = start + rng.integers(300)
    return data[:stop] + data[start:stop] * int(rng.integers(1, 30)) + data[stop:]


def _cut_out(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    at = rng.integers(len(data) + 1)
    return data[:at] + data[at + rng.integers(1, 100) :]


def _number(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    found = list(NUMBER.finditer(data))
    if not found:
        return data
    # A number among the first is in a header more often than not.
    hit = found[rng.integers(min(len(found), 30 if rng.random() < 0.5 else len(found)))]
    return data[: hit.start()] + ODD[rng.integers(len(ODD))] + data[hit.end() :]


def _nest(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    at, deep = rng.integers(len(data) + 1), DEEP[rng.integers(len(DEEP))]
    return data[:at] + deep * int(rng.integers(1, 20_000)) + data[at:]


def _cell(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A word of a table becomes another of its words, or a number that is one."""
    words = list(re.finditer(rb"[^\s,]+", data))
    if not words:
        return data
    hit, donor = words[rng.integers(len(words))], words[rng.integers(len(words))]
    word = donor[0] if rng.random() < 0.3 else (b"nan", b"0", b"-1", b"1e20", b"1e-20", b"-3.5e5", b"7", b"1000000", b"")[rng.integers(9)]
    return data[: hit.start()] + word + data[hit.end() :]


def _lose_line(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    lines = data.split(b"\n")
    del lines[rng.integers(len(lines))]
    return b"\n".join(lines)


def _in_json(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A value somewhere in a document becomes an odd one, is lost, moves, or is doubled; the document stays JSON."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(rng.integers(1, 4)):
        node = document
        while isinstance(node, (dict, list)) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = keys[rng.integers(len(keys))]
            if not (isinstance(node[key], (dict, list)) and node[key]) or rng.random() < 0.25:
                _change(rng, node, key)
                break
            node = node[key]
    try:
        return json.dumps(document).encode()
    except RecursionError:
        return data


def _change(rng: np.random.Generator, node: dict | list, key: str | int) -> None:
    value, way = node[key], rng.random()
    if way < 0.15:
        del node[key]
    elif way < 0.3:
        node[key] = [value]
    elif way < 0.4 and isinstance(value, list):
        node[key] = value * 2
    elif way < 0.5 and isinstance(value, list):
        node[key] = value[: len(value) // 2]
    elif way < 0.65 and isinstance(value, (int, float)) and abs(value) < 1e300:
        node[key] = -value * 10.0 ** int(rng.integers(-3, 12))
    else:
        node[key] = copy.deepcopy(ODD_VALUES[rng.integers(len(ODD_VALUES))])


def _swap_lines(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    lines = data.split(b"\n")
    a, b = rng.integers(len(lines), size=2)
    lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


def _integer(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A binary length, offset or size somewhere, mostly near the start, becomes an extreme one."""
    at = int(rng.integers(max(1, min(len(data), 400 if rng.random() < 0.7 else len(data)) - 4)))
    value = (0, 1, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000)[rng.integers(8)]
    return data[:at] + struct.pack(">I" if rng.random() < 0.5 else "<I", value) + data[at + 4 :]


def _in_zip(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Spoil a member and pack anew, so that the checksum does not give it away; or add one with a bad name."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # an earlier mutation has destroyed the archive
        return data
    if not members:
        return data
    at = int(rng.integers(len(members)))
    name, content = members[at]
    ways = (_flip, _truncate, _number, _nest, _cut_out, _integer, _shape)
    content = ways[rng.integers(len(ways))](rng, content, other) if content else other
    members[at] = (name if rng.random() < 0.9 else ("../../up.npy", "/tmp/up.npy", "frame.npy", "x" * 300)[rng.integers(4)], content)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return packed.getvalue()


def _shape(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Another shape or dtype in a .npy header of the same length."""
    shapes = (b"(99999999999,)", b"(4294967295, 4294967295)", b"(-1,)", b"(0,)", b"()", b"(2, 2, 2, 2, 2, 2)", b"(1e9,)", b"('a',)")
    dtypes = (b"'|O'", b"'<f8'", b"'<U9999'", b"'|V0'", b"'<c16'", b"[('a', '<f4')]", b"'<m8'")
    changed = re.sub(rb"\(\d*,?[\d, ]*\)", lambda found: shapes[rng.integers(len(shapes))], data[:200], count=1)
    if rng.random() < 0.5:
        changed = re.sub(rb"'[<|]\w\d'", lambda found: dtypes[rng.integers(len(dtypes))], data[:200], count=1)
    return changed + data[200:]


def _in_png(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Spoil a chunk of a PNG and make its checksum right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return data
    hit = int(rng.integers(len(chunks)))
    kind, content = chunks[hit]
    if content:
        chunks[hit] = (kind, (_flip, _truncate, _integer, _repeat)[rng.integers(4)](rng, content, other))
    coded = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return data[:8] + coded


BINARY: tuple[Mutation, ...] = (_flip, _truncate, _splice, _repeat, _cut_out, _integer)
TEXT: tuple[Mutation, ...] = (_flip, _truncate, _splice, _repeat, _cut_out, _number, _number, _number, _nest, _swap_lines)
