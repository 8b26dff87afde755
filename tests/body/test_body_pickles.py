"""Pickles of body models: everything the official ones hold is read, and nothing that a stranger puts there is executed or believed."""

import builtins
import collections
import io
import os
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from published_bodies import chumpy_modules, entries, instance, write_pickle
from vitruvian._unpickle import NUMPY, PLAIN, Limits, unpickle
from vitruvian.body.pickles import BODY, read_body_pickle, unpickle_body
from vitruvian.body.published import from_arrays
from vitruvian.errors import FormatError


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_everything_that_model_files_hold(protocol):
    import scipy.sparse

    array = np.arange(24.0).reshape(4, 6)
    value = {
        "fortran": np.asfortranarray(array),
        "big endian": array.astype(">f8"),
        "unsigned": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "empty": np.zeros((0, 3)),
        "scalar": np.float64(3.5),
        "text": np.array(["a", "bc"]),
        "objects": np.array([{"deep": np.ones(2)}], object),
        "ordered": collections.OrderedDict(one=1, two=np.zeros(2)),
        "plain": ["lbs", "é", b"\xff\x00", 10**30, -5, 1.5, None, True, (1, (2, [3])), {1, 2}, frozenset({"a"})],
        "csc": scipy.sparse.csc_matrix(array),
        "csr": scipy.sparse.csr_matrix(array),
        "coo": scipy.sparse.coo_matrix(array),
    }
    found = unpickle_body(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(found["fortran"], array)
    np.testing.assert_array_equal(found["big endian"], array)
    assert found["unsigned"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["empty"].shape == (0, 3)
    assert found["scalar"] == 3.5 and found["text"].tolist() == ["a", "bc"] and found["objects"][0]["deep"].tolist() == [1, 1]
    assert list(found["ordered"]) == ["one", "two"] and found["plain"] == value["plain"]
    for name in ("csc", "csr", "coo"):
        np.testing.assert_array_equal(found[name].dense((4, 6)), array)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_arrays_are_plain_arrays(tmp_path, protocol):
    expected = entries("mano")
    found = read_body_pickle(write_pickle(tmp_path / "MANO_RIGHT.pkl", expected, protocol))
    for name in ("shapedirs", "v_template", "posedirs", "hands_mean"):
        np.testing.assert_array_equal(found[name], expected[name])


def test_python_2_spellings():
    """As Python 2 writes an object of a new-style class: copy_reg._reconstructor(class, __builtin__.object, None), then its state."""
    inner = pickle.dumps(np.arange(3.0), 2)[2:-1]
    text = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR}S'x'\n" + inner + b"sb."
    assert unpickle_body(text).tolist() == [0, 1, 2]


def test_old_scipy_modules():
    state = {"data": np.ones(2), "indices": np.array([0, 1]), "indptr": np.array([0, 1, 2]), "_shape": (2, 2), "maxprint": 50}
    for module in ("scipy.sparse.csc", "scipy.sparse._csc"):
        text = b"c" + module.encode() + b"\ncsc_matrix\n)\x81" + pickle.dumps(state, 2)[2:-1] + b"b."
        np.testing.assert_array_equal(unpickle_body(text).dense((2, 2)), np.eye(2))


class Proof:
    """Whether a payload ran."""

    ran = False


def ran(*_):
    Proof.ran = True


@pytest.mark.parametrize(
    "payload",
    [
        Calls(os.system, "true"),
        Calls(eval, "1 + 1"),
        Calls(exec, "pass"),
        Calls(ran),
        Calls(builtins.getattr, "a", "upper"),
        Calls(builtins.bytearray, 1 << 40),
        Calls(np.zeros, (1,)),
        Calls(np.load, "file", None, True),
        Calls(__import__, "os"),
        Calls(collections.Counter, [1]),
        [{"deep": Calls(os.system, "true")}],
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_foreign_names_are_refused_and_named(payload, protocol):
    with pytest.raises(FormatError, match="asks for .*list of harmless names"):
        unpickle_body(pickle.dumps({"v_template": payload}, protocol))
    assert not Proof.ran


@pytest.mark.parametrize(
    "text",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"(cos\nsystem\nS'true'\no.",
        b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x8c\x05numpy\x8c\x0dndarray.\x5f\x5fclass\x93.",
        b"cnumpy\ndtype\n(S'O'\ntR}S'x'\ncos\nsystem\nsb.",
        b"c__builtin__\ngetattr\n.",
        b"cos.path\njoin\n.",
        b"\x82\x01.",  # an extension code
        b"\x97.",  # a buffer from outside
        b"S'key'\nQ.",  # a persistent id
    ],
)
def test_every_way_to_name_something_is_watched(text):
    with pytest.raises(FormatError):
        unpickle_body(text)


@pytest.mark.parametrize("text", [b"S'a'\n)R.", b"cnumpy\nndarray\n}b.", b"]}b.", b"K\x01K\x02b.", b"cnumpy\nndarray\n)R)b)b."])
def test_only_records_are_called_or_given_a_state(text):
    with pytest.raises(FormatError):
        unpickle_body(text)


def test_unknown_chumpy_class_is_named_with_a_remedy_where_its_value_is_needed():
    found = entries("mano")
    with chumpy_modules("ch_ops.add") as classes:
        strange = instance(classes["add"], a=1, b=2)
        unneeded, needed = pickle.dumps(found | {"J": strange}, 2), pickle.dumps(found | {"weights": strange}, 2)
        inside = pickle.dumps(instance(classes["Ch"], x=strange), 2)
    assert from_arrays(unpickle_body(unneeded)).kind == "mano"
    for read in (lambda: from_arrays(unpickle_body(needed)), lambda: unpickle_body(inside)):
        with pytest.raises(FormatError, match=r"chumpy\.ch_ops\.add.*numpy\.array"):
            read()


def test_deep_nesting_is_refused():
    for text in (b"]" * 100_000 + b"a" * 99_999 + b".", b")" + b"\x85" * 100_000 + b"."):
        with pytest.raises(FormatError, match="nested"):
            unpickle_body(text)


def test_deeply_nested_keys_are_refused_unhashed():
    with pytest.raises(FormatError, match="key"):
        unpickle_body(b"})" + b"\x85" * 200_000 + b"Ns.")


def test_structures_that_contain_themselves_are_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(FormatError, match="contains itself"):
        unpickle_body(pickle.dumps(loop))


def test_shared_structures_are_built_once():
    value: list = []
    for _ in range(60):  # 2^60 elements, if each were built anew
        value = [value, value]
    found = unpickle_body(pickle.dumps(value))
    assert found[0] is found[1]


def memory_of(text: bytes) -> int:
    """Bytes at most in use while a pickle is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            unpickle_body(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tS'b'\ntR(K\x01"
FLOAT = b"cnumpy\ndtype\n(S'f8'\nK\x00K\x01tR(K\x03S'<'\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


@pytest.mark.parametrize(
    "text",
    [
        b"r\xff\xff\xff\xff.",  # memo of nothing
        b"Nr\xff\xff\xff\x7f.N.",  # a huge memo index: fine for a dictionary, but then the stream goes on
        b"X\xff\xff\xff\xffabc.",
        b"B\xff\xff\xff\xffabc.",
        b"\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
        b"\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
        b"\x8b\xff\xff\xff\x7f" + b"1.",
        b"L" + b"9" * 100_000 + b"L\n.",
        ARRAY + b"(\x8a\x05\x00\x00\x00\x00\x10t" + FLOAT + b"\x89S''\ntb.",  # a shape of 2^36 without data
        ARRAY + b"(\x8a\x05\x00\x00\x00\x00\x10\x8a\x05\x00\x00\x00\x00\x10t" + FLOAT + b"\x89S''\ntb.",
    ],
)
def test_claims_of_size_take_no_memory(text):
    if text.startswith(b"Nr"):
        assert unpickle_body(text) is None
    else:
        assert memory_of(text) < 2_000_000


def test_small_files_can_not_unfold_to_large_arrays():
    class Select:
        pass

    with chumpy_modules() as classes:
        leaf = instance(classes["Ch"], x=np.zeros(10))
        index = np.zeros(20_000, np.int64)
        several = [instance(classes["Select"], a=leaf, idxs=index) for _ in range(200)]
        data = pickle.dumps(several, 2)
    assert len(data) < 300_000
    with pytest.raises(FormatError, match="unfolds to more than"):
        unpickle(data, BODY, limits=Limits(memory=10_000_000))
    assert len(unpickle(data, BODY)) == 200


def test_sparse_matrices_become_dense_only_in_the_expected_shape():
    text = pickle.dumps({"J_regressor": _csc((1 << 30, 3))}, 2)
    with pytest.raises(FormatError, match="expected"):
        unpickle_body(text)["J_regressor"].dense((24, 6890))


def _csc(shape):
    import scipy.sparse

    matrix = scipy.sparse.csc_matrix((3, 3))
    matrix._shape = shape
    return matrix


@pytest.mark.parametrize(
    "change",
    [{"indices": np.array([0, 9, 1])}, {"indptr": np.array([0, 1, 2])}, {"indptr": np.array([0, 3, 1, 3])}, {"data": np.ones(2)}]
    + [{"_shape": (3, -3)}, {"_shape": "33"}, {"indices": np.array([0.5, 1, 2])}],
)
def test_damaged_sparse_matrices_are_refused(change):
    import scipy.sparse

    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.__dict__.update(change)
    with pytest.raises(FormatError):
        unpickle_body(pickle.dumps(matrix, 2)).dense((3, 3))


@pytest.mark.parametrize("index", [np.array([0, 10]), np.array([-11]), np.array([0.5])])
def test_selections_of_what_is_not_there_are_refused(index):
    with chumpy_modules() as classes:
        data = pickle.dumps(instance(classes["Select"], a=np.zeros(10), idxs=index), 2)
    with pytest.raises(FormatError):
        unpickle_body(data)


def test_limits_of_size_and_steps():
    with pytest.raises(FormatError, match="bytes"):
        unpickle(b"N." * 100, PLAIN, limits=Limits(size=10))
    with pytest.raises(FormatError, match="steps"):
        unpickle(b"N0" * 100 + b"N.", PLAIN, limits=Limits(steps=50))


def test_own_builders_for_unknown_names_and_persistent_ids():
    """What a reader of old torch checkpoints needs."""

    def unknown(name):
        return (lambda call, build: {"class": name, **build(call.state)}) if name.startswith("models.") else None

    text = b"cmodels.yolo\nDetect\n)\x81}S'stride'\nK\x08sb."
    assert unpickle(text, PLAIN, unknown=unknown) == {"class": "models.yolo.Detect", "stride": 8}
    with pytest.raises(FormatError, match="harmless"):
        unpickle(b"cos\nsystem\n.", PLAIN, unknown=unknown)
    found = unpickle(b"(S'storage'\nK\x07tQ.", PLAIN, persistent=lambda call, build: build(call.arguments)[0])
    assert found == ("storage", 7)


def test_a_missing_file_and_another_kind_of_file(tmp_path):
    with pytest.raises(FormatError, match="check the path"):
        read_body_pickle(tmp_path / "no.pkl")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(FormatError, match="holds a list"):
        read_body_pickle(tmp_path / "list.pkl")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read_but_never_crash(data):
    with chumpy_modules() as classes:
        value = {"a": np.arange(4.0), "b": instance(classes["Ch"], x=np.ones(2)), "c": [1, "x", (2.5, None)], "d": {"e": b"f"}}
        text = bytearray(pickle.dumps(value, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpickle(bytes(text[: data.draw(st.integers(0, len(text)))]), BODY, limits=Limits(steps=10_000, memory=1 << 20))
    except FormatError:
        pass


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner)),
       st.integers(2, 5))  # fmt: skip
def test_plain_values_are_read_as_python_reads_them(value, protocol):
    assert unpickle(pickle.dumps(value, protocol), PLAIN | NUMPY) == value


def test_every_opcode_is_known_or_refused_on_purpose():
    from vitruvian._unpickle import _CONSTANT, _COUNTED, _FIXED, _OPERATIONS

    handled = {*_CONSTANT, *_COUNTED, *_FIXED, *_OPERATIONS, b"."}
    codes = {opcode.code.encode("latin1") for opcode in pickletools.opcodes}
    extension_codes, buffers_from_outside = {b"\x82", b"\x83", b"\x84"}, {b"\x97", b"\x98"}
    assert codes - handled == extension_codes | buffers_from_outside and handled <= codes


def test_reading_is_repeatable():
    data = pickle.dumps({"x": np.arange(3)}, 2)
    assert unpickle_body(data)["x"].tolist() == unpickle_body(io.BytesIO(data).read())["x"].tolist()
