"""Which parts of an ONNX graph run as 8-bit integers, and the graph in which they do.

| | runs in |
|---|---|
| convolutions with fixed weights, also of one channel | int8, weights per output channel, inputs and outputs uint8 per tensor |
| what is done to their results value by value: SiLU (Sigmoid and Mul), Add, Concat, pooling, Resize | uint8 |
| matrix products with fixed weights that widen their input (the first of a GAU, of a transformer's MLP) | int8 in, float out |
| the other matrix products, whose inputs have long tails | float32 |
| output layers: those with no other convolution or product between them and an output | float32 |
| convolutions with fewer than 16 results, which are no faster as integers | float32 |
| layers of detectors with a result for every seventh pixel or more, which are not either | float32 |

Weights take 7 of the 8 bits. On CPUs with AVX2 or AVX-512 but without VNNI, ONNX Runtime adds the products of two inputs and weights in 16
bits: 2 x 255 x 64 fits, 2 x 255 x 127 would be cut off. So the answers are the same on every CPU.

The numbers behind this are in `vitruvian.weights.reduce`. The method is static post-training quantisation (Jacob et al., CVPR 2018, arXiv
1712.05877), by ONNX Runtime's tool. The range of an activation holds all but a twenty-thousandth of its values on either side on sample
pictures (`ranges`): with the least and the largest value as the range, keypoints moved about a sixth further.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from vitruvian.errors import MissingExtraError, WeightsError
from vitruvian.weights.graph import import_onnxruntime, open_onnx, read_ports

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto
    from onnxruntime.quantization import CalibrationDataReader

LEAST_OPSET = 13
"""The first operator set in which weights may have a scale per channel."""

NARROW = 16
"""Convolutions with fewer results stay float32: the integer kernels work on so many at a time."""

FINEST_OF_DETECTORS = 8
"""Layers of detectors whose results lie closer than so many pixels stay float32."""

BEYOND = 5e-5
"""Share of an activation's values that its range leaves out at either end."""

LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""Operators with weights."""

VALUE_BY_VALUE = ("Sigmoid", "Mul", "Add", "Concat", "Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize")
"""Operators that follow a convolution into integers."""


def import_onnx() -> ModuleType:
    """The onnx package; MissingExtraError says how to get it."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("rewriting networks needs the package onnx: pip install onnx (vitruvian[torch] has it)") from error
    return onnx


def prepare(path: str | Path, folder: Path) -> ModelProto:
    """A graph that says the same with fewer nodes: constants computed, batch norms inside their convolutions; every node has a name.

    Uses `folder` for files on the way. Raises WeightsError when the file is no ONNX file or its operator set can't be raised.
    """
    onnx, onnxruntime = import_onnx(), import_onnxruntime()
    path, raised, folded = Path(path), folder / "raised.onnx", folder / "folded.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    read_ports(path)  # complains about what is no network
    model = onnx.load(path)
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=LEAST_OPSET)
    if opset < LEAST_OPSET:
        try:
            model = onnx.version_converter.convert_version(model, LEAST_OPSET)
        except Exception as error:  # a C++ exception without a public class
            raise WeightsError(
                f"{path} has operator set {opset}, which can't be raised to {LEAST_OPSET}: export it anew ({error})"
            ) from error
    onnx.save(model, raised)
    open_onnx(raised, options)
    model = onnx.load(folded)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    return model


