"""Tiny ONNX networks whose answers are known from the picture: no trained weights needed."""

import numpy as np
import pytest

from vitruvian.weights import Card

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def build(path, nodes, inputs, outputs, constants):
    """Write a graph; shapes are lists of numbers or names of free axes."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def pose_net(path, size, mix, ramp, batch="b"):
    """SimCC network: keypoint k is the brightest place of the channel mixture `mix[k]`, leaning to the right by `ramp[k]` per pixel."""
    (width, height), keypoints = size, len(mix)
    lean = np.arange(width, dtype=np.float32) * np.asarray(ramp, np.float32)[:, None]
    nodes = [
        helper.make_node("Conv", ["input", "mix"], ["maps"]),
        helper.make_node("Add", ["maps", "lean"], ["leaning"]),
    ]
    for out, axis in (("simcc_x", 2), ("simcc_y", 3)):
        nodes += [
            helper.make_node("ReduceMax", ["leaning"], [f"{out}_line"], axes=[axis], keepdims=0),
            helper.make_node("Unsqueeze", [f"{out}_line", "last"], [f"{out}_one"]),
            helper.make_node("Concat", [f"{out}_one", f"{out}_one"], [f"{out}_two"], axis=3),
            helper.make_node("Reshape", [f"{out}_two", "flat"], [out]),
        ]
    constants = {
        "mix": np.asarray(mix, np.float32).reshape(keypoints, 3, 1, 1),
        "lean": lean.reshape(1, keypoints, 1, width),
        "last": np.int64([3]),
        "flat": np.int64([0, 0, -1]),
    }
    outputs = {
        "simcc_x": (TensorProto.FLOAT, [batch, keypoints, 2 * width]),
        "simcc_y": (TensorProto.FLOAT, [batch, keypoints, 2 * height]),
    }
    return build(path, nodes, {"input": [batch, 3, height, width]}, outputs, constants)


CELL, CELLS = 16, 4
GRID = np.float32([[x * CELL, y * CELL, (x + 1) * CELL, (y + 1) * CELL] for y in range(CELLS) for x in range(CELLS)])


def detector_net(path, suppressed, batch="b"):
    """64 x 64 detector of coloured cells of 16 x 16 pixels: red is a person, green a head; every cell's box is there twice."""
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Conv", ["pooled", "classes"], ["maps"]),
        helper.make_node("Reshape", ["maps", "cells"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["once"], perm=[0, 2, 1]),
    ]
    constants = {"cells": np.int64([0, 0, -1]), "grid": GRID[None], "zero": np.float32([0])}
    if suppressed:  # one picture at a time, red only
        nodes += [
            helper.make_node("Concat", ["grid", "once"], ["dets"], axis=2),
            helper.make_node("Identity", ["names"], ["labels"]),
        ]
        constants |= {"classes": np.float32([1, -1, -1]).reshape(1, 3, 1, 1), "names": np.zeros((1, len(GRID)), np.int64)}
        outputs = {"dets": (TensorProto.FLOAT, [1, len(GRID), 5]), "labels": (TensorProto.INT64, [1, len(GRID)])}
        return build(path, nodes, {"input": [1, 3, 64, 64]}, outputs, constants)
    weights = np.zeros((5, 3, 1, 1), np.float32)
    weights[0, :, 0, 0], weights[1, :, 0, 0] = (1, -1, -1), (-1, 1, -1)
    nodes += [
        helper.make_node("Mul", ["once", "less"], ["dimmer"]),
        helper.make_node("Concat", ["once", "dimmer"], ["scores"], axis=1),
        helper.make_node("ReduceSum", ["scores", "last"], ["sums"], keepdims=1),
        helper.make_node("Mul", ["sums", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "twice"], ["boxes"]),
    ]
    constants |= {"classes": weights, "less": np.float32([0.9]), "last": np.int64([2]), "twice": np.concatenate([GRID, GRID])[None]}
    rows = 2 * len(GRID)
    outputs = {"boxes": (TensorProto.FLOAT, [batch, rows, 4]), "scores": (TensorProto.FLOAT, [batch, rows, 5])}
    return build(path, nodes, {"input": [batch, 3, 64, 64]}, outputs, constants)


@pytest.fixture
def make_pose(tmp_path):
    """make_pose(mix, ramp, skeleton, batch) -> card of a 48 x 64 pose network."""

    def make(mix=((1, -1, -1), (-1, 1, -1), (-1, -1, 1)), ramp=None, skeleton="coco-17", batch="b", size=(48, 64)):
        path = pose_net(tmp_path / f"pose{len(mix)}-{batch}.onnx", size, mix, ramp if ramp is not None else [0] * len(mix), batch)
        return Card(path.stem, "pose2d", str(path), size, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), skeleton=skeleton)

    return make


@pytest.fixture
def make_detector(tmp_path):
    """make_detector(suppressed, batch) -> card of a 64 x 64 detector of coloured cells."""

    def make(suppressed=False, batch="b"):
        path = detector_net(tmp_path / f"detector{suppressed:d}-{batch}.onnx", suppressed, batch)
        classes = ("person",) if suppressed else ("person", "head", "face", "hand", "foot")
        return Card(path.stem, "detection", str(path), (64, 64), (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), classes=classes)

    return make
