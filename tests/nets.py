"""Tiny but real ONNX networks whose answers are known: a detector of coloured rectangles, and a pose network with a fixed answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vitruvian.skeletons import by_name
from vitruvian.weights import Card
from vitruvian.weights.classes import PERSON_PARTS

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
MEAN, STD = (128.0,) * 3, (64.0,) * 3  # above 0 after this: bright; the letterbox's filling (114) is not
BRIGHTEST = (255 - MEAN[0]) / STD[0]


def detector(folder: Path, score: float = 0.9, size: tuple[int, int] = (320, 320), also: str = "") -> Path:
    """An ONNX file with its card: of each pure colour (red, green, blue), the box of its pixels is one person.

    Its score is `score` at full brightness, and falls to 0 at medium brightness. `also`: a part that the same box is as well.
    """
    is_found = np.isin(PERSON_PARTS, ["person", also])
    constants = {
        "zero": np.float32(0),
        "xs": np.arange(size[0], dtype=np.float32),
        "ys": np.arange(size[1], dtype=np.float32),
        "far": np.float32(1e4),
        "one": np.float32(1),
        "minus": np.float32(-1),
        "last": np.array([-1], np.int64),
        "axis_w": np.array([3], np.int64),
        "axis_h": np.array([2], np.int64),
        "classes": np.where(is_found, score / BRIGHTEST, 0).astype(np.float32),
    }
    nodes = [helper.make_node("Greater", ["image", "zero"], ["bright"])]
    nodes += [helper.make_node("Cast", ["bright"], ["mask"], to=TensorProto.FLOAT)]
    for along, across, places in (("x", "axis_h", "xs"), ("y", "axis_w", "ys")):
        nodes += [
            helper.make_node("ReduceMax", ["mask", across], [f"profile_{along}"], keepdims=0),
            helper.make_node("Greater", [f"profile_{along}", "zero"], [f"on_{along}"]),
            helper.make_node("Where", [f"on_{along}", places, "far"], [f"low_{along}"]),
            helper.make_node("Where", [f"on_{along}", places, "minus"], [f"high_{along}"]),
            helper.make_node("ReduceMin", [f"low_{along}", "last"], [f"{along}0"], keepdims=1),
            helper.make_node("ReduceMax", [f"high_{along}", "last"], [f"end_{along}"], keepdims=1),
            helper.make_node("Add", [f"end_{along}", "one"], [f"{along}1"]),
        ]
    nodes += [
        helper.make_node("Concat", ["x0", "y0", "x1", "y1"], ["boxes"], axis=-1),
        helper.make_node("ReduceMax", ["image", "axis_w"], ["rows"], keepdims=0),
        helper.make_node("ReduceMax", ["rows", "last"], ["brightest"], keepdims=1),
        helper.make_node("Relu", ["brightest"], ["found"]),
        helper.make_node("Mul", ["found", "classes"], ["scores"]),
    ]
    path = _save(folder / "colours.onnx", nodes, constants, size, {"boxes": ("n", 3, 4), "scores": ("n", 3, 5)})
    Card("colours", "detection", str(path), size, MEAN, STD, classes=PERSON_PARTS).save(path.with_suffix(".json"))
    return path


def pose(folder: Path, skeleton: str = "coco-wholebody-133", size: tuple[int, int] = (48, 64)) -> Path:
    """An ONNX file with its card: keypoint k of every person lies at `pose_places(K)[k]` of the box, with confidence 0.9."""
    count = len(by_name(skeleton))
    in_crop = (0.5 + (pose_places(count) - 0.5) / 1.25) * size
    bins = np.round(2 * in_crop).astype(int)
    x, y = np.zeros((1, count, 2 * size[0]), np.float32), np.zeros((1, count, 2 * size[1]), np.float32)
    x[0, np.arange(count), bins[:, 0]] = y[0, np.arange(count), bins[:, 1]] = 0.9
    constants = {"zero": np.float32(0), "x": x, "y": y, "axes": np.array([1, 2, 3], np.int64), "flat": np.array([-1, 1, 1], np.int64)}
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "flat"], ["batch"]),
        helper.make_node("Add", ["x", "batch"], ["simcc_x"]),
        helper.make_node("Add", ["y", "batch"], ["simcc_y"]),
    ]
    outputs = {"simcc_x": ("n", *x.shape[1:]), "simcc_y": ("n", *y.shape[1:])}
    path = _save(folder / f"fixed-{skeleton}.onnx", nodes, constants, size, outputs)
    Card(path.stem, "pose2d", str(path), size, MEAN, STD, skeleton=skeleton).save(path.with_suffix(".json"))
    return path


def fixed(
    path: Path, outputs: Mapping[str, np.ndarray], size: tuple[int, int], batch: int | str = "n", free: bool = False, echo: bool = False
) -> Path:
    """An ONNX file that answers every picture with `outputs` (each without its batch axis); `size` is the input's (width, height).

    `batch`: a number or the name of a free axis. `free`: the axes after the batch stay unnamed, as some exporters leave them. `echo`: the
    picture's mean is added to the answer, so that what the network was fed shows in it.
    """
    constants: dict[str, np.ndarray] = {"factor": np.float32(1 if echo else 0), "axes": np.array([1, 2, 3], np.int64)}
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["shift"]),
    ]
    shapes = []
    for name, value in outputs.items():
        constants |= {f"{name}_value": value[None].astype(np.float32), f"{name}_axes": np.array([-1, *[1] * value.ndim], np.int64)}
        kind = TensorProto.FLOAT if value.dtype.kind == "f" else TensorProto.INT64
        nodes += [
            helper.make_node("Reshape", ["shift", f"{name}_axes"], [f"{name}_shift"]),
            helper.make_node("Add", [f"{name}_value", f"{name}_shift"], [f"{name}_sum"]),
            helper.make_node("Cast", [f"{name}_sum"], [name], to=kind),
        ]
        shapes.append(
            helper.make_tensor_value_info(name, kind, [batch, *([f"{name}{axis}" for axis in range(value.ndim)] if free else value.shape)])
        )
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size[1], size[0]])],
        shapes,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def lines(places: np.ndarray, bins: int, height: float = 1.0, sigma: float = 5.0) -> np.ndarray:
    """(k, bins) Gaussians around `places` (k,), in bins: one axis of a SimCC network's answer."""
    return (height * np.exp(-((np.arange(bins) - places[:, None]) ** 2) / (2 * sigma**2))).astype(np.float32)


def bumps(cells: np.ndarray, size: tuple[int, int], height: float = 1.0, sigma: float = 2.0) -> np.ndarray:
    """(k, h, w) Gaussians around `cells` (k, 2) in a map of `size` (width, height): a heat-map network's answer."""
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    squares = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    return (height * np.exp(-squares / (2 * sigma**2))).astype(np.float32)


def pose_places(count: int) -> np.ndarray:
    """(count, 2) places in the box, 0..1, of the pose network's answer. For boxes of the network's aspect (3:4)."""
    index = np.arange(count)
    return np.stack([0.1 + 0.8 * (index % 12) / 11, 0.1 + 0.8 * index / max(count - 1, 1)], axis=1)


def _save(path: Path, nodes: list, constants: dict[str, np.ndarray], size: tuple[int, int], outputs: dict[str, tuple]) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, size[1], size[0]))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path