def quantise(model: ModelProto, chosen: Sequence[str], batches: Sequence[Float32[np.ndarray, "b ..."]], path: Path) -> None:
    """Write `model` (from `prepare`) to `path` with the `chosen` nodes (from `choose`) in 8-bit integers.

    `batches` are what the network sees on sample pictures. Raises WeightsError when no node is chosen, or the tool fails on the graph.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quant_utils, quantize_static

    if not chosen:
        raise WeightsError("nothing in this network can become an 8-bit integer: choose another precision")
    limits = ranges(model, chosen, batches)
    quant_utils.add_pre_process_metadata(model)  # it is, and the tool warns where the mark is missing
    kinds = {node.name: node.op_type for node in model.graph.node}
    try:
        quantize_static(
            model,
            path,
            _reader(model.graph.input[0].name, batches[:1]),  # for its own ranges, which ours replace
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({kinds[name] for name in chosen}),
            nodes_to_quantize=list(chosen),
            per_channel=True,
            reduce_range=True,  # of weights
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul"],
                "TensorQuantOverrides": {name: [{"rmin": low, "rmax": high}] for name, (low, high) in limits.items()},
            },
        )
    except Exception as error:  # the tool raises whatever comes: ValueError, RuntimeError, ONNX Runtime's own
        raise WeightsError(f"ONNX Runtime's quantisation failed on this graph ({str(error)[:200]}): export the network anew") from error


def ranges(
    model: ModelProto, chosen: Sequence[str], batches: Sequence[Float32[np.ndarray, "b ..."]], beyond: float = BEYOND
) -> dict[str, tuple[np.float32, np.float32]]:
    """Least and largest value to represent, of each input and output of the chosen nodes; they enclose 0, which padding needs.

    The share `beyond` of the values on all sample pictures is smaller, and as much is larger. Only these tails are kept in memory.
    """
    onnx, onnxruntime = import_onnx(), import_onnxruntime()
    graph, names = model.graph, set(chosen)
    constants = {tensor.name for tensor in graph.initializer}
    values = {name for node in graph.node if node.name in names for name in [*node.input, *node.output] if name} - constants
    image = graph.input[0].name
    observed = sorted(values - {image})
    telling = onnx.ModelProto()
    telling.CopyFrom(model)
    del telling.graph.output[:]
    telling.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in observed)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(telling.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fixed = session.get_inputs()[0].shape[0]
    rows = fixed if isinstance(fixed, int) else 1  # few at a time, since the results of all layers are in memory
    pieces = [batch[start : start + rows] for batch in batches for start in range(0, len(batch), rows)]
    tails: dict[str, list[np.ndarray]] = {}
    sizes: dict[str, int] = {}
    for piece in pieces:
        for name, array in zip([image, *observed], [piece, *session.run(observed, {image: piece})], strict=True):
            if name not in values or array.dtype != np.float32 or array.size == 0:
                continue
            kept = min(array.size, 1 + math.ceil(beyond * array.size * len(pieces)))
            parted = np.partition(array.ravel(), [kept - 1, array.size - kept])
            tails.setdefault(name, []).append(np.stack([parted[:kept], -parted[array.size - kept :]]))
            sizes[name] = sizes.get(name, 0) + array.size
    limits = {}
    for name, parts in tails.items():
        low, high = np.sort(np.concatenate(parts, axis=1), axis=1)[:, int(beyond * sizes[name])]
        limits[name] = (np.float32(min(low, 0)), np.float32(max(-high, 0)))
    return limits


def choose(model: ModelProto, finest: int = 1) -> list[str]:
    """Names of the nodes that become integers, in the order of the graph; see the table of this module.

    `finest`: layers whose results lie closer than so many pixels of the input stay float32. Where there are integers already, none.
    """
    graph = model.graph
    if any(node.op_type in ("QuantizeLinear", "QLinearConv", "ConvInteger") for node in graph.node):
        return []
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    last, apart = _output_layers(graph), strides(graph)
    integers: set[str] = set()
    chosen = []
    for node in graph.node:
        weights = shapes.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type == "Conv":
            wanted = weights is not None and weights[0] >= NARROW and node.name not in last and apart[node.output[0]] >= finest
        elif node.op_type == "MatMul":
            wanted = weights is not None and len(weights) == 2 and weights[1] > weights[0] and node.name not in last
        else:
            wanted = node.op_type in VALUE_BY_VALUE and any(name in integers for name in node.input)
        if wanted:
            chosen.append(node.name)
            if node.op_type != "MatMul":
                integers.update(node.output)
    return chosen


def _output_layers(graph: GraphProto) -> set[str]:
    """Names of the layers whose result reaches an output without passing another layer."""
    made_by = makers(graph)
    last: set[str] = set()
    waiting, seen = [output.name for output in graph.output], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in made_by:
            continue
        seen.add(name)
        node = made_by[name]
        if node.op_type in LAYERS:
            last.add(node.name)
        else:
            waiting.extend(node.input)
    return last


def makers(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that makes each value."""
    return {name: node for node in graph.node for name in node.output}


def strides(graph: GraphProto) -> dict[str, int]:
    """How many pixels of the picture lie between neighbours of each value, along a side, at the coarsest place on its way."""
    apart: dict[str, int] = {}
    for node in graph.node:
        own = next((attribute.ints[0] for attribute in node.attribute if attribute.name == "strides"), 1)
        coarsest = max((apart.get(name, 1) for name in node.input), default=1)
        apart.update(dict.fromkeys(node.output, coarsest * own))
    return apart


def _reader(name: str, batches: Sequence[Float32[np.ndarray, "b ..."]]) -> CalibrationDataReader:
    """The samples in the form that ONNX Runtime's tool asks for."""
    from onnxruntime.quantization import CalibrationDataReader

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, np.ndarray]] = ({name: batch} for batch in batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    return Samples()


def halve(model: ModelProto) -> int:
    """Store float32 weights of 512 or more numbers as float16 with a cast back; returns how many tensors. The arithmetic stays float32.

    Scales of quantised weights stay what they are, and so do weights that float16 can't hold.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    exempt = {name for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear") for name in node.input[1:]}
    exempt |= {output.name for output in graph.output} | {value.name for value in graph.input}
    casts, tensors = [], []
    for tensor in graph.initializer:
        large = tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= 512 and tensor.name not in exempt
        values = numpy_helper.to_array(tensor) if large else None
        if values is None or not np.abs(values).max() <= np.finfo(np.float16).max:
            tensors.append(tensor)
            continue
        tensors.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], f"{tensor.name}_whole", to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)
    return len(casts)
