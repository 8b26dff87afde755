"""Reduced networks, on tiny ones whose answers are known: what becomes an integer, what the card says, and what is refused."""

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vitruvian.errors import FormatError, MediaError, MissingExtraError, WeightsError
from vitruvian.media import write_image
from vitruvian.runtime import Detector, PoseEstimator, Session
from vitruvian.weights import Card, verify
from vitruvian.weights.quantise import choose, halve, prepare, ranges
from vitruvian.weights.reduce import reduce
from vitruvian.weights.trial import change, inputs, packaged_pictures, pictures_of

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIZE = (48, 64)
COLOURS = np.float32([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def build(path, nodes, inputs, outputs, constants, opset=17):
    """Write a graph of nodes given as (operator, inputs, outputs, attributes); it is returned too."""
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, f"{kind}-{outs[0]}", **attributes) for kind, ins, outs, attributes in nodes],
        "tiny",
        [helper.make_tensor_value_info(name, floats, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, floats, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return model


def pose_net(path, batch="b", opset=17):
    """The card of a SimCC network: keypoint k is the place of colour k, which two convolutions with SiLU between them look for."""
    width, height = SIZE
    spread = np.zeros((32, 3, 1, 1), np.float32)
    spread[:3, :, 0, 0] = 4 * COLOURS
    spread[3:] = np.random.default_rng(0).normal(0, 0.5, (29, 3, 1, 1))
    gather = np.zeros((17, 32, 1, 1), np.float32)
    gather[np.arange(17), np.arange(17) % 3] = 1
    nodes = [
        ("Conv", ["image", "spread"], ["wide"], {}),
        ("Sigmoid", ["wide"], ["open"], {}),
        ("Mul", ["wide", "open"], ["bent"], {}),
        ("Conv", ["bent", "gather"], ["maps"], {}),
        ("ReduceMax", ["maps"], ["columns"], {"axes": [2], "keepdims": 0}),
        ("ReduceMax", ["maps"], ["rows"], {"axes": [3], "keepdims": 0}),
    ]
    outputs = {"columns": [batch, 17, width], "rows": [batch, 17, height]}
    build(path, nodes, {"image": [batch, 3, height, width]}, outputs, {"spread": spread, "gather": gather}, opset)
    card = Card(path.stem, "pose2d", str(path), SIZE, (0.0,) * 3, (255.0,) * 3, skeleton="coco-17", split_ratio=1.0, codec="simcc")
    card.save(path.with_suffix(".json"))
    return card


def scene(places):
    """A grey picture with a dot of each colour (red, green, blue) at a place, and a box for which the crop is the picture."""
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for (x, y), colour in zip(places, 255 * np.eye(3), strict=True):
        cv2.circle(image, (x, y), 1, colour.tolist(), -1)
    return image, np.float32([[0.1 * SIZE[0], 0.1 * SIZE[1], 0.9 * SIZE[0], 0.9 * SIZE[1]]])


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.fixture
def pose(tmp_path):
    return pose_net(tmp_path / "dots.onnx")


@pytest.fixture
def out(tmp_path):
    """A file name in a folder that isn't there yet."""
    return tmp_path / "out" / "small.onnx"


@pytest.mark.parametrize("batch, opset", [("b", 17), (1, 17), (2, 11)])
def test_an_int8_network_says_what_its_parent_says(tmp_path, out, batch, opset):
    pose = pose_net(tmp_path / "dots.onnx", batch, opset)
    small = reduce(pose, out)
    places = [(10, 12), (30, 40), (22, 55)]
    image, boxes = scene(places)
    ((before, _),), ((after, scores),) = (PoseEstimator(card, device="cpu")([image], [boxes]) for card in (pose, small))
    np.testing.assert_allclose(before[0, :3], places, atol=1.5)
    np.testing.assert_allclose(after, before, atol=1.01)
    assert "DequantizeLinear" in operators(out) and (scores > 0.5).all()


def test_the_card_names_the_parent_and_the_change(pose, out):
    small = reduce(pose.file, out)
    assert Card.load(out.with_suffix(".json")) == small
    verify(small)
    assert (small.id, small.precision, small.parent) == ("small", "int8", "dots")
    assert small.size_bytes == out.stat().st_size and small.sha256 != small.parent_sha256
    verify(replace(pose, sha256=small.parent_sha256))
    assert small.calibration == "24 frames of the packaged sample.mp4"
    assert len(small.figures) == 2 and all(0 <= value < 2 for value in small.figures.values())
    assert (small.input_size, small.mean, small.skeleton) == (pose.input_size, pose.mean, pose.skeleton)


def test_by_default_the_file_is_named_after_the_network(pose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = []
    assert reduce(pose, precision="fp16", on_progress=stages.append).id == "dots-fp16"
    assert (tmp_path / "dots-fp16.onnx").is_file() and len(stages) == 3


def test_fp16_halves_the_file_and_keeps_the_answers(tmp_path, out):
    weights = np.random.default_rng(0).normal(size=(64, 3, 8, 8)).astype(np.float32)
    outputs = {"maps": ["b", 64, 8, 6]}
    build(tmp_path / "net.onnx", [("Conv", ["x", "w"], ["maps"], {"strides": [8, 8]})], {"x": ["b", 3, 64, 48]}, outputs, {"w": weights})
    card = Card("net", "pose2d", str(tmp_path / "net.onnx"), SIZE, (0.0,) * 3, (255.0,) * 3, skeleton="coco-17", codec="heatmap")
    small = reduce(card, out, precision="fp16")
    assert small.size_bytes < 0.6 * (tmp_path / "net.onnx").stat().st_size and small.calibration == ""
    picture = np.random.default_rng(1).random((2, 3, 64, 48), np.float32)
    (before,), (after,) = (Session(c.file, device="cpu").run(picture) for c in (card, small))
    np.testing.assert_allclose(after, before, atol=2e-3 * np.abs(before).max())
    assert (after != before).any()


def test_pictures_of_the_users_give_the_ranges(pose, out, tmp_path):
    (tmp_path / "mine").mkdir()
    for number, (image, _) in enumerate(packaged_pictures(pose)[20:24]):
        write_image(tmp_path / "mine" / f"{number}.png", image)
    small = reduce(pose, out, pictures=tmp_path / "mine")
    assert small.calibration == "2 pictures of mine"
    seen = pictures_of(tmp_path / "mine", pose)
    truth = packaged_pictures(pose)[20:]
    overlap = np.minimum(seen[0][1][0, 2:], truth[0][1][0, 2:]) - np.maximum(seen[0][1][0, :2], truth[0][1][0, :2])
    assert len(seen) == 4 and (overlap > 0.5 * (truth[0][1][0, 2:] - truth[0][1][0, :2])).all()


def test_hands_and_faces_are_seen_as_such(pose):
    (person,), hands, (face,) = (packaged_pictures(replace(pose, subject=subject))[20][1] for subject in ("", "hand", "face"))
    assert len(hands) == 2
    for box in (*hands, face):
        assert (box[2:] - box[:2] < 0.6 * (person[2:] - person[:2])).all() and (box[:2] > person[:2] - 20).all()


# What becomes an integer.


def layers(tmp_path):
    """A little of everything: a narrow convolution, a wide one with SiLU, a depthwise one, widening and narrowing products."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "w3": (16, 1, 3, 3), "w4": (16, 64), "w5": (64, 32), "w6": (32, 40)}
    constants = {name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()} | {"flat": np.int64([0, 16, -1])}
    there = {"pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        ("Conv", ["x", "w1"], ["a"], there),
        ("Relu", ["a"], ["b"], {}),
        ("Conv", ["b", "w2"], ["c"], there),
        ("Sigmoid", ["c"], ["d"], {}),
        ("Mul", ["c", "d"], ["e"], {}),
        ("Conv", ["e", "w3"], ["f"], {"pads": [1, 1, 1, 1], "group": 16}),
        ("Reshape", ["f", "flat"], ["g"], {}),
        ("Transpose", ["g"], ["h"], {"perm": [0, 2, 1]}),
        ("MatMul", ["h", "w4"], ["i"], {}),
        ("Relu", ["i"], ["j"], {}),
        ("MatMul", ["j", "w5"], ["k"], {}),
        ("MatMul", ["k", "w6"], ["y"], {}),
    ]
    build(tmp_path / "layers.onnx", nodes, {"x": ["b", 3, 32, 32]}, {"y": ["b", 64, 40]}, constants)
    return prepare(tmp_path / "layers.onnx", tmp_path)


def test_layers_that_gain_nothing_or_cost_much_stay_floats(tmp_path):
    model = layers(tmp_path)
    chosen = choose(model)
    made = {node.output[0]: node.name in chosen for node in model.graph.node}
    assert {name for name, yes in made.items() if yes} == {"c", "d", "e", "f", "i"}
    kinds = {node.name: node.op_type for node in model.graph.node}
    assert [kinds[name] for name in choose(model, finest=8)] == ["MatMul"]


def test_ranges_leave_out_the_tails_and_enclose_zero(tmp_path):
    identity = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    build(tmp_path / "net.onnx", [("Conv", ["x", "w"], ["y"], {})], {"x": ["b", 3, 10, 10]}, {"y": ["b", 3, 10, 10]}, {"w": identity})
    model = prepare(tmp_path / "net.onnx", tmp_path)
    values = np.random.default_rng(0).permutation(np.arange(1, 6001, dtype=np.float32)).reshape(20, 3, 10, 10)
    batches, names = [values[:8], values[8:]], [model.graph.node[0].name]
    for beyond, high in ((0, 6000), (0.001, 5994), (0.01, 5940)):
        assert ranges(model, names, batches, beyond)["y"] == (0, high)
        assert ranges(model, names, [-batch for batch in batches], beyond)["x"] == (-high, 0)


def test_constant_values_have_a_range(pose, out):
    model = onnx.load(pose.file)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((32, 3, 1, 1), np.float32), "spread"))
    onnx.save(model, pose.file)
    reduce(pose, out)
    assert np.isfinite(Session(out, device="cpu").run(np.ones((1, 3, 64, 48), np.float32))[0]).all()


def test_halving_spares_scales_small_and_huge_weights():
    weights = {"large": np.full(600, 1 / 3), "huge": np.full(600, 1e6), "small": np.full(10, 1 / 3), "scale": np.full(600, 1 / 3)}
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    nodes = [helper.make_node("DequantizeLinear", ["q", "scale"], ["y"], axis=0)]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], constants))
    assert halve(model) == 1
    assert {tensor.name for tensor in model.graph.initializer} == {"large_half", "huge", "small", "scale"}


# How far two networks are apart.


def test_a_network_is_not_apart_from_itself(pose):
    assert set(change(pose, pose, [scene([(20, 12), (30, 40), (22, 55)])] * 2).values()) == {0.0}


def test_the_distance_is_in_pixels_of_the_input(pose, tmp_path):
    model = onnx.load(pose.file)
    model.graph.node[4].input[0] = "moved"
    shift = [helper.make_node("Slice", ["maps", "one", "end", "axis"], ["cut"]), helper.make_node("Pad", ["cut", "pads"], ["moved"])]
    nodes = [*model.graph.node[:4], *shift, *model.graph.node[4:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    values = {"one": [5], "end": [99], "axis": [3], "pads": [0, 0, 0, 0, 0, 0, 0, 5]}
    model.graph.initializer.extend(numpy_helper.from_array(np.int64(value), name) for name, value in values.items())
    onnx.save(model, tmp_path / "moved.onnx")
    image, boxes = scene([(20, 12), (30, 40), (22, 55)])
    big = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    figures = change(pose, replace(pose, file=str(tmp_path / "moved.onnx")), [(big, 4 * boxes)])
    assert list(figures.values()) == pytest.approx([5, 5], abs=0.01)


def test_nothing_seen_is_nothing_compared(pose):
    black = [(np.zeros((64, 48, 3), np.uint8), np.float32([[0, 0, 40, 60]]))]
    assert change(pose, pose, black) == {} and change(pose, pose, []) == {}


def test_the_network_is_fed_what_the_runtime_feeds_it(pose):
    image, boxes = scene([(20, 12), (30, 40), (22, 55)])
    (batch,) = inputs(pose, [(image, boxes)])
    np.testing.assert_allclose(batch[0], image.transpose(2, 0, 1) / 255, atol=0.03)


def test_one_stage_networks_are_compared_by_boxes_and_keypoints(tmp_path, out):
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(0, 0.1, (16, 3, 8, 8)).astype(np.float32), "all": np.int64([1, 2, 3]), "zero": np.float32(0)}
    constants |= {"flat": np.int64([-1, 1, 1]), "flatter": np.int64([-1, 1, 1, 1])}
    constants["box"] = np.float32([[[10, 10, 40, 60, 0.9]]])
    constants["points"] = np.concatenate([rng.uniform(10, 40, (1, 1, 17, 2)), np.ones((1, 1, 17, 1))], axis=-1).astype(np.float32)
    nodes = [
        ("Conv", ["image", "w"], ["a"], {"strides": [8, 8]}),
        ("Conv", ["a", "v"], ["b"], {}),
        ("ReduceMean", ["b"], ["c"], {"axes": [1, 2, 3], "keepdims": 0}),
        ("Mul", ["c", "zero"], ["d"], {}),
        ("Reshape", ["d", "flat"], ["e"], {}),
        ("Reshape", ["d", "flatter"], ["f"], {}),
        ("Add", ["e", "box"], ["dets"], {}),
        ("Add", ["f", "points"], ["keypoints"], {}),
    ]
    constants["v"] = rng.normal(0, 0.1, (16, 16, 1, 1)).astype(np.float32)
    outputs = {"dets": ["b", 1, 5], "keypoints": ["b", 1, 17, 3]}
    build(tmp_path / "rtmo.onnx", nodes, {"image": ["b", 3, 64, 64]}, outputs, constants)
    numbers = ((64, 64), (0.0,) * 3, (1.0,) * 3)
    card = Card("rtmo", "one-stage", str(tmp_path / "rtmo.onnx"), *numbers, skeleton="coco-17", classes=("person",), codec="rtmo")
    assert list(reduce(card, out).figures.values()) == [1, 0, 0, 0, 0]


# What is refused, and leaves nothing behind.


def refused(out, error, match, *arguments, **options):
    with pytest.raises(error, match=match):
        reduce(*arguments, **options)
    assert not out.exists() and not out.with_suffix(".json").exists()
    assert not out.parent.exists() or not [path for path in out.parent.iterdir() if path.is_file()]


def test_what_is_no_network_to_reduce_is_refused(pose, out, tmp_path):
    refused(out, WeightsError, "augmenter", replace(pose, task="augmenter", input_size=(0, 0), mean=(), std=()), out)
    refused(out, WeightsError, "start from the whole one, 'dots'", replace(pose, parent="dots"), out)
    refused(out, WeightsError, "fp8", pose, out, precision="fp8")
    refused(out, WeightsError, ".onnx", pose, out.with_suffix(".bin"))
    refused(out, WeightsError, "network itself", pose, pose.file)
    refused(out, WeightsError, "no network file|No network file", tmp_path / "gone.onnx", out)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    refused(out, WeightsError, "damaged", replace(pose, file=str(tmp_path / "bad.onnx")), out)


def test_what_has_integers_already_is_refused(pose, out):
    reduce(pose, out)
    unsaid = replace(pose, file=str(out))
    with pytest.raises(WeightsError, match="nothing in this network"):
        reduce(unsaid, out.with_name("again.onnx"))
    assert sorted(path.name for path in out.parent.iterdir()) == ["small.json", "small.onnx"]


def test_a_network_without_layers_is_refused(out, tmp_path):
    nets = pytest.importorskip("nets", reason="needs onnx")
    refused(out, WeightsError, "nothing in this network", nets.pose(tmp_path), out)


def test_pictures_without_people_are_refused(pose, out, tmp_path):
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "empty" / "grey.png", np.full((64, 64, 3), 128, np.uint8))
    refused(out, WeightsError, "no person", pose, out, pictures=tmp_path / "empty")
    refused(out, MediaError, "gone", pose, out, pictures=tmp_path / "gone")


def test_a_folder_that_cant_be_written_is_named(pose, out, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FormatError, match="out"):
        reduce(pose, out)
    out = tmp_path / "taken" / "small.onnx"
    out.with_suffix(".json").mkdir(parents=True)
    with pytest.raises(FormatError, match="small.json"):
        reduce(pose, out)
    assert not out.exists()


def test_without_onnx_the_remedy_is_named(pose, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(out, MissingExtraError, "pip install onnx", pose, out)


# The card.


@pytest.mark.parametrize("values", [{"size_step": 32}, {"precision": "int4"}, {"parent_sha256": "abc"}, {"parent": 3}, {"size_step": -1}])
def test_a_card_with_wrong_values_is_refused(pose, values):
    with pytest.raises(FormatError, match=next(iter(values))):
        replace(pose, **values)


def test_the_size_of_a_detectors_input_is_a_multiple_of_its_step():
    numbers = ((0.0,) * 3, (1.0,) * 3)
    card = Card("net", "detection", "net.onnx", (320, 320), *numbers, classes=("person",), size_step=32)
    with pytest.raises(FormatError, match="multiple"):
        replace(card, input_size=(300, 320))


def test_detectors_keep_their_answers(tmp_path, out):
    nets = pytest.importorskip("nets", reason="needs onnx")
    card = Card.load(nets.detector(tmp_path).with_suffix(".json"))
    small = reduce(card, out, precision="fp16")
    assert small.size_step == 0  # its sides are fixed
    image = np.zeros((320, 320, 3), np.uint8)
    image[100:200, 50:90, 0] = 255
    ((before,), (after,)) = (Detector(c, device="cpu")([image]) for c in (card, small))
    np.testing.assert_array_equal(after.boxes, before.boxes)
