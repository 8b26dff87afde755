"""Padding that is left out still counts in the global means of a detector."""

import numpy as np
import pytest

from vitruvian.codecs.letterbox import FILL
from vitruvian.runtime import Session
from vitruvian.weights import Card
from vitruvian.weights.padding import count_padding
from vitruvian.weights.quantise import prepare
from vitruvian.weights.reduce import reduce

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
RNG = np.random.default_rng(0)


def attention(name, x, y, mean):
    """Squeeze and excitation: the nodes."""
    return [*mean(x, f"{name}_m"), ("Conv", [f"{name}_m", f"{name}_w"], [f"{name}_c"]), ("HardSigmoid", [f"{name}_c"], [f"{name}_s"])] + [
        ("Mul", [x, f"{name}_s"], [y])
    ]


def pooled(x, y):
    return [("GlobalAveragePool", [x], [y])]


def reduced(x, y):
    return [("ReduceMean", [x], [y], {"axes": [-1, -2]})]


def detector(path, mean=pooled, between=(), kernel=1, channels=8):
    """The card of a detector with two attentions; its boxes and scores are features of 8 x 8 cells. `between` lies before the second."""
    pads = [kernel // 2] * 4
    nodes = [("Conv", ["image", "w1"], ["a"], {"strides": [8, 8]})]
    nodes += [("Sigmoid", ["a"], ["b"]), ("Mul", ["a", "b"], ["c"]), *attention("first", "c", "d", mean)]
    nodes += [("Conv", ["d", "w2"], ["e"], {"pads": pads}), *between]
    nodes += attention("second", "f" if between else "e", "g", mean)
    nodes += [("Reshape", ["g", "cells"], ["h"]), ("Transpose", ["h"], ["i"], {"perm": [0, 2, 1]})]
    nodes += [("Split", ["i", "parts"], ["boxes", "scores"], {"axis": 2})]
    square = (channels, channels, 1, 1)
    constants = {"w1": RNG.normal(0, 0.05, (channels, 3, 8, 8)), "w2": RNG.normal(0, 0.5 / kernel**2, (*square[:2], kernel, kernel))}
    constants |= {f"{name}_w": RNG.normal(0, 2, square) for name in ("first", "second")}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    tensors += [numpy_helper.from_array(np.int64(value), name) for name, value in {"cells": [0, 0, -1], "parts": [4, channels - 4]}.items()]
    made = [helper.make_node(kind, ins, outs, **(options[0] if options else {})) for kind, ins, outs, *options in nodes]
    shapes = {"image": ["b", 3, "h", "w"], "boxes": ["b", "n", 4], "scores": ["b", "n", channels - 4]}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(made, "net", [infos.pop("image")], list(infos.values()), tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return Card("net", "detection", str(path), (128, 128), MEAN, STD, classes=tuple("abcdefghijkl"[: channels - 4]), codec="rtmdet")


def padded(rows, batch=2):
    """Normalised pictures of 64 rows with padding below, `rows` in all."""
    image = RNG.normal(0, 1, (batch, 3, rows, 128)).astype(np.float32)
    image[:, :, 64:] = ((FILL - np.float32(MEAN)) / np.float32(STD)).reshape(3, 1, 1)
    return image


def counted(card, folder):
    model = prepare(card.file, folder)
    done = count_padding(model, card)
    onnx.save(model, folder / "counted.onnx")
    return done, Session(folder / "counted.onnx", device="cpu")


@pytest.mark.parametrize("mean", [pooled, reduced])
def test_without_padding_the_answer_is_that_of_the_full_input(tmp_path, mean):
    card = detector(tmp_path / "net.onnx", mean)
    full = padded(128)
    before = Session(card.file, device="cpu")
    done, after = counted(card, tmp_path)
    assert done
    cells = 64 // 8 * 16
    for kept in (64, 96, 128):
        for expected, found in zip(before.run(full), after.run(full[:, :, :kept]), strict=True):
            np.testing.assert_allclose(found[:, :cells], expected[:, :cells], atol=2e-5)
    naive = before.run(full[:, :, :64])[1]
    assert np.abs(naive - before.run(full)[1][:, :cells]).max() > 0.05  # it does matter


def test_a_full_input_is_seen_as_before_also_where_layers_have_windows(tmp_path):
    card = detector(tmp_path / "net.onnx", kernel=3)
    full = RNG.normal(0, 1, (3, 3, 128, 128)).astype(np.float32)
    done, after = counted(card, tmp_path)
    assert done
    for expected, found in zip(Session(card.file, device="cpu").run(full), after.run(full), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_mean_after_large_windows_is_left_alone(tmp_path):
    window = {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}
    card = detector(tmp_path / "net.onnx", between=[("MaxPool", ["e"], ["f"], window)])
    model = prepare(card.file, tmp_path)
    assert count_padding(model, card)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("GlobalAveragePool") == 2 and kinds.count("ReduceProd") == 1


def test_an_unknown_layer_leaves_the_graph_alone(tmp_path):
    card = detector(tmp_path / "net.onnx", between=[("LpNormalization", ["e"], ["f"], {"axis": 1})])
    model = prepare(card.file, tmp_path)
    before = model.SerializeToString()
    assert not count_padding(model, card) and model.SerializeToString() == before
    assert reduce(card, tmp_path / "small.onnx", precision="fp16").size_step == 0


@pytest.mark.parametrize("precision, channels", [("fp16", 8), ("int8", 16)])
def test_a_detector_of_free_size_may_leave_padding_out(tmp_path, precision, channels):
    small = reduce(detector(tmp_path / "net.onnx", channels=channels), tmp_path / "small.onnx", precision=precision)
    assert small.size_step == 32 and small.precision == precision
    kinds = [node.op_type for node in onnx.load(small.file).graph.node]
    assert kinds.count("ReduceProd") == 2 and ("QuantizeLinear" in kinds) == (precision == "int8")
