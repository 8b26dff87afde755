"""Networks pickled as objects: read without their code, and hostile ones refused."""

import collections
import contextlib
import io
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import anchor_states
from vitruvian.errors import WeightsError
from vitruvian.systems.detection import bpjdet
from vitruvian.systems.pickled import read_pickled_module


@pytest.fixture
def foreign(monkeypatch):
    """A module `models.yolo`, gone after the writing: whoever reads can't import it."""

    def write(path, build, container=lambda model: {"model": model}, **options):
        module = types.ModuleType("models.yolo")
        module.Model = type("Model", (nn.Module,), {"__module__": "models.yolo", "forward": lambda self, x: x})
        with monkeypatch.context() as context:
            context.setitem(sys.modules, "models", types.ModuleType("models"))
            context.setitem(sys.modules, "models.yolo", module)
            torch.save(container(build(module.Model)), path, **options)
        return path

    return write


def holding(state, cls):
    """A foreign module whose state dict has these names."""
    root = cls()
    for name, value in state.items():
        place, *path = root, *name.split(".")[:-1]
        for part in path:
            if part not in place._modules:
                place.add_module(part, cls())
            place = place._modules[part]
        leaf = name.rsplit(".", 1)[-1]
        if leaf in ("weight", "bias"):
            place.register_parameter(leaf, nn.Parameter(value.clone()))
        else:
            place.register_buffer(leaf, value.clone())
    return root


def test_pickled_network_is_read_into_ours(foreign, tmp_path):
    torch.manual_seed(0)
    model = bpjdet.network(bpjdet.VARIANTS["nano"])
    state = anchor_states.published_state(model, anchor_states.P6, 0.33)

    def container(pickled):
        pickled.nc, pickled.stride, pickled.names, pickled.hyp = 2, torch.tensor([8.0]), ["person", "head"], {"lr": np.float64(0.01)}
        extras = {"epoch": -1, "best_fitness": np.array([0.5]), "ema": None, "optimizer": None, "wandb_id": None}
        return {"model": pickled.half(), "date": "2022", "ordered": collections.OrderedDict(a=1), **extras}

    path = foreign(tmp_path / "best.pt", lambda cls: holding(state, cls), container)
    assert "models" not in sys.modules
    found = read_pickled_module(path)
    assert found.keys() == state.keys() and found["model.7.conv.weight"].dtype == torch.float16
    config, loaded = bpjdet.from_published(found)
    assert config.part_set == bpjdet.HEAD
    assert torch.equal(loaded.head[0].weight, model.head[0].weight.half().float())


def test_averaged_network_goes_first_and_a_bare_module_is_enough(foreign, tmp_path):
    def build(cls):
        return [holding({"a.weight": torch.full((2,), value)}, cls) for value in (1.0, 2.0)]

    both = foreign(tmp_path / "both.pt", build, lambda two: {"model": two[0], "ema": two[1]})
    assert read_pickled_module(both)["a.weight"].tolist() == [2, 2]
    bare = foreign(tmp_path / "bare.pt", build, lambda two: two[0])
    assert read_pickled_module(bare)["a.weight"].tolist() == [1, 1]


def test_shared_sliced_and_empty_tensors(foreign, tmp_path):
    base = torch.arange(12.0).view(3, 4)
    types_ = {
        "long": torch.arange(3),
        "bool": torch.tensor([True, False]),
        "bfloat": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 5),
    }

    def build(cls):
        model = cls()
        model.register_buffer("slice", base[:, 1:3])
        model.register_buffer("turned", base.T)
        model.register_buffer("hidden", base, persistent=False)
        model.register_buffer("nothing", None)
        for name, value in types_.items():
            model.register_buffer(name, value)
        return model

    found = read_pickled_module(foreign(tmp_path / "views.pt", build))
    assert torch.equal(found["slice"], base[:, 1:3]) and torch.equal(found["turned"], base.T)
    assert set(found) == {"slice", "turned", *types_}
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in types_.items())


