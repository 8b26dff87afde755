"""Detectors whose inputs may end where the picture ends, instead of going on with grey padding up to a fixed size.

A 16:9 picture fills 56 % of a square input. A convolutional network hardly notices when the rest is left out, but for one thing: channel
attention (squeeze and excitation, in CSPNeXt's stages) weighs channels by their mean over the whole input, padding included. So the means
are set right inside the graph. Away from the picture the padding is one value per channel, at every layer; a twin of the layers computes it
on a single pixel, at next to no cost, and

    mean over the full input = share * mean over what is there + (1 - share) * the twin's value

where the share is the number of places that are there over those of the full input. On the full input it is 1, and the graph says what it
said before. Means that follow pooling over windows as large as the map (SPP) are left alone: there no place is away from the picture, and
the twin was of no help. Ours; we know of no source.

rtmdet-nano, 16:9, all 230 frames of a video in 1920 x 1080, input of 320 x 224 instead of 320 x 320: keypoints of an RTMPose-t in its boxes
moved by 0.17 px in the median, without the twin by 0.36 px.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from vitruvian.codecs.letterbox import FILL
from vitruvian.weights.card import Card
from vitruvian.weights.quantise import makers, strides

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_ANYWHERE = ("Add", "Clip", "Concat", "Div", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sub")
"""Operators that do the same at every place: the twin has them too."""

_ON_PLACES = ("AveragePool", "Identity", "Resize")
"""Operators that leave a field of one value as it is: the twin does without."""


def count_padding(model: ModelProto, card: Card) -> bool:
    """Change the graph (from `prepare`) so that global means count the padding that its input lacks against the card's input size.

    Returns False, and leaves the graph alone, where a layer before a mean is of a kind that is not known here.
    """
    from onnx import helper, numpy_helper

    graph, node_of = model.graph, helper.make_node
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = {node.name: node.op_type for node in graph.node}
    means = {node.name for node in graph.node if _is_global_mean(node, constants)}
    means = {name for name in means if "MaxPool" not in {kinds[other] for other in _before(model, {name})}}
    before = _before(model, means)
    fixed = {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in constants}
    if any(name not in fixed and kinds[name] not in (*_ANYWHERE, *_ON_PLACES) for name in before - means):
        return False
    if not means:
        return True
    image, apart = graph.input[0].name, strides(graph)
    grey = (FILL - np.asarray(card.mean, np.float32)) / np.asarray(card.std, np.float32)
    added = {"pad_grey": grey.reshape(1, 3, 1, 1), "pad_ones": np.int64([1, 1, 1])}
    added |= {f"pad_{number}": np.int64([number]) for number in (0, 1, 2, 4)}
    nodes = [
        node_of("Shape", [image], ["pad_shape"], "pad_a"),
        node_of("Slice", ["pad_shape", "pad_0", "pad_1"], ["pad_batch"], "pad_b"),
        node_of("Concat", ["pad_batch", "pad_ones"], ["pad_pixel"], "pad_c", axis=0),
        node_of("Expand", ["pad_grey", "pad_pixel"], ["pad_input"], "pad_d"),
    ]
    twins = {image: "pad_input"}
    for node in graph.node:
        out = node.output[0]
        if node.name in means:
            full = np.prod(card.input_size) / apart[node.input[0]] ** 2
            added[f"pad_each_{out}"] = np.float32(1 / full)
            nodes += [node, *_mixed(node, twins[node.input[0]])]
            twins[out] = out
            continue
        nodes.append(node)
        if node.name in before and node.op_type in _ON_PLACES:
            twins[out] = twins[node.input[0]]
        elif node.name in before:
            nodes.append(_twin(node, twins, constants, added))
            twins[out] = nodes[-1].output[0]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in added.items())
    return True


def _is_global_mean(node: NodeProto, constants: Mapping[str, np.ndarray]) -> bool:
    """Whether the node takes the mean over all places, and keeps the axes."""
    if node.op_type != "ReduceMean":
        return node.op_type == "GlobalAveragePool"
    given = {attribute.name: attribute for attribute in node.attribute}
    axes = given["axes"].ints if "axes" in given else constants.get(node.input[1], ()) if len(node.input) > 1 else ()
    return {int(axis) % 4 for axis in axes} == {2, 3} and ("keepdims" not in given or given["keepdims"].i == 1)


def _before(model: ModelProto, means: Collection[str]) -> set[str]:
    """Names of the nodes that a mean depends on, and of the means."""
    made_by = makers(model.graph)
    waiting, found = [node for node in model.graph.node if node.name in means], set(means)
    while waiting:
        for name in waiting.pop().input:
            if name in made_by and made_by[name].name not in found:
                found.add(made_by[name].name)
                waiting.append(made_by[name])
    return found


def _mixed(mean: NodeProto, twin: str) -> list[NodeProto]:
    """Rename the output of a mean, and make the old name of what it is over the full input."""
    from onnx import TensorProto
    from onnx.helper import make_node

    out, places = mean.output[0], mean.input[0]
    mean.output[0] = here = f"pad_here_{out}"
    steps = [
        ("Shape", [places], "shape"),
        ("Slice", ["shape", "pad_2", "pad_4"], "sides"),
        ("ReduceProd", ["sides"], "area"),
        ("Cast", ["area"], "count"),
        ("Mul", ["count", f"pad_each_{out}"], "share"),
        ("Sub", [here, twin], "beyond"),
        ("Mul", ["beyond", "share"], "more"),
    ]
    own = {result for _, _, result in steps}
    options = {"ReduceProd": {"keepdims": 0}, "Cast": {"to": TensorProto.FLOAT}}
    nodes = []
    for kind, inputs, result in steps:
        inputs = [f"pad_{name}_{out}" if name in own else name for name in inputs]
        nodes.append(make_node(kind, inputs, [f"pad_{result}_{out}"], f"pad_{result}_{out}", **options.get(kind, {})))
    return [*nodes, make_node("Add", [twin, f"pad_more_{out}"], [out], f"pad_sum_{out}")]


def _twin(node: NodeProto, twins: Mapping[str, str], constants: Mapping[str, np.ndarray], added: dict[str, np.ndarray]) -> NodeProto:
    """The same operator on a single pixel amid others like it; a convolution's weights are summed over its window."""
    from onnx import NodeProto, helper

    twin = NodeProto()
    twin.CopyFrom(node)
    twin.name = f"pad_{node.name}"
    twin.output[0] = f"pad_{node.output[0]}"
    for place, name in enumerate(node.input):
        twin.input[place] = twins.get(name, name)
    if node.op_type == "Conv":
        weights = f"pad_{node.input[1]}"
        added[weights] = constants[node.input[1]].sum(axis=(2, 3), keepdims=True)
        twin.input[1] = weights
        groups = [attribute for attribute in node.attribute if attribute.name == "group"]
        del twin.attribute[:]
        twin.attribute.extend([*groups, helper.make_attribute("kernel_shape", [1, 1])])
    return twin
