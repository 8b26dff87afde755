"""A made-up network for meshes that sees the same people in every picture: its ONNX file and card, without torch."""

import numpy as np

from vitruvian.body.compact import load_compact
from vitruvian.weights import Card

SIDE = 32


def people(count=2):
    """What it says: (scores, head joints in metres, rotations, shapes); upright, facing the camera, a metre beside each other."""
    turn = np.diag([1.0, -1, -1])  # the body's y up to the camera's y down
    rotations = np.tile(np.eye(3), (count, load_compact().num_joints, 1, 1))
    rotations[:, 0] = turn
    heads = np.stack([np.arange(count) - (count - 1) / 2, np.full(count, -0.5), 4.0 + np.arange(count)], 1)
    shapes = np.zeros((count, 16))
    shapes[:, 0] = 0.5
    return 0.9 - 0.1 * np.arange(count), heads, rotations, shapes


def write_network(path, said, inputs=("image", "camera"), names=("scores", "translations", "rotations", "shapes")):
    """Write the ONNX file and the card beside it; every picture of a batch gets the same answer."""
    from onnx import TensorProto, helper, numpy_helper, save

    arrays = dict(zip(names, (np.asarray(x, np.float32)[None] for x in said), strict=True))
    count = arrays[names[0]].shape[1]
    arrays |= {"locations": np.zeros((1, count, 2), np.float32), "depths": np.ones((1, count, 1), np.float32)}
    nodes = [
        helper.make_node("Shape", [inputs[0]], ["size"], start=0, end=1),
        helper.make_node("ReduceSum", [inputs[1]], ["nothing_yet"], keepdims=0),
        helper.make_node("Mul", ["nothing_yet", "zero"], ["nothing"]),
    ]
    constants, outputs = [numpy_helper.from_array(np.float32(0), "zero")], []
    for name, array in arrays.items():
        tail = array.shape[1:]
        constants += [numpy_helper.from_array(array, f"{name}_said"), numpy_helper.from_array(np.int64([1] * len(tail)), f"{name}_tail")]
        nodes += [
            helper.make_node("Concat", ["size", f"{name}_tail"], [f"{name}_shape"], axis=0),
            helper.make_node("Expand", [f"{name}_said", f"{name}_shape"], [f"{name}_many"]),
            helper.make_node("Add", [f"{name}_many", "nothing"], [name]),
        ]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", *tail]))
    ports = [
        helper.make_tensor_value_info(inputs[0], TensorProto.FLOAT, ["b", 3, SIDE, SIDE]),
        helper.make_tensor_value_info(inputs[1], TensorProto.FLOAT, ["b", 4]),
    ]
    graph = helper.make_graph(nodes, "people", ports, outputs, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    Card(path.stem, "mesh", str(path), (SIDE, SIDE), (0.0,) * 3, (1.0,) * 3, body="compact").save(path.with_suffix(".json"))
    return path