class Asks:
    """Pickles as whatever call it is given."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def archive(path, pickled: bytes, storages=None, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("best/data.pkl", pickled)
        for key, raw in (storages or {}).items():
            file.writestr(f"best/data/{key}", raw)
    return path


@pytest.mark.parametrize("function", [os.system, exec, eval, __import__, getattr, torch.load, pickle.loads, torch.hub.load])
def test_nothing_that_the_file_names_is_called(function, tmp_path):
    marker = tmp_path / "run"
    path = archive(tmp_path / "evil.pt", pickle.dumps({"model": Asks(function, f"touch {marker}")}, 2))
    with pytest.raises(WeightsError, match="harmless"):
        read_pickled_module(path)
    assert not marker.exists()


def test_classes_of_a_foreign_module_are_never_imported(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('imported')")
    path = archive(tmp_path / "evil.pt", b"cmodels\nThing\n)\x81.")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(WeightsError, match="no weights"):
            read_pickled_module(path)
    finally:
        sys.path.remove(str(tmp_path))


class Writer(pickle.Pickler):
    """Writes pickles with persistent ids like torch's, from our own tuples."""

    def persistent_id(self, value):
        return value.key if isinstance(value, Storage) else None


class Storage:
    def __init__(self, count, key="0", kind=torch.FloatStorage):
        self.key = ("storage", kind, key, "cpu", count)


def forged(path, storage, offset, shape, strides, raw=bytes(16)):
    """A module with one buffer as described."""
    stream = io.BytesIO()
    module = nn.Module()
    module.register_buffer("x", None)
    module._buffers["x"] = Asks(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, collections.OrderedDict())
    Writer(stream, 2).dump({"model": module})
    return archive(path, stream.getvalue(), {"0": raw})


def test_forged_file_is_like_a_real_one(tmp_path):
    found = read_pickled_module(forged(tmp_path / "fine.pt", Storage(4), 0, (2, 2), (2, 1), np.arange(4, dtype=np.float32).tobytes()))
    assert found["x"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("storage", "offset", "shape", "strides"),
    [
        (Storage(4), 1, (4,), (1,)),  # beyond the end
        (Storage(4), 0, (4,), (2,)),
        (Storage(4), 0, (1 << 30, 4), (0, 1)),  # a few bytes as gigabytes
        (Storage(1 << 38), 0, (4,), (1,)),  # a storage that is larger than its entry
        (Storage(4, kind=torch.DoubleStorage), 0, (4,), (1,)),
        (Storage(4, key="7"), 0, (4,), (1,)),  # not there
        (Storage(4, key="../../etc/passwd"), 0, (4,), (1,)),
        (Storage(4), -1, (4,), (1,)),
        (Storage(4), 0, (-4,), (1,)),
        (Storage(4), 0, (4,), (-1,)),
        (Storage(4), 0, (4, 1), (1,)),
        (Storage(4), 0, "four", (1,)),
    ],
)
def test_tensors_that_lie_about_their_place_are_refused(storage, offset, shape, strides, tmp_path):
    with pytest.raises(WeightsError, match="pickled network"):
        read_pickled_module(forged(tmp_path / "evil.pt", storage, offset, shape, strides))


NESTED = b"]" * 5000 + b"a" * 4999 + b"."


def self_containing():
    module = nn.Module()
    module._modules["again"] = module
    return pickle.dumps({"model": module}, 2)


@pytest.mark.parametrize("pickled", [b"", b"garbage", NESTED, self_containing(), pickle.dumps({"model": 3}), pickle.dumps([1, 2])])
def test_other_pickles_are_refused(pickled, tmp_path):
    with pytest.raises(WeightsError, match="pickled network"):
        read_pickled_module(archive(tmp_path / "other.pt", pickled))


def test_compressed_entries_are_refused(tmp_path):
    path = archive(tmp_path / "bomb.pt", pickle.dumps({}), {"0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        read_pickled_module(path)


def test_missing_file_and_no_archive(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        read_pickled_module(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(WeightsError, match="pickled network"):
        read_pickled_module(tmp_path / "text.pt")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_end_in_a_typed_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    raw = bytearray(forged(folder / "fine.pt", Storage(4), 0, (2, 2), (2, 1)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "damaged.pt"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(WeightsError):
        read_pickled_module(path)
