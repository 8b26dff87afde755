import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import FormatError, WeightsError
from vitruvian.weights import EMBEDDED, Card, card_for

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def write(path, outputs, image=("b", 3, 256, 192)):
    """A graph with the given output names and shapes; the numbers are nothing but zeros."""
    constants = {f"{name}_zeros": np.zeros([s if isinstance(s, int) else 1 for s in shape], np.float32) for name, shape in outputs.items()}
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_zeros"], [name]) for name in outputs],
        "shapes",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("keypoints, skeleton", [(133, "coco-wholebody-133"), (26, "halpe-26"), (21, "hand-21"), (17, "coco-17")])
def test_a_bare_pose_file_is_known_by_its_outputs(tmp_path, keypoints, skeleton):
    path = write(tmp_path / "dw-ll.onnx", {"simcc_x": (1, keypoints, 576), "simcc_y": (1, keypoints, 768)}, (1, 3, 384, 288))
    card = card_for(path)
    assert (card.task, card.skeleton, card.input_size, card.split_ratio) == ("pose2d", skeleton, (288, 384), 2.0)
    assert (card.channel_order, card.mean[0], card.padding, Path(card.file)) == ("rgb", 123.675, 1.25, path)


def test_inferred_skeletons_exist():
    from vitruvian.skeletons import by_name
    from vitruvian.weights.find import SKELETON_OF

    assert {len(by_name(name)): name for name in SKELETON_OF.values()} == SKELETON_OF


def test_a_bare_pose_file_with_free_size_is_sized_by_its_bins(tmp_path):
    path = write(tmp_path / "p.onnx", {"simcc_x": ("b", 17, 384), "simcc_y": ("b", 17, 512)}, ("b", 3, "h", "w"))
    assert card_for(str(path)).input_size == (192, 256)


def test_a_bare_rtmdet_file_is_known_by_its_outputs(tmp_path):
    card = card_for(write(tmp_path / "d.onnx", {"dets": (1, 9, 5), "labels": (1, 9)}, (1, 3, 640, 640)))
    assert (card.task, card.input_size, card.channel_order, card.mean[0]) == ("detection", (640, 640), "bgr", 103.53)
    assert len(card.classes) == 80 and card.classes[0] == "person" and card.classes[79] == "toothbrush"


def test_our_own_bare_detector_is_known_by_its_outputs(tmp_path):
    card = card_for(write(tmp_path / "d.onnx", {"boxes": ("b", 9, 4), "scores": ("b", 9, 5)}, ("b", 3, 320, 320)))
    assert card.classes == ("person", "head", "face", "hand", "foot") and card.input_size == (320, 320)


@pytest.mark.parametrize(
    "outputs",
    [{"logits": (1, 1000)}, {"simcc_x": (1, 40, 384), "simcc_y": (1, 40, 512)}, {"boxes": (1, 9, 4), "scores": (1, 9, 91)}],
)
def test_an_unknown_graph_says_what_it_has_and_what_is_known(tmp_path, outputs):
    with pytest.raises(WeightsError, match=r"(?s)(logits|40|91).*card"):
        card_for(write(tmp_path / "x.onnx", outputs))


def test_the_card_beside_the_file_wins(tmp_path):
    path = write(tmp_path / "mine.onnx", {"simcc_x": (1, 17, 384), "simcc_y": (1, 17, 512)})
    card = replace(card_for(path), padding=1.1, id="mine")
    card.save(tmp_path / "mine.json")
    assert card_for(path) == card
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(FormatError):
        card_for(path)


def test_an_embedded_network_is_found_by_its_id(tmp_path):
    name = EMBEDDED[0]
    (tmp_path / f"{name}.onnx").write_bytes(b"weights")
    Card(name, "detection", f"{name}.onnx", (320, 320), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), classes=("person",)).save(
        tmp_path / f"{name}.json"
    )
    assert card_for(name, assets=tmp_path).file == str(tmp_path / f"{name}.onnx")


def test_two_embedded_networks_may_be_one_file():
    small, whole = card_for("person-parts-n"), card_for("person-parts-s")
    assert small.file == whole.file and small.sha256 == whole.sha256 and max(small.input_size) < max(whole.input_size)


def test_a_missing_embedded_network_says_what_to_do(tmp_path):
    with pytest.raises(WeightsError, match="reinstall"):
        card_for(EMBEDDED[1], assets=tmp_path)


@pytest.mark.parametrize("name", ["yolo", "yolo.pt", "", "nowhere.onnx"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(WeightsError, match="No network"):
        card_for(name)


def test_what_is_no_onnx_file_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_text("404")
    with pytest.raises(WeightsError, match="no ONNX file"):
        card_for(tmp_path / "x.onnx")


def test_importing_the_rooms_loads_no_heavy_library():
    rooms = "vitruvian.weights, vitruvian.codecs, vitruvian.runtime"
    code = f"import sys, {rooms}; sys.exit(not {{'onnxruntime', 'cv2', 'torch'}}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
