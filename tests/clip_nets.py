"""Networks in the layouts of DSTA and DiffPose with answers that are known."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vitruvian.weights import Card

SIZE, K, FRAMES = (48, 64), 17, 3


def save(folder, nodes, constants, inputs, outputs, codec=""):
    """An ONNX file with its card; shapes without the batch."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in (inputs | outputs).items()]
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "clip", values[: len(inputs)], values[len(inputs) :], initial)
    path = folder / "clip.onnx"
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]), path)
    Card("clip", "pose2d", str(path), SIZE, (0.0,) * 3, (255.0,) * 3, skeleton="posetrack-17", codec=codec).save(path.with_suffix(".json"))
    return path


def fractions(folder, frames=FRAMES):
    """As DSTA's: x of every keypoint is how bright the middle frame's crop is, y how bright the last one's; sigma 0.2."""
    shape = (frames, 3, SIZE[1], SIZE[0])
    constants = {
        "axes": np.array([2, 3, 4]),
        "which": np.array([frames // 2, frames - 1]),
        "row": np.array([1]),
        "many": np.array([1, K, 1]),
    }
    constants |= {"zero": np.float32(0), "sigmas": np.float32(0.2)}
    nodes = [
        helper.make_node("ReduceMean", ["frames", "axes"], ["bright"], keepdims=0),
        helper.make_node("Gather", ["bright", "which"], ["two"], axis=1),
        helper.make_node("Unsqueeze", ["two", "row"], ["one"]),
        helper.make_node("Tile", ["one", "many"], ["coords"]),
        helper.make_node("Mul", ["coords", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "sigmas"], ["sigma"]),
    ]
    return save(folder, nodes, constants, {"frames": shape}, {"coords": (K, 2), "sigma": (K, 2)})


def maps(folder):
    """As DiffPose's: the noise itself, which has one peak per keypoint somewhere."""
    inputs = {"frames": (FRAMES, 3, SIZE[1], SIZE[0]), "noise": (K, 16, 12)}
    return save(folder, [helper.make_node("Identity", ["noise"], ["heatmaps"])], {}, inputs, {"heatmaps": (K, 16, 12)}, "heatmap")
